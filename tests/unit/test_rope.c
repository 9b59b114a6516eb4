/* Rotary frequencies of config.json in the spellings of transformers 4.x and 5.x. The numbers are those of its
 * ROPE_INIT_FUNCTIONS: release 4.57.6 for rope_scaling, 5.23.0 for rope_parameters. */
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch_internal.h"

typedef struct {
    const char *layer_type;
    const char *config;
    float freq[4], scale,
        far; /* heads of 8, 64 positions; far: the first frequency behind the border */
} rope_case;

// clang-format off
static const rope_case cases[] = {
    {NULL,
     "{\"rope_theta\": 100.0, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}}", {0.25f, 0.079056941f, 0.0250000004f, 0.00790569466f}, 1, 0},
    {NULL,
     "{\"rope_theta\": 100.0, \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 16, \"beta_fast\": 4, \"mscale\": 0.7, \"mscale_all_dim\": 0.5}}", {1, 0.079056941f, 0.0250000004f, 0.00790569466f}, 1.02592865f, 0},
    {NULL,
     "{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"truncate\": false, \"attention_factor\": 0.8}}", {1, 0.0255952496f, 0.00249999994f, 0.000250000012f}, 0.8f, 0},
    {NULL,
     "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 32}}", {1, 0.0125000002f, 0.00124999997f, 0.000125000006f}, 1, 0},
    {NULL,
     "{\"original_max_position_embeddings\": 16, \"rope_scaling\": {\"type\": \"longrope\", \"factor\": 2.0, \"short_factor\": [1.0, 1.1, 1.2, 1.3], \"long_factor\": [2.0, 3.0, 4.0, 5.0]}}", {1, 0.0909090936f, 0.00833333284f, 0.00076923077f}, 1.22474487f, 0.5f},
    {NULL,
     "{\"rope_scaling\": {\"rope_type\": \"longrope\", \"factor\": 2.0, \"original_max_position_embeddings\": 16, \"short_factor\": [1.0, 1.1, 1.2, 1.3], \"long_factor\": [2.0, 3.0, 4.0, 5.0]}}", {1, 0.0909090936f, 0.00833333284f, 0.00076923077f}, 1.08012345f, 0.5f},
    {NULL,
     "{\"rope_parameters\": {\"rope_type\": \"longrope\", \"rope_theta\": 100.0, \"factor\": 2.0, \"original_max_position_embeddings\": 16, \"short_factor\": [1.0, 1.1, 1.2, 1.3], \"long_factor\": [2.0, 3.0, 4.0, 5.0]}}", {1, 0.287479758f, 0.0833333358f, 0.0243252143f}, 1.11803399f, 0.5f},
    {NULL,
     "{\"rope_parameters\": {\"rope_type\": \"longrope\", \"rope_theta\": 100.0, \"original_max_position_embeddings\": 16, \"short_factor\": [1.0, 1.1, 1.2, 1.3], \"long_factor\": [2.0, 3.0, 4.0, 5.0]}}", {1, 0.287479758f, 0.0833333358f, 0.0243252143f}, 1.22474487f, 0.5f},
    {NULL,
     "{\"original_max_position_embeddings\": 8, \"rope_parameters\": {\"rope_type\": \"yarn\", \"rope_theta\": 100.0, \"factor\": null, \"original_max_position_embeddings\": 32, \"beta_fast\": 4}}", {1, 0.0395284705f, 0.0125000002f, 0.00395284733f}, 1.20794415f, 0},
    {NULL,
     "{\"rope_parameters\": {\"rope_type\": \"llama3\", \"rope_theta\": 100.0, \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0}}", {1, 0.244384587f, 0.0130422562f, 0.00395284733f}, 1, 0},
    {"full_attention",
     "{\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", \"rope_theta\": 100.0, \"factor\": 8.0}, \"sliding_attention\": {\"rope_type\": \"yarn\", \"rope_theta\": 50.0, \"factor\": 4.0}}}", {0.125f, 0.0395284705f, 0.0125000002f, 0.00395284733f}, 1, 0},
    {"sliding_attention",
     "{\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", \"rope_theta\": 100.0, \"factor\": 8.0}, \"sliding_attention\": {\"rope_type\": \"yarn\", \"rope_theta\": 50.0, \"factor\": 4.0}}}", {1, 0.282045215f, 0.0707106814f, 0.0132957399f}, 1.13862944f, 0},
};
// clang-format on

typedef struct {
    arch_model model;
    arch_build build;
    json_doc doc;
} loading;

static mltf_status load_rope(loading *l, nn_rope *r, const char *config, arch_rope_options o,
                             mltf_err *err)
{
    *l = (loading){.build.m = &l->model};
    TRY(json_parse(&l->doc, config, strlen(config), NULL, err));
    l->build.cfg.root = l->doc.root;
    o.theta = 10000;
    o.max_positions = 64;
    arch_rope_load(r, &l->build, &o);
    return arch_build_ok(&l->build, err);
}

static void release(loading *l)
{
    json_doc_release(&l->doc);
    arena_release(&l->model.own);
}

static void near(float have, float want, const char *config)
{
    if (fabsf(have - want) <= 2e-6f * fabsf(want)) return;
    print_error("%s\n  got %.9g, expected %.9g\n", config, (double)have, (double)want);
    fail();
}

static void test_every_type_gives_the_librarys_frequencies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const rope_case *c = &cases[i];
        loading l;
        nn_rope r;
        mltf_err err = {0};
        if (load_rope(&l, &r, c->config, (arch_rope_options){.dim = 8, .layer_type = c->layer_type},
                      &err))
            fail_msg("%s: %s", c->config, err.msg);
        for (size_t k = 0; k < 4; k++) near(r.inv_freq[k], c->freq[k], c->config);
        near(r.scale, c->scale, c->config);
        near(r.far ? r.far[0] : 0, c->far, c->config);
        release(&l);
    }
}

static void test_local_layers_and_nemotron_leave_rope_scaling_alone(void **state)
{
    (void)state;
    loading l;
    nn_rope r;
    static const char *const four =
        "{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 4}}";
    static const char *const five =
        "{\"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 4}}";
    const arch_rope_options o = {.dim = 8, .ignore_scaling = true};
    assert_int_equal(load_rope(&l, &r, four, o, NULL), MLTF_OK);
    near(r.inv_freq[0], 1, four);
    release(&l);
    assert_int_equal(load_rope(&l, &r, five, o, NULL), MLTF_OK);
    near(r.inv_freq[0], 0.25f, five);
    release(&l);
}

static void test_the_rotated_part_is_cut_as_by_int(void **state)
{
    (void)state;
    // 0.29 * 100 is a little below 29 in Python's floats, and 29 in 32 bits
    static const char *const configs[] = {
        "{\"partial_rotary_factor\": 0.29}",
        "{\"rope_parameters\": {\"partial_rotary_factor\": 0.29}}", "{}"};
    static const size_t want[] = {28, 28, 50};
    for (size_t i = 0; i < 3; i++) {
        json_doc doc = JSON_DOC_INIT;
        assert_int_equal(json_parse(&doc, configs[i], strlen(configs[i]), NULL, NULL), MLTF_OK);
        arch_config c = {.root = doc.root};
        assert_int_equal(arch_rope_dim(&c, 100, "partial_rotary_factor", 0.5), want[i]);
        json_doc_release(&doc);
    }
}

static void test_parameters_that_say_too_little_or_nonsense_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *config, *says;
    } bad[] = {
        {"{\"rope_scaling\": {\"rope_type\": \"linear\"}}", "lack \"factor\""},
        {"{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 0}}",
         "\"factor\" of the rope parameters must be above 0"},
        {"{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
         "\"high_freq_factor\": 4}}",
         "lack \"original_max_position_embeddings\""},
        {"{\"rope_scaling\": {\"rope_type\": \"longrope\", \"short_factor\": [1], \"long_factor\": "
         "[1]}}",
         "\"short_factor\" of the rope parameters must have 4 numbers, not 1"},
        {"{\"rope_scaling\": {\"rope_type\": \"spiral\"}}",
         "rope_type \"spiral\" is not supported"},
        {"{\"rope_theta\": -1}", "\"rope_theta\" must be above 0"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        loading l;
        nn_rope r;
        mltf_err err = {0};
        assert_int_equal(load_rope(&l, &r, bad[i].config, (arch_rope_options){.dim = 8}, &err),
                         MLTF_CORRUPT_FILE);
        if (!strstr(err.msg, bad[i].says)) fail_msg("\"%s\" lacks \"%s\"", err.msg, bad[i].says);
        release(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_gives_the_librarys_frequencies),
        cmocka_unit_test(test_local_layers_and_nemotron_leave_rope_scaling_alone),
        cmocka_unit_test(test_the_rotated_part_is_cut_as_by_int),
        cmocka_unit_test(test_parameters_that_say_too_little_or_nonsense_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
