/* Chat templates: the input is a template, a NUL, and the JSON of its variables (or none). */
#include <stdlib.h>
#include <string.h>

#include "templates/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char standard[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"h\\u00e9 \\ud83d\\ude00\"}, "
        "{\"role\": \"assistant\", \"content\": null, "
        "\"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"a\": [1, 2.5]}}}]}], "
        "\"tools\": null, \"n\": 7, "
        "\"f\": 1.5, \"s\": \" a b \", \"l\": [3, 1, 2], \"d\": {\"b\": 1, \"a\": {}}, \"t\": "
        "true, \"add_generation_prompt\": true}";
    const char *text = (const char *)data, *nul = n ? memchr(text, 0, n) : NULL;
    const size_t n_source = nul ? (size_t)(nul - text) : n;
    jinja_template *t = NULL;
    if (jinja_compile(&t, text, n_source, NULL)) return 0;
    json_doc doc = JSON_DOC_INIT;
    mltf_status st =
        nul ? json_parse(&doc, nul + 1, n - n_source - 1, NULL, NULL) : MLTF_BAD_REQUEST;
    if (st) {
        json_doc_release(&doc);
        st = json_parse(&doc, standard, sizeof standard - 1, NULL, NULL);
    }
    if (st == MLTF_OK) {
        struct jinja_span *spans = NULL;
        size_t n_spans = 0;
        const jinja_options opts = {
            .max_steps = 200000, .now = 1, .generation = &spans, .n_generation = &n_spans};
        mltf_buf out = MLTF_BUF_INIT;
        mltf_err err = {0};
        st = jinja_render(t, doc.root, &opts, &out, &err);
        if (st == MLTF_OK)
            for (size_t i = 0; i < n_spans; i++)
                if (spans[i].start > spans[i].end) abort();
        if (st != MLTF_OK && out.n) abort(); // a failure leaves nothing behind
        free(spans);
        mltf_buf_release(&out);
    }
    json_doc_release(&doc);
    jinja_free(t);
    return 0;
}
