/* Files read whole, mapped, written so that a crash leaves the old or the new one. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* What is left in fd, at most max_bytes, behind what `out` has; `size` is a hint. */
static mltf_status read_rest(mltf_buf *out, int fd, size_t size, const char *path, size_t max_bytes,
                             mltf_err *err)
{
    mltf_status status = MLTF_OK;
    const size_t start = out->n;
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
    if (status) out->n = start;
    if (out->p) out->p[out->n] = '\0';
    return status;
}

mltf_status file_read(mltf_buf *out, const char *path, size_t max_bytes, mltf_err *err)
{
    int fd;
    struct stat st;
    TRY(open_regular(&fd, &st, path, err));
    const size_t size = (size_t)st.st_size; // files in /proc say 0, others may grow
    const mltf_status status =
        size > max_bytes
            ? mltf_fail(err, MLTF_CORRUPT_FILE, "\"%s\" is too large: %zu bytes, the limit is %zu",
                        path, size, max_bytes)
            : read_rest(out, fd, size, path, max_bytes, err);
    close(fd);
    return status;
}

mltf_status stream_read(mltf_buf *out, const char *path, size_t max_bytes, mltf_err *err)
{
    if (!path) return read_rest(out, STDIN_FILENO, 65535, "standard input", max_bytes, err);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return mltf_fail_errno(err, errno, "open", path);
    const mltf_status status = read_rest(out, fd, 65535, path, max_bytes, err);
    close(fd);
    return status;
}

/* ---- writing ------------------------------------------------------------------------------- */

static mltf_status write_all(int fd, const char *p, size_t n, const char *path, mltf_err *err)
{
    while (n > 0) {
        const ssize_t put = write(fd, p, n);
        if (put < 0) {
            if (errno == EINTR) continue;
            return mltf_fail_errno(err, errno, "write", path);
        }
        p += put;
        n -= (size_t)put;
    }
    return MLTF_OK;
}

mltf_status file_write(const char *path, const void *p, size_t n, mltf_err *err)
{
    char *temporary = path_sibling(path);
    char *parent = path_parent(path);
    mltf_status st = MLTF_OK;
    bool made = false;
    int fd = -1;
    if (!temporary || !parent) {
        st = mltf_fail_memory(err);
        goto done;
    }
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0) {
        st = mltf_fail_errno(err, errno, "write", path);
        goto done;
    }
    made = true;
    struct stat old;
    if (stat(path, &old) == 0 && fchmod(fd, old.st_mode & 0777) != 0) {
        st = mltf_fail_errno(err, errno, "write", path);
        goto done;
    }
    st = write_all(fd, p, n, path, err);
    if (!st && fsync(fd) != 0) st = mltf_fail_errno(err, errno, "write", path);
    if (!st && rename(temporary, path) != 0) st = mltf_fail_errno(err, errno, "write", path);
    if (!st) {
        made = false;
        st = dir_sync(parent, err);
    }
done:
    if (fd >= 0) close(fd);
    if (made) unlink(temporary);
    free(temporary);
    free(parent);
    return st;
}

mltf_status stream_write(const char *path, const void *p, size_t n, mltf_err *err)
{
    struct stat st;
    const bool in_place = lstat(path, &st) == 0 && !S_ISREG(st.st_mode);
    if (!in_place) return file_write(path, p, n, err);
    const int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0) return mltf_fail_errno(err, errno, "write", path);
    const mltf_status status = write_all(fd, p, n, path, err);
    close(fd);
    return status;
}

mltf_status dir_sync(const char *path, mltf_err *err)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return mltf_fail_errno(err, errno, "open", path);
    mltf_status st = MLTF_OK;
    // some file systems have nothing to flush for a directory and say so
    if (fsync(fd) != 0 && errno != EINVAL && errno != EROFS)
        st = mltf_fail_errno(err, errno, "flush", path);
    close(fd);
    return st;
}

/* ---- questions ----------------------------------------------------------------------------- */

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool dir_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

mltf_status file_size(uint64_t *out, const char *path, mltf_err *err)
{
    struct stat st;
    if (stat(path, &st) != 0) return mltf_fail_errno(err, errno, "open", path);
    if (!S_ISREG(st.st_mode))
        return mltf_fail(err, MLTF_UNSUPPORTED, "\"%s\" is not a regular file", path);
    *out = (uint64_t)st.st_size;
    return MLTF_OK;
}

/* ---- paths --------------------------------------------------------------------------------- */

char *path_join(const char *dir, const char *name)
{
    const size_t n = strlen(dir), m = strlen(name);
    const bool slash = n > 0 && dir[n - 1] != '/';
    char *p = malloc(n + m + 2);
    if (!p) return NULL;
    memcpy(p, dir, n);
    if (slash) p[n] = '/';
    memcpy(p + n + slash, name, m + 1);
    return p;
}

bool path_is_inside(mltf_str rel)
{
    if (rel.n == 0 || rel.p[0] == '/' || rel.p[rel.n - 1] == '/') return false;
    size_t start = 0;
    for (size_t i = 0; i <= rel.n; i++) {
        if (i < rel.n && (rel.p[i] == '\\' || rel.p[i] == '\0')) return false;
        if (i < rel.n && rel.p[i] != '/') continue;
        if (i - start == 2 && rel.p[start] == '.' && rel.p[start + 1] == '.') return false;
        start = i + 1;
    }
    return true;
}

/* The part of a path before its last name: "." for a bare name. */
static size_t split_name(const char *path, size_t *name_n)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t start = n;
    while (start > 0 && path[start - 1] != '/') start--;
    *name_n = n - start;
    return start;
}

char *path_parent(const char *path)
{
    size_t name_n, n = split_name(path, &name_n);
    while (n > 1 && path[n - 1] == '/') n--;
    char *p = malloc(n + 2);
    if (!p) return NULL;
    memcpy(p, n ? path : ".", n ? n : 1);
    p[n ? n : 1] = '\0';
    return p;
}

char *path_name(const char *path)
{
    size_t name_n;
    const size_t at = split_name(path, &name_n);
    char *p = malloc(name_n + 1);
    if (!p) return NULL;
    memcpy(p, path + at, name_n);
    p[name_n] = '\0';
    return p;
}

char *path_sibling(const char *path)
{
    uint64_t r = 0;
    if (getrandom(&r, sizeof r, 0) != (ssize_t)sizeof r) r = (uint64_t)(uintptr_t)&r;
    size_t name_n;
    const size_t at = split_name(path, &name_n);
    if (name_n > 200) name_n = 200; // names have 255 bytes at most
    const size_t size = at + name_n + sizeof "." PATH_TEMPORARY "1234567890-1234567890123456";
    char *p = malloc(size);
    if (!p) return NULL;
    memcpy(p, path, at);
    snprintf(p + at, size - at, ".%.*s" PATH_TEMPORARY "%ld-%016llx", (int)name_n, path + at,
             (long)getpid(), (unsigned long long)r);
    return p;
}
