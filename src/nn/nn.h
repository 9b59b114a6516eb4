/* The shared blocks that every architecture is written with.
 *
 *     nn_mark mark = nn_save(cx);
 *     float *h = nn_f32(cx, T, H);              // scratch, given back by nn_restore
 *     nn_norm(cx, h, x, &w->attn_norm, T);
 *     nn_self_attention(cx, h, h, &w->attn, &c->attn, seqs, rope, il);
 *     nn_add(cx, x, h, T * H);
 *     nn_tap(cx, "attn", il, x, T, H);
 *     nn_restore(cx, mark);
 *
 * Errors are sticky: the first failure (no memory, an id outside of an embedding) is kept in the
 * context, nn_f32() returns NULL from then on and every nn_ call does nothing, so a forward pass is
 * written without a test after each line and arch_forward() looks once at the end. Code that touches
 * a buffer itself asks nn_ok(cx) first.
 *
 * Rows of all sequences lie packed [T, ...] without padding; nn_seqs tells which rows belong together.
 * Each row's result depends on its own sequence alone, and on neither the batch nor the threads.
 * Activations are f32 in memory; a linear layer whose `compute` is K_COMPUTE_BF16 rounds its input.
 * Letters: T rows, H hidden, N outputs, K inputs, D per head. */
#ifndef MLTF_NN_NN_H
#define MLTF_NN_NN_H

#include "base/arena.h"
#include "base/pool.h"
#include "base/status.h"
#include "kernels/kernels.h"

/* ------------------------------------------------------------------ context */

typedef void (*nn_tap_fn)(void *user, const char *name, int layer, const float *x, size_t rows,
                          size_t cols);

/* Attention probabilities of one sequence in one layer, kept where a caller asked for them. */
typedef struct nn_probs {
    const char *kind; /* "self", "cross" */
    size_t layer, seq, heads, tq, tk;
    float *p; /* [heads, tq, tk] */
} nn_probs;

/* One forward pass in progress; belongs to one thread (which hands pieces to the pool). */
typedef struct nn_ctx {
    const kernel_table *k;
    mltf_pool *pool;    /* may be NULL */
    mltf_arena scratch; /* marked and restored, layer by layer */
    mltf_arena keep;    /* outputs: until the next forward */
    mltf_err err;       /* the first failure; status 0 while all is well */
    nn_tap_fn tap;      /* may be NULL */
    void *tap_user;
    bool want_probs;
    nn_probs *probs; /* [n_probs], in `keep` */
    size_t n_probs, cap_probs;
} nn_ctx;

typedef mltf_arena_mark nn_mark;

void nn_ctx_init(nn_ctx *cx, mltf_pool *pool);
void nn_ctx_release(nn_ctx *cx);
void nn_begin(nn_ctx *cx); /* a new forward: forgets outputs, errors and probabilities */
static inline bool nn_ok(const nn_ctx *cx)
{
    return cx->err.status == MLTF_OK;
}
/* Record a failure, unless there is one already. */
void nn_fail(nn_ctx *cx, mltf_status st, const char *fmt, ...) MLTF_PRINTF(3, 4);

float *nn_f32(nn_ctx *cx, size_t rows, size_t cols);  /* scratch, not cleared; NULL once failed */
float *nn_keep(nn_ctx *cx, size_t rows, size_t cols); /* lives until the next forward */
void *nn_bytes(nn_ctx *cx, size_t bytes);             /* scratch */
static inline nn_mark nn_save(const nn_ctx *cx)
{
    return arena_save(&cx->scratch);
}
static inline void nn_restore(nn_ctx *cx, nn_mark m)
{
    arena_restore(&cx->scratch, m);
}
void nn_tap(nn_ctx *cx, const char *name, int layer, const float *x, size_t rows, size_t cols);
/* pool_for() with a grain that makes pieces worth their start: `cost` is the work of one item in
 * floating point operations, roughly. */
void nn_for(nn_ctx *cx, size_t n, size_t cost, pool_fn fn, void *arg);

/* ------------------------------------------------------------------ weights (filled by nn_load.h) */

typedef struct nn_linear_w {
    k_weight w;        /* [N, K]; w.data NULL: this layer is absent */
    const float *bias; /* [N] or NULL */
    k_compute compute;
    k_weight lora_a,
        lora_b; /* an adapter: y += lora_b (lora_a x), [r, K] and [N, r]; data NULL: none */
    /* adapters that scale (DoRA, IA3): y = gain (w (in_gain x) + lora) + gain_bias; NULL: none. With gain, bias is
     * NULL, and gain_bias may be. */
    const float *in_gain, *gain, *gain_bias; /* [K], [N], [N] */
} nn_linear_w;

typedef struct nn_embed_w {
    k_weight w; /* [rows, width] */
    /* an adapter: row i is w[i] + lora_b lora_a[i], [rows, r] and [width, r]; data NULL: none. A head that is tied
     * to w knows nothing of it. */
    k_weight lora_a, lora_b;
    const char *what; /* "input id", "position": for the message about a row that does not exist */
} nn_embed_w;

typedef enum {
    NN_NORM_NONE,
    NN_NORM_LAYER,
    NN_NORM_RMS,
    NN_NORM_AFFINE /* x weight + bias alone */
} nn_norm_kind;

typedef struct nn_norm_w {
    nn_norm_kind kind;
    size_t n;
    float eps;
    float offset; /* RMS: weight + offset (gemma: 1) */
    size_t turns; /* weight is [turns, n], used row by row in turn (a norm for each head); 0: 1 */
    const float *weight; /* [n] or NULL: ones */
    const float *bias;   /* [n] or NULL: zeros */
} nn_norm_w;

static inline bool nn_has(const nn_linear_w *w)
{
    return w->w.data != NULL;
}
/* Rows [n0, n0 + n) of a layer as a layer of its own: slices of a fused qkv. */
nn_linear_w nn_linear_rows(const nn_linear_w *w, size_t n0, size_t n);
/* The embedding's matrix as output layer (tied weights). */
nn_linear_w nn_linear_tied(const nn_embed_w *e, k_compute compute);

/* ------------------------------------------------------------------ layers */

/* y [T, N] = x [T, K] wᵀ + bias. y and x must not overlap. */
void nn_linear(nn_ctx *cx, float *y, const float *x, const nn_linear_w *w, size_t T);
/* The same with row strides, for slices of wider buffers. */
void nn_linear_strided(nn_ctx *cx, float *y, size_t ldy, const float *x, size_t ldx,
                       const nn_linear_w *w, size_t T);
/* Several layers on the same x: packed once, one job for the pool. Absent layers are left out.
 * y[i] is [T, N_i] dense. At most 4. */
void nn_linear_group(nn_ctx *cx, float *const *y, const float *x, const nn_linear_w *const *w,
                     size_t n, size_t T);

/* n layers of one shape and type at once, each on an input of its own, without adapters: layer i takes x + i x_step
 * [T, K] (row stride ldx) to y + i y_step [T, N] (row stride ldy). */
void nn_linear_each(nn_ctx *cx, float *y, size_t ldy, size_t y_step, const float *x, size_t ldx,
                    size_t x_step, const nn_linear_w *w, size_t n, size_t T);
/* n linear layers on the same x [T, K], each in blocks on the diagonal (grouped convolution of width 1): w[i] is
 * [N_i, K / blocks], y[i] [T, N_i]. Those of as many blocks run together. */
void nn_linear_grouped(nn_ctx *cx, float *const *y, const float *x, const nn_linear_w *const *w,
                       size_t n, size_t K, size_t T);

void nn_norm(nn_ctx *cx, float *y, const float *x, const nn_norm_w *w,
             size_t T); /* y may be x; NN_NORM_NONE copies */
void nn_add_norm(nn_ctx *cx, float *x, const float *add, const nn_norm_w *w,
                 size_t T); /* x = norm(x + add) */

void nn_embed(nn_ctx *cx, float *y, const int32_t *ids, const nn_embed_w *w,
              size_t T); /* y [T, width] = w[ids] */
void nn_embed_add(nn_ctx *cx, float *y, const int32_t *ids, const nn_embed_w *w,
                  size_t T); /* y += w[ids] */
void nn_embed_add_row(nn_ctx *cx, float *y, size_t row, const nn_embed_w *w,
                      size_t T); /* y += w[row] in all rows */

void nn_act(nn_ctx *cx, float *y, const float *x, size_t n, k_act act); /* y may be x */
void nn_act_mul(nn_ctx *cx, float *y, const float *gate, const float *up, size_t n, k_act act);
void nn_add(nn_ctx *cx, float *y, const float *x, size_t n); /* y += x */
void nn_scale(nn_ctx *cx, float *y, float a, size_t n);      /* y *= a */
void nn_copy(nn_ctx *cx, float *y, const float *x, size_t n);
void nn_softcap(nn_ctx *cx, float *y, float cap,
                size_t n); /* y = cap tanh(y / cap); cap 0: nothing */
void nn_clamp(nn_ctx *cx, float *y, float bound, size_t n); /* to [-bound, bound]; 0: nothing */
/* Columns [from, from + n) of rows [T, ld] into dense y [T, n]. */
void nn_columns(nn_ctx *cx, float *y, const float *x, size_t ld, size_t from, size_t n, size_t T);

/* "gelu", "gelu_new", "silu" … as in ACT2FN of transformers. False if there is no such name. */
bool nn_act_find(k_act *out, mltf_str name);

/* down(act(gate x) * up x), or down(act(up x)) where there is no gate. */
typedef struct nn_mlp_w {
    nn_linear_w gate, up, down;
    k_act act;
    const float
        *xielu; /* [4] instead of act: alpha of x > 0, alpha of the others, beta, eps (apertus) */
    size_t groups;  /* up and down are so many blocks on the diagonal, without gate; 0: whole */
    nn_norm_w norm; /* of what goes into down; kind NONE: none */
    /* gpt_oss: gate at most limit, up in [-limit, limit], gate sigmoid(1.702 gate) (up + 1);
     * 0: no */
    float limit;
} nn_mlp_w;
void nn_mlp(nn_ctx *cx, float *y, const float *x, const nn_mlp_w *w, size_t T); /* y may be x */

/* A mixture of experts: y = sum over the chosen experts of weight * expert(x), + shared(x). */
typedef enum {
    NN_MOE_SOFTMAX,      /* weights: softmax over all experts, then the top_k of them */
    NN_MOE_SOFTMAX_TOPK, /* weights: softmax over the logits of the top_k */
    NN_MOE_MIXER,   /* sparsemixer: each choice by the softmax over what is near enough to it */
    NN_MOE_SIGMOID, /* weights: sigmoid of each logit; chosen by weight + correction */
} nn_moe_scores;

typedef struct nn_moe_w {
    nn_linear_w router; /* [E, H] */
    size_t n, top_k;    /* E; n 0: no experts here */
    nn_mlp_w *experts;  /* [n]; without `up`: gives back what it is given */
    nn_moe_scores scores;
    bool normalize;            /* chosen weights are divided by their sum */
    float scale;               /* of the weights; 0: 1 */
    float near;                /* MIXER: (best - logit) / max(|logit|, best) at most */
    const float *correction;   /* [n] added for the choice alone, or NULL */
    bool weigh_input;          /* expert(weight * x) instead of weight * expert(x) (llama4) */
    size_t capacity;           /* rows that an expert takes, the first ones; 0: all */
    size_t groups, top_groups; /* choose among the experts of the best groups; groups 0 or 1: all */
    bool group_by_max; /* a group's worth: its best expert (deepseek v2) instead of its best two */
    nn_mlp_w shared;   /* up absent: none */
    nn_linear_w shared_gate; /* [1, H], sigmoid of it scales the shared part; absent: 1 */
    const float *bias;       /* [H] added to every row's sum, or NULL */
} nn_moe_w;
void nn_moe(nn_ctx *cx, float *y, const float *x, const nn_moe_w *w, size_t T); /* y may be x */
/* Its choices alone, [T, top_k] in scratch; NULL once failed. */
typedef struct nn_choice {
    uint32_t expert;
    float weight;
} nn_choice;
nn_choice *nn_moe_route(nn_ctx *cx, const float *x, const nn_moe_w *w, size_t T);

/* ------------------------------------------------------------------ sequences and caches */

/* How a layer's keys and values are kept: whole, as far as a window sees, or not at all (it has none); and which of
 * that kind it is. */
typedef enum { NN_KEEPS_ALL, NN_KEEPS_WINDOW, NN_KEEPS_NOTHING } nn_keeps;
typedef struct nn_cache_layer {
    nn_keeps keeps;
    size_t place;
} nn_cache_layer;

/* Keys and values of one sequence, all layers. Keys are stored as attention uses them (rotated). Layers whose
 * attention sees a window forget what lies behind it. Recurrent layers keep a state instead, of one size whatever
 * the length, and nothing of the states before it. */
typedef struct nn_cache_shape {
    size_t layers, kv_heads, k_dim, v_dim;
    mltf_dtype dtype;              /* F32 or BF16 */
    size_t window;                 /* keys that a windowed layer sees, the row's own counted */
    const nn_cache_layer *windows; /* [layers]; NULL: all keep everything */
    size_t state;                  /* floats that all recurrent layers keep together */
} nn_cache_shape;

/* Tokens from `first` on of some of the layers, a multiple of K_ATTN_BLOCK: for each head of each layer
 * k [cap][k_dim] and v [cap][v_dim], in `dtype`. */
typedef struct nn_kept {
    unsigned char *data;
    size_t layers, first, cap;
} nn_kept;

typedef struct nn_cache {
    nn_cache_shape shape;
    size_t len, max; /* tokens it has seen, tokens allowed */
    nn_kept all, near;
    /* [shape.state] the state behind len tokens, and what the pass in progress makes of it: a pass that fails changes
     * nothing. NULL: none, or no token yet */
    float *state, *next;
} nn_cache;

/* So many of the last tokens can always be taken back, unless there is a state. */
enum { NN_CACHE_ROLLBACK = 256 };

mltf_status nn_cache_init(nn_cache *c, const nn_cache_shape *shape, size_t max, mltf_err *err);
void nn_cache_release(nn_cache *c);
mltf_status nn_cache_reserve(nn_cache *c, size_t len,
                             mltf_err *err); /* room for len tokens; INVALID_INPUT past max */
/* The pass in progress was well: so many more tokens count. */
void nn_cache_advance(nn_cache *c, size_t tokens);
/* held: tokens at the beginning that `to` holds already just as `from` does; they are not copied. */
mltf_status nn_cache_copy(nn_cache *to, const nn_cache *from, size_t held, mltf_err *err);
/* Forget what lies behind len; all of it where the tokens that the next one sees are gone, or where there is a state. */
void nn_cache_truncate(nn_cache *c, size_t len);
/* Row 0 of a head's keys and values is that of token nn_cache_first(). */
void *nn_cache_k(const nn_cache *c, size_t layer, size_t head); /* [cap, k_dim] */
void *nn_cache_v(const nn_cache *c, size_t layer, size_t head);
size_t nn_cache_first(const nn_cache *c, size_t layer);

/* Keys and values of an encoder's states for the cross attention of one sequence, all decoder layers.
 * Counted references: beams share one. Not thread-safe to retain from two threads at once. */
typedef struct nn_memory {
    nn_cache kv;   /* kv.len rows of the encoder */
    uint8_t *mask; /* [len] 0 hides a key; NULL: all seen */
    unsigned refs;
} nn_memory;
nn_memory *nn_memory_new(const nn_cache_shape *shape, size_t len, mltf_err *err);
nn_memory *nn_memory_retain(nn_memory *m); /* NULL is fine */
void nn_memory_release(nn_memory *m);

typedef struct nn_seqs {
    size_t n;                 /* sequences */
    const size_t *start;      /* [n + 1] row ranges */
    size_t rows;              /* T */
    const int32_t *pos;       /* [T] positions by the model's rule */
    const uint8_t *key_mask;  /* [T] 0 hides a key of the same sequence; NULL: all seen */
    nn_cache *const *caches;  /* [n], room reserved, rows go behind cache->len; NULL: no caches */
    nn_memory *const *memory; /* [n], for cross attention; NULL: none */
} nn_seqs;

/* Rows that a sequence's cache already holds. */
static inline size_t nn_past(const nn_seqs *s, size_t seq)
{
    return s->caches ? s->caches[seq]->len : 0;
}

/* ------------------------------------------------------------------ convolutions */

/* One row of taps for `share` neighbouring columns: w is [C / share, n], n is odd. */
typedef struct nn_taps {
    const float *w;
    size_t n, share;
} nn_taps;
/* y [T, C], column by column, along each sequence: y[t, c] = sum over k of w[c / share, k] x[t + k - n / 2, c], with
 * zeros beyond the sequence. y must not be x. */
void nn_convolve(nn_ctx *cx, float *y, const float *x, const nn_taps *w, const nn_seqs *seqs,
                 size_t C);

/* ------------------------------------------------------------------ rotary positions */

typedef struct nn_rope {
    size_t dim;       /* rotated entries of a head, even; the rest passes */
    bool interleaved; /* pairs (0,1), (2,3) … (gptj, cohere) instead of (i, i + dim/2) */
    float scale;      /* of cos and sin: attention factor of yarn and longrope */
    float *inv_freq;  /* [dim / 2] */
    /* Sequences that reach past `border` positions (0: never) use other frequencies: those of `far`
     * (longrope), or, where far is NULL, NTK's for their length (dynamic). */
    size_t border;
    float *far;
    float far_scale;
    float theta, factor; /* dynamic */
} nn_rope;

typedef struct nn_rope_rows {
    const float *cos, *sin; /* [T, dim / 2] */
    size_t dim;
    bool interleaved;
} nn_rope_rows;

/* Cosines and sines of all rows, once a forward, in scratch. */
nn_rope_rows nn_rope_prepare(nn_ctx *cx, const nn_rope *r, const nn_seqs *seqs);
/* Rotate in place x[t*ld + h*head + 0..dim). */
void nn_rope_apply(nn_ctx *cx, float *x, size_t ld, size_t head, size_t heads,
                   const nn_rope_rows *r, size_t T);

/* ------------------------------------------------------------------ attention */

/* [T, heads, dim] somewhere in a wider buffer: element (t, h, d) is p[t*ld + h*head + d]. */
typedef struct nn_heads {
    float *p;
    size_t ld, head;
} nn_heads;

/* Where a bias function stands: query rows [q0, q0 + nq) of one head of one sequence. */
typedef struct nn_bias_at {
    size_t seq, head, layer;
    size_t q0, nq; /* of the sequence's rows in this forward */
    size_t pos0;   /* key index of query row 0: what the cache held */
    size_t tk;
    const float *q; /* row q0; ldq from row to row */
    size_t ldq;
    const void *k; /* row 0 of all keys; ldk elements from row to row, of dtype kv */
    size_t ldk;
    mltf_dtype kv;
} nn_bias_at;
typedef void (*nn_bias_fn)(void *user, float *bias, size_t ld,
                           const nn_bias_at *at); /* writes [nq, tk] */

typedef struct nn_attn {
    size_t heads, kv_heads, dim, v_dim; /* v_dim 0: dim; kv_heads 0: heads */
    float scale;
    bool causal;
    size_t window; /* 0: none */
    /* the first pass of a sequence sees all of it, the later ones the window (recurrent_gemma) */
    bool window_later;
    /* [T] 1: rows that every row of their sequence sees, in the window or not; NULL: none. No caches */
    const uint8_t *always;
    float softcap;
    const float *alibi; /* [heads] slopes or NULL */
    const float *sinks; /* [heads] or NULL */
    /* bias that depends on the distance alone: rel[h * rel_n + rel_zero + (j - i)], i and j key indices;
     * distances outside of [-rel_zero, rel_n - rel_zero) must not occur. NULL: none */
    const float *rel;
    size_t rel_n, rel_zero;
    nn_bias_fn bias; /* any other additive bias; NULL: none. Not with rel */
    void *bias_user;
} nn_attn;

/* out [T, heads * v_dim] = attention of each row over its own sequence: what its cache holds (layer `layer`;
 * k and v are appended there first) and the rows of this forward. out must overlap none of them. */
void nn_attend(nn_ctx *cx, float *out, nn_heads q, nn_heads k, nn_heads v, const nn_seqs *seqs,
               const nn_attn *a, size_t layer);
/* Rows that see no key at all (all masked, or all within the window masked; with `queries` every masked row):
 * their scores are all the same to Python, which gives them the mean of all values. They stand at padding,
 * and count only where a head reads the first row of a sequence padded on the left. nn_attend() calls this
 * itself for masked sequences without causality. */
void nn_blind_rows(nn_ctx *cx, float *out, nn_heads v, const nn_seqs *seqs, const nn_attn *a,
                   bool queries);
/* Cross attention: keys and values are those of seqs->memory. */
void nn_attend_memory(nn_ctx *cx, float *out, nn_heads q, const nn_seqs *seqs, const nn_attn *a,
                      size_t layer);
/* Store k, v [rows of one sequence] of a layer into a memory. */
void nn_memory_store(nn_ctx *cx, nn_memory *m, size_t layer, nn_heads k, nn_heads v);

/* An attention block with its projections. Either q, k, v or a fused qkv is present. */
typedef enum {
    NN_QKV_PARTS,    /* [q of all heads | k | v] */
    NN_QKV_PER_HEAD, /* head by head [q k v] (gpt_neox, bloom): heads == kv_heads */
} nn_qkv_layout;

typedef struct nn_attn_w {
    nn_linear_w q, k, v, o;
    nn_linear_w qkv; /* instead of q, k, v */
    nn_qkv_layout layout;
    nn_norm_w q_norm,
        k_norm;       /* n == dim: each head, n == heads * dim: the row; with q, k, v alone */
    nn_norm_w o_norm; /* of what goes into o; kind NONE: none */
    nn_linear_w gate; /* with q, k, v alone: sigmoid(gate x) scales what goes into o; absent: 1 */
    bool norm_after_rope; /* hunyuan; the others norm before */
    float clip;           /* q, k, v to [-clip, clip]; 0: no */
} nn_attn_w;

/* y [T, N of o] = o(attend(q x, k x, v x)); rope may be NULL. y may be x. */
void nn_self_attention(nn_ctx *cx, float *y, const float *x, const nn_attn_w *w, const nn_attn *a,
                       const nn_seqs *seqs, const nn_rope_rows *rope, size_t layer);
/* y = o(attend(q x, memory)). */
void nn_cross_attention(nn_ctx *cx, float *y, const float *x, const nn_attn_w *w, const nn_attn *a,
                        const nn_seqs *seqs, size_t layer);
/* Keys and values of encoder rows [T] for one decoder layer, into each sequence's memory. */
void nn_memory_fill(nn_ctx *cx, const float *x, const nn_attn_w *w, const nn_attn *a,
                    const nn_seqs *seqs, size_t layer);

/* Long texts: the rows of a sequence lie in blocks, which begin `shift` rows before it, and see their own block and
 * `globals` rows that belong to the sequence beside its text; those see everything. */
typedef struct nn_blocks {
    size_t rows, shift, globals;
} nn_blocks;
/* x [T, H] and global [seqs globals, H] in place; without caches. */
void nn_block_attention(nn_ctx *cx, float *x, float *global, const nn_attn_w *w, const nn_attn *a,
                        const nn_seqs *seqs, const nn_blocks *b);

/* a->rel from a table [buckets, heads] by T5's logarithmic buckets of distance, in scratch; causal: keys
 * ahead do not count (decoders). Long enough for every sequence of this forward and its cache; what lies outside of
 * a->window need not be in the table. */
void nn_bucket_bias(nn_ctx *cx, nn_attn *a, const nn_seqs *seqs, const float *table, size_t buckets,
                    size_t max_distance, bool causal);

/* The slopes of ALiBi for any number of heads, as Press et al. and transformers make them. */
void nn_alibi_slopes(float *slopes, size_t heads);

#endif
