/* Every tier's attention against the reference, over masks, biases, windows and sizes around the blocks. */
#include <math.h>

#include "check.h"

typedef struct heads {
    size_t Tq, Tk, D, Dv, ldq, ldk, ldv;
    float *q, *bias, *probs;
    void *k, *v;
    uint8_t *mask, *few; // three keys of four, one of thirty
} heads;

static void heads_new(heads *h, mltf_dtype kv, size_t Tq, size_t Tk, size_t D, size_t Dv)
{
    *h = (heads){.Tq = Tq, .Tk = Tk, .D = D, .Dv = Dv, .ldq = D + 3, .ldk = D + 1, .ldv = Dv + 5};
    const size_t nk = Tk * h->ldk, nv = Tk * h->ldv;
    float *wide = malloc((nk + nv + 1) * 4);
    for (size_t i = 0; i < nk + nv; i++) wide[i] = check_float();
    h->q = malloc((Tq * h->ldq + 1) * 4);
    for (size_t i = 0; i < Tq * h->ldq; i++) h->q[i] = check_float() * 2;
    h->k = malloc(nk * 4 + 4);
    h->v = malloc(nv * 4 + 4);
    kernels_of(CPU_REF)->narrow(h->k, wide, kv, nk);
    kernels_of(CPU_REF)->narrow(h->v, wide + nk, kv, nv);
    h->bias = malloc((Tq * (Tk + 2) + 1) * 4);
    for (size_t i = 0; i < Tq * (Tk + 2); i++) h->bias[i] = check_float();
    h->mask = malloc(Tk + 1);
    h->few = malloc(Tk + 1);
    for (size_t i = 0; i < Tk; i++) {
        h->mask[i] = check_random() % 4 != 0;
        h->few[i] = check_random() % 30 == 0;
    }
    h->probs = malloc((Tq * Tk + 1) * 4);
    free(wide);
}

static void heads_free(heads *h)
{
    free(h->q);
    free(h->k);
    free(h->v);
    free(h->bias);
    free(h->mask);
    free(h->few);
    free(h->probs);
}

static void run(const kernel_table *t, float *out, size_t ldo, const heads *h, mltf_dtype kv,
                const k_attn_opts *o, size_t i, size_t Tq)
{
    const size_t bytes = t->attn_scratch(Tq, h->Tk, h->D, h->Dv);
    char *scratch = guarded_new(bytes, 0);
    k_attn_opts opts = *o;
    if (!opts.one_place) opts.pos0 += i;
    if (opts.bias) opts.bias += i * opts.ld_bias;
    if (opts.probs) opts.probs += i * h->Tk;
    t->attention(out + i * ldo, ldo, h->q + i * h->ldq, h->ldq, h->k, h->ldk, h->v, h->ldv, kv, Tq,
                 h->Tk, h->D, h->Dv, &opts, scratch);
    guarded_check(scratch, bytes);
    guarded_free(scratch, 0);
}

static void check_one(const kernel_table *t, const heads *h, mltf_dtype kv, const k_attn_opts *o,
                      const char *what)
{
    const size_t ldo = h->Dv + 2, bytes = ((h->Tq ? h->Tq - 1 : 0) * ldo + h->Dv) * 4;
    float *want = malloc(bytes + 4), *got = guarded_new(bytes, 4), *again = malloc(bytes + 4);
    const size_t n_probs = o->probs ? h->Tq * h->Tk : 0;
    float *want_probs = malloc(n_probs * 4 + 4);
    for (size_t i = 0; i < bytes / 4; i++) want[i] = got[i] = again[i] = -7.0f;
    run(kernels_of(CPU_REF), want, ldo, h, kv, o, 0, h->Tq);
    if (n_probs) memcpy(want_probs, o->probs, n_probs * 4);
    run(t, got, ldo, h, kv, o, 0, h->Tq);
    guarded_check(got, bytes);
    for (size_t i = 0; i < bytes / 4; i++)
        if (!(fabsf(got[i] - want[i]) <= 4e-6f))
            fail_msg("%s %s %s Tq=%zu Tk=%zu D=%zu Dv=%zu pos0=%zu: out[%zu, %zu] is %.9g, "
                     "expected %.9g",
                     t->name, dtype_name(kv), what, h->Tq, h->Tk, h->D, h->Dv, o->pos0, i / ldo,
                     i % ldo, got[i], want[i]);
    for (size_t i = 0; i < n_probs; i++)
        if (!(fabsf(o->probs[i] - want_probs[i]) <= 1e-6f))
            fail_msg("%s %s: probs[%zu] is %.9g, expected %.9g", t->name, what, i, o->probs[i],
                     want_probs[i]);
    // in pieces: the same bits
    for (size_t i = 0; i < h->Tq; i += 3)
        run(t, again, ldo, h, kv, o, i, h->Tq - i < 3 ? h->Tq - i : 3);
    if (h->Tq) assert_memory_equal(got, again, bytes);
    free(want);
    free(want_probs);
    free(again);
    guarded_free(got, 4);
}

static void every_tier_at_all_sizes_and_masks(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{0, 0},    {1, 1},   {1, 2},     {3, 3},   {8, 8},
                                      {9, 15},   {16, 16}, {17, 17},   {5, 33},  {1, 127},
                                      {1, 128},  {1, 129}, {7, 130},   {64, 64}, {33, 97},
                                      {12, 300}, {1, 500}, {129, 129}, {2, 257}, {40, 260}};
    static const size_t dims[][2] = {{32, 32}, {64, 64},   {1, 1},  {20, 24},
                                     {80, 80}, {128, 128}, {17, 64}};
    static const mltf_dtype types[] = {DT_F32, DT_BF16, DT_F16};
    static const float sink = 0.7f;
    for_each_tier(t)
    {
        if (t->tier == CPU_REF) continue;
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
                const mltf_dtype kv = types[(s + d) % 3];
                heads h;
                heads_new(&h, kv, sizes[s][0], sizes[s][1], dims[d][0], dims[d][1]);
                const float scale = 1.0f / sqrtf((float)h.D);
                const size_t pos0 = h.Tk - h.Tq;
                k_attn_opts o = {.scale = scale};
                check_one(t, &h, kv, &o, "plain");
                o = (k_attn_opts){.scale = scale, .causal = true, .pos0 = pos0};
                check_one(t, &h, kv, &o, "causal");
                o = (k_attn_opts){
                    .scale = scale, .causal = true, .pos0 = pos0, .window = 5, .sink = &sink};
                check_one(t, &h, kv, &o, "causal window sink");
                o = (k_attn_opts){.scale = scale, .window = 40};
                check_one(t, &h, kv, &o, "window");
                o = (k_attn_opts){.scale = scale, .window = 9, .always = h.few};
                check_one(t, &h, kv, &o, "window and keys always seen");
                o = (k_attn_opts){
                    .scale = scale, .window = 70, .always = h.few, .key_mask = h.mask};
                check_one(t, &h, kv, &o, "window and keys always seen, mask");
                o = (k_attn_opts){.scale = scale,
                                  .causal = true,
                                  .pos0 = h.Tk ? h.Tk - 1 : 0,
                                  .window = 11,
                                  .one_place = true};
                check_one(t, &h, kv, &o, "one place");
                o = (k_attn_opts){
                    .scale = scale, .key_mask = h.mask, .bias = h.bias, .ld_bias = h.Tk + 2};
                check_one(t, &h, kv, &o, "mask bias");
                o = (k_attn_opts){
                    .scale = scale, .causal = true, .pos0 = pos0, .alibi = 0.25f, .softcap = 3.0f};
                check_one(t, &h, kv, &o, "alibi softcap");
                o = (k_attn_opts){.scale = scale,
                                  .probs = h.probs,
                                  .key_mask = h.mask,
                                  .causal = true,
                                  .pos0 = pos0};
                check_one(t, &h, kv, &o, "probs");
                heads_free(&h);
            }
    }
}

static void whole_blocks_before_the_window_may_be_left_off(void **state)
{
    (void)state;
    for_each_tier(t)
    {
        heads h;
        heads_new(&h, DT_BF16, 20, 500, 64, 64);
        for (size_t window = 1; window < 300; window += 37) {
            float all[20 * 64], cut[20 * 64];
            const k_attn_opts o = {.scale = 0.1f, .causal = true, .pos0 = 480, .window = window};
            run(t, all, 64, &h, DT_BF16, &o, 0, 20);
            const size_t off = (481 - window) / K_ATTN_BLOCK * K_ATTN_BLOCK;
            heads rest = h;
            rest.k = (char *)h.k + off * h.ldk * 2;
            rest.v = (char *)h.v + off * h.ldv * 2;
            rest.Tk -= off;
            k_attn_opts p = o;
            p.pos0 -= off;
            run(t, cut, 64, &rest, DT_BF16, &p, 0, 20);
            assert_memory_equal(all, cut, sizeof all);
        }
        heads_free(&h);
    }
}

static void a_query_without_keys_gets_zeros(void **state)
{
    (void)state;
    for_each_tier(t)
    {
        heads h;
        heads_new(&h, DT_F32, 6, 40, 16, 16);
        memset(h.mask, 0, h.Tk);
        float out[6 * 16];
        const k_attn_opts o = {.scale = 1, .key_mask = h.mask};
        run(t, out, 16, &h, DT_F32, &o, 0, 6);
        for (int i = 0; i < 6 * 16; i++) assert_true(out[i] == 0.0f);
        heads_free(&h);
    }
}

static void large_scores_do_not_overflow_and_nan_stays_in_its_row(void **state)
{
    (void)state;
    for_each_tier(t)
    {
        heads h;
        heads_new(&h, DT_F32, 9, 200, 32, 32);
        for (size_t i = 0; i < h.Tq * h.ldq; i++) h.q[i] *= 1000;
        h.q[4 * h.ldq + 7] = NAN;
        float out[9 * 32];
        const k_attn_opts o = {.scale = 1};
        run(t, out, 32, &h, DT_F32, &o, 0, 9);
        for (int i = 0; i < 9 * 32; i++)
            assert_true(i / 32 == 4 ? isnan(out[i]) : isfinite(out[i]));
        heads_free(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tier_at_all_sizes_and_masks),
        cmocka_unit_test(whole_blocks_before_the_window_may_be_left_off),
        cmocka_unit_test(a_query_without_keys_gets_zeros),
        cmocka_unit_test(large_scores_do_not_overflow_and_nan_stays_in_its_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
