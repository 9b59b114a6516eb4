/* One vector a text: hidden states pooled, as sentence-transformers' folders describe it or as asked. */
#ifndef MLTF_TASKS_EMBEDDING_H
#define MLTF_TASKS_EMBEDDING_H

#include "tasks/pipeline.h"

typedef enum {
    EMBED_BY_FOLDER,   /* modules.json where there is one, else the mean of the tokens */
    EMBED_FIRST_TOKEN, /* [CLS] */
    EMBED_MEAN,
    EMBED_MAX,
    EMBED_LAST_TOKEN,
    EMBED_POOLER, /* the model's own pooler output */
} embed_pooling;

typedef struct embed_options {
    embed_pooling pooling;
    int normalize;     /* 0: as the folder says (no, for one without); 1: to length one; -1: no */
    size_t dimensions; /* keep that many, renormalized; 0: all */
    bool truncate;     /* cut texts that are too long; always so where the folder says how long */
    size_t max_length; /* tokens; 0: the model's */
    mltf_str prompt,
        prompt_name; /* before each text, or one of the folder's by its name; p NULL: the folder's default */
} embed_options;

/* Read pooling ("cls", "mean", "max", "last", "pooler"), normalize, dimensions, truncation, max_length, prompt and
 * prompt_name from an object, whose texts are borrowed; other keys are left alone. INVALID_INPUT says which value is wrong. */
mltf_status embed_options_read(embed_options *o, const json *options, mltf_err *err);

typedef struct embeddings {
    float *vectors; /* [n, dim] in the arena */
    size_t n, dim;
    size_t n_tokens; /* special tokens included */
} embeddings;

bool pipeline_has_modules(
    const pipeline *p); /* a sentence-transformers folder: it says how to pool */

/* The pipeline's model must have no head: task feature-extraction, sentence-embedding or sentence-similarity. */
mltf_status pipeline_embed(const pipeline *p, const mltf_str *texts, size_t n,
                           const embed_options *o, const call_control *ctl, mltf_arena *a,
                           embeddings *out, mltf_err *err);
/* The same for texts that are token ids already: ids [start[i], start[i+1]) of text i. */
mltf_status pipeline_embed_ids(const pipeline *p, const int32_t *ids, const size_t *start, size_t n,
                               const embed_options *o, const call_control *ctl, mltf_arena *a,
                               embeddings *out, mltf_err *err);

#endif
