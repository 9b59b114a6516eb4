#include "base/pyformat.h"

#include <string.h>

#include "base/ascii.h"
#include "base/pytext.h"
#include "base/utf8.h"

#define FAIL(...) mltf_fail(err, MLTF_PREDICT_FAILED, __VA_ARGS__)

static bool at(const char *p, const char *end, const char *any_of)
{
    return p < end && *p && strchr(any_of, *p);
}

/* name[!conversion][:spec]} at p; *past: behind the brace. */
static mltf_status read_field(const char *p, const char *end, pyformat_field *f, const char **past,
                              mltf_err *err)
{
    *f = (pyformat_field){.name = {p, 0}};
    while (p < end && !at(p, end, "{}!:")) p++;
    f->name.n = (size_t)(p - f->name.p);
    if (at(p, end, "!")) {
        if (end - p < 3 || !at(p + 2, end, ":}"))
            return FAIL("expected ':' after conversion specifier");
        f->conversion = p[1];
        p += 2;
    }
    if (at(p, end, ":")) {
        f->spec.p = ++p;
        while (p < end && !at(p, end, "{}")) p++;
        f->spec.n = (size_t)(p - f->spec.p);
    }
    if (at(p, end, "{")) return FAIL("fields inside of fields are not supported");
    if (p == end) return FAIL("expected '}' before end of string");
    *past = p + 1;
    return MLTF_OK;
}

mltf_status pyformat_next(mltf_str *rest, mltf_buf *out, pyformat_field *f, bool *more,
                          mltf_err *err)
{
    const char *p = rest->p, *const end = rest->p + rest->n;
    *more = false;
    for (; p < end; p++) {
        if (at(p, end, "{}") && p + 1 < end && p[1] == *p)
            p++;
        else if (*p == '}')
            return FAIL("Single '}' encountered in format string");
        else if (*p == '{')
            break;
        if (out) buf_putc(out, *p);
    }
    *more = p < end;
    if (*more && ++p == end) return FAIL("Single '{' encountered in format string");
    if (*more) TRY(read_field(p, end, f, &p, err));
    *rest = str_slice(*rest, (size_t)(p - rest->p), rest->n);
    return out ? buf_status(out, err) : MLTF_OK;
}

static size_t read_size(const char **p, const char *end)
{
    size_t n = 0;
    for (; *p < end && ascii_is_digit(**p) && n < 100000; (*p)++) n = n * 10 + (size_t)(**p - '0');
    return n;
}

static mltf_status put_padded(mltf_buf *out, mltf_str text, mltf_str spec, mltf_err *err)
{
    mltf_str fill = {NULL, 0};
    char align = '<';
    const char *s = spec.p, *const end = spec.p + spec.n;
    if (spec.n > 0) {
        size_t len = 1;
        utf8_decode(s, spec.n, &len);
        if (at(s + len, end, "<>^=")) {
            fill = (mltf_str){s, len};
            align = s[len];
            s += len + 1;
        } else if (at(s, end, "<>^=")) {
            align = *s++;
        }
    }
    const bool zeros = at(s, end, "0");
    if (zeros) s++;
    if (!fill.p) fill = zeros ? STR("0") : STR(" ");
    const size_t width = read_size(&s, end);
    size_t precision = SIZE_MAX;
    if (s + 1 < end && *s == '.' && ascii_is_digit(s[1])) {
        s++;
        precision = read_size(&s, end);
    }
    if (at(s, end, "s")) s++;
    if (s != end || align == '=')
        return FAIL("Invalid format specifier '" STR_FMT "' for object of type 'str'",
                    STR_ARG(spec));
    size_t count = 0, bytes = 0;
    while (bytes < text.n && count < precision) {
        size_t len = 1;
        utf8_decode(text.p + bytes, text.n - bytes, &len);
        bytes += len;
        count++;
    }
    const size_t space = width > count ? width - count : 0;
    const size_t before = align == '>' ? space : align == '^' ? space / 2 : 0;
    for (size_t i = 0; i < before; i++) buf_put_str(out, fill);
    buf_append(out, text.p, bytes);
    for (size_t i = before; i < space; i++) buf_put_str(out, fill);
    return buf_status(out, err);
}

mltf_status pyformat_put(mltf_buf *out, const pyformat_field *f, mltf_str value, mltf_err *err)
{
    if (f->conversion && !strchr("rsa", f->conversion))
        return FAIL("Unknown conversion specifier %c", f->conversion);
    mltf_buf shown = MLTF_BUF_INIT;
    if (f->conversion == 'r' || f->conversion == 'a')
        pytext_repr(&shown, value, f->conversion == 'a');
    mltf_status st = buf_status(&shown, err);
    if (st == MLTF_OK) st = put_padded(out, shown.p ? buf_str(&shown) : value, f->spec, err);
    mltf_buf_release(&shown);
    return st;
}
