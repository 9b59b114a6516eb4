/* Attention of long texts in blocks, beside some rows that see and are seen by all (PegasusX). */
#include <math.h>
#include <string.h>

#include "nn/nn.h"

/* [T, heads D] of the text and [seqs G, heads D] of the global rows. */
typedef struct {
    float *text, *global;
} both;

typedef struct {
    both q, k, v, out;
    const nn_seqs *seqs;
    const nn_attn *a;
    size_t globals, block, shift;
} block_job;

static both two(nn_ctx *cx, size_t T, size_t globals, size_t width)
{
    return (both){nn_f32(cx, T, width), nn_f32(cx, globals, width)};
}

/* Rows of a sequence from `at` to the end of their block; blocks begin `shift` rows before the text. */
static size_t rest_of_block(const block_job *j, size_t at, size_t rows)
{
    const size_t n = j->block - (at + j->shift) % j->block;
    return n < rows - at ? n : rows - at;
}

/* Each block as a sequence of its own, with the global rows in front. */
static void attend_blocks(nn_ctx *cx, const block_job *j)
{
    const nn_seqs *seqs = j->seqs;
    const size_t G = j->globals, W = j->a->heads * j->a->dim;
    size_t n = 0;
    for (size_t s = 0; s < seqs->n; s++) {
        const size_t rows = seqs->start[s + 1] - seqs->start[s];
        for (size_t at = 0; at < rows; at += rest_of_block(j, at, rows)) n++;
    }
    const nn_mark mark = nn_save(cx);
    const size_t R = seqs->rows + n * G;
    size_t *start = nn_bytes(cx, (n + 1) * sizeof *start), *from = nn_bytes(cx, R * sizeof *from);
    uint8_t *mask = nn_bytes(cx, R);
    float *q = nn_f32(cx, R, W), *k = nn_f32(cx, R, W), *v = nn_f32(cx, R, W);
    float *out = nn_f32(cx, R, W);
    if (!nn_ok(cx)) return;
    size_t b = 0, r = 0;
    for (size_t s = 0; s < seqs->n; s++) {
        const size_t first = seqs->start[s], rows = seqs->start[s + 1] - first;
        for (size_t at = 0, take; at < rows; at += take) {
            take = rest_of_block(j, at, rows);
            start[b++] = r;
            memset(mask + r, 1, G);
            memset(q + r * W, 0, G * W * sizeof *q); // nobody reads what they saw here
            memcpy(k + r * W, j->k.global + s * G * W, G * W * sizeof *k);
            memcpy(v + r * W, j->v.global + s * G * W, G * W * sizeof *v);
            for (size_t i = 0; i < G; i++) from[r++] = seqs->rows;
            memcpy(q + r * W, j->q.text + (first + at) * W, take * W * sizeof *q);
            memcpy(k + r * W, j->k.text + (first + at) * W, take * W * sizeof *k);
            memcpy(v + r * W, j->v.text + (first + at) * W, take * W * sizeof *v);
            for (size_t i = 0; i < take; i++, r++) {
                from[r] = first + at + i;
                mask[r] = !seqs->key_mask || seqs->key_mask[from[r]];
            }
        }
    }
    start[b] = r;
    const nn_seqs blocks = {.n = n, .start = start, .rows = R, .key_mask = mask};
    nn_attend(cx, out, (nn_heads){q, W, j->a->dim}, (nn_heads){k, W, j->a->dim},
              (nn_heads){v, W, j->a->dim}, &blocks, j->a, 0);
    for (r = 0; nn_ok(cx) && r < R; r++)
        if (from[r] < seqs->rows) memcpy(j->out.text + from[r] * W, out + r * W, W * sizeof *q);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* Scores [G, n] of the global rows of one head for n keys. */
static void global_scores(nn_ctx *cx, float *y, const float *q, const float *k, size_t n, size_t G,
                          size_t D, size_t W)
{
    const nn_linear_w keys = {.w = {.data = k, .dtype = DT_F32, .N = n, .K = D, .stride = W}};
    nn_linear_strided(cx, y, n, q, W, &keys, G);
}

/* y [D] += the values of n keys (row stride W), each by its weight. */
static void mix(float *y, const float *p, const float *v, size_t n, size_t D, size_t W)
{
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < D; d++) y[d] += p[i] * v[i * W + d];
}

/* The global rows of one sequence, over themselves and the whole text. */
static void attend_globals(nn_ctx *cx, const block_job *j, size_t s)
{
    const size_t G = j->globals, D = j->a->dim, W = j->a->heads * D, first = j->seqs->start[s];
    const size_t n = j->seqs->start[s + 1] - first;
    const uint8_t *mask = j->seqs->key_mask ? j->seqs->key_mask + first : NULL;
    const nn_mark mark = nn_save(cx);
    float *own = nn_f32(cx, G, G), *text = nn_f32(cx, G, n);
    for (size_t h = 0; nn_ok(cx) && h < j->a->heads; h++) {
        const size_t at = s * G * W + h * D, in_text = first * W + h * D;
        global_scores(cx, own, j->q.global + at, j->k.global + at, G, G, D, W);
        global_scores(cx, text, j->q.global + at, j->k.text + in_text, n, G, D, W);
        for (size_t g = 0; nn_ok(cx) && g < G; g++) {
            float *a = own + g * G, *b = text + g * n, most = -INFINITY, sum = 0;
            float *y = j->out.global + at + g * W;
            for (size_t i = 0; i < n; i++)
                if (mask && !mask[i]) b[i] = -INFINITY;
            for (size_t i = 0; i < G; i++) most = fmaxf(most, a[i]);
            for (size_t i = 0; i < n; i++) most = fmaxf(most, b[i]);
            for (size_t i = 0; i < G; i++) sum += a[i] = expf((a[i] - most) * j->a->scale);
            for (size_t i = 0; i < n; i++) sum += b[i] = expf((b[i] - most) * j->a->scale);
            memset(y, 0, D * sizeof *y);
            mix(y, a, j->v.global + at, G, D, W);
            mix(y, b, j->v.text + in_text, n, D, W);
            for (size_t d = 0; d < D; d++) y[d] /= sum;
        }
    }
    if (nn_ok(cx)) nn_restore(cx, mark);
}

void nn_block_attention(nn_ctx *cx, float *x, float *global, const nn_attn_w *w, const nn_attn *a,
                        const nn_seqs *seqs, const nn_blocks *b)
{
    const size_t T = seqs->rows, G = b->globals * seqs->n, W = a->heads * a->dim;
    const nn_mark mark = nn_save(cx);
    block_job j = {.q = two(cx, T, G, W),
                   .k = two(cx, T, G, W),
                   .v = two(cx, T, G, W),
                   .out = two(cx, T, G, W),
                   .seqs = seqs,
                   .a = a,
                   .globals = b->globals,
                   .block = b->rows,
                   .shift = b->shift};
    const nn_linear_w *const in[] = {&w->q, &w->k, &w->v};
    nn_linear_group(cx, (float *[]){j.q.text, j.k.text, j.v.text}, x, in, 3, T);
    nn_linear_group(cx, (float *[]){j.q.global, j.k.global, j.v.global}, global, in, 3, G);
    if (nn_ok(cx)) attend_blocks(cx, &j);
    for (size_t s = 0; nn_ok(cx) && s < seqs->n; s++) attend_globals(cx, &j, s);
    nn_linear(cx, x, j.out.text, &w->o, T);
    nn_linear(cx, global, j.out.global, &w->o, G);
    if (nn_ok(cx)) nn_restore(cx, mark);
}
