/* LUKE and mLUKE, as models of text. Yamada et al. 2020, arXiv:2010.01057; transformers 4.57 models/luke/modeling_luke.py.
 *
 *   ids ─ word + position + type embeddings ─ norm ─ roberta's layers ─ heads
 *
 * Easy to get wrong: entities have embeddings, queries and predictions of their own, which no pipeline of text reaches:
 * they stay unread. Classifiers stand on the pooler, unlike roberta's. Checked on: random checkpoints of the library. */
#include "arch/arch_encoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_encoder *e = arch_new(b, 1, sizeof *e);
    TRY(arch_build_ok(b, err));
    e->cfg = (encoder_config){.vocab = 50267};
    arch_encoder_config(&b->cfg, &e->cfg);
    e->counts_padding = true;
    e->pad = cfg_token(&b->cfg, "pad_token_id", 1);
    if (e->pad < 0) cfg_fail(&b->cfg, "\"pad_token_id\" is needed to count positions");

    nn_scope(ld, "%sembeddings.", ld->base);
    e->embed.types_last = true;
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    arch_encoder_layers_load(b, e, "encoder.layer", &bert_layer_names);
    arch_encoder_names heads = arch_roberta_heads(b, &e->cfg);
    heads.cls_pooler = true;
    heads.cls_out = "classifier";
    arch_encoder_heads_load(b, &e->heads, &heads, e->cfg.hidden, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

#define OF_ENTITIES(name) name ".weight", name ".bias"

const arch_family arch_luke = {
    .model_types = (const char *const[]){"luke", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("Luke"), NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "luke.",
    .ignorable =
        (const char *const[]){"position_ids", "lm_head.decoder.bias",
                              "entity_embeddings.entity_embeddings.weight",
                              "entity_embeddings.entity_embedding_dense.weight",
                              "entity_embeddings.position_embeddings.weight",
                              "entity_embeddings.token_type_embeddings.weight",
                              OF_ENTITIES("entity_embeddings.LayerNorm"), OF_ENTITIES("w2e_query"),
                              OF_ENTITIES("e2w_query"), OF_ENTITIES("e2e_query"),
                              OF_ENTITIES("entity_predictions.transform.dense"),
                              OF_ENTITIES("entity_predictions.transform.LayerNorm"),
                              "entity_predictions.decoder.weight", "entity_predictions.bias", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
