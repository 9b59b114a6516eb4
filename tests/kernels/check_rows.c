/* Norms, softmax, activations and conversions of every tier against the reference. */
#include <math.h>

#include "check.h"
#include "kernels/quantize.h"

static const size_t sizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 384, 577, 1000};
#define N_SIZES (sizeof sizes / sizeof *sizes)

/* Equal within `ulps` units of the last place, or within `tiny`; NaN equals NaN. */
static bool near(float a, float b, int ulps, float tiny)
{
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (a == b || fabsf(a - b) <= tiny) return true;
    return fabsf(a - b) <= (float)ulps * 1.2e-7f * fabsf(b);
}

static void check_near(const char *tier, const char *what, const float *got, const float *want,
                       size_t n, int ulps, float tiny)
{
    for (size_t i = 0; i < n; i++)
        if (!near(got[i], want[i], ulps, tiny))
            fail_msg("%s %s: value %zu of %zu is %.9g, expected %.9g", tier, what, i, n, got[i],
                     want[i]);
}

static void norms(void **state)
{
    (void)state;
    const kernel_table *ref = kernels_of(CPU_REF);
    for_each_tier(k) for (size_t s = 0; s < N_SIZES; s++)
    {
        const size_t N = sizes[s], M = 3;
        float *x = guarded_new(M * N * 4, 4), *y = guarded_new(M * N * 4, 4),
              *want = malloc(M * N * 4 + 4);
        float *w = guarded_new(N * 4, 4), *b = guarded_new(N * 4, 4), *row = malloc(N * 4 + 4);
        for (size_t i = 0; i < M * N; i++) x[i] = check_float() + (i % N == 3 ? 20.0f : 0.3f);
        for (size_t i = 0; i < N; i++) w[i] = 1 + check_float(), b[i] = check_float();
        for (int v = 0; v < 2; v++) {
            ref->layer_norm(want, x, v ? w : NULL, v ? b : NULL, M, N, 1e-12f);
            k->layer_norm(y, x, v ? w : NULL, v ? b : NULL, M, N, 1e-12f);
            if (N != 1) check_near(k->name, "layer_norm", y, want, M * N, 8, 3e-6f);
            for (size_t m = 0; m < M; m++) {
                k->layer_norm(row, x + m * N, v ? w : NULL, v ? b : NULL, 1, N, 1e-12f);
                assert_memory_equal(row, y + m * N, N * 4);
            }
            ref->rms_norm(want, x, v ? w : NULL, v ? 1.0f : 0.0f, M, N, 1e-6f);
            k->rms_norm(y, x, v ? w : NULL, v ? 1.0f : 0.0f, M, N, 1e-6f);
            check_near(k->name, "rms_norm", y, want, M * N, 8, 1e-6f);
        }
        guarded_check(y, M * N * 4);
        memcpy(y, x, M * N * 4);
        k->rms_norm(y, y, w, 1.0f, M, N, 1e-6f); // in place
        check_near(k->name, "rms_norm in place", y, want, M * N, 8, 1e-6f);
        memcpy(want, x, M * N * 4);
        memcpy(y, x, M * N * 4);
        ref->softmax(want, M, N);
        k->softmax(y, M, N);
        guarded_check(y, M * N * 4);
        check_near(k->name, "softmax", y, want, M * N, 8, 1e-30f);
        guarded_free(x, 4), guarded_free(y, 4), guarded_free(w, 4), guarded_free(b, 4);
        free(want), free(row);
    }
}

static void softmax_of_masked_and_bad_rows(void **state)
{
    (void)state;
    for_each_tier(k)
    {
        float x[40];
        for (int i = 0; i < 40; i++) x[i] = i % 3 ? -INFINITY : (float)i;
        k->softmax(x, 1, 40);
        for (int i = 0; i < 40; i++) assert_true(i % 3 ? x[i] == 0 : x[i] >= 0 && x[i] <= 1);
        for (int i = 0; i < 40; i++) x[i] = i == 21 ? NAN : 1.0f;
        k->softmax(x, 1, 40);
        for (int i = 0; i < 40; i++) assert_true(isnan(x[i]));
    }
}

static void activations(void **state)
{
    (void)state;
    enum { N = 4001 };
    float *x = malloc(N * 4), *up = malloc(N * 4), *y = guarded_new(N * 4, 4),
          *want = malloc(N * 4);
    for (int i = 0; i < N; i++) x[i] = ((float)i - 2000) * 0.0125f, up[i] = check_float();
    const float special[] = {0.0f,   -0.0f,   1e-30f, -1e-30f,  1e-42f, 88.0f,
                             100.0f, -100.0f, 1e30f,  INFINITY, NAN,    1e-5f};
    memcpy(x, special, sizeof special);
    const kernel_table *ref = kernels_of(CPU_REF);
    for_each_tier(k) for (int a = 0; a < K_ACT_COUNT; a++) for (size_t s = 0; s < N_SIZES + 1; s++)
    {
        const size_t n = s < N_SIZES ? sizes[s] : N;
        char what[32];
        snprintf(what, sizeof what, "activation %d", a);
        // one minus something near one leaves an error of f32's last place beside x: hence tiny
        ref->act(want, x, n, (k_act)a);
        k->act(y, x, n, (k_act)a);
        check_near(k->name, what, y, want, n, 6, 1.5e-6f);
        untouched_check(y + n, (N - n) * 4);
        ref->act_mul(want, x, up, n, (k_act)a);
        k->act_mul(y, x, up, n, (k_act)a);
        check_near(k->name, what, y, want, n, 6, 3e-6f);
        memcpy(y, x, n * 4);
        k->act(y, y, n, (k_act)a); // in place
        ref->act(want, x, n, (k_act)a);
        check_near(k->name, what, y, want, n, 6, 1.5e-6f);
        k->add(y, x, up, n);
        for (size_t i = 0; i < n; i++) assert_true(near(y[i], x[i] + up[i], 0, 0));
        memset(y, 0xA5, N * 4);
    }
    free(x), free(up), free(want), guarded_free(y, 4);
}

static void tanh_keeps_small_numbers(void **state)
{
    (void)state;
    for_each_tier(k) for (float x = 1e-20f; x < 1; x *= 3)
    {
        float y;
        k->act(&y, &x, 1, K_ACT_TANH);
        assert_true(near(y, tanhf(x), 3, 0));
    }
}

static void all_sixteen_bit_and_eight_bit_numbers_widen_exactly(void **state)
{
    (void)state;
    uint16_t *h = malloc(65536 * 2 + 1);
    float *want = malloc(65536 * 4), *got = guarded_new(65536 * 4, 4);
    const kernel_table *ref = kernels_of(CPU_REF);
    static const mltf_dtype types[] = {DT_BF16, DT_F16, DT_F8_E4M3, DT_F8_E5M2};
    for (uint32_t i = 0; i < 65536; i++) h[i] = (uint16_t)i;
    void *odd = malloc(65536 * 2 + 1); // a mapped file aligns nothing
    memcpy((char *)odd + 1, h, 65536 * 2);
    for_each_tier(k) for (size_t t = 0; t < 4; t++)
    {
        const size_t n = t < 2 ? 65536 : 512;
        ref->widen(want, h, types[t], n);
        k->widen(got, (char *)odd + 1, types[t], n);
        for (size_t i = 0; i < n; i++)
            if (isnan(want[i]) ? !isnan(got[i]) : memcmp(&want[i], &got[i], 4) != 0)
                fail_msg("%s %s %04x widens to %g, expected %g", k->name, dtype_name(types[t]),
                         (unsigned)i, got[i], want[i]);
        for (size_t s = 0; s < N_SIZES; s++) {
            memset(got, 0xA5, 65536 * 4);
            k->widen(got, h, types[t], sizes[s]);
            untouched_check(got + sizes[s], 4096);
        }
    }
    free(h), free(odd), free(want), guarded_free(got, 4);
}

static void narrowing_rounds_to_nearest_even(void **state)
{
    (void)state;
    enum { N = 100003 };
    float *x = malloc(N * 4);
    for (int i = 0; i < N; i++) {
        uint32_t u = check_random() << 16 ^ check_random();
        if (i % 3 == 0) u = (u & 0xFFFF0000u) | 0x8000u;     // ties of bf16
        if (i % 7 == 0) u = (u & 0x80FFFFFFu) | 0x38000000u; // subnormals of f16
        memcpy(&x[i], &u, 4);
    }
    uint16_t *want = malloc(N * 2), *got = guarded_new(N * 2, 2);
    for_each_tier(k) for (int t = 0; t < 2; t++)
    {
        const mltf_dtype type = t ? DT_BF16 : DT_F16;
        kernels_of(CPU_REF)->narrow(want, x, type, N);
        k->narrow(got, x, type, N);
        guarded_check(got, N * 2);
        for (int i = 0; i < N; i++) {
            const float a = t ? bf16_to_f32(want[i]) : f16_to_f32(want[i]),
                        b = t ? bf16_to_f32(got[i]) : f16_to_f32(got[i]);
            if (isnan(a) ? !isnan(b) : want[i] != got[i])
                fail_msg("%s %s: %a narrows to %04x, expected %04x", k->name, dtype_name(type),
                         x[i], got[i], want[i]);
        }
        for (size_t s = 0; s < N_SIZES; s++) {
            memset(got, 0xA5, N * 2);
            k->narrow(got, x, type, sizes[s]);
            untouched_check(got + sizes[s], 4096);
        }
    }
    free(x), free(want), guarded_free(got, 2);
}

static void quantized_rows_are_as_near_as_promised(void **state)
{
    (void)state;
    enum { N = 32 * 40 };
    float x[N], y[N], z[N];
    unsigned char row[N * 2];
    for (int i = 0; i < N; i++)
        x[i] = check_float() * powf(10, (float)(i / 32 % 9) - 5) + (i / 32 % 2 ? 0 : 1e-3f);
    for (int i = 32; i < 64; i++) x[i] = 0;
    for (int i = 64; i < 96; i++) x[i] = -2.5f;
    x[100] = NAN;
    x[130] = INFINITY;
    for (int t = 0; t < 2; t++) {
        const mltf_dtype type = t ? DT_Q4 : DT_Q8;
        quant_row(row, type, x, DT_F32, N);
        for_each_tier(k)
        {
            k->widen(y, row, type, N);
            kernels_of(CPU_REF)->widen(z, row, type, N);
            for (int g = 0; g < N; g += 32) {
                float max = -INFINITY, min = INFINITY, size = 0;
                for (int i = g; i < g + 32; i++)
                    max = fmaxf(max, x[i]), min = fminf(min, x[i]), size = fmaxf(size, fabsf(x[i]));
                // half a step, its bf16 rounding, and for 4 bit the rounding of min
                const float bound =
                    t ? ((max - min) / 30 + size / 256) * 1.02f : size / 254 * 1.02f;
                for (int i = g; i < g + 32; i++) {
                    if (g == 96 || g == 128)
                        assert_true(isnan(y[i]));
                    else if (!(fabsf(y[i] - x[i]) <= bound))
                        fail_msg("%s: %g became %g", dtype_name(type), x[i], y[i]);
                    else
                        assert_memory_equal(&y[i], &z[i], 4);
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms),
        cmocka_unit_test(softmax_of_masked_and_bad_rows),
        cmocka_unit_test(activations),
        cmocka_unit_test(tanh_keeps_small_numbers),
        cmocka_unit_test(all_sixteen_bit_and_eight_bit_numbers_widen_exactly),
        cmocka_unit_test(narrowing_rounds_to_nearest_even),
        cmocka_unit_test(quantized_rows_are_as_near_as_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
