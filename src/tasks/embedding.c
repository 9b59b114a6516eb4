/* Pooling of hidden states, the modules that sentence-transformers puts behind it (embedding_folder.h), prompts. */
#include "tasks/embedding.h"

#include <math.h>
#include <stdlib.h>

#include "base/pytext.h"
#include "base/utf8.h"
#include "tasks/embedding_folder.h"
#include "tasks/task.h"

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
    o->prompt = json_string(json_get(options, "prompt"), o->prompt);
    o->prompt_name = json_string(json_get(options, "prompt_name"), o->prompt_name);
    return MLTF_OK;
}

/* ---- vectors ---- */

typedef struct embed_work {
    const task_call *c;
    const embed_modules *m;
    embed_pooling how;
    pool_modes pooling;
    size_t dim;     /* of the result */
    size_t keep;    /* of dim */
    size_t n_steps; // of the folder, that run
    size_t skip;    /* tokens at the beginning that the pooling leaves out */
    bool unit;      /* to length one at the end */
    float *vectors; /* [n, keep] */
    float *a, *b;   /* [largest width of any step] */
} embed_work;

static void pool(float *out, const embed_work *w, const float *h, size_t T, size_t H)
{
    for (size_t i = 0; i < w->pooling.n; i++) {
        const pool_mode mode = w->pooling.list[i];
        const size_t first = w->skip < T ? w->skip : T;
        const size_t at = mode == POOL_LAST               ? (T ? T - 1 : 0)
                          : mode == POOL_MAX && first < T ? first
                                                          : 0;
        for (size_t k = 0; k < H; k++) {
            float v = T ? h[at * H + k] : 0;
            if (mode == POOL_MAX)
                for (size_t t = first + 1; t < T; t++) v = h[t * H + k] > v ? h[t * H + k] : v;
            if (mode == POOL_MEAN || mode == POOL_MEAN_SQRT || mode == POOL_WEIGHTED) {
                float sum = 0, weights = 0;
                for (size_t t = first; t < T; t++) {
                    const float weight = mode == POOL_WEIGHTED ? (float)(t + 1) : 1.0f;
                    sum += weight * h[t * H + k];
                    weights += weight;
                }
                if (weights < 1e-9f) weights = 1e-9f;
                v = sum / (mode == POOL_MEAN_SQRT ? sqrtf(weights) : weights);
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

static void apply_step(const embed_step *s, float *out, const float *in)
{
    if (s->kind == STEP_DENSE) {
        for (size_t o = 0; o < s->out; o++) {
            float sum = 0;
            for (size_t i = 0; i < s->in; i++) sum += s->weight[o * s->in + i] * in[i];
            sum += s->bias ? s->bias[o] : 0;
            out[o] = s->act ? s->act(sum) : sum;
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

/* skip: tokens at the beginning of each sequence that the pooling leaves out. */
static mltf_status embed_seqs(const task_call *c, const task_seqs *seqs, const embed_options *o,
                              size_t skip, embeddings *out, mltf_err *err)
{
    const embed_modules *m = c->p->state;
    embed_work w = {.c = c, .m = m, .how = o->pooling, .skip = skip};
    static const pool_mode modes[] = {[EMBED_FIRST_TOKEN] = POOL_CLS,
                                      [EMBED_MEAN] = POOL_MEAN,
                                      [EMBED_MAX] = POOL_MAX,
                                      [EMBED_LAST_TOKEN] = POOL_LAST,
                                      [EMBED_POOLER] = POOL_CLS};
    const size_t H = c->p->info->hidden;
    w.n_steps = o->pooling == EMBED_BY_FOLDER ? m->n_steps : 0;
    if (w.n_steps && o->normalize < 0 && m->steps[w.n_steps - 1].kind == STEP_NORMALIZE)
        w.n_steps--;
    w.pooling = o->pooling == EMBED_BY_FOLDER ? m->pooling
                                              : (pool_modes){.list = {modes[o->pooling]}, .n = 1};
    w.unit = o->normalize > 0;
    size_t widest = w.dim = w.pooling.n * H;
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
    const embed_modules *m = p->state;
    return can_embed(p, NULL) == MLTF_OK && m->by_folder;
}

/* Prompt and text as SentenceTransformer.tokenize() takes them: str.strip(), and str.lower() where the folder says so. */
static mltf_status prepared(mltf_str *out, const embed_modules *m, mltf_str prompt, mltf_str text,
                            mltf_arena *a, mltf_err *err)
{
    mltf_buf b = MLTF_BUF_INIT;
    buf_put_str(&b, prompt);
    buf_put_str(&b, text);
    const mltf_str all = pytext_strip(buf_str(&b));
    mltf_buf low = MLTF_BUF_INIT;
    if (m->lower) pytext_lower(&low, all);
    *out = arena_str(a, m->lower ? buf_str(&low) : all);
    const bool ok = out->p && !b.failed && !low.failed;
    mltf_buf_release(&b);
    mltf_buf_release(&low);
    return ok ? MLTF_OK : mltf_fail_memory(err);
}

/* The text before every text: the one given, the one named, or the folder's own for all. */
static mltf_status find_prompt(mltf_str *out, const embed_modules *m, const embed_options *o,
                               mltf_err *err)
{
    const embed_prompt *p = o->pooling == EMBED_BY_FOLDER ? m->always : NULL;
    if (o->prompt_name.p && !o->prompt.p && !(p = embed_prompt_find(m, o->prompt_name))) {
        mltf_buf names = {.max = 1024};
        for (size_t i = 0; i < m->n_prompts; i++)
            buf_printf(&names, "%s\"" STR_FMT "\"", i ? ", " : "", STR_ARG(m->prompts[i].name));
        const mltf_status st =
            mltf_fail(err, MLTF_INVALID_INPUT,
                      "prompt_name \"" STR_FMT "\" is none of the model's prompts: %s",
                      STR_ARG(o->prompt_name), names.p ? names.p : "it has none");
        mltf_buf_release(&names);
        return st;
    }
    *out = o->prompt.p ? o->prompt : p ? p->text : STR("");
    return MLTF_OK;
}

/* How many tokens the prompt alone has, without a special token at its end. */
static mltf_status count_prompt(size_t *out, const pipeline *p, mltf_str prompt,
                                const tok_options *opts, mltf_arena *a, mltf_err *err)
{
    tok_encoding enc = TOK_ENCODING_INIT;
    mltf_str text;
    TRY(prepared(&text, p->state, prompt, STR(""), a, err));
    const mltf_status st = tokenizer_encode(p->tk, &enc, text, (mltf_str){0}, opts, err);
    if (!st)
        *out = enc.n > 0 && tokenizer_is_special(p->tk, enc.ids[enc.n - 1]) ? enc.n - 1 : enc.n;
    tok_encoding_release(&enc);
    return st;
}

mltf_status pipeline_embed(const pipeline *p, const mltf_str *texts, size_t n,
                           const embed_options *o, const call_control *ctl, mltf_arena *a,
                           embeddings *out, mltf_err *err)
{
    TRY(can_embed(p, err));
    static const call_control none = {0};
    const task_call c = {.p = p, .ctl = ctl ? ctl : &none, .arena = a};
    const embed_modules *m = p->state;
    const bool folder = m->by_folder && o->pooling == EMBED_BY_FOLDER;
    size_t max = o->max_length ? o->max_length : tokenizer_model_max_length(p->tk);
    if (folder) { // where the folder does not say, the library takes what config.json says
        const int64_t stated =
            json_int(json_get(p->info->config, "max_position_embeddings"), INT64_MAX);
        const size_t own = m->max_length ? m->max_length : stated > 0 ? (size_t)stated : SIZE_MAX;
        if (own < max) max = own;
    }
    if (max > p->info->max_positions) max = p->info->max_positions;
    const bool cut = (o->truncate || folder || o->max_length) && max != SIZE_MAX;
    const tok_options opts = {.truncation = cut ? TOK_TRUNCATE_LONGEST_FIRST : TOK_TRUNCATE_NONE,
                              .max_length = cut ? max : 0};
    mltf_str prompt = STR("");
    size_t skip = 0;
    TRY(find_prompt(&prompt, m, o, err));
    if (folder && prompt.n && m->skip_prompt) TRY(count_prompt(&skip, p, prompt, &opts, a, err));
    task_seqs seqs = {0};
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n && !st; i++) {
        mltf_str text = texts[i];
        if (folder || prompt.n) st = prepared(&text, m, prompt, texts[i], a, err);
        tok_encoding *enc = st ? NULL : task_seqs_add(&seqs);
        if (!st)
            st = enc ? tokenizer_encode(p->tk, enc, text, (mltf_str){0}, &opts, err)
                     : mltf_fail_memory(err);
    }
    if (!st) st = embed_seqs(&c, &seqs, o, skip, out, err);
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
    if (!st) st = embed_seqs(&c, &seqs, o, 0, out, err);
    task_seqs_release(&seqs);
    return st;
}
