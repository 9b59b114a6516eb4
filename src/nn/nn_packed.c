/* Packed weights: which library, which tensors, and one row at a time as floats. */
#include "nn/nn_packed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/quantize.h"

enum { NAME_MAX_BYTES = 512 };

/* ------------------------------------------------------------------ quantization_config */

static mltf_status refuse(mltf_err *err, mltf_str method, const char *why)
{
    return mltf_fail(err, MLTF_UNSUPPORTED,
                     "the weights are quantized by \"" STR_FMT
                     "\" (quantization_config)%s, which is not supported: save the model "
                     "dequantized, and use --quantize int8 or int4 here",
                     STR_ARG(method), why);
}

static bool is_any(mltf_str s, const char *const *names)
{
    for (; *names; names++)
        if (str_is(s, *names)) return true;
    return false;
}

static mltf_status read_grid(nn_packed *p, const json *q, mltf_str method, mltf_err *err)
{
    const int64_t bits = json_int(json_get(q, "bits"), 4);
    const int64_t group = json_int(json_get(q, "group_size"), p->scheme == PACKED_AWQ ? 128 : -1);
    const bool known =
        bits == 4 || (p->scheme == PACKED_GPTQ && (bits == 2 || bits == 3 || bits == 8));
    if (!known) return refuse(err, method, " with such a number of bits");
    p->bits = (unsigned)bits;
    p->group = group > 0 ? (size_t)group : 0;
    // rules of GPTQModel and of auto-round; what they come to, each layer's tensors say
    p->own_sizes = json_len(json_get(q, "dynamic")) || json_len(json_get(q, "extra_config"));
    return MLTF_OK;
}

/* auto-round writes the form of one of the others; its own is that of gptq_v2. */
static void read_auto_round(nn_packed *p, const json *q)
{
    const mltf_str form = json_string(json_get(q, "packing_format"), STR(""));
    p->zero_as_is = is_any(form, (const char *const[]){"auto_round", "auto_round:gptqmodel", NULL});
    if (p->zero_as_is ||
        is_any(form, (const char *const[]){"auto_round:auto_gptq", "auto_gptq", NULL}))
        p->scheme = PACKED_GPTQ;
    if (is_any(form, (const char *const[]){"auto_round:auto_awq", "auto_awq", NULL}))
        p->scheme = PACKED_AWQ;
}

static void read_block(nn_packed *p, const json *pair, size_t fallback)
{
    for (size_t i = 0; i < 2 && (fallback || json_len(pair) == 2); i++) {
        const int64_t n = json_int(json_at(pair, i), 0);
        p->block[i] = n > 0 ? (size_t)n : fallback;
    }
    if (!p->block[1]) p->block[0] = 0;
}

/* compressed-tensors: the format of all layers, or of one group of them. */
static mltf_status check_format(const json *format, mltf_str method, mltf_err *err)
{
    static const char *const known[] = {"pack-quantized",
                                        "int-quantized",
                                        "float-quantized",
                                        "naive-quantized",
                                        "mixed-precision",
                                        "dense",
                                        "",
                                        NULL};
    const mltf_str name = json_string(format, STR(""));
    if (is_any(name, known)) return MLTF_OK;
    char why[96];
    snprintf(why, sizeof why, " in the format \"%.*s\"", (int)(name.n < 64 ? name.n : 64), name.p);
    return refuse(err, method, why);
}

/* The first group of config_groups tells the usual width; any group may have blocks, and its own format. */
static mltf_status read_groups(nn_packed *p, const json *groups, mltf_str method, mltf_err *err)
{
    for (size_t i = 0; json_is(groups, JSON_OBJECT) && i < json_len(groups); i++) {
        const json *group = &groups->o.members[i].value, *w = json_get(group, "weights");
        TRY(check_format(json_get(group, "format"), method, err));
        const int64_t bits = json_int(json_get(w, "num_bits"), 0);
        if (!p->bits && bits >= 1 && bits <= 8) p->bits = (unsigned)bits;
        read_block(p, json_get(w, "block_structure"), 0);
    }
    return MLTF_OK;
}

mltf_status nn_packed_init(nn_packed *p, const json *q, mltf_dtype dtype, mltf_err *err)
{
    static const struct {
        const char *method;
        packed_scheme scheme;
    } methods[] = {{"gptq", PACKED_GPTQ},        {"awq", PACKED_AWQ},
                   {"bitsandbytes", PACKED_BNB}, {"compressed-tensors", PACKED_COMPRESSED},
                   {"fp8", PACKED_FP8},          {"fbgemm_fp8", PACKED_FP8},
                   {"mxfp4", PACKED_MXFP4}};
    *p = (nn_packed){.dtype = dtype, .exact = DT_COUNT};
    if (!json_is(q, JSON_OBJECT)) return MLTF_OK;
    const mltf_str method = json_string(json_get(q, "quant_method"), STR("unknown"));
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (str_is(method, methods[i].method)) p->scheme = methods[i].scheme;
    if (str_is(method, "auto-round")) read_auto_round(p, q);
    const mltf_str version = json_string(json_get(q, "version"), STR("gemm"));
    const mltf_str form = json_string(json_get(q, "checkpoint_format"), STR("gptq"));
    switch (p->scheme) {
    case PACKED_NONE:
        return refuse(err, method, "");
    case PACKED_GPTQ:
        p->zero_as_is |= str_is(form, "gptq_v2");
        if (!p->zero_as_is && !str_is(form, "gptq")) return refuse(err, method, " for marlin");
        return read_grid(p, q, method, err);
    case PACKED_AWQ:
        if (!is_any(version, (const char *const[]){"gemm", "GEMM", "exllama", "ipex", NULL}) &&
            str_is(method, "awq"))
            return refuse(err, method, " in another version than gemm");
        return read_grid(p, q, method, err);
    case PACKED_COMPRESSED:
        TRY(check_format(json_get(q, "format"), method, err));
        TRY(check_format(json_get(json_get(q, "sparsity_config"), "format"), method, err));
        TRY(read_groups(p, json_get(q, "config_groups"), method, err));
        if (str_is(json_string(json_get(q, "mltf_quantize"), STR("")), "int8")) p->exact = DT_Q8;
        if (str_is(json_string(json_get(q, "mltf_quantize"), STR("")), "int4")) p->exact = DT_Q4;
        return MLTF_OK;
    case PACKED_FP8:
        read_block(p, json_get(q, "weight_block_size"), 128);
        return MLTF_OK;
    case PACKED_BNB:
    case PACKED_MXFP4:
        break;
    }
    return MLTF_OK;
}

/* ------------------------------------------------------------------ tensors of a layer */

/* root + scope + name + suffix, marked as used; NULL if absent. */
static const ck_tensor *part(nn_loader *ld, mltf_str name, const char *suffix)
{
    char full[NAME_MAX_BYTES];
    const int n = snprintf(full, sizeof full, "%s%s" STR_FMT "%s", ld->root, ld->scope,
                           STR_ARG(name), suffix);
    if (n < 0 || (size_t)n >= sizeof full) return NULL;
    return nn_load_mark_packed(ld, full);
}

static bool bad(nn_loader *ld, const ck_tensor *t, const char *why)
{
    if (!ld->err.status)
        mltf_fail(&ld->err, MLTF_CORRUPT_FILE, "tensor \"%s\" %s", t ? t->name : "?", why);
    return false;
}

static bool has_shape(const ck_tensor *t, mltf_dtype type, size_t ndim, size_t a, size_t b)
{
    return t->dtype == type && t->ndim == ndim && t->shape[0] == a &&
           (ndim < 2 || t->shape[1] == b);
}

static float *floats_of(nn_loader *ld, const ck_tensor *t)
{
    static const char *const unit = "must hold floats";
    if (t->dtype != DT_F32 && t->dtype != DT_BF16 && t->dtype != DT_F16) {
        bad(ld, t, unit);
        return NULL;
    }
    float *y = malloc((t->count + 1) * sizeof *y);
    if (!y)
        mltf_fail_memory(&ld->err);
    else
        kernels()->widen(y, t->data, t->dtype, t->count);
    return y;
}

static mltf_dtype value_type(const nn_packed *p, const ck_tensor *scales)
{
    if (p->unrounded) return DT_F32;
    return scales->dtype == DT_BF16 || scales->dtype == DT_F16 ? scales->dtype : p->dtype;
}

static uint32_t word(const void *p, size_t i)
{
    uint32_t w;
    memcpy(&w, (const char *)p + 4 * i, sizeof w);
    return w;
}

/* b bits from bit `at` of the line of words w[0], w[ld], w[2 ld] …; nothing is read behind the last bit. */
static unsigned bits_at(const void *w, size_t ld, size_t at, unsigned b)
{
    const size_t i = at / 32, shift = at % 32;
    uint64_t x = word(w, i * ld) >> shift;
    if (shift + b > 32) x |= (uint64_t)word(w, (i + 1) * ld) << (32 - shift);
    return (unsigned)(x & ((1u << b) - 1));
}

/* ------------------------------------------------------------------ gptq and awq */

static void gptq_codes(const nn_packed_matrix *m, size_t n, float *y)
{
    for (size_t k = 0; k < m->K; k++)
        y[k] = (float)bits_at(m->q + 4 * n, m->N, k * m->bits, m->bits);
}

/* Where column n of eight lies in its word. */
static unsigned awq_shift(size_t n)
{
    static const uint8_t place[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    return 4u * place[n % 8];
}

static void awq_codes(const nn_packed_matrix *m, size_t n, float *y)
{
    for (size_t k = 0; k < m->K; k++)
        y[k] = (float)(word(m->q, k * (m->N / 8) + n / 8) >> awq_shift(n) & 15);
}

static bool read_g_idx(nn_loader *ld, const ck_tensor *t, nn_packed_matrix *m, size_t groups)
{
    if (!has_shape(t, DT_I32, 1, m->K, 0)) return bad(ld, t, "must hold one int32 for each input");
    m->group_of = malloc((m->K + 1) * sizeof *m->group_of);
    if (!m->group_of) {
        mltf_fail_memory(&ld->err);
        return false;
    }
    bool all_unset = true;
    for (size_t k = 0; k < m->K; k++) {
        m->group_of[k] = word(t->data, k);
        all_unset = all_unset && m->group_of[k] == UINT32_MAX;
    }
    if (all_unset) { // compressed-tensors writes -1 where the order is the usual one
        free(m->group_of);
        m->group_of = NULL;
        return true;
    }
    for (size_t k = 0; k < m->K; k++)
        if (m->group_of[k] >= groups) return bad(ld, t, "names a group that does not exist");
    return true;
}

/* How many bits a number of this layer has: the zeros are [G, N bits/32]. */
static unsigned grid_bits(const nn_packed *p, const ck_tensor *zeros, size_t N)
{
    static const unsigned known[] = {2, 3, 4, 8};
    for (size_t i = 0; p->own_sizes && i < sizeof known / sizeof *known; i++)
        if (zeros->ndim == 2 && zeros->shape[1] * 32 == N * known[i]) return known[i];
    return p->bits;
}

/* GPTQ's and AWQ's three tensors. */
static bool find_grid(nn_loader *ld, mltf_str name, nn_packed_matrix *m)
{
    const nn_packed *p = &ld->packed;
    const bool awq = p->scheme == PACKED_AWQ;
    const ck_tensor *q = part(ld, name, ".qweight");
    if (!q) return false;
    const ck_tensor *zeros = part(ld, name, ".qzeros"), *scales = part(ld, name, ".scales");
    const ck_tensor *order = awq ? NULL : part(ld, name, ".g_idx");
    if (!zeros || !scales) return bad(ld, q, "has no qzeros and scales beside it");
    if (q->dtype != DT_I32 || q->ndim != 2 || scales->ndim != 2 || scales->shape[0] == 0)
        return bad(ld, q, "is not packed as its quantization_config says");
    const size_t G = scales->shape[0], N = scales->shape[1];
    const unsigned bits = awq ? 4 : grid_bits(p, zeros, N);
    m->N = N;
    m->K = awq ? q->shape[0] : q->shape[0] * 32 / bits;
    if ((awq && N % 8) || q->shape[1] != (awq ? N / 8 : N) || (q->shape[0] * 32) % bits ||
        !has_shape(zeros, DT_I32, 2, G, N * bits / 32) || N * bits % 32 || m->K == 0)
        return bad(ld, q, "and its zeros and scales do not fit each other");
    m->q = q->data;
    m->bits = bits;
    m->codes = awq ? awq_codes : gptq_codes;
    m->dtype = value_type(p, scales);
    m->group = p->group ? p->group : m->K;
    if (p->own_sizes && m->K % G == 0) m->group = m->K / G; // this layer's own
    m->ld_row = 1;
    m->ld_group = N;
    if (order && !read_g_idx(ld, order, m, G)) return false;
    if (!m->group_of && (m->K + m->group - 1) / m->group > G)
        return bad(ld, scales, "has fewer rows than there are groups");
    m->scale = floats_of(ld, scales);
    m->zero = malloc((G * N + 1) * sizeof *m->zero);
    if (!m->scale || !m->zero) {
        if (!ld->err.status) mltf_fail_memory(&ld->err);
        return false;
    }
    const unsigned mask = (1u << bits) - 1;
    for (size_t g = 0; g < G; g++)
        for (size_t n = 0; n < N; n++) {
            const char *row = (const char *)zeros->data + 4 * g * (N * bits / 32);
            unsigned z =
                awq ? word(row, n / 8) >> awq_shift(n) & 15 : bits_at(row, 1, n * bits, bits);
            if (!awq && !p->zero_as_is) z = (z + 1) & mask;
            m->zero[g * N + n] = (float)z;
        }
    return true;
}

/* ------------------------------------------------------------------ plain numbers, two in a byte, many in a word */

static void number_codes(const nn_packed_matrix *m, size_t n, float *y)
{
    const uint8_t *row = m->q + n * m->K;
    if (m->q_type == DT_I8)
        for (size_t k = 0; k < m->K; k++) y[k] = (float)(int8_t)row[k];
    else
        kernels()->widen(y, row, m->q_type, m->K);
}

/* compressed-tensors: a line of bits each row, offset so that no number is negative. */
static void word_codes(const nn_packed_matrix *m, size_t n, float *y)
{
    const uint8_t *row = m->q + 4 * n * ((m->K * m->bits + 31) / 32);
    const float offset = (float)(1u << (m->bits - 1));
    for (size_t k = 0; k < m->K; k++) y[k] = (float)bits_at(row, 1, k * m->bits, m->bits) - offset;
}

static void high_first_codes(const nn_packed_matrix *m, size_t n, float *y)
{
    for (size_t k = 0; k < m->K; k++) {
        const size_t at = n * m->K + k;
        y[k] = m->map[at % 2 ? m->q[at / 2] & 15 : m->q[at / 2] >> 4];
    }
}

static void low_first_codes(const nn_packed_matrix *m, size_t n, float *y)
{
    const uint8_t *row = m->q + n * (m->K / 2);
    for (size_t k = 0; k < m->K; k++) y[k] = m->map[k % 2 ? row[k / 2] >> 4 : row[k / 2] & 15];
}

/* ------------------------------------------------------------------ bitsandbytes */

/* absmax of each block, from its uint8 form where it was quantized as well. */
static bool read_absmax(nn_loader *ld, mltf_str name, const json *state, nn_packed_matrix *m,
                        size_t blocks)
{
    const ck_tensor *absmax = part(ld, name, ".weight.absmax");
    const ck_tensor *nested = part(ld, name, ".weight.nested_absmax"),
                    *map = part(ld, name, ".weight.nested_quant_map");
    if (!absmax || absmax->count < blocks) return bad(ld, absmax, "does not cover its weight");
    if (!nested) {
        m->scale = floats_of(ld, absmax);
        return m->scale != NULL;
    }
    const int64_t size = json_int(json_get(state, "nested_blocksize"), 256);
    const float offset = (float)json_double(json_get(state, "nested_offset"), 0);
    if (absmax->dtype != DT_U8 || !map || map->count != 256 || size < 1 ||
        nested->count < (absmax->count + (size_t)size - 1) / (size_t)size)
        return bad(ld, absmax, "and its nested statistics do not fit each other");
    float *table = floats_of(ld, map), *outer = floats_of(ld, nested);
    m->scale = malloc((absmax->count + 1) * sizeof *m->scale);
    const uint8_t *code = absmax->data;
    for (size_t i = 0; table && outer && m->scale && i < absmax->count; i++)
        m->scale[i] = table[code[i]] * outer[i / (size_t)size] + offset;
    if (!m->scale && !ld->err.status) mltf_fail_memory(&ld->err);
    free(table);
    free(outer);
    return ld->err.status == MLTF_OK;
}

static bool read_nibbles(nn_loader *ld, mltf_str name, const ck_tensor *w, const ck_tensor *map,
                         const json *state, nn_packed_matrix *m)
{
    const json *shape = json_get(state, "shape");
    const int64_t N = json_int(json_at(shape, 0), 0), K = json_int(json_at(shape, 1), 0);
    const int64_t size = json_int(json_get(state, "blocksize"), 64);
    const mltf_str dtype = json_string(json_get(state, "dtype"), STR(""));
    size_t count;
    if (N < 1 || K < 1 || size < 1 || json_len(shape) != 2 ||
        __builtin_mul_overflow((size_t)N, (size_t)K, &count) || w->bytes != count / 2 + count % 2 ||
        !map || map->count != 16)
        return bad(ld, w, "and its quant_state do not fit each other");
    m->N = (size_t)N;
    m->K = (size_t)K;
    m->q = w->data;
    m->codes = high_first_codes;
    m->flat = (size_t)size;
    m->dtype = str_is(dtype, "bfloat16") ? DT_BF16 : str_is(dtype, "float16") ? DT_F16 : DT_F32;
    float *table = floats_of(ld, map);
    if (!table) return false;
    memcpy(m->map, table, sizeof m->map);
    free(table);
    return read_absmax(ld, name, state, m, (count + m->flat - 1) / m->flat);
}

static bool find_bnb(nn_loader *ld, mltf_str name, nn_packed_matrix *m)
{
    const ck_tensor *state = part(ld, name, ".weight.quant_state.bitsandbytes__nf4");
    if (!state) state = part(ld, name, ".weight.quant_state.bitsandbytes__fp4");
    const ck_tensor *w = part(ld, name, ".weight"), *scb = state ? NULL : part(ld, name, ".SCB");
    if (!state && scb) {
        part(ld, name, ".weight_format");
        if (!w || w->dtype != DT_I8 || w->ndim != 2 || scb->count != w->shape[0])
            return bad(ld, scb, "does not fit its weight");
        m->N = w->shape[0];
        m->K = w->shape[1];
        m->q = w->data;
        m->q_type = DT_I8;
        m->codes = number_codes;
        m->group = m->K;
        m->ld_row = 1;
        m->after = 7.874015718698502e-3f; // 1/127
        m->scale = floats_of(ld, scb);
        return m->scale != NULL;
    }
    if (!state) return false;
    const ck_tensor *map = part(ld, name, ".weight.quant_map");
    json_doc doc = {0};
    mltf_err err = {0};
    if (!w || state->dtype != DT_U8 || json_parse(&doc, state->data, state->count, NULL, &err)) {
        json_doc_release(&doc);
        return bad(ld, state, "does not describe a weight");
    }
    const bool ok = read_nibbles(ld, name, w, map, doc.root, m);
    json_doc_release(&doc);
    return ok;
}

/* ------------------------------------------------------------------ compressed-tensors, fp8 */

/* Which rows and columns share a number of t: one for all, [N], [N, 1], [N, G], or the blocks of the config. */
static bool read_layout(nn_loader *ld, const ck_tensor *t, nn_packed_matrix *m)
{
    const size_t rows = t->count == 1 ? 1 : t->shape[0], cols = t->ndim > 1 ? t->shape[1] : 1;
    const size_t *block = ld->packed.block;
    if (t->count == 0 || t->ndim > 2 || rows > m->N || cols > m->K || rows * cols != t->count)
        return bad(ld, t, "does not fit its weight");
    const bool blocks = block[0] && t->ndim == 2 && rows == (m->N + block[0] - 1) / block[0] &&
                        cols == (m->K + block[1] - 1) / block[1];
    if (!blocks && rows != 1 && rows != m->N) return bad(ld, t, "does not fit its weight");
    m->row_block = blocks ? block[0] : (m->N + rows - 1) / rows;
    if (!m->group_of) m->group = blocks ? block[1] : (m->K + cols - 1) / cols;
    m->ld_row = cols;
    m->ld_group = 1;
    return true;
}

/* Zero points: int8 in the layout of the scales, or packed along the rows as the weights are. */
static bool read_zero_points(nn_loader *ld, const ck_tensor *t, const ck_tensor *scales,
                             nn_packed_matrix *m)
{
    const size_t cols = scales->ndim > 1 ? scales->shape[1] : 1, rows = scales->count / cols;
    const bool packed = m->bits && t->dtype == DT_I32;
    if (packed ? t->count != (rows * m->bits + 31) / 32 * cols
               : t->count != scales->count || t->dtype != DT_I8)
        return bad(ld, t, "does not fit the scales beside it");
    m->zero = malloc((scales->count + 1) * sizeof *m->zero);
    if (!m->zero) {
        mltf_fail_memory(&ld->err);
        return false;
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            m->zero[r * cols + c] =
                packed ? (float)bits_at((const char *)t->data + 4 * c, cols, r * m->bits, m->bits) -
                             (float)(1u << (m->bits - 1))
                       : (float)((const int8_t *)t->data)[r * cols + c];
    return true;
}

/* Is every number of it one that the engine's own groups hold (quantize.h)? True of what mltf convert wrote. */
static bool fits_exactly(const nn_packed *p, const nn_packed_matrix *m)
{
    const size_t n = m->N * (m->K / QUANT_GROUP);
    if (p->exact == DT_COUNT || m->bits != (p->exact == DT_Q8 ? 8 : 4) || m->K % QUANT_GROUP ||
        m->zero)
        return false;
    for (size_t i = 0; m->scale && i < n; i++)
        if (bf16_to_f32(f32_to_bf16(m->scale[i])) != m->scale[i]) return false;
    return m->scale != NULL;
}

static bool find_scaled(nn_loader *ld, mltf_str name, nn_packed_matrix *m)
{
    const nn_packed *p = &ld->packed;
    const ck_tensor *scales = part(ld, name, ".weight_scale");
    if (!scales) scales = part(ld, name, ".weight_scale_inv");
    if (!scales) return false;
    static const char *const of_activations[] = {".input_scale",    ".input_zero_point",
                                                 ".output_scale",   ".output_zero_point",
                                                 ".input_scale_ub", ".activation_scale"};
    for (size_t i = 0; i < sizeof of_activations / sizeof *of_activations; i++)
        part(ld, name, of_activations[i]);
    const ck_tensor *words = part(ld, name, ".weight_packed");
    const ck_tensor *w = words ? words : part(ld, name, ".weight");
    const ck_tensor *zeros = part(ld, name, ".weight_zero_point"),
                    *order = part(ld, name, ".weight_g_idx");
    if (!w || w->ndim != 2) return bad(ld, scales, "has no weight beside it");
    m->N = w->shape[0];
    m->K = w->shape[1];
    m->q = w->data;
    m->q_type = w->dtype;
    m->codes = number_codes;
    if (words) {
        const ck_tensor *shape = part(ld, name, ".weight_shape");
        int64_t N = 0, K = 0;
        if (shape && shape->dtype == DT_I64 && shape->count == 2) {
            memcpy(&N, shape->data, sizeof N);
            memcpy(&K, (const char *)shape->data + sizeof N, sizeof K);
        }
        // a layer may have another width than config.json's first group
        if (K > 0 && w->shape[1] == ((size_t)K * p->bits + 31) / 32) m->bits = p->bits;
        for (unsigned bits = 1; K > 0 && bits <= 8 && !m->bits; bits++)
            if (w->shape[1] == ((size_t)K * bits + 31) / 32) m->bits = bits;
        if (w->dtype != DT_I32 || N < 1 || (size_t)N != w->shape[0] || !m->bits)
            return bad(ld, w, "does not fit its weight_shape");
        m->K = (size_t)K;
        m->codes = word_codes;
    } else if (w->dtype != DT_I8 && w->dtype != DT_F8_E4M3 && w->dtype != DT_F8_E5M2) {
        return bad(ld, w, "has a scale, but is not quantized");
    }
    m->dtype = value_type(p, scales);
    const size_t groups = scales->ndim > 1 ? scales->shape[1] : 1;
    if (order && !read_g_idx(ld, order, m, groups)) return false;
    if (!read_layout(ld, scales, m)) return false;
    if (zeros && !read_zero_points(ld, zeros, scales, m)) return false;
    m->scale = floats_of(ld, scales);
    if (words && !order && m->group == QUANT_GROUP && m->row_block == 1 && fits_exactly(p, m))
        m->exact = p->exact;
    return m->scale != NULL;
}

void nn_packed_raw(const nn_packed_matrix *m, size_t n, void *dst)
{
    const size_t words = m->K * m->bits / 32, groups = m->K / QUANT_GROUP;
    const uint8_t *q = m->q + 4 * n * words;
    uint8_t *out = dst, *tail = out + 4 * words;
    memcpy(out, q, 4 * words);
    if (m->exact == DT_Q8) // offset by 128 in the file
        for (size_t k = 0; k < m->K; k++) out[k] ^= 0x80;
    for (size_t g = 0; g < groups; g++) {
        const float scale = m->scale[n * m->ld_row + g];
        const uint16_t parts[2] = {f32_to_bf16(scale), f32_to_bf16(-8 * scale)};
        memcpy(tail, parts, m->exact == DT_Q8 ? 2 : 4);
        tail += m->exact == DT_Q8 ? 2 : 4;
    }
}

/* ------------------------------------------------------------------ mxfp4 */

static const float e2m1[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                               -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

bool nn_packed_find_stacked(nn_loader *ld, mltf_str name, size_t i, size_t E, nn_packed_matrix *m)
{
    *m = (nn_packed_matrix){
        .dtype = ld->packed.dtype, .exact = DT_COUNT, .after = 1, .row_block = 1};
    if (ld->packed.scheme != PACKED_MXFP4 || ld->err.status) return false;
    const ck_tensor *blocks = part(ld, name, "_blocks"), *scales = part(ld, name, "_scales");
    if (!blocks) return false;
    if (!scales || blocks->dtype != DT_U8 || scales->dtype != DT_U8 || blocks->ndim != 4 ||
        scales->ndim != 3 || blocks->shape[0] != E || blocks->shape[3] != 16 ||
        memcmp(blocks->shape, scales->shape, 3 * sizeof *scales->shape) || i >= E)
        return bad(ld, blocks, "and its scales do not fit each other");
    const size_t N = blocks->shape[1], G = blocks->shape[2];
    m->N = N;
    m->K = G * 32;
    m->q = (const uint8_t *)blocks->data + i * N * G * 16;
    memcpy(m->map, e2m1, sizeof e2m1);
    m->codes = low_first_codes;
    m->group = 32;
    m->ld_row = G;
    m->ld_group = 1;
    m->scale = malloc((N * G + 1) * sizeof *m->scale);
    if (!m->scale) {
        mltf_fail_memory(&ld->err);
        return false;
    }
    const uint8_t *e = (const uint8_t *)scales->data + i * N * G;
    for (size_t j = 0; j < N * G; j++) m->scale[j] = ldexpf(1.0f, (int)e[j] - 127);
    return true;
}

/* ------------------------------------------------------------------ use */

bool nn_packed_find(nn_loader *ld, mltf_str name, nn_packed_matrix *m)
{
    *m = (nn_packed_matrix){
        .dtype = ld->packed.dtype, .exact = DT_COUNT, .after = 1, .row_block = 1};
    if (ld->err.status) return false;
    switch (ld->packed.scheme) {
    case PACKED_GPTQ:
    case PACKED_AWQ:
        return find_grid(ld, name, m);
    case PACKED_BNB:
        return find_bnb(ld, name, m);
    case PACKED_COMPRESSED:
    case PACKED_FP8:
        return find_scaled(ld, name, m);
    case PACKED_NONE:
    case PACKED_MXFP4:
        break;
    }
    return false;
}

void nn_packed_row(const nn_packed_matrix *m, size_t n, float *y)
{
    m->codes(m, n, y);
    const size_t at = n / m->row_block * m->ld_row;
    for (size_t k = 0; k < m->K; k++) {
        const size_t g = m->group_of ? m->group_of[k] : m->group ? k / m->group : 0;
        const size_t i = m->flat ? (n * m->K + k) / m->flat : at + g * m->ld_group;
        const float x = (m->zero ? y[k] - m->zero[i] : y[k]) * m->scale[i] * m->after;
        y[k] = m->dtype == DT_BF16  ? bf16_to_f32(f32_to_bf16(x))
               : m->dtype == DT_F16 ? f16_to_f32(f32_to_f16(x))
                                    : x;
    }
}

void nn_packed_release(nn_packed_matrix *m)
{
    free(m->group_of);
    free(m->scale);
    free(m->zero);
    m->group_of = NULL;
    m->scale = m->zero = NULL;
}
