/* Element types of stored tensors. */
#ifndef MLTF_BASE_DTYPE_H
#define MLTF_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    DT_F32,
    DT_BF16,
    DT_F16,
    DT_F64,
    DT_I64,
    DT_I32,
    DT_I16,
    DT_I8,
    DT_U8,
    DT_BOOL,
    DT_F8_E4M3, /* e4m3fn: no infinity */
    DT_F8_E5M2,
    DT_U16,
    DT_U32,
    DT_U64,
    DT_Q8, /* own: rows of int8 in groups of 32 with one f32 scale each; see kernels.h */
    DT_Q4, /* own: rows of 4 bit in groups of 32 */
    DT_COUNT,
} mltf_dtype;

size_t dtype_size(mltf_dtype t);           /* bytes an element; 0 for the own quantized ones */
const char *dtype_name(mltf_dtype t);      /* torch's name: "float32" */
const char *dtype_st_name(mltf_dtype t);   /* safetensors' name: "F32", NULL if it has none */

float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f); /* nearest even; NaN stays NaN */
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
float f8_e4m3_to_f32(uint8_t v);
float f8_e5m2_to_f32(uint8_t v);

#endif
