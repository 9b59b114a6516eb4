/* Norms, softmax, activations and conversions with AVX2. */
#include <string.h>

#include "kernels/tiers.h"
#include "kernels/x86/kavx2_vec.h"
#include "kernels/x86/kx86_math.h"
#include "kernels/x86/kx86_rows.h"

void kavx2_rows_init(kernel_table *t)
{
    tmpl_rows_init(t);
}
