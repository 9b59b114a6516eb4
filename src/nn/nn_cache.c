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

static nn_keeps keeps(const nn_cache_shape *s, size_t layer)
{
    return s->windows ? s->windows[layer].keeps : NN_KEEPS_ALL;
}

/* Which of the layers of its kind. */
static size_t place_of(const nn_cache_shape *s, size_t layer)
{
    return s->windows ? s->windows[layer].place : layer;
}

mltf_status nn_cache_init(nn_cache *c, const nn_cache_shape *shape, size_t max, mltf_err *err)
{
    (void)err;
    *c = (nn_cache){.shape = *shape, .max = max};
    for (size_t l = 0; l < shape->layers; l++) {
        c->all.layers += keeps(shape, l) == NN_KEEPS_ALL;
        c->near.layers += keeps(shape, l) == NN_KEEPS_WINDOW;
    }
    return MLTF_OK;
}

void nn_cache_release(nn_cache *c)
{
    free(c->all.data);
    free(c->near.data);
    free(c->state);
    free(c->next);
    c->state = c->next = NULL;
    c->all = (nn_kept){.layers = c->all.layers};
    c->near = (nn_kept){.layers = c->near.layers};
    c->len = 0;
}

static unsigned char *head_data(const nn_cache_shape *s, const nn_kept *p, size_t place,
                                size_t head)
{
    return p->data + (place * s->kv_heads + head) * p->cap * row_bytes(s);
}

void *nn_cache_k(const nn_cache *c, size_t layer, size_t head)
{
    const nn_cache_shape *s = &c->shape;
    return head_data(s, keeps(s, layer) == NN_KEEPS_WINDOW ? &c->near : &c->all, place_of(s, layer),
                     head);
}

void *nn_cache_v(const nn_cache *c, size_t layer, size_t head)
{
    const nn_cache_shape *s = &c->shape;
    const nn_kept *p = keeps(s, layer) == NN_KEEPS_WINDOW ? &c->near : &c->all;
    return head_data(s, p, place_of(s, layer), head) + p->cap * s->k_dim * dtype_size(s->dtype);
}

size_t nn_cache_first(const nn_cache *c, size_t layer)
{
    return keeps(&c->shape, layer) == NN_KEEPS_WINDOW ? c->near.first : 0;
}

/* Tokens [from, end) of every head into another block, or to another place in the same. */
static void move_tokens(const nn_cache_shape *s, nn_kept *to, const nn_kept *p, size_t from,
                        size_t end)
{
    const size_t es = dtype_size(s->dtype), n = end - from;
    for (size_t l = 0; l < p->layers; l++)
        for (size_t h = 0; h < s->kv_heads; h++) {
            unsigned char *k = head_data(s, to, l, h), *v = k + to->cap * s->k_dim * es;
            const unsigned char *ok = head_data(s, p, l, h), *ov = ok + p->cap * s->k_dim * es;
            memmove(k + (from - to->first) * s->k_dim * es, ok + (from - p->first) * s->k_dim * es,
                    n * s->k_dim * es);
            memmove(v + (from - to->first) * s->v_dim * es, ov + (from - p->first) * s->v_dim * es,
                    n * s->v_dim * es);
        }
}

/* A new block for `cap` tokens from `first` on, with tokens [first, held) in it. */
static mltf_status new_block(const nn_cache_shape *s, nn_kept *p, size_t first, size_t held,
                             size_t cap, mltf_err *err)
{
    nn_kept fresh = {.layers = p->layers, .first = first, .cap = cap};
    size_t bytes;
    if (checked_mul(&bytes, p->layers, s->kv_heads) && checked_mul(&bytes, bytes, row_bytes(s)) &&
        checked_mul(&bytes, bytes, cap))
        fresh.data = malloc(bytes ? bytes : 1);
    if (!fresh.data) return mltf_fail_memory(err);
    if (held > first && p->data) move_tokens(s, &fresh, p, first, held);
    free(p->data);
    *p = fresh;
    return MLTF_OK;
}

static size_t grown(const nn_kept *p, size_t need)
{
    const size_t cap = p->cap ? p->cap * 2 : FIRST_TOKENS;
    return cap < need ? need : cap;
}

/* Room for tokens [len of now, len) where a window forgets: the block moves on by whole blocks of the attention kernel,
 * so that its bits stay the same, and grows only until that is seldom. */
static mltf_status reserve_near(nn_cache *c, size_t len, mltf_err *err)
{
    nn_kept *p = &c->near;
    const size_t keep = c->shape.window + NN_CACHE_ROLLBACK; // the token to come counts in both
    size_t first = c->len + 1 > keep ? (c->len + 1 - keep) / K_ATTN_BLOCK * K_ATTN_BLOCK : 0;
    if (first < p->first) first = p->first; // after a rollback
    const size_t most = keep + 2 * K_ATTN_BLOCK + (len - c->len);
    if (len - p->first <= p->cap && p->cap / 2 <= most) return MLTF_OK;
    if (first > p->first && len - first <= p->cap && p->cap / 2 <= most) {
        nn_kept moved = *p;
        moved.first = first;
        move_tokens(&c->shape, &moved, p, first, c->len);
        *p = moved;
        return MLTF_OK;
    }
    const size_t cap = grown(p, len - first);
    return new_block(&c->shape, p, first, c->len, cap < most ? cap : most, err);
}

/* A state that is there counts from the first token on; zeros before. */
static mltf_status reserve_state(nn_cache *c, mltf_err *err)
{
    const size_t n = c->shape.state;
    if (!n) return MLTF_OK;
    if (!c->state) c->state = calloc(n, sizeof *c->state);
    if (!c->next) c->next = calloc(n, sizeof *c->next);
    if (!c->state || !c->next) return mltf_fail_memory(err);
    if (c->len == 0) memset(c->state, 0, n * sizeof *c->state);
    return MLTF_OK;
}

mltf_status nn_cache_reserve(nn_cache *c, size_t len, mltf_err *err)
{
    if (len > c->max)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "the sequence needs %zu positions, the cache was made for %zu", len,
                         c->max);
    TRY(reserve_state(c, err));
    if (c->all.layers && len > c->all.cap) {
        const size_t cap = grown(&c->all, len);
        TRY(new_block(&c->shape, &c->all, 0, c->len, cap > c->max ? c->max : cap, err));
    }
    return c->near.layers ? reserve_near(c, len, err) : MLTF_OK;
}

void nn_cache_advance(nn_cache *c, size_t tokens)
{
    float *old = c->state;
    c->state = c->next;
    c->next = old;
    c->len += tokens;
}

void nn_cache_truncate(nn_cache *c, size_t len)
{
    if (len >= c->len) return;
    const bool gone =
        c->shape.state || (c->near.first && len + 1 < c->near.first + c->shape.window);
    c->len = gone ? 0 : len;
    if (c->len == 0) c->near.first = 0;
}

/* `to` shall hold what `from` holds, and has tokens [from->first, held) of it already. */
static mltf_status copy_block(const nn_cache_shape *s, nn_kept *to, const nn_kept *from,
                              size_t held, size_t len, mltf_err *err)
{
    if (!from->layers) return MLTF_OK;
    if (to->cap < len - from->first) TRY(new_block(s, to, from->first, held, from->cap, err));
    to->first = from->first;
    if (len > held) move_tokens(s, to, from, held, len);
    return MLTF_OK;
}

static mltf_status copy_state(nn_cache *to, const nn_cache *from, mltf_err *err)
{
    if (!from->state || !from->len) return MLTF_OK;
    TRY(reserve_state(to, err));
    memcpy(to->state, from->state, from->shape.state * sizeof *from->state);
    return MLTF_OK;
}

mltf_status nn_cache_copy(nn_cache *to, const nn_cache *from, size_t held, mltf_err *err)
{
    if (to == from) return MLTF_OK;
    if (held > to->len) held = to->len;
    if (held > from->len) held = from->len;
    const size_t first = from->near.first;
    if (to->max < from->len) to->max = from->max;
    mltf_status st = copy_block(&to->shape, &to->all, &from->all, held, from->len, err);
    if (held < first || to->near.first != first) held = first;
    if (!st) st = copy_state(to, from, err);
    if (!st) st = copy_block(&to->shape, &to->near, &from->near, held, from->len, err);
    to->len = from->len;
    if (st) nn_cache_truncate(to, 0);
    return st;
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
