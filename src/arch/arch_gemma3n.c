/* Gemma 3n (text). Gemma Team 2025; AltUp: Baykal et al. 2023, arXiv:2301.13310; transformers 4.57
 * models/gemma3n/modeling_gemma3n.py.
 *
 *   ids ─ embedding sqrt(H) ─ A streams, the first as it is, the others projected to its length
 *   ┌────────────────────────────────────────────────────────────────────────────────────┘
 *   └─ n x [ p = predict(streams);  h = rms p[active];  g = (p[active] + rms(attention h) + laurel(h)) / sqrt(2)
 *            g += rms(mlp(rms g));  streams = correct(p, g)
 *            streams but the first += rms(project(act(gate streams[active]) * words of this layer)) ]
 *   ─ the streams projected to the length of the first, their mean ─ rms ─ head
 *
 *   words of a layer   a table of its own by the same ids, beside a projection of the embedding
 *   attention          gemma 3's with scores as they are and values normed; the last layers look at the keys of the last
 *                      layer of their kind that has some
 *   mlp                some layers keep only what is far enough above the mean of gate x
 *
 * Easy to get wrong: norms multiply by their weight, not by weight + 1; the correction's coefficients are clipped.
 * Checked on: random checkpoints of the library. */
#include <math.h>
#include <string.h>

#include "arch/arch_decoder.h"

typedef struct {
    nn_norm_w router_norm;
    nn_linear_w router;           // [A, H]
    nn_linear_w predict, correct; // [A A, A], [A, A]
    const float *output_scale;    // [H] or NULL
    nn_linear_w laurel_in, laurel_out;
    nn_norm_w laurel_norm;
    nn_linear_w word_gate, word_out; // [P, H], [H, P]
    nn_norm_w word_norm;
    float cut;   // standard deviations above the mean that gate x must reach
    bool sparse; // there is a cut
    size_t keys; // the layer whose keys and values it looks at: its own, or one before
} gemma3n_layer;

typedef struct {
    arch_decoder base;
    size_t streams, active, per_layer; // A; P
    k_act act;
    nn_embed_w layer_words;       // [V, n P]
    nn_linear_w layer_project;    // [n P, H]
    nn_norm_w layer_norm;         // [P]
    nn_norm_w value_norm;         // [D], without weight
    nn_linear_w *spread, *gather; // [A - 1] of [H, H]
} gemma3n_model;

/* ------------------------------------------------------------------ forward */

static float mean_square(const float *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sum / (float)n;
}

/* Each row of x gets the length of the same row of `like`. */
static void to_length(nn_ctx *cx, float *x, const float *like, size_t T, size_t H)
{
    for (size_t t = 0; nn_ok(cx) && t < T; t++) {
        const float want = sqrtf(mean_square(like + t * H, H));
        const float have = sqrtf(fmaxf(mean_square(x + t * H, H), 1e-5f));
        for (size_t i = 0; i < H; i++) x[t * H + i] = x[t * H + i] * want / have;
    }
}

/* What each layer knows of the words, [T, n, P]. */
static float *words_of_layers(arch_run *r, const float *x)
{
    nn_ctx *cx = r->cx;
    const gemma3n_model *m = r->impl;
    const size_t T = r->seqs.rows, H = m->base.hidden, N = m->base.n_layers * m->per_layer;
    float *y = nn_f32(cx, T, N);
    nn_linear(cx, y, x, &m->layer_project, T);
    nn_scale(cx, y, 1.0f / sqrtf((float)H), T * N);
    nn_norm(cx, y, y, &m->layer_norm, T * m->base.n_layers);
    if (r->batch->input_embeds) return y;
    const nn_mark mark = nn_save(cx);
    float *own = nn_f32(cx, T, N);
    nn_embed(cx, own, r->batch->ids, &m->layer_words, T);
    nn_scale(cx, own, sqrtf((float)m->per_layer), T * N);
    nn_add(cx, y, own, T * N);
    nn_scale(cx, y, 1.0f / sqrtf(2.0f), T * N);
    if (nn_ok(cx)) nn_restore(cx, mark);
    return y;
}

/* How much each stream counts at x [T, H]: [T, A]. */
static float *modalities(nn_ctx *cx, const float *x, const gemma3n_layer *w, size_t T)
{
    const size_t H = w->router.w.K, A = w->router.w.N;
    float *h = nn_f32(cx, T, H), *y = nn_f32(cx, T, A);
    nn_norm(cx, h, x, &w->router_norm, T);
    nn_scale(cx, h, 1.0f / (float)H, T * H);
    nn_linear(cx, y, h, &w->router, T);
    nn_act(cx, y, y, T * A, K_ACT_TANH);
    return y;
}

/* p [A, T, H] = streams s, each with a mixture of all added. */
static void predict(nn_ctx *cx, float *p, const float *s, const gemma3n_model *m,
                    const gemma3n_layer *w, size_t T)
{
    const size_t H = m->base.hidden, A = m->streams;
    const nn_mark mark = nn_save(cx);
    float *coef = nn_f32(cx, T, A * A); // [T, A to, A from]
    nn_linear(cx, coef, modalities(cx, nn_ok(cx) ? s + m->active * T * H : s, w, T), &w->predict,
              T);
    for (size_t i = 0; nn_ok(cx) && i < A * T; i++) {
        const size_t to = i / T, t = i % T;
        float *y = p + i * H;
        memset(y, 0, H * sizeof *y);
        for (size_t from = 0; from < A; from++) {
            const float c = coef[(t * A + to) * A + from], *x = s + (from * T + t) * H;
            for (size_t k = 0; k < H; k++) y[k] += x[k] * c;
        }
        for (size_t k = 0; k < H; k++) y[k] += s[i * H + k];
    }
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* s [A, T, H] = what was predicted, each moved by its share of what the layer made of the active one, x [T, H]. */
static void correct(nn_ctx *cx, float *s, const float *p, const float *x, const gemma3n_model *m,
                    const gemma3n_layer *w, size_t T)
{
    const size_t H = m->base.hidden, A = m->streams;
    const nn_mark mark = nn_save(cx);
    float *coef = nn_f32(cx, T, A);
    nn_linear(cx, coef, modalities(cx, x, w, T), &w->correct, T);
    for (size_t i = 0; nn_ok(cx) && i < A * T; i++) {
        const size_t t = i % T;
        const float c = coef[t * A + i / T] + 1.0f, *was = p + (m->active * T + t) * H;
        for (size_t k = 0; k < H; k++) s[i * H + k] = (x[t * H + k] - was[k]) * c + p[i * H + k];
    }
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void attention(arch_run *r, float *y, const float *x, const decoder_layer *l,
                      const nn_rope_rows *rope, float *const *keys, float *const *values, size_t il)
{
    nn_ctx *cx = r->cx;
    const gemma3n_model *m = r->impl;
    const arch_decoder *d = &m->base;
    const gemma3n_layer *w = l->own;
    const size_t T = r->seqs.rows, D = d->head_dim, NQ = d->heads, NK = d->kv_heads;
    const nn_attn a = {
        .heads = NQ, .kv_heads = NK, .dim = D, .scale = 1, .causal = true, .window = l->window};
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, NQ * D), *ctx = nn_f32(cx, T, NQ * D);
    float *k = keys[w->keys], *v = values[w->keys]; // [T, NK D]
    nn_linear(cx, q, x, &l->attn.q, T);
    nn_norm(cx, q, q, &l->attn.q_norm, T * NQ);
    nn_rope_apply(cx, q, NQ * D, D, NQ, rope, T);
    if (w->keys == il) {
        nn_linear_group(cx, (float *[]){k, v}, x, (const nn_linear_w *[]){&l->attn.k, &l->attn.v},
                        2, T);
        nn_norm(cx, k, k, &l->attn.k_norm, T * NK);
        nn_norm(cx, v, v, &m->value_norm, T * NK);
        nn_rope_apply(cx, k, NK * D, D, NK, rope, T);
    }
    nn_attend(cx, ctx, (nn_heads){q, NQ * D, D}, (nn_heads){k, NK * D, D}, (nn_heads){v, NK * D, D},
              &r->seqs, &a, w->keys);
    nn_linear(cx, y, ctx, &l->attn.o, T);
    nn_norm(cx, y, y, &l->post1, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* Each row keeps what lies above its mean by so many standard deviations, and of that the excess. */
static void keep_far(nn_ctx *cx, float *x, float cut, size_t T, size_t F)
{
    for (size_t t = 0; nn_ok(cx) && t < T; t++, x += F) {
        float mean = 0, square = 0;
        for (size_t i = 0; i < F; i++) mean += x[i];
        mean /= (float)F;
        for (size_t i = 0; i < F; i++) square += (x[i] - mean) * (x[i] - mean);
        const float from = mean + sqrtf(square / (float)F) * cut;
        for (size_t i = 0; i < F; i++) x[i] = x[i] > from ? x[i] - from : 0;
    }
}

static void mlp(nn_ctx *cx, float *y, const float *x, const decoder_layer *l, size_t T)
{
    const gemma3n_layer *w = l->own;
    const size_t F = l->mlp.up.w.N;
    const nn_mark mark = nn_save(cx);
    if (!w->sparse) {
        nn_mlp(cx, y, x, &l->mlp, T);
    } else {
        float *gate = nn_f32(cx, T, F), *up = nn_f32(cx, T, F);
        nn_linear_group(cx, (float *[]){gate, up}, x,
                        (const nn_linear_w *[]){&l->mlp.gate, &l->mlp.up}, 2, T);
        keep_far(cx, gate, w->cut, T, F);
        nn_act_mul(cx, up, gate, up, T * F, l->mlp.act);
        nn_linear(cx, y, up, &l->mlp.down, T);
    }
    nn_norm(cx, y, y, &l->post2, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* The words of this layer, words [T, P] in rows of ld, into all streams but the first. */
static void add_words(nn_ctx *cx, float *s, const float *words, size_t ld, const gemma3n_model *m,
                      const gemma3n_layer *w, size_t T)
{
    const size_t H = m->base.hidden, P = m->per_layer;
    const nn_mark mark = nn_save(cx);
    float *x = nn_f32(cx, T, H), *gate = nn_f32(cx, T, P);
    if (nn_ok(cx)) memcpy(x, s + m->active * T * H, T * H * sizeof *x);
    for (size_t i = 0; w->output_scale && nn_ok(cx) && i < T * H; i++)
        x[i] *= w->output_scale[i % H];
    nn_linear(cx, gate, x, &w->word_gate, T);
    nn_act(cx, gate, gate, T * P, m->act);
    for (size_t i = 0; nn_ok(cx) && i < T * P; i++) gate[i] *= words[i / P * ld + i % P];
    nn_linear(cx, x, gate, &w->word_out, T);
    nn_norm(cx, x, x, &w->word_norm, T);
    for (size_t a = 1; nn_ok(cx) && a < m->streams; a++) nn_add(cx, s + a * T * H, x, T * H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void layer_forward(arch_run *r, float *s, const float *words, const nn_rope_rows *rope,
                          float *const *keys, float *const *values, size_t il)
{
    nn_ctx *cx = r->cx;
    const gemma3n_model *m = r->impl;
    const decoder_layer *l = &m->base.layers[il];
    const gemma3n_layer *w = l->own;
    const size_t T = r->seqs.rows, H = m->base.hidden;
    const nn_mark mark = nn_save(cx);
    float *p = nn_f32(cx, m->streams * T, H), *h = nn_f32(cx, T, H);
    float *y = nn_f32(cx, T, H), *low = nn_f32(cx, T, w->laurel_in.w.N);
    predict(cx, p, s, m, w, T);
    if (!nn_ok(cx)) return;
    const float *active = p + m->active * T * H;
    nn_norm(cx, h, active, &l->norm1, T);
    attention(r, y, h, l, rope, keys, values, il);
    nn_add(cx, y, active, T * H);
    nn_add(cx, y, h, T * H);
    nn_linear(cx, low, h, &w->laurel_in, T);
    nn_linear(cx, h, low, &w->laurel_out, T);
    nn_norm(cx, h, h, &w->laurel_norm, T);
    nn_add(cx, y, h, T * H);
    nn_scale(cx, y, 1.0f / sqrtf(2.0f), T * H);
    nn_tap(cx, "attn", (int)il, y, T, H);
    float *f = nn_f32(cx, T, H);
    nn_norm(cx, h, y, &l->norm2, T);
    mlp(cx, f, h, l, T);
    nn_add(cx, y, f, T * H);
    correct(cx, s, p, y, m, w, T);
    add_words(cx, s, words, m->base.n_layers * m->per_layer, m, w, T);
    nn_tap(cx, "out", (int)il, s, T, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* Room for the keys and values of the layers that others look at, and of one layer for all the rest. */
static bool place_keys(arch_run *r, float **keys, float **values)
{
    nn_ctx *cx = r->cx;
    const arch_decoder *d = &((const gemma3n_model *)r->impl)->base;
    const size_t T = r->seqs.rows, W = d->kv_heads * d->head_dim;
    float *k = nn_f32(cx, T, W), *v = nn_f32(cx, T, W);
    for (size_t il = 0; nn_ok(cx) && il < d->n_layers; il++) {
        keys[il] = k;
        values[il] = v;
    }
    for (size_t il = 0; nn_ok(cx) && il < d->n_layers; il++) {
        const size_t from = ((const gemma3n_layer *)d->layers[il].own)->keys;
        if (from == il || keys[from] != k) continue;
        keys[from] = nn_f32(cx, T, W);
        values[from] = nn_f32(cx, T, W);
    }
    return nn_ok(cx);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const gemma3n_model *m = r->impl;
    const arch_decoder *d = &m->base;
    const size_t T = r->seqs.rows, H = d->hidden, A = m->streams;
    float *s = nn_f32(cx, A * T, H); // [A, T, H]
    float *x = arch_embed_tokens(r, &d->words);
    if (!r->batch->input_embeds) nn_scale(cx, x, sqrtf((float)H), T * H);
    const float *words = words_of_layers(r, x);
    nn_copy(cx, s, x, T * H);
    for (size_t a = 1; nn_ok(cx) && a < A; a++) {
        nn_linear(cx, s + a * T * H, x, &m->spread[a - 1], T);
        to_length(cx, s + a * T * H, x, T, H);
    }
    const nn_rope_rows all = nn_rope_prepare(cx, &d->rope, &r->seqs),
                       near = nn_rope_prepare(cx, &d->rope_local, &r->seqs);
    float **keys = nn_bytes(cx, d->n_layers * sizeof *keys),
          **values = nn_bytes(cx, d->n_layers * sizeof *values);
    if (!nn_ok(cx) || !place_keys(r, keys, values)) return;
    for (size_t il = 0; nn_ok(cx) && il < d->n_layers; il++) {
        arch_keep_hidden(r, s, H); // of the first stream
        layer_forward(r, s, words + il * m->per_layer,
                      d->layers[il].rope == &d->rope_local ? &near : &all, keys, values, il);
    }
    arch_keep_hidden(r, s, H);
    nn_copy(cx, x, s, T * H);
    float *y = nn_f32(cx, T, H);
    for (size_t a = 1; nn_ok(cx) && a < A; a++) {
        nn_linear(cx, y, s + a * T * H, &m->gather[a - 1], T);
        to_length(cx, y, s, T, H);
        nn_add(cx, x, y, T * H);
    }
    nn_scale(cx, x, 1.0f / (float)A, T * H);
    nn_norm(cx, x, x, &d->norm, T);
    arch_heads_forward(r, &d->heads_w, x, H);
}

/* ------------------------------------------------------------------ load */

static void load_norm(nn_loader *ld, nn_norm_w *w, const char *name, size_t n, float eps)
{
    nn_load_norm(ld, w, name, NN_NORM_RMS, n, eps, 0);
}

/* Where the normal distribution has this much of itself below. */
static double normal_quantile(double part)
{
    double low = -10, high = 10;
    for (int i = 0; i < 100; i++) {
        const double x = (low + high) / 2;
        *(erfc(-x / sqrt(2)) / 2 < part ? &low : &high) = x;
    }
    return (low + high) / 2;
}

/* The share of gate x that a layer lets go: a list, or 0.95 in the first ten layers of more than ten. */
static void read_sparsity(arch_config *c, gemma3n_layer *w, size_t il, size_t n)
{
    const json *list = cfg_get(c, "activation_sparsity_pattern"), *here = json_at(list, il);
    if (list && !json_is_number(here))
        cfg_fail(c, "\"activation_sparsity_pattern\" says nothing of layer %zu", il);
    const double part = list ? json_double(here, 0) : n > 10 && il < 10 ? 0.95 : 0;
    if (!(part < 1)) cfg_fail(c, "\"activation_sparsity_pattern\" must hold numbers below 1");
    w->sparse = part > 0;
    if (w->sparse) w->cut = (float)normal_quantile((double)(float)part);
}

static size_t read_ffn(arch_config *c, size_t il)
{
    const json *v = cfg_get(c, "intermediate_size");
    if (!json_is(v, JSON_ARRAY)) return cfg_dim(c, "intermediate_size", 16384);
    const int64_t n = json_int(json_at(v, il), 0);
    if (n < 1 || n > 1 << 24)
        cfg_fail(c, "\"intermediate_size\" must hold a size for layer %zu", il);
    return n > 0 ? (size_t)n : 1;
}

/* The layer whose keys layer il looks at: from `shared` on the last one before of the same kind. */
static size_t keys_of(arch_config *c, const arch_decoder *d, size_t il, size_t shared)
{
    if (shared == 0 || il < shared) return il;
    for (size_t from = shared; from-- > 0;)
        if (!d->layers[from].window == !d->layers[il].window) return from;
    cfg_fail(c, "no layer before \"num_kv_shared_layers\" is of the kind of layer %zu", il);
    return il;
}

/* The coefficients of the correction, at most so large. */
static void load_correction(arch_build *b, gemma3n_layer *w, size_t A, float clip)
{
    nn_loader *ld = &b->ld;
    const float *stored = nn_load_vector(ld, "altup.correction_coefs.weight", A * A, 0);
    float *own = arch_new(b, A * A, sizeof *own);
    for (size_t i = 0; stored && own && i < A * A; i++)
        own[i] = clip > 0 ? fminf(fmaxf(stored[i], -clip), clip) : stored[i];
    w->correct.w = (k_weight){.data = own, .dtype = DT_F32, .N = A, .K = A, .stride = A};
}

static void load_layer(arch_build *b, gemma3n_model *m, size_t il, float eps, unsigned bias,
                       size_t rank)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = &m->base;
    decoder_layer *l = &d->layers[il];
    gemma3n_layer *w = arch_new(b, 1, sizeof *w);
    const size_t H = d->hidden, D = d->head_dim, A = m->streams, P = m->per_layer;
    if (!w) return;
    l->own = w;
    load_norm(ld, &l->norm1, "input_layernorm", H, eps);
    load_norm(ld, &l->post1, "post_attention_layernorm", H, eps);
    load_norm(ld, &l->norm2, "pre_feedforward_layernorm", H, eps);
    load_norm(ld, &l->post2, "post_feedforward_layernorm", H, eps);
    arch_decoder_attn_load(ld, &l->attn, d, bias, bias);
    load_norm(ld, &l->attn.q_norm, "self_attn.q_norm", D, eps);
    load_norm(ld, &l->attn.k_norm, "self_attn.k_norm", D, eps);
    arch_decoder_mlp_load(ld, &l->mlp, "mlp", H, read_ffn(c, il), m->act, NN_NO_BIAS);
    read_sparsity(c, w, il, d->n_layers);

    load_norm(ld, &w->router_norm, "altup.router_norm", H, eps);
    nn_load_linear(ld, &w->router, "altup.modality_router", A, H, NN_NO_BIAS | NN_KEEP_FLOAT);
    nn_load_linear(ld, &w->predict, "altup.prediction_coefs", A * A, A, NN_NO_BIAS | NN_KEEP_FLOAT);
    const json *clip = json_get(c->root, "altup_coef_clip");
    load_correction(b, w, A,
                    clip && clip->type == JSON_NULL ? 0 : cfg_float(c, "altup_coef_clip", 120));
    const float *scale = nn_load_vector(ld, "altup.correct_output_scale", H, 0);
    if (cfg_bool(c, "altup_correct_scale", true)) w->output_scale = scale;
    nn_load_linear(ld, &w->laurel_in, "laurel.linear_left", rank, H, NN_NO_BIAS);
    nn_load_linear(ld, &w->laurel_out, "laurel.linear_right", H, rank, NN_NO_BIAS);
    load_norm(ld, &w->laurel_norm, "laurel.post_laurel_norm", H, eps);
    nn_load_linear(ld, &w->word_gate, "per_layer_input_gate", P, H, NN_NO_BIAS);
    nn_load_linear(ld, &w->word_out, "per_layer_projection", H, P, NN_NO_BIAS);
    load_norm(ld, &w->word_norm, "post_per_layer_input_norm", H, eps);
}

static void load_streams(arch_build *b, gemma3n_model *m)
{
    nn_loader *ld = &b->ld;
    const size_t H = m->base.hidden;
    m->spread = arch_new(b, m->streams, sizeof *m->spread);
    m->gather = arch_new(b, m->streams, sizeof *m->gather);
    for (size_t a = 0; m->spread && m->gather && a + 1 < m->streams; a++) {
        nn_scope(ld, "%saltup_projections.%zu.", ld->base, a);
        nn_load_matrix(ld, &m->spread[a], "weight", NULL, H, H, 0);
        nn_scope(ld, "%saltup_unembed_projections.%zu.", ld->base, a);
        nn_load_matrix(ld, &m->gather[a], "weight", NULL, H, H, 0);
    }
}

static void load_ropes(arch_build *b, arch_decoder *d)
{
    const size_t positions = cfg_dim(&b->cfg, "max_position_embeddings", 32768);
    arch_rope_load(&d->rope, b,
                   &(arch_rope_options){.dim = d->head_dim,
                                        .theta = 1e6f,
                                        .max_positions = positions,
                                        .layer_type = "full_attention"});
    arch_rope_load(&d->rope_local, b,
                   &(arch_rope_options){.dim = d->head_dim,
                                        .theta = 10000,
                                        .theta_key = "rope_local_base_freq",
                                        .max_positions = positions,
                                        .layer_type = "sliding_attention",
                                        .ignore_scaling = true});
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    gemma3n_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_decoder *d = &m->base;
    *d = (arch_decoder){.hidden = 2048,
                        .n_layers = 35,
                        .heads = 8,
                        .kv_heads = 2,
                        .head_dim = 256,
                        .vocab = 262400};
    arch_decoder_config(c, d);
    m->streams = cfg_size(c, "altup_num_inputs", 4, 1, 64);
    m->active = cfg_size(c, "altup_active_idx", 0, 0, m->streams - 1);
    m->per_layer = cfg_dim(c, "hidden_size_per_layer_input", 256);
    m->act = cfg_act(c, "hidden_activation", "gelu_pytorch_tanh");
    const size_t H = d->hidden, P = m->per_layer, rank = cfg_dim(c, "laurel_rank", 64);
    const size_t shared = cfg_size(c, "num_kv_shared_layers", 15, 0, d->n_layers);
    const float eps = cfg_float(c, "rms_norm_eps", 1e-6f);
    const unsigned bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const size_t window = arch_decoder_window(c, true, 512);
    m->value_norm = (nn_norm_w){.kind = NN_NORM_RMS, .n = d->head_dim, .eps = eps};
    load_ropes(b, d);
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, H, 0);
    nn_load_embed(ld, &m->layer_words, "embed_tokens_per_layer", "input id",
                  cfg_dim(c, "vocab_size_per_layer_input", 262144), d->n_layers * P, 0);
    nn_load_linear(ld, &m->layer_project, "per_layer_model_projection", d->n_layers * P, H,
                   NN_NO_BIAS);
    load_norm(ld, &m->layer_norm, "per_layer_projection_norm", P, eps);
    load_norm(ld, &d->norm, "norm", H, eps);
    load_streams(b, m);
    for (size_t il = 0; il < d->n_layers; il++) {
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        if (cfg_layer_is(c, il, "sliding_attention", (il + 1) % 5 != 0)) {
            d->layers[il].window = window;
            d->layers[il].rope = &d->rope_local;
        }
        load_layer(b, m, il, eps, bias, rank);
    }
    TRY(arch_build_ok(b, err));
    for (size_t il = 0; il < d->n_layers; il++) {
        gemma3n_layer *w = (gemma3n_layer *)(uintptr_t)d->layers[il].own;
        w->keys = keys_of(c, d, il, d->n_layers - shared);
        d->layers[il].keyless = w->keys != il;
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, true);
    TRY(arch_decoder_done(b, d, err));
    const json *cap = json_get(c->root, "final_logit_softcapping");
    if (b->m->info.head == ARCH_HEAD_LM && !(cap && cap->type == JSON_NULL))
        d->heads_w.head.softcap = cfg_float(c, "final_logit_softcapping", 30);
    return arch_build_ok(b, err);
}

const arch_family arch_gemma3n = {
    .model_types = (const char *const[]){"gemma3n_text", NULL},
    .classes = (const char *const[]){"Gemma3nTextModel", "Gemma3nForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.language_model.|model.", // as the library writes it
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = forward,
};
