/* I-BERT in floating point: roberta whose layers can be quantized. Kim et al. 2021, arXiv:2101.01321;
 * transformers 4.57 models/ibert/modeling_ibert.py.
 *
 *   ids ─ word + type + position embeddings ─ norm ─ roberta's layers ─ heads
 *
 * Easy to get wrong: the activation is gelu whatever hidden_act says; ranges and integer copies of the weights lie in
 * the checkpoint and count with quant_mode alone, which is refused. Checked on: random checkpoints of the library. */
#include "arch/arch_encoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_encoder *e = arch_new(b, 1, sizeof *e);
    TRY(arch_build_ok(b, err));
    arch_encoder_config(c, &e->cfg);
    arch_encoder_absolute(c);
    if (cfg_bool(c, "quant_mode", false))
        cfg_fail(c, "\"quant_mode\", arithmetic of integers alone, is not supported");
    e->cfg.act = K_ACT_GELU;
    e->counts_padding = true;
    e->pad = cfg_token(c, "pad_token_id", 1);
    if (e->pad < 0) cfg_fail(c, "\"pad_token_id\" is needed to count positions");

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    arch_encoder_layers_load(b, e, "encoder.layer", &bert_layer_names);
    const arch_encoder_names heads = arch_roberta_heads(b, &e->cfg);
    arch_encoder_heads_load(b, &e->heads, &heads, e->cfg.hidden, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

const arch_family arch_ibert = {
    .model_types = (const char *const[]){"ibert", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("IBert"), NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "ibert.",
    .ignorable = (const char *const[]){"position_ids", "lm_head.decoder.bias", "weight_integer",
                                       "bias_integer", "weight_scaling_factor", "fc_scaling_factor",
                                       "act_scaling_factor", ".x_min", ".x_max", ".shift", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
