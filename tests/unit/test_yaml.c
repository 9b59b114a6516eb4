/* YAML as PyYAML 6.0.3 reads and writes it. */
#include "unit.h"

#include <stdio.h>

#include "formats/yaml.h"

static void reads(const char *yaml, const char *as_json)
{
    json_doc doc = JSON_DOC_INIT;
    mltf_err err = {0};
    mltf_buf out = MLTF_BUF_INIT;
    if (yaml_parse(&doc, yaml, strlen(yaml), &err))
        buf_printf(&out, "!%s", err.msg);
    else
        json_write(&out, doc.root, NULL);
    if (as_json[0] == '!' ? strncmp(out.p, as_json, strlen(as_json)) != 0
                          : strcmp(out.p, as_json) != 0)
        fail_msg("%s: %s instead of %s", yaml, out.p, as_json);
    mltf_buf_release(&out);
    json_doc_release(&doc);
}

static void writes(const char *text, const yaml_write_options *o, const char *yaml)
{
    json_doc doc = JSON_DOC_INIT;
    mltf_buf out = MLTF_BUF_INIT;
    assert_int_equal(json_parse(&doc, text, strlen(text), NULL, NULL), MLTF_OK);
    yaml_write(&out, doc.root, o);
    assert_string_equal(out.p, yaml);
    mltf_buf_release(&out);
    json_doc_release(&doc);
}

static void test_plain_words_have_types_of_yaml_1_1(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", "null"},
        {"~", "null"},
        {"null", "null"},
        {"Null", "null"},
        {"nUll", "\"nUll\""},
        {"yes", "true"},
        {"Off", "false"},
        {"on", "true"},
        {"y", "\"y\""},
        {"TRUE", "true"},
        {"tRue", "\"tRue\""},
        {"0", "0"},
        {"-0", "0"},
        {"+12", "12"},
        {"1_000", "1000"},
        {"017", "15"},
        {"08", "\"08\""},
        {"0x1F", "31"},
        {"-0x1f", "-31"},
        {"0b101", "5"},
        {"0o17", "\"0o17\""},
        {"190:20:30", "685230"},
        {"-1:30", "-90"},
        {"1:75", "\"1:75\""},
        {"99999999999999999999", "99999999999999999999"},
        {"1.5", "1.5"},
        {"1.", "1.0"},
        {".5", "0.5"},
        {"-.5", "\"-.5\""},
        {"1e5", "\"1e5\""},
        {"1.0e5", "\"1.0e5\""},
        {"1.0e+5", "100000.0"},
        {"685_230.15", "685230.15"},
        {"190:20:30.15", "685230.15"},
        {".inf", "Infinity"},
        {"-.INF", "-Infinity"},
        {".nan", "NaN"},
        {"2001-12-14", "\"2001-12-14\""},
        {"'1'", "\"1\""},
        {"\"yes\"", "\"yes\""},
        {"'~'", "\"~\""},
        {"!!str 1", "\"1\""},
        {"!!float '1.5'", "1.5"},
        {"! 5", "\"5\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) reads(rows[i][0], rows[i][1]);
}

static void test_structure_aliases_and_merges(void **state)
{
    (void)state;
    reads("a: 1\nb:\n- x\n- - y\n  - z\n-\n  c: {d: [e, 'f']}\n",
          "{\"a\": 1, \"b\": [\"x\", [\"y\", \"z\"], {\"c\": {\"d\": [\"e\", \"f\"]}}]}");
    reads("a: |\n  x\n  y\nb: >-\n  x\n  y\n\n  z\n", "{\"a\": \"x\\ny\\n\", \"b\": \"x y\\nz\"}");
    reads("a: &x [1, 2]\nb: *x\n", "{\"a\": [1, 2], \"b\": [1, 2]}");
    reads("a: 1\nb: 2\na: 3\n", "{\"a\": 3, \"b\": 2}");
    reads("base: &b {a: 1, c: 2}\nd:\n  a: 5\n  <<: *b\n",
          "{\"base\": {\"a\": 1, \"c\": 2}, \"d\": {\"a\": 5, \"c\": 2}}");
    reads("x: &b {a: 1, c: 2}\nd:\n  <<: [*b, {z: 9, a: 7}]\n",
          "{\"x\": {\"a\": 1, \"c\": 2}, \"d\": {\"z\": 9, \"a\": 1, \"c\": 2}}");
    reads("\xEF\xBB\xBF"
          "a: 1\n",
          "{\"a\": 1}");
}

static void test_broken_and_hostile_text_is_refused(void **state)
{
    (void)state;
    reads("a: b: c", "!mapping values are not allowed in this context in line 1");
    reads("[1, 2", "!while parsing a flow sequence");
    reads("a: !!python/object/apply:os.system ['true']",
          "!could not determine a constructor for the tag "
          "'tag:yaml.org,2002:python/object/apply:os.system'");
    reads("!foo x", "!could not determine a constructor for the tag '!foo'");
    reads("a: *x", "!found undefined alias");
    reads("&a [*a]", "!found unconstructable recursive node");
    reads("--- 1\n--- 2", "!expected a single document");
    reads("? [1]\n: 2", "!a key is a list or a mapping");
    reads("a: \x01", "!control characters are not allowed");
    reads("a: \xFF", "!");
    mltf_buf deep = MLTF_BUF_INIT, laughs = MLTF_BUF_INIT;
    for (int i = 0; i < 600; i++) buf_putc(&deep, '[');
    reads(deep.p, "!nested too deep");
    buf_puts(&laughs, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 30; i++) {
        buf_printf(&laughs, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++) buf_printf(&laughs, "%s*a%d", k ? ", " : "", i - 1);
        buf_puts(&laughs, "]\n");
    }
    reads(laughs.p, "!aliases expand to too much");
    mltf_buf_release(&deep);
    mltf_buf_release(&laughs);
}

static void test_written_as_pyyaml_writes(void **state)
{
    (void)state;
    const yaml_write_options in_order = {0}, unicode = {.sort_keys = true, .allow_unicode = true},
                             c_dumper = {
                                 .sort_keys = true, .allow_unicode = true, .c_dumper = true};
    writes("{\"b\": [1, {\"c\": null, \"a\": []}], \"a\": {}}", NULL,
           "a: {}\nb:\n- 1\n- a: []\n  c: null\n");
    writes("{\"b\": [[1, 2], []], \"a\": true}", &in_order, "b:\n- - 1\n  - 2\n- []\na: true\n");
    writes("[\"1\", \"yes\", \"\", \"~\", \"2020-01-01\", \"a: b\", \"it's\", \"x #y\", \"-\", \"- "
           "a\", \"1e5\", \"=\"]",
           NULL,
           "- '1'\n- 'yes'\n- ''\n- '~'\n- '2020-01-01'\n- 'a: b'\n- it's\n- 'x #y'\n- '-'\n- '- "
           "a'\n- 1e5\n- '='\n");
    writes("[1e16, 0.1, -1e-05, NaN, -Infinity, 100000000000000000000]", NULL,
           "- 1.0e+16\n- 0.1\n- -1.0e-05\n- .nan\n- -.inf\n- 100000000000000000000\n");
    writes("\"a\\nb\\n\"", NULL, "'a\n\n  b\n\n  '\n");
    writes("[\"\\u00e9\", \"\\ud83d\\ude00\", \"\\t\"]", NULL,
           "- \"\\xE9\"\n- \"\\U0001F600\"\n- \"\\t\"\n");
    writes("[\"\\u00e9\", \"\\ud83d\\ude00\"]", &unicode, "- \xC3\xA9\n- \xF0\x9F\x98\x80\n");
    writes("[\"\\u00e9\", \"\\ud83d\\ude00\"]", &c_dumper, "- \xC3\xA9\n- \"\\U0001F600\"\n");
    writes("\"plain\"", NULL, "plain\n...\n");
    writes("{\"\": 1, \"a\\nb\": 2}", NULL, "? ''\n: 1\n? 'a\n\n  b'\n: 2\n");
    writes("{\"k\": "
           "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
           " bb cc\"}",
           NULL,
           "k: "
           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"
           "  bb cc\n");
    writes(
        "{\"k\": "
        "\"\\u00e9aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bb  "
        "cc\"}",
        NULL,
        "k: \"\\xE9aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\\n "
        " \\ bb  cc\"\n");
}

static size_t checked;

/* What MLflow wrote, read and written again. */
static void same_bytes(const char *path)
{
    mltf_buf text = MLTF_BUF_INIT, out = MLTF_BUF_INIT;
    json_doc doc = JSON_DOC_INIT;
    mltf_err err = {0};
    if (file_read(&text, path, 1 << 24, &err) || yaml_parse(&doc, text.p, text.n, &err))
        fail_msg("%s: %s", path, err.msg);
    const char *name = strrchr(path, '/') + 1;
    const bool meta = strcmp(name, "meta.yaml") == 0; // by write_yaml(), the others by safe_dump()
    const yaml_write_options o = {
        .sort_keys = strcmp(name, "python_env.yaml") != 0, .allow_unicode = meta, .c_dumper = meta};
    yaml_write(&out, doc.root, &o);
    if (out.n != text.n || memcmp(out.p, text.p, out.n) != 0) {
        size_t at = 0;
        while (out.p[at] == text.p[at]) at++;
        fail_msg("%s differs at byte %zu: \"%.60s\" instead of \"%.60s\"", path, at, out.p + at,
                 text.p + at);
    }
    checked++;
    mltf_buf_release(&text);
    mltf_buf_release(&out);
    json_doc_release(&doc);
}

static void walk(const char *dir, int depth)
{
    dir_list l;
    if (depth > 8 || dir_read(&l, dir, NULL)) return;
    for (size_t i = 0; i < l.n; i++) {
        char *path = path_join(dir, l.names[i]);
        if (dir_exists(path))
            walk(path, depth + 1);
        else if (strcmp(l.names[i], "MLmodel") == 0 || strcmp(l.names[i], "python_env.yaml") == 0 ||
                 strcmp(l.names[i], "conda.yaml") == 0 || strcmp(l.names[i], "meta.yaml") == 0)
            same_bytes(path);
        free(path);
    }
    dir_list_free(&l);
}

static void test_what_mlflow_wrote_is_written_again_byte_for_byte(void **state)
{
    (void)state;
    walk("tests/fixtures/yaml", 0);
    assert_int_equal(checked, 3);
    walk("../shared/golden", 0);
    walk("../shared/golden-tracking", 0);
    printf("%zu files of MLflow\n", checked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_words_have_types_of_yaml_1_1),
        cmocka_unit_test(test_structure_aliases_and_merges),
        cmocka_unit_test(test_broken_and_hostile_text_is_refused),
        cmocka_unit_test(test_written_as_pyyaml_writes),
        cmocka_unit_test(test_what_mlflow_wrote_is_written_again_byte_for_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
