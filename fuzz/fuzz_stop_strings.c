/* Stop strings against any tokens: up to three strings, then token ids. The answer must be the one that the decoded
 * text gives: an early end of a text, or a late one, would be seen by everybody. */
#include <stdlib.h>
#include <string.h>

#include "gen/gen_stop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool text_has(mltf_str text, mltf_str what)
{
    for (size_t i = 0; i + what.n <= text.n; i++)
        if (memcmp(text.p + i, what.p, what.n) == 0) return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static tokenizer *tk; // loaded once: all inputs share it
    if (!tk && tokenizer_load(&tk, "tests/fixtures/models/gpt2-base", NULL)) return 0;
    if (size < 4 || size > 512) return 0;
    mltf_str strings[3];
    const size_t n_strings = 1 + data[0] % 3;
    size_t at = 1;
    for (size_t i = 0; i < n_strings; i++) {
        const size_t n = at < size ? data[at++] % 8 : 0;
        strings[i] = (mltf_str){(const char *)data + at, n < size - at ? n : size - at};
        at += strings[i].n;
    }
    gen_stop s;
    mltf_err err = {0};
    const gen_strings list = {strings, n_strings};
    if (gen_stop_init(&s, &list, tk, &err)) { // an empty string
        gen_stop_release(&s);
        return 0;
    }
    int32_t ids[512];
    size_t n = 0;
    mltf_buf text = MLTF_BUF_INIT;
    for (; at < size; at++) {
        size_t which;
        ids[n++] = data[at];
        if (gen_stop_check(&s, ids, n, &which, &err)) abort();
        if (which == SIZE_MAX) continue;
        buf_clear(&text);
        if (tokenizer_decode(tk, &text, ids, n, false, 0, &err)) abort();
        // bytes that are no UTF-8 are decoded to U+FFFD, which a string of such bytes does not find again
        bool plain = true;
        for (size_t i = 0; i < strings[which].n; i++) plain &= (uint8_t)strings[which].p[i] < 128;
        if (plain && !text_has(buf_str(&text), strings[which])) abort();
    }
    mltf_buf_release(&text);
    gen_stop_release(&s);
    return 0;
}
