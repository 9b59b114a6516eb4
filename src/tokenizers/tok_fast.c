/* Short cuts for the commonest tokenizers; each gives what the long way gives.
 *
 * BertNormalizer, BertPreTokenizer and WordPiece: text is taken chunk by chunk, cut at ASCII spaces, across
 * which none of the three looks. A chunk of printable ASCII is cut into words and punctuation at once, and a
 * word's tokens are looked up by its letters made small in registers. Any other chunk goes the long way, alone.
 *
 * Byte-level BPE: the pattern and the model go hand in hand; where digits (or Chinese, for DeepSeek) are cut out
 * before, the pattern is told where such a part ends. */
#include "tokenizers/tok_fast.h"

#include "tokenizers/tok_cache.h"

enum { A_OTHER, A_SPACE, A_PUNCT, A_WORD }; // of an ASCII byte

/* Eight ASCII letters made small. */
static inline uint64_t small8(uint64_t x)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    const uint64_t from_a = x + (0x80 - 'A') * ones, past_z = x + (0x80 - 'Z' - 1) * ones;
    return x | (from_a & ~past_z & high) >> 2;
}

typedef struct bert_run {
    const tokenizer *tk;
    tok_scratch *s;
    mltf_str text;
    bool lower, spans;
    size_t piece;
    mltf_err *err;
} bert_run;

static mltf_status ascii_word(bert_run *r, tok_cache *cache, size_t at, size_t n)
{
    tok_scratch *s = r->s;
    const tok_model *m = r->tk->model;
    uint64_t key[3];
    cache_entry *slot = NULL;
    if (n <= CACHE_KEY) {
        cache_key(key, r->text.p + at, n, r->text.n - at);
        if (r->lower)
            for (int i = 0; i < 3; i++) key[i] = small8(key[i]);
        const cache_entry *hit = cache_find(cache, &slot, key, n);
        if (hit) return cache_emit(s, hit, at, r->piece++) ? MLTF_OK : mltf_fail_memory(r->err);
    }
    const size_t before = s->n_tokens;
    if (!r->lower) {
        s->limit = r->text.n;
        return m->tokenize(m, s, r->text.p, at, n, r->piece++, r->err);
    }
    if (!ARRAY_RESERVE(s->text.p, s->text.cap, n + 32)) return mltf_fail_memory(r->err);
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)r->text.p[at + i];
        s->text.p[i] = (char)(c + (((unsigned)(c - 'A') < 26) << 5));
    }
    s->limit = n;
    TRY(m->tokenize(m, s, s->text.p, 0, n, r->piece++, r->err));
    for (size_t i = before; i < s->n_tokens; i++) {
        s->tokens[i].start += (uint32_t)at;
        s->tokens[i].end += (uint32_t)at;
    }
    return MLTF_OK;
}

/* A chunk that is not printable ASCII: the long way, with its offsets turned into the text's. */
static mltf_status any_chunk(bert_run *r, size_t at, size_t n)
{
    tok_scratch *s = r->s;
    tok_view v = {r->text.p + at, n, NULL, (uint32_t)at};
    TRY(tok_normalize(r->tk->normalizer, &s->norm, &v, r->spans, r->err));
    if (!v.n) return MLTF_OK;
    tok_state *st = &s->state;
    st->v = v;
    st->n = 0;
    if (!ARRAY_RESERVE(st->pieces, st->cap, 1)) return mltf_fail_memory(r->err);
    st->pieces[st->n++] = (tok_piece){0, (uint32_t)v.n, -1};
    TRY(tok_pretokenize(r->tk->pretok, st, r->spans, false, r->err));
    const tok_model *m = r->tk->model;
    for (size_t k = 0; k < st->n; k++) {
        const tok_piece piece = st->pieces[k];
        const size_t before = s->n_tokens;
        s->limit = st->v.n;
        TRY(m->tokenize(m, s, st->v.p, piece.start, piece.end - piece.start, r->piece++, r->err));
        for (size_t i = before; r->spans && i < s->n_tokens; i++) {
            tok_token *t = &s->tokens[i];
            const uint32_t start = tok_view_span(&st->v, t->start).start,
                           end = tok_view_span(&st->v, t->end - 1).end;
            t->start = start;
            t->end = end;
        }
    }
    return MLTF_OK;
}

static mltf_status bert_text(bert_run *r, size_t from, size_t to)
{
    tok_cache *cache = cache_of(r->s);
    if (!cache) return mltf_fail_memory(r->err);
    const unsigned char *p = (const unsigned char *)r->text.p;
    static const uint8_t kinds[128] = {
#define K(c)                                                                                       \
    (((c) == ' ' || (c) == '\t' || (c) == '\n' || (c) == '\r') ? A_SPACE                           \
     : ((c) < 0x21 || (c) > 0x7E)                              ? A_OTHER                           \
     : (((c) >= '0' && (c) <= '9') || ((c) >= 'A' && (c) <= 'Z') || ((c) >= 'a' && (c) <= 'z'))    \
         ? A_WORD                                                                                  \
         : A_PUNCT)
#define K8(c)                                                                                      \
    K(c), K((c) + 1), K((c) + 2), K((c) + 3), K((c) + 4), K((c) + 5), K((c) + 6), K((c) + 7)
        K8(0),  K8(8),  K8(16), K8(24), K8(32), K8(40),  K8(48),  K8(56),
        K8(64), K8(72), K8(80), K8(88), K8(96), K8(104), K8(112), K8(120),
#undef K8
#undef K
    };
    for (size_t at = from; at < to;) {
        if (p[at] < 0x80 && kinds[p[at]] == A_SPACE) {
            at++;
            continue;
        }
        size_t end = at;
        bool plain = true;
        while (end < to) {
            const unsigned kind = p[end] < 0x80 ? kinds[p[end]] : A_OTHER;
            if (kind == A_SPACE) break;
            plain = plain && kind != A_OTHER;
            end++;
        }
        if (!plain) {
            TRY(any_chunk(r, at, end - at));
        } else {
            for (size_t i = at; i < end;) {
                size_t k = i + 1;
                if (kinds[p[i]] == A_WORD)
                    while (k < end && kinds[p[k]] == A_WORD) k++;
                TRY(ascii_word(r, cache, i, k - i));
                i = k;
            }
        }
        at = end;
    }
    return MLTF_OK;
}

static mltf_status bert_part(void *user, int32_t id, size_t start, size_t end, mltf_err *err)
{
    bert_run *r = user;
    if (id < 0) return bert_text(r, start, end);
    if (start < end && !tok_emit(r->s, id, start, end, r->piece++ | TOK_FROM_ADDED))
        return mltf_fail_memory(err);
    return MLTF_OK;
}

bool tok_fast_bert_fits(const tokenizer *tk)
{
    tok_bert_opts o;
    return tok_normalizer_is_bert(tk->normalizer, &o) && tok_pretok_is_bert(tk->pretok) &&
           tok_model_is_wordpiece(tk->model) && tok_trie_empty(tk->added.normalized) &&
           !tok_post_trims(tk->post);
}

mltf_status tok_fast_bert(const tokenizer *tk, tok_scratch *s, mltf_str text, bool spans,
                          mltf_err *err)
{
    tok_bert_opts o = {0};
    tok_normalizer_is_bert(tk->normalizer, &o);
    bert_run r = {.tk = tk, .s = s, .text = text, .lower = o.lower, .spans = spans, .err = err};
    s->n_tokens = 0;
    TRY(tok_added_split(&tk->added, tk->added.raw, text.p, text.n, bert_part, &r, err));
    s->state.v = (tok_view){text.p, text.n, NULL, 0}; // the tokens' places are the text's
    return MLTF_OK;
}

/* ---- byte-level BPE ---- */

mltf_status tok_fast_bytes(const tokenizer *tk, tok_scratch *s, mltf_err *err)
{
    const tok_model *m = tk->model;
    const tok_state *st = &s->state;
    const tok_matcher match = tk->bytes_path.match, segment = tk->bytes_path.segment;
    size_t word = 0;
    s->limit = st->v.n;
    for (size_t k = 0; k < st->n; k++) {
        const tok_piece piece = st->pieces[k];
        if (piece.added >= 0) {
            if (!tok_emit(s, piece.added, piece.start, piece.end, word++ | TOK_FROM_ADDED))
                return mltf_fail_memory(err);
            continue;
        }
        const char *p = st->v.p + piece.start;
        const size_t n = piece.end - piece.start;
        for (size_t at = 0, stop = 0; at < n;) {
            if (at == stop) stop = segment ? segment(p, n, at) : n;
            size_t end = match(p, stop, at);
            if (end == at) // a gap, up to the next match
                do {
                    end++;
                    while (end < stop && tok_is_cont(p[end])) end++;
                } while (end < stop && match(p, stop, end) == end);
            TRY(m->tokenize(m, s, st->v.p, piece.start + at, end - at, word++, err));
            at = end;
        }
    }
    return MLTF_OK;
}
