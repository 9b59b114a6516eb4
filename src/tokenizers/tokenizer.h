/* Text to token ids and back, exactly as Hugging Face's `tokenizers` (and, for checkpoints without a
 * tokenizer.json, as transformers converts them). A tokenizer is immutable and shared by threads.
 *
 *     tokenizer *tk;
 *     TRY(tokenizer_load(&tk, dir, err));
 *     tok_encoding enc = TOK_ENCODING_INIT;
 *     TRY(tokenizer_encode(tk, &enc, text, (mltf_str){0}, NULL, err));     // enc.ids[0 .. enc.n)
 *     ...
 *     tok_encoding_release(&enc);
 *     tokenizer_free(tk); */
#ifndef MLTF_TOKENIZERS_TOKENIZER_H
#define MLTF_TOKENIZERS_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "formats/json.h"

typedef struct tokenizer tokenizer;

/* dir holds tokenizer.json, or the files of a slow tokenizer, and optionally tokenizer_config.json,
 * special_tokens_map.json, added_tokens.json, chat_template.jinja. config.json is consulted for the class
 * where tokenizer_config.json names none. */
mltf_status tokenizer_load(tokenizer **out, const char *dir, mltf_err *err);
mltf_status tokenizer_load_json(tokenizer **out, const char *json, size_t n,
                                mltf_err *err); /* tokenizer.json alone */
void tokenizer_free(tokenizer *tk);

typedef struct tok_span {
    uint32_t start, end;
} tok_span;

typedef struct tok_encoding {
    int32_t *ids;         /* [n] */
    int32_t *type_ids;    /* [n] */
    tok_span *offsets;    /* [n] bytes of the original text; {0,0} for special tokens added */
    int32_t *word_ids;    /* [n] -1: none */
    int8_t *sequence_ids; /* [n] 0, 1; -1 for special tokens added */
    uint8_t *special;     /* [n] special_tokens_mask */
    uint8_t *mask;        /* [n] attention_mask: 0 where `raw` padded */
    tok_span *trim;       /* internal */
    size_t n, cap;
} tok_encoding;
#define TOK_ENCODING_INIT                                                                          \
    {                                                                                              \
        0                                                                                          \
    }
void tok_encoding_release(tok_encoding *e);

typedef enum {
    TOK_TRUNCATE_NONE,
    TOK_TRUNCATE_LONGEST_FIRST,
    TOK_TRUNCATE_ONLY_FIRST,
    TOK_TRUNCATE_ONLY_SECOND
} tok_truncate;

typedef struct tok_options {
    bool no_special_tokens; /* add_special_tokens=False */
    tok_truncate truncation;
    size_t max_length;  /* 0: the tokenizer's model_max_length where truncation is on */
    size_t stride;      /* of overflowing pieces */
    bool truncate_left; /* overrides the tokenizer's truncation_side only if set */
    /* as `tokenizers` alone: truncation and padding stored in tokenizer.json are in force */
    bool raw;
    bool is_split_into_words; /* texts come as tokenizer_encode_words() */
    bool ids_only; /* only ids and type_ids are wanted: faster; the other arrays are NULL then */
} tok_options;

/* Encode a text, or a pair (pair.p not NULL; an empty second text counts as none, as in transformers, unless
 * `raw`). Replaces what enc held. */
mltf_status tokenizer_encode(const tokenizer *tk, tok_encoding *enc, mltf_str text, mltf_str pair,
                             const tok_options *opts, mltf_err *err);
mltf_status tokenizer_encode_words(const tokenizer *tk, tok_encoding *enc, const mltf_str *words,
                                   size_t n_words, const tok_options *opts, mltf_err *err);
/* With return_overflowing_tokens: *encs receives *n encodings, the first being the kept part. Release each and free(*encs). */
mltf_status tokenizer_encode_overflow(const tokenizer *tk, tok_encoding **encs, size_t *n,
                                      mltf_str text, mltf_str pair, const tok_options *opts,
                                      mltf_err *err);

/* Append the text of ids. clean_up: -1 the tokenizer's own clean_up_tokenization_spaces, 0 no, 1 yes. */
mltf_status tokenizer_decode(const tokenizer *tk, mltf_buf *out, const int32_t *ids, size_t n,
                             bool skip_special, int clean_up, mltf_err *err);

/* convert_tokens_to_string(): the decoder on tokens that need not be in the vocabulary (token
 * classification joins words with it); without a decoder they are joined by spaces. */
mltf_status tokenizer_decode_tokens(const tokenizer *tk, mltf_buf *out, const mltf_str *tokens,
                                    size_t n, mltf_err *err);

/* Streaming: the text that each further id adds. Never splits a character, and what it gave is never
 * taken back: the pieces concatenated equal tokenizer_decode() of all ids without clean-up. */
typedef struct tok_stream tok_stream;
mltf_status tok_stream_new(tok_stream **out, const tokenizer *tk, bool skip_special, mltf_err *err);
mltf_status tok_stream_push(tok_stream *s, int32_t id, mltf_buf *text,
                            mltf_err *err); /* appends; maybe nothing yet */
mltf_status tok_stream_end(tok_stream *s, mltf_buf *text,
                           mltf_err *err); /* appends what was held back */
void tok_stream_free(tok_stream *s);

/* Vocabulary and special tokens. Ids are -1 where absent. */
size_t tokenizer_vocab_size(const tokenizer *tk); /* added tokens included: len(tokenizer) */
int32_t tokenizer_token_to_id(const tokenizer *tk, mltf_str token);
mltf_str tokenizer_id_to_token(const tokenizer *tk, int32_t id); /* p NULL if there is none */
bool tokenizer_is_special(const tokenizer *tk, int32_t id);
typedef enum {
    TOK_BOS,
    TOK_EOS,
    TOK_UNK,
    TOK_SEP,
    TOK_PAD,
    TOK_CLS,
    TOK_MASK,
    TOK_SPECIAL_COUNT
} tok_special;
int32_t tokenizer_special_id(const tokenizer *tk, tok_special which);
mltf_str tokenizer_special_token(const tokenizer *tk,
                                 tok_special which);        /* p NULL if there is none */
size_t tokenizer_num_added(const tokenizer *tk, bool pair); /* num_special_tokens_to_add */

/* The model's continuing_subword_prefix ("##"): it knows words. Empty for none and for models without one. */
mltf_str tokenizer_continuing_prefix(const tokenizer *tk);
bool tokenizer_is_fast(
    const tokenizer *tk); /* false: transformers has only a slow class for it (no offsets) */

/* From tokenizer_config.json and around it. */
const char *tokenizer_class(
    const tokenizer *tk); /* "BertTokenizerFast", as transformers would name the loaded one */
size_t tokenizer_model_max_length(const tokenizer *tk); /* SIZE_MAX: no bound */
bool tokenizer_pad_left(const tokenizer *tk);
int32_t tokenizer_pad_type_id(const tokenizer *tk); /* 0; 3 for XLNet */
bool tokenizer_adds_type_ids(const tokenizer *tk); /* token_type_ids among model_input_names */
const json *tokenizer_config(const tokenizer *tk); /* tokenizer_config.json, or NULL */
/* The chat template source: name NULL for the default one ("default" among several). p NULL: none. */
mltf_str tokenizer_chat_template(const tokenizer *tk, const char *name);

#endif
