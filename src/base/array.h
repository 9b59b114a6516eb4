/* Arrays of the heap that grow.
 *
 *     if (!ARRAY_RESERVE(list->items, list->cap, list->n + 1)) return mltf_fail_memory(err);
 *     list->items[list->n++] = item;
 */
#ifndef MLTF_BASE_ARRAY_H
#define MLTF_BASE_ARRAY_H

#include <stdbool.h>
#include <stddef.h>

/* Room for `need` elements of `size` bytes; `array` is the address of the pointer to them, *cap how many fit. What was
 * there is kept, what is new is not set, and the next calls find room. False: no memory, and nothing changed. */
bool array_reserve(void *array, size_t *cap, size_t need, size_t size);
#define ARRAY_RESERVE(array, cap, need)                                                            \
    ((need) <= (cap) || array_reserve(&(array), &(cap), (need), sizeof *(array)))

/* Exactly n elements: for arrays that share one capacity. */
bool array_resize(void *array, size_t n, size_t size);

#endif
