#include "tokenizers/tok_darts.h"

#include <stdlib.h>

#include "base/array.h"
#include "tokenizers/tok_internal.h"

typedef struct builder {
    darts *d;
    size_t cap;
    int32_t *next_free, *prev_free; /* a ring of free nodes through 0 */
    const darts_key *keys;
    int32_t scan; /* where looking for room for several children begins */
} builder;

static int key_order(const void *a, const void *b)
{
    const darts_key *x = a, *y = b;
    const int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    if (c) return c;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

static bool grow_nodes(builder *b, size_t need)
{
    darts *d = b->d;
    if (need <= d->n) return true;
    if (need > INT32_MAX / 2) return false;
    const size_t n = need + 256; // in use; memory grows faster
    if (n > b->cap) {
        const size_t cap = b->cap + b->cap / 2 > n ? b->cap + b->cap / 2 : n + 1024;
        if (!array_resize(&d->nodes, cap, sizeof *d->nodes) ||
            !array_resize(&b->next_free, cap, sizeof *b->next_free) ||
            !array_resize(&b->prev_free, cap, sizeof *b->prev_free))
            return false;
        b->cap = cap;
    }
    darts_node *nodes = d->nodes;
    int32_t *next = b->next_free, *prev = b->prev_free;
    if (d->n == 0) next[0] = prev[0] = 0;
    for (size_t i = d->n; i < n; i++) {
        nodes[i] = (darts_node){0, -1, -1};
        if (i == 0) continue;
        const int32_t last = prev[0];
        next[last] = (int32_t)i;
        prev[i] = last;
        next[i] = 0;
        prev[0] = (int32_t)i;
    }
    d->n = n;
    return true;
}

static void take(builder *b, int32_t at, int32_t parent)
{
    b->d->nodes[at].parent = parent;
    b->next_free[b->prev_free[at]] = b->next_free[at];
    b->prev_free[b->next_free[at]] = b->prev_free[at];
    b->next_free[at] = -1;
}

/* A base where all children fit, or -1 if out of memory. */
static int32_t find_base(builder *b, const unsigned char *c, size_t n)
{
    int32_t at = n == 1 || !b->scan || b->next_free[b->scan] < 0 ? b->next_free[0] : b->scan;
    size_t tried = 0;
    for (; at != 0; at = b->next_free[at]) {
        if (at <= c[0]) continue;
        const int32_t base = at - c[0];
        if (!grow_nodes(b, (size_t)base + 256)) return -1;
        size_t i = 1;
        while (i < n && b->next_free[base + c[i]] >= 0) i++;
        if (i == n) {
            if (n > 1 && tried > 32) b->scan = b->next_free[at]; // what lies before is too crowded
            return base;
        }
        if (++tried > 512) break;
    }
    const size_t end = b->d->n;
    if (!grow_nodes(b, end + 512)) return -1;
    b->scan = (int32_t)end;
    return (int32_t)end;
}

typedef struct task {
    uint32_t from, to, depth;
    int32_t node;
} task;

mltf_status darts_build(darts *d, darts_key *keys, size_t n, mltf_err *err)
{
    *d = (darts){0};
    builder b = {.d = d, .keys = keys};
    qsort(keys, n, sizeof *keys, key_order);
    size_t first = 0;
    while (first < n && keys[first].n == 0) first++;
    task *tasks = NULL;
    size_t tasks_cap = 0, n_tasks = 0;
    bool ok = grow_nodes(&b, 1024) && ARRAY_RESERVE(tasks, tasks_cap, 1);
    if (ok) {
        d->nodes[0].parent = -2;
        if (first < n) tasks[n_tasks++] = (task){(uint32_t)first, (uint32_t)n, 0, 0};
    }
    while (ok && n_tasks) {
        const task t = tasks[--n_tasks];
        unsigned char label[256];
        uint32_t start[257];
        size_t k = 0;
        uint32_t i = t.from;
        while (i < t.to && keys[i].n == t.depth) d->nodes[t.node].value = keys[i++].value;
        while (i < t.to) {
            const unsigned char c = (unsigned char)keys[i].p[t.depth];
            label[k] = c;
            start[k++] = i;
            while (i < t.to && (unsigned char)keys[i].p[t.depth] == c) i++;
        }
        start[k] = t.to;
        if (!k) continue;
        const int32_t base = find_base(&b, label, k);
        ok = base >= 0 && ARRAY_RESERVE(tasks, tasks_cap, n_tasks + k);
        if (!ok) break;
        d->nodes[t.node].base = base;
        for (size_t j = 0; j < k; j++) take(&b, base + label[j], t.node);
        for (size_t j = k; j-- > 0;)
            tasks[n_tasks++] = (task){start[j], start[j + 1], t.depth + 1, base + label[j]};
    }
    free(tasks);
    free(b.next_free);
    free(b.prev_free);
    if (ok) return MLTF_OK;
    darts_release(d);
    return mltf_fail_memory(err);
}

void darts_release(darts *d)
{
    free(d->nodes);
    *d = (darts){0};
}
