/* predict(): what MLflow's _TransformersWrapper does around a pipeline.
 *
 *     data → schema, params → options → task's input → pipeline → task's output → a list of texts, a frame, an array
 *
 * wrapper.c has the common part, wrapper_input.c what each task accepts, wrapper_output.c what it gives,
 * wrapper_llm.c the rows of llm/v1. */
#ifndef MLTF_MLFLOW_WRAPPER_H
#define MLTF_MLFLOW_WRAPPER_H

#include "mlflow/model.h"

/* The kinds of pipelines that the wrapper knows apart. */
typedef enum {
    WRAP_TEXT_GENERATION,
    WRAP_TEXT2TEXT,
    WRAP_SUMMARIZATION,
    WRAP_TRANSLATION,
    WRAP_FILL_MASK,
    WRAP_TEXT_CLASSIFICATION,
    WRAP_TOKEN_CLASSIFICATION,
    WRAP_ZERO_SHOT,
    WRAP_QUESTION_ANSWERING,
    WRAP_TABLE_QA,
    WRAP_FEATURE_EXTRACTION,
    WRAP_CONVERSATIONAL,
    WRAP_SENTENCE_EMBEDDING, /* sentence-transformers' tasks, which MLflow's own flavor does not know */
    WRAP_SENTENCE_PAIRS,     /* similarity and ranking: one source or query against several texts a row */
    WRAP_SPEECH,
    WRAP_AUDIO_CLASSIFICATION,
    WRAP_IMAGE_CLASSIFICATION,
    WRAP_OTHER, /* not enabled for predict() */
} wrap_kind;

typedef struct wrap_call {
    const mltf_model *m;
    wrap_kind kind;
    mltf_arena *a;
    const call_control *ctl;
    pv options; /* dict: model_config overlaid by params */
    bool use_template;
    bool include_prompt, collapse_whitespace;
} wrap_call;

/* PyFuncModel.predict(data, params): schema and params enforced, then the wrapper. params may be NULL. A bare
 * checkpoint has no params schema and takes all of them. */
mltf_status pyfunc_predict(const mltf_model *m, mltf_arena *a, const pv *data, const pv *params, const call_control *ctl,
                           pv *out, mltf_err *err);
/* The wrapper alone: no schema; params are taken as they are. use_template false: for signatures. */
mltf_status wrapper_predict(const mltf_model *m, mltf_arena *a, const pv *data, const pv *params, bool use_template,
                            const call_control *ctl, pv *out, mltf_err *err);

/* INVALID_INPUT for options that generation refuses; why: which, and what is wrong. */
mltf_status wrap_params_not_valid(const char *pipeline_class, const char *why, mltf_err *err);

/* wrapper_input.c: rows unwrapped, before the check of dictionaries; then data as the task's pipeline takes it. */
mltf_status wrap_unwrap(wrap_call *w, pv *data, mltf_err *err);
mltf_status wrap_prepare(wrap_call *w, pv *data, mltf_err *err);
/* wrapper_output.c: the pipeline's answer as predict() returns it. data: what the pipeline got. */
mltf_status wrap_finish(wrap_call *w, const pv *data, const json *raw, pv *out, mltf_err *err);
/* wrapper_llm.c */
mltf_status wrap_llm(wrap_call *w, const pv *data, pv *out, mltf_err *err);
/* wrapper_conversation.c, wrapper_instruct.c */
mltf_status wrap_conversation(wrap_call *w, const pv *data, pv *out, mltf_err *err);
void conversations_free(mltf_model *m);
bool wrap_is_instruct(const mltf_model *m);
mltf_status wrap_call_instruct(wrap_call *w, const pv *data, json **raw, mltf_err *err);
mltf_status wrap_format_template(wrap_call *w, pv *data, mltf_err *err);

#endif
