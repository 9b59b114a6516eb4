/* The llama block with a mixture of experts: mixtral, qwen2_moe, qwen3_moe, olmoe, granitemoe and its kin.
 * Jiang et al. 2024, arXiv:2401.04088; transformers 4.57 models/{mixtral,qwen2_moe,qwen3_moe,olmoe,granitemoe,
 * granitemoeshared,granitemoehybrid}.
 *
 *   ids ─ embedding ─ n x [ rms ─ q k v ─ rope ─ causal attention ─ o ─ (+x) ─ rms ─ experts or mlp ─ (+x) ] ─ rms ─ head
 *
 *               experts of a token                         besides
 *   mixtral     softmax over all, top k, divided by their sum   sliding window
 *   qwen2_moe   softmax over all, top k (norm_topk_prob)   bias on q k v; a shared expert behind a sigmoid gate
 *   qwen3_moe   the same                                   rms norm of each head of q and k; no shared expert
 *   olmoe       the same                                   rms norm of q and of k as a whole
 *   granitemoe  softmax over the top k                     all experts in one tensor; scaled embedding, scores,
 *                                                          residuals and logits
 *   granitemoeshared  the same                             a shared expert
 *   granitemoehybrid  the same, or none                    a shared expert, or it alone; layers of mamba-2
 *
 * Easy to get wrong: w1 is the gate, w3 the value, w2 the way back; layers in mlp_only_layers, or not at a
 * multiple of decoder_sparse_step, have a plain mlp. Checked on: fixtures mixtral-, qwen2_moe-, qwen3_moe-,
 * granitemoe-base. */
#include "arch/arch_recurrent.h"

#include <stdio.h>

typedef struct {
    size_t ffn, expert_ffn, shared_ffn, positions, window, experts, top_k, step;
    k_act act;
    float eps;
    nn_moe_scores scores;
    bool normalize, head_norms, row_norms;
    bool stacked; // all experts in one tensor
    bool w_names; // experts have w1, w2 and w3
    unsigned qkv, o;
} moe_config;

static void read_config(arch_config *c, moe_config *o, arch_decoder *d, mltf_str type)
{
    const bool mixtral = str_is(type, "mixtral"), qwen2 = str_is(type, "qwen2_moe"),
               qwen3 = str_is(type, "qwen3_moe");
    const bool qwen = qwen2 || qwen3, olmoe = str_is(type, "olmoe");
    const bool shared = str_is(type, "granitemoeshared"), hybrid = str_is(type, "granitemoehybrid");
    *d = (arch_decoder){.hidden = qwen ? 2048 : 4096,
                        .n_layers = qwen ? 24 : 32,
                        .heads = qwen2 ? 16 : 32,
                        .kv_heads = mixtral ? 8
                                    : qwen2 ? 16
                                    : qwen3 ? 4
                                            : 0,
                        .vocab = qwen ? 151936 : 32000};
    arch_decoder_config(c, d);
    o->ffn = cfg_dim(c, "intermediate_size", mixtral ? 14336 : qwen2 ? 5632 : qwen3 ? 6144 : 11008);
    o->expert_ffn = qwen ? cfg_dim(c, "moe_intermediate_size", qwen2 ? 1408 : 768) : o->ffn;
    o->shared_ffn = qwen2              ? cfg_dim(c, "shared_expert_intermediate_size", 5632)
                    : shared || hybrid ? cfg_size(c, "shared_intermediate_size", hybrid ? 1024 : 0,
                                                  hybrid, 1 << 24)
                                       : 0;
    o->positions = cfg_dim(c, "max_position_embeddings", mixtral ? 131072 : qwen ? 32768 : 2048);
    o->experts = cfg_size(c, "num_local_experts|num_experts",
                          qwen2   ? 60
                          : qwen3 ? 128
                          : olmoe ? 64
                                  : 8,
                          0, 4096);
    o->top_k = cfg_size(c, "num_experts_per_tok", qwen2 ? 4 : qwen3 || olmoe ? 8 : 2, 1, 64);
    o->step = cfg_size(c, "decoder_sparse_step", 1, 1, 1 << 20);
    o->act = cfg_act(c, "hidden_act", "silu");
    o->eps = cfg_float(c, "rms_norm_eps", mixtral || olmoe ? 1e-5f : 1e-6f);
    o->scores = mixtral || qwen || olmoe ? NN_MOE_SOFTMAX : NN_MOE_SOFTMAX_TOPK;
    o->normalize = mixtral || ((qwen || olmoe) && cfg_bool(c, "norm_topk_prob", false));
    o->w_names = mixtral;
    o->head_norms = qwen3;
    o->row_norms = olmoe;
    o->stacked = !mixtral && !qwen && !olmoe;
    if (olmoe && cfg_get(c, "clip_qkv")) cfg_fail(c, "\"clip_qkv\" is not supported");
    const bool bias = !mixtral && !qwen2 && cfg_bool(c, "attention_bias", false);
    o->qkv = bias || (qwen2 && cfg_bool(c, "qkv_bias", true)) ? NN_BIAS : NN_NO_BIAS;
    o->o = bias ? NN_BIAS : NN_NO_BIAS;
    o->window = mixtral ? arch_decoder_window(c, true, (size_t)1 << 40)
                : qwen  ? arch_decoder_window(c, false, 4096)
                        : 0;
    if (o->window == (size_t)1 << 40) o->window = 0; // absent: none
    if (o->top_k > o->experts && o->experts)
        cfg_fail(c, "\"num_experts_per_tok\" %zu is above the number of experts, %zu", o->top_k,
                 o->experts);
    if (o->stacked) {
        d->embed_scale = cfg_float(c, "embedding_multiplier", 1);
        d->residual_scale = cfg_float(c, "residual_multiplier", 1);
        d->scale = cfg_float(c, "attention_multiplier", 1);
    }
}

/* Does layer il have experts? */
static bool is_sparse(const arch_config *c, const moe_config *o, size_t il)
{
    const json *plain = cfg_get(c, "mlp_only_layers");
    for (size_t i = 0; i < json_len(plain); i++)
        if (json_int(json_at(plain, i), -1) == (int64_t)il) return false;
    return o->experts > 0 && (il + 1) % o->step == 0;
}

/* granitemoeshared's expert for all tokens: gate and value in one matrix. */
static void load_shared_mlp(nn_loader *ld, nn_mlp_w *m, size_t H, const moe_config *c)
{
    const size_t F = c->shared_ffn;
    nn_load_gate_up(ld, m, "shared_mlp.input_linear", F, H, NN_NO_BIAS);
    m->act = c->act;
    nn_load_linear(ld, &m->down, "shared_mlp.output_linear", H, F, NN_NO_BIAS);
}

static void load_experts(arch_build *b, nn_moe_w *m, size_t H, const moe_config *c)
{
    nn_loader *ld = &b->ld;
    const size_t F = c->expert_ffn;
    *m = (nn_moe_w){
        .n = c->experts, .top_k = c->top_k, .scores = c->scores, .normalize = c->normalize};
    if (c->w_names) {
        arch_sparse_moe_load(b, m, H, F, c->act);
        return;
    }
    nn_load_linear(ld, &m->router, "mlp.gate|block_sparse_moe.router.layer", m->n, H,
                   NN_NO_BIAS | NN_KEEP_FLOAT);
    if (c->stacked)
        arch_stacked_experts_load(b, m, "block_sparse_moe.input_linear.weight",
                                  "block_sparse_moe.output_linear.weight", H, F, c->act, 0);
    else
        m->experts = arch_new(b, m->n, sizeof *m->experts);
    for (size_t e = 0; !c->stacked && m->experts && e < m->n; e++) {
        char name[64];
        snprintf(name, sizeof name, "mlp.experts.%zu", e);
        arch_decoder_mlp_load(ld, &m->experts[e], name, H, F, c->act, NN_NO_BIAS);
    }
    if (c->shared_ffn && c->stacked) {
        load_shared_mlp(ld, &m->shared, H, c);
    } else if (c->shared_ffn) {
        arch_decoder_mlp_load(ld, &m->shared, "mlp.shared_expert", H, c->shared_ffn, c->act,
                              NN_NO_BIAS);
        nn_load_linear(ld, &m->shared_gate, "mlp.shared_expert_gate", 1, H, NN_NO_BIAS);
    }
}

/* mamba: of the layers that have no attention; NULL: all have. */
static void load_layer(arch_build *b, decoder_layer *l, const arch_decoder *d, const moe_config *c,
                       const mamba2_plan *mamba, size_t il)
{
    nn_loader *ld = &b->ld;
    nn_scope(ld, "%slayers.%zu.", ld->base, il);
    l->window = c->window; // eager attention slides in every layer
    nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_RMS, d->hidden, c->eps, 0);
    if (mamba && !cfg_layer_is(&b->cfg, il, "attention", false))
        arch_mamba2_layer(b, l, "mamba", d->hidden, mamba);
    else
        arch_decoder_attn_load(ld, &l->attn, d, c->qkv, c->o);
    if (c->head_norms) {
        nn_load_norm(ld, &l->attn.q_norm, "self_attn.q_norm", NN_NORM_RMS, d->head_dim, c->eps, 0);
        nn_load_norm(ld, &l->attn.k_norm, "self_attn.k_norm", NN_NORM_RMS, d->head_dim, c->eps, 0);
    }
    nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_RMS, d->hidden, c->eps, 0);
    if (c->row_norms) {
        nn_load_norm(ld, &l->attn.q_norm, "self_attn.q_norm", NN_NORM_RMS, d->heads * d->head_dim,
                     c->eps, 0);
        nn_load_norm(ld, &l->attn.k_norm, "self_attn.k_norm", NN_NORM_RMS,
                     d->kv_heads * d->head_dim, c->eps, 0);
    }
    if (c->stacked && !c->experts)
        load_shared_mlp(ld, &l->mlp, d->hidden, c);
    else if (is_sparse(&b->cfg, c, il))
        load_experts(b, &l->moe, d->hidden, c);
    else
        arch_decoder_mlp_load(ld, &l->mlp, "mlp", d->hidden, c->ffn, c->act, NN_NO_BIAS);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    const mltf_str type = str_from(b->m->info.model_type);
    moe_config c = {0};
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    read_config(&b->cfg, &c, d, type);
    const bool hybrid = str_is(type, "granitemoehybrid");
    mamba2_plan mamba = {.heads = 128, .groups = 1, .n = 256, .eps = c.eps};
    if (hybrid) {
        mamba.inner = arch_mamba_inner(&b->cfg, NULL, "mamba_expand", d->hidden);
        arch_mamba2_config(&b->cfg, &mamba);
    }
    const bool turns =
        !hybrid || str_is(cfg_str(&b->cfg, "position_embedding_type", "nope"), "rope");
    if (turns)
        arch_rope_load(&d->rope, b,
                       &(arch_rope_options){.dim = d->head_dim,
                                            .theta = str_is(type, "mixtral") ? 1e6f : 10000,
                                            .max_positions = c.positions});
    TRY(arch_decoder_layers(b, d, err));
    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, d->hidden, 0);
    nn_load_norm(ld, &d->norm, "norm", NN_NORM_RMS, d->hidden, c.eps, 0);
    for (size_t il = 0; il < d->n_layers; il++)
        load_layer(b, &d->layers[il], d, &c, hybrid ? &mamba : NULL, il);
    arch_decoder_heads_load(b, &d->heads_w, d->hidden, &d->words, "lm_head", NN_NO_BIAS, false);
    if (c.stacked && b->m->info.head == ARCH_HEAD_LM)
        d->heads_w.head.scale = 1.0f / cfg_float(&b->cfg, "logits_scaling", 1);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_mixtral = {
    .model_types = (const char *const[]){"mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe",
                                         "granitemoeshared", "granitemoehybrid", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("Mixtral"),
                                     ARCH_DECODER_CLASSES_QA("Qwen2Moe"),
                                     ARCH_DECODER_CLASSES_QA("Qwen3Moe"),
                                     ARCH_DECODER_CLASSES_QA("GraniteMoe"), "OlmoeModel",
                                     "OlmoeForCausalLM", "GraniteMoeSharedModel",
                                     "GraniteMoeSharedForCausalLM", "GraniteMoeHybridModel",
                                     "GraniteMoeHybridForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
