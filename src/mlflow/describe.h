/* What a model is, as one JSON object: docs/describe.md lists the keys. */
#ifndef MLTF_MLFLOW_DESCRIBE_H
#define MLTF_MLFLOW_DESCRIBE_H

#include "mlflow/model.h"

mltf_status model_describe(const mltf_model *m, mltf_buf *out, mltf_err *err);

#endif
