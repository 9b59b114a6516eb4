/* Weights that a quantization library packed, given back row by row as the floats they stand for.
 *
 * transformers names the library in config.json (quantization_config.quant_method). In place of a layer's
 * X.weight [N, K] of floats the checkpoint then holds, and element (n, k) stands for:
 *
 *   gptq, auto-round    X.qweight int32 [K bits/32, N], consecutive k in consecutive bits
 *                       X.qzeros  int32 [G, N bits/32], X.scales [G, N], X.g_idx int32 [K] (optional)
 *                       scale[g, n] (q - (zero + 1)); without the 1 in gptq_v2 and auto-round's own form.
 *                       Bits and G may differ from layer to layer (`dynamic`, `extra_config`)
 *   awq                 X.qweight int32 [K, N/8], X.qzeros int32 [G, N/8], X.scales [G, N], 4 bit; the eight of
 *                       a word are columns 0 2 4 6 1 3 5 7.   scale[g, n] (q - zero)
 *   bitsandbytes        4 bit: X.weight uint8 (or bnb_4bit_quant_storage's type), two elements a byte, high half
 *                       first, in one line over rows;
 *                       X.weight.absmax a block (or uint8 with nested_absmax, nested_quant_map and an offset),
 *                       X.weight.quant_map [16], X.weight.quant_state.bitsandbytes__nf4|fp4: JSON as bytes.
 *                       map[q] absmax
 *                       8 bit: X.weight int8 [N, K], X.SCB [N].   q SCB[n] / 127
 *   compressed-tensors  X.weight_packed int32 [N, K bits/32] (offset by half their range)
 *                       with X.weight_shape, or X.weight int8 or f8 [N, K];
 *                       X.weight_scale, X.weight_zero_point: one number, [N, 1], [N, G] or by blocks;
 *                       X.weight_g_idx.   scale (q - zero)
 *   fp8, fbgemm_fp8     X.weight f8 [N, K], X.weight_scale_inv by blocks or X.weight_scale [N, 1].   scale q
 *   mxfp4               X_blocks uint8 [E, N, K/32, 16], low half first, X_scales uint8 [E, N, K/32]
 *                       2^(scale - 127) of the ten-value float with one bit of mantissa (e2m1)
 *
 * The product is rounded to the type of the scales, or to config.json's dtype where those are f32: what the
 * libraries' own dequantization gives. (Where a caller asks for f32, compressed-tensors widens the scales first, so that
 * nothing is rounded: nn_packed.unrounded.) Activations that a scheme would quantize as well stay floats. */
#ifndef MLTF_NN_NN_PACKED_H
#define MLTF_NN_NN_PACKED_H

#include "nn/nn_load.h"

/* From quantization_config (NULL: scheme NONE). dtype: the model's own. UNSUPPORTED names what cannot be read. */
mltf_status nn_packed_init(nn_packed *p, const json *quantization_config, mltf_dtype dtype,
                           mltf_err *err);

/* One matrix while it is unpacked. */
typedef struct nn_packed_matrix nn_packed_matrix;
struct nn_packed_matrix {
    size_t N, K;
    mltf_dtype dtype; /* of the values */
    mltf_dtype exact; /* DT_Q8 or DT_Q4: nn_packed_raw() gives rows in that form; else DT_COUNT */
    void (*codes)(const nn_packed_matrix *m, size_t n, float *y); /* row n before zero and scale */
    const uint8_t *q;
    mltf_dtype q_type; /* of codes that are plain numbers */
    unsigned bits;
    size_t group;            /* inputs of one scale */
    uint32_t *group_of;      /* [K], or NULL: k / group */
    size_t row_block;        /* rows of one scale */
    size_t ld_row, ld_group; /* scale of (n, k): scale[n / row_block * ld_row + group * ld_group] */
    size_t flat;             /* > 0: scale[(n K + k) / flat] instead */
    float *scale, *zero;     /* zero NULL: none */
    float after;             /* a last factor */
    float map[16];           /* what 4-bit codes of bitsandbytes and mxfp4 stand for */
};

/* Is scope + name packed? Fills *m, to be released, and marks the tensors as used. Errors go to ld. */
bool nn_packed_find(nn_loader *ld, mltf_str name, nn_packed_matrix *m);
/* The same for matrix i of the E stacked under `name`. */
bool nn_packed_find_stacked(nn_loader *ld, mltf_str name, size_t i, size_t E, nn_packed_matrix *m);
void nn_packed_row(const nn_packed_matrix *m, size_t n, float *y);
void nn_packed_raw(const nn_packed_matrix *m, size_t n, void *dst);
void nn_packed_release(nn_packed_matrix *m);

#endif
