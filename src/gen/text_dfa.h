/* Inside gen/: sets of texts to compute with. A grammar has unions and no intersections; what is regular (the texts
 * of strings and of numbers) has both, and differences, once it is a deterministic automaton over bytes:
 *
 *     text_dfa *x = text_dfa_of_pattern(b, pattern, true), *y = text_dfa_of_pattern(b, other, true);
 *     ast *a = text_dfa_ast(b, text_dfa_without(b, x, y), true);   // matches the one and not the other
 *
 * They live in the builder's arena and fail through it, stickily: NULL then, and every function accepts NULL. All of
 * a builder together are bounded (TEXT_DFA_CELLS), as products may grow without end. */
#ifndef MLTF_GEN_TEXT_DFA_H
#define MLTF_GEN_TEXT_DFA_H

#include "gen/constraint_ast.h"

#define TEXT_DFA_STATES 30000u   /* of one */
#define TEXT_DFA_CELLS  8000000u /* of all tables of a builder */

typedef struct text_dfa {
    uint32_t n; /* states; 0 is the dead one: nothing that is accepted comes behind it */
    uint32_t start;
    unsigned n_classes; /* of bytes that no state tells apart */
    uint8_t byte_class[256];
    uint32_t *next; /* [n][n_classes] */
    bool *accepts;  /* [n] */
} text_dfa;

static inline uint32_t text_dfa_step(const text_dfa *d, uint32_t state, uint8_t byte)
{
    return d->next[(size_t)state * d->n_classes + d->byte_class[byte]];
}

/* An empty automaton of n states to fill in; 0 is the dead one already. */
text_dfa *text_dfa_new(ast_builder *b, uint32_t n, unsigned n_classes);

/* What a tree describes. The tree belongs to a builder of its own, which is released. */
text_dfa *text_dfa_of(ast_builder *b, ast_builder *from, ast *a);
text_dfa *text_dfa_of_pattern(ast_builder *b, mltf_str pattern, bool search);
text_dfa *text_dfa_of_text(ast_builder *b, mltf_str text);

text_dfa *text_dfa_both(ast_builder *b, const text_dfa *x, const text_dfa *y);
text_dfa *text_dfa_either(ast_builder *b, const text_dfa *x, const text_dfa *y);
text_dfa *text_dfa_without(ast_builder *b, const text_dfa *x, const text_dfa *y);

bool text_dfa_is_empty(const text_dfa *d);
/* How many texts it holds, `most` standing for that many and more. */
size_t text_dfa_count(const text_dfa *d, size_t most);

/* As a rule that can be called. json_text: as the inside of a JSON string, each character escaped where it must be. */
ast *text_dfa_ast(ast_builder *b, const text_dfa *d, bool json_text);

#endif
