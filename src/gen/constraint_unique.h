/* Inside gen/: what no set of places in a grammar can say: that the items of an array, or the names of an object's
 * members, all differ.
 *
 * The grammar marks the brackets of such arrays and objects (ast_mark). A matcher of a constraint with marks keeps
 * the text of those that are open, without blanks, and with it checks each byte: one that would end an item which
 * was there before is not gone over, and no token that does so is allowed, nor one behind which every way on leads
 * to such an item. Constraints without marks have none of this. */
#ifndef MLTF_GEN_CONSTRAINT_UNIQUE_H
#define MLTF_GEN_CONSTRAINT_UNIQUE_H

#include "gen/constraint_ast.h"

typedef struct unique_text unique_text;

unique_text *unique_new(void); /* NULL: no memory */
void unique_free(unique_text *u);
bool unique_copy(unique_text *to, const unique_text *from);

/* Go over bytes from a set of places; false where one leaves the language or repeats an item, and nothing moved then.
 * The constraint's lock is held by the caller, here and below. */
bool unique_accept(unique_text *u, const gen_constraint *c, uint32_t *set, const char *p, size_t n);

/* Take back those of the allowed tokens that repeat an item, or cannot but do so. */
void unique_restrict(unique_text *u, const gen_constraint *c, uint32_t set, const gen_trie *t,
                     uint8_t *allowed, size_t n);

#endif
