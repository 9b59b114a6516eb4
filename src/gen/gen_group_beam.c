/* Diverse beam search (num_beam_groups, Vijayakumar et al. 2016) and beams that must contain words
 * (force_words_ids), as transformers had them in the library up to 4.56: with BeamSearchScorer and
 * ConstrainedBeamSearchScorer (generation/beam_search.py). They keep hypotheses in heaps, one a group, so their
 * rules for stopping differ from gen_beam.c's in details:
 *   - a hypothesis is kept without its eos token, which is put back at the end;
 *   - a group is done when it has enough hypotheses and (early_stopping) no candidate can beat the worst. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gen/forced_words.h"
#include "gen/gen_math.h"
#include "gen/gen_unit.h"

typedef struct hypothesis {
    int32_t *ids; /* without eos */
    size_t n;
    double score;
    gen_finish why;
} hypothesis;

typedef struct group {
    hypothesis *hyps; /* [n_hyps] of [size + 1] */
    size_t n_hyps;
    double worst;
    bool done;
} group;

typedef struct candidate {
    size_t row; /* SIZE_MAX: none */
    int32_t id;
    float score;
} candidate;

typedef struct group_state {
    size_t beams, groups, size; /* size = beams / groups */
    size_t keep;                /* candidates a group: max(2, 1 + eos) * size */
    group *group;               /* [groups] */
    float *running;             /* [beams] */
    float *scores;              /* [beams, V] */
    candidate *cand;            /* [keep] */
    candidate *next;            /* [beams] how each row goes on */
    size_t *from;               /* [beams] */
    bool spread;
    /* forced words */
    forced_state *top, *own, *grown; /* [beams], [beams], [1] */
    candidate *pool;                 /* [beams + advances] */
    size_t *bank;                    /* of the pool */
    size_t max_advances;
    int32_t *advance; /* [max_advances] */
} group_state;

static mltf_status forced_start(gen_unit *u, group_state *s, mltf_err *err)
{
    const gen_force *f = &u->cfg.force_words_ids;
    for (size_t i = 0; i < f->n; i++)
        for (size_t k = 0; k < f->p[i].n; k++) {
            s->max_advances++;
            for (size_t t = 0; t < f->p[i].p[k].n; t++)
                if (f->p[i].p[k].p[t] < 0 || (size_t)f->p[i].p[k].p[t] >= u->vocab)
                    return mltf_fail(err, MLTF_INVALID_INPUT,
                                     "`force_words_ids` holds token %d, which is outside the "
                                     "model's vocabulary of %zu",
                                     f->p[i].p[k].p[t], u->vocab);
        }
    const size_t places = s->beams * (1 + s->max_advances);
    s->top = arena_calloc(&u->arena, s->beams, sizeof *s->top);
    s->own = arena_calloc(&u->arena, 1, sizeof *s->own);
    s->grown = arena_calloc(&u->arena, 1, sizeof *s->grown);
    s->pool = arena_calloc(&u->arena, places, sizeof *s->pool);
    s->bank = arena_calloc(&u->arena, places, sizeof *s->bank);
    s->advance = arena_calloc(&u->arena, s->max_advances, sizeof *s->advance);
    if (!s->top || !s->own || !s->grown || !s->pool || !s->bank || !s->advance)
        return mltf_fail_memory(err);
    for (size_t i = 0; i < s->beams; i++) TRY(forced_state_init(&s->top[i], f, &u->arena, err));
    TRY(forced_state_init(s->own, f, &u->arena, err));
    return forced_state_init(s->grown, f, &u->arena, err);
}

static mltf_status group_start(gen_unit *u, mltf_err *err)
{
    group_state *s = arena_calloc(&u->arena, 1, sizeof *s);
    if (!s) return mltf_fail_memory(err);
    u->state = s;
    s->beams = (size_t)u->cfg.num_beams;
    s->groups = gen_config_has_groups(&u->cfg) ? (size_t)u->cfg.num_beam_groups : 1;
    s->size = s->beams / s->groups;
    const size_t eos = u->cfg.eos_token_id.n;
    s->keep = (1 + eos > 2 ? 1 + eos : 2) * s->size;
    if (s->keep > s->size * u->vocab)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "%zu beams need a larger vocabulary than %zu tokens", s->beams, u->vocab);
    s->group = arena_calloc(&u->arena, s->groups, sizeof *s->group);
    s->running = arena_f32(&u->arena, 1, s->beams);
    s->scores = arena_f32(&u->arena, s->beams, u->vocab);
    s->cand = arena_calloc(&u->arena, s->keep, sizeof *s->cand);
    s->next = arena_calloc(&u->arena, s->beams, sizeof *s->next);
    s->from = arena_calloc(&u->arena, s->beams, sizeof *s->from);
    if (!s->group || !s->running || !s->scores || !s->cand || !s->next || !s->from)
        return mltf_fail_memory(err);
    for (size_t g = 0; g < s->groups; g++) {
        s->group[g].worst = 1e9;
        s->group[g].hyps = arena_calloc(&u->arena, s->size + 1, sizeof *s->group[g].hyps);
        if (!s->group[g].hyps) return mltf_fail_memory(err);
    }
    // the first beam of each group counts at first
    for (size_t i = 0; i < s->beams; i++) s->running[i] = i % s->size ? -1e9f : 0;
    return u->cfg.force_words_ids.p ? forced_start(u, s, err) : MLTF_OK;
}

static void group_release(gen_unit *u)
{
    group_state *s = u->state;
    for (size_t g = 0; s && s->group && g < s->groups; g++)
        for (size_t i = 0; i < s->group[g].n_hyps; i++) free(s->group[g].hyps[i].ids);
}

static mltf_status group_plan(gen_unit *u, mltf_err *err)
{
    const group_state *s = u->state;
    for (size_t i = 0; i < (s->spread ? u->n_rows : 1); i++) {
        gen_row *r = &u->rows[i];
        const size_t held = arch_cache_len(r->cache);
        TRY(gen_feed_add(u, r->cache, r->ids + held, r->n - held, false, false, err));
    }
    return MLTF_OK;
}

/* ---- hypotheses ---------------------------------------------------------------------------- */

static double penalized(const gen_unit *u, double sum, size_t length)
{
    return sum / pow((double)length, isnan(u->cfg.length_penalty) ? 1 : u->cfg.length_penalty);
}

/* `made`: the length that the score is divided by. */
static mltf_status add_hypothesis(gen_unit *u, group *g, size_t size, const int32_t *ids, size_t n,
                                  double sum, size_t made, gen_finish why, mltf_err *err)
{
    const double score = penalized(u, sum, made);
    if (g->n_hyps >= size && !(score > g->worst)) return MLTF_OK;
    int32_t *copy = malloc(n * sizeof *copy);
    if (!copy) return mltf_fail_memory(err);
    memcpy(copy, ids, n * sizeof *copy);
    g->hyps[g->n_hyps++] = (hypothesis){copy, n, score, why};
    if (g->n_hyps <= size) {
        if (score < g->worst) g->worst = score;
        return MLTF_OK;
    }
    size_t worst = 0;
    for (size_t i = 1; i < g->n_hyps; i++)
        if (g->hyps[i].score < g->hyps[worst].score) worst = i;
    free(g->hyps[worst].ids);
    memmove(g->hyps + worst, g->hyps + worst + 1, (g->n_hyps - worst - 1) * sizeof *g->hyps);
    g->n_hyps--;
    g->worst = g->hyps[0].score;
    for (size_t i = 1; i < g->n_hyps; i++)
        if (g->hyps[i].score < g->worst) g->worst = g->hyps[i].score;
    return MLTF_OK;
}

static bool group_is_done(const gen_unit *u, const group *g, size_t size, double best,
                          size_t cur_len)
{
    if (g->n_hyps < size) return false;
    if (u->cfg.early_stopping == GEN_EARLY_TRUE) return true;
    const bool far = u->cfg.early_stopping == GEN_EARLY_NEVER && u->cfg.length_penalty > 0;
    return g->worst >=
           penalized(u, best, (far ? (size_t)u->cfg.max_length : cur_len) - u->n_prompt);
}

/* ---- forced words -------------------------------------------------------------------------- */

static bool same_line(const gen_unit *u, const candidate *a, const candidate *b)
{
    const gen_row *x = &u->rows[a->row], *y = &u->rows[b->row];
    return a->id == b->id && memcmp(x->ids, y->ids, x->n * sizeof *x->ids) == 0;
}

/* step_sentence_constraint: to the plain best continuations add those that a constraint asks for, then choose
 * from the banks of equal progress in turn, each by score. */
static mltf_status force_progress(gen_unit *u, group_state *s, mltf_err *err)
{
    const size_t B = s->beams;
    size_t n = B;
    memcpy(s->pool, s->next, B * sizeof *s->pool);
    for (size_t i = 0; i < B; i++) {
        forced_state_reset(&s->top[i], u->rows[s->next[i].row].ids, u->rows[s->next[i].row].n);
        forced_state_add(&s->top[i], s->next[i].id);
        s->bank[i] = forced_state_bank(&s->top[i]);
    }
    for (size_t row = 0; row < B; row++) {
        forced_state_reset(s->own, u->rows[row].ids, u->rows[row].n);
        const size_t asks = forced_state_advance(s->own, s->advance, s->max_advances);
        for (size_t k = 0; k < asks; k++) {
            const candidate c = {row, s->advance[k],
                                 s->scores[row * u->vocab + (size_t)s->advance[k]]};
            bool known = false;
            for (size_t j = 0; j < n; j++) known |= same_line(u, &s->pool[j], &c);
            if (known) continue;
            forced_state_copy(s->grown, s->own);
            forced_state_add(s->grown, c.id);
            s->pool[n] = c;
            s->bank[n++] = forced_state_bank(s->grown);
        }
    }
    if (n == B) return MLTF_OK;

    size_t *order = malloc(n * 2 * sizeof *order);
    if (!order) return mltf_fail_memory(err);
    size_t *turn = order + n;
    for (size_t i = 0; i < n; i++) { // by bank * 100 + score, best first
        const float key = (float)s->bank[i] * 100 + s->pool[i].score;
        size_t j = i;
        for (; j > 0; j--) {
            const size_t o = order[j - 1];
            if (!(key > (float)s->bank[o] * 100 + s->pool[o].score)) break;
            order[j] = o;
        }
        order[j] = i;
    }
    for (size_t i = 0; i < n; i++)
        turn[i] = i && s->bank[order[i]] == s->bank[order[i - 1]] ? turn[i - 1] + 1 : 0;
    size_t filled = 0;
    for (size_t t = 0; filled < B; t++)
        for (size_t i = 0; i < n && filled < B; i++)
            if (turn[i] == t) s->next[filled++] = s->pool[order[i]];
    free(order);
    return MLTF_OK;
}

static bool has_all_words(group_state *s, const int32_t *ids, size_t n)
{
    if (!s->own) return true;
    forced_state_reset(s->own, ids, n);
    return s->own->completed;
}

/* ---- a round ------------------------------------------------------------------------------- */

static void best_of_group(gen_unit *u, group_state *s, size_t first)
{
    size_t n = 0;
    for (size_t b = first; b < first + s->size; b++) {
        const float *x = s->scores + b * u->vocab;
        for (size_t i = 0; i < u->vocab; i++) {
            if (isnan(x[i]) || (n == s->keep && !(x[i] > s->cand[n - 1].score))) continue;
            size_t j = n < s->keep ? n++ : s->keep - 1;
            for (; j > 0 && s->cand[j - 1].score < x[i]; j--) s->cand[j] = s->cand[j - 1];
            s->cand[j] = (candidate){b, (int32_t)i, x[i]};
        }
    }
    for (; n < s->keep; n++) s->cand[n] = (candidate){first, 0, -INFINITY};
}

/* process(): candidates into hypotheses and next rows of one group. */
static mltf_status run_group(gen_unit *u, group_state *s, size_t gi, mltf_err *err)
{
    group *g = &s->group[gi];
    const size_t first = gi * s->size, n = u->rows[0].n, made = n + 1 - u->n_prompt;
    if (g->done) {
        for (size_t i = 0; i < s->size; i++)
            s->next[first + i] = (candidate){first, (int32_t)u->cfg.pad_token_id, 0};
        return MLTF_OK;
    }
    best_of_group(u, s, first);
    size_t filled = 0;
    for (size_t k = 0; k < s->keep && filled < s->size; k++) {
        const candidate *c = &s->cand[k];
        if (!gen_is_eos(u, c->id)) {
            s->next[first + filled++] = *c;
            continue;
        }
        if (k >= s->size) continue; // only an end among the best counts
        const int32_t *ids = u->rows[c->row].ids;
        if (has_all_words(s, ids, n))
            TRY(add_hypothesis(u, g, s->size, ids, n, c->score, made, GEN_FINISH_STOP, err));
    }
    if (filled < s->size)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "too few tokens that do not end the text are left for %zu beams", s->size);
    if (s->own) TRY(force_progress(u, s, err));
    g->done = group_is_done(u, g, s->size, s->cand[0].score, n + 1);
    return MLTF_OK;
}

static mltf_status group_finish(gen_unit *u, group_state *s, gen_finish why, mltf_err *err)
{
    const size_t want = (size_t)u->cfg.num_return_sequences, n = u->rows[0].n;
    for (size_t gi = 0; gi < s->groups; gi++) {
        group *g = &s->group[gi];
        if (g->done) continue;
        size_t complete = 0;
        for (int pass = 0; pass < 2;
             pass++) { // first those that have all words; the others if that is too few
            if (pass == 1 && (!s->own || complete >= want)) break;
            for (size_t i = 0; i < s->size; i++) {
                const size_t row = gi * s->size + i;
                const bool words = has_all_words(s, u->rows[row].ids, n);
                if (words != (pass == 0)) continue;
                complete += words;
                TRY(add_hypothesis(u, g, s->size, u->rows[row].ids, n, s->running[row],
                                   n - u->n_prompt, why, err));
            }
        }
    }
    u->seqs = arena_calloc(&u->arena, want, sizeof *u->seqs);
    if (!u->seqs) return mltf_fail_memory(err);
    for (size_t k = 0; k < want;
         k++) { // the best of all groups; the later of equals, as list.pop() of the sorted
        hypothesis *best = NULL;
        for (size_t gi = 0; gi < s->groups; gi++)
            for (size_t i = 0; i < s->group[gi].n_hyps; i++) {
                hypothesis *h = &s->group[gi].hyps[i];
                if (h->ids && (!best || h->score >= best->score)) best = h;
            }
        if (!best) break;
        gen_sequence *q = &u->seqs[u->n_seqs++];
        const bool room = (int64_t)best->n < u->cfg.max_length && u->cfg.eos_token_id.n;
        TRY(gen_sequence_set(u, q, best->ids, best->n, err));
        if (room) { // the eos token that ended it
            int32_t *ids = arena_calloc(&u->arena, best->n + 1, sizeof *ids);
            if (!ids) return mltf_fail_memory(err);
            memcpy(ids, best->ids, best->n * sizeof *ids);
            ids[best->n] = u->cfg.eos_token_id.p[0];
            q->ids = ids;
            q->n++;
        }
        q->score = (float)best->score;
        q->finish = best->why;
        q->stop_string = SIZE_MAX;
        free(best->ids);
        best->ids = NULL;
    }
    u->done = true;
    return MLTF_OK;
}

static mltf_status group_advance(gen_unit *u, mltf_err *err)
{
    group_state *s = u->state;
    const size_t V = u->vocab;
    if (!s->spread) TRY(gen_rows_spread(u, err));
    for (size_t gi = 0; gi < s->groups; gi++) {
        for (size_t b = gi * s->size; b < (gi + 1) * s->size; b++) {
            float *scores = s->scores + b * V;
            memcpy(scores, u->feeds[s->spread ? b : 0].logits, V * sizeof *scores);
            gen_log_softmax(scores, V);
            // what earlier groups chose in this round is made less likely for the later ones
            for (size_t e = 0; e < gi * s->size; e++)
                scores[s->next[e].id] -= (float)u->cfg.diversity_penalty;
            TRY(gen_process(u, &u->rows[b], scores, u->rows[b].ids, u->rows[b].n, err));
            for (size_t i = 0; i < V; i++) scores[i] += s->running[b];
        }
        TRY(run_group(u, s, gi, err));
    }
    s->spread = true;
    for (size_t i = 0; i < s->beams; i++) s->from[i] = s->next[i].row;
    TRY(gen_rows_reorder(u, s->from, err));
    bool all_done = true, all_ended = true;
    gen_finish why = GEN_FINISH_LENGTH;
    for (size_t i = 0; i < s->beams; i++) {
        bool ended;
        size_t stop_string;
        s->running[i] = s->next[i].score;
        TRY(gen_row_push(&u->rows[i], s->next[i].id, err));
        if (u->rows[i].matcher && !gen_is_eos(u, s->next[i].id) && s->running[i] > -5e8f)
            TRY(gen_matcher_accept(u->rows[i].matcher, s->next[i].id, err));
        TRY(gen_ended(u, u->rows[i].ids, u->rows[i].n, &ended, &why, &stop_string, err));
        all_ended &= ended;
    }
    for (size_t gi = 0; gi < s->groups; gi++) all_done &= s->group[gi].done;
    return all_done || all_ended ? group_finish(u, s, why, err) : MLTF_OK;
}

const gen_mode gen_mode_group_beam = {"group_beam", group_start, group_plan, group_advance,
                                      group_release};
