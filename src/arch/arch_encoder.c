/* The encoder layer that most BERT-like families share: load lines and forward. */
#include "arch/arch_encoder.h"

const encoder_layer_names bert_layer_names = {
    .q = "attention.self.query",
    .k = "attention.self.key",
    .v = "attention.self.value",
    .o = "attention.output.dense",
    .attn_norm = "attention.output.LayerNorm",
    .up = "intermediate.dense",
    .down = "output.dense",
    .mlp_norm = "output.LayerNorm",
};

void arch_encoder_layer_load(nn_loader *ld, encoder_layer *l, const encoder_layer_names *names,
                             const encoder_sizes *s)
{
    const size_t H = s->hidden, F = s->ffn;
    if (names->q) {
        nn_load_linear(ld, &l->attn.q, names->q, H, H, NN_BIAS);
        nn_load_linear(ld, &l->attn.k, names->k, H, H, NN_BIAS);
        nn_load_linear(ld, &l->attn.v, names->v, H, H, NN_BIAS);
    }
    if (names->o) nn_load_linear(ld, &l->attn.o, names->o, H, H, NN_BIAS);
    nn_load_norm(ld, &l->attn_norm, names->attn_norm, NN_NORM_LAYER, H, s->eps, NN_BIAS);
    nn_load_linear(ld, &l->mlp.up, names->up, F, H, NN_BIAS);
    nn_load_linear(ld, &l->mlp.down, names->down, H, F, NN_BIAS);
    nn_load_norm(ld, &l->mlp_norm, names->mlp_norm, NN_NORM_LAYER, H, s->eps, NN_BIAS);
    l->mlp.act = s->act;
}

void arch_encoder_layer_finish(arch_run *r, float *x, float *y, const encoder_layer *w, size_t H,
                               size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows;
    nn_add_norm(cx, x, y, &w->attn_norm, T);
    nn_tap(cx, "attn_norm", (int)il, x, T, H);
    nn_mlp(cx, y, x, &w->mlp, T);
    nn_add_norm(cx, x, y, &w->mlp_norm, T);
    nn_tap(cx, "out", (int)il, x, T, H);
}

void arch_encoder_layer_forward(arch_run *r, float *x, const encoder_layer *w, const nn_attn *attn,
                                const nn_rope_rows *rope, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = attn->heads * attn->dim;
    const nn_mark mark = nn_save(cx);
    float *y = nn_f32(cx, T, H); // [T, H]
    nn_self_attention(cx, y, x, &w->attn, attn, &r->seqs, rope, il);
    arch_encoder_layer_finish(r, x, y, w, H, il);
    if (nn_ok(cx)) nn_restore(cx, mark);
}
