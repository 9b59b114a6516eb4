/* Requirement lines come out as MLflow writes them (packaging's str(Requirement), one line a package). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "mlflow/requirement.h"

static mltf_arena arena;

/* Lines separated by "|". */
static void expect(const char *given, const char *want)
{
    const char *lines[16];
    size_t n = 0;
    for (char *p = arena_strdup(&arena, given, strlen(given)); p; n++) {
        lines[n] = p;
        if ((p = strchr(p, '|'))) *p++ = 0;
    }
    requirements_merge(&arena, lines, &n);
    const char *got = "";
    for (size_t i = 0; i < n; i++)
        got = i ? arena_printf(&arena, "%s|%s", got, lines[i]) : lines[i];
    assert_string_equal(got, want);
}

static void test_requirements_have_one_form(void **state)
{
    (void)state;
    expect("torch >= 2 ; python_version<'3.9'", "torch>=2; python_version < \"3.9\"");
    expect("Torch[b, A]>=2,<3", "Torch[A,b]<3,>=2");
    expect("a(>=1)", "a>=1");
    expect("a === x", "a===x");
    expect("a[]", "a");
    expect("x@https://e.org/x.whl ; sys.platform=='linux'",
           "x @ https://e.org/x.whl ; sys_platform == \"linux\"");
    expect("a!=1.0,>=0.5,<3;(python_version>'3.8')", "a!=1.0,<3,>=0.5; python_version > \"3.8\"");
    expect("a;os_name>='5' and (os_name=='p' or os_name not  in 'nt')",
           "a; os_name >= \"5\" and (os_name == \"p\" or os_name not in \"nt\")");
    expect("a;'linux' in sys_platform", "a; \"linux\" in sys_platform");
}

static void test_requirements_of_one_package_become_one(void **state)
{
    (void)state;
    expect("a>=1|b|a<2", "a<2,>=1|b");
    expect("a|a[z]", "a[z]");
    expect("pandas==3.1.1|pandas>=2", "pandas==3.1.1,>=2");
    expect("a==1|A==1", "a==1|A==1"); // names are compared as they are written
}

static void test_lines_that_are_no_requirements_stay(void **state)
{
    (void)state;
    static const char *const lines[] = {"./local.whl",
                                        "git+https://g/x.git@main#egg=x",
                                        "-e .",
                                        "a;python_version",
                                        "a>=",
                                        "a;(os_name=='x'",
                                        "",
                                        "a]"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) expect(lines[i], lines[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requirements_have_one_form),
        cmocka_unit_test(test_requirements_of_one_package_become_one),
        cmocka_unit_test(test_lines_that_are_no_requirements_stay),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_release(&arena);
    return failed;
}
