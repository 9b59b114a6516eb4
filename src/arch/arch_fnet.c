/* FNet. Lee-Thorp et al. 2021, arXiv:2105.03824; transformers 4.57 models/fnet/modeling_fnet.py.
 *
 *   ids ─ word + type + position embeddings ─ norm ─ projection ─┐
 *   ┌────────────────────────────────────────────────────────────┘
 *   └─ n x [ real part of the Fourier transform over the text and the width ─ (+x) norm ─ mlp ─ (+x) norm ] ─ heads
 *
 * Easy to get wrong: there is no mask, so that padding is transformed with the rest: a padded batch gives the library
 * other numbers than its rows alone. The transform is computed as what it is, Re(W_T x W_H) with W = cos - i sin; its
 * sums over the width are a linear layer. Checked on: random checkpoints of the library. */
#include <math.h>

#include "arch/arch_encoder.h"

typedef struct {
    arch_encoder base;
    nn_linear_w cos, sin; // [H, H]
} fnet_model;

/* cos and sin of the n-th parts of a turn, [n] each. */
static void turns_of(float *c, float *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double angle = 2 * 3.14159265358979323846 * (double)i / (double)n;
        c[i] = (float)cos(angle);
        s[i] = (float)sin(angle);
    }
}

static void load_tables(arch_build *b, fnet_model *m, size_t n)
{
    float *c = arch_new(b, n * n, sizeof *c), *s = arch_new(b, n * n, sizeof *s);
    float *turn = arch_new(b, 2 * n, sizeof *turn);
    if (!c || !s || !turn) return;
    turns_of(turn, turn + n, n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            c[i * n + j] = turn[i * j % n];
            s[i * n + j] = turn[n + i * j % n];
        }
    const k_weight table = {.dtype = DT_F32, .N = n, .K = n, .stride = n};
    m->cos.w = m->sin.w = table;
    m->cos.w.data = c;
    m->sin.w.data = s;
}

/* y [T, H] = Re(W_T x W_H) = [cos_T | -sin_T] [x cos_H; x sin_H], one sequence after the other. */
static void transform(arch_run *r, float *y, const float *x, const encoder_layer *unused,
                      const nn_attn *unused_too, size_t il)
{
    (void)unused, (void)unused_too, (void)il;
    nn_ctx *cx = r->cx;
    const fnet_model *m = r->impl;
    const size_t T = r->seqs.rows, H = m->base.cfg.hidden;
    const nn_mark mark = nn_save(cx);
    float *c = nn_f32(cx, T, H), *s = nn_f32(cx, T, H); // [T, H]
    nn_linear_group(cx, (float *[]){c, s}, x, (const nn_linear_w *[]){&m->cos, &m->sin}, 2, T);
    for (size_t i = 0; nn_ok(cx) && i < r->seqs.n; i++) {
        const size_t a = r->seqs.start[i], n = r->seqs.start[i + 1] - a;
        const nn_mark inner = nn_save(cx);
        float *turn = nn_f32(cx, 2, n);        // [2, n]
        float *turns = nn_f32(cx, n, 2 * n);   // [n, 2n]
        float *columns = nn_f32(cx, H, 2 * n); // [H, 2n]
        if (nn_ok(cx)) turns_of(turn, turn + n, n);
        for (size_t t = 0; nn_ok(cx) && t < n; t++)
            for (size_t u = 0; u < n; u++) {
                turns[t * 2 * n + u] = turn[t * u % n];
                turns[t * 2 * n + n + u] = -turn[n + t * u % n];
            }
        for (size_t h = 0; nn_ok(cx) && h < H; h++)
            for (size_t t = 0; t < n; t++) {
                columns[h * 2 * n + t] = c[(a + t) * H + h];
                columns[h * 2 * n + n + t] = s[(a + t) * H + h];
            }
        const nn_linear_w sums = {
            .w = {.data = columns, .dtype = DT_F32, .N = H, .K = 2 * n, .stride = 2 * n}};
        nn_linear(cx, y + a * H, turns, &sums, n);
        if (nn_ok(cx)) nn_restore(cx, inner);
    }
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    fnet_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_encoder *e = &m->base;
    e->cfg = (encoder_config){.vocab = 32000, .types = 4, .heads = 1};
    arch_encoder_config(&b->cfg, &e->cfg);
    e->cfg.act = cfg_act(&b->cfg, "hidden_act", "gelu_new");
    e->attention = transform;
    TRY(arch_build_ok(b, err));
    const size_t H = e->cfg.hidden;
    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    nn_load_linear(ld, &e->project, "projection", H, H, NN_BIAS);
    encoder_layer_names names = bert_layer_names;
    names.q = names.o = NULL;
    names.attn_norm = "fourier.output.LayerNorm";
    arch_encoder_layers_load(b, e, "encoder.layer", &names);
    const arch_encoder_names heads = arch_bert_heads(&e->cfg);
    arch_encoder_heads_load(b, &e->heads, &heads, H, &e->embed.words);
    TRY(arch_build_ok(b, err));
    if (!ld->n_missing) load_tables(b, m, H); // the width is that of tensors by now
    return arch_encoder_done(b, e, err);
}

const arch_family arch_fnet = {
    .model_types = (const char *const[]){"fnet", NULL},
    .classes =
        (const char *const[]){ARCH_ENCODER_CLASSES("FNet"), "FNetForNextSentencePrediction", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "fnet.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias", "dft_mat_hidden",
                                       "dft_mat_seq", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
