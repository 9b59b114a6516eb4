/* What the parts of OpenAI's API (openai*.c) share: checked requests, and pieces of replies. */
#ifndef MLTF_MLFLOW_OPENAI_REQUEST_H
#define MLTF_MLFLOW_OPENAI_REQUEST_H

#include "mlflow/llm_text.h"

typedef enum { TOOLS_NONE, TOOLS_AUTO, TOOLS_REQUIRED, TOOLS_NAMED } tool_choice;

typedef struct openai_request {
    const json *body;
    bool chat;
    /* model_config overlaid by the request; stop, n, stream, arguments of generate() */
    llm_settings set;
    bool include_usage; /* stream_options */
    bool logprobs;
    size_t top_logprobs;
    int64_t max_tokens;   /* 0: not given */
    bool no_tokens;       /* completions: max_tokens is 0, for the prompt's own log probabilities */
    const json *messages; /* chat: as templates want them */
    const json *tools;    /* or NULL */
    const json *template_tools; /* those that the template is given as `tools`, or NULL */
    tool_choice choice;
    mltf_str tool_name;          /* TOOLS_NAMED */
    bool one_call;               /* parallel_tool_calls is false */
    const json *response_format; /* or NULL */
    const json *template_kwargs; /* or NULL */
    bool generation_prompt;      /* chat: the template begins the reply */
    bool continue_final;         /* chat: the reply goes on with the last message */
    const json *prompts;         /* completions: array of texts or of arrays of ids */
    mltf_str suffix; /* completions: what comes behind the text that is wanted; n 0: nothing */
    bool echo;
    size_t best_of;
} openai_request;

/* INVALID_INPUT names the parameter and what it must be. */
mltf_status openai_read_chat(openai_request *r, const mltf_model *m, const json *body,
                             mltf_arena *a, mltf_err *err);
mltf_status openai_read_completion(openai_request *r, const mltf_model *m, const json *body,
                                   mltf_arena *a, mltf_err *err);

/* ---- openai_tools.c ---- */

/* Puts the tools where the chat template looks for them; one that knows none gets a system text that describes them. */
void openai_tell_tools(openai_request *r, mltf_str chat_template, mltf_arena *a);
/* The schema that a forced call must satisfy. */
json *openai_call_schema(const openai_request *r, mltf_arena *a);

/* ---- openai_infill.c ---- */

/* Ids of a prompt that asks for what stands between two texts. INVALID_INPUT where the tokenizer has no tokens for it. */
mltf_status openai_encode_infill(const pipeline *p, llm_ids *out, mltf_str prefix, mltf_str suffix,
                                 mltf_err *err);
/* The token that ends such a text where it is not the model's usual one, or -1. */
int32_t openai_infill_end(const pipeline *p);

/* ---- openai_logprobs.c ---- */

/* Rows of scores [n][width], each a token's own and the top ones, as "logprobs" of a chat. */
json *openai_chat_logprobs(const mltf_model *m, const gen_logprob *scores, size_t n, size_t width,
                           mltf_arena *a);
/* The same of a completion. *offset: characters before the first token, moved on. What has no probability, the
 * first token of an echoed prompt, has null. */
json *openai_completion_logprobs(const mltf_model *m, const gen_logprob *scores, size_t n,
                                 size_t width, int64_t *offset, mltf_arena *a);

/* ---- openai_embeddings.c ---- */

mltf_status openai_embeddings(const mltf_model *m, const json *request, const call_control *ctl,
                              mltf_arena *a, mltf_buf *answer, mltf_err *err);

/* ---- openai.c ---- */

extern const json_write_options openai_json; /* how replies are written */

#endif
