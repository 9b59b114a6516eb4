#include "formats/checkpoint_parts.h"

#include <stdlib.h>

#include "base/checked.h"
#include "formats/json.h"

typedef struct range {
    uint64_t begin, end;
    size_t tensor;
} range;

static int by_offset(const void *a, const void *b)
{
    const range *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return 0;
}

static bool dtype_of(mltf_dtype *out, mltf_str name)
{
    for (int t = 0; t < DT_COUNT; t++) {
        const char *known = dtype_st_name((mltf_dtype)t);
        if (known && str_is(name, known)) {
            *out = (mltf_dtype)t;
            return true;
        }
    }
    return false;
}

static mltf_status read_metadata(const json *v, mltf_err *err)
{
    if (!json_is(v, JSON_OBJECT))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "\"__metadata__\" is not an object");
    for (size_t i = 0; i < v->o.n; i++) {
        const json_member *m = &v->o.members[i];
        if (m->value.type != JSON_STRING)
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "\"__metadata__\" holds \"" STR_FMT "\" that is not a text",
                             STR_ARG(m->key));
        if (str_is(m->key, "format") && !str_is(m->value.s, "pt") && !str_is(m->value.s, "mlx"))
            return mltf_fail(
                err, MLTF_UNSUPPORTED,
                "the weights were saved by \"" STR_FMT
                "\", whose layout differs; save them again from PyTorch (format \"pt\")",
                STR_ARG(m->value.s));
    }
    return MLTF_OK;
}

static mltf_status read_tensor(ck_list *out, range *r, const json_member *m, size_t data_bytes,
                               mltf_err *err)
{
    const mltf_str name = m->key;
#define BAD(status, ...) return mltf_fail(err, status, "tensor \"" STR_FMT "\" " __VA_ARGS__)
#define NAME             STR_ARG(name)
    if (!json_is(&m->value, JSON_OBJECT))
        BAD(MLTF_CORRUPT_FILE, "is not described by an object", NAME);
    const json *dtype = json_get(&m->value, "dtype"), *shape = json_get(&m->value, "shape"),
               *offsets = json_get(&m->value, "data_offsets");
    if (!json_is(dtype, JSON_STRING)) BAD(MLTF_CORRUPT_FILE, "has no dtype", NAME);
    mltf_dtype t;
    if (!dtype_of(&t, dtype->s))
        BAD(MLTF_UNSUPPORTED, "has the unknown dtype \"" STR_FMT "\"", NAME, STR_ARG(dtype->s));
    if (!json_is(shape, JSON_ARRAY)) BAD(MLTF_CORRUPT_FILE, "has no shape", NAME);
    if (shape->a.n > LIMIT_TENSOR_DIMS)
        BAD(MLTF_UNSUPPORTED, "has %zu dimensions, the limit is %u", NAME, shape->a.n,
            LIMIT_TENSOR_DIMS);
    if (!json_is(offsets, JSON_ARRAY) || offsets->a.n != 2 ||
        offsets->a.items[0].type != JSON_INT || offsets->a.items[1].type != JSON_INT)
        BAD(MLTF_CORRUPT_FILE, "has no data_offsets of two whole numbers", NAME);
    const int64_t begin = offsets->a.items[0].i, end = offsets->a.items[1].i;
    if (begin < 0 || end < begin || (uint64_t)end > data_bytes)
        BAD(MLTF_CORRUPT_FILE, "lies at bytes %lld to %lld of %zu", NAME, (long long)begin,
            (long long)end, data_bytes);
    size_t count = 1, bytes;
    for (size_t i = 0; i < shape->a.n; i++) {
        const json *d = &shape->a.items[i];
        if (d->type != JSON_INT || d->i < 0)
            BAD(MLTF_CORRUPT_FILE, "has a dimension that is not a whole number from 0 on", NAME);
        if (!checked_mul(&count, count, (size_t)d->i))
            BAD(MLTF_CORRUPT_FILE, "has a shape of more elements than a number can count", NAME);
    }
    if (!checked_mul(&bytes, count, dtype_size(t)) || bytes != (uint64_t)(end - begin))
        BAD(MLTF_CORRUPT_FILE, "has %lld bytes, which its shape and dtype do not make", NAME,
            (long long)(end - begin));
#undef BAD
#undef NAME
    ck_tensor *tensor = ck_list_add(out, name);
    if (!tensor) return mltf_fail_memory(err);
    tensor->dtype = t;
    tensor->ndim = shape->a.n;
    for (size_t i = 0; i < shape->a.n; i++) tensor->shape[i] = (size_t)shape->a.items[i].i;
    tensor->count = count;
    tensor->bytes = bytes;
    *r = (range){(uint64_t)begin, (uint64_t)end, out->n - 1};
    return MLTF_OK;
}

static mltf_status read_header(ck_list *out, const json *header, const uint8_t *data,
                               size_t data_bytes, mltf_err *err)
{
    if (!json_is(header, JSON_OBJECT))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "the header is not a JSON object");
    range *ranges = malloc((header->o.n ? header->o.n : 1) * sizeof *ranges);
    if (!ranges) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    size_t n = 0;
    for (size_t i = 0; i < header->o.n && !st; i++) {
        const json_member *m = &header->o.members[i];
        if (str_is(m->key, "__metadata__"))
            st = read_metadata(&m->value, err);
        else
            st = read_tensor(out, &ranges[n++], m, data_bytes, err);
    }
    if (st) goto done;
    if (n) qsort(ranges, n, sizeof *ranges, by_offset);
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        ck_tensor *t = &out->items[ranges[i].tensor];
        if (ranges[i].begin != at) {
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "tensor \"%s\" begins at byte %llu, expected %llu: %s", t->name,
                           (unsigned long long)ranges[i].begin, (unsigned long long)at,
                           ranges[i].begin < at ? "tensors overlap" : "there is a hole before it");
            goto done;
        }
        t->data = data + at;
        at = ranges[i].end;
    }
    if (at != data_bytes)
        st = mltf_fail(
            err, MLTF_CORRUPT_FILE,
            "%zu bytes lie behind the last tensor: the file and its header do not belong together",
            (size_t)(data_bytes - at));
done:
    free(ranges);
    return st;
}

mltf_status st_read(ck_list *out, const uint8_t *p, size_t n, mltf_err *err)
{
    TRY(ck_refuse_placeholder(p, n, err));
    if (n < 8)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "the file has %zu bytes, too few for a safetensors header", n);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | p[i];
    if (length > LIMIT_ST_HEADER_BYTES)
        return mltf_fail(
            err, MLTF_CORRUPT_FILE,
            "this is no safetensors file: the header would have %llu bytes, the limit is %zu",
            (unsigned long long)length, LIMIT_ST_HEADER_BYTES);
    if (length > n - 8)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "the header has %llu bytes, the file only %zu: it was cut off",
                         (unsigned long long)length, n);
    json_doc doc = JSON_DOC_INIT;
    const json_parse_options strict = {.strict = true, .max_depth = 8};
    mltf_status st = json_parse(&doc, (const char *)p + 8, (size_t)length, &strict, err);
    if (st)
        mltf_err_wrap(err, "the header is not sound");
    else
        st = read_header(out, doc.root, p + 8 + length, n - 8 - (size_t)length, err);
    json_doc_release(&doc);
    return st;
}
