#include "tokenizers/tok_config.h"

mltf_status tok_class_language(tokenizer *tk, const tok_settings *s, mltf_err *err)
{
    (void)tk;
    (void)s;
    (void)err;
    return MLTF_OK;
}
mltf_status tok_convert(tokenizer *tk, tok_settings *s, const char *dir, const json *tokenizer_json,
                        mltf_err *err)
{
    if (tokenizer_json) {
        TRY(tokenizer_parse(tk, tokenizer_json, err));
        return tok_settings_apply(tk, s, dir, true, err);
    }
    return mltf_fail(err, MLTF_NOT_FOUND, "there is no tokenizer.json");
}
