#include "formats/checkpoint_parts.h"

#include <stdlib.h>

#include "base/checked.h"
#include "formats/pickle.h"
#include "formats/zip.h"

typedef struct keyed {
    mltf_str key, data;
    size_t size; // bytes an element
} keyed;

static int by_key(const void *a, const void *b)
{
    const mltf_str x = ((const keyed *)a)->key, y = ((const keyed *)b)->key;
    const size_t n = x.n < y.n ? x.n : y.n;
    const int order = n ? memcmp(x.p, y.p, n) : 0;
    return order ? order : x.n < y.n ? -1 : x.n > y.n;
}

/* One file being read: where storages come from, and how much may still be unpacked. Sound files
 * unpack to little more than their own size; strided views and deflated entries share the budget. */
typedef struct source {
    ck_list *out;
    mltf_arena scratch; // the pickle's values
    uint64_t budget;
    // zip
    const zip_file *zip;
    mltf_str folder; // "archive"
    // the chain
    keyed *storages; // [n_storages], sorted by key
    size_t n_storages;
    mltf_err *err;
} source;

static mltf_status bad(source *s, const ck_tensor *t, const char *why)
{
    return mltf_fail(s->err, MLTF_CORRUPT_FILE, "tensor \"%s\" %s", t->name, why);
}

static bool whole(const pickle_value *v, size_t *out)
{
    if (v->type != PICKLE_INT || v->i < 0) return false;
    *out = (size_t)v->i;
    return true;
}

/* ('storage', type, key, location, count) -> the bytes. */
static mltf_status find_storage(source *s, const ck_tensor *t, const pickle_value *v,
                                mltf_dtype *dtype, mltf_str *data)
{
    if (v->type != PICKLE_STORAGE || v->list.n < 5 || v->list.items[0]->type != PICKLE_STR ||
        !str_is(v->list.items[0]->s, "storage"))
        return bad(s, t, "has no storage");
    const pickle_value *type = v->list.items[1], *key = v->list.items[2], *count = v->list.items[4];
    size_t n, bytes;
    if (type->type != PICKLE_GLOBAL ||
        (type->global != PICKLE_G_STORAGE && type->global != PICKLE_G_UNTYPED_STORAGE) ||
        key->type != PICKLE_STR || !whole(count, &n))
        return bad(s, t, "has a storage that is not described as PyTorch does");
    *dtype = type->dtype; // bytes for an untyped one
    if (!checked_mul(&bytes, n, dtype_size(*dtype)))
        return bad(s, t, "has a storage larger than memory");

    if (s->zip) {
        const char *name = arena_printf(&s->scratch, STR_FMT "/data/" STR_FMT, STR_ARG(s->folder),
                                        STR_ARG(key->s));
        if (!name) return mltf_fail_memory(s->err);
        const zip_entry *e = zip_find(s->zip, str_from(name));
        if (!e) return bad(s, t, "has a storage that is not in the file");
        if (e->size != bytes)
            return bad(s, t, "has a storage of another size than the pickle says");
        // one storage may serve many tensors; a deflated one is unpacked for each, within the budget
        return zip_bytes(data, s->zip, e, s->out->arena, &s->budget, s->err);
    }
    const keyed wanted = {.key = key->s};
    const keyed *found = bsearch(&wanted, s->storages, s->n_storages, sizeof *s->storages, by_key);
    if (!found) return bad(s, t, "has a storage that is not in the file");
    if (v->list.n > 5 && v->list.items[5]->type != PICKLE_NONE)
        return mltf_fail(
            s->err, MLTF_UNSUPPORTED,
            "tensor \"%s\" uses a view of a storage, a form of PyTorch before 0.4; save it again",
            t->name);
    if (found->data.n != bytes)
        return bad(s, t, "has a storage of another size than the pickle says");
    *data = found->data;
    return MLTF_OK;
}

/* Elements at a stride, row-major. */
static void gather(uint8_t *to, const uint8_t *from, const ck_tensor *t, const size_t *stride,
                   size_t size)
{
    size_t at[LIMIT_TENSOR_DIMS] = {0};
    size_t offset = 0;
    for (size_t i = 0; i < t->count; i++) {
        memcpy(to + i * size, from + offset * size, size);
        for (size_t d = t->ndim; d-- > 0;) {
            offset += stride[d];
            if (++at[d] < t->shape[d]) break;
            offset -= stride[d] * t->shape[d];
            at[d] = 0;
        }
    }
}

static mltf_status read_tensor(source *s, mltf_str name, const pickle_value *v)
{
    ck_tensor *t = ck_list_add(s->out, name);
    if (!t) return mltf_fail_memory(s->err);
    mltf_str data;
    TRY(find_storage(s, t, v->tensor.storage, &t->dtype, &data));
    if (v->tensor.has_dtype) t->dtype = v->dtype;
    const size_t size = dtype_size(t->dtype);

    const pickle_value *shape = v->tensor.size, *strides = v->tensor.stride;
    if (shape->type != PICKLE_TUPLE || strides->type != PICKLE_TUPLE ||
        shape->list.n != strides->list.n)
        return bad(s, t, "has no sound shape");
    if (shape->list.n > LIMIT_TENSOR_DIMS)
        return mltf_fail(s->err, MLTF_UNSUPPORTED,
                         "tensor \"%s\" has %zu dimensions, the limit is %u", t->name,
                         shape->list.n, LIMIT_TENSOR_DIMS);
    size_t offset, stride[LIMIT_TENSOR_DIMS], last;
    if (!whole(v->tensor.offset, &offset)) return bad(s, t, "has no sound offset");
    t->ndim = shape->list.n;
    t->count = 1;
    for (size_t d = 0; d < t->ndim; d++) {
        if (!whole(shape->list.items[d], &t->shape[d]) ||
            !whole(strides->list.items[d], &stride[d]))
            return bad(s, t, "has a size or stride that is not a whole number from 0 on");
        if (!checked_mul(&t->count, t->count, t->shape[d]))
            return bad(s, t, "has a shape of more elements than a number can count");
    }
    if (!checked_mul(&t->bytes, t->count, size)) return bad(s, t, "is larger than memory");
    if (t->count == 0) {
        t->data = data.p;
        return MLTF_OK;
    }

    bool contiguous = true;
    size_t row = 1; // stride that a contiguous tensor would have
    last = offset;
    for (size_t d = t->ndim; d-- > 0;) {
        size_t reach;
        if (!checked_mul(&reach, t->shape[d] - 1, stride[d]) || !checked_add(&last, last, reach))
            return bad(s, t, "reaches past the end of its storage");
        if (t->shape[d] > 1 && stride[d] != row) contiguous = false;
        row *= t->shape[d];
    }
    if (last >= data.n / size) return bad(s, t, "reaches past the end of its storage");
    const uint8_t *from = (const uint8_t *)data.p + offset * size;
    if (contiguous) {
        t->data = from;
        return MLTF_OK;
    }
    if (t->bytes > s->budget)
        return bad(s, t, "is a view that would unpack to far more than the file holds");
    s->budget -= t->bytes;
    uint8_t *copy = arena_alloc(s->out->arena, t->bytes);
    if (!copy) return mltf_fail_memory(s->err);
    gather(copy, from, t, stride, size);
    t->data = copy;
    return MLTF_OK;
}

/* A state dict: texts -> tensors. What is not a tensor is of no use here and is left. */
static mltf_status read_state_dict(source *s, const pickle_value *root)
{
    if (root->type != PICKLE_DICT)
        return mltf_fail(s->err, MLTF_CORRUPT_FILE, "the pickle holds no dict of tensors");
    const size_t first = s->out->n;
    for (size_t i = 0; i + 1 < root->list.n; i += 2) {
        const pickle_value *key = root->list.items[i], *value = root->list.items[i + 1];
        if (key->type != PICKLE_STR)
            return mltf_fail(s->err, MLTF_CORRUPT_FILE,
                             "the pickle holds a dict whose keys are not texts");
        if (value->type == PICKLE_TENSOR) TRY(read_tensor(s, key->s, value));
    }
    if (s->out->n == first && root->list.n > 0)
        return mltf_fail(s->err, MLTF_CORRUPT_FILE, "the pickle holds a dict without any tensor");
    return MLTF_OK;
}

static mltf_status read_zip(source *s, const uint8_t *p, size_t n)
{
    zip_file zip;
    TRY(zip_open(&zip, &s->scratch, p, n, s->err));
    const zip_entry *pickle = NULL;
    for (size_t i = 0; i < zip.n_entries; i++) {
        const mltf_str name = zip.entries[i].name;
        if (!str_ends(name, "/data.pkl") || memchr(name.p, '/', name.n - 9)) continue;
        if (pickle)
            return mltf_fail(s->err, MLTF_CORRUPT_FILE, "the zip file holds data.pkl twice");
        pickle = &zip.entries[i];
    }
    if (!pickle)
        return mltf_fail(s->err, MLTF_CORRUPT_FILE,
                         "the zip file holds no data.pkl: it was not made by torch.save()");
    s->zip = &zip;
    s->folder = (mltf_str){pickle->name.p, pickle->name.n - 9};

    mltf_str text;
    const char *order_name = arena_printf(&s->scratch, STR_FMT "/byteorder", STR_ARG(s->folder));
    if (!order_name) return mltf_fail_memory(s->err);
    const zip_entry *order = zip_find(&zip, str_from(order_name));
    if (order) {
        TRY(zip_bytes(&text, &zip, order, &s->scratch, &s->budget, s->err));
        if (!str_is(text, "little"))
            return mltf_fail(s->err, MLTF_UNSUPPORTED,
                             "the weights are in big-endian order; save them as safetensors");
    }
    TRY(zip_bytes(&text, &zip, pickle, &s->scratch, &s->budget, s->err));
    pickle_value *root;
    TRY(pickle_read(&root, NULL, &s->scratch, (const uint8_t *)text.p, text.n, s->err));
    const mltf_status st = read_state_dict(s, root);
    s->zip = NULL;
    return st;
}

/* The next pickle of a chain; *p moves behind it. */
static mltf_status next_pickle(source *s, pickle_value **v, const uint8_t **p, const uint8_t *end)
{
    size_t used;
    TRY(pickle_read(v, &used, &s->scratch, *p, (size_t)(end - *p), s->err));
    *p += used;
    return MLTF_OK;
}

/* Magic number, protocol version, system. */
static mltf_status read_chain_head(source *s, const uint8_t **p, const uint8_t *end)
{
    static const uint8_t magic[] = {0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19};
    pickle_value *v;
    TRY(next_pickle(s, &v, p, end));
    if (v->type != PICKLE_LONG || v->s.n != sizeof magic ||
        memcmp(v->s.p, magic, sizeof magic) != 0)
        return mltf_fail(s->err, MLTF_CORRUPT_FILE,
                         "this is a pickle, but not one made by torch.save()");
    TRY(next_pickle(s, &v, p, end));
    if (v->type != PICKLE_INT || v->i != 1001)
        return mltf_fail(s->err, MLTF_UNSUPPORTED,
                         "the file has an unknown protocol version; save it again");
    TRY(next_pickle(s, &v, p, end));
    for (size_t i = 0; v->type == PICKLE_DICT && i + 1 < v->list.n; i += 2) {
        const pickle_value *key = v->list.items[i], *value = v->list.items[i + 1];
        if (key->type == PICKLE_STR && str_is(key->s, "little_endian") &&
            value->type == PICKLE_BOOL && !value->b)
            return mltf_fail(s->err, MLTF_UNSUPPORTED,
                             "the weights are in big-endian order; save them as safetensors");
    }
    return MLTF_OK;
}

/* How wide a storage's elements are stands with the tensors that use it: widths [root->list.n / 2], sorted. */
static size_t storage_widths(keyed *widths, const pickle_value *root)
{
    size_t n = 0;
    for (size_t k = 1; k < root->list.n; k += 2) {
        const pickle_value *t = root->list.items[k];
        if (t->type != PICKLE_TENSOR || t->tensor.storage->type != PICKLE_STORAGE) continue;
        const pickle_value *id = t->tensor.storage;
        if (id->list.n >= 5 && id->list.items[1]->type == PICKLE_GLOBAL &&
            id->list.items[2]->type == PICKLE_STR)
            widths[n++] =
                (keyed){.key = id->list.items[2]->s, .size = dtype_size(id->list.items[1]->dtype)};
    }
    qsort(widths, n, sizeof *widths, by_key);
    return n;
}

/* For each key its number of elements (8 bytes) and its data, into s->storages. */
static mltf_status read_storages(source *s, const pickle_value *root, const pickle_value *keys,
                                 const uint8_t *p, const uint8_t *end)
{
    keyed *widths = arena_calloc(&s->scratch, root->list.n / 2 + 1, sizeof *widths);
    s->storages = arena_calloc(&s->scratch, keys->list.n + 1, sizeof *s->storages);
    if (!s->storages || !widths) return mltf_fail_memory(s->err);
    const size_t n_widths = storage_widths(widths, root);
    for (size_t i = 0; i < keys->list.n; i++) {
        if (keys->list.items[i]->type != PICKLE_STR)
            return mltf_fail(s->err, MLTF_CORRUPT_FILE, "a storage has no name");
        const keyed wanted = {.key = keys->list.items[i]->s};
        const keyed *width = bsearch(&wanted, widths, n_widths, sizeof *widths, by_key);
        if (!width)
            return mltf_fail(s->err, MLTF_UNSUPPORTED,
                             "storage \"" STR_FMT "\" belongs to no tensor", STR_ARG(wanted.key));
        uint64_t count = 0;
        size_t bytes;
        if (end - p < 8) return mltf_fail(s->err, MLTF_CORRUPT_FILE, "the file was cut off");
        for (int b = 7; b >= 0; b--) count = count << 8 | p[b];
        p += 8;
        if (!checked_mul(&bytes, (size_t)count, width->size) || bytes > (size_t)(end - p))
            return mltf_fail(s->err, MLTF_CORRUPT_FILE,
                             "storage \"" STR_FMT "\" reaches past the end of the file",
                             STR_ARG(wanted.key));
        s->storages[s->n_storages++] = (keyed){.key = wanted.key, .data = {(const char *)p, bytes}};
        p += bytes;
    }
    qsort(s->storages, s->n_storages, sizeof *s->storages, by_key);
    return MLTF_OK;
}

/* The chain before PyTorch 1.6: magic number, protocol version, system, state dict, storage keys, and
 * the storages. */
static mltf_status read_chain(source *s, const uint8_t *p, size_t n)
{
    pickle_value *root, *keys;
    const uint8_t *end = p + n;
    TRY(read_chain_head(s, &p, end));
    TRY(next_pickle(s, &root, &p, end));
    TRY(next_pickle(s, &keys, &p, end));
    if (root->type != PICKLE_DICT || keys->type != PICKLE_LIST)
        return mltf_fail(s->err, MLTF_CORRUPT_FILE, "the pickle holds no dict of tensors");
    TRY(read_storages(s, root, keys, p, end));
    return read_state_dict(s, root);
}

mltf_status torch_bin_read(ck_list *out, const uint8_t *p, size_t n, mltf_err *err)
{
    TRY(ck_refuse_placeholder(p, n, err));
    source s = {.out = out, .budget = 4 * (uint64_t)n + (1 << 20), .err = err};
    mltf_status st;
    if (n >= 4 && memcmp(p, "PK\3\4", 4) == 0)
        st = read_zip(&s, p, n);
    else if (n >= 2 && p[0] == 0x80)
        st = read_chain(&s, p, n);
    else
        st = mltf_fail(err, MLTF_CORRUPT_FILE,
                       "this is no file of PyTorch weights: neither a zip file nor a pickle");
    arena_release(&s.scratch);
    return st;
}
