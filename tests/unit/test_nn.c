/* The shared blocks: small cases whose answer can be said on paper. */
#include "unit.h"

#include <math.h>
#include <string.h>

#include "nn/nn.h"

static nn_ctx cx;

static int enter(void **state)
{
    (void)state;
    nn_ctx_init(&cx, NULL);
    nn_begin(&cx);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    nn_ctx_release(&cx);
    return 0;
}

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-6 * (1 + fabs(want))))
        fail_msg("got %.9g, expected %.9g", got, want);
}

static nn_linear_w matrix(const float *data, size_t N, size_t K, const float *bias)
{
    return (nn_linear_w){.w = {.data = data, .dtype = DT_F32, .N = N, .K = K, .stride = K},
                         .bias = bias};
}

static void test_failures_stick_and_later_blocks_do_nothing(void **state)
{
    (void)state;
    const float table[] = {1, 2, 3, 4};
    const nn_embed_w e = {.w = {.data = table, .dtype = DT_F32, .N = 2, .K = 2, .stride = 2},
                          .what = "position"};
    float y[2] = {7, 7};
    nn_embed(&cx, y, (int32_t[]){2}, &e, 1);
    assert_false(nn_ok(&cx));
    assert_string_equal(cx.err.msg, "position 2 is outside of the model's table of 2");
    nn_fail(&cx, MLTF_NO_MEMORY, "later");
    assert_int_equal(cx.err.status, MLTF_INVALID_INPUT); // the first one stays
    assert_null(nn_f32(&cx, 1, 1));
    nn_embed(&cx, y, (int32_t[]){0}, &e, 1);
    near(y[0], 7);
    nn_begin(&cx);
    nn_embed(&cx, y, (int32_t[]){1}, &e, 1);
    near(y[0], 3);
}

static void test_rows_of_a_layer_are_a_layer(void **state)
{
    (void)state;
    const float w[] = {1, 0, 0, 1, 2, 3}, bias[] = {10, 20, 30}, x[] = {5, 7};
    const nn_linear_w all = matrix(w, 3, 2, bias), last = nn_linear_rows(&all, 1, 2);
    float y[3], z[2];
    nn_linear(&cx, y, x, &all, 1);
    nn_linear(&cx, z, x, &last, 1);
    near(y[0], 15);
    near(y[2], 61);
    near(z[0], y[1]);
    near(z[1], y[2]);
}

static void test_an_adapter_is_added_to_its_rows(void **state)
{
    (void)state;
    const float w[] = {0, 0, 0, 0}, a[] = {1, 2}, b[] = {10, 100}, x[] = {3, 4};
    nn_linear_w l = matrix(w, 2, 2, NULL);
    l.lora_a = (k_weight){.data = a, .dtype = DT_F32, .N = 1, .K = 2, .stride = 2};
    l.lora_b = (k_weight){.data = b, .dtype = DT_F32, .N = 2, .K = 1, .stride = 1};
    float y[2];
    nn_linear(&cx, y, x, &l, 1);
    near(y[0], 110);
    near(y[1], 1100);
    const nn_linear_w second = nn_linear_rows(&l, 1, 1);
    nn_linear(&cx, y, x, &second, 1);
    near(y[0], 1100);
}

static void test_grouped_layers_see_their_own_inputs(void **state)
{
    (void)state;
    const float w[] = {1, 1, 10, 10},
                x[] = {1, 2, 3, 4}; // two groups of two inputs, one output each
    const float twice[] = {2, 2, 20, 20}, whole[] = {1, 1, 1, 1};
    const nn_linear_w l = matrix(w, 2, 2, NULL), same = matrix(twice, 2, 2, NULL),
                      other = matrix(whole, 1, 4, NULL);
    float y[2], z[2], sum;
    nn_linear_grouped(&cx, (float *[]){y, z}, x, (const nn_linear_w *[]){&l, &same}, 2, 4, 1);
    near(y[0], 3);
    near(y[1], 70);
    near(z[0], 6);
    near(z[1], 140);
    nn_linear_grouped(&cx, (float *[]){y, &sum}, x, (const nn_linear_w *[]){&same, &other}, 2, 4,
                      1);
    near(y[1], 140);
    near(sum, 10);
}

static void test_alibi_slopes(void **state)
{
    (void)state;
    float s[8];
    nn_alibi_slopes(s, 8);
    for (int i = 0; i < 8; i++) near(s[i], pow(2, -(i + 1)));
    nn_alibi_slopes(s, 6); // four of four, then every second of eight: Press et al.
    const double six[] = {0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125};
    for (int i = 0; i < 6; i++) near(s[i], six[i]);
}

static void test_rope_turns_pairs(void **state)
{
    (void)state;
    float freq[] = {1.0f, 0.5f};
    const int32_t pos[] = {0, 3};
    const size_t start[] = {0, 2};
    const nn_seqs seqs = {.n = 1, .start = start, .rows = 2, .pos = pos};
    nn_rope r = {.dim = 4, .scale = 1, .inv_freq = freq};
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        r.interleaved = interleaved;
        float x[2][5] = {{1, 2, 3, 4, 9}, {1, 2, 3, 4, 9}};
        const nn_rope_rows rows = nn_rope_prepare(&cx, &r, &seqs);
        nn_rope_apply(&cx, x[0], 5, 5, 1, &rows, 2);
        near(x[0][1], 2); // position 0 turns nothing
        const double a = interleaved ? 2 : 3,
                     far = interleaved ? 1 : 2; // the partner of 1 and its place
        near(x[1][0], cos(3.0) - a * sin(3.0));
        near(x[1][(int)far], a * cos(3.0) + sin(3.0));
        near(x[1][4], 9); // behind the rotated part
    }
}

static void test_attention_keeps_sequences_apart(void **state)
{
    (void)state;
    float q[] = {1, 1, 1, 1}, v[] = {1, 2, 30, 50};
    const size_t start[] = {0, 2, 4};
    const nn_seqs seqs = {.n = 2, .start = start, .rows = 4};
    const nn_attn even = {.heads = 1, .dim = 1, .scale = 0};
    const nn_heads at = {q, 1, 1}, values = {v, 1, 1};
    float y[4];
    nn_attend(&cx, y, at, at, values, &seqs, &even, 0);
    near(y[0], 1.5);
    near(y[3], 40);
    nn_attn causal = even;
    causal.causal = true;
    nn_attend(&cx, y, at, at, values, &seqs, &causal, 0);
    near(y[0], 1);
    near(y[2], 30);
    near(y[3], 40);
    const uint8_t mask[] = {0, 1, 1, 1};
    nn_seqs masked = seqs;
    masked.key_mask = mask;
    nn_attend(&cx, y, at, at, values, &masked, &even, 0);
    near(y[0], 2);
    near(y[1], 2);
}

static uint32_t chance;

static uint32_t draw(uint32_t n)
{
    chance = chance * 1664525u + 1013904223u;
    return (chance >> 8) % n;
}

/* Rows [n, 2 heads of 8] attend behind what the cache holds, in both layers. */
static void attend_rows(nn_cache *c, float *out, const float *x, size_t n, size_t window)
{
    mltf_err err = {0};
    assert_int_equal(nn_cache_reserve(c, c->len + n, &err), MLTF_OK);
    const size_t start[] = {0, n};
    const nn_seqs seqs = {.n = 1, .start = start, .rows = n, .caches = (nn_cache *[]){c}};
    for (size_t layer = 0; layer < 2; layer++) {
        const nn_attn a = {.heads = 4,
                           .kv_heads = 2,
                           .dim = 8,
                           .scale = 0.5f,
                           .causal = true,
                           .window = layer ? window : 0};
        float *p = (float *)(uintptr_t)x;
        nn_attend(&cx, out + layer * n * 32, (nn_heads){p, 32, 8}, (nn_heads){p + 16, 32, 8},
                  (nn_heads){p, 32, 8}, &seqs, &a, layer);
    }
    c->len += n;
    assert_true(nn_ok(&cx));
}

/* The same texts, pieces, rollbacks and copies on a cache that forgets and one that keeps all. */
static void forgets_what_nobody_sees(mltf_dtype dtype, size_t window)
{
    static const nn_cache_layer second[] = {{false, 0}, {true, 0}};
    nn_cache_shape all = {2, 2, 8, 8, dtype, 0, NULL, 0},
                   some = {2, 2, 8, 8, dtype, window, second, 0};
    nn_cache c[4]; // a pair, and a pair that becomes its copy now and then
    mltf_err err = {0};
    for (int i = 0; i < 4; i++) nn_cache_init(&c[i], i % 2 ? &some : &all, SIZE_MAX, &err);
    static float x[300 * 32], y[2][2 * 300 * 32];
    size_t most = 0, same = 0; // tokens that the copy shares with the first pair
    for (int turn = 0; turn < 400; turn++) {
        const size_t n = draw(4) ? 1 + draw(3) : 1 + draw(300);
        for (size_t i = 0; i < n * 32; i++) x[i] = (float)draw(2000) / 1000.0f - 1.0f;
        const int pair = draw(3) == 0 ? 2 : 0;
        for (int i = 0; i < 2; i++) attend_rows(&c[pair + i], y[i], x, n, window);
        assert_memory_equal(y[0], y[1], 2 * n * 32 * sizeof(float));
        const size_t len = c[pair].len, back = draw(NN_CACHE_ROLLBACK + 1);
        if (draw(8) == 0 && back < len) {
            for (int i = 0; i < 2; i++) nn_cache_truncate(&c[pair + i], len - back);
            assert_int_equal(c[pair + 1].len, len - back);
        }
        for (int i = 0; i < 4; i++)
            if (c[i].len < same) same = c[i].len;
        if (draw(5) == 0) {
            for (int i = 0; i < 2; i++)
                assert_int_equal(nn_cache_copy(&c[2 + i], &c[i], same, &err), MLTF_OK);
            same = c[0].len;
        }
        if (c[1].near.cap > most) most = c[1].near.cap;
    }
    assert_true(c[0].len > 2000);
    assert_true(most <= 2 * (window + NN_CACHE_ROLLBACK + 2 * K_ATTN_BLOCK + 300));
    nn_cache_truncate(&c[1], 1); // further than it can: it says so, and begins anew
    assert_int_equal(c[1].len, 0);
    for (int i = 0; i < 4; i++) nn_cache_release(&c[i]);
}

static void test_caches_of_windows_forget_what_nobody_sees(void **state)
{
    (void)state;
    forgets_what_nobody_sees(DT_F32, 1);
    forgets_what_nobody_sees(DT_F32, 50);
    forgets_what_nobody_sees(DT_BF16, 129);
    forgets_what_nobody_sees(DT_F32, 700);
}

static void test_a_long_text_in_one_piece_leaves_a_small_cache(void **state)
{
    (void)state;
    static const nn_cache_layer windows[] = {{true, 0}};
    const nn_cache_shape s = {1, 1, 8, 8, DT_F32, 10, windows, 0};
    nn_cache c;
    mltf_err err = {0};
    nn_cache_init(&c, &s, SIZE_MAX, &err);
    assert_int_equal(nn_cache_reserve(&c, 100000, &err), MLTF_OK);
    c.len = 100000;
    assert_int_equal(nn_cache_reserve(&c, 100001, &err), MLTF_OK);
    assert_true(c.near.cap < 1000);
    nn_cache_release(&c);
}

static void test_experts_are_chosen_by_weight_and_ties_go_to_the_first(void **state)
{
    (void)state;
    const float router[] = {1, 1, 2}, up[] = {1}, down[3][1] = {{1}, {10}, {100}}, x[] = {1};
    nn_mlp_w experts[3];
    for (int e = 0; e < 3; e++)
        experts[e] = (nn_mlp_w){
            .up = matrix(up, 1, 1, NULL), .down = matrix(down[e], 1, 1, NULL), .act = K_ACT_NONE};
    nn_moe_w w = {.router = matrix(router, 3, 1, NULL),
                  .n = 3,
                  .top_k = 2,
                  .experts = experts,
                  .normalize = true};
    float y[1];
    nn_moe(&cx, y, x, &w, 1);
    const double best = exp(2) / (exp(2) + exp(1)); // experts 2 and 0
    near(y[0], 100 * best + 1 * (1 - best));
    w.top_k = 4;
    nn_moe(&cx, y, x, &w, 1);
    assert_false(nn_ok(&cx));
}

static void test_experts_weigh_what_they_give_or_what_they_get(void **state)
{
    (void)state;
    const float one[] = {1}, none[] = {0}, bias[] = {3}, x[] = {2};
    nn_mlp_w square = {
        .up = matrix(one, 1, 1, NULL), .down = matrix(one, 1, 1, NULL), .act = K_ACT_RELU2};
    nn_moe_w w = {.router = matrix(none, 1, 1, NULL),
                  .n = 1,
                  .top_k = 1,
                  .experts = &square,
                  .scores = NN_MOE_SIGMOID};
    float y[1];
    nn_moe(&cx, y, x, &w, 1);
    near(y[0], 0.5 * 2 * 2);
    w.weigh_input = true;
    w.bias = bias;
    nn_moe(&cx, y, x, &w, 1);
    near(y[0], (0.5 * 2) * (0.5 * 2) + 3);
}

/* One head of width 1 whose queries are 0: every row becomes the mean of what it sees. */
static void mean_in_blocks(float *x, float *global, const uint8_t *mask, size_t shift)
{
    const float one[] = {1}, none[] = {0};
    const nn_attn_w w = {.q = matrix(none, 1, 1, NULL),
                         .k = matrix(one, 1, 1, NULL),
                         .v = matrix(one, 1, 1, NULL),
                         .o = matrix(one, 1, 1, NULL)};
    const nn_attn a = {.heads = 1, .dim = 1, .scale = 1};
    const nn_seqs seqs = {.n = 2, .start = (size_t[]){0, 4, 5}, .rows = 5, .key_mask = mask};
    const nn_blocks blocks = {.rows = 2, .shift = shift, .globals = 1};
    memcpy(x, (float[]){1, 2, 3, 4, 5}, 5 * sizeof *x);
    memcpy(global, (float[]){10, 20}, 2 * sizeof *global);
    nn_block_attention(&cx, x, global, &w, &a, &seqs, &blocks);
    assert_true(nn_ok(&cx));
}

static void test_rows_see_their_block_and_the_global_rows(void **state)
{
    (void)state;
    float x[5], global[2];
    mean_in_blocks(x, global, NULL, 0);
    near(x[0], (10 + 1 + 2) / 3.0);
    near(x[3], (10 + 3 + 4) / 3.0);
    near(x[4], (20 + 5) / 2.0); // the second sequence has a global row of its own
    near(global[0], (10 + 1 + 2 + 3 + 4) / 5.0);
    near(global[1], (20 + 5) / 2.0);
    mean_in_blocks(x, global, NULL, 1);
    near(x[0], (10 + 1) / 2.0);
    near(x[2], (10 + 2 + 3) / 3.0);
    mean_in_blocks(x, global, (uint8_t[]){1, 0, 1, 1, 1}, 0);
    near(x[0], (10 + 1) / 2.0);
    near(global[0], (10 + 1 + 3 + 4) / 4.0);
}

static void test_activations_by_name(void **state)
{
    (void)state;
    k_act a;
    assert_true(nn_act_find(&a, STR("gelu_new")) && a == K_ACT_GELU_TANH);
    assert_true(nn_act_find(&a, STR("swish")) && a == K_ACT_SILU);
    assert_true(nn_act_find(&a, STR("gelu")) && a == K_ACT_GELU);
    assert_false(nn_act_find(&a, STR("Gelu")));
    assert_false(nn_act_find(&a, STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_failures_stick_and_later_blocks_do_nothing, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_rows_of_a_layer_are_a_layer, enter, leave),
        cmocka_unit_test_setup_teardown(test_an_adapter_is_added_to_its_rows, enter, leave),
        cmocka_unit_test_setup_teardown(test_grouped_layers_see_their_own_inputs, enter, leave),
        cmocka_unit_test_setup_teardown(test_alibi_slopes, enter, leave),
        cmocka_unit_test_setup_teardown(test_rope_turns_pairs, enter, leave),
        cmocka_unit_test_setup_teardown(test_attention_keeps_sequences_apart, enter, leave),
        cmocka_unit_test_setup_teardown(test_caches_of_windows_forget_what_nobody_sees, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_a_long_text_in_one_piece_leaves_a_small_cache, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_experts_are_chosen_by_weight_and_ties_go_to_the_first,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(test_experts_weigh_what_they_give_or_what_they_get, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_rows_see_their_block_and_the_global_rows, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_activations_by_name, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
