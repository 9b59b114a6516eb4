/* y = x wT + bias, the definition: for each output, k in chunks of 64, each chunk summed in order. */
#include <string.h>

#include "kernels/quantize.h"
#include "kernels/ref/kref.h"
#include "kernels/tiers.h"

#define CHUNK 64

static size_t pack_bytes(const k_weight *w, k_compute c, size_t M)
{
    (void)c;
    return M * w->K * sizeof(float);
}

static void pack(void *panel, const float *x, size_t ldx, const k_weight *w, k_compute c, size_t M,
                 size_t m0, size_t m1)
{
    (void)M;
    const size_t K = w->K;
    float *p = panel; // [M, K]
    for (size_t m = m0; m < m1; m++)
        for (size_t k = 0; k < K; k++)
            p[m * K + k] =
                c == K_COMPUTE_BF16 ? bf16_to_f32(f32_to_bf16(x[m * ldx + k])) : x[m * ldx + k];
}

static void gemm(float *y, size_t ldy, const void *panel, const k_weight *w, k_compute c,
                 const float *bias, size_t M, size_t n0, size_t n1)
{
    (void)c;
    const size_t K = w->K;
    const float *x = panel; // [M, K]
    for (size_t n = n0; n < n1; n++) {
        const char *row = (const char *)w->data + quant_bytes(w->dtype, n * w->stride);
        for (size_t m = 0; m < M; m++) y[m * ldy + n] = bias ? bias[n] : 0.0f;
        for (size_t k = 0; k < K; k += CHUNK) {
            const size_t len = K - k < CHUNK ? K - k : CHUNK;
            float wk[CHUNK];
            kref_fetch(wk, row, w->dtype, K, k, len);
            for (size_t m = 0; m < M; m++) {
                float sum = 0;
                for (size_t i = 0; i < len; i++) sum += x[m * K + k + i] * wk[i];
                y[m * ldy + n] += sum;
            }
        }
    }
}

void kref_gemm_init(kernel_table *t)
{
    t->pack_bytes = pack_bytes;
    t->pack = pack;
    t->gemm = gemm;
    t->gemm_grain = 8;
}
