/* apply_chat_template(messages, tokenize=False) of transformers 4.57. */
#ifndef MLTF_TEMPLATES_CHAT_TEMPLATE_H
#define MLTF_TEMPLATES_CHAT_TEMPLATE_H

#include "templates/template.h"
#include "tokenizers/tokenizer.h"

typedef struct chat_options {
    const char *template_name;   /* among several; NULL: "tool_use" where tools are given and it exists, else "default" */
    mltf_str template_source;    /* overrides the tokenizer's; p NULL: its own */
    const json *tools;           /* array of function schemas, or NULL */
    const json *documents;       /* array, or NULL */
    bool add_generation_prompt;
    bool continue_final_message;
    const json *kwargs;          /* further variables (enable_thinking …), or NULL */
    jinja_options jinja;
} chat_options;

/* messages: array of objects. Special tokens are given by name (bos_token …). Appends to out. */
mltf_status chat_template_apply(const tokenizer *tk, const json *messages, const chat_options *opts, mltf_buf *out,
                                mltf_err *err);

#endif
