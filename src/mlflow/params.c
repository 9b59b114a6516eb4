/* Params of a prediction against the signature's params schema. */
#include "mlflow/schema.h"

#include <string.h>

static const char *python_name(const pv *v, mltf_arena *a)
{
    return pv_type_repr(a, v);
}

static const char *printed(mltf_arena *a, const pv *v)
{
    mltf_buf b = MLTF_BUF_INIT;
    pv_print(&b, v);
    const char *s = arena_strdup(a, b.p ? b.p : "", b.n);
    mltf_buf_release(&b);
    return s ? s : "";
}

/* An ISO date or date and time: all that numpy.datetime64 takes from text without a unit. */
static bool looks_like_date(mltf_str s)
{
    if (s.n < 4) return false;
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (!((c >= '0' && c <= '9') || c == '-' || c == ':' || c == '.' || c == 'T' || c == ' '))
            return false;
    }
    return s.n < 5 || s.p[4] == '-';
}

static mltf_status enforce_scalar(mltf_arena *a, pv *out, const pv *v, schema_kind want,
                                  mltf_err *err)
{
    *out = *v;
    if (v->kind == PV_NONE) return MLTF_OK;
    const char *type = schema_kind_name(want);
    if (want == ST_DATETIME) {
        if (v->kind == PV_STR && looks_like_date(v->s)) return MLTF_OK;
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Failed to convert value `%s` from type `%s` to `DataType.%s`",
                         printed(a, v), python_name(v, a), type);
    }
    if (!pv_is_scalar(v))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Value must be a scalar for type `DataType.%s`, got `%s`", type,
                         printed(a, v));
    bool ok = false;
    switch (want) {
    case ST_BOOLEAN:
        ok = v->kind == PV_BOOL;
        break;
    case ST_STRING:
        ok = v->kind == PV_STR;
        break;
    case ST_BINARY:
        ok = v->kind == PV_BYTES;
        break;
    case ST_INTEGER: // Python's own int counts as 64 bit
        ok = v->kind == PV_INT && v->i >= INT32_MIN && v->i <= INT32_MAX;
        break;
    case ST_LONG:
        ok = v->kind == PV_INT || v->kind == PV_BIGINT;
        break;
    case ST_FLOAT:
    case ST_DOUBLE:
        ok = v->kind == PV_FLOAT || v->kind == PV_INT;
        if (v->kind == PV_INT) *out = pv_float((double)v->i);
        break;
    default:
        break;
    }
    if (ok) return MLTF_OK;
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "Can not safely convert `%s` to `DataType.%s` for value `%s`",
                     python_name(v, a), type, printed(a, v));
}

static const char *spec_repr(mltf_arena *a, const param_spec *s)
{
    mltf_buf b = MLTF_BUF_INIT;
    const pv name = pv_str(s->name);
    pv_repr(&b, &name);
    buf_puts(&b, ": ");
    schema_type_print(&b, &s->type);
    buf_puts(&b, " (default: ");
    pv_print(&b, &s->default_value);
    buf_puts(&b, s->is_list ? ") (shape: (-1,))" : ")");
    const char *text = arena_strdup(a, b.p ? b.p : "", b.n);
    mltf_buf_release(&b);
    return text ? text : "";
}

mltf_status param_enforce(mltf_arena *a, pv *out, const pv *v, const param_spec *s, mltf_err *err)
{
    if (s->is_list) {
        const bool sequence = v->kind == PV_LIST || v->kind == PV_TUPLE;
        pv list_of_it = *v;
        if (sequence) list_of_it.kind = PV_LIST;
        const pv array = sequence ? pv_array_from(a, &list_of_it) : *v;
        if (v->kind == PV_TUPLE || array.kind != PV_ARRAY || array.array.ndim != 1)
            return mltf_fail(
                err, MLTF_INVALID_INPUT,
                "Value must be a 1D array with shape (-1,) for param %s, received %s with "
                "ndim %zu",
                spec_repr(a, s), pv_class(v), array.kind == PV_ARRAY ? array.array.ndim : 0);
        const pv list = v->kind == PV_LIST ? *v : pv_array_tolist(a, v);
        *out = pv_list(a, list.list.n);
        for (size_t i = 0; i < out->list.n; i++) {
            mltf_err inner = {0};
            if (enforce_scalar(a, &out->list.items[i], &list.list.items[i], s->type.kind, &inner))
                return mltf_fail(err, MLTF_INVALID_INPUT,
                                 "Failed to validate type and shape for %s, error: %s",
                                 spec_repr(a, s), inner.msg);
        }
        return MLTF_OK;
    }
    mltf_err inner = {0};
    mltf_status st;
    if (s->type.kind == ST_OBJECT) {
        pv ignored;
        st = schema_enforce_type(a, &ignored, v, &s->type, true, &inner);
        *out = *v;
    } else
        st = enforce_scalar(a, out, v, s->type.kind, &inner);
    if (st)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Failed to validate type and shape for %s, error: %s", spec_repr(a, s),
                         inner.msg);
    return MLTF_OK;
}

/* "['a', 'b']" or, with braces, "{'a', 'b'}". */
static void key_list(mltf_buf *b, const pv *keys, size_t n, const char *brackets)
{
    buf_putc(b, brackets[0]);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) buf_puts(b, ", ");
        pv_repr(b, &keys[i]);
    }
    buf_putc(b, brackets[1]);
}

static mltf_status without_schema(mltf_arena *a, pv *out, const pv *params, const char **warning)
{
    *out = pv_dict(a, 0);
    if (params->kind == PV_NONE || (params->kind == PV_DICT && params->dict.n == 0) || !warning)
        return MLTF_OK;
    mltf_buf b = MLTF_BUF_INIT;
    buf_puts(
        &b,
        "`params` can only be specified at inference time if the model signature defines a params "
        "schema. This model does not define a params schema. ");
    if (params->kind != PV_DICT)
        buf_puts(&b, "Ignoring invalid params (not a dictionary).");
    else {
        buf_puts(&b, "Ignoring provided params: [");
        for (size_t i = 0; i < params->dict.n; i++) {
            if (i > 0) buf_puts(&b, ", ");
            pv_repr(&b, &params->dict.pairs[i].key);
        }
        buf_putc(&b, ']');
    }
    *warning = arena_strdup(a, b.p ? b.p : "", b.n);
    mltf_buf_release(&b);
    return MLTF_OK;
}

mltf_status params_enforce(mltf_arena *a, pv *out, const pv *params, const param_schema *s,
                           const char **warning, mltf_err *err)
{
    const pv nothing = pv_none();
    if (!params) params = &nothing;
    if (warning) *warning = NULL;
    if (!s) return without_schema(a, out, params, warning);
    if (params->kind != PV_DICT && params->kind != PV_NONE)
        return mltf_fail(err, MLTF_INVALID_INPUT, "Parameters must be a dictionary. Got type '%s'.",
                         pv_class(params));
    const size_t n_given = params->kind == PV_DICT ? params->dict.n : 0;
    pv unknown = pv_list(a, n_given);
    size_t n_unknown = 0;
    *out = pv_dict(a, s->n);
    if (a->failed) return mltf_fail_memory(err);
    mltf_buf why = MLTF_BUF_INIT;
    // Keys in the order given, then the defaults of the rest.
    for (size_t i = 0; i < n_given; i++) {
        pv key = params->dict.pairs[i].key;
        if (key.kind == PV_INT) key = pv_cstr(arena_printf(a, "%lld", (long long)key.i));
        size_t k = 0;
        while (k < s->n && !str_eq(s->params[k].name, key.s)) k++;
        if (k == s->n) {
            unknown.list.items[n_unknown++] = key;
            continue;
        }
        pv value = pv_none();
        mltf_err inner = {0};
        if (param_enforce(a, &value, &params->dict.pairs[i].value, &s->params[k], &inner)) {
            const pv text = pv_cstr(arena_strdup(a, inner.msg, strlen(inner.msg)));
            buf_puts(&why, why.n ? ", (" : "(");
            pv_repr(&why, &key);
            buf_puts(&why, ", ");
            pv_repr(&why, &text);
            buf_putc(&why, ')');
        }
        if (!pv_get_key(out, &key)) pv_dict_add(out, key, value);
    }
    for (size_t k = 0; k < s->n; k++) {
        const pv key = pv_str(s->params[k].name);
        if (!pv_get_key(out, &key)) pv_dict_add(out, key, s->params[k].default_value);
    }
    mltf_status st = MLTF_OK;
    if (why.n) st = mltf_fail(err, MLTF_INVALID_INPUT, "Invalid parameters found: {%s}", why.p);
    buf_clear(&why);
    if (n_unknown > 0 && warning) {
        buf_puts(&why, "Unrecognized params ");
        key_list(&why, unknown.list.items, n_unknown, "[]");
        buf_puts(&why, " are ignored for inference. Supported params are: {");
        for (size_t k = 0; k < s->n; k++) {
            const pv key = pv_str(s->params[k].name);
            if (k > 0) buf_puts(&why, ", ");
            pv_repr(&why, &key);
        }
        buf_puts(&why, "}. To enable them, please add corresponding schema in ModelSignature.");
        *warning = arena_strdup(a, why.p ? why.p : "", why.n);
    }
    mltf_buf_release(&why);
    return st;
}
