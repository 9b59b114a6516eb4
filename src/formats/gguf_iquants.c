/* The IQ types of GGUF: 256 values a block, 8 (or twice 4) at a time a point of a lattice, with a sign each and a scale for
 * some of them. Bit for bit as llama.cpp and its `gguf` package unpack them. */
#include "formats/gguf_blocks.h"

/* What the indices of a point stand for. */
static const uint8_t levels_2[4] = {8, 25, 43, 0};
static const uint8_t levels_3xxs[8] = {4, 12, 20, 28, 36, 44, 52, 62};
static const uint8_t levels_3s[8] = {1, 3, 5, 7, 9, 11, 13, 15};

/* 8 signs of 7 bits: the eighth makes their number even. */
static unsigned even_signs(unsigned s)
{
    s &= 127;
    unsigned odd = s ^ s >> 4;
    odd ^= odd >> 2;
    odd ^= odd >> 1;
    return s | (odd & 1) << 7;
}

static float *eight(float *y, float scale, uint16_t point, unsigned signs)
{
    for (int i = 0; i < 8; i++) {
        const float v = scale * (float)levels_2[point >> (2 * i) & 3];
        *y++ = signs >> i & 1 ? -v : v;
    }
    return y;
}

static float *four(float *y, float scale, const uint8_t *levels, uint16_t point, unsigned signs)
{
    for (int i = 0; i < 4; i++) {
        const float v = scale * (float)levels[point >> (4 * i) & 7];
        *y++ = signs >> i & 1 ? -v : v;
    }
    return y;
}

/* d, then for each 32 values four bytes of points and a number: four times 7 bits of signs, 4 bits of scale. */
void gguf_iq2_xxs(float *y, const uint8_t *b)
{
    const float d = block_half(b);
    for (int group = 0; group < 8; group++) {
        const uint8_t *q = b + 2 + 8 * group;
        const uint32_t more = block_u32(q + 4);
        const float scale = d * (0.5f + (float)(more >> 28)) * 0.25f;
        for (int i = 0; i < 4; i++)
            y = eight(y, scale, gguf_grid_iq2_xxs[q[i]], even_signs(more >> (7 * i)));
    }
}

/* d, 32 numbers of 9 bits of point and 7 of signs, 16 scales of 4 bits. */
void gguf_iq2_xs(float *y, const uint8_t *b)
{
    const float d = block_half(b);
    for (int i = 0; i < 32; i++) {
        const unsigned q = block_u16(b + 2 + 2 * i);
        const int nibble = b[66 + i / 4] >> (4 * (i / 2 % 2)) & 15;
        const float scale = d * (0.5f + (float)nibble) * 0.25f;
        y = eight(y, scale, gguf_grid_iq2_xs[q & 511], even_signs(q >> 9));
    }
}

/* d, the low 8 bits of 32 points, all signs, the high 2 bits, 16 scales of 4 bits. */
void gguf_iq2_s(float *y, const uint8_t *b)
{
    const float d = block_half(b);
    for (int i = 0; i < 32; i++) {
        const int high = b[66 + i / 4] >> (2 * (i % 4)) & 3;
        const int nibble = b[74 + i / 4] >> (4 * (i / 2 % 2)) & 15;
        const float scale = d * (0.5f + (float)nibble) * 0.25f;
        y = eight(y, scale, gguf_grid_iq2_s[b[2 + i] | high << 8], b[34 + i]);
    }
}

/* d, 64 points, and for each 32 values four times 7 bits of signs and 4 bits of scale. */
void gguf_iq3_xxs(float *y, const uint8_t *b)
{
    const float d = block_half(b);
    for (int group = 0; group < 8; group++) {
        const uint8_t *q = b + 2 + 8 * group;
        const uint32_t more = block_u32(b + 66 + 4 * group);
        const float scale = d * (0.5f + (float)(more >> 28)) * 0.5f;
        for (int i = 0; i < 8; i++) {
            const unsigned signs = even_signs(more >> (7 * (i / 2))) >> (4 * (i % 2));
            y = four(y, scale, levels_3xxs, gguf_grid_iq3_xxs[q[i]], signs);
        }
    }
}

/* d, the low 8 bits of 64 points, their ninth bits, all signs, 8 scales of 4 bits. */
void gguf_iq3_s(float *y, const uint8_t *b)
{
    const float d = block_half(b);
    for (int i = 0; i < 64; i++) {
        const int high = b[66 + i / 8] >> (i % 8) & 1;
        const int nibble = b[106 + i / 16] >> (4 * (i / 8 % 2)) & 15;
        const float scale = d * (float)(1 + 2 * nibble);
        const unsigned signs = (unsigned)b[74 + i / 2] >> (4 * (i % 2));
        y = four(y, scale, levels_3s, gguf_grid_iq3_s[b[2 + i] | high << 8], signs);
    }
}

/* A point of -1, 0, 1, moved to either side by an eighth. */
static float *ternary(float *y, float scale, uint16_t point, bool down)
{
    for (int i = 0; i < 8; i++) {
        const float v = (float)((point >> (2 * i) & 3) - 1);
        *y++ = scale * (v + (down ? -0.125f : 0.125f));
    }
    return y;
}

/* d, the low 8 bits of 32 points, and for each 32 values four times their high 3 bits, 3 bits of scale, the side. */
void gguf_iq1_s(float *y, const uint8_t *b)
{
    const float d = block_half(b);
    for (int i = 0; i < 32; i++) {
        const unsigned more = block_u16(b + 34 + 2 * (i / 4));
        const unsigned high = more >> (3 * (i % 4)) & 7;
        const float scale = d * (float)(2 * (more >> 12 & 7) + 1);
        y = ternary(y, scale, gguf_grid_iq1_s[b[i + 2] | high << 8], more >> 15);
    }
}

/* The low 8 bits of 32 points; the high 3 bits and the side of each; 16 scales of 3 bits in four numbers, whose highest 4 bits
 * together are d. */
void gguf_iq1_m(float *y, const uint8_t *b)
{
    const uint8_t *scales = b + 48;
    unsigned half = 0;
    for (int i = 0; i < 4; i++) half |= (unsigned)(scales[2 * i + 1] >> 4) << (4 * i);
    const float d = f16_to_f32((uint16_t)half);
    for (int i = 0; i < 32; i++) {
        const unsigned more = b[32 + i / 2] >> (4 * (i % 2));
        const unsigned three = block_u16(scales + 2 * (i / 8)) >> (3 * (i / 2 % 4)) & 7;
        y = ternary(y, d * (float)(2 * three + 1), gguf_grid_iq1_s[b[i] | (more & 7) << 8],
                    more >> 3 & 1);
    }
}
