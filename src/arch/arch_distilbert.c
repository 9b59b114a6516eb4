/* DistilBERT. Sanh et al. 2019, arXiv:1910.01108; transformers 4.57 models/distilbert/modeling_distilbert.py.
 *
 *   ids ─ word + position embeddings ─ norm ─┐
 *   ┌────────────────────────────────────────┘
 *   └─ n x [ q k v ─ attention ─ out ─ (+x) norm ─ lin1 ─ act ─ lin2 ─ (+x) norm ] ─ heads
 *
 * Easy to get wrong: no token types, no pooler; the classifier has a layer of its own with relu; eps is
 * 1e-12 and not in config.json. Checked on: fixtures distilbert-*. */
#include <math.h>

#include "arch/arch_encoder.h"

typedef struct {
    size_t hidden, layers, heads, ffn, vocab, positions; // dim, n_layers, n_heads, hidden_dim, …
    k_act act;                                           // activation
} distilbert_config;

typedef struct {
    distilbert_config cfg;
    nn_embed_w words, positions; // [V, H], [P, H]
    nn_norm_w norm;
    encoder_layer *layers;
    arch_heads heads;
} distilbert_model;

static const float EPS = 1e-12f;

static void read_config(arch_config *c, distilbert_config *o)
{
    o->hidden = cfg_dim(c, "dim|hidden_size", 768);
    o->layers = cfg_layers(c, "n_layers|num_hidden_layers", 6);
    o->heads = cfg_dim(c, "n_heads|num_attention_heads", 12);
    o->ffn = cfg_dim(c, "hidden_dim", 3072);
    o->vocab = cfg_dim(c, "vocab_size", 30522);
    o->positions = cfg_dim(c, "max_position_embeddings", 512);
    o->act = cfg_act(c, "activation", "gelu");
    if (o->hidden % o->heads)
        cfg_fail(c, "\"dim\" %zu is not a multiple of \"n_heads\" %zu", o->hidden, o->heads);
}

static const encoder_layer_names layer_names = {
    .q = "attention.q_lin",
    .k = "attention.k_lin",
    .v = "attention.v_lin",
    .o = "attention.out_lin",
    .attn_norm = "sa_layer_norm",
    .up = "ffn.lin1",
    .down = "ffn.lin2",
    .mlp_norm = "output_layer_norm",
};

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    distilbert_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    distilbert_config *c = &m->cfg;
    read_config(&b->cfg, c);
    m->layers = arch_new(b, c->layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    nn_load_embed(ld, &m->words, "word_embeddings", "input id", c->vocab, c->hidden, 0);
    nn_load_embed(ld, &m->positions, "position_embeddings", "position", c->positions, c->hidden, 0);
    nn_load_norm(ld, &m->norm, "LayerNorm", NN_NORM_LAYER, c->hidden, EPS, NN_BIAS);
    for (size_t il = 0; il < c->layers; il++) {
        nn_scope(ld, "%stransformer.layer.%zu.", ld->base, il);
        arch_encoder_layer_load(ld, &m->layers[il], &layer_names,
                                &(encoder_sizes){c->hidden, c->ffn, EPS, c->act});
    }
    arch_encoder_heads_load(b, &m->heads,
                            &(arch_encoder_names){.cls_dense = "pre_classifier",
                                                  .cls_act = K_ACT_RELU,
                                                  .cls_out = "classifier",
                                                  .token_out = "classifier",
                                                  .qa_out = "qa_outputs",
                                                  .mlm_dense = "vocab_transform",
                                                  .mlm_act = c->act,
                                                  .mlm_norm = "vocab_layer_norm",
                                                  .mlm_out = "vocab_projector",
                                                  .mlm_bias = "vocab_projector.bias",
                                                  .eps = EPS},
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
    const distilbert_model *m = r->impl;
    const distilbert_config *c = &m->cfg;
    const size_t T = r->seqs.rows, D = c->hidden / c->heads;
    const nn_attn attn = {.heads = c->heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};

    float *x = arch_embed_tokens(r, &m->words); // [T, H]
    nn_embed_add(cx, x, r->seqs.pos, &m->positions, T);
    nn_norm(cx, x, x, &m->norm, T);
    arch_keep_hidden(r, x, c->hidden);
    for (size_t il = 0; il < c->layers; il++) {
        arch_encoder_layer_forward(r, x, &m->layers[il], &attn, NULL, il);
        arch_keep_hidden(r, x, c->hidden);
    }
    arch_heads_forward(r, &m->heads, x, c->hidden);
}

const arch_family arch_distilbert = {
    .model_types = (const char *const[]){"distilbert", NULL},
    .classes =
        (const char *const[]){"DistilBertModel", "DistilBertForMaskedLM",
                              "DistilBertForSequenceClassification",
                              "DistilBertForTokenClassification", "DistilBertForQuestionAnswering",
                              "DistilBertForMultipleChoice", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "distilbert.",
    .ignorable = (const char *const[]){"position_ids", NULL},
    .load = load,
    .forward = forward,
};
