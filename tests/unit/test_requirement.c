/* Requirement lines come out as MLflow writes them (packaging's str(Requirement), one line a package). */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "mlflow/environment.h"
#include "mlflow/python_version.h"
#include "mlflow/requirement.h"

static mltf_arena arena;

/* Lines separated by "|"; the error's words where there is one. */
static void expect(const char *given, const char *want)
{
    mltf_err err = {0};
    const char *lines[16];
    size_t n = 0;
    for (char *p = arena_strdup(&arena, given, strlen(given)); p; n++) {
        lines[n] = p;
        if ((p = strchr(p, '|'))) *p++ = 0;
    }
    const mltf_status st = requirements_merge(&arena, lines, &n, &err);
    const char *got = st ? err.msg : "";
    for (size_t i = 0; i < n && !st; i++)
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

static void test_requirements_that_no_version_meets_are_refused(void **state)
{
    (void)state;
#define CONFLICT "The specified requirements versions are incompatible. Detected conflicts: "
    expect("torch==2.13.0|b|torch<1", CONFLICT "torch==2.13.0 and torch<1");
    expect("a[x]>=2|a<3|a<2", CONFLICT "a[x]<3,>=2 and a<2");
    static const char *const apart[][2] = {
        {">=2", "<2"},          {">2", "<=2"},           {"==1.0", "==1.1"},
        {"==1.0", "!=1"},       {"~=1.4.2", ">=1.5"},    {"==1.4.*", ">1.5"},
        {"==1.4.*", "==1.5.*"}, {"==1.0rc1", ">=1"},     {"==1rc1", "<1"},
        {"==1.post1", ">1"},    {"==1!1", "<2000"},      {"==1.0+cu", "==1.0+cpu"},
        {"==1.0", "!=1.*"},     {">=1.0.post1", "<=1.0"}};
    static const char *const together[][2] = {{">=2", "<=2"},
                                              {"==1", "==1.0.0"},
                                              {"==1.0", "~=1.0"},
                                              {"==1.5", "~=1.4"},
                                              {">=1", "<1.0.1"},
                                              {"==1.4.*", ">1.4.9"},
                                              {"==1.0a1", "<1.0a2"},
                                              {"==1.0.dev1", "<1a1"},
                                              {"!=1", "!=2"},
                                              {"==2.1+cu1", ">=2.1"},
                                              {"===x", "<1"},
                                              {"==1.0-1", ">=1.0.post1"},
                                              {"==V1.0-Alpha_1", "==1a1"},
                                              {"==1.post1", "==1.0-r1"},
                                              {"==1.4.*", ">=1.4.0rc1"}};
    for (size_t i = 0; i < sizeof apart / sizeof *apart; i++)
        assert_true(python_versions_conflict(apart[i], 2));
    for (size_t i = 0; i < sizeof together / sizeof *together; i++)
        assert_false(python_versions_conflict(together[i], 2));
    expect("a==1;os_name=='nt'|a==2", "a==1; os_name == \"nt\"|a==2");
    expect("a==1;os_name=='nt'|a==2;os_name=='nt'", "a==1,==2; os_name == \"nt\"");
    expect("a==2.7.1+cu128|a==2.7.1", "a==2.7.1");
    expect("a==2.7.1|a==2.7.1+cu128", "a==2.7.1");
    expect("a>2,<1", "a<1,>2"); // one line alone is taken at its word
    setenv("MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK", "true", 1);
    expect("a==1|a==2", "a==1,==2");
    unsetenv("MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK");
}

static void test_lines_that_are_no_requirements_stay(void **state)
{
    (void)state;
    static const char *const lines[] = {"./local.whl",
                                        "git+https://g/x.git@main#egg=x",
                                        "-e .",
                                        "a;python_version",
                                        "a>=",
                                        "a <= 2.*",
                                        "a >1.0+cpu",
                                        "a ~= 1",
                                        "a ~=2.*",
                                        "a== 1.*.2",
                                        "a;(os_name=='x'",
                                        "",
                                        "a]"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) expect(lines[i], lines[i]);
}

static const char *in_folder(const char *dir, const char *name)
{
    return arena_printf(&arena, "%s/%s", dir, name);
}

static void put_file(const char *path, const char *text)
{
    mltf_err err = {0};
    if (file_write(path, text, strlen(text), &err)) fail_msg("%s", err.msg);
}

static void expect_file(const char *path, const char *want)
{
    mltf_buf text = MLTF_BUF_INIT;
    mltf_err err = {0};
    if (file_read(&text, path, 10000, &err)) fail_msg("%s", err.msg);
    assert_string_equal(text.p, want);
    mltf_buf_release(&text);
}

/* What mlflow.utils.environment._parse_pip_requirements() made of the same files. */
static void test_requirement_files_are_read_line_by_line(void **state)
{
    (void)state;
    char *dir = unit_new_folder();
    assert_non_null(dir);
    put_file(in_folder(dir, "given.txt"),
             "numpy==1.26.4 \\\n  ; python_version>\"3.7\"   # why\r\n# all\n"
             "\ttorch>=2 #x\r-c cons.txt\n\u00a0scipy\u00a0\nlast \\\\");
    put_file(in_folder(dir, "cons.txt"), "pandas<3\n-r more.txt\n");
    put_file(in_folder(dir, "more.txt"),
             "idna==3\n"); // required, though a constraint file names it
    const char *const one[] = {in_folder(dir, "given.txt"), NULL};
    const environment_options o = {.pip_requirements = one};
    mltf_err err = {0};
    if (environment_write(dir, &o, &err)) fail_msg("%s", err.msg);
    expect_file(in_folder(dir, "requirements.txt"),
                "mlflow==" MLTF_MLFLOW_VERSION
                "\nnumpy==1.26.4; python_version > \"3.7\"\ntorch>=2\nidna==3\n"
                "scipy\nlast\n-c constraints.txt");
    expect_file(in_folder(dir, "constraints.txt"), "pandas<3");
    assert_int_equal(unit_remove_folder(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requirements_have_one_form),
        cmocka_unit_test(test_requirements_of_one_package_become_one),
        cmocka_unit_test(test_requirements_that_no_version_meets_are_refused),
        cmocka_unit_test(test_lines_that_are_no_requirements_stay),
        cmocka_unit_test(test_requirement_files_are_read_line_by_line),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_release(&arena);
    return failed;
}
