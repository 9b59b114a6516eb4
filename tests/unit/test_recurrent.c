/* Models that keep a state: what a cache of theirs promises, and what generation refuses them. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "gen/gen.h"

static const char *const families[] = {
    "mamba",      "falcon-mamba",    "mamba2", "jamba",  "bamba", "falcon-h1", "granitemoehybrid",
    "qwen3-next", "recurrent-gemma", "zamba",  "zamba2", "rwkv"};
enum { N_FAMILIES = sizeof families / sizeof *families };

static const int32_t ids[] = {5, 9, 31, 7, 7, 12, 40, 3, 22, 18, 6};
enum { T = sizeof ids / sizeof *ids };

typedef struct {
    arch_model *m;
    arch_session *s;
    size_t V;
} loaded;

static loaded load(const char *family)
{
    char dir[256];
    loaded l = {0};
    mltf_err err = {0};
    snprintf(dir, sizeof dir, "tests/fixtures/models/family-%s", family);
    if (arch_model_load(&l.m, dir, &(arch_load_options){.torch_dtype = "float32"}, &err) ||
        arch_session_new(&l.s, l.m, &err))
        fail_msg("%s: %s", family, err.msg);
    l.V = arch_model_info(l.m)->vocab;
    return l;
}

static void unload(loaded *l)
{
    arch_session_free(l->s);
    arch_model_free(l->m);
}

static arch_cache *new_cache(const loaded *l)
{
    arch_cache *c;
    mltf_err err = {0};
    if (arch_cache_new(&c, l->m, T, &err)) fail_msg("%s", err.msg);
    return c;
}

/* The last logits after n more tokens. */
static const float *feed(const loaded *l, arch_cache *c, const int32_t *tokens, size_t n)
{
    arch_output out;
    mltf_err err = {0};
    const arch_batch b = {
        .n_seqs = 1, .start = (size_t[]){0, n}, .ids = tokens, .caches = c ? &c : NULL};
    if (arch_forward(l->s, &b, ARCH_WANT_LAST_LOGITS, &out, &err)) fail_msg("%s", err.msg);
    return out.logits;
}

static float *kept(const loaded *l, const float *logits)
{
    float *y = malloc(l->V * sizeof *y);
    assert_non_null(y);
    return memcpy(y, logits, l->V * sizeof *y);
}

static void test_the_state_is_the_same_however_a_text_is_split(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_FAMILIES; f++) {
        loaded l = load(families[f]);
        float *want = kept(&l, feed(&l, NULL, ids, T));
        for (size_t step = 1; step <= T; step++) {
            arch_cache *c = new_cache(&l);
            const float *got = NULL;
            for (size_t at = 0; at < T; at += step)
                got = feed(&l, c, ids + at, T - at < step ? T - at : step);
            assert_memory_equal(got, want, l.V * sizeof *want);
            arch_cache_free(c);
        }
        free(want);
        unload(&l);
    }
}

static void test_copies_go_their_own_ways_and_nothing_is_taken_back(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_FAMILIES; f++) {
        loaded l = load(families[f]);
        float *want = kept(&l, feed(&l, NULL, ids, T));
        arch_cache *c = new_cache(&l), *copy = new_cache(&l);
        mltf_err err = {0};
        feed(&l, c, ids, 5);
        feed(&l, copy, ids, 3); // what it held is overwritten
        assert_int_equal(arch_cache_copy(copy, c, 3, &err), MLTF_OK);
        feed(&l, c, ids + 2, 2); // another way on
        assert_memory_equal(feed(&l, copy, ids + 5, T - 5), want, l.V * sizeof *want);
        arch_cache_truncate(c, 5);
        assert_int_equal(arch_cache_len(c), 0);
        assert_memory_equal(feed(&l, c, ids, T), want, l.V * sizeof *want);
        arch_cache_free(c);
        arch_cache_free(copy);
        free(want);
        unload(&l);
    }
}

static void test_a_pass_that_fails_leaves_the_state_as_it_was(void **state)
{
    (void)state;
    for (size_t f = 0; f < N_FAMILIES; f++) {
        loaded l = load(families[f]);
        float *want = kept(&l, feed(&l, NULL, ids, T));
        arch_cache *c = new_cache(&l), *other = new_cache(&l);
        feed(&l, c, ids, 5);
        arch_output out;
        mltf_err err = {0};
        const int32_t bad[] = {1, 1 << 20};
        const arch_batch b = {.n_seqs = 2,
                              .start = (size_t[]){0, 1, 2},
                              .ids = bad,
                              .caches = (arch_cache *[]){c, other}};
        assert_int_equal(arch_forward(l.s, &b, ARCH_WANT_LAST_LOGITS, &out, &err),
                         MLTF_INVALID_INPUT);
        assert_memory_equal(feed(&l, c, ids + 5, T - 5), want, l.V * sizeof *want);
        arch_cache_free(c);
        arch_cache_free(other);
        free(want);
        unload(&l);
    }
}

static void refused(const loaded *l, const char *settings, const char *words)
{
    mltf_arena arena = {0};
    gen_config c;
    json *v = NULL;
    gen_result res;
    mltf_err err = {0};
    gen_config_init(&c);
    assert_int_equal(json_parse_in(&arena, &v, settings, strlen(settings), NULL, NULL), MLTF_OK);
    if (gen_config_merge(&c, v, GEN_FROM_CALL, &arena, &err)) fail_msg("%s", err.msg);
    const gen_request r = {.ids = ids, .n = T, .cfg = &c};
    assert_int_equal(gen_generate(l->s, &r, 1, &res, &err), MLTF_INVALID_INPUT);
    assert_string_equal(err.msg, words);
    arena_release(&arena);
}

static void test_what_takes_tokens_back_is_refused_in_the_librarys_words(void **state)
{
    (void)state;
    loaded l = load("mamba");
    assert_true(arch_model_info(l.m)->stateful);
    refused(&l, "{\"max_new_tokens\": 4, \"prompt_lookup_num_tokens\": 3}",
            "assisted generation is not supported with stateful models, such as MambaForCausalLM");
    refused(&l, "{\"max_new_tokens\": 4, \"penalty_alpha\": 0.6, \"top_k\": 4}",
            "contrastive search is not supported with stateful models, such as MambaForCausalLM");
    unload(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_state_is_the_same_however_a_text_is_split),
        cmocka_unit_test(test_copies_go_their_own_ways_and_nothing_is_taken_back),
        cmocka_unit_test(test_a_pass_that_fails_leaves_the_state_as_it_was),
        cmocka_unit_test(test_what_takes_tokens_back_is_refused_in_the_librarys_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
