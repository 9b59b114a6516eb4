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
    const size_t inner = (size_t)(by * (float)hidden);
    return key ? cfg_dim(c, key, inner) : inner;
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

/* ------------------------------------------------------------------ mamba */

static void mamba_mixer(arch_run *r, float *y, const float *x, const decoder_layer *w)
{
    nn_mamba(r->cx, y, x, w->own, &r->seqs);
}

void arch_mamba_layer(arch_build *b, decoder_layer *l, const char *name, size_t hidden,
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

/* ------------------------------------------------------------------ mamba-2 */

void arch_mamba2_config(arch_config *c, mamba2_plan *p)
{
    p->heads = cfg_dim(c, "mamba_n_heads|num_heads", p->heads);
    const json *dim = cfg_get(c, "mamba_d_head|head_dim");
    p->dim = !dim || str_is(json_string(dim, STR("")), "auto")
                 ? p->inner / p->heads
                 : cfg_dim(c, "mamba_d_head|head_dim", p->dim);
    p->groups = cfg_dim(c, "mamba_n_groups|n_groups", p->groups);
    p->n = cfg_size(c, "mamba_d_state|state_size", p->n, 1, ARCH_STATE_MAX);
    p->width = cfg_size(c, "mamba_d_conv|conv_kernel", 4, 1, ARCH_CONV_MAX);
    p->act = cfg_act(c, "hidden_act", "silu");
    p->conv = cfg_bool(c, "mamba_conv_bias|use_conv_bias", true) ? NN_BIAS : NN_NO_BIAS;
    p->proj = cfg_bool(c, "mamba_proj_bias|use_bias", false) ? NN_BIAS : NN_NO_BIAS;
    p->out = p->proj;
    p->dt_max = INFINITY;
    if (p->dim == 0 || p->heads * p->dim != p->inner)
        cfg_fail(c, "%zu heads of mamba with %zu channels do not make up its width of %zu",
                 p->heads, p->dim, p->inner);
    if (p->heads % p->groups)
        cfg_fail(c, "%zu heads of mamba do not fall into %zu groups", p->heads, p->groups);
}

void arch_mamba2_load(arch_build *b, nn_mamba2_w *w, const char *name, size_t hidden,
                      const mamba2_plan *p)
{
    nn_loader *ld = &b->ld;
    size_t *state = &b->m->cache_shape.state;
    const size_t I = p->inner, C = I + 2 * p->groups * p->n;
    const size_t back = nn_scope_enter(ld, name);
    *w = (nn_mamba2_w){.heads = p->heads,
                       .dim = p->dim,
                       .groups = p->groups,
                       .n = p->n,
                       .dt_min = p->dt_min,
                       .dt_max = p->dt_max,
                       .norm_first = p->norm_first};
    nn_load_linear(ld, &w->in, "in_proj", I + C + p->heads, hidden, p->proj);
    nn_conv_load(ld, &w->conv, "conv1d", C, p->width, p->act, p->conv, state);
    w->a = load_decay(ld, p->heads, 1);
    w->d = nn_load_vector(ld, "D", p->heads, 0);
    w->dt_bias = nn_load_vector(ld, "dt_bias", p->heads, 0);
    if (!p->unnormed) nn_load_norm(ld, &w->norm, "norm", NN_NORM_RMS, I, p->eps, 0);
    if (p->group_norm) {
        w->norm.n = I / p->groups;
        w->norm.turns = p->groups;
    }
    nn_load_linear(ld, &w->out, "out_proj", hidden, I, p->out);
    w->state = *state;
    *state += I * p->n;
    nn_scope_leave(ld, back);
}

static void mamba2_mixer(arch_run *r, float *y, const float *x, const decoder_layer *w)
{
    nn_mamba2(r->cx, y, x, w->own, &r->seqs);
}

void arch_mamba2_layer(arch_build *b, decoder_layer *l, const char *name, size_t hidden,
                       const mamba2_plan *p)
{
    nn_mamba2_w *w = arch_new(b, 1, sizeof *w);
    l->own = w;
    l->mixer = mamba2_mixer;
    if (w) arch_mamba2_load(b, w, name, hidden, p);
}
