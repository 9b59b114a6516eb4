/* Recurrent states, one token further. */
#include <math.h>
#include <string.h>

#include "kernels/tiers.h"

static void state_step(float *y, float *h, size_t ld, float decay, const float *k, const float *u,
                       const float *q, size_t N, size_t P)
{
    for (size_t p = 0; p < P; p++) y[p] = 0;
    for (size_t n = 0; n < N; n++, h += ld)
        for (size_t p = 0; p < P; p++) {
            h[p] = decay * h[p] + (k ? k[n] * u[p] : 0);
            y[p] += q[n] * h[p];
        }
}

static void scan_step(float *y, float *h, const float *a, size_t ld, const float *dt,
                      const float *k, const float *u, const float *q, size_t N, size_t P)
{
    for (size_t p = 0; p < P; p++) y[p] = 0;
    for (size_t n = 0; n < N; n++, h += ld, a += ld)
        for (size_t p = 0; p < P; p++) {
            h[p] = expf(a[p] * dt[p]) * h[p] + k[n] * u[p];
            y[p] += q[n] * h[p];
        }
}

void kref_state_init(kernel_table *t)
{
    t->state_step = state_step;
    t->scan_step = scan_step;
}
