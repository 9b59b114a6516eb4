/* DiffLlama: llama whose heads subtract each other. Ye et al. 2024, arXiv:2410.05258; transformers 4.57
 * models/diffllama/modeling_diffllama.py.
 *
 *   attention: head i and head i + n/2 attend to the values of both, side by side;
 *              y_i = (1 - l0) rms(a_i - l a_{i + n/2}),  l = exp(q1·k1) - exp(q2·k2) + l0,  l0 = 0.8 - 0.6 exp(-0.3 layer)
 *
 * Easy to get wrong: values pair up behind the repetition of grouped heads; the norm has no weight. Keys are kept once
 * for each head of the queries, since the two that share keys do not share values. Checked on: random checkpoints of the
 * library. */
#include <math.h>
#include <string.h>

#include "arch/arch_decoder.h"

typedef struct {
    float start, lambda; // l0, l
} difference;

typedef struct {
    arch_decoder base;
    size_t kv_heads; // of the projections
    nn_norm_w norm;  // [2 D], without weight
} diffllama_model;

/* Keys of each head of the queries, [T, heads, D], and the values of both of its pair, [T, heads, 2 D]. */
static void spread(const diffllama_model *m, float *k, float *v, const float *keys,
                   const float *values, size_t T)
{
    const size_t N = m->base.heads, D = m->base.head_dim, K = m->kv_heads, group = N / K;
    for (size_t i = 0; i < T * N; i++) {
        const size_t t = i / N, h = i % N, first = h % (N / 2), second = first + N / 2;
        memcpy(k + i * D, keys + (t * K + h / group) * D, D * sizeof *k);
        memcpy(v + i * 2 * D, values + (t * K + first / group) * D, D * sizeof *v);
        memcpy(v + i * 2 * D + D, values + (t * K + second / group) * D, D * sizeof *v);
    }
}

static void attention(arch_run *r, float *y, const float *x, const decoder_layer *l,
                      const nn_attn *a, const nn_rope_rows *rope, size_t il)
{
    nn_ctx *cx = r->cx;
    const diffllama_model *m = r->impl;
    const difference *w = l->own;
    const size_t T = r->seqs.rows, N = a->heads, D = a->dim, K = m->kv_heads;
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, N * D), *keys = nn_f32(cx, T, K * D), *values = nn_f32(cx, T, K * D);
    float *k = nn_f32(cx, T, N * D),
          *v = nn_f32(cx, T, 2 * N * D); // [T, heads, D], [T, heads, 2 D]
    float *both = nn_f32(cx, T, 2 * N * D), *ctx = nn_f32(cx, T, N * D);
    nn_linear_group(cx, (float *[]){q, keys, values}, x,
                    (const nn_linear_w *[]){&l->attn.q, &l->attn.k, &l->attn.v}, 3, T);
    nn_rope_apply(cx, q, N * D, D, N, rope, T);
    nn_rope_apply(cx, keys, K * D, D, K, rope, T);
    if (nn_ok(cx)) spread(m, k, v, keys, values, T);
    nn_attend(cx, both, (nn_heads){q, N * D, D}, (nn_heads){k, N * D, D},
              (nn_heads){v, 2 * N * D, 2 * D}, &r->seqs, a, il);
    for (size_t t = 0; nn_ok(cx) && t < T; t++)
        for (size_t i = 0; i < N * D; i++)
            ctx[t * N * D + i] =
                both[t * 2 * N * D + i] - w->lambda * both[t * 2 * N * D + N * D + i];
    nn_norm(cx, ctx, ctx, &m->norm, T * N / 2);
    nn_scale(cx, ctx, 1 - w->start, T * N * D);
    nn_linear(cx, y, ctx, &l->attn.o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void load_lambda(arch_build *b, const arch_decoder *d, size_t il)
{
    static const char *const names[] = {"self_attn.lambda_q1", "self_attn.lambda_k1",
                                        "self_attn.lambda_q2", "self_attn.lambda_k2"};
    const float *v[4];
    difference *w = arch_new(b, 1, sizeof *w);
    nn_scope(&b->ld, "%slayers.%zu.", b->ld.base, il);
    for (size_t i = 0; i < 4; i++)
        if (!(v[i] = nn_load_vector(&b->ld, names[i], d->head_dim, 0)) || !w) return;
    float dot[2] = {0};
    for (size_t i = 0; i < 2 * d->head_dim; i++) {
        const size_t pair = i / d->head_dim, at = i % d->head_dim;
        dot[pair] += v[2 * pair][at] * v[2 * pair + 1][at];
    }
    w->start = (float)(0.8 - 0.6 * exp(-0.3 * (double)il));
    w->lambda = expf(dot[0]) - expf(dot[1]) + w->start;
    d->layers[il].own = w;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    diffllama_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_decoder *d = &m->base;
    *d = (arch_decoder){.hidden = 2048, .n_layers = 16, .heads = 32, .vocab = 32000};
    arch_decoder_config(c, d);
    const unsigned bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const decoder_plan p = {.ffn = cfg_dim(c, "intermediate_size", 8192),
                            .act = cfg_act(c, "hidden_act", "silu"),
                            .eps = cfg_float(c, "rms_norm_eps", 1e-5f),
                            .qkv = bias,
                            .o = bias};
    if (d->heads % 2) cfg_fail(c, "%zu heads do not pair up", d->heads);
    m->kv_heads = d->kv_heads;
    m->norm = (nn_norm_w){.kind = NN_NORM_RMS, .n = 2 * d->head_dim, .eps = p.eps};
    arch_decoder_rope(b, d, 10000, 2048);
    TRY(arch_decoder_layers(b, d, err));
    TRY(arch_decoder_load(b, d, &p, err));
    for (size_t il = 0; il < d->n_layers; il++) load_lambda(b, d, il);
    d->attention = attention;
    d->kv_heads = d->heads;
    d->v_dim = 2 * d->head_dim;
    return arch_decoder_done(b, d, err);
}

const arch_family arch_diffllama = {
    .model_types = (const char *const[]){"diffllama", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("DiffLlama"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.|transformer.", // …ForQuestionAnswering has the other
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
