/* Directories: make, list, copy, remove, and appear whole or not at all. */
#include "base/array.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/fs.h>
#endif

enum {
    PIECE = 32 << 20,    // bytes between two looks at the progress function
    MAX_TREE_DEPTH = 64, // deeper only with links that run in a circle
};

/* ---- make, list, remove -------------------------------------------------------------------- */

mltf_status dir_make(const char *path, mltf_err *err)
{
    if (path[0] == '\0') return MLTF_OK;
    char *p = path_join(path, "");
    if (!p) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    for (char *slash = p + 1; !st && (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(p, 0777) != 0) {
            const int errnum = errno;
            if (!dir_exists(p)) st = mltf_fail_errno(err, errnum, "make directory", p);
        }
        *slash = '/';
    }
    free(p);
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

mltf_status dir_read(dir_list *out, const char *path, mltf_err *err)
{
    *out = (dir_list){0};
    DIR *d = opendir(path);
    if (!d) return mltf_fail_errno(err, errno, "read directory", path);
    mltf_status st = MLTF_OK;
    size_t cap = 0;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e) {
            if (errno) st = mltf_fail_errno(err, errno, "read directory", path);
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (!ARRAY_RESERVE(out->names, cap, out->n + 1)) {
            st = mltf_fail_memory(err);
            break;
        }
        out->names[out->n] = strdup(e->d_name);
        if (!out->names[out->n]) {
            st = mltf_fail_memory(err);
            break;
        }
        out->n++;
    }
    closedir(d);
    if (st)
        dir_list_free(out);
    else if (out->n)
        qsort(out->names, out->n, sizeof *out->names, by_name);
    return st;
}

void dir_list_free(dir_list *l)
{
    for (size_t i = 0; i < l->n; i++) free(l->names[i]);
    free(l->names);
    *l = (dir_list){0};
}

/* Takes fd. Works on descriptors, so that nobody can slip a link under a name in between. */
static int remove_below(int fd)
{
    DIR *d = fdopendir(fd);
    if (!d) {
        const int errnum = errno;
        close(fd);
        return errnum;
    }
    int failed = 0;
    const struct dirent *e;
    while (!failed && (errno = 0, e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (unlinkat(dirfd(d), e->d_name, 0) == 0 || errno == ENOENT) continue;
        if (errno != EISDIR && errno != EPERM) {
            failed = errno;
            break;
        }
        const int sub =
            openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub < 0)
            failed = errno;
        else
            failed = remove_below(sub);
        if (!failed && unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR) != 0) failed = errno;
    }
    if (!failed) failed = errno;
    closedir(d);
    return failed;
}

mltf_status dir_remove(const char *path, mltf_err *err)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? MLTF_OK : mltf_fail_errno(err, errno, "remove", path);
    int failed = remove_below(fd);
    if (!failed && rmdir(path) != 0) failed = errno;
    return failed ? mltf_fail_errno(err, failed, "remove", path) : MLTF_OK;
}

/* ---- copy ---------------------------------------------------------------------------------- */

typedef struct copy_job {
    mltf_progress_fn progress;
    void *user;
    const char *what;
    uint64_t done, total;
    struct timespec last;
    const char *root; // real path of the tree; NULL for one file
    int (*skip)(const char *rel);
    mltf_err *err;
} copy_job;

static mltf_status report(copy_job *job, size_t more)
{
    job->done += more;
    if (!job->progress) return MLTF_OK;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t ms =
        (now.tv_sec - job->last.tv_sec) * 1000 + (now.tv_nsec - job->last.tv_nsec) / 1000000;
    if (ms < 100 && job->done < job->total) return MLTF_OK;
    job->last = now;
    if (job->progress(job->user, job->what, "bytes", job->done, job->total))
        return mltf_fail(job->err, MLTF_CANCELLED, "copying %s was cancelled", job->what);
    return MLTF_OK;
}

/* One run of data. *by_kernel turns false where copy_file_range cannot be used. */
static mltf_status copy_run(copy_job *job, int in, int out, off_t at, off_t end, bool *by_kernel,
                            char **buffer, const char *from, const char *to)
{
    while (at < end) {
        const size_t want = end - at > PIECE ? PIECE : (size_t)(end - at);
        if (*by_kernel) {
            off_t in_at = at, out_at = at;
            const ssize_t n = copy_file_range(in, &in_at, out, &out_at, want, 0);
            if (n > 0) {
                at += n;
                TRY(report(job, (size_t)n));
                continue;
            }
            if (n < 0 && errno == EINTR) continue;
            if (n < 0 && (errno == ENOSPC || errno == EIO || errno == EDQUOT || errno == EFBIG))
                return mltf_fail_errno(job->err, errno, "write", to);
            *by_kernel = false; // another file system, an old kernel, or a file that shrank
        }
        if (!*buffer && !(*buffer = malloc(1 << 20))) return mltf_fail_memory(job->err);
        const ssize_t n = pread(in, *buffer, want > (1 << 20) ? 1 << 20 : want, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return mltf_fail_errno(job->err, errno, "read", from);
        if (n == 0)
            return mltf_fail(job->err, MLTF_IO, "\"%s\" became shorter while it was copied", from);
        for (ssize_t put = 0; put < n;) {
            const ssize_t m = pwrite(out, *buffer + put, (size_t)(n - put), at + put);
            if (m < 0 && errno == EINTR) continue;
            if (m < 0) return mltf_fail_errno(job->err, errno, "write", to);
            put += m;
        }
        at += n;
        TRY(report(job, (size_t)n));
    }
    return MLTF_OK;
}

static mltf_status copy_contents(copy_job *job, int in, int out, off_t size, const char *from,
                                 const char *to)
{
#if defined(FICLONE)
    if (ioctl(out, FICLONE, in) == 0) return report(job, (size_t)size);
#endif
    if (ftruncate(out, size) != 0) return mltf_fail_errno(job->err, errno, "write", to);
    bool by_kernel = true;
    char *buffer = NULL;
    mltf_status st = MLTF_OK;
    for (off_t at = 0; !st && at < size;) {
        off_t data = at, hole = size;
#if defined(SEEK_DATA)
        data = lseek(in, at, SEEK_DATA);
        if (data < 0) {
            if (errno == ENXIO) { // only a hole is left
                st = report(job, (size_t)(size - at));
                break;
            }
            data = at; // not known here: all is data
        } else {
            hole = lseek(in, data, SEEK_HOLE);
            if (hole < 0 || hole > size) hole = size;
            if (data > size) data = size;
        }
#endif
        job->done += (uint64_t)(data - at);
        st = copy_run(job, in, out, data, hole, &by_kernel, &buffer, from, to);
        at = hole;
    }
    free(buffer);
    return st;
}

static mltf_status copy_one(copy_job *job, const char *from, const char *to)
{
    const int in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (in < 0) return mltf_fail_errno(job->err, errno, "open", from);
    struct stat st;
    mltf_status status = MLTF_OK;
    if (fstat(in, &st) != 0) {
        status = mltf_fail_errno(job->err, errno, "open", from);
    } else if (!S_ISREG(st.st_mode)) {
        status = mltf_fail(job->err, MLTF_UNSUPPORTED, "could not copy \"%s\": not a regular file",
                           from);
    }
    if (status) {
        close(in);
        return status;
    }
    const int out =
        open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (st.st_mode & 0777) | 0200);
    if (out < 0) {
        status = errno == EEXIST
                     ? mltf_fail(job->err, MLTF_ALREADY_EXISTS, "\"%s\" already exists", to)
                     : mltf_fail_errno(job->err, errno, "write", to);
        close(in);
        return status;
    }
    if (!job->root) job->total = (uint64_t)st.st_size;
    status = copy_contents(job, in, out, st.st_size, from, to);
    close(in);
    if (close(out) != 0 && !status) status = mltf_fail_errno(job->err, errno, "write", to);
    if (status) unlink(to);
    return status;
}

mltf_status file_copy(const char *from, const char *to, mltf_progress_fn progress, void *user,
                      mltf_err *err)
{
    char *name = path_name(from);
    if (!name) return mltf_fail_memory(err);
    copy_job job = {.progress = progress, .user = user, .what = name, .err = err};
    const mltf_status st = copy_one(&job, from, to);
    free(name);
    return st;
}

static bool is_below(const char *path, const char *root)
{
    const size_t n = strlen(root);
    return strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == '\0' || n == 1);
}

/* May a tree at `root` take what the link at `path` leads to? Its own files, and the blobs that the
 * snapshot of a Hugging Face cache is made of: REPO/snapshots/REV/... -> REPO/blobs/HASH. */
static mltf_status check_link(copy_job *job, const char *path, bool is_dir)
{
    char target[PATH_MAX];
    if (!realpath(path, target)) return mltf_fail_errno(job->err, errno, "follow", path);
    if (is_below(target, job->root)) {
        char place[PATH_MAX];
        char *parent = path_parent(path);
        const bool known = parent && realpath(parent, place);
        free(parent);
        if (!known) return mltf_fail_errno(job->err, errno, "follow", path);
        if (is_dir && is_below(place, target))
            return mltf_fail(job->err, MLTF_UNSUPPORTED,
                             "could not copy \"%s\": the link leads to a directory around it",
                             path);
        return MLTF_OK;
    }
    const char *blobs = strstr(target, "/blobs/");
    for (const char *next; blobs && (next = strstr(blobs + 1, "/blobs/"));) blobs = next;
    if (blobs && !is_dir) {
        const size_t n = (size_t)(blobs - target);
        if (strncmp(job->root, target, n) == 0 && strncmp(job->root + n, "/snapshots/", 11) == 0)
            return MLTF_OK;
    }
    return mltf_fail(job->err, MLTF_UNSUPPORTED,
                     "could not copy \"%s\": the link leads out of the directory, to \"%s\"", path,
                     target);
}

typedef mltf_status (*visit_fn)(copy_job *job, const char *from, const char *to, bool is_dir);

/* Depth first, directories before what is in them. `to` may be NULL. */
static mltf_status walk(copy_job *job, const char *from, const char *to, const char *rel, int depth,
                        visit_fn visit)
{
    if (depth > MAX_TREE_DEPTH)
        return mltf_fail(job->err, MLTF_UNSUPPORTED, "\"%s\" lies deeper than %d directories", from,
                         MAX_TREE_DEPTH);
    dir_list names;
    TRY(dir_read(&names, from, job->err));
    mltf_status status = MLTF_OK;
    for (size_t i = 0; i < names.n && !status; i++) {
        char *path = path_join(from, names.names[i]);
        char *copy = to ? path_join(to, names.names[i]) : NULL;
        char *name = rel[0] ? path_join(rel, names.names[i]) : strdup(names.names[i]);
        struct stat st;
        if (!path || (to && !copy) || !name) {
            status = mltf_fail_memory(job->err);
        } else if (job->skip && job->skip(name)) {
            // left out
        } else if (lstat(path, &st) != 0) {
            status = mltf_fail_errno(job->err, errno, "open", path);
        } else {
            const bool link = S_ISLNK(st.st_mode);
            if (link && stat(path, &st) != 0) {
                if (!job->root) goto next; // leads nowhere: nothing to count or to flush
                status = mltf_fail_errno(job->err, errno, "follow", path);
            }
            const bool is_dir = !status && S_ISDIR(st.st_mode);
            if (link && !status && job->root) status = check_link(job, path, is_dir);
            if (!status && !job->root && link && is_dir) goto next; // sizes: not followed
            if (!status) status = visit(job, path, copy, is_dir);
            if (!status && is_dir) status = walk(job, path, copy, name, depth + 1, visit);
        }
    next:
        free(path);
        free(copy);
        free(name);
    }
    dir_list_free(&names);
    return status;
}

static mltf_status visit_size(copy_job *job, const char *from, const char *to, bool is_dir)
{
    (void)to;
    struct stat st;
    if (!is_dir && stat(from, &st) == 0 && S_ISREG(st.st_mode)) job->total += (uint64_t)st.st_size;
    return MLTF_OK;
}

static mltf_status visit_copy(copy_job *job, const char *from, const char *to, bool is_dir)
{
    if (!is_dir) return copy_one(job, from, to);
    if (mkdir(to, 0777) != 0 && errno != EEXIST)
        return mltf_fail_errno(job->err, errno, "make directory", to);
    return MLTF_OK;
}

mltf_status dir_size(uint64_t *out, const char *path, mltf_err *err)
{
    copy_job job = {.err = err};
    TRY(walk(&job, path, NULL, "", 0, visit_size));
    *out = job.total;
    return MLTF_OK;
}

mltf_status dir_copy(const char *from, const char *to, int (*skip)(const char *rel),
                     mltf_progress_fn progress, void *user, mltf_err *err)
{
    char root[PATH_MAX];
    if (!realpath(from, root)) return mltf_fail_errno(err, errno, "open", from);
    char *name = path_name(root);
    if (!name) return mltf_fail_memory(err);
    copy_job job = {
        .progress = progress, .user = user, .what = name, .root = root, .skip = skip, .err = err};
    mltf_status st = progress ? walk(&job, from, NULL, "", 0, visit_size) : MLTF_OK;
    if (!st) st = dir_make(to, err);
    if (!st) st = walk(&job, from, to, "", 0, visit_copy);
    free(name);
    return st;
}

/* ---- a directory that appears whole -------------------------------------------------------- */

/* Siblings that a crash left behind: nobody holds their lock. What cannot be locked or removed is
 * left alone; it is in nobody's way. */
static void sweep(const char *target)
{
    char *parent = path_parent(target), *name = path_name(target);
    char *prefix = NULL;
    dir_list names = {0};
    if (!parent || !name || dir_read(&names, parent, NULL)) goto done;
    const size_t n = strlen(name) > 200 ? 200 : strlen(name); // as path_sibling() cuts it
    prefix = malloc(n + sizeof "." PATH_TEMPORARY);
    if (!prefix) goto done;
    snprintf(prefix, n + sizeof "." PATH_TEMPORARY, ".%.*s" PATH_TEMPORARY, (int)n, name);
    for (size_t i = 0; i < names.n; i++) {
        if (strncmp(names.names[i], prefix, strlen(prefix)) != 0) continue;
        char *path = path_join(parent, names.names[i]);
        const int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) dir_remove(path, NULL);
        if (fd >= 0) close(fd);
        free(path);
    }
done:
    dir_list_free(&names);
    free(prefix);
    free(parent);
    free(name);
}

mltf_status dir_txn_begin(dir_txn *t, const char *target, mltf_err *err)
{
    *t = (dir_txn){.lock_fd = -1};
    struct stat st;
    if (lstat(target, &st) == 0) {
        dir_list names = {0};
        if (S_ISLNK(st.st_mode) || !S_ISDIR(st.st_mode))
            return mltf_fail(err, MLTF_ALREADY_EXISTS,
                             "Path '%s' already exists and is not a directory", target);
        TRY(dir_read(&names, target, err));
        const size_t n = names.n;
        dir_list_free(&names);
        if (n)
            return mltf_fail(err, MLTF_ALREADY_EXISTS, "Path '%s' already exists and is not empty",
                             target);
    }
    char *parent = path_parent(target);
    mltf_status status = parent ? dir_make(parent, err) : mltf_fail_memory(err);
    free(parent);
    TRY(status);
    sweep(target);
    t->target = strdup(target);
    if (!t->target) return mltf_fail_memory(err);
    size_t n = strlen(t->target);
    while (n > 1 && t->target[n - 1] == '/') t->target[--n] = '\0';
    for (int attempt = 0; attempt < 16; attempt++) {
        t->path = path_sibling(t->target);
        if (!t->path) {
            status = mltf_fail_memory(err);
            break;
        }
        if (mkdir(t->path, 0777) == 0) {
            // between mkdir and the lock another start may have taken it for a left-over: then again
            struct stat here, there;
            t->lock_fd = open(t->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (t->lock_fd >= 0 &&
                (flock(t->lock_fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) &&
                fstat(t->lock_fd, &here) == 0 && stat(t->path, &there) == 0 &&
                here.st_ino == there.st_ino)
                return MLTF_OK;
            if (t->lock_fd >= 0) close(t->lock_fd);
            t->lock_fd = -1;
        } else if (errno != EEXIST) {
            status = mltf_fail_errno(err, errno, "make directory", t->path);
            free(t->path);
            t->path = NULL;
            break;
        }
        free(t->path);
        t->path = NULL;
    }
    dir_txn_abort(t);
    if (!status)
        status =
            mltf_fail(err, MLTF_IO, "could not make a temporary directory beside \"%s\"", target);
    return status;
}

static mltf_status visit_sync(copy_job *job, const char *from, const char *to, bool is_dir)
{
    (void)to;
    if (is_dir) return dir_sync(from, job->err);
    const int fd = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) return errno == ELOOP ? MLTF_OK : mltf_fail_errno(job->err, errno, "open", from);
    const int failed = fsync(fd) != 0 && errno != EINVAL && errno != EROFS ? errno : 0;
    close(fd);
    return failed ? mltf_fail_errno(job->err, failed, "flush", from) : MLTF_OK;
}

mltf_status dir_txn_commit(dir_txn *t, mltf_err *err)
{
    if (!t->path) return mltf_fail(err, MLTF_INTERNAL, "commit of a directory that was not begun");
    copy_job job = {.err = err};
    TRY(walk(&job, t->path, NULL, "", 0, visit_sync));
    TRY(dir_sync(t->path, err));
    if (rename(t->path, t->target) != 0) {
        if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR)
            return mltf_fail(err, MLTF_ALREADY_EXISTS, "Path '%s' already exists and is not empty",
                             t->target);
        return mltf_fail_errno(err, errno, "write", t->target);
    }
    free(t->path); // there is nothing left to remove
    t->path = NULL;
    char *parent = path_parent(t->target);
    const mltf_status st = parent ? dir_sync(parent, err) : mltf_fail_memory(err);
    free(parent);
    dir_txn_abort(t);
    return st;
}

void dir_txn_abort(dir_txn *t)
{
    if (t->path) dir_remove(t->path, NULL);
    if (t->lock_fd >= 0 && (t->path || t->target)) close(t->lock_fd);
    free(t->path);
    free(t->target);
    *t = (dir_txn){.lock_fd = -1};
}
