/* What the fuzzers of checkpoints do with a list of tensors that was accepted. */
#ifndef MLTF_FUZZ_TENSORS_H
#define MLTF_FUZZ_TENSORS_H

#include "formats/checkpoint_parts.h"

/* Read every byte of every tensor: one that lies outside of the file is found by the sanitizer. */
static inline void read_tensors(const ck_list *list)
{
    volatile unsigned sum = 0;
    for (size_t i = 0; i < list->n; i++) {
        const uint8_t *p = list->items[i].data;
        for (size_t k = 0; k < list->items[i].bytes; k++) sum += p[k];
    }
}

#endif
