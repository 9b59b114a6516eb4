/* "logprobs" of OpenAI's chats and completions. */
#include <math.h>

#include "base/utf8.h"
#include "mlflow/model.h"
#include "mlflow/openai_request.h"

static void token_text(const mltf_model *m, int32_t id, mltf_buf *out)
{
    const gen_trie *trie = NULL;
    mltf_str bytes = {0};
    if (pipeline_trie(m->pipe, &trie, NULL) == MLTF_OK) bytes = gen_trie_bytes(trie, id);
    if (!bytes.p) bytes = tokenizer_id_to_token(pipeline_tokenizer(m->pipe), id);
    buf_clear(out);
    buf_put_str(out, bytes.p ? bytes : STR(""));
}

/* {"token", "logprob", "bytes"}: a token that is no text by itself is shown with U+FFFD and its bytes. */
static json *logprob_entry(const mltf_model *m, int32_t id, float logprob, mltf_arena *a)
{
    mltf_buf raw = MLTF_BUF_INIT, shown = MLTF_BUF_INIT;
    token_text(m, id, &raw);
    for (size_t i = 0; i < raw.n;) {
        size_t len = 1;
        const uint32_t c = utf8_decode(raw.p + i, raw.n - i, &len);
        if (c == UTF8_BAD)
            buf_puts(&shown, "\xEF\xBF\xBD");
        else
            buf_append(&shown, raw.p + i, len);
        i += len;
    }
    json *o = json_new_object(a), *bytes = json_new_array(a);
    for (size_t i = 0; i < raw.n; i++)
        json_push(a, bytes, json_new_int(a, (unsigned char)raw.p[i]));
    json_set(a, o, "token", json_new_string(a, shown.p ? buf_str(&shown) : STR("")));
    json_set(a, o, "logprob", json_new_double(a, logprob < -9999.0f ? -9999.0 : (double)logprob));
    json_set(a, o, "bytes", bytes);
    mltf_buf_release(&raw);
    mltf_buf_release(&shown);
    return o;
}

json *openai_chat_logprobs(const mltf_model *m, const gen_logprob *scores, size_t n, size_t width,
                           mltf_arena *a)
{
    json *content = json_new_array(a), *out = json_new_object(a);
    for (size_t i = 0; i < n; i++) {
        const gen_logprob *row = scores + i * width;
        json *entry = logprob_entry(m, row->id, row->logprob, a), *top = json_new_array(a);
        for (size_t k = 1; k < width; k++)
            if (row[k].id >= 0) json_push(a, top, logprob_entry(m, row[k].id, row[k].logprob, a));
        json_set(a, entry, "top_logprobs", top);
        json_push(a, content, entry);
    }
    json_set(a, out, "content", content);
    json_set(a, out, "refusal", json_new_null(a));
    return out;
}

json *openai_completion_logprobs(const mltf_model *m, const gen_logprob *scores, size_t n,
                                 size_t width, int64_t *offset, mltf_arena *a)
{
    json *tokens = json_new_array(a), *probs = json_new_array(a), *tops = json_new_array(a),
         *offsets = json_new_array(a);
    for (size_t i = 0; i < n; i++) {
        const gen_logprob *row = scores + i * width;
        const bool known = !isnan(row->logprob);
        const json *entry = logprob_entry(m, row->id, known ? row->logprob : 0, a);
        const mltf_str token = json_string(json_get(entry, "token"), STR(""));
        json *top = json_new_object(a);
        for (size_t k = 1; k < width && known; k++) {
            if (row[k].id < 0) continue;
            const json *other = logprob_entry(m, row[k].id, row[k].logprob, a);
            json_set_str(a, top, json_string(json_get(other, "token"), STR("")),
                         json_get(other, "logprob"));
        }
        json_push(a, tokens, json_get(entry, "token"));
        json_push(a, probs, known ? json_get(entry, "logprob") : json_new_null(a));
        json_push(a, tops, known ? top : json_new_null(a));
        json_push(a, offsets, json_new_int(a, *offset));
        *offset += (int64_t)(token.n ? utf8_count(token.p, token.n) : 0);
    }
    json *out = json_new_object(a);
    json_set(a, out, "tokens", tokens);
    json_set(a, out, "token_logprobs", probs);
    json_set(a, out, "top_logprobs", width > 1 ? tops : json_new_null(a));
    json_set(a, out, "text_offset", offsets);
    return out;
}
