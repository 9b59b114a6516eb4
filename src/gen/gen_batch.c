/* The batch: requests that run side by side, and gen_generate() on top of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "gen/gen_math.h"
#include "gen/gen_unit.h"

/* Tokens of prompts that go into one forward pass: bounds scratch memory, and how long a running answer waits
 * for somebody else's long prompt. */
#define PREFILL_ROWS 512

struct gen_batch {
    arch_session *session;
    const arch_model *model;
    gen_unit **units; /* [n_units], NULL where free */
    size_t n_units;
    uint64_t arrivals; /* requests that ever came */
};

/* CLOCK_MONOTONIC, seconds. */
static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static mltf_status row_reserve(gen_row *r, size_t cap, bool negative, mltf_err *err)
{
    if (r->cap >= cap) return MLTF_OK;
    if (!array_resize(&r->ids, cap, sizeof *r->ids) ||
        (negative && !array_resize(&r->negative_ids, cap, sizeof *r->negative_ids)))
        return mltf_fail_memory(err);
    r->cap = cap;
    return MLTF_OK;
}

mltf_status gen_row_push(gen_row *r, int32_t id, mltf_err *err)
{
    for (int k = 0; k < (r->negative ? 2 : 1); k++) {
        int32_t **ids = k ? &r->negative_ids : &r->ids;
        size_t *n = k ? &r->negative_n : &r->n;
        if (*n + 1 > r->cap) TRY(row_reserve(r, r->cap * 2 + 64, r->negative != NULL, err));
        (*ids)[(*n)++] = id;
    }
    return MLTF_OK;
}

static void row_release(gen_row *r)
{
    free(r->ids);
    free(r->negative_ids);
    arch_cache_free(r->cache);
    arch_cache_free(r->negative);
    gen_matcher_free(r->matcher);
    *r = (gen_row){0};
}

static mltf_status row_make(gen_unit *u, gen_row *r, mltf_err *err)
{
    if (!r->cache) TRY(arch_cache_new(&r->cache, u->model, SIZE_MAX, err));
    if (!isnan(u->cfg.guidance_scale) && u->cfg.guidance_scale != 1 && !r->negative)
        TRY(arch_cache_new(&r->negative, u->model, SIZE_MAX, err));
    if (u->req->constraint && !r->matcher)
        TRY(gen_matcher_new(&r->matcher, u->req->constraint, err));
    return MLTF_OK;
}

/* How many first tokens two texts share. */
static size_t shared_tokens(const int32_t *a, size_t n, const int32_t *b, size_t m)
{
    size_t i = 0;
    while (i < n && i < m && a[i] == b[i]) i++;
    return i;
}

/* Tokens, matcher and caches of `from` into `to`, which has its own memory. Beams descend from each other, so `to`
 * mostly holds the same beginning: its cache needs only what came since. */
static mltf_status row_copy(gen_row *to, const gen_row *from, bool with_caches, mltf_err *err)
{
    const size_t same = shared_tokens(to->ids, to->n, from->ids, from->n),
                 negative_same = shared_tokens(to->negative_ids, to->negative_n, from->negative_ids,
                                               from->negative_n);
    TRY(row_reserve(to, from->cap, from->negative != NULL, err));
    memcpy(to->ids, from->ids, from->n * sizeof *from->ids);
    to->n = from->n;
    if (from->negative) {
        memcpy(to->negative_ids, from->negative_ids, from->negative_n * sizeof *from->ids);
        to->negative_n = from->negative_n;
        if (with_caches) TRY(arch_cache_copy(to->negative, from->negative, negative_same, err));
    }
    if (with_caches) TRY(arch_cache_copy(to->cache, from->cache, same, err));
    if (from->matcher) TRY(gen_matcher_copy(to->matcher, from->matcher, err));
    return MLTF_OK;
}

mltf_status gen_rows_spread(gen_unit *u, mltf_err *err)
{
    for (size_t i = 1; i < u->n_rows; i++) {
        TRY(row_make(u, &u->rows[i], err));
        TRY(row_copy(&u->rows[i], &u->rows[0], true, err));
    }
    return MLTF_OK;
}

mltf_status gen_rows_reorder(gen_unit *u, const size_t *from, mltf_err *err)
{
    const size_t n = u->n_rows;
    const mltf_arena_mark mark = arena_save(&u->arena);
    gen_row *next = arena_calloc(&u->arena, n, sizeof *next);
    uint8_t *moved = arena_calloc(&u->arena, n, 1);
    if (!next || !moved) {
        arena_restore(&u->arena, mark);
        return mltf_fail_memory(err);
    }
    // the first that continues a row takes it over as it is, in place if it can
    for (size_t i = 0; i < n; i++) {
        if (from[i] != i) continue;
        next[i] = u->rows[i];
        moved[i] = 1;
    }
    for (size_t i = 0; i < n; i++) {
        if (next[i].cap || moved[from[i]]) continue;
        next[i] = u->rows[from[i]];
        moved[from[i]] = 1;
    }
    // the others get the memory of a row that nobody continues, and a copy
    mltf_status st = MLTF_OK;
    size_t spare = 0;
    for (size_t i = 0; i < n; i++) {
        if (next[i].cap) continue;
        while (moved[spare]) spare++;
        next[i] = u->rows[spare];
        moved[spare] = 1;
        size_t source = 0;
        while (source == i || next[source].cache != u->rows[from[i]].cache) source++;
        if (!st) st = row_copy(&next[i], &next[source], true, err);
    }
    memcpy(u->rows, next, n * sizeof *next);
    arena_restore(&u->arena, mark);
    return st;
}

/* ---- feeds --------------------------------------------------------------------------------- */

mltf_status gen_feed_add(gen_unit *u, arch_cache *cache, const int32_t *ids, size_t n,
                         bool all_logits, bool hidden, mltf_err *err)
{
    if (u->n_feeds == u->cap_feeds) {
        const size_t had = u->cap_feeds;
        if (!ARRAY_RESERVE(u->feeds, u->cap_feeds, had + 1)) return mltf_fail_memory(err);
        memset(u->feeds + had, 0, (u->cap_feeds - had) * sizeof *u->feeds);
    }
    gen_feed *f = &u->feeds[u->n_feeds];
    const size_t rows = all_logits ? n : 1;
    if (!array_resize(&f->logits, rows, u->vocab * sizeof *f->logits) ||
        (hidden && !array_resize(&f->states, n, u->hidden * sizeof *f->states)))
        return mltf_fail_memory(err);
    *f = (gen_feed){.cache = cache,
                    .ids = ids,
                    .n = n,
                    .all_logits = all_logits,
                    .hidden = hidden,
                    .logits = f->logits,
                    .states = f->states};
    u->n_feeds++;
    return MLTF_OK;
}

mltf_status gen_feed_row(gen_unit *u, gen_row *r, mltf_err *err)
{
    const size_t held = arch_cache_len(r->cache);
    TRY(gen_feed_add(u, r->cache, r->ids + held, r->n - held, false, false, err));
    if (!r->negative) return MLTF_OK;
    const size_t negative_held = arch_cache_len(r->negative);
    return gen_feed_add(u, r->negative, r->negative_ids + negative_held,
                        r->negative_n - negative_held, false, false, err);
}

void gen_guide(const gen_unit *u, float *scores, float *without)
{
    const float scale = (float)u->cfg.guidance_scale;
    gen_log_softmax(without, u->vocab);
    for (size_t i = 0; i < u->vocab; i++) scores[i] = scale * (scores[i] - without[i]) + without[i];
}

static bool feeds_done(const gen_unit *u)
{
    for (size_t i = 0; i < u->n_feeds; i++)
        if (u->feeds[i].done < u->feeds[i].n) return false;
    return true;
}

/* One forward pass over pieces of feeds that want the same kind of answer. */
typedef struct pass {
    gen_feed **feeds; /* [n] */
    size_t *take;     /* [n] tokens of each */
    size_t n, rows;
} pass;

static mltf_status run_pass(gen_batch *b, const pass *p, bool all_logits, bool hidden,
                            mltf_err *err)
{
    const arch_info *info = arch_model_info(b->model);
    size_t *start = malloc((p->n + 1) * sizeof *start);
    int32_t *ids = malloc(p->rows * sizeof *ids);
    arch_cache **caches = malloc(p->n * sizeof *caches);
    mltf_status st = start && ids && caches ? MLTF_OK : mltf_fail_memory(err);
    if (st) goto done;

    start[0] = 0;
    for (size_t i = 0; i < p->n; i++) {
        const gen_feed *f = p->feeds[i];
        memcpy(ids + start[i], f->ids + f->done, p->take[i] * sizeof *ids);
        start[i + 1] = start[i] + p->take[i];
        caches[i] = f->cache;
    }
    const arch_batch batch = {.n_seqs = p->n, .start = start, .ids = ids, .caches = caches};
    arch_output out = {0};
    const unsigned want =
        (all_logits ? ARCH_WANT_LOGITS : ARCH_WANT_LAST_LOGITS) | (hidden ? ARCH_WANT_HIDDEN : 0);
    st = arch_forward(b->session, &batch, want, &out, err);
    if (st) goto done;
    const size_t V = out.n_logits, H = info->hidden;
    if (V != info->vocab || (hidden && !out.hidden)) {
        st = mltf_fail(err, MLTF_INTERNAL, "the head gave %zu scores for a vocabulary of %zu", V,
                       info->vocab);
        goto done;
    }
    for (size_t i = 0; i < p->n; i++) {
        gen_feed *f = p->feeds[i];
        if (all_logits)
            memcpy(f->logits + f->done * V, out.logits + start[i] * V,
                   p->take[i] * V * sizeof(float));
        else if (f->done + p->take[i] == f->n)
            memcpy(f->logits, out.logits + i * V, V * sizeof(float));
        if (hidden)
            memcpy(f->states + f->done * H, out.hidden + start[i] * H,
                   p->take[i] * H * sizeof(float));
        f->done += p->take[i];
    }
done:
    free(start);
    free(ids);
    free(caches);
    return st;
}

/* ---- the life of a unit -------------------------------------------------------------------- */

static void unit_free(gen_unit *u)
{
    if (!u) return;
    if (u->mode && u->mode->release) u->mode->release(u);
    for (size_t i = 0; i < u->n_rows; i++) row_release(&u->rows[i]);
    for (size_t i = 0; i < u->cap_feeds; i++) {
        free(u->feeds[i].logits);
        free(u->feeds[i].states);
    }
    free(u->feeds);
    free(u->rows);
    gen_stop_release(&u->stop);
    arena_release(&u->arena);
    free(u);
}

static void unit_fail(gen_unit *u, const mltf_err *err)
{
    u->done = u->failed = true;
    u->err = *err;
}

static const gen_mode *mode_of(const gen_unit *u)
{
    const gen_config *c = &u->cfg;
    if (c->force_words_ids.p || gen_config_has_groups(c)) return &gen_mode_group_beam;
    if (c->num_beams > 1) return &gen_mode_beam;
    if (!c->do_sample && c->penalty_alpha > 0 && c->top_k > 1) return &gen_mode_contrastive;
    return &gen_mode_sample;
}

/* max_position_embeddings, under the names that transformers' configs map to it; GEN_NONE: no such key. */
static int64_t max_position_embeddings(const json *config)
{
    static const char *const names[] = {"max_position_embeddings", "n_positions", NULL};
    for (const char *const *k = names; *k; k++)
        if (json_is(json_get(config, *k), JSON_INT))
            return json_int(json_get(config, *k), GEN_NONE);
    return GEN_NONE;
}

/* _prepare_generated_length() and _validate_generated_length() of generation/utils.py. */
static mltf_status prepare_lengths(gen_unit *u, const arch_info *info, mltf_err *err)
{
    gen_config *c = &u->cfg;
    const int64_t prompt = (int64_t)u->n_prompt;
    if (c->max_new_tokens != GEN_NONE) {
        c->max_length = __builtin_add_overflow(c->max_new_tokens, prompt, &c->max_length)
                            ? INT64_MAX
                            : c->max_length;
    } else if (!gen_config_from_call(c, GEN_F_max_length) && c->max_length == 20) {
        c->max_length = 20 + prompt; // the library's default counts new tokens
        const int64_t bound = max_position_embeddings(info->config);
        if (bound != GEN_NONE && bound < c->max_length) c->max_length = bound;
    }
    if (c->min_new_tokens != GEN_NONE)
        c->min_length = __builtin_add_overflow(c->min_new_tokens, prompt, &c->min_length)
                            ? INT64_MAX
                            : c->min_length;
    if (prompt >= c->max_length)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "Input length of %s is %lld, but `max_length` is set to %lld. This can lead to "
            "unexpected "
            "behavior. You should consider increasing `max_length` or, better yet, setting "
            "`max_new_tokens`.",
            info->kind == ARCH_ENCODER_DECODER ? "decoder_input_ids" : "input_ids",
            (long long)prompt, (long long)c->max_length);
    return MLTF_OK;
}

/* The tokens that stand before the first generated one, into rows[0]. */
static mltf_status prepare_prompt(gen_unit *u, const arch_info *info, mltf_err *err)
{
    const gen_request *req = u->req;
    gen_row *r = &u->rows[0];
    if (info->kind == ARCH_ENCODER_DECODER) {
        const gen_ids start = u->cfg.decoder_start_token_id;
        const int64_t first = start.n ? start.p[0] : u->cfg.bos_token_id;
        if (first == GEN_NONE)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "`decoder_start_token_id` or `bos_token_id` has to be defined for "
                             "encoder-decoder generation.");
        const bool keep = req->n_decoder && req->decoder_ids[0] == first;
        if (!keep) TRY(gen_row_push(r, (int32_t)first, err));
        for (size_t i = 0; i < req->n_decoder; i++) TRY(gen_row_push(r, req->decoder_ids[i], err));
        u->encoder_ids = (gen_ids){req->ids, req->n};
    } else {
        if (req->n == 0) {
            if (u->cfg.bos_token_id == GEN_NONE)
                return mltf_fail(
                    err, MLTF_INVALID_INPUT,
                    "`bos_token_id` has to be defined when no `input_ids` are provided.");
            TRY(gen_row_push(r, (int32_t)u->cfg.bos_token_id, err));
        }
        for (size_t i = 0; i < req->n; i++) TRY(gen_row_push(r, req->ids[i], err));
        int32_t *copy = arena_calloc(&u->arena, r->n, sizeof *copy);
        if (!copy) return mltf_fail_memory(err);
        memcpy(copy, r->ids, r->n * sizeof *copy);
        u->encoder_ids = (gen_ids){copy, r->n};
    }
    u->n_prompt = r->n;
    if (r->negative) {
        // the unconditional context: what was given, or only the last token of the prompt
        TRY(row_reserve(r, r->n + req->n_negative + 64, true, err));
        r->negative_n = 0;
        for (size_t i = 0; i < req->n_negative; i++)
            r->negative_ids[r->negative_n++] = req->negative_ids[i];
        if (!req->n_negative) r->negative_ids[r->negative_n++] = r->ids[r->n - 1];
    }
    return MLTF_OK;
}

static mltf_status unit_allowed(void *user, const int32_t *ids, size_t n, uint8_t *allowed,
                                size_t vocab, mltf_err *err)
{
    gen_unit *u = user;
    if (u->req->prefix_allowed)
        TRY(u->req->prefix_allowed(u->req->prefix_user, ids, n, allowed, vocab, err));
    if (!u->req->constraint) return MLTF_OK;
    if (!u->req->prefix_allowed)
        return gen_matcher_allowed(u->current->matcher, allowed, vocab, u->cfg.eos_token_id, err);
    uint8_t *both = calloc(vocab, 1);
    if (!both) return mltf_fail_memory(err);
    const mltf_status st =
        gen_matcher_allowed(u->current->matcher, both, vocab, u->cfg.eos_token_id, err);
    for (size_t i = 0; i < vocab; i++) allowed[i] &= both[i];
    free(both);
    return st;
}

mltf_status gen_check_model(const arch_info *info, mltf_err *err)
{
    if (info->kind == ARCH_ENCODER)
        return mltf_fail(err, MLTF_INVALID_INPUT, "a model of class %s does not generate text",
                         info->architecture);
    if (info->head != ARCH_HEAD_LM)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "a model of class %s has no language-model head to generate with",
                         info->architecture);
    return MLTF_OK;
}

static mltf_status unit_prepare(gen_unit *u, mltf_err *err)
{
    const arch_info *info = arch_model_info(u->model);
    gen_config *c = &u->cfg;
    TRY(gen_config_validate(c, err));
    TRY(gen_check_model(info, err));
    if (info->kind == ARCH_ENCODER_DECODER && !isnan(c->guidance_scale) && c->guidance_scale != 1)
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "`guidance_scale` needs a decoder-only model, which a %s is not",
                         info->architecture);
    u->vocab = info->vocab;
    u->hidden = info->hidden;
    u->seed = c->seed == GEN_NONE ? gen_random_seed() : (uint64_t)c->seed;
    u->started = seconds_now();
    u->deadline = u->req->deadline > 0 ? u->req->deadline : INFINITY;
    if (!isnan(c->max_time) && u->started + c->max_time < u->deadline)
        u->deadline = u->started + c->max_time;
    if (c->pad_token_id == GEN_NONE && c->eos_token_id.n) c->pad_token_id = c->eos_token_id.p[0];

    u->mode = mode_of(u);
    u->n_rows = (size_t)(c->num_beams > 1 ? c->num_beams : c->num_return_sequences);
    u->rows = calloc(u->n_rows, sizeof *u->rows);
    if (!u->rows) {
        u->n_rows = 0;
        return mltf_fail_memory(err);
    }
    TRY(row_make(u, &u->rows[0], err));
    TRY(prepare_prompt(u, info, err));
    for (size_t i = 0; i < u->n_prompt; i++)
        if (u->rows[0].ids[i] < 0 || (size_t)u->rows[0].ids[i] >= info->vocab)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "token id %d is outside the model's vocabulary of %zu tokens",
                             u->rows[0].ids[i], info->vocab);
    TRY(prepare_lengths(u, info, err));
    TRY(gen_stop_init(&u->stop, &c->stop_strings, u->req->tk, err));
    const bool gated = u->req->prefix_allowed || u->req->constraint;
    const gen_process_facts facts = {.cfg = c,
                                     .vocab = u->vocab,
                                     .n_prompt = u->n_prompt,
                                     .encoder_ids = u->encoder_ids,
                                     .prefix_allowed = gated ? unit_allowed : NULL,
                                     .prefix_user = u};
    TRY(gen_processors_init(&u->procs, &facts, &u->arena, err));
    return u->mode->start(u, err);
}

mltf_status gen_process(gen_unit *u, gen_row *row, float *scores, const int32_t *ids, size_t n,
                        mltf_err *err)
{
    u->current = row;
    TRY(gen_processors_run(&u->procs, scores, ids, n, err));
    if (u->req->on_scores)
        u->req->on_scores(u->req->scores_user, (size_t)(row - u->rows), n - u->n_prompt, scores,
                          u->vocab);
    return MLTF_OK;
}

mltf_status gen_needs_no_state(const gen_unit *u, const char *mode, mltf_err *err)
{
    const arch_info *info = arch_model_info(u->model);
    if (!info->stateful) return MLTF_OK;
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "%s is not supported with stateful models, such as %s", mode,
                     info->architecture);
}

bool gen_is_eos(const gen_unit *u, int32_t id)
{
    for (size_t i = 0; i < u->cfg.eos_token_id.n; i++)
        if (u->cfg.eos_token_id.p[i] == id) return true;
    return false;
}

mltf_status gen_ended(gen_unit *u, const int32_t *ids, size_t n, bool *ended, gen_finish *why,
                      size_t *stop_string, mltf_err *err)
{
    *ended = true;
    *stop_string = SIZE_MAX;
    if (gen_is_eos(u, ids[n - 1])) {
        *why = GEN_FINISH_STOP;
        return MLTF_OK;
    }
    TRY(gen_stop_check(&u->stop, ids, n, stop_string, err));
    if (*stop_string != SIZE_MAX)
        *why = GEN_FINISH_STOP_STRING;
    else if ((int64_t)n >= u->cfg.max_length)
        *why = GEN_FINISH_LENGTH;
    else if (seconds_now() > u->deadline)
        *why = GEN_FINISH_TIME;
    else
        *ended = false;
    return MLTF_OK;
}

mltf_status gen_sequence_set(gen_unit *u, gen_sequence *out, const int32_t *ids, size_t n,
                             mltf_err *err)
{
    out->ids = arena_calloc(&u->arena, n ? n : 1, sizeof *out->ids);
    if (!out->ids) return mltf_fail_memory(err);
    memcpy(out->ids, ids, n * sizeof *ids);
    out->n = n;
    out->n_prompt = u->n_prompt;
    return MLTF_OK;
}

/* ---- rounds -------------------------------------------------------------------------------- */

mltf_status gen_batch_new(gen_batch **out, arch_session *s, mltf_err *err)
{
    *out = NULL;
    gen_batch *b = calloc(1, sizeof *b);
    if (!b) return mltf_fail_memory(err);
    b->session = s;
    b->model = arch_session_model(s);
    *out = b;
    return MLTF_OK;
}

void gen_batch_free(gen_batch *b)
{
    if (!b) return;
    for (size_t i = 0; i < b->n_units; i++) unit_free(b->units[i]);
    free(b->units);
    free(b);
}

mltf_status gen_batch_add(gen_batch *b, const gen_request *req, size_t *number, mltf_err *err)
{
    size_t at = 0;
    while (at < b->n_units && b->units[at]) at++;
    if (at == b->n_units) {
        if (!array_reserve(&b->units, &b->n_units, at + 1, sizeof(gen_unit *)))
            return mltf_fail_memory(err);
        memset(b->units + at, 0, (b->n_units - at) * sizeof(gen_unit *));
    }
    gen_unit *u = calloc(1, sizeof *u);
    if (!u) return mltf_fail_memory(err);
    u->req = req;
    u->cfg = *req->cfg;
    u->model = b->model;
    u->session = b->session;
    u->number = at;
    u->arrival = b->arrivals++;
    const mltf_status st = unit_prepare(u, err);
    if (st) {
        unit_free(u);
        return st;
    }
    b->units[at] = u;
    *number = at;
    return MLTF_OK;
}

size_t gen_batch_active(const gen_batch *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_units; i++) n += b->units[i] && !b->units[i]->done;
    return n;
}

bool gen_batch_done(const gen_batch *b, size_t number)
{
    return number < b->n_units && b->units[number] && b->units[number]->done;
}

void gen_batch_drop(gen_batch *b, size_t number)
{
    if (number >= b->n_units) return;
    unit_free(b->units[number]);
    b->units[number] = NULL;
}

/* End a request early with what it has: one sequence a row. */
static mltf_status unit_stop(gen_unit *u, gen_finish why, mltf_err *err)
{
    const size_t n = (size_t)u->cfg.num_return_sequences;
    u->seqs = arena_calloc(&u->arena, n, sizeof *u->seqs);
    if (!u->seqs) return mltf_fail_memory(err);
    for (size_t i = 0; i < n; i++) {
        const gen_row *r = u->rows[i].n ? &u->rows[i] : &u->rows[0];
        TRY(gen_sequence_set(u, &u->seqs[i], r->ids, r->n, err));
        u->seqs[i].finish = r->finished ? r->finish : why;
        u->seqs[i].stop_string = r->finished ? r->stop_string : SIZE_MAX;
    }
    u->n_seqs = n;
    u->done = true;
    return MLTF_OK;
}

/* Does what a unit wants to feed have positions in the model? Said before the pass, which others share. */
static mltf_status check_positions(const gen_unit *u, mltf_err *err)
{
    const arch_info *info = arch_model_info(u->model);
    const bool both = info->kind == ARCH_ENCODER_DECODER;
    const size_t bound = both ? info->max_target_positions : info->max_positions;
    if (both && !u->req->encode && u->req->n > info->max_positions)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "the text has %zu tokens, and the model has positions for %zu", u->req->n,
                         info->max_positions);
    for (size_t i = 0; i < u->n_feeds; i++) {
        const size_t n = arch_cache_len(u->feeds[i].cache) + u->feeds[i].n;
        if (n <= bound) continue;
        if (u->n_prompt > bound || n <= u->n_prompt)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "the prompt has %zu tokens, and the model has positions for %zu", n,
                             bound);
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "the model has positions for %zu tokens, and they are used up: %zu by the "
                         "prompt, %zu by what was generated. Ask for fewer new tokens, or shorten "
                         "the prompt",
                         bound, u->n_prompt, bound - u->n_prompt);
    }
    return MLTF_OK;
}

/* Encoders of the requests that just came, all in one pass. */
static mltf_status encode_new(gen_batch *b, mltf_err *err)
{
    if (arch_model_info(b->model)->kind != ARCH_ENCODER_DECODER) return MLTF_OK;
    size_t n = 0, rows = 0;
    for (size_t i = 0; i < b->n_units; i++) {
        gen_unit *u = b->units[i];
        if (!u || u->done || u->encoded) continue;
        if (u->req->encode) {
            mltf_err local = {0};
            u->encoded = true;
            if (u->req->encode(u->req->encode_user, b->session, u->rows[0].cache, &local))
                unit_fail(u, &local);
            continue;
        }
        n++;
        rows += u->req->n;
    }
    if (n == 0) return MLTF_OK;
    size_t *start = calloc(n + 1, sizeof *start);
    int32_t *ids = calloc(rows + 1, sizeof *ids);
    arch_cache **caches = calloc(n, sizeof *caches);
    mltf_status st = start && ids && caches ? MLTF_OK : mltf_fail_memory(err);
    size_t k = 0;
    for (size_t i = 0; i < b->n_units && !st; i++) {
        gen_unit *u = b->units[i];
        if (!u || u->done || u->encoded) continue;
        if (u->req->n) memcpy(ids + start[k], u->req->ids, u->req->n * sizeof *ids);
        start[k + 1] = start[k] + u->req->n;
        caches[k++] = u->rows[0].cache;
        u->encoded = true;
    }
    if (!st) {
        const arch_batch batch = {.n_seqs = n, .start = start, .ids = ids, .caches = caches};
        arch_output out = {0};
        st = arch_encode(b->session, &batch, 0, &out, err);
    }
    free(start);
    free(ids);
    free(caches);
    return st;
}

/* The running units into list[n_units], who came first first: places are used again, and a long prompt in a high
 * place must not wait for all that come after it. */
static size_t units_by_arrival(const gen_batch *b, gen_unit **list)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_units; i++) {
        gen_unit *u = b->units[i];
        if (!u || u->done || !u->planned) continue;
        size_t at = n++;
        for (; at > 0 && list[at - 1]->arrival > u->arrival; at--) list[at] = list[at - 1];
        list[at] = u;
    }
    return n;
}

/* All feeds that want this kind of answer, as much of them as fits. */
static mltf_status run_kind(gen_batch *b, bool all_logits, bool hidden, mltf_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_units; i++) n += b->units[i] ? b->units[i]->n_feeds : 0;
    if (n == 0) return MLTF_OK;
    pass p = {.feeds = calloc(n, sizeof *p.feeds), .take = calloc(n, sizeof *p.take)};
    gen_unit **units = calloc(b->n_units, sizeof *units);
    mltf_status st = p.feeds && p.take && units ? MLTF_OK : mltf_fail_memory(err);
    size_t budget = PREFILL_ROWS;
    const size_t n_units = st ? 0 : units_by_arrival(b, units);
    for (size_t i = 0; i < n_units; i++) {
        gen_unit *u = units[i];
        for (size_t k = 0; k < u->n_feeds; k++) {
            gen_feed *f = &u->feeds[k];
            const size_t left = f->n - f->done;
            if (left == 0 || f->all_logits != all_logits || f->hidden != hidden) continue;
            size_t take = left;
            if (take > 1 && !arch_model_info(b->model)
                                 ->stepwise) { // a running answer's single token always goes
                if (budget == 0) continue;
                if (take > budget) take = budget;
                if (u->cfg.prefill_chunk_size > 0 && take > (size_t)u->cfg.prefill_chunk_size)
                    take = (size_t)u->cfg.prefill_chunk_size;
                budget -= take;
            }
            p.feeds[p.n] = f;
            p.take[p.n++] = take;
            p.rows += take;
        }
    }
    if (!st && p.n) st = run_pass(b, &p, all_logits, hidden, err);
    free(p.feeds);
    free(p.take);
    free(units);
    return st;
}

mltf_status gen_batch_step(gen_batch *b, mltf_err *err)
{
    mltf_err local = {0};
    for (size_t i = 0; i < b->n_units; i++) {
        gen_unit *u = b->units[i];
        if (!u || u->done) continue;
        mltf_status st = MLTF_OK;
        if (u->req->cancel && *u->req->cancel)
            st = unit_stop(u, GEN_FINISH_CANCELLED, &local);
        else if (seconds_now() > u->deadline && u->deadline == u->req->deadline)
            st = unit_stop(u, GEN_FINISH_TIME, &local);
        if (st) unit_fail(u, &local);
    }
    for (size_t i = 0; i < b->n_units; i++) {
        gen_unit *u = b->units[i];
        if (!u || u->done || u->planned) continue;
        u->n_feeds = 0;
        u->planned = true;
        if (u->mode->plan(u, &local) || check_positions(u, &local)) unit_fail(u, &local);
    }
    TRY(encode_new(b, err));
    for (int kind = 0; kind < 4; kind++) TRY(run_kind(b, kind & 1, kind >> 1, err));
    for (size_t i = 0; i < b->n_units; i++) {
        gen_unit *u = b->units[i];
        if (!u || u->done || !feeds_done(u)) continue;
        u->planned = false;
        if (u->mode->advance(u, &local)) unit_fail(u, &local);
    }
    return MLTF_OK;
}

/* ---- results ------------------------------------------------------------------------------- */

static mltf_status copy_sequences(gen_sequence *to, const gen_unit *u, mltf_arena *arena,
                                  mltf_err *err)
{
    for (size_t i = 0; i < u->n_seqs; i++) {
        const gen_sequence *s = &u->seqs[i];
        const size_t made = s->n - s->n_prompt;
        to[i] = *s;
        to[i].ids = arena_calloc(arena, s->n + 1, sizeof *s->ids);
        if (!to[i].ids) return mltf_fail_memory(err);
        memcpy(to[i].ids, s->ids, s->n * sizeof *s->ids);
        if (s->logprobs) {
            to[i].logprobs = arena_calloc(arena, made + 1, sizeof *s->logprobs);
            if (!to[i].logprobs) return mltf_fail_memory(err);
            memcpy(to[i].logprobs, s->logprobs, made * sizeof *s->logprobs);
        }
        if (s->top) {
            const size_t n = made * u->req->top_logprobs;
            to[i].top = arena_calloc(arena, n + 1, sizeof *s->top);
            if (!to[i].top) return mltf_fail_memory(err);
            memcpy(to[i].top, s->top, n * sizeof *s->top);
        }
    }
    return MLTF_OK;
}

mltf_status gen_batch_take(gen_batch *b, size_t number, gen_result *out, mltf_err *err)
{
    *out = (gen_result){0};
    if (!gen_batch_done(b, number))
        return mltf_fail(err, MLTF_INVALID_INPUT, "request %zu is not done", number);
    gen_unit *u = b->units[number];
    mltf_status st = MLTF_OK;
    if (u->failed) {
        st = mltf_fail(err, u->err.status, "%s", u->err.msg);
    } else {
        out->n = u->n_seqs;
        out->seqs = arena_calloc(&out->arena, u->n_seqs, sizeof *out->seqs);
        st = out->seqs ? copy_sequences(out->seqs, u, &out->arena, err) : mltf_fail_memory(err);
        if (st) gen_result_release(out);
    }
    gen_batch_drop(b, number);
    return st;
}

void gen_result_release(gen_result *r)
{
    arena_release(&r->arena);
    *r = (gen_result){0};
}

mltf_status gen_generate(arch_session *s, const gen_request *reqs, size_t n, gen_result *out,
                         mltf_err *err)
{
    *out = (gen_result){0};
    gen_batch *b = NULL;
    size_t *numbers = calloc(n + 1, sizeof *numbers);
    mltf_status st = numbers ? gen_batch_new(&b, s, err) : mltf_fail_memory(err);
    for (size_t i = 0; i < n && !st; i++)
        st = gen_batch_add(b, &reqs[i], &numbers[i], err); // numbers are 0, 1, 2 …
    while (!st && gen_batch_active(b)) st = gen_batch_step(b, err);
    for (size_t i = 0; i < n && !st; i++) {
        const gen_unit *u = b->units[numbers[i]];
        if (u->failed) st = mltf_fail(err, u->err.status, "%s", u->err.msg);
        out->n += u->n_seqs;
    }
    if (!st) {
        out->seqs = arena_calloc(&out->arena, out->n + 1, sizeof *out->seqs);
        if (!out->seqs) st = mltf_fail_memory(err);
        size_t at = 0;
        for (size_t i = 0; i < n && !st; i++) {
            const gen_unit *u = b->units[numbers[i]];
            st = copy_sequences(out->seqs + at, u, &out->arena, err);
            at += u->n_seqs;
        }
    }
    if (st) gen_result_release(out);
    gen_batch_free(b);
    free(numbers);
    return st;
}
