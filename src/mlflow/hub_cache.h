/* The Hugging Face cache on this machine: models--ORG--NAME/{refs/BRANCH, snapshots/COMMIT}. Nothing is downloaded. */
#ifndef MLTF_MLFLOW_HUB_CACHE_H
#define MLTF_MLFLOW_HUB_CACHE_H

#include "base/buf.h"

/* "name" or "namespace/name" as the hub allows them. */
bool hub_is_repo_id(const char *name);
/* The snapshot directory of a repository. revision: a commit or a branch; NULL: the default branch. Appends the
 * path to dir and, if commit is not NULL, the 40 digits there. NOT_FOUND where the cache lacks it. */
mltf_status hub_snapshot(mltf_buf *dir, mltf_buf *commit, const char *repo, const char *revision, mltf_err *err);

#endif
