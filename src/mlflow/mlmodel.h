/* The file MLmodel: YAML whose keys MLflow sorts. Kept as one JSON tree, so that keys this version does not
 * know survive a rewrite. */
#ifndef MLTF_MLFLOW_MLMODEL_H
#define MLTF_MLFLOW_MLMODEL_H

#include "formats/json.h"

/* NOT_FOUND `Could not find an "MLmodel" configuration file at "DIR"`. */
mltf_status mlmodel_read(mltf_arena *a, json **out, const char *dir, mltf_err *err);
/* Keys sorted at every level, as PyYAML's safe dump. */
mltf_status mlmodel_write(const char *path, const json *root, mltf_err *err);
const json *mlmodel_flavor(const json *root, const char *name); /* flavors.<name>, or NULL */
/* A text of a map as a NUL-terminated string in the arena; NULL where absent, null or no text. */
const char *mlmodel_text(mltf_arena *a, const json *map, const char *key);

#endif
