/* The options that `models save` and `models log` share. */
#ifndef MLTF_CLI_SAVE_OPTIONS_H
#define MLTF_CLI_SAVE_OPTIONS_H

#include "cli/cli.h"

typedef struct save_args {
    const char *checkpoint, *input_example, *input_example_params, *model_config, *metadata,
        *signature, *prompt_template;
    mltf_save_options o;
    cli_list code_paths, pip, extra_pip;
    bool reference_only, no_conversion;
    mltf_buf files[6]; /* contents of @FILE values */
    cli_progress progress;
} save_args;

// clang-format off
#define SAVE_OPTIONS(a)                                                                                                    \
    CLI_STR('m', "model", "CHECKPOINT", &(a).checkpoint, NULL, "checkpoint directory, or a repo id in the Hugging Face cache"), \
    CLI_STR(0, "task", "TASK", &(a).o.task, NULL, "text-classification, text-generation, llm/v1/chat, ..."),               \
    CLI_STR(0, "model-config", "JSON", &(a).model_config, NULL, "inference options kept with the model (JSON or @FILE)"),  \
    CLI_STR(0, "inference-config", "JSON", &(a).model_config, NULL, "old spelling of --model-config"),                     \
    CLI_STR(0, "metadata", "JSON", &(a).metadata, NULL, "metadata of the MLmodel file (JSON or @FILE)"),                   \
    CLI_STR(0, "torch-dtype", "DTYPE", &(a).o.torch_dtype, NULL, "dtype recorded and used at load: float32, bfloat16, float16"), \
    CLI_STR(0, "input-example", "JSON", &(a).input_example, NULL, "input example, also infers the signature (JSON or @FILE)"), \
    CLI_STR(0, "input-example-params", "JSON", &(a).input_example_params, NULL, "params beside the input example (JSON or @FILE)"), \
    CLI_STR(0, "signature", "JSON", &(a).signature, NULL, "signature as in MLmodel (JSON or @FILE)"),                      \
    CLI_STR(0, "prompt-template", "TEXT", &(a).prompt_template, NULL, "template with one {prompt} (text or @FILE)"),       \
    CLI_STR(0, "model-card", "FILE", &(a).o.model_card_path, NULL, "model card to keep with the model"),                   \
    CLI_LIST(0, "code-path", "PATH", &(a).code_paths, NULL, "file or directory copied into code/ (repeatable)"),           \
    CLI_LIST(0, "pip-requirements", "REQ", &(a).pip, NULL, "requirement, replaces the default ones (repeatable)"),         \
    CLI_LIST(0, "extra-pip-requirements", "REQ", &(a).extra_pip, NULL, "requirement added to the default ones (repeatable)"), \
    CLI_STR(0, "conda-env", "FILE", &(a).o.conda_env_path, NULL, "conda environment file"),                                \
    CLI_STR(0, "processor", "DIR", &(a).o.processor_path, NULL, "checkpoint whose processor is saved too"),                \
    CLI_STR(0, "base-model-path", "DIR", &(a).o.base_model_path, NULL, "PEFT: the base model's directory, by reference"),  \
    CLI_STR(0, "max-shard-size", "SIZE", &(a).o.max_shard_size, "MLFLOW_HUGGINGFACE_MODEL_MAX_SHARD_SIZE", "of weight files, like 500MB"), \
    CLI_STR(0, "layout", "NAME", &(a).o.layout, NULL, "pipeline (default), components or checkpoint"),                     \
    CLI_FLAG(0, "no-save-pretrained", &(a).reference_only, NULL, "keep repo id and commit instead of the weights"),        \
    CLI_FLAG(0, "example-no-conversion", &(a).no_conversion, NULL, "accepted as in MLflow; examples are stored as given")
// clang-format on

/* After cli_parse: @FILE values are read and o is complete. Release in any case. */
mltf_status save_args_complete(save_args *a, mltf_err *err);
void save_args_release(save_args *a);

#endif
