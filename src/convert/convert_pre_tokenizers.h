/* How text is split before byte-level BPE: a GGUF file has a name for it, tokenizer.json the rules. */
#ifndef MLTF_CONVERT_CONVERT_PRE_TOKENIZERS_H
#define MLTF_CONVERT_CONVERT_PRE_TOKENIZERS_H

#include <stdbool.h>

#include "base/str.h"

typedef enum { SPLIT_BYTE_LEVEL, SPLIT_DIGITS_BYTE_LEVEL, SPLIT_PATTERNS } split_kind;

typedef struct pre_tokenizer {
    const char *names[20]; /* values of tokenizer.ggml.pre, NULL behind the last */
    split_kind kind;
    const char *patterns[7];           /* of SPLIT_PATTERNS, NULL behind the last */
    bool nfc, ignore_merges, adds_bos; /* adds_bos: llama.cpp's default for it */
} pre_tokenizer;

const pre_tokenizer *convert_pre_tokenizer_find(mltf_str name); /* NULL if unknown */

#endif
