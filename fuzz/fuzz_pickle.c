/* A PyTorch file, zip or chain of pickles, and the pickle reader alone. */
#include "formats/checkpoint_parts.h"
#include "formats/pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mltf_arena arena = MLTF_ARENA_INIT;
    ck_list list = {.arena = &arena};
    mltf_err err = {0};
    volatile unsigned sum = 0;
    if (torch_bin_read(&list, data, size, &err) == MLTF_OK) {
        for (size_t i = 0; i < list.n; i++) {
            const uint8_t *p = list.items[i].data;
            for (size_t k = 0; k < list.items[i].bytes; k++) sum += p[k];
        }
    }
    pickle_value *v;
    size_t used = 0;
    if (pickle_read(&v, &used, &arena, data, size, &err) == MLTF_OK && used > size)
        __builtin_trap();
    arena_release(&arena);
    return 0;
}
