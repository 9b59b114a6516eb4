/* Inside gen/: grammars of the values that a schema describes, type by type; constraint_schema.c leads them once all
 * that the schema says twice is merged (schema_doc.h). */
#ifndef MLTF_GEN_SCHEMA_GRAMMAR_H
#define MLTF_GEN_SCHEMA_GRAMMAR_H

#include "gen/schema_doc.h"

#define SCHEMA_RULES 10000u /* of schemas: those in the document and those made of them */

/* Which schema a rule is for. */
typedef struct schema_rule {
    const json *schema;
    size_t rule;
} schema_rule;

typedef struct schema_builder {
    schema_doc doc;
    ast_builder *b;    /* of doc */
    schema_rule *seen; /* [n_seen]: other rules have no schema */
    size_t n_seen, cap_seen;
    size_t ws, value, string, character; /* shared rules, 0 while not made (rule 0 is the root) */
    int depth;
} schema_builder;

/* Any schema; each has one rule, so that references may recurse. */
ast *schema_values(schema_builder *s, const json *schema);

/* One type each, of a schema that says all once. */
ast *schema_string(schema_builder *s, const json *schema);
ast *schema_object(schema_builder *s, const json *schema);
ast *schema_array(schema_builder *s, const json *schema);

/* A keyword that counts: the fallback where it is not given; no more than a million. */
uint32_t schema_bound(schema_builder *s, const json *schema, const char *key, uint32_t fallback);

/* ---- the pieces of JSON (schema_json.c) ---- */

ast *grammar_ws(schema_builder *s);
ast *grammar_quoted(ast_builder *b, ast *inside);
ast *grammar_string_char(ast_builder *b); /* as it is, or escaped in any of the ways there are */
ast *grammar_any_string(schema_builder *s);
ast *grammar_string_of(schema_builder *s, uint32_t min, uint32_t max); /* of so many characters */
ast *grammar_any_object(schema_builder *s);
ast *grammar_any_value(schema_builder *s);
ast *grammar_constant(schema_builder *s, const json *v);
ast *grammar_member(schema_builder *s, ast *key, ast *value);
ast *grammar_after_comma(schema_builder *s, ast *item);
/* open, items behind commas, close */
ast *grammar_braced(schema_builder *s, ast *open, ast *item, uint32_t min, uint32_t max,
                    const char *close);

#endif
