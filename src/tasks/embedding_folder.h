/* What a sentence-transformers folder (5.x and before) says of its vectors.
 *
 * modules.json: [{"idx", "name", "path", "type"}], in order Transformer, Pooling, then any of Dense, LayerNorm,
 * Normalize. Each module's folder has a config.json:
 *   Pooling    pooling_mode_cls_token, _max_tokens, _mean_tokens, _mean_sqrt_len_tokens, _weightedmean_tokens,
 *              _lasttoken (several are concatenated in this order), or pooling_mode with a name or a list of names
 *              in their own order; include_prompt
 *   Dense      in_features, out_features, bias, activation_function; weights linear.weight [out, in], linear.bias
 *   LayerNorm  dimension; weights norm.weight, norm.bias
 * sentence_bert_config.json (or of another model's name, as before 2.0) beside the model: max_seq_length, do_lower_case.
 * config_sentence_transformers.json: prompts {name: text}, default_prompt_name. */
#ifndef MLTF_TASKS_EMBEDDING_FOLDER_H
#define MLTF_TASKS_EMBEDDING_FOLDER_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

typedef enum {
    POOL_CLS,
    POOL_MAX,
    POOL_MEAN,
    POOL_MEAN_SQRT,
    POOL_WEIGHTED,
    POOL_LAST,
    POOL_MODES
} pool_mode;

/* What is concatenated, in order. */
typedef struct pool_modes {
    pool_mode list[POOL_MODES];
    size_t n;
} pool_modes;

#define EMBED_STEPS_MAX 8 /* modules behind the pooling; real folders have two */

typedef enum { STEP_DENSE, STEP_LAYER_NORM, STEP_NORMALIZE } step_kind;

typedef float embed_activation(float);

typedef struct embed_step {
    step_kind kind;
    size_t in, out;
    float *weight;         /* Dense [out, in], LayerNorm [out] */
    float *bias;           /* [out] or NULL */
    embed_activation *act; /* NULL: none */
} embed_step;

typedef struct embed_prompt {
    mltf_str name, text;
} embed_prompt;

typedef struct embed_modules {
    bool
        by_folder; /* there is a modules.json, or the task is sentence-transformers' own: texts are read as there */
    pool_modes pooling;
    bool skip_prompt;  /* the prompt's own tokens are left out of the pooling */
    size_t max_length; /* 0: the model's */
    bool lower;
    embed_step steps[EMBED_STEPS_MAX];
    size_t n_steps;
    embed_prompt *prompts; /* [n_prompts] in own */
    size_t n_prompts;
    const embed_prompt *always; /* put before every text, unless another is asked for; or NULL */
    mltf_arena own;
} embed_modules;

/* Read once when a pipeline without head is loaded; without a modules.json the mean is taken. hidden: the model's width. UNSUPPORTED names a module or an
 * activation that is not known. */
mltf_status embed_modules_load(embed_modules **out, const char *dir, size_t hidden, mltf_err *err);
void embed_modules_free(embed_modules *m);
/* An activation by its class in torch.nn, "torch.nn.modules.activation.Tanh", made without arguments: *act is NULL for
 * Identity. UNSUPPORTED names one that is not known. */
mltf_status embed_activation_find(mltf_str name, embed_activation **act, mltf_err *err);
/* NULL if there is none of that name. */
const embed_prompt *embed_prompt_find(const embed_modules *m, mltf_str name);

#endif
