/* An opened model: MLmodel's facts, the signature, the model_config, and the pipeline that computes.
 * Immutable after loading, except for the history of conversations, which hides behind its lock. */
#ifndef MLTF_MLFLOW_MODEL_H
#define MLTF_MLFLOW_MODEL_H

#include <pthread.h>

#include "mlflow/schema.h"
#include "tasks/pipeline.h"

struct mltf_model {
    mltf_arena arena;
    const char *dir;            /* MLflow model or bare checkpoint */
    const json *mlmodel;        /* MLmodel as JSON, or NULL: a bare checkpoint */
    const char *task;           /* native task */
    const char *inference_task; /* "llm/v1/chat" or NULL */
    const char *name;           /* source_model_name, or the directory's name */
    const char *instance_type;  /* "TextGenerationPipeline", "InstructionTextGenerationPipeline" */
    const char *prompt_template; /* or NULL */
    const json *config;         /* model_config after overrides: an object, maybe empty */
    signature sig;              /* parts may be NULL */
    bool pyfunc;                /* has the python_function flavor, or is a bare checkpoint */
    const char *model_dir, *tokenizer_dir, *adapter_dir, *base_dir; /* where the parts lie; NULL: none */
    mltf_pool *pool;
    pipeline *pipe;
    mltf_log_fn log; /* warnings; may be NULL */
    void *log_user;
    pthread_mutex_t lock;       /* of the conversations */
    struct conversation *conversations;
};

/* A warning in MLflow's words, to the callback given at opening. */
void model_warn(const mltf_model *m, const char *fmt, ...) MLTF_PRINTF(2, 3);

#endif
