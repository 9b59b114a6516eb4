/* NEZHA. Wei et al. 2019, arXiv:1909.00204; transformers 4.57 models/deprecated/nezha/modeling_nezha.py.
 *
 *   BERT without positions in the embedding; with s(d) the sines and cosines of a distance, at most max_relative_position:
 *   score(i, j) = q_i·(k_j + s(j - i)) / sqrt(D);  y_i = sum over j of p_ij (v_j + s(j - i))
 *
 * Easy to get wrong: the rows of s count from the greatest distance behind, so that none is negative; their sines stand at
 * even places, the cosines at odd ones. Checked on: random checkpoints of the library. */
#include <math.h>
#include <string.h>

#include "arch/arch_encoder.h"

typedef struct {
    arch_encoder base;
    size_t far;         // distances beyond it count as it
    const float *table; // [2 far + 1, D] of distances -far … far
} nezha_model;

/* ------------------------------------------------------------------ attention */

typedef struct {
    const nezha_model *m;
    const nn_seqs *seqs;
    size_t heads, dim, longest;
    float scale;
    const float *q, *k, *v; // [T, heads D]
    float *y;
    float *scratch; // of each worker [2 far + 1 twice, longest]
} nezha_job;

static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Where s(j - i) stands in the table. */
static size_t row_of(size_t far, size_t i, size_t j)
{
    if (j >= i) return far + (j - i < far ? j - i : far);
    return far - (i - j < far ? i - j : far);
}

/* Row i of one head and sequence, whose rows are [start, start + n). */
static void attend_row(const nezha_job *g, size_t start, size_t n, size_t i, size_t at,
                       float *scratch)
{
    const size_t D = g->dim, H = g->heads * D, far = g->m->far, rows = 2 * far + 1;
    float *near = scratch, *share = near + rows, *p = share + rows; // scores, sums of p, p [n]
    const float *q = g->q + (start + i) * H + at;
    const uint8_t *mask = g->seqs->key_mask ? g->seqs->key_mask + start : NULL;
    float most = -INFINITY, sum = 0;
    for (size_t d = 0; d < rows; d++) {
        near[d] = dot(q, g->m->table + d * D, D);
        share[d] = 0;
    }
    for (size_t j = 0; j < n; j++) {
        p[j] = (dot(q, g->k + (start + j) * H + at, D) + near[row_of(far, i, j)]) * g->scale;
        if (mask && !mask[j]) p[j] = -INFINITY;
        most = fmaxf(most, p[j]);
    }
    float *y = g->y + (start + i) * H + at;
    memset(y, 0, D * sizeof *y);
    for (size_t j = 0; j < n; j++) sum += p[j] = expf(p[j] - most);
    for (size_t j = 0; j < n; j++) {
        const float *v = g->v + (start + j) * H + at, part = p[j] / sum;
        share[row_of(far, i, j)] += part;
        for (size_t d = 0; d < D; d++) y[d] += part * v[d];
    }
    for (size_t d = 0; d < rows; d++)
        for (size_t c = 0; share[d] != 0 && c < D; c++) y[c] += share[d] * g->m->table[d * D + c];
}

/* A head of one row at a time. */
static void nezha_piece(void *arg, size_t first, size_t last, int worker)
{
    const nezha_job *g = arg;
    float *scratch = g->scratch + (size_t)worker * (2 * (2 * g->m->far + 1) + g->longest);
    size_t seq = 0;
    for (size_t i = first; i < last; i++) {
        const size_t t = i / g->heads;
        while (t >= g->seqs->start[seq + 1]) seq++;
        const size_t start = g->seqs->start[seq];
        attend_row(g, start, g->seqs->start[seq + 1] - start, t - start, i % g->heads * g->dim,
                   scratch);
    }
}

static void attention(arch_run *r, float *y, const float *x, const encoder_layer *w,
                      const nn_attn *a, size_t il)
{
    (void)il;
    nn_ctx *cx = r->cx;
    const nezha_model *m = r->impl;
    const size_t T = r->seqs.rows, H = a->heads * a->dim;
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, H), *k = nn_f32(cx, T, H), *v = nn_f32(cx, T, H); // [T, H]
    float *ctx = nn_f32(cx, T, H);                                             // [T, H]
    nn_linear_group(cx, (float *[]){q, k, v}, x,
                    (const nn_linear_w *[]){&w->attn.q, &w->attn.k, &w->attn.v}, 3, T);
    nezha_job g = {.m = m,
                   .seqs = &r->seqs,
                   .heads = a->heads,
                   .dim = a->dim,
                   .scale = a->scale,
                   .q = q,
                   .k = k,
                   .v = v,
                   .y = ctx};
    for (size_t s = 0; s < r->seqs.n; s++)
        if (r->seqs.start[s + 1] - r->seqs.start[s] > g.longest)
            g.longest = r->seqs.start[s + 1] - r->seqs.start[s];
    g.scratch = nn_f32(cx, (size_t)pool_threads(cx->pool), 2 * (2 * m->far + 1) + g.longest);
    if (nn_ok(cx)) nn_for(cx, T * a->heads, 4 * a->dim * (g.longest + m->far), nezha_piece, &g);
    nn_linear(cx, y, ctx, &w->attn.o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* ------------------------------------------------------------------ load */

static const float *make_table(arch_build *b, size_t far, size_t D)
{
    float *table = arch_new(b, (2 * far + 1) * D, sizeof *table);
    for (size_t i = 0; table && i < 2 * far + 1; i++)
        for (size_t d = 0; d < D; d += 2) {
            const float angle = (float)i * expf((float)d * (float)(-log(10000.0) / (double)D));
            table[i * D + d] = sinf(angle);
            table[i * D + d + 1] = cosf(angle);
        }
    return table;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    nezha_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_encoder *e = &m->base;
    e->cfg.vocab = 21128;
    arch_encoder_config(c, &e->cfg);
    const size_t longest = e->cfg.positions, D = e->cfg.hidden / e->cfg.heads;
    e->cfg.positions = 0; // no table
    m->far = cfg_size(c, "max_relative_position", 64, 1, 1 << 16);
    if (D % 2) cfg_fail(c, "the width of a head, %zu, must be even", D);
    if (cfg_bool(c, "is_decoder", false)) cfg_fail(c, "\"is_decoder\" is not supported");
    TRY(arch_build_ok(b, err));
    m->table = make_table(b, m->far, D);
    e->attention = attention;

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    arch_encoder_layers_load(b, e, "encoder.layer", &bert_layer_names);
    const arch_encoder_names heads = arch_bert_heads(&e->cfg);
    arch_encoder_heads_load(b, &e->heads, &heads, e->cfg.hidden, &e->embed.words);
    return arch_done(b, e, e->cfg.hidden, e->cfg.vocab, e->cfg.layers, longest, err);
}

const arch_family arch_nezha = {
    .model_types = (const char *const[]){"nezha", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("Nezha"), "NezhaForPreTraining",
                                     "NezhaForNextSentencePrediction", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "nezha.",
    .ignorable = (const char *const[]){"position_ids", "positions_encoding",
                                       "predictions.decoder.bias", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
