/* DeepSeek V2 and V3. DeepSeek-AI 2024, arXiv:2405.04434 and arXiv:2412.19437; transformers 4.57
 * models/deepseek_v2/modeling_deepseek_v2.py, models/deepseek_v3/modeling_deepseek_v3.py.
 *
 *   ids ─ embedding ─ n x [ rms ─ latent attention ─ (+x) ─ rms ─ experts or mlp ─ (+x) ] ─ rms ─ head
 *
 *   latent attention: q = b(rms(a x)), or one projection;  [latent | k_rot] = kv_a x
 *                     [k_pass | v] of each head = kv_b(rms(latent));  k = [k_pass | rope(k_rot), the same for all heads]
 *
 *               experts of a token                                             rope
 *   deepseek_v2 softmax; the best, or the best of the best groups (by maximum)  neighbours
 *   deepseek_v3 sigmoid, chosen by score + correction from the best groups      neighbours (rope_interleave)
 *               (by the sum of their best two); weights divided by their sum
 *
 * Easy to get wrong: the pass part stands before the rotated one; values are narrower than keys; the norms of
 * the latents have an epsilon of their own (1e-6); with yarn V3 scales the scores by mscale squared, V2 only in 5.x;
 * V2 ignores norm_topk_prob; the cache holds keys and values, not latents. Checked on: fixtures
 * deepseek_v2-base, deepseek_v3-base. */
#include "arch/arch_decoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    size_t q_rank, kv_rank, pass, rot,
        v; // q_lora_rank (0: none), kv_lora_rank, qk_nope_, qk_rope_, v_head_dim
} mla_dims;

typedef struct {
    mla_dims dims;
    nn_linear_w q, q_a, q_b, kv_a, kv_b,
        o; // [heads (pass + rot), H] … [heads (pass + v), kv_rank], [H, heads v]
    nn_norm_w q_norm, kv_norm;
} mla_w;

typedef struct {
    size_t ffn, dense_layers;
    experts_plan experts;
    k_act act;
    float eps;
    unsigned attn_bias, mlp_bias;
    mla_dims dims;
} ds_config;

/* ---- attention ---- */

static void latent_attention(arch_run *r, float *y, const float *x, const decoder_layer *layer,
                             const nn_attn *a, const nn_rope_rows *rope, size_t il)
{
    nn_ctx *cx = r->cx;
    const mla_w *w = layer->own;
    const mla_dims *m = &w->dims;
    const size_t T = r->seqs.rows, N = a->heads, D = a->dim, L = m->kv_rank + m->rot,
                 B = m->pass + m->v;
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, N * D), *k = nn_f32(cx, T, N * D), *kv_a = nn_f32(cx, T, L),
          *kv = nn_f32(cx, T, N * B);
    float *latent = nn_f32(cx, T, m->kv_rank > m->q_rank ? m->kv_rank : m->q_rank),
          *ctx = nn_f32(cx, T, N * m->v);
    if (m->q_rank) {
        nn_linear(cx, latent, x, &w->q_a, T);
        nn_norm(cx, latent, latent, &w->q_norm, T);
        nn_linear(cx, q, latent, &w->q_b, T);
    } else {
        nn_linear(cx, q, x, &w->q, T);
    }
    nn_linear(cx, kv_a, x, &w->kv_a, T);
    nn_columns(cx, latent, kv_a, L, 0, m->kv_rank, T);
    nn_norm(cx, latent, latent, &w->kv_norm, T);
    nn_linear(cx, kv, latent, &w->kv_b, T);
    if (!nn_ok(cx)) return;
    nn_rope_apply(cx, q + m->pass, N * D, D, N, rope, T);
    nn_rope_apply(cx, kv_a + m->kv_rank, L, L, 1, rope, T);
    for (size_t t = 0; t < T; t++)
        for (size_t h = 0; h < N; h++) {
            float *to = k + (t * N + h) * D;
            memcpy(to, kv + (t * N + h) * B, m->pass * sizeof *to);
            memcpy(to + m->pass, kv_a + t * L + m->kv_rank, m->rot * sizeof *to);
        }
    nn_attend(cx, ctx, (nn_heads){q, N * D, D}, (nn_heads){k, N * D, D},
              (nn_heads){kv + m->pass, N * B, B}, &r->seqs, a, il);
    nn_linear(cx, y, ctx, &w->o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* ---- load ---- */

static void read_config(arch_config *c, ds_config *o, arch_decoder *d, bool v3)
{
    *d = (arch_decoder){.hidden = v3 ? 7168 : 4096,
                        .n_layers = v3 ? 61 : 32,
                        .heads = v3 ? 128 : 32,
                        .vocab = v3 ? 129280 : 32000};
    arch_decoder_config(c, d);
    o->experts = (experts_plan){.n = v3 ? 256 : 64,
                                .top_k = v3 ? 8 : 1,
                                .groups = v3 ? 8 : 1,
                                .top_groups = v3 ? 4 : 1,
                                .ffn = v3 ? 2048 : 1407,
                                .shared = v3 ? 1 : 2,
                                .scale = v3 ? 2.5f : 1,
                                .scores = v3 ? NN_MOE_SIGMOID : NN_MOE_SOFTMAX,
                                .normalize = true,
                                .group_by_max = !v3,
                                .correction = v3};
    arch_decoder_experts_config(c, &o->experts);
    if (!v3) o->experts.normalize = false; // its norm_topk_prob is read by nobody
    o->ffn = cfg_dim(c, "intermediate_size", v3 ? 18432 : 11008);
    o->dense_layers = cfg_size(c, "first_k_dense_replace", v3 ? 3 : 0, 0, LIMIT_LAYERS);
    o->act = cfg_act(c, "hidden_act", "silu");
    o->eps = cfg_float(c, "rms_norm_eps", 1e-6f);
    o->attn_bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->mlp_bias = !v3 && cfg_bool(c, "mlp_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const json *rank = json_get(c->root, "q_lora_rank"); // null: one projection
    o->dims = (mla_dims){.q_rank = json_is(rank, JSON_NULL) ? 0 : cfg_dim(c, "q_lora_rank", 1536),
                         .kv_rank = cfg_dim(c, "kv_lora_rank", 512),
                         .pass = cfg_dim(c, "qk_nope_head_dim", 128),
                         .rot = cfg_dim(c, "qk_rope_head_dim", 64),
                         .v = cfg_dim(c, "v_head_dim", 128)};
    const mltf_str method = cfg_str(c, "topk_method", "greedy");
    if (!v3 && !str_is(method, "group_limited_greedy")) {
        o->experts.groups = o->experts.top_groups = 1;
        if (!str_is(method, "greedy"))
            cfg_fail(c,
                     "\"topk_method\" \"" STR_FMT
                     "\" is not supported; supported: greedy, group_limited_greedy",
                     STR_ARG(method));
    }
    o->experts.act = o->act;
    o->experts.bias = o->mlp_bias;
    d->kv_heads = d->heads;
    d->head_dim = o->dims.pass + o->dims.rot;
    d->v_dim = o->dims.v;
    d->attention = latent_attention;
}

/* V3 with yarn: the scores grow with the context's stretch. */
static float score_scale(const arch_config *c, const arch_decoder *d, bool v3)
{
    const json *five = cfg_get(c, "rope_parameters"), *p = five ? five : cfg_get(c, "rope_scaling");
    const double all = json_double(json_get(p, "mscale_all_dim"), 0),
                 factor = json_double(json_get(p, "factor"), 1);
    const double mscale = (v3 || five) && all != 0 && factor > 1 ? 0.1 * all * log(factor) + 1 : 1;
    return (float)(1 / sqrt((double)d->head_dim) * mscale * mscale);
}

static const mla_w *load_attention(arch_build *b, const arch_decoder *d, const ds_config *c)
{
    nn_loader *ld = &b->ld;
    const mla_dims *m = &c->dims;
    const size_t H = d->hidden, N = d->heads;
    mla_w *w = arch_new(b, 1, sizeof *w);
    if (!w) return NULL;
    w->dims = *m;
    if (m->q_rank) {
        nn_load_linear(ld, &w->q_a, "self_attn.q_a_proj", m->q_rank, H, c->attn_bias);
        nn_load_norm(ld, &w->q_norm, "self_attn.q_a_layernorm", NN_NORM_RMS, m->q_rank, 1e-6f, 0);
        nn_load_linear(ld, &w->q_b, "self_attn.q_b_proj", N * d->head_dim, m->q_rank, NN_NO_BIAS);
    } else {
        nn_load_linear(ld, &w->q, "self_attn.q_proj", N * d->head_dim, H, NN_NO_BIAS);
    }
    nn_load_linear(ld, &w->kv_a, "self_attn.kv_a_proj_with_mqa", m->kv_rank + m->rot, H,
                   c->attn_bias);
    nn_load_norm(ld, &w->kv_norm, "self_attn.kv_a_layernorm", NN_NORM_RMS, m->kv_rank, 1e-6f, 0);
    nn_load_linear(ld, &w->kv_b, "self_attn.kv_b_proj", N * (m->pass + m->v), m->kv_rank,
                   NN_NO_BIAS);
    nn_load_linear(ld, &w->o, "self_attn.o_proj", H, N * m->v, c->attn_bias);
    return w;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    const bool v3 = str_is(str_from(b->m->info.model_type), "deepseek_v3");
    ds_config c = {0};
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    read_config(&b->cfg, &c, d, v3);
    d->scale = score_scale(&b->cfg, d, v3);
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){.dim = c.dims.rot,
                             .theta = 10000,
                             .max_positions =
                                 cfg_dim(&b->cfg, "max_position_embeddings", v3 ? 4096 : 2048),
                             .interleaved = !v3 || cfg_bool(&b->cfg, "rope_interleave", true)});
    TRY(arch_decoder_layers(b, d, err));

    const size_t H = d->hidden;
    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "norm", NN_NORM_RMS, H, c.eps, 0);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_RMS, H, c.eps, 0);
        nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_RMS, H, c.eps, 0);
        l->own = load_attention(b, d, &c);
        if (il >= c.dense_layers)
            arch_decoder_experts_load(b, &l->moe, H, &c.experts);
        else
            arch_decoder_mlp_load(ld, &l->mlp, "mlp", H, c.ffn, c.act, c.mlp_bias);
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, false);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_deepseek = {
    .model_types = (const char *const[]){"deepseek_v2", "deepseek_v3", NULL},
    .classes = (const char *const[]){"DeepseekV2Model", "DeepseekV2ForCausalLM",
                                     "DeepseekV2ForSequenceClassification",
                                     ARCH_DECODER_CLASSES("DeepseekV3"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
