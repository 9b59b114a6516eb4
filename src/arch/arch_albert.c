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
    size_t hidden, embed, layers, groups, inner, heads, ffn, vocab, types, positions;
    k_act act;
    float eps;
} albert_config;

typedef struct {
    albert_config cfg;
    nn_embed_w words, positions, types; // [V, E], [P, E], [types, E]
    nn_norm_w norm;                     // [E]
    nn_linear_w map;                    // [H, E]
    encoder_layer *layers;              // [groups * inner]
    arch_heads heads;
} albert_model;

static void read_config(arch_config *c, albert_config *o)
{
    o->hidden = cfg_dim(c, "hidden_size", 4096);
    o->embed = cfg_dim(c, "embedding_size", 128);
    o->layers = cfg_layers(c, "num_hidden_layers", 12);
    o->groups = cfg_size(c, "num_hidden_groups", 1, 1, 1024);
    o->inner = cfg_size(c, "inner_group_num", 1, 1, 1024);
    o->heads = cfg_dim(c, "num_attention_heads", 64);
    o->ffn = cfg_dim(c, "intermediate_size", 16384);
    o->vocab = cfg_dim(c, "vocab_size", 30000);
    o->types = cfg_dim(c, "type_vocab_size", 2);
    o->positions = cfg_dim(c, "max_position_embeddings", 512);
    o->act = cfg_act(c, "hidden_act", "gelu_new");
    o->eps = cfg_float(c, "layer_norm_eps", 1e-12f);
    if (o->hidden % o->heads)
        cfg_fail(c, "\"hidden_size\" %zu is not a multiple of \"num_attention_heads\" %zu",
                 o->hidden, o->heads);
    const mltf_str kind = cfg_str(c, "position_embedding_type", "absolute");
    if (!str_is(kind, "absolute"))
        cfg_fail(c, "\"position_embedding_type\" \"" STR_FMT "\" is not supported", STR_ARG(kind));
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
    nn_load_embed(ld, &m->words, "word_embeddings", "input id", c->vocab, c->embed, 0);
    nn_load_embed(ld, &m->positions, "position_embeddings", "position", c->positions, c->embed, 0);
    nn_load_embed(ld, &m->types, "token_type_embeddings", "token type", c->types, c->embed, 0);
    nn_load_norm(ld, &m->norm, "LayerNorm", NN_NORM_LAYER, c->embed, c->eps, NN_BIAS);
    nn_scope(ld, "%s", ld->base);
    nn_load_linear(ld, &m->map, "encoder.embedding_hidden_mapping_in", c->hidden, c->embed,
                   NN_BIAS);
    for (size_t i = 0; i < c->groups * c->inner; i++) {
        nn_scope(ld, "%sencoder.albert_layer_groups.%zu.albert_layers.%zu.", ld->base, i / c->inner,
                 i % c->inner);
        arch_encoder_layer_load(ld, &m->layers[i], &layer_names,
                                &(encoder_sizes){c->hidden, c->ffn, c->eps, c->act});
    }
    arch_encoder_heads_load(
        b, &m->heads,
        &(arch_encoder_names){.pooler = "pooler",
                              .pooler_act = K_ACT_TANH,
                              .cls_pooler = true,
                              .cls_out = "classifier",
                              .token_out = "classifier",
                              .qa_out = "qa_outputs",
                              .mlm_dense = "predictions.dense",
                              .mlm_act = c->act,
                              .mlm_norm = "predictions.LayerNorm",
                              .mlm_out = "predictions.decoder",
                              .mlm_bias = "predictions.bias|predictions.decoder.bias",
                              .eps = c->eps},
        c->hidden, &m->words);
    b->m->info.hidden = c->hidden;
    b->m->info.vocab = c->vocab;
    b->m->info.n_layers = c->layers;
    b->m->info.max_positions = c->positions;
    b->m->impl = m;
    return MLTF_OK;
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const albert_model *m = r->impl;
    const albert_config *c = &m->cfg;
    const size_t T = r->seqs.rows, D = c->hidden / c->heads;
    const nn_attn attn = {.heads = c->heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};

    float *e = arch_embed_tokens(r, &m->words); // [T, E]
    arch_add_types(r, e, &m->types);
    nn_embed_add(cx, e, r->seqs.pos, &m->positions, T);
    nn_norm(cx, e, e, &m->norm, T);
    float *x = nn_f32(cx, T, c->hidden); // [T, H]
    nn_linear(cx, x, e, &m->map, T);
    arch_keep_hidden(r, x, c->hidden);
    for (size_t il = 0; il < c->layers; il++) {
        const size_t group = il * c->groups / c->layers;
        for (size_t i = 0; i < c->inner; i++)
            arch_encoder_layer_forward(r, x, &m->layers[group * c->inner + i], &attn, NULL, il);
        arch_keep_hidden(r, x, c->hidden);
    }
    arch_heads_forward(r, &m->heads, x, c->hidden);
}

const arch_family arch_albert = {
    .model_types = (const char *const[]){"albert", NULL},
    .classes =
        (const char *const[]){"AlbertModel", "AlbertForMaskedLM", "AlbertForPreTraining",
                              "AlbertForSequenceClassification", "AlbertForTokenClassification",
                              "AlbertForQuestionAnswering", "AlbertForMultipleChoice", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "albert.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias", NULL},
    .load = load,
    .forward = forward,
};
