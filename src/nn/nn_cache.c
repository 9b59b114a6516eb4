/* Keys and values of one sequence: growing caches, and the memory that cross attention reads. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "nn/nn.h"

enum { FIRST_TOKENS = 64 };

static size_t row_bytes(const nn_cache_shape *s)
{
    return (s->k_dim + s->v_dim) * dtype_size(s->dtype);
}

/* Bytes for `cap` tokens in all layers; false if that does not fit. */
static bool cache_bytes(size_t *out, const nn_cache_shape *s, size_t cap)
{
    size_t n;
    return checked_mul(&n, s->layers, s->kv_heads) && checked_mul(&n, n, row_bytes(s)) &&
           checked_mul(out, n, cap);
}

mltf_status nn_cache_init(nn_cache *c, const nn_cache_shape *shape, size_t max, mltf_err *err)
{
    (void)err;
    *c = (nn_cache){.shape = *shape, .max = max};
    return MLTF_OK;
}

void nn_cache_release(nn_cache *c)
{
    free(c->data);
    c->data = NULL;
    c->len = c->cap = 0;
}

static unsigned char *head_data(const nn_cache_shape *s, unsigned char *data, size_t cap,
                                size_t layer, size_t head)
{
    return data + (layer * s->kv_heads + head) * cap * row_bytes(s);
}

void *nn_cache_k(const nn_cache *c, size_t layer, size_t head)
{
    return head_data(&c->shape, c->data, c->cap, layer, head);
}

void *nn_cache_v(const nn_cache *c, size_t layer, size_t head)
{
    return head_data(&c->shape, c->data, c->cap, layer, head) +
           c->cap * c->shape.k_dim * dtype_size(c->shape.dtype);
}

/* Tokens [first, len) of every head into `data`, laid out for `cap`. */
static void copy_tokens(unsigned char *data, size_t cap, const nn_cache *from, size_t first,
                        size_t len)
{
    const nn_cache_shape *s = &from->shape;
    const size_t es = dtype_size(s->dtype);
    for (size_t l = 0; l < s->layers; l++)
        for (size_t h = 0; h < s->kv_heads; h++) {
            unsigned char *k = head_data(s, data, cap, l, h), *v = k + cap * s->k_dim * es;
            const size_t k_at = first * s->k_dim * es, v_at = first * s->v_dim * es;
            memcpy(k + k_at, (const char *)nn_cache_k(from, l, h) + k_at,
                   (len - first) * s->k_dim * es);
            memcpy(v + v_at, (const char *)nn_cache_v(from, l, h) + v_at,
                   (len - first) * s->v_dim * es);
        }
}

mltf_status nn_cache_reserve(nn_cache *c, size_t len, mltf_err *err)
{
    if (len <= c->cap) return MLTF_OK;
    if (len > c->max)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "the sequence needs %zu positions, the cache was made for %zu", len,
                         c->max);
    size_t cap = c->cap ? c->cap * 2 : FIRST_TOKENS;
    if (cap < len) cap = len;
    if (cap > c->max) cap = c->max;
    size_t bytes;
    unsigned char *data = NULL;
    if (cache_bytes(&bytes, &c->shape, cap)) data = malloc(bytes ? bytes : 1);
    if (!data) return mltf_fail_memory(err);
    if (c->len) copy_tokens(data, cap, c, 0, c->len);
    free(c->data);
    c->data = data;
    c->cap = cap;
    return MLTF_OK;
}

mltf_status nn_cache_copy(nn_cache *to, const nn_cache *from, size_t held, mltf_err *err)
{
    if (to == from) return MLTF_OK;
    if (held > to->len) held = to->len;
    if (held > from->len) held = from->len;
    to->len = held;
    if (to->max < from->len) to->max = from->max;
    TRY(nn_cache_reserve(to, from->len, err));
    if (from->len > held) copy_tokens(to->data, to->cap, from, held, from->len);
    to->len = from->len;
    return MLTF_OK;
}

/* ------------------------------------------------------------------ memory of an encoder */

nn_memory *nn_memory_new(const nn_cache_shape *shape, size_t len, mltf_err *err)
{
    nn_memory *m = calloc(1, sizeof *m);
    if (!m) {
        mltf_fail_memory(err);
        return NULL;
    }
    m->refs = 1;
    nn_cache_init(&m->kv, shape, len, err);
    if (len && nn_cache_reserve(&m->kv, len, err)) {
        nn_memory_release(m);
        return NULL;
    }
    m->kv.len = len;
    return m;
}

nn_memory *nn_memory_retain(nn_memory *m)
{
    if (m) m->refs++;
    return m;
}

void nn_memory_release(nn_memory *m)
{
    if (!m || --m->refs) return;
    nn_cache_release(&m->kv);
    free(m->mask);
    free(m);
}
