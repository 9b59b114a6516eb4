/* Signatures: parsing, MLflow's exact text, inference, enforcement, params. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "mlflow/schema.h"

static mltf_arena arena;

static int set_up(void **state)
{
    (void)state;
    arena = (mltf_arena)MLTF_ARENA_INIT;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static pv data(const char *text)
{
    json *v = NULL;
    mltf_err err = {0};
    if (json_parse_in(&arena, &v, text, strlen(text), NULL, &err))
        fail_msg("%s: %s", text, err.msg);
    return pv_from_json(&arena, v);
}

static const char *text_of(mltf_buf *b)
{
    const char *s = arena_strdup(&arena, b->p ? b->p : "", b->n);
    mltf_buf_release(b);
    return s;
}

static const char *rewrite(const char *text)
{
    schema *s = NULL;
    mltf_err err = {0};
    if (schema_parse(&arena, &s, str_from(text), &err)) fail_msg("%s", err.msg);
    mltf_buf b = MLTF_BUF_INIT;
    schema_write(&b, s);
    return text_of(&b);
}

static void test_recorded_signatures_are_written_back_byte_for_byte(void **state)
{
    (void)state;
    json_doc doc = JSON_DOC_INIT;
    mltf_err err = {0};
    if (json_parse_file(&doc, "tests/fixtures/flavor/signatures.json", NULL, &err))
        fail_msg("%s", err.msg);
    assert_true(json_len(doc.root) > 10);
    for (size_t i = 0; i < json_len(doc.root); i++) {
        const json *map = json_at(doc.root, i);
        signature s;
        if (signature_parse(&arena, &s, map, &err)) fail_msg("%s", err.msg);
        const json *again = signature_to_json(&arena, &s);
        const char *const keys[] = {"inputs", "outputs", "params"};
        for (int k = 0; k < 3; k++) {
            const json *want = json_get(map, keys[k]), *have = json_get(again, keys[k]);
            if (json_is(want, JSON_STRING))
                assert_string_equal(arena_strdup(&arena, have->s.p, have->s.n),
                                    arena_strdup(&arena, want->s.p, want->s.n));
            else
                assert_true(json_is(have, JSON_NULL));
        }
        const mltf_str task = json_string(json_get(map, "task"), STR(""));
        if (str_starts(task, "llm/v1/")) {
            signature fixed;
            assert_true(signature_llm(&arena, &fixed, arena_strdup(&arena, task.p, task.n)));
            assert_true(schema_equal(fixed.inputs, s.inputs));
            assert_true(schema_equal(fixed.outputs, s.outputs));
        }
    }
    json_doc_release(&doc);
}

static void test_properties_are_sorted_and_old_spellings_read(void **state)
{
    (void)state;
    assert_string_equal(
        rewrite("[{\"dtype\":\"object\",\"properties\":{\"b\":{\"type\":\"long\"},\"a\":{\"type\":"
                "\"string\","
                "\"required\":false}},\"name\":\"x\"}]"),
        "[{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\", \"required\": "
        "false}, \"b\": "
        "{\"type\": \"long\", \"required\": true}}, \"name\": \"x\", \"required\": true}]");
    assert_string_equal(rewrite("[{\"type\": \"long\", \"name\": 0}]"),
                        "[{\"type\": \"long\", \"name\": 0, \"required\": true}]");
}

static void test_malformed_schemas_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "[{\"name\": \"x\"}]",
        "[{\"type\": \"strung\"}]",
        "[{\"type\": \"array\"}]",
        "[{\"type\": \"object\", \"properties\": {}}]",
        "[{\"type\": \"string\", \"name\": \"a\"}, {\"type\": \"string\"}]",
        "[{\"type\": \"string\"}, {\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float32\", "
        "\"shape\": [-1]}}]",
        "[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"floaty\", \"shape\": [-1]}}]",
        "[{\"type\": \"string\", \"name\": [1]}]",
        "[",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        schema *s = NULL;
        mltf_err err = {0};
        if (schema_parse(&arena, &s, str_from(bad[i]), &err) == MLTF_OK)
            fail_msg("accepted %s", bad[i]);
        assert_true(err.msg[0] != '\0');
    }
}

static void check_inferred(const char *example, const char *want)
{
    const pv v = data(example);
    schema *s = NULL;
    bool fell_back = false;
    assert_int_equal(schema_infer(&arena, &s, &v, &fell_back, NULL), MLTF_OK);
    mltf_buf b = MLTF_BUF_INIT;
    schema_print(&b, s);
    const char *have = text_of(&b);
    if (strcmp(have, want) != 0) fail_msg("%s: got %s, expected %s", example, have, want);
}

static void test_inference_follows_the_table(void **state)
{
    (void)state;
    check_inferred("\"x\"", "[string (required)]");
    check_inferred("true", "[boolean (required)]");
    check_inferred("3", "[long (required)]");
    check_inferred("2.5", "[double (required)]");
    check_inferred("[\"a\", \"b\"]", "[string (required)]");
    check_inferred("[]", "[string (required)]");
    check_inferred("[1, \"a\"]", "[Any (required)]");
    check_inferred("{\"q\": \"x\", \"l\": [\"a\"], \"n\": null}",
                   "['q': string (required), 'l': Array(string) (required), 'n': Any (optional)]");
    check_inferred("[{\"a\": 1}, {\"a\": 2, \"b\": \"x\"}]",
                   "['a': long (required), 'b': string (optional)]");
    check_inferred("{\"m\": [{\"r\": \"u\", \"c\": \"x\"}, {\"r\": \"a\"}]}",
                   "['m': Array({c: string (optional), r: string (required)}) (required)]");
    check_inferred("{\"m\": [{\"r\": null}, {\"r\": \"a\"}]}",
                   "['m': Array({r: string (optional)}) (required)]");
}

static const char *enforce(const char *schema_text, const pv *v)
{
    schema *s = NULL;
    mltf_err err = {0};
    if (schema_parse(&arena, &s, str_from(schema_text), &err)) fail_msg("%s", err.msg);
    pv out = pv_none();
    const mltf_status st = schema_enforce(&arena, &out, v, s, NULL, &err);
    if (st) {
        const char *why = strstr(err.msg, "Error: ");
        return arena_strdup(&arena, why ? why + 7 : err.msg, strlen(why ? why + 7 : err.msg));
    }
    mltf_buf b = MLTF_BUF_INIT;
    const json *j = pv_to_json(&arena, &out);
    json_write(&b, j, NULL);
    return text_of(&b);
}

static void check(const char *schema_text, const char *input, const char *want)
{
    const pv v = data(input);
    const char *have = enforce(schema_text, &v);
    if (strcmp(have, want) != 0) fail_msg("%s: got %s, expected %s", input, have, want);
}

#define TEXT     "[{\"type\": \"string\", \"required\": true}]"
#define NAMED(t) "[{\"type\": \"" t "\", \"name\": \"x\", \"required\": true}]"

static void test_unnamed_text_takes_what_mlflow_takes(void **state)
{
    (void)state;
    check(TEXT, "\"a\"", "[{\"0\": \"a\"}]");
    check(TEXT, "[\"a\", \"b\"]", "[{\"0\": \"a\"}, {\"0\": \"b\"}]");
    check(TEXT, "[\"a\", 3]", "[{\"0\": \"a\"}, {\"0\": 3}]"); // fails later, in the wrapper
    check(TEXT, "{\"k\": \"a\"}", "[{\"k\": \"a\"}]");
    check(TEXT, "{\"k\": \"a\", \"l\": \"b\"}", "[{\"k\": \"a\"}]");
    check(TEXT, "{\"text\": \"a\", \"text_pair\": \"b\"}",
          "[{\"text\": \"a\", \"text_pair\": \"b\"}]");
    check(TEXT, "12",
          "Incompatible input types for column 0. Can not safely convert int64 to <U0.");
    check(TEXT, "3.5",
          "Incompatible input types for column 0. Can not safely convert float64 to <U0.");
    check(TEXT, "true",
          "Incompatible input types for column 0. Can not safely convert bool to <U0.");
    check(TEXT, "null", "Expected input to be DataFrame. Found: NoneType");
    check(TEXT, "{\"a\": 1}",
          "Incompatible input types for column a. Can not safely convert int64 to <U0.");
    check(TEXT, "[]",
          "Model inference is missing inputs. The model signature declares 1 inputs  but the "
          "provided value "
          "only has 0 inputs. Note: the inputs were not named in the signature so we can only "
          "verify their "
          "count.");
}

static void test_named_columns_are_checked_by_name(void **state)
{
    (void)state;
    check(NAMED("string"), "{\"x\": \"a\", \"y\": \"b\"}", "[{\"x\": \"a\"}]");
    check(NAMED("string"), "{\"y\": \"b\"}",
          "Model is missing inputs ['x']. Note that there were extra inputs: ['y'].");
    check(NAMED("string"), "\"a\"",
          "Model is missing inputs ['x']. Note that there were extra inputs: [0].");
    check(NAMED("string"), "{}", "Model is missing inputs ['x'].");
}

static void test_numbers_widen_but_never_lose(void **state)
{
    (void)state;
    check(NAMED("long"), "{\"x\": 3}", "[{\"x\": 3}]");
    check(NAMED("double"), "{\"x\": 3}",
          "Incompatible input types for column x. Can not safely convert int64 to float64.");
    check(NAMED("double"), "{\"x\": 1}", "[{\"x\": 1.0}]"); // all values 0 or 1
    check(NAMED("long"), "{\"x\": 2.0}",
          "Incompatible input types for column x. Can not safely convert float64 to int64.");
    check(NAMED("long"), "{\"x\": \"2\"}",
          "Incompatible input types for column x. Can not safely convert str to int64.");
    check(NAMED("boolean"), "{\"x\": true}", "[{\"x\": true}]");
}

#define MESSAGES                                                                                   \
    "[{\"type\": \"array\", \"items\": {\"type\": \"object\", \"properties\": {\"role\": "         \
    "{\"type\": \"string\"}, "                                                                     \
    "\"content\": {\"type\": \"string\", \"required\": false}}}, \"name\": \"m\"}]"

static void test_objects_and_arrays_are_enforced_inside(void **state)
{
    (void)state;
    check(MESSAGES, "{\"m\": [{\"role\": \"u\", \"content\": null}]}",
          "[{\"m\": [{\"role\": \"u\", \"content\": null}]}]");
    check(MESSAGES, "{\"m\": [{\"content\": \"x\"}]}", "Missing required properties: {'role'}");
    check(MESSAGES, "{\"m\": [{\"role\": \"u\", \"odd\": 1}]}",
          "Invalid properties not defined in the schema found: {'odd'}");
    check(MESSAGES, "{\"m\": [{\"role\": \"u\", \"content\": 5}]}",
          "Failed to enforce schema for key `content`. Expected type string, received type int");
    check(MESSAGES, "{\"m\": \"hello\"}", "Expected data to be list or numpy array, got str");
    check(MESSAGES, "{\"m\": []}", "[{\"m\": []}]");
}

static void test_tensors_must_match_exactly(void **state)
{
    (void)state;
    const char *spec =
        "[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float32\", \"shape\": [-1, 2]}}]";
    pv list = data("[[1.0, 2.0], [3.0, 4.0]]");
    pv v = pv_array_from(&arena, &list);
    assert_string_equal(enforce(spec, &v),
                        "dtype of input float64 does not match expected dtype float32");
    v.np = NP_FLOAT32;
    assert_string_equal(enforce(spec, &v), "[[1.0, 2.0], [3.0, 4.0]]");
    list = data("[1.0, 2.0]");
    v = pv_array_from(&arena, &list);
    assert_string_equal(enforce(spec, &v),
                        "Shape of input (2,) does not match expected shape (-1, 2).");
    v = data("\"x\"");
    assert_non_null(strstr(enforce(spec, &v), "but an input of type <class 'str'> was found."));
}

static void test_params_take_defaults_and_refuse_wrong_types(void **state)
{
    (void)state;
    param_schema *s = NULL;
    mltf_err err = {0};
    assert_int_equal(
        param_schema_parse(
            &arena, &s,
            STR("[{\"name\": \"k\", \"default\": 6, \"shape\": null, \"type\": \"long\"}, "
                "{\"name\": \"t\", \"default\": 1.0, \"shape\": null, \"type\": \"double\"}, "
                "{\"name\": \"l\", \"default\": [\"a\"], \"shape\": [-1], \"type\": \"string\"}]"),
            &err),
        MLTF_OK);
    pv given = data("{\"t\": 2, \"bogus\": 1}"), out = pv_none();
    const char *warning = NULL;
    assert_int_equal(params_enforce(&arena, &out, &given, s, &warning, &err), MLTF_OK);
    mltf_buf b = MLTF_BUF_INIT;
    pv_repr(&b, &out);
    assert_string_equal(text_of(&b), "{'t': 2.0, 'k': 6, 'l': ['a']}");
    assert_string_equal(
        warning,
        "Unrecognized params ['bogus'] are ignored for inference. Supported params are: "
        "{'k', 't', 'l'}. To enable them, please add corresponding schema in ModelSignature.");
    given = data("{\"k\": \"7\"}");
    assert_int_equal(params_enforce(&arena, &out, &given, s, NULL, &err), MLTF_INVALID_INPUT);
    assert_string_equal(
        err.msg,
        "Invalid parameters found: {('k', \"Failed to validate type and shape for 'k': long "
        "(default: 6), error: Can not safely convert `<class 'str'>` to `DataType.long` for "
        "value `7`\")}");
    given = data("[1]");
    assert_int_equal(params_enforce(&arena, &out, &given, s, NULL, &err), MLTF_INVALID_INPUT);
    assert_string_equal(err.msg, "Parameters must be a dictionary. Got type 'list'.");
    given = data("{\"k\": [1]}");
    assert_int_equal(params_enforce(&arena, &out, &given, s, NULL, &err), MLTF_INVALID_INPUT);
    given = data("{\"l\": \"a\"}");
    assert_int_equal(params_enforce(&arena, &out, &given, s, NULL, &err), MLTF_INVALID_INPUT);
}

static void test_params_are_typed_from_an_example(void **state)
{
    (void)state;
    pv given = data("{\"n\": 4, \"w\": [\"a\", \"b\"], \"m\": [1, 2.5], \"e\": {\"k\": 1}}");
    param_schema *s = NULL;
    mltf_err err = {0};
    assert_int_equal(param_schema_infer(&arena, &s, &given, &err), MLTF_OK);
    mltf_buf b = MLTF_BUF_INIT;
    param_schema_write(&b, s);
    assert_string_equal(
        text_of(&b),
        "[{\"name\": \"n\", \"default\": 4, \"shape\": null, \"type\": \"long\"}, {\"name\": "
        "\"w\", "
        "\"default\": [\"a\", \"b\"], \"shape\": [-1], \"type\": \"string\"}, {\"name\": \"m\", "
        "\"default\": [1, 2.5], \"shape\": [-1], \"type\": \"double\"}, {\"name\": \"e\", "
        "\"default\": "
        "{\"k\": 1}, \"shape\": null, \"type\": \"object\", \"properties\": {\"k\": {\"type\": "
        "\"long\", "
        "\"required\": true}}}]");
    given = data("{\"max_new_tokens\": null}");
    assert_int_equal(param_schema_infer(&arena, &s, &given, &err), MLTF_INVALID_INPUT);
    assert_string_equal(
        err.msg, "Failed to infer schema for parameters: [('max_new_tokens', None, "
                 "MlflowException('Expected parameters to be 1D array or scalar, got NoneType'))]");
}

static void test_values_print_as_python_prints_them(void **state)
{
    (void)state;
    const pv v =
        data("{\"a\": [1, 2.0, null, true, \"it's\", \"q\\\"\", \"\\n\\u00e9\"], \"b\": {}}");
    mltf_buf b = MLTF_BUF_INIT;
    pv_repr(&b, &v);
    assert_string_equal(text_of(&b),
                        "{'a': [1, 2.0, None, True, \"it's\", 'q\"', '\\n\xc3\xa9'], 'b': {}}");
    pv list = data("[1.0, 2.0]");
    const pv array = pv_array_from(&arena, &list);
    pv_print(&b, &array);
    assert_string_equal(text_of(&b), "[1. 2.]");
    list = data("{\"text\": [5]}");
    pv_frame *f = pv_frame_from_columns(&arena, &list, NULL);
    const pv frame = {.kind = PV_FRAME, .frame = f};
    pv_print(&b, &frame);
    assert_string_equal(text_of(&b), "  text\n0    5");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_recorded_signatures_are_written_back_byte_for_byte),
        T(test_properties_are_sorted_and_old_spellings_read),
        T(test_malformed_schemas_are_refused),
        T(test_inference_follows_the_table),
        T(test_unnamed_text_takes_what_mlflow_takes),
        T(test_named_columns_are_checked_by_name),
        T(test_numbers_widen_but_never_lose),
        T(test_objects_and_arrays_are_enforced_inside),
        T(test_tensors_must_match_exactly),
        T(test_params_take_defaults_and_refuse_wrong_types),
        T(test_params_are_typed_from_an_example),
        T(test_values_print_as_python_prints_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
