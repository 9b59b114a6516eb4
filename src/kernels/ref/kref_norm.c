/* Row-wise norms and softmax; sums in double, so that they are the yardstick for the others. */
#include <math.h>

#include "kernels/tiers.h"

static void layer_norm(float *y, const float *x, const float *weight, const float *bias, size_t M,
                       size_t N, float eps)
{
    for (size_t m = 0; m < M; m++, x += N, y += N) {
        double sum = 0, squares = 0;
        for (size_t n = 0; n < N; n++) sum += x[n];
        const float mean = (float)(sum / (double)N);
        for (size_t n = 0; n < N; n++) squares += (double)(x[n] - mean) * (x[n] - mean);
        const float inv = 1.0f / sqrtf((float)(squares / (double)N) + eps);
        for (size_t n = 0; n < N; n++)
            y[n] = (x[n] - mean) * inv * (weight ? weight[n] : 1.0f) + (bias ? bias[n] : 0.0f);
    }
}

static void rms_norm(float *y, const float *x, const float *weight, float weight_offset, size_t M,
                     size_t N, float eps)
{
    for (size_t m = 0; m < M; m++, x += N, y += N) {
        double squares = 0;
        for (size_t n = 0; n < N; n++) squares += (double)x[n] * x[n];
        const float inv = 1.0f / sqrtf((float)(squares / (double)N) + eps);
        for (size_t n = 0; n < N; n++)
            y[n] = x[n] * inv * (weight ? weight[n] + weight_offset : 1.0f);
    }
}

static void softmax(float *x, size_t M, size_t N)
{
    for (size_t m = 0; m < M; m++, x += N) {
        float max = -INFINITY;
        for (size_t n = 0; n < N; n++)
            if (x[n] > max || x[n] != x[n]) max = x[n];
        double sum = 0;
        for (size_t n = 0; n < N; n++) sum += x[n] = expf(x[n] - max);
        for (size_t n = 0; n < N; n++) x[n] = (float)(x[n] / sum);
    }
}

void kref_norm_init(kernel_table *t)
{
    t->layer_norm = layer_norm;
    t->rms_norm = rms_norm;
    t->softmax = softmax;
}
