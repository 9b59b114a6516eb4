/* The bytes of every token, as a trie in preorder: a walk that finds a byte impossible jumps behind the whole
 * subtree. */
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/utf8.h"
#include "gen/constraint_ast.h"
#include "gen/token_bytes.h"

/* ---- what bytes a token adds to a text ----------------------------------------------------- */

/* GPT-2's table, backwards: the byte that a character stands for, or -1. Printable Latin-1 stands for itself, the
 * 68 other bytes follow from U+0100 on, in order. */
static int byte_of_char(uint32_t cp)
{
    if ((cp >= 33 && cp <= 126) || (cp >= 161 && cp <= 172) || (cp >= 174 && cp <= 255))
        return (int)cp;
    if (cp < 256 || cp >= 256 + 68) return -1;
    const int i = (int)cp - 256; // 0…32, 127…160, 173
    if (i < 33) return i;
    return i < 67 ? i - 33 + 127 : 173;
}

gen_vocab_form gen_vocab_form_of(const tokenizer *tk)
{
    if (tokenizer_token_to_id(tk, STR("\xc4\xa0")) >= 0) return GEN_FORM_BYTE_LEVEL; // "Ġ"
    if (tokenizer_token_to_id(tk, STR("\xe2\x96\x81")) >= 0) return GEN_FORM_PIECES;
    size_t level = 0, pieces = 0;
    const size_t n = tokenizer_vocab_size(tk);
    for (size_t i = 0; i < n; i++) {
        const mltf_str t = tokenizer_id_to_token(tk, (int32_t)i);
        level += t.p && str_starts(t, "\xc4\xa0");
        pieces += t.p && str_starts(t, "\xe2\x96\x81");
    }
    if (tokenizer_token_to_id(tk, STR("<0x0A>")) >= 0) pieces++;
    return level > pieces ? GEN_FORM_BYTE_LEVEL : pieces ? GEN_FORM_PIECES : GEN_FORM_PLAIN;
}

/* Append the bytes of a token; tokens added in plain text are not in the vocabulary's form. */
void gen_token_bytes(mltf_buf *out, mltf_str t, gen_vocab_form form)
{
    const size_t start = out->n;
    if (form == GEN_FORM_BYTE_LEVEL) {
        for (size_t i = 0, len; i < t.n; i += len) {
            const uint32_t cp = utf8_decode(t.p + i, t.n - i, &len);
            const int byte = cp == UTF8_BAD ? -1 : byte_of_char(cp);
            if (byte < 0) { // not written byte by byte: literal text
                out->n = start;
                buf_put_str(out, t);
                return;
            }
            buf_putc(out, (char)byte);
        }
        return;
    }
    if (form == GEN_FORM_PIECES && t.n == 6 && str_starts(t, "<0x") && t.p[5] == '>' &&
        ascii_hex(t.p[3]) >= 0 && ascii_hex(t.p[4]) >= 0) {
        buf_putc(out, (char)(ascii_hex(t.p[3]) << 4 | ascii_hex(t.p[4])));
        return;
    }
    for (size_t i = 0; i < t.n; i++) {
        if (form == GEN_FORM_PIECES && t.n - i >= 3 && memcmp(t.p + i, "\xe2\x96\x81", 3) == 0) {
            buf_putc(out, ' ');
            i += 2;
        } else {
            buf_putc(out, t.p[i]);
        }
    }
}

/* ---- building ------------------------------------------------------------------------------ */

typedef struct sort_entry {
    const char *p;
    uint32_t n;
    int32_t id;
} sort_entry;

static int compare_entries(const void *a, const void *b)
{
    const sort_entry *x = a, *y = b;
    const int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    if (c) return c;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

void gen_trie_free(gen_trie *t)
{
    if (!t) return;
    free(t->nodes);
    arena_release(&t->arena);
    free(t);
}

/* Tokens in order of their bytes give the nodes in preorder: each adds the bytes that it does not share with
 * the one before, and closes the nodes that it leaves. */
static mltf_status build_nodes(gen_trie *t, const sort_entry *e, size_t n, mltf_err *err)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) total += e[i].n;
    t->nodes = malloc((total + 1) * sizeof *t->nodes);
    uint32_t *open = malloc((t->longest + 1) * sizeof *open); // nodes of the path, by depth
    if (!t->nodes || !open) {
        free(open);
        return mltf_fail_memory(err);
    }
    size_t depth = 0;
    for (size_t i = 0; i < n; i++) {
        size_t shared = 0;
        if (i)
            while (shared < e[i].n && shared < e[i - 1].n && e[i].p[shared] == e[i - 1].p[shared])
                shared++;
        while (depth > shared) t->nodes[open[--depth]].end = (uint32_t)t->n;
        while (depth < e[i].n) {
            open[depth] = (uint32_t)t->n;
            t->nodes[t->n++] = (trie_node){.token = -1, .byte = (uint8_t)e[i].p[depth]};
            depth++;
        }
        trie_node *last = &t->nodes[open[depth - 1]];
        t->same[e[i].id] = last->token;
        last->token = e[i].id;
    }
    while (depth > 0) t->nodes[open[--depth]].end = (uint32_t)t->n;
    free(open);
    return MLTF_OK;
}

mltf_status gen_trie_from_tokens(gen_trie **out, const mltf_str *tokens, size_t vocab,
                                 mltf_err *err)
{
    *out = NULL;
    gen_trie *t = calloc(1, sizeof *t);
    if (!t) return mltf_fail_memory(err);
    t->vocab = vocab;
    t->same = arena_calloc(&t->arena, vocab + 1, sizeof *t->same);
    t->bytes = arena_calloc(&t->arena, vocab + 1, sizeof *t->bytes);
    t->length = arena_calloc(&t->arena, vocab + 1, sizeof *t->length);
    sort_entry *entries = malloc((vocab + 1) * sizeof *entries);
    mltf_status st = t->same && t->bytes && t->length && entries ? MLTF_OK : mltf_fail_memory(err);
    size_t n = 0;
    for (size_t i = 0; i < vocab && !st; i++) {
        t->same[i] = -1;
        if (tokens[i].n == 0 || tokens[i].n > UINT32_MAX) continue;
        t->bytes[i] = arena_strdup(&t->arena, tokens[i].p, tokens[i].n);
        t->length[i] = (uint32_t)tokens[i].n;
        if (!t->bytes[i]) st = mltf_fail_memory(err);
        if (tokens[i].n > t->longest) t->longest = tokens[i].n;
        entries[n++] = (sort_entry){t->bytes[i], (uint32_t)tokens[i].n, (int32_t)i};
    }
    if (!st) {
        qsort(entries, n, sizeof *entries, compare_entries);
        st = build_nodes(t, entries, n, err);
    }
    free(entries);
    if (st)
        gen_trie_free(t);
    else
        *out = t;
    return st;
}

mltf_status gen_trie_new(gen_trie **out, const tokenizer *tk, size_t vocab, mltf_err *err)
{
    *out = NULL;
    const gen_vocab_form form = gen_vocab_form_of(tk);
    const size_t known = tokenizer_vocab_size(tk);
    mltf_str *tokens = calloc(vocab + 1, sizeof *tokens);
    size_t *end = calloc(vocab + 1, sizeof *end); // of each token in `all`
    mltf_buf all = MLTF_BUF_INIT;
    mltf_status st = tokens && end ? MLTF_OK : mltf_fail_memory(err);
    for (size_t i = 0; i < vocab && !st; i++) {
        const mltf_str text = i < known ? tokenizer_id_to_token(tk, (int32_t)i) : (mltf_str){0};
        if (text.p && !tokenizer_is_special(tk, (int32_t)i)) gen_token_bytes(&all, text, form);
        end[i] = all.n;
    }
    if (!st) st = buf_status(&all, err);
    for (size_t i = 0; i < vocab && !st; i++) {
        const size_t from = i ? end[i - 1] : 0;
        tokens[i] = (mltf_str){all.p + from, end[i] - from};
    }
    if (!st) st = gen_trie_from_tokens(out, tokens, vocab, err);
    free(tokens);
    free(end);
    mltf_buf_release(&all);
    return st;
}

mltf_str gen_trie_bytes(const gen_trie *t, int32_t id)
{
    if (id < 0 || (size_t)id >= t->vocab || !t->bytes[id]) return (mltf_str){0};
    return (mltf_str){t->bytes[id], t->length[id]};
}
