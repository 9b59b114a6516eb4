/* SqueezeBERT. Iandola et al. 2020, arXiv:2006.11316; transformers 4.57 models/squeezebert/modeling_squeezebert.py.
 *
 *   BERT whose linear layers are convolutions of width 1 in groups: each group of outputs sees its own group
 *   of inputs only.
 *
 * Easy to get wrong: every layer has its own number of groups (q_groups, k_groups, v_groups, …);
 * the base model's prefix is "transformer."; the inner norms have eps 1e-12 whatever config.json says.
 * Checked on: fixtures squeezebert-seqcls. */
#include <math.h>

#include "arch/arch_internal.h"

typedef struct {
    size_t hidden, layers, heads, ffn, vocab, types, positions;
    size_t q_groups, k_groups, v_groups, o_groups, up_groups, down_groups;
    k_act act;
    float eps;
} squeezebert_config;

typedef struct {
    nn_linear_w q, k, v, o, up, down; // [N, K / groups]
    nn_norm_w attn_norm, mlp_norm;    // [H]
} squeezebert_layer;

typedef struct {
    squeezebert_config cfg;
    nn_embed_w words, positions, types; // [V, H], [P, H], [types, H]
    nn_norm_w norm;
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
    o->hidden = cfg_dim(c, "hidden_size", 768);
    o->layers = cfg_layers(c, "num_hidden_layers", 12);
    o->heads = cfg_dim(c, "num_attention_heads", 12);
    o->ffn = cfg_dim(c, "intermediate_size", 3072);
    o->vocab = cfg_dim(c, "vocab_size", 30522);
    o->types = cfg_dim(c, "type_vocab_size", 2);
    o->positions = cfg_dim(c, "max_position_embeddings", 512);
    o->act = cfg_act(c, "hidden_act", "gelu");
    o->eps = cfg_float(c, "layer_norm_eps", 1e-12f);
    o->q_groups = groups(c, "q_groups", 4, o->hidden, o->hidden);
    o->k_groups = groups(c, "k_groups", 4, o->hidden, o->hidden);
    o->v_groups = groups(c, "v_groups", 4, o->hidden, o->hidden);
    o->o_groups = groups(c, "post_attention_groups", 1, o->hidden, o->hidden);
    o->up_groups = groups(c, "intermediate_groups", 4, o->hidden, o->ffn);
    o->down_groups = groups(c, "output_groups", 4, o->ffn, o->hidden);
    if (cfg_dim(c, "embedding_size", o->hidden) != o->hidden)
        cfg_fail(c, "\"embedding_size\" must equal \"hidden_size\"");
    if (o->hidden % o->heads)
        cfg_fail(c, "\"hidden_size\" %zu is not a multiple of \"num_attention_heads\" %zu",
                 o->hidden, o->heads);
}

static void load_layer(nn_loader *ld, squeezebert_layer *l, const squeezebert_config *c, size_t il)
{
    const size_t H = c->hidden, F = c->ffn;
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
    m->layers = arch_new(b, c->layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    nn_load_embed(ld, &m->words, "word_embeddings", "input id", c->vocab, c->hidden, 0);
    nn_load_embed(ld, &m->positions, "position_embeddings", "position", c->positions, c->hidden, 0);
    nn_load_embed(ld, &m->types, "token_type_embeddings", "token type", c->types, c->hidden, 0);
    nn_load_norm(ld, &m->norm, "LayerNorm", NN_NORM_LAYER, c->hidden, c->eps, NN_BIAS);
    for (size_t il = 0; il < c->layers; il++) load_layer(ld, &m->layers[il], c, il);
    arch_encoder_heads_load(
        b, &m->heads,
        &(arch_encoder_names){.pooler = "pooler.dense",
                              .pooler_act = K_ACT_TANH,
                              .cls_pooler = true,
                              .cls_out = "classifier",
                              .token_out = "classifier",
                              .qa_out = "qa_outputs",
                              .mlm_dense = "cls.predictions.transform.dense",
                              .mlm_act = c->act,
                              .mlm_norm = "cls.predictions.transform.LayerNorm",
                              .mlm_out = "cls.predictions.decoder",
                              .mlm_bias = "cls.predictions.bias|cls.predictions.decoder.bias",
                              .eps = c->eps},
        c->hidden, &m->words);
    b->m->info.hidden = c->hidden;
    b->m->info.vocab = c->vocab;
    b->m->info.n_layers = c->layers;
    b->m->info.max_positions = c->positions;
    b->m->impl = m;
    return MLTF_OK;
}

static void layer_forward(arch_run *r, float *x, const squeezebert_layer *w,
                          const squeezebert_config *c, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = c->hidden, D = H / c->heads;
    const nn_attn attn = {.heads = c->heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, H), *k = nn_f32(cx, T, H), *v = nn_f32(cx, T, H); // [T, H]
    float *ctx = nn_f32(cx, T, H), *mid = nn_f32(cx, T, c->ffn);               // [T, H], [T, F]
    nn_linear_grouped(cx, q, x, &w->q, c->q_groups, T);
    nn_linear_grouped(cx, k, x, &w->k, c->k_groups, T);
    nn_linear_grouped(cx, v, x, &w->v, c->v_groups, T);
    nn_attend(cx, ctx, (nn_heads){q, H, D}, (nn_heads){k, H, D}, (nn_heads){v, H, D}, &r->seqs,
              &attn, il);
    nn_linear_grouped(cx, q, ctx, &w->o, c->o_groups, T);
    nn_add_norm(cx, x, q, &w->attn_norm, T);
    nn_tap(cx, "attn_norm", (int)il, x, T, H);
    nn_linear_grouped(cx, mid, x, &w->up, c->up_groups, T);
    nn_act(cx, mid, mid, T * c->ffn, c->act);
    nn_linear_grouped(cx, q, mid, &w->down, c->down_groups, T);
    nn_add_norm(cx, x, q, &w->mlp_norm, T);
    nn_tap(cx, "out", (int)il, x, T, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const squeezebert_model *m = r->impl;
    const squeezebert_config *c = &m->cfg;
    const size_t T = r->seqs.rows;

    float *x = arch_embed_tokens(r, &m->words); // [T, H]
    nn_embed_add(cx, x, r->seqs.pos, &m->positions, T);
    arch_add_types(r, x, &m->types);
    nn_norm(cx, x, x, &m->norm, T);
    for (size_t il = 0; il < c->layers; il++) {
        arch_keep_hidden(r, x, c->hidden);
        layer_forward(r, x, &m->layers[il], c, il);
    }
    arch_keep_hidden(r, x, c->hidden);
    arch_heads_forward(r, &m->heads, x, c->hidden);
}

const arch_family arch_squeezebert = {
    .model_types = (const char *const[]){"squeezebert", NULL},
    .classes = (const char *const[]){"SqueezeBertModel", "SqueezeBertForMaskedLM",
                                     "SqueezeBertForSequenceClassification",
                                     "SqueezeBertForTokenClassification",
                                     "SqueezeBertForQuestionAnswering",
                                     "SqueezeBertForMultipleChoice", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias", NULL},
    .load = load,
    .forward = forward,
};
