#include "tokenizers/tok_slow.h"

void tok_slow_free(tok_slow *s)
{
    (void)s;
}
mltf_status tok_slow_encode(const tokenizer *tk, tok_scratch *s, tok_enc *e, mltf_str text,
                            int32_t type, mltf_err *err)
{
    (void)tk;
    (void)s;
    (void)e;
    (void)text;
    (void)type;
    return mltf_fail(err, MLTF_UNSUPPORTED, "this tokenizer has no fast form");
}
mltf_status tok_slow_finish(const tokenizer *tk, tok_enc *out, tok_enc *parts, size_t n,
                            const tok_options *opts, mltf_err *err)
{
    (void)tk;
    (void)out;
    (void)parts;
    (void)n;
    (void)opts;
    return mltf_fail(err, MLTF_UNSUPPORTED, "this tokenizer has no fast form");
}
size_t tok_slow_num_added(const tokenizer *tk, bool pair)
{
    (void)tk;
    (void)pair;
    return 0;
}
mltf_status tok_slow_decode(const tokenizer *tk, mltf_buf *out, const int32_t *ids, size_t n,
                            bool skip_special, mltf_err *err)
{
    (void)tk;
    (void)out;
    (void)ids;
    (void)n;
    (void)skip_special;
    return mltf_fail(err, MLTF_UNSUPPORTED, "this tokenizer has no fast form");
}
