/* LongCat-Flash. Meituan 2025, arXiv:2509.01322; transformers 4.57 models/longcat_flash/modeling_longcat_flash.py.
 *
 *   a layer:  x += attention0(norm x);  h = norm x;  s = experts(h);  x += mlp0(h)
 *             x += attention1(norm x);               x += mlp1(norm x) + s
 *
 * Easy to get wrong: the attention is deepseek's (arch_mla.h), whose queries and latents are scaled up to the width of the
 * layer; some of the experts give back what they are given; a correction counts for the choice, and the weights are not
 * divided by their sum; hidden states are those between whole layers. Checked on: random checkpoints of the library. */
#include <math.h>
#include <string.h>

#include "arch/arch_mla.h"

typedef struct {
    size_t ffn;
    experts_plan experts;
    mla_dims dims;
    k_act act;
    float eps;
    unsigned bias;
} longcat_config;

/* ------------------------------------------------------------------ load */

static void read_config(arch_config *c, longcat_config *o, arch_decoder *d)
{
    d->n_layers = 2 * cfg_layers(c, "num_layers", 28); // halves
    o->dims = arch_mla_config(c, d);
    o->ffn = cfg_dim(c, "ffn_hidden_size", 12288);
    o->act = cfg_act(c, "hidden_act", "silu");
    o->eps = cfg_float(c, "rms_norm_eps", 1e-5f);
    o->bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->experts = (experts_plan){.n = cfg_size(c, "n_routed_experts", 512, 1, 4096),
                                .idle = cfg_size(c, "zero_expert_num", 256, 0, 4096),
                                .top_k = cfg_size(c, "moe_topk", 12, 1, 64),
                                .ffn = cfg_dim(c, "expert_ffn_hidden_size", 2048),
                                .act = o->act,
                                .scale = cfg_float(c, "routed_scaling_factor", 6),
                                .scores = NN_MOE_SOFTMAX,
                                .router = "mlp.router.classifier",
                                .correction = true};
    if (!o->dims.q_rank) cfg_fail(c, "\"q_lora_rank\" null is not supported");
}

/* Half i of a layer, in whose scope the loader is. */
static void load_half(arch_build *b, decoder_layer *l, const arch_decoder *d,
                      const longcat_config *o, size_t i)
{
    static const char *const names[2][4] = {
        {"input_layernorm.0", "self_attn.0", "post_attention_layernorm.0", "mlps.0"},
        {"input_layernorm.1", "self_attn.1", "post_attention_layernorm.1", "mlps.1"}};
    nn_loader *ld = &b->ld;
    const size_t H = d->hidden;
    nn_load_norm(ld, &l->norm1, names[i][0], NN_NORM_RMS, H, o->eps, 0);
    nn_load_norm(ld, &l->norm2, names[i][2], NN_NORM_RMS, H, o->eps, 0);
    arch_decoder_mlp_load(ld, &l->mlp, names[i][3], H, o->ffn, o->act, NN_NO_BIAS);
    mla_w *w = arch_mla_load(b, d, names[i][1], &o->dims, o->bias);
    l->own = w;
    if (!w) return;
    w->q_scale = sqrtf((float)H / (float)o->dims.q_rank);
    w->kv_scale = sqrtf((float)H / (float)o->dims.kv_rank);
    if (i == 0) arch_decoder_experts_load(b, &l->moe, H, &o->experts);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){.hidden = 6144, .n_layers = 28, .heads = 64, .vocab = 131072});
    TRY(arch_build_ok(b, err));
    longcat_config o = {0};
    read_config(c, &o, d);
    d->scale = arch_mla_scale(c, d, true);
    arch_rope_load(
        &d->rope, b,
        &(arch_rope_options){.dim = o.dims.rot,
                             .theta = 1e7f,
                             .max_positions = cfg_dim(c, "max_position_embeddings", 131072),
                             .interleaved = true});
    TRY(arch_decoder_layers(b, d, err));
    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, d->hidden, 0);
    nn_load_norm(ld, &d->norm, "norm", NN_NORM_RMS, d->hidden, o.eps, 0);
    for (size_t il = 0; il < d->n_layers; il++) {
        nn_scope(ld, "%slayers.%zu.", ld->base, il / 2);
        load_half(b, &d->layers[il], d, &o, il % 2);
    }
    arch_decoder_heads_load(b, &d->heads_w, d->hidden, &d->words, "lm_head", NN_NO_BIAS, false);
    return arch_decoder_done(b, d, err);
}

/* ------------------------------------------------------------------ forward */

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const arch_decoder *d = r->impl;
    const size_t T = r->seqs.rows, H = d->hidden;
    const nn_attn attn = {.heads = d->heads,
                          .dim = d->head_dim,
                          .v_dim = d->v_dim,
                          .scale = d->scale,
                          .causal = true};
    float *x = arch_embed_tokens(r, &d->words); // [T, H]
    const nn_rope_rows rope = nn_rope_prepare(cx, &d->rope, &r->seqs);
    float *h = nn_f32(cx, T, H), *y = nn_f32(cx, T, H), *shortcut = nn_f32(cx, T, H); // [T, H]
    for (size_t il = 0; il < d->n_layers; il++) {
        const decoder_layer *l = &d->layers[il];
        if (il % 2 == 0) arch_keep_hidden(r, x, H);
        nn_norm(cx, h, x, &l->norm1, T);
        arch_mla_attention(r, y, h, l, &attn, &rope, il);
        nn_add(cx, x, y, T * H);
        nn_tap(cx, "attn", (int)il, x, T, H);
        nn_norm(cx, h, x, &l->norm2, T);
        if (l->moe.n) nn_moe(cx, shortcut, h, &l->moe, T);
        nn_mlp(cx, y, h, &l->mlp, T);
        nn_add(cx, x, y, T * H);
        if (il % 2) nn_add(cx, x, shortcut, T * H);
        nn_tap(cx, "out", (int)il, x, T, H);
    }
    nn_norm(cx, x, x, &d->norm, T);
    arch_keep_hidden(r, x, H);
    arch_heads_forward(r, &d->heads_w, x, H);
}

const arch_family arch_longcat_flash = {
    .model_types = (const char *const[]){"longcat_flash", NULL},
    .classes = (const char *const[]){"LongcatFlashModel", "LongcatFlashForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", "router.classifier.bias", NULL},
    .load = load,
    .forward = forward,
};
