/* Funnel Transformer. Dai et al. 2020, arXiv:2006.03236; transformers 4.57 models/funnel/modeling_funnel.py.
 *
 *   ids ─ norm(embedding) ─ blocks of layers [ x = norm(x + attention);  x = norm(x + mlp) ] ─ each row again as often as
 *         it was halved, + what came out of the first block ─ layers of the same kind ─ heads
 *
 *   between two blocks  every other row goes: the first layer's queries are the means (or maxima) of two rows
 *   attention           scores (q + w)·k + (q + r)·R sin(place of q - place of k) + (q + s)·seg[same type], the last two
 *                       not for the first row as query or key (separate_cls)
 *
 * Classifiers of texts read the first row behind the last block. Easy to get wrong: the first row pairs with itself, and
 * the last one is dropped (truncate_seq); its place moves to 1 - 2^block; rows of type 2 are of every type. The two
 * attention_types give the same numbers. Checked on: random checkpoints of the library. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch_internal.h"

enum { FUNNEL_CLS_TYPE = 2 };

typedef struct {
    nn_linear_w q, k, v, o, r;                   // [W, H], o [H, W], r [W, H]; W = heads D
    const float *w_bias, *r_bias, *s_bias, *seg; // [W], [W], [W], [2, W]
    nn_norm_w attn_norm, mlp_norm;
    nn_mlp_w mlp;
} funnel_layer;

typedef struct {
    size_t n, repeats;
    funnel_layer *layers;
} funnel_block;

typedef struct {
    size_t hidden, heads, dim, ffn, vocab; // d_model, n_head, d_head, d_inner
    size_t n_blocks;
    funnel_block *blocks;
    funnel_block decoder; // n 0: a classifier of texts
    bool separate_cls, truncate, pool_q_only, max;
    float eps;
    k_act act;
    nn_embed_w words;
    nn_norm_w embed_norm;
    arch_heads heads_w;
} funnel_model;

/* The rows of one sequence at one depth. */
typedef struct {
    size_t n;
    float *x; // [n, H]
    const int32_t *place, *type;
    const uint8_t *mask; // NULL: all seen
} rows;

/* ------------------------------------------------------------------ halving */

/* Which row of the finer ones row i of the coarser stands for. */
static size_t stands_for(const funnel_model *m, size_t i)
{
    return m->separate_cls ? (i ? 2 * i - 1 : 0) : 2 * i;
}

/* Rows 2i and 2i + 1 of what is pooled: the first row twice, if it is separate, then the others. */
static size_t pooled_row(const funnel_model *m, size_t at)
{
    return m->separate_cls ? (at ? at - 1 : 0) : at;
}

static void pool_rows(float *y, const rows *a, const funnel_model *m, size_t i, size_t n)
{
    const size_t H = m->hidden, first = pooled_row(m, 2 * i);
    memcpy(y, a->x + first * H, H * sizeof *y);
    if (2 * i + 1 >= n) return; // the last one alone
    const float *b = a->x + pooled_row(m, 2 * i + 1) * H;
    for (size_t h = 0; h < H; h++) y[h] = m->max ? fmaxf(y[h], b[h]) : (y[h] + b[h]) / 2;
}

/* The rows of the next block. */
static rows halve(nn_ctx *cx, const rows *a, const funnel_model *m, size_t block)
{
    const size_t n = a->n + (m->separate_cls && !m->truncate); // of the rows that are pooled
    rows b = {.n = (n + 1) / 2};
    int32_t *place = nn_bytes(cx, b.n * sizeof *place), *type = nn_bytes(cx, b.n * sizeof *type);
    uint8_t *mask = nn_bytes(cx, b.n);
    b.x = nn_f32(cx, b.n, m->hidden);
    for (size_t i = 0; nn_ok(cx) && i < b.n; i++) {
        const size_t from = stands_for(m, i), last = 2 * i + 1 < n ? 2 * i + 1 : 2 * i;
        place[i] = m->separate_cls && i == 0 ? 1 - (1 << block) : a->place[from];
        type[i] = a->type[from];
        mask[i] = !a->mask || (a->mask[pooled_row(m, 2 * i)] && a->mask[pooled_row(m, last)]);
        pool_rows(b.x + i * m->hidden, a, m, i, n);
    }
    b.place = place;
    b.type = type;
    if (a->mask) b.mask = mask;
    return b;
}

/* ------------------------------------------------------------------ attention */

typedef struct {
    const funnel_model *m;
    const rows *q, *k;
    int32_t first, step; // distance of column 0, and from column to column
    size_t columns;      // distances
    const float *by_distance,
        *by_type; // [nq, heads, columns], [nq, heads, 2]: other type, same type
    float scale;
} scores;

static void relative_bias(void *user, float *bias, size_t ld, const nn_bias_at *at)
{
    const scores *s = user;
    const size_t N = s->m->heads;
    for (size_t r = 0; r < at->nq; r++) {
        const size_t i = at->q0 + r, row = i * N + at->head;
        for (size_t j = 0; j < at->tk; j++) {
            float *b = &bias[r * ld + j];
            *b = 0;
            if (i >= s->q->n || (s->m->separate_cls && (i == 0 || j == 0))) continue;
            const int32_t from = s->q->type[i], to = s->k->type[j];
            const bool same = from == to || from == FUNNEL_CLS_TYPE || to == FUNNEL_CLS_TYPE;
            const int32_t far = (s->q->place[i] - s->k->place[j] - s->first) / s->step;
            *b = s->scale *
                 (s->by_distance[row * s->columns + (size_t)far] + s->by_type[row * 2 + same]);
        }
    }
}

/* y [n, W] = x + bias [W] in each row. */
static void add_row(nn_ctx *cx, float *y, const float *x, const float *bias, size_t n, size_t W)
{
    for (size_t i = 0; nn_ok(cx) && i < n * W; i++) y[i] = x[i] + bias[i % W];
}

/* Sines and cosines of all distances, [columns, H]. */
static float *sines(nn_ctx *cx, const scores *s)
{
    const size_t H = s->m->hidden, half = H / 2;
    float *y = nn_f32(cx, s->columns, H);
    for (size_t c = 0; nn_ok(cx) && c < s->columns; c++)
        for (size_t h = 0; h < half; h++) {
            const float at = (float)(s->first + (int32_t)c * s->step);
            const float angle = at * (1 / powf(10000, (float)h / (float)half));
            y[c * H + h] = sinf(angle);
            y[c * H + half + h] = cosf(angle);
        }
    return y;
}

static void score_rows(nn_ctx *cx, scores *s, const float *q, const funnel_layer *l)
{
    const size_t n = s->q->n, N = s->m->heads, D = s->m->dim, W = N * D, C = s->columns;
    float *far = nn_f32(cx, n, N * C), *kind = nn_f32(cx, n, N * 2), *biased = nn_f32(cx, n, W);
    float *turned = nn_f32(cx, C, W);
    nn_linear_w *head = nn_bytes(cx, 2 * N * sizeof *head);
    nn_linear(cx, turned, sines(cx, s), &l->r, C);
    if (!nn_ok(cx)) return;
    for (size_t h = 0; h < N; h++) {
        head[h] = (nn_linear_w){
            .w = {.data = turned + h * D, .dtype = DT_F32, .N = C, .K = D, .stride = W}};
        head[N + h] = (nn_linear_w){
            .w = {.data = l->seg + h * D, .dtype = DT_F32, .N = 2, .K = D, .stride = W}};
    }
    add_row(cx, biased, q, l->r_bias, n, W);
    nn_linear_each(cx, far, N * C, C, biased, W, D, head, N, n);
    add_row(cx, biased, q, l->s_bias, n, W);
    nn_linear_each(cx, kind, N * 2, 2, biased, W, D, head + N, N, n);
    s->by_distance = far;
    s->by_type = kind;
}

/* y [nq, H]; as many rows of queries as of keys go to nn_attend(), those that are none see without anybody looking. */
static void attention(nn_ctx *cx, float *y, const rows *q, const rows *k, const funnel_layer *l,
                      const funnel_model *m)
{
    const size_t N = m->heads, D = m->dim, W = N * D;
    const nn_mark mark = nn_save(cx);
    float *qs = nn_f32(cx, k->n, W), *ks = nn_f32(cx, k->n, W), *vs = nn_f32(cx, k->n, W);
    float *ctx = nn_f32(cx, k->n, W);
    if (!nn_ok(cx)) return;
    memset(qs, 0, k->n * W * sizeof *qs);
    nn_linear(cx, qs, q->x, &l->q, q->n);
    nn_linear_group(cx, (float *[]){ks, vs}, k->x, (const nn_linear_w *[]){&l->k, &l->v}, 2, k->n);
    const int32_t step = k->n > 1 ? k->place[1] - k->place[0] : 1;
    scores s = {.m = m,
                .q = q,
                .k = k,
                .first = q->place[0] - k->place[k->n - 1],
                .step = step,
                .scale = 1.0f / sqrtf((float)D)};
    s.columns = (size_t)((q->place[q->n - 1] - k->place[0] - s.first) / step) + 1;
    score_rows(cx, &s, qs, l);
    add_row(cx, qs, qs, l->w_bias, q->n, W);
    const nn_attn a = {
        .heads = N, .dim = D, .scale = s.scale, .bias = relative_bias, .bias_user = &s};
    const size_t start[] = {0, k->n};
    const nn_seqs one = {.n = 1, .start = start, .rows = k->n, .key_mask = k->mask};
    nn_attend(cx, ctx, (nn_heads){qs, W, D}, (nn_heads){ks, W, D}, (nn_heads){vs, W, D}, &one, &a,
              0);
    nn_linear(cx, y, ctx, &l->o, q->n);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* q's rows become the layer's. */
static void layer_forward(nn_ctx *cx, const rows *q, const rows *k, const funnel_layer *l,
                          const funnel_model *m)
{
    const nn_mark mark = nn_save(cx);
    float *y = nn_f32(cx, q->n, m->hidden);
    attention(cx, y, q, k, l, m);
    nn_add_norm(cx, q->x, y, &l->attn_norm, q->n);
    nn_mlp(cx, y, q->x, &l->mlp, q->n);
    nn_add_norm(cx, q->x, y, &l->mlp_norm, q->n);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* ------------------------------------------------------------------ forward */

/* The rows behind the last block; first [n, H] gets those that the first one's layers left. */
static rows encode(nn_ctx *cx, rows a, float *first, const funnel_model *m)
{
    size_t done = 0;
    for (size_t b = 0; nn_ok(cx) && b < m->n_blocks; b++) {
        const funnel_block *block = &m->blocks[b];
        const bool pools = b > 0 && a.n > (m->separate_cls ? 2 : 1);
        for (size_t i = 0; nn_ok(cx) && i < block->n * block->repeats; i++) {
            const rows fine = a;
            const bool now = pools && i == 0;
            if (now) a = halve(cx, &fine, m, b);
            if (nn_ok(cx))
                layer_forward(cx, &a, now && m->pool_q_only ? &fine : &a,
                              &block->layers[i / block->repeats], m);
            if (++done == m->blocks[0].n) nn_copy(cx, first, a.x, a.n * m->hidden);
        }
    }
    return a;
}

/* x [n, H] += the rows behind the last block, each as often as it was halved. */
static void add_upsampled(nn_ctx *cx, float *x, size_t n, const rows *deep, const funnel_model *m)
{
    const size_t H = m->hidden, own = m->separate_cls ? 1 : 0,
                 stride = (size_t)1 << (m->n_blocks - 1);
    for (size_t t = 0; nn_ok(cx) && t < n; t++) {
        const size_t from = t < own ? 0 : own + (t - own) / stride;
        if (from < deep->n) nn_add(cx, x + t * H, deep->x + from * H, H);
    }
}

static void sequence_forward(arch_run *r, float *x, size_t s)
{
    nn_ctx *cx = r->cx;
    const funnel_model *m = r->impl;
    const size_t start = r->seqs.start[s], n = r->seqs.start[s + 1] - start, H = m->hidden;
    if (n == 0) return;
    const nn_mark mark = nn_save(cx);
    int32_t *place = nn_bytes(cx, n * sizeof *place), *type = nn_bytes(cx, n * sizeof *type);
    float *first = nn_f32(cx, n, H), *top = nn_f32(cx, n, H);
    if (!nn_ok(cx)) return;
    for (size_t i = 0; i < n; i++) {
        place[i] = (int32_t)i;
        type[i] = r->batch->type_ids ? r->batch->type_ids[start + i] : 0;
    }
    rows all = {.n = n, .x = top, .place = place, .type = type};
    if (r->seqs.key_mask) all.mask = r->seqs.key_mask + start;
    nn_copy(cx, top, x + start * H, n * H);
    const rows deep = encode(cx, all, first, m);
    if (!m->decoder.n) { // whose reader wants the first row alone
        nn_copy(cx, x + start * H, deep.x, H);
    } else {
        add_upsampled(cx, first, n, &deep, m);
        all.x = first;
        for (size_t il = 0; nn_ok(cx) && il < m->decoder.n; il++)
            layer_forward(cx, &all, &all, &m->decoder.layers[il], m);
        nn_copy(cx, x + start * H, first, n * H);
    }
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const funnel_model *m = r->impl;
    float *x = arch_embed_tokens(r, &m->words); // [T, H]
    nn_norm(cx, x, x, &m->embed_norm, r->seqs.rows);
    for (size_t s = 0; nn_ok(cx) && s < r->seqs.n; s++) sequence_forward(r, x, s);
    arch_heads_forward(r, &m->heads_w, x, m->hidden);
}

/* ------------------------------------------------------------------ load */

static void load_layer(nn_loader *ld, funnel_layer *l, const funnel_model *m)
{
    const size_t H = m->hidden, W = m->heads * m->dim, F = m->ffn;
    nn_load_linear(ld, &l->q, "attention.q_head", W, H, NN_NO_BIAS);
    nn_load_linear(ld, &l->k, "attention.k_head", W, H, NN_BIAS);
    nn_load_linear(ld, &l->v, "attention.v_head", W, H, NN_BIAS);
    nn_load_linear(ld, &l->o, "attention.post_proj", H, W, NN_BIAS);
    nn_load_matrix(ld, &l->r, "attention.r_kernel", NULL, W, H, NN_CONV1D);
    l->w_bias = nn_load_vector(ld, "attention.r_w_bias", W, 0);
    l->r_bias = nn_load_vector(ld, "attention.r_r_bias", W, 0);
    l->s_bias = nn_load_vector(ld, "attention.r_s_bias", W, 0);
    l->seg = nn_load_vector(ld, "attention.seg_embed", 2 * W, 0);
    nn_load_norm(ld, &l->attn_norm, "attention.layer_norm", NN_NORM_LAYER, H, m->eps, NN_BIAS);
    nn_load_linear(ld, &l->mlp.up, "ffn.linear_1", F, H, NN_BIAS);
    nn_load_linear(ld, &l->mlp.down, "ffn.linear_2", H, F, NN_BIAS);
    l->mlp.act = m->act;
    nn_load_norm(ld, &l->mlp_norm, "ffn.layer_norm", NN_NORM_LAYER, H, m->eps, NN_BIAS);
}

static void load_block(arch_build *b, funnel_block *block, const funnel_model *m, const char *where)
{
    block->layers = arch_new(b, block->n, sizeof *block->layers);
    for (size_t i = 0; block->layers && i < block->n; i++) {
        nn_scope(&b->ld, "%s%s.%zu.", b->ld.base, where, i);
        load_layer(&b->ld, &block->layers[i], m);
    }
}

/* Entry i of a list of small numbers; `fallback` where there is no list. */
static size_t list_at(arch_config *c, const char *key, size_t i, size_t fallback)
{
    const json *list = cfg_get(c, key);
    if (!list) return fallback;
    const int64_t n = json_int(json_at(list, i), 0);
    if (n >= 1 && n <= 1024) return (size_t)n;
    cfg_fail(c, "\"%s\" must hold a number from 1 to 1024 for block %zu", key, i);
    return 1;
}

static void read_config(arch_config *c, funnel_model *m)
{
    m->hidden = cfg_dim(c, "d_model|hidden_size", 768);
    m->heads = cfg_dim(c, "n_head|num_attention_heads", 12);
    m->dim = cfg_dim(c, "d_head", 64);
    m->ffn = cfg_dim(c, "d_inner", 3072);
    m->vocab = cfg_dim(c, "vocab_size", 30522);
    m->eps = cfg_float(c, "layer_norm_eps", 1e-9f);
    m->act = cfg_act(c, "hidden_act", "gelu_new");
    m->separate_cls = cfg_bool(c, "separate_cls", true);
    m->truncate = cfg_bool(c, "truncate_seq", true);
    m->pool_q_only = cfg_bool(c, "pool_q_only", true);
    const mltf_str pooling = cfg_str(c, "pooling_type", "mean");
    m->max = str_is(pooling, "max");
    if (!m->max && !str_is(pooling, "mean"))
        cfg_fail(c, "\"pooling_type\" must be \"mean\" or \"max\"");
    if (m->hidden % 2) cfg_fail(c, "\"d_model\" %zu has no room for sines and cosines", m->hidden);
    const json *sizes = cfg_get(c, "block_sizes");
    m->n_blocks = sizes ? json_len(sizes) : 3;
    if (m->n_blocks < 1 || m->n_blocks > 24)
        cfg_fail(c, "\"block_sizes\" must hold 1 to 24 numbers");
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    funnel_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    read_config(c, m);
    TRY(arch_build_ok(b, err));
    const arch_head head = b->m->info.head;
    if (head != ARCH_HEAD_SEQ_CLS && head != ARCH_HEAD_MULTIPLE_CHOICE)
        m->decoder =
            (funnel_block){.n = cfg_size(c, "num_decoder_layers", 2, 1, 1024), .repeats = 1};
    m->blocks = arch_new(b, m->n_blocks, sizeof *m->blocks);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    nn_load_embed(ld, &m->words, "word_embeddings", "input id", m->vocab, m->hidden, 0);
    nn_load_norm(ld, &m->embed_norm, "layer_norm", NN_NORM_LAYER, m->hidden, m->eps, NN_BIAS);
    size_t layers = m->decoder.n;
    for (size_t i = 0; i < m->n_blocks; i++) {
        char where[64];
        snprintf(where, sizeof where, "encoder.blocks.%zu", i);
        m->blocks[i].n = list_at(c, "block_sizes", i, 4);
        m->blocks[i].repeats = list_at(c, "block_repeats", i, 1);
        load_block(b, &m->blocks[i], m, where);
        layers += m->blocks[i].n;
    }
    if (m->decoder.n) load_block(b, &m->decoder, m, "decoder.layers");
    const arch_encoder_names names = {.cls_dense = "classifier.linear_hidden",
                                      .cls_act = K_ACT_TANH,
                                      .cls_out = "classifier.linear_out",
                                      .token_out = "classifier",
                                      .qa_out = "qa_outputs",
                                      .mlm_out = "lm_head",
                                      .mlm_bias = "lm_head.bias",
                                      .eps = m->eps};
    arch_encoder_heads_load(b, &m->heads_w, &names, m->hidden, &m->words);
    return arch_done(b, m, m->hidden, m->vocab, layers, SIZE_MAX, err);
}

const arch_family arch_funnel = {
    .model_types = (const char *const[]){"funnel", NULL},
    .classes =
        (const char *const[]){"FunnelModel", "FunnelForMaskedLM", "FunnelForSequenceClassification",
                              "FunnelForTokenClassification", "FunnelForQuestionAnswering",
                              "FunnelForMultipleChoice", NULL},
    .refused = (const arch_refusal[]){{"FunnelBaseModel", "its rows are no tokens"}, {0}},
    .kind = ARCH_ENCODER,
    .base_prefix = "funnel.",
    .ignorable = NULL,
    .load = load,
    .forward = forward,
};
