/* build/parity --chat-template DIR: DIR holds NAME.jinja files, cases.jsonl and the tokenizer that rendered them.
 *
 * A row names a template, messages and the kwargs of apply_chat_template; the answer is a text, or token ids
 * with assistant_masks, or an error (of raise_exception the words count, of others only that it is one). */
#include "parity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "templates/chat_template.h"

static const char *const options_of_apply[] = {
    "tools",    "documents",   "add_generation_prompt",        "continue_final_message",
    "tokenize", "return_dict", "return_assistant_tokens_mask", "chat_template",
    NULL};

/* kwargs without those that are options. */
static json *further_kwargs(mltf_arena *a, const json *kwargs)
{
    json *out = json_new_object(a);
    for (size_t i = 0; i < json_len(kwargs); i++) {
        bool option = false;
        for (size_t k = 0; options_of_apply[k]; k++)
            option = option || str_is(kwargs->o.members[i].key, options_of_apply[k]);
        if (!option) json_set_str(a, out, kwargs->o.members[i].key, &kwargs->o.members[i].value);
    }
    return out;
}

static long token_at(const tok_encoding *e, size_t byte)
{
    for (size_t i = 0; i < e->n; i++)
        if (e->offsets[i].start <= byte && byte < e->offsets[i].end) return (long)i;
    return -1;
}

static void check_ids(parity_count *c, const char *where, const tokenizer *tk, mltf_str text,
                      const json *row, const struct jinja_span *spans, size_t n_spans)
{
    const json *ids = json_get(row, "ids"), *masks = json_get(row, "assistant_masks");
    tok_encoding e = TOK_ENCODING_INIT;
    const tok_options opts = {.no_special_tokens = true};
    mltf_err err = {0};
    if (tokenizer_encode(tk, &e, text, (mltf_str){0}, &opts, &err)) {
        parity_fail(c, "%s: %s", where, err.msg);
        return;
    }
    bool same = e.n == json_len(ids);
    for (size_t i = 0; same && i < e.n; i++) same = json_int(json_at(ids, i), -1) == e.ids[i];
    uint8_t *mask = calloc(e.n + 1, 1);
    for (size_t k = 0; mask && k < n_spans; k++) {
        const long from = token_at(&e, spans[k].start);
        const long last = spans[k].end > 0 ? token_at(&e, spans[k].end - 1) : -1;
        if (from < 0) break;
        const size_t to =
            last > 0 ? (size_t)last + 1 : e.n; // as the reference does: 0 counts as none
        for (size_t i = (size_t)from; i < to; i++) mask[i] = 1;
    }
    for (size_t i = 0; same && mask && masks && i < e.n; i++)
        same = json_int(json_at(masks, i), -1) == mask[i];
    free(mask);
    if (same)
        parity_pass(c);
    else
        parity_fail(c, "%s: ids or assistant masks differ", where);
    tok_encoding_release(&e);
}

/* messages and want: of one conversation, of several in a batch. */
static void check_conversation(parity_count *c, const char *dir, const tokenizer *tk,
                               const json *row, const json *messages, const json *want, size_t line)
{
    mltf_arena arena = MLTF_ARENA_INIT;
    mltf_buf source = MLTF_BUF_INIT, text = MLTF_BUF_INIT;
    mltf_err err = {0};
    struct jinja_span *spans = NULL;
    size_t n_spans = 0;
    const mltf_str name = json_string(json_get(row, "template"), STR("?"));
    char where[200], path[4096];
    snprintf(where, sizeof where, "line %zu (" STR_FMT ", " STR_FMT ")", line, STR_ARG(name),
             STR_ARG(json_string(json_get(row, "conversation"), STR("?"))));
    snprintf(path, sizeof path, "%s/" STR_FMT ".jinja", dir, STR_ARG(name));
    const json *kwargs = json_get(row, "kwargs"), *error = json_get(row, "error");
    mltf_status st = file_read(&source, path, 1 << 24, &err);
    if (st) {
        parity_fail(c, "%s: %s", where, err.msg);
        goto done;
    }
    chat_options o = {.template_source = buf_str(&source)};
    if (!json_is(json_get(kwargs, "tools"), JSON_NULL)) o.tools = json_get(kwargs, "tools");
    if (!json_is(json_get(kwargs, "documents"), JSON_NULL))
        o.documents = json_get(kwargs, "documents");
    o.add_generation_prompt = json_bool(json_get(kwargs, "add_generation_prompt"), false);
    o.continue_final_message = json_bool(json_get(kwargs, "continue_final_message"), false);
    o.kwargs = further_kwargs(&arena, kwargs);
    const bool masks = json_bool(json_get(kwargs, "return_assistant_tokens_mask"), false);
    if (masks) {
        o.jinja.generation = &spans;
        o.jinja.n_generation = &n_spans;
    }
    st = chat_template_apply(tk, messages, &o, &text, &err);
    if (error) {
        const mltf_str words = json_string(json_get(error, "message"), STR(""));
        if (!st)
            parity_fail(c, "%s: an error was expected (\"" STR_FMT "\")", where, STR_ARG(words));
        else if (str_is(json_string(json_get(error, "type"), STR("")), "TemplateError") &&
                 !str_is(words, err.msg))
            parity_fail(c, "%s: \"%s\" instead of \"" STR_FMT "\"", where, err.msg, STR_ARG(words));
        else
            parity_pass(c);
    } else if (st) {
        parity_fail(c, "%s: %s", where, err.msg);
    } else if (json_get(row, "ids")) {
        check_ids(c, where, tk, buf_str(&text), row, spans, n_spans);
    } else if (!str_eq(buf_str(&text), json_string(want, STR("")))) {
        parity_fail(c, "%s:\n  got  \"%s\"\n  want \"" STR_FMT "\"", where, text.p ? text.p : "",
                    STR_ARG(json_string(want, STR(""))));
    } else {
        parity_pass(c);
    }
done:
    free(spans);
    mltf_buf_release(&source);
    mltf_buf_release(&text);
    arena_release(&arena);
}

static void check_row(parity_count *c, const char *dir, const tokenizer *tk, const json *row,
                      size_t line)
{
    const json *messages = json_get(row, "messages"), *want = json_get(row, "text");
    if (!json_is(json_at(messages, 0), JSON_ARRAY)) {
        check_conversation(c, dir, tk, row, messages, want, line);
        return;
    }
    for (size_t i = 0; i < messages->a.n; i++)
        check_conversation(c, dir, tk, row, json_at(messages, i), json_at(want, i), line);
}

int parity_chat_template(const char *dir, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    parity_count c = {0};
    mltf_err err = {0};
    mltf_buf text = MLTF_BUF_INIT;
    tokenizer *tk = NULL;
    char path[4096];
    snprintf(path, sizeof path, "%s/tokenizer", dir);
    if (tokenizer_load(&tk, path, &err)) {
        parity_fail(&c, "%s", err.msg);
        return parity_report(dir, &c);
    }
    snprintf(path, sizeof path, "%s/cases.jsonl", dir);
    if (file_read(&text, path, (size_t)1 << 30, &err)) parity_fail(&c, "%s", err.msg);
    size_t line = 1;
    for (size_t at = 0; at < text.n; line++) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        const size_t n = end ? (size_t)(end - text.p) - at : text.n - at;
        json_doc doc = JSON_DOC_INIT;
        if (n) {
            if (json_parse(&doc, text.p + at, n, NULL, &err))
                parity_fail(&c, "line %zu: %s", line, err.msg);
            else
                check_row(&c, dir, tk, doc.root, line);
        }
        json_doc_release(&doc);
        at += n + 1;
    }
    mltf_buf_release(&text);
    tokenizer_free(tk);
    return parity_report(dir, &c);
}
