/* Calls of tools in a model's reply: found in the text, given back as OpenAI's `tool_calls`.
 *
 *     tool_format f = tool_format_of(chat_template);
 *     TRY(tool_calls_parse(f, reply, &arena, &calls, &content, err));
 *     // calls: [{"id": "call_…", "type": "function", "function": {"name": "…", "arguments": "{…}"}}] or NULL
 *
 * A reply that only looks like a call and is not one (malformed JSON, no name) is content, never an error. */
#ifndef MLTF_GEN_TOOL_CALLS_H
#define MLTF_GEN_TOOL_CALLS_H

#include "gen/constraint.h"

typedef enum {
    TOOL_FORMAT_NONE, /* the template knows nothing of tools */
    TOOL_FORMAT_HERMES, /* Hermes, Qwen, SmolLM3: <tool_call>{"name": …, "arguments": …}</tool_call> */
    TOOL_FORMAT_LLAMA3, /* {"name": …, "parameters": …}, maybe after <|python_tag|>, several with ";" */
    TOOL_FORMAT_MISTRAL, /* [TOOL_CALLS] [{"name": …, "arguments": …}, …] */
} tool_format;

/* From the marks that the source of the chat template holds. */
tool_format tool_format_of(mltf_str chat_template);

/* *calls: an array in the arena, or NULL when there are none. *content: the text around the calls, trimmed (in the
 * arena; p NULL when nothing is left beside calls). Decode replies *with* special tokens for this: the marks may
 * be special. `seed` makes the ids of the calls. */
mltf_status tool_calls_parse(tool_format format, mltf_str reply, uint64_t seed, mltf_arena *arena,
                             json **calls, mltf_str *content, mltf_err *err);

/* tool_choice: "required" (any of `tools`) or {"type": "function", "function": {"name": …}}: a constraint that lets
 * the reply be exactly one such call in the format, its arguments satisfying the function's schema. *out is NULL
 * for "auto" and "none" and without tools. */
mltf_status tool_choice_constraint(gen_constraint **out, const gen_trie *trie, tool_format format,
                                   const json *tools, const json *tool_choice, mltf_err *err);

#endif
