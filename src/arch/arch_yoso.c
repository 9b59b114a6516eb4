/* YOSO. Zeng et al. 2021, arXiv:2111.09714; transformers 4.57 models/yoso/modeling_yoso.py.
 *
 *   BERT's layers, whose attention adds up the values of keys by the chance that their hashes agree:
 *   y_i = unit(sum over j of (1 - acos(unit(q_i)·unit(k_j)) / pi)^bits v_j) (+ convolution of v)
 *
 * Easy to get wrong: there is no softmax and no scale; each head's sum is brought to length one; a mask hides rows from the
 * convolution alone. With use_expectation false the library hashes at random, on GPUs alone: refused. The table of
 * positions begins two rows before position 0. Checked on: random checkpoints of the library. */
#include <math.h>
#include <string.h>

#include "arch/arch_encoder.h"
#include "nn/nn_recurrent.h"

typedef struct {
    arch_encoder base;
    size_t bits;   // of a hash
    size_t kernel; // of the convolution; 0: none
} yoso_model;

/* ------------------------------------------------------------------ attention */

typedef struct {
    const nn_seqs *seqs;
    size_t heads, dim, bits;
    const float *q, *k, *v; // [T, heads dim], q and k of length one
    float *y;
} yoso_job;

/* Rows of dim numbers, brought to length one. */
static void to_units(nn_ctx *cx, float *x, size_t rows, size_t dim)
{
    for (size_t i = 0; nn_ok(cx) && i < rows; i++) {
        float sum = 0;
        for (size_t d = 0; d < dim; d++) sum += x[i * dim + d] * x[i * dim + d];
        const float length = fmaxf(sqrtf(sum), 1e-12f);
        for (size_t d = 0; d < dim; d++) x[i * dim + d] /= length;
    }
}

/* The chance that so many bits agree for vectors of this cosine. */
static float agreement(float cosine, size_t bits)
{
    static const float pi = 3.14159265358979f;
    float one = 1 - acosf(fminf(fmaxf(cosine, -1), 1)) / pi, all = 1;
    for (size_t n = bits; n; n /= 2, one *= one)
        if (n % 2) all *= one;
    return all;
}

/* A head of one row at a time. */
static void yoso_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const yoso_job *j = arg;
    const size_t D = j->dim, H = j->heads * D;
    size_t seq = 0;
    for (size_t i = first; i < last; i++) {
        const size_t t = i / j->heads, at = i % j->heads * D;
        while (t >= j->seqs->start[seq + 1]) seq++;
        float *y = j->y + t * H + at;
        memset(y, 0, D * sizeof *y);
        for (size_t s = j->seqs->start[seq]; s < j->seqs->start[seq + 1]; s++) {
            float cosine = 0;
            for (size_t d = 0; d < D; d++) cosine += j->q[t * H + at + d] * j->k[s * H + at + d];
            const float weight = agreement(cosine, j->bits);
            for (size_t d = 0; d < D; d++) y[d] += weight * j->v[s * H + at + d];
        }
    }
}

static void attention(arch_run *r, float *y, const float *x, const encoder_layer *w,
                      const nn_attn *a, size_t il)
{
    (void)il;
    nn_ctx *cx = r->cx;
    const yoso_model *m = r->impl;
    const size_t T = r->seqs.rows, D = a->dim, N = a->heads, H = N * D;
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, H), *k = nn_f32(cx, T, H), *v = nn_f32(cx, T, H); // [T, H]
    float *ctx = nn_f32(cx, T, H), *near = nn_f32(cx, T, H);                   // [T, H]
    nn_linear_group(cx, (float *[]){q, k, v}, x,
                    (const nn_linear_w *[]){&w->attn.q, &w->attn.k, &w->attn.v}, 3, T);
    to_units(cx, q, T * N, D);
    to_units(cx, k, T * N, D);
    yoso_job j = {
        .seqs = &r->seqs, .heads = N, .dim = D, .bits = m->bits, .q = q, .k = k, .v = v, .y = ctx};
    if (nn_ok(cx)) nn_for(cx, T * N, T / r->seqs.n * (4 * D + 64), yoso_piece, &j);
    to_units(cx, ctx, T * N, D);
    if (m->kernel) {
        nn_mask_rows(cx, v, H, H, &r->seqs);
        nn_convolve(cx, near, v, &(nn_taps){.w = w->own, .n = m->kernel, .share = D}, &r->seqs, H);
        nn_add(cx, ctx, near, T * H);
    }
    nn_linear(cx, y, ctx, &w->attn.o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* ------------------------------------------------------------------ load */

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    yoso_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_encoder *e = &m->base;
    e->cfg = (encoder_config){.vocab = 50265, .positions = 4096, .types = 1};
    arch_encoder_config(c, &e->cfg);
    arch_encoder_absolute(c);
    e->position_offset = 2;
    e->cfg.positions += e->position_offset;
    m->bits = cfg_size(c, "hash_code_len", 9, 1, 62);
    m->kernel = cfg_size(c, "conv_window", 0, 0, 4096);
    if (m->kernel && m->kernel % 2 == 0)
        cfg_fail(c, "\"conv_window\" must be odd, not %zu", m->kernel);
    if (!cfg_bool(c, "use_expectation", true))
        cfg_fail(c, "\"use_expectation\" false, hashing at random, is not supported");

    arch_encoder_poolerless_load(b, e, m->kernel);
    e->attention = attention;
    return arch_encoder_done(b, e, err);
}

const arch_family arch_yoso = {
    .model_types = (const char *const[]){"yoso", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("Yoso"), NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "yoso.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
