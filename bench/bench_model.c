/* Speed of a whole model: bench_model DIR [--threads N] [--dtype bfloat16] [--quantize int8] MODE ...
 *
 *   encode LEN[,LEN...]     one forward over a batch of sequences of these lengths: ms and tokens/s
 *   generate PROMPT NEW     prefill of PROMPT tokens, then NEW greedy steps of one token: tokens/s of both
 *   summarize SOURCE NEW    the same with an encoder-decoder: SOURCE tokens encoded, NEW steps of its decoder
 *
 * Ids are pseudo-random: nothing here depends on what they mean. Prints the median and best of ROUNDS,
 * one "key value" a line, for bench/peers.py to read. With --rounds N and --gate, waits for a line on stdin
 * before each round, so that a driver can interleave it with others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arch/arch.h"

static clockid_t timer =
    CLOCK_MONOTONIC; /* CPU time with one thread: other work on the machine counts for less */

static double now(void)
{
    struct timespec t;
    clock_gettime(timer, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int die(const mltf_err *err)
{
    fprintf(stderr, "bench_model: %s\n", err->msg);
    return 1;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#define MAX_SEQS   4096
#define MAX_ROUNDS 1000

typedef struct bench {
    arch_model *model;
    int rounds, gate;
    double min_seconds;
} bench;

static int next_round(const bench *b)
{
    char line[64];
    return !b->gate || fgets(line, sizeof line, stdin) != NULL;
}

static int32_t *random_ids(const bench *b, size_t n)
{
    const size_t vocab = arch_model_info(b->model)->vocab;
    int32_t *ids = malloc(n * sizeof *ids);
    uint32_t seed = 7;
    for (size_t i = 0; ids && i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        ids[i] = (int32_t)(1000 + (seed >> 8) % (vocab > 2000 ? vocab - 1100 : 1));
    }
    return ids;
}

static void report(const char *what, double *v, int n, double per)
{
    for (int i = 0; i < n; i++) v[i] = per / v[i];
    qsort(v, (size_t)n, sizeof *v, by_size);
    printf("%s median %.2f best %.2f tokens/s\n", what, v[n / 2], v[n - 1]);
}

static int encode(const bench *b, const char *lengths, mltf_err *err)
{
    static size_t start[MAX_SEQS + 1];
    static double t[MAX_ROUNDS];
    size_t n = 0;
    for (const char *p = lengths; *p && n < MAX_SEQS;) {
        char *end;
        start[n + 1] = start[n] + strtoul(p, &end, 10);
        if (end == p) return 2;
        n++;
        p = *end == ',' ? end + 1 : end;
    }
    int32_t *ids = random_ids(b, start[n]);
    arch_session *s;
    TRY(arch_session_new(&s, b->model, err));
    const arch_batch batch = {.n_seqs = n, .start = start, .ids = ids};
    arch_output out;
    TRY(arch_forward(s, &batch, ARCH_WANT_HIDDEN, &out, err));
    int r = 0;
    for (; r < b->rounds && next_round(b); r++) {
        int calls = 0;
        const double from = now();
        do {
            TRY(arch_forward(s, &batch, ARCH_WANT_HIDDEN, &out, err));
            calls++;
        } while (now() - from < b->min_seconds);
        t[r] = (now() - from) / calls;
        if (b->gate) printf("round %.6f\n", t[r]), fflush(stdout);
    }
    report("encode", t, r, (double)start[n]);
    arch_session_free(s);
    free(ids);
    return 0;
}

/* First the `prompt` tokens, through the encoder if the model has one, then `fresh` greedy steps of one token. */
static int generate(const bench *b, bool encoder, size_t prompt, size_t fresh, mltf_err *err)
{
    static double prefill[MAX_ROUNDS], decode[MAX_ROUNDS];
    int32_t *ids = random_ids(b, prompt + 1);
    arch_session *s;
    TRY(arch_session_new(&s, b->model, err));
    int r = 0;
    for (int round = 0; round <= b->rounds; round++) { // the first warms up
        if (round > 0 && !next_round(b)) break;
        arch_cache *cache;
        TRY(arch_cache_new(&cache, b->model, prompt + fresh + 1, err));
        arch_output out = {0};
        double from = now();
        const arch_batch all = {.n_seqs = 1,
                                .start = (size_t[]){0, prompt},
                                .ids = ids,
                                .caches = (arch_cache *[]){cache}};
        if (encoder)
            TRY(arch_encode(s, &all, 0, &out, err));
        else
            TRY(arch_forward(s, &all, ARCH_WANT_LAST_LOGITS, &out, err));
        const double t_prefill = now() - from;
        from = now();
        for (size_t i = 0; i < fresh; i++) {
            int32_t best = 0; // the encoder gives no logits: token 0 begins
            for (size_t v = 1; v < out.n_logits; v++)
                if (out.logits[v] > out.logits[best]) best = (int32_t)v;
            const arch_batch one = {.n_seqs = 1,
                                    .start = (size_t[]){0, 1},
                                    .ids = &best,
                                    .caches = (arch_cache *[]){cache}};
            TRY(arch_forward(s, &one, ARCH_WANT_LAST_LOGITS, &out, err));
        }
        const double t_decode = now() - from;
        arch_cache_free(cache);
        if (round == 0) continue;
        prefill[r] = t_prefill;
        decode[r++] = t_decode;
        if (b->gate) printf("round %.6f %.6f\n", t_prefill, t_decode), fflush(stdout);
    }
    report(encoder ? "encode" : "prefill", prefill, r, (double)prompt);
    report("decode", decode, r, (double)fresh);
    arch_session_free(s);
    free(ids);
    return 0;
}

int main(int argc, char **argv)
{
    bench b = {.rounds = 7, .min_seconds = 0.1};
    arch_load_options o = {0};
    int threads = 0, i = 1;
    const char *dir = argc > 1 ? argv[i++] : NULL;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--gate") == 0)
            b.gate = 1;
        else if (strcmp(argv[i], "--threads") == 0)
            threads = atoi(argv[++i]);
        else if (strcmp(argv[i], "--rounds") == 0)
            b.rounds = atoi(argv[++i]);
        else if (strcmp(argv[i], "--dtype") == 0)
            o.torch_dtype = argv[++i];
        else if (strcmp(argv[i], "--quantize") == 0)
            o.quantize = argv[++i];
        else
            break;
    }
    const int left = argc - i;
    const bool is_encode = left == 2 && strcmp(argv[i], "encode") == 0,
               is_summarize = left == 3 && strcmp(argv[i], "summarize") == 0,
               is_generate = left == 3 && strcmp(argv[i], "generate") == 0;
    if (!dir || !(is_encode || is_summarize || is_generate) || b.rounds < 1 ||
        b.rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: bench_model DIR [--threads N] [--rounds N] [--dtype T] [--quantize "
                        "int8|int4] [--gate]\n"
                        "                   encode LEN[,LEN...] | generate PROMPT NEW | summarize "
                        "SOURCE NEW\n");
        return 2;
    }
    if (threads == 1) timer = CLOCK_PROCESS_CPUTIME_ID;
    mltf_err err = {0};
    if (pool_new(&o.pool, threads, &err) || arch_model_load(&b.model, dir, &o, &err))
        return die(&err);
    if (b.gate) printf("ready\n"), fflush(stdout);
    const int rc = is_encode ? encode(&b, argv[i + 1], &err)
                             : generate(&b, is_summarize, strtoul(argv[i + 1], NULL, 10),
                                        strtoul(argv[i + 2], NULL, 10), &err);
    if (err.status) die(&err);
    arch_model_free(b.model);
    pool_free(o.pool);
    return rc;
}
