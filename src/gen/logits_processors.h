/* From a model's logits to the scores that the next token is chosen by.
 *
 * The processors run in the order in which transformers' _get_logits_processor() lists them: penalties and
 * prohibitions, then (only with do_sample) the warpers, then renormalization. Which of them run is decided
 * once, from the config; each is one row of the table in logits_processors.c. */
#ifndef MLTF_GEN_LOGITS_PROCESSORS_H
#define MLTF_GEN_LOGITS_PROCESSORS_H

#include "gen/gen.h"

#define GEN_MAX_PROCESSORS 32

typedef struct gen_processors gen_processors;

/* What they need to know about a request, fixed while it runs. */
typedef struct gen_process_facts {
    const gen_config *cfg; /* max_length and min_length already count the prompt */
    size_t vocab;
    size_t n_prompt; /* tokens before the first generated one, decoder start included */
    /* input of an encoder-decoder's encoder; a decoder's own prompt otherwise */
    gen_ids encoder_ids;
    gen_prefix_fn prefix_allowed;
    void *prefix_user;
} gen_process_facts;

struct gen_processors {
    gen_process_facts facts;
    uint8_t list[GEN_MAX_PROCESSORS]; /* rows of the table, in order */
    size_t n;
    size_t keep;               /* min_tokens_to_keep of the warpers */
    float *values;             /* [vocab] scratch */
    uint32_t *order;           /* [vocab] scratch */
    uint8_t *seen;             /* [vocab] scratch, zero between calls */
    const uint32_t *watermark; /* selfhash's table, or NULL */
    const uint8_t *synthid;    /* SynthID's, or NULL */
};

/* Check ids against the vocabulary and take scratch from the arena. INVALID_INPUT in transformers' words. */
mltf_status gen_processors_init(gen_processors *p, const gen_process_facts *facts,
                                mltf_arena *arena, mltf_err *err);

/* Change scores[vocab] in place for a sequence that so far is ids[0..n), prompt included. */
mltf_status gen_processors_run(gen_processors *p, float *scores, const int32_t *ids, size_t n,
                               mltf_err *err);

/* One token by its probability, softmax(scores): the first whose cumulative mass passes u in [0, 1). */
int32_t gen_pick(const float *scores, size_t vocab, double u);
/* The highest score; the lowest id among equals, as torch.argmax. */
int32_t gen_argmax(const float *scores, size_t vocab);

#endif
