/* Speed of the matrix product: bench_gemm [THREADS] [SECONDS A CELL] [hot|cold] [KIND M N K]
 *
 * KIND 0 to 7 is a row of kinds[] below; without it, all cells. One line a cell: type, compute type, M N K, GFLOP/s and GB/s of weights (best and median of 7 rounds).
 * The weights stay the same from call to call, unless `cold`: then many copies are used in turn, so
 * that each call reads its own from memory. bench/torch_linear.py times the same cells with torch. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/pool.h"
#include "kernels/kernels.h"
#include "kernels/quantize.h"

#define ROUNDS 7

static clockid_t timer =
    CLOCK_MONOTONIC; /* CPU time with one thread: other work on the machine counts for less */

static double now(void)
{
    struct timespec t;
    clock_gettime(timer, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct work {
    const kernel_table *k;
    float *x, *y;
    void *panel;
    k_weight w;
    k_compute c;
    size_t M;
} work;

static void pack_piece(void *arg, size_t m0, size_t m1, int worker)
{
    (void)worker;
    const work *w = arg;
    w->k->pack(w->panel, w->x, w->w.K, &w->w, w->c, w->M, m0, m1);
}

static void gemm_piece(void *arg, size_t n0, size_t n1, int worker)
{
    (void)worker;
    const work *w = arg;
    w->k->gemm(w->y, w->w.N, w->panel, &w->w, w->c, NULL, w->M, n0, n1);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void cell(mltf_pool *pool, double seconds, int cold, mltf_dtype t, k_compute c, size_t M,
                 size_t N, size_t K)
{
    const size_t bytes = quant_bytes(t, N * K),
                 copies = cold ? (size_t)(400e6 / (double)bytes) + 1 : 1;
    char *weights = aligned_alloc(4096, (bytes * copies + 8191) / 4096 * 4096);
    work w = {.k = kernels(), .c = c, .M = M};
    w.x = malloc(M * K * 4);
    w.y = malloc(M * N * 4);
    w.w = (k_weight){.data = weights, .dtype = t, .N = N, .K = K, .stride = K};
    w.panel = aligned_alloc(64, (w.k->pack_bytes(&w.w, c, M) + 63) / 64 * 64);
    for (size_t i = 0; i < M * K; i++) w.x[i] = (float)(rand() % 2001 - 1000) / 1000.0f;
    float *row = malloc(K * 4);
    for (size_t n = 0; n < N; n++) {
        for (size_t i = 0; i < K; i++) row[i] = (float)(rand() % 2001 - 1000) / 1000.0f;
        char *to = weights + quant_bytes(t, n * K);
        if (t == DT_Q8 || t == DT_Q4)
            quant_row(to, t, row, DT_F32, K);
        else if (t == DT_F8_E4M3)
            memset(to, 0x31, K);
        else
            w.k->narrow(to, row, t, K);
    }
    for (size_t i = 1; i < copies; i++) memcpy(weights + i * bytes, weights, bytes);
    double rate[ROUNDS];
    size_t call = 0;
    for (int r = 0; r < ROUNDS; r++) {
        const double start = now();
        double t_all;
        size_t n = 0;
        do {
            w.w.data = weights + call++ % copies * bytes;
            pool_for(pool, M, 16, pack_piece, &w);
            pool_for(pool, N, w.k->gemm_grain, gemm_piece, &w);
            n++;
        } while ((t_all = now() - start) < seconds);
        rate[r] = (double)n / t_all;
    }
    qsort(rate, ROUNDS, sizeof *rate, by_size);
    const double flop = 2e-9 * (double)M * (double)N * (double)K, gb = (double)bytes * 1e-9;
    printf("%-14s %-4s M=%-4zu N=%-5zu K=%-5zu  best %6.1f median %6.1f GFLOP/s   best %5.1f "
           "median %5.1f GB/s\n",
           dtype_name(t), c == K_COMPUTE_BF16 ? "bf16" : "f32", M, N, K, flop * rate[ROUNDS - 1],
           flop * rate[ROUNDS / 2], gb * rate[ROUNDS - 1], gb * rate[ROUNDS / 2]);
    fflush(stdout);
    free(weights);
    free(w.x);
    free(w.y);
    free(w.panel);
    free(row);
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 1,
              cold = argc > 3 && strcmp(argv[3], "cold") == 0;
    const double seconds = argc > 2 ? atof(argv[2]) : 0.03;
    if (threads == 1) timer = CLOCK_PROCESS_CPUTIME_ID;
    mltf_pool *pool = NULL;
    if (pool_new(&pool, threads, NULL)) return 1;
    printf("# tier %s, %d threads%s\n", kernels()->name, pool_threads(pool),
           cold ? ", weights from memory" : "");
    static const size_t shapes[][2] = {{384, 384},  {1536, 384}, {384, 1536},  {576, 576},
                                       {1536, 576}, {768, 768},  {2048, 2048}, {4096, 1024}};
    static const size_t Ms[] = {1, 4, 8, 16, 32, 48, 128, 512};
    static const struct {
        mltf_dtype t;
        k_compute c;
    } kinds[] = {{DT_F32, K_COMPUTE_F32}, {DT_BF16, K_COMPUTE_BF16}, {DT_BF16, K_COMPUTE_F32},
                 {DT_F16, K_COMPUTE_F32}, {DT_Q8, K_COMPUTE_F32},    {DT_Q4, K_COMPUTE_F32},
                 {DT_Q8, K_COMPUTE_BF16}, {DT_Q4, K_COMPUTE_BF16}};
    if (argc > 7) {
        const size_t k = strtoul(argv[4], NULL, 10) % (sizeof kinds / sizeof *kinds);
        cell(pool, seconds, cold, kinds[k].t, kinds[k].c, strtoul(argv[5], NULL, 10),
             strtoul(argv[6], NULL, 10), strtoul(argv[7], NULL, 10));
        pool_free(pool);
        return 0;
    }
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (size_t m = 0; m < sizeof Ms / sizeof *Ms; m++) {
                if (k >= 2 && shapes[s][0] != 576 && shapes[s][0] != 2048) continue;
                if (cold && (Ms[m] > 16 || shapes[s][0] < 576)) continue;
                cell(pool, seconds, cold, kinds[k].t, kinds[k].c, Ms[m], shapes[s][0],
                     shapes[s][1]);
            }
    pool_free(pool);
    return 0;
}
