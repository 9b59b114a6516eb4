/* Linear layers, embeddings, norms and the two forms of MLP: cut into pieces for the pool. */
#include <math.h>
#include <string.h>

#include "kernels/quantize.h"
#include "nn/nn.h"

nn_linear_w nn_linear_rows(const nn_linear_w *w, size_t n0, size_t n)
{
    nn_linear_w r = *w;
    if (!r.w.data) return r;
    r.w.data = (const char *)w->w.data + n0 * quant_bytes(w->w.dtype, w->w.stride);
    r.w.N = n;
    if (w->bias) r.bias = w->bias + n0;
    if (w->gain) r.gain = w->gain + n0;
    if (w->gain_bias) r.gain_bias = w->gain_bias + n0;
    if (w->lora_b.data) {
        r.lora_b.data = (const float *)w->lora_b.data + n0 * w->lora_b.stride;
        r.lora_b.N = n;
    }
    return r;
}

nn_linear_w nn_linear_tied(const nn_embed_w *e, k_compute compute)
{
    return (nn_linear_w){.w = e->w, .compute = compute};
}

/* ------------------------------------------------------------------ linear */

enum {
    GROUP_MAX = 4,
    PACK_ROWS =
        16, // rows are packed by so many: panels keep blocks of tokens together, a cache line for all of them
};

typedef struct {
    const nn_linear_w *w;
    const float *x;
    float *y;
    size_t ldy;
    const void *panel; // x packed
    size_t end;        // grains up to and with this one
} linear_part;

/* Layers of one type, K and compute type that run together, on inputs that some may share. */
typedef struct {
    const kernel_table *k;
    linear_part *part; // [n]
    size_t n, inputs;  // the i-th layer takes input i % inputs
    char *panels;      // [inputs] of panel_bytes
    size_t panel_bytes, ldx, T;
} linear_job;

static void pack_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const linear_job *j = arg;
    const size_t pieces = (j->T + PACK_ROWS - 1) / PACK_ROWS; // of an input
    while (first < last) {
        const size_t i = first / pieces, from = first % pieces;
        const size_t to = last - i * pieces < pieces ? last - i * pieces : pieces;
        const linear_part *p = &j->part[i];
        j->k->pack(j->panels + i * j->panel_bytes, p->x, j->ldx, &p->w->w, p->w->compute, j->T,
                   from * PACK_ROWS, to * PACK_ROWS < j->T ? to * PACK_ROWS : j->T);
        first += to - from;
    }
}

static void gemm_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const linear_job *j = arg;
    const size_t g = j->k->gemm_grain;
    for (size_t i = 0, begin = 0; i < j->n; begin = j->part[i].end, i++) {
        const linear_part *p = &j->part[i];
        const size_t a = first > begin ? first : begin, b = last < p->end ? last : p->end;
        if (a >= b) continue;
        const nn_linear_w *w = p->w;
        const size_t n0 = (a - begin) * g, n1 = (b - begin) * g < w->w.N ? (b - begin) * g : w->w.N;
        j->k->gemm(p->y, p->ldy, p->panel, &w->w, w->compute, w->bias, j->T, n0, n1);
    }
}

static void linear_run(nn_ctx *cx, linear_job *j)
{
    const nn_linear_w *w = j->part[0].w;
    const nn_mark mark = nn_save(cx);
    j->k = cx->k;
    j->panel_bytes = (j->k->pack_bytes(&w->w, w->compute, j->T) + 63) / 64 * 64;
    j->panels = nn_bytes(cx, j->panel_bytes * j->inputs);
    if (!nn_ok(cx)) return;
    nn_for(cx, (j->T + PACK_ROWS - 1) / PACK_ROWS * j->inputs, w->w.K * 2 * PACK_ROWS, pack_piece,
           j);
    size_t grains = 0;
    for (size_t i = 0; i < j->n; i++) {
        grains += (j->part[i].w->w.N + j->k->gemm_grain - 1) / j->k->gemm_grain;
        j->part[i].end = grains;
        j->part[i].panel = j->panels + i % j->inputs * j->panel_bytes;
    }
    nn_for(cx, grains, 2 * j->T * w->w.K * j->k->gemm_grain, gemm_piece, j);
    nn_restore(cx, mark);
}

/* y += lora_b (lora_a x): two thin layers in f32. */
static void add_lora(nn_ctx *cx, float *y, size_t ldy, const float *x, size_t ldx,
                     const nn_linear_w *w, size_t T)
{
    const size_t r = w->lora_a.N, N = w->w.N;
    const nn_mark mark = nn_save(cx);
    const nn_linear_w a = {.w = w->lora_a}, b = {.w = w->lora_b};
    float *low = nn_f32(cx, T, r), *add = nn_f32(cx, T, N);
    nn_linear_strided(cx, low, r, x, ldx, &a, T);
    nn_linear_strided(cx, add, N, low, r, &b, T);
    for (size_t t = 0; nn_ok(cx) && t < T; t++)
        cx->k->add(y + t * ldy, y + t * ldy, add + t * N, N);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

/* What an adapter does to a layer's output. */
static void adapt(nn_ctx *cx, float *y, size_t ldy, const float *x, size_t ldx,
                  const nn_linear_w *w, size_t T)
{
    if (w->lora_a.data) add_lora(cx, y, ldy, x, ldx, w, T);
    for (size_t t = 0; nn_ok(cx) && w->gain && t < T; t++)
        for (size_t n = 0; n < w->w.N; n++)
            y[t * ldy + n] = y[t * ldy + n] * w->gain[n] + (w->gain_bias ? w->gain_bias[n] : 0.0f);
}

void nn_linear_strided(nn_ctx *cx, float *y, size_t ldy, const float *x, size_t ldx,
                       const nn_linear_w *w, size_t T)
{
    if (!nn_ok(cx) || T == 0) return;
    const nn_mark mark = nn_save(cx);
    if (w->in_gain) {
        float *scaled = nn_f32(cx, T, w->w.K);
        for (size_t t = 0; nn_ok(cx) && t < T; t++)
            for (size_t k = 0; k < w->w.K; k++)
                scaled[t * w->w.K + k] = x[t * ldx + k] * w->in_gain[k];
        x = scaled;
        ldx = w->w.K;
    }
    if (!nn_ok(cx)) return;
    linear_part part = {.w = w, .x = x, .y = y, .ldy = ldy};
    linear_job j = {.part = &part, .n = 1, .inputs = 1, .ldx = ldx, .T = T};
    linear_run(cx, &j);
    adapt(cx, y, ldy, x, ldx, w, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

void nn_linear(nn_ctx *cx, float *y, const float *x, const nn_linear_w *w, size_t T)
{
    nn_linear_strided(cx, y, w->w.N, x, w->w.K, w, T);
}

void nn_linear_each(nn_ctx *cx, float *y, size_t ldy, size_t y_step, const float *x, size_t ldx,
                    size_t x_step, const nn_linear_w *w, size_t n, size_t T)
{
    if (!nn_ok(cx) || T == 0 || n == 0) return;
    const nn_mark mark = nn_save(cx);
    linear_part *part = nn_bytes(cx, n * sizeof *part);
    if (!nn_ok(cx)) return;
    for (size_t i = 0; i < n; i++)
        part[i] = (linear_part){.w = &w[i], .x = x + i * x_step, .y = y + i * y_step, .ldy = ldy};
    linear_job j = {.part = part, .n = n, .inputs = n, .ldx = ldx, .T = T};
    linear_run(cx, &j);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static bool same_panel(const nn_linear_w *a, const nn_linear_w *b)
{
    return a->w.dtype == b->w.dtype && a->w.K == b->w.K && a->compute == b->compute;
}

static bool adapted(const nn_linear_w *w)
{
    return w->in_gain || w->gain || w->lora_a.data;
}

void nn_linear_grouped(nn_ctx *cx, float *const *y, const float *x, const nn_linear_w *const *w,
                       size_t n, size_t K, size_t T)
{
    if (!nn_ok(cx) || T == 0 || n == 0) return;
    bool together = true;
    for (size_t i = 0; i < n; i++)
        together = together && same_panel(w[0], w[i]) && (n == 1 || !adapted(w[i]));
    for (size_t i = 0; !together && i < n; i++) nn_linear_grouped(cx, y + i, x, w + i, 1, K, T);
    if (!together) return;
    const size_t k = w[0]->w.K, groups = K / k;
    const nn_mark mark = nn_save(cx);
    nn_linear_w *block = nn_bytes(cx, n * groups * sizeof *block);
    linear_part *part = nn_bytes(cx, n * groups * sizeof *part);
    if (!nn_ok(cx)) return;
    for (size_t i = 0; i < n * groups; i++) {
        const size_t N = w[i / groups]->w.N, g = i % groups;
        block[i] = nn_linear_rows(w[i / groups], g * (N / groups), N / groups);
        part[i] = (linear_part){
            .w = &block[i], .x = x + g * k, .y = y[i / groups] + g * (N / groups), .ldy = N};
    }
    linear_job j = {.part = part, .n = n * groups, .inputs = groups, .ldx = K, .T = T};
    if (!adapted(w[0])) linear_run(cx, &j);
    for (size_t g = 0; adapted(w[0]) && g < groups; g++)
        nn_linear_strided(cx, part[g].y, part[g].ldy, part[g].x, K, part[g].w, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

void nn_linear_group(nn_ctx *cx, float *const *y, const float *x, const nn_linear_w *const *w,
                     size_t n, size_t T)
{
    if (!nn_ok(cx) || T == 0) return;
    for (size_t i = 0; i < n;) {
        if (!nn_has(w[i])) {
            i++;
            continue;
        }
        if (w[i]->in_gain) { // an input of its own
            nn_linear(cx, y[i], x, w[i], T);
            i++;
            continue;
        }
        linear_part part[GROUP_MAX];
        linear_job j = {.part = part, .inputs = 1, .ldx = w[i]->w.K, .T = T};
        const size_t first = i;
        for (; i < n && j.n < GROUP_MAX; i++) {
            if (!nn_has(w[i])) continue;
            if (!same_panel(w[first], w[i]) || w[i]->in_gain) break;
            part[j.n++] = (linear_part){.w = w[i], .x = x, .y = y[i], .ldy = w[i]->w.N};
        }
        linear_run(cx, &j);
        for (size_t m = 0; m < j.n; m++) adapt(cx, part[m].y, part[m].ldy, x, j.ldx, part[m].w, T);
    }
}

/* ------------------------------------------------------------------ norms */

typedef struct {
    const kernel_table *k;
    const nn_norm_w *w;
    float *y;
    const float *x;
} norm_job;

static void norm_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const norm_job *j = arg;
    const nn_norm_w *w = j->w;
    float *y = j->y + first * w->n;
    const float *x = j->x + first * w->n;
    if (w->kind == NN_NORM_AFFINE) {
        for (size_t t = first; t < last; t++, x += w->n, y += w->n)
            for (size_t i = 0; i < w->n; i++)
                y[i] = x[i] * w->weight[i] + (w->bias ? w->bias[i] : 0.0f);
        return;
    }
    if (w->turns > 1) {
        for (size_t t = first; t < last; t++, x += w->n, y += w->n) {
            const size_t at = t % w->turns * w->n;
            const float *weight = w->weight ? w->weight + at : NULL,
                        *bias = w->bias ? w->bias + at : NULL;
            if (w->kind == NN_NORM_LAYER)
                j->k->layer_norm(y, x, weight, bias, 1, w->n, w->eps);
            else
                j->k->rms_norm(y, x, weight, w->offset, 1, w->n, w->eps);
        }
        return;
    }
    if (w->kind == NN_NORM_LAYER)
        j->k->layer_norm(y, x, w->weight, w->bias, last - first, w->n, w->eps);
    else
        j->k->rms_norm(y, x, w->weight, w->offset, last - first, w->n, w->eps);
}

void nn_norm(nn_ctx *cx, float *y, const float *x, const nn_norm_w *w, size_t T)
{
    if (!nn_ok(cx)) return;
    if (w->kind == NN_NORM_NONE) {
        nn_copy(cx, y, x, T * w->n);
        return;
    }
    norm_job j = {.k = cx->k, .w = w, .y = y, .x = x};
    nn_for(cx, T, w->n * 8, norm_piece, &j);
}

void nn_add_norm(nn_ctx *cx, float *x, const float *add, const nn_norm_w *w, size_t T)
{
    nn_add(cx, x, add, T * w->n);
    nn_norm(cx, x, x, w, T);
}

/* ------------------------------------------------------------------ embeddings */

static const void *embed_row(const nn_embed_w *w, size_t row)
{
    return (const char *)w->w.data + row * quant_bytes(w->w.dtype, w->w.stride);
}

static bool embed_check(nn_ctx *cx, const int32_t *ids, const nn_embed_w *w, size_t T)
{
    if (!nn_ok(cx)) return false;
    for (size_t t = 0; t < T; t++)
        if (ids[t] < 0 || (size_t)ids[t] >= w->w.N) {
            nn_fail(cx, MLTF_INVALID_INPUT, "%s %d is outside of the model's table of %zu", w->what,
                    (int)ids[t], w->w.N);
            return false;
        }
    return true;
}

/* Row `row` of the table as [width] floats, with what an adapter adds to it. */
static void take_row(const nn_ctx *cx, float *y, const nn_embed_w *w, size_t row)
{
    cx->k->widen(y, embed_row(w, row), w->w.dtype, w->w.K);
    if (!w->lora_a.data) return;
    const size_t r = w->lora_a.K;
    const float *a = (const float *)w->lora_a.data + row * r, *b = w->lora_b.data;
    for (size_t i = 0; i < w->w.K; i++) {
        float s = 0;
        for (size_t k = 0; k < r; k++) s += b[i * r + k] * a[k];
        y[i] += s;
    }
}

void nn_embed(nn_ctx *cx, float *y, const int32_t *ids, const nn_embed_w *w, size_t T)
{
    if (!embed_check(cx, ids, w, T)) return;
    for (size_t t = 0; t < T; t++) take_row(cx, y + t * w->w.K, w, (size_t)ids[t]);
}

void nn_embed_add(nn_ctx *cx, float *y, const int32_t *ids, const nn_embed_w *w, size_t T)
{
    if (!embed_check(cx, ids, w, T)) return;
    const size_t H = w->w.K;
    const nn_mark mark = nn_save(cx);
    float *row = nn_f32(cx, 1, H);
    for (size_t t = 0; nn_ok(cx) && t < T; t++) {
        take_row(cx, row, w, (size_t)ids[t]);
        cx->k->add(y + t * H, y + t * H, row, H);
    }
    if (nn_ok(cx)) nn_restore(cx, mark);
}

void nn_embed_add_row(nn_ctx *cx, float *y, size_t row_of, const nn_embed_w *w, size_t T)
{
    const int32_t id = row_of > INT32_MAX ? -1 : (int32_t)row_of;
    if (!embed_check(cx, &id, w, 1)) return;
    const size_t H = w->w.K;
    const nn_mark mark = nn_save(cx);
    float *row = nn_f32(cx, 1, H);
    if (!nn_ok(cx)) return;
    take_row(cx, row, w, row_of);
    for (size_t t = 0; t < T; t++) cx->k->add(y + t * H, y + t * H, row, H);
    nn_restore(cx, mark);
}

/* ------------------------------------------------------------------ mlp */

/* up = gate sigmoid(1.702 gate) (up + 1), with both kept below the limit (gpt_oss). */
static void clamped_glu(nn_ctx *cx, float *up, const float *gate, float limit, size_t n)
{
    if (!nn_ok(cx)) return;
    for (size_t i = 0; i < n; i++) {
        const float g = gate[i] > limit ? limit : gate[i];
        const float u = up[i] > limit ? limit : up[i] < -limit ? -limit : up[i];
        up[i] = (u + 1.0f) * (g / (1.0f + expf(-1.702f * g)));
    }
}

/* x > 0: p x^2 + beta x;  else n (exp(min(x, eps)) - 1 - x) + beta x */
static void xielu(nn_ctx *cx, float *x, const float *w, size_t n)
{
    for (size_t i = 0; nn_ok(cx) && i < n; i++) {
        const float v = x[i], low = v < w[3] ? v : w[3];
        x[i] = v > 0 ? w[0] * v * v + w[2] * v : (expm1f(low) - v) * w[1] + w[2] * v;
    }
}

static void linear_in(nn_ctx *cx, float *y, const float *x, const nn_linear_w *w, size_t groups,
                      size_t T)
{
    if (groups)
        nn_linear_grouped(cx, &y, x, &w, 1, groups * w->w.K, T);
    else
        nn_linear(cx, y, x, w, T);
}

void nn_mlp(nn_ctx *cx, float *y, const float *x, const nn_mlp_w *w, size_t T)
{
    if (!nn_ok(cx)) return;
    const size_t F = w->up.w.N;
    const nn_mark mark = nn_save(cx);
    float *up = nn_f32(cx, T, F); // [T, F]
    if (nn_has(&w->gate)) {
        float *gate = nn_f32(cx, T, F); // [T, F]
        nn_linear_group(cx, (float *[]){gate, up}, x, (const nn_linear_w *[]){&w->gate, &w->up}, 2,
                        T);
        if (w->limit > 0)
            clamped_glu(cx, up, gate, w->limit, T * F);
        else
            nn_act_mul(cx, up, gate, up, T * F, w->act);
    } else {
        linear_in(cx, up, x, &w->up, w->groups, T);
        if (w->xielu)
            xielu(cx, up, w->xielu, T * F);
        else
            nn_act(cx, up, up, T * F, w->act);
    }
    if (w->norm.kind != NN_NORM_NONE) nn_norm(cx, up, up, &w->norm, T);
    linear_in(cx, y, up, &w->down, w->groups, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}
