/* Inside gen/: JSON schemas as values to compute with, before constraint_schema.c makes a grammar of them.
 *
 * A grammar has unions and no intersections, so whatever a schema says twice about the same value (allOf, siblings
 * of anyOf and $ref, if/then, not) is first brought into one schema that says it once:
 *     schema_both(a, b)        the values that satisfy both
 *     schema_negations(s)      schemas that together hold values which do not satisfy s (not always all of them)
 *     schema_holds(v, s)       does the value satisfy it
 * Schemas made here live in the builder's arena; $ref is followed where the text of the target is needed. All fail
 * through the builder, stickily. */
#ifndef MLTF_GEN_SCHEMA_DOC_H
#define MLTF_GEN_SCHEMA_DOC_H

#include "gen/constraint_ast.h"

typedef struct schema_doc {
    ast_builder *b;
    const json *root; /* what "#" means */
    int depth;        /* of both and negations in each other: references may go in circles */
} schema_doc;

/* "#", "#/$defs/name", "#/properties/a/items": JSON pointers into the document. NULL after a failure. */
const json *schema_resolve(schema_doc *s, mltf_str ref);

/* May be the boolean schema false, where the two exclude each other. UNSUPPORTED for two different patterns and the
 * like, which no single schema says. */
const json *schema_both(schema_doc *s, const json *a, const json *b);

/* An array of schemas; empty: every value satisfies it, or what it says cannot be denied here. "$except" in them is
 * a list of values that are not meant. */
const json *schema_negations(schema_doc *s, const json *schema);

bool schema_holds(schema_doc *s, const json *value, const json *schema);

/* Is it plain that a text made for `a` (which writes no members that it does not declare, see constraint.h) never
 * satisfies `b`? */
bool schema_excludes(schema_doc *s, const json *a, const json *b);

/* A schema as a part of another: what it leaves unevaluated are its own additional members, before the other's join. */
const json *schema_part(schema_doc *s, const json *schema);

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
