#include "mlflow/llm_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/utf8.h"

void llm_ids_release(llm_ids *ids)
{
    free(ids->p);
    *ids = (llm_ids){0};
}

mltf_status llm_encode(const pipeline *p, llm_ids *out, mltf_str text, bool special_tokens,
                       size_t max_length, mltf_err *err)
{
    const tok_options o = {.no_special_tokens = !special_tokens,
                           .truncation =
                               max_length ? TOK_TRUNCATE_LONGEST_FIRST : TOK_TRUNCATE_NONE,
                           .max_length = max_length,
                           .ids_only = true};
    tok_encoding enc = TOK_ENCODING_INIT;
    const mltf_status st =
        tokenizer_encode(pipeline_tokenizer(p), &enc, text, (mltf_str){0}, &o, err);
    if (!st) {
        out->p = enc.ids; // moves
        out->n = enc.n;
        enc.ids = NULL;
    }
    tok_encoding_release(&enc);
    return st;
}

mltf_status llm_decode(const pipeline *p, mltf_buf *out, const int32_t *ids, size_t n,
                       bool skip_special, int clean_up, mltf_err *err)
{
    TRY(tokenizer_decode(pipeline_tokenizer(p), out, ids, n, skip_special, clean_up, err));
    return buf_status(out, err);
}

/* Jinja2's messages do not say where in the template; ours do: "line 3, column 7: …". */
static const char *without_place(const char *msg)
{
    int line, column, n = 0;
    return sscanf(msg, "line %d, column %d: %n", &line, &column, &n) == 2 && n > 0 ? msg + n : msg;
}

mltf_status llm_render_chat(const pipeline *p, const json *messages, const chat_options *options,
                            mltf_buf *out, mltf_err *err)
{
    bool objects = json_is(messages, JSON_ARRAY);
    for (size_t i = 0; objects && i < messages->a.n; i++)
        objects = messages->a.items[i].type == JSON_OBJECT;
    if (!objects)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Input messages should be list of dictionaries, but got: <class '%s'>.",
                         json_type_name(messages));
    if (messages->a.n == 0)
        return mltf_fail(err, MLTF_INTERNAL,
                         "Failed to apply chat template: list index out of range");
    mltf_err cause = {0};
    const mltf_status st =
        chat_template_apply(pipeline_tokenizer(p), messages, options, out, &cause);
    if (st == MLTF_OK) return buf_status(out, err);
    if (st == MLTF_NO_MEMORY) return mltf_fail_memory(err);
    return mltf_fail(err, MLTF_INTERNAL, "Failed to apply chat template: %s",
                     without_place(cause.msg));
}

/* ---- options ---- */

/* Keywords of the pipeline that shape its own output and mean nothing to a reply. */
static bool is_output_key(mltf_str key)
{
    static const char *const keys[] = {"return_full_text",
                                       "return_text",
                                       "return_tensors",
                                       "return_type",
                                       "batch_size",
                                       "num_workers",
                                       "include_prompt",
                                       "collapse_whitespace",
                                       "truncation",
                                       "padding",
                                       "add_special_tokens",
                                       "skip_special_tokens",
                                       "custom_inputs",
                                       "stop",
                                       "stopping_criteria",
                                       "clean_up_tokenization_spaces",
                                       NULL};
    for (size_t i = 0; keys[i]; i++)
        if (str_is(key, keys[i])) return true;
    return false;
}

static const json *as_list(mltf_arena *a, const json *stop)
{
    if (json_is(stop, JSON_ARRAY)) return stop->a.n ? stop : NULL;
    if (!json_is(stop, JSON_STRING) || stop->s.n == 0) return NULL;
    json *list = json_new_array(a);
    json_push(a, list, stop);
    return list;
}

mltf_status llm_read_settings(llm_settings *s, const json *options, mltf_arena *a, mltf_err *err)
{
    *s = (llm_settings){.kwargs = json_new_object(a), .n = 1};
    for (size_t i = 0; json_is(options, JSON_OBJECT) && i < options->o.n; i++) {
        const mltf_str key = options->o.members[i].key;
        const json *v = &options->o.members[i].value;
        if (v->type == JSON_NULL) continue;
        if (str_is(key, "max_tokens") || str_is(key, "max_completion_tokens")) {
            if (json_double(v, 1) != 0)
                json_set(a, s->kwargs, "max_new_tokens", v); // 0 is as good as not given
        } else if (str_is(key, "max_new_tokens")) {
            if (!json_get(s->kwargs, "max_new_tokens")) json_set(a, s->kwargs, "max_new_tokens", v);
        } else if (str_is(key, "temperature") && json_is_number(v) && json_double(v, 1) == 0) {
            json_set(a, s->kwargs, "do_sample",
                     json_new_bool(a, false)); // nothing is colder than the best
        } else if (str_is(key, "n")) {
            const int64_t n = json_int(v, 0);
            if (n < 1 || n > 128)
                return mltf_fail(err, MLTF_INVALID_INPUT, "n must be between 1 and 128, not %lld",
                                 (long long)n);
            s->n = (size_t)n;
        } else if (str_is(key, "stream")) {
            s->stream = json_bool(v, false);
        } else if (str_is(key, "tools")) {
            s->tools = json_len(v) ? v : NULL;
        } else if (!is_output_key(key)) {
            json_set_str(a, s->kwargs, key, v);
        }
    }
    const json *given = json_get(options, "max_tokens");
    if (json_is_number(given) && json_double(given, 0) != 0)
        json_set(a, s->kwargs, "max_new_tokens", given);
    s->stop = as_list(a, json_get(options, "stop"));
    if (s->stop) json_set(a, s->kwargs, "stop_strings", s->stop);
    s->max_length = json_int(json_get(s->kwargs, "max_length"), 0);
    s->max_new = json_int(json_get(s->kwargs, "max_new_tokens"), 0);
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* ---- texts ---- */

size_t llm_find_stop(mltf_str text, const json *stop)
{
    size_t first = text.n;
    for (size_t i = 0; i < json_len(stop); i++) {
        const mltf_str s = json_string(json_at(stop, i), STR(""));
        if (s.n == 0 || s.n > text.n) continue;
        const char *at = memmem(text.p, text.n, s.p, s.n);
        if (at && (size_t)(at - text.p) < first) first = (size_t)(at - text.p);
    }
    return first;
}

size_t llm_stop_tail(mltf_str text, const json *stop)
{
    size_t tail = 0;
    for (size_t i = 0; i < json_len(stop); i++) {
        const mltf_str s = json_string(json_at(stop, i), STR(""));
        for (size_t n = s.n < text.n ? s.n : text.n; n > tail; n--)
            if (memcmp(text.p + text.n - n, s.p, n) == 0) tail = n;
    }
    return tail;
}

void llm_hex(char *out, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char bytes[32];
        if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
            memset(bytes, 0x5A, sizeof bytes);
        for (size_t k = 0; k < sizeof bytes && i < n; k++)
            out[i++] = "0123456789abcdef"[bytes[k] & 15];
    }
    out[n] = 0;
}

void llm_uuid4(char out[37])
{
    char hex[33];
    llm_hex(hex, 32);
    hex[12] = '4';
    hex[16] = "89ab"[hex[16] & 3];
    snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

mltf_str llm_skip_code_points(mltf_str s, size_t n)
{
    size_t i = 0;
    for (; n > 0 && i < s.n; n--) {
        i++;
        while (i < s.n && ((unsigned char)s.p[i] & 0xC0) == 0x80) i++;
    }
    return str_slice(s, i, s.n);
}
