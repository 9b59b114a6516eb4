/* Requests of the scoring server to data; templates and literals on the way; replies and errors. */
#include "unit.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "mlflow/prompt_template.h"
#include "mlflow/pyliteral.h"
#include "mlflow/scoring.h"

static mltf_arena arena;
static signature sig;

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

static void use(const char *inputs, const char *params)
{
    sig = (signature){0};
    mltf_err err = {0};
    if (inputs && schema_parse(&arena, &sig.inputs, str_from(inputs), &err))
        fail_msg("%s", err.msg);
    if (params && param_schema_parse(&arena, &sig.params, str_from(params), &err))
        fail_msg("%s", err.msg);
}

static const char *repr(const pv *v)
{
    mltf_buf b = MLTF_BUF_INIT;
    pv_repr(&b, v);
    const char *s = arena_strdup(&arena, b.p ? b.p : "", b.n);
    mltf_buf_release(&b);
    return s;
}

/* What the body becomes, or the message of its failure. */
static const char *parse(const char *body)
{
    scoring_request r;
    mltf_err err = {0};
    if (scoring_parse_json(&arena, &r, body, strlen(body), &sig, &err)) {
        assert_int_equal(err.status, MLTF_BAD_REQUEST);
        return arena_strdup(&arena, err.msg, strlen(err.msg));
    }
    return repr(&r.data);
}

#define TEXT "[{\"type\": \"string\", \"required\": true}]"
#define TWO                                                                                        \
    "[{\"type\": \"string\", \"name\": \"a\"}, {\"type\": \"long\", \"name\": \"b\", "             \
    "\"required\": false}]"

static void test_inputs_are_cast_by_the_column(void **state)
{
    (void)state;
    use(TEXT, NULL);
    assert_string_equal(parse("{\"inputs\": \"x\"}"), "np.str_('x')");
    assert_string_equal(parse("{\"inputs\": 5}"), "np.str_('5')");
    assert_string_equal(parse("{\"inputs\": [1, \"b\"]}"), "array(['1', 'b'], dtype='<U1')");
    assert_string_equal(parse("{\"inputs\": []}"), "[]");
    assert_string_equal(parse("{\"inputs\": [{\"t\": \"x\"}]}"), "[{'t': 'x'}]");
    assert_non_null(strstr(parse("{\"inputs\": {\"a\": \"x\"}}"),
                           "an input of type <class 'dict'> was found."));
    assert_non_null(
        strstr(parse("{\"inputs\": null}"), "an input of type <class 'NoneType'> was found."));
    use(TWO, NULL);
    assert_string_equal(parse("{\"inputs\": {\"a\": \"x\", \"b\": \"7\"}}"),
                        "{'a': np.str_('x'), 'b': np.int64(7)}");
    assert_non_null(strstr(parse("{\"inputs\": {\"b\": \"seven\"}}"),
                           "invalid literal for int() with base 10"));
    use("[{\"type\": \"binary\"}]", NULL);
    assert_string_equal(parse("{\"inputs\": \"aGk=\"}"), "np.bytes_(b'aGk=')");
    assert_string_equal(parse("{\"dataframe_split\": {\"data\": [[\"aGk=\"]]}}"),
                        "       0\n0  b'hi'");
}

static void test_instances_become_columns(void **state)
{
    (void)state;
    use(TWO, NULL);
    assert_string_equal(parse("{\"instances\": [{\"a\": \"x\"}, {\"a\": \"y\"}]}"),
                        "{'a': array(['x', 'y'], dtype='<U1')}");
    use(NULL, NULL);
    assert_non_null(
        strstr(parse("{\"instances\": [{\"a\": 1}, {\"a\": 2, \"b\": 3}]}"), "are not the same"));
}

static void test_frames_come_in_two_orients(void **state)
{
    (void)state;
    use(TWO, NULL);
    assert_string_equal(
        parse("{\"dataframe_records\": [{\"a\": \"x\", \"b\": 1}, {\"a\": \"y\"}]}"),
        "Invalid input. Data is not compatible with model signature. Failed to convert column b to "
        "type 'int64'. "
        "Error: 'ValueError('cannot convert float nan to integer')'");
    assert_non_null(strstr(parse("{\"dataframe_split\": []}"), "must be a dictionary. Got list."));
    assert_non_null(
        strstr(parse("{\"dataframe_split\": {\"columns\": [\"a\"]}}"), "Got {'columns'}.'"));
    assert_non_null(
        strstr(parse("{\"dataframe_split\": {\"columns\": [\"a\"], \"data\": [[1, 2]]}}"),
               "1 columns passed, passed data had 2 columns"));
    assert_non_null(strstr(parse("{\"dataframe_records\": {\"a\": 1}}"), "Got dictionary."));
}

/* Rows with ever other keys: what they take grows with the request, not with rows times keys. */
static void test_very_many_keys_are_met_in_time(void **state)
{
    (void)state;
    enum { KEYS = 60000 };
    use(NULL, NULL);
    mltf_buf rows = MLTF_BUF_INIT, literal = MLTF_BUF_INIT;
    buf_puts(&rows, "{\"instances\": [");
    for (int i = 0; i < KEYS; i++) {
        buf_printf(&rows, "%s{\"k%d\": 1}", i ? ", " : "", i);
        buf_printf(&literal, "%s'k%d': 1", i ? ", " : "{", i);
    }
    buf_puts(&rows, "]}");
    buf_puts(&literal, "}");
    scoring_request r;
    pv v;
    mltf_err err = {0};
    const clock_t start = clock();
    scoring_parse_json(&arena, &r, rows.p, rows.n, &sig, &err);
    assert_true(pyliteral_parse(&arena, &v, buf_str(&literal)));
    assert_int_equal(v.dict.n, KEYS);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 5); // a tenth; it was a minute
    mltf_buf_release(&rows);
    mltf_buf_release(&literal);
}

static void test_exactly_one_wrapper(void **state)
{
    (void)state;
    use(TEXT, NULL);
    assert_non_null(strstr(parse("{}"), "Received dictionary with input fields: []. IMPORTANT"));
    assert_non_null(strstr(parse("{\"inputs\": 1, \"instances\": []}"),
                           "input fields: ['inputs', 'instances']. IMPORTANT"));
    assert_non_null(strstr(parse("[1]"), "Received a list."));
    assert_non_null(strstr(parse("\"x\""), "Received unexpected input type '<class 'str'>."));
    assert_non_null(strstr(parse("{not json"), "JSONDecodeError('Expecting property name enclosed "
                                               "in double quotes: line 1 column 2 (char 1)')"));
}

static void test_llm_objects_need_no_wrapper(void **state)
{
    (void)state;
    use(TEXT, "[{\"name\": \"k\", \"default\": 1, \"shape\": null, \"type\": \"long\"}]");
    scoring_request r;
    const char *body = "{\"prompt\": \"x\", \"k\": 2, \"other\": 3}";
    assert_int_equal(scoring_parse_json(&arena, &r, body, strlen(body), &sig, NULL), MLTF_OK);
    assert_true(r.unwrapped);
    assert_string_equal(repr(&r.data), "{'prompt': 'x', 'other': 3}");
    assert_string_equal(repr(&r.params), "{'k': 2}");
}

static const char *csv(const char *body)
{
    scoring_request r;
    mltf_err err = {0};
    if (scoring_parse_csv(&arena, &r, body, strlen(body), &sig, &err))
        return arena_strdup(&arena, err.msg, strlen(err.msg));
    pv_frame *f = r.data.frame;
    mltf_buf b = MLTF_BUF_INIT;
    for (size_t c = 0; c < f->n_cols; c++) {
        pv_print(&b, &f->names[c]);
        buf_printf(&b, ":%s", np_name(f->types[c]));
        for (size_t i = 0; i < f->n_rows; i++) {
            buf_putc(&b, ' ');
            pv_repr(&b, pv_cell(f, c, i));
        }
        buf_putc(&b, ';');
    }
    const char *s = arena_strdup(&arena, b.p ? b.p : "", b.n);
    mltf_buf_release(&b);
    return s;
}

static void test_csv_is_typed_like_pandas_does(void **state)
{
    (void)state;
    use(TEXT, NULL);
    assert_string_equal(csv("text\na\nb\n"), "text:str 'a' 'b';");
    assert_string_equal(csv("a,b,c,d\n1,2.5,True,x\n3,4,False,\"y, \"\"z\"\"\"\n"),
                        "a:int64 1 3;b:float64 2.5 4.0;c:bool True False;d:str 'x' 'y, \"z\"';");
    assert_string_equal(csv("a\n1\nNA\n"), "a:float64 1.0 nan;");
    assert_string_equal(csv("a,b\n0,x,y\n"), "a:str 'x';b:str 'y';"); // an index without a name
    assert_string_equal(csv("a\r\n\"two\nlines\"\r\n"), "a:str 'two\\nlines';");
    assert_non_null(strstr(csv("a\n1\n2,3\n"), "Expected 1 fields in line 3, saw 2"));
    assert_non_null(strstr(csv("a\n\n1\n2,3\n"), "Expected 1 fields in line 4, saw 2"));
    assert_non_null(strstr(csv("a\n\"x\n"), "EOF inside string starting at row 1"));
    // quotes mean something at the beginning of a field alone
    assert_string_equal(csv("a\nsay \"hi\"\n"), "a:str 'say \"hi\"';");
    assert_string_equal(csv("a\n\"x\"y\"z\"\n"), "a:str 'xy\"z\"';");
    assert_string_equal(csv("\ufeffa\n \t\n x\n"), "a:str ' x';"); // a mark, and a line of blanks
    assert_string_equal(csv("a,a,a.1,\n1,2,3,4\n"),
                        "a:int64 1;a.2:int64 2;a.1:int64 3;Unnamed: 3:int64 4;");
    assert_string_equal(csv("a,b\n 12 ,-9223372036854775808\n"),
                        "a:int64 12;b:int64 -9223372036854775808;");
    assert_string_equal(csv("a,b\n9999999999999999999,18446744073709551616\n1,2\n"),
                        "a:uint64 9999999999999999999 1;b:object '18446744073709551616' '2';");
    assert_string_equal(csv("a,b\n1e5 ,inf\n1,1e400\n"),
                        "a:float64 100000.0 1.0;b:str 'inf' '1e400';");
    assert_string_equal(csv("a,b\nTRUE,1\n,1\n"), "a:object True nan;b:int64 1 1;");
    assert_string_equal(csv("a\n"), "a:object;");
    assert_non_null(strstr(csv(""), "No columns to parse from file"));
    use("[{\"type\": \"string\", \"name\": \"a\"}]", NULL);
    assert_string_equal(csv("a\n5\n"), "a:object '5';");
}

static void test_replies_are_pythons_json(void **state)
{
    (void)state;
    json *v = NULL;
    const char *text = "[\"caf\\u00e9\", 1.0, NaN, {\"a\": [true, null]}]";
    assert_int_equal(json_parse_in(&arena, &v, text, strlen(text), NULL, NULL), MLTF_OK);
    const pv value = pv_from_json(&arena, v);
    mltf_buf b = MLTF_BUF_INIT;
    assert_int_equal(scoring_write(&b, &value, false, NULL), MLTF_OK);
    assert_string_equal(b.p,
                        "{\"predictions\": [\"caf\\u00e9\", 1.0, null, {\"a\": [true, null]}]}");
    mltf_buf_release(&b);
}

static void test_errors_have_mlflows_keys_in_order(void **state)
{
    (void)state;
    mltf_err err = {0};
    mltf_buf b = MLTF_BUF_INIT;
    mltf_fail(&err, MLTF_SCHEMA_MISMATCH, "no \"x\"");
    mltf_err_json(&err, &b);
    assert_string_equal(b.p, "{\"error_code\": \"INVALID_PARAMETER_VALUE\", \"message\": \"no "
                             "\\\"x\\\"\", \"sqlstate\": \"KAM01\", "
                             "\"error_class\": \"SCHEMA_ENFORCEMENT_FAILED\"}");
    mltf_buf_release(&b);
}

/* ---- templates, literals, text ------------------------------------------------------------- */

static const char *apply(const char *tpl, const char *prompt)
{
    mltf_buf b = MLTF_BUF_INIT;
    mltf_err err = {0};
    const mltf_status st = prompt_template_apply(&b, tpl, str_from(prompt), &err);
    const char *s = st ? arena_strdup(&arena, err.msg, strlen(err.msg))
                       : arena_strdup(&arena, b.p ? b.p : "", b.n);
    mltf_buf_release(&b);
    return s;
}

static void test_templates_are_pythons_format_strings(void **state)
{
    (void)state;
    static const char *const good[] = {"{prompt}", "a {prompt} b", "{{x}} {prompt}", "{prompt!r}",
                                       "{prompt:>10}"};
    static const char *const bad[] = {"",           "none",    "{prompt} {prompt}",
                                      "{other}",    "{}",      "{prompt} {}",
                                      "{{prompt}}", "{prompt", "prompt}"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(prompt_template_check(good[i], NULL), MLTF_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (prompt_template_check(bad[i], NULL) != MLTF_INVALID_INPUT)
            fail_msg("\"%s\" was accepted", bad[i]);
    assert_string_equal(apply("Q: {prompt}\nA:", "why {x}?"), "Q: why {x}?\nA:");
    assert_string_equal(apply("{{{prompt}}}", "a"), "{a}");
    assert_string_equal(apply("{prompt!r}", "it's"), "\"it's\"");
    assert_string_equal(apply("{prompt:*^7}|", "ab"), "**ab***|");
    assert_string_equal(apply("{prompt:>4.2}|", "abc"), "  ab|");
    assert_string_equal(apply("{prompt:05}|", "a\u00e9"), "a\u00e9000|");
    assert_string_equal(apply("{prompt:x^05}|", "a\u00e9"), "xa\u00e9xx|");
    assert_string_equal(apply("{prompt!a}", "a\u00e9"), "'a\\xe9'");
    assert_string_equal(apply("{prompt!x}", "a"), "Unknown conversion specifier x");
}

static void test_literals_are_read_without_being_run(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"{'text': 'a', 'text_pair': 'b'}", "{'text': 'a', 'text_pair': 'b'}"},
        {"[1, -2.5, None, True, (1,), \"q\\n\"]", "[1, -2.5, None, True, (1,), 'q\\n']"},
        {"b'\\x41'", "b'A'"},
        {" ( 'a' ) ", "'a'"},
        {"{}", "{}"},
        {"[]", "[]"},
        {"[12345678901234567890, -5, +5, 1_0, 00]", "[12345678901234567890, -5, 5, 10, 0]"},
        {"[0x1F, -0b11, 0o7, 1_0.5_0, .5, 5., 1e-3, - 5]",
         "[31, -3, 7, 10.5, 0.5, 5.0, 0.001, -5]"},
        {"'a' \"b\"\n'c' # and so on", "'abc'"},
        {"r'it\\'s\\n'", "\"it\\\\'s\\\\n\""},
        {"b'x' b'y'", "b'xy'"},
        {"{'a': 1, 'b': 2, 'a': 3}", "{'a': 3, 'b': 2}"},
        {"'a\u3000\u2003\U0001f600'", "'a\\u3000\\u2003\U0001f600'"}, // str.isprintable()
    };
    static const char *const bad[] = {
        "007",  "", "x", "f()", "{'a'}", "[1", "[1 2]", "'a", "1 +", "not json", "__import__('os')",
        "{1: 2"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pv v;
        if (!pyliteral_parse(&arena, &v, str_from(rows[i].text)))
            fail_msg("%s was refused", rows[i].text);
        assert_string_equal(repr(&v), rows[i].want);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pv v;
        if (pyliteral_parse(&arena, &v, str_from(bad[i])))
            fail_msg("%s was taken for a literal", bad[i]);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_inputs_are_cast_by_the_column),
        T(test_instances_become_columns),
        T(test_frames_come_in_two_orients),
        T(test_very_many_keys_are_met_in_time),
        T(test_exactly_one_wrapper),
        T(test_llm_objects_need_no_wrapper),
        T(test_csv_is_typed_like_pandas_does),
        T(test_replies_are_pythons_json),
        T(test_errors_have_mlflows_keys_in_order),
        T(test_templates_are_pythons_format_strings),
        T(test_literals_are_read_without_being_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
