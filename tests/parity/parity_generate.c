/* parity --generate CHECKPOINT DTYPE: generate() for a comparison with the real library.
 *
 * stdin:  {"inputs": [[ids] …], "kwargs": {…}, "seed": 7, "assistant": DIR}      the last two may be missing
 * stdout: {"sequences": [[ids] …], "scores": [x …], "finish": [n …]} or {"error": "…"} */
#include <stdio.h>
#include <stdlib.h>

#include "gen/gen.h"
#include "parity.h"

static mltf_status read_all(mltf_buf *out, mltf_err *err)
{
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, stdin)) > 0) buf_append(out, piece, n);
    return buf_status(out, err);
}

typedef struct loaded {
    arch_model *m;
    arch_session *s;
} loaded;

static mltf_status load(loaded *l, const char *dir, const char *dtype, mltf_err *err)
{
    TRY(arch_model_load(&l->m, dir, &(arch_load_options){.torch_dtype = dtype}, err));
    return arch_session_new(&l->s, l->m, err);
}

static void unload(loaded *l)
{
    arch_session_free(l->s);
    arch_model_free(l->m);
}

static mltf_status run(const char *dir, const char *dtype, const json *task, mltf_arena *arena,
                       json *answer, mltf_err *err)
{
    loaded main_model = {0}, draft = {0};
    gen_config cfg;
    gen_result res = {0};
    char *draft_dir = NULL;
    const json *inputs = json_get(task, "inputs"), *assistant = json_get(task, "assistant");
    const size_t n = json_len(inputs);
    gen_request *reqs = arena_calloc(arena, n + 1, sizeof *reqs);
    gen_config_init(&cfg);
    mltf_status st = reqs ? load(&main_model, dir, dtype, err) : mltf_fail_memory(err);
    if (!st && json_is(assistant, JSON_STRING)) {
        draft_dir = arena_strdup(arena, assistant->s.p, assistant->s.n);
        st = load(&draft, draft_dir, dtype, err);
    }
    if (!st)
        st = gen_config_from_model_config(&cfg, arch_model_info(main_model.m)->config, arena, err);
    if (!st) st = gen_config_merge(&cfg, json_get(task, "kwargs"), GEN_FROM_CALL, arena, err);
    cfg.seed = json_int(json_get(task, "seed"), 0);
    for (size_t i = 0; i < n && !st; i++) {
        const json *row = json_at(inputs, i);
        int32_t *ids = arena_calloc(arena, json_len(row) + 1, sizeof *ids);
        for (size_t k = 0; ids && k < json_len(row); k++)
            ids[k] = (int32_t)json_int(json_at(row, k), 0);
        reqs[i] = (gen_request){.ids = ids, .n = json_len(row), .cfg = &cfg, .assistant = draft.s};
    }
    if (!st) st = gen_generate(main_model.s, reqs, n, &res, err);
    if (!st) {
        json *sequences = json_new_array(arena), *scores = json_new_array(arena),
             *finish = json_new_array(arena);
        for (size_t i = 0; i < res.n; i++) {
            json *ids = json_new_array(arena);
            for (size_t k = 0; k < res.seqs[i].n; k++)
                json_push(arena, ids, json_new_int(arena, res.seqs[i].ids[k]));
            json_push(arena, sequences, ids);
            json_push(arena, scores, json_new_double(arena, (double)res.seqs[i].score));
            json_push(arena, finish, json_new_int(arena, res.seqs[i].finish));
        }
        json_set(arena, answer, "sequences", sequences);
        json_set(arena, answer, "scores", scores);
        json_set(arena, answer, "finish", finish);
        gen_result_release(&res);
    }
    unload(&main_model);
    unload(&draft);
    return st;
}

int parity_generate(const char *dir, int argc, char **argv)
{
    mltf_err err = {0};
    mltf_buf text = MLTF_BUF_INIT, out = MLTF_BUF_INIT;
    json_doc task = JSON_DOC_INIT;
    mltf_arena arena = MLTF_ARENA_INIT;
    json *answer = json_new_object(&arena);
    mltf_status st = read_all(&text, &err);
    if (!st) st = json_parse(&task, text.p, text.n, NULL, &err);
    if (!st) st = run(dir, argc > 0 ? argv[0] : "float32", task.root, &arena, answer, &err);
    if (st) json_set(&arena, answer, "error", json_new_cstr(&arena, err.msg));
    json_write(&out, answer, NULL);
    puts(out.p ? out.p : "{}");
    mltf_buf_release(&out);
    mltf_buf_release(&text);
    json_doc_release(&task);
    arena_release(&arena);
    return st ? mltf_status_exit_code(st) : 0;
}
