/* Decoding as a pipeline of stages, see tok_decode.c. */
#ifndef MLTF_TOKENIZERS_TOK_DECODE_H
#define MLTF_TOKENIZERS_TOK_DECODE_H

#include "tokenizers/tok_internal.h"

typedef struct stage {
    const tok_decoder *d;
    bool fused; /* its input is one token in parts */
    bool began;
    size_t stripped; /* Strip: characters taken from the front */
    mltf_buf held;   /* what it has not handed on */
    mltf_buf work;
} stage;

typedef struct tok_stages {
    stage *v;
    size_t n, cap;
    bool joins, any; /* no decoder: tokens are joined with spaces */
} tok_stages;

mltf_status tok_stages_begin(tok_stages *s, const tok_decoder *d, mltf_err *err);
mltf_status tok_stages_feed(tok_stages *s, mltf_str token, mltf_buf *out,
                            mltf_err *err); /* appends to out */
mltf_status tok_stages_end(tok_stages *s, mltf_buf *out, mltf_err *err);
void tok_stages_release(tok_stages *s);
mltf_status tok_replace_into(mltf_buf *out, const tok_pattern *pattern, mltf_str text, mltf_str to,
                             mltf_err *err);

#endif
