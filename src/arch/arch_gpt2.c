/* GPT-2. Radford et al. 2019; transformers 4.57 models/gpt2/modeling_gpt2.py.
 *
 *   ids ─ word + position embeddings ─┐
 *   ┌─────────────────────────────────┘
 *   └─ n x [ norm ─ qkv ─ causal attention ─ proj ─ (+x) ─ norm ─ fc ─ gelu_new ─ proj ─ (+x) ] ─ norm ─ head
 *
 * Easy to get wrong: linear layers are Conv1D, stored [in, out], and are transposed at load; the norm
 * stands before each part; the LM head is the word embedding. Old checkpoints leave out "transformer."
 * and hold mask buffers. scale_attn_by_inverse_layer_idx divides scores by the layer's number too.
 * Checked on: fixtures gpt2-*. */
#include <math.h>

#include "arch/arch_internal.h"

typedef struct {
    size_t hidden, layers, heads, ffn, vocab,
        positions;              // n_embd, n_layer, n_head, n_inner, vocab_size, n_positions
    k_act act;                  // activation_function
    float eps;                  // layer_norm_epsilon
    bool scale, scale_by_layer; // scale_attn_weights, scale_attn_by_inverse_layer_idx
} gpt2_config;

typedef struct {
    nn_norm_w norm1, norm2; // [H]
    nn_attn_w attn;         // qkv [3H, H], o [H, H]
    nn_mlp_w mlp;           // up [F, H], down [H, F]
} gpt2_layer;

typedef struct {
    gpt2_config cfg;
    nn_embed_w words, positions; // [V, H], [P, H]
    gpt2_layer *layers;
    nn_norm_w norm;
    arch_heads heads;
} gpt2_model;

static void read_config(arch_config *c, gpt2_config *o)
{
    o->hidden = cfg_dim(c, "n_embd|hidden_size", 768);
    o->layers = cfg_layers(c, "n_layer|num_hidden_layers", 12);
    o->heads = cfg_dim(c, "n_head|num_attention_heads", 12);
    o->ffn = cfg_dim(c, "n_inner", 4 * o->hidden);
    o->vocab = cfg_dim(c, "vocab_size", 50257);
    o->positions = cfg_dim(c, "n_positions|max_position_embeddings", 1024);
    o->act = cfg_act(c, "activation_function", "gelu_new");
    o->eps = cfg_float(c, "layer_norm_epsilon", 1e-5f);
    o->scale = cfg_bool(c, "scale_attn_weights", true);
    o->scale_by_layer = cfg_bool(c, "scale_attn_by_inverse_layer_idx", false);
    if (cfg_bool(c, "add_cross_attention", false))
        cfg_fail(c, "\"add_cross_attention\" is supported inside an encoder-decoder only");
    if (o->hidden % o->heads)
        cfg_fail(c, "\"n_embd\" %zu is not a multiple of \"n_head\" %zu", o->hidden, o->heads);
}

static void load_layer(nn_loader *ld, gpt2_layer *l, const gpt2_config *c, size_t il)
{
    const size_t H = c->hidden, F = c->ffn;
    const unsigned flags = NN_BIAS | NN_CONV1D;
    nn_scope(ld, "%sh.%zu.", ld->base, il);
    nn_load_norm(ld, &l->norm1, "ln_1", NN_NORM_LAYER, H, c->eps, NN_BIAS);
    nn_load_linear(ld, &l->attn.qkv, "attn.c_attn", 3 * H, H, flags);
    nn_load_linear(ld, &l->attn.o, "attn.c_proj", H, H, flags);
    nn_load_norm(ld, &l->norm2, "ln_2", NN_NORM_LAYER, H, c->eps, NN_BIAS);
    nn_load_linear(ld, &l->mlp.up, "mlp.c_fc", F, H, flags);
    nn_load_linear(ld, &l->mlp.down, "mlp.c_proj", H, F, flags);
    l->mlp.act = c->act;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    gpt2_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    gpt2_config *c = &m->cfg;
    read_config(&b->cfg, c);
    m->layers = arch_new(b, c->layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &m->words, "wte", "input id", c->vocab, c->hidden, 0);
    nn_load_embed(ld, &m->positions, "wpe", "position", c->positions, c->hidden, 0);
    nn_load_norm(ld, &m->norm, "ln_f", NN_NORM_LAYER, c->hidden, c->eps, NN_BIAS);
    for (size_t il = 0; il < c->layers; il++) load_layer(ld, &m->layers[il], c, il);
    arch_decoder_heads_load(b, &m->heads, c->hidden, &m->words, "lm_head", NN_NO_BIAS, true);

    const size_t D = c->hidden / c->heads;
    b->m->cache_shape =
        (nn_cache_shape){.layers = c->layers, .kv_heads = c->heads, .k_dim = D, .v_dim = D};
    return arch_done(b, m, c->hidden, c->vocab, c->layers, c->positions, err);
}

static void layer_forward(arch_run *r, float *x, const gpt2_layer *w, const nn_attn *attn,
                          size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, H = attn->heads * attn->dim;
    const nn_mark mark = nn_save(cx);
    float *h = nn_f32(cx, T, H); // [T, H]
    nn_norm(cx, h, x, &w->norm1, T);
    nn_self_attention(cx, h, h, &w->attn, attn, &r->seqs, NULL, il);
    nn_add(cx, x, h, T * H);
    nn_tap(cx, "attn", (int)il, x, T, H);
    nn_norm(cx, h, x, &w->norm2, T);
    nn_mlp(cx, h, h, &w->mlp, T);
    nn_add(cx, x, h, T * H);
    nn_tap(cx, "out", (int)il, x, T, H);
    if (nn_ok(cx)) nn_restore(cx, mark);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const gpt2_model *m = r->impl;
    const gpt2_config *c = &m->cfg;
    const size_t T = r->seqs.rows, D = c->hidden / c->heads;
    const float scale = c->scale ? 1.0f / sqrtf((float)D) : 1.0f;

    float *x = arch_embed_tokens(r, &m->words); // [T, H]
    nn_embed_add(cx, x, r->seqs.pos, &m->positions, T);
    if (r->batch->type_ids) nn_embed_add(cx, x, r->batch->type_ids, &m->words, T);
    for (size_t il = 0; il < c->layers; il++) {
        const nn_attn attn = {.heads = c->heads,
                              .dim = D,
                              .scale = c->scale_by_layer ? scale / (float)(il + 1) : scale,
                              .causal = true};
        arch_keep_hidden(r, x, c->hidden);
        layer_forward(r, x, &m->layers[il], &attn, il);
    }
    nn_norm(cx, x, x, &m->norm, T);
    arch_keep_hidden(r, x, c->hidden);
    arch_heads_forward(r, &m->heads, x, c->hidden);
}

const arch_family arch_gpt2 = {
    .model_types = (const char *const[]){"gpt2", "gpt-sw3", NULL},
    .classes = (const char *const[]){"GPT2Model", "GPT2LMHeadModel", "GPT2DoubleHeadsModel",
                                     "GPT2ForSequenceClassification", "GPT2ForTokenClassification",
                                     "GPT2ForQuestionAnswering", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){".attn.bias", ".attn.masked_bias", NULL},
    .load = load,
    .forward = forward,
};
