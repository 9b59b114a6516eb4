/* Characters of ASCII, whatever the process's locale says of them: every other byte is none of these. */
#ifndef MLTF_BASE_ASCII_H
#define MLTF_BASE_ASCII_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static inline bool ascii_is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static inline bool ascii_is_alnum(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c);
}
static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}
static inline char ascii_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}
/* What a hexadecimal digit counts, or -1. */
static inline int ascii_hex(char c)
{
    const char low = ascii_lower(c);
    return ascii_is_digit(c) ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}
/* Equal but for the case of ASCII's letters. */
static inline bool ascii_same(mltf_str a, const char *b)
{
    size_t i = 0;
    while (i < a.n && b[i] && ascii_lower(a.p[i]) == ascii_lower(b[i])) i++;
    return i == a.n && !b[i];
}

#endif
