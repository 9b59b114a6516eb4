/* Constrained decoding: only tokens that keep the text inside a language are allowed.
 *
 *     gen_trie *trie;
 *     TRY(gen_trie_new(&trie, tk, vocab, err));              // once a tokenizer, tens of milliseconds
 *     gen_constraint *c;
 *     TRY(gen_constraint_json_schema(&c, trie, schema, err)); // or _regex, _grammar, _response_format
 *     gen_request req = {..., .constraint = c};
 *     gen_constraint_free(c);
 *     gen_trie_free(trie);
 *
 * How it works. All three kinds of description become a grammar over bytes: rules whose alternatives are
 * sequences of byte sets and calls of rules. A matcher stands on a set of (place in a rule, stack of places to
 * return to); sets that were met are kept with their transitions, so that going over a byte is mostly a table
 * lookup, and with the tokens that they allow, found by one walk over the trie of all tokens' bytes.
 *
 * A constraint may be used by any number of requests and threads: what it learns is kept under a lock. A matcher
 * is the place that one sequence has reached in it. */
#ifndef MLTF_GEN_CONSTRAINT_H
#define MLTF_GEN_CONSTRAINT_H

#include "gen/gen.h"

/* All tokens of a vocabulary by the bytes that they add to a text; special tokens are left out. The trie is
 * immutable and must outlive its constraints. vocab: the model's (ids past the tokenizer's are never allowed). */
typedef struct gen_trie gen_trie;
mltf_status gen_trie_new(gen_trie **out, const tokenizer *tk, size_t vocab, mltf_err *err);
/* The same from the bytes of each token; n 0: not a token that text is made of. */
mltf_status gen_trie_from_tokens(gen_trie **out, const mltf_str *tokens, size_t vocab,
                                 mltf_err *err);
void gen_trie_free(gen_trie *t);
mltf_str gen_trie_bytes(const gen_trie *t, int32_t id); /* what a token adds; p NULL: special or unknown */

/* Text that matches the whole pattern: Python's syntax without look-around, back-references and \b; ^ and $ at
 * the ends mean nothing. INVALID_INPUT for a malformed pattern, UNSUPPORTED for what no finite automaton does. */
mltf_status gen_constraint_regex(gen_constraint **out, const gen_trie *trie, mltf_str pattern,
                                 mltf_err *err);

/* A grammar in the notation of GBNF; the text derives from the rule "root":
 *     root ::= "yes" | "no" (" " [a-z]+){0,3}     # comment
 * Strings in quotes, sets [a-z] [^\n], ".", ( ), *, +, ?, {m}, {m,n}, {m,}. Left recursion is refused. */
mltf_status gen_constraint_grammar(gen_constraint **out, const gen_trie *trie, mltf_str grammar,
                                   mltf_err *err);

/* JSON that satisfies a schema (draft 2020-12, and what older drafts wrote otherwise): all its keywords, $ref into the
 * document with recursion, and of formats date, time, date-time, uuid, ipv4, ipv6, email, hostname, uri, duration.
 * What is written always satisfies the schema, but not all that satisfies it can be written: members come in the
 * order of `properties`, and beside those that are named none, as in OpenAI's strict mode, unless
 * additionalProperties or patternProperties say so; keywords without "type" mean the type they speak of; numbers, blanks
 * and dates keep to sane forms. uniqueItems is kept by the matcher (constraint_unique.h). UNSUPPORTED names what cannot be told, as `not` of a format, or grows too large;
 * INVALID_INPUT where nothing satisfies the schema, with the reason. */
mltf_status gen_constraint_json_schema(gen_constraint **out, const gen_trie *trie,
                                       const json *schema, mltf_err *err);

/* OpenAI's response_format: {"type": "text"} (*out NULL), {"type": "json_object"}, {"type": "json_schema",
 * "json_schema": {"schema": …}}; and, beyond OpenAI's, {"type": "regex", "pattern": …} and
 * {"type": "grammar", "grammar": …}. */
mltf_status gen_constraint_response_format(gen_constraint **out, const gen_trie *trie,
                                           const json *format, mltf_err *err);

void gen_constraint_free(gen_constraint *c);

/* ---- matching ------------------------------------------------------------------------------ */

typedef struct gen_matcher gen_matcher;
mltf_status gen_matcher_new(gen_matcher **out, const gen_constraint *c, mltf_err *err);
void gen_matcher_free(gen_matcher *m);
mltf_status gen_matcher_copy(gen_matcher *to, const gen_matcher *from,
                             mltf_err *err); /* of the same constraint */

/* allowed[id] = 1 for each of the vocab tokens that may come next; eos ids where the text may end here.
 * allowed comes cleared. */
mltf_status gen_matcher_allowed(gen_matcher *m, uint8_t *allowed, size_t vocab, gen_ids eos,
                                mltf_err *err);
/* Go over a token that was allowed. INVALID_INPUT for one that was not. */
mltf_status gen_matcher_accept(gen_matcher *m, int32_t id, mltf_err *err);
/* Go over bytes; false (and no move) where they leave the language. For tests and for text that is given. */
bool gen_matcher_accept_bytes(gen_matcher *m, const char *p, size_t n);
bool gen_matcher_complete(const gen_matcher *m); /* the text may end here */
bool gen_matcher_closed(const gen_matcher *m);   /* it may end here and cannot go on */

#endif
