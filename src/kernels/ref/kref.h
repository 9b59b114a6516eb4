/* Reference kernels that other reference kernels build on. */
#ifndef MLTF_KERNELS_KREF_H
#define MLTF_KERNELS_KREF_H

#include "kernels/kernels.h"

void kref_widen(float *y, const void *x, mltf_dtype dtype, size_t n);
float kref_act1(float x, k_act act);

#endif
