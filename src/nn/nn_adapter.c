/* Low-rank adapters as PEFT writes them: adapter_config.json beside adapter_model.safetensors (or .bin).
 *
 *   base_model.model.<module>.lora_A.weight  [r, K]      y += (alpha / r) B (A x); alpha / sqrt(r) with use_rslora
 *   base_model.model.<module>.lora_B.weight  [N, r]
 *   base_model.model.<module>.weight, .bias              the module itself, trained along (modules_to_save, bias)
 *
 * <module> is the name in the Python model, with the base model's prefix even where the checkpoint leaves
 * it out: names are tried as the checkpoint spells them, with the prefix, and without. */
#include "nn/nn_adapter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "formats/json.h"

struct nn_adapter {
    checkpoint *ck;
    uint8_t *used;
    json_doc config;
    const char *base_prefix; /* "transformer." or "" */
};

static bool has_file(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    const bool there = path && file_exists(path);
    free(path);
    return there;
}

static mltf_status check_kind(const json *config, mltf_err *err)
{
    static const char *const refused[] = {"use_dora", "use_qalora", "use_bdlora", NULL};
    const mltf_str kind = json_string(json_get(config, "peft_type"), STR(""));
    if (!str_is(kind, "LORA"))
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "adapter_config.json: peft_type \"" STR_FMT
                         "\" is not supported; supported: LORA",
                         STR_ARG(kind));
    for (const char *const *key = refused; *key; key++)
        if (json_bool(json_get(config, *key), false))
            return mltf_fail(err, MLTF_UNSUPPORTED, "adapter_config.json: \"%s\" is not supported",
                             *key);
    return MLTF_OK;
}

mltf_status nn_load_adapter(nn_loader *ld, const char *dir, const char *base_prefix, mltf_err *err)
{
    nn_adapter *a = calloc(1, sizeof *a);
    if (!a) return mltf_fail_memory(err);
    ld->adapter = a;
    const char *bar = base_prefix ? strchr(base_prefix, '|') : NULL;
    a->base_prefix = *ld->base ? ld->base : base_prefix ? base_prefix : "";
    if (!*ld->base && bar) { // several are possible and the checkpoint has none: the first
        a->base_prefix = arena_strdup(ld->own, base_prefix, (size_t)(bar - base_prefix));
        if (!a->base_prefix) return mltf_fail_memory(err);
    }
    char *path = path_join(dir, "adapter_config.json");
    if (!path) return mltf_fail_memory(err);
    const mltf_status st = json_parse_file(&a->config, path, NULL, err);
    free(path);
    TRY(st);
    TRY(check_kind(a->config.root, err));
    const bool safe = has_file(dir, "adapter_model.safetensors");
    TRY(checkpoint_open(&a->ck, dir, safe ? "adapter_model.safetensors" : "adapter_model.bin",
                        err));
    const size_t n = checkpoint_count(a->ck);
    a->used = calloc(n ? n : 1, 1);
    return a->used ? MLTF_OK : mltf_fail_memory(err);
}

void nn_adapter_free(nn_adapter *a)
{
    if (!a) return;
    checkpoint_close(a->ck);
    json_doc_release(&a->config);
    free(a->used);
    free(a);
}

static const ck_tensor *find(nn_adapter *a, const char *prefix, const char *name,
                             const char *suffix)
{
    char full[640];
    const int n = snprintf(full, sizeof full, "base_model.model.%s%s%s", prefix, name, suffix);
    if (n < 0 || (size_t)n >= sizeof full) return NULL;
    const ck_tensor *t = checkpoint_find(a->ck, full);
    for (size_t i = 0; t && i < checkpoint_count(a->ck); i++)
        if (checkpoint_at(a->ck, i) == t) a->used[i] = 1;
    return t;
}

/* scope + name as the checkpoint writes it, then with the base model's prefix, then without it. */
static const ck_tensor *find_module(nn_loader *ld, mltf_str name, const char *suffix)
{
    nn_adapter *a = ld->adapter;
    char module[512];
    const int n =
        snprintf(module, sizeof module, "%s%s" STR_FMT, ld->root, ld->scope, STR_ARG(name));
    if (n < 0 || (size_t)n >= sizeof module) return NULL;
    const ck_tensor *t = find(a, "", module, suffix);
    const size_t np = strlen(a->base_prefix);
    if (!t && np) t = find(a, a->base_prefix, module, suffix);
    if (!t && np && strncmp(module, a->base_prefix, np) == 0) t = find(a, "", module + np, suffix);
    return t;
}

const ck_tensor *nn_adapter_replaces(nn_loader *ld, mltf_str name, const char *suffix)
{
    return find_module(ld, name, suffix);
}

/* alpha of a module: alpha_pattern's where a key is the module's name or its end, else lora_alpha. */
static double alpha_of(const json *config, mltf_str module)
{
    const json *patterns = json_get(config, "alpha_pattern");
    for (size_t i = 0; json_is(patterns, JSON_OBJECT) && i < json_len(patterns); i++) {
        const json_member *m = &patterns->o.members[i];
        const bool end = module.n > m->key.n && module.p[module.n - m->key.n - 1] == '.' &&
                         memcmp(module.p + module.n - m->key.n, m->key.p, m->key.n) == 0;
        if (end || str_eq(module, m->key)) return json_double(&m->value, 1);
    }
    return json_double(json_get(config, "lora_alpha"), 8);
}

static const float *to_f32(nn_loader *ld, const ck_tensor *t, float scale)
{
    if (t->dtype != DT_F32 && t->dtype != DT_BF16 && t->dtype != DT_F16) {
        if (!ld->err.status)
            mltf_fail(&ld->err, MLTF_UNSUPPORTED,
                      "tensor \"%s\" of the adapter holds %s, not floats", t->name,
                      dtype_name(t->dtype));
        return NULL;
    }
    float *y = arena_f32(ld->own, 1, t->count);
    if (!y) {
        if (!ld->err.status) mltf_fail_memory(&ld->err);
        return NULL;
    }
    kernels()->widen(y, t->data, t->dtype, t->count);
    for (size_t i = 0; scale != 1.0f && i < t->count; i++) y[i] *= scale;
    return y;
}

void nn_adapter_attach(nn_loader *ld, nn_linear_w *w, mltf_str name)
{
    const ck_tensor *a = find_module(ld, name, ".lora_A.weight");
    const ck_tensor *b = find_module(ld, name, ".lora_B.weight");
    if (!a && !b) return;
    if (!a || !b || a->ndim != 2 || b->ndim != 2 || a->shape[1] != w->w.K ||
        b->shape[0] != w->w.N || a->shape[0] != b->shape[1] || a->shape[0] == 0) {
        if (!ld->err.status)
            mltf_fail(&ld->err, MLTF_CORRUPT_FILE,
                      "adapter tensor \"%s\" does not fit its layer of %zu inputs and %zu outputs",
                      a ? a->name : b->name, w->w.K, w->w.N);
        return;
    }
    char module[512];
    snprintf(module, sizeof module, "%s%s" STR_FMT, ld->root, ld->scope, STR_ARG(name));
    const json *config = ld->adapter->config.root;
    const size_t r = a->shape[0];
    const bool root = json_bool(json_get(config, "use_rslora"), false);
    const double scale = alpha_of(config, str_from(module)) / (root ? sqrt((double)r) : (double)r);
    w->lora_a = (k_weight){
        .data = to_f32(ld, a, 1), .dtype = DT_F32, .N = r, .K = w->w.K, .stride = w->w.K};
    w->lora_b = (k_weight){
        .data = to_f32(ld, b, (float)scale), .dtype = DT_F32, .N = w->w.N, .K = r, .stride = r};
    if (!w->lora_a.data || !w->lora_b.data) w->lora_a.data = w->lora_b.data = NULL;
}

mltf_status nn_adapter_finish(const nn_adapter *a, const char *what, mltf_err *err)
{
    for (size_t i = 0; i < checkpoint_count(a->ck); i++)
        if (!a->used[i])
            return mltf_fail(err, MLTF_CORRUPT_FILE, "adapter tensor \"%s\" fits no layer of %s",
                             checkpoint_at(a->ck, i)->name, what);
    return MLTF_OK;
}
