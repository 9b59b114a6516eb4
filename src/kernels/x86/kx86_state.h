/* Recurrent states as a template over vector width; included behind a kavx*_vec.h and kx86_math.h. Columns do not
 * know each other, so the bits of one depend on neither P nor its place. */
#ifndef MLTF_KERNELS_KX86_STATE_H
#define MLTF_KERNELS_KX86_STATE_H

#include "kernels/kernels.h"

enum { STATE_VECTORS = 4 }; // columns that are taken together, so that their sums overlap

typedef struct {
    float *y, *h;
    const float *a, *dt; // a NULL: all decay by `decay`
    size_t ld, N;
    float decay;
    const float *k, *u, *q;
} state_task;

/* `vectors` vectors of columns from p on, of which `left` are there. */
VEC_INLINE void state_columns(const state_task *s, size_t p, size_t left, size_t vectors)
{
    vecf u[STATE_VECTORS], dt[STATE_VECTORS], sum[STATE_VECTORS];
#define LEFT(v) (vectors == 1 ? left : VL)
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++) {
        u[v] = s->k ? f_load_first(s->u + p + v * VL, LEFT(v)) : f_zero();
        dt[v] = s->a ? f_load_first(s->dt + p + v * VL, LEFT(v)) : f_set(s->decay);
        sum[v] = f_zero();
    }
    for (size_t n = 0; n < s->N; n++) {
        float *h = s->h + n * s->ld + p;
        const float *a = s->a ? s->a + n * s->ld + p : NULL;
        const vecf q = f_set(s->q[n]), k = f_set(s->k ? s->k[n] : 0);
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            const vecf decay = a ? f_exp(f_mul(f_load_first(a + v * VL, LEFT(v)), dt[v])) : dt[v];
            vecf x = f_mul(decay, f_load_first(h + v * VL, LEFT(v)));
            if (s->k) x = f_fma(k, u[v], x);
            f_store_first(h + v * VL, x, LEFT(v));
            sum[v] = f_fma(q, x, sum[v]);
        }
    }
#pragma GCC unroll 4
    for (size_t v = 0; v < vectors; v++) f_store_first(s->y + p + v * VL, sum[v], LEFT(v));
#undef LEFT
}

VEC_INLINE void state_task_run(const state_task *s, size_t P)
{
    size_t p = 0;
    for (; p + STATE_VECTORS * VL <= P; p += STATE_VECTORS * VL)
        state_columns(s, p, STATE_VECTORS * VL, STATE_VECTORS);
    for (; p < P; p += VL) state_columns(s, p, P - p, 1);
}

static void tmpl_state_step(float *y, float *h, size_t ld, float decay, const float *k,
                            const float *u, const float *q, size_t N, size_t P)
{
    const state_task s = {.y = y, .h = h, .ld = ld, .N = N, .decay = decay, .k = k, .u = u, .q = q};
    state_task_run(&s, P);
}

static void tmpl_scan_step(float *y, float *h, const float *a, size_t ld, const float *dt,
                           const float *k, const float *u, const float *q, size_t N, size_t P)
{
    const state_task s = {
        .y = y, .h = h, .a = a, .dt = dt, .ld = ld, .N = N, .k = k, .u = u, .q = q};
    state_task_run(&s, P);
}

static void tmpl_state_init(kernel_table *t)
{
    t->state_step = tmpl_state_step;
    t->scan_step = tmpl_scan_step;
}

#endif
