/* JSON against Python's json module: what is read, what is refused and in which words, what is
 * written. The expected texts and messages were taken from Python 3.11. */
#include "unit.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>

#include "base/c_locale.h"
#include "formats/decimal.h"
#include "formats/json.h"

typedef struct conformance {
    const char *text;
    size_t n;           // 0: up to the NUL
    const char *answer; // json.dumps(json.loads(text)), or "!" and the beginning of the message
} conformance;

// clang-format off
static const conformance cases[] = {
    // ---- must be read: structure and space
    {"[]", 0, "[]"}, {"{}", 0, "{}"}, {"[[]]", 0, "[[]]"}, {" [ ] ", 0, "[]"}, {"\t\r\n [1\n,\r2\t]\n", 0, "[1, 2]"},
    {"[[[[[[]]]]], {}]", 0, "[[[[[[]]]]], {}]"}, {"{\"a\":{\"b\":[{}]}}", 0, "{\"a\": {\"b\": [{}]}}"},
    {"{\"\":0}", 0, "{\"\": 0}"}, {"{\"a\":1,\"b\":2}", 0, "{\"a\": 1, \"b\": 2}"},
    {"{\"a\\u0062\":1}", 0, "{\"ab\": 1}"}, {"[1,null,true,false]", 0, "[1, null, true, false]"},
    {"null", 0, "null"}, {"true", 0, "true"}, {"false", 0, "false"}, {"\"\"", 0, "\"\""}, {" \"x\" ", 0, "\"x\""}, {"7", 0, "7"},
    {"[                                                     1]", 0, "[1]"},
    // ---- must be read: numbers
    {"0", 0, "0"}, {"-0", 0, "0"}, {"-0.0", 0, "-0.0"}, {"0e1", 0, "0.0"}, {"0e+1", 0, "0.0"}, {"-1", 0, "-1"}, {"123", 0, "123"},
    {"1e3", 0, "1000.0"}, {"1E3", 0, "1000.0"}, {"1E-2", 0, "0.01"}, {"1e+2", 0, "100.0"}, {"1.5e2", 0, "150.0"}, {"123.456e78", 0, "1.23456e+80"},
    {"20e1", 0, "200.0"}, {"1.0", 0, "1.0"}, {"0.1", 0, "0.1"}, {"123.456789", 0, "123.456789"}, {"-0.000000001", 0, "-1e-09"},
    {"9223372036854775807", 0, "9223372036854775807"}, {"-9223372036854775808", 0, "-9223372036854775808"},
    {"9223372036854775808", 0, "9223372036854775808"}, {"18446744073709551616", 0, "18446744073709551616"},
    {"-9223372036854775809", 0, "-9223372036854775809"}, {"123456789012345678901234567890", 0, "123456789012345678901234567890"},
    {"1e16", 0, "1e+16"}, {"1e15", 0, "1000000000000000.0"}, {"1e22", 0, "1e+22"}, {"1e-5", 0, "1e-05"}, {"0.0001", 0, "0.0001"},
    {"1e999", 0, "Infinity"}, {"-1e999", 0, "-Infinity"}, {"1e-999", 0, "0.0"}, {"1e99999999999999999999", 0, "Infinity"},
    {"0e99999999999999999999", 0, "0.0"}, {"1.7976931348623157e308", 0, "1.7976931348623157e+308"}, {"1.7976931348623159e308", 0, "Infinity"},
    {"5e-324", 0, "5e-324"}, {"2.4703282292062327e-324", 0, "0.0"}, {"2.4703282292062328e-324", 0, "5e-324"},
    {"2.2250738585072011e-308", 0, "2.225073858507201e-308"}, {"2.2250738585072014e-308", 0, "2.2250738585072014e-308"},
    {"9007199254740993.0", 0, "9007199254740992.0"}, {"9007199254740992.999999999999999999999999", 0, "9007199254740992.0"},
    {"9007199254740993.000000000000000000000001", 0, "9007199254740994.0"}, {"0.00000000000000000000000000000000000000000000001", 0, "1e-47"},
    {"0.3", 0, "0.3"}, {"0.1e1", 0, "1.0"}, {"100000000000000000000000.0", 0, "1e+23"}, {"4.35", 0, "4.35"}, {"-13.806452468963", 0, "-13.806452468963"},
    {"8.41e21", 0, "8.41e+21"}, {"9.5367431640625e-07", 0, "9.5367431640625e-07"}, {"4503599627370495.5", 0, "4503599627370495.5"}, {"4503599627370497.5", 0, "4503599627370498.0"}, {"[-237462374673276894279832749832423479823246327846]", 0, "[-237462374673276894279832749832423479823246327846]"},
    // ---- Python's own numbers
    {"NaN", 0, "NaN"}, {"Infinity", 0, "Infinity"}, {"-Infinity", 0, "-Infinity"}, {"[NaN,-Infinity]", 0, "[NaN, -Infinity]"},
    // ---- must be read: strings
    {"\"a\"", 0, "\"a\""}, {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", 0, "\"\\\"\\\\/\\b\\f\\n\\r\\t\""}, {"\"\\u0000\"", 0, "\"\\u0000\""},
    {"\"\\u0041\\u00e9\\u20AC\"", 0, "\"A\\u00e9\\u20ac\""}, {"\"\\ud83d\\ude00\"", 0, "\"\\ud83d\\ude00\""}, {"\"\\uD834\\uDd1e\"", 0, "\"\\ud834\\udd1e\""},
    {"\"\xC3\xA9\"", 0, "\"\\u00e9\""}, {"\"\xE2\x82\xAC\xF0\x9F\x98\x80\"", 0, "\"\\u20ac\\ud83d\\ude00\""}, {"\"\x7F\"", 0, "\"\\u007f\""},
    {"\"\\ud800\"", 0, "\"\\ud800\""}, {"\"\\udc00\"", 0, "\"\\udc00\""}, {"\"\\ud800x\"", 0, "\"\\ud800x\""}, {"\"\\ud800\\n\"", 0, "\"\\ud800\\n\""},
    {"\"\\ud800\\ud800\\udc00\"", 0, "\"\\ud800\\ud800\\udc00\""}, {"\"\\udc00\\ud800\"", 0, "\"\\udc00\\ud800\""}, {"\"\\uFFFE\\uffff\"", 0, "\"\\ufffe\\uffff\""},
    {"\"\xE2\x80\xA8\xE2\x80\xA9\"", 0, "\"\\u2028\\u2029\""}, {"\"\xF4\x8F\xBF\xBF\"", 0, "\"\\udbff\\udfff\""}, {"\"/*x*/\"", 0, "\"/*x*/\""},
    {"\"0123456789abcdef0123456789abcdef\\n0123456789abcdef\"", 0, "\"0123456789abcdef0123456789abcdef\\n0123456789abcdef\""},
    {"\"\\\\u0041\"", 0, "\"\\\\u0041\""}, {"\"\\\\\\\"\"", 0, "\"\\\\\\\"\""},
    // ---- must be refused: structure
    {"", 0, "!Expecting value: line 1 column 1 (char 0)"}, {" ", 0, "!Expecting value: line 1 column 2 (char 1)"},
    {"[", 0, "!Expecting value: line 1 column 2 (char 1)"}, {"{", 0, "!Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"},
    {"]", 0, "!Expecting value: line 1 column 1 (char 0)"}, {"[1", 0, "!Expecting ',' delimiter: line 1 column 3 (char 2)"},
    {"[1,", 0, "!Expecting value: line 1 column 4 (char 3)"}, {"[1,]", 0, "!Expecting value: line 1 column 4 (char 3)"}, {"[,1]", 0, "!Expecting value: line 1 column 2 (char 1)"},
    {"[1,,2]", 0, "!Expecting value: line 1 column 4 (char 3)"}, {"[1 2]", 0, "!Expecting ',' delimiter: line 1 column 4 (char 3)"}, {"[1}", 0, "!Expecting ',' delimiter: line 1 column 3 (char 2)"},
    {"[\"a\":1]", 0, "!Expecting ',' delimiter: line 1 column 5 (char 4)"}, {"{\"a\"}", 0, "!Expecting ':' delimiter: line 1 column 5 (char 4)"},
    {"{\"a\":}", 0, "!Expecting value: line 1 column 6 (char 5)"}, {"{\"a\":1,}", 0, "!Expecting property name enclosed in double quotes: line 1 column 8 (char 7)"},
    {"{\"a\" 1}", 0, "!Expecting ':' delimiter: line 1 column 6 (char 5)"}, {"{a:1}", 0, "!Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"},
    {"{'a':1}", 0, "!Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"}, {"{1:1}", 0, "!Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"},
    {"{\"a\":1 \"b\":2}", 0, "!Expecting ',' delimiter: line 1 column 8 (char 7)"}, {"{\"a\":1", 0, "!Expecting ',' delimiter: line 1 column 7 (char 6)"}, {"{\"a\":1]", 0, "!Expecting ',' delimiter: line 1 column 7 (char 6)"},
    {"[1]x", 0, "!Extra data: line 1 column 4 (char 3)"}, {"{} {}", 0, "!Extra data: line 1 column 4 (char 3)"}, {"1 2", 0, "!Extra data: line 1 column 3 (char 2)"},
    {"[]]", 0, "!Extra data: line 1 column 3 (char 2)"}, {"{}// c", 0, "!Extra data"}, {"/* c */ 1", 0, "!Expecting value: line 1 column 1 (char 0)"}, {"[1]\n\n x", 0, "!Extra data: line 3 column 2 (char 6)"},
    {"[1]\0", 4, "!Extra data: line 1 column 4 (char 3)"}, {"\0", 1, "!Expecting value: line 1 column 1 (char 0)"}, {"[\0]", 3, "!Expecting value: line 1 column 2 (char 1)"}, {"[1\0]", 4, "!Expecting ',' delimiter: line 1 column 3 (char 2)"},
    {"[\f]", 0, "!Expecting value"}, {"[\v1]", 0, "!Expecting value"}, {"[\xC2\xA0" "1]", 0, "!Expecting value: line 1 column 2 (char 1)"}, {"\xE2\x81\xA0[]", 0, "!Expecting value"},
    // ---- must be refused: words and numbers
    {"nul", 0, "!Expecting value"}, {"nan", 0, "!Expecting value"}, {"True", 0, "!Expecting value"}, {"None", 0, "!Expecting value"}, {"truee", 0, "!Extra data: line 1 column 5 (char 4)"},
    {"inf", 0, "!Expecting value"}, {"Inf", 0, "!Expecting value"}, {"+Infinity", 0, "!Expecting value"}, {"-NaN", 0, "!Expecting value: line 1 column 1 (char 0)"}, {"-Inf", 0, "!Expecting value"}, {"Infinit", 0, "!Expecting value"},
    {"+1", 0, "!Expecting value"}, {"-", 0, "!Expecting value: line 1 column 1 (char 0)"}, {"--1", 0, "!Expecting value"}, {"- 1", 0, "!Expecting value"}, {".5", 0, "!Expecting value"}, {"-.5", 0, "!Expecting value"},
    {"01", 0, "!Extra data: line 1 column 2 (char 1)"}, {"-01", 0, "!Extra data: line 1 column 3 (char 2)"}, {"[012]", 0, "!Expecting ',' delimiter: line 1 column 3 (char 2)"}, {"1.", 0, "!Extra data: line 1 column 2 (char 1)"}, {"1.e5", 0, "!Extra data"},
    {"1e", 0, "!Extra data: line 1 column 2 (char 1)"}, {"1e+", 0, "!Extra data"}, {"1.5e", 0, "!Extra data: line 1 column 4 (char 3)"}, {"1eE2", 0, "!Extra data"}, {"0x10", 0, "!Extra data: line 1 column 2 (char 1)"}, {"1_000", 0, "!Extra data"}, {"1.2.3", 0, "!Extra data"},
    {"1a", 0, "!Extra data"}, {"\xEF\xBC\x91", 0, "!Expecting value"}, {"[1.5.]", 0, "!Expecting ',' delimiter"}, {"0e", 0, "!Extra data"},
    // ---- must be refused: strings
    {"\"", 0, "!Unterminated string starting at: line 1 column 1 (char 0)"}, {"\"a", 0, "!Unterminated string starting at: line 1 column 1 (char 0)"}, {"\"a\\", 0, "!Unterminated string starting at: line 1 column 1 (char 0)"}, {"[\"a]", 0, "!Unterminated string starting at: line 1 column 2 (char 1)"},
    {"\"\\a\"", 0, "!Invalid \\escape: line 1 column 2 (char 1)"}, {"\"\\x41\"", 0, "!Invalid \\escape"}, {"\"\\'\"", 0, "!Invalid \\escape"}, {"\"\\\xC3\xA9\"", 0, "!Invalid \\escape: line 1 column 2 (char 1)"}, {"\"\\\0\"", 4, "!Invalid \\escape"}, {"\"\\U0041\"", 0, "!Invalid \\escape"},
    {"\"\\u\"", 0, "!Invalid \\uXXXX escape: line 1 column 3 (char 2)"}, {"\"\\u00\"", 0, "!Invalid \\uXXXX escape: line 1 column 3 (char 2)"}, {"\"\\u00G0\"", 0, "!Invalid \\uXXXX escape: line 1 column 3 (char 2)"}, {"\"\\u+123\"", 0, "!Invalid \\uXXXX escape"}, {"\"\\u0x41\"", 0, "!Invalid \\uXXXX escape"},
    {"\"\\ud83d\\u\"", 0, "!Invalid \\uXXXX escape"}, {"\"\\ud83d\\uZZZZ\"", 0, "!Invalid \\uXXXX escape: line 1 column 9 (char 8)"}, {"\"\\u0041", 0, "!Invalid \\uXXXX escape"},
    {"\"a\nb\"", 0, "!Invalid control character at: line 1 column 3 (char 2)"}, {"\"\t\"", 0, "!Invalid control character at: line 1 column 2 (char 1)"}, {"\"\0\"", 3, "!Invalid control character at"}, {"\"\x1F\"", 0, "!Invalid control character at"}, {"'a'", 0, "!Expecting value"},
    // ---- must be refused: encoding (found before anything else)
    {"\"\xFF\"", 0, "!'utf-8' codec can't decode byte 0xff in position 1: invalid start byte"}, {"\"\x80\"", 0, "!'utf-8' codec can't decode byte 0x80 in position 1: invalid start byte"}, {"\"\xC0\x80\"", 0, "!'utf-8' codec can't decode byte 0xc0 in position 1: invalid start byte"},
    {"\"\xED\xA0\x80\"", 0, "!'utf-8' codec can't decode byte 0xed in position 1: invalid continuation byte"}, {"\"\xE2\x82\"", 0, "!'utf-8' codec can't decode bytes in position 1-2: invalid continuation byte"}, {"\"\xE2\x82", 0, "!'utf-8' codec can't decode bytes in position 1-2: unexpected end of data"},
    {"\"\xF5\x80\x80\x80\"", 0, "!'utf-8' codec can't decode byte 0xf5"}, {"[} \"\xFF\"", 0, "!'utf-8' codec can't decode byte 0xff in position 4: invalid start byte"}, {"\xFF\xFE[\0]\0", 6, "!'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"},
    {"\"\xF0\x9F\x98\"", 0, "!'utf-8' codec can't decode bytes in position 1-3: invalid continuation byte"}, {"\"\xC3", 0, "!'utf-8' codec can't decode byte 0xc3 in position 1: unexpected end of data"},
    {"\xEF\xBB\xBF{}", 0, "!Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)"},
    // ---- positions count characters, not bytes
    {"[\"\xC3\xA9\xE2\x82\xAC\", x]", 0, "!Expecting value: line 1 column 8 (char 7)"}, {"[\n\"\xF0\x9F\x98\x80\"\n,\n\"a\" 1]", 0, "!Expecting ',' delimiter: line 4 column 5 (char 12)"},
};
// clang-format on

static void check(const conformance *c)
{
    const size_t n = c->n ? c->n : strlen(c->text);
    // the text ends where its memory ends, so that a sanitizer sees a read past it
    char *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, c->text, n);
    json_doc doc = JSON_DOC_INIT;
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    const mltf_status st = json_parse(&doc, exact, n, NULL, &err);
    memset(exact, 'x', n); // values must not point into the caller's text
    free(exact);
    if (st == MLTF_OK) {
        json_write(&out, doc.root, NULL);
    } else {
        assert_int_equal(st, MLTF_CORRUPT_FILE);
        buf_printf(&out, "!%s", err.msg);
    }
    if (c->answer[0] == '!') {
        if (strncmp(out.p, c->answer, strlen(c->answer)) != 0)
            fail_msg("%s: \"%s\" instead of \"%s\"", c->text, out.p, c->answer);
    } else if (strcmp(out.p, c->answer) != 0) {
        fail_msg("%s: \"%s\" instead of \"%s\"", c->text, out.p, c->answer);
    }
    mltf_buf_release(&out);
    json_doc_release(&doc);
}

static void test_json_reads_and_refuses_as_python(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(&cases[i]);
}

static void test_json_bounds_nesting(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    char *text = malloc(DEEP);
    assert_non_null(text);
    memset(text, '[', DEEP);
    json_doc doc = JSON_DOC_INIT;
    mltf_err err = {0};
    assert_int_equal(json_parse(&doc, text, DEEP, NULL, &err), MLTF_CORRUPT_FILE);
    assert_string_equal(err.msg, "nested deeper than 512 levels: line 1 column 513 (char 512)");
    memset(text + 512, ']', 512);
    assert_int_equal(json_parse(&doc, text, 1024, NULL, &err), MLTF_OK);
    const json_parse_options shallow = {.max_depth = 3};
    assert_int_equal(json_parse(&doc, "[[[1]]]", 7, &shallow, &err), MLTF_OK);
    assert_int_equal(json_parse(&doc, "[[[[]]]]", 8, &shallow, &err), MLTF_CORRUPT_FILE);
    json_doc_release(&doc);
    free(text);
}

static void test_json_bounds_digits_of_integers(void **state)
{
    (void)state;
    char text[4400];
    memset(text, '7', sizeof text);
    json_doc doc = JSON_DOC_INIT;
    mltf_err err = {0};
    assert_int_equal(json_parse(&doc, text, 4300, NULL, &err), MLTF_OK);
    assert_int_equal(doc.root->type, JSON_BIGINT);
    assert_int_equal(json_parse(&doc, text, 4301, NULL, &err), MLTF_CORRUPT_FILE);
    assert_string_equal(err.msg, "Exceeds the limit (4300 digits) for integer string conversion: "
                                 "value has 4301 digits");
    json_doc_release(&doc);
}

static void test_json_strict_refuses_nan_and_duplicates(void **state)
{
    (void)state;
    const json_parse_options strict = {.strict = true};
    static const char *const bad[] = {"NaN", "[Infinity]", "[-Infinity]", "{\"a\":1,\"a\":1}",
                                      "{\"a\":1,\"b\":{\"c\":1,\"\\u0063\":2}}"};
    json_doc doc = JSON_DOC_INIT;
    mltf_err err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(json_parse(&doc, bad[i], strlen(bad[i]), &strict, &err),
                         MLTF_CORRUPT_FILE);
    mltf_buf many = MLTF_BUF_INIT;
    buf_putc(&many, '{');
    for (int i = 0; i < 1000; i++) buf_printf(&many, "\"k%d\":%d,", i, i);
    buf_puts(&many, "\"k500x\":1}");
    assert_int_equal(json_parse(&doc, many.p, many.n, &strict, &err), MLTF_OK);
    assert_int_equal(json_len(doc.root), 1001);
    many.n -= 5;
    buf_puts(&many, "\":1}");
    assert_int_equal(json_parse(&doc, many.p, many.n, &strict, &err), MLTF_CORRUPT_FILE);
    assert_string_equal(err.msg, "duplicate key \"k500\"");
    mltf_buf_release(&many);
    json_doc_release(&doc);
}

static void test_json_stops_behind_the_value_where_told(void **state)
{
    (void)state;
    size_t end = 0;
    const json_parse_options opts = {.trailing = true, .end_offset = &end};
    json_doc doc = JSON_DOC_INIT;
    assert_int_equal(json_parse(&doc, " {\"a\": 1} {\"b\"", 14, &opts, NULL), MLTF_OK);
    assert_int_equal(end, 9);
    json_doc_release(&doc);
}

static void test_json_get_finds_the_last_of_a_name(void **state)
{
    (void)state;
    json_doc doc = JSON_DOC_INIT;
    const char *text =
        "{\"a\": 1, \"b\": 2.0, \"a\": \"x\", \"c\": 2.5, \"t\": true, \"n\": null, \"z\": 1e300}";
    assert_int_equal(json_parse(&doc, text, strlen(text), NULL, NULL), MLTF_OK);
    const json *v = doc.root;
    assert_int_equal(json_len(v), 7);
    assert_true(str_is(json_string(json_get(v, "a"), STR("")), "x"));
    assert_int_equal(json_int(json_get(v, "b"), -1), 2);
    assert_int_equal(json_int(json_get(v, "c"), -1), -1);
    assert_int_equal(json_int(json_get(v, "z"), -1), -1);
    assert_int_equal(json_int(json_get(v, "t"), -1), -1);
    assert_int_equal(json_int(json_get(v, "missing"), 7), 7);
    assert_true(json_bool(json_get(v, "t"), false));
    assert_true(json_is(json_get(v, "n"), JSON_NULL));
    assert_null(json_get(NULL, "a"));
    assert_null(json_get(json_get(v, "b"), "a"));
    assert_string_equal(json_type_name(json_get(v, "c")), "float");
    assert_string_equal(json_type_name(NULL), "NoneType");
    json_doc_release(&doc);
}

static void write_is(const json *v, const json_write_options *o, const char *want)
{
    mltf_buf out = MLTF_BUF_INIT;
    json_write(&out, v, o);
    assert_string_equal(out.p, want);
    mltf_buf_release(&out);
}

static void test_json_builds_and_writes(void **state)
{
    (void)state;
    mltf_arena a = MLTF_ARENA_INIT;
    json *o = json_new_object(&a);
    json_set(&a, o, "b", json_new_int(&a, 1));
    json_set(&a, o, "a", json_new_double(&a, 0.1));
    json *list = json_set(&a, o, "list", json_new_array(&a));
    for (int i = 0; i < 9; i++) json_push(&a, list, json_new_int(&a, i));
    json_set(&a, o, "b", json_new_cstr(&a, "\xC3\xA9"));
    json_set(&a, o, "f", json_new_float(&a, 0.1f));
    json_set(&a, o, "e", json_new_object(&a));
    json_set(&a, o, "nan", json_new_double(&a, NAN));
    assert_false(a.failed);
    assert_null(json_set(&a, NULL, "x", o));
    assert_null(json_push(&a, o, o));
    write_is(o, NULL,
             "{\"b\": \"\\u00e9\", \"a\": 0.1, \"list\": [0, 1, 2, 3, 4, 5, 6, 7, 8], "
             "\"f\": 0.10000000149011612, \"e\": {}, \"nan\": NaN}");
    const json_write_options compact = {.compact = true, .sort_keys = true, .nan_as_null = true};
    write_is(o, &compact,
             "{\"a\":0.1,\"b\":\"\xC3\xA9\",\"e\":{},\"f\":0.10000000149011612,"
             "\"list\":[0,1,2,3,4,5,6,7,8],\"nan\":null}");
    assert_true(json_remove(o, "nan"));
    assert_false(json_remove(o, "nan"));
    json *copy = json_clone(&a, o);
    assert_true(json_equal(o, copy));
    json_set(&a, json_set(&a, copy, "e", json_new_object(&a)), "x", json_new_bool(&a, true));
    assert_false(json_equal(o, copy));
    json_remove(copy, "list");
    json_remove(copy, "f");
    const json_write_options indented = {.indent = 2, .ensure_ascii = true};
    write_is(copy, &indented,
             "{\n  \"b\": \"\\u00e9\",\n  \"a\": 0.1,\n  \"e\": {\n    \"x\": true\n  }\n}");
    arena_release(&a);
}

static bool same(const char *a, const char *b)
{
    json_doc x = JSON_DOC_INIT, y = JSON_DOC_INIT;
    assert_int_equal(json_parse(&x, a, strlen(a), NULL, NULL), MLTF_OK);
    assert_int_equal(json_parse(&y, b, strlen(b), NULL, NULL), MLTF_OK);
    const bool equal = json_equal(x.root, y.root);
    json_doc_release(&x);
    json_doc_release(&y);
    return equal;
}

static void test_json_equal_ignores_order_and_kind_of_number(void **state)
{
    (void)state;
    assert_true(same("{\"a\": 1, \"b\": [1, 2]}", "{\"b\": [1.0, 2], \"a\": 1}"));
    assert_true(same("{\"a\": 1, \"a\": 2}", "{\"a\": 2}"));
    assert_true(same("{\"a\": 1, \"a\": 2}", "{\"a\": 3, \"a\": 2}"));
    assert_false(same("{\"a\": 1, \"a\": 2}", "{\"a\": 2, \"b\": 2}"));
    assert_false(same("[1, 2]", "[2, 1]"));
    assert_false(same("[1, 2]", "[1, 2, 3]"));
    assert_false(same("true", "1"));
    assert_false(same("\"1\"", "1"));
    assert_false(same("9007199254740993", "9007199254740992"));
    assert_true(same("100000000000000000000", "100000000000000000000"));
}

static void test_repr_is_shortest_and_reads_back(void **state)
{
    (void)state;
    static const struct {
        double d;
        const char *text;
    } rows[] = {
        {0.1, "0.1"},
        {1e23, "1e+23"},
        {9.5e-5, "9.5e-05"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {0x1p-1074, "5e-324"},
        {0x1.fffffffffffffp1023, "1.7976931348623157e+308"},
        {0x1p-1022, "2.2250738585072014e-308"},
        {9007199254740993.0, "9007199254740992.0"},
        {2e-3, "0.002"},
        {-1.5, "-1.5"},
        {1.0 / 3, "0.3333333333333333"},
        {5e15, "5000000000000000.0"},
        {9999999999999998.0, "9999999999999998.0"},
        {1e16, "1e+16"},
        {0x1p60, "1.152921504606847e+18"},
    };
    char text[32];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        decimal_repr(text, rows[i].d);
        assert_string_equal(text, rows[i].text);
    }
    decimal_repr_float(text, 0.1f);
    assert_string_equal(text, "0.1");
    decimal_repr_float(text, 16777216.0f);
    assert_string_equal(text, "16777216.0");
    uint64_t state64 = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        state64 ^= state64 << 13, state64 ^= state64 >> 7, state64 ^= state64 << 17;
        double d, back;
        memcpy(&d, &state64, 8);
        if (!isfinite(d)) continue;
        const size_t n = decimal_repr(text, d);
        assert_true(n < sizeof text);
        assert_int_equal(decimal_parse(&back, text, n), n);
        if (memcmp(&back, &d, 8) != 0 || c_strtod(text, NULL) != d)
            fail_msg("%a -> %s -> %a", d, text, back);
        char longer[40];
        snprintf(longer, sizeof longer, "%.16e", d); // 17 digits are always enough
        assert_true(decimal_parse(&back, longer, strlen(longer)) > 0);
        if (back != d) fail_msg("%s is not %a", longer, d);
    }
}

static void test_numbers_do_not_follow_the_locale(void **state)
{
    (void)state;
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8")) return;
    const conformance row = {"[9007199254740993.5, 1e-320]", 0, "[9007199254740994.0, 1e-320]"};
    check(&row);
    setlocale(LC_NUMERIC, "C");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_reads_and_refuses_as_python),
        cmocka_unit_test(test_json_bounds_nesting),
        cmocka_unit_test(test_json_bounds_digits_of_integers),
        cmocka_unit_test(test_json_strict_refuses_nan_and_duplicates),
        cmocka_unit_test(test_json_stops_behind_the_value_where_told),
        cmocka_unit_test(test_json_get_finds_the_last_of_a_name),
        cmocka_unit_test(test_json_builds_and_writes),
        cmocka_unit_test(test_json_equal_ignores_order_and_kind_of_number),
        cmocka_unit_test(test_repr_is_shortest_and_reads_back),
        cmocka_unit_test(test_numbers_do_not_follow_the_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
