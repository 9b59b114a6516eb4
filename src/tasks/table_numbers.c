/* See transformers 4.57.6, models/tapas/tokenization_tapas.py, from "class Date" on. Text is lower-cased and its
 * white space collapsed first; years count from 1700 to 2016. */
#include "tasks/table_numbers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/c_locale.h"
#include "base/pytext.h"
#include "base/python_unicode.h"
#include "base/utf8.h"

#define DATE_WORDS_MAX 5 /* words of the longest date */

/* Lower-cased code points of a text. */
typedef struct points {
    uint32_t *p; /* [n] */
    size_t n;
} points;

typedef struct span {
    size_t from, to;
    table_value values[4]; /* a number read twice, a date */
    size_t n;
} span;

typedef struct spans {
    mltf_arena *arena;
    span *p;
    size_t n, cap;
} spans;

static bool is_digit(uint32_t c) /* \d: of any script */
{
    return pyu_decimal(c) >= 0;
}

/* " ".join(text.lower().split()) */
static bool normalize(mltf_arena *a, mltf_str text, points *out)
{
    mltf_buf low = MLTF_BUF_INIT;
    pytext_lower(&low, text);
    const mltf_str plain = pytext_collapse(a, buf_str(&low));
    out->p = arena_calloc(a, plain.n + 1, sizeof *out->p);
    out->n = 0;
    const bool ok = out->p && !a->failed && !low.failed;
    for (const char *s = plain.p, *end = plain.p + plain.n; ok && s < end;)
        out->p[out->n++] = utf8_next(&s);
    mltf_buf_release(&low);
    return ok;
}

static span *span_at(spans *s, size_t from, size_t to, bool create)
{
    for (size_t i = s->n; i-- > 0;)
        if (s->p[i].from == from && s->p[i].to == to) return &s->p[i];
    if (!create) return NULL;
    if (!ARENA_RESERVE(s->arena, s->p, s->cap, s->n + 1)) return NULL;
    s->p[s->n] = (span){.from = from, .to = to};
    return &s->p[s->n++];
}

static void add_value(spans *s, size_t from, size_t to, table_value v)
{
    span *at = span_at(s, from, to, true);
    if (at && at->n < sizeof at->values / sizeof *at->values) at->values[at->n++] = v;
}

/* ASCII text of [from, to), digits: with those of all scripts as ASCII's; false: too long or not ASCII. */
static bool ascii(const points *t, size_t from, size_t to, bool digits, char *out, size_t size)
{
    if (to - from >= size) return false;
    for (size_t i = from; i < to; i++) {
        const int digit = digits ? pyu_decimal(t->p[i]) : -1;
        if (t->p[i] >= 0x80 && digit < 0) return false;
        out[i - from] = digit >= 0 ? (char)('0' + digit) : (char)t->p[i];
    }
    out[to - from] = 0;
    return true;
}

/* ---- numbers ---- */

/* float() of Python for what can come here: sign, digits, point, exponent; no names, no hexadecimal. */
static bool parse_number(const points *t, size_t from, size_t to, double *out)
{
    char text[128], plain[128];
    if (!ascii(t, from, to, true, text, sizeof text)) return false;
    size_t n = strlen(text), k = 0;
    static const char *const suffixes[] = {"st", "nd", "rd", "th"};
    for (size_t i = 0; i < 4; i++)
        if (n >= 2 && strcmp(text + n - 2, suffixes[i]) == 0) {
            n -= 2;
            break;
        }
    for (size_t i = 0; i < n; i++)
        if (text[i] != ',' && !(text[i] == ' ' && k == 0)) plain[k++] = text[i];
    plain[k] = 0;
    size_t i = plain[0] == '+' || plain[0] == '-', digits = 0;
    for (; is_digit((unsigned char)plain[i]); i++) digits++;
    if (plain[i] == '.')
        for (i++; is_digit((unsigned char)plain[i]); i++) digits++;
    if (digits == 0) return false;
    if (plain[i] == 'e') {
        if (!is_digit((unsigned char)plain[i + 1])) return false;
        for (i++; is_digit((unsigned char)plain[i]);) i++;
    }
    if (plain[i]) return false;
    *out = c_strtod(plain, NULL);
    return !isinf(*out);
}

/* ((^|\s)[+-])?((\.\d+)|(\d+(,\d\d\d)*(\.\d*)?)) at `at`; where it ends, or 0. */
static size_t match_unsigned(const points *t, size_t at)
{
    size_t i = at;
    if (i + 1 < t->n && t->p[i] == '.' && is_digit(t->p[i + 1])) {
        for (i++; i < t->n && is_digit(t->p[i]);) i++;
        return i;
    }
    if (i >= t->n || !is_digit(t->p[i])) return 0;
    while (i < t->n && is_digit(t->p[i])) i++;
    while (i + 3 < t->n && t->p[i] == ',' && is_digit(t->p[i + 1]) && is_digit(t->p[i + 2]) &&
           is_digit(t->p[i + 3]))
        i += 4;
    if (i < t->n && t->p[i] == '.')
        for (i++; i < t->n && is_digit(t->p[i]);) i++;
    return i;
}

static size_t match_number(const points *t, size_t at)
{
    const size_t sign =
        at == 0 && t->n && (t->p[0] == '+' || t->p[0] == '-')                              ? 1
        : at + 1 < t->n && t->p[at] == ' ' && (t->p[at + 1] == '+' || t->p[at + 1] == '-') ? 2
                                                                                           : 0;
    const size_t end = sign ? match_unsigned(t, at + sign) : 0;
    return end ? end : match_unsigned(t, at);
}

static void add_numbers(spans *s, const points *t)
{
    for (size_t at = 0; at < t->n;) {
        const size_t end = match_number(t, at);
        if (!end) {
            at++;
            continue;
        }
        table_value v = {0};
        if (parse_number(t, at, end, &v.number)) add_value(s, at, end, v);
        at = end;
    }
}

static void add_word(spans *s, const points *t, size_t from, size_t to)
{
    static const char *const cardinal[] = {"zero", "one",    "two",   "three", "four",
                                           "five", "six",    "seven", "eight", "nine",
                                           "ten",  "eleven", "twelve"};
    static const char *const ordinal[] = {"zeroth", "first",    "second",  "third",  "fourth",
                                          "fifth",  "sixth",    "seventh", "eighth", "ninth",
                                          "tenth",  "eleventh", "twelfth"};
    if (span_at(s, from, to, false)) return;
    table_value v = {0};
    char word[16];
    if (parse_number(t, from, to, &v.number)) add_value(s, from, to, v);
    if (!ascii(t, from, to, false, word, sizeof word)) return;
    for (size_t i = 0; i < 13; i++)
        if (strcmp(word, cardinal[i]) == 0 || strcmp(word, ordinal[i]) == 0) {
            v.number = (double)i;
            add_value(s, from, to, v);
        }
}

/* ---- dates ---- */

/* Letters of the patterns: B month name, b its three letters, Y year, m month, d day, A weekday, s the letter s;
 * a space stands for white space, others for themselves. */
static const char *const date_patterns[] = {
    "B",     "Y",     "Ys",    "b Y", "B Y",   "B d",    "b d",   "d b",    "d B",   "B d, Y",
    "d B Y", "m-d-Y", "Y-m-d", "Y-m", "d b Y", "b d, Y", "d.m.Y", "A, b d", "A, B d"};
static const char *const month_names[] = {"january",   "february", "march",    "april",
                                          "may",       "june",     "july",     "august",
                                          "september", "october",  "november", "december"};
static const char *const day_names[] = {"monday", "tuesday",  "wednesday", "thursday",
                                        "friday", "saturday", "sunday"};

static size_t match_name(const char *s, const char *const *names, size_t n, bool letters3,
                         int *which)
{
    for (size_t i = 0; i < n; i++) {
        const size_t len = letters3 ? 3 : strlen(names[i]);
        const char next = strncmp(s, names[i], len) == 0 ? s[len] : 'x';
        if (next >= 'a' && next <= 'z') continue;
        *which = (int)i + 1;
        return len;
    }
    return 0;
}

/* 1 or 2 digits between 1 and max, as many as there are. */
static size_t match_small(const char *s, int max, int *out)
{
    size_t n = 0;
    while (n < 3 && is_digit((unsigned char)s[n])) n++;
    if (n == 0 || n > 2) return 0;
    *out = n == 1 ? s[0] - '0' : 10 * (s[0] - '0') + (s[1] - '0');
    return *out >= 1 && *out <= max ? n : 0;
}

static bool match_pattern(const char *pattern, const char *s, table_value *v)
{
    for (; *pattern; pattern++) {
        size_t n = 0;
        int weekday;
        switch (*pattern) {
        case 'B':
            n = match_name(s, month_names, 12, false, &v->month);
            break;
        case 'b':
            n = match_name(s, month_names, 12, true, &v->month);
            break;
        case 'A':
            n = match_name(s, day_names, 7, false, &weekday);
            break;
        case 'd':
            n = match_small(s, 31, &v->day);
            break;
        case 'm':
            n = match_small(s, 12, &v->month);
            break;
        case 'Y':
            while (n < 5 && is_digit((unsigned char)s[n])) n++;
            if (n != 4) return false;
            v->year = atoi(s);
            if (v->year == 0) return false; // 0 means that there is none
            break;
        default:
            n = *s == *pattern;
            break;
        }
        if (n == 0) return false;
        s += n;
    }
    return *s == 0;
}

static bool exists(const table_value *v)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const int year = v->year ? v->year : 1900;
    if (year < 1700 || year > 2016) return false;
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return !v->day || v->day <= days[v->month - 1] + (leap && v->month == 2);
}

static void add_date(spans *s, const points *t, size_t from, size_t to)
{
    char text[64];
    if (!ascii(t, from, to, false, text, sizeof text)) return;
    for (size_t i = 0; i < sizeof date_patterns / sizeof *date_patterns; i++) {
        table_value v = {.is_date = true};
        if (!match_pattern(date_patterns[i], text, &v) || !exists(&v)) continue;
        add_value(s, from, to, v);
        return;
    }
}

/* Runs of letters and digits, up to max of them together. */
static void each_span(spans *s, const points *t, size_t max,
                      void (*fn)(spans *, const points *, size_t, size_t))
{
    size_t starts[DATE_WORDS_MAX] = {0}, n = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (!pyu_alnum(t->p[i])) continue;
        if (i == 0 || !pyu_alnum(t->p[i - 1])) {
            if (n == max) {
                memmove(starts, starts + 1, (max - 1) * sizeof *starts);
                n--;
            }
            starts[n++] = i;
        }
        if (i + 1 == t->n || !pyu_alnum(t->p[i + 1]))
            for (size_t k = 0; k < n; k++) fn(s, t, starts[k], i + 1);
    }
}

/* Longer ones first, then earlier ones. */
static int by_length(const void *x, const void *y)
{
    const span *a = x, *b = y;
    const size_t n = a->to - a->from, m = b->to - b->from;
    if (n != m) return n > m ? -1 : 1;
    return a->from < b->from ? -1 : a->from > b->from;
}

static int by_place(const void *x, const void *y)
{
    const span *a = x, *b = y;
    return a->from < b->from ? -1 : a->from > b->from;
}

mltf_status table_parse(mltf_arena *a, mltf_str text, table_values *out, mltf_err *err)
{
    points t;
    spans s = {.arena = a};
    *out = (table_values){0};
    if (!normalize(a, text, &t)) return mltf_fail_memory(err);
    add_numbers(&s, &t);
    each_span(&s, &t, 1, add_word);
    each_span(&s, &t, DATE_WORDS_MAX, add_date);
    if (s.n == 0) return a->failed ? mltf_fail_memory(err) : MLTF_OK;
    qsort(s.p, s.n, sizeof *s.p, by_length);
    size_t kept = 0, n = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool inside = false;
        for (size_t k = 0; k < kept && !inside; k++)
            inside = s.p[k].from <= s.p[i].from && s.p[i].to <= s.p[k].to;
        if (inside) continue;
        n += s.p[i].n;
        s.p[kept++] = s.p[i];
    }
    qsort(s.p, kept, sizeof *s.p, by_place);
    out->p = arena_calloc(a, n ? n : 1, sizeof *out->p);
    if (!out->p) return mltf_fail_memory(err);
    for (size_t i = 0; i < kept; i++)
        for (size_t k = 0; k < s.p[i].n; k++) out->p[out->n++] = s.p[i].values[k];
    return MLTF_OK;
}

/* ---- columns ---- */

static const table_value *first_of(const table_values *v, bool date)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->p[i].is_date == date) return &v->p[i];
    return NULL;
}

void table_consolidate(const table_values *cells, size_t n, table_values *kept)
{
    size_t numbers = 0, dates = 0;
    for (size_t i = 0; i < n; i++) {
        numbers += first_of(&cells[i], false) != NULL;
        dates += first_of(&cells[i], true) != NULL;
        kept[i] = (table_values){0};
    }
    const size_t most = numbers > dates ? numbers : dates;
    if (most == 0 || (double)most < (double)n * 0.7) return;
    for (size_t i = 0; i < n; i++) {
        const table_value *v = first_of(&cells[i], dates == most);
        if (v) kept[i] = (table_values){(table_value *)v, 1};
    }
}

unsigned table_common(const table_value *const *values, size_t n)
{
    unsigned common = 15;
    for (size_t i = 0; i < n; i++) {
        const table_value *v = values[i];
        common &= v->is_date ? (v->year ? 1u : 0) | (v->month ? 2u : 0) | (v->day ? 4u : 0) : 8u;
    }
    return n ? common : 0;
}

int table_compare(const table_value *a, const table_value *b, unsigned common)
{
    if (common & 8) return a->number < b->number ? -1 : a->number > b->number;
    if ((common & 1) && a->year != b->year) return a->year < b->year ? -1 : 1;
    if ((common & 2) && a->month != b->month) return a->month < b->month ? -1 : 1;
    if ((common & 4) && a->day != b->day) return a->day < b->day ? -1 : 1;
    return 0;
}
