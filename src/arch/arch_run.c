/* What families call in a forward pass: positions, embeddings, the hidden states that are kept. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch_internal.h"
#include "base/array.h"

void arch_positions(arch_run *r, size_t offset)
{
    int32_t *pos = r->s->pos;
    r->seqs.pos = pos;
    if (r->batch->position_ids) {
        for (size_t t = 0; t < r->seqs.rows; t++) {
            pos[t] = r->batch->position_ids[t];
            if (pos[t] < 0)
                nn_fail(r->cx, MLTF_INVALID_INPUT, "position %d is negative", (int)pos[t]);
        }
        return;
    }
    for (size_t s = 0; s < r->seqs.n; s++)
        for (size_t t = r->seqs.start[s]; t < r->seqs.start[s + 1]; t++)
            pos[t] = (int32_t)(nn_past(&r->seqs, s) + (t - r->seqs.start[s]) + offset);
}

void arch_positions_after_padding(arch_run *r, int64_t pad)
{
    if (r->batch->position_ids || !r->batch->ids) {
        arch_positions(r, (size_t)(pad + 1));
        return;
    }
    for (size_t s = 0; s < r->seqs.n; s++) {
        int64_t next = pad + 1 + (int64_t)nn_past(&r->seqs, s);
        for (size_t t = r->seqs.start[s]; t < r->seqs.start[s + 1]; t++)
            r->s->pos[t] = (int32_t)(r->batch->ids[t] == pad ? pad : next++);
    }
}

float *arch_embed_tokens(arch_run *r, const nn_embed_w *w)
{
    float *x = nn_f32(r->cx, r->seqs.rows, w->w.K);
    if (r->batch->input_embeds)
        nn_copy(r->cx, x, r->batch->input_embeds, r->seqs.rows * w->w.K);
    else
        nn_embed(r->cx, x, r->batch->ids, w, r->seqs.rows);
    return x;
}

void arch_add_types(arch_run *r, float *x, const nn_embed_w *w)
{
    if (!w->w.data) return;
    if (r->batch->type_ids)
        nn_embed_add(r->cx, x, r->batch->type_ids, w, r->seqs.rows);
    else
        nn_embed_add_row(r->cx, x, 0, w, r->seqs.rows);
}

void arch_add_sines(float *x, size_t pos, size_t H)
{
    const size_t half = H / 2;
    const float step = (float)(log(10000.0) / (double)(half - 1));
    for (size_t i = 0; i < half; i++) {
        const float angle = (float)pos * expf((float)i * -step);
        x[i] += sinf(angle);
        x[half + i] += cosf(angle);
    }
}

void arch_keep_hidden(arch_run *r, const float *x, size_t cols)
{
    if (!(r->want & ARCH_WANT_ALL_HIDDEN) || !nn_ok(r->cx)) return;
    arch_session *s = r->s;
    if (!ARRAY_RESERVE(s->all_hidden, s->hidden_cap, s->n_hidden + 1)) {
        nn_fail(r->cx, MLTF_NO_MEMORY, "no memory for the list of hidden states");
        return;
    }
    float *copy = nn_keep(r->cx, r->seqs.rows, cols);
    nn_copy(r->cx, copy, x, r->seqs.rows * cols);
    s->all_hidden[s->n_hidden++] = copy;
}

void arch_keep_encoder(arch_run *r, const float *x, size_t cols)
{
    nn_ctx *cx = r->cx;
    arch_session *s = r->s;
    r->out->encoder_hidden = nn_keep(cx, r->seqs.rows, cols);
    nn_copy(cx, r->out->encoder_hidden, x, r->seqs.rows * cols);
    float **list = arena_alloc(&cx->keep, s->n_hidden * sizeof *list);
    if (!nn_ok(cx)) return;
    if (!list) {
        nn_fail(cx, MLTF_NO_MEMORY, "no memory for the list of hidden states");
        return;
    }
    if (s->n_hidden) memcpy(list, s->all_hidden, s->n_hidden * sizeof *list);
    r->out->encoder_all_hidden = list;
    r->out->n_encoder_all = s->n_hidden;
    s->n_hidden = 0;
}

mltf_status arch_run_memory(arch_run *r, mltf_err *err)
{
    arch_session *s = r->s;
    for (size_t i = 0; i < r->seqs.n; i++) {
        const size_t a = r->seqs.start[i], rows = r->seqs.start[i + 1] - a;
        nn_memory *m = nn_memory_new(&s->m->cross_shape, rows, err);
        if (!m) return MLTF_NO_MEMORY;
        s->memory[s->n_memory++] = m;
        if (r->seqs.key_mask) {
            m->mask = malloc(rows ? rows : 1);
            if (!m->mask) return mltf_fail_memory(err);
            memcpy(m->mask, r->seqs.key_mask + a, rows);
        }
    }
    r->seqs.memory = s->memory;
    return MLTF_OK;
}
