/* YAML: what is read is written, read again, and must be the same, for both dumpers. */
#include <stdlib.h>

#include "formats/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_doc doc = JSON_DOC_INIT, again = JSON_DOC_INIT;
    mltf_buf out = MLTF_BUF_INIT, a = MLTF_BUF_INIT, b = MLTF_BUF_INIT;
    mltf_err err = {0};
    if (size < 4096 && yaml_parse(&doc, (const char *)data, size, &err) == MLTF_OK) {
        json_write(&a, doc.root, NULL);
        for (int k = 0; k < 4 && a.n < 100000; k++) {
            const yaml_write_options o = {.allow_unicode = k & 1, .c_dumper = k & 2};
            buf_clear(&out);
            yaml_write(&out, doc.root, &o);
            // PyYAML writes U+0085 into single quotes as it is, where libyaml reads a line break
            if (k == 1) continue;
            if (yaml_parse(&again, out.p, out.n, &err)) abort();
            buf_clear(&b);
            json_write(&b, again.root, NULL);
            if (a.n != b.n || memcmp(a.p, b.p, a.n) != 0) abort();
        }
    }
    mltf_buf_release(&out);
    mltf_buf_release(&a);
    mltf_buf_release(&b);
    json_doc_release(&doc);
    json_doc_release(&again);
    return 0;
}
