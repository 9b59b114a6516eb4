/* Saving: from a checkpoint to MLflow's model directory, which appears whole or not at all.
 *
 * save.c checks and decides (what is it, which task, which layout), save_parts.c writes weights, components,
 * adapter and code, flavor_config.c builds MLmodel's keys. */
#ifndef MLTF_MLFLOW_SAVE_H
#define MLTF_MLFLOW_SAVE_H

#include "mlflow/model.h"

/* What the caller knows beside the options. All may be zero. */
typedef struct save_identity {
    const char *model_id, *run_id, *artifact_path; /* of a logged model */
    const char *source_name;   /* recorded as source_model_name instead of the checkpoint's path */
    const char *pipeline_task; /* the task of the pipeline that an llm/v1 task goes with, where the caller fixed one */
    const pv *example;         /* instead of input_example_json */
    const pv *example_params;  /* a dict */
    const json *conda_env;     /* instead of conda_env_path */
} save_identity;

mltf_status model_save(const char *source, const char *dir, const mltf_save_options *opts, const save_identity *id,
                       mltf_err *err);
/* The checks that need nothing but the options. */
mltf_status save_options_check(const char *source, const mltf_save_options *opts, mltf_err *err);
/* persist.c: give a model saved by reference its weights and components, in place. */
mltf_status model_persist(const char *dir, mltf_err *err);

/* ---- shared by the files of saving ---- */

typedef enum { LAYOUT_PIPELINE, LAYOUT_COMPONENTS, LAYOUT_CHECKPOINT } save_layout;

/* A part saved under components/. */
typedef struct save_component {
    const char *name;  /* "tokenizer" */
    const char *type;  /* class */
    const char *dir;   /* where its files are read */
} save_component;

typedef struct save_plan {
    mltf_arena *a;
    const mltf_save_options *o;
    const save_identity *id;
    const char *out;        /* directory being written */
    save_layout layout;
    const char *checkpoint; /* as given */
    const char *source;     /* the checkpoint's directory */
    const char *repo, *commit; /* the base's or model's repository, where it comes from the cache */
    const char *name;       /* source_model_name */
    const char *adapter;    /* PEFT: directory of the adapter's config and weights; NULL: no adapter */
    const char *model_src;  /* directory of config.json and weights: source, or the adapter's base */
    bool by_reference;      /* no weights, no components: repo and commit */
    bool local_base;        /* PEFT with base_model_path */
    const char *task, *llm_task;
    const char *pipeline_class, *model_class;
    const char *dtype;      /* "torch.float32", or NULL: unknown */
    bool pyfunc;
    save_component components[3]; /* feature_extractor, tokenizer, image_processor */
    size_t n_components;
    const char *processor_type;
    signature sig;
    bool has_sig;
    json *metadata, *config, *example_info;
    pv example, params;
    bool has_example;
    uint64_t size_bytes;
    uint64_t max_shard; /* 0: keep the checkpoint's own files */
} save_plan;

/* save_parts.c */
mltf_status save_write_weights(const save_plan *p, const char *dir, mltf_err *err);
mltf_status save_write_components(const save_plan *p, mltf_err *err);
mltf_status save_write_adapter(const save_plan *p, mltf_err *err);
mltf_status save_write_code(const save_plan *p, mltf_err *err);
bool save_has_tokenizer(const char *dir);
bool save_has_file(const char *dir, const char *name);
/* "500MB", "2GiB" to bytes. INVALID_INPUT where it is no size. */
mltf_status save_parse_size(uint64_t *out, const char *text, mltf_err *err);

/* flavor_config.c */
json *flavor_mlmodel(const save_plan *p);           /* the whole of MLmodel */
bool flavor_is_pyfunc(const char *pipeline_class, const char *model_class);

#endif
