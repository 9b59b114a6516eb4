/* Exponential, log-softmax and random numbers that do not depend on the machine. */
#include "gen/gen_math.h"

#include <math.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* exp(x) = 2^k * exp(r), |r| <= ln2/2, exp(r) by its series to r^13 (the next term is below 1e-17), summed in
 * pairs so that the processor can work on several terms at once. */
double gen_exp(double x)
{
    static const double inv_ln2 = 1.4426950408889634, ln2_hi = 6.93147180369123816490e-01,
                        ln2_lo = 1.90821492927058770002e-10;
    if (isnan(x)) return x;
    if (x < -745.2) return 0;
    if (x > 709.78) return INFINITY;
    const int e = (int)(x * inv_ln2 + (x < 0 ? -0.5 : 0.5)), half = e / 2;
    const double k = e, r = (x - k * ln2_hi) - k * ln2_lo, r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    const double c01 = 1.0 + r, c23 = 1.0 / 2 + r * (1.0 / 6), c45 = 1.0 / 24 + r * (1.0 / 120),
                 c67 = 1.0 / 720 + r * (1.0 / 5040), c89 = 1.0 / 40320 + r * (1.0 / 362880),
                 cab = 1.0 / 3628800 + r * (1.0 / 39916800),
                 ccd = 1.0 / 479001600 + r * (1.0 / 6227020800.0);
    const double p =
        ((c01 + r2 * c23) + r4 * (c45 + r2 * c67)) + r8 * ((c89 + r2 * cab) + r4 * ccd);
    // two exact scalings, because 2^k alone may leave the range of a double near both ends
    const uint64_t b1 = (uint64_t)(half + 1023) << 52, b2 = (uint64_t)(e - half + 1023) << 52;
    double s1, s2;
    memcpy(&s1, &b1, sizeof s1);
    memcpy(&s2, &b2, sizeof s2);
    return p * s1 * s2;
}

/* The logarithm of the sum of exp(x - *max), apart from *max, beside which it may vanish. */
static double log_mass(double *max, const float *x, size_t n)
{
    *max = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (isnan(x[i])) return NAN;
        if (x[i] > *max) *max = x[i];
    }
    if (isinf(*max)) return *max > 0 ? NAN : -INFINITY;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        if (x[i] - *max > -745) sum += gen_exp(x[i] - *max);
    return log(sum);
}

double gen_logsumexp(const float *x, size_t n)
{
    double max;
    const double mass = log_mass(&max, x, n);
    return max + mass;
}

void gen_top_logprobs(gen_logprob *top, size_t k, const float *x, size_t V, double lse)
{
    size_t n = 0;
    for (size_t i = 0; i < V && k; i++) { // insertion into the few best, in order
        if (n == k && !(x[i] > top[k - 1].logprob)) continue;
        size_t j = n < k ? n++ : k - 1;
        for (; j > 0 && top[j - 1].logprob < x[i]; j--) top[j] = top[j - 1];
        top[j] = (gen_logprob){(int32_t)i, x[i]};
    }
    for (size_t i = 0; i < n; i++) top[i].logprob = (float)((double)top[i].logprob - lse);
    for (; n < k; n++) top[n] = (gen_logprob){-1, -INFINITY};
}

void gen_log_softmax(float *x, size_t n)
{
    double max;
    const double mass = log_mass(&max, x, n);
    for (size_t i = 0; i < n; i++) x[i] = (float)(x[i] - max - mass);
}

/* ---- random numbers ------------------------------------------------------------------------ */

static void philox_round(uint32_t ctr[4], const uint32_t key[2])
{
    const uint64_t a = (uint64_t)0xD2511F53u * ctr[0], b = (uint64_t)0xCD9E8D57u * ctr[2];
    const uint32_t next[4] = {(uint32_t)(b >> 32) ^ ctr[1] ^ key[0], (uint32_t)b,
                              (uint32_t)(a >> 32) ^ ctr[3] ^ key[1], (uint32_t)a};
    memcpy(ctr, next, sizeof next);
}

double gen_uniform(uint64_t seed, uint32_t sequence, uint32_t step, uint32_t draw)
{
    uint32_t ctr[4] = {step, draw, sequence, 0x6d6c7466u},
             key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int round = 0; round < 10; round++) {
        philox_round(ctr, key);
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    const uint64_t bits = ((uint64_t)ctr[0] << 32 | ctr[1]) >> 11; // 53
    return (double)bits * 0x1p-53;
}

uint64_t gen_random_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed) return seed;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000007u ^ (uint64_t)t.tv_nsec;
}
