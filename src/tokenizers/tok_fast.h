#ifndef MLTF_TOKENIZERS_TOK_FAST_H
#define MLTF_TOKENIZERS_TOK_FAST_H

#include "tokenizers/tok_internal.h"

bool tok_fast_bert_fits(const tokenizer *tk);
/* From a text to s->tokens, whose places are then those of the text. */
mltf_status tok_fast_bert(const tokenizer *tk, tok_scratch *s, mltf_str text, bool spans,
                          mltf_err *err);
/* From the pieces of s->state to s->tokens, where tk->bytes_path is set. */
mltf_status tok_fast_bytes(const tokenizer *tk, tok_scratch *s, mltf_err *err);

#endif
