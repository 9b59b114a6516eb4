/* Regular expressions as trees: the part of Python's (and, for JSON schema, ECMAScript's) syntax that a finite
 * automaton can do. */
#include "base/ascii.h"
#include "base/utf8.h"
#include "gen/constraint_ast.h"

typedef struct parser {
    ast_builder *b;
    const char *p, *end, *start;
    bool search;
    int depth;
} parser;

static ast *parse_alternatives(parser *r);

static bool at_end(const parser *r)
{
    return r->p >= r->end;
}
static bool eat(parser *r, char c)
{
    if (at_end(r) || *r->p != c) return false;
    r->p++;
    return true;
}

static void bad(parser *r, mltf_status st, const char *why)
{
    ast_fail(r->b, st, "%s at position %zu of the pattern \"%.*s\"", why, (size_t)(r->p - r->start),
             (int)(r->end - r->start > 120 ? 120 : r->end - r->start), r->start);
    r->p = r->end;
}

static uint32_t next_char(parser *r)
{
    size_t len;
    const uint32_t cp = utf8_decode(r->p, (size_t)(r->end - r->p), &len);
    r->p += len;
    if (cp == UTF8_BAD) bad(r, MLTF_INVALID_INPUT, "malformed UTF-8");
    return cp;
}

static uint32_t hex(parser *r, int digits)
{
    uint32_t v = 0;
    for (int i = 0; i < digits; i++) {
        const int d = at_end(r) ? -1 : ascii_hex(*r->p);
        if (d < 0) {
            bad(r, MLTF_INVALID_INPUT, "incomplete escape");
            return 0;
        }
        v = v * 16 + (uint32_t)d;
        r->p++;
    }
    return v;
}

/* Behind a backslash: one of the classes \d \w \s and their opposites is added to s (true), or *cp is the
 * character meant (false). */
static bool escape(parser *r, char_set *s, uint32_t *cp)
{
    char_set class = {.n = 0};
    if (at_end(r)) {
        bad(r, MLTF_INVALID_INPUT, "bad escape (end of pattern)");
        return false;
    }
    const char c = *r->p++;
    switch (c) {
    case 'n':
        *cp = '\n';
        return false;
    case 't':
        *cp = '\t';
        return false;
    case 'r':
        *cp = '\r';
        return false;
    case 'f':
        *cp = '\f';
        return false;
    case 'v':
        *cp = '\v';
        return false;
    case 'a':
        *cp = '\a';
        return false;
    case '0':
        *cp = 0;
        return false;
    case 'x':
        *cp = hex(r, 2);
        return false;
    case 'u':
        *cp = hex(r, 4);
        return false;
    case 'U':
        *cp = hex(r, 8);
        return false;
    case 'd':
    case 'D':
        char_set_add(&class, '0', '9');
        break;
    case 'w':
    case 'W':
        char_set_add(&class, '0', '9');
        char_set_add(&class, 'A', 'Z');
        char_set_add(&class, '_', '_');
        char_set_add(&class, 'a', 'z');
        break;
    case 's':
    case 'S':
        char_set_add(&class, 9, 13);
        char_set_add(&class, ' ', ' ');
        break;
    default:
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9')) {
            r->p--;
            bad(r, MLTF_UNSUPPORTED, "unsupported escape");
            return false;
        }
        r->p--;
        *cp = next_char(r);
        return false;
    }
    if (c == 'D' || c == 'W' || c == 'S') char_set_invert(&class);
    for (size_t i = 0; i < class.n; i++) char_set_add(s, class.r[i].from, class.r[i].to);
    return true;
}

static ast *parse_set(parser *r) /* behind the [ */
{
    char_set s = {.n = 0};
    const bool inverted = eat(r, '^');
    bool first = true;
    for (;;) {
        if (at_end(r)) {
            bad(r, MLTF_INVALID_INPUT, "unterminated character set");
            return NULL;
        }
        if (*r->p == ']' && !first) break;
        first = false;
        uint32_t from = 0, to;
        bool class = false;
        if (eat(r, '\\')) {
            if (!at_end(r) && *r->p == 'b') { // a backspace inside a set
                r->p++;
                from = 8;
            } else {
                class = escape(r, &s, &from);
            }
        } else {
            from = next_char(r);
        }
        to = from;
        if (!class && r->end - r->p >= 2 && r->p[0] == '-' && r->p[1] != ']') {
            r->p++;
            char_set ignored = {.n = 0};
            if (eat(r, '\\')) {
                if (escape(r, &ignored, &to)) bad(r, MLTF_INVALID_INPUT, "bad character range");
            } else {
                to = next_char(r);
            }
            if (to < from) bad(r, MLTF_INVALID_INPUT, "bad character range");
        }
        if (!ast_ok(r->b)) return NULL;
        if (!class) char_set_add(&s, from, to);
    }
    r->p++;
    if (inverted) char_set_invert(&s);
    return ast_chars(r->b, &s);
}

static ast *parse_group(parser *r) /* behind the ( */
{
    if (eat(r, '?')) {
        if (eat(r, 'P') || (!at_end(r) && *r->p == '<')) {
            if (!eat(r, '<') || (!at_end(r) && (*r->p == '=' || *r->p == '!'))) {
                bad(r, MLTF_UNSUPPORTED, "look-around and back-references are not supported:");
                return NULL;
            }
            while (!at_end(r) && *r->p != '>') r->p++;
            eat(r, '>');
        } else if (!eat(r, ':')) {
            bad(r, MLTF_UNSUPPORTED, "look-around and inline flags are not supported:");
            return NULL;
        }
    }
    if (++r->depth > 200) {
        bad(r, MLTF_UNSUPPORTED, "too many nested groups");
        return NULL;
    }
    ast *inside = parse_alternatives(r);
    r->depth--;
    if (!eat(r, ')')) bad(r, MLTF_INVALID_INPUT, "missing ), unterminated subpattern");
    return inside;
}

static ast *any_char(parser *r)
{
    char_set s = {.n = 0};
    char_set_add(&s, '\n', '\n');
    char_set_invert(&s);
    return ast_chars(r->b, &s);
}

static ast *parse_atom(parser *r)
{
    if (eat(r, '(')) return parse_group(r);
    if (eat(r, '[')) return parse_set(r);
    if (eat(r, '.')) return any_char(r);
    if (eat(r, '\\')) {
        char_set s = {.n = 0};
        uint32_t cp = 0;
        if (escape(r, &s, &cp)) return ast_chars(r->b, &s);
        return ast_ok(r->b) ? ast_char(r->b, cp) : NULL;
    }
    if (*r->p == '*' || *r->p == '+' || *r->p == '?') {
        bad(r, MLTF_INVALID_INPUT, "nothing to repeat");
        return NULL;
    }
    const uint32_t cp = next_char(r);
    return ast_ok(r->b) ? ast_char(r->b, cp) : NULL;
}

/* {m}, {m,}, {,n}, {m,n}; false (and nothing eaten): a brace that stands for itself. */
static bool parse_bounds(parser *r, uint32_t *min, uint32_t *max)
{
    const char *const back = r->p;
    uint64_t v[2] = {0, 0};
    int digits[2] = {0, 0};
    r->p++;
    int k = 0;
    for (; !at_end(r) && *r->p != '}'; r->p++) {
        if (*r->p == ',' && k == 0) {
            k = 1;
        } else if (*r->p >= '0' && *r->p <= '9' && v[k] < 1000000) {
            v[k] = v[k] * 10 + (uint64_t)(*r->p - '0');
            digits[k]++;
        } else {
            r->p = back;
            return false;
        }
    }
    if (at_end(r) || (k == 0 && !digits[0])) {
        r->p = back;
        return false;
    }
    r->p++;
    *min = (uint32_t)v[0];
    *max = k == 0 ? *min : digits[1] ? (uint32_t)v[1] : AST_MANY;
    if (*max < *min) bad(r, MLTF_INVALID_INPUT, "min repeat greater than max repeat");
    return true;
}

static ast *parse_repeated(parser *r)
{
    ast *a = parse_atom(r);
    for (;;) {
        uint32_t min = 0, max = AST_MANY;
        if (at_end(r) || !ast_ok(r->b)) return a;
        if (eat(r, '*')) {
            min = 0;
        } else if (eat(r, '+')) {
            min = 1;
        } else if (eat(r, '?')) {
            max = 1;
        } else if (*r->p != '{' || !parse_bounds(r, &min, &max)) {
            return a;
        }
        eat(r, '?'); // lazy: the same language
        a = ast_repeat(r->b, a, min, max);
    }
}

static ast *parse_sequence(parser *r)
{
    ast *seq = ast_seq(r->b);
    const bool open = r->search && r->depth == 0;
    bool from_start = false, to_end = false;
    while (!at_end(r) && *r->p != '|' && *r->p != ')' && ast_ok(r->b)) {
        if (*r->p == '^') {
            r->p++;
            if ((seq && seq->n && !from_start) || (r->search && !open))
                bad(r, MLTF_UNSUPPORTED, "^ is supported at the beginning only;");
            if (seq && seq->n == 0) from_start = true;
            continue;
        }
        if (*r->p == '$') {
            r->p++;
            if ((!at_end(r) && *r->p != '|' && *r->p != ')') || (r->search && !open))
                bad(r, MLTF_UNSUPPORTED, "$ is supported at the end only;");
            to_end = true;
            continue;
        }
        if (*r->p == '{') { // a brace that repeats nothing stands for itself
            r->p++;
            ast_add(r->b, seq, ast_char(r->b, '{'));
            continue;
        }
        ast_add(r->b, seq, parse_repeated(r));
    }
    if (!open) return seq;
    ast *whole = ast_seq(r->b);
    char_set all = {.n = 0};
    char_set_invert(&all);
    if (!from_start) ast_add(r->b, whole, ast_repeat(r->b, ast_chars(r->b, &all), 0, AST_MANY));
    ast_add(r->b, whole, seq);
    if (!to_end) ast_add(r->b, whole, ast_repeat(r->b, ast_chars(r->b, &all), 0, AST_MANY));
    return whole;
}

static ast *parse_alternatives(parser *r)
{
    ast *alt = ast_alt(r->b);
    do {
        ast_add(r->b, alt, parse_sequence(r));
    } while (ast_ok(r->b) && eat(r, '|'));
    return alt;
}

ast *regex_parse(ast_builder *b, mltf_str pattern, bool search)
{
    parser r = {
        .b = b, .p = pattern.p, .end = pattern.p + pattern.n, .start = pattern.p, .search = search};
    ast *a = parse_alternatives(&r);
    if (ast_ok(b) && !at_end(&r)) bad(&r, MLTF_INVALID_INPUT, "unbalanced parenthesis");
    return a;
}

mltf_status gen_constraint_regex(gen_constraint **out, const gen_trie *trie, mltf_str pattern,
                                 mltf_err *err)
{
    ast_builder b = {0};
    const size_t root = ast_rule_new(&b);
    ast_rule_set(&b, root, regex_parse(&b, pattern, false));
    return constraint_compile(out, trie, &b, root, err);
}
