/* SQLite statements in one line each: bind by a type string, read columns into an arena. */
#ifndef MLTF_STORE_SQL_H
#define MLTF_STORE_SQL_H

#include <sqlite3.h>

#include "base/arena.h"
#include "base/status.h"

/* types, a letter an argument: s text (const char *, NULL binds NULL), i int64_t, d double. */
mltf_status sql_run(sqlite3 *db, mltf_err *err, const char *sql, const char *types, ...);

/* A query stays open until sql_close(); sql_next() is true while there is a row. After the last row,
 * sql_close() tells whether that was the end or a failure. */
typedef struct sql_query {
    sqlite3 *db;
    sqlite3_stmt *stmt; /* NULL after a failure */
    mltf_status status;
} sql_query;
sql_query sql_open(sqlite3 *db, mltf_err *err, const char *sql, const char *types, ...);
bool sql_next(sql_query *q, mltf_err *err);
mltf_status sql_close(sql_query *q);
const char *sql_text(const sql_query *q, mltf_arena *a, int column); /* copied; NULL for SQL NULL */
int64_t sql_int(const sql_query *q, int column);

/* One row of one integer; fallback where there is no row or it is NULL. */
mltf_status sql_one_int(sqlite3 *db, mltf_err *err, int64_t *out, int64_t fallback, const char *sql,
                        const char *types, ...);

/* SQLITE_CONSTRAINT_UNIQUE or _PRIMARYKEY was the last failure of this connection. */
bool sql_was_unique_violation(sqlite3 *db);

/* BEGIN IMMEDIATE; end commits where st is OK and rolls back otherwise, and returns the outcome. */
mltf_status sql_begin(sqlite3 *db, mltf_err *err);
mltf_status sql_end(sqlite3 *db, mltf_status st, mltf_err *err);

#endif
