/* The settings of a generating pipeline: what Pipeline.__init__ of transformers 4.57.6 makes of the
 * pipeline's own defaults, generation_config.json (or config.json) and task_specific_params.
 *
 * Order, last wins: library defaults < generation_config.json < the pipeline's defaults (max_new_tokens 256,
 * do_sample, temperature 0.7 / num_beams 4) < task_specific_params < arguments of the call. So a model cannot
 * switch sampling off, only the caller can. One exception: a max_length in generation_config.json other than
 * the library's 20 cancels the pipeline's max_new_tokens. */
#include "tasks/task.h"

#include <stdlib.h>

#include "base/file.h"

/* The model's own settings: generation_config.json, else what config.json says. */
static mltf_status model_settings(pipeline *p, gen_config *cfg, mltf_err *err)
{
    gen_config_init(cfg);
    const char *file = "generation_config.json";
    char *path = path_join(p->model_dir, file);
    if (!path) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    if (file_exists(path)) {
        json_doc doc = JSON_DOC_INIT;
        st = json_parse_file(&doc, path, NULL, err);
        if (!st) {
            p->generation = json_clone(&p->arena, doc.root);
            st = p->generation
                     ? gen_config_merge(cfg, p->generation, GEN_FROM_MODEL, &p->arena, err)
                     : mltf_fail_memory(err);
        }
        json_doc_release(&doc);
    } else {
        file = "config.json";
        st = gen_config_from_model_config(cfg, p->info->config, &p->arena, err);
    }
    if (!st) st = gen_config_validate_own(cfg, err);
    if (st) mltf_err_wrap(err, "could not read \"%s/%s\"", p->model_dir, file);
    free(path);
    return st;
}

/* "4.57.6": is it 4.50 or later? Also where nothing is said: the library then takes its own. */
static bool from_4_50(const json *version)
{
    const mltf_str s = json_string(version, STR("4.57"));
    unsigned part[2] = {0, 0};
    for (size_t i = 0, k = 0; i < s.n && k < 2; i++) {
        if (s.p[i] == '.')
            k++;
        else if (s.p[i] >= '0' && s.p[i] <= '9' && part[k] < 1000)
            part[k] = part[k] * 10 + (unsigned)(s.p[i] - '0');
    }
    return part[0] > 4 || (part[0] == 4 && part[1] >= 50);
}

/* The settings of every call: the model's, under them the pipeline's, over them task_specific_params. generate() itself
 * once more takes the model's value wherever the default stands: so a model with max_length and max_new_tokens keeps
 * the latter, which the pipeline had dropped. Models saved before 4.50 are spared that. */
mltf_status task_generation_init(pipeline *p, mltf_err *err)
{
    if (p->info->head != ARCH_HEAD_TABLE_QA) // TAPAS answers without generating
        TRY(gen_check_model(p->info, err));
    TRY(task_schedule_new(&p->schedule, p, err));
    TRY(model_settings(p, &p->model_gen, err));
    gen_config *g = &p->gen;
    gen_config_init(g);
    if (p->def->gen_defaults) {
        json *own = NULL;
        TRY(json_parse_in(&p->arena, &own, p->def->gen_defaults, strlen(p->def->gen_defaults), NULL,
                          err));
        TRY(gen_config_merge(g, own, GEN_FROM_PIPELINE, &p->arena, err));
    }
    const int64_t own_max_new = g->max_new_tokens;
    gen_config_inherit(g, &p->model_gen);
    if (g->temperature == 0.0) g->do_sample = false;
    if (own_max_new != GEN_NONE && g->max_new_tokens == own_max_new && g->max_length != GEN_NONE &&
        g->max_length != 20)
        g->max_new_tokens = GEN_NONE;

    p->prefix = json_string(json_get(p->info->config, "prefix"), (mltf_str){0});
    const json *params = json_get(json_get(p->info->config, "task_specific_params"), p->task);
    if (json_is(params, JSON_OBJECT)) {
        const json *prefix = json_get(params, "prefix");
        if (prefix) p->prefix = json_string(prefix, (mltf_str){0});
        TRY(gen_config_merge(g, params, GEN_FROM_PIPELINE, &p->arena, err));
    }
    if (from_4_50(p->model_gen.transformers_version)) gen_config_inherit(g, &p->model_gen);
    if (p->tk && g->pad_token_id == GEN_NONE) {
        const int32_t pad = tokenizer_special_id(p->tk, TOK_PAD);
        if (pad >= 0) g->pad_token_id = pad;
    }
    return MLTF_OK;
}

mltf_status pipeline_gen_config(const pipeline *p, const json *kwargs, gen_config *cfg,
                                mltf_arena *arena, mltf_err *err)
{
    // generation_config=None means the model's own settings, without the pipeline's
    const json *own = json_get(kwargs, "generation_config");
    *cfg = json_is(own, JSON_NULL) ? p->model_gen : p->gen;
    TRY(gen_config_merge(cfg, kwargs, GEN_FROM_CALL, arena, err));
    const mltf_status st = gen_config_validate(cfg, err);
    if (st != MLTF_INVALID_INPUT) return st;
    if (err) err->status = MLTF_PREDICT_FAILED; // a ValueError of transformers, not one of MLflow's
    return MLTF_PREDICT_FAILED;
}

mltf_status task_gen_config(const task_call *c, const json *generate_kwargs, gen_config *cfg,
                            mltf_err *err)
{
    return pipeline_gen_config(c->p, generate_kwargs, cfg, c->arena, err);
}

/* ---- running ---- */

/* Sequences that run together where the caller names no batch_size: enough to share the reading of the
 * weights, little enough for their KV caches. */
#define GEN_BATCH 16

static mltf_status give_results(const gen_config *cfg, const gen_result *results, size_t first,
                                size_t n, task_generated_fn fn, void *user, mltf_err *err)
{
    int64_t fill = cfg->pad_token_id;
    if (fill == GEN_NONE) fill = cfg->eos_token_id.n ? cfg->eos_token_id.p[0] : 0;
    for (size_t i = 0; i < n; i++) {
        task_generated g = {
            .prompt = first + i, .seqs = results[i].seqs, .n = results[i].n, .fill = (int32_t)fill};
        for (size_t k = 0; k < g.n; k++) {
            if (g.seqs[k].finish == GEN_FINISH_CANCELLED)
                return mltf_fail(err, MLTF_CANCELLED, "the call was cancelled");
            if (g.seqs[k].n > g.width) g.width = g.seqs[k].n;
        }
        TRY(fn(user, &g, err));
    }
    return MLTF_OK;
}

typedef struct token_offset {
    gen_token_fn fn;
    void *user;
    size_t first;
} token_offset;

static int on_batch_token(void *user, size_t which, const int32_t *ids, size_t n,
                          const gen_logprob *scores)
{
    const token_offset *o = user;
    (void)scores;
    return o->fn(o->user, o->first + which, ids, n);
}

mltf_status task_generate(const task_call *c, const gen_config *cfg, const task_seqs *prompts,
                          gen_token_fn on_token, void *token_user, task_generated_fn fn, void *user,
                          mltf_err *err)
{
    const int64_t beams =
        cfg->num_beams > cfg->num_return_sequences ? cfg->num_beams : cfg->num_return_sequences;
    size_t batch = beams > 0 && beams < GEN_BATCH ? GEN_BATCH / (size_t)beams : 1;
    if (c->batch_size) batch = c->batch_size;
    if (batch > prompts->n) batch = prompts->n;
    pipeline_prompt *list = arena_calloc(c->arena, batch ? batch : 1, sizeof *list);
    gen_result *results = arena_calloc(c->arena, batch ? batch : 1, sizeof *results);
    if (!list || !results) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    for (size_t first = 0; first < prompts->n && !st; first += batch) {
        const size_t n = prompts->n - first < batch ? prompts->n - first : batch;
        token_offset offset = {on_token, token_user, first};
        for (size_t i = 0; i < n; i++)
            list[i] = (pipeline_prompt){
                .ids = prompts->encs[first + i].ids, .n = prompts->encs[first + i].n, .cfg = cfg};
        TRY(task_check(c, err));
        TRY(pipeline_generate(c->p, list, n, c->ctl, on_token ? on_batch_token : NULL, &offset,
                              results, err));
        st = give_results(cfg, results, first, n, fn, user, err);
        for (size_t i = 0; i < n; i++) gen_result_release(&results[i]);
    }
    return st;
}
