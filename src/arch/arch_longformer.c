/* Longformer. Beltagy et al. 2020, arXiv:2004.05150; transformers 4.57 models/longformer/modeling_longformer.py.
 *
 *   ids ─ word + position + type embeddings ─ norm ─┐
 *   ┌───────────────────────────────────────────────┘
 *   └─ n x [ local attention, global rows apart ─ dense ─ (+x) norm ─ dense ─ act ─ dense ─ (+x) norm ] ─ heads
 *
 *   A row sees the keys at most attention_window / 2 away and all global ones. A global row sees all keys,
 *   through projections of its own (query_global, key_global, value_global).
 *
 * Global rows are chosen by the class: the first token for sequence classification, the question (what stands
 * before the first separator) for question answering, what follows the question for multiple choice; none else.
 * Easy to get wrong: positions count from padding_idx + 1. Checked on: random checkpoints of the library. */
#include <math.h>
#include <string.h>

#include "arch/arch_encoder.h"

typedef struct {
    size_t hidden, layers, heads, ffn, vocab, types, positions;
    k_act act;
    float eps;
    int64_t pad, sep;
} longformer_config;

typedef struct {
    encoder_layer usual;
    nn_attn_w global; // q k v [H, H]
    size_t window;    // one side
} longformer_layer;

typedef struct {
    longformer_config cfg;
    nn_embed_w words, positions, types; // [V, H], [P, H], [types, H]
    nn_norm_w norm;
    longformer_layer *layers;
    arch_heads heads;
} longformer_model;

/* ------------------------------------------------------------------ load */

static void read_config(arch_config *c, longformer_config *o)
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
    o->pad = cfg_token(c, "pad_token_id", 1);
    o->sep = cfg_token(c, "sep_token_id", 2);
    if (o->pad < 0) cfg_fail(c, "\"pad_token_id\" is needed to count positions");
    if (o->hidden % o->heads)
        cfg_fail(c, "\"hidden_size\" %zu is not a multiple of \"num_attention_heads\" %zu",
                 o->hidden, o->heads);
}

/* attention_window: one number, or one for each layer; both sides together. */
static size_t window_of(arch_config *c, size_t il)
{
    const json *w = cfg_get(c, "attention_window");
    const int64_t n =
        json_is(w, JSON_ARRAY) ? json_int(json_at(w, il), 0) : json_int(w, w ? 0 : 512);
    if (n < 2 || n % 2 || n > 1 << 24)
        cfg_fail(c, "\"attention_window\" must hold an even number for layer %zu", il);
    return n > 0 ? (size_t)n / 2 : 1;
}

static void load_layer(arch_build *b, longformer_layer *l, const longformer_config *c, size_t il)
{
    nn_loader *ld = &b->ld;
    const size_t H = c->hidden;
    nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
    l->window = window_of(&b->cfg, il);
    arch_encoder_layer_load(ld, &l->usual, &bert_layer_names,
                            &(encoder_sizes){H, c->ffn, c->eps, c->act});
    nn_load_linear(ld, &l->global.q, "attention.self.query_global", H, H, NN_BIAS);
    nn_load_linear(ld, &l->global.k, "attention.self.key_global", H, H, NN_BIAS);
    nn_load_linear(ld, &l->global.v, "attention.self.value_global", H, H, NN_BIAS);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    longformer_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    longformer_config *c = &m->cfg;
    read_config(&b->cfg, c);
    m->layers = arch_new(b, c->layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    nn_load_embed(ld, &m->words, "word_embeddings", "input id", c->vocab, c->hidden, 0);
    nn_load_embed(ld, &m->positions, "position_embeddings", "position", c->positions, c->hidden, 0);
    nn_load_embed(ld, &m->types, "token_type_embeddings", "token type", c->types, c->hidden, 0);
    nn_load_norm(ld, &m->norm, "LayerNorm", NN_NORM_LAYER, c->hidden, c->eps, NN_BIAS);
    for (size_t il = 0; il < c->layers; il++) load_layer(b, &m->layers[il], c, il);
    arch_encoder_heads_load(
        b, &m->heads,
        &(arch_encoder_names){.pooler = "pooler.dense",
                              .pooler_act = K_ACT_TANH,
                              .cls_pooler = b->m->info.head == ARCH_HEAD_MULTIPLE_CHOICE,
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
    const size_t D = c->hidden / c->heads, first = (size_t)c->pad + 1;
    b->m->info.hidden = c->hidden;
    b->m->info.vocab = c->vocab;
    b->m->info.n_layers = c->layers;
    b->m->info.max_positions = c->positions > first ? c->positions - first : 0;
    b->m->cross_shape = (nn_cache_shape){.layers = 1, .kv_heads = c->heads, .k_dim = D, .v_dim = D};
    b->m->impl = m;
    return MLTF_OK;
}

/* ------------------------------------------------------------------ which rows are global */

typedef struct {
    const uint8_t *is;   // [T]
    const size_t *start; // [n + 1] of the gathered global rows
    const uint32_t *row; // [start[n]] where each comes from
} globals;

static void choose_globals(arch_run *r, globals *g, const longformer_config *c)
{
    const size_t n = r->seqs.n;
    const arch_head head = r->m->info.head;
    const int32_t *ids = r->batch->ids;
    uint8_t *is = nn_bytes(r->cx, r->seqs.rows);
    size_t *start = nn_bytes(r->cx, (n + 1) * sizeof *start);
    uint32_t *row = nn_bytes(r->cx, r->seqs.rows * sizeof *row);
    if (!nn_ok(r->cx)) return;
    memset(is, 0, r->seqs.rows);
    start[0] = 0;
    for (size_t s = 0; s < n; s++) {
        const size_t a = r->seqs.start[s], b = r->seqs.start[s + 1];
        size_t end = a; // of the question
        while (ids && end < b && ids[end] != c->sep) end++;
        start[s + 1] = start[s];
        for (size_t t = a; t < b; t++) {
            is[t] = head == ARCH_HEAD_SEQ_CLS           ? t == a
                    : head == ARCH_HEAD_QA              ? ids && t < end
                    : head == ARCH_HEAD_MULTIPLE_CHOICE ? ids && t > end + 1
                                                        : 0;
            if (is[t]) row[start[s + 1]++] = (uint32_t)t;
        }
    }
    *g = (globals){is, start, row};
}

/* ------------------------------------------------------------------ forward */

typedef struct {
    const globals *g;
    const size_t *start;
    size_t window;
} local_view;

static void local_bias(void *user, float *bias, size_t ld, const nn_bias_at *at)
{
    const local_view *v = user;
    const uint8_t *is = v->g->is + v->start[at->seq];
    for (size_t i = 0; i < at->nq; i++)
        for (size_t j = 0; j < at->tk; j++) {
            const size_t q = at->q0 + i, away = q > j ? q - j : j - q;
            bias[i * ld + j] = away <= v->window || is[j] ? 0.0f : -INFINITY;
        }
}

/* The global rows of ctx anew: attention to all keys by their own projections. */
static void attend_globals(arch_run *r, float *ctx, const float *x, const longformer_layer *w,
                           const nn_attn *attn, const globals *g)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = attn->heads * attn->dim, G = g->start[r->seqs.n];
    float *k = nn_f32(cx, T, H), *v = nn_f32(cx, T, H);                         // [T, H]
    float *xg = nn_f32(cx, G, H), *q = nn_f32(cx, G, H), *y = nn_f32(cx, G, H); // [G, H]
    nn_linear_group(cx, (float *[]){k, v}, x, (const nn_linear_w *[]){&w->global.k, &w->global.v},
                    2, T);
    for (size_t i = 0; nn_ok(cx) && i < G; i++)
        memcpy(xg + i * H, x + g->row[i] * H, H * sizeof *xg);
    nn_linear(cx, q, xg, &w->global.q, G);
    for (size_t s = 0; nn_ok(cx) && s < r->seqs.n; s++) {
        const size_t at = r->seqs.start[s] * H;
        nn_memory_store(cx, r->seqs.memory[s], 0, (nn_heads){k + at, H, attn->dim},
                        (nn_heads){v + at, H, attn->dim});
    }
    const nn_seqs rows = {.n = r->seqs.n, .start = g->start, .rows = G, .memory = r->seqs.memory};
    nn_attend_memory(cx, y, (nn_heads){q, H, attn->dim}, &rows, attn, 0);
    for (size_t i = 0; nn_ok(cx) && i < G; i++)
        memcpy(ctx + g->row[i] * H, y + i * H, H * sizeof *y);
}

static void layer_forward(arch_run *r, float *x, const longformer_layer *w,
                          const longformer_config *c, const globals *g, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = c->hidden, D = H / c->heads;
    const bool any = g->start[r->seqs.n] > 0;
    const nn_attn global = {.heads = c->heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};
    local_view view = {.g = g, .start = r->seqs.start, .window = w->window};
    nn_attn local = global;
    if (any) {
        local.bias = local_bias;
        local.bias_user = &view;
    } else {
        local.window = w->window + 1;
    }
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, H), *k = nn_f32(cx, T, H), *v = nn_f32(cx, T, H); // [T, H]
    float *ctx = nn_f32(cx, T, H);                                             // [T, H]
    nn_linear_group(cx, (float *[]){q, k, v}, x,
                    (const nn_linear_w *[]){&w->usual.attn.q, &w->usual.attn.k, &w->usual.attn.v},
                    3, T);
    nn_attend(cx, ctx, (nn_heads){q, H, D}, (nn_heads){k, H, D}, (nn_heads){v, H, D}, &r->seqs,
              &local, il);
    for (size_t t = 0; r->seqs.key_mask && nn_ok(cx) && t < T; t++) // hidden rows give nothing
        if (!r->seqs.key_mask[t]) memset(ctx + t * H, 0, H * sizeof *ctx);
    if (any) attend_globals(r, ctx, x, w, &global, g);
    nn_linear(cx, q, ctx, &w->usual.attn.o, T);
    arch_encoder_layer_finish(r, x, q, &w->usual, H, il);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const longformer_model *m = r->impl;
    const longformer_config *c = &m->cfg;
    const size_t T = r->seqs.rows;
    mltf_err err = {0};
    globals g = {0};
    choose_globals(r, &g, c);
    if (nn_ok(cx) && g.start[r->seqs.n] && arch_run_memory(r, &err))
        nn_fail(cx, err.status, "%s", err.msg);
    if (!nn_ok(cx)) return;

    float *x = arch_embed_tokens(r, &m->words); // [T, H]
    arch_positions_after_padding(r, c->pad);
    nn_embed_add(cx, x, r->seqs.pos, &m->positions, T);
    arch_add_types(r, x, &m->types);
    nn_norm(cx, x, x, &m->norm, T);
    arch_keep_hidden(r, x, c->hidden);
    for (size_t il = 0; il < c->layers; il++) {
        layer_forward(r, x, &m->layers[il], c, &g, il);
        arch_keep_hidden(r, x, c->hidden);
    }
    arch_heads_forward(r, &m->heads, x, c->hidden);
}

const arch_family arch_longformer = {
    .model_types = (const char *const[]){"longformer", NULL},
    .classes =
        (const char *const[]){"LongformerModel", "LongformerForMaskedLM",
                              "LongformerForSequenceClassification",
                              "LongformerForTokenClassification", "LongformerForQuestionAnswering",
                              "LongformerForMultipleChoice", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "longformer.",
    .ignorable = (const char *const[]){"position_ids", "lm_head.decoder.bias", NULL},
    .load = load,
    .forward = forward,
};
