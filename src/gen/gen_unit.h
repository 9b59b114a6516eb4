/* Inside gen/: one request while it runs.
 *
 * A unit is a small state machine around the model. Each round its mode says what to feed (plan: which tokens
 * into which KV cache, and what to give back), the batch runs that together with all other units' wishes in
 * ragged forward passes, and the mode digests the answer (advance: choose tokens, drop or copy rows, finish).
 *
 *     gen_batch.c        rounds, prefill in pieces, results
 *     gen_sample.c       greedy, sampling, and both with proposals of a draft model or of the prompt itself
 *     gen_beam.c         beams, beam sampling
 *     gen_group_beam.c   diverse beams and forced words, on the scorer of earlier releases
 *     gen_contrastive.c  contrastive search
 *
 * V is the vocabulary, H the hidden size. */
#ifndef MLTF_GEN_GEN_UNIT_H
#define MLTF_GEN_GEN_UNIT_H

#include "gen/constraint.h"
#include "gen/gen.h"
#include "gen/gen_stop.h"
#include "gen/logits_processors.h"

/* One sequence that grows: its tokens and the caches that hold a beginning of them. */
typedef struct gen_row {
    int32_t *ids; /* [n] of [cap] */
    size_t n, cap;
    arch_cache *cache;
    arch_cache *negative;  /* guidance: its own context … */
    int32_t *negative_ids; /* … of [negative_n] tokens, which ends in the generated ones */
    size_t negative_n;
    gen_matcher *matcher; /* constraint: where in the grammar; NULL without one */
    bool finished;
    gen_finish finish;
    size_t stop_string;
} gen_row;

/* A wish for one forward pass over one cache. */
typedef struct gen_feed {
    arch_cache *cache;
    const int32_t *ids; /* [n] tokens that the cache does not hold yet */
    size_t n, done;     /* fed so far: long prompts go in pieces */
    bool all_logits;    /* of every token fed, not only of the last */
    bool hidden;        /* also the hidden states of every token fed */
    float *logits;      /* out: [1 or n, V] */
    float *states;      /* out: [n, H] */
} gen_feed;

typedef struct gen_unit gen_unit;

typedef struct gen_mode {
    const char *name;
    mltf_status (*start)(gen_unit *u,
                         mltf_err *err); /* once, before the first plan; rows[0] holds the prompt */
    mltf_status (*plan)(gen_unit *u,
                        mltf_err *err); /* fills u->feeds; none: advance is called at once */
    mltf_status (*advance)(gen_unit *u,
                           mltf_err *err); /* sets u->done, with u->seqs, when it is over */
    void (*release)(gen_unit *u);          /* what start made outside the arena; may be NULL */
} gen_mode;
extern const gen_mode gen_mode_sample, gen_mode_beam, gen_mode_group_beam, gen_mode_contrastive;

struct gen_unit {
    const gen_request *req;
    gen_config cfg; /* prepared: max_length and min_length count the prompt, pad_token_id is set */
    const gen_mode *mode;
    void *state; /* of the mode */
    const arch_model *model;
    arch_session *session; /* of the batch; modes do not run it themselves */
    size_t number, vocab, hidden, n_prompt;
    uint64_t arrival;    /* among all requests of the batch */
    gen_ids encoder_ids; /* what the encoder_* processors look at */
    uint64_t seed;
    double started, deadline; /* monotonic seconds; deadline INFINITY: none */
    gen_processors procs;
    gen_stop stop;
    gen_row *rows; /* [n_rows] */
    size_t n_rows;
    gen_row *current; /* whose scores are being processed: the constraint looks here */
    gen_feed *feeds;  /* [n_feeds] of [cap_feeds] */
    size_t n_feeds, cap_feeds;
    bool encoded, planned, done, failed;
    mltf_err err;       /* if failed */
    gen_sequence *seqs; /* [n_seqs] when done, in the arena */
    size_t n_seqs;
    mltf_arena arena;
};

/* Append a wish. Buffers for its answer come from the feed that had this place before, or grow. */
mltf_status gen_feed_add(gen_unit *u, arch_cache *cache, const int32_t *ids, size_t n,
                         bool all_logits, bool hidden, mltf_err *err);

/* Feed what row r has and its cache has not yet; with guidance what stands for the text without its prompt, behind it. */
mltf_status gen_feed_row(gen_unit *u, gen_row *r, mltf_err *err);
/* Classifier-free guidance (Sanchez et al. 2023), away from what the model says without the prompt: scores [V] are log
 * probabilities, without [V] the logits of the second feed, which are overwritten. */
void gen_guide(const gen_unit *u, float *scores, float *without);

/* Rows 1 … n-1 become copies of row 0: its tokens, caches, matcher. Their own caches are made here. */
mltf_status gen_rows_spread(gen_unit *u, mltf_err *err);
/* Row i continues what was row from[i]; caches move where they can and are copied where they must. Tokens are
 * exchanged too; finished flags stay. */
mltf_status gen_rows_reorder(gen_unit *u, const size_t *from, mltf_err *err);
mltf_status gen_row_push(gen_row *r, int32_t id, mltf_err *err);

/* The scores of one row: processors (and the constraint) over scores[V], in place. */
mltf_status gen_process(gen_unit *u, gen_row *row, float *scores, const int32_t *ids, size_t n,
                        mltf_err *err);

/* Modes that try tokens and take them back ("assisted generation") do not go with models that keep a state. */
mltf_status gen_needs_no_state(const gen_unit *u, const char *mode, mltf_err *err);
bool gen_is_eos(const gen_unit *u, int32_t id);
/* Is ids[0..n), which just got its last token, at an end, and why? Eos, length, stop string, time. */
mltf_status gen_ended(gen_unit *u, const int32_t *ids, size_t n, bool *ended, gen_finish *why,
                      size_t *stop_string, mltf_err *err);

/* Fill out->ids and lengths from ids[0..n), in the unit's arena. */
mltf_status gen_sequence_set(gen_unit *u, gen_sequence *out, const int32_t *ids, size_t n,
                             mltf_err *err);

#endif
