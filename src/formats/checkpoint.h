/* The weights of a Hugging Face checkpoint, whatever files they lie in: model.safetensors, shards
 * with an index, pytorch_model.bin (zip, legacy, sharded; read without executing anything).
 *
 *     checkpoint *ck;
 *     TRY(checkpoint_open(&ck, dir, NULL, err));
 *     const ck_tensor *t = checkpoint_find(ck, "bert.embeddings.word_embeddings.weight");
 *     ...
 *     checkpoint_close(ck);      // all tensor data go with it
 *
 * Tensor data are views into read-only maps (or, where a pickle stored a strided view or a deflated
 * member, an own copy), native little-endian, contiguous, row-major, and *not* necessarily aligned to
 * their element size: kernels read them with unaligned loads. */
#ifndef MLTF_FORMATS_CHECKPOINT_H
#define MLTF_FORMATS_CHECKPOINT_H

#include "base/dtype.h"
#include "base/limits.h"
#include "base/status.h"
#include "base/str.h"

typedef struct ck_tensor {
    const char *name; /* NUL-terminated; as long as the checkpoint is open */
    mltf_dtype dtype;
    size_t ndim;
    size_t shape[LIMIT_TENSOR_DIMS];
    size_t count; /* elements */
    size_t bytes;
    const void *data;
} ck_tensor;

typedef struct checkpoint checkpoint;

/* dir: a directory; `weights` names one file in it, or NULL to look for model.safetensors,
 * model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json (transformers' order).
 * NOT_FOUND where there is none; CORRUPT_FILE names file and tensor; UNSUPPORTED names what it saw
 * (pickle that wants code, git-lfs pointer, TensorFlow or Flax weights only). */
mltf_status checkpoint_open(checkpoint **out, const char *dir, const char *weights, mltf_err *err);
void checkpoint_close(checkpoint *ck); /* NULL is a no-op */

size_t checkpoint_count(const checkpoint *ck);
const ck_tensor *checkpoint_at(const checkpoint *ck, size_t i);           /* order of names */
const ck_tensor *checkpoint_find(const checkpoint *ck, const char *name); /* NULL if absent; hashed */
uint64_t checkpoint_bytes(const checkpoint *ck);                          /* of all tensors */

#endif
