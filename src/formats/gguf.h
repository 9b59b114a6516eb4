/* GGUF, the single-file format of llama.cpp: metadata, vocabulary and (mostly quantized) tensors.
 *
 *   1. "GGUF", version (2 or 3), number of tensors, number of metadata entries
 *   2. entries: name, type, value; arrays have an element type and a count
 *   3. tensors: name, number of dimensions (the first one is contiguous), dimensions, type, offset
 *   4. padding to general.alignment (32), then the data that the offsets count from
 *
 * All numbers little-endian; a text is a 64-bit length and its bytes. The file is mapped and hostile:
 * counts, lengths and ranges are checked against its end before anything is allocated.
 *
 *     gguf_file *g;
 *     TRY(gguf_open(&g, "model.Q4_1.gguf", err));
 *     mltf_str arch = gguf_string(g, "general.architecture", STR(""));
 *     const gguf_tensor *t = gguf_find(g, "token_embd.weight");
 *     gguf_dequantize(row, t, 5 * t->shape[0], t->shape[0]);   // row 5 as floats
 *     gguf_close(g); */
#ifndef MLTF_FORMATS_GGUF_H
#define MLTF_FORMATS_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

/* Tensor types: X(name, number in the file, elements a block, bytes a block). */
// clang-format off
#define GGUF_TENSOR_TYPES(X)   \
    X(F32,      0,   1,   4) \
    X(F16,      1,   1,   2) \
    X(Q4_0,     2,  32,  18) \
    X(Q4_1,     3,  32,  20) \
    X(Q5_0,     6,  32,  22) \
    X(Q5_1,     7,  32,  24) \
    X(Q8_0,     8,  32,  34) \
    X(Q2_K,    10, 256,  84) \
    X(Q3_K,    11, 256, 110) \
    X(Q4_K,    12, 256, 144) \
    X(Q5_K,    13, 256, 176) \
    X(Q6_K,    14, 256, 210) \
    X(IQ2_XXS, 16, 256,  66) \
    X(IQ2_XS,  17, 256,  74) \
    X(IQ3_XXS, 18, 256,  98) \
    X(IQ1_S,   19, 256,  50) \
    X(IQ4_NL,  20,  32,  18) \
    X(IQ3_S,   21, 256, 110) \
    X(IQ2_S,   22, 256,  82) \
    X(IQ4_XS,  23, 256, 136) \
    X(IQ1_M,   29, 256,  56) \
    X(BF16,    30,   1,   2) \
    X(TQ1_0,   34, 256,  54) \
    X(TQ2_0,   35, 256,  66) \
    X(MXFP4,   39,  32,  17)
// clang-format on
#define X(name, number, elements, bytes) GGUF_##name = number,
typedef enum { GGUF_TENSOR_TYPES(X) } gguf_tensor_type;
#undef X

typedef enum { /* of metadata, as numbered in the file */
    GGUF_V_U8,
    GGUF_V_I8,
    GGUF_V_U16,
    GGUF_V_I16,
    GGUF_V_U32,
    GGUF_V_I32,
    GGUF_V_F32,
    GGUF_V_BOOL,
    GGUF_V_STRING,
    GGUF_V_ARRAY,
    GGUF_V_U64,
    GGUF_V_I64,
    GGUF_V_F64,
} gguf_value_type;

typedef struct gguf_value {
    mltf_str key;
    gguf_value_type type; /* of the elements where is_array */
    bool is_array;
    size_t n;                /* elements; 1 where no array */
    const uint8_t *data;     /* numbers, packed as in the file */
    const mltf_str *strings; /* [n] for texts; UTF-8 is not checked */
} gguf_value;

typedef struct gguf_tensor {
    mltf_str name;
    gguf_tensor_type type;
    size_t ndim;
    size_t shape[4]; /* [0] is contiguous; 1 past ndim */
    size_t count, bytes;
    const uint8_t *data;
} gguf_tensor;

typedef struct gguf_file gguf_file;

/* CORRUPT_FILE names what is wrong; UNSUPPORTED an unknown version or tensor type. */
/* For who wants a checkpoint's directory: UNSUPPORTED, and what to do about it, where path is a GGUF file; else OK. */
mltf_status gguf_refuse(const char *path, mltf_err *err);
mltf_status gguf_open(gguf_file **out, const char *path, mltf_err *err);
mltf_status gguf_read(gguf_file **out, const uint8_t *p, size_t n, mltf_err *err); /* p stays the caller's, and must stay */
void gguf_close(gguf_file *g);

const gguf_value *gguf_get(const gguf_file *g, const char *key);   /* NULL if absent */
mltf_str gguf_string(const gguf_file *g, const char *key, mltf_str fallback);
int64_t gguf_int(const gguf_file *g, const char *key, int64_t fallback);   /* any integer type; a one-valued array too */
double gguf_double(const gguf_file *g, const char *key, double fallback);  /* any number */
bool gguf_bool(const gguf_file *g, const char *key, bool fallback);
double gguf_number_at(const gguf_value *v, size_t i);                      /* element of a number array */

size_t gguf_count(const gguf_file *g);
const gguf_tensor *gguf_at(const gguf_file *g, size_t i); /* order of the file */
const gguf_tensor *gguf_find(const gguf_file *g, const char *name);

/* Elements [first, first + n) as floats; both multiples of the type's block. */
void gguf_dequantize(float *out, const gguf_tensor *t, size_t first, size_t n);
const char *gguf_type_name(gguf_tensor_type t);

#endif
