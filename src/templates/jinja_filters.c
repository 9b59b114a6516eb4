/* The filters of jinja2/filters.py: `value|NAME(arguments)`.
 *
 * map, select, reject and their kin are generators there: read once, without len(). Here their items are
 * made at once, but the value behaves the same. */
#include "templates/jinja_internal.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "templates/python_unicode.h"

#define GIVEN(v) ((v).t != JV_MISSING)
#define TEXT_BUF                                                                                   \
    {                                                                                              \
        .max = LIMIT_TEMPLATE_OUTPUT                                                               \
    }

static bool apply_str_method(jx *x, const char *name, jv self, const jv *args, size_t n, jv *out)
{
    jv text;
    const jargs a = {.v = args, .n = n};
    return jv_to_str(x, self, &text) && jinja_str_method(str_from(name))->fn(x, text, &a, out);
}

static bool as_int(jx *x, jv v, int64_t dflt, int64_t *out)
{
    *out = dflt;
    if (!GIVEN(v)) return true;
    if (!jv_is_int(v))
        return x_fail(x, "'%s' object cannot be interpreted as an integer", jv_type_name(v));
    *out = jv_as_int(v);
    return true;
}

/* ignore_case() of the reference: sorts and groups look at lower case. */
static bool fold(jx *x, bool case_sensitive, jv *v)
{
    return case_sensitive || v->t != JV_STR || apply_str_method(x, "lower", *v, NULL, 0, v);
}

/* ---- text ------------------------------------------------------------------------------------ */

static bool f_upper(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return apply_str_method(x, "upper", self, NULL, 0, out);
}
static bool f_lower(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return apply_str_method(x, "lower", self, NULL, 0, out);
}
static bool f_capitalize(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return apply_str_method(x, "capitalize", self, NULL, 0, out);
}
static bool f_trim(jx *x, jv self, const jargs *a, jv *out)
{
    return apply_str_method(x, "strip", self, a->v, GIVEN(a->v[0]), out);
}
static bool f_string(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return jv_to_str(x, self, out);
}

static bool f_center(jx *x, jv self, const jargs *a, jv *out)
{
    const jv width = GIVEN(a->v[0]) ? a->v[0] : jv_int(80);
    return apply_str_method(x, "center", self, &width, 1, out);
}

static bool f_title(jx *x, jv self, const jargs *a,
                    jv *out) // unlike str.title(): "it's" has one word
{
    (void)a;
    jv text;
    if (!jv_to_str(x, self, &text) || !x_step(x, text.s->n / 16)) return false;
    mltf_buf b = TEXT_BUF;
    bool first = true;
    for (const char *p = text.s->p, *end = p + text.s->n; p < end;) {
        uint32_t to[3];
        const uint32_t cp = utf8_next(&p);
        const bool separator =
            cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || pyu_is(cp, PYU_SPACE);
        const size_t n = pyu_convert(cp, first || separator ? PYU_TO_UPPER : PYU_TO_LOWER, to);
        for (size_t i = 0; i < n; i++) {
            char room[4];
            buf_append(&b, room, utf8_encode(room, to[i]));
        }
        first = separator;
    }
    return jv_take_buf(x, &b, out);
}

static bool f_replace(jx *x, jv self, const jargs *a, jv *out)
{
    jv arg[3];
    if (!jv_to_str(x, self, &self) || !jv_to_str(x, a->v[0], &arg[0]) ||
        !jv_to_str(x, a->v[1], &arg[1]))
        return false;
    self.markup = arg[0].markup = arg[1].markup = false;
    arg[2] = GIVEN(a->v[2]) && a->v[2].t != JV_NONE ? a->v[2] : jv_int(-1);
    return apply_str_method(x, "replace", self, arg, 3, out);
}

static bool f_escape(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return jv_escape(x, self, out);
}

static bool f_forceescape(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    if (!jv_to_str(x, self, &self)) return false;
    self.markup = false;
    return jv_escape(x, self, out);
}

static bool f_safe(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    if (!jv_to_str(x, self, out)) return false;
    out->markup = true;
    return true;
}

static bool f_striptags(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    jv text;
    if (!jv_to_str(x, self, &text) || !x_step(x, text.s->n / 16)) return false;
    mltf_buf bare = TEXT_BUF, b = TEXT_BUF;
    mltf_str s = jv_text(text);
    for (int comments = 1; comments >= 0; comments--) { // first the comments, then the tags
        mltf_buf next = TEXT_BUF;
        size_t at = 0;
        for (;;) {
            const char *open =
                comments ? memmem(s.p + at, s.n - at, "<!--", 4) : memchr(s.p + at, '<', s.n - at);
            const char *from = open ? open + (comments ? 4 : 1) : NULL;
            const char *close = !open      ? NULL
                                : comments ? memmem(from, s.n - (size_t)(from - s.p), "-->", 3)
                                           : memchr(from, '>', s.n - (size_t)(from - s.p));
            if (!close) break;
            buf_append(&next, s.p + at, (size_t)(open - s.p) - at);
            at = (size_t)(close - s.p) + (comments ? 3 : 1);
        }
        buf_append(&next, s.p + at, s.n - at);
        mltf_buf_release(&bare);
        bare = next;
        s = buf_str(&bare);
    }
    bool gap = false;
    for (const char *p = s.p, *end = s.p + s.n; p < end;) { // white space becomes one space
        const char *from = p;
        if (pyu_is(utf8_next(&p), PYU_SPACE)) {
            gap = true;
            continue;
        }
        if (gap && b.n) buf_putc(&b, ' ');
        gap = false;
        buf_append(&b, from, (size_t)(p - from));
    }
    mltf_buf_release(&bare);
    // entities that markupsafe's unescape() would turn back: the common ones
    static const char *const entities[][2] = {
        {"&lt;", "<"},  {"&gt;", ">"},   {"&quot;", "\""}, {"&#34;", "\""},
        {"&#39;", "'"}, {"&apos;", "'"}, {"&amp;", "&"},   {"&nbsp;", "\xc2\xa0"}};
    mltf_buf plain = TEXT_BUF;
    for (size_t i = 0; i < b.n;) {
        size_t k = 0;
        const size_t count = sizeof entities / sizeof *entities;
        while (b.p[i] == '&' && k < count &&
               strncmp(b.p + i, entities[k][0], strlen(entities[k][0])) != 0)
            k++;
        if (b.p[i] == '&' && k < count) {
            buf_puts(&plain, entities[k][1]);
            i += strlen(entities[k][0]);
        } else {
            buf_putc(&plain, b.p[i++]);
        }
    }
    mltf_buf_release(&b);
    return jv_take_buf(x, &plain, out);
}

static bool f_format(jx *x, jv self, const jargs *a, jv *out)
{
    jv text, values;
    if (a->n && a->n_kw)
        return x_fail(x, "can't handle positional and keyword arguments at the same time");
    if (!jv_to_str(x, self, &text)) return false;
    if (a->n_kw) {
        if (!jv_dict(x, a->n_kw, &values)) return false;
        for (size_t i = 0; i < a->n_kw; i++) {
            jv key;
            if (!jv_str(x, a->kw[i].name, &key) || !jv_dict_set(x, values.m, key, a->kw[i].value))
                return false;
        }
    } else {
        if (!jv_list(x, JV_TUPLE, a->n, &values)) return false;
        for (size_t i = 0; i < a->n; i++)
            if (!jv_push(x, values, a->v[i])) return false;
    }
    return jv_percent(x, text, values, out);
}

/* indent(s, width=4, first=False, blank=False) */
static bool f_indent(jx *x, jv self, const jargs *a, jv *out)
{
    if (self.t == JV_UNDEFINED) return jv_use_undefined(x, self);
    if (self.t != JV_STR)
        return x_fail(x, "unsupported operand type(s) for +=: '%s' and 'str'", jv_type_name(self));
    const bool first = GIVEN(a->v[1]) && jv_truth(a->v[1]),
               blank = GIVEN(a->v[2]) && jv_truth(a->v[2]);
    jv indent, lines, text;
    if (GIVEN(a->v[0]) && a->v[0].t == JV_STR) {
        indent = a->v[0];
    } else {
        int64_t width;
        jv space;
        if (!as_int(x, a->v[0], 4, &width) || !jv_cstr(x, " ", &space) ||
            !jv_binary(x, JO_MUL, space, jv_int(width), &indent))
            return false;
    }
    // a line end is added first, so that text ending in one keeps it
    jv end;
    if (!jv_cstr(x, "\n", &end)) return false;
    end.markup = self.markup;
    if (!jv_concat(x, self, end, &text) ||
        !apply_str_method(x, "splitlines", text, NULL, 0, &lines))
        return false;
    mltf_buf b = TEXT_BUF;
    for (size_t i = 0; i < lines.l->n; i++) {
        const mltf_str line = jv_text(lines.l->v[i]);
        if (i) buf_putc(&b, '\n');
        if (i == 0 ? first : blank || line.n) buf_put_str(&b, jv_text(indent));
        buf_put_str(&b, line);
        if (b.failed) break;
    }
    if (!jv_take_buf(x, &b, out)) return false;
    out->markup = self.markup;
    return true;
}

/* truncate(s, length=255, killwords=False, end="...", leeway=5) */
static bool f_truncate(jx *x, jv self, const jargs *a, jv *out)
{
    int64_t length, leeway;
    jv end;
    if (!jv_has_length(self) && self.t != JV_UNDEFINED)
        return x_fail(x, "object of type '%s' has no len()", jv_type_name(self));
    if (!as_int(x, a->v[0], 255, &length)) return false;
    if (GIVEN(a->v[2]))
        end = a->v[2];
    else if (!jv_cstr(x, "...", &end))
        return false;
    if (end.t != JV_STR)
        return x_fail(x, "can only concatenate str (not \"%s\") to str", jv_type_name(end));
    if (!as_int(x, a->v[3].t == JV_NONE ? JV(JV_MISSING) : a->v[3], 5, &leeway)) return false;
    const int64_t end_len = (int64_t)end.s->len;
    if (length < end_len)
        return x_fail(x, "expected length >= %lld, got %lld", (long long)end_len,
                      (long long)length);
    if (leeway < 0) return x_fail(x, "expected leeway >= 0, got %lld", (long long)leeway);
    if (self.t == JV_UNDEFINED) {
        *out = self;
        return true;
    }
    size_t n;
    if (!jv_length(x, self, &n)) return false;
    if ((int64_t)n <= length || (int64_t)n - length <= leeway) {
        *out = self;
        return true;
    }
    if (self.t != JV_STR) return x_fail(x, "'%s' object cannot be truncated", jv_type_name(self));
    size_t bytes = jstr_offset(self.s, (size_t)(length - end_len));
    if (!(GIVEN(a->v[1]) && jv_truth(a->v[1])))
        for (size_t i = bytes; i-- > 0;)
            if (self.s->p[i] == ' ') {
                bytes = i;
                break;
            }
    jv head;
    return jv_substr(x, self, 0, bytes, &head) && jv_concat(x, head, end, out);
}

static bool f_wordcount(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    jv text;
    if (!jv_to_str(x, self, &text) || !x_step(x, text.s->n / 16)) return false;
    int64_t words = 0;
    bool in_word = false;
    for (const char *p = text.s->p, *end = p + text.s->n; p < end;) {
        const uint32_t cp = utf8_next(&p);
        const bool word = cp == '_' || pyu_is(cp, PYU_ALPHA) || pyu_is(cp, PYU_NUMERIC);
        words += word && !in_word;
        in_word = word;
    }
    *out = jv_int(words);
    return true;
}

static void quote_url(mltf_buf *b, mltf_str s, bool query)
{
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if (isalnum(c) || c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query))
            buf_putc(b, (char)c);
        else if (c == ' ' && query)
            buf_putc(b, '+');
        else
            buf_printf(b, "%%%02X", c);
    }
}

static bool quote_value(jx *x, mltf_buf *b, jv v, bool query)
{
    jv text;
    if (!jv_to_str(x, v, &text) || !x_step(x, text.s->n / 8)) return false;
    quote_url(b, jv_text(text), query);
    return true;
}

static bool f_urlencode(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    mltf_buf b = TEXT_BUF;
    if (self.t == JV_STR || !jv_is_iterable(self)) {
        quote_value(x, &b, self, false);
        return jv_take_buf(x, &b, out);
    }
    jv pairs = self;
    jview items = {.kind = 'i'};
    if (self.t == JV_DICT) {
        items.m = self.m;
        pairs = (jv){.t = JV_VIEW, .view = &items};
    }
    jsource src;
    if (!x_source_init(x, &src, pairs)) return false;
    for (bool got = true;;) {
        jv item, pair;
        if (!x_source_next(x, &src, &item, &got) || !got || !jv_to_list(x, item, &pair)) break;
        if (pair.l->n != 2) {
            x_fail(x, "not enough values to unpack (expected 2, got %zu)", pair.l->n);
            break;
        }
        if (b.n) buf_putc(&b, '&');
        if (!quote_value(x, &b, pair.l->v[0], true)) break;
        buf_putc(&b, '=');
        if (!quote_value(x, &b, pair.l->v[1], true)) break;
    }
    return jv_take_buf(x, &b, out);
}

static bool f_xmlattr(jx *x, jv self, const jargs *a, jv *out)
{
    if (self.t == JV_UNDEFINED) return jv_use_undefined(x, self);
    if (self.t != JV_DICT)
        return x_fail(x, "'%s' object has no attribute 'items'", jv_type_name(self));
    mltf_buf b = TEXT_BUF;
    const bool space = !GIVEN(a->v[0]) || jv_truth(a->v[0]);
    for (size_t i = 0; i < self.m->n && !x->failed; i++) {
        jv key = self.m->e[i].key, value = self.m->e[i].value;
        if (value.t == JV_NONE || value.t == JV_UNDEFINED) continue;
        if (key.t != JV_STR) {
            x_fail(x, "expected string or bytes-like object, got '%s'", jv_type_name(key));
            break;
        }
        for (size_t k = 0; k < key.s->n; k++)
            if (strchr(" \t\n\r\f\v/>=", key.s->p[k]))
                x_fail(x, "Invalid character in attribute name: %s", jv_show(x, key));
        if (x->failed || !jv_escape(x, key, &key) || !jv_escape(x, value, &value)) break;
        if (b.n || space) buf_putc(&b, ' ');
        buf_printf(&b, STR_FMT "=\"", STR_ARG(jv_text(key)));
        buf_put_str(&b, jv_text(value));
        buf_putc(&b, '"');
    }
    if (!jv_take_buf(x, &b, out)) return false;
    out->markup = x->autoescape;
    return true;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* int(text, base) and float(text) of Python: white space around, underscores between digits. */
static bool clean_number(mltf_str s, char *room, size_t size)
{
    const char *p = s.p, *end = s.p + s.n;
    while (p < end) {
        const char *q = p;
        if (!pyu_is(utf8_next(&q), PYU_SPACE)) break;
        p = q;
    }
    while (end > p) {
        const char *q = end - 1;
        while (q > p && ((unsigned char)*q & 0xc0) == 0x80) q--;
        const char *at = q;
        if (!pyu_is(utf8_next(&at), PYU_SPACE)) break;
        end = q;
    }
    size_t n = 0;
    for (const char *q = p; q < end; q++) {
        if (*q == '_') {
            if (q == p || q + 1 == end || !isalnum((unsigned char)q[-1]) ||
                !isalnum((unsigned char)q[1]))
                return false;
            continue;
        }
        if (n + 1 >= size || *q == 0) return false;
        room[n++] = *q;
    }
    room[n] = 0;
    return n > 0;
}

static bool parse_int(mltf_str s, int base, int64_t *out, bool *too_big)
{
    char room[400], *end;
    *too_big = false;
    if (!clean_number(s, room, sizeof room)) return false;
    const char *p = room;
    const bool negative = *p == '-';
    if (*p == '+' || *p == '-') p++;
    if (p[0] == '0' && p[1]) {
        const char c = (char)tolower((unsigned char)p[1]);
        const int prefixed = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        if (prefixed && (base == prefixed || base == 0)) {
            p += 2;
            base = prefixed;
        } else if (base == 0 && strspn(p, "0") != strlen(p)) {
            return false;
        }
    }
    if (!isalnum((unsigned char)*p)) return false;
    if (base == 0) base = 10;
    for (const char *q = p; *q; q++) {
        const int d = isdigit((unsigned char)*q)   ? *q - '0'
                      : isalpha((unsigned char)*q) ? tolower((unsigned char)*q) - 'a' + 10
                                                   : 99;
        if (d >= base) return false;
    }
    unsigned long long u = strtoull(p, &end, base);
    if (u > (unsigned long long)INT64_MAX || (u == ULLONG_MAX)) *too_big = true;
    *out = negative ? -(int64_t)u : (int64_t)u;
    return *end == 0;
}

static bool parse_float(mltf_str s, double *out)
{
    char room[400], *end;
    if (!clean_number(s, room, sizeof room)) return false;
    const char *p = room + (room[0] == '+' || room[0] == '-');
    if (!isdigit((unsigned char)*p) && *p != '.' && strcasecmp(p, "nan") != 0 &&
        strcasecmp(p, "inf") != 0 && strcasecmp(p, "infinity") != 0)
        return false;
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) return false;
    *out = strtod(room, &end);
    return *end == 0 && end > room;
}

static bool float_to_int(jx *x, double d, jv dflt, jv *out)
{
    if (!isfinite(d)) {
        *out = dflt;
        return true;
    }
    if (d >= 9.2233720368547758e18 || d < -9.2233720368547758e18)
        return x_unsupported(x, "an integer beyond 64 bits is not supported");
    *out = jv_int((int64_t)d);
    return true;
}

/* int(value, default=0, base=10) */
static bool f_int(jx *x, jv self, const jargs *a, jv *out)
{
    const jv dflt = GIVEN(a->v[0]) ? a->v[0] : jv_int(0);
    int64_t base, i;
    double d;
    bool too_big;
    if (!as_int(x, a->v[1], 10, &base)) return false;
    if (self.t == JV_UNDEFINED) return jv_use_undefined(x, self);
    if (self.t == JV_BIGINT)
        *out = self;
    else if (jv_is_int(self))
        *out = jv_int(jv_as_int(self));
    else if (self.t == JV_FLOAT) {
        if (isinf(self.d)) return x_fail(x, "cannot convert float infinity to integer");
        return float_to_int(x, self.d, dflt, out);
    } else if (self.t == JV_STR) {
        if (base != 0 && (base < 2 || base > 36))
            *out = dflt;
        else if (parse_int(jv_text(self), (int)base, &i, &too_big)) {
            if (too_big) return x_unsupported(x, "an integer beyond 64 bits is not supported");
            *out = jv_int(i);
        } else if (parse_float(jv_text(self), &d)) { // "42.23" gives 42
            return float_to_int(x, d, dflt, out);
        } else {
            *out = dflt;
        }
    } else {
        *out = dflt;
    }
    return true;
}

static bool f_float(jx *x, jv self, const jargs *a, jv *out)
{
    double d;
    if (self.t == JV_UNDEFINED) return jv_use_undefined(x, self);
    if (jv_is_number(self))
        *out = jv_float(jv_as_double(self));
    else if (self.t == JV_BIGINT)
        *out = jv_float(strtod(self.s->p, NULL));
    else if (self.t == JV_STR && parse_float(jv_text(self), &d))
        *out = jv_float(d);
    else
        *out = GIVEN(a->v[0]) ? a->v[0] : jv_float(0);
    return true;
}

static bool f_abs(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    if (self.t == JV_UNDEFINED || !jv_is_number(self))
        return x_fail(x, "bad operand type for abs(): '%s'", jv_type_name(self));
    const bool negative = self.t == JV_FLOAT ? signbit(self.d) : jv_as_int(self) < 0;
    return jv_unary(x, negative, self, out);
}

/* round(value, precision=0, method="common") */
static bool f_round(jx *x, jv self, const jargs *a, jv *out)
{
    int64_t digits;
    const jv method = a->v[1];
    if (!as_int(x, a->v[0].t == JV_NONE ? JV(JV_MISSING) : a->v[0], 0, &digits)) return false;
    const char how = !GIVEN(method) || (method.t == JV_STR && str_is(jv_text(method), "common"))
                         ? 'r'
                     : method.t == JV_STR && str_is(jv_text(method), "ceil")  ? 'c'
                     : method.t == JV_STR && str_is(jv_text(method), "floor") ? 'f'
                                                                              : 0;
    if (!how) return x_fail(x, "method must be common, ceil or floor");
    if (self.t == JV_UNDEFINED)
        return how == 'r' ? x_fail(x, "type Undefined doesn't define __round__ method")
                          : jv_use_undefined(x, self);
    if (!jv_is_number(self))
        return x_fail(x, "type %s doesn't define __round__ method", jv_type_name(self));
    if (how == 'r') {
        if (self.t != JV_FLOAT) { // to a power of ten if digits are negative, half to even
            int64_t i = jv_as_int(self), power = 1;
            for (int64_t k = digits; k < 0; k++)
                if (__builtin_mul_overflow(power, (int64_t)10, &power)) {
                    *out = jv_int(0);
                    return true;
                }
            int64_t rest = i % power;
            if (rest < 0) rest += power;
            int64_t down = i - rest;
            const int64_t half = power / 2;
            if (power > 1 && (rest > half || (rest == half && (down / power) % 2 != 0)))
                down += power;
            *out = jv_int(down);
            return true;
        }
        if (!isfinite(self.d) || digits > 330) {
            *out = self;
            return true;
        }
        if (digits < 0) {
            if (digits < -310) {
                *out = jv_float(copysign(0.0, self.d));
                return true;
            }
            const double power = pow(10, (double)-digits), scaled = self.d / power;
            *out = jv_float(nearbyint(scaled) * power);
            return true;
        }
        char room[700]; // correctly rounded decimal digits, read back
        snprintf(room, sizeof room, "%.*f", (int)digits, self.d);
        *out = jv_float(strtod(room, NULL));
        return true;
    }
    jv power, scaled, whole;
    if (!jv_binary(x, JO_POW, jv_int(10), jv_int(digits), &power) ||
        !jv_binary(x, JO_MUL, self, power, &scaled))
        return false;
    const double d = jv_as_double(scaled), r = how == 'c' ? ceil(d) : floor(d);
    if (!isfinite(r)) return x_fail(x, "cannot convert float to integer");
    return float_to_int(x, r, jv_int(0), &whole) && jv_binary(x, JO_DIV, whole, power, out);
}

static bool f_filesizeformat(jx *x, jv self, const jargs *a, jv *out)
{
    static const char *const decimal[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
    static const char *const binary_names[] = {"KiB", "MiB", "GiB", "TiB",
                                               "PiB", "EiB", "ZiB", "YiB"};
    const bool binary = GIVEN(a->v[0]) && jv_truth(a->v[0]);
    const jargs none = {.v = (jv[]){JV(JV_MISSING)}, .n = 1};
    jv value;
    double bytes;
    if (self.t == JV_STR && !parse_float(jv_text(self), &bytes))
        return x_fail(x, "could not convert string to float: %s", jv_show(x, self));
    if (self.t != JV_STR && !jv_is_number(self) && self.t != JV_UNDEFINED)
        return x_fail(x, "float() argument must be a string or a real number, not '%s'",
                      jv_type_name(self));
    if (!f_float(x, self, &none, &value)) return false;
    bytes = value.d;
    const double base = binary ? 1024 : 1000;
    char room[64];
    if (bytes == 1) {
        snprintf(room, sizeof room, "1 Byte");
    } else if (bytes < base) {
        snprintf(room, sizeof room, "%lld Bytes", (long long)bytes);
    } else {
        double unit = base * base;
        int i = 0;
        while (i < 7 && !(bytes < unit)) {
            i++;
            unit *= base;
        }
        snprintf(room, sizeof room, "%.1f %s", base * bytes / unit,
                 binary ? binary_names[i] : decimal[i]);
    }
    return jv_cstr(x, room, out);
}

/* ---- one value of many ----------------------------------------------------------------------- */

static bool f_default(jx *x, jv self, const jargs *a, jv *out)
{
    const bool falsy_too = GIVEN(a->v[1]) && jv_truth(a->v[1]);
    *out = self;
    if (self.t != JV_UNDEFINED && !(falsy_too && !jv_truth(self))) return true;
    if (!GIVEN(a->v[0])) return jv_cstr(x, "", out);
    *out = a->v[0];
    return true;
}

static bool f_length(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    size_t n;
    if (!jv_length(x, self, &n)) return false;
    *out = jv_int((int64_t)n);
    return true;
}

static bool f_first(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    jsource src;
    bool got;
    if (!x_source_init(x, &src, self) || !x_source_next(x, &src, out, &got)) return false;
    return got || jv_undefined_hint(x, "No first item, sequence was empty.", out);
}

/* The things that reversed() takes. */
static bool reversible(jv v)
{
    return v.t == JV_STR || v.t == JV_LIST || v.t == JV_TUPLE || v.t == JV_DICT ||
           v.t == JV_RANGE || v.t == JV_VIEW || v.t == JV_UNDEFINED;
}

static bool f_last(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    jv all;
    if (!reversible(self)) return x_fail(x, "'%s' object is not reversible", jv_type_name(self));
    if (self.t == JV_STR && self.s->n) return jv_char_at(x, self, self.s->len - 1, out);
    if (!jv_to_list(x, self, &all)) return false;
    if (all.l->n == 0) return jv_undefined_hint(x, "No last item, sequence was empty.", out);
    *out = all.l->v[all.l->n - 1];
    return true;
}

static bool f_random(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    size_t n;
    if (!jv_length(x, self, &n)) return false;
    if (n == 0) return jv_undefined_hint(x, "No random item, sequence was empty.", out);
    x->random = x->random * 6364136223846793005u + 1442695040888963407u;
    return jv_getitem(x, self, jv_int((int64_t)((x->random >> 33) % n)), out);
}

static bool extreme(jx *x, jv self, const jargs *a, bool max, jv *out)
{
    const bool case_sensitive = GIVEN(a->v[0]) && jv_truth(a->v[0]);
    jsource src;
    jv item, key, best_key = jv_none();
    bool got, any = false, better = true;
    if (!x_source_init(x, &src, self)) return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) break;
        if (!jv_attribute_path(x, item, a->v[1], JV(JV_MISSING), &key) ||
            !fold(x, case_sensitive, &key))
            return false;
        if (any && !(max ? jv_compare(x, JO_GT, key, best_key, &better)
                         : jv_compare(x, JO_LT, key, best_key, &better)))
            return false;
        if (any && !better) continue;
        any = true;
        best_key = key;
        *out = item;
    }
    return any || jv_undefined_hint(x, "No aggregated item, sequence was empty.", out);
}

static bool f_max(jx *x, jv self, const jargs *a, jv *out)
{
    return extreme(x, self, a, true, out);
}
static bool f_min(jx *x, jv self, const jargs *a, jv *out)
{
    return extreme(x, self, a, false, out);
}

static bool f_sum(jx *x, jv self, const jargs *a, jv *out)
{
    jsource src;
    jv item, value;
    bool got;
    *out = GIVEN(a->v[1]) ? a->v[1] : jv_int(0);
    if (out->t == JV_STR) return x_fail(x, "sum() can't sum strings [use ''.join(seq) instead]");
    if (!x_source_init(x, &src, self)) return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) return true;
        if (!jv_attribute_path(x, item, a->v[0], JV(JV_MISSING), &value) ||
            !jv_binary(x, JO_ADD, *out, value, out))
            return false;
    }
}

static bool f_join(jx *x, jv self, const jargs *a, jv *out)
{
    jsource src;
    jv item, separator;
    bool got, escape = false;
    if (GIVEN(a->v[0])) {
        if (!jv_to_str(x, a->v[0], &separator)) return false;
    } else if (!jv_cstr(x, "", &separator)) {
        return false;
    }
    if (!x_source_init(x, &src, self)) return false;
    if (x->autoescape) { // one Markup among them makes the others escaped
        jv all;
        if (!jv_to_list(x, self, &all)) return false;
        escape = separator.markup;
        for (size_t i = 0; i < all.l->n; i++)
            escape = escape || (all.l->v[i].t == JV_STR && all.l->v[i].markup);
        if (!x_source_init(x, &src, all) || (escape && !jv_escape(x, separator, &separator)))
            return false;
    }
    mltf_buf b = TEXT_BUF;
    for (size_t i = 0;; i++) {
        if (!x_source_next(x, &src, &item, &got) || !got) break;
        if (!jv_attribute_path(x, item, a->v[1].t == JV_NONE ? JV(JV_MISSING) : a->v[1],
                               JV(JV_MISSING), &item))
            break;
        if (escape && !jv_escape(x, item, &item)) break;
        if (i) buf_put_str(&b, jv_text(separator));
        if (!jv_put_str(x, &b, item, 0) || b.failed) break;
    }
    if (!x_step(x, b.n / 64)) {
        mltf_buf_release(&b);
        return false;
    }
    if (!jv_take_buf(x, &b, out)) return false;
    out->markup = escape;
    return true;
}

/* ---- sequences ------------------------------------------------------------------------------- */

static bool f_list(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return jv_to_list(x, self, out);
}

static bool f_items(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    jv all;
    jview view = {.kind = 'i'};
    if (self.t == JV_UNDEFINED) {
        if (!jv_list(x, JV_LIST, 0, &all)) return false;
    } else {
        if (self.t != JV_DICT) return x_fail(x, "Can only get item pairs from a mapping.");
        view.m = self.m;
        if (!jv_to_list(x, (jv){.t = JV_VIEW, .view = &view}, &all)) return false;
    }
    return jv_iter(x, all, "generator", out);
}

static bool f_reverse(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    jv all;
    if (self.t == JV_STR) return jv_slice(x, self, jv_none(), jv_none(), jv_int(-1), out);
    if (!jv_is_iterable(self)) return x_fail(x, "argument must be iterable");
    if (!jv_to_list(x, self, &all)) return false;
    for (size_t i = 0; i < all.l->n / 2; i++) {
        const jv t = all.l->v[i];
        all.l->v[i] = all.l->v[all.l->n - 1 - i];
        all.l->v[all.l->n - 1 - i] = t;
    }
    if (!reversible(self)) { // then it is a list already
        *out = all;
        return true;
    }
    static const char *const names[] = {[JV_LIST] = "list_reverseiterator",
                                        [JV_RANGE] = "range_iterator",
                                        [JV_DICT] = "dict_reversekeyiterator"};
    const char *name =
        self.t < sizeof names / sizeof *names && names[self.t] ? names[self.t] : "reversed";
    return jv_iter(x, all, name, out);
}

/* The keys of several attributes: "a,b.c". One attribute gives a list of one. */
static bool sort_key(jx *x, jv item, jv attribute, bool case_sensitive, jv *key)
{
    if (!jv_list(x, JV_LIST, 1, key)) return false;
    mltf_str rest = attribute.t == JV_STR ? jv_text(attribute) : (mltf_str){0};
    for (;;) {
        jv part = attribute, value;
        size_t n = 0;
        if (attribute.t == JV_STR) {
            while (n < rest.n && rest.p[n] != ',') n++;
            if (!jv_str(x, str_slice(rest, 0, n), &part)) return false;
        }
        if (!jv_attribute_path(x, item, part, JV(JV_MISSING), &value) ||
            !fold(x, case_sensitive, &value) || !jv_push(x, *key, value))
            return false;
        if (attribute.t != JV_STR || n >= rest.n) return true;
        rest = str_slice(rest, n + 1, rest.n);
    }
}

/* sort(value, reverse=False, case_sensitive=False, attribute=None) */
static bool f_sort(jx *x, jv self, const jargs *a, jv *out)
{
    jv keys;
    if (!jv_to_list(x, self, out) || !jv_list(x, JV_LIST, out->l->n, &keys)) return false;
    for (size_t i = 0; i < out->l->n; i++) {
        jv key;
        if (!sort_key(x, out->l->v[i], a->v[2], GIVEN(a->v[1]) && jv_truth(a->v[1]), &key) ||
            !jv_push(x, keys, key))
            return false;
    }
    return jv_sort(x, keys.l->v, out->l->v, out->l->n, GIVEN(a->v[0]) && jv_truth(a->v[0]));
}

/* dictsort(value, case_sensitive=False, by="key", reverse=False) */
static bool f_dictsort(jx *x, jv self, const jargs *a, jv *out)
{
    if (self.t == JV_UNDEFINED) return jv_use_undefined(x, self);
    if (self.t != JV_DICT)
        return x_fail(x, "'%s' object has no attribute 'items'", jv_type_name(self));
    int by = 0;
    if (GIVEN(a->v[1])) {
        if (a->v[1].t == JV_STR && str_is(jv_text(a->v[1]), "value"))
            by = 1;
        else if (a->v[1].t != JV_STR || !str_is(jv_text(a->v[1]), "key"))
            return x_fail(x, "You can only sort by either \"key\" or \"value\"");
    }
    jview view = {self.m, 'i'};
    jv keys;
    if (!jv_to_list(x, (jv){.t = JV_VIEW, .view = &view}, out) ||
        !jv_list(x, JV_LIST, out->l->n, &keys))
        return false;
    for (size_t i = 0; i < out->l->n; i++) {
        jv key = out->l->v[i].l->v[by];
        if (!fold(x, GIVEN(a->v[0]) && jv_truth(a->v[0]), &key) || !jv_push(x, keys, key))
            return false;
    }
    return jv_sort(x, keys.l->v, out->l->v, out->l->n, GIVEN(a->v[2]) && jv_truth(a->v[2]));
}

/* unique(value, case_sensitive=False, attribute=None) */
static bool f_unique(jx *x, jv self, const jargs *a, jv *out)
{
    jv seen, kept, item, key, value;
    jsource src;
    bool got, found;
    if (!jv_dict(x, 0, &seen) || !jv_list(x, JV_LIST, 0, &kept) || !x_source_init(x, &src, self))
        return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) return jv_iter(x, kept, "generator", out);
        if (!jv_attribute_path(x, item, a->v[1], JV(JV_MISSING), &key) ||
            !fold(x, GIVEN(a->v[0]) && jv_truth(a->v[0]), &key) ||
            !jv_dict_get(x, seen.m, key, &value, &found))
            return false;
        if (!found && (!jv_dict_set(x, seen.m, key, jv_none()) || !jv_push(x, kept, item)))
            return false;
    }
}

/* groupby(value, attribute, default=None, case_sensitive=False) */
static bool f_groupby(jx *x, jv self, const jargs *a, jv *out)
{
    const bool case_sensitive = GIVEN(a->v[2]) && jv_truth(a->v[2]);
    jv items, keys, sorted_keys;
    if (!jv_to_list(x, self, &items) || !jv_list(x, JV_LIST, items.l->n, &keys)) return false;
    for (size_t i = 0; i < items.l->n; i++) {
        jv key;
        if (!jv_attribute_path(x, items.l->v[i], a->v[0], a->v[1], &key) ||
            !fold(x, case_sensitive, &key) || !jv_push(x, keys, key))
            return false;
    }
    if (!jv_to_list(x, keys, &sorted_keys) ||
        !jv_sort(x, keys.l->v, items.l->v, items.l->n, false) ||
        !jv_sort(x, keys.l->v, sorted_keys.l->v, items.l->n, false) || !jv_list(x, JV_LIST, 0, out))
        return false;
    for (size_t i = 0; i < items.l->n;) {
        jv group, members, grouper;
        if (!jv_list(x, JV_TUPLE, 2, &group) || !jv_list(x, JV_LIST, 0, &members)) return false;
        const size_t first = i;
        for (bool same = true; i < items.l->n && same;) {
            if (i > first && !jv_equal(x, sorted_keys.l->v[first], sorted_keys.l->v[i], &same))
                return false;
            if (same && !jv_push(x, members, items.l->v[i++])) return false;
        }
        grouper = sorted_keys.l->v[first];
        if (!case_sensitive && !jv_attribute_path(x, items.l->v[first], a->v[0], a->v[1], &grouper))
            return false;
        group.l->group = true;
        if (!jv_push(x, group, grouper) || !jv_push(x, group, members) || !jv_push(x, *out, group))
            return false;
    }
    return true;
}

/* batch(value, linecount, fill_with=None) */
static bool f_batch(jx *x, jv self, const jargs *a, jv *out)
{
    jv all, item, row = jv_none();
    jsource src;
    bool got;
    int64_t count;
    if (!as_int(x, a->v[0], 0, &count) || !jv_list(x, JV_LIST, 0, &all) ||
        !x_source_init(x, &src, self))
        return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) break;
        if (row.t == JV_NONE || (int64_t)row.l->n == count) {
            if (!jv_list(x, JV_LIST, 0, &row) || !jv_push(x, all, row)) return false;
            if (count == 0 && all.l->n == 1 &&
                !(jv_list(x, JV_LIST, 0, &row) && jv_push(x, all, row)))
                return false;
        }
        if (!jv_push(x, row, item)) return false;
    }
    if (row.t != JV_NONE && GIVEN(a->v[1]) && a->v[1].t != JV_NONE)
        while ((int64_t)row.l->n < count)
            if (!x_step(x, 1) || !jv_push(x, row, a->v[1])) return false;
    return jv_iter(x, all, "generator", out);
}

/* slice(value, slices, fill_with=None) */
static bool f_slice(jx *x, jv self, const jargs *a, jv *out)
{
    jv seq, all;
    int64_t slices;
    if (!as_int(x, a->v[0], 0, &slices) || !jv_to_list(x, self, &seq) ||
        !jv_list(x, JV_LIST, 0, &all))
        return false;
    if (slices == 0) return x_fail(x, "integer division or modulo by zero");
    const int64_t n = (int64_t)seq.l->n, each = slices > 0 ? n / slices : 0,
                  extra = slices > 0 ? n % slices : 0;
    int64_t at = 0;
    for (int64_t i = 0; i < slices; i++) {
        jv part;
        if (!x_step(x, 1) || !jv_list(x, JV_LIST, 0, &part) || !jv_push(x, all, part)) return false;
        for (int64_t k = 0; k < each + (i < extra); k++)
            if (!jv_push(x, part, seq.l->v[at++])) return false;
        if (i >= extra && GIVEN(a->v[1]) && a->v[1].t != JV_NONE && !jv_push(x, part, a->v[1]))
            return false;
    }
    return jv_iter(x, all, "generator", out);
}

/* ---- map and select -------------------------------------------------------------------------- */

static bool f_map(jx *x, jv self, const jargs *a, jv *out)
{
    jv all, item, value;
    jsource src;
    bool got;
    if (!jv_list(x, JV_LIST, 0, &all)) return false;
    if (!jv_truth(self)) return jv_iter(x, all, "generator", out);
    const jfilter *f = NULL;
    jv path = JV(JV_MISSING), dflt = JV(JV_MISSING);
    jargs rest = {0};
    for (size_t i = 0; a->n == 0 && i < a->n_kw; i++) {
        if (str_is(a->kw[i].name, "attribute"))
            path = a->kw[i].value;
        else if (str_is(a->kw[i].name, "default"))
            dflt = a->kw[i].value;
        else if (a->n_kw > 0)
            return x_fail(x, "Unexpected keyword argument '" STR_FMT "'", STR_ARG(a->kw[i].name));
    }
    if (a->n == 0 && !GIVEN(path)) return x_fail(x, "map requires a filter argument");
    if (a->n) {
        if (a->v[0].t != JV_STR || !(f = jinja_find_filter(jv_text(a->v[0]))))
            return x_fail(x, "No filter named %s.", jv_show(x, a->v[0]));
        rest = (jargs){.v = a->v + 1, .n = a->n - 1, .kw = a->kw, .n_kw = a->n_kw};
    }
    if (!x_source_init(x, &src, self)) return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) return jv_iter(x, all, "generator", out);
        if (f ? !jinja_apply(x, f, "filter", item, &rest, &value)
              : !jv_attribute_path(x, item, path, dflt, &value))
            return false;
        if (!jv_push(x, all, value)) return false;
    }
}

static bool choose(jx *x, jv self, const jargs *a, bool wanted, bool by_attribute, jv *out)
{
    jv all, item, value;
    jsource src;
    bool got;
    if (!jv_list(x, JV_LIST, 0, &all)) return false;
    if (!jv_truth(self)) return jv_iter(x, all, "generator", out);
    if (by_attribute && a->n == 0) return x_fail(x, "Missing parameter for attribute name");
    const jfilter *test = NULL;
    jargs rest = {.v = a->v, .n = a->n, .kw = a->kw, .n_kw = a->n_kw};
    const jv path = by_attribute ? a->v[0] : JV(JV_MISSING);
    if (by_attribute) {
        rest.v++;
        rest.n--;
    }
    if (rest.n) {
        if (rest.v[0].t != JV_STR || !(test = jinja_find_test(jv_text(rest.v[0]))))
            return x_fail(x, "No test named %s.", jv_show(x, rest.v[0]));
        rest.v++;
        rest.n--;
    }
    if (!x_source_init(x, &src, self)) return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) return jv_iter(x, all, "generator", out);
        if (!jv_attribute_path(x, item, path, JV(JV_MISSING), &value)) return false;
        if (test && !jinja_apply(x, test, "test", value, &rest, &value)) return false;
        if (jv_truth(value) == wanted && !jv_push(x, all, item)) return false;
    }
}

static bool f_select(jx *x, jv self, const jargs *a, jv *out)
{
    return choose(x, self, a, true, false, out);
}
static bool f_reject(jx *x, jv self, const jargs *a, jv *out)
{
    return choose(x, self, a, false, false, out);
}
static bool f_selectattr(jx *x, jv self, const jargs *a, jv *out)
{
    return choose(x, self, a, true, true, out);
}
static bool f_rejectattr(jx *x, jv self, const jargs *a, jv *out)
{
    return choose(x, self, a, false, true, out);
}

static bool f_attr(jx *x, jv self, const jargs *a, jv *out)
{
    bool found, unsafe;
    const jv name = a->v[0];
    if (name.t != JV_STR)
        return x_fail(x, "attribute name must be string, not '%s'", jv_type_name(name));
    if (self.t == JV_UNDEFINED) return jv_use_undefined(x, self);
    if (!jv_find_attribute(x, self, jv_text(name), out, &found, &unsafe)) return false;
    if (!found) return jv_undefined_attr(x, self, name, out); // and no look at the items
    return jv_getattr(x, self, jv_text(name), out);
}

static bool f_refused(jx *x, jv self, const jargs *a, jv *out)
{
    (void)self;
    (void)a;
    (void)out;
    return x_unsupported(
        x, "the filters pprint, urlize and wordwrap are not supported in chat templates");
}

static const jfilter filters[] = {
    {"abs", f_abs, "", 0, 0},
    {"attr", f_attr, "name", 1, 1},
    {"batch", f_batch, "linecount,fill_with", 1, 2},
    {"capitalize", f_capitalize, "", 0, 0},
    {"center", f_center, "width", 0, 1},
    {"count", f_length, "", 0, 0},
    {"d", f_default, "default_value,boolean", 0, 2},
    {"default", f_default, "default_value,boolean", 0, 2},
    {"dictsort", f_dictsort, "case_sensitive,by,reverse", 0, 3},
    {"e", f_escape, "", 0, 0},
    {"escape", f_escape, "", 0, 0},
    {"filesizeformat", f_filesizeformat, "binary", 0, 1},
    {"first", f_first, "", 0, 0},
    {"float", f_float, "default", 0, 1},
    {"forceescape", f_forceescape, "", 0, 0},
    {"format", f_format, NULL, 0, 0},
    {"groupby", f_groupby, "attribute,default,case_sensitive", 1, 3},
    {"indent", f_indent, "width,first,blank", 0, 3},
    {"int", f_int, "default,base", 0, 2},
    {"items", f_items, "", 0, 0},
    {"join", f_join, "d,attribute", 0, 2},
    {"last", f_last, "", 0, 0},
    {"length", f_length, "", 0, 0},
    {"list", f_list, "", 0, 0},
    {"lower", f_lower, "", 0, 0},
    {"map", f_map, NULL, 0, 0},
    {"max", f_max, "case_sensitive,attribute", 0, 2},
    {"min", f_min, "case_sensitive,attribute", 0, 2},
    {"pprint", f_refused, NULL, 0, 0},
    {"random", f_random, "", 0, 0},
    {"reject", f_reject, NULL, 0, 0},
    {"rejectattr", f_rejectattr, NULL, 0, 0},
    {"replace", f_replace, "old,new,count", 2, 3},
    {"reverse", f_reverse, "", 0, 0},
    {"round", f_round, "precision,method", 0, 2},
    {"safe", f_safe, "", 0, 0},
    {"select", f_select, NULL, 0, 0},
    {"selectattr", f_selectattr, NULL, 0, 0},
    {"slice", f_slice, "slices,fill_with", 1, 2},
    {"sort", f_sort, "reverse,case_sensitive,attribute", 0, 3},
    {"string", f_string, "", 0, 0},
    {"striptags", f_striptags, "", 0, 0},
    {"sum", f_sum, "attribute,start", 0, 2},
    {"title", f_title, "", 0, 0},
    {"tojson", jf_tojson, "ensure_ascii,indent,separators,sort_keys", 0, 4},
    {"trim", f_trim, "chars", 0, 1},
    {"truncate", f_truncate, "length,killwords,end,leeway", 0, 4},
    {"unique", f_unique, "case_sensitive,attribute", 0, 2},
    {"upper", f_upper, "", 0, 0},
    {"urlencode", f_urlencode, "", 0, 0},
    {"urlize", f_refused, NULL, 0, 0},
    {"wordcount", f_wordcount, "", 0, 0},
    {"wordwrap", f_refused, NULL, 0, 0},
    {"xmlattr", f_xmlattr, "autospace", 0, 1},
};

const jfilter *jinja_find_filter(mltf_str name)
{
    size_t lo = 0, hi = sizeof filters / sizeof *filters;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2, n = strlen(filters[mid].name);
        int order = memcmp(name.p, filters[mid].name, name.n < n ? name.n : n);
        if (order == 0) order = (name.n > n) - (name.n < n);
        if (order == 0) return &filters[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

bool jinja_apply(jx *x, const jfilter *f, const char *what, jv self, const jargs *args, jv *out)
{
    (void)what;
    if (!x_enter(x)) return false;
    jv slots[4];
    jargs bound = {.v = slots, .n = f->max};
    bool ok = !f->params || jinja_bind(x, f->name, f->params, f->min, f->max, args, slots);
    ok = ok && f->fn(x, self, f->params ? &bound : args, out);
    x->depth--;
    return ok;
}
