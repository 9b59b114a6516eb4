/* The files that describe a model's Python environment: requirements.txt, constraints.txt, conda.yaml,
 * python_env.yaml. mltf needs none of them; Python MLflow reads them. */
#ifndef MLTF_MLFLOW_ENVIRONMENT_H
#define MLTF_MLFLOW_ENVIRONMENT_H

#include "formats/json.h"

#define ENV_PYTHON_VERSION "3.11.7" /* recorded; any Python that MLflow supports will do */
#define ENV_TORCH_VERSION  "2.13.0"

typedef struct environment_options {
    const char *const *pip_requirements;       /* ends with NULL; replaces the defaults; one item may name a file */
    const char *const *extra_pip_requirements; /* ends with NULL; added to the defaults */
    const char *conda_env_path;                /* YAML file */
    const json *conda_env;                     /* or the map itself */
    bool peft;
} environment_options;

/* INVALID_INPUT where more than one of the three is given. */
mltf_status environment_check(const environment_options *o, mltf_err *err);
/* Write the files into dir. */
mltf_status environment_write(const char *dir, const environment_options *o, mltf_err *err);

#endif
