/* Low-rank adapters as PEFT writes them: adapter_config.json beside adapter_model.safetensors (or .bin).
 *
 *   base_model.model.<module>.lora_A.weight  [r, K]      y += (alpha / r) B (A x); alpha / sqrt(r) with use_rslora
 *   base_model.model.<module>.lora_B.weight  [N, r]
 *   base_model.model.<module>.lora_embedding_A [r, rows], lora_embedding_B [width, r]: of a table; row i gets B A[:, i]
 *   base_model.model.<module>.lora_magnitude_vector [N]  DoRA: every row of the sum gets this length
 *   base_model.model.<module>.ia3_l                      IA3: [N, 1] scales the output, [1, K] the input
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
#include "kernels/quantize.h"

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
    static const char *const refused[] = {"use_qalora", "use_bdlora", NULL};
    const mltf_str kind = json_string(json_get(config, "peft_type"), STR(""));
    if (!str_is(kind, "LORA") && !str_is(kind, "IA3"))
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "adapter_config.json: peft_type \"" STR_FMT
                         "\" is not supported; supported: LORA, IA3",
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

checkpoint *nn_load_adapter_take(nn_loader *ld)
{
    checkpoint *ck = ld->adapter ? ld->adapter->ck : NULL;
    if (ld->adapter) ld->adapter->ck = NULL;
    return ck;
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
    // bias "all" and "lora_only" write those below an adapter, and those of whole modules once more
    static const char *const below[] = {"", ".base_layer", ".modules_to_save", ".original_module"};
    const ck_tensor *t = NULL;
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        char full[64];
        const int n = snprintf(full, sizeof full, "%s%s", below[i], suffix);
        const ck_tensor *one =
            n > 0 && (size_t)n < sizeof full ? find_module(ld, name, full) : NULL;
        if (!t) t = one;
    }
    return t;
}

bool nn_load_is_replaced(nn_loader *ld, const char *name)
{
    return ld->adapter && find_module(ld, str_from(name), ".weight");
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

/* From here on y = gain (w x + lora) + bias: the bias moves behind the gain, scaled with it or not. */
static void set_gain(nn_loader *ld, nn_linear_w *w, const float *gain, bool scales_bias)
{
    w->gain = gain;
    w->gain_bias = w->bias;
    if (!w->bias || !scales_bias) {
        w->bias = NULL;
        return;
    }
    float *b = arena_f32(ld->own, 1, w->w.N);
    if (!b && !ld->err.status) mltf_fail_memory(&ld->err);
    for (size_t n = 0; b && n < w->w.N; n++) b[n] = w->bias[n] * gain[n];
    w->gain_bias = b;
    w->bias = NULL;
}

/* DoRA: row n of w + lora gets the length magnitude[n]. */
static void attach_magnitude(nn_loader *ld, nn_linear_w *w, const ck_tensor *t)
{
    const size_t N = w->w.N, K = w->w.K, r = w->lora_a.N;
    if (t->count != N) {
        if (!ld->err.status)
            mltf_fail(&ld->err, MLTF_CORRUPT_FILE,
                      "adapter tensor \"%s\" does not fit its layer of %zu outputs", t->name, N);
        return;
    }
    const float *magnitude = to_f32(ld, t, 1), *a = w->lora_a.data, *b = w->lora_b.data;
    float *gain = arena_f32(ld->own, 1, N), *row = malloc(K * sizeof *row);
    if (!gain || !row) {
        if (!ld->err.status) mltf_fail_memory(&ld->err);
    }
    for (size_t n = 0; magnitude && gain && row && n < N; n++) {
        double square = 0;
        kernels()->widen(row, (const char *)w->w.data + n * quant_bytes(w->w.dtype, w->w.stride),
                         w->w.dtype, K);
        for (size_t i = 0; i < r; i++)
            for (size_t k = 0; k < K; k++) row[k] += b[n * r + i] * a[i * K + k];
        for (size_t k = 0; k < K; k++) square += (double)row[k] * (double)row[k];
        gain[n] = magnitude[n] / (float)sqrt(square);
    }
    free(row);
    if (magnitude && gain && !ld->err.status) set_gain(ld, w, gain, false);
}

static void attach_ia3(nn_loader *ld, nn_linear_w *w, const ck_tensor *t)
{
    const bool out = t->ndim == 2 && t->shape[1] == 1 && t->shape[0] == w->w.N;
    if (!out && !(t->ndim == 2 && t->shape[0] == 1 && t->shape[1] == w->w.K)) {
        if (!ld->err.status)
            mltf_fail(&ld->err, MLTF_CORRUPT_FILE,
                      "adapter tensor \"%s\" does not fit its layer of %zu inputs and %zu outputs",
                      t->name, w->w.K, w->w.N);
        return;
    }
    const float *l = to_f32(ld, t, 1);
    if (!l) return;
    if (out)
        set_gain(ld, w, l, true);
    else
        w->in_gain = l;
}

/* alpha / r of the module scope + name, alpha / sqrt(r) with use_rslora. */
static double scale_of(const nn_loader *ld, mltf_str name, size_t r)
{
    char module[512];
    snprintf(module, sizeof module, "%s%s" STR_FMT, ld->root, ld->scope, STR_ARG(name));
    const json *config = ld->adapter->config.root;
    const bool root = json_bool(json_get(config, "use_rslora"), false);
    return alpha_of(config, str_from(module)) / (root ? sqrt((double)r) : (double)r);
}

void nn_adapter_attach(nn_loader *ld, nn_linear_w *w, mltf_str name)
{
    const ck_tensor *scales = find_module(ld, name, ".ia3_l");
    if (scales) attach_ia3(ld, w, scales);
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
    const size_t r = a->shape[0];
    const double scale = scale_of(ld, name, r);
    w->lora_a = (k_weight){
        .data = to_f32(ld, a, 1), .dtype = DT_F32, .N = r, .K = w->w.K, .stride = w->w.K};
    w->lora_b = (k_weight){
        .data = to_f32(ld, b, (float)scale), .dtype = DT_F32, .N = w->w.N, .K = r, .stride = r};
    if (!w->lora_a.data || !w->lora_b.data) {
        w->lora_a.data = w->lora_b.data = NULL;
        return;
    }
    const ck_tensor *magnitude = find_module(ld, name, ".lora_magnitude_vector");
    if (!magnitude) magnitude = find_module(ld, name, ".lora_magnitude_vector.weight");
    if (magnitude) attach_magnitude(ld, w, magnitude);
}

void nn_adapter_attach_embed(nn_loader *ld, nn_embed_w *w, mltf_str name)
{
    const ck_tensor *a = find_module(ld, name, ".lora_embedding_A");
    const ck_tensor *b = find_module(ld, name, ".lora_embedding_B");
    if (!a && !b) return;
    const size_t rows = w->w.N, width = w->w.K;
    if (!a || !b || a->ndim != 2 || b->ndim != 2 || a->shape[1] != rows || b->shape[0] != width ||
        a->shape[0] != b->shape[1] || a->shape[0] == 0) {
        if (!ld->err.status)
            mltf_fail(&ld->err, MLTF_CORRUPT_FILE,
                      "adapter tensor \"%s\" does not fit its table of %zu rows of %zu",
                      a ? a->name : b->name, rows, width);
        return;
    }
    const size_t r = a->shape[0];
    const float *across = to_f32(ld, a, 1); // [r, rows]
    const float *back = to_f32(ld, b, (float)scale_of(ld, name, r));
    float *down = arena_f32(ld->own, rows, r); // [rows, r]
    if (!across || !back || !down) {
        if (!ld->err.status) mltf_fail_memory(&ld->err);
        return;
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < r; k++) down[i * r + k] = across[k * rows + i];
    w->lora_a = (k_weight){.data = down, .dtype = DT_F32, .N = rows, .K = r, .stride = r};
    w->lora_b = (k_weight){.data = back, .dtype = DT_F32, .N = width, .K = r, .stride = r};
}

mltf_status nn_adapter_finish(const nn_adapter *a, const char *what, mltf_err *err)
{
    for (size_t i = 0; i < checkpoint_count(a->ck); i++)
        if (!a->used[i])
            return mltf_fail(err, MLTF_CORRUPT_FILE, "adapter tensor \"%s\" fits no layer of %s",
                             checkpoint_at(a->ck, i)->name, what);
    return MLTF_OK;
}
