#include "base/pytext.h"
#include "base/python_unicode.h"

typedef struct uni_range {
    uint32_t from, to;
} uni_range;

/* from, from + step … to each become themselves + delta. */
typedef struct uni_run {
    uint32_t from, to;
    int32_t step, delta;
} uni_run;

#include "base/python_unicode_tables.h"
#include "base/utf8.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

static const uni_range *find_range(const uni_range *r, size_t n, uint32_t cp)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (cp < r[mid].from)
            hi = mid;
        else if (cp > r[mid].to)
            lo = mid + 1;
        else
            return &r[mid];
    }
    return NULL;
}

static bool in_ranges(const uni_range *r, size_t n, uint32_t cp)
{
    return find_range(r, n, cp) != NULL;
}

bool pyu_is(uint32_t cp, pyu_class what)
{
    static const struct {
        const uni_range *r;
        size_t n;
    } tables[] = {
        [PYU_ALPHA] = {uni_isalpha, COUNT(uni_isalpha)},
        [PYU_DECIMAL] = {uni_isdecimal, COUNT(uni_isdecimal)},
        [PYU_DIGIT] = {uni_isdigit, COUNT(uni_isdigit)},
        [PYU_NUMERIC] = {uni_isnumeric, COUNT(uni_isnumeric)},
        [PYU_UPPER] = {uni_isupper, COUNT(uni_isupper)},
        [PYU_LOWER] = {uni_islower, COUNT(uni_islower)},
        [PYU_TITLE] = {uni_istitle, COUNT(uni_istitle)},
        [PYU_PRINTABLE] = {uni_isprintable, COUNT(uni_isprintable)},
    };
    if (what == PYU_SPACE) return pytext_is_space(cp);
    return in_ranges(tables[what].r, tables[what].n, cp);
}

int pyu_decimal(uint32_t cp)
{
    if (cp < 0x80) return cp >= '0' && cp <= '9' ? (int)(cp - '0') : -1;
    const uni_range *r = find_range(uni_isdecimal, COUNT(uni_isdecimal), cp);
    return r ? (int)((cp - r->from) % 10) : -1; // each script's ten stand together, zero first
}

bool pyu_alnum(uint32_t cp)
{
    return pyu_is(cp, PYU_ALPHA) || pyu_is(cp, PYU_DECIMAL) || pyu_is(cp, PYU_DIGIT) ||
           pyu_is(cp, PYU_NUMERIC);
}

bool pyu_cased(uint32_t cp)
{
    return pyu_is(cp, PYU_UPPER) || pyu_is(cp, PYU_LOWER) || pyu_is(cp, PYU_TITLE);
}

static bool ignorable(uint32_t cp)
{
    return in_ranges(uni_isignorable, COUNT(uni_isignorable), cp);
}

/* Unicode's Final_Sigma: behind a letter with case and before none, whatever ignorable characters are between. */
static bool ends_word(mltf_str s, size_t from, size_t to)
{
    bool behind = false;
    while (from > 0) {
        do from--;
        while (from > 0 && ((unsigned char)s.p[from] & 0xC0) == 0x80);
        const char *p = s.p + from;
        const uint32_t cp = utf8_next(&p);
        behind = pyu_cased(cp);
        if (!ignorable(cp)) break;
        behind = false;
    }
    for (const char *p = s.p + to, *end = s.p + s.n; behind && p < end;) {
        const uint32_t cp = utf8_next(&p);
        if (!ignorable(cp)) return !pyu_cased(cp);
    }
    return behind;
}

size_t pyu_lower_at(mltf_str s, size_t at, uint32_t out[3])
{
    enum { SIGMA = 0x3A3, FINAL_SIGMA = 0x3C2 };
    const char *p = s.p + at;
    const uint32_t cp = utf8_next(&p);
    const size_t n = pyu_convert(cp, PYU_TO_LOWER, out);
    if (cp == SIGMA && ends_word(s, at, (size_t)(p - s.p))) out[0] = FINAL_SIGMA;
    return n;
}

size_t pyu_convert(uint32_t cp, pyu_map how, uint32_t out[3])
{
    static const struct {
        const uni_run *runs;
        size_t n_runs;
        const uint32_t (*many)[4];
        size_t n_many;
    } maps[] = {
        [PYU_TO_UPPER] = {uni_upper_runs, COUNT(uni_upper_runs), uni_upper_many,
                          COUNT(uni_upper_many)},
        [PYU_TO_LOWER] = {uni_lower_runs, COUNT(uni_lower_runs), uni_lower_many,
                          COUNT(uni_lower_many)},
        [PYU_TO_TITLE] = {uni_title_runs, COUNT(uni_title_runs), uni_title_many,
                          COUNT(uni_title_many)},
        [PYU_TO_FOLD] = {uni_casefold_runs, COUNT(uni_casefold_runs), uni_casefold_many,
                         COUNT(uni_casefold_many)},
    };
    out[0] = cp;
    // runs with a step of 2 may overlap with others by one character: look at the neighbours, too
    size_t lo = 0, hi = maps[how].n_runs;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (maps[how].runs[mid].from <= cp)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (size_t back = 0; back < 4 && back < lo; back++) {
        const uni_run *r = &maps[how].runs[lo - 1 - back];
        if (cp >= r->from && cp <= r->to && (cp - r->from) % (uint32_t)r->step == 0) {
            out[0] = (uint32_t)((int32_t)cp + r->delta);
            return 1;
        }
    }
    lo = 0;
    hi = maps[how].n_many;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        const uint32_t *m = maps[how].many[mid];
        if (cp < m[0]) {
            hi = mid;
        } else if (cp > m[0]) {
            lo = mid + 1;
        } else {
            size_t n = 0;
            while (n < 3 && m[n + 1]) {
                out[n] = m[n + 1];
                n++;
            }
            return n ? n : 1;
        }
    }
    return 1;
}
