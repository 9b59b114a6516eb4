/* MPNet. Song et al. 2020, arXiv:2004.09297; transformers 4.57 models/mpnet/modeling_mpnet.py.
 *
 *   ids ─ word + position embeddings ─ norm ─┐
 *   ┌────────────────────────────────────────┘
 *   └─ n x [ q k v ─ attention + relative bias ─ o ─ (+x) norm ─ dense ─ act ─ dense ─ (+x) norm ] ─ heads
 *
 * Easy to get wrong: positions count from 2, padding (id 1) stands at 1; one table of relative biases for all
 * layers, always in 32 buckets; no token types. Checked on: fixtures mpnet-*. */
#include <math.h>

#include "arch/arch_encoder.h"

enum { PADDING = 1, BUCKETS = 32, MAX_DISTANCE = 128 };

typedef struct {
    size_t hidden, layers, heads, ffn, vocab, positions, buckets;
    k_act act;
    float eps;
} mpnet_config;

typedef struct {
    mpnet_config cfg;
    nn_embed_w words, positions; // [V, H], [P, H]
    nn_norm_w norm;
    const float *bias; // [buckets, heads]
    encoder_layer *layers;
    arch_heads heads;
} mpnet_model;

static void read_config(arch_config *c, mpnet_config *o)
{
    o->hidden = cfg_dim(c, "hidden_size", 768);
    o->layers = cfg_layers(c, "num_hidden_layers", 12);
    o->heads = cfg_dim(c, "num_attention_heads", 12);
    o->ffn = cfg_dim(c, "intermediate_size", 3072);
    o->vocab = cfg_dim(c, "vocab_size", 30527);
    o->positions = cfg_dim(c, "max_position_embeddings", 512);
    o->buckets = cfg_size(c, "relative_attention_num_buckets", BUCKETS, BUCKETS, 1 << 20);
    o->act = cfg_act(c, "hidden_act", "gelu");
    o->eps = cfg_float(c, "layer_norm_eps", 1e-12f);
    if (o->hidden % o->heads)
        cfg_fail(c, "\"hidden_size\" %zu is not a multiple of \"num_attention_heads\" %zu",
                 o->hidden, o->heads);
}

static const encoder_layer_names layer_names = {
    .q = "attention.attn.q",
    .k = "attention.attn.k",
    .v = "attention.attn.v",
    .o = "attention.attn.o",
    .attn_norm = "attention.LayerNorm",
    .up = "intermediate.dense",
    .down = "output.dense",
    .mlp_norm = "output.LayerNorm",
};

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    mpnet_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    mpnet_config *c = &m->cfg;
    read_config(&b->cfg, c);
    m->layers = arch_new(b, c->layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &m->words, "embeddings.word_embeddings", "input id", c->vocab, c->hidden, 0);
    nn_load_embed(ld, &m->positions, "embeddings.position_embeddings", "position", c->positions,
                  c->hidden, 0);
    nn_load_norm(ld, &m->norm, "embeddings.LayerNorm", NN_NORM_LAYER, c->hidden, c->eps, NN_BIAS);
    m->bias =
        nn_load_vector(ld, "encoder.relative_attention_bias.weight", c->buckets * c->heads, 0);
    for (size_t il = 0; il < c->layers; il++) {
        nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
        arch_encoder_layer_load(ld, &m->layers[il], &layer_names,
                                &(encoder_sizes){c->hidden, c->ffn, c->eps, c->act});
    }
    const bool choice =
        b->m->info.head == ARCH_HEAD_MULTIPLE_CHOICE; // reads the pooler; other heads do not
    arch_encoder_heads_load(b, &m->heads,
                            &(arch_encoder_names){.pooler = "pooler.dense",
                                                  .pooler_act = K_ACT_TANH,
                                                  .cls_pooler = choice,
                                                  .cls_dense = "classifier.dense",
                                                  .cls_act = K_ACT_TANH,
                                                  .cls_out = "classifier.out_proj",
                                                  .mc_out = "classifier",
                                                  .token_out = "classifier",
                                                  .qa_out = "qa_outputs",
                                                  .mlm_dense = "lm_head.dense",
                                                  .mlm_act = K_ACT_GELU,
                                                  .mlm_norm = "lm_head.layer_norm",
                                                  .mlm_out = "lm_head.decoder",
                                                  .mlm_bias = "lm_head.bias|lm_head.decoder.bias",
                                                  .eps = c->eps},
                            c->hidden, &m->words);
    b->m->info.hidden = c->hidden;
    b->m->info.vocab = c->vocab;
    b->m->info.n_layers = c->layers;
    b->m->info.max_positions = c->positions > PADDING + 1 ? c->positions - PADDING - 1 : 0;
    b->m->impl = m;
    return MLTF_OK;
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const mpnet_model *m = r->impl;
    const mpnet_config *c = &m->cfg;
    const size_t T = r->seqs.rows, D = c->hidden / c->heads;
    nn_attn attn = {.heads = c->heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};
    nn_bucket_bias(cx, &attn, &r->seqs, m->bias, BUCKETS, MAX_DISTANCE, false);

    float *x = arch_embed_tokens(r, &m->words); // [T, H]
    arch_positions_after_padding(r, PADDING);
    nn_embed_add(cx, x, r->seqs.pos, &m->positions, T);
    nn_norm(cx, x, x, &m->norm, T);
    arch_keep_hidden(r, x, c->hidden);
    for (size_t il = 0; il < c->layers; il++) {
        arch_encoder_layer_forward(r, x, &m->layers[il], &attn, NULL, il);
        arch_keep_hidden(r, x, c->hidden);
    }
    arch_heads_forward(r, &m->heads, x, c->hidden);
}

const arch_family arch_mpnet = {
    .model_types = (const char *const[]){"mpnet", NULL},
    .classes =
        (const char *const[]){"MPNetModel", "MPNetForMaskedLM", "MPNetForSequenceClassification",
                              "MPNetForTokenClassification", "MPNetForQuestionAnswering",
                              "MPNetForMultipleChoice", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "mpnet.",
    .ignorable = (const char *const[]){"position_ids", "lm_head.decoder.bias", NULL},
    .load = load,
    .forward = forward,
};
