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
 * query_pre_attn_scalar, not by head_dim. Checked on: fixtures gemma-, gemma2-, gemma3_text-base. */
#include "arch/arch_decoder.h"

#include <math.h>

static void load_norm(nn_loader *ld, nn_norm_w *w, const char *name, size_t n, float eps)
{
    nn_load_norm(ld, w, name, NN_NORM_RMS, n, eps, 0);
    w->offset = 1;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_decoder *d = arch_new(b, 1, sizeof *d);
    TRY(arch_build_ok(b, err));
    const mltf_str type = str_from(b->m->info.model_type);
    const bool one = str_is(type, "gemma"), three = str_is(type, "gemma3_text");
    const bool vault = str_is(type, "vaultgemma"), capped = vault || str_is(type, "gemma2");
    *d = (arch_decoder){.hidden = one ? 3072 : 2304,
                        .n_layers = one ? 28 : 26,
                        .heads = one ? 16 : 8,
                        .kv_heads = one ? 16 : 4,
                        .head_dim = 256,
                        .vocab = three ? 262208 : 256000};
    arch_decoder_config(c, d);
    const size_t H = d->hidden, D = d->head_dim,
                 F = cfg_dim(c, "intermediate_size", one ? 24576 : 9216);
    const float eps = cfg_float(c, "rms_norm_eps", 1e-6f);
    const k_act act = cfg_act(c, one ? "hidden_act" : "hidden_activation", "gelu_pytorch_tanh");
    const unsigned bias = cfg_bool(c, "attention_bias", false) ? NN_BIAS : NN_NO_BIAS;
    const size_t window = one ? 0 : arch_decoder_window(c, true, 4096);
    const size_t pattern =
        three ? cfg_size(c, "_sliding_window_pattern|sliding_window_pattern", 6, 1, 1 << 20) : 2;
    const size_t positions = cfg_dim(c, "max_position_embeddings", three ? 131072 : 8192);
    d->embed_scale = sqrtf((float)H);
    if (!one) d->scale = 1.0f / sqrtf(cfg_float(c, "query_pre_attn_scalar", 256));
    if (!one) d->softcap = cfg_float(c, "attn_logit_softcapping", 0);
    if (capped && !json_get(c->root, "attn_logit_softcapping")) d->softcap = 50;
    if (three && cfg_bool(c, "use_bidirectional_attention", false))
        cfg_fail(c, "\"use_bidirectional_attention\" is not supported");
    arch_rope_load(&d->rope, b,
                   &(arch_rope_options){.dim = D,
                                        .theta = three ? 1e6f : 10000,
                                        .max_positions = positions,
                                        .layer_type = three ? "full_attention" : NULL});
    if (three)
        arch_rope_load(&d->rope_local, b,
                       &(arch_rope_options){.dim = D,
                                            .theta = 10000,
                                            .theta_key = "rope_local_base_freq",
                                            .max_positions = positions,
                                            .layer_type = "sliding_attention",
                                            .ignore_scaling = true});
    TRY(arch_decoder_layers(b, d, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &d->words, "embed_tokens", "input id", d->vocab, H, 0);
    load_norm(ld, &d->norm, "norm", H, eps);
    for (size_t il = 0; il < d->n_layers; il++) {
        decoder_layer *l = &d->layers[il];
        nn_scope(ld, "%slayers.%zu.", ld->base, il);
        const bool slides =
            !one && cfg_layer_is(c, il, "sliding_attention", (il + 1) % pattern != 0);
        l->window = slides ? window : 0;
        if (three && slides) l->rope = &d->rope_local;
        load_norm(ld, &l->norm1, "input_layernorm", H, eps);
        arch_decoder_attn_load(ld, &l->attn, d, bias, bias);
        if (three) {
            load_norm(ld, &l->attn.q_norm, "self_attn.q_norm", D, eps);
            load_norm(ld, &l->attn.k_norm, "self_attn.k_norm", D, eps);
        }
        if (one) {
            load_norm(ld, &l->norm2, "post_attention_layernorm", H, eps);
        } else if (vault) {
            load_norm(ld, &l->norm2, "pre_feedforward_layernorm", H, eps);
        } else {
            load_norm(ld, &l->post1, "post_attention_layernorm", H, eps);
            load_norm(ld, &l->norm2, "pre_feedforward_layernorm", H, eps);
            load_norm(ld, &l->post2, "post_feedforward_layernorm", H, eps);
        }
        arch_decoder_mlp_load(ld, &l->mlp, "mlp", H, F, act, NN_NO_BIAS);
    }
    arch_decoder_heads_load(b, &d->heads_w, H, &d->words, "lm_head", NN_NO_BIAS, true);
    if (!one && b->m->info.head == ARCH_HEAD_LM) {
        d->heads_w.head.softcap = cfg_float(c, "final_logit_softcapping", 0);
        if (capped && !json_get(c->root, "final_logit_softcapping")) d->heads_w.head.softcap = 30;
    }
    return arch_decoder_done(b, d, err);
}

#define CLASSES(name)                                                                              \
    name "Model", name "ForCausalLM", name "ForSequenceClassification",                            \
        name "ForTokenClassification"

const arch_family arch_gemma = {
    .model_types = (const char *const[]){"gemma", "gemma2", "gemma3_text", "vaultgemma", NULL},
    .classes = (const char *const[]){CLASSES("Gemma"), CLASSES("Gemma2"), CLASSES("Gemma3"),
                                     "Gemma3TextModel", "Gemma3TextForSequenceClassification",
                                     "VaultGemmaModel", "VaultGemmaForCausalLM", NULL},
    .kind = ARCH_DECODER,
    .base_prefix = "model.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", NULL},
    .load = load,
    .forward = arch_decoder_forward,
};
