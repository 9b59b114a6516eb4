/* The shared blocks: small cases whose answer can be said on paper. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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
    const nn_linear_w l = matrix(w, 2, 2, NULL);
    float y[2];
    nn_linear_grouped(&cx, y, x, &l, 2, 1);
    near(y[0], 3);
    near(y[1], 70);
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
        cmocka_unit_test_setup_teardown(test_experts_are_chosen_by_weight_and_ties_go_to_the_first,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(test_activations_by_name, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
