#include "mlflow/mlmodel.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "formats/yaml.h"

mltf_status mlmodel_read(mltf_arena *a, json **out, const char *dir, mltf_err *err)
{
    char *path = path_join(dir, "MLmodel");
    if (!path) return mltf_fail_memory(err);
    if (!file_exists(path)) {
        free(path);
        return mltf_fail(err, MLTF_NOT_FOUND,
                         "Could not find an \"MLmodel\" configuration file at \"%s\"", dir);
    }
    json_doc doc = JSON_DOC_INIT;
    mltf_status st = yaml_parse_file(&doc, path, err);
    if (st == MLTF_OK && !json_is(doc.root, JSON_OBJECT))
        st = mltf_fail(err, MLTF_CORRUPT_FILE, "\"%s\" is not a map of keys", path);
    if (st == MLTF_OK) {
        *out = json_clone(a, doc.root);
        if (!*out) st = mltf_fail_memory(err);
    }
    json_doc_release(&doc);
    free(path);
    return st;
}

mltf_status mlmodel_write(const char *path, const json *root, mltf_err *err)
{
    mltf_buf b = MLTF_BUF_INIT;
    const yaml_write_options opts = {.sort_keys = true};
    yaml_write(&b, root, &opts);
    mltf_status st = buf_status(&b, err);
    if (st == MLTF_OK) st = file_write(path, b.p ? b.p : "", b.n, err);
    mltf_buf_release(&b);
    return st;
}

const json *mlmodel_flavor(const json *root, const char *name)
{
    const json *f = json_get(json_get(root, "flavors"), name);
    return json_is(f, JSON_OBJECT) ? f : NULL;
}

const char *mlmodel_text(mltf_arena *a, const json *map, const char *key)
{
    const json *v = json_get(map, key);
    if (json_is(v, JSON_STRING)) return arena_strdup(a, v->s.p, v->s.n);
    if (json_is(v, JSON_INT))
        return arena_printf(a, "%lld", (long long)v->i); // a revision of digits alone
    return NULL;
}
