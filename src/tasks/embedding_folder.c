/* Reading modules.json and what it names. */
#include "tasks/embedding_folder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/dtype.h"
#include "base/file.h"
#include "formats/checkpoint.h"
#include "formats/json.h"

static mltf_status read_config(const char *dir, const char *sub, const char *name, json_doc *doc,
                               mltf_err *err)
{
    char *folder = path_join(dir, sub), *path = folder ? path_join(folder, name) : NULL;
    const mltf_status st = path ? json_parse_file(doc, path, NULL, err) : mltf_fail_memory(err);
    free(folder);
    free(path);
    return st;
}

static const struct {
    const char *key, *name;
} pool_names[POOL_MODES] = {
    [POOL_CLS] = {"pooling_mode_cls_token", "cls"},
    [POOL_MAX] = {"pooling_mode_max_tokens", "max"},
    [POOL_MEAN] = {"pooling_mode_mean_tokens", "mean"},
    [POOL_MEAN_SQRT] = {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
    [POOL_WEIGHTED] = {"pooling_mode_weightedmean_tokens", "weightedmean"},
    [POOL_LAST] = {"pooling_mode_lasttoken", "lasttoken"}};

static mltf_status add_pool_mode(pool_modes *modes, const json *name, mltf_err *err)
{
    const mltf_str s = json_string(name, STR("?"));
    for (int mode = 0; mode < POOL_MODES && modes->n < POOL_MODES; mode++) {
        if (!str_is(s, pool_names[mode].name)) continue;
        modes->list[modes->n++] = (pool_mode)mode;
        return MLTF_OK;
    }
    return mltf_fail(err, MLTF_UNSUPPORTED,
                     "pooling_mode \"" STR_FMT
                     "\" is not known, or one too many; known: cls, max, mean, "
                     "mean_sqrt_len_tokens, weightedmean, lasttoken",
                     STR_ARG(s));
}

static mltf_status read_pooling(pool_modes *modes, const json *config, mltf_err *err)
{
    const json *named = json_get(config, "pooling_mode");
    modes->n = 0;
    if (json_is(named, JSON_STRING)) return add_pool_mode(modes, named, err);
    for (size_t i = 0; json_is(named, JSON_ARRAY) && i < named->a.n; i++)
        TRY(add_pool_mode(modes, &named->a.items[i], err));
    for (int mode = 0; !named && mode < POOL_MODES; mode++)
        if (json_bool(json_get(config, pool_names[mode].key), false))
            modes->list[modes->n++] = (pool_mode)mode;
    if (!modes->n) modes->list[modes->n++] = POOL_MEAN;
    return MLTF_OK;
}

/* A tensor as float32 from malloc. */
static mltf_status read_floats(const checkpoint *ck, const char *name, size_t count, float **out,
                               mltf_err *err)
{
    const ck_tensor *t = checkpoint_find(ck, name);
    if (!t) return mltf_fail(err, MLTF_CORRUPT_FILE, "tensor \"%s\" is missing", name);
    if (t->count != count)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "tensor \"%s\" has %zu values, expected %zu", name,
                         t->count, count);
    float *f = malloc((count ? count : 1) * sizeof *f);
    if (!f) return mltf_fail_memory(err);
    const uint8_t *p = t->data;
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        switch (t->dtype) {
        case DT_F32:
            memcpy(&f[i], p + 4 * i, 4);
            break;
        case DT_BF16:
            memcpy(&half, p + 2 * i, 2);
            f[i] = bf16_to_f32(half);
            break;
        case DT_F16:
            memcpy(&half, p + 2 * i, 2);
            f[i] = f16_to_f32(half);
            break;
        default:
            free(f);
            return mltf_fail(err, MLTF_UNSUPPORTED, "tensor \"%s\" is %s", name,
                             dtype_name(t->dtype));
        }
    }
    *out = f;
    return MLTF_OK;
}

/* ---- activations ---- */

static float relu(float x)
{
    return x > 0 ? x : 0;
}
static float gelu(float x)
{
    return 0.5f * x * (1.0f + erff(x * 0.70710678f));
}
static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}
static float silu(float x)
{
    return x * sigmoid(x);
}
static float leaky_relu(float x)
{
    return x > 0 ? x : 0.01f * x;
}
static float elu(float x)
{
    return x > 0 ? x : expm1f(x);
}
static float softplus(float x)
{
    return x > 20 ? x : log1pf(expf(x));
}
static float mish(float x)
{
    return x * tanhf(softplus(x));
}

/* The last part of a dotted name: of "torch.nn.modules.activation.Tanh", of "sentence_transformers.models.Pooling". */
static mltf_str class_of(mltf_str name)
{
    for (size_t i = name.n; i-- > 0;)
        if (name.p[i] == '.') return str_slice(name, i + 1, name.n);
    return name;
}

mltf_status embed_activation_find(mltf_str name, embed_activation **act, mltf_err *err)
{
    static const struct {
        const char *name;
        embed_activation *act;
    } rows[] = {{"Identity", NULL},
                {"Tanh", tanhf},
                {"ReLU", relu},
                {"GELU", gelu},
                {"Sigmoid", sigmoid},
                {"SiLU", silu},
                {"LeakyReLU", leaky_relu},
                {"ELU", elu},
                {"Softplus", softplus},
                {"Mish", mish}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!str_is(class_of(name), rows[i].name)) continue;
        *act = rows[i].act;
        return MLTF_OK;
    }
    return mltf_fail(err, MLTF_UNSUPPORTED,
                     "the activation \"" STR_FMT
                     "\" is not known; known: Identity, Tanh, ReLU, GELU, "
                     "Sigmoid, SiLU, LeakyReLU, ELU, Softplus, Mish",
                     STR_ARG(name));
}

/* ---- modules ---- */

static mltf_status load_step(embed_step *s, const char *dir, const char *sub, const json *config,
                             size_t width, mltf_err *err)
{
    const bool dense = s->kind == STEP_DENSE;
    const int64_t in = json_int(json_get(config, dense ? "in_features" : "dimension"), 0);
    const int64_t out = dense ? json_int(json_get(config, "out_features"), 0) : in;
    size_t product;
    if (in < 1 || out < 1 || (size_t)in != width ||
        !checked_mul(&product, (size_t)in, (size_t)out) || product > SIZE_MAX / 8)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "%s takes %lld values and gives %lld, but %zu come", sub, (long long)in,
                         (long long)out, width);
    s->in = (size_t)in;
    s->out = (size_t)out;
    const mltf_str from =
        json_string(json_get(config, "module_input_name"), STR("sentence_embedding"));
    if (!str_is(from, "sentence_embedding"))
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "%s works on \"" STR_FMT "\", which is not supported", sub, STR_ARG(from));
    const mltf_str act = json_string(json_get(config, "activation_function"), STR("Tanh"));
    if (dense) TRY(embed_activation_find(act, &s->act, err));
    char *folder = path_join(dir, sub);
    if (!folder) return mltf_fail_memory(err);
    checkpoint *ck = NULL;
    mltf_status st = checkpoint_open(&ck, folder, NULL, err);
    free(folder);
    if (!st)
        st = read_floats(ck, dense ? "linear.weight" : "norm.weight", dense ? product : s->out,
                         &s->weight, err);
    if (!st && (!dense || json_bool(json_get(config, "bias"), true)))
        st = read_floats(ck, dense ? "linear.bias" : "norm.bias", s->out, &s->bias, err);
    checkpoint_close(ck);
    return st;
}

static void read_bounds(embed_modules *m, const char *dir, const char *sub)
{
    static const char *const models[] = {"bert",   "roberta",     "distilbert", "camembert",
                                         "albert", "xlm-roberta", "xlnet"};
    json_doc doc = JSON_DOC_INIT;
    for (size_t i = 0; i < sizeof models / sizeof *models && !json_len(doc.root); i++) {
        char name[64];
        mltf_err ignored = {0}; // none may be there
        snprintf(name, sizeof name, "sentence_%s_config.json", models[i]);
        json_doc_release(&doc);
        (void)read_config(dir, sub, name, &doc, &ignored);
    }
    const int64_t max = json_int(json_get(doc.root, "max_seq_length"), 0);
    if (max > 0) m->max_length = (size_t)max;
    m->lower = json_bool(json_get(doc.root, "do_lower_case"), false);
    json_doc_release(&doc);
}

static mltf_status load_module(embed_modules *m, const char *dir, const json *module, size_t hidden,
                               size_t *width, mltf_err *err)
{
    const mltf_str cls = class_of(json_string(json_get(module, "type"), STR(""))),
                   sub = json_string(json_get(module, "path"), STR(""));
    char name[256];
    if (sub.n >= sizeof name || (sub.n && !path_is_inside(sub)))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "modules.json names the folder \"" STR_FMT "\"",
                         STR_ARG(sub));
    memcpy(name, sub.p, sub.n);
    name[sub.n] = 0;
    if (str_is(cls, "Dropout")) return MLTF_OK;
    if (str_is(cls, "Transformer")) {
        read_bounds(m, dir, name);
        return MLTF_OK;
    }
    if (str_is(cls, "Normalize")) {
        if (m->n_steps == EMBED_STEPS_MAX)
            return mltf_fail(err, MLTF_UNSUPPORTED, "modules.json has too many modules");
        m->steps[m->n_steps++] = (embed_step){.kind = STEP_NORMALIZE, .in = *width, .out = *width};
        return MLTF_OK;
    }
    const bool pooling = str_is(cls, "Pooling"), dense = str_is(cls, "Dense");
    if (!pooling && !dense && !str_is(cls, "LayerNorm"))
        return mltf_fail(
            err, MLTF_UNSUPPORTED,
            "it has a module of type \"" STR_FMT
            "\", which is not supported; supported: Transformer, Pooling, Dense, LayerNorm, "
            "Normalize, Dropout",
            STR_ARG(cls));
    json_doc doc = JSON_DOC_INIT;
    mltf_status st = read_config(dir, name, "config.json", &doc, err);
    if (!st && pooling) {
        st = read_pooling(&m->pooling, doc.root, err);
        m->skip_prompt = !json_bool(json_get(doc.root, "include_prompt"), true);
        *width = m->pooling.n * hidden;
    } else if (!st) {
        if (m->n_steps == EMBED_STEPS_MAX) {
            st = mltf_fail(err, MLTF_UNSUPPORTED, "modules.json has too many modules");
        } else {
            embed_step *s = &m->steps[m->n_steps++];
            s->kind = dense ? STEP_DENSE : STEP_LAYER_NORM;
            st = load_step(s, dir, name, doc.root, *width, err);
            *width = s->out;
        }
    }
    json_doc_release(&doc);
    return st;
}

const embed_prompt *embed_prompt_find(const embed_modules *m, mltf_str name)
{
    for (size_t i = 0; i < m->n_prompts; i++)
        if (str_eq(m->prompts[i].name, name)) return &m->prompts[i];
    return NULL;
}

static mltf_status load_prompts(embed_modules *m, const char *dir, mltf_err *err)
{
    static const char file[] = "config_sentence_transformers.json";
    json_doc doc = JSON_DOC_INIT;
    mltf_err why = {0};
    mltf_status st = read_config(dir, "", file, &doc, &why);
    if (st == MLTF_NOT_FOUND) return MLTF_OK; // folders from before 2.0 have none
    if (st && err) *err = why;
    const json *prompts = json_get(doc.root, "prompts"),
               *always = json_get(doc.root, "default_prompt_name");
    const size_t n = json_is(prompts, JSON_OBJECT) ? json_len(prompts) : 0;
    if (!st) m->prompts = arena_calloc(&m->own, n + 1, sizeof *m->prompts);
    if (!st && !m->prompts) st = mltf_fail_memory(err);
    for (size_t i = 0; i < n && !st; i++) {
        const json_member *p = &prompts->o.members[i];
        if (json_is(&p->value, JSON_STRING))
            m->prompts[m->n_prompts++] =
                (embed_prompt){arena_str(&m->own, p->key), arena_str(&m->own, p->value.s)};
    }
    if (!st && json_is(always, JSON_STRING) && !(m->always = embed_prompt_find(m, always->s)))
        st = mltf_fail(err, MLTF_CORRUPT_FILE,
                       "%s: default_prompt_name \"" STR_FMT "\" is none of its prompts", file,
                       STR_ARG(always->s));
    if (!st && m->own.failed) st = mltf_fail_memory(err);
    json_doc_release(&doc);
    return st;
}

mltf_status embed_modules_load(embed_modules **out, const char *dir, size_t hidden, mltf_err *err)
{
    embed_modules *m = calloc(1, sizeof *m);
    char *path = path_join(dir, "modules.json");
    json_doc doc = JSON_DOC_INIT;
    mltf_status st = MLTF_OK;
    if (!m || !path) {
        st = mltf_fail_memory(err);
        goto done;
    }
    m->pooling = (pool_modes){.list = {POOL_MEAN}, .n = 1};
    if (file_exists(path)) {
        m->by_folder = true;
        st = json_parse_file(&doc, path, NULL, err);
        size_t width = hidden;
        for (size_t i = 0; i < json_len(doc.root) && !st; i++)
            st = load_module(m, dir, json_at(doc.root, i), hidden, &width, err);
        if (st) mltf_err_wrap(err, "could not load \"%s\"", path);
        if (!st) st = load_prompts(m, dir, err);
    }

done:
    json_doc_release(&doc);
    free(path);
    if (st) {
        embed_modules_free(m);
        m = NULL;
    }
    *out = m;
    return st;
}

void embed_modules_free(embed_modules *m)
{
    if (!m) return;
    for (size_t i = 0; i < m->n_steps; i++) {
        free(m->steps[i].weight);
        free(m->steps[i].bias);
    }
    arena_release(&m->own);
    free(m);
}
