#include "tokenizers/tok_onig.h"

#include "tokenizers/unicode.h"

mltf_status tok_onig_translate(mltf_buf *out, mltf_str source, mltf_err *err)
{
    buf_put_str(out, source);
    return buf_status(out, err);
}
