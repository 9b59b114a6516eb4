/* Template text to tokens, as jinja2/lexer.py does it with trim_blocks and lstrip_blocks on.
 *
 * Easy to get wrong: a "}}" inside open brackets of the expression is two braces; "-" beside a tag eats
 * all white space, line ends too; without it, the white space before a block or comment goes only if
 * nothing else stands before it on its line, and one line end after "%}" or "#}" goes (not after
 * "}}"; after "{% raw %}" neither). "+" switches either off. */
#include "templates/jinja_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/c_locale.h"
#include "base/pytext.h"
#include "base/utf8.h"

typedef struct lexer {
    mltf_arena *a;
    const char *s;
    size_t n, at;
    jtoken *tok;
    size_t n_tok, cap;
    mltf_str source;
    mltf_err *err;
} lexer;

void jinja_position(mltf_str source, uint32_t pos, size_t *line, size_t *column)
{
    size_t l = 1, start = 0;
    for (size_t i = 0; i < pos && i < source.n; i++)
        if (source.p[i] == '\n') {
            l++;
            start = i + 1;
        }
    *line = l;
    *column = utf8_count(source.p + start, (pos < source.n ? pos : source.n) - start) + 1;
}

mltf_status jinja_syntax_error(mltf_err *err, mltf_status st, mltf_str source, uint32_t pos,
                               const char *fmt, ...)
{
    char msg[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    size_t line, column;
    jinja_position(source, pos, &line, &column);
    return mltf_fail(err, st, "line %zu, column %zu: %s", line, column, msg);
}

#define LEX_FAIL(lx, pos, ...)                                                                     \
    jinja_syntax_error((lx)->err, MLTF_CORRUPT_FILE, (lx)->source, (uint32_t)(pos), __VA_ARGS__)

/* Python's str.isspace() for one character at p; its bytes, or 0. */
static size_t space_at(const char *p, const char *end)
{
    size_t len;
    return pytext_is_space(utf8_decode(p, (size_t)(end - p), &len)) ? len : 0;
}

static size_t skip_space(const lexer *lx, size_t i)
{
    while (i < lx->n) {
        const size_t k = space_at(lx->s + i, lx->s + lx->n);
        if (k == 0) break;
        i += k;
    }
    return i;
}

/* The end of [from, to) without trailing white space. */
static size_t trim_right(const lexer *lx, size_t from, size_t to)
{
    return from + pytext_rstrip((mltf_str){lx->s + from, to - from}).n;
}

static mltf_status push(lexer *lx, jt_type type, size_t pos, mltf_str text, jtoken **out)
{
    if (!ARENA_RESERVE(lx->a, lx->tok, lx->cap, lx->n_tok + 1)) return mltf_fail_memory(lx->err);
    jtoken *t = &lx->tok[lx->n_tok++];
    *t = (jtoken){.type = (uint8_t)type, .pos = (uint32_t)pos, .text = text};
    if (out) *out = t;
    return MLTF_OK;
}

static mltf_status push_data(lexer *lx, size_t from, size_t to)
{
    if (to <= from) return MLTF_OK;
    return push(lx, JT_DATA, from, (mltf_str){lx->s + from, to - from}, NULL);
}

/* Where the text [from, to) in front of a tag with this sign really ends. */
static size_t text_end(const lexer *lx, size_t from, size_t to, char sign, bool variable)
{
    if (sign == '-') return trim_right(lx, from, to);
    if (sign == '+' || variable) return to;
    size_t line = to;
    while (line > from && lx->s[line - 1] != '\n') line--;
    if (line == from && from > 0 && lx->s[from - 1] != '\n') return to;
    return trim_right(lx, line, to) == line ? line : to;
}

static bool is_name_start(char c)
{
    return ascii_is_alpha(c) || c == '_' || (unsigned char)c >= 0x80;
}

/* Digits with single underscores between them, from i; returns the end. */
static size_t skip_digits(const lexer *lx, size_t i)
{
    if (i >= lx->n || !ascii_is_digit(lx->s[i])) return i;
    i++;
    while (i < lx->n && (ascii_is_digit(lx->s[i]) ||
                         (lx->s[i] == '_' && i + 1 < lx->n && ascii_is_digit(lx->s[i + 1]))))
        i++;
    return i;
}

static bool in_base(char c, int base)
{
    if (base == 2) return c == '0' || c == '1';
    if (base == 8) return c >= '0' && c <= '7';
    return ascii_hex(c) >= 0;
}

static mltf_status lex_number(lexer *lx)
{
    const size_t from = lx->at;
    const char *s = lx->s;
    size_t end = skip_digits(lx, from);
    bool is_float = false;
    int base = 10;
    size_t digits_from = from;
    if (from == 0 || s[from - 1] != '.') { // "a.1.2" is two subscripts
        size_t i = end;
        if (i + 1 < lx->n && s[i] == '.' && ascii_is_digit(s[i + 1])) {
            i = skip_digits(lx, i + 1);
            is_float = true;
        }
        if (i < lx->n && (s[i] == 'e' || s[i] == 'E')) {
            size_t k = i + 1;
            if (k < lx->n && (s[k] == '+' || s[k] == '-')) k++;
            if (k < lx->n && ascii_is_digit(s[k])) {
                i = skip_digits(lx, k);
                is_float = true;
            }
        }
        if (is_float) end = i;
    }
    if (!is_float && s[from] == '0') {
        const char c = from + 1 < lx->n ? s[from + 1] : 0;
        base = c == 'x' || c == 'X' ? 16 : c == 'o' || c == 'O' ? 8 : c == 'b' || c == 'B' ? 2 : 10;
        if (base != 10) {
            size_t i = from + 2;
            while (i < lx->n && (in_base(s[i], base) ||
                                 (s[i] == '_' && i + 1 < lx->n && in_base(s[i + 1], base))))
                i++;
            if (i > from + 2) {
                end = i;
                digits_from = from + 2;
            } else {
                base = 10;
            }
        }
        if (base == 10) { // only zeros: "007" is not a number
            end = from + 1;
            while (end < lx->n &&
                   (s[end] == '0' || (s[end] == '_' && end + 1 < lx->n && s[end + 1] == '0')))
                end++;
        }
    }
    char *digits = arena_alloc_small(lx->a, end - from + 1);
    if (!digits) return mltf_fail_memory(lx->err);
    size_t k = 0;
    for (size_t i = digits_from; i < end; i++)
        if (s[i] != '_') digits[k++] = s[i];
    digits[k] = 0;
    jtoken *t;
    TRY(push(lx, is_float ? JT_FLOAT : JT_INT, from, (mltf_str){s + from, end - from}, &t));
    if (is_float) {
        t->d = c_strtod(digits, NULL);
    } else {
        errno = 0;
        t->i = strtoll(digits, NULL, base);
        if (errno) return LEX_FAIL(lx, from, "the integer %.40s does not fit 64 bits", digits);
    }
    lx->at = end;
    return MLTF_OK;
}

/* One escape sequence of Python's; i stands behind the backslash. */
static mltf_status unescape_one(lexer *lx, size_t *at, size_t end, mltf_buf *b)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    const char c = lx->s[*at];
    if (c == '\n') {
        *at += 1;
        return MLTF_OK;
    }
    const char *known = c ? strchr(from, c) : NULL;
    if (known) {
        buf_putc(b, to[known - from]);
        *at += 1;
        return MLTF_OK;
    }
    uint32_t cp = 0;
    if (c >= '0' && c <= '7') {
        size_t k = 0;
        for (; k < 3 && *at < end && lx->s[*at] >= '0' && lx->s[*at] <= '7'; k++, *at += 1)
            cp = cp * 8 + (uint32_t)(lx->s[*at] - '0');
    } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t want = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        for (size_t k = 0; k < want; k++) {
            const int h = *at + 1 + k < end ? ascii_hex(lx->s[*at + 1 + k]) : -1;
            if (h < 0) return LEX_FAIL(lx, *at - 1, "truncated \\%c escape", c);
            cp = cp << 4 | (uint32_t)h;
        }
        if (cp > 0x10ffff) return LEX_FAIL(lx, *at - 1, "illegal Unicode character");
        *at += 1 + want;
    } else if (c == 'N') {
        return jinja_syntax_error(
            lx->err, MLTF_UNSUPPORTED, lx->source, (uint32_t)*at - 1,
            "escape sequences with character names (\\N{...}) are not supported");
    } else if ((unsigned char)c >=
               0x80) { // the reference escapes these first, and then does not undo it
        size_t len;
        cp = utf8_decode(lx->s + *at, end - *at, &len);
        buf_printf(b, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
        *at += len;
        return MLTF_OK;
    } else {
        buf_putc(b, '\\'); // unknown escapes stay
        buf_putc(b, c);
        *at += 1;
        return MLTF_OK;
    }
    char u[4];
    buf_append(b, u, utf8_encode(u, cp));
    return MLTF_OK;
}

static mltf_status lex_string(lexer *lx)
{
    const size_t from = lx->at;
    const char quote = lx->s[from];
    size_t end = from + 1;
    bool plain = true;
    while (end < lx->n && lx->s[end] != quote) {
        if (lx->s[end] == '\\') {
            plain = false;
            end++;
        }
        end++;
    }
    if (end >= lx->n)
        return LEX_FAIL(lx, from, "unexpected char %c: the string does not end", quote);
    mltf_str text = {lx->s + from + 1, end - from - 1};
    if (!plain) {
        mltf_buf b = MLTF_BUF_INIT;
        mltf_status st = MLTF_OK;
        for (size_t i = from + 1; i < end && st == MLTF_OK;) {
            if (lx->s[i] != '\\') {
                buf_putc(&b, lx->s[i++]);
                continue;
            }
            i++;
            st = unescape_one(lx, &i, end, &b);
        }
        if (st == MLTF_OK) st = buf_status(&b, lx->err);
        text = arena_str(lx->a, buf_str(&b));
        mltf_buf_release(&b);
        if (st != MLTF_OK) return st;
        if (!text.p) return mltf_fail_memory(lx->err);
    }
    lx->at = end + 1;
    return push(lx, JT_STRING, from, text, NULL);
}

static const struct {
    char text[3];
    uint8_t type;
} operators[] = {
    {"//", JT_FLOORDIV}, {"**", JT_POW},   {"==", JT_EQ},      {"!=", JT_NE},      {">=", JT_GE},
    {"<=", JT_LE},       {"+", JT_ADD},    {"-", JT_SUB},      {"/", JT_DIV},      {"*", JT_MUL},
    {"%", JT_MOD},       {"~", JT_TILDE},  {"[", JT_LBRACKET}, {"]", JT_RBRACKET}, {"(", JT_LPAREN},
    {")", JT_RPAREN},    {"{", JT_LBRACE}, {"}", JT_RBRACE},   {">", JT_GT},       {"<", JT_LT},
    {"=", JT_ASSIGN},    {".", JT_DOT},    {":", JT_COLON},    {"|", JT_PIPE},     {",", JT_COMMA},
    {";", JT_SEMICOLON},
};

/* Does the source go on with `text` at i? */
static bool here(const lexer *lx, size_t i, const char *text)
{
    const size_t n = strlen(text);
    return i + n <= lx->n && memcmp(lx->s + i, text, n) == 0;
}

/* The inside of {{ }} or {% %} up to and with its end. */
static mltf_status lex_tag(lexer *lx, bool block)
{
    const char *close = block ? "%}" : "}}";
    const size_t opened = lx->at;
    char open[JX_MAX_PARSE + 1];
    size_t depth = 0;
    for (;;) {
        lx->at = skip_space(lx, lx->at);
        if (lx->at >= lx->n)
            return LEX_FAIL(lx, lx->n,
                            "unexpected end of template: the tag opened at byte %zu has no \"%s\"",
                            opened, close);
        const size_t i = lx->at;
        const char c = lx->s[i];
        if (depth == 0) {
            const bool minus = c == '-' && here(lx, i + 1, close),
                       plus = block && c == '+' && here(lx, i + 1, close);
            if (minus || plus || here(lx, i, close)) {
                size_t end = i + 2 + (minus || plus);
                if (minus)
                    end = skip_space(lx, end);
                else if (block && !plus && end < lx->n && lx->s[end] == '\n')
                    end++;
                TRY(push(lx, block ? JT_BLOCK_END : JT_VAR_END, i, (mltf_str){lx->s + i, 2}, NULL));
                lx->at = end;
                return MLTF_OK;
            }
        }
        if (ascii_is_digit(c)) {
            TRY(lex_number(lx));
            continue;
        }
        if (is_name_start(c)) {
            size_t end = i;
            while (end < lx->n && (is_name_start(lx->s[end]) || ascii_is_digit(lx->s[end])) &&
                   !space_at(lx->s + end, lx->s + lx->n))
                end++;
            TRY(push(lx, JT_NAME, i, (mltf_str){lx->s + i, end - i}, NULL));
            lx->at = end;
            continue;
        }
        if (c == '\'' || c == '"') {
            TRY(lex_string(lx));
            continue;
        }
        size_t k = 0;
        const size_t n_ops = sizeof operators / sizeof *operators;
        while (k < n_ops && !here(lx, i, operators[k].text)) k++;
        if (k == n_ops)
            return LEX_FAIL(lx, i, "unexpected char '%c'", c >= 32 && c < 127 ? c : '?');
        if (c == '(' || c == '[' || c == '{') {
            if (depth == JX_MAX_PARSE)
                return LEX_FAIL(lx, i, "brackets are nested more than %u deep", JX_MAX_PARSE);
            open[depth++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        } else if (c == ')' || c == ']' || c == '}') {
            if (depth == 0) return LEX_FAIL(lx, i, "unexpected '%c'", c);
            if (open[--depth] != c)
                return LEX_FAIL(lx, i, "unexpected '%c', expected '%c'", c, open[depth]);
        }
        const size_t len = strlen(operators[k].text);
        TRY(push(lx, operators[k].type, i, (mltf_str){lx->s + i, len}, NULL));
        lx->at = i + len;
    }
}

/* "{%- raw %}" at i: the end of that tag, or 0. */
static size_t raw_tag_end(const lexer *lx, size_t i)
{
    i += 2;
    if (i < lx->n && (lx->s[i] == '-' || lx->s[i] == '+')) i++;
    i = skip_space(lx, i);
    if (!here(lx, i, "raw")) return 0;
    i = skip_space(lx, i + 3);
    if (here(lx, i, "-%}")) return skip_space(lx, i + 3);
    return here(lx, i, "%}") ? i + 2 : 0;
}

static mltf_status lex_raw(lexer *lx, size_t from, size_t opened)
{
    for (size_t i = from; i + 1 < lx->n; i++) {
        if (!here(lx, i, "{%")) continue;
        size_t k = i + 2;
        const char sign = k < lx->n && (lx->s[k] == '-' || lx->s[k] == '+') ? lx->s[k] : 0;
        k = skip_space(lx, k + (sign != 0));
        if (!here(lx, k, "endraw")) continue;
        k = skip_space(lx, k + 6);
        const bool minus = here(lx, k, "-%}"), plus = here(lx, k, "+%}");
        if (!minus && !plus && !here(lx, k, "%}")) continue;
        size_t end = k + 2 + (minus || plus);
        if (minus)
            end = skip_space(lx, end);
        else if (!plus && end < lx->n && lx->s[end] == '\n')
            end++;
        TRY(push_data(lx, from, text_end(lx, from, i, sign, false)));
        lx->at = end;
        return MLTF_OK;
    }
    return LEX_FAIL(lx, opened, "missing end of raw directive");
}

static mltf_status lex_comment(lexer *lx, size_t opened)
{
    for (size_t i = lx->at; i + 1 < lx->n; i++) {
        if (!here(lx, i, "#}")) continue;
        const char before = i > lx->at ? lx->s[i - 1] : 0;
        size_t end = i + 2;
        if (before == '-')
            end = skip_space(lx, end);
        else if (before != '+' && end < lx->n && lx->s[end] == '\n')
            end++;
        lx->at = end;
        return MLTF_OK;
    }
    if (lx->at < lx->n) return LEX_FAIL(lx, opened, "missing end of comment tag");
    return MLTF_OK;
}

mltf_status jinja_lex(mltf_arena *a, mltf_str source, jtoken **tokens, size_t *n, mltf_err *err)
{
    lexer lexer_ = {.a = a, .s = source.p, .n = source.n, .source = source, .err = err},
          *lx = &lexer_;
    while (lx->at < lx->n) {
        const size_t from = lx->at;
        size_t i = from;
        for (;; i++) {
            const char *brace = i < lx->n ? memchr(lx->s + i, '{', lx->n - i) : NULL;
            if (!brace || brace + 1 >= lx->s + lx->n) {
                i = lx->n;
                break;
            }
            i = (size_t)(brace - lx->s);
            if (brace[1] == '{' || brace[1] == '%' || brace[1] == '#') break;
        }
        if (i >= lx->n) {
            TRY(push_data(lx, from, lx->n));
            break;
        }
        const char kind = lx->s[i + 1];
        const char next = i + 2 < lx->n ? lx->s[i + 2] : 0;
        const char sign = next == '-' || next == '+' ? next : 0;
        TRY(push_data(lx, from, text_end(lx, from, i, sign, kind == '{')));
        const size_t raw = kind == '%' ? raw_tag_end(lx, i) : 0;
        if (raw) {
            TRY(lex_raw(lx, raw, i));
            continue;
        }
        lx->at = i + 2 + (sign != 0);
        if (kind == '#') {
            TRY(lex_comment(lx, i));
            continue;
        }
        TRY(push(lx, kind == '{' ? JT_VAR_BEGIN : JT_BLOCK_BEGIN, i, (mltf_str){lx->s + i, 2},
                 NULL));
        TRY(lex_tag(lx, kind == '%'));
    }
    TRY(push(lx, JT_EOF, lx->n, (mltf_str){"", 0}, NULL));
    *tokens = lx->tok;
    *n = lx->n_tok;
    return MLTF_OK;
}
