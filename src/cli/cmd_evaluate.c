/* mltf models evaluate: a model against labelled rows or a text; mltf models compare: two models on the same. */
#include <math.h>
#include <stdio.h>

#include "cli/open_options.h"
#include "cli/show_json.h"

// clang-format off
#define EVALUATE_OPTIONS(e, batch)                                                                                         \
    CLI_STR('d', "data", "FILE", &(e).data_path, NULL, "labelled rows: CSV with a header line, or JSON lines"),            \
    CLI_STR(0, "target", "COLUMN", &(e).target, NULL, "column of the right answers; target, label, labels or score by default"), \
    CLI_STR(0, "text", "FILE", &(e).text_path, NULL, "measure the perplexity of this text instead"),                       \
    CLI_STR(0, "params", "JSON", &(e).params_json, NULL, "params of each request"),                                        \
    CLI_INT(0, "batch", "N", &(batch), NULL, "rows a request; 32 by default")
// clang-format on

static mltf_status evaluate_one(const char *uri, mltf_open_options *o, mltf_evaluate_options *e,
                                cli_progress *progress, json_doc *report, json_doc *predictions,
                                mltf_err *err)
{
    mltf_model *model = NULL;
    mltf_buf text = MLTF_BUF_INIT, answers = MLTF_BUF_INIT;
    o->progress = e->progress = cli_progress_step;
    o->progress_user = e->progress_user = progress;
    mltf_status st = mltf_model_open(&model, uri, o, err);
    if (st == MLTF_OK) st = mltf_evaluate(model, e, &text, predictions ? &answers : NULL, err);
    cli_progress_done(progress);
    if (st == MLTF_OK) st = json_parse(report, text.p, text.n, NULL, err);
    if (st == MLTF_OK && predictions) st = json_parse(predictions, answers.p, answers.n, NULL, err);
    mltf_buf_release(&answers);
    mltf_buf_release(&text);
    mltf_model_free(model);
    return st;
}

static mltf_status print_report(const json *report, bool as_json, mltf_err *err)
{
    mltf_buf out = MLTF_BUF_INIT;
    if (as_json)
        json_write(&out, report, NULL);
    else
        show_json(&out, report, 0);
    if (as_json) buf_putc(&out, '\n');
    const mltf_status st = cli_write_all("-", &out, err);
    mltf_buf_release(&out);
    return st;
}

int cmd_evaluate(int argc, char **argv, const cli_command *self)
{
    const char *uri = NULL;
    mltf_open_options o = {.log = cli_warn};
    mltf_evaluate_options e = {0};
    int batch = 0;
    bool as_json = false, no_log = false;
    const cli_opt opts[] = {
        OPEN_OPTIONS(uri, o),
        EVALUATE_OPTIONS(e, batch),
        CLI_STR(0, "experiment-name", "NAME", &e.experiment_name, "MLFLOW_EXPERIMENT_NAME",
                "experiment of the run that gets the metrics"),
        CLI_STR(0, "run-id", "ID", &e.run_id, "MLFLOW_RUN_ID",
                "log the metrics to this run instead of a new one"),
        CLI_STR(0, "run-name", "NAME", &e.run_name, NULL, "name of the new run"),
        CLI_FLAG(0, "no-log", &no_log, NULL, "only print the metrics"),
        CLI_FLAG(0, "json", &as_json, NULL, "one JSON object"),
        CLI_END,
    };
    char **rest;
    int n_rest;
    const int code = cli_parse(argc, argv, self, opts, &rest, &n_rest);
    if (code >= 0) return code;
    if (!uri || n_rest || !e.data_path == !e.text_path)
        return cli_mistake(self, "give the model with -m, and either --data or --text");
    if (batch < 0) return cli_mistake(self, "--batch cannot be negative");
    e.batch = (size_t)batch;
    e.tracking_uri = o.tracking_uri;
    e.log_to_run = !no_log;
    mltf_err err = {0};
    json_doc report = JSON_DOC_INIT;
    cli_progress progress;
    cli_progress_init(&progress);
    cli_catch_interrupt();
    if (evaluate_one(uri, &o, &e, &progress, &report, NULL, &err) == MLTF_OK)
        print_report(report.root, as_json, &err);
    json_doc_release(&report);
    return cli_report(&err);
}

/* Share of rows that both models answer alike; NaN for a text. */
static double agreement(const json *a, const json *b)
{
    size_t same = 0;
    for (size_t i = 0; i < json_len(a); i++) same += json_equal(json_at(a, i), json_at(b, i));
    return json_len(a) ? (double)same / (double)json_len(a) : (double)NAN;
}

int cmd_compare(int argc, char **argv, const cli_command *self)
{
    const char *unused = NULL;
    mltf_open_options o = {.log = cli_warn};
    mltf_evaluate_options e = {0};
    int batch = 0;
    const cli_opt opts[] = {
        OPEN_OPTIONS(unused, o),
        EVALUATE_OPTIONS(e, batch),
        CLI_END,
    };
    char **rest;
    int n_rest;
    const int code = cli_parse(argc, argv, self, opts, &rest, &n_rest);
    if (code >= 0) return code;
    if (n_rest != 2 || !e.data_path == !e.text_path)
        return cli_mistake(self, "give two models, and either --data or --text");
    if (batch < 0) return cli_mistake(self, "--batch cannot be negative");
    e.batch = (size_t)batch;
    mltf_err err = {0};
    json_doc report[2] = {JSON_DOC_INIT, JSON_DOC_INIT}, said[2] = {JSON_DOC_INIT, JSON_DOC_INIT};
    cli_progress progress;
    cli_progress_init(&progress);
    cli_catch_interrupt();
    for (int i = 0; i < 2; i++)
        if (evaluate_one(rest[i], &o, &e, &progress, &report[i], &said[i], &err)) goto done;

    const json *a = json_get(report[0].root, "metrics"), *b = json_get(report[1].root, "metrics");
    printf("%-20s %12s %12s %12s\n", "", "A", "B", "B - A");
    for (size_t i = 0; i < json_len(a); i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)a->o.members[i].key.n, a->o.members[i].key.p);
        const double x = json_double(&a->o.members[i].value, (double)NAN),
                     y = json_double(json_get(b, name), (double)NAN);
        printf("%-20s %12.6g %12.6g %+12.6g\n", name, x, y, y - x);
    }
    const double x = json_double(json_get(report[0].root, "seconds"), 0),
                 y = json_double(json_get(report[1].root, "seconds"), 0);
    printf("%-20s %12.3f %12.3f %+12.3f\n", "seconds", x, y, y - x);
    const double same = agreement(said[0].root, said[1].root);
    if (!isnan(same)) printf("%-20s %12.6g\n", "same answers", same);
done:
    for (int i = 0; i < 2; i++) {
        json_doc_release(&report[i]);
        json_doc_release(&said[i]);
    }
    return cli_report(&err);
}
