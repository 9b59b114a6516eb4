#include "mlflow/adapter_folder.h"

#include <stdlib.h>

#include "base/buf.h"

bool adapter_here(const char *dir)
{
    char *path = path_join(dir, "adapter_config.json");
    const bool yes = path && file_exists(path);
    free(path);
    return yes;
}

mltf_status adapter_folders(dir_list *out, const char *dir, mltf_err *err)
{
    TRY(dir_read(out, dir, err));
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++) {
        char *path = path_join(dir, out->names[i]);
        if (path && adapter_here(path))
            out->names[kept++] = out->names[i];
        else
            free(out->names[i]);
        free(path);
    }
    out->n = kept;
    return MLTF_OK;
}

static mltf_status refuse_several(const dir_list *found, const char *dir, mltf_err *err)
{
    mltf_buf names = MLTF_BUF_INIT;
    for (size_t i = 0; i < found->n; i++)
        buf_printf(&names, "%s%s", i ? ", " : "", found->names[i]);
    const mltf_status st =
        mltf_fail(err, MLTF_INVALID_INPUT,
                  "\"%s\" holds several adapters (%.300s) and none is the default; give the folder "
                  "of one of them",
                  dir, names.p ? names.p : "");
    mltf_buf_release(&names);
    return st;
}

mltf_status adapter_choose(mltf_arena *a, const char **out, const char *dir, mltf_err *err)
{
    *out = NULL;
    if (adapter_here(dir)) {
        *out = arena_printf(a, "%s", dir);
        return *out ? MLTF_OK : mltf_fail_memory(err);
    }
    if (!dir_exists(dir)) return MLTF_OK;
    dir_list found = {0};
    TRY(adapter_folders(&found, dir, err));
    mltf_status st = MLTF_OK;
    if (found.n > 1)
        st = refuse_several(&found, dir, err);
    else if (found.n == 1 && !(*out = arena_printf(a, "%s/%s", dir, found.names[0])))
        st = mltf_fail_memory(err);
    dir_list_free(&found);
    return st;
}
