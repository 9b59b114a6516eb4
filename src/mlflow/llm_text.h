/* What llm/v1 and OpenAI's API have in common: prompts from messages, options to arguments of generate(),
 * texts from tokens, stop strings, identifiers. */
#ifndef MLTF_MLFLOW_LLM_TEXT_H
#define MLTF_MLFLOW_LLM_TEXT_H

#include "mlflow/model.h"
#include "templates/chat_template.h"

/* A growing list of token ids; from malloc. */
typedef struct llm_ids {
    int32_t *p; /* [n] */
    size_t n;
} llm_ids;
void llm_ids_release(llm_ids *ids);

mltf_status llm_encode(const pipeline *p, llm_ids *out, mltf_str text, bool special_tokens,
                       size_t max_length, mltf_err *err);
/* Text of ids without special tokens (or with), appended. clean_up as tokenizer_decode() has it. */
mltf_status llm_decode(const pipeline *p, mltf_buf *out, const int32_t *ids, size_t n,
                       bool skip_special, int clean_up, mltf_err *err);

/* The chat template's text for messages. INTERNAL "Failed to apply chat template: …",
 * INVALID_INPUT where messages are no list of objects, both in MLflow's words. */
mltf_status llm_render_chat(const pipeline *p, const json *messages, const chat_options *options,
                            mltf_buf *out, mltf_err *err);

/* Options in OpenAI's or transformers' names become arguments of generate(); null values count as not given. */
typedef struct llm_settings {
    json *kwargs;     /* object for pipeline_gen_config() */
    const json *stop; /* array of texts, or NULL */
    size_t n;         /* choices */
    bool stream;
    const json *tools;  /* or NULL */
    int64_t max_length; /* given, or 0: also cuts the prompt, as the pipeline does */
    int64_t max_new;    /* max_new_tokens given, or 0 */
} llm_settings;
mltf_status llm_read_settings(llm_settings *s, const json *options, mltf_arena *a, mltf_err *err);

/* Where in text the first stop string begins, or text.n. */
size_t llm_find_stop(mltf_str text, const json *stop);
/* Bytes at the end of text that may be the beginning of a stop string. */
size_t llm_stop_tail(mltf_str text, const json *stop);

void llm_uuid4(char out[37]);      /* random, dashed, lower case */
void llm_hex(char *out, size_t n); /* n random hexadecimal digits and a NUL */
mltf_str llm_skip_code_points(mltf_str s, size_t n);

#endif
