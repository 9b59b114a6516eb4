/* Activation functions, one value at a time. Names and constants follow transformers' ACT2FN. */
#include <math.h>

#include "kernels/tiers.h"

static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

static float gelu(float x)
{
    return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}

/* tanh(log(1 + e^x)) without overflow: with w = e^x, (w² + 2w) / (w² + 2w + 2). */
static float mish(float x)
{
    if (x > 20.0f) return x;
    const float w = expf(x), num = w * (w + 2.0f);
    return x * (num / (num + 2.0f));
}

static float act1(float x, k_act act)
{
    switch (act) {
    case K_ACT_RELU:
        return x > 0.0f || x != x ? x : 0.0f;
    case K_ACT_GELU:
        return gelu(x);
    case K_ACT_GELU_TANH:
        return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case K_ACT_GELU_QUICK:
        return x * sigmoid(1.702f * x);
    case K_ACT_SILU:
        return x * sigmoid(x);
    case K_ACT_TANH:
        return tanhf(x);
    case K_ACT_SIGMOID:
        return sigmoid(x);
    case K_ACT_RELU2:
        return x > 0.0f || x != x ? x * x : 0.0f;
    case K_ACT_GELU_10:
        x = gelu(x);
        return x < -10.0f ? -10.0f : x > 10.0f ? 10.0f : x;
    case K_ACT_MISH:
        return mish(x);
    case K_ACT_NONE:
    case K_ACT_COUNT:
        break;
    }
    return x;
}

static void act(float *y, const float *x, size_t n, k_act a)
{
    for (size_t i = 0; i < n; i++) y[i] = act1(x[i], a);
}

static void act_mul(float *y, const float *gate, const float *up, size_t n, k_act a)
{
    for (size_t i = 0; i < n; i++) y[i] = act1(gate[i], a) * up[i];
}

void kref_act_init(kernel_table *t)
{
    t->act = act;
    t->act_mul = act_mul;
}
