#include "mlflow/requirement.h"

#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/buf.h"
#include "mlflow/environment_flags.h"
#include "mlflow/python_version.h"

enum { MAX_PARTS = 64 };

typedef struct requirement {
    mltf_str name, url;
    const char *extras[MAX_PARTS], *versions[MAX_PARTS]; /* [n_*] each like ">=2", no blanks */
    size_t n_extras, n_versions;
    const char *marker; /* written out, or NULL */
} requirement;

typedef struct reader {
    mltf_arena *a;
    mltf_str rest;
    bool bad;
} reader;

static void skip_blank(reader *r)
{
    while (r->rest.n && (r->rest.p[0] == ' ' || r->rest.p[0] == '\t'))
        r->rest = str_slice(r->rest, 1, r->rest.n);
}

static bool eat(reader *r, const char *text)
{
    skip_blank(r);
    if (!str_starts(r->rest, text)) return false;
    r->rest = str_slice(r->rest, strlen(text), r->rest.n);
    return true;
}

/* The longest beginning of letters, digits and those in `also`. */
static mltf_str take(reader *r, const char *also)
{
    skip_blank(r);
    size_t n = 0;
    while (n < r->rest.n &&
           (ascii_is_alnum(r->rest.p[n]) || (r->rest.p[n] && strchr(also, r->rest.p[n]))))
        n++;
    const mltf_str out = str_slice(r->rest, 0, n);
    r->rest = str_slice(r->rest, n, r->rest.n);
    return out;
}

static mltf_str take_name(reader *r)
{
    mltf_str s = take(r, "-_.");
    while (s.n && strchr("-_.", s.p[s.n - 1])) { // a name ends with a letter or a digit
        s.n--;
        r->rest = (mltf_str){r->rest.p - 1, r->rest.n + 1};
    }
    r->bad = r->bad || s.n == 0 || strchr("-_.", s.p[0]) != NULL;
    return s;
}

/* ---- versions ---- */

static const char *take_operator(reader *r)
{
    static const char *const known[] = {"===", "~=", "==", "!=", "<=", ">=", "<", ">", NULL};
    for (const char *const *o = known; *o; o++)
        if (eat(r, *o)) return *o;
    return NULL;
}

/* PEP 440: 2.* and 1.0+local can be equal to something, not more or less; ~= needs two numbers to stay below the next. */
static bool version_fits(const char *op, mltf_str version)
{
    if (strcmp(op, "===") == 0) return true;
    const char *star = memchr(version.p, '*', version.n), *plus = memchr(version.p, '+', version.n);
    const bool equality = strcmp(op, "==") == 0 || strcmp(op, "!=") == 0;
    if (star &&
        !(equality && !plus && str_ends(version, ".*") && star == version.p + version.n - 1))
        return false;
    if (plus && !equality) return false;
    if (strcmp(op, "~=") != 0) return true;
    const char *epoch = memchr(version.p, '!', version.n), *p = epoch ? epoch + 1 : version.p;
    const char *const end = version.p + version.n;
    while (p < end && ascii_is_digit(*p)) p++;
    return end - p > 1 && p[0] == '.' && ascii_is_digit(p[1]);
}

static void read_versions(reader *r, requirement *q)
{
    const bool inside = eat(r, "(");
    const char *op;
    while (!r->bad && (op = take_operator(r))) {
        const mltf_str version = take(r, "._*+!-");
        r->bad = version.n == 0 || q->n_versions == MAX_PARTS || !version_fits(op, version);
        if (!r->bad)
            q->versions[q->n_versions++] = arena_printf(r->a, "%s" STR_FMT, op, STR_ARG(version));
        if (!eat(r, ",")) break;
    }
    if (inside && !eat(r, ")")) r->bad = true;
}

/* ---- markers ---- */

/* A term of a marker: a comparison, a word (and, or), or terms in parentheses. */
typedef struct term {
    const char *text;
    struct term *inside; /* in parentheses; NULL: text */
    struct term *next;
} term;

static const char *marker_value(reader *r)
{
    static const char *const old[][2] = {
        {"os.name", "os_name"},
        {"sys.platform", "sys_platform"},
        {"platform.version", "platform_version"},
        {"platform.machine", "platform_machine"},
        {"platform.python_implementation", "platform_python_implementation"},
        {"python_implementation", "platform_python_implementation"}};
    skip_blank(r);
    if (r->rest.n && (r->rest.p[0] == '\'' || r->rest.p[0] == '"')) {
        const char *end = memchr(r->rest.p + 1, r->rest.p[0], r->rest.n - 1);
        if (!end) return NULL;
        const mltf_str s = str_slice(r->rest, 1, (size_t)(end - r->rest.p));
        r->rest = str_slice(r->rest, s.n + 2, r->rest.n);
        return arena_printf(r->a, "\"" STR_FMT "\"", STR_ARG(s));
    }
    const mltf_str name = take(r, "_.");
    for (size_t i = 0; i < sizeof old / sizeof *old; i++)
        if (str_is(name, old[i][0])) return old[i][1];
    return name.n ? arena_printf(r->a, STR_FMT, STR_ARG(name)) : NULL;
}

static term *new_term(reader *r, const char *text, term *inside)
{
    term *t = arena_calloc(r->a, 1, sizeof *t);
    if (t) *t = (term){text, inside, NULL};
    r->bad = r->bad || !t || (!text && !inside);
    return t;
}

static term *read_comparison(reader *r)
{
    const char *left = marker_value(r), *op = NULL;
    if (left && !(op = take_operator(r))) {
        if (eat(r, "not"))
            op = eat(r, "in") ? "not in" : NULL;
        else if (eat(r, "in"))
            op = "in";
    }
    const char *right = op ? marker_value(r) : NULL;
    return new_term(r, right ? arena_printf(r->a, "%s %s %s", left, op, right) : NULL, NULL);
}

static term *read_marker(reader *r, int depth)
{
    term *first = NULL, **end = &first;
    for (;;) {
        if (depth < 20 && eat(r, "(")) {
            *end = new_term(r, NULL, read_marker(r, depth + 1));
            if (!eat(r, ")")) r->bad = true;
        } else {
            *end = read_comparison(r);
        }
        if (r->bad || !*end) return NULL;
        end = &(*end)->next;
        const char *word = eat(r, "and") ? "and" : eat(r, "or") ? "or" : NULL;
        if (!word) return first;
        *end = new_term(r, word, NULL);
        if (r->bad || !*end) return NULL;
        end = &(*end)->next;
    }
}

/* Parentheses around all of it, or around parentheses alone, are not written. */
static void write_marker(mltf_buf *out, const term *t, bool outermost)
{
    while (t->inside && !t->next) {
        t = t->inside;
        outermost = true;
    }
    const bool several = t->next != NULL;
    if (!outermost && several) buf_putc(out, '(');
    for (const term *i = t; i; i = i->next) {
        if (i != t) buf_putc(out, ' ');
        if (i->inside)
            write_marker(out, i->inside, false);
        else
            buf_puts(out, i->text);
    }
    if (!outermost && several) buf_putc(out, ')');
}

/* ---- a requirement ---- */

static bool read_requirement(mltf_arena *a, requirement *q, const char *line)
{
    reader r = {.a = a, .rest = str_from(line)};
    *q = (requirement){.name = take_name(&r)};
    if (!r.bad && eat(&r, "[")) {
        while (!r.bad && !eat(&r, "]")) {
            const mltf_str extra = take_name(&r);
            if (r.bad || q->n_extras == MAX_PARTS) return false;
            q->extras[q->n_extras++] = arena_printf(a, STR_FMT, STR_ARG(extra));
            if (!eat(&r, ",") && !str_starts(r.rest, "]")) r.bad = true;
        }
    }
    if (!r.bad && eat(&r, "@")) {
        skip_blank(&r);
        size_t n = 0;
        while (n < r.rest.n && r.rest.p[n] != ' ' && r.rest.p[n] != '\t') n++;
        q->url = str_slice(r.rest, 0, n);
        r.rest = str_slice(r.rest, n, r.rest.n);
        r.bad = n == 0;
    } else if (!r.bad) {
        read_versions(&r, q);
    }
    if (!r.bad && eat(&r, ";")) {
        const term *t = read_marker(&r, 0);
        mltf_buf text = MLTF_BUF_INIT;
        if (t) write_marker(&text, t, true);
        q->marker = t && text.p ? arena_strdup(a, text.p, text.n) : NULL;
        mltf_buf_release(&text);
        r.bad = r.bad || !q->marker;
    }
    skip_blank(&r);
    return !r.bad && r.rest.n == 0;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, without what is there twice. */
static void put_sorted(mltf_buf *out, const char **items, size_t n)
{
    qsort(items, n, sizeof *items, compare_text);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && strcmp(items[i], items[i - 1]) == 0) continue;
        if (i > 0) buf_putc(out, ',');
        buf_puts(out, items[i]);
    }
}

static const char *written(mltf_arena *a, requirement *q)
{
    mltf_buf b = MLTF_BUF_INIT;
    buf_put_str(&b, q->name);
    if (q->n_extras) {
        buf_putc(&b, '[');
        put_sorted(&b, q->extras, q->n_extras);
        buf_putc(&b, ']');
    }
    put_sorted(&b, q->versions, q->n_versions);
    if (q->url.n) {
        buf_puts(&b, " @ ");
        buf_put_str(&b, q->url);
        if (q->marker) buf_putc(&b, ' ');
    }
    if (q->marker) buf_printf(&b, "; %s", q->marker);
    const char *text = arena_strdup(a, b.p ? b.p : "", b.n);
    if (b.failed) a->failed = true;
    mltf_buf_release(&b);
    return text;
}

/* Both are of one package: with the same marker they are one requirement. */
static bool same_requirement(const requirement *a, const requirement *b)
{
    return str_eq(a->name, b->name) && str_eq(str_from(a->marker), str_from(b->marker));
}

/* "==2.7.1+cu128" beside "==2.7.1": only the latter, which every index has. */
static bool drop_local(requirement *later, const requirement *earlier)
{
    if (later->n_versions != 1 || earlier->n_versions != 1) return false;
    const char *a = later->versions[0], *b = earlier->versions[0];
    const size_t n = strcspn(a, "+"), k = strcspn(b, "+");
    if (n != k || !a[n] == !b[k] || strncmp(a, "==", 2) != 0 || strncmp(a, b, n) != 0) return false;
    if (a[n]) later->versions[0] = b;
    return true;
}

/* The later one with what the earlier one has besides. */
static mltf_status take_over(mltf_arena *a, requirement *later, const requirement *earlier,
                             mltf_err *err)
{
    const requirement alone = *later;
    for (size_t i = 0; i < earlier->n_extras && later->n_extras < MAX_PARTS; i++)
        later->extras[later->n_extras++] = earlier->extras[i];
    if (drop_local(later, earlier)) return MLTF_OK;
    for (size_t i = 0; i < earlier->n_versions && later->n_versions < MAX_PARTS; i++)
        later->versions[later->n_versions++] = earlier->versions[i];
    // what holds under a marker is not known here
    if (alone.n_versions == 0 || earlier->n_versions == 0 || later->marker ||
        flag_is_true("MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK") ||
        !python_versions_conflict(later->versions, later->n_versions))
        return MLTF_OK;
    requirement first = *earlier, second = alone;
    const char *one = written(a, &first), *other = written(a, &second);
    if (!one || !other) return mltf_fail_memory(err);
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "The specified requirements versions are incompatible. Detected conflicts: "
                     "%s and %s",
                     one, other);
}

mltf_status requirements_merge(mltf_arena *a, const char **lines, size_t *n, mltf_err *err)
{
    requirement *all = arena_calloc(a, *n ? *n : 1, sizeof *all); // [kept]; name.n 0: another line
    if (!all) return mltf_fail_memory(err);
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        requirement *q = &all[kept];
        const char *line = lines[i];
        if (!read_requirement(a, q, line)) q->name.n = 0;
        size_t k = 0;
        while (k < kept && !(q->name.n ? same_requirement(&all[k], q)
                                       : all[k].name.n == 0 && strcmp(lines[k], line) == 0))
            k++;
        if (k < kept && q->name.n) {
            TRY(take_over(a, q, &all[k], err));
            all[k] = *q;
        }
        lines[k] = line;
        if (k == kept) kept++;
    }
    for (size_t i = 0; i < kept; i++)
        if (all[i].name.n) lines[i] = written(a, &all[i]);
    *n = kept;
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}
