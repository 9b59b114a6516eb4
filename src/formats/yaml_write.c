/* Block-style YAML in PyYAML's layout: two spaces a level, lists flush with their key, lines folded past
 * 80 columns, and a scalar plain where it can be, else in single quotes, else in double quotes. */
#include "formats/yaml.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "formats/decimal.h"
#include "formats/yaml_types.h"

enum {
    WIDTH = 80,
    LONGEST_KEY = 127 - 5, // characters; the tag "!!str" counts too
    LONGEST_KEY_C = 128,   // bytes, libyaml
};

typedef struct writer {
    mltf_buf *out;
    const yaml_write_options *o;
    int indent;      // of the container being written, -1 outside of all
    size_t column;   // in characters
    bool space;      // the last thing written was white space
    bool line_start; // only indentation and "- " so far in this line
} writer;

typedef struct text { // a scalar in code points
    const uint32_t *p;
    size_t n;
} text;

typedef struct analysis {
    bool multiline, plain, single; // styles that can hold it
} analysis;

/* ---- characters ---------------------------------------------------------------------------- */

static bool is_break(uint32_t c)
{
    return c == '\n' || c == 0x85 || c == 0x2028 || c == 0x2029;
}
static bool is_blank(uint32_t c)
{
    return c == 0 || c == ' ' || c == '\t' || c == '\r' || is_break(c);
}

/* Ordinary beyond ASCII: shown as it is with allow_unicode. libyaml knows 16 bits. */
static bool is_wide(const writer *w, uint32_t c)
{
    if ((c >= 0xA0 && c <= 0xD7FF) || (c >= 0xE000 && c <= 0xFFFD)) return c != 0xFEFF;
    return !w->o->c_dumper && (c == 0x85 || (c >= 0x10000 && c < 0x10FFFF));
}

static void put(writer *w, const char *s, size_t n)
{
    buf_append(w->out, s, n);
    w->column += n;
}

static void put_points(writer *w, const uint32_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char bytes[4];
        buf_append(w->out, bytes, utf8_encode(bytes, p[i]));
    }
    w->column += n;
}

static void new_line(writer *w, uint32_t c)
{
    char bytes[4];
    buf_append(w->out, bytes, utf8_encode(bytes, c));
    w->column = 0;
    w->space = w->line_start = true;
}

/* To the column of the current level, in a new line unless nothing stands in this one. */
static void go_to_indent(writer *w)
{
    const size_t indent = w->indent < 0 ? 0 : (size_t)w->indent;
    if (!w->line_start || w->column > indent || (w->column == indent && !w->space))
        new_line(w, '\n');
    if (w->column < indent) {
        w->space = true;
        while (w->column < indent) put(w, " ", 1);
    }
}

static void indicator(writer *w, const char *s, bool needs_space, bool keeps_line_start)
{
    if (!w->space && needs_space) put(w, " ", 1);
    put(w, s, strlen(s));
    w->space = false;
    w->line_start = w->line_start && keeps_line_start;
}

/* ---- scalars ------------------------------------------------------------------------------- */

static analysis analyze(const writer *w, text t)
{
    bool reserved = false, breaks = false, special = false, edge_blank = false, break_space = false,
         space_break = false;
    const uint32_t dots[2] = {'-', '.'};
    for (int k = 0; k < 2; k++)
        reserved |= t.n >= 3 && t.p[0] == dots[k] && t.p[1] == dots[k] && t.p[2] == dots[k];
    for (size_t i = 0; i < t.n; i++) {
        const uint32_t c = t.p[i];
        const bool blank_after = i + 1 >= t.n || is_blank(t.p[i + 1]),
                   blank_before = i == 0 || is_blank(t.p[i - 1]);
        if (i == 0 && c < 0x80 && c && strchr("#,[]{}&*!|>'\"%@`", (int)c)) reserved = true;
        if (i == 0 && (c == '?' || c == '-') && blank_after) reserved = true;
        if (c == ':' && blank_after) reserved = true;
        if (c == '#' && blank_before) reserved = true;
        if (is_break(c)) breaks = true;
        if (c != '\n' && !(c >= 0x20 && c <= 0x7E) && !(w->o->allow_unicode && is_wide(w, c)))
            special = true;
        const bool edge = i == 0 || i + 1 == t.n;
        if (c == ' ') {
            edge_blank |= edge;
            break_space |= i > 0 && is_break(t.p[i - 1]);
        } else if (is_break(c)) {
            edge_blank |= edge;
            space_break |= i > 0 && t.p[i - 1] == ' ';
        }
    }
    return (analysis){
        .multiline = breaks,
        .plain = !reserved && !breaks && !special && !edge_blank,
        .single = !break_space && !space_break && !special,
    };
}

static void write_plain(writer *w, text t, bool may_fold)
{
    if (t.n == 0) return;
    if (!w->space) put(w, " ", 1);
    w->space = w->line_start = false;
    for (size_t i = 0; i < t.n;) {
        size_t end = i;
        const bool spaces = t.p[i] == ' ';
        while (end < t.n && (t.p[end] == ' ') == spaces) end++;
        if (spaces && end == i + 1 && w->column > WIDTH && may_fold) {
            go_to_indent(w);
            w->space = w->line_start = false;
        } else {
            put_points(w, t.p + i, end - i);
        }
        i = end;
    }
}

static void write_single_quoted(writer *w, text t, bool may_fold)
{
    indicator(w, "'", true, false);
    for (size_t i = 0; i < t.n;) {
        size_t end = i;
        if (t.p[i] == ' ') {
            while (end < t.n && t.p[end] == ' ') end++;
            if (end == i + 1 && w->column > WIDTH && may_fold && i != 0 && end != t.n)
                go_to_indent(w);
            else
                put_points(w, t.p + i, end - i);
        } else if (is_break(t.p[i])) {
            if (t.p[i] == '\n') new_line(w, '\n'); // one alone would be read as a space
            while (end < t.n && is_break(t.p[end])) new_line(w, t.p[end++]);
            go_to_indent(w);
        } else if (t.p[i] == '\'') {
            put(w, "''", 2);
            end++;
        } else {
            while (end < t.n && t.p[end] != ' ' && t.p[end] != '\'' && !is_break(t.p[end])) end++;
            put_points(w, t.p + i, end - i);
        }
        i = end;
    }
    indicator(w, "'", false, false);
}

static void put_escape(writer *w, uint32_t c)
{
    static const struct {
        uint32_t c;
        char letter;
    } short_ones[] = {{0, '0'},     {7, 'a'},    {8, 'b'},    {9, 't'},      {10, 'n'},
                      {11, 'v'},    {12, 'f'},   {13, 'r'},   {0x1B, 'e'},   {'"', '"'},
                      {'\\', '\\'}, {0x85, 'N'}, {0xA0, '_'}, {0x2028, 'L'}, {0x2029, 'P'}};
    char s[16];
    for (size_t i = 0; i < sizeof short_ones / sizeof *short_ones; i++) {
        if (short_ones[i].c == c) {
            s[0] = '\\';
            s[1] = short_ones[i].letter;
            put(w, s, 2);
            return;
        }
    }
    const int n = c <= 0xFF     ? snprintf(s, sizeof s, "\\x%02X", c)
                  : c <= 0xFFFF ? snprintf(s, sizeof s, "\\u%04X", c)
                                : snprintf(s, sizeof s, "\\U%08X", c);
    put(w, s, (size_t)n);
}

static bool in_double_quotes_as_is(const writer *w, uint32_t c)
{
    if (c == '"' || c == '\\' || c == 0x85 || c == 0x2028 || c == 0x2029 || c == 0xFEFF)
        return false;
    if (c >= 0x20 && c <= 0x7E) return true;
    return w->o->allow_unicode && c < 0x10000 && is_wide(w, c);
}

/* PyYAML keeps a run of ordinary characters back until something ends it; `start` is where it began.
 * A fold is a backslash, a new line, and one more backslash where the rest begins with a space. */
static void write_double_quoted(writer *w, text t, bool may_fold)
{
    indicator(w, "\"", true, false);
    size_t start = 0;
    for (size_t end = 0; end <= t.n; end++) {
        if (end == t.n || !in_double_quotes_as_is(w, t.p[end])) {
            put_points(w, t.p + start, end - start);
            start = end;
            if (end < t.n) {
                put_escape(w, t.p[end]);
                start = end + 1;
            }
        }
        if (end > 0 && end + 1 < t.n && (t.p[end] == ' ' || start >= end) && may_fold &&
            w->column + end - (start < end ? start : end) - (start > end) > WIDTH) {
            if (start < end) {
                put_points(w, t.p + start, end - start);
                start = end;
            }
            put(w, "\\", 1);
            go_to_indent(w);
            w->space = w->line_start = false;
            if (t.p[start] == ' ') put(w, "\\", 1);
        }
    }
    indicator(w, "\"", false, false);
}

/* libyaml folds at a space that has no neighbour, which reading turns into a space again. */
static void write_double_quoted_c(writer *w, text t, bool may_fold)
{
    bool spaces = false;
    indicator(w, "\"", true, false);
    for (size_t i = 0; i < t.n; i++) {
        if (!in_double_quotes_as_is(w, t.p[i])) {
            put_escape(w, t.p[i]);
            spaces = false;
        } else if (t.p[i] == ' ') {
            if (may_fold && !spaces && w->column > WIDTH && i != 0 && i + 1 != t.n) {
                go_to_indent(w);
                if (t.p[i + 1] == ' ') put(w, "\\", 1);
            } else {
                put(w, " ", 1);
            }
            spaces = true;
        } else {
            put_points(w, t.p + i, 1);
            spaces = false;
        }
    }
    indicator(w, "\"", false, false);
}

static void write_text(writer *w, mltf_str s, bool is_string, bool is_key)
{
    uint32_t small[256];
    uint32_t *points = s.n <= 256 ? small : malloc(s.n * sizeof *points);
    if (!points) {
        w->out->failed = 1;
        return;
    }
    text t = {points, 0};
    for (size_t i = 0; i < s.n;) {
        size_t len;
        const uint32_t c = utf8_decode(s.p + i, s.n - i, &len);
        points[t.n++] = c == UTF8_BAD ? 0xFFFD : c;
        i += len;
    }
    const analysis a = analyze(w, t);
    const bool may_fold = !is_key;
    const int indent = w->indent;
    w->indent = indent < 0 ? 2 : indent + 2; // where folded lines go
    if (!is_string || (a.plain && yaml_type_of(s) == YAML_T_STR))
        write_plain(w, t, may_fold);
    else if (a.single && !(is_key && a.multiline))
        write_single_quoted(w, t, may_fold);
    else if (w->o->c_dumper)
        write_double_quoted_c(w, t, may_fold);
    else
        write_double_quoted(w, t, may_fold);
    w->indent = indent;
    if (points != small) free(points);
}

static void write_number(writer *w, double d)
{
    char s[40];
    if (isnan(d)) {
        snprintf(s, sizeof s, ".nan");
    } else if (isinf(d)) {
        snprintf(s, sizeof s, d < 0 ? "-.inf" : ".inf");
    } else {
        char repr[32];
        decimal_repr(repr, d);
        char *e = strchr(repr, 'e');
        if (e && !strchr(repr, '.'))
            snprintf(s, sizeof s, "%.*s.0%s", (int)(e - repr), repr, e); // 1e+16 would be a text
        else
            snprintf(s, sizeof s, "%s", repr);
    }
    write_text(w, str_from(s), false, false);
}

/* ---- values -------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    const json_member *const *x = a, *const *y = b;
    const size_t n = (*x)->key.n < (*y)->key.n ? (*x)->key.n : (*y)->key.n;
    const int order = n ? memcmp((*x)->key.p, (*y)->key.p, n) : 0;
    if (order) return order;
    if ((*x)->key.n != (*y)->key.n) return (*x)->key.n < (*y)->key.n ? -1 : 1;
    return *x < *y ? -1 : *x > *y;
}

/* Short and on one line; anything else is written "? key". */
static bool is_simple_key(const writer *w, mltf_str key)
{
    const bool c_dumper = w->o->c_dumper;
    if (c_dumper ? key.n > LONGEST_KEY_C : key.n == 0 || utf8_count(key.p, key.n) > LONGEST_KEY)
        return false;
    for (size_t i = 0, len; i < key.n; i += len) {
        const uint32_t c = utf8_decode(key.p + i, key.n - i, &len);
        if (is_break(c) || (c_dumper && c == '\r')) return false;
    }
    return true;
}

static void write_value(writer *w, const json *v, bool in_mapping);

static void write_mapping(writer *w, const json *v)
{
    const json_member **order = malloc(v->o.n * sizeof *order);
    if (!order) {
        w->out->failed = 1;
        return;
    }
    for (size_t i = 0; i < v->o.n; i++) order[i] = &v->o.members[i];
    if (w->o->sort_keys) qsort(order, v->o.n, sizeof *order, by_key);
    const int indent = w->indent;
    w->indent = indent < 0 ? 0 : indent + 2;
    for (size_t i = 0; i < v->o.n && !w->out->failed; i++) {
        const mltf_str key = order[i]->key;
        const bool simple = is_simple_key(w, key);
        go_to_indent(w);
        if (simple) {
            write_text(w, key, true, true);
            indicator(w, ":", false, false);
        } else {
            indicator(w, "?", true, true);
            write_text(w, key, true, false);
            go_to_indent(w);
            indicator(w, ":", true, true);
        }
        write_value(w, &order[i]->value, true);
    }
    w->indent = indent;
    free(order);
}

static void write_sequence(writer *w, const json *v, bool in_mapping)
{
    const int indent = w->indent;
    const bool flush = in_mapping && !w->line_start; // behind "key:"
    if (indent < 0)
        w->indent = 0;
    else if (!flush)
        w->indent = indent + 2;
    for (size_t i = 0; i < v->a.n && !w->out->failed; i++) {
        go_to_indent(w);
        indicator(w, "-", true, true);
        write_value(w, &v->a.items[i], false);
    }
    w->indent = indent;
}

static void write_value(writer *w, const json *v, bool in_mapping)
{
    char s[32];
    switch (v->type) {
    case JSON_NULL:
        write_text(w, STR("null"), false, false);
        break;
    case JSON_BOOL:
        write_text(w, v->b ? STR("true") : STR("false"), false, false);
        break;
    case JSON_INT:
        snprintf(s, sizeof s, "%lld", (long long)v->i);
        write_text(w, str_from(s), false, false);
        break;
    case JSON_BIGINT:
        write_text(w, v->s, false, false);
        break;
    case JSON_DOUBLE:
    case JSON_FLOAT:
        write_number(w, v->d);
        break;
    case JSON_STRING:
        write_text(w, v->s, true, false);
        break;
    case JSON_ARRAY:
        if (v->a.n)
            write_sequence(w, v, in_mapping);
        else
            indicator(w, "[]", true, false);
        break;
    case JSON_OBJECT:
        if (v->o.n)
            write_mapping(w, v);
        else
            indicator(w, "{}", true, false);
        break;
    }
}

void yaml_write(mltf_buf *out, const json *v, const yaml_write_options *opts)
{
    const yaml_write_options defaults = {.sort_keys = true};
    const json null = {.type = JSON_NULL};
    if (!v) v = &null;
    writer w = {
        .out = out, .o = opts ? opts : &defaults, .indent = -1, .space = true, .line_start = true};
    const size_t start = out->n;
    write_value(&w, v, false);
    if (!w.line_start || w.column) new_line(&w, '\n');
    // a plain word alone could go on in the next line: PyYAML ends the document
    const bool quoted = out->n > start && (out->p[start] == '\'' || out->p[start] == '"');
    if (v->type != JSON_ARRAY && v->type != JSON_OBJECT && !quoted && !w.o->c_dumper)
        buf_puts(out, "...\n");
}
