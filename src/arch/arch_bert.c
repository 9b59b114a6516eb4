/* BERT and the families with its block: roberta, xlm-roberta, camembert, data2vec-text, ernie, electra.
 * Devlin et al. 2018, arXiv:1810.04805; transformers 4.57 models/{bert,roberta,electra}/modeling_*.py.
 *
 *   ids ─ word + position + type embeddings ─ norm ─ (electra: projection) ─┐
 *   ┌─────────────────────────────────────────────────────────────────────────┘
 *   └─ n x [ q k v ─ attention ─ dense ─ (+x) norm ─ dense ─ act ─ dense ─ (+x) norm ] ─ heads
 *
 * Easy to get wrong: the norm comes AFTER each residual add; eps is 1e-12; "gelu" is the erf form.
 * roberta counts positions from padding_idx + 1 and skips padding; bert's left padding shifts them.
 * Relative position kinds have no position embedding; their scores are added before the division by
 * sqrt(D). The masked LM's decoder is tied to the word embeddings, its bias is stored on its own.
 * Checked on: fixtures bert-*, roberta-*, xlm-roberta-*, camembert-*, electra-*. */
#include <math.h>

#include "arch/arch_encoder.h"

typedef struct {
    bool roberta; // positions count from padding_idx + 1
    bool electra;
    size_t tasks; // ernie: rows of a table of which the first is added everywhere; 0: none
    size_t hidden, layers, heads, ffn, vocab, types, positions, embed;
    k_act act;
    float eps;
    int64_t pad;
    bool relative, relative_query; // position_embedding_type
    bool decoder;                  // is_decoder: causal
} bert_config;

typedef struct {
    encoder_layer usual;
    const float *distance; // [2P - 1, D] or NULL
} bert_layer;

typedef struct {
    bert_config cfg;
    nn_embed_w words, positions, types; // [V, E], [P, E], [types, E]
    nn_embed_w tasks;                   // [tasks, E]
    nn_norm_w norm;                     // [E]
    nn_linear_w project;                // [H, E] where E != H (electra)
    bert_layer *layers;
    arch_heads heads;
} bert_model;

/* ------------------------------------------------------------------ config */

static void read_config(arch_config *c, bert_config *o)
{
    o->hidden = cfg_dim(c, "hidden_size", o->electra ? 256 : 768);
    o->layers = cfg_layers(c, "num_hidden_layers", 12);
    o->heads = cfg_dim(c, "num_attention_heads", o->electra ? 4 : 12);
    o->ffn = cfg_dim(c, "intermediate_size", o->electra ? 1024 : 3072);
    o->vocab = cfg_dim(c, "vocab_size", o->roberta ? 50265 : 30522);
    o->types = cfg_dim(c, "type_vocab_size", 2);
    o->positions = cfg_dim(c, "max_position_embeddings", 512);
    o->embed = o->electra ? cfg_dim(c, "embedding_size", 128) : o->hidden;
    o->act = cfg_act(c, "hidden_act", "gelu");
    o->eps = cfg_float(c, "layer_norm_eps", 1e-12f);
    o->pad = cfg_token(c, "pad_token_id", o->roberta ? 1 : 0);
    o->decoder = cfg_bool(c, "is_decoder", false);
    const mltf_str kind = cfg_str(c, "position_embedding_type", "absolute");
    o->relative_query = str_is(kind, "relative_key_query");
    o->relative = o->relative_query || str_is(kind, "relative_key");
    if (!o->relative && !str_is(kind, "absolute"))
        cfg_fail(c, "\"position_embedding_type\" \"" STR_FMT "\" is not supported", STR_ARG(kind));
    if (o->hidden % o->heads)
        cfg_fail(c, "\"hidden_size\" %zu is not a multiple of \"num_attention_heads\" %zu",
                 o->hidden, o->heads);
    if (o->roberta && o->pad < 0) cfg_fail(c, "\"pad_token_id\" is needed to count positions");
}

/* ------------------------------------------------------------------ load */

static void load_layer(nn_loader *ld, bert_layer *l, const bert_config *c, size_t il)
{
    nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
    arch_encoder_layer_load(ld, &l->usual, &bert_layer_names,
                            &(encoder_sizes){c->hidden, c->ffn, c->eps, c->act});
    if (c->relative)
        l->distance = nn_load_vector(ld, "attention.self.distance_embedding.weight",
                                     (2 * c->positions - 1) * (c->hidden / c->heads), 0);
}

static void load_electra_heads(arch_build *b, bert_model *m)
{
    nn_loader *ld = &b->ld;
    const size_t H = m->cfg.hidden;
    const k_act summary = cfg_act(&b->cfg, "summary_activation", "gelu");
    arch_encoder_heads_load(
        b, &m->heads,
        &(arch_encoder_names){
            .cls_dense = b->m->info.head == ARCH_HEAD_MULTIPLE_CHOICE ? "sequence_summary.summary"
                                                                      : "classifier.dense",
            .cls_act = b->m->info.head == ARCH_HEAD_MULTIPLE_CHOICE ? summary : K_ACT_GELU,
            .cls_out = "classifier.out_proj",
            .mc_out = "classifier",
            .token_out = "classifier",
            .qa_out = "qa_outputs",
            .mlm_dense = "generator_predictions.dense",
            .mlm_act = K_ACT_GELU,
            .mlm_norm = "generator_predictions.LayerNorm",
            .mlm_out = "generator_lm_head",
            .mlm_bias = "generator_lm_head.bias",
            .eps = m->cfg.eps},
        H, &m->words);
    if (b->m->info.head == ARCH_HEAD_OTHER) { // ForPreTraining: was this token replaced?
        nn_scope(ld, "%s", "");
        nn_load_linear(ld, &m->heads.head.dense, "discriminator_predictions.dense", H, H, NN_BIAS);
        nn_load_linear(ld, &m->heads.head.out, "discriminator_predictions.dense_prediction", 1, H,
                       NN_BIAS);
        m->heads.head.act = m->cfg.act;
        m->heads.has_head = true;
    }
}

static void load_heads(arch_build *b, bert_model *m)
{
    static const arch_encoder_names bert = {
        .pooler = "pooler.dense",
        .pooler_act = K_ACT_TANH,
        .cls_pooler = true,
        .cls_out = "classifier",
        .token_out = "classifier",
        .qa_out = "qa_outputs",
        .mlm_dense = "cls.predictions.transform.dense",
        .mlm_norm = "cls.predictions.transform.LayerNorm",
        .mlm_out = "cls.predictions.decoder",
        .mlm_bias = "cls.predictions.bias|cls.predictions.decoder.bias"};
    static const arch_encoder_names roberta = {.pooler = "pooler.dense",
                                               .pooler_act = K_ACT_TANH,
                                               .cls_dense = "classifier.dense",
                                               .cls_act = K_ACT_TANH,
                                               .cls_out = "classifier.out_proj",
                                               .token_out = "classifier",
                                               .qa_out = "qa_outputs",
                                               .mlm_dense = "lm_head.dense",
                                               .mlm_norm = "lm_head.layer_norm",
                                               .mlm_out = "lm_head.decoder",
                                               .mlm_bias = "lm_head.bias|lm_head.decoder.bias"};
    if (m->cfg.electra) {
        load_electra_heads(b, m);
        return;
    }
    arch_encoder_names n = m->cfg.roberta ? roberta : bert;
    n.mlm_act = m->cfg.roberta ? K_ACT_GELU : m->cfg.act;
    n.eps = m->cfg.eps;
    if (m->cfg.roberta &&
        b->m->info.head == ARCH_HEAD_MULTIPLE_CHOICE) { // this head alone has a pooler
        n.cls_pooler = true;
        n.cls_out = "classifier";
    }
    arch_encoder_heads_load(b, &m->heads, &n, m->cfg.hidden, &m->words);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    bert_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    bert_config *c = &m->cfg;
    const mltf_str type = str_from(b->m->info.model_type);
    c->electra = str_is(type, "electra");
    c->roberta = !c->electra && !str_is(type, "bert") && !str_is(type, "ernie");
    c->tasks = str_is(type, "ernie") && cfg_bool(&b->cfg, "use_task_id", false)
                   ? cfg_dim(&b->cfg, "task_type_vocab_size", 3)
                   : 0;
    read_config(&b->cfg, c);
    m->layers = arch_new(b, c->layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    nn_load_embed(ld, &m->words, "word_embeddings", "input id", c->vocab, c->embed, 0);
    if (!c->relative)
        nn_load_embed(ld, &m->positions, "position_embeddings", "position", c->positions, c->embed,
                      0);
    nn_load_embed(ld, &m->types, "token_type_embeddings", "token type", c->types, c->embed, 0);
    if (c->tasks)
        nn_load_embed(ld, &m->tasks, "task_type_embeddings", "task type", c->tasks, c->embed, 0);
    nn_load_norm(ld, &m->norm, "LayerNorm", NN_NORM_LAYER, c->embed, c->eps, NN_BIAS);
    nn_scope(ld, "%s", ld->base);
    if (c->embed != c->hidden)
        nn_load_linear(ld, &m->project, "embeddings_project", c->hidden, c->embed, NN_BIAS);
    for (size_t il = 0; il < c->layers; il++) load_layer(ld, &m->layers[il], c, il);
    load_heads(b, m);

    arch_info *info = &b->m->info;
    info->hidden = c->hidden;
    info->vocab = c->vocab;
    info->n_layers = c->layers;
    info->max_positions = c->relative ? SIZE_MAX : c->positions;
    if (c->roberta)
        info->max_positions -=
            (size_t)c->pad + 1 < c->positions ? (size_t)c->pad + 1 : c->positions;
    if (c->decoder)
        b->m->cache_shape = (nn_cache_shape){c->layers, c->heads, c->hidden / c->heads,
                                             c->hidden / c->heads, DT_F32};
    b->m->impl = m;
    return MLTF_OK;
}

/* ------------------------------------------------------------------ forward */

static float dot(const float *a, const float *b, size_t n)
{
    float s = 0;
    for (size_t i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

/* Scores of query and distance, and for relative_key_query of key and distance. */
static void relative_bias(void *user, float *bias, size_t ld, const nn_bias_at *at)
{
    const bert_model *m = user;
    const size_t D = m->cfg.hidden / m->cfg.heads, zero = m->cfg.positions - 1;
    const float scale = 1.0f / sqrtf((float)D), *distance = m->layers[at->layer].distance;
    const float *k =
        at->kv == DT_F32 ? at->k : NULL; // a bf16 cache is not read here: see forward()
    for (size_t i = 0; i < at->nq; i++)
        for (size_t j = 0; j < at->tk; j++) {
            const float *e = distance + (zero + at->pos0 + at->q0 + i - j) * D;
            float s = dot(at->q + i * at->ldq, e, D);
            if (m->cfg.relative_query && k) s += dot(k + j * at->ldk, e, D);
            bias[i * ld + j] = s * scale;
        }
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const bert_model *m = r->impl;
    const bert_config *c = &m->cfg;
    const size_t T = r->seqs.rows, D = c->hidden / c->heads;
    nn_attn attn = {
        .heads = c->heads, .dim = D, .scale = 1.0f / sqrtf((float)D), .causal = c->decoder};

    float *x = arch_embed_tokens(r, &m->words); // [T, E]
    arch_add_types(r, x, &m->types);
    if (c->relative) {
        for (size_t s = 0; s < r->seqs.n; s++)
            if (nn_past(&r->seqs, s) + r->seqs.start[s + 1] - r->seqs.start[s] > c->positions)
                nn_fail(cx, MLTF_INVALID_INPUT,
                        "sequence %zu is longer than the model's %zu positions", s, c->positions);
        if (c->relative_query && r->seqs.caches)
            nn_fail(cx, MLTF_UNSUPPORTED,
                    "relative_key_query positions cannot be combined with a cache");
        attn.bias = relative_bias;
        attn.bias_user = (void *)(uintptr_t)m;
    } else {
        if (c->roberta) arch_positions_after_padding(r, c->pad);
        nn_embed_add(cx, x, r->seqs.pos, &m->positions, T);
    }
    if (c->tasks) nn_embed_add_row(cx, x, 0, &m->tasks, T);
    nn_norm(cx, x, x, &m->norm, T);
    if (nn_has(&m->project)) {
        float *wide = nn_f32(cx, T, c->hidden);
        nn_linear(cx, wide, x, &m->project, T);
        x = wide;
    }
    arch_keep_hidden(r, x, c->hidden);
    nn_tap(cx, "embeddings", -1, x, T, c->hidden);
    for (size_t il = 0; il < c->layers; il++) {
        arch_encoder_layer_forward(r, x, &m->layers[il].usual, &attn, NULL, il);
        arch_keep_hidden(r, x, c->hidden);
    }
    arch_heads_forward(r, &m->heads, x, c->hidden);
}

/* ------------------------------------------------------------------ registry */

static const char *const ignorable[] = {"position_ids", "predictions.decoder.bias",
                                        "lm_head.decoder.bias", NULL};

const arch_family arch_bert = {
    .model_types = (const char *const[]){"bert", "ernie", NULL},
    .classes = (const char *const[]){"BertModel", "BertForMaskedLM", "BertForPreTraining",
                                     "BertForSequenceClassification", "BertForTokenClassification",
                                     "BertForQuestionAnswering", "BertForMultipleChoice",
                                     "BertLMHeadModel", "ErnieModel", "ErnieForMaskedLM",
                                     "ErnieForSequenceClassification",
                                     "ErnieForTokenClassification", "ErnieForQuestionAnswering",
                                     "ErnieForMultipleChoice", "ErnieForCausalLM", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "bert.|ernie.",
    .ignorable = ignorable,
    .load = load,
    .forward = forward,
};

const arch_family arch_roberta = {
    .model_types =
        (const char *const[]){"roberta", "xlm-roberta", "camembert", "data2vec-text", NULL},
    .classes = (const char *const[]){"RobertaModel",
                                     "RobertaForMaskedLM",
                                     "RobertaForSequenceClassification",
                                     "RobertaForTokenClassification",
                                     "RobertaForQuestionAnswering",
                                     "RobertaForMultipleChoice",
                                     "RobertaForCausalLM",
                                     "Data2VecTextModel",
                                     "Data2VecTextForMaskedLM",
                                     "Data2VecTextForSequenceClassification",
                                     "Data2VecTextForTokenClassification",
                                     "Data2VecTextForQuestionAnswering",
                                     "Data2VecTextForMultipleChoice",
                                     "Data2VecTextForCausalLM",
                                     "XLMRobertaModel",
                                     "XLMRobertaForMaskedLM",
                                     "XLMRobertaForSequenceClassification",
                                     "XLMRobertaForTokenClassification",
                                     "XLMRobertaForQuestionAnswering",
                                     "XLMRobertaForMultipleChoice",
                                     "XLMRobertaForCausalLM",
                                     "CamembertModel",
                                     "CamembertForMaskedLM",
                                     "CamembertForSequenceClassification",
                                     "CamembertForTokenClassification",
                                     "CamembertForQuestionAnswering",
                                     "CamembertForMultipleChoice",
                                     "CamembertForCausalLM",
                                     NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "roberta.|data2vec_text.",
    .ignorable = ignorable,
    .load = load,
    .forward = forward,
};

const arch_family arch_electra = {
    .model_types = (const char *const[]){"electra", NULL},
    .classes =
        (const char *const[]){"ElectraModel", "ElectraForMaskedLM", "ElectraForPreTraining",
                              "ElectraForSequenceClassification", "ElectraForTokenClassification",
                              "ElectraForQuestionAnswering", "ElectraForMultipleChoice", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "electra.",
    .ignorable = ignorable,
    .load = load,
    .forward = forward,
};
