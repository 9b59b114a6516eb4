/* One quantized block of each type as floats: gguf_quants.c has those whose values are numbers, gguf_iquants.c those whose
 * values are points of a lattice. Private to gguf_dequantize(). */
#ifndef MLTF_FORMATS_GGUF_BLOCKS_H
#define MLTF_FORMATS_GGUF_BLOCKS_H

#include "base/dtype.h"
#include "formats/gguf.h"

static inline uint16_t block_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t block_u32(const uint8_t *p)
{
    return block_u16(p) | (uint32_t)block_u16(p + 2) << 16;
}

static inline float block_half(const uint8_t *p)
{
    return f16_to_f32(block_u16(p));
}

/* 256 values each */
void gguf_iq2_xxs(float *y, const uint8_t *b);
void gguf_iq2_xs(float *y, const uint8_t *b);
void gguf_iq2_s(float *y, const uint8_t *b);
void gguf_iq3_xxs(float *y, const uint8_t *b);
void gguf_iq3_s(float *y, const uint8_t *b);
void gguf_iq1_s(float *y, const uint8_t *b);
void gguf_iq1_m(float *y, const uint8_t *b);

/* The points, as gguf_grids.c says. */
extern const uint16_t gguf_grid_iq2_xxs[256], gguf_grid_iq2_xs[512], gguf_grid_iq2_s[1024],
    gguf_grid_iq3_xxs[256], gguf_grid_iq3_s[512], gguf_grid_iq1_s[2048];

#endif
