/* Tensors of a checkpoint into weight structs: names, shapes, types, and what is missing or left over. */
#include "nn/nn_load.h"

#include "nn/nn_adapter.h"
#include "nn/nn_packed.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/checked.h"
#include "kernels/quantize.h"

enum { NAME_MAX_BYTES = 512 };

/* ------------------------------------------------------------------ start and names */

mltf_status nn_loader_init(nn_loader *ld, checkpoint *ck, mltf_arena *own, mltf_pool *pool,
                           const char *root, const char *base_prefix, mltf_err *err)
{
    *ld = (nn_loader){.ck = ck,
                      .own = own,
                      .pool = pool,
                      .root = root ? root : "",
                      .base = "",
                      .target = DT_COUNT,
                      .quantize = DT_COUNT,
                      .packed = {.exact = DT_COUNT},
                      .missing = {.max = 4096}};
    const size_t n = checkpoint_count(ck);
    ld->used = calloc(n ? n : 1, 1);
    if (!ld->used) return mltf_fail_memory(err);
    const size_t nr = strlen(ld->root);
    for (size_t i = 0; base_prefix && i < n && !*ld->base; i++) {
        // old checkpoints leave the prefix out, a base model never had it
        const char *name = checkpoint_at(ck, i)->name;
        if (strncmp(name, ld->root, nr)) continue;
        for (const char *p = base_prefix, *bar; p && !*ld->base; p = bar ? bar + 1 : NULL) {
            bar = strchr(p, '|');
            const size_t np = bar ? (size_t)(bar - p) : strlen(p);
            if (np && strncmp(name + nr, p, np) == 0) ld->base = arena_strdup(own, p, np);
            if (!ld->base) return mltf_fail_memory(err);
        }
    }
    return MLTF_OK;
}

void nn_loader_release(nn_loader *ld)
{
    nn_adapter_free(ld->adapter);
    ld->adapter = NULL;
    free(ld->used);
    ld->used = NULL;
    mltf_buf_release(&ld->missing);
}

void nn_scope(nn_loader *ld, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(ld->scope, sizeof ld->scope, fmt, ap);
    va_end(ap);
}

size_t nn_scope_enter(nn_loader *ld, const char *name)
{
    const size_t back = strlen(ld->scope);
    snprintf(ld->scope + back, sizeof ld->scope - back, "%s.", name);
    return back;
}

void nn_scope_leave(nn_loader *ld, size_t back)
{
    ld->scope[back] = '\0';
}

static bool ok(const nn_loader *ld)
{
    return ld->err.status == MLTF_OK;
}

static void no_memory(nn_loader *ld)
{
    if (ok(ld)) mltf_fail_memory(&ld->err);
}

/* Mark the tensor of this name as used; names are sorted. */
static void mark_used(const checkpoint *ck, uint8_t *used, const char *name, uint8_t how)
{
    size_t lo = 0, hi = checkpoint_count(ck);
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (strcmp(checkpoint_at(ck, mid)->name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < checkpoint_count(ck) && strcmp(checkpoint_at(ck, lo)->name, name) == 0) used[lo] = how;
}

const ck_tensor *nn_load_mark_packed(nn_loader *ld, const char *full)
{
    const ck_tensor *t = checkpoint_find(ld->ck, full);
    if (t) mark_used(ld->ck, ld->used, full, 2);
    return t;
}

/* The tensor root + scope + one name + suffix, marked as used. Spellings of old: gamma and beta; of PEFT,
 * which saved the layer under an adapter: X.base_layer.weight. */
static const ck_tensor *find_one(nn_loader *ld, mltf_str name, const char *suffix)
{
    const bool weight = strcmp(suffix, ".weight") == 0, bias = strcmp(suffix, ".bias") == 0;
    const char *spellings[] = {suffix,
                               weight ? ".gamma"
                               : bias ? ".beta"
                                      : NULL,
                               weight ? ".base_layer.weight"
                               : bias ? ".base_layer.bias"
                                      : NULL};
    char full[NAME_MAX_BYTES];
    const ck_tensor *t = ld->adapter ? nn_adapter_replaces(ld, name, suffix) : NULL;
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings && spellings[i]; i++) {
        const int n = snprintf(full, sizeof full, "%s%s" STR_FMT "%s", ld->root, ld->scope,
                               STR_ARG(name), spellings[i]);
        if (n < 0 || (size_t)n >= sizeof full) break;
        const ck_tensor *own = checkpoint_find(ld->ck, full);
        if (!own) continue;
        mark_used(ld->ck, ld->used, full, 1);
        return t ? t : own;
    }
    return t;
}

/* The first alternative of "a|b" that is present. *which receives it (or the first one). */
static const ck_tensor *find_any(nn_loader *ld, const char *names, const char *suffix,
                                 mltf_str *which)
{
    const char *p = names;
    mltf_str first = {NULL, 0};
    for (;;) {
        const char *bar = strchr(p, '|');
        const mltf_str one = {p, bar ? (size_t)(bar - p) : strlen(p)};
        if (!first.p) first = one;
        const ck_tensor *t = find_one(ld, one, suffix);
        if (t) {
            if (which) *which = one;
            return t;
        }
        if (!bar) break;
        p = bar + 1;
    }
    if (which) *which = first;
    return NULL;
}

static void report_missing(nn_loader *ld, mltf_str name, const char *suffix)
{
    if (ld->n_missing < 8)
        buf_printf(&ld->missing, "%s\"%s%s" STR_FMT "%s\"", ld->n_missing ? ", " : "", ld->root,
                   ld->scope, STR_ARG(name), suffix);
    ld->n_missing++;
}

bool nn_load_has(nn_loader *ld, const char *name)
{
    char full[NAME_MAX_BYTES];
    const int n = snprintf(full, sizeof full, "%s%s%s", ld->root, ld->scope, name);
    return n > 0 && (size_t)n < sizeof full && checkpoint_find(ld->ck, full);
}

/* ------------------------------------------------------------------ shapes */

static void print_shape(mltf_buf *b, const size_t *shape, size_t n)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < n; i++) buf_printf(b, "%s%zu", i ? ", " : "", shape[i]);
    buf_putc(b, ']');
}

static bool check_shape(nn_loader *ld, const ck_tensor *t, const size_t *want, size_t n)
{
    bool same = t->ndim == n;
    for (size_t i = 0; same && i < n; i++) same = t->shape[i] == want[i];
    if (same || !ok(ld)) return same;
    mltf_buf b = {.max = 1024};
    print_shape(&b, t->shape, t->ndim);
    buf_puts(&b, ", expected ");
    print_shape(&b, want, n);
    mltf_fail(&ld->err, MLTF_CORRUPT_FILE, "tensor \"%s\" has shape %s", t->name, b.p ? b.p : "");
    mltf_buf_release(&b);
    return false;
}

static bool is_float(mltf_dtype t)
{
    return t == DT_F32 || t == DT_BF16 || t == DT_F16 || t == DT_F64 || t == DT_F8_E4M3 ||
           t == DT_F8_E5M2;
}

static bool check_float(nn_loader *ld, const ck_tensor *t)
{
    if (is_float(t->dtype)) return true;
    if (ok(ld))
        mltf_fail(&ld->err, MLTF_UNSUPPORTED,
                  "tensor \"%s\" holds %s, not floats: quantized checkpoints of this kind are not "
                  "supported",
                  t->name, dtype_name(t->dtype));
    return false;
}

/* ------------------------------------------------------------------ conversion */

/* n elements of any float type to f32. */
static void to_f32(float *y, const void *x, mltf_dtype t, size_t n)
{
    if (t == DT_F64) {
        for (size_t i = 0; i < n; i++) {
            double d;
            memcpy(&d, (const char *)x + i * sizeof d, sizeof d);
            y[i] = (float)d;
        }
    } else {
        kernels()->widen(y, x, t, n);
    }
}

/* Values are what torch would hold after .to(target): rounded once, kept as f32. */
static void round_to(float *y, mltf_dtype target, size_t n)
{
    if (target == DT_BF16)
        for (size_t i = 0; i < n; i++) y[i] = bf16_to_f32(f32_to_bf16(y[i]));
    if (target == DT_F16)
        for (size_t i = 0; i < n; i++) y[i] = f16_to_f32(f32_to_f16(y[i]));
}

/* In which type a matrix stored as `t` is kept. */
static mltf_dtype kept_dtype(const nn_loader *ld, mltf_dtype t)
{
    if (ld->target == DT_BF16 || ld->target == DT_F16) return ld->target;
    return t == DT_BF16 || t == DT_F16 ? t : DT_F32;
}

typedef struct {
    const char *src;
    mltf_dtype from, to;
    char *dst;
    size_t N, K; // of the result
    bool transpose;
    const nn_packed_matrix *packed; // instead of src
    float *rows;                    // [workers][K]
    mltf_dtype round;
} convert_job;

static void convert_piece(void *arg, size_t first, size_t last, int worker)
{
    const convert_job *j = arg;
    float *row = j->rows + (size_t)worker * j->K;
    const size_t es = dtype_size(j->from);
    for (size_t n = first; n < last; n++) {
        char *out = j->dst + n * quant_bytes(j->to, j->K);
        if (j->packed && j->packed->exact == j->to) {
            nn_packed_raw(j->packed, n, out);
            continue;
        }
        if (j->packed)
            nn_packed_row(j->packed, n, row);
        else if (j->transpose)
            for (size_t k = 0; k < j->K; k++)
                to_f32(row + k, j->src + (k * j->N + n) * es, j->from, 1);
        else
            to_f32(row, j->src + n * j->K * es, j->from, j->K);
        round_to(row, j->round, j->K);
        if (j->to == DT_Q8 || j->to == DT_Q4)
            quant_row(out, j->to, row, DT_F32, j->K);
        else
            kernels()->narrow(out, row, j->to, j->K);
    }
}

/* A plain transposition of 2- or 4-byte elements, in tiles that fit the first cache. */
static void transpose_piece(void *arg, size_t first, size_t last, int worker)
{
    (void)worker;
    enum { TILE = 32 };
    const convert_job *j = arg;
    const size_t es = dtype_size(j->from);
    for (size_t b = first; b < last; b++)
        for (size_t k0 = 0; k0 < j->K; k0 += TILE)
            for (size_t n = b * TILE; n < (b + 1) * TILE && n < j->N; n++)
                for (size_t k = k0; k < k0 + TILE && k < j->K; k++)
                    memcpy(j->dst + (n * j->K + k) * es, j->src + (k * j->N + n) * es, es);
}

/* Fill w, whose type and size are known, with an own copy by way of j. */
static void convert(nn_loader *ld, k_weight *w, convert_job *j)
{
    if (ld->check_only) {
        w->data = ld; // there, and never read
        return;
    }
    size_t bytes;
    char *dst = NULL;
    if (checked_mul(&bytes, w->N, quant_bytes(w->dtype, w->K))) dst = arena_alloc(ld->own, bytes);
    w->data = dst;
    j->dst = dst;
    j->to = w->dtype;
    j->N = w->N;
    j->K = w->K;
    if (dst && !j->packed && j->to == j->from) {
        pool_for(ld->pool, (j->N + 31) / 32, 4, transpose_piece, j);
        return;
    }
    if (dst) j->rows = malloc(((size_t)pool_threads(ld->pool) * j->K + 1) * sizeof *j->rows);
    if (!j->rows) {
        no_memory(ld);
        return;
    }
    pool_for(ld->pool, j->N, 16, convert_piece, j);
    free(j->rows);
}

/* Fill w from N x K elements (stored [K, N] if transpose) that lie at data. */
static void take_matrix(nn_loader *ld, k_weight *w, const void *data, mltf_dtype from, size_t N,
                        size_t K, bool transpose, unsigned flags, bool embedding)
{
    mltf_dtype to = kept_dtype(ld, from);
    const bool exact_f8 = from == DT_F8_E4M3 && ld->target == DT_COUNT && !transpose;
    if (exact_f8) to = from;
    const mltf_dtype plain = to;
    if (ld->quantize != DT_COUNT && !(flags & NN_KEEP_FLOAT) && K % QUANT_GROUP == 0)
        to = embedding ? DT_Q8 : ld->quantize; // a tied output layer reads the table at each token
    *w = (k_weight){.data = data, .dtype = to, .N = N, .K = K, .stride = K};
    if (to == from && !transpose) return;
    convert_job j = {.src = data, .from = from, .transpose = transpose};
    j.round = to == plain || exact_f8 ? DT_F32 : plain;
    convert(ld, w, &j);
}

/* Fill w from weights that a quantization library packed; m is released. */
static void take_packed(nn_loader *ld, k_weight *w, nn_packed_matrix *m, unsigned flags)
{
    const mltf_dtype plain = kept_dtype(ld, m->dtype);
    mltf_dtype to = plain;
    if (ld->quantize != DT_COUNT && !(flags & NN_KEEP_FLOAT) && m->K % QUANT_GROUP == 0)
        to = ld->quantize;
    *w = (k_weight){.dtype = to, .N = m->N, .K = m->K, .stride = m->K};
    convert_job j = {.packed = m, .round = to == plain ? DT_F32 : plain};
    convert(ld, w, &j);
    ld->unpacked += m->N * m->K;
    nn_packed_release(m);
}

/* A vector in f32: in place where it is one already and aligned. */
static const float *take_vector(nn_loader *ld, const ck_tensor *t)
{
    if (!check_float(ld, t)) return NULL;
    const bool rounds = ld->target == DT_BF16 || ld->target == DT_F16;
    if (t->dtype == DT_F32 && !rounds && (uintptr_t)t->data % sizeof(float) == 0) return t->data;
    float *y = arena_f32(ld->own, 1, t->count);
    if (!y) {
        no_memory(ld);
        return NULL;
    }
    to_f32(y, t->data, t->dtype, t->count);
    if (t->dtype != ld->target) round_to(y, ld->target, t->count);
    return y;
}

/* ------------------------------------------------------------------ weight norm */

/* weight = g v / |v|, the norm over all dimensions but the one where g is longer than one. */
static const ck_tensor *fold_weight_norm(nn_loader *ld, mltf_str name)
{
    const ck_tensor *g = find_one(ld, name, ".weight_g"), *v = find_one(ld, name, ".weight_v");
    if (!g || !v) {
        g = find_one(ld, name, ".parametrizations.weight.original0");
        v = find_one(ld, name, ".parametrizations.weight.original1");
    }
    if (!g || !v || g->ndim != v->ndim || v->count == 0 || !check_float(ld, g) ||
        !check_float(ld, v))
        return NULL;
    size_t dim = 0;
    for (size_t i = 0; i < g->ndim; i++) {
        if (g->shape[i] != 1) dim = i;
        if (g->shape[i] != 1 && g->shape[i] != v->shape[i]) return NULL;
    }
    if (g->count != g->shape[dim]) return NULL;
    ck_tensor *t = arena_alloc(ld->own, sizeof *t);
    float *w = arena_f32(ld->own, 1, v->count), *scale = arena_f32(ld->own, 1, v->shape[dim]);
    if (!t || !w || !scale) {
        no_memory(ld);
        return NULL;
    }
    to_f32(w, v->data, v->dtype, v->count);
    size_t inner = 1;
    for (size_t i = dim + 1; i < v->ndim; i++) inner *= v->shape[i];
    const size_t n = v->shape[dim];
    for (size_t c = 0; c < n; c++) {
        double sum = 0;
        for (size_t o = 0; o < v->count / (n * inner); o++)
            for (size_t i = 0; i < inner; i++) {
                const double x = w[(o * n + c) * inner + i];
                sum += x * x;
            }
        float gain;
        to_f32(&gain, (const char *)g->data + (g->count == 1 ? 0 : c) * dtype_size(g->dtype),
               g->dtype, 1);
        scale[c] = gain / (float)sqrt(sum);
    }
    for (size_t i = 0; i < v->count; i++) w[i] *= scale[i / inner % n];
    *t = *v;
    t->dtype = DT_F32;
    t->data = w;
    t->bytes = v->count * sizeof *w;
    return t;
}

/* ------------------------------------------------------------------ the lines of a load function */

static void load_bias(nn_loader *ld, nn_linear_w *w, mltf_str name, const char *suffix, size_t N,
                      unsigned flags)
{
    if (!(flags & (NN_BIAS | NN_BIAS_IF_THERE))) return;
    const ck_tensor *b = find_one(ld, name, suffix);
    if (b && check_shape(ld, b, &N, 1))
        w->bias = take_vector(ld, b);
    else if (!b && !(flags & NN_BIAS_IF_THERE))
        report_missing(ld, name, suffix);
}

static void set_compute(const nn_loader *ld, nn_linear_w *w, unsigned flags)
{
    w->compute = flags & NN_KEEP_FLOAT ? K_COMPUTE_F32 : ld->compute;
}

/* A packed matrix must be [N, K], 0: any. */
static bool fits(nn_loader *ld, mltf_str name, nn_packed_matrix *m, size_t N, size_t K)
{
    if (ok(ld) && (!N || m->N == N) && (!K || m->K == K)) return true;
    if (ok(ld))
        mltf_fail(&ld->err, MLTF_CORRUPT_FILE,
                  "the packed weights of \"%s" STR_FMT "\" have shape [%zu, %zu], expected "
                  "[%zu, %zu]",
                  ld->scope, STR_ARG(name), m->N, m->K, N, K);
    nn_packed_release(m);
    return false;
}

/* The layer in its packed form, under the first of the names that has one. False: none has. */
static bool load_packed(nn_loader *ld, nn_linear_w *w, const char *names, size_t N, size_t K,
                        unsigned flags, mltf_str *found)
{
    if (ld->packed.scheme == PACKED_NONE) return false;
    for (const char *p = names, *bar; p; p = bar ? bar + 1 : NULL) {
        bar = strchr(p, '|');
        *found = (mltf_str){p, bar ? (size_t)(bar - p) : strlen(p)};
        nn_packed_matrix m;
        const bool there = nn_packed_find(ld, *found, &m);
        if (there && fits(ld, *found, &m, N, K)) take_packed(ld, &w->w, &m, flags);
        if (there) return true;
        nn_packed_release(&m);
        if (!ok(ld)) return true;
    }
    return false;
}

void nn_load_linear(nn_loader *ld, nn_linear_w *w, const char *name, size_t N, size_t K,
                    unsigned flags)
{
    *w = (nn_linear_w){0};
    if (!ok(ld)) return;
    mltf_str found;
    if (load_packed(ld, w, name, N, K, flags, &found)) {
        set_compute(ld, w, flags);
        load_bias(ld, w, found, ".bias", w->w.N, flags);
        if (ld->adapter) nn_adapter_attach(ld, w, found);
        return;
    }
    const ck_tensor *t = find_any(ld, name, ".weight", &found);
    if (!t) t = fold_weight_norm(ld, found);
    if (!t) {
        if (!(flags & NN_OPTIONAL)) report_missing(ld, found, ".weight");
        return;
    }
    const bool conv = flags & NN_CONV1D;
    if (t->ndim >= 2) {
        size_t rest = 1;
        for (size_t i = 1; i < t->ndim; i++) rest *= t->shape[i];
        if (!N) N = conv ? rest : t->shape[0];
        if (!K) K = conv ? t->shape[0] : rest;
    }
    // a convolution of width 1 is a linear layer with dimensions of one behind
    ck_tensor flat = *t;
    while (flat.ndim > 2 && flat.shape[flat.ndim - 1] == 1) flat.ndim--;
    if (!check_float(ld, t) || !check_shape(ld, &flat, (size_t[]){conv ? K : N, conv ? N : K}, 2))
        return;
    take_matrix(ld, &w->w, t->data, t->dtype, N, K, conv, flags, false);
    if (!conv && t->ndim == 2 && K % QUANT_GROUP == 0 && !(flags & (NN_KEEP_FLOAT | NN_OPTIONAL)))
        mark_used(ld->ck, ld->used, t->name, 3);
    set_compute(ld, w, flags);
    load_bias(ld, w, found, ".bias", N, flags);
    if (ld->adapter) nn_adapter_attach(ld, w, found);
}

void nn_load_gate_up(nn_loader *ld, nn_mlp_w *m, const char *name, size_t F, size_t K,
                     unsigned flags)
{
    nn_linear_w both;
    nn_load_linear(ld, &both, name, 2 * F, K, flags);
    m->gate = nn_linear_rows(&both, 0, F);
    m->up = nn_linear_rows(&both, F, F);
}

void nn_load_matrix(nn_loader *ld, nn_linear_w *w, const char *name, const char *bias, size_t N,
                    size_t K, unsigned flags)
{
    *w = (nn_linear_w){0};
    if (!ok(ld)) return;
    mltf_str found;
    const ck_tensor *t = find_any(ld, name, "", &found);
    if (!t) {
        if (!(flags & NN_OPTIONAL)) report_missing(ld, found, "");
        return;
    }
    const bool conv = flags & NN_CONV1D;
    const size_t rows = conv ? K : N, cols = conv ? N : K;
    const bool by_head = t->ndim == 3 && t->shape[0] == rows && t->shape[1] * t->shape[2] == cols;
    if (!check_float(ld, t) || (!by_head && !check_shape(ld, t, (size_t[]){rows, cols}, 2))) return;
    take_matrix(ld, &w->w, t->data, t->dtype, N, K, conv, flags, false);
    set_compute(ld, w, flags);
    if (bias) load_bias(ld, w, str_from(bias), "", N, flags);
}

static void load_stacked_bias(nn_loader *ld, nn_linear_w *w, const char *bias, size_t i, size_t E,
                              size_t N, unsigned flags)
{
    if (!bias) return;
    const ck_tensor *b = find_one(ld, str_from(bias), "");
    if (!b) {
        if (i == 0 && flags & NN_BIAS) report_missing(ld, str_from(bias), "");
        return;
    }
    if (!check_shape(ld, b, (size_t[]){E, N}, 2)) return;
    ck_tensor slice = *b;
    slice.data = (const char *)b->data + i * N * dtype_size(b->dtype);
    slice.count = N;
    w->bias = take_vector(ld, &slice);
}

void nn_load_stacked(nn_loader *ld, nn_linear_w *w, const char *name, const char *bias, size_t i,
                     size_t E, size_t N, size_t K, unsigned flags)
{
    *w = (nn_linear_w){0};
    if (!ok(ld)) return;
    mltf_str found;
    nn_packed_matrix m;
    if (nn_packed_find_stacked(ld, str_from(name), i, E, &m)) {
        if (!fits(ld, str_from(name), &m, N, K)) return;
        take_packed(ld, &w->w, &m, flags);
        set_compute(ld, w, flags);
        load_stacked_bias(ld, w, bias, i, E, N, flags);
        return;
    }
    const ck_tensor *t = find_any(ld, name, "", &found);
    if (!t) {
        if (i == 0 && !(flags & NN_OPTIONAL)) report_missing(ld, found, "");
        return;
    }
    const bool conv = flags & NN_CONV1D;
    const size_t rows = conv ? K : N, cols = conv ? N : K;
    const bool flat = t->ndim == 2;
    if (!check_float(ld, t) ||
        !check_shape(ld, t, flat ? (size_t[]){E * rows, cols} : (size_t[]){E, rows, cols},
                     flat ? 2 : 3))
        return;
    take_matrix(ld, &w->w, (const char *)t->data + i * N * K * dtype_size(t->dtype), t->dtype, N, K,
                conv, flags, false);
    set_compute(ld, w, flags);
    load_stacked_bias(ld, w, bias, i, E, N, flags);
}

void nn_load_embed(nn_loader *ld, nn_embed_w *w, const char *name, const char *what, size_t rows,
                   size_t width, unsigned flags)
{
    *w = (nn_embed_w){.what = what};
    if (!ok(ld)) return;
    mltf_str found;
    const ck_tensor *t = find_any(ld, name, ".weight", &found);
    if (!t) {
        if (!(flags & NN_OPTIONAL)) report_missing(ld, found, ".weight");
        return;
    }
    if (t->ndim == 2) {
        if (!rows) rows = t->shape[0];
        if (!width) width = t->shape[1];
    }
    if (!check_float(ld, t) || !check_shape(ld, t, (size_t[]){rows, width}, 2)) return;
    take_matrix(ld, &w->w, t->data, t->dtype, rows, width, false, flags, true);
    if (ld->adapter) nn_adapter_attach_embed(ld, w, found);
}

void nn_load_norm(nn_loader *ld, nn_norm_w *w, const char *name, nn_norm_kind kind, size_t n,
                  float eps, unsigned flags)
{
    *w = (nn_norm_w){.kind = NN_NORM_NONE, .n = n, .eps = eps};
    if (!ok(ld)) return;
    mltf_str found;
    const ck_tensor *t = find_any(ld, name, ".weight", &found);
    if (!t) {
        if (!(flags & NN_OPTIONAL)) report_missing(ld, found, ".weight");
        return;
    }
    if (!check_shape(ld, t, &n, 1)) return;
    w->kind = kind;
    w->weight = take_vector(ld, t);
    if (kind == NN_NORM_RMS) return;
    const ck_tensor *b = find_one(ld, found, ".bias");
    if (b && check_shape(ld, b, &n, 1)) w->bias = take_vector(ld, b);
    if (!b && flags & NN_BIAS) report_missing(ld, found, ".bias");
}

const float *nn_load_vector(nn_loader *ld, const char *name, size_t count, unsigned flags)
{
    if (!ok(ld)) return NULL;
    mltf_str found;
    const ck_tensor *t = find_any(ld, name, "", &found);
    if (!t) {
        if (!(flags & NN_OPTIONAL)) report_missing(ld, found, "");
        return NULL;
    }
    if (t->count != count) {
        check_shape(ld, t, &count, 1);
        return NULL;
    }
    return take_vector(ld, t);
}

float *nn_load_columns(nn_loader *ld, const char *name, size_t rows, size_t cols)
{
    const float *v = nn_load_vector(ld, name, rows * cols, 0);
    float *y = v ? arena_f32(ld->own, cols, rows) : NULL;
    if (v && !y) no_memory(ld);
    for (size_t i = 0; y && i < rows * cols; i++) y[i % cols * rows + i / cols] = v[i];
    return y;
}

void nn_load_convolution(nn_loader *ld, nn_linear_w *w, const char *name, size_t N, size_t K,
                         size_t width)
{
    char part[64];
    snprintf(part, sizeof part, "%sweight", name);
    const float *v = nn_load_vector(ld, part, N * K * width, 0);
    snprintf(part, sizeof part, "%sbias", name);
    *w = (nn_linear_w){.bias = nn_load_vector(ld, part, N, 0)};
    set_compute(ld, w, 0);
    float *y = v ? arena_f32(ld->own, N, width * K) : NULL;
    if (v && !y) no_memory(ld);
    for (size_t i = 0; y && i < N * K * width; i++) {
        const size_t n = i / (K * width), k = i / width % K, at = i % width;
        y[(n * width + at) * K + k] = v[i];
    }
    w->w = (k_weight){.data = y, .dtype = DT_F32, .N = N, .K = width * K, .stride = width * K};
}

static void reorder_vector(nn_loader *ld, const float **v, const size_t *row_of, size_t N)
{
    if (!*v) return;
    float *y = arena_f32(ld->own, 1, N);
    if (!y) no_memory(ld);
    for (size_t n = 0; y && n < N; n++) y[n] = (*v)[row_of[n]];
    *v = y;
}

void nn_load_reorder(nn_loader *ld, nn_linear_w *w, const size_t *row_of)
{
    if (!ok(ld) || !nn_has(w) || ld->check_only) return;
    const size_t bytes = quant_bytes(w->w.dtype, w->w.stride);
    char *rows = arena_alloc(ld->own, w->w.N * bytes);
    float *bias = w->bias ? arena_f32(ld->own, 1, w->w.N) : NULL;
    if (!rows || (w->bias && !bias)) {
        no_memory(ld);
        return;
    }
    for (size_t n = 0; n < w->w.N; n++) {
        memcpy(rows + n * bytes, (const char *)w->w.data + row_of[n] * bytes, bytes);
        if (bias) bias[n] = w->bias[row_of[n]];
    }
    w->w.data = rows;
    w->bias = bias;
    reorder_vector(ld, &w->gain, row_of, w->w.N);
    reorder_vector(ld, &w->gain_bias, row_of, w->w.N);
    if (!w->lora_b.data) return;
    float *b = arena_f32(ld->own, w->w.N, w->lora_b.K);
    for (size_t n = 0; b && n < w->w.N; n++)
        memcpy(b + n * w->lora_b.K, (const float *)w->lora_b.data + row_of[n] * w->lora_b.stride,
               w->lora_b.K * sizeof *b);
    if (!b) no_memory(ld);
    w->lora_b.data = b;
    w->lora_b.stride = w->lora_b.K;
}

void nn_load_scaled(nn_loader *ld, nn_linear_w *w, float in, const float *out)
{
    if (!ok(ld) || !nn_has(w)) return;
    const size_t N = w->w.N;
    const float *gain = w->gain, *bias = w->gain ? w->gain_bias : w->bias;
    float *g = arena_f32(ld->own, 1, N), *b = bias ? arena_f32(ld->own, 1, N) : NULL;
    if (!g || (bias && !b)) {
        no_memory(ld);
        return;
    }
    for (size_t n = 0; n < N; n++) g[n] = out[n] * in * (gain ? gain[n] : 1);
    for (size_t n = 0; b && n < N; n++) b[n] = out[n] * bias[n];
    w->gain = g;
    w->gain_bias = b;
    w->bias = NULL;
}

/* ------------------------------------------------------------------ end */

static bool ends_with_any(const char *name, const char *const *endings)
{
    for (; endings && *endings; endings++)
        if (str_ends(str_from(name), *endings)) return true;
    return false;
}

static bool inside(const nn_loader *ld, const char *name)
{
    const size_t nr = strlen(ld->root), nb = strlen(ld->base);
    if (strncmp(name, ld->root, nr)) return false;
    return nr || strncmp(name, ld->base, nb) == 0;
}

/* A stored name that ends with the first missing one: wrappers of torch put a prefix before all of them. */
static const char *with_prefix(const nn_loader *ld)
{
    const char *first = ld->missing.p ? ld->missing.p + 1 : ""; // behind its quote
    const size_t n = strcspn(first, "\"");
    for (size_t i = 0; n > 0 && i < checkpoint_count(ld->ck); i++) {
        const char *name = checkpoint_at(ld->ck, i)->name;
        const size_t len = strlen(name);
        if (len > n && name[len - n - 1] == '.' && memcmp(name + len - n, first, n) == 0)
            return name;
    }
    return NULL;
}

static mltf_status fail_missing(const nn_loader *ld, const char *what, mltf_err *err)
{
    const char *other = with_prefix(ld);
    return mltf_fail(err, MLTF_CORRUPT_FILE,
                     "the checkpoint lacks %zu tensor%s that %s needs: %s%s%s%s%s", ld->n_missing,
                     ld->n_missing == 1 ? "" : "s", what, ld->missing.p ? ld->missing.p : "",
                     ld->n_missing > 8 ? ", …" : "", other ? "; it has \"" : "", other ? other : "",
                     other ? "\", so names may have been saved with another prefix" : "");
}

mltf_status nn_load_finish(nn_loader *ld, const char *what, const char *const *ignorable,
                           const char **warning, mltf_err *err)
{
    *warning = NULL;
    if (!ok(ld)) {
        if (err) *err = ld->err;
        return ld->err.status;
    }
    if (ld->n_missing) return fail_missing(ld, what, err);
    if (ld->adapter) TRY(nn_adapter_finish(ld->adapter, what, err));
    mltf_buf b = {.max = 4096};
    size_t n = 0;
    for (size_t i = 0; i < checkpoint_count(ld->ck); i++) {
        const char *name = checkpoint_at(ld->ck, i)->name;
        if (ld->part && !inside(ld, name)) continue;
        if (ld->used[i] || ends_with_any(name, ignorable) || strstr(name, ".lora_") ||
            strstr(name, ".ia3_l"))
            continue;
        if (n < 8) buf_printf(&b, "%s\"%s\"", n ? ", " : "", name);
        n++;
    }
    if (n)
        *warning = arena_printf(ld->own, "%zu tensor%s of the checkpoint %s not used by %s: %s%s",
                                n, n == 1 ? "" : "s", n == 1 ? "is" : "are", what, b.p ? b.p : "",
                                n > 8 ? ", …" : "");
    mltf_buf_release(&b);
    return MLTF_OK;
}
