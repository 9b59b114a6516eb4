/* The llama block with layer norms: stablelm, starcoder2, nemotron, cohere 1 and 2, olmo, and olmo 2 and 3 with
 * norms behind. Transformers 4.57 models/{stablelm,starcoder2,nemotron,cohere,cohere2,olmo,olmo2,olmo3}.
 *
 *   stablelm    layer norm; a quarter of each head rotates; options: bias on q k v, a norm for each head of q and
 *               k, one norm for attention and mlp side by side (use_parallel_residual)
 *   starcoder2  layer norm and biases everywhere; mlp without gate; sliding window; tied head
 *   nemotron    layer norm with weight + 1; half of each head rotates; mlp without gate, relu squared
 *   cohere      layer norm without bias, attention and mlp side by side; rope turns neighbours; a norm for each
 *               head (use_qk_norm); logits scaled; tied head
 *   cohere2     the same without those norms; three layers in four see a window, the others do not rotate
 *   olmo        layer norm without weight or bias; q, k, v clipped
 *   olmo2       rms norm of what attention and mlp give, none before them; q and k normed over all heads
 *   olmo3       the same; three layers in four see a window and rotate by plain frequencies, whatever rope_scaling
 *
 * Checked on: fixtures stablelm-*, starcoder2-, nemotron-, cohere-, olmo-, olmo2-base; fresh random
 * checkpoints. */
#include "arch/arch_decoder.h"

#include <stdio.h>
#include <string.h>

typedef enum { STABLELM, STARCODER2, NEMOTRON, COHERE, COHERE2, OLMO, OLMO2, OLMO3 } kind;

typedef struct {
    kind kind;
    size_t ffn, window;
    float eps, clip;
    k_act act;
    unsigned qkv, o, mlp;
    bool head_norms;
} ln_config;

static const char *const types[] = {"stablelm", "starcoder2", "nemotron", "cohere", "cohere2",
                                    "olmo",     "olmo2",      "olmo3",    NULL};

static bool is_cohere(kind k)
{
    return k == COHERE || k == COHERE2;
}

static bool norms_behind(kind k)
{
    return k == OLMO2 || k == OLMO3;
}

static void read_config(arch_build *b, ln_config *o, arch_decoder *d)
{
    static const struct {
        size_t hidden, layers, heads, kv_heads, vocab, ffn, positions;
        const char *eps_key, *act;
        float partial;
    } defaults[] = {
        [STABLELM] = {2560, 32, 32, 32, 50304, 6912, 4096, "layer_norm_eps", "silu", 0.25f},
        [STARCODER2] = {3072, 30, 24, 2, 49152, 12288, 4096, "norm_epsilon", "gelu_pytorch_tanh",
                        1},
        [NEMOTRON] = {6144, 32, 48, 0, 256000, 24576, 4096, "norm_eps", "relu2", 0.5f},
        [COHERE] = {8192, 40, 64, 0, 256000, 22528, 8192, "layer_norm_eps", "silu", 1},
        [COHERE2] = {8192, 40, 64, 0, 256000, 22528, 8192, "layer_norm_eps", "silu", 1},
        [OLMO] = {4096, 32, 32, 0, 50304, 11008, 2048, NULL, "silu", 1},
        [OLMO2] = {4096, 32, 32, 0, 50304, 11008, 2048, "rms_norm_eps", "silu", 1},
        [OLMO3] = {4096, 32, 32, 0, 50304, 11008, 2048, "rms_norm_eps", "silu", 1},
    };
    arch_config *c = &b->cfg;
    const kind k = o->kind;
    *d = (arch_decoder){.hidden = defaults[k].hidden,
                        .n_layers = defaults[k].layers,
                        .heads = defaults[k].heads,
                        .kv_heads = defaults[k].kv_heads,
                        .vocab = defaults[k].vocab};
    arch_decoder_config(c, d);
    o->ffn = cfg_dim(c, "intermediate_size", defaults[k].ffn);
    o->eps = defaults[k].eps_key ? cfg_float(c, defaults[k].eps_key, 1e-5f) : 1e-5f;
    o->act = cfg_act(c, "hidden_act", defaults[k].act);
    o->clip = k == OLMO ? cfg_float(c, "clip_qkv", 0) : 0;
    if (k == STARCODER2) o->window = cfg_size(c, "sliding_window", 0, 1, (size_t)1 << 40);
    if (k == COHERE2 || k == OLMO3) o->window = arch_decoder_window(c, true, 4096);
    const char *bias = k == STARCODER2 ? "use_bias"
                       : k == STABLELM ? "use_qkv_bias"
                                       : "attention_bias";
    o->qkv = cfg_bool(c, bias, k == STARCODER2) ? NN_BIAS : NN_NO_BIAS;
    o->o = k == STABLELM ? NN_NO_BIAS : o->qkv;
    o->mlp = k == STARCODER2                                   ? o->qkv
             : k == NEMOTRON && cfg_bool(c, "mlp_bias", false) ? NN_BIAS
                                                               : NN_NO_BIAS;
    o->head_norms = k == STABLELM ? cfg_bool(c, "qk_layernorm", false)
                                  : k == COHERE && cfg_bool(c, "use_qk_norm", false);
    d->parallel = is_cohere(k) || (k == STABLELM && cfg_bool(c, "use_parallel_residual", false));
    const size_t D = d->head_dim,
                 part_of_it = arch_rope_dim(c, D, "partial_rotary_factor", defaults[k].partial);
    arch_rope_options rope = {.dim = k == STABLELM || k == NEMOTRON ? part_of_it : D,
                              .theta = 10000,
                              .max_positions =
                                  cfg_dim(c, "max_position_embeddings", defaults[k].positions),
                              .interleaved = is_cohere(k),
                              .ignore_scaling = k == NEMOTRON,
                              .layer_type = k == OLMO3 ? "full_attention" : NULL};
    arch_rope_load(&d->rope, b, &rope);
    rope.ignore_scaling = true;
    rope.layer_type = "sliding_attention";
    if (k == OLMO3) arch_rope_load(&d->rope_local, b, &rope);
}

/* Which layers see the window, and how layers rotate. */
static void layer_kinds(arch_config *c, arch_decoder *d, const ln_config *o)
{
    const size_t pattern = cfg_size(c, "sliding_window_pattern", 4, 1, (size_t)1 << 20);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        if (o->kind == STARCODER2) l->window = o->window;
        if (o->kind != COHERE2 && o->kind != OLMO3) continue;
        const bool slides = cfg_layer_is(c, il, "sliding_attention",
                                         (il + 1) % (o->kind == OLMO3 ? 4 : pattern) != 0);
        l->window = slides ? o->window : 0;
        // a window of null slides over all: such layers of cohere2 do not rotate either
        if (o->kind == COHERE2 && !l->window) l->rope = NULL;
        if (o->kind == OLMO3 && slides) l->rope = &d->rope_local;
    }
}

static void load_norm(arch_build *b, nn_norm_w *w, const char *name, size_t n, const ln_config *c)
{
    nn_loader *ld = &b->ld;
    if (c->kind == OLMO) {
        *w = (nn_norm_w){.kind = NN_NORM_LAYER, .n = n, .eps = c->eps};
        return;
    }
    nn_load_norm(ld, w, name, norms_behind(c->kind) ? NN_NORM_RMS : NN_NORM_LAYER, n, c->eps,
                 is_cohere(c->kind) || norms_behind(c->kind) ? 0 : NN_BIAS);
    if (c->kind != NEMOTRON || !w->weight) return;
    float *plus_one = arch_new(b, n, sizeof *plus_one);
    for (size_t i = 0; plus_one && i < n; i++) plus_one[i] = w->weight[i] + 1;
    w->weight = plus_one;
}

/* A norm of its own for each of `heads` heads: [heads, D] in one tensor (cohere) or in many (stablelm). */
static void load_head_norms(arch_build *b, nn_norm_w *w, const char *name, size_t heads, size_t D,
                            const ln_config *c)
{
    nn_loader *ld = &b->ld;
    char full[96];
    *w = (nn_norm_w){.kind = NN_NORM_LAYER, .n = D, .eps = c->eps, .turns = heads};
    if (c->kind == COHERE) {
        snprintf(full, sizeof full, "%s.weight", name);
        w->weight = nn_load_vector(ld, full, heads * D, 0);
        return;
    }
    float *all = arch_new(b, heads * D, sizeof *all);
    for (size_t h = 0; all && h < heads; h++) {
        snprintf(full, sizeof full, "%s.norms.%zu.weight", name, h);
        const float *one = nn_load_vector(ld, full, D, 0);
        if (one) memcpy(all + h * D, one, D * sizeof *all);
    }
    w->weight = all;
}

static void load_layer(arch_build *b, decoder_layer *l, const arch_decoder *d, const ln_config *c,
                       size_t il)
{
    nn_loader *ld = &b->ld;
    const size_t H = d->hidden, D = d->head_dim, F = c->ffn;
    nn_scope(ld, "%slayers.%zu.", ld->base, il);
    l->attn.clip = c->clip;
    if (norms_behind(c->kind)) {
        load_norm(b, &l->post1, "post_attention_layernorm", H, c);
        load_norm(b, &l->post2, "post_feedforward_layernorm", H, c);
        load_norm(b, &l->attn.q_norm, "self_attn.q_norm", d->heads * D, c);
        load_norm(b, &l->attn.k_norm, "self_attn.k_norm", d->kv_heads * D, c);
    } else {
        load_norm(b, &l->norm1, "input_layernorm", H, c);
        if (!d->parallel) load_norm(b, &l->norm2, "post_attention_layernorm", H, c);
    }
    arch_decoder_attn_load(ld, &l->attn, d, c->qkv, c->o);
    if (c->head_norms) {
        const char *q = c->kind == COHERE ? "self_attn.q_norm" : "self_attn.q_layernorm";
        const char *k = c->kind == COHERE ? "self_attn.k_norm" : "self_attn.k_layernorm";
        load_head_norms(b, &l->attn.q_norm, q, d->heads, D, c);
        load_head_norms(b, &l->attn.k_norm, k, d->kv_heads, D, c);
    }
    if (c->kind == STARCODER2 || c->kind == NEMOTRON) {
        nn_load_linear(ld, &l->mlp.up, "mlp.c_fc|mlp.up_proj", F, H, c->mlp);
        nn_load_linear(ld, &l->mlp.down, "mlp.c_proj|mlp.down_proj", H, F, c->mlp);
        l->mlp.act = c->act;
    } else {
        arch_decoder_mlp_load(ld, &l->mlp, "mlp", H, F, c->act, c->mlp);
    }
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    ln_config c = {0};
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    while (types[c.kind] && strcmp(types[c.kind], b->m->info.model_type)) c.kind++;
    read_config(b, &c, d);
    TRY(arch_decoder_layers(b, d, err));
    layer_kinds(&b->cfg, d, &c);
    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, d->hidden, 0);
    load_norm(b, &d->norm, "norm", d->hidden, &c);
    for (size_t il = 0; il < d->n_layers; il++) load_layer(b, &d->layers[il], d, &c, il);
    arch_decoder_heads_load(b, &d->heads_w, d->hidden, &d->words, "lm_head", NN_NO_BIAS,
                            is_cohere(c.kind) || c.kind == STARCODER2);
    if (is_cohere(c.kind) && b->m->info.head == ARCH_HEAD_LM)
        d->heads_w.head.scale = cfg_float(&b->cfg, "logit_scale", 0.0625f);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_stablelm = {
    .model_types = types,
    .classes =
        (const char *const[]){ARCH_DECODER_CLASSES("StableLm"), ARCH_DECODER_CLASSES("Starcoder2"),
                              ARCH_DECODER_CLASSES_QA("Nemotron"), ARCH_DECODER_CLASSES("Cohere"),
                              ARCH_DECODER_CLASSES("Cohere2"), ARCH_DECODER_CLASSES("Olmo"),
                              ARCH_DECODER_CLASSES("Olmo2"), ARCH_DECODER_CLASSES("Olmo3"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.|transformer.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
