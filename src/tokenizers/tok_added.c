/* Added tokens: https://github.com/huggingface/tokenizers, tokenizers/src/tokenizer/added_vocabulary.rs (0.22.2).
 *
 * They are found in the text before the model sees it: those that are not `normalized` in the text as it
 * came, the others in the normalized text. Of matches that begin at one place the longest counts. */
#include <stdlib.h>

#include "tokenizers/tok_darts.h"
#include "tokenizers/tok_internal.h"

struct tok_trie {
    darts d;
    int32_t *ids; /* [n] by pattern */
    size_t n;
    bool starts[256];
    int only; /* the one first byte of all patterns, or -1 */
};

bool tok_trie_empty(const tok_trie *t)
{
    return !t || !t->n;
}

static void trie_free(tok_trie *t)
{
    if (!t) return;
    darts_release(&t->d);
    free(t->ids);
    free(t);
}

void tok_added_release(tok_added *a)
{
    trie_free(a->raw);
    trie_free(a->normalized);
    vocab_release(&a->by_content);
    vocab_release(&a->by_id);
    vocab_release(&a->special_set);
    free(a->tokens);
    free(a->special);
    free(a->plain);
    arena_release(&a->arena);
    *a = (tok_added){0};
}

static int32_t by_id(const tok_added *a, int32_t id)
{
    char key[4];
    memcpy(key, &id, 4);
    return vocab_find(&a->by_id, key, 4);
}

const tok_added_token *tok_added_by_id(const tok_added *a, int32_t id)
{
    const int32_t i = by_id(a, id);
    return i < 0 ? NULL : &a->tokens[i];
}

bool tok_added_special(const tok_added *a, mltf_str content)
{
    return vocab_find(&a->special_set, content.p, content.n) >= 0;
}

static bool same_token(const tok_added_token *a, const tok_added_token *b)
{
    return str_eq(a->content, b->content) && a->single_word == b->single_word &&
           a->lstrip == b->lstrip && a->rstrip == b->rstrip && a->normalized == b->normalized &&
           a->special == b->special;
}

/* Enter t under its id; its content lies in the arena. */
static mltf_status enter(tok_added *a, const tok_added_token *t, mltf_err *err)
{
    const int32_t place = by_id(a, t->id);
    if (place >= 0) {
        a->tokens[place] = *t;
    } else {
        char key[4];
        memcpy(key, &t->id, 4);
        if (!ARRAY_RESERVE(a->tokens, a->cap, a->n + 1) ||
            !vocab_put(&a->by_id, (mltf_str){key, 4}, (int32_t)a->n))
            return mltf_fail_memory(err);
        a->tokens[a->n++] = *t;
    }
    if (!vocab_put(&a->by_content, t->content, t->id)) return mltf_fail_memory(err);
    if (t->id > a->max_id) a->max_id = t->id;
    if (!tok_added_special(a, t->content)) {
        if (!ARRAY_RESERVE(a->plain, a->plain_cap, a->n_plain + 1)) return mltf_fail_memory(err);
        a->plain[a->n_plain++] = *t;
    }
    return MLTF_OK;
}

/* Copy a token, and note it among the special ones. */
static mltf_status take(tok_added *a, tok_added_token *t, const tok_added_token *given,
                        mltf_err *err)
{
    if (!a->by_content.n) a->max_id = -1;
    *t = *given;
    t->content = arena_str(&a->arena, given->content);
    if (a->arena.failed) return mltf_fail_memory(err);
    if (t->special && !tok_added_special(a, t->content)) {
        if (!ARRAY_RESERVE(a->special, a->special_cap, a->n_special + 1) ||
            !vocab_put(&a->special_set, t->content, 0))
            return mltf_fail_memory(err);
        a->special[a->n_special++] = *t;
    }
    return MLTF_OK;
}

mltf_status tok_added_put(tok_added *a, const tok_added_token *given, mltf_err *err)
{
    if (!given->content.n) return MLTF_OK;
    tok_added_token t;
    TRY(take(a, &t, given, err));
    return enter(a, &t, err);
}

mltf_status tok_added_add(tok_added *a, const tok_model *m, const tok_added_token *given,
                          mltf_err *err)
{
    if (!given->content.n) return MLTF_OK;
    tok_added_token t;
    TRY(take(a, &t, given, err));
    int32_t id = vocab_find(&a->by_content, t.content.p, t.content.n);
    if (id >= 0 && same_token(tok_added_by_id(a, id), &t)) return MLTF_OK;
    if (id < 0) id = vocab_find(&m->vocab, t.content.p, t.content.n);
    if (id < 0) {
        // the list of a Unigram model counts a piece that came twice
        const int64_t size = m->values_from_text && m->vocab.n ? (int64_t)m->vocab.max_id + 1
                                                               : (int64_t)m->vocab.live;
        const int64_t next =
            a->max_id >= 0 && (a->max_id >= size || size == 0) ? a->max_id + 1 : size;
        if (next > INT32_MAX)
            return mltf_fail(err, MLTF_CORRUPT_FILE, "there are too many added tokens");
        id = (int32_t)next;
    }
    t.id = id;
    return enter(a, &t, err);
}

static mltf_status make_trie(tok_trie **out, tok_added *a, bool normalized, const tok_normalizer *n,
                             mltf_err *err)
{
    trie_free(*out);
    *out = NULL;
    tok_trie *t = calloc(1, sizeof *t);
    const size_t total = a->n_special + a->n_plain;
    darts_key *keys = malloc((total + 1) * sizeof *keys);
    tok_norm_scratch s = {0};
    mltf_arena texts = MLTF_ARENA_INIT;
    mltf_status st = t && keys && (t->ids = malloc((total + 1) * sizeof *t->ids))
                         ? MLTF_OK
                         : mltf_fail_memory(err);
    size_t k = 0;
    for (size_t i = 0; st == MLTF_OK && i < total; i++) {
        const tok_added_token *x = i < a->n_special ? &a->special[i] : &a->plain[i - a->n_special];
        if (x->normalized != normalized) continue;
        mltf_str text = x->content;
        if (normalized && n) {
            tok_view v = {text.p, text.n, NULL, 0};
            st = tok_normalize(n, &s, &v, false, err);
            if (st != MLTF_OK) break;
            text = arena_str(&texts, (mltf_str){v.p, v.n});
            if (texts.failed) {
                st = mltf_fail_memory(err);
                break;
            }
        }
        if (!text.n) continue;
        t->ids[k] = vocab_find(&a->by_content, x->content.p, x->content.n);
        // of equal patterns the first counts, and the trie keeps the highest value
        keys[k] = (darts_key){text.p, (uint32_t)text.n, (int32_t)(total - k)};
        t->starts[(unsigned char)text.p[0]] = true;
        k++;
    }
    if (st == MLTF_OK) {
        t->n = k;
        for (size_t i = 0; i < k; i++) keys[i].value -= (int32_t)(total - k) + 1; // k - 1 - i
        st = darts_build(&t->d, keys, k, err);
        int firsts = 0;
        t->only = -1;
        for (int c = 0; c < 256; c++)
            if (t->starts[c]) {
                t->only = c;
                firsts++;
            }
        if (firsts != 1) t->only = -1;
    }
    free(keys);
    arena_release(&texts);
    tok_text_release(&s.t[0]);
    tok_text_release(&s.t[1]);
    free(s.pairs);
    if (st != MLTF_OK) {
        trie_free(t);
        return st;
    }
    *out = t;
    return MLTF_OK;
}

mltf_status tok_added_refresh(tok_added *a, const tok_normalizer *n, mltf_err *err)
{
    TRY(make_trie(&a->raw, a, false, n, err));
    return make_trie(&a->normalized, a, true, n, err);
}

/* The next match at or after *at; false if there is none. */
static bool find(const tok_trie *t, const char *p, size_t n, size_t *at, size_t *end, int32_t *id)
{
    for (size_t i = *at; i < n; i++) {
        if (t->only >= 0) {
            const char *q = memchr(p + i, t->only, n - i);
            if (!q) return false;
            i = (size_t)(q - p);
        } else {
            while (i < n && !t->starts[(unsigned char)p[i]]) i++;
            if (i >= n) return false;
        }
        int32_t node = 0, found = -1;
        for (size_t k = i; k < n && (node = darts_next(&t->d, node, (unsigned char)p[k])) >= 0; k++)
            if (t->d.nodes[node].value >= 0) {
                found = t->d.nodes[node].value;
                *end = k + 1;
            }
        if (found >= 0) {
            *at = i;
            *id = t->ids[t->n - 1 - (size_t)found];
            return true;
        }
    }
    return false;
}

static bool word_before(const char *p, size_t at)
{
    size_t i = at - 1;
    while (i > 0 && tok_is_cont(p[i])) i--;
    const char *q = p + i;
    return uc_word_regex(utf8_next(&q));
}
static bool word_behind(const char *p)
{
    return uc_word_regex(utf8_next(&p));
}

mltf_status tok_added_split(const tok_added *a, const tok_trie *t, const char *p, size_t n,
                            tok_added_emit emit, void *user, mltf_err *err)
{
    if (!n) return MLTF_OK;
    size_t from = 0, start = 0, end = 0, search = 0;
    int32_t id;
    while (!tok_trie_empty(t) && (start = search, find(t, p, n, &start, &end, &id))) {
        search = end;
        const tok_added_token *x = tok_added_by_id(a, id);
        if (a->encode_special && tok_added_special(a, x->content)) continue;
        if (x->single_word &&
            ((start > 0 && word_before(p, start)) || (end < n && word_behind(p + end))))
            continue;
        size_t stop = end;
        if (x->lstrip) {
            size_t s = start;
            while (s > 0) {
                size_t c = s - 1;
                while (c > 0 && tok_is_cont(p[c])) c--;
                const char *q = p + c;
                if (!uc_is_space(utf8_next(&q))) break;
                s = c;
            }
            start = s > from ? s : from;
        }
        if (x->rstrip)
            while (stop < n) {
                const char *q = p + stop;
                if (!uc_is_space(utf8_next(&q))) break;
                stop = (size_t)(q - p);
            }
        if (from < start) TRY(emit(user, -1, from, start, err));
        TRY(emit(user, id, start, stop, err));
        from = stop;
    }
    return from != n ? emit(user, -1, from, n, err) : MLTF_OK;
}
