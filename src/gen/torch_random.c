#include "gen/torch_random.h"

enum { MT_M = 397 };

void torch_random_seed(torch_random *t, uint32_t seed)
{
    t->s[0] = seed;
    for (uint32_t i = 1; i < TORCH_RANDOM_N; i++)
        t->s[i] = 1812433253u * (t->s[i - 1] ^ t->s[i - 1] >> 30) + i;
    t->at = TORCH_RANDOM_N;
}

uint32_t torch_random_next(torch_random *t)
{
    if (t->at == TORCH_RANDOM_N) {
        for (size_t i = 0; i < TORCH_RANDOM_N; i++) {
            const uint32_t y =
                (t->s[i] & 0x80000000u) | (t->s[(i + 1) % TORCH_RANDOM_N] & 0x7fffffffu);
            t->s[i] = t->s[(i + MT_M) % TORCH_RANDOM_N] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        t->at = 0;
    }
    uint32_t y = t->s[t->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}
