/* Stored element types to f32 and back. */
#include <assert.h>
#include <string.h>

#include "kernels/quantize.h"
#include "kernels/ref/kref.h"
#include "kernels/tiers.h"

/* Reads through memcpy: tensors in mapped files need not be aligned. */
static uint16_t load_u16(const void *x, size_t i)
{
    uint16_t v;
    memcpy(&v, (const char *)x + i * 2, sizeof v);
    return v;
}

static void widen_q8(float *y, const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        q8_group g;
        if (i % QUANT_GROUP == 0)
            memcpy(&g, (const char *)x + i / QUANT_GROUP * sizeof g, sizeof g);
        y[i] = bf16_to_f32(g.scale) * g.q[i % QUANT_GROUP];
    }
}

static void widen_q4(float *y, const void *x, size_t n)
{
    for (size_t j = 0; j < n / QUANT_GROUP; j++, y += QUANT_GROUP) {
        q4_group g;
        memcpy(&g, (const char *)x + j * sizeof g, sizeof g);
        const float scale = bf16_to_f32(g.scale), min = bf16_to_f32(g.min);
        for (int i = 0; i < QUANT_GROUP / 2; i++) {
            y[i] = scale * (g.q[i] & 15) + min;
            y[i + QUANT_GROUP / 2] = scale * (g.q[i] >> 4) + min;
        }
    }
}

void kref_widen(float *y, const void *x, mltf_dtype dtype, size_t n)
{
    const uint8_t *byte = x;
    double d;
    switch (dtype) {
    case DT_F32:
        memmove(y, x, n * sizeof *y);
        return;
    case DT_BF16:
        for (size_t i = 0; i < n; i++) y[i] = bf16_to_f32(load_u16(x, i));
        return;
    case DT_F16:
        for (size_t i = 0; i < n; i++) y[i] = f16_to_f32(load_u16(x, i));
        return;
    case DT_F8_E4M3:
        for (size_t i = 0; i < n; i++) y[i] = f8_e4m3_to_f32(byte[i]);
        return;
    case DT_F8_E5M2:
        for (size_t i = 0; i < n; i++) y[i] = f8_e5m2_to_f32(byte[i]);
        return;
    case DT_F64:
        for (size_t i = 0; i < n; i++) {
            memcpy(&d, byte + i * 8, sizeof d);
            y[i] = (float)d;
        }
        return;
    case DT_Q8:
        widen_q8(y, x, n);
        return;
    case DT_Q4:
        widen_q4(y, x, n);
        return;
    default:
        assert(!"widen: not a float type");
        memset(y, 0, n * sizeof *y);
    }
}

static void narrow(void *y, const float *x, mltf_dtype dtype, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint16_t h = dtype == DT_BF16 ? f32_to_bf16(x[i]) : f32_to_f16(x[i]);
        if (dtype == DT_F32)
            memcpy((char *)y + i * 4, &x[i], 4);
        else
            memcpy((char *)y + i * 2, &h, 2);
    }
}

static void add(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

void kref_convert_init(kernel_table *t)
{
    t->widen = kref_widen;
    t->narrow = narrow;
    t->add = add;
}
