/* GPT-2. Radford et al. 2019; transformers 4.57 models/gpt2/modeling_gpt2.py.
 *
 *   ids ─ word + position embeddings ─┐
 *   ┌─────────────────────────────────┘
 *   └─ n x [ norm ─ qkv ─ causal attention ─ proj ─ (+x) ─ norm ─ fc ─ gelu_new ─ proj ─ (+x) ] ─ norm ─ head
 *
 * Easy to get wrong: linear layers are Conv1D, stored [in, out], and are transposed at load; the norm
 * stands before each part; the LM head is the word embedding; type ids are looked up among the words. Old
 * checkpoints leave out "transformer." and hold mask buffers. scale_attn_by_inverse_layer_idx divides scores by the
 * layer's number too. Checked on: fixtures gpt2-*. */
#include <math.h>

#include "arch/arch_decoder.h"

/* Of a decoder beside an encoder. */
static void load_cross(nn_loader *ld, decoder_layer *l, size_t H, float eps)
{
    const unsigned flags = NN_BIAS | NN_CONV1D;
    nn_linear_w kv;
    nn_load_norm(ld, &l->cross_norm, "ln_cross_attn", NN_NORM_LAYER, H, eps, NN_BIAS);
    nn_load_linear(ld, &l->cross.q, "crossattention.q_attn", H, H, flags);
    nn_load_linear(ld, &kv, "crossattention.c_attn", 2 * H, H, flags);
    l->cross.k = nn_linear_rows(&kv, 0, H);
    l->cross.v = nn_linear_rows(&kv, H, H);
    nn_load_linear(ld, &l->cross.o, "crossattention.c_proj", H, H, flags);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_decoder_new(
        b,
        &(arch_decoder){
            .hidden = 768, .n_layers = 12, .heads = 12, .vocab = 50257, .types_are_words = true});
    TRY(arch_build_ok(b, err));
    arch_decoder_even(c, d);
    d->max_positions = cfg_dim(c, "n_positions|max_position_embeddings", 1024);
    const unsigned flags = NN_BIAS | NN_CONV1D;
    decoder_plan p = arch_decoder_gpt_plan(
        &arch_decoder_gpt2_names, cfg_dim(c, "n_inner", 4 * d->hidden),
        cfg_act(c, "activation_function", "gelu_new"), cfg_float(c, "layer_norm_epsilon", 1e-5f));
    p.norm1 = "ln_1";
    p.norm2 = "ln_2";
    p.qkv = p.o = p.mlp = flags;
    const bool by_layer = cfg_bool(c, "scale_attn_by_inverse_layer_idx", false);
    const float scale =
        cfg_bool(c, "scale_attn_weights", true) ? 1.0f / sqrtf((float)d->head_dim) : 1.0f;
    TRY(arch_decoder_layers(b, d, err));
    TRY(arch_decoder_load(b, d, &p, err));
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        l->scale = by_layer ? scale / (float)(il + 1) : scale;
        nn_scope(ld, "%sh.%zu.", ld->base, il);
        if (nn_load_has(ld, "crossattention.q_attn.weight")) load_cross(ld, l, d->hidden, p.eps);
    }
    return arch_build_ok(b, err);
}

const arch_family arch_gpt2 = {
    .model_types = (const char *const[]){"gpt2", "gpt-sw3", NULL},
    .classes = (const char *const[]){"GPT2Model", "GPT2LMHeadModel", "GPT2DoubleHeadsModel",
                                     "GPT2ForSequenceClassification", "GPT2ForTokenClassification",
                                     "GPT2ForQuestionAnswering", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){".attn.bias", ".attn.masked_bias", "crossattention.bias",
                                       "crossattention.masked_bias", NULL},
    .load = load,
    .forward = arch_decoder_forward,
    .remember = arch_decoder_remember,
};
