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

/* What the text of a list of tokens is made of. */
typedef struct tok_dec_plan {
    bool by_token;      /* the texts of the tokens, one after the other */
    bool first_differs; /* the first token's text is another than it would be later */
    bool byte_level;    /* tokens stand for bytes, and the whole is made valid */
    /* "<0x41>" stands for a byte; a run of them that is no text is U+FFFD for each */
    bool byte_fallback;
    size_t strip;      /* leading characters strip_char of the whole that go, at most */
    uint32_t strip_char;
} tok_dec_plan;
tok_dec_plan tok_decoder_plan(const tok_decoder *d);
/* For a plan by_token: only the stages that make a token's text. */
mltf_status tok_stages_begin_tokens(tok_stages *s, const tok_decoder *d, mltf_err *err);
mltf_status tok_stages_token(tok_stages *s, mltf_str token, bool first, mltf_buf *out,
                             mltf_err *err);
int tok_fallback_byte(mltf_str token); /* the byte of "<0x41>", or -1 */

mltf_status tok_replace_into(mltf_buf *out, const tok_pattern *pattern, mltf_str text, mltf_str to,
                             mltf_err *err);

#endif
