/* Pooling of hidden states, and the small modules that sentence-transformers puts behind it.
 *
 * A sentence-transformers folder (3.x) has modules.json: [{"idx", "name", "path", "type"}], in order
 * Transformer, Pooling, then any of Dense, LayerNorm, Normalize. Each module's folder has a config.json:
 *   Pooling    pooling_mode_cls_token, _max_tokens, _mean_tokens, _mean_sqrt_len_tokens, _weightedmean_tokens,
 *              _lasttoken (several are concatenated in this order), or pooling_mode with a name
 *   Dense      in_features, out_features, bias, activation_function; weights linear.weight [out, in], linear.bias
 *   LayerNorm  dimension; weights norm.weight, norm.bias
 * sentence_bert_config.json beside the model: max_seq_length, do_lower_case. */
#include "tasks/embedding.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/utf8.h"
#include "formats/checkpoint.h"
#include "tasks/task.h"

enum {
    POOL_CLS = 1,
    POOL_MAX = 2,
    POOL_MEAN = 4,
    POOL_MEAN_SQRT = 8,
    POOL_WEIGHTED = 16,
    POOL_LAST = 32
};
#define EMBED_STEPS_MAX 8 /* modules behind the pooling; real folders have two */

typedef enum { STEP_DENSE, STEP_LAYER_NORM, STEP_NORMALIZE } step_kind;
typedef enum { ACT_IDENTITY, ACT_TANH, ACT_RELU, ACT_GELU, ACT_SIGMOID } step_act;

typedef struct embed_step {
    step_kind kind;
    size_t in, out;
    float *weight; /* Dense [out, in], LayerNorm [out] */
    float *bias;   /* [out] or NULL */
    step_act act;
} embed_step;

struct embed_modules {
    bool by_folder;
    unsigned pooling;  /* POOL_… */
    size_t max_length; /* 0: the model's */
    bool lower;
    embed_step steps[EMBED_STEPS_MAX];
    size_t n_steps;
};

/* ---- loading ---- */

static mltf_status read_config(const char *dir, const char *sub, const char *name, json_doc *doc,
                               mltf_err *err)
{
    char *folder = path_join(dir, sub), *path = folder ? path_join(folder, name) : NULL;
    const mltf_status st = path ? json_parse_file(doc, path, NULL, err) : mltf_fail_memory(err);
    free(folder);
    free(path);
    return st;
}

static unsigned pooling_bits(const json *config)
{
    static const struct {
        const char *key, *name;
        unsigned bit;
    } rows[] = {{"pooling_mode_cls_token", "cls", POOL_CLS},
                {"pooling_mode_max_tokens", "max", POOL_MAX},
                {"pooling_mode_mean_tokens", "mean", POOL_MEAN},
                {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", POOL_MEAN_SQRT},
                {"pooling_mode_weightedmean_tokens", "weightedmean", POOL_WEIGHTED},
                {"pooling_mode_lasttoken", "lasttoken", POOL_LAST}};
    unsigned bits = 0;
    const mltf_str name = json_string(json_get(config, "pooling_mode"), STR(""));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (json_bool(json_get(config, rows[i].key), false) || str_is(name, rows[i].name))
            bits |= rows[i].bit;
    return bits ? bits : POOL_MEAN;
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

static mltf_status read_activation(const json *config, step_act *act, mltf_err *err)
{
    static const struct {
        const char *name;
        step_act act;
    } rows[] = {{"Identity", ACT_IDENTITY},
                {"Tanh", ACT_TANH},
                {"ReLU", ACT_RELU},
                {"GELU", ACT_GELU},
                {"Sigmoid", ACT_SIGMOID}};
    const mltf_str name = json_string(json_get(config, "activation_function"), STR("Tanh"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!str_ends(name, rows[i].name)) continue;
        *act = rows[i].act;
        return MLTF_OK;
    }
    return mltf_fail(err, MLTF_UNSUPPORTED, "the activation \"" STR_FMT "\" is not known",
                     STR_ARG(name));
}

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
    if (dense) TRY(read_activation(config, &s->act, err));
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

/* The last part of "sentence_transformers.models.Pooling". */
static mltf_str module_class(const json *module)
{
    mltf_str type = json_string(json_get(module, "type"), STR(""));
    for (size_t i = type.n; i-- > 0;)
        if (type.p[i] == '.') return str_slice(type, i + 1, type.n);
    return type;
}

static size_t pooled_width(unsigned bits, size_t hidden)
{
    size_t n = 0;
    for (unsigned b = bits; b; b >>= 1) n += b & 1;
    return n * hidden;
}

static void read_bounds(struct embed_modules *m, const char *dir, const char *sub)
{
    json_doc doc = JSON_DOC_INIT;
    mltf_err ignored = {0}; // the file may be missing
    if (read_config(dir, sub, "sentence_bert_config.json", &doc, &ignored) == MLTF_OK) {
        const int64_t max = json_int(json_get(doc.root, "max_seq_length"), 0);
        if (max > 0) m->max_length = (size_t)max;
        m->lower = json_bool(json_get(doc.root, "do_lower_case"), false);
    }
    json_doc_release(&doc);
}

static mltf_status load_module(struct embed_modules *m, const char *dir, const json *module,
                               size_t hidden, size_t *width, mltf_err *err)
{
    const mltf_str cls = module_class(module), sub = json_string(json_get(module, "path"), STR(""));
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
    json_doc doc = JSON_DOC_INIT;
    mltf_status st = read_config(dir, name, "config.json", &doc, err);
    if (!st && str_is(cls, "Pooling")) {
        m->pooling = pooling_bits(doc.root);
        *width = pooled_width(m->pooling, hidden);
    } else if (!st && (str_is(cls, "Dense") || str_is(cls, "LayerNorm"))) {
        if (m->n_steps == EMBED_STEPS_MAX) {
            st = mltf_fail(err, MLTF_UNSUPPORTED, "modules.json has too many modules");
        } else {
            embed_step *s = &m->steps[m->n_steps++];
            s->kind = str_is(cls, "Dense") ? STEP_DENSE : STEP_LAYER_NORM;
            st = load_step(s, dir, name, doc.root, *width, err);
            *width = s->out;
        }
    } else if (!st) {
        st = mltf_fail(err, MLTF_UNSUPPORTED,
                       "modules.json has a module of type \"" STR_FMT "\", which is not known",
                       STR_ARG(cls));
    }
    json_doc_release(&doc);
    return st;
}

mltf_status embed_modules_load(struct embed_modules **out, const char *dir, size_t hidden,
                               mltf_err *err)
{
    struct embed_modules *m = calloc(1, sizeof *m);
    char *path = path_join(dir, "modules.json");
    json_doc doc = JSON_DOC_INIT;
    mltf_status st = MLTF_OK;
    if (!m || !path) {
        st = mltf_fail_memory(err);
        goto done;
    }
    m->pooling = POOL_MEAN;
    if (file_exists(path)) {
        m->by_folder = true;
        st = json_parse_file(&doc, path, NULL, err);
        size_t width = hidden;
        for (size_t i = 0; i < json_len(doc.root) && !st; i++)
            st = load_module(m, dir, json_at(doc.root, i), hidden, &width, err);
        if (st) mltf_err_wrap(err, "could not load \"%s\"", path);
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

void embed_modules_free(struct embed_modules *m)
{
    if (!m) return;
    for (size_t i = 0; i < m->n_steps; i++) {
        free(m->steps[i].weight);
        free(m->steps[i].bias);
    }
    free(m);
}

/* ---- options ---- */

mltf_status embed_options_read(embed_options *o, const json *options, mltf_err *err)
{
    static const struct {
        const char *name;
        embed_pooling value;
    } names[] = {{"cls", EMBED_FIRST_TOKEN}, {"mean", EMBED_MEAN},     {"max", EMBED_MAX},
                 {"last", EMBED_LAST_TOKEN}, {"pooler", EMBED_POOLER}, {"auto", EMBED_BY_FOLDER}};
    const json *pooling = json_get(options, "pooling");
    if (pooling && pooling->type != JSON_NULL) {
        bool found = false;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            if (!str_is(json_string(pooling, STR("")), names[i].name)) continue;
            o->pooling = names[i].value;
            found = true;
        }
        if (!found)
            return mltf_fail(
                err, MLTF_INVALID_INPUT,
                "pooling must be one of cls, mean, max, last, pooler, auto; not \"" STR_FMT "\"",
                STR_ARG(json_string(pooling, STR("?"))));
    }
    const json *normalize = json_get(options, "normalize");
    if (json_is(normalize, JSON_BOOL)) o->normalize = normalize->b ? 1 : -1;
    const json *dimensions = json_get(options, "dimensions");
    if (dimensions && dimensions->type != JSON_NULL) {
        const int64_t n = json_int(dimensions, 0);
        if (n < 1)
            return mltf_fail(err, MLTF_INVALID_INPUT, "dimensions must be a positive integer");
        o->dimensions = (size_t)n;
    }
    const json *truncation = json_get(options, "truncation");
    if (json_is(truncation, JSON_BOOL)) o->truncate = truncation->b;
    const int64_t max = json_int(json_get(options, "max_length"), 0);
    if (max > 0) o->max_length = (size_t)max;
    return MLTF_OK;
}

/* ---- vectors ---- */

typedef struct embed_work {
    const task_call *c;
    const struct embed_modules *m;
    embed_pooling how;
    unsigned pooling;
    size_t dim;     /* of the result */
    size_t keep;    /* of dim */
    size_t n_steps; // of the folder, that run
    bool unit;      /* to length one at the end */
    float *vectors; /* [n, keep] */
    float *a, *b;   /* [largest width of any step] */
} embed_work;

static void pool(float *out, const embed_work *w, const float *h, size_t T, size_t H)
{
    for (unsigned bit = POOL_CLS; bit <= POOL_LAST; bit <<= 1) {
        if (!(w->pooling & bit)) continue;
        const size_t at = bit == POOL_LAST ? (T ? T - 1 : 0) : 0;
        for (size_t k = 0; k < H; k++) {
            float v = T ? h[at * H + k] : 0;
            if (bit == POOL_MAX)
                for (size_t t = 1; t < T; t++) v = h[t * H + k] > v ? h[t * H + k] : v;
            if (bit == POOL_MEAN || bit == POOL_MEAN_SQRT || bit == POOL_WEIGHTED) {
                float sum = 0, weights = 0;
                for (size_t t = 0; t < T; t++) {
                    const float weight = bit == POOL_WEIGHTED ? (float)(t + 1) : 1.0f;
                    sum += weight * h[t * H + k];
                    weights += weight;
                }
                if (weights < 1e-9f) weights = 1e-9f;
                v = sum / (bit == POOL_MEAN_SQRT ? sqrtf(weights) : weights);
            }
            out[k] = v;
        }
        out += H;
    }
}

static void to_unit(float *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    const float norm = sqrtf(sum) > 1e-12f ? sqrtf(sum) : 1e-12f;
    for (size_t i = 0; i < n; i++) x[i] /= norm;
}

static float activate(step_act act, float x)
{
    switch (act) {
    case ACT_TANH:
        return tanhf(x);
    case ACT_RELU:
        return x > 0 ? x : 0;
    case ACT_GELU:
        return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case ACT_SIGMOID:
        return 1.0f / (1.0f + expf(-x));
    case ACT_IDENTITY:
        break;
    }
    return x;
}

static void apply_step(const embed_step *s, float *out, const float *in)
{
    if (s->kind == STEP_DENSE) {
        for (size_t o = 0; o < s->out; o++) {
            float sum = 0;
            for (size_t i = 0; i < s->in; i++) sum += s->weight[o * s->in + i] * in[i];
            out[o] = activate(s->act, sum + (s->bias ? s->bias[o] : 0));
        }
        return;
    }
    memcpy(out, in, s->in * sizeof *out);
    if (s->kind == STEP_NORMALIZE) {
        to_unit(out, s->out);
        return;
    }
    float mean = 0, var = 0;
    for (size_t i = 0; i < s->in; i++) mean += in[i];
    mean /= (float)s->in;
    for (size_t i = 0; i < s->in; i++) var += (in[i] - mean) * (in[i] - mean);
    const float scale = 1.0f / sqrtf(var / (float)s->in + 1e-5f);
    for (size_t i = 0; i < s->in; i++)
        out[i] = (in[i] - mean) * scale * s->weight[i] + (s->bias ? s->bias[i] : 0);
}

static mltf_status keep_vector(void *user, const task_row *row, mltf_err *err)
{
    embed_work *w = user;
    const size_t H = w->c->p->info->hidden;
    if (w->how == EMBED_POOLER) {
        if (!row->pooled) return mltf_fail(err, MLTF_INVALID_INPUT, "the model has no pooler");
        memcpy(w->a, row->pooled, H * sizeof *w->a);
    } else {
        pool(w->a, w, row->hidden, row->rows, H);
    }
    for (size_t i = 0; i < w->n_steps; i++) {
        apply_step(&w->m->steps[i], w->b, w->a);
        float *t = w->a;
        w->a = w->b;
        w->b = t;
    }
    if (w->unit || w->keep < w->dim) to_unit(w->a, w->keep);
    memcpy(w->vectors + row->seq * w->keep, w->a, w->keep * sizeof *w->a);
    return MLTF_OK;
}

static mltf_status embed_seqs(const task_call *c, const task_seqs *seqs, const embed_options *o,
                              embeddings *out, mltf_err *err)
{
    const struct embed_modules *m = c->p->state;
    embed_work w = {.c = c, .m = m, .how = o->pooling};
    static const unsigned bits[] = {[EMBED_FIRST_TOKEN] = POOL_CLS,
                                    [EMBED_MEAN] = POOL_MEAN,
                                    [EMBED_MAX] = POOL_MAX,
                                    [EMBED_LAST_TOKEN] = POOL_LAST,
                                    [EMBED_POOLER] = POOL_CLS};
    const size_t H = c->p->info->hidden;
    w.n_steps = o->pooling == EMBED_BY_FOLDER ? m->n_steps : 0;
    if (w.n_steps && o->normalize < 0 && m->steps[w.n_steps - 1].kind == STEP_NORMALIZE)
        w.n_steps--;
    w.pooling = o->pooling == EMBED_BY_FOLDER ? m->pooling : bits[o->pooling];
    w.unit = o->normalize > 0;
    size_t widest = w.dim = pooled_width(w.pooling, H);
    for (size_t i = 0; i < w.n_steps; i++) {
        w.dim = m->steps[i].out;
        if (w.dim > widest) widest = w.dim;
    }
    w.keep = o->dimensions && o->dimensions < w.dim ? o->dimensions : w.dim;
    if (o->dimensions > w.dim)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "dimensions is %zu, but the model's vectors have %zu", o->dimensions,
                         w.dim);
    w.vectors = arena_f32(c->arena, seqs->n ? seqs->n : 1, w.keep);
    w.a = arena_f32(c->arena, 1, widest);
    w.b = arena_f32(c->arena, 1, widest);
    if (!w.vectors || !w.a || !w.b) return mltf_fail_memory(err);
    TRY(task_forward(c, seqs, o->pooling == EMBED_POOLER ? ARCH_WANT_POOLED : ARCH_WANT_HIDDEN,
                     keep_vector, &w, err));
    *out = (embeddings){.vectors = w.vectors, .n = seqs->n, .dim = w.keep};
    for (size_t i = 0; i < seqs->n; i++) out->n_tokens += seqs->encs[i].n;
    return MLTF_OK;
}

static mltf_status can_embed(const pipeline *p, mltf_err *err)
{
    if (p->def->init && p->state && p->def->class_suffix &&
        strcmp(p->def->class_suffix, "Model") == 0)
        return MLTF_OK;
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "a model with task %s gives no embeddings; load it for feature-extraction",
                     p->def->info.name);
}

bool pipeline_has_modules(const pipeline *p)
{
    const struct embed_modules *m = p->state;
    return can_embed(p, NULL) == MLTF_OK && m->by_folder;
}

/* str.strip() as far as texts have it, and lower case where the folder says so (ASCII; the tokenizer does the rest). */
static mltf_str prepared(const struct embed_modules *m, mltf_str text, mltf_arena *a)
{
    while (text.n && strchr(" \t\r\n\v\f", text.p[0])) text = str_slice(text, 1, text.n);
    while (text.n && strchr(" \t\r\n\v\f", text.p[text.n - 1])) text.n--;
    if (!m->lower) return text;
    char *copy = arena_strdup(a, text.p, text.n);
    for (size_t i = 0; copy && i < text.n; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z') copy[i] = (char)(copy[i] + 32);
    return copy ? (mltf_str){copy, text.n} : text;
}

mltf_status pipeline_embed(const pipeline *p, const mltf_str *texts, size_t n,
                           const embed_options *o, const call_control *ctl, mltf_arena *a,
                           embeddings *out, mltf_err *err)
{
    TRY(can_embed(p, err));
    static const call_control none = {0};
    const task_call c = {.p = p, .ctl = ctl ? ctl : &none, .arena = a};
    const struct embed_modules *m = p->state;
    const bool folder = m->by_folder && o->pooling == EMBED_BY_FOLDER;
    size_t max = o->max_length ? o->max_length : tokenizer_model_max_length(p->tk);
    if (folder && m->max_length && m->max_length < max) max = m->max_length;
    if (max > p->info->max_positions) max = p->info->max_positions;
    const bool cut = (o->truncate || folder || o->max_length) && max != SIZE_MAX;
    const tok_options opts = {.truncation = cut ? TOK_TRUNCATE_LONGEST_FIRST : TOK_TRUNCATE_NONE,
                              .max_length = cut ? max : 0};
    task_seqs seqs = {0};
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n && !st; i++) {
        tok_encoding *enc = task_seqs_add(&seqs);
        st = enc ? tokenizer_encode(p->tk, enc, folder ? prepared(m, texts[i], a) : texts[i],
                                    (mltf_str){0}, &opts, err)
                 : mltf_fail_memory(err);
    }
    if (!st) st = embed_seqs(&c, &seqs, o, out, err);
    task_seqs_release(&seqs);
    return st;
}

mltf_status pipeline_embed_ids(const pipeline *p, const int32_t *ids, const size_t *start, size_t n,
                               const embed_options *o, const call_control *ctl, mltf_arena *a,
                               embeddings *out, mltf_err *err)
{
    TRY(can_embed(p, err));
    static const call_control none = {0};
    const task_call c = {.p = p, .ctl = ctl ? ctl : &none, .arena = a};
    task_seqs seqs = {0};
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n && !st; i++) {
        tok_encoding *enc = task_seqs_add(&seqs);
        const size_t k = start[i + 1] - start[i];
        if (enc) enc->ids = malloc((k ? k : 1) * sizeof *enc->ids);
        if (!enc || !enc->ids) {
            st = mltf_fail_memory(err);
            break;
        }
        if (k) memcpy(enc->ids, ids + start[i], k * sizeof *enc->ids);
        enc->n = k;
    }
    if (!st) st = embed_seqs(&c, &seqs, o, out, err);
    task_seqs_release(&seqs);
    return st;
}
