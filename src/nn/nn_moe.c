/* Mixtures of experts: route rows, run each chosen expert on its rows, add in the order of the experts. */
#include <math.h>
#include <string.h>

#include "nn/nn.h"

/* The k largest of score[n], ties to the first; their numbers into out. */
static void top(uint32_t *out, size_t k, const float *score, uint8_t *taken, size_t n)
{
    memset(taken, 0, n);
    for (size_t i = 0; i < k; i++) {
        size_t best = n;
        for (size_t e = 0; e < n; e++)
            if (!taken[e] && (best == n || score[e] > score[best])) best = e;
        taken[best] = 1;
        out[i] = (uint32_t)best;
    }
}

/* allowed[e] for the experts of the groups worth most. */
static void allow_groups(uint8_t *allowed, const float *score, const nn_moe_w *w, float *worth,
                         uint32_t *best, uint8_t *taken)
{
    const size_t per = w->n / w->groups;
    for (size_t g = 0; g < w->groups; g++) {
        float first = -INFINITY, second = -INFINITY;
        for (size_t e = g * per; e < (g + 1) * per; e++) {
            if (score[e] > first) {
                second = first;
                first = score[e];
            } else if (score[e] > second) {
                second = score[e];
            }
        }
        worth[g] = w->group_by_max || per < 2 ? first : first + second;
    }
    top(best, w->top_groups, worth, taken, w->groups);
    memset(allowed, 0, w->n);
    for (size_t i = 0; i < w->top_groups; i++) memset(allowed + best[i] * per, 1, per);
}

static void softmax(float *y, size_t n)
{
    float max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) max = y[i] > max ? y[i] : max;
    for (size_t i = 0; i < n; i++) sum += y[i] = expf(y[i] - max);
    for (size_t i = 0; i < n; i++) y[i] /= sum;
}

/* The best of what `taken` leaves, weighted by the softmax over those of them that are near to it. */
static nn_choice mix(const float *logit, uint8_t *taken, size_t n, float near)
{
    size_t best = n;
    float sum = 0;
    for (size_t e = 0; e < n; e++)
        if (!taken[e] && (best == n || logit[e] > logit[best])) best = e;
    for (size_t e = 0; e < n; e++) {
        const float gap = logit[best] - logit[e], size = fmaxf(fabsf(logit[e]), logit[best]);
        if (!taken[e] && !(gap / size > near)) sum += expf(-gap);
    }
    taken[best] = 1;
    return (nn_choice){(uint32_t)best, 1 / sum};
}

nn_choice *nn_moe_route(nn_ctx *cx, const float *x, const nn_moe_w *w, size_t T)
{
    if (!nn_ok(cx)) return NULL;
    const size_t E = w->n, K = w->top_k;
    if (K == 0 || K > E || K > 64) {
        nn_fail(cx, MLTF_CORRUPT_FILE, "%zu experts a token of %zu are not possible", K, E);
        return NULL;
    }
    float *logits = nn_f32(cx, T, E), *score = nn_f32(cx, 1, E), *worth = nn_f32(cx, 1, E);
    nn_choice *out = nn_bytes(cx, T * K * sizeof *out);
    uint32_t *chosen = nn_bytes(cx, E * sizeof *chosen);
    uint8_t *taken = nn_bytes(cx, E), *allowed = nn_bytes(cx, E);
    nn_linear(cx, logits, x, &w->router, T);
    for (size_t t = 0; nn_ok(cx) && t < T; t++) {
        float *l = logits + t * E;
        if (w->scores == NN_MOE_MIXER) {
            memset(taken, 0, E);
            for (size_t i = 0; i < K; i++) out[t * K + i] = mix(l, taken, E, w->near);
            continue;
        }
        if (w->scores == NN_MOE_SOFTMAX) softmax(l, E);
        if (w->scores == NN_MOE_SIGMOID)
            for (size_t e = 0; e < E; e++) l[e] = 1.0f / (1.0f + expf(-l[e]));
        for (size_t e = 0; e < E; e++) score[e] = l[e] + (w->correction ? w->correction[e] : 0.0f);
        const bool grouped = w->groups > 1;
        if (grouped) allow_groups(allowed, score, w, worth, chosen, taken);
        for (size_t e = 0; grouped && e < E;
             e++) // worth nothing, but not forbidden: as the library has it
            if (!allowed[e]) score[e] = 0;
        top(chosen, K, score, taken, E);
        float weight[64], sum = 0;
        for (size_t i = 0; i < K; i++) weight[i] = l[chosen[i]];
        if (w->scores == NN_MOE_SOFTMAX_TOPK) softmax(weight, K);
        for (size_t i = 0; i < K; i++) sum += weight[i];
        for (size_t i = 0; i < K; i++) {
            const float share = w->normalize
                                    ? weight[i] / (w->scores == NN_MOE_SIGMOID ? sum + 1e-20f : sum)
                                    : weight[i];
            out[t * K + i] = (nn_choice){chosen[i], share * (w->scale == 0 ? 1.0f : w->scale)};
        }
    }
    return nn_ok(cx) ? out : NULL;
}

void nn_moe(nn_ctx *cx, float *y, const float *x, const nn_moe_w *w, size_t T)
{
    if (!nn_ok(cx)) return;
    const size_t H = w->router.w.K, K = w->top_k;
    const nn_mark mark = nn_save(cx);
    const nn_choice *c = nn_moe_route(cx, x, w, T);
    float *sum = nn_f32(cx, T, H), *in = nn_f32(cx, T, H), *out = nn_f32(cx, T, H);
    uint32_t *row = nn_bytes(cx, T * sizeof *row);
    float *weight = nn_f32(cx, 1, T);
    if (!nn_ok(cx)) return;
    memset(sum, 0, T * H * sizeof *sum);
    for (size_t e = 0; e < w->n; e++) {
        size_t n = 0;
        for (size_t i = 0; i < T * K; i++)
            if (c[i].expert == e) {
                row[n] = (uint32_t)(i / K);
                weight[n++] = c[i].weight;
            }
        if (w->capacity && n > w->capacity) n = w->capacity;
        if (n == 0) continue;
        for (size_t i = 0; i < n; i++) {
            memcpy(in + i * H, x + row[i] * H, H * sizeof *in);
            if (!w->weigh_input) continue;
            for (size_t h = 0; h < H; h++) in[i * H + h] *= weight[i];
            weight[i] = 1;
        }
        if (nn_has(&w->experts[e].up))
            nn_mlp(cx, out, in, &w->experts[e], n);
        else
            nn_copy(cx, out, in, n * H);
        if (!nn_ok(cx)) return;
        for (size_t i = 0; i < n; i++)
            for (size_t h = 0; h < H; h++) sum[row[i] * H + h] += out[i * H + h] * weight[i];
    }
    if (nn_has(&w->shared.up)) {
        nn_mlp(cx, out, x, &w->shared, T);
        if (nn_has(&w->shared_gate)) {
            nn_linear(cx, weight, x, &w->shared_gate, T);
            nn_act(cx, weight, weight, T, K_ACT_SIGMOID);
            for (size_t t = 0; nn_ok(cx) && t < T; t++)
                for (size_t h = 0; h < H; h++) out[t * H + h] *= weight[t];
        }
        nn_add(cx, sum, out, T * H);
    }
    for (size_t i = 0; w->bias && nn_ok(cx) && i < T * H; i++) sum[i] += w->bias[i % H];
    nn_copy(cx, y, sum, T * H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}
