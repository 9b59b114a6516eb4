/* RemBERT. Chung et al. 2020, arXiv:2010.12821; transformers 4.57 models/rembert/modeling_rembert.py.
 *
 *   ids ─ narrow word + position + type embeddings ─ norm ─ linear ─ BERT's layers ─ heads
 *
 * Easy to get wrong: the masked LM's transform is wider than everything else (output_embedding_size), and its matrix
 * is not the embedding's. Checked on: random checkpoints of the library. */
#include "arch/arch_encoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_encoder *e = arch_new(b, 1, sizeof *e);
    TRY(arch_build_ok(b, err));
    e->cfg =
        (encoder_config){.hidden = 1152, .layers = 32, .heads = 18, .ffn = 4608, .vocab = 250300};
    arch_encoder_config(c, &e->cfg);
    e->cfg.embed = cfg_dim(c, "input_embedding_size", 256);
    e->causal = cfg_bool(c, "is_decoder", false);
    arch_encoder_names heads = arch_bert_heads(&e->cfg);
    heads.mlm_width = cfg_dim(c, "output_embedding_size", 1664);
    heads.mlm_dense = "cls.predictions.dense|cls.predictions.transform.dense";
    heads.mlm_norm = "cls.predictions.LayerNorm|cls.predictions.transform.LayerNorm";
    heads.mlm_bias = "cls.predictions.decoder.bias|cls.predictions.bias";

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    nn_scope(ld, "%sencoder.", ld->base);
    nn_load_linear(ld, &e->project, "embedding_hidden_mapping_in", e->cfg.hidden, e->cfg.embed,
                   NN_BIAS);
    arch_encoder_layers_load(b, e, "encoder.layer", &bert_layer_names);
    arch_encoder_heads_load(b, &e->heads, &heads, e->cfg.hidden, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

const arch_family arch_rembert = {
    .model_types = (const char *const[]){"rembert", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("RemBert"), "RemBertForCausalLM", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "rembert.",
    .ignorable = (const char *const[]){"position_ids", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
