/* Python literals in text: what ast.literal_eval() takes, as far as data are written that way. */
#ifndef MLTF_MLFLOW_PYLITERAL_H
#define MLTF_MLFLOW_PYLITERAL_H

#include "mlflow/pyvalue.h"

/* str, bytes, numbers, True, False, None, lists, tuples, dicts. False: not a literal. */
bool pyliteral_parse(mltf_arena *a, pv *out, mltf_str text);
/* The same at the beginning of a text. *used: bytes it took. */
bool pyliteral_read(mltf_arena *a, pv *out, mltf_str text, size_t *used);

#endif
