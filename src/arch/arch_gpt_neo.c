/* GPT-Neo. Black et al. 2021; transformers 4.57 models/gpt_neo/modeling_gpt_neo.py.
 *
 *   ids ─ word + position embeddings ─ n x [ x += attention(norm1 x);  x += mlp(norm2 x) ] ─ norm ─ head
 *
 * Easy to get wrong: scores are not divided by sqrt(D); every second layer (attention_types) sees a window
 * of window_size keys; q, k, v have no bias, out has; linear layers are no Conv1D here.
 * Checked on: fixtures gpt_neo-base. */
#include "arch/arch_decoder.h"

/* attention_types [[["global", "local"], 12]]: the list, repeated; true where layer il is local. */
static bool is_local(arch_config *c, size_t il)
{
    const json *types = cfg_get(c, "attention_types");
    if (!types) return il % 2 == 1;
    size_t first = 0;
    for (size_t i = 0; i < json_len(types); i++) {
        const json *names = json_at(json_at(types, i), 0);
        const int64_t times = json_int(json_at(json_at(types, i), 1), 0);
        const size_t n = json_len(names), all = times > 0 && times < 4096 ? n * (size_t)times : 0;
        if (n && il < first + all) {
            const mltf_str name = json_string(json_at(names, (il - first) % n), STR(""));
            if (!str_is(name, "local") && !str_is(name, "global")) break;
            return str_is(name, "local");
        }
        first += all;
    }
    cfg_fail(c, "\"attention_types\" does not say whether layer %zu is global or local", il);
    return false;
}

static const decoder_names names = {
    .words = "wte",
    .positions = "wpe",
    .norm = "ln_f",
    .layers = "h",
    .q = "attn.attention.q_proj",
    .k = "attn.attention.k_proj",
    .v = "attn.attention.v_proj",
    .o = "attn.attention.out_proj",
    .up = "mlp.c_fc",
    .down = "mlp.c_proj",
};

static mltf_status load(arch_build *b, mltf_err *err)
{
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(b, &(arch_decoder){.hidden = 2048,
                                                          .n_layers = 24,
                                                          .heads = 16,
                                                          .vocab = 50257,
                                                          .scale = 1,
                                                          .types_are_words = true});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    d->max_positions = cfg_dim(c, "max_position_embeddings", 2048);
    decoder_plan p = arch_decoder_gpt_plan(&names, cfg_dim(c, "intermediate_size", 4 * d->hidden),
                                           cfg_act(c, "activation_function", "gelu_new"),
                                           cfg_float(c, "layer_norm_epsilon", 1e-5f));
    p.norm1 = "ln_1";
    p.norm2 = "ln_2";
    p.qkv = NN_NO_BIAS;
    const size_t window = cfg_dim(c, "window_size", 256);
    TRY(arch_decoder_layers(b, d, err));
    for (size_t il = 0; il < d->n_layers; il++) d->layers[il].window = is_local(c, il) ? window : 0;
    return arch_decoder_load(b, d, &p, err);
}

const arch_family arch_gpt_neo = {
    .model_types = (const char *const[]){"gpt_neo", NULL},
    .classes = (const char *const[]){ARCH_DECODER_CLASSES_QA("GPTNeo"), NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"attention.bias", "attention.masked_bias", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
