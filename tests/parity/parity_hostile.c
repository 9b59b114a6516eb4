/* --hostile: a checkpoint, or an MLflow model, whose files say unlikely things.
 *
 * Each value of MLmodel, config.json, tokenizer.json, generation_config.json and so on is replaced by each of a list of others.
 * The model must then either be refused in words or answer; what it answers is nobody's concern. A crash ends the
 * program and names the case, and so does a case that takes longer than half a minute. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/file.h"
#include "formats/yaml.h"
#include "parity.h"

enum { SECONDS_EACH = 30, TOKENS = 4, MAX_DEPTH = 4, MAX_MEMBERS = 48, MAX_ITEMS = 2 };

static const char *const values[] = {
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "255",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "9007199254740993",
    "-9223372036854775808",
    "123456789012345678901234567890",
    "0.5",
    "-0.5",
    "1e300",
    "NaN",
    "Infinity",
    "\"\"",
    "\"gelu\"",
    "\"x\"",
    "\"\\u0000\"",
    "[]",
    "[0]",
    "[1, 2]",
    "[-1, 4294967296]",
    "[[], \"x\"]",
    "{}",
    "{\"0\": 1}",
};

typedef struct hostile {
    const char *dir, *file; /* the checkpoint, and its file that is being changed */
    char *shadow; /* a directory with links to the checkpoint's other files and the changed one */
    json *root;   /* of the file */
    json *text,
        *inner; /* a string in it that is JSON itself (a signature), and its root, or NULL */
    size_t ran; /* cases that were not refused */
    parity_count count;
} hostile;

static char current[512]; // the case that runs, for the handler

static void on_signal(int sig)
{
    const char *what = sig == SIGALRM ? "\ntoo slow: " : "\ncrashed: ";
    if (write(STDERR_FILENO, what, strlen(what)) >= 0 &&
        write(STDERR_FILENO, current, strlen(current)) >= 0 && write(STDERR_FILENO, "\n", 1) >= 0)
        signal(sig, SIG_DFL);
    raise(sig);
    _exit(1);
}

/* ---- config.json: the network alone ------------------------------------------------------------ */

/* Runs the model as far as it goes: as a whole, and behind a cache. */
static mltf_status run_network(const arch_model *m, mltf_err *err)
{
    const arch_info *info = arch_model_info(m);
    int32_t ids[TOKENS], types[TOKENS * 7] = {0};
    for (size_t i = 0; i < TOKENS; i++) ids[i] = (int32_t)(i < info->vocab ? i : 0);
    arch_session *s = NULL;
    arch_cache *cache = NULL;
    arch_output out;
    arch_batch batch = {.n_seqs = 1, .start = (size_t[]){0, TOKENS}, .ids = ids, .type_ids = types};
    mltf_status st = arch_session_new(&s, m, err);
    if (!st && info->kind != ARCH_ENCODER) st = arch_cache_new(&cache, m, 2 * TOKENS, err);
    if (cache) batch.caches = &cache;
    if (!st && info->kind == ARCH_ENCODER_DECODER)
        st = arch_encode(s, &batch, ARCH_WANT_HIDDEN, &out, err);
    const unsigned want = ARCH_WANT_HIDDEN | ARCH_WANT_POOLED | ARCH_WANT_LOGITS;
    if (!st) st = arch_forward(s, &batch, want, &out, err);
    if (!st && cache) {
        batch.start = (size_t[]){0, 1};
        st = arch_forward(s, &batch, ARCH_WANT_LAST_LOGITS, &out, err);
    }
    arch_cache_free(cache);
    arch_session_free(s);
    return st;
}

static mltf_status try_network(const hostile *h, mltf_err *err)
{
    arch_model *m = NULL;
    const arch_load_options opts = {.config_overrides = h->root};
    mltf_status st = arch_model_load(&m, h->dir, &opts, err);
    if (!st) st = run_network(m, err);
    arch_model_free(m);
    return st;
}

static bool is_yaml(const char *name)
{
    return strcmp(name, "MLmodel") == 0;
}

/* ---- the other files: what the library's user does ---------------------------------------------- */

static mltf_status try_prediction(const hostile *h, mltf_err *err)
{
    static const char *const requests[] = {
        "{\"inputs\": [\"a b\", \"<s>\"]}",
        "{\"inputs\": {\"question\": \"a b\", \"context\": \"b a b c\"}}",
        "{\"inputs\": {\"query\": \"a\", \"table\": {\"a\": [\"1\"]}}}",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a b\"}], \"max_tokens\": 2}",
    };
    mltf_buf file = MLTF_BUF_INIT, answer = MLTF_BUF_INIT, text = MLTF_BUF_INIT;
    if (h->text) {
        json_write(&text, h->inner, NULL);
        h->text->s = buf_str(&text);
    }
    if (is_yaml(h->file))
        yaml_write(&file, h->root, NULL);
    else
        json_write(&file, h->root, NULL);
    char *path = path_join(h->shadow, h->file);
    FILE *f = path ? fopen(path, "wb") : NULL;
    if (f && file.n) fwrite(file.p, 1, file.n, f);
    if (f) fclose(f);
    free(path);
    mltf_model *m = NULL;
    const mltf_open_options opts = {.threads = 1, .model_config_json = "{\"max_new_tokens\": 2}"};
    mltf_status st = mltf_model_open(&m, h->shadow, &opts, err);
    bool answered = false; // one of them suits the task
    for (size_t i = 0; !st && i < sizeof requests / sizeof *requests; i++)
        answered |= !mltf_predict_json(m, requests[i], strlen(requests[i]), NULL, &answer, err);
    if (!st && !answered) st = MLTF_INVALID_INPUT;
    mltf_model_free(m);
    mltf_buf_release(&text);
    mltf_buf_release(&answer);
    mltf_buf_release(&file);
    return st;
}

/* ---- the cases ---------------------------------------------------------------------------------- */

/* Puts each value at this place and below; path [n] is its name. */
static void each_value(hostile *h, json *at, char *path, size_t n, int depth)
{
    const json old = *at;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        json_doc doc = JSON_DOC_INIT;
        mltf_err err = {0};
        if (json_parse(&doc, values[i], strlen(values[i]), NULL, NULL)) abort();
        *at = *doc.root;
        snprintf(current, sizeof current, "%s/%s: %.300s = %s", h->dir, h->file, path, values[i]);
        alarm(SECONDS_EACH);
        const bool network = json_is(h->root, JSON_OBJECT) && strcmp(h->file, "config.json") == 0;
        const mltf_status st = network ? try_network(h, &err) : try_prediction(h, &err);
        alarm(0);
        h->ran += st == MLTF_OK;
        if (st != MLTF_OK && !err.msg[0])
            parity_fail(&h->count, "%s: refused without a word", current);
        else
            parity_pass(&h->count);
        json_doc_release(&doc);
    }
    *at = old;
    if (depth == MAX_DEPTH || n > 200) return;
    for (size_t i = 0; json_is(at, JSON_OBJECT) && i < json_len(at) && i < MAX_MEMBERS; i++) {
        json_member *m = &at->o.members[i];
        const int more = snprintf(path + n, 256 - n, ".%.40s", m->key.p);
        each_value(h, &m->value, path, n + (size_t)more, depth + 1);
    }
    for (size_t i = 0; json_is(at, JSON_ARRAY) && i < json_len(at) && i < MAX_ITEMS; i++) {
        const int more = snprintf(path + n, 256 - n, "[%zu]", i);
        each_value(h, &at->a.items[i], path, n + (size_t)more, depth + 1);
    }
    path[n] = 0;
    json_doc doc = JSON_DOC_INIT;
    if (json_is(at, JSON_STRING) && !h->text && !json_parse(&doc, at->s.p, at->s.n, NULL, NULL) &&
        json_len(doc.root) > 0) {
        h->text = at;
        h->inner = doc.root;
        each_value(h, doc.root, path, n, depth);
        h->text = NULL;
        *at = old;
    }
    json_doc_release(&doc);
}

static bool is_settings(const char *name)
{
    const size_t n = strlen(name);
    if (is_yaml(name)) return true;
    return n > 5 && strcmp(name + n - 5, ".json") == 0 && strcmp(name, "expected.json") != 0 &&
           !strstr(name, ".index.") && strcmp(name, "vocab.json") != 0;
}

/* Links to all files of the checkpoint but one, in a new directory. */
static bool make_shadow(hostile *h, const dir_list *files)
{
    const char *tmp = getenv("TMPDIR");
    h->shadow = path_join(tmp ? tmp : "/tmp", "mltf-hostile-XXXXXX");
    char *real = realpath(h->dir, NULL);
    bool ok = h->shadow && real && mkdtemp(h->shadow);
    for (size_t i = 0; ok && i < files->n; i++) {
        if (strcmp(files->names[i], h->file) == 0) continue;
        char *from = path_join(real, files->names[i]), *to = path_join(h->shadow, files->names[i]);
        ok = from && to && symlink(from, to) == 0;
        free(from);
        free(to);
    }
    free(real);
    return ok;
}

static void try_file(hostile *h, const dir_list *files)
{
    json_doc doc = JSON_DOC_INIT;
    mltf_err err = {0};
    char *path = path_join(h->dir, h->file), place[256] = "";
    mltf_status st = MLTF_OK;
    if (path)
        st = is_yaml(h->file) ? yaml_parse_file(&doc, path, &err)
                              : json_parse_file(&doc, path, NULL, &err);
    if (!path || st != MLTF_OK || !make_shadow(h, files))
        parity_fail(&h->count, "%s: %s", h->file, err.msg[0] ? err.msg : "no room for a copy");
    else {
        h->root = doc.root;
        each_value(h, doc.root, place, 0, 0);
    }
    if (h->shadow) dir_remove(h->shadow, NULL);
    free(h->shadow);
    h->shadow = NULL;
    json_doc_release(&doc);
    free(path);
}

int parity_hostile(const char *dir, int argc, char **argv)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], on_signal);
    hostile h = {.dir = dir};
    dir_list files = {0};
    mltf_err err = {0};
    if (dir_read(&files, dir, &err)) parity_fail(&h.count, "%s", err.msg);
    for (size_t i = 0; i < files.n; i++) {
        h.file = files.names[i];
        if (argc > 0 ? strcmp(argv[0], h.file) == 0 : is_settings(h.file)) try_file(&h, &files);
    }
    dir_list_free(&files);
    printf("%zu answered, the others were refused\n", h.ran);
    return parity_report(dir, &h.count);
}
