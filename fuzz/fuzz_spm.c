/* sentencepiece models: any bytes are a model or an error; one that loads encodes and decodes. */
#include "tokenizers/tok_spm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] =
        "Hello,  w\xC3\xB6rld\xE2\x96\x81 123 \xE5\x8C\x97\xE4\xBA\xAC <s> \xEF\xAC\x81n";
    tok_spm *m = NULL;
    mltf_err err = {0};
    if (size > 1 << 16 || tok_spm_parse(&m, data, size, &err)) return 0;
    tok_spm_pieces p = {0};
    mltf_buf out = {.max = 1 << 20};
    if (tok_spm_encode(m, &p, (mltf_str){text, sizeof text - 1}, &err) == MLTF_OK)
        tok_spm_decode(m, &out, p.ids, p.n, &err);
    for (int32_t i = 0; (size_t)i < tok_spm_about(m)->n && i < 64; i++)
        tok_spm_decode(m, &out, &i, 1, &err);
    mltf_buf_release(&out);
    tok_spm_pieces_release(&p);
    tok_spm_free(m);
    return 0;
}
