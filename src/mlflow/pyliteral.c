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

/* Blanks, ends of lines, and comments. */
static void space(reader *r)
{
    for (bool comment = false; r->p < r->end; r->p++) {
        if (*r->p == '#') comment = true;
        if (*r->p == '\n') comment = false;
        if (!comment && *r->p != ' ' && *r->p != '\t' && *r->p != '\n' && *r->p != '\r') return;
    }
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
    if (c == 'N' && !bytes) return false; // names of characters are not known here
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
        if (v > 0x10FFFF || (v >= 0xD800 && v < 0xE000)) return false; // no text holds half a pair
        char utf8[4];
        buf_append(b, utf8, utf8_encode(utf8, v));
    }
    return true;
}

static bool at_string(const reader *r)
{
    const char *p = r->p;
    while (p < r->end && p - r->p < 2 && *p && strchr("bBrRuU", *p)) p++;
    return p < r->end && (*p == '\'' || *p == '"');
}

/* One piece, which *kind tells to be text or bytes, appended to b. */
static bool parse_piece(reader *r, mltf_buf *b, pv_kind *kind)
{
    bool raw = false;
    *kind = PV_STR;
    for (; *r->p != '\'' && *r->p != '"'; r->p++) {
        if (ascii_lower(*r->p) == 'b') *kind = PV_BYTES;
        if (ascii_lower(*r->p) == 'r') raw = true;
    }
    const char quote = *r->p++;
    const bool triple = r->end - r->p >= 2 && r->p[0] == quote && r->p[1] == quote;
    if (triple) r->p += 2;
    while (r->p < r->end) {
        if (*r->p == quote &&
            (!triple || (r->end - r->p >= 3 && r->p[1] == quote && r->p[2] == quote))) {
            r->p += triple ? 3 : 1;
            return true;
        }
        if (*r->p == '\n' && !triple) return false;
        const char c = *r->p++;
        if (c == '\\' && !raw) {
            if (!escape(r, b, *kind == PV_BYTES)) return false;
            continue;
        }
        buf_putc(b, c);
        if (c == '\\' && r->p < r->end) buf_putc(b, *r->p++);
    }
    return false;
}

/* Pieces beside each other are one text. */
static bool parse_string(reader *r, pv *out)
{
    mltf_buf b = MLTF_BUF_INIT;
    pv_kind kind = PV_STR, other = PV_STR;
    bool ok = parse_piece(r, &b, &kind);
    for (; ok; ok = parse_piece(r, &b, &other) && other == kind) {
        space(r);
        if (!at_string(r)) break;
    }
    *out = (pv){.kind = kind, .s = arena_str(r->a, buf_str(&b))};
    ok = ok && !b.failed;
    mltf_buf_release(&b);
    return ok;
}

/* Digits of a base with single underscores between them, appended without those to text[*n]. */
static bool take_digits(reader *r, int base, char *text, size_t *n, size_t size)
{
    const size_t before = *n;
    for (bool digit = false; r->p < r->end; r->p++) {
        const int value = ascii_hex(*r->p);
        if (*r->p == '_') {
            if (!digit || r->p + 1 == r->end || ascii_hex(r->p[1]) < 0) return false;
            digit = false;
        } else if (value >= 0 && value < base) {
            if (*n + 1 >= size) return false;
            text[(*n)++] = *r->p;
            digit = true;
        } else {
            break;
        }
    }
    return *n > before;
}

static bool take_one(reader *r, const char *any_of, char *text, size_t *n)
{
    if (r->p >= r->end || !*r->p || !strchr(any_of, *r->p)) return false;
    text[(*n)++] = *r->p++;
    return true;
}

static bool parse_number(reader *r, pv *out)
{
    char text[128];
    const size_t room = sizeof text - 4; // for a point, an "e" and its sign
    size_t n = 0;
    const bool negative = *r->p == '-';
    if (take_one(r, "+-", text, &n)) space(r);
    if (!negative) n = 0;
    const size_t sign = n;
    if (r->end - r->p > 1 && r->p[0] == '0' && r->p[1] && strchr("xXoObB", r->p[1])) {
        const char kind = ascii_lower(r->p[1]);
        const int base = kind == 'x' ? 16 : kind == 'o' ? 8 : 2;
        r->p += 2;
        if (!take_digits(r, base, text, &n, room)) return false;
        text[n] = '\0';
        errno = 0;
        *out = pv_int(strtoll(text, NULL, base));
        return !errno;
    }
    const bool whole = take_digits(r, 10, text, &n, room);
    const bool point = take_one(r, ".", text, &n);
    const bool part = point && take_digits(r, 10, text, &n, room);
    const bool exponent = (whole || part) && take_one(r, "eE", text, &n);
    if (exponent) {
        take_one(r, "+-", text, &n);
        if (!take_digits(r, 10, text, &n, room)) return false;
    }
    text[n] = '\0';
    if (!whole && !part) return false;
    if (point || exponent) {
        double x = 0;
        const size_t used = decimal_parse(&x, text, n);
        *out = pv_float(x);
        return used == n;
    }
    if (text[sign] == '0' && text[sign + strspn(text + sign, "0")]) return false; // 007
    errno = 0;
    *out = pv_int(strtoll(text, NULL, 10));
    if (errno) *out = (pv){.kind = PV_BIGINT, .s = arena_str(r->a, str_from(text))};
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
    } else if (at_string(r))
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
    if (text.n && memchr(text.p, '\0', text.n)) return false; // no source code
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
