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

static float q8_value(const void *row, size_t K, size_t k)
{
    const char *scales = (const char *)row + K;
    return bf16_to_f32(load_u16(scales, k / QUANT_GROUP)) * (float)((const int8_t *)row)[k];
}

static float q4_value(const void *row, size_t K, size_t k)
{
    const char *scales = (const char *)row + K / 2;
    const uint8_t byte = ((const uint8_t *)row)[k / 2];
    const float scale = bf16_to_f32(load_u16(scales, k / QUANT_GROUP * 2));
    const float min = bf16_to_f32(load_u16(scales, k / QUANT_GROUP * 2 + 1));
    return scale * (float)(k % 2 ? byte >> 4 : byte & 15) + min;
}

void kref_fetch(float *y, const void *row, mltf_dtype dtype, size_t K, size_t k, size_t n)
{
    const uint8_t *x = row;
    for (size_t i = 0; i < n; i++, k++) switch (dtype) {
        case DT_F32:
            memcpy(&y[i], x + k * 4, 4);
            break;
        case DT_BF16:
            y[i] = bf16_to_f32(load_u16(x, k));
            break;
        case DT_F16:
            y[i] = f16_to_f32(load_u16(x, k));
            break;
        case DT_F8_E4M3:
            y[i] = f8_e4m3_to_f32(x[k]);
            break;
        case DT_F8_E5M2:
            y[i] = f8_e5m2_to_f32(x[k]);
            break;
        case DT_Q8:
            y[i] = q8_value(x, K, k);
            break;
        case DT_Q4:
            y[i] = q4_value(x, K, k);
            break;
        case DT_F64: {
            double d;
            memcpy(&d, x + k * 8, sizeof d);
            y[i] = (float)d;
            break;
        }
        default:
            assert(!"not a float type");
            y[i] = 0;
        }
}

void kref_widen(float *y, const void *x, mltf_dtype dtype, size_t n)
{
    kref_fetch(y, x, dtype, n, 0, n);
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
