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
    encoder_config e;
    int64_t pad, sep;
} longformer_config;

typedef struct {
    encoder_layer usual;
    nn_attn_w global; // q k v [H, H]
    size_t window;    // one side
} longformer_layer;

typedef struct {
    longformer_config cfg;
    encoder_embed embed;
    longformer_layer *layers;
    arch_heads heads;
} longformer_model;

/* ------------------------------------------------------------------ load */

static void read_config(arch_config *c, longformer_config *o)
{
    arch_encoder_config(c, &o->e);
    o->pad = cfg_token(c, "pad_token_id", 1);
    o->sep = cfg_token(c, "sep_token_id", 2);
    if (o->pad < 0) cfg_fail(c, "\"pad_token_id\" is needed to count positions");
}

static void load_layer(arch_build *b, longformer_layer *l, const longformer_config *c, size_t il)
{
    nn_loader *ld = &b->ld;
    const size_t H = c->e.hidden;
    nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
    l->window = cfg_window_side(&b->cfg, il);
    arch_encoder_layer_load(ld, &l->usual, &bert_layer_names, &c->e);
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
    m->layers = arch_new(b, c->e.layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    m->embed.types_last = true;
    arch_encoder_embed_load(ld, &m->embed, &c->e);
    for (size_t il = 0; il < c->e.layers; il++) load_layer(b, &m->layers[il], c, il);
    const arch_encoder_names names = arch_roberta_heads(b, &c->e);
    arch_encoder_heads_load(b, &m->heads, &names, c->e.hidden, &m->embed.words);
    const size_t D = c->e.hidden / c->e.heads, first = (size_t)c->pad + 1;
    b->m->cross_shape =
        (nn_cache_shape){.layers = 1, .kv_heads = c->e.heads, .k_dim = D, .v_dim = D};
    return arch_done(b, m, c->e.hidden, c->e.vocab, c->e.layers,
                     c->e.positions > first ? c->e.positions - first : 0, err);
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
    const size_t T = r->seqs.rows, H = c->e.hidden, D = H / c->e.heads;
    const bool any = g->start[r->seqs.n] > 0;
    const nn_attn global = {.heads = c->e.heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};
    nn_attn local = global;
    local.window = w->window + 1;
    local.always = any ? g->is : NULL;
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
    arch_encoder_layer_finish(r, x, q, &w->usual, il);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const longformer_model *m = r->impl;
    const longformer_config *c = &m->cfg;
    mltf_err err = {0};
    globals g = {0};
    choose_globals(r, &g, c);
    if (nn_ok(cx) && g.start[r->seqs.n] && arch_run_memory(r, &err))
        nn_fail(cx, err.status, "%s", err.msg);
    if (!nn_ok(cx)) return;

    arch_positions_after_padding(r, c->pad);
    float *x = arch_encoder_embed(r, &m->embed); // [T, H]
    arch_keep_hidden(r, x, c->e.hidden);
    for (size_t il = 0; il < c->e.layers; il++) {
        layer_forward(r, x, &m->layers[il], c, &g, il);
        arch_keep_hidden(r, x, c->e.hidden);
    }
    arch_heads_forward(r, &m->heads, x, c->e.hidden);
}

const arch_family arch_longformer = {
    .model_types = (const char *const[]){"longformer", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("Longformer"), NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "longformer.",
    .ignorable = (const char *const[]){"position_ids", "lm_head.decoder.bias", NULL},
    .load = load,
    .forward = forward,
};
