/* Weights in 8 and 4 bit: groups of 32 consecutive inputs of one output row.
 *
 *   Q8  34 bytes   bf16 scale | int8 q[32]               w = scale q
 *   Q4  20 bytes   bf16 scale | bf16 min | uint8 q[16]   w = scale q + min; byte i holds q[i] in its low
 *                                                        and q[i + 16] in its high half
 *
 * Scale and min are rounded outwards to bf16 first and q is chosen for the rounded ones, so the short
 * scale costs a step that is at most 1/128 wider and nothing else. Largest error: half a step, which is
 * max|w|/254 (Q8) or (max w - min w)/30 (Q4), plus that 1/128. */
#ifndef MLTF_KERNELS_QUANTIZE_H
#define MLTF_KERNELS_QUANTIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/dtype.h"

#define QUANT_GROUP 32

typedef struct q8_group {
    uint16_t scale;
    int8_t q[QUANT_GROUP];
} q8_group;

typedef struct q4_group {
    uint16_t scale, min;
    uint8_t q[QUANT_GROUP / 2];
} q4_group;

/* Bytes of `n` consecutive elements of any stored type; for DT_Q8 and DT_Q4 n is a multiple of 32. */
size_t quant_bytes(mltf_dtype t, size_t n);

/* dst [n] of type DT_Q8 or DT_Q4 from src [n] of a float type (F32, BF16, F16, F8). n is a multiple of 32. A group
 * that holds NaN or infinity becomes NaN as a whole. kernels()->widen() is the way back. */
void quant_row(void *dst, mltf_dtype to, const void *src, mltf_dtype from, size_t n);

#endif
