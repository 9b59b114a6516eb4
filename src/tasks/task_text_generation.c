/* text-generation: what a decoder writes behind a prompt or a chat.
 *
 * Mirrors TextGenerationPipeline (transformers 4.57.6, pipelines/text_generation.py).
 * Input     text · list of texts · a chat (list of {"role", "content", …}) · list of chats.
 * Keywords  return_full_text (true), return_tensors, return_text, prefix, handle_long_generation ("hole"),
 *           stop_sequence, truncation, padding, add_special_tokens, max_length (also cuts the prompt, as
 *           there), clean_up_tokenization_spaces (true), skip_special_tokens (true), continue_final_message,
 *           tokenizer_encode_kwargs (for a chat: tools, documents, chat_template, variables of the template).
 *           All others are arguments of generate(). Defaults: max_new_tokens 256, do_sample true, temperature 0.7.
 * Output    one prompt: [{"generated_text": text}, …] (num_return_sequences of them), with return_tensors
 *           [{"generated_token_ids": [id, …]}]; a chat: generated_text is the list of messages with the answer
 *           behind it; a list of prompts: one such list each.
 *
 * Easy to get wrong: the prompt is cut off by the number of characters of its decoded ids, and then the
 * caller's own prompt (without prefix) is put in front again. */
#include "tasks/task.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "templates/chat_template.h"

typedef enum { RETURN_FULL_TEXT, RETURN_NEW_TEXT, RETURN_TENSORS } return_kind;

typedef struct textgen {
    const task_call *c;
    return_kind kind;
    bool clean_up, skip_special, hole;
    int continue_final; /* -1: from the last message's role */
    mltf_str prefix;
    task_tok_args tok;      /* of plain prompts */
    task_tok_args chat_tok; /* of chats */
    chat_options chat;
    json *generate; /* object: arguments of generate() */
    gen_config cfg;
    bool is_chat;
    const json *const *prompts; /* [n] texts or chats */
    bool *starts_empty;         /* [n] the one token is a BOS that nobody wrote */
    json *outputs;              /* array, one place a prompt */
    tok_stream *stream;         /* of one prompt */
    bool streamed;
    const task_seqs *seqs;
} textgen;

static const char *const own_keys[] = {"return_full_text",
                                       "return_tensors",
                                       "return_text",
                                       "return_type",
                                       "clean_up_tokenization_spaces",
                                       "prefix",
                                       "handle_long_generation",
                                       "stop_sequence",
                                       "truncation",
                                       "padding",
                                       "continue_final_message",
                                       "skip_special_tokens",
                                       "add_special_tokens",
                                       "tokenizer_encode_kwargs",
                                       NULL};

static bool listed(const char *const *keys, mltf_str key)
{
    for (size_t i = 0; keys[i]; i++)
        if (str_is(key, keys[i])) return true;
    return false;
}

static mltf_status read_return_kind(const task_call *c, textgen *g, mltf_err *err)
{
    const bool full = task_arg_given(c, "return_full_text"),
               tensors = task_arg_given(c, "return_tensors");
    const bool text = task_arg_given(c, "return_text");
    if (full && text)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "`return_text` is mutually exclusive with `return_full_text`");
    if (full && tensors)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "`return_full_text` is mutually exclusive with `return_tensors`");
    if (tensors && text)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "`return_text` is mutually exclusive with `return_tensors`");
    if (full && !json_bool(task_arg(c, "return_full_text"),
                           json_int(task_arg(c, "return_full_text"), 1) != 0))
        g->kind = RETURN_NEW_TEXT;
    if (tensors) g->kind = RETURN_TENSORS; // given at all, as there
    const json *type = task_arg(c, "return_type");
    if (json_is(type, JSON_INT))
        g->kind = type->i == 0 ? RETURN_TENSORS : type->i == 1 ? RETURN_NEW_TEXT : RETURN_FULL_TEXT;
    return MLTF_OK;
}

/* Variables and settings of apply_chat_template(). */
static mltf_status read_chat_kwarg(const task_call *c, textgen *g, json *vars, mltf_str key,
                                   const json *v, mltf_err *err)
{
    if (str_is(key, "tools")) {
        g->chat.tools = v->type == JSON_NULL ? NULL : v;
    } else if (str_is(key, "documents")) {
        g->chat.documents = v->type == JSON_NULL ? NULL : v;
    } else if (str_is(key, "chat_template")) {
        const mltf_str s = json_string(v, (mltf_str){0});
        if (!s.p) return MLTF_OK;
        char *name = arena_strdup(c->arena, s.p, s.n);
        if (!name) return mltf_fail_memory(err);
        if (tokenizer_chat_template(c->p->tk, name).p)
            g->chat.template_name = name;
        else
            g->chat.template_source = s;
    } else if (str_is(key, "add_generation_prompt") || str_is(key, "continue_final_message") ||
               str_is(key, "add_special_tokens") || str_is(key, "return_dict") ||
               str_is(key, "tokenize")) {
        // the pipeline sets these itself
    } else if (str_is(key, "padding") || str_is(key, "truncation") || str_is(key, "max_length")) {
        return task_tok_arg(c, &g->chat_tok, key, v, err);
    } else {
        json_add_str(c->arena, vars, key, v);
    }
    return MLTF_OK;
}

static mltf_status read_encode_kwargs(const task_call *c, textgen *g, mltf_err *err)
{
    const json *inner = task_arg(c, "tokenizer_encode_kwargs");
    json *vars = json_new_object(c->arena);
    for (size_t i = 0; inner && inner->type == JSON_OBJECT && i < inner->o.n; i++) {
        const json_member *m = &inner->o.members[i];
        if (g->is_chat)
            TRY(read_chat_kwarg(c, g, vars, m->key, &m->value, err));
        else
            TRY(task_tok_arg(c, &g->tok, m->key, &m->value, err));
    }
    g->chat.kwargs = vars;
    g->chat_tok.truncation_given = true; // apply_chat_template() says truncation=False unless told
    TRY(task_tok_args_finish(c, &g->chat_tok, err));
    g->chat_tok.opts.no_special_tokens = true;
    return task_tok_args_finish(c, &g->tok, err);
}

static mltf_status count_tokens(const task_call *c, mltf_str text, bool special, size_t *n,
                                tok_encoding *keep, mltf_err *err)
{
    tok_encoding enc = TOK_ENCODING_INIT;
    const tok_options o = {.no_special_tokens = !special};
    const mltf_status st = tokenizer_encode(c->p->tk, &enc, text, (mltf_str){0}, &o, err);
    if (!st) *n = enc.n;
    if (!st && keep)
        *keep = enc;
    else
        tok_encoding_release(&enc);
    return st;
}

static json *grown(mltf_arena *a, int64_t length, size_t by)
{
    return json_new_int(a, length > INT32_MAX ? length : length + (int64_t)by);
}

/* prefix_length makes room: total lengths grow by it unless new tokens are counted. */
static mltf_status make_room_for_prefix(const task_call *c, textgen *g, mltf_err *err)
{
    if (g->prefix.n == 0) return MLTF_OK;
    size_t n = 0;
    TRY(count_tokens(c, g->prefix, json_bool(task_arg(c, "add_special_tokens"), false), &n, NULL,
                     err));
    const json *max = json_get(g->generate, "max_length"),
               *min = json_get(g->generate, "min_length");
    if (n == 0) return MLTF_OK;
    if (!json_get(g->generate, "max_new_tokens")) {
        int64_t total = json_int(max, 0);
        if (total == 0) total = c->p->gen.max_length == GEN_NONE ? 20 : c->p->gen.max_length;
        json_set(c->arena, g->generate, "max_length", grown(c->arena, total, n));
    }
    if (!json_get(g->generate, "min_new_tokens") && min)
        json_set(c->arena, g->generate, "min_length", grown(c->arena, json_int(min, 0), n));
    return MLTF_OK;
}

static mltf_status read_stop_sequence(const task_call *c, textgen *g, mltf_err *err)
{
    if (!task_arg_given(c, "stop_sequence")) return MLTF_OK;
    const json *v = task_arg(c, "stop_sequence");
    if (!json_is(v, JSON_STRING))
        return mltf_fail(err, MLTF_PREDICT_FAILED, "stop_sequence must be a text, not %s",
                         json_type_name(v));
    tok_encoding enc = TOK_ENCODING_INIT;
    size_t n = 0;
    TRY(count_tokens(c, v->s, false, &n, &enc, err));
    json *ids = json_new_array(c->arena);
    for (size_t i = 0; i < enc.n; i++) json_push(c->arena, ids, json_new_int(c->arena, enc.ids[i]));
    tok_encoding_release(&enc);
    json_set(c->arena, g->generate, "eos_token_id", ids);
    return MLTF_OK;
}

/* What stands before every prompt. For XLNet, which was made for long texts, the pipeline has one of its own. */
static mltf_str default_prefix(const pipeline *p)
{
    static const char article[] =
        "\n    In 1991, the remains of Russian Tsar Nicholas II and his family (except for Alexei "
        "and "
        "Maria) are discovered. The\n    voice of Nicholas's young son, Tsarevich Alexei "
        "Nikolaevich, "
        "narrates the remainder of the story. 1883 Western\n    Siberia, a young Grigori Rasputin "
        "is "
        "asked by his father and a group of men to perform magic. Rasputin has a vision\n    and "
        "denounces one of the men as a horse thief. Although his father initially slaps him for "
        "making "
        "such an\n    accusation, Rasputin watches as the man is chased outside and beaten. Twenty "
        "years later, Rasputin sees a vision of\n    the Virgin Mary, prompting him to become a "
        "priest. Rasputin quickly becomes famous, with people, even a bishop,\n    begging for his "
        "blessing. <eod> </s> <eos>\n    ";
    if (!p->prefix.p && strcmp(p->info->architecture, "XLNetLMHeadModel") == 0)
        return str_from(article);
    return p->prefix;
}

static mltf_status read_args(const task_call *c, textgen *g, mltf_err *err)
{
    TRY(read_return_kind(c, g, err));
    g->clean_up = json_bool(task_arg(c, "clean_up_tokenization_spaces"), true);
    g->skip_special = json_bool(task_arg(c, "skip_special_tokens"), true);
    g->continue_final = task_arg_given(c, "continue_final_message")
                            ? json_bool(task_arg(c, "continue_final_message"), false)
                            : -1;
    g->prefix = task_arg_given(c, "prefix") ? json_string(task_arg(c, "prefix"), STR(""))
                                            : default_prefix(c->p);
    if (task_arg_given(c, "handle_long_generation")) {
        const json *v = task_arg(c, "handle_long_generation");
        if (!str_is(json_string(v, STR("")), "hole"))
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "%s is not a valid value for `handle_long_generation` parameter "
                             "expected [None, 'hole']",
                             json_is(v, JSON_STRING) ? arena_strdup(c->arena, v->s.p, v->s.n)
                                                     : task_repr(c, v));
        g->hole = true;
    }
    static const char *const to_tokenizer[] = {"add_special_tokens", "truncation", "padding",
                                               "max_length"};
    for (size_t i = 0; i < 4; i++) {
        if (!task_arg_given(c, to_tokenizer[i])) continue;
        const mltf_str key = str_from(to_tokenizer[i]);
        TRY(task_tok_arg(c, &g->tok, key, task_arg(c, to_tokenizer[i]), err));
        if (i > 0) TRY(task_tok_arg(c, &g->chat_tok, key, task_arg(c, to_tokenizer[i]), err));
    }
    g->chat_tok.pad_to = g->tok.pad_to =
        0; // prompts are not padded here: nothing would be seen of it
    TRY(read_encode_kwargs(c, g, err));
    g->generate = json_new_object(c->arena);
    for (size_t i = 0; c->kwargs && i < c->kwargs->o.n; i++) {
        const json_member *m = &c->kwargs->o.members[i];
        if (!listed(own_keys, m->key)) json_add_str(c->arena, g->generate, m->key, &m->value);
    }
    TRY(make_room_for_prefix(c, g, err));
    TRY(read_stop_sequence(c, g, err));
    if (c->arena->failed) return mltf_fail_memory(err);
    return task_gen_config(c, g->generate, &g->cfg, err);
}

/* ---- preprocess ---- */

static mltf_status check_chat(const json *chat, mltf_err *err)
{
    for (size_t i = 0; i < json_len(chat); i++) {
        const json *m = json_at(chat, i);
        if (!json_get(m, "role") || !json_get(m, "content"))
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "When passing chat dicts as input, each dict must have a 'role' and "
                             "'content' key.");
    }
    return MLTF_OK;
}

static bool continues(const textgen *g, const json *chat)
{
    if (g->continue_final >= 0) return g->continue_final;
    const size_t n = json_len(chat);
    return n > 0 &&
           str_is(json_string(json_get(json_at(chat, n - 1), "role"), STR("")), "assistant");
}

static mltf_status encode_chat(const textgen *g, tok_encoding *enc, const json *chat, mltf_err *err)
{
    chat_options o = g->chat;
    o.continue_final_message = continues(g, chat);
    o.add_generation_prompt = !o.continue_final_message;
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = chat_template_apply(g->c->p->tk, chat, &o, &text, err);
    if (st == MLTF_INVALID_INPUT && err) err->status = st = MLTF_PREDICT_FAILED;
    if (!st)
        st = tokenizer_encode(g->c->p->tk, enc, buf_str(&text), (mltf_str){0}, &g->chat_tok.opts,
                              err);
    mltf_buf_release(&text);
    return st;
}

/* Make a hole in front: keep as many of the last tokens as leave room for the new ones. */
static mltf_status cut_for_length(const textgen *g, tok_encoding *enc, mltf_err *err)
{
    const size_t model_max = tokenizer_model_max_length(g->c->p->tk);
    int64_t fresh = json_int(json_get(g->generate, "max_new_tokens"), -1);
    if (fresh < 0) {
        const int64_t total =
            json_int(json_get(g->generate, "max_length"), g->c->p->gen.max_length);
        fresh = total < 0 ? -1 : total - (int64_t)enc->n;
        if (fresh < 0)
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "We cannot infer how many new tokens are expected");
    }
    if (model_max == SIZE_MAX || enc->n + (size_t)fresh <= model_max) return MLTF_OK;
    if ((size_t)fresh >= model_max)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "We cannot use `hole` to handle this generation the number of desired "
                         "tokens exceeds the models "
                         "max length");
    const size_t keep = model_max - (size_t)fresh;
    if (enc->n <= keep) return MLTF_OK;
    memmove(enc->ids, enc->ids + (enc->n - keep), keep * sizeof *enc->ids);
    enc->n = keep;
    return MLTF_OK;
}

static mltf_status encode_prompt(const textgen *g, tok_encoding *enc, size_t which, mltf_err *err)
{
    const json *prompt = g->prompts[which];
    if (g->is_chat) {
        TRY(encode_chat(g, enc, prompt, err));
    } else if (!json_is(prompt, JSON_STRING)) {
        return mltf_fail(err, MLTF_PREDICT_FAILED, "can only concatenate str (not \"%s\") to str",
                         json_type_name(prompt));
    } else {
        mltf_buf text = MLTF_BUF_INIT;
        buf_put_str(&text, g->prefix);
        buf_put_str(&text, prompt->s);
        mltf_status st = buf_status(&text, err);
        tok_options o = g->tok.opts;
        if (!st)
            st = tokenizer_encode(g->c->p->tk, enc, text.p ? buf_str(&text) : STR(""),
                                  (mltf_str){0}, &o, err);
        mltf_buf_release(&text);
        TRY(st);
    }
    if (g->hole) TRY(cut_for_length(g, enc, err));
    if (enc->n > 0) return MLTF_OK;
    if (g->cfg.bos_token_id == GEN_NONE)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "`bos_token_id` has to be defined when no `input_ids` are provided.");
    enc->ids = realloc(
        enc->ids, sizeof *enc->ids); // an empty prompt starts from BOS, which is not the caller's
    if (!enc->ids) return mltf_fail_memory(err);
    enc->ids[0] = (int32_t)g->cfg.bos_token_id;
    enc->n = 1;
    g->starts_empty[which] = true;
    return MLTF_OK;
}

/* ---- postprocess ---- */

static json *chat_answer(const textgen *g, const json *chat, mltf_str text)
{
    mltf_arena *a = g->c->arena;
    json *messages = json_new_array(a);
    const size_t n = json_len(chat);
    const bool merge = continues(g, chat);
    for (size_t i = 0; i < (merge ? n - 1 : n); i++) json_push(a, messages, json_at(chat, i));
    json *last = json_new_object(a);
    if (merge) {
        const json *old = json_at(chat, n - 1);
        mltf_buf joined = MLTF_BUF_INIT;
        buf_put_str(&joined, json_string(json_get(old, "content"), STR("")));
        buf_put_str(&joined, text);
        json_set(a, last, "role", json_get(old, "role"));
        json_set(a, last, "content", json_new_string(a, joined.p ? buf_str(&joined) : STR("")));
        mltf_buf_release(&joined);
    } else {
        json_set(a, last, "role", json_new_cstr(a, "assistant"));
        json_set(a, last, "content", json_new_string(a, text));
    }
    json_push(a, messages, last);
    return messages;
}

/* What lies behind the first n code points. */
static mltf_str skip_code_points(mltf_str s, size_t n)
{
    size_t i = 0;
    for (; n > 0 && i < s.n; n--) {
        i++;
        while (i < s.n && ((unsigned char)s.p[i] & 0xC0) == 0x80) i++;
    }
    return str_slice(s, i, s.n);
}

static mltf_status text_record(const textgen *g, json *record, const json *prompt,
                               const int32_t *ids, size_t n, size_t prompt_chars, mltf_err *err)
{
    mltf_arena *a = g->c->arena;
    mltf_buf text = MLTF_BUF_INIT, full = MLTF_BUF_INIT;
    mltf_status st =
        tokenizer_decode(g->c->p->tk, &text, ids, n, g->skip_special, g->clean_up, err);
    if (!st) {
        const mltf_str fresh = skip_code_points(text.p ? buf_str(&text) : STR(""), prompt_chars);
        const json *answer;
        if (g->kind == RETURN_NEW_TEXT) {
            answer = json_new_string(a, fresh);
        } else if (g->is_chat) {
            answer = chat_answer(g, prompt, fresh);
        } else {
            buf_put_str(&full, prompt->s);
            buf_put_str(&full, fresh);
            answer = json_new_string(a, full.p ? buf_str(&full) : STR(""));
        }
        json_set(a, record, "generated_text", answer);
        st = buf_status(&full, err);
    }
    mltf_buf_release(&text);
    mltf_buf_release(&full);
    return st;
}

static mltf_status add_prompt(void *user, const task_generated *r, mltf_err *err)
{
    textgen *g = user;
    mltf_arena *a = g->c->arena;
    const tok_encoding *enc = &g->seqs->encs[r->prompt];
    size_t prompt_chars = 0;
    if (g->kind != RETURN_TENSORS && !g->starts_empty[r->prompt]) {
        mltf_buf text = MLTF_BUF_INIT;
        const mltf_status st = tokenizer_decode(g->c->p->tk, &text, enc->ids, enc->n,
                                                g->skip_special, g->clean_up, err);
        if (!st && text.n) prompt_chars = utf8_count(text.p, text.n);
        mltf_buf_release(&text);
        TRY(st);
    }
    json *records = json_new_array(a);
    int32_t *ids = arena_calloc(a, r->width ? r->width : 1, sizeof *ids);
    if (!ids) return mltf_fail_memory(err);
    for (size_t i = 0; i < r->n; i++) {
        const gen_sequence *s = &r->seqs[i];
        json *record = json_new_object(a);
        for (size_t k = 0; k < r->width; k++) ids[k] = k < s->n ? s->ids[k] : r->fill;
        if (g->kind == RETURN_TENSORS) {
            json *list = json_new_array(a);
            for (size_t k = 0; k < r->width; k++) json_push(a, list, json_new_int(a, ids[k]));
            json_set(a, record, "generated_token_ids", list);
        } else {
            TRY(text_record(g, record, g->prompts[r->prompt], ids, r->width, prompt_chars, err));
        }
        json_push(a, records, record);
    }
    if (a->failed) return mltf_fail_memory(err);
    g->outputs->a.items[r->prompt] = *records;
    return MLTF_OK;
}

/* ---- streaming ---- */

static int stream_tokens(void *user, size_t prompt, const int32_t *ids, size_t n)
{
    textgen *g = user;
    (void)prompt;
    mltf_buf text = MLTF_BUF_INIT;
    int stop = 0;
    for (size_t i = 0; i < n && !stop; i++)
        stop = tok_stream_push(g->stream, ids[i], &text, NULL) != MLTF_OK;
    if (!stop && text.n) stop = g->c->ctl->on_text(g->c->ctl->user, text.p, text.n);
    g->streamed = true;
    mltf_buf_release(&text);
    return stop;
}

/* The stream has seen the prompt, so that the first new token is written as inside a text. */
static mltf_status start_stream(textgen *g, const tok_encoding *prompt, mltf_err *err)
{
    TRY(tok_stream_new(&g->stream, g->c->p->tk, g->skip_special, err));
    mltf_buf unseen = MLTF_BUF_INIT;
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < prompt->n && !st; i++)
        st = tok_stream_push(g->stream, prompt->ids[i], &unseen, err);
    mltf_buf_release(&unseen);
    return st;
}

static mltf_status end_stream(textgen *g, mltf_err *err)
{
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = MLTF_OK;
    if (g->streamed)
        st = tok_stream_end(g->stream, &text, err);
    else if (!g->is_chat && g->kind != RETURN_TENSORS) // beams know their text at the end only
        buf_put_str(
            &text,
            json_string(json_get(json_at(&g->outputs->a.items[0], 0), "generated_text"), STR("")));
    if (!st && text.n && g->c->ctl->on_text(g->c->ctl->user, text.p, text.n))
        st = mltf_fail(err, MLTF_CANCELLED, "the call was cancelled");
    mltf_buf_release(&text);
    return st;
}

/* One chat, several chats, one text, several texts? Sets prompts and their number. */
static mltf_status find_prompts(const task_call *c, textgen *g, size_t *n, bool *many,
                                mltf_err *err)
{
    const json *input = c->input;
    *many = json_is(input, JSON_ARRAY);
    if (*many && input->a.n == 0)
        return mltf_fail(err, MLTF_PREDICT_FAILED, "list index out of range");
    const json *first = *many ? json_at(input, 0) : NULL;
    g->is_chat = json_is(first, JSON_OBJECT) || json_is(first, JSON_ARRAY);
    if (json_is(first, JSON_OBJECT)) *many = false;
    *n = *many ? input->a.n : 1;
    const json **list = arena_calloc(c->arena, *n, sizeof *list);
    g->starts_empty = arena_calloc(c->arena, *n, sizeof *g->starts_empty);
    if (!list || !g->starts_empty) return mltf_fail_memory(err);
    for (size_t i = 0; i < *n; i++) {
        list[i] = *many ? json_at(input, i) : input;
        if (g->is_chat && !json_is(list[i], JSON_ARRAY))
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "When passing chat dicts as input, each dict must have a 'role' and "
                             "'content' key.");
        if (g->is_chat) TRY(check_chat(list[i], err));
    }
    g->prompts = list;
    return MLTF_OK;
}

static mltf_status call(const task_call *c, json **out, mltf_err *err)
{
    textgen g = {.c = c, .outputs = json_new_array(c->arena)};
    size_t n = 0;
    bool many = false;
    TRY(find_prompts(c, &g, &n, &many, err));
    TRY(read_args(c, &g, err));
    task_seqs seqs = {0};
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n && !st; i++) {
        tok_encoding *enc = task_seqs_add(&seqs);
        st = enc ? encode_prompt(&g, enc, i, err) : mltf_fail_memory(err);
        json_push(c->arena, g.outputs, json_new_null(c->arena));
    }
    if (!st && c->arena->failed) st = mltf_fail_memory(err);
    g.seqs = &seqs;
    const bool streams = c->ctl->on_text && n == 1 && g.cfg.num_return_sequences <= 1;
    if (!st && streams) st = start_stream(&g, &seqs.encs[0], err);
    if (!st)
        st = task_generate(c, &g.cfg, &seqs, streams ? stream_tokens : NULL, &g, add_prompt, &g,
                           err);
    if (!st && streams) st = end_stream(&g, err);
    tok_stream_free(g.stream);
    task_seqs_release(&seqs);
    if (!st) *out = many ? g.outputs : &g.outputs->a.items[0];
    return st;
}

static const char *const also[] = {"LMHeadModel", "ForConditionalGeneration", NULL};
const task_def task_text_generation = {
    .info = {"text-generation", "TextGenerationPipeline", NULL, "AutoModelForCausalLM", true},
    .class_suffix = "ForCausalLM",
    .class_also = also,
    .gen_defaults = "{\"max_new_tokens\": 256, \"do_sample\": true, \"temperature\": 0.7}",
    .call = call,
};
