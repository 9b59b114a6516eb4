/* Splinter. Ram et al. 2021, arXiv:2101.00438; transformers 4.57 models/splinter/modeling_splinter.py.
 *
 *   ids ─ word + type + position embeddings ─ norm ─ bert's layers ─┐
 *   ┌───────────────────────────────────────────────────────────────┘
 *   └─ for start and end: logit(t) = classify(norm(gelu(dense(x of the question token)))) · norm(gelu(dense(x(t))))
 *
 * Easy to get wrong: the question token is the first of question_token_id, or the first token where there is none; the
 * norms of the head have torch's own eps. Checked on: random checkpoints of the library. */
#include "arch/arch_encoder.h"

#include <string.h>

typedef struct {
    nn_linear_w dense; // [H, H]
    nn_norm_w norm;
} splinter_transform;

typedef struct {
    arch_encoder base;
    int64_t question;
    struct {
        splinter_transform query, token; // of the question token, of all
        nn_linear_w classify;            // [H, H]
    } side[2];                           // start, end; classify absent: no head
} splinter_model;

static void load_transform(nn_loader *ld, splinter_transform *t, const char *name, size_t H)
{
    nn_scope(ld, "splinter_qass.%s.", name);
    nn_load_linear(ld, &t->dense, "dense", H, H, NN_BIAS);
    nn_load_norm(ld, &t->norm, "LayerNorm", NN_NORM_LAYER, H, 1e-5f, NN_BIAS);
}

static void load_head(nn_loader *ld, splinter_model *m)
{
    const size_t H = m->base.cfg.hidden;
    load_transform(ld, &m->side[0].query, "query_start_transform", H);
    load_transform(ld, &m->side[1].query, "query_end_transform", H);
    load_transform(ld, &m->side[0].token, "start_transform", H);
    load_transform(ld, &m->side[1].token, "end_transform", H);
    nn_scope(ld, "%s", "splinter_qass.");
    nn_load_linear(ld, &m->side[0].classify, "start_classifier", H, H, NN_NO_BIAS);
    nn_load_linear(ld, &m->side[1].classify, "end_classifier", H, H, NN_NO_BIAS);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    splinter_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    arch_encoder *e = &m->base;
    arch_encoder_config(&b->cfg, &e->cfg);
    arch_encoder_absolute(&b->cfg);
    m->question = cfg_token(&b->cfg, "question_token_id", 104);

    nn_scope(ld, "%sembeddings.", ld->base);
    arch_encoder_embed_load(ld, &e->embed, &e->cfg);
    arch_encoder_layers_load(b, e, "encoder.layer", &bert_layer_names);
    if (b->m->info.head == ARCH_HEAD_QA) load_head(ld, m);
    return arch_encoder_done(b, e, err);
}

static void transform(nn_ctx *cx, float *y, const float *x, const splinter_transform *w, size_t T)
{
    nn_linear(cx, y, x, &w->dense, T);
    nn_act(cx, y, y, T * w->dense.w.N, K_ACT_GELU);
    nn_norm(cx, y, y, &w->norm, T);
}

static size_t question_row(const arch_run *r, size_t seq, int64_t question)
{
    for (size_t t = r->seqs.start[seq]; r->batch->ids && t < r->seqs.start[seq + 1]; t++)
        if (r->batch->ids[t] == question) return t;
    return r->seqs.start[seq];
}

static void head_forward(arch_run *r, const splinter_model *m, const float *x)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows, n = r->seqs.n, H = m->base.cfg.hidden;
    float *asked = nn_f32(cx, n, H), *query = nn_f32(cx, n, H), *by = nn_f32(cx, n, H); // [n, H]
    float *token = nn_f32(cx, T, H);                                                    // [T, H]
    float *logits = nn_keep(cx, T, 2);                                                  // [T, 2]
    for (size_t s = 0; nn_ok(cx) && s < n; s++)
        memcpy(asked + s * H, x + question_row(r, s, m->question) * H, H * sizeof *x);
    for (size_t i = 0; i < 2; i++) {
        transform(cx, query, asked, &m->side[i].query, n);
        nn_linear(cx, by, query, &m->side[i].classify, n);
        transform(cx, token, x, &m->side[i].token, T);
        for (size_t s = 0; nn_ok(cx) && s < n; s++) {
            const k_weight row = {.data = by + s * H, .dtype = DT_F32, .N = 1, .K = H, .stride = H};
            const size_t a = r->seqs.start[s], b = r->seqs.start[s + 1];
            nn_linear_strided(cx, logits + 2 * a + i, 2, token + a * H, H, &(nn_linear_w){.w = row},
                              b - a);
        }
    }
    r->out->logits = logits;
    r->out->logit_rows = T;
    r->out->n_logits = 2;
}

static void forward(arch_run *r)
{
    const splinter_model *m = r->impl;
    arch_run run = *r;
    const bool asked = nn_has(&m->side[0].classify) && r->want & ARCH_WANT_LOGITS;
    if (asked) run.want |= ARCH_WANT_HIDDEN;
    arch_encoder_forward(&run);
    if (asked && nn_ok(r->cx)) head_forward(r, m, r->out->hidden);
}

const arch_family arch_splinter = {
    .model_types = (const char *const[]){"splinter", NULL},
    .classes = (const char *const[]){"SplinterModel", "SplinterForQuestionAnswering", NULL},
    .kind = ARCH_ENCODER,
    .base_prefix = "splinter.",
    .ignorable = (const char *const[]){"position_ids", NULL},
    .load = load,
    .forward = forward,
};
