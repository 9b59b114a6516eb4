#include "mlflow/environment.h"

#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/file.h"
#include "base/pytext.h"
#include "formats/yaml.h"
#include "mlflow/requirement.h"

/* A growing list of lines in an arena. */
typedef struct lines {
    mltf_arena *a;
    const char **items;
    size_t n, cap;
} lines;

static void add(lines *l, const char *text)
{
    if (ARENA_RESERVE(l->a, l->items, l->cap, l->n + 1)) l->items[l->n++] = text;
}

mltf_status environment_check(const environment_options *o, mltf_err *err)
{
    const int given = (o->pip_requirements && *o->pip_requirements) +
                      (o->extra_pip_requirements && *o->extra_pip_requirements) +
                      (o->conda_env_path || o->conda_env);
    if (given > 1)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Only one of `conda_env`, `pip_requirements`, and "
                         "`extra_pip_requirements` can be specified");
    return MLTF_OK;
}

/* ---- requirement lines --------------------------------------------------------------------- */

/* The package's name, lower case with - for _ and ., as pip compares names. */
static size_t package_name(char *out, size_t size, const char *line)
{
    size_t n = 0;
    for (; *line && n + 1 < size; line++) {
        char c = ascii_lower(*line);
        if (c == '_' || c == '.') c = '-';
        if (!ascii_is_alnum(c) && c != '-') break;
        out[n++] = c;
    }
    out[n] = '\0';
    return n;
}

static bool same_package(const char *x, const char *y)
{
    char a[128], b[128];
    return package_name(a, sizeof a, x) > 0 && package_name(b, sizeof b, y) > 0 &&
           strcmp(a, b) == 0;
}

static mltf_status read_file(lines *reqs, lines *constraints, const char *path, bool is_constraint,
                             int depth, mltf_err *err);

/* A whole line: a requirement, or -r FILE, or -c FILE, relative to `base`. */
static mltf_status add_requirement(lines *reqs, lines *constraints, mltf_str line, const char *base,
                                   bool is_constraint, int depth, mltf_err *err)
{
    static const struct {
        const char *flag;
        bool constraint;
    } flags[] = {{"-r ", false}, {"--requirement ", false}, {"-c ", true}, {"--constraint ", true}};
    if (line.n == 0 || line.p[0] == '#') return MLTF_OK;
    const char *text = arena_strdup(reqs->a, line.p, line.n);
    if (!text) return mltf_fail_memory(err);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        const size_t k = strlen(flags[i].flag);
        if (strncmp(text, flags[i].flag, k) != 0) continue;
        const char *name = pytext_lstrip(str_from(text + k)).p;
        const char *path =
            *name == '/' || !base ? name : arena_printf(reqs->a, "%s/%s", base, name);
        if (!path) return mltf_fail_memory(err);
        return read_file(reqs, constraints, path, flags[i].constraint, depth + 1, err);
    }
    add(is_constraint ? constraints : reqs, text);
    return MLTF_OK;
}

/* Lines as pip reads them: " #" begins a comment, a backslash at the end joins the next line. */
static mltf_status add_lines(lines *reqs, lines *constraints, const lines *given, const char *base,
                             bool is_constraint, int depth, mltf_err *err)
{
    mltf_buf whole = MLTF_BUF_INIT;
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < given->n && st == MLTF_OK; i++) {
        mltf_str line = pytext_strip(str_from(given->items[i]));
        const char *comment = memmem(line.p, line.n, " #", 2);
        if (comment) line = pytext_rstrip(str_slice(line, 0, (size_t)(comment - line.p)));
        const bool continued = str_ends(line, "\\");
        while (str_ends(line, "\\")) line.n--;
        buf_put_str(&whole, line);
        if (continued && i + 1 < given->n) continue;
        st = buf_status(&whole, err);
        if (st == MLTF_OK)
            st = add_requirement(reqs, constraints, buf_str(&whole), base, is_constraint, depth,
                                 err);
        buf_clear(&whole);
    }
    mltf_buf_release(&whole);
    return st;
}

static mltf_status read_file(lines *reqs, lines *constraints, const char *path, bool is_constraint,
                             int depth, mltf_err *err)
{
    if (depth > 16)
        return mltf_fail(err, MLTF_INVALID_INPUT, "requirement files include each other: \"%s\"",
                         path);
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = file_read(&text, path, (size_t)1 << 24, err);
    char *base = path_parent(path);
    if (st == MLTF_OK && !base) st = mltf_fail_memory(err);
    lines given = {.a = reqs->a};
    char *next = st ? NULL : (char *)pytext_newlines(reqs->a, buf_str(&text)).p;
    for (char *p; (p = strsep(&next, "\n"));) add(&given, p);
    if (st == MLTF_OK) st = add_lines(reqs, constraints, &given, base, is_constraint, depth, err);
    free(base);
    mltf_buf_release(&text);
    return st;
}

static mltf_status collect(lines *reqs, lines *constraints, const char *const *items, mltf_err *err)
{
    const bool single = items[0] && !items[1];
    if (single && strncmp(items[0], "-", 1) != 0 && file_exists(items[0]))
        return read_file(reqs, constraints, items[0], false, 0, err);
    lines given = {.a = reqs->a};
    for (; *items; items++) add(&given, *items);
    return add_lines(reqs, constraints, &given, NULL, false, 0, err);
}

static void mlflow_first(lines *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (same_package(l->items[i], "mlflow") || same_package(l->items[i], "mlflow-skinny"))
            return;
    add(l, "");
    if (l->n == 0) return;
    memmove(l->items + 1, l->items, (l->n - 1) * sizeof *l->items);
    l->items[0] = "mlflow==" MLTF_MLFLOW_VERSION;
}

/* ---- files --------------------------------------------------------------------------------- */

static mltf_status write_in(const char *dir, const char *name, const mltf_buf *b, mltf_err *err)
{
    TRY(buf_status(b, err));
    char *path = path_join(dir, name);
    if (!path) return mltf_fail_memory(err);
    const mltf_status st = file_write(path, b->p ? b->p : "", b->n, err);
    free(path);
    return st;
}

static mltf_status write_lines(const char *dir, const char *name, const lines *l, mltf_err *err)
{
    mltf_buf b = MLTF_BUF_INIT;
    for (size_t i = 0; i < l->n; i++) {
        if (i > 0) buf_putc(&b, '\n');
        buf_puts(&b, l->items[i]);
    }
    const mltf_status st = write_in(dir, name, &b, err);
    mltf_buf_release(&b);
    return st;
}

static mltf_status write_conda(const char *dir, const json *env, mltf_err *err)
{
    mltf_buf b = MLTF_BUF_INIT;
    yaml_write(&b, env, NULL);
    const mltf_status st = write_in(dir, "conda.yaml", &b, err);
    mltf_buf_release(&b);
    return st;
}

static mltf_status write_python_env(const char *dir, mltf_err *err)
{
    mltf_buf b = MLTF_BUF_INIT;
    buf_puts(&b, "python: " ENV_PYTHON_VERSION "\n"
                 "build_dependencies:\n- pip\n- setuptools\n- wheel\n"
                 "dependencies:\n- -r requirements.txt\n");
    const mltf_status st = write_in(dir, "python_env.yaml", &b, err);
    mltf_buf_release(&b);
    return st;
}

static json *pip_section(mltf_arena *a, const lines *reqs)
{
    json *list = json_new_array(a), *map = json_new_object(a);
    for (size_t i = 0; i < reqs->n; i++) json_push(a, list, json_new_cstr(a, reqs->items[i]));
    json_set(a, map, "pip", list);
    return map;
}

/* MLflow's own environment: conda-forge, python, pip and the requirements. */
static json *default_conda(mltf_arena *a, const lines *reqs)
{
    json *env = json_new_object(a), *channels = json_new_array(a), *deps = json_new_array(a);
    json_push(a, channels, json_new_cstr(a, "conda-forge"));
    json_push(a, deps, json_new_cstr(a, "python=" ENV_PYTHON_VERSION));
    json_push(a, deps, json_new_cstr(a, "pip"));
    json_push(a, deps, pip_section(a, reqs));
    json_set(a, env, "channels", channels);
    json_set(a, env, "dependencies", deps);
    json_set(a, env, "name", json_new_cstr(a, "mlflow-env"));
    return env;
}

/* A given environment is kept; its pip section gets mlflow and becomes requirements.txt. */
static mltf_status given_conda(mltf_arena *a, json **out, lines *reqs, const environment_options *o,
                               mltf_err *err)
{
    json *env = NULL;
    if (o->conda_env)
        env = json_clone(a, o->conda_env);
    else {
        json_doc doc = JSON_DOC_INIT;
        mltf_buf text = MLTF_BUF_INIT;
        mltf_status st = file_read(&text, o->conda_env_path, (size_t)1 << 24, err);
        if (st == MLTF_OK) st = yaml_parse(&doc, text.p ? text.p : "", text.n, err);
        if (st == MLTF_OK) env = json_clone(a, doc.root);
        json_doc_release(&doc);
        mltf_buf_release(&text);
        if (st) return st;
    }
    if (!json_is(env, JSON_OBJECT))
        return mltf_fail(err, MLTF_INVALID_INPUT, "the conda environment is not a map of keys");
    json *deps = (json *)json_get(env, "dependencies");
    json *pip = NULL;
    for (size_t i = 0; i < json_len(deps); i++) {
        const json *list = json_get(json_at(deps, i), "pip");
        if (!json_is(list, JSON_ARRAY)) continue;
        pip = (json *)json_at(deps, i);
        for (size_t k = 0; k < list->a.n; k++) {
            const mltf_str s = json_string(&list->a.items[k], STR(""));
            add(reqs, arena_strdup(a, s.p, s.n));
        }
    }
    mlflow_first(reqs);
    json *section = pip_section(a, reqs);
    if (pip)
        *pip = section ? *section : *pip;
    else {
        if (!json_is(deps, JSON_ARRAY)) deps = json_set(a, env, "dependencies", json_new_array(a));
        json_push(a, deps, section);
    }
    *out = env;
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

mltf_status environment_write(const char *dir, const environment_options *o, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    lines reqs = {.a = &a}, constraints = {.a = &a};
    json *conda = NULL;
    mltf_status st = MLTF_OK;
    if (o->conda_env || o->conda_env_path)
        st = given_conda(&a, &conda, &reqs, o, err);
    else {
        if (o->pip_requirements)
            st = collect(&reqs, &constraints, o->pip_requirements, err);
        else {
            if (o->peft) add(&reqs, "peft");
            add(&reqs, "torch==" ENV_TORCH_VERSION);
            add(&reqs, "transformers==" MLTF_TRANSFORMERS_VERSION);
            if (o->extra_pip_requirements)
                st = collect(&reqs, &constraints, o->extra_pip_requirements, err);
        }
        mlflow_first(&reqs);
        if (!st) st = requirements_merge(&a, reqs.items, &reqs.n, err);
        if (constraints.n > 0) add(&reqs, "-c constraints.txt");
        conda = default_conda(&a, &reqs);
    }
    if (st == MLTF_OK && a.failed) st = mltf_fail_memory(err);
    if (st == MLTF_OK) st = write_conda(dir, conda, err);
    if (st == MLTF_OK) st = write_python_env(dir, err);
    if (st == MLTF_OK && constraints.n > 0)
        st = write_lines(dir, "constraints.txt", &constraints, err);
    if (st == MLTF_OK) st = write_lines(dir, "requirements.txt", &reqs, err);
    arena_release(&a);
    return st;
}
