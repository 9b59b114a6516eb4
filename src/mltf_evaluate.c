/* mltf_evaluate(): a model against labelled rows or a text, on top of the other public functions. */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/file.h"
#include "mlflow/metrics.h"
#include "mlflow/model.h"
#include "mlflow/scoring.h"
#include "store/store.h"

#define MAX_DATA_BYTES ((size_t)1 << 30) /* rows are held in memory: larger sets should be cut */
enum { MAX_METRICS = 16, DEFAULT_BATCH = 32, DEFAULT_WINDOW = 1024 };

typedef struct evaluation {
    const mltf_model *m;
    const mltf_evaluate_options *o;
    mltf_arena arena;
    const json *rows; /* array of objects */
    mltf_str target;  /* column */
    size_t n;
    mltf_str *predicted, *wanted; /* [n] */
    store_metric metrics[MAX_METRICS];
    size_t n_metrics;
    size_t tokens;
} evaluation;

static void add_metric(evaluation *e, const char *name, double value)
{
    if (e->n_metrics < MAX_METRICS)
        e->metrics[e->n_metrics++] = (store_metric){.key = name, .value = value};
}

/* ---- data ------------------------------------------------------------------------------------ */

static mltf_status read_lines(evaluation *e, const mltf_buf *text, json **out, mltf_err *err)
{
    json *rows = json_new_array(&e->arena);
    size_t line = 0;
    for (const char *p = text->p, *end = text->p + text->n; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        line++;
        if (strspn(p, " \t\r") < (size_t)(stop - p)) {
            json *row = NULL;
            if (json_parse_in(&e->arena, &row, p, (size_t)(stop - p), NULL, err)) {
                mltf_err_wrap(err, "line %zu of \"%s\"", line, e->o->data_path);
                return err ? err->status : MLTF_CORRUPT_FILE;
            }
            if (!json_is(row, JSON_OBJECT))
                return mltf_fail(err, MLTF_INVALID_INPUT, "line %zu of \"%s\" is no JSON object",
                                 line, e->o->data_path);
            json_push(&e->arena, rows, row);
        }
        p = stop + 1;
    }
    *out = rows;
    return MLTF_OK;
}

static mltf_status read_data(evaluation *e, mltf_err *err)
{
    mltf_buf text = MLTF_BUF_INIT;
    json *rows = NULL;
    mltf_status st = stream_read(&text, e->o->data_path, MAX_DATA_BYTES, err);
    if (st == MLTF_OK && str_ends(str_from(e->o->data_path), ".csv")) {
        scoring_request r;
        const signature untyped = {0};
        st = scoring_parse_csv(&e->arena, &r, text.p ? text.p : "", text.n, &untyped, err);
        if (st == MLTF_OK) rows = pv_to_json(&e->arena, &r.data);
    } else if (st == MLTF_OK && text.n) {
        st = read_lines(e, &text, &rows, err);
    }
    mltf_buf_release(&text);
    TRY(st);
    e->rows = rows;
    e->n = json_len(rows);
    if (e->arena.failed) return mltf_fail_memory(err);
    if (!e->n) return mltf_fail(err, MLTF_INVALID_INPUT, "\"%s\" has no rows", e->o->data_path);

    static const char *const usual[] = {"target", "label", "labels", "score"};
    const char *name = e->o->target;
    for (size_t i = 0; !name && i < sizeof usual / sizeof *usual; i++)
        if (json_get(json_at(rows, 0), usual[i])) name = usual[i];
    if (!name)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "say which column of \"%s\" holds the right answers", e->o->data_path);
    e->target = str_from(name);
    for (size_t i = 0; i < e->n; i++)
        if (!json_get_str(json_at(rows, i), e->target))
            return mltf_fail(err, MLTF_INVALID_INPUT, "row %zu of \"%s\" has no column \"%s\"",
                             i + 1, e->o->data_path, name);
    return MLTF_OK;
}

static mltf_str text_of(evaluation *e, const json *v)
{
    if (json_is(v, JSON_STRING)) return v->s;
    mltf_buf text = MLTF_BUF_INIT;
    json_write(&text, v, NULL);
    const mltf_str s = arena_str(&e->arena, buf_str(&text));
    mltf_buf_release(&text);
    return s;
}

static json *without_target(evaluation *e, const json *row)
{
    json *rest = json_new_object(&e->arena);
    for (size_t i = 0; i < json_len(row); i++)
        if (!str_eq(row->o.members[i].key, e->target))
            json_set_str(&e->arena, rest, row->o.members[i].key, &row->o.members[i].value);
    return rest;
}

/* ---- predictions ----------------------------------------------------------------------------- */

/* The request for rows [from, to): the texts alone where there is one column, else records. */
static json *request_of(evaluation *e, size_t from, size_t to)
{
    mltf_arena *a = &e->arena;
    json *request = json_new_object(a), *list = json_new_array(a);
    bool single = true;
    for (size_t i = from; i < to; i++) {
        const json *row = without_target(e, json_at(e->rows, i));
        single = single && json_len(row) == 1;
        json_push(a, list, row);
    }
    if (single)
        for (size_t i = 0; i < json_len(list); i++)
            list->a.items[i] = list->a.items[i].o.members[0].value;
    json_set(a, request, single ? "inputs" : "dataframe_records", list);
    return request;
}

/* What one row was answered, as text: the label of a row object, the text itself, else JSON. */
static mltf_str answer_text(evaluation *e, const json *v)
{
    if (json_is(v, JSON_OBJECT)) {
        const json *label = json_get(v, "label"), *labels = json_get(v, "labels"),
                   *first = json_get(v, "0");
        if (label) return text_of(e, label);
        if (labels) return text_of(e, labels);
        if (first) return answer_text(e, first);
    }
    return text_of(e, v);
}

static mltf_status tell(evaluation *e, size_t done, size_t total, const char *unit, mltf_err *err)
{
    if (e->o->progress && e->o->progress(e->o->progress_user, "evaluating", unit, done, total))
        return mltf_fail(err, MLTF_CANCELLED, "the evaluation was cancelled");
    return MLTF_OK;
}

static mltf_status predict_rows(evaluation *e, mltf_err *err)
{
    mltf_arena *a = &e->arena;
    const bool several = strcmp(e->m->task, "zero-shot-classification") ==
                         0; // a row gives one answer a label: best first
    const size_t batch = several ? 1 : e->o->batch ? e->o->batch : DEFAULT_BATCH;
    const mltf_predict_options run = {.params_json = e->o->params_json};
    e->predicted = arena_calloc(a, e->n, sizeof *e->predicted);
    e->wanted = arena_calloc(a, e->n, sizeof *e->wanted);
    if (!e->predicted || !e->wanted) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    for (size_t from = 0, to; from < e->n && st == MLTF_OK; from = to) {
        to = from + batch < e->n ? from + batch : e->n;
        mltf_buf body = MLTF_BUF_INIT, answer = MLTF_BUF_INIT;
        json_write(&body, request_of(e, from, to), NULL);
        json *reply = NULL;
        st = buf_status(&body, err);
        if (st == MLTF_OK) st = mltf_predict_json(e->m, body.p, body.n, &run, &answer, err);
        if (st == MLTF_OK) st = json_parse_in(a, &reply, answer.p, answer.n, NULL, err);
        const json *list = json_get(reply, "predictions");
        if (st == MLTF_OK && (several ? json_len(list) == 0 : json_len(list) != to - from))
            st = mltf_fail(err, MLTF_UNSUPPORTED,
                           "the model answered %zu rows with %zu answers: this task cannot be "
                           "evaluated by rows",
                           to - from, json_len(list));
        for (size_t i = from; st == MLTF_OK && i < to; i++) {
            e->predicted[i] = answer_text(e, json_at(list, i - from));
            e->wanted[i] = text_of(e, json_get_str(json_at(e->rows, i), e->target));
        }
        mltf_buf_release(&answer);
        mltf_buf_release(&body);
        if (st == MLTF_OK) st = tell(e, to, e->n, "rows", err);
    }
    return st == MLTF_OK && a->failed ? mltf_fail_memory(err) : st;
}

static mltf_status score_texts(evaluation *e, mltf_err *err)
{
    rouge_scores r;
    double mean, corpus;
    TRY(metric_rouge(&r, e->predicted, e->wanted, e->n, err));
    TRY(metric_bleu(&mean, &corpus, e->predicted, e->wanted, e->n, err));
    add_metric(e, "exact_match/v1", metric_exact_match(e->predicted, e->wanted, e->n));
    add_metric(e, "rouge1/v1/mean", r.rouge1);
    add_metric(e, "rouge2/v1/mean", r.rouge2);
    add_metric(e, "rougeL/v1/mean", r.rougeL);
    add_metric(e, "rougeLsum/v1/mean", r.rougeLsum);
    add_metric(e, "bleu/v1/mean", mean);
    add_metric(e, "corpus_bleu", corpus);
    return MLTF_OK;
}

static mltf_status score_classes(evaluation *e, mltf_err *err)
{
    class_scores c;
    TRY(metric_classes(&c, e->predicted, e->wanted, e->n, err));
    add_metric(e, "accuracy_score", c.accuracy);
    add_metric(e, "precision_score", c.precision);
    add_metric(e, "recall_score", c.recall);
    add_metric(e, "f1_score", c.f1);
    add_metric(e, "macro_f1_score", c.macro_f1);
    return MLTF_OK;
}

/* ---- embeddings ------------------------------------------------------------------------------ */

static double cosine(const json *a, const json *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < json_len(a) && i < json_len(b); i++) {
        const double x = json_double(json_at(a, i), 0), y = json_double(json_at(b, i), 0);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

static mltf_status evaluate_pairs(evaluation *e, mltf_err *err)
{
    mltf_arena *a = &e->arena;
    double *similar = arena_calloc(a, e->n, sizeof *similar),
           *wanted = arena_calloc(a, e->n, sizeof *wanted);
    e->predicted = arena_calloc(a, e->n, sizeof *e->predicted);
    if (!similar || !wanted || !e->predicted) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < e->n && st == MLTF_OK; i++) {
        const json *row = json_at(e->rows, i), *texts = without_target(e, row),
                   *target = json_get_str(row, e->target);
        if (json_len(texts) != 2 || !json_is_number(target))
            return mltf_fail(
                err, MLTF_INVALID_INPUT,
                "row %zu: embeddings are evaluated on two columns of text and a number", i + 1);
        const mltf_arena_mark mark = arena_save(a);
        json *request = json_new_object(a), *list = json_new_array(a), *reply = NULL;
        for (size_t k = 0; k < 2; k++) json_push(a, list, &texts->o.members[k].value);
        json_set(a, request, "input", list);
        mltf_buf body = MLTF_BUF_INIT, answer = MLTF_BUF_INIT;
        json_write(&body, request, NULL);
        st = buf_status(&body, err);
        if (st == MLTF_OK)
            st = mltf_openai(e->m, "embeddings", body.p, body.n, NULL, NULL, NULL, &answer, err);
        if (st == MLTF_OK) st = json_parse_in(a, &reply, answer.p, answer.n, NULL, err);
        const json *data = json_get(reply, "data");
        similar[i] = cosine(json_get(json_at(data, 0), "embedding"),
                            json_get(json_at(data, 1), "embedding"));
        wanted[i] = json_double(target, 0);
        mltf_buf_release(&answer);
        mltf_buf_release(&body);
        arena_restore(a, mark);
        e->predicted[i] = text_of(e, json_new_double(a, similar[i]));
        if (st == MLTF_OK) st = tell(e, i + 1, e->n, "rows", err);
    }
    TRY(st);
    double r;
    TRY(metric_spearman(&r, similar, wanted, e->n, err));
    add_metric(e, "spearman", r);
    return MLTF_OK;
}

/* ---- perplexity ------------------------------------------------------------------------------ */

/* Windows share a token, so each but the very first is predicted once. */
static mltf_status surprise_of_window(evaluation *e, const int32_t *ids, size_t n, double *sum,
                                      mltf_err *err)
{
    const mltf_arena_mark mark = arena_save(&e->arena);
    gen_logprob *scores = arena_calloc(&e->arena, n, sizeof *scores);
    mltf_status st =
        scores ? pipeline_score(e->m->pipe, ids, n, 0, NULL, scores, err) : mltf_fail_memory(err);
    for (size_t i = 1; i < n && st == MLTF_OK; i++) *sum -= (double)scores[i].logprob;
    arena_restore(&e->arena, mark);
    return st;
}

static mltf_status evaluate_text(evaluation *e, mltf_err *err)
{
    const arch_model *model = pipeline_model(e->m->pipe);
    const arch_info *info = arch_model_info(model);
    if (info->kind != ARCH_DECODER || info->head != ARCH_HEAD_LM)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "perplexity needs a causal language model, and \"%s\" is none",
                         info->architecture);
    mltf_buf text = MLTF_BUF_INIT;
    tok_encoding enc = TOK_ENCODING_INIT;
    mltf_status st = stream_read(&text, e->o->text_path, MAX_DATA_BYTES, err);
    if (st == MLTF_OK)
        st = tokenizer_encode(pipeline_tokenizer(e->m->pipe), &enc, buf_str(&text), (mltf_str){0},
                              &(tok_options){.ids_only = true}, err);
    if (st == MLTF_OK && enc.n < 2)
        st =
            mltf_fail(err, MLTF_INVALID_INPUT, "\"%s\" has fewer than two tokens", e->o->text_path);
    const size_t window =
        info->max_positions < DEFAULT_WINDOW ? info->max_positions : DEFAULT_WINDOW;
    double sum = 0;
    for (size_t from = 0; st == MLTF_OK && from + 1 < enc.n; from += window - 1) {
        const size_t n = from + window < enc.n ? window : enc.n - from;
        st = surprise_of_window(e, enc.ids + from, n, &sum, err);
        e->tokens += n - 1;
        if (st == MLTF_OK) st = tell(e, e->tokens, enc.n - 1, "tokens", err);
    }
    tok_encoding_release(&enc);
    mltf_buf_release(&text);
    TRY(st);
    add_metric(e, "perplexity", exp(sum / (double)e->tokens));
    add_metric(e, "nll_per_token", sum / (double)e->tokens);
    return MLTF_OK;
}

/* ---- report ---------------------------------------------------------------------------------- */

static mltf_status log_metrics(evaluation *e, const char **run_id, mltf_err *err)
{
    const mltf_evaluate_options *o = e->o;
    store *st = NULL;
    TRY(store_open(&st, o->tracking_uri, true, err));
    store_run run;
    store_experiment exp = {.id = "0"};
    mltf_status done = MLTF_OK;
    const bool own = !o->run_id || !*o->run_id;
    if (!own) {
        done = store_run_get(st, &e->arena, o->run_id, &run, err);
    } else {
        if (o->experiment_name && *o->experiment_name) {
            done = store_experiment_by_name(st, &e->arena, o->experiment_name, &exp, NULL);
            if (done == MLTF_NOT_FOUND)
                done = store_experiment_create(st, &e->arena, o->experiment_name, &exp, err);
        }
        if (done == MLTF_OK)
            done = store_run_create(st, &e->arena, exp.id, o->run_name, NULL, 0, &run, err);
    }
    if (done == MLTF_OK) done = store_log_metrics(st, run.id, e->metrics, e->n_metrics, err);
    if (done == MLTF_OK && own) done = store_run_finish(st, run.id, "FINISHED", err);
    if (done == MLTF_OK) *run_id = run.id;
    store_close(st);
    return done;
}

static mltf_status write_report(evaluation *e, double seconds, const char *run_id, mltf_buf *report,
                                mltf_buf *predictions, mltf_err *err)
{
    mltf_arena *a = &e->arena;
    json *o = json_new_object(a), *metrics = json_new_object(a);
    json_set(a, o, "task", json_new_cstr(a, e->m->task));
    if (e->tokens)
        json_set(a, o, "tokens", json_new_int(a, (int64_t)e->tokens));
    else
        json_set(a, o, "rows", json_new_int(a, (int64_t)e->n));
    json_set(a, o, "seconds", json_new_double(a, seconds));
    for (size_t i = 0; i < e->n_metrics; i++)
        json_set(a, metrics, e->metrics[i].key, json_new_double(a, e->metrics[i].value));
    json_set(a, o, "metrics", metrics);
    if (run_id) json_set(a, o, "run_id", json_new_cstr(a, run_id));
    json *list = json_new_array(a);
    for (size_t i = 0; predictions && e->predicted && i < e->n; i++)
        json_push(a, list, json_new_string(a, e->predicted[i]));
    if (a->failed) return mltf_fail_memory(err);
    const json_write_options options = {.nan_as_null = true};
    json_write(report, o, &options);
    if (predictions) json_write(predictions, list, &options);
    if (predictions) TRY(buf_status(predictions, err));
    return buf_status(report, err);
}

static mltf_status evaluate(evaluation *e, mltf_err *err)
{
    const char *task = e->m->task;
    if (!e->o->data_path == !e->o->text_path)
        return mltf_fail(err, MLTF_INVALID_INPUT, "give either labelled data or a text");
    if (e->o->text_path) return evaluate_text(e, err);
    TRY(read_data(e, err));
    if (strcmp(task, "feature-extraction") == 0 || strcmp(task, "sentence-similarity") == 0)
        return evaluate_pairs(e, err);
    TRY(predict_rows(e, err));
    const bool classes = strcmp(task, "text-classification") == 0 ||
                         strcmp(task, "zero-shot-classification") == 0 ||
                         strcmp(task, "token-classification") == 0;
    return classes ? score_classes(e, err) : score_texts(e, err);
}

mltf_status mltf_evaluate(const mltf_model *m, const mltf_evaluate_options *opts, mltf_buf *report,
                          mltf_buf *predictions, mltf_err *err)
{
    evaluation e = {.m = m, .o = opts};
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    const char *run_id = NULL;
    mltf_status st = evaluate(&e, err);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    const double seconds =
        (double)(ended.tv_sec - began.tv_sec) + 1e-9 * (double)(ended.tv_nsec - began.tv_nsec);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    for (size_t i = 0; i < e.n_metrics; i++) e.metrics[i].timestamp = (int64_t)now.tv_sec * 1000;
    if (st == MLTF_OK && opts->log_to_run) st = log_metrics(&e, &run_id, err);
    if (st == MLTF_OK) st = write_report(&e, seconds, run_id, report, predictions, err);
    arena_release(&e.arena);
    return st;
}
