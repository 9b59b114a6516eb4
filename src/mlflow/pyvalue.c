#include "mlflow/pyvalue_internal.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"
#include "formats/base64.h"

/* ---- making -------------------------------------------------------------------------------- */

void *pv_take(mltf_arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (!checked_mul(&bytes, n > 0 ? n : 1, size)) {
        a->failed = true;
        return NULL;
    }
    void *p = arena_alloc_small(a, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

pv pv_list(mltf_arena *a, size_t n)
{
    pv v = {.kind = PV_LIST};
    v.list.items = pv_take(a, n, sizeof *v.list.items);
    v.list.n = v.list.items ? n : 0;
    return v;
}

pv pv_dict(mltf_arena *a, size_t cap)
{
    pv v = {.kind = PV_DICT};
    v.dict.pairs = pv_take(a, cap, sizeof *v.dict.pairs);
    return v;
}

void pv_dict_add(pv *dict, pv key, pv value)
{
    if (dict->dict.pairs) dict->dict.pairs[dict->dict.n++] = (pv_pair){key, value};
}

pv pv_array(mltf_arena *a, np_type np, size_t ndim, const size_t *shape)
{
    pv v = {.kind = PV_ARRAY, .np = np};
    size_t n = 1;
    for (size_t i = 0; i < ndim; i++) n *= shape[i];
    v.array.shape = pv_take(a, ndim, sizeof *v.array.shape);
    v.array.items = pv_take(a, n, sizeof *v.array.items);
    if (!v.array.shape || !v.array.items) return (pv){.kind = PV_NONE};
    if (ndim > 0) memcpy(v.array.shape, shape, ndim * sizeof *shape);
    v.array.n = n;
    v.array.ndim = ndim;
    return v;
}

bool key_index_make(key_index *x, mltf_arena *a, const pv *keys, size_t cap)
{
    x->keys = keys;
    x->size = 16;
    while (x->size < 2 * cap) x->size *= 2;
    x->slots = arena_calloc(a, x->size, sizeof *x->slots);
    return x->slots != NULL;
}

uint32_t *key_slot(const key_index *x, const pv *key)
{
    const mltf_str bytes =
        key->kind == PV_INT ? (mltf_str){(const char *)&key->i, sizeof key->i} : key->s;
    for (size_t at = hash_str(bytes) & (x->size - 1);; at = (at + 1) & (x->size - 1))
        if (x->slots[at] == 0 || pv_key_equal(&x->keys[x->slots[at] - 1], key))
            return &x->slots[at];
}

/* Python's dict: a repeated key keeps its place and takes the last value. */
static pv dict_from_json(mltf_arena *a, const json *v)
{
    enum { FEW = 16 };
    pv dict = pv_dict(a, v->o.n);
    pv *keys = v->o.n > FEW ? pv_take(a, v->o.n, sizeof *keys) : NULL;
    key_index x = {0};
    if (!dict.dict.pairs || (v->o.n > FEW && (!keys || !key_index_make(&x, a, keys, v->o.n)))) {
        dict.dict.n = 0;
        return dict;
    }
    for (size_t i = 0; i < v->o.n; i++) {
        const pv key = pv_str(v->o.members[i].key);
        const pv value = pv_from_json(a, &v->o.members[i].value);
        pv *old = NULL;
        if (!keys)
            old = (pv *)pv_get_key(&dict, &key);
        else {
            uint32_t *slot = key_slot(&x, &key);
            if (*slot)
                old = &dict.dict.pairs[*slot - 1].value;
            else {
                keys[dict.dict.n] = key;
                *slot = (uint32_t)dict.dict.n + 1;
            }
        }
        if (old)
            *old = value;
        else
            pv_dict_add(&dict, key, value);
    }
    return dict;
}

pv pv_from_json(mltf_arena *a, const json *v)
{
    if (!v) return pv_none();
    switch (v->type) {
    case JSON_NULL:
        return pv_none();
    case JSON_BOOL:
        return pv_bool(v->b);
    case JSON_INT:
        return pv_int(v->i);
    case JSON_BIGINT:
        return (pv){.kind = PV_BIGINT, .s = v->s};
    case JSON_DOUBLE:
    case JSON_FLOAT:
        return pv_float(json_double(v, 0));
    case JSON_STRING:
        return pv_str(v->s);
    case JSON_ARRAY: {
        pv list = pv_list(a, v->a.n);
        for (size_t i = 0; i < list.list.n; i++)
            list.list.items[i] = pv_from_json(a, &v->a.items[i]);
        return list;
    }
    case JSON_OBJECT:
        return dict_from_json(a, v);
    }
    return pv_none();
}

static json *array_to_json(mltf_arena *a, const pv *items, const size_t *shape, size_t ndim)
{
    json *out = json_new_array(a);
    size_t step = 1;
    for (size_t d = 1; d < ndim; d++) step *= shape[d];
    for (size_t i = 0; out && i < shape[0]; i++)
        json_push(a, out,
                  ndim == 1 ? pv_to_json(a, &items[i])
                            : array_to_json(a, items + i * step, shape + 1, ndim - 1));
    return out;
}

static mltf_str key_text(mltf_arena *a, const pv *key)
{
    if (key->kind == PV_INT) return str_from(arena_printf(a, "%lld", (long long)key->i));
    return key->s;
}

json *pv_to_json(mltf_arena *a, const pv *v)
{
    switch (v->kind) {
    case PV_NONE:
        return json_new_null(a);
    case PV_BOOL:
        return json_new_bool(a, v->b);
    case PV_INT:
        return json_new_int(a, v->i);
    case PV_BIGINT: {
        json *n = json_new_null(a);
        if (n) *n = (json){.type = JSON_BIGINT, .s = v->s};
        return n;
    }
    case PV_FLOAT:
        return v->np == NP_FLOAT32 ? json_new_float(a, (float)v->f) : json_new_double(a, v->f);
    case PV_STR:
    case PV_OTHER:
        return json_new_string(a, v->s);
    case PV_BYTES: {
        mltf_buf b = MLTF_BUF_INIT;
        base64_encode_lines(&b, v->s);
        json *s = json_new_string(a, buf_str(&b));
        mltf_buf_release(&b);
        return s;
    }
    case PV_LIST:
    case PV_TUPLE: {
        json *out = json_new_array(a);
        for (size_t i = 0; i < v->list.n; i++) json_push(a, out, pv_to_json(a, &v->list.items[i]));
        return out;
    }
    case PV_DICT: {
        json *out = json_new_object(a);
        for (size_t i = 0; i < v->dict.n; i++) // 1 and "1" are two keys, as json.dumps() writes them
            json_add_str(a, out, key_text(a, &v->dict.pairs[i].key),
                         pv_to_json(a, &v->dict.pairs[i].value));
        return out;
    }
    case PV_ARRAY:
        if (v->array.ndim == 0) return pv_to_json(a, &v->array.items[0]);
        return array_to_json(a, v->array.items, v->array.shape, v->array.ndim);
    case PV_FRAME: {
        const pv records = pv_frame_records(a, v->frame);
        return pv_to_json(a, &records);
    }
    }
    return NULL;
}

/* ---- looking ------------------------------------------------------------------------------- */

bool pv_key_equal(const pv *a, const pv *b)
{
    if (a->kind != b->kind) return false;
    return a->kind == PV_INT ? a->i == b->i : str_eq(a->s, b->s);
}

const pv *pv_get_key(const pv *dict, const pv *key)
{
    if (!dict || dict->kind != PV_DICT) return NULL;
    for (size_t i = 0; i < dict->dict.n; i++)
        if (pv_key_equal(&dict->dict.pairs[i].key, key)) return &dict->dict.pairs[i].value;
    return NULL;
}

const pv *pv_get(const pv *dict, const char *key)
{
    const pv k = pv_cstr(key);
    return pv_get_key(dict, &k);
}

bool pv_equal(const pv *a, const pv *b)
{
    const bool na = a->kind == PV_BOOL || a->kind == PV_INT || a->kind == PV_FLOAT;
    const bool nb = b->kind == PV_BOOL || b->kind == PV_INT || b->kind == PV_FLOAT;
    if (na && nb) {
        if (a->kind == PV_INT && b->kind == PV_INT) return a->i == b->i;
        return pv_number(a) == pv_number(b);
    }
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case PV_NONE:
        return true;
    case PV_STR:
    case PV_BYTES:
    case PV_BIGINT:
    case PV_OTHER:
        return str_eq(a->s, b->s);
    case PV_LIST:
    case PV_TUPLE:
        if (a->list.n != b->list.n) return false;
        for (size_t i = 0; i < a->list.n; i++)
            if (!pv_equal(&a->list.items[i], &b->list.items[i])) return false;
        return true;
    case PV_DICT:
        if (a->dict.n != b->dict.n) return false;
        for (size_t i = 0; i < a->dict.n; i++) {
            const pv *other = pv_get_key(b, &a->dict.pairs[i].key);
            if (!other || !pv_equal(&a->dict.pairs[i].value, other)) return false;
        }
        return true;
    case PV_ARRAY:
        if (a->array.ndim != b->array.ndim || a->array.n != b->array.n) return false;
        for (size_t i = 0; i < a->array.n; i++)
            if (!pv_equal(&a->array.items[i], &b->array.items[i])) return false;
        return true;
    default:
        return false;
    }
}

bool pv_is_str(const pv *v)
{
    return v && v->kind == PV_STR;
}

bool pv_is_scalar(const pv *v)
{
    return v->kind >= PV_BOOL && v->kind <= PV_BYTES;
}

bool pv_is_nan(const pv *v)
{
    return v->kind == PV_NONE || (v->kind == PV_FLOAT && isnan(v->f));
}

bool pv_all_str(const pv *list)
{
    if (list->kind != PV_LIST) return false;
    for (size_t i = 0; i < list->list.n; i++)
        if (!pv_is_str(&list->list.items[i])) return false;
    return true;
}

bool pv_all_dict(const pv *list)
{
    if (list->kind != PV_LIST) return false;
    for (size_t i = 0; i < list->list.n; i++)
        if (list->list.items[i].kind != PV_DICT) return false;
    return true;
}

/* ---- arrays -------------------------------------------------------------------------------- */

pv pv_array_item(mltf_arena *a, const pv *array, size_t i)
{
    if (array->array.ndim <= 1) return array->array.items[i];
    size_t step = 1;
    for (size_t d = 1; d < array->array.ndim; d++) step *= array->array.shape[d];
    pv v = {.kind = PV_ARRAY, .np = array->np};
    (void)a;
    v.array.items = array->array.items + i * step;
    v.array.n = step;
    v.array.ndim = array->array.ndim - 1;
    v.array.shape = array->array.shape + 1;
    return v;
}

pv pv_unbox(pv v)
{
    if (v.kind != PV_ARRAY) v.np = NP_PYTHON;
    return v;
}

pv pv_array_tolist(mltf_arena *a, const pv *array)
{
    if (array->kind != PV_ARRAY) return pv_unbox(*array);
    if (array->array.ndim == 0) return pv_unbox(array->array.items[0]);
    pv list = pv_list(a, array->array.shape[0]);
    for (size_t i = 0; i < list.list.n; i++) {
        const pv item = pv_array_item(a, array, i);
        list.list.items[i] = pv_array_tolist(a, &item);
    }
    return list;
}

/* The common shape of nested lists: as many dimensions as all lists of a level are equally long. */
static size_t common_shape(const pv *v, size_t *shape, size_t max)
{
    if (max == 0 || v->kind != PV_LIST) return 0;
    shape[0] = v->list.n;
    if (v->list.n == 0) return 1;
    size_t inner[16];
    const size_t cap = max - 1 < 16 ? max - 1 : 16;
    size_t n = common_shape(&v->list.items[0], shape + 1, cap);
    for (size_t i = 1; i < v->list.n; i++) {
        size_t m = common_shape(&v->list.items[i], inner, cap);
        if (m < n) n = m;
        for (size_t d = 0; d < n; d++)
            if (inner[d] != shape[1 + d]) n = d;
    }
    return n + 1;
}

static void flatten(pv *out, size_t *n, const pv *v, size_t depth)
{
    if (depth == 0)
        out[(*n)++] = *v;
    else
        for (size_t i = 0; i < v->list.n; i++) flatten(out, n, &v->list.items[i], depth - 1);
}

static np_type common_type(const pv *items, size_t n)
{
    if (n == 0) return NP_FLOAT64;
    np_type t = NP_PYTHON;
    for (size_t i = 0; i < n; i++) {
        np_type u = NP_OBJECT;
        switch (items[i].kind) {
        case PV_BOOL:
            u = NP_BOOL;
            break;
        case PV_INT:
            u = NP_INT64;
            break;
        case PV_FLOAT:
            u = NP_FLOAT64;
            break;
        case PV_STR:
            u = NP_STR;
            break;
        case PV_BYTES:
            u = NP_BYTES;
            break;
        default:
            break;
        }
        if (t == NP_PYTHON)
            t = u;
        else if (t != u) {
            const bool num_t = t == NP_BOOL || t == NP_INT64 || t == NP_FLOAT64;
            const bool num_u = u == NP_BOOL || u == NP_INT64 || u == NP_FLOAT64;
            if (num_t && num_u)
                t = t == NP_FLOAT64 || u == NP_FLOAT64 ? NP_FLOAT64 : NP_INT64;
            else
                return t == NP_OBJECT || u == NP_OBJECT ? NP_OBJECT : NP_STR;
        }
    }
    return t;
}

pv pv_array_from(mltf_arena *a, const pv *v)
{
    if (v->kind == PV_ARRAY) return *v;
    size_t shape[16];
    const size_t ndim = common_shape(v, shape, 16);
    pv out = pv_array(a, NP_OBJECT, ndim, shape);
    if (out.kind != PV_ARRAY) return out;
    size_t n = 0;
    flatten(out.array.items, &n, v, ndim);
    out.np = common_type(out.array.items, n);
    for (size_t i = 0; i < n && out.np != NP_OBJECT; i++) {
        pv *x = &out.array.items[i];
        if (out.np == NP_FLOAT64)
            *x = pv_float(pv_number(x));
        else if (out.np == NP_INT64 && x->kind == PV_BOOL)
            *x = pv_int(x->b);
        else if (out.np == NP_STR && x->kind != PV_STR) {
            mltf_buf b = MLTF_BUF_INIT;
            pv_print(&b, x);
            *x = pv_str(arena_str(a, buf_str(&b)));
            mltf_buf_release(&b);
        }
        x->np = out.np;
    }
    return out;
}
