/* DeBERTa, and V2 / V3. He et al. 2020, arXiv:2006.03654, 2111.09543;
 * transformers 4.57 models/{deberta,deberta_v2}/modeling_*.py.
 *
 *   ids ─ word (+ position, + type) embeddings (─ projection) ─ norm ─┐
 *   ┌──────────────────────────────────────────────────────────────────┘
 *   └─ n x [ q k v ─ disentangled attention ─ dense ─ (+x) norm ─ dense ─ act ─ dense ─ (+x) norm ] ─ heads
 *
 *   score(i, j) = (q_i·k_j + q_i·pk[i - j] + k_j·pq[i - j]) / sqrt(3 D)      pk, pq: projected distance embeddings
 *
 *   deberta     q k v in one matrix, head by head; own projections for pk and pq; distances cut at a maximum
 *   deberta-v2  three matrices; distances in logarithmic buckets (position_buckets); norm of the distance
 *               embeddings; share_att_key: pk and pq are made by the layer's own k and q; xl: a convolution
 *               beside the first layer
 *
 * Easy to get wrong: the number under the root is 1 + the kinds of score in pos_att_type; only as many rows of pk
 * and pq are computed as the longest sequence needs. Checked on: fixtures deberta-*, deberta-v2-*. */
#include <math.h>
#include <string.h>

#include "arch/arch_encoder.h"

typedef struct {
    size_t hidden, embed, layers, heads, head_dim, ffn, vocab, types, positions;
    k_act act, pooler_act, conv_act;
    float eps;
    bool v2, relative, c2p, p2c, share, positions_in, norm_distances;
    size_t max_distance, buckets, span; // span: rows of the table on each side
    size_t kernel, groups;              // of the convolution; kernel 0: none
} deberta_config;

typedef struct {
    encoder_layer usual; // attention: qkv [3H, H] per head (v1), or q k v [H, H]; o [H, H]
    nn_linear_w pk, pq;  // [H, H]; absent: the layer's k and q (share_att_key)
} deberta_layer;

typedef struct {
    deberta_config cfg;
    nn_embed_w words, positions, types; // [V, E], [P, E], [types, E]
    nn_linear_w project;                // [H, E] where E != H
    nn_norm_w norm;                     // [H]
    nn_embed_w distances;               // [2 span, H]
    nn_norm_w distance_norm;
    nn_linear_w conv; // [H, kernel * H / groups], taps side by side
    nn_norm_w conv_norm;
    deberta_layer *layers;
    arch_heads heads;
} deberta_model;

/* ------------------------------------------------------------------ config */

static bool has_kind(const json *kinds, const char *name)
{
    if (json_is(kinds, JSON_STRING)) { // "c2p|p2c"
        const mltf_str s = kinds->s;
        const size_t n = strlen(name);
        for (size_t i = 0; i + n <= s.n; i++)
            if (memcmp(s.p + i, name, n) == 0) return true;
        return false;
    }
    for (size_t i = 0; i < json_len(kinds); i++)
        if (str_is(json_string(json_at(kinds, i), STR("")), name)) return true;
    return false;
}

static size_t positive_or(arch_config *c, const char *key, size_t fallback)
{
    const int64_t v = json_int(cfg_get(c, key), -1);
    return v < 1 ? fallback : v > 1 << 24 ? cfg_dim(c, key, fallback) : (size_t)v;
}

static void read_config(arch_config *c, deberta_config *o)
{
    o->hidden = cfg_dim(c, "hidden_size", o->v2 ? 1536 : 768);
    o->embed = cfg_dim(c, "embedding_size", o->hidden);
    o->layers = cfg_layers(c, "num_hidden_layers", o->v2 ? 24 : 12);
    o->heads = cfg_dim(c, "num_attention_heads", o->v2 ? 24 : 12);
    o->ffn = cfg_dim(c, "intermediate_size", o->v2 ? 6144 : 3072);
    o->vocab = cfg_dim(c, "vocab_size", o->v2 ? 128100 : 50265);
    o->types = cfg_size(c, "type_vocab_size", 0, 0, 1 << 20);
    o->positions = cfg_dim(c, "max_position_embeddings", 512);
    o->act = cfg_act(c, "hidden_act", "gelu");
    o->pooler_act = cfg_act(c, "pooler_hidden_act", "gelu");
    o->eps = cfg_float(c, "layer_norm_eps", 1e-7f);
    o->positions_in = cfg_bool(c, "position_biased_input", true);
    o->relative = cfg_bool(c, "relative_attention", false);
    const json *kinds = cfg_get(c, "pos_att_type");
    o->c2p = has_kind(kinds, "c2p");
    o->p2c = has_kind(kinds, "p2c");
    o->share = o->v2 && cfg_bool(c, "share_att_key", false);
    o->max_distance = positive_or(c, "max_relative_positions", o->positions);
    o->buckets = o->v2 ? positive_or(c, "position_buckets", 0) : 0;
    o->span = o->buckets ? o->buckets : o->max_distance;
    const mltf_str norm = o->v2 ? cfg_str(c, "norm_rel_ebd", "none") : STR("none");
    for (size_t i = 0; i + 10 <= norm.n; i++)
        o->norm_distances |= memcmp(norm.p + i, "layer_norm", 10) == 0;
    o->kernel = o->v2 ? cfg_size(c, "conv_kernel_size", 0, 0, 1023) : 0;
    o->groups = cfg_size(c, "conv_groups", 1, 1, 1 << 20);
    o->conv_act = cfg_act(c, "conv_act", "tanh");
    if (o->hidden % o->heads)
        cfg_fail(c, "\"hidden_size\" %zu is not a multiple of \"num_attention_heads\" %zu",
                 o->hidden, o->heads);
    o->head_dim =
        o->v2 ? cfg_dim(c, "attention_head_size", o->hidden / o->heads) : o->hidden / o->heads;
    if (o->groups != 1) cfg_fail(c, "\"conv_groups\" %zu is not supported", o->groups);
    if (o->kernel && o->kernel % 2 == 0) cfg_fail(c, "\"conv_kernel_size\" must be odd");
    if (cfg_bool(c, "talking_head", false)) cfg_fail(c, "\"talking_head\" is not supported");
}

/* ------------------------------------------------------------------ load */

/* v1: biases of q and v alone, as one vector in the order of in_proj. */
static void load_v1_bias(arch_build *b, nn_linear_w *qkv, const deberta_config *c)
{
    const size_t D = c->head_dim, H = c->hidden;
    const float *q = nn_load_vector(&b->ld, "attention.self.q_bias", H, 0);
    const float *v = nn_load_vector(&b->ld, "attention.self.v_bias", H, 0);
    float *bias = arch_new(b, 3 * H, sizeof *bias);
    if (!q || !v || !bias) return;
    for (size_t h = 0; h < c->heads; h++) {
        memcpy(bias + h * 3 * D, q + h * D, D * sizeof *bias);
        memcpy(bias + h * 3 * D + 2 * D, v + h * D, D * sizeof *bias);
    }
    qkv->bias = bias;
}

static void load_layer(arch_build *b, deberta_layer *l, const deberta_config *c, size_t il)
{
    nn_loader *ld = &b->ld;
    const size_t H = c->hidden, N = c->heads * c->head_dim;
    nn_attn_w *attn = &l->usual.attn;
    nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
    if (c->v2) {
        nn_load_linear(ld, &attn->q, "attention.self.query_proj", N, H, NN_BIAS);
        nn_load_linear(ld, &attn->k, "attention.self.key_proj", N, H, NN_BIAS);
        nn_load_linear(ld, &attn->v, "attention.self.value_proj", N, H, NN_BIAS);
    } else {
        nn_load_linear(ld, &attn->qkv, "attention.self.in_proj", 3 * N, H, NN_NO_BIAS);
        load_v1_bias(b, &attn->qkv, c);
    }
    if (c->relative && c->c2p && !c->share)
        nn_load_linear(ld, &l->pk, "attention.self.pos_key_proj|attention.self.pos_proj", N, H,
                       c->v2 ? NN_BIAS : NN_NO_BIAS);
    if (c->relative && c->p2c && !c->share)
        nn_load_linear(ld, &l->pq, "attention.self.pos_query_proj|attention.self.pos_q_proj", N, H,
                       NN_BIAS);
    nn_load_linear(ld, &attn->o, "attention.output.dense", H, N, NN_BIAS);
    encoder_layer_names rest = bert_layer_names;
    rest.q = rest.o = NULL;
    arch_encoder_layer_load(
        ld, &l->usual, &rest,
        &(encoder_config){.hidden = H, .ffn = c->ffn, .act = c->act, .eps = c->eps});
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    deberta_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    deberta_config *c = &m->cfg;
    c->v2 = str_is(str_from(b->m->info.model_type), "deberta-v2");
    read_config(&b->cfg, c);
    m->layers = arch_new(b, c->layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    const size_t H = c->hidden;
    nn_scope(ld, "%sembeddings.", ld->base);
    nn_load_embed(ld, &m->words, "word_embeddings", "input id", c->vocab, c->embed, 0);
    if (c->positions_in)
        nn_load_embed(ld, &m->positions, "position_embeddings", "position", c->positions, c->embed,
                      0);
    if (c->types)
        nn_load_embed(ld, &m->types, "token_type_embeddings", "token type", c->types, c->embed, 0);
    if (c->embed != H) nn_load_linear(ld, &m->project, "embed_proj", H, c->embed, NN_NO_BIAS);
    nn_load_norm(ld, &m->norm, "LayerNorm", NN_NORM_LAYER, H, c->eps, NN_BIAS);
    nn_scope(ld, "%sencoder.", ld->base);
    if (c->relative)
        nn_load_embed(ld, &m->distances, "rel_embeddings", "distance", 2 * c->span, H, 0);
    if (c->norm_distances)
        nn_load_norm(ld, &m->distance_norm, "LayerNorm", NN_NORM_LAYER, H, c->eps, NN_BIAS);
    if (c->kernel) {
        nn_scope(ld, "%sencoder.conv.", ld->base);
        nn_load_convolution(ld, &m->conv, "conv.", c->hidden, c->hidden, c->kernel);
        nn_load_norm(ld, &m->conv_norm, "LayerNorm", NN_NORM_LAYER, c->hidden, c->eps, NN_BIAS);
    }
    for (size_t il = 0; il < c->layers; il++) load_layer(b, &m->layers[il], c, il);
    arch_encoder_heads_load(
        b, &m->heads,
        &(arch_encoder_names){
            .cls_dense = "pooler.dense",
            .cls_act = c->pooler_act,
            .cls_out = "classifier",
            .token_out = "classifier",
            .qa_out = "qa_outputs",
            .mlm_dense = "cls.predictions.transform.dense|lm_predictions.lm_head.dense",
            .mlm_act = c->act,
            .mlm_norm = "cls.predictions.transform.LayerNorm|lm_predictions.lm_head.LayerNorm",
            .mlm_out = "cls.predictions.decoder|lm_predictions.lm_head.decoder",
            .mlm_bias =
                "cls.predictions.bias|lm_predictions.lm_head.bias|cls.predictions.decoder.bias",
            .eps = c->eps},
        H, &m->words);
    return arch_done(b, m, H, c->vocab, c->layers, c->positions_in ? c->positions : SIZE_MAX, err);
}

/* ------------------------------------------------------------------ distances */

/* Row of the distance table for i - j: cut at both ends, or in logarithmic buckets (in f32, as Python does). */
static size_t row_of(const deberta_config *c, ptrdiff_t distance)
{
    ptrdiff_t d = distance;
    const ptrdiff_t mid = (ptrdiff_t)c->buckets / 2, a = d < 0 ? -d : d, span = (ptrdiff_t)c->span;
    if (c->buckets && a > mid) {
        const float far =
            logf((float)a / (float)mid) / logf((float)(c->max_distance - 1) / (float)mid);
        const ptrdiff_t bucket = (ptrdiff_t)ceilf(far * (float)(mid - 1)) + mid;
        d = d < 0 ? -bucket : bucket;
    }
    d += span;
    return (size_t)(d < 0 ? 0 : d > 2 * span - 1 ? 2 * span - 1 : d);
}

/* Projected distance embeddings: they depend on the weights alone, so a session keeps them (arch_session.kept). */
typedef struct {
    size_t longest;     // for sequences of up to so many tokens
    size_t first, rows; // these rows of the table
    struct {
        float *pk, *pq;
    } * layers; // [layers]  [rows, heads D] each, NULL: not used
} projected;

/* What the scores of one forward need: which rows of the table, and where distance d is among them. */
typedef struct {
    const deberta_config *c;
    const uint32_t *at; // [2 longest - 1]: row - first for distance d at [d + longest - 1]
    size_t longest, first, rows;
    const projected *projected;
    float *c2p, *p2c; // [T, heads, rows] of this layer: q·pk and k·pq
    const size_t *start;
    float scale;
} distances;

static float *project(nn_ctx *cx, mltf_arena *own, const float *table, const nn_linear_w *w,
                      size_t rows)
{
    float *p = arena_f32(own, rows, w->w.N);
    if (!p) nn_fail(cx, MLTF_NO_MEMORY, "no memory for the projections of %zu distances", rows);
    nn_linear(cx, p, table, w, rows);
    return p;
}

/* The projections for sequences of up to `longest` tokens, made anew where the session's do not reach so far: then for
 * twice the length that they had, so that texts of growing length do not pay each time. */
static const projected *projections(arch_run *r, const deberta_model *m, size_t longest)
{
    const deberta_config *c = &m->cfg;
    nn_ctx *cx = r->cx;
    const projected *old = r->s->kept;
    if (old && old->longest >= longest) return old;
    if (old && longest < 2 * old->longest) longest = 2 * old->longest;
    const ptrdiff_t far = (ptrdiff_t)longest - 1;
    mltf_arena *own = &r->s->kept_own;
    r->s->kept = NULL;
    arena_release(own);
    projected *p = arena_alloc_small(own, sizeof *p);
    if (p) {
        *p = (projected){.longest = longest, .first = row_of(c, -far)};
        p->rows = row_of(c, far) - p->first + 1;
        p->layers = arena_calloc(own, c->layers, sizeof *p->layers);
    }
    if (!p || !p->layers) nn_fail(cx, MLTF_NO_MEMORY, "no memory for %zu layers", c->layers);
    const nn_mark mark = nn_save(cx);
    int32_t *ids = nn_bytes(cx, (p ? p->rows : 0) * sizeof *ids);
    float *table = nn_f32(cx, p ? p->rows : 0, c->hidden);
    if (!nn_ok(cx)) return NULL;
    for (size_t i = 0; i < p->rows; i++) ids[i] = (int32_t)(p->first + i);
    nn_embed(cx, table, ids, &m->distances, p->rows);
    if (c->norm_distances) nn_norm(cx, table, table, &m->distance_norm, p->rows);
    for (size_t il = 0; il < c->layers; il++) {
        const deberta_layer *l = &m->layers[il];
        const nn_attn_w *attn = &l->usual.attn;
        if (c->c2p)
            p->layers[il].pk = project(cx, own, table, c->share ? &attn->k : &l->pk, p->rows);
        if (c->p2c)
            p->layers[il].pq = project(cx, own, table, c->share ? &attn->q : &l->pq, p->rows);
    }
    if (!nn_ok(cx)) return NULL;
    nn_restore(cx, mark);
    r->s->kept = p;
    return p;
}

static void prepare_distances(arch_run *r, distances *d, const deberta_model *m)
{
    nn_ctx *cx = r->cx;
    d->c = &m->cfg;
    d->start = r->seqs.start;
    d->longest = 1;
    for (size_t s = 0; s < r->seqs.n; s++) {
        const size_t n = r->seqs.start[s + 1] - r->seqs.start[s];
        if (n > d->longest) d->longest = n;
    }
    const ptrdiff_t far = (ptrdiff_t)d->longest - 1;
    d->first = row_of(d->c, -far);
    d->rows = row_of(d->c, far) - d->first + 1;
    uint32_t *at = nn_bytes(cx, (2 * d->longest - 1) * sizeof *at);
    if (!nn_ok(cx)) return;
    for (ptrdiff_t i = -far; i <= far; i++) at[i + far] = (uint32_t)(row_of(d->c, i) - d->first);
    d->at = at;
    d->projected = projections(r, m, d->longest);
}

/* y [T, heads, rows] = each head of x with its columns of the projected distances. */
static float *score_rows(arch_run *r, const distances *d, nn_heads x, const float *p,
                         k_compute compute)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, N = d->c->heads, D = d->c->head_dim;
    float *y = nn_f32(cx, T, N * d->rows);
    if (!nn_ok(cx)) return NULL;
    p += (d->first - d->projected->first) * N * D;
    nn_linear_w *head = nn_bytes(cx, N * sizeof *head);
    if (!nn_ok(cx)) return NULL;
    for (size_t h = 0; h < N; h++)
        head[h] = (nn_linear_w){
            .w = {.data = p + h * D, .dtype = DT_F32, .N = d->rows, .K = D, .stride = N * D},
            .compute = compute};
    nn_linear_each(cx, y, N * d->rows, d->rows, x.p, x.ld, x.head, head, N, T);
    return y;
}

static void distance_bias(void *user, float *bias, size_t ld, const nn_bias_at *at)
{
    const distances *d = user;
    const size_t N = d->c->heads, start = d->start[at->seq];
    for (size_t i = 0; i < at->nq; i++) {
        const size_t q = at->q0 + i;
        const float *c2p = d->c2p ? d->c2p + ((start + q) * N + at->head) * d->rows : NULL;
        const uint32_t *row = d->at + q + d->longest - 1; // of key j: row[-j]
        float *to = bias + i * ld;
        for (size_t j = 0; j < at->tk; j++) to[j] = c2p ? c2p[*(row - j)] : 0;
        const float *p2c = d->p2c ? d->p2c + (start * N + at->head) * d->rows : NULL;
        for (size_t j = 0; p2c && j < at->tk; j++, p2c += N * d->rows) to[j] += p2c[*(row - j)];
        for (size_t j = 0; j < at->tk; j++) to[j] *= d->scale;
    }
}

/* ------------------------------------------------------------------ forward */

static void attention(arch_run *r, float *y, const float *x, const deberta_layer *w, distances *d,
                      size_t il)
{
    nn_ctx *cx = r->cx;
    const deberta_config *c = d->c;
    const nn_attn_w *attn = &w->usual.attn;
    const size_t T = r->seqs.rows, N = c->heads, D = c->head_dim;
    nn_heads q, k, v;
    if (c->v2) {
        q = (nn_heads){nn_f32(cx, T, N * D), N * D, D};
        k = (nn_heads){nn_f32(cx, T, N * D), N * D, D};
        v = (nn_heads){nn_f32(cx, T, N * D), N * D, D};
        nn_linear_group(cx, (float *[]){q.p, k.p, v.p}, x,
                        (const nn_linear_w *[]){&attn->q, &attn->k, &attn->v}, 3, T);
    } else {
        float *qkv = nn_f32(cx, T, 3 * N * D);
        nn_linear(cx, qkv, x, &attn->qkv, T);
        if (!nn_ok(cx)) return;
        q = (nn_heads){qkv, 3 * N * D, 3 * D};
        k = (nn_heads){qkv + D, 3 * N * D, 3 * D};
        v = (nn_heads){qkv + 2 * D, 3 * N * D, 3 * D};
    }
    nn_attn a = {.heads = N, .dim = D, .scale = d->scale};
    if (c->relative) {
        if (!nn_ok(cx)) return;
        const float *pk = d->projected->layers[il].pk, *pq = d->projected->layers[il].pq;
        d->c2p = pk ? score_rows(r, d, q, pk, attn->o.compute) : NULL;
        d->p2c = pq ? score_rows(r, d, k, pq, attn->o.compute) : NULL;
        a.bias = distance_bias;
        a.bias_user = d;
    }
    float *ctx = nn_f32(cx, T, N * D);
    nn_attend(cx, ctx, q, k, v, &r->seqs, &a, il);
    nn_blind_rows(cx, ctx, v, &r->seqs, &a, true); // Python masks queries as well as keys
    nn_linear(cx, y, ctx, &attn->o, T);
}

static void layer_forward(arch_run *r, float *x, const deberta_layer *w, distances *d, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = d->c->hidden;
    const nn_mark mark = nn_save(cx);
    float *y = nn_f32(cx, T, H); // [T, H]
    attention(r, y, x, w, d, il);
    arch_encoder_layer_finish(r, x, y, &w->usual, il);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void clear_hidden_rows(arch_run *r, float *x, size_t cols)
{
    for (size_t t = 0; r->seqs.key_mask && nn_ok(r->cx) && t < r->seqs.rows; t++)
        if (!r->seqs.key_mask[t]) memset(x + t * cols, 0, cols * sizeof *x);
}

/* x = norm(x + act(conv(input))), where the kernel sees zeros beyond a sequence. */
static void convolve(arch_run *r, float *x, const float *input, const deberta_model *m)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = m->cfg.hidden, K = m->cfg.kernel, half = K / 2;
    const nn_mark mark = nn_save(cx);
    float *rows = nn_f32(cx, T, K * H), *y = nn_f32(cx, T, H);
    for (size_t s = 0; nn_ok(cx) && s < r->seqs.n; s++)
        for (size_t t = r->seqs.start[s], a = t, b = r->seqs.start[s + 1]; t < b; t++)
            for (size_t k = 0; k < K; k++) {
                float *to = rows + (t * K + k) * H;
                if (t + k >= a + half && t + k < b + half)
                    memcpy(to, input + (t + k - half) * H, H * sizeof *to);
                else
                    memset(to, 0, H * sizeof *to);
            }
    nn_linear(cx, y, rows, &m->conv, T);
    clear_hidden_rows(r, y, H);
    nn_act(cx, y, y, T * H, m->cfg.conv_act);
    nn_add_norm(cx, x, y, &m->conv_norm, T);
    clear_hidden_rows(r, x, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const deberta_model *m = r->impl;
    const deberta_config *c = &m->cfg;
    const size_t T = r->seqs.rows, H = c->hidden;

    float *x = arch_embed_tokens(r, &m->words); // [T, E]
    if (c->positions_in) nn_embed_add(cx, x, r->seqs.pos, &m->positions, T);
    if (c->types) arch_add_types(r, x, &m->types);
    if (nn_has(&m->project)) {
        float *wide = nn_f32(cx, T, H); // [T, H]
        nn_linear(cx, wide, x, &m->project, T);
        x = wide;
    }
    nn_norm(cx, x, x, &m->norm, T);
    clear_hidden_rows(r, x, H);
    arch_keep_hidden(r, x, H);
    distances d = {.c = c,
                   .scale = 1.0f / sqrtf((float)c->head_dim * (float)(1 + c->c2p + c->p2c))};
    if (c->relative) prepare_distances(r, &d, m);
    float *input = c->kernel ? nn_f32(cx, T, H) : NULL;
    if (input) nn_copy(cx, input, x, T * H);
    for (size_t il = 0; il < c->layers; il++) {
        layer_forward(r, x, &m->layers[il], &d, il);
        if (il == 0 && input) convolve(r, x, input, m);
        arch_keep_hidden(r, x, H);
    }
    arch_heads_forward(r, &m->heads, x, H);
}

const arch_family arch_deberta = {
    .model_types = (const char *const[]){"deberta", "deberta-v2", NULL},
    .classes = (const char *const[]){"DebertaModel", "DebertaForMaskedLM",
                                     "DebertaForSequenceClassification",
                                     "DebertaForTokenClassification", "DebertaForQuestionAnswering",
                                     ARCH_ENCODER_CLASSES("DebertaV2"), NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "deberta.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias",
                                       "lm_predictions.lm_head.weight", NULL},
    .load = load,
    .forward = forward,
};
