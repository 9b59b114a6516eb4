/* Stop strings, matched on decoded text. */
#include "gen/gen_stop.h"

#include <string.h>

mltf_status gen_stop_init(gen_stop *s, const gen_strings *strings, const tokenizer *tk,
                          mltf_err *err)
{
    *s = (gen_stop){.tk = tk, .strings = *strings};
    for (size_t i = 0; i < strings->n; i++) {
        if (strings->p[i].n == 0)
            return mltf_fail(err, MLTF_INVALID_INPUT, "`stop_strings` holds an empty string");
        if (strings->p[i].n > s->longest) s->longest = strings->p[i].n;
    }
    if (strings->n && !tk)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "There are one or more stop strings, either in the arguments to `generate` or in the "
            "model's "
            "generation config, but we could not locate a tokenizer. When generating with stop "
            "strings, "
            "you must pass the model's tokenizer to the `tokenizer` argument of `generate`.");
    if (strings->n) s->form = gen_vocab_form_of(tk);
    return MLTF_OK;
}

void gen_stop_release(gen_stop *s)
{
    mltf_buf_release(&s->before);
    mltf_buf_release(&s->after);
}

/* The text of ids[0..n): token by token where the vocabulary says what each adds, else as the tokenizer decodes
 * it (WordPiece sets blanks between tokens). */
static mltf_status text_of(gen_stop *s, mltf_buf *out, const int32_t *ids, size_t n, mltf_err *err)
{
    buf_clear(out);
    if (s->form == GEN_FORM_PLAIN) return tokenizer_decode(s->tk, out, ids, n, false, 0, err);
    for (size_t i = 0; i < n; i++) {
        const mltf_str token = tokenizer_id_to_token(s->tk, ids[i]);
        if (token.p) gen_token_bytes(out, token, s->form);
    }
    return buf_status(out, err);
}

/* The text of a window of tokens with and without its last one. Both begin at the same token, so whatever a
 * decoder does to the beginning of a text it does to both. Every token has at least one byte of text but for
 * oddities at the beginning, for which the window is four tokens longer than the longest stop string. */
mltf_status gen_stop_check(gen_stop *s, const int32_t *ids, size_t n, size_t *which, mltf_err *err)
{
    *which = SIZE_MAX;
    if (s->strings.n == 0 || n == 0) return MLTF_OK;
    const size_t window = n < s->longest + 4 ? n : s->longest + 4;
    TRY(text_of(s, &s->after, ids + n - window, window, err));
    TRY(text_of(s, &s->before, ids + n - window, window - 1, err));

    // what both share is old; the new text may also change its end (half a character became whole)
    size_t old = 0;
    while (old < s->before.n && old < s->after.n && s->before.p[old] == s->after.p[old]) old++;
    for (size_t i = 0; i < s->strings.n; i++) {
        const mltf_str want = s->strings.p[i];
        const size_t from = old + 1 > want.n ? old + 1 - want.n : 0; // its end lies behind `old`
        for (size_t at = from; at + want.n <= s->after.n; at++) {
            if (memcmp(s->after.p + at, want.p, want.n) != 0) continue;
            *which = i;
            return MLTF_OK;
        }
    }
    return MLTF_OK;
}
