/* OpenAI's API over a pipeline: chat completions and completions, whole or streamed.
 *
 * Every choice is a request of its own in the pipeline's shared batch. Text comes from the tokens through the
 * streaming detokenizer, whether it is streamed or not, so both give the same characters. usage counts the ids
 * that went in and the ids that came out; finish_reason says what ended the choice: "stop" (an end token or a
 * stop string, which is not part of the text), "length", "tool_calls".
 *
 * Defaults are the pipeline's (section 16 of MLflow's behaviour: sampling at temperature 0.7) under the model's
 * model_config; max_tokens is what the context leaves for chats, and 16 for completions. */
#include "mlflow/llm_v1.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/array.h"
#include "mlflow/openai_request.h"
#include "mlflow/tool_format.h"

/* Tokens that a chat may get where neither it nor the model bounds them. */
#define OPENAI_MAX_TOKENS_UNBOUND 4096

typedef struct choice {
    struct openai_run *run;
    size_t index;  /* in the reply */
    size_t prompt; /* which of the run's */
    tok_stream *stream;
    mltf_buf text; /* all that was decoded */
    size_t sent;   /* bytes of its content that went out */
    gen_logprob
        *scores; /* [n_scores][1 + top_logprobs] of streamed tokens; those before n_told went out */
    size_t n_scores, n_told, cap_scores;
    int64_t offset; /* text_offset of the next token that goes out */
    bool stopped;   /* by a stop string, which begins at text.n */
    json *calls;
    mltf_str content;
} choice;

typedef struct openai_run {
    const mltf_model *m;
    openai_request req;
    mltf_arena *a;
    char id[48];
    int64_t created;
    llm_ids *prompts;            /* [n_prompts] */
    gen_logprob **prompt_scores; /* [n_prompts][n][1 + top_logprobs] for echo, or NULL */
    size_t n_prompts;
    choice *choices; /* [n]: those of the first prompt, then of the next */
    size_t n;
    gen_config *cfgs; /* [n] */
    gen_constraint *constraint;
    const tool_format *format; /* of calls in the reply, and of its channels; NULL: plain text */
    mltf_buf shown;            /* scratch of safe_text() */
    mltf_stream_fn on_event;   /* NULL: not streamed */
    void *user;
    bool cancelled; /* by on_event */
} openai_run;

const json_write_options openai_json = {.compact = true, .nan_as_null = true};

/* ---- prompts ---- */

static mltf_status encode_chat(openai_run *r, mltf_err *err)
{
    mltf_buf text = MLTF_BUF_INIT;
    const chat_options options = {.tools = r->req.template_tools,
                                  .kwargs = r->req.template_kwargs,
                                  .add_generation_prompt = r->req.generation_prompt,
                                  .continue_final_message = r->req.continue_final};
    mltf_status st = llm_render_chat(r->m->pipe, r->req.messages, &options, &text, err);
    if (st == MLTF_INTERNAL && err)
        err->status = st = MLTF_INVALID_INPUT; // the messages do not suit the template
    r->n_prompts = 1;
    r->prompts = arena_calloc(r->a, 1, sizeof *r->prompts);
    if (!st && !r->prompts) st = mltf_fail_memory(err);
    if (!st)
        st = llm_encode(r->m->pipe, r->prompts, text.p ? buf_str(&text) : STR(""), false, 0, err);
    mltf_buf_release(&text);
    return st;
}

static mltf_status encode_prompts(openai_run *r, mltf_err *err)
{
    r->n_prompts = json_len(r->req.prompts);
    r->prompts = arena_calloc(r->a, r->n_prompts, sizeof *r->prompts);
    if (!r->prompts) return mltf_fail_memory(err);
    for (size_t i = 0; i < r->n_prompts; i++) {
        const json *prompt = json_at(r->req.prompts, i);
        if (r->req.suffix.n) {
            TRY(openai_encode_infill(r->m->pipe, &r->prompts[i], prompt->s, r->req.suffix, err));
            continue;
        }
        if (prompt->type == JSON_STRING) {
            TRY(llm_encode(r->m->pipe, &r->prompts[i], prompt->s, true, 0, err));
            continue;
        }
        r->prompts[i].p = malloc(prompt->a.n * sizeof *r->prompts[i].p);
        if (!r->prompts[i].p) return mltf_fail_memory(err);
        r->prompts[i].n = prompt->a.n;
        for (size_t k = 0; k < prompt->a.n; k++)
            r->prompts[i].p[k] = (int32_t)json_int(&prompt->a.items[k], -1);
    }
    return MLTF_OK;
}

/* Positions that the model was made for; SIZE_MAX: no bound is known. Rotary models can be run past it, but what
 * they say there is worth nothing. */
static size_t context_length(const mltf_model *m)
{
    static const char *const keys[] = {"max_position_embeddings", "n_positions", "max_seq_len",
                                       "seq_length"};
    const arch_info *info = arch_model_info(pipeline_model(m->pipe));
    size_t limit = info->max_positions;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const int64_t n = json_int(json_get(info->config, keys[i]), 0);
        if (n > 0 && (size_t)n < limit) limit = (size_t)n;
    }
    return limit;
}

/* How many new tokens a prompt may get; refuses prompts that fill the context. */
static mltf_status room_for(const openai_run *r, const llm_ids *prompt, int64_t *room,
                            mltf_err *err)
{
    const size_t limit = context_length(r->m);
    *room = r->req.max_tokens ? r->req.max_tokens : OPENAI_MAX_TOKENS_UNBOUND;
    if (limit == SIZE_MAX) return MLTF_OK;
    if (prompt->n >= limit)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "This model's maximum context length is %zu tokens. However, your %s "
                         "resulted in %zu tokens. "
                         "Please reduce the length of the %s.",
                         limit, r->req.chat ? "messages" : "prompt", prompt->n,
                         r->req.chat ? "messages" : "prompt");
    const int64_t left = (int64_t)(limit - prompt->n);
    if (!r->req.max_tokens || *room > left) *room = left;
    return MLTF_OK;
}

/* ---- preparing the choices ---- */

static mltf_status make_constraint(openai_run *r, mltf_err *err)
{
    const bool forced =
        r->req.tools && (r->req.choice == TOOLS_REQUIRED || r->req.choice == TOOLS_NAMED);
    if (!forced && !r->req.response_format) return MLTF_OK;
    const gen_trie *trie = NULL;
    TRY(pipeline_trie(r->m->pipe, &trie, err));
    if (forced)
        return gen_constraint_json_schema(&r->constraint, trie, openai_call_schema(&r->req, r->a),
                                          err);
    return gen_constraint_response_format(&r->constraint, trie, r->req.response_format, err);
}

/* A text that is filled in may end with a token of its own. */
static mltf_status add_infill_end(const openai_run *r, gen_config *cfg, mltf_err *err)
{
    const int32_t end = r->req.suffix.n ? openai_infill_end(r->m->pipe) : -1;
    if (end < 0) return MLTF_OK;
    const size_t n = cfg->eos_token_id.n;
    int32_t *ids = arena_calloc(r->a, n + 1, sizeof *ids);
    if (!ids) return mltf_fail_memory(err);
    if (n) memcpy(ids, cfg->eos_token_id.p, n * sizeof *ids);
    ids[n] = end;
    cfg->eos_token_id = (gen_ids){ids, n + 1};
    return MLTF_OK;
}

static mltf_status make_choices(openai_run *r, mltf_err *err)
{
    const size_t each = r->req.best_of > r->req.set.n ? r->req.best_of : r->req.set.n;
    r->n = each * r->n_prompts;
    r->choices = arena_calloc(r->a, r->n, sizeof *r->choices);
    r->cfgs = arena_calloc(r->a, r->n, sizeof *r->cfgs);
    if (!r->choices || !r->cfgs) return mltf_fail_memory(err);
    for (size_t i = 0; i < r->n; i++)
        r->choices[i] = (choice){.run = r, .index = i, .prompt = i / each};
    for (size_t i = 0; i < r->n; i++) {
        choice *c = &r->choices[i];
        const llm_ids *prompt = &r->prompts[c->prompt];
        int64_t room = 0;
        TRY(room_for(r, prompt, &room, err));
        json_set(r->a, r->req.set.kwargs, "max_new_tokens", json_new_int(r->a, room));
        mltf_status st = pipeline_gen_config(r->m->pipe, r->req.set.kwargs, &r->cfgs[i], r->a, err);
        if (st == MLTF_PREDICT_FAILED && err)
            err->status = st = MLTF_INVALID_INPUT; // a value out of range
        TRY(st);
        TRY(add_infill_end(r, &r->cfgs[i], err));
        if (r->cfgs[i].seed != GEN_NONE) r->cfgs[i].seed += (int64_t)(i % each);
        // some models mark calls and channels by special tokens: they must be seen
        TRY(tok_stream_new(&c->stream, pipeline_tokenizer(r->m->pipe), !r->format, err));
        mltf_buf unseen = MLTF_BUF_INIT;
        for (size_t k = 0; k < prompt->n && !st; k++)
            st = tok_stream_push(c->stream, prompt->p[k], &unseen, err);
        mltf_buf_release(&unseen);
        TRY(st);
    }
    return MLTF_OK;
}

/* ---- text of a choice ---- */

static bool is_end(const gen_config *cfg, int32_t id)
{
    for (size_t i = 0; i < cfg->eos_token_id.n; i++)
        if (cfg->eos_token_id.p[i] == id) return true;
    return false;
}

/* Append what tokens add; cut at a stop string. */
static mltf_status push_tokens(choice *c, const int32_t *ids, size_t n, mltf_err *err)
{
    for (size_t i = 0; i < n && !c->stopped; i++) {
        if (is_end(&c->run->cfgs[c->index], ids[i])) continue;
        TRY(tok_stream_push(c->stream, ids[i], &c->text, err));
    }
    const size_t at = llm_find_stop(c->text.p ? buf_str(&c->text) : STR(""), c->run->req.set.stop);
    if (at < c->text.n) {
        c->text.n = at;
        c->text.p[at] = 0;
        c->stopped = true;
    }
    return buf_status(&c->text, err);
}

static mltf_status end_text(choice *c, mltf_err *err)
{
    if (!c->stopped) {
        TRY(tok_stream_end(c->stream, &c->text, err));
        TRY(push_tokens(c, NULL, 0, err));
    }
    c->content = c->text.p ? buf_str(&c->text) : STR("");
    const openai_run *r = c->run;
    if (!r->format) return MLTF_OK;
    tool_reply reply;
    TRY(tool_calls_parse(r->format, r->req.tools, c->content, r->a, &reply, err));
    c->content = reply.content;
    c->calls = reply.calls;
    if (c->calls && r->req.one_call) c->calls->a.n = 1;
    return MLTF_OK;
}

/* What of the text may go out while more comes. */
static mltf_str safe_text(choice *c)
{
    openai_run *r = c->run;
    mltf_str text = c->text.p ? buf_str(&c->text) : STR("");
    if (!c->stopped) text.n -= llm_stop_tail(text, r->req.set.stop);
    return r->format ? tool_text_so_far(r->format, r->req.tools, text, &r->shown) : text;
}

/* ---- log probabilities ---- */

/* Append a token's row to the choice's. */
static mltf_status keep_scores(choice *c, const gen_logprob *row, mltf_err *err)
{
    const size_t width = 1 + c->run->req.top_logprobs;
    if (!array_reserve(&c->scores, &c->cap_scores, c->n_scores + 1, width * sizeof *row))
        return mltf_fail_memory(err);
    memcpy(c->scores + c->n_scores++ * width, row, width * sizeof *row);
    return MLTF_OK;
}

/* The prompt's rows where it is echoed, before those of its continuation. */
static mltf_status keep_prompt_scores(choice *c, mltf_err *err)
{
    const openai_run *r = c->run;
    if (!r->prompt_scores) return MLTF_OK;
    const size_t width = 1 + r->req.top_logprobs;
    for (size_t i = 0; i < r->prompts[c->prompt].n; i++)
        TRY(keep_scores(c, r->prompt_scores[c->prompt] + i * width, err));
    return MLTF_OK;
}

/* The rows of a finished sequence: what was not streamed. */
static mltf_status keep_sequence_scores(choice *c, const gen_sequence *s, mltf_err *err)
{
    const openai_run *r = c->run;
    const size_t k = r->req.top_logprobs;
    gen_logprob row[1 + 20]; // integer_in() bounds top_logprobs
    for (size_t i = 0; s->logprobs && i < s->n - s->n_prompt; i++) {
        row[0] = (gen_logprob){s->ids[s->n_prompt + i], s->logprobs[i]};
        if (is_end(&r->cfgs[c->index], row[0].id)) continue;
        if (k > 0) memcpy(row + 1, s->top + i * k, k * sizeof *row);
        TRY(keep_scores(c, row, err));
    }
    return MLTF_OK;
}

/* "logprobs" of the rows that have not gone out yet. */
static json *logprobs_json(choice *c)
{
    const openai_run *r = c->run;
    if (!r->req.logprobs) return json_new_null(r->a);
    const gen_logprob *rows = c->scores + c->n_told * (1 + r->req.top_logprobs);
    const size_t n = c->n_scores - c->n_told;
    c->n_told = c->n_scores;
    const size_t width = 1 + r->req.top_logprobs;
    return r->req.chat ? openai_chat_logprobs(r->m, rows, n, width, r->a)
                       : openai_completion_logprobs(r->m, rows, n, width, &c->offset, r->a);
}

/* ---- replies ---- */

static json *reply_head(const openai_run *r, const char *object)
{
    mltf_arena *a = r->a;
    json *o = json_new_object(a);
    json_set(a, o, "id", json_new_cstr(a, r->id));
    json_set(a, o, "object", json_new_cstr(a, object));
    json_set(a, o, "created", json_new_int(a, r->created));
    json_set(a, o, "model", json_new_cstr(a, r->m->name ? r->m->name : ""));
    json_set(a, o, "system_fingerprint", json_new_cstr(a, "mltf-" MLTF_VERSION));
    return o;
}

static const char *finish_reason(const choice *c, const gen_sequence *s)
{
    if (c->calls) return "tool_calls";
    return s->finish == GEN_FINISH_LENGTH && !c->stopped ? "length" : "stop";
}

static json *usage_json(const openai_run *r, const gen_result *results)
{
    size_t prompt = 0, completion = 0;
    for (size_t i = 0; i < r->n_prompts; i++) prompt += r->prompts[i].n;
    for (size_t i = 0; i < r->n; i++)
        completion += results[i].seqs[0].n - results[i].seqs[0].n_prompt;
    json *usage = json_new_object(r->a);
    json_set(r->a, usage, "prompt_tokens", json_new_int(r->a, (int64_t)prompt));
    json_set(r->a, usage, "completion_tokens", json_new_int(r->a, (int64_t)completion));
    json_set(r->a, usage, "total_tokens", json_new_int(r->a, (int64_t)(prompt + completion)));
    return usage;
}

static json *chat_choice(const openai_run *r, choice *c, size_t index, const gen_sequence *s)
{
    mltf_arena *a = r->a;
    json *o = json_new_object(a), *message = json_new_object(a);
    json_set(a, message, "role", json_new_cstr(a, "assistant"));
    json_set(a, message, "content",
             c->calls && c->content.n == 0 ? json_new_null(a) : json_new_string(a, c->content));
    json_set(a, message, "refusal", json_new_null(a));
    if (c->calls) json_set(a, message, "tool_calls", c->calls);
    json_set(a, o, "index", json_new_int(a, (int64_t)index));
    json_set(a, o, "message", message);
    json_set(a, o, "logprobs", logprobs_json(c));
    json_set(a, o, "finish_reason", json_new_cstr(a, finish_reason(c, s)));
    return o;
}

static mltf_status echoed_text(const openai_run *r, size_t prompt, mltf_buf *out, mltf_err *err)
{
    const json *given = json_at(r->req.prompts, prompt);
    if (!json_is(given, JSON_STRING))
        return llm_decode(r->m->pipe, out, r->prompts[prompt].p, r->prompts[prompt].n, true, 0,
                          err);
    buf_put_str(out, given->s);
    return buf_status(out, err);
}

static mltf_status completion_choice(const openai_run *r, choice *c, size_t index,
                                     const gen_sequence *s, json **out, mltf_err *err)
{
    mltf_arena *a = r->a;
    mltf_buf text = MLTF_BUF_INIT;
    const mltf_status st = r->req.echo ? echoed_text(r, c->prompt, &text, err) : MLTF_OK;
    buf_put_str(&text, c->content);
    json *o = json_new_object(a);
    json_set(a, o, "text", json_new_string(a, text.p ? buf_str(&text) : STR("")));
    json_set(a, o, "index", json_new_int(a, (int64_t)index));
    json_set(a, o, "logprobs", logprobs_json(c));
    json_set(a, o, "finish_reason", json_new_cstr(a, finish_reason(c, s)));
    mltf_buf_release(&text);
    *out = o;
    return st;
}

static float mean_logprob(const gen_sequence *s)
{
    const size_t n = s->n - s->n_prompt;
    float sum = 0;
    for (size_t i = 0; s->logprobs && i < n; i++) sum += s->logprobs[i];
    return n ? sum / (float)n : -INFINITY;
}

/* The best n of each prompt's candidates, best first; all of them where best_of is n. */
static void pick(const openai_run *r, const gen_result *results, size_t prompt, size_t *order)
{
    const size_t each = r->n / r->n_prompts;
    for (size_t i = 0; i < each; i++) {
        size_t at = i;
        const float score = mean_logprob(&results[prompt * each + i].seqs[0]);
        while (each > r->req.set.n && at > 0 &&
               mean_logprob(&results[order[at - 1]].seqs[0]) < score) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = prompt * each + i;
    }
}

static mltf_status whole_reply(openai_run *r, const gen_result *results, mltf_buf *answer,
                               mltf_err *err)
{
    mltf_arena *a = r->a;
    json *choices = json_new_array(a),
         *reply = reply_head(r, r->req.chat ? "chat.completion" : "text_completion");
    size_t *order = arena_calloc(a, r->n, sizeof *order);
    if (!order) return mltf_fail_memory(err);
    for (size_t p = 0; p < r->n_prompts; p++) {
        pick(r, results, p, order);
        for (size_t i = 0; i < r->req.set.n; i++) {
            choice *c = &r->choices[order[i]];
            const size_t index = p * r->req.set.n + i;
            json *one = NULL;
            if (r->req.chat)
                one = chat_choice(r, c, index, &results[order[i]].seqs[0]);
            else
                TRY(completion_choice(r, c, index, &results[order[i]].seqs[0], &one, err));
            json_push(a, choices, one);
        }
    }
    json_set(a, reply, "choices", choices);
    json_set(a, reply, "usage", usage_json(r, results));
    if (a->failed) return mltf_fail_memory(err);
    json_write(answer, reply, &openai_json);
    return buf_status(answer, err);
}

/* ---- events ---- */

static mltf_status send_event(openai_run *r, const json *chunk, mltf_err *err)
{
    if (r->a->failed) return mltf_fail_memory(err);
    mltf_buf text = MLTF_BUF_INIT;
    json_write(&text, chunk, &openai_json);
    mltf_status st = buf_status(&text, err);
    if (!st && r->on_event(r->user, text.p, text.n)) {
        r->cancelled = true;
        st = mltf_fail(err, MLTF_CANCELLED, "the client went away");
    }
    mltf_buf_release(&text);
    return st;
}

static json *chunk_head(const openai_run *r)
{
    json *chunk = reply_head(r, r->req.chat ? "chat.completion.chunk" : "text_completion");
    if (r->req.include_usage) json_set(r->a, chunk, "usage", json_new_null(r->a));
    return chunk;
}

/* One choice's part of a chunk. delta: what it says, for chats; text otherwise. */
static mltf_status send_choice(openai_run *r, const choice *c, json *delta, mltf_str text,
                               const json *logprobs, const char *finish, mltf_err *err)
{
    mltf_arena *a = r->a;
    json *chunk = chunk_head(r), *choices = json_new_array(a), *o = json_new_object(a);
    json_set(a, o, "index", json_new_int(a, (int64_t)c->index));
    if (r->req.chat)
        json_set(a, o, "delta", delta);
    else
        json_set(a, o, "text", json_new_string(a, text));
    json_set(a, o, "logprobs", logprobs ? logprobs : json_new_null(a));
    json_set(a, o, "finish_reason", finish ? json_new_cstr(a, finish) : json_new_null(a));
    json_push(a, choices, o);
    json_set(a, chunk, "choices", choices);
    return send_event(r, chunk, err);
}

static mltf_status send_text(openai_run *r, const choice *c, mltf_str text, const json *logprobs,
                             mltf_err *err)
{
    json *delta = json_new_object(r->a);
    if (r->req.chat) json_set(r->a, delta, "content", json_new_string(r->a, text));
    return send_choice(r, c, delta, text, logprobs, NULL, err);
}

static mltf_status send_echo(openai_run *r, choice *c, mltf_err *err)
{
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = echoed_text(r, c->prompt, &text, err);
    if (!st) st = keep_prompt_scores(c, err);
    if (!st)
        st = send_text(r, c, text.p ? buf_str(&text) : STR(""),
                       r->prompt_scores ? logprobs_json(c) : NULL, err);
    mltf_buf_release(&text);
    return st;
}

static mltf_status send_first(openai_run *r, choice *c, mltf_err *err)
{
    if (!r->req.chat) return r->req.echo ? send_echo(r, c, err) : MLTF_OK;
    json *delta = json_new_object(r->a);
    json_set(r->a, delta, "role", json_new_cstr(r->a, "assistant"));
    json_set(r->a, delta, "content", json_new_cstr(r->a, ""));
    return send_choice(r, c, delta, STR(""), NULL, NULL, err);
}

/* The arena is given back behind each chunk, or a long stream would fill the memory. */
static int stream_tokens(void *user, size_t which, const int32_t *ids, size_t n,
                         const gen_logprob *scores)
{
    openai_run *r = user;
    choice *c = &r->choices[which];
    if (r->cancelled) return 1;
    for (size_t i = 0; r->req.logprobs && scores && i < n; i++)
        if (!is_end(&r->cfgs[which], ids[i]) &&
            keep_scores(c, scores + i * (1 + r->req.top_logprobs), NULL) != MLTF_OK)
            return 1;
    if (push_tokens(c, ids, n, NULL) != MLTF_OK) return 1;
    const mltf_str safe = safe_text(c);
    if (safe.n >
        c->sent) { // with the scores of all tokens so far, those whose text is held back too
        const mltf_arena_mark mark = arena_save(r->a);
        const mltf_status st = send_text(r, c, str_slice(safe, c->sent, safe.n),
                                         r->req.logprobs ? logprobs_json(c) : NULL, NULL);
        arena_restore(r->a, mark);
        if (st) {
            r->cancelled = true;
            return 1;
        }
        c->sent = safe.n;
    }
    return c->stopped;
}

static mltf_status send_calls(openai_run *r, const choice *c, mltf_err *err)
{
    mltf_arena *a = r->a;
    json *delta = json_new_object(a), *list = json_new_array(a);
    for (size_t i = 0; i < json_len(c->calls); i++) {
        json *call = json_new_object(a);
        const json *own = json_at(c->calls, i);
        json_set(a, call, "index", json_new_int(a, (int64_t)i));
        json_set(a, call, "id", json_get(own, "id"));
        json_set(a, call, "type", json_get(own, "type"));
        json_set(a, call, "function", json_get(own, "function"));
        json_push(a, list, call);
    }
    json_set(a, delta, "tool_calls", list);
    return send_choice(r, c, delta, STR(""), NULL, NULL, err);
}

/* What was held back, calls, the reason, and at the very end the usage. */
static mltf_status finish_stream(openai_run *r, const gen_result *results, mltf_err *err)
{
    for (size_t i = 0; i < r->n; i++) {
        choice *c = &r->choices[i];
        const gen_sequence *s = &results[i].seqs[0];
        const size_t end = c->content.n;
        const json *logprobs = c->n_told < c->n_scores ? logprobs_json(c) : NULL;
        if (end > c->sent || logprobs)
            TRY(send_text(r, c, end > c->sent ? str_slice(c->content, c->sent, end) : STR(""),
                          logprobs, err));
        if (c->calls) TRY(send_calls(r, c, err));
        TRY(send_choice(r, c, json_new_object(r->a), STR(""), NULL, finish_reason(c, s), err));
    }
    if (!r->req.include_usage) return MLTF_OK;
    json *chunk = chunk_head(r);
    json_set(r->a, chunk, "choices", json_new_array(r->a));
    json_set(r->a, chunk, "usage", usage_json(r, results));
    return send_event(r, chunk, err);
}

/* ---- running ---- */

static mltf_status run_choices(openai_run *r, const call_control *ctl, gen_result *results,
                               mltf_err *err)
{
    pipeline_prompt *prompts = arena_calloc(r->a, r->n, sizeof *prompts);
    if (!prompts) return mltf_fail_memory(err);
    for (size_t i = 0; i < r->n; i++) {
        const llm_ids *ids = &r->prompts[r->choices[i].prompt];
        prompts[i] =
            (pipeline_prompt){.ids = ids->p,
                              .n = ids->n,
                              .cfg = &r->cfgs[i],
                              .constraint = r->constraint,
                              .want_logprobs = r->req.logprobs || r->req.best_of > r->req.set.n,
                              .top_logprobs = r->req.top_logprobs};
        if (r->on_event) TRY(send_first(r, &r->choices[i], err));
    }
    if (r->req.no_tokens) { // the prompt alone is wanted
        for (size_t i = 0; i < r->n; i++) {
            results[i].seqs = arena_calloc(r->a, 1, sizeof *results[i].seqs);
            if (!results[i].seqs) return mltf_fail_memory(err);
            results[i].seqs[0] = (gen_sequence){.finish = GEN_FINISH_LENGTH};
        }
        return MLTF_OK;
    }
    const bool streams = r->on_event != NULL;
    mltf_status st = pipeline_generate(r->m->pipe, prompts, r->n, ctl,
                                       streams ? stream_tokens : NULL, r, results, err);
    if (st == MLTF_PREDICT_FAILED && r->constraint && err && strstr(err->msg, "unsatisfiable"))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "This model cannot write what the '%s' parameter asks for: its vocabulary "
                         "lacks the characters that must come next.",
                         r->req.response_format ? "response_format" : "tool_choice");
    if (st == MLTF_PREDICT_FAILED && err) err->status = st = MLTF_INVALID_INPUT;
    return st;
}

static mltf_status score_prompts(openai_run *r, const call_control *ctl, mltf_err *err)
{
    r->prompt_scores = arena_calloc(r->a, r->n_prompts, sizeof *r->prompt_scores);
    if (!r->prompt_scores) return mltf_fail_memory(err);
    for (size_t i = 0; i < r->n_prompts; i++) {
        const size_t n = r->prompts[i].n, top = r->req.top_logprobs;
        r->prompt_scores[i] = arena_calloc(r->a, n * (1 + top), sizeof **r->prompt_scores);
        if (!r->prompt_scores[i]) return mltf_fail_memory(err);
        TRY(pipeline_score(r->m->pipe, r->prompts[i].p, n, top, ctl, r->prompt_scores[i], err));
    }
    return MLTF_OK;
}

/* How the reply is to be read: calls are looked for where there are tools, channels always. */
static void choose_format(openai_run *r)
{
    const mltf_str t = tokenizer_chat_template(pipeline_tokenizer(r->m->pipe), NULL);
    const mltf_str with_tools = tokenizer_chat_template(pipeline_tokenizer(r->m->pipe), "tool_use");
    const mltf_str used = r->req.tools && with_tools.p ? with_tools : t;
    openai_tell_tools(&r->req, used, r->a);
    r->format = tool_format_of(used);
    if (r->req.tools && !r->req.template_tools && r->format == tool_format_of(STR("")))
        r->format = tool_format_hermes();
    if (!r->req.tools && !tool_format_has_channels(r->format)) r->format = NULL;
}

static mltf_status answer_request(openai_run *r, const call_control *ctl, mltf_buf *answer,
                                  mltf_err *err)
{
    if (r->req.chat) choose_format(r);
    TRY(r->req.chat ? encode_chat(r, err) : encode_prompts(r, err));
    for (size_t i = 0; i < r->n_prompts; i++)
        if (r->prompts[i].n == 0) return mltf_fail(err, MLTF_INVALID_INPUT, "the prompt is empty");
    TRY(make_constraint(r, err));
    TRY(make_choices(r, err));
    if (r->req.echo && r->req.logprobs) TRY(score_prompts(r, ctl, err));
    gen_result *results = arena_calloc(r->a, r->n, sizeof *results);
    if (!results) return mltf_fail_memory(err);
    TRY(run_choices(r, ctl, results, err));
    mltf_status st =
        r->cancelled ? mltf_fail(err, MLTF_CANCELLED, "the client went away") : MLTF_OK;
    for (size_t i = 0; i < r->n && !st; i++) {
        const gen_sequence *s = &results[i].seqs[0];
        choice *c = &r->choices[i];
        if (!r->on_event) {
            st = push_tokens(c, s->ids + s->n_prompt, s->n - s->n_prompt, err);
            if (!st && r->req.logprobs) st = keep_prompt_scores(c, err);
            if (!st && r->req.logprobs) st = keep_sequence_scores(c, s, err);
        }
        if (!st) st = end_text(c, err);
    }
    if (!st)
        st = r->on_event ? finish_stream(r, results, err) : whole_reply(r, results, answer, err);
    for (size_t i = 0; i < r->n; i++) gen_result_release(&results[i]);
    return st;
}

static mltf_status text_call(const mltf_model *m, bool chat, const json *request,
                             const call_control *ctl, mltf_stream_fn on_event, void *user,
                             mltf_arena *a, mltf_buf *answer, mltf_err *err)
{
    if (!pipeline_gen(m->pipe) || strcmp(pipeline_task(m->pipe), "text-generation") != 0)
        return mltf_fail(err, MLTF_INVALID_INPUT, "this model's task is %s: it does not answer %s",
                         m->task, chat ? "chat completions" : "completions");
    openai_run r = {.m = m, .a = a, .created = (int64_t)time(NULL), .user = user};
    TRY(chat ? openai_read_chat(&r.req, m, request, a, err)
             : openai_read_completion(&r.req, m, request, a, err));
    if (r.req.set.stream) r.on_event = on_event;
    char hex[25];
    llm_hex(hex, 24);
    snprintf(r.id, sizeof r.id, "%s-%s", chat ? "chatcmpl" : "cmpl", hex);
    const mltf_status st = answer_request(&r, ctl, answer, err);
    for (size_t i = 0; r.choices && i < r.n; i++) {
        tok_stream_free(r.choices[i].stream);
        mltf_buf_release(&r.choices[i].text);
        free(r.choices[i].scores);
    }
    for (size_t i = 0; r.prompts && i < r.n_prompts; i++) llm_ids_release(&r.prompts[i]);
    gen_constraint_free(r.constraint);
    mltf_buf_release(&r.shown);
    return st;
}

mltf_status openai_call(const mltf_model *m, const char *endpoint, const json *request,
                        const call_control *ctl, mltf_stream_fn on_event, void *user,
                        mltf_buf *answer, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    const size_t before = answer->n;
    mltf_status st;
    if (strcmp(endpoint, "chat") == 0 || strcmp(endpoint, "completions") == 0)
        st = text_call(m, endpoint[1] == 'h', request, ctl, on_event, user, &a, answer, err);
    else if (strcmp(endpoint, "embeddings") == 0)
        st = openai_embeddings(m, request, ctl, &a, answer, err);
    else
        st = mltf_fail(err, MLTF_INVALID_INPUT, "unknown endpoint \"%s\"", endpoint);
    if (st && answer->p && answer->n > before) answer->p[answer->n = before] = 0;
    arena_release(&a);
    return st;
}
