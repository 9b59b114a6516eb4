/* What dispatch.c calls: each tier overrides the rows it has something better for. */
#ifndef MLTF_KERNELS_TIERS_H
#define MLTF_KERNELS_TIERS_H

#include "kernels/kernels.h"

void kref_gemm_init(kernel_table *t);
void kref_attention_init(kernel_table *t);
void kref_norm_init(kernel_table *t);
void kref_act_init(kernel_table *t);
void kref_convert_init(kernel_table *t);
void kref_state_init(kernel_table *t);

#if defined(__x86_64__)
void kavx2_gemm_init(kernel_table *t);
void kavx2_attention_init(kernel_table *t);
void kavx2_rows_init(kernel_table *t);
void kavx2_state_init(kernel_table *t);
void kavx512_gemm_init(kernel_table *t);
void kavx512_attention_init(kernel_table *t);
void kavx512_rows_init(kernel_table *t);
void kavx512_state_init(kernel_table *t);
void kavx512bf16_gemm_init(kernel_table *t);
void kavx512bf16_q4_gemm_init(kernel_table *t);
void kamx_gemm_init(kernel_table *t);
#endif

#endif
