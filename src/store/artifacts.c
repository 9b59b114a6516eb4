/* From a URI to a local directory: paths, file:, runs:/RID/path, models:/NAME/VERSION, models:/NAME@ALIAS,
 * models:/m-…, each with an optional path below it. */
#include <stdlib.h>

#include "base/ascii.h"
#include "base/file.h"
#include "store/store.h"

enum { MAX_HOPS = 8 }; // a version's location may be another URI; a circle of them must end

static mltf_status resolve(mltf_buf *dir, store **st, mltf_arena *a, const char *uri,
                           const char *tracking_uri, int hops, mltf_err *err);

static mltf_status need_store(store **st, const char *tracking_uri, mltf_err *err)
{
    return *st ? MLTF_OK : store_open(st, tracking_uri, false, err);
}

static mltf_status check_sub_path(const char *sub, const char *uri, mltf_err *err)
{
    if (*sub && !path_is_inside(str_from(sub)))
        return mltf_fail(err, MLTF_INVALID_INPUT, "the path in \"%s\" leaves the artifacts", uri);
    return MLTF_OK;
}

static void append_sub_path(mltf_buf *dir, const char *sub)
{
    if (*sub) buf_printf(dir, "/%s", sub);
}

static mltf_status resolve_file(mltf_buf *dir, const char *path, const char *uri, mltf_err *err)
{
    const size_t from = dir->n;
    buf_puts(dir, path);
    TRY(buf_status(dir, err));
    if (!dir_exists(dir->p + from) && !file_exists(dir->p + from))
        return mltf_fail(err, MLTF_NOT_FOUND, "No such file or directory: '%s'", uri);
    return MLTF_OK;
}

/* runs:/RID[/path]: a logged model of that name first, then the run's own artifacts. */
static mltf_status resolve_run(mltf_buf *dir, store *st, mltf_arena *a, const char *rest,
                               const char *uri, mltf_err *err)
{
    while (*rest == '/') rest++;
    const char *slash = strchr(rest, '/');
    const char *run_id = arena_strdup(a, rest, slash ? (size_t)(slash - rest) : strlen(rest));
    if (!run_id) return mltf_fail_memory(err);
    if (!*run_id) return mltf_fail(err, MLTF_INVALID_INPUT, "Not a proper runs:/ URI: %s", uri);
    const char *path = slash ? slash + 1 : "";
    TRY(check_sub_path(path, uri, err));
    store_run run;
    TRY(store_run_get(st, a, run_id, &run, err));

    const char *end = strchr(path, '/');
    const char *name = arena_strdup(a, path, end ? (size_t)(end - path) : strlen(path));
    if (!name) return mltf_fail_memory(err);
    store_logged_model m;
    if (*name && store_logged_model_of_run(st, a, run_id, name, &m, NULL) == MLTF_OK) {
        const size_t from = dir->n;
        buf_puts(dir, m.artifact_location);
        append_sub_path(dir, end ? end + 1 : "");
        TRY(buf_status(dir, err));
        if (dir_exists(dir->p + from) || file_exists(dir->p + from)) return MLTF_OK;
        dir->n = from;
    }
    buf_puts(dir, run.artifact_uri);
    append_sub_path(dir, path);
    return buf_status(dir, err);
}

static mltf_status malformed_models_uri(const char *uri, mltf_err *err)
{
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "Not a proper models:/ URI: %s. Models URIs must be of the form "
                     "'models:/model_name/suffix' or "
                     "'models:/model_name@alias' where suffix is a model version, stage, or the "
                     "string 'latest' and where alias is "
                     "a registered model alias, or 'models:/model_id'.",
                     uri);
}

static mltf_status find_version(store *st, mltf_arena *a, const char *name, const char *suffix,
                                store_model_version *v, mltf_err *err)
{
    if (suffix[strspn(suffix, "0123456789")] == '\0' && strlen(suffix) < 18)
        return store_model_version_get(st, a, name, strtoll(suffix, NULL, 10), v, err);
    return store_model_version_latest(
        st, a, name, ascii_same(str_from(suffix), "latest") ? NULL : suffix, v, err);
}

static mltf_status resolve_model(mltf_buf *dir, store **st, mltf_arena *a, const char *rest,
                                 const char *uri, const char *tracking_uri, int hops, mltf_err *err)
{
    if (*rest != '/') return malformed_models_uri(uri, err);
    while (*rest == '/') rest++;
    const char *slash = strchr(rest, '/');
    char *first = arena_strdup(a, rest, slash ? (size_t)(slash - rest) : strlen(rest));
    if (!first) return mltf_fail_memory(err);
    if (!*first) return malformed_models_uri(uri, err);
    char *at = strrchr(first, '@');
    const char *location, *sub;

    if (!at && !slash) { // models:/m-…
        store_logged_model m;
        TRY(store_logged_model_get(*st, a, first, &m, err));
        location = m.artifact_location;
        sub = "";
    } else {
        store_model_version v;
        if (at) {
            *at = '\0';
            if (!*first || !at[1]) return malformed_models_uri(uri, err);
            TRY(store_model_version_by_alias(*st, a, first, at + 1, &v, err));
            sub = slash ? slash + 1 : "";
        } else {
            const char *end = strchr(slash + 1, '/');
            const char *suffix =
                arena_strdup(a, slash + 1, end ? (size_t)(end - slash - 1) : strlen(slash + 1));
            if (!suffix) return mltf_fail_memory(err);
            if (!*suffix) return malformed_models_uri(uri, err);
            TRY(find_version(*st, a, first, suffix, &v, err));
            sub = end ? end + 1 : "";
        }
        location = v.storage_location && *v.storage_location ? v.storage_location : v.source;
    }
    TRY(check_sub_path(sub, uri, err));
    TRY(resolve(dir, st, a, location, tracking_uri, hops + 1, err));
    append_sub_path(dir, sub);
    return buf_status(dir, err);
}

static mltf_status resolve(mltf_buf *dir, store **st, mltf_arena *a, const char *uri,
                           const char *tracking_uri, int hops, mltf_err *err)
{
    if (hops > MAX_HOPS)
        return mltf_fail(err, MLTF_INVALID_STATE, "\"%s\" leads around in a circle", uri);
    if (strncmp(uri, "runs:", 5) == 0) {
        TRY(need_store(st, tracking_uri, err));
        return resolve_run(dir, *st, a, uri + 5, uri, err);
    }
    if (strncmp(uri, "models:", 7) == 0) {
        TRY(need_store(st, tracking_uri, err));
        return resolve_model(dir, st, a, uri + 7, uri, tracking_uri, hops, err);
    }
    if (strncmp(uri, "file://", 7) == 0) {
        const char *path = strchr(uri + 7, '/'); // behind an empty host or "localhost"
        return resolve_file(dir, path ? path : "", uri, err);
    }
    if (strncmp(uri, "file:", 5) == 0) return resolve_file(dir, uri + 5, uri, err);
    const char *colon = strchr(uri, ':'), *slash = strchr(uri, '/');
    if (colon && slash == colon + 1 && !dir_exists(uri) && !file_exists(uri))
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "no artifacts can be read from \"%s\": only local files, runs:/ and "
                         "models:/ URIs are supported",
                         uri);
    return resolve_file(dir, uri, uri, err);
}

mltf_status store_resolve_uri(mltf_buf *dir, const char *uri, const char *tracking_uri,
                              mltf_err *err)
{
    const size_t from = dir->n;
    mltf_arena a = MLTF_ARENA_INIT;
    store *st = NULL;
    mltf_status done = resolve(dir, &st, &a, uri, tracking_uri, 0, err);
    if (done == MLTF_OK && !dir_exists(dir->p + from) && !file_exists(dir->p + from))
        done = mltf_fail(err, MLTF_NOT_FOUND, "No such artifact: '%s' (looked in \"%s\")", uri,
                         dir->p + from);
    if (done != MLTF_OK) {
        dir->n = from;
        if (dir->p) dir->p[from] = '\0';
    }
    store_close(st);
    arena_release(&a);
    return done;
}
