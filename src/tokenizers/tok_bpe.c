/* Byte pair encoding: https://github.com/huggingface/tokenizers, tokenizers/src/models/bpe (0.22.2).
 *
 * A word's characters become symbols; the adjacent pair of the lowest rank is joined (the leftmost of equal
 * ones), until none is in the list of merges. Short words are joined in an array, long ones with a heap over a
 * linked list, so that no text takes more than n log n.
 *
 * Easy to get wrong: characters without a token vanish where there is no unknown token, and offsets then count
 * only what is left; an unknown character waits to be joined with the next (fuse_unk), and byte tokens
 * overtake it. */
#include <stdlib.h>

#include "tokenizers/tok_cache.h"

typedef struct merge_slot {
    uint64_t pair; /* left << 32 | right; ~0: free */
    uint32_t rank;
    int32_t id;
} merge_slot;

/* Where a text may be cut before anything is joined: between two characters that no merge brings together. Each
 * part can then be done, and remembered, alone. Characters fall into classes: the ASCII ones that have a token,
 * "▁", and all others. */
enum { CUT_META = 128, CUT_OTHER, CUT_CLASSES };
typedef struct bpe_cuts {
    uint8_t of[128];                /* the class of an ASCII character */
    uint64_t joins[CUT_CLASSES][3]; /* a bit for each class that must stay with what is before it */
} bpe_cuts;

typedef struct bpe {
    tok_model base;
    merge_slot *merges;
    size_t mask;
    tok_bpe_config config; /* strings lie in `strings` */
    char *strings;
    int32_t unk;
    bool unk_missing; /* named, but not in the vocabulary */
    int32_t one[4]
               [256]; /* ids of single bytes (or ASCII characters): 1 not the first, 2 the last */
    tok_vocab raw;    /* bytes mode: tokens as raw bytes, for ignore_merges */
    bpe_cuts *cuts;   /* NULL: a word is never cut further */
} bpe;

#define NO_RANK UINT32_MAX
#define META    "\xE2\x96\x81"

static inline const merge_slot *find_merge(const bpe *b, int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
    for (size_t at = h & b->mask;; at = (at + 1) & b->mask) {
        if (b->merges[at].pair == pair) return &b->merges[at];
        if (b->merges[at].pair == UINT64_MAX) return NULL;
    }
}

static void put_merge(bpe *b, int32_t left, int32_t right, uint32_t rank, int32_t id)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    h ^= h >> 32;
    size_t at = h & b->mask;
    while (b->merges[at].pair != UINT64_MAX && b->merges[at].pair != pair) at = (at + 1) & b->mask;
    b->merges[at] = (merge_slot){pair, rank, id};
}

/* ---- joining ---- */

static void merge_short(const bpe *b, tok_symbol *s, size_t *count)
{
    enum { MAX = 64 };
    uint32_t rank[MAX];
    int32_t id[MAX];
    size_t n = *count;
    for (size_t i = 0; i + 1 < n; i++) {
        const merge_slot *m = find_merge(b, s[i].id, s[i + 1].id);
        rank[i] = m ? m->rank : NO_RANK;
        id[i] = m ? m->id : -1;
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NO_RANK) break;
        s[best].id = id[best];
        s[best].len += s[best + 1].len;
        n--;
        for (size_t i = best + 1; i < n; i++) s[i] = s[i + 1];
        for (size_t i = best + 1; i + 1 < n; i++) {
            rank[i] = rank[i + 1];
            id[i] = id[i + 1];
        }
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const merge_slot *m = find_merge(b, s[i].id, s[i + 1].id);
            rank[i] = m ? m->rank : NO_RANK;
            id[i] = m ? m->id : -1;
        }
    }
    *count = n;
}

static bool heap_push(tok_scratch *s, size_t *n, uint64_t x)
{
    if (!ARRAY_RESERVE(s->heap, s->heap_cap, *n + 1)) return false;
    size_t i = (*n)++;
    for (; i > 0 && s->heap[(i - 1) / 2] > x; i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = x;
    return true;
}

static uint64_t heap_pop(uint64_t *h, size_t *n)
{
    const uint64_t top = h[0], x = h[--*n];
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < *n; i = c) {
        if (c + 1 < *n && h[c + 1] < h[c]) c++;
        if (h[c] >= x) break;
        h[i] = h[c];
    }
    h[i] = x;
    return top;
}

static bool merge_long(const bpe *b, tok_scratch *sc, tok_symbol *s, size_t *count)
{
    const size_t n = *count;
    size_t heap_n = 0;
    for (size_t i = 0; i < n; i++) {
        s[i].prev = (int32_t)i - 1;
        s[i].next = i + 1 < n ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i + 1 < n; i++) {
        const merge_slot *m = find_merge(b, s[i].id, s[i + 1].id);
        if (m && !heap_push(sc, &heap_n, (uint64_t)m->rank << 32 | i)) return false;
    }
    while (heap_n) {
        const uint64_t top = heap_pop(sc->heap, &heap_n);
        tok_symbol *a = &s[(uint32_t)top];
        if (!a->len || a->next < 0) continue;
        tok_symbol *c = &s[a->next];
        const merge_slot *m = find_merge(b, a->id, c->id);
        if (!m || m->rank != (uint32_t)(top >> 32)) continue; // one of the two has changed since
        a->id = m->id;
        a->len += c->len;
        c->len = 0;
        a->next = c->next;
        if (a->next >= 0) s[a->next].prev = (int32_t)(a - s);
        if (a->prev >= 0 && (m = find_merge(b, s[a->prev].id, a->id)) &&
            !heap_push(sc, &heap_n, (uint64_t)m->rank << 32 | (uint32_t)a->prev))
            return false;
        if (a->next >= 0 && (m = find_merge(b, a->id, s[a->next].id)) &&
            !heap_push(sc, &heap_n, (uint64_t)m->rank << 32 | (uint32_t)(a - s)))
            return false;
    }
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i].len) s[k++] = s[i];
    *count = k;
    return true;
}

/* ---- symbols ---- */

static bool add_symbol(tok_scratch *s, size_t *n, int32_t id, uint32_t len)
{
    if (!ARRAY_RESERVE(s->symbols, s->symbols_cap, *n + 1)) return false;
    s->symbols[(*n)++] = (tok_symbol){id, len, 0, 0};
    return true;
}

/* The id of one character in its role; -1 if the vocabulary lacks it. */
static int32_t char_id(const bpe *b, const char *c, size_t len, bool first, bool last)
{
    const mltf_str none = {NULL, 0};
    const mltf_str prefix = first ? none : b->config.prefix,
                   suffix = last ? b->config.suffix : none;
    if (!prefix.n && !suffix.n) return vocab_find(&b->base.vocab, c, len);
    char buf[256];
    if (prefix.n + len + suffix.n > sizeof buf) return -1;
    if (prefix.n) memcpy(buf, prefix.p, prefix.n);
    memcpy(buf + prefix.n, c, len);
    if (suffix.n) memcpy(buf + prefix.n + len, suffix.p, suffix.n);
    return vocab_find(&b->base.vocab, buf, prefix.n + len + suffix.n);
}

/* <0xE5> ... for the bytes of a character with its prefix and suffix, as the reference takes them. */
static bool byte_tokens(const bpe *b, tok_scratch *s, size_t *n, const char *c, size_t len,
                        bool first, bool last, bool *failed)
{
    const mltf_str parts[3] = {first ? (mltf_str){NULL, 0} : b->config.prefix,
                               {c, len},
                               last ? b->config.suffix : (mltf_str){NULL, 0}};
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; i < parts[k].n; i++)
            if (b->base.byte_ids[(unsigned char)parts[k].p[i]] < 0) return false;
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; i < parts[k].n; i++)
            if (!add_symbol(s, n, b->base.byte_ids[(unsigned char)parts[k].p[i]], 1))
                *failed = true;
    return true;
}

static mltf_status word_symbols(const bpe *b, tok_scratch *s, const char *w, size_t n,
                                size_t *count, bool *dropped, mltf_err *err)
{
    size_t k = 0, unk_len = 0;
    bool failed = false, unk = false;
    *dropped = false;
    for (size_t i = 0; i < n && !failed;) {
        size_t len = 1;
        if (!b->base.bytes)
            while (i + len < n && tok_is_cont(w[i + len])) len++;
        const bool first = i == 0, last = i + len == n;
        int32_t id = -1;
        if (b->base.bytes || (unsigned char)w[i] < 0x80)
            id = b->one[(first ? 0 : 1) | (last ? 2 : 0)][(unsigned char)w[i]];
        else
            id = char_id(b, w + i, len, first, last);
        if (id >= 0) {
            if (unk) failed = !add_symbol(s, &k, b->unk, (uint32_t)unk_len) || failed;
            unk = false;
            failed = !add_symbol(s, &k, id, (uint32_t)len) || failed;
        } else if (b->config.byte_fallback && b->base.byte_ids &&
                   byte_tokens(b, s, &k, w + i, len, first, last, &failed)) {
            // an unknown character that waits is not written before them
        } else if (b->config.unk.p) {
            if (b->unk_missing)
                return mltf_fail(err, MLTF_CORRUPT_FILE,
                                 "the unknown token \"" STR_FMT "\" is not in the vocabulary",
                                 STR_ARG(b->config.unk));
            if (unk && b->config.fuse_unk) {
                unk_len += len;
            } else {
                if (unk) failed = !add_symbol(s, &k, b->unk, (uint32_t)unk_len) || failed;
                unk_len = len;
                unk = true;
            }
        } else {
            *dropped = true;
        }
        i += len;
    }
    if (unk) failed = !add_symbol(s, &k, b->unk, (uint32_t)unk_len) || failed;
    *count = k;
    return failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* Bytes of the byte alphabet's characters that stand for w[0 .. n). */
static size_t mapped_length(const char *w, size_t n)
{
    size_t k = n;
    for (size_t i = 0; i < n; i++) k += tok_byte_char[(unsigned char)w[i]] >= 0x80;
    return k;
}
/* The byte of w whose character holds byte `at` of the mapped text. */
static size_t unmapped(const char *w, size_t n, size_t at)
{
    size_t i = 0, k = 0;
    while (i < n && (k += tok_byte_char[(unsigned char)w[i]] >= 0x80 ? 2 : 1) <= at) i++;
    return i;
}

/* In bytes mode a dropped byte moves the offsets of what follows by the length of its character: count in the
 * mapped text, as the reference does. The symbols' lengths are of raw bytes, and each stands for what it was
 * made of. */
static bool emit_after_drop(const bpe *b, tok_scratch *s, const char *w, size_t at, size_t n,
                            size_t count, size_t piece)
{
    size_t pos = 0, from = 0; // in the mapped text; in w
    for (size_t i = 0; i < count; i++) {
        // the bytes that this symbol was made of: the next ones that the vocabulary has
        size_t len = 0;
        for (uint32_t k = 0; k < s->symbols[i].len; k++) {
            while (from < n &&
                   b->one[(from ? 1 : 0) | (from + 1 == n ? 2 : 0)][(unsigned char)w[from]] < 0)
                from++;
            if (from < n) len += mapped_length(w + from, 1);
            from++;
        }
        const size_t start = unmapped(w, n, pos), end = unmapped(w, n, pos + len - 1) + 1;
        if (!tok_emit(s, s->symbols[i].id, at + start, at + end, piece)) return false;
        pos += len;
    }
    return true;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static mltf_status encode_word(const tok_model *m, tok_scratch *s, const char *p, size_t at,
                               size_t n, size_t piece, mltf_err *err)
{
    const bpe *b = (const bpe *)m;
    const char *w = p + at;
    if (b->config.ignore_merges) {
        const int32_t id = vocab_find(b->base.bytes ? &b->raw : &b->base.vocab, w, n);
        if (id >= 0) return tok_emit(s, id, at, at + n, piece) ? MLTF_OK : mltf_fail_memory(err);
    }
    size_t count;
    bool dropped;
    TRY(word_symbols(b, s, w, n, &count, &dropped, err));
    if (count <= 64)
        merge_short(b, s->symbols, &count);
    else if (!merge_long(b, s, s->symbols, &count))
        return mltf_fail_memory(err);
    if (dropped && b->base.bytes)
        return emit_after_drop(b, s, w, at, n, count, piece) ? MLTF_OK : mltf_fail_memory(err);
    size_t from = at;
    for (size_t i = 0; i < count;
         i++) { // bytes that stand for a prefix or suffix are not in the text
        const size_t to = min_size(from + s->symbols[i].len, at + n);
        if (!tok_emit(s, s->symbols[i].id, from, to, piece)) return mltf_fail_memory(err);
        from = to;
    }
    return MLTF_OK;
}

static mltf_status encode_cached(const bpe *b, tok_scratch *s, const char *p, size_t at, size_t n,
                                 size_t piece, mltf_err *err)
{
    return cache_tokenize(&b->base, encode_word, s, p, at, n, piece, err);
}

/* The class of the character at p[at]; *next is behind it. */
static inline unsigned cut_class(const bpe_cuts *c, const char *p, size_t at, size_t end,
                                 size_t *next)
{
    const unsigned char b = (unsigned char)p[at];
    if (b < 0x80) {
        *next = at + 1;
        return c->of[b];
    }
    size_t i = at + 1;
    while (i < end && tok_is_cont(p[i])) i++;
    *next = i;
    return i - at == 3 && memcmp(p + at, META, 3) == 0 ? CUT_META : CUT_OTHER;
}

static mltf_status bpe_tokenize(const tok_model *m, tok_scratch *s, const char *p, size_t at,
                                size_t n, size_t piece, mltf_err *err)
{
    const bpe *b = (const bpe *)m;
    const bpe_cuts *c = b->cuts;
    if (!c) return encode_cached(b, s, p, at, n, piece, err);
    const size_t end = at + n;
    size_t next;
    unsigned class = cut_class(c, p, at, end, &next);
    for (size_t from = at; from < end;) {
        size_t i = next;
        while (i < end) {
            const unsigned before = class;
            class = cut_class(c, p, i, end, &next);
            if (!(c->joins[before][class >> 6] >> (class & 63) & 1)) break;
            i = next;
        }
        if (i - from == 1 && b->one[0][(unsigned char)p[from]] >= 0) {
            if (!tok_emit(s, b->one[0][(unsigned char)p[from]], from, i, piece))
                return mltf_fail_memory(err);
        } else {
            TRY(encode_cached(b, s, p, from, i - from, piece, err));
        }
        from = i;
    }
    return MLTF_OK;
}

/* ---- making ---- */

static void bpe_free(tok_model *m)
{
    bpe *b = (bpe *)m;
    free(b->merges);
    free(b->strings);
    free(b->cuts);
    vocab_release(&b->raw);
}

static unsigned last_class(const bpe_cuts *c, mltf_str t)
{
    size_t at = t.n - 1, next;
    while (at > 0 && tok_is_cont(t.p[at])) at--;
    return cut_class(c, t.p, at, t.n, &next);
}
static unsigned first_class(const bpe_cuts *c, mltf_str t)
{
    size_t next;
    return cut_class(c, t.p, 0, t.n, &next);
}
static void join_classes(bpe_cuts *c, unsigned before, unsigned class)
{
    c->joins[before][class >> 6] |= (uint64_t)1 << (class & 63);
}

static bool begins_with(mltf_str t, mltf_str with)
{
    return with.n && t.n >= with.n && memcmp(t.p, with.p, with.n) == 0;
}
static bool ends_with(mltf_str t, mltf_str with)
{
    return with.n && t.n >= with.n && memcmp(t.p + t.n - with.n, with.p, with.n) == 0;
}

/* Characters without a token stand as the unknown token or as "<0x0A>": these may be joined as well, and
 * neighbours of that kind may become one token, so they are never parted. */
static bool make_cuts(bpe *b, const tok_merge *merges, size_t n)
{
    if (b->base.bytes || b->config.prefix.n || b->config.suffix.n || b->config.ignore_merges)
        return true;
    if (b->unk < 0) return true; // a character that vanishes moves the offsets of all behind it
    bpe_cuts *c = b->cuts = calloc(1, sizeof *c);
    if (!c) return false;
    for (int i = 0; i < 128; i++) {
        const char byte = (char)i;
        c->of[i] = vocab_find(&b->base.vocab, &byte, 1) >= 0 ? (uint8_t)i : CUT_OTHER;
    }
    const bool meta = vocab_find(&b->base.vocab, META, 3) >= 0;
    join_classes(c, CUT_OTHER, CUT_OTHER);
    for (unsigned i = 0; !meta && i < CUT_CLASSES; i++) {
        join_classes(c, CUT_META, i);
        join_classes(c, i, CUT_META);
    }
    for (size_t i = 0; i < n; i++) {
        const mltf_str left = merges[i].left, right = merges[i].right;
        if (!left.n || !right.n) continue;
        const unsigned x = last_class(c, left), y = first_class(c, right);
        const bool loose = left.p[left.n - 1] == '>' || ends_with(left, b->config.unk),
                   loose_right = right.p[0] == '<' || begins_with(right, b->config.unk);
        join_classes(c, x, y);
        if (loose) join_classes(c, CUT_OTHER, y);
        if (loose_right) join_classes(c, x, CUT_OTHER);
    }
    return true;
}

static mltf_str keep_string(char **at, mltf_str s)
{
    if (!s.p) return s;
    if (s.n) memcpy(*at, s.p, s.n);
    const mltf_str kept = {*at, s.n};
    *at += s.n;
    return kept;
}

static mltf_status fill_merges(bpe *b, const tok_merge *merges, size_t n, mltf_err *err)
{
    size_t size = 16;
    while (size < n * 2) size *= 2;
    b->merges = malloc(size * sizeof *b->merges);
    if (!b->merges) return mltf_fail_memory(err);
    b->mask = size - 1;
    for (size_t i = 0; i < size; i++) b->merges[i] = (merge_slot){UINT64_MAX, 0, 0};
    const tok_vocab *v = &b->base.vocab;
    const size_t skip = b->config.prefix.n;
    mltf_buf joined = MLTF_BUF_INIT;
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n && st == MLTF_OK; i++) {
        const tok_merge *m = &merges[i];
        const int32_t left = vocab_find(v, m->left.p, m->left.n),
                      right = vocab_find(v, m->right.p, m->right.n);
        if (left < 0 || right < 0) {
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "merge %zu: token \"" STR_FMT "\" is out of vocabulary", i,
                           STR_ARG(left < 0 ? m->left : m->right));
            break;
        }
        if (m->right.n < skip) {
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "merge %zu: \"" STR_FMT "\" lacks the subword prefix", i,
                           STR_ARG(m->right));
            break;
        }
        buf_clear(&joined);
        buf_put_str(&joined, m->left);
        buf_append(&joined, m->right.p + skip, m->right.n - skip);
        if (joined.failed) {
            st = mltf_fail_memory(err);
            break;
        }
        const int32_t id = vocab_find(v, joined.p ? joined.p : "", joined.n);
        if (id < 0) {
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "merge %zu: token \"" STR_FMT "\" is out of vocabulary", i,
                           STR_ARG(buf_str(&joined)));
            break;
        }
        put_merge(b, left, right, (uint32_t)i, id);
    }
    mltf_buf_release(&joined);
    return st;
}

/* Tokens made only of the byte alphabet, as the bytes they stand for. */
static bool fill_raw(bpe *b)
{
    const tok_vocab *v = &b->base.vocab;
    if (!vocab_reserve(&b->raw, v->n, v->bytes_n)) return false;
    char buf[512];
    for (size_t i = 0; i < v->n; i++) {
        const mltf_str t = vocab_at(v, i);
        size_t n = 0;
        bool ok = t.n > 0;
        for (const char *p = t.p, *end = t.p + t.n; ok && p < end;) {
            const int byte = tok_char_byte(utf8_next(&p));
            ok = byte >= 0 && n < sizeof buf;
            if (ok) buf[n++] = (char)byte;
        }
        if (ok && !vocab_put(&b->raw, (mltf_str){buf, n}, v->ids[i])) return false;
    }
    return true;
}

static void fill_single(bpe *b)
{
    for (int role = 0; role < 4; role++)
        for (int c = 0; c < 256; c++) {
            char buf[4];
            const size_t n =
                b->base.bytes ? utf8_encode(buf, tok_byte_char[c]) : (buf[0] = (char)c, 1);
            b->one[role][c] =
                b->base.bytes || c < 0x80 ? char_id(b, buf, n, !(role & 1), (role & 2) != 0) : -1;
        }
}

mltf_status tok_bpe_new(tok_model **out, tok_vocab *vocab, const tok_merge *merges, size_t n,
                        const tok_bpe_config *c, mltf_err *err)
{
    *out = NULL;
    bpe *b = calloc(1, sizeof *b);
    if (!b) return mltf_fail_memory(err);
    b->base.vocab = *vocab;
    *vocab = (tok_vocab){0};
    b->base.tokenize = bpe_tokenize;
    b->base.free = bpe_free;
    b->base.bytes = c->bytes;
    b->config = *c;
    if (c->prefix.n < sizeof b->base.continuing && c->prefix.n)
        memcpy(b->base.continuing, c->prefix.p, c->prefix.n);
    *out = &b->base;
    char *at = b->strings = malloc(c->unk.n + c->prefix.n + c->suffix.n + 1);
    if (!at) return mltf_fail_memory(err);
    b->config.unk = keep_string(&at, c->unk);
    b->config.prefix = keep_string(&at, c->prefix);
    b->config.suffix = keep_string(&at, c->suffix);
    b->unk = c->unk.p ? vocab_find(&b->base.vocab, c->unk.p, c->unk.n) : -1;
    b->unk_missing = c->unk.p && b->unk < 0;
    if (c->byte_fallback) {
        b->base.byte_ids = malloc(256 * sizeof(int32_t));
        if (!b->base.byte_ids) return mltf_fail_memory(err);
        for (int i = 0; i < 256; i++) {
            char name[8] = {'<', '0', 'x', "0123456789ABCDEF"[i >> 4], "0123456789ABCDEF"[i & 15],
                            '>', 0,   0};
            b->base.byte_ids[i] = vocab_find(&b->base.vocab, name, 6);
        }
    }
    TRY(fill_merges(b, merges, n, err));
    fill_single(b);
    if (!make_cuts(b, merges, n)) return mltf_fail_memory(err);
    if (b->base.bytes && c->ignore_merges && !fill_raw(b)) return mltf_fail_memory(err);
    return MLTF_OK;
}
