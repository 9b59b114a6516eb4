/* Weights in 8 and 4 bit: groups of 32 consecutive inputs of one output row, a row with its groups together.
 *
 *   Q8 row of K   int8 q[K]                  | bf16 scale[K / 32]          w = scale q
 *   Q4 row of K   uint8 q[K / 2], low half   | {bf16 scale, min}[K / 32]   w = scale q + min
 *                 of a byte first
 *
 * The numbers of a row lie side by side, without scales between, so that a vector loads 64 or 128 of them.
 * Scale and min are rounded outwards to bf16 first and q is chosen for the rounded ones, so the short
 * scale costs a step that is at most 1/128 wider and nothing else. Largest error: half a step, which is
 * max|w|/254 (Q8) or (max w - min w)/30 (Q4), plus that 1/128. Groups whose step is below 2^-100 become
 * zero (Q8) or their least number (Q4). */
#ifndef MLTF_KERNELS_QUANTIZE_H
#define MLTF_KERNELS_QUANTIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/dtype.h"

#define QUANT_GROUP 32

/* Bytes of `n` consecutive elements of any stored type; for DT_Q8 and DT_Q4 of n / K whole rows of K. */
size_t quant_bytes(mltf_dtype t, size_t n);

/* One row: dst [n] of type DT_Q8 or DT_Q4 from src [n] of a float type (F32, BF16, F16, F8). n is a multiple
 * of 32. A group that holds NaN or infinity becomes NaN as a whole. kernels()->widen() is the way back. */
void quant_row(void *dst, mltf_dtype to, const void *src, mltf_dtype from, size_t n);

#endif
