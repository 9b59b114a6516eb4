/* Arithmetic on numbers that came from outside: false means the result does not fit. */
#ifndef MLTF_BASE_CHECKED_H
#define MLTF_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_add(size_t *out, size_t a, size_t b) { return !__builtin_add_overflow(a, b, out); }
static inline bool checked_mul(size_t *out, size_t a, size_t b) { return !__builtin_mul_overflow(a, b, out); }

#endif
