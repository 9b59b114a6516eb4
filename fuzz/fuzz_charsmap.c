/* precompiled_charsmap: a trie from a file, walked with text of the same file. */
#include "tokenizers/tok_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tok_charsmap *m = NULL;
    mltf_err err = {0};
    if (size < 1) return 0;
    const size_t text =
        data[0] < size ? data[0] : size - 1; // bytes of text behind the first, then the map
    if (tok_charsmap_new(&m, data + 1 + (text < size - 1 ? text : size - 1),
                         size - 1 - (text < size - 1 ? text : size - 1), &err))
        return 0;
    const char *p = (const char *)data + 1;
    size_t used, total = 0;
    for (size_t i = 0; i < text; i++) {
        const mltf_str a = tok_charsmap_first(m, p + i, text - i),
                       b = tok_charsmap_longest(m, p + i, text - i, &used);
        if (used > text - i) __builtin_trap();
        for (size_t k = 0; k < a.n; k++) total += (unsigned char)a.p[k];
        for (size_t k = 0; k < b.n; k++) total += (unsigned char)b.p[k];
    }
    tok_charsmap_free(m);
    return total == SIZE_MAX;
}
