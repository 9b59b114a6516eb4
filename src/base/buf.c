#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/c_locale.h"
#include "base/checked.h"

bool buf_reserve(mltf_buf *b, size_t more)
{
    if (b->failed) return false;
    size_t need;
    const size_t max = b->max ? b->max : SIZE_MAX / 2;
    if (!checked_add(&need, b->n, more) || need > max || !checked_add(&need, need, 1)) {
        b->failed = 1;
        return false;
    }
    if (need <= b->cap) return true;
    size_t cap = b->cap < 64 ? 64 : b->cap + b->cap / 2;
    if (cap < need) cap = need;
    char *p = realloc(b->p, cap);
    if (!p) {
        b->failed = 1;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void buf_append(mltf_buf *b, const void *p, size_t n)
{
    if (!buf_reserve(b, n)) return;
    if (n) memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void buf_putc(mltf_buf *b, char c) { buf_append(b, &c, 1); }
void buf_puts(mltf_buf *b, const char *s) { buf_append(b, s, strlen(s)); }
void buf_put_str(mltf_buf *b, mltf_str s) { buf_append(b, s.p, s.n); }

void buf_printf(mltf_buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int n = c_vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n >= 0 && buf_reserve(b, (size_t)n)) {
        c_vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    } else {
        b->failed = 1;
    }
    va_end(again);
}

void buf_clear(mltf_buf *b)
{
    b->n = 0;
    b->failed = 0;
    if (b->p) b->p[0] = '\0';
}

mltf_str buf_str(const mltf_buf *b) { return (mltf_str){b->p ? b->p : "", b->n}; }

mltf_status buf_status(const mltf_buf *b, mltf_err *err)
{
    if (!b->failed) return MLTF_OK;
    if (b->max && b->n + 1 >= b->max / 2)
        return mltf_fail(err, MLTF_NO_MEMORY, "text grew past its limit of %zu bytes", b->max);
    return mltf_fail_memory(err);
}

void mltf_buf_release(mltf_buf *b)
{
    if (!b) return;
    free(b->p);
    *b = (mltf_buf){.max = b->max};
}
