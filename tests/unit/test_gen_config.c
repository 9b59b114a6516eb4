/* GenerationConfig: merging, precedence, messages. Messages are those of transformers 4.57.6. */
#include "unit.h"

#include <math.h>
#include <string.h>

#include "gen/gen_config.h"

static mltf_arena arena;

static mltf_status merge(gen_config *c, const char *text, gen_origin origin, mltf_err *err)
{
    json *v = NULL;
    assert_int_equal(json_parse_in(&arena, &v, text, strlen(text), NULL, NULL), MLTF_OK);
    return gen_config_merge(c, v, origin, &arena, err);
}

static void test_gen_config_starts_with_the_defaults_of_the_library(void **state)
{
    (void)state;
    gen_config c;
    gen_config_init(&c);
    assert_int_equal(c.max_length, 20);
    assert_true(c.max_new_tokens == GEN_NONE);
    assert_int_equal(c.top_k, 50);
    assert_true(c.temperature == 1.0 && isnan(c.min_p) && c.use_cache && !c.do_sample);
    assert_null(c.eos_token_id.p);
    for (int f = 0; f < GEN_F_COUNT; f++) assert_true(gen_config_is_default(&c, (gen_field)f));
    assert_int_equal(gen_config_validate(&c, NULL), MLTF_OK);
}

static void test_gen_config_reads_every_kind_of_value(void **state)
{
    (void)state;
    gen_config c;
    mltf_err err = {0};
    gen_config_init(&c);
    assert_int_equal(
        merge(
            &c,
            "{\"max_new_tokens\": 7.0, \"temperature\": 2, \"do_sample\": 1, \"eos_token_id\": [3, "
            "4],"
            " \"early_stopping\": \"never\", \"stop_strings\": \"x\", \"bad_words_ids\": [[1, 2], "
            "[3]],"
            " \"sequence_bias\": [[[5, 6], -1.5]], \"exponential_decay_length_penalty\": [4, 1.25],"
            " \"force_words_ids\": [[1], [[2, 3], [4]]], \"top_k\": null, \"forced_eos_token_id\": "
            "9}",
            GEN_FROM_CALL, &err),
        MLTF_OK);
    assert_int_equal(c.max_new_tokens, 7);
    assert_true(c.temperature == 2.0 && c.do_sample);
    assert_int_equal(c.eos_token_id.n, 2);
    assert_int_equal(c.eos_token_id.p[1], 4);
    assert_int_equal(c.early_stopping, GEN_EARLY_NEVER);
    assert_true(c.stop_strings.n == 1 && str_is(c.stop_strings.p[0], "x"));
    assert_int_equal(c.bad_words_ids.p[0].p[1], 2);
    assert_true(c.sequence_bias.p[0].bias == -1.5f && c.sequence_bias.p[0].ids.n == 2);
    assert_true(c.exponential_decay_length_penalty.start == 4 &&
                c.exponential_decay_length_penalty.factor == 1.25);
    assert_int_equal(c.force_words_ids.n, 2);
    assert_int_equal(c.force_words_ids.p[1].p[0].n, 2);
    assert_true(c.top_k == GEN_NONE && gen_config_is_set(&c, GEN_F_top_k) &&
                !gen_config_from_call(&c, GEN_F_top_k));
    assert_true(gen_config_from_call(&c, GEN_F_max_new_tokens));
}

static void test_gen_config_names_all_unknown_arguments_of_a_call(void **state)
{
    (void)state;
    gen_config c;
    mltf_err err = {0};
    gen_config_init(&c);
    assert_int_equal(merge(&c, "{\"foo\": 1, \"max_length\": 9, \"b'r\": 2, \"quiet\": null}",
                           GEN_FROM_CALL, &err),
                     MLTF_INVALID_INPUT);
    assert_string_equal(
        err.msg,
        "The following `model_kwargs` are not used by the model: ['foo', \"b'r\"] (note: typos in "
        "the generate arguments will also show up in this list)");
    assert_int_equal(c.max_length, 20); // untouched on failure
    assert_int_equal(merge(&c, "{\"lang_to_id\": {}, \"max_length\": 9}", GEN_FROM_MODEL, &err),
                     MLTF_OK);
    assert_int_equal(c.max_length, 9);
}

static void test_gen_config_of_a_pipeline_keeps_what_differs_from_the_default(void **state)
{
    (void)state;
    gen_config pipeline, model;
    gen_config_init(&pipeline);
    gen_config_init(&model);
    merge(&pipeline, "{\"max_new_tokens\": 256, \"do_sample\": true, \"temperature\": 0.7}",
          GEN_FROM_PIPELINE, NULL);
    merge(&model, "{\"do_sample\": false, \"temperature\": 0.5, \"top_k\": 7, \"eos_token_id\": 2}",
          GEN_FROM_MODEL, NULL);
    gen_config_inherit(&pipeline, &model);
    assert_true(pipeline.do_sample);          // False is the library's default: nothing to inherit
    assert_true(pipeline.temperature == 0.7); // the pipeline's own
    assert_int_equal(pipeline.top_k, 7);      // the model's, where the pipeline says nothing
    assert_int_equal(pipeline.eos_token_id.p[0], 2);
}

static void test_gen_config_from_model_config_fills_in_the_class_and_inner_configs(void **state)
{
    (void)state;
    const char *const text =
        "{\"model_type\": \"bart\", \"eos_token_id\": null, \"num_beams\": 4, \"vocab_size\": 9}";
    json *v = NULL;
    gen_config c;
    json_parse_in(&arena, &v, text, strlen(text), NULL, NULL);
    gen_config_init(&c);
    assert_int_equal(gen_config_from_model_config(&c, v, &arena, NULL), MLTF_OK);
    assert_int_equal(c.num_beams, 4);
    assert_null(c.eos_token_id.p); // null beats the class
    assert_int_equal(c.decoder_start_token_id.p[0], 2);
    assert_int_equal(c.forced_eos_token_id.p[0], 2);
    assert_int_equal(c.forced_bos_token_id, GEN_NONE);
    const char *const old = "{\"model_type\": \"bart\", \"force_bos_token_to_be_generated\": true, "
                            "\"transformers_version\": \"4.2.1\"}";
    json_parse_in(&arena, &v, old, strlen(old), NULL, NULL);
    gen_config_init(&c);
    assert_int_equal(gen_config_from_model_config(&c, v, &arena, NULL), MLTF_OK);
    assert_int_equal(c.forced_bos_token_id, 0);
    assert_null(c.transformers_version);
    const char *const ids = "{\"model_type\": \"glm\", \"pad_token_id\": 7}";
    json_parse_in(&arena, &v, ids, strlen(ids), NULL, NULL);
    gen_config_init(&c);
    assert_int_equal(gen_config_from_model_config(&c, v, &arena, NULL), MLTF_OK);
    assert_int_equal(c.eos_token_id.n, 3);
    assert_int_equal(c.eos_token_id.p[2], 151338);
    assert_int_equal(c.pad_token_id, 7);
    const char *const dialogue = "{\"model_type\": \"blenderbot\"}";
    json_parse_in(&arena, &v, dialogue, strlen(dialogue), NULL, NULL);
    gen_config_init(&c);
    assert_int_equal(gen_config_from_model_config(&c, v, &arena, NULL), MLTF_OK);
    assert_int_equal(c.encoder_no_repeat_ngram_size, 3);
    const char *const outer =
        "{\"model_type\": \"x\", \"decoder\": {\"model_type\": \"gpt2\", \"num_beams\": 3}}";
    json_parse_in(&arena, &v, outer, strlen(outer), NULL, NULL);
    gen_config_init(&c);
    assert_int_equal(gen_config_from_model_config(&c, v, &arena, NULL), MLTF_OK);
    assert_int_equal(c.num_beams, 3);
    assert_int_equal(c.bos_token_id, 50256);
}

static void test_gen_config_refuses_in_the_words_of_the_library(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"{\"max_new_tokens\": 0}", "`max_new_tokens` must be greater than 0, but is 0."},
        {"{\"early_stopping\": \"often\"}",
         "`early_stopping` must be a boolean or 'never', but is often."},
        {"{\"do_sample\": true, \"temperature\": 0.0}",
         "`temperature` (=0.0) has to be a strictly positive float, otherwise your next token "
         "scores will be invalid. If "
         "you're looking for greedy decoding strategies, set `do_sample=False`."},
        {"{\"do_sample\": true, \"top_p\": -0.5}",
         "`top_p` has to be a float > 0 and < 1, but is -0.5"},
        {"{\"do_sample\": true, \"min_p\": 1.5}",
         "`min_p` has to be a float in the [0, 1] interval, but is 1.5"},
        {"{\"repetition_penalty\": -1.0}",
         "`penalty` has to be a strictly positive float, but is -1.0"},
        {"{\"num_return_sequences\": 2}", "Greedy methods without beam search do not support "
                                          "`num_return_sequences` different than 1 (got 2)."},
        {"{\"num_return_sequences\": 5, \"num_beams\": 3}",
         "`num_return_sequences` (5) has to be smaller or equal to `num_beams` (3)."},
        {"{\"bad_words_ids\": []}", "`bad_words_ids` has to be a non-empty list, but is []."},
        {"{\"watermarking_config\": {\"ngram_len\": 5}}",
         "`watermarking_config` has to be a SynthIDTextWatermarkingConfig: ngram_len (at least 1), "
         "keys (integers), context_history_size, sampling_table_seed, sampling_table_size, "
         "skip_first_ngram_calls and debug_mode, but is {\"ngram_len\": 5}"},
        {"{\"watermarking_config\": {\"ngram_len\": 5, \"keys\": [1], \"sampling_table_size\": "
         "33554432}}",
         "Some of the keys in `watermarking_config` are defined incorrectly. `sampling_table_size` "
         "should be < 2**24` but found 33554432"},
        {"{\"watermarking_config\": {\"greenlist\": 5}}",
         "`watermarking_config` with \"greenlist\" is not supported: it may hold greenlist_ratio, "
         "bias, hashing_key, seeding_scheme (`lefthash` or `selfhash`) and context_width"},
        {"{\"watermarking_config\": {\"seeding_scheme\": \"hash\"}}",
         "Some of the keys in `watermarking_config` are defined incorrectly. `seeding_scheme` "
         "should be [`selfhash`, `lefthash`]"},
        {"{\"token_healing\": true}",
         "When generating with token healing, you must pass the model's tokenizer to the "
         "`tokenizer` argument of `generate`."},
        {"{\"dola_layers\": \"low\"}", "Dola Generation requires `trust_remote_code=True` in your "
                                       "`generate` call, since it loads "
                                       "https://hf.co/transformers-community/dola."},
        {"{\"compile_config\": {}}", "You provided `compile_config` as an instance of <class "
                                     "'dict'>, but it must be an instance "
                                     "of `CompileConfig`."},
        {"{\"top_k\": \"many\"}", "`top_k` has to be an integer, but is \"many\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gen_config c;
        mltf_err err = {0};
        gen_config_init(&c);
        mltf_status st = merge(&c, rows[i][0], GEN_FROM_CALL, &err);
        if (!st) st = gen_config_validate(&c, &err);
        assert_int_not_equal(st, MLTF_OK);
        assert_string_equal(err.msg, rows[i][1]);
    }
}

static void test_gen_config_of_a_model_alone_has_to_hold(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool holds;
    } rows[] = {
        {"{\"num_return_sequences\": 2}", false},
        {"{\"num_return_sequences\": 2, \"do_sample\": true}", true},
        {"{\"num_return_sequences\": 2, \"num_beams\": 3}", true},
        {"{\"num_return_sequences\": 4, \"num_beams\": 3}", false},
        {"{\"max_new_tokens\": -1}", false},
        {"{\"cache_implementation\": \"paged\"}", false},
        {"{\"repetition_penalty\": 0.0}", true}, // only a call that keeps it is refused
        {"{\"num_beam_groups\": 2}", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gen_config c;
        gen_config_init(&c);
        assert_int_equal(merge(&c, rows[i].text, GEN_FROM_MODEL, NULL), MLTF_OK);
        assert_int_equal(gen_config_validate_own(&c, NULL) == MLTF_OK, rows[i].holds);
    }
}

static void test_gen_config_ignores_groups_of_one_beam(void **state)
{
    (void)state;
    gen_config c;
    gen_config_init(&c);
    assert_int_equal(merge(&c, "{\"num_beam_groups\": 2}", GEN_FROM_CALL, NULL), MLTF_OK);
    assert_int_equal(gen_config_validate(&c, NULL), MLTF_OK);
    assert_false(gen_config_has_groups(&c));
    assert_int_equal(merge(&c, "{\"num_beams\": 4}", GEN_FROM_CALL, NULL), MLTF_OK);
    assert_true(gen_config_has_groups(&c));
    assert_int_equal(gen_config_validate(&c, NULL), MLTF_INVALID_INPUT); // without diversity
}

static int release(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gen_config_starts_with_the_defaults_of_the_library),
        cmocka_unit_test(test_gen_config_reads_every_kind_of_value),
        cmocka_unit_test(test_gen_config_names_all_unknown_arguments_of_a_call),
        cmocka_unit_test(test_gen_config_of_a_pipeline_keeps_what_differs_from_the_default),
        cmocka_unit_test(test_gen_config_from_model_config_fills_in_the_class_and_inner_configs),
        cmocka_unit_test(test_gen_config_refuses_in_the_words_of_the_library),
        cmocka_unit_test(test_gen_config_of_a_model_alone_has_to_hold),
        cmocka_unit_test(test_gen_config_ignores_groups_of_one_beam),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
