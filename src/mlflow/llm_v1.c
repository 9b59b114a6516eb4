/* llm/v1/chat, llm/v1/completions and llm/v1/embeddings as MLflow's wrapper answers them (3.17.2,
 * mlflow/transformers/llm_inference_utils.py), one reply object an input row.
 *
 * Numbers are the wrapper's: prompt_tokens counts the prompt without special tokens, total_tokens the whole
 * sequence with them, completion_tokens is the difference (one too many behind a BOS), and finish_reason is
 * "length" only where these numbers meet max_tokens or exceed max_length. What the wrapper gets wrong and is
 * done right here: every row has its own options; n, stream false and the penalties work; temperature 0 is
 * greedy; stop strings are found in the text, whatever the tokens, and removed. Embeddings take `pooling`,
 * `normalize` and `dimensions` from the model_config; the first token's vector is the default. */
#include "mlflow/llm_v1.h"

#include <stdlib.h>
#include <time.h>

#include "base/pytext.h"
#include "base/utf8.h"
#include "mlflow/llm_text.h"
#include "mlflow/wrapper.h"
#include "tasks/embedding.h"

/* One row on its way. */
typedef struct row_work {
    mltf_str prompt; /* text that goes to the tokenizer */
    llm_ids ids;     /* of the prompt, special tokens included */
    size_t prompt_tokens;
    size_t prompt_chars; /* of its decoded ids */
    llm_settings set;
    gen_config cfg;
    size_t first; /* of its sequences among all */
} row_work;

static mltf_status not_valid(const char *why, mltf_err *err)
{
    return wrap_params_not_valid("TextGenerationPipeline", why, err);
}

static mltf_status read_prompt(const mltf_model *m, bool chat, const llm_row *row, row_work *w,
                               mltf_arena *a, mltf_err *err)
{
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = MLTF_OK;
    if (chat)
        st = llm_render_chat(m->pipe, row->input,
                             &(chat_options){.tools = w->set.tools, .add_generation_prompt = true},
                             &text, err);
    else if (json_is(row->input, JSON_STRING))
        buf_put_str(&text, row->input->s);
    else
        st = mltf_fail(err, MLTF_INVALID_INPUT,
                       "Invalid data submission. Ensure all elements in the list are strings or "
                       "dictionaries. If "
                       "dictionaries are supplied, all keys in the dictionaries must be strings "
                       "and values must be "
                       "either str or List[str].");
    if (!st) {
        w->prompt = arena_str(a, text.p ? buf_str(&text) : STR(""));
        if (!w->prompt.p) st = mltf_fail_memory(err);
    }
    mltf_buf_release(&text);
    return st;
}

static mltf_status count_prompt(const mltf_model *m, row_work *w, mltf_err *err)
{
    llm_ids plain = {0};
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = llm_encode(m->pipe, &plain, w->prompt, false, 0, err);
    if (!st) st = llm_decode(m->pipe, &text, plain.p, plain.n, true, 1, err);
    if (!st) {
        w->prompt_tokens = plain.n;
        if (w->set.max_length > 0 && (size_t)w->set.max_length < plain.n)
            w->prompt_tokens = (size_t)w->set.max_length;
        w->prompt_chars = text.n ? utf8_count(text.p, text.n) : 0;
    }
    llm_ids_release(&plain);
    mltf_buf_release(&text);
    return st;
}

static mltf_status prepare_row(const mltf_model *m, bool chat, const llm_row *row, row_work *w,
                               mltf_arena *a, mltf_err *err)
{
    TRY(llm_read_settings(&w->set, row->options, a, err));
    if (w->set.stream)
        return not_valid("`stream`: rows are answered whole; /v1/chat/completions streams", err);
    TRY(read_prompt(m, chat, row, w, a, err));
    mltf_err inner = {0};
    const mltf_status st = pipeline_gen_config(m->pipe, w->set.kwargs, &w->cfg, a, &inner);
    if (st == MLTF_INVALID_INPUT && strstr(inner.msg, "`model_kwargs`"))
        return not_valid(inner.msg, err);
    if (st)
        return mltf_fail(err, st == MLTF_INVALID_INPUT ? MLTF_PREDICT_FAILED : st, "%s", inner.msg);
    TRY(llm_encode(m->pipe, &w->ids, w->prompt, true,
                   w->set.max_length > 0 ? (size_t)w->set.max_length : 0, err));
    if (w->ids.n == 0) {
        if (w->cfg.bos_token_id == GEN_NONE)
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "`bos_token_id` has to be defined when no `input_ids` are provided.");
        w->ids.p = malloc(sizeof *w->ids.p);
        if (!w->ids.p) return mltf_fail_memory(err);
        w->ids.p[0] = (int32_t)w->cfg.bos_token_id;
        w->ids.n = 1;
    }
    return count_prompt(m, w, err);
}

/* The answer's text: all decoded, less the prompt's characters, the stop text, and white space in front. */
static mltf_status choice_text(const mltf_model *m, const row_work *w, const gen_sequence *s,
                               mltf_buf *out, mltf_err *err)
{
    mltf_buf text = MLTF_BUF_INIT;
    const mltf_status st = llm_decode(m->pipe, &text, s->ids, s->n, true, 1, err);
    if (!st) {
        mltf_str fresh = llm_skip_code_points(text.p ? buf_str(&text) : STR(""), w->prompt_chars);
        fresh.n = llm_find_stop(fresh, w->set.stop);
        buf_put_str(out, pytext_lstrip(fresh));
    }
    mltf_buf_release(&text);
    return st ? st : buf_status(out, err);
}

static mltf_status add_choice(const mltf_model *m, bool chat, const row_work *w,
                              const gen_sequence *s, size_t index, size_t total, json *choices,
                              mltf_arena *a, mltf_err *err)
{
    mltf_buf text = MLTF_BUF_INIT;
    TRY(choice_text(m, w, s, &text, err));
    const size_t completion = total - w->prompt_tokens;
    const bool cut = (w->set.max_length > 0 && total > (size_t)w->set.max_length) ||
                     (w->set.max_new > 0 && completion == (size_t)w->set.max_new);
    json *choice = json_new_object(a),
         *content = json_new_string(a, text.p ? buf_str(&text) : STR(""));
    mltf_buf_release(&text);
    json_set(a, choice, "index", json_new_int(a, (int64_t)index));
    json_set(a, choice, "finish_reason", json_new_cstr(a, cut ? "length" : "stop"));
    if (chat) {
        json *message = json_new_object(a);
        json_set(a, message, "role", json_new_cstr(a, "assistant"));
        json_set(a, message, "content", content);
        json_set(a, choice, "message", message);
    } else {
        json_set(a, choice, "text", content);
    }
    json_push(a, choices, choice);
    return MLTF_OK;
}

static mltf_status add_reply(const mltf_model *m, bool chat, const row_work *w,
                             const gen_result *results, json *replies, mltf_arena *a, mltf_err *err)
{
    char id[37];
    llm_uuid4(id);
    json *reply = json_new_object(a), *usage = json_new_object(a), *choices = json_new_array(a);
    size_t total = 0, completion = 0;
    for (size_t i = 0; i < w->set.n; i++) {
        const gen_sequence *s = &results[w->first + i].seqs[0];
        const size_t all = s->n > w->prompt_tokens ? s->n : w->prompt_tokens;
        completion += all - w->prompt_tokens;
        TRY(add_choice(m, chat, w, s, i, all, choices, a, err));
    }
    total = w->prompt_tokens + completion;
    json_set(a, usage, "prompt_tokens", json_new_int(a, (int64_t)w->prompt_tokens));
    json_set(a, usage, "completion_tokens", json_new_int(a, (int64_t)completion));
    json_set(a, usage, "total_tokens", json_new_int(a, (int64_t)total));
    json_set(a, reply, "id", json_new_cstr(a, id));
    json_set(a, reply, "object", json_new_cstr(a, chat ? "chat.completion" : "text_completion"));
    json_set(a, reply, "created", json_new_int(a, (int64_t)time(NULL)));
    json_set(a, reply, "model", json_new_cstr(a, m->name ? m->name : ""));
    json_set(a, reply, "usage", usage);
    json_set(a, reply, "choices", choices);
    json_push(a, replies, reply);
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

static mltf_status predict_text(const mltf_model *m, bool chat, const llm_row *rows, size_t n,
                                const call_control *ctl, mltf_arena *a, json **out, mltf_err *err)
{
    row_work *work = arena_calloc(a, n ? n : 1, sizeof *work);
    if (!work) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    size_t n_seqs = 0;
    for (size_t i = 0; i < n && !st; i++) {
        st = prepare_row(m, chat, &rows[i], &work[i], a, err);
        work[i].first = n_seqs;
        n_seqs += work[i].set.n;
    }
    pipeline_prompt *prompts = arena_calloc(a, n_seqs ? n_seqs : 1, sizeof *prompts);
    gen_config *cfgs = arena_calloc(a, n_seqs ? n_seqs : 1, sizeof *cfgs);
    gen_result *results = arena_calloc(a, n_seqs ? n_seqs : 1, sizeof *results);
    if (!st && (!prompts || !cfgs || !results)) st = mltf_fail_memory(err);
    for (size_t i = 0; i < n && !st; i++)
        for (size_t k = 0; k < work[i].set.n; k++) { // choices are requests of their own
            gen_config *cfg = &cfgs[work[i].first + k];
            *cfg = work[i].cfg;
            if (cfg->seed != GEN_NONE) cfg->seed += (int64_t)k;
            prompts[work[i].first + k] =
                (pipeline_prompt){.ids = work[i].ids.p, .n = work[i].ids.n, .cfg = cfg};
        }
    if (!st) st = pipeline_generate(m->pipe, prompts, n_seqs, ctl, NULL, NULL, results, err);
    if (!st) {
        json *replies = json_new_array(a);
        for (size_t i = 0; i < n && !st; i++)
            st = add_reply(m, chat, &work[i], results, replies, a, err);
        for (size_t i = 0; i < n_seqs; i++) gen_result_release(&results[i]);
        if (!st) *out = replies;
    }
    for (size_t i = 0; i < n; i++) llm_ids_release(&work[i].ids);
    return st;
}

/* ---- embeddings ---- */

static mltf_status predict_embeddings(const mltf_model *m, const llm_row *rows, size_t n,
                                      const call_control *ctl, mltf_arena *a, json **out,
                                      mltf_err *err)
{
    if (n == 0) return mltf_fail(err, MLTF_PREDICT_FAILED, "list index out of range");
    embed_options o = {.pooling = EMBED_FIRST_TOKEN};
    TRY(embed_options_read(&o, rows[0].options, err));
    mltf_str *texts = arena_calloc(a, n, sizeof *texts);
    if (!texts) return mltf_fail_memory(err);
    for (size_t i = 0; i < n; i++) {
        if (!json_is(rows[i].input, JSON_STRING))
            return mltf_fail(
                err, MLTF_PREDICT_FAILED,
                "text input must be of type `str` (single example), `list[str]` (batch or single "
                "pretokenized example) or `list[list[str]]` (batch of pretokenized examples).");
        texts[i] = rows[i].input->s;
    }
    embeddings e = {0};
    TRY(pipeline_embed(m->pipe, texts, n, &o, ctl, a, &e, err));
    json *data = json_new_array(a);
    for (size_t i = 0; i < n; i++) {
        json *one = json_new_object(a), *vector = json_new_array(a);
        for (size_t k = 0; k < e.dim; k++)
            json_push(a, vector, json_new_float(a, e.vectors[i * e.dim + k]));
        json_set(a, one, "object", json_new_cstr(a, "embedding"));
        json_set(a, one, "index", json_new_int(a, (int64_t)i));
        json_set(a, one, "embedding", vector);
        json_push(a, data, one);
    }
    json *reply = json_new_object(a), *usage = json_new_object(a);
    json_set(a, usage, "prompt_tokens", json_new_int(a, (int64_t)e.n_tokens));
    json_set(a, usage, "total_tokens", json_new_int(a, (int64_t)e.n_tokens));
    json_set(a, reply, "object", json_new_cstr(a, "list"));
    json_set(a, reply, "data", data);
    json_set(a, reply, "usage", usage);
    *out = reply;
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

mltf_status llm_v1_predict(const mltf_model *m, const char *task, const llm_row *rows, size_t n,
                           const call_control *ctl, mltf_arena *a, json **out, mltf_err *err)
{
    if (strcmp(task, "llm/v1/embeddings") == 0)
        return predict_embeddings(m, rows, n, ctl, a, out, err);
    return predict_text(m, strcmp(task, "llm/v1/chat") == 0, rows, n, ctl, a, out, err);
}
