/* Text as Python's str methods treat it. What is expected was asked of Python 3.11. */
#include "unit.h"

#include "base/pyformat.h"
#include "base/pytext.h"
#include "base/python_unicode.h"

static void test_lower_case_knows_where_a_word_ends(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"A\u0130I", "ai\u0307i"},
        {"\u039f\u0394\u039f\u03a3 \u0391\u03a3", "\u03bf\u03b4\u03bf\u03c2 \u03b1\u03c2"},
        {"\u03a3", "\u03c3"},
        {"1\u03a3", "1\u03c3"},
        {"\u0391\u0301\u03a3", "\u03b1\u0301\u03c2"}, // marks and apostrophes are looked past
        {"\u0391\u03a3'\u0391", "\u03b1\u03c3'\u03b1"},
        {"\u0391\u03a3'", "\u03b1\u03c2'"},
        {"\u0391\u03a3.\u0392", "\u03b1\u03c3.\u03b2"},
        {"\u02b0\u03a3", "\u02b0\u03c3"}, // a letter that is itself looked past
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mltf_buf out = MLTF_BUF_INIT;
        pytext_lower(&out, str_from(rows[i][0]));
        assert_string_equal(out.p, rows[i][1]);
        mltf_buf_release(&out);
    }
}

static void test_white_space_is_unicodes(void **state)
{
    (void)state;
    mltf_arena a = MLTF_ARENA_INIT;
    assert_true(str_is(pytext_strip(STR("\u00a0 \x1f"
                                        "a\u00c5\u3000\n")),
                       "a\u00c5"));
    assert_true(str_is(pytext_strip(STR("\u2003")), ""));
    assert_true(
        str_is(pytext_strip(STR("\u00c5")), "\u00c5")); // its last byte alone would be U+0085
    assert_true(str_is(pytext_collapse(&a, STR(" a\t\u00a0b ")), "a b"));
    mltf_str rest = STR(" x\u2028y ");
    assert_true(str_is(pytext_word(&rest), "x"));
    assert_true(str_is(pytext_word(&rest), "y"));
    assert_true(str_is(pytext_word(&rest), ""));
    assert_true(str_is(pytext_newlines(&a, STR("a\r\nb\rc\n\r\r\n")), "a\nb\nc\n\n\n"));
    assert_true(str_is(pytext_newlines(&a, STR("")), ""));
    arena_release(&a);
}

static void test_letters_and_numbers_of_any_script_are_alphanumeric(void **state)
{
    (void)state;
    static const uint32_t yes[] = {'a', '0', 0xE9, 0x661, 0xBD, 0x2167, 0x4E00},
                          no[] = {'_', '-', 0xA0, 0x2192, 0x301, 0x1F600};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) assert_true(pyu_alnum(yes[i]));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) assert_false(pyu_alnum(no[i]));
}

/* format.format(v=value), or the message of its failure. */
static const char *formatted(const char *format, const char *value, mltf_buf *out, mltf_err *err)
{
    mltf_str rest = str_from(format);
    pyformat_field f;
    buf_clear(out);
    for (bool more;;) {
        if (pyformat_next(&rest, out, &f, &more, err)) return err->msg;
        if (!more) return out->p ? out->p : "";
        assert_true(str_is(f.name, "v"));
        if (pyformat_put(out, &f, str_from(value), err)) return err->msg;
    }
}

static void test_format_strings_are_pythons(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"{v:05}|", "a\u00e9000|"},
        {"{v:x^05}|", "xa\u00e9xx|"},
        {"{v:\u3000>4.1}|", "\u3000\u3000\u3000a|"},
        {"{{{v!r:>6}}}", "{  'a\u00e9'}"},
        {"{v!a}", "'a\\xe9'"},
        {"{v!x}", "Unknown conversion specifier x"},
        {"{v:=5}", "Invalid format specifier '=5' for object of type 'str'"},
        {"{v:5d}", "Invalid format specifier '5d' for object of type 'str'"},
        {"{", "Single '{' encountered in format string"},
        {"a}", "Single '}' encountered in format string"},
        {"{v}}", "Single '}' encountered in format string"},
        {"{v", "expected '}' before end of string"},
        {"{v:{v}}", "fields inside of fields are not supported"},
        {"", ""},
    };
    mltf_buf out = MLTF_BUF_INIT;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mltf_err err = {0};
        assert_string_equal(formatted(rows[i][0], "a\u00e9", &out, &err), rows[i][1]);
    }
    mltf_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lower_case_knows_where_a_word_ends),
        cmocka_unit_test(test_white_space_is_unicodes),
        cmocka_unit_test(test_format_strings_are_pythons),
        cmocka_unit_test(test_letters_and_numbers_of_any_script_are_alphanumeric),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
