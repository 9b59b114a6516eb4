/* Models and sessions: finding the family, opening the checkpoint, running a forward, KV caches. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch_internal.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/limits.h"
#include "nn/nn_packed.h"

/* ------------------------------------------------------------------ which class */

arch_head arch_head_of(mltf_str name)
{
    static const struct {
        const char *end;
        arch_head head;
    } table[] = {
        {"TapasForQuestionAnswering", ARCH_HEAD_TABLE_QA},
        {"ForMaskedLM", ARCH_HEAD_MASKED_LM},
        {"BertForPreTraining", ARCH_HEAD_MASKED_LM},
        {"ErnieForPreTraining", ARCH_HEAD_MASKED_LM},
        {"AlbertForPreTraining", ARCH_HEAD_MASKED_LM},
        {"ForCausalLM", ARCH_HEAD_LM},
        {"LMHeadModel", ARCH_HEAD_LM},
        {"DoubleHeadsModel", ARCH_HEAD_LM},
        {"ForConditionalGeneration", ARCH_HEAD_LM},
        {"MTModel", ARCH_HEAD_LM},
        {"ForSequenceClassification", ARCH_HEAD_SEQ_CLS},
        {"ForTokenClassification", ARCH_HEAD_TOKEN_CLS},
        {"ForQuestionAnswering", ARCH_HEAD_QA},
        {"ForMultipleChoice", ARCH_HEAD_MULTIPLE_CHOICE},
        {"ForNextSentencePrediction", ARCH_HEAD_NEXT_SENTENCE},
        {"EncoderModel", ARCH_HEAD_NONE},
        {"BertGenerationEncoder", ARCH_HEAD_NONE},
        {"BertGenerationDecoder", ARCH_HEAD_LM},
        {"Model", ARCH_HEAD_NONE},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (str_ends(name, table[i].end)) return table[i].head;
    return ARCH_HEAD_OTHER;
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
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "model_type \"" STR_FMT
                         "\" is not supported; docs/models.md lists those that are",
                         STR_ARG(type->s));
    }
    if (!want.n) want = str_from(m->family->classes[0]);
    for (const char *const *c = m->family->classes; !wrapped && *c; c++)
        if (str_is(want, *c)) m->info.architecture = *c;
    if (!m->info.architecture)
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "class \"" STR_FMT "\" of model_type \"" STR_FMT "\" is not supported",
                         STR_ARG(want), STR_ARG(type->s));
    m->info.model_type = arena_strdup(&m->own, model_type.p, model_type.n);
    m->info.kind = m->family->kind;
    m->info.head = arch_head_of(want);
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
    return cfg_done(&c, err);
}

mltf_str arch_label(const arch_model *m, size_t label)
{
    char key[32];
    snprintf(key, sizeof key, "%zu", label);
    const json *v = json_get(json_get(m->config.root, "id2label"), key);
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

/* ------------------------------------------------------------------ sessions */

mltf_status arch_session_new(arch_session **out, const arch_model *m, mltf_err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return mltf_fail_memory(err);
    (*out)->m = m;
    nn_ctx_init(&(*out)->cx, m->pool);
    return MLTF_OK;
}

const arch_model *arch_session_model(const arch_session *s)
{
    return s->m;
}

static void drop_memory(arch_session *s)
{
    for (size_t i = 0; i < s->n_memory; i++) nn_memory_release(s->memory[i]);
    s->n_memory = 0;
}

void arch_session_free(arch_session *s)
{
    if (!s) return;
    drop_memory(s);
    nn_ctx_release(&s->cx);
    arena_release(&s->kept_own);
    free(s->pos);
    free(s->caches);
    free(s->memory);
    free(s->all_hidden);
    free(s);
}

void arch_session_tap(arch_session *s, arch_tap_fn fn, void *user)
{
    s->cx.tap = fn;
    s->cx.tap_user = user;
}

static bool grow(void *array, size_t *cap, size_t n, size_t size)
{
    if (n <= *cap) return true;
    void **p = array;
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return false;
    void *q = realloc(*p, bytes);
    if (!q) return false;
    *p = q;
    *cap = n;
    return true;
}

static mltf_status check_batch(const arch_model *m, const arch_batch *b, bool encode, mltf_err *err)
{
    if (b->n_seqs == 0 || b->start[0] != 0)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "a batch needs at least one sequence, starting at row 0");
    for (size_t i = 0; i < b->n_seqs; i++)
        if (b->start[i + 1] < b->start[i] || b->start[i + 1] > (size_t)INT32_MAX)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "sequence %zu of the batch has no valid row range", i);
    if (b->start[b->n_seqs] == 0)
        return mltf_fail(err, MLTF_INVALID_INPUT, "the batch holds no token");
    if (!b->ids && !b->input_embeds)
        return mltf_fail(err, MLTF_INVALID_INPUT, "the batch holds no ids");
    if (b->caches && !encode && b->attention_mask)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "an attention mask cannot be combined with caches: leave padding out");
    for (size_t i = 0; b->caches && i < b->n_seqs; i++)
        if (b->caches[i]->m != m)
            return mltf_fail(err, MLTF_INVALID_INPUT, "cache %zu belongs to another model", i);
    return MLTF_OK;
}

/* Session arrays for this batch; caches reserved. */
static mltf_status prepare(arch_session *s, const arch_batch *b, bool encode, mltf_err *err)
{
    const size_t T = b->start[b->n_seqs];
    drop_memory(s);
    nn_begin(&s->cx);
    s->n_hidden = 0;
    if (!grow(&s->pos, &s->pos_cap, T, sizeof *s->pos) ||
        !grow(&s->caches, &s->caches_cap, b->n_seqs, sizeof *s->caches) ||
        !grow(&s->memory, &s->memory_cap, b->n_seqs, sizeof *s->memory))
        return mltf_fail_memory(err);
    for (size_t i = 0; b->caches && i < b->n_seqs; i++) {
        arch_cache *c = b->caches[i];
        const size_t rows = b->start[i + 1] - b->start[i];
        s->caches[i] = &c->kv;
        if (!encode && s->m->cache_shape.layers)
            TRY(nn_cache_reserve(&c->kv, c->kv.len + rows, err));
    }
    return MLTF_OK;
}

mltf_status arch_run_memory(arch_run *r, mltf_err *err)
{
    arch_session *s = r->s;
    for (size_t i = 0; i < r->seqs.n; i++) {
        const size_t a = r->seqs.start[i], rows = r->seqs.start[i + 1] - a;
        nn_memory *m = nn_memory_new(&s->m->cross_shape, rows, err);
        if (!m) return MLTF_NO_MEMORY;
        s->memory[s->n_memory++] = m;
        if (r->seqs.key_mask) {
            m->mask = malloc(rows ? rows : 1);
            if (!m->mask) return mltf_fail_memory(err);
            memcpy(m->mask, r->seqs.key_mask + a, rows);
        }
    }
    r->seqs.memory = s->memory;
    return MLTF_OK;
}

static arch_run make_run(arch_session *s, const arch_batch *b, unsigned want, arch_output *out)
{
    *out = (arch_output){0};
    s->cx.want_probs = want & ARCH_WANT_ATTENTIONS;
    return (arch_run){.s = s,
                      .m = s->m,
                      .impl = s->m->impl,
                      .cx = &s->cx,
                      .batch = b,
                      .want = want,
                      .seqs = {.n = b->n_seqs,
                               .start = b->start,
                               .rows = b->start[b->n_seqs],
                               .key_mask = b->attention_mask},
                      .out = out};
}

/* The same failure in a user's words where a sequence is longer than the model's positions. */
static void explain_length(arch_session *s, const arch_batch *b, size_t bound)
{
    if (s->cx.err.status != MLTF_INVALID_INPUT || b->position_ids) return;
    for (size_t i = 0; i < b->n_seqs; i++) {
        const size_t n = b->start[i + 1] - b->start[i] + (b->caches ? b->caches[i]->kv.len : 0);
        if (n <= bound) continue;
        mltf_fail(&s->cx.err, MLTF_INVALID_INPUT,
                  "a text of %zu tokens is too long for this model, which has positions for %zu", n,
                  bound);
        return;
    }
}

/* What the context holds, as output; its failure, if any. `bound`: positions that the model has. */
static mltf_status finish(arch_session *s, const arch_batch *b, size_t bound, arch_output *out,
                          mltf_err *err)
{
    nn_ctx *cx = &s->cx;
    if (!nn_ok(cx)) {
        explain_length(s, b, bound);
        *out = (arch_output){0};
        if (err) *err = cx->err;
        return cx->err.status;
    }
    out->all_hidden = s->n_hidden ? s->all_hidden : NULL;
    out->n_all = s->n_hidden;
    if (cx->n_probs) {
        arch_attention *a = arena_calloc(&cx->keep, cx->n_probs, sizeof *a);
        if (!a) return mltf_fail_memory(err);
        for (size_t i = 0; i < cx->n_probs; i++) {
            const nn_probs *p = &cx->probs[i];
            a[i] = (arch_attention){p->kind, p->layer, p->seq, p->heads, p->tq, p->tk, p->p};
        }
        out->attentions = a;
        out->n_attentions = cx->n_probs;
    }
    return MLTF_OK;
}

/* ------------------------------------------------------------------ sequences that must be computed anew */

static bool crosses(const arch_model *m, const arch_batch *b, size_t seq)
{
    const size_t past = b->caches ? b->caches[seq]->kv.len : 0;
    return m->recompute_past && past && past <= m->recompute_past &&
           past + (b->start[seq + 1] - b->start[seq]) > m->recompute_past;
}

static mltf_status remember_ids(const arch_model *m, const arch_batch *b, mltf_err *err)
{
    for (size_t i = 0; m->recompute_past && b->caches && b->ids && i < b->n_seqs; i++) {
        arch_cache *c = b->caches[i];
        const size_t rows = b->start[i + 1] - b->start[i];
        if (c->kv.len + rows > m->recompute_past && c->kv.len > m->recompute_past) continue;
        if (!grow(&c->ids, &c->ids_cap, c->kv.len + rows, sizeof *c->ids))
            return mltf_fail_memory(err);
        memcpy(c->ids + c->kv.len, b->ids + b->start[i], rows * sizeof *c->ids);
    }
    return MLTF_OK;
}

/* Keep the last rows of each sequence of [T, cols] buffers, as if only they had been computed. */
static void keep_tails(float *x, size_t cols, const size_t *from, const size_t *to, size_t n_seqs)
{
    for (size_t i = 0; x && i < n_seqs; i++) {
        const size_t rows = to[i + 1] - to[i];
        memmove(x + to[i] * cols, x + (from[i + 1] - rows) * cols, rows * cols * sizeof *x);
    }
}

/* The same batch with what the caches of crossing sequences held put in front. */
static mltf_status forward_anew(arch_session *s, const arch_batch *b, unsigned want,
                                arch_output *out, mltf_err *err)
{
    const size_t n = b->n_seqs;
    size_t *start = calloc(n + 1, sizeof *start);
    if (!start) return mltf_fail_memory(err);
    for (size_t i = 0; i < n; i++)
        start[i + 1] = start[i] + (b->start[i + 1] - b->start[i]) +
                       (crosses(s->m, b, i) ? b->caches[i]->kv.len : 0);
    int32_t *ids = malloc(start[n] * sizeof *ids);
    if (!ids) {
        free(start);
        return mltf_fail_memory(err);
    }
    for (size_t i = 0; i < n; i++) {
        const size_t rows = b->start[i + 1] - b->start[i], old = start[i + 1] - start[i] - rows;
        if (old) memcpy(ids + start[i], b->caches[i]->ids, old * sizeof *ids);
        memcpy(ids + start[i] + old, b->ids + b->start[i], rows * sizeof *ids);
        if (old) nn_cache_truncate(&b->caches[i]->kv, 0);
    }
    const arch_batch all = {.n_seqs = n, .start = start, .ids = ids, .caches = b->caches};
    const mltf_status st = arch_forward(s, &all, want, out, err);
    if (!st) {
        keep_tails(out->hidden, out->n_hidden, start, b->start, n);
        for (size_t l = 0; l < out->n_all; l++)
            keep_tails(out->all_hidden[l], s->m->info.hidden, start, b->start, n);
        if (out->logit_rows == start[n]) {
            keep_tails(out->logits, out->n_logits, start, b->start, n);
            out->logit_rows = b->start[n];
        }
    }
    free(ids);
    free(start);
    return st;
}

/* ------------------------------------------------------------------ forward */

mltf_status arch_forward(arch_session *s, const arch_batch *b, unsigned want, arch_output *out,
                         mltf_err *err)
{
    const arch_model *m = s->m;
    TRY(check_batch(m, b, false, err));
    for (size_t i = 0; i < b->n_seqs; i++)
        if (crosses(m, b, i) && b->ids) return forward_anew(s, b, want, out, err);
    TRY(prepare(s, b, false, err));
    arch_run r = make_run(s, b, want, out);
    if (b->caches) {
        if (m->cache_shape.layers) r.seqs.caches = s->caches;
        for (size_t i = 0; m->cross_shape.layers && i < b->n_seqs; i++) {
            if (!b->caches[i]->memory)
                return mltf_fail(err, MLTF_INVALID_INPUT,
                                 "sequence %zu has not been through the encoder", i);
            s->memory[i] = nn_memory_retain(b->caches[i]->memory);
            s->n_memory = i + 1;
        }
        if (m->cross_shape.layers) r.seqs.memory = s->memory;
    }
    arch_positions(&r, 0);
    m->family->forward(&r);
    TRY(finish(s, b, r.seqs.memory ? m->info.max_target_positions : m->info.max_positions, out,
               err));
    TRY(remember_ids(m, b, err));
    for (size_t i = 0; r.seqs.caches && i < b->n_seqs; i++)
        b->caches[i]->kv.len += b->start[i + 1] - b->start[i];
    return MLTF_OK;
}

mltf_status arch_encode(arch_session *s, const arch_batch *b, unsigned want, arch_output *out,
                        mltf_err *err)
{
    const arch_model *m = s->m;
    if (!m->family->encode)
        return mltf_fail(err, MLTF_INVALID_INPUT, "%s has no encoder to run apart",
                         m->info.architecture);
    if (!b->caches)
        return mltf_fail(err, MLTF_INVALID_INPUT, "the encoder needs caches to leave its keys in");
    TRY(check_batch(m, b, true, err));
    TRY(prepare(s, b, true, err));
    arch_run r = make_run(s, b, want, out);
    TRY(arch_run_memory(&r, err));
    arch_positions(&r, 0);
    m->family->encode(&r);
    TRY(finish(s, b, m->info.max_positions, out, err));
    for (size_t i = 0; i < b->n_seqs; i++) {
        nn_memory_release(b->caches[i]->memory);
        b->caches[i]->memory = nn_memory_retain(s->memory[i]);
    }
    return MLTF_OK;
}

/* ------------------------------------------------------------------ what families call */

void arch_positions(arch_run *r, size_t offset)
{
    int32_t *pos = r->s->pos;
    r->seqs.pos = pos;
    if (r->batch->position_ids) {
        for (size_t t = 0; t < r->seqs.rows; t++) {
            pos[t] = r->batch->position_ids[t];
            if (pos[t] < 0)
                nn_fail(r->cx, MLTF_INVALID_INPUT, "position %d is negative", (int)pos[t]);
        }
        return;
    }
    for (size_t s = 0; s < r->seqs.n; s++)
        for (size_t t = r->seqs.start[s]; t < r->seqs.start[s + 1]; t++)
            pos[t] = (int32_t)(nn_past(&r->seqs, s) + (t - r->seqs.start[s]) + offset);
}

void arch_positions_after_padding(arch_run *r, int64_t pad)
{
    if (r->batch->position_ids || !r->batch->ids) {
        arch_positions(r, (size_t)(pad + 1));
        return;
    }
    for (size_t s = 0; s < r->seqs.n; s++) {
        int64_t next = pad + 1 + (int64_t)nn_past(&r->seqs, s);
        for (size_t t = r->seqs.start[s]; t < r->seqs.start[s + 1]; t++)
            r->s->pos[t] = (int32_t)(r->batch->ids[t] == pad ? pad : next++);
    }
}

float *arch_embed_tokens(arch_run *r, const nn_embed_w *w)
{
    float *x = nn_f32(r->cx, r->seqs.rows, w->w.K);
    if (r->batch->input_embeds)
        nn_copy(r->cx, x, r->batch->input_embeds, r->seqs.rows * w->w.K);
    else
        nn_embed(r->cx, x, r->batch->ids, w, r->seqs.rows);
    return x;
}

void arch_add_types(arch_run *r, float *x, const nn_embed_w *w)
{
    if (!w->w.data) return;
    if (r->batch->type_ids)
        nn_embed_add(r->cx, x, r->batch->type_ids, w, r->seqs.rows);
    else
        nn_embed_add_row(r->cx, x, 0, w, r->seqs.rows);
}

void arch_add_sines(float *x, size_t pos, size_t H)
{
    const size_t half = H / 2;
    const float step = (float)(log(10000.0) / (double)(half - 1));
    for (size_t i = 0; i < half; i++) {
        const float angle = (float)pos * expf((float)i * -step);
        x[i] += sinf(angle);
        x[half + i] += cosf(angle);
    }
}

void arch_keep_hidden(arch_run *r, const float *x, size_t cols)
{
    if (!(r->want & ARCH_WANT_ALL_HIDDEN) || !nn_ok(r->cx)) return;
    arch_session *s = r->s;
    if (!grow(&s->all_hidden, &s->hidden_cap,
              s->n_hidden < s->hidden_cap ? s->hidden_cap : s->hidden_cap * 2 + 16,
              sizeof *s->all_hidden)) {
        nn_fail(r->cx, MLTF_NO_MEMORY, "no memory for the list of hidden states");
        return;
    }
    float *copy = nn_keep(r->cx, r->seqs.rows, cols);
    nn_copy(r->cx, copy, x, r->seqs.rows * cols);
    s->all_hidden[s->n_hidden++] = copy;
}

void arch_keep_encoder(arch_run *r, const float *x, size_t cols)
{
    nn_ctx *cx = r->cx;
    arch_session *s = r->s;
    r->out->encoder_hidden = nn_keep(cx, r->seqs.rows, cols);
    nn_copy(cx, r->out->encoder_hidden, x, r->seqs.rows * cols);
    float **list = arena_alloc(&cx->keep, s->n_hidden * sizeof *list);
    if (!nn_ok(cx)) return;
    if (!list) {
        nn_fail(cx, MLTF_NO_MEMORY, "no memory for the list of hidden states");
        return;
    }
    if (s->n_hidden) memcpy(list, s->all_hidden, s->n_hidden * sizeof *list);
    r->out->encoder_all_hidden = list;
    r->out->n_encoder_all = s->n_hidden;
    s->n_hidden = 0;
}

/* ------------------------------------------------------------------ caches */

mltf_status arch_cache_new(arch_cache **out, const arch_model *m, size_t max_tokens, mltf_err *err)
{
    *out = NULL;
    if (!m->cache_shape.layers)
        return mltf_fail(err, MLTF_INVALID_INPUT, "%s does not generate: it has no cache",
                         m->info.architecture);
    arch_cache *c = calloc(1, sizeof *c);
    if (!c) return mltf_fail_memory(err);
    c->m = m;
    nn_cache_init(&c->kv, &m->cache_shape, max_tokens, err);
    *out = c;
    return MLTF_OK;
}

void arch_cache_free(arch_cache *c)
{
    if (!c) return;
    nn_cache_release(&c->kv);
    nn_memory_release(c->memory);
    free(c->ids);
    free(c);
}

size_t arch_cache_len(const arch_cache *c)
{
    return c->kv.len;
}

_Static_assert((int)ARCH_CACHE_ROLLBACK <= (int)NN_CACHE_ROLLBACK, "a promise of arch.h");

void arch_cache_truncate(arch_cache *c, size_t len)
{
    nn_cache_truncate(&c->kv, len);
}

mltf_status arch_cache_copy(arch_cache *to, const arch_cache *from, size_t held, mltf_err *err)
{
    if (to == from) return MLTF_OK;
    if (to->m != from->m)
        return mltf_fail(err, MLTF_INVALID_INPUT, "a cache can be copied within one model only");
    if (from->m->recompute_past) held = 0; // what it holds of a token depends on the later ones
    TRY(nn_cache_copy(&to->kv, &from->kv, held, err));
    if (to->memory != from->memory) {
        nn_memory_release(to->memory);
        to->memory = nn_memory_retain(from->memory);
    }
    if (from->m->recompute_past && from->ids) {
        if (!grow(&to->ids, &to->ids_cap, from->ids_cap, sizeof *to->ids))
            return mltf_fail_memory(err);
        memcpy(to->ids, from->ids, from->ids_cap * sizeof *to->ids);
    }
    return MLTF_OK;
}
