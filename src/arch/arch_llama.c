/* LLaMA 1 to 3 and the families that differ from it by a field: mistral, qwen2, qwen3, granite, smollm3.
 * Touvron et al. 2023, arXiv:2302.13971; transformers 4.57 models/{llama,mistral,qwen2,qwen3,granite,smollm3}.
 *
 *   ids ─ embedding ─┐
 *   ┌────────────────┘
 *   └─ n x [ rms ─ q k v ─ rope ─ causal attention (grouped) ─ o ─ (+x) ─ rms ─ down(silu(gate) up) ─ (+x) ] ─ rms ─ head
 *
 *   mistral   sliding window in all layers
 *   qwen2     bias on q k v; sliding window from layer max_window_layers on
 *   qwen3     rms norm of each head of q and k; head_dim of its own
 *   granite   embedding, scores, residuals and logits are scaled
 *   smollm3   every fourth layer does not rotate
 *
 * Easy to get wrong: rope turns the pair (i, i + D/2), not neighbours; head_dim need not be hidden / heads;
 * stored rotary_emb.inv_freq buffers of old checkpoints must be ignored; the classifier reads the last
 * token that is not padding. Checked on: fixtures llama-* (every rope_type), mistral-*, qwen2-*, qwen3-*,
 * granite-base, smollm3-base; SmolLM2. */
#include "arch/arch_decoder.h"

typedef struct {
    size_t positions, window;
    decoder_plan plan;
} llama_config;

static void read_config(arch_config *c, llama_config *o, arch_decoder *d, mltf_str type)
{
    const bool mistral = str_is(type, "mistral"), qwen2 = str_is(type, "qwen2"),
               qwen3 = str_is(type, "qwen3");
    const bool smollm3 = str_is(type, "smollm3");
    *d = (arch_decoder){.hidden = smollm3 ? 2048 : 4096,
                        .n_layers = smollm3 ? 36 : 32,
                        .heads = smollm3 ? 16 : 32,
                        .kv_heads = mistral   ? 8
                                    : smollm3 ? 4
                                              : 0,
                        .head_dim = qwen3 ? 128 : 0,
                        .vocab = qwen2 || qwen3 ? 151936
                                 : smollm3      ? 128256
                                                : 32000};
    arch_decoder_config(c, d);
    o->positions = cfg_dim(c, "max_position_embeddings",
                           mistral                     ? 131072
                           : qwen2 || qwen3 || smollm3 ? 32768
                                                       : 2048);
    const bool bias = !mistral && !qwen2 && cfg_bool(c, "attention_bias", false);
    const bool mlp_bias = !mistral && !qwen2 && !qwen3 && cfg_bool(c, "mlp_bias", false);
    o->plan = (decoder_plan){
        .ffn = cfg_dim(c, "intermediate_size",
                       mistral          ? 14336
                       : qwen2 || qwen3 ? 22016
                                        : 11008),
        .act = cfg_act(c, "hidden_act", "silu"),
        .eps = cfg_float(c, "rms_norm_eps", 1e-6f),
        .qkv = bias || qwen2 ? NN_BIAS : NN_NO_BIAS,
        .o = bias ? NN_BIAS : NN_NO_BIAS,
        .mlp = mlp_bias ? NN_BIAS : NN_NO_BIAS,
        .q_norm = qwen3 ? "self_attn.q_norm" : NULL,
        .k_norm = qwen3 ? "self_attn.k_norm" : NULL,
        .tied = smollm3, // PretrainedConfig's own default, which the others override
    };
    if (mistral) o->window = arch_decoder_window(c, true, 4096);
    if (qwen2 || qwen3 || smollm3) o->window = arch_decoder_window(c, false, 4096);
    if (str_is(type, "granite")) {
        d->embed_scale = cfg_float(c, "embedding_multiplier", 1);
        d->residual_scale = cfg_float(c, "residual_multiplier", 1);
        d->scale = cfg_float(c, "attention_multiplier", 1);
        o->plan.logit_scale = 1.0f / cfg_float(c, "logits_scaling", 1);
    }
}

/* What differs from layer to layer: sliding windows and layers that do not rotate. */
static void layer_kinds(arch_config *c, arch_decoder *d, const llama_config *o, mltf_str type)
{
    const bool mistral = str_is(type, "mistral"), smollm3 = str_is(type, "smollm3");
    const size_t first = cfg_size(c, "max_window_layers", 28, 0, (size_t)1 << 40);
    const size_t interval = cfg_size(c, "no_rope_layer_interval", 4, 1, (size_t)1 << 40);
    const json *rotates = cfg_get(c, "no_rope_layers"); // 1: this layer does rotate
    for (size_t il = 0; il < d->n_layers; il++) {
        const bool slides =
            mistral || cfg_layer_is(c, il, "sliding_attention", smollm3 ? false : il >= first);
        d->layers[il].window = slides ? o->window : 0;
        if (smollm3 && !json_int(json_at(rotates, il), rotates ? 1 : (il + 1) % interval != 0))
            d->layers[il].rope = NULL;
    }
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    const mltf_str type = str_from(b->m->info.model_type);
    llama_config c = {0};
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    read_config(&b->cfg, &c, d, type);
    arch_rope_load(&d->rope, b,
                   &(arch_rope_options){.dim = d->head_dim,
                                        .theta = str_is(type, "smollm3") ? 2000000 : 10000,
                                        .max_positions = c.positions});
    TRY(arch_decoder_layers(b, d, err));
    layer_kinds(&b->cfg, d, &c, type);
    return arch_decoder_load(b, d, &c.plan, err);
}

const arch_family arch_llama = {
    .model_types = (const char *const[]){"llama", "mistral", "qwen2", "qwen3", "granite", "smollm3",
                                         "code_llama", NULL},
    .classes =
        (const char *const[]){ARCH_DECODER_CLASSES_QA("Llama"), ARCH_DECODER_CLASSES_QA("Mistral"),
                              ARCH_DECODER_CLASSES_QA("Qwen2"), ARCH_DECODER_CLASSES_QA("Qwen3"),
                              ARCH_DECODER_CLASSES_QA("Granite"),
                              ARCH_DECODER_CLASSES_QA("SmolLM3"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.|transformer.", // …ForQuestionAnswering has the other
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
