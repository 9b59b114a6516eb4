/* MLflow's tracking store and model registry: experiments, runs, logged models, registered models.
 *
 *     store *st;
 *     TRY(store_open(&st, NULL, err));                   // MLFLOW_TRACKING_URI, else ./mlflow.db
 *     store_experiment exp;
 *     TRY(store_experiment_by_name(st, &arena, "nlp", &exp, err));
 *     store_close(st);
 *
 * The backend is MLflow's own default, an SQLite file with MLflow 3.17's schema (store_sqlite.c). Texts in
 * results live in the arena given. A store belongs to one thread at a time; other processes, Python's among
 * them, may use the same file at the same time.
 *
 * Times are milliseconds since the Unix epoch. Messages are MLflow's where MLflow has one. */
#ifndef MLTF_STORE_STORE_H
#define MLTF_STORE_STORE_H

#include "base/arena.h"
#include "base/status.h"
#include "formats/json.h"

typedef struct store store;

/* tracking_uri NULL: MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db` in the current directory.
 * create: make the database where there is none (schema, Default experiment); otherwise NOT_FOUND.
 * UNSUPPORTED: no backend for the scheme; INVALID_STATE: a database of another MLflow's schema. */
mltf_status store_open(store **out, const char *tracking_uri, bool create, mltf_err *err);
void store_close(store *st);            /* NULL is a no-op */
const char *store_uri(const store *st); /* as resolved: "sqlite:////abs/mlflow.db" */

typedef struct store_pair {
    const char *key, *value;
} store_pair;

typedef struct store_experiment {
    const char *id, *name, *artifact_location, *lifecycle_stage;
    int64_t creation_time, last_update_time;
} store_experiment;

typedef struct store_run {
    const char *id, *name, *experiment_id, *user_id, *status, *artifact_uri, *lifecycle_stage;
    int64_t start_time, end_time; /* end_time 0: still running */
} store_run;

typedef struct store_metric {
    const char *key;
    double value;
    int64_t timestamp, step;
} store_metric;

typedef struct store_logged_model {
    const char *id, *name, *experiment_id, *artifact_location, *model_type, *source_run_id;
    int status; /* STORE_MODEL_… */
    int64_t creation_time, last_update_time;
} store_logged_model;
enum { STORE_MODEL_PENDING = 1, STORE_MODEL_READY = 2, STORE_MODEL_FAILED = 3 };

typedef struct store_model_version {
    const char *name, *current_stage, *source, *run_id, *status, *storage_location, *description;
    int64_t version, creation_time, last_update_time;
} store_model_version;

/* Experiments. NOT_FOUND; ALREADY_EXISTS also where a deleted one has the name. */
mltf_status store_experiment_by_name(store *st, mltf_arena *a, const char *name,
                                     store_experiment *out, mltf_err *err);
mltf_status store_experiment_by_id(store *st, mltf_arena *a, const char *id, store_experiment *out,
                                   mltf_err *err);
mltf_status store_experiment_create(store *st, mltf_arena *a, const char *name,
                                    store_experiment *out, mltf_err *err);

/* Runs. name NULL: a random one. tags: [n]. */
mltf_status store_run_create(store *st, mltf_arena *a, const char *experiment_id, const char *name,
                             const store_pair *tags, size_t n, store_run *out, mltf_err *err);
mltf_status store_run_get(store *st, mltf_arena *a, const char *run_id, store_run *out,
                          mltf_err *err);
mltf_status store_run_finish(store *st, const char *run_id, const char *status,
                             mltf_err *err); /* "FINISHED", "FAILED" */
mltf_status store_run_params(store *st, mltf_arena *a, const char *run_id, store_pair **out,
                             size_t *n, mltf_err *err);
/* Params are write-once: the same value again is fine, another one INVALID_INPUT. All or nothing. */
mltf_status store_log_params(store *st, const char *run_id, const store_pair *params, size_t n,
                             mltf_err *err);
mltf_status store_log_metrics(store *st, const char *run_id, const store_metric *metrics, size_t n,
                              mltf_err *err);

/* Logged models. With a source run: linked as its output at `step`, the run's params and step-0 metrics are
 * carried over, as MLflow's client does. */
mltf_status store_logged_model_create(store *st, mltf_arena *a, const char *experiment_id,
                                      const char *name, const char *source_run_id, int64_t step,
                                      const char *model_type, const store_pair *params,
                                      size_t n_params, const store_pair *tags, size_t n_tags,
                                      store_logged_model *out, mltf_err *err);
mltf_status store_logged_model_get(store *st, mltf_arena *a, const char *model_id,
                                   store_logged_model *out, mltf_err *err);
mltf_status store_logged_model_finish(store *st, const char *model_id, int status, mltf_err *err);
/* The newest logged model of that name whose source run this is. */
mltf_status store_logged_model_of_run(store *st, mltf_arena *a, const char *run_id,
                                      const char *name, store_logged_model *out, mltf_err *err);

/* Registry. source: "models:/m-…" or any URI. The name is registered first where it is new. */
mltf_status store_model_version_create(store *st, mltf_arena *a, const char *name,
                                       const char *source, const char *run_id, const char *model_id,
                                       store_model_version *out, mltf_err *err);
mltf_status store_model_version_get(store *st, mltf_arena *a, const char *name, int64_t version,
                                    store_model_version *out, mltf_err *err);
mltf_status store_model_version_by_alias(store *st, mltf_arena *a, const char *name,
                                         const char *alias, store_model_version *out,
                                         mltf_err *err);
/* stage NULL: the highest version of all. */
mltf_status store_model_version_latest(store *st, mltf_arena *a, const char *name,
                                       const char *stage, store_model_version *out, mltf_err *err);
mltf_status store_alias_set(store *st, const char *name, const char *alias, int64_t version,
                            mltf_err *err);

/* What the store holds: a JSON object of counts, for `mltf doctor`. */
mltf_status store_summary(store *st, mltf_arena *a, json **out, mltf_err *err);

/* ---- on top of the backend ------------------------------------------------------------------- */

/* The local directory behind a path, file:, runs:/ or models:/ URI (artifacts.c). Appends to dir. A path
 * must exist. tracking_uri as in store_open; the store is opened only for runs:/ and models:/. */
mltf_status store_resolve_uri(mltf_buf *dir, const char *uri, const char *tracking_uri,
                              mltf_err *err);

/* Logging one model (log_model.c): begin finds or makes the experiment and the run and creates the logged
 * model, PENDING; the caller then saves the directory store_log_dir(); commit marks it READY, registers it
 * and writes the JSON that mltf_log_model() promises; abort marks it failed and ends a run of its own. */
typedef struct store_log store_log;
mltf_status store_log_begin(store_log **out, const mltf_log_options *opts, mltf_err *err);
const char *
store_log_dir(const store_log *l); /* local directory to save into; does not exist yet */
const char *store_log_model_id(const store_log *l); /* "m-…": MLmodel's model_id and model_uuid */
const char *store_log_run_id(const store_log *l);   /* MLmodel's run_id */
const char *store_log_artifact_path(const store_log *l); /* MLmodel's artifact_path */
mltf_status store_log_commit(store_log *l, mltf_buf *info,
                             mltf_err *err); /* frees l, also on failure */
void store_log_abort(store_log *l);          /* frees l; NULL is a no-op */

#endif
