#include "formats/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/utf8.h"

struct gguf_file {
    mltf_map map; // empty where the bytes are the caller's
    mltf_arena arena;
    gguf_value *values; // [n_values], sorted by key
    size_t n_values;
    gguf_tensor *tensors; // [n_tensors]
    size_t n_tensors;
    const gguf_tensor **by_name; // sorted
};

typedef struct cursor {
    const uint8_t *start, *p, *end;
    mltf_err *err;
} cursor;

static mltf_status corrupt(cursor *c, const char *why)
{
    return mltf_fail(c->err, MLTF_CORRUPT_FILE, "the GGUF file is damaged near byte %zu: %s",
                     (size_t)(c->p - c->start), why);
}

static uint64_t little(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = n; i-- > 0;) v = v << 8 | p[i];
    return v;
}

static mltf_status take(cursor *c, const uint8_t **out, uint64_t n)
{
    if (n > (uint64_t)(c->end - c->p)) return corrupt(c, "it ends in the middle");
    *out = c->p;
    c->p += n;
    return MLTF_OK;
}

static mltf_status take_uint(cursor *c, size_t bytes, uint64_t *out)
{
    const uint8_t *p = NULL;
    TRY(take(c, &p, bytes));
    *out = little(p, bytes);
    return MLTF_OK;
}

static mltf_status take_text(cursor *c, mltf_str *out)
{
    uint64_t n = 0;
    const uint8_t *p = NULL;
    TRY(take_uint(c, 8, &n));
    TRY(take(c, &p, n));
    *out = (mltf_str){(const char *)p, (size_t)n};
    return MLTF_OK;
}

static mltf_status take_name(cursor *c, mltf_str *out)
{
    TRY(take_text(c, out));
    if (out->n == 0 || out->n > 65535 || memchr(out->p, '\0', out->n) ||
        !utf8_valid(out->p, out->n))
        return corrupt(c, "a name is empty, too long or not a text");
    return MLTF_OK;
}

static size_t value_size(uint64_t type)
{
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

static mltf_status read_value(cursor *c, mltf_arena *arena, gguf_value *v)
{
    uint64_t type = 0, n = 1;
    TRY(take_name(c, &v->key));
    TRY(take_uint(c, 4, &type));
    if (type == GGUF_V_ARRAY) {
        v->is_array = true;
        TRY(take_uint(c, 4, &type));
        TRY(take_uint(c, 8, &n));
    }
    v->type = (gguf_value_type)type;
    const size_t size = value_size(type);
    if (size) {
        if (n > (uint64_t)(c->end - c->p) / size)
            return corrupt(c, "an array reaches past the end");
        v->n = (size_t)n;
        return take(c, &v->data, n * size);
    }
    if (type != GGUF_V_STRING)
        return mltf_fail(c->err, MLTF_UNSUPPORTED,
                         "\"" STR_FMT "\" has a value of the unknown type %llu", STR_ARG(v->key),
                         (unsigned long long)type);
    if (n > (uint64_t)(c->end - c->p) / 8) return corrupt(c, "an array reaches past the end");
    v->n = (size_t)n;
    mltf_str *strings = arena_calloc(arena, v->n + 1, sizeof *strings);
    if (!strings) return mltf_fail_memory(c->err);
    for (size_t i = 0; i < v->n; i++) TRY(take_text(c, &strings[i]));
    v->strings = strings;
    return MLTF_OK;
}

static bool block_of(uint64_t type, size_t *elements, size_t *bytes)
{
    switch (type) {
#define X(name, number, e, b)                                                                      \
    case number:                                                                                   \
        *elements = e;                                                                             \
        *bytes = b;                                                                                \
        return true;
        GGUF_TENSOR_TYPES(X)
#undef X
    default:
        return false;
    }
}

const char *gguf_type_name(gguf_tensor_type t)
{
    switch (t) {
#define X(name, number, e, b)                                                                      \
    case GGUF_##name:                                                                              \
        return #name;
        GGUF_TENSOR_TYPES(X)
#undef X
    }
    return "?";
}

/* The data pointer is set later; until then .data is NULL and *offset holds where it will be. */
static mltf_status read_tensor(cursor *c, gguf_tensor *t, uint64_t *offset)
{
    uint64_t ndim = 0, type = 0;
    TRY(take_name(c, &t->name));
    TRY(take_uint(c, 4, &ndim));
    if (ndim > 4)
        return mltf_fail(c->err, MLTF_UNSUPPORTED,
                         "tensor \"" STR_FMT "\" has %llu dimensions, the limit is 4",
                         STR_ARG(t->name), (unsigned long long)ndim);
    t->ndim = (size_t)ndim;
    t->count = 1;
    for (size_t i = 0; i < 4; i++) {
        uint64_t d = 1;
        if (i < ndim) TRY(take_uint(c, 8, &d));
        t->shape[i] = (size_t)d;
        if (d > INT64_MAX || !checked_mul(&t->count, t->count, (size_t)d))
            return corrupt(c, "a tensor has more elements than a number can count");
    }
    TRY(take_uint(c, 4, &type));
    TRY(take_uint(c, 8, offset));
    size_t elements, bytes;
    if (!block_of(type, &elements, &bytes))
        return mltf_fail(c->err, MLTF_UNSUPPORTED,
                         "tensor \"" STR_FMT "\" has the type %llu, which is not supported",
                         STR_ARG(t->name), (unsigned long long)type);
    t->type = (gguf_tensor_type)type;
    if (t->shape[0] % elements) return corrupt(c, "a row of a tensor ends inside a block");
    if (!checked_mul(&t->bytes, t->count / elements, bytes))
        return corrupt(c, "a tensor is larger than memory");
    return MLTF_OK;
}

static int compare(mltf_str a, mltf_str b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : a.n < b.n ? -1 : a.n > b.n;
}

static int by_key(const void *a, const void *b)
{
    return compare(((const gguf_value *)a)->key, ((const gguf_value *)b)->key);
}

static int by_name(const void *a, const void *b)
{
    return compare((*(const gguf_tensor *const *)a)->name, (*(const gguf_tensor *const *)b)->name);
}

static mltf_status read_all(gguf_file *g, cursor *c)
{
    uint64_t version = 0, n_tensors = 0, n_values = 0;
    if (c->end - c->p < 4 || memcmp(c->p, "GGUF", 4) != 0)
        return mltf_fail(c->err, MLTF_CORRUPT_FILE,
                         "this is no GGUF file: it does not begin with \"GGUF\"");
    c->p += 4;
    TRY(take_uint(c, 4, &version));
    if (version != 2 && version != 3)
        return mltf_fail(
            c->err, MLTF_UNSUPPORTED, "the GGUF file has version %llu%s, known are 2 and 3",
            (unsigned long long)version, version > 0xFFFF ? " (is it big-endian?)" : "");
    TRY(take_uint(c, 8, &n_tensors));
    TRY(take_uint(c, 8, &n_values));
    // an entry has at least 13 bytes, a tensor 24
    const uint64_t left = (uint64_t)(c->end - c->p);
    if (n_values > left / 13 || n_tensors > left / 24)
        return corrupt(c, "it is too short for what it says it holds");
    g->values = arena_calloc(&g->arena, (size_t)n_values + 1, sizeof *g->values);
    if (!g->values) return mltf_fail_memory(c->err);
    for (; g->n_values < n_values; g->n_values++)
        TRY(read_value(c, &g->arena, &g->values[g->n_values]));
    qsort(g->values, g->n_values, sizeof *g->values, by_key);
    for (size_t i = 1; i < g->n_values; i++) {
        if (str_eq(g->values[i].key, g->values[i - 1].key))
            return mltf_fail(c->err, MLTF_CORRUPT_FILE, "the key \"" STR_FMT "\" is there twice",
                             STR_ARG(g->values[i].key));
    }

    g->tensors = arena_calloc(&g->arena, (size_t)n_tensors + 1, sizeof *g->tensors);
    g->by_name = arena_calloc(&g->arena, (size_t)n_tensors + 1, sizeof *g->by_name);
    uint64_t *offsets = arena_calloc(&g->arena, (size_t)n_tensors + 1, sizeof *offsets);
    if (!g->tensors || !g->by_name || !offsets) return mltf_fail_memory(c->err);
    for (; g->n_tensors < n_tensors; g->n_tensors++)
        TRY(read_tensor(c, &g->tensors[g->n_tensors], &offsets[g->n_tensors]));

    const int64_t alignment = gguf_int(g, "general.alignment", 32);
    if (alignment < 1 || alignment > 65536 || (alignment & (alignment - 1)))
        return corrupt(c, "general.alignment is not a power of two");
    const size_t header = (size_t)(c->p - c->start);
    const size_t data = (header + (size_t)alignment - 1) & ~((size_t)alignment - 1);
    const size_t size = (size_t)(c->end - c->start);
    for (size_t i = 0; i < g->n_tensors; i++) {
        gguf_tensor *t = &g->tensors[i];
        if (offsets[i] % (uint64_t)alignment || data > size || offsets[i] > size - data ||
            t->bytes > size - data - offsets[i])
            return mltf_fail(c->err, MLTF_CORRUPT_FILE,
                             "tensor \"" STR_FMT "\" lies outside of the file (was it cut off?)",
                             STR_ARG(t->name));
        t->data = c->start + data + offsets[i];
        g->by_name[i] = t;
    }
    qsort(g->by_name, g->n_tensors, sizeof *g->by_name, by_name);
    for (size_t i = 1; i < g->n_tensors; i++) {
        if (str_eq(g->by_name[i]->name, g->by_name[i - 1]->name))
            return mltf_fail(c->err, MLTF_CORRUPT_FILE, "tensor \"" STR_FMT "\" is there twice",
                             STR_ARG(g->by_name[i]->name));
    }
    return MLTF_OK;
}

mltf_status gguf_read(gguf_file **out, const uint8_t *p, size_t n, mltf_err *err)
{
    *out = NULL;
    gguf_file *g = calloc(1, sizeof *g);
    if (!g) return mltf_fail_memory(err);
    cursor c = {p, p, p + n, err};
    const mltf_status st = read_all(g, &c);
    if (st)
        gguf_close(g);
    else
        *out = g;
    return st;
}

mltf_status gguf_open(gguf_file **out, const char *path, mltf_err *err)
{
    *out = NULL;
    mltf_map map;
    TRY(map_open(&map, path, err));
    const mltf_status st = gguf_read(out, map.p, map.n, err);
    if (st) {
        mltf_err_wrap(err, "could not read \"%s\"", path);
        map_close(&map);
    } else {
        (*out)->map = map;
    }
    return st;
}

mltf_status gguf_refuse(const char *path, mltf_err *err)
{
    char magic[4] = "";
    FILE *f = file_exists(path) ? fopen(path, "rb") : NULL;
    const bool is = f && fread(magic, 1, sizeof magic, f) == sizeof magic &&
                    memcmp(magic, "GGUF", sizeof magic) == 0;
    if (f) fclose(f);
    if (!is) return MLTF_OK;
    return mltf_fail(err, MLTF_UNSUPPORTED,
                     "\"%s\" is a GGUF file; `mltf convert %s DIR` makes a checkpoint of it", path,
                     path);
}

void gguf_close(gguf_file *g)
{
    if (!g) return;
    map_close(&g->map);
    arena_release(&g->arena);
    free(g);
}

/* ---- metadata ------------------------------------------------------------------------------ */

const gguf_value *gguf_get(const gguf_file *g, const char *key)
{
    const gguf_value wanted = {.key = str_from(key)};
    return bsearch(&wanted, g->values, g->n_values, sizeof *g->values, by_key);
}

mltf_str gguf_string(const gguf_file *g, const char *key, mltf_str fallback)
{
    const gguf_value *v = gguf_get(g, key);
    return v && v->type == GGUF_V_STRING && !v->is_array ? v->strings[0] : fallback;
}

static bool is_integer(gguf_value_type t)
{
    return t != GGUF_V_F32 && t != GGUF_V_F64 && t != GGUF_V_BOOL && t != GGUF_V_STRING;
}

static int64_t integer_at(const gguf_value *v, size_t i)
{
    const size_t size = value_size(v->type);
    const uint64_t u = little(v->data + i * size, size);
    switch (v->type) {
    case GGUF_V_I8:
        return (int8_t)u;
    case GGUF_V_I16:
        return (int16_t)u;
    case GGUF_V_I32:
        return (int32_t)u;
    case GGUF_V_U64:
        return u > INT64_MAX ? INT64_MAX : (int64_t)u;
    default:
        return (int64_t)u;
    }
}

double gguf_number_at(const gguf_value *v, size_t i)
{
    if (v->type == GGUF_V_STRING || i >= v->n) return 0;
    if (v->type == GGUF_V_F32) {
        float f;
        memcpy(&f, v->data + 4 * i, sizeof f);
        return (double)f;
    }
    if (v->type == GGUF_V_F64) {
        double d;
        memcpy(&d, v->data + 8 * i, sizeof d);
        return d;
    }
    return (double)integer_at(v, i);
}

int64_t gguf_int(const gguf_file *g, const char *key, int64_t fallback)
{
    const gguf_value *v = gguf_get(g, key);
    return v && v->n == 1 && is_integer(v->type) ? integer_at(v, 0) : fallback;
}

double gguf_double(const gguf_file *g, const char *key, double fallback)
{
    const gguf_value *v = gguf_get(g, key);
    return v && !v->is_array && v->type != GGUF_V_STRING ? gguf_number_at(v, 0) : fallback;
}

bool gguf_bool(const gguf_file *g, const char *key, bool fallback)
{
    const gguf_value *v = gguf_get(g, key);
    return v && !v->is_array && v->type == GGUF_V_BOOL ? v->data[0] != 0 : fallback;
}

/* ---- tensors ------------------------------------------------------------------------------- */

size_t gguf_count(const gguf_file *g)
{
    return g->n_tensors;
}
const gguf_tensor *gguf_at(const gguf_file *g, size_t i)
{
    return i < g->n_tensors ? &g->tensors[i] : NULL;
}

const gguf_tensor *gguf_find(const gguf_file *g, const char *name)
{
    const gguf_tensor wanted = {.name = str_from(name)};
    const gguf_tensor *key = &wanted;
    const gguf_tensor **found =
        bsearch(&key, g->by_name, g->n_tensors, sizeof *g->by_name, by_name);
    return found ? *found : NULL;
}
