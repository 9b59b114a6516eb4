/* Writes safetensors as transformers' save_pretrained() does: one model.safetensors, or shards and an
 * index where the weights are larger than a shard may be. Tensors come from a function one after the
 * other and do not have to be in memory together; the bytes are those that the safetensors library
 * writes for the same tensors.
 *
 *     const st_spec specs[] = {{.name = "wte.weight", .dtype = DT_BF16, .ndim = 2, .shape = {50257, 768}}};
 *     TRY(st_write(dir, specs, 1, 0, source, user, NULL, NULL, err));
 *
 *     static mltf_status source(void *user, size_t i, st_sink *to, mltf_err *err)
 *     {
 *         return st_put(to, weights_of(user, i), bytes_of(user, i), err);   // in one piece or in many
 *     } */
#ifndef MLTF_FORMATS_SAFETENSORS_WRITE_H
#define MLTF_FORMATS_SAFETENSORS_WRITE_H

#include "base/dtype.h"
#include "base/limits.h"
#include "base/status.h"

typedef struct st_spec {
    const char *name;
    mltf_dtype dtype;
    size_t ndim;
    size_t shape[LIMIT_TENSOR_DIMS];
} st_spec;

typedef struct st_sink st_sink;
mltf_status st_put(st_sink *to, const void *p, size_t n, mltf_err *err);

/* Must st_put() exactly the bytes of tensor i. */
typedef mltf_status (*st_source_fn)(void *user, size_t i, st_sink *to, mltf_err *err);

/* dir exists; files of these names in it must not. max_shard_bytes 0: 5 GB, as transformers. On failure the
 * file that was being written is removed. */
mltf_status st_write(const char *dir, const st_spec *specs, size_t n, uint64_t max_shard_bytes, st_source_fn source,
                     void *user, mltf_progress_fn progress, void *progress_user, mltf_err *err);

#endif
