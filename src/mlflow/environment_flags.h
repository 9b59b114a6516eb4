/* Boolean environment variables of MLflow: true, 1 (any case); everything else is false. */
#ifndef MLTF_MLFLOW_ENVIRONMENT_FLAGS_H
#define MLTF_MLFLOW_ENVIRONMENT_FLAGS_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"

static inline bool flag_is_true(const char *name)
{
    const char *v = getenv(name);
    return v && (ascii_same(str_from(v), "true") || strcmp(v, "1") == 0);
}

#endif
