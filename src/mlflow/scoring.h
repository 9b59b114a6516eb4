/* Requests and replies of MLflow's scoring server, as functions from bytes to data and back. */
#ifndef MLTF_MLFLOW_SCORING_H
#define MLTF_MLFLOW_SCORING_H

#include "mlflow/schema.h"

typedef struct scoring_request {
    pv data;
    pv params;      /* PV_NONE: none */
    bool unwrapped; /* an llm object: the reply has no "predictions" */
} scoring_request;

/* The body of POST /invocations. sig may have no parts. BAD_REQUEST with MLflow's words. Values live in
 * the arena and may borrow from it, not from the text. */
mltf_status scoring_parse_json(mltf_arena *a, scoring_request *out, const char *text, size_t n, const signature *sig,
                               mltf_err *err);
mltf_status scoring_parse_csv(mltf_arena *a, scoring_request *out, const char *text, size_t n, const signature *sig,
                              mltf_err *err);
/* The parts, for examples: a frame from {"columns", "index", "data"} or from a list of row objects. */
mltf_status scoring_frame(mltf_arena *a, pv *out, const json *v, bool split, const schema *s, mltf_err *err);

/* {"predictions": X}, or X alone. NaN and infinities become null. Appends. */
mltf_status scoring_write(mltf_buf *answer, const pv *prediction, bool unwrapped, mltf_err *err);

/* What a failed predict() becomes on the way out: MLflow's own errors get "Failed to predict data '…'",
 * everything else the one general message. */
void scoring_wrap_error(mltf_err *err, const pv *data);

#endif
