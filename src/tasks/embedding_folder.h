/* What a sentence-transformers folder (5.x and before) says of its vectors.
 *
 * modules.json: [{"idx", "name", "path", "type"}], in order Transformer, Pooling, then any of Dense, LayerNorm,
 * Normalize. Each module's folder has a config.json:
 *   Pooling    pooling_mode_cls_token, _max_tokens, _mean_tokens, _mean_sqrt_len_tokens, _weightedmean_tokens,
 *              _lasttoken (several are concatenated in this order), or pooling_mode with a name; include_prompt
 *   Dense      in_features, out_features, bias, activation_function; weights linear.weight [out, in], linear.bias
 *   LayerNorm  dimension; weights norm.weight, norm.bias
 * sentence_bert_config.json beside the model: max_seq_length, do_lower_case.
 * config_sentence_transformers.json: prompts {name: text}, default_prompt_name. */
#ifndef MLTF_TASKS_EMBEDDING_FOLDER_H
#define MLTF_TASKS_EMBEDDING_FOLDER_H

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

enum {
    POOL_CLS = 1,
    POOL_MAX = 2,
    POOL_MEAN = 4,
    POOL_MEAN_SQRT = 8,
    POOL_WEIGHTED = 16,
    POOL_LAST = 32
};
#define EMBED_STEPS_MAX 8 /* modules behind the pooling; real folders have two */

typedef enum { STEP_DENSE, STEP_LAYER_NORM, STEP_NORMALIZE } step_kind;

typedef float embed_activation(float);

typedef struct embed_step {
    step_kind kind;
    size_t in, out;
    float *weight;       /* Dense [out, in], LayerNorm [out] */
    float *bias;         /* [out] or NULL */
    embed_activation *act; /* NULL: none */
} embed_step;

typedef struct embed_prompt {
    mltf_str name, text;
} embed_prompt;

typedef struct embed_modules {
    bool by_folder;    /* there is a modules.json; else the rest is zero but for pooling */
    unsigned pooling;  /* POOL_… */
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

/* Read once when a pipeline without head is loaded. hidden: the model's width. UNSUPPORTED names a module or an
 * activation that is not known. */
mltf_status embed_modules_load(embed_modules **out, const char *dir, size_t hidden, mltf_err *err);
void embed_modules_free(embed_modules *m);
/* An activation by its class in torch.nn, "torch.nn.modules.activation.Tanh", made without arguments: *act is NULL for
 * Identity. UNSUPPORTED names one that is not known. */
mltf_status embed_activation_find(mltf_str name, embed_activation **act, mltf_err *err);
/* Numbers that pooling gives: the model's width for each mode. */
size_t embed_pooled_width(unsigned pooling, size_t hidden);
/* NULL if there is none of that name. */
const embed_prompt *embed_prompt_find(const embed_modules *m, mltf_str name);

#endif
