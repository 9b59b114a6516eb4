/* The conversational task of transformers up to 4.41: every input is the user's next message, and the newest answer
 * comes back as a bare text. The history belongs to the loaded model; the option `conversation_id` keeps several apart.
 *
 * The prompt is the tokenizer's chat template over the history, or, for models without one (DialoGPT), the messages
 * each followed by the end-of-text token. Long histories lose their oldest messages. */
#include <stdlib.h>
#include <string.h>

#include "mlflow/wrapper.h"

enum { MAX_MESSAGES = 200, KEEP_MESSAGES = 100, MAX_CONVERSATIONS = 1024 };

struct conversation {
    struct conversation *next;
    char *id;
    mltf_arena arena;
    json *messages; /* array of {"role", "content"} */
};

void conversations_free(mltf_model *m)
{
    while (m->conversations) {
        struct conversation *c = m->conversations;
        m->conversations = c->next;
        arena_release(&c->arena);
        free(c->id);
        free(c);
    }
}

/* The conversation of that id, made if there is none; under the lock. NULL: no memory, or too many. */
static struct conversation *find(mltf_model *m, const char *id)
{
    size_t n = 0;
    for (struct conversation *c = m->conversations; c; c = c->next, n++)
        if (strcmp(c->id, id) == 0) return c;
    struct conversation *c = n < MAX_CONVERSATIONS ? calloc(1, sizeof *c) : NULL;
    if (!c) return NULL;
    c->id = strdup(id);
    c->messages = json_new_array(&c->arena);
    if (!c->id || !c->messages) {
        arena_release(&c->arena);
        free(c->id);
        free(c);
        return NULL;
    }
    c->next = m->conversations;
    m->conversations = c;
    return c;
}

static void add_message(mltf_arena *a, json *messages, const char *role, mltf_str content)
{
    json *one = json_new_object(a);
    json_set(a, one, "role", json_new_cstr(a, role));
    json_set(a, one, "content", json_new_string(a, content));
    json_push(a, messages, one);
}

/* Forget the oldest messages, and the memory they took. */
static void trim(struct conversation *c)
{
    const size_t n = json_len(c->messages);
    if (n <= MAX_MESSAGES) return;
    mltf_arena fresh = MLTF_ARENA_INIT;
    json *kept = json_new_array(&fresh);
    for (size_t i = n - KEEP_MESSAGES; i < n; i++)
        json_push(&fresh, kept, json_clone(&fresh, json_at(c->messages, i)));
    if (!kept || fresh.failed) {
        arena_release(&fresh);
        return;
    }
    arena_release(&c->arena);
    c->arena = fresh;
    c->messages = kept;
}

/* First cell of a frame, first value of an object, or the text itself. */
static mltf_status newest_input(wrap_call *w, const pv *data, mltf_str *out, mltf_err *err)
{
    pv v = *data;
    if (v.kind == PV_FRAME) v = pv_frame_records(w->a, v.frame);
    if (v.kind == PV_LIST && v.list.n > 0) v = v.list.items[0];
    if (v.kind == PV_DICT && v.dict.n > 0) v = v.dict.pairs[0].value;
    if (!pv_is_str(&v))
        return mltf_fail(err, MLTF_INVALID_INPUT, "a conversation takes one text, not %s",
                         pv_class(&v));
    *out = v.s;
    return MLTF_OK;
}

static const char *take_id(wrap_call *w)
{
    const char *id = "";
    size_t n = 0;
    for (size_t i = 0; i < w->options.dict.n; i++) {
        const pv_pair pair = w->options.dict.pairs[i];
        if (pair.key.kind == PV_STR && str_is(pair.key.s, "conversation_id")) {
            if (pv_is_str(&pair.value)) id = arena_strdup(w->a, pair.value.s.p, pair.value.s.n);
        } else
            w->options.dict.pairs[n++] = pair;
    }
    w->options.dict.n = n;
    return id ? id : "";
}

static json *plain_prompt(wrap_call *w, const json *messages)
{
    const mltf_str end = tokenizer_special_token(pipeline_tokenizer(w->m->pipe), TOK_EOS);
    mltf_buf b = MLTF_BUF_INIT;
    for (size_t i = 0; i < json_len(messages); i++) {
        buf_put_str(&b, json_string(json_get(json_at(messages, i), "content"), STR("")));
        if (end.p) buf_put_str(&b, end);
    }
    json *prompt = json_new_string(w->a, buf_str(&b));
    mltf_buf_release(&b);
    return prompt;
}

static json *call_options(wrap_call *w)
{
    json *kwargs = pv_to_json(w->a, &w->options);
    if (!json_get(kwargs, "do_sample"))
        json_set(w->a, kwargs, "do_sample", json_new_bool(w->a, false));
    json_set(w->a, kwargs, "return_full_text", json_new_bool(w->a, false));
    return kwargs;
}

/* [{"generated_text": text or messages}] */
static mltf_str answer_of(const json *raw)
{
    const json *text = json_get(json_at(raw, 0), "generated_text");
    if (json_is(text, JSON_ARRAY)) text = json_get(json_at(text, json_len(text) - 1), "content");
    return json_string(text, STR(""));
}

mltf_status wrap_conversation(wrap_call *w, const pv *data, pv *out, mltf_err *err)
{
    mltf_model *m = (mltf_model *)w->m; // the history hides behind the lock
    mltf_str input;
    TRY(newest_input(w, data, &input, err));
    const char *id = take_id(w);

    pthread_mutex_lock(&m->lock);
    struct conversation *c = find(m, id);
    json *messages = c ? json_clone(w->a, c->messages) : NULL;
    pthread_mutex_unlock(&m->lock);
    if (!messages)
        return mltf_fail(err, MLTF_OVERLOADED, "too many conversations are kept for this model");

    add_message(w->a, messages, "user", input);
    const bool has_template = tokenizer_chat_template(pipeline_tokenizer(m->pipe), NULL).p != NULL;
    const json *prompt = has_template ? messages : plain_prompt(w, messages);
    json *raw = NULL;
    TRY(pipeline_call(m->pipe, prompt, call_options(w), w->ctl, w->a, &raw, err));
    const mltf_str answer = answer_of(raw);

    pthread_mutex_lock(&m->lock);
    c = find(m, id);
    if (c) {
        add_message(&c->arena, c->messages, "user", input);
        add_message(&c->arena, c->messages, "assistant", answer);
        trim(c);
    }
    pthread_mutex_unlock(&m->lock);
    *out = pv_str(answer);
    return w->a->failed ? mltf_fail_memory(err) : MLTF_OK;
}
