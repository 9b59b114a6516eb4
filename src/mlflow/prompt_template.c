#include "mlflow/prompt_template.h"

#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/pytext.h"
#include "base/utf8.h"

bool prompt_template_task(const char *task)
{
    static const char *const tasks[] = {"feature-extraction", "fill-mask", "summarization",
                                        "text2text-generation", "text-generation"};
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        if (strcmp(task, tasks[i]) == 0) return true;
    return false;
}

typedef struct field {
    mltf_str name, spec;
    char conversion; /* 0: none */
} field;

/* The next piece of a format string: literal text into *out (may be NULL), then a field or the end. */
typedef enum { PIECE_END, PIECE_FIELD, PIECE_BAD } piece;

static piece next_piece(const char **p, mltf_buf *out, field *f)
{
    const char *s = *p;
    for (; *s; s++) {
        if ((*s == '{' || *s == '}') && s[1] == *s) {
            if (out) buf_putc(out, *s);
            s++;
            continue;
        }
        if (*s == '}') return PIECE_BAD; // single '}'
        if (*s == '{') break;
        if (out) buf_putc(out, *s);
    }
    if (!*s) {
        *p = s;
        return PIECE_END;
    }
    const char *start = ++s;
    *f = (field){0};
    while (*s && *s != '}' && *s != '!' && *s != ':' && *s != '{') s++;
    f->name = (mltf_str){start, (size_t)(s - start)};
    if (*s == '!') {
        f->conversion = s[1];
        if (!s[1] || (s[2] != '}' && s[2] != ':')) return PIECE_BAD;
        s += 2;
    }
    if (*s == ':') {
        start = ++s;
        while (*s && *s != '}' && *s != '{') s++;
        f->spec = (mltf_str){start, (size_t)(s - start)};
    }
    if (*s != '}') return PIECE_BAD; // unbalanced, or a field inside a field
    *p = s + 1;
    return PIECE_FIELD;
}

mltf_status prompt_template_check(const char *tpl, mltf_err *err)
{
    const char *p = tpl;
    field f;
    size_t fields = 0;
    bool ok = true;
    piece what;
    while ((what = next_piece(&p, NULL, &f)) == PIECE_FIELD) {
        fields++;
        if (!str_is(f.name, "prompt")) ok = false;
    }
    if (what == PIECE_END && ok && fields == 1) return MLTF_OK;
    return mltf_fail(
        err, MLTF_INVALID_INPUT,
        "Argument `prompt_template` must be a string with a single format arg, 'prompt'. For "
        "example: "
        "'Answer the following question in a friendly tone. Q: {prompt}. A:'\nReceived %s. ",
        tpl);
}

/* format(text, spec) for a str: [[fill]align][0][width][.precision][s]. */
static mltf_status put_formatted(mltf_buf *out, mltf_str text, mltf_str spec, mltf_err *err)
{
    mltf_str fill = {NULL, 0};
    char align = '<';
    const char *s = spec.p, *end = spec.p + spec.n;
    if (spec.n > 0) {
        size_t len = 1;
        utf8_decode(s, spec.n, &len);
        if (s + len < end && strchr("<>^=", s[len])) {
            fill = (mltf_str){s, len};
            align = s[len];
            s += len + 1;
        } else if (strchr("<>^=", *s))
            align = *s++;
    }
    const bool zeros = s < end && *s == '0';
    if (zeros) s++;
    if (!fill.p) fill = zeros ? STR("0") : STR(" ");
    size_t width = 0, precision = (size_t)-1;
    while (s < end && *s >= '0' && *s <= '9' && width < 100000)
        width = width * 10 + (size_t)(*s++ - '0');
    if (s + 1 < end && *s == '.' && ascii_is_digit(s[1])) {
        precision = 0;
        for (s++; s < end && *s >= '0' && *s <= '9' && precision < 100000; s++)
            precision = precision * 10 + (size_t)(*s - '0');
    }
    if (s < end && *s == 's') s++;
    if (s != end || align == '=')
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "Invalid format specifier '" STR_FMT "' for object of type 'str'",
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
    return MLTF_OK;
}

mltf_status prompt_template_apply(mltf_buf *out, const char *tpl, mltf_str prompt, mltf_err *err)
{
    const char *p = tpl;
    field f;
    piece what;
    while ((what = next_piece(&p, out, &f)) == PIECE_FIELD) {
        if (!str_is(f.name, "prompt"))
            return mltf_fail(err, MLTF_PREDICT_FAILED, "'" STR_FMT "'", STR_ARG(f.name));
        if (f.conversion && !strchr("rsa", f.conversion))
            return mltf_fail(err, MLTF_PREDICT_FAILED, "Unknown conversion specifier %c",
                             f.conversion);
        mltf_buf shown = MLTF_BUF_INIT;
        if (f.conversion == 'r' || f.conversion == 'a')
            pytext_repr(&shown, prompt, f.conversion == 'a');
        else
            buf_put_str(&shown, prompt);
        const mltf_status st = put_formatted(out, buf_str(&shown), f.spec, err);
        mltf_buf_release(&shown);
        if (st) return st;
    }
    if (what == PIECE_BAD)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "the prompt template is not a valid format string: %s", tpl);
    return buf_status(out, err);
}
