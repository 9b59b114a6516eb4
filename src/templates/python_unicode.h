/* What Python's str methods know about characters (Python 3.11, Unicode 14), for the template engine. */
#ifndef MLTF_TEMPLATES_PYTHON_UNICODE_H
#define MLTF_TEMPLATES_PYTHON_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
bool pyu_cased(uint32_t cp); /* of either case: what title() looks for */

#endif
