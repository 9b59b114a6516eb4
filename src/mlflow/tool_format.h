/* Calls of tools in a chat model's reply: each family of models writes them in its own form, which its chat template
 * shows. Given back as OpenAI's `tool_calls`.
 *
 *     const tool_format *f = tool_format_of(chat_template);
 *     // while the reply grows: what may already be shown
 *     mltf_str shown = tool_text_so_far(f, tools, text, &scratch);
 *     // when it is whole
 *     tool_calls_parse(f, tools, text, &arena, &reply);
 *
 * A reply that only looks like a call and is none (malformed JSON, no name) is content, never an error. Decode replies
 * *with* special tokens for this: the marks may be special. To add a format: one row in tool_format.c. */
#ifndef MLTF_MLFLOW_TOOL_FORMAT_H
#define MLTF_MLFLOW_TOOL_FORMAT_H

#include "base/buf.h"
#include "formats/json.h"

/* What stands between the marks of a call. */
typedef enum {
    TOOL_BODY_JSON, /* {"name": N, "arguments": {…}} or a list of such; "parameters" and "tool_name" serve too */
    TOOL_BODY_NAMED, /* N SEPARATOR {…} */
    TOOL_BODY_TAGS,  /* N, then each argument between marks of its own, as text */
    TOOL_BODY_PYTHON, /* [N(key=value, …), …] with Python's literals; without brackets one a line */
} tool_body;

/* How the whole reply is made up. */
typedef enum {
    TOOL_REPLY_MARKED,   /* text, then calls behind their mark */
    TOOL_REPLY_HARMONY,  /* channels: analysis, commentary (calls), final */
    TOOL_REPLY_CHANNELS, /* text and thoughts between marks as well: `text` and `thoughts` below */
    TOOL_REPLY_SECTIONS, /* ">>>all\n" text, ">>>name\n" arguments; the first ">>>" is the prompt's */
} tool_reply_form;

typedef enum {
    TOOL_ID_OPENAI,
    TOOL_ID_NINE,
    TOOL_ID_OWN
} tool_id; /* OWN: what the reply calls it */

typedef struct tool_marks {
    const char *open, *close; /* close NULL: up to the end */
} tool_marks;

typedef struct tool_format {
    const char *name;
    const char *in_template[2]; /* all of these stand in the chat template; NULL: nothing more */
    tool_reply_form form;
    const char *section; /* what stands before the first call's own mark, or NULL */
    tool_marks calls[2]; /* around a call or a list of calls: the forms in use */
    tool_body body;
    const char *separator; /* TOOL_BODY_NAMED: between name and arguments */
    /* TOOL_BODY_TAGS: behind the name; NULL: the first key's mark ends it */
    const char *name_close;
    tool_marks key, value; /* TOOL_BODY_TAGS: value.open NULL where it begins behind key.close */
    tool_marks text, thoughts; /* TOOL_REPLY_CHANNELS */
    tool_id id;
} tool_format;

/* The format whose marks the template holds; for one that knows tools and shows none of them, bare JSON. Never NULL. */
const tool_format *tool_format_of(mltf_str chat_template);
/* The format that models are asked for where their template knows no tools: Hermes'. */
const tool_format *tool_format_hermes(void);
/* Also without tools such replies are made of channels, which only the marks tell apart. */
bool tool_format_has_channels(const tool_format *f);

typedef struct tool_reply {
    json *
        calls; /* [{"id": …, "type": "function", "function": {"name": …, "arguments": "{…}"}}], or NULL */
    mltf_str content; /* what stands before the calls, or in the channel for the user */
} tool_reply;

/* tools: the request's, for the types of arguments that come as text, and to know a bare JSON object for a call.
 * Everything in the arena. */
mltf_status tool_calls_parse(const tool_format *f, const json *tools, mltf_str text, mltf_arena *a,
                             tool_reply *out, mltf_err *err);

/* What of a text that still grows is content for certain: never taken back, and always the beginning of the content
 * that tool_calls_parse() finds. A slice of text, or of scratch. */
mltf_str tool_text_so_far(const tool_format *f, const json *tools, mltf_str text,
                          mltf_buf *scratch);

#endif
