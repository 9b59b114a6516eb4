/* Constraints from hostile text: the first byte chooses regex, grammar or JSON schema, the rest describes it. What
 * compiles is then walked by allowed bytes, which must all be accepted. */
#include <stdlib.h>
#include <string.h>

#include "gen/constraint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok) abort();
}

static void walk(const gen_constraint *c, uint32_t seed)
{
    gen_matcher *m = NULL;
    mltf_err err = {0};
    check(gen_matcher_new(&m, c, &err) == MLTF_OK);
    for (int step = 0; step < 40; step++) {
        uint8_t allowed[256] = {0};
        if (gen_matcher_allowed(m, allowed, 256, (gen_ids){0}, &err))
            break; // too ambiguous or too deep
        int n = 0;
        for (int i = 0; i < 256; i++) n += allowed[i];
        if (n == 0) break;
        seed = seed * 1664525u + 1013904223u;
        int pick = (int)((seed >> 8) % (unsigned)n), id = 0;
        while (!allowed[id] || pick-- > 0) id++;
        check(gen_matcher_accept(m, id, &err) == MLTF_OK);
    }
    gen_matcher_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static gen_trie *trie; // made once: all inputs share it
    if (!trie) {
        static char bytes[256];
        mltf_str tokens[256];
        for (int i = 0; i < 256; i++) {
            bytes[i] = (char)i;
            tokens[i] = (mltf_str){bytes + i, 1};
        }
        if (gen_trie_from_tokens(&trie, tokens, 256, NULL)) return 0;
    }
    if (size < 1 || size > 4096) return 0;
    gen_constraint *c = NULL;
    mltf_err err = {0};
    const mltf_str text = {(const char *)data + 1, size - 1};
    mltf_status st = MLTF_OK;
    json_doc doc = JSON_DOC_INIT;
    if (data[0] % 3 == 0) {
        st = gen_constraint_regex(&c, trie, text, &err);
    } else if (data[0] % 3 == 1) {
        st = gen_constraint_grammar(&c, trie, text, &err);
    } else {
        st = json_parse(&doc, text.p, text.n, NULL, &err);
        if (!st) st = gen_constraint_json_schema(&c, trie, doc.root, &err);
    }
    json_doc_release(&doc);
    check((st == MLTF_OK) == (c != NULL));
    check(st == MLTF_OK || err.msg[0]);
    if (c) walk(c, (uint32_t)size);
    gen_constraint_free(c);
    return 0;
}
