/* The quantized blocks of GGUF as floats, bit for bit as llama.cpp and its `gguf` package unpack them.
 * d and m are the scale and minimum of a block in float16, q the small integers. */
#include "formats/gguf_blocks.h"

/* 32 values, y = d * (q - 8): d, 16 bytes whose low halves come first. */
static void q4_0(float *y, const uint8_t *b)
{
    const float d = block_half(b);
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)((b[2 + i] & 15) - 8);
        y[i + 16] = d * (float)((b[2 + i] >> 4) - 8);
    }
}

/* y = d * q + m */
static void q4_1(float *y, const uint8_t *b)
{
    const float d = block_half(b), m = block_half(b + 2);
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)(b[4 + i] & 15) + m;
        y[i + 16] = d * (float)(b[4 + i] >> 4) + m;
    }
}

/* The fifth bits of all 32 values stand in 4 bytes before the low four. */
static void q5(int *q, const uint8_t *high, const uint8_t *low)
{
    const uint32_t h = block_u32(high);
    for (int i = 0; i < 16; i++) {
        q[i] = (low[i] & 15) | (int)(h >> i & 1) << 4;
        q[i + 16] = low[i] >> 4 | (int)(h >> (i + 16) & 1) << 4;
    }
}

static void q5_0(float *y, const uint8_t *b)
{
    int q[32];
    const float d = block_half(b);
    q5(q, b + 2, b + 6);
    for (int i = 0; i < 32; i++) y[i] = d * (float)(q[i] - 16);
}

static void q5_1(float *y, const uint8_t *b)
{
    int q[32];
    const float d = block_half(b), m = block_half(b + 2);
    q5(q, b + 4, b + 8);
    for (int i = 0; i < 32; i++) y[i] = d * (float)q[i] + m;
}

static void q8_0(float *y, const uint8_t *b)
{
    const float d = block_half(b);
    for (int i = 0; i < 32; i++) y[i] = d * (float)(int8_t)b[2 + i];
}

/* 256 values in 16 groups: 4-bit scale and minimum each, 2 bits a value. */
static void q2_k(float *y, const uint8_t *b)
{
    const uint8_t *scales = b, *q = b + 16;
    const float d = block_half(b + 80), m = block_half(b + 82);
    for (int half_block = 0; half_block < 2; half_block++, q += 32) {
        for (int shift = 0; shift < 8; shift += 2) {
            for (int part = 0; part < 2; part++) {
                const float dl = d * (float)(*scales & 15), ml = m * (float)(*scales >> 4);
                scales++;
                for (int i = 0; i < 16; i++)
                    *y++ = dl * (float)(q[16 * part + i] >> shift & 3) - ml;
            }
        }
    }
}

/* 256 values in 16 groups: 6-bit scales packed in 12 bytes, 2 low bits, and a mask of third bits whose
 * absence subtracts 4. */
static void q3_k(float *y, const uint8_t *b)
{
    const uint8_t *mask = b, *q = b + 32, *s = b + 96;
    const float d = block_half(b + 108);
    for (int group = 0; group < 16; group++) {
        const int low = group < 8 ? s[group] & 15 : s[group - 8] >> 4;
        const int high = s[8 + group % 4] >> (2 * (group / 4)) & 3;
        const float dl = d * (float)((low | high << 4) - 32);
        // groups go through the two halves, in each through four shifts, in each through two parts
        const int half_block = group / 8, shift = group % 8 / 2, part = group % 2;
        for (int i = 0; i < 16; i++) {
            const int at = 16 * part + i;
            const int v = (q[32 * half_block + at] >> (2 * shift) & 3) -
                          (mask[at] >> (4 * half_block + shift) & 1 ? 0 : 4);
            *y++ = dl * (float)v;
        }
    }
}

/* 8 pairs of 6-bit scale and minimum in 12 bytes: the first four pairs whole, the rest in pieces. */
static void scale_min(int i, const uint8_t *s, uint8_t *scale, uint8_t *min)
{
    if (i < 4) {
        *scale = s[i] & 63;
        *min = s[i + 4] & 63;
    } else {
        *scale = (uint8_t)((s[i + 4] & 15) | s[i - 4] >> 6 << 4);
        *min = (uint8_t)(s[i + 4] >> 4 | s[i] >> 6 << 4);
    }
}

/* 256 values in 8 groups; high is NULL for Q4_K, the fifth bits for Q5_K. */
static void q45_k(float *y, const uint8_t *b, const uint8_t *high, const uint8_t *q)
{
    const float d = block_half(b), m = block_half(b + 2);
    for (int group = 0; group < 8; group++) {
        uint8_t scale, min;
        scale_min(group, b + 4, &scale, &min);
        const float dl = d * (float)scale, ml = m * (float)min;
        const uint8_t *p = q + 32 * (group / 2);
        for (int i = 0; i < 32; i++) {
            int v = group % 2 ? p[i] >> 4 : p[i] & 15;
            if (high) v |= (high[i] >> group & 1) << 4;
            *y++ = dl * (float)v - ml;
        }
    }
}

static void q4_k(float *y, const uint8_t *b)
{
    q45_k(y, b, NULL, b + 16);
}
static void q5_k(float *y, const uint8_t *b)
{
    q45_k(y, b, b + 16, b + 48);
}

/* 256 values in 16 groups of 8-bit scales: 4 low bits, 2 high bits, less 32. */
static void q6_k(float *y, const uint8_t *b)
{
    const uint8_t *low = b, *high = b + 128;
    const float d = block_half(b + 208);
    for (int i = 0; i < 256; i++) {
        const int half_block = i / 128, quarter = i % 128 / 32, at = i % 32;
        const uint8_t l = low[64 * half_block + 32 * (quarter % 2) + at],
                      h = high[32 * half_block + at];
        const int v = (quarter < 2 ? l & 15 : l >> 4) | (h >> (2 * quarter) & 3) << 4;
        const float dl = d * (float)(int8_t)b[192 + i / 16];
        y[i] = dl * (float)(v - 32);
    }
}

/* 16 levels that are denser around zero. */
static const int8_t levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};

static void iq4_nl(float *y, const uint8_t *b)
{
    const float d = block_half(b);
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)levels[b[2 + i] & 15];
        y[i + 16] = d * (float)levels[b[2 + i] >> 4];
    }
}

/* 8 groups with 6-bit scales: high bits in 2 bytes, low ones in 4. */
static void iq4_xs(float *y, const uint8_t *b)
{
    const float d = block_half(b);
    const unsigned high = block_u16(b + 2);
    for (int group = 0; group < 8; group++) {
        const int scale =
            (b[4 + group / 2] >> (4 * (group % 2)) & 15) | (int)(high >> (2 * group) & 3) << 4;
        const float dl = d * (float)(scale - 32);
        const uint8_t *q = b + 8 + 16 * group;
        for (int i = 0; i < 16; i++) {
            y[i] = dl * (float)levels[q[i] & 15];
            y[i + 16] = dl * (float)levels[q[i] >> 4];
        }
        y += 32;
    }
}

/* 256 values of -1, 0, 1, five to a byte as the digits of a fraction to the base 3. */
static void tq1_0(float *y, const uint8_t *b)
{
    static const struct {
        uint8_t at, bytes, digits;
    } parts[] = {{0, 32, 5}, {32, 16, 5}, {48, 4, 4}};
    const float d = block_half(b + 52);
    for (int p = 0; p < 3; p++) {
        unsigned power = 1;
        for (int digit = 0; digit < parts[p].digits; digit++, power *= 3)
            for (int i = 0; i < parts[p].bytes; i++) {
                const uint8_t rest = (uint8_t)(b[parts[p].at + i] * power);
                *y++ = d * (float)((rest * 3 >> 8) - 1);
            }
    }
}

/* The same in 2 bits. */
static void tq2_0(float *y, const uint8_t *b)
{
    const float d = block_half(b + 64);
    for (int i = 0; i < 256; i++) {
        const int half_block = i / 128, shift = i % 128 / 32;
        y[i] = d * (float)((b[32 * half_block + i % 32] >> (2 * shift) & 3) - 1);
    }
}

/* 32 values of 4 bits with 1 bit of mantissa (twice them here), and half of a power of two for all. */
static void mxfp4(float *y, const uint8_t *b)
{
    static const int8_t twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    const uint32_t bits = b[0] < 2 ? 0x00200000u << b[0] : (uint32_t)(b[0] - 1) << 23;
    float d;
    memcpy(&d, &bits, sizeof d);
    for (int i = 0; i < 16; i++) {
        y[i] = d * (float)twice[b[1 + i] & 15];
        y[i + 16] = d * (float)twice[b[1 + i] >> 4];
    }
}

static void blocks(float *out, const uint8_t *p, size_t n, size_t elements, size_t bytes,
                   void (*one)(float *, const uint8_t *))
{
    for (size_t i = 0; i < n; i++) one(out + i * elements, p + i * bytes);
}

void gguf_dequantize(float *out, const gguf_tensor *t, size_t first, size_t n)
{
    switch (t->type) {
    case GGUF_F32:
        memcpy(out, t->data + 4 * first, 4 * n);
        return;
    case GGUF_F16:
        for (size_t i = 0; i < n; i++) out[i] = block_half(t->data + 2 * (first + i));
        return;
    case GGUF_BF16:
        for (size_t i = 0; i < n; i++) out[i] = bf16_to_f32(block_u16(t->data + 2 * (first + i)));
        return;
#define CASE(name, fn, elements, bytes)                                                            \
    case name:                                                                                     \
        blocks(out, t->data + first / elements * bytes, n / elements, elements, bytes, fn);        \
        return;
        CASE(GGUF_Q4_0, q4_0, 32, 18)
        CASE(GGUF_Q4_1, q4_1, 32, 20)
        CASE(GGUF_Q5_0, q5_0, 32, 22)
        CASE(GGUF_Q5_1, q5_1, 32, 24)
        CASE(GGUF_Q8_0, q8_0, 32, 34)
        CASE(GGUF_Q2_K, q2_k, 256, 84)
        CASE(GGUF_Q3_K, q3_k, 256, 110)
        CASE(GGUF_Q4_K, q4_k, 256, 144)
        CASE(GGUF_Q5_K, q5_k, 256, 176)
        CASE(GGUF_Q6_K, q6_k, 256, 210)
        CASE(GGUF_IQ4_NL, iq4_nl, 32, 18)
        CASE(GGUF_IQ4_XS, iq4_xs, 256, 136)
        CASE(GGUF_IQ2_XXS, gguf_iq2_xxs, 256, 66)
        CASE(GGUF_IQ2_XS, gguf_iq2_xs, 256, 74)
        CASE(GGUF_IQ2_S, gguf_iq2_s, 256, 82)
        CASE(GGUF_IQ3_XXS, gguf_iq3_xxs, 256, 98)
        CASE(GGUF_IQ3_S, gguf_iq3_s, 256, 110)
        CASE(GGUF_IQ1_S, gguf_iq1_s, 256, 50)
        CASE(GGUF_IQ1_M, gguf_iq1_m, 256, 56)
        CASE(GGUF_TQ1_0, tq1_0, 256, 54)
        CASE(GGUF_TQ2_0, tq2_0, 256, 66)
        CASE(GGUF_MXFP4, mxfp4, 32, 17)
#undef CASE
    }
}
