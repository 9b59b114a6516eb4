/* ModernBERT. Warner et al. 2024, arXiv:2412.13663; transformers 4.57 models/modernbert/modeling_modernbert.py.
 *
 *   ids ─ embedding ─ norm ─ n x [ x += attention(norm x) with rope;  x += Wo(gelu(a) b), [a | b] = Wi(norm x) ] ─ norm
 *      ─ heads, each behind dense ─ gelu ─ norm
 *
 * Easy to get wrong: the first layer has no norm before attention; every third layer sees all tokens, the
 * others those at most local_attention / 2 away on both sides, with frequencies of their own; there are
 * no token types. The last of the hidden states stands before the final norm in transformers 4 and
 * behind it in 5: the version that wrote config.json decides.
 * Checked on: fixtures modernbert-*. */
#include <math.h>

#include "arch/arch_internal.h"

typedef struct {
    size_t hidden, layers, heads, ffn, vocab, positions, every, local;
    k_act act, head_act;
    float eps;
    unsigned attn_bias, mlp_bias, head_bias, decoder_bias, norm_bias;
    arch_pool pool; // classifier_pooling
    bool hidden_after_norm;
} modernbert_config;

typedef struct {
    nn_norm_w attn_norm, mlp_norm; // [H]; kind NONE in the first layer's attn_norm
    nn_attn_w attn;                // qkv [3H, H], o [H, H]
    nn_mlp_w mlp;                  // gate up [F, H], down [H, F]
    bool local;
} modernbert_layer;

typedef struct {
    modernbert_config cfg;
    nn_embed_w words; // [V, H]
    nn_norm_w embed_norm, norm;
    nn_rope rope, rope_local;
    modernbert_layer *layers;
    arch_heads heads;
} modernbert_model;

static void read_config(arch_config *c, modernbert_config *o)
{
    o->hidden = cfg_dim(c, "hidden_size", 768);
    o->layers = cfg_layers(c, "num_hidden_layers", 22);
    o->heads = cfg_dim(c, "num_attention_heads", 12);
    o->ffn = cfg_dim(c, "intermediate_size", 1152);
    o->vocab = cfg_dim(c, "vocab_size", 50368);
    o->positions = cfg_dim(c, "max_position_embeddings", 8192);
    o->every = cfg_size(c, "global_attn_every_n_layers", 3, 1, 1 << 20);
    o->local = cfg_dim(c, "local_attention", 128);
    o->act = cfg_act(c, "hidden_activation", "gelu");
    o->head_act = cfg_act(c, "classifier_activation", "gelu");
    o->eps = cfg_float(c, "norm_eps", 1e-5f);
    o->attn_bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->mlp_bias = cfg_bool(c, "mlp_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->head_bias = cfg_bool(c, "classifier_bias", false) ? NN_BIAS : NN_NO_BIAS;
    o->decoder_bias = cfg_bool(c, "decoder_bias", true) ? NN_BIAS : NN_NO_BIAS;
    o->norm_bias = cfg_bool(c, "norm_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const mltf_str pool = cfg_str(c, "classifier_pooling", "cls");
    o->pool = str_is(pool, "mean") ? POOL_MEAN : POOL_FIRST;
    if (!str_is(pool, "mean") && !str_is(pool, "cls"))
        cfg_fail(c, "\"classifier_pooling\" \"" STR_FMT "\" is not supported", STR_ARG(pool));
    o->hidden_after_norm = str_starts(cfg_str(c, "transformers_version", "4"), "5.");
    if (o->hidden % o->heads)
        cfg_fail(c, "\"hidden_size\" %zu is not a multiple of \"num_attention_heads\" %zu",
                 o->hidden, o->heads);
}

static void load_layer(arch_build *b, modernbert_layer *l, const modernbert_config *c, size_t il)
{
    nn_loader *ld = &b->ld;
    const size_t H = c->hidden, F = c->ffn;
    nn_scope(ld, "%slayers.%zu.", ld->base, il);
    l->local = cfg_layer_is(&b->cfg, il, "sliding_attention", il % c->every != 0);
    if (il) nn_load_norm(ld, &l->attn_norm, "attn_norm", NN_NORM_LAYER, H, c->eps, c->norm_bias);
    nn_load_linear(ld, &l->attn.qkv, "attn.Wqkv", 3 * H, H, c->attn_bias);
    nn_load_linear(ld, &l->attn.o, "attn.Wo", H, H, c->attn_bias);
    nn_load_norm(ld, &l->mlp_norm, "mlp_norm", NN_NORM_LAYER, H, c->eps, c->norm_bias);
    nn_load_gate_up(ld, &l->mlp, "mlp.Wi", F, H, c->mlp_bias);
    nn_load_linear(ld, &l->mlp.down, "mlp.Wo", H, F, c->mlp_bias);
    l->mlp.act = c->act;
}

static void load_heads(arch_build *b, modernbert_model *m)
{
    nn_loader *ld = &b->ld;
    const modernbert_config *c = &m->cfg;
    const arch_head head = b->m->info.head;
    const size_t H = c->hidden, L = b->m->info.n_labels;
    arch_head_w *h = &m->heads.head;
    if (head == ARCH_HEAD_NONE) return;
    m->heads.has_head = true;
    nn_scope(ld, "%s", "");
    nn_load_linear(ld, &h->dense, "head.dense", H, H, c->head_bias);
    nn_load_norm(ld, &h->norm, "head.norm", NN_NORM_LAYER, H, c->eps, c->norm_bias);
    h->act = c->head_act;
    if (head == ARCH_HEAD_MASKED_LM) {
        const bool tied = cfg_bool(&b->cfg, "tie_word_embeddings", true);
        nn_load_linear(ld, &h->out, "decoder", c->vocab, H,
                       c->decoder_bias | (tied ? NN_OPTIONAL : 0));
        if (tied) h->out = nn_linear_tied(&m->words, ld->compute);
        if (tied && c->decoder_bias) h->out.bias = nn_load_vector(ld, "decoder.bias", c->vocab, 0);
    } else if (head == ARCH_HEAD_QA) {
        nn_load_linear(ld, &h->out, "qa_outputs|classifier", 2, H, NN_BIAS);
    } else {
        nn_load_linear(ld, &h->out, "classifier", head == ARCH_HEAD_MULTIPLE_CHOICE ? 1 : L, H,
                       NN_BIAS);
        if (head != ARCH_HEAD_TOKEN_CLS) h->pool = c->pool;
    }
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    modernbert_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    modernbert_config *c = &m->cfg;
    read_config(&b->cfg, c);
    m->layers = arch_new(b, c->layers, sizeof *m->layers);
    const size_t D = c->hidden / c->heads;
    arch_rope_load(&m->rope, b,
                   &(arch_rope_options){.dim = D,
                                        .theta = 160000,
                                        .theta_key = "global_rope_theta",
                                        .max_positions = c->positions,
                                        .layer_type = "full_attention"});
    const json *local = json_get(b->cfg.root, "local_rope_theta");
    const bool global_too = local && local->type == JSON_NULL;
    arch_rope_load(&m->rope_local, b,
                   &(arch_rope_options){.dim = D,
                                        .theta = global_too ? m->rope.theta : 10000,
                                        .theta_key = "local_rope_theta",
                                        .max_positions = c->positions,
                                        .layer_type = "sliding_attention"});
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &m->words, "embeddings.tok_embeddings", "input id", c->vocab, c->hidden, 0);
    nn_load_norm(ld, &m->embed_norm, "embeddings.norm", NN_NORM_LAYER, c->hidden, c->eps,
                 c->norm_bias);
    nn_load_norm(ld, &m->norm, "final_norm", NN_NORM_LAYER, c->hidden, c->eps, c->norm_bias);
    for (size_t il = 0; il < c->layers; il++) load_layer(b, &m->layers[il], c, il);
    load_heads(b, m);
    return arch_done(b, m, c->hidden, c->vocab, c->layers, SIZE_MAX, err);
}

static void layer_forward(arch_run *r, float *x, const modernbert_layer *w, const nn_attn *attn,
                          const nn_rope_rows *rope, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = attn->heads * attn->dim;
    const nn_mark mark = nn_save(cx);
    float *h = nn_f32(cx, T, H); // [T, H]
    if (w->attn_norm.kind == NN_NORM_NONE)
        nn_copy(cx, h, x, T * H);
    else
        nn_norm(cx, h, x, &w->attn_norm, T);
    nn_self_attention(cx, h, h, &w->attn, attn, &r->seqs, rope, il);
    nn_add(cx, x, h, T * H);
    nn_tap(cx, "attn", (int)il, x, T, H);
    nn_norm(cx, h, x, &w->mlp_norm, T);
    nn_mlp(cx, h, h, &w->mlp, T);
    nn_add(cx, x, h, T * H);
    nn_tap(cx, "out", (int)il, x, T, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const modernbert_model *m = r->impl;
    const modernbert_config *c = &m->cfg;
    const size_t T = r->seqs.rows, D = c->hidden / c->heads;
    const nn_attn global = {.heads = c->heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};
    nn_attn local = global;
    local.window = c->local / 2 + 1;

    float *x = arch_embed_tokens(r, &m->words); // [T, H]
    nn_norm(cx, x, x, &m->embed_norm, T);
    const nn_rope_rows rope = nn_rope_prepare(cx, &m->rope, &r->seqs);
    const nn_rope_rows rope_local = nn_rope_prepare(cx, &m->rope_local, &r->seqs);
    for (size_t il = 0; il < c->layers; il++) {
        const modernbert_layer *w = &m->layers[il];
        arch_keep_hidden(r, x, c->hidden);
        layer_forward(r, x, w, w->local ? &local : &global, w->local ? &rope_local : &rope, il);
    }
    if (!c->hidden_after_norm) arch_keep_hidden(r, x, c->hidden);
    nn_norm(cx, x, x, &m->norm, T);
    if (c->hidden_after_norm) arch_keep_hidden(r, x, c->hidden);
    arch_heads_forward(r, &m->heads, x, c->hidden);
}

const arch_family arch_modernbert = {
    .model_types = (const char *const[]){"modernbert", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("ModernBert"), NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = forward,
};
