/* Recurrent states of every tier against the reference. */
#include <math.h>

#include "check.h"

static const size_t widths[] = {1, 3, 7, 8, 9, 16, 17, 31, 32, 48, 63, 64, 65, 100, 128, 200};
#define N_WIDTHS (sizeof widths / sizeof *widths)

static void assert_near(const char *tier, const char *what, const float *got, const float *want,
                        size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= 4e-6f * (1 + fabsf(want[i]))))
            fail_msg("%s %s: value %zu of %zu is %.9g, expected %.9g", tier, what, i, n, got[i],
                     want[i]);
}

typedef struct {
    float *y, *h;
} answer;

static void step(const kernel_table *k, answer *o, const float *v, size_t ld, size_t N, size_t P,
                 int kind)
{
    const float *kk = v, *q = v + N, *u = v + 2 * N, *dt = u + ld, *a = dt + ld;
    if (kind == 2)
        k->scan_step(o->y, o->h, a, ld, dt, kk, u, q, N, P);
    else
        k->state_step(o->y, o->h, ld, 0.75f, kind ? kk : NULL, kind ? u : NULL, q, N, P);
}

static void a_step_of_a_state(void **state)
{
    (void)state;
    for_each_tier(k) for (size_t w = 0; w < N_WIDTHS; w++) for (int kind = 0; kind < 3; kind++)
    {
        static const char *const names[] = {"state_step, nothing new", "state_step", "scan_step"};
        const size_t P = widths[w], ld = P + w % 3, N = 1 + w * 5 % 17;
        float *v = malloc((2 * N + 2 * ld + N * ld) * 4), *h0 = malloc(N * ld * 4);
        answer got = {guarded_new(P * 4, 4), guarded_new(N * ld * 4, 4)},
               want = {malloc(P * 4), malloc(N * ld * 4)};
        for (size_t i = 0; i < 2 * N + 2 * ld + N * ld; i++) v[i] = check_float();
        for (size_t i = 0; i < 2 * ld + N * ld; i++) // decays, and steps that are positive
            if (i >= ld) v[2 * N + i] = i < 2 * ld ? fabsf(v[2 * N + i]) : -fabsf(v[2 * N + i]);
        for (size_t i = 0; i < N * ld; i++) h0[i] = check_float();
        memcpy(got.h, h0, N * ld * 4);
        memcpy(want.h, h0, N * ld * 4);
        step(kernels_of(CPU_REF), &want, v, ld, N, P, kind);
        step(k, &got, v, ld, N, P, kind);
        guarded_check(got.y, P * 4);
        guarded_check(got.h, N * ld * 4);
        assert_near(k->name, names[kind], got.y, want.y, P);
        assert_near(k->name, names[kind], got.h, want.h, N * ld);
        // a column alone has the same bits
        float y1, *h1 = malloc(N * ld * 4);
        memcpy(h1, h0, N * ld * 4);
        const size_t c = P - 1;
        const float *u = v + 2 * N + c, *dt = u + ld, *a = dt - c + ld + c;
        if (kind == 2)
            k->scan_step(&y1, h1 + c, a, ld, dt, v, u, v + N, N, 1);
        else
            k->state_step(&y1, h1 + c, ld, 0.75f, kind ? v : NULL, kind ? u : NULL, v + N, N, 1);
        assert_memory_equal(&y1, got.y + c, 4);
        for (size_t n = 0; n < N; n++) assert_memory_equal(h1 + n * ld + c, got.h + n * ld + c, 4);
        guarded_free(got.y, 4), guarded_free(got.h, 4);
        free(want.y), free(want.h), free(v), free(h0), free(h1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_step_of_a_state)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
