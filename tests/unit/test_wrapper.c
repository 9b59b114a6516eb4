/* predict() on the small recorded models: conversations, templates, rows that differ, saving and opening again. */
#include "unit.h"

#include <pthread.h>
#include <string.h>

#include "mlflow/load.h"
#include "mlflow/mlmodel.h"
#include "mlflow/wrapper.h"

#define GOLDEN "tests/fixtures/golden/"

static mltf_arena arena;
static char *tmp;

static int set_up(void **state)
{
    (void)state;
    arena = (mltf_arena)MLTF_ARENA_INIT;
    tmp = unit_new_folder();
    return !tmp;
}

static int tear_down(void **state)
{
    (void)state;
    arena_release(&arena);
    return unit_remove_folder(tmp);
}

static mltf_model *open_model(const char *dir)
{
    mltf_model *m = NULL;
    mltf_err err = {0};
    if (mltf_model_open(&m, dir, NULL, &err)) fail_msg("%s", err.msg);
    return m;
}

static const char *ask(const mltf_model *m, const char *body)
{
    mltf_buf answer = MLTF_BUF_INIT;
    mltf_err err = {0};
    const mltf_status st = mltf_predict_json(m, body, strlen(body), NULL, &answer, &err);
    const char *s = st ? arena_strdup(&arena, err.msg, strlen(err.msg))
                       : arena_strdup(&arena, answer.p, answer.n);
    mltf_buf_release(&answer);
    return s;
}

/* A copy of a recorded model whose flavor says something else. */
static const char *edited(const char *from, const char *key, const char *value)
{
    const char *dir = arena_printf(&arena, "%s/edited", tmp);
    json *root = NULL;
    assert_int_equal(dir_copy(from, dir, NULL, NULL, NULL, NULL), MLTF_OK);
    assert_int_equal(mlmodel_read(&arena, &root, dir, NULL), MLTF_OK);
    json *flavor = (json *)json_get(json_get(root, "flavors"), "transformers");
    json_set(&arena, flavor, key, json_new_cstr(&arena, value));
    json_remove(flavor, "inference_task");
    json_remove(root, "signature");
    assert_int_equal(mlmodel_write(arena_printf(&arena, "%s/MLmodel", dir), root, NULL), MLTF_OK);
    return dir;
}

static const char *raw(const mltf_model *m, const char *data, const char *params)
{
    mltf_buf answer = MLTF_BUF_INIT;
    mltf_err err = {0};
    const mltf_predict_options o = {.params_json = params};
    if (mltf_predict_raw(m, data, strlen(data), &o, &answer, &err)) fail_msg("%s", err.msg);
    const char *s = arena_strdup(&arena, answer.p, answer.n);
    mltf_buf_release(&answer);
    return s;
}

static void test_a_conversation_remembers_what_was_said(void **state)
{
    (void)state;
    mltf_model *m = open_model(edited(GOLDEN "llm_chat/model", "task", "conversational"));
    const char *first = raw(m, "\"Where is the mill?\"", NULL);
    assert_int_equal(first[0], '"'); // a bare text
    const char *second = raw(m, "\"Where is the mill?\"", NULL);
    const char *apart = raw(m, "\"Where is the mill?\"", "{\"conversation_id\": \"other\"}");
    assert_string_equal(apart, first); // a conversation of its own starts from nothing
    assert_non_null(m->conversations);

    // the second answer is that to the whole history
    json *messages = NULL, *out = NULL;
    const char *text = arena_printf(
        &arena,
        "[{\"role\": \"user\", \"content\": \"Where is the mill?\"}, {\"role\": \"assistant\", "
        "\"content\": %s}, {\"role\": \"user\", \"content\": \"Where is the mill?\"}]",
        first);
    assert_int_equal(json_parse_in(&arena, &messages, text, strlen(text), NULL, NULL), MLTF_OK);
    json *kwargs = json_new_object(&arena);
    json_set(&arena, kwargs, "do_sample", json_new_bool(&arena, false));
    assert_int_equal(pipeline_call(m->pipe, messages, kwargs, NULL, &arena, &out, NULL), MLTF_OK);
    const json *chat = json_get(json_at(out, 0), "generated_text");
    mltf_buf want = MLTF_BUF_INIT;
    json_write(&want, json_get(json_at(chat, json_len(chat) - 1), "content"), NULL);
    assert_string_equal(second, want.p);
    mltf_buf_release(&want);
    mltf_model_free(m);
}

static void *talk(void *arg)
{
    mltf_model *m = arg;
    for (int i = 0; i < 5; i++) {
        mltf_buf answer = MLTF_BUF_INIT;
        const mltf_predict_options o = {
            .params_json = i % 2 ? "{\"conversation_id\": \"a\", \"max_new_tokens\": 2}"
                                 : "{\"max_new_tokens\": 2}"};
        mltf_predict_raw(m, "\"hi\"", 4, &o, &answer, NULL);
        mltf_buf_release(&answer);
    }
    return NULL;
}

static void test_conversations_may_be_held_by_many_threads(void **state)
{
    (void)state;
    mltf_model *m = open_model(edited(GOLDEN "llm_chat/model", "task", "conversational"));
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, talk, m), 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    mltf_model_free(m);
}

/* Recorded from the pipeline of databrickslabs/dolly on the same weights. */
static void test_an_instruction_is_answered_by_what_stands_between_its_marks(void **state)
{
    (void)state;
    mltf_model *m = open_model(edited(GOLDEN "text_generation/model", "instance_type",
                                      "InstructionTextGenerationPipeline"));
    static const char greedy[] = "{\"do_sample\": false, \"max_new_tokens\": 12}",
                      full[] = "{\"do_sample\": false, \"max_new_tokens\": 12, "
                               "\"return_full_text\": true}";
    static const char marked[] = "\"The mill ### Response: no ### End\"";
    assert_string_equal(raw(m, "\"The baker\"", greedy), "[\"y     Sy the w w w\"]");
    assert_string_equal(raw(m, "\"The baker\"", full), "[\"The baker\\ny     Sy the w w w\"]");
    assert_string_equal(raw(m, marked, greedy), "[\"no\"]");
    assert_string_equal(raw(m, marked, full), "[\"The mill ### Response: no ### End\\nno\"]");
    mltf_model_free(m);
}

static void test_errors_have_mlflows_words(void **state)
{
    (void)state;
    mltf_model *m = open_model(GOLDEN "text_classification/model");
    assert_string_equal(ask(m, "{\"inputs\": []}"),
                        "Failed to predict data '[]'. \nError: Failed to enforce schema of data "
                        "'[]' with schema '[string "
                        "(required)]'. Error: Model inference is missing inputs. The model "
                        "signature declares 1 inputs  but the "
                        "provided value only has 0 inputs. Note: the inputs were not named in the "
                        "signature so we can only "
                        "verify their count.");
    assert_string_equal(ask(m, "{\"instances\": [{\"a\": \"x\"}]}"),
                        "Failed to predict data '{'a': array(['x'], dtype='<U1')}'. \nError: Text "
                        "Classification pipelines may "
                        "only define dictionary inputs with keys defined as {'text', 'text_pair'}");
    mltf_model_free(m);
}

static void test_a_missing_model_is_not_found(void **state)
{
    (void)state;
    mltf_model *m = NULL;
    mltf_err err = {0};
    assert_int_equal(mltf_model_open(&m, arena_printf(&arena, "%s/none", tmp), NULL, &err),
                     MLTF_NOT_FOUND);
    assert_null(m);
    assert_int_equal(mltf_model_open(&m, tmp, NULL, &err), MLTF_NOT_FOUND);
    assert_non_null(strstr(err.msg, "Could not find an \"MLmodel\" configuration file at"));
}

static void test_a_model_tells_its_tasks_and_where_it_lies(void **state)
{
    (void)state;
    mltf_model *chat = open_model(GOLDEN "llm_chat/model");
    assert_string_equal(mltf_model_task(chat), "text-generation");
    assert_string_equal(mltf_model_inference_task(chat), "llm/v1/chat");
    mltf_model_free(chat);
    mltf_model *plain = open_model(GOLDEN "text_classification/model");
    assert_string_equal(mltf_model_task(plain), "text-classification");
    assert_null(mltf_model_inference_task(plain));
    mltf_model_free(plain);

    mltf_buf dir = MLTF_BUF_INIT;
    mltf_err err = {0};
    assert_int_equal(mltf_resolve_uri(GOLDEN "llm_chat/model", NULL, &dir, &err), MLTF_OK);
    assert_true(file_exists(arena_printf(&arena, "%s/MLmodel", dir.p)));
    const char *store = arena_printf(&arena, "sqlite:///%s/mlflow.db", tmp);
    assert_int_equal(mltf_resolve_uri("models:/nobody/1", store, &dir, &err), MLTF_NOT_FOUND);
    assert_non_null(strstr(err.msg, "there is no MLflow database"));
    mltf_buf_release(&dir);
}

static void test_options_replace_only_known_keys(void **state)
{
    (void)state;
    mltf_model *m = NULL;
    mltf_err err = {0};
    const mltf_open_options o = {.model_config_json = "{\"top_k\": 1, \"other\": 2}"};
    if (mltf_model_open(&m, GOLDEN "text_classification/top2", &o, &err)) fail_msg("%s", err.msg);
    assert_int_equal(json_len(m->config), 1);
    assert_int_equal(json_int(json_get(m->config, "top_k"), 0), 1);
    mltf_model_free(m);
    const mltf_open_options bad = {.torch_dtype = "float99"};
    assert_int_equal(mltf_model_open(&m, GOLDEN "text_classification/model", &bad, &err),
                     MLTF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "The value 'float99' is not a valid torch.dtype"));
    const mltf_open_options base = {.base_model_path = tmp};
    assert_int_equal(mltf_model_open(&m, GOLDEN "text_classification/model", &base, &err),
                     MLTF_INVALID_INPUT);
}

static void checkpoint_from(const char *model, const char *to)
{
    dir_list files = {0};
    const char *parts[] = {"model", "components/tokenizer"};
    assert_int_equal(dir_make(to, NULL), MLTF_OK);
    for (int p = 0; p < 2; p++) {
        const char *dir = arena_printf(&arena, "%s/%s", model, parts[p]);
        assert_int_equal(dir_read(&files, dir, NULL), MLTF_OK);
        for (size_t i = 0; i < files.n; i++)
            assert_int_equal(file_copy(arena_printf(&arena, "%s/%s", dir, files.names[i]),
                                       arena_printf(&arena, "%s/%s", to, files.names[i]), NULL,
                                       NULL, NULL),
                             MLTF_OK);
        dir_list_free(&files);
    }
}

static void test_what_is_saved_opens_and_answers_the_same(void **state)
{
    (void)state;
    const char *from = arena_printf(&arena, "%s/checkpoint", tmp),
               *out = arena_printf(&arena, "%s/model", tmp);
    checkpoint_from(GOLDEN "text_classification/model", from);
    mltf_err err = {0};
    const mltf_save_options o = {.task = "text-classification",
                                 .input_example_json = "{\"text\": \"a\", \"text_pair\": \"b\"}",
                                 .metadata_json = "{\"team\": \"x\"}"};
    if (mltf_save(from, out, &o, &err)) fail_msg("%s", err.msg);
    mltf_model *a = open_model(GOLDEN "text_classification/model"), *b = open_model(out),
               *c = open_model(from);
    const char *body = "{\"dataframe_records\": [{\"text\": \"the baker sells bread\", "
                       "\"text_pair\": \"in the morning\"}]}";
    assert_string_equal(ask(b, body), ask(a, body));
    assert_string_equal(ask(c, body), ask(a, body));
    mltf_buf text = MLTF_BUF_INIT;
    schema_print(&text, b->sig.inputs);
    assert_string_equal(text.p, "['text': string (required), 'text_pair': string (required)]");
    mltf_buf_release(&text);
    mltf_model_free(a);
    mltf_model_free(b);
    mltf_model_free(c);
    assert_int_equal(mltf_save(from, out, &o, &err), MLTF_ALREADY_EXISTS);
}

static void check_refused(const mltf_save_options *o, const char *words)
{
    const char *from = arena_printf(&arena, "%s/checkpoint", tmp),
               *out = arena_printf(&arena, "%s/refused", tmp);
    mltf_err err = {0};
    if (!dir_exists(from)) checkpoint_from(GOLDEN "text_classification/model", from);
    assert_int_not_equal(mltf_save(from, out, o, &err), MLTF_OK);
    if (!strstr(err.msg, words)) fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
    assert_false(dir_exists(out)); // nothing is left behind
}

static void test_options_that_cannot_work_leave_nothing_behind(void **state)
{
    (void)state;
    const char *const code[] = {"missing.py", NULL};
    check_refused(&(mltf_save_options){.layout = "checkpoint"},
                  "The `task` argument must be specified");
    check_refused(&(mltf_save_options){.layout = "checkpoint",
                                       .task = "text-classification",
                                       .reference_only = 1},
                  "`save_pretrained` argument must be set to True");
    check_refused(&(mltf_save_options){.task = "no-such-task"}, "cannot be created as a Pipeline");
    check_refused(&(mltf_save_options){.task = "llm/v1/nothing"},
                  "'llm/v1/nothing' is not a supported task");
    check_refused(
        &(mltf_save_options){.task = "text-classification", .prompt_template = "{prompt}"},
        "Prompt templating is not supported for the `text-classification` task type");
    check_refused(&(mltf_save_options){.task = "text-classification", .code_paths = code},
                  "Failed to copy the specified code path 'missing.py'");
    check_refused(&(mltf_save_options){.task = "text-classification",
                                       .metadata_json = "{\"task\": \"llm/v1/chat\"}"},
                  "is specified in metadata");
    check_refused(&(mltf_save_options){.task = "text-classification", .base_model_path = "x"},
                  "only supported for PEFT models");
    check_refused(&(mltf_save_options){.task = "text-classification", .metadata_json = "[1]"},
                  "must be a JSON object");
    check_refused(&(mltf_save_options){.task = "text-classification",
                                       .signature_json = "{\"inputs\": \"[{}]\"}"},
                  "no \"type\"");
    check_refused(&(mltf_save_options){.task = "text-classification",
                                       .input_example_json = "1",
                                       .input_example_params_json = "{\"a\": null}"},
                  "Failed to infer schema for parameters");
}

static void test_describe_tells_what_the_model_is(void **state)
{
    (void)state;
    mltf_model *m = open_model(GOLDEN "text_classification/model");
    mltf_buf text = MLTF_BUF_INIT;
    json_doc doc = JSON_DOC_INIT;
    assert_int_equal(mltf_model_describe(m, &text, NULL), MLTF_OK);
    assert_int_equal(json_parse(&doc, text.p, text.n, NULL, NULL), MLTF_OK);
    assert_true(str_is(json_string(json_get(doc.root, "architecture"), STR("")),
                       "BertForSequenceClassification"));
    assert_int_equal(json_len(json_get(doc.root, "labels")), 3);
    assert_true(str_is(json_string(json_get(json_get(doc.root, "signature"), "inputs"), STR("")),
                       "[string (required)]"));
    json_doc_release(&doc);
    mltf_buf_release(&text);
    mltf_model_free(m);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_a_conversation_remembers_what_was_said),
        T(test_conversations_may_be_held_by_many_threads),
        T(test_an_instruction_is_answered_by_what_stands_between_its_marks),
        T(test_errors_have_mlflows_words),
        T(test_a_missing_model_is_not_found),
        T(test_a_model_tells_its_tasks_and_where_it_lies),
        T(test_options_replace_only_known_keys),
        T(test_what_is_saved_opens_and_answers_the_same),
        T(test_options_that_cannot_work_leave_nothing_behind),
        T(test_describe_tells_what_the_model_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
