/* Every tier's matrix product against double arithmetic, and against itself: the bits of a row must not
 * depend on the other rows, on the piece of outputs, or on how packing was divided. */
#include <math.h>

#include "check.h"
#include "kernels/quantize.h"

#ifndef for_each_table /* check_amx.c brings a table of its own */
#define for_each_table(k) for_each_tier(k)
#endif

static const mltf_dtype dtypes[] = {DT_F32, DT_BF16, DT_F16, DT_F8_E4M3, DT_Q8, DT_Q4};

typedef struct problem {
    size_t M, N, K;
    size_t ldx, stride;
    float *x;     /* [M, ldx] */
    float *wide;  /* [N, K] the weights as f32 */
    char *stored; /* [N, stride] as stored */
    float *bias;
    size_t stored_bytes, shift;
    k_weight w;
} problem;

static uint8_t random_f8(void)
{
    uint8_t v;
    do v = (uint8_t)(check_random() & 0xFF);
    while ((v & 0x7F) == 0x7F || (v & 0x7F) > 0x40); // no NaN, up to 2
    return v;
}

static void problem_new(problem *p, mltf_dtype t, size_t M, size_t N, size_t K, size_t shift)
{
    const bool grouped = t == DT_Q8 || t == DT_Q4;
    *p = (problem){
        .M = M, .N = N, .K = K, .ldx = K + 3, .stride = grouped ? K : K + 5, .shift = shift};
    p->x = guarded_new(M * p->ldx * 4 + 4, 4);
    p->wide = malloc((N * K + 1) * 4);
    p->bias = guarded_new(N * 4 + 4, 4);
    for (size_t i = 0; i < M * p->ldx; i++) p->x[i] = check_float();
    for (size_t i = 0; i < N; i++) p->bias[i] = check_float();
    p->stored_bytes =
        N ? quant_bytes(t, (N - 1) * p->stride + K) : 0; // nothing behind the last row
    p->stored = malloc(p->stored_bytes + shift + 1);
    const kernel_table *ref = kernels_of(CPU_REF);
    for (size_t n = 0; n < N; n++) {
        char *row = p->stored + shift + quant_bytes(t, n * p->stride);
        const size_t len = n + 1 < N ? p->stride : K;
        float *f = malloc(len * 4 + 4);
        for (size_t k = 0; k < len; k++) f[k] = check_float();
        if (grouped)
            quant_row(row, t, f, DT_F32, len);
        else if (t == DT_F8_E4M3)
            for (size_t k = 0; k < len; k++) row[k] = (char)random_f8();
        else
            ref->narrow(row, f, t, len);
        ref->widen(p->wide + n * K, row, t, K);
        free(f);
    }
    p->w = (k_weight){.data = p->stored + shift, .dtype = t, .N = N, .K = K, .stride = p->stride};
}

static void problem_free(problem *p)
{
    guarded_free(p->x, 4);
    guarded_free(p->bias, 4);
    free(p->wide);
    free(p->stored);
}

/* y [M, ldy] of rows [m0, m0 + M), in the given pieces of outputs and of packing. */
static void run(const kernel_table *k, float *y, size_t ldy, const problem *p, k_compute c,
                const float *bias, size_t m0, size_t M, size_t piece, size_t pack_piece)
{
    const size_t bytes = k->pack_bytes(&p->w, c, M);
    void *panel = aligned_alloc(64, (bytes + 127) / 64 * 64);
    memset(panel, 0xFF, (bytes + 127) / 64 * 64);
    for (size_t m = 0; m < M; m += pack_piece)
        k->pack(panel, p->x + m0 * p->ldx, p->ldx, &p->w, c, M, m,
                m + pack_piece < M ? m + pack_piece : M);
    for (size_t n = 0; n < p->N; n += piece)
        k->gemm(y, ldy, panel, &p->w, c, bias, M, n, n + piece < p->N ? n + piece : p->N);
    free(panel);
}

static void check_values(const kernel_table *k, const problem *p, k_compute c, const float *y,
                         size_t ldy, const float *bias)
{
    for (size_t m = 0; m < p->M; m++)
        for (size_t n = 0; n < p->N; n++) {
            double exact = bias ? bias[n] : 0, rounded = exact, both = exact, size = fabs(exact);
            for (size_t i = 0; i < p->K; i++) {
                const float x = p->x[m * p->ldx + i], w = p->wide[n * p->K + i];
                exact += (double)x * w;
                rounded += (double)bf16_to_f32(f32_to_bf16(x)) * w;
                both += (double)bf16_to_f32(f32_to_bf16(x)) * bf16_to_f32(f32_to_bf16(w));
                size += fabs((double)x * w);
            }
            const double bound = size * (double)(p->K + 8) * 0x1p-24 + 1e-30, got = y[m * ldy + n];
            if (fabs(got - exact) <= bound) continue;
            const bool grouped = p->w.dtype == DT_Q8 || p->w.dtype == DT_Q4;
            if (c == K_COMPUTE_BF16 && fabs(got - rounded) <= bound) continue;
            if (c == K_COMPUTE_BF16 && grouped && fabs(got - both) <= bound) continue;
            fail_msg("%s %s %s M=%zu N=%zu K=%zu: y[%zu, %zu] is %.9g, expected %.9g (bf16: %.9g, "
                     "weights too: %.9g) +- %.2g",
                     k->name, dtype_name(p->w.dtype), c ? "bf16" : "f32", p->M, p->N, p->K, m, n,
                     got, exact, rounded, both, bound);
        }
}

static void check_one(const kernel_table *k, const problem *p, k_compute c, const float *bias)
{
    const size_t ldy = p->N + 7, bytes = ((p->M ? p->M - 1 : 0) * ldy + p->N) * 4;
    float *y = guarded_new(bytes, 4), *again = guarded_new(bytes, 4);
    for (size_t i = 0; i < bytes / 4; i++) y[i] = again[i] = -12345.0f;
    run(k, y, ldy, p, c, bias, 0, p->M, p->N ? p->N : 1, p->M ? p->M : 1);
    guarded_check(y, bytes);
    for (size_t m = 0; m + 1 < p->M; m++)
        for (size_t i = p->N; i < ldy; i++) assert_true(y[m * ldy + i] == -12345.0f);
    check_values(k, p, c, y, ldy, bias);

    run(k, again, ldy, p, c, bias, 0, p->M, k->gemm_grain, 5); // other pieces, same bits
    guarded_check(again, bytes);
    assert_memory_equal(y, again, bytes);
    float *row = malloc((p->N * 3 + 1) * 4);
    for (size_t m = 0; m < p->M; m += 3) { // alone, or three together
        const size_t rows = m % 2 && m + 3 <= p->M ? 3 : 1;
        run(k, row, p->N, p, c, bias, m, rows, p->N ? p->N : 1, rows);
        for (size_t r = 0; r < rows; r++)
            if (memcmp(row + r * p->N, y + (m + r) * ldy, p->N * 4) != 0)
                fail_msg(
                    "%s %s %s M=%zu N=%zu K=%zu: row %zu differs when computed with %zu rows only",
                    k->name, dtype_name(p->w.dtype), c ? "bf16" : "f32", p->M, p->N, p->K, m + r,
                    rows);
    }
    free(row);
    guarded_free(y, 4);
    guarded_free(again, 4);
}

static void every_tier_and_type_at_all_sizes(void **state)
{
    (void)state;
    static const size_t Ms[] = {0,  1,  2,  3,  4,  5,  7,  8,  9,  11, 12, 15,
                                16, 17, 27, 31, 32, 33, 48, 53, 64, 80, 97};
    static const size_t Ns[] = {0, 1, 7, 8, 15, 16, 17, 33, 64, 65, 81};
    static const size_t Ks[] = {0, 1, 2, 15, 16, 17, 31, 32, 33, 64, 100, 129};
    static const size_t group_Ks[] = {0, 32, 64, 96, 256};
    for_each_table(k) for (size_t t = 0; t < sizeof dtypes / sizeof *dtypes; t++)
    {
        const bool grouped = dtypes[t] == DT_Q8 || dtypes[t] == DT_Q4;
        const size_t nK = grouped ? sizeof group_Ks / sizeof *Ks : sizeof Ks / sizeof *Ks;
        for (size_t a = 0; a < sizeof Ms / sizeof *Ms; a++)
            for (size_t b = 0; b < sizeof Ns / sizeof *Ns; b++) {
                const size_t K = grouped ? group_Ks[(a + b) % nK] : Ks[(a * 5 + b) % nK];
                problem p;
                problem_new(&p, dtypes[t], Ms[a], Ns[b], K, (a + b) % 3);
                check_one(k, &p, K_COMPUTE_F32, a % 2 ? p.bias : NULL);
                check_one(k, &p, K_COMPUTE_BF16, a % 2 ? NULL : p.bias);
                problem_free(&p);
            }
    }
}

static void long_rows_are_summed_in_chunks(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {{1, 40, 512},  {50, 20, 544}, {13, 66, 1024},
                                      {3, 17, 1537}, {49, 9, 4101}, {6, 33, 576},
                                      {1, 5, 9000},  {2, 70, 3008}, {16, 16, 1120}};
    for_each_table(k) for (size_t t = 0; t < sizeof dtypes / sizeof *dtypes;
                           t++) for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    {
        size_t K = sizes[i][2];
        if (dtypes[t] == DT_Q8 || dtypes[t] == DT_Q4) K = K / 32 * 32;
        problem p;
        problem_new(&p, dtypes[t], sizes[i][0], sizes[i][1], K, 1);
        check_one(k, &p, K_COMPUTE_F32, p.bias);
        check_one(k, &p, K_COMPUTE_BF16, NULL);
        problem_free(&p);
    }
}

static void infinities_and_nan_reach_their_row_only(void **state)
{
    (void)state;
    for_each_table(k) for (size_t t = 0; t < 3; t++) for (int c = 0; c < 2; c++)
    {
        problem p;
        problem_new(&p, dtypes[t], 21, 35, 70, 0);
        p.x[2 * p.ldx + 5] = INFINITY;
        p.x[18 * p.ldx + 69] = NAN;
        for (size_t i = 0; i < p.K; i++) p.x[4 * p.ldx + i] = 1e-42f; // denormals may become zero
        float *y = malloc(p.M * p.N * 4);
        run(k, y, p.N, &p, (k_compute)c, NULL, 0, p.M, p.N, p.M);
        for (size_t m = 0; m < p.M; m++)
            for (size_t n = 0; n < p.N; n++) {
                const float v = y[m * p.N + n];
                if (m == 2)
                    assert_true(!isfinite(v));
                else if (m == 18)
                    assert_true(isnan(v));
                else if (m == 4)
                    assert_true(fabsf(v) < 1e-38f);
                else
                    assert_true(isfinite(v));
            }
        free(y);
        problem_free(&p);
    }
}

/* The order of summation that kx86_gemm.h promises, written out: f32 results of all vector tiers are
 * the same bits. */
#ifndef CHECK_AMX
static void vector_tiers_agree_with_the_promised_order(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {{1, 20, 300}, {37, 50, 1030}, {5, 16, 2048}};
    for (int tier = CPU_AVX2; tier <= CPU_AMX; tier++) {
        const kernel_table *k = kernels_of((cpu_tier)tier);
        for (size_t s = 0; k && s < sizeof sizes / sizeof *sizes; s++) {
            problem p;
            problem_new(&p, DT_F32, sizes[s][0], sizes[s][1], sizes[s][2], 0);
            float *y = malloc(p.M * p.N * 4);
            run(k, y, p.N, &p, K_COMPUTE_F32, p.bias, 0, p.M, p.N, p.M);
            const size_t chunks = (p.K - 1) / 512 + 1,
                         chunk = ((p.K + chunks - 1) / chunks + 127) / 128 * 128;
            for (size_t m = 0; m < p.M; m++)
                for (size_t n = 0; n < p.N; n++) {
                    float total = 0;
                    for (size_t c = 0; c < p.K; c += chunk) {
                        float sum = 0;
                        for (size_t i = c; i < p.K && i < c + chunk; i++)
                            sum = fmaf(p.x[m * p.ldx + i], p.wide[n * p.K + i], sum);
                        total = c ? total + sum : sum;
                    }
                    total += p.bias[n];
                    assert_memory_equal(&total, &y[m * p.N + n], 4);
                }
            free(y);
            problem_free(&p);
        }
    }
}
#endif

int main(void)
{
#ifdef CHECK_AMX
    if (!emulated_amx()) {
        puts("[  PASSED  ] 0 test(s). (this machine has no AVX-512, which the code around the "
             "tiles needs)");
        return 0;
    }
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tier_and_type_at_all_sizes),
        cmocka_unit_test(long_rows_are_summed_in_chunks),
        cmocka_unit_test(infinities_and_nan_reach_their_row_only),
#ifndef CHECK_AMX
        cmocka_unit_test(vector_tiers_agree_with_the_promised_order),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
