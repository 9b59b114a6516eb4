/* The real-gated linear recurrence of Griffin. */
#include "nn/nn_recurrent.h"

#include <math.h>

enum { BLOCK = 64 }; // channels that a piece takes

typedef struct {
    const nn_lru_w *w;
    const nn_seqs *seqs;
    float **state;                  // of each sequence [width]
    size_t blocks;                  // of BLOCK channels
    const float *u, *take, *forget; // [T, width], the gates before their sigmoid
    float *y;                       // [T, width]
} lru_job;

static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* A block of channels of one sequence from its first row to its last. */
static void lru_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const lru_job *j = arg;
    const size_t W = j->w->width;
    for (size_t i = first; i < last; i++) {
        const size_t s = i / j->blocks, from = i % j->blocks * BLOCK;
        const size_t end = W - from < BLOCK ? W : from + BLOCK;
        float *h = j->state[s];
        for (size_t t = j->seqs->start[s]; t < j->seqs->start[s + 1]; t++) {
            const bool begins = j->seqs->pos[t] == 0;
            for (size_t c = from; c < end; c++) {
                const size_t at = t * W + c;
                const float a = j->w->decay[c] * sigmoid(j->forget[at]);
                const float u = j->u[at] * sigmoid(j->take[at]);
                h[c] = begins ? u : expf(a) * h[c] + u * sqrtf(1.0f - expf(2 * a));
                j->y[at] = h[c];
            }
        }
    }
}

void nn_lru(nn_ctx *cx, float *y, const float *x, const nn_lru_w *w, const nn_seqs *seqs)
{
    const size_t T = seqs->rows, W = w->width, B = W / w->blocks;
    const nn_mark mark = nn_save(cx);
    float *in = nn_f32(cx, T, W), *gate = nn_f32(cx, T, W), *u = nn_f32(cx, T, W);
    float *take = nn_f32(cx, T, W), *forget = in; // in is read by then
    nn_linear_group(cx, (float *[]){in, gate}, x, (const nn_linear_w *[]){&w->in, &w->gate}, 2, T);
    nn_causal_conv(cx, u, in, W, &w->conv, seqs);
    nn_linear_each(cx, take, W, B, u, W, B, w->take, w->blocks, T);
    nn_linear_each(cx, forget, W, B, u, W, B, w->forget, w->blocks, T);
    float *out = nn_f32(cx, T, W);
    lru_job j = {.w = w, .seqs = seqs, .u = u, .take = take, .forget = forget, .y = out};
    j.state = nn_states(cx, seqs, w->state, W);
    j.blocks = (W + BLOCK - 1) / BLOCK;
    nn_for(cx, seqs->n * j.blocks, BLOCK * 128 * (T / seqs->n + 1), lru_piece, &j);
    nn_act_mul(cx, out, gate, out, T * W, w->act);
    nn_linear(cx, y, out, &w->out, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}
