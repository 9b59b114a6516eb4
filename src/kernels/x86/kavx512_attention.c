/* Attention with AVX-512. The template's head tells how. */
#include "kernels/tiers.h"
#include "kernels/x86/kavx512_vec.h"
#include "kernels/x86/kx86_math.h"

#define ROWS_BIG   8
#define ROWS_SMALL 4

#include "kernels/x86/kx86_attention.h"

void kavx512_attention_init(kernel_table *t)
{
    t->attention = tmpl_attention;
    t->attn_scratch = tmpl_attn_scratch;
}
