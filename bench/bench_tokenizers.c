/* Tokenizing speed: MB/s of one and two threads, tokens decoded per second, and the time to load.
 *
 *     build/bench/bench_tokenizers DIR TEXT...     DIR with a tokenizer.json; files of UTF-8
 *
 * Texts are cut into lines of about a kilobyte, as documents come. bench/peers_tokenizers.py times the Python
 * libraries on the same lines. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/file.h"
#include "tokenizers/tokenizer.h"

/* Processor time where one thread works, so that other programs do not count; else the wall's. */
static double now(bool wall)
{
    struct timespec t;
    clock_gettime(wall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct job {
    const tokenizer *tk;
    const mltf_str *docs;
    size_t n, step, from;
    bool ids_only;
    size_t tokens;
} job;

static void *run(void *arg)
{
    job *j = arg;
    tok_encoding e = TOK_ENCODING_INIT;
    mltf_err err = {0};
    const tok_options o = {.ids_only = j->ids_only};
    j->tokens = 0;
    for (size_t i = j->from; i < j->n; i += j->step) {
        if (tokenizer_encode(j->tk, &e, j->docs[i], (mltf_str){NULL, 0}, &o, &err)) {
            fprintf(stderr, "%s\n", err.msg);
            break;
        }
        j->tokens += e.n;
    }
    tok_encoding_release(&e);
    return NULL;
}

static double best_time(const tokenizer *tk, const mltf_str *docs, size_t n, size_t threads,
                        bool ids_only, size_t *tokens)
{
    double best = 1e9;
    for (int round = 0; round < 5; round++) {
        job j[8];
        pthread_t t[8];
        const double start = now(threads > 1);
        for (size_t k = 0; k < threads; k++) {
            j[k] = (job){tk, docs, n, threads, k, ids_only, 0};
            if (threads > 1) pthread_create(&t[k], NULL, run, &j[k]);
        }
        if (threads == 1) run(&j[0]);
        for (size_t k = 0; threads > 1 && k < threads; k++) pthread_join(t[k], NULL);
        const double took = now(threads > 1) - start;
        if (took < best) best = took;
        *tokens = 0;
        for (size_t k = 0; k < threads; k++) *tokens += j[k].tokens;
    }
    return best;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s DIR TEXT...\n", argv[0]);
        return 2;
    }
    mltf_err err = {0};
    tokenizer *tk = NULL;
    double load = 1e9;
    for (int i = 0; i < 5; i++) {
        tokenizer_free(tk);
        const double start = now(false);
        if (tokenizer_load(&tk, argv[1], &err)) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
        if (now(false) - start < load) load = now(false) - start;
    }
    printf("%s: loaded in %.1f ms\n", argv[1], load * 1e3);
    for (int a = 2; a < argc; a++) {
        mltf_buf text = MLTF_BUF_INIT;
        if (file_read(&text, argv[a], (size_t)1 << 30, &err)) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
        size_t n = 0, cap = text.n / 512 + 2;
        mltf_str *docs = malloc(cap * sizeof *docs);
        for (size_t at = 0; docs && at < text.n && n < cap;) { // whole lines, about a kilobyte
            size_t end = at + 1000 < text.n ? at + 1000 : text.n;
            const char *nl = end < text.n ? memchr(text.p + end, '\n', text.n - end) : NULL;
            end = nl ? (size_t)(nl - text.p) + 1 : text.n;
            docs[n++] = (mltf_str){text.p + at, end - at};
            at = end;
        }
        size_t tokens;
        for (int ids = 0; ids < 2; ids++) {
            const double one = best_time(tk, docs, n, 1, ids, &tokens),
                         two = best_time(tk, docs, n, 2, ids, &tokens);
            printf("%s: %s %.1f MB/s one thread, %.1f two; %zu tokens\n", argv[a],
                   ids ? "ids" : "all", (double)text.n / one / 1e6, (double)text.n / two / 1e6,
                   tokens);
        }
        tok_encoding e = TOK_ENCODING_INIT;
        const tok_options o = {.ids_only = true};
        mltf_buf out = MLTF_BUF_INIT;
        double best = 1e9;
        if (tokenizer_encode(tk, &e, buf_str(&text), (mltf_str){NULL, 0}, &o, &err)) return 1;
        for (int i = 0; i < 5; i++) {
            out.n = 0;
            const double start = now(false);
            if (tokenizer_decode(tk, &out, e.ids, e.n, true, 0, &err)) return 1;
            if (now(false) - start < best) best = now(false) - start;
        }
        printf("%s: decoded %.1f M tokens/s\n", argv[a], (double)e.n / best / 1e6);
        mltf_buf_release(&out);
        tok_encoding_release(&e);
        free(docs);
        mltf_buf_release(&text);
    }
    tokenizer_free(tk);
    return 0;
}
