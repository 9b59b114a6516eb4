/* Memory that is given back all at once: parsed documents, scratch of a forward pass.
 *
 * An arena is a list of blocks; pointers stay valid until the mark below them is restored or the
 * arena is released, whichever comes first. After a first use the blocks are kept, so a session that
 * saves and restores around each layer stops calling malloc.
 *
 * A failed allocation (no memory, or past `max`) returns NULL and sets `failed`, which stays set
 * until arena_restore(): take five buffers, test once. */
#ifndef MLTF_BASE_ARENA_H
#define MLTF_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

typedef struct arena_block arena_block;

typedef struct mltf_arena {
    arena_block *first, *current; /* blocks after current are kept for reuse */
    size_t total;                 /* bytes in all blocks */
    size_t max;                   /* 0: no bound */
    bool failed;
} mltf_arena;

typedef struct mltf_arena_mark {
    arena_block *block;
    size_t used;
} mltf_arena_mark;

#define MLTF_ARENA_INIT {0}
#define MLTF_ARENA_ALIGN 64 /* of arena_alloc: a cache line and a vector of AVX-512 */

void *arena_alloc(mltf_arena *a, size_t bytes);               /* 64-byte aligned, not cleared */
void *arena_calloc(mltf_arena *a, size_t n, size_t size);     /* cleared; the product is checked */
void *arena_alloc_small(mltf_arena *a, size_t bytes);         /* 8-byte aligned, not cleared */
float *arena_f32(mltf_arena *a, size_t rows, size_t cols);    /* the product is checked */
char *arena_strdup(mltf_arena *a, const char *p, size_t n);   /* terminated by NUL */
mltf_str arena_str(mltf_arena *a, mltf_str s);                /* copy, also terminated by NUL */
char *arena_printf(mltf_arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Arrays that grow: room for `need` elements of `size` bytes behind the pointer at `array`, which has room for *cap.
 * What was there is copied, what is new is zeroed; the old place is given back with the arena. */
bool arena_reserve(mltf_arena *a, void *array, size_t *cap, size_t need, size_t size);
#define ARENA_RESERVE(arena, array, cap, need)                                                     \
    ((need) <= (cap) || arena_reserve((arena), &(array), &(cap), (need), sizeof *(array)))

mltf_arena_mark arena_save(const mltf_arena *a);
void arena_restore(mltf_arena *a, mltf_arena_mark mark); /* also clears failed */
void arena_release(mltf_arena *a);                       /* frees all blocks; the arena can be used again */

#endif
