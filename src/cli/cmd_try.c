/* mltf try: one prompt, or an interactive chat with streamed answers. Generating models with a chat template
 * are chatted with (the conversation is kept); other tasks get each line as their input. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/open_options.h"
#include "cli/show_json.h"

typedef struct try_state {
    mltf_model *model;
    mltf_arena arena; /* the conversation */
    json *messages;   /* [{role, content}, …] */
    bool chat;        /* false after the model turned out to have no chat template */
    int max_tokens;
    double temperature; /* below 0: the model's own */
    int seed;
} try_state;

/* Each event of a streamed chat is one chunk object: print its text, and keep it. */
typedef struct stream_state {
    mltf_buf reply;
    bool failed;
} stream_state;

static int on_event(void *user, const char *text, size_t n)
{
    stream_state *s = user;
    json_doc doc = JSON_DOC_INIT;
    if (json_parse(&doc, text, n, NULL, NULL) == MLTF_OK) {
        const json *delta = json_get(json_at(json_get(doc.root, "choices"), 0), "delta");
        const mltf_str piece = json_string(json_get(delta, "content"), (mltf_str){"", 0});
        fwrite(piece.p, 1, piece.n, stdout);
        fflush(stdout);
        buf_put_str(&s->reply, piece);
    }
    json_doc_release(&doc);
    return cli_cancel;
}

static void add_message(try_state *t, const char *role, mltf_str content)
{
    json *m = json_new_object(&t->arena);
    json_set(&t->arena, m, "role", json_new_cstr(&t->arena, role));
    json_set(&t->arena, m, "content", json_new_string(&t->arena, content));
    json_push(&t->arena, t->messages, m);
}

static mltf_status chat(try_state *t, const char *line, mltf_err *err)
{
    const size_t before = json_len(t->messages);
    add_message(t, "user", str_from(line));
    mltf_arena *a = &t->arena;
    json *request = json_new_object(a);
    json_set(a, request, "messages", t->messages);
    json_set(a, request, "stream", json_new_bool(a, true));
    if (t->max_tokens > 0) json_set(a, request, "max_tokens", json_new_int(a, t->max_tokens));
    if (t->temperature >= 0)
        json_set(a, request, "temperature", json_new_double(a, t->temperature));
    if (t->seed >= 0) json_set(a, request, "seed", json_new_int(a, t->seed));
    mltf_buf body = MLTF_BUF_INIT, answer = MLTF_BUF_INIT;
    json_write(&body, request, NULL);
    stream_state s = {0};
    const mltf_predict_options run = {.cancel = &cli_cancel};
    mltf_status st = buf_status(&body, err);
    if (st == MLTF_OK)
        st = mltf_openai(t->model, "chat", body.p, body.n, &run, on_event, &s, &answer, err);
    if (st == MLTF_CANCELLED &&
        cli_interrupted()) { // Ctrl-C stops the answer, not the conversation
        err->status = MLTF_OK;
        st = MLTF_OK;
    }
    if (st == MLTF_OK) {
        putchar('\n');
        add_message(t, "assistant", buf_str(&s.reply));
    } else {
        t->messages->a.n = before;
    }
    mltf_buf_release(&s.reply);
    mltf_buf_release(&answer);
    mltf_buf_release(&body);
    return st;
}

static mltf_status ask(try_state *t, const char *line, mltf_err *err)
{
    mltf_buf input = MLTF_BUF_INIT, answer = MLTF_BUF_INIT;
    // a line that is a JSON object or list is taken as such: question answering and its like need it
    json_doc doc = JSON_DOC_INIT;
    const bool is_json = (line[0] == '{' || line[0] == '[') &&
                         json_parse(&doc, line, strlen(line), NULL, NULL) == MLTF_OK;
    if (is_json)
        buf_puts(&input, line);
    else
        json_write_string(&input, str_from(line), false);
    json_doc_release(&doc);
    mltf_buf params = MLTF_BUF_INIT;
    buf_puts(&params, "{");
    if (strcmp(mltf_model_task(t->model), "text-generation") == 0) {
        if (t->max_tokens > 0) buf_printf(&params, "\"max_new_tokens\": %d", t->max_tokens);
        if (t->seed >= 0) buf_printf(&params, "%s\"seed\": %d", params.n > 1 ? ", " : "", t->seed);
    }
    buf_puts(&params, "}");
    const mltf_predict_options run = {.params_json = params.p, .cancel = &cli_cancel};
    mltf_status st = buf_status(&input, err);
    if (st == MLTF_OK) st = mltf_predict_raw(t->model, input.p, input.n, &run, &answer, err);
    if (st == MLTF_OK) {
        buf_putc(&answer, '\n');
        st = cli_write_all("-", &answer, err);
    }
    mltf_buf_release(&params);
    mltf_buf_release(&answer);
    mltf_buf_release(&input);
    return st;
}

static bool has_chat_template(const mltf_model *m)
{
    mltf_buf text = MLTF_BUF_INIT;
    json_doc doc = JSON_DOC_INIT;
    bool has = false;
    if (mltf_model_describe(m, &text, NULL) == MLTF_OK &&
        json_parse(&doc, text.p, text.n, NULL, NULL) == MLTF_OK)
        has = json_bool(json_get(doc.root, "chat_template"), false);
    json_doc_release(&doc);
    mltf_buf_release(&text);
    return has;
}

static mltf_status answer_line(try_state *t, const char *line, mltf_err *err)
{
    cli_cancel = 0;
    return t->chat ? chat(t, line, err) : ask(t, line, err);
}

static mltf_status converse(try_state *t, mltf_err *err)
{
    const bool terminal = isatty(STDIN_FILENO) == 1;
    char *line = NULL;
    size_t room = 0;
    mltf_status st = MLTF_OK;
    for (;;) {
        if (terminal) fputs("> ", stderr);
        errno = 0;
        const ssize_t n = getline(&line, &room, stdin);
        if (n < 0) {
            if (terminal && errno == EINTR) { // Ctrl-C at the prompt: a fresh line
                clearerr(stdin);
                fputc('\n', stderr);
                continue;
            }
            break;
        }
        size_t len = (size_t)n;
        while (len && (line[len - 1] == '\n' || line[len - 1] == '\r')) line[--len] = '\0';
        if (!len) continue;
        st = answer_line(t, line, err);
        if (st != MLTF_OK && terminal) { // tell, and let the person go on
            cli_report(err);
            *err = (mltf_err){0};
            st = MLTF_OK;
        }
        if (st != MLTF_OK) break;
    }
    if (terminal) fputc('\n', stderr);
    free(line);
    return st;
}

int cmd_try(int argc, char **argv, const cli_command *self)
{
    const char *uri = NULL, *system = NULL;
    mltf_open_options o = {.log = cli_warn};
    try_state t = {.temperature = -1, .seed = -1};
    const cli_opt opts[] = {
        OPEN_OPTIONS(uri, o),
        CLI_STR(0, "system", "TEXT", &system, NULL, "system message of the chat"),
        CLI_INT(0, "max-tokens", "N", &t.max_tokens, NULL, "at most so many new tokens an answer"),
        CLI_DOUBLE(0, "temperature", "T", &t.temperature, NULL, "0: always the likeliest token"),
        CLI_INT(0, "seed", "N", &t.seed, NULL, "makes sampled answers repeatable"),
        CLI_END,
    };
    char **rest;
    int n_rest;
    const int code = cli_parse(argc, argv, self, opts, &rest, &n_rest);
    if (code >= 0) return code;
    if (!uri || n_rest > 1)
        return cli_mistake(self, "give the model with -m, and at most one prompt (in quotes)");

    mltf_err err = {0};
    cli_progress progress;
    cli_progress_init(&progress);
    cli_catch_interrupt();
    o.progress = cli_progress_step;
    o.progress_user = &progress;
    if (mltf_model_open(&t.model, uri, &o, &err)) goto done;
    cli_progress_done(&progress);
    t.chat = strcmp(mltf_model_task(t.model), "text-generation") == 0 && has_chat_template(t.model);
    t.messages = json_new_array(&t.arena);
    if (system) add_message(&t, "system", str_from(system));
    if (n_rest)
        answer_line(&t, rest[0], &err);
    else
        converse(&t, &err);
done:
    cli_progress_done(&progress);
    arena_release(&t.arena);
    mltf_model_free(t.model);
    return cli_report(&err);
}
