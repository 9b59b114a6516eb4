/* A PyTorch file, zip or chain of pickles, and the pickle reader alone. */
#include "fuzz_tensors.h"
#include "formats/pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mltf_arena arena = MLTF_ARENA_INIT;
    ck_list list = {.arena = &arena};
    mltf_err err = {0};
    if (torch_bin_read(&list, data, size, &err) == MLTF_OK) read_tensors(&list);
    pickle_value *v;
    size_t used = 0;
    if (pickle_read(&v, &used, &arena, data, size, &err) == MLTF_OK && used > size)
        __builtin_trap();
    arena_release(&arena);
    return 0;
}
