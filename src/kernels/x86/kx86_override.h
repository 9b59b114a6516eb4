/* How a product takes its place in the table, before those that stand there: behind kx86_gemm.h, and
 *
 *     static bool takes(w, c)    this product multiplies these weights in that arithmetic
 *     GEMM_BEGIN, GEMM_END       what surrounds it (optional)
 *
 * Weights that it does not take go to the product that stood in the table before. */
#ifndef MLTF_KERNELS_KX86_OVERRIDE_H
#define MLTF_KERNELS_KX86_OVERRIDE_H

#ifndef GEMM_BEGIN
#define GEMM_BEGIN (void)0
#define GEMM_END   (void)0
#endif

static kernel_table before;

static size_t own_pack_bytes(const k_weight *w, k_compute c, size_t M)
{
    return takes(w, c) ? tmpl_pack_bytes(M, w->K) : before.pack_bytes(w, c, M);
}

static void own_pack(void *panel, const float *x, size_t ldx, const k_weight *w, k_compute c,
                     size_t M, size_t m0, size_t m1)
{
    if (takes(w, c))
        tmpl_pack(panel, x, ldx, w->K, M, m0, m1);
    else
        before.pack(panel, x, ldx, w, c, M, m0, m1);
}

static void own_gemm(float *y, size_t ldy, const void *panel, const k_weight *w, k_compute c,
                     const float *bias, size_t M, size_t n0, size_t n1)
{
    if (!takes(w, c)) {
        before.gemm(y, ldy, panel, w, c, bias, M, n0, n1);
        return;
    }
    GEMM_BEGIN;
    tmpl_gemm(y, ldy, panel, w, bias, M, n0, n1);
    GEMM_END;
}

static void override_gemm(kernel_table *t)
{
    before = *t;
    t->pack_bytes = own_pack_bytes;
    t->pack = own_pack;
    t->gemm = own_gemm;
}

#endif
