/* Finding and applying filters, and what they share. */
#include "templates/jinja_filters.h"

bool jf_str_method(jx *x, const char *name, jv self, const jv *args, size_t n, jv *out)
{
    jv text;
    const jargs a = {.v = args, .n = n};
    return jv_to_str(x, self, &text) && jinja_str_method(str_from(name))->fn(x, text, &a, out);
}

bool jf_int_argument(jx *x, jv v, int64_t dflt, int64_t *out)
{
    *out = dflt;
    if (!GIVEN(v)) return true;
    if (!jv_is_int(v))
        return x_fail(x, "'%s' object cannot be interpreted as an integer", jv_type_name(v));
    *out = jv_as_int(v);
    return true;
}

bool jf_fold(jx *x, bool case_sensitive, jv *v)
{
    return case_sensitive || v->t != JV_STR || jf_str_method(x, "lower", *v, NULL, 0, v);
}

const jfilter *jinja_find_filter(mltf_str name)
{
    const jfilter *f = jinja_find_in(jinja_item_filters, name);
    if (!f) f = jinja_find_in(jinja_text_filters, name);
    return f ? f : jinja_find_in(jinja_number_filters, name);
}

const jfilter *jinja_find_in(const jfilter *table, mltf_str name)
{
    for (; table->name; table++)
        if (str_is(name, table->name)) return table;
    return NULL;
}

bool jinja_apply(jx *x, const jfilter *f, jv self, const jargs *args, jv *out)
{
    if (!x_enter(x)) return false;
    jv slots[4];
    jargs bound = {.v = slots, .n = f->max};
    bool ok = !f->params || jinja_bind(x, f->name, f->params, f->min, f->max, args, slots);
    ok = ok && f->fn(x, self, f->params ? &bound : args, out);
    x->depth--;
    return ok;
}
