/* Versions of Python packages (PEP 440). */
#ifndef MLTF_MLFLOW_PYTHON_VERSION_H
#define MLTF_MLFLOW_PYTHON_VERSION_H

#include "base/str.h"

/* True if no version, whether it was ever released or not, meets all of the conditions ("==2.0", "<1", "~=1.4"). What
 * is not a version of PEP 440 is left out. */
bool python_versions_conflict(const char *const *texts, size_t n);

#endif
