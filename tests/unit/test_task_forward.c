/* Calls that want a forward pass at the same time share a batch: each answer is bit for bit the one it gets alone, a
 * text that does not fit fails for its own call only, and a flag or a deadline ends a call that waits. */
#include "unit.h"

#include <pthread.h>
#include <string.h>

#include "tasks/pipeline.h"

#define THREADS 8
#define ROUNDS  12
#define CALLS   6

static pipeline *classifier, *features;

/* Lengths from one token to many, lists, pairs, padding: what may meet in one batch. */
static const char *const inputs[CALLS] = {
    "\"rain\"",
    "[\"the old ferryman\", \"a\", \"where do the boats go when the river is high and the bridge "
    "is gone\"]",
    "{\"text\": \"rain\", \"text_pair\": \"and snow\"}",
    "\"padded to a length\"",
    "[\"one\", \"two\", \"three\", \"four\", \"five\"]",
    "\"too long\"",
};
static const char *const kwargs[CALLS] = {
    "{}",
    "{}",
    "{\"top_k\": null}",
    "{\"padding\": \"max_length\", \"max_length\": 24}",
    "{\"batch_size\": 2}",
    "{}",
};
static char too_long[8192];

static json *parse(mltf_arena *a, const char *text)
{
    json *v = NULL;
    assert_int_equal(json_parse_in(a, &v, text, strlen(text), NULL, NULL), MLTF_OK);
    return v;
}

static mltf_status call(const pipeline *p, size_t i, mltf_buf *out, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    json *answer = NULL, *input = i == 5 ? json_new_cstr(&a, too_long) : parse(&a, inputs[i]);
    const mltf_status st = pipeline_call(p, input, parse(&a, kwargs[i]), NULL, &a, &answer, err);
    if (!st) json_write(out, answer, NULL); // floats in full precision
    arena_release(&a);
    return st;
}

typedef struct caller {
    pthread_t thread;
    size_t number;
    mltf_buf alone[CALLS];
    size_t wrong;
} caller;

static void *call_all(void *arg)
{
    caller *c = arg;
    for (size_t k = 0; k < ROUNDS * CALLS; k++) {
        const size_t i = (k * 5 + c->number) % CALLS;
        mltf_buf got = MLTF_BUF_INIT;
        mltf_err err = {0};
        const mltf_status st = call(classifier, i, &got, &err);
        if (i == 5)
            c->wrong += st != MLTF_PREDICT_FAILED || err.status != st;
        else
            c->wrong += st != MLTF_OK || strcmp(got.p, c->alone[i].p) != 0;
        mltf_buf_release(&got);
    }
    return NULL;
}

static void test_task_forward_answers_are_the_same_in_company(void **state)
{
    (void)state;
    caller callers[THREADS] = {0};
    mltf_err err = {0};
    for (size_t t = 0; t < THREADS; t++) {
        callers[t].number = t;
        for (size_t i = 0; i < CALLS - 1; i++)
            assert_int_equal(call(classifier, i, &callers[t].alone[i], &err), MLTF_OK);
    }
    for (size_t t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&callers[t].thread, NULL, call_all, &callers[t]), 0);
    for (size_t t = 0; t < THREADS; t++) pthread_join(callers[t].thread, NULL);
    for (size_t t = 0; t < THREADS; t++) {
        assert_int_equal(callers[t].wrong, 0);
        for (size_t i = 0; i < CALLS; i++) mltf_buf_release(&callers[t].alone[i]);
    }
}

static void test_task_forward_batch_size_changes_no_bit(void **state)
{
    (void)state;
    mltf_arena a = MLTF_ARENA_INIT;
    mltf_err err = {0};
    json *list = parse(&a, inputs[1]), *all, *one;
    assert_int_equal(pipeline_call(features, list, NULL, NULL, &a, &all, &err), MLTF_OK);
    assert_int_equal(
        pipeline_call(features, list, parse(&a, "{\"batch_size\": 1}"), NULL, &a, &one, &err),
        MLTF_OK);
    assert_true(json_equal(all, one));
    arena_release(&a);
}

/* Seven token types a token; answers that depend on the pooled output as well. */
static void test_task_forward_tables_share_a_batch(void **state)
{
    (void)state;
    static const char both[] =
        "[{\"table\": {\"city\": [\"Ulm\", \"Bonn\"], \"people\": [\"126\", \"330\"]}, \"query\": "
        "[\"how many people live in Ulm?\", \"which city?\", \"the sum of the people\"]}, "
        "{\"table\": {\"a\": [\"1\", \"2\", \"3\"]}, \"query\": \"the largest a?\"}]";
    mltf_arena a = MLTF_ARENA_INIT;
    mltf_err err = {0};
    pipeline *tables = NULL;
    assert_int_equal(
        pipeline_load(&tables,
                      &(pipeline_options){.task = "table-question-answering",
                                          .model_dir = "tests/fixtures/models/tapas-base"},
                      &err),
        MLTF_OK);
    json *input = parse(&a, both), *all = NULL;
    assert_int_equal(pipeline_call(tables, input, NULL, NULL, &a, &all, &err), MLTF_OK);
    assert_int_equal(json_len(all), 2);
    assert_int_equal(json_len(json_at(all, 0)), 3);
    for (int64_t size = 1; size <= 3; size++) {
        json *kw = json_new_object(&a), *some = NULL;
        json_set(&a, kw, "batch_size", json_new_int(&a, size));
        assert_int_equal(pipeline_call(tables, input, kw, NULL, &a, &some, &err), MLTF_OK);
        assert_true(json_equal(all, some));
    }
    for (size_t i = 0; i < 2; i++) {
        json *alone = NULL;
        assert_int_equal(pipeline_call(tables, json_at(input, i), NULL, NULL, &a, &alone, &err),
                         MLTF_OK);
        assert_true(json_equal(json_at(all, i), alone));
    }
    pipeline_free(tables);
    arena_release(&a);
}

static void test_task_forward_a_flag_and_a_deadline_end_a_call(void **state)
{
    (void)state;
    volatile int cancel = 1;
    const call_control flagged = {.cancel = &cancel}, late = {.deadline = 1e-9};
    mltf_arena a = MLTF_ARENA_INIT;
    mltf_err err = {0};
    json *out, *text = json_new_cstr(&a, "rain");
    assert_int_equal(pipeline_call(classifier, text, NULL, &flagged, &a, &out, &err),
                     MLTF_CANCELLED);
    assert_int_equal(pipeline_call(classifier, text, NULL, &late, &a, &out, &err), MLTF_TIMEOUT);
    arena_release(&a);
}

static int load(void **state)
{
    (void)state;
    for (size_t n = 0; n + 8 < sizeof too_long; n += 5) memcpy(too_long + n, "rain ", 5);
    mltf_err err = {0};
    return pipeline_load(&classifier,
                         &(pipeline_options){.task = "text-classification",
                                             .model_dir = "tests/fixtures/models/bert-seqcls"},
                         &err) ||
           pipeline_load(&features,
                         &(pipeline_options){.task = "feature-extraction",
                                             .model_dir = "tests/fixtures/models/bert-base"},
                         &err);
}

static int unload(void **state)
{
    (void)state;
    pipeline_free(classifier);
    pipeline_free(features);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_task_forward_answers_are_the_same_in_company),
        cmocka_unit_test(test_task_forward_batch_size_changes_no_bit),
        cmocka_unit_test(test_task_forward_tables_share_a_batch),
        cmocka_unit_test(test_task_forward_a_flag_and_a_deadline_end_a_call),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
