/* The options of every subcommand that opens a model. */
#ifndef MLTF_CLI_OPEN_OPTIONS_H
#define MLTF_CLI_OPEN_OPTIONS_H

#include "cli/cli.h"

// clang-format off
#define OPEN_OPTIONS(uri, o)                                                                                             \
    CLI_STR('m', "model-uri", "URI", &(uri), NULL, "model directory, runs:/ or models:/ URI, or checkpoint (required)"),  \
    CLI_STR(0, "task", "TASK", &(o).task, NULL, "for a bare checkpoint: the task to give it"),                           \
    CLI_STR(0, "torch-dtype", "DTYPE", &(o).torch_dtype, NULL, "compute in float32, bfloat16 or float16"),               \
    CLI_STR(0, "quantize", "KIND", &(o).quantize, NULL, "int8 or int4: quantize the weights while loading"),             \
    CLI_STR(0, "model-config", "JSON", &(o).model_config_json, "MLFLOW_PYFUNC_INFERENCE_CONFIG", "replaces keys of the saved model_config"), \
    CLI_STR(0, "base-model-path", "DIR", &(o).base_model_path, NULL, "PEFT: the base model's directory"),                \
    CLI_STR(0, "tracking-uri", "URI", &(o).tracking_uri, "MLFLOW_TRACKING_URI", "store of runs:/ and models:/ URIs"),    \
    CLI_INT(0, "num-threads", "N", &(o).threads, NULL, "compute threads; all CPUs by default")
// clang-format on

/* MLflow's flags about Python environments: accepted, and one line says that there is none. */
typedef struct env_flags {
    const char *env_manager, *pip_override, *env_file;
    bool install_mlflow, no_conda, mlserver;
} env_flags;

// clang-format off
#define ENV_OPTIONS(e)                                                                                                   \
    CLI_STR(0, "env-manager", "NAME", &(e).env_manager, "MLFLOW_ENV_MANAGER", "accepted as in MLflow; there is no environment"), \
    CLI_FLAG(0, "no-conda", &(e).no_conda, NULL, "accepted as in MLflow; there is no environment"),                      \
    CLI_FLAG(0, "install-mlflow", &(e).install_mlflow, NULL, "accepted as in MLflow; there is no environment"),          \
    CLI_FLAG(0, "enable-mlserver", &(e).mlserver, NULL, "accepted as in MLflow; there is one server")
// clang-format on

void env_flags_report(const env_flags *e);

#endif
