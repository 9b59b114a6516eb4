/* Arithmetic that gives the same bits on every machine: sums run in index order in double, and the
 * exponential uses only additions and multiplications (libm picks its variants by the CPU). */
#ifndef MLTF_GEN_GEN_MATH_H
#define MLTF_GEN_GEN_MATH_H

#include <stddef.h>
#include <stdint.h>

#include "gen/gen.h"

double
gen_exp(double x); /* relative error below 1e-15; 0 for x < -745, inf past 709.78, NaN stays */

/* log(sum(exp(x))) of x[0..n): NaN if any is NaN; -inf if all are -inf. */
double gen_logsumexp(const float *x, size_t n);
/* The k most probable of V scores, falling; lse: their gen_logsumexp(). Where V < k the rest has id -1. */
void gen_top_logprobs(gen_logprob *top, size_t k, const float *x, size_t V, double lse);
void gen_log_softmax(float *x, size_t n); /* in place, as torch.log_softmax */

/* Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): a pure function of the seed and of who
 * asks, so that neither batch nor thread count nor order can change a draw. */
double gen_uniform(uint64_t seed, uint32_t sequence, uint32_t step, uint32_t draw); /* in [0, 1) */
uint64_t gen_random_seed(void); /* from the system, for calls that gave none */

#endif
