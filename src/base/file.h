/* Files: read, map, copy by the kernel, and directories that appear whole or not at all. */
#ifndef MLTF_BASE_FILE_H
#define MLTF_BASE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* Read-only map of a whole regular file. An empty file has p NULL and n 0. */
typedef struct mltf_map {
    const uint8_t *p;
    size_t n;
} mltf_map;

mltf_status map_open(mltf_map *out, const char *path, mltf_err *err);
void map_close(mltf_map *m); /* idempotent */

mltf_status file_read(mltf_buf *out, const char *path, size_t max_bytes, mltf_err *err);
mltf_status file_write(const char *path, const void *p, size_t n, mltf_err *err); /* temporary sibling, fsync, rename */
/* What a user names on a command line: also a pipe, a terminal or a device (/dev/stdin, /dev/null).
 * Reading waits for its end; NULL is standard input, whatever that is (a socket has no path).
 * Writing: a file appears whole as with file_write(); anything else, symbolic links too, is written in place. */
mltf_status stream_read(mltf_buf *out, const char *path, size_t max_bytes, mltf_err *err);
mltf_status stream_write(const char *path, const void *p, size_t n, mltf_err *err);
bool file_exists(const char *path);   /* regular file, links followed */
bool dir_exists(const char *path);
mltf_status file_size(uint64_t *out, const char *path, mltf_err *err);

/* Copy by reflink, else copy_file_range (holes kept), else in pieces. The target must not exist. */
mltf_status file_copy(const char *from, const char *to, mltf_progress_fn progress, void *user, mltf_err *err);
/* A tree of regular files and directories; symbolic links inside are followed if they stay below `from`
 * or point into a Hugging Face cache (blobs). `skip` may be NULL: nonzero leaves that relative path out. */
mltf_status dir_copy(const char *from, const char *to, int (*skip)(const char *rel), mltf_progress_fn progress,
                     void *user, mltf_err *err);
mltf_status dir_make(const char *path, mltf_err *err);   /* with parents; existing is fine */
mltf_status dir_remove(const char *path, mltf_err *err); /* whole tree; missing is fine; links are not followed */
mltf_status dir_size(uint64_t *out, const char *path, mltf_err *err); /* bytes of all regular files */

/* Names in a directory, sorted bytewise, without "." and "..". free with dir_list_free(). */
typedef struct dir_list {
    char **names; /* [n], NUL-terminated */
    size_t n;
} dir_list;
mltf_status dir_read(dir_list *out, const char *path, mltf_err *err);
void dir_list_free(dir_list *l);

/* A directory under construction: write into dir.path, then commit. Abort, or the next start after a
 * crash, removes it: stale siblings ".<name>.mltf-tmp-*" whose process is gone are swept by begin. */
typedef struct dir_txn {
    char *path;   /* temporary sibling of target */
    char *target;
    int lock_fd;
} dir_txn;
mltf_status dir_txn_begin(dir_txn *t, const char *target, mltf_err *err); /* target must be missing or empty: ALREADY_EXISTS */
mltf_status dir_txn_commit(dir_txn *t, mltf_err *err);                    /* fsync of every file, then rename, then fsync of the parent */
void dir_txn_abort(dir_txn *t);                                           /* idempotent; after commit a no-op */

mltf_status dir_sync(const char *path, mltf_err *err); /* fsync of the directory itself: its names */

/* Text in memory of malloc; NULL if out of memory. */
char *path_join(const char *dir, const char *name); /* "dir/name" */
char *path_parent(const char *path);                /* "a/b/" -> "a", "b" -> ".", "/b" -> "/" */
char *path_name(const char *path);                  /* "a/b/" -> "b" */
char *path_sibling(const char *path);               /* "a/b" -> "a/.b.mltf-tmp-PID-RANDOM" */
#define PATH_TEMPORARY ".mltf-tmp-"

/* Is `rel` a plain relative path that stays inside (no "..", no leading "/", no backslash, no NUL)? */
bool path_is_inside(mltf_str rel);

#endif
