/* persist_pretrained_model: weights and components for a model that was saved by reference. New directories
 * come first and MLmodel last, so that a crash leaves the model as it was. */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "mlflow/load.h"
#include "mlflow/mlmodel.h"
#include "mlflow/save.h"

static const mltf_save_options no_options = {0};
static const save_identity nobody = {0};

static const char *const component_names[] = {"feature_extractor", "tokenizer", "image_processor"};

static void plan_components(save_plan *p, const json *flavor, const mltf_model *m)
{
    for (size_t i = 0; i < 3; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s_type", component_names[i]);
        const char *type = mlmodel_text(p->a, flavor, key);
        if (!type) continue;
        const char *dir = i == 1 && m->tokenizer_dir ? m->tokenizer_dir : m->model_dir;
        p->components[p->n_components++] = (save_component){component_names[i], type, dir};
    }
}

/* What describes the reference goes; the rest of the flavor stays. */
static void edit_flavor(mltf_arena *a, json *flavor)
{
    json_remove(flavor, "source_model_revision");
    json_remove(flavor, "local_base_model_path");
    for (size_t i = 0; i < 3; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s_name", component_names[i]);
        json_remove(flavor, key);
        snprintf(key, sizeof key, "%s_revision", component_names[i]);
        json_remove(flavor, key);
    }
    json_set(a, flavor, "model_binary", json_new_cstr(a, "model"));
}

static mltf_status move_in(const char *from, const char *to_dir, const char *name, mltf_err *err)
{
    char *src = path_join(from, name), *dst = path_join(to_dir, name);
    mltf_status st = src && dst ? MLTF_OK : mltf_fail_memory(err);
    if (st == MLTF_OK && dir_exists(src)) {
        st = dir_remove(dst, err); // left by an attempt that did not end
        if (st == MLTF_OK && rename(src, dst) != 0)
            st = mltf_fail(err, MLTF_IO, "could not move the weights to \"%s\"", dst);
    }
    free(src);
    free(dst);
    return st;
}

static mltf_status rewrite_mlmodel(save_plan *p, const mltf_model *m, mltf_err *err)
{
    json *root = json_clone(p->a, m->mlmodel);
    json *flavor = (json *)json_get(json_get(root, "flavors"), "transformers");
    const char *path = arena_printf(p->a, "%s/MLmodel", m->dir);
    if (!flavor || !path) return mltf_fail_memory(err);
    edit_flavor(p->a, flavor);
    uint64_t more = 0;
    const char *const parts[] = {"model", "components"};
    for (size_t i = 0; i < 2; i++) {
        const char *dir = arena_printf(p->a, "%s/%s", m->dir, parts[i]);
        uint64_t n = 0;
        if (dir && dir_exists(dir)) TRY(dir_size(&n, dir, err));
        more += n;
    }
    const int64_t before = json_int(json_get(root, "model_size_bytes"), 0);
    json_set(p->a, root, "model_size_bytes", json_new_int(p->a, before + (int64_t)more));
    return p->a->failed ? mltf_fail_memory(err) : mlmodel_write(path, root, err);
}

mltf_status model_persist(const char *dir, mltf_err *err)
{
    mltf_model *m = NULL;
    TRY(model_load_facts(&m, dir, NULL, err));
    mltf_arena a = MLTF_ARENA_INIT;
    const json *flavor = mlmodel_flavor(m->mlmodel, "transformers");
    save_plan p = {.a = &a,
                   .o = &no_options,
                   .id = &nobody,
                   .source = m->model_dir,
                   .model_src = m->model_dir};
    dir_txn txn = {0};
    mltf_status st = MLTF_OK;
    if (!flavor)
        st = mltf_fail(err, MLTF_NOT_FOUND, "Model does not have the \"transformers\" flavor");
    else if (json_get(flavor, "model_binary"))
        goto done; // has its weights: nothing to do
    if (st == MLTF_OK) {
        p.task = m->task;
        p.model_class = mlmodel_text(&a, flavor, "pipeline_model_type");
        plan_components(&p, flavor, m);
        const char *tmp = arena_printf(&a, "%s/.persist", m->dir);
        st = tmp ? dir_txn_begin(&txn, tmp, err) : mltf_fail_memory(err);
    }
    if (st == MLTF_OK) {
        p.out = txn.path;
        const char *model = arena_printf(&a, "%s/model", p.out);
        st = model ? save_write_weights(&p, model, err) : mltf_fail_memory(err);
        const char *existing = arena_printf(&a, "%s/components", m->dir);
        if (st == MLTF_OK && existing && !dir_exists(existing)) st = save_write_components(&p, err);
        if (st == MLTF_OK) st = move_in(p.out, m->dir, "components", err);
        if (st == MLTF_OK) st = move_in(p.out, m->dir, "model", err);
        if (st == MLTF_OK) st = dir_sync(m->dir, err);
        if (st == MLTF_OK) st = rewrite_mlmodel(&p, m, err);
        dir_txn_abort(&txn);
    }
done:
    arena_release(&a);
    model_free(m);
    return st;
}
