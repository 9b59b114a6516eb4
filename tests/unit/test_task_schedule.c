/* Generating calls share a batch: answers are the same alone and together, tokens come on the caller's thread, a
 * cancelled or late call ends alone. */
#include "unit.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "tasks/pipeline.h"

#define THREADS 6
#define PROMPTS 4

static pipeline *gpt2;

static const char *const texts[PROMPTS] = {"The old ferryman said that the river", "Rain",
                                           "Where do the boats go when", "A"};
static const char greedy[] = "{\"max_new_tokens\": 24, \"do_sample\": false}";
static const char seeded[] =
    "{\"max_new_tokens\": 24, \"do_sample\": true, \"seed\": 11, \"temperature\": 1.5}";

static json *parse(mltf_arena *a, const char *text)
{
    json *v = NULL;
    assert_int_equal(json_parse_in(a, &v, text, strlen(text), NULL, NULL), MLTF_OK);
    return v;
}

static mltf_status generate(size_t which, const char *kwargs, const call_control *ctl,
                            mltf_buf *out, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    json *answer = NULL;
    const mltf_status st = pipeline_call(gpt2, json_new_cstr(&a, texts[which]), parse(&a, kwargs),
                                         ctl, &a, &answer, err);
    if (!st) json_write(out, answer, NULL);
    arena_release(&a);
    return st;
}

typedef struct caller {
    pthread_t thread;
    size_t number;
    mltf_buf answers[PROMPTS];
    mltf_buf streamed[PROMPTS];
    int failed;
} caller;

static int collect(void *user, const char *text, size_t n)
{
    mltf_buf *b = user;
    const size_t need = b->n + n + 1;
    char *p = realloc(b->p, need);
    if (!p) return 1;
    memcpy(p + b->n, text, n);
    p[b->n + n] = 0;
    b->p = p;
    b->n += n;
    return 0;
}

static void *call_all(void *arg)
{
    caller *c = arg;
    for (size_t k = 0; k < PROMPTS; k++) {
        const size_t i = (k + c->number) % PROMPTS;
        const call_control ctl = {.on_text = collect, .user = &c->streamed[i]};
        mltf_err err = {0};
        c->failed |=
            generate(i, c->number % 2 ? seeded : greedy, &ctl, &c->answers[i], &err) != MLTF_OK;
    }
    return NULL;
}

static void test_task_schedule_answers_alike_alone_and_together(void **state)
{
    (void)state;
    mltf_buf alone[2][PROMPTS] = {{{0}}};
    mltf_err err = {0};
    for (size_t i = 0; i < PROMPTS; i++) {
        assert_int_equal(generate(i, greedy, NULL, &alone[0][i], &err), MLTF_OK);
        assert_int_equal(generate(i, seeded, NULL, &alone[1][i], &err), MLTF_OK);
    }
    caller callers[THREADS] = {0};
    for (size_t t = 0; t < THREADS; t++) {
        callers[t].number = t;
        assert_int_equal(pthread_create(&callers[t].thread, NULL, call_all, &callers[t]), 0);
    }
    for (size_t t = 0; t < THREADS; t++) {
        pthread_join(callers[t].thread, NULL);
        assert_false(callers[t].failed);
        for (size_t i = 0; i < PROMPTS; i++) {
            assert_string_equal(callers[t].answers[i].p, alone[t % 2][i].p);
            assert_true(callers[t].streamed[i].n > 0);
            mltf_buf_release(&callers[t].answers[i]);
            free(callers[t].streamed[i].p);
        }
    }
    for (size_t i = 0; i < PROMPTS; i++) {
        mltf_buf_release(&alone[0][i]);
        mltf_buf_release(&alone[1][i]);
    }
}

static void test_task_schedule_batch_size_changes_nothing(void **state)
{
    (void)state;
    mltf_arena a = MLTF_ARENA_INIT;
    mltf_err err = {0};
    json *list = json_new_array(&a), *one, *two;
    for (size_t i = 0; i < PROMPTS; i++) json_push(&a, list, json_new_cstr(&a, texts[i]));
    json *kwargs = parse(&a, greedy);
    assert_int_equal(pipeline_call(gpt2, list, kwargs, NULL, &a, &one, &err), MLTF_OK);
    json_set(&a, kwargs, "batch_size", json_new_int(&a, 1));
    assert_int_equal(pipeline_call(gpt2, list, kwargs, NULL, &a, &two, &err), MLTF_OK);
    assert_true(json_equal(one, two));
    arena_release(&a);
}

static int stop_at_once(void *user, const char *text, size_t n)
{
    (void)text;
    (void)n;
    ++*(int *)user;
    return 1;
}

static void test_task_schedule_a_listener_can_stop_a_call(void **state)
{
    (void)state;
    int heard = 0;
    const call_control ctl = {.on_text = stop_at_once, .user = &heard};
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    assert_int_equal(generate(0, greedy, &ctl, &out, &err), MLTF_CANCELLED);
    assert_int_equal(heard, 1);
    mltf_buf_release(&out);
}

static void test_task_schedule_a_flag_cancels_and_a_deadline_ends(void **state)
{
    (void)state;
    volatile int cancel = 1;
    const call_control flagged = {.cancel = &cancel};
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    assert_int_equal(generate(0, greedy, &flagged, &out, &err), MLTF_CANCELLED);

    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const call_control late = {.deadline = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec + 0.02};
    const mltf_status st =
        generate(0, "{\"max_new_tokens\": 100, \"min_new_tokens\": 100, \"num_beams\": 8}", &late,
                 &out, &err);
    assert_true(st == MLTF_TIMEOUT ||
                st == MLTF_OK); // OK: a machine that is faster than the clock's patience
    mltf_buf_release(&out);
}

static void test_task_schedule_the_streamed_text_is_the_answer(void **state)
{
    (void)state;
    mltf_buf text = MLTF_BUF_INIT, answer = MLTF_BUF_INIT;
    const call_control ctl = {.on_text = collect, .user = &text};
    mltf_err err = {0};
    assert_int_equal(
        generate(1,
                 "{\"max_new_tokens\": 12, \"do_sample\": false, \"return_full_text\": false, "
                 "\"clean_up_tokenization_spaces\": false}",
                 &ctl, &answer, &err),
        MLTF_OK);
    mltf_arena a = MLTF_ARENA_INIT;
    const mltf_str got =
        json_string(json_get(json_at(parse(&a, answer.p), 0), "generated_text"), STR("?"));
    assert_int_equal(got.n, text.n);
    assert_memory_equal(got.p, text.p, text.n);
    arena_release(&a);
    free(text.p);
    mltf_buf_release(&answer);
}

int main(void)
{
    mltf_err err = {0};
    const pipeline_options o = {.task = "text-generation",
                                .model_dir = "tests/fixtures/models/gpt2-base",
                                .arch = {.torch_dtype = "float32"}};
    if (pipeline_load(&gpt2, &o, &err)) {
        print_error("%s\n", err.msg);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_task_schedule_answers_alike_alone_and_together),
        cmocka_unit_test(test_task_schedule_batch_size_changes_nothing),
        cmocka_unit_test(test_task_schedule_a_listener_can_stop_a_call),
        cmocka_unit_test(test_task_schedule_a_flag_cancels_and_a_deadline_ends),
        cmocka_unit_test(test_task_schedule_the_streamed_text_is_the_answer),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pipeline_free(gpt2);
    return failed;
}
