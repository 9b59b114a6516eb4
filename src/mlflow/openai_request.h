/* Requests of OpenAI's API, checked: what openai.c, openai_chat.c work from. */
#ifndef MLTF_MLFLOW_OPENAI_REQUEST_H
#define MLTF_MLFLOW_OPENAI_REQUEST_H

#include "mlflow/llm_text.h"

typedef enum { TOOLS_NONE, TOOLS_AUTO, TOOLS_REQUIRED, TOOLS_NAMED } tool_choice;

typedef struct openai_request {
    const json *body;
    bool chat;
    llm_settings
        set; /* model_config overlaid by the request; stop, n, stream, arguments of generate() */
    bool include_usage; /* stream_options */
    bool logprobs;
    size_t top_logprobs;
    int64_t max_tokens;   /* 0: not given */
    bool no_tokens;       /* completions: max_tokens is 0, for the prompt's own log probabilities */
    const json *messages; /* chat: as templates want them */
    const json *tools;    /* or NULL */
    tool_choice choice;
    mltf_str tool_name;          /* TOOLS_NAMED */
    const json *response_format; /* or NULL */
    const json *template_kwargs; /* or NULL */
    const json *prompts;         /* completions: array of texts or of arrays of ids */
    bool echo;
    size_t best_of;
} openai_request;

/* INVALID_INPUT names the parameter and what it must be. */
mltf_status openai_read_chat(openai_request *r, const mltf_model *m, const json *body,
                             mltf_arena *a, mltf_err *err);
mltf_status openai_read_completion(openai_request *r, const mltf_model *m, const json *body,
                                   mltf_arena *a, mltf_err *err);

/* ---- openai_tools.c ---- */

/* Tools for templates that know none: a system text that describes them, put in front of the messages. */
const json *openai_describe_tools(const json *messages, const json *tools, mltf_arena *a);
/* The schema that a forced call must satisfy. */
json *openai_call_schema(const openai_request *r, mltf_arena *a);
/* Calls in a generated text, in the forms of the usual models. *calls: array of {"id", "type", "function"}, NULL: none.
 * *content: what stands before them. */
void openai_parse_calls(const openai_request *r, mltf_str text, json **calls, mltf_str *content,
                        mltf_arena *a);
/* How much of a text that still grows cannot belong to a call. */
size_t openai_safe_length(mltf_str text);

#endif
