/* JSON text to values.
 *
 * The text is copied once into the arena, behind it zeros; strings are unescaped in place and are
 * views of that copy, each ended by a NUL in place of its closing quote. The zeros are the guard that
 * lets every loop read past the current byte without a test. Containers collect their children on one
 * growing stack and move them into the arena, in one piece, when they close; nesting lies on a stack
 * of frames and never on the C stack.
 *
 * Only when something is wrong is the text looked at again, to tell an invalid encoding (which Python
 * finds first) and to count lines and characters for the message. */
#include "formats/json.h"

#include <stdio.h>
#include <stdlib.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/array.h"
#include "base/ascii.h"
#include "base/c_locale.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "formats/decimal.h"

enum { GUARD = 32, MAX_INT_DIGITS = 4300 /* Python's limit on int() of text */ };

typedef struct frame {
    size_t base; // of its children on their stack
    bool object;
} frame;

typedef struct parser {
    mltf_arena *arena;
    const char *text; // the caller's, for messages
    size_t n;
    char *copy, *end; // end is the first byte of the guard
    bool strict;
    size_t max_depth;
    json *values; // children of open arrays
    size_t n_values, cap_values;
    json_member *members; // children of open objects
    size_t n_members, cap_members;
    frame *frames;
    size_t depth, cap_frames;
    mltf_err *err;
} parser;

/* ---- messages ------------------------------------------------------------------------------ */

static mltf_status fail_encoding(const char *s, size_t n, mltf_err *err)
{
    size_t i = 0, len = 1;
    while (i < n && utf8_decode(s + i, n - i, &len) != UTF8_BAD) i += len;
    const unsigned char b = (unsigned char)s[i];
    const char *why = b < 0xC2 || b > 0xF4 ? "invalid start byte"
                      : i + len == n       ? "unexpected end of data"
                                           : "invalid continuation byte";
    if (len > 1)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "'utf-8' codec can't decode bytes in position %zu-%zu: %s", i, i + len - 1,
                         why);
    return mltf_fail(err, MLTF_CORRUPT_FILE,
                     "'utf-8' codec can't decode byte 0x%02x in position %zu: %s", b, i, why);
}

/* what: line L column C (char N), characters and not bytes, as Python counts. */
static mltf_status fail_at(parser *ps, const char *what, const char *at)
{
    if (!utf8_valid(ps->text, ps->n)) return fail_encoding(ps->text, ps->n, ps->err);
    const size_t pos = (size_t)(at - ps->copy);
    size_t line = 1, line_start = 0;
    for (size_t i = 0; i < pos; i++) {
        if (ps->text[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    }
    return mltf_fail(ps->err, MLTF_CORRUPT_FILE, "%s: line %zu column %zu (char %zu)", what, line,
                     utf8_count(ps->text + line_start, pos - line_start) + 1,
                     utf8_count(ps->text, pos));
}

/* ---- tokens -------------------------------------------------------------------------------- */

static inline char *skip_space(char *p)
{
    if ((unsigned char)*p > ' ') return p;
    for (;;) {
        // one or two bytes are the usual case; indentation comes in long runs
        if (*p == ' ' || *p == '\n') p++;
        if ((unsigned char)*p > ' ') return p;
#if defined(__SSE2__)
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        const __m128i space = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(' ')),
                                                        _mm_cmpeq_epi8(v, _mm_set1_epi8('\n'))),
                                           _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\r')),
                                                        _mm_cmpeq_epi8(v, _mm_set1_epi8('\t'))));
        const unsigned other = ~(unsigned)_mm_movemask_epi8(space) & 0xFFFF;
        if (other) return p + __builtin_ctz(other);
        p += 16;
#else
        if (*p != ' ' && *p != '\n' && *p != '\r' && *p != '\t') return p;
        p++;
#endif
    }
}

/* The first byte from p on that is a quote, a backslash, a control character or not ASCII. */
static inline char *plain_run(char *p)
{
#if defined(__SSE2__)
    for (;; p += 16) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        // signed: bytes from 0x80 on are less than a space too
        const __m128i stop = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                                       _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))),
                                          _mm_cmplt_epi8(v, _mm_set1_epi8(' ')));
        const unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask) return p + __builtin_ctz(mask);
    }
#else
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    for (;; p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        const uint64_t quote = v ^ (ones * '"'), slash = v ^ (ones * '\\');
        if ((((v - ones * ' ') | (quote - ones) | (slash - ones) | v) & tops) == 0) continue;
        while (*p != '"' && *p != '\\' && *p >= ' ') p++;
        return p;
    }
#endif
}

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        const int d = ascii_hex(p[i]);
        if (d < 0) return -1;
        v = v << 4 | d;
    }
    return v;
}

/* A string whose opening quote is at *at; moves *at behind the closing one. */
static mltf_status parse_string(parser *ps, char **at, mltf_str *out)
{
    char *const open = *at;
    char *p = plain_run(open + 1);
    char *to = p; // where the next unescaped byte goes
    for (;;) {
        const unsigned char c = (unsigned char)*p;
        if (c == '"') break;
        if (c >= 0x80) {
            size_t len;
            do {
                if (utf8_decode(p, (size_t)(ps->end - p), &len) == UTF8_BAD)
                    return fail_at(ps, "", p);
                for (size_t i = 0; i < len; i++) *to++ = *p++;
            } while ((unsigned char)*p >= 0x80);
        } else if (c == '\\') {
            char *const slash = p++;
            if (p == ps->end) return fail_at(ps, "Unterminated string starting at", open);
            char plain = 0;
            switch (*p++) {
            case '"':
                plain = '"';
                break;
            case '\\':
                plain = '\\';
                break;
            case '/':
                plain = '/';
                break;
            case 'b':
                plain = '\b';
                break;
            case 'f':
                plain = '\f';
                break;
            case 'n':
                plain = '\n';
                break;
            case 'r':
                plain = '\r';
                break;
            case 't':
                plain = '\t';
                break;
            case 'u':
                break;
            default:
                return fail_at(ps, "Invalid \\escape", slash);
            }
            if (plain) {
                *to++ = plain;
            } else {
                if (ps->end - p <= 4) return fail_at(ps, "Invalid \\uXXXX escape", p - 1);
                int unit = hex4(p);
                if (unit < 0) return fail_at(ps, "Invalid \\uXXXX escape", p - 1);
                p += 4;
                uint32_t cp = (uint32_t)unit;
                if (cp >= 0xD800 && cp < 0xDC00 && ps->end - p > 6 && p[0] == '\\' && p[1] == 'u') {
                    unit = hex4(p + 2);
                    if (unit < 0) return fail_at(ps, "Invalid \\uXXXX escape", p + 1);
                    if (unit >= 0xDC00 && unit < 0xE000) {
                        cp = 0x10000 + ((cp - 0xD800) << 10) + ((uint32_t)unit - 0xDC00);
                        p += 6;
                    }
                }
                to += utf8_encode(to, cp);
            }
        } else {
            if (p == ps->end) return fail_at(ps, "Unterminated string starting at", open);
            return fail_at(ps, "Invalid control character at", p);
        }
        char *const next = plain_run(p);
        if (to != p) memmove(to, p, (size_t)(next - p));
        to += next - p;
        p = next;
    }
    *to = '\0';
    *out = (mltf_str){open + 1, (size_t)(to - open - 1)};
    *at = p + 1;
    return MLTF_OK;
}

/* A number at *at. Integers stay integers, as in Python; 1.0 and 1e2 are doubles. */
static mltf_status parse_number(parser *ps, char **at, json *out)
{
    char *const start = *at;
    char *p = start;
    const bool negative = *p == '-';
    if (negative) p++;
    char *const digits = p;
    if (!ascii_is_digit(*p)) return fail_at(ps, "Expecting value", start);
    uint64_t w = 0;
    if (*p == '0') {
        p++;
    } else {
        while (ascii_is_digit(*p))
            w = w * 10 + (uint64_t)(*p++ - '0'); // wraps past 19 digits: see below
    }
    size_t count = (size_t)(p - digits);
    bool integer = true;
    int64_t exponent = 0;
    if (*p == '.' && ascii_is_digit(p[1])) {
        integer = false;
        char *const point = p++;
        while (ascii_is_digit(*p)) w = w * 10 + (uint64_t)(*p++ - '0');
        exponent = point + 1 - p;
        count += (size_t)(p - point - 1);
    }
    if ((*p | 0x20) == 'e') {
        char *q = p + 1;
        bool minus = false;
        if (*q == '-' || *q == '+') minus = *q++ == '-';
        if (ascii_is_digit(*q)) {
            integer = false;
            int64_t e = 0;
            for (; ascii_is_digit(*q); q++) {
                if (e < 1000000) e = e * 10 + (*q - '0');
            }
            exponent += minus ? -e : e;
            p = q;
        }
    }
    *at = p;
    if (integer) {
        if (count < 19 || (count == 19 && w <= (uint64_t)INT64_MAX + negative)) {
            *out = (json){.type = JSON_INT, .i = (int64_t)(negative ? 0 - w : w)};
            return MLTF_OK;
        }
        if (count > MAX_INT_DIGITS)
            return mltf_fail(
                ps->err, MLTF_CORRUPT_FILE,
                "Exceeds the limit (%d digits) for integer string conversion: value has "
                "%zu digits",
                MAX_INT_DIGITS, count);
        *out = (json){.type = JSON_BIGINT, .s = {start, (size_t)(p - start)}};
        // a copy, because what follows the number is still to be read and cannot become a NUL
        out->s = arena_str(ps->arena, out->s);
        return MLTF_OK;
    }
    if (count > 19) { // leading zeros of 0.000… are no digits
        const char *q = digits;
        while (*q == '0' || *q == '.') {
            count -= *q == '0';
            q++;
        }
    }
    double d;
    if (count > 19 || !decimal_to_double(&d, w, exponent)) d = c_strtod(digits, NULL);
    *out = (json){.type = JSON_DOUBLE, .d = negative ? -d : d};
    return MLTF_OK;
}

/* ---- objects ------------------------------------------------------------------------------- */

static const json_member *find_duplicate(const json_member *m, size_t n, bool *no_memory)
{
    if (n <= 16) {
        for (size_t i = 1; i < n; i++) {
            for (size_t j = 0; j < i; j++) {
                if (str_eq(m[i].key, m[j].key)) return &m[i];
            }
        }
        return NULL;
    }
    size_t size = 64;
    while (size < 2 * n) size *= 2;
    uint32_t *table = calloc(size, sizeof *table);
    if (!table) {
        *no_memory = true;
        return NULL;
    }
    const json_member *found = NULL;
    for (size_t i = 0; i < n && !found; i++) {
        size_t at = hash_str(m[i].key) & (size - 1);
        while (table[at] && !str_eq(m[table[at] - 1].key, m[i].key)) at = (at + 1) & (size - 1);
        if (table[at]) found = &m[i];
        table[at] = (uint32_t)i + 1;
    }
    free(table);
    return found;
}

static mltf_status close_object(parser *ps, json *out)
{
    const size_t base = ps->frames[--ps->depth].base, n = ps->n_members - base;
    *out = (json){.type = JSON_OBJECT};
    if (n == 0) return MLTF_OK;
    if (ps->strict) {
        bool no_memory = false;
        const json_member *m = find_duplicate(ps->members + base, n, &no_memory);
        if (no_memory) return mltf_fail_memory(ps->err);
        if (m)
            return mltf_fail(ps->err, MLTF_CORRUPT_FILE, "duplicate key \"" STR_FMT "\"",
                             STR_ARG(m->key));
    }
    out->o.members = arena_alloc_small(ps->arena, n * sizeof(json_member));
    if (!out->o.members) return mltf_fail_memory(ps->err);
    memcpy(out->o.members, ps->members + base, n * sizeof(json_member));
    out->o.n = n;
    out->cap = n <= UINT32_MAX ? (uint32_t)n : 0;
    ps->n_members = base;
    return MLTF_OK;
}

static mltf_status close_array(parser *ps, json *out)
{
    const size_t base = ps->frames[--ps->depth].base, n = ps->n_values - base;
    *out = (json){.type = JSON_ARRAY};
    if (n == 0) return MLTF_OK;
    out->a.items = arena_alloc_small(ps->arena, n * sizeof(json));
    if (!out->a.items) return mltf_fail_memory(ps->err);
    memcpy(out->a.items, ps->values + base, n * sizeof(json));
    out->a.n = n;
    out->cap = n <= UINT32_MAX ? (uint32_t)n : 0;
    ps->n_values = base;
    return MLTF_OK;
}

static mltf_status open_container(parser *ps, const char *at, bool object)
{
    if (ps->depth >= ps->max_depth) {
        char what[64];
        snprintf(what, sizeof what, "nested deeper than %zu levels", ps->max_depth);
        return fail_at(ps, what, at);
    }
    if (!ARRAY_RESERVE(ps->frames, ps->cap_frames, ps->depth + 1)) return mltf_fail_memory(ps->err);
    ps->frames[ps->depth++] = (frame){object ? ps->n_members : ps->n_values, object};
    return MLTF_OK;
}

static inline bool word_is(const char *p, const char *word, size_t n)
{
    return memcmp(p, word, n) == 0;
}

/* ---- the grammar --------------------------------------------------------------------------- */

static mltf_status parse_value(parser *ps, char **at, json *out)
{
    char *p = *at;
    json v;
    mltf_str text;

value:
    p = skip_space(p);
    switch (*p) {
    case '"':
        TRY(parse_string(ps, &p, &text));
        v = (json){.type = JSON_STRING, .s = text};
        break;
    case '{':
        TRY(open_container(ps, p, true));
        p = skip_space(p + 1);
        if (*p != '}') goto key;
        p++;
        TRY(close_object(ps, &v));
        break;
    case '[':
        TRY(open_container(ps, p, false));
        p = skip_space(p + 1);
        if (*p != ']') goto value;
        p++;
        TRY(close_array(ps, &v));
        break;
    case 't':
        if (!word_is(p, "true", 4)) return fail_at(ps, "Expecting value", p);
        v = (json){.type = JSON_BOOL, .b = true};
        p += 4;
        break;
    case 'f':
        if (!word_is(p, "false", 5)) return fail_at(ps, "Expecting value", p);
        v = (json){.type = JSON_BOOL, .b = false};
        p += 5;
        break;
    case 'n':
        if (!word_is(p, "null", 4)) return fail_at(ps, "Expecting value", p);
        v = (json){.type = JSON_NULL};
        p += 4;
        break;
    case 'N':
        if (ps->strict || !word_is(p, "NaN", 3)) return fail_at(ps, "Expecting value", p);
        v = (json){.type = JSON_DOUBLE, .d = __builtin_nan("")};
        p += 3;
        break;
    case 'I':
        if (ps->strict || !word_is(p, "Infinity", 8)) return fail_at(ps, "Expecting value", p);
        v = (json){.type = JSON_DOUBLE, .d = __builtin_inf()};
        p += 8;
        break;
    case '-':
        if (!ps->strict && word_is(p, "-Infinity", 9)) {
            v = (json){.type = JSON_DOUBLE, .d = -__builtin_inf()};
            p += 9;
            break;
        } // fall through
        __attribute__((fallthrough));
    default:
        TRY(parse_number(ps, &p, &v));
    }

done:
    if (ps->depth == 0) {
        *out = v;
        *at = p;
        return MLTF_OK;
    }
    p = skip_space(p);
    if (!ps->frames[ps->depth - 1].object) {
        if (!ARRAY_RESERVE(ps->values, ps->cap_values, ps->n_values + 1))
            return mltf_fail_memory(ps->err);
        ps->values[ps->n_values++] = v;
        if (*p == ',') {
            p++;
            goto value;
        }
        if (*p != ']') return fail_at(ps, "Expecting ',' delimiter", p);
        p++;
        TRY(close_array(ps, &v));
        goto done;
    }
    ps->members[ps->n_members - 1].value = v;
    if (*p == '}') {
        p++;
        TRY(close_object(ps, &v));
        goto done;
    }
    if (*p != ',') return fail_at(ps, "Expecting ',' delimiter", p);
    p = skip_space(p + 1);

key:
    if (*p != '"') return fail_at(ps, "Expecting property name enclosed in double quotes", p);
    TRY(parse_string(ps, &p, &text));
    p = skip_space(p);
    if (*p != ':') return fail_at(ps, "Expecting ':' delimiter", p);
    p++;
    if (!ARRAY_RESERVE(ps->members, ps->cap_members, ps->n_members + 1))
        return mltf_fail_memory(ps->err);
    ps->members[ps->n_members++] = (json_member){.key = text};
    goto value;
}

mltf_status json_parse_in(mltf_arena *arena, json **out, const char *text, size_t n,
                          const json_parse_options *opts, mltf_err *err)
{
    *out = NULL;
    const json_parse_options none = {0};
    if (!opts) opts = &none;
    if (n > LIMIT_JSON_BYTES)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "JSON of %zu bytes is larger than the limit of %zu", n, LIMIT_JSON_BYTES);
    parser ps = {
        .arena = arena,
        .text = text,
        .n = n,
        .strict = opts->strict,
        .max_depth = opts->max_depth ? opts->max_depth : LIMIT_JSON_DEPTH,
        .err = err,
    };
    ps.copy = arena_alloc_small(arena, n + GUARD);
    json *root = arena_alloc_small(arena, sizeof *root);
    if (!ps.copy || !root) return mltf_fail_memory(err);
    if (n) memcpy(ps.copy, text, n);
    memset(ps.copy + n, 0, GUARD);
    ps.end = ps.copy + n;

    mltf_status st;
    char *p = ps.copy;
    if (n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) {
        st = fail_at(&ps, "Unexpected UTF-8 BOM (decode using utf-8-sig)", p);
        goto done;
    }
    st = parse_value(&ps, &p, root);
    if (st) goto done;
    if (opts->end_offset) *opts->end_offset = (size_t)(p - ps.copy);
    if (!opts->trailing) {
        p = skip_space(p);
        if (p != ps.end) st = fail_at(&ps, "Extra data", p);
    }
    if (!st && arena->failed) st = mltf_fail_memory(err);
    if (!st) *out = root;

done:
    free(ps.values);
    free(ps.members);
    free(ps.frames);
    return st;
}

mltf_status json_parse(json_doc *doc, const char *text, size_t n, const json_parse_options *opts,
                       mltf_err *err)
{
    doc->root = NULL;
    return json_parse_in(&doc->arena, &doc->root, text, n, opts, err);
}

mltf_status json_parse_file(json_doc *doc, const char *path, const json_parse_options *opts,
                            mltf_err *err)
{
    doc->root = NULL;
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = file_read(&text, path, LIMIT_JSON_BYTES, err);
    if (!st) {
        st = json_parse(doc, text.p ? text.p : "", text.n, opts, err);
        if (st) mltf_err_wrap(err, "could not read \"%s\"", path);
    }
    mltf_buf_release(&text);
    return st;
}

mltf_status json_parse_option(mltf_arena *arena, json **out, const char *text, size_t n,
                              const char *what, mltf_err *err)
{
    mltf_err why = {0};
    const mltf_status st = json_parse_in(arena, out, text, n, NULL, &why);
    if (st == MLTF_CORRUPT_FILE)
        return mltf_fail(err, MLTF_INVALID_INPUT, "%s is not valid JSON: %s", what, why.msg);
    if (st && err) *err = why;
    return st;
}

mltf_status json_parse_object(mltf_arena *arena, json **out, const char *text, const char *what,
                              mltf_err *err)
{
    TRY(json_parse_option(arena, out, text, strlen(text), what, err));
    if (json_is(*out, JSON_OBJECT)) return MLTF_OK;
    return mltf_fail(err, MLTF_INVALID_INPUT, "%s must be a JSON object, not %s", what,
                     json_type_name(*out));
}

void json_doc_release(json_doc *doc)
{
    arena_release(&doc->arena);
    doc->root = NULL;
}
