/* Running generation on a tiny real checkpoint: what does not depend on the reference but on promises of gen.h:
 * seeds, batches, streaming, cancelling, limits, constraints, draft models, logprobs. */
#include "unit.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gen/constraint.h"
#include "gen/gen_math.h"

static const char *dir;
static arch_model *model;
static arch_session *session;
static tokenizer *tk;
static mltf_arena arena;
static const int32_t prompt[] = {20, 55, 81, 42, 20, 55};
enum { N_PROMPT = sizeof prompt / sizeof *prompt };

static gen_config config(const char *text)
{
    gen_config c;
    json *v = NULL;
    mltf_err err = {0};
    gen_config_init(&c);
    assert_int_equal(json_parse_in(&arena, &v, text, strlen(text), NULL, NULL), MLTF_OK);
    if (gen_config_merge(&c, v, GEN_FROM_CALL, &arena, &err)) fail_msg("%s", err.msg);
    return c;
}

static gen_request request(const gen_config *c)
{
    return (gen_request){.ids = prompt, .n = N_PROMPT, .cfg = c, .tk = tk};
}

static gen_result run(const gen_request *reqs, size_t n)
{
    gen_result res;
    mltf_err err = {0};
    if (gen_generate(session, reqs, n, &res, &err)) fail_msg("%s", err.msg);
    return res;
}

static void assert_same(const gen_sequence *a, const gen_sequence *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->ids, b->ids, a->n * sizeof *a->ids);
}

static void test_exponential_is_exact_to_the_last_bits(void **state)
{
    (void)state;
    for (double x = -700; x < 700; x += 0.37) assert_true(fabs(gen_exp(x) / exp(x) - 1) < 1e-15);
    assert_true(gen_exp(-1000) == 0 && isinf(gen_exp(800)) && isnan(gen_exp(NAN)) &&
                gen_exp(0) == 1);
}

static void test_uniform_numbers_are_fixed_for_all_time(void **state)
{
    (void)state;
    // written down from the first version: a seed gives the same text on every machine and in every release
    assert_true(gen_uniform(0, 0, 0, 0) == 0x1.da7bdfa662ddcp-2);
    assert_true(gen_uniform(42, 1, 2, 3) == 0x1.c6c2d22229846p-2);
    double sum = 0;
    for (uint32_t i = 0; i < 10000; i++) sum += gen_uniform(7, 0, i, 0);
    assert_true(fabs(sum / 10000 - 0.5) < 0.01);
}

static void test_a_seed_gives_the_same_text_alone_and_in_a_batch(void **state)
{
    (void)state;
    const gen_config c = config("{\"do_sample\": true, \"max_new_tokens\": 20, \"temperature\": "
                                "1.3, \"seed\": 5, \"top_k\": 0}");
    const gen_config other = config("{\"do_sample\": true, \"max_new_tokens\": 9, \"seed\": 6}");
    const gen_config beams =
        config("{\"num_beams\": 3, \"max_new_tokens\": 7, \"num_return_sequences\": 2}");
    gen_request r = request(&c), o = request(&other), b = request(&beams);
    o.n = 3;
    gen_result alone = run(&r, 1), batch = run((gen_request[]){o, r, b, r}, 4);
    assert_int_equal(batch.n, 5);
    assert_same(&alone.seqs[0], &batch.seqs[1]);
    assert_same(&alone.seqs[0], &batch.seqs[4]);
    gen_result beams_alone = run(&b, 1);
    assert_same(&beams_alone.seqs[1], &batch.seqs[3]);
    assert_true(beams_alone.seqs[1].score == batch.seqs[3].score);
    gen_result_release(&beams_alone);
    gen_result_release(&alone);
    gen_result_release(&batch);
}

static void test_several_sequences_of_a_prompt_differ_and_the_first_is_the_single_one(void **state)
{
    (void)state;
    const gen_config one =
        config("{\"do_sample\": true, \"max_new_tokens\": 12, \"seed\": 5, \"top_k\": 0}");
    const gen_config four = config("{\"do_sample\": true, \"max_new_tokens\": 12, \"seed\": 5, "
                                   "\"top_k\": 0, \"num_return_sequences\": 4}");
    gen_request r = request(&one), f = request(&four);
    gen_result a = run(&r, 1), b = run(&f, 1);
    assert_int_equal(b.n, 4);
    assert_same(&a.seqs[0], &b.seqs[0]);
    assert_memory_not_equal(b.seqs[0].ids, b.seqs[1].ids, (N_PROMPT + 12) * sizeof(int32_t));
    gen_result_release(&a);
    gen_result_release(&b);
}

typedef struct heard {
    int32_t ids[64];
    size_t n, stop_after;
} heard;

static int listen(void *user, size_t which, const int32_t *ids, size_t n)
{
    heard *h = user;
    assert_int_equal(which, 0);
    for (size_t i = 0; i < n; i++) h->ids[h->n++] = ids[i];
    return h->n == h->stop_after;
}

static void test_tokens_are_told_as_they_come_and_may_be_cancelled(void **state)
{
    (void)state;
    const gen_config c = config("{\"max_new_tokens\": 10}");
    heard h = {.n = 0};
    gen_request r = request(&c);
    r.on_token = listen;
    r.user = &h;
    gen_result res = run(&r, 1);
    assert_int_equal(h.n, 10);
    assert_memory_equal(h.ids, res.seqs[0].ids + N_PROMPT, 10 * sizeof(int32_t));
    assert_int_equal(res.seqs[0].finish, GEN_FINISH_LENGTH);
    gen_result_release(&res);
    h = (heard){.stop_after = 4};
    res = run(&r, 1);
    assert_int_equal(res.seqs[0].n, N_PROMPT + 4);
    assert_int_equal(res.seqs[0].finish, GEN_FINISH_CANCELLED);
    gen_result_release(&res);
    volatile int cancel = 1;
    r.on_token = NULL;
    r.cancel = &cancel;
    res = run(&r, 1);
    assert_int_equal(res.seqs[0].n, N_PROMPT);
    assert_int_equal(res.seqs[0].finish, GEN_FINISH_CANCELLED);
    gen_result_release(&res);
    r.cancel = NULL;
    r.deadline = 1e-9; // long past
    res = run(&r, 1);
    assert_int_equal(res.seqs[0].finish, GEN_FINISH_TIME);
    gen_result_release(&res);
}

static void test_proposals_do_not_change_the_text(void **state)
{
    (void)state;
    static const char *const kinds[] = {
        "{\"max_new_tokens\": 30}",
        "{\"max_new_tokens\": 30, \"do_sample\": true, \"seed\": 3, \"temperature\": 0.6}",
        "{\"max_new_tokens\": 30, \"repetition_penalty\": 1.3, \"no_repeat_ngram_size\": 3}"};
    arch_session *draft = NULL;
    assert_int_equal(arch_session_new(&draft, model, NULL), MLTF_OK);
    for (size_t i = 0; i < 3; i++) {
        const gen_config c = config(kinds[i]);
        gen_config lookup = c;
        lookup.prompt_lookup_num_tokens = 5;
        gen_request plain = request(&c), fast = request(&lookup), drafted = request(&c);
        drafted.assistant = draft; // the model itself: every greedy proposal is right
        gen_result a = run(&plain, 1), b = run(&fast, 1), d = run(&drafted, 1);
        assert_same(&a.seqs[0], &b.seqs[0]);
        assert_same(&a.seqs[0], &d.seqs[0]);
        gen_result_release(&a);
        gen_result_release(&b);
        gen_result_release(&d);
    }
    arch_session_free(draft);
}

static void test_logprobs_are_the_models_own(void **state)
{
    (void)state;
    const gen_config c = config("{\"max_new_tokens\": 6, \"repetition_penalty\": 1.5}");
    gen_request r = request(&c);
    r.want_logprobs = true;
    r.top_logprobs = 3;
    gen_result res = run(&r, 1);
    const gen_sequence *s = &res.seqs[0];
    for (size_t i = 0; i < 6; i++) {
        assert_true(s->logprobs[i] < 0 && s->logprobs[i] > -20);
        assert_true(s->top[i * 3].logprob >= s->top[i * 3 + 1].logprob &&
                    s->top[i * 3 + 1].logprob >= s->top[i * 3 + 2].logprob);
        assert_true(s->logprobs[i] <= s->top[i * 3].logprob);
    }
    gen_result_release(&res);
}

static void test_a_constraint_holds_whatever_the_model_wants(void **state)
{
    (void)state;
    static const char *const kinds[] = {
        "{\"max_new_tokens\": 60}",
        "{\"max_new_tokens\": 60, \"do_sample\": true, \"seed\": 1, \"top_k\": 0}",
        "{\"max_new_tokens\": 60, \"num_beams\": 3}"};
    static const char schema_text[] =
        "{\"type\": \"object\", \"properties\": {\"n\": {\"type\": \"integer\", \"minimum\": 1, "
        "\"maximum\": 20}, \"ok\": {\"type\": \"boolean\"}}, \"required\": [\"n\", \"ok\"]}";
    json *schema = NULL;
    gen_trie *trie = NULL;
    gen_constraint *constraint = NULL;
    assert_int_equal(json_parse_in(&arena, &schema, schema_text, strlen(schema_text), NULL, NULL),
                     MLTF_OK);
    assert_int_equal(gen_trie_new(&trie, tk, arch_model_info(model)->vocab, NULL), MLTF_OK);
    assert_int_equal(gen_constraint_json_schema(&constraint, trie, schema, NULL), MLTF_OK);
    for (size_t i = 0; i < 3; i++) {
        gen_config c = config(kinds[i]);
        const int32_t eos = tokenizer_special_id(tk, TOK_EOS);
        c.eos_token_id = (gen_ids){&eos, eos >= 0 ? 1u : 0u};
        gen_request r = request(&c);
        r.constraint = constraint;
        gen_result res = run(&r, 1);
        const gen_sequence *s = &res.seqs[0];
        mltf_buf text = MLTF_BUF_INIT;
        json_doc doc = JSON_DOC_INIT;
        assert_int_equal(s->finish, GEN_FINISH_STOP);
        assert_int_equal(
            tokenizer_decode(tk, &text, s->ids + N_PROMPT, s->n - N_PROMPT, true, 0, NULL),
            MLTF_OK);
        if (json_parse(&doc, text.p, text.n, NULL, NULL)) fail_msg("not JSON: %s", text.p);
        const int64_t n = json_int(json_get(doc.root, "n"), 0);
        assert_true(n >= 1 && n <= 20 && json_is(json_get(doc.root, "ok"), JSON_BOOL) &&
                    json_len(doc.root) == 2);
        json_doc_release(&doc);
        mltf_buf_release(&text);
        gen_result_release(&res);
    }
    gen_constraint_free(constraint);
    gen_trie_free(trie);
}

static mltf_status only_even(void *user, const int32_t *ids, size_t n, uint8_t *allowed,
                             size_t vocab, mltf_err *err)
{
    (void)user, (void)ids, (void)n, (void)err;
    for (size_t i = 0; i < vocab; i += 2) allowed[i] = 1;
    return MLTF_OK;
}

static mltf_status nothing(void *user, const int32_t *ids, size_t n, uint8_t *allowed, size_t vocab,
                           mltf_err *err)
{
    (void)user, (void)ids, (void)n, (void)allowed, (void)vocab, (void)err;
    return MLTF_OK;
}

static void test_a_callback_may_say_what_is_allowed(void **state)
{
    (void)state;
    const gen_config c = config("{\"max_new_tokens\": 8}");
    gen_request r = request(&c);
    r.prefix_allowed = only_even;
    gen_result res = run(&r, 1);
    for (size_t i = N_PROMPT; i < res.seqs[0].n; i++) assert_int_equal(res.seqs[0].ids[i] % 2, 0);
    gen_result_release(&res);
    mltf_err err = {0};
    r.prefix_allowed = nothing;
    assert_int_equal(gen_generate(session, &r, 1, &res, &err), MLTF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "unsatisfiable"));
}

static void test_guidance_moves_away_from_the_unconditional_answer(void **state)
{
    (void)state;
    const gen_config c = config("{\"max_new_tokens\": 8}"),
                     same = config("{\"max_new_tokens\": 8, \"guidance_scale\": 1.0}"),
                     strong = config("{\"max_new_tokens\": 8, \"guidance_scale\": 4.0}");
    gen_request a = request(&c), b = request(&same), d = request(&strong);
    gen_result x = run(&a, 1), y = run(&b, 1), z = run(&d, 1);
    assert_same(&x.seqs[0], &y.seqs[0]);
    assert_int_equal(z.seqs[0].n, N_PROMPT + 8);
    gen_result_release(&x);
    gen_result_release(&y);
    gen_result_release(&z);
}

static int note_finish(void *user, size_t number, const int32_t *ids, size_t n)
{
    size_t *order = user; // [0]: how many were noted
    (void)ids, (void)n;
    order[++order[0]] = number;
    return 0;
}

static void test_a_long_prompt_does_not_wait_for_those_that_come_after_it(void **state)
{
    (void)state;
    arch_model *m = NULL;
    arch_session *s = NULL;
    gen_batch *b = NULL;
    mltf_err err = {0};
    if (arch_model_load(&m, "tests/fixtures/models/llama-base",
                        &(arch_load_options){.torch_dtype = "float32"}, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(arch_session_new(&s, m, &err), MLTF_OK);
    assert_int_equal(gen_batch_new(&b, s, &err), MLTF_OK);
    enum { LONG = 1200 };
    int32_t *ids = calloc(LONG, sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < LONG; i++) ids[i] = (int32_t)(5 + i % 40);
    const gen_config c = config("{\"max_new_tokens\": 1}");
    size_t order[4] = {0}, first, early, late;
    const gen_request brief = {.ids = ids, .n = 3, .cfg = &c};
    const gen_request tall = {
        .ids = ids, .n = LONG, .cfg = &c, .on_token = note_finish, .user = order};
    assert_int_equal(gen_batch_add(b, &brief, &first, &err), MLTF_OK);
    assert_int_equal(gen_batch_add(b, &tall, &early, &err), MLTF_OK);
    assert_int_equal(gen_batch_step(b, &err), MLTF_OK);
    assert_true(gen_batch_done(b, first));
    gen_batch_drop(b, first);
    assert_int_equal(gen_batch_add(b, &tall, &late, &err), MLTF_OK);
    assert_true(late < early); // it has the place of the brief one
    while (gen_batch_active(b)) assert_int_equal(gen_batch_step(b, &err), MLTF_OK);
    assert_int_equal(order[0], 2);
    assert_int_equal(order[1], early);
    free(ids);
    gen_batch_free(b);
    arch_session_free(s);
    arch_model_free(m);
}

typedef struct shown {
    int32_t best[16];
    size_t n;
    bool banned; /* token 7 could never come */
} shown;

static void look(void *user, size_t row, size_t step, const float *scores, size_t vocab)
{
    shown *s = user;
    assert_int_equal(row, 0);
    assert_int_equal(step, s->n);
    size_t best = 0;
    for (size_t i = 1; i < vocab; i++)
        if (scores[i] > scores[best]) best = i;
    s->best[s->n++] = (int32_t)best;
    s->banned &= isinf(scores[7]) && scores[7] < 0;
}

static void test_scores_are_shown_as_they_choose(void **state)
{
    (void)state;
    const gen_config c = config("{\"max_new_tokens\": 8, \"suppress_tokens\": [7]}");
    shown s = {.banned = true};
    gen_request r = request(&c);
    r.on_scores = look;
    r.scores_user = &s;
    gen_result res = run(&r, 1);
    assert_int_equal(s.n, 8);
    assert_memory_equal(s.best, res.seqs[0].ids + N_PROMPT, 8 * sizeof(int32_t));
    assert_true(s.banned);
    gen_result_release(&res);
}

static void test_an_end_that_is_forbidden_stays_so_however_long_the_text_gets(void **state)
{
    (void)state;
    const gen_config c =
        config("{\"max_new_tokens\": 8, \"min_new_tokens\": 8, \"eos_token_id\": 5, "
               "\"exponential_decay_length_penalty\": [1, 3.0]}");
    gen_request r = request(&c);
    gen_result res = run(&r, 1);
    assert_int_equal(res.seqs[0].n, N_PROMPT + 8);
    for (size_t i = 0; i < 8; i++) assert_int_not_equal(res.seqs[0].ids[N_PROMPT + i], 5);
    gen_result_release(&res);
}

static void test_a_prompt_without_room_is_refused_in_the_words_of_the_library(void **state)
{
    (void)state;
    const gen_config c = config("{\"max_length\": 6}");
    gen_request r = request(&c);
    gen_result res;
    mltf_err err = {0};
    assert_int_equal(gen_generate(session, &r, 1, &res, &err), MLTF_INVALID_INPUT);
    assert_string_equal(
        err.msg,
        "Input length of input_ids is 6, but `max_length` is set to 6. This can lead to unexpected "
        "behavior. You should consider increasing `max_length` or, better yet, setting "
        "`max_new_tokens`.");
    const gen_config d = config("{}");
    r = request(&d);
    res = run(&r, 1);
    assert_int_equal(res.seqs[0].n, N_PROMPT + 20); // the default length counts new tokens
    gen_result_release(&res);
}

/* The model has 128 positions. The last token that is generated needs none. */
static void test_a_text_that_leaves_the_positions_fails_alone(void **state)
{
    (void)state;
    int32_t ids[140];
    for (size_t i = 0; i < 140; i++) ids[i] = 20 + (int32_t)(i * 7 % 50);
    const gen_config five = config("{\"max_new_tokens\": 5, \"eos_token_id\": 99999}"),
                     six = config("{\"max_new_tokens\": 6, \"eos_token_id\": 99999}");
    gen_request fits = request(&five), ends = request(&six), never = request(&five);
    fits.ids = ends.ids = never.ids = ids;
    fits.n = ends.n = 124;
    never.n = 129;
    gen_batch *b;
    mltf_err err = {0};
    const gen_request *const reqs[] = {&fits, &ends, &never};
    size_t number[3];
    assert_int_equal(gen_batch_new(&b, session, &err), MLTF_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(gen_batch_add(b, reqs[i], &number[i], &err), MLTF_OK);
    while (gen_batch_active(b)) assert_int_equal(gen_batch_step(b, &err), MLTF_OK);
    gen_result res;
    assert_int_equal(gen_batch_take(b, number[0], &res, &err), MLTF_OK);
    assert_int_equal(res.seqs[0].n, 129);
    gen_result_release(&res);
    assert_int_equal(gen_batch_take(b, number[1], &res, &err), MLTF_INVALID_INPUT);
    assert_string_equal(err.msg,
                        "the model has positions for 128 tokens, and they are used up: 124 "
                        "by the prompt, 4 by what was generated. Ask for fewer new "
                        "tokens, or shorten the prompt");
    assert_int_equal(gen_batch_take(b, number[2], &res, &err), MLTF_INVALID_INPUT);
    assert_string_equal(err.msg, "the prompt has 129 tokens, and the model has positions for 128");
    gen_batch_free(b);
    const gen_config lookup = config("{\"max_new_tokens\": 5, \"eos_token_id\": 99999, "
                                     "\"prompt_lookup_num_tokens\": 8}");
    gen_request guess = fits;
    guess.cfg = &lookup;
    gen_result a = run(&fits, 1), g = run(&guess, 1); // proposals end before the positions do
    assert_same(&a.seqs[0], &g.seqs[0]);
    gen_result_release(&a);
    gen_result_release(&g);
}

static void test_a_text_that_is_too_long_is_said_to_be(void **state)
{
    (void)state;
    int32_t ids[140] = {0};
    arch_output out;
    mltf_err err = {0};
    const arch_batch batch = {.n_seqs = 2, .start = (size_t[]){0, 6, 140}, .ids = ids};
    assert_int_equal(arch_forward(session, &batch, ARCH_WANT_HIDDEN, &out, &err),
                     MLTF_INVALID_INPUT);
    assert_string_equal(
        err.msg, "a text of 134 tokens is too long for this model, which has positions for 128");
}

static int set_up(void **state)
{
    (void)state;
    static const char *const places[] = {"../shared/fixtures/models/gpt2-base",
                                         "tests/fixtures/models/gpt2-base", NULL};
    for (const char *const *p = places; *p && !dir; p++)
        if (dir_exists(*p)) dir = *p;
    mltf_err err = {0};
    if (!dir ||
        arch_model_load(&model, dir, &(arch_load_options){.torch_dtype = "float32"}, &err) ||
        arch_session_new(&session, model, &err) || tokenizer_load(&tk, dir, &err)) {
        fprintf(stderr, "no checkpoint to run: %s\n", err.msg);
        return 1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arch_session_free(session);
    arch_model_free(model);
    tokenizer_free(tk);
    arena_release(&arena);
    return 0;
}

static void test_probabilities_of_scores_that_are_all_the_least_are_even(void **state)
{
    (void)state; // remove_invalid_values makes them, where every token is banned
    float x[4] = {-FLT_MAX, -INFINITY, -FLT_MAX, -FLT_MAX};
    gen_log_softmax(x, 4);
    assert_float_equal(x[0], -logf(3), 1e-6);
    assert_true(x[1] == -INFINITY && x[2] == x[0] && x[3] == x[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exponential_is_exact_to_the_last_bits),
        cmocka_unit_test(test_uniform_numbers_are_fixed_for_all_time),
        cmocka_unit_test(test_a_seed_gives_the_same_text_alone_and_in_a_batch),
        cmocka_unit_test(test_several_sequences_of_a_prompt_differ_and_the_first_is_the_single_one),
        cmocka_unit_test(test_tokens_are_told_as_they_come_and_may_be_cancelled),
        cmocka_unit_test(test_proposals_do_not_change_the_text),
        cmocka_unit_test(test_logprobs_are_the_models_own),
        cmocka_unit_test(test_a_constraint_holds_whatever_the_model_wants),
        cmocka_unit_test(test_a_callback_may_say_what_is_allowed),
        cmocka_unit_test(test_guidance_moves_away_from_the_unconditional_answer),
        cmocka_unit_test(test_a_long_prompt_does_not_wait_for_those_that_come_after_it),
        cmocka_unit_test(test_scores_are_shown_as_they_choose),
        cmocka_unit_test(test_an_end_that_is_forbidden_stays_so_however_long_the_text_gets),
        cmocka_unit_test(test_a_prompt_without_room_is_refused_in_the_words_of_the_library),
        cmocka_unit_test(test_a_text_that_leaves_the_positions_fails_alone),
        cmocka_unit_test(test_a_text_that_is_too_long_is_said_to_be),
        cmocka_unit_test(test_probabilities_of_scores_that_are_all_the_least_are_even),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
