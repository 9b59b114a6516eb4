/* The model registry: names, numbered versions, aliases, stages. */
#include <stdlib.h>

#include "store/store_names.h"
#include "store/store_sqlite.h"

#define VERSION_COLUMNS                                                                            \
    "SELECT "                                                                                      \
    "v.name,v.current_stage,v.source,v.run_id,v.status,v.storage_location,v.description,v."        \
    "version,"                                                                                     \
    "v.creation_time,v.last_updated_time FROM model_versions v "
#define ALIVE "v.workspace='default' AND v.current_stage<>'Deleted_Internal' "

static bool next_version(sql_query *q, mltf_arena *a, store_model_version *out, mltf_err *err)
{
    if (!sql_next(q, err)) return false;
    *out = (store_model_version){
        .name = sql_text(q, a, 0),
        .current_stage = sql_text(q, a, 1),
        .source = sql_text(q, a, 2),
        .run_id = sql_text(q, a, 3),
        .status = sql_text(q, a, 4),
        .storage_location = sql_text(q, a, 5),
        .description = sql_text(q, a, 6),
        .version = sql_int(q, 7),
        .creation_time = sql_int(q, 8),
        .last_update_time = sql_int(q, 9),
    };
    return true;
}

static mltf_status require_registered(store *st, const char *name, mltf_err *err)
{
    int64_t n;
    TRY(sql_one_int(st->db, err, &n, 0,
                    "SELECT count(*) FROM registered_models WHERE name=? AND workspace='default'",
                    "s", name));
    if (!n) return mltf_fail(err, MLTF_NOT_FOUND, "Registered Model with name=%s not found", name);
    return MLTF_OK;
}

mltf_status store_model_version_get(store *st, mltf_arena *a, const char *name, int64_t version,
                                    store_model_version *out, mltf_err *err)
{
    sql_query q =
        sql_open(st->db, err, VERSION_COLUMNS "WHERE " ALIVE "AND v.name=? AND v.version=?", "si",
                 name, version);
    const bool found = next_version(&q, a, out, err);
    TRY(sql_close(&q));
    if (!found)
        return mltf_fail(err, MLTF_NOT_FOUND, "Model Version (name=%s, version=%lld) not found",
                         name, (long long)version);
    return store_copied(a, MLTF_OK, err);
}

mltf_status store_model_version_by_alias(store *st, mltf_arena *a, const char *name,
                                         const char *alias, store_model_version *out, mltf_err *err)
{
    TRY(require_registered(st, name, err));
    int64_t version;
    TRY(sql_one_int(st->db, err, &version, -1,
                    "SELECT version FROM registered_model_aliases WHERE name=? AND alias=? AND "
                    "workspace='default'",
                    "ss", name, alias));
    if (version < 0)
        return mltf_fail(err, MLTF_INVALID_INPUT, "Registered model alias %s not found.", alias);
    return store_model_version_get(st, a, name, version, out, err);
}

mltf_status store_model_version_latest(store *st, mltf_arena *a, const char *name,
                                       const char *stage, store_model_version *out, mltf_err *err)
{
    TRY(require_registered(st, name, err));
    sql_query q =
        sql_open(st->db, err,
                 VERSION_COLUMNS "WHERE " ALIVE
                                 "AND v.name=? AND (? IS NULL OR lower(v.current_stage)=lower(?)) "
                                 "ORDER BY v.version DESC LIMIT 1",
                 "sss", name, stage, stage);
    const bool found = next_version(&q, a, out, err);
    TRY(sql_close(&q));
    if (!found && stage)
        return mltf_fail(err, MLTF_NOT_FOUND,
                         "No versions of model with name '%s' and stage '%s' found", name, stage);
    if (!found)
        return mltf_fail(err, MLTF_NOT_FOUND, "No versions of model with name '%s' found", name);
    return store_copied(a, MLTF_OK, err);
}

/* Where a version's files are, decided once when it is made. */
static mltf_status storage_of(store *st, mltf_arena *a, const char *source, const char **storage,
                              const char **run_id, mltf_err *err)
{
    *storage = source;
    if (strncmp(source, "models:/", 8) != 0) return MLTF_OK;
    const char *rest = source + 8, *slash = strchr(rest, '/');
    if (!slash) {
        store_logged_model m;
        TRY(store_logged_model_get(st, a, rest, &m, err));
        *storage = m.artifact_location;
        if (!*run_id) *run_id = m.source_run_id;
        return MLTF_OK;
    }
    store_model_version v;
    const char *name = arena_strdup(a, rest, (size_t)(slash - rest));
    if (!name) return mltf_fail_memory(err);
    TRY(store_model_version_get(st, a, name, strtoll(slash + 1, NULL, 10), &v, err));
    *storage = v.storage_location;
    return MLTF_OK;
}

/* The logged model remembers its versions in a tag, a JSON list of {"name", "version"}. */
static mltf_status remember_version(store *st, mltf_arena *a, const char *model_id,
                                    const char *name, int64_t version, mltf_err *err)
{
    store_logged_model m;
    TRY(store_logged_model_get(st, a, model_id, &m, err));
    sql_query q = sql_open(st->db, err,
                           "SELECT tag_value FROM logged_model_tags WHERE model_id=? AND "
                           "tag_key='mlflow.modelVersions'",
                           "s", model_id);
    const char *old = sql_next(&q, err) ? sql_text(&q, a, 0) : NULL;
    TRY(sql_close(&q));
    json *list = NULL;
    if (old && (json_parse_in(a, &list, old, strlen(old), NULL, NULL) != MLTF_OK ||
                !json_is(list, JSON_ARRAY)))
        list = NULL;
    if (!list) list = json_new_array(a);
    json *entry = json_new_object(a);
    json_set(a, entry, "name", json_new_cstr(a, name));
    json_set(a, entry, "version", json_new_int(a, version));
    json_push(a, list, entry);
    TRY(store_copied(a, MLTF_OK, err));
    mltf_buf text = MLTF_BUF_INIT;
    json_write(&text, list, NULL);
    mltf_status done = buf_status(&text, err);
    if (done == MLTF_OK)
        done = sql_run(st->db, err,
                       "INSERT INTO logged_model_tags(model_id,experiment_id,tag_key,tag_value) "
                       "VALUES(?,?,'mlflow.modelVersions',?) "
                       "ON CONFLICT(model_id,tag_key) DO UPDATE SET tag_value=excluded.tag_value",
                       "sis", model_id, (int64_t)strtoll(m.experiment_id, NULL, 10), text.p);
    mltf_buf_release(&text);
    return done;
}

mltf_status store_model_version_create(store *st, mltf_arena *a, const char *name,
                                       const char *source, const char *run_id, const char *model_id,
                                       store_model_version *out, mltf_err *err)
{
    TRY(store_check_registered_name(name, err));
    TRY(sql_begin(st->db, err)); // the lock makes max(version)+1 ours
    const int64_t now = store_now_ms();
    const char *storage = source;
    int64_t version = 0;
    mltf_status done = sql_run(
        st->db, err,
        "INSERT INTO registered_models(name,creation_time,last_updated_time,description,workspace) "
        "VALUES(?,?,?,NULL,'default') ON CONFLICT(workspace,name) DO UPDATE SET "
        "last_updated_time=excluded.last_updated_time",
        "sii", name, now, now);
    if (done == MLTF_OK) done = storage_of(st, a, source, &storage, &run_id, err);
    if (done == MLTF_OK)
        done = sql_one_int(
            st->db, err, &version, 1,
            "SELECT max(version)+1 FROM model_versions WHERE name=? AND workspace='default'", "s",
            name);
    if (done == MLTF_OK)
        done = sql_run(st->db, err,
                       "INSERT INTO "
                       "model_versions(name,version,creation_time,last_updated_time,description,"
                       "user_id,current_stage,"
                       "source,run_id,status,status_message,run_link,storage_location,workspace) "
                       "VALUES(?,?,?,?,NULL,NULL,'None',?,?,'READY',NULL,NULL,?,'default')",
                       "siiisss", name, version, now, now, source, run_id, storage);
    if (done == MLTF_OK && model_id) done = remember_version(st, a, model_id, name, version, err);
    TRY(sql_end(st->db, done, err));
    return store_model_version_get(st, a, name, version, out, err);
}

mltf_status store_alias_set(store *st, const char *name, const char *alias, int64_t version,
                            mltf_err *err)
{
    TRY(store_check_alias(alias, err));
    mltf_arena a = MLTF_ARENA_INIT;
    store_model_version v;
    mltf_status done = store_model_version_get(st, &a, name, version, &v, err);
    arena_release(&a);
    TRY(done);
    return sql_run(st->db, err,
                   "INSERT INTO registered_model_aliases(alias,version,name,workspace) "
                   "VALUES(?,?,?,'default') "
                   "ON CONFLICT(workspace,name,alias) DO UPDATE SET version=excluded.version",
                   "sis", alias, version, name);
}
