/* What token classification asks of a tokenizer: whether it knows words, and the text of given tokens. */
#include "tokenizers/tok_decode.h"

bool tokenizer_is_fast(const tokenizer *tk)
{
    return !tk->slow;
}

mltf_str tokenizer_continuing_prefix(const tokenizer *tk)
{
    return tk->model ? str_from(tk->model->continuing) : STR("");
}

mltf_status tokenizer_decode_tokens(const tokenizer *tk, mltf_buf *out, const mltf_str *tokens,
                                    size_t n, mltf_err *err)
{
    tok_stages stages = {0};
    mltf_status st = tok_stages_begin(&stages, tk->decoder, err);
    for (size_t i = 0; i < n && !st; i++) st = tok_stages_feed(&stages, tokens[i], out, err);
    if (!st) st = tok_stages_end(&stages, out, err);
    tok_stages_release(&stages);
    return st ? st : buf_status(out, err);
}
