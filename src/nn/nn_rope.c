/* Rotary positions: cosines and sines once a forward, rotation in place. */
#include <math.h>

#include "nn/nn.h"

/* NTK's base for a sequence of `len` positions, as transformers computes them when a sequence
 * outgrows what the model was trained for. */
static float ntk_theta(const nn_rope *r, size_t len)
{
    const float grow = r->factor * (float)len / (float)r->border - (r->factor - 1);
    return r->theta * powf(grow, (float)r->dim / (float)(r->dim - 2));
}

nn_rope_rows nn_rope_prepare(nn_ctx *cx, const nn_rope *r, const nn_seqs *seqs)
{
    const size_t T = seqs->rows, half = r->dim / 2;
    float *cosines = nn_f32(cx, T, half), *sines = nn_f32(cx, T, half), *freq = nn_f32(cx, 1, half);
    for (size_t s = 0; nn_ok(cx) && s < seqs->n; s++) {
        int32_t last = 0;
        for (size_t t = seqs->start[s]; t < seqs->start[s + 1]; t++)
            if (seqs->pos[t] > last) last = seqs->pos[t];
        const size_t len = (size_t)last + 1;
        const bool beyond = r->border && len > r->border;
        const float scale = beyond && r->far ? r->far_scale : r->scale;
        const float theta = beyond && !r->far ? ntk_theta(r, len) : 0;
        for (size_t i = 0; i < half; i++)
            freq[i] = !beyond  ? r->inv_freq[i]
                      : r->far ? r->far[i]
                               : 1.0f / powf(theta, (float)(2 * i) / (float)r->dim);
        for (size_t t = seqs->start[s]; t < seqs->start[s + 1]; t++)
            for (size_t i = 0; i < half; i++) {
                const float angle = freq[i] * (float)seqs->pos[t]; // rounded to f32, as Python does
                cosines[t * half + i] = cosf(angle) * scale;
                sines[t * half + i] = sinf(angle) * scale;
            }
    }
    return (nn_rope_rows){
        .cos = cosines, .sin = sines, .dim = r->dim, .interleaved = r->interleaved};
}

typedef struct {
    float *x;
    size_t ld, head, heads;
    const nn_rope_rows *r;
} rope_job;

static void rope_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const rope_job *j = arg;
    const size_t half = j->r->dim / 2;
    const size_t step = j->r->interleaved ? 2 : 1, away = j->r->interleaved ? 1 : half;
    for (size_t t = first; t < last; t++) {
        const float *c = j->r->cos + t * half, *s = j->r->sin + t * half;
        for (size_t h = 0; h < j->heads; h++) {
            float *x = j->x + t * j->ld + h * j->head;
            for (size_t i = 0; i < half; i++) {
                const float a = x[i * step], b = x[i * step + away];
                x[i * step] = a * c[i] - b * s[i];
                x[i * step + away] = b * c[i] + a * s[i];
            }
        }
    }
}

void nn_rope_apply(nn_ctx *cx, float *x, size_t ld, size_t head, size_t heads,
                   const nn_rope_rows *r, size_t T)
{
    if (!nn_ok(cx)) return;
    rope_job j = {.x = x, .ld = ld, .head = head, .heads = heads, .r = r};
    nn_for(cx, T, heads * r->dim * 4, rope_piece, &j);
}
