/* MPNet. Song et al. 2020, arXiv:2004.09297; transformers 4.57 models/mpnet/modeling_mpnet.py.
 *
 *   ids ─ word + position embeddings ─ norm ─┐
 *   ┌────────────────────────────────────────┘
 *   └─ n x [ q k v ─ attention + relative bias ─ o ─ (+x) norm ─ dense ─ act ─ dense ─ (+x) norm ] ─ heads
 *
 * Easy to get wrong: positions count from 2, padding (id 1) stands at 1; one table of relative biases for all
 * layers, always in 32 buckets; no token types. Checked on: fixtures mpnet-*. */
#include "arch/arch_encoder.h"

enum { PADDING = 1, BUCKETS = 32, MAX_DISTANCE = 128 };

typedef struct {
    arch_encoder base;
    const float *bias; // [buckets, heads]
} mpnet_model;

static const encoder_layer_names layer_names = {
    .q = "attention.attn.q",
    .k = "attention.attn.k",
    .v = "attention.attn.v",
    .o = "attention.attn.o",
    .attn_norm = "attention.LayerNorm",
    .up = "intermediate.dense",
    .down = "output.dense",
    .mlp_norm = "output.LayerNorm",
};

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    mpnet_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_encoder *e = &m->base;
    e->cfg = (encoder_config){.vocab = 30527};
    arch_encoder_config(&b->cfg, &e->cfg);
    e->cfg.types = 0;
    e->counts_padding = true;
    e->pad = PADDING;
    const size_t buckets =
        cfg_size(&b->cfg, "relative_attention_num_buckets", BUCKETS, BUCKETS, 1 << 20);

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    nn_scope(ld, "%s", ld->base);
    m->bias =
        nn_load_vector(ld, "encoder.relative_attention_bias.weight", buckets * e->cfg.heads, 0);
    arch_encoder_layers_load(b, e, "encoder.layer", &layer_names);
    const arch_encoder_names names = arch_roberta_heads(b, &e->cfg);
    arch_encoder_heads_load(b, &e->heads, &names, e->cfg.hidden, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

static void forward(arch_run *r)
{
    const mpnet_model *m = r->impl;
    nn_attn attn = arch_encoder_attn(&m->base);
    nn_bucket_bias(r->cx, &attn, &r->seqs, m->bias, BUCKETS, MAX_DISTANCE, false);
    arch_encoder_run(r, &attn);
}

const arch_family arch_mpnet = {
    .model_types = (const char *const[]){"mpnet", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("MPNet"), NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "mpnet.",
    .ignorable = (const char *const[]){"position_ids", "lm_head.decoder.bias", NULL},
    .load = load,
    .forward = forward,
};
