/* Trees that describe a language, and their compilation to a network over bytes. */
#include "gen/constraint_ast.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/utf8.h"

/* ---- building ------------------------------------------------------------------------------ */

void ast_fail(ast_builder *b, mltf_status st, const char *fmt, ...)
{
    if (b->err.status) return;
    char msg[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    mltf_fail(&b->err, st, "%s", msg);
}

bool ast_ok(const ast_builder *b)
{
    return b->err.status == MLTF_OK;
}

static ast *node(ast_builder *b, ast_kind kind)
{
    if (!ast_ok(b)) return NULL;
    ast *a = arena_alloc_small(&b->arena, sizeof *a);
    if (!a) {
        mltf_fail_memory(&b->err);
        return NULL;
    }
    *a = (ast){.kind = kind};
    return a;
}

ast *ast_empty(ast_builder *b)
{
    return node(b, AST_EMPTY);
}
ast *ast_nothing(ast_builder *b)
{
    return node(b, AST_NOTHING);
}
ast *ast_impossible(ast_builder *b, const char *why, ...)
{
    va_list args;
    va_start(args, why);
    if (!b->hint[0]) vsnprintf(b->hint, sizeof b->hint, why, args);
    va_end(args);
    return ast_nothing(b);
}

ast *ast_seq(ast_builder *b)
{
    return node(b, AST_SEQ);
}
ast *ast_alt(ast_builder *b)
{
    return node(b, AST_ALT);
}

void ast_add(ast_builder *b, ast *parent, ast *child)
{
    if (!parent || !child || !ast_ok(b)) return;
    if (!ARENA_RESERVE(&b->arena, parent->child, parent->cap, parent->n + 1)) {
        mltf_fail_memory(&b->err);
        return;
    }
    parent->child[parent->n++] = child;
}

static ast *byte_range(ast_builder *b, uint8_t from, uint8_t to)
{
    ast *a = node(b, AST_SET);
    if (a) byte_set_add(&a->set, from, to);
    return a;
}

ast *ast_mark(ast_builder *b, const char *bracket)
{
    ast *a = byte_range(b, (uint8_t)bracket[0], (uint8_t)bracket[0]);
    if (a) a->marked = true;
    return a;
}

ast *ast_byte_set(ast_builder *b, const byte_set *set)
{
    ast *a = node(b, AST_SET);
    if (a) a->set = *set;
    return a;
}

ast *ast_bytes(ast_builder *b, mltf_str s)
{
    ast *seq = ast_seq(b);
    for (size_t i = 0; i < s.n; i++)
        ast_add(b, seq, byte_range(b, (uint8_t)s.p[i], (uint8_t)s.p[i]));
    return seq;
}

ast *ast_lit(ast_builder *b, const char *s)
{
    return ast_bytes(b, str_from(s));
}

ast *ast_cat(ast_builder *b, ast *x, ast *y)
{
    ast *seq = ast_seq(b);
    ast_add(b, seq, x);
    ast_add(b, seq, y);
    return seq;
}

ast *ast_or(ast_builder *b, ast *x, ast *y)
{
    ast *alt = ast_alt(b);
    ast_add(b, alt, x);
    ast_add(b, alt, y);
    return alt;
}

ast *ast_repeat(ast_builder *b, ast *x, uint32_t min, uint32_t max)
{
    ast *a = node(b, AST_REPEAT);
    if (!a || !x) return NULL;
    a->min = min;
    a->max = max;
    ast_add(b, a, x);
    return a;
}

size_t ast_rule_new(ast_builder *b)
{
    if (!ARENA_RESERVE(&b->arena, b->rule, b->cap_rules, b->n_rules + 1)) {
        mltf_fail_memory(&b->err);
        return 0;
    }
    return b->n_rules++;
}

void ast_rule_set(ast_builder *b, size_t rule, ast *body)
{
    if (ast_ok(b)) b->rule[rule] = body;
}

ast *ast_call(ast_builder *b, size_t rule)
{
    ast *a = node(b, AST_RULE);
    if (a) a->rule = rule;
    return a;
}

/* ---- characters as bytes ------------------------------------------------------------------- */

void char_set_add(char_set *s, uint32_t from, uint32_t to)
{
    if (s->n == sizeof s->r / sizeof *s->r) char_set_normalize(s);
    if (s->n < sizeof s->r / sizeof *s->r) s->r[s->n++] = (char_range){from, to};
}

void char_set_normalize(char_set *s)
{
    for (size_t i = 1; i < s->n; i++) // insertion sort: sets are short
        for (size_t j = i; j > 0 && s->r[j].from < s->r[j - 1].from; j--) {
            const char_range t = s->r[j];
            s->r[j] = s->r[j - 1];
            s->r[j - 1] = t;
        }
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (n && s->r[i].from <= s->r[n - 1].to + 1) {
            if (s->r[i].to > s->r[n - 1].to) s->r[n - 1].to = s->r[i].to;
        } else {
            s->r[n++] = s->r[i];
        }
    }
    s->n = n;
}

void char_set_invert(char_set *s)
{
    char_set_normalize(s);
    char_set out = {.n = 0};
    uint32_t next = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->r[i].from > next) char_set_add(&out, next, s->r[i].from - 1);
        next = s->r[i].to + 1;
    }
    if (next <= 0x10FFFF) char_set_add(&out, next, 0x10FFFF);
    *s = out;
}

/* UTF-8 of [from, to], both of the same length: split until every byte ranges on its own. */
static void add_utf8_range(ast_builder *b, ast *alt, const uint8_t *from, const uint8_t *to,
                           size_t n, ast *prefix)
{
    if (!ast_ok(b)) return;
    if (n == 1 || from[0] == to[0]) {
        ast *here = ast_cat(b, prefix, byte_range(b, from[0], to[0]));
        if (n == 1)
            ast_add(b, alt, here);
        else
            add_utf8_range(b, alt, from + 1, to + 1, n - 1, here);
        return;
    }
    static const uint8_t lowest[3] = {0x80, 0x80, 0x80}, highest[3] = {0xBF, 0xBF, 0xBF};
    uint8_t first = from[0], last = to[0];
    if (memcmp(from + 1, lowest, n - 1) != 0) { // a ragged beginning
        add_utf8_range(b, alt, from + 1, highest, n - 1,
                       ast_cat(b, prefix, byte_range(b, first, first)));
        first++;
    }
    if (memcmp(to + 1, highest, n - 1) != 0) { // a ragged end
        add_utf8_range(b, alt, lowest, to + 1, n - 1,
                       ast_cat(b, prefix, byte_range(b, last, last)));
        last--;
    }
    if (first <= last)
        add_utf8_range(b, alt, lowest, highest, n - 1,
                       ast_cat(b, prefix, byte_range(b, first, last)));
}

static void add_plain_range(ast_builder *b, ast *alt, uint32_t from, uint32_t to)
{
    static const uint32_t last[] = {0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF, 0x10FFFF};
    for (size_t i = 0; i < sizeof last / sizeof *last && from <= to; i++) {
        if (from > last[i]) continue;
        const uint32_t end = to < last[i] ? to : last[i];
        if (i != 3) { // 3: surrogates, which UTF-8 does not have
            char lo[4], hi[4];
            const size_t n = utf8_encode(lo, from);
            utf8_encode(hi, end);
            add_utf8_range(b, alt, (const uint8_t *)lo, (const uint8_t *)hi, n, ast_empty(b));
        }
        from = end + 1;
    }
}

/* How a JSON string writes a character that it cannot hold as it is. */
static ast *json_escape(ast_builder *b, uint32_t cp)
{
    static const char named[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    const char *at = cp ? strchr(named, (int)cp) : NULL;
    char text[8];
    if (at)
        snprintf(text, sizeof text, "\\%c", letter[at - named]);
    else
        snprintf(text, sizeof text, "\\u%04x", (unsigned)cp & 0xFFFF);
    return ast_lit(b, text);
}

ast *ast_chars(ast_builder *b, const char_set *given)
{
    char_set s = *given;
    char_set_normalize(&s);
    ast *alt = ast_alt(b);
    for (size_t i = 0; i < s.n; i++) {
        uint32_t from = s.r[i].from;
        const uint32_t to = s.r[i].to;
        while (b->json_text && from <= to && from < 128) { // one by one where some need an escape
            if (from < 32 || from == '"' || from == '\\')
                ast_add(b, alt, json_escape(b, from));
            else
                add_plain_range(b, alt, from, from);
            from++;
        }
        if (from <= to) add_plain_range(b, alt, from, to);
    }
    if (alt && alt->n == 0) return ast_nothing(b);
    return alt;
}

ast *ast_char(ast_builder *b, uint32_t cp)
{
    char_set s = {.n = 0};
    char_set_add(&s, cp, cp);
    return ast_chars(b, &s);
}

/* ---- compiling ----------------------------------------------------------------------------- */

typedef struct compiler {
    ast_builder *b;
    net n;
    size_t cap_states, cap_sets;
    uint32_t *rule_start; /* [n_rules], UINT32_MAX while not compiled */
    size_t depth;
    bool failed;
} compiler;

void net_release(net *n)
{
    free(n->states);
    free(n->sets);
    *n = (net){0};
}

static uint32_t emit(compiler *c, net_kind kind, uint32_t next, uint32_t other)
{
    if (c->failed) return 0;
    const bool too_large = c->n.n_states >= CONSTRAINT_STATES;
    if (too_large)
        ast_fail(c->b, MLTF_UNSUPPORTED,
                 "the constraint is too large: repetitions like {0,1000} of large parts multiply");
    else if (!ARRAY_RESERVE(c->n.states, c->cap_states, (size_t)c->n.n_states + 1))
        mltf_fail_memory(&c->b->err);
    if (too_large || c->n.n_states >= c->cap_states) {
        c->failed = true;
        return 0;
    }
    c->n.states[c->n.n_states] = (net_state){.kind = kind, .next = next, .other = other};
    return c->n.n_states++;
}

static uint32_t intern_set(compiler *c, const byte_set *s)
{
    for (uint32_t i = c->n.n_sets; i-- > 0 && c->n.n_sets - i < 64;) // recent ones repeat
        if (memcmp(&c->n.sets[i], s, sizeof *s) == 0) return i;
    if (!ARRAY_RESERVE(c->n.sets, c->cap_sets, (size_t)c->n.n_sets + 1)) {
        mltf_fail_memory(&c->b->err);
        c->failed = true;
        return 0;
    }
    c->n.sets[c->n.n_sets] = *s;
    return c->n.n_sets++;
}

/* The states of `a` that go on to `next`; returns the first. Built back to front, so that each knows where it
 * goes; only a loop needs its entry before its body. */
static uint32_t compile(compiler *c, const ast *a, uint32_t next)
{
    if (c->failed || !a) return 0;
    if (++c->depth > 2000) {
        ast_fail(c->b, MLTF_UNSUPPORTED, "the constraint is nested too deeply");
        c->failed = true;
    }
    uint32_t start = next;
    switch (a->kind) {
    case AST_EMPTY:
        break;
    case AST_NOTHING: { // a set without bytes
        const byte_set none = {{0}};
        const uint32_t set = intern_set(c, &none);
        start = emit(c, NET_SET, next, 0);
        if (!c->failed) c->n.states[start].set = set;
        break;
    }
    case AST_SET: {
        const uint32_t set = intern_set(c, &a->set);
        start = emit(c, NET_SET, next, 0);
        if (c->failed) break;
        c->n.states[start].set = set;
        c->n.states[start].marked = a->marked;
        c->n.marked |= a->marked;
        break;
    }
    case AST_SEQ:
        for (size_t i = a->n; i-- > 0;) start = compile(c, a->child[i], start);
        break;
    case AST_ALT:
        start = a->n ? compile(c, a->child[a->n - 1], next) : next;
        for (size_t i = a->n ? a->n - 1 : 0; i-- > 0;)
            start = emit(c, NET_FORK, compile(c, a->child[i], next), start);
        break;
    case AST_REPEAT:
        if (a->max == AST_MANY) {
            const uint32_t loop = emit(c, NET_FORK, 0, next);
            const uint32_t body = compile(c, a->child[0], loop);
            if (!c->failed) c->n.states[loop].next = body;
            start = loop;
        } else {
            for (uint32_t i = a->min; i < a->max && !c->failed; i++)
                start = emit(c, NET_FORK, compile(c, a->child[0], start), next);
        }
        for (uint32_t i = 0; i < a->min && !c->failed; i++) start = compile(c, a->child[0], start);
        break;
    case AST_RULE:
        start = emit(c, NET_CALL, next,
                     (uint32_t)a->rule); // the rule's number; its place is filled in later
        break;
    }
    c->depth--;
    return start;
}

/* Bytes that no set tells apart are one class. */
static void find_classes(net *n)
{
    n->n_classes = 1;
    memset(n->byte_class, 0, sizeof n->byte_class);
    for (uint32_t s = 0; s < n->n_sets && n->n_classes < 256; s++) {
        int split[256]; // class -> the class of its members in the set, once seen
        memset(split, -1, sizeof split);
        bool has_out[256] = {false};
        for (unsigned b = 0; b < 256; b++)
            if (!byte_set_has(&n->sets[s], (uint8_t)b)) has_out[n->byte_class[b]] = true;
        for (unsigned b = 0; b < 256; b++) {
            const uint8_t old = n->byte_class[b];
            if (!byte_set_has(&n->sets[s], (uint8_t)b) || !has_out[old]) continue;
            if (split[old] < 0) split[old] = (int)n->n_classes++;
            n->byte_class[b] = (uint8_t)split[old];
        }
    }
    for (unsigned b = 0; b < 256; b++) n->class_byte[n->byte_class[b]] = (uint8_t)b;
}

/* From which states can the end be reached? The others (a member whose value nothing satisfies) are cut off, or a
 * text might be led where it cannot be finished. */
static void cut_dead_ends(compiler *c)
{
    net *n = &c->n;
    uint8_t *ends = calloc(n->n_states + 1, 1);
    if (!ends) {
        mltf_fail_memory(&c->b->err);
        return;
    }
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < n->n_states; i++) { // what comes behind has mostly smaller numbers
            const net_state *s = &n->states[i];
            if (ends[i]) continue;
            const uint64_t *w = s->kind == NET_SET ? n->sets[s->set].w : NULL;
            ends[i] = s->kind == NET_END    ? 1
                      : s->kind == NET_FORK ? ends[s->next] || ends[s->other]
                      : s->kind == NET_CALL ? ends[s->next] && ends[s->other]
                                            : ends[s->next] && (w[0] | w[1] | w[2] | w[3]);
            more |= ends[i] != 0;
        }
    }
    const byte_set none = {{0}};
    const uint32_t nothing = intern_set(c, &none);
    for (uint32_t i = 0; i < n->n_states && !c->failed; i++) {
        net_state *s = &n->states[i];
        if (!ends[i])
            *s = (net_state){.kind = NET_SET, .next = i, .set = nothing};
        else if (s->kind == NET_FORK && !ends[s->next])
            s->next = s->other;
        else if (s->kind == NET_FORK && !ends[s->other])
            s->other = s->next;
    }
    if (!c->failed && !ends[n->start])
        ast_fail(c->b, MLTF_INVALID_INPUT, "no text can satisfy the constraint%s%s",
                 c->b->hint[0] ? ": " : "", c->b->hint);
    free(ends);
}

mltf_status constraint_compile(gen_constraint **out, const gen_trie *trie, ast_builder *b,
                               size_t root, mltf_err *err)
{
    *out = NULL;
    compiler c = {.b = b};
    if (b->arena.failed && ast_ok(b)) mltf_fail_memory(&b->err);
    if (ast_ok(b)) {
        c.rule_start = calloc(b->n_rules + 1, sizeof *c.rule_start);
        if (!c.rule_start) mltf_fail_memory(&b->err);
    }
    for (size_t r = 0; ast_ok(b) && r < b->n_rules; r++) {
        if (!b->rule[r]) {
            ast_fail(b, MLTF_INVALID_INPUT, "a rule is used but never defined");
            break;
        }
        const uint32_t end = emit(&c, NET_END, 0, 0);
        c.rule_start[r] = compile(&c, b->rule[r], end);
    }
    for (uint32_t s = 0; ast_ok(b) && s < c.n.n_states; s++)
        if (c.n.states[s].kind == NET_CALL) c.n.states[s].other = c.rule_start[c.n.states[s].other];
    if (ast_ok(b)) {
        c.n.start = c.rule_start[root];
        cut_dead_ends(&c);
    }
    if (ast_ok(b)) find_classes(&c.n);
    free(c.rule_start);
    const mltf_status st =
        b->err.status ? mltf_fail(err, b->err.status, "%s", b->err.msg) : MLTF_OK;
    arena_release(&b->arena);
    if (st) {
        net_release(&c.n);
        return st;
    }
    return constraint_new(out, trie, &c.n, err);
}
