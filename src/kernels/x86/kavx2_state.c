/* Recurrent states with AVX2 and FMA. */
#include "kernels/tiers.h"
#include "kernels/x86/kavx2_vec.h"
#include "kernels/x86/kx86_math.h"
#include "kernels/x86/kx86_state.h"

void kavx2_state_init(kernel_table *t)
{
    tmpl_state_init(t);
}
