/* What the parts of pyvalue share. */
#ifndef MLTF_MLFLOW_PYVALUE_INTERNAL_H
#define MLTF_MLFLOW_PYVALUE_INTERNAL_H

#include "mlflow/pyvalue.h"

void *pv_take(mltf_arena *a, size_t n,
              size_t size); /* cleared; the product is checked; n may be 0 */

/* Keys to numbers, by hashing: objects and frames of hostile requests may have very many keys. */
typedef struct key_index {
    const pv *keys;  /* [n] borrowed: number i is keys[i] */
    uint32_t *slots; /* [size] number + 1; 0: free */
    size_t size;     /* a power of two */
} key_index;

bool key_index_make(key_index *x, mltf_arena *a, const pv *keys, size_t cap);
uint32_t *key_slot(const key_index *x, const pv *key); /* where its number is, or would be */

static inline double pv_number(const pv *v) /* of a bool, int or float */
{
    return v->kind == PV_BOOL ? (double)v->b : v->kind == PV_INT ? (double)v->i : v->f;
}

#endif
