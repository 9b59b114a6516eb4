#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/c_locale.h"
#include "base/checked.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#define GAP MLTF_ARENA_ALIGN /* a poisoned line behind each buffer */
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#define GAP 0
#endif

struct arena_block {
    arena_block *next;
    size_t size, used; /* of bytes behind this header */
};

enum { HEADER = 64, FIRST_BLOCK = 16 * 1024, LARGEST_STEP = 8 * 1024 * 1024, HUGE_PAGE = 2 * 1024 * 1024 };
_Static_assert(sizeof(arena_block) <= HEADER, "the header must fit its place");

static char *block_data(arena_block *b) { return (char *)b + HEADER; }

/* Large blocks hold weights that every token reads: huge pages spare the look-ups of addresses, where there are any. */
static arena_block *block_new(size_t bytes)
{
    if (bytes < LARGEST_STEP)
        return aligned_alloc(MLTF_ARENA_ALIGN, bytes & ~(size_t)(MLTF_ARENA_ALIGN - 1));
    if (!checked_add(&bytes, bytes, HUGE_PAGE - 1)) return NULL;
    bytes &= ~(size_t)(HUGE_PAGE - 1);
    arena_block *b = aligned_alloc(HUGE_PAGE, bytes);
#ifdef MADV_HUGEPAGE
    if (b) madvise(b, bytes, MADV_HUGEPAGE);
#endif
    return b;
}

static arena_block *block_add(mltf_arena *a, size_t need)
{
    size_t size = a->total < FIRST_BLOCK ? FIRST_BLOCK : a->total;
    if (size > LARGEST_STEP) size = LARGEST_STEP;
    if (size < need) size = need;
    if (a->max && (a->total > a->max || size > a->max - a->total)) {
        size = need;
        if (a->total > a->max || size > a->max - a->total) return NULL;
    }
    size_t bytes;
    if (!checked_add(&bytes, size, HEADER + MLTF_ARENA_ALIGN)) return NULL;
    arena_block *b = block_new(bytes);
    if (!b) return NULL;
    *b = (arena_block){.next = NULL, .size = size};
    POISON(block_data(b), size);
    a->total += size;
    return b;
}

static void *alloc_aligned(mltf_arena *a, size_t bytes, size_t align)
{
    if (bytes == 0) bytes = 1;
    size_t need;
    if (!checked_add(&need, bytes, align + GAP)) goto failed;
    for (arena_block *b = a->current; b;) {
        const size_t at = (b->used + align - 1) & ~(align - 1);
        if (at <= b->size && bytes + GAP <= b->size - at) {
            b->used = at + bytes + GAP;
            a->current = b;
            UNPOISON(block_data(b) + at, bytes);
            return block_data(b) + at;
        }
        if (!b->next) break;
        b = b->next;
        b->used = 0;
    }
    arena_block *b = block_add(a, need);
    if (!b) goto failed;
    if (!a->first) {
        a->first = b;
    } else {
        arena_block *last = a->current;
        while (last->next) last = last->next;
        last->next = b;
    }
    a->current = b;
    b->used = bytes + GAP;
    UNPOISON(block_data(b), bytes);
    return block_data(b);
failed:
    a->failed = true;
    return NULL;
}

void *arena_alloc(mltf_arena *a, size_t bytes) { return alloc_aligned(a, bytes, MLTF_ARENA_ALIGN); }
void *arena_alloc_small(mltf_arena *a, size_t bytes) { return alloc_aligned(a, bytes, 8); }

void *arena_calloc(mltf_arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (!checked_mul(&bytes, n, size)) {
        a->failed = true;
        return NULL;
    }
    void *p = alloc_aligned(a, bytes, MLTF_ARENA_ALIGN);
    if (p) memset(p, 0, bytes);
    return p;
}

float *arena_f32(mltf_arena *a, size_t rows, size_t cols)
{
    size_t n, bytes;
    if (!checked_mul(&n, rows, cols) || !checked_mul(&bytes, n, sizeof(float))) {
        a->failed = true;
        return NULL;
    }
    return alloc_aligned(a, bytes, MLTF_ARENA_ALIGN);
}

bool arena_reserve(mltf_arena *a, void *array, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) return true;
    size_t wanted, bytes;
    if (!checked_add(&wanted, *cap, *cap > 4 ? *cap : 4)) wanted = need;
    if (wanted < need) wanted = need;
    if (!checked_mul(&bytes, wanted, size)) {
        a->failed = true;
        return false;
    }
    char *grown = alloc_aligned(a, bytes, 16);
    if (!grown) return false;
    void *old; // the pointer's own type is the caller's
    memcpy(&old, array, sizeof old);
    const size_t kept = *cap * size;
    if (kept) memcpy(grown, old, kept);
    memset(grown + kept, 0, bytes - kept);
    memcpy(array, &grown, sizeof grown);
    *cap = wanted;
    return true;
}

char *arena_strdup(mltf_arena *a, const char *p, size_t n)
{
    if (n == SIZE_MAX) {
        a->failed = true;
        return NULL;
    }
    char *s = alloc_aligned(a, n + 1, 1);
    if (!s) return NULL;
    if (n) memcpy(s, p, n);
    s[n] = '\0';
    return s;
}

mltf_str arena_str(mltf_arena *a, mltf_str s)
{
    const char *p = arena_strdup(a, s.p, s.n);
    return (mltf_str){p ? p : "", p ? s.n : 0};
}

char *arena_printf(mltf_arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int n = c_vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *s = n < 0 ? NULL : alloc_aligned(a, (size_t)n + 1, 1);
    if (s) c_vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return s;
}

mltf_arena_mark arena_save(const mltf_arena *a)
{
    return (mltf_arena_mark){a->current, a->current ? a->current->used : 0};
}

void arena_restore(mltf_arena *a, mltf_arena_mark mark)
{
    a->failed = false;
    arena_block *b = mark.block ? mark.block : a->first;
    const size_t used = mark.block ? mark.used : 0;
    if (!b) return;
    POISON(block_data(b) + used, b->size - used);
    b->used = used;
    for (arena_block *rest = b->next; rest; rest = rest->next) {
        rest->used = 0;
        POISON(block_data(rest), rest->size);
    }
    a->current = b;
}

void arena_release(mltf_arena *a)
{
    for (arena_block *b = a->first, *next; b; b = next) {
        next = b->next;
        UNPOISON(block_data(b), b->size);
        free(b);
    }
    *a = (mltf_arena){.max = a->max};
}
