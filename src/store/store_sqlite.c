/* MLflow's SQLite database: opening, experiments, runs. Schema revision dc11669786a5, that of MLflow 3.17. */
#include "store/store_sqlite.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/file.h"
#include "store/store_names.h"

#define SCHEMA_REVISION "dc11669786a5"
enum {
    MAX_PARAM_VALUE = 6000,
    MAX_TAG_VALUE = 8000
}; // characters; longer values are cut, as MLflow cuts them

/* schema.sql, byte for byte in the binary. */
__asm__(".section .rodata\n"
        ".global store_schema_sql\n"
        ".hidden store_schema_sql\n"
        "store_schema_sql:\n"
        ".incbin \"src/store/schema.sql\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char store_schema_sql[];

mltf_status store_copied(const mltf_arena *a, mltf_status st, mltf_err *err)
{
    return st == MLTF_OK && a->failed ? mltf_fail_memory(err) : st;
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool has_file_store(void)
{
    dir_list names;
    if (!dir_exists("mlruns") || dir_read(&names, "mlruns", NULL) != MLTF_OK) return false;
    bool found = false;
    for (size_t i = 0; i < names.n && !found; i++) {
        if (strspn(names.names[i], "0123456789") != strlen(names.names[i])) continue;
        char *dir = path_join("mlruns", names.names[i]),
             *meta = dir ? path_join(dir, "meta.yaml") : NULL;
        found = meta && file_exists(meta);
        free(meta);
        free(dir);
    }
    dir_list_free(&names);
    return found;
}

static void percent_decode(char *s)
{
    char *to = s;
    for (const char *p = s; *p; p++) {
        const int high = *p == '%' ? ascii_hex(p[1]) : -1, low = high >= 0 ? ascii_hex(p[2]) : -1;
        if (low >= 0 && (high || low)) {
            *to++ = (char)(high << 4 | low);
            p += 2;
        } else {
            *to++ = *p;
        }
    }
    *to = '\0';
}

/* "sqlite:///x" -> absolute path of x in *path (malloc'ed). */
static mltf_status database_path(char **path, const char *uri, mltf_err *err)
{
    static const char prefix[] = "sqlite:///";
    *path = NULL;
    if (!uri && has_file_store())
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "./mlruns holds a file store, which MLflow 3.17 no longer opens by "
                         "default; name a database with "
                         "--tracking-uri sqlite:///mlflow.db or MLFLOW_TRACKING_URI");
    if (!uri) uri = "sqlite:///mlflow.db";
    if (strncmp(uri, prefix, sizeof prefix - 1) != 0)
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "tracking URI \"%s\": only sqlite:///FILE stores are supported; set "
                         "MLFLOW_TRACKING_URI or --tracking-uri",
                         uri);
    const char *name = uri + sizeof prefix - 1;
    const size_t query = strcspn(name, "?");
    if (query == 0 || strncmp(name, ":memory:", 8) == 0)
        return mltf_fail(err, MLTF_INVALID_INPUT, "tracking URI \"%s\" names no database file",
                         uri);
    char cwd[4096];
    if (!getcwd(cwd, sizeof cwd)) return mltf_fail_errno(err, errno, "find", ".");
    const size_t size = strlen(cwd) + query + 2;
    char *p = malloc(size);
    if (!p) return mltf_fail_memory(err);
    if (name[0] == '/')
        snprintf(p, size, "%.*s", (int)query, name);
    else
        snprintf(p, size, "%s/%.*s", cwd, (int)query, name);
    percent_decode(p);
    *path = p;
    return MLTF_OK;
}

static mltf_status create_schema(store *st, mltf_err *err)
{
    char *message = NULL;
    if (sqlite3_exec(st->db, store_schema_sql, NULL, NULL, &message) != SQLITE_OK) {
        const mltf_status failed =
            mltf_fail(err, MLTF_IO, "could not create the tables of \"%s\": %s", st->uri,
                      message ? message : sqlite3_errmsg(st->db));
        sqlite3_free(message);
        return failed;
    }
    TRY(sql_run(st->db, err, "INSERT INTO alembic_version VALUES('" SCHEMA_REVISION "')", ""));
    TRY(sql_run(st->db, err,
                "INSERT INTO workspaces VALUES('default','Default workspace for legacy "
                "resources',NULL,NULL,NULL)",
                ""));
    mltf_arena a = MLTF_ARENA_INIT;
    const char *root = arena_printf(&a, "%s/0", st->artifact_root);
    const int64_t now = store_now_ms();
    const mltf_status done =
        root ? sql_run(st->db, err,
                       "INSERT INTO experiments VALUES(0,'Default',?,'active',?,?,'default')",
                       "sii", root, now, now)
             : mltf_fail_memory(err);
    arena_release(&a);
    return done;
}

static mltf_status check_schema(store *st, bool create, mltf_err *err)
{
    int64_t tables;
    TRY(sql_one_int(st->db, err, &tables, 0, "SELECT count(*) FROM sqlite_master", ""));
    if (tables == 0 && create) {
        // another process may be doing the same: look again once the lock is ours
        TRY(sql_begin(st->db, err));
        mltf_status done =
            sql_one_int(st->db, err, &tables, 0, "SELECT count(*) FROM sqlite_master", "");
        if (done == MLTF_OK && tables == 0) done = create_schema(st, err);
        TRY(sql_end(st->db, done, err));
    }
    mltf_arena a = MLTF_ARENA_INIT;
    sql_query q = sql_open(st->db, NULL, "SELECT version_num FROM alembic_version", "");
    const char *revision = sql_next(&q, NULL) ? sql_text(&q, &a, 0) : NULL;
    sql_close(&q);
    mltf_status ok = MLTF_OK;
    if (!revision)
        ok = mltf_fail(err, MLTF_INVALID_STATE,
                       "\"%s\" is not a database of MLflow: it has no schema revision", st->uri);
    else if (strcmp(revision, SCHEMA_REVISION) != 0)
        ok = mltf_fail(
            err, MLTF_INVALID_STATE,
            "Detected out-of-date database schema (found version %s, but expected " SCHEMA_REVISION
            "). Take a backup of your database, then run 'mlflow db upgrade %s' to migrate your "
            "database to the latest schema.",
            revision, st->uri);
    arena_release(&a);
    return ok;
}

static mltf_status connect_database(store *st, const char *path, bool create, mltf_err *err)
{
    if (!create && !file_exists(path))
        return mltf_fail(
            err, MLTF_NOT_FOUND,
            "there is no MLflow database \"%s\"; log a model first, or set MLFLOW_TRACKING_URI",
            path);
    if (create) {
        char *slash = strrchr(path, '/');
        if (slash && slash != path) {
            *slash = '\0';
            const mltf_status made = dir_make(path, err);
            *slash = '/';
            TRY(made);
        }
    }
    const int flags =
        SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0) | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(path, &st->db, flags, NULL);
    if (rc == SQLITE_CANTOPEN && !create) { // a store that may only be read
        sqlite3_close(st->db);
        rc = sqlite3_open_v2(path, &st->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    }
    if (rc != SQLITE_OK)
        return mltf_fail(err, MLTF_IO, "could not open database \"%s\": %s", path,
                         st->db ? sqlite3_errmsg(st->db) : "out of memory");
    sqlite3_extended_result_codes(st->db, 1);
    sqlite3_busy_timeout(st->db, 20000);
    TRY(sql_run(st->db, err, "PRAGMA foreign_keys = ON", ""));
    TRY(sql_run(st->db, err, "PRAGMA case_sensitive_like = true", ""));
    return check_schema(st, create, err);
}

mltf_status store_open(store **out, const char *tracking_uri, bool create, mltf_err *err)
{
    *out = NULL;
    if (!tracking_uri || !*tracking_uri) tracking_uri = getenv("MLFLOW_TRACKING_URI");
    if (tracking_uri && !*tracking_uri) tracking_uri = NULL;
    char *path, cwd[4096];
    TRY(database_path(&path, tracking_uri, err));

    mltf_status st = MLTF_NO_MEMORY;
    store *s = calloc(1, sizeof *s);
    if (!s) goto done;
    const char *root = getenv("_MLFLOW_SERVER_ARTIFACT_ROOT"); // MLflow's own name for it
    if (root && *root) {
        s->artifact_root = strdup(root);
    } else if (getcwd(cwd, sizeof cwd)) {
        s->artifact_root = path_join(cwd, "mlruns");
    }
    const size_t size = strlen(path) + sizeof "sqlite:///";
    s->uri = malloc(size);
    if (!s->uri || !s->artifact_root) goto done;
    snprintf(s->uri, size, "sqlite:///%s", path);
    st = connect_database(s, path, create, err);
done:
    if (st == MLTF_NO_MEMORY) mltf_fail_memory(err);
    free(path);
    if (st != MLTF_OK) {
        store_close(s);
        s = NULL;
    }
    *out = s;
    return st;
}

void store_close(store *st)
{
    if (!st) return;
    sqlite3_close(st->db);
    free(st->uri);
    free(st->artifact_root);
    free(st);
}

const char *store_uri(const store *st)
{
    return st->uri;
}

/* ---- experiments ----------------------------------------------------------------------------- */

#define EXPERIMENT_COLUMNS                                                                         \
    "SELECT experiment_id,name,artifact_location,lifecycle_stage,creation_time,last_update_time "  \
    "FROM experiments "

static mltf_status read_experiment(sql_query q, mltf_arena *a, const char *what, const char *which,
                                   store_experiment *out, mltf_err *err)
{
    const bool found = sql_next(&q, err);
    if (found)
        *out = (store_experiment){sql_text(&q, a, 0), sql_text(&q, a, 1), sql_text(&q, a, 2),
                                  sql_text(&q, a, 3), sql_int(&q, 4),     sql_int(&q, 5)};
    TRY(sql_close(&q));
    if (!found)
        return mltf_fail(err, MLTF_NOT_FOUND, "No Experiment with %s=%s exists", what, which);
    return store_copied(a, MLTF_OK, err);
}

mltf_status store_experiment_by_name(store *st, mltf_arena *a, const char *name,
                                     store_experiment *out, mltf_err *err)
{
    return read_experiment(
        sql_open(st->db, err, EXPERIMENT_COLUMNS "WHERE name=? AND workspace='default'", "s", name),
        a, "name", name, out, err);
}

mltf_status store_experiment_by_id(store *st, mltf_arena *a, const char *id, store_experiment *out,
                                   mltf_err *err)
{
    if (!*id || strlen(id) > 18 || strspn(id, "0123456789") != strlen(id))
        return mltf_fail(err, MLTF_INVALID_INPUT, "Invalid experiment ID '%s': must be an integer",
                         id);
    return read_experiment(sql_open(st->db, err, EXPERIMENT_COLUMNS "WHERE experiment_id=?", "i",
                                    (int64_t)strtoll(id, NULL, 10)),
                           a, "id", id, out, err);
}

mltf_status store_experiment_create(store *st, mltf_arena *a, const char *name,
                                    store_experiment *out, mltf_err *err)
{
    TRY(store_check_experiment_name(name, err));
    TRY(sql_begin(st->db, err));
    const int64_t now = store_now_ms();
    mltf_status done =
        sql_run(st->db, err,
                "INSERT INTO "
                "experiments(name,artifact_location,lifecycle_stage,creation_time,last_update_time,"
                "workspace) VALUES(?,NULL,'active',?,?,'default')",
                "sii", name, now, now);
    if (done != MLTF_OK && sql_was_unique_violation(st->db))
        done = mltf_fail(err, MLTF_ALREADY_EXISTS, "Experiment(name=%s) already exists.", name);
    const int64_t id = sqlite3_last_insert_rowid(st->db);
    if (done == MLTF_OK) {
        const char *location = arena_printf(a, "%s/%lld", st->artifact_root, (long long)id);
        done = location
                   ? sql_run(st->db, err,
                             "UPDATE experiments SET artifact_location=? WHERE experiment_id=?",
                             "si", location, id)
                   : mltf_fail_memory(err);
    }
    TRY(sql_end(st->db, done, err));
    return store_experiment_by_name(st, a, name, out, err);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static mltf_status upsert_tag(store *st, const char *run_id, const char *key, const char *value,
                              mltf_err *err)
{
    return sql_run(st->db, err,
                   "INSERT INTO tags(\"key\",value,run_uuid) VALUES(?,substr(?,1,8000),?) "
                   "ON CONFLICT(\"key\",run_uuid) DO UPDATE SET value=excluded.value",
                   "sss", key, value, run_id);
}

mltf_status store_run_create(store *st, mltf_arena *a, const char *experiment_id, const char *name,
                             const store_pair *tags, size_t n, store_run *out, mltf_err *err)
{
    store_experiment exp;
    TRY(store_experiment_by_id(st, a, experiment_id, &exp, err));
    if (strcmp(exp.lifecycle_stage, "active") != 0)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The experiment %s must be in the 'active' state. Current state is %s.",
                         exp.id, exp.lifecycle_stage);
    for (size_t i = 0; i < n; i++) TRY(store_check_key(tags[i].key, "tag", err));
    const char *id = store_new_id(a, ""), *user = store_user(a);
    if (!name || !*name) name = store_random_name(a);
    const char *uri = id ? arena_printf(a, "%s/%s/artifacts", exp.artifact_location, id) : NULL;
    if (!id || !name || !user || !uri) return mltf_fail_memory(err);

    TRY(sql_begin(st->db, err));
    mltf_status done = sql_run(
        st->db, err,
        "INSERT INTO "
        "runs(run_uuid,name,source_type,source_name,entry_point_name,user_id,status,start_time,"
        "end_time,source_version,lifecycle_stage,artifact_uri,experiment_id,deleted_time) "
        "VALUES(?,?,'UNKNOWN','','',?,'RUNNING',?,NULL,'','active',?,?,NULL)",
        "sssisi", id, name, user, store_now_ms(), uri, (int64_t)strtoll(exp.id, NULL, 10));
    for (size_t i = 0; i < n && done == MLTF_OK; i++)
        done = upsert_tag(st, id, tags[i].key, tags[i].value, err);
    if (done == MLTF_OK) done = upsert_tag(st, id, "mlflow.runName", name, err);
    TRY(sql_end(st->db, done, err));
    return store_run_get(st, a, id, out, err);
}

mltf_status store_run_get(store *st, mltf_arena *a, const char *run_id, store_run *out,
                          mltf_err *err)
{
    sql_query q = sql_open(st->db, err,
                           "SELECT "
                           "run_uuid,name,experiment_id,user_id,status,artifact_uri,lifecycle_"
                           "stage,start_time,end_time "
                           "FROM runs WHERE run_uuid=?",
                           "s", run_id);
    const bool found = sql_next(&q, err);
    if (found)
        *out = (store_run){sql_text(&q, a, 0), sql_text(&q, a, 1), sql_text(&q, a, 2),
                           sql_text(&q, a, 3), sql_text(&q, a, 4), sql_text(&q, a, 5),
                           sql_text(&q, a, 6), sql_int(&q, 7),     sql_int(&q, 8)};
    TRY(sql_close(&q));
    if (!found) return mltf_fail(err, MLTF_NOT_FOUND, "Run with id=%s not found", run_id);
    return store_copied(a, MLTF_OK, err);
}

static mltf_status require_active_run(store *st, const char *run_id, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    store_run run;
    mltf_status ok = store_run_get(st, &a, run_id, &run, err);
    if (ok == MLTF_OK && strcmp(run.lifecycle_stage, "active") != 0)
        ok = mltf_fail(err, MLTF_INVALID_INPUT,
                       "The run %s must be in the 'active' state. Current state is %s.", run_id,
                       run.lifecycle_stage);
    arena_release(&a);
    return ok;
}

mltf_status store_run_finish(store *st, const char *run_id, const char *status, mltf_err *err)
{
    TRY(require_active_run(st, run_id, err));
    return sql_run(st->db, err, "UPDATE runs SET status=?, end_time=? WHERE run_uuid=?", "sis",
                   status, store_now_ms(), run_id);
}

static mltf_status read_pairs(sql_query q, mltf_arena *a, store_pair **out, size_t *n,
                              mltf_err *err)
{
    size_t cap = 0;
    *out = NULL;
    *n = 0;
    while (sql_next(&q, err)) {
        if (!ARENA_RESERVE(a, *out, cap, *n + 1)) break;
        (*out)[(*n)++] = (store_pair){sql_text(&q, a, 0), sql_text(&q, a, 1)};
    }
    TRY(sql_close(&q));
    return store_copied(a, MLTF_OK, err);
}

mltf_status store_run_params(store *st, mltf_arena *a, const char *run_id, store_pair **out,
                             size_t *n, mltf_err *err)
{
    return read_pairs(sql_open(st->db, err,
                               "SELECT \"key\",value FROM params WHERE run_uuid=? ORDER BY rowid",
                               "s", run_id),
                      a, out, n, err);
}

static mltf_status log_param(store *st, mltf_arena *a, const char *run_id, const store_pair *p,
                             mltf_err *err)
{
    TRY(store_check_key(p->key, "param", err));
    sql_query q =
        sql_open(st->db, err,
                 "SELECT value, value=substr(?,1,6000) FROM params WHERE \"key\"=? AND run_uuid=?",
                 "sss", p->value, p->key, run_id);
    const bool found = sql_next(&q, err);
    const char *old = found ? sql_text(&q, a, 0) : NULL;
    const bool same = found && sql_int(&q, 1);
    TRY(sql_close(&q));
    if (same) return MLTF_OK;
    if (found)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Changing param values is not allowed. Param with key='%s' was already "
                         "logged with value='%s' for run "
                         "ID='%s'. Attempted logging new value '%s'.",
                         p->key, old ? old : "", run_id, p->value);
    return sql_run(st->db, err,
                   "INSERT INTO params(\"key\",value,run_uuid) VALUES(?,substr(?,1,6000),?)", "sss",
                   p->key, p->value, run_id);
}

mltf_status store_log_params(store *st, const char *run_id, const store_pair *params, size_t n,
                             mltf_err *err)
{
    TRY(require_active_run(st, run_id, err));
    TRY(sql_begin(st->db, err));
    mltf_arena a = MLTF_ARENA_INIT;
    mltf_status done = MLTF_OK;
    for (size_t i = 0; i < n && done == MLTF_OK; i++)
        done = log_param(st, &a, run_id, &params[i], err);
    arena_release(&a);
    return sql_end(st->db, done, err);
}

static mltf_status log_metric(store *st, const char *run_id, const store_metric *m, mltf_err *err)
{
    TRY(store_check_key(m->key, "metric", err));
    if (m->timestamp < 0)
        return mltf_fail(err, MLTF_INVALID_INPUT, "metric \"%s\" has a timestamp before 1970",
                         m->key);
    // NaN is a flag beside 0, infinities are the largest numbers: SQL has neither
    const int64_t is_nan = isnan(m->value) != 0;
    const double value = is_nan            ? 0.0
                         : isinf(m->value) ? (m->value > 0 ? DBL_MAX : -DBL_MAX)
                                           : m->value;
    TRY(sql_run(st->db, err,
                "INSERT OR IGNORE INTO metrics(\"key\",value,timestamp,run_uuid,step,is_nan) "
                "VALUES(?,?,?,?,?,?)",
                "sdisii", m->key, value, m->timestamp, run_id, m->step, is_nan));
    return sql_run(
        st->db, err,
        "INSERT INTO latest_metrics(\"key\",value,timestamp,step,is_nan,run_uuid) "
        "VALUES(?,?,?,?,?,?) "
        "ON CONFLICT(\"key\",run_uuid) DO UPDATE SET "
        "value=excluded.value,timestamp=excluded.timestamp,"
        "step=excluded.step,is_nan=excluded.is_nan "
        "WHERE (excluded.step,excluded.timestamp,excluded.value) > (step,timestamp,value)",
        "sdiiis", m->key, value, m->timestamp, m->step, is_nan, run_id);
}

mltf_status store_log_metrics(store *st, const char *run_id, const store_metric *metrics, size_t n,
                              mltf_err *err)
{
    TRY(require_active_run(st, run_id, err));
    TRY(sql_begin(st->db, err));
    mltf_status done = MLTF_OK;
    for (size_t i = 0; i < n && done == MLTF_OK; i++)
        done = log_metric(st, run_id, &metrics[i], err);
    return sql_end(st->db, done, err);
}

mltf_status store_summary(store *st, mltf_arena *a, json **out, mltf_err *err)
{
    static const struct {
        const char *key, *sql;
    } counts[] = {
        {"experiments", "SELECT count(*) FROM experiments WHERE lifecycle_stage='active'"},
        {"runs", "SELECT count(*) FROM runs WHERE lifecycle_stage='active'"},
        {"logged_models", "SELECT count(*) FROM logged_models WHERE lifecycle_stage='active'"},
        {"registered_models", "SELECT count(*) FROM registered_models"},
        {"model_versions",
         "SELECT count(*) FROM model_versions WHERE current_stage<>'Deleted_Internal'"},
    };
    json *o = json_new_object(a);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int64_t n;
        TRY(sql_one_int(st->db, err, &n, 0, counts[i].sql, ""));
        json_set(a, o, counts[i].key, json_new_int(a, n));
    }
    *out = o;
    return store_copied(a, MLTF_OK, err);
}
