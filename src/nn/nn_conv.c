/* Convolutions along the text, each column by itself. */
#include <string.h>

#include "nn/nn.h"

typedef struct {
    float *y;
    const float *x;
    const nn_taps *w;
    const nn_seqs *seqs;
    size_t C;
} conv_job;

static void convolve_rows(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const conv_job *j = arg;
    const size_t C = j->C, n = j->w->n, half = n / 2;
    size_t seq = 0;
    for (size_t t = first; t < last; t++) {
        while (t >= j->seqs->start[seq + 1]) seq++;
        const size_t a = j->seqs->start[seq], b = j->seqs->start[seq + 1];
        float *y = j->y + t * C;
        memset(y, 0, C * sizeof *y);
        for (size_t k = 0; k < n; k++) {
            if (t + k < a + half || t + k >= b + half) continue;
            const float *x = j->x + (t + k - half) * C;
            for (size_t c = 0; c < C; c++) y[c] += j->w->w[c / j->w->share * n + k] * x[c];
        }
    }
}

void nn_convolve(nn_ctx *cx, float *y, const float *x, const nn_taps *w, const nn_seqs *seqs,
                 size_t C)
{
    if (!nn_ok(cx)) return;
    conv_job j = {y, x, w, seqs, C};
    nn_for(cx, seqs->rows, 2 * C * w->n, convolve_rows, &j);
}
