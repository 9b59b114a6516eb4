/* Tokenizers that transformers has only in Python: no tokenizer.json can say what they do. */
#ifndef MLTF_TOKENIZERS_TOK_SLOW_H
#define MLTF_TOKENIZERS_TOK_SLOW_H

#include "tokenizers/tok_internal.h"

/* What was decoded may change as a whole when more comes. */
bool tok_slow_holds(const tok_slow *s);
void tok_slow_free(tok_slow *s);
/* Append the ids of a text to e (offsets are all empty: Python has none). */
mltf_status tok_slow_encode(const tokenizer *tk, tok_scratch *s, tok_enc *e, mltf_str text,
                            int32_t type, mltf_err *err);
mltf_status tok_slow_finish(const tokenizer *tk, tok_enc *out, tok_enc *parts, size_t n,
                            const tok_options *opts, mltf_err *err);
size_t tok_slow_num_added(const tokenizer *tk, bool pair);
mltf_status tok_slow_decode(const tokenizer *tk, mltf_buf *out, const int32_t *ids, size_t n,
                            bool skip_special, mltf_err *err);

#endif
