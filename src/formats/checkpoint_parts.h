/* What the readers of single weight files share; inside of formats/ only.
 *
 * Each reader gets the bytes of one mapped file and appends its tensors to a list. Data pointers lead
 * into those bytes or, where they had to be unpacked, into the list's arena. */
#ifndef MLTF_FORMATS_CHECKPOINT_PARTS_H
#define MLTF_FORMATS_CHECKPOINT_PARTS_H

#include "base/arena.h"
#include "formats/checkpoint.h"

typedef struct ck_list {
    mltf_arena *arena; /* of names, unpacked data and the items themselves */
    ck_tensor *items;
    size_t n, cap;
} ck_list;

/* A new last tensor with a copy of that name (a NUL in it becomes U+FFFD, so that it can be printed
 * and is never taken for another); NULL if out of memory. */
ck_tensor *ck_list_add(ck_list *l, mltf_str name);

/* .safetensors:
 *   1. 8 bytes: length N of the header, little-endian, at most 100 MB
 *   2. N bytes: JSON object, tensor name -> {"dtype", "shape", "data_offsets": [begin, end]} relative
 *      to the end of the header, "__metadata__" -> object of strings; may end in spaces
 *   3. the data: tensors without holes, overlaps or anything behind the last one */
mltf_status st_read(ck_list *out, const uint8_t *p, size_t n, mltf_err *err);

/* pytorch_model.bin: what torch.save() writes, a zip file (PyTorch 1.6 on) or a chain of pickles.
 * Storages are used in place; a view that is not contiguous is copied. */
mltf_status torch_bin_read(ck_list *out, const uint8_t *p, size_t n, mltf_err *err);

/* Fails with words for the files that are often found in place of weights (a Git LFS pointer, a web
 * page); OK for all else. */
mltf_status ck_refuse_placeholder(const uint8_t *p, size_t n, mltf_err *err);

#endif
