/* Python literals in text: what ast.literal_eval() takes, as far as data are written that way. */
#ifndef MLTF_MLFLOW_PYLITERAL_H
#define MLTF_MLFLOW_PYLITERAL_H

#include "mlflow/pyvalue.h"

/* str, bytes, numbers, True, False, None, lists, tuples, dicts. False: not a literal. */
bool pyliteral_parse(mltf_arena *a, pv *out, mltf_str text);

#endif
