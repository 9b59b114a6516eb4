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

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    *d = (arch_decoder){.hidden = 2048,
                        .n_layers = 24,
                        .heads = 16,
                        .vocab = 50257,
                        .scale = 1,
                        .types_are_words = true};
    arch_decoder_config_even(c, d);
    const size_t H = d->hidden, F = cfg_dim(c, "intermediate_size", 4 * H);
    const size_t window = cfg_dim(c, "window_size", 256);
    const float eps = cfg_float(c, "layer_norm_epsilon", 1e-5f);
    const k_act act = cfg_act(c, "activation_function", "gelu_new");
    d->max_positions = cfg_dim(c, "max_position_embeddings", 2048);
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "wte", "input id", d->vocab, H, 0);
    nn_load_embed(ld, &d->positions, "wpe", "position", d->max_positions, H, 0);
    nn_load_norm(ld, &d->norm, "ln_f", NN_NORM_LAYER, H, eps, NN_BIAS);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%sh.%zu.", ld->base, il);
        l->window = is_local(c, il) ? window : 0;
        nn_load_norm(ld, &l->norm1, "ln_1", NN_NORM_LAYER, H, eps, NN_BIAS);
        nn_load_norm(ld, &l->norm2, "ln_2", NN_NORM_LAYER, H, eps, NN_BIAS);
        nn_load_linear(ld, &l->attn.q, "attn.attention.q_proj", H, H, NN_NO_BIAS);
        nn_load_linear(ld, &l->attn.k, "attn.attention.k_proj", H, H, NN_NO_BIAS);
        nn_load_linear(ld, &l->attn.v, "attn.attention.v_proj", H, H, NN_NO_BIAS);
        nn_load_linear(ld, &l->attn.o, "attn.attention.out_proj", H, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.up, "mlp.c_fc", F, H, NN_BIAS);
        nn_load_linear(ld, &l->mlp.down, "mlp.c_proj", H, F, NN_BIAS);
        l->mlp.act = act;
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, true);
    return arch_decoder_done(b, d, err);
}

const arch_family arch_gpt_neo = {
    .model_types = (const char *const[]){"gpt_neo", NULL},
    .classes =
        (const char *const[]){"GPTNeoModel", "GPTNeoForCausalLM", "GPTNeoForSequenceClassification",
                              "GPTNeoForTokenClassification", "GPTNeoForQuestionAnswering", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"attention.bias", "attention.masked_bias", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
