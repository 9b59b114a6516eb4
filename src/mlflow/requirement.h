/* Requirements of Python packages (PEP 508): written in one form, and several of a package made one, as MLflow does. */
#ifndef MLTF_MLFLOW_REQUIREMENT_H
#define MLTF_MLFLOW_REQUIREMENT_H

#include "base/arena.h"
#include "base/status.h"

/* In place: each line that is a requirement becomes name[extras]versions; marker, its parts in order; later ones of the
 * same name and marker give their versions and extras to the first one's place. Other lines (paths, URLs of
 * repositories, options) stay as they are. *n shrinks. Texts are in the arena. INVALID_INPUT where no version of a
 * package can be both what an earlier and what a later line wants. */
mltf_status requirements_merge(mltf_arena *a, const char **lines, size_t *n, mltf_err *err);

#endif
