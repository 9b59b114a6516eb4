/* Nyströmformer. Xiong et al. 2021, arXiv:2102.03902; transformers 4.57 models/nystromformer/modeling_nystromformer.py.
 *
 *   ids ─ word + type + position embeddings ─ norm ─ n x [ attention + convolution of v ─ dense ─ (+x) norm ─ mlp ] ─ heads
 *
 * Easy to get wrong: as its published checkpoints are configured (num_landmarks == segment_means_seq_len), attention is
 * the usual one, with a convolution along the text over the values of each head beside it, which sees padding; with
 * fewer landmarks than that, texts of one length alone can be computed, and the checkpoint is refused. The table of
 * positions begins two rows before position 0. Checked on: random checkpoints of the library. */
#include "arch/arch_encoder.h"

typedef struct {
    arch_encoder base;
    size_t kernel; // of the convolution; 0: none
} nystromformer_model;

static void attention(arch_run *r, float *y, const float *x, const encoder_layer *w,
                      const nn_attn *a, size_t il)
{
    nn_ctx *cx = r->cx;
    const nystromformer_model *m = r->impl;
    const size_t T = r->seqs.rows, D = a->dim, H = a->heads * D;
    const nn_mark mark = nn_save(cx);
    float *q = nn_f32(cx, T, H), *k = nn_f32(cx, T, H), *v = nn_f32(cx, T, H); // [T, H]
    float *ctx = nn_f32(cx, T, H), *near = nn_f32(cx, T, H);                   // [T, H]
    nn_linear_group(cx, (float *[]){q, k, v}, x,
                    (const nn_linear_w *[]){&w->attn.q, &w->attn.k, &w->attn.v}, 3, T);
    nn_attend(cx, ctx, (nn_heads){q, H, D}, (nn_heads){k, H, D}, (nn_heads){v, H, D}, &r->seqs, a,
              il);
    if (m->kernel) {
        nn_convolve(cx, near, v, &(nn_taps){.w = w->own, .n = m->kernel, .share = D}, &r->seqs, H);
        nn_add(cx, ctx, near, T * H);
    }
    nn_linear(cx, y, ctx, &w->attn.o, T);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    nystromformer_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_encoder *e = &m->base;
    e->cfg = (encoder_config){.vocab = 30000, .positions = 510, .eps = 1e-5f};
    arch_encoder_config(c, &e->cfg);
    arch_encoder_absolute(c);
    e->position_offset = 2;
    e->cfg.positions += e->position_offset;
    const json *kernel = json_get(c->root, "conv_kernel_size");
    if (!json_is(kernel, JSON_NULL)) m->kernel = cfg_size(c, "conv_kernel_size", 65, 1, 4096);
    if (cfg_size(c, "num_landmarks", 64, 1, 1 << 20) !=
        cfg_size(c, "segment_means_seq_len", 64, 1, 1 << 20))
        cfg_fail(c, "\"num_landmarks\" other than \"segment_means_seq_len\" is not supported");
    if (m->kernel % 2 == 0 && m->kernel)
        cfg_fail(c, "\"conv_kernel_size\" must be odd, not %zu", m->kernel);

    arch_encoder_poolerless_load(b, e, m->kernel);
    e->attention = attention;
    return arch_encoder_done(b, e, err);
}

const arch_family arch_nystromformer = {
    .model_types = (const char *const[]){"nystromformer", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("Nystromformer"), NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "nystromformer.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
