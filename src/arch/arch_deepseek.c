/* DeepSeek V2 and V3. DeepSeek-AI 2024, arXiv:2405.04434 and arXiv:2412.19437; transformers 4.57
 * models/deepseek_v2/modeling_deepseek_v2.py, models/deepseek_v3/modeling_deepseek_v3.py.
 *
 *   ids ─ embedding ─ n x [ rms ─ latent attention (arch_mla.h) ─ (+x) ─ rms ─ experts or mlp ─ (+x) ] ─ rms ─ head
 *
 *               experts of a token                                             rope
 *   deepseek_v2 softmax; the best, or the best of the best groups (by maximum)  neighbours
 *   deepseek_v3 sigmoid, chosen by score + correction from the best groups      neighbours (rope_interleave)
 *               (by the sum of their best two); weights divided by their sum
 *
 * Easy to get wrong: with yarn V3 scales the scores by mscale squared, V2 only in 5.x; V2 ignores norm_topk_prob. Checked
 * on: fixtures deepseek_v2-base, deepseek_v3-base. */
#include "arch/arch_mla.h"

typedef struct {
    size_t ffn, dense_layers;
    experts_plan experts;
    k_act act;
    float eps;
    unsigned attn_bias, mlp_bias;
    mla_dims dims;
} ds_config;

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
    o->dims = arch_mla_config(c, d);
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
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    const bool v3 = str_is(str_from(b->m->info.model_type), "deepseek_v3");
    ds_config c = {0};
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    read_config(&b->cfg, &c, d, v3);
    d->scale = arch_mla_scale(&b->cfg, d, v3);
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
        l->own = arch_mla_load(b, d, "self_attn", &c.dims, c.attn_bias);
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
