/* JSON in (the variables) and out (the tojson filter: json.dumps with ensure_ascii off). */
#include "templates/jinja_internal.h"

#include <math.h>

#include "base/limits.h"
#include "base/utf8.h"

void jinja_mend_utf8(mltf_buf *b, mltf_str s)
{
    for (size_t i = 0; i < s.n;) {
        size_t len;
        const unsigned char *p = (const unsigned char *)s.p + i;
        if (p[0] == 0xed && s.n - i >= 3 && p[1] >= 0xa0 && p[1] <= 0xbf && (p[2] & 0xc0) == 0x80) {
            buf_append(b, p, 3);
            i += 3;
        } else if (utf8_decode(s.p + i, s.n - i, &len) == UTF8_BAD) {
            buf_puts(b, "\xef\xbf\xbd");
            i += len;
        } else {
            buf_append(b, p, len);
            i += len;
        }
    }
}

static bool text_value(jx *x, mltf_str s, jv *out)
{
    if (utf8_valid(s.p, s.n)) {
        if (!x_step(x, s.n / 64)) return false;
        return jv_str_borrow(x, s.p, s.n, utf8_count(s.p, s.n),
                             out); // the context outlives the rendering
    }
    mltf_buf b = MLTF_BUF_INIT;
    jinja_mend_utf8(&b, s);
    return jv_take_buf(x, &b, out);
}

bool jv_from_json(jx *x, const json *j, unsigned depth, jv *out)
{
    if (depth > LIMIT_JSON_DEPTH)
        return x_fail(x, "a variable is nested more than %u deep", LIMIT_JSON_DEPTH);
    if (!j) {
        *out = jv_none();
        return true;
    }
    switch (j->type) {
    case JSON_NULL:
        *out = jv_none();
        return true;
    case JSON_BOOL:
        *out = jv_bool(j->b);
        return true;
    case JSON_INT:
        *out = jv_int(j->i);
        return true;
    case JSON_DOUBLE:
    case JSON_FLOAT:
        *out = jv_float(j->d);
        return true;
    case JSON_BIGINT:
        if (!text_value(x, j->s, out)) return false;
        out->t = JV_BIGINT;
        return true;
    case JSON_STRING:
        return text_value(x, j->s, out);
    case JSON_ARRAY:
        if (!jv_list(x, JV_LIST, j->a.n, out)) return false;
        for (size_t i = 0; i < j->a.n; i++) {
            jv item;
            if (!jv_from_json(x, &j->a.items[i], depth + 1, &item) || !jv_push(x, *out, item))
                return false;
        }
        return true;
    case JSON_OBJECT:
        if (!jv_dict(x, j->o.n, out)) return false;
        for (size_t i = 0; i < j->o.n; i++) {
            jv key, value;
            if (!text_value(x, j->o.members[i].key, &key) ||
                !jv_from_json(x, &j->o.members[i].value, depth + 1, &value) ||
                !jv_dict_set(x, out->m, key, value))
                return false;
        }
        return true;
    }
    return x_fail(x, "not a JSON value");
}

typedef struct dump {
    jx *x;
    mltf_buf *b;
    bool ascii, sort, pretty;
    mltf_str indent, item_separator, key_separator;
} dump;

static void put_json_text(const dump *d, mltf_str s)
{
    mltf_buf *b = d->b;
    buf_putc(b, '"');
    const char *p = s.p, *end = s.p + s.n;
    while (p < end) {
        const char *from = p;
        while (p < end && (unsigned char)*p >= 0x20 && *p != '"' && *p != '\\' &&
               (!d->ascii || (unsigned char)*p < 0x80))
            p++;
        if (d->ascii && p > from &&
            memchr(from, 0x7f, (size_t)(p - from))) { // Python's ASCII form escapes DEL, too
            for (; from < p; from++) {
                if (*from == 0x7f)
                    buf_puts(b, "\\u007f");
                else
                    buf_putc(b, *from);
            }
        } else {
            buf_append(b, from, (size_t)(p - from));
        }
        if (p >= end) break;
        uint32_t cp = utf8_next(&p);
        switch (cp) {
        case '"':
            buf_puts(b, "\\\"");
            break;
        case '\\':
            buf_puts(b, "\\\\");
            break;
        case '\n':
            buf_puts(b, "\\n");
            break;
        case '\r':
            buf_puts(b, "\\r");
            break;
        case '\t':
            buf_puts(b, "\\t");
            break;
        case '\b':
            buf_puts(b, "\\b");
            break;
        case '\f':
            buf_puts(b, "\\f");
            break;
        default:
            if (cp >= 0x10000) {
                cp -= 0x10000;
                buf_printf(b, "\\u%04x\\u%04x", 0xd800 + (cp >> 10), 0xdc00 + (cp & 0x3ff));
            } else {
                buf_printf(b, "\\u%04x", cp);
            }
        }
    }
    buf_putc(b, '"');
}

static void put_number(mltf_buf *b, double v)
{
    if (isnan(v))
        buf_puts(b, "NaN");
    else if (isinf(v))
        buf_puts(b, v < 0 ? "-Infinity" : "Infinity");
    else
        json_write_double(b, v);
}

static void new_line(const dump *d, unsigned depth)
{
    if (!d->pretty) return;
    buf_putc(d->b, '\n');
    for (unsigned i = 0; i < depth && !d->b->failed; i++) buf_put_str(d->b, d->indent);
}

static bool put_json(const dump *d, jv v, unsigned depth);

static bool put_key(const dump *d, jv key)
{
    char room[40];
    mltf_buf b = MLTF_BUF_INIT;
    switch ((jv_type)key.t) {
    case JV_STR:
        put_json_text(d, jv_text(key));
        return true;
    case JV_BOOL:
        buf_puts(d->b, key.b ? "\"true\"" : "\"false\"");
        return true;
    case JV_NONE:
        buf_puts(d->b, "\"null\"");
        return true;
    case JV_INT:
        snprintf(room, sizeof room, "\"%lld\"", (long long)key.i);
        buf_puts(d->b, room);
        return true;
    case JV_FLOAT:
        put_number(&b, key.d);
        buf_printf(d->b, "\"%s\"", b.p ? b.p : "");
        mltf_buf_release(&b);
        return true;
    default:
        return x_fail(d->x, "keys must be str, int, float, bool or None, not %s",
                      jv_type_name(key));
    }
}

static bool put_object(const dump *d, const jdict *m, unsigned depth)
{
    if (m->n == 0) {
        buf_puts(d->b, "{}");
        return true;
    }
    const jentry *e = m->e;
    if (d->sort) {
        jv *keys = arena_alloc_small(&d->x->arena, m->n * sizeof *keys),
           *at = arena_alloc_small(&d->x->arena, m->n * sizeof *at);
        jentry *sorted = arena_alloc_small(&d->x->arena, m->n * sizeof *sorted);
        if (!keys || !at || !sorted) return x_fail_memory(d->x);
        for (size_t i = 0; i < m->n; i++) {
            keys[i] = m->e[i].key;
            at[i] = jv_int((int64_t)i);
        }
        if (!jv_sort(d->x, keys, at, m->n, false)) return false;
        for (size_t i = 0; i < m->n; i++) sorted[i] = m->e[at[i].i];
        e = sorted;
    }
    buf_putc(d->b, '{');
    for (size_t i = 0; i < m->n; i++) {
        if (i) buf_put_str(d->b, d->item_separator);
        new_line(d, depth + 1);
        if (!put_key(d, e[i].key)) return false;
        buf_put_str(d->b, d->key_separator);
        if (!put_json(d, e[i].value, depth + 1)) return false;
    }
    new_line(d, depth);
    buf_putc(d->b, '}');
    return true;
}

static bool put_json(const dump *d, jv v, unsigned depth)
{
    if (depth > LIMIT_JSON_DEPTH)
        return x_fail(d->x, "maximum recursion depth exceeded while encoding a JSON object");
    if (!x_step(d->x, 1)) return false;
    if (d->b->failed)
        return x_fail(d->x, "the output is longer than a template may write (%zu bytes)",
                      (size_t)LIMIT_TEMPLATE_OUTPUT);
    switch ((jv_type)v.t) {
    case JV_NONE:
        buf_puts(d->b, "null");
        return true;
    case JV_BOOL:
        buf_puts(d->b, v.b ? "true" : "false");
        return true;
    case JV_INT:
        buf_printf(d->b, "%lld", (long long)v.i);
        return true;
    case JV_BIGINT:
        buf_put_str(d->b, jv_text(v));
        return true;
    case JV_FLOAT:
        put_number(d->b, v.d);
        return true;
    case JV_STR:
        if (!x_step(d->x, v.s->n / 32)) return false;
        put_json_text(d, jv_text(v));
        return true;
    case JV_LIST:
    case JV_TUPLE:
        if (v.l->n == 0) {
            buf_puts(d->b, "[]");
            return true;
        }
        buf_putc(d->b, '[');
        for (size_t i = 0; i < v.l->n; i++) {
            if (i) buf_put_str(d->b, d->item_separator);
            new_line(d, depth + 1);
            if (!put_json(d, v.l->v[i], depth + 1)) return false;
        }
        new_line(d, depth);
        buf_putc(d->b, ']');
        return true;
    case JV_DICT:
        return put_object(d, v.m, depth);
    default:
        return x_fail(d->x, "Object of type %s is not JSON serializable", jv_type_name(v));
    }
}

/* tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False) */
bool jf_tojson(jx *x, jv self, const jargs *a, jv *out)
{
    mltf_buf b = {.max = LIMIT_TEMPLATE_OUTPUT};
    dump d = {.x = x, .b = &b, .item_separator = STR(", "), .key_separator = STR(": ")};
    if (a->v[0].t != JV_MISSING) d.ascii = jv_truth(a->v[0]);
    const jv indent = a->v[1], separators = a->v[2];
    if (indent.t != JV_MISSING && indent.t != JV_NONE) {
        d.pretty = true;
        d.item_separator = STR(",");
        if (indent.t == JV_STR) {
            d.indent = jv_text(indent);
        } else if (jv_is_int(indent)) {
            int64_t n = jv_as_int(indent);
            if (n > 1024) return x_fail(x, "an indent of %lld is too wide", (long long)n);
            if (n < 0) n = 0;
            char *spaces = arena_alloc_small(&x->arena, (size_t)n + 1);
            if (!spaces) return x_fail_memory(x);
            memset(spaces, ' ', (size_t)n);
            d.indent = (mltf_str){spaces, (size_t)n};
        } else {
            return x_fail(x, "can't multiply sequence by non-int of type '%s'",
                          jv_type_name(indent));
        }
    }
    if (separators.t != JV_MISSING && separators.t != JV_NONE) {
        jv pair;
        if (!jv_to_list(x, separators, &pair)) return false;
        if (pair.l->n != 2) return x_fail(x, "separators must be (item_separator, key_separator)");
        if (pair.l->v[0].t != JV_STR || pair.l->v[1].t != JV_STR)
            return x_fail(x, "separators must be two texts");
        d.item_separator = jv_text(pair.l->v[0]);
        d.key_separator = jv_text(pair.l->v[1]);
    }
    if (a->v[3].t != JV_MISSING) d.sort = jv_truth(a->v[3]);
    put_json(&d, self, 0);
    return jv_take_buf(x, &b, out);
}
