/* Grammars in the notation of GBNF. */
#include <string.h>

#include "base/ascii.h"
#include "base/utf8.h"
#include "gen/constraint_ast.h"

typedef struct parser {
    ast_builder *b;
    const char *p, *end, *start;
    mltf_str *names; /* [b->n_rules] */
    size_t cap_names;
    int depth;
} parser;

static ast *parse_alternatives(parser *g, bool inside);

static void bad(parser *g, const char *why)
{
    size_t line = 1;
    for (const char *q = g->start; q < g->p && q < g->end; q++) line += *q == '\n';
    ast_fail(g->b, MLTF_INVALID_INPUT, "%s in line %zu of the grammar", why, line);
    g->p = g->end;
}

/* Blanks and comments; over line ends only where the rule cannot end there. */
static void skip(parser *g, bool lines)
{
    while (g->p < g->end) {
        if (*g->p == '#')
            while (g->p < g->end && *g->p != '\n') g->p++;
        else if (*g->p == ' ' || *g->p == '\t' || (lines && (*g->p == '\n' || *g->p == '\r')))
            g->p++;
        else
            return;
    }
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static mltf_str parse_name(parser *g)
{
    const char *from = g->p;
    while (g->p < g->end && is_name(*g->p)) g->p++;
    return (mltf_str){from, (size_t)(g->p - from)};
}

static size_t rule_of(parser *g, mltf_str name)
{
    for (size_t i = 0; i < g->b->n_rules; i++)
        if (str_eq(g->names[i], name)) return i;
    if (!ARENA_RESERVE(&g->b->arena, g->names, g->cap_names, g->b->n_rules + 1)) {
        mltf_fail_memory(&g->b->err);
        return 0;
    }
    const size_t r = ast_rule_new(g->b);
    if (ast_ok(g->b)) g->names[r] = name;
    return r;
}

static uint32_t parse_char(parser *g)
{
    size_t len;
    uint32_t cp = utf8_decode(g->p, (size_t)(g->end - g->p), &len);
    g->p += len;
    if (cp == UTF8_BAD) bad(g, "malformed UTF-8");
    if (cp != '\\' || g->p >= g->end) return cp;
    const char c = *g->p++;
    int digits = 0;
    switch (c) {
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case 'r':
        return '\r';
    case 'x':
        digits = 2;
        break;
    case 'u':
        digits = 4;
        break;
    case 'U':
        digits = 8;
        break;
    default:
        if (strchr("\\\"[]-^", c)) return (uint32_t)c;
        bad(g, "unknown escape");
        return 0;
    }
    for (cp = 0; digits > 0; digits--) {
        const int d = g->p < g->end ? ascii_hex(*g->p++) : -1;
        if (d >= 0)
            cp = cp * 16 + (uint32_t)d;
        else
            bad(g, "incomplete escape");
    }
    return cp;
}

static ast *parse_set(parser *g)
{
    char_set s = {.n = 0};
    bool inverted = false;
    if (g->p < g->end && *g->p == '^') {
        inverted = true;
        g->p++;
    }
    while (g->p < g->end && *g->p != ']' && ast_ok(g->b)) {
        const uint32_t from = parse_char(g);
        uint32_t to = from;
        if (g->end - g->p >= 2 && g->p[0] == '-' && g->p[1] != ']') {
            g->p++;
            to = parse_char(g);
        }
        if (to < from) bad(g, "a range that runs backwards");
        char_set_add(&s, from, to);
    }
    if (g->p >= g->end) {
        bad(g, "a set without its ]");
        return NULL;
    }
    g->p++;
    if (inverted) char_set_invert(&s);
    return ast_chars(g->b, &s);
}

static ast *parse_atom(parser *g)
{
    const char c = *g->p;
    if (c == '"') {
        ast *seq = ast_seq(g->b);
        g->p++;
        while (g->p < g->end && *g->p != '"' && ast_ok(g->b))
            ast_add(g->b, seq, ast_char(g->b, parse_char(g)));
        if (g->p >= g->end) {
            bad(g, "a string without its closing quote");
            return NULL;
        }
        g->p++;
        return seq;
    }
    if (c == '[') {
        g->p++;
        return parse_set(g);
    }
    if (c == '.') {
        g->p++;
        char_set all = {.n = 0};
        char_set_add(&all, 0, 0x10FFFF);
        return ast_chars(g->b, &all);
    }
    if (c == '(') {
        g->p++;
        if (++g->depth > 200) bad(g, "too many nested parentheses");
        ast *inside = parse_alternatives(g, true);
        g->depth--;
        if (g->p >= g->end || *g->p != ')') {
            bad(g, "a ( without its )");
            return NULL;
        }
        g->p++;
        return inside;
    }
    if (is_name(c)) return ast_call(g->b, rule_of(g, parse_name(g)));
    bad(g, "something that is no string, set, rule or parenthesis");
    return NULL;
}

static uint32_t parse_number(parser *g)
{
    uint32_t v = 0;
    if (g->p >= g->end || *g->p < '0' || *g->p > '9') bad(g, "a repetition without its number");
    for (; g->p < g->end && *g->p >= '0' && *g->p <= '9'; g->p++)
        v = v < 1000000 ? v * 10 + (uint32_t)(*g->p - '0') : v;
    return v;
}

static ast *parse_repeated(parser *g)
{
    ast *a = parse_atom(g);
    while (g->p < g->end && ast_ok(g->b)) {
        uint32_t min = 0, max = AST_MANY;
        if (*g->p == '*' || *g->p == '+' || *g->p == '?') {
            min = *g->p == '+';
            if (*g->p == '?') max = 1;
            g->p++;
        } else if (*g->p == '{') {
            g->p++;
            min = max = parse_number(g);
            if (g->p < g->end && *g->p == ',') {
                g->p++;
                max = g->p < g->end && *g->p == '}' ? AST_MANY : parse_number(g);
            }
            if (g->p >= g->end || *g->p != '}' || max < min) {
                bad(g, "a malformed repetition {m,n}");
                return NULL;
            }
            g->p++;
        } else {
            break;
        }
        a = ast_repeat(g->b, a, min, max);
    }
    return a;
}

/* Does the next line begin a rule? (Inside parentheses line ends mean nothing; outside, one ends the rule unless
 * the next line goes on with "|".) */
static ast *parse_alternatives(parser *g, bool inside)
{
    ast *alt = ast_alt(g->b);
    for (;;) {
        ast *seq = ast_seq(g->b);
        skip(g, true);
        while (g->p < g->end && *g->p != '|' && *g->p != ')' &&
               (inside || (*g->p != '\n' && *g->p != '\r')) && ast_ok(g->b)) {
            ast_add(g->b, seq, parse_repeated(g));
            skip(g, inside);
        }
        ast_add(g->b, alt, seq);
        if (!ast_ok(g->b)) return NULL;
        const char *const back = g->p;
        skip(g, true);
        if (g->p < g->end && *g->p == '|') {
            g->p++;
            continue;
        }
        if (!inside) g->p = back;
        return alt;
    }
}

mltf_status gen_constraint_grammar(gen_constraint **out, const gen_trie *trie, mltf_str text,
                                   mltf_err *err)
{
    ast_builder b = {0};
    parser g = {.b = &b, .p = text.p, .end = text.p + text.n, .start = text.p};
    const size_t root = rule_of(&g, STR("root"));
    for (;;) {
        skip(&g, true);
        if (g.p >= g.end || !ast_ok(&b)) break;
        const mltf_str name = parse_name(&g);
        skip(&g, false);
        if (name.n == 0 || g.end - g.p < 3 || memcmp(g.p, "::=", 3) != 0) {
            bad(&g, "expected a rule, name ::= …,");
            break;
        }
        g.p += 3;
        const size_t rule = rule_of(&g, name);
        ast_rule_set(&b, rule, parse_alternatives(&g, false));
        if (ast_ok(&b) && g.p < g.end && *g.p == ')') bad(&g, "a ) without its (");
    }
    for (size_t i = 0; ast_ok(&b) && i < b.n_rules; i++)
        if (!b.rule[i])
            ast_fail(&b, MLTF_INVALID_INPUT, "the grammar has no rule \"" STR_FMT "\"",
                     STR_ARG(g.names[i]));
    return constraint_compile(out, trie, &b, root, err);
}
