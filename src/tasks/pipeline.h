/* transformers' pipelines: a model, its tokenizer and a task that turns JSON into answers.
 *
 *     pipeline *p;
 *     TRY(pipeline_load(&p, &(pipeline_options){.task = "text-classification", .model_dir = dir}, err));
 *     json *out;
 *     TRY(pipeline_call(p, input, kwargs, NULL, &arena, &out, err));   // as pipeline(input, **kwargs) in Python
 *     pipeline_free(p);
 *
 * Inputs, keywords, outputs and messages are those of transformers 4.57.6; what MLflow makes of them
 * (frames, lists of strings, llm/v1) is built on top, in mlflow/. One file a task, one line in
 * task_registry.c. A pipeline is immutable and may be called by many threads at once: sessions (scratch,
 * KV caches) are taken from a pool inside it. */
#ifndef MLTF_TASKS_PIPELINE_H
#define MLTF_TASKS_PIPELINE_H

#include "arch/arch.h"
#include "gen/constraint.h"
#include "gen/gen.h"
#include "tokenizers/tokenizer.h"

typedef struct pipeline pipeline;

typedef struct pipeline_options {
    /* native name or alias ("sentiment-analysis"); NULL: from config.json's architecture */
    const char *task;
    const char *model_dir;     /* config.json, weights, generation_config.json */
    const char *tokenizer_dir; /* NULL: model_dir */
    arch_load_options arch;
} pipeline_options;

/* What runs along with a call. All may be zero. */
typedef struct call_control {
    volatile int *cancel;
    double deadline;        /* CLOCK_MONOTONIC seconds; 0: none */
    mltf_stream_fn on_text; /* text-generation of one prompt: new text as it comes */
    void *user;
} call_control;

/* Where the model lies: `dir`, or the folder in it that modules.json names, as in older folders of
 * sentence-transformers ("0_Transformer"). In the arena; NULL: no memory. */
const char *pipeline_model_root(const char *dir, mltf_arena *arena);
mltf_status pipeline_load(pipeline **out, const pipeline_options *opts, mltf_err *err);
void pipeline_free(pipeline *p);

/* input: what one would pass as first argument (or, an object, as keywords where the pipeline takes
 * keywords). kwargs: object or NULL; an unknown key is INVALID_INPUT. *out lives in `arena`. Errors of
 * transformers that are not MLflow's become PREDICT_FAILED with transformers' words. */
mltf_status pipeline_call(const pipeline *p, const json *input, const json *kwargs,
                          const call_control *ctl, mltf_arena *arena, json **out, mltf_err *err);

const char *pipeline_task(const pipeline *p);  /* resolved native name: "text-classification" */
const char *pipeline_class(const pipeline *p); /* "TextClassificationPipeline" */
const arch_model *pipeline_model(const pipeline *p);
const tokenizer *pipeline_tokenizer(const pipeline *p);
const json *
pipeline_generation_config(const pipeline *p); /* generation_config.json as stored, or NULL */
/* What a call of a generating pipeline starts from: pipeline defaults, generation_config.json and
 * task_specific_params merged as transformers does. NULL where the task does not generate. */
const gen_config *pipeline_gen(const pipeline *p);

/* Take a session for direct use (embeddings, chat) and give it back. */
mltf_status pipeline_session_take(const pipeline *p, arch_session **out, mltf_err *err);
void pipeline_session_give(const pipeline *p, arch_session *s);

/* ---- generation for callers above: llm/v1, OpenAI's API ---- */

/* One prompt for pipeline_generate(). Token ids as they go into the model. */
typedef struct pipeline_prompt {
    const int32_t *ids; /* [n], n > 0 */
    size_t n;
    const gen_config *cfg;
    const gen_constraint *constraint; /* or NULL */
    bool want_logprobs;
    size_t top_logprobs;
} pipeline_prompt;

/* New tokens of prompt `which`, on the thread of the call, with their log probabilities if wanted: scores
 * [n][1 + top_logprobs], each token's own first; otherwise NULL. Nonzero: that prompt is given up, the call goes
 * on and its result has GEN_FINISH_CANCELLED. */
typedef int (*pipeline_token_fn)(void *user, size_t which, const int32_t *ids, size_t n,
                                 const gen_logprob *scores);

/* Settings for a call: those of the pipeline with `kwargs` (arguments of generate(), object or NULL) on top,
 * checked. Statuses as pipeline_call() has them. */
mltf_status pipeline_gen_config(const pipeline *p, const json *kwargs, gen_config *cfg,
                                mltf_arena *arena, mltf_err *err);

/* Generate for all prompts. Calls that run at the same time share one batch: requests join and leave it between
 * steps, and each result is the same as alone. results [n], one gen_result a prompt (num_return_sequences each),
 * to be released by the caller; on failure there are none. on_token: sampling and greedy only, may be NULL.
 * CANCELLED, TIMEOUT as ctl says; PREDICT_FAILED with transformers' words for a prompt that does not fit. */
mltf_status pipeline_generate(const pipeline *p, const pipeline_prompt *prompts, size_t n,
                              const call_control *ctl, pipeline_token_fn on_token, void *user,
                              gen_result *results, mltf_err *err);

/* Log probabilities of a text itself, each token given those before it: scores [n][1 + top], the token's own first
 * and then the most probable ones; of the first token NaN. Causal language models only. */
mltf_status pipeline_score(const pipeline *p, const int32_t *ids, size_t n, size_t top,
                           const call_control *ctl, gen_logprob *scores, mltf_err *err);

/* The trie of the tokenizer's tokens for constraints, built at the first call and kept. */
mltf_status pipeline_trie(const pipeline *p, const gen_trie **out, mltf_err *err);

/* The registry: facts about a task without loading anything; NULL for an unknown one. */
typedef struct task_info {
    const char *name;           /* "text-classification" */
    const char *pipeline_class; /* "TextClassificationPipeline" */
    const char *const *aliases; /* ends with NULL */
    const char *auto_class;     /* "AutoModelForSequenceClassification" */
    bool generates;
} task_info;
const task_info *task_find(const char *name); /* aliases and translation_xx_to_yy resolved */
const char *task_from_architecture(
    const char *architecture); /* "BertForMaskedLM" -> "fill-mask"; NULL if unknown */

#endif
