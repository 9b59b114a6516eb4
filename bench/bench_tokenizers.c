/* Tokenizing speed, for bench/peers_tokenizers.py: one line of JSON on stdout.
 *
 *     build/bench/bench_tokenizers DIR TEXT [ROUNDS]
 *
 * load_ms; ids and all: MB/s of [one thread, two], without and with offsets and the rest; decode: millions of tokens a
 * second; long_ms: [1 MB, 10 MB] of letters without a space. The text is cut into lines of about a kilobyte, as
 * documents come. One thread is measured in processor time, so that other programs do not count, two by the wall. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/file.h"
#include "tokenizers/tokenizer.h"

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
    bool ids_only, failed;
} job;

static void *run(void *arg)
{
    job *j = arg;
    tok_encoding e = TOK_ENCODING_INIT;
    mltf_err err = {0};
    const tok_options o = {.ids_only = j->ids_only};
    for (size_t i = j->from; i < j->n && !j->failed; i += j->step)
        if (tokenizer_encode(j->tk, &e, j->docs[i], (mltf_str){NULL, 0}, &o, &err)) {
            fprintf(stderr, "%s\n", err.msg);
            j->failed = true;
        }
    tok_encoding_release(&e);
    return NULL;
}

/* Seconds of the best round. */
static double encode_time(const tokenizer *tk, const mltf_str *docs, size_t n, size_t threads,
                          bool ids_only, int rounds)
{
    double best = 1e9;
    for (int round = 0; round < rounds; round++) {
        job j[2];
        pthread_t other;
        const double start = now(threads > 1);
        for (size_t k = 0; k < threads; k++) j[k] = (job){tk, docs, n, threads, k, ids_only, false};
        const bool two = threads > 1 && pthread_create(&other, NULL, run, &j[1]) == 0;
        run(&j[0]);
        if (two) pthread_join(other, NULL);
        const double took = now(threads > 1) - start;
        if (took < best) best = took;
    }
    return best;
}

static double decode_time(const tokenizer *tk, mltf_str text, int rounds, size_t *tokens)
{
    tok_encoding e = TOK_ENCODING_INIT;
    const tok_options o = {.ids_only = true};
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    double best = 1e9;
    if (tokenizer_encode(tk, &e, text, (mltf_str){NULL, 0}, &o, &err))
        fprintf(stderr, "%s\n", err.msg);
    *tokens = e.n;
    for (int i = 0; i < rounds; i++) {
        out.n = 0;
        const double start = now(false);
        if (tokenizer_decode(tk, &out, e.ids, e.n, true, 0, &err)) fprintf(stderr, "%s\n", err.msg);
        if (now(false) - start < best) best = now(false) - start;
    }
    mltf_buf_release(&out);
    tok_encoding_release(&e);
    return best;
}

/* The lines of text, about a kilobyte each. */
static size_t cut(mltf_str *docs, size_t cap, mltf_str text)
{
    size_t n = 0;
    for (size_t at = 0; at < text.n && n < cap;) {
        size_t end = at + 1000 < text.n ? at + 1000 : text.n;
        const char *nl = end < text.n ? memchr(text.p + end, '\n', text.n - end) : NULL;
        end = nl ? (size_t)(nl - text.p) + 1 : text.n;
        docs[n++] = (mltf_str){text.p + at, end - at};
        at = end;
    }
    return n;
}

/* Letters of the text in their order, as often as needed for `size` bytes. */
static char *without_spaces(mltf_str text, size_t size)
{
    char *p = malloc(size);
    size_t n = 0;
    while (p && n < size) {
        const size_t before = n;
        for (size_t i = 0; i < text.n && n < size; i++)
            if ((unsigned)((text.p[i] | 0x20) - 'a') < 26) p[n++] = text.p[i];
        if (n == before) p[n++] = 'x';
    }
    return p;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s DIR TEXT [ROUNDS]\n", argv[0]);
        return 2;
    }
    const int rounds = argc > 3 ? atoi(argv[3]) : 5;
    mltf_err err = {0};
    tokenizer *tk = NULL;
    mltf_buf text = MLTF_BUF_INIT;
    double load = 1e9;
    if (file_read(&text, argv[2], (size_t)1 << 30, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    for (int i = 0; i < rounds; i++) {
        tokenizer_free(tk);
        const double start = now(false);
        if (tokenizer_load(&tk, argv[1], &err)) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
        if (now(false) - start < load) load = now(false) - start;
    }
    const size_t cap = text.n / 512 + 2;
    mltf_str *docs = malloc(cap * sizeof *docs);
    char *letters = without_spaces(buf_str(&text), 10000000);
    if (!docs || !letters) return 1;
    const size_t n = cut(docs, cap, buf_str(&text));
    const double mb = (double)text.n / 1e6;
    size_t tokens;
    const double decoded = decode_time(tk, buf_str(&text), rounds, &tokens);
    const mltf_str one = {letters, 1000000}, ten = {letters, 10000000};
    const double short_run = encode_time(tk, &one, 1, 1, true, 2),
                 long_run = encode_time(tk, &ten, 1, 1, true, 1);
    printf("{\"load_ms\": %.2f, \"ids\": [%.2f, %.2f], \"all\": [%.2f, %.2f], \"decode\": %.2f, "
           "\"tokens\": %zu, \"long_ms\": [%.1f, %.1f]}\n",
           load * 1e3, mb / encode_time(tk, docs, n, 1, true, rounds),
           mb / encode_time(tk, docs, n, 2, true, rounds),
           mb / encode_time(tk, docs, n, 1, false, rounds),
           mb / encode_time(tk, docs, n, 2, false, rounds), (double)tokens / decoded / 1e6, tokens,
           short_run * 1e3, long_run * 1e3);
    free(docs);
    free(letters);
    mltf_buf_release(&text);
    tokenizer_free(tk);
    return 0;
}
