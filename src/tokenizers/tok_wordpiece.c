/* WordPiece and WordLevel: https://github.com/huggingface/tokenizers, tokenizers/src/models (0.22.2).
 *
 * WordPiece takes the longest token that begins a word, then the longest that goes on, and so forth; a word
 * that cannot be covered, or has too many characters, is the unknown token. */
#include <stdlib.h>

#include "tokenizers/tok_cache.h"
#include "tokenizers/tok_darts.h"

typedef struct wordpiece {
    tok_model base;
    darts first, inner; /* tokens that begin a word; that continue one, without their prefix */
    size_t max_chars;
    int32_t unk;
    char *unk_name;
    size_t prefix_n;
} wordpiece;

static mltf_status missing_unk(const wordpiece *w, mltf_err *err)
{
    return mltf_fail(err, MLTF_CORRUPT_FILE, "the unknown token \"%s\" is not in the vocabulary",
                     w->unk_name);
}

static mltf_status cover(const tok_model *m, tok_scratch *s, const char *p, size_t at, size_t n,
                         size_t piece, mltf_err *err)
{
    const wordpiece *w = (const wordpiece *)m;
    const size_t before = s->n_tokens, end = at + n;
    bool bad = n > w->max_chars && utf8_count(p + at, n) > w->max_chars;
    for (size_t from = at; from < end && !bad;) {
        const darts *d = from == at ? &w->first : &w->inner;
        int32_t node = 0, id = -1;
        size_t stop = from;
        for (size_t i = from; i < end && (node = darts_next(d, node, (unsigned char)p[i])) >= 0;
             i++)
            if (d->nodes[node].value >= 0) {
                id = d->nodes[node].value;
                stop = i + 1;
            }
        // a token may end inside a character only if the vocabulary is not UTF-8, which it is
        if (id < 0)
            bad = true;
        else if (!tok_emit(s, id, from, stop, piece))
            return mltf_fail_memory(err);
        from = stop;
    }
    if (!bad) return MLTF_OK;
    s->n_tokens = before;
    if (w->unk < 0) return missing_unk(w, err);
    return tok_emit(s, w->unk, at, end, piece) ? MLTF_OK : mltf_fail_memory(err);
}

static mltf_status wordpiece_tokenize(const tok_model *m, tok_scratch *s, const char *p, size_t at,
                                      size_t n, size_t piece, mltf_err *err)
{
    return cache_tokenize(m, cover, s, p, at, n, piece, err);
}

bool tok_model_is_wordpiece(const tok_model *m)
{
    return m->tokenize == wordpiece_tokenize;
}

static void wordpiece_free(tok_model *m)
{
    wordpiece *w = (wordpiece *)m;
    darts_release(&w->first);
    darts_release(&w->inner);
    free(w->unk_name);
}

static mltf_status keep_unk(wordpiece *w, mltf_str unk, mltf_err *err)
{
    w->unk_name = malloc(unk.n + 1);
    if (!w->unk_name) return mltf_fail_memory(err);
    if (unk.n) memcpy(w->unk_name, unk.p, unk.n);
    w->unk_name[unk.n] = '\0';
    w->unk = vocab_find(&w->base.vocab, unk.p, unk.n);
    return MLTF_OK;
}

mltf_status tok_wordpiece_new(tok_model **out, tok_vocab *vocab, mltf_str unk, mltf_str prefix,
                              size_t max_chars, mltf_err *err)
{
    *out = NULL;
    wordpiece *w = calloc(1, sizeof *w);
    if (!w) return mltf_fail_memory(err);
    w->base.vocab = *vocab;
    *vocab = (tok_vocab){0};
    w->base.tokenize = wordpiece_tokenize;
    w->base.free = wordpiece_free;
    w->max_chars = max_chars;
    if (prefix.n < sizeof w->base.continuing && prefix.n)
        memcpy(w->base.continuing, prefix.p, prefix.n);
    *out = &w->base;
    TRY(keep_unk(w, unk, err));
    const tok_vocab *v = &w->base.vocab;
    darts_key *keys = malloc((v->n + 1) * sizeof *keys);
    if (!keys) return mltf_fail_memory(err);
    for (size_t i = 0; i < v->n; i++) {
        const mltf_str t = vocab_at(v, i);
        keys[i] = (darts_key){t.p, (uint32_t)t.n, v->ids[i]};
    }
    mltf_status st = darts_build(&w->first, keys, v->n, err);
    if (st == MLTF_OK) {
        size_t n = 0;
        for (size_t i = 0; i < v->n; i++) {
            const mltf_str t = vocab_at(v, i);
            if (t.n > prefix.n && memcmp(t.p, prefix.p, prefix.n) == 0)
                keys[n++] = (darts_key){t.p + prefix.n, (uint32_t)(t.n - prefix.n), v->ids[i]};
        }
        st = darts_build(&w->inner, keys, n, err);
    }
    free(keys);
    return st;
}

static mltf_status wordlevel_tokenize(const tok_model *m, tok_scratch *s, const char *p, size_t at,
                                      size_t n, size_t piece, mltf_err *err)
{
    const wordpiece *w = (const wordpiece *)m;
    int32_t id = vocab_find(&m->vocab, p + at, n);
    if (id < 0) id = w->unk;
    if (id < 0) return missing_unk(w, err);
    return tok_emit(s, id, at, at + n, piece) ? MLTF_OK : mltf_fail_memory(err);
}

mltf_status tok_wordlevel_new(tok_model **out, tok_vocab *vocab, mltf_str unk, mltf_err *err)
{
    *out = NULL;
    wordpiece *w = calloc(1, sizeof *w);
    if (!w) return mltf_fail_memory(err);
    w->base.vocab = *vocab;
    *vocab = (tok_vocab){0};
    w->base.tokenize = wordlevel_tokenize;
    w->base.free = wordpiece_free;
    *out = &w->base;
    return keep_unk(w, unk, err);
}
