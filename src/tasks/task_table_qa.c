/* table-question-answering: cells of a table, or a computation on them, that answer a question.
 *
 * Mirrors TableQuestionAnsweringPipeline and TapasTokenizer (transformers 4.57.6, pipelines/
 * table_question_answering.py, models/tapas/tokenization_tapas.py; Herzig et al. 2020, arXiv:2004.02349), and
 * TapexTokenizer for encoder-decoders (Liu et al. 2021, arXiv:2107.07653).
 * Input     {"table": T, "query": text or list of texts} · a list of those. T is {column: [cell, …]} or a list of
 *           row objects; numbers and other scalars in cells count as their text.
 * Keywords  sequential (false: each query alone; true: a query sees the cells that the one before it found),
 *           truncation ("drop_rows_to_fit", true; false or "do_not_truncate"), padding (without effect). With an
 *           encoder-decoder nothing else is taken, as there: settings come from the model.
 * Output    TAPAS: {"answer": "SUM > a, b", "coordinates": [[row, column], …], "cells": [text, …], "aggregator":
 *           "SUM"} (no aggregator without such a head); TAPEX: {"answer": text}; several queries a list.
 *
 * Easy to get wrong: a cell counts as chosen by the mean probability of its tokens; the seven token types are
 * segment, column, row, previous answer, rank, inverse rank, and relation to the question's numbers. */
#include "tasks/table_numbers.h"
#include "tasks/task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/ascii.h"
#include "base/pytext.h"
#include "base/python_unicode.h"
#include "base/utf8.h"

#define TYPES 7 /* token types of TAPAS */
enum {
    TYPE_SEGMENT,
    TYPE_COLUMN,
    TYPE_ROW,
    TYPE_PREVIOUS,
    TYPE_RANK,
    TYPE_INVERSE_RANK,
    TYPE_RELATION
};

typedef struct table {
    size_t n_rows, n_columns;
    mltf_str *names; /* [n_columns] */
    mltf_str *cells; /* [n_rows, n_columns] */
} table;

/* A token of a header or a cell: its place and the token of the same cell where its word begins. */
typedef struct table_token {
    int32_t id;
    uint32_t row, column; /* row 0: header */
    uint32_t index, word_begin;
} table_token;

typedef struct tokens {
    table_token *p; /* [n] row by row */
    size_t n, cap;
    size_t longest; /* tokens of the longest cell */
} tokens;

/* What the answer to one query needs of its table. */
typedef struct table_job {
    const table *t;
    json *answers; /* of that table */
} table_job;

typedef struct table_qa {
    const task_call *c;
    bool drop_rows, sequential;
    task_seqs seqs;  /* TAPAS: the queries of all tables; type_ids are [n, TYPES] */
    table_job *jobs; /* [seqs.n] */
    size_t cap;
    /* sequential: the probabilities of the cells for the query before; NULL: none */
    double *previous;
} table_qa;

/* ---- the table ---- */

static mltf_str cell_text(const task_call *c, const json *v)
{
    if (json_is(v, JSON_STRING)) return v->s;
    mltf_buf b = MLTF_BUF_INIT;
    if (json_is(v, JSON_BOOL))
        buf_puts(&b, v->b ? "True" : "False");
    else if (!v || v->type == JSON_NULL)
        buf_puts(&b, "None");
    else
        json_write(&b, v, NULL);
    const mltf_str s = arena_str(c->arena, b.p ? buf_str(&b) : STR(""));
    mltf_buf_release(&b);
    return s.p ? s : STR("");
}

static mltf_status alloc_table(const task_call *c, table *t, mltf_err *err)
{
    size_t n = t->n_rows * t->n_columns;
    if (t->n_columns && n / t->n_columns != t->n_rows) return mltf_fail_memory(err);
    t->names = arena_calloc(c->arena, t->n_columns ? t->n_columns : 1, sizeof *t->names);
    t->cells = arena_calloc(c->arena, n ? n : 1, sizeof *t->cells);
    return t->names && t->cells ? MLTF_OK : mltf_fail_memory(err);
}

static mltf_status table_of_columns(const task_call *c, const json *v, table *t, mltf_err *err)
{
    t->n_columns = v->o.n;
    t->n_rows = v->o.n ? json_len(&v->o.members[0].value) : 0;
    for (size_t k = 0; k < v->o.n; k++) {
        const json *column = &v->o.members[k].value;
        if (column->type != JSON_ARRAY)
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "If using all scalar values, you must pass an index");
        if (column->a.n != t->n_rows)
            return mltf_fail(err, MLTF_PREDICT_FAILED, "All arrays must be of the same length");
    }
    TRY(alloc_table(c, t, err));
    for (size_t k = 0; k < t->n_columns; k++) {
        t->names[k] = v->o.members[k].key;
        for (size_t r = 0; r < t->n_rows; r++)
            t->cells[r * t->n_columns + k] = cell_text(c, &v->o.members[k].value.a.items[r]);
    }
    return MLTF_OK;
}

static mltf_status table_of_records(const task_call *c, const json *v, table *t, mltf_err *err)
{
    const json *first = json_at(v, 0);
    for (size_t r = 0; r < v->a.n; r++)
        if (v->a.items[r].type != JSON_OBJECT)
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "a table must be an object of columns or a list of row objects");
    t->n_columns = json_len(first);
    t->n_rows = v->a.n;
    TRY(alloc_table(c, t, err));
    for (size_t k = 0; k < t->n_columns; k++) {
        t->names[k] = first->o.members[k].key;
        for (size_t r = 0; r < t->n_rows; r++) {
            const json *cell = json_get_str(&v->a.items[r], t->names[k]);
            t->cells[r * t->n_columns + k] = cell ? cell_text(c, cell) : STR("nan");
        }
    }
    return MLTF_OK;
}

static mltf_status read_table(const task_call *c, const json *v, table *t, mltf_err *err)
{
    *t = (table){0};
    if (!v || v->type == JSON_NULL)
        return mltf_fail(err, MLTF_PREDICT_FAILED, "Keyword argument `table` cannot be None.");
    if (v->type == JSON_OBJECT)
        TRY(table_of_columns(c, v, t, err));
    else if (v->type == JSON_ARRAY)
        TRY(table_of_records(c, v, t, err));
    else
        return mltf_fail(err, MLTF_PREDICT_FAILED, "DataFrame constructor not properly called!");
    if (t->n_rows == 0 || t->n_columns == 0)
        return mltf_fail(err, MLTF_PREDICT_FAILED, "table is empty");
    return MLTF_OK;
}

/* ---- tokens ---- */

/* Nothing but punctuation, or one of the words for nothing: such a text is the token [EMPTY]. */
static bool is_blank(mltf_str text)
{
    static const char *const none[] = {"n/a", "nan"};
    text = pytext_strip(text);
    for (size_t i = 0; i < 2; i++)
        if (ascii_same(text, none[i])) return true;
    for (const char *s = text.p, *end = text.p + text.n; s < end;) {
        if (pyu_alnum(utf8_next(&s))) return false;
    }
    return true;
}

static mltf_status tokenize(const task_call *c, mltf_str text, tok_encoding *enc, mltf_err *err)
{
    if (text.n && is_blank(text)) { // nothing at all has no token
        const mltf_str name =
            json_string(json_get(tokenizer_config(c->p->tk), "empty_token"), STR("[EMPTY]"));
        text = tokenizer_token_to_id(c->p->tk, name) >= 0 ? name : text;
    }
    const tok_options o = {.no_special_tokens = true};
    return tokenizer_encode(c->p->tk, enc, text, (mltf_str){0}, &o, err);
}

static bool is_inner(const tokenizer *tk, int32_t id)
{
    return str_starts(tokenizer_id_to_token(tk, id), "##");
}

static mltf_status add_cell(const task_call *c, tokens *out, mltf_str text, size_t row,
                            size_t column, mltf_err *err)
{
    tok_encoding enc = TOK_ENCODING_INIT;
    mltf_status st = tokenize(c, text, &enc, err);
    size_t begin = 0;
    for (size_t i = 0; i < enc.n && !st; i++) {
        if (!ARRAY_RESERVE(out->p, out->cap, out->n + 1)) {
            st = mltf_fail_memory(err);
            break;
        }
        if (!is_inner(c->p->tk, enc.ids[i])) begin = i;
        out->p[out->n++] = (table_token){enc.ids[i], (uint32_t)row, (uint32_t)column, (uint32_t)i,
                                         (uint32_t)begin};
    }
    if (enc.n > out->longest) out->longest = enc.n;
    tok_encoding_release(&enc);
    return st;
}

static mltf_status tokenize_table(const task_call *c, const table *t, tokens *out, mltf_err *err)
{
    const bool strip = json_bool(json_get(tokenizer_config(c->p->tk), "strip_column_names"), false);
    for (size_t k = 0; k < t->n_columns; k++)
        TRY(add_cell(c, out, strip ? STR("") : t->names[k], 0, k, err));
    for (size_t r = 0; r < t->n_rows; r++)
        for (size_t k = 0; k < t->n_columns; k++)
            TRY(add_cell(c, out, t->cells[r * t->n_columns + k], r + 1, k, err));
    return MLTF_OK;
}

/* How many rows, and how many tokens of each cell, fit: rows are dropped from the end until at least one token a
 * cell does. */
static mltf_status fit_table(const task_call *c, const tokens *all, size_t question, size_t *n_rows,
                             size_t *n_tokens, mltf_err *err)
{
    const json *config = tokenizer_config(c->p->tk);
    const size_t model_max = tokenizer_model_max_length(c->p->tk);
    const int64_t trim = json_int(json_get(config, "cell_trim_length"), -1);
    size_t longest = all->longest;
    if (trim >= 0 && longest > (size_t)trim) longest = (size_t)trim;
    size_t *count =
        calloc(all->longest + 2, sizeof *count); // tokens by the place where their word begins
    if (!count) return mltf_fail_memory(err);
    size_t last = all->n;
    while (last > 0 && all->p[last - 1].row > *n_rows) last--;
    for (size_t i = 0; i < last; i++) count[all->p[i].word_begin]++;
    const size_t budget = model_max > question + 2 ? model_max - question - 2 : 0;
    *n_tokens = 0;
    while (*n_rows >= 1) {
        size_t fit = 0, cost = 0;
        for (; fit <= longest; fit++) { // cost of cells cut to fit + 1 tokens
            cost += count[fit];
            if (cost > budget) break;
        }
        if (fit > longest) fit = longest;
        if (!(fit < longest && (trim >= 0 || fit == 0))) {
            *n_tokens = fit;
            break;
        }
        (*n_rows)--;
        while (last > 0 && all->p[last - 1].row > *n_rows) count[all->p[--last].word_begin]--;
    }
    if (*n_tokens == 0) *n_tokens = 1;
    free(count);
    return MLTF_OK;
}

/* ---- numeric features ---- */

typedef struct numbers {
    table_values *kept;                  /* [n_columns, n_rows] */
    uint32_t *rank, *inverse, *relation; /* [n_rows, n_columns] */
} numbers;

static mltf_status parse_columns(const task_call *c, const table *t, numbers *n, mltf_err *err)
{
    const size_t cells = t->n_rows * t->n_columns;
    n->kept = arena_calloc(c->arena, cells, sizeof *n->kept);
    n->rank = arena_calloc(c->arena, cells, sizeof *n->rank);
    n->inverse = arena_calloc(c->arena, cells, sizeof *n->inverse);
    n->relation = arena_calloc(c->arena, cells, sizeof *n->relation);
    table_values *found = arena_calloc(c->arena, t->n_rows, sizeof *found);
    if (!n->kept || !n->rank || !n->inverse || !n->relation || !found) return mltf_fail_memory(err);
    for (size_t k = 0; k < t->n_columns; k++) {
        for (size_t r = 0; r < t->n_rows; r++)
            TRY(table_parse(c->arena, t->cells[r * t->n_columns + k], &found[r], err));
        table_consolidate(found, t->n_rows, n->kept + k * t->n_rows);
    }
    return MLTF_OK;
}

/* The values of a column, with room for one more; how many there are. */
static size_t column_values(const table *t, const numbers *n, size_t column,
                            const table_value **out)
{
    size_t count = 0;
    for (size_t r = 0; r < t->n_rows; r++)
        if (n->kept[column * t->n_rows + r].n) out[count++] = n->kept[column * t->n_rows + r].p;
    return count;
}

static void rank_columns(const table *t, numbers *n, const table_value **values)
{
    for (size_t k = 0; k < t->n_columns; k++) {
        const size_t count = column_values(t, n, k, values);
        const unsigned common = table_common(values, count);
        if (!common) continue;
        for (size_t r = 0; r < t->n_rows; r++) {
            const table_values *own = &n->kept[k * t->n_rows + r];
            if (!own->n) continue;
            uint32_t below = 0, above = 0; // distinct values
            for (size_t i = 0; i < count; i++) {
                const int order = table_compare(values[i], own->p, common);
                bool seen = order == 0;
                for (size_t j = 0; j < i && !seen; j++)
                    seen = table_compare(values[j], values[i], common) == 0;
                if (seen) continue;
                if (order < 0)
                    below++;
                else
                    above++;
            }
            n->rank[r * t->n_columns + k] = below + 1;
            n->inverse[r * t->n_columns + k] = above + 1;
        }
    }
}

/* Bits: 1 the question has the cell's value, 2 a smaller one, 4 a larger one. */
static void relate_columns(const table *t, numbers *n, const table_values *question,
                           const table_value **values)
{
    memset(n->relation, 0, t->n_rows * t->n_columns * sizeof *n->relation);
    for (size_t q = 0; q < question->n; q++)
        for (size_t k = 0; k < t->n_columns; k++) {
            size_t count = column_values(t, n, k, values);
            if (count == 0) continue;
            values[count++] = &question->p[q];
            const unsigned common = table_common(values, count);
            for (size_t r = 0; common && r < t->n_rows; r++) {
                const table_values *own = &n->kept[k * t->n_rows + r];
                if (!own->n) continue;
                const int order = table_compare(&question->p[q], own->p, common);
                n->relation[r * t->n_columns + k] |= order == 0 ? 1u : order < 0 ? 2u : 4u;
            }
        }
}

/* ---- one query ---- */

static mltf_status check_size(const task_call *c, const table_qa *q, const table *t, size_t *n_rows,
                              mltf_err *err)
{
    const json *config = tokenizer_config(c->p->tk);
    const size_t model_max = tokenizer_model_max_length(c->p->tk);
    const int64_t max_column = json_int(json_get(config, "max_column_id"),
                                        model_max < INT32_MAX ? (int64_t)model_max : INT32_MAX);
    const int64_t max_row = json_int(json_get(config, "max_row_id"),
                                     model_max < INT32_MAX ? (int64_t)model_max : INT32_MAX);
    if (t->n_columns >= (size_t)max_column)
        return mltf_fail(err, MLTF_PREDICT_FAILED, "Too many columns");
    *n_rows = t->n_rows;
    if (t->n_rows < (size_t)max_row) return MLTF_OK;
    if (!q->drop_rows) return mltf_fail(err, MLTF_PREDICT_FAILED, "Too many rows");
    *n_rows = max_row > 0 ? (size_t)max_row - 1 : 0;
    return MLTF_OK;
}

/* The question's tokens, less those of one that is longer or shorter than the tokenizer allows. */
static mltf_status tokenize_question(const task_call *c, mltf_str query, tok_encoding *enc,
                                     bool *skipped, mltf_err *err)
{
    const json *config = tokenizer_config(c->p->tk);
    TRY(tokenize(c, query, enc, err));
    const int64_t longest = json_int(json_get(config, "max_question_length"), INT64_MAX);
    const int64_t shortest = json_int(json_get(config, "min_question_length"), 0);
    *skipped = (int64_t)enc->n > longest || (int64_t)enc->n < shortest;
    if (*skipped) enc->n = 0;
    return MLTF_OK;
}

static mltf_status build_sequence(const table_qa *q, const table *t, const tokens *all, numbers *n,
                                  mltf_str query, const table_value **values, tok_encoding *out,
                                  mltf_err *err)
{
    const task_call *c = q->c;
    tok_encoding question = TOK_ENCODING_INIT;
    bool skipped = false;
    size_t n_rows = 0, n_tokens = all->longest;
    TRY(check_size(c, q, t, &n_rows, err));
    mltf_status st = tokenize_question(c, query, &question, &skipped, err);
    if (!st && q->drop_rows) st = fit_table(c, all, question.n, &n_rows, &n_tokens, err);
    table_values asked = {0};
    if (!st && !skipped) st = table_parse(c->arena, query, &asked, err);
    if (!st) {
        relate_columns(t, n, &asked, values);
        out->cap = question.n + 2 + all->n;
        out->ids = calloc(out->cap, sizeof *out->ids);
        out->type_ids = calloc(out->cap, TYPES * sizeof *out->type_ids);
        if (!out->ids || !out->type_ids) st = mltf_fail_memory(err);
    }
    if (st) {
        tok_encoding_release(&question);
        return st;
    }
    size_t k = 0;
    out->ids[k++] = tokenizer_special_id(c->p->tk, TOK_CLS);
    for (size_t i = 0; i < question.n; i++) out->ids[k++] = question.ids[i];
    out->ids[k++] = tokenizer_special_id(c->p->tk, TOK_SEP);
    for (size_t i = 0; i < all->n; i++) {
        const table_token *token = &all->p[i];
        if (token->row > n_rows || token->word_begin >= n_tokens) continue;
        int32_t *type = out->type_ids + k * TYPES;
        out->ids[k++] = token->id;
        type[TYPE_SEGMENT] = 1;
        type[TYPE_COLUMN] = (int32_t)token->column + 1;
        type[TYPE_ROW] = (int32_t)token->row;
        if (token->row == 0) continue;
        const size_t cell = (token->row - 1) * t->n_columns + token->column;
        type[TYPE_RANK] = (int32_t)n->rank[cell];
        type[TYPE_INVERSE_RANK] = (int32_t)n->inverse[cell];
        type[TYPE_RELATION] = (int32_t)n->relation[cell];
    }
    out->n = k;
    tok_encoding_release(&question);
    return MLTF_OK;
}

/* ---- answers ---- */

/* Mean probability of each cell's tokens; -1 for cells that are not there. */
static mltf_status cell_probabilities(const task_call *c, const table *t, const tok_encoding *s,
                                      const float *logits, double **out, mltf_err *err)
{
    const size_t cells = t->n_rows * t->n_columns;
    double *sum = arena_calloc(c->arena, cells, sizeof *sum);
    uint32_t *count = arena_calloc(c->arena, cells, sizeof *count);
    if (!sum || !count) return mltf_fail_memory(err);
    for (size_t i = 0; i < s->n; i++) {
        const int32_t *type = s->type_ids + i * TYPES;
        if (type[TYPE_SEGMENT] != 1 || type[TYPE_ROW] < 1 || type[TYPE_COLUMN] < 1) continue;
        const size_t cell =
            (size_t)(type[TYPE_ROW] - 1) * t->n_columns + (size_t)(type[TYPE_COLUMN] - 1);
        const float logit = logits[i] < -88.7f ? -88.7f : logits[i];
        sum[cell] += (double)(1.0f / (1.0f + expf(-logit)));
        count[cell]++;
    }
    for (size_t i = 0; i < cells; i++) sum[i] = count[i] ? sum[i] / count[i] : -1;
    *out = sum;
    return MLTF_OK;
}

static mltf_status write_answer(const task_call *c, const table_job *job,
                                const double *probabilities, const float *aggregation,
                                size_t n_aggregation, mltf_err *err)
{
    const table *t = job->t;
    mltf_arena *a = c->arena;
    const json *config = c->p->info->config, *labels = json_get(config, "aggregation_labels");
    json *answer = json_new_object(a), *coordinates = json_new_array(a), *cells = json_new_array(a);
    mltf_buf text = MLTF_BUF_INIT;
    mltf_str aggregator = {0};
    if (json_is(labels, JSON_OBJECT) && labels->o.n &&
        json_int(json_get(config, "num_aggregation_labels"), 0) > 0 && aggregation) {
        const size_t best = task_argmax(aggregation, n_aggregation);
        char key[24];
        snprintf(key, sizeof key, "%zu", best);
        aggregator = json_string(json_get(labels, key), STR(""));
        if (json_int(json_get(config, "no_aggregation_label_index"), -1) != (int64_t)best) {
            buf_put_str(&text, aggregator);
            buf_puts(&text, " > ");
        }
    }
    for (size_t r = 0; r < t->n_rows; r++)
        for (size_t k = 0; k < t->n_columns; k++) {
            if (!(probabilities[r * t->n_columns + k] > 0.5)) continue;
            json *place = json_new_array(a);
            json_push(a, place, json_new_int(a, (int64_t)r));
            json_push(a, place, json_new_int(a, (int64_t)k));
            if (json_len(cells)) buf_puts(&text, ", ");
            buf_put_str(&text, t->cells[r * t->n_columns + k]);
            json_push(a, coordinates, place);
            json_push(a, cells, json_new_string(a, t->cells[r * t->n_columns + k]));
        }
    const mltf_status st = buf_status(&text, err);
    json_set(a, answer, "answer", json_new_string(a, text.p ? buf_str(&text) : STR("")));
    json_set(a, answer, "coordinates", coordinates);
    json_set(a, answer, "cells", cells);
    if (aggregator.n) json_set(a, answer, "aggregator", json_new_string(a, aggregator));
    json_push(a, job->answers, answer);
    mltf_buf_release(&text);
    return st;
}

static mltf_status add_cells(void *user, const task_row *row, mltf_err *err)
{
    table_qa *q = user;
    const table_job *job = &q->jobs[row->seq];
    TRY(cell_probabilities(q->c, job->t, row->enc, row->logits, &q->previous, err));
    return write_answer(q->c, job, q->previous, row->extra, row->n_extra, err);
}

/* Marks what the query before found. */
static void mark_previous(const table_qa *q, const table *t, tok_encoding *s)
{
    for (size_t i = 0; q->previous && i < s->n; i++) {
        int32_t *type = s->type_ids + i * TYPES;
        if (type[TYPE_SEGMENT] == 1 && type[TYPE_ROW] >= 1 && type[TYPE_COLUMN] >= 1)
            type[TYPE_PREVIOUS] = q->previous[(size_t)(type[TYPE_ROW] - 1) * t->n_columns +
                                              (size_t)(type[TYPE_COLUMN] - 1)] > 0.5;
    }
}

static mltf_status run_queries(table_qa *q, mltf_err *err)
{
    const mltf_status st = task_forward(q->c, &q->seqs, ARCH_WANT_LOGITS, add_cells, q, err);
    task_seqs_release(&q->seqs);
    q->seqs = (task_seqs){0};
    return st;
}

/* A place for a query's sequence and for what its answer needs. */
static tok_encoding *add_job(table_qa *q, table_job job)
{
    if (!ARRAY_RESERVE(q->jobs, q->cap, q->seqs.n + 1)) return NULL;
    q->jobs[q->seqs.n] = job;
    return task_seqs_add(&q->seqs);
}

/* Adds the queries to those that run together; sequential ones run here, one after another. */
static mltf_status ask_tapas(table_qa *q, const table_job *job, const mltf_str *queries,
                             size_t n_queries, mltf_err *err)
{
    const task_call *c = q->c;
    const table *t = job->t;
    tokens all = {0};
    numbers n = {0};
    const table_value **values = arena_calloc(c->arena, t->n_rows + 1, sizeof *values);
    if (!values) return mltf_fail_memory(err);
    mltf_status st = tokenize_table(c, t, &all, err);
    if (!st) st = parse_columns(c, t, &n, err);
    if (!st) rank_columns(t, &n, values);
    q->previous = NULL;
    for (size_t i = 0; i < n_queries && !st; i++) {
        tok_encoding *s = add_job(q, *job);
        st = s ? build_sequence(q, t, &all, &n, queries[i], values, s, err) : mltf_fail_memory(err);
        if (st || !q->sequential) continue;
        mark_previous(q, t, s);
        st = run_queries(q, err);
    }
    free(all.p);
    return st;
}

/* ---- TAPEX ---- */

#define TAPEX_CELL_TOKENS 15 /* TapexTokenizer's max_cell_length */

static mltf_status put_cell(const task_call *c, mltf_buf *out, mltf_str cell, mltf_err *err)
{
    const tok_options o = {.no_special_tokens = true};
    tok_encoding enc = TOK_ENCODING_INIT;
    mltf_buf cut = MLTF_BUF_INIT;
    mltf_status st = tokenizer_encode(c->p->tk, &enc, cell, (mltf_str){0}, &o, err);
    if (!st && enc.n >= TAPEX_CELL_TOKENS)
        st = tokenizer_decode(c->p->tk, &cut, enc.ids, TAPEX_CELL_TOKENS, false, 0, err);
    buf_put_str(out, cut.n ? buf_str(&cut) : cell);
    tok_encoding_release(&enc);
    mltf_buf_release(&cut);
    return st;
}

/* str.lower(), before cells are cut, whose length counts. */
static mltf_str lowered(const task_call *c, mltf_str s)
{
    if (!json_bool(json_get(tokenizer_config(c->p->tk), "do_lower_case"), true)) return s;
    mltf_buf out = MLTF_BUF_INIT;
    pytext_lower(&out, s);
    const mltf_str low = arena_str(c->arena, buf_str(&out));
    mltf_buf_release(&out);
    return low;
}

/* "question col : a | b row 1 : x | y row 2 : …" */
static mltf_status linearize(const task_call *c, const table *t, mltf_str query, mltf_buf *out,
                             mltf_err *err)
{
    buf_put_str(out, lowered(c, query));
    buf_puts(out, " col : ");
    for (size_t k = 0; k < t->n_columns; k++) {
        if (k) buf_puts(out, " | ");
        buf_put_str(out, lowered(c, t->names[k]));
    }
    for (size_t r = 0; r < t->n_rows; r++) {
        buf_printf(out, " row %zu : ", r + 1);
        for (size_t k = 0; k < t->n_columns; k++) {
            if (k) buf_puts(out, " | ");
            TRY(put_cell(c, out, lowered(c, t->cells[r * t->n_columns + k]), err));
        }
    }
    out->n = pytext_rstrip(buf_str(out)).n; // an empty last cell
    if (out->p) out->p[out->n] = 0;
    return c->arena->failed ? mltf_fail_memory(err) : buf_status(out, err);
}

typedef struct tapex {
    const task_call *c;
    json *answers;
} tapex;

static mltf_status add_generated(void *user, const task_generated *g, mltf_err *err)
{
    const tapex *q = user;
    mltf_arena *a = q->c->arena;
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st =
        tokenizer_decode(q->c->p->tk, &text, g->seqs[0].ids, g->seqs[0].n, true, -1, err);
    json *answer = json_new_object(a);
    json_set(a, answer, "answer", json_new_string(a, text.p ? buf_str(&text) : STR("")));
    json_push(a, q->answers, answer);
    mltf_buf_release(&text);
    return st;
}

static mltf_status ask_tapex(const task_call *c, const table_job *job, const mltf_str *queries,
                             size_t n_queries, mltf_err *err)
{
    gen_config cfg;
    TRY(task_gen_config(c, NULL, &cfg, err));
    task_seqs seqs = {0};
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n_queries && !st; i++) {
        mltf_buf text = MLTF_BUF_INIT;
        tok_encoding *enc = task_seqs_add(&seqs);
        st = enc ? linearize(c, job->t, queries[i], &text, err) : mltf_fail_memory(err);
        if (!st) st = tokenizer_encode(c->p->tk, enc, buf_str(&text), (mltf_str){0}, NULL, err);
        mltf_buf_release(&text);
    }
    tapex q = {c, job->answers};
    if (!st) st = task_generate(c, &cfg, &seqs, NULL, NULL, add_generated, &q, err);
    task_seqs_release(&seqs);
    return st;
}

/* ---- the call ---- */

static mltf_status read_queries(const task_call *c, const json *v, mltf_str **out, size_t *n,
                                mltf_err *err)
{
    const bool many = json_is(v, JSON_ARRAY);
    *n = many ? v->a.n : 1;
    if (*n == 0 || !v || v->type == JSON_NULL || (v->type == JSON_STRING && v->s.n == 0))
        return mltf_fail(err, MLTF_PREDICT_FAILED, "query is empty");
    *out = arena_calloc(c->arena, *n, sizeof **out);
    if (!*out) return mltf_fail_memory(err);
    for (size_t i = 0; i < *n; i++) {
        const json *one = many ? &v->a.items[i] : v;
        if (!json_is(one, JSON_STRING))
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "queries input must of type `str` (single example), `list[str]` "
                             "(batch or single pretokenized "
                             "example). ");
        (*out)[i] = one->s;
    }
    return MLTF_OK;
}

/* One table with its queries; *answers gets theirs, for TAPAS when the call's sequences run. */
static mltf_status ask_item(table_qa *q, const json *item, json *answers, mltf_err *err)
{
    const task_call *c = q->c;
    table *t = arena_calloc(c->arena, 1, sizeof *t);
    mltf_str *queries = NULL;
    size_t n = 0;
    if (!t || !answers) return mltf_fail_memory(err);
    TRY(read_table(c, json_get(item, "table"), t, err));
    TRY(read_queries(c, json_get(item, "query"), &queries, &n, err));
    const table_job job = {t, answers};
    return c->p->info->head == ARCH_HEAD_TABLE_QA ? ask_tapas(q, &job, queries, n, err)
                                                  : ask_tapex(c, &job, queries, n, err);
}

static mltf_status call(const task_call *c, json **out, mltf_err *err)
{
    const json *input = c->input ? c->input : c->kwargs, *truncation = task_arg(c, "truncation");
    const mltf_str named = json_string(truncation, STR(""));
    const bool drop = !truncation || truncation->type == JSON_NULL ||
                      json_bool(truncation, false) || str_is(named, "drop_rows_to_fit");
    if (json_is(truncation, JSON_STRING) && !drop && !str_is(named, "do_not_truncate"))
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         STR_FMT " is not a valid TapasTruncationStrategy, please select one of "
                                 "['drop_rows_to_fit', 'do_not_truncate']",
                         STR_ARG(named));
    const bool many = json_is(input, JSON_ARRAY);
    const size_t n = many ? input->a.n : 1;
    if (!many && !json_is(input, JSON_OBJECT))
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "Invalid input. Keyword argument `table` should be either of type `dict` "
                         "or `list`, but is <class '%s'>)",
                         json_type_name(input));
    table_qa q = {
        .c = c, .drop_rows = drop, .sequential = json_bool(task_arg(c, "sequential"), false)};
    json **answers = arena_calloc(c->arena, n + 1, sizeof *answers); // [n], a list a table
    mltf_status st = answers ? MLTF_OK : mltf_fail_memory(err);
    for (size_t i = 0; i < n && !st; i++)
        st = ask_item(&q, many ? json_at(input, i) : input, answers[i] = json_new_array(c->arena),
                      err);
    if (!st) st = run_queries(&q, err);
    task_seqs_release(&q.seqs);
    free(q.jobs);
    TRY(st);
    json *list = json_new_array(c->arena);
    for (size_t i = 0; i < n; i++)
        json_push(c->arena, list, json_len(answers[i]) == 1 ? &answers[i]->a.items[0] : answers[i]);
    if (c->arena->failed) return mltf_fail_memory(err);
    *out = n == 1 ? &list->a.items[0] : list;
    return MLTF_OK;
}

const task_def task_table_question_answering = {
    .info = {"table-question-answering", "TableQuestionAnsweringPipeline", NULL,
             "AutoModelForTableQuestionAnswering", true},
    .gen_defaults = "{\"max_new_tokens\": 256}",
    .type_width = TYPES,
    .call = call,
};
