/* Inside gen/: the texts of numbers that a JSON schema allows. */
#ifndef MLTF_GEN_SCHEMA_NUMBER_H
#define MLTF_GEN_SCHEMA_NUMBER_H

#include "gen/constraint_ast.h"

/* From minimum, maximum, their exclusive forms, multipleOf, "$except" (numbers that are not meant) and "$notMultiples"
 * (steps that they are no multiples of). At most 18 digits before and behind the point, so that no text runs on
 * forever; multiples of large steps without bounds have fewer. */
ast *schema_integer(ast_builder *b, const json *schema);
ast *schema_number(ast_builder *b, const json *schema);

/* Multiples are those of the decimal numbers as they are written: 0.07 is one of 0.01. */
bool schema_is_multiple(const json *number, double step);
double schema_common_multiple(double a, double b); /* the least; 0: it has too many digits */

#endif
