#include "formats/decimal.h"
#include "base/c_locale.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

/* ---- reading ------------------------------------------------------------------------------- */

static const double exact_powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static int floor_log2_pow10(int k)
{
    return (int)(((int64_t)k * 1741647) >> 19);
} // |k| <= 1233

bool decimal_to_double(double *out, uint64_t digits, int64_t exponent)
{
    if (digits == 0) {
        *out = 0.0;
        return true;
    }
    // both factors are doubles without error, so their product or quotient is rounded once
    if (digits <= (uint64_t)1 << 53 && exponent >= -22 && exponent <= 22) {
        const double d = (double)digits;
        *out = exponent < 0 ? d / exact_powers[-exponent] : d * exact_powers[exponent];
        return true;
    }
    if (exponent < DECIMAL_POWER_FIRST || exponent > 308) return false;

    const decimal_power g = decimal_powers[exponent - DECIMAL_POWER_FIRST];
    const int zeros = __builtin_clzll(digits);
    const uint64_t w = digits << zeros;
    // the value is in [P, P + w) * 2^-something, P = w * g a number of 192 bits
    const u128 low = (u128)w * g.lo;
    const u128 high = (u128)w * g.hi + (uint64_t)(low >> 64);
    uint64_t top = (uint64_t)(high >> 64);
    const uint64_t mid = (uint64_t)high;
    int shift = 10; // top has 63 or 64 bits; the mantissa takes its first 53
    // exponent of the value's first bit, were bit 63 of top set
    int e2 = floor_log2_pow10((int)exponent) + 64 - zeros;
    if (top >> 63)
        shift = 11;
    else
        e2 -= 1;
    uint64_t m = top >> shift;
    const u128 rest = (u128)(top & (((uint64_t)1 << shift) - 1)) << 64 | mid;
    const u128 half = (u128)((uint64_t)1 << (shift - 1)) << 64;
    if (rest == half || rest + 1 == half) return false; // P + w may lie on the other side
    if (rest > half) m++;
    if (m >> 53) {
        m >>= 1;
        e2++;
    }
    if (e2 < -1022 || e2 > 1023) return false;
    const uint64_t bits = (uint64_t)(e2 + 1023) << 52 | (m & (((uint64_t)1 << 52) - 1));
    memcpy(out, &bits, sizeof bits);
    return true;
}

static size_t word_at(const char *s, size_t n, const char *word)
{
    size_t i = 0;
    for (; word[i]; i++) {
        if (i >= n || (s[i] | 0x20) != word[i]) return 0;
    }
    return i;
}

size_t decimal_parse(double *out, const char *s, size_t n)
{
    size_t i = 0;
    bool negative = false;
    if (i < n && (s[i] == '-' || s[i] == '+')) negative = s[i++] == '-';
    size_t word = word_at(s + i, n - i, "infinity");
    if (!word) word = word_at(s + i, n - i, "inf");
    if (word) {
        *out = negative ? -INFINITY : INFINITY;
        return i + word;
    }
    if ((word = word_at(s + i, n - i, "nan"))) {
        *out = NAN;
        return i + word;
    }
    const size_t start = i;
    uint64_t digits = 0;
    size_t count = 0, seen = 0; // significant digits kept, digits at all
    int64_t exponent = 0;
    bool point = false, exact = true;
    for (; i < n; i++) {
        if (s[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (s[i] < '0' || s[i] > '9') break;
        seen++;
        if (count < 19) {
            digits = digits * 10 + (uint64_t)(s[i] - '0');
            if (digits) count++;
            if (point) exponent--;
        } else {
            exact = exact && s[i] == '0';
            if (!point) exponent++;
        }
    }
    if (!seen) return 0;
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        size_t j = i + 1;
        bool minus = false;
        if (j < n && (s[j] == '-' || s[j] == '+')) minus = s[j++] == '-';
        if (j < n && s[j] >= '0' && s[j] <= '9') {
            int64_t e = 0;
            for (; j < n && s[j] >= '0' && s[j] <= '9'; j++) {
                if (e < 1000000) e = e * 10 + (s[j] - '0');
            }
            exponent += minus ? -e : e;
            i = j;
        }
    }
    double d;
    if (!exact || !decimal_to_double(&d, digits, exponent)) {
        char small[64];
        char *copy = i - start < sizeof small ? small : malloc(i - start + 1);
        if (!copy) return 0;
        memcpy(copy, s + start, i - start);
        copy[i - start] = '\0';
        d = c_strtod(copy, NULL);
        if (copy != small) free(copy);
    }
    *out = negative ? -d : d;
    return i;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* floor(g * c / 2^128), its lowest bit also set if anything was cut off. */
static uint64_t round_to_odd(decimal_power g, uint64_t c)
{
    const u128 low = (u128)g.lo * c;
    const u128 high = (u128)g.hi * c + (uint64_t)(low >> 64);
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

/* The shortest decimal inside the rounding interval of c * 2^q. `closer`: the lower neighbour is half
 * as far away as the upper one (c is a power of two). */
static uint64_t shortest(uint64_t c, int q, bool closer, int *exponent)
{
    const bool odd = c & 1;
    // k = floor(log10(width of the interval)), so that s below has one digit too many at most
    const int k = (int)(((int64_t)q * 1262611 - (closer ? 524031 : 0)) >> 22);
    const int h = q + floor_log2_pow10(-k) + 1;
    decimal_power g = decimal_powers[-k - DECIMAL_POWER_FIRST];
    g.lo++; // the method wants the power rounded up
    if (g.lo == 0) g.hi++;
    const uint64_t value = round_to_odd(g, (4 * c) << h); // 4 * c * 2^q / 10^k
    const uint64_t lower = round_to_odd(g, (4 * c - (closer ? 1 : 2)) << h) + odd;
    const uint64_t upper = round_to_odd(g, (4 * c + 2) << h) - odd;
    const uint64_t s = value / 4;
    if (s >= 10) {
        const uint64_t t = s / 10;
        const bool down = lower <= 40 * t, up = 40 * t + 40 <= upper;
        if (down != up) {
            *exponent = k + 1;
            return t + up;
        }
    }
    *exponent = k;
    const bool down = lower <= 4 * s, up = 4 * s + 4 <= upper;
    if (down != up) return s + up;
    const uint64_t middle = 4 * s + 2;
    return s + (value > middle || (value == middle && (s & 1)));
}

static uint64_t strip_zeros(uint64_t digits, int *exponent)
{
    while (digits % 10 == 0) {
        digits /= 10;
        (*exponent)++;
    }
    return digits;
}

uint64_t decimal_shortest(double d, int *exponent)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    const uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    const int e = (int)(bits >> 52 & 0x7FF);
    const uint64_t c = e ? fraction | (uint64_t)1 << 52 : fraction;
    const int q = e ? e - 1075 : -1074;
    if (q <= 0 && q > -53 && (c & (((uint64_t)1 << -q) - 1)) == 0) { // a small integer
        *exponent = 0;
        return strip_zeros(c >> -q, exponent);
    }
    const uint64_t digits = shortest(c, q, fraction == 0 && e > 1, exponent);
    return strip_zeros(digits, exponent);
}

/* The shortest digits that read back equal as a float32. Finite f > 0. */
static uint64_t shortest_float(float f, int *exponent)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const uint32_t fraction = bits & 0x7FFFFF;
    const int e = (int)(bits >> 23 & 0xFF);
    const uint64_t c = e ? fraction | 0x800000u : fraction;
    const uint64_t digits = shortest(c, e ? e - 150 : -149, fraction == 0 && e > 1, exponent);
    return strip_zeros(digits, exponent);
}

/* Python's layout: scientific below 1e-4 and from 1e16 on. */
static size_t layout(char out[32], bool negative, uint64_t digits, int exponent)
{
    char text[20];
    int n = 0;
    for (uint64_t v = digits; v; v /= 10)
        text[sizeof text - 1 - (size_t)n++] = (char)('0' + v % 10);
    const char *t = text + sizeof text - n;
    const int point = n + exponent; // digits before the decimal point
    char *p = out;
    if (negative) *p++ = '-';
    if (point < -3 || point > 16) {
        *p++ = *t;
        if (n > 1) {
            *p++ = '.';
            memcpy(p, t + 1, (size_t)n - 1);
            p += n - 1;
        }
        int e = point - 1;
        *p++ = 'e';
        *p++ = e < 0 ? '-' : '+';
        if (e < 0) e = -e;
        if (e >= 100) {
            *p++ = (char)('0' + e / 100);
            e %= 100;
        }
        *p++ = (char)('0' + e / 10);
        *p++ = (char)('0' + e % 10);
    } else if (point <= 0) {
        *p++ = '0';
        *p++ = '.';
        for (int i = point; i < 0; i++) *p++ = '0';
        memcpy(p, t, (size_t)n);
        p += n;
    } else if (n <= point) {
        memcpy(p, t, (size_t)n);
        p += n;
        for (int i = n; i < point; i++) *p++ = '0';
        *p++ = '.';
        *p++ = '0';
    } else {
        memcpy(p, t, (size_t)point);
        p += point;
        *p++ = '.';
        memcpy(p, t + point, (size_t)(n - point));
        p += n - point;
    }
    *p = '\0';
    return (size_t)(p - out);
}

static size_t put(char out[32], const char *word)
{
    const size_t n = strlen(word);
    memcpy(out, word, n + 1);
    return n;
}

size_t decimal_repr(char out[32], double d)
{
    if (isnan(d)) return put(out, "nan");
    if (isinf(d)) return put(out, d < 0 ? "-inf" : "inf");
    if (d == 0) return put(out, signbit(d) ? "-0.0" : "0.0");
    int exponent;
    const uint64_t digits = decimal_shortest(fabs(d), &exponent);
    return layout(out, d < 0, digits, exponent);
}

size_t decimal_repr_float(char out[32], float f)
{
    if (isnan(f) || isinf(f) || f == 0) return decimal_repr(out, (double)f);
    int exponent;
    const uint64_t digits = shortest_float(fabsf(f), &exponent);
    return layout(out, f < 0, digits, exponent);
}
