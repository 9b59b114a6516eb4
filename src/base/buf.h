/* Growing bytes with a bound: every text that input can make longer is built in one of these.
 * The type itself is public (mltf.h), because answers are returned in it. A failed append (no
 * memory, or past `max`) sets `failed` and later appends do nothing: write all, test once. The
 * contents are always followed by a NUL that n does not count, once anything was appended. */
#ifndef MLTF_BASE_BUF_H
#define MLTF_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

void buf_append(mltf_buf *b, const void *p, size_t n);
void buf_putc(mltf_buf *b, char c);
void buf_puts(mltf_buf *b, const char *s);
void buf_put_str(mltf_buf *b, mltf_str s);
void buf_printf(mltf_buf *b, const char *fmt, ...) MLTF_PRINTF(2, 3);
bool buf_reserve(mltf_buf *b, size_t more); /* room for `more` bytes and a NUL behind n */
void buf_clear(mltf_buf *b);                /* n = 0, keeps the memory, clears failed */
mltf_str buf_str(const mltf_buf *b);        /* until the next append */
mltf_status buf_status(const mltf_buf *b, mltf_err *err); /* NO_MEMORY where an append failed */

#endif
