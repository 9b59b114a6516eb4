/* DistilBERT. Sanh et al. 2019, arXiv:1910.01108; transformers 4.57 models/distilbert/modeling_distilbert.py.
 *
 *   ids ─ word + position embeddings ─ norm ─┐
 *   ┌────────────────────────────────────────┘
 *   └─ n x [ q k v ─ attention ─ out ─ (+x) norm ─ lin1 ─ act ─ lin2 ─ (+x) norm ] ─ heads
 *
 * Easy to get wrong: no token types, no pooler; the classifier has a layer of its own with relu; eps is
 * 1e-12 and not in config.json. Checked on: fixtures distilbert-*. */
#include <math.h>

#include "arch/arch_internal.h"

typedef struct {
    size_t hidden, layers, heads, ffn, vocab, positions; // dim, n_layers, n_heads, hidden_dim, …
    k_act act;                                           // activation
} distilbert_config;

typedef struct {
    nn_attn_w attn;      // q k v o [H, H]
    nn_norm_w attn_norm; // [H]
    nn_mlp_w mlp;        // up [F, H], down [H, F]
    nn_norm_w mlp_norm;  // [H]
} distilbert_layer;

typedef struct {
    distilbert_config cfg;
    nn_embed_w words, positions; // [V, H], [P, H]
    nn_norm_w norm;
    distilbert_layer *layers;
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

static void load_layer(nn_loader *ld, distilbert_layer *l, const distilbert_config *c, size_t il)
{
    const size_t H = c->hidden, F = c->ffn;
    nn_scope(ld, "%stransformer.layer.%zu.", ld->base, il);
    nn_load_linear(ld, &l->attn.q, "attention.q_lin", H, H, NN_BIAS);
    nn_load_linear(ld, &l->attn.k, "attention.k_lin", H, H, NN_BIAS);
    nn_load_linear(ld, &l->attn.v, "attention.v_lin", H, H, NN_BIAS);
    nn_load_linear(ld, &l->attn.o, "attention.out_lin", H, H, NN_BIAS);
    nn_load_norm(ld, &l->attn_norm, "sa_layer_norm", NN_NORM_LAYER, H, EPS, NN_BIAS);
    nn_load_linear(ld, &l->mlp.up, "ffn.lin1", F, H, NN_BIAS);
    nn_load_linear(ld, &l->mlp.down, "ffn.lin2", H, F, NN_BIAS);
    nn_load_norm(ld, &l->mlp_norm, "output_layer_norm", NN_NORM_LAYER, H, EPS, NN_BIAS);
    l->mlp.act = c->act;
}

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
    for (size_t il = 0; il < c->layers; il++) load_layer(ld, &m->layers[il], c, il);
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

static void layer_forward(arch_run *r, float *x, const distilbert_layer *w, const nn_attn *attn,
                          size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = attn->heads * attn->dim;
    const nn_mark mark = nn_save(cx);
    float *y = nn_f32(cx, T, H); // [T, H]
    nn_self_attention(cx, y, x, &w->attn, attn, &r->seqs, NULL, il);
    nn_add_norm(cx, x, y, &w->attn_norm, T);
    nn_tap(cx, "attn_norm", (int)il, x, T, H);
    nn_mlp(cx, y, x, &w->mlp, T);
    nn_add_norm(cx, x, y, &w->mlp_norm, T);
    nn_tap(cx, "out", (int)il, x, T, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
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
        layer_forward(r, x, &m->layers[il], &attn, il);
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
