/* UTF-8, strict: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef MLTF_BASE_UTF8_H
#define MLTF_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define UTF8_BAD 0xFFFFFFFFu

/* The code point at s[0..n), n > 0; *len its bytes. For a malformed sequence UTF8_BAD and the bytes to
 * skip (the maximal prefix, as Python's "replace" counts them). */
uint32_t utf8_decode(const char *s, size_t n, size_t *len);
/* For text known to be valid: no checks. */
static inline uint32_t utf8_next(const char **p)
{
    const unsigned char *s = (const unsigned char *)*p;
    if (s[0] < 0x80) {
        *p += 1;
        return s[0];
    }
    if (s[0] < 0xE0) {
        *p += 2;
        return (uint32_t)(s[0] & 0x1F) << 6 | (s[1] & 0x3F);
    }
    if (s[0] < 0xF0) {
        *p += 3;
        return (uint32_t)(s[0] & 0x0F) << 12 | (uint32_t)(s[1] & 0x3F) << 6 | (s[2] & 0x3F);
    }
    *p += 4;
    return (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3F) << 12 | (uint32_t)(s[2] & 0x3F) << 6 |
           (s[3] & 0x3F);
}
size_t utf8_encode(char out[4], uint32_t cp); /* bytes written, 1 to 4; cp must be a scalar value or a surrogate (WTF-8) */
bool utf8_valid(const char *s, size_t n);     /* at memory speed for ASCII */
size_t utf8_count(const char *s, size_t n);   /* code points of valid text */
/* Bytes at the end of s that begin a character whose rest is missing: 0 to 3. */
size_t utf8_incomplete_tail(const char *s, size_t n);

#endif
