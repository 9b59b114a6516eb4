/* InstructionTextGenerationPipeline, the custom pipeline of Dolly models (databrickslabs/dolly, training/generate.py):
 * the prompt becomes an instruction in a fixed frame, the answer is what stands behind "### Response:" up to "### End".
 * In Python this needs remote code; here it is known. Generation starts from the model's own settings with sampling,
 * top_p 0.92 and no top_k on top.
 *
 * Where the tokenizer has tokens of its own for both marks, the answer is what they enclose, and the second ends the
 * generation. Otherwise, and where that is empty, the marks are searched in the whole text with
 * `#+\s*Response:\s*(.+?)#+\s*End`, then without the end; so an empty answer to a prompt that asks for none comes out
 * as "#", as there. */
#include <stdlib.h>
#include <string.h>

#include "base/pytext.h"
#include "mlflow/llm_text.h"
#include "mlflow/wrapper.h"

#define INTRO                                                                                      \
    "Below is an instruction that describes a task. Write a response that appropriately "          \
    "completes the request."

bool wrap_is_instruct(const mltf_model *m)
{
    return m->instance_type && strcmp(m->instance_type, "InstructionTextGenerationPipeline") == 0;
}

static json *frame(mltf_arena *a, mltf_str instruction)
{
    mltf_buf b = MLTF_BUF_INIT;
    buf_puts(&b, INTRO "\n\n### Instruction:\n");
    buf_put_str(&b, instruction);
    buf_puts(&b, "\n\n### Response:\n");
    json *v = json_new_string(a, buf_str(&b));
    mltf_buf_release(&b);
    return v;
}

static void set_default(mltf_arena *a, json *kwargs, const char *key, const json *value)
{
    if (!json_get(kwargs, key)) json_set(a, kwargs, key, value);
}

/* ---- the marks as tokens ---- */

typedef struct marks {
    int32_t response, end; /* -1: no tokens of their own */
} marks;

static int32_t single_token(const pipeline *p, mltf_str text)
{
    llm_ids ids = {0};
    int32_t id = -1;
    if (llm_encode(p, &ids, text, true, 0, NULL) == MLTF_OK && ids.n == 1) id = ids.p[0];
    llm_ids_release(&ids);
    return id;
}

static marks find_marks(const pipeline *p)
{
    static const mltf_str keys[] = {{"### Response:", 13}, {"### Response:\n", 14}};
    for (size_t i = 0; i < 2; i++) {
        const int32_t id = tokenizer_token_to_id(pipeline_tokenizer(p), keys[i]);
        if (id < 0 || !tokenizer_is_special(pipeline_tokenizer(p), id)) continue;
        const marks m = {single_token(p, keys[i]), single_token(p, STR("### End"))};
        if (m.response >= 0 && m.end >= 0) return m;
        break;
    }
    return (marks){-1, -1};
}

static size_t index_of(const json *ids, int32_t id)
{
    for (size_t i = 0; i < json_len(ids); i++)
        if (json_int(json_at(ids, i), -1) == id) return i;
    return SIZE_MAX;
}

/* ---- the marks in text ---- */

static size_t skip_blank(mltf_str s, size_t at)
{
    return s.n - pytext_lstrip(str_slice(s, at, s.n)).n;
}

static size_t skip_hashes(mltf_str s, size_t at)
{
    while (at < s.n && s.p[at] == '#') at++;
    return at;
}

static bool is_end(mltf_str s, size_t at)
{
    if (at >= s.n || s.p[at] != '#') return false;
    return str_starts(str_slice(s, skip_blank(s, skip_hashes(s, at)), s.n), "End");
}

/* The first group of the pattern, with or without its end; p NULL: it matches nowhere. */
static mltf_str search(mltf_str s, bool with_end)
{
    for (size_t i = 0; i < s.n; i = skip_hashes(s, i)) {
        while (i < s.n && s.p[i] != '#') i++;
        const size_t heading = skip_blank(s, skip_hashes(s, i));
        if (i == s.n || !str_starts(str_slice(s, heading, s.n), "Response:")) continue;
        const size_t after = heading + strlen("Response:");
        for (size_t from = skip_blank(s, after) + 1; from-- > after;) { // the blanks give way
            if (!with_end && from < s.n) return str_slice(s, from, s.n);
            for (size_t to = from + 1; with_end && to < s.n; to++)
                if (is_end(s, to)) return str_slice(s, from, to);
        }
    }
    return (mltf_str){0};
}

/* What the model answered. p NULL: nothing that one could find. */
static mltf_status response_of(const wrap_call *w, marks m, const json *ids, mltf_str *out,
                               mltf_err *err)
{
    const pipeline *p = w->m->pipe;
    const size_t n = json_len(ids);
    const size_t begin = m.response >= 0 ? index_of(ids, m.response) : SIZE_MAX;
    size_t end = m.end >= 0 ? index_of(ids, m.end) : SIZE_MAX;
    if (end > n) end = n;
    mltf_buf text = MLTF_BUF_INIT;
    int32_t *all = calloc(n + 1, sizeof *all);
    if (!all) return mltf_fail_memory(err);
    for (size_t i = 0; i < n; i++) all[i] = (int32_t)json_int(json_at(ids, i), 0);
    mltf_status st = MLTF_OK;
    *out = (mltf_str){0};
    if (begin > 0 && begin < end) {
        st = llm_decode(p, &text, all + begin + 1, end - begin - 1, false, -1, err);
        *out = pytext_strip(text.p ? buf_str(&text) : STR(""));
    }
    if (!st && out->n == 0) {
        buf_clear(&text);
        st = llm_decode(p, &text, all, n, false, -1, err);
        const mltf_str whole = text.p ? buf_str(&text) : STR("");
        *out = search(whole, true);
        if (!out->p) *out = search(whole, false);
        if (out->p) *out = pytext_strip(*out);
    }
    if (!st && out->p) *out = arena_str(w->a, *out);
    free(all);
    mltf_buf_release(&text);
    return st;
}

/* ---- the call ---- */

static json *record(mltf_arena *a, mltf_str instruction, mltf_str response, bool full)
{
    mltf_buf b = MLTF_BUF_INIT;
    if (full) {
        buf_put_str(&b, instruction);
        buf_puts(&b, "\n");
        if (!response.p) response = STR("None");
    }
    buf_put_str(&b, response);
    json *one = json_new_object(a);
    json_set(a, one, "generated_text", json_new_string(a, b.p ? buf_str(&b) : STR("")));
    mltf_buf_release(&b);
    return one;
}

mltf_status wrap_call_instruct(wrap_call *w, const pv *data, json **raw, mltf_err *err)
{
    mltf_arena *a = w->a;
    const marks m = find_marks(w->m->pipe);
    json *kwargs = pv_to_json(a, &w->options);
    const bool full = json_bool(json_get(kwargs, "return_full_text"), false);
    json_remove(kwargs, "return_full_text");
    json_set(a, kwargs, "return_tensors", json_new_bool(a, true));
    json_set(a, kwargs, "generation_config",
             json_new_null(a)); // the model's, not text-generation's
    set_default(a, kwargs, "do_sample", json_new_bool(a, true));
    set_default(a, kwargs, "max_new_tokens", json_new_int(a, 256));
    set_default(a, kwargs, "top_p", json_new_double(a, 0.92));
    set_default(a, kwargs, "top_k", json_new_int(a, 0));
    if (m.end >= 0) json_set(a, kwargs, "eos_token_id", json_new_int(a, m.end));

    const size_t n = data->kind == PV_LIST ? data->list.n : 1;
    json *prompts = json_new_array(a), *answers = NULL, *out = json_new_array(a);
    for (size_t i = 0; i < n; i++)
        json_push(a, prompts, frame(a, data->kind == PV_LIST ? data->list.items[i].s : data->s));
    TRY(pipeline_call(w->m->pipe, prompts, kwargs, w->ctl, a, &answers, err));
    for (size_t i = 0; i < json_len(answers); i++) {
        const mltf_str prompt = data->kind == PV_LIST ? data->list.items[i].s : data->s;
        json *list = json_new_array(a);
        for (size_t k = 0; k < json_len(json_at(answers, i)); k++) {
            mltf_str response = {0};
            const json *ids = json_get(json_at(json_at(answers, i), k), "generated_token_ids");
            TRY(response_of(w, m, ids, &response, err));
            json_push(a, list, record(a, prompt, response, full));
        }
        json_push(a, out, list);
    }
    *raw = out;
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}
