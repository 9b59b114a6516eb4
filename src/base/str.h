/* Borrowed text: a pointer and a length in bytes, not terminated by NUL. Whoever hands one out says
 * until when it lives. */
#ifndef MLTF_BASE_STR_H
#define MLTF_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "mltf/mltf.h"

#define STR(literal) ((mltf_str){"" literal, sizeof(literal) - 1})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)((s).n > 4096 ? 4096 : (s).n), (s).p ? (s).p : ""

static inline mltf_str str_from(const char *s) { return (mltf_str){s ? s : "", s ? strlen(s) : 0}; }
static inline bool str_eq(mltf_str a, mltf_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_is(mltf_str a, const char *b) { return str_eq(a, str_from(b)); }
static inline bool str_starts(mltf_str s, const char *prefix)
{
    const size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}
static inline bool str_ends(mltf_str s, const char *suffix)
{
    const size_t n = strlen(suffix);
    return s.n >= n && memcmp(s.p + s.n - n, suffix, n) == 0;
}
static inline bool str_contains(mltf_str s, const char *what)
{
    return s.n > 0 && memmem(s.p, s.n, what, strlen(what)) != NULL;
}
static inline mltf_str str_slice(mltf_str s, size_t from, size_t to)
{
    return (mltf_str){s.p + from, to - from};
}

#endif
