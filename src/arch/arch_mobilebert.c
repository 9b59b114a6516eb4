/* MobileBERT. Sun et al. 2020, arXiv:2004.02984; transformers 4.57 models/mobilebert/modeling_mobilebert.py.
 *
 *   ids ─ [next | this | previous] word embedding ─ linear + position + type ─ norm ─┐
 *   ┌────────────────────────────────────────────────────────────────────────────────┘
 *   └─ n x  narrow = bottleneck x;  q k of the attention bottleneck, v of x itself
 *           narrow = norm(attention + narrow);  some times: narrow = norm(mlp(narrow) + narrow)
 *           x = norm(wide(norm(mlp(narrow) + narrow)) + x)                                        ─ heads
 *
 * Easy to get wrong: "no_norm" is a multiplication and an addition, nothing more; the neighbours of the first
 * and last token are zeros (in a padded batch Python sees the padding there); the masked LM multiplies by the
 * word embeddings and by a second matrix for the columns that those do not have; without
 * classifier_activation the pooler is the first row itself. Checked on: fixtures mobilebert-*. */
#include <math.h>
#include <string.h>

#include "arch/arch_internal.h"

enum { FFN_MAX = 64 };

typedef struct {
    size_t hidden, narrow, embed, layers, heads, ffn, ffns, vocab, types, positions;
    k_act act;
    float eps;
    bool trigram, bottleneck, bottleneck_attention, pooler;
    nn_norm_kind norm;
} mobilebert_config;

typedef struct {
    nn_linear_w in, qk_in; // bottlenecks [N, H]
    nn_norm_w in_norm, qk_norm;
    nn_linear_w q, k, v, o; // q k o [N, N], v [N, H]
    nn_norm_w attn_norm;    // [N]
    nn_mlp_w *mlps;         // [ffns]: up [F, N], down [N, F]
    nn_norm_w *mlp_norms;   // [ffns]
    nn_linear_w out;        // [H, N]
    nn_norm_w out_norm;     // [H]
} mobilebert_layer;

typedef struct {
    mobilebert_config cfg;
    nn_embed_w words, positions, types; // [V, E], [P, H], [types, H]
    nn_linear_w transform;              // [H, 3E]
    nn_norm_w norm;
    mobilebert_layer *layers;
    arch_heads heads;
} mobilebert_model;

/* ------------------------------------------------------------------ load */

static void read_config(arch_config *c, mobilebert_config *o)
{
    o->hidden = cfg_dim(c, "hidden_size", 512);
    o->embed = cfg_dim(c, "embedding_size", 128);
    o->layers = cfg_layers(c, "num_hidden_layers", 24);
    o->heads = cfg_dim(c, "num_attention_heads", 4);
    o->ffn = cfg_dim(c, "intermediate_size", 512);
    o->ffns = cfg_size(c, "num_feedforward_networks", 4, 1, FFN_MAX);
    o->vocab = cfg_dim(c, "vocab_size", 30522);
    o->types = cfg_dim(c, "type_vocab_size", 2);
    o->positions = cfg_dim(c, "max_position_embeddings", 512);
    o->act = cfg_act(c, "hidden_act", "relu");
    o->eps = cfg_float(c, "layer_norm_eps", 1e-12f);
    o->trigram = cfg_bool(c, "trigram_input", true);
    o->bottleneck = cfg_bool(c, "use_bottleneck", true);
    o->bottleneck_attention = cfg_bool(c, "use_bottleneck_attention", false);
    o->pooler = cfg_bool(c, "classifier_activation", true);
    o->narrow = o->bottleneck ? cfg_dim(c, "intra_bottleneck_size", 128) : o->hidden;
    const mltf_str norm = cfg_str(c, "normalization_type", "no_norm");
    o->norm = str_is(norm, "no_norm") ? NN_NORM_AFFINE : NN_NORM_LAYER;
    if (!str_is(norm, "no_norm") && !str_is(norm, "layer_norm"))
        cfg_fail(c, "\"normalization_type\" \"" STR_FMT "\" is not supported", STR_ARG(norm));
    if (o->bottleneck && !o->bottleneck_attention &&
        !cfg_bool(c, "key_query_shared_bottleneck", true))
        cfg_fail(c, "\"key_query_shared_bottleneck\" false is not supported");
    if (o->narrow % o->heads)
        cfg_fail(c, "the width of attention, %zu, is not a multiple of \"num_attention_heads\" %zu",
                 o->narrow, o->heads);
    if (o->embed > o->hidden) cfg_fail(c, "\"embedding_size\" is above \"hidden_size\"");
}

static void load_layer(arch_build *b, mobilebert_layer *l, const mobilebert_config *c, size_t il)
{
    nn_loader *ld = &b->ld;
    const size_t H = c->hidden, N = c->narrow, F = c->ffn;
    l->mlps = arch_new(b, c->ffns, sizeof *l->mlps);
    l->mlp_norms = arch_new(b, c->ffns, sizeof *l->mlp_norms);
    if (!l->mlps || !l->mlp_norms) return;
    nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
    if (c->bottleneck) {
        nn_load_linear(ld, &l->in, "bottleneck.input.dense", N, H, NN_BIAS);
        nn_load_norm(ld, &l->in_norm, "bottleneck.input.LayerNorm", c->norm, N, c->eps, NN_BIAS);
        const unsigned optional = c->bottleneck_attention ? NN_OPTIONAL : 0;
        nn_load_linear(ld, &l->qk_in, "bottleneck.attention.dense", N, H, NN_BIAS | optional);
        nn_load_norm(ld, &l->qk_norm, "bottleneck.attention.LayerNorm", c->norm, N, c->eps,
                     NN_BIAS | optional);
        nn_load_linear(ld, &l->out, "output.bottleneck.dense", H, N, NN_BIAS);
        nn_load_norm(ld, &l->out_norm, "output.bottleneck.LayerNorm", c->norm, H, c->eps, NN_BIAS);
    }
    nn_load_linear(ld, &l->q, "attention.self.query", N, N, NN_BIAS);
    nn_load_linear(ld, &l->k, "attention.self.key", N, N, NN_BIAS);
    nn_load_linear(ld, &l->v, "attention.self.value", N, c->bottleneck_attention ? N : H, NN_BIAS);
    nn_load_linear(ld, &l->o, "attention.output.dense", N, N, NN_BIAS);
    nn_load_norm(ld, &l->attn_norm, "attention.output.LayerNorm", c->norm, N, c->eps, NN_BIAS);
    for (size_t i = 0; i < c->ffns; i++) {
        if (i + 1 < c->ffns)
            nn_scope(ld, "%sencoder.layer.%zu.ffn.%zu.", ld->base, il, i);
        else
            nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
        nn_load_linear(ld, &l->mlps[i].up, "intermediate.dense", F, N, NN_BIAS);
        nn_load_linear(ld, &l->mlps[i].down, "output.dense", N, F, NN_BIAS);
        // like the embedding's, the last one takes no eps of the configuration
        nn_load_norm(ld, &l->mlp_norms[i], "output.LayerNorm", c->norm, N,
                     i + 1 < c->ffns ? c->eps : 1e-5f, NN_BIAS);
        l->mlps[i].act = c->act;
    }
}

static void load_heads(arch_build *b, mobilebert_model *m)
{
    const mobilebert_config *c = &m->cfg;
    arch_encoder_heads_load(
        b, &m->heads,
        &(arch_encoder_names){.pooler = c->pooler ? "pooler.dense" : NULL,
                              .pooler_act = K_ACT_TANH,
                              .cls_pooler = true,
                              .cls_out = "classifier",
                              .token_out = "classifier",
                              .qa_out = "qa_outputs",
                              .nsp_out = "cls.seq_relationship",
                              .mlm_dense = NULL, // below: it is not as wide as the embedding
                              .mlm_out = "cls.predictions.decoder",
                              .mlm_bias = "cls.predictions.bias|cls.predictions.decoder.bias",
                              .eps = c->eps},
        c->hidden, &m->words);
    if (!c->pooler) {
        m->heads.has_pooler = b->m->info.head == ARCH_HEAD_NONE;
        m->heads.pooler.pool = POOL_FIRST;
    }
    if (b->m->info.head != ARCH_HEAD_MASKED_LM) return;
    arch_head_w *h = &m->heads.head;
    nn_load_linear(&b->ld, &h->dense, "cls.predictions.transform.dense", c->hidden, c->hidden,
                   NN_BIAS);
    nn_load_norm(&b->ld, &h->norm, "cls.predictions.transform.LayerNorm", NN_NORM_LAYER, c->hidden,
                 c->eps, NN_BIAS);
    h->act = c->act;
    if (c->hidden > c->embed)
        nn_load_linear(&b->ld, &h->out2, "cls.predictions.dense", c->vocab, c->hidden - c->embed,
                       NN_CONV1D);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    mobilebert_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    mobilebert_config *c = &m->cfg;
    read_config(&b->cfg, c);
    m->layers = arch_new(b, c->layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    nn_load_embed(ld, &m->words, "word_embeddings", "input id", c->vocab, c->embed, 0);
    nn_load_embed(ld, &m->positions, "position_embeddings", "position", c->positions, c->hidden, 0);
    nn_load_embed(ld, &m->types, "token_type_embeddings", "token type", c->types, c->hidden, 0);
    // the library gives this norm no eps of the configuration: a layer norm keeps its own default
    nn_load_norm(ld, &m->norm, "LayerNorm", c->norm, c->hidden, 1e-5f, NN_BIAS);
    if (c->trigram || c->embed != c->hidden)
        nn_load_linear(ld, &m->transform, "embedding_transformation", c->hidden,
                       c->embed * (c->trigram ? 3 : 1), NN_BIAS);
    for (size_t il = 0; il < c->layers; il++) load_layer(b, &m->layers[il], c, il);
    load_heads(b, m);
    return arch_done(b, m, c->hidden, c->vocab, c->layers, c->positions, err);
}

/* ------------------------------------------------------------------ forward */

/* y = act-less linear of x, then norm. */
static void dense_norm(nn_ctx *cx, float *y, const float *x, const nn_linear_w *w,
                       const nn_norm_w *norm, size_t T)
{
    nn_linear(cx, y, x, w, T);
    nn_norm(cx, y, y, norm, T);
}

static void layer_forward(arch_run *r, float *x, const mobilebert_layer *w,
                          const mobilebert_config *c, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, N = c->narrow, H = c->hidden, D = N / c->heads;
    const nn_attn attn = {.heads = c->heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};
    const nn_mark mark = nn_save(cx);
    float *n = nn_f32(cx, T, N), *qk = nn_f32(cx, T, N), *y = nn_f32(cx, T, N); // [T, N]
    float *q = nn_f32(cx, T, N), *k = nn_f32(cx, T, N), *v = nn_f32(cx, T, N);
    if (c->bottleneck)
        dense_norm(cx, n, x, &w->in, &w->in_norm, T);
    else
        nn_copy(cx, n, x, T * N);
    if (c->bottleneck && !c->bottleneck_attention)
        dense_norm(cx, qk, x, &w->qk_in, &w->qk_norm, T);
    else
        nn_copy(cx, qk, n, T * N);
    nn_linear_group(cx, (float *[]){q, k}, qk, (const nn_linear_w *[]){&w->q, &w->k}, 2, T);
    nn_linear(cx, v, c->bottleneck_attention ? n : x, &w->v, T);
    nn_attend(cx, qk, (nn_heads){q, N, D}, (nn_heads){k, N, D}, (nn_heads){v, N, D}, &r->seqs,
              &attn, il);
    nn_linear(cx, y, qk, &w->o, T);
    nn_add_norm(cx, n, y, &w->attn_norm, T);
    nn_tap(cx, "attn_norm", (int)il, n, T, N);
    for (size_t i = 0; i < c->ffns; i++) {
        nn_mlp(cx, y, n, &w->mlps[i], T);
        nn_add_norm(cx, n, y, &w->mlp_norms[i], T);
    }
    if (c->bottleneck) {
        float *wide = nn_f32(cx, T, H); // [T, H]
        nn_linear(cx, wide, n, &w->out, T);
        nn_add_norm(cx, x, wide, &w->out_norm, T);
    } else {
        nn_copy(cx, x, n, T * H);
    }
    nn_tap(cx, "out", (int)il, x, T, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* [next | this | previous] of each row, zeros beyond a sequence's ends: [T, 3E]. */
static float *trigrams(arch_run *r, const float *e, size_t E)
{
    float *y = nn_f32(r->cx, r->seqs.rows, 3 * E);
    for (size_t s = 0; nn_ok(r->cx) && s < r->seqs.n; s++)
        for (size_t t = r->seqs.start[s], first = t, end = r->seqs.start[s + 1]; t < end; t++) {
            float *row = y + t * 3 * E;
            memset(row, 0, 3 * E * sizeof *row);
            if (t + 1 < end) memcpy(row, e + (t + 1) * E, E * sizeof *row);
            memcpy(row + E, e + t * E, E * sizeof *row);
            if (t > first) memcpy(row + 2 * E, e + (t - 1) * E, E * sizeof *row);
        }
    return y;
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const mobilebert_model *m = r->impl;
    const mobilebert_config *c = &m->cfg;
    const size_t T = r->seqs.rows;

    float *x = arch_embed_tokens(r, &m->words); // [T, E]
    if (c->trigram) x = trigrams(r, x, c->embed);
    if (nn_has(&m->transform)) {
        float *wide = nn_f32(cx, T, c->hidden); // [T, H]
        nn_linear(cx, wide, x, &m->transform, T);
        x = wide;
    }
    nn_embed_add(cx, x, r->seqs.pos, &m->positions, T);
    arch_add_types(r, x, &m->types);
    nn_norm(cx, x, x, &m->norm, T);
    arch_keep_hidden(r, x, c->hidden);
    for (size_t il = 0; il < c->layers; il++) {
        layer_forward(r, x, &m->layers[il], c, il);
        arch_keep_hidden(r, x, c->hidden);
    }
    arch_heads_forward(r, &m->heads, x, c->hidden);
}

const arch_family arch_mobilebert = {
    .model_types = (const char *const[]){"mobilebert", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("MobileBert"), "MobileBertForPreTraining",
                                     "MobileBertForNextSentencePrediction", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "mobilebert.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias", NULL},
    .load = load,
    .forward = forward,
};
