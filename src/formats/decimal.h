/* Doubles as decimal text, both ways exact and independent of the locale.
 *
 * Reading: up to 19 digits go through one 128-bit product whose error is known (the idea of
 * D. Lemire, "Number parsing at a gigabyte per second", 2021); the few inputs that the error leaves
 * open go to c_strtod. Writing: the shortest digits that read back equal, the nearest
 * of them (R. Giulietti, "The Schubfach way to render doubles", 2020), laid out as Python's repr(). */
#ifndef MLTF_FORMATS_DECIMAL_H
#define MLTF_FORMATS_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DECIMAL_POWER_FIRST (-342)
#define DECIMAL_POWER_LAST  324
typedef struct decimal_power {
    uint64_t hi, lo;
} decimal_power;
extern const decimal_power decimal_powers[DECIMAL_POWER_LAST - DECIMAL_POWER_FIRST + 1];

/* digits * 10^exponent, correctly rounded; false where the product cannot decide. */
bool decimal_to_double(double *out, uint64_t digits, int64_t exponent);
/* A number at the start of s[0..n): optional sign, digits with optional fraction and exponent, "inf",
 * "nan" as Python's float() reads them. Returns the bytes used, 0 where there is none. */
size_t decimal_parse(double *out, const char *s, size_t n);

/* repr(d) into out (at least 32 bytes, NUL-terminated); returns its length. Infinities and NaN are
 * written "inf", "-inf", "nan". */
size_t decimal_repr(char out[32], double d);
/* The shortest digits of a finite d > 0: d == digits * 10^*exponent. */
uint64_t decimal_shortest(double d, int *exponent);
/* Like decimal_repr for a float32 taken as such: numpy's str(np.float32(f)) digits, repr()'s layout. */
size_t decimal_repr_float(char out[32], float f);

#endif
