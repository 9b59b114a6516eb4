/* A safetensors file: every byte of every tensor that is accepted can be read. */
#include "formats/checkpoint_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mltf_arena arena = MLTF_ARENA_INIT;
    ck_list list = {.arena = &arena};
    mltf_err err = {0};
    volatile unsigned sum = 0;
    if (st_read(&list, data, size, &err) == MLTF_OK) {
        for (size_t i = 0; i < list.n; i++) {
            const uint8_t *p = list.items[i].data;
            for (size_t k = 0; k < list.items[i].bytes; k++) sum += p[k];
        }
    }
    arena_release(&arena);
    return 0;
}
