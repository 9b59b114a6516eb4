#include "kernels/quantize.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

_Static_assert(sizeof(q8_group) == 34, "groups lie packed in the file");
_Static_assert(sizeof(q4_group) == 20, "groups lie packed in the file");

size_t quant_bytes(mltf_dtype t, size_t n)
{
    if (t == DT_Q8) return n / QUANT_GROUP * sizeof(q8_group);
    if (t == DT_Q4) return n / QUANT_GROUP * sizeof(q4_group);
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

static void quant_q8(q8_group *g, const float *x)
{
    float max = 0;
    bool finite = true;
    for (int i = 0; i < QUANT_GROUP; i++) {
        const float a = fabsf(x[i]);
        finite = finite && isfinite(a);
        if (a > max) max = a;
    }
    memset(g, 0, sizeof *g);
    g->scale = finite ? bf16_up(max / 127.0f) : f32_to_bf16(NAN);
    const float scale = bf16_to_f32(g->scale);
    if (!(scale > 0)) return;
    for (int i = 0; i < QUANT_GROUP; i++) {
        const float r = nearbyintf(x[i] / scale);
        g->q[i] = (int8_t)(r < -127 ? -127 : r > 127 ? 127 : r);
    }
}

static void quant_q4(q4_group *g, const float *x)
{
    float min = INFINITY, max = -INFINITY;
    bool finite = true;
    for (int i = 0; i < QUANT_GROUP; i++) {
        finite = finite && isfinite(x[i]);
        if (x[i] < min) min = x[i];
        if (x[i] > max) max = x[i];
    }
    memset(g, 0, sizeof *g);
    if (!finite) {
        g->scale = g->min = f32_to_bf16(NAN);
        return;
    }
    g->min = bf16_down(min);
    const float base = bf16_to_f32(g->min);
    g->scale = bf16_up((max - base) / 15.0f);
    const float scale = bf16_to_f32(g->scale);
    if (!(scale > 0)) return;
    for (int i = 0; i < QUANT_GROUP / 2; i++) {
        const uint8_t low = nearest((x[i] - base) / scale, 15);
        const uint8_t high = nearest((x[i + QUANT_GROUP / 2] - base) / scale, 15);
        g->q[i] = (uint8_t)(low | high << 4);
    }
}

void quant_row(void *dst, mltf_dtype to, const void *src, mltf_dtype from, size_t n)
{
    assert(n % QUANT_GROUP == 0 && (to == DT_Q8 || to == DT_Q4));
    const kernel_table *k = kernels();
    float x[QUANT_GROUP];
    for (size_t i = 0; i < n / QUANT_GROUP; i++) {
        k->widen(x, (const char *)src + i * QUANT_GROUP * dtype_size(from), from, QUANT_GROUP);
        if (to == DT_Q8)
            quant_q8((q8_group *)dst + i, x);
        else
            quant_q4((q4_group *)dst + i, x);
    }
}
