/* Recurrent states with AVX-512. */
#include "kernels/tiers.h"
#include "kernels/x86/kavx512_vec.h"
#include "kernels/x86/kx86_math.h"
#include "kernels/x86/kx86_state.h"

void kavx512_state_init(kernel_table *t)
{
    tmpl_state_init(t);
}
