/* What the files of tasks share, private to this directory: the inside of a pipeline, the row of the
 * registry that a task file defines, and the helpers of task_util.c.
 *
 * A task file defines one `const task_def`. Its `call` gets the arguments of one pipeline(...) call as
 * JSON and answers as JSON; it reads them with the task_arg_* helpers, tokenizes, and runs the model
 * with task_forward(), which cuts any number of sequences into bounded ragged batches. Because a
 * sequence's result is the same alone and in any batch, batch_size only bounds memory. */
#ifndef MLTF_TASKS_TASK_H
#define MLTF_TASKS_TASK_H

#include <pthread.h>

#include "gen/gen_config.h"
#include "tasks/pipeline.h"

typedef struct task_call {
    const pipeline *p;
    const json *input;  /* NULL: the call had keywords only */
    const json *kwargs; /* object or NULL */
    const call_control *ctl;
    mltf_arena *arena; /* of the answer */
    size_t batch_size; /* 0: not given */
} task_call;

typedef struct task_def {
    task_info info;
    const char *class_suffix; /* of the model's class: "ForMaskedLM"; NULL: as config.json says */
    const char *const *class_also; /* other suffixes that serve; ends with NULL; may be NULL */
    const char *gen_defaults;      /* JSON: the pipeline's own generation defaults, or NULL */
    size_t type_width;             /* token types of a token; 0: one */
    bool no_tokenizer;             /* audio and images: loaded only where it exists */
    mltf_status (*init)(pipeline *p, mltf_err *err); /* after loading; may be NULL */
    void (*release)(pipeline *p);                    /* of p->state; may be NULL */
    mltf_status (*call)(const task_call *c, json **out,
                        mltf_err *err); /* NULL: known, not served yet */
} task_def;

struct pipeline {
    const task_def *def;
    char *task;      /* as given, aliases resolved: "translation_en_to_de" */
    char *model_dir; /* where config.json and the weights lie */
    char *folder;    /* as given: where modules.json lies */
    arch_model *model;
    const arch_info *info;
    tokenizer *tk;
    mltf_arena arena;     /* of the configs below */
    json *generation;     /* generation_config.json, or NULL */
    gen_config model_gen; /* the model's own settings: that file, else what config.json says */
    gen_config gen;       /* what a call starts from, merged as Pipeline.__init__ does */
    mltf_str prefix;      /* of config.json or task_specific_params; p NULL: none */
    void *state;          /* a task's own */
    struct task_schedule *schedule; /* the batch that all generating calls share */
    struct task_forwards *forwards; /* the line of those that want one forward pass */
    pthread_mutex_t lock;           /* of what follows */
    gen_trie *trie;                 /* or NULL until the first constraint */
    arch_session **idle;            /* [n_idle] sessions waiting for the next call */
    size_t n_idle, cap_idle;
};

/* ---- task_registry.c ---- */
const task_def *task_def_find(const char *name);

/* ---- task_util.c ---- */

/* CANCELLED or TIMEOUT where the caller wants no more. */
mltf_status task_check(const task_call *c, mltf_err *err);

const json *task_arg(const task_call *c, const char *name); /* NULL: not given */
bool task_arg_given(const task_call *c, const char *name);  /* given and not null */
/* TypeError of Python for the first keyword that `known` (ends with NULL) does not list. */
mltf_status task_args_known(const task_call *c, const char *const *known, const char *function,
                            mltf_err *err);

/* Python's repr() of a value, for messages; in the call's arena. */
const char *task_repr(const task_call *c, const json *v);

/* Keyword arguments of a tokenizer call: truncation, max_length, stride, padding, add_special_tokens … */
typedef struct task_tok_args {
    tok_options opts;
    size_t pad_to; /* padding="max_length": rows are filled up with pad tokens to this length */
    size_t pad_multiple;
    bool truncation_given, padding_given;
} task_tok_args;
/* Read one keyword into *a. False with a complete *err: an unknown one or a bad value. */
mltf_status task_tok_arg(const task_call *c, task_tok_args *a, mltf_str key, const json *value,
                         mltf_err *err);
mltf_status task_tok_args_finish(const task_call *c, task_tok_args *a, mltf_err *err);

/* tokenizer(text, text_pair): refuses values that are no text with transformers' words. */
mltf_status task_encode(const task_call *c, tok_encoding *enc, const json *text, const json *pair,
                        const task_tok_args *a, mltf_err *err);

/* Sequences to run, owned by the list. */
typedef struct task_seqs {
    tok_encoding *encs; /* [n]; special == 2 marks padding, which attention does not see */
    size_t n, cap;
} task_seqs;
tok_encoding *task_seqs_add(task_seqs *s); /* an empty encoding, or NULL: no memory */
void task_seqs_release(task_seqs *s);

/* What one sequence got: views into the session, valid inside the callback. */
typedef struct task_row {
    size_t seq; /* which of the list */
    const tok_encoding *enc;
    size_t rows;         /* of the sequence */
    const float *hidden; /* [rows, H] or NULL */
    const float *pooled; /* [H] or NULL */
    const float *logits; /* [rows, n_logits], or [n_logits] of a sequence head */
    size_t n_logits;
    const float *extra; /* [n_extra] of the sequence, or NULL */
    size_t n_extra;
} task_row;
typedef mltf_status (*task_row_fn)(void *user, const task_row *row, mltf_err *err);

/* Forward all of them in batches of at most batch_size sequences of this call and a bounded number of rows, together
 * with what other calls of the pipeline want at the same moment (task_forward.c). fn may run on another call's
 * thread, while this one waits. */
mltf_status task_forward(const task_call *c, const task_seqs *s, unsigned want, task_row_fn fn,
                         void *user, mltf_err *err);

typedef mltf_status (*task_encode_fn)(const task_call *c, tok_encoding *enc, const json *input,
                                      const task_tok_args *args, mltf_err *err);
/* Forward the call's input, or each of its inputs where it is a list, after encode; fn, whose user is the caller's
 * state, puts an answer into outputs [number of inputs], where null stands before. */
mltf_status task_forward_inputs(const task_call *c, const task_tok_args *args,
                                task_encode_fn encode, unsigned want, json *outputs, task_row_fn fn,
                                void *user, mltf_err *err);

/* In place, float32 as numpy does it. */
void task_softmax(float *x, size_t n);
void task_sigmoid(float *x, size_t n);
size_t task_argmax(const float *x, size_t n); /* the first of the largest */
/* Indexes of the k largest, falling; equal ones in their order. out [k], k <= n. */
void task_top_k(size_t *out, size_t k, const float *x, size_t n);

/* Code points before a byte offset, for one text: cp[byte], [n + 1], in the arena. */
const uint32_t *task_code_points(mltf_arena *a, mltf_str text);

/* ---- task_schedule.c ---- */
mltf_status task_schedule_new(struct task_schedule **out, pipeline *p, mltf_err *err);
void task_schedule_free(struct task_schedule *s);

/* ---- task_forward.c ---- */
mltf_status task_forwards_new(struct task_forwards **out, mltf_err *err);
void task_forwards_free(struct task_forwards *f);

/* ---- task_generation.c ---- */
mltf_status task_generation_init(pipeline *p,
                                 mltf_err *err); /* fills p->generation, model_gen, gen, prefix */

/* What one prompt gave: seqs [n], prompt included for decoders, valid inside the callback. */
typedef struct task_generated {
    size_t prompt; /* which of the list */
    const gen_sequence *seqs;
    size_t n;
    /* of the longest: where transformers returns tensors, shorter ones are filled up … */
    size_t width;
    int32_t fill; /* … with this id */
} task_generated;
typedef mltf_status (*task_generated_fn)(void *user, const task_generated *g, mltf_err *err);

/* The pipeline's settings with the arguments of the call on top, checked. */
mltf_status task_gen_config(const task_call *c, const json *generate_kwargs, gen_config *cfg,
                            mltf_err *err);
/* generate() for each prompt, in batches of bounded size. on_token (may be NULL) as in gen_request; it is
 * given the prompt's number. */
mltf_status task_generate(const task_call *c, const gen_config *cfg, const task_seqs *prompts,
                          gen_token_fn on_token, void *token_user, task_generated_fn fn, void *user,
                          mltf_err *err);

#endif
