/* Doge: llama that says how much each key is worth. Shi et al. 2024, arXiv:2412.11834; transformers 4.57
 * models/doge/modeling_doge.py.
 *
 *   x = r1 x + attention(norm1 x);  x = r2 x + mlp(norm2 x)
 *   score(i, j) = q_i·k_j / sqrt(D) + w_j,  w_j = exp(A softplus(dt v_j)) for each head of the keys
 *
 * Easy to get wrong: dt reads the values of all heads; where a row sees more than keep_window_size keys, those of least
 * worth are hidden from it. A key's worth is kept behind it, as the last of D + 1 entries. The mixture of experts is
 * refused: in the library a token's experts depend on how many tokens stand beside it. Checked on: random checkpoints of
 * the library. */
#include <math.h>
#include <string.h>

#include "arch/arch_decoder.h"

typedef struct {
    arch_decoder base;
    size_t dim, keep; // of a head, without the worth; keys that a row sees
} doge_model;

typedef struct {
    nn_linear_w dt; // [kv_heads, kv_heads D]
    const float *a; // [kv_heads]
} key_worth;

/* ------------------------------------------------------------------ what a row sees */

typedef struct {
    const nn_seqs *seqs;
    size_t dim, keep, window;
} sight;

static float worth_of(const nn_bias_at *at, size_t key, size_t dim)
{
    const size_t i = key * at->ldk + dim;
    if (at->kv == DT_F32) return ((const float *)at->k)[i];
    return bf16_to_f32(((const uint16_t *)at->k)[i]);
}

/* Positive numbers are in the order of their bits. */
static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* Leaves `keep` of n positive numbers, of equal ones the first. */
static void hide_least(float *x, size_t n, size_t keep)
{
    uint32_t bound = 0; // the keep-th greatest, bit by bit
    for (uint32_t bit = 1U << 31; bit; bit >>= 1) {
        size_t above = 0;
        for (size_t i = 0; i < n; i++) above += bits_of(x[i]) >= (bound | bit);
        if (above >= keep) bound |= bit;
    }
    size_t room = keep; // for those at the bound
    for (size_t i = 0; i < n; i++) room -= bits_of(x[i]) > bound;
    for (size_t i = 0; i < n; i++) {
        if (bits_of(x[i]) > bound) continue;
        if (bits_of(x[i]) == bound && room)
            room--;
        else
            x[i] = -INFINITY;
    }
}

static void worths(void *user, float *y, size_t ld, const nn_bias_at *at)
{
    const sight *s = user;
    const uint8_t *mask = s->seqs->key_mask ? s->seqs->key_mask + s->seqs->start[at->seq] : NULL;
    for (size_t i = 0; i < at->nq; i++) {
        const size_t end = at->pos0 + at->q0 + i + 1;
        const size_t first = s->window && end > s->window ? end - s->window : 0;
        for (size_t j = 0; j < at->tk; j++)
            y[i * ld + j] = mask && !mask[j] ? 0 : worth_of(at, j, s->dim);
        if (end - first > s->keep) hide_least(y + i * ld + first, end - first, s->keep);
    }
}

/* ------------------------------------------------------------------ attention */

/* y [T, heads, D + 1] from x [T, heads, D], and what `last` [T, heads] has behind it; NULL: zeros. */
static void widen(nn_ctx *cx, float *y, const float *x, const float *last, size_t heads, size_t D,
                  size_t T)
{
    for (size_t i = 0; nn_ok(cx) && i < T * heads; i++) {
        memcpy(y + i * (D + 1), x + i * D, D * sizeof *y);
        y[i * (D + 1) + D] = last ? last[i] : 0;
    }
}

static void weigh_keys(nn_ctx *cx, float *worth, const float *v, const key_worth *w, size_t heads,
                       size_t T)
{
    nn_linear(cx, worth, v, &w->dt, T);
    for (size_t i = 0; nn_ok(cx) && i < T * heads; i++) {
        const float x = worth[i], softplus = x > 20 ? x : log1pf(expf(x));
        worth[i] = expf(w->a[i % heads] * softplus);
    }
}

static void attention(arch_run *r, float *y, const float *x, const decoder_layer *l,
                      const nn_attn *usual, const nn_rope_rows *rope, size_t il)
{
    nn_ctx *cx = r->cx;
    const doge_model *m = r->impl;
    const size_t T = r->seqs.rows, N = usual->heads, K = usual->kv_heads, D = m->dim, W = D + 1;
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, N * D), *k = nn_f32(cx, T, K * D), *v = nn_f32(cx, T, K * D);
    float *wide_q = nn_f32(cx, T, N * W), *wide_k = nn_f32(cx, T, K * W);
    float *worth = nn_f32(cx, T, K), *ctx = nn_f32(cx, T, N * D);
    nn_linear_group(cx, (float *[]){q, k, v}, x,
                    (const nn_linear_w *[]){&l->attn.q, &l->attn.k, &l->attn.v}, 3, T);
    nn_norm(cx, q, q, &l->attn.q_norm, T * N);
    nn_norm(cx, k, k, &l->attn.k_norm, T * K);
    nn_rope_apply(cx, q, N * D, D, N, rope, T);
    nn_rope_apply(cx, k, K * D, D, K, rope, T);
    weigh_keys(cx, worth, v, l->own, K, T);
    widen(cx, wide_q, q, NULL, N, D, T);
    widen(cx, wide_k, k, worth, K, D, T);
    sight s = {&r->seqs, D, m->keep, l->window};
    nn_attn a = *usual;
    a.bias = worths;
    a.bias_user = &s;
    nn_attend(cx, ctx, (nn_heads){wide_q, N * W, W}, (nn_heads){wide_k, K * W, W},
              (nn_heads){v, K * D, D}, &r->seqs, &a, il);
    nn_linear(cx, y, ctx, &l->attn.o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* ------------------------------------------------------------------ load */

static void load_own(arch_build *b, arch_decoder *d, unsigned bias, size_t il)
{
    nn_loader *ld = &b->ld;
    decoder_layer *l = &d->layers[il];
    key_worth *w = arch_new(b, 1, sizeof *w);
    if (!w) return;
    nn_scope(ld, "%slayers.%zu.", ld->base, il);
    nn_load_linear(ld, &w->dt, "self_attn.dt_proj", d->kv_heads, d->kv_heads * d->head_dim, bias);
    w->a = nn_load_vector(ld, "self_attn.A", d->kv_heads, 0);
    l->own = w;
    l->residual1 = nn_load_vector(ld, "input_residual", d->hidden, 0);
    l->residual2 = nn_load_vector(ld, "post_attention_residual", d->hidden, 0);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    doge_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_decoder *d = &m->base;
    *d = (arch_decoder){.hidden = 1024, .n_layers = 32, .heads = 8, .vocab = 32768};
    arch_decoder_config(c, d);
    const unsigned bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const decoder_plan p = {.ffn = cfg_dim(c, "intermediate_size", 2048),
                            .act = cfg_act(c, "hidden_act", "silu"),
                            .eps = cfg_float(c, "rms_norm_eps", 1e-6f),
                            .q_norm = "self_attn.q_norm",
                            .k_norm = "self_attn.k_norm",
                            .qkv = bias,
                            .o = bias,
                            .mlp = cfg_bool(c, "mlp_bias", false) ? NN_BIAS : NN_NO_BIAS};
    m->keep = cfg_size(c, "keep_window_size", 2048, 1, SIZE_MAX);
    if (cfg_bool(c, "is_moe", false))
        cfg_fail(c, "\"is_moe\" is not supported: which experts a token gets would depend on the "
                    "tokens behind it");
    arch_decoder_rope(b, d, 10000, 2048);
    TRY(arch_decoder_layers(b, d, err));
    for (size_t il = 0; il < d->n_layers; il++)
        d->layers[il].window = cfg_size(c, "sliding_window", 0, 0, SIZE_MAX);
    TRY(arch_decoder_load(b, d, &p, err));
    for (size_t il = 0; il < d->n_layers; il++) load_own(b, d, bias, il);
    d->attention = attention;
    m->dim = d->v_dim = d->head_dim++; // with the worth
    d->scale = 1.0f / sqrtf((float)m->dim);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_doge = {
    .model_types = (const char *const[]){"doge", NULL},
    .classes = (const char *const[]){"DogeModel", "DogeForCausalLM",
                                     "DogeForSequenceClassification", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
