/* GenerationConfig of transformers 4.57: every field, its default, its checks.
 *
 *     gen_config cfg;
 *     gen_config_init(&cfg);
 *     TRY(gen_config_merge(&cfg, generation_config_json, GEN_FROM_MODEL, &arena, err));
 *     TRY(gen_config_merge(&cfg, call_kwargs, GEN_FROM_CALL, &arena, err));
 *     TRY(gen_config_validate(&cfg, err));
 *
 * None is GEN_NONE for integers, NaN for floats, n = 0 with p NULL for lists. A config is plain data:
 * copy it by assignment. Its lists and strings live in the arena that merge was given. */
#ifndef MLTF_GEN_GEN_CONFIG_H
#define MLTF_GEN_GEN_CONFIG_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "formats/json.h"

#define GEN_NONE INT64_MIN /* an integer field that is None */

typedef struct gen_ids {
    const int32_t *p; /* [n]; NULL: None */
    size_t n;
} gen_ids;

typedef struct gen_words {
    const gen_ids *p; /* [n] token sequences; NULL: None */
    size_t n;
} gen_words;

typedef struct gen_bias {
    gen_ids ids;
    float bias;
} gen_bias;

/* Constrained beams: each entry is one word, or a list of words of which one must appear. */
typedef struct gen_force {
    const gen_words *p; /* [n] alternatives of each constraint */
    size_t n;
} gen_force;

typedef struct gen_strings {
    const mltf_str *p; /* [n] */
    size_t n;
} gen_strings;

typedef enum { GEN_EARLY_FALSE, GEN_EARLY_TRUE, GEN_EARLY_NEVER } gen_early_stopping;

/* The fields: F(name, kind, default). Kinds: INT (None allowed), FLOAT (None allowed), BOOL, IDS (an int or a
 * list), WORDS, STRINGS (one or a list), EARLY, BIAS, DECAY, FORCE, NOTE (accepted, without effect on what is
 * generated here), REFUSE (None accepted; anything else is refused by name). */
// clang-format off
#define GEN_CONFIG_FIELDS(F)                            \
    /* length */                                        \
    F(max_length,                       INT,     20)       \
    F(max_new_tokens,                   INT,     GEN_NONE) \
    F(min_length,                       INT,     0)        \
    F(min_new_tokens,                   INT,     GEN_NONE) \
    F(early_stopping,                   EARLY,   GEN_EARLY_FALSE) \
    F(max_time,                         FLOAT,   NAN)      \
    F(stop_strings,                     STRINGS, {0})      \
    /* strategy */                                         \
    F(do_sample,                        BOOL,    false)    \
    F(num_beams,                        INT,     1)        \
    F(num_beam_groups,                  INT,     1)        \
    F(diversity_penalty,                FLOAT,   0.0)      \
    F(penalty_alpha,                    FLOAT,   NAN)      \
    F(use_cache,                        BOOL,    true)     \
    F(prefill_chunk_size,               INT,     GEN_NONE) \
    /* scores */                                           \
    F(temperature,                      FLOAT,   1.0)      \
    F(top_k,                            INT,     50)       \
    F(top_p,                            FLOAT,   1.0)      \
    F(min_p,                            FLOAT,   NAN)      \
    F(typical_p,                        FLOAT,   1.0)      \
    F(epsilon_cutoff,                   FLOAT,   0.0)      \
    F(eta_cutoff,                       FLOAT,   0.0)      \
    F(repetition_penalty,               FLOAT,   1.0)      \
    F(encoder_repetition_penalty,       FLOAT,   1.0)      \
    F(length_penalty,                   FLOAT,   1.0)      \
    F(no_repeat_ngram_size,             INT,     0)        \
    F(encoder_no_repeat_ngram_size,     INT,     0)        \
    F(bad_words_ids,                    WORDS,   {0})      \
    F(force_words_ids,                  FORCE,   {0})      \
    F(renormalize_logits,               BOOL,    false)    \
    F(forced_bos_token_id,              INT,     GEN_NONE) \
    F(forced_eos_token_id,              IDS,     {0})      \
    F(remove_invalid_values,            BOOL,    false)    \
    F(exponential_decay_length_penalty, DECAY,   {0})      \
    F(suppress_tokens,                  IDS,     {0})      \
    F(begin_suppress_tokens,            IDS,     {0})      \
    F(sequence_bias,                    BIAS,    {0})      \
    F(guidance_scale,                   FLOAT,   NAN)      \
    F(watermarking_config,              WATERMARK, {0})    \
    /* OpenAI's penalties and the seed: not transformers' own */ \
    F(frequency_penalty,                FLOAT,   0.0)      \
    F(presence_penalty,                 FLOAT,   0.0)      \
    F(seed,                             INT,     GEN_NONE) \
    /* outputs */                                          \
    F(num_return_sequences,             INT,     1)        \
    F(output_scores,                    BOOL,    false)    \
    /* special tokens */                                   \
    F(pad_token_id,                     INT,     GEN_NONE) \
    F(bos_token_id,                     INT,     GEN_NONE) \
    F(eos_token_id,                     IDS,     {0})      \
    F(decoder_start_token_id,           IDS,     {0})      \
    /* assistance */                                       \
    F(prompt_lookup_num_tokens,         INT,     GEN_NONE) \
    F(max_matching_ngram_size,          INT,     GEN_NONE) \
    F(num_assistant_tokens,             INT,     20)       \
    F(assistant_confidence_threshold,   FLOAT,   0.4)      \
    F(num_assistant_tokens_schedule,    NOTE,    NULL)     \
    F(assistant_lookbehind,             NOTE,    NULL)     \
    F(target_lookbehind,                NOTE,    NULL)     \
    F(is_assistant,                     NOTE,    NULL)     \
    F(assistant_early_exit,             NOTE,    NULL)     \
    /* what only torch knows */                            \
    F(cache_implementation,             NOTE,    NULL)     \
    F(cache_config,                     NOTE,    NULL)     \
    F(return_legacy_cache,              NOTE,    NULL)     \
    F(output_attentions,                NOTE,    NULL)     \
    F(output_hidden_states,             NOTE,    NULL)     \
    F(output_logits,                    NOTE,    NULL)     \
    F(return_dict_in_generate,          NOTE,    NULL)     \
    F(compile_config,                   NOTE,    NULL)     \
    F(disable_compile,                  NOTE,    NULL)     \
    F(low_memory,                       NOTE,    NULL)     \
    F(token_healing,                    REFUSE,  NULL)     \
    F(dola_layers,                      REFUSE,  NULL)     \
    F(constraints,                      REFUSE,  NULL)     \
    F(transformers_version,             NOTE,    NULL)
// clang-format on

typedef struct gen_decay {
    int64_t start; /* tokens behind the prompt */
    double factor; /* 0: None */
} gen_decay;
/* SynthIDTextWatermarkingConfig */
typedef struct gen_synthid {
    int64_t ngram_len;   /* tokens that a draw depends on, its own included */
    const int64_t *keys; /* [n_keys] one for each round */
    size_t n_keys;
    int64_t table_size, table_seed;
    int64_t history; /* contexts that are not watermarked again */
    bool skip_first; /* not the first ngram_len - 1 tokens */
    bool debug;      /* as if all scores were equal */
} gen_synthid;
/* WatermarkingConfig, or, if `synthid.ngram_len` is not 0, the other. */
typedef struct gen_watermark {
    bool on, selfhash;
    double greenlist_ratio, bias;
    int64_t hashing_key, context_width;
    gen_synthid synthid;
} gen_watermark;
typedef struct gen_biases {
    const gen_bias *p;
    size_t n;
} gen_biases;

#define GEN_TYPE_INT       int64_t
#define GEN_TYPE_WATERMARK gen_watermark
#define GEN_TYPE_FLOAT     double
#define GEN_TYPE_BOOL      bool
#define GEN_TYPE_IDS       gen_ids
#define GEN_TYPE_WORDS     gen_words
#define GEN_TYPE_STRINGS   gen_strings
#define GEN_TYPE_EARLY     gen_early_stopping
#define GEN_TYPE_BIAS      gen_biases
#define GEN_TYPE_DECAY     gen_decay
#define GEN_TYPE_FORCE     gen_force
#define GEN_TYPE_NOTE      const json *
#define GEN_TYPE_REFUSE    const json *

#define F(name, kind, fallback) GEN_F_##name,
typedef enum { GEN_CONFIG_FIELDS(F) GEN_F_COUNT } gen_field;
#undef F

typedef struct gen_config {
#define F(name, kind, fallback) GEN_TYPE_##kind name;
    GEN_CONFIG_FIELDS(F)
#undef F
    uint64_t set[2];  /* bit of each field that any merge gave, null included */
    uint64_t call[2]; /* … that came with GEN_FROM_CALL and was not null */
} gen_config;

typedef enum {
    GEN_FROM_MODEL, /* generation_config.json: keys that are not fields are somebody else's and left alone */
    GEN_FROM_PIPELINE, /* a pipeline's own defaults, task_specific_params: the same, but for bookkeeping */
    GEN_FROM_CALL, /* arguments of generate(): an unknown key is an error in transformers' words */
} gen_origin;

void gen_config_init(gen_config *cfg);

/* Set the fields that the object has; object NULL or null is nothing. INVALID_INPUT for a value of the wrong
 * type, and (GEN_FROM_CALL) for unknown keys: "The following `model_kwargs` are not used by the model: ['x'] …". */
mltf_status gen_config_merge(gen_config *cfg, const json *object, gen_origin origin,
                             mltf_arena *arena, mltf_err *err);

/* What GenerationConfig.from_model_config() makes of config.json: used where there is no generation_config.json.
 * Values that are null keep the default; so do keys that the class of the model type fills in by itself. */
mltf_status gen_config_from_model_config(gen_config *cfg, const json *config, mltf_arena *arena,
                                         mltf_err *err);

/* generate(generation_config=cfg) on a model whose own config is `model`: every field of cfg that still has the
 * library's default takes the model's value. (So a pipeline's do_sample=True survives a model's do_sample=False.)
 * Call it before merging the arguments of the call. */
void gen_config_inherit(gen_config *cfg, const gen_config *model);

/* Whether any merge gave the field; whether it was an argument of the call and not None. */
static inline bool gen_config_is_set(const gen_config *cfg, gen_field f)
{
    return cfg->set[f >> 6] >> (f & 63) & 1;
}
static inline bool gen_config_from_call(const gen_config *cfg, gen_field f)
{
    return cfg->call[f >> 6] >> (f & 63) & 1;
}
bool gen_config_is_default(const gen_config *cfg, gen_field f);
bool gen_config_is_field(mltf_str key); /* a key that merge knows */

/* Diverse beams: num_beam_groups means nothing where there is one beam. */
static inline bool gen_config_has_groups(const gen_config *cfg)
{
    return cfg->num_beams > 1 && cfg->num_beam_groups > 1;
}

/* GenerationConfig.validate(), to which the settings of a model alone have to hold as well: the library does
 * not load one whose generation_config.json asks for two sequences of a greedy search. */
mltf_status gen_config_validate_own(const gen_config *cfg, mltf_err *err);

/* The same and the checks of the logits processors that the fields would build, with their
 * messages. INVALID_INPUT, or UNSUPPORTED for what is refused by name. */
mltf_status gen_config_validate(const gen_config *cfg, mltf_err *err);

#endif
