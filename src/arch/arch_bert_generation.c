/* BertGeneration: BERT without token types, as one half of an encoder-decoder or as a language model. Rothe et al. 2019,
 * arXiv:1907.12461; transformers 4.57 models/bert_generation/modeling_bert_generation.py.
 *
 *   ids ─ word + position embeddings ─ norm ─ BERT's layers ─ (lm_head)
 *
 * Easy to get wrong: a BertGenerationDecoder whose config.json does not say is_decoder sees what follows, too; its
 * head is one matrix with a bias, no transform before it. Checked on: random checkpoints of the library. */
#include "arch/arch_encoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_encoder *e = arch_new(b, 1, sizeof *e);
    TRY(arch_build_ok(b, err));
    e->cfg =
        (encoder_config){.hidden = 1024, .layers = 24, .heads = 16, .ffn = 4096, .vocab = 50358};
    arch_encoder_config(c, &e->cfg);
    arch_encoder_absolute(c);
    e->cfg.types = 0;
    e->causal = cfg_bool(c, "is_decoder", false);

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    arch_encoder_layers_load(b, e, "encoder.layer", &bert_layer_names);
    arch_encoder_heads_load(b, &e->heads,
                            &(arch_encoder_names){.mlm_out = "lm_head.decoder",
                                                  .mlm_bias = "lm_head.bias|lm_head.decoder.bias"},
                            e->cfg.hidden, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

const arch_family arch_bert_generation = {
    .model_types = (const char *const[]){"bert-generation", NULL},
    .classes = (const char *const[]){"BertGenerationEncoder", "BertGenerationDecoder", NULL},
    .heads = (const arch_class_head[]){{"BertGenerationEncoder", ARCH_HEAD_NONE},
                                       {"BertGenerationDecoder", ARCH_HEAD_LM},
                                       {0}},
    .kind = ARCH_ENCODER,
    .base_prefix = "bert.",
    .ignorable = (const char *const[]){"position_ids", "lm_head.decoder.bias", NULL},
    .load = load,
    .forward = arch_encoder_forward,
    .remember = arch_encoder_remember,
};
