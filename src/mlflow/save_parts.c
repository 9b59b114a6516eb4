/* The files of a saved model that come from the checkpoint. Weights go from file to file in the kernel; only where
 * they must be regrouped into other shards, or cleaned of an adapter's names, do they pass through a small window
 * of a map. */
#include "mlflow/save.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/ascii.h"
#include "base/file.h"
#include "base/pytext.h"
#include "formats/decimal.h"
#include "formats/checkpoint.h"
#include "formats/safetensors_write.h"
#include "mlflow/adapter_folder.h"

bool save_has_file(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    const bool yes = path && file_exists(path);
    free(path);
    return yes;
}

static mltf_status copy_named(const char *from, const char *to, const char *name,
                              mltf_progress_fn progress, void *user, mltf_err *err)
{
    char *src = path_join(from, name), *dst = path_join(to, name);
    const mltf_status st =
        src && dst ? file_copy(src, dst, progress, user, err) : mltf_fail_memory(err);
    free(src);
    free(dst);
    return st;
}

/* As transformers writes its settings. */
static const json_write_options sorted = {.indent = 2, .sort_keys = true, .newline = true};

static mltf_status read_json_in(json_doc *doc, const char *dir, const char *name, mltf_err *err)
{
    char *path = path_join(dir, name);
    if (!path) return mltf_fail_memory(err);
    const mltf_status st = json_parse_file(doc, path, NULL, err);
    free(path);
    return st;
}

mltf_status save_parse_size(uint64_t *out, const char *text, mltf_err *err)
{
    static const struct {
        const char *unit;
        double bytes;
    } units[] = {{"KB", 1e3},     {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12},
                 {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"", 1}};
    const mltf_str s = pytext_strip(str_from(text));
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const size_t n = strlen(units[i].unit);
        if (s.n < n || !ascii_same(str_slice(s, s.n - n, s.n), units[i].unit)) continue;
        const mltf_str number = pytext_strip(str_slice(s, 0, s.n - n));
        double value = 0;
        const size_t used = decimal_parse(&value, number.p, number.n);
        const double size = value * units[i].bytes;
        if (number.n == 0 || used != number.n || !(size >= 1 && size < 0x1p63)) break;
        *out = (uint64_t)size;
        return MLTF_OK;
    }
    return mltf_fail(err, MLTF_INVALID_INPUT, "\"%s\" is not a size; write it like 500MB or 2GiB",
                     text);
}

/* ---- weights ------------------------------------------------------------------------------- */

typedef struct regroup {
    const checkpoint *ck;
    const ck_tensor **tensors; /* [n] */
} regroup;

/* In pieces, giving the pages of the map back behind each, so that memory stays small for weights of any size. */
static mltf_status put_tensor(void *user, size_t i, st_sink *to, mltf_err *err)
{
    enum { PIECE = 8 << 20 };
    const regroup *r = user;
    const ck_tensor *t = r->tensors[i];
    const char *p = t->data;
    for (size_t at = 0; at < t->bytes; at += PIECE) {
        const size_t n = t->bytes - at < PIECE ? t->bytes - at : PIECE;
        TRY(st_put(to, p + at, n, err));
        const uintptr_t from = ((uintptr_t)(p + at) + 4095) & ~(uintptr_t)4095,
                        end = (uintptr_t)(p + at + n) & ~(uintptr_t)4095;
        if (end > from)
            madvise((void *)from, end - from, MADV_DONTNEED); // file-backed: read again if needed
    }
    return MLTF_OK;
}

/* "h.0.c_attn.base_layer.weight" -> "h.0.c_attn.weight"; false for a tensor of the adapter itself. */
static bool clean_name(mltf_arena *a, const char **name)
{
    if (strstr(*name, ".lora_") || strstr(*name, ".modules_to_save.")) return false;
    const char *at = strstr(*name, ".base_layer.");
    if (at) *name = arena_printf(a, "%.*s%s", (int)(at - *name), *name, at + 11);
    return *name != NULL;
}

static bool has_adapter_names(const checkpoint *ck)
{
    for (size_t i = 0; i < checkpoint_count(ck); i++)
        if (strstr(checkpoint_at(ck, i)->name, ".base_layer.")) return true;
    return false;
}

static mltf_status regroup_weights(const save_plan *p, const checkpoint *ck, const char *dir,
                                   mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    const size_t n = checkpoint_count(ck);
    st_spec *specs = arena_calloc(&a, n ? n : 1, sizeof *specs);
    regroup r = {.ck = ck, .tensors = arena_calloc(&a, n ? n : 1, sizeof *r.tensors)};
    size_t kept = 0;
    const bool clean = has_adapter_names(ck);
    for (size_t i = 0; specs && r.tensors && i < n; i++) {
        const ck_tensor *t = checkpoint_at(ck, i);
        const char *name = t->name;
        if (clean && !clean_name(&a, &name)) continue;
        specs[kept] = (st_spec){.name = name, .dtype = t->dtype, .ndim = t->ndim};
        memcpy(specs[kept].shape, t->shape, sizeof t->shape);
        r.tensors[kept++] = t;
    }
    mltf_status st = a.failed ? mltf_fail_memory(err) : MLTF_OK;
    if (st == MLTF_OK)
        st = st_write(dir, specs, kept, p->max_shard, put_tensor, &r, p->o->progress,
                      p->o->progress_user, err);
    arena_release(&a);
    return st;
}

/* The weight files as they lie: model.safetensors, or an index and its shards. */
static mltf_status copy_weight_files(const save_plan *p, const char *dir, mltf_err *err)
{
    const char *src = p->model_src;
    if (save_has_file(src, "model.safetensors"))
        return copy_named(src, dir, "model.safetensors", p->o->progress, p->o->progress_user, err);
    json_doc doc = JSON_DOC_INIT;
    mltf_status st = read_json_in(&doc, src, "model.safetensors.index.json", err);
    const json *map = json_get(doc.root, "weight_map");
    for (size_t i = 0; st == MLTF_OK && i < json_len(map); i++) {
        const mltf_str file = json_string(&map->o.members[i].value, STR(""));
        const char *name = arena_strdup(&doc.arena, file.p, file.n);
        if (!name)
            st = mltf_fail_memory(err);
        else if (!path_is_inside(file))
            st = mltf_fail(err, MLTF_CORRUPT_FILE, "the index of the weights names \"%s\"", name);
        else if (!save_has_file(dir, name))
            st = copy_named(src, dir, name, p->o->progress, p->o->progress_user, err);
    }
    if (st == MLTF_OK) st = copy_named(src, dir, "model.safetensors.index.json", NULL, NULL, err);
    json_doc_release(&doc);
    return st;
}

static uint64_t largest_file(const char *dir)
{
    uint64_t most = 0;
    dir_list files = {0};
    if (dir_read(&files, dir, NULL) != MLTF_OK) return 0;
    for (size_t i = 0; i < files.n; i++) {
        char *path = path_join(dir, files.names[i]);
        uint64_t n = 0;
        if (path && str_ends(str_from(files.names[i]), ".safetensors") && file_exists(path) &&
            file_size(&n, path, NULL) == MLTF_OK && n > most)
            most = n;
        free(path);
    }
    dir_list_free(&files);
    return most;
}

/* config.json with the class that the saved model has, as save_pretrained() notes it. */
static mltf_status write_config(const save_plan *p, const char *dir, mltf_err *err)
{
    json_doc doc = JSON_DOC_INIT;
    mltf_status st = read_json_in(&doc, p->model_src, "config.json", err);
    const json *list = json_get(doc.root, "architectures");
    const mltf_str first = json_string(json_at(list, 0), STR(""));
    if (st == MLTF_OK && p->model_class &&
        !(json_len(list) == 1 && str_is(first, p->model_class))) {
        json *own = json_new_array(&doc.arena);
        json_push(&doc.arena, own, json_new_cstr(&doc.arena, p->model_class));
        json_set(&doc.arena, doc.root, "architectures", own);
        st = doc.arena.failed ? mltf_fail_memory(err)
                              : json_write_file(dir, "config.json", doc.root, &sorted, err);
    } else if (st == MLTF_OK)
        st = copy_named(p->model_src, dir, "config.json", NULL, NULL, err);
    json_doc_release(&doc);
    return st;
}

/* Classes with generate(), by their names. */
static bool can_generate(const char *model_class)
{
    static const char *const ends[] = {
        "ForCausalLM",      "LMHeadModel",     "ForConditionalGeneration",
        "ForVision2Seq",    "WithLMHeadModel", "EncoderDecoderModel",
        "DoubleHeadsModel", "MTModel",         "ForSpeechSeq2Seq"};
    for (size_t i = 0; model_class && i < sizeof ends / sizeof *ends; i++)
        if (str_ends(str_from(model_class), ends[i])) return true;
    return false;
}

/* What GenerationConfig.from_model_config() takes from config.json where there is no file. */
static mltf_status write_generation_config(const save_plan *p, const char *dir, mltf_err *err)
{
    static const char *const keys[] = {"bos_token_id",
                                       "decoder_start_token_id",
                                       "eos_token_id",
                                       "forced_bos_token_id",
                                       "forced_eos_token_id",
                                       "pad_token_id",
                                       NULL};
    if (save_has_file(p->model_src, "generation_config.json"))
        return copy_named(p->model_src, dir, "generation_config.json", NULL, NULL, err);
    if (!can_generate(p->model_class)) return MLTF_OK;
    json_doc doc = JSON_DOC_INIT;
    mltf_status st = read_json_in(&doc, p->model_src, "config.json", err);
    if (st == MLTF_OK) {
        json *g = json_new_object(&doc.arena);
        json_set(&doc.arena, g, "_from_model_config", json_new_bool(&doc.arena, true));
        for (size_t i = 0; keys[i]; i++) {
            const json *v = json_get(doc.root, keys[i]);
            if (v && !json_is(v, JSON_NULL)) json_set(&doc.arena, g, keys[i], v);
        }
        json_set(&doc.arena, g, "transformers_version",
                 json_new_cstr(&doc.arena, MLTF_TRANSFORMERS_VERSION));
        st = doc.arena.failed ? mltf_fail_memory(err)
                              : json_write_file(dir, "generation_config.json", g, &sorted, err);
    }
    json_doc_release(&doc);
    return st;
}

/* Files that a checkpoint folder brings along and that no model needs. */
static int skip_in_checkpoint(const char *rel)
{
    return strcmp(rel, ".git") == 0 || strncmp(rel, ".git/", 5) == 0 ||
           strcmp(rel, ".cache") == 0 || strncmp(rel, ".cache/", 7) == 0;
}

mltf_status save_write_weights(const save_plan *p, const char *dir, mltf_err *err)
{
    if (p->layout == LAYOUT_CHECKPOINT && !p->adapter)
        return dir_copy(p->source, dir, skip_in_checkpoint, p->o->progress, p->o->progress_user,
                        err);
    TRY(dir_make(dir, err));
    TRY(write_config(p, dir, err));
    TRY(write_generation_config(p, dir, err));
    const bool safe = save_has_file(p->model_src, "model.safetensors") ||
                      save_has_file(p->model_src, "model.safetensors.index.json");
    checkpoint *ck = NULL;
    TRY(checkpoint_open(&ck, p->model_src, NULL, err));
    const bool as_it_lies = safe && !has_adapter_names(ck) &&
                            (p->max_shard == 0 || largest_file(p->model_src) <= p->max_shard);
    const mltf_status st =
        as_it_lies ? copy_weight_files(p, dir, err) : regroup_weights(p, ck, dir, err);
    checkpoint_close(ck);
    return st;
}

/* ---- tokenizer and other components -------------------------------------------------------- */

static const char *const tokenizer_files[] = {
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "spm.model",
    "source.spm",
    "target.spm",
    "bpe.codes",
    "normalizer.json",
    "added_tokens.json",
    "entity_vocab.json",
    "dict.txt",
    "prophetnet.tokenizer",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "vocabulary.json",
    "byte_maps.json",
    "sentencepiece.model",
};

bool save_has_tokenizer(const char *dir)
{
    for (size_t i = 0; i < sizeof tokenizer_files / sizeof *tokenizer_files; i++)
        if (strcmp(tokenizer_files[i], "dict.txt") != 0 &&
            strcmp(tokenizer_files[i], "chat_template.jinja") != 0 &&
            save_has_file(dir, tokenizer_files[i]))
            return true;
    return false;
}

/* The token of added_tokens_decoder that reads like this, without the key `special`; NULL: there is none. */
static json *added_token(mltf_arena *a, const json *config, mltf_str content)
{
    const json *added = json_get(config, "added_tokens_decoder");
    for (size_t i = 0; i < json_len(added); i++) {
        const json *t = &added->o.members[i].value;
        if (!str_eq(json_string(json_get(t, "content"), STR("")), content)) continue;
        json *out = json_clone(a, t);
        json_remove(out, "special");
        return out;
    }
    return NULL;
}

/* special_tokens_map.json as a loaded tokenizer writes it: the named tokens with all their properties. */
static mltf_status write_special_tokens(json_doc *doc, const char *from, const char *to,
                                        mltf_err *err)
{
    static const char *const named[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    mltf_arena *a = &doc->arena;
    json_doc given = JSON_DOC_INIT;
    if (save_has_file(from, "special_tokens_map.json"))
        TRY(read_json_in(&given, from, "special_tokens_map.json", err));
    json *map = json_is(given.root, JSON_OBJECT) ? json_clone(a, given.root) : json_new_object(a);
    json_doc_release(&given);
    bool changed = !save_has_file(from, "special_tokens_map.json");
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        const json *own = json_get(map, named[i]);
        const json *v = own ? own : json_get(doc->root, named[i]);
        if (!json_is(v, JSON_STRING)) {
            if (!own && json_is(v, JSON_OBJECT)) json_set(a, map, named[i], v);
            continue;
        }
        const json *full = added_token(a, doc->root, v->s);
        if (own && !full) continue;
        json_set(a, map, named[i], full ? full : v);
        changed = true;
    }
    const json *more = json_get(doc->root, "additional_special_tokens");
    if (json_len(more) > 0 && !json_get(map, "additional_special_tokens")) {
        json_set(a, map, "additional_special_tokens", more);
        changed = true;
    }
    if (a->failed) return mltf_fail_memory(err);
    return changed ? json_write_file(to, "special_tokens_map.json", map, &sorted, err)
                   : copy_named(from, to, "special_tokens_map.json", NULL, NULL, err);
}

/* Today's save_pretrained() keeps a chat template in a file of its own. */
static mltf_status write_tokenizer_config(const char *from, const char *to, mltf_err *err)
{
    json_doc doc = JSON_DOC_INIT;
    mltf_status st = read_json_in(&doc, from, "tokenizer_config.json", err);
    if (st == MLTF_OK) st = write_special_tokens(&doc, from, to, err);
    const json *chat = json_get(doc.root, "chat_template");
    if (st == MLTF_OK && json_is(chat, JSON_STRING)) {
        if (!save_has_file(to, "chat_template.jinja")) {
            char *path = path_join(to, "chat_template.jinja");
            st = path ? file_write(path, chat->s.p, chat->s.n, err) : mltf_fail_memory(err);
            free(path);
        }
        json_remove(doc.root, "chat_template");
        if (st == MLTF_OK)
            st = json_write_file(to, "tokenizer_config.json", doc.root, &sorted, err);
    } else if (st == MLTF_OK)
        st = copy_named(from, to, "tokenizer_config.json", NULL, NULL, err);
    json_doc_release(&doc);
    return st;
}

static mltf_status copy_tokenizer(const char *from, const char *to, mltf_err *err)
{
    TRY(dir_make(to, err));
    const bool config = save_has_file(from, "tokenizer_config.json");
    for (size_t i = 0; i < sizeof tokenizer_files / sizeof *tokenizer_files; i++)
        if (strcmp(tokenizer_files[i], "tokenizer_config.json") != 0 &&
            !(config && strcmp(tokenizer_files[i], "special_tokens_map.json") == 0) &&
            save_has_file(from, tokenizer_files[i]))
            TRY(copy_named(from, to, tokenizer_files[i], NULL, NULL, err));
    return config ? write_tokenizer_config(from, to, err) : MLTF_OK;
}

static mltf_status copy_processor(const char *from, const char *to, mltf_err *err)
{
    static const char *const files[] = {"preprocessor_config.json", "processor_config.json",
                                        "video_preprocessor_config.json", "chat_template.json"};
    TRY(copy_tokenizer(from, to, err));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (save_has_file(from, files[i])) TRY(copy_named(from, to, files[i], NULL, NULL, err));
    return MLTF_OK;
}

mltf_status save_write_components(const save_plan *p, mltf_err *err)
{
    for (size_t i = 0; i < p->n_components; i++) {
        const save_component *c = &p->components[i];
        const char *to = arena_printf(p->a, "%s/components/%s", p->out, c->name);
        if (!to) return mltf_fail_memory(err);
        if (strcmp(c->name, "tokenizer") == 0)
            TRY(copy_tokenizer(c->dir, to, err));
        else {
            TRY(dir_make(to, err));
            TRY(copy_named(c->dir, to, "preprocessor_config.json", NULL, NULL, err));
        }
    }
    if (!p->processor_type) return MLTF_OK;
    const char *to = arena_printf(p->a, "%s/components/processor", p->out);
    return to ? copy_processor(p->o->processor_path, to, err) : mltf_fail_memory(err);
}

/* ---- adapter and code ---------------------------------------------------------------------- */

static mltf_status write_adapter(const save_plan *p, const char *from, const char *to,
                                 mltf_err *err)
{
    TRY(dir_make(to, err));
    TRY(copy_named(from, to, "adapter_config.json", NULL, NULL, err));
    static const char *const weights[] = {"adapter_model.safetensors", "adapter_model.bin", NULL};
    for (const char *const *name = weights; *name; name++)
        if (save_has_file(from, *name))
            return copy_named(from, to, *name, p->o->progress, p->o->progress_user, err);
    return mltf_fail(err, MLTF_NOT_FOUND, "the adapter in \"%s\" has no adapter_model.safetensors",
                     from);
}

/* The model's adapter becomes the default one, which Python reloads; others beside it come along. */
mltf_status save_write_adapter(const save_plan *p, mltf_err *err)
{
    const char *to = arena_printf(p->a, "%s/peft", p->out);
    if (!to) return mltf_fail_memory(err);
    TRY(write_adapter(p, p->adapter, to, err));
    if (save_has_file(p->source, "README.md"))
        TRY(copy_named(p->source, to, "README.md", NULL, NULL, err));
    dir_list others = {0};
    TRY(adapter_folders(&others, p->adapter, err));
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < others.n && !st; i++) {
        const char *from = arena_printf(p->a, "%s/%s", p->adapter, others.names[i]),
                   *into = arena_printf(p->a, "%s/%s", to, others.names[i]);
        st = from && into ? write_adapter(p, from, into, err) : mltf_fail_memory(err);
    }
    dir_list_free(&others);
    return st;
}

static int skip_compiled(const char *rel)
{
    const mltf_str s = str_from(rel);
    if (str_ends(s, ".pyc") || str_ends(s, "__pycache__")) return 1;
    return strstr(rel, "__pycache__/") != NULL;
}

mltf_status save_write_code(const save_plan *p, mltf_err *err)
{
    if (!p->o->code_paths || !*p->o->code_paths) return MLTF_OK;
    const char *code = arena_printf(p->a, "%s/code", p->out);
    if (!code) return mltf_fail_memory(err);
    TRY(dir_make(code, err));
    for (const char *const *path = p->o->code_paths; *path; path++) {
        char *name = path_name(*path), *to = name ? path_join(code, name) : NULL;
        mltf_err why = {0};
        mltf_status st = MLTF_OK;
        if (!to)
            st = mltf_fail_memory(err);
        else if (dir_exists(*path))
            st = dir_copy(*path, to, skip_compiled, NULL, NULL, &why);
        else
            st = file_copy(*path, to, NULL, NULL, &why);
        free(name);
        free(to);
        if (st == MLTF_NO_MEMORY) return mltf_fail_memory(err);
        if (st)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "Failed to copy the specified code path '%s' into the model "
                             "artifacts. It appears that your code "
                             "path includes file(s) that cannot be copied. Please specify a code "
                             "path that does not include "
                             "such files and try again. (%s)",
                             *path, why.msg);
    }
    return MLTF_OK;
}
