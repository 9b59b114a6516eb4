/* BERT with the norm in front of each half: roberta-prelayernorm, xlm-roberta-xl, megatron-bert.
 * Ott et al. 2019, arXiv:1904.01038; Goyal et al. 2021, arXiv:2105.00572; Shoeybi et al. 2019, arXiv:1909.08053;
 * transformers 4.57 models/{roberta_prelayernorm,xlm_roberta_xl,megatron_bert}/modeling_*.py.
 *
 *   ids ─ word + position + type embeddings ─ (roberta-prelayernorm: norm) ─┐
 *   ┌───────────────────────────────────────────────────────────────────────┘
 *   └─ n x [ x += attention(norm x);  x += mlp(norm x) ] ─ norm ─ heads
 *
 * Easy to get wrong: the last of roberta-prelayernorm's hidden states is not normed, those of the others are;
 * megatron-bert counts positions from 0 and has BERT's heads, the others are robertas.
 * Checked on: random checkpoints of the library. */
#include "arch/arch_encoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_encoder *e = arch_new(b, 1, sizeof *e);
    TRY(arch_build_ok(b, err));
    const mltf_str type = str_from(b->m->info.model_type);
    const bool megatron = str_is(type, "megatron-bert"), xl = str_is(type, "xlm-roberta-xl");
    e->cfg = megatron ? (encoder_config){.hidden = 1024,
                                         .layers = 24,
                                         .heads = 16,
                                         .ffn = 4096,
                                         .vocab = 29056}
             : xl     ? (encoder_config){.hidden = 2560,
                                         .layers = 36,
                                         .heads = 32,
                                         .ffn = 10240,
                                         .vocab = 250880,
                                         .positions = 514,
                                         .types = 1,
                                         .eps = 1e-5f}
                      : (encoder_config){.vocab = 50265};
    arch_encoder_config(c, &e->cfg);
    arch_encoder_absolute(c);
    e->pre_norm = true;
    e->norm_unseen = !megatron && !xl;
    e->causal = cfg_bool(c, "is_decoder", false);
    e->counts_padding = !megatron;
    e->counts_padding_always = xl;
    e->pad = cfg_token(c, "pad_token_id", 1);
    if (e->counts_padding && e->pad < 0)
        cfg_fail(c, "\"pad_token_id\" is needed to count positions");
    encoder_layer_names names = bert_layer_names;
    names.attn_norm = megatron ? "attention.ln"
                      : xl     ? "attention.self_attn_layer_norm"
                               : "attention.LayerNorm";
    names.mlp_norm = megatron ? "ln" : xl ? "LayerNorm" : "intermediate.LayerNorm";

    nn_scope(ld, "%sembeddings.", ld->base);
    e->embed.no_norm = xl || megatron;
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    arch_encoder_layers_load(b, e, "encoder.layer", &names);
    nn_scope(ld, "%s", ld->base);
    nn_load_norm(ld, &e->norm,
                 megatron ? "encoder.ln"
                 : xl     ? "encoder.LayerNorm"
                          : "LayerNorm",
                 NN_NORM_LAYER, e->cfg.hidden, e->cfg.eps, NN_BIAS);
    const arch_encoder_names heads =
        megatron ? arch_bert_heads(&e->cfg) : arch_roberta_heads(b, &e->cfg);
    arch_encoder_heads_load(b, &e->heads, &heads, e->cfg.hidden, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

const arch_family arch_prelayernorm = {
    .model_types =
        (const char *const[]){"roberta-prelayernorm", "xlm-roberta-xl", "megatron-bert", NULL},
    .classes =
        (const char *const[]){
            ARCH_ENCODER_CLASSES("RobertaPreLayerNorm"), "RobertaPreLayerNormForCausalLM",
            ARCH_ENCODER_CLASSES("XLMRobertaXL"), "XLMRobertaXLForCausalLM",
            ARCH_ENCODER_CLASSES("MegatronBert"), "MegatronBertForCausalLM",
            "MegatronBertForPreTraining", "MegatronBertForNextSentencePrediction", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "roberta_prelayernorm.|roberta.|bert.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias",
                                       "lm_head.decoder.bias", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
