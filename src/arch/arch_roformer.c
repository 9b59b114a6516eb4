/* RoFormer. Su et al. 2021, arXiv:2104.09864; transformers 4.57 models/roformer/modeling_roformer.py.
 *
 *   ids ─ word + type embeddings ─ norm ─ (linear) ─┐
 *   ┌───────────────────────────────────────────────┘
 *   └─ n x [ q k v ─ q and k turned ─ attention ─ dense ─ (+x) norm ─ dense ─ act ─ dense ─ (+x) norm ] ─ heads
 *
 * Easy to get wrong: the sines are a stored table (encoder.embed_positions), rounded with the weights of a half
 * precision checkpoint; neighbours (0, 1), (2, 3) … turn together. Checked on: random checkpoints of the library. */
#include "arch/arch_encoder.h"

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    arch_encoder *e = arch_new(b, 1, sizeof *e);
    TRY(arch_build_ok(b, err));
    e->cfg = (encoder_config){.vocab = 50000, .positions = 1536};
    arch_encoder_config(c, &e->cfg);
    e->cfg.embed = cfg_dim(c, "embedding_size", e->cfg.hidden);
    e->causal = cfg_bool(c, "is_decoder", false);
    const size_t D = e->cfg.hidden / e->cfg.heads;
    if (D % 2) cfg_fail(c, "heads of %zu dimensions cannot be turned in pairs", D);
    if (cfg_bool(c, "rotary_value", false)) cfg_fail(c, "\"rotary_value\" is not supported");
    e->n_sines = e->cfg.positions;
    e->cfg.positions = 0;

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    nn_scope(ld, "%s", ld->base);
    if (e->cfg.embed != e->cfg.hidden)
        nn_load_linear(ld, &e->project, "embeddings_project", e->cfg.hidden, e->cfg.embed, NN_BIAS);
    e->sines = nn_load_vector(ld, "encoder.embed_positions.weight", e->n_sines * D, 0);
    arch_encoder_layers_load(b, e, "encoder.layer", &bert_layer_names);
    const bool choice = b->m->info.head == ARCH_HEAD_MULTIPLE_CHOICE;
    arch_encoder_names heads = arch_bert_heads(&e->cfg);
    heads.pooler = NULL;
    heads.cls_pooler = false;
    heads.cls_dense = choice ? "sequence_summary.summary" : "classifier.dense";
    heads.cls_act = choice ? cfg_act(c, "summary_activation", "gelu") : e->cfg.act;
    heads.cls_out = "classifier.out_proj";
    heads.mc_out = "classifier";
    arch_encoder_heads_load(b, &e->heads, &heads, e->cfg.hidden, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

const arch_family arch_roformer = {
    .model_types = (const char *const[]){"roformer", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("RoFormer"), "RoFormerForCausalLM", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "roformer.",
    .ignorable = (const char *const[]){"predictions.decoder.bias", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
