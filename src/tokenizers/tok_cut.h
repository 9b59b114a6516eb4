/* Cutting the pieces of a text into smaller ones; added tokens stay whole. */
#ifndef MLTF_TOKENIZERS_TOK_CUT_H
#define MLTF_TOKENIZERS_TOK_CUT_H

#include "tokenizers/tok_internal.h"

/* What becomes of the text that a separator matches, in the words of tokenizer.json. */
typedef enum {
    CUT_REMOVED,
    CUT_ISOLATED,
    CUT_WITH_PREVIOUS,
    CUT_WITH_NEXT,
    CUT_CONTIGUOUS,
} cut_behaviour;

/* Is this character a separator? */
typedef bool (*cut_test)(uint32_t cp, uint32_t arg);

mltf_status tok_cut_chars(tok_state *s, cut_test test, uint32_t arg, cut_behaviour b,
                          mltf_err *err);
/* Separators are what the pattern matches; `invert`: what it does not. */
mltf_status tok_cut_pattern(tok_state *s, const tok_pattern *pattern, bool invert, cut_behaviour b,
                            mltf_err *err);
/* Pieces from a matcher that covers all text. */
mltf_status tok_cut_matcher(tok_state *s, tok_matcher match, mltf_err *err);
mltf_status tok_cut_words(tok_state *s, mltf_err *err);   /* \w+|[^\w\s]+ */
mltf_status tok_cut_scripts(tok_state *s, mltf_err *err); /* where Unicode's script changes */
mltf_status tok_cut_length(tok_state *s, size_t chars, mltf_err *err);

/* For those that write the text anew: append s->next[*n], unless it is empty; then s->next becomes the pieces. */
bool tok_piece_add(tok_state *s, size_t *n, size_t start, size_t end, int32_t added);
void tok_pieces_swap(tok_state *s, size_t n);

#endif
