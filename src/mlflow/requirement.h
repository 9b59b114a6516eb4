/* Requirements of Python packages (PEP 508): written in one form, and several of a package made one, as MLflow does. */
#ifndef MLTF_MLFLOW_REQUIREMENT_H
#define MLTF_MLFLOW_REQUIREMENT_H

#include "base/arena.h"

/* In place: each line that is a requirement becomes name[extras]versions; marker, its parts in order; later ones of the
 * same name give their versions and extras to the first one's place, and their marker. Other lines (paths, URLs of
 * repositories, options) stay as they are. *n shrinks. Texts are in the arena; a->failed tells. */
void requirements_merge(mltf_arena *a, const char **lines, size_t *n);

#endif
