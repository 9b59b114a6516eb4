/* NomicBERT: nomic-embed-text v1 and v1.5, nomic-bert-2048, CodeRankEmbed, cde. Nussbaum et al. 2024,
 * arXiv:2402.01613; the code beside those checkpoints (modeling_hf_nomic_bert.py), which is not run: this file
 * computes what it computes.
 *
 *   ids ─ word + type embeddings ─ norm ─┐
 *   ┌────────────────────────────────────┘
 *   └─ n x [ qkv ─ rope ─ attention ─ out ─ (+x) norm ─ fc2(fc11 x * act(fc12 x)) ─ (+x) norm ] ─ heads
 *
 * Easy to get wrong: the words of config.json are GPT-2's; fc12 is the gate, not fc11; q, k and v lie one after the
 * other in Wqkv; rotary_scaling_factor is the factor of dynamic NTK past max_trained_positions; the table of words is
 * padded to a multiple of pad_vocab_size_multiple. There is no last norm. Blocks with prenorm and mixtures of experts
 * (nomic-embed-text-v2-moe) are refused by name. Checked on: tests/fixtures/models/nomic_bert-*. */
#include "arch/arch_encoder.h"

typedef struct {
    size_t rotated; // entries of a head; 0: positions have a table
    k_act head_act;
    bool gated;
    unsigned qkv, fc1, fc2; // NN_BIAS or NN_NO_BIAS
} nomic_config;

static void read_act(arch_config *c, nomic_config *o, encoder_config *e)
{
    const mltf_str name = cfg_str(c, "activation_function", "gelu");
    const bool glu = str_is(name, "glu"), swiglu = str_is(name, "swiglu");
    o->gated = glu || swiglu || str_is(name, "geglu");
    e->act = glu ? K_ACT_SIGMOID : swiglu ? K_ACT_SILU : K_ACT_GELU;
    o->head_act = swiglu ? K_ACT_SILU : K_ACT_GELU;
    if (str_starts(name, "gelu_")) o->head_act = K_ACT_GELU_TANH;
    if (!o->gated && str_starts(name, "gelu_")) e->act = K_ACT_GELU_TANH;
    if (!o->gated && !str_starts(name, "gelu"))
        cfg_fail(c, "\"activation_function\" \"" STR_FMT "\" is not supported", STR_ARG(name));
}

static void read_config(arch_config *c, nomic_config *o, encoder_config *e)
{
    e->hidden = e->embed = cfg_dim(c, "n_embd|hidden_size", 768);
    e->layers = cfg_layers(c, "n_layer|num_hidden_layers", 12);
    e->heads = cfg_dim(c, "n_head|num_attention_heads", 12);
    e->vocab = cfg_dim(c, "vocab_size", 30522);
    const size_t multiple = cfg_dim(c, "pad_vocab_size_multiple", 1);
    e->vocab = (e->vocab + multiple - 1) / multiple * multiple;
    e->types = cfg_size(c, "type_vocab_size", 2, 0, 1 << 20);
    e->eps = cfg_float(c, "layer_norm_epsilon", 1e-5f);
    o->qkv = cfg_bool(c, "qkv_proj_bias", true) ? NN_BIAS : NN_NO_BIAS;
    o->fc1 = cfg_bool(c, "mlp_fc1_bias", true) ? NN_BIAS : NN_NO_BIAS;
    o->fc2 = cfg_bool(c, "mlp_fc2_bias", true) ? NN_BIAS : NN_NO_BIAS;
    read_act(c, o, e);
    e->ffn = cfg_dim(c, "n_inner", o->gated ? 8 * e->hidden / 3 : 4 * e->hidden);
    if (o->gated) e->ffn = (e->ffn + 255) / 256 * 256;
    const float part = cfg_float(c, "rotary_emb_fraction", 0);
    if (!(part >= 0 && part <= 1)) cfg_fail(c, "\"rotary_emb_fraction\" must be from 0 to 1");
    o->rotated = (size_t)((float)(e->hidden / e->heads) * part);
    if (e->hidden % e->heads)
        cfg_fail(c, "\"n_embd\" %zu is not a multiple of \"n_head\" %zu", e->hidden, e->heads);
    static const char *const refused[] = {"prenorm", "parallel_block", "use_rms_norm"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (cfg_bool(c, refused[i], false)) cfg_fail(c, "\"%s\" is not supported", refused[i]);
    if (cfg_size(c, "num_experts", 0, 0, 1 << 20))
        cfg_fail(c, "mixtures of experts (\"num_experts\") are not supported in nomic_bert");
    if (cfg_get(c, "rotary_emb_scale_base"))
        cfg_fail(c, "\"rotary_emb_scale_base\" is not supported");
    e->positions =
        o->rotated ? 0 : cfg_size(c, "max_position_embeddings|n_positions", 1024, 0, 1 << 24);
}

static void load_layer(nn_loader *ld, encoder_layer *l, const nomic_config *c,
                       const encoder_config *e, size_t il)
{
    const size_t H = e->hidden, F = e->ffn;
    nn_scope(ld, "%sencoder.layers.%zu.", ld->base, il);
    nn_load_linear(ld, &l->attn.qkv, "attn.Wqkv", 3 * H, H, c->qkv);
    nn_load_linear(ld, &l->attn.o, "attn.out_proj", H, H, c->qkv);
    nn_load_norm(ld, &l->attn_norm, "norm1", NN_NORM_LAYER, H, e->eps, NN_BIAS);
    if (c->gated) nn_load_linear(ld, &l->mlp.gate, "mlp.fc12", F, H, c->fc1);
    nn_load_linear(ld, &l->mlp.up, c->gated ? "mlp.fc11" : "mlp.fc1", F, H, c->fc1);
    nn_load_linear(ld, &l->mlp.down, "mlp.fc2", H, F, c->fc2);
    nn_load_norm(ld, &l->mlp_norm, "norm2", NN_NORM_LAYER, H, e->eps, NN_BIAS);
    l->mlp.act = e->act;
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    nomic_config c = {0};
    arch_encoder *e = arch_new(b, 1, sizeof *e);
    TRY(arch_build_ok(b, err));
    read_config(&b->cfg, &c, &e->cfg);
    e->layers = arch_new(b, e->cfg.layers, sizeof *e->layers);
    TRY(arch_build_ok(b, err));
    if (c.rotated)
        arch_rope_load(
            &e->rope, b,
            &(arch_rope_options){.dim = c.rotated,
                                 .theta = 10000,
                                 .theta_key = "rotary_emb_base",
                                 .interleaved = cfg_bool(&b->cfg, "rotary_emb_interleaved", false),
                                 .ignore_scaling = true});
    const float factor = cfg_float(&b->cfg, "rotary_scaling_factor", 0);
    if (c.rotated && factor != 0) {
        e->rope.factor = factor;
        e->rope.border = cfg_dim(&b->cfg, "max_trained_positions", 2048);
        if (c.rotated < 4)
            cfg_fail(&b->cfg, "dynamic rope needs heads of at least 4 rotated dimensions");
    }
    TRY(arch_build_ok(b, err));

    const size_t H = e->cfg.hidden;
    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &e->embed.words, "embeddings.word_embeddings", "input id", e->cfg.vocab, H,
                  0);
    if (e->cfg.types)
        nn_load_embed(ld, &e->embed.types, "embeddings.token_type_embeddings", "token type",
                      e->cfg.types, H, 0);
    if (e->cfg.positions)
        nn_load_embed(ld, &e->embed.positions, "embeddings.position_embeddings", "position",
                      e->cfg.positions, H, 0);
    nn_load_norm(ld, &e->embed.norm, "emb_ln", NN_NORM_LAYER, H, e->cfg.eps, NN_BIAS);
    for (size_t il = 0; il < e->cfg.layers; il++) load_layer(ld, &e->layers[il], &c, &e->cfg, il);
    arch_encoder_names names = arch_bert_heads(&e->cfg);
    names.mlm_norm = "cls.predictions.transform.layer_norm";
    names.mlm_act = c.head_act;
    names.mlm_bias = c.fc1 ? "cls.predictions.decoder.bias" : NULL;
    names.mlm_dense_no_bias = c.fc1 == NN_NO_BIAS;
    arch_encoder_heads_load(b, &e->heads, &names, H, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

const arch_family arch_nomic_bert = {
    .model_types = (const char *const[]){"nomic_bert", NULL},
    .classes =
        (const char *const[]){"NomicBertModel", "NomicBertForPreTraining", "NomicBertForMaskedLM",
                              "NomicBertForSequenceClassification", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "bert.",
    .ignorable = (const char *const[]){"rotary_emb.inv_freq", "position_ids", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
