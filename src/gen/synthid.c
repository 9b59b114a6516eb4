/* SynthID: hashes, draws, rounds. */
#include "gen/synthid.h"

#include <float.h>
#include <math.h>

#include "gen/gen_math.h"
#include "gen/torch_random.h"

const uint8_t *gen_synthid_table(const gen_synthid *w, mltf_arena *arena)
{
    uint8_t *table = arena_alloc(arena, (size_t)w->table_size);
    torch_random t;
    if (!table) return NULL;
    torch_random_seed(&t, (uint32_t)w->table_seed);
    for (int64_t i = 0; i < w->table_size; i++) table[i] = torch_random_next(&t) & 1;
    return table;
}

/* One more number into a hash: in 64 bits that wrap. */
static uint64_t hashed(uint64_t hash, int64_t x)
{
    return (hash + (uint64_t)x) * 6364136223846793005u + 1;
}

/* The hash of the ngram_len - 1 tokens before the one behind ids[0..n); zeros stand before the first. */
static uint64_t context_hash(const gen_synthid *w, const int32_t *ids, size_t n)
{
    uint64_t hash = 1;
    for (size_t back = (size_t)w->ngram_len - 1; back > 0; back--)
        hash = hashed(hash, n >= back ? ids[n - back] : 0);
    return hash;
}

/* Was the context's hash among the last ones? Those of the first calls count only if they were watermarked. */
static bool is_repeated(const gen_synthid *w, uint64_t hash, const int32_t *ids, size_t n)
{
    const size_t first = w->skip_first ? (size_t)w->ngram_len - 1 : 0, size = (size_t)w->history;
    for (size_t k = n; k > first && n - k < size; k--)
        if (context_hash(w, ids, k - 1) == hash) return true;
    return hash == 0 && n - first < size; // the history begins with zeros
}

void gen_synthid_apply(const gen_synthid *w, const uint8_t *table, float *scores, size_t vocab,
                       const int32_t *ids, size_t n, float *probs)
{
    for (size_t i = 0; i < vocab && w->debug; i++) scores[i] = 1;
    if (w->skip_first && n + 1 < (size_t)w->ngram_len) return;
    const uint64_t context = context_hash(w, ids, n);
    if (is_repeated(w, context, ids, n)) return;
    const double lse = gen_logsumexp(scores, vocab);
    for (size_t i = 0; i < vocab; i++) probs[i] = (float)gen_exp((double)scores[i] - lse);
    for (size_t k = 0; k < w->n_keys; k++) {
        double mass = 0; // of the tokens that win the round
        for (int pass = 0; pass < 2; pass++)
            for (size_t i = 0; i < vocab; i++) {
                const int64_t hash =
                    (int64_t)hashed(hashed(context, (int64_t)i), w->keys[k]) % w->table_size;
                const uint8_t g = table[hash < 0 ? hash + w->table_size : hash];
                if (pass == 0)
                    mass += g ? (double)probs[i] : 0;
                else
                    probs[i] *= 1 + (float)g - (float)mass;
            }
    }
    for (size_t i = 0; i < vocab; i++) {
        const float x = (float)log((double)probs[i]);
        scores[i] = isfinite(x) ? x : -FLT_MAX;
    }
}
