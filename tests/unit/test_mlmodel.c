/* MLmodel and the files around it: rewriting, environments, examples, cards, repository ids. */
#include "unit.h"

#include <string.h>
#include <unistd.h>

#include "formats/base64.h"
#include "mlflow/adapter_folder.h"
#include "mlflow/environment.h"
#include "mlflow/hub_cache.h"
#include "mlflow/input_example.h"
#include "mlflow/mlmodel.h"
#include "mlflow/model_card.h"
#include "mlflow/save.h"

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

static const char *in_tmp(const char *name)
{
    return arena_printf(&arena, "%s/%s", tmp, name);
}

static const char *read_back(const char *path)
{
    mltf_buf b = MLTF_BUF_INIT;
    mltf_err err = {0};
    if (file_read(&b, path, 1 << 22, &err)) fail_msg("%s", err.msg);
    const char *s = arena_strdup(&arena, b.p ? b.p : "", b.n);
    mltf_buf_release(&b);
    return s;
}

static void put(const char *name, const char *text)
{
    assert_int_equal(file_write(in_tmp(name), text, strlen(text), NULL), MLTF_OK);
}

static void rewrite_all(const char *base, size_t *count)
{
    dir_list cases = {0};
    if (!dir_exists(base) || dir_read(&cases, base, NULL)) return;
    for (size_t i = 0; i < cases.n; i++) {
        dir_list subs = {0};
        const char *dir = arena_printf(&arena, "%s/%s", base, cases.names[i]);
        if (!dir_exists(dir) || dir_read(&subs, dir, NULL)) continue;
        for (size_t k = 0; k < subs.n; k++) {
            const char *model = arena_printf(&arena, "%s/%s", dir, subs.names[k]);
            const char *path = arena_printf(&arena, "%s/MLmodel", model);
            json *root = NULL;
            mltf_err err = {0};
            if (!file_exists(path)) continue;
            if (mlmodel_read(&arena, &root, model, &err)) fail_msg("%s: %s", path, err.msg);
            assert_int_equal(mlmodel_write(in_tmp("MLmodel"), root, &err), MLTF_OK);
            assert_string_equal(read_back(in_tmp("MLmodel")), read_back(path));
            ++*count;
        }
        dir_list_free(&subs);
    }
    dir_list_free(&cases);
}

static void test_recorded_mlmodels_are_rewritten_byte_for_byte(void **state)
{
    (void)state;
    size_t n = 0;
    rewrite_all("tests/fixtures/golden", &n);
    rewrite_all("../shared/golden", &n);
    assert_true(n > 0);
}

static void test_unknown_keys_survive_a_rewrite(void **state)
{
    (void)state;
    const char *text = "flavors: {}\nfuture_key:\n  a: "
                       "'1234567890123456789012345678901234567890'\n  b:\n  - 1\n  - null\n";
    put("MLmodel", text);
    json *root = NULL;
    assert_int_equal(mlmodel_read(&arena, &root, tmp, NULL), MLTF_OK);
    assert_int_equal(mlmodel_write(in_tmp("MLmodel"), root, NULL), MLTF_OK);
    assert_string_equal(read_back(in_tmp("MLmodel")), text);
}

static void test_a_directory_without_mlmodel_is_not_found(void **state)
{
    (void)state;
    json *root = NULL;
    mltf_err err = {0};
    assert_int_equal(mlmodel_read(&arena, &root, tmp, &err), MLTF_NOT_FOUND);
    assert_non_null(strstr(err.msg, "Could not find an \"MLmodel\" configuration file at"));
    put("MLmodel", "- 1\n");
    assert_int_equal(mlmodel_read(&arena, &root, tmp, &err), MLTF_CORRUPT_FILE);
}

/* ---- environments -------------------------------------------------------------------------- */

static void test_given_requirements_replace_the_defaults(void **state)
{
    (void)state;
    const char *const pip[] = {"torch==2.0", "transformers", NULL};
    const environment_options o = {.pip_requirements = pip};
    assert_int_equal(environment_write(tmp, &o, NULL), MLTF_OK);
    assert_string_equal(read_back(in_tmp("requirements.txt")),
                        "mlflow==" MLTF_MLFLOW_VERSION "\ntorch==2.0\ntransformers");
    assert_non_null(strstr(read_back(in_tmp("conda.yaml")),
                           "- pip:\n  - mlflow==" MLTF_MLFLOW_VERSION "\n  - torch==2.0\n"));
    assert_non_null(
        strstr(read_back(in_tmp("python_env.yaml")), "dependencies:\n- -r requirements.txt\n"));
}

static void test_of_several_adapters_the_default_or_the_only_one_is_taken(void **state)
{
    (void)state;
    mltf_arena a = MLTF_ARENA_INIT;
    mltf_err err = {0};
    const char *chosen = "";
    assert_int_equal(dir_make(in_tmp("peft/one"), NULL), MLTF_OK);
    assert_int_equal(dir_make(in_tmp("peft/two"), NULL), MLTF_OK);
    assert_int_equal(adapter_choose(&a, &chosen, in_tmp("peft"), &err), MLTF_OK);
    assert_null(chosen);
    put("peft/two/adapter_config.json", "{}");
    assert_int_equal(adapter_choose(&a, &chosen, in_tmp("peft"), &err), MLTF_OK);
    assert_string_equal(chosen, in_tmp("peft/two"));
    put("peft/one/adapter_config.json", "{}");
    assert_int_equal(adapter_choose(&a, &chosen, in_tmp("peft"), &err), MLTF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "holds several adapters (one, two) and none is the default"));
    put("peft/adapter_config.json", "{}");
    assert_int_equal(adapter_choose(&a, &chosen, in_tmp("peft"), &err), MLTF_OK);
    assert_string_equal(chosen, in_tmp("peft"));
    arena_release(&a);
}

static void test_extra_requirements_are_merged_by_package(void **state)
{
    (void)state;
    const char *const extra[] = {"torch >= 2", "numpy", NULL};
    const environment_options o = {.extra_pip_requirements = extra};
    assert_int_equal(environment_write(tmp, &o, NULL), MLTF_OK);
    assert_string_equal(read_back(in_tmp("requirements.txt")),
                        "mlflow==" MLTF_MLFLOW_VERSION "\ntorch==" ENV_TORCH_VERSION
                        ",>=2\ntransformers==" MLTF_TRANSFORMERS_VERSION "\nnumpy");
}

static void test_requirement_files_bring_constraints(void **state)
{
    (void)state;
    put("reqs.txt", "numpy  # why\n\n-c limits.txt\n-r more.txt\n");
    put("limits.txt", "numpy<3\n");
    put("more.txt", "scipy\n");
    const char *const pip[] = {in_tmp("reqs.txt"), NULL};
    const environment_options o = {.pip_requirements = pip};
    assert_int_equal(environment_write(tmp, &o, NULL), MLTF_OK);
    assert_string_equal(read_back(in_tmp("requirements.txt")),
                        "mlflow==" MLTF_MLFLOW_VERSION "\nnumpy\nscipy\n-c constraints.txt");
    assert_string_equal(read_back(in_tmp("constraints.txt")), "numpy<3");
}

static void test_requirement_files_that_include_themselves_end(void **state)
{
    (void)state;
    put("reqs.txt", "-r reqs.txt\n");
    const char *const pip[] = {in_tmp("reqs.txt"), NULL};
    const environment_options o = {.pip_requirements = pip};
    mltf_err err = {0};
    assert_int_equal(environment_write(tmp, &o, &err), MLTF_INVALID_INPUT);
}

static void test_a_conda_file_is_kept_and_gets_mlflow(void **state)
{
    (void)state;
    put("env.yaml", "name: mine\ndependencies:\n- python=3.11\n- pip:\n  - transformers\n");
    const environment_options o = {.conda_env_path = in_tmp("env.yaml")};
    assert_int_equal(environment_write(tmp, &o, NULL), MLTF_OK);
    assert_string_equal(read_back(in_tmp("conda.yaml")),
                        "dependencies:\n- python=3.11\n- pip:\n  - mlflow==" MLTF_MLFLOW_VERSION
                        "\n  - transformers\nname: mine\n");
    assert_string_equal(read_back(in_tmp("requirements.txt")),
                        "mlflow==" MLTF_MLFLOW_VERSION "\ntransformers");
}

static void test_only_one_way_to_name_requirements(void **state)
{
    (void)state;
    const char *const pip[] = {"a", NULL};
    const environment_options both = {.pip_requirements = pip, .extra_pip_requirements = pip};
    mltf_err err = {0};
    assert_int_equal(environment_check(&both, &err), MLTF_INVALID_INPUT);
    assert_string_equal(err.msg, "Only one of `conda_env`, `pip_requirements`, and "
                                 "`extra_pip_requirements` can be specified");
}

/* ---- examples ------------------------------------------------------------------------------ */

static void check_example(const char *example, const char *params, const char *stored,
                          const char *serving, const char *info)
{
    pv v = pv_none(), p = pv_none();
    mltf_err err = {0};
    json *meta = NULL, *given = NULL;
    if (input_example_parse(&arena, &v, example, &err)) fail_msg("%s", err.msg);
    if (params && json_parse_in(&arena, &given, params, strlen(params), NULL, NULL) == MLTF_OK)
        p = pv_from_json(&arena, given);
    if (input_example_write(&arena, tmp, &v, &p, &meta, &err)) fail_msg("%s", err.msg);
    assert_string_equal(read_back(in_tmp("input_example.json")), stored);
    assert_string_equal(read_back(in_tmp("serving_input_example.json")), serving);
    mltf_buf b = MLTF_BUF_INIT;
    const json_write_options opts = {.sort_keys = true, .compact = true};
    json_write(&b, meta, &opts);
    assert_string_equal(b.p, info);
    mltf_buf_release(&b);
}

#define PATHS   "{\"artifact_path\":\"input_example.json\","
#define SERVING "\"serving_input_path\":\"serving_input_example.json\","

static void test_examples_are_stored_as_mlflow_stores_them(void **state)
{
    (void)state;
    check_example("\"a\"", NULL, "\"a\"", "{\n  \"inputs\": \"a\"\n}",
                  PATHS SERVING "\"type\":\"json_object\"}");
    check_example("[\"a\"]", "{\"k\": 1}", "{\"inputs\": [\"a\"], \"params\": {\"k\": 1}}",
                  "{\n  \"inputs\": [\n    \"a\"\n  ],\n  \"params\": {\n    \"k\": 1\n  }\n}",
                  PATHS "\"params\":\"true\"," SERVING "\"type\":\"json_object\"}");
    check_example("{\"prompt\": \"a\"}", NULL, "{\"prompt\": \"a\"}", "{\n  \"prompt\": \"a\"\n}",
                  PATHS SERVING "\"type\":\"json_object\"}");
    check_example("{\"dataframe_split\": {\"columns\": [\"t\"], \"data\": [[\"a\"], [null]]}}",
                  NULL, "{\"columns\": [\"t\"], \"data\": [[\"a\"], [null]]}",
                  "{\n  \"dataframe_split\": {\n    \"columns\": [\n      \"t\"\n    ],\n    "
                  "\"data\": [\n      [\n        \"a\"\n      ],\n"
                  "      [\n        null\n      ]\n    ]\n  }\n}",
                  PATHS "\"pandas_orient\":\"split\"," SERVING "\"type\":\"dataframe\"}");
}

/* ---- cards and names ----------------------------------------------------------------------- */

static void test_a_card_is_split_into_text_and_data(void **state)
{
    (void)state;
    put("card.md", "---\ntags:\n- tiny\nlicense: mit\nlanguage: en\nextra: null\n---\n# A card\n");
    const model_card_options o = {.card_path = in_tmp("card.md"), .name = "me/model"};
    bool licensed = false;
    assert_int_equal(model_card_write(tmp, &o, &licensed, NULL), MLTF_OK);
    assert_true(licensed);
    assert_string_equal(read_back(in_tmp("model_card.md")), "# A card\n");
    assert_string_equal(read_back(in_tmp("model_card_data.yaml")),
                        "language: en\nlicense: mit\ntags:\n- tiny\n");
    assert_non_null(
        strstr(read_back(in_tmp("LICENSE.txt")), "\nThe declared license type is: 'mit'"));
}

static void test_repository_ids_follow_the_hubs_rules(void **state)
{
    (void)state;
    static const char *const good[] = {"gpt2", "acme/tiny-gpt2", "a/b.c_d"};
    static const char *const bad[] = {"",    "a/b/c", "-a", "a-",    "a--b", "a..b",
                                      "a b", "a/",    "/a", "x.git", "a/.b"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_true(hub_is_repo_id(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (hub_is_repo_id(bad[i])) fail_msg("\"%s\" was taken for a repository", bad[i]);
}

static void test_a_snapshot_is_found_in_the_cache(void **state)
{
    (void)state;
    const char *commit = "0123456789abcdef0123456789abcdef01234567";
    const char *repo = in_tmp("models--acme--tiny");
    assert_int_equal(dir_make(arena_printf(&arena, "%s/snapshots/%s", repo, commit), NULL),
                     MLTF_OK);
    assert_int_equal(dir_make(arena_printf(&arena, "%s/refs", repo), NULL), MLTF_OK);
    put("models--acme--tiny/refs/main", commit);
    setenv("HF_HUB_CACHE", tmp, 1);
    mltf_buf dir = MLTF_BUF_INIT, found = MLTF_BUF_INIT;
    mltf_err err = {0};
    if (hub_snapshot(&dir, &found, "acme/tiny", NULL, &err)) fail_msg("%s", err.msg);
    assert_string_equal(found.p, commit);
    assert_true(str_ends(buf_str(&dir), commit));
    assert_int_equal(hub_snapshot(&dir, NULL, "acme/tiny", "../../x", &err), MLTF_NOT_FOUND);
    assert_int_equal(hub_snapshot(&dir, NULL, "acme/other", NULL, &err), MLTF_NOT_FOUND);
    unsetenv("HF_HUB_CACHE");
    mltf_buf_release(&dir);
    mltf_buf_release(&found);
}

static void test_sizes_have_units(void **state)
{
    (void)state;
    uint64_t n = 0;
    assert_int_equal(save_parse_size(&n, "500MB", NULL), MLTF_OK);
    assert_int_equal(n, 500000000);
    assert_int_equal(save_parse_size(&n, "2GiB", NULL), MLTF_OK);
    assert_int_equal(n, (uint64_t)2 << 30);
    assert_int_equal(save_parse_size(&n, " 1.5 gb", NULL), MLTF_OK);
    assert_int_equal(n, 1500000000);
    assert_int_equal(save_parse_size(&n, "2TB", NULL), MLTF_OK);
    assert_int_equal(n, 2000000000000);
    assert_int_equal(save_parse_size(&n, "infGB", NULL), MLTF_INVALID_INPUT);
    assert_int_equal(save_parse_size(&n, "0.1", NULL), MLTF_INVALID_INPUT);
    assert_int_equal(save_parse_size(&n, "MB", NULL), MLTF_INVALID_INPUT);
    assert_int_equal(save_parse_size(&n, "-1MB", NULL), MLTF_INVALID_INPUT);
    assert_int_equal(save_parse_size(&n, "5 parsecs", NULL), MLTF_INVALID_INPUT);
}

static void test_base64_reads_what_python_writes(void **state)
{
    (void)state;
    mltf_buf text = MLTF_BUF_INIT, back = MLTF_BUF_INIT;
    char bytes[100];
    for (size_t n = 0; n < sizeof bytes; n++) {
        for (size_t i = 0; i < n; i++) bytes[i] = (char)(i * 7 + n);
        buf_clear(&text);
        buf_clear(&back);
        base64_encode_lines(&text, (mltf_str){bytes, n});
        assert_true(base64_decode(&back, buf_str(&text)));
        assert_true(str_eq(buf_str(&back), (mltf_str){bytes, n}));
    }
    assert_false(base64_decode(&back, STR("abc")));
    mltf_buf_release(&text);
    mltf_buf_release(&back);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_recorded_mlmodels_are_rewritten_byte_for_byte),
        T(test_unknown_keys_survive_a_rewrite),
        T(test_a_directory_without_mlmodel_is_not_found),
        T(test_given_requirements_replace_the_defaults),
        T(test_of_several_adapters_the_default_or_the_only_one_is_taken),
        T(test_extra_requirements_are_merged_by_package),
        T(test_requirement_files_bring_constraints),
        T(test_requirement_files_that_include_themselves_end),
        T(test_a_conda_file_is_kept_and_gets_mlflow),
        T(test_only_one_way_to_name_requirements),
        T(test_examples_are_stored_as_mlflow_stores_them),
        T(test_a_card_is_split_into_text_and_data),
        T(test_repository_ids_follow_the_hubs_rules),
        T(test_a_snapshot_is_found_in_the_cache),
        T(test_sizes_have_units),
        T(test_base64_reads_what_python_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
