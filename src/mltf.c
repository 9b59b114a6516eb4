/* The public functions of mltf.h, each a few calls into the layers below. */
#include "mltf/mltf.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "kernels/kernels.h"
#include "mlflow/describe.h"
#include "mlflow/hub_cache.h"
#include "mlflow/llm_v1.h"
#include "mlflow/load.h"
#include "mlflow/save.h"
#include "mlflow/scoring.h"
#include "mlflow/wrapper.h"
#include "store/store.h"

/* ---- models -------------------------------------------------------------------------------- */

/* A path or URI, else a repository in the Hugging Face cache. */
static mltf_status find_directory(mltf_buf *dir, const char *uri, const char *tracking_uri,
                                  mltf_err *err)
{
    if (!dir_exists(uri) && !strchr(uri, ':') && hub_is_repo_id(uri) &&
        hub_snapshot(dir, NULL, uri, NULL, NULL) == MLTF_OK)
        return MLTF_OK;
    return store_resolve_uri(dir, uri, tracking_uri, err);
}

mltf_status mltf_resolve_uri(const char *uri, const char *tracking_uri, mltf_buf *dir,
                             mltf_err *err)
{
    return store_resolve_uri(dir, uri, tracking_uri, err);
}

mltf_status mltf_model_open(mltf_model **out, const char *uri, const mltf_open_options *opts,
                            mltf_err *err)
{
    *out = NULL;
    mltf_buf dir = MLTF_BUF_INIT;
    mltf_status st = find_directory(&dir, uri, opts ? opts->tracking_uri : NULL, err);
    if (st == MLTF_OK) st = model_load(out, dir.p, opts, err);
    mltf_buf_release(&dir);
    if (st) mltf_err_wrap(err, "could not open the model \"%s\"", uri);
    return st;
}

void mltf_model_free(mltf_model *m)
{
    model_free(m);
}

mltf_status mltf_model_describe(const mltf_model *m, mltf_buf *out, mltf_err *err)
{
    return model_describe(m, NULL, out, err);
}

mltf_status mltf_describe(const char *uri, const mltf_open_options *opts, mltf_buf *out,
                          mltf_err *err)
{
    mltf_buf dir = MLTF_BUF_INIT;
    mltf_model *m = NULL;
    mltf_err why = {0};
    mltf_status st = find_directory(&dir, uri, opts ? opts->tracking_uri : NULL, &why);
    if (st == MLTF_OK) st = model_load(&m, dir.p, opts, &why);
    if (st == MLTF_UNSUPPORTED && dir.n && model_load_facts(&m, dir.p, opts, NULL) == MLTF_OK)
        st = model_describe(m, why.msg, out, err);
    else if (st == MLTF_OK)
        st = model_describe(m, NULL, out, err);
    else
        st = mltf_fail(err, st, "could not open the model \"%s\": %s", uri, why.msg);
    mltf_model_free(m);
    mltf_buf_release(&dir);
    return st;
}

const char *mltf_model_task(const mltf_model *m)
{
    return m->task;
}
const char *mltf_model_inference_task(const mltf_model *m)
{
    return m->inference_task;
}
const char *mltf_model_name(const mltf_model *m)
{
    return m->name;
}

/* ---- predict ------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static call_control control_of(const mltf_predict_options *o)
{
    call_control c = {0};
    if (!o) return c;
    c.cancel = o->cancel;
    if (o->timeout_s > 0) c.deadline = now() + o->timeout_s;
    return c;
}

/* Params beside those of the request; the request's win. */
static mltf_status add_params(mltf_arena *a, pv *params, const mltf_predict_options *o,
                              mltf_err *err)
{
    if (!o || !o->params_json || !*o->params_json) return MLTF_OK;
    json *given = NULL;
    TRY(json_parse_option(a, &given, o->params_json, strlen(o->params_json), "`params`", err));
    const pv more = pv_from_json(a, given);
    if (more.kind != PV_DICT || params->kind != PV_DICT) {
        if (params->kind != PV_DICT) *params = more;
        return MLTF_OK;
    }
    pv both = pv_dict(a, more.dict.n + params->dict.n);
    for (size_t i = 0; i < more.dict.n; i++)
        pv_dict_add(&both, more.dict.pairs[i].key, more.dict.pairs[i].value);
    for (size_t i = 0; i < params->dict.n; i++) {
        pv *old = (pv *)pv_get_key(&both, &params->dict.pairs[i].key);
        if (old)
            *old = params->dict.pairs[i].value;
        else
            pv_dict_add(&both, params->dict.pairs[i].key, params->dict.pairs[i].value);
    }
    *params = both;
    return MLTF_OK;
}

static mltf_status can_predict(const mltf_model *m, mltf_err *err)
{
    if (m->pyfunc) return MLTF_OK;
    return mltf_fail(err, MLTF_NOT_FOUND, "Model does not have the \"python_function\" flavor");
}

static mltf_status score(const mltf_model *m, const char *text, size_t n, bool csv,
                         const mltf_predict_options *o, mltf_buf *answer, mltf_err *err)
{
    TRY(can_predict(m, err));
    mltf_arena a = MLTF_ARENA_INIT;
    scoring_request r;
    const call_control ctl = control_of(o);
    pv prediction = pv_none();
    mltf_status st = csv ? scoring_parse_csv(&a, &r, text, n, &m->sig, err)
                         : scoring_parse_json(&a, &r, text, n, &m->sig, err);
    if (st == MLTF_OK) st = add_params(&a, &r.params, o, err);
    if (st == MLTF_OK) {
        mltf_err why = {0};
        st = pyfunc_predict(m, &a, &r.data, &r.params, &ctl, &prediction, &why);
        if (st) {
            scoring_wrap_error(&why, &r.data);
            if (err) *err = why;
        }
    }
    if (st == MLTF_OK) st = scoring_write(answer, &prediction, r.unwrapped, err);
    arena_release(&a);
    return st;
}

mltf_status mltf_predict_json(const mltf_model *m, const char *text, size_t n,
                              const mltf_predict_options *opts, mltf_buf *answer, mltf_err *err)
{
    return score(m, text, n, false, opts, answer, err);
}

mltf_status mltf_predict_csv(const mltf_model *m, const char *csv, size_t n,
                             const mltf_predict_options *opts, mltf_buf *answer, mltf_err *err)
{
    return score(m, csv, n, true, opts, answer, err);
}

mltf_status mltf_predict_raw(const mltf_model *m, const char *data, size_t n,
                             const mltf_predict_options *opts, mltf_buf *answer, mltf_err *err)
{
    TRY(can_predict(m, err));
    mltf_arena a = MLTF_ARENA_INIT;
    json *v = NULL;
    pv params = pv_none(), prediction = pv_none();
    const call_control ctl = control_of(opts);
    mltf_status st = json_parse_option(&a, &v, data, n, "the data", err);
    if (st == MLTF_OK) st = add_params(&a, &params, opts, err);
    if (st == MLTF_OK) {
        const pv input = pv_from_json(&a, v);
        st = wrapper_predict(m, &a, &input, &params, true, &ctl, &prediction, err);
    }
    if (st == MLTF_OK) st = scoring_write(answer, &prediction, true, err);
    arena_release(&a);
    return st;
}

mltf_status mltf_openai(const mltf_model *m, const char *endpoint, const char *json_text, size_t n,
                        const mltf_predict_options *opts, mltf_stream_fn on_event, void *user,
                        mltf_buf *answer, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    json *request = NULL;
    const call_control ctl = control_of(opts);
    mltf_err why = {0};
    mltf_status st = json_parse_in(&a, &request, json_text, n, NULL, &why);
    if (st)
        st = mltf_fail(err, MLTF_BAD_REQUEST, "the request is not valid JSON: %s", why.msg);
    else
        st = openai_call(m, endpoint, request, &ctl, on_event, user, answer, err);
    arena_release(&a);
    return st;
}

/* ---- save and log -------------------------------------------------------------------------- */

mltf_status mltf_save(const char *checkpoint, const char *dir, const mltf_save_options *opts,
                      mltf_err *err)
{
    return model_save(checkpoint, dir, opts, NULL, err);
}

/* model_config as run params: nested objects flattened with "/", everything as text. */
static void flatten_config(mltf_arena *a, store_pair *out, size_t *n, size_t max,
                           const char *prefix, const json *v)
{
    for (size_t i = 0; i < json_len(v) && *n < max; i++) {
        const json_member *x = &v->o.members[i];
        const char *key = prefix ? arena_printf(a, "%s/" STR_FMT, prefix, STR_ARG(x->key))
                                 : arena_strdup(a, x->key.p, x->key.n);
        if (json_is(&x->value, JSON_OBJECT)) {
            flatten_config(a, out, n, max, key, &x->value);
            continue;
        }
        mltf_buf text = MLTF_BUF_INIT;
        const pv value = pv_from_json(a, &x->value);
        pv_print(&text, &value);
        out[(*n)++] = (store_pair){key, arena_strdup(a, text.p ? text.p : "", text.n)};
        mltf_buf_release(&text);
    }
}

static mltf_status log_config(const mltf_log_options *o, const char *run_id, mltf_err *err)
{
    enum { MAX_PARAMS = 1000 };
    if (!o->save.model_config_json || !run_id) return MLTF_OK;
    mltf_arena a = MLTF_ARENA_INIT;
    json *config = NULL;
    store *st = NULL;
    mltf_status status = json_parse_in(&a, &config, o->save.model_config_json,
                                       strlen(o->save.model_config_json), NULL, err);
    store_pair *pairs = status == MLTF_OK ? arena_calloc(&a, MAX_PARAMS, sizeof *pairs) : NULL;
    size_t n = 0;
    if (pairs) flatten_config(&a, pairs, &n, MAX_PARAMS, NULL, config);
    if (status == MLTF_OK && n > 0) status = store_open(&st, o->tracking_uri, false, err);
    if (status == MLTF_OK && n > 0) status = store_log_params(st, run_id, pairs, n, err);
    store_close(st);
    arena_release(&a);
    return status;
}

mltf_status mltf_log_model(const char *checkpoint, const mltf_log_options *opts, mltf_buf *info,
                           mltf_err *err)
{
    store_log *l = NULL;
    TRY(save_options_check(checkpoint, &opts->save,
                           err)); // nothing is created for options that cannot work
    TRY(store_log_begin(&l, opts, err));
    const save_identity id = {.model_id = store_log_model_id(l),
                              .run_id = store_log_run_id(l),
                              .artifact_path = store_log_artifact_path(l)};
    mltf_status st = model_save(checkpoint, store_log_dir(l), &opts->save, &id, err);
    if (st == MLTF_OK) st = log_config(opts, id.run_id, err);
    if (st) {
        store_log_abort(l);
        return st;
    }
    return store_log_commit(l, info, err);
}

mltf_status mltf_persist_pretrained(const char *uri, const char *tracking_uri, mltf_err *err)
{
    mltf_buf dir = MLTF_BUF_INIT;
    mltf_status st = store_resolve_uri(&dir, uri, tracking_uri, err);
    if (st == MLTF_OK) st = model_persist(dir.p, err);
    mltf_buf_release(&dir);
    return st;
}

/* ---- the machine --------------------------------------------------------------------------- */

mltf_status mltf_doctor(const char *tracking_uri, mltf_buf *out, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    json *o = json_new_object(&a), *versions = json_new_object(&a), *counts = NULL,
         *where = json_new_object(&a);
    json_set(&a, versions, "mltf", json_new_cstr(&a, MLTF_VERSION));
    json_set(&a, versions, "mlflow", json_new_cstr(&a, MLTF_MLFLOW_VERSION));
    json_set(&a, versions, "transformers", json_new_cstr(&a, MLTF_TRANSFORMERS_VERSION));
    json_set(&a, o, "versions", versions);
    json_set(&a, o, "cpu", json_new_cstr(&a, kernels()->name));
    mltf_pool *pool = NULL;
    if (pool_new(&pool, 0, NULL) == MLTF_OK)
        json_set(&a, o, "threads", json_new_int(&a, pool_threads(pool)));
    pool_free(pool);
    store *st = NULL;
    mltf_err why = {0};
    if (store_open(&st, tracking_uri, false, &why) == MLTF_OK) {
        json_set(&a, where, "uri", json_new_cstr(&a, store_uri(st)));
        if (store_summary(st, &a, &counts, &why) == MLTF_OK) json_set(&a, where, "holds", counts);
    }
    if (why.status) json_set(&a, where, "note", json_new_cstr(&a, why.msg));
    json_set(&a, o, "store", where);
    const mltf_status status = a.failed ? mltf_fail_memory(err) : MLTF_OK;
    if (status == MLTF_OK) json_write(out, o, NULL);
    store_close(st);
    arena_release(&a);
    return status ? status : buf_status(out, err);
}
