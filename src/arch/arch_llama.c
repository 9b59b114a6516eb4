/* LLaMA 1 to 3 and the many models of its shape. Touvron et al. 2023, arXiv:2302.13971;
 * transformers 4.57 models/llama/modeling_llama.py.
 *
 *   ids ─ embedding ─┐
 *   ┌────────────────┘
 *   └─ n x [ rms norm ─ q k v ─ rope ─ causal attention (grouped) ─ o ─ (+x) ─ rms norm ─ down(silu(gate) up) ─ (+x) ]
 *      ─ rms norm ─ head
 *
 * Easy to get wrong: rope turns the pair (i, i + D/2), not neighbours; head_dim need not be hidden / heads;
 * stored rotary_emb.inv_freq buffers of old checkpoints must be ignored; the classifier reads the last
 * token that is not padding. Checked on: fixtures llama-* (every rope_type), SmolLM2. */
#include <math.h>

#include "arch/arch_internal.h"

typedef struct {
    size_t hidden, layers, heads, kv_heads, head_dim, ffn, vocab, positions;
    k_act act; // hidden_act
    float eps; // rms_norm_eps
    bool attn_bias, mlp_bias;
} llama_config;

typedef struct {
    nn_norm_w norm1, norm2; // [H]
    nn_attn_w attn;         // q [heads D, H], k v [kv D, H], o [H, heads D]
    nn_mlp_w mlp;           // gate up [F, H], down [H, F]
} llama_layer;

typedef struct {
    llama_config cfg;
    nn_embed_w words; // [V, H]
    nn_rope rope;
    llama_layer *layers;
    nn_norm_w norm;
    arch_heads heads;
} llama_model;

static void read_config(arch_config *c, llama_config *o)
{
    o->hidden = cfg_dim(c, "hidden_size", 4096);
    o->layers = cfg_layers(c, "num_hidden_layers", 32);
    o->heads = cfg_dim(c, "num_attention_heads", 32);
    o->kv_heads = cfg_dim(c, "num_key_value_heads", o->heads);
    o->head_dim = cfg_dim(c, "head_dim", o->hidden / o->heads);
    o->ffn = cfg_dim(c, "intermediate_size", 11008);
    o->vocab = cfg_dim(c, "vocab_size", 32000);
    o->positions = cfg_dim(c, "max_position_embeddings", 2048);
    o->act = cfg_act(c, "hidden_act", "silu");
    o->eps = cfg_float(c, "rms_norm_eps", 1e-6f);
    o->attn_bias = cfg_bool(c, "attention_bias", false);
    o->mlp_bias = cfg_bool(c, "mlp_bias", false);
    if (o->heads % o->kv_heads)
        cfg_fail(c, "\"num_attention_heads\" %zu is not a multiple of \"num_key_value_heads\" %zu",
                 o->heads, o->kv_heads);
}

static void load_layer(nn_loader *ld, llama_layer *l, const llama_config *c, size_t il)
{
    const size_t H = c->hidden, F = c->ffn, Q = c->heads * c->head_dim,
                 K = c->kv_heads * c->head_dim;
    const unsigned attn = c->attn_bias ? NN_BIAS : NN_NO_BIAS,
                   mlp = c->mlp_bias ? NN_BIAS : NN_NO_BIAS;
    nn_scope(ld, "%slayers.%zu.", ld->base, il);
    nn_load_norm(ld, &l->norm1, "input_layernorm", NN_NORM_RMS, H, c->eps, 0);
    nn_load_linear(ld, &l->attn.q, "self_attn.q_proj", Q, H, attn);
    nn_load_linear(ld, &l->attn.k, "self_attn.k_proj", K, H, attn);
    nn_load_linear(ld, &l->attn.v, "self_attn.v_proj", K, H, attn);
    nn_load_linear(ld, &l->attn.o, "self_attn.o_proj", H, Q, attn);
    nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_RMS, H, c->eps, 0);
    nn_load_linear(ld, &l->mlp.gate, "mlp.gate_proj", F, H, mlp);
    nn_load_linear(ld, &l->mlp.up, "mlp.up_proj", F, H, mlp);
    nn_load_linear(ld, &l->mlp.down, "mlp.down_proj", H, F, mlp);
    l->mlp.act = c->act;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    llama_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    llama_config *c = &m->cfg;
    read_config(&b->cfg, c);
    arch_rope_load(
        &m->rope, b,
        &(arch_rope_options){.dim = c->head_dim, .theta = 10000, .max_positions = c->positions});
    m->layers = arch_new(b, c->layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &m->words, "embed_tokens", "input id", c->vocab, c->hidden, 0);
    nn_load_norm(ld, &m->norm, "norm", NN_NORM_RMS, c->hidden, c->eps, 0);
    for (size_t il = 0; il < c->layers; il++) load_layer(ld, &m->layers[il], c, il);
    arch_decoder_heads_load(b, &m->heads, c->hidden, &m->words, "lm_head", NN_NO_BIAS, false);

    b->m->info.hidden = c->hidden;
    b->m->info.vocab = c->vocab;
    b->m->info.n_layers = c->layers;
    b->m->info.max_positions = SIZE_MAX;
    b->m->cache_shape = (nn_cache_shape){
        .layers = c->layers, .kv_heads = c->kv_heads, .k_dim = c->head_dim, .v_dim = c->head_dim};
    b->m->impl = m;
    return MLTF_OK;
}

static void layer_forward(arch_run *r, float *x, const llama_layer *w, const nn_attn *attn,
                          const nn_rope_rows *rope, size_t H, size_t il)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows;
    const nn_mark mark = nn_save(cx);
    float *h = nn_f32(cx, T, H); // [T, H]
    nn_norm(cx, h, x, &w->norm1, T);
    nn_self_attention(cx, h, h, &w->attn, attn, &r->seqs, rope, il);
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
    const llama_model *m = r->impl;
    const llama_config *c = &m->cfg;
    const size_t T = r->seqs.rows;
    const nn_attn attn = {.heads = c->heads,
                          .kv_heads = c->kv_heads,
                          .dim = c->head_dim,
                          .scale = 1.0f / sqrtf((float)c->head_dim),
                          .causal = true};

    float *x = arch_embed_tokens(r, &m->words); // [T, H]
    const nn_rope_rows rope = nn_rope_prepare(cx, &m->rope, &r->seqs);
    for (size_t il = 0; il < c->layers; il++) {
        arch_keep_hidden(r, x, c->hidden);
        layer_forward(r, x, &m->layers[il], &attn, &rope, c->hidden, il);
    }
    nn_norm(cx, x, x, &m->norm, T);
    arch_keep_hidden(r, x, c->hidden);
    arch_heads_forward(r, &m->heads, x, c->hidden);
}

const arch_family arch_llama = {
    .model_types = (const char *const[]){"llama", NULL},
    .classes =
        (const char *const[]){"LlamaModel", "LlamaForCausalLM", "LlamaForSequenceClassification",
                              "LlamaForTokenClassification", "LlamaForQuestionAnswering", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = forward,
};
