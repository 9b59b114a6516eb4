/* Sessions: a forward pass or an encoder's over a batch, and passes that must be computed anew. */
#include <stdlib.h>
#include <string.h>

#include "arch/arch_internal.h"
#include "base/array.h"

mltf_status arch_session_new(arch_session **out, const arch_model *m, mltf_err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return mltf_fail_memory(err);
    (*out)->m = m;
    nn_ctx_init(&(*out)->cx, m->pool);
    return MLTF_OK;
}

const arch_model *arch_session_model(const arch_session *s)
{
    return s->m;
}

static void drop_memory(arch_session *s)
{
    for (size_t i = 0; i < s->n_memory; i++) nn_memory_release(s->memory[i]);
    s->n_memory = 0;
}

void arch_session_free(arch_session *s)
{
    if (!s) return;
    drop_memory(s);
    nn_ctx_release(&s->cx);
    arena_release(&s->kept_own);
    free(s->pos);
    free(s->caches);
    free(s->memory);
    free(s->all_hidden);
    free(s);
}

void arch_session_tap(arch_session *s, arch_tap_fn fn, void *user)
{
    s->cx.tap = fn;
    s->cx.tap_user = user;
}

static mltf_status check_batch(const arch_model *m, const arch_batch *b, bool encode, mltf_err *err)
{
    if (b->n_seqs == 0 || b->start[0] != 0)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "a batch needs at least one sequence, starting at row 0");
    for (size_t i = 0; i < b->n_seqs; i++)
        if (b->start[i + 1] < b->start[i] || b->start[i + 1] > (size_t)INT32_MAX)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "sequence %zu of the batch has no valid row range", i);
    if (b->start[b->n_seqs] == 0)
        return mltf_fail(err, MLTF_INVALID_INPUT, "the batch holds no token");
    if (!b->ids && !b->input_embeds)
        return mltf_fail(err, MLTF_INVALID_INPUT, "the batch holds no ids");
    if (b->caches && !encode && b->attention_mask)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "an attention mask cannot be combined with caches: leave padding out");
    for (size_t i = 0; b->caches && i < b->n_seqs; i++)
        if (b->caches[i]->m != m)
            return mltf_fail(err, MLTF_INVALID_INPUT, "cache %zu belongs to another model", i);
    return MLTF_OK;
}

/* Session arrays for this batch; caches reserved. */
static mltf_status prepare(arch_session *s, const arch_batch *b, bool encode, mltf_err *err)
{
    const size_t T = b->start[b->n_seqs];
    drop_memory(s);
    nn_begin(&s->cx);
    s->n_hidden = 0;
    if (!ARRAY_RESERVE(s->pos, s->pos_cap, T) ||
        !ARRAY_RESERVE(s->caches, s->caches_cap, b->n_seqs) ||
        !ARRAY_RESERVE(s->memory, s->memory_cap, b->n_seqs))
        return mltf_fail_memory(err);
    for (size_t i = 0; b->caches && i < b->n_seqs; i++) {
        arch_cache *c = b->caches[i];
        const size_t rows = b->start[i + 1] - b->start[i];
        s->caches[i] = &c->kv;
        if (!encode && s->m->cache_shape.layers)
            TRY(nn_cache_reserve(&c->kv, c->kv.len + rows, err));
    }
    return MLTF_OK;
}

static arch_run make_run(arch_session *s, const arch_batch *b, unsigned want, arch_output *out)
{
    *out = (arch_output){0};
    s->cx.want_probs = want & ARCH_WANT_ATTENTIONS;
    return (arch_run){.s = s,
                      .m = s->m,
                      .impl = s->m->impl,
                      .cx = &s->cx,
                      .batch = b,
                      .want = want,
                      .seqs = {.n = b->n_seqs,
                               .start = b->start,
                               .rows = b->start[b->n_seqs],
                               .key_mask = b->attention_mask},
                      .out = out};
}

/* The same failure in a user's words where a sequence is longer than the model's positions. */
static void explain_length(arch_session *s, const arch_batch *b, size_t bound)
{
    if (s->cx.err.status != MLTF_INVALID_INPUT || b->position_ids) return;
    for (size_t i = 0; i < b->n_seqs; i++) {
        const size_t n = b->start[i + 1] - b->start[i] + (b->caches ? b->caches[i]->kv.len : 0);
        if (n <= bound) continue;
        mltf_fail(&s->cx.err, MLTF_INVALID_INPUT,
                  "a text of %zu tokens is too long for this model, which has positions for %zu", n,
                  bound);
        return;
    }
}

/* What the context holds, as output; its failure, if any. `bound`: positions that the model has. */
static mltf_status finish(arch_session *s, const arch_batch *b, size_t bound, arch_output *out,
                          mltf_err *err)
{
    nn_ctx *cx = &s->cx;
    if (!nn_ok(cx)) {
        explain_length(s, b, bound);
        *out = (arch_output){0};
        if (err) *err = cx->err;
        return cx->err.status;
    }
    out->all_hidden = s->n_hidden ? s->all_hidden : NULL;
    out->n_all = s->n_hidden;
    if (cx->n_probs) {
        arch_attention *a = arena_calloc(&cx->keep, cx->n_probs, sizeof *a);
        if (!a) return mltf_fail_memory(err);
        for (size_t i = 0; i < cx->n_probs; i++) {
            const nn_probs *p = &cx->probs[i];
            a[i] = (arch_attention){p->kind, p->layer, p->seq, p->heads, p->tq, p->tk, p->p};
        }
        out->attentions = a;
        out->n_attentions = cx->n_probs;
    }
    return MLTF_OK;
}

/* ------------------------------------------------------------------ sequences that must be computed anew */

/* How many of the last tokens that a sequence's cache holds. */
static size_t again(const arch_model *m, const arch_batch *b, size_t seq)
{
    const size_t past = b->caches[seq]->kv.len, next = past + (b->start[seq + 1] - b->start[seq]);
    if (m->reread) return past < m->reread ? past : m->reread;
    return past <= m->recompute_past && next > m->recompute_past ? past : 0;
}

static bool needs_again(const arch_model *m, const arch_batch *b)
{
    if (!b->caches || !b->ids) return false;
    for (size_t i = 0; i < b->n_seqs; i++)
        if (again(m, b, i)) return true;
    return m->asks;
}

static mltf_status remember_ids(const arch_model *m, const arch_batch *b, mltf_err *err)
{
    if (!b->caches || !b->ids || !(m->recompute_past || m->reread)) return MLTF_OK;
    for (size_t i = 0; i < b->n_seqs; i++) {
        arch_cache *c = b->caches[i];
        const size_t rows = b->start[i + 1] - b->start[i];
        if (!m->reread && c->kv.len > m->recompute_past) continue;
        if (!ARRAY_RESERVE(c->ids, c->ids_cap, c->kv.len + rows)) return mltf_fail_memory(err);
        memcpy(c->ids + c->kv.len, b->ids + b->start[i], rows * sizeof *c->ids);
    }
    return MLTF_OK;
}

/* Keep the last rows of each sequence of [T, cols] buffers, as if only they had been computed. */
static void keep_tails(float *x, size_t cols, const size_t *from, const size_t *to, size_t n_seqs)
{
    for (size_t i = 0; x && i < n_seqs; i++) {
        const size_t rows = to[i + 1] - to[i];
        memmove(x + to[i] * cols, x + (from[i + 1] - rows) * cols, rows * cols * sizeof *x);
    }
}

/* ------------------------------------------------------------------ forward */

static mltf_status forward(arch_session *s, const arch_batch *b, unsigned want, arch_output *out,
                           mltf_err *err)
{
    const arch_model *m = s->m;
    TRY(prepare(s, b, false, err));
    arch_run r = make_run(s, b, want, out);
    if (b->caches) {
        if (m->cache_shape.layers) r.seqs.caches = s->caches;
        for (size_t i = 0; m->cross_shape.layers && i < b->n_seqs; i++) {
            if (!b->caches[i]->memory)
                return mltf_fail(err, MLTF_INVALID_INPUT,
                                 "sequence %zu has not been through the encoder", i);
            s->memory[i] = nn_memory_retain(b->caches[i]->memory);
            s->n_memory = i + 1;
        }
        if (m->cross_shape.layers) r.seqs.memory = s->memory;
    }
    arch_positions(&r, 0);
    m->family->forward(&r);
    TRY(finish(s, b, r.seqs.memory ? m->info.max_target_positions : m->info.max_positions, out,
               err));
    TRY(remember_ids(m, b, err));
    for (size_t i = 0; r.seqs.caches && i < b->n_seqs; i++)
        nn_cache_advance(&b->caches[i]->kv, b->start[i + 1] - b->start[i]);
    return MLTF_OK;
}

/* The same batch with the tokens that are computed again in front of each sequence, and the row that asks for the next
 * one behind it. */
static mltf_status forward_again(arch_session *s, const arch_batch *b, unsigned want,
                                 arch_output *out, mltf_err *err)
{
    const arch_model *m = s->m;
    const size_t n = b->n_seqs, asked = m->asks ? 1 : 0;
    size_t *start = calloc(n + 1, sizeof *start);
    if (!start) return mltf_fail_memory(err);
    for (size_t i = 0; i < n; i++)
        start[i + 1] = start[i] + again(m, b, i) + (b->start[i + 1] - b->start[i]) + asked;
    int32_t *ids = malloc(start[n] * sizeof *ids);
    if (!ids) {
        free(start);
        return mltf_fail_memory(err);
    }
    for (size_t i = 0; i < n; i++) {
        arch_cache *c = b->caches[i];
        const size_t rows = b->start[i + 1] - b->start[i], old = again(m, b, i);
        if (old) memcpy(ids + start[i], c->ids + c->kv.len - old, old * sizeof *ids);
        memcpy(ids + start[i] + old, b->ids + b->start[i], rows * sizeof *ids);
        if (asked) ids[start[i + 1] - 1] = m->ask;
        nn_cache_truncate(&c->kv, c->kv.len - old);
    }
    const arch_batch all = {.n_seqs = n, .start = start, .ids = ids, .caches = b->caches};
    const mltf_status st = forward(s, &all, want, out, err);
    for (size_t i = 0; !st && asked && i < n; i++)
        nn_cache_truncate(&b->caches[i]->kv, b->caches[i]->kv.len - 1);
    if (!st) {
        keep_tails(out->hidden, out->n_hidden, start, b->start, n);
        for (size_t l = 0; l < out->n_all; l++)
            keep_tails(out->all_hidden[l], m->info.hidden, start, b->start, n);
        if (out->logit_rows == start[n]) {
            keep_tails(out->logits, out->n_logits, start, b->start, n);
            out->logit_rows = b->start[n];
        }
    }
    free(ids);
    free(start);
    return st;
}

mltf_status arch_forward(arch_session *s, const arch_batch *b, unsigned want, arch_output *out,
                         mltf_err *err)
{
    TRY(check_batch(s->m, b, false, err));
    return needs_again(s->m, b) ? forward_again(s, b, want, out, err)
                                : forward(s, b, want, out, err);
}

mltf_status arch_encode(arch_session *s, const arch_batch *b, unsigned want, arch_output *out,
                        mltf_err *err)
{
    const arch_model *m = s->m;
    if (!m->family->encode)
        return mltf_fail(err, MLTF_INVALID_INPUT, "%s has no encoder to run apart",
                         m->info.architecture);
    if (!b->caches)
        return mltf_fail(err, MLTF_INVALID_INPUT, "the encoder needs caches to leave its keys in");
    TRY(check_batch(m, b, true, err));
    TRY(prepare(s, b, true, err));
    arch_run r = make_run(s, b, want, out);
    TRY(arch_run_memory(&r, err));
    arch_positions(&r, 0);
    m->family->encode(&r);
    TRY(finish(s, b, m->info.max_positions, out, err));
    for (size_t i = 0; i < b->n_seqs; i++) {
        nn_memory_release(b->caches[i]->memory);
        b->caches[i]->memory = nn_memory_retain(s->memory[i]);
    }
    return MLTF_OK;
}
