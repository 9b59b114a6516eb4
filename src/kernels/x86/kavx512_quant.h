/* The narrow way (see kx86_gemm.h) for Q8 and Q4 with AVX-512; included by the template.
 *
 * Rows are loaded 64 bytes at a time and transposed as 32-bit words, so that one shuffle moves four (Q8) or eight
 * (Q4) weights of 16 outputs; words are then taken apart in place. Scales are transposed the same way, 16
 * words at a time, ahead of the numbers that they belong to. A vector of weights is only 16 or 8 bytes of memory,
 * so at one token several tiles of outputs go together: one chain of sums alone would be slower than memory. */
#ifndef MLTF_KERNELS_KAVX512_QUANT_H
#define MLTF_KERNELS_KAVX512_QUANT_H

/* Bytes [from, from + 64) of 16 rows as words, transposed; what lies at `end` and behind reads as zero. */
VEC_INLINE void quant_words(uint32_t to[16][16], const char *const row[16], size_t from, size_t end)
{
    vec t[16];
    const __mmask64 m = end - from >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (end - from)) - 1;
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) t[i] = _mm512_maskz_loadu_epi8(m, row[i] + from);
    v_transpose(t);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) v_store(to[i], t[i]);
}

/* Byte b of each word, as q 2^24. */
VEC_INLINE vecf q8_number(vec word, const int b)
{
    const __m128i to_top = _mm_set_epi8((char)(12 + b), -1, -1, -1, (char)(8 + b), -1, -1, -1, (char)(4 + b),
                                        -1, -1, -1, (char)b, -1, -1, -1);
    return _mm512_cvtepi32_ps(_mm512_shuffle_epi8(word, _mm512_broadcast_i32x4(to_top)));
}

/* Nibble i of each word. The permutation looks at the low four bits only. */
VEC_INLINE vecf q4_number(vec word, const int i)
{
    const vecf number = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_permutexvar_ps(i ? _mm512_srli_epi32(word, 4 * i) : word, number);
}

/* R tokens against T vectors of outputs from n on; R, T and the type are constants. total [T][R]. */
VEC_INLINE void quant_tiles(const int R, const int T, const mltf_dtype type, vecf *total,
                            const uint32_t *x, const k_weight *w, size_t n, size_t end,
                            prefetch *next)
{
    const bool four = type == DT_Q4;
    const size_t K = w->K, chunk = chunk_of(K);
    const size_t numbers = four ? K / 2 : K,
                 scale_end = numbers + (four ? K / 8 : K / 16); // bytes of a row
    const size_t step = four ? 128 : 64;                        // inputs in 64 bytes
    const size_t scale_step = four ? 512 : 1024;                // inputs whose scales fill 64 bytes
    const char *row[4 * 16];
    uint32_t words[4][16][16], scales[4][16][16]; // [tile][word][output]
    for (size_t i = 0; i < (size_t)T * 16; i++)
        row[i] = (const char *)w->data + quant_bytes(type, min_size(n + i, end - 1) * w->stride);
    for (int i = 0; i < T * R; i++) total[i] = f_zero();
    for (size_t k = 0; k < K; k += chunk) {
        vecf acc[12];
#pragma GCC unroll 16
        for (int i = 0; i < T * R; i++) acc[i] = f_zero();
        const size_t k_end = min_size(k + chunk, K);
        for (size_t u = k; u < k_end; u += step) {
            if (u % scale_step == 0)
                for (int t = 0; t < T; t++)
                    quant_words(scales[t], row + t * 16, numbers + u / scale_step * 64, scale_end);
            for (int t = 0; t < T; t++)
                quant_words(words[t], row + t * 16, four ? u / 2 : u, numbers);
            const size_t groups = min_size(step, K - u) / QUANT_GROUP;
            for (size_t g = 0; g < groups; g++) {
                vecf scale[4], min[4];
                const size_t at = u / QUANT_GROUP + g;
#pragma GCC unroll 4
                for (int t = 0; t < T; t++) {
                    const vec s = v_load(scales[t][(four ? at : at / 2) % 16]);
                    const vec high = _mm512_and_si512(s, _mm512_set1_epi32((int32_t)0xFFFF0000));
                    const vec low = _mm512_slli_epi32(s, 16);
                    min[t] = f_from_v(high);
                    if (four)
                        scale[t] = f_from_v(low);
                    else
                        scale[t] = f_mul(f_from_v(at % 2 ? high : low), f_set(0x1p-24f));
                }
                const int per_word = four ? 8 : 4;
                const size_t in_word = (size_t)per_word, group_words = QUANT_GROUP / in_word;
                for (size_t d = 0; d < group_words; d++) {
                    vec word[4];
                    prefetch_some(next, (size_t)T * (four ? 80 : 68)); // little at a time: memory takes few at once
#pragma GCC unroll 4
                    for (int t = 0; t < T; t++) word[t] = v_load(words[t][g * group_words + d]);
                    const uint32_t *xd = x + (u + g * QUANT_GROUP + d * in_word) * (size_t)R;
#pragma GCC unroll 8
                    for (int b = 0; b < per_word; b++) {
                        vecf wt[4];
#pragma GCC unroll 4
                        for (int t = 0; t < T; t++)
                            wt[t] = four ? f_fma(q4_number(word[t], b), scale[t], min[t])
                                         : f_mul(q8_number(word[t], b), scale[t]);
#pragma GCC unroll 16
                        for (int r = 0; r < R; r++) {
                            const vec xr = v_bcast(xd + b * R + r);
#pragma GCC unroll 4
                            for (int t = 0; t < T; t++)
                                acc[t * R + r] = v_mac(acc[t * R + r], v_from_f(wt[t]), xr);
                        }
                    }
                }
            }
        }
#pragma GCC unroll 16
        for (int i = 0; i < T * R; i++) total[i] = k ? f_add(total[i], acc[i]) : acc[i];
    }
}

/* Tokens of the narrow way and tiles of outputs that go with them: at least four chains. */
#define QUANT_KERNELS(X) X(1, 4) X(2, 2) X(4, 1) X(8, 1) X(11, 1)

#define QUANT_FUNCTION(R, T)                                                                       \
    static __attribute__((noinline)) void quant_##R(                                               \
        vecf *total, const uint32_t *x, const k_weight *w, size_t n, size_t end, prefetch *next)   \
    {                                                                                              \
        if (w->dtype == DT_Q8)                                                                     \
            quant_tiles(R, T, DT_Q8, total, x, w, n, end, next);                                   \
        else                                                                                       \
            quant_tiles(R, T, DT_Q4, total, x, w, n, end, next);                                   \
    }
QUANT_KERNELS(QUANT_FUNCTION)

/* narrow_strip() for Q8 and Q4. */
static void quant_strip(float *y, size_t ldy, const uint32_t *x, const k_weight *w,
                        const float *bias, const m_layout *l, size_t m, size_t n, size_t count)
{
    const size_t row_bytes = quant_bytes(w->dtype, w->stride), R = l->tail_width;
    const size_t tile = R == 1 ? 64 : R == 2 ? 32 : 16;
    for (size_t j = 0; j < count; j += tile) {
        const size_t behind = n + min_size(j + tile, count);
        prefetch next = {NULL, 0};
        if (l->blocks == 0 && behind < w->N) {
            next.p = (const char *)w->data + behind * row_bytes;
            next.left = min_size(tile, w->N - behind) * row_bytes;
        }
        vecf total[12];
#define QUANT_CALL(r, T)                                                                           \
    case r:                                                                                        \
        quant_##r(total, x, w, n + j, n + count, &next);                                           \
        break;
        switch (R) {
            QUANT_KERNELS(QUANT_CALL)
        }
        for (size_t t = j; t < min_size(j + tile, count); t += 16) {
            const size_t outs = min_size(16, count - t);
            const vecf b = bias ? f_load_first(bias + n + t, outs) : f_zero();
            for (size_t r = 0; r < l->tail; r++)
                f_store_first(y + (m + r) * ldy + n + t, f_add(total[(t - j) / 16 * R + r], b),
                              outs);
        }
    }
}

#endif
