/* Logged models: MLflow 3's own entity for a saved model, PENDING until its files are all there. */
#include <stdlib.h>

#include "store/store_names.h"
#include "store/store_sqlite.h"

#define MODEL_COLUMNS                                                                              \
    "SELECT "                                                                                      \
    "model_id,name,experiment_id,artifact_location,model_type,source_run_id,status,creation_"      \
    "timestamp_ms,"                                                                                \
    "last_updated_timestamp_ms FROM logged_models "

static bool next_model(sql_query *q, mltf_arena *a, store_logged_model *out, mltf_err *err)
{
    if (!sql_next(q, err)) return false;
    *out = (store_logged_model){
        .id = sql_text(q, a, 0),
        .name = sql_text(q, a, 1),
        .experiment_id = sql_text(q, a, 2),
        .artifact_location = sql_text(q, a, 3),
        .model_type = sql_text(q, a, 4),
        .source_run_id = sql_text(q, a, 5),
        .status = (int)sql_int(q, 6),
        .creation_time = sql_int(q, 7),
        .last_update_time = sql_int(q, 8),
    };
    return true;
}

mltf_status store_logged_model_get(store *st, mltf_arena *a, const char *model_id,
                                   store_logged_model *out, mltf_err *err)
{
    sql_query q = sql_open(
        st->db, err, MODEL_COLUMNS "WHERE model_id=? AND lifecycle_stage='active'", "s", model_id);
    const bool found = next_model(&q, a, out, err);
    TRY(sql_close(&q));
    if (!found)
        return mltf_fail(err, MLTF_NOT_FOUND, "Logged model with ID '%s' not found.", model_id);
    return store_copied(a, MLTF_OK, err);
}

mltf_status store_logged_model_of_run(store *st, mltf_arena *a, const char *run_id,
                                      const char *name, store_logged_model *out, mltf_err *err)
{
    sql_query q =
        sql_open(st->db, err,
                 MODEL_COLUMNS "WHERE source_run_id=? AND name=? AND lifecycle_stage='active' "
                               "ORDER BY creation_timestamp_ms DESC, rowid DESC",
                 "ss", run_id, name);
    const bool found = next_model(&q, a, out, err);
    TRY(sql_close(&q));
    if (!found)
        return mltf_fail(err, MLTF_NOT_FOUND, "run \"%s\" has no logged model called \"%s\"",
                         run_id, name);
    return store_copied(a, MLTF_OK, err);
}

static mltf_status put_param(store *st, const store_logged_model *m, int64_t exp, const char *key,
                             const char *value, mltf_err *err)
{
    return sql_run(st->db, err,
                   "INSERT INTO logged_model_params(model_id,experiment_id,param_key,param_value) "
                   "VALUES(?,?,?,substr(?,1,6000)) "
                   "ON CONFLICT(model_id,param_key) DO UPDATE SET param_value=excluded.param_value",
                   "siss", m->id, exp, key, value);
}

/* What MLflow's client does when a model is logged inside a run: the run's params join the model's and win,
 * the model becomes an output of the run, and the run's step-0 metrics become the model's. */
static mltf_status link_to_run(store *st, const store_logged_model *m, int64_t exp,
                               const char *run_id, int64_t step, mltf_err *err)
{
    TRY(sql_run(st->db, err,
                "INSERT INTO logged_model_params(model_id,experiment_id,param_key,param_value) "
                "SELECT ?,?,\"key\",value FROM params WHERE run_uuid=? "
                "ON CONFLICT(model_id,param_key) DO UPDATE SET param_value=excluded.param_value",
                "sis", m->id, exp, run_id));
    TRY(sql_run(
        st->db, err,
        "INSERT OR IGNORE INTO "
        "logged_model_metrics(model_id,metric_name,metric_timestamp_ms,metric_step,metric_value,"
        "experiment_id,run_id) SELECT ?,\"key\",timestamp,step,value,?,run_uuid FROM metrics WHERE "
        "run_uuid=? AND step=0",
        "sis", m->id, exp, run_id));
    mltf_arena a = MLTF_ARENA_INIT;
    const char *input_id = store_new_id(&a, "");
    const mltf_status done =
        input_id
            ? sql_run(
                  st->db, err,
                  "INSERT INTO "
                  "inputs(input_uuid,source_type,source_id,destination_type,destination_id,step) "
                  "VALUES(?,'RUN_OUTPUT',?,'MODEL_OUTPUT',?,?)",
                  "sssi", input_id, run_id, m->id, step)
            : mltf_fail_memory(err);
    arena_release(&a);
    return done;
}

mltf_status store_logged_model_create(store *st, mltf_arena *a, const char *experiment_id,
                                      const char *name, const char *source_run_id, int64_t step,
                                      const char *model_type, const store_pair *params,
                                      size_t n_params, const store_pair *tags, size_t n_tags,
                                      store_logged_model *out, mltf_err *err)
{
    if (name) TRY(store_check_logged_model_name(name, err));
    store_experiment exp;
    TRY(store_experiment_by_id(st, a, experiment_id, &exp, err));
    const int64_t exp_id = strtoll(exp.id, NULL, 10);
    store_logged_model m = {.id = store_new_id(a, "m-"),
                            .name = name ? name : store_random_name(a)};
    const char *location =
        m.id ? arena_printf(a, "%s/models/%s/artifacts", exp.artifact_location, m.id) : NULL;
    if (!m.id || !m.name || !location) return mltf_fail_memory(err);

    TRY(sql_begin(st->db, err));
    const int64_t now = store_now_ms();
    mltf_status done = sql_run(
        st->db, err,
        "INSERT INTO "
        "logged_models(model_id,experiment_id,name,artifact_location,creation_timestamp_ms,"
        "last_updated_timestamp_ms,status,lifecycle_stage,model_type,source_run_id,status_message) "
        "VALUES(?,?,?,?,?,?,1,'active',?,?,NULL)",
        "sissiiss", m.id, exp_id, m.name, location, now, now, model_type, source_run_id);
    for (size_t i = 0; i < n_params && done == MLTF_OK; i++)
        done = put_param(st, &m, exp_id, params[i].key, params[i].value, err);
    for (size_t i = 0; i < n_tags && done == MLTF_OK; i++)
        done = sql_run(st->db, err,
                       "INSERT INTO logged_model_tags(model_id,experiment_id,tag_key,tag_value) "
                       "VALUES(?,?,?,?) "
                       "ON CONFLICT(model_id,tag_key) DO UPDATE SET tag_value=excluded.tag_value",
                       "siss", m.id, exp_id, tags[i].key, tags[i].value);
    if (done == MLTF_OK && source_run_id)
        done = link_to_run(st, &m, exp_id, source_run_id, step, err);
    TRY(sql_end(st->db, done, err));
    return store_logged_model_get(st, a, m.id, out, err);
}

mltf_status store_logged_model_finish(store *st, const char *model_id, int status, mltf_err *err)
{
    return sql_run(
        st->db, err,
        "UPDATE logged_models SET status=?, last_updated_timestamp_ms=? WHERE model_id=?", "iis",
        (int64_t)status, store_now_ms(), model_id);
}
