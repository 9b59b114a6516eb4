/* save_model calls, repeated: a checkpoint is put together from the case's own files, mltf saves it with the recorded
 * arguments, and the directory is compared: list of files, MLmodel key by key, every other file by its content. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "golden.h"
#include "mlflow/mlmodel.h"

static const char *text(golden *g, const json *v)
{
    const mltf_str s = json_string(v, (mltf_str){0});
    return s.p ? arena_strdup(&g->a, s.p, s.n) : NULL;
}

static const char *inside(golden *g, const char *dir, const char *rel)
{
    return arena_printf(&g->a, "%s/%s", dir, rel);
}

static const char *as_json(golden *g, const json *v)
{
    if (!v) return NULL;
    mltf_buf b = MLTF_BUF_INIT;
    json_write(&b, v, NULL);
    const char *s = arena_strdup(&g->a, b.p ? b.p : "", b.n);
    mltf_buf_release(&b);
    return s;
}

/* ---- checkpoints --------------------------------------------------------------------------- */

static void copy_into(golden *g, const char *from, const char *to)
{
    dir_list files = {0};
    if (!dir_exists(from) || dir_make(to, NULL) || dir_read(&files, from, NULL)) return;
    for (size_t i = 0; i < files.n; i++) {
        const char *src = inside(g, from, files.names[i]), *dst = inside(g, to, files.names[i]);
        if (!file_exists(dst) && file_exists(src)) file_copy(src, dst, NULL, NULL, NULL);
    }
    dir_list_free(&files);
}

/* model/ and components/ of a saved model in one folder, as it was before it was saved. */
static const char *checkpoint_of(golden *g, const char *saved, bool verbatim, bool with_tokenizer)
{
    const char *to = arena_printf(&g->a, "%s/checkpoint-%zu", g->tmp, g->at);
    const char *const parts[] = {"components/tokenizer", "components/feature_extractor",
                                 "components/image_processor"};
    copy_into(g, inside(g, saved, "model"), to);
    for (size_t i = 0; i < 3 && !verbatim; i++)
        if (i > 0 || with_tokenizer) copy_into(g, inside(g, saved, parts[i]), to);
    return to;
}

/* The adapter, told where its base lies now. */
static const char *adapter_of(golden *g, const char *saved, const char *base, const char *repo)
{
    const char *to = arena_printf(&g->a, "%s/adapter-%zu", g->tmp, g->at);
    copy_into(g, inside(g, saved, "peft"), to);
    json_doc doc = JSON_DOC_INIT;
    const char *path = inside(g, to, "adapter_config.json");
    if (json_parse_file(&doc, path, NULL, NULL) == MLTF_OK) {
        json_set(&doc.arena, doc.root, "base_model_name_or_path",
                 json_new_cstr(&doc.arena, repo ? repo : base));
        mltf_buf b = MLTF_BUF_INIT;
        const json_write_options opts = {.indent = 2};
        json_write(&b, doc.root, &opts);
        file_write(path, b.p, b.n, NULL);
        mltf_buf_release(&b);
    }
    json_doc_release(&doc);
    return to;
}

/* A saved model of this case whose pipeline or model class is that. */
static const char *saved_like(golden *g, const char *class_name, const char *task)
{
    dir_list subs = {0};
    const char *found = NULL;
    if (dir_read(&subs, g->dir, NULL)) return NULL;
    for (size_t i = 0; i < subs.n && !found; i++) {
        const char *dir = inside(g, g->dir, subs.names[i]);
        json *root = NULL;
        if (!file_exists(inside(g, dir, "MLmodel")) || mlmodel_read(&g->a, &root, dir, NULL))
            continue;
        const json *f = mlmodel_flavor(root, "transformers");
        const char *keys[] = {"instance_type", "pipeline_model_type", "source_model_name"};
        if (!dir_exists(inside(g, dir, "model"))) continue;
        for (size_t k = 0; k < 3; k++) {
            const char *v = mlmodel_text(&g->a, f, keys[k]);
            if (v && class_name && strcmp(v, class_name) == 0) found = dir;
        }
        (void)task;
    }
    dir_list_free(&subs);
    return found;
}

/* ---- arguments ----------------------------------------------------------------------------- */

static const char **string_list(golden *g, const json *v)
{
    const size_t n = json_len(v);
    const char **list = arena_calloc(&g->a, n + 1, sizeof *list);
    for (size_t i = 0; list && i < n; i++) list[i] = text(g, json_at(v, i));
    return list;
}

/* Requirement and constraint files are gone; what was made of them tells what they said. */
static const char **requirement_file(golden *g, const char *saved)
{
    const char *path = inside(g, g->tmp, "reqs.txt"),
               *limits = inside(g, g->tmp, "constraints.txt");
    mltf_buf b = MLTF_BUF_INIT, out = MLTF_BUF_INIT;
    if (file_exists(inside(g, saved, "constraints.txt"))) {
        remove(limits);
        file_copy(inside(g, saved, "constraints.txt"), limits, NULL, NULL, NULL);
    }
    if (file_read(&b, inside(g, saved, "requirements.txt"), 1 << 20, NULL) == MLTF_OK) {
        const char *p = b.p;
        if (strncmp(p, "mlflow==", 8) == 0 && strchr(p, '\n')) p = strchr(p, '\n') + 1;
        buf_puts(&out, p);
        file_write(path, out.p ? out.p : "", out.n, NULL);
    }
    mltf_buf_release(&b);
    mltf_buf_release(&out);
    const char **list = arena_calloc(&g->a, 2, sizeof *list);
    if (list) list[0] = path;
    return list;
}

static const char *conda_file(golden *g, const char *saved)
{
    const char *path = inside(g, g->tmp, "conda_in.yaml");
    mltf_buf b = MLTF_BUF_INIT, out = MLTF_BUF_INIT;
    if (file_read(&b, inside(g, saved, "conda.yaml"), 1 << 20, NULL) == MLTF_OK) {
        char *at = strstr(b.p, "  - mlflow==");
        if (at) {
            buf_append(&out, b.p, (size_t)(at - b.p));
            buf_puts(&out, strchr(at, '\n') + 1);
        } else
            buf_puts(&out, b.p);
        file_write(path, out.p, out.n, NULL);
    }
    mltf_buf_release(&b);
    mltf_buf_release(&out);
    return path;
}

static const char *card_file(golden *g, const char *saved)
{
    const char *path = inside(g, g->tmp, "card.md");
    mltf_buf card = MLTF_BUF_INIT, body = MLTF_BUF_INIT;
    buf_puts(&card, "---\n");
    if (file_read(&body, inside(g, saved, "model_card_data.yaml"), 1 << 20, NULL) == MLTF_OK)
        buf_put_str(&card, buf_str(&body));
    buf_puts(&card, "---\n");
    buf_clear(&body);
    if (file_read(&body, inside(g, saved, "model_card.md"), 1 << 20, NULL) == MLTF_OK)
        buf_put_str(&card, buf_str(&body));
    file_write(path, card.p, card.n, NULL);
    mltf_buf_release(&card);
    mltf_buf_release(&body);
    return path;
}

static const char **code_list(golden *g, const json *v, const char *saved)
{
    const char **list = string_list(g, v);
    for (size_t i = 0; list && list[i]; i++) {
        const char *kept = arena_printf(&g->a, "%s/code/%s", saved, list[i]);
        if (file_exists(kept) || dir_exists(kept)) list[i] = kept;
    }
    return list;
}

/* ---- comparing directories ----------------------------------------------------------------- */

static void tree(golden *g, json *list, const char *dir, const char *rel)
{
    dir_list files = {0};
    if (dir_read(&files, *rel ? inside(g, dir, rel) : dir, NULL)) return;
    for (size_t i = 0; i < files.n; i++) {
        const char *path = *rel ? inside(g, rel, files.names[i])
                                : arena_strdup(&g->a, files.names[i], strlen(files.names[i]));
        if (dir_exists(inside(g, dir, path)))
            tree(g, list, dir, path);
        else
            json_push(&g->a, list, json_new_cstr(&g->a, path));
    }
    dir_list_free(&files);
}

static bool has_item(const json *list, mltf_str s)
{
    for (size_t i = 0; i < json_len(list); i++)
        if (str_eq(json_string(json_at(list, i), STR("")), s)) return true;
    return false;
}

static void one_difference(golden *g, const json *record, const char *key, const char *why)
{
    golden_verdict(g, record, false, key, why);
}

static void compare_lists(golden *g, const json *record, const json *want, const char *dir)
{
    json *have = json_new_array(&g->a);
    tree(g, have, dir, "");
    bool same = true;
    for (size_t i = 0; i < json_len(want); i++) {
        const mltf_str s = json_string(json_at(want, i), STR(""));
        if (has_item(have, s)) continue;
        same = false;
        one_difference(g, record, arena_printf(&g->a, "file " STR_FMT, STR_ARG(s)),
                       arena_printf(&g->a, "the file " STR_FMT " is missing", STR_ARG(s)));
    }
    for (size_t i = 0; i < json_len(have); i++) {
        const mltf_str s = json_string(json_at(have, i), STR(""));
        if (has_item(want, s)) continue;
        same = false;
        one_difference(g, record, arena_printf(&g->a, "file " STR_FMT, STR_ARG(s)),
                       arena_printf(&g->a, "the file " STR_FMT " is surplus", STR_ARG(s)));
    }
    if (same) parity_pass(&g->count);
}

/* Keys that change from one save to the next, or with the machine. */
static bool volatile_key(const char *path)
{
    static const char *const keys[] = {"model_uuid", "utc_time_created",
                                       "flavors.python_function.python_version"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(path, keys[i]) == 0) return true;
    return false;
}

static void compare_keys(golden *g, const json *record, const json *want, const json *have,
                         const char *path)
{
    for (size_t i = 0; i < json_len(want); i++) {
        const mltf_str key = want->o.members[i].key;
        const char *below = *path ? arena_printf(&g->a, "%s." STR_FMT, path, STR_ARG(key))
                                  : arena_strdup(&g->a, key.p, key.n);
        const json *x = &want->o.members[i].value, *y = json_get_str(have, key);
        if (y && json_is(x, JSON_OBJECT) && json_is(y, JSON_OBJECT)) {
            compare_keys(g, record, x, y, below);
            continue;
        }
        const bool masked =
            volatile_key(below) || (json_is(x, JSON_STRING) && str_starts(x->s, "<work>"));
        if (y && (masked || (x->type == y->type && json_equal(x, y))))
            parity_pass(&g->count);
        else
            one_difference(g, record, below,
                           arena_printf(&g->a, "MLmodel %s: %s, recorded %s", below,
                                        y ? as_json(g, y) : "absent", as_json(g, x)));
    }
    for (size_t i = 0; i < json_len(have); i++)
        if (!json_get_str(want, have->o.members[i].key)) {
            const char *below = arena_printf(&g->a, "%s%s" STR_FMT, path, *path ? "." : "",
                                             STR_ARG(have->o.members[i].key));
            one_difference(g, record, below,
                           arena_printf(&g->a, "MLmodel %s is surplus: %s", below,
                                        as_json(g, &have->o.members[i].value)));
        }
}

/* Versions of pip, setuptools and Python are the recording machine's. */
static void mask_versions(mltf_buf *b)
{
    static const char *const marks[] = {
        "- pip<=", "- pip==", "- setuptools==", "python: ", "- python=3.11.7"};
    mltf_buf out = MLTF_BUF_INIT;
    for (char *line = b->p, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        else
            next = line + strlen(line);
        bool cut = false;
        for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
            if (strncmp(line, marks[i], strlen(marks[i])) == 0) {
                buf_printf(&out, "%.*s\n", (int)strcspn(marks[i], "<=:"), marks[i]);
                cut = true;
            }
        if (!cut) buf_printf(&out, "%s\n", line);
    }
    mltf_buf_release(b);
    *b = out;
}

static void compare_file(golden *g, const json *record, const char *name, const char *want_dir,
                         const char *have_dir)
{
    mltf_buf want = MLTF_BUF_INIT, have = MLTF_BUF_INIT;
    const char *x = inside(g, want_dir, name), *y = inside(g, have_dir, name);
    if (!file_exists(x) || !file_exists(y)) return; // told by the lists
    if (file_read(&want, x, (size_t)1 << 30, NULL) || file_read(&have, y, (size_t)1 << 30, NULL))
        return;
    if (strcmp(name, "conda.yaml") == 0 || strcmp(name, "python_env.yaml") == 0) {
        mask_versions(&want);
        mask_versions(&have);
    }
    bool same = str_eq(buf_str(&want), buf_str(&have));
    if (!same && str_ends(str_from(name), ".json")) {
        json *p = NULL, *q = NULL;
        if (json_parse_in(&g->a, &p, want.p, want.n, NULL, NULL) == MLTF_OK &&
            json_parse_in(&g->a, &q, have.p, have.n, NULL, NULL) == MLTF_OK) {
            if (str_ends(str_from(name), "adapter_config.json"))
                json_set(&g->a, q, "base_model_name_or_path",
                         json_get(p, "base_model_name_or_path"));
            same = json_equal(p, q);
        }
    }
    if (same)
        parity_pass(&g->count);
    else if (strstr(name, ".safetensors"))
        one_difference(
            g, record, arena_printf(&g->a, "content %s", name),
            arena_printf(&g->a, "%s has other bytes (%zu, recorded %zu)", name, have.n, want.n));
    else
        one_difference(g, record, arena_printf(&g->a, "content %s", name),
                       arena_printf(&g->a, "%s is\n%.300s\nrecorded\n%.300s", name,
                                    have.p ? have.p : "", want.p ? want.p : ""));
    mltf_buf_release(&want);
    mltf_buf_release(&have);
}

static void compare_dirs(golden *g, const json *record, const json *files, const char *want,
                         const char *have)
{
    compare_lists(g, record, files, have);
    json *x = NULL, *y = NULL;
    mltf_err err = {0};
    if (mlmodel_read(&g->a, &x, want, &err) || mlmodel_read(&g->a, &y, have, &err))
        one_difference(g, record, "MLmodel", err.msg);
    else
        compare_keys(g, record, x, y, "");
    for (size_t i = 0; i < json_len(files); i++) {
        const char *name = text(g, json_at(files, i));
        if (strcmp(name, "MLmodel") != 0) compare_file(g, record, name, want, have);
    }
}

/* ---- save_model ---------------------------------------------------------------------------- */

typedef struct saving {
    mltf_save_options o;
    save_identity id;
    const char *checkpoint;
    pv example, params;
} saving;

static const json *error_message(const json *record)
{
    return json_get(json_get(record, "error"), "message");
}

/* What cannot be said in mltf's terms: Python objects of the wrong type. */
static const char *python_only(golden *g, const json *input, const json *record)
{
    const json *m = json_get(input, "transformers_model");
    const mltf_str wanted = json_string(error_message(record), STR(""));
    if (json_is(m, JSON_OBJECT)) {
        const char *cls = text(g, json_get(m, "model"));
        if (!cls) return "a dict without a model";
        if (!strstr(cls, "For") && !strstr(cls, "Model")) return "an object that is no model";
        for (size_t i = 0; i < m->o.n; i++) {
            const mltf_str k = m->o.members[i].key;
            if (!str_is(k, "model") && !str_is(k, "tokenizer") && !str_is(k, "feature_extractor") &&
                !str_is(k, "image_processor") && !str_is(k, "torch_dtype"))
                return "a key of a dict";
        }
    }
    if (str_starts(wanted, "The `transformers_model` must be one of"))
        return "a Python object of another type";
    if (str_starts(wanted, "Argument code_paths should be a list")) return "a Python type";
    if (str_starts(wanted, "Argument `prompt_template` must be a string, received"))
        return "a Python type";
    if (str_starts(wanted, "Expected a string path to a conda env")) return "a Python type";
    if (json_bool(json_get(input, "infer_env"), false) && json_get(record, "error"))
        return "an environment that lacks a package";
    return NULL;
}

/* What the recording program pinned where it did not let MLflow infer. */
static const char **pinned(golden *g)
{
    static const char *const names[] = {"mlflow", "torch", "transformers"};
    const json *versions = json_get(json_at(g->doc.root, 0), "output");
    const char **list = arena_calloc(&g->a, 4, sizeof *list);
    for (size_t i = 0; list && i < 3; i++) {
        const mltf_str v = json_string(json_get(versions, names[i]), STR(""));
        list[i] = arena_printf(&g->a, "%s==" STR_FMT, names[i], STR_ARG(v));
    }
    return list;
}

static void read_texts(golden *g, saving *s, const json *input, const char *saved)
{
    const json *v;
    s->o.task = text(g, json_get(input, "task"));
    s->o.torch_dtype = text(g, json_get(input, "torch_dtype"));
    s->o.prompt_template = text(g, json_get(input, "prompt_template"));
    s->o.model_config_json = as_json(g, json_get(input, "model_config"));
    s->o.metadata_json = as_json(g, json_get(input, "metadata"));
    s->o.signature_json = as_json(g, json_get(input, "signature"));
    if ((v = json_get(input, "code_paths"))) s->o.code_paths = code_list(g, v, saved);
    if ((v = json_get(input, "pip_requirements")))
        s->o.pip_requirements =
            json_is(v, JSON_STRING) ? requirement_file(g, saved) : string_list(g, v);
    if ((v = json_get(input, "extra_pip_requirements")))
        s->o.extra_pip_requirements = string_list(g, v);
    if ((v = json_get(input, "conda_env"))) {
        if (json_is(v, JSON_STRING))
            s->o.conda_env_path = conda_file(g, saved);
        else
            s->id.conda_env = v;
        if (s->o.pip_requirements) s->o.conda_env_path = "conda.yaml"; // both were given
    }
    const bool infer = json_bool(json_get(input, "infer_env"), false);
    if (!infer && !s->o.pip_requirements && !s->o.extra_pip_requirements && !s->o.conda_env_path &&
        !s->id.conda_env)
        s->o.pip_requirements = pinned(g);
    if (json_get(input, "model_card")) s->o.model_card_path = card_file(g, saved);
    if ((v = json_get(input, "save_pretrained"))) s->o.reference_only = !json_bool(v, true);
    if ((v = json_get(input, "input_example")) && v->type != JSON_NULL) {
        s->example = golden_decode(&g->a, v);
        if (s->example.kind == PV_TUPLE && s->example.list.n == 2 &&
            s->example.list.items[1].kind == PV_DICT) {
            s->params = s->example.list.items[1];
            s->example = s->example.list.items[0];
            s->id.example_params = &s->params;
        }
        s->id.example = &s->example;
    }
}

/* False: the case does not hold the files to save from. */
static bool read_model(golden *g, saving *s, const json *input, const char *saved,
                       const json *flavor)
{
    const json *m = json_get(input, "transformers_model");
    const bool dict = json_is(m, JSON_OBJECT);
    const char *cls = dict ? text(g, json_get(m, "model")) : text(g, m);
    const size_t n = cls ? strlen(cls) : 0;
    const bool pipeline_object = n > 8 && strcmp(cls + n - 8, "Pipeline") == 0;
    if (dict)
        s->o.layout = "components";
    else if (!pipeline_object)
        s->o.layout = "checkpoint";
    s->id.source_name = mlmodel_text(&g->a, flavor, "source_model_name");
    const char *repo =
        s->id.source_name && strchr(s->id.source_name, '/') ? s->id.source_name : NULL;
    if (cls && strncmp(cls, "PeftModel", 9) == 0) {
        const char *from = file_exists(inside(g, saved, "peft/adapter_config.json"))
                               ? saved
                               : inside(g, g->dir, "base_path");
        const char *base = inside(g, g->dir, "base_model"),
                   *given = text(g, json_get(input, "base_model_path"));
        s->checkpoint = adapter_of(g, from, base, repo);
        if (given) {
            const bool bad = strstr(given, "no-such") || strstr(given, "empty");
            s->o.base_model_path = bad ? inside(g, g->tmp, given) : base;
            if (strstr(given, "empty")) dir_make(s->o.base_model_path, NULL);
        }
        return dir_exists(s->checkpoint);
    }
    if (json_get(input, "base_model_path")) s->o.base_model_path = inside(g, g->dir, "base_model");
    const char *from = dir_exists(inside(g, saved, "model")) ? saved : NULL;
    if (!from && repo && !json_get(input, "path")) {
        s->checkpoint = repo;
        s->id.source_name = NULL;
        return true;
    }
    if (!from) from = saved_like(g, cls, s->o.task);
    if (!from && !dict && !pipeline_object) { // a path that is not there
        s->checkpoint = cls;
        return true;
    }
    if (!from) return false;
    const bool with_tokenizer = !dict || json_get(m, "tokenizer") ||
                                json_get(m, "feature_extractor") || json_get(m, "image_processor");
    if (repo && strcmp(from, saved) == 0 && dir_exists(inside(g, saved, "model"))) {
        s->checkpoint = repo; // saved with its weights from the cache: card and licence come along
        s->id.source_name = NULL;
    } else
        s->checkpoint = checkpoint_of(
            g, from, strcmp(s->o.layout ? s->o.layout : "", "checkpoint") == 0, with_tokenizer);
    if (pipeline_object) {
        json *root = NULL;
        if (mlmodel_read(&g->a, &root, from, NULL) == MLTF_OK)
            s->id.pipeline_task = mlmodel_text(&g->a, mlmodel_flavor(root, "transformers"), "task");
        if (!s->id.source_name)
            s->id.source_name = s->checkpoint == repo
                                    ? NULL
                                    : mlmodel_text(&g->a, mlmodel_flavor(root, "transformers"),
                                                   "source_model_name");
    }
    if (json_get(input, "processor")) {
        s->o.processor_path = inside(g, saved, "components/processor");
    }
    return true;
}

void golden_save(golden *g, const json *record)
{
    const json *input = json_get(record, "input"), *want_error = json_get(record, "error");
    const char *sub = text(g, json_get(record, "saved_to")), *saved = inside(g, g->dir, sub);
    const char *reason = python_only(g, input, record);
    if (reason) {
        parity_skip(&g->count, "%s record %zu: %s", g->name, g->at, reason);
        return;
    }
    json *root = NULL;
    if (file_exists(inside(g, saved, "MLmodel")) && !want_error)
        mlmodel_read(&g->a, &root, saved, NULL);
    saving s = {0};
    read_texts(g, &s, input, saved);
    if (!read_model(g, &s, input, saved, mlmodel_flavor(root, "transformers"))) {
        parity_skip(&g->count, "%s record %zu: the case holds no files of %s", g->name, g->at,
                    as_json(g, json_get(input, "transformers_model")));
        return;
    }
    const char *out = arena_printf(&g->a, "%s/saved-%zu", g->tmp, g->at);
    if (want_error && str_is(json_string(json_get(want_error, "error_code"), STR("")),
                             "RESOURCE_ALREADY_EXISTS")) {
        dir_make(out, NULL);
        file_write(inside(g, out, "file"), "x", 1, NULL);
    }
    mltf_err err = {0};
    const mltf_status st = model_save(s.checkpoint, out, &s.o, &s.id, &err);
    if (st == MLTF_UNSUPPORTED)
        parity_skip(&g->count, "%s record %zu: %s", g->name, g->at, err.msg);
    else if (st && !want_error)
        golden_verdict(g, record, false, arena_printf(&g->a, "fails %s", mltf_status_name(st)),
                       err.msg);
    else if (!st && want_error)
        golden_verdict(g, record, false, "saves", "saves where an error was recorded");
    else if (st) {
        const json *code = json_get(want_error, "error_code");
        const mltf_str message = json_string(error_message(record), STR(""));
        const bool words = golden_same_message(g, message, err.msg);
        if (!code) {
            if (!words) g->worded++;
            parity_pass(&g->count);
        } else
            golden_verdict(g, record, words && str_is(code->s, mltf_status_mlflow_code(st)),
                           arena_printf(&g->a, "fails %s", mltf_status_name(st)),
                           arena_printf(&g->a, "%s \"%s\", recorded " STR_FMT " \"" STR_FMT "\"",
                                        mltf_status_mlflow_code(st), err.msg, STR_ARG(code->s),
                                        STR_ARG(message)));
    } else if (!root)
        parity_pass(&g->count); // saved as recorded, but the recording did not keep it
    else
        compare_dirs(g, record, json_get(json_get(record, "output"), "files"), saved, out);
    dir_remove(out, NULL);
    dir_remove(arena_printf(&g->a, "%s/checkpoint-%zu", g->tmp, g->at), NULL);
}

/* ---- persist_pretrained_model -------------------------------------------------------------- */

/* model/ of the case is copied, persisted, and compared with persisted/. */
void golden_persist(golden *g, const json *record, size_t index)
{
    (void)index;
    const char *from = inside(g, g->dir, "model"), *want = inside(g, g->dir, "persisted");
    const char *to = arena_printf(&g->a, "%s/persist-%zu", g->tmp, g->at);
    mltf_err err = {0};
    const bool second =
        json_get(record, "note") != NULL || json_is(json_get(record, "input"), JSON_STRING);
    if (second || !dir_exists(from)) {
        parity_skip(&g->count, "%s record %zu: repeated, or through the store", g->name, g->at);
        return;
    }
    if (dir_copy(from, to, NULL, NULL, NULL, &err) || model_persist(to, &err)) {
        golden_verdict(g, record, false, "fails", err.msg);
        return;
    }
    if (!dir_exists(want)) {
        parity_pass(&g->count);
        return;
    }
    json *files = json_new_array(&g->a);
    tree(g, files, want, "");
    compare_dirs(g, record, files, want, to);
}
