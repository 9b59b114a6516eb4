/* Selective state spaces. */
#include "nn/nn_recurrent.h"

#include <math.h>

enum { BLOCK = 64 }; // channels that are taken at once

/* ------------------------------------------------------------------ mamba */

typedef struct {
    const kernel_table *k;
    const nn_mamba_w *w;
    const nn_seqs *seqs;
    float **state;       // of each sequence [n, inner]
    size_t blocks;       // of BLOCK channels in a head
    const float *u, *dt; // [T, inner]
    const float *b, *c;  // [T, heads, n]
    float *y;            // [T, inner]
} scan_job;

/* A block of channels of one sequence from its first row to its last. */
static void scan_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const scan_job *j = arg;
    const size_t I = j->w->inner, heads = j->w->heads, N = j->w->n, D = I / heads;
    for (size_t i = first; i < last; i++) {
        const size_t head = i / j->blocks % heads, in = i % j->blocks * BLOCK;
        const size_t s = i / j->blocks / heads, at = head * D + in;
        const size_t width = D - in < BLOCK ? D - in : BLOCK;
        float step[BLOCK];
        for (size_t t = j->seqs->start[s]; t < j->seqs->start[s + 1]; t++) {
            const size_t row = t * I + at, pair = (t * heads + head) * N;
            for (size_t c = 0; c < width; c++) step[c] = j->dt[row + c] * j->u[row + c];
            j->k->scan_step(j->y + row, j->state[s] + at, j->w->a + at, I, j->dt + row, j->b + pair,
                            step, j->c + pair, N, width);
        }
    }
}

/* Columns [from, from + n) of each head's part of x [T, heads, ld] as rows of their own [T, heads, n]. */
static float *split(nn_ctx *cx, const float *x, size_t ld, size_t from, size_t n,
                    const nn_norm_w *norm, size_t rows)
{
    float *y = nn_f32(cx, rows, n);
    nn_columns(cx, y, x, ld, from, n, rows);
    if (norm->kind != NN_NORM_NONE) nn_norm(cx, y, y, norm, rows);
    return y;
}

/* Each head's linear layer on its part of x. */
static void per_head(nn_ctx *cx, float *y, const float *x, const nn_linear_w *w, size_t heads,
                     size_t T)
{
    const size_t N = w->w.N, K = w->w.K;
    if (heads == 1)
        nn_linear(cx, y, x, w, T);
    else
        nn_linear_each(cx, y, heads * N, N, x, heads * K, K, w, heads, T);
}

void nn_mamba(nn_ctx *cx, float *y, const float *x, const nn_mamba_w *w, const nn_seqs *seqs)
{
    const size_t T = seqs->rows, I = w->inner, N = w->n, wide = w->rank + 2 * N;
    const size_t rows = T * w->heads;
    const nn_mark mark = nn_save(cx);
    float *both = nn_f32(cx, T, 2 * I), *u = nn_f32(cx, T, I), *p = nn_f32(cx, rows, wide);
    float *dt = nn_f32(cx, T, I), *out = nn_f32(cx, T, I);
    nn_linear(cx, both, x, &w->in, T);
    nn_mask_rows(cx, both, 2 * I, I, seqs);
    nn_causal_conv(cx, u, both, 2 * I, &w->conv, seqs);
    nn_mask_rows(cx, u, I, I, seqs);
    per_head(cx, p, u, w->x_proj, w->heads, T);
    scan_job j = {.k = cx->k, .w = w, .seqs = seqs, .u = u, .dt = dt, .y = out};
    j.b = split(cx, p, wide, w->rank, N, &w->b_norm, rows);
    j.c = split(cx, p, wide, w->rank + N, N, &w->c_norm, rows);
    per_head(cx, dt, split(cx, p, wide, 0, w->rank, &w->dt_norm, rows), w->dt_proj, w->heads, T);
    nn_softplus(cx, dt, T * I);
    j.state = nn_states(cx, seqs, w->state, N * I);
    j.blocks = (I / w->heads + BLOCK - 1) / BLOCK;
    nn_for(cx, seqs->n * w->heads * j.blocks, BLOCK * N * 16 * (T / seqs->n + 1), scan_piece, &j);
    float *gate = dt; // read by now
    nn_columns(cx, gate, both, 2 * I, I, I, T);
    for (size_t t = 0; nn_ok(cx) && t < T; t++)
        for (size_t c = 0; c < I; c++) out[t * I + c] += u[t * I + c] * w->d[c];
    nn_act_mul(cx, out, gate, out, T * I, w->act);
    nn_linear(cx, y, out, &w->out, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* ------------------------------------------------------------------ mamba-2 */

typedef struct {
    const kernel_table *k;
    const nn_mamba2_w *w;
    const nn_seqs *seqs;
    float **state;   // of each sequence [heads, n, dim]
    const float *u;  // [T, heads * dim | groups * n | groups * n]
    const float *dt; // [T, heads], row stride ld_dt, before bias and softplus
    size_t ld_dt;
    float *y; // [T, heads * dim]
} scan2_job;

static float time_step(const nn_mamba2_w *w, float x)
{
    x = nn_softplus1(x);
    return x < w->dt_min ? w->dt_min : x > w->dt_max ? w->dt_max : x;
}

/* A head of one sequence from its first row to its last. */
static void scan2_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const scan2_job *j = arg;
    const nn_mamba2_w *w = j->w;
    const size_t P = w->dim, N = w->n, I = w->heads * P, wide = w->conv.channels;
    for (size_t i = first; i < last; i++) {
        const size_t s = i / w->heads, head = i % w->heads, g = head / (w->heads / w->groups);
        float *h = j->state[s] + head * N * P, step[BLOCK];
        for (size_t t = j->seqs->start[s]; t < j->seqs->start[s + 1]; t++) {
            const float *u = j->u + t * wide + head * P, *b = j->u + t * wide + I + g * N;
            const float dt = time_step(w, j->dt[t * j->ld_dt + head] + w->dt_bias[head]);
            float *y = j->y + t * I + head * P;
            for (size_t at = 0; at < P; at += BLOCK) {
                const size_t width = P - at < BLOCK ? P - at : BLOCK;
                for (size_t p = 0; p < width; p++) step[p] = dt * u[at + p];
                j->k->state_step(y + at, h + at, P, expf(w->a[head] * dt), b, step,
                                 b + w->groups * N, N, width);
            }
            for (size_t p = 0; p < P; p++) y[p] += w->d[head] * u[p];
        }
    }
}

/* y [T, I] = norm(y silu(gate)), or norm(y) silu(gate). */
static void gated_norm(nn_ctx *cx, float *y, const float *gate, const nn_mamba2_w *w, size_t T)
{
    const size_t I = w->heads * w->dim, turns = w->norm.turns ? w->norm.turns : 1;
    const bool normed = w->norm.kind != NN_NORM_NONE;
    if (normed && w->norm_first) nn_norm(cx, y, y, &w->norm, T * turns);
    nn_act_mul(cx, y, gate, y, T * I, K_ACT_SILU);
    if (normed && !w->norm_first) nn_norm(cx, y, y, &w->norm, T * turns);
}

void nn_mamba2(nn_ctx *cx, float *y, const float *x, const nn_mamba2_w *w, const nn_seqs *seqs)
{
    const size_t T = seqs->rows, I = w->heads * w->dim, C = w->conv.channels;
    const size_t all = I + C + w->heads;
    const nn_mark mark = nn_save(cx);
    float *p = nn_f32(cx, T, all), *u = nn_f32(cx, T, C), *out = nn_f32(cx, T, I);
    // hidden rows enter as zeros, though a bias may be added to them
    nn_linear(cx, p, nn_masked(cx, x, w->in.w.K, seqs), &w->in, T);
    nn_causal_conv(cx, u, p ? p + I : NULL, all, &w->conv, seqs);
    nn_mask_rows(cx, u, C, C, seqs);
    scan2_job j = {.k = cx->k, .w = w, .seqs = seqs, .u = u, .ld_dt = all, .y = out};
    j.dt = p ? p + I + C : NULL;
    j.state = nn_states(cx, seqs, w->state, I * w->n);
    nn_for(cx, seqs->n * w->heads, w->dim * w->n * 4 * (T / seqs->n + 1), scan2_piece, &j);
    float *gate = nn_f32(cx, T, I);
    nn_columns(cx, gate, p, all, 0, I, T);
    gated_norm(cx, out, gate, w, T);
    nn_linear(cx, y, out, &w->out, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}
