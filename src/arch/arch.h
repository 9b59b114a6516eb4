/* Neural networks by family: load a checkpoint, compute hidden states and logits.
 *
 *     arch_model *m;
 *     TRY(arch_model_load(&m, dir, &(arch_load_options){.pool = pool}, err));
 *     arch_session *s;
 *     TRY(arch_session_new(&s, m, err));
 *     arch_batch batch = {.n_seqs = 2, .start = (size_t[]){0, 5, 9}, .ids = ids};
 *     arch_output out;
 *     TRY(arch_forward(s, &batch, ARCH_WANT_LOGITS, &out, err));    // out.logits, valid until the next call
 *
 * A batch is ragged: all sequences lie packed without padding, start[] gives row ranges. A model is
 * immutable and shared; a session belongs to one thread at a time and owns scratch and KV caches.
 * Letters: T rows (tokens of all sequences), H hidden size, V vocabulary, L labels. */
#ifndef MLTF_ARCH_ARCH_H
#define MLTF_ARCH_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/pool.h"
#include "formats/json.h"

typedef struct arch_model arch_model;
typedef struct arch_session arch_session;

typedef enum { ARCH_ENCODER, ARCH_DECODER, ARCH_ENCODER_DECODER } arch_kind;

typedef enum {
    ARCH_HEAD_NONE, /* AutoModel */
    ARCH_HEAD_LM,   /* …ForCausalLM, …LMHeadModel, …ForConditionalGeneration */
    ARCH_HEAD_MASKED_LM,
    ARCH_HEAD_SEQ_CLS,
    ARCH_HEAD_TOKEN_CLS,
    ARCH_HEAD_QA,
    ARCH_HEAD_MULTIPLE_CHOICE,
    ARCH_HEAD_NEXT_SENTENCE, /* two logits a sequence: does the second text follow the first, or not? */
    ARCH_HEAD_TABLE_QA,      /* TapasForQuestionAnswering */
    ARCH_HEAD_OTHER,
} arch_head;

typedef struct arch_load_options {
    mltf_pool *pool;         /* borrowed; NULL: the caller's thread alone */
    const char *torch_dtype; /* "float32", "bfloat16", "float16", NULL: as stored */
    const char *quantize;    /* NULL, "int8", "int4" */
    /* overrides architectures[0] of config.json ("BertModel" for feature extraction) */
    const char *architecture;
    const json *config_overrides; /* merged over config.json; NULL: none */
    const char *adapter_dir;      /* PEFT adapter applied on top; NULL: none */
    bool check_only; /* all is there and fits; no weight is copied, and the model must not be run */
    mltf_progress_fn progress;
    void *progress_user;
    /* called once loaded for each stored tensor that is the matrix of a linear layer and that quantize would
     * reach, in the order of names; NULL: nobody asks */
    void (*linear)(void *user, const char *tensor);
    void *linear_user;
} arch_load_options;

mltf_status arch_model_load(arch_model **out, const char *dir, const arch_load_options *opts,
                            mltf_err *err);
void arch_model_free(arch_model *m);

/* Facts about the model, borrowed from it. */
typedef struct arch_info {
    const char *model_type; /* "bert" */
    /* "BertForSequenceClassification": the class that transformers would make */
    const char *architecture;
    arch_kind kind;
    arch_head head;
    size_t hidden, vocab, n_layers, n_labels;
    size_t max_positions;        /* SIZE_MAX: no bound */
    size_t max_target_positions; /* of an encoder-decoder's decoder; SIZE_MAX: no bound */
    uint64_t n_params, weight_bytes;
    mltf_dtype dtype;            /* of the stored weights (of most of them) */
    mltf_dtype compute;          /* DT_F32 or DT_BF16 */
    const json *config;          /* config.json, with overrides */
    const char *const *warnings; /* [n_warnings]: surplus tensors, newly initialised ones … */
    size_t n_warnings;
    /* rotary frequencies follow the length (dynamic, longrope), or a text is read both ways: with a cache the answer
     * depends on how tokens are split over calls. Feed a prompt whole, then token by token. */
    bool stepwise;
    /* recurrent layers, or layers that read both ways: no token that a cache holds can be taken back */
    bool stateful;
} arch_info;
const arch_info *arch_model_info(const arch_model *m);
mltf_str arch_label(const arch_model *m, size_t label); /* id2label, or "LABEL_3" */
/* What id2label holds, which may be a number; NULL: nothing. */
const json *arch_label_value(const arch_model *m, size_t label);

mltf_status arch_session_new(arch_session **out, const arch_model *m, mltf_err *err);
void arch_session_free(arch_session *s);
const arch_model *arch_session_model(const arch_session *s);

typedef struct arch_batch {
    size_t n_seqs;
    const size_t *start;           /* [n_seqs + 1] row ranges */
    const int32_t *ids;            /* [T] */
    const int32_t *type_ids;       /* [T], or NULL: zeros. TAPAS: [T, 7] */
    const int32_t *position_ids;   /* [T], or NULL: counted by the model's own rule */
    const uint8_t *attention_mask; /* [T] 0 hides a key inside a sequence, or NULL */
    const float *input_embeds;     /* [T, H] instead of ids, or NULL */
    /* decoders: KV caches, one a sequence, made by arch_cache_new(); NULL: no cache, plain forward.
     * Rows are appended behind what the cache holds. */
    struct arch_cache *const *caches; /* [n_seqs] */
    /* encoder-decoders: ids are the decoder's; the encoder ran before (arch_encode) into the caches. */
} arch_batch;

enum {
    ARCH_WANT_HIDDEN = 1, /* last hidden state after the final norm, [T, H] */
    ARCH_WANT_POOLED = 2, /* pooler output, [n_seqs, H] */
    ARCH_WANT_LOGITS =
        4, /* of the head: LM and token heads [T, V or L]; sequence heads [n_seqs, L]; QA [T, 2] */
    ARCH_WANT_LAST_LOGITS = 8, /* LM heads: only the last row of each sequence, [n_seqs, V] */
    ARCH_WANT_ALL_HIDDEN = 16, /* every hidden_states.N, for feature work and parity tests */
    ARCH_WANT_ATTENTIONS =
        32, /* attention probabilities, where a consumer needs them (cross attentions of whisper) */
};

/* Attention probabilities of one sequence in one layer. */
typedef struct arch_attention {
    const char *kind; /* "self", "cross" */
    size_t layer, seq, heads, tq, tk;
    const float *p; /* [heads, tq, tk] */
} arch_attention;

typedef struct arch_output {
    /* columns of hidden: H, or less where the body ends in a narrower projection (opt-350m) */
    size_t n_hidden;
    float *hidden; /* [T, H] or NULL */
    float *pooled; /* [n_seqs, H] or NULL: this model has no pooler */
    float *logits; /* [logit_rows, n_logits] or NULL */
    size_t logit_rows, n_logits;
    float **all_hidden; /* [n_all][T, H] or NULL */
    size_t n_all;
    float *extra; /* [n_seqs, n_extra] aggregation logits of TAPAS and the like, or NULL */
    size_t n_extra;
    float *
        encoder_hidden; /* classes that run encoder and decoder in one forward: the encoder's states */
    float **encoder_all_hidden; /* [n_encoder_all] or NULL */
    size_t n_encoder_all;
    const arch_attention *attentions; /* layer by layer, sequence by sequence, or NULL */
    size_t n_attentions;
} arch_output;

/* The class of a model_type's model without a head, "gpt2" -> "GPT2Model": what a config.json without `architectures`
 * describes. NULL: the type is not known. */
const char *arch_base_class(mltf_str model_type);
/* Does the family of a model_type have this class, in whatever case it is written, or refuse it with a reason? */
bool arch_has_class(mltf_str model_type, const char *class_name);

/* Buffers in *out belong to the session until its next call. INVALID_INPUT: ids outside the vocabulary,
 * sequence longer than the positions there are. */
mltf_status arch_forward(arch_session *s, const arch_batch *batch, unsigned want, arch_output *out,
                         mltf_err *err);

/* Encoder of an encoder-decoder: runs it and leaves the cross-attention keys in each cache; with
 * ARCH_WANT_HIDDEN (…) out describes the encoder's states. */
mltf_status arch_encode(arch_session *s, const arch_batch *batch, unsigned want, arch_output *out,
                        mltf_err *err);

/* KV cache of one sequence. Grows by itself up to max_tokens; layers that see a window keep no more than that. */
typedef struct arch_cache arch_cache;
mltf_status arch_cache_new(arch_cache **out, const arch_model *m, size_t max_tokens, mltf_err *err);
void arch_cache_free(arch_cache *c);
size_t arch_cache_len(const arch_cache *c);
/* Forget what lies behind len. The ARCH_CACHE_ROLLBACK last tokens can always be taken back; further back, a model whose
 * attention sees a window may have forgotten what the next token needs, as a stateful one always has: then nothing is
 * left, and the text is fed again. */
enum { ARCH_CACHE_ROLLBACK = 256 };
void arch_cache_truncate(arch_cache *c, size_t len);
/* For beams; cross keys are shared. `held`: that many first tokens of `to` are the same as those of `from`, so only
 * what lies behind them is copied. */
mltf_status arch_cache_copy(arch_cache *to, const arch_cache *from, size_t held, mltf_err *err);

/* build/parity --taps listens here: called with what a part of a layer gave, x [rows, cols]; name "attn", "out" …; layer
 * -1: not of a layer. x is read during the call only. */
typedef void (*arch_tap_fn)(void *user, const char *name, int layer, const float *x, size_t rows,
                            size_t cols);
void arch_session_tap(arch_session *s, arch_tap_fn fn, void *user);

#endif
