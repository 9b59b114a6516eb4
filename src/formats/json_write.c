/* Values to JSON text, byte for byte as Python's json.dumps() writes them. */
#include "formats/json.h"

#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/utf8.h"
#include "formats/decimal.h"

static void put_unit(mltf_buf *out, uint32_t unit)
{
    static const char digits[] = "0123456789abcdef";
    const char text[6] = {'\\',
                          'u',
                          digits[unit >> 12 & 15],
                          digits[unit >> 8 & 15],
                          digits[unit >> 4 & 15],
                          digits[unit & 15]};
    buf_append(out, text, sizeof text);
}

/* The code point at s, where surrogates may stand as three bytes. Malformed bytes, which the readers
 * let nobody have, become U+FFFD. */
static uint32_t next_code_point(const char *s, size_t n, size_t *len)
{
    uint32_t cp = utf8_decode(s, n, len);
    if (cp != UTF8_BAD) return cp;
    const unsigned char *u = (const unsigned char *)s;
    if (n >= 3 && u[0] == 0xED && u[1] >= 0xA0 && u[1] < 0xC0 && (u[2] & 0xC0) == 0x80) {
        *len = 3;
        return 0xD000u | (uint32_t)(u[1] & 0x3F) << 6 | (u[2] & 0x3F);
    }
    return 0xFFFD;
}

void json_write_string(mltf_buf *out, mltf_str s, bool ensure_ascii)
{
    buf_putc(out, '"');
    size_t start = 0, i = 0;
    while (i < s.n) {
        const unsigned char c = (unsigned char)s.p[i];
        if (c >= ' ' && c != '"' && c != '\\' && (c < 0x7F || !ensure_ascii)) {
            i++;
            continue;
        }
        buf_append(out, s.p + start, i - start);
        size_t len = 1;
        switch (c) {
        case '"':
            buf_append(out, "\\\"", 2);
            break;
        case '\\':
            buf_append(out, "\\\\", 2);
            break;
        case '\n':
            buf_append(out, "\\n", 2);
            break;
        case '\r':
            buf_append(out, "\\r", 2);
            break;
        case '\t':
            buf_append(out, "\\t", 2);
            break;
        case '\f':
            buf_append(out, "\\f", 2);
            break;
        case '\b':
            buf_append(out, "\\b", 2);
            break;
        default: {
            const uint32_t cp = next_code_point(s.p + i, s.n - i, &len);
            if (cp >= 0x10000) {
                put_unit(out, 0xD800 + ((cp - 0x10000) >> 10));
                put_unit(out, 0xDC00 + ((cp - 0x10000) & 0x3FF));
            } else {
                put_unit(out, cp);
            }
        }
        }
        i += len;
        start = i;
    }
    buf_append(out, s.p + start, s.n - start);
    buf_putc(out, '"');
}

void json_write_double(mltf_buf *out, double d)
{
    if (isnan(d)) {
        buf_append(out, "NaN", 3);
    } else if (isinf(d)) {
        buf_puts(out, d < 0 ? "-Infinity" : "Infinity");
    } else {
        char text[32];
        buf_append(out, text, decimal_repr(text, d));
    }
}

void json_write_float(mltf_buf *out, float f)
{
    json_write_double(out, (double)f);
}

static void write_int(mltf_buf *out, int64_t v)
{
    char text[24];
    char *p = text + sizeof text;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        *--p = (char)('0' + u % 10);
    } while (u /= 10);
    if (v < 0) *--p = '-';
    buf_append(out, p, (size_t)(text + sizeof text - p));
}

static void new_line(mltf_buf *out, const json_write_options *o, size_t level)
{
    if (o->indent <= 0) return;
    buf_putc(out, '\n');
    const size_t n = level * (size_t)o->indent;
    if (!buf_reserve(out, n)) return;
    memset(out->p + out->n, ' ', n);
    out->n += n;
    out->p[out->n] = '\0';
}

static void separator(mltf_buf *out, const json_write_options *o, size_t level)
{
    if (o->indent > 0 || o->compact)
        buf_putc(out, ',');
    else
        buf_append(out, ", ", 2);
    new_line(out, o, level);
}

static int by_key(const void *a, const void *b)
{
    const json_member *const *x = a, *const *y = b;
    const size_t n = (*x)->key.n < (*y)->key.n ? (*x)->key.n : (*y)->key.n;
    const int order = n ? memcmp((*x)->key.p, (*y)->key.p, n) : 0;
    if (order) return order;
    if ((*x)->key.n != (*y)->key.n) return (*x)->key.n < (*y)->key.n ? -1 : 1;
    return *x < *y ? -1 : *x > *y; // duplicates keep their order
}

static void write_value(mltf_buf *out, const json *v, const json_write_options *o, size_t level);

static void write_member(mltf_buf *out, const json_member *m, const json_write_options *o,
                         size_t level)
{
    json_write_string(out, m->key, o->ensure_ascii);
    if (o->compact)
        buf_putc(out, ':');
    else
        buf_append(out, ": ", 2);
    write_value(out, &m->value, o, level);
}

static void write_object(mltf_buf *out, const json *v, const json_write_options *o, size_t level)
{
    const json_member **order = NULL;
    if (o->sort_keys && v->o.n > 1) {
        order = malloc(v->o.n * sizeof *order);
        if (!order) {
            out->failed = 1;
            return;
        }
        for (size_t i = 0; i < v->o.n; i++) order[i] = &v->o.members[i];
        qsort(order, v->o.n, sizeof *order, by_key);
    }
    buf_putc(out, '{');
    new_line(out, o, level + 1);
    for (size_t i = 0; i < v->o.n && !out->failed; i++) {
        if (i) separator(out, o, level + 1);
        write_member(out, order ? order[i] : &v->o.members[i], o, level + 1);
    }
    new_line(out, o, level);
    buf_putc(out, '}');
    free(order);
}

static void write_value(mltf_buf *out, const json *v, const json_write_options *o, size_t level)
{
    switch (v->type) {
    case JSON_NULL:
        buf_append(out, "null", 4);
        break;
    case JSON_BOOL:
        buf_puts(out, v->b ? "true" : "false");
        break;
    case JSON_INT:
        write_int(out, v->i);
        break;
    case JSON_BIGINT:
        buf_put_str(out, v->s);
        break;
    case JSON_DOUBLE:
    case JSON_FLOAT:
        if (o->nan_as_null && !isfinite(v->d))
            buf_append(out, "null", 4);
        else
            json_write_double(out, v->d);
        break;
    case JSON_STRING:
        json_write_string(out, v->s, o->ensure_ascii);
        break;
    case JSON_ARRAY:
        if (v->a.n == 0) {
            buf_append(out, "[]", 2);
            break;
        }
        buf_putc(out, '[');
        new_line(out, o, level + 1);
        for (size_t i = 0; i < v->a.n && !out->failed; i++) {
            if (i) separator(out, o, level + 1);
            write_value(out, &v->a.items[i], o, level + 1);
        }
        new_line(out, o, level);
        buf_putc(out, ']');
        break;
    case JSON_OBJECT:
        if (v->o.n == 0)
            buf_append(out, "{}", 2);
        else
            write_object(out, v, o, level);
        break;
    }
}

void json_write(mltf_buf *out, const json *v, const json_write_options *opts)
{
    const json_write_options python = {.ensure_ascii = true};
    if (v)
        write_value(out, v, opts ? opts : &python, 0);
    else
        buf_append(out, "null", 4);
    if (opts && opts->newline) buf_putc(out, '\n');
}

mltf_status json_write_file(const char *dir, const char *name, const json *v,
                            const json_write_options *opts, mltf_err *err)
{
    mltf_buf text = MLTF_BUF_INIT;
    json_write(&text, v, opts);
    char *path = path_join(dir, name);
    mltf_status st = path ? buf_status(&text, err) : mltf_fail_memory(err);
    if (st == MLTF_OK) st = file_write(path, text.p, text.n, err);
    free(path);
    mltf_buf_release(&text);
    return st;
}
