/* TAPAS. Herzig et al. 2020, arXiv:2004.02349; transformers 4.57 models/tapas/modeling_tapas.py.
 *
 *   BERT over a question and the cells of a table, with seven token types: segment, column, row, previous
 *   label, rank in the column, inverse rank, relation to a number in the question.
 *
 *   Question answering: each token's logit is that of its cell, the mean over the cell's tokens; cells outside
 *   the one column whose cells have the best mean logit (by a second vector) lose 10000. A classifier on the
 *   pooled output chooses how to aggregate (out->extra).
 *
 * Easy to get wrong: positions begin anew in each cell (reset_position_index_per_cell); column 0 means the
 * question and is never chosen. Checked on: fixtures tapas-base. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch_encoder.h"

enum { TYPES = 7, COLUMN = 1, ROW = 2 };

typedef struct {
    encoder_config e;
    size_t types[TYPES];
    size_t rows, columns, aggregations; // max_num_rows, max_num_columns, num_aggregation_labels
    float temperature;
    bool reset_positions, one_column, allow_empty;
} tapas_config;

typedef struct {
    tapas_config cfg;
    nn_embed_w words, positions, types[TYPES]; // [V, H], [P, H], [types i, H]
    nn_norm_w norm;
    encoder_layer *layers;
    arch_heads heads;
    // question answering
    const float *cell, *column; // [H]
    float cell_bias, column_bias;
    nn_linear_w aggregation; // [A, H]
} tapas_model;

/* ------------------------------------------------------------------ load */

static void read_config(arch_config *c, tapas_config *o)
{
    static const size_t defaults[TYPES] = {3, 256, 256, 2, 256, 256, 10};
    o->e = (encoder_config){.positions = 1024};
    arch_encoder_config(c, &o->e);
    o->rows = cfg_size(c, "max_num_rows", 64, 1, 1 << 16);
    o->columns = cfg_size(c, "max_num_columns", 32, 1, 1 << 16);
    o->aggregations = cfg_size(c, "num_aggregation_labels", 0, 0, 1024);
    o->temperature = cfg_float(c, "temperature", 1);
    o->reset_positions = cfg_bool(c, "reset_position_index_per_cell", true);
    o->one_column = cfg_bool(c, "select_one_column", true);
    o->allow_empty = cfg_bool(c, "allow_empty_column_selection", false);
    const json *types = cfg_get(c, "type_vocab_sizes|type_vocab_size");
    if (types && json_len(types) != TYPES)
        cfg_fail(c, "\"type_vocab_sizes\" must have %d numbers", TYPES);
    for (size_t i = 0; i < TYPES; i++) {
        const int64_t n = types ? json_int(json_at(types, i), 0) : (int64_t)defaults[i];
        if (n < 1 || n > 1 << 20) cfg_fail(c, "\"type_vocab_sizes\" must hold positive numbers");
        o->types[i] = (size_t)n;
    }
}

static void load_answers(arch_build *b, tapas_model *m)
{
    nn_loader *ld = &b->ld;
    const size_t H = m->cfg.e.hidden;
    nn_scope(ld, "%s", ld->base);
    nn_load_linear(ld, &m->heads.pooler.dense, "pooler.dense", H, H, NN_BIAS);
    m->heads.pooler.act = K_ACT_TANH;
    m->heads.pooler.pool = POOL_FIRST;
    m->heads.has_pooler = true;
    nn_scope(ld, "%s", "");
    m->cell = nn_load_vector(ld, "output_weights", H, 0);
    m->column = nn_load_vector(ld, "column_output_weights", H, 0);
    const float *cell_bias = nn_load_vector(ld, "output_bias", 1, 0);
    const float *column_bias = nn_load_vector(ld, "column_output_bias", 1, 0);
    m->cell_bias = cell_bias ? *cell_bias : 0;
    m->column_bias = column_bias ? *column_bias : 0;
    if (m->cfg.aggregations)
        nn_load_linear(ld, &m->aggregation, "aggregation_classifier", m->cfg.aggregations, H,
                       NN_BIAS);
}

static mltf_status load(arch_build *b, mltf_err *err)
{
    nn_loader *ld = &b->ld;
    tapas_model *m = arch_new(b, 1, sizeof *m);
    TRY(arch_build_ok(b, err));
    tapas_config *c = &m->cfg;
    read_config(&b->cfg, c);
    m->layers = arch_new(b, c->e.layers, sizeof *m->layers);
    TRY(arch_build_ok(b, err));

    nn_scope(ld, "%sembeddings.", ld->base);
    nn_load_embed(ld, &m->words, "word_embeddings", "input id", c->e.vocab, c->e.hidden, 0);
    nn_load_embed(ld, &m->positions, "position_embeddings", "position", c->e.positions, c->e.hidden,
                  0);
    for (size_t i = 0; i < TYPES; i++) {
        char name[40];
        snprintf(name, sizeof name, "token_type_embeddings_%zu", i);
        nn_load_embed(ld, &m->types[i], name, "token type", c->types[i], c->e.hidden, 0);
    }
    nn_load_norm(ld, &m->norm, "LayerNorm", NN_NORM_LAYER, c->e.hidden, c->e.eps, NN_BIAS);
    for (size_t il = 0; il < c->e.layers; il++) {
        nn_scope(ld, "%sencoder.layer.%zu.", ld->base, il);
        arch_encoder_layer_load(ld, &m->layers[il], &bert_layer_names, &c->e);
    }
    if (b->m->info.head == ARCH_HEAD_TABLE_QA) {
        load_answers(b, m);
    } else {
        const arch_encoder_names names = arch_bert_heads(&c->e);
        arch_encoder_heads_load(b, &m->heads, &names, c->e.hidden, &m->words);
    }
    return arch_done(b, m, c->e.hidden, c->e.vocab, c->e.layers,
                     c->reset_positions ? SIZE_MAX : c->e.positions, err);
}

/* ------------------------------------------------------------------ embeddings */

static int32_t type_of(const arch_run *r, size_t t, size_t which)
{
    return r->batch->type_ids ? r->batch->type_ids[t * TYPES + which] : 0;
}

/* Positions counted from the first token of each cell. */
static void cell_positions(arch_run *r, const tapas_config *c)
{
    for (size_t s = 0; s < r->seqs.n; s++) {
        const size_t a = r->seqs.start[s], b = r->seqs.start[s + 1];
        for (size_t t = a; t < b; t++) {
            size_t first = t;
            for (size_t u = a; u < t; u++)
                if (type_of(r, u, COLUMN) == type_of(r, t, COLUMN) &&
                    type_of(r, u, ROW) == type_of(r, t, ROW)) {
                    first = u;
                    break;
                }
            const size_t pos = t - first;
            r->s->pos[t] = (int32_t)(pos < c->e.positions ? pos : c->e.positions - 1);
        }
    }
}

static float *embed(arch_run *r, const tapas_model *m)
{
    nn_ctx *cx = r->cx;
    const size_t T = r->seqs.rows;
    float *x = arch_embed_tokens(r, &m->words); // [T, H]
    if (m->cfg.reset_positions && !r->batch->position_ids) cell_positions(r, &m->cfg);
    nn_embed_add(cx, x, r->seqs.pos, &m->positions, T);
    int32_t *ids = nn_bytes(cx, T * sizeof *ids);
    for (size_t i = 0; nn_ok(cx) && i < TYPES; i++) {
        for (size_t t = 0; t < T; t++) ids[t] = type_of(r, t, i);
        nn_embed_add(cx, x, ids, &m->types[i], T);
    }
    nn_norm(cx, x, x, &m->norm, T);
    return x;
}

/* ------------------------------------------------------------------ answers */

static float dot(const float *a, const float *b, size_t n)
{
    float s = 0;
    for (size_t i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

static size_t cell_of(const arch_run *r, size_t t, const tapas_config *c)
{
    const size_t row = (size_t)type_of(r, t, ROW), column = (size_t)type_of(r, t, COLUMN);
    return (row < c->rows ? row : c->rows - 1) * c->columns +
           (column < c->columns ? column : c->columns - 1);
}

/* The logits of one sequence's tokens. sums: [3][cells] scratch; column scratch: [2][columns]. */
static void answer_cells(arch_run *r, float *logits, const float *x, const tapas_model *m,
                         size_t seq, float *sums, float *columns)
{
    const tapas_config *c = &m->cfg;
    const size_t H = c->e.hidden, cells = c->rows * c->columns;
    float *cell = sums, *by_column = sums + cells, *mask = sums + 2 * cells,
          *count = columns + c->columns;
    uint32_t *tokens = (uint32_t *)(void *)(sums + 3 * cells);
    memset(sums, 0, 4 * cells * sizeof *sums);
    memset(columns, 0, 2 * c->columns * sizeof *columns);
    for (size_t t = r->seqs.start[seq]; t < r->seqs.start[seq + 1]; t++) {
        const size_t i = cell_of(r, t, c);
        cell[i] += (dot(x + t * H, m->cell, H) + m->cell_bias) / c->temperature;
        by_column[i] += dot(x + t * H, m->column, H) + m->column_bias;
        mask[i] += !r->seqs.key_mask || r->seqs.key_mask[t] ? 1.0f : 0.0f;
        tokens[i]++;
    }
    for (size_t i = 0; i < cells; i++) {
        if (!tokens[i]) continue;
        const float n = (float)tokens[i];
        cell[i] /= n;
        mask[i] /= n;
        columns[i % c->columns] += by_column[i] / n * mask[i];
        count[i % c->columns] += mask[i];
    }
    size_t best = 0;
    for (size_t k = 0; k < c->columns; k++) {
        columns[k] /= count[k] + 1e-10f;
        if ((k && count[k] < 0.5f) || (!k && !c->allow_empty)) columns[k] -= 10000;
        if (columns[k] > columns[best]) best = k;
    }
    for (size_t t = r->seqs.start[seq]; t < r->seqs.start[seq + 1]; t++) {
        const size_t i = cell_of(r, t, c), column = i % c->columns;
        const float chosen = column == best && column != 0 ? mask[i] : 0;
        logits[t] = cell[i] - 10000.0f * (1.0f - chosen);
    }
}

static void answer(arch_run *r, const tapas_model *m, const float *x)
{
    nn_ctx *cx = r->cx;
    const tapas_config *c = &m->cfg;
    const size_t T = r->seqs.rows, H = c->e.hidden, n = r->seqs.n;
    arch_output *out = r->out;
    out->logits = nn_keep(cx, T, 1);
    out->logit_rows = T;
    out->n_logits = 1;
    float *sums = nn_f32(cx, 4, c->rows * c->columns), *columns = nn_f32(cx, 2, c->columns);
    for (size_t t = 0; nn_ok(cx) && t < T; t++)
        if (!c->one_column)
            out->logits[t] = (dot(x + t * H, m->cell, H) + m->cell_bias) / c->temperature;
    for (size_t s = 0; nn_ok(cx) && c->one_column && s < n; s++)
        answer_cells(r, out->logits, x, m, s, sums, columns);
    if (!c->aggregations) return;
    float *first = nn_f32(cx, n, H), *pooled = nn_f32(cx, n, H);
    for (size_t s = 0; nn_ok(cx) && s < n; s++) {
        const size_t a = r->seqs.start[s];
        if (a < r->seqs.start[s + 1])
            memcpy(first + s * H, x + a * H, H * sizeof *first);
        else
            memset(first + s * H, 0, H * sizeof *first);
    }
    nn_linear(cx, pooled, first, &m->heads.pooler.dense, n);
    nn_act(cx, pooled, pooled, n * H, K_ACT_TANH);
    out->n_extra = c->aggregations;
    out->extra = nn_keep(cx, n, c->aggregations);
    nn_linear(cx, out->extra, pooled, &m->aggregation, n);
}

/* ------------------------------------------------------------------ forward */

static void forward(arch_run *r)
{
    const tapas_model *m = r->impl;
    const tapas_config *c = &m->cfg;
    const size_t D = c->e.hidden / c->e.heads;
    const nn_attn attn = {.heads = c->e.heads, .dim = D, .scale = 1.0f / sqrtf((float)D)};
    float *x = embed(r, m); // [T, H]
    arch_keep_hidden(r, x, c->e.hidden);
    for (size_t il = 0; il < c->e.layers; il++) {
        arch_encoder_layer_forward(r, x, &m->layers[il], &attn, NULL, il);
        arch_keep_hidden(r, x, c->e.hidden);
    }
    arch_heads_forward(r, &m->heads, x, c->e.hidden);
    if (r->want & ARCH_WANT_LOGITS && r->m->info.head == ARCH_HEAD_TABLE_QA) answer(r, m, x);
}

const arch_family arch_tapas = {
    .model_types = (const char *const[]){"tapas", NULL},
    .classes = (const char *const[]){"TapasModel", "TapasForMaskedLM", "TapasForQuestionAnswering",
                                     "TapasForSequenceClassification", NULL},
    .heads = (const arch_class_head[]){{"TapasForQuestionAnswering", ARCH_HEAD_TABLE_QA}, {0}},
    .kind = ARCH_ENCODER,
    .base_prefix = "tapas.",
    .ignorable = (const char *const[]){"position_ids", "predictions.decoder.bias", NULL},
    .load = load,
    .forward = forward,
};
