#include "store/sql.h"

#include <stdarg.h>

static mltf_status fail_sql(sqlite3 *db, mltf_err *err)
{
    const int code = sqlite3_extended_errcode(db) & 0xFF;
    const char *file = sqlite3_db_filename(db, "main");
    const mltf_status st = code == SQLITE_CORRUPT || code == SQLITE_NOTADB  ? MLTF_CORRUPT_FILE
                           : code == SQLITE_NOMEM                           ? MLTF_NO_MEMORY
                           : code == SQLITE_READONLY || code == SQLITE_PERM ? MLTF_PERMISSION_DENIED
                           : code == SQLITE_BUSY || code == SQLITE_LOCKED   ? MLTF_UNAVAILABLE
                           : code == SQLITE_FULL || code == SQLITE_IOERR    ? MLTF_IO
                           : code == SQLITE_CONSTRAINT                      ? MLTF_BAD_REQUEST
                                                                            : MLTF_INTERNAL;
    return mltf_fail(err, st, "database \"%s\": %s", file ? file : "", sqlite3_errmsg(db));
}

static sqlite3_stmt *prepare(sqlite3 *db, mltf_err *err, mltf_status *st, const char *sql,
                             const char *types, va_list args)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    for (int i = 0; rc == SQLITE_OK && types[i]; i++) {
        if (types[i] == 'i') {
            rc = sqlite3_bind_int64(stmt, i + 1, va_arg(args, int64_t));
        } else if (types[i] == 'd') {
            rc = sqlite3_bind_double(stmt, i + 1, va_arg(args, double));
        } else {
            const char *s = va_arg(args, const char *);
            rc = s ? sqlite3_bind_text(stmt, i + 1, s, -1, SQLITE_TRANSIENT)
                   : sqlite3_bind_null(stmt, i + 1);
        }
    }
    *st = rc == SQLITE_OK ? MLTF_OK : fail_sql(db, err);
    if (rc != SQLITE_OK) {
        sqlite3_finalize(stmt);
        stmt = NULL;
    }
    return stmt;
}

mltf_status sql_run(sqlite3 *db, mltf_err *err, const char *sql, const char *types, ...)
{
    mltf_status st;
    va_list args;
    va_start(args, types);
    sqlite3_stmt *stmt = prepare(db, err, &st, sql, types, args);
    va_end(args);
    if (!stmt) return st;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
    }
    if (rc != SQLITE_DONE) st = fail_sql(db, err);
    sqlite3_finalize(stmt);
    return st;
}

sql_query sql_open(sqlite3 *db, mltf_err *err, const char *sql, const char *types, ...)
{
    sql_query q = {.db = db};
    va_list args;
    va_start(args, types);
    q.stmt = prepare(db, err, &q.status, sql, types, args);
    va_end(args);
    return q;
}

bool sql_next(sql_query *q, mltf_err *err)
{
    if (!q->stmt || q->status) return false;
    const int rc = sqlite3_step(q->stmt);
    if (rc == SQLITE_ROW) return true;
    if (rc != SQLITE_DONE) q->status = fail_sql(q->db, err);
    return false;
}

mltf_status sql_close(sql_query *q)
{
    sqlite3_finalize(q->stmt);
    q->stmt = NULL;
    return q->status;
}

const char *sql_text(const sql_query *q, mltf_arena *a, int column)
{
    const unsigned char *s = sqlite3_column_text(q->stmt, column);
    if (!s) return NULL;
    return arena_strdup(a, (const char *)s, (size_t)sqlite3_column_bytes(q->stmt, column));
}

int64_t sql_int(const sql_query *q, int column)
{
    return sqlite3_column_int64(q->stmt, column);
}
mltf_status sql_one_int(sqlite3 *db, mltf_err *err, int64_t *out, int64_t fallback, const char *sql,
                        const char *types, ...)
{
    sql_query q = {.db = db};
    va_list args;
    va_start(args, types);
    q.stmt = prepare(db, err, &q.status, sql, types, args);
    va_end(args);
    *out = fallback;
    if (sql_next(&q, err) && sqlite3_column_type(q.stmt, 0) != SQLITE_NULL) *out = sql_int(&q, 0);
    return sql_close(&q);
}

bool sql_was_unique_violation(sqlite3 *db)
{
    const int code = sqlite3_extended_errcode(db);
    return code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY;
}

mltf_status sql_begin(sqlite3 *db, mltf_err *err)
{
    return sql_run(db, err, "BEGIN IMMEDIATE", "");
}

mltf_status sql_end(sqlite3 *db, mltf_status st, mltf_err *err)
{
    if (st == MLTF_OK) {
        st = sql_run(db, err, "COMMIT", "");
        if (st == MLTF_OK) return MLTF_OK;
    }
    sql_run(db, NULL, "ROLLBACK", "");
    return st;
}
