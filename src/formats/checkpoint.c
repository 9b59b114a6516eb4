#include "formats/checkpoint.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/file.h"
#include "formats/checkpoint_parts.h"
#include "formats/json.h"

enum { MAX_SHARDS = 10000 }; // the largest models have some hundred

struct checkpoint {
    mltf_arena arena;
    mltf_map *maps; // [n_maps]
    size_t n_maps;
    ck_tensor *tensors; // [n], sorted by name
    size_t n;
    uint32_t *slots; // [n_slots], a power of two; tensor + 1 or 0
    size_t n_slots;
    uint64_t bytes;
};

ck_tensor *ck_list_add(ck_list *l, mltf_str name)
{
    if (!ARENA_RESERVE(l->arena, l->items, l->cap, l->n + 1)) return NULL;
    mltf_buf printable = MLTF_BUF_INIT;
    if (name.n && memchr(name.p, '\0', name.n)) {
        for (size_t i = 0; i < name.n; i++) {
            if (name.p[i])
                buf_putc(&printable, name.p[i]);
            else
                buf_puts(&printable, "\xEF\xBF\xBD");
        }
        name = buf_str(&printable);
    }
    const char *copy = printable.failed ? NULL : arena_strdup(l->arena, name.p, name.n);
    mltf_buf_release(&printable);
    if (!copy) return NULL;
    ck_tensor *t = &l->items[l->n++];
    *t = (ck_tensor){.name = copy};
    return t;
}

mltf_status ck_refuse_placeholder(const uint8_t *p, size_t n, mltf_err *err)
{
    const mltf_str s = {(const char *)p, n > 200 ? 200 : n};
    if (str_starts(s, "version https://git-lfs.github.com/spec/"))
        return mltf_fail(
            err, MLTF_UNSUPPORTED,
            "this is a Git LFS pointer, not the weights: run \"git lfs pull\" in the repository");
    size_t i = 0;
    while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\n' || s.p[i] == '\r' || s.p[i] == '\t')) i++;
    static const char *const tags[] = {"<!doctype html", "<html", "<?xml"};
    for (size_t k = 0; k < sizeof tags / sizeof *tags; k++) {
        size_t m = 0;
        while (tags[k][m] && i + m < s.n &&
               (s.p[i + m] == tags[k][m] || (s.p[i + m] | 0x20) == tags[k][m]))
            m++;
        if (!tags[k][m])
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "this is a web page, not the weights: the download went wrong");
    }
    return MLTF_OK;
}

/* ---- the files ----------------------------------------------------------------------------- */

static mltf_status read_file(checkpoint *ck, ck_list *list, const char *dir, const char *name,
                             mltf_err *err)
{
    char *path = path_join(dir, name);
    if (!path) return mltf_fail_memory(err);
    mltf_map *map = &ck->maps[ck->n_maps];
    mltf_status st = map_open(map, path, err);
    if (!st) {
        ck->n_maps++;
        st = str_ends(str_from(name), ".safetensors") ? st_read(list, map->p, map->n, err)
                                                      : torch_bin_read(list, map->p, map->n, err);
        if (st) mltf_err_wrap(err, "could not read \"%s\"", path);
    }
    free(path);
    return st;
}

static mltf_status room_for_maps(checkpoint *ck, size_t n, mltf_err *err)
{
    ck->maps = calloc(n, sizeof *ck->maps);
    return ck->maps ? MLTF_OK : mltf_fail_memory(err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const ck_tensor *)a)->name, ((const ck_tensor *)b)->name);
}

typedef struct placed { // a tensor and the shard it was found in
    ck_tensor t;
    size_t shard, order;
} placed;

static int by_name_and_order(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    const int order = strcmp(x->t.name, y->t.name);
    return order ? order : x->order < y->order ? -1 : 1;
}

/* Shards may hold a tensor twice: the shard that the index names counts, and where the index does not
 * know the tensor the last one does, as in transformers. Each that the index knows must be there. */
static mltf_status pick(checkpoint *ck, placed *all, size_t n, const json *map, const char **names,
                        mltf_err *err)
{
    if (n) qsort(all, n, sizeof *all, by_name_and_order);
    ck->tensors = arena_calloc(&ck->arena, n + 1, sizeof *ck->tensors);
    size_t *shards = arena_calloc(&ck->arena, n + 1, sizeof *shards);
    json_member *wanted = arena_calloc(&ck->arena, map->o.n + 1, sizeof *wanted);
    if (!ck->tensors || !shards || !wanted) return mltf_fail_memory(err);
    // the index sorted the same way, so that both are walked once; of a key twice the last counts
    placed *index = calloc(map->o.n + 1, sizeof *index);
    if (!index) return mltf_fail_memory(err);
    for (size_t i = 0; i < map->o.n; i++) {
        index[i].t.name = map->o.members[i].key.p; // followed by a NUL
        index[i].order = i;
    }
    qsort(index, map->o.n, sizeof *index, by_name_and_order);
    mltf_status st = MLTF_OK;
    size_t at = 0;
    for (size_t i = 0; i < map->o.n && !st; i++) {
        if (i + 1 < map->o.n && strcmp(index[i].t.name, index[i + 1].t.name) == 0) continue;
        const char *name = index[i].t.name;
        const mltf_str shard = map->o.members[index[i].order].value.s;
        for (; at < n && strcmp(all[at].t.name, name) < 0; at++) {
            if (at + 1 < n && strcmp(all[at].t.name, all[at + 1].t.name) == 0) continue;
            ck->tensors[ck->n++] = all[at].t; // the index does not know it
        }
        bool found = false;
        for (; at < n && strcmp(all[at].t.name, name) == 0; at++) {
            if (!str_is(shard, names[all[at].shard])) continue;
            if (found) ck->n--;
            ck->tensors[ck->n++] = all[at].t;
            found = true;
        }
        if (!found)
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "tensor \"%s\" is not in \"" STR_FMT "\", where the index looks for it",
                           name, STR_ARG(shard));
    }
    for (; at < n && !st; at++) {
        if (at + 1 < n && strcmp(all[at].t.name, all[at + 1].t.name) == 0) continue;
        ck->tensors[ck->n++] = all[at].t;
    }
    free(index);
    return st;
}

static mltf_status read_shards(checkpoint *ck, const char *dir, const json *index, mltf_err *err)
{
    const json *map = json_get(index, "weight_map");
    if (!json_is(map, JSON_OBJECT))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "the index has no \"weight_map\" object");
    const char **names = malloc((map->o.n + 1) * sizeof *names); // sorted, each once
    if (!names) return mltf_fail_memory(err);
    placed *all = NULL;
    mltf_status st = MLTF_OK;
    size_t n_names = 0, n_all = 0;
    for (size_t i = 0; i < map->o.n && !st; i++) {
        const json_member *m = &map->o.members[i];
        if (m->value.type != JSON_STRING)
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "the index names no file for tensor \"" STR_FMT "\"", STR_ARG(m->key));
        else if (!path_is_inside(m->value.s))
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "the index names \"" STR_FMT "\", a file outside of the directory",
                           STR_ARG(m->value.s));
        else
            names[n_names++] = m->value.s.p; // followed by a NUL, as the parser leaves texts
    }
    if (!st && n_names == 0) st = mltf_fail(err, MLTF_CORRUPT_FILE, "the index names no tensors");
    if (st) goto done;
    qsort(names, n_names, sizeof *names, compare_names);
    size_t kept = 1;
    for (size_t i = 1; i < n_names; i++) {
        if (strcmp(names[i], names[kept - 1]) != 0) names[kept++] = names[i];
    }
    n_names = kept;
    if (n_names > MAX_SHARDS) {
        st = mltf_fail(err, MLTF_CORRUPT_FILE, "the index names %zu files, the limit is %d",
                       n_names, MAX_SHARDS);
        goto done;
    }
    st = room_for_maps(ck, n_names, err);
    for (size_t i = 0; i < n_names && !st; i++) {
        ck_list list = {.arena = &ck->arena};
        st = read_file(ck, &list, dir, names[i], err);
        if (st || !list.n) continue;
        if (!array_resize(&all, n_all + list.n, sizeof *all)) {
            st = mltf_fail_memory(err);
            break;
        }
        for (size_t k = 0; k < list.n; k++) all[n_all + k] = (placed){list.items[k], i, n_all + k};
        n_all += list.n;
    }
    if (!st) st = pick(ck, all, n_all, map, names, err);
done:
    free(names);
    free(all);
    return st;
}

static mltf_status read_index(checkpoint *ck, const char *dir, const char *name, mltf_err *err)
{
    char *path = path_join(dir, name);
    if (!path) return mltf_fail_memory(err);
    json_doc doc = JSON_DOC_INIT;
    mltf_status st = json_parse_file(&doc, path, NULL, err);
    if (!st) {
        st = read_shards(ck, dir, doc.root, err);
        if (st) mltf_err_wrap(err, "could not read \"%s\"", path);
    }
    json_doc_release(&doc);
    free(path);
    return st;
}

/* ---- names --------------------------------------------------------------------------------- */

static uint64_t hash_name(const char *s)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 0x100000001B3u;
    return h ^ h >> 32;
}

static mltf_status index_names(checkpoint *ck, mltf_err *err)
{
    if (ck->n >= UINT32_MAX / 4)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "too many tensors: %zu", ck->n);
    ck->n_slots = 16;
    while (ck->n_slots < 2 * ck->n) ck->n_slots *= 2;
    ck->slots = arena_calloc(&ck->arena, ck->n_slots, sizeof *ck->slots);
    if (!ck->slots) return mltf_fail_memory(err);
    for (size_t i = 0; i < ck->n; i++) {
        size_t at = hash_name(ck->tensors[i].name) & (ck->n_slots - 1);
        while (ck->slots[at]) {
            if (strcmp(ck->tensors[ck->slots[at] - 1].name, ck->tensors[i].name) == 0)
                return mltf_fail(err, MLTF_CORRUPT_FILE, "tensor \"%s\" is there twice",
                                 ck->tensors[i].name);
            at = (at + 1) & (ck->n_slots - 1);
        }
        ck->slots[at] = (uint32_t)i + 1;
        ck->bytes += ck->tensors[i].bytes;
    }
    return MLTF_OK;
}

/* ---- what is in the directory -------------------------------------------------------------- */

static bool has(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    const bool there = path && file_exists(path);
    free(path);
    return there;
}

static mltf_status find_weights(const char **out, const char *dir, mltf_err *err)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json",
                                        "pytorch_model.bin", "pytorch_model.bin.index.json"};
    static const char *const foreign[] = {"tf_model.h5", "model.ckpt.index", "flax_model.msgpack"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (has(dir, names[i])) {
            *out = names[i];
            return MLTF_OK;
        }
    }
    if (!dir_exists(dir)) return mltf_fail_errno(err, ENOENT, "open", dir);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        if (has(dir, foreign[i]))
            return mltf_fail(err, MLTF_UNSUPPORTED,
                             "\"%s\" holds only \"%s\", weights of TensorFlow or Flax: save the "
                             "model from PyTorch",
                             dir, foreign[i]);
    }
    return mltf_fail(
        err, MLTF_NOT_FOUND,
        "no file named model.safetensors or pytorch_model.bin (or their index) found in "
        "directory \"%s\"",
        dir);
}

mltf_status checkpoint_open(checkpoint **out, const char *dir, const char *weights, mltf_err *err)
{
    *out = NULL;
    if (!weights) TRY(find_weights(&weights, dir, err));
    checkpoint *ck = calloc(1, sizeof *ck);
    if (!ck) return mltf_fail_memory(err);
    mltf_status st;
    if (str_ends(str_from(weights), ".json")) {
        st = read_index(ck, dir, weights, err);
    } else {
        ck_list list = {.arena = &ck->arena};
        st = room_for_maps(ck, 1, err);
        if (!st) st = read_file(ck, &list, dir, weights, err);
        ck->tensors = list.items;
        ck->n = list.n;
        if (!st && ck->n) qsort(ck->tensors, ck->n, sizeof *ck->tensors, by_name);
    }
    if (!st) st = index_names(ck, err);
    if (st) {
        checkpoint_close(ck);
        return st;
    }
    *out = ck;
    return MLTF_OK;
}

void checkpoint_close(checkpoint *ck)
{
    if (!ck) return;
    for (size_t i = 0; i < ck->n_maps; i++) map_close(&ck->maps[i]);
    free(ck->maps);
    arena_release(&ck->arena);
    free(ck);
}

size_t checkpoint_count(const checkpoint *ck)
{
    return ck->n;
}
const ck_tensor *checkpoint_at(const checkpoint *ck, size_t i)
{
    return i < ck->n ? &ck->tensors[i] : NULL;
}
uint64_t checkpoint_bytes(const checkpoint *ck)
{
    return ck->bytes;
}

const ck_tensor *checkpoint_find(const checkpoint *ck, const char *name)
{
    for (size_t at = hash_name(name) & (ck->n_slots - 1); ck->slots[at];
         at = (at + 1) & (ck->n_slots - 1)) {
        const ck_tensor *t = &ck->tensors[ck->slots[at] - 1];
        if (strcmp(t->name, name) == 0) return t;
    }
    return NULL;
}
