/* Rewrites a regular expression of oniguruma (Ruby syntax, Unicode 16) for PCRE2. */
#ifndef MLTF_TOKENIZERS_TOK_ONIG_H
#define MLTF_TOKENIZERS_TOK_ONIG_H

#include "base/buf.h"

mltf_status tok_onig_translate(mltf_buf *out, mltf_str source, mltf_err *err);

#endif
