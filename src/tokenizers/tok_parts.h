/* Parts of a tokenizer that its class gives it, said as a tokenizer.json would say them. */
#ifndef MLTF_TOKENIZERS_TOK_PARTS_H
#define MLTF_TOKENIZERS_TOK_PARTS_H

#include "tokenizers/tok_internal.h"

/* Parts as JSON texts; NULL leaves one as it is. */
mltf_status tok_set_parts(tokenizer *tk, const char *normalizer, const char *pretok,
                          const char *post, const char *decoder, mltf_err *err);
/* Templates in words, as "%c:0 $A:0 %s:0". */
mltf_status tok_set_template_words(tokenizer *tk, const char *single, const char *pair,
                                   mltf_err *err);
/* The post-processor as a template of these tokens, which have ids. both: they stand around each sequence; else around the
 * two together. */
mltf_status tok_set_template(tokenizer *tk, const mltf_str *before, size_t n_before,
                             const mltf_str *behind, size_t n_behind, bool both, mltf_err *err);

#endif
