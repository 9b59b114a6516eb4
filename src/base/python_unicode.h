/* What Python's str methods know about characters (Python 3.11, Unicode 14). */
#ifndef MLTF_BASE_PYTHON_UNICODE_H
#define MLTF_BASE_PYTHON_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

typedef enum {
    PYU_ALPHA,
    PYU_DECIMAL,
    PYU_DIGIT,
    PYU_NUMERIC,
    PYU_SPACE,
    PYU_UPPER,
    PYU_LOWER,
    PYU_TITLE, /* upper case or title case */
    PYU_PRINTABLE,
} pyu_class;

typedef enum { PYU_TO_UPPER, PYU_TO_LOWER, PYU_TO_TITLE, PYU_TO_FOLD } pyu_map;

bool pyu_is(uint32_t cp, pyu_class what);
size_t pyu_convert(uint32_t cp, pyu_map how, uint32_t out[3]); /* code points written, 1 to 3 */
int pyu_decimal(uint32_t cp); /* what a digit of any script counts, as int() and float() read it; -1: none */
bool pyu_alnum(uint32_t cp); /* str.isalnum(); \w of re is this or an underscore */
bool pyu_cased(uint32_t cp); /* of either case: what title() looks for */
/* The lower case of the character s.p[at], as str.lower() writes it there: a sigma at the end of a word is another letter. */
size_t pyu_lower_at(mltf_str s, size_t at, uint32_t out[3]);

#endif
