/* BigBird where it sees everything. Zaheer et al. 2020, arXiv:2007.14062; transformers 4.57
 * models/big_bird/modeling_big_bird.py.
 *
 *   ids ─ (scaled) word + type + position embeddings ─ norm ─ BERT's layers ─ heads
 *
 * With attention_type block_sparse, texts of up to (5 + 2 num_random_blocks) block_size tokens, 704 as a rule, are
 * computed with full attention by the library, too; beyond, its attention looks at blocks drawn by chance, which is
 * refused here. Easy to get wrong: hidden_act is gelu_new; the pooler has no dense part in its name; the classifier's
 * dense layer takes hidden_act. Checked on: random checkpoints of the library. */
#include "arch/arch_encoder.h"

#include <math.h>

typedef struct {
    arch_encoder base;
    float scale;  // of the words
    size_t limit; // tokens of a sequence
} big_bird_model;

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_config *c = &b->cfg;
    big_bird_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_encoder *e = &m->base;
    e->cfg = (encoder_config){.vocab = 50358, .positions = 4096};
    arch_encoder_config(c, &e->cfg);
    e->cfg.act = cfg_act(c, "hidden_act", "gelu_new");
    e->causal = cfg_bool(c, "is_decoder", false);
    m->scale = cfg_bool(c, "rescale_embeddings", false) ? sqrtf((float)e->cfg.hidden) : 1.0f;
    m->limit = (5 + 2 * cfg_size(c, "num_random_blocks", 3, 0, 1 << 20)) *
               cfg_size(c, "block_size", 64, 1, 1 << 20);
    if (!str_is(cfg_str(c, "attention_type", "block_sparse"), "block_sparse") || e->causal)
        m->limit = SIZE_MAX;
    if (!cfg_bool(c, "use_bias", true)) cfg_fail(c, "\"use_bias\" false is not supported");

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    arch_encoder_layers_load(b, e, "encoder.layer", &bert_layer_names);
    const bool choice = b->m->info.head == ARCH_HEAD_MULTIPLE_CHOICE;
    arch_encoder_names heads = arch_bert_heads(&e->cfg);
    heads.pooler = "pooler";
    heads.cls_pooler = choice;
    heads.cls_dense = "classifier.dense";
    heads.cls_act = e->cfg.act;
    heads.cls_out = "classifier.out_proj";
    heads.mc_out = "classifier";
    arch_encoder_heads_load(b, &e->heads, &heads, e->cfg.hidden, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const big_bird_model *m = r->impl;
    const nn_attn attn = arch_encoder_attn(&m->base);
    for (size_t s = 0; s < r->seqs.n; s++) {
        const size_t n = r->seqs.start[s + 1] - r->seqs.start[s];
        if (n > m->limit)
            nn_fail(cx, MLTF_UNSUPPORTED,
                    "sequence %zu has %zu tokens: above %zu the model's attention looks at blocks "
                    "drawn by "
                    "chance, which is not supported; truncate it, or set \"attention_type\" to "
                    "\"original_full\" in config.json",
                    s, n, m->limit);
    }
    arch_run run = *r;
    arch_batch batch = *r->batch;
    if (m->scale != 1.0f && !batch.input_embeds) {
        float *x = arch_embed_tokens(r, &m->base.embed.words); // [T, H]
        nn_scale(cx, x, m->scale, r->seqs.rows * m->base.cfg.hidden);
        batch.input_embeds = x;
        run.batch = &batch;
    }
    arch_encoder_run(&run, &attn);
}

const arch_family arch_big_bird = {
    .model_types = (const char *const[]){"big_bird", NULL},
    .classes =
        (const char *const[]){"BigBirdModel", "BigBirdForMaskedLM", "BigBirdForCausalLM",
                              "BigBirdForSequenceClassification", "BigBirdForTokenClassification",
                              "BigBirdForMultipleChoice", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "bert.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias", NULL},
    .load = load,
    .forward = forward,
};
