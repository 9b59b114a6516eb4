/* The parts of a GGUF file, written one after the other; see formats/gguf.h for their order. */
#ifndef MLTF_TESTS_GGUF_BUILD_H
#define MLTF_TESTS_GGUF_BUILD_H

#include <string.h>

#include "base/buf.h"
#include "formats/gguf.h"

static inline void u32(mltf_buf *b, uint32_t v)
{
    for (int i = 0; i < 4; i++) buf_putc(b, (char)(v >> (8 * i)));
}
static inline void u64(mltf_buf *b, uint64_t v)
{
    for (int i = 0; i < 8; i++) buf_putc(b, (char)(v >> (8 * i)));
}
static inline void text(mltf_buf *b, const char *s)
{
    u64(b, strlen(s));
    buf_puts(b, s);
}
static inline void header(mltf_buf *b, uint64_t tensors, uint64_t values)
{
    buf_puts(b, "GGUF");
    u32(b, 3);
    u64(b, tensors);
    u64(b, values);
}
static inline void kv_u32(mltf_buf *b, const char *key, uint32_t v)
{
    text(b, key);
    u32(b, GGUF_V_U32);
    u32(b, v);
}
static inline void kv_text(mltf_buf *b, const char *key, const char *v)
{
    text(b, key);
    u32(b, GGUF_V_STRING);
    text(b, v);
}
static inline void tensor(mltf_buf *b, const char *name, size_t ndim, uint64_t d0, uint64_t d1,
                          uint32_t type, uint64_t offset)
{
    text(b, name);
    u32(b, (uint32_t)ndim);
    if (ndim > 0) u64(b, d0);
    for (size_t i = 1; i < ndim; i++) u64(b, d1);
    u32(b, type);
    u64(b, offset);
}
static inline void pad(mltf_buf *b)
{
    while (b->n % 32) buf_putc(b, 0);
}
static inline void strings(mltf_buf *b, const char *key, const char *const *s, size_t n)
{
    text(b, key);
    u32(b, GGUF_V_ARRAY);
    u32(b, GGUF_V_STRING);
    u64(b, n);
    for (size_t i = 0; i < n; i++) text(b, s[i]);
}

#endif
