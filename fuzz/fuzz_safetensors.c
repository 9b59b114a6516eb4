/* A safetensors file: every byte of every tensor that is accepted can be read. */
#include "fuzz_tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mltf_arena arena = MLTF_ARENA_INIT;
    ck_list list = {.arena = &arena};
    mltf_err err = {0};
    if (st_read(&list, data, size, &err) == MLTF_OK) read_tensors(&list);
    arena_release(&arena);
    return 0;
}
