/* Tokens of words seen before. One cache belongs to one scratch, so to one thread at a time. */
#ifndef MLTF_TOKENIZERS_TOK_CACHE_H
#define MLTF_TOKENIZERS_TOK_CACHE_H

#include <stdlib.h>

#include "tokenizers/tok_internal.h"

#define CACHE_KEY     24    /* bytes of the longest word kept */
#define CACHE_TOKENS  7     /* tokens of it */
#define CACHE_ENTRIES 16384 /* 64 bytes each: the cache stays in the second level */

typedef struct cache_entry {
    uint64_t key[CACHE_KEY / 8]; /* padded with zeros */
    int32_t ids[CACHE_TOKENS];
    uint8_t lens[CACHE_TOKENS]; /* bytes of each token; they follow one another */
    uint8_t n_key, n, spare[3];
} cache_entry;
_Static_assert(sizeof(cache_entry) == 64, "one line of the processor's cache");

struct tok_cache {
    cache_entry e[CACHE_ENTRIES];
};

/* The first n <= CACHE_KEY bytes of p as words; `room` bytes may be read. */
static inline void cache_key(uint64_t key[3], const char *p, size_t n, size_t room)
{
    if (room >= CACHE_KEY) {
        memcpy(key, p, CACHE_KEY);
        const uint64_t all = ~(uint64_t)0;
        if (n < 8) {
            key[0] &= ~(all << (8 * n));
            key[1] = key[2] = 0;
        } else if (n < 16) {
            key[1] = n == 8 ? 0 : key[1] & ~(all << (8 * (n - 8)));
            key[2] = 0;
        } else if (n < 24) {
            key[2] = n == 16 ? 0 : key[2] & ~(all << (8 * (n - 16)));
        }
    } else {
        key[0] = key[1] = key[2] = 0;
        memcpy(key, p, n);
    }
}

/* The entry of a word, or NULL; *slot is where to keep it. Each word has two places. */
static inline const cache_entry *cache_find(tok_cache *c, cache_entry **slot, const uint64_t key[3],
                                            size_t n)
{
    uint64_t h = (key[0] ^ n) * 0x9E3779B97F4A7C15u;
    h = (h ^ (h >> 29) ^ key[1]) * 0xD6E8FEB86659FD93u;
    h = (h ^ (h >> 31) ^ key[2]) * 0xA0761D6478BD642Fu;
    cache_entry *e = *slot = &c->e[h >> 51 << 1];
    for (int way = 0; way < 2; way++, e++)
        if (e->n_key == n && e->key[0] == key[0] && e->key[1] == key[1] && e->key[2] == key[2])
            return e;
    return NULL;
}
_Static_assert(CACHE_ENTRIES == 2 << 13, "cache_find() takes the upper 13 bits");

/* Keep tokens t[0 .. n) of the word at `start`, if they fit and follow one another. */
static inline void cache_keep(cache_entry *slot, const uint64_t key[3], size_t n_key,
                              const tok_token *t, size_t n, size_t start)
{
    if (n > CACHE_TOKENS) return;
    cache_entry e = {.n_key = (uint8_t)n_key, .n = (uint8_t)n};
    memcpy(e.key, key, sizeof e.key);
    for (size_t i = 0; i < n; i++) {
        if (t[i].start != start) return;
        e.ids[i] = t[i].id;
        e.lens[i] = (uint8_t)(t[i].end - t[i].start);
        start = t[i].end;
    }
    slot[1] = slot[0];
    slot[0] = e;
}

static inline bool cache_emit(tok_scratch *s, const cache_entry *e, size_t at, size_t piece)
{
    if (!ARRAY_RESERVE(s->tokens, s->tokens_cap, s->n_tokens + CACHE_TOKENS)) return false;
    tok_token *t = s->tokens + s->n_tokens;
    for (size_t i = 0; i < e->n; i++) {
        t[i] = (tok_token){e->ids[i], (uint32_t)at, (uint32_t)at + e->lens[i], (uint32_t)piece};
        at += e->lens[i];
    }
    s->n_tokens += e->n;
    return true;
}

static inline tok_cache *cache_of(tok_scratch *s)
{
    if (!s->cache) s->cache = calloc(1, sizeof *s->cache);
    return s->cache; // NULL: no memory, no cache
}

/* Tokens of p[at .. at + n), from the cache or else from `tokenize`, to be kept. */
static inline mltf_status cache_tokenize(const tok_model *m, tok_model_fn tokenize, tok_scratch *s,
                                         const char *p, size_t at, size_t n, size_t piece,
                                         mltf_err *err)
{
    tok_cache *cache;
    if (n > CACHE_KEY || !(cache = cache_of(s))) return tokenize(m, s, p, at, n, piece, err);
    uint64_t key[3];
    cache_entry *slot;
    cache_key(key, p + at, n, s->limit - at);
    const cache_entry *hit = cache_find(cache, &slot, key, n);
    if (hit) return cache_emit(s, hit, at, piece) ? MLTF_OK : mltf_fail_memory(err);
    const size_t before = s->n_tokens;
    TRY(tokenize(m, s, p, at, n, piece, err));
    cache_keep(slot, key, n, s->tokens + before, s->n_tokens - before, at);
    return MLTF_OK;
}

#endif
