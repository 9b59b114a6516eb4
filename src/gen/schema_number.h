/* Inside gen/: the texts of numbers that a JSON schema allows. */
#ifndef MLTF_GEN_SCHEMA_NUMBER_H
#define MLTF_GEN_SCHEMA_NUMBER_H

#include "gen/constraint_ast.h"

/* From minimum, maximum, their exclusive forms and "$except" (numbers that are not meant). At most 18 digits before and behind the point, so that no text runs on forever. */
ast *schema_integer(ast_builder *b, const json *schema);
ast *schema_number(ast_builder *b, const json *schema);

ast *schema_digits(ast_builder *b, uint32_t min, uint32_t max);
ast *schema_char_range(ast_builder *b, char from, char to);

#endif
