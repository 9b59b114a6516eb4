/* JSON: what is read is written, read again, and must be the same. */
#include <stdlib.h>

#include "formats/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_doc doc = JSON_DOC_INIT, again = JSON_DOC_INIT;
    mltf_buf out = MLTF_BUF_INIT, twice = MLTF_BUF_INIT;
    mltf_err err = {0};
    const json_parse_options strict = {.strict = true, .trailing = true};
    if (json_parse(&doc, (const char *)data, size, &strict, &err) == MLTF_OK)
        json_write(&out, doc.root, NULL);
    if (json_parse(&doc, (const char *)data, size, NULL, &err) == MLTF_OK) {
        for (int ascii = 0; ascii < 2; ascii++) {
            const json_write_options o = {
                .ensure_ascii = ascii, .indent = size % 3, .compact = size % 2};
            buf_clear(&out);
            json_write(&out, doc.root, &o);
            // without ensure_ascii lone surrogates are written as they are, which nothing reads
            const mltf_status st = json_parse(&again, out.p, out.n, NULL, &err);
            check(st == MLTF_OK || !ascii);
            if (st) continue;
            buf_clear(&twice);
            json_write(&twice, again.root, &o);
            check(twice.n == out.n && memcmp(twice.p, out.p, out.n) == 0);
        }
        json_equal(doc.root, doc.root);
    } else {
        check(err.msg[0] != '\0');
    }
    mltf_buf_release(&out);
    mltf_buf_release(&twice);
    json_doc_release(&doc);
    json_doc_release(&again);
    return 0;
}
