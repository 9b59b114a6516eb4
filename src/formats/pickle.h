/* A reader of pickles that cannot run anything: it knows numbers, texts, containers and the few
 * functions by which PyTorch describes tensors, and refuses every other global by name.
 *
 *     mltf_arena arena = MLTF_ARENA_INIT;
 *     pickle_value *root;
 *     size_t used;
 *     TRY(pickle_read(&root, &used, &arena, p, n, err));
 *
 * Values lie in the arena. A value can be shared by many containers, and containers can nest without
 * end or even hold themselves: whoever walks them must bound the walk. */
#ifndef MLTF_FORMATS_PICKLE_H
#define MLTF_FORMATS_PICKLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/dtype.h"
#include "base/status.h"

typedef enum {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,    /* fits int64 */
    PICKLE_LONG,   /* larger: little-endian two's complement in .s */
    PICKLE_FLOAT,
    PICKLE_STR,
    PICKLE_BYTES,
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT,
    PICKLE_GLOBAL, /* one of the known names, .global */
    PICKLE_STORAGE,/* a persistent id: tuple in .list */
    PICKLE_TENSOR, /* .tensor */
} pickle_type;

/* What a pickle may name. */
typedef enum {
    PICKLE_G_ORDERED_DICT,
    PICKLE_G_REBUILD_TENSOR,    /* torch._utils._rebuild_tensor(storage, offset, size, stride) */
    PICKLE_G_REBUILD_TENSOR_V2, /* …, requires_grad, backward_hooks[, metadata]) */
    PICKLE_G_REBUILD_TENSOR_V3, /* …, requires_grad, backward_hooks, dtype[, metadata]) */
    PICKLE_G_REBUILD_PARAMETER, /* (tensor, requires_grad, backward_hooks) */
    PICKLE_G_REBUILD_PARAMETER_STATE, /* (tensor, requires_grad, backward_hooks, state) */
    PICKLE_G_SIZE,              /* torch.Size(tuple) */
    PICKLE_G_UNTYPED_STORAGE,
    PICKLE_G_STORAGE,           /* torch.FloatStorage …: .dtype */
    PICKLE_G_DTYPE,             /* torch.float32 …: .dtype */
} pickle_global;

typedef struct pickle_value pickle_value;
struct pickle_value {
    pickle_type type;
    pickle_global global;
    mltf_dtype dtype;
    union {
        bool b;
        int64_t i;
        double d;
        mltf_str s; /* in the pickle's bytes */
        struct {
            pickle_value **items; /* tuple, list: [n]; dict: key, value, key, value … [n] */
            size_t n, cap;
        } list;
        struct {
            pickle_value *storage, *offset, *size, *stride; /* unchecked: any value */
            bool has_dtype; /* .dtype counts, the storage is bytes */
        } tensor;
    };
};

/* *used: bytes up to and with the end mark; may be NULL. CORRUPT_FILE for a broken pickle, UNSUPPORTED
 * for one that names anything unknown. Memory stays within some fifty times n. */
mltf_status pickle_read(pickle_value **out, size_t *used, mltf_arena *arena, const uint8_t *p, size_t n,
                        mltf_err *err);

#endif
