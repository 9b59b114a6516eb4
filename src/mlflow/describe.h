/* What a model is, as one JSON object: docs/describe.md lists the keys. */
#ifndef MLTF_MLFLOW_DESCRIBE_H
#define MLTF_MLFLOW_DESCRIBE_H

#include "mlflow/model.h"

/* unsupported: why the model cannot run here, of one loaded by model_load_facts(); else NULL. */
mltf_status model_describe(const mltf_model *m, const char *unsupported, mltf_buf *out, mltf_err *err);

#endif
