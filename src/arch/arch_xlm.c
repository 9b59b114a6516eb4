/* XLM and FlauBERT. Lample and Conneau 2019, arXiv:1901.07291; Le et al. 2019, arXiv:1912.05372;
 * transformers 4.57 models/{xlm,flaubert}/modeling_*.py.
 *
 *   ids ─ word + position (+ word of the type) embeddings ─ norm ─ bert's layers (flaubert: norms before) ─ heads
 *
 * Easy to get wrong: token types are looked up among the words, so that a tokenizer's zeros add the word of id 0; the
 * embeddings of languages are for callers who name one, which no pipeline does; a pre-norm FlauBERT has no last norm.
 * Checked on: random checkpoints of the library. */
#include <stdio.h>

#include "arch/arch_encoder.h"

static void read_config(arch_build *b, arch_encoder *e)
{
    arch_config *c = &b->cfg;
    const size_t H = cfg_dim(c, "emb_dim|hidden_size", 2048);
    e->cfg = (encoder_config){
        .hidden = H,
        .embed = H,
        .ffn = 4 * H,
        .layers = cfg_layers(c, "n_layers|num_hidden_layers", 12),
        .heads = cfg_dim(c, "n_heads|num_attention_heads", 16),
        .vocab = cfg_dim(c, "n_words|vocab_size", 30145),
        .positions = cfg_dim(c, "max_position_embeddings", 512),
        .eps = cfg_float(c, "layer_norm_eps", 1e-12f),
        .act = cfg_bool(c, "gelu_activation", true) ? K_ACT_GELU : K_ACT_RELU,
    };
    e->causal = cfg_bool(c, "causal", false);
    e->pre_norm =
        str_is(str_from(b->m->info.model_type), "flaubert") && cfg_bool(c, "pre_norm", false);
    if (H % e->cfg.heads)
        cfg_fail(c, "\"emb_dim\" %zu is not a multiple of \"n_heads\" %zu", H, e->cfg.heads);
    if (!cfg_bool(c, "is_encoder", true)) cfg_fail(c, "\"is_encoder\" false is not supported");
    if (cfg_bool(c, "asm", false)) cfg_fail(c, "\"asm\", an adaptive softmax, is not supported");
}

static void load_layer(nn_loader *ld, arch_encoder *e, size_t il)
{
    static const char *const parts[8][2] = {{"attentions", ".q_lin"}, {"attentions", ".k_lin"},
                                            {"attentions", ".v_lin"}, {"attentions", ".out_lin"},
                                            {"layer_norm1", ""},      {"ffns", ".lin1"},
                                            {"ffns", ".lin2"},        {"layer_norm2", ""}};
    char name[8][48];
    for (size_t i = 0; i < 8; i++)
        snprintf(name[i], sizeof name[i], "%s.%zu%s", parts[i][0], il, parts[i][1]);
    const encoder_layer_names names = {.q = name[0],
                                       .k = name[1],
                                       .v = name[2],
                                       .o = name[3],
                                       .attn_norm = name[4],
                                       .up = name[5],
                                       .down = name[6],
                                       .mlp_norm = name[7]};
    arch_encoder_layer_load(ld, &e->layers[il], &names, &e->cfg);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_encoder *e = arch_new(b, 1, sizeof *e);
    TRY(arch_build_ok(b, err));
    read_config(b, e);
    const encoder_config *c = &e->cfg;
    e->layers = arch_new(b, c->layers, sizeof *e->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%s", ld->base);
    nn_load_embed(ld, &e->embed.words, "embeddings", "input id", c->vocab, c->embed, 0);
    nn_load_embed(ld, &e->embed.positions, "position_embeddings", "position", c->positions,
                  c->embed, 0);
    nn_load_norm(ld, &e->embed.norm, "layer_norm_emb", NN_NORM_LAYER, c->embed, c->eps, NN_BIAS);
    for (size_t il = 0; il < c->layers; il++) load_layer(ld, e, il);
    const arch_head head = b->m->info.head;
    if (head == ARCH_HEAD_SEQ_CLS || head == ARCH_HEAD_MULTIPLE_CHOICE) {
        const arch_summary first = {
            .type = "first", .project = true, .to_labels = true, .out = "logits_proj"};
        arch_summary_load(b, &e->heads, &first, c->hidden);
    } else {
        arch_encoder_heads_load(b, &e->heads,
                                &(arch_encoder_names){.token_out = "classifier",
                                                      .qa_out = "qa_outputs",
                                                      .mlm_out = "pred_layer.proj",
                                                      .mlm_bias = "pred_layer.proj.bias"},
                                c->hidden, &e->embed.words);
    }
    return arch_done(b, e, c->hidden, c->vocab, c->layers, c->positions, err);
}

static void forward(arch_run *r)
{
    const arch_encoder *e = r->impl;
    const nn_attn attn = arch_encoder_attn(e);
    arch_run run = *r;
    arch_batch batch = *r->batch;
    if (batch.type_ids) {
        float *x = arch_embed_tokens(r, &e->embed.words); // [T, H]
        nn_embed_add(r->cx, x, batch.type_ids, &e->embed.words, r->seqs.rows);
        batch.input_embeds = x;
        run.batch = &batch;
    }
    arch_encoder_run(&run, &attn);
}

const arch_family arch_xlm = {
    .model_types = (const char *const[]){"xlm", "flaubert", NULL},
    .classes =
        (const char *const[]){"XLMModel", "XLMWithLMHeadModel", "XLMForSequenceClassification",
                              "XLMForTokenClassification", "XLMForQuestionAnsweringSimple",
                              "XLMForMultipleChoice", "FlaubertModel", "FlaubertWithLMHeadModel",
                              "FlaubertForSequenceClassification", "FlaubertForTokenClassification",
                              "FlaubertForQuestionAnsweringSimple", "FlaubertForMultipleChoice",
                              NULL},
    .heads = (const arch_class_head[]){{"XLMWithLMHeadModel", ARCH_HEAD_MASKED_LM},
                                       {"FlaubertWithLMHeadModel", ARCH_HEAD_MASKED_LM},
                                       {0}},
    .refused = (const arch_refusal[]){{"XLMForQuestionAnswering", ARCH_SEARCHES_SPANS},
                                      {"FlaubertForQuestionAnswering", ARCH_SEARCHES_SPANS},
                                      {0}},
    .kind = ARCH_ENCODER,
    .base_prefix = "transformer.",
    .ignorable = (const char *const[]){"position_ids", "lang_embeddings.weight", NULL},
    .load = load,
    .forward = forward,
};
