/* Arrays of the heap that grow. */
#include "base/array.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

bool array_resize(void *array, size_t n, size_t size)
{
    size_t bytes;
    if (!checked_mul(&bytes, n, size)) return false;
    void *p; // the pointer's own type is the caller's
    memcpy(&p, array, sizeof p);
    p = realloc(p, bytes ? bytes : 1);
    if (!p) return false;
    memcpy(array, &p, sizeof p);
    return true;
}

bool array_reserve(void *array, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap) return true;
    size_t wanted;
    if (!checked_add(&wanted, *cap, *cap / 2 + 16)) return false;
    if (wanted < need) wanted = need;
    if (!array_resize(array, wanted, size)) return false;
    *cap = wanted;
    return true;
}
