/* Filters that make or show numbers. */
#include "templates/jinja_filters.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/c_locale.h"
#include "base/pytext.h"
#include "base/utf8.h"
#include "base/python_unicode.h"

/* int(text, base) and float(text) of Python: white space around, digits of any script, underscores between digits, which
 * in large bases are letters, too. */
static bool clean_number(mltf_str s, bool letters, char *room, size_t size)
{
    s = pytext_strip(s);
    size_t n = 0;
    bool digit = false, behind_line = false; // what the character before was
    for (const char *p = s.p, *end = s.p + s.n; p < end;) {
        const uint32_t cp = utf8_next(&p);
        const int value = pyu_decimal(cp);
        if (n + 1 >= size || cp == 0 || (value < 0 && cp >= 0x80)) return false;
        const bool is = value >= 0 || (letters && cp < 0x80 && ascii_is_alpha((char)cp));
        if (cp == '_' ? !digit : behind_line && !is) return false;
        digit = is;
        behind_line = cp == '_';
        if (cp != '_') room[n++] = value >= 0 ? (char)('0' + value) : (char)cp;
    }
    room[n] = 0;
    return n > 0 && !behind_line;
}

static bool parse_int(mltf_str s, int base, int64_t *out, bool *too_big)
{
    char room[400], *end;
    *too_big = false;
    if (!clean_number(s, base == 0 || base > 10, room, sizeof room)) return false;
    const char *p = room;
    const bool negative = *p == '-';
    if (*p == '+' || *p == '-') p++;
    if (p[0] == '0' && p[1]) {
        const char c = ascii_lower(p[1]);
        const int prefixed = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        if (prefixed && (base == prefixed || base == 0)) {
            p += 2;
            base = prefixed;
        } else if (base == 0 && strspn(p, "0") != strlen(p)) {
            return false;
        }
    }
    if (!ascii_is_alnum(*p)) return false;
    if (base == 0) base = 10;
    for (const char *q = p; *q; q++) {
        const int d = ascii_is_digit(*q)   ? *q - '0'
                      : ascii_is_alpha(*q) ? ascii_lower(*q) - 'a' + 10
                                           : 99;
        if (d >= base) return false;
    }
    unsigned long long u = strtoull(p, &end, base);
    if (u > (unsigned long long)INT64_MAX || (u == ULLONG_MAX)) *too_big = true;
    *out = negative ? -(int64_t)u : (int64_t)u;
    return *end == 0;
}

static bool parse_float(mltf_str s, double *out)
{
    char room[400], *end;
    if (!clean_number(s, false, room, sizeof room)) return false;
    const char *p = room + (room[0] == '+' || room[0] == '-');
    if (!ascii_is_digit(*p) && *p != '.' && !ascii_same(str_from(p), "nan") &&
        !ascii_same(str_from(p), "inf") && !ascii_same(str_from(p), "infinity"))
        return false;
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) return false;
    *out = c_strtod(room, &end);
    return *end == 0 && end > room;
}

static bool float_to_int(jx *x, double d, jv dflt, jv *out)
{
    if (!isfinite(d)) {
        *out = dflt;
        return true;
    }
    if (d >= 9.2233720368547758e18 || d < -9.2233720368547758e18)
        return x_unsupported(x, "an integer beyond 64 bits is not supported");
    *out = jv_int((int64_t)d);
    return true;
}

/* int(value, default=0, base=10) */
static bool f_int(jx *x, jv self, const jargs *a, jv *out)
{
    const jv dflt = GIVEN(a->v[0]) ? a->v[0] : jv_int(0);
    int64_t base, i;
    double d;
    bool too_big;
    if (!jf_int_argument(x, a->v[1], 10, &base)) return false;
    if (self.t == JV_UNDEFINED) return jv_use_undefined(x, self);
    if (self.t == JV_BIGINT)
        *out = self;
    else if (jv_is_int(self))
        *out = jv_int(jv_as_int(self));
    else if (self.t == JV_FLOAT) {
        if (isinf(self.d)) return x_fail(x, "cannot convert float infinity to integer");
        return float_to_int(x, self.d, dflt, out);
    } else if (self.t == JV_STR) {
        if (base != 0 && (base < 2 || base > 36))
            *out = dflt;
        else if (parse_int(jv_text(self), (int)base, &i, &too_big)) {
            if (too_big) return x_unsupported(x, "an integer beyond 64 bits is not supported");
            *out = jv_int(i);
        } else if (parse_float(jv_text(self), &d)) { // "42.23" gives 42
            return float_to_int(x, d, dflt, out);
        } else {
            *out = dflt;
        }
    } else {
        *out = dflt;
    }
    return true;
}

static bool f_float(jx *x, jv self, const jargs *a, jv *out)
{
    double d;
    if (self.t == JV_UNDEFINED) return jv_use_undefined(x, self);
    if (jv_is_number(self))
        *out = jv_float(jv_as_double(self));
    else if (self.t == JV_BIGINT)
        *out = jv_float(c_strtod(self.s->p, NULL));
    else if (self.t == JV_STR && parse_float(jv_text(self), &d))
        *out = jv_float(d);
    else
        *out = GIVEN(a->v[0]) ? a->v[0] : jv_float(0);
    return true;
}

static bool f_abs(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    if (self.t == JV_UNDEFINED || !jv_is_number(self))
        return x_fail(x, "bad operand type for abs(): '%s'", jv_type_name(self));
    const bool negative = self.t == JV_FLOAT ? signbit(self.d) : jv_as_int(self) < 0;
    return jv_unary(x, negative, self, out);
}

/* round(value, precision=0, method="common") */
static bool f_round(jx *x, jv self, const jargs *a, jv *out)
{
    int64_t digits;
    const jv method = a->v[1];
    if (!jf_int_argument(x, a->v[0].t == JV_NONE ? JV(JV_MISSING) : a->v[0], 0, &digits))
        return false;
    const char how = !GIVEN(method) || (method.t == JV_STR && str_is(jv_text(method), "common"))
                         ? 'r'
                     : method.t == JV_STR && str_is(jv_text(method), "ceil")  ? 'c'
                     : method.t == JV_STR && str_is(jv_text(method), "floor") ? 'f'
                                                                              : 0;
    if (!how) return x_fail(x, "method must be common, ceil or floor");
    if (self.t == JV_UNDEFINED)
        return how == 'r' ? x_fail(x, "type Undefined doesn't define __round__ method")
                          : jv_use_undefined(x, self);
    if (!jv_is_number(self))
        return x_fail(x, "type %s doesn't define __round__ method", jv_type_name(self));
    if (how == 'r') {
        if (self.t != JV_FLOAT) { // to a power of ten if digits are negative, half to even
            int64_t i = jv_as_int(self), power = 1;
            for (int64_t k = digits; k < 0; k++)
                if (__builtin_mul_overflow(power, (int64_t)10, &power)) {
                    *out = jv_int(0);
                    return true;
                }
            int64_t rest = i % power;
            if (rest < 0) rest += power;
            int64_t down = i - rest;
            const int64_t half = power / 2;
            if (power > 1 && (rest > half || (rest == half && (down / power) % 2 != 0)))
                down += power;
            *out = jv_int(down);
            return true;
        }
        if (!isfinite(self.d) || digits > 330) {
            *out = self;
            return true;
        }
        if (digits < 0) {
            if (digits < -310) {
                *out = jv_float(copysign(0.0, self.d));
                return true;
            }
            const double power = pow(10, (double)-digits), scaled = self.d / power;
            *out = jv_float(nearbyint(scaled) * power);
            return true;
        }
        char room[700]; // correctly rounded decimal digits, read back
        c_snprintf(room, sizeof room, "%.*f", (int)digits, self.d);
        *out = jv_float(c_strtod(room, NULL));
        return true;
    }
    jv power, scaled, whole;
    if (!jv_binary(x, JO_POW, jv_int(10), jv_int(digits), &power) ||
        !jv_binary(x, JO_MUL, self, power, &scaled))
        return false;
    const double d = jv_as_double(scaled), r = how == 'c' ? ceil(d) : floor(d);
    if (!isfinite(r)) return x_fail(x, "cannot convert float to integer");
    return float_to_int(x, r, jv_int(0), &whole) && jv_binary(x, JO_DIV, whole, power, out);
}

static bool f_filesizeformat(jx *x, jv self, const jargs *a, jv *out)
{
    static const char *const decimal[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
    static const char *const binary_names[] = {"KiB", "MiB", "GiB", "TiB",
                                               "PiB", "EiB", "ZiB", "YiB"};
    const bool binary = GIVEN(a->v[0]) && jv_truth(a->v[0]);
    const jargs none = {.v = (jv[]){JV(JV_MISSING)}, .n = 1};
    jv value;
    double bytes;
    if (self.t == JV_STR && !parse_float(jv_text(self), &bytes))
        return x_fail(x, "could not convert string to float: %s", jv_show(x, self));
    if (self.t != JV_STR && !jv_is_number(self) && self.t != JV_UNDEFINED)
        return x_fail(x, "float() argument must be a string or a real number, not '%s'",
                      jv_type_name(self));
    if (!f_float(x, self, &none, &value)) return false;
    bytes = value.d;
    const double base = binary ? 1024 : 1000;
    char room[64];
    if (bytes == 1) {
        c_snprintf(room, sizeof room, "1 Byte");
    } else if (bytes < base) {
        c_snprintf(room, sizeof room, "%lld Bytes", (long long)bytes);
    } else {
        double unit = base * base;
        int i = 0;
        while (i < 7 && !(bytes < unit)) {
            i++;
            unit *= base;
        }
        c_snprintf(room, sizeof room, "%.1f %s", base * bytes / unit,
                   binary ? binary_names[i] : decimal[i]);
    }
    return jv_cstr(x, room, out);
}

const jfilter jinja_number_filters[] = {
    {"abs", f_abs, "", 0, 0},
    {"filesizeformat", f_filesizeformat, "binary", 0, 1},
    {"float", f_float, "default", 0, 1},
    {"int", f_int, "default,base", 0, 2},
    {"round", f_round, "precision,method", 0, 2},
    {0},
};
