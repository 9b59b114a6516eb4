/* ESM-1b and ESM-2, of proteins. Rives et al. 2019, doi:10.1101/622803; Lin et al. 2022, doi:10.1101/2022.07.20.500902;
 * transformers 4.57 models/esm/modeling_esm.py.
 *
 *   ids ─ word (+ position) embeddings ─ (norm) ─ n x [ x += attention(norm x);  x += mlp(norm x) ] ─ norm ─ heads
 *
 * Easy to get wrong: with token_dropout the words of masked tokens are zeros and the others grow as if 12 % of them
 * were masked always; ESM-2 turns q and k instead of adding positions; its gelu is the erf form whatever hidden_act
 * says. Checked on: random checkpoints of the library. */
#include "arch/arch_encoder.h"

#include <string.h>

typedef struct {
    arch_encoder base;
    int64_t mask; // masked tokens have this id, which token_dropout looks for; -1: no token_dropout
} esm_model;

static void read_config(arch_build *b, esm_model *m)
{
    arch_config *c = &b->cfg;
    arch_encoder *e = &m->base;
    e->cfg = (encoder_config){.positions = 1026};
    arch_encoder_config(c, &e->cfg);
    e->cfg.types = 0;
    e->cfg.act = K_ACT_GELU;
    e->pre_norm = true;
    e->embed.no_norm = true;
    e->pad = cfg_token(c, "pad_token_id", -1);
    m->mask = cfg_bool(c, "token_dropout", false) ? cfg_token(c, "mask_token_id", -1) : -1;
    const size_t D = e->cfg.hidden / e->cfg.heads;
    const mltf_str kind = cfg_str(c, "position_embedding_type", "absolute");
    if (!str_is(kind, "rotary")) {
        arch_encoder_absolute(c);
        e->counts_padding = true;
        if (e->pad < 0) cfg_fail(c, "\"pad_token_id\" is needed to count positions");
        return;
    }
    e->cfg.positions = 0;
    if (D % 2) cfg_fail(c, "heads of %zu dimensions cannot be turned in pairs", D);
    arch_rope_load(&e->rope, b,
                   &(arch_rope_options){.dim = D, .theta = 10000, .ignore_scaling = true});
}

/* Frequencies are a buffer of the checkpoint, rounded with the weights of a half precision one. */
static void load_stored_frequencies(nn_loader *ld, arch_encoder *e)
{
    nn_scope(ld, "%sencoder.layer.0.attention.self.rotary_embeddings.", ld->base);
    const float *stored =
        e->rope.inv_freq ? nn_load_vector(ld, "inv_freq", e->rope.dim / 2, NN_OPTIONAL) : NULL;
    if (stored) memcpy(e->rope.inv_freq, stored, e->rope.dim / 2 * sizeof *stored);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    esm_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_encoder *e = &m->base;
    read_config(b, m);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    if (cfg_bool(&b->cfg, "emb_layer_norm_before", false))
        nn_load_norm(ld, &e->embed.norm, "layer_norm", NN_NORM_LAYER, e->cfg.hidden, e->cfg.eps,
                     NN_BIAS);
    encoder_layer_names names = bert_layer_names;
    names.attn_norm = "attention.LayerNorm";
    names.mlp_norm = "LayerNorm";
    arch_encoder_layers_load(b, e, "encoder.layer", &names);
    load_stored_frequencies(ld, e);
    nn_scope(ld, "%sencoder.", ld->base);
    nn_load_norm(ld, &e->norm, "emb_layer_norm_after", NN_NORM_LAYER, e->cfg.hidden, e->cfg.eps,
                 NN_BIAS);
    const arch_encoder_names heads = arch_roberta_heads(b, &e->cfg);
    arch_encoder_heads_load(b, &e->heads, &heads, e->cfg.hidden, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

/* The words of one sequence as token_dropout leaves them: x [rows, H]. */
static void drop_tokens(arch_run *r, float *x, const esm_model *m, size_t seq)
{
    static const float kept_in_training = 1 - 0.15f * 0.8f;
    const size_t a = r->seqs.start[seq], b = r->seqs.start[seq + 1], H = m->base.cfg.hidden;
    size_t masked = 0, live = 0;
    for (size_t t = a; t < b; t++) {
        masked += r->batch->ids[t] == m->mask;
        live += !r->seqs.key_mask || r->seqs.key_mask[t];
    }
    const float kept = 1.0f - (float)masked / (float)live;
    for (size_t t = a; t < b; t++) {
        if (r->batch->ids[t] == m->mask) memset(x + t * H, 0, H * sizeof *x);
        for (size_t i = 0; i < H; i++) x[t * H + i] = x[t * H + i] * kept_in_training / kept;
    }
}

static void forward(arch_run *r)
{
    const esm_model *m = r->impl;
    const nn_attn attn = arch_encoder_attn(&m->base);
    arch_run run = *r;
    arch_batch batch = *r->batch;
    if (m->mask >= 0 && batch.ids && !batch.input_embeds) {
        float *x = arch_embed_tokens(r, &m->base.embed.words); // [T, H]
        for (size_t s = 0; nn_ok(r->cx) && s < r->seqs.n; s++) drop_tokens(r, x, m, s);
        batch.input_embeds = x;
        run.batch = &batch;
    }
    arch_encoder_run(&run, &attn);
}

const arch_family arch_esm = {
    .model_types = (const char *const[]){"esm", NULL},
    .classes = (const char *const[]){"EsmModel", "EsmForMaskedLM", "EsmForSequenceClassification",
                                     "EsmForTokenClassification", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "esm.",
    .ignorable = (const char *const[]){"position_ids", "rotary_embeddings.inv_freq",
                                       "contact_head.regression.weight",
                                       "contact_head.regression.bias", NULL},
    .load = load,
    .forward = forward,
};
