/* Inside gen/: JSON schemas as values to compute with, before constraint_schema.c makes a grammar of them.
 *
 * A grammar has unions and no intersections, so whatever a schema says twice about the same value (allOf, siblings
 * of anyOf and $ref, if/then, not) is first brought into one schema that says it once:
 *     schema_both(a, b)        the values that satisfy both
 *     schema_negations(s)      schemas that together hold values which do not satisfy s (not always all of them)
 *     schema_holds(v, s)       does the value satisfy it
 * Keywords that schemas made here have besides the standard's:
 *     $except         values that are not meant (strings, numbers, booleans, null)
 *     $notMultiples   steps that numbers are no multiples of
 *     $alsoText       schemas that strings satisfy as well; $notText: that they do not satisfy
 *     $contains       a list of {contains, minContains, maxContains, from, to: the indices that count}
 *     $members        {name: what its value satisfies if it is there}; declares nothing
 *     $shapes         a list of {properties, patternProperties, additionalProperties} that hold as well
 *     $some           a list of {keys, value}: some member with such a name has such a value
 *     $other          {keys, value}: the same, among the members that are not declared
 *     $and            schemas that hold as well, merged when nothing else is left to expand
 * Schemas made here live in the builder's arena; $ref is followed where the text of the target is needed. All fail
 * through the builder, stickily. */
#ifndef MLTF_GEN_SCHEMA_DOC_H
#define MLTF_GEN_SCHEMA_DOC_H

#include "gen/constraint_ast.h"

#define SCHEMA_DEPTH 64    /* of merging inside merging; references in circles end here */
#define SCHEMA_MADE  4000u /* schemas made of two others */
#define SCHEMA_MERGED                                                                              \
    (1u << 15) /* members looked at while objects are merged: each is sought among all */

/* A schema that was made of two others. */
typedef struct schema_made {
    const json *x, *y; /* y NULL: the negation of x */
    json *of;
} schema_made;

typedef struct schema_doc {
    ast_builder *b;
    const json *root; /* what "#" means */
    int depth;        /* of both, negations and texts in each other: references may go in circles */
    schema_made *made; /* [n_made] */
    size_t n_made, cap_made;
    size_t n_merged; /* members that merge_members() has met */
    struct text_dfa *any_text;
    bool denied; /* what is asked for is to be excluded: rather too much of it than too little */
    bool deny_formats; /* schema_negations() takes texts without the format for a way */
    bool partial;      /* set by schema_negations() where there are ways that it does not list */
} schema_doc;

/* Is the whole document made of what its keywords ask for, and of none of those above? Else the builder failed. All else
 * here relies on it. */
bool schema_is_sound(schema_doc *s);

/* $ref, or $dynamicRef and $recursiveRef, which in one document lead to the same place; NULL: it has none. */
const char *schema_ref_key(const json *schema);
/* "#", "#anchor", "#/$defs/name", "#/properties/a/items": JSON pointers into the document. NULL after a failure. */
const json *schema_resolve(schema_doc *s, mltf_str ref);

/* Neither $ref nor allOf at the top: what they say is put in their place. */
const json *schema_flat(schema_doc *s, const json *schema);

/* May be the boolean schema false, where the two exclude each other. UNSUPPORTED for two different patterns and the
 * like, which no single schema says. */
const json *schema_both(schema_doc *s, const json *a, const json *b);

/* The same, but when a grammar is made of it: objects that hold themselves would go in circles here. One of the two may
 * be NULL: nothing is said. Twice the same two give the same schema. */
const json *schema_later(schema_doc *s, const json *x, const json *y);
const json *schema_not(schema_doc *s, const json *x);

/* An array of schemas. Sets s->partial where there are more ways not to satisfy it: of uniqueItems, what is
 * unevaluated and, but for s->deny_formats, formats nothing here is the opposite, and combinations may be too many. */
const json *schema_negations(schema_doc *s, const json *schema);

bool schema_holds(schema_doc *s, const json *value, const json *schema);

/* Is it plain that a text made for `a` (which writes no members that it does not declare, see constraint.h) never
 * satisfies `b`? */
bool schema_excludes(schema_doc *s, const json *a, const json *b);

/* A schema as a part of another: what it leaves unevaluated are its own additional members, before the other's join. */
const json *schema_part(schema_doc *s, const json *schema);

/* The strings that satisfy a schema, whatever it combines. */
struct text_dfa *schema_texts(schema_doc *s, const json *schema);

/* Is it the same piece of a document, though maybe copied into another parent? */
bool schema_is_same(const json *x, const json *y);

/* Is the format one whose texts are known? Others describe only. */
bool schema_format_known(const json *format);
/* Where s->denied: would no reader take the text for one of the format? */
bool schema_format_denied(schema_doc *s, const json *format, mltf_str text);

/* The types that both lists allow. */
json *schema_common_types(schema_doc *s, const json *a, const json *b);

/* Is it one of the keywords that only schemas made here have? */
bool schema_is_own_keyword(mltf_str key);

/* False for true, {} and schemas of notes alone. */
bool schema_restricts(const json *schema);

/* The schema without that keyword. */
json *schema_without(schema_doc *s, const json *schema, const char *key);
/* {key: value}, and with one more. */
json *schema_of(schema_doc *s, const char *key, const json *value);
/* What an object's schema says about the member `name`: properties, patternProperties, additionalProperties. NULL:
 * nothing. */
const json *schema_of_member(schema_doc *s, const json *schema, mltf_str name);

/* Does the pattern occur in the text? */
bool schema_pattern_matches(schema_doc *s, mltf_str pattern, mltf_str text);

#endif
