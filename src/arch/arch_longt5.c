/* LongT5: t5 whose encoder reads in a window, with or without sums of blocks beside it. Guo et al. 2021,
 * arXiv:2112.07916; transformers 4.57 models/longt5/modeling_longt5.py.
 *
 *   local             row i sees the rows less than local_radius + 1 away
 *   transient-global  and, of each block of global_block_size rows, norm(the sum of its rows)
 *
 * Easy to get wrong: rows that fill no block belong to the last full one, and a text shorter than a block has none; the
 * distance of a row and a block counts in blocks, through a table of its own. The blocks' sums are made of what the
 * layer's norm gave, anew in each layer. Checked on: random checkpoints of the library. */
#include "arch/arch_t5.h"

#include <math.h>
#include <string.h>

typedef struct {
    t5_model base;
    size_t block;      // global_block_size
    const float *side; // [buckets, heads] of distances in blocks, the first layer's for all
} longt5_model;

typedef struct {
    nn_norm_w norm; // of the sums
} block_sums;

/* ------------------------------------------------------------------ load */

static void load_sums(arch_build *b, t5_layer *l, const t5_config *c, size_t il)
{
    nn_loader *ld = &b->ld;
    longt5_model *m = b->m->impl;
    block_sums *w = arch_new(b, 1, sizeof *w);
    if (!w) return;
    nn_load_norm(ld, &w->norm, "layer.0.TransientGlobalSelfAttention.global_input_layer_norm",
                 NN_NORM_RMS, c->hidden, c->eps, 0);
    if (il == 0)
        m->side = nn_load_vector(
            ld, "layer.0.TransientGlobalSelfAttention.global_relative_attention_bias.weight",
            c->buckets * c->heads, 0);
    l->own = w;
}

/* ------------------------------------------------------------------ rows and blocks */

/* The texts with their blocks' sums as further rows behind them. */
typedef struct {
    const longt5_model *m;
    nn_seqs seqs;
    const nn_attn *attn; // of the layer: distances of rows
    nn_attn side;        // rel: distances of blocks
    uint8_t *is_sum;     // [rows]
    const size_t *start; // of the texts alone
} widened;

/* Rows of a text that count: padding behind it fills no block. */
static size_t live_rows(const arch_run *r, size_t seq)
{
    size_t n = r->seqs.start[seq + 1] - r->seqs.start[seq];
    while (n && r->seqs.key_mask && !r->seqs.key_mask[r->seqs.start[seq] + n - 1]) n--;
    return n;
}

/* The block that a row belongs to: Python counts with running sums of 1 / block in f32. */
static size_t block_of(size_t row, size_t block, size_t n_blocks)
{
    const float part = 1.0f / (float)block, upto = (float)((double)part * (double)(row + 1));
    const float at = floorf(1.0f + (upto - part) - 1.0f);
    const size_t b = at > 0 ? (size_t)at : 0;
    return b < n_blocks ? b : n_blocks - 1;
}

static void widen(arch_run *r, widened *w, float **rows, const float *x, const t5_layer *l)
{
    nn_ctx *cx = r->cx;
    const size_t H = w->m->base.cfg.hidden, block = w->m->block, n = r->seqs.n;
    size_t *start = nn_bytes(cx, (n + 1) * sizeof *start);
    if (!nn_ok(cx)) return;
    start[0] = 0;
    for (size_t s = 0; s < n; s++) {
        const size_t len = r->seqs.start[s + 1] - r->seqs.start[s];
        start[s + 1] = start[s] + len + live_rows(r, s) / block;
    }
    float *y = nn_f32(cx, start[n], H);
    uint8_t *mask = r->seqs.key_mask ? nn_bytes(cx, start[n]) : NULL;
    w->is_sum = nn_bytes(cx, start[n]);
    w->seqs = (nn_seqs){.n = n, .start = start, .rows = start[n], .key_mask = mask};
    *rows = y;
    if (!nn_ok(cx)) return;
    const block_sums *own = l->own;
    for (size_t s = 0; s < n; s++) {
        const size_t a = r->seqs.start[s], len = r->seqs.start[s + 1] - a;
        const size_t live = live_rows(r, s), blocks = live / block;
        float *sums = y + (start[s] + len) * H;
        memcpy(y + start[s] * H, x + a * H, len * H * sizeof *y);
        memset(sums, 0, blocks * H * sizeof *y);
        memset(w->is_sum + start[s], 0, len);
        memset(w->is_sum + start[s] + len, 1, blocks);
        if (mask) memcpy(mask + start[s], r->seqs.key_mask + a, len);
        if (mask) memset(mask + start[s] + len, 1, blocks);
        for (size_t t = 0; blocks && t < live; t++) {
            float *sum = sums + block_of(t, block, blocks) * H;
            for (size_t h = 0; h < H; h++) sum[h] += x[(a + t) * H + h];
        }
        nn_norm(cx, sums, sums, &own->norm, blocks);
    }
}

/* Of a row and the rows of its text, then of its block and the blocks. */
static void distance_bias(void *user, float *bias, size_t ld, const nn_bias_at *at)
{
    const widened *w = user;
    const size_t len = w->start[at->seq + 1] - w->start[at->seq], blocks = at->tk - len;
    const float *near = w->attn->rel + at->head * w->attn->rel_n + w->attn->rel_zero;
    const float *side = w->side.rel + at->head * w->side.rel_n + w->side.rel_zero;
    for (size_t i = 0; i < at->nq; i++) {
        const size_t q = at->q0 + i < len ? at->q0 + i : 0; // what the sums see does not count
        for (size_t j = 0; j < len; j++) bias[i * ld + j] = *(near + j - q);
        const size_t mine = blocks ? block_of(q, w->m->block, blocks) : 0;
        for (size_t g = 0; g < blocks; g++) bias[i * ld + len + g] = *(side + g - mine);
    }
}

static void attention(arch_run *r, float *y, const float *x, const t5_layer *l,
                      const nn_attn *usual, size_t il)
{
    nn_ctx *cx = r->cx;
    const longt5_model *m = r->impl;
    const t5_config *c = &m->base.cfg;
    const size_t H = c->hidden;
    const nn_mark mark = nn_save(cx);
    widened w = {.m = m, .attn = usual, .start = r->seqs.start};
    w.side = (nn_attn){.heads = c->heads, .window = r->seqs.rows / m->block + 1};
    float *rows = NULL;
    nn_bucket_bias(cx, &w.side, &r->seqs, m->side, c->buckets, c->max_distance, false);
    widen(r, &w, &rows, x, l);
    float *out = nn_f32(cx, w.seqs.rows, H);
    nn_attn attn = *usual;
    attn.rel = NULL;
    attn.bias = distance_bias;
    attn.bias_user = &w;
    attn.always = w.is_sum;
    nn_self_attention(cx, out, rows, &l->attn, &attn, &w.seqs, NULL, il);
    for (size_t s = 0; nn_ok(cx) && s < r->seqs.n; s++) {
        const size_t a = r->seqs.start[s];
        memcpy(y + a * H, out + w.seqs.start[s] * H, (r->seqs.start[s + 1] - a) * H * sizeof *y);
    }
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* ------------------------------------------------------------------ registry */

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    longt5_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_t5_config(c, &m->base, true);
    m->block = cfg_size(c, "global_block_size", 16, 1, 1 << 20);
    t5_kind *k = &m->base.kind;
    const mltf_str type = cfg_str(c, "encoder_attention_type", "local");
    const bool sums = str_is(type, "transient-global");
    if (!sums && !str_is(type, "local"))
        cfg_fail(c, "\"encoder_attention_type\" \"" STR_FMT "\" is not supported", STR_ARG(type));
    k->window = cfg_size(c, "local_radius", 127, 1, 1 << 20) + 1;
    k->self = sums ? "TransientGlobalSelfAttention" : "LocalSelfAttention";
    if (sums) {
        k->attention = attention;
        k->load = load_sums;
        b->m->impl = m; // for load_sums
    }
    return arch_t5_load(b, &m->base, err);
}

const arch_family arch_longt5 = {
    .model_types = (const char *const[]){"longt5", NULL},
    .classes = (const char *const[]){"LongT5Model", "LongT5ForConditionalGeneration",
                                     "LongT5EncoderModel", NULL},
    .kind = ARCH_ENCODER_DECODER,
    .ignorable = (const char *const[]){"embed_tokens.weight", NULL},
    .load = load,
    .forward = arch_t5_forward,
    .encode = arch_t5_encode,
};
