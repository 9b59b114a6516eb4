/* Green lists as torch draws them. */
#include "gen/watermark.h"

#include "gen/torch_random.h"

enum { TABLE = 1000003, TRIED = 40 }; // as in transformers

/* torch.randperm(n), of which the first `want` are needed. */
static void random_order(uint32_t *out, size_t n, size_t want, uint32_t seed)
{
    torch_random t;
    torch_random_seed(&t, seed);
    for (size_t i = 0; i < n; i++) out[i] = (uint32_t)i;
    for (size_t i = 0; i + 1 < n && i < want; i++) {
        const size_t j = i + torch_random_next(&t) % (n - i);
        const uint32_t x = out[i];
        out[i] = out[j];
        out[j] = x;
    }
}

/* ---- seeds: of a number modulo 2^64 - 1 the generator takes the low 32 bits ---- */

__extension__ typedef __int128 wide;

static uint32_t left_seed(const gen_watermark *w, int32_t last)
{
    const wide m = ((wide)1 << 64) - 1, r = (wide)w->hashing_key * last % m;
    return (uint32_t)(r < 0 ? r + m : r);
}

/* The least hash of the candidate with each token of the context, in 64 bits that wrap. */
static uint32_t self_seed(const gen_watermark *w, const uint32_t *table, const int32_t *ids,
                          size_t n, uint32_t candidate)
{
    const uint64_t b = (uint64_t)table[candidate % TABLE] + 1;
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < (size_t)w->context_width && i <= n; i++) {
        const uint32_t id = i ? (uint32_t)ids[n - i] : candidate;
        const uint64_t a = (uint64_t)table[id % TABLE] + 1;
        const int64_t hash = (int64_t)((uint64_t)w->hashing_key * a * b);
        if (hash < least) least = hash;
    }
    return (uint32_t)(least < 0 ? (uint64_t)least - 1 : (uint64_t)least);
}

/* ---- lists ---- */

const uint32_t *gen_watermark_table(const gen_watermark *w, mltf_arena *arena)
{
    uint32_t *table = arena_alloc(arena, TABLE * sizeof *table);
    if (table) random_order(table, TABLE, TABLE, (uint32_t)w->hashing_key);
    return table;
}

/* The best tokens, highest first; returns how many. */
static size_t best_tokens(uint32_t *best, const float *scores, size_t vocab)
{
    size_t n = 0;
    for (size_t i = 0; i < vocab; i++) {
        if (n == TRIED && !(scores[i] > scores[best[n - 1]])) continue;
        size_t at = n < TRIED ? n++ : TRIED - 1;
        for (; at > 0 && scores[i] > scores[best[at - 1]]; at--) best[at] = best[at - 1];
        best[at] = (uint32_t)i;
    }
    return n;
}

void gen_watermark_apply(const gen_watermark *w, const uint32_t *table, float *scores, size_t vocab,
                         const int32_t *ids, size_t n, uint32_t *order)
{
    if (n < (size_t)w->context_width) return;
    const size_t green = (size_t)((double)vocab * w->greenlist_ratio);
    const float bias = (float)w->bias;
    if (!w->selfhash) {
        random_order(order, vocab, green, left_seed(w, ids[n - 1]));
        for (size_t i = 0; i < green; i++) scores[order[i]] += bias;
        return;
    }
    uint32_t best[TRIED];
    uint8_t is_green[TRIED] = {0};
    const size_t tried = best_tokens(best, scores, vocab);
    for (size_t k = 0; k < tried; k++) {
        random_order(order, vocab, green, self_seed(w, table, ids, n, best[k]));
        for (size_t i = 0; i < green && !is_green[k]; i++) is_green[k] = order[i] == best[k];
    }
    for (size_t k = 0; k < tried; k++)
        if (is_green[k]) scores[best[k]] += bias;
}
