/* Falcon in its three forms: RW (1B), 7B, 40B and 11B. Almazrouei et al. 2023, arXiv:2311.16867;
 * transformers 4.57 models/falcon/modeling_falcon.py.
 *
 *   RW       x += attention(norm1 x) with ALiBi;  x += mlp(norm2 x)        qkv head by head, [q k v] each
 *   7B       h = norm x;  x += attention(h) + mlp(h)                       one k and v for all heads, behind the q
 *   40B      x += attention(ln_attn x) + mlp(ln_mlp x)                     groups of [q … q k v]
 *
 * Easy to get wrong: the groups of 40B are sorted into q, k, v at load; the values of ALiBi are rounded to
 * bfloat16 and, unlike in bloom, divided by sqrt(D) together with the scores.
 * Checked on: fixtures falcon-*. */
#include "arch/arch_decoder.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    arch_decoder d; // first: the forward sees this
    float *slopes;  // [heads], rounded to bfloat16
    float alibi_scale;
} falcon_model;

static void alibi(void *user, float *bias, size_t ld, const nn_bias_at *at)
{
    const falcon_model *m = user;
    const float scale = m->alibi_scale / sqrtf((float)m->d.head_dim);
    for (size_t j = 0; j < at->tk; j++) {
        const float v =
            bf16_to_f32(f32_to_bf16(m->slopes[at->head] * bf16_to_f32(f32_to_bf16((float)j)))) *
            scale;
        for (size_t i = 0; i < at->nq; i++) bias[i * ld + j] = v;
    }
}

/* 40B: row n of [q | k | v] inside the groups of [q … q k v]. */
static void sort_groups(nn_loader *ld, nn_linear_w *w, const arch_decoder *d)
{
    const size_t D = d->head_dim, per = d->heads / d->kv_heads;
    size_t *row = malloc((d->heads + 2 * d->kv_heads) * D * sizeof *row), n = 0;
    if (!row) {
        mltf_fail_memory(&ld->err);
        return;
    }
    for (size_t h = 0; h < d->heads; h++)
        for (size_t i = 0; i < D; i++) row[n++] = (h / per * (per + 2) + h % per) * D + i;
    for (size_t part = 0; part < 2; part++)
        for (size_t g = 0; g < d->kv_heads; g++)
            for (size_t i = 0; i < D; i++) row[n++] = (g * (per + 2) + per + part) * D + i;
    nn_load_reorder(ld, w, row);
    free(row);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    falcon_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_decoder *d = &m->d;
    *d = (arch_decoder){.hidden = 4544, .n_layers = 32, .heads = 71, .vocab = 65024};
    arch_decoder_config(c, d);
    d->head_dim = d->hidden / d->heads;
    const bool grouped = cfg_bool(c, "new_decoder_architecture", false);
    const bool one_key = !grouped && cfg_bool(c, "multi_query", true);
    d->kv_heads = grouped ? cfg_dim(c, "num_kv_heads|n_head_kv", d->heads) : one_key ? 1 : d->heads;
    d->parallel = cfg_bool(c, "parallel_attn", true) || grouped;
    const size_t norms = cfg_size(c, "num_ln_in_parallel_attn", grouped ? 2 : 1, 1, 2);
    const size_t H = d->hidden, D = d->head_dim, F = cfg_dim(c, "ffn_hidden_size", 4 * H);
    const size_t W = (d->heads + 2 * d->kv_heads) * D;
    const float eps = cfg_float(c, "layer_norm_epsilon", 1e-5f);
    const k_act act = cfg_act(c, "activation", "gelu");
    const unsigned bias = cfg_bool(c, "bias", false) ? NN_BIAS : NN_NO_BIAS;
    if (H % d->heads || d->heads % d->kv_heads)
        cfg_fail(c,
                 "\"hidden_size\" %zu, \"num_attention_heads\" %zu and \"num_kv_heads\" %zu do not "
                 "go together",
                 H, d->heads, d->kv_heads);
    if (cfg_bool(c, "alibi", false)) {
        m->slopes = arch_new(b, d->heads, sizeof *m->slopes);
        if (m->slopes) nn_alibi_slopes(m->slopes, d->heads);
        for (size_t h = 0; m->slopes && h < d->heads; h++)
            m->slopes[h] = bf16_to_f32(f32_to_bf16(m->slopes[h]));
        d->bias = alibi;
        // with attn_implementation="eager" (never the default) the library adds ALiBi twice: in the mask too
        const bool eager =
            str_is(cfg_str(c, "attn_implementation|_attn_implementation", "sdpa"), "eager");
        m->alibi_scale = eager ? 2 : 1;
    } else {
        arch_rope_load(
            &d->rope, b,
            &(arch_rope_options){.dim = D,
                                 .theta = 10000,
                                 .max_positions = cfg_dim(c, "max_position_embeddings", 2048)});
    }
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "word_embeddings", "input id", d->vocab, H, 0);
    nn_load_norm(ld, &d->norm, "ln_f", NN_NORM_LAYER, H, eps, NN_BIAS);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%sh.%zu.", ld->base, il);
        const bool two = d->parallel && norms == 2;
        nn_load_norm(ld, &l->norm1, two ? "ln_attn" : "input_layernorm", NN_NORM_LAYER, H, eps,
                     NN_BIAS);
        if (two) nn_load_norm(ld, &l->norm2, "ln_mlp", NN_NORM_LAYER, H, eps, NN_BIAS);
        if (!d->parallel)
            nn_load_norm(ld, &l->norm2, "post_attention_layernorm", NN_NORM_LAYER, H, eps, NN_BIAS);
        nn_load_linear(ld, &l->attn.qkv, "self_attention.query_key_value", W, H, bias);
        if (grouped) sort_groups(ld, &l->attn.qkv, d);
        l->attn.layout = grouped || one_key ? NN_QKV_PARTS : NN_QKV_PER_HEAD;
        nn_load_linear(ld, &l->attn.o, "self_attention.dense", H, H, bias);
        nn_load_linear(ld, &l->mlp.up, "mlp.dense_h_to_4h", F, H, bias);
        nn_load_linear(ld, &l->mlp.down, "mlp.dense_4h_to_h", H, F, bias);
        l->mlp.act = act;
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, true);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_falcon = {
    .model_types = (const char *const[]){"falcon", "RefinedWeb", "RefinedWebModel", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("Falcon"), "RWForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", "maybe_rotary.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
