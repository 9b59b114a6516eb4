/* Words that must appear (force_words_ids): how far a sequence has come with them.
 *
 * As in transformers' ConstraintListState: one constraint at a time is in progress; a token that does not
 * continue it sends it back behind the pending ones; constraints are met in any order. A constraint is a list
 * of alternative words; its words are walked as a trie. */
#ifndef MLTF_GEN_FORCED_WORDS_H
#define MLTF_GEN_FORCED_WORDS_H

#include "gen/gen_config.h"

typedef struct forced_state {
    const gen_force *force;
    size_t longest;  /* tokens of the longest word of all constraints */
    size_t *pending; /* [n_pending] of [force->n], in the order in which they are tried */
    size_t n_pending, n_complete;
    size_t current; /* constraint in progress, or SIZE_MAX */
    int32_t *path;  /* [n_path] of [longest] its tokens so far */
    size_t n_path;
    bool completed;
} forced_state;

mltf_status forced_state_init(forced_state *s, const gen_force *force, mltf_arena *arena,
                              mltf_err *err);
void forced_state_reset(forced_state *s, const int32_t *ids,
                        size_t n); /* as if ids had just been generated */
void forced_state_add(forced_state *s, int32_t id);
void forced_state_copy(forced_state *to, const forced_state *from); /* of the same force */
/* Tokens that would make progress, into out[at most max]; returns their number. */
size_t forced_state_advance(const forced_state *s, int32_t *out, size_t max);
size_t
forced_state_bank(const forced_state *s); /* progress: sequences are compared within a bank */

#endif
