/* Greedy search and sampling, one token a round; or several a round where somebody proposes them: a draft
 * model (assisted generation) or the prompt itself (prompt lookup).
 *
 * Proposals change the speed and never the text: each proposed token is checked against the token that this
 * request would have chosen there anyway, sampling included, since a draw depends on nothing but the seed, the
 * sequence and the step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "gen/gen_math.h"
#include "gen/gen_unit.h"

typedef struct sample_state {
    float *raw;        /* [V] the model's own scores, where logprobs are wanted */
    float **logprobs;  /* [rows] growing lists, in step with the generated tokens */
    gen_logprob **top; /* [rows] */
    size_t *cap;       /* [rows] tokens there is room for in both */
    bool spread;       /* rows 1 … exist */
    /* proposals */
    int32_t *proposed; /* [n_proposed] behind the row's last token */
    size_t n_proposed, cap_proposed;
    int32_t *verify;   /* what was fed last: tokens not in the cache, then the proposals */
    arch_cache *draft; /* the assistant's cache */
} sample_state;

static bool proposes(const gen_unit *u)
{
    return (u->req->assistant || u->cfg.prompt_lookup_num_tokens != GEN_NONE) && u->n_rows == 1 &&
           !u->rows[0].negative;
}

static mltf_status sample_start(gen_unit *u, mltf_err *err)
{
    sample_state *s = arena_calloc(&u->arena, 1, sizeof *s);
    if (!s) return mltf_fail_memory(err);
    u->state = s;
    s->logprobs = arena_calloc(&u->arena, u->n_rows, sizeof *s->logprobs);
    s->top = arena_calloc(&u->arena, u->n_rows, sizeof *s->top);
    s->cap = arena_calloc(&u->arena, u->n_rows, sizeof *s->cap);
    if (!s->logprobs || !s->top || !s->cap) return mltf_fail_memory(err);
    if (u->req->want_logprobs || u->req->top_logprobs) {
        s->raw = arena_f32(&u->arena, 1, u->vocab);
        if (!s->raw) return mltf_fail_memory(err);
    }
    if ((u->req->assistant || u->cfg.prompt_lookup_num_tokens != GEN_NONE) &&
        u->cfg.num_return_sequences > 1)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "num_return_sequences has to be 1 when doing assisted generate, but is %lld.",
            (long long)u->cfg.num_return_sequences);
    if (proposes(u)) TRY(gen_needs_no_state(u, "assisted generation", err));
    if (u->req->assistant) {
        const arch_model *draft = arch_session_model(u->req->assistant);
        if (arch_model_info(draft)->kind != ARCH_DECODER ||
            arch_model_info(u->model)->kind != ARCH_DECODER)
            return mltf_fail(err, MLTF_UNSUPPORTED,
                             "assisted generation needs decoder-only models");
        if (arch_model_info(draft)->vocab < u->vocab)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "The main and assistant models have different tokenizers "
                             "(vocabularies of %zu and %zu "
                             "tokens); only models that share one can be paired",
                             u->vocab, arch_model_info(draft)->vocab);
        TRY(arch_cache_new(&s->draft, draft, SIZE_MAX, err));
    }
    return MLTF_OK;
}

static void sample_release(gen_unit *u)
{
    sample_state *s = u->state;
    if (!s) return;
    for (size_t i = 0; s->cap && i < u->n_rows; i++) {
        free(s->logprobs[i]);
        free(s->top[i]);
    }
    free(s->proposed);
    free(s->verify);
    arch_cache_free(s->draft);
}

/* ---- proposals ----------------------------------------------------------------------------- */

static mltf_status propose_room(sample_state *s, size_t n, size_t tail, mltf_err *err)
{
    const size_t cap = n + tail;
    if (cap <= s->cap_proposed) return MLTF_OK;
    if (!array_resize(&s->proposed, cap, sizeof *s->proposed) ||
        !array_resize(&s->verify, cap, sizeof *s->verify))
        return mltf_fail_memory(err);
    s->cap_proposed = cap;
    return MLTF_OK;
}

/* What followed the last few tokens where they stood before: the longest match first, the earliest of those. */
static void propose_from_prompt(const gen_unit *u, sample_state *s, size_t want)
{
    const gen_row *r = &u->rows[0];
    const size_t longest =
        u->cfg.max_matching_ngram_size == GEN_NONE ? 2 : (size_t)u->cfg.max_matching_ngram_size;
    s->n_proposed = 0;
    for (size_t size = longest < r->n ? longest : r->n - 1; size > 0 && r->n > size; size--) {
        const int32_t *last = r->ids + r->n - size;
        for (size_t i = 0; i + size < r->n; i++) {
            if (memcmp(r->ids + i, last, size * sizeof *last) != 0) continue;
            while (s->n_proposed < want && i + size + s->n_proposed < r->n) {
                const int32_t id = r->ids[i + size + s->n_proposed];
                if (gen_is_eos(u, id)) break;
                s->proposed[s->n_proposed++] = id;
            }
            return;
        }
    }
}

/* The draft model's own greedy continuation, as long as it is sure of itself. */
static mltf_status propose_from_draft(gen_unit *u, sample_state *s, size_t want, mltf_err *err)
{
    const gen_row *r = &u->rows[0];
    const size_t V = arch_model_info(arch_session_model(u->req->assistant))->vocab;
    s->n_proposed = 0;
    const int32_t *ids = r->ids + arch_cache_len(s->draft);
    size_t n = r->n - arch_cache_len(s->draft);
    while (s->n_proposed < want) {
        const size_t start[2] = {0, n};
        const arch_batch batch = {.n_seqs = 1, .start = start, .ids = ids, .caches = &s->draft};
        arch_output out = {0};
        TRY(arch_forward(u->req->assistant, &batch, ARCH_WANT_LAST_LOGITS, &out, err));
        const int32_t id = gen_argmax(out.logits, V);
        if ((size_t)id >= u->vocab) break;
        const double p = gen_exp((double)out.logits[id] - gen_logsumexp(out.logits, V));
        s->proposed[s->n_proposed++] = id;
        if (gen_is_eos(u, id) || p < u->cfg.assistant_confidence_threshold) break;
        ids = &s->proposed[s->n_proposed - 1];
        n = 1;
    }
    return MLTF_OK;
}

/* How many tokens behind the row's own have positions in the model and in its assistant. */
static size_t positions_left(const gen_unit *u, const gen_row *r)
{
    const arch_info *info = arch_model_info(u->model);
    size_t positions =
        info->kind == ARCH_ENCODER_DECODER ? info->max_target_positions : info->max_positions;
    if (u->req->assistant) {
        const size_t own = arch_model_info(arch_session_model(u->req->assistant))->max_positions;
        if (own < positions) positions = own;
    }
    return positions > r->n ? positions - r->n : 0;
}

static mltf_status plan_proposals(gen_unit *u, sample_state *s, mltf_err *err)
{
    gen_row *r = &u->rows[0];
    const size_t tail = r->n - arch_cache_len(r->cache);             // 1 but at the very beginning
    const size_t left = (size_t)(u->cfg.max_length - (int64_t)r->n); // at least 1
    size_t want = u->req->assistant
                      ? (size_t)(u->cfg.num_assistant_tokens > 0 ? u->cfg.num_assistant_tokens : 1)
                      : (size_t)u->cfg.prompt_lookup_num_tokens;
    if (want > left - 1) want = left - 1;
    if (want > ARCH_CACHE_ROLLBACK) want = ARCH_CACHE_ROLLBACK;
    const size_t room = positions_left(u, r);
    if (want > room) want = room;
    TRY(propose_room(s, want, tail, err));
    s->n_proposed = 0;
    const bool stepwise =
        arch_model_info(u->model)->stepwise;       // several tokens at once would change the text
    if (r->n > u->n_prompt && want && !stepwise) { // the prompt itself goes alone: it may be long
        if (u->req->assistant)
            TRY(propose_from_draft(u, s, want, err));
        else
            propose_from_prompt(u, s, want);
    }
    if (s->n_proposed == 0)
        return gen_feed_add(u, r->cache, r->ids + r->n - tail, tail, false, false, err);
    memcpy(s->verify, r->ids + r->n - tail, tail * sizeof *s->verify);
    memcpy(s->verify + tail, s->proposed, s->n_proposed * sizeof *s->verify);
    return gen_feed_add(u, r->cache, s->verify, tail + s->n_proposed, true, false, err);
}

/* ---- a round ------------------------------------------------------------------------------- */

static mltf_status sample_plan(gen_unit *u, mltf_err *err)
{
    sample_state *s = u->state;
    if (proposes(u)) return plan_proposals(u, s, err);
    for (size_t i = 0; i < (s->spread ? u->n_rows : 1); i++) {
        if (!u->rows[i].finished) TRY(gen_feed_row(u, &u->rows[i], err));
    }
    return MLTF_OK;
}

static mltf_status keep_logprobs(gen_unit *u, size_t row, int32_t chosen, mltf_err *err)
{
    sample_state *s = u->state;
    const size_t k = u->req->top_logprobs, at = u->rows[row].n - u->n_prompt;
    if (at >= s->cap[row]) {
        const size_t cap = at * 2 + 32;
        if (!array_resize(&s->logprobs[row], cap, sizeof **s->logprobs) ||
            !array_resize(&s->top[row], cap, k * sizeof **s->top))
            return mltf_fail_memory(err);
        s->cap[row] = cap;
    }
    const double lse = gen_logsumexp(s->raw, u->vocab);
    s->logprobs[row][at] = (float)((double)s->raw[chosen] - lse);
    gen_top_logprobs(s->top[row] + at * k, k, s->raw, u->vocab, lse);
    return MLTF_OK;
}

/* The next token of a row from its scores (changed in place), without taking it. */
static mltf_status choose(gen_unit *u, size_t row, float *scores, int32_t *id, mltf_err *err)
{
    sample_state *s = u->state;
    gen_row *r = &u->rows[row];
    if (s->raw) memcpy(s->raw, scores, u->vocab * sizeof *scores);
    TRY(gen_process(u, r, scores, r->ids, r->n, err));
    if (u->cfg.do_sample)
        *id = gen_pick(scores, u->vocab,
                       gen_uniform(u->seed, (uint32_t)row, (uint32_t)(r->n - u->n_prompt), 0));
    else
        *id = gen_argmax(scores, u->vocab);
    if (s->raw) TRY(keep_logprobs(u, row, *id, err));
    return MLTF_OK;
}

/* Append the token, see whether that was the last one. */
static mltf_status take(gen_unit *u, size_t row, int32_t id, mltf_err *err)
{
    gen_row *r = &u->rows[row];
    TRY(gen_row_push(r, id, err));
    const bool eos = gen_is_eos(u, id);
    if (r->matcher && !eos) TRY(gen_matcher_accept(r->matcher, id, err));
    TRY(gen_ended(u, r->ids, r->n, &r->finished, &r->finish, &r->stop_string, err));
    if (r->matcher && gen_matcher_closed(r->matcher) &&
        (!r->finished || r->finish != GEN_FINISH_STOP_STRING)) {
        r->finished = true; // the grammar is through: nothing but an end could follow
        r->finish = GEN_FINISH_STOP;
    }
    const sample_state *s = u->state;
    if (u->req->on_logprobs && s->raw && u->n_rows == 1) {
        const size_t at = r->n - 1 - u->n_prompt;
        u->req->on_logprobs(u->req->user, u->number, (gen_logprob){id, s->logprobs[row][at]},
                            s->top[row] + at * u->req->top_logprobs);
    }
    if (u->req->on_token && u->n_rows == 1 && u->req->on_token(u->req->user, u->number, &id, 1)) {
        r->finished = true;
        r->finish = GEN_FINISH_CANCELLED;
    }
    return MLTF_OK;
}

static mltf_status finish(gen_unit *u, mltf_err *err)
{
    sample_state *s = u->state;
    u->seqs = arena_calloc(&u->arena, u->n_rows, sizeof *u->seqs);
    if (!u->seqs) return mltf_fail_memory(err);
    u->n_seqs = u->n_rows;
    for (size_t i = 0; i < u->n_rows; i++) {
        const gen_row *r = &u->rows[i];
        TRY(gen_sequence_set(u, &u->seqs[i], r->ids, r->n, err));
        u->seqs[i].finish = r->finish;
        u->seqs[i].stop_string = r->stop_string;
        u->seqs[i].logprobs = u->req->want_logprobs ? s->logprobs[i] : NULL;
        u->seqs[i].top = u->req->top_logprobs ? s->top[i] : NULL;
    }
    u->done = true;
    return MLTF_OK;
}

/* Go over what was proposed as long as it is what would have been chosen; then forget the rest. */
static mltf_status advance_proposals(gen_unit *u, sample_state *s, mltf_err *err)
{
    gen_row *r = &u->rows[0];
    const gen_feed *f = &u->feeds[0];
    const size_t n_before = r->n;
    float *scores = f->logits + (f->all_logits ? f->n - s->n_proposed - 1 : 0) * u->vocab;
    for (size_t i = 0; i <= s->n_proposed && !r->finished; i++, scores += u->vocab) {
        int32_t id;
        TRY(choose(u, 0, scores, &id, err));
        TRY(take(u, 0, id, err));
        if (i == s->n_proposed || id != s->proposed[i]) break;
    }
    // all tokens but the newest have gone through the model with the right tokens before them
    if (arch_cache_len(r->cache) > r->n - 1) arch_cache_truncate(r->cache, r->n - 1);
    if (s->draft && arch_cache_len(s->draft) > n_before) {
        const size_t held = arch_cache_len(s->draft), right = held < r->n - 1 ? held : r->n - 1;
        arch_cache_truncate(s->draft, right);
    }
    return r->finished ? finish(u, err) : MLTF_OK;
}

static mltf_status sample_advance(gen_unit *u, mltf_err *err)
{
    sample_state *s = u->state;
    if (proposes(u)) return advance_proposals(u, s, err);
    const bool first = !s->spread;
    if (first) {
        TRY(gen_rows_spread(u, err));
        s->spread = true;
    }
    size_t feed = 0;
    bool open = false;
    mltf_status st = MLTF_OK;
    float *copy = first && u->n_rows > 1 ? malloc(u->vocab * sizeof *copy) : NULL;
    if (first && u->n_rows > 1 && !copy) return mltf_fail_memory(err);
    for (size_t i = 0; i < u->n_rows && !st; i++) {
        gen_row *r = &u->rows[i];
        if (r->finished) continue;
        float *scores = u->feeds[first ? 0 : feed].logits;
        if (r->negative && (!first || i == 0)) {
            gen_log_softmax(scores, u->vocab);
            gen_guide(u, scores, u->feeds[(first ? 0 : feed) + 1].logits);
        }
        feed += r->negative ? 2 : 1;
        if (copy) { // all rows begin with the same scores
            memcpy(copy, scores, u->vocab * sizeof *copy);
            scores = copy;
        }
        int32_t id;
        st = choose(u, i, scores, &id, err);
        if (!st) st = take(u, i, id, err);
        open |= !r->finished;
    }
    free(copy);
    TRY(st);
    return open ? MLTF_OK : finish(u, err);
}

const gen_mode gen_mode_sample = {"sample", sample_start, sample_plan, sample_advance,
                                  sample_release};
