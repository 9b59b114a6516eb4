/* The SQLite store's inside, shared by store_sqlite.c (experiments, runs), store_models.c (logged models)
 * and store_registry.c. */
#ifndef MLTF_STORE_STORE_SQLITE_H
#define MLTF_STORE_STORE_SQLITE_H

#include "store/sql.h"
#include "store/store.h"

struct store {
    sqlite3 *db;
    char *uri;           /* "sqlite:////abs/mlflow.db" */
    char *artifact_root; /* "<cwd>/mlruns": where new experiments keep their artifacts */
};

/* NO_MEMORY if an arena ran out while a result was copied, else st. */
mltf_status store_copied(const mltf_arena *a, mltf_status st, mltf_err *err);

#endif
