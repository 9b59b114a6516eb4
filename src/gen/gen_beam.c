/* Beam search and beam sampling, as transformers 4.57 has them (_beam_search in generation/utils.py), for one
 * request; scores are float32 there and here.
 *
 * Each round: K = max(2, 1 + eos tokens) * beams candidates from all beams; those that end are merged into the
 * finished ones if they rank among the first `beams`; the best of the others run on. Two details decide results:
 * a finished candidate's score is divided by (its generated length ** length_penalty), and the round ends the
 * search by the rules of early_stopping (see improvable). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "gen/gen_math.h"
#include "gen/gen_unit.h"

#define LOW                                                                                        \
    (-1.0e9f) /* "not there", in place of -inf, as the reference has it: sums with it round alike */

typedef struct beam_done {
    int32_t *ids;
    size_t n;
    float score; /* LOW: an empty place */
    bool finished;
    gen_finish why;
    size_t stop_string;
} beam_done;

typedef struct candidate {
    size_t beam;
    int32_t id;
    float score;
    bool ended;
    gen_finish why;
    size_t stop_string;
} candidate;

typedef struct beam_state {
    size_t beams, keep; /* K */
    float *running;     /* [beams] accumulated scores */
    beam_done *done;    /* [beams] sorted by score */
    beam_done *merged;  /* [beams + K] scratch */
    candidate *cand;    /* [K] */
    float *scores;      /* [beams, V] accumulated */
    size_t *from;       /* [beams] scratch */
    int32_t *line;      /* [line_cap] a candidate's tokens, for stop strings */
    size_t line_cap;
    bool improvement; /* is_early_stop_heuristic_unsatisfied */
    bool spread;
    size_t round;
} beam_state;

static mltf_status beam_start(gen_unit *u, mltf_err *err)
{
    beam_state *s = arena_calloc(&u->arena, 1, sizeof *s);
    if (!s) return mltf_fail_memory(err);
    u->state = s;
    const size_t eos = u->cfg.eos_token_id.n, B = (size_t)u->cfg.num_beams;
    s->beams = B;
    s->keep = (1 + eos > 2 ? 1 + eos : 2) * B;
    if (s->keep > B * u->vocab) s->keep = B * u->vocab;
    if (u->vocab < 2)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "beam search needs a vocabulary of at least two tokens");
    s->improvement = true;
    s->running = arena_f32(&u->arena, 1, B);
    s->done = arena_calloc(&u->arena, B, sizeof *s->done);
    s->merged = arena_calloc(&u->arena, B + s->keep, sizeof *s->merged);
    s->cand = arena_calloc(&u->arena, s->keep, sizeof *s->cand);
    s->scores = arena_f32(&u->arena, B, u->vocab);
    s->from = arena_calloc(&u->arena, B, sizeof *s->from);
    if (!s->running || !s->done || !s->merged || !s->cand || !s->scores || !s->from)
        return mltf_fail_memory(err);
    // only the first beam counts at first, or all would choose the same
    for (size_t i = 0; i < B; i++) s->running[i] = i ? LOW : 0;
    for (size_t i = 0; i < B; i++) s->done[i].score = LOW;
    return MLTF_OK;
}

static void beam_release(gen_unit *u)
{
    beam_state *s = u->state;
    if (!s) return;
    for (size_t i = 0; s->from && i < s->beams; i++) free(s->done[i].ids);
    free(s->line);
}

static mltf_status beam_plan(gen_unit *u, mltf_err *err)
{
    beam_state *s = u->state;
    for (size_t i = 0; i < (s->spread ? u->n_rows : 1); i++) TRY(gen_feed_row(u, &u->rows[i], err));
    return MLTF_OK;
}

/* ---- choosing candidates ------------------------------------------------------------------- */

/* The K best of all beams' scores, best first; among equals the first in memory. */
static void take_best(beam_state *s, size_t V)
{
    size_t n = 0;
    const size_t K = s->keep;
    for (size_t b = 0; b < s->beams; b++) {
        const float *x = s->scores + b * V;
        for (size_t i = 0; i < V; i++) {
            if (n == K && !(x[i] > s->cand[K - 1].score)) continue;
            if (isnan(x[i])) continue;
            size_t j = n < K ? n++ : K - 1;
            for (; j > 0 && s->cand[j - 1].score < x[i]; j--) s->cand[j] = s->cand[j - 1];
            s->cand[j] = (candidate){.beam = b, .id = (int32_t)i, .score = x[i]};
        }
    }
    for (; n < K; n++) s->cand[n] = (candidate){.score = -INFINITY};
}

/* K draws without replacement from softmax(scores), in the order drawn: the exponential race of
 * torch.multinomial, which is to take the K largest of score + Gumbel noise. */
static void draw(gen_unit *u, beam_state *s, size_t V)
{
    size_t n = 0;
    const size_t K = s->keep;
    double *key = NULL;
    const mltf_arena_mark mark = arena_save(&u->arena);
    key = arena_alloc(&u->arena, K * sizeof *key);
    if (!key) { // as good as greedy, rather than nothing
        arena_restore(&u->arena, mark);
        take_best(s, V);
        return;
    }
    for (size_t b = 0; b < s->beams; b++) {
        const float *x = s->scores + b * V;
        for (size_t i = 0; i < V; i++) {
            if (!(x[i] > -INFINITY)) continue;
            const double v = gen_uniform(u->seed, (uint32_t)b, (uint32_t)s->round, (uint32_t)i + 1);
            const double k = (double)x[i] - log(-log(v > 0 ? v : 0x1p-54));
            if (n == K && !(k > key[K - 1])) continue;
            size_t j = n < K ? n++ : K - 1;
            for (; j > 0 && key[j - 1] < k; j--) {
                key[j] = key[j - 1];
                s->cand[j] = s->cand[j - 1];
            }
            key[j] = k;
            s->cand[j] = (candidate){.beam = b, .id = (int32_t)i, .score = x[i]};
        }
    }
    for (; n < K; n++) s->cand[n] = (candidate){.score = -INFINITY};
    arena_restore(&u->arena, mark);
}

/* Do the candidates hit a stopping criterion? */
static mltf_status judge(gen_unit *u, beam_state *s, mltf_err *err)
{
    const size_t n = u->rows[0].n;
    if (!ARRAY_RESERVE(s->line, s->line_cap, n + 1)) return mltf_fail_memory(err);
    for (size_t k = 0; k < s->keep; k++) {
        candidate *c = &s->cand[k];
        memcpy(s->line, u->rows[c->beam].ids, n * sizeof *s->line);
        s->line[n] = c->id;
        TRY(gen_ended(u, s->line, n + 1, &c->ended, &c->why, &c->stop_string, err));
        if (c->ended || !u->rows[c->beam].matcher || !(c->score > LOW / 2)) continue;
        // a grammar that is through ends the sequence
        gen_matcher *probe = NULL;
        TRY(gen_matcher_new(&probe, u->req->constraint, err));
        mltf_status st = gen_matcher_copy(probe, u->rows[c->beam].matcher, err);
        if (!st) st = gen_matcher_accept(probe, c->id, err);
        if (!st && gen_matcher_closed(probe)) {
            c->ended = true;
            c->why = GEN_FINISH_STOP;
        }
        gen_matcher_free(probe);
        TRY(st);
    }
    return MLTF_OK;
}

/* ---- finished ones ------------------------------------------------------------------------- */

static bool all_finished(const beam_state *s)
{
    for (size_t i = 0; i < s->beams; i++)
        if (!s->done[i].finished) return false;
    return true;
}

/* _update_finished_beams: the best of the finished so far and of the candidates that just ended. */
static mltf_status update_finished(gen_unit *u, beam_state *s, mltf_err *err)
{
    const size_t n = u->rows[0].n, B = s->beams, made = n + 1 - u->n_prompt;
    const float divisor =
        (float)pow((double)made, isnan(u->cfg.length_penalty) ? 1 : u->cfg.length_penalty);
    const bool full = all_finished(s) && u->cfg.early_stopping == GEN_EARLY_TRUE;
    memcpy(s->merged, s->done, B * sizeof *s->done);
    for (size_t k = 0; k < s->keep; k++) {
        const candidate *c = &s->cand[k];
        const bool finished = c->ended && k < B;
        float score = c->score / divisor;
        if (full) score += LOW;
        if (!s->improvement) score += LOW;
        if (!finished) score += LOW;
        s->merged[B + k] = (beam_done){.ids = NULL,
                                       .n = c->beam,
                                       .score = score,
                                       .finished = finished,
                                       .why = c->why,
                                       .stop_string = c->stop_string};
    }
    // the B best, in order; the earlier place wins between equals
    bool *chosen = calloc(B + s->keep, sizeof *chosen);
    if (!chosen) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < B; i++) {
        size_t best = SIZE_MAX;
        for (size_t k = 0; k < B + s->keep; k++)
            if (!chosen[k] && (best == SIZE_MAX || s->merged[k].score > s->merged[best].score))
                best = k;
        chosen[best] = true;
        s->done[i] = s->merged[best];
        if (best < B || st) continue;
        const candidate *c = &s->cand[best - B];
        s->done[i].n = n + 1;
        s->done[i].ids = malloc((n + 1) * sizeof(int32_t));
        if (!s->done[i].ids) {
            st = mltf_fail_memory(err);
            continue;
        }
        memcpy(s->done[i].ids, u->rows[c->beam].ids, n * sizeof(int32_t));
        s->done[i].ids[n] = c->id;
    }
    for (size_t k = 0; k < B; k++)
        if (!chosen[k]) free(s->merged[k].ids);
    free(chosen);
    return st;
}

/* _check_early_stop_heuristic: can a running beam still beat the worst finished one? The best a running beam may
 * reach is guessed from its present score at the present length, or with "never" and a penalty that favours
 * length, at the greatest length. */
static bool improvable(const gen_unit *u, const beam_state *s, size_t cur_len)
{
    const double penalty = isnan(u->cfg.length_penalty) ? 1 : u->cfg.length_penalty;
    const size_t length = u->cfg.early_stopping == GEN_EARLY_NEVER && penalty > 0
                              ? (size_t)u->cfg.max_length - u->n_prompt
                              : cur_len - u->n_prompt;
    const float best = s->running[0] / (float)pow((double)length, penalty);
    float worst = s->done[0].score;
    for (size_t i = 1; i < s->beams; i++)
        if (s->done[i].score < worst) worst = s->done[i].score;
    for (size_t i = 0; i < s->beams; i++)
        if (best > (s->done[i].finished ? worst : LOW)) return true;
    return false;
}

static mltf_status beam_finish(gen_unit *u, beam_state *s, mltf_err *err)
{
    u->n_seqs = (size_t)u->cfg.num_return_sequences;
    u->seqs = arena_calloc(&u->arena, u->n_seqs, sizeof *u->seqs);
    if (!u->seqs) return mltf_fail_memory(err);
    for (size_t i = 0; i < u->n_seqs; i++) {
        const beam_done *d = &s->done[i];
        if (d->ids)
            TRY(gen_sequence_set(u, &u->seqs[i], d->ids, d->n, err));
        else
            TRY(gen_sequence_set(u, &u->seqs[i], u->rows[0].ids, u->n_prompt, err));
        u->seqs[i].score = d->score;
        u->seqs[i].finish = d->ids ? d->why : GEN_FINISH_LENGTH;
        u->seqs[i].stop_string = d->ids ? d->stop_string : SIZE_MAX;
    }
    u->done = true;
    return MLTF_OK;
}

/* s->scores: of each beam's next tokens, with what the beam has so far. */
static mltf_status score_beams(gen_unit *u, beam_state *s, mltf_err *err)
{
    const size_t V = u->vocab;
    size_t feed = 0;
    for (size_t b = 0; b < s->beams; b++) {
        float *scores = s->scores + b * V;
        if (b && !s->spread) { // the first round knows one beam; the others are LOW by definition
            for (size_t i = 0; i < V; i++) scores[i] = s->scores[i] + LOW;
            continue;
        }
        gen_row *r = &u->rows[b];
        memcpy(scores, u->feeds[feed].logits, V * sizeof *scores);
        gen_log_softmax(scores, V);
        if (r->negative) gen_guide(u, scores, u->feeds[feed + 1].logits);
        feed += r->negative ? 2 : 1;
        TRY(gen_process(u, r, scores, r->ids, r->n, err));
        for (size_t i = 0; i < V; i++) scores[i] += s->running[b];
    }
    return MLTF_OK;
}

/* The best candidates that did not end run on: next [beams] are their tokens, used [keep] is false. */
static mltf_status run_on(gen_unit *u, beam_state *s, int32_t *next, bool *used, mltf_err *err)
{
    for (size_t i = 0; i < s->beams; i++) {
        size_t best = SIZE_MAX;
        float best_score = 0;
        for (size_t k = 0; k < s->keep; k++) {
            const float score = s->cand[k].ended ? s->cand[k].score + LOW : s->cand[k].score;
            if (used[k] || (best != SIZE_MAX && !(score > best_score))) continue;
            best = k;
            best_score = score;
        }
        used[best] = true;
        s->running[i] = best_score;
        s->from[i] = s->cand[best].beam;
        next[i] = s->cand[best].id;
    }
    TRY(gen_rows_reorder(u, s->from, err));
    for (size_t i = 0; i < s->beams; i++) {
        TRY(gen_row_push(&u->rows[i], next[i], err));
        if (u->rows[i].matcher && s->running[i] > LOW / 2 && !gen_is_eos(u, next[i]))
            TRY(gen_matcher_accept(u->rows[i].matcher, next[i], err));
    }
    return MLTF_OK;
}

static mltf_status beam_advance(gen_unit *u, mltf_err *err)
{
    beam_state *s = u->state;
    TRY(score_beams(u, s, err));
    if (!s->spread) {
        TRY(gen_rows_spread(u, err));
        s->spread = true;
    }
    if (u->cfg.do_sample)
        draw(u, s, u->vocab);
    else
        take_best(s, u->vocab);
    s->round++;
    TRY(judge(u, s, err));
    bool stuck = true; // every candidate ended: nothing can go on
    for (size_t k = 0; k < s->keep; k++) stuck &= s->cand[k].ended;
    TRY(update_finished(u, s, err));

    int32_t *next = calloc(s->beams, sizeof *next);
    bool *used = calloc(s->keep, sizeof *used);
    const mltf_status st = next && used ? run_on(u, s, next, used, err) : mltf_fail_memory(err);
    free(next);
    free(used);
    TRY(st);

    s->improvement = s->improvement && improvable(u, s, u->rows[0].n);
    const bool open = !(all_finished(s) && u->cfg.early_stopping == GEN_EARLY_TRUE);
    return s->improvement && open && !stuck ? MLTF_OK : beam_finish(u, s, err);
}

const gen_mode gen_mode_beam = {"beam", beam_start, beam_plan, beam_advance, beam_release};
