/* Jamba, Bamba and Falcon-H1: attention and mamba in one model. Lieber et al. 2024, arXiv:2403.19887; IBM et al. 2024;
 * Zuo et al. 2025, arXiv:2507.22448; transformers 4.57 models/{jamba,bamba,falcon_h1}/modeling_*.py.
 *
 *   ids ─ embedding ─ n x [ x += mixer(rms x);  x += feed_forward(rms x) ] ─ rms ─ head
 *
 *   jamba      attention without positions every attn_layer_period layers, else mamba, whose dt, B and C are normed;
 *              experts (softmax over all, top k) every expert_layer_period layers, else an mlp
 *   bamba      attention in attn_layer_indices, half of each head rotated; else mamba-2
 *   falcon_h1  mixer(x) = attention(x) + mamba-2(x) in each layer; everything has a multiplier
 *
 * Easy to get wrong: experts' weights are not divided by their sum; falcon_h1's norm may come before the gate, or be
 * absent, and takes each group by itself; its multipliers of in_proj differ by part. Checked on: random checkpoints of
 * the library. */
#include <math.h>
#include <stdio.h>

#include "arch/arch_recurrent.h"

typedef enum { JAMBA, BAMBA, FALCON_H1 } hybrid_kind;

typedef struct {
    hybrid_kind kind;
    size_t ffn, experts, top_k;
    k_act act;
    float eps;
    unsigned attn, mlp; // NN_BIAS or NN_NO_BIAS
    mamba_plan mamba;
    mamba2_plan mamba2;
} hybrid_config;

/* ------------------------------------------------------------------ config.json */

/* i % period == offset, as "X_layer_period" and "X_layer_offset" say. */
static bool falls_on(arch_config *c, const char *what, size_t il, size_t period, size_t offset)
{
    char key[64];
    snprintf(key, sizeof key, "%s_layer_period", what);
    period = cfg_size(c, key, period, 1, 1 << 20);
    snprintf(key, sizeof key, "%s_layer_offset", what);
    offset = cfg_size(c, key, offset, 0, 1 << 20);
    if (offset >= period)
        cfg_fail(c, "%s layer offset (%zu) must be smaller than %s layer period (%zu)", what,
                 offset, what, period);
    return il % period == offset;
}

static bool is_attention(arch_config *c, const hybrid_config *o, size_t il)
{
    if (o->kind == JAMBA) return falls_on(c, "attn", il, 8, 4);
    const json *list = cfg_get(c, "attn_layer_indices");
    for (size_t i = 0; i < json_len(list); i++)
        if (json_int(json_at(list, i), -1) == (int64_t)il) return true;
    return false;
}

static void read_mamba(arch_config *c, hybrid_config *o, size_t hidden)
{
    if (o->kind == JAMBA) {
        o->mamba =
            (mamba_plan){.inner = arch_mamba_inner(c, NULL, "mamba_expand", hidden),
                         .n = cfg_size(c, "mamba_d_state", 16, 1, ARCH_STATE_MAX),
                         .rank = arch_mamba_rank(c, "mamba_dt_rank", hidden),
                         .width = cfg_size(c, "mamba_d_conv", 4, 1, ARCH_CONV_MAX),
                         .act = o->act,
                         .proj = cfg_bool(c, "mamba_proj_bias", false) ? NN_BIAS : NN_NO_BIAS,
                         .conv = cfg_bool(c, "mamba_conv_bias", true) ? NN_BIAS : NN_NO_BIAS,
                         .dt_norm = "dt_layernorm",
                         .b_norm = "b_layernorm",
                         .c_norm = "c_layernorm",
                         .eps = o->eps};
        return;
    }
    const bool h1 = o->kind == FALCON_H1;
    const bool given = h1 && (cfg_get(c, "mamba_d_ssm") || !json_get(c->root, "mamba_d_ssm"));
    o->mamba2 = (mamba2_plan){.heads = 128, .groups = 1, .n = 256, .eps = o->eps};
    o->mamba2.inner =
        given ? cfg_dim(c, "mamba_d_ssm", 1024) : arch_mamba_inner(c, NULL, "mamba_expand", hidden);
    arch_mamba2_config(c, &o->mamba2);
    if (!h1) return;
    o->mamba2.out = cfg_bool(c, "projectors_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->mamba2.unnormed = !cfg_bool(c, "mamba_rms_norm", false);
    o->mamba2.group_norm = true;
    o->mamba2.norm_first = cfg_bool(c, "mamba_norm_before_gate", true);
}

static void read_config(arch_config *c, hybrid_config *o, arch_decoder *d)
{
    const bool jamba = o->kind == JAMBA;
    *d = (arch_decoder){.hidden = 4096,
                        .n_layers = 32,
                        .heads = 32,
                        .kv_heads = 8,
                        .vocab = jamba ? 65536 : 128000};
    arch_decoder_config(c, d);
    o->ffn = cfg_dim(c, "intermediate_size", 14336);
    o->act = cfg_act(c, "hidden_act", "silu");
    o->eps = cfg_float(c, "rms_norm_eps", jamba ? 1e-6f : 1e-5f);
    o->attn = !jamba && cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->mlp = !jamba && cfg_bool(c, "mlp_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->experts = jamba ? cfg_size(c, "num_experts", 16, 1, 4096) : 1;
    o->top_k = cfg_size(c, "num_experts_per_tok", 2, 1, 64);
    if (jamba && o->experts > 1 && o->top_k > o->experts)
        cfg_fail(c, "\"num_experts_per_tok\" %zu is above \"num_experts\" %zu", o->top_k,
                 o->experts);
    read_mamba(c, o, d->hidden);
}

/* ------------------------------------------------------------------ layers */

static void load_experts(arch_build *b, nn_moe_w *m, size_t H, const hybrid_config *o)
{
    nn_loader *ld = &b->ld;
    *m = (nn_moe_w){.n = o->experts, .top_k = o->top_k, .scores = NN_MOE_SOFTMAX};
    m->experts = arch_new(b, m->n, sizeof *m->experts);
    nn_load_linear(ld, &m->router, "feed_forward.router", m->n, H, NN_NO_BIAS | NN_KEEP_FLOAT);
    for (size_t e = 0; m->experts && e < m->n; e++) {
        char name[64];
        snprintf(name, sizeof name, "feed_forward.experts.%zu", e);
        arch_decoder_mlp_load(ld, &m->experts[e], name, H, o->ffn, o->act, NN_NO_BIAS);
    }
}

static void load_layer(arch_build *b, decoder_layer *l, const arch_decoder *d,
                       const hybrid_config *o, size_t il)
{
    nn_loader *ld = &b->ld;
    const size_t H = d->hidden;
    nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_RMS, H, o->eps, 0);
    nn_load_norm(ld, &l->norm2, "pre_ff_layernorm", NN_NORM_RMS, H, o->eps, 0);
    if (o->kind == FALCON_H1 || is_attention(&b->cfg, o, il))
        arch_decoder_attn_load(ld, &l->attn, d, o->attn, o->attn);
    else if (o->kind == JAMBA)
        arch_mamba_layer(b, l, "mamba", H, &o->mamba);
    else
        arch_mamba2_layer(b, l, "mamba", H, &o->mamba2);
    if (o->experts > 1 && falls_on(&b->cfg, "expert", il, 2, 1))
        load_experts(b, &l->moe, H, o);
    else
        arch_decoder_mlp_load(ld, &l->mlp, "feed_forward", H, o->ffn, o->act, o->mlp);
}

/* ------------------------------------------------------------------ falcon_h1 */

/* Both mixers on the same input, added. */
static void side_by_side(arch_run *r, float *y, const float *x, const decoder_layer *w,
                         const nn_attn *a, const nn_rope_rows *rope, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = ((const arch_decoder *)r->impl)->hidden;
    const nn_mark mark = nn_save(cx);
    float *other = nn_f32(cx, T, H);
    nn_mamba2(cx, other, x, w->own, &r->seqs);
    nn_self_attention(cx, y, x, &w->attn, a, &r->seqs, rope, il);
    nn_add(cx, y, other, T * H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* Entry i of a list of multipliers, 1 where there is none. */
static float multiplier(arch_config *c, const char *key, size_t i)
{
    return (float)json_double(json_at(cfg_get(c, key), i), 1);
}

/* w becomes by (w (in x) + bias), one multiplier for all outputs. */
static void multiply(arch_build *b, nn_linear_w *w, float in, float by)
{
    float *all = arch_new(b, w->w.N, sizeof *all);
    for (size_t n = 0; all && n < w->w.N; n++) all[n] = by;
    if (all) nn_load_scaled(&b->ld, w, in, all);
}

/* The five parts of in_proj, each with its multiplier. */
static void multiply_parts(arch_build *b, nn_linear_w *w, const mamba2_plan *p)
{
    const size_t parts[] = {p->inner, p->inner, p->groups * p->n, p->groups * p->n, p->heads};
    float *all = arch_new(b, w->w.N, sizeof *all);
    for (size_t i = 0, n = 0; all && i < 5; i++)
        for (size_t end = n + parts[i]; n < end && n < w->w.N; n++)
            all[n] = multiplier(&b->cfg, "ssm_multipliers", i);
    if (all) nn_load_scaled(&b->ld, w, cfg_float(&b->cfg, "ssm_in_multiplier", 1), all);
}

static void load_beside(arch_build *b, decoder_layer *l, const arch_decoder *d,
                        const hybrid_config *o)
{
    arch_config *c = &b->cfg;
    nn_mamba2_w *w = arch_new(b, 1, sizeof *w);
    if (!w) return;
    arch_mamba2_load(b, w, "mamba", d->hidden, &o->mamba2);
    l->own = w;
    multiply_parts(b, &w->in, &o->mamba2);
    multiply(b, &w->out, 1, cfg_float(c, "ssm_out_multiplier", 1));
    const float in = cfg_float(c, "attention_in_multiplier", 1);
    multiply(b, &l->attn.q, in, 1);
    multiply(b, &l->attn.k, in, cfg_float(c, "key_multiplier", 1));
    multiply(b, &l->attn.v, in, 1);
    multiply(b, &l->attn.o, 1, cfg_float(c, "attention_out_multiplier", 1));
    multiply(b, &l->mlp.gate, 1, multiplier(c, "mlp_multipliers", 0));
    multiply(b, &l->mlp.down, 1, multiplier(c, "mlp_multipliers", 1));
}

/* ------------------------------------------------------------------ load */

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    const mltf_str type = str_from(b->m->info.model_type);
    hybrid_config o = {.kind = str_is(type, "jamba")   ? JAMBA
                               : str_is(type, "bamba") ? BAMBA
                                                       : FALCON_H1};
    read_config(c, &o, d);
    const bool h1 = o.kind == FALCON_H1;
    if (o.kind != JAMBA)
        arch_rope_load(
            &d->rope, b,
            &(arch_rope_options){
                .dim =
                    h1 ? d->head_dim : arch_rope_dim(c, d->head_dim, "partial_rotary_factor", 0.5),
                .theta = h1 ? 100000 : 10000,
                .max_positions = cfg_dim(c, "max_position_embeddings", h1 ? 8192 : 262144)});
    if (h1) {
        d->attention = side_by_side;
        d->embed_scale = cfg_float(c, "embedding_multiplier", 1);
    }
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, d->hidden, 0);
    nn_load_norm(ld, &d->norm, "final_layernorm", NN_NORM_RMS, d->hidden, o.eps, 0);
    for (size_t il = 0; il < d->n_layers; il++) {
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        load_layer(b, &d->layers[il], d, &o, il);
        if (h1) load_beside(b, &d->layers[il], d, &o);
    }
    arch_decoder_heads_load(b, &d->heads_w, d->hidden, &d->words, "lm_head", NN_NO_BIAS, false);
    if (h1 && b->m->info.head == ARCH_HEAD_LM)
        d->heads_w.head.scale = cfg_float(c, "lm_head_multiplier", 1);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_jamba = {
    .model_types = (const char *const[]){"jamba", "bamba", "falcon_h1", NULL},
    .classes =
        (const char *const[]){"JambaModel", "JambaForCausalLM", "JambaForSequenceClassification",
                              "BambaModel", "BambaForCausalLM", "FalconH1Model",
                              "FalconH1ForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
