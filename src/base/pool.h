/* Threads for compute: fork, join, nothing else.
 *
 * A pool has n-1 workers beside the caller. They spin for a short while after a job and then sleep on
 * a futex, so that a decode step costs well under a microsecond to start, and an idle server costs
 * nothing. One job at a time: a second caller runs its job alone on its own thread instead of waiting. */
#ifndef MLTF_BASE_POOL_H
#define MLTF_BASE_POOL_H

#include <stddef.h>

#include "base/status.h"

typedef struct mltf_pool mltf_pool;

/* threads 0: MLTF_NUM_THREADS, else the CPUs that this process may use (affinity and cgroup quota). */
mltf_status pool_new(mltf_pool **out, int threads, mltf_err *err);
void pool_free(mltf_pool *p);
int pool_threads(const mltf_pool *p); /* workers and the caller; 1 for NULL */

/* fn(arg, first, last, worker) for pieces of [0, n) of at least `grain` items, together covering it
 * once. Workers have numbers below pool_threads(). Returns when all are done. pool NULL: the caller alone. */
typedef void (*pool_fn)(void *arg, size_t first, size_t last, int worker);
void pool_for(mltf_pool *p, size_t n, size_t grain, pool_fn fn, void *arg);

#endif
