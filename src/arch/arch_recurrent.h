/* Layers that keep a state, as families load them and as arch_decoder.h runs them: load the weights in the layer's
 * scope, then `l->own = …; l->mixer = …;`. */
#ifndef MLTF_ARCH_RECURRENT_H
#define MLTF_ARCH_RECURRENT_H

#include "arch/arch_decoder.h"
#include "nn/nn_recurrent.h"

enum {
    ARCH_CONV_MAX = 64,
    ARCH_STATE_MAX = 4096
}; /* rows that a convolution sees, states of a channel */

/* Mamba: in_proj, conv1d, x_proj, dt_proj, A_log, D, out_proj under `name` ("mixer"). */
typedef struct mamba_plan {
    size_t inner, n, rank, width;
    k_act act;
    unsigned proj, conv;                   /* NN_BIAS or NN_NO_BIAS */
    const char *dt_norm, *b_norm, *c_norm; /* rms; NULL: none */
    bool plain_norms;                      /* rms without weights, on all three */
    float eps;
} mamba_plan;
/* `key` of config.json, or `expand` (2 unless it says so) times the hidden size. */
size_t arch_mamba_inner(arch_config *c, const char *key, const char *expand, size_t hidden);
/* "auto": a sixteenth of the hidden size, rounded up. */
size_t arch_mamba_rank(arch_config *c, const char *key, size_t hidden);
/* The mixer of a layer that has no attention. */
void arch_mamba_load(arch_build *b, decoder_layer *l, const char *name, size_t hidden,
                     const mamba_plan *p);

#endif
