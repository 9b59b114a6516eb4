#include "mlflow/describe.h"

#include <string.h>

#include "base/file.h"
#include "mlflow/mlmodel.h"

typedef struct writer {
    mltf_arena *a;
    json *o;
} writer;

static void text(writer *w, const char *key, const char *value)
{
    if (value) json_set(w->a, w->o, key, json_new_cstr(w->a, value));
}

static void number(writer *w, const char *key, uint64_t n)
{
    json_set(w->a, w->o, key, json_new_int(w->a, (int64_t)n));
}

static void copy(writer *w, const char *key, const json *v)
{
    if (v && !json_is(v, JSON_NULL)) json_set(w->a, w->o, key, v);
}

/* Each part in the form of messages, and below "json" as MLmodel has it. */
static json *signature_part(mltf_arena *a, const schema *s)
{
    if (!s) return json_new_null(a);
    mltf_buf b = MLTF_BUF_INIT;
    schema_print(&b, s);
    json *v = json_new_string(a, buf_str(&b));
    mltf_buf_release(&b);
    return v;
}

static json *params_part(mltf_arena *a, const param_schema *p)
{
    if (!p) return json_new_null(a);
    json *out = json_new_object(a);
    for (size_t i = 0; i < p->n; i++) {
        const param_spec *s = &p->params[i];
        json *one = json_new_object(a);
        mltf_buf b = MLTF_BUF_INIT;
        schema_type_print(&b, &s->type);
        if (s->is_list) buf_puts(&b, " list");
        json_set(a, one, "type", json_new_string(a, buf_str(&b)));
        json_set(a, one, "default", pv_to_json(a, &s->default_value));
        json_set_str(a, out, s->name, one);
        mltf_buf_release(&b);
    }
    return out;
}

static void add_signature(writer *w, const signature *s)
{
    if (!s->inputs && !s->outputs && !s->params) return;
    json *o = json_new_object(w->a);
    json_set(w->a, o, "inputs", signature_part(w->a, s->inputs));
    json_set(w->a, o, "outputs", signature_part(w->a, s->outputs));
    json_set(w->a, o, "params", params_part(w->a, s->params));
    json_set(w->a, o, "json", signature_to_json(w->a, s));
    json_set(w->a, w->o, "signature", o);
}

static void add_architecture(writer *w, const mltf_model *m)
{
    const arch_info *info = m->pipe ? arch_model_info(pipeline_model(m->pipe)) : NULL;
    if (!info) return;
    text(w, "architecture", info->architecture);
    text(w, "model_type", info->model_type);
    number(w, "parameters", info->n_params);
    number(w, "weight_bytes", info->weight_bytes);
    text(w, "dtype", dtype_name(info->dtype));
    text(w, "compute_dtype", dtype_name(info->compute));
    number(w, "layers", info->n_layers);
    number(w, "hidden_size", info->hidden);
    number(w, "vocab_size", info->vocab);
    if (info->max_positions != SIZE_MAX) number(w, "max_positions", info->max_positions);
    if (info->n_labels > 0 &&
        (info->head == ARCH_HEAD_SEQ_CLS || info->head == ARCH_HEAD_TOKEN_CLS)) {
        json *labels = json_new_array(w->a);
        for (size_t i = 0; i < info->n_labels && i < 1000; i++)
            json_push(w->a, labels, json_new_string(w->a, arch_label(pipeline_model(m->pipe), i)));
        json_set(w->a, w->o, "labels", labels);
    }
    if (info->n_warnings > 0) {
        json *warnings = json_new_array(w->a);
        for (size_t i = 0; i < info->n_warnings; i++)
            json_push(w->a, warnings, json_new_cstr(w->a, info->warnings[i]));
        json_set(w->a, w->o, "warnings", warnings);
    }
}

static void add_tokenizer(writer *w, const mltf_model *m)
{
    const tokenizer *tk = m->pipe ? pipeline_tokenizer(m->pipe) : NULL;
    if (!tk) return;
    text(w, "tokenizer", tokenizer_class(tk));
    json_set(w->a, w->o, "chat_template",
             json_new_bool(w->a, tokenizer_chat_template(tk, NULL).p != NULL));
    const size_t longest = tokenizer_model_max_length(tk);
    if (longest != SIZE_MAX) number(w, "model_max_length", longest);
}

static mltf_status add_files(writer *w, const char *dir, mltf_err *err)
{
    dir_list files = {0};
    TRY(dir_read(&files, dir, err));
    json *list = json_new_array(w->a);
    for (size_t i = 0; i < files.n; i++) json_push(w->a, list, json_new_cstr(w->a, files.names[i]));
    json_set(w->a, w->o, "files", list);
    dir_list_free(&files);
    return MLTF_OK;
}

mltf_status model_describe(const mltf_model *m, const char *unsupported, mltf_buf *out,
                           mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    writer w = {&a, json_new_object(&a)};
    text(&w, "name", m->name);
    text(&w, "path", m->dir);
    text(&w, "format", m->mlmodel ? "mlflow" : "checkpoint");
    text(&w, "task", m->task);
    text(&w, "inference_task", m->inference_task);
    text(&w, "pipeline", m->instance_type);
    text(&w, "unsupported", unsupported);
    add_architecture(&w, m);
    add_tokenizer(&w, m);
    text(&w, "weights", m->model_dir);
    text(&w, "adapter", m->adapter_dir);
    text(&w, "prompt_template", m->prompt_template);
    if (json_len(m->config) > 0) copy(&w, "model_config", m->config);
    if (m->pipe) copy(&w, "generation_config", pipeline_generation_config(m->pipe));
    add_signature(&w, &m->sig);
    const json *flavor = mlmodel_flavor(m->mlmodel, "transformers");
    copy(&w, "metadata", json_get(m->mlmodel, "metadata"));
    copy(&w, "components", json_get(flavor, "components"));
    copy(&w, "source_model_revision", json_get(flavor, "source_model_revision"));
    copy(&w, "input_example", json_get(m->mlmodel, "saved_input_example_info"));
    copy(&w, "model_id", json_get(m->mlmodel, "model_id"));
    copy(&w, "model_uuid", json_get(m->mlmodel, "model_uuid"));
    copy(&w, "run_id", json_get(m->mlmodel, "run_id"));
    copy(&w, "model_size_bytes", json_get(m->mlmodel, "model_size_bytes"));
    copy(&w, "utc_time_created", json_get(m->mlmodel, "utc_time_created"));
    copy(&w, "mlflow_version", json_get(m->mlmodel, "mlflow_version"));
    copy(&w, "transformers_version", json_get(flavor, "transformers_version"));
    mltf_status st = add_files(&w, m->dir, err);
    if (st == MLTF_OK && a.failed) st = mltf_fail_memory(err);
    if (st == MLTF_OK) {
        json_write(out, w.o, NULL);
        st = buf_status(out, err);
    }
    arena_release(&a);
    return st;
}
