/* Filters that make text of a value. */
#include "templates/jinja_filters.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "base/pytext.h"
#include "base/utf8.h"
#include "base/python_unicode.h"

static bool f_upper(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return jf_str_method(x, "upper", self, NULL, 0, out);
}
static bool f_lower(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return jf_str_method(x, "lower", self, NULL, 0, out);
}
static bool f_capitalize(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return jf_str_method(x, "capitalize", self, NULL, 0, out);
}
static bool f_trim(jx *x, jv self, const jargs *a, jv *out)
{
    return jf_str_method(x, "strip", self, a->v, GIVEN(a->v[0]), out);
}
static bool f_string(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return jv_to_str(x, self, out);
}

static bool f_center(jx *x, jv self, const jargs *a, jv *out)
{
    const jv width = GIVEN(a->v[0]) ? a->v[0] : jv_int(80);
    return jf_str_method(x, "center", self, &width, 1, out);
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
            cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || pytext_is_space(cp);
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
    return jf_str_method(x, "replace", self, arg, 3, out);
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
    pytext_join_words(&b, s);
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
        if (!jf_int_argument(x, a->v[0], 4, &width) || !jv_cstr(x, " ", &space) ||
            !jv_binary(x, JO_MUL, space, jv_int(width), &indent))
            return false;
    }
    // a line end is added first, so that text ending in one keeps it
    jv end;
    if (!jv_cstr(x, "\n", &end)) return false;
    end.markup = self.markup;
    if (!jv_concat(x, self, end, &text) || !jf_str_method(x, "splitlines", text, NULL, 0, &lines))
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
    if (!jf_int_argument(x, a->v[0], 255, &length)) return false;
    if (GIVEN(a->v[2]))
        end = a->v[2];
    else if (!jv_cstr(x, "...", &end))
        return false;
    if (end.t != JV_STR)
        return x_fail(x, "can only concatenate str (not \"%s\") to str", jv_type_name(end));
    if (!jf_int_argument(x, a->v[3].t == JV_NONE ? JV(JV_MISSING) : a->v[3], 5, &leeway))
        return false;
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
        const char c = s.p[i];
        if (ascii_is_alnum(c) || c == '_' || c == '.' || c == '-' || c == '~' ||
            (c == '/' && !query))
            buf_putc(b, c);
        else if (c == ' ' && query)
            buf_putc(b, '+');
        else
            buf_printf(b, "%%%02X", (unsigned char)c);
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

static bool f_refused(jx *x, jv self, const jargs *a, jv *out)
{
    (void)self;
    (void)a;
    (void)out;
    return x_unsupported(
        x, "the filters pprint, urlize and wordwrap are not supported in chat templates");
}

const jfilter jinja_text_filters[] = {
    {"capitalize", f_capitalize, "", 0, 0},
    {"center", f_center, "width", 0, 1},
    {"e", f_escape, "", 0, 0},
    {"escape", f_escape, "", 0, 0},
    {"forceescape", f_forceescape, "", 0, 0},
    {"format", f_format, NULL, 0, 0},
    {"indent", f_indent, "width,first,blank", 0, 3},
    {"lower", f_lower, "", 0, 0},
    {"pprint", f_refused, NULL, 0, 0},
    {"replace", f_replace, "old,new,count", 2, 3},
    {"safe", f_safe, "", 0, 0},
    {"string", f_string, "", 0, 0},
    {"striptags", f_striptags, "", 0, 0},
    {"title", f_title, "", 0, 0},
    {"tojson", jf_tojson, "ensure_ascii,indent,separators,sort_keys", 0, 4},
    {"trim", f_trim, "chars", 0, 1},
    {"truncate", f_truncate, "length,killwords,end,leeway", 0, 4},
    {"upper", f_upper, "", 0, 0},
    {"urlencode", f_urlencode, "", 0, 0},
    {"urlize", f_refused, NULL, 0, 0},
    {"wordcount", f_wordcount, "", 0, 0},
    {"wordwrap", f_refused, NULL, 0, 0},
    {"xmlattr", f_xmlattr, "autospace", 0, 1},
    {0},
};
