/* parity --generate CHECKPOINT DTYPE: generate() for a comparison with the real library.
 *
 * stdin, one object a line; only `inputs` must be there:
 *     {"inputs": [[ids] …], "kwargs": {…}, "seed": 7, "assistant": DIR, "negative": [[ids] …],
 *      "decoder": [[ids] …], "output_scores": true, "response_format": {…}}
 * stdout, one object a line:
 *     {"sequences": [[ids] …], "scores": [x …], "finish": [n …], "texts": [what was generated …],
 *      "steps": [[input, row, step, [score or null for -inf …]] …]}           or {"error": "…"}
 * Settings that are not in kwargs are the checkpoint's own. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gen/constraint.h"
#include "parity.h"

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
    *l = (loaded){0};
}

typedef struct step_list {
    mltf_arena *arena;
    json *steps;
    size_t input;
} step_list;

static void keep_scores(void *user, size_t row, size_t step, const float *scores, size_t vocab)
{
    step_list *l = user;
    json *entry = json_new_array(l->arena), *values = json_new_array(l->arena);
    json_push(l->arena, entry, json_new_int(l->arena, (int64_t)l->input));
    json_push(l->arena, entry, json_new_int(l->arena, (int64_t)row));
    json_push(l->arena, entry, json_new_int(l->arena, (int64_t)step));
    for (size_t i = 0; i < vocab; i++)
        json_push(l->arena, values, json_new_double(l->arena, (double)scores[i]));
    json_push(l->arena, entry, values);
    json_push(l->arena, l->steps, entry);
}

static int32_t *read_ids(const json *row, size_t *n, mltf_arena *arena)
{
    int32_t *ids = arena_calloc(arena, json_len(row) + 1, sizeof *ids);
    *n = ids ? json_len(row) : 0;
    for (size_t k = 0; k < *n; k++) ids[k] = (int32_t)json_int(json_at(row, k), 0);
    return ids;
}

static void write_texts(json *answer, const gen_result *res, const tokenizer *tk, mltf_arena *arena)
{
    json *texts = json_new_array(arena);
    for (size_t i = 0; i < res->n; i++) {
        const gen_sequence *q = &res->seqs[i];
        mltf_buf text = MLTF_BUF_INIT;
        (void)tokenizer_decode(tk, &text, q->ids + q->n_prompt, q->n - q->n_prompt, true, 0, NULL);
        json_push(arena, texts, json_new_string(arena, buf_str(&text)));
        mltf_buf_release(&text);
    }
    json_set(arena, answer, "texts", texts);
}

static void write_result(json *answer, const gen_result *res, mltf_arena *arena)
{
    json *sequences = json_new_array(arena), *scores = json_new_array(arena),
         *finish = json_new_array(arena);
    for (size_t i = 0; i < res->n; i++) {
        json *ids = json_new_array(arena);
        for (size_t k = 0; k < res->seqs[i].n; k++)
            json_push(arena, ids, json_new_int(arena, res->seqs[i].ids[k]));
        json_push(arena, sequences, ids);
        json_push(arena, scores, json_new_double(arena, (double)res->seqs[i].score));
        json_push(arena, finish, json_new_int(arena, res->seqs[i].finish));
    }
    json_set(arena, answer, "sequences", sequences);
    json_set(arena, answer, "scores", scores);
    json_set(arena, answer, "finish", finish);
}

static mltf_status run(const loaded *main_model, const tokenizer *tk, const char *dir,
                       const char *dtype, const json *task, mltf_arena *arena, json *answer,
                       mltf_err *err)
{
    const json *inputs = json_get(task, "inputs"), *assistant = json_get(task, "assistant");
    const size_t n = json_len(inputs);
    loaded draft = {0};
    gen_config cfg;
    gen_result res = {0};
    gen_trie *trie = NULL;
    gen_constraint *constraint = NULL;
    const json *format = json_get(task, "response_format");
    gen_request *reqs = arena_calloc(arena, n + 1, sizeof *reqs);
    step_list *lists = arena_calloc(arena, n + 1, sizeof *lists);
    if (!reqs || !lists) return mltf_fail_memory(err);
    json *steps = json_new_array(arena);
    if (json_is(assistant, JSON_STRING))
        TRY(load(&draft, arena_strdup(arena, assistant->s.p, assistant->s.n), dtype, err));
    mltf_status st = parity_generation_settings(&cfg, dir, main_model->m, arena, err);
    if (!st) st = gen_config_merge(&cfg, json_get(task, "kwargs"), GEN_FROM_CALL, arena, err);
    cfg.seed = json_int(json_get(task, "seed"), 0);
    if (!st && format) st = gen_trie_new(&trie, tk, arch_model_info(main_model->m)->vocab, err);
    if (!st && format) st = gen_constraint_response_format(&constraint, trie, format, err);
    for (size_t i = 0; i < n && !st; i++) {
        gen_request *q = &reqs[i];
        *q = (gen_request){.cfg = &cfg, .assistant = draft.s, .tk = tk, .constraint = constraint};
        q->ids = read_ids(json_at(inputs, i), &q->n, arena);
        q->negative_ids = read_ids(json_at(json_get(task, "negative"), i), &q->n_negative, arena);
        q->decoder_ids = read_ids(json_at(json_get(task, "decoder"), i), &q->n_decoder, arena);
        if (!json_bool(json_get(task, "output_scores"), false)) continue;
        lists[i] = (step_list){arena, steps, i};
        q->on_scores = keep_scores;
        q->scores_user = &lists[i];
    }
    if (!st) st = gen_generate(main_model->s, reqs, n, &res, err);
    if (!st) {
        write_result(answer, &res, arena);
        if (format) write_texts(answer, &res, tk, arena);
        if (json_len(steps)) json_set(arena, answer, "steps", steps);
        gen_result_release(&res);
    }
    gen_constraint_free(constraint);
    gen_trie_free(trie);
    unload(&draft);
    return st;
}

int parity_generate(const char *dir, int argc, char **argv)
{
    const char *dtype = argc > 0 ? argv[0] : "float32";
    mltf_err err = {0};
    loaded main_model = {0};
    tokenizer *tk = NULL;
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    mltf_status loading = load(&main_model, dir, dtype, &err), last = loading;
    if (!loading) (void)tokenizer_load(&tk, dir, NULL); // only stop strings need one
    while ((n = getline(&line, &cap, stdin)) > 0) {
        mltf_buf out = MLTF_BUF_INIT;
        json_doc task = JSON_DOC_INIT;
        mltf_arena arena = MLTF_ARENA_INIT;
        json *answer = json_new_object(&arena);
        last = loading;
        if (!last) last = json_parse(&task, line, (size_t)n, NULL, &err);
        if (!last) last = run(&main_model, tk, dir, dtype, task.root, &arena, answer, &err);
        if (last) json_set(&arena, answer, "error", json_new_cstr(&arena, err.msg));
        json_write(&out, answer, &(json_write_options){.nan_as_null = true});
        puts(out.p ? out.p : "{}");
        fflush(stdout);
        mltf_buf_release(&out);
        json_doc_release(&task);
        arena_release(&arena);
    }
    free(line);
    tokenizer_free(tk);
    unload(&main_model);
    return last ? mltf_status_exit_code(last) : 0;
}
