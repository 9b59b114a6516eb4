/* The template engine: what the real Jinja2 answered (tests/fixtures/jinja_cases.json, made by
 * tests/interop/make_jinja_cases.py), errors with their place, budgets, generation spans, and hostile templates. */
#include "unit.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "templates/template.h"

static mltf_status render_with(const char *source, const char *context, const jinja_options *opts,
                               mltf_buf *out, mltf_err *err)
{
    json_doc doc = JSON_DOC_INIT;
    jinja_template *t = NULL;
    assert_int_equal(json_parse(&doc, context, strlen(context), NULL, err), MLTF_OK);
    mltf_status st = jinja_compile(&t, source, strlen(source), err);
    if (!st) st = jinja_render(t, doc.root, opts, out, err);
    jinja_free(t);
    json_doc_release(&doc);
    return st;
}

static void expect_text(const char *source, const char *want)
{
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    if (render_with(source, "{}", NULL, &out, &err)) fail_msg("%s: %s", source, err.msg);
    assert_string_equal(out.p ? out.p : "", want);
    mltf_buf_release(&out);
}

static void expect_error(const char *source, mltf_status status, const char *words)
{
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    const mltf_status st = render_with(source, "{}", NULL, &out, &err);
    if (st == MLTF_OK)
        fail_msg("%s: rendered \"%s\", an error was expected", source, out.p ? out.p : "");
    if (st != status || strcmp(err.msg, words) != 0)
        fail_msg("%s\n  got  %s \"%s\"\n  want %s \"%s\"", source, mltf_status_name(st), err.msg,
                 mltf_status_name(status), words);
    assert_int_equal(out.n, 0);
    mltf_buf_release(&out);
}

static void jinja_answers_as_the_reference_did(void **state)
{
    (void)state;
    json_doc doc = JSON_DOC_INIT;
    mltf_err err = {0};
    if (json_parse_file(&doc, "tests/fixtures/jinja_cases.json", NULL, &err))
        fail_msg("%s", err.msg);
    const json *cases = json_get(doc.root, "cases"), *context = json_get(doc.root, "context");
    size_t wrong = 0;
    for (size_t i = 0; i < json_len(cases); i++) {
        const json *c = json_at(cases, i), *text = json_get(c, "text"),
                   *error = json_get(c, "error");
        const mltf_str source = json_string(json_get(c, "template"), STR(""));
        jinja_template *t = NULL;
        mltf_buf out = MLTF_BUF_INIT;
        mltf_status st = jinja_compile(&t, source.p, source.n, &err);
        if (!st) st = jinja_render(t, context, NULL, &out, &err);
        const bool unsupported = st == MLTF_UNSUPPORTED && text;
        bool ok = text ? st == MLTF_OK && str_eq(buf_str(&out), text->s) : st != MLTF_OK;
        if (error && error->type == JSON_STRING) ok = ok && str_is(error->s, err.msg);
        if (!ok && !unsupported) {
            wrong++;
            print_message(STR_FMT "\n  got  %s\n  want " STR_FMT "\n", STR_ARG(source),
                          st      ? err.msg
                          : out.p ? out.p
                                  : "",
                          STR_ARG(json_string(text, STR("an error"))));
        }
        mltf_buf_release(&out);
        jinja_free(t);
    }
    assert_true(json_len(cases) > 1000);
    assert_int_equal(wrong, 0);
    json_doc_release(&doc);
}

static void jinja_errors_tell_line_and_column(void **state)
{
    (void)state;
    expect_error("a\nb {{ 1 / 0 }}", MLTF_BAD_REQUEST, "line 2, column 8: division by zero");
    expect_error(
        "{% if x %}\n\xc3\xa9 {{ x", MLTF_CORRUPT_FILE,
        "line 2, column 7: unexpected end of template: the tag opened at byte 16 has no \"}}\"");
    expect_error("{{ a b }}", MLTF_CORRUPT_FILE,
                 "line 1, column 6: expected token 'end of print statement', got 'b'");
    expect_error("x{{ m.a.b }}", MLTF_BAD_REQUEST, "line 1, column 6: 'm' is undefined");
    expect_error("{% set m = {} %}{{ m.a.b }}", MLTF_BAD_REQUEST,
                 "line 1, column 23: 'dict object' has no attribute 'a'");
    expect_error("{{ 'a' + 1 }}", MLTF_BAD_REQUEST,
                 "line 1, column 8: can only concatenate str (not \"int\") to str");
    expect_error("{% for x in y %}", MLTF_CORRUPT_FILE,
                 "line 1, column 17: Unexpected end of template. Jinja was looking for the "
                 "following tags: 'endfor'. The "
                 "innermost block that needs to be closed was opened in line 1, column 4");
    expect_error("{{ x|nope }}", MLTF_UNSUPPORTED, "line 1, column 6: no filter named 'nope'");
    expect_error("{% include 'a' %}", MLTF_UNSUPPORTED,
                 "line 1, column 4: {% include %} is not supported in chat templates");
    expect_error("{{ 9223372036854775807 + 1 }}", MLTF_UNSUPPORTED,
                 "line 1, column 24: an integer beyond 64 bits is not supported");
}

static void jinja_raise_exception_gives_its_words_alone(void **state)
{
    (void)state;
    expect_error("\n{{ raise_exception('Roles must alternate') }}", MLTF_BAD_REQUEST,
                 "Roles must alternate");
}

static void jinja_hides_what_the_sandbox_hides(void **state)
{
    (void)state;
    expect_error("{{ ''.__class__.__mro__ }}", MLTF_BAD_REQUEST,
                 "line 1, column 16: access to attribute '__class__' of 'str' object is unsafe.");
    expect_error("{{ [].append(1) }}", MLTF_BAD_REQUEST,
                 "line 1, column 13: access to attribute 'append' of 'list' object is unsafe.");
    expect_text("{{ [].append }}{{ ''['__class__'] }}", "");
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void jinja_hostile_templates_end_soon(void **state)
{
    (void)state;
    static const char *const hostile[] = {
        "{% for i in range(1000000000000) %}x{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f() %}{% if true %}{{ f() ~ f() }}{% endif %}{% endmacro %}{{ f() }}",
        "{{ 'x' * 100000000000 }}",
        "{{ [0] * 100000000000 }}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% "
        "endfor %}{{ ns.s | length }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% "
        "endfor %}{{ ns.s | length }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% "
        "endfor %}{{ ns.s }}",
        "{% set ns = namespace(s=(1,)) %}{% for i in range(60) %}{% set ns.s = (ns.s, ns.s) %}{% "
        "endfor %}{{ {ns.s: 1} }}",
        "{% set ns = namespace(s=(1,)) %}{% for i in range(60) %}{% set ns.s = (ns.s, ns.s) %}{% "
        "endfor %}{{ ns.s == ns.s[0] }}{{ ns.s|tojson }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(100000) %}{% set ns.s = [ns.s] %}{% "
        "endfor %}{{ ns.s }}",
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
        "{% set ns = namespace(s='x') %}{% for i in range(100000) %}{% set ns.s = ns.s ~ 'y' %}{{ "
        "ns.s }}{% endfor %}",
        "{{ '%999999999d' % 1 }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ 'a'.center(99999999999) }}",
        "{{ ('a' * 1000000).replace('', 'b' * 1000000) }}",
        "{{ ('a' * 10000000).rfind('a' * 5000000 + 'b') }}{% for i in range(1000) %}{{ ('a' * "
        "10000000).rfind('a' * 5000000 + 'b') }}{% endfor %}",
        "{{ range(100000)|map('string')|map('list')|list|string|length }}{{ 2 ** 99999 }}",
        "{{ 'a'|indent(99999999999) }}",
        "{% for a in range(100000) %}{% set x %}{{ range(100000)|list }}{% endset %}{% endfor %}",
        "{{ [1]|batch(1000000000, 'x')|list }}",
        "{{ [1]|slice(1000000000)|list }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    };
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        mltf_buf out = MLTF_BUF_INIT;
        mltf_err err = {0};
        const double start = seconds();
        if (render_with(hostile[i], "{}", NULL, &out, &err) == MLTF_OK)
            fail_msg("%s: an error was expected", hostile[i]);
        if (seconds() - start > 20) fail_msg("%s took %.1f s", hostile[i], seconds() - start);
        mltf_buf_release(&out);
    }
}

static void repeat_error(const char *unit, const char *tail, size_t n)
{
    mltf_buf source = MLTF_BUF_INIT, out = MLTF_BUF_INIT;
    mltf_err err = {0};
    buf_puts(&source, "{{ ");
    for (size_t i = 0; i < n; i++) buf_puts(&source, unit);
    buf_puts(&source, tail);
    if (render_with(source.p, "{}", NULL, &out, &err) == MLTF_OK)
        fail_msg("%s...: an error was expected", unit);
    mltf_buf_release(&source);
    mltf_buf_release(&out);
}

static void jinja_deep_nesting_is_an_error(void **state)
{
    (void)state;
    repeat_error("(", "", 5000);
    repeat_error("[", "", 5000);
    repeat_error("{1:", "", 5000);
    repeat_error("- ", "1 }}", 100000);
    repeat_error("not ", "1 }}", 100000);
    repeat_error("1 + ", "1 }}", 100000);
    repeat_error("1 if 1 else ", "1 }}", 100000);
    repeat_error("x.", "x }}", 100000);
    repeat_error("1|", "abs }}", 100000);
    repeat_error("}}{% if 1 %}{{", "1 }}", 5000);
    repeat_error("}}{% for x in 1 %}{{", "1 }}", 5000);
}

static void jinja_budget_of_steps_can_be_set(void **state)
{
    (void)state;
    const jinja_options few = {.max_steps = 100};
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    assert_int_equal(render_with("{% for i in range(1000) %}{% endfor %}", "{}", &few, &out, &err),
                     MLTF_BAD_REQUEST);
    assert_non_null(strstr(err.msg, "more work than it may do"));
    mltf_buf_release(&out);
}

static void jinja_generation_spans_are_bytes_of_the_output(void **state)
{
    (void)state;
    struct jinja_span *spans = NULL;
    size_t n = 0;
    const jinja_options opts = {.generation = &spans, .n_generation = &n};
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    assert_int_equal(render_with("\xc3\xa9{% for m in ['ab', 'c'] %}<{% generation %}{{ m }}!{% "
                                 "endgeneration %}>{% endfor %}",
                                 "{}", &opts, &out, &err),
                     MLTF_OK);
    assert_string_equal(out.p, "\xc3\xa9<ab!><c!>");
    assert_int_equal(n, 2);
    assert_int_equal(spans[0].start, 3);
    assert_int_equal(spans[0].end, 6);
    assert_int_equal(spans[1].start, 8);
    assert_int_equal(spans[1].end, 10);
    free(spans);
    mltf_buf_release(&out);
}

static void jinja_strftime_now_uses_the_time_given(void **state)
{
    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    const jinja_options opts = {.now = 1721952000}; // 2024-07-26
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    assert_int_equal(
        render_with("{{ strftime_now('%d %b %Y|%-d|%%|%H:%M') }}", "{}", &opts, &out, &err),
        MLTF_OK);
    assert_string_equal(out.p, "26 Jul 2024|26|%|00:00");
    mltf_buf_release(&out);
}

static void jinja_reads_numbers_as_python(void **state)
{
    (void)state;
    expect_text("{{ '\u0661\u0662'|int }} {{ '\u0661\u0662.\u0665'|float }} {{ '1_0'|int }} {{ "
                "'1_.5'|float }} "
                "{{ '1_e5'|int }} {{ '1_e5'|int(0, 16) }} {{ '1_'|int }} {{ '0x_1f'|int(0, 0) }}",
                "12 12.5 10 0.0 0 485 0 31");
}

static void jinja_numbers_and_months_do_not_follow_the_locale(void **state)
{
    (void)state;
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "tr_TR.UTF-8")) return;
    const jinja_options opts = {.now = 1722384000}; // 2024-07-31
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    assert_int_equal(
        render_with("{{ 1.5 }} {{ '%.2f'|format(2.25) }} {{ '2.5'|float }} {{ 2.567|round(1) }} "
                    "{{ '{:.3}'.format(0.1234) }} {{ 'TITLE'|title }} "
                    "{{ strftime_now('%B') }}",
                    "{}", &opts, &out, &err),
        MLTF_OK);
    assert_string_equal(out.p, "1.5 2.25 2.5 2.6 0.123 Title July");
    mltf_buf_release(&out);
    setlocale(LC_ALL, "C");
}

static void jinja_text_that_is_not_utf8_is_mended(void **state)
{
    (void)state;
    jinja_template *t = NULL;
    mltf_arena a = MLTF_ARENA_INIT;
    mltf_err err = {0};
    mltf_buf out = MLTF_BUF_INIT;
    json *vars = json_new_object(&a);
    json_set(&a, vars, "s", json_new_string(&a, (mltf_str){"a\xff\xe4\xb8", 4}));
    assert_int_equal(jinja_compile(&t, "\xff{{ s[1] }}{{ s|length }}{{ s|upper }}\xe4", 39, &err),
                     MLTF_OK);
    assert_int_equal(jinja_render(t, vars, NULL, &out, &err), MLTF_OK);
    assert_string_equal(out.p, "\xef\xbf\xbd\xef\xbf\xbd"
                               "3A\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    mltf_buf_release(&out);
    jinja_free(t);
    arena_release(&a);
}

static void jinja_long_prompts_stay_linear(void **state)
{
    (void)state;
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    const double start = seconds();
    // a megabyte built piece by piece, as templates do that collect into a namespace
    assert_int_equal(
        render_with("{% set ns = namespace(s='') %}{% for i in range(20000) %}{% set ns.s = ns.s + "
                    "'fifty bytes of text are enough to see a curve......' "
                    "%}{% endfor %}{{ ns.s|length }}",
                    "{}", NULL, &out, &err),
        MLTF_OK);
    assert_string_equal(out.p, "1020000");
    assert_true(seconds() - start < 5);
    mltf_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jinja_answers_as_the_reference_did),
        cmocka_unit_test(jinja_errors_tell_line_and_column),
        cmocka_unit_test(jinja_raise_exception_gives_its_words_alone),
        cmocka_unit_test(jinja_hides_what_the_sandbox_hides),
        cmocka_unit_test(jinja_hostile_templates_end_soon),
        cmocka_unit_test(jinja_deep_nesting_is_an_error),
        cmocka_unit_test(jinja_budget_of_steps_can_be_set),
        cmocka_unit_test(jinja_generation_spans_are_bytes_of_the_output),
        cmocka_unit_test(jinja_strftime_now_uses_the_time_given),
        cmocka_unit_test(jinja_reads_numbers_as_python),
        cmocka_unit_test(jinja_numbers_and_months_do_not_follow_the_locale),
        cmocka_unit_test(jinja_text_that_is_not_utf8_is_mended),
        cmocka_unit_test(jinja_long_prompts_stay_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
