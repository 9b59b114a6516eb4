/* tokenizer.json: any bytes are a tokenizer or an error; one that loads encodes and decodes some texts within bounds. */
#include "tokenizers/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const texts[] = {"",
                                        "Hello, w\xC3\xB6rld 123  \xE5\x8C\x97\xE4\xBA\xAC<s> it's",
                                        "\xE2\x96\x81"
                                        "a\xCC\x81\xE1\x84\x92\xE1\x85\xA1\n\r\t aaaaaaaa!",
                                        " <unk> </s>\xF0\x9F\x98\x80"};
    tokenizer *tk = NULL;
    mltf_err err = {0};
    if (size > 1 << 16 || tokenizer_load_json(&tk, (const char *)data, size, &err)) return 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const mltf_str text = {texts[i], strlen(texts[i])};
        tok_encoding e = TOK_ENCODING_INIT;
        mltf_buf out = {.max = 1 << 20};
        const tok_options o = {.raw = i % 2};
        if (tokenizer_encode(tk, &e, text, i == 3 ? text : (mltf_str){NULL, 0}, &o, &err) ==
            MLTF_OK) {
            for (size_t k = 0; k < e.n; k++)
                if (e.offsets[k].start > text.n || e.offsets[k].end > text.n) __builtin_trap();
            tokenizer_decode(tk, &out, e.ids, e.n, i % 2, 1, &err);
        }
        mltf_buf_release(&out);
        tok_encoding_release(&e);
    }
    tokenizer_free(tk);
    return 0;
}
