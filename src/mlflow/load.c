#include "mlflow/load.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "formats/gguf.h"
#include "mlflow/adapter_folder.h"
#include "mlflow/hub_cache.h"
#include "mlflow/mlmodel.h"
#include "mlflow/wrapper.h"

/* ---- small facts --------------------------------------------------------------------------- */

bool is_llm_task(const char *task)
{
    return strncmp(task, "llm/v1", 6) == 0;
}

const char *native_task_of(mltf_arena *a, const char *task)
{
    if (strcmp(task, "llm/v1/chat") == 0 || strcmp(task, "llm/v1/completions") == 0)
        return "text-generation";
    if (strcmp(task, "llm/v1/embeddings") == 0) return "feature-extraction";
    if (strcmp(task, "conversational") == 0) return task;
    const task_info *info = task_find(task);
    if (!info) return NULL;
    return strncmp(task, "translation_", 12) == 0 ? arena_strdup(a, task, strlen(task))
                                                  : info->name;
}

mltf_status torch_dtype_name(const char **out, const char *given, mltf_err *err)
{
    static const char *const names[] = {"float32", "float16",       "bfloat16",    "float64",
                                        "float",   "half",          "double",      "int8",
                                        "uint8",   "float8_e4m3fn", "float8_e5m2", NULL};
    static const char *const same[] = {"float",  "float32", "half", "float16",
                                       "double", "float64", NULL};
    *out = NULL;
    if (!given) return MLTF_OK;
    const char *name = strncmp(given, "torch.", 6) == 0 ? given + 6 : given;
    for (int i = 0; names[i]; i++)
        if (strcmp(name, names[i]) == 0) *out = names[i];
    if (!*out)
        return mltf_fail(err, MLTF_INVALID_INPUT, "The value '%s' is not a valid torch.dtype",
                         given);
    for (int i = 0; same[i]; i += 2)
        if (strcmp(*out, same[i]) == 0) *out = same[i + 1];
    return MLTF_OK;
}

static const char *keep(mltf_model *m, const char *s)
{
    return s ? arena_strdup(&m->arena, s, strlen(s)) : NULL;
}

static const char *inside(mltf_model *m, const char *dir, const char *rel)
{
    return arena_printf(&m->arena, "%s/%s", dir, rel);
}

static bool has_file(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    const bool yes = path && file_exists(path);
    free(path);
    return yes;
}

static const char *base_name(const char *path)
{
    const char *end = path + strlen(path);
    while (end > path + 1 && end[-1] == '/') end--;
    const char *p = end;
    while (p > path && p[-1] != '/') p--;
    return p;
}

/* ---- where the parts lie ------------------------------------------------------------------- */

static mltf_status check_base(const char *dir, mltf_err *err)
{
    if (!dir_exists(dir))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The specified base_model_path '%s' does not exist or is not a directory. "
                         "Please provide a valid "
                         "path to the base model.",
                         dir);
    if (!has_file(dir, "config.json"))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The specified base_model_path '%s' is not a valid Transformers "
                         "checkpoint directory. Expected to "
                         "find a 'config.json' file in this directory.",
                         dir);
    return MLTF_OK;
}

static mltf_status from_hub(mltf_model *m, const char **dir, const char *repo, const char *revision,
                            mltf_err *err)
{
    mltf_buf path = MLTF_BUF_INIT;
    mltf_err why = {0};
    mltf_status st = hub_snapshot(&path, NULL, repo, revision, &why);
    if (st == MLTF_OK)
        *dir = keep(m, path.p);
    else if (st == MLTF_NOT_FOUND && revision)
        st = mltf_fail(err, MLTF_INTERNAL,
                       "The model was saved with a HuggingFace Hub repository name '%s'and a "
                       "commit hash '%s', but the commit "
                       "is not found in the repository. (%s)",
                       repo, revision, why.msg);
    else if (err)
        *err = why;
    mltf_buf_release(&path);
    return st;
}

static mltf_status find_weights(mltf_model *m, const json *flavor, const char *base_model_path,
                                mltf_err *err)
{
    const char *binary = mlmodel_text(&m->arena, flavor, "model_binary");
    const char *recorded = mlmodel_text(&m->arena, flavor, "local_base_model_path");
    if (base_model_path && !recorded)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "The `base_model_path` parameter can only be used with models that were saved with "
            "`base_model_path`. The specified model was not saved with a local base model path.");
    if (binary) {
        if (!path_is_inside(str_from(binary)))
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "MLmodel: model_binary \"%s\" leaves the model's directory", binary);
        m->model_dir = inside(m, m->dir, binary);
        if (!dir_exists(m->model_dir))
            return mltf_fail(err, MLTF_NOT_FOUND,
                             "the directory \"%s\" with the model's weights is missing",
                             m->model_dir);
        return MLTF_OK;
    }
    const char *old = inside(m, m->dir, "pipeline"); // releases before 2.4.1
    if (old && dir_exists(old)) {
        m->model_dir = old;
        return MLTF_OK;
    }
    if (recorded) {
        m->model_dir = keep(m, base_model_path ? base_model_path : recorded);
        return check_base(m->model_dir, err);
    }
    const char *revision = mlmodel_text(&m->arena, flavor, "source_model_revision");
    if (!revision)
        return mltf_fail(err, MLTF_INVALID_STATE,
                         "The model was saved with 'save_pretrained' set to False, but the commit "
                         "hash is not found in the "
                         "saved metadata. Loading the model with the different version may cause "
                         "inconsistency issue and "
                         "security risk.");
    return from_hub(m, &m->model_dir, m->name, revision, err);
}

static mltf_status find_tokenizer(mltf_model *m, const json *flavor, mltf_err *err)
{
    const char *local = inside(m, m->dir, "components/tokenizer");
    const char *repo = mlmodel_text(&m->arena, flavor, "tokenizer_name");
    if (local && dir_exists(local))
        m->tokenizer_dir = local;
    else if (repo)
        return from_hub(m, &m->tokenizer_dir, repo,
                        mlmodel_text(&m->arena, flavor, "tokenizer_revision"), err);
    return MLTF_OK;
}

/* ---- MLflow directories -------------------------------------------------------------------- */

static mltf_status read_mlflow(mltf_model *m, const mltf_open_options *o, mltf_err *err)
{
    mltf_arena *a = &m->arena;
    json *root = NULL;
    TRY(mlmodel_read(a, &root, m->dir, err));
    m->mlmodel = root;
    const json *flavor = mlmodel_flavor(root, "transformers");
    const json *pyfunc = mlmodel_flavor(root, "python_function");
    const json *metadata = json_get(root, "metadata");
    if (json_bool(json_get(metadata, "mlflow.model.isExternal"), false))
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         "This model's artifacts are external and are not stored in the model "
                         "directory. This model cannot "
                         "be loaded with MLflow.");
    if (!flavor)
        return mltf_fail(err, MLTF_NOT_FOUND, "Model does not have the \"transformers\" flavor");
    m->pyfunc = pyfunc != NULL;
    m->task = mlmodel_text(a, flavor, "task");
    if (!m->task)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "MLmodel: the transformers flavor of \"%s\" names no task", m->dir);
    m->inference_task = mlmodel_text(a, flavor, "inference_task");
    m->name = mlmodel_text(a, flavor, "source_model_name");
    if (!m->name) m->name = "";
    m->instance_type = mlmodel_text(a, flavor, "instance_type");
    m->prompt_template = mlmodel_text(a, metadata, "prompt_template");
    TRY(signature_parse(a, &m->sig, json_get(root, "signature"), err));
    TRY(find_weights(m, flavor, o->base_model_path, err));
    TRY(find_tokenizer(m, flavor, err));
    const char *adapter = mlmodel_text(a, flavor, "peft_adaptor");
    if (adapter) {
        if (!path_is_inside(str_from(adapter)))
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "MLmodel: peft_adaptor \"%s\" leaves the model's directory", adapter);
        const char *dir = inside(m, m->dir, adapter);
        TRY(dir ? adapter_choose(a, &m->adapter_dir, dir, err) : mltf_fail_memory(err));
        if (!m->adapter_dir)
            return mltf_fail(err, MLTF_NOT_FOUND, "\"%s\" holds no adapter_config.json", dir);
    }
    const char *given =
        o->model_config_json ? o->model_config_json : getenv("SERVING_MODEL_CONFIG");
    return model_config_merge(m, json_get(pyfunc, "config"), given, err);
}

/* ---- bare checkpoints ---------------------------------------------------------------------- */

/* Or several, which read_checkpoint() refuses. */
static bool holds_adapter(const char *dir)
{
    dir_list folders = {0};
    const bool yes =
        adapter_here(dir) || (adapter_folders(&folders, dir, NULL) == MLTF_OK && folders.n > 0);
    dir_list_free(&folders);
    return yes;
}

static mltf_status read_checkpoint(mltf_model *m, const mltf_open_options *o, mltf_err *err)
{
    mltf_arena *a = &m->arena;
    m->model_dir = m->dir;
    const char *root = pipeline_model_root(m->dir, a);
    if (!root) return mltf_fail_memory(err);
    if (!has_file(root, "config.json") && has_file(m->dir, "modules.json") &&
        !holds_adapter(m->dir))
        return mltf_fail(
            err, MLTF_UNSUPPORTED,
            "modules.json of \"%s\" names no Transformer with a config.json: folders of "
            "sentence-transformers without one are not supported",
            m->dir);
    if (!has_file(root, "config.json")) {
        TRY(adapter_choose(a, &m->adapter_dir, m->dir, err));
        if (!o->base_model_path)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "\"%s\" holds an adapter alone; give its base with base_model_path",
                             m->dir);
        TRY(check_base(o->base_model_path, err));
        root = m->model_dir = keep(m, o->base_model_path);
        if (has_file(m->dir, "tokenizer_config.json")) m->tokenizer_dir = m->dir;
    }
    m->name = keep(m, base_name(m->dir));
    m->pyfunc = true;
    json_doc doc = JSON_DOC_INIT;
    char *path = path_join(root, "config.json");
    if (!path) return mltf_fail_memory(err);
    const mltf_status st = json_parse_file(&doc, path, NULL, err);
    free(path);
    const mltf_str arch = json_string(json_at(json_get(doc.root, "architectures"), 0), STR(""));
    const char *found =
        st == MLTF_OK && arch.n ? task_from_architecture(arena_strdup(a, arch.p, arch.n)) : NULL;
    json_doc_release(&doc);
    if (st) return st;
    const char *task = o->task ? o->task : found;
    if (!task)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "the task of \"%s\" cannot be told from its config.json; give one with --task", m->dir);
    m->task = native_task_of(a, task);
    if (!m->task) return mltf_fail(err, MLTF_INVALID_INPUT, "unknown task \"%s\"", task);
    if (is_llm_task(task)) {
        m->inference_task = keep(m, task);
        signature_llm(a, &m->sig, task);
    } else
        signature_default(a, &m->sig, m->task);
    // Nothing was saved, so a given config is the config.
    json *config = NULL;
    if (o->model_config_json)
        TRY(json_parse_object(a, &config, o->model_config_json, "the model config", err));
    m->config = config ? config : json_new_object(a);
    return MLTF_OK;
}

/* ---- all together -------------------------------------------------------------------------- */

static mltf_status load_pipeline(mltf_model *m, const mltf_open_options *o, mltf_err *err)
{
    const char *recorded =
        mlmodel_text(&m->arena, mlmodel_flavor(m->mlmodel, "transformers"), "torch_dtype");
    const char *dtype = NULL;
    TRY(torch_dtype_name(&dtype, o->torch_dtype ? o->torch_dtype : recorded, err));
    if (dtype && strcmp(dtype, "float64") == 0)
        dtype = "float32"; // computed in 32 bits (docs/differences.md)
    TRY(pool_new(&m->pool, o->threads, err));
    pipeline_options po = {
        .task = strcmp(m->task, "conversational") == 0 ? "text-generation" : m->task,
        .model_dir = m->model_dir,
        .tokenizer_dir = m->tokenizer_dir,
        .arch = {.pool = m->pool,
                 .torch_dtype = dtype,
                 .quantize = o->quantize,
                 .adapter_dir = m->adapter_dir,
                 .progress = o->progress,
                 .progress_user = o->progress_user},
    };
    TRY(pipeline_load(&m->pipe, &po, err));
    if (!m->instance_type) m->instance_type = pipeline_class(m->pipe);
    return MLTF_OK;
}

static mltf_status load(mltf_model **out, const char *dir, const mltf_open_options *opts,
                        bool weights, mltf_err *err)
{
    static const mltf_open_options none = {0};
    const mltf_open_options *o = opts ? opts : &none;
    *out = NULL;
    mltf_model *m = calloc(1, sizeof *m);
    if (!m) return mltf_fail_memory(err);
    if (pthread_mutex_init(&m->lock, NULL) != 0) {
        free(m);
        return mltf_fail_memory(err);
    }
    m->log = o->log;
    m->log_user = o->log_user;
    m->dir = keep(m, dir);
    mltf_status st;
    if (!m->dir)
        st = mltf_fail_memory(err);
    else if (has_file(dir, "MLmodel"))
        st = read_mlflow(m, o, err);
    else if (has_file(dir, "config.json") || has_file(dir, "modules.json") || holds_adapter(dir))
        st = read_checkpoint(m, o, err);
    else if ((st = gguf_refuse(dir, err)) == MLTF_OK)
        st = mltf_fail(err, MLTF_NOT_FOUND,
                       "Could not find an \"MLmodel\" configuration file at \"%s\"", dir);
    if (st == MLTF_OK && weights) st = load_pipeline(m, o, err);
    if (st == MLTF_OK && m->arena.failed) st = mltf_fail_memory(err);
    if (st) {
        model_free(m);
        return st;
    }
    *out = m;
    return MLTF_OK;
}

mltf_status model_load(mltf_model **out, const char *dir, const mltf_open_options *opts,
                       mltf_err *err)
{
    return load(out, dir, opts, true, err);
}

mltf_status model_load_facts(mltf_model **out, const char *dir, const mltf_open_options *opts,
                             mltf_err *err)
{
    return load(out, dir, opts, false, err);
}

void model_free(mltf_model *m)
{
    if (!m) return;
    conversations_free(m);
    pipeline_free(m->pipe);
    pool_free(m->pool);
    pthread_mutex_destroy(&m->lock);
    arena_release(&m->arena);
    free(m);
}
