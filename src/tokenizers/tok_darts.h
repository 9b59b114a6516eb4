/* A trie over bytes in a double array: all prefixes of a text that are keys, one array access a byte. */
#ifndef MLTF_TOKENIZERS_TOK_DARTS_H
#define MLTF_TOKENIZERS_TOK_DARTS_H

#include "base/status.h"
#include "base/str.h"

typedef struct darts_node {
    int32_t base; /* child by c is node base + c, if its parent is this node */
    int32_t parent;
    int32_t value; /* of the key that ends here, or -1 */
} darts_node;

typedef struct darts {
    darts_node *nodes;
    size_t n;
} darts;

typedef struct darts_key {
    const char *p;
    uint32_t n;
    int32_t value;
} darts_key;

/* Sorts keys. Of equal keys the last of the sorted order counts; empty ones are left out. */
mltf_status darts_build(darts *d, darts_key *keys, size_t n, mltf_err *err);
void darts_release(darts *d);

/* The node behind `node` by byte c, or -1. The root is 0. */
static inline int32_t darts_next(const darts *d, int32_t node, unsigned char c)
{
    const size_t at = (size_t)d->nodes[node].base + c;
    return at < d->n && d->nodes[at].parent == node ? (int32_t)at : -1;
}

#endif
