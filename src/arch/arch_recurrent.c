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

void arch_ungroup(arch_build *b, nn_linear_w *w, size_t groups, const size_t *parts, size_t n)
{
    size_t *row_of = arch_new(b, w->w.N, sizeof *row_of);
    size_t all = 0, before = 0;
    for (size_t i = 0; i < n; i++) all += parts[i];
    for (size_t i = 0, row = 0; row_of && i < n; before += parts[i++])
        for (size_t g = 0; g < groups; g++)
            for (size_t k = 0; k < parts[i] && row < w->w.N; k++)
                row_of[row++] = g * all + before + k;
    if (row_of) nn_load_reorder(&b->ld, w, row_of);
}

/* ------------------------------------------------------------------ mamba */

static void mamba_mixer(arch_run *r, float *y, const float *x, const decoder_layer *w)
{
    nn_mamba(r->cx, y, x, w->own, &r->seqs);
}

/* x_proj and dt_proj, of the usual one head or of several. */
static void load_steps(arch_build *b, nn_mamba_w *w, const mamba_plan *p)
{
    nn_loader *ld = &b->ld;
    const size_t heads = p->heads ? p->heads : 1, D = p->inner / heads, wide = p->rank + 2 * p->n;
    w->heads = heads;
    w->x_proj = arch_new(b, heads, sizeof *w->x_proj);
    w->dt_proj = arch_new(b, heads, sizeof *w->dt_proj);
    if (!w->x_proj || !w->dt_proj) return;
    if (!p->heads) {
        nn_load_linear(ld, w->x_proj, "x_proj", wide, D, NN_NO_BIAS);
        nn_load_linear(ld, w->dt_proj, "dt_proj", D, p->rank, NN_BIAS);
    }
    for (size_t i = 0; i < p->heads; i++) {
        nn_load_stacked(ld, &w->x_proj[i], "x_proj_weight", NULL, i, heads, wide, D, 0);
        nn_load_stacked(ld, &w->dt_proj[i], "dt_proj_weight", "dt_proj_bias", i, heads, D, p->rank,
                        NN_BIAS);
    }
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
    l->keyless = true;
    if (!w) return;
    const size_t back = nn_scope_enter(ld, name);
    w->inner = I;
    w->n = p->n;
    w->rank = p->rank;
    w->act = p->act;
    nn_load_linear(ld, &w->in, "in_proj", 2 * I, hidden, p->proj);
    if (p->heads) arch_ungroup(b, &w->in, I, (size_t[]){1, 1}, 2);
    nn_conv_load(ld, &w->conv, "conv1d", I, p->width, p->act, p->conv, state);
    load_steps(b, w, p);
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
    p->heads = cfg_dim(c, "mamba_n_heads|n_mamba_heads|num_heads", p->heads);
    const json *dim = cfg_get(c, "mamba_d_head|head_dim");
    p->dim = !dim || str_is(json_string(dim, STR("")), "auto")
                 ? p->inner / p->heads
                 : cfg_dim(c, "mamba_d_head|head_dim", p->dim);
    p->groups = cfg_dim(c, "mamba_n_groups|mamba_ngroups|n_groups", p->groups);
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
    l->keyless = true;
    if (w) arch_mamba2_load(b, w, name, hidden, p);
}

/* ------------------------------------------------------------------ gated delta rule */

void arch_delta_config(arch_config *c, delta_plan *p)
{
    p->heads = cfg_dim(c, "linear_num_value_heads", 32);
    p->k_heads = cfg_dim(c, "linear_num_key_heads", 16);
    p->k_dim = cfg_size(c, "linear_key_head_dim", 128, 1, NN_DELTA_DIM_MAX);
    p->v_dim = cfg_size(c, "linear_value_head_dim", 128, 1, NN_DELTA_DIM_MAX);
    p->width = cfg_size(c, "linear_conv_kernel_dim", 4, 1, ARCH_CONV_MAX);
    if (p->heads % p->k_heads)
        cfg_fail(c,
                 "\"linear_num_value_heads\" %zu is not a multiple of \"linear_num_key_heads\" %zu",
                 p->heads, p->k_heads);
}

static void delta_mixer(arch_run *r, float *y, const float *x, const decoder_layer *w)
{
    nn_delta(r->cx, y, x, w->own, &r->seqs);
}

void arch_delta_layer(arch_build *b, decoder_layer *l, const char *name, size_t hidden,
                      const delta_plan *p)
{
    nn_loader *ld = &b->ld;
    size_t *state = &b->m->cache_shape.state;
    const size_t K = p->k_heads * p->k_dim, V = p->heads * p->v_dim, share = p->heads / p->k_heads;
    nn_delta_w *w = arch_new(b, 1, sizeof *w);
    l->own = w;
    l->mixer = delta_mixer;
    l->keyless = true;
    if (!w) return;
    const size_t back = nn_scope_enter(ld, name);
    *w = (nn_delta_w){
        .heads = p->heads, .k_heads = p->k_heads, .k_dim = p->k_dim, .v_dim = p->v_dim};
    nn_load_linear(ld, &w->in, "in_proj_qkvz", 2 * K + 2 * V, hidden, NN_NO_BIAS);
    nn_load_linear(ld, &w->rates, "in_proj_ba", 2 * p->heads, hidden, NN_NO_BIAS);
    arch_ungroup(b, &w->in, p->k_heads,
                 (size_t[]){p->k_dim, p->k_dim, share * p->v_dim, share * p->v_dim}, 4);
    arch_ungroup(b, &w->rates, p->k_heads, (size_t[]){share, share}, 2);
    nn_conv_load(ld, &w->conv, "conv1d", 2 * K + V, p->width, K_ACT_SILU, NN_NO_BIAS, state);
    w->decay = load_decay(ld, p->heads, 1);
    w->dt_bias = nn_load_vector(ld, "dt_bias", p->heads, 0);
    nn_load_norm(ld, &w->norm, "norm", NN_NORM_RMS, p->v_dim, p->eps, 0);
    nn_load_linear(ld, &w->out, "out_proj", hidden, V, NN_NO_BIAS);
    w->state = *state;
    *state += V * p->k_dim;
    nn_scope_leave(ld, back);
}
