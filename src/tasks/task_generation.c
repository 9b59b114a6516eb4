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
