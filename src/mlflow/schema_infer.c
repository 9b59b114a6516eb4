/* Schemas from data: what infer_signature() makes of an example and of a prediction. */
#include "mlflow/schema.h"

#include <string.h>

static void *take(mltf_arena *a, size_t n, size_t size)
{
    void *p = arena_alloc_small(a, (n ? n : 1) * size);
    if (p) memset(p, 0, (n ? n : 1) * size);
    return p;
}

static bool is_any(const schema_type *t)
{
    return t->kind == ST_ANY;
}

/* ---- merging ------------------------------------------------------------------------------- */

static bool merge(mltf_arena *a, schema_type *out, const schema_type *x, const schema_type *y);

/* Two properties of one name; `any` with a real type gives that type, optional. */
static bool merge_prop(mltf_arena *a, schema_prop *out, const schema_prop *x, const schema_prop *y)
{
    out->name = x->name;
    out->required = x->required && y->required;
    if (x->type.kind <= ST_DATETIME && y->type.kind <= ST_DATETIME) {
        out->type = x->type;
        return x->type.kind == y->type.kind;
    }
    return merge(a, &out->type, &x->type, &y->type);
}

static bool merge_objects(mltf_arena *a, schema_type *out, const schema_type *x,
                          const schema_type *y)
{
    *out = (schema_type){.kind = ST_OBJECT};
    out->props = take(a, x->n_props + y->n_props, sizeof *out->props);
    if (!out->props) return false;
    size_t i = 0, k = 0;
    while (i < x->n_props || k < y->n_props) { // both sorted by name
        int c = 0;
        if (i == x->n_props)
            c = 1;
        else if (k == y->n_props)
            c = -1;
        else {
            const mltf_str p = x->props[i].name, q = y->props[k].name;
            c = memcmp(p.p, q.p, p.n < q.n ? p.n : q.n);
            if (c == 0) c = p.n < q.n ? -1 : p.n > q.n;
        }
        schema_prop *to = &out->props[out->n_props++];
        if (c == 0) {
            if (!merge_prop(a, to, &x->props[i++], &y->props[k++])) return false;
        } else {
            *to = c < 0 ? x->props[i++] : y->props[k++];
            to->required = false;
        }
    }
    return true;
}

static bool merge(mltf_arena *a, schema_type *out, const schema_type *x, const schema_type *y)
{
    if (is_any(x)) {
        const schema_type any = *x;
        x = y;
        y = &any;
        if (!is_any(x)) return x->kind <= ST_DATETIME ? (*out = *x, true) : merge(a, out, x, y);
        *out = *x;
        return true;
    }
    if (is_any(y)) {
        *out = *x;
        if (x->kind != ST_OBJECT) return true;
        out->props = take(a, x->n_props, sizeof *out->props);
        if (!out->props) return false;
        memcpy(out->props, x->props, x->n_props * sizeof *x->props);
        for (size_t i = 0; i < out->n_props; i++) out->props[i].required = false;
        return true;
    }
    if (x->kind != y->kind) return false;
    if (x->kind == ST_ARRAY || x->kind == ST_MAP) {
        *out = *x;
        out->item = take(a, 1, sizeof *out->item);
        return out->item && merge(a, out->item, x->item, y->item);
    }
    if (x->kind == ST_OBJECT) return merge_objects(a, out, x, y);
    *out = *x;
    return true;
}

/* ---- one value ----------------------------------------------------------------------------- */

/* 1: inferred; 0: undetermined (an empty array); -1: no type fits. */
static int infer(mltf_arena *a, schema_type *out, const pv *v, int depth);

static schema_kind kind_of_numpy(np_type t)
{
    switch (t) {
    case NP_BOOL:
        return ST_BOOLEAN;
    case NP_INT8:
    case NP_INT16:
    case NP_INT32:
    case NP_UINT8:
    case NP_UINT16:
        return ST_INTEGER;
    case NP_INT64:
    case NP_UINT32:
        return ST_LONG;
    case NP_FLOAT16:
    case NP_FLOAT32:
        return ST_FLOAT;
    case NP_FLOAT64:
        return ST_DOUBLE;
    case NP_STR:
        return ST_STRING;
    case NP_BYTES:
        return ST_BINARY;
    case NP_DATETIME:
        return ST_DATETIME;
    default:
        return ST_KIND_COUNT;
    }
}

static schema_kind kind_of_scalar(const pv *v)
{
    if (v->np != NP_PYTHON) return kind_of_numpy(v->np);
    switch (v->kind) {
    case PV_BOOL:
        return ST_BOOLEAN;
    case PV_INT:
        return ST_LONG;
    case PV_FLOAT:
        return ST_DOUBLE;
    case PV_STR:
        return ST_STRING;
    case PV_BYTES:
        return ST_BINARY;
    default:
        return ST_KIND_COUNT;
    }
}

static int infer_items(mltf_arena *a, schema_type *out, const pv *list, int depth)
{
    const size_t n = list->kind == PV_ARRAY ? list->array.shape[0] : list->list.n;
    bool have = false;
    schema_type item = {0};
    for (size_t i = 0; i < n; i++) {
        const pv v = list->kind == PV_ARRAY ? pv_array_item(a, list, i) : list->list.items[i];
        schema_type t = {0};
        const int r = infer(a, &t, &v, depth + 1);
        if (r < 0) return -1;
        if (r == 0) continue;
        if (!have) {
            item = t;
            have = true;
        } else if (item.kind <= ST_DATETIME) {
            if (!is_any(&t) && t.kind != item.kind) return -1;
        } else {
            schema_type merged = {0};
            if (!merge(a, &merged, &item, &t)) return -1;
            item = merged;
        }
    }
    if (!have) return 0;
    *out = (schema_type){.kind = ST_ARRAY, .item = take(a, 1, sizeof *out->item)};
    if (!out->item) return -1;
    *out->item = item;
    return 1;
}

static int infer(mltf_arena *a, schema_type *out, const pv *v, int depth)
{
    *out = (schema_type){.kind = ST_ANY};
    if (depth > 64) return -1;
    if (pv_is_nan(v) || (v->kind == PV_LIST && v->list.n == 0) ||
        (v->kind == PV_DICT && v->dict.n == 0))
        return 1;
    if (v->kind == PV_DICT) {
        *out = (schema_type){.kind = ST_OBJECT};
        out->props = take(a, v->dict.n, sizeof *out->props);
        if (!out->props) return -1;
        for (size_t i = 0; i < v->dict.n; i++) {
            if (v->dict.pairs[i].key.kind != PV_STR) return -1;
            schema_prop p = {.name = v->dict.pairs[i].key.s};
            if (infer(a, &p.type, &v->dict.pairs[i].value, depth + 1) != 1) return -1;
            p.required = !is_any(&p.type);
            size_t at = out->n_props++;
            for (; at > 0; at--) {
                const mltf_str b = out->props[at - 1].name;
                const int c = memcmp(b.p, p.name.p, b.n < p.name.n ? b.n : p.name.n);
                if (c < 0 || (c == 0 && b.n <= p.name.n)) break;
                out->props[at] = out->props[at - 1];
            }
            out->props[at] = p;
        }
        return 1;
    }
    if (v->kind == PV_LIST) return infer_items(a, out, v, depth);
    if (v->kind == PV_ARRAY) return v->array.ndim == 0 ? -1 : infer_items(a, out, v, depth);
    out->kind = kind_of_scalar(v);
    return out->kind == ST_KIND_COUNT ? -1 : 1;
}

/* ---- schemas ------------------------------------------------------------------------------- */

static schema *schema_new(mltf_arena *a, size_t n)
{
    schema *s = take(a, 1, sizeof *s);
    if (!s) return NULL;
    s->columns = take(a, n, sizeof *s->columns);
    s->n = n;
    for (size_t i = 0; s->columns && i < n; i++) s->columns[i].required = true;
    return s->columns ? s : NULL;
}

static bool tensor_spec(mltf_arena *a, schema_column *c, const pv *v)
{
    c->dtype = v->np;
    c->ndim = v->array.ndim;
    if (c->ndim == 0) return false; // MLflow: the variable dimension is out of bounds
    c->shape = take(a, c->ndim, sizeof *c->shape);
    if (!c->shape) return false;
    for (size_t d = 0; d < c->ndim; d++) c->shape[d] = d ? (int64_t)v->array.shape[d] : -1;
    return true;
}

static schema *from_dict(mltf_arena *a, const pv *v)
{
    bool arrays = v->dict.n > 0;
    for (size_t i = 0; i < v->dict.n; i++)
        if (v->dict.pairs[i].value.kind != PV_ARRAY) arrays = false;
    schema *s = schema_new(a, v->dict.n);
    if (!s) return NULL;
    s->tensors = arrays;
    for (size_t i = 0; i < v->dict.n; i++) {
        schema_column *c = &s->columns[i];
        const pv *x = &v->dict.pairs[i].value;
        c->name = v->dict.pairs[i].key;
        if (c->name.kind != PV_STR) return NULL;
        if (arrays) {
            if (!tensor_spec(a, c, x)) return NULL;
            continue;
        }
        if (infer(a, &c->type, x, 0) != 1) return NULL;
        c->required = !pv_is_nan(x);
        for (size_t k = 0; x->kind == PV_LIST && k < x->list.n; k++)
            if (pv_is_nan(&x->list.items[k])) c->required = false;
    }
    return s;
}

static schema *from_records(mltf_arena *a, const pv *v)
{
    size_t cap = 0, n = 0;
    for (size_t i = 0; i < v->list.n; i++) cap += v->list.items[i].dict.n;
    schema *s = schema_new(a, cap);
    if (!s) return NULL;
    for (size_t i = 0; i < v->list.n; i++)
        for (size_t k = 0; k < v->list.items[i].dict.n; k++) {
            const pv *key = &v->list.items[i].dict.pairs[k].key;
            size_t at = 0;
            while (at < n && !pv_key_equal(&s->columns[at].name, key)) at++;
            if (at == n) s->columns[n++].name = *key;
        }
    s->n = n;
    for (size_t c = 0; c < n; c++) {
        pv values = pv_list(a, v->list.n);
        values.list.n = 0;
        for (size_t i = 0; i < v->list.n && values.list.items; i++) {
            const pv *x = pv_get_key(&v->list.items[i], &s->columns[c].name);
            if (x) values.list.items[values.list.n++] = *x;
            if (!x || x->kind == PV_NONE) s->columns[c].required = false;
        }
        schema_type t = {0};
        if (infer(a, &t, &values, 0) != 1 || t.kind != ST_ARRAY) return NULL;
        s->columns[c].type = *t.item;
    }
    return s;
}

static schema *from_frame(mltf_arena *a, const pv_frame *f)
{
    if (f->n_cols == 0) return NULL;
    schema *s = schema_new(a, f->n_cols);
    if (!s) return NULL;
    for (size_t c = 0; c < f->n_cols; c++) {
        schema_column *col = &s->columns[c];
        col->name = f->names[c];
        for (size_t r = 0; r < f->n_rows; r++)
            if (pv_is_nan(pv_cell(f, c, r))) col->required = false;
        const schema_kind k = kind_of_numpy(f->types[c]);
        if (k != ST_KIND_COUNT) {
            col->type.kind = k;
            continue;
        }
        pv list = {.kind = PV_LIST};
        list.list.items = f->cells + c * f->n_rows;
        list.list.n = f->n_rows;
        schema_type t = {0};
        if (infer(a, &t, &list, 0) == 1 && t.kind == ST_ARRAY)
            col->type = *t.item;
        else
            return NULL;
    }
    return s;
}

static schema *from_data(mltf_arena *a, const pv *v)
{
    schema *s = NULL;
    switch (v->kind) {
    case PV_DICT:
        return from_dict(a, v);
    case PV_FRAME:
        return from_frame(a, v->frame);
    case PV_ARRAY:
        s = schema_new(a, 1);
        if (!s || !tensor_spec(a, &s->columns[0], v)) return NULL;
        s->tensors = true;
        return s;
    case PV_LIST: {
        if (v->list.n > 0 && pv_all_dict(v)) return from_records(a, v);
        s = schema_new(a, 1);
        if (!s) return NULL;
        if (v->list.n == 0) {
            s->columns[0].type.kind = ST_STRING;
            return s;
        }
        schema_type t = {0};
        if (infer(a, &t, v, 0) != 1 || t.kind != ST_ARRAY) return NULL;
        s->columns[0].type = *t.item;
        return s;
    }
    default:
        s = schema_new(a, 1);
        return s && infer(a, &s->columns[0].type, v, 0) == 1 ? s : NULL;
    }
}

mltf_status schema_infer(mltf_arena *a, schema **out, const pv *data, bool *fell_back,
                         mltf_err *err)
{
    schema *s = from_data(a, data);
    if (fell_back) *fell_back = !s;
    if (!s) {
        s = schema_new(a, 1);
        if (s) s->columns[0].type.kind = ST_ANY;
    }
    if (!s || a->failed) return mltf_fail_memory(err);
    *out = s;
    return MLTF_OK;
}

/* ---- params -------------------------------------------------------------------------------- */

/* An exception as Python prints it in a list. */
static const char *raised(mltf_arena *a, const char *message)
{
    mltf_buf b = MLTF_BUF_INIT;
    const pv text = pv_cstr(message);
    pv_repr(&b, &text);
    const char *s = arena_printf(a, "MlflowException(%s)", b.p ? b.p : "''");
    mltf_buf_release(&b);
    return s;
}

/* NULL, or the exception that refuses the param. */
static const char *infer_param(mltf_arena *a, param_spec *s, const pv *v)
{
    if (v->kind == PV_LIST || v->kind == PV_ARRAY) {
        const pv array = pv_array_from(a, v);
        if (array.kind == PV_ARRAY && array.array.ndim != 1)
            return arena_printf(
                a,
                "MlflowException('Expected parameters to be 1D array or scalar, got %zuD array')",
                array.array.ndim);
        s->type.kind = kind_of_numpy(array.np);
        s->is_list = true;
        if (s->type.kind == ST_KIND_COUNT) return "MlflowException('Unsupported numpy data type')";
        pv checked = pv_none();
        mltf_err inner = {0};
        return param_enforce(a, &checked, v, s, &inner) ? raised(a, inner.msg) : NULL;
    }
    if (pv_is_scalar(v)) {
        s->type.kind = kind_of_scalar(v);
        if (s->type.kind == ST_BINARY)
            return raised(a, arena_printf(a,
                                          "Binary type is not supported for parameters, "
                                          "ParamSpec '" STR_FMT "'has dtype 'binary'",
                                          STR_ARG(s->name)));
        return s->type.kind == ST_KIND_COUNT
                   ? "MlflowException('Failed to infer schema for parameter')"
                   : NULL;
    }
    if (v->kind == PV_DICT && v->dict.n == 0)
        return "TypeError(\"'dtype' must be DataType, Object or str, got Any\")";
    if (v->kind == PV_DICT)
        return infer(a, &s->type, v, 0) == 1 ? NULL : "MlflowException('Failed to infer schema')";
    return raised(
        a, arena_printf(a, "Expected parameters to be 1D array or scalar, got %s", pv_class(v)));
}

mltf_status param_schema_infer(mltf_arena *a, param_schema **out, const pv *params, mltf_err *err)
{
    if (params->kind != PV_DICT)
        return mltf_fail(err, MLTF_INVALID_INPUT, "Expected parameters to be dict, got %s",
                         pv_class(params));
    param_schema *p = take(a, 1, sizeof *p);
    if (!p) return mltf_fail_memory(err);
    p->params = take(a, params->dict.n, sizeof *p->params);
    if (!p->params) return mltf_fail_memory(err);
    mltf_buf bad = MLTF_BUF_INIT;
    for (size_t i = 0; i < params->dict.n; i++) {
        const pv_pair *pair = &params->dict.pairs[i];
        param_spec *s = &p->params[p->n++];
        s->name = pair->key.s;
        s->default_value = pair->value;
        const char *why = infer_param(a, s, &pair->value);
        if (!why) continue;
        buf_puts(&bad, bad.n ? ", (" : "(");
        pv_repr(&bad, &pair->key);
        buf_puts(&bad, ", ");
        pv_repr(&bad, &pair->value);
        buf_printf(&bad, ", %s)", why);
    }
    mltf_status st = MLTF_OK;
    if (bad.n)
        st = mltf_fail(err, MLTF_INVALID_INPUT, "Failed to infer schema for parameters: [%s]",
                       bad.p);
    else
        *out = p;
    mltf_buf_release(&bad);
    return st;
}
