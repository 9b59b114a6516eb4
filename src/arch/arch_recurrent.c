/* Recurrent mixers of decoders: their tensors' names, and how a layer runs them. */
#include "arch/arch_recurrent.h"

#include <math.h>
#include <stdio.h>

/* -exp(A_log), [rows, cols] turned. */
static const float *load_decay(nn_loader *ld, size_t rows, size_t cols)
{
    float *a = nn_load_columns(ld, "A_log", rows, cols);
    for (size_t i = 0; a && i < rows * cols; i++) a[i] = -expf(a[i]);
    return a;
}

size_t arch_mamba_inner(arch_config *c, const char *key, const char *expand, size_t hidden)
{
    const float by = cfg_float(c, expand, 2);
    if (!(by > 0 && by <= 64)) {
        cfg_fail(c, "\"%s\" must be above 0 and at most 64", expand);
        return 1;
    }
    return cfg_dim(c, key, (size_t)(by * (float)hidden));
}

size_t arch_mamba_rank(arch_config *c, const char *key, size_t hidden)
{
    const json *v = cfg_get(c, key);
    if (!v || str_is(json_string(v, STR("")), "auto")) return (hidden + 15) / 16;
    return cfg_dim(c, key, 1);
}

static void load_norm(nn_loader *ld, nn_norm_w *w, const char *name, size_t n, const mamba_plan *p)
{
    if (p->plain_norms) *w = (nn_norm_w){.kind = NN_NORM_RMS, .n = n, .eps = p->eps};
    if (name) nn_load_norm(ld, w, name, NN_NORM_RMS, n, p->eps, 0);
}

static void mamba_mixer(arch_run *r, float *y, const float *x, const decoder_layer *w)
{
    nn_mamba(r->cx, y, x, w->own, &r->seqs);
}

void arch_mamba_load(arch_build *b, decoder_layer *l, const char *name, size_t hidden,
                     const mamba_plan *p)
{
    nn_loader *ld = &b->ld;
    size_t *state = &b->m->cache_shape.state;
    const size_t I = p->inner;
    nn_mamba_w *w = arch_new(b, 1, sizeof *w);
    l->own = w;
    l->mixer = mamba_mixer;
    if (!w) return;
    const size_t back = nn_scope_enter(ld, name);
    w->inner = I;
    w->n = p->n;
    w->rank = p->rank;
    w->act = p->act;
    nn_load_linear(ld, &w->in, "in_proj", 2 * I, hidden, p->proj);
    nn_conv_load(ld, &w->conv, "conv1d", I, p->width, p->act, p->conv, state);
    nn_load_linear(ld, &w->x_proj, "x_proj", p->rank + 2 * p->n, I, NN_NO_BIAS);
    nn_load_linear(ld, &w->dt_proj, "dt_proj", I, p->rank, NN_BIAS);
    nn_load_linear(ld, &w->out, "out_proj", hidden, I, p->proj);
    load_norm(ld, &w->dt_norm, p->dt_norm, p->rank, p);
    load_norm(ld, &w->b_norm, p->b_norm, p->n, p);
    load_norm(ld, &w->c_norm, p->c_norm, p->n, p);
    w->a = load_decay(ld, I, p->n);
    w->d = nn_load_vector(ld, "D", I, 0);
    w->state = *state;
    *state += I * p->n;
    nn_scope_leave(ld, back);
}
