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

typedef enum { BERT, ROBERTA, ELECTRA } bert_kind;

typedef struct {
    arch_encoder base;
    const float **distances; // [layers][2 span - 1, D] where position_embedding_type is relative_*
    size_t span;             // positions there
    bool relative_query;     // keys have a score with the distance as well
} bert_model;

/* ------------------------------------------------------------------ config */

static bert_kind kind_of(const char *model_type)
{
    const mltf_str type = str_from(model_type);
    if (str_is(type, "electra")) return ELECTRA;
    return str_is(type, "bert") || str_is(type, "ernie") ? BERT : ROBERTA;
}

static void read_config(arch_config *c, arch_encoder *e, bert_kind kind)
{
    if (kind == ELECTRA) e->cfg = (encoder_config){.hidden = 256, .heads = 4, .ffn = 1024};
    if (kind == ROBERTA) e->cfg = (encoder_config){.vocab = 50265};
    arch_encoder_config(c, &e->cfg);
    if (kind == ELECTRA) e->cfg.embed = cfg_dim(c, "embedding_size", 128);
    e->causal = cfg_bool(c, "is_decoder", false);
    e->counts_padding = kind == ROBERTA;
    e->pad = cfg_token(c, "pad_token_id", 1);
    if (e->counts_padding && e->pad < 0)
        cfg_fail(c, "\"pad_token_id\" is needed to count positions");
}

/* How far apart two tokens are, in place of where each stands. */
static bool read_relative(arch_config *c, bert_model *m)
{
    const mltf_str how = cfg_str(c, "position_embedding_type", "absolute");
    m->relative_query = str_is(how, "relative_key_query");
    const bool relative = m->relative_query || str_is(how, "relative_key");
    if (!relative && !str_is(how, "absolute"))
        cfg_fail(c, "\"position_embedding_type\" \"" STR_FMT "\" is not supported", STR_ARG(how));
    return relative;
}

/* ------------------------------------------------------------------ load */

static void load_electra_heads(arch_build *b, arch_encoder *e)
{
    nn_loader *ld = &b->ld;
    const size_t H = e->cfg.hidden;
    const arch_encoder_names names = arch_electra_heads(&e->cfg);
    if (b->m->info.head == ARCH_HEAD_MULTIPLE_CHOICE) {
        const arch_summary first = {
            .type = "first", .project = true, .act = "gelu", .out = "classifier"};
        arch_summary_load(b, &e->heads, &first, H);
        return;
    }
    arch_encoder_heads_load(b, &e->heads, &names, H, &e->embed.words);
    if (b->m->info.head == ARCH_HEAD_OTHER) { // ForPreTraining: was this token replaced?
        nn_scope(ld, "%s", "");
        nn_load_linear(ld, &e->heads.head.dense, "discriminator_predictions.dense", H, H, NN_BIAS);
        nn_load_linear(ld, &e->heads.head.out, "discriminator_predictions.dense_prediction", 1, H,
                       NN_BIAS);
        e->heads.head.act = e->cfg.act;
        e->heads.has_head = true;
    }
}

static void load_heads(arch_build *b, arch_encoder *e, bert_kind kind)
{
    if (kind == ELECTRA) {
        load_electra_heads(b, e);
        return;
    }
    const arch_encoder_names names =
        kind == ROBERTA ? arch_roberta_heads(b, &e->cfg) : arch_bert_heads(&e->cfg);
    arch_encoder_heads_load(b, &e->heads, &names, e->cfg.hidden, &e->embed.words);
}

/* relative_*: a table of distances in each layer instead of one of positions. */
static void load_distances(arch_build *b, bert_model *m)
{
    nn_loader *ld = &b->ld;
    const encoder_config *c = &m->base.cfg;
    m->distances = arch_new(b, c->layers, sizeof *m->distances);
    for (size_t il = 0; m->distances && il < c->layers; il++) {
        nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
        m->distances[il] = nn_load_vector(ld, "attention.self.distance_embedding.weight",
                                          (2 * m->span - 1) * (c->hidden / c->heads), 0);
    }
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    bert_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_encoder *e = &m->base;
    encoder_config *c = &e->cfg;
    const bert_kind kind = kind_of(b->m->info.model_type);
    read_config(&b->cfg, e, kind);
    const bool relative = read_relative(&b->cfg, m);
    if (relative) {
        m->span = c->positions;
        c->positions = 0;
    }

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, c);
    if (str_is(str_from(b->m->info.model_type), "ernie") && cfg_bool(&b->cfg, "use_task_id", false))
        nn_load_embed(ld, &e->embed.everywhere, "task_type_embeddings", "task type",
                      cfg_dim(&b->cfg, "task_type_vocab_size", 3), c->embed, 0);
    nn_scope(ld, "%s", ld->base);
    if (c->embed != c->hidden)
        nn_load_linear(ld, &e->project, "embeddings_project", c->hidden, c->embed, NN_BIAS);
    arch_encoder_layers_load(b, e, "encoder.layer", &bert_layer_names);
    if (relative) load_distances(b, m);
    load_heads(b, e, kind);
    return arch_encoder_done(b, e, err);
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
    const size_t D = m->base.cfg.hidden / m->base.cfg.heads, zero = m->span - 1;
    const float scale = 1.0f / sqrtf((float)D), *distances = m->distances[at->layer];
    const float *k =
        at->kv == DT_F32 ? at->k : NULL; // a bf16 cache is not read here: see forward()
    for (size_t i = 0; i < at->nq; i++)
        for (size_t j = 0; j < at->tk; j++) {
            const float *e = distances + (zero + at->pos0 + at->q0 + i - j) * D;
            float s = dot(at->q + i * at->ldq, e, D);
            if (m->relative_query && k) s += dot(k + j * at->ldk, e, D);
            bias[i * ld + j] = s * scale;
        }
}

static void forward(arch_run *r)
{
    nn_ctx *cx = r->cx;
    const bert_model *m = r->impl;
    nn_attn attn = arch_encoder_attn(&m->base);
    if (m->distances) {
        for (size_t s = 0; s < r->seqs.n; s++)
            if (nn_past(&r->seqs, s) + r->seqs.start[s + 1] - r->seqs.start[s] > m->span)
                nn_fail(cx, MLTF_INVALID_INPUT,
                        "sequence %zu is longer than the model's %zu positions", s, m->span);
        if (m->relative_query && r->seqs.caches)
            nn_fail(cx, MLTF_UNSUPPORTED,
                    "relative_key_query positions cannot be combined with a cache");
        attn.bias = relative_bias;
        attn.bias_user = (void *)(uintptr_t)m;
    }
    arch_encoder_run(r, &attn);
}

/* ------------------------------------------------------------------ registry */

static const char *const ignorable[] = {"position_ids", "predictions.decoder.bias",
                                        "lm_head.decoder.bias", NULL};

const arch_family arch_bert = {
    .model_types = (const char *const[]){"bert", "ernie", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("Bert"), "BertForPreTraining",
                                     "BertLMHeadModel", "BertForNextSentencePrediction",
                                     ARCH_ENCODER_CLASSES("Ernie"), "ErnieForCausalLM",
                                     "ErnieForPreTraining", "ErnieForNextSentencePrediction", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "bert.|ernie.",
    .ignorable = ignorable,
    .load = load,
    .forward = forward,
    .remember = arch_encoder_remember,
};

const arch_family arch_roberta = {
    .model_types =
        (const char *const[]){"roberta", "xlm-roberta", "camembert", "data2vec-text", NULL},
    .classes =
        (const char *const[]){ARCH_ENCODER_CLASSES("Roberta"), "RobertaForCausalLM",
                              ARCH_ENCODER_CLASSES("Data2VecText"), "Data2VecTextForCausalLM",
                              ARCH_ENCODER_CLASSES("XLMRoberta"), "XLMRobertaForCausalLM",
                              ARCH_ENCODER_CLASSES("Camembert"), "CamembertForCausalLM", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "roberta.|data2vec_text.",
    .ignorable = ignorable,
    .load = load,
    .forward = forward,
    .remember = arch_encoder_remember,
};

const arch_family arch_electra = {
    .model_types = (const char *const[]){"electra", NULL},
    .classes = (const char *const[]){ARCH_ENCODER_CLASSES("Electra"), "ElectraForPreTraining",
                                     "ElectraForCausalLM", NULL},
    .heads = (const arch_class_head[]){{"ElectraForPreTraining", ARCH_HEAD_OTHER}, {0}},
    .kind = ARCH_ENCODER,
    .base_prefix = "electra.",
    .ignorable = ignorable,
    .load = load,
    .forward = forward,
    .remember = arch_encoder_remember,
};
