#include "mlflow/save.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "formats/checkpoint.h"
#include "formats/gguf.h"
#include "mlflow/adapter_folder.h"
#include "mlflow/environment.h"
#include "mlflow/hub_cache.h"
#include "mlflow/input_example.h"
#include "mlflow/load.h"
#include "mlflow/mlmodel.h"
#include "mlflow/model_card.h"
#include "mlflow/prompt_template.h"
#include "mlflow/wrapper.h"

static const mltf_save_options no_options = {0};
static const save_identity nobody = {0};

static void warn(const save_plan *p, const char *text)
{
    if (p->o->log) p->o->log(p->o->log_user, text);
}

static const char *keep(save_plan *p, const char *s)
{
    return s ? arena_strdup(p->a, s, strlen(s)) : NULL;
}

/* ---- checks of the options alone ----------------------------------------------------------- */

static mltf_status parse_layout(save_layout *out, const char *layout, mltf_err *err)
{
    *out = LAYOUT_PIPELINE;
    if (!layout || strcmp(layout, "pipeline") == 0) return MLTF_OK;
    if (strcmp(layout, "components") == 0)
        *out = LAYOUT_COMPONENTS;
    else if (strcmp(layout, "checkpoint") == 0)
        *out = LAYOUT_CHECKPOINT;
    else
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "layout must be pipeline, components or checkpoint, not \"%s\"", layout);
    return MLTF_OK;
}

static mltf_status parse_object(mltf_arena *a, json **out, const char *text, const char *what,
                                mltf_err *err)
{
    if (!text) {
        *out = json_new_object(a);
        return *out ? MLTF_OK : mltf_fail_memory(err);
    }
    return json_parse_object(a, out, text, what, err);
}

static environment_options environment_of(const mltf_save_options *o, const save_identity *id,
                                          bool peft)
{
    return (environment_options){.pip_requirements = o->pip_requirements,
                                 .extra_pip_requirements = o->extra_pip_requirements,
                                 .conda_env_path = o->conda_env_path,
                                 .conda_env = id->conda_env,
                                 .peft = peft};
}

mltf_status save_options_check(const char *source, const mltf_save_options *opts, mltf_err *err)
{
    const mltf_save_options *o = opts ? opts : &no_options;
    save_layout layout;
    const environment_options env = environment_of(o, &nobody, false);
    TRY(environment_check(&env, err));
    TRY(parse_layout(&layout, o->layout, err));
    if (layout == LAYOUT_CHECKPOINT && !o->task)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The `task` argument must be specified when logging a model from a local "
                         "checkpoint. Please provide "
                         "the task type of the pipeline.");
    if (layout == LAYOUT_CHECKPOINT && o->reference_only)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The `save_pretrained` argument must be set to True when logging a model "
                         "from a local checkpoint. "
                         "Please set `save_pretrained=True`.");
    const char *dtype;
    TRY(torch_dtype_name(&dtype, o->torch_dtype, err));
    uint64_t size;
    if (o->max_shard_size) TRY(save_parse_size(&size, o->max_shard_size, err));
    if (!source || !*source) return mltf_fail(err, MLTF_INVALID_INPUT, "no checkpoint given");
    return MLTF_OK;
}

/* ---- what is it ---------------------------------------------------------------------------- */

static mltf_status find_source(save_plan *p, mltf_err *err)
{
    p->name = p->id->source_name ? p->id->source_name : p->checkpoint;
    if (dir_exists(p->checkpoint)) {
        p->source = p->checkpoint;
        return MLTF_OK;
    }
    TRY(gguf_refuse(p->checkpoint, err));
    mltf_buf dir = MLTF_BUF_INIT, commit = MLTF_BUF_INIT;
    mltf_err why = {0};
    mltf_status st = MLTF_NOT_FOUND;
    if (hub_is_repo_id(p->checkpoint)) st = hub_snapshot(&dir, &commit, p->checkpoint, NULL, &why);
    if (st == MLTF_OK) {
        p->source = keep(p, dir.p);
        p->repo = p->checkpoint;
        p->commit = keep(p, commit.p);
    } else
        st = mltf_fail(err, MLTF_INVALID_INPUT,
                       "The provided directory %s does not contain a config.json file.Please "
                       "ensure that the directory "
                       "contains a valid transformers model checkpoint.%s%s%s",
                       p->checkpoint, why.status ? " (" : "", why.status ? why.msg : "",
                       why.status ? ")" : "");
    mltf_buf_release(&dir);
    mltf_buf_release(&commit);
    return st;
}

static mltf_status check_base_path(const char *dir, mltf_err *err)
{
    if (!dir_exists(dir))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The specified base_model_path '%s' does not exist or is not a directory. "
                         "Please provide a valid path "
                         "to the base model.",
                         dir);
    if (!save_has_file(dir, "config.json"))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The specified base_model_path '%s' is not a valid Transformers "
                         "checkpoint directory. Expected to find "
                         "a 'config.json' file in the directory.",
                         dir);
    return MLTF_OK;
}

/* An adapter's base: given by path, or as its config names it: a directory, or a repository of the cache. */
static mltf_status find_base(save_plan *p, mltf_err *err)
{
    if (p->o->base_model_path) {
        char *full = realpath(p->o->base_model_path, NULL);
        p->model_src = keep(p, full ? full : p->o->base_model_path);
        free(full);
        p->local_base = true;
        return check_base_path(p->model_src, err);
    }
    json_doc doc = JSON_DOC_INIT;
    char *path = path_join(p->adapter, "adapter_config.json");
    mltf_status st = path ? json_parse_file(&doc, path, NULL, err) : mltf_fail_memory(err);
    free(path);
    const mltf_str named = json_string(json_get(doc.root, "base_model_name_or_path"), STR(""));
    const char *base = st == MLTF_OK ? arena_strdup(p->a, named.p, named.n) : NULL;
    json_doc_release(&doc);
    if (st) return st;
    if (!base || !*base)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "the adapter in \"%s\" does not name its base; give --base-model-path",
                         p->adapter);
    if (!p->id->source_name) p->name = base;
    if (dir_exists(base)) {
        p->model_src = base;
        return MLTF_OK;
    }
    mltf_buf dir = MLTF_BUF_INIT, commit = MLTF_BUF_INIT;
    st = hub_snapshot(&dir, &commit, base, NULL, err);
    if (st == MLTF_OK) {
        p->model_src = keep(p, dir.p);
        p->repo = base;
        p->commit = keep(p, commit.p);
        p->by_reference = true;
    } else
        mltf_err_wrap(err, "the adapter's base model was not found; give --base-model-path");
    mltf_buf_release(&dir);
    mltf_buf_release(&commit);
    return st;
}

static mltf_status identify(save_plan *p, mltf_err *err)
{
    TRY(find_source(p, err));
    p->model_src = p->source;
    if (!save_has_file(p->source, "config.json"))
        TRY(adapter_choose(p->a, &p->adapter, p->source, err));
    if (p->adapter) return find_base(p, err);
    if (p->o->base_model_path)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The `base_model_path` parameter is only supported for PEFT models. The "
                         "provided model is not a PEFT "
                         "model.");
    if (!save_has_file(p->source, "config.json"))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The provided directory %s does not contain a config.json file.Please "
                         "ensure that the directory "
                         "contains a valid transformers model checkpoint.",
                         p->checkpoint);
    if (p->o->reference_only) {
        if (p->repo)
            p->by_reference = true;
        else
            warn(p, "The specified model is not a repository of the Hugging Face Hub, so that it "
                    "cannot be saved by reference; its "
                    "weights are saved.");
    }
    return MLTF_OK;
}

/* ---- task and classes ---------------------------------------------------------------------- */

static mltf_status not_a_pipeline(mltf_err *err, const char *why)
{
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "The provided model configuration cannot be created as a Pipeline. Please "
                     "verify that all required and "
                     "compatible components are specified with the correct keys. (%s)",
                     why);
}

static const char *first_architecture(save_plan *p, mltf_err *err, mltf_status *st)
{
    json_doc doc = JSON_DOC_INIT;
    char *path = path_join(p->model_src, "config.json");
    *st = path ? json_parse_file(&doc, path, NULL, err) : mltf_fail_memory(err);
    free(path);
    const mltf_str s = json_string(json_at(json_get(doc.root, "architectures"), 0), STR(""));
    const char *name = *st == MLTF_OK && s.n ? arena_strdup(p->a, s.p, s.n) : NULL;
    json_doc_release(&doc);
    return name;
}

static mltf_status check_llm_task(const char *llm, const char *native, mltf_err *err)
{
    const bool text = strcmp(native, "text-generation") == 0,
               features = strcmp(native, "feature-extraction") == 0;
    if (text && (strcmp(llm, "llm/v1/chat") == 0 || strcmp(llm, "llm/v1/completions") == 0))
        return MLTF_OK;
    if (features && strcmp(llm, "llm/v1/embeddings") == 0) return MLTF_OK;
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "The task provided is invalid. '%s' is not a supported task for the %s "
                     "pipeline. Must be one of %s",
                     llm, native,
                     text       ? "['llm/v1/completions', 'llm/v1/chat']"
                     : features ? "['llm/v1/embeddings']"
                                : "[]");
}

static mltf_status settle_task(save_plan *p, mltf_err *err)
{
    mltf_status st;
    const char *arch = first_architecture(p, err, &st);
    if (st) return st;
    p->model_class = arch;
    const char *task = p->o->task && *p->o->task ? p->o->task : NULL;
    if (task && is_llm_task(task)) {
        p->llm_task = task;
        const char *native =
            p->id->pipeline_task ? p->id->pipeline_task : native_task_of(p->a, task);
        p->task = native_task_of(p->a, native ? native : "text-generation");
        return check_llm_task(task, p->task ? p->task : "text-generation", err);
    }
    if (!task) task = p->id->pipeline_task;
    if (!task && p->layout == LAYOUT_COMPONENTS && !p->repo)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The task could not be inferred from the model. If you are saving a "
                         "custom local model that is not "
                         "available in the Hugging Face hub, please provide the `task` argument to "
                         "the `log_model` or "
                         "`save_model` function.");
    if (!task && arch) task = task_from_architecture(arch);
    if (!task)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The task could not be inferred from the model (architecture %s). Please "
                         "provide the `task` argument.",
                         arch ? arch : "unknown");
    p->task = native_task_of(p->a, task);
    if (!p->task) {
        char why[200];
        snprintf(why, sizeof why, "unknown task %.150s", task);
        return not_a_pipeline(err, why);
    }
    return MLTF_OK;
}

static const char *component_class(save_plan *p, const char *dir, const char *file, const char *key)
{
    json_doc doc = JSON_DOC_INIT;
    char *path = path_join(dir, file);
    const char *name = NULL;
    if (path && file_exists(path) && json_parse_file(&doc, path, NULL, NULL) == MLTF_OK) {
        const mltf_str s = json_string(json_get(doc.root, key), STR(""));
        if (s.n) name = arena_strdup(p->a, s.p, s.n);
    }
    free(path);
    json_doc_release(&doc);
    return name;
}

static bool starts_with_any(const char *task, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(task, *list) == 0) return true;
    return false;
}

/* Pipelines of sounds and images load no tokenizer, those of text no preprocessor. */
static mltf_status find_components(save_plan *p, mltf_err *err)
{
    static const char *const no_tokenizer[] = {"audio-classification",
                                               "image-classification",
                                               "image-segmentation",
                                               "object-detection",
                                               "depth-estimation",
                                               "video-classification",
                                               "image-to-image",
                                               "image-feature-extraction",
                                               "mask-generation",
                                               "keypoint-matching",
                                               NULL};
    const char *features =
        component_class(p, p->model_src, "preprocessor_config.json", "feature_extractor_type");
    const char *images =
        component_class(p, p->model_src, "preprocessor_config.json", "image_processor_type");
    const bool checkpoint_string = p->layout == LAYOUT_CHECKPOINT;
    if (features && !images && !checkpoint_string)
        p->components[p->n_components++] =
            (save_component){"feature_extractor", features, p->model_src};
    if (!starts_with_any(p->task, no_tokenizer)) {
        const char *dir = p->adapter && save_has_tokenizer(p->source) ? p->source : p->model_src;
        tokenizer *tk = NULL;
        mltf_err why = {0};
        mltf_status st = save_has_tokenizer(dir) ? tokenizer_load(&tk, dir, &why) : MLTF_NOT_FOUND;
        const char *class_name = st == MLTF_OK ? keep(p, tokenizer_class(tk)) : NULL;
        tokenizer_free(tk);
        if (st == MLTF_UNSUPPORTED || (st == MLTF_NOT_FOUND && save_has_tokenizer(dir))) {
            // a class without an implementation here: its files are kept under the name they give
            class_name = component_class(p, dir, "tokenizer_config.json", "tokenizer_class");
            if (class_name) st = MLTF_OK;
        }
        if (class_name)
            p->components[p->n_components++] = (save_component){"tokenizer", class_name, dir};
        else if (st != MLTF_NOT_FOUND) {
            if (err) *err = why;
            mltf_err_wrap(err, "Error loading tokenizer from %s", dir);
            return st;
        } else if (checkpoint_string)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "Error loading tokenizer from %s: there are no tokenizer files. "
                             "Please ensure that the directory "
                             "contains a valid transformers model checkpoint.",
                             dir);
        else if (!features && !images)
            return not_a_pipeline(err, "there are no tokenizer files");
    }
    if (images && !checkpoint_string)
        p->components[p->n_components++] =
            (save_component){"image_processor", images, p->model_src};
    if (p->o->processor_path) {
        const char *const files[] = {"processor_config.json", "preprocessor_config.json",
                                     "tokenizer_config.json"};
        for (size_t i = 0; i < 3 && !p->processor_type; i++)
            p->processor_type =
                component_class(p, p->o->processor_path, files[i], "processor_class");
        if (!p->processor_type)
            return mltf_fail(
                err, MLTF_INVALID_INPUT,
                "\"%s\" names no processor class (processor_class in processor_config.json)",
                p->o->processor_path);
    }
    return MLTF_OK;
}

static const char *stored_dtype(save_plan *p)
{
    checkpoint *ck = NULL;
    if (checkpoint_open(&ck, p->model_src, NULL, NULL) != MLTF_OK) return NULL;
    const char *name = NULL;
    for (size_t i = 0; i < checkpoint_count(ck) && !name;
         i++) { // torch: the first parameter of a floating type
        const ck_tensor *t = checkpoint_at(ck, i);
        if (t->dtype <= DT_F64) name = arena_printf(p->a, "torch.%s", dtype_name(t->dtype));
    }
    checkpoint_close(ck);
    return name;
}

/* The signature is to be inferred from the example. */
static bool tries_example(const save_plan *p)
{
    return p->has_example && !p->has_sig && p->layout != LAYOUT_CHECKPOINT;
}

/* Build the pipeline once: this proves that the parts fit, tells the model's class, and serves to try the example.
 * Without one the weights stay where they are, whatever their size. What has no implementation here is saved all the
 * same. */
static mltf_status try_pipeline(save_plan *p, mltf_model *m, mltf_err *err)
{
    mltf_err why = {0};
    const char *tokenizer_dir = NULL;
    for (size_t i = 0; i < p->n_components; i++)
        if (strcmp(p->components[i].name, "tokenizer") == 0) tokenizer_dir = p->components[i].dir;
    const pipeline_options po = {
        .task = strcmp(p->task, "conversational") == 0 ? "text-generation" : p->task,
        .model_dir = p->model_src,
        .tokenizer_dir = tokenizer_dir,
        .arch = {.adapter_dir = p->adapter, .check_only = !tries_example(p)}};
    const mltf_status st = pipeline_load(&m->pipe, &po, &why);
    if (st == MLTF_UNSUPPORTED) {
        if (p->o->log) {
            char line[600];
            snprintf(line, sizeof line, "The model is saved without having been tried: %.500s",
                     why.msg);
            warn(p, line);
        }
        return MLTF_OK;
    }
    if (st == MLTF_NO_MEMORY || st == MLTF_CORRUPT_FILE || st == MLTF_IO) {
        if (err) *err = why;
        return st;
    }
    if (st) return not_a_pipeline(err, why.msg);
    if (p->layout != LAYOUT_CHECKPOINT) {
        p->model_class = keep(p, arch_model_info(pipeline_model(m->pipe))->architecture);
        p->pipeline_class = pipeline_class(m->pipe);
    }
    return MLTF_OK;
}

/* ---- signature, example, metadata ---------------------------------------------------------- */

static mltf_status settle_texts(save_plan *p, mltf_err *err)
{
    mltf_arena *a = p->a;
    TRY(parse_object(a, &p->config, p->o->model_config_json, "the model config", err));
    TRY(parse_object(a, &p->metadata, p->o->metadata_json, "the metadata", err));
    const json *task = json_get(p->metadata, "task");
    if (json_is(task, JSON_STRING) && task->s.n > 0 && !(p->o->task && str_is(task->s, p->o->task)))
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "LLM v1 task type '" STR_FMT
            "' is specified in metadata, but it doesn't match the task type provided in "
            "the `task` argument: '%s'. The mismatched task type may cause incorrect model "
            "inference behavior. "
            "Please provide the correct LLM v1 task type in the `task` argument. E.g. "
            "`mlflow.transformers.save_model(task=\"" STR_FMT "\", ...)`",
            STR_ARG(task->s), p->o->task ? p->o->task : "None", STR_ARG(task->s));
    if (p->llm_task) json_set(a, p->metadata, "task", json_new_cstr(a, p->llm_task));
    const char *tpl = p->o->prompt_template;
    if (tpl) {
        if (!prompt_template_task(p->task))
            return mltf_fail(err, MLTF_INTERNAL,
                             "Prompt templating is not supported for the `%s` task type. Supported "
                             "task types are: "
                             "{'feature-extraction', 'fill-mask', 'summarization', "
                             "'text2text-generation', 'text-generation'}.",
                             p->task);
        TRY(prompt_template_check(tpl, err));
        json_set(a, p->metadata, "prompt_template", json_new_cstr(a, tpl));
        if (strcmp(p->task, "text-generation") == 0 && !json_get(p->config, "return_full_text"))
            json_set(a, p->config, "return_full_text", json_new_bool(a, false));
    }
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

static mltf_status settle_example(save_plan *p, mltf_err *err)
{
    p->example = pv_none();
    p->params = pv_none();
    if (p->id->example)
        p->example = *p->id->example;
    else if (p->o->input_example_json)
        TRY(input_example_parse(p->a, &p->example, p->o->input_example_json, err));
    else
        return MLTF_OK;
    p->has_example = true;
    if (p->id->example_params)
        p->params = *p->id->example_params;
    else if (p->o->input_example_params_json) {
        json *params = NULL;
        TRY(parse_object(p->a, &params, p->o->input_example_params_json,
                         "the params of the input example", err));
        p->params = pv_from_json(p->a, params);
    }
    if (p->params.kind == PV_DICT) {
        param_schema *ignored = NULL;
        TRY(param_schema_infer(p->a, &ignored, &p->params, err));
    }
    return strcmp(p->task, "zero-shot-classification") == 0
               ? input_example_zero_shot(p->a, &p->example, err)
               : MLTF_OK;
}

static mltf_status given_signature(save_plan *p, mltf_err *err)
{
    signature given = {0};
    if (p->o->signature_json) {
        json *map = NULL;
        TRY(parse_object(p->a, &map, p->o->signature_json, "the signature", err));
        TRY(signature_parse(p->a, &given, map, err));
        p->has_sig = true;
    }
    if (p->llm_task) {
        if (!signature_llm(p->a, &p->sig, p->llm_task)) return mltf_fail_memory(err);
        if (p->has_sig && (!schema_equal(given.inputs, p->sig.inputs) ||
                           !schema_equal(given.outputs, p->sig.outputs) || given.params))
            return mltf_fail(err, MLTF_INTERNAL,
                             "When `task` is specified as `%s`, the signature would be set by "
                             "MLflow. Please do not set the "
                             "signature.",
                             p->llm_task);
        p->has_sig = true;
    } else if (p->has_sig)
        p->sig = given;
    return MLTF_OK;
}

/* Run the example through predict() as MLflow does: no schema, no template. Any failure means the default. */
static void infer_signature(save_plan *p, mltf_model *m)
{
    mltf_err why = {0};
    mltf_arena scratch = MLTF_ARENA_INIT;
    const char *limit = getenv("MLFLOW_INPUT_EXAMPLE_INFERENCE_TIMEOUT");
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const double seconds = limit && atof(limit) > 0 ? atof(limit) : 180;
    const call_control ctl = {.deadline = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec + seconds};
    pv out = pv_none();
    // the labels of one object were made a text; in a list they are no column that requests could fill
    const bool rows_of_labels =
        strcmp(p->task, "zero-shot-classification") == 0 && p->example.kind == PV_LIST;
    const mltf_status st =
        rows_of_labels
            ? mltf_fail(&why, MLTF_INVALID_INPUT, "give one object as zero-shot example")
            : wrapper_predict(m, &scratch, &p->example, &p->params, false, &ctl, &out, &why);
    // features of several texts are a list of arrays; the schema describes one
    if (st == MLTF_OK && out.kind == PV_LIST && out.list.n > 0 &&
        out.list.items[0].kind == PV_ARRAY)
        out = out.list.items[0];
    if (st == MLTF_OK && schema_infer(p->a, &p->sig.inputs, &p->example, NULL, &why) == MLTF_OK &&
        schema_infer(p->a, &p->sig.outputs, &out, NULL, &why) == MLTF_OK &&
        (p->params.kind != PV_DICT || p->params.dict.n == 0 ||
         param_schema_infer(p->a, &p->sig.params, &p->params, &why) == MLTF_OK))
        p->has_sig = true;
    else {
        p->sig = (signature){0};
        char line[900];
        snprintf(line, sizeof line,
                 "Attempted to generate a signature for the saved pipeline but encountered an "
                 "error. Fall back to the default "
                 "signature for the pipeline type. Error: %.600s",
                 why.msg);
        warn(p, line);
    }
    // names that an inferred schema borrowed from the answer must outlive it
    if (p->has_sig && p->sig.outputs) {
        mltf_buf text = MLTF_BUF_INIT;
        schema_write(&text, p->sig.outputs);
        if (schema_parse(p->a, &p->sig.outputs, buf_str(&text), NULL) != MLTF_OK)
            p->has_sig = false;
        mltf_buf_release(&text);
    }
    arena_release(&scratch);
}

static void settle_signature(save_plan *p, mltf_model *m)
{
    if (p->has_sig || !p->pyfunc) return;
    if (tries_example(p) && m->pipe) {
        m->task = p->task;
        m->instance_type = p->pipeline_class;
        m->config = p->config;
        infer_signature(p, m);
    }
    if (!p->has_sig) {
        p->has_sig = signature_default(p->a, &p->sig, p->task);
        // an array that could not be tried is no text and no file all the same
        if (p->has_sig && p->has_example && !m->pipe && p->example.kind == PV_ARRAY)
            schema_infer(p->a, &p->sig.inputs, &p->example, NULL, NULL);
        if (!p->has_sig)
            warn(p, "An unsupported task type was saved: the model has no default signature; give "
                    "one or an input example.");
    }
}

/* ---- the whole ----------------------------------------------------------------------------- */

static mltf_status write_parts(save_plan *p, mltf_err *err)
{
    TRY(save_write_code(p, err));
    if (p->has_example)
        TRY(input_example_write(p->a, p->out, &p->example, &p->params, &p->example_info, err));
    if (p->adapter) TRY(save_write_adapter(p, err));
    const char *model = arena_printf(p->a, "%s/model", p->out);
    if (!model) return mltf_fail_memory(err);
    if (!p->by_reference && !p->local_base) TRY(save_write_weights(p, model, err));
    if (!p->by_reference) TRY(save_write_components(p, err));
    const model_card_options card = {.card_path = p->o->model_card_path,
                                     .snapshot_dir = p->repo ? p->model_src : NULL,
                                     .name = p->name};
    bool licensed = true;
    if (!p->local_base || p->o->model_card_path)
        TRY(model_card_write(p->out, &card, &licensed, err));
    if (!licensed)
        warn(p, "Unable to find license information for this model. Please verify permissible "
                "usage for the model you are storing prior to use.");
    if (p->local_base) { // no licence file then
        const char *licence = arena_printf(p->a, "%s/LICENSE.txt", p->out);
        if (licence) remove(licence);
    }
    TRY(dir_size(&p->size_bytes, p->out, err));
    const char *path = arena_printf(p->a, "%s/MLmodel", p->out);
    const json *root = flavor_mlmodel(p);
    if (!path || !root || p->a->failed) return mltf_fail_memory(err);
    TRY(mlmodel_write(path, root, err));
    const environment_options env = environment_of(p->o, p->id, p->adapter != NULL);
    return environment_write(p->out, &env, err);
}

static mltf_status settle_shards(save_plan *p, mltf_err *err)
{
    const char *size = p->o->max_shard_size ? p->o->max_shard_size
                                            : getenv("MLFLOW_HUGGINGFACE_MODEL_MAX_SHARD_SIZE");
    p->max_shard = 0;
    return size && *size ? save_parse_size(&p->max_shard, size, err) : MLTF_OK;
}

static mltf_status decide(save_plan *p, mltf_model *m, mltf_err *err)
{
    TRY(identify(p, err));
    TRY(settle_task(p, err));
    const task_info *info =
        task_find(strcmp(p->task, "conversational") == 0 ? "text-generation" : p->task);
    p->pipeline_class = strcmp(p->task, "conversational") == 0 ? "ConversationalPipeline"
                        : info                                 ? info->pipeline_class
                                                               : "";
    TRY(given_signature(p, err));
    TRY(settle_example(p, err));
    TRY(settle_texts(p, err));
    TRY(settle_shards(p, err));
    TRY(find_components(p, err));
    TRY(try_pipeline(p, m, err));
    p->pyfunc =
        p->layout == LAYOUT_CHECKPOINT || flavor_is_pyfunc(p->pipeline_class, p->model_class);
    const char *dtype = NULL;
    TRY(torch_dtype_name(&dtype, p->o->torch_dtype, err));
    if (dtype)
        p->dtype = p->o->torch_dtype; // as given, with or without "torch."
    else if (p->layout != LAYOUT_CHECKPOINT)
        p->dtype = stored_dtype(p);
    settle_signature(p, m);
    return p->a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

mltf_status model_save(const char *source, const char *dir, const mltf_save_options *opts,
                       const save_identity *id, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    save_plan p = {
        .a = &a, .o = opts ? opts : &no_options, .id = id ? id : &nobody, .checkpoint = source};
    // The message of an existing directory comes before all that concerns the model.
    dir_txn txn = {0};
    mltf_model m = {0};
    m.log = p.o->log;
    m.log_user = p.o->log_user;
    mltf_err why = {0};
    const environment_options env = environment_of(p.o, p.id, false);
    mltf_status st = environment_check(&env, err);
    if (st) return st;
    if ((st = dir_txn_begin(&txn, dir, &why))) {
        if (st == MLTF_ALREADY_EXISTS)
            return mltf_fail(err, st, "Path '%s' already exists and is not empty", dir);
        if (err) *err = why;
        return st;
    }
    p.out = txn.path;
    st = parse_layout(&p.layout, p.o->layout, err);
    if (st == MLTF_OK) st = save_options_check(source, p.o, err);
    if (st == MLTF_OK) st = decide(&p, &m, err);
    if (st == MLTF_OK) st = write_parts(&p, err);
    pipeline_free(m.pipe);
    arena_release(&m.arena);
    if (st == MLTF_OK) st = dir_txn_commit(&txn, err);
    if (st) dir_txn_abort(&txn);
    arena_release(&a);
    return st;
}
