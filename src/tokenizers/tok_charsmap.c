/* sentencepiece's precompiled_charsmap: replacement rules in a double array.
 *
 *   u32   size of the trie in bytes
 *   u32[] units of the trie: a Darts-clone double array over bytes
 *   rest  replacements, each ended by NUL; the trie's values are places in it
 *
 * All little endian. Every index is checked while walking: a unit may point anywhere. */
#include <stdlib.h>

#include "tokenizers/tok_internal.h"

struct tok_charsmap {
    uint32_t *units;
    size_t n_units;
    char *text;
    size_t text_n;
    uint8_t starts[256]; /* some rule begins with that byte */
    bool keeps[128];     /* printable ASCII that the map leaves alone */
};

void tok_charsmap_free(tok_charsmap *m)
{
    if (!m) return;
    free(m->units);
    free(m->text);
    free(m);
}

static uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

mltf_status tok_charsmap_new(tok_charsmap **out, const void *blob, size_t n, mltf_err *err)
{
    *out = NULL;
    const unsigned char *b = blob;
    if (n < 4)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "precompiled_charsmap has only %zu bytes", n);
    const size_t trie = (size_t)b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 | (size_t)b[3] << 24;
    const size_t units = trie / 4;
    if (units * 4 > n - 4 || units == 0)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "precompiled_charsmap says its trie has %zu bytes, but %zu follow", trie,
                         n - 4);
    if (!utf8_valid((const char *)b + 4 + units * 4, n - 4 - units * 4))
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "the replacements of precompiled_charsmap are not UTF-8");
    tok_charsmap *m = calloc(1, sizeof *m);
    if (!m) return mltf_fail_memory(err);
    m->n_units = units;
    m->text_n = n - 4 - units * 4;
    m->units = malloc(units * sizeof *m->units);
    m->text = malloc(m->text_n + 1);
    if (!m->units || !m->text) {
        tok_charsmap_free(m);
        return mltf_fail_memory(err);
    }
    for (size_t i = 0; i < units; i++) {
        const unsigned char *u = b + 4 + 4 * i;
        m->units[i] =
            (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
    }
    memcpy(m->text, b + 4 + units * 4, m->text_n);
    m->text[m->text_n] = '\0';
    const uint32_t root = offset_of(m->units[0]);
    if (root >= units) {
        tok_charsmap_free(m);
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "the trie of precompiled_charsmap points outside itself");
    }
    for (uint32_t c = 1; c < 256; c++) {
        const size_t at = root ^ c;
        m->starts[c] = at < units && (m->units[at] & ((1u << 31) | 0xFF)) == c;
    }
    for (int c = ' '; c < 0x7F; c++) {
        const char ascii = (char)c;
        m->keeps[c] = !tok_charsmap_first(m, &ascii, 1).p;
    }
    *out = m;
    return MLTF_OK;
}

bool tok_charsmap_keeps(const tok_charsmap *m, unsigned char c)
{
    return c < 0x80 && m->keeps[c];
}

static mltf_str replacement(const tok_charsmap *m, uint32_t unit)
{
    const size_t at = unit & ((1u << 31) - 1);
    if (at > m->text_n || tok_is_cont(m->text[at])) return (mltf_str){NULL, 0};
    return (mltf_str){m->text + at, strlen(m->text + at)};
}

static mltf_str walk(const tok_charsmap *m, const char *s, size_t n, bool first, size_t *used)
{
    mltf_str found = {NULL, 0};
    if (!n || !m->starts[(unsigned char)s[0]]) return found;
    size_t at = offset_of(m->units[0]);
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i];
        if (!c) break;
        at ^= c;
        if (at >= m->n_units) break;
        const uint32_t unit = m->units[at];
        if ((unit & ((1u << 31) | 0xFF)) != c) break;
        at ^= offset_of(unit);
        if (at >= m->n_units) break;
        if (unit >> 8 & 1) {
            found = replacement(m, m->units[at]);
            *used = i + 1;
            if (first) break;
        }
    }
    return found;
}

mltf_str tok_charsmap_first(const tok_charsmap *m, const char *s, size_t n)
{
    size_t used;
    return walk(m, s, n, true, &used);
}

mltf_str tok_charsmap_longest(const tok_charsmap *m, const char *s, size_t n, size_t *used)
{
    *used = 0;
    return walk(m, s, n, false, used);
}
