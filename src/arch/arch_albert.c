/* ALBERT. Lan et al. 2019, arXiv:1909.11942; transformers 4.57 models/albert/modeling_albert.py.
 *
 *   ids ─ word + position + type embeddings (narrow) ─ norm ─ mapping_in ─┐
 *   ┌─────────────────────────────────────────────────────────────────────┘
 *   └─ n x group of layers [ q k v ─ attention ─ dense ─ (+x) norm ─ ffn ─ act ─ ffn_output ─ (+x) norm ] ─ heads
 *
 * Easy to get wrong: the n layers share the weights of num_hidden_groups groups, each of inner_group_num
 * layers; the pooler is a bare linear layer called "pooler"; gelu_new is the default.
 * Checked on: fixtures albert-*. */
#include <math.h>

#include "arch/arch_encoder.h"

typedef struct {
    encoder_config e;
    size_t groups, inner;
} albert_config;

typedef struct {
    albert_config cfg;
    encoder_embed embed;
    nn_linear_w map;       // [H, E]
    encoder_layer *layers; // [groups * inner]
    arch_heads heads;
} albert_model;

static void read_config(arch_config *c, albert_config *o)
{
    o->e = (encoder_config){.hidden = 4096, .heads = 64, .ffn = 16384, .vocab = 30000};
    arch_encoder_config(c, &o->e);
    o->e.embed = cfg_dim(c, "embedding_size", 128);
    o->e.act = cfg_act(c, "hidden_act", "gelu_new");
    o->groups = cfg_size(c, "num_hidden_groups", 1, 1, 1024);
    o->inner = cfg_size(c, "inner_group_num", 1, 1, 1024);
    arch_encoder_absolute(c);
}

static const encoder_layer_names layer_names = {
    .q = "attention.query",
    .k = "attention.key",
    .v = "attention.value",
    .o = "attention.dense",
    .attn_norm = "attention.LayerNorm",
    .up = "ffn",
    .down = "ffn_output",
    .mlp_norm = "full_layer_layer_norm",
};

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    albert_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    albert_config *c = &m->cfg;
    read_config(&b->cfg, c);
    m->layers = arch_new(b, c->groups * c->inner, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &m->embed, &c->e);
    nn_scope(ld, "%s", ld->base);
    nn_load_linear(ld, &m->map, "encoder.embedding_hidden_mapping_in", c->e.hidden, c->e.embed,
                   NN_BIAS);
    for (size_t i = 0; i < c->groups * c->inner; i++) {
        nn_scope(ld, "%sencoder.albert_layer_groups.%zu.albert_layers.%zu.", ld->base, i / c->inner,
                 i % c->inner);
        arch_encoder_layer_load(ld, &m->layers[i], &layer_names, &c->e);
    }
    arch_encoder_names names = arch_bert_heads(&c->e);
    names.pooler = "pooler";
    names.mlm_dense = "predictions.dense";
    names.mlm_norm = "predictions.LayerNorm";
    names.mlm_out = "predictions.decoder";
    names.mlm_bias = "predictions.bias|predictions.decoder.bias";
    arch_encoder_heads_load(b, &m->heads, &names, c->e.hidden, &m->embed.words);
    return arch_done(b, m, c->e.hidden, c->e.vocab, c->e.layers, c->e.positions, err);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const albert_model *m = r->impl;
    const albert_config *c = &m->cfg;
    const size_t T = r->seqs.rows, D = c->e.hidden / c->e.heads;
    const nn_attn attn = {.heads = c->e.heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};

    const float *e = arch_encoder_embed(r, &m->embed); // [T, E]
    float *x = nn_f32(cx, T, c->e.hidden);             // [T, H]
    nn_linear(cx, x, e, &m->map, T);
    arch_keep_hidden(r, x, c->e.hidden);
    for (size_t il = 0; il < c->e.layers; il++) {
        const size_t group = il * c->groups / c->e.layers;
        for (size_t i = 0; i < c->inner; i++)
            arch_encoder_layer_forward(r, x, &m->layers[group * c->inner + i], &attn, NULL, il);
        arch_keep_hidden(r, x, c->e.hidden);
    }
    arch_heads_forward(r, &m->heads, x, c->e.hidden);
}

const arch_family arch_albert = {
    .model_types = (const char *const[]){"albert", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("Albert"), "AlbertForPreTraining", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "albert.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias", NULL},
    .load = load,
    .forward = forward,
};
