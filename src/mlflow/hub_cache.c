#include "mlflow/hub_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/file.h"

static bool is_id_char(char c)
{
    return ascii_is_alnum(c) || c == '-' || c == '_' || c == '.';
}

bool hub_is_repo_id(const char *name)
{
    const size_t n = strlen(name);
    if (n == 0 || n > 96 || strstr(name, "--") || strstr(name, "..")) return false;
    if (n >= 4 && strcmp(name + n - 4, ".git") == 0) return false;
    size_t slashes = 0, part = 0;
    for (size_t i = 0; i <= n; i++) {
        const char c = name[i];
        if (c == '/' || c == '\0') { // a part must not be empty, nor begin or end with - or .
            const size_t len = i - part;
            if (len == 0 || strchr("-.", name[part]) || strchr("-.", name[i - 1])) return false;
            if (c == '/' && ++slashes > 1) return false;
            part = i + 1;
        } else if (!is_id_char(c))
            return false;
    }
    return true;
}

static void cache_root(mltf_buf *out)
{
    const char *v;
    if ((v = getenv("HF_HUB_CACHE")) && *v)
        buf_puts(out, v);
    else if ((v = getenv("HUGGINGFACE_HUB_CACHE")) && *v)
        buf_puts(out, v);
    else if ((v = getenv("HF_HOME")) && *v)
        buf_printf(out, "%s/hub", v);
    else if ((v = getenv("XDG_CACHE_HOME")) && *v)
        buf_printf(out, "%s/huggingface/hub", v);
    else
        buf_printf(out, "%s/.cache/huggingface/hub", (v = getenv("HOME")) ? v : "");
}

static bool is_commit(const char *s)
{
    size_t n = 0;
    for (; s[n]; n++)
        if (!((s[n] >= '0' && s[n] <= '9') || (s[n] >= 'a' && s[n] <= 'f'))) return false;
    return n == 40;
}

mltf_status hub_snapshot(mltf_buf *dir, mltf_buf *commit, const char *repo, const char *revision,
                         mltf_err *err)
{
    if (!hub_is_repo_id(repo))
        return mltf_fail(err, MLTF_NOT_FOUND, "\"%s\" is not the id of a repository", repo);
    mltf_buf root = MLTF_BUF_INIT, found = MLTF_BUF_INIT, path = MLTF_BUF_INIT;
    cache_root(&root);
    buf_puts(&root, "/models--");
    for (const char *s = repo; *s; s++) buf_puts(&root, *s == '/' ? "--" : (char[]){*s, '\0'});
    if (revision && is_commit(revision))
        buf_puts(&found, revision);
    else if (!revision || path_is_inside(str_from(revision))) {
        buf_printf(&path, "%s/refs/%s", root.p ? root.p : "", revision ? revision : "main");
        if (path.p && file_read(&found, path.p, 200, NULL) == MLTF_OK)
            while (found.n > 0 && (found.p[found.n - 1] == '\n' || found.p[found.n - 1] == ' '))
                found.p[--found.n] = '\0';
    }
    mltf_status st = buf_status(&root, err);
    if (st == MLTF_OK) {
        buf_clear(&path);
        if (found.n && path_is_inside(buf_str(&found)))
            buf_printf(&path, "%s/snapshots/%s", root.p, found.p);
        if (path.n && dir_exists(path.p)) {
            buf_puts(dir, path.p);
            if (commit) buf_puts(commit, found.p);
            st = buf_status(dir, err);
        } else
            st = mltf_fail(err, MLTF_NOT_FOUND,
                           "revision \"%s\" of \"%s\" is not in the Hugging Face cache (%s); "
                           "download it there first",
                           revision ? revision : "main", repo, root.p);
    }
    mltf_buf_release(&root);
    mltf_buf_release(&found);
    mltf_buf_release(&path);
    return st;
}
