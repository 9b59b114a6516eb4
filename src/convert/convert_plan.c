/* Which tensor of a checkpoint is written from which of a GGUF file: the rules of a family, applied. */
#include "convert/convert_job.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- names --------------------------------------------------------------------------------- */

static bool is_whole(const char *pattern)
{
    const mltf_str s = str_from(pattern);
    return str_ends(s, ".weight") || str_ends(s, ".bias") || str_ends(s, "$");
}

/* Does `name` have the form of the pattern and, where that has none, a suffix ".weight" or ".bias"? *layer receives what
 * stands for %. */
static bool matches(mltf_str name, const char *pattern, int64_t *layer, mltf_str *suffix)
{
    size_t i = 0;
    *layer = -1;
    const bool whole = is_whole(pattern);
    for (; *pattern && *pattern != '$'; pattern++) {
        if (*pattern != '%') {
            if (i >= name.n || name.p[i++] != *pattern) return false;
            continue;
        }
        const size_t start = i;
        int64_t v = 0;
        while (i < name.n && i - start < 9 && name.p[i] >= '0' && name.p[i] <= '9')
            v = v * 10 + (name.p[i++] - '0');
        if (i == start || (name.p[start] == '0' && i - start > 1)) return false;
        *layer = v;
    }
    *suffix = (mltf_str){name.p + i, name.n - i};
    return whole ? suffix->n == 0 : str_is(*suffix, ".weight") || str_is(*suffix, ".bias");
}

static const convert_rule *find_rule(const convert_job *j, const gguf_tensor *t, int64_t *layer,
                                     mltf_str *suffix)
{
    for (const convert_rule *r = j->family->rules; r->from; r++)
        if (matches(t->name, r->from, layer, suffix)) return r;
    return NULL;
}

static char *fill_in(convert_job *j, const char *pattern, int64_t layer, mltf_str suffix)
{
    const char *percent = strchr(pattern, '%');
    if (!percent) return arena_printf(&j->arena, "%s" STR_FMT, pattern, STR_ARG(suffix));
    return arena_printf(&j->arena, "%.*s%lld%s" STR_FMT, (int)(percent - pattern), pattern,
                        (long long)layer, percent + 1, STR_ARG(suffix));
}

/* ---- one tensor ---------------------------------------------------------------------------- */

static mltf_status add_piece(convert_job *j, const convert_piece *p, const st_spec *s)
{
    if (!s->name) return mltf_fail_memory(j->err);
    if (j->n == j->cap)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE, "the GGUF file's tensors become more than %zu",
                         j->cap);
    j->pieces[j->n] = *p;
    j->pieces[j->n].dtype = s->dtype;
    j->specs[j->n++] = *s;
    return MLTF_OK;
}

/* Rows of matrices (or values of biases) that change places must come in whole heads. */
static mltf_status check_heads(const convert_job *j, const convert_piece *p)
{
    const size_t H = (size_t)j->heads, kv = (size_t)j->kv_heads;
    const size_t of = p->op == CONVERT_ROWS_Q                              ? 2 * H
                      : p->op == CONVERT_ROWS_K                            ? 2 * kv
                      : p->op == CONVERT_QKV || p->op == CONVERT_QKV_APART ? H + 2 * kv
                                                                           : 1;
    if (p->rows % of == 0) return MLTF_OK;
    return mltf_fail(j->err, MLTF_CORRUPT_FILE,
                     "tensor \"" STR_FMT "\" has %zu rows, which do not make %lld heads",
                     STR_ARG(p->t->name), p->rows, (long long)j->heads);
}

static bool is_woven(convert_op op)
{
    return op == CONVERT_WEAVE || op == CONVERT_WEAVE_TURNED || op == CONVERT_WEAVE_MXFP4;
}

/* The tensor that is written with this one. */
static mltf_status find_joined(convert_job *j, const convert_rule *next, int64_t layer,
                               mltf_str suffix, convert_piece *p)
{
    const char *name = fill_in(j, next->from, layer, suffix);
    if (!name) return mltf_fail_memory(j->err);
    const gguf_tensor *t = p->t, *o = gguf_find(j->g, name);
    p->joined = o;
    // in one is the rows' length what in the other is their number
    const bool turned = p->op == CONVERT_KV_B;
    if (o && t->ndim == o->ndim && t->ndim > 1 && o->shape[0] == t->shape[turned] &&
        (!is_woven(p->op) || t->shape[1] == o->shape[1]) && t->shape[2] == o->shape[2] &&
        t->shape[3] == o->shape[3] && o->count)
        return MLTF_OK;
    return mltf_fail(j->err, MLTF_CORRUPT_FILE, "tensors \"" STR_FMT "\" and \"%s\" do not fit",
                     STR_ARG(t->name), name);
}

static mltf_status does_not_fit(const convert_job *j, const gguf_tensor *t)
{
    return mltf_fail(j->err, MLTF_CORRUPT_FILE,
                     "tensor \"" STR_FMT "\" has not the form that a model of type \"%s\" gives it",
                     STR_ARG(t->name), j->family->model_type);
}

static char *numbered(convert_job *j, const char *to, const char *what)
{
    const char *mark = strchr(to, '#');
    return arena_printf(&j->arena, "%.*s%s%s", (int)(mark - to), to, what, mark + 1);
}

static mltf_status plan_apart(convert_job *j, convert_piece *p, st_spec *s, const char *to)
{
    if (p->t->ndim > 2) return does_not_fit(j, p->t);
    const size_t heads[] = {(size_t)j->heads, (size_t)j->kv_heads, (size_t)j->kv_heads};
    const size_t D = p->rows / (heads[0] + 2 * heads[1]);
    for (int i = 0; i < 3; i++, p->first_row += p->rows) {
        p->rows = s->shape[0] = heads[i] * D;
        s->name = numbered(j, to, (const char *const[]){"q", "k", "v"}[i]);
        TRY(add_piece(j, p, s));
    }
    return MLTF_OK;
}

/* Each part of a stack is a tensor: to has "#" for its number. */
static mltf_status plan_split(convert_job *j, convert_piece *p, st_spec *s, const char *to)
{
    const size_t parts = s->shape[0];
    if (p->t->ndim < 2 || parts > LIMIT_EXPERTS) return does_not_fit(j, p->t);
    p->rows /= parts;
    s->ndim--;
    for (size_t d = 0; d < s->ndim; d++) s->shape[d] = s->shape[d + 1];
    for (size_t i = 0; i < parts; i++, p->first_row += p->rows) {
        char number[24];
        snprintf(number, sizeof number, "%zu", i);
        s->name = numbered(j, to, number);
        TRY(add_piece(j, p, s));
    }
    return MLTF_OK;
}

/* Two tensors of bytes: 16 a block, and its scale. */
static mltf_status plan_mxfp4(convert_job *j, convert_piece *p, st_spec *s, const char *to)
{
    if (p->t->type != GGUF_MXFP4 || (p->joined && p->joined->type != GGUF_MXFP4) || s->ndim != 3)
        return does_not_fit(j, p->t);
    s->dtype = DT_U8;
    s->shape[2] /= 32;
    s->shape[3] = 16;
    for (int scales = 0; scales < 2; scales++) {
        p->scales = scales;
        s->ndim = scales ? 3 : 4;
        s->name = arena_printf(&j->arena, "%s%s", to, scales ? "_scales" : "_blocks");
        TRY(add_piece(j, p, s));
    }
    return MLTF_OK;
}

static void swap(size_t *a, size_t *b)
{
    const size_t t = *a;
    *a = *b;
    *b = t;
}

/* The operation as it applies to this tensor: biases are not turned or turned round, and only vectors hold 1 + w. */
static convert_op op_for(const convert_rule *r, const gguf_tensor *t, mltf_str suffix)
{
    const bool bias = str_is(suffix, ".bias");
    if (r->op == CONVERT_TRANSPOSE && t->ndim < 2) return CONVERT_COPY;
    if (r->op == CONVERT_CHANNELS && bias) return CONVERT_COPY;
    if (r->op == CONVERT_MINUS_ONE && (t->ndim > 1 || bias)) return CONVERT_COPY;
    return r->op;
}

/* Shape and type of the one tensor that an operation makes of p->t, which *s describes as the file has it. */
static mltf_status plan_one(convert_job *j, convert_piece *p, st_spec *s)
{
    const gguf_tensor *t = p->t;
    const size_t last = t->ndim ? t->ndim - 1 : 0, before = last ? last - 1 : 0;
    switch (p->op) {
    case CONVERT_TRANSPOSE:
        swap(&s->shape[last], &s->shape[before]);
        break;
    case CONVERT_WEAVE:
        s->shape[last] *= 2;
        p->rows *= 2;
        break;
    case CONVERT_WEAVE_TURNED:
        swap(&s->shape[last], &s->shape[before]);
        s->shape[last] *= 2;
        break;
    case CONVERT_JOIN:
        s->shape[before] += p->joined->shape[1];
        p->rows += p->joined->count / p->joined->shape[0];
        break;
    case CONVERT_KV_B:
        if (t->ndim != 3) return does_not_fit(j, t);
        s->ndim = 2;
        s->shape[0] = t->shape[2] * (t->shape[0] + p->joined->shape[1]);
        s->shape[1] = t->shape[1];
        break;
    case CONVERT_FROM_TWO:
        if (t->ndim != 2) return does_not_fit(j, t);
        s->shape[0] += 2;
        break;
    case CONVERT_LOG_MINUS:
        s->dtype = DT_F32;
        if (t->shape[0] > 1) break;
        s->ndim = 1;
        s->shape[0] = t->count;
        break;
    case CONVERT_VECTOR:
        s->ndim = 1;
        s->shape[0] = t->count;
        break;
    case CONVERT_ONE_ROW:
        if (t->ndim != 1) break;
        s->ndim = 2;
        s->shape[0] = 1;
        s->shape[1] = t->count;
        break;
    case CONVERT_CHANNELS:
        if (t->ndim != 2) return does_not_fit(j, t);
        s->ndim = 3;
        s->shape[2] = s->shape[1];
        s->shape[1] = 1;
        break;
    default:
        break;
    }
    return add_piece(j, p, s);
}

static mltf_status plan_tensor(convert_job *j, const gguf_tensor *t)
{
    int64_t layer;
    mltf_str suffix;
    const convert_rule *r = find_rule(j, t, &layer, &suffix);
    const bool decoder = str_starts(t->name, "dec.");
    if (!decoder && layer >= j->layers && layer < j->blocks)
        return MLTF_OK; // guesses further words
    if (!r)
        return mltf_fail(j->err, MLTF_UNSUPPORTED,
                         "tensor \"" STR_FMT "\" has no place in a model of type \"%s\"",
                         STR_ARG(t->name), j->family->model_type);
    const int64_t layers = decoder ? j->decoder_layers : j->layers;
    if (layer >= layers)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE,
                         "tensor \"" STR_FMT "\" belongs to no layer: there are %lld",
                         STR_ARG(t->name), (long long)layers);
    if (r->op == CONVERT_SETTING || r->op == CONVERT_JOINED) return MLTF_OK;
    if (t->count == 0)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE, "tensor \"" STR_FMT "\" is empty",
                         STR_ARG(t->name));
    convert_piece p = {.t = t, .op = op_for(r, t, suffix)};
    const bool one_by_one = p.op == CONVERT_ROWS_Q || p.op == CONVERT_ROWS_K ||
                            p.op == CONVERT_QKV || p.op == CONVERT_QKV_APART;
    p.cols = (t->ndim < 2 && one_by_one) || p.op == CONVERT_WEAVE ? 1 : t->shape[0];
    p.rows = t->count / p.cols;
    TRY(check_heads(j, &p));
    st_spec s = {.dtype = j->dtype, .ndim = t->ndim};
    if (str_ends(t->name, ".exp_probs_b.bias"))
        s.dtype = DT_F32; // small differences choose experts
    for (size_t d = 0; d < t->ndim; d++)
        s.shape[d] = t->shape[t->ndim - 1 - d]; // row-major: last one contiguous
    char *to = fill_in(j, r->to, layer, suffix);
    if (!to) return mltf_fail_memory(j->err);
    s.name = to;
    if (p.op == CONVERT_KV_B || p.op == CONVERT_JOIN || is_woven(p.op))
        TRY(find_joined(j, r + 1, layer, suffix, &p));
    switch (p.op) {
    case CONVERT_SPLIT:
        return plan_split(j, &p, &s, to);
    case CONVERT_QKV_APART:
        return plan_apart(j, &p, &s, to);
    case CONVERT_MXFP4:
        return plan_mxfp4(j, &p, &s, to);
    case CONVERT_WEAVE_MXFP4:
        p.rows *= 2;
        s.shape[1] *= 2;
        return plan_mxfp4(j, &p, &s, to);
    default:
        return plan_one(j, &p, &s);
    }
}

/* ---- all of them --------------------------------------------------------------------------- */

static mltf_status check_complete(convert_job *j)
{
    for (const convert_rule *r = j->family->rules; r->from; r++) {
        if (r->need == OPTIONAL) continue;
        const bool layered = strchr(r->from, '%') != NULL;
        const bool decoder = strncmp(r->from, "dec.", 4) == 0;
        int64_t first = 0, end = !layered ? 1 : decoder ? j->decoder_layers : j->layers;
        if (r->need == IN_EXPERTS) first = j->dense_layers;
        if (r->need == IN_DENSE && end > j->dense_layers) end = j->dense_layers;
        for (int64_t i = first; i < end; i++) {
            const mltf_arena_mark mark = arena_save(&j->arena);
            char *name = fill_in(j, r->from, i, is_whole(r->from) ? STR("") : STR(".weight"));
            if (!name) return mltf_fail_memory(j->err);
            name[strcspn(name, "$")] = '\0';
            if (!gguf_find(j->g, name))
                return mltf_fail(j->err, MLTF_CORRUPT_FILE, "the GGUF file lacks the tensor \"%s\"",
                                 name);
            arena_restore(&j->arena, mark);
        }
    }
    return MLTF_OK;
}

/* Layers in order and, in them, the order of the rules: files stay readable and the same for every input order. */
static int by_name(const void *a, const void *b)
{
    const st_spec *x = *(const st_spec *const *)a, *y = *(const st_spec *const *)b;
    return strcmp(x->name, y->name);
}

mltf_status convert_plan(convert_job *j)
{
    const size_t n = gguf_count(j->g);
    for (size_t i = 0; i < n; i++) {
        int64_t layer;
        mltf_str suffix;
        const gguf_tensor *t = gguf_at(j->g, i);
        const convert_rule *r = find_rule(j, t, &layer, &suffix);
        const size_t parts = r && r->op == CONVERT_SPLIT && t->ndim ? t->shape[t->ndim - 1] : 3;
        j->cap += parts < LIMIT_EXPERTS ? parts : LIMIT_EXPERTS;
    }
    j->pieces = arena_calloc(&j->arena, j->cap + 1, sizeof *j->pieces);
    j->specs = arena_calloc(&j->arena, j->cap + 1, sizeof *j->specs);
    const st_spec **order = arena_calloc(&j->arena, j->cap + 1, sizeof *order);
    if (!j->pieces || !j->specs || !order) return mltf_fail_memory(j->err);
    TRY(check_complete(j));
    for (size_t i = 0; i < n; i++) TRY(plan_tensor(j, gguf_at(j->g, i)));
    for (size_t i = 0; i < j->n; i++) order[i] = &j->specs[i];
    qsort(order, j->n, sizeof *order, by_name);
    for (size_t i = 1; i < j->n; i++) {
        if (strcmp(order[i]->name, order[i - 1]->name) == 0)
            return mltf_fail(j->err, MLTF_CORRUPT_FILE, "two tensors become \"%s\"",
                             order[i]->name);
    }
    return MLTF_OK;
}
