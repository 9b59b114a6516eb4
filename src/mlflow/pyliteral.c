#include "mlflow/pyliteral.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/utf8.h"
#include "formats/decimal.h"
#include "mlflow/pyvalue_internal.h"

typedef struct reader {
    mltf_arena *a;
    const char *p, *end;
    int depth;
} reader;

static bool parse(reader *r, pv *out);

static void space(reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

static bool eat(reader *r, char c)
{
    space(r);
    if (r->p >= r->end || *r->p != c) return false;
    r->p++;
    return true;
}

static bool escape(reader *r, mltf_buf *b, bool bytes)
{
    if (r->p >= r->end) return false;
    const char c = *r->p++;
    const char *simple = "\\\\''\"\"n\nr\rt\tb\bf\fv\va\a";
    for (const char *s = simple; *s; s += 2)
        if (c == s[0]) {
            buf_putc(b, s[1]);
            return true;
        }
    if (c == '\n') return true;
    const int digits = c == 'x' ? 2 : c == 'u' && !bytes ? 4 : c == 'U' && !bytes ? 8 : 0;
    uint32_t v = 0;
    if (c >= '0' && c <= '7') {
        v = (uint32_t)(c - '0');
        for (int i = 0; i < 2 && r->p < r->end && *r->p >= '0' && *r->p <= '7'; i++)
            v = v * 8 + (uint32_t)(*r->p++ - '0');
    } else if (digits) {
        for (int i = 0; i < digits; i++) {
            if (r->p >= r->end || ascii_hex(*r->p) < 0) return false;
            v = v << 4 | (uint32_t)ascii_hex(*r->p++);
        }
    } else { // an unknown escape stays as it is
        buf_putc(b, '\\');
        buf_putc(b, c);
        return true;
    }
    if (bytes)
        buf_putc(b, (char)v);
    else {
        if (v > 0x10FFFF) return false;
        char utf8[4];
        buf_append(b, utf8, utf8_encode(utf8, v));
    }
    return true;
}

static bool parse_string(reader *r, pv *out)
{
    bool bytes = false, raw = false;
    while (*r->p != '\'' && *r->p != '"') {
        if (*r->p == 'b' || *r->p == 'B')
            bytes = true;
        else if (*r->p == 'r' || *r->p == 'R')
            raw = true;
        if (++r->p >= r->end) return false;
    }
    const char quote = *r->p++;
    const bool triple = r->end - r->p >= 2 && r->p[0] == quote && r->p[1] == quote;
    if (triple) r->p += 2;
    mltf_buf b = MLTF_BUF_INIT;
    bool ok = false;
    while (r->p < r->end) {
        if (*r->p == quote &&
            (!triple || (r->end - r->p >= 3 && r->p[1] == quote && r->p[2] == quote))) {
            r->p += triple ? 3 : 1;
            ok = true;
            break;
        }
        if (*r->p == '\n' && !triple) break;
        const char c = *r->p++;
        if (c != '\\' || raw)
            buf_putc(&b, c);
        else if (!escape(r, &b, bytes))
            break;
    }
    *out = (pv){.kind = bytes ? PV_BYTES : PV_STR, .s = arena_str(r->a, buf_str(&b))};
    mltf_buf_release(&b);
    return ok;
}

static bool parse_number(reader *r, pv *out)
{
    char text[64];
    size_t n = 0;
    bool fraction = false;
    while (r->p < r->end && n + 1 < sizeof text &&
           (strchr("+-._eE", *r->p) || (*r->p >= '0' && *r->p <= '9'))) {
        if (*r->p == '.' || *r->p == 'e' || *r->p == 'E') fraction = true;
        if (*r->p != '_') text[n++] = *r->p;
        r->p++;
    }
    text[n] = '\0';
    if (fraction) {
        double x = 0;
        const size_t used = decimal_parse(&x, text, n);
        *out = pv_float(x);
        return n > 0 && used == n;
    }
    const char *const digits = text + (text[0] == '-' || text[0] == '+');
    if (!*digits || digits[strspn(digits, "0123456789")]) return false;
    if (digits[0] == '0' && digits[strspn(digits, "0")]) return false; // 007
    errno = 0;
    *out = pv_int(strtoll(text, NULL, 10));
    if (errno)
        *out =
            (pv){.kind = PV_BIGINT, .s = arena_str(r->a, str_from(text[0] == '+' ? digits : text))};
    return true;
}

/* Items up to `close`. Dicts come as alternating keys and values. */
static bool parse_items(reader *r, pv *list, char close, bool dict, bool *comma)
{
    size_t cap = 8;
    *list = pv_list(r->a, cap);
    list->list.n = 0;
    *comma = false;
    while (!eat(r, close)) {
        if (list->list.n > 0 && !(dict && list->list.n % 2)) {
            if (!*comma) return false;
        }
        if (list->list.n + 2 > cap) {
            pv more = pv_list(r->a, cap * 2);
            if (!more.list.items) return false;
            memcpy(more.list.items, list->list.items, list->list.n * sizeof(pv));
            more.list.n = list->list.n;
            *list = more;
            cap *= 2;
        }
        if (!list->list.items || !parse(r, &list->list.items[list->list.n])) return false;
        list->list.n++;
        if (dict) {
            if (!eat(r, ':') || !parse(r, &list->list.items[list->list.n])) return false;
            list->list.n++;
        }
        *comma = eat(r, ',');
        space(r);
        if (!*comma && (r->p >= r->end || *r->p != close)) return false;
    }
    return true;
}

/* Of alternating keys and values. A key that comes again keeps its place and takes the last value. */
static bool make_dict(mltf_arena *a, pv *out, const pv *items)
{
    const size_t n = items->list.n / 2;
    pv keys = pv_list(a, n);
    key_index x = {0};
    *out = pv_dict(a, n);
    if (!out->dict.pairs || !keys.list.items || !key_index_make(&x, a, keys.list.items, n))
        return false;
    for (size_t i = 0; i < n; i++) {
        const pv *key = &items->list.items[2 * i], *value = key + 1;
        if (key->kind != PV_STR && key->kind != PV_INT) return false;
        uint32_t *slot = key_slot(&x, key);
        if (*slot) {
            out->dict.pairs[*slot - 1].value = *value;
            continue;
        }
        keys.list.items[out->dict.n] = *key;
        pv_dict_add(out, *key, *value);
        *slot = (uint32_t)out->dict.n;
    }
    return true;
}

static bool word(reader *r, const char *w)
{
    const size_t n = strlen(w);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, w, n) != 0) return false;
    r->p += n;
    return true;
}

static bool parse(reader *r, pv *out)
{
    space(r);
    if (r->p >= r->end || r->depth > 100) return false;
    const char c = *r->p;
    bool comma = false, ok = true;
    pv items;
    r->depth++;
    if (c == '[' || c == '(' || c == '{') {
        r->p++;
        ok = parse_items(r, &items, c == '[' ? ']' : c == '(' ? ')' : '}', c == '{', &comma);
        *out = items;
        if (ok && c == '(') {
            out->kind = PV_TUPLE;
            if (items.list.n == 1 && !comma) *out = items.list.items[0]; // parentheses alone
        }
        if (ok && c == '{') ok = make_dict(r->a, out, &items);
    } else if (c == '\'' || c == '"')
        ok = parse_string(r, out);
    else if (strchr("bBrRuU", c) && r->end - r->p > 1 && strchr("'\"rRbB", r->p[1]))
        ok = parse_string(r, out);
    else if (word(r, "True"))
        *out = pv_bool(true);
    else if (word(r, "False"))
        *out = pv_bool(false);
    else if (word(r, "None"))
        *out = pv_none();
    else if ((c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.')
        ok = parse_number(r, out);
    else
        ok = false;
    r->depth--;
    return ok;
}

bool pyliteral_read(mltf_arena *a, pv *out, mltf_str text, size_t *used)
{
    reader r = {.a = a, .p = text.p, .end = text.p + text.n};
    if (!parse(&r, out) || a->failed) return false;
    space(&r);
    *used = (size_t)(r.p - text.p);
    return true;
}

bool pyliteral_parse(mltf_arena *a, pv *out, mltf_str text)
{
    size_t used = 0;
    return pyliteral_read(a, out, text, &used) && used == text.n;
}
