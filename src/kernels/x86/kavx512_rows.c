/* Norms, softmax, activations and conversions with AVX-512. */
#include <string.h>

#include "kernels/tiers.h"
#include "kernels/x86/kavx512_vec.h"
#include "kernels/x86/kx86_math.h"
#include "kernels/x86/kx86_rows.h"

void kavx512_rows_init(kernel_table *t)
{
    tmpl_rows_init(t);
}
