/* SqueezeBERT. Iandola et al. 2020, arXiv:2006.11316; transformers 4.57 models/squeezebert/modeling_squeezebert.py.
 *
 *   BERT whose linear layers are convolutions of width 1 in groups: each group of outputs sees its own group
 *   of inputs only.
 *
 * Easy to get wrong: every layer has its own number of groups (q_groups, k_groups, v_groups, …);
 * the base model's prefix is "transformer."; the inner norms have eps 1e-12 whatever config.json says.
 * Checked on: fixtures squeezebert-seqcls. */
#include <math.h>

#include "arch/arch_encoder.h"

typedef struct {
    encoder_config e;
    size_t q_groups, k_groups, v_groups, o_groups, up_groups, down_groups;
} squeezebert_config;

typedef struct {
    nn_linear_w q, k, v, o, up, down; // [N, K / groups]
    nn_norm_w attn_norm, mlp_norm;    // [H]
} squeezebert_layer;

typedef struct {
    squeezebert_config cfg;
    encoder_embed embed;
    squeezebert_layer *layers;
    arch_heads heads;
} squeezebert_model;

static size_t groups(arch_config *c, const char *key, size_t fallback, size_t in, size_t out)
{
    const size_t g = cfg_size(c, key, fallback, 1, 1 << 20);
    if (in % g || out % g) cfg_fail(c, "\"%s\" %zu does not divide %zu and %zu", key, g, in, out);
    return g;
}

static void read_config(arch_config *c, squeezebert_config *o)
{
    arch_encoder_config(c, &o->e);
    o->q_groups = groups(c, "q_groups", 4, o->e.hidden, o->e.hidden);
    o->k_groups = groups(c, "k_groups", 4, o->e.hidden, o->e.hidden);
    o->v_groups = groups(c, "v_groups", 4, o->e.hidden, o->e.hidden);
    o->o_groups = groups(c, "post_attention_groups", 1, o->e.hidden, o->e.hidden);
    o->up_groups = groups(c, "intermediate_groups", 4, o->e.hidden, o->e.ffn);
    o->down_groups = groups(c, "output_groups", 4, o->e.ffn, o->e.hidden);
    if (cfg_dim(c, "embedding_size", o->e.hidden) != o->e.hidden)
        cfg_fail(c, "\"embedding_size\" must equal \"hidden_size\"");
}

static void load_layer(nn_loader *ld, squeezebert_layer *l, const squeezebert_config *c, size_t il)
{
    const size_t H = c->e.hidden, F = c->e.ffn;
    nn_scope(ld, "%sencoder.layers.%zu.", ld->base, il);
    nn_load_linear(ld, &l->q, "attention.query", H, H / c->q_groups, NN_BIAS);
    nn_load_linear(ld, &l->k, "attention.key", H, H / c->k_groups, NN_BIAS);
    nn_load_linear(ld, &l->v, "attention.value", H, H / c->v_groups, NN_BIAS);
    nn_load_linear(ld, &l->o, "post_attention.conv1d", H, H / c->o_groups, NN_BIAS);
    nn_load_norm(ld, &l->attn_norm, "post_attention.layernorm", NN_NORM_LAYER, H, 1e-12f, NN_BIAS);
    nn_load_linear(ld, &l->up, "intermediate.conv1d", F, H / c->up_groups, NN_BIAS);
    nn_load_linear(ld, &l->down, "output.conv1d", H, F / c->down_groups, NN_BIAS);
    nn_load_norm(ld, &l->mlp_norm, "output.layernorm", NN_NORM_LAYER, H, 1e-12f, NN_BIAS);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    squeezebert_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    squeezebert_config *c = &m->cfg;
    read_config(&b->cfg, c);
    m->layers = arch_new(b, c->e.layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    m->embed.types_last = true;
    arch_encoder_embed_load(ld, &m->embed, &c->e);
    for (size_t il = 0; il < c->e.layers; il++) load_layer(ld, &m->layers[il], c, il);
    const arch_encoder_names names = arch_bert_heads(&c->e);
    arch_encoder_heads_load(b, &m->heads, &names, c->e.hidden, &m->embed.words);
    return arch_done(b, m, c->e.hidden, c->e.vocab, c->e.layers, c->e.positions, err);
}

static void layer_forward(arch_run *r, float *x, const squeezebert_layer *w,
                          const squeezebert_config *c, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = c->e.hidden, D = H / c->e.heads;
    const nn_attn attn = {.heads = c->e.heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, H), *k = nn_f32(cx, T, H), *v = nn_f32(cx, T, H); // [T, H]
    float *ctx = nn_f32(cx, T, H), *mid = nn_f32(cx, T, c->e.ffn);             // [T, H], [T, F]
    nn_linear_grouped(cx, (float *[]){q, k, v}, x, (const nn_linear_w *[]){&w->q, &w->k, &w->v}, 3,
                      H, T);
    nn_attend(cx, ctx, (nn_heads){q, H, D}, (nn_heads){k, H, D}, (nn_heads){v, H, D}, &r->seqs,
              &attn, il);
    nn_linear_grouped(cx, &q, ctx, (const nn_linear_w *[]){&w->o}, 1, H, T);
    nn_add_norm(cx, x, q, &w->attn_norm, T);
    nn_tap(cx, "attn_norm", (int)il, x, T, H);
    nn_linear_grouped(cx, &mid, x, (const nn_linear_w *[]){&w->up}, 1, H, T);
    nn_act(cx, mid, mid, T * c->e.ffn, c->e.act);
    nn_linear_grouped(cx, &q, mid, (const nn_linear_w *[]){&w->down}, 1, c->e.ffn, T);
    nn_add_norm(cx, x, q, &w->mlp_norm, T);
    nn_tap(cx, "out", (int)il, x, T, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void forward(arch_run *r)
{
    const squeezebert_model *m = r->impl;
    const squeezebert_config *c = &m->cfg;

    float *x = arch_encoder_embed(r, &m->embed); // [T, H]
    for (size_t il = 0; il < c->e.layers; il++) {
        arch_keep_hidden(r, x, c->e.hidden);
        layer_forward(r, x, &m->layers[il], c, il);
    }
    arch_keep_hidden(r, x, c->e.hidden);
    arch_heads_forward(r, &m->heads, x, c->e.hidden);
}

const arch_family arch_squeezebert = {
    .model_types = (const char *const[]){"squeezebert", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("SqueezeBert"), NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias", NULL},
    .load = load,
    .forward = forward,
};
