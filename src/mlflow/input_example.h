/* Input examples: what a user gives, normalised, and the two files that MLflow stores. */
#ifndef MLTF_MLFLOW_INPUT_EXAMPLE_H
#define MLTF_MLFLOW_INPUT_EXAMPLE_H

#include "mlflow/pyvalue.h"

/* From the JSON of mltf_save_options: a frame where it is written as the scoring server takes frames
 * ({"dataframe_split": …}, {"dataframe_records": …}), otherwise the value itself. */
mltf_status input_example_parse(mltf_arena *a, pv *out, const char *text, mltf_err *err);
/* Zero-shot: candidate labels given as a list become their JSON text, in a copy. */
mltf_status input_example_zero_shot(mltf_arena *a, pv *example, mltf_err *err);
/* Write input_example.json and serving_input_example.json into dir; *info receives saved_input_example_info.
 * params: a dict or PV_NONE. */
mltf_status input_example_write(mltf_arena *a, const char *dir, const pv *example, const pv *params, json **info, mltf_err *err);

#endif
