/* llm/v1 over a pipeline: what MLflow's wrapper answers for llm/v1/chat, llm/v1/completions and
 * llm/v1/embeddings (llm_v1.c), and OpenAI's own requests (openai.c).
 *
 * The wrapper (wrapper.c) has read the frame or object; here come one input a row and that row's options:
 * model_config overlaid by the request's fields that are not null. Option names are OpenAI's (max_tokens,
 * stop, n, stream, frequency_penalty …) or transformers' own (max_new_tokens, top_k …). */
#ifndef MLTF_MLFLOW_LLM_V1_H
#define MLTF_MLFLOW_LLM_V1_H

#include "mlflow/model.h"

typedef struct llm_row {
    const json *input;   /* chat: array of messages; completions, embeddings: a text */
    const json *options; /* object or NULL */
} llm_row;

/* task: "llm/v1/chat", "llm/v1/completions" or "llm/v1/embeddings". *out, in the arena: an array of one reply object
 * a row (id, object, created, model, usage, choices), or, for embeddings, the one object {"object": "list", "data",
 * "usage"}. Errors and messages are MLflow's: INTERNAL "Failed to apply chat template: …", INVALID_INPUT "The params
 * provided to the `predict` method are not valid for pipeline TextGenerationPipeline." … */
mltf_status llm_v1_predict(const mltf_model *m, const char *task, const llm_row *rows, size_t n, const call_control *ctl,
                           mltf_arena *a, json **out, mltf_err *err);

/* OpenAI's requests, as mltf_openai() promises. ctl has cancel and deadline; on_event may be NULL. */
mltf_status openai_call(const mltf_model *m, const char *endpoint, const json *request, const call_control *ctl,
                        mltf_stream_fn on_event, void *user, mltf_buf *answer, mltf_err *err);

#endif
