#include "mlflow/pyvalue.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf8.h"
#include "formats/base64.h"

/* ---- making -------------------------------------------------------------------------------- */

static void *take(mltf_arena *a, size_t n, size_t size)
{
    if (n == 0) n = 1;
    if (size > SIZE_MAX / n) {
        a->failed = true;
        return NULL;
    }
    void *p = arena_alloc_small(a, n * size);
    if (p) memset(p, 0, n * size);
    return p;
}

pv pv_list(mltf_arena *a, size_t n)
{
    pv v = {.kind = PV_LIST};
    v.list.items = take(a, n, sizeof *v.list.items);
    v.list.n = v.list.items ? n : 0;
    return v;
}

pv pv_dict(mltf_arena *a, size_t cap)
{
    pv v = {.kind = PV_DICT};
    v.dict.pairs = take(a, cap, sizeof *v.dict.pairs);
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
    v.array.shape = take(a, ndim, sizeof *v.array.shape);
    v.array.items = take(a, n, sizeof *v.array.items);
    if (!v.array.shape || !v.array.items) return (pv){.kind = PV_NONE};
    if (ndim > 0) memcpy(v.array.shape, shape, ndim * sizeof *shape);
    v.array.n = n;
    v.array.ndim = ndim;
    return v;
}

pv_frame *pv_frame_new(mltf_arena *a, size_t n_cols, size_t n_rows)
{
    pv_frame *f = take(a, 1, sizeof *f);
    size_t n;
    // rows with ever other keys would make a frame far larger than the request
    if (!f || !checked_mul(&n, n_cols, n_rows) || n > PV_MAX_CELLS) return NULL;
    f->n_cols = n_cols;
    f->n_rows = n_rows;
    f->names = take(a, n_cols, sizeof *f->names);
    f->types = take(a, n_cols, sizeof *f->types);
    f->cells = take(a, n, sizeof *f->cells);
    return f->names && f->types && f->cells ? f : NULL;
}

/* Keys to numbers, by hashing: objects and frames of hostile requests may have very many keys. */
typedef struct key_index {
    const pv *keys;  /* [n] borrowed: number i is keys[i] */
    uint32_t *slots; /* [size] number + 1; 0: free */
    size_t size;     /* a power of two */
} key_index;

static bool key_index_make(key_index *x, mltf_arena *a, const pv *keys, size_t cap)
{
    x->keys = keys;
    x->size = 16;
    while (x->size < 2 * cap) x->size *= 2;
    x->slots = arena_calloc(a, x->size, sizeof *x->slots);
    return x->slots != NULL;
}

/* The slot of that key: where its number is, or would be. */
static uint32_t *key_slot(const key_index *x, const pv *key)
{
    uint64_t h = 1469598103934665603u; // FNV-1a
    if (key->kind == PV_INT)
        h ^= (uint64_t)key->i;
    else
        for (size_t i = 0; i < key->s.n; i++) h = (h ^ (unsigned char)key->s.p[i]) * 1099511628211u;
    for (size_t at = (size_t)(h ^ h >> 32) & (x->size - 1);; at = (at + 1) & (x->size - 1))
        if (x->slots[at] == 0 || pv_key_equal(&x->keys[x->slots[at] - 1], key))
            return &x->slots[at];
}

/* Python's dict: a repeated key keeps its place and takes the last value. */
static pv dict_from_json(mltf_arena *a, const json *v)
{
    enum { FEW = 16 };
    pv dict = pv_dict(a, v->o.n);
    pv *keys = v->o.n > FEW ? take(a, v->o.n, sizeof *keys) : NULL;
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
        for (size_t i = 0; i < v->dict.n; i++)
            json_set_str(a, out, key_text(a, &v->dict.pairs[i].key),
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

static double number_of(const pv *v)
{
    return v->kind == PV_BOOL ? (double)v->b : v->kind == PV_INT ? (double)v->i : v->f;
}

bool pv_equal(const pv *a, const pv *b)
{
    const bool na = a->kind == PV_BOOL || a->kind == PV_INT || a->kind == PV_FLOAT;
    const bool nb = b->kind == PV_BOOL || b->kind == PV_INT || b->kind == PV_FLOAT;
    if (na && nb) {
        if (a->kind == PV_INT && b->kind == PV_INT) return a->i == b->i;
        return number_of(a) == number_of(b);
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
            *x = pv_float(number_of(x));
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

/* ---- names --------------------------------------------------------------------------------- */

static const char *const np_names[NP_COUNT] = {
    [NP_PYTHON] = "",
    [NP_OBJECT] = "object",
    [NP_BOOL] = "bool",
    [NP_INT8] = "int8",
    [NP_INT16] = "int16",
    [NP_INT32] = "int32",
    [NP_INT64] = "int64",
    [NP_UINT8] = "uint8",
    [NP_UINT16] = "uint16",
    [NP_UINT32] = "uint32",
    [NP_UINT64] = "uint64",
    [NP_FLOAT16] = "float16",
    [NP_FLOAT32] = "float32",
    [NP_FLOAT64] = "float64",
    [NP_STR] = "str",
    [NP_BYTES] = "bytes",
    [NP_DATETIME] = "datetime64[ns]",
};

const char *np_name(np_type t)
{
    return t < NP_COUNT ? np_names[t] : "object";
}

np_type np_from_name(mltf_str name)
{
    if (name.n > 1 && (name.p[0] == '<' || name.p[0] == '|' || name.p[0] == '>')) {
        if (name.p[1] == 'U') return NP_STR;
        if (name.p[1] == 'S') return NP_BYTES;
    }
    if (str_is(name, "string") || str_is(name, "str_")) return NP_STR;
    if (str_starts(name, "datetime64")) return NP_DATETIME;
    for (np_type t = NP_OBJECT; t < NP_COUNT; t++)
        if (str_is(name, np_names[t])) return t;
    return NP_COUNT;
}

const char *pv_class(const pv *v)
{
    static const char *const numpy[NP_COUNT] = {
        [NP_BOOL] = "bool",       [NP_INT8] = "int8",       [NP_INT16] = "int16",
        [NP_INT32] = "int32",     [NP_INT64] = "int64",     [NP_UINT8] = "uint8",
        [NP_UINT16] = "uint16",   [NP_UINT32] = "uint32",   [NP_UINT64] = "uint64",
        [NP_FLOAT16] = "float16", [NP_FLOAT32] = "float32", [NP_FLOAT64] = "float64",
        [NP_STR] = "str_",        [NP_BYTES] = "bytes_",    [NP_DATETIME] = "datetime64",
    };
    if (v->kind != PV_ARRAY && v->np < NP_COUNT && numpy[v->np]) return numpy[v->np];
    switch (v->kind) {
    case PV_NONE:
        return "NoneType";
    case PV_BOOL:
        return "bool";
    case PV_INT:
    case PV_BIGINT:
        return "int";
    case PV_FLOAT:
        return "float";
    case PV_STR:
        return "str";
    case PV_BYTES:
        return "bytes";
    case PV_LIST:
        return "list";
    case PV_TUPLE:
        return "tuple";
    case PV_DICT:
        return "dict";
    case PV_ARRAY:
        return "ndarray";
    case PV_FRAME:
        return "DataFrame";
    case PV_OTHER:
        return v->s.n ? v->s.p : "object";
    }
    return "object";
}

const char *pv_type_repr(mltf_arena *a, const pv *v)
{
    const char *module = "";
    if (v->kind == PV_ARRAY || (v->np != NP_PYTHON && v->kind != PV_FRAME))
        module = "numpy.";
    else if (v->kind == PV_FRAME)
        module = "pandas.";
    const char *s = arena_printf(a, "<class '%s%s'>", module, pv_class(v));
    return s ? s : "";
}

/* ---- printing ------------------------------------------------------------------------------ */

static void put_hex(mltf_buf *out, char kind, unsigned v, int digits)
{
    buf_printf(out, "\\%c%0*x", kind, digits, v);
}

static void repr_str(mltf_buf *out, mltf_str s)
{
    const bool single = memchr(s.p ? s.p : "", '\'', s.n) && !memchr(s.p ? s.p : "", '"', s.n);
    const char quote = single ? '"' : '\'';
    buf_putc(out, quote);
    for (size_t i = 0; i < s.n;) {
        size_t len = 1;
        const uint32_t c = utf8_decode(s.p + i, s.n - i, &len);
        if (c == (uint32_t)quote || c == '\\') {
            buf_putc(out, '\\');
            buf_putc(out, (char)c);
        } else if (c == '\n')
            buf_puts(out, "\\n");
        else if (c == '\r')
            buf_puts(out, "\\r");
        else if (c == '\t')
            buf_puts(out, "\\t");
        else if (c < 0x20 || c == 0x7F || (c >= 0x80 && c < 0xA0) || c == 0xAD)
            put_hex(out, 'x', c, 2);
        else if (c == 0xA0)
            buf_puts(out, "\\xa0");
        else if (c == 0x2028 || c == 0x2029 || c == 0xFEFF || (c >= 0x200B && c <= 0x200F))
            put_hex(out, 'u', c, 4);
        else
            buf_append(out, s.p + i, len);
        i += len;
    }
    buf_putc(out, quote);
}

static void repr_bytes(mltf_buf *out, mltf_str s)
{
    const bool single = memchr(s.p ? s.p : "", '\'', s.n) && !memchr(s.p ? s.p : "", '"', s.n);
    const char quote = single ? '"' : '\'';
    buf_putc(out, 'b');
    buf_putc(out, quote);
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if (c == (unsigned char)quote || c == '\\') {
            buf_putc(out, '\\');
            buf_putc(out, (char)c);
        } else if (c == '\n')
            buf_puts(out, "\\n");
        else if (c == '\r')
            buf_puts(out, "\\r");
        else if (c == '\t')
            buf_puts(out, "\\t");
        else if (c < 0x20 || c >= 0x7F)
            put_hex(out, 'x', c, 2);
        else
            buf_putc(out, (char)c);
    }
    buf_putc(out, quote);
}

static void repr_float(mltf_buf *out, double f)
{
    if (isnan(f))
        buf_puts(out, "nan");
    else if (isinf(f))
        buf_puts(out, f < 0 ? "-inf" : "inf");
    else
        json_write_double(out, f);
}

static void array_body(mltf_buf *out, const pv *items, const size_t *shape, size_t ndim,
                       bool commas, size_t indent)
{
    if (ndim == 0) {
        pv_repr(out, items);
        return;
    }
    size_t step = 1;
    for (size_t d = 1; d < ndim; d++) step *= shape[d];
    buf_putc(out, '[');
    for (size_t i = 0; i < shape[0]; i++) {
        if (i > 0) {
            if (commas) buf_putc(out, ',');
            if (ndim > 1) {
                buf_putc(out, '\n');
                for (size_t k = 0; k < indent + 1; k++) buf_putc(out, ' ');
            } else
                buf_putc(out, ' ');
        }
        pv one = items[i * step];
        if (ndim == 1) {
            one.np = NP_PYTHON;
            mltf_buf b = MLTF_BUF_INIT;
            pv_repr(&b, &one);
            if (one.kind == PV_FLOAT && b.n > 2 && b.p[b.n - 1] == '0' && b.p[b.n - 2] == '.')
                b.n--;
            buf_put_str(out, buf_str(&b));
            mltf_buf_release(&b);
        } else
            array_body(out, items + i * step, shape + 1, ndim - 1, commas, indent + 1);
    }
    buf_putc(out, ']');
}

static void repr_array(mltf_buf *out, const pv *v)
{
    buf_puts(out, "array(");
    array_body(out, v->array.items, v->array.shape, v->array.ndim, true, 6);
    if (v->np == NP_STR) {
        size_t longest = 1;
        for (size_t i = 0; i < v->array.n; i++)
            if (v->array.items[i].kind == PV_STR) {
                const size_t n = utf8_count(v->array.items[i].s.p, v->array.items[i].s.n);
                if (n > longest) longest = n;
            }
        buf_printf(out, ", dtype='<U%zu'", longest);
    } else if (v->np != NP_INT64 && v->np != NP_FLOAT64 && v->np != NP_BOOL)
        buf_printf(out, ", dtype=%s", np_name(v->np));
    buf_putc(out, ')');
}

static void frame_cell(mltf_buf *out, const pv *v)
{
    if (v->kind == PV_FLOAT && isnan(v->f))
        buf_puts(out, "NaN");
    else
        pv_print(out, v);
    if (utf8_count(out->p ? out->p : "", out->n) > 50) { // pandas' display.max_colwidth
        size_t keep = 0;
        for (size_t chars = 0; keep < out->n; keep++)
            if (((unsigned char)out->p[keep] & 0xC0) != 0x80 && chars++ == 46) break;
        out->n = keep;
        buf_puts(out, "...");
    }
}

static void pad(mltf_buf *out, size_t have, size_t want)
{
    for (; have < want; have++) buf_putc(out, ' ');
}

static void print_frame(mltf_buf *out, const pv_frame *f)
{
    const size_t rows = f->n_rows < 60 ? f->n_rows : 60;
    mltf_buf cell = MLTF_BUF_INIT, index = MLTF_BUF_INIT;
    buf_printf(&index, "%zu", f->n_rows ? f->n_rows - 1 : 0);
    for (size_t r = 0; r <= rows; r++) {
        if (r > 0) buf_putc(out, '\n');
        buf_clear(&cell);
        if (r > 0) buf_printf(&cell, "%zu", r - 1);
        buf_put_str(out, buf_str(&cell));
        pad(out, cell.n, index.n);
        for (size_t c = 0; c < f->n_cols; c++) {
            size_t width = 0;
            for (size_t k = 0; k <= rows; k++) {
                buf_clear(&cell);
                if (k == 0)
                    pv_print(&cell, &f->names[c]);
                else
                    frame_cell(&cell, pv_cell(f, c, k - 1));
                // pandas puts a blank before each cell, but not before the name
                const size_t n = utf8_count(cell.p ? cell.p : "", cell.n) + (k > 0);
                if (n > width) width = n;
            }
            buf_clear(&cell);
            if (r == 0)
                pv_print(&cell, &f->names[c]);
            else
                frame_cell(&cell, pv_cell(f, c, r - 1));
            buf_putc(out, ' ');
            pad(out, utf8_count(cell.p ? cell.p : "", cell.n), width);
            buf_put_str(out, buf_str(&cell));
        }
    }
    mltf_buf_release(&cell);
    mltf_buf_release(&index);
}

void pv_repr(mltf_buf *out, const pv *v)
{
    const bool boxed = v->np != NP_PYTHON && v->kind >= PV_BOOL && v->kind <= PV_BYTES;
    if (boxed) buf_printf(out, "np.%s(", v->kind == PV_BOOL ? "bool" : pv_class(v));
    switch (v->kind) {
    case PV_NONE:
        buf_puts(out, "None");
        break;
    case PV_BOOL:
        buf_puts(out, v->b ? "True" : "False");
        break;
    case PV_INT:
        buf_printf(out, "%lld", (long long)v->i);
        break;
    case PV_BIGINT:
        buf_put_str(out, v->s);
        break;
    case PV_FLOAT:
        if (v->np == NP_FLOAT32)
            json_write_float(out, (float)v->f);
        else
            repr_float(out, v->f);
        break;
    case PV_STR:
        repr_str(out, v->s);
        break;
    case PV_BYTES:
        repr_bytes(out, v->s);
        break;
    case PV_LIST:
    case PV_TUPLE:
        buf_putc(out, v->kind == PV_LIST ? '[' : '(');
        for (size_t i = 0; i < v->list.n; i++) {
            if (i > 0) buf_puts(out, ", ");
            pv_repr(out, &v->list.items[i]);
        }
        if (v->kind == PV_TUPLE && v->list.n == 1) buf_putc(out, ',');
        buf_putc(out, v->kind == PV_LIST ? ']' : ')');
        break;
    case PV_DICT:
        buf_putc(out, '{');
        for (size_t i = 0; i < v->dict.n; i++) {
            if (i > 0) buf_puts(out, ", ");
            pv_repr(out, &v->dict.pairs[i].key);
            buf_puts(out, ": ");
            pv_repr(out, &v->dict.pairs[i].value);
        }
        buf_putc(out, '}');
        break;
    case PV_ARRAY:
        repr_array(out, v);
        break;
    case PV_FRAME:
        print_frame(out, v->frame);
        break;
    case PV_OTHER:
        buf_printf(out, "<%.*s object>", STR_ARG(v->s));
        break;
    }
    if (boxed) buf_putc(out, ')');
}

void pv_print(mltf_buf *out, const pv *v)
{
    if (v->kind == PV_STR)
        buf_put_str(out, v->s);
    else if (v->kind == PV_ARRAY)
        array_body(out, v->array.items, v->array.shape, v->array.ndim, false, 0);
    else {
        const pv plain = v->kind == PV_FRAME ? *v : pv_unbox(*v);
        pv_repr(out, &plain);
    }
}

/* ---- frames -------------------------------------------------------------------------------- */

/* Past 2^63 but not past 2^64, and nothing negative. */
static bool all_uint64(const pv *cells, size_t n)
{
    static const char largest[] = "18446744073709551615";
    for (size_t i = 0; i < n; i++) {
        const mltf_str s = cells[i].s;
        if (cells[i].kind == PV_INT ? cells[i].i < 0
                                    : cells[i].kind != PV_BIGINT || s.p[0] == '-' || s.n > 20 ||
                                          (s.n == 20 && memcmp(s.p, largest, 20) > 0))
            return false;
    }
    return true;
}

np_type pv_infer_column(pv *cells, size_t n)
{
    size_t kinds[PV_OTHER + 1] = {0};
    for (size_t i = 0; i < n; i++) {
        kinds[cells[i].kind]++;
        cells[i] = pv_unbox(cells[i]);
    }
    const size_t none = kinds[PV_NONE];
    size_t nans = 0;
    for (size_t i = 0; i < n; i++)
        if (cells[i].kind == PV_FLOAT && isnan(cells[i].f)) nans++;
    if (n == 0 || none == n) return NP_OBJECT;
    if (kinds[PV_STR] > 0 && kinds[PV_STR] + none + nans == n) {
        for (size_t i = 0; i < n; i++)
            if (cells[i].kind == PV_NONE) cells[i] = pv_float(NAN);
        return NP_STR;
    }
    if (kinds[PV_BOOL] == n) return NP_BOOL;
    if (kinds[PV_INT] == n) return NP_INT64;
    if (kinds[PV_BIGINT] > 0 && all_uint64(cells, n)) return NP_UINT64;
    if (kinds[PV_INT] + kinds[PV_FLOAT] + none == n) {
        for (size_t i = 0; i < n; i++)
            cells[i] = pv_float(cells[i].kind == PV_NONE ? NAN : number_of(&cells[i]));
        return NP_FLOAT64;
    }
    return NP_OBJECT;
}

static void infer_columns(pv_frame *f)
{
    for (size_t c = 0; c < f->n_cols; c++)
        f->types[c] = pv_infer_column(f->cells + c * f->n_rows, f->n_rows);
}

/* pandas: rows that are dicts give named columns in order of first appearance; rows that are lists give
 * columns 0, 1, …; anything else one column 0. */
pv_frame *pv_frame_from_rows(mltf_arena *a, const pv *rows, mltf_err *err)
{
    pv list = rows->kind == PV_ARRAY ? pv_none() : *rows;
    np_type given = NP_PYTHON;
    if (rows->kind == PV_ARRAY) {
        if (rows->array.ndim > 2) {
            mltf_fail(err, MLTF_SCHEMA_MISMATCH, "Must pass 2-d input. shape=%zu dimensions",
                      rows->array.ndim);
            return NULL;
        }
        list = pv_array_tolist(a, rows);
        if (list.kind != PV_LIST) {
            pv one = pv_list(a, 1);
            if (one.list.n) one.list.items[0] = list;
            list = one;
        }
        given = rows->np;
    }
    const size_t n = list.list.n;
    bool dicts = n > 0, lists = n > 0;
    for (size_t i = 0; i < n; i++) {
        if (list.list.items[i].kind != PV_DICT) dicts = false;
        if (list.list.items[i].kind != PV_LIST && list.list.items[i].kind != PV_TUPLE)
            lists = false;
    }
    pv_frame *f = NULL;
    if (dicts) {
        size_t total = 0, cols = 0;
        for (size_t i = 0; i < n; i++) total += list.list.items[i].dict.n;
        pv names = pv_list(a, total);
        key_index x = {0};
        if (!names.list.items || !key_index_make(&x, a, names.list.items, total)) {
            mltf_fail_memory(err);
            return NULL;
        }
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < list.list.items[i].dict.n; k++) {
                uint32_t *slot = key_slot(&x, &list.list.items[i].dict.pairs[k].key);
                if (*slot) continue;
                names.list.items[cols++] = list.list.items[i].dict.pairs[k].key;
                *slot = (uint32_t)cols;
            }
        if (cols > 0 && n > PV_MAX_CELLS / cols) {
            mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                      "%zu rows with %zu different keys make a frame of more than %zu cells", n,
                      cols, PV_MAX_CELLS);
            return NULL;
        }
        f = pv_frame_new(a, cols, n);
        for (size_t c = 0; f && c < cols; c++) {
            f->names[c] = names.list.items[c];
            for (size_t i = 0; i < n; i++) *pv_cell(f, c, i) = pv_float(NAN);
        }
        for (size_t i = 0; f && i < n; i++)
            for (size_t k = 0; k < list.list.items[i].dict.n; k++) {
                const pv_pair *pair = &list.list.items[i].dict.pairs[k];
                *pv_cell(f, *key_slot(&x, &pair->key) - 1, i) = pair->value;
            }
    } else if (lists) {
        size_t cols = 0;
        for (size_t i = 0; i < n; i++)
            if (list.list.items[i].list.n > cols) cols = list.list.items[i].list.n;
        f = pv_frame_new(a, cols, n);
        for (size_t c = 0; f && c < cols; c++) {
            f->names[c] = pv_int((int64_t)c);
            for (size_t i = 0; i < n; i++)
                *pv_cell(f, c, i) =
                    c < list.list.items[i].list.n ? list.list.items[i].list.items[c] : pv_none();
        }
    } else {
        f = pv_frame_new(a, n > 0 ? 1 : 0, n);
        if (f && n > 0) {
            f->names[0] = pv_int(0);
            memcpy(f->cells, list.list.items, n * sizeof *f->cells);
        }
    }
    if (!f) {
        mltf_fail_memory(err);
        return NULL;
    }
    if (given == NP_PYTHON || given == NP_OBJECT)
        infer_columns(f);
    else
        for (size_t c = 0; c < f->n_cols; c++) f->types[c] = given == NP_BYTES ? NP_OBJECT : given;
    return f;
}

pv_frame *pv_frame_from_columns(mltf_arena *a, const pv *dict, mltf_err *err)
{
    size_t rows = 0;
    bool known = false, dicts = false, lists = false;
    for (size_t c = 0; c < dict->dict.n; c++) {
        const pv *v = &dict->dict.pairs[c].value;
        size_t n;
        if (v->kind == PV_ARRAY) {
            if (v->array.ndim == 0) continue; // a scalar: repeated
            if (v->array.ndim > 1) {
                mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                          "Per-column arrays must each be 1-dimensional");
                return NULL;
            }
            n = v->array.n;
        } else if (v->kind == PV_LIST || v->kind == PV_TUPLE)
            n = v->list.n;
        else if (v->kind == PV_DICT) { // its keys become the rows
            n = v->dict.n;
            dicts = true;
        } else
            continue;
        if (known && n != rows) {
            mltf_fail(err, MLTF_SCHEMA_MISMATCH, "All arrays must be of the same length");
            return NULL;
        }
        lists |= v->kind != PV_DICT;
        rows = n;
        known = true;
    }
    if (dicts && lists) {
        mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                  "Mixing dicts with non-Series may lead to ambiguous ordering.");
        return NULL;
    }
    if (!known && dict->dict.n > 0) {
        mltf_fail(err, MLTF_SCHEMA_MISMATCH, "If using all scalar values, you must pass an index");
        return NULL;
    }
    pv_frame *f = pv_frame_new(a, dict->dict.n, rows);
    if (!f) {
        mltf_fail_memory(err);
        return NULL;
    }
    for (size_t c = 0; c < f->n_cols; c++) {
        const pv *v = &dict->dict.pairs[c].value;
        f->names[c] = dict->dict.pairs[c].key;
        for (size_t i = 0; i < rows; i++) {
            pv x = *v;
            if (v->kind == PV_ARRAY)
                x = v->array.items[v->array.ndim == 0 ? 0 : i];
            else if (v->kind == PV_LIST || v->kind == PV_TUPLE)
                x = v->list.items[i];
            else if (v->kind == PV_DICT)
                x = v->dict.pairs[i].value;
            *pv_cell(f, c, i) = pv_unbox(x);
        }
        f->types[c] = pv_infer_column(f->cells + c * rows, rows);
        if (v->kind == PV_ARRAY && v->np != NP_OBJECT && v->np != NP_BYTES) f->types[c] = v->np;
    }
    return f;
}

int pv_frame_column(const pv_frame *f, const pv *name)
{
    for (size_t c = 0; c < f->n_cols; c++)
        if (pv_key_equal(&f->names[c], name)) return (int)c;
    return -1;
}

pv pv_frame_records(mltf_arena *a, const pv_frame *f)
{
    pv list = pv_list(a, f->n_rows);
    for (size_t r = 0; r < list.list.n; r++) {
        pv row = pv_dict(a, f->n_cols);
        for (size_t c = 0; c < f->n_cols; c++) pv_dict_add(&row, f->names[c], *pv_cell(f, c, r));
        list.list.items[r] = row;
    }
    return list;
}
