/* What the converters of slow checkpoints share. */
#ifndef MLTF_TOKENIZERS_TOK_CONVERT_H
#define MLTF_TOKENIZERS_TOK_CONVERT_H

#include "tokenizers/tok_config.h"
#include "tokenizers/tok_parts.h"

static inline size_t char_bytes(const char *p, size_t n)
{
    size_t len = 1;
    while (len < n && tok_is_cont(p[len])) len++;
    return len;
}

mltf_status tok_read_vocab_json(tok_vocab *v, const char *dir, const char *name, mltf_err *err);

mltf_status tok_convert_spm(tokenizer *tk, tok_settings *s, const char *dir, mltf_err *err);
/* pegasus: how many pieces stand before those of the file, "offset" of the configuration. */
mltf_status tok_pegasus_offset(int64_t *out, const tok_settings *s, mltf_err *err);
mltf_status tok_post_spm(tokenizer *tk, tok_settings *s, mltf_err *err);
mltf_status tok_post_whisper(tokenizer *tk, tok_settings *s, mltf_err *err);
bool tok_is_tiktoken(const char *dir); /* tokenizer.model, but of lines "base64 rank" */
mltf_status tok_convert_tiktoken(tokenizer *tk, tok_settings *s, const char *dir, mltf_err *err);
/* A class that has only a slow form, and is known here. */
mltf_status tok_slow_load(tokenizer *tk, tok_settings *s, const char *dir, bool *handled,
                          mltf_err *err);

#endif
