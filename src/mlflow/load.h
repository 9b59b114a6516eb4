/* Opening a model: an MLflow directory (Python's or ours, of any release) or a bare checkpoint. */
#ifndef MLTF_MLFLOW_LOAD_H
#define MLTF_MLFLOW_LOAD_H

#include "mlflow/model.h"

/* dir: a local directory. opts may be NULL. */
mltf_status model_load(mltf_model **out, const char *dir, const mltf_open_options *opts, mltf_err *err);
/* Only MLmodel, signature and config: no weights, no pipeline. */
mltf_status model_load_facts(mltf_model **out, const char *dir, const mltf_open_options *opts, mltf_err *err);
void model_free(mltf_model *m);

/* model_config (model_config.c): the saved one; a legacy components/inference_config.txt instead; then keys replaced from
 * MLFLOW_PYFUNC_INFERENCE_CONFIG and from the caller, only those that are already there. */
mltf_status model_config_merge(mltf_model *m, const json *saved, const char *override_json, mltf_err *err);

/* Native task behind a name: aliases resolved; llm/v1 names give their pipeline's task. NULL: unknown. */
const char *native_task_of(mltf_arena *a, const char *task);
bool is_llm_task(const char *task); /* begins with "llm/v1" */
/* "torch.float16" or "float16" to the name without prefix. INVALID_INPUT "The value '…' is not a valid torch.dtype". */
mltf_status torch_dtype_name(const char **out, const char *given, mltf_err *err);

#endif
