/* Numbers and dates in cells, as TAPAS's tokenizer reads them. Expected values were taken from transformers 4.57.6
 * (models/tapas/tokenization_tapas.py, parse_text). */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "tasks/table_numbers.h"

static mltf_arena arena;

/* "1800;1989-05-07;": numbers as %g, dates with 0 for what is missing. */
static const char *read_text(const char *text)
{
    static char out[256];
    table_values v;
    assert_int_equal(table_parse(&arena, (mltf_str){text, strlen(text)}, &v, NULL), MLTF_OK);
    out[0] = 0;
    for (size_t i = 0; i < v.n; i++) {
        const size_t n = strlen(out);
        if (v.p[i].is_date)
            snprintf(out + n, sizeof out - n, "%d-%d-%d;", v.p[i].year, v.p[i].month, v.p[i].day);
        else
            snprintf(out + n, sizeof out - n, "%g;", v.p[i].number);
    }
    return out;
}

static void test_table_numbers_reads_numbers_and_words(void **state)
{
    (void)state;
    assert_string_equal(read_text("1,800,000 people"), "1.8e+06;");
    assert_string_equal(read_text("-7"), "-7;");
    assert_string_equal(read_text("a -7"), "-7;");
    assert_string_equal(read_text("a-7"),
                        "7;"); // a sign stands at the beginning or behind white space
    assert_string_equal(read_text(".5 and 3.25"), "0.5;3.25;");
    assert_string_equal(read_text("First of TWELVE"), "1;12;");
    assert_string_equal(read_text("the 12th"), "12;");
    assert_string_equal(read_text("1e5"), "100000;");
    assert_string_equal(read_text("0x10"), "0;10;"); // no hexadecimal
    assert_string_equal(read_text("inf nan"), "");
    assert_string_equal(read_text("\u0661\u0662.5 \u00bd"),
                        "12.5;"); // Arabic digits count, a half does not
    assert_string_equal(read_text("may \u0661\u0662"), "0-5-0;12;"); // but not in dates
    assert_string_equal(read_text("0000"), "0;");
    assert_string_equal(read_text(""), "");
}

static void test_table_numbers_reads_dates(void **state)
{
    (void)state;
    assert_string_equal(read_text("May 7, 1989"), "1989-5-7;");
    assert_string_equal(read_text("7 may 1989"), "1989-5-7;");
    assert_string_equal(read_text("2001-02-28"), "2001-2-28;");
    assert_string_equal(read_text("3.4.1999"), "1999-4-3;");
    assert_string_equal(read_text("dec 12"), "0-12-12;");
    assert_string_equal(read_text("1999"), "1999;1999-0-0;"); // both a number and a year
    assert_string_equal(read_text("1699"), "1699;");          // years begin with 1700
    assert_string_equal(read_text("feb 29"), "29;");          // without a year, 1900 counts
}

static void test_table_numbers_a_day_must_exist(void **state)
{
    (void)state;
    assert_string_equal(read_text("february 30, 2001"), "0-2-0;30;2001;2001-0-0;");
    assert_string_equal(read_text("feb 29, 2000"), "2000-2-29;");
}

static void test_table_numbers_a_column_needs_seven_of_ten(void **state)
{
    (void)state;
    table_values cells[3], kept[3];
    const char *const texts[] = {"5", "6 or 7", "x"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(
            table_parse(&arena, (mltf_str){texts[i], strlen(texts[i])}, &cells[i], NULL), MLTF_OK);
    table_consolidate(cells, 2, kept);
    assert_true(kept[0].n == 1 && kept[1].n == 1 && kept[1].p->number == 6);
    table_consolidate(cells, 3, kept);
    assert_true(kept[0].n == 0 && kept[1].n == 0);
}

static void test_table_numbers_dates_compare_by_what_all_have(void **state)
{
    (void)state;
    const table_value a = {.is_date = true, .year = 2010, .month = 5, .day = 5},
                      b = {.is_date = true, .year = 2007, .month = 8};
    const table_value c = {.is_date = true, .month = 9}, number = {.number = 3};
    assert_int_equal(table_common((const table_value *const[]){&a, &b}, 2), 3);
    assert_int_equal(table_common((const table_value *const[]){&a, &b, &c}, 3), 2);
    assert_int_equal(table_common((const table_value *const[]){&a, &number}, 2), 0);
    assert_true(table_compare(&a, &b, 3) > 0 && table_compare(&a, &b, 2) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_numbers_reads_numbers_and_words),
        cmocka_unit_test(test_table_numbers_reads_dates),
        cmocka_unit_test(test_table_numbers_a_day_must_exist),
        cmocka_unit_test(test_table_numbers_a_column_needs_seven_of_ten),
        cmocka_unit_test(test_table_numbers_dates_compare_by_what_all_have),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_release(&arena);
    return failed;
}
