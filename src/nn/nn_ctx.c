/* The context of a forward pass: scratch, outputs, the first failure, taps; element-wise helpers. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "nn/nn.h"

void nn_ctx_init(nn_ctx *cx, mltf_pool *pool)
{
    *cx = (nn_ctx){.k = kernels(), .pool = pool};
}

void nn_ctx_release(nn_ctx *cx)
{
    arena_release(&cx->scratch);
    arena_release(&cx->keep);
    cx->probs = NULL;
    cx->n_probs = cx->cap_probs = 0;
}

void nn_begin(nn_ctx *cx)
{
    arena_restore(&cx->scratch, (mltf_arena_mark){0});
    arena_restore(&cx->keep, (mltf_arena_mark){0});
    cx->err = (mltf_err){0};
    cx->probs = NULL;
    cx->n_probs = cx->cap_probs = 0;
}

void nn_fail(nn_ctx *cx, mltf_status st, const char *fmt, ...)
{
    if (!nn_ok(cx)) return;
    char msg[sizeof cx->err.msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    mltf_fail(&cx->err, st, "%s", msg);
}

static void *take(nn_ctx *cx, mltf_arena *a, size_t rows, size_t cols, size_t size)
{
    if (!nn_ok(cx)) return NULL;
    size_t n;
    void *p = NULL;
    if (checked_mul(&n, rows, cols) && checked_mul(&n, n, size)) p = arena_alloc(a, n);
    if (!p) nn_fail(cx, MLTF_NO_MEMORY, "no memory for %zu x %zu activations", rows, cols);
    return p;
}

float *nn_f32(nn_ctx *cx, size_t rows, size_t cols)
{
    return take(cx, &cx->scratch, rows, cols, sizeof(float));
}

float *nn_keep(nn_ctx *cx, size_t rows, size_t cols)
{
    return take(cx, &cx->keep, rows, cols, sizeof(float));
}

void *nn_bytes(nn_ctx *cx, size_t bytes)
{
    return take(cx, &cx->scratch, bytes, 1, 1);
}

void nn_tap(nn_ctx *cx, const char *name, int layer, const float *x, size_t rows, size_t cols)
{
    if (cx->tap && nn_ok(cx)) cx->tap(cx->tap_user, name, layer, x, rows, cols);
}

void nn_for(nn_ctx *cx, size_t n, size_t cost, pool_fn fn, void *arg)
{
    enum {
        WORTH_IT = 32768
    }; // operations a piece: some ten microseconds, against one for the start
    if (!nn_ok(cx) || n == 0) return;
    const size_t grain = cost >= WORTH_IT ? 1 : WORTH_IT / (cost ? cost : 1);
    if (n <= grain) {
        fn(arg, 0, n, 0);
        return;
    }
    pool_for(cx->pool, n, grain, fn, arg);
}

/* ------------------------------------------------------------------ element-wise */

enum { CHUNK = 1024 }; // elements a piece is counted in

typedef struct {
    const kernel_table *k;
    float *y;
    const float *a, *b;
    size_t n;
    k_act act;
    float x;
} elem_job;

static size_t chunk_end(const elem_job *j, size_t last)
{
    return last * CHUNK < j->n ? last * CHUNK : j->n;
}

static void act_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const elem_job *j = arg;
    const size_t a = first * CHUNK, n = chunk_end(j, last) - a;
    j->k->act(j->y + a, j->a + a, n, j->act);
}

void nn_act(nn_ctx *cx, float *y, const float *x, size_t n, k_act act)
{
    if (!nn_ok(cx)) return;
    if (act == K_ACT_NONE) {
        nn_copy(cx, y, x, n);
        return;
    }
    elem_job j = {.k = cx->k, .y = y, .a = x, .n = n, .act = act};
    nn_for(cx, (n + CHUNK - 1) / CHUNK, CHUNK * 16, act_piece, &j);
}

static void act_mul_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const elem_job *j = arg;
    const size_t a = first * CHUNK, n = chunk_end(j, last) - a;
    j->k->act_mul(j->y + a, j->a + a, j->b + a, n, j->act);
}

void nn_act_mul(nn_ctx *cx, float *y, const float *gate, const float *up, size_t n, k_act act)
{
    if (!nn_ok(cx)) return;
    elem_job j = {.k = cx->k, .y = y, .a = gate, .b = up, .n = n, .act = act};
    nn_for(cx, (n + CHUNK - 1) / CHUNK, CHUNK * 16, act_mul_piece, &j);
}

static void add_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const elem_job *j = arg;
    const size_t a = first * CHUNK, n = chunk_end(j, last) - a;
    j->k->add(j->y + a, j->y + a, j->a + a, n);
}

void nn_add(nn_ctx *cx, float *y, const float *x, size_t n)
{
    if (!nn_ok(cx)) return;
    elem_job j = {.k = cx->k, .y = y, .a = x, .n = n};
    nn_for(cx, (n + CHUNK - 1) / CHUNK, CHUNK, add_piece, &j);
}

void nn_scale(nn_ctx *cx, float *y, float a, size_t n)
{
    if (!nn_ok(cx) || a == 1.0f) return;
    for (size_t i = 0; i < n; i++) y[i] *= a;
}

void nn_copy(nn_ctx *cx, float *y, const float *x, size_t n)
{
    if (nn_ok(cx) && y != x) memcpy(y, x, n * sizeof *y);
}

static void softcap_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    const elem_job *j = arg;
    const size_t a = first * CHUNK, end = chunk_end(j, last);
    for (size_t i = a; i < end; i++) j->y[i] /= j->x;
    j->k->act(j->y + a, j->y + a, end - a, K_ACT_TANH);
    for (size_t i = a; i < end; i++) j->y[i] *= j->x;
}

void nn_softcap(nn_ctx *cx, float *y, float cap, size_t n)
{
    if (!nn_ok(cx) || cap == 0.0f) return;
    elem_job j = {.k = cx->k, .y = y, .n = n, .x = cap};
    nn_for(cx, (n + CHUNK - 1) / CHUNK, CHUNK * 16, softcap_piece, &j);
}

void nn_clamp(nn_ctx *cx, float *y, float bound, size_t n)
{
    if (!nn_ok(cx) || bound == 0.0f) return;
    for (size_t i = 0; i < n; i++) { // NaN stays NaN
        if (y[i] > bound) y[i] = bound;
        if (y[i] < -bound) y[i] = -bound;
    }
}

void nn_columns(nn_ctx *cx, float *y, const float *x, size_t ld, size_t from, size_t n, size_t T)
{
    if (!nn_ok(cx)) return;
    for (size_t t = 0; t < T; t++) memcpy(y + t * n, x + t * ld + from, n * sizeof *y);
}

bool nn_act_find(k_act *out, mltf_str name)
{
    static const struct {
        const char *name;
        k_act act;
    } table[] = {
        {"gelu", K_ACT_GELU},
        {"gelu_new", K_ACT_GELU_TANH},
        {"gelu_fast", K_ACT_GELU_TANH},
        {"relu", K_ACT_RELU},
        {"gelu_python", K_ACT_GELU},
        {"gelu_pytorch_tanh", K_ACT_GELU_TANH},
        {"silu", K_ACT_SILU},
        {"quick_gelu", K_ACT_GELU_QUICK},
        {"gelu_python_tanh", K_ACT_GELU_TANH},
        {"swish", K_ACT_SILU},
        {"gelu_accurate", K_ACT_GELU_TANH},
        {"gelu_10", K_ACT_GELU_10},
        {"tanh", K_ACT_TANH},
        {"sigmoid", K_ACT_SIGMOID},
        {"relu2", K_ACT_RELU2},
        {"mish", K_ACT_MISH},
        {"linear", K_ACT_NONE},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (str_is(name, table[i].name)) {
            *out = table[i].act;
            return true;
        }
    return false;
}
