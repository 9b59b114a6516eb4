/* Files read whole, mapped, written so that a crash leaves the old or the new one. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"

static mltf_status open_regular(int *fd, struct stat *st, const char *path, mltf_err *err)
{
    // not blocking: a FIFO of that name must not hang us
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return mltf_fail_errno(err, errno, "open", path);
    if (fstat(*fd, st) != 0) {
        const int errnum = errno;
        close(*fd);
        return mltf_fail_errno(err, errnum, "open", path);
    }
    if (!S_ISREG(st->st_mode)) {
        close(*fd);
        return mltf_fail(err, S_ISDIR(st->st_mode) ? MLTF_IO : MLTF_UNSUPPORTED,
                         "could not open \"%s\": %s", path,
                         S_ISDIR(st->st_mode) ? "is a directory" : "not a regular file");
    }
    return MLTF_OK;
}

mltf_status map_open(mltf_map *out, const char *path, mltf_err *err)
{
    *out = (mltf_map){0};
    int fd;
    struct stat st;
    TRY(open_regular(&fd, &st, path, err));
    if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            const int errnum = errno;
            close(fd);
            return mltf_fail_errno(err, errnum, "map", path);
        }
        *out = (mltf_map){p, (size_t)st.st_size};
    }
    close(fd);
    return MLTF_OK;
}

void map_close(mltf_map *m)
{
    if (m->p) munmap((void *)(uintptr_t)m->p, m->n);
    *m = (mltf_map){0};
}

mltf_status file_read(mltf_buf *out, const char *path, size_t max_bytes, mltf_err *err)
{
    int fd;
    struct stat st;
    TRY(open_regular(&fd, &st, path, err));
    mltf_status status = MLTF_OK;
    const size_t size = (size_t)st.st_size, start = out->n;
    if (size > max_bytes) {
        status =
            mltf_fail(err, MLTF_CORRUPT_FILE, "\"%s\" is too large: %zu bytes, the limit is %zu",
                      path, size, max_bytes);
        goto done;
    }
    // the size is a hint: files in /proc say 0, others may grow
    for (size_t want = size + 1;; want = 65536) {
        if (!buf_reserve(out, want)) {
            status = mltf_fail_memory(err);
            break;
        }
        const ssize_t got = read(fd, out->p + out->n, want);
        if (got < 0) {
            if (errno == EINTR) continue;
            status = mltf_fail_errno(err, errno, "read", path);
            break;
        }
        if (got == 0) break;
        out->n += (size_t)got;
        if (out->n - start > max_bytes) {
            status = mltf_fail(err, MLTF_CORRUPT_FILE,
                               "\"%s\" is too large: the limit is %zu bytes", path, max_bytes);
            break;
        }
    }
done:
    if (status) out->n = start;
    if (out->p) out->p[out->n] = '\0';
    close(fd);
    return status;
}
