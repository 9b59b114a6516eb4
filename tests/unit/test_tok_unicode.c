/* Unicode properties as the reference counts them. */
#include "unit.h"

#include <string.h>

#include "tokenizers/unicode.h"

static size_t count(unsigned cats)
{
    size_t n = 0;
    for (uint32_t cp = 0; cp < 0x110000; cp++)
        n += (cp < 0xD800 || cp > 0xDFFF) && (uc_catbit(cp) & cats);
    return n;
}

static void test_letters_and_numbers_are_those_of_unicode_16(void **state)
{
    (void)state;
    assert_int_equal(count(UC_L), 141028);
    assert_int_equal(count(UC_N), 1911);
    assert_int_equal(count(UC_P), 855);
    size_t spaces = 0, words = 0;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        spaces += uc_is_space(cp);
        words += uc_word_onig(cp);
    }
    assert_int_equal(spaces, 25);
    assert_int_equal(words, 144671);
}

static void test_lower_case_may_take_two_code_points(void **state)
{
    (void)state;
    uint32_t second;
    assert_int_equal(uc_lower('A', &second), 'a');
    assert_int_equal(second, 0);
    assert_int_equal(uc_lower(0x130, &second), 'i');
    assert_int_equal(second, 0x307);
    assert_int_equal(uc_lower(0x3A3, &second), 0x3C3); // never the final sigma
}

static void test_decompositions_and_compositions(void **state)
{
    (void)state;
    uint32_t d[UC_DECOMP_MAX];
    assert_int_equal(uc_decompose(d, 0xC5, false), 2);
    assert_true(d[0] == 'A' && d[1] == 0x30A);
    assert_int_equal(uc_decompose(d, 0xD55C, false), 3); // a Hangul syllable
    assert_true(d[0] == 0x1112 && d[1] == 0x1161 && d[2] == 0x11AB);
    assert_int_equal(uc_decompose(d, 0xFB01, false), 1);
    assert_int_equal(uc_decompose(d, 0xFB01, true), 2);  // fi
    assert_int_equal(uc_decompose(d, 0xFDFA, true), 18); // the longest
    assert_int_equal(uc_compose('A', 0x30A), 0xC5);
    assert_int_equal(uc_compose(0x1112, 0x1161), 0xD558);
    assert_int_equal(uc_compose(0xD558, 0x11AB), 0xD55C);
    assert_int_equal(uc_compose('q', 0x30A), 0);
}

static size_t first_cluster(const char *s)
{
    return uc_grapheme(s, strlen(s));
}

static void test_grapheme_clusters(void **state)
{
    (void)state;
    assert_int_equal(first_cluster("ab"), 1);
    assert_int_equal(first_cluster("\r\na"), 2);
    assert_int_equal(first_cluster("e\xCC\x81x"), 3);
    assert_int_equal(first_cluster("\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA\xF0\x9F\x87\xA9"),
                     8); // a flag, and half
    assert_int_equal(first_cluster("\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x94\xAC!"),
                     11);                                                        // woman scientist
    assert_int_equal(first_cluster("\xE0\xA4\x95\xE0\xA5\x8D\xE0\xA4\xB7x"), 9); // ksha: GB9c
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters_and_numbers_are_those_of_unicode_16),
        cmocka_unit_test(test_lower_case_may_take_two_code_points),
        cmocka_unit_test(test_decompositions_and_compositions),
        cmocka_unit_test(test_grapheme_clusters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
