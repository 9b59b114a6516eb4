/* States of sequences, and the convolution along the text. */
#include "nn/nn_recurrent.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

float **nn_states(nn_ctx *cx, const nn_seqs *seqs, size_t at, size_t n)
{
    float **p = nn_bytes(cx, seqs->n * sizeof *p);
    for (size_t s = 0; nn_ok(cx) && s < seqs->n; s++) {
        const nn_cache *c = seqs->caches ? seqs->caches[s] : NULL;
        p[s] = c ? c->next + at : nn_f32(cx, 1, n);
        if (nn_ok(cx) && c) memcpy(p[s], c->state + at, n * sizeof **p);
        if (nn_ok(cx) && !c) memset(p[s], 0, n * sizeof **p);
    }
    return p;
}

void nn_mask_rows(nn_ctx *cx, float *x, size_t ld, size_t n, const nn_seqs *seqs)
{
    if (!seqs->key_mask || !nn_ok(cx)) return;
    for (size_t t = 0; t < seqs->rows; t++)
        if (!seqs->key_mask[t]) memset(x + t * ld, 0, n * sizeof *x);
}

const float *nn_masked(nn_ctx *cx, const float *x, size_t n, const nn_seqs *seqs)
{
    if (!seqs->key_mask) return x;
    float *seen = nn_f32(cx, seqs->rows, n);
    nn_copy(cx, seen, x, seqs->rows * n);
    nn_mask_rows(cx, seen, n, n, seqs);
    return seen;
}

float nn_softplus1(float x)
{
    return x <= 20 ? log1pf(expf(x)) : x;
}

typedef struct {
    float *y;
    size_t n;
} softplus_job;

enum { SOFTPLUS_CHUNK = 256 };

static void softplus_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const softplus_job *j = arg;
    const size_t end = last * SOFTPLUS_CHUNK < j->n ? last * SOFTPLUS_CHUNK : j->n;
    for (size_t i = first * SOFTPLUS_CHUNK; i < end; i++) j->y[i] = nn_softplus1(j->y[i]);
}

void nn_softplus(nn_ctx *cx, float *y, size_t n)
{
    softplus_job j = {y, n};
    nn_for(cx, (n + SOFTPLUS_CHUNK - 1) / SOFTPLUS_CHUNK, SOFTPLUS_CHUNK * 64, softplus_piece, &j);
}

/* ------------------------------------------------------------------ convolution */

void nn_conv_load(nn_loader *ld, nn_conv_w *w, const char *name, size_t channels, size_t width,
                  k_act act, unsigned flags, size_t *state)
{
    char full[64];
    *w = (nn_conv_w){.channels = channels, .width = width, .act = act, .state = *state};
    *state += (width - 1) * channels;
    snprintf(full, sizeof full, "%s.weight", name);
    w->taps = nn_load_columns(ld, full, channels, width);
    snprintf(full, sizeof full, "%s.bias", name);
    if (flags & NN_BIAS) w->bias = nn_load_vector(ld, full, channels, 0);
}

void nn_conv_rows(float *y, const float *x, size_t ldx, const float *before, const nn_conv_w *w,
                  size_t n)
{
    const size_t C = w->channels, past = w->width - 1;
    for (size_t t = 0; t < n; t++, y += C) {
        for (size_t c = 0; c < C; c++) y[c] = w->bias ? w->bias[c] : 0;
        for (size_t k = 0; k <= past; k++) {
            const float *row = t + k >= past ? x + (t + k - past) * ldx : before + (t + k) * C;
            const float *tap = w->taps + k * C;
            for (size_t c = 0; c < C; c++) y[c] += row[c] * tap[c];
        }
    }
}

typedef struct {
    const nn_conv_w *w;
    const nn_seqs *seqs;
    float **state;
    float *y;
    const float *x;
    size_t ldx;
} conv_job;

static void conv_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const conv_job *j = arg;
    const size_t C = j->w->channels, past = j->w->width - 1;
    for (size_t s = first; s < last; s++) {
        const size_t a = j->seqs->start[s], n = j->seqs->start[s + 1] - a;
        const float *x = j->x + a * j->ldx;
        float *before = j->state[s];
        nn_conv_rows(j->y + a * C, x, j->ldx, before, j->w, n);
        const size_t old = n < past ? past - n : 0; // rows in front that still count
        memmove(before, before + (past - old) * C, old * C * sizeof *before);
        for (size_t i = old; i < past; i++)
            memcpy(before + i * C, x + (n + i - past) * j->ldx, C * sizeof *before);
    }
}

void nn_causal_conv(nn_ctx *cx, float *y, const float *x, size_t ldx, const nn_conv_w *w,
                    const nn_seqs *seqs)
{
    const nn_mark mark = nn_save(cx);
    conv_job j = {.w = w, .seqs = seqs, .y = y, .x = x, .ldx = ldx};
    j.state = nn_states(cx, seqs, w->state, (w->width - 1) * w->channels);
    nn_for(cx, seqs->n, w->channels * w->width * (seqs->rows / seqs->n + 1), conv_piece, &j);
    if (nn_ok(cx)) nn_restore(cx, mark);
    nn_act(cx, y, y, seqs->rows * w->channels, w->act);
}
