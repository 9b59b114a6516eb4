/* Attention with AVX2. The template's head tells how. */
#include "kernels/tiers.h"
#include "kernels/x86/kavx2_vec.h"
#include "kernels/x86/kx86_math.h"

#define ROWS_BIG   4
#define ROWS_SMALL 2

#include "kernels/x86/kx86_attention.h"

void kavx2_attention_init(kernel_table *t)
{
    t->attention = tmpl_attention;
    t->attn_scratch = tmpl_attn_scratch;
}
