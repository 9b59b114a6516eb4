/* JetMoE. Shen et al. 2024, arXiv:2404.07413; transformers 4.57 models/jetmoe/modeling_jetmoe.py.
 *
 *   ids ─ embedding ─ n x [ x += attention(rms x);  x += experts(rms x) + bias ] ─ rms ─ head
 *
 *   attention: a router chooses k experts a token, each a matrix in front of the queries and one behind what they
 *   saw; keys and values are the same for all experts
 *
 * Easy to get wrong: as many heads of queries as heads of keys for each chosen expert, in the order of the choice; both
 * sums of experts have a bias; the layers' norms know nothing of rms_norm_eps. Checked on: random checkpoints of the
 * library. */
#include <string.h>

#include "arch/arch_decoder.h"

typedef struct {
    nn_moe_w route;        // the choice alone
    nn_linear_w *in, *out; // [n] of [N D, H] and [H, N D]: N heads of keys
    nn_linear_w kv;        // [2 N D, H]
    const float *bias;     // [H]
} jetmoe_attention;

/* ------------------------------------------------------------------ forward */

/* Choice i of all rows, in queries [T, N, K, D]: the heads of the chosen expert, one after the other. */
static float *place(float *q, size_t i, size_t K, size_t N, size_t D, size_t head)
{
    return q + ((i / K * N + head) * K + i % K) * D;
}

/* Rows x [T, H] through the matrix in front of each choice. */
static void project_in(nn_ctx *cx, float *q, const float *x, const nn_choice *c,
                       const jetmoe_attention *w, size_t T, size_t N, size_t D)
{
    const size_t K = w->route.top_k, H = w->kv.w.K;
    const nn_mark mark = nn_save(cx);
    float *rows = nn_f32(cx, T, H), *out = nn_f32(cx, T, N * D);
    for (size_t e = 0; nn_ok(cx) && e < w->route.n; e++) {
        size_t n = 0;
        for (size_t i = 0; i < T * K; i++)
            if (c[i].expert == e) memcpy(rows + n++ * H, x + i / K * H, H * sizeof *x);
        if (n) nn_linear(cx, out, rows, &w->in[e], n);
        n = 0;
        for (size_t i = 0; nn_ok(cx) && i < T * K; i++) {
            if (c[i].expert != e) continue;
            for (size_t h = 0; h < N; h++)
                memcpy(place(q, i, K, N, D, h), out + (n * N + h) * D, D * sizeof *q);
            n++;
        }
    }
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* y [T, H] = what each choice saw, through the matrix behind it, by its weight. */
static void project_out(nn_ctx *cx, float *y, float *seen, const nn_choice *c,
                        const jetmoe_attention *w, size_t T, size_t N, size_t D)
{
    const size_t K = w->route.top_k, H = w->kv.w.K;
    const nn_mark mark = nn_save(cx);
    float *rows = nn_f32(cx, T, N * D), *out = nn_f32(cx, T, H);
    for (size_t t = 0; nn_ok(cx) && t < T; t++) memcpy(y + t * H, w->bias, H * sizeof *y);
    for (size_t e = 0; nn_ok(cx) && e < w->route.n; e++) {
        size_t n = 0;
        for (size_t i = 0; i < T * K; i++) {
            if (c[i].expert != e) continue;
            for (size_t h = 0; h < N; h++)
                memcpy(rows + (n * N + h) * D, place(seen, i, K, N, D, h), D * sizeof *rows);
            n++;
        }
        if (n) nn_linear(cx, out, rows, &w->out[e], n);
        n = 0;
        for (size_t i = 0; nn_ok(cx) && i < T * K; i++) {
            if (c[i].expert != e) continue;
            for (size_t k = 0; k < H; k++) y[i / K * H + k] += c[i].weight * out[n * H + k];
            n++;
        }
    }
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void attention(arch_run *r, float *y, const float *x, const decoder_layer *l,
                      const nn_attn *a, const nn_rope_rows *rope, size_t il)
{
    nn_ctx *cx = r->cx;
    const jetmoe_attention *w = l->own;
    const size_t T = r->seqs.rows, NQ = a->heads, N = a->kv_heads, D = a->dim;
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, NQ * D), *kv = nn_f32(cx, T, 2 * N * D), *ctx = nn_f32(cx, T, NQ * D);
    const nn_choice *c = nn_moe_route(cx, x, &w->route, T);
    project_in(cx, q, x, c, w, T, N, D);
    nn_linear(cx, kv, x, &w->kv, T);
    nn_rope_apply(cx, q, NQ * D, D, NQ, rope, T);
    nn_rope_apply(cx, kv, 2 * N * D, D, N, rope, T);
    nn_attend(cx, ctx, (nn_heads){q, NQ * D, D}, (nn_heads){kv, 2 * N * D, D},
              (nn_heads){nn_ok(cx) ? kv + N * D : NULL, 2 * N * D, D}, &r->seqs, a, il);
    project_out(cx, y, ctx, c, w, T, N, D);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* ------------------------------------------------------------------ load */

static void load_router(nn_loader *ld, nn_moe_w *m, const char *name, size_t n, size_t top_k,
                        size_t H)
{
    *m = (nn_moe_w){.n = n, .top_k = top_k, .scores = NN_MOE_SOFTMAX_TOPK};
    nn_load_linear(ld, &m->router, name, n, H, NN_NO_BIAS | NN_KEEP_FLOAT);
}

static const jetmoe_attention *load_attention(arch_build *b, const arch_decoder *d, size_t experts,
                                              size_t top_k)
{
    nn_loader *ld = &b->ld;
    const size_t H = d->hidden, W = d->kv_heads * d->head_dim;
    jetmoe_attention *w = arch_new(b, 1, sizeof *w);
    if (!w) return NULL;
    w->in = arch_new(b, experts, sizeof *w->in);
    w->out = arch_new(b, experts, sizeof *w->out);
    load_router(ld, &w->route, "self_attention.experts.router.layer", experts, top_k, H);
    for (size_t e = 0; w->in && w->out && e < experts; e++) {
        nn_load_stacked(ld, &w->in[e], "self_attention.experts.input_linear.weight", NULL, e,
                        experts, W, H, 0);
        nn_load_stacked(ld, &w->out[e], "self_attention.experts.output_linear.weight", NULL, e,
                        experts, H, W, 0);
    }
    nn_load_linear(ld, &w->kv, "self_attention.kv_proj", 2 * W, H, NN_NO_BIAS);
    w->bias = nn_load_vector(ld, "self_attention.experts.bias", H, 0);
    return w;
}

static void load_experts(arch_build *b, nn_moe_w *m, size_t H, size_t F, k_act act, size_t experts,
                         size_t top_k)
{
    nn_loader *ld = &b->ld;
    load_router(ld, m, "mlp.router.layer", experts, top_k, H);
    m->bias = nn_load_vector(ld, "mlp.bias", H, 0);
    arch_stacked_experts_load(b, m, "mlp.input_linear.weight", "mlp.output_linear.weight", H, F,
                              act, 0);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    static const float eps = 1e-6f; // of the layers
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    const size_t experts = cfg_size(c, "num_local_experts", 8, 1, 4096),
                 top_k = cfg_size(c, "num_experts_per_tok", 2, 1, 64),
                 kv_heads = cfg_dim(c, "num_key_value_heads", 16);
    *d = (arch_decoder){.hidden = cfg_dim(c, "hidden_size", 2048),
                        .n_layers = cfg_layers(c, "num_hidden_layers", 12),
                        .heads = kv_heads * top_k,
                        .kv_heads = kv_heads,
                        .head_dim = cfg_dim(c, "kv_channels|head_dim", 128),
                        .vocab = cfg_dim(c, "vocab_size", 32000),
                        .attention = attention};
    if (top_k > experts)
        cfg_fail(c, "\"num_experts_per_tok\" %zu is above \"num_local_experts\" %zu", top_k,
                 experts);
    const size_t H = d->hidden, F = cfg_dim(c, "intermediate_size", 5632);
    const k_act act = cfg_act(c, "activation_function", "silu");
    arch_decoder_rope(b, d, 10000, 4096);
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "norm", NN_NORM_RMS, H, cfg_float(c, "rms_norm_eps", eps), 0);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_RMS, H, eps, 0);
        nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_RMS, H, eps, 0);
        l->own = load_attention(b, d, experts, top_k);
        load_experts(b, &l->moe, H, F, act, experts, top_k);
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, true);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_jetmoe = {
    .model_types = (const char *const[]){"jetmoe", NULL},
    .classes = (const char *const[]){"JetMoeModel", "JetMoeForCausalLM",
                                     "JetMoeForSequenceClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
