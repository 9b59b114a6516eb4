/* DistilBERT. Sanh et al. 2019, arXiv:1910.01108; transformers 4.57 models/distilbert/modeling_distilbert.py.
 *
 *   ids ─ word + position embeddings ─ norm ─┐
 *   ┌────────────────────────────────────────┘
 *   └─ n x [ q k v ─ attention ─ out ─ (+x) norm ─ lin1 ─ act ─ lin2 ─ (+x) norm ] ─ heads
 *
 * Easy to get wrong: no token types, no pooler; the classifier has a layer of its own with relu; eps is
 * 1e-12 and not in config.json. Checked on: fixtures distilbert-*. */
#include "arch/arch_encoder.h"

static const float EPS = 1e-12f;

static void read_config(arch_config *c, encoder_config *o)
{
    o->hidden = o->embed = cfg_dim(c, "dim|hidden_size", 768);
    o->layers = cfg_layers(c, "n_layers|num_hidden_layers", 6);
    o->heads = cfg_dim(c, "n_heads|num_attention_heads", 12);
    o->ffn = cfg_dim(c, "hidden_dim", 3072);
    o->vocab = cfg_dim(c, "vocab_size", 30522);
    o->positions = cfg_dim(c, "max_position_embeddings", 512);
    o->act = cfg_act(c, "activation", "gelu");
    o->eps = EPS;
    if (o->hidden % o->heads)
        cfg_fail(c, "\"dim\" %zu is not a multiple of \"n_heads\" %zu", o->hidden, o->heads);
}

static const encoder_layer_names layer_names = {
    .q = "attention.q_lin",
    .k = "attention.k_lin",
    .v = "attention.v_lin",
    .o = "attention.out_lin",
    .attn_norm = "sa_layer_norm",
    .up = "ffn.lin1",
    .down = "ffn.lin2",
    .mlp_norm = "output_layer_norm",
};

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_encoder *e = arch_new(b, 1, sizeof *e);
    TRY(arch_build_ok(b, err));
    const encoder_config *c = &e->cfg;
    read_config(&b->cfg, &e->cfg);
    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, c);
    arch_encoder_layers_load(b, e, "transformer.layer", &layer_names);
    arch_encoder_heads_load(b, &e->heads,
                            &(arch_encoder_names){.cls_dense = "pre_classifier",
                                                  .cls_act = K_ACT_RELU,
                                                  .cls_out = "classifier",
                                                  .token_out = "classifier",
                                                  .qa_out = "qa_outputs",
                                                  .mlm_dense = "vocab_transform",
                                                  .mlm_act = c->act,
                                                  .mlm_norm = "vocab_layer_norm",
                                                  .mlm_out = "vocab_projector",
                                                  .mlm_bias = "vocab_projector.bias",
                                                  .eps = EPS},
                            c->hidden, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

const arch_family arch_distilbert = {
    .model_types = (const char *const[]){"distilbert", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("DistilBert"), NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "distilbert.",
    .ignorable = (const char *const[]){"position_ids", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
