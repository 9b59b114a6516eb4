/* Gemma 1, 2 and 3 (text), VaultGemma. Gemma Team 2024, arXiv:2403.08295, 2408.00118, 2503.19786;
 * transformers 4.57 models/{gemma,gemma2,gemma3,vaultgemma}/modeling_*.py.
 *
 *   gemma    ids ─ embedding sqrt(H) ─ n x [ x += attention(rms x);  x += mlp(rms x) ] ─ rms ─ head
 *   gemma2   n x [ x += rms(attention(rms x));  x += rms(mlp(rms x)) ]; every other layer sees a window;
 *            scores and logits capped by tanh
 *   vaultgemma  gemma2 without the norms behind attention and mlp
 *   gemma3   the same without caps, each head of q and k normed; five layers in six see a window and rotate
 *            with frequencies of their own
 *
 * Easy to get wrong: rms norms multiply by weight + 1; the head is tied; scores are scaled by
 * query_pre_attn_scalar, not by head_dim; where use_bidirectional_attention makes gemma3 an encoder, its window
 * is halved to each side. Checked on: fixtures gemma-, gemma2-, gemma3_text-base. */
#include "arch/arch_decoder.h"

#include <math.h>

typedef enum { GEMMA, GEMMA2, GEMMA3, VAULT } gemma_kind;

static gemma_kind kind_of(const arch_build *b)
{
    const mltf_str type = str_from(b->m->info.model_type);
    return str_is(type, "gemma2")        ? GEMMA2
           : str_is(type, "gemma3_text") ? GEMMA3
           : str_is(type, "vaultgemma")  ? VAULT
                                         : GEMMA;
}

/* The key's number; null: none. */
static float cap(arch_config *c, const char *key, float absent)
{
    return cfg_float(c, key, json_get(c->root, key) ? 0 : absent);
}

static decoder_plan read_config(arch_config *c, arch_decoder *d, gemma_kind kind)
{
    const bool one = kind == GEMMA, three = kind == GEMMA3;
    const bool capped = kind == GEMMA2 || kind == VAULT; // by default
    *d = (arch_decoder){.hidden = one ? 3072 : 2304,
                        .n_layers = one ? 28 : 26,
                        .heads = one ? 16 : 8,
                        .kv_heads = one ? 16 : 4,
                        .head_dim = 256,
                        .vocab = three ? 262208 : 256000};
    arch_decoder_config(c, d);
    const unsigned bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    decoder_plan p = {
        .ffn = cfg_dim(c, "intermediate_size", one ? 24576 : 9216),
        .act = cfg_act(c, one ? "hidden_act" : "hidden_activation", "gelu_pytorch_tanh"),
        .eps = cfg_float(c, "rms_norm_eps", 1e-6f),
        .norm_offset = 1,
        .qkv = bias,
        .o = bias,
        .q_norm = three ? "self_attn.q_norm" : NULL,
        .k_norm = three ? "self_attn.k_norm" : NULL,
        .tied = true,
    };
    d->embed_scale = sqrtf((float)d->hidden);
    if (one) return p;
    p.norm1 = "input_layernorm";
    p.norm2 = "pre_feedforward_layernorm";
    if (kind != VAULT) {
        p.post1 = "post_attention_layernorm";
        p.post2 = "post_feedforward_layernorm";
    }
    p.logit_cap = cap(c, "final_logit_softcapping", capped ? 30 : 0);
    d->softcap = cap(c, "attn_logit_softcapping", capped ? 50 : 0);
    d->scale = 1.0f / sqrtf(cfg_float(c, "query_pre_attn_scalar", 256));
    d->both_ways = three && cfg_bool(c, "use_bidirectional_attention", false);
    return p;
}

static void load_ropes(arch_build *b, arch_decoder *d, bool three)
{
    arch_rope_options o = {.dim = d->head_dim,
                           .theta = three ? 1e6f : 10000,
                           .max_positions =
                               cfg_dim(&b->cfg, "max_position_embeddings", three ? 131072 : 8192),
                           .layer_type = three ? "full_attention" : NULL};
    arch_rope_load(&d->rope, b, &o);
    o.theta = 10000;
    o.theta_key = "rope_local_base_freq";
    o.layer_type = "sliding_attention";
    o.ignore_scaling = true;
    if (three) arch_rope_load(&d->rope_local, b, &o);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    const gemma_kind kind = kind_of(b);
    const decoder_plan p = read_config(c, d, kind);
    load_ropes(b, d, kind == GEMMA3);
    TRY(arch_decoder_layers(b, d, err));
    const size_t side = arch_decoder_window(c, true, 4096);
    const size_t window = d->both_ways && side ? side / 2 + 1 : side;
    const size_t pattern =
        kind == GEMMA3
            ? cfg_size(c, "_sliding_window_pattern|sliding_window_pattern", 6, 1, 1 << 20)
            : 2;
    for (size_t il = 0; kind != GEMMA && il < d->n_layers; il++) {
        if (!cfg_layer_is(c, il, "sliding_attention", (il + 1) % pattern != 0)) continue;
        d->layers[il].window = window;
        if (kind == GEMMA3) d->layers[il].rope = &d->rope_local;
    }
    if (d->both_ways && b->m->info.head == ARCH_HEAD_LM)
        return mltf_fail(
            err, MLTF_UNSUPPORTED,
            "config.json: a model with \"use_bidirectional_attention\" cannot generate");
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_gemma = {
    .model_types = (const char *const[]){"gemma", "gemma2", "gemma3_text", "vaultgemma", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES("Gemma"), ARCH_DECODER_CLASSES("Gemma2"),
                                     ARCH_DECODER_CLASSES("Gemma3"), "Gemma3TextModel",
                                     "Gemma3TextForSequenceClassification", "VaultGemmaModel",
                                     "VaultGemmaForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
