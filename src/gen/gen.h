/* Generation with transformers' names, defaults and meanings (GenerationMixin.generate of 4.57).
 *
 *     gen_config cfg;                                          // gen_config.h
 *     gen_config_init(&cfg);                                   // library defaults
 *     TRY(gen_config_merge(&cfg, generation_config, GEN_FROM_MODEL, &arena, err));
 *     TRY(gen_config_merge(&cfg, call_kwargs, GEN_FROM_CALL, &arena, err));
 *     gen_request req = {.ids = prompt, .n = n, .cfg = &cfg, .tk = tk};
 *     gen_result res;
 *     TRY(gen_generate(session, &req, 1, &res, err));
 *     gen_result_release(&res);
 *
 * All requests run together in one ragged batch: greedy, sampling, beams and the rest side by side. A server
 * that lets requests come and go uses the batch itself (gen_batch, below).
 *
 * Where transformers would pad a batch and count the padding (max_length, min_length, repetition penalties of
 * the padding token), each request here counts its own tokens: the same result alone or in any company. */
#ifndef MLTF_GEN_GEN_H
#define MLTF_GEN_GEN_H

#include "arch/arch.h"
#include "gen/gen_config.h"
#include "tokenizers/tokenizer.h"

/* New tokens as they are chosen. `request` is the index given to gen_generate(), or the number gen_batch_add()
 * returned. Nonzero cancels that request: it ends with GEN_FINISH_CANCELLED and what it had. */
typedef int (*gen_token_fn)(void *user, size_t request, const int32_t *ids, size_t n);

/* Constrained decoding by a callback (prefix_allowed_tokens_fn): set allowed[id] to 1 for each token that may
 * follow ids[0..n), prompt included. allowed[vocab] comes cleared. None set: the request fails. */
typedef mltf_status (*gen_prefix_fn)(void *user, const int32_t *ids, size_t n, uint8_t *allowed,
                                     size_t vocab, mltf_err *err);

/* Fill a cache with the states of an encoder that does not read token ids (sound, pictures). */
typedef mltf_status (*gen_encode_fn)(void *user, arch_session *s, arch_cache *cache, mltf_err *err);

/* The scores that a token is chosen by (output_scores): behind all processors, [vocab], -inf for what cannot come.
 * `row` counts the sequences or beams of the request, `step` the tokens generated so far. */
typedef void (*gen_scores_fn)(void *user, size_t row, size_t step, const float *scores,
                              size_t vocab);

typedef struct gen_logprob {
    int32_t id;
    float logprob;
} gen_logprob;

/* Of the token that on_token tells next: its own log probability, and the top_logprobs most probable ones. */
typedef void (*gen_logprobs_fn)(void *user, size_t request, gen_logprob own,
                                const gen_logprob *top);

typedef struct gen_constraint gen_constraint; /* constraint.h: JSON schema, regex, grammar */

typedef struct gen_request {
    const int32_t *ids; /* [n] prompt (decoder), or the encoder's input (encoder-decoder) */
    size_t n;
    /* encoder-decoder: decoder prompt, or NULL: decoder_start_token_id */
    const int32_t *decoder_ids;
    size_t n_decoder;
    const gen_config *cfg;
    const tokenizer *tk;   /* for stop strings and constraints; may be NULL without them */
    gen_token_fn on_token; /* greedy, sampling and assisted only, one sequence; may be NULL */
    void *user;
    volatile int *cancel; /* looked at once a step; may be NULL */
    double deadline;      /* CLOCK_MONOTONIC seconds; 0: none. Past it: GEN_FINISH_TIME */

    const int32_t *
        negative_ids; /* guidance_scale: [n_negative] the unconditional prompt; NULL: the last prompt token */
    size_t n_negative;
    gen_encode_fn encode; /* encoder-decoders: instead of running the encoder on ids; may be NULL */
    void *encode_user;
    gen_prefix_fn prefix_allowed; /* may be NULL */
    void *prefix_user;
    const gen_constraint *constraint; /* may be NULL; shared by any number of requests */
    arch_session *
        assistant; /* draft model with the same vocabulary, greedy and sampling only; may be NULL */
    gen_scores_fn on_scores; /* may be NULL */
    void *scores_user;
    bool want_logprobs;  /* of the chosen tokens, from the model's own softmax before any filter */
    size_t top_logprobs; /* and of that many most probable ones */
    gen_logprobs_fn on_logprobs; /* with want_logprobs, just before on_token; may be NULL */
} gen_request;

typedef enum {
    GEN_FINISH_STOP, /* an eos token, or a constraint that is complete */
    GEN_FINISH_LENGTH,
    GEN_FINISH_STOP_STRING,
    GEN_FINISH_TIME,
    GEN_FINISH_CANCELLED,
} gen_finish;

typedef struct gen_sequence {
    int32_t *
        ids; /* [n] prompt included for decoders, start token included for encoder-decoders; no padding */
    size_t n;
    size_t n_prompt;
    gen_finish finish;
    size_t stop_string; /* which of cfg->stop_strings, for GEN_FINISH_STOP_STRING */
    float score;        /* beams: sequences_scores */
    float *logprobs;    /* [n - n_prompt] of the chosen tokens if wanted, or NULL */
    gen_logprob *top;   /* [n - n_prompt][top_logprobs] most probable first, or NULL */
} gen_sequence;

typedef struct gen_result {
    gen_sequence *seqs; /* [n]: requests in order, num_return_sequences each */
    size_t n;
    mltf_arena arena; /* holds it all */
} gen_result;

/* INVALID_INPUT for a model that cannot generate: an encoder, or one without a language-model head. */
mltf_status gen_check_model(const arch_info *info, mltf_err *err);

/* Run all requests, together in one ragged batch. A result is the same alone or in any batch.
 * INVALID_INPUT in transformers' words for a prompt that leaves no room (`max_length`), for values out of
 * range; NO_MEMORY. Nothing is kept on failure. */
mltf_status gen_generate(arch_session *s, const gen_request *reqs, size_t n, gen_result *out,
                         mltf_err *err);
void gen_result_release(gen_result *r);

/* The same, opened up: requests join and leave between steps. One thread at a time.
 *
 *     gen_batch_new(&b, session, err);
 *     gen_batch_add(b, &req, &number, err);            // what req points to stays alive until it is done
 *     while (gen_batch_active(b)) gen_batch_step(b, err);
 *     gen_batch_take(b, number, &result, err);         // as soon as gen_batch_done(b, number)
 *     gen_batch_free(b);
 */
typedef struct gen_batch gen_batch;
mltf_status gen_batch_new(gen_batch **out, arch_session *s, mltf_err *err);
void gen_batch_free(gen_batch *b);
mltf_status gen_batch_add(gen_batch *b, const gen_request *req, size_t *number, mltf_err *err);
size_t gen_batch_active(const gen_batch *b); /* requests that are not done */
/* One forward pass for everything that is active. A request that fails alone (a constraint without a way out)
 * is done with that error, which take returns; the step fails only for what concerns all (NO_MEMORY). */
mltf_status gen_batch_step(gen_batch *b, mltf_err *err);
bool gen_batch_done(const gen_batch *b, size_t number);
void gen_batch_drop(gen_batch *b,
                    size_t number); /* give up on it, whatever its state; the number is then free */
mltf_status gen_batch_take(gen_batch *b, size_t number, gen_result *out,
                           mltf_err *err); /* and drop */

#endif
