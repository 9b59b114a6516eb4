/* Lightning attention: a state that fades at a fixed pace. */
#include "nn/nn_recurrent.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ load */

/* A stored buffer, or what value(w, i) says. */
static const float *load_decay(nn_loader *ld, const nn_lightning_w *w, const char *name,
                               size_t count, float (*value)(const nn_lightning_w *w, size_t i))
{
    const float *stored = nn_load_vector(ld, name, count, NN_OPTIONAL);
    float *y = stored ? NULL : arena_f32(ld->own, 1, count);
    if (!stored && !y) {
        mltf_fail_memory(&ld->err);
        return NULL;
    }
    for (size_t i = 0; y && i < count; i++) y[i] = value(w, i);
    return stored ? stored : y;
}

static float slope_of(const nn_lightning_w *w, size_t i)
{
    const double base = pow(2, -8 / (double)w->heads);
    return (float)(pow(base, (double)(i + 1)) * w->pace);
}

static float query_decay(const nn_lightning_w *w, size_t i)
{
    return expf(-w->slope[i / w->block] * (float)(i % w->block + 1));
}

static float key_decay(const nn_lightning_w *w, size_t i)
{
    return expf(-w->slope[i / w->block] * (float)(w->block - 1 - i % w->block));
}

static float pair_decay(const nn_lightning_w *w, size_t i)
{
    const size_t B = w->block, query = i / B % B, key = i % B;
    return key > query ? 0 : expf(-w->slope[i / B / B] * (float)(query - key));
}

void nn_lightning_load(nn_loader *ld, nn_lightning_w *w, size_t hidden, size_t *state)
{
    const size_t N = w->heads, W = N * w->dim;
    nn_load_linear(ld, &w->qkv, "qkv_proj", 3 * W, hidden, NN_NO_BIAS);
    nn_load_linear(ld, &w->gate, "output_gate", W, hidden, NN_NO_BIAS);
    nn_load_linear(ld, &w->out, "out_proj", hidden, W, NN_NO_BIAS);
    nn_load_norm(ld, &w->norm, "norm", NN_NORM_RMS, W, 1e-6f, 0);
    w->slope = load_decay(ld, w, "slope_rate", N, slope_of);
    if (!w->slope) return;
    w->query_decay = load_decay(ld, w, "query_decay", N * w->block, query_decay);
    w->key_decay = load_decay(ld, w, "key_decay", N * w->block, key_decay);
    w->pair_decay = load_decay(ld, w, "diagonal_decay", N * w->block * w->block, pair_decay);
    w->state = *state;
    *state += W * w->dim;
}

/* ------------------------------------------------------------------ run */

typedef struct {
    const kernel_table *k;
    const nn_lightning_w *w;
    const nn_seqs *seqs;
    float **state;    // of each sequence [heads, D, D]
    const float *qkv; // [T, heads, q | k | v]
    float *y;         // [T, heads D]
} lightning_job;

/* Rows [t0, t0 + n) of the first pass, at most a block. */
static void block(const lightning_job *j, float *S, size_t head, size_t t0, size_t n)
{
    const nn_lightning_w *w = j->w;
    const size_t D = w->dim, N = w->heads, B = w->block;
    const float *qd = w->query_decay + head * B, *kd = w->key_decay + head * B + B - n;
    const float *pd = w->pair_decay + head * B * B;
    for (size_t i = 0; i < n; i++) {
        const float *q = j->qkv + ((t0 + i) * N + head) * 3 * D;
        float *y = j->y + ((t0 + i) * N + head) * D;
        memset(y, 0, D * sizeof *y);
        for (size_t d = 0; d < D; d++)
            for (size_t p = 0; p < D; p++) y[p] += q[d] * qd[i] * S[d * D + p];
        for (size_t m = 0; m <= i; m++) {
            const float *k = j->qkv + ((t0 + m) * N + head) * 3 * D + D, *v = k + D;
            float score = 0;
            for (size_t d = 0; d < D; d++) score += q[d] * k[d];
            for (size_t p = 0; p < D; p++) y[p] += score * pd[i * B + m] * v[p];
        }
    }
    const float faded = expf(-w->slope[head] * (float)n);
    for (size_t i = 0; i < D * D; i++) S[i] *= faded;
    for (size_t m = 0; m < n; m++) {
        const float *k = j->qkv + ((t0 + m) * N + head) * 3 * D + D, *v = k + D;
        for (size_t d = 0; d < D; d++)
            for (size_t p = 0; p < D; p++) S[d * D + p] += k[d] * kd[m] * v[p];
    }
}

static void lightning_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const lightning_job *j = arg;
    const nn_lightning_w *w = j->w;
    const size_t D = w->dim, N = w->heads;
    for (size_t i = first; i < last; i++) {
        const size_t s = i / N, head = i % N, end = j->seqs->start[s + 1];
        float *S = j->state[s] + head * D * D;
        if (nn_past(j->seqs, s) == 0) {
            for (size_t t = j->seqs->start[s]; t < end; t += w->block)
                block(j, S, head, t, end - t < w->block ? end - t : w->block);
            continue;
        }
        const float fade = expf(-w->slope[head]);
        for (size_t t = j->seqs->start[s]; t < end; t++) {
            const float *q = j->qkv + (t * N + head) * 3 * D;
            j->k->state_step(j->y + (t * N + head) * D, S, D, fade, q + D, q + 2 * D, q, D, D);
        }
    }
}

void nn_lightning(nn_ctx *cx, float *y, const float *x, const nn_lightning_w *w,
                  const nn_seqs *seqs)
{
    const size_t T = seqs->rows, D = w->dim, W = w->heads * D;
    const nn_mark mark = nn_save(cx);
    float *qkv = nn_f32(cx, T, 3 * W), *gate = nn_f32(cx, T, W), *out = nn_f32(cx, T, W);
    nn_linear_group(cx, (float *[]){qkv, gate}, x, (const nn_linear_w *[]){&w->qkv, &w->gate}, 2,
                    T);
    nn_act(cx, qkv, qkv, T * 3 * W, w->act);
    for (size_t h = 0; h < w->heads && nn_ok(cx); h++)
        nn_mask_rows(cx, qkv + h * 3 * D + 2 * D, 3 * W, D, seqs);
    lightning_job j = {.k = cx->k, .w = w, .seqs = seqs, .qkv = qkv, .y = out};
    j.state = nn_states(cx, seqs, w->state, W * D);
    nn_for(cx, seqs->n * w->heads, 8 * D * D * (T / seqs->n + 1), lightning_piece, &j);
    nn_norm(cx, out, out, &w->norm, T);
    nn_act_mul(cx, out, gate, out, T * W, K_ACT_SIGMOID);
    nn_linear(cx, y, out, &w->out, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}
