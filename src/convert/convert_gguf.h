/* GGUF to a standard Hugging Face checkpoint: config.json, generation_config.json, tokenizer.json and the
 * files around it, chat_template.jinja and safetensors. transformers loads the result, with the same tokens
 * and, up to the type that the weights are stored in, the same logits.
 *
 * GGUF stands on formats/ alone: what a family of models is called here and there is a table of names, and no
 * network has to be built for it. */
#ifndef MLTF_CONVERT_CONVERT_GGUF_H
#define MLTF_CONVERT_CONVERT_GGUF_H

#include "base/status.h"
#include "formats/gguf.h"
#include "formats/json.h"

/* dir must be missing or empty; it appears whole or not at all. UNSUPPORTED names an architecture, tokenizer
 * or option that has no form there. opts may be NULL. */
mltf_status convert_gguf(const char *file, const char *dir, const mltf_convert_options *opts,
                         mltf_err *err);

/* A checkpoint with its linear layers in the width of opts->quantize ("int8", "int4"); see convert_quantize.c.
 * UNSUPPORTED if the network is unknown or has none of a fitting size. */
mltf_status convert_quantize(const char *from, const char *dir, const mltf_convert_options *opts,
                             mltf_err *err);

/* ---- the parts, shared by the files of this directory -------------------------------------- */

/* A family: how its tensors and settings are called on either side. */
typedef enum {
    CONVERT_COPY,
    CONVERT_ROWS_Q, /* rows of each query head in halves instead of pairs (rotary embedding of Llama) */
    CONVERT_ROWS_K, /* the same by the number of key heads */
    CONVERT_QKV,    /* rows of queries, keys, values: those of each key head together */
    CONVERT_QKV_APART, /* all queries, all keys, all values: three tensors, whose names have q, k, v for "#" */
    CONVERT_TRANSPOSE, /* GPT-2's Conv1D; each matrix of a stack */
    CONVERT_MINUS_ONE, /* norms that hold 1 + w in the GGUF file */
    CONVERT_SPLIT,     /* stacked: each a tensor of its own, "#" is its number */
    CONVERT_ONE_ROW,   /* a vector becomes a matrix of one row */
    CONVERT_CHANNELS,  /* [H, n] becomes [H, 1, n], a convolution of each channel by itself */
    CONVERT_VECTOR,    /* a matrix becomes a vector */
    CONVERT_LOG_MINUS, /* log(-x), in float32; a column becomes a vector */
    CONVERT_FROM_TWO,  /* two rows of zeros before the others: RoBERTa's positions begin at 2 */
    CONVERT_MXFP4,     /* blocks as they are, and their scales: TO_blocks, TO_scales */
    /* with the next rule's tensor: */
    CONVERT_JOIN,         /* behind the rows of each matrix come that one's */
    CONVERT_WEAVE,        /* values by turns */
    CONVERT_WEAVE_TURNED, /* columns, and in them values by turns */
    CONVERT_WEAVE_MXFP4,  /* MXFP4 with rows by turns */
    CONVERT_KV_B,         /* each head's columns, then that one's rows (latent attention) */
    CONVERT_JOINED,       /* written with the one before */
    CONVERT_SETTING,      /* goes into config.json, or nowhere */
} convert_op;

typedef enum {
    OPTIONAL,
    REQUIRED,   /* in every layer */
    IN_DENSE,   /* required in the leading layers, which have no experts */
    IN_EXPERTS, /* required in the others */
} convert_need;

/* Names are without ".weight" or ".bias", which stay; or `from` ends with one of them or "$", the end of the name, and `to` is
 * in full. "%" is the number
 * of the layer. */
typedef struct convert_rule {
    const char *from, *to;
    convert_op op;
    convert_need need;
} convert_rule;

typedef struct convert_config convert_config; /* convert_config.h */

typedef struct convert_family {
    const char *name;               /* general.architecture */
    bool (*is)(const gguf_file *g); /* what else the file must be to be of this family, or NULL */
    const char *model_type;         /* of config.json */
    const char *class_name;         /* architectures[0] */
    const convert_rule *rules;      /* ends with from NULL */
    mltf_status (*config)(const convert_config *cc);
} convert_family;

const convert_family *convert_family_find(const gguf_file *g); /* NULL if unknown */
void convert_family_names(mltf_buf *out);

/* Write tokenizer.json, tokenizer_config.json, special_tokens_map.json and the chat templates into dir. */
mltf_status convert_tokenizer(const gguf_file *g, const char *dir, mltf_err *err);
/* An id of tokenizer.ggml.NAME_token_id, or -1 where absent or no token. */
int64_t convert_token_id(const gguf_file *g, const char *name);
mltf_status convert_write_json(const char *dir, const char *name, const json *v,
                               mltf_err *err); /* indent 2, as HF */

#endif
