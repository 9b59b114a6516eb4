/* --logits, --greedy and --taps: what a checkpoint answers to given ids, for comparisons in Python. Where logits are
 * wrong, the first tap that differs from the library's (a forward hook on the module) names the part. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "arch/arch.h"
#include "gen/gen.h"
#include "gen/gen_config.h"
#include "parity.h"

typedef struct loaded {
    mltf_pool *pool;
    arch_model *model;
    arch_session *session;
    int32_t *ids;
    size_t n;
    mltf_arena arena;
} loaded;

static mltf_status load(loaded *l, const char *dir, const char *dtype, const char *adapter,
                        mltf_err *err)
{
    mltf_buf text = MLTF_BUF_INIT;
    char piece[4096];
    for (size_t got; (got = fread(piece, 1, sizeof piece, stdin)) > 0;)
        buf_append(&text, piece, got);
    json *list = NULL;
    mltf_status st = json_parse_in(&l->arena, &list, text.p ? text.p : "", text.n, NULL, err);
    mltf_buf_release(&text);
    TRY(st);
    l->n = json_len(list);
    l->ids = arena_calloc(&l->arena, l->n + 1, sizeof *l->ids);
    if (!l->ids) return mltf_fail_memory(err);
    for (size_t i = 0; i < l->n; i++) l->ids[i] = (int32_t)json_int(json_at(list, i), -1);
    TRY(pool_new(&l->pool, 0, err));
    TRY(arch_model_load(
        &l->model, dir,
        &(arch_load_options){.pool = l->pool, .torch_dtype = dtype, .adapter_dir = adapter}, err));
    return arch_session_new(&l->session, l->model, err);
}

static int finish(loaded *l, mltf_status st, const mltf_err *err)
{
    if (st != MLTF_OK) fprintf(stderr, "%s\n", err->msg);
    arch_session_free(l->session);
    arch_model_free(l->model);
    pool_free(l->pool);
    arena_release(&l->arena);
    return st != MLTF_OK;
}

static void print_json(mltf_arena *a, const json *v)
{
    mltf_buf out = MLTF_BUF_INIT;
    json_write(&out, v, NULL);
    puts(out.p && !a->failed ? out.p : "null");
    mltf_buf_release(&out);
}

int parity_logits(const char *dir, int argc, char **argv)
{
    loaded l = {0};
    mltf_err err = {0};
    mltf_status st = load(&l, dir, argc > 0 ? argv[0] : NULL, argc > 1 ? argv[1] : NULL, &err);
    arch_output out = {0};
    if (st == MLTF_OK) {
        const arch_batch batch = {.n_seqs = 1, .start = (size_t[]){0, l.n}, .ids = l.ids};
        st = arch_forward(l.session, &batch, ARCH_WANT_LOGITS, &out, &err);
    }
    if (st == MLTF_OK) {
        json *rows = json_new_array(&l.arena);
        for (size_t t = 0; t < out.logit_rows; t++) {
            json *row = json_push(&l.arena, rows, json_new_array(&l.arena));
            for (size_t v = 0; v < out.n_logits; v++)
                json_push(&l.arena, row,
                          json_new_float(&l.arena, out.logits[t * out.n_logits + v]));
        }
        print_json(&l.arena, rows);
    }
    return finish(&l, st, &err);
}

enum { SHOWN = 4 };

/* "layer name [rows, cols] root mean square: first values of the last row" */
static void print_tap(void *user, const char *name, int layer, const float *x, size_t rows,
                      size_t cols)
{
    (void)user;
    double sum = 0;
    for (size_t i = 0; i < rows * cols; i++) sum += (double)x[i] * (double)x[i];
    printf("%d %s [%zu, %zu] rms %.7g:", layer, name, rows, cols,
           sqrt(sum / (double)(rows * cols)));
    for (size_t i = 0; i < cols && i < SHOWN; i++) printf(" %.7g", x[(rows - 1) * cols + i]);
    putchar('\n');
}

int parity_taps(const char *dir, int argc, char **argv)
{
    loaded l = {0};
    mltf_err err = {0};
    mltf_status st = load(&l, dir, argc > 0 ? argv[0] : NULL, NULL, &err);
    arch_output out = {0};
    if (st == MLTF_OK) {
        const arch_batch batch = {.n_seqs = 1, .start = (size_t[]){0, l.n}, .ids = l.ids};
        arch_session_tap(l.session, print_tap, NULL);
        st = arch_forward(l.session, &batch, ARCH_WANT_LOGITS, &out, &err);
    }
    return finish(&l, st, &err);
}

int parity_greedy(const char *dir, int argc, char **argv)
{
    loaded l = {0};
    mltf_err err = {0};
    mltf_status st = load(&l, dir, argc > 0 ? argv[0] : NULL, NULL, &err);
    gen_result res = {0};
    if (st == MLTF_OK) {
        gen_config cfg;
        json *kwargs = json_new_object(&l.arena);
        json_set(&l.arena, kwargs, "do_sample", json_new_bool(&l.arena, false));
        json_set(&l.arena, kwargs, "max_new_tokens",
                 json_new_int(&l.arena, argc > 1 ? atoi(argv[1]) : 32));
        // the eos ids that transformers' generate() takes from generation_config.json
        json *stored = NULL;
        char path[4096];
        snprintf(path, sizeof path, "%s/generation_config.json", dir);
        json_doc doc = JSON_DOC_INIT;
        gen_config_init(&cfg);
        if (json_parse_file(&doc, path, NULL, NULL) == MLTF_OK)
            stored = json_clone(&l.arena, doc.root);
        json_doc_release(&doc);
        if (stored) st = gen_config_merge(&cfg, stored, GEN_FROM_MODEL, &l.arena, &err);
        if (st == MLTF_OK) st = gen_config_merge(&cfg, kwargs, GEN_FROM_CALL, &l.arena, &err);
        const gen_request req = {.ids = l.ids, .n = l.n, .cfg = &cfg};
        if (st == MLTF_OK) st = gen_generate(l.session, &req, 1, &res, &err);
    }
    if (st == MLTF_OK && res.n == 1) {
        json *ids = json_new_array(&l.arena);
        for (size_t i = 0; i < res.seqs[0].n; i++)
            json_push(&l.arena, ids, json_new_int(&l.arena, res.seqs[0].ids[i]));
        print_json(&l.arena, ids);
        gen_result_release(&res);
    }
    return finish(&l, st, &err);
}
