/* MiniMax-01. Li et al. 2025, arXiv:2501.08313; transformers 4.57 models/minimax/modeling_minimax.py.
 *
 *   x = norm1 x;  x = a x + b attention(x), lightning or usual;  x = norm2 x;  x = c x + d experts(x)
 *
 * Easy to get wrong: the residual is the norm's output; lightning layers do not rotate; the decays are stored, rounded as
 * the file is, and the first pass of a text reads other ones than the passes behind it. Checked on: random checkpoints of
 * the library. */
#include "arch/arch_recurrent.h"

typedef struct {
    size_t ffn, experts, top_k, window, block;
    float eps;
    k_act act;
} minimax_config;

static void lightning_mixer(arch_run *r, float *y, const float *x, const decoder_layer *w)
{
    nn_lightning(r->cx, y, x, w->own, &r->seqs);
}

static void load_lightning(arch_build *b, decoder_layer *l, const arch_decoder *d,
                           const minimax_config *o, size_t il)
{
    nn_lightning_w *w = arch_new(b, 1, sizeof *w);
    l->own = w;
    l->mixer = lightning_mixer;
    l->keyless = true;
    if (!w) return;
    *w =
        (nn_lightning_w){.heads = d->heads,
                         .dim = d->head_dim,
                         .block = o->block,
                         .act = o->act,
                         .pace = (float)(1 - (double)il / ((double)d->n_layers - 1 + 1e-5) + 1e-5)};
    const size_t back = nn_scope_enter(&b->ld, "self_attn");
    nn_lightning_load(&b->ld, w, d->hidden, &b->m->cache_shape.state);
    nn_scope_leave(&b->ld, back);
}

/* The factors of what a half keeps, [H], and of what it adds. */
static const float *read_factors(arch_build *b, size_t hidden, const char *keeps, const char *adds,
                                 float *add)
{
    float *keep = arch_new(b, hidden, sizeof *keep);
    const float value = cfg_float(&b->cfg, keeps, 1);
    for (size_t i = 0; keep && i < hidden; i++) keep[i] = value;
    *add = cfg_float(&b->cfg, adds, 1);
    return keep;
}

static void load_layer(arch_build *b, const arch_decoder *d, const minimax_config *o, size_t il)
{
    nn_loader *ld = &b->ld;
    decoder_layer *l = &d->layers[il];
    const bool full = cfg_layer_is(&b->cfg, il, "full_attention", il % 2 == 0);
    nn_scope(ld, "%slayers.%zu.", ld->base, il);
    nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_RMS, d->hidden, o->eps, 0);
    nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_RMS, d->hidden, o->eps, 0);
    l->window = o->window;
    if (full)
        arch_decoder_attn_load(ld, &l->attn, d, NN_NO_BIAS, NN_NO_BIAS);
    else
        load_lightning(b, l, d, o, il);
    l->moe =
        (nn_moe_w){.n = o->experts, .top_k = o->top_k, .scores = NN_MOE_SOFTMAX, .normalize = true};
    arch_sparse_moe_load(b, &l->moe, d->hidden, o->ffn, o->act);
    l->residual1 =
        read_factors(b, d->hidden, full ? "full_attn_alpha_factor" : "linear_attn_alpha_factor",
                     full ? "full_attn_beta_factor" : "linear_attn_beta_factor", &l->part1);
    l->residual2 = read_factors(b, d->hidden, "mlp_alpha_factor", "mlp_beta_factor", &l->part2);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b, &(arch_decoder){
               .hidden = 4096, .n_layers = 32, .heads = 32, .kv_heads = 8, .vocab = 32000});
    TRY(arch_build_ok(b, err));
    const minimax_config o = {.ffn = cfg_dim(c, "intermediate_size", 14336),
                              .experts = cfg_size(c, "num_local_experts", 8, 1, 4096),
                              .top_k = cfg_size(c, "num_experts_per_tok", 2, 1, 64),
                              .window = arch_decoder_window(c, true, 0),
                              .block = cfg_size(c, "block_size", 256, 1, 1 << 12),
                              .eps = cfg_float(c, "rms_norm_eps", 1e-5f),
                              .act = cfg_act(c, "hidden_act", "silu")};
    d->residual_of_norm = true;
    arch_decoder_rope(b, d, 1e6f, 131072);
    TRY(arch_decoder_layers(b, d, err));
    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, d->hidden, 0);
    nn_load_norm(ld, &d->norm, "norm", NN_NORM_RMS, d->hidden, o.eps, 0);
    for (size_t il = 0; il < d->n_layers; il++) load_layer(b, d, &o, il);
    arch_decoder_heads_load(b, &d->heads_w, d->hidden, &d->words, "lm_head", NN_NO_BIAS, false);
    b->m->info.stepwise = true;
    return arch_decoder_done(b, d, err);
}

const arch_family arch_minimax = {
    .model_types = (const char *const[]){"minimax", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("MiniMax"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.|transformer.", // …ForQuestionAnswering has the other
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
