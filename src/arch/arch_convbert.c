/* ConvBERT. Jiang et al. 2020, arXiv:2008.02496; transformers 4.57 models/convbert/modeling_convbert.py.
 *
 *   ids ─ word + position + type embeddings ─ norm ─ (projection) ─┐
 *   ┌──────────────────────────────────────────────────────────────┘
 *   └─ n x [ [attention | convolution] ─ dense ─ (+x) norm ─ mlp (in groups) ─ (+x) norm ] ─ electra's heads
 *
 *   convolution: each head sums the neighbours of out(x) with taps of its own at each place,
 *                softmax(taps(q * (separable convolution of x)))
 *
 * Easy to get wrong: half of the heads of the configuration (head_ratio) attend, the others are the convolution's; both
 * see padding as any other token, so that a padded batch gives the library other numbers than its rows alone. Multiple
 * choice reads the last token. Checked on: random checkpoints of the library. */
#include <math.h>

#include "arch/arch_encoder.h"

typedef struct {
    nn_linear_w q, k, v, out; // [A, H]
    const float *near;        // [H, K] taps of the separable convolution, channel by channel
    nn_linear_w far;          // [A, H] and between the channels
    nn_linear_w taps;         // [heads K, A]
} mixed_attention;

typedef struct {
    arch_encoder base;
    size_t heads, dim, kernel, groups;
} convbert_model;

/* ------------------------------------------------------------------ load */

static void read_config(arch_config *c, convbert_model *m)
{
    encoder_config *e = &m->base.cfg;
    arch_encoder_config(c, e);
    e->embed = cfg_dim(c, "embedding_size", 768);
    const size_t ratio = cfg_size(c, "head_ratio", 2, 1, 1 << 20);
    m->heads = e->heads / ratio ? e->heads / ratio : 1;
    m->dim = e->hidden / m->heads / 2;
    m->kernel = cfg_size(c, "conv_kernel_size", 9, 1, 4096);
    m->groups = cfg_size(c, "num_groups", 1, 1, 1 << 20);
    if (m->heads * m->dim * 2 != e->hidden)
        cfg_fail(c, "\"hidden_size\" %zu is not a multiple of twice %zu heads", e->hidden,
                 m->heads);
    if (m->kernel % 2 == 0) cfg_fail(c, "\"conv_kernel_size\" must be odd, not %zu", m->kernel);
    if (e->hidden % m->groups || e->ffn % m->groups)
        cfg_fail(c, "\"num_groups\" %zu does not divide the widths of the model", m->groups);
}

static void load_attention(arch_build *b, encoder_layer *l, const convbert_model *m)
{
    nn_loader *ld = &b->ld;
    const size_t H = m->base.cfg.hidden, A = m->heads * m->dim, K = m->kernel;
    mixed_attention *w = arch_new(b, 1, sizeof *w);
    if (!w) return;
    nn_load_linear(ld, &w->q, "attention.self.query", A, H, NN_BIAS);
    nn_load_linear(ld, &w->k, "attention.self.key", A, H, NN_BIAS);
    nn_load_linear(ld, &w->v, "attention.self.value", A, H, NN_BIAS);
    nn_load_linear(ld, &w->out, "attention.self.conv_out_layer", A, H, NN_BIAS);
    nn_load_linear(ld, &w->taps, "attention.self.conv_kernel_layer", m->heads * K, A, NN_BIAS);
    w->near = nn_load_vector(ld, "attention.self.key_conv_attn_layer.depthwise.weight", H * K, 0);
    nn_load_linear(ld, &w->far, "attention.self.key_conv_attn_layer.pointwise", A, H, NN_NO_BIAS);
    w->far.bias = nn_load_vector(ld, "attention.self.key_conv_attn_layer.bias", A, 0);
    l->own = w;
}

/* A layer in groups is stored [groups, K / groups, N / groups]: as rows of N, an own copy. */
static void load_grouped(arch_build *b, nn_linear_w *w, const char *weight, const char *bias,
                         size_t N, size_t K, size_t groups)
{
    const size_t n = N / groups, k = K / groups;
    const float *stored = nn_load_vector(&b->ld, weight, N * k, 0);
    float *rows = stored ? arch_new(b, N * k, sizeof *rows) : NULL;
    w->bias = nn_load_vector(&b->ld, bias, N, 0);
    for (size_t g = 0; rows && g < groups; g++)
        for (size_t i = 0; i < k; i++)
            for (size_t o = 0; o < n; o++) rows[(g * n + o) * k + i] = stored[(g * k + i) * n + o];
    w->w = (k_weight){.data = rows, .dtype = DT_F32, .N = N, .K = k, .stride = k};
}

static void load_layer(arch_build *b, convbert_model *m, size_t il)
{
    nn_loader *ld = &b->ld;
    arch_encoder *e = &m->base;
    encoder_layer *l = &e->layers[il];
    encoder_layer_names names = bert_layer_names;
    names.q = NULL;
    if (m->groups > 1) names.up = names.down = NULL;
    nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
    load_attention(b, l, m);
    arch_encoder_layer_load(ld, l, &names, &e->cfg);
    if (m->groups == 1) return;
    l->mlp.groups = m->groups;
    const size_t H = e->cfg.hidden, F = e->cfg.ffn;
    load_grouped(b, &l->mlp.up, "intermediate.dense.weight", "intermediate.dense.bias", F, H,
                 m->groups);
    load_grouped(b, &l->mlp.down, "output.dense.weight", "output.dense.bias", H, F, m->groups);
}

static void load_heads(arch_build *b, arch_encoder *e)
{
    arch_encoder_names names = arch_electra_heads(&e->cfg);
    names.cls_act = e->cfg.act;
    if (b->m->info.head == ARCH_HEAD_MULTIPLE_CHOICE)
        arch_summary_load(b, &e->heads, &(arch_summary){.type = "last", .out = "classifier"},
                          e->cfg.hidden);
    else
        arch_encoder_heads_load(b, &e->heads, &names, e->cfg.hidden, &e->embed.words);
}

/* ------------------------------------------------------------------ forward */

static void softmax(float *x, size_t n)
{
    float top = x[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > top) top = x[i];
    for (size_t i = 0; i < n; i++) sum += x[i] = expf(x[i] - top);
    for (size_t i = 0; i < n; i++) x[i] /= sum;
}

/* y [T, 2A], its second half: neighbours of v [T, A] by the taps [T, heads K] of each place and head. */
static void sum_neighbours(arch_run *r, float *y, const float *v, float *taps,
                           const convbert_model *m)
{
    const size_t K = m->kernel, half = K / 2, D = m->dim, A = m->heads * D;
    for (size_t s = 0; nn_ok(r->cx) && s < r->seqs.n; s++) {
        const size_t a = r->seqs.start[s], b = r->seqs.start[s + 1];
        for (size_t t = a; t < b; t++)
            for (size_t h = 0; h < m->heads; h++) {
                float *tap = taps + (t * m->heads + h) * K, *sum = y + t * 2 * A + A + h * D;
                softmax(tap, K);
                for (size_t d = 0; d < D; d++) sum[d] = 0;
                for (size_t k = 0; k < K; k++) {
                    if (t + k < a + half || t + k >= b + half) continue;
                    const float *row = v + (t + k - half) * A + h * D;
                    for (size_t d = 0; d < D; d++) sum[d] += tap[k] * row[d];
                }
            }
    }
}

static void attention(arch_run *r, float *y, const float *x, const encoder_layer *l,
                      const nn_attn *unused, size_t il)
{
    (void)unused; // says nothing of the heads that attend
    nn_ctx *cx = r->cx;
    const convbert_model *m = r->impl;
    const mixed_attention *w = l->own;
    const size_t T = r->seqs.rows, H = m->base.cfg.hidden, D = m->dim, A = m->heads * D;
    const nn_attn attn = {.heads = m->heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, A), *k = nn_f32(cx, T, A), *v = nn_f32(cx, T, A); // [T, A]
    float *out = nn_f32(cx, T, A), *by = nn_f32(cx, T, A);                     // [T, A]
    float *near = nn_f32(cx, T, H), *ctx = nn_f32(cx, T, H);                   // [T, H]
    float *taps = nn_f32(cx, T, m->heads * m->kernel);
    nn_linear_group(cx, (float *[]){q, k, v, out}, x,
                    (const nn_linear_w *[]){&w->q, &w->k, &w->v, &w->out}, 4, T);
    nn_convolve(cx, near, x, &(nn_taps){.w = w->near, .n = m->kernel, .share = 1}, &r->seqs, H);
    nn_linear(cx, by, near, &w->far, T);
    nn_act_mul(cx, by, by, q, T * A, K_ACT_NONE);
    nn_linear(cx, taps, by, &w->taps, T);
    nn_attend(cx, by, (nn_heads){q, A, D}, (nn_heads){k, A, D}, (nn_heads){v, A, D}, &r->seqs,
              &attn, il);
    for (size_t t = 0; nn_ok(cx) && t < T; t++)
        for (size_t i = 0; i < A; i++) ctx[t * H + i] = by[t * A + i];
    sum_neighbours(r, ctx, out, taps, m);
    nn_linear(cx, y, ctx, &l->attn.o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* ------------------------------------------------------------------ registry */

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    convbert_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_encoder *e = &m->base;
    read_config(&b->cfg, m);
    e->attention = attention;
    e->layers = arch_new(b, e->cfg.layers, sizeof *e->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    e->embed.types_last = true;
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    nn_scope(ld, "%s", ld->base);
    if (e->cfg.embed != e->cfg.hidden)
        nn_load_linear(ld, &e->project, "embeddings_project", e->cfg.hidden, e->cfg.embed, NN_BIAS);
    for (size_t il = 0; il < e->cfg.layers; il++) load_layer(b, m, il);
    load_heads(b, e);
    return arch_encoder_done(b, e, err);
}

const arch_family arch_convbert = {
    .model_types = (const char *const[]){"convbert", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("ConvBert"), NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "convbert.",
    .ignorable = (const char *const[]){"position_ids", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
