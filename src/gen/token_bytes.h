/* The bytes that a token adds to a text, from how its vocabulary writes tokens. */
#ifndef MLTF_GEN_TOKEN_BYTES_H
#define MLTF_GEN_TOKEN_BYTES_H

#include "tokenizers/tokenizer.h"

typedef enum {
    GEN_FORM_PLAIN,      /* as they are */
    GEN_FORM_BYTE_LEVEL, /* GPT-2: each byte as a printable character */
    GEN_FORM_PIECES,     /* SentencePiece: U+2581 for space, <0x0A> for bytes */
} gen_vocab_form;

gen_vocab_form gen_vocab_form_of(const tokenizer *tk);
/* Append the bytes of a token as the vocabulary has it; tokens that were added in plain text are that text. */
void gen_token_bytes(mltf_buf *out, mltf_str token, gen_vocab_form form);

#endif
