/* RWKV-4. Peng et al. 2023, arXiv:2305.13048; transformers 4.57 models/rwkv/modeling_rwkv.py (the CPU's path).
 *
 *   ids ─ embedding ─ LayerNorm ─ n x [ x += time_mix(ln x);  x += channel_mix(ln x) ] ─ LayerNorm ─ head
 *
 *   each layer input is mixed with that of the token before: m x + (1 - m) before, m learned for each of k, v, r
 *   time_mix     o(sigmoid(r) * wkv);  wkv = sum of e^(k_i - decay * distance) v_i over the tokens, the last one's
 *                weight e^(k + first), divided by the sum of the weights
 *   channel_mix  sigmoid(r) * v(relu(k)²)
 *
 * Easy to get wrong: every rescale_every layers x is halved, and what later layers add to it as well; weights are kept
 * relative to the largest exponent; the hidden states that the library lists begin behind the first layer. Checked on:
 * random checkpoints of the library. */
#include <math.h>
#include <string.h>

#include "arch/arch_recurrent.h"

typedef struct {
    nn_norm_w ln1, ln2;
    const float *mix_k, *mix_v, *mix_r; // [H]
    const float *decay, *first;         // [A], decay negative
    nn_linear_w k, v, r, o;             // [A, H] three times, [H, A]
    const float *in_k, *in_r;           // [H], of channel_mix
    nn_linear_w up, gate, down;         // [F, H], [H, H], [H, F]
    bool halves;                        // x, at its end
    size_t before, in_before, sums;     // places in the state: [H], [H], [3, A]
} rwkv_layer;

typedef struct {
    arch_decoder d;
    nn_norm_w pre;
    size_t width; // A
    rwkv_layer *layers;
} rwkv_model;

/* ------------------------------------------------------------------ forward */

/* before [T, H]: the row in front of each; the last rows stay in the state for the next pass. */
static float *rows_before(arch_run *r, const float *x, size_t H, size_t at)
{
    nn_ctx *cx = r->cx;
    float *y = nn_f32(cx, r->seqs.rows, H), **state = nn_states(cx, &r->seqs, at, H);
    for (size_t s = 0; nn_ok(cx) && s < r->seqs.n; s++) {
        const size_t a = r->seqs.start[s], n = r->seqs.start[s + 1] - a;
        if (n == 0) continue;
        memcpy(y + a * H, state[s], H * sizeof *y);
        memcpy(y + (a + 1) * H, x + a * H, (n - 1) * H * sizeof *y);
        memcpy(state[s], x + (a + n - 1) * H, H * sizeof *y);
    }
    return y;
}

/* y [T, N] = w(mix x + (1 - mix) before). */
static void mixed_linear(nn_ctx *cx, float *y, const float *x, const float *before,
                         const float *mix, const nn_linear_w *w, size_t T)
{
    const size_t H = w->w.K;
    const nn_mark mark = nn_save(cx);
    float *in = nn_f32(cx, T, H);
    for (size_t i = 0; nn_ok(cx) && i < T * H; i++)
        in[i] = x[i] * mix[i % H] + before[i] * (1 - mix[i % H]);
    nn_linear(cx, y, in, w, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

typedef struct {
    const nn_seqs *seqs;
    const rwkv_layer *w;
    float **state; // of each sequence [numerators | denominators | exponents]
    size_t width;
    const float *k, *v; // [T, A]
    float *y;           // [T, A]
} wkv_job;

/* One sequence from its first row to its last. */
static void wkv_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const wkv_job *j = arg;
    const size_t A = j->width;
    for (size_t s = first; s < last; s++) {
        float *num = j->state[s], *den = num + A, *top = den + A;
        for (size_t t = j->seqs->start[s]; t < j->seqs->start[s + 1]; t++)
            for (size_t c = 0; c < A; c++) {
                const float k = j->k[t * A + c], v = j->v[t * A + c], now = k + j->w->first[c];
                const float old = den[c] > 0 ? top[c] : -1e38f; // nothing before the first token
                float max = old > now ? old : now;
                float e1 = expf(old - max), e2 = expf(now - max);
                j->y[t * A + c] = (e1 * num[c] + e2 * v) / (e1 * den[c] + e2);
                max = old + j->w->decay[c] > k ? old + j->w->decay[c] : k;
                e1 = expf(old + j->w->decay[c] - max);
                e2 = expf(k - max);
                num[c] = e1 * num[c] + e2 * v;
                den[c] = e1 * den[c] + e2;
                top[c] = max;
            }
    }
}

static void time_mix(arch_run *r, float *y, const float *x, const rwkv_layer *w)
{
    nn_ctx *cx = r->cx;
    const rwkv_model *m = r->impl;
    const size_t T = r->seqs.rows, A = m->width;
    const nn_mark mark = nn_save(cx);
    const float *before = rows_before(r, x, m->d.hidden, w->before);
    float *k = nn_f32(cx, T, A), *v = nn_f32(cx, T, A), *gate = nn_f32(cx, T, A);
    float *wkv = nn_f32(cx, T, A);
    mixed_linear(cx, k, x, before, w->mix_k, &w->k, T);
    mixed_linear(cx, v, x, before, w->mix_v, &w->v, T);
    mixed_linear(cx, gate, x, before, w->mix_r, &w->r, T);
    wkv_job j = {.seqs = &r->seqs, .w = w, .width = A, .k = k, .v = v, .y = wkv};
    j.state = nn_states(cx, &r->seqs, w->sums, 3 * A);
    nn_for(cx, r->seqs.n, A * 128 * (T / r->seqs.n + 1), wkv_piece, &j);
    nn_act_mul(cx, wkv, gate, wkv, T * A, K_ACT_SIGMOID);
    nn_linear(cx, y, wkv, &w->o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void channel_mix(arch_run *r, float *y, const float *x, const rwkv_layer *w)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = w->gate.w.K, F = w->up.w.N;
    const nn_mark mark = nn_save(cx);
    const float *before = rows_before(r, x, H, w->in_before);
    float *up = nn_f32(cx, T, F), *gate = nn_f32(cx, T, H);
    mixed_linear(cx, up, x, before, w->in_k, &w->up, T);
    mixed_linear(cx, gate, x, before, w->in_r, &w->gate, T);
    nn_act(cx, up, up, T * F, K_ACT_RELU2);
    nn_linear(cx, y, up, &w->down, T);
    nn_act_mul(cx, y, gate, y, T * H, K_ACT_SIGMOID);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const rwkv_model *m = r->impl;
    const size_t T = r->seqs.rows, H = m->d.hidden;
    float *x = arch_embed_tokens(r, &m->d.words), *h = nn_f32(cx, T, H), *y = nn_f32(cx, T, H);
    if (m->d.n_layers) nn_norm(cx, x, x, &m->pre, T);
    for (size_t il = 0; nn_ok(cx) && il < m->d.n_layers; il++) {
        const rwkv_layer *w = &m->layers[il];
        nn_norm(cx, h, x, &w->ln1, T);
        time_mix(r, y, h, w);
        nn_add(cx, x, y, T * H);
        nn_norm(cx, h, x, &w->ln2, T);
        channel_mix(r, y, h, w);
        nn_add(cx, x, y, T * H);
        if (w->halves) nn_scale(cx, x, 0.5f, T * H);
        arch_keep_hidden(r, x, H);
        nn_tap(cx, "out", (int)il, x, T, H);
    }
    nn_norm(cx, x, x, &m->d.norm, T);
    arch_keep_hidden(r, x, H);
    arch_heads_forward(r, &m->d.heads_w, x, H);
}

/* ------------------------------------------------------------------ load */

/* What a layer adds to an x that was halved so many times. */
static void shrink(arch_build *b, nn_linear_w *w, size_t times)
{
    float *by = times ? arch_new(b, w->w.N, sizeof *by) : NULL;
    for (size_t n = 0; by && n < w->w.N; n++) by[n] = ldexpf(1, -(int)times);
    if (by) nn_load_scaled(&b->ld, w, 1, by);
}

static void load_layer(arch_build *b, rwkv_layer *l, size_t H, size_t A, size_t F, size_t halved)
{
    nn_loader *ld = &b->ld;
    size_t *state = &b->m->cache_shape.state;
    const float eps = cfg_float(&b->cfg, "layer_norm_epsilon", 1e-5f);
    nn_load_norm(ld, &l->ln1, "ln1", NN_NORM_LAYER, H, eps, NN_BIAS);
    nn_load_norm(ld, &l->ln2, "ln2", NN_NORM_LAYER, H, eps, NN_BIAS);
    l->mix_k = nn_load_vector(ld, "attention.time_mix_key", H, 0);
    l->mix_v = nn_load_vector(ld, "attention.time_mix_value", H, 0);
    l->mix_r = nn_load_vector(ld, "attention.time_mix_receptance", H, 0);
    l->first = nn_load_vector(ld, "attention.time_first", A, 0);
    float *decay = nn_load_columns(ld, "attention.time_decay", A, 1);
    for (size_t c = 0; decay && c < A; c++) decay[c] = -expf(decay[c]);
    l->decay = decay;
    nn_load_linear(ld, &l->k, "attention.key", A, H, NN_NO_BIAS);
    nn_load_linear(ld, &l->v, "attention.value", A, H, NN_NO_BIAS);
    nn_load_linear(ld, &l->r, "attention.receptance", A, H, NN_NO_BIAS);
    nn_load_linear(ld, &l->o, "attention.output", H, A, NN_NO_BIAS);
    l->in_k = nn_load_vector(ld, "feed_forward.time_mix_key", H, 0);
    l->in_r = nn_load_vector(ld, "feed_forward.time_mix_receptance", H, 0);
    nn_load_linear(ld, &l->up, "feed_forward.key", F, H, NN_NO_BIAS);
    nn_load_linear(ld, &l->gate, "feed_forward.receptance", H, H, NN_NO_BIAS);
    nn_load_linear(ld, &l->down, "feed_forward.value", H, F, NN_NO_BIAS);
    shrink(b, &l->o, halved);
    shrink(b, &l->down, halved);
    l->before = *state;
    l->in_before = l->before + H;
    l->sums = l->in_before + H;
    *state = l->sums + 3 * A;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    rwkv_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_decoder *d = &m->d;
    const size_t H = cfg_dim(c, "hidden_size", 4096), F = cfg_dim(c, "intermediate_size", 4 * H);
    const size_t every = cfg_size(c, "rescale_every", 6, 0, 1 << 20);
    *d = (arch_decoder){.hidden = H,
                        .n_layers = cfg_layers(c, "num_hidden_layers", 32),
                        .vocab = cfg_dim(c, "vocab_size", 50277)};
    m->width = cfg_dim(c, "attention_hidden_size", H);
    TRY(arch_decoder_layers(b, d, err));
    m->layers = arch_new(b, d->n_layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embeddings", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "ln_out", NN_NORM_LAYER, H, 1e-5f, NN_BIAS); // torch's own eps
    for (size_t il = 0; il < d->n_layers; il++) {
        nn_scope(ld, "%sblocks.%zu.", ld->base, il);
        if (il == 0)
            nn_load_norm(ld, &m->pre, "pre_ln", NN_NORM_LAYER, H,
                         cfg_float(c, "layer_norm_epsilon", 1e-5f), NN_BIAS);
        load_layer(b, &m->layers[il], H, m->width, F, every ? il / every : 0);
        m->layers[il].halves = every && (il + 1) % every == 0;
        d->layers[il].keyless = true;
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "head", NN_NO_BIAS, false);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_rwkv = {
    .model_types = (const char *const[]){"rwkv", NULL},
    .classes = (const char *const[]){"RwkvModel", "RwkvForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "rwkv.",
    .load = load,
    .forward = forward,
};
