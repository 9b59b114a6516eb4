/* mltf: MLflow's transformers flavor as native software.
 *
 * This library logs, saves, loads, predicts with and serves Hugging Face Transformers models in
 * MLflow's own format. A directory that it writes loads in Python MLflow and the reverse. It runs no
 * Python, and nothing in a model directory can execute.
 *
 *     mltf_err err = {0};
 *     mltf_model *model = NULL;
 *     mltf_buf answer = MLTF_BUF_INIT;
 *     if (mltf_model_open(&model, "models:/sentiment@champion", NULL, &err) ||
 *         mltf_predict_json(model, "{\"inputs\": [\"what a day\"]}", 28, NULL, &answer, &err))
 *         fprintf(stderr, "%s\n", err.msg);
 *     else
 *         puts(answer.p);                  // {"predictions": [{"label": "POSITIVE", "score": 0.99}]}
 *     mltf_buf_release(&answer);
 *     mltf_model_free(model);
 *
 * Conventions. Every fallible function returns a mltf_status, 0 being success, and fills a mltf_err
 * given last (NULL if no message is wanted). Text is UTF-8. Options are structs of which the zero
 * value is the default; a NULL options pointer means all defaults. Handles have one free function,
 * which accepts NULL. The library never prints, exits or aborts on input. */
#ifndef MLTF_MLTF_H
#define MLTF_MLTF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MLTF_VERSION        "0.1.0"
#define MLTF_MLFLOW_VERSION "3.17.2" /* whose formats, replies and messages these are */
#define MLTF_TRANSFORMERS_VERSION "4.57.6"

#if defined(__GNUC__)
#define MLTF_API __attribute__((visibility("default")))
#else
#define MLTF_API
#endif

/* ---- outcomes ------------------------------------------------------------------------------ */

/* One row per outcome: enum, MLflow's error_code, HTTP status, exit code of the command, and the
 * error_class and sqlstate of MLflow's error object (NULL: the object has no such key). */
// clang-format off
#define MLTF_STATUS_MAP(X)                                                                                       \
    /* name              MLflow error_code          HTTP exit error_class                 sqlstate */            \
    X(OK,                "",                        200, 0,  NULL,                        NULL)                  \
    X(INVALID_INPUT,     "INVALID_PARAMETER_VALUE", 400, 2,  "INVALID_PARAMETER_VALUE",   "KAM00")               \
    X(BAD_REQUEST,       "BAD_REQUEST",             400, 2,  "INVALID_PARAMETER_VALUE",   "KAM00")               \
    X(SCHEMA_MISMATCH,   "INVALID_PARAMETER_VALUE", 400, 2,  "SCHEMA_ENFORCEMENT_FAILED", "KAM01")               \
    X(PREDICT_FAILED,    "BAD_REQUEST",             400, 2,  "INVALID_PARAMETER_VALUE",   "KAM00")               \
    X(NOT_FOUND,         "RESOURCE_DOES_NOT_EXIST", 404, 3,  "RESOURCE_NOT_FOUND",        "KAM00")               \
    X(ALREADY_EXISTS,    "RESOURCE_ALREADY_EXISTS", 400, 7,  "RESOURCE_ALREADY_EXISTS",   "KAM00")               \
    X(CONFLICT,          "ALREADY_EXISTS",          409, 7,  NULL,                        NULL)                  \
    X(INVALID_STATE,     "INVALID_STATE",           500, 8,  "CLIENT_INTERNAL_ERROR",     "XXM00")               \
    X(CORRUPT_FILE,      "DATA_LOSS",               500, 4,  NULL,                        NULL)                  \
    X(UNSUPPORTED,       "NOT_IMPLEMENTED",         501, 5,  NULL,                        NULL)                  \
    X(NO_MEMORY,         "INTERNAL_ERROR",          500, 6,  "CLIENT_INTERNAL_ERROR",     "XXM00")               \
    X(IO,                "INTERNAL_ERROR",          500, 9,  "CLIENT_INTERNAL_ERROR",     "XXM00")               \
    X(INTERNAL,          "INTERNAL_ERROR",          500, 1,  "CLIENT_INTERNAL_ERROR",     "XXM00")               \
    X(PERMISSION_DENIED, "PERMISSION_DENIED",       403, 10, NULL,                        NULL)                  \
    X(UNAUTHENTICATED,   "UNAUTHENTICATED",         401, 10, NULL,                        NULL)                  \
    X(OVERLOADED,        "RESOURCE_EXHAUSTED",      429, 11, NULL,                        NULL)                  \
    X(UNAVAILABLE,       "TEMPORARILY_UNAVAILABLE", 503, 11, NULL,                        NULL)                  \
    X(TIMEOUT,           "DEADLINE_EXCEEDED",       504, 12, NULL,                        NULL)                  \
    X(CANCELLED,         "CANCELLED",               499, 13, NULL,                        NULL)
// clang-format on
#define X(name, code, http, exit, error_class, sqlstate) MLTF_##name,
typedef enum { MLTF_STATUS_MAP(X) } mltf_status;
#undef X

MLTF_API const char *mltf_status_name(mltf_status st);         /* "NOT_FOUND" */
MLTF_API const char *mltf_status_mlflow_code(mltf_status st);  /* "RESOURCE_DOES_NOT_EXIST" */
MLTF_API const char *mltf_status_error_class(mltf_status st);  /* or NULL */
MLTF_API const char *mltf_status_sqlstate(mltf_status st);     /* or NULL */
MLTF_API int mltf_status_http(mltf_status st);
MLTF_API int mltf_status_exit_code(mltf_status st);

/* Filled on failure, untouched on success. Lives on the caller's stack and owns nothing. */
typedef struct mltf_err {
    mltf_status status;
    char msg[4092]; /* "could not load model \"x\": ...", cut at a UTF-8 boundary if too long */
} mltf_err;

/* ---- text in and out ----------------------------------------------------------------------- */

/* Borrowed text, not terminated by NUL. */
typedef struct mltf_str {
    const char *p;
    size_t n; /* bytes */
} mltf_str;

/* Bytes that the library returns. Start from MLTF_BUF_INIT; p is NULL or terminated by a NUL that n
 * does not count. Give back with mltf_buf_release(), after which it can be used again. */
typedef struct mltf_buf {
    char *p;
    size_t n, cap;
    size_t max; /* bytes it may grow to; 0: no bound */
    int failed;
} mltf_buf;
#define MLTF_BUF_INIT {0}
MLTF_API void mltf_buf_release(mltf_buf *b);

/* Told while something long goes on (bytes copied, tensors converted, tokens made). `total` is 0
 * where unknown. Called on the caller's thread, some ten times a second at most. Return nonzero to
 * cancel: the call then fails with CANCELLED and leaves nothing behind. */
typedef int (*mltf_progress_fn)(void *user, const char *what, const char *unit, uint64_t done, uint64_t total);

/* Told what the library would print if it printed: warnings in MLflow's words. May come from any thread. */
typedef void (*mltf_log_fn)(void *user, const char *message);

/* ---- models -------------------------------------------------------------------------------- */

typedef struct mltf_model mltf_model;

typedef struct mltf_open_options {
    const char *tracking_uri;      /* NULL: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db */
    const char *task;              /* for a bare checkpoint directory: the task to give it (NULL: from its config) */
    const char *torch_dtype;       /* compute and weight type: float32, bfloat16, float16; NULL: the recorded one */
    const char *quantize;          /* NULL, "int8" or "int4": weights converted while loading */
    const char *model_config_json; /* JSON object; replaces keys of the saved model_config only, as in MLflow */
    const char *base_model_path;   /* PEFT: where the base checkpoint is, if not where the model says */
    int threads;                   /* compute threads; 0: MLTF_NUM_THREADS, else the CPUs this process may use */
    mltf_progress_fn progress;
    void *progress_user;
    mltf_log_fn log;               /* NULL: warnings are dropped */
    void *log_user;
} mltf_open_options;

/* Open an MLflow model that holds a `transformers` flavor, or a bare Hugging Face checkpoint.
 *
 *   *out  receives the model, NULL on failure; release with mltf_model_free()
 *   uri   directory, file:, runs:/ or models:/ URI; only read during the call
 *
 * Weights stay mapped from their files until the model is freed; changing those files meanwhile is
 * undefined. A model is immutable: any number of threads may predict with it at the same time.
 *
 * NOT_FOUND     no MLmodel file, or a file it names is missing
 * CORRUPT_FILE  MLmodel, config.json, tokenizer.json or a tensor is malformed
 * UNSUPPORTED   the architecture or the task has no implementation here */
MLTF_API mltf_status mltf_model_open(mltf_model **out, const char *uri, const mltf_open_options *opts, mltf_err *err);
MLTF_API void mltf_model_free(mltf_model *m); /* NULL is a no-op */

/* What the model is: task, architecture, dtype, parameters, signature, files. A JSON object with
 * the keys documented in docs/describe.md. */
MLTF_API mltf_status mltf_model_describe(const mltf_model *m, mltf_buf *json, mltf_err *err);
/* The same of a model by its URI; also of one that cannot run here (key "unsupported" says why), from its files. */
MLTF_API mltf_status mltf_describe(const char *uri, const mltf_open_options *opts, mltf_buf *json, mltf_err *err);
MLTF_API const char *mltf_model_task(const mltf_model *m);           /* native task, "text-generation" */
MLTF_API const char *mltf_model_inference_task(const mltf_model *m); /* "llm/v1/chat" or NULL */
MLTF_API const char *mltf_model_name(const mltf_model *m);           /* for replies: source_model_name, or the directory's name */

/* ---- predict ------------------------------------------------------------------------------- */

/* Called with each further piece of text; never splits a character. Nonzero cancels. */
typedef int (*mltf_stream_fn)(void *user, const char *text, size_t n);

typedef struct mltf_predict_options {
    const char *params_json;   /* JSON object, as MLflow's params; beside those in the request */
    volatile int *cancel;      /* set it nonzero from any thread: the call ends with CANCELLED */
    double timeout_s;          /* 0: none; past it the call ends with TIMEOUT */
} mltf_predict_options;

/* Score one request in the formats of MLflow's scoring server: what POST /invocations takes and
 * answers. *answer is appended to; on failure it is as before.
 *
 *   json  {"inputs": …}, {"instances": …}, {"dataframe_split": …}, {"dataframe_records": …} with
 *         optional "params", or an llm/v1 object (messages, prompt, input)
 *   csv   a header line and rows, typed by the signature */
MLTF_API mltf_status mltf_predict_json(const mltf_model *m, const char *json, size_t n, const mltf_predict_options *opts,
                                       mltf_buf *answer, mltf_err *err);
MLTF_API mltf_status mltf_predict_csv(const mltf_model *m, const char *csv, size_t n, const mltf_predict_options *opts,
                                      mltf_buf *answer, mltf_err *err);

/* The same without wrapper and signature: `data` is the JSON of what one would pass to predict()
 * of Python's wrapper (text, list of texts, object), the answer is the JSON of what it returns. */
MLTF_API mltf_status mltf_predict_raw(const mltf_model *m, const char *data, size_t n, const mltf_predict_options *opts,
                                      mltf_buf *answer, mltf_err *err);

/* Requests of OpenAI's API: /v1/chat/completions, /v1/completions, /v1/embeddings, with OpenAI's
 * replies. If the request asks for `stream` and on_event is given, on_event receives each chunk object
 * (one JSON text a call, without the "data: " of SSE and without [DONE]) and *answer stays as it was.
 *
 *   endpoint  "chat", "completions" or "embeddings" */
MLTF_API mltf_status mltf_openai(const mltf_model *m, const char *endpoint, const char *json, size_t n,
                                 const mltf_predict_options *opts, mltf_stream_fn on_event, void *user,
                                 mltf_buf *answer, mltf_err *err);

/* MLflow's error object for a failure: {"error_code": …, "message": …}. Appends to *json. */
MLTF_API void mltf_err_json(const mltf_err *err, mltf_buf *json);

/* ---- save and log -------------------------------------------------------------------------- */

/* What MLflow's save_model() takes; the zero value of each field means "not given". */
typedef struct mltf_save_options {
    const char *task;                /* native or llm/v1 task; required for a checkpoint without one */
    const char *model_config_json;   /* JSON object */
    const char *metadata_json;       /* JSON object */
    const char *torch_dtype;         /* recorded, and used at load */
    const char *input_example_json;  /* JSON; {"inputs": …, "params": …} form with input_example_params_json instead */
    const char *input_example_params_json;
    const char *signature_json;      /* {"inputs": "[…]", "outputs": "[…]", "params": …} as in MLmodel */
    const char *prompt_template;
    const char *model_card_path;
    const char *const *code_paths;             /* ends with NULL */
    const char *const *pip_requirements;       /* ends with NULL; replaces the inferred ones */
    const char *const *extra_pip_requirements; /* ends with NULL */
    const char *conda_env_path;
    const char *processor_path;      /* checkpoint whose processor is saved beside the components */
    const char *base_model_path;     /* PEFT: base by local path, not copied */
    const char *max_shard_size;      /* "500MB"; NULL: MLFLOW_HUGGINGFACE_MODEL_MAX_SHARD_SIZE */
    const char *layout;              /* NULL or "pipeline", "components", "checkpoint" (as if Python were given a path) */
    int reference_only;              /* save_pretrained=False: repo id and commit instead of weights */
    int example_no_conversion;       /* of no effect, as in MLflow: examples are stored as given */
    mltf_progress_fn progress;
    void *progress_user;
    mltf_log_fn log;                 /* NULL: warnings are dropped */
    void *log_user;
} mltf_save_options;

/* Save a Hugging Face checkpoint (a directory, or a repo id in the local Hugging Face cache) as an
 * MLflow model directory. `dir` must be missing or empty; it appears whole or not at all. Weights are
 * copied by the kernel (reflink where the file system can) and do not pass through memory. */
MLTF_API mltf_status mltf_save(const char *checkpoint, const char *dir, const mltf_save_options *opts, mltf_err *err);

/* Give a model that was saved by reference (reference_only, or an adapter without its base) its own weights
 * and components, from the Hugging Face cache: MLflow's persist_pretrained_model. A model that has them is
 * left alone. uri: as in mltf_model_open(). */
MLTF_API mltf_status mltf_persist_pretrained(const char *uri, const char *tracking_uri, mltf_err *err);

typedef struct mltf_log_options {
    mltf_save_options save;
    const char *tracking_uri;           /* NULL: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db */
    const char *name;                   /* of the logged model; required */
    const char *registered_model_name;  /* NULL: not registered */
    const char *const *aliases;         /* of the new version; ends with NULL */
    const char *experiment_name;        /* NULL: MLFLOW_EXPERIMENT_NAME, else "Default" */
    const char *experiment_id;
    const char *run_id;                 /* NULL: MLFLOW_RUN_ID, else a new run, ended by this call */
    const char *run_name;
    const char *params_json;            /* of the logged model: JSON object of texts */
    const char *tags_json;
    const char *model_type;
    int64_t step;
} mltf_log_options;

/* Save as mltf_save() does, into the artifacts of a new LoggedModel, and register it if asked.
 * *info receives a JSON object: model_id, model_uri, run_id, experiment_id, artifact_location,
 * and registered_model_name, registered_model_version. */
MLTF_API mltf_status mltf_log_model(const char *checkpoint, const mltf_log_options *opts, mltf_buf *info, mltf_err *err);

/* Find the local directory behind a URI (a path, runs:/, models:/) without opening the model. */
MLTF_API mltf_status mltf_resolve_uri(const char *uri, const char *tracking_uri, mltf_buf *dir, mltf_err *err);

/* ---- evaluate ------------------------------------------------------------------------------ */

typedef struct mltf_evaluate_options {
    const char *data_path;   /* rows with a target: .csv with a header line, else JSON lines */
    const char *target;      /* column of the right answers; NULL: "target", "label" or "labels" */
    const char *text_path;   /* instead of data: a text whose perplexity is measured */
    const char *params_json; /* params of each request */
    size_t batch;            /* rows a request; 0: 32 */
    int log_to_run;          /* the metrics are logged to a run of the tracking store */
    const char *tracking_uri, *experiment_name, *run_id, *run_name; /* as in mltf_log_options */
    mltf_progress_fn progress;
    void *progress_user;
} mltf_evaluate_options;

/* Run a model over labelled rows, or over a text, and measure it. Appends a JSON object to *report: task, rows
 * (or tokens), seconds, metrics {name: number} and, when logged, run_id. Which metrics depends on the task:
 *   classification        accuracy_score, precision_score, recall_score, f1_score, macro_f1_score
 *   generation, answers   exact_match/v1, rouge1/v1/mean, rouge2/v1/mean, rougeL/v1/mean, rougeLsum/v1/mean,
 *                         bleu/v1/mean, corpus_bleu
 *   embeddings            spearman, of cosine similarity with the target; rows have two columns of text
 *   a text                perplexity, nll_per_token (windows of the model's length, each token predicted once)
 * *predictions, if not NULL, receives the JSON list of what was predicted, one text a row. */
MLTF_API mltf_status mltf_evaluate(const mltf_model *m, const mltf_evaluate_options *opts, mltf_buf *report,
                                   mltf_buf *predictions, mltf_err *err);

/* ---- serve --------------------------------------------------------------------------------- */

typedef struct mltf_serve_options {
    const char *host;        /* NULL: 127.0.0.1 */
    int port;                /* 0: any free one, told to on_ready */
    int workers;             /* requests computed at the same time; 0: chosen from model and CPUs */
    int queue;               /* requests that may wait; more are refused with 503; 0: 256 */
    int connections;         /* open at a time; 0: 1024 */
    double timeout_s;        /* of one request; 0: 60 */
    double drain_s;          /* how long requests may still run after SIGTERM; 0: 30 */
    size_t max_body_bytes;   /* 0: 64 MiB */
    size_t max_header_bytes; /* 0: 64 KiB */
    const char *model_name;  /* as /v1/models lists it; NULL: mltf_model_name() */
    void (*on_ready)(void *user, const char *host, int port);
    void (*on_log)(void *user, const char *line); /* one line a request; NULL: none */
    void *user;
} mltf_serve_options;

/* Serve a model over HTTP until SIGINT or SIGTERM (blocked and handled inside), then drain and return:
 * /invocations, /ping, /health, /version as MLflow's scoring server; /v1/models, /v1/chat/completions,
 * /v1/completions, /v1/embeddings as OpenAI's API. IO: the address cannot be bound. */
MLTF_API mltf_status mltf_serve(const mltf_model *m, const mltf_serve_options *opts, mltf_err *err);

/* ---- conversions and the machine ----------------------------------------------------------- */

typedef struct mltf_convert_options {
    const char *torch_dtype; /* of the weights written: NULL or "bfloat16", "float32", "float16" */
    const char *quantize;    /* NULL, "int8", "int4" */
    mltf_progress_fn progress;
    void *progress_user;
} mltf_convert_options;

/* Write a standard Hugging Face checkpoint from a GGUF file (or requantize a checkpoint). */
MLTF_API mltf_status mltf_convert(const char *source, const char *dir, const mltf_convert_options *opts, mltf_err *err);

/* CPU tier, threads, store, versions: a JSON object for `mltf doctor`. */
MLTF_API mltf_status mltf_doctor(const char *tracking_uri, mltf_buf *json, mltf_err *err);

#ifdef __cplusplus
}
#endif
#endif
