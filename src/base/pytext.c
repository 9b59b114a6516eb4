#include "base/pytext.h"

#include "base/buf.h"
#include "base/python_unicode.h"
#include "base/utf8.h"

bool pytext_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

mltf_str pytext_lstrip(mltf_str s)
{
    while (s.n > 0) {
        size_t len = 1;
        if (!pytext_is_space(utf8_decode(s.p, s.n, &len))) break;
        s = str_slice(s, len, s.n);
    }
    return s;
}

mltf_str pytext_rstrip(mltf_str s)
{
    while (s.n > 0) {
        size_t start = s.n - 1, len = 1;
        while (start > 0 && ((unsigned char)s.p[start] & 0xC0) == 0x80) start--;
        if (!pytext_is_space(utf8_decode(s.p + start, s.n - start, &len))) break;
        s.n = start;
    }
    return s;
}

mltf_str pytext_strip(mltf_str s)
{
    return pytext_lstrip(pytext_rstrip(s));
}

void pytext_repr(mltf_buf *out, mltf_str s, bool ascii)
{
    const bool single = s.n && memchr(s.p, '\'', s.n), both = single && memchr(s.p, '"', s.n);
    const char quote = single && !both ? '"' : '\'';
    buf_putc(out, quote);
    for (size_t i = 0, len; i < s.n; i += len) {
        const uint32_t cp = utf8_decode(s.p + i, s.n - i, &len);
        const char *const plain = "\nn\rr\tt", *const named =
                                                   cp && cp < 0x80 ? strchr(plain, (int)cp) : NULL;
        if (cp == '\\' || cp == (uint32_t)quote)
            buf_printf(out, "\\%c", (int)cp);
        else if (named && cp < ' ')
            buf_printf(out, "\\%c", named[1]);
        else if (cp == UTF8_BAD ||
                 (cp < 0x80 ? cp >= ' ' && cp < 0x7F : !ascii && pyu_is(cp, PYU_PRINTABLE)))
            buf_append(out, s.p + i, len);
        else
            buf_printf(out, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
    }
    buf_putc(out, quote);
}

mltf_str pytext_newlines(mltf_arena *a, mltf_str s)
{
    char *p = arena_strdup(a, s.p, s.n);
    size_t n = 0;
    for (size_t i = 0; p && i < s.n; i++) {
        if (s.p[i] == '\n' && i > 0 && s.p[i - 1] == '\r') continue;
        p[n++] = s.p[i] == '\r' ? '\n' : s.p[i];
    }
    if (p) p[n] = '\0';
    return (mltf_str){p ? p : "", n};
}

void pytext_lower(mltf_buf *out, mltf_str s)
{
    for (size_t at = 0; at < s.n;) {
        uint32_t low[3];
        const size_t n = pyu_lower_at(s, at, low);
        for (size_t i = 0; i < n; i++) {
            char c[4];
            buf_append(out, c, utf8_encode(c, low[i]));
        }
        const char *p = s.p + at;
        utf8_next(&p);
        at = (size_t)(p - s.p);
    }
}

void pytext_join_words(mltf_buf *out, mltf_str s)
{
    const char *between = "";
    for (mltf_str word; (word = pytext_word(&s)).n; between = " ") {
        buf_puts(out, between);
        buf_put_str(out, word);
    }
}

mltf_str pytext_collapse(mltf_arena *a, mltf_str s)
{
    mltf_buf b = MLTF_BUF_INIT;
    pytext_join_words(&b, s);
    const mltf_str out = arena_str(a, buf_str(&b));
    mltf_buf_release(&b);
    return out;
}

mltf_str pytext_word(mltf_str *rest)
{
    const mltf_str s = pytext_lstrip(*rest);
    size_t n = 0;
    for (size_t len = 1; n < s.n; n += len)
        if (pytext_is_space(utf8_decode(s.p + n, s.n - n, &len))) break;
    *rest = str_slice(s, n, s.n);
    return str_slice(s, 0, n);
}
