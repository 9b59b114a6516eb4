/* Broken and hostile files: each case of manifest.json is loaded in a process of its own, with a bound on time
 * and memory, and must be refused or taken as the manifest says. A crash, a hang, a large allocation or a file
 * called PWNED fails the case whatever was answered.
 *
 * kinds: model, config, generation_config (loaded, and run for three tokens where that works), tokenizer (loaded,
 * and some texts encoded; an error of encoding counts as a refusal), chat_template (rendered), media. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "gen/gen.h"
#include "parity.h"
#include "templates/chat_template.h"

enum { SECONDS = 20, MEGABYTES = 256 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool sanitized = true; // shadow memory is no allocation of ours
#else
static const bool sanitized = false;
#endif

typedef struct answer {
    bool loaded, used; // used: what was loaded also worked
    char msg[500];
} answer;

static void run_model(answer *a, const char *dir, bool generate)
{
    mltf_err err = {0};
    arch_model *m = NULL;
    arch_session *s = NULL;
    mltf_arena arena = MLTF_ARENA_INIT;
    if (arch_model_load(&m, dir, NULL, &err)) goto done;
    a->loaded = true;
    if (arch_session_new(&s, m, &err)) goto done;
    const int32_t ids[] = {1, 2, 3};
    if (generate) {
        json_doc doc = JSON_DOC_INIT;
        gen_config cfg;
        gen_config_init(&cfg);
        char *path = path_join(dir, "generation_config.json");
        mltf_status st = json_parse_file(&doc, path, NULL, &err);
        if (!st) st = gen_config_merge(&cfg, doc.root, GEN_FROM_MODEL, &arena, &err);
        free(path);
        if (st) {
            a->loaded = false;
        } else {
            if (cfg.max_new_tokens == GEN_NONE) cfg.max_new_tokens = 3;
            gen_result res;
            const gen_request req = {.ids = ids, .n = 3, .cfg = &cfg};
            if (gen_config_validate(&cfg, &err) || gen_generate(s, &req, 1, &res, &err)) goto done;
            gen_result_release(&res);
            a->used = true;
        }
        json_doc_release(&doc);
    } else {
        const size_t start[] = {0, 3};
        const arch_batch batch = {.n_seqs = 1, .start = start, .ids = ids};
        arch_output out;
        a->used = arch_forward(s, &batch, ARCH_WANT_LOGITS, &out, &err) == MLTF_OK;
    }
done:
    arch_session_free(s);
    arch_model_free(m);
    arena_release(&arena);
    snprintf(a->msg, sizeof a->msg, "%.*s", (int)sizeof a->msg - 1, err.msg);
}

static void run_tokenizer(answer *a, const char *dir)
{
    static const char *const texts[] = {
        "Hello world, this is a text.", "b", "\xE6\xBC\xA2\xE5\xAD\x97 \xF0\x9F\x98\x80", "",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"};
    mltf_err err = {0};
    tokenizer *tk = NULL;
    if (tokenizer_load(&tk, dir, &err) == MLTF_OK) {
        a->loaded = a->used = true;
        tok_encoding enc = TOK_ENCODING_INIT;
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            mltf_buf back = MLTF_BUF_INIT;
            if (tokenizer_encode(tk, &enc, str_from(texts[i]), (mltf_str){0}, NULL, &err) ||
                tokenizer_decode(tk, &back, enc.ids, enc.n, true, -1, &err))
                a->used = false;
            mltf_buf_release(&back);
        }
        tok_encoding_release(&enc);
    }
    tokenizer_free(tk);
    snprintf(a->msg, sizeof a->msg, "%.*s", (int)sizeof a->msg - 1, err.msg);
}

static void run_template(answer *a, const char *dir)
{
    static const char text[] = "[{\"role\": \"user\", \"content\": \"hi\"}]";
    mltf_err err = {0};
    tokenizer *tk = NULL;
    json_doc messages = JSON_DOC_INIT;
    mltf_buf out = MLTF_BUF_INIT;
    if (tokenizer_load(&tk, dir, &err) == MLTF_OK &&
        json_parse(&messages, text, sizeof text - 1, NULL, &err) == MLTF_OK &&
        chat_template_apply(tk, messages.root, NULL, &out, &err) == MLTF_OK)
        a->loaded = a->used = true;
    mltf_buf_release(&out);
    json_doc_release(&messages);
    tokenizer_free(tk);
    snprintf(a->msg, sizeof a->msg, "%.*s", (int)sizeof a->msg - 1, err.msg);
}

static void child(int fd, const char *kind, const char *dir)
{
    answer a = {0};
    if (!sanitized) {
        const struct rlimit memory = {(rlim_t)2 << 30, (rlim_t)2 << 30};
        setrlimit(RLIMIT_AS, &memory);
    }
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(SECONDS);
    if (strcmp(kind, "tokenizer") == 0)
        run_tokenizer(&a, dir);
    else if (strcmp(kind, "chat_template") == 0)
        run_template(&a, dir);
    else
        run_model(&a, dir, strcmp(kind, "generation_config") == 0);
    const ssize_t n = write(fd, &a, sizeof a);
    _exit(n == (ssize_t)sizeof a ? 0 : 1);
}

static bool pwned(const char *dir)
{
    char *inside = path_join(dir, "PWNED");
    const bool yes =
        !inside || file_exists(inside) || file_exists("PWNED") || file_exists("/tmp/PWNED");
    free(inside);
    return yes;
}

static void run_case(parity_count *c, const char *dir, const char *name, const char *kind,
                     const char *want)
{
    char *path = path_join(dir, name);
    int fd[2];
    if (!path || pipe(fd) != 0) {
        parity_fail(c, "%s: no process for it", name);
        free(path);
        return;
    }
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        close(fd[0]);
        child(fd[1], kind, path);
    }
    close(fd[1]);
    answer a = {0};
    int status = -1;
    struct rusage use = {0};
    const bool answered = pid > 0 && read(fd[0], &a, sizeof a) == (ssize_t)sizeof a;
    if (pid > 0) wait4(pid, &status, 0, &use);
    close(fd[0]);
    const bool refuse = strcmp(want, "reject") == 0, either = strcmp(want, "either") == 0;
    // a fault may show at the first use; what is sound must load, whatever the text or the prompt then does
    const bool refused = refuse ? !a.loaded || !a.used : !a.loaded;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        parity_fail(c, "%s: no answer in %d s", name, SECONDS);
    else if (!answered || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        parity_fail(c, "%s: crashed (%s)", name,
                    WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit");
    else if (pwned(path))
        parity_fail(c, "%s: code was run", name);
    else if (!sanitized && use.ru_maxrss > MEGABYTES * 1024L)
        parity_fail(c, "%s: used %ld MB", name, use.ru_maxrss / 1024);
    else if (!either && refused != refuse)
        parity_fail(c, "%s: %s, expected %s%s%s", name, refused ? "refused" : "taken", want,
                    a.msg[0] ? ": " : "", a.msg);
    else if (refused && !a.msg[0])
        parity_fail(c, "%s: refused without a word", name);
    else
        parity_pass(c);
    free(path);
}

int parity_checkpoint(const char *dir, int argc, char **argv)
{
    parity_count c = {0};
    json_doc doc = JSON_DOC_INIT;
    mltf_err err = {0};
    char *path = path_join(dir, "manifest.json");
    if (json_parse_file(&doc, path, NULL, &err)) {
        parity_fail(&c, "%s", err.msg);
    } else {
        const json *cases = json_get(doc.root, "cases");
        size_t media = 0;
        for (size_t i = 0; i < json_len(cases); i++) {
            const json *v = json_at(cases, i);
            // texts of a document end in a NUL
            const char *name = json_string(json_get(v, "dir"), STR("")).p,
                       *kind = json_string(json_get(v, "kind"), STR("")).p,
                       *want = json_string(json_get(v, "answer"), STR("")).p;
            if (argc > 0 && strcmp(argv[0], name) != 0) continue;
            if (strcmp(kind, "media") == 0)
                media++;
            else
                run_case(&c, dir, name, kind, want);
        }
        if (media) {
            parity_skip(&c, "%zu cases of kind media: pictures and sounds have no reader yet", media);
            c.skipped += media - 1;
        }
    }
    free(path);
    json_doc_release(&doc);
    return parity_report(dir, &c);
}
