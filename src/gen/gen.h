/* Generation with transformers' names, defaults and meanings (GenerationMixin.generate of 4.57).
 *
 *     gen_config cfg;
 *     gen_config_init(&cfg);                                   // library defaults
 *     TRY(gen_config_merge(&cfg, generation_config_json, &arena, err));
 *     TRY(gen_config_merge(&cfg, call_kwargs_json, &arena, err));
 *     gen_request req = {.ids = prompt, .n = n, .cfg = &cfg, .tk = tk};
 *     gen_result res;
 *     TRY(gen_generate(session, &req, 1, &res, err));
 *     gen_result_release(&res); */
#ifndef MLTF_GEN_GEN_H
#define MLTF_GEN_GEN_H

#include "arch/arch.h"
#include "tokenizers/tokenizer.h"

/* Field names and defaults are those of transformers' GenerationConfig. `set` remembers which keys were
 * given explicitly, because precedence between pipeline, generation_config.json and call depends on it. */
typedef struct gen_config gen_config; /* defined in gen_config.h */

typedef int (*gen_token_fn)(void *user, size_t request, const int32_t *ids, size_t n); /* nonzero cancels */

typedef struct gen_request {
    const int32_t *ids; /* [n] prompt (decoder), or the encoder's input (encoder-decoder) */
    size_t n;
    const int32_t *decoder_ids; /* encoder-decoder: decoder prompt, or NULL: decoder_start_token_id */
    size_t n_decoder;
    const gen_config *cfg;
    const tokenizer *tk;        /* for stop strings and constraints; may be NULL without them */
    gen_token_fn on_token;      /* each new token as it is chosen (greedy and sampling only); may be NULL */
    void *user;
    volatile int *cancel;       /* may be NULL */
} gen_request;

typedef enum { GEN_FINISH_STOP, GEN_FINISH_LENGTH, GEN_FINISH_STOP_STRING, GEN_FINISH_TIME, GEN_FINISH_CANCELLED } gen_finish;

typedef struct gen_sequence {
    int32_t *ids;  /* [n] prompt included for decoders, start token included for encoder-decoders */
    size_t n;
    size_t n_prompt;
    gen_finish finish;
    float score;   /* beams: sequences_scores */
    float *logprobs; /* [n - n_prompt] of the chosen tokens if wanted, or NULL */
} gen_sequence;

typedef struct gen_result {
    gen_sequence *seqs; /* [n]: requests in order, num_return_sequences each */
    size_t n;
    mltf_arena arena;   /* holds it all */
} gen_result;

/* Run all requests, together in one ragged batch. A result is the same alone or in any batch. */
mltf_status gen_generate(arch_session *s, const gen_request *reqs, size_t n, gen_result *out, mltf_err *err);
void gen_result_release(gen_result *r);

#endif
