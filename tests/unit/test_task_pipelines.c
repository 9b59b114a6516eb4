/* Every recorded call of tests/fixtures/pipelines gives the recorded answer or error: odd and ordinary calls in
 * cases.jsonl, every keyword of every pipeline's class in keywords.jsonl. The recordings are transformers'
 * (tools/record_pipelines.py); one test a task. "here" says where mltf means to differ. Scores within 2e-4 of themselves, features within
 * 2e-4, everything else equal, the order of keys included. */
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tasks/pipeline.h"

static mltf_buf cases; // the whole file
static mltf_arena parsed;

static bool near(double want, double got, bool score)
{
    const double scale = score ? fmax(fabs(want), 1e-4) : fmax(fabs(want), 1);
    return fabs(want - got) <= 2e-4 * scale;
}

static bool same(const json *want, const json *got, bool score)
{
    if (json_is_number(want) && json_is_number(got))
        return near(json_double(want, 0), json_double(got, 0), score);
    if (!want || !got || want->type != got->type) return false;
    if (want->type == JSON_ARRAY) {
        for (size_t i = 0; i < want->a.n && want->a.n == got->a.n; i++)
            if (!same(&want->a.items[i], &got->a.items[i], score)) return false;
        return want->a.n == got->a.n;
    }
    if (want->type == JSON_OBJECT) {
        for (size_t i = 0; i < want->o.n && want->o.n == got->o.n; i++) {
            const mltf_str key = want->o.members[i].key;
            const bool is_score = score || str_is(key, "score") || str_is(key, "scores");
            if (!str_eq(key, got->o.members[i].key)) return false;
            if (!same(&want->o.members[i].value, &got->o.members[i].value, is_score)) return false;
        }
        return want->o.n == got->o.n;
    }
    return json_equal(want, got);
}

/* "ValueError: words", as they begin; where a table of the model is left, torch has only "index out of range". */
static bool same_error(mltf_str recorded, const mltf_err *got)
{
    const char *colon = memchr(recorded.p, ':', recorded.n);
    if (!colon) return false;
    const mltf_str words = str_slice(recorded, (size_t)(colon - recorded.p) + 2, recorded.n);
    if (str_is(words, "index out of range in self")) return got->status == MLTF_PREDICT_FAILED;
    return strncmp(got->msg, words.p, words.n) == 0;
}

static size_t check_row(const pipeline *p, const json *row)
{
    mltf_arena arena = MLTF_ARENA_INIT;
    mltf_err err = {0};
    json *out = NULL;
    const mltf_status st =
        pipeline_call(p, json_get(row, "input"), json_get(row, "kwargs"), NULL, &arena, &out, &err);
    const json *error = json_get(row, "error"), *want = json_get(row, "output");
    const mltf_str here = json_string(json_get(row, "here"), STR(""));
    const bool ok = here.n  ? str_is(here, st ? "fails" : "answers")
                    : error ? st && same_error(json_string(error, STR("")), &err)
                            : !st && same(want, out, false);
    if (!ok) {
        mltf_buf b = MLTF_BUF_INIT;
        json_write(&b, row, NULL);
        buf_puts(&b, "\n  got ");
        if (st)
            buf_puts(&b, err.msg);
        else
            json_write(&b, out, NULL);
        print_error("  call %.700s\n", b.p);
        mltf_buf_release(&b);
    }
    arena_release(&arena);
    return !ok;
}

/* All rows of one task, on the model each names. */
static void check_task(const char *task)
{
    pipeline *p = NULL;
    char loaded[64] = "";
    mltf_err err = {0};
    size_t n = 0, failed = 0;
    for (size_t at = 0; at < cases.n;) {
        const char *end = memchr(cases.p + at, '\n', cases.n - at);
        const size_t len = end ? (size_t)(end - cases.p) - at : cases.n - at;
        json *row = NULL;
        assert_int_equal(json_parse_in(&parsed, &row, cases.p + at, len, NULL, &err), MLTF_OK);
        at += len + 1;
        if (!str_is(json_string(json_get(row, "task"), STR("")), task)) continue;
        const mltf_str model = json_string(json_get(row, "model"), STR(""));
        if (!str_is(model, loaded)) {
            char dir[128];
            pipeline_free(p);
            p = NULL;
            snprintf(loaded, sizeof loaded, STR_FMT, STR_ARG(model));
            snprintf(dir, sizeof dir, "tests/fixtures/models/%s", loaded);
            const pipeline_options o = {
                .task = task, .model_dir = dir, .arch = {.torch_dtype = "float32"}};
            const mltf_status st = pipeline_load(&p, &o, &err);
            if (st) print_error("%s: %s\n", dir, err.msg);
            if (st == MLTF_UNSUPPORTED || st == MLTF_NOT_FOUND)
                skip(); // an architecture or a tokenizer class that is not there
            assert_int_equal(st, MLTF_OK);
        }
        n++;
        failed += check_row(p, row);
    }
    pipeline_free(p);
    assert_true(n > 0);
    assert_int_equal(failed, 0);
}

#define TASK(function, name)                                                                       \
    static void function(void **state)                                                             \
    {                                                                                              \
        (void)state;                                                                               \
        check_task(name);                                                                          \
    }
TASK(test_task_text_classification_answers_as_recorded, "text-classification")
TASK(test_task_token_classification_answers_as_recorded, "token-classification")
TASK(test_task_fill_mask_answers_as_recorded, "fill-mask")
TASK(test_task_feature_extraction_answers_as_recorded, "feature-extraction")
TASK(test_task_question_answering_answers_as_recorded, "question-answering")
TASK(test_task_zero_shot_answers_as_recorded, "zero-shot-classification")
TASK(test_task_text_generation_answers_as_recorded, "text-generation")
TASK(test_task_text2text_answers_as_recorded, "text2text-generation")
TASK(test_task_summarization_answers_as_recorded, "summarization")
TASK(test_task_translation_answers_as_recorded, "translation_en_to_de")
TASK(test_task_table_qa_answers_as_recorded, "table-question-answering")

/* A tokenizer without offsets: answers are whole words. */
static void test_task_question_answering_by_words_answers_as_recorded(void **state)
{
    (void)state;
    mltf_buf rows = MLTF_BUF_INIT;
    mltf_err err = {0};
    pipeline *p = NULL;
    const pipeline_options o = {.task = "question-answering",
                                .model_dir = "tests/fixtures/models/bert-qa",
                                .tokenizer_dir = "tests/fixtures/pipelines/byt5",
                                .arch = {.torch_dtype = "float32"}};
    assert_int_equal(file_read(&rows, "tests/fixtures/pipelines/byt5/cases.jsonl", 1 << 20, &err),
                     MLTF_OK);
    assert_int_equal(pipeline_load(&p, &o, &err), MLTF_OK);
    size_t failed = 0, n = 0;
    for (char *line = rows.p, *end; (end = strchr(line, '\n')); line = end + 1) {
        json *row = NULL;
        assert_int_equal(json_parse_in(&parsed, &row, line, (size_t)(end - line), NULL, &err),
                         MLTF_OK);
        failed += check_row(p, row);
        n++;
    }
    pipeline_free(p);
    mltf_buf_release(&rows);
    assert_int_equal(n, 5);
    assert_int_equal(failed, 0);
}

static const char gpt2[] =
    "tests/fixtures/models/gpt2-base"; // has a tokenizer, which family-* have not

/* Loaded for a task with config.json's `architectures` replaced, the model is of this class. */
static void becomes(const char *dir, const char *task, const char *named, const char *class_name)
{
    mltf_err err = {0};
    pipeline *p = NULL;
    json *overrides = NULL;
    assert_int_equal(json_parse_in(&parsed, &overrides, named, strlen(named), NULL, &err), 0);
    const pipeline_options o = {.task = task,
                                .model_dir = dir,
                                .tokenizer_dir = strstr(dir, "family-") ? gpt2 : NULL,
                                .arch = {.config_overrides = overrides}};
    if (pipeline_load(&p, &o, &err)) fail_msg("%s: %s", named, err.msg);
    assert_string_equal(arch_model_info(pipeline_model(p))->architecture, class_name);
    pipeline_free(p);
}

static void test_the_task_makes_the_class_where_architectures_is_no_help(void **state)
{
    (void)state;
    static const char bert[] = "tests/fixtures/models/bert-seqcls",
                      t5[] = "tests/fixtures/models/t5-base";
    becomes(bert, "text-classification", "{\"architectures\": null}",
            "BertForSequenceClassification");
    becomes(bert, "text-classification", "{\"architectures\": [\"OurOwnClassifier\"]}",
            "BertForSequenceClassification");
    becomes(bert, "text-classification", "{\"architectures\": [\"RobertaForMaskedLM\"]}",
            "BertForSequenceClassification");
    becomes(bert, "feature-extraction", "{\"architectures\": [\"OurOwnClassifier\"]}", "BertModel");
    becomes(t5, "summarization", "{\"architectures\": [\"T5WithLMHead\"]}",
            "T5ForConditionalGeneration");
    becomes(t5, "text2text-generation", "{\"architectures\": [\"T5Model\"]}",
            "T5ForConditionalGeneration");
    becomes("tests/fixtures/models/llama-base", "text-generation",
            "{\"architectures\": [\"LLaMAForCausalLM\"]}", "LlamaForCausalLM");
    becomes("tests/fixtures/models/family-bart-causal", "text-generation",
            "{\"architectures\": [\"BartForConditionalGeneration\"]}", "BartForCausalLM");
    becomes(gpt2, "text-generation", "{\"architectures\": null}", "GPT2LMHeadModel");
}

int main(void)
{
    mltf_err err = {0};
    if (file_read(&cases, "tests/fixtures/pipelines/cases.jsonl", 1 << 24, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    mltf_buf keywords = MLTF_BUF_INIT;
    if (file_read(&keywords, "tests/fixtures/pipelines/keywords.jsonl", 1 << 24, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    buf_put_str(&cases, buf_str(&keywords));
    mltf_buf_release(&keywords);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_task_text_classification_answers_as_recorded),
        cmocka_unit_test(test_task_token_classification_answers_as_recorded),
        cmocka_unit_test(test_task_fill_mask_answers_as_recorded),
        cmocka_unit_test(test_task_feature_extraction_answers_as_recorded),
        cmocka_unit_test(test_task_question_answering_answers_as_recorded),
        cmocka_unit_test(test_task_question_answering_by_words_answers_as_recorded),
        cmocka_unit_test(test_task_zero_shot_answers_as_recorded),
        cmocka_unit_test(test_task_text_generation_answers_as_recorded),
        cmocka_unit_test(test_task_text2text_answers_as_recorded),
        cmocka_unit_test(test_task_summarization_answers_as_recorded),
        cmocka_unit_test(test_task_translation_answers_as_recorded),
        cmocka_unit_test(test_task_table_qa_answers_as_recorded),
        cmocka_unit_test(test_the_task_makes_the_class_where_architectures_is_no_help),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_release(&parsed);
    mltf_buf_release(&cases);
    return failed;
}
