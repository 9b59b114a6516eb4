/* gpt-oss. OpenAI 2025; transformers 4.57 models/gpt_oss/modeling_gpt_oss.py.
 *
 *   ids ─ embedding ─ n x [ rms ─ q k v ─ rope ─ causal attention with sinks ─ o ─ (+x) ─ rms ─ experts ─ (+x) ] ─ rms ─ head
 *
 * Easy to get wrong: every second layer slides, the first included; a learned score per head (the sink) joins
 * the softmax and takes its share away; gate and up of an expert lie in alternating columns of one stacked
 * [E, in, out] tensor, and are clamped; yarn does not round its borders (truncate false). Checkpoints in MXFP4
 * are refused where quantized weights are. Checked on: fixtures gpt_oss-base. */
#include "arch/arch_decoder.h"

typedef struct {
    size_t ffn, experts, top_k, window;
    float eps;
} oss_config;

/* Experts: both halves of [gate up] have every second row of what is stored. */
static void load_experts(arch_build *b, nn_moe_w *m, size_t H, const oss_config *c,
                         const size_t *row_of)
{
    nn_loader *ld = &b->ld;
    const size_t E = c->experts, F = c->ffn;
    *m = (nn_moe_w){.n = E, .top_k = c->top_k, .scores = NN_MOE_SOFTMAX_TOPK};
    m->experts = arch_new(b, E, sizeof *m->experts);
    nn_load_linear(ld, &m->router, "mlp.router", E, H, NN_BIAS | NN_KEEP_FLOAT);
    for (size_t e = 0; m->experts && e < E; e++) {
        nn_mlp_w *x = &m->experts[e];
        nn_linear_w both;
        nn_load_stacked(ld, &both, "mlp.experts.gate_up_proj", "mlp.experts.gate_up_proj_bias", e,
                        E, 2 * F, H, NN_CONV1D | NN_BIAS);
        nn_load_reorder(ld, &both, row_of);
        x->gate = nn_linear_rows(&both, 0, F);
        x->up = nn_linear_rows(&both, F, F);
        nn_load_stacked(ld, &x->down, "mlp.experts.down_proj", "mlp.experts.down_proj_bias", e, E,
                        H, F, NN_CONV1D | NN_BIAS);
        x->limit = 7.0f;
    }
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    oss_config o = {0};
    arch_decoder *d = arch_decoder_new(b, &(arch_decoder){.hidden = 2880,
                                                          .n_layers = 36,
                                                          .heads = 64,
                                                          .kv_heads = 8,
                                                          .head_dim = 64,
                                                          .vocab = 201088});
    TRY(arch_build_ok(b, err));
    o.ffn = cfg_dim(c, "intermediate_size", 2880);
    o.experts = cfg_size(c, "num_local_experts|num_experts", 128, 1, 4096);
    o.top_k = cfg_size(c, "num_experts_per_tok|experts_per_token", 4, 1, 64);
    o.window = arch_decoder_window(c, true, 128);
    o.eps = cfg_float(c, "rms_norm_eps", 1e-5f);
    if (o.top_k > o.experts)
        cfg_fail(c, "\"num_experts_per_tok\" %zu is above the number of experts, %zu", o.top_k,
                 o.experts);
    arch_decoder_rope(b, d, 150000, 131072);
    TRY(arch_decoder_layers(b, d, err));
    size_t *row_of = arch_new(b, 2 * o.ffn, sizeof *row_of);
    TRY(arch_build_ok(b, err));
    for (size_t i = 0; i < o.ffn; i++) {
        row_of[i] = 2 * i;
        row_of[o.ffn + i] = 2 * i + 1;
    }

    const size_t H = d->hidden;
    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "norm", NN_NORM_RMS, H, o.eps, 0);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        l->window = cfg_layer_is(c, il, "sliding_attention", il % 2 == 0) ? o.window : 0;
        l->sinks = nn_load_vector(ld, "self_attn.sinks", d->heads, 0);
        nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_RMS, H, o.eps, 0);
        nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_RMS, H, o.eps, 0);
        arch_decoder_attn_load(ld, &l->attn, d, NN_BIAS, NN_BIAS);
        load_experts(b, &l->moe, H, &o, row_of);
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, false);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_gpt_oss = {
    .model_types = (const char *const[]){"gpt_oss", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES("GptOss"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .load = load,
    .forward = arch_decoder_forward,
};
