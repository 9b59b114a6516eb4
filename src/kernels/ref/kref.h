/* Reference kernels that other reference kernels build on. */
#ifndef MLTF_KERNELS_KREF_H
#define MLTF_KERNELS_KREF_H

#include "kernels/kernels.h"

/* Elements [k, k + n) of a stored row of K, as f32. */
void kref_fetch(float *y, const void *row, mltf_dtype dtype, size_t K, size_t k, size_t n);
void kref_widen(float *y, const void *x, mltf_dtype dtype, size_t n);

#endif
