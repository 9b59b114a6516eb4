/* The keys of MLmodel that this flavor writes. */
#include "mlflow/save.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "mlflow/environment.h"

bool flavor_is_pyfunc(const char *pipeline_class, const char *model_class)
{
    static const char *const pipelines[] = {
        "DocumentQuestionAnsweringPipeline", "ImageToTextPipeline",
        "VisualQuestionAnsweringPipeline",   "ImageSegmentationPipeline",
        "DepthEstimationPipeline",           "ObjectDetectionPipeline",
        "VideoClassificationPipeline",       "ZeroShotImageClassificationPipeline",
        "ZeroShotObjectDetectionPipeline",   "ZeroShotAudioClassificationPipeline"};
    static const char *const models[] = {"Graphormer", "Informer", "TimeSeriesTransformer",
                                         "DecisionTransformer"};
    for (size_t i = 0; i < sizeof pipelines / sizeof *pipelines; i++)
        if (strcmp(pipeline_class, pipelines[i]) == 0) return false;
    for (size_t i = 0; model_class && i < sizeof models / sizeof *models; i++)
        if (strncmp(model_class, models[i], strlen(models[i])) == 0) return false;
    return true;
}

static void set_text(const save_plan *p, json *o, const char *key, const char *value)
{
    json_set(p->a, o, key, value ? json_new_cstr(p->a, value) : json_new_null(p->a));
}

static void add_component(const save_plan *p, json *f, const save_component *c)
{
    char key[64];
    snprintf(key, sizeof key, "%s_type", c->name);
    set_text(p, f, key, c->type);
    if (!p->by_reference) return;
    snprintf(key, sizeof key, "%s_name", c->name);
    set_text(p, f, key, p->name);
    snprintf(key, sizeof key, "%s_revision", c->name);
    set_text(p, f, key, p->commit);
}

static json *transformers_flavor(const save_plan *p)
{
    json *f = json_new_object(p->a), *names = json_new_array(p->a);
    set_text(p, f, "task", p->task);
    set_text(p, f, "instance_type", p->pipeline_class);
    set_text(p, f, "framework", "pt");
    if (p->dtype || p->layout == LAYOUT_CHECKPOINT) set_text(p, f, "torch_dtype", p->dtype);
    set_text(p, f, "pipeline_model_type", p->model_class);
    set_text(p, f, "source_model_name", p->name);
    if (p->by_reference)
        set_text(p, f, "source_model_revision", p->commit);
    else if (p->local_base)
        set_text(p, f, "local_base_model_path", p->model_src);
    else
        set_text(p, f, "model_binary", "model");
    if (p->adapter) set_text(p, f, "peft_adaptor", "peft");
    for (size_t i = 0; i < p->n_components; i++) {
        add_component(p, f, &p->components[i]);
        json_push(p->a, names, json_new_cstr(p->a, p->components[i].name));
    }
    if (p->processor_type) set_text(p, f, "processor_type", p->processor_type);
    json_set(p->a, f, "components", names);
    if (p->llm_task) set_text(p, f, "inference_task", p->llm_task);
    set_text(p, f, "transformers_version", MLTF_TRANSFORMERS_VERSION);
    set_text(p, f, "code", p->o->code_paths ? "code" : NULL);
    return f;
}

static json *pyfunc_flavor(const save_plan *p)
{
    json *f = json_new_object(p->a), *env = json_new_object(p->a);
    set_text(p, env, "conda", "conda.yaml");
    set_text(p, env, "virtualenv", "python_env.yaml");
    json_set(p->a, f, "env", env);
    set_text(p, f, "loader_module", "mlflow.transformers");
    set_text(p, f, "python_version", ENV_PYTHON_VERSION);
    if (p->o->code_paths) set_text(p, f, "code", "code");
    if (json_len(p->config) > 0) json_set(p->a, f, "config", p->config);
    return f;
}

static const char *random_hex(mltf_arena *a)
{
    unsigned char bytes[16] = {0};
    char text[33];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) { // never short for 16 bytes
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        memcpy(bytes, &t.tv_nsec, sizeof t.tv_nsec);
        memcpy(bytes + 8, &t.tv_sec, sizeof t.tv_sec);
    }
    for (size_t i = 0; i < 16; i++) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return arena_strdup(a, text, 32);
}

static const char *utc_now(mltf_arena *a)
{
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    return arena_printf(a, "%04d-%02d-%02d %02d:%02d:%02d.%06ld", tm.tm_year + 1900, tm.tm_mon + 1,
                        tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, t.tv_nsec / 1000);
}

json *flavor_mlmodel(const save_plan *p)
{
    json *root = json_new_object(p->a), *flavors = json_new_object(p->a);
    if (p->pyfunc) json_set(p->a, flavors, "python_function", pyfunc_flavor(p));
    json_set(p->a, flavors, "transformers", transformers_flavor(p));
    if (p->id->artifact_path) set_text(p, root, "artifact_path", p->id->artifact_path);
    if (p->id->run_id) set_text(p, root, "run_id", p->id->run_id);
    json_set(p->a, root, "flavors", flavors);
    if (p->has_sig) {
        json_set(p->a, root, "is_signature_from_type_hint", json_new_bool(p->a, false));
        json_set(p->a, root, "type_hint_from_example", json_new_bool(p->a, false));
        json_set(p->a, root, "signature", signature_to_json(p->a, &p->sig));
    }
    if (json_len(p->metadata) > 0 || p->o->metadata_json)
        json_set(p->a, root, "metadata", p->metadata);
    set_text(p, root, "mlflow_version", MLTF_MLFLOW_VERSION);
    set_text(p, root, "model_id", p->id->model_id);
    if (p->size_bytes > 0)
        json_set(p->a, root, "model_size_bytes", json_new_int(p->a, (int64_t)p->size_bytes));
    set_text(p, root, "model_uuid", p->id->model_id ? p->id->model_id : random_hex(p->a));
    json_set(p->a, root, "prompts", json_new_null(p->a));
    if (p->example_info) json_set(p->a, root, "saved_input_example_info", p->example_info);
    set_text(p, root, "utc_time_created", utc_now(p->a));
    return root;
}
