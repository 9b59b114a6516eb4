/* Versions of Python packages (PEP 440): which of two is later, and whether one version can meet several conditions. */
#include "mlflow/python_version.h"
#include "base/ascii.h"

#include <limits.h>
#include <string.h>

enum { MAX_RELEASE = 16 };

/* Parts that are not there are -1; a version without dev, pre and post comes after its dev and pre releases. */
typedef struct version {
    long epoch, release[MAX_RELEASE];
    size_t n;
    long kind, pre; /* kind: 0 a, 1 b, 2 rc */
    long post, dev;
    mltf_str local;
} version;

/* ---- reading ---- */

static bool take_number(mltf_str *s, long *out)
{
    size_t n = 0;
    *out = 0;
    for (; n < s->n && n < 15 && ascii_is_digit(s->p[n]); n++) *out = 10 * *out + (s->p[n] - '0');
    *s = str_slice(*s, n, s->n);
    return n > 0;
}

static bool is_separator(mltf_str s)
{
    return s.n && (s.p[0] == '.' || s.p[0] == '-' || s.p[0] == '_');
}

/* [-_.]word[-_.]number, where the separators and the number may be missing. */
static bool take_word(mltf_str *s, const char *word, long *number)
{
    mltf_str rest = is_separator(*s) ? str_slice(*s, 1, s->n) : *s;
    const size_t n = strlen(word);
    if (rest.n < n || !ascii_same(str_slice(rest, 0, n), word)) return false;
    rest = str_slice(rest, n, rest.n);
    if (rest.n && ascii_is_alpha(rest.p[0])) return false;
    mltf_str after = is_separator(rest) ? str_slice(rest, 1, rest.n) : rest;
    if (take_number(&after, number)) rest = after;
    *s = rest;
    return true;
}

static bool read_version(version *v, mltf_str s)
{
    static const struct {
        const char *word;
        long kind;
    } pres[] = {{"alpha", 0}, {"a", 0}, {"beta", 1},    {"b", 1},
                {"rc", 2},    {"c", 2}, {"preview", 2}, {"pre", 2}};
    *v = (version){.kind = -1, .pre = -1, .post = -1, .dev = -1};
    if (s.n && (s.p[0] == 'v' || s.p[0] == 'V')) s = str_slice(s, 1, s.n);
    if (!take_number(&s, &v->release[v->n++])) return false;
    if (s.n && s.p[0] == '!') {
        v->epoch = v->release[0];
        s = str_slice(s, 1, s.n);
        if (!take_number(&s, &v->release[0])) return false;
    }
    while (s.n > 1 && s.p[0] == '.' && ascii_is_digit(s.p[1])) {
        if (v->n == MAX_RELEASE) return false;
        s = str_slice(s, 1, s.n);
        take_number(&s, &v->release[v->n++]);
    }
    for (size_t i = 0; i < sizeof pres / sizeof *pres && v->kind < 0; i++)
        if (take_word(&s, pres[i].word, &v->pre)) {
            v->kind = pres[i].kind;
            if (v->pre < 0) v->pre = 0;
        }
    if (take_word(&s, "post", &v->post) || take_word(&s, "rev", &v->post) ||
        take_word(&s, "r", &v->post)) {
        if (v->post < 0) v->post = 0;
    } else if (s.n > 1 && s.p[0] == '-' && ascii_is_digit(s.p[1])) {
        s = str_slice(s, 1, s.n);
        take_number(&s, &v->post);
    }
    if (take_word(&s, "dev", &v->dev) && v->dev < 0) v->dev = 0;
    if (s.n > 1 && s.p[0] == '+') {
        v->local = str_slice(s, 1, s.n);
        s = str_slice(s, s.n, s.n);
    }
    return s.n == 0;
}

/* ---- order ---- */

static int compare_numbers(long a, long b)
{
    return (a > b) - (a < b);
}

static int compare_release(const version *a, const version *b)
{
    int c = compare_numbers(a->epoch, b->epoch);
    for (size_t i = 0; !c && (i < a->n || i < b->n); i++)
        c = compare_numbers(i < a->n ? a->release[i] : 0, i < b->n ? b->release[i] : 0);
    return c;
}

/* 1.dev0 < 1a0 < 1b0 < 1rc0 < 1 */
static long pre_rank(const version *v)
{
    if (v->kind >= 0) return v->kind;
    return v->post < 0 && v->dev >= 0 ? -1 : 3;
}

/* Without the local part. */
static int compare(const version *a, const version *b)
{
    int c = compare_release(a, b);
    if (!c) c = compare_numbers(pre_rank(a), pre_rank(b));
    if (!c) c = compare_numbers(a->pre, b->pre);
    if (!c) c = compare_numbers(a->post, b->post);
    if (!c) c = compare_numbers(a->dev < 0 ? LONG_MAX : a->dev, b->dev < 0 ? LONG_MAX : b->dev);
    return c;
}

static bool is_pre(const version *v)
{
    return v->kind >= 0 || v->dev >= 0;
}

/* ---- conditions ---- */

typedef enum { EXACT, NOT, SMALLER, GREATER, AT_MOST, AT_LEAST, COMPATIBLE, SAME_TEXT } relation;

typedef struct condition {
    relation is;
    version v;
    bool prefix; /* ==1.2.*, !=1.2.* */
} condition;

static bool read_condition(condition *c, const char *text)
{
    static const char *const operators[] = {
        [SAME_TEXT] = "===", [EXACT] = "==",  [NOT] = "!=",    [AT_MOST] = "<=",
        [AT_LEAST] = ">=",   [SMALLER] = "<", [GREATER] = ">", [COMPATIBLE] = "~="};
    *c = (condition){.is = SAME_TEXT};
    mltf_str s = str_from(text);
    if (str_starts(s, "===")) return false; // any text, not a version
    for (int i = EXACT; i < SAME_TEXT; i++)
        if (str_starts(s, operators[i]) && (c->is == SAME_TEXT || strlen(operators[i]) > 1))
            c->is = (relation)i;
    if (c->is == SAME_TEXT) return false;
    s = str_slice(s, strlen(operators[c->is]), s.n);
    c->prefix = str_ends(s, ".*");
    if (c->prefix) s = str_slice(s, 0, s.n - 2);
    return read_version(&c->v, s) && (!c->prefix || c->is == EXACT || c->is == NOT) &&
           (c->is != COMPATIBLE || c->v.n > 1);
}

/* Do v's first n numbers of the release equal those of p? */
static bool has_prefix(const version *v, const version *p, size_t n)
{
    bool same = v->epoch == p->epoch;
    for (size_t i = 0; same && i < n; i++) same = (i < v->n ? v->release[i] : 0) == p->release[i];
    return same;
}

static bool equal(const version *v, const condition *c)
{
    if (c->prefix) return has_prefix(v, &c->v, c->v.n);
    return compare(v, &c->v) == 0 && (c->v.local.n == 0 || str_eq(v->local, c->v.local));
}

static bool meets(const version *v, const condition *c)
{
    const int order = compare(v, &c->v);
    const bool same_release = compare_release(v, &c->v) == 0;
    switch (c->is) {
    case EXACT:
        return equal(v, c);
    case NOT:
        return !equal(v, c);
    case AT_MOST:
        return order <= 0;
    case AT_LEAST:
        return order >= 0;
    case SMALLER: // 1rc1 is not <1, though it comes before
        return order < 0 && !(same_release && is_pre(v) && !is_pre(&c->v) && c->v.post < 0);
    case GREATER: // 1.post1 is not >1
        return order > 0 && !(same_release && v->post >= 0 && !is_pre(&c->v) && c->v.post < 0);
    case COMPATIBLE:
        return order >= 0 && has_prefix(v, &c->v, c->v.n - 1);
    case SAME_TEXT:
        break;
    }
    return true;
}

/* The first version that does not begin with v's first n numbers. */
static version next_prefix(const version *v, size_t n)
{
    version next = {.epoch = v->epoch, .n = n, .kind = -1, .pre = -1, .post = -1, .dev = 0};
    memcpy(next.release, v->release, n * sizeof *next.release);
    next.release[n - 1]++;
    return next;
}

/* Is there anything between the lower and the upper bounds? */
static bool range_is_empty(const condition *all, size_t n)
{
    version low = {.kind = -1, .pre = -1, .post = -1, .dev = 0}, high = low;
    bool above = false, has_high = false, below = false; /* the bound itself is out */
    for (size_t i = 0; i < n; i++) {
        const condition *c = &all[i];
        version from = c->v, to = c->v;
        const bool prefix = c->is == COMPATIBLE || c->prefix;
        if (c->is == NOT) continue;
        if (c->prefix) from.dev = 0;
        if (prefix) to = next_prefix(&c->v, c->is == COMPATIBLE ? c->v.n - 1 : c->v.n);
        if (c->is != SMALLER && c->is != AT_MOST) {
            const int order = compare(&from, &low);
            above = order > 0 ? c->is == GREATER : above || (order == 0 && c->is == GREATER);
            if (order > 0) low = from;
        }
        if (c->is != GREATER && c->is != AT_LEAST) {
            const int order = has_high ? compare(&to, &high) : -1;
            const bool out = c->is == SMALLER || prefix;
            below = order < 0 ? out : below || (order == 0 && out);
            if (order < 0) high = to;
            has_high = true;
        }
    }
    const int order = has_high ? compare(&low, &high) : -1;
    return order > 0 || (order == 0 && (above || below));
}

bool python_versions_conflict(const char *const *texts, size_t n)
{
    enum { MAX_CONDITIONS = 128 };
    condition all[MAX_CONDITIONS];
    const version *only = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < n && kept < MAX_CONDITIONS; i++) {
        condition *c = &all[kept];
        if (!read_condition(c, texts[i])) continue;
        kept++;
        if (c->is == EXACT && !c->prefix && (!only || c->v.local.n)) only = &c->v;
    }
    if (!only) return range_is_empty(all, kept);
    for (size_t i = 0; i < kept; i++)
        if (!meets(only, &all[i])) return true;
    return false;
}
