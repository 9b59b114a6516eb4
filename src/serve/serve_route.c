/* Requests to answers, without a socket in sight.
 *
 * /invocations, /ping, /health and /version speak as MLflow's scoring server does (mlflow/pyfunc/scoring_server),
 * /v1/… as OpenAI's API, and paths and methods that do not exist as FastAPI. */
#include "serve/serve.h"

#include <stdlib.h>
#include <time.h>

#include "base/ascii.h"
#include "formats/json.h"

#define TYPE_JSON "application/json"
#define TYPE_TEXT "text/plain; charset=utf-8"

typedef struct route {
    const char *method, *path;
    serve_kind kind;
    const char *body; /* of SERVE_NOW, unless it is made below */
} route;

static const route routes[] = {
    {"GET", "/ping", SERVE_NOW, "\n"},
    {"GET", "/health", SERVE_NOW, "\n"},
    {"GET", "/version", SERVE_NOW, MLTF_MLFLOW_VERSION},
    {"POST", "/invocations", SERVE_PREDICT_JSON, NULL},
    {"GET", "/v1/models", SERVE_NOW, NULL},
    {"POST", "/v1/chat/completions", SERVE_CHAT, NULL},
    {"POST", "/v1/completions", SERVE_COMPLETIONS, NULL},
    {"POST", "/v1/embeddings", SERVE_EMBEDDINGS, NULL},
    {"GET", "/metrics", SERVE_METRICS, NULL},
    {"GET", "/ready", SERVE_READY, NULL},
    {"GET", "/v2/health/live", SERVE_NOW, "{\"live\":true}"},
    {"GET", "/v2/health/ready", SERVE_READY, NULL},
};

static void reply_text(serve_reply *out, int status, const char *type, const char *text)
{
    out->status = status;
    out->type = type;
    buf_puts(&out->body, text);
}

/* ---- content types --------------------------------------------------------------------------- */

static mltf_str trim(mltf_str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) s = str_slice(s, 1, s.n);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

static const char changed_protocol[] =
    "IMPORTANT: The MLflow Model scoring protocol has changed in MLflow version 2.0. If you are "
    "seeing this error, you "
    "are likely using an outdated scoring request format. To resolve the error, either update your "
    "request format or "
    "adjust your MLflow Model's requirements file to specify an older version of MLflow (for "
    "example, change the "
    "'mlflow' requirement specifier to 'mlflow==1.30.0'). If you are making a request using the "
    "MLflow client (e.g. via "
    "`mlflow.pyfunc.spark_udf()`), upgrade your MLflow client to a version >= 2.0 in order to use "
    "the new request "
    "format. For more information about the updated MLflow Model scoring protocol in MLflow 2.0, "
    "see "
    "https://mlflow.org/docs/latest/models.html#deploy-mlflow-models.";

/* "type; charset=utf-8": the kind of work, or a 415. No header at all counts as JSON. */
static serve_kind by_content_type(const char *header, serve_reply *out)
{
    const mltf_str all = str_from(header ? header : TYPE_JSON);
    mltf_str type = {0}, charset = STR("utf-8");
    mltf_buf odd = {.max = 1 << 16};
    size_t from = 0;
    for (size_t part = 0; from <= all.n; part++) {
        const char *end = memchr(all.p + from, ';', all.n - from);
        const size_t to = end ? (size_t)(end - all.p) : all.n;
        const mltf_str piece = trim(str_slice(all, from, to));
        from = to + 1;
        if (part == 0) {
            type = piece;
            continue;
        }
        const char *equals = piece.n ? memchr(piece.p, '=', piece.n) : NULL;
        const mltf_str key = {piece.p, equals ? (size_t)(equals - piece.p) : piece.n};
        if (str_is(key, "charset")) {
            charset = equals ? str_slice(piece, key.n + 1, piece.n) : (mltf_str){"", 0};
        } else {
            if (odd.n) buf_puts(&odd, ", ");
            buf_put_str(&odd, key);
        }
    }
    serve_kind kind = SERVE_NOW;
    if (!ascii_same(charset, "utf-8")) {
        reply_text(out, 415, TYPE_TEXT, "The scoring server only supports UTF-8");
    } else if (odd.n) {
        reply_text(out, 415, TYPE_TEXT, "Unrecognized content type parameters: ");
        buf_put_str(&out->body, buf_str(&odd));
        buf_puts(&out->body, ". ");
        buf_puts(&out->body, changed_protocol);
    } else if (str_is(type, "text/csv")) {
        kind = SERVE_PREDICT_CSV;
    } else if (str_is(type, TYPE_JSON) || type.n == 0) {
        kind = SERVE_PREDICT_JSON;
    } else if (str_is(type, "application/vnd.apache.parquet")) {
        reply_text(out, 415, TYPE_TEXT,
                   "This server does not read 'application/vnd.apache.parquet'; send text/csv or "
                   "application/json.");
    } else {
        reply_text(out, 415, TYPE_TEXT,
                   "This predictor only supports the following content types: Types: ['text/csv', "
                   "'application/json', "
                   "'application/vnd.apache.parquet']. Got '");
        buf_put_str(&out->body, all);
        buf_puts(&out->body, "'.");
    }
    mltf_buf_release(&odd);
    return kind;
}

/* ---- /v1/models ------------------------------------------------------------------------------ */

static void put_model(mltf_buf *b, const char *name)
{
    buf_puts(b, "{\"id\": ");
    json_write_string(b, str_from(name), true);
    buf_printf(b, ", \"object\": \"model\", \"created\": %lld, \"owned_by\": \"mltf\"}",
               (long long)time(NULL));
}

static void openai_error(serve_reply *out, int status, const char *type, mltf_str message,
                         const char *code)
{
    out->status = status;
    out->type = TYPE_JSON;
    buf_puts(&out->body, "{\"error\": {\"message\": ");
    json_write_string(&out->body, message, true);
    buf_printf(&out->body, ", \"type\": \"%s\", \"param\": null, \"code\": ", type);
    if (code)
        buf_printf(&out->body, "\"%s\"}}", code);
    else
        buf_puts(&out->body, "null}}");
}

static void one_model(const serve_backend *b, mltf_str id, serve_reply *out)
{
    if (str_is(id, b->name)) {
        out->status = 200;
        out->type = TYPE_JSON;
        put_model(&out->body, b->name);
        return;
    }
    mltf_buf message = {.max = 4096};
    buf_puts(&message, "The model '");
    buf_put_str(&message, str_slice(id, 0, id.n < 200 ? id.n : 200));
    buf_puts(&message, "' does not exist");
    openai_error(out, 404, "invalid_request_error", buf_str(&message), "model_not_found");
    mltf_buf_release(&message);
}

/* ---- the table in use ------------------------------------------------------------------------ */

serve_kind serve_route(const serve_backend *b, const serve_request *r, serve_reply *out,
                       const char **name)
{
    const route *found = NULL;
    bool path_known = false;
    *name = "other";
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(routes[i].path, r->path) != 0) continue;
        path_known = true;
        *name = routes[i].path;
        out->allow = routes[i].method;
        if (strcmp(routes[i].method, r->method) == 0) found = &routes[i];
    }
    if (!found) {
        static const char models[] = "/v1/models/";
        if (!path_known && strncmp(r->path, models, sizeof models - 1) == 0) {
            *name = "/v1/models";
            if (strcmp(r->method, "GET") == 0) {
                one_model(b, str_from(r->path + sizeof models - 1), out);
                return SERVE_NOW;
            }
            path_known = true;
            out->allow = "GET";
        }
        reply_text(out, path_known ? 405 : 404, TYPE_JSON,
                   path_known ? "{\"detail\":\"Method Not Allowed\"}"
                              : "{\"detail\":\"Not Found\"}");
        return SERVE_NOW;
    }
    out->allow = NULL;
    if (found->kind == SERVE_PREDICT_JSON) return by_content_type(r->content_type, out);
    if (found->kind != SERVE_NOW) return found->kind;
    if (found->body) {
        reply_text(out, 200, TYPE_JSON, found->body);
    } else {
        reply_text(out, 200, TYPE_JSON, "{\"object\": \"list\", \"data\": [");
        put_model(&out->body, b->name);
        buf_puts(&out->body, "]}");
    }
    return SERVE_NOW;
}

/* ---- work ------------------------------------------------------------------------------------ */

void serve_error_reply(serve_kind kind, const mltf_err *err, serve_reply *out)
{
    const int status = mltf_status_http(err->status);
    buf_clear(&out->body);
    out->allow = NULL;
    if (kind == SERVE_CHAT || kind == SERVE_COMPLETIONS || kind == SERVE_EMBEDDINGS) {
        const char *type = status == 429                   ? "rate_limit_error"
                           : status == 404                 ? "not_found_error"
                           : status >= 400 && status < 500 ? "invalid_request_error"
                                                           : "server_error";
        openai_error(out, status, type, str_from(err->msg), NULL);
        return;
    }
    out->status = status;
    out->type = TYPE_JSON;
    if (err->status == MLTF_TIMEOUT)
        buf_puts(&out->body, "Request processing time exceeded limit");
    else
        mltf_err_json(err, &out->body);
}

typedef struct stream {
    mltf_stream_fn on_event;
    void *user;
    bool used;
} stream;

static int forward_event(void *user, const char *text, size_t n)
{
    stream *s = user;
    s->used = true;
    return s->on_event(s->user, text, n);
}

void serve_compute(const serve_backend *b, serve_kind kind, const char *body, size_t n,
                   const mltf_predict_options *opts, mltf_stream_fn on_event, void *user,
                   serve_reply *out)
{
    mltf_err err = {0};
    stream s = {.on_event = on_event, .user = user};
    mltf_status st;
    out->status = 200;
    out->type = TYPE_JSON;
    if (kind == SERVE_PREDICT_JSON || kind == SERVE_PREDICT_CSV) {
        st = b->predict(b->model, kind == SERVE_PREDICT_CSV, body, n, opts, &out->body, &err);
    } else {
        const char *endpoint = kind == SERVE_CHAT          ? "chat"
                               : kind == SERVE_COMPLETIONS ? "completions"
                                                           : "embeddings";
        st = b->openai(b->model, endpoint, body, n, opts, on_event ? forward_event : NULL, &s,
                       &out->body, &err);
    }
    if (st == MLTF_OK && out->body.failed) st = buf_status(&out->body, &err);
    if (st != MLTF_OK) {
        err.status = st;
        serve_error_reply(kind, &err, out);
    }
    if (!s.used && (st != MLTF_OK || out->body.n)) return;
    // a stream: an error in it becomes a last event
    mltf_buf end = MLTF_BUF_INIT;
    if (st != MLTF_OK) {
        buf_puts(&end, "data: ");
        buf_put_str(&end, buf_str(&out->body));
        buf_puts(&end, "\n\n");
    }
    buf_puts(&end, "data: [DONE]\n\n");
    mltf_buf_release(&out->body);
    out->body = end;
    out->status = 200;
    out->type = "text/event-stream; charset=utf-8";
}
