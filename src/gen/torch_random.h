/* torch.Generator on a CPU: MT19937 (Matsumoto and Nishimura 1998), for what transformers draws from it. */
#ifndef MLTF_GEN_TORCH_RANDOM_H
#define MLTF_GEN_TORCH_RANDOM_H

#include <stddef.h>
#include <stdint.h>

enum { TORCH_RANDOM_N = 624 };

typedef struct torch_random {
    uint32_t s[TORCH_RANDOM_N];
    size_t at;
} torch_random;

void torch_random_seed(torch_random *t, uint32_t seed); /* the low 32 bits of manual_seed()'s */
uint32_t torch_random_next(torch_random *t);

#endif
