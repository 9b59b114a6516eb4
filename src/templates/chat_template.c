/* apply_chat_template() of transformers 4.57 (tokenization_utils_base.py, utils/chat_template_utils.py):
 * which template, which variables, and what continue_final_message cuts off. */
#include "templates/chat_template.h"

#include "base/limits.h"
#include "base/pytext.h"

#define CONTINUE_TAG "CONTINUE_FINAL_MESSAGE_TAG "

static mltf_status choose_template(const tokenizer *tk, const chat_options *o, mltf_str *source,
                                   mltf_err *err)
{
    if (o->template_source.p) {
        *source = o->template_source;
        return MLTF_OK;
    }
    if (o->template_name) {
        *source = tokenizer_chat_template(tk, o->template_name);
        if (source->p) return MLTF_OK;
        return mltf_fail(err, MLTF_BAD_REQUEST, "the tokenizer has no chat template named \"%s\"",
                         o->template_name);
    }
    *source = (mltf_str){0};
    if (o->tools) *source = tokenizer_chat_template(tk, "tool_use");
    if (!source->p) *source = tokenizer_chat_template(tk, NULL);
    if (source->p) return MLTF_OK;
    return mltf_fail(err, MLTF_BAD_REQUEST,
                     "Cannot use chat template functions because tokenizer.chat_template is not "
                     "set and no template argument "
                     "was passed! For information about writing templates and setting the "
                     "tokenizer.chat_template attribute, "
                     "please see the documentation at "
                     "https://huggingface.co/docs/transformers/main/en/chat_templating");
}

static mltf_status check_arguments(const json *messages, const chat_options *o, mltf_err *err)
{
    if (!json_is(messages, JSON_ARRAY))
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         "messages should be a list of dictionaries, but got: %s",
                         json_type_name(messages));
    if (messages->a.n == 0)
        return mltf_fail(err, MLTF_BAD_REQUEST, "list index out of range: there are no messages");
    if (o->continue_final_message && o->add_generation_prompt)
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         "continue_final_message and add_generation_prompt are not compatible. Use "
                         "continue_final_message when "
                         "you want the model to continue the final message, and "
                         "add_generation_prompt when you want to add a "
                         "header that will prompt it to start a new assistant message instead.");
    if (o->continue_final_message && o->jinja.generation)
        return mltf_fail(
            err, MLTF_BAD_REQUEST,
            "continue_final_message is not compatible with return_assistant_tokens_mask.");
    for (size_t i = 0; i < json_len(o->tools); i++)
        if (!json_is(json_at(o->tools, i), JSON_OBJECT))
            return mltf_fail(err, MLTF_BAD_REQUEST,
                             "Tools should either be a JSON schema, or a callable function with "
                             "type hints and a docstring "
                             "suitable for auto-conversion to a schema.");
    for (size_t i = 0; i < json_len(o->documents); i++)
        if (!json_is(json_at(o->documents, i), JSON_OBJECT))
            return mltf_fail(err, MLTF_BAD_REQUEST,
                             "Documents should be a list of dicts with 'title' and 'text' keys!");
    return MLTF_OK;
}

/* The text of a token that is written as "x" or as {"content": "x", …}. */
static const json *token_text(const json *v)
{
    return json_is(v, JSON_OBJECT) ? json_get(v, "content") : v;
}

static void add_special_tokens(mltf_arena *a, json *vars, const tokenizer *tk)
{
    static const char *const names[TOK_SPECIAL_COUNT] = {
        [TOK_BOS] = "bos_token",   [TOK_EOS] = "eos_token", [TOK_UNK] = "unk_token",
        [TOK_SEP] = "sep_token",   [TOK_PAD] = "pad_token", [TOK_CLS] = "cls_token",
        [TOK_MASK] = "mask_token",
    };
    for (int i = 0; i < TOK_SPECIAL_COUNT; i++) {
        const mltf_str text = tokenizer_special_token(tk, (tok_special)i);
        if (text.p) json_set(a, vars, names[i], json_new_string(a, text));
    }
    const json *config = tokenizer_config(tk);
    const json *more = json_get(config, "additional_special_tokens"),
               *extra = json_get(config, "extra_special_tokens");
    if (json_len(more) && json_is(more, JSON_ARRAY)) {
        json *list = json_new_array(a);
        for (size_t i = 0; i < more->a.n; i++) json_push(a, list, token_text(&more->a.items[i]));
        json_set(a, vars, "additional_special_tokens", list);
    }
    if (json_is(extra, JSON_OBJECT))
        for (size_t i = 0; i < extra->o.n; i++)
            json_set_str(a, vars, extra->o.members[i].key, token_text(&extra->o.members[i].value));
}

static mltf_status append_tag(mltf_arena *a, json *text, mltf_str *final, mltf_err *err)
{
    *final = text->s;
    const char *joined = NULL;
    char *p = arena_alloc_small(a, text->s.n + sizeof CONTINUE_TAG);
    if (p) {
        if (text->s.n) memcpy(p, text->s.p, text->s.n);
        memcpy(p + text->s.n, CONTINUE_TAG, sizeof CONTINUE_TAG);
        joined = p;
    }
    if (!joined) return mltf_fail_memory(err);
    text->s = (mltf_str){joined, text->s.n + sizeof CONTINUE_TAG - 1};
    return MLTF_OK;
}

/* A copy of the messages whose last text ends in a tag; *final receives that text without it. */
static mltf_status tag_final_message(mltf_arena *a, const json *messages, json **out,
                                     mltf_str *final, mltf_err *err)
{
    json *copy = json_clone(a, messages);
    if (!copy) return mltf_fail_memory(err);
    *out = copy;
    const json *content = json_get(&copy->a.items[copy->a.n - 1], "content");
    if (json_is(content, JSON_STRING)) return append_tag(a, (json *)content, final, err);
    if (!json_is(content, JSON_ARRAY))
        return mltf_fail(
            err, MLTF_BAD_REQUEST,
            "continue_final_message needs a text as content of the final message, not %s",
            content ? json_type_name(content) : "nothing");
    for (size_t i = content->a.n; i-- > 0;) { // the last block with a text
        const json *text = json_get(&content->a.items[i], "text");
        if (json_is(text, JSON_STRING)) return append_tag(a, (json *)text, final, err);
    }
    return mltf_fail(err, MLTF_BAD_REQUEST,
                     "continue_final_message is set but we could not find any text to continue in "
                     "the final message!");
}

static mltf_status cut_at_tag(mltf_buf *text, mltf_str final, mltf_err *err)
{
    const size_t n_tag = sizeof CONTINUE_TAG - 2; // without its space
    const mltf_str wanted = pytext_strip(final);
    const char *at = NULL;
    for (size_t i = text->n >= n_tag ? text->n - n_tag + 1 : 0; i-- > 0 && !at;)
        if (memcmp(text->p + i, CONTINUE_TAG, n_tag) == 0) at = text->p + i;
    if (!at || (wanted.n && !memmem(text->p, text->n, wanted.p, wanted.n)))
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         "continue_final_message is set but the final message does not appear in "
                         "the chat after applying the "
                         "chat template! This can happen if the chat template deletes portions of "
                         "the final message. Please "
                         "verify the chat template and final message in your chat to ensure they "
                         "are compatible.");
    const bool kept_space = text->n > (size_t)(at - text->p) + n_tag && at[n_tag] == ' ';
    text->n = (size_t)(at - text->p);
    if (!kept_space) text->n = pytext_rstrip(buf_str(text)).n; // the template trims: so must we
    text->p[text->n] = 0;
    return MLTF_OK;
}

static mltf_status apply(mltf_arena *a, const tokenizer *tk, const json *messages,
                         const chat_options *o, const jinja_template *t, mltf_buf *text,
                         mltf_err *err)
{
    json *vars = json_new_object(a), *tagged = NULL;
    mltf_str final = {0};
    add_special_tokens(a, vars, tk);
    if (o->kwargs && o->kwargs->type == JSON_OBJECT)
        for (size_t i = 0; i < o->kwargs->o.n;
             i++) // the last of a name counts; there may be very many
            json_add_str(a, vars, o->kwargs->o.members[i].key, &o->kwargs->o.members[i].value);
    if (o->continue_final_message) TRY(tag_final_message(a, messages, &tagged, &final, err));
    json_set(a, vars, "messages", tagged ? tagged : messages);
    json_set(a, vars, "tools", o->tools ? o->tools : json_new_null(a));
    json_set(a, vars, "documents", o->documents ? o->documents : json_new_null(a));
    json_set(a, vars, "add_generation_prompt", json_new_bool(a, o->add_generation_prompt));
    if (a->failed) return mltf_fail_memory(err);
    TRY(jinja_render(t, vars, &o->jinja, text, err));
    return o->continue_final_message ? cut_at_tag(text, final, err) : MLTF_OK;
}

mltf_status chat_template_apply(const tokenizer *tk, const json *messages, const chat_options *opts,
                                mltf_buf *out, mltf_err *err)
{
    const chat_options none = {0};
    const chat_options *o = opts ? opts : &none;
    mltf_str source;
    jinja_template *t = NULL;
    TRY(check_arguments(messages, o, err));
    TRY(choose_template(tk, o, &source, err));
    TRY(jinja_compile(&t, source.p, source.n, err));
    mltf_arena arena = MLTF_ARENA_INIT;
    mltf_buf text = {.max = LIMIT_TEMPLATE_OUTPUT + sizeof CONTINUE_TAG};
    mltf_status st = apply(&arena, tk, messages, o, t, &text, err);
    if (st == MLTF_OK) {
        buf_append(out, text.p, text.n);
        st = buf_status(out, err);
    }
    mltf_buf_release(&text);
    arena_release(&arena);
    jinja_free(t);
    return st;
}
