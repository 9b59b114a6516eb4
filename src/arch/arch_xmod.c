/* X-MOD: roberta with an adapter for each language in every layer. Pfeiffer et al. 2022, arXiv:2205.06266;
 * transformers 4.57 models/xmod/modeling_xmod.py.
 *
 *   roberta's layers, norms behind or before;  x += mlp;  x = base(x) + dense2(act(dense1(norm x)))
 *
 * Easy to get wrong: adapter_reuse_layer_norm takes the layer's last norm, which follows once more; with
 * ln_before_adapter the adapter is added to what was normed. The language is default_language of config.json, as in
 * every pipeline; without one the library computes nothing either. Checked on: random checkpoints of the library. */
#include <string.h>

#include "arch/arch_encoder.h"

typedef struct {
    nn_norm_w norm;       // kind NONE: none
    nn_linear_w down, up; // [H / reduction, H], [H, H / reduction]
} language_adapter;

typedef struct {
    arch_encoder base;
    size_t inner;          // of the adapters
    bool own_norm, reuses; // adapter_layer_norm, adapter_reuse_layer_norm
    bool adds_to_norm;     // ln_before_adapter
} xmod_model;

static void load_adapter(arch_build *b, xmod_model *m, size_t il, const char *language)
{
    nn_loader *ld = &b->ld;
    encoder_layer *l = &m->base.layers[il];
    const size_t H = m->base.cfg.hidden;
    language_adapter *w = arch_new(b, 1, sizeof *w);
    if (!w) return;
    nn_scope(ld, "%sencoder.layer.%zu.output.", ld->base, il);
    if (m->own_norm)
        nn_load_norm(ld, &w->norm, "adapter_layer_norm", NN_NORM_LAYER, H, m->base.cfg.eps,
                     NN_BIAS);
    else if (m->reuses)
        w->norm = l->mlp_norm;
    nn_scope(ld, "%sencoder.layer.%zu.output.adapter_modules.%s.", ld->base, il, language);
    nn_load_linear(ld, &w->down, "dense1", m->inner, H, NN_BIAS);
    nn_load_linear(ld, &w->up, "dense2", H, m->inner, NN_BIAS);
    l->own = w;
}

static void adapt(arch_run *r, float *x, const encoder_layer *l)
{
    nn_ctx *cx = r->cx;
    const xmod_model *m = r->impl;
    const language_adapter *w = l->own;
    const size_t T = r->seqs.rows, H = m->base.cfg.hidden;
    const nn_mark mark = nn_save(cx);
    float *h = nn_f32(cx, T, H), *mid = nn_f32(cx, T, m->inner); // [T, H], [T, H / reduction]
    if (w->norm.kind == NN_NORM_NONE)
        nn_copy(cx, h, x, T * H);
    else
        nn_norm(cx, h, x, &w->norm, T);
    nn_linear(cx, mid, h, &w->down, T);
    nn_act(cx, mid, mid, T * m->inner, m->base.cfg.act);
    if (m->adds_to_norm) nn_copy(cx, x, h, T * H);
    nn_linear(cx, h, mid, &w->up, T);
    nn_add(cx, x, h, T * H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void read_config(arch_config *c, xmod_model *m)
{
    arch_encoder *e = &m->base;
    arch_encoder_config(c, &e->cfg);
    arch_encoder_absolute(c);
    e->causal = cfg_bool(c, "is_decoder", false);
    e->pre_norm = cfg_bool(c, "pre_norm", false);
    e->counts_padding = true;
    e->pad = cfg_token(c, "pad_token_id", 1);
    e->behind_mlp = adapt;
    m->inner = e->cfg.hidden / cfg_size(c, "adapter_reduction_factor", 2, 1, e->cfg.hidden);
    m->own_norm = cfg_bool(c, "adapter_layer_norm", false);
    m->reuses = cfg_bool(c, "adapter_reuse_layer_norm", true);
    m->adds_to_norm = cfg_bool(c, "ln_before_adapter", true);
    if (e->pad < 0) cfg_fail(c, "\"pad_token_id\" is needed to count positions");
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    xmod_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_encoder *e = &m->base;
    read_config(&b->cfg, m);
    const mltf_str language = cfg_str(&b->cfg, "default_language", "");
    if (!language.n || language.n > 64)
        cfg_fail(&b->cfg, "\"default_language\" is needed: it names the adapters to use");
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    arch_encoder_layers_load(b, e, "encoder.layer", &bert_layer_names);
    const char *name = arena_strdup(&b->m->own, language.p, language.n);
    for (size_t il = 0; name && e->layers && il < e->cfg.layers; il++) load_adapter(b, m, il, name);
    nn_scope(ld, "%sencoder.", ld->base);
    if (e->pre_norm)
        nn_load_norm(ld, &e->norm, "LayerNorm", NN_NORM_LAYER, e->cfg.hidden, e->cfg.eps, NN_BIAS);
    const arch_encoder_names heads = arch_roberta_heads(b, &e->cfg);
    arch_encoder_heads_load(b, &e->heads, &heads, e->cfg.hidden, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

const arch_family arch_xmod = {
    .model_types = (const char *const[]){"xmod", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("Xmod"), "XmodForCausalLM", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "roberta.",
    .ignorable = (const char *const[]){"position_ids", "lm_head.decoder.bias", "dense1.weight",
                                       "dense1.bias", "dense2.weight", "dense2.bias", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
