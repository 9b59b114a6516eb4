/* Qwen3-Next. Qwen team 2025; Yang et al. 2024, arXiv:2412.06464; transformers 4.57
 * models/qwen3_next/modeling_qwen3_next.py (torch_chunk_gated_delta_rule, torch_recurrent_gated_delta_rule).
 *
 *   ids ─ embedding ─ n x [ x += mixer(rms x);  x += experts(rms x) ] ─ rms ─ head
 *
 *   linear_attention  gated delta rule: a matrix of its own for each head, no keys
 *   full_attention    each head of q and k normed, a quarter of it rotated; o reads attention * sigmoid(gate x)
 *   experts           softmax over all, top k, divided by their sum (norm_topk_prob); a shared one behind a sigmoid
 *
 * Easy to get wrong: rms norms multiply by weight + 1, but for the one behind the delta rule; q_proj holds q and gate
 * of each head side by side, in_proj_qkvz and in_proj_ba the parts of each head of keys. Checked on: random
 * checkpoints of the library. */
#include "arch/arch_recurrent.h"

typedef struct {
    size_t ffn, shared_ffn, step;
    float eps;
    unsigned bias;
    delta_plan delta;
    experts_plan experts;
} next_config;

static void read_config(arch_config *c, next_config *o, arch_decoder *d)
{
    *d = (arch_decoder){.hidden = 2048,
                        .n_layers = 48,
                        .heads = 16,
                        .kv_heads = 2,
                        .head_dim = 256,
                        .vocab = 151936};
    arch_decoder_config(c, d);
    o->ffn = cfg_dim(c, "intermediate_size", 5632);
    o->shared_ffn = cfg_dim(c, "shared_expert_intermediate_size", 512);
    o->step = cfg_size(c, "decoder_sparse_step", 1, 1, 1 << 20);
    o->eps = cfg_float(c, "rms_norm_eps", 1e-6f);
    o->bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->delta.eps = o->eps;
    arch_delta_config(c, &o->delta);
    o->experts = (experts_plan){.n = cfg_size(c, "num_experts", 512, 0, 4096),
                                .top_k = cfg_size(c, "num_experts_per_tok", 10, 1, 64),
                                .ffn = cfg_dim(c, "moe_intermediate_size", 512),
                                .act = cfg_act(c, "hidden_act", "silu"),
                                .normalize = cfg_bool(c, "norm_topk_prob", true)};
    if (o->experts.n && o->experts.top_k > o->experts.n)
        cfg_fail(c, "\"num_experts_per_tok\" %zu is above \"num_experts\" %zu", o->experts.top_k,
                 o->experts.n);
}

static bool is_sparse(const arch_config *c, const next_config *o, size_t il)
{
    const json *plain = cfg_get(c, "mlp_only_layers");
    for (size_t i = 0; i < json_len(plain); i++)
        if (json_int(json_at(plain, i), -1) == (int64_t)il) return false;
    return o->experts.n > 0 && (il + 1) % o->step == 0;
}

static void load_norm(nn_loader *ld, nn_norm_w *w, const char *name, size_t n, float eps)
{
    nn_load_norm(ld, w, name, NN_NORM_RMS, n, eps, 0);
    w->offset = 1;
}

static void load_attention(arch_build *b, nn_attn_w *a, const arch_decoder *d, const next_config *o)
{
    nn_loader *ld = &b->ld;
    const size_t H = d->hidden, D = d->head_dim, Q = d->heads * D;
    nn_linear_w both; // q and gate
    nn_load_linear(ld, &both, "self_attn.q_proj", 2 * Q, H, o->bias);
    arch_ungroup(b, &both, d->heads, (size_t[]){D, D}, 2);
    a->q = nn_linear_rows(&both, 0, Q);
    a->gate = nn_linear_rows(&both, Q, Q);
    nn_load_linear(ld, &a->k, "self_attn.k_proj", d->kv_heads * D, H, o->bias);
    nn_load_linear(ld, &a->v, "self_attn.v_proj", d->kv_heads * D, H, o->bias);
    nn_load_linear(ld, &a->o, "self_attn.o_proj", H, Q, o->bias);
    load_norm(ld, &a->q_norm, "self_attn.q_norm", D, o->eps);
    load_norm(ld, &a->k_norm, "self_attn.k_norm", D, o->eps);
}

static void load_layer(arch_build *b, decoder_layer *l, const arch_decoder *d, const next_config *o,
                       size_t il)
{
    nn_loader *ld = &b->ld;
    const size_t H = d->hidden;
    const size_t interval = cfg_size(&b->cfg, "full_attention_interval", 4, 1, 1 << 20);
    load_norm(ld, &l->norm1, "input_layernorm", H, o->eps);
    load_norm(ld, &l->norm2, "post_attention_layernorm", H, o->eps);
    if (cfg_layer_is(&b->cfg, il, "full_attention", (il + 1) % interval == 0))
        load_attention(b, &l->attn, d, o);
    else
        arch_delta_layer(b, l, "linear_attn", H, &o->delta);
    if (!is_sparse(&b->cfg, o, il)) {
        arch_decoder_mlp_load(ld, &l->mlp, "mlp", H, o->ffn, o->experts.act, NN_NO_BIAS);
        return;
    }
    arch_decoder_experts_load(b, &l->moe, H, &o->experts);
    arch_decoder_mlp_load(ld, &l->moe.shared, "mlp.shared_expert", H, o->shared_ffn, o->experts.act,
                          NN_NO_BIAS);
    nn_load_linear(ld, &l->moe.shared_gate, "mlp.shared_expert_gate", 1, H, NN_NO_BIAS);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    next_config o = {0};
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    read_config(c, &o, d);
    arch_decoder_rope_part(b, d, 0.25, 10000, 32768);
    TRY(arch_decoder_layers(b, d, err));
    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, d->hidden, 0);
    load_norm(ld, &d->norm, "norm", d->hidden, o.eps);
    for (size_t il = 0; il < d->n_layers; il++) {
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        load_layer(b, &d->layers[il], d, &o, il);
    }
    arch_decoder_heads_load(b, &d->heads_w, d->hidden, &d->words, "lm_head", NN_NO_BIAS, false);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_qwen3_next = {
    .model_types = (const char *const[]){"qwen3_next", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("Qwen3Next"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.|transformer.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
