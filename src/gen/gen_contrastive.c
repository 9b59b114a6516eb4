/* Contrastive search (Su et al. 2022; penalty_alpha with top_k > 1), as transformers had it in the library up to
 * 4.56: of the top_k most probable tokens the one with the highest
 *     (1 - alpha) * probability - alpha * (largest cosine of its hidden state with those of all earlier tokens)
 * So each round runs the candidates through the model before one of them is taken. K candidates, H hidden. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "gen/gen_math.h"
#include "gen/gen_unit.h"

typedef struct contrastive_state {
    size_t k;
    arch_cache **trial; /* [k - 1] beside the row's own */
    int32_t *cand;      /* [k] */
    float *prob;        /* [k] */
    float *logits;      /* [V] of the row as it stands */
    float *states;      /* [n_states, H] unit vectors of all tokens so far */
    size_t n_states, cap_states;
    bool begun, tried;
} contrastive_state;

static mltf_status contrastive_start(gen_unit *u, mltf_err *err)
{
    TRY(gen_needs_no_state(u, "contrastive search", err));
    contrastive_state *s = arena_calloc(&u->arena, 1, sizeof *s);
    if (!s) return mltf_fail_memory(err);
    u->state = s;
    s->k = (size_t)u->cfg.top_k < u->vocab ? (size_t)u->cfg.top_k : u->vocab;
    s->trial = arena_calloc(&u->arena, s->k, sizeof(arch_cache *));
    s->cand = arena_calloc(&u->arena, s->k, sizeof *s->cand);
    s->prob = arena_f32(&u->arena, 1, s->k);
    s->logits = arena_f32(&u->arena, 1, u->vocab);
    if (!s->trial || !s->cand || !s->prob || !s->logits) return mltf_fail_memory(err);
    for (size_t i = 1; i < s->k; i++) TRY(arch_cache_new(&s->trial[i], u->model, SIZE_MAX, err));
    return MLTF_OK;
}

static void contrastive_release(gen_unit *u)
{
    contrastive_state *s = u->state;
    if (!s) return;
    for (size_t i = 1; s->trial && i < s->k; i++) arch_cache_free(s->trial[i]);
    free(s->states);
}

static mltf_status add_state(contrastive_state *s, const float *h, size_t H, mltf_err *err)
{
    if (!array_reserve(&s->states, &s->cap_states, s->n_states + 1, H * sizeof *h))
        return mltf_fail_memory(err);
    double square = 0;
    for (size_t i = 0; i < H; i++) square += (double)h[i] * h[i];
    const float norm = (float)sqrt(square);
    for (size_t i = 0; i < H; i++) s->states[s->n_states * H + i] = h[i] / norm;
    s->n_states++;
    return MLTF_OK;
}

/* The k most probable tokens of the row's processed scores. */
static mltf_status propose(gen_unit *u, contrastive_state *s, mltf_err *err)
{
    gen_row *r = &u->rows[0];
    TRY(gen_process(u, r, s->logits, r->ids, r->n, err));
    const double lse = gen_logsumexp(s->logits, u->vocab);
    size_t n = 0;
    for (size_t i = 0; i < u->vocab; i++) {
        const float x = s->logits[i];
        if (isnan(x) || (n == s->k && !(x > s->prob[n - 1]))) continue;
        size_t j = n < s->k ? n++ : s->k - 1;
        for (; j > 0 && s->prob[j - 1] < x; j--) {
            s->prob[j] = s->prob[j - 1];
            s->cand[j] = s->cand[j - 1];
        }
        s->prob[j] = x;
        s->cand[j] = (int32_t)i;
    }
    for (size_t i = 0; i < n; i++) s->prob[i] = (float)gen_exp((double)s->prob[i] - lse);
    for (; n < s->k; n++) s->prob[n] = 0, s->cand[n] = 0;
    return MLTF_OK;
}

static mltf_status contrastive_plan(gen_unit *u, mltf_err *err)
{
    contrastive_state *s = u->state;
    gen_row *r = &u->rows[0];
    if (!s->begun) return gen_feed_add(u, r->cache, r->ids, r->n, false, true, err);
    for (size_t i = 0; i < s->k; i++) {
        // all of them hold the same but for the last candidate
        if (i) TRY(arch_cache_copy(s->trial[i], r->cache, r->n - 1, err));
        TRY(gen_feed_add(u, i ? s->trial[i] : r->cache, &s->cand[i], 1, false, true, err));
    }
    return MLTF_OK;
}

/* What the candidate at states+0 resembles most among all tokens so far. */
static float degeneration(const contrastive_state *s, const float *h, size_t H)
{
    double square = 0;
    for (size_t i = 0; i < H; i++) square += (double)h[i] * h[i];
    const double norm = sqrt(square);
    double most = -INFINITY;
    for (size_t t = 0; t < s->n_states; t++) {
        double dot = 0;
        for (size_t i = 0; i < H; i++) dot += (double)h[i] * s->states[t * H + i];
        if (dot / norm > most) most = dot / norm;
    }
    return (float)most;
}

static mltf_status contrastive_finish(gen_unit *u, mltf_err *err)
{
    const gen_row *r = &u->rows[0];
    u->seqs = arena_calloc(&u->arena, 1, sizeof *u->seqs);
    if (!u->seqs) return mltf_fail_memory(err);
    u->n_seqs = 1;
    TRY(gen_sequence_set(u, u->seqs, r->ids, r->n, err));
    u->seqs->finish = r->finish;
    u->seqs->stop_string = r->stop_string;
    u->done = true;
    return MLTF_OK;
}

static mltf_status contrastive_advance(gen_unit *u, mltf_err *err)
{
    contrastive_state *s = u->state;
    gen_row *r = &u->rows[0];
    const size_t H = u->hidden;
    if (!s->begun) {
        for (size_t t = 0; t < r->n; t++) TRY(add_state(s, u->feeds[0].states + t * H, H, err));
        memcpy(s->logits, u->feeds[0].logits, u->vocab * sizeof *s->logits);
        s->begun = true;
        return propose(u, s, err);
    }
    const float alpha = (float)u->cfg.penalty_alpha;
    size_t best = 0;
    float best_score = -INFINITY;
    for (size_t i = 0; i < s->k; i++) {
        const float score =
            (1 - alpha) * s->prob[i] - alpha * degeneration(s, u->feeds[i].states, H);
        if (score > best_score) {
            best = i;
            best_score = score;
        }
    }
    if (best) { // its cache becomes the row's
        arch_cache *own = r->cache;
        r->cache = s->trial[best];
        s->trial[best] = own;
    }
    // the other caches hold a token that was not taken: they are copied over before the next round
    const int32_t id = s->cand[best];
    TRY(add_state(s, u->feeds[best].states, H, err));
    memcpy(s->logits, u->feeds[best].logits, u->vocab * sizeof *s->logits);
    TRY(gen_row_push(r, id, err));
    if (r->matcher && !gen_is_eos(u, id)) TRY(gen_matcher_accept(r->matcher, id, err));
    TRY(gen_ended(u, r->ids, r->n, &r->finished, &r->finish, &r->stop_string, err));
    if (r->matcher && !r->finished && gen_matcher_closed(r->matcher)) {
        r->finished = true;
        r->finish = GEN_FINISH_STOP;
    }
    if (u->req->on_token && u->req->on_token(u->req->user, u->number, &id, 1)) {
        r->finished = true;
        r->finish = GEN_FINISH_CANCELLED;
    }
    return r->finished ? contrastive_finish(u, err) : propose(u, s, err);
}

const gen_mode gen_mode_contrastive = {"contrastive", contrastive_start, contrastive_plan,
                                       contrastive_advance, contrastive_release};
