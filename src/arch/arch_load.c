/* Models: finding the family and the class, opening the checkpoint, loading the weights. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch_internal.h"
#include "base/file.h"
#include "nn/nn_packed.h"

/* ------------------------------------------------------------------ which class */

static mltf_status refuse_class(const arch_family *f, mltf_str name, mltf_str type, mltf_err *err)
{
    const char *why = NULL;
    for (const arch_refusal *r = f->refused; r && r->name; r++)
        if (str_is(name, r->name)) why = r->why;
    return mltf_fail(err, MLTF_UNSUPPORTED,
                     "class \"" STR_FMT "\" of model_type \"" STR_FMT "\" is not supported%s%s",
                     STR_ARG(name), STR_ARG(type), why ? ": " : "", why ? why : "");
}

static mltf_status find_class(arch_model *m, const arch_load_options *opts, mltf_err *err)
{
    const json *root = m->config.root;
    const json *type = json_get(root, "model_type");
    const json *named = json_at(json_get(root, "architectures"), 0);
    if (!json_is(type, JSON_STRING))
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "config.json names no \"model_type\": not a transformers model");
    mltf_str model_type = type->s;
    mltf_str want =
        opts->architecture ? str_from(opts->architecture) : json_string(named, (mltf_str){NULL, 0});
    const bool wrapped = arch_wrapper_open(m, &model_type, &want);
    m->family = arch_family_find(model_type);
    if (!m->family) {
        if (json_get(root, "auto_map"))
            return mltf_fail(err, MLTF_UNSUPPORTED,
                             "model_type \"" STR_FMT
                             "\" needs code that lies in the model's own repository (auto_map), "
                             "and nothing in a model directory is ever executed",
                             STR_ARG(type->s));
        const char *why = arch_why_refused(model_type);
        return mltf_fail(err, MLTF_UNSUPPORTED, "model_type \"" STR_FMT "\" is not supported%s%s",
                         STR_ARG(type->s), why ? ": " : "; docs/models.md lists those that are",
                         why ? why : "");
    }
    if (!want.n) want = str_from(arch_base_class(model_type));
    if (!wrapped) m->info.architecture = arch_class_find(m->family, want);
    if (!m->info.architecture) return refuse_class(m->family, want, type->s, err);
    m->info.model_type = arena_strdup(&m->own, model_type.p, model_type.n);
    m->info.kind = m->family->kind;
    m->info.head = arch_head_of(wrapped ? want : str_from(m->info.architecture));
    return m->info.model_type ? MLTF_OK : mltf_fail_memory(err);
}

/* ------------------------------------------------------------------ config.json */

static mltf_status read_config(arch_model *m, const char *dir, const arch_load_options *opts,
                               mltf_err *err)
{
    char *path = path_join(dir, "config.json");
    if (!path) return mltf_fail_memory(err);
    const mltf_status st = json_parse_file(&m->config, path, NULL, err);
    free(path);
    if (st) return st;
    if (!json_is(m->config.root, JSON_OBJECT))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "config.json must hold an object, not %s",
                         json_type_name(m->config.root));
    for (size_t i = 0; opts->config_overrides && i < json_len(opts->config_overrides); i++) {
        const json_member *o = &opts->config_overrides->o.members[i];
        const json *copy = json_clone(&m->config.arena, &o->value);
        if (!json_set_str(&m->config.arena, m->config.root, o->key, copy))
            return mltf_fail_memory(err);
    }
    m->info.config = m->config.root;
    return MLTF_OK;
}

/* num_labels, which transformers derives from id2label (2 where neither is there). */
static mltf_status count_labels(arch_model *m, mltf_err *err)
{
    arch_config c = {.root = m->config.root};
    const json *map = cfg_get(&c, "id2label");
    m->info.n_labels = json_is(map, JSON_OBJECT)
                           ? json_len(map)
                           : cfg_size(&c, "num_labels|_num_labels", 2, 1, 1 << 20);
    const mltf_str problem = cfg_str(&c, "problem_type", "regression");
    if (!str_is(problem, "regression") && !str_is(problem, "single_label_classification") &&
        !str_is(problem, "multi_label_classification"))
        cfg_fail(
            &c,
            "\"problem_type\" \"" STR_FMT
            "\" is none of regression, single_label_classification, multi_label_classification",
            STR_ARG(problem));
    return cfg_done(&c, err);
}

const json *arch_label_value(const arch_model *m, size_t label)
{
    char key[32];
    snprintf(key, sizeof key, "%zu", label);
    return json_get(json_get(m->config.root, "id2label"), key);
}

mltf_str arch_label(const arch_model *m, size_t label)
{
    const json *v = arch_label_value(m, label);
    if (json_is(v, JSON_STRING)) return v->s;
    // "LABEL_3": made at load, so that the text lives as long as the model
    static const char *const few[] = {"LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4",
                                      "LABEL_5", "LABEL_6", "LABEL_7", "LABEL_8", "LABEL_9"};
    if (label < sizeof few / sizeof *few) return str_from(few[label]);
    return m->labels && label < m->info.n_labels ? str_from(m->labels[label]) : STR("LABEL");
}

static mltf_status make_labels(arch_model *m, mltf_err *err)
{
    if (json_is(json_get(m->config.root, "id2label"), JSON_OBJECT) || m->info.n_labels <= 10)
        return MLTF_OK;
    m->labels = arena_calloc(&m->own, m->info.n_labels, sizeof *m->labels);
    for (size_t i = 0; m->labels && i < m->info.n_labels; i++)
        m->labels[i] = arena_printf(&m->own, "LABEL_%zu", i);
    return m->own.failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* ------------------------------------------------------------------ load */

static mltf_status parse_dtype(mltf_dtype *out, const char *name, mltf_err *err)
{
    static const struct {
        const char *name;
        mltf_dtype t;
    } table[] = {{"float32", DT_F32}, {"float", DT_F32}, {"bfloat16", DT_BF16},
                 {"float16", DT_F16}, {"half", DT_F16},  {"auto", DT_COUNT}};
    *out = DT_COUNT;
    if (!name) return MLTF_OK;
    const char *plain = strncmp(name, "torch.", 6) == 0 ? name + 6 : name;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(plain, table[i].name) == 0) {
            *out = table[i].t;
            return MLTF_OK;
        }
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "torch_dtype \"%s\" is not supported; use float32, bfloat16 or float16", name);
}

static mltf_status parse_quantize(mltf_dtype *out, const char *name, mltf_err *err)
{
    *out = DT_COUNT;
    if (!name || !*name) return MLTF_OK;
    if (strcmp(name, "int8") == 0)
        *out = DT_Q8;
    else if (strcmp(name, "int4") == 0)
        *out = DT_Q4;
    else
        return mltf_fail(err, MLTF_INVALID_INPUT, "quantize must be int8 or int4, not \"%s\"",
                         name);
    return MLTF_OK;
}

/* The float type that most bytes of the checkpoint have. */
static mltf_dtype stored_dtype(const checkpoint *ck)
{
    uint64_t bytes[DT_COUNT] = {0};
    mltf_dtype best = DT_F32;
    for (size_t i = 0; i < checkpoint_count(ck); i++) {
        const ck_tensor *t = checkpoint_at(ck, i);
        if (t->dtype == DT_F32 || t->dtype == DT_BF16 || t->dtype == DT_F16 || t->dtype == DT_F64 ||
            t->dtype == DT_F8_E4M3 || t->dtype == DT_F8_E5M2)
            bytes[t->dtype] += t->bytes;
    }
    for (int t = 0; t < DT_COUNT; t++)
        if (bytes[t] > bytes[best]) best = (mltf_dtype)t;
    return best;
}

static void warn(arch_model *m, const char *text)
{
    if (text && m->info.n_warnings < sizeof m->warnings / sizeof *m->warnings)
        m->warnings[m->info.n_warnings++] = text;
    m->info.warnings = m->warnings;
}

static void count_params(arch_model *m, const nn_loader *ld)
{
    m->info.n_params = ld->unpacked;
    for (size_t i = 0; i < checkpoint_count(m->ck); i++)
        if (ld->used[i]) {
            if (ld->used[i] != 2) m->info.n_params += checkpoint_at(m->ck, i)->count;
            m->info.weight_bytes += checkpoint_at(m->ck, i)->bytes;
        }
}

/* What the weights are where config.json has the word: those of packed checkpoints are written as integers. */
static mltf_dtype named_dtype(const json *config, mltf_dtype fallback)
{
    const arch_config c = {.root = config};
    const json *name = cfg_get(&c, "dtype|torch_dtype");
    mltf_dtype t = DT_COUNT;
    if (json_is(name, JSON_STRING)) parse_dtype(&t, name->s.p, NULL);
    return t == DT_COUNT ? fallback : t;
}

/* Is a tensor there that only a quantization library writes? The key may have outlived the packing. */
static bool is_packed(const checkpoint *ck)
{
    for (size_t i = 0; i < checkpoint_count(ck); i++) {
        const mltf_dtype t = checkpoint_at(ck, i)->dtype;
        if (t == DT_U8 || t == DT_I8 || t == DT_I32 || t == DT_F8_E4M3 || t == DT_F8_E5M2)
            return true;
    }
    return false;
}

static mltf_status find_packing(arch_model *m, nn_loader *ld, mltf_err *err)
{
    const json *q = json_get(m->config.root, "quantization_config");
    if (!q) q = json_get(m->config.root, "compression_config"); // compressed-tensors before 0.6
    if (!json_is(q, JSON_OBJECT)) return MLTF_OK;
    if (!is_packed(m->ck)) {
        nn_packed p;
        if (str_is(json_string(json_get(q, "quant_method"), STR("")), "bitnet"))
            return mltf_fail(err, MLTF_UNSUPPORTED,
                             "quantization_config of config.json says that weights and activations "
                             "are rounded where they are used (bitnet), which is not supported");
        if (!nn_packed_init(&p, q, m->info.dtype, NULL) &&
            (p.scheme == PACKED_GPTQ || p.scheme == PACKED_AWQ || p.scheme == PACKED_BNB))
            return mltf_fail(err, MLTF_UNSUPPORTED,
                             "quantization_config of config.json says that the weights are packed, "
                             "but they are plain numbers; if they are right, remove it");
        return MLTF_OK;
    }
    m->info.dtype = named_dtype(m->config.root, m->info.dtype);
    TRY(nn_packed_init(&ld->packed, q, m->info.dtype, err));
    ld->packed.unrounded = ld->packed.scheme == PACKED_COMPRESSED && ld->target == DT_F32;
    if (ld->quantize == DT_COUNT) ld->quantize = ld->packed.exact;
    return MLTF_OK;
}

static mltf_status load_weights(arch_model *m, const arch_load_options *opts, mltf_err *err)
{
    const bool wrapped = m->text_config != NULL;
    arch_build b = {.m = m, .cfg = {.root = wrapped ? m->text_config : m->config.root}};
    const char *prefix = wrapped ? ARCH_WRAPPER_PREFIX : m->family->base_prefix;
    mltf_status st = nn_loader_init(&b.ld, m->ck, &m->own, opts->pool,
                                    wrapped ? arch_wrapper_root(m->ck) : "", prefix, err);
    b.ld.part = wrapped;
    const char *warning = NULL;
    b.ld.check_only = opts->check_only;
    if (!st) st = parse_dtype(&b.ld.target, opts->torch_dtype, err);
    if (!st) st = parse_quantize(&b.ld.quantize, opts->quantize, err);
    if (!st) {
        m->info.dtype = stored_dtype(m->ck);
        st = find_packing(m, &b.ld, err);
    }
    if (!st) {
        const mltf_dtype t = b.ld.target == DT_COUNT ? m->info.dtype : b.ld.target;
        b.ld.compute = t == DT_BF16 ? K_COMPUTE_BF16 : K_COMPUTE_F32;
        m->info.compute = t == DT_BF16 ? DT_BF16 : DT_F32;
        if (opts->adapter_dir) st = nn_load_adapter(&b.ld, opts->adapter_dir, prefix, err);
        if (!st) st = m->family->load(&b, err);
    }
    if (!st) st = arch_build_ok(&b, err);
    if (!st) st = nn_load_finish(&b.ld, m->info.architecture, m->family->ignorable, &warning, err);
    if (!st) {
        warn(m, warning);
        count_params(m, &b.ld);
        m->cache_shape.dtype = m->cross_shape.dtype = m->info.compute;
        for (size_t i = 0; opts->linear && i < checkpoint_count(m->ck); i++)
            if (b.ld.used[i] == 3) opts->linear(opts->linear_user, checkpoint_at(m->ck, i)->name);
    }
    m->adapter = nn_load_adapter_take(&b.ld);
    nn_loader_release(&b.ld);
    return st;
}

mltf_status arch_model_load(arch_model **out, const char *dir, const arch_load_options *opts,
                            mltf_err *err)
{
    static const arch_load_options none = {0};
    *out = NULL;
    if (!opts) opts = &none;
    arch_model *m = calloc(1, sizeof *m);
    if (!m) return mltf_fail_memory(err);
    m->pool = opts->pool;
    mltf_status st = read_config(m, dir, opts, err);
    if (!st) st = find_class(m, opts, err);
    if (!st) st = count_labels(m, err);
    if (!st) st = make_labels(m, err);
    if (!st) st = checkpoint_open(&m->ck, dir, NULL, err);
    if (!st) st = load_weights(m, opts, err);
    if (st) {
        arch_model_free(m);
        return st;
    }
    *out = m;
    return MLTF_OK;
}

void arch_model_free(arch_model *m)
{
    if (!m) return;
    checkpoint_close(m->ck);
    checkpoint_close(m->adapter);
    json_doc_release(&m->config);
    arena_release(&m->own);
    free(m);
}

const arch_info *arch_model_info(const arch_model *m)
{
    return &m->info;
}
