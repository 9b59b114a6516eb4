/* LayoutLM, as a model of text. Xu et al. 2019, arXiv:1912.13318; transformers 4.57 models/layoutlm/modeling_layoutlm.py.
 *
 *   ids ─ word + position + box + type embeddings ─ norm ─ bert's layers ─ heads
 *
 * Easy to get wrong: where a caller names no boxes, as the pipelines of text do, each token's box is [0, 0, 0, 0], and
 * the six embeddings of its sides are added all the same. Checked on: random checkpoints of the library. */
#include "arch/arch_encoder.h"

/* Tables of rows for x (left and right), y (upper and lower), height and width; row 0 of each is all there is to say. */
static void load_boxes(arch_build *b, arch_encoder *e)
{
    static const struct {
        const char *name;
        float times;
    } side[] = {{"x_position_embeddings.weight", 2},
                {"y_position_embeddings.weight", 2},
                {"h_position_embeddings.weight", 1},
                {"w_position_embeddings.weight", 1}};
    const size_t H = e->cfg.hidden, rows = cfg_dim(&b->cfg, "max_2d_position_embeddings", 1024);
    float *sum = arch_new(b, H, sizeof *sum);
    for (size_t i = 0; sum && i < sizeof side / sizeof *side; i++) {
        const float *table = nn_load_vector(&b->ld, side[i].name, rows * H, 0);
        for (size_t h = 0; table && h < H; h++) sum[h] += side[i].times * table[h];
    }
    e->embed.everywhere.w = (k_weight){.data = sum, .dtype = DT_F32, .N = 1, .K = H, .stride = H};
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    arch_encoder *e = arch_new(b, 1, sizeof *e);
    TRY(arch_build_ok(b, err));
    arch_encoder_config(&b->cfg, &e->cfg);

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    load_boxes(b, e);
    arch_encoder_layers_load(b, e, "encoder.layer", &bert_layer_names);
    const arch_encoder_names heads = arch_bert_heads(&e->cfg);
    arch_encoder_heads_load(b, &e->heads, &heads, e->cfg.hidden, &e->embed.words);
    return arch_encoder_done(b, e, err);
}

const arch_family arch_layoutlm = {
    .model_types = (const char *const[]){"layoutlm", NULL},
    .classes =
        (const char *const[]){"LayoutLMModel", "LayoutLMForMaskedLM",
                              "LayoutLMForSequenceClassification", "LayoutLMForTokenClassification",
                              "LayoutLMForQuestionAnswering", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "layoutlm.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias", NULL},
    .load = load,
    .forward = arch_encoder_forward,
};
