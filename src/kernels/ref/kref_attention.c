/* Attention of one head, one query at a time: scores, softmax, weighted sum of the values. */
#include <math.h>

#include "kernels/ref/kref.h"
#include "kernels/tiers.h"

static float stored(const void *x, mltf_dtype t, size_t i)
{
    float f;
    kref_fetch(&f, x, t, 0, i, 1);
    return f;
}

static bool hidden(const k_attn_opts *o, size_t i, size_t j)
{
    const size_t pos = o->pos0 + (o->one_place ? 0 : i);
    if (o->key_mask && !o->key_mask[j]) return true;
    if (o->causal && j > pos) return true;
    if (o->always && o->always[j]) return false;
    return o->window && (j > pos ? j - pos : pos - j) >= o->window;
}

static void attention(float *out, size_t ldo, const float *q, size_t ldq, const void *k, size_t ldk,
                      const void *v, size_t ldv, mltf_dtype kv, size_t Tq, size_t Tk, size_t D,
                      size_t Dv, const k_attn_opts *o, void *scratch)
{
    float *s = scratch; // [Tk] scores, then probabilities
    for (size_t i = 0; i < Tq; i++) {
        float max = o->sink ? *o->sink : -INFINITY;
        for (size_t j = 0; j < Tk; j++) {
            s[j] = -INFINITY;
            if (hidden(o, i, j)) continue;
            float dot = 0;
            for (size_t d = 0; d < D; d++) dot += q[i * ldq + d] * stored(k, kv, j * ldk + d);
            s[j] = dot * o->scale;
            if (o->softcap != 0.0f) s[j] = o->softcap * tanhf(s[j] / o->softcap);
            if (o->alibi != 0.0f) s[j] += o->alibi * ((float)j - (float)(Tk - 1));
            if (o->bias) s[j] += o->bias[i * o->ld_bias + j];
            if (s[j] > max || s[j] != s[j]) max = s[j];
        }
        double sum = o->sink && max > -INFINITY ? expf(*o->sink - max) : 0;
        for (size_t j = 0; j < Tk; j++) {
            s[j] = s[j] == -INFINITY ? 0.0f : expf(s[j] - max);
            sum += s[j];
        }
        const float inv =
            sum == 0 ? 0.0f : (float)(1.0 / sum); // a query that sees no key gets zeros
        float *y = out + i * ldo;
        for (size_t d = 0; d < Dv; d++) y[d] = 0;
        for (size_t j = 0; j < Tk; j++) {
            const float p = s[j] * inv;
            if (o->probs) o->probs[i * Tk + j] = p;
            if (p == 0.0f) continue;
            for (size_t d = 0; d < Dv; d++) y[d] += p * stored(v, kv, j * ldv + d);
        }
    }
}

static size_t attn_scratch(size_t Tq, size_t Tk, size_t D, size_t Dv)
{
    (void)Tq, (void)D, (void)Dv;
    return Tk * sizeof(float);
}

void kref_attention_init(kernel_table *t)
{
    t->attention = attention;
    t->attn_scratch = attn_scratch;
}
