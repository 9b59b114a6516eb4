/* Constrained decoding: only tokens that keep the text inside a language are allowed.
 *
 *     gen_constraint *c;
 *     TRY(gen_constraint_json_schema(&c, tk, vocab, schema, err));   // or _regex, _grammar, _json_object
 *     gen_request req = {..., .constraint = c};
 *     gen_constraint_free(c);
 *
 * A constraint is compiled once for a tokenizer and is then immutable: any number of requests and threads may
 * use it. A matcher is the place that one sequence has reached in it. */
#ifndef MLTF_GEN_CONSTRAINT_H
#define MLTF_GEN_CONSTRAINT_H

#include "gen/gen.h"

typedef struct gen_matcher gen_matcher;

void gen_constraint_free(gen_constraint *c);

mltf_status gen_matcher_new(gen_matcher **out, const gen_constraint *c, mltf_err *err);
void gen_matcher_free(gen_matcher *m);
mltf_status gen_matcher_copy(gen_matcher *to, const gen_matcher *from,
                             mltf_err *err); /* of the same constraint */

/* allowed[id] = 1 for each of the vocab tokens that may come next; eos ids where the text may end here.
 * allowed comes cleared. None set: the text has nowhere to go, and there is no eos token. */
mltf_status gen_matcher_allowed(gen_matcher *m, uint8_t *allowed, size_t vocab, gen_ids eos,
                                mltf_err *err);
/* Go over a token that was allowed. eos changes nothing. */
mltf_status gen_matcher_accept(gen_matcher *m, int32_t id, mltf_err *err);
bool gen_matcher_complete(const gen_matcher *m); /* the text may end here */
bool gen_matcher_closed(const gen_matcher *m);   /* it may end here and cannot go on */

#endif
