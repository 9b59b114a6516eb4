#include "formats/safetensors_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/file.h"
#include "formats/json.h"

#define SHARD_BYTES ((uint64_t)5000000000u) /* save_pretrained()'s default, "5GB" */
enum { BUFFER = 1 << 20 };

struct st_sink {
    int fd;
    const char *path;
    uint8_t *buffer; // [BUFFER]
    size_t used;
    uint64_t left; // bytes that the current tensor may still put
    uint64_t done, total;
    struct timespec last;
    mltf_progress_fn progress;
    void *progress_user;
};

static mltf_status flush(st_sink *to, mltf_err *err)
{
    for (size_t at = 0; at < to->used;) {
        const ssize_t n = write(to->fd, to->buffer + at, to->used - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return mltf_fail_errno(err, errno, "write", to->path);
        at += (size_t)n;
    }
    to->used = 0;
    if (!to->progress) return MLTF_OK;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t ms =
        (now.tv_sec - to->last.tv_sec) * 1000 + (now.tv_nsec - to->last.tv_nsec) / 1000000;
    if (ms < 100 && to->done < to->total) return MLTF_OK;
    to->last = now;
    if (to->progress(to->progress_user, "weights", "bytes", to->done, to->total))
        return mltf_fail(err, MLTF_CANCELLED, "writing the weights was cancelled");
    return MLTF_OK;
}

static mltf_status put(st_sink *to, const uint8_t *p, size_t n, mltf_err *err)
{
    while (n > 0) {
        const size_t room = BUFFER - to->used, m = n < room ? n : room;
        memcpy(to->buffer + to->used, p, m);
        to->used += m;
        p += m;
        n -= m;
        if (to->used == BUFFER) TRY(flush(to, err));
    }
    return MLTF_OK;
}

mltf_status st_put(st_sink *to, const void *p, size_t n, mltf_err *err)
{
    if (n > to->left)
        return mltf_fail(err, MLTF_INTERNAL, "a tensor has more bytes than its shape");
    to->left -= n;
    to->done += n;
    return put(to, p, n, err);
}

/* The order of the library's files: wide types first, then names. */
static int rank(mltf_dtype t)
{
    static const mltf_dtype order[] = {DT_U64,     DT_I64,     DT_F64, DT_F32, DT_U32,
                                       DT_I32,     DT_BF16,    DT_F16, DT_U16, DT_I16,
                                       DT_F8_E4M3, DT_F8_E5M2, DT_I8,  DT_U8,  DT_BOOL};
    for (int i = 0; i < (int)(sizeof order / sizeof *order); i++) {
        if (order[i] == t) return i;
    }
    return -1;
}

typedef struct entry {
    const st_spec *spec;
    size_t index, shard;
    uint64_t bytes;
} entry;

static int by_file_order(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->shard != y->shard) return x->shard < y->shard ? -1 : 1;
    const int order = rank(x->spec->dtype) - rank(y->spec->dtype);
    return order ? order : strcmp(x->spec->name, y->spec->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->spec->name, ((const entry *)b)->spec->name);
}

static void write_header(mltf_buf *out, const entry *e, size_t n)
{
    buf_puts(out, "{\"__metadata__\":{\"format\":\"pt\"}");
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        buf_putc(out, ',');
        json_write_string(out, str_from(e[i].spec->name), false);
        buf_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", dtype_st_name(e[i].spec->dtype));
        for (size_t d = 0; d < e[i].spec->ndim; d++)
            buf_printf(out, "%s%zu", d ? "," : "", e[i].spec->shape[d]);
        buf_printf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                   (unsigned long long)(at + e[i].bytes));
        at += e[i].bytes;
    }
    buf_putc(out, '}');
    while (out->n % 8 && !out->failed) buf_putc(out, ' ');
}

static mltf_status write_file(st_sink *to, const char *path, const entry *e, size_t n,
                              st_source_fn source, void *user, mltf_err *err)
{
    mltf_buf header = MLTF_BUF_INIT;
    write_header(&header, e, n);
    mltf_status st = buf_status(&header, err);
    to->path = path;
    to->fd = st ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (!st && to->fd < 0)
        st = errno == EEXIST ? mltf_fail(err, MLTF_ALREADY_EXISTS, "\"%s\" already exists", path)
                             : mltf_fail_errno(err, errno, "write", path);
    if (st) goto done;
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)header.n >> (8 * i));
    st = put(to, length, 8, err);
    if (!st) st = put(to, (const uint8_t *)header.p, header.n, err);
    for (size_t i = 0; i < n && !st; i++) {
        to->left = e[i].bytes;
        st = source(user, e[i].index, to, err);
        if (!st && to->left)
            st = mltf_fail(err, MLTF_INTERNAL, "tensor \"%s\" has fewer bytes than its shape",
                           e[i].spec->name);
    }
    if (!st) st = flush(to, err);
    if (close(to->fd) != 0 && !st) st = mltf_fail_errno(err, errno, "write", path);
    if (st) unlink(path);
done:
    mltf_buf_release(&header);
    to->used = 0;
    return st;
}

static mltf_status write_index(const char *dir, entry *e, size_t n, size_t shards, uint64_t total,
                               uint64_t count, mltf_err *err)
{
    mltf_buf out = MLTF_BUF_INIT;
    buf_printf(&out,
               "{\n  \"metadata\": {\n    \"total_parameters\": %llu,\n    \"total_size\": %llu\n  "
               "},\n  \"weight_map\": {",
               (unsigned long long)count, (unsigned long long)total);
    qsort(e, n, sizeof *e, by_name);
    for (size_t i = 0; i < n; i++) {
        buf_puts(&out, i ? ",\n    " : "\n    ");
        json_write_string(&out, str_from(e[i].spec->name), true);
        buf_printf(&out, ": \"model-%05zu-of-%05zu.safetensors\"", e[i].shard + 1, shards);
    }
    buf_puts(&out, "\n  }\n}\n");
    mltf_status st = buf_status(&out, err);
    char *path = path_join(dir, "model.safetensors.index.json");
    if (!st && !path) st = mltf_fail_memory(err);
    if (!st) st = file_write(path, out.p, out.n, err);
    free(path);
    mltf_buf_release(&out);
    return st;
}

mltf_status st_write(const char *dir, const st_spec *specs, size_t n, uint64_t max_shard_bytes,
                     st_source_fn source, void *user, mltf_progress_fn progress,
                     void *progress_user, mltf_err *err)
{
    if (max_shard_bytes == 0) max_shard_bytes = SHARD_BYTES;
    entry *e = calloc(n ? n : 1, sizeof *e);
    st_sink to = {.buffer = malloc(BUFFER), .progress = progress, .progress_user = progress_user};
    mltf_status st = e && to.buffer ? MLTF_OK : mltf_fail_memory(err);
    // as huggingface_hub splits: in the given order, a new shard where the next tensor does not fit
    uint64_t in_shard = 0, parameters = 0;
    size_t shards = 1;
    for (size_t i = 0; i < n && !st; i++) {
        size_t count = 1, bytes;
        for (size_t d = 0; d < specs[i].ndim; d++) {
            if (!checked_mul(&count, count, specs[i].shape[d])) count = SIZE_MAX;
        }
        if (rank(specs[i].dtype) < 0 || !checked_mul(&bytes, count, dtype_size(specs[i].dtype))) {
            st = mltf_fail(err, MLTF_INVALID_INPUT, "tensor \"%s\" cannot be stored as safetensors",
                           specs[i].name);
            break;
        }
        if (in_shard && in_shard + bytes > max_shard_bytes) {
            shards++;
            in_shard = 0;
        }
        in_shard += bytes;
        e[i] = (entry){&specs[i], i, shards - 1, bytes};
        to.total += bytes;
        parameters += count;
    }
    if (!st && n) qsort(e, n, sizeof *e, by_file_order);
    size_t at = 0;
    for (size_t shard = 0; shard < shards && !st; shard++) {
        size_t end = at;
        while (end < n && e[end].shard == shard) end++;
        char name[64];
        if (shards == 1)
            snprintf(name, sizeof name, "model.safetensors");
        else
            snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", shard + 1, shards);
        char *path = path_join(dir, name);
        st = path ? write_file(&to, path, e + at, end - at, source, user, err)
                  : mltf_fail_memory(err);
        free(path);
        at = end;
    }
    if (!st && shards > 1) st = write_index(dir, e, n, shards, to.total, parameters, err);
    free(e);
    free(to.buffer);
    return st;
}
