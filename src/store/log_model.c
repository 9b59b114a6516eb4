/* log_model: experiment, run, logged model; the caller saves; then READY and the registry. */
#include <stdlib.h>

#include "base/file.h"
#include "store/store.h"
#include "store/store_names.h"

struct store_log {
    store *st;
    mltf_arena arena; /* holds everything below */
    store_logged_model model;
    store_run run;
    bool own_run; /* made here, so ended here */
    const char *dir;
    const mltf_log_options *opts; /* borrowed until commit or abort */
};

const char *store_log_dir(const store_log *l)
{
    return l->dir;
}
const char *store_log_model_id(const store_log *l)
{
    return l->model.id;
}
const char *store_log_run_id(const store_log *l)
{
    return l->run.id;
}
const char *store_log_artifact_path(const store_log *l)
{
    return l->model.artifact_location;
}

static const char *or_env(const char *value, const char *variable)
{
    if (value && *value) return value;
    value = getenv(variable);
    return value && *value ? value : NULL;
}

static mltf_status find_experiment(store_log *l, store_experiment *exp, mltf_err *err)
{
    const mltf_log_options *o = l->opts;
    const char *name = o->experiment_name && *o->experiment_name ? o->experiment_name : NULL;
    const char *id = o->experiment_id && *o->experiment_id ? o->experiment_id : NULL;
    if (name && id)
        return mltf_fail(err, MLTF_INVALID_INPUT, "give the experiment by name or by id, not both");
    if (!name && !id) {
        name = or_env(NULL, "MLFLOW_EXPERIMENT_NAME");
        id = name ? NULL : or_env(NULL, "MLFLOW_EXPERIMENT_ID");
    }
    if (!name) return store_experiment_by_id(l->st, &l->arena, id ? id : "0", exp, err);
    mltf_err why = {0};
    const mltf_status st = store_experiment_by_name(l->st, &l->arena, name, exp, &why);
    if (st == MLTF_NOT_FOUND) {
        const mltf_status made = store_experiment_create(l->st, &l->arena, name, exp, err);
        // made by another process between our two calls
        if (made == MLTF_ALREADY_EXISTS)
            return store_experiment_by_name(l->st, &l->arena, name, exp, err);
        return made;
    }
    if (st != MLTF_OK) return mltf_fail(err, st, "%s", why.msg);
    if (strcmp(exp->lifecycle_stage, "active") != 0)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Cannot set a deleted experiment '%s' as the active experiment.", name);
    return MLTF_OK;
}

/* A JSON object as pairs of text; values that are no text as their JSON. */
static mltf_status parse_pairs(mltf_arena *a, const char *text, const char *what, store_pair **out,
                               size_t *n, mltf_err *err)
{
    *out = NULL;
    *n = 0;
    if (!text || !*text) return MLTF_OK;
    json *object = NULL;
    if (json_parse_in(a, &object, text, strlen(text), NULL, err) != MLTF_OK ||
        !json_is(object, JSON_OBJECT))
        return mltf_fail(err, MLTF_INVALID_INPUT, "%s must be a JSON object, got '%.200s'", what,
                         text);
    store_pair *pairs = arena_calloc(a, json_len(object), sizeof *pairs);
    if (!pairs) return mltf_fail_memory(err);
    for (size_t i = 0; i < json_len(object); i++) {
        const json_member *m = &object->o.members[i];
        mltf_buf value = MLTF_BUF_INIT;
        if (json_is(&m->value, JSON_STRING))
            buf_put_str(&value, m->value.s);
        else
            json_write(&value, &m->value, NULL);
        pairs[i].key = arena_strdup(a, m->key.p, m->key.n);
        pairs[i].value = arena_strdup(a, value.p ? value.p : "", value.n);
        mltf_buf_release(&value);
    }
    *out = pairs;
    *n = json_len(object);
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

static mltf_status begin(store_log *l, mltf_err *err)
{
    const mltf_log_options *o = l->opts;
    TRY(store_check_logged_model_name(o->name, err));
    if (o->registered_model_name) TRY(store_check_registered_name(o->registered_model_name, err));
    for (const char *const *alias = o->aliases; alias && *alias; alias++)
        TRY(store_check_alias(*alias, err));
    if (o->aliases && *o->aliases && !o->registered_model_name)
        return mltf_fail(err, MLTF_INVALID_INPUT, "an alias needs a registered model name");
    TRY(store_open(&l->st, o->tracking_uri, true, err));

    mltf_arena *a = &l->arena;
    store_pair *params, *tags;
    size_t n_params, n_tags;
    TRY(parse_pairs(a, o->params_json, "params", &params, &n_params, err));
    TRY(parse_pairs(a, o->tags_json, "tags", &tags, &n_tags, err));
    const char *user = store_user(a);
    store_pair *all_tags = arena_calloc(a, n_tags + 3, sizeof *all_tags);
    if (!user || !all_tags) return mltf_fail_memory(err);
    all_tags[0] = (store_pair){"mlflow.user", user};
    all_tags[1] = (store_pair){"mlflow.source.name", "mltf"};
    all_tags[2] = (store_pair){"mlflow.source.type", "LOCAL"};
    if (n_tags) memcpy(all_tags + 3, tags, n_tags * sizeof *tags);

    const char *run_id = or_env(o->run_id, "MLFLOW_RUN_ID");
    if (run_id) {
        TRY(store_run_get(l->st, a, run_id, &l->run, err));
    } else {
        store_experiment exp;
        TRY(find_experiment(l, &exp, err));
        TRY(store_run_create(l->st, a, exp.id, o->run_name, all_tags, 3, &l->run, err));
        l->own_run = true;
    }
    TRY(store_logged_model_create(l->st, a, l->run.experiment_id, o->name, l->run.id, o->step,
                                  o->model_type, params, n_params, all_tags, n_tags + 3, &l->model,
                                  err));
    const char *dir = l->model.artifact_location;
    if (strncmp(dir, "file://", 7) == 0) dir += 7;
    if (strstr(dir, "://") || strncmp(dir, "mlflow-artifacts:", 17) == 0)
        return mltf_fail(
            err, MLTF_UNSUPPORTED,
            "the experiment keeps its artifacts at \"%s\": only local directories can be written",
            dir);
    l->dir = dir;
    char *parent = arena_strdup(a, dir, strlen(dir)), *slash = parent ? strrchr(parent, '/') : NULL;
    if (!parent) return mltf_fail_memory(err);
    if (slash && slash != parent) {
        *slash = '\0';
        TRY(dir_make(parent, err));
    }
    return MLTF_OK;
}

mltf_status store_log_begin(store_log **out, const mltf_log_options *opts, mltf_err *err)
{
    *out = NULL;
    store_log *l = calloc(1, sizeof *l);
    if (!l) return mltf_fail_memory(err);
    l->opts = opts;
    const mltf_status st = begin(l, err);
    if (st == MLTF_OK)
        *out = l;
    else
        store_log_abort(l);
    return st;
}

static void free_log(store_log *l)
{
    store_close(l->st);
    arena_release(&l->arena);
    free(l);
}

void store_log_abort(store_log *l)
{
    if (!l) return;
    if (l->model.id) store_logged_model_finish(l->st, l->model.id, STORE_MODEL_FAILED, NULL);
    if (l->own_run) store_run_finish(l->st, l->run.id, "FAILED", NULL);
    free_log(l);
}

static void set_text(mltf_arena *a, json *o, const char *key, const char *value)
{
    json_set(a, o, key, value ? json_new_cstr(a, value) : json_new_null(a));
}

static mltf_status commit(store_log *l, mltf_buf *info, mltf_err *err)
{
    mltf_arena *a = &l->arena;
    const mltf_log_options *o = l->opts;
    TRY(store_logged_model_finish(l->st, l->model.id, STORE_MODEL_READY, err));

    const char *uri = arena_printf(a, "models:/%s", l->model.id);
    if (!uri) return mltf_fail_memory(err);
    json *reply = json_new_object(a);
    set_text(a, reply, "model_id", l->model.id);
    set_text(a, reply, "model_uri", uri);
    set_text(a, reply, "name", l->model.name);
    set_text(a, reply, "run_id", l->run.id);
    set_text(a, reply, "experiment_id", l->model.experiment_id);
    set_text(a, reply, "artifact_location", l->model.artifact_location);
    if (o->registered_model_name) {
        store_model_version v;
        TRY(store_model_version_create(l->st, a, o->registered_model_name, uri, l->run.id,
                                       l->model.id, &v, err));
        for (const char *const *alias = o->aliases; alias && *alias; alias++)
            TRY(store_alias_set(l->st, v.name, *alias, v.version, err));
        set_text(a, reply, "registered_model_name", v.name);
        json_set(a, reply, "registered_model_version", json_new_int(a, v.version));
    }
    if (a->failed) return mltf_fail_memory(err);
    json_write(info, reply, NULL);
    return buf_status(info, err);
}

mltf_status store_log_commit(store_log *l, mltf_buf *info, mltf_err *err)
{
    const mltf_status st = commit(l, info, err);
    if (l->own_run) {
        const mltf_status ended = store_run_finish(
            l->st, l->run.id, st == MLTF_OK ? "FINISHED" : "FAILED", st == MLTF_OK ? err : NULL);
        if (st == MLTF_OK && ended != MLTF_OK) {
            free_log(l);
            return ended;
        }
    }
    free_log(l);
    return st;
}
