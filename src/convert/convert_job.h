/* One conversion of a GGUF file, shared by the files that make it: convert_gguf.c (settings and order), convert_plan.c (which
 * tensor is written from which), convert_weights.c (their values). */
#ifndef MLTF_CONVERT_CONVERT_JOB_H
#define MLTF_CONVERT_CONVERT_JOB_H

#include "convert/convert_config.h"
#include "formats/safetensors_write.h"

/* One tensor to write: where it comes from and what happens to it. */
typedef struct convert_piece {
    const gguf_tensor *t, *joined; /* joined: the next rule's, of operations that take two */
    convert_op op;
    mltf_dtype dtype;             /* of what is written */
    bool scales;                  /* of MXFP4: these and not the blocks */
    size_t first_row, rows, cols; /* of t; where values of a vector change places, each is a row */
} convert_piece;

typedef struct convert_job {
    const gguf_file *g;
    const convert_family *family;
    mltf_arena arena;
    mltf_dtype dtype;
    int64_t blocks, layers, decoder_layers; /* in the file; of the model; with "dec." before them */
    int64_t dense_layers, heads, kv_heads;  /* layers without experts stand first */
    json *config;
    convert_piece *pieces; // [n]
    st_spec *specs;        // [n]
    size_t n, cap;
    mltf_err *err;
} convert_job;

/* Fills pieces and specs by the family's rules. CORRUPT_FILE where a tensor lacks or does not fit, UNSUPPORTED where one has
 * no place. */
mltf_status convert_plan(convert_job *j);
/* st_source_fn of a convert_job. */
mltf_status convert_put_tensor(void *job, size_t index, st_sink *to, mltf_err *err);

#endif
