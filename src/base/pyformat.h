/* Format strings, as str.format() reads them: literal text, doubled braces, and fields {name!conversion:spec}.
 *
 *     for (bool more;;) {
 *         TRY(pyformat_next(&rest, out, &field, &more, err)); // appends the text before the field
 *         if (!more) break;
 *         TRY(pyformat_put(out, &field, value_of(field.name), err));
 *     }
 *
 * A wrong format is PREDICT_FAILED with Python's words. Fields inside of fields are not supported. */
#ifndef MLTF_BASE_PYFORMAT_H
#define MLTF_BASE_PYFORMAT_H

#include "base/buf.h"
#include "base/status.h"

/* Points into the format string. */
typedef struct pyformat_field {
    mltf_str name, spec;
    char conversion; /* r, s, a; 0: none */
} pyformat_field;

/* Moves *rest behind the next field; at the end of the text *more is false. out may be NULL. */
mltf_status pyformat_next(mltf_str *rest, mltf_buf *out, pyformat_field *f, bool *more,
                          mltf_err *err);
/* Appends a str as the field asks: [[fill]align][0][width][.precision][s]. */
mltf_status pyformat_put(mltf_buf *out, const pyformat_field *f, mltf_str value, mltf_err *err);

#endif
