#include "base/array.h"
#include "tokenizers/tok_vocab.h"

#include <stdlib.h>

static inline uint64_t load8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}
static inline uint64_t load4(const char *p)
{
    uint32_t x;
    memcpy(&x, p, 4);
    return x;
}
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 u128;
    const u128 m = (u128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t hash_of(const char *p, size_t n)
{
    const uint64_t k0 = 0x9E3779B97F4A7C15u, k1 = 0xD6E8FEB86659FD93u, k2 = 0xA0761D6478BD642Fu;
    uint64_t seed = k2 ^ n, a, b;
    if (n <= 16) {
        if (n >= 8) {
            a = load8(p);
            b = load8(p + n - 8);
        } else if (n >= 4) {
            a = load4(p);
            b = load4(p + n - 4);
        } else {
            a = n ? (uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[n / 2] << 8 |
                        (uint64_t)(unsigned char)p[n - 1] << 16
                  : 0;
            b = 0;
        }
    } else {
        size_t i = 0;
        for (; i + 16 < n; i += 16) seed = mix(load8(p + i) ^ k0, load8(p + i + 8) ^ seed);
        a = load8(p + n - 16);
        b = load8(p + n - 8);
    }
    return mix(mix(a ^ k0 ^ seed, b ^ k1), k2);
}

static bool resize_slots(tok_vocab *v, size_t want)
{
    size_t size = 64;
    while (size < want * 2) size *= 2;
    if (v->mask + 1 >= size && v->slots) return true;
    uint64_t *slots = calloc(size, sizeof *slots);
    if (!slots) return false;
    const uint64_t *old = v->slots;
    for (size_t i = 0; old && i <= v->mask; i++) {
        if (!old[i]) continue;
        const mltf_str t = vocab_at(v, (uint32_t)old[i] - 1);
        size_t at = hash_of(t.p, t.n) & (size - 1);
        while (slots[at]) at = (at + 1) & (size - 1);
        slots[at] = old[i];
    }
    free(v->slots);
    v->slots = slots;
    v->mask = size - 1;
    return true;
}

static bool reserve_tokens(tok_vocab *v, size_t n)
{
    if (n <= v->cap) return true;
    size_t cap = v->cap ? v->cap * 2 : 64;
    if (cap < n) cap = n;
    const bool first = !v->at;
    if (!array_resize(&v->at, cap + 1, sizeof *v->at)) return false;
    if (first) v->at[0] = 0;
    if (!array_resize(&v->ids, cap, sizeof *v->ids)) return false;
    v->cap = cap;
    return true;
}

static bool reserve_bytes(tok_vocab *v, size_t n)
{
    if (n > UINT32_MAX) return false;
    return ARRAY_RESERVE(v->bytes, v->bytes_cap, n);
}

bool vocab_reserve(tok_vocab *v, size_t n, size_t bytes)
{
    return reserve_tokens(v, n) && reserve_bytes(v, bytes) && resize_slots(v, n + 1);
}

static size_t find_slot(const tok_vocab *v, const char *p, size_t n, uint64_t hash)
{
    size_t at = hash & v->mask;
    for (; v->slots[at]; at = (at + 1) & v->mask) {
        if ((v->slots[at] ^ hash) >> 32) continue;
        const mltf_str t = vocab_at(v, (uint32_t)v->slots[at] - 1);
        if (t.n == n && memcmp(t.p, p, n) == 0) return at;
    }
    return at;
}

bool vocab_put(tok_vocab *v, mltf_str token, int32_t id)
{
    if (!reserve_tokens(v, v->n + 1) || !reserve_bytes(v, v->bytes_n + token.n + 1) ||
        !resize_slots(v, v->n + 1))
        return false;
    const uint64_t hash = hash_of(token.p, token.n);
    const size_t slot = find_slot(v, token.p, token.n, hash);
    if (id > v->max_id) v->max_id = id;
    if (v->slots[slot]) {
        v->ids[(uint32_t)v->slots[slot] - 1] = id;
        return true;
    }
    if (token.n) memcpy(v->bytes + v->bytes_n, token.p, token.n);
    v->bytes_n += token.n;
    v->ids[v->n] = id;
    v->at[++v->n] = (uint32_t)v->bytes_n;
    v->slots[slot] = (hash & 0xFFFFFFFF00000000u) | v->n;
    v->live++;
    return true;
}

static int32_t find_hashed(const tok_vocab *v, const char *p, size_t n, uint64_t hash)
{
    if (!v->n) return -1;
    const uint64_t s = v->slots[find_slot(v, p, n, hash)];
    return s ? v->ids[(uint32_t)s - 1] : -1;
}

int32_t vocab_find(const tok_vocab *v, const char *p, size_t n)
{
    return find_hashed(v, p, n, hash_of(p, n));
}

static int by_id_order(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b; // {id, i + 1}
    return x[0] != y[0] ? (x[0] < y[0] ? -1 : 1) : (x[1] < y[1] ? -1 : x[1] > y[1]);
}

bool vocab_index(tok_vocab *v)
{
    free(v->by_id);
    v->by_id = NULL;
    v->by_id_n = 0;
    if (!v->n) return true;
    // ids far apart must not cost memory
    v->sparse = (size_t)v->max_id > 4 * v->n + 65536;
    const size_t words = v->sparse ? 2 * v->n : (size_t)v->max_id + 1;
    v->by_id = calloc(words, sizeof *v->by_id);
    if (!v->by_id) return false;
    v->by_id_n = v->sparse ? v->n : words;
    for (size_t i = 0; i < v->n; i++) {
        if (v->sparse) {
            v->by_id[2 * i] = (uint32_t)v->ids[i];
            v->by_id[2 * i + 1] = (uint32_t)i + 1;
        } else {
            v->by_id[v->ids[i]] = (uint32_t)i + 1;
        }
    }
    if (v->sparse) qsort(v->by_id, v->n, 2 * sizeof *v->by_id, by_id_order);
    return true;
}

void vocab_show_again(tok_vocab *v, mltf_str token, int32_t id)
{
    if (v->sparse || id < 0 || (size_t)id >= v->by_id_n || v->by_id[id] || !v->n) return;
    const uint64_t s = v->slots[find_slot(v, token.p, token.n, hash_of(token.p, token.n))];
    if (s) v->by_id[id] = (uint32_t)s;
}

mltf_str vocab_token(const tok_vocab *v, int32_t id)
{
    const mltf_str none = {NULL, 0};
    if (id < 0) return none;
    if (!v->sparse) {
        if ((size_t)id >= v->by_id_n || !v->by_id[id]) return none;
        return vocab_at(v, v->by_id[id] - 1);
    }
    size_t low = 0, high = v->by_id_n;
    while (low < high) {
        const size_t mid = (low + high) / 2;
        if (v->by_id[2 * mid] <= (uint32_t)id)
            low = mid + 1;
        else
            high = mid;
    }
    if (!low || v->by_id[2 * (low - 1)] != (uint32_t)id) return none;
    return vocab_at(v, v->by_id[2 * (low - 1) + 1] - 1);
}

void vocab_release(tok_vocab *v)
{
    free(v->bytes);
    free(v->at);
    free(v->ids);
    free(v->slots);
    free(v->by_id);
    *v = (tok_vocab){0};
}
