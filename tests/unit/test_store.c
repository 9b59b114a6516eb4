/* The SQLite store: created as MLflow creates it, used twice at once, and read back through URIs. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "store/store.h"
#include "store/store_names.h"

static char *start_dir;

typedef struct place {
    char *dir;
    mltf_arena arena;
    mltf_err err;
} place;

static int set_up(void **state)
{
    place *p = calloc(1, sizeof *p);
    p->dir = unit_new_folder();
    assert_non_null(p->dir);
    assert_int_equal(chdir(p->dir), 0);
    unsetenv("MLFLOW_TRACKING_URI");
    unsetenv("MLFLOW_EXPERIMENT_NAME");
    unsetenv("MLFLOW_RUN_ID");
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    place *p = *state;
    assert_int_equal(chdir(start_dir), 0);
    unit_remove_folder(p->dir);
    arena_release(&p->arena);
    free(p);
    return 0;
}

#define OK(expr)                                                                                   \
    do {                                                                                           \
        p->err = (mltf_err){0};                                                                    \
        if ((expr) != MLTF_OK) fail_msg("%s: %s", #expr, p->err.msg);                              \
    } while (0)

static void test_a_missing_database_is_not_made_by_reading(void **state)
{
    place *p = *state;
    store *st;
    assert_int_equal(store_open(&st, NULL, false, &p->err), MLTF_NOT_FOUND);
    assert_null(st);
    assert_false(file_exists("mlflow.db"));
}

static void test_a_new_database_has_the_default_experiment(void **state)
{
    place *p = *state;
    store *st;
    store_experiment e;
    OK(store_open(&st, NULL, true, &p->err));
    OK(store_experiment_by_id(st, &p->arena, "0", &e, &p->err));
    assert_string_equal(e.name, "Default");
    char expected[96];
    snprintf(expected, sizeof expected, "%s/mlruns/0", p->dir);
    assert_string_equal(e.artifact_location, expected);
    OK(store_experiment_create(st, &p->arena, "nlp", &e, &p->err));
    assert_string_equal(e.id, "1");
    assert_int_equal(store_experiment_create(st, &p->arena, "nlp", &e, &p->err),
                     MLTF_ALREADY_EXISTS);
    assert_string_equal(p->err.msg, "Experiment(name=nlp) already exists.");
    store_close(st);
}

static void test_params_are_write_once_and_a_batch_is_all_or_nothing(void **state)
{
    place *p = *state;
    store *st;
    store_run run;
    OK(store_open(&st, "sqlite:///deep/down/x.db", true, &p->err));
    OK(store_run_create(st, &p->arena, "0", "first", NULL, 0, &run, &p->err));
    const store_pair once[] = {{"lr", "0.1"}, {"model/name", "tiny"}};
    OK(store_log_params(st, run.id, once, 2, &p->err));
    OK(store_log_params(st, run.id, once, 2, &p->err)); // the same again is fine
    const store_pair clash[] = {{"new", "1"}, {"lr", "0.2"}};
    assert_int_equal(store_log_params(st, run.id, clash, 2, &p->err), MLTF_INVALID_INPUT);
    store_pair *got;
    size_t n;
    OK(store_run_params(st, &p->arena, run.id, &got, &n, &p->err));
    assert_int_equal(n, 2);
    assert_string_equal(got[0].key, "lr");
    assert_string_equal(got[0].value, "0.1");
    const store_pair bad[] = {{"../x", "1"}};
    assert_int_equal(store_log_params(st, run.id, bad, 1, &p->err), MLTF_INVALID_INPUT);
    OK(store_run_finish(st, run.id, "FINISHED", &p->err));
    OK(store_run_get(st, &p->arena, run.id, &run, &p->err));
    assert_string_equal(run.status, "FINISHED");
    assert_true(run.end_time >= run.start_time);
    store_close(st);
}

static void test_a_foreign_or_outdated_database_is_refused(void **state)
{
    place *p = *state;
    store *st;
    OK(file_write("text.db", "this is no database, only some text of more than sixteen bytes", 62,
                  &p->err));
    assert_int_not_equal(store_open(&st, "sqlite:///text.db", true, &p->err), MLTF_OK);
    assert_int_equal(store_open(&st, "postgresql://host/db", true, &p->err), MLTF_UNSUPPORTED);
    assert_int_equal(store_open(&st, "sqlite://", true, &p->err), MLTF_UNSUPPORTED);
}

static void log_one(place *p, const char *name, const char *registered, const char *alias,
                    json_doc *info)
{
    const char *const aliases[] = {alias, NULL};
    const mltf_log_options o = {
        .name = name,
        .registered_model_name = registered,
        .aliases = alias ? aliases : NULL,
        .experiment_name = "nlp",
        .params_json = "{\"lr\": \"0.1\"}",
    };
    store_log *l;
    OK(store_log_begin(&l, &o, &p->err));
    OK(dir_make(store_log_dir(l), &p->err));
    char file[512];
    snprintf(file, sizeof file, "%s/MLmodel", store_log_dir(l));
    OK(file_write(file, "x: 1\n", 5, &p->err));
    mltf_buf text = MLTF_BUF_INIT;
    OK(store_log_commit(l, &text, &p->err));
    OK(json_parse(info, text.p, text.n, NULL, &p->err));
    mltf_buf_release(&text);
}

static const char *text_of(place *p, const json_doc *doc, const char *key)
{
    const mltf_str s = json_string(json_get(doc->root, key), STR(""));
    return arena_strdup(&p->arena, s.p, s.n);
}

static void check_resolves(place *p, const char *uri, const char *expected)
{
    mltf_buf dir = MLTF_BUF_INIT;
    OK(store_resolve_uri(&dir, uri, NULL, &p->err));
    assert_string_equal(dir.p, expected);
    mltf_buf_release(&dir);
}

static void test_a_logged_model_is_found_by_every_kind_of_uri(void **state)
{
    place *p = *state;
    json_doc first = JSON_DOC_INIT, second = JSON_DOC_INIT;
    log_one(p, "model", "reg", "champion", &first);
    log_one(p, "model", "reg", NULL, &second);
    const char *dir1 = text_of(p, &first, "artifact_location"),
               *dir2 = text_of(p, &second, "artifact_location");
    assert_int_equal(json_int(json_get(first.root, "registered_model_version"), 0), 1);
    assert_int_equal(json_int(json_get(second.root, "registered_model_version"), 0), 2);

    check_resolves(p, text_of(p, &first, "model_uri"), dir1);
    check_resolves(p, "models:/reg/1", dir1);
    check_resolves(p, "models:/reg/2", dir2);
    check_resolves(p, "models:/reg/latest", dir2);
    check_resolves(p, "models:/reg@champion", dir1);
    check_resolves(p, arena_printf(&p->arena, "runs:/%s/model", text_of(p, &second, "run_id")),
                   dir2);
    check_resolves(p, arena_printf(&p->arena, "models:/reg/2/MLmodel"),
                   arena_printf(&p->arena, "%s/MLmodel", dir2));
    check_resolves(p, arena_printf(&p->arena, "file://%s", dir1), dir1);

    static const char *const bad[] = {
        "models:/reg/3",    "models:/reg@nobody", "models:/nobody/1",
        "models:reg",       "models:/",           "models:/reg/1/../../etc",
        "runs:/0123/model", "s3://bucket/x",      "no/such/dir"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mltf_buf dir = MLTF_BUF_INIT;
        if (store_resolve_uri(&dir, bad[i], NULL, &p->err) == MLTF_OK)
            fail_msg("\"%s\" was found: %s", bad[i], dir.p);
        assert_int_equal(dir.n, 0);
        mltf_buf_release(&dir);
    }

    json_doc_release(&first);
    json_doc_release(&second);
}

static void test_an_abort_leaves_a_failed_model_and_run(void **state)
{
    place *p = *state;
    store_log *l;
    const mltf_log_options o = {.name = "model"};
    OK(store_log_begin(&l, &o, &p->err));
    const char *model = arena_strdup(&p->arena, store_log_model_id(l), 34),
               *run_id = arena_strdup(&p->arena, store_log_run_id(l), 32);
    store_log_abort(l);
    store *st;
    store_logged_model m;
    store_run run;
    OK(store_open(&st, NULL, false, &p->err));
    OK(store_logged_model_get(st, &p->arena, model, &m, &p->err));
    assert_int_equal(m.status, STORE_MODEL_FAILED);
    OK(store_run_get(st, &p->arena, run_id, &run, &p->err));
    assert_string_equal(run.status, "FAILED");
    store_close(st);
}

static void test_names_are_checked_as_mlflow_checks_them(void **state)
{
    place *p = *state;
    assert_int_equal(store_check_alias("champion", &p->err), MLTF_OK);
    assert_int_equal(store_check_alias("v1", &p->err), MLTF_INVALID_INPUT);
    assert_int_equal(store_check_alias("Latest", &p->err), MLTF_INVALID_INPUT);
    assert_int_equal(store_check_alias("a b", &p->err), MLTF_INVALID_INPUT);
    assert_int_equal(store_check_logged_model_name("a/b", &p->err), MLTF_INVALID_INPUT);
    assert_int_equal(store_check_registered_name("a:b", &p->err), MLTF_INVALID_INPUT);
    assert_int_equal(store_check_registered_name(" ", &p->err), MLTF_INVALID_INPUT);
    assert_int_equal(store_check_registered_name("\u00a0", &p->err), MLTF_INVALID_INPUT);
    assert_int_equal(store_check_alias("caf\u00e9_2", &p->err), MLTF_OK);
    assert_int_equal(store_check_alias("a\u2192b", &p->err), MLTF_INVALID_INPUT); // an arrow
    assert_int_equal(store_check_alias("a\xff", &p->err), MLTF_INVALID_INPUT);
    assert_int_equal(store_check_key("a/b c-d:e.f", "metric", &p->err), MLTF_OK);
    assert_int_equal(store_check_key("a//b", "metric", &p->err), MLTF_INVALID_INPUT);
    assert_int_equal(store_check_key("/a", "metric", &p->err), MLTF_INVALID_INPUT);
}

int main(void)
{
    start_dir = getcwd(NULL, 0);
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_a_missing_database_is_not_made_by_reading),
        T(test_a_new_database_has_the_default_experiment),
        T(test_params_are_write_once_and_a_batch_is_all_or_nothing),
        T(test_a_foreign_or_outdated_database_is_refused),
        T(test_a_logged_model_is_found_by_every_kind_of_uri),
        T(test_an_abort_leaves_a_failed_model_and_run),
        T(test_names_are_checked_as_mlflow_checks_them),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(start_dir);
    return failed;
}
