/* Latent attention: its keys of config.json, its tensors and its forward pass. */
#include "arch/arch_mla.h"

#include <math.h>
#include <string.h>

mla_dims arch_mla_config(arch_config *c, arch_decoder *d)
{
    const json *rank = json_get(c->root, "q_lora_rank"); // null: one projection
    const mla_dims m = {.q_rank = json_is(rank, JSON_NULL) ? 0 : cfg_dim(c, "q_lora_rank", 1536),
                        .kv_rank = cfg_dim(c, "kv_lora_rank", 512),
                        .pass = cfg_dim(c, "qk_nope_head_dim", 128),
                        .rot = cfg_dim(c, "qk_rope_head_dim", 64),
                        .v = cfg_dim(c, "v_head_dim", 128)};
    d->kv_heads = d->heads;
    d->head_dim = m.pass + m.rot;
    d->v_dim = m.v;
    d->attention = arch_mla_attention;
    return m;
}

float arch_mla_scale(const arch_config *c, const arch_decoder *d, bool stretched)
{
    const json *five = cfg_get(c, "rope_parameters"), *p = five ? five : cfg_get(c, "rope_scaling");
    const double all = json_double(json_get(p, "mscale_all_dim"), 0),
                 factor = json_double(json_get(p, "factor"), 1);
    const double mscale =
        (stretched || five) && all != 0 && factor > 1 ? 0.1 * all * log(factor) + 1 : 1;
    return (float)(1 / sqrt((double)d->head_dim) * mscale * mscale);
}

mla_w *arch_mla_load(arch_build *b, const arch_decoder *d, const char *name, const mla_dims *dims,
                     unsigned bias)
{
    nn_loader *ld = &b->ld;
    const mla_dims *m = dims;
    const size_t H = d->hidden, N = d->heads;
    mla_w *w = arch_new(b, 1, sizeof *w);
    if (!w) return NULL;
    const size_t back = nn_scope_enter(ld, name);
    w->dims = *m;
    if (m->q_rank) {
        nn_load_linear(ld, &w->q_a, "q_a_proj", m->q_rank, H, bias);
        nn_load_norm(ld, &w->q_norm, "q_a_layernorm", NN_NORM_RMS, m->q_rank, 1e-6f, 0);
        nn_load_linear(ld, &w->q_b, "q_b_proj", N * d->head_dim, m->q_rank, NN_NO_BIAS);
    } else {
        nn_load_linear(ld, &w->q, "q_proj", N * d->head_dim, H, NN_NO_BIAS);
    }
    nn_load_linear(ld, &w->kv_a, "kv_a_proj_with_mqa", m->kv_rank + m->rot, H, bias);
    nn_load_norm(ld, &w->kv_norm, "kv_a_layernorm", NN_NORM_RMS, m->kv_rank, 1e-6f, 0);
    nn_load_linear(ld, &w->kv_b, "kv_b_proj", N * (m->pass + m->v), m->kv_rank, NN_NO_BIAS);
    nn_load_linear(ld, &w->o, "o_proj", H, N * m->v, bias);
    nn_scope_leave(ld, back);
    return w;
}

void arch_mla_attention(arch_run *r, float *y, const float *x, const decoder_layer *layer,
                        const nn_attn *a, const nn_rope_rows *rope, size_t il)
{
    nn_ctx *cx = r->cx;
    const mla_w *w = layer->own;
    const mla_dims *m = &w->dims;
    const size_t T = r->seqs.rows, N = a->heads, D = a->dim, L = m->kv_rank + m->rot,
                 B = m->pass + m->v;
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, N * D), *k = nn_f32(cx, T, N * D), *kv_a = nn_f32(cx, T, L),
          *kv = nn_f32(cx, T, N * B);
    float *latent = nn_f32(cx, T, m->kv_rank > m->q_rank ? m->kv_rank : m->q_rank),
          *ctx = nn_f32(cx, T, N * m->v);
    if (m->q_rank) {
        nn_linear(cx, latent, x, &w->q_a, T);
        nn_norm(cx, latent, latent, &w->q_norm, T);
        nn_linear(cx, q, latent, &w->q_b, T);
    } else {
        nn_linear(cx, q, x, &w->q, T);
    }
    nn_scale(cx, q, w->q_scale == 0 ? 1.0f : w->q_scale, T * N * D);
    nn_linear(cx, kv_a, x, &w->kv_a, T);
    nn_columns(cx, latent, kv_a, L, 0, m->kv_rank, T);
    nn_norm(cx, latent, latent, &w->kv_norm, T);
    nn_scale(cx, latent, w->kv_scale == 0 ? 1.0f : w->kv_scale, T * m->kv_rank);
    nn_linear(cx, kv, latent, &w->kv_b, T);
    if (!nn_ok(cx)) return;
    nn_rope_apply(cx, q + m->pass, N * D, D, N, rope, T);
    nn_rope_apply(cx, kv_a + m->kv_rank, L, L, 1, rope, T);
    for (size_t t = 0; t < T; t++)
        for (size_t h = 0; h < N; h++) {
            float *to = k + (t * N + h) * D;
            memcpy(to, kv + (t * N + h) * B, m->pass * sizeof *to);
            memcpy(to + m->pass, kv_a + t * L + m->kv_rank, m->rot * sizeof *to);
        }
    nn_attend(cx, ctx, (nn_heads){q, N * D, D}, (nn_heads){k, N * D, D},
              (nn_heads){kv + m->pass, N * B, B}, &r->seqs, a, il);
    nn_linear(cx, y, ctx, &w->o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}
