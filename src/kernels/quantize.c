#include "kernels/quantize.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "kernels/kernels.h"

#define STEP_MIN 0x1p-100f /* kernels move factors of 2^24 between q and scale */

size_t quant_bytes(mltf_dtype t, size_t n)
{
    if (t == DT_Q8) return n / QUANT_GROUP * (QUANT_GROUP + 2);
    if (t == DT_Q4) return n / QUANT_GROUP * (QUANT_GROUP / 2 + 4);
    return n * dtype_size(t);
}

/* The bf16 next to f that is not below it (up) or not above it (down). */
static uint16_t bf16_up(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if (!(u & 0xFFFFu) || isnan(f)) return f32_to_bf16(f);
    return (uint16_t)((u >> 16) + (u & 0x80000000u ? 0 : 1));
}

static uint16_t bf16_down(float f)
{
    return bf16_up(-f) ^ 0x8000u;
}

static uint8_t nearest(float x, float top)
{
    const float r = nearbyintf(x);
    return (uint8_t)(r < 0 ? 0 : r > top ? top : r);
}

static void store_bf16(uint8_t *p, uint16_t h)
{
    memcpy(p, &h, sizeof h);
}

static void quant_q8(uint8_t *q, uint8_t *scale_out, const float *x)
{
    float max = 0;
    bool finite = true;
    for (int i = 0; i < QUANT_GROUP; i++) {
        const float a = fabsf(x[i]);
        finite = finite && isfinite(a);
        if (a > max) max = a;
    }
    const uint16_t up = finite ? bf16_up(max / 127.0f) : f32_to_bf16(NAN);
    const float scale = bf16_to_f32(up);
    const bool zero = !(scale >= STEP_MIN);
    store_bf16(scale_out, zero && finite ? 0 : up);
    for (int i = 0; i < QUANT_GROUP; i++) {
        const float r = zero ? 0 : nearbyintf(x[i] / scale);
        q[i] = (uint8_t)(int8_t)(r < -127 ? -127 : r > 127 ? 127 : r);
    }
}

static void quant_q4(uint8_t *q, uint8_t *scale_min_out, const float *x)
{
    float min = INFINITY, max = -INFINITY;
    bool finite = true;
    for (int i = 0; i < QUANT_GROUP; i++) {
        finite = finite && isfinite(x[i]);
        if (x[i] < min) min = x[i];
        if (x[i] > max) max = x[i];
    }
    const uint16_t down = finite ? bf16_down(min) : f32_to_bf16(NAN);
    const float base = bf16_to_f32(down);
    const uint16_t up = finite ? bf16_up((max - base) / 15.0f) : f32_to_bf16(NAN);
    const float scale = bf16_to_f32(up);
    const bool zero = !(scale >= STEP_MIN);
    store_bf16(scale_min_out, zero && finite ? 0 : up);
    store_bf16(scale_min_out + 2, down);
    for (int i = 0; i < QUANT_GROUP / 2; i++) {
        const uint8_t low = zero ? 0 : nearest((x[2 * i] - base) / scale, 15);
        const uint8_t high = zero ? 0 : nearest((x[2 * i + 1] - base) / scale, 15);
        q[i] = (uint8_t)(low | high << 4);
    }
}

void quant_row(void *dst, mltf_dtype to, const void *src, mltf_dtype from, size_t n)
{
    assert(n % QUANT_GROUP == 0 && (to == DT_Q8 || to == DT_Q4));
    const kernel_table *k = kernels();
    uint8_t *q = dst, *scales = q + (to == DT_Q8 ? n : n / 2);
    float x[QUANT_GROUP];
    for (size_t i = 0; i < n / QUANT_GROUP; i++) {
        k->widen(x, (const char *)src + i * QUANT_GROUP * dtype_size(from), from, QUANT_GROUP);
        if (to == DT_Q8)
            quant_q8(q + i * QUANT_GROUP, scales + i * 2, x);
        else
            quant_q4(q + i * QUANT_GROUP / 2, scales + i * 4, x);
    }
}
