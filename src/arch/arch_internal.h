/* What a family file is written against: its entry in the registry, config.json, positions, heads.
 *
 * A family is one file, arch_xxx.c, in this order: head comment with the block diagram, `xxx_config`
 * with the keys of config.json, weight structs, load, block, forward, and one `const arch_family`;
 * see arch_registry.c for how to add one. Families never include each other.
 *
 * Life: arch_load.c reads config.json, finds the family by model_type and the class by `architectures`,
 * opens the checkpoint, and calls family->load. A forward call fills an arch_run and calls
 * family->forward, which leaves what was wanted in run->out. */
#ifndef MLTF_ARCH_INTERNAL_H
#define MLTF_ARCH_INTERNAL_H

#include "arch/arch.h"
#include "nn/nn.h"
#include "nn/nn_load.h"

typedef struct arch_run arch_run;
typedef struct arch_build arch_build;

/* The head of a class whose name does not tell it by its end (arch_head_of). */
typedef struct arch_class_head {
    const char *class_name;
    arch_head head;
} arch_class_head;

/* A class, or a model_type, of the library that is not supported, and why: ends a sentence. */
typedef struct arch_refusal {
    const char *name, *why;
} arch_refusal;
#define ARCH_SEARCHES_SPANS                                                                        \
    "it searches spans with beams and scores no tokens, without which the library's pipeline "     \
    "fails as well"

typedef struct arch_family {
    const char *const *model_types; /* of config.json, ends with NULL */
    const char *const *classes;   /* "BertForMaskedLM" …, ends with NULL; first the base class */
    const arch_class_head *heads; /* of unusual class names, ends with {0}; NULL: none */
    const arch_refusal *refused;  /* ends with {0}; NULL: none that needs a word */
    arch_kind kind;
    const char *base_prefix;      /* "bert.", before the base model's tensors in files of heads */
    const char *const *ignorable; /* endings of stored tensors that mean nothing, ends with NULL */
    /* Read b->cfg, load b->ld; sets m->impl and m->info's numbers. */
    mltf_status (*load)(arch_build *b, mltf_err *err);
    void (*forward)(arch_run *r);
    void (*encode)(arch_run *r); /* encoder-decoders: fill r->seqs.memory; else NULL */
    /* families that can be the decoder of two models side by side (arch_encoder_decoder.c): the keys of an encoder's
     * states x [T, H] into r->seqs.memory; else NULL */
    void (*remember)(arch_run *r, const float *x);
} arch_family;

/* The classes that most encoders, and most decoders, have. */
#define ARCH_ENCODER_CLASSES(name)                                                                 \
    name "Model", name "ForMaskedLM", name "ForSequenceClassification",                            \
        name "ForTokenClassification", name "ForQuestionAnswering", name "ForMultipleChoice"
#define ARCH_DECODER_CLASSES(name)                                                                 \
    name "Model", name "ForCausalLM", name "ForSequenceClassification",                            \
        name "ForTokenClassification"
#define ARCH_DECODER_CLASSES_QA(name) ARCH_DECODER_CLASSES(name), name "ForQuestionAnswering"

/* NULL if no family knows the type. */
const arch_family *arch_family_find(mltf_str model_type);
/* Why none does, or NULL: it is just not here. */
const char *arch_why_refused(mltf_str model_type);
/* The family's class of that name, in whatever case ("MPTForCausalLM": MptForCausalLM); NULL: it has none. */
const char *arch_class_find(const arch_family *f, mltf_str name);
/* By the ending of the class's name, or as its family says. */
arch_head arch_head_of(mltf_str class_name);

struct arch_model {
    arch_info info;
    const arch_family *family;
    json_doc config;
    const json *
        text_config; /* of the text model inside of a wrapper (arch_wrapper.c); NULL: this is none */
    checkpoint *ck, *adapter; /* NULL: no adapter */
    mltf_pool *pool;
    mltf_arena own; /* weights that had to be converted, and everything `impl` points to */
    void *impl;     /* the family's model struct */
    nn_cache_shape cache_shape; /* layers 0: this model has no cache */
    nn_cache_shape cross_shape; /* of encoder-decoders */
    size_t recompute_past; /* longrope: a sequence that grows past this many positions is computed
                                 * anew with other frequencies; 0: never */
    /* models that read both ways: so many of the last tokens are computed anew with each that follows; SIZE_MAX: all */
    size_t reread;
    /* with caches a row of id `ask` stands behind each sequence, in no cache, and its scores are the next token's */
    bool asks;
    int32_t ask;
    const char **labels; /* [n_labels] where id2label is absent and there are many; else NULL */
    const char *warnings[8];
};

struct arch_session {
    const arch_model *m;
    nn_ctx cx;
    /* of the last call, reused */
    int32_t *pos;
    size_t pos_cap;
    nn_cache **caches;
    size_t caches_cap;
    nn_memory **memory; /* [n_memory] references held during the call */
    size_t n_memory, memory_cap;
    float **all_hidden;
    size_t n_hidden, hidden_cap;
    /* What the family keeps from pass to pass because it depends on the weights alone; NULL before it made it.
     * Lies in kept_own, which goes with the session. */
    void *kept;
    mltf_arena kept_own;
};

struct arch_cache {
    const arch_model *m;
    nn_cache kv;
    nn_memory *memory; /* of the encoder; NULL before arch_encode */
    int32_t *ids; /* [ids_cap] what the cache holds, where the model may have to compute it anew */
    size_t ids_cap;
};

/* ------------------------------------------------------------------ config.json (arch_config.c)
 *
 * Getters with the default of the Python class. `key` may hold alternatives, "n_embd|hidden_size": the
 * first one present and not null counts. A value of the wrong type or out of bounds is a sticky error
 * that names the key. */

typedef struct arch_config {
    const json *root;
    mltf_err err; /* the first failure */
} arch_config;

const json *cfg_get(const arch_config *c, const char *key); /* NULL if absent or null */
size_t cfg_size(arch_config *c, const char *key, size_t fallback, size_t min, size_t max);
size_t cfg_dim(arch_config *c, const char *key,
               size_t fallback); /* 1 to 1M: widths, heads, vocabulary up to 16M */
size_t cfg_layers(arch_config *c, const char *key, size_t fallback); /* 0 to LIMIT_LAYERS */
float cfg_float(arch_config *c, const char *key, float fallback);
bool cfg_bool(arch_config *c, const char *key, bool fallback);
mltf_str cfg_str(arch_config *c, const char *key, const char *fallback);
k_act cfg_act(arch_config *c, const char *key, const char *fallback);
int64_t cfg_token(arch_config *c, const char *key,
                  int64_t fallback); /* a token id, or -1 for null */
void cfg_fail(arch_config *c, const char *fmt, ...) MLTF_PRINTF(2, 3);
mltf_status cfg_done(const arch_config *c, mltf_err *err); /* the first failure */
/* layer_types[il] == name; `fallback` where the key is absent. */
bool cfg_layer_is(arch_config *c, size_t il, const char *name, bool fallback);
/* Half of attention_window, which is one number or one for each layer, of both sides together (longformer, led). */
size_t cfg_window_side(arch_config *c, size_t il);

/* Frequencies from rope_theta, rope_scaling (4.x) or rope_parameters (5.x). dim: rotated entries of a head
 * (partial rotary already applied). layer_type: key inside a nested rope_parameters ("full_attention"), or
 * NULL. Unknown types are refused by name. */
typedef struct arch_rope_options {
    size_t dim;
    float theta; /* default of the class where config.json is silent */
    size_t max_positions;
    size_t original; /* default of the class for original_max_position_embeddings; 0: it has none */
    bool interleaved;
    const char *layer_type; /* may be NULL */
    const char *theta_key;  /* "rope_theta", "rotary_emb_base" …; NULL: "rope_theta" */
    bool ignore_scaling;    /* rope_scaling does not count: nemotron, local layers of gemma3 */
    bool ntk_alpha;         /* "alpha" of a dynamic rope stretches the base (hunyuan) */
    bool round_up; /* an odd dim turns one entry more (gpt_neox); the caller has room for it */
} arch_rope_options;
void arch_rope_load(nn_rope *r, arch_build *b, const arch_rope_options *o);
/* How many entries of a head rotate: partial_rotary_factor of rope_parameters, else `key` of config.json. */
size_t arch_rope_dim(arch_config *c, size_t head_dim, const char *key, double fallback);

/* ------------------------------------------------------------------ wrappers (arch_wrapper.c)
 *
 * If config.json describes a model of images and text, and a language model is wanted (AutoModelForCausalLM makes the
 * wrapper itself): sets m->text_config and the architecture; *model_type becomes the text model's, *want the wrapper. */
bool arch_wrapper_open(arch_model *m, mltf_str *model_type, mltf_str *want);
/* Before every name of the text model, "language_model." or "", and the base model's prefix behind it. */
const char *arch_wrapper_root(const checkpoint *ck);
#define ARCH_WRAPPER_PREFIX "model.language_model.|model."

/* ------------------------------------------------------------------ while loading */

struct arch_build {
    arch_model *m;
    arch_config cfg;
    nn_loader ld;
};

/* Zeroed memory that lives as long as the model; NULL (and a sticky error in ld) if there is none. */
void *arch_new(arch_build *b, size_t n, size_t size);
/* NO_MEMORY or config errors so far; call after reading the config and before loading tensors. */
mltf_status arch_build_ok(const arch_build *b, mltf_err *err);
/* The last line of load: the family's model and its numbers. max_positions SIZE_MAX: no bound. */
mltf_status arch_done(arch_build *b, void *impl, size_t hidden, size_t vocab, size_t n_layers,
                      size_t max_positions, mltf_err *err);

/* ------------------------------------------------------------------ while running (arch_run.c) */

struct arch_run {
    arch_session *s;
    const arch_model *m;
    const void *impl;
    nn_ctx *cx;
    const arch_batch *batch;
    unsigned want;
    nn_seqs seqs;
    arch_output *out;
};

/* Positions: those of the batch, or past + 0, 1, 2 … (`offset` added to counted ones). */
void arch_positions(arch_run *r, size_t offset);
/* roberta: counts tokens that are not padding, from pad + 1; padding itself stands at pad. */
void arch_positions_after_padding(arch_run *r, int64_t pad);
/* token rows: w[ids], or the batch's input_embeds. */
float *arch_embed_tokens(arch_run *r, const nn_embed_w *w);
/* Type ids of the batch, or row 0 for all. */
void arch_add_types(arch_run *r, float *x, const nn_embed_w *w);
/* x [H] += the sines and cosines of a position, with the frequencies of tensor2tensor (m2m_100, xglm). */
void arch_add_sines(float *x, size_t pos, size_t H);
/* New memories for the rows of this run, as r->seqs.memory (for classes that run encoder and decoder in one
 * forward). They live until the next call. */
mltf_status arch_run_memory(arch_run *r, mltf_err *err);
/* x [T, cols] are an encoder's last states and the hidden states kept so far are its own: into the encoder_*
 * fields of the output; hidden states that follow are the decoder's. */
void arch_keep_encoder(arch_run *r, const float *x, size_t cols);
/* Append a copy of x [T, cols] to out->all_hidden if the caller wants them. */
void arch_keep_hidden(arch_run *r, const float *x, size_t cols);

/* ------------------------------------------------------------------ heads (arch_heads.c)
 *
 * Every head is: choose rows, then optionally dense, activation and norm, then `out`. */

typedef enum {
    POOL_ROWS,       /* every token: LM, masked LM, token classification, QA */
    POOL_FIRST,      /* the first token of each sequence */
    POOL_LAST_TOKEN, /* the last one that is not padding (decoders' classification) */
    POOL_MEAN,       /* mean over the tokens that the mask lets through */
    POOL_LAST_EOS,   /* the last end-of-sequence token (bart) */
} arch_pool;

typedef struct arch_head_w {
    arch_pool pool;
    nn_linear_w dense; /* absent: none */
    k_act act;
    nn_norm_w norm;  /* kind NONE: none */
    nn_linear_w out; /* absent: the head's answer is what dense gave */
    float scale;     /* of the logits; 0: 1 */
    /* mobilebert: reads the columns behind those of `out` and is added; absent: none */
    nn_linear_w out2;
    float softcap; /* 0: none */
    int64_t pad;   /* POOL_LAST_TOKEN: padding id, or -1; POOL_LAST_EOS: the eos id */
} arch_head_w;

typedef struct arch_heads {
    arch_head_w pooler; /* base models: `dense` absent: no pooler */
    arch_head_w head;   /* of the class */
    bool has_head, has_pooler;
} arch_heads;

/* x [T, cols] is the last hidden state: fills out->hidden, pooled and logits as wanted. */
void arch_heads_forward(arch_run *r, const arch_heads *h, const float *x, size_t cols);

/* The usual load lines, for the head that m->info.head names. Anything else the family loads itself. */
typedef struct arch_encoder_names {
    const char *pooler; /* in the base model's scope, "pooler.dense"; NULL: none */
    k_act pooler_act;
    const char *cls_dense; /* scope "": "classifier.dense", or NULL */
    k_act cls_act;
    bool cls_pooler;       /* the classifier reads the pooler's output (BERT) */
    const char *cls_out;   /* "classifier" */
    const char *mc_out;    /* multiple choice, NULL: cls_out */
    const char *token_out; /* "classifier" */
    const char *qa_out;    /* "qa_outputs" */
    const char *nsp_out;   /* "cls.seq_relationship", on the pooler's output */
    const char *mlm_dense; /* "cls.predictions.transform.dense" */
    size_t mlm_width;      /* of dense, where it is not the embedding's (rembert); 0: it is */
    bool mlm_dense_no_bias;
    const char *mlm_norm;
    k_act mlm_act;
    const char *mlm_out;  /* "cls.predictions.decoder": absent in the file means tied */
    const char *mlm_bias; /* "cls.predictions.bias|cls.predictions.decoder.bias" */
    float eps;
} arch_encoder_names;
void arch_encoder_heads_load(arch_build *b, arch_heads *h, const arch_encoder_names *n,
                             size_t hidden, const nn_embed_w *tokens);

/* The classifiers of SequenceSummary, with the keys summary_type, summary_use_proj, summary_activation and
 * summary_proj_to_labels; what config.json is silent about is said here. */
typedef struct arch_summary {
    const char *type, *act; /* act NULL: none */
    bool project,
        to_labels; /* to_labels: the projection gives the logits, and `out` reads them for multiple choice */
    const char *out; /* "logits_proj" */
} arch_summary;
void arch_summary_load(arch_build *b, arch_heads *h, const arch_summary *s, size_t hidden);

/* Decoders: lm_head (tied or not), score, classifier, qa_outputs. */
void arch_decoder_heads_load(arch_build *b, arch_heads *h, size_t hidden, const nn_embed_w *tokens,
                             const char *lm_head, unsigned lm_flags, bool tied_default);

#endif
