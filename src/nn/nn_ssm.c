/* Selective state spaces. */
#include <string.h>

#include "nn/nn_recurrent.h"

enum { BLOCK = 64 }; // channels that a piece takes

typedef struct {
    const kernel_table *k;
    const nn_seqs *seqs;
    float **state;
    size_t inner, n, blocks;
    const float *a;
    const float *u, *dt, *b, *c; // [T, inner] twice, [T, n] twice
    float *y;                    // [T, inner]
} scan_job;

/* A block of channels of one sequence from its first row to its last. */
static void scan_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const scan_job *j = arg;
    for (size_t i = first; i < last; i++) {
        const size_t s = i / j->blocks, at = i % j->blocks * BLOCK;
        const size_t width = j->inner - at < BLOCK ? j->inner - at : BLOCK;
        float step[BLOCK];
        for (size_t t = j->seqs->start[s]; t < j->seqs->start[s + 1]; t++) {
            const size_t row = t * j->inner + at;
            for (size_t c = 0; c < width; c++) step[c] = j->dt[row + c] * j->u[row + c];
            j->k->scan_step(j->y + row, j->state[s] + at, j->a + at, j->inner, j->dt + row,
                            j->b + t * j->n, step, j->c + t * j->n, j->n, width);
        }
    }
}

/* Columns [from, from + n) of x [T, ld] as rows of their own, normed if there is a norm. */
static float *split(nn_ctx *cx, const float *x, size_t ld, size_t from, size_t n,
                    const nn_norm_w *norm, size_t T)
{
    float *y = nn_f32(cx, T, n);
    nn_columns(cx, y, x, ld, from, n, T);
    if (norm->kind != NN_NORM_NONE) nn_norm(cx, y, y, norm, T);
    return y;
}

void nn_mamba(nn_ctx *cx, float *y, const float *x, const nn_mamba_w *w, const nn_seqs *seqs)
{
    const size_t T = seqs->rows, I = w->inner, N = w->n, wide = w->rank + 2 * N;
    const nn_mark mark = nn_save(cx);
    float *both = nn_f32(cx, T, 2 * I), *u = nn_f32(cx, T, I), *p = nn_f32(cx, T, wide);
    float *dt = nn_f32(cx, T, I), *out = nn_f32(cx, T, I);
    nn_linear(cx, both, x, &w->in, T);
    nn_mask_rows(cx, both, 2 * I, I, seqs);
    nn_conv(cx, u, both, 2 * I, &w->conv, seqs);
    nn_mask_rows(cx, u, I, I, seqs);
    nn_linear(cx, p, u, &w->x_proj, T);
    scan_job j = {
        .k = cx->k, .seqs = seqs, .inner = I, .n = N, .a = w->a, .u = u, .dt = dt, .y = out};
    j.b = split(cx, p, wide, w->rank, N, &w->b_norm, T);
    j.c = split(cx, p, wide, w->rank + N, N, &w->c_norm, T);
    nn_linear(cx, dt, split(cx, p, wide, 0, w->rank, &w->dt_norm, T), &w->dt_proj, T);
    nn_softplus(cx, dt, T * I);
    j.state = nn_states(cx, seqs, w->state, N * I);
    j.blocks = (I + BLOCK - 1) / BLOCK;
    nn_for(cx, seqs->n * j.blocks, BLOCK * N * 16 * (T / seqs->n + 1), scan_piece, &j);
    float *gate = dt; // read by now
    nn_columns(cx, gate, both, 2 * I, I, I, T);
    for (size_t t = 0; nn_ok(cx) && t < T; t++)
        for (size_t c = 0; c < I; c++) out[t * I + c] += u[t * I + c] * w->d[c];
    nn_act_mul(cx, out, gate, out, T * I, w->act);
    nn_linear(cx, y, out, &w->out, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}
