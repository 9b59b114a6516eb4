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
    char *path = path_join(p->model_dir, "generation_config.json");
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
        if (st) mltf_err_wrap(err, "could not read \"%s\"", path);
    } else {
        st = gen_config_from_model_config(cfg, p->info->config, &p->arena, err);
    }
    free(path);
    return st;
}

mltf_status task_generation_init(pipeline *p, mltf_err *err)
{
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
    if (p->tk && g->pad_token_id == GEN_NONE) {
        const int32_t pad = tokenizer_special_id(p->tk, TOK_PAD);
        if (pad >= 0) g->pad_token_id = pad;
    }
    return MLTF_OK;
}

mltf_status task_gen_config(const task_call *c, const json *generate_kwargs, gen_config *cfg,
                            mltf_err *err)
{
    *cfg = c->p->gen;
    TRY(gen_config_merge(cfg, generate_kwargs, GEN_FROM_CALL, c->arena, err));
    const mltf_status st = gen_config_validate(cfg, err);
    if (st != MLTF_INVALID_INPUT) return st;
    if (err) err->status = MLTF_PREDICT_FAILED; // a ValueError of transformers, not one of MLflow's
    return MLTF_PREDICT_FAILED;
}

/* ---- running ---- */

/* Sequences that run together where the caller names no batch_size: enough to share the reading of the
 * weights, little enough for their KV caches. */
#define GEN_BATCH 16

typedef struct token_hook {
    const task_call *c;
    gen_token_fn fn;
    void *user;
    size_t first; /* prompt number of request 0 */
    bool timed_out;
} token_hook;

static int on_token_hook(void *user, size_t request, const int32_t *ids, size_t n)
{
    token_hook *h = user;
    if (task_check(h->c, NULL)) {
        h->timed_out = h->c->ctl->deadline > 0 && !(h->c->ctl->cancel && *h->c->ctl->cancel);
        return 1;
    }
    return h->fn ? h->fn(h->user, h->first + request, ids, n) : 0;
}

static mltf_status give_results(const task_call *c, const gen_config *cfg, const gen_result *res,
                                size_t first, size_t n, task_generated_fn fn, void *user,
                                mltf_err *err)
{
    const size_t each = n ? res->n / n : 0;
    int64_t fill = cfg->pad_token_id;
    if (fill == GEN_NONE) fill = cfg->eos_token_id.n ? cfg->eos_token_id.p[0] : 0;
    for (size_t i = 0; i < n; i++) {
        task_generated g = {
            .prompt = first + i, .seqs = res->seqs + i * each, .n = each, .fill = (int32_t)fill};
        for (size_t k = 0; k < each; k++) {
            if (g.seqs[k].finish == GEN_FINISH_CANCELLED)
                return mltf_fail(err, MLTF_CANCELLED, "the call was cancelled");
            if (g.seqs[k].n > g.width) g.width = g.seqs[k].n;
        }
        TRY(fn(user, &g, err));
    }
    (void)c;
    return MLTF_OK;
}

mltf_status task_generate(const task_call *c, const gen_config *cfg, const task_seqs *prompts,
                          gen_token_fn on_token, void *token_user, task_generated_fn fn, void *user,
                          mltf_err *err)
{
    if (prompts->n == 0) return MLTF_OK;
    const int64_t beams =
        cfg->num_beams > cfg->num_return_sequences ? cfg->num_beams : cfg->num_return_sequences;
    size_t batch = beams > 0 && beams < GEN_BATCH ? GEN_BATCH / (size_t)beams : 1;
    if (c->batch_size) batch = c->batch_size;
    if (batch > prompts->n) batch = prompts->n;

    arch_session *session = NULL;
    gen_request *reqs = arena_calloc(c->arena, batch, sizeof *reqs);
    if (!reqs) return mltf_fail_memory(err);
    TRY(pipeline_session_take(c->p, &session, err));
    mltf_status st = MLTF_OK;
    token_hook hook = {.c = c, .fn = on_token, .user = token_user};
    const bool hooked = on_token || c->ctl->deadline > 0;
    for (size_t first = 0; first < prompts->n && !st; first += batch) {
        const size_t n = prompts->n - first < batch ? prompts->n - first : batch;
        for (size_t i = 0; i < n; i++) {
            const tok_encoding *e = &prompts->encs[first + i];
            reqs[i] = (gen_request){.ids = e->ids,
                                    .n = e->n,
                                    .cfg = cfg,
                                    .tk = c->p->tk,
                                    .on_token = hooked ? on_token_hook : NULL,
                                    .user = &hook,
                                    .cancel = c->ctl->cancel};
        }
        hook.first = first;
        gen_result res = {0};
        st = task_check(c, err);
        if (!st) st = gen_generate(session, reqs, n, &res, err);
        if (!st) st = give_results(c, cfg, &res, first, n, fn, user, err);
        gen_result_release(&res);
        if (st == MLTF_CANCELLED && hook.timed_out) st = task_check(c, err);
        if (st == MLTF_INVALID_INPUT) { // an error of generate() itself
            st = MLTF_PREDICT_FAILED;
            if (err) err->status = st;
        }
    }
    pipeline_session_give(c->p, session);
    return st;
}
