/* Jinja2 as chat templates use it: sandboxed, trim_blocks and lstrip_blocks on, loop controls, tojson as
 * transformers defines it. A compiled template is immutable; rendering runs on a budget of steps, depth
 * and output bytes, so that a hostile template ends with an error.
 *
 * Errors: CORRUPT_FILE for syntax ("line 3, column 14: ..."), BAD_REQUEST for raise_exception (its text) and
 * errors while rendering, UNSUPPORTED names the construct. */
#ifndef MLTF_TEMPLATES_TEMPLATE_H
#define MLTF_TEMPLATES_TEMPLATE_H

#include "formats/json.h"

typedef struct jinja_template jinja_template;

mltf_status jinja_compile(jinja_template **out, const char *source, size_t n, mltf_err *err);
void jinja_free(jinja_template *t);

typedef struct jinja_options {
    int64_t now;      /* Unix seconds for strftime_now; 0: the clock (local time) */
    size_t max_steps; /* 0: the default budget */
    /* spans of {% generation %} blocks in bytes of the output, if wanted: malloc'ed by the call */
    struct jinja_span {
        size_t start, end;
    } **generation;
    size_t *n_generation;
} jinja_options;

/* context: an object whose members are the variables. Appends to out. */
mltf_status jinja_render(const jinja_template *t, const json *context, const jinja_options *opts, mltf_buf *out, mltf_err *err);

#endif
