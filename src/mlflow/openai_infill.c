/* Filling in the middle: `suffix` of a completion. Code models are trained with three tokens around the parts:
 *
 *     <fim_prefix>PREFIX<fim_suffix>SUFFIX<fim_middle>            StarCoder, Granite Code, StableCode; SantaCoder with "-"
 *     <|fim_prefix|>PREFIX<|fim_suffix|>SUFFIX<|fim_middle|>      Qwen 2.5 Coder, CodeGemma
 *     <｜fim▁begin｜>PREFIX<｜fim▁hole｜>SUFFIX<｜fim▁end｜>          DeepSeek Coder, DeepSeek V2 and V3
 *     ▁<PRE>PREFIX▁<SUF>SUFFIX▁<MID>                              Code Llama, which ends with ▁<EOT>
 *     <|code_prefix|>PREFIX<|code_suffix|>SUFFIX<|code_middle|>   GLM
 *     [SUFFIX]SUFFIX[PREFIX]PREFIX                                Codestral
 *
 * The whole is encoded as one text, as one would do with transformers; Code Llama's parts are encoded apart, without
 * the blank that its tokenizer puts before a text, as CodeLlamaTokenizerFast does. */
#include "base/array.h"
#include "mlflow/openai_request.h"

#include <stdlib.h>

typedef struct infill_marks {
    const char *prefix, *suffix, *middle; /* middle NULL: the suffix comes first */
    const char *end;                      /* of the text, or NULL: as always */
    bool apart;
} infill_marks;

static const infill_marks known[] = {
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>", NULL, false},
    {"<fim-prefix>", "<fim-suffix>", "<fim-middle>", NULL, false},
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", NULL, false},
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", NULL, false},
    {"▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>", true},
    {"<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>", NULL, false},
    {"[PREFIX]", "[SUFFIX]", NULL, NULL, false},
};

static const infill_marks *marks_of(const tokenizer *tk)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const infill_marks *m = &known[i];
        if (tokenizer_token_to_id(tk, str_from(m->prefix)) >= 0 &&
            tokenizer_token_to_id(tk, str_from(m->suffix)) >= 0 &&
            (!m->middle || tokenizer_token_to_id(tk, str_from(m->middle)) >= 0))
            return m;
    }
    return NULL;
}

static mltf_status append_ids(llm_ids *ids, const int32_t *more, size_t n, mltf_err *err)
{
    if (n == 0) return MLTF_OK;
    if (!array_resize(&ids->p, ids->n + n, sizeof *more)) return mltf_fail_memory(err);
    memcpy(ids->p + ids->n, more, n * sizeof *more);
    ids->n += n;
    return MLTF_OK;
}

static mltf_status append_token(llm_ids *ids, const tokenizer *tk, const char *token, mltf_err *err)
{
    const int32_t id = tokenizer_token_to_id(tk, str_from(token));
    return append_ids(ids, &id, 1, err);
}

/* The ids of a text that no blank comes before: read behind a character of its own, which is then left out. */
static mltf_status append_inner(llm_ids *ids, const tokenizer *tk, mltf_str text, mltf_err *err)
{
    static const char first[] = "\xE2\x98\xBA"; // a face, which nothing merges with
    mltf_buf b = MLTF_BUF_INIT;
    tok_encoding enc = TOK_ENCODING_INIT;
    buf_puts(&b, first);
    buf_put_str(&b, text);
    mltf_status st = buf_status(&b, err);
    if (!st)
        st = tokenizer_encode(tk, &enc, buf_str(&b), (mltf_str){0},
                              &(tok_options){.no_special_tokens = true}, err);
    size_t skip = 0;
    while (!st && skip < enc.n && enc.offsets[skip].end < sizeof first) skip++;
    if (!st) st = append_ids(ids, enc.ids + skip, enc.n - skip, err);
    tok_encoding_release(&enc);
    mltf_buf_release(&b);
    return st;
}

static mltf_status encode_apart(const pipeline *p, const infill_marks *m, llm_ids *out,
                                mltf_str prefix, mltf_str suffix, mltf_err *err)
{
    const tokenizer *tk = pipeline_tokenizer(p);
    TRY(llm_encode(p, out, STR(""), true, 0, err)); // the token that begins every text
    TRY(append_token(out, tk, m->prefix, err));
    TRY(append_inner(out, tk, prefix, err));
    TRY(append_token(out, tk, m->suffix, err));
    TRY(append_inner(out, tk, suffix, err));
    return append_token(out, tk, m->middle, err);
}

mltf_status openai_encode_infill(const pipeline *p, llm_ids *out, mltf_str prefix, mltf_str suffix,
                                 mltf_err *err)
{
    const infill_marks *m = marks_of(pipeline_tokenizer(p));
    if (!m)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "'suffix' is not supported by this model: its tokenizer has no tokens for "
                         "filling in the middle.");
    if (m->apart) return encode_apart(p, m, out, prefix, suffix, err);
    mltf_buf text = MLTF_BUF_INIT;
    buf_puts(&text, m->middle ? m->prefix : m->suffix);
    buf_put_str(&text, m->middle ? prefix : suffix);
    buf_puts(&text, m->middle ? m->suffix : m->prefix);
    buf_put_str(&text, m->middle ? suffix : prefix);
    if (m->middle) buf_puts(&text, m->middle);
    mltf_status st = buf_status(&text, err);
    if (!st) st = llm_encode(p, out, buf_str(&text), true, 0, err);
    mltf_buf_release(&text);
    return st;
}

int32_t openai_infill_end(const pipeline *p)
{
    const infill_marks *m = marks_of(pipeline_tokenizer(p));
    return m && m->end ? tokenizer_token_to_id(pipeline_tokenizer(p), str_from(m->end)) : -1;
}
