/* The gated delta rule: a state that is corrected by what it would have answered. */
#include "nn/nn_recurrent.h"

#include <math.h>

typedef struct {
    const kernel_table *k;
    const nn_delta_w *w;
    const nn_seqs *seqs;
    float **state;      // of each sequence [heads, k_dim, v_dim]
    const float *u;     // [T, q of k_heads | k of k_heads | v of heads]
    const float *rates; // [T, b of heads | a of heads]
    float *y;           // [T, heads * v_dim]
} delta_job;

/* y = scale x / |x|. */
static void to_length(float *y, const float *x, float scale, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    scale /= sqrtf(sum + 1e-6f);
    for (size_t i = 0; i < n; i++) y[i] = x[i] * scale;
}

/* A head of one sequence from its first row to its last. */
static void delta_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const delta_job *j = arg;
    const nn_delta_w *w = j->w;
    const size_t D = w->k_dim, P = w->v_dim, width = w->conv.channels;
    const float length = 1.0f / sqrtf((float)D);
    float q[NN_DELTA_DIM_MAX], k[NN_DELTA_DIM_MAX], old[NN_DELTA_DIM_MAX];
    for (size_t i = first; i < last; i++) {
        const size_t s = i / w->heads, head = i % w->heads, from = head / (w->heads / w->k_heads);
        float *h = j->state[s] + head * D * P;
        for (size_t t = j->seqs->start[s]; t < j->seqs->start[s + 1]; t++) {
            const float *u = j->u + t * width, *v = u + 2 * w->k_heads * D + head * P;
            const float *b = j->rates + t * 2 * w->heads + head, a = b[w->heads];
            const float share = 1.0f / (1.0f + expf(-*b));
            to_length(q, u + from * D, length, D);
            to_length(k, u + (w->k_heads + from) * D, 1, D);
            j->k->state_step(old, h, P, expf(w->decay[head] * nn_softplus1(a + w->dt_bias[head])),
                             NULL, NULL, k, D, P);
            for (size_t p = 0; p < P; p++) old[p] = share * (v[p] - old[p]);
            j->k->state_step(j->y + (t * w->heads + head) * P, h, P, 1, k, old, q, D, P);
        }
    }
}

void nn_delta(nn_ctx *cx, float *y, const float *x, const nn_delta_w *w, const nn_seqs *seqs)
{
    const size_t T = seqs->rows, V = w->heads * w->v_dim, C = w->conv.channels, all = C + V;
    const nn_mark mark = nn_save(cx);
    float *p = nn_f32(cx, T, all), *u = nn_f32(cx, T, C), *out = nn_f32(cx, T, V);
    float *rates = nn_f32(cx, T, 2 * w->heads), *z = nn_f32(cx, T, V);
    x = nn_masked(cx, x, w->in.w.K, seqs);
    nn_linear_group(cx, (float *[]){p, rates}, x, (const nn_linear_w *[]){&w->in, &w->rates}, 2, T);
    nn_causal_conv(cx, u, p, all, &w->conv, seqs);
    delta_job j = {.k = cx->k, .w = w, .seqs = seqs, .u = u, .rates = rates, .y = out};
    j.state = nn_states(cx, seqs, w->state, V * w->k_dim);
    nn_for(cx, seqs->n * w->heads, w->k_dim * w->v_dim * 8 * (T / seqs->n + 1), delta_piece, &j);
    nn_norm(cx, out, out, &w->norm, T * w->heads);
    nn_columns(cx, z, p, all, C, V, T);
    nn_act_mul(cx, out, z, out, T * V, K_ACT_SILU);
    nn_linear(cx, y, out, &w->out, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}
