#include "base/dtype.h"

#include <string.h>

static const struct {
    const char *name, *st_name;
    size_t size;
} dtypes[DT_COUNT] = {
    [DT_F32] = {"float32", "F32", 4},
    [DT_BF16] = {"bfloat16", "BF16", 2},
    [DT_F16] = {"float16", "F16", 2},
    [DT_F64] = {"float64", "F64", 8},
    [DT_I64] = {"int64", "I64", 8},
    [DT_I32] = {"int32", "I32", 4},
    [DT_I16] = {"int16", "I16", 2},
    [DT_I8] = {"int8", "I8", 1},
    [DT_U8] = {"uint8", "U8", 1},
    [DT_BOOL] = {"bool", "BOOL", 1},
    [DT_F8_E4M3] = {"float8_e4m3fn", "F8_E4M3", 1},
    [DT_F8_E5M2] = {"float8_e5m2", "F8_E5M2", 1},
    [DT_U16] = {"uint16", "U16", 2},
    [DT_U32] = {"uint32", "U32", 4},
    [DT_U64] = {"uint64", "U64", 8},
    [DT_Q8] = {"int8 in groups", NULL, 0},
    [DT_Q4] = {"int4 in groups", NULL, 0},
};

size_t dtype_size(mltf_dtype t) { return dtypes[t].size; }
const char *dtype_name(mltf_dtype t) { return dtypes[t].name; }
const char *dtype_st_name(mltf_dtype t) { return dtypes[t].st_name; }

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float bf16_to_f32(uint16_t h) { return from_bits((uint32_t)h << 16); }

uint16_t f32_to_bf16(float f)
{
    const uint32_t u = to_bits(f);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(u >> 16 | 0x40); // quiet NaN, sign kept
    return (uint16_t)((u + 0x7FFFu + (u >> 16 & 1)) >> 16);
}

float f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 0x1Fu;
    uint32_t mantissa = h & 0x3FFu;
    if (exponent == 0x1F) return from_bits(sign | 0x7F800000u | mantissa << 13);
    if (exponent) return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    // zero and subnormals: mantissa * 2^-24 is exact in f32
    const float magnitude = (float)mantissa * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

uint16_t f32_to_f16(float f)
{
    const uint32_t u = to_bits(f), magnitude = u & 0x7FFFFFFFu;
    const uint16_t sign = (uint16_t)(u >> 16 & 0x8000u);
    if (magnitude > 0x7F800000u) return (uint16_t)(sign | 0x7E00u);
    if (magnitude >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); // rounds to 65536 or more
    if (magnitude < 0x38800000u) {
        // subnormal: adding 0.5 aligns the last kept bit with f32's last bit, so the FPU rounds for us
        const float aligned = from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (uint16_t)(to_bits(aligned) - to_bits(0.5f)));
    }
    const uint32_t rounded = magnitude + 0xFFFu + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (uint16_t)((rounded - 0x38000000u) >> 13));
}

float f8_e4m3_to_f32(uint8_t v)
{
    const int exponent = v >> 3 & 15, mantissa = v & 7;
    float f;
    if (exponent == 15 && mantissa == 7) f = from_bits(0x7FC00000u);
    else if (exponent) f = from_bits((uint32_t)(exponent + 120) << 23 | (uint32_t)mantissa << 20);
    else f = (float)mantissa * 0x1p-9f;
    return v & 0x80 ? -f : f;
}

float f8_e5m2_to_f32(uint8_t v) { return f16_to_f32((uint16_t)(v << 8)); }
