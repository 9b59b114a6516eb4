/* sentencepiece models: the protocol buffer, its normalizer, and encoding as sentencepiece itself does it.
 *
 * A .model file is a protocol buffer (sentencepiece_model.proto); of its fields are read
 *
 *   1 pieces { 1 piece, 2 score (float), 3 type }
 *   2 trainer_spec { 3 model_type, 24 treat_whitespace_as_suffix, 35 byte_fallback, 40 unk_id ... 44 unk_surface,
 *     45 unk_piece ... }
 *   3 normalizer_spec { 1 name, 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces,
 *     5 escape_whitespaces } */
#ifndef MLTF_TOKENIZERS_TOK_SPM_H
#define MLTF_TOKENIZERS_TOK_SPM_H

#include "tokenizers/tok_internal.h"

typedef enum {
    SPM_NORMAL = 1,
    SPM_UNKNOWN,
    SPM_CONTROL,
    SPM_USER_DEFINED,
    SPM_UNUSED,
    SPM_BYTE
} spm_type;
typedef enum { SPM_UNIGRAM = 1, SPM_BPE, SPM_WORD, SPM_CHAR } spm_model;

typedef struct tok_spm tok_spm;

mltf_status tok_spm_load(tok_spm **out, const char *path, mltf_err *err);
mltf_status tok_spm_parse(tok_spm **out, const void *blob, size_t n, mltf_err *err);
void tok_spm_free(tok_spm *m);

typedef struct tok_spm_info {
    size_t n; /* pieces */
    spm_model model;
    int32_t unk, bos, eos, pad; /* -1: none */
    bool byte_fallback, add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces,
        whitespace_suffix;
    const void *charsmap;
    size_t charsmap_n;
} tok_spm_info;
const tok_spm_info *tok_spm_about(const tok_spm *m);
void tok_spm_set_dummy_prefix(tok_spm *m, bool on);
int32_t tok_spm_unk_field(const tok_spm *m); /* trainer_spec.unk_id */
mltf_str tok_spm_unk_piece(const tok_spm *m);
mltf_str tok_spm_piece(const tok_spm *m, size_t i);
float tok_spm_score(const tok_spm *m, size_t i);
spm_type tok_spm_type(const tok_spm *m, size_t i);
int32_t tok_spm_id(const tok_spm *m, mltf_str piece);   /* the id of <unk> where there is none */
int32_t tok_spm_find(const tok_spm *m, mltf_str piece); /* -1: none */

typedef struct tok_spm_pieces {
    int32_t *ids;
    mltf_str *pieces; /* [n] as encode_as_pieces() gives them */
    size_t n, cap, pieces_cap;
    mltf_buf text; /* what pieces point into */
} tok_spm_pieces;
void tok_spm_pieces_release(tok_spm_pieces *p);

mltf_status tok_spm_normalize(const tok_spm *m, mltf_buf *out, mltf_str text, mltf_err *err);
mltf_status tok_spm_encode(const tok_spm *m, tok_spm_pieces *out, mltf_str text, mltf_err *err);
mltf_status tok_spm_decode(const tok_spm *m, mltf_buf *out, const int32_t *ids, size_t n,
                           mltf_err *err);
/* Pieces to text, as SentencePieceProcessor.decode_pieces(); unknown pieces stand for themselves. */
mltf_status tok_spm_decode_pieces(const tok_spm *m, mltf_buf *out, const mltf_str *pieces, size_t n,
                                  mltf_err *err);

#endif
