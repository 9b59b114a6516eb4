/* The filters of jinja2/filters.py, `value|NAME(arguments)`: a table a file, a line a filter. */
#ifndef MLTF_TEMPLATES_JINJA_FILTERS_H
#define MLTF_TEMPLATES_JINJA_FILTERS_H

#include "base/limits.h"
#include "templates/jinja_internal.h"

extern const jfilter jinja_text_filters[], jinja_number_filters[],
    jinja_item_filters[]; /* end: no name */

#define GIVEN(v) ((v).t != JV_MISSING)
#define TEXT_BUF                                                                                   \
    {                                                                                              \
        .max = LIMIT_TEMPLATE_OUTPUT                                                               \
    }

/* str(self).NAME(args): a method of Python's str. */
bool jf_str_method(jx *x, const char *name, jv self, const jv *args, size_t n, jv *out);
bool jf_int_argument(jx *x, jv v, int64_t dflt, int64_t *out); /* dflt where it was not given */
/* ignore_case() of the reference: sorts and groups look at lower case. */
bool jf_fold(jx *x, bool case_sensitive, jv *v);

#endif
