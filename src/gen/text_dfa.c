/* Deterministic automata: from trees, in products, smallest forms, and back to trees. */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "gen/text_dfa.h"

#define MOST_PLACES                                                                                \
    3000000u /* of the places that a tree's automaton is made of: what bounds the time */

static void too_large(ast_builder *b)
{
    ast_fail(b, MLTF_UNSUPPORTED,
             "the schema's conditions on a text or a number are too large together: %u states",
             TEXT_DFA_STATES);
}

text_dfa *text_dfa_new(ast_builder *b, uint32_t n, unsigned n_classes)
{
    if (!ast_ok(b)) return NULL;
    const size_t cells = (size_t)n * n_classes;
    b->dfa_cells += cells;
    if (n > TEXT_DFA_STATES || b->dfa_cells > TEXT_DFA_CELLS) {
        too_large(b);
        return NULL;
    }
    text_dfa *d = arena_calloc(&b->arena, 1, sizeof *d);
    uint32_t *next = arena_calloc(&b->arena, cells, sizeof *next);
    bool *accepts = arena_calloc(&b->arena, n, sizeof *accepts);
    if (!d || !next || !accepts) {
        mltf_fail_memory(&b->err);
        return NULL;
    }
    *d = (text_dfa){.n = n, .n_classes = n_classes, .next = next, .accepts = accepts};
    return d;
}

/* ---- the smallest form --------------------------------------------------------------------- */

/* A table while its states are found; those of equal meaning are put together at the end. */
typedef struct draft {
    uint32_t *next; /* [n][n_classes] */
    bool *accepts;
    size_t cap_next, cap_accepts;
    uint32_t n;
    unsigned n_classes;
    bool failed;
} draft;

static void draft_release(draft *d)
{
    free(d->next);
    free(d->accepts);
}

static uint32_t draft_add(ast_builder *b, draft *d, bool accepts)
{
    const size_t cells = ((size_t)d->n + 1) * d->n_classes;
    if (d->n >= TEXT_DFA_STATES * 4 || cells > TEXT_DFA_CELLS)
        too_large(b);
    else if (!ARRAY_RESERVE(d->next, d->cap_next, cells) ||
             !ARRAY_RESERVE(d->accepts, d->cap_accepts, (size_t)d->n + 1))
        mltf_fail_memory(&b->err);
    if (!ast_ok(b)) {
        d->failed = true;
        return 0;
    }
    memset(d->next + cells - d->n_classes, 0, d->n_classes * sizeof *d->next);
    d->accepts[d->n] = accepts;
    return d->n++;
}

static uint64_t mixed(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

/* Groups of states that behave alike for one more byte than the groups `from` do; returns how many. */
static uint32_t refine(const draft *d, const uint32_t *from, uint32_t *to, uint32_t *table,
                       uint32_t size)
{
    uint32_t groups = 0;
    memset(table, 0, size * sizeof *table);
    for (uint32_t q = 0; q < d->n; q++) {
        const uint32_t *row = d->next + (size_t)q * d->n_classes;
        uint64_t hash = from[q];
        for (unsigned c = 0; c < d->n_classes; c++) hash = mixed(hash, from[row[c]]);
        uint32_t h = (uint32_t)(hash >> 20) & (size - 1);
        for (; table[h]; h = (h + 1) & (size - 1)) {
            const uint32_t other = table[h] - 1;
            const uint32_t *its = d->next + (size_t)other * d->n_classes;
            bool same = from[q] == from[other];
            for (unsigned c = 0; c < d->n_classes && same; c++) same = from[row[c]] == from[its[c]];
            if (same) break;
        }
        if (!table[h]) {
            table[h] = q + 1;
            to[q] = groups++;
        } else {
            to[q] = to[table[h] - 1];
        }
    }
    return groups;
}

/* The automaton of a draft whose state 0 is dead; releases the draft. */
static text_dfa *finished(ast_builder *b, draft *d, uint32_t start, const uint8_t *byte_class)
{
    text_dfa *out = NULL;
    uint32_t size = 16;
    while (size < d->n * 2) size *= 2;
    uint32_t *group = calloc(d->n + 1, sizeof *group), *next = calloc(d->n + 1, sizeof *next),
             *table = calloc(size, sizeof *table);
    if (d->failed || !ast_ok(b)) goto done;
    if (!group || !next || !table) {
        mltf_fail_memory(&b->err);
        goto done;
    }
    for (uint32_t q = 0; q < d->n; q++) group[q] = d->accepts[q];
    for (uint32_t n = 0, before;;) { // state 0 is looked at first: its group is number 0
        before = n;
        n = refine(d, group, next, table, size);
        uint32_t *t = group;
        group = next;
        next = t;
        if (n > before) continue;
        out = text_dfa_new(b, n, d->n_classes);
        break;
    }
    if (!out) goto done;
    for (uint32_t q = 0; q < d->n; q++) {
        for (unsigned c = 0; c < d->n_classes; c++)
            out->next[(size_t)group[q] * d->n_classes + c] =
                group[d->next[(size_t)q * d->n_classes + c]];
        out->accepts[group[q]] = d->accepts[q];
    }
    memcpy(out->byte_class, byte_class, 256);
    out->start = group[start];
done:
    draft_release(d);
    free(group);
    free(next);
    free(table);
    return out;
}

/* ---- from trees ---------------------------------------------------------------------------- */

/* All sets of places that a constraint has. Their numbers are given in the order of their making, so those of a
 * fresh constraint are the states of the table. */
static text_dfa *all_sets(ast_builder *b, const gen_constraint *c)
{
    const net *n = constraint_net(c);
    draft d = {.n_classes = n->n_classes};
    size_t places = 0;
    const uint32_t start = constraint_start(c);
    for (uint32_t set = 0; set <= start || set < d.n; set++) {
        while (d.n <= set && !d.failed) draft_add(b, &d, constraint_ends(c, d.n));
        places += constraint_places(c, set);
        if (places > MOST_PLACES) too_large(b);
        for (unsigned k = 0; k < n->n_classes && set && ast_ok(b) && !d.failed; k++) {
            uint32_t to;
            const mltf_status st = constraint_step(&to, c, set, n->class_byte[k], &b->err);
            if (st) d.failed = true;
            while (!d.failed && d.n <= to) draft_add(b, &d, constraint_ends(c, d.n));
            if (!d.failed) d.next[(size_t)set * d.n_classes + k] = to;
        }
        if (d.failed || !ast_ok(b)) break;
    }
    return finished(b, &d, start, n->byte_class);
}

text_dfa *text_dfa_of(ast_builder *b, ast_builder *from, ast *a)
{
    static const gen_trie no_tokens = {.n = 0};
    gen_constraint *c = NULL;
    mltf_err err = {0};
    const size_t root = ast_rule_new(from);
    ast_rule_set(from, root, a);
    const bool readable = ast_ok(from) && ast_ok(b);
    const mltf_status st = constraint_compile(&c, &no_tokens, from, root, &err);
    text_dfa *out = NULL;
    if (st == MLTF_INVALID_INPUT && readable) // no text at all
        out = text_dfa_new(b, 1, 1);
    else if (st)
        ast_fail(b, st, "%s", err.msg);
    else
        out = all_sets(b, c);
    gen_constraint_free(c);
    return out;
}

text_dfa *text_dfa_of_pattern(ast_builder *b, mltf_str pattern, bool search)
{
    ast_builder from = {0};
    return text_dfa_of(b, &from, regex_parse(&from, pattern, search));
}

text_dfa *text_dfa_of_text(ast_builder *b, mltf_str text)
{
    ast_builder from = {0};
    return text_dfa_of(b, &from, ast_bytes(&from, text));
}

/* ---- products ------------------------------------------------------------------------------ */

typedef struct product {
    const text_dfa *x, *y;
    draft d;
    uint64_t *pair;  /* [table_size] x's state << 32 | y's */
    uint32_t *table; /* number + 1, 0: empty */
    uint32_t table_size;
    enum { BOTH, EITHER, WITHOUT } kind;
} product;

/* The number of a pair of states. */
static uint32_t of_pair(ast_builder *b, product *p, uint32_t x, uint32_t y)
{
    if (x == 0 && (y == 0 || p->kind != EITHER)) return 0;
    if (y == 0 && p->kind == BOTH) return 0;
    const uint64_t pair = (uint64_t)x << 32 | y;
    if (p->d.n * 2 >= p->table_size) {
        const uint32_t size = p->table_size ? p->table_size * 2 : 256;
        uint32_t *t = calloc(size, sizeof *t);
        uint64_t *of = realloc(p->pair, size * sizeof *of);
        if (of) p->pair = of;
        if (!t || !of) {
            free(t);
            mltf_fail_memory(&b->err);
            p->d.failed = true;
            return 0;
        }
        free(p->table);
        p->table = t;
        p->table_size = size;
        for (uint32_t i = 1; i < p->d.n; i++) {
            uint32_t h = (uint32_t)(mixed(0, p->pair[i]) >> 20) & (size - 1);
            while (t[h]) h = (h + 1) & (size - 1);
            t[h] = i + 1;
        }
    }
    uint32_t h = (uint32_t)(mixed(0, pair) >> 20) & (p->table_size - 1);
    for (; p->table[h]; h = (h + 1) & (p->table_size - 1))
        if (p->pair[p->table[h] - 1] == pair) return p->table[h] - 1;
    const bool in_x = p->x->accepts[x], in_y = p->y->accepts[y];
    const uint32_t q = draft_add(b, &p->d,
                                 p->kind == BOTH     ? in_x && in_y
                                 : p->kind == EITHER ? in_x || in_y
                                                     : in_x && !in_y);
    if (q == 0) return 0;
    p->pair[q] = pair;
    p->table[h] = q + 1;
    return q;
}

static text_dfa *multiply(ast_builder *b, const text_dfa *x, const text_dfa *y, int kind)
{
    if (!x || !y || !ast_ok(b)) return NULL;
    uint8_t byte_class[256], byte_of[256];
    unsigned n_classes = 0;
    for (unsigned i = 0; i < 256; i++) { // of the bytes that neither tells apart the first
        unsigned k = 0;
        while (k < n_classes && (x->byte_class[byte_of[k]] != x->byte_class[i] ||
                                 y->byte_class[byte_of[k]] != y->byte_class[i]))
            k++;
        if (k == n_classes) byte_of[n_classes++] = (uint8_t)i;
        byte_class[i] = (uint8_t)k;
    }
    product p = {.x = x, .y = y, .kind = kind, .d = {.n_classes = n_classes}};
    draft_add(b, &p.d, false); // the dead one
    const uint32_t start = of_pair(b, &p, x->start, y->start);
    for (uint32_t q = 1; q < p.d.n && !p.d.failed; q++)
        for (unsigned c = 0; c < n_classes && !p.d.failed; c++) {
            const uint32_t to =
                of_pair(b, &p, text_dfa_step(x, (uint32_t)(p.pair[q] >> 32), byte_of[c]),
                        text_dfa_step(y, (uint32_t)p.pair[q], byte_of[c]));
            if (!p.d.failed) p.d.next[(size_t)q * n_classes + c] = to;
        }
    text_dfa *out = finished(b, &p.d, start, byte_class);
    free(p.pair);
    free(p.table);
    return out;
}

text_dfa *text_dfa_both(ast_builder *b, const text_dfa *x, const text_dfa *y)
{
    return multiply(b, x, y, BOTH);
}

text_dfa *text_dfa_either(ast_builder *b, const text_dfa *x, const text_dfa *y)
{
    return multiply(b, x, y, EITHER);
}

text_dfa *text_dfa_without(ast_builder *b, const text_dfa *x, const text_dfa *y)
{
    return multiply(b, x, y, WITHOUT);
}

/* ---- questions ----------------------------------------------------------------------------- */

/* In the smallest form whatever accepts nothing is the dead state. */
bool text_dfa_is_empty(const text_dfa *d)
{
    return !d || d->start == 0;
}

size_t text_dfa_count(const text_dfa *d, size_t most)
{
    if (text_dfa_is_empty(d)) return 0;
    size_t bytes[256] = {0}, found = 0; // how many bytes a class has
    for (unsigned i = 0; i < 256; i++) bytes[d->byte_class[i]]++;
    size_t *at = calloc(d->n, sizeof *at), *next = calloc(d->n, sizeof *next);
    bool more = at && next;
    if (more) at[d->start] = 1;
    for (uint32_t length = 0; more && found < most; length++) {
        more = false;
        memset(next, 0, d->n * sizeof *next);
        for (uint32_t q = 1; q < d->n && found < most; q++) {
            if (!at[q]) continue;
            if (d->accepts[q]) found += at[q];
            for (unsigned c = 0; c < d->n_classes; c++) {
                const uint32_t to = d->next[(size_t)q * d->n_classes + c];
                const size_t sum = next[to] + at[q] * bytes[c]; // at most `most` * 256 each
                if (to) next[to] = sum > most ? most : sum;
                more |= to != 0;
            }
        }
        if (length > d->n) found = most; // it went round
        size_t *t = at;
        at = next;
        next = t;
    }
    if (!at || !next) found = most;
    free(at);
    free(next);
    return found < most ? found : most;
}

/* ---- back to trees ------------------------------------------------------------------------- */

/* A byte of a set, or where the inside of a JSON string cannot hold it, what is written for it. */
static void add_bytes(ast_builder *b, ast *alt, const byte_set *bytes, ast *rest, bool json_text)
{
    byte_set plain = *bytes;
    for (unsigned c = 0; c < 128 && json_text; c++) {
        if (!byte_set_has(bytes, (uint8_t)c) || (c >= 32 && c != '"' && c != '\\')) continue;
        plain.w[c >> 6] &= ~((uint64_t)1 << (c & 63));
        ast_add(b, alt, ast_cat(b, ast_char(b, c), rest));
    }
    if (plain.w[0] | plain.w[1] | plain.w[2] | plain.w[3])
        ast_add(b, alt, ast_cat(b, ast_byte_set(b, &plain), rest));
}

ast *text_dfa_ast(ast_builder *b, const text_dfa *d, bool json_text)
{
    if (!d || !ast_ok(b)) return NULL;
    if (text_dfa_is_empty(d)) return ast_nothing(b);
    const size_t first = b->n_rules;
    for (uint32_t q = 1; q < d->n; q++) ast_rule_new(b); // of state q: first + q - 1
    const bool before = b->json_text;
    b->json_text = json_text;
    uint32_t last[256];
    for (uint32_t q = 1; q < d->n && ast_ok(b); q++) {
        ast *alt = ast_alt(b);
        for (unsigned c = 0; c < 256; c++) last[c] = text_dfa_step(d, q, (uint8_t)c);
        for (unsigned c = 0; c < 256; c++) {
            const uint32_t to = last[c];
            byte_set bytes = {{0}};
            if (to == 0) continue;
            for (unsigned k = c; k < 256; k++) // all bytes that lead there
                if (last[k] == to) {
                    byte_set_add(&bytes, (uint8_t)k, (uint8_t)k);
                    last[k] = 0;
                }
            add_bytes(b, alt, &bytes, ast_call(b, first + to - 1), json_text);
        }
        if (d->accepts[q]) ast_add(b, alt, ast_empty(b));
        ast_rule_set(b, first + q - 1, alt);
    }
    b->json_text = before;
    return ast_call(b, first + d->start - 1);
}
