/* Numbers between bounds and multiples of steps, as grammars over their digits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/decimal.h"
#include "gen/schema_number.h"
#include "gen/text_dfa.h"

#define FAR ((int64_t)999999999999999999) /* 18 digits */

static ast *digit_run(ast_builder *b, uint32_t min, uint32_t max)
{
    char_set d = {.n = 0};
    char_set_add(&d, '0', '9');
    return ast_repeat(b, ast_chars(b, &d), min, max);
}

static ast *one_of_chars(ast_builder *b, char from, char to)
{
    char_set d = {.n = 0};
    char_set_add(&d, (uint32_t)from, (uint32_t)to);
    return ast_chars(b, &d);
}

static ast *any_integer(ast_builder *b)
{
    ast *positive =
        ast_or(b, ast_lit(b, "0"), ast_cat(b, one_of_chars(b, '1', '9'), digit_run(b, 0, 17)));
    return ast_cat(b, ast_repeat(b, ast_lit(b, "-"), 0, 1), positive);
}

/* Exponents of two digits: all that is written, and nothing that leaves a double. */
static ast *any_number(ast_builder *b)
{
    ast *fraction = ast_cat(b, ast_lit(b, "."), digit_run(b, 1, 18));
    ast *sign = ast_or(b, ast_lit(b, "+"), ast_lit(b, "-"));
    ast *exponent = ast_cat(b, ast_or(b, ast_lit(b, "e"), ast_lit(b, "E")),
                            ast_cat(b, ast_repeat(b, sign, 0, 1), digit_run(b, 1, 2)));
    return ast_cat(b, any_integer(b),
                   ast_cat(b, ast_repeat(b, fraction, 0, 1), ast_repeat(b, exponent, 0, 1)));
}

/* ---- ranges of digits ---------------------------------------------------------------------- */

static bool all_are(const char *s, size_t n, char c)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] != c) return false;
    return true;
}

/* Digit strings from lo to hi, both of n digits: a ragged beginning, a ragged end, and what lies between. */
static ast *same_length(ast_builder *b, const char *lo, const char *hi, size_t n)
{
    static const char nines[] = "9999999999999999999", zeros[] = "0000000000000000000";
    if (n == 0) return ast_empty(b);
    if (lo[0] == hi[0])
        return ast_cat(b, one_of_chars(b, lo[0], lo[0]), same_length(b, lo + 1, hi + 1, n - 1));
    ast *alt = ast_alt(b);
    char from = lo[0], to = hi[0];
    if (!all_are(lo + 1, n - 1, '0')) {
        ast_add(b, alt,
                ast_cat(b, one_of_chars(b, from, from), same_length(b, lo + 1, nines, n - 1)));
        from++;
    }
    if (!all_are(hi + 1, n - 1, '9')) {
        ast_add(b, alt, ast_cat(b, one_of_chars(b, to, to), same_length(b, zeros, hi + 1, n - 1)));
        to--;
    }
    if (from <= to)
        ast_add(
            b, alt,
            ast_cat(b, one_of_chars(b, from, to), digit_run(b, (uint32_t)n - 1, (uint32_t)n - 1)));
    return alt;
}

static ast *natural_range(ast_builder *b, uint64_t lo, uint64_t hi)
{
    ast *alt = ast_alt(b);
    for (uint64_t from = lo;;) {
        char x[24], y[24];
        const int n = snprintf(x, sizeof x, "%llu", (unsigned long long)from);
        uint64_t last = 9;
        for (int i = 1; i < n; i++) last = last * 10 + 9;
        if (last > hi) last = hi;
        snprintf(y, sizeof y, "%llu", (unsigned long long)last);
        ast_add(b, alt, same_length(b, x, y, (size_t)n));
        if (last >= hi) break;
        from = last + 1;
    }
    return alt;
}

static ast *integer_range(ast_builder *b, int64_t lo, int64_t hi)
{
    ast *alt = ast_alt(b);
    if (lo < 0)
        ast_add(b, alt,
                ast_cat(b, ast_lit(b, "-"),
                        natural_range(b, hi < 0 ? (uint64_t)-hi : 1, (uint64_t)-lo)));
    if (hi >= 0) ast_add(b, alt, natural_range(b, lo > 0 ? (uint64_t)lo : 0, (uint64_t)hi));
    return alt;
}

/* ---- fractions ----------------------------------------------------------------------------- */

/* A bound's digits behind the point, as far as they have not been written; digits past its end are 0. */
typedef struct tail {
    const char *digits; /* NULL: no bound any more */
    bool open;          /* the bound itself is outside */
} tail;

static bool is_zero(tail t)
{
    return t.digits[strspn(t.digits, "0")] == 0;
}

static tail behind(tail t, char digit)
{
    const char mine = *t.digits ? *t.digits : '0';
    if (mine != digit) return (tail){NULL, false};
    return (tail){*t.digits ? t.digits + 1 : t.digits, t.open};
}

/* At most `left` further digits, such that the fraction stays between the bounds. */
static ast *fraction_digits(ast_builder *b, tail lo, tail hi, uint32_t left, bool may_end)
{
    if (lo.digits && !lo.open && is_zero(lo)) lo.digits = NULL;
    if (!lo.digits && !hi.digits) return digit_run(b, may_end ? 0 : 1, left);
    ast *alt = ast_alt(b);
    const bool ends = may_end && !lo.digits && !(hi.open && is_zero(hi));
    if (ends) ast_add(b, alt, ast_empty(b));
    const char l = lo.digits && *lo.digits ? *lo.digits : '0', h = !hi.digits   ? '9'
                                                                   : *hi.digits ? *hi.digits
                                                                                : '0';
    for (char d = l; left && d <= h && ast_ok(b); d++) {
        const tail next_lo = lo.digits ? behind(lo, d) : lo,
                   next_hi = hi.digits ? behind(hi, d) : hi;
        char to = d; // digits strictly between go together
        while (!next_lo.digits && !next_hi.digits && to + 1 <= h && !(hi.digits && to + 1 == h))
            to++;
        ast_add(b, alt,
                ast_cat(b, one_of_chars(b, d, to),
                        fraction_digits(b, next_lo, next_hi, left - 1, true)));
        d = to;
    }
    return alt && alt->n ? alt : ast_nothing(b);
}

/* Nothing, or a point and digits. */
static ast *fraction_between(ast_builder *b, tail lo, tail hi, uint32_t digits)
{
    ast *some = ast_cat(b, ast_lit(b, "."), fraction_digits(b, lo, hi, digits, false));
    const bool zero =
        (!lo.digits || (!lo.open && is_zero(lo))) && (!hi.digits || !(hi.open && is_zero(hi)));
    return zero ? ast_or(b, ast_empty(b), some) : some;
}

/* ---- bounds -------------------------------------------------------------------------------- */

typedef struct decimal {
    double value;
    bool open;
    uint64_t whole; /* of its absolute value */
    char part[24];  /* digits behind the point, no zeros at the end */
} decimal;

/* As decimal digits, if there are not too many. */
static bool decimal_of(decimal *d, double value, bool open)
{
    *d = (decimal){.value = value, .open = open};
    if (!(fabs(value) <= (double)FAR)) return false;
    if (value == 0) return true;
    int exponent;
    uint64_t digits = decimal_shortest(fabs(value), &exponent);
    for (; exponent > 0; exponent--) digits *= 10; // within FAR
    if (-exponent >= (int)sizeof d->part) return false;
    for (int i = -exponent; i-- > 0; digits /= 10) d->part[i] = (char)('0' + digits % 10);
    d->whole = digits;
    return true;
}

/* Numbers without sign from lo to hi (NULL: no bound) with at most `places` digits behind the point; both are taken by
 * their absolute value. */
static ast *magnitudes(ast_builder *b, const decimal *lo, const decimal *hi, uint32_t places)
{
    const uint64_t from = lo ? lo->whole : 0, to = hi ? hi->whole : (uint64_t)FAR;
    char longest[24];
    // together at most 15 digits, or reading could round onto an excluded bound
    const uint64_t most = hi ? to : from;
    const uint32_t used =
        (uint32_t)snprintf(longest, sizeof longest, "%llu", (unsigned long long)most);
    const uint32_t readable = used < 14 ? 15 - used : 1,
                   digits = places < readable ? places : readable;
    const tail none = {NULL, false}, low = lo ? (tail){lo->part, lo->open} : none,
               high = hi ? (tail){hi->part, hi->open} : none;
    ast *alt = ast_alt(b);
    if (from == to) {
        ast_add(b, alt,
                ast_cat(b, natural_range(b, from, from), fraction_between(b, low, high, digits)));
        return alt;
    }
    ast_add(b, alt,
            ast_cat(b, natural_range(b, from, from), fraction_between(b, low, none, digits)));
    if (to - from > 1)
        ast_add(b, alt,
                ast_cat(b, natural_range(b, from + 1, to - 1),
                        fraction_between(b, none, none, digits)));
    ast_add(b, alt, ast_cat(b, natural_range(b, to, to), fraction_between(b, none, high, digits)));
    return alt;
}

/* Numbers between two bounds of any sign; -0 and its like are numbers too. */
static ast *number_range(ast_builder *b, const decimal *lo, const decimal *hi, uint32_t places)
{
    static const decimal zero = {.whole = 0}, above_zero = {.whole = 0, .open = true};
    ast *alt = ast_alt(b);
    if (!hi || hi->value > 0 || (hi->value == 0 && !hi->open)) {
        const decimal *from = lo && lo->value > 0                ? lo
                              : lo && lo->value == 0 && lo->open ? &above_zero
                                                                 : &zero;
        if (!(hi && hi->value == 0 && from->open)) ast_add(b, alt, magnitudes(b, from, hi, places));
    }
    if (!lo || lo->value < 0) {
        const decimal *near = hi && hi->value < 0                ? hi
                              : hi && hi->value == 0 && hi->open ? &above_zero
                                                                 : &zero;
        ast_add(b, alt, ast_cat(b, ast_lit(b, "-"), magnitudes(b, near, lo, places)));
    }
    return alt && alt->n ? alt : ast_nothing(b);
}

typedef struct bounds {
    double lo, hi; /* infinite: none */
    bool lo_open, hi_open;
    double *except; /* [n] ascending */
    size_t n;
    bool any;
} bounds;

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static bounds bounds_of(ast_builder *b, const json *schema)
{
    static const struct {
        const char *key;
        bool upper, open;
    } keys[] = {{"minimum", false, false},
                {"exclusiveMinimum", false, true},
                {"maximum", true, false},
                {"exclusiveMaximum", true, true}};
    bounds out = {.lo = -INFINITY, .hi = INFINITY};
    for (size_t i = 0; i < 4; i++) {
        const json *v = json_get(schema, keys[i].key);
        if (!v) continue;
        if (!json_is_number(v) || isnan(json_double(v, NAN))) {
            ast_fail(b, MLTF_INVALID_INPUT, "\"%s\" in the schema has to be a number", keys[i].key);
            continue;
        }
        const double d = json_double(v, 0);
        out.any = true;
        if (keys[i].upper && (d < out.hi || (d == out.hi && keys[i].open))) {
            out.hi = d;
            out.hi_open = keys[i].open;
        } else if (!keys[i].upper && (d > out.lo || (d == out.lo && keys[i].open))) {
            out.lo = d;
            out.lo_open = keys[i].open;
        }
    }
    const json *except = json_get(schema, "$except");
    out.except = arena_calloc(&b->arena, json_len(except) + 1, sizeof *out.except);
    for (size_t i = 0; out.except && i < json_len(except); i++)
        if (json_is_number(json_at(except, i)))
            out.except[out.n++] = json_double(json_at(except, i), 0);
    if (out.n) qsort(out.except, out.n, sizeof *out.except, ascending);
    out.any |= out.n > 0;
    // 18 digits are the most that is written: what lies beyond bounds nothing, or leaves nothing
    if (isfinite(out.lo) && out.lo < -(double)FAR) out.lo = -INFINITY;
    if (isfinite(out.hi) && out.hi > (double)FAR) out.hi = INFINITY;
    if (out.lo > (double)FAR || out.hi < -(double)FAR)
        ast_fail(b, MLTF_UNSUPPORTED,
                 "the schema asks for a number of more than 18 digits, which is not supported");
    return out;
}

static int64_t clamped(double d)
{
    return d > (double)FAR ? FAR : d < -(double)FAR ? -FAR : (int64_t)d;
}

/* ---- multiples ----------------------------------------------------------------------------- */

#define MOST_DIGITS                                                                                \
    15 /* of a step, before and behind the point together: all that a double keeps */

/* A step is whole / 10^places, in lowest terms of ten: places > 0 only where whole does not end in 0. */
typedef struct number_step {
    uint64_t whole;
    int places;
} number_step;

static bool step_of(number_step *out, double value)
{
    int exponent;
    if (!(value > 0) || !isfinite(value)) return false;
    out->whole = decimal_shortest(value, &exponent);
    for (; exponent < 0 && out->whole % 10 == 0; exponent++) out->whole /= 10;
    for (; exponent > 0 && out->whole <= (uint64_t)FAR; exponent--) out->whole *= 10;
    out->places = -exponent;
    return exponent <= 0 && out->places <= MOST_DIGITS && out->whole <= (uint64_t)FAR;
}

/* digits * 10^exponent as a multiple of the step. */
static bool divides(number_step step, uint64_t digits, int exponent)
{
    if (digits == 0) return true;
    for (; digits % 10 == 0; exponent++) digits /= 10;
    if (exponent + step.places < 0) return false;
    uint64_t r = digits % step.whole;
    for (int i = exponent + step.places; i > 0 && r; i--) r = r * 10 % step.whole;
    return r == 0;
}

bool schema_is_multiple(const json *number, double value)
{
    number_step step;
    int exponent = 0;
    if (!step_of(&step, value)) return fmod(json_double(number, 0), value) == 0;
    if (json_is(number, JSON_INT)) {
        const uint64_t i = (uint64_t)number->i;
        return divides(step, number->i < 0 ? 0 - i : i, 0);
    }
    const double x = fabs(json_double(number, 0));
    if (!isfinite(x)) return false;
    const uint64_t digits = x > 0 ? decimal_shortest(x, &exponent) : 0;
    return divides(step, digits, exponent);
}

double schema_common_multiple(double a, double b)
{
    number_step x, y;
    double out;
    if (!step_of(&x, a) || !step_of(&y, b)) return 0;
    for (; x.places < y.places && x.whole <= (uint64_t)FAR; x.places++) x.whole *= 10;
    for (; y.places < x.places && y.whole <= (uint64_t)FAR; y.places++) y.whole *= 10;
    uint64_t g = x.whole, r = y.whole;
    while (r) {
        const uint64_t t = g % r;
        g = r;
        r = t;
    }
    if (x.whole > (uint64_t)FAR || x.whole / g > (uint64_t)999999999999999 / y.whole) return 0;
    return decimal_to_double(&out, x.whole / g * y.whole, -x.places) ? out : 0;
}

/* Texts of numbers (any sign, digits, a point) whose value is a multiple. Digits are read as one number N without its
 * last zeros, of which at most `zeros` are counted apart: that many the step has at its end. States:
 *     1                                    no digit but 0 so far
 *     2 + r + whole * t                    before the point: N % whole == r, and t zeros behind it
 *     2 + r + whole * (zeros + 1 + j)      j digits behind the point, at most as many as the step has */
static text_dfa *multiples(ast_builder *b, number_step step)
{
    uint64_t m = step.whole;
    uint32_t zeros = 0;
    for (; step.places == 0 && m % 10 == 0; zeros++) m /= 10;
    const uint32_t places = (uint32_t)step.places;
    const uint64_t n = 2 + m * (zeros + 1 + places + 1);
    text_dfa *d = text_dfa_new(b, n > UINT32_MAX ? UINT32_MAX : (uint32_t)n, 13);
    if (!d) return NULL;
    enum { SIGN = 10, POINT = 11, OTHER = 12 };
    for (unsigned c = 0; c < 256; c++) d->byte_class[c] = OTHER;
    for (unsigned c = 0; c < 10; c++) d->byte_class['0' + c] = (uint8_t)c;
    d->byte_class['-'] = SIGN;
    d->byte_class['.'] = POINT;
    d->start = 1;
    d->accepts[1] = true;
    d->next[1 * 13 + 0] = d->next[1 * 13 + SIGN] = 1;
    d->next[1 * 13 + POINT] = (uint32_t)(2 + m * (zeros + 1));
    for (uint32_t digit = 1; digit < 10; digit++) d->next[13 + digit] = 2 + (uint32_t)(digit % m);
    for (uint32_t k = 0; k < zeros + 1 + places + 1; k++)
        for (uint64_t r = 0; r < m; r++) {
            const uint32_t q = (uint32_t)(2 + r + m * k), behind = k > zeros ? k - zeros - 1 : 0;
            uint32_t *next = d->next + (size_t)q * 13;
            uint64_t whole = r; // N's remainder with the zeros that are still to come
            for (uint32_t i = k > zeros ? behind : 0; i < places; i++) whole = whole * 10 % m;
            d->accepts[q] = whole == 0 && k >= zeros;
            for (uint32_t digit = 0; digit < 10; digit++) {
                uint64_t to = r; // with the zeros between
                for (uint32_t i = 0; k <= zeros && i < (digit ? k : 0); i++) to = to * 10 % m;
                to = (to * 10 + digit) % m;
                if (k < zeros && digit == 0)
                    next[digit] = (uint32_t)(2 + r + m * (k + 1));
                else if (k <= zeros)
                    next[digit] = (uint32_t)(2 + to + (digit ? 0 : m * zeros));
                else if (behind < places)
                    next[digit] = (uint32_t)(2 + (r * 10 + digit) % m + m * (k + 1));
                else // zeros change nothing, and other digits are too fine
                    next[digit] = digit ? 0 : q;
            }
            if (k <= zeros) next[POINT] = k < zeros ? 0 : (uint32_t)(2 + r + m * (zeros + 1));
        }
    return d;
}

/* The numbers of `texts` (without exponents) that multipleOf asks for. */
static ast *of_steps(ast_builder *b, const json *schema, text_dfa *texts)
{
    const json *step = json_get(schema, "multipleOf"), *not = json_get(schema, "$notMultiples");
    number_step s;
    if (step && step_of(&s, json_double(step, 0))) texts = text_dfa_both(b, texts, multiples(b, s));
    for (size_t i = 0; i < json_len(not ); i++)
        if (step_of(&s, json_double(json_at(not, i), 0)))
            texts = text_dfa_without(b, texts, multiples(b, s));
    if (ast_ok(b) && text_dfa_is_empty(texts))
        return ast_impossible(b, "no multiple of \"multipleOf\" is within the bounds");
    return text_dfa_ast(b, texts, false);
}

/* Has the schema steps? Refuses those that cannot be told by digits. */
static bool has_steps(ast_builder *b, const json *schema)
{
    const json *step = json_get(schema, "multipleOf");
    number_step s;
    if (step && !(json_double(step, 0) > 0))
        ast_fail(b, MLTF_INVALID_INPUT, "\"multipleOf\" in the schema has to be a number above 0");
    else if (step && !step_of(&s, json_double(step, 0)))
        ast_fail(b, MLTF_UNSUPPORTED, "\"multipleOf\" in the schema has more than %d digits",
                 MOST_DIGITS);
    return step || json_len(json_get(schema, "$notMultiples"));
}

/* Beyond how many digits multiples are not written where there is no bound: each digit takes a state for each
 * remainder. */
static int64_t far_multiple(const json *schema)
{
    number_step s;
    if (!step_of(&s, json_double(json_get(schema, "multipleOf"), 1))) return FAR;
    int64_t far = 9999;
    while ((double)far < 1000 * json_double(json_get(schema, "multipleOf"), 1) && far < FAR)
        far = far * 10 + 9;
    int digits = 5 + s.places; // together no more than a double keeps
    for (uint64_t states = s.whole * 5; states < 7000 && digits < MOST_DIGITS; states += s.whole) {
        far = far * 10 + 9;
        digits++;
    }
    return far;
}

/* ---- types --------------------------------------------------------------------------------- */

static ast *integers(ast_builder *b, const bounds *r, int64_t lo, int64_t hi)
{
    ast *alt = ast_alt(b);
    for (size_t i = 0; i < r->n && lo <= hi; i++) {
        const double x = r->except[i];
        if (x != floor(x) || x < (double)lo || x > (double)hi) continue;
        if (lo < (int64_t)x) ast_add(b, alt, integer_range(b, lo, (int64_t)x - 1));
        lo = (int64_t)x + 1;
    }
    if (lo <= hi) ast_add(b, alt, integer_range(b, lo, hi));
    return alt;
}

ast *schema_integer(ast_builder *b, const json *schema)
{
    const bounds r = bounds_of(b, schema);
    const bool steps = has_steps(b, schema);
    if (!ast_ok(b)) return NULL;
    if (!r.any && !steps) return any_integer(b);
    int64_t lo = clamped(ceil(r.lo)), hi = clamped(floor(r.hi));
    if (r.lo_open && ceil(r.lo) == r.lo) lo++;
    if (r.hi_open && floor(r.hi) == r.hi) hi--;
    if (!steps) {
        ast *alt = integers(b, &r, lo, hi);
        if (alt && alt->n == 0)
            return ast_impossible(b, "no integer lies between \"minimum\" and \"maximum\"");
        return alt;
    }
    const int64_t far = far_multiple(schema);
    if (isinf(r.hi)) hi = lo > far / 10 && lo <= FAR / 10 ? lo * 10 : far;
    if (isinf(r.lo)) lo = hi < -far / 10 && hi >= -FAR / 10 ? hi * 10 : -far;
    ast_builder texts = {0};
    ast *alt = integers(&texts, &r, lo, hi);
    return of_steps(b, schema, text_dfa_of(b, &texts, alt && alt->n ? alt : ast_nothing(&texts)));
}

/* Numbers within the bounds but for those that are excepted, without exponents. */
static ast *numbers(ast_builder *b, const bounds *r, uint32_t places)
{
    ast *alt = ast_alt(b);
    decimal lo, hi;
    double from = r->lo;
    bool from_open = r->lo_open, readable = true;
    for (size_t i = 0; i <= r->n; i++) { // up to each excluded number, then up to the end
        const double to = i < r->n ? r->except[i] : r->hi;
        const bool to_open = i < r->n ? true : r->hi_open;
        if (to < from || (i < r->n && to > r->hi)) continue;
        if (to > from || (!from_open && !to_open)) {
            if (isfinite(from)) readable &= decimal_of(&lo, from, from_open);
            if (isfinite(to)) readable &= decimal_of(&hi, to, to_open);
            ast_add(
                b, alt,
                number_range(b, isfinite(from) ? &lo : NULL, isfinite(to) ? &hi : NULL, places));
        }
        from = to;
        from_open = true;
    }
    if (!readable)
        ast_fail(b, MLTF_UNSUPPORTED,
                 "the schema's bounds of a number have more than 18 digits before or 23 behind the "
                 "point");
    return alt;
}

ast *schema_number(ast_builder *b, const json *schema)
{
    bounds r = bounds_of(b, schema);
    const bool steps = has_steps(b, schema);
    const json *step = json_get(schema, "multipleOf");
    number_step s = {.places = MOST_DIGITS};
    if (!ast_ok(b)) return NULL;
    if (step) step_of(&s, json_double(step, 0));
    if (step && s.places == 0) return schema_integer(b, schema);
    if (!steps && !r.any) return any_number(b);
    if (!steps) {
        ast *alt = numbers(b, &r, MOST_DIGITS);
        if (alt && alt->n == 0)
            return ast_impossible(b, "no number lies between \"minimum\" and \"maximum\"");
        return alt;
    }
    const double far = (double)far_multiple(schema);
    if (isinf(r.hi)) r.hi = r.lo > far ? (double)FAR : far;
    if (isinf(r.lo)) r.lo = r.hi < -far ? -(double)FAR : -far;
    ast_builder texts = {0};
    ast *alt = numbers(&texts, &r, (uint32_t)s.places);
    return of_steps(b, schema, text_dfa_of(b, &texts, alt && alt->n ? alt : ast_nothing(&texts)));
}
