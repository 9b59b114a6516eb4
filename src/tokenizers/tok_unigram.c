/* Unigram: https://github.com/huggingface/tokenizers, tokenizers/src/models/unigram (0.22.2), and
 * sentencepiece's EncodeOptimized.
 *
 * The best path through all pieces of the text, from left to right: for each place the best score of a path
 * that ends there. Scores are doubles, added in the reference's order; of equal ones the first found stays.
 * Neighbouring unknown characters become one token. */
#include <math.h>
#include <stdlib.h>

#include "tokenizers/tok_cache.h"
#include "tokenizers/tok_darts.h"

typedef struct unigram {
    tok_model base;
    darts trie;
    double *scores; /* by the id of a token */
    double unk_score;
    int32_t unk;
    bool byte_fallback;
} unigram;

typedef struct node {
    double score;
    uint32_t start; /* UINT32_MAX: nothing ends here yet */
    int32_t id;
} node;

static mltf_status no_unk(mltf_err *err)
{
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "encountered an unknown token but the tokenizer's unk_id is missing");
}

/* One token of the path: text p[from .. to). */
static mltf_status emit_path(const unigram *u, tok_scratch *s, const char *p, size_t from,
                             size_t to, int32_t id, size_t piece, mltf_err *err)
{
    if (id == u->unk) id = vocab_find(&u->base.vocab, p + from, to - from);
    if (id >= 0) return tok_emit(s, id, from, to, piece) ? MLTF_OK : mltf_fail_memory(err);
    bool bytes = u->byte_fallback;
    for (size_t i = from; i < to && bytes; i++) bytes = u->base.byte_ids[(unsigned char)p[i]] >= 0;
    if (!bytes) {
        if (u->unk < 0) return no_unk(err);
        return tok_emit(s, u->unk, from, to, piece) ? MLTF_OK : mltf_fail_memory(err);
    }
    for (size_t i = from; i < to; i++)
        if (!tok_emit(s, u->base.byte_ids[(unsigned char)p[i]], from, to, piece))
            return mltf_fail_memory(err);
    return MLTF_OK;
}

static mltf_status best_path(const tok_model *m, tok_scratch *s, const char *p, size_t at, size_t n,
                             size_t piece, mltf_err *err)
{
    const unigram *u = (const unigram *)m;
    if (!array_reserve(&s->lattice, &s->lattice_cap, n + 1, sizeof(node)))
        return mltf_fail_memory(err);
    node *lattice = s->lattice;
    const char *t = p + at;
    for (size_t i = 0; i <= n; i++) lattice[i].start = UINT32_MAX;
    lattice[0].score = 0.0;
    for (size_t i = 0; i < n;) {
        size_t len = 1;
        while (i + len < n && tok_is_cont(t[i + len])) len++;
        const double here = lattice[i].score;
        bool single = false;
        int32_t v = 0;
        for (size_t k = i; k < n && (v = darts_next(&u->trie, v, (unsigned char)t[k])) >= 0; k++) {
            const int32_t id = u->trie.nodes[v].value;
            if (id < 0) continue;
            node *to = &lattice[k + 1];
            const double score = u->scores[id] + here;
            if (to->start == UINT32_MAX || score > to->score) *to = (node){score, (uint32_t)i, id};
            if (k + 1 == i + len) single = true;
        }
        if (!single) {
            node *to = &lattice[i + len];
            const double score = u->unk_score + here;
            if (to->start == UINT32_MAX || score > to->score) {
                if (u->unk < 0) return no_unk(err);
                *to = (node){score, (uint32_t)i, u->unk};
            }
        }
        i += len;
    }
    // turn the links around, then walk forward
    uint32_t next = UINT32_MAX;
    for (size_t i = n; i > 0;) {
        const uint32_t from = lattice[i].start;
        lattice[i].start = next;
        next = (uint32_t)i;
        i = from;
    }
    for (size_t i = 0; i < n;) {
        size_t end = next;
        const int32_t id = lattice[end].id;
        next = lattice[end].start;
        while (id == u->unk && end < n && lattice[next].id == u->unk) {
            end = next;
            next = lattice[end].start;
        }
        TRY(emit_path(u, s, p, at + i, at + end, id, piece, err));
        i = end;
    }
    return MLTF_OK;
}

static mltf_status unigram_tokenize(const tok_model *m, tok_scratch *s, const char *p, size_t at,
                                    size_t n, size_t piece, mltf_err *err)
{
    return cache_tokenize(m, best_path, s, p, at, n, piece, err);
}

static void unigram_free(tok_model *m)
{
    unigram *u = (unigram *)m;
    darts_release(&u->trie);
    free(u->scores);
}

mltf_status tok_unigram_new(tok_model **out, tok_vocab *vocab, const double *scores, int64_t unk,
                            bool byte_fallback, mltf_err *err)
{
    *out = NULL;
    unigram *u = calloc(1, sizeof *u);
    if (!u) return mltf_fail_memory(err);
    u->base.vocab = *vocab;
    *vocab = (tok_vocab){0};
    u->base.tokenize = unigram_tokenize;
    u->base.free = unigram_free;
    u->base.values_from_text = true;
    u->unk = (int32_t)unk;
    u->byte_fallback = byte_fallback;
    *out = &u->base;
    const tok_vocab *v = &u->base.vocab;
    const size_t ids = v->n ? (size_t)v->max_id + 1 : 0;
    u->base.byte_ids = malloc(256 * sizeof(int32_t));
    u->scores = malloc((ids + 1) * sizeof(double));
    darts_key *keys = malloc((v->n + 1) * sizeof *keys);
    mltf_status st = u->base.byte_ids && u->scores && keys ? MLTF_OK : mltf_fail_memory(err);
    if (st == MLTF_OK) {
        double min = INFINITY;
        for (size_t i = 0; i < ids; i++) {
            u->scores[i] = scores[i];
            if (scores[i] < min) min = scores[i];
        }
        u->unk_score = min - 10.0;
        for (int i = 0; i < 256; i++) {
            char name[8] = {'<', '0', 'x', "0123456789ABCDEF"[i >> 4], "0123456789ABCDEF"[i & 15],
                            '>', 0,   0};
            u->base.byte_ids[i] = vocab_find(v, name, 6);
        }
        for (size_t i = 0; i < v->n; i++) {
            const mltf_str t = vocab_at(v, i);
            keys[i] = (darts_key){t.p, (uint32_t)t.n, v->ids[i]};
        }
        st = darts_build(&u->trie, keys, v->n, err);
    }
    free(keys);
    return st;
}
