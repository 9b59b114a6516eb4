/* What a model's pipeline is called with, beside the params of a request. */
#include "mlflow/load.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* Replace keys that `into` has. `from` may be NULL. Others are named in a warning. */
static void replace_known(mltf_model *m, json *into, const json *from)
{
    mltf_buf ignored = MLTF_BUF_INIT;
    for (size_t i = 0; json_is(from, JSON_OBJECT) && i < from->o.n; i++) {
        const json_member *x = &from->o.members[i];
        if (json_get_str(into, x->key)) {
            json_set_str(&m->arena, into, x->key, json_clone(&m->arena, &x->value));
            continue;
        }
        if (ignored.n) buf_puts(&ignored, ", ");
        buf_put_str(&ignored, x->key);
    }
    if (ignored.n && json_len(into) == 0)
        model_warn(m,
                   "Argument(s) %s were ignored since the model's ``pyfunc`` flavor doesn't accept "
                   "model configuration. Use "
                   "``model_config`` when logging the model to allow it.",
                   ignored.p);
    else if (ignored.n) {
        mltf_buf known = MLTF_BUF_INIT;
        for (size_t i = 0; i < json_len(into); i++) {
            if (i > 0) buf_puts(&known, ", ");
            buf_put_str(&known, into->o.members[i].key);
        }
        model_warn(m,
                   "Argument(s) %s were ignored since they are not valid keys in the corresponding "
                   "section of the ``pyfunc`` "
                   "flavor. Use ``model_config`` when logging the model to include the keys you "
                   "plan to indicate. Current "
                   "allowed configuration includes %s",
                   ignored.p, known.p ? known.p : "");
        mltf_buf_release(&known);
    }
    mltf_buf_release(&ignored);
}

mltf_status model_config_merge(mltf_model *m, const json *saved, const char *override_json,
                               mltf_err *err)
{
    json *config =
        json_is(saved, JSON_OBJECT) ? json_clone(&m->arena, saved) : json_new_object(&m->arena);
    json *from = NULL;
    // the caller's argument wins over the environment
    const char *env = getenv("MLFLOW_PYFUNC_INFERENCE_CONFIG");
    if (env && *env) {
        TRY(json_parse_object(&m->arena, &from, env, "MLFLOW_PYFUNC_INFERENCE_CONFIG", err));
        replace_known(m, config, from);
    }
    if (override_json && *override_json) {
        TRY(json_parse_object(&m->arena, &from, override_json, "the model config", err));
        replace_known(m, config, from);
    }
    char *old = path_join(m->dir, "components/inference_config.txt");
    if (!old) return mltf_fail_memory(err);
    if (file_exists(old)) {
        model_warn(m, "Inference config stored in file ``inference_config.txt`` is deprecated. New "
                      "logged models will store "
                      "the model configuration in the ``pyfunc`` flavor configuration.");
        json_doc doc = JSON_DOC_INIT;
        const mltf_status st = json_parse_file(&doc, old, NULL, err);
        if (st == MLTF_OK && json_is(doc.root, JSON_OBJECT))
            config = json_clone(&m->arena, doc.root);
        json_doc_release(&doc);
        if (st) {
            free(old);
            return st;
        }
    }
    free(old);
    m->config = config;
    return m->arena.failed ? mltf_fail_memory(err) : MLTF_OK;
}
