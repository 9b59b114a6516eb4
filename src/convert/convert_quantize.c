/* A checkpoint with its linear layers in 8 or 4 bit, in the form of compressed-tensors ("pack-quantized"), which
 * transformers reads as well: groups of 32 inputs of one output row, symmetric,
 *
 *   X.weight_packed  int32 [N, K bits / 32]   q offset by half its range, the first one in the lowest bits
 *   X.weight_scale         [N, K / 32]        w = scale q, in the type of the weights (bf16, f16, f32)
 *   X.weight_shape   int64 [2]                N, K
 *
 * Scales are bf16 numbers whatever their type: mltf takes the rows over as they are (quantize.h), and the weights of
 * the loaded model are those that the file stands for. 8 bit is what --quantize int8 makes at load, bit for bit. 4 bit
 * has no least number of its own for a group, as --quantize int4 has, which no reader of this form but mltf would
 * understand; instead the scale is searched for that has the smallest squared error. It may be negative: there is a
 * code for -8 and none for 8, and the side of the largest weight gets it.
 * Embeddings, norms and biases stay as they were; those layers that the network does not load as plain matrices (GPT-2's
 * transposed ones, stacked experts) do, too, and are quantized when loaded. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/file.h"
#include "convert/convert_gguf.h"
#include "formats/checkpoint.h"
#include "formats/safetensors_write.h"
#include "kernels/kernels.h"
#include "kernels/quantize.h"

enum { GROUP = QUANT_GROUP };

typedef enum { AS_IT_IS, WEIGHTS, SCALES, SHAPE } part;

typedef struct {
    const ck_tensor *t;
    part part;
} piece;

typedef struct {
    checkpoint *ck;
    mltf_pool *pool;
    mltf_arena arena;
    unsigned bits;
    mltf_dtype floats;   // of the scales
    const char **linear; // [n_linear] tensors to quantize, sorted
    size_t n_linear, room;
    piece *pieces;  // [n]
    st_spec *specs; // [n]
    size_t n;
} quantizer;

/* ---- one group ---- */

static uint16_t bf16_above(float f)
{
    const uint16_t h = f32_to_bf16(f);
    return bf16_to_f32(h) < f ? (uint16_t)(h + 1) : h;
}

/* Squared error in 4 bit. Adding 1.5 x 2^23 rounds, in a loop that becomes vectors. */
static float error_of(const float *x, float scale)
{
    const float inverse = 1.0f / scale, magic = 12582912.0f;
    float lane[8] = {0}, error = 0;
    for (int i = 0; i < GROUP; i += 8)
        for (int l = 0; l < 8; l++) {
            const float y = x[i + l] * inverse, r = y + magic - magic;
            const float kept = r < -8.0f ? -8.0f : r > 7.0f ? 7.0f : r;
            lane[l] += (y - kept) * (y - kept);
        }
    for (int i = 0; i < 8; i++) error += lane[i];
    return error * scale * scale;
}

static float best_scale(const float *x, float max, float least)
{
    float best = INFINITY, scale = 0;
    for (int i = 0; i < 12; i++) { // the largest weight at 6.9 to 8.4 steps, on either side
        const float steps = (i % 2 ? -6.9f : 6.9f) + (i % 2 ? -0.3f : 0.3f) * (float)(i / 2);
        const float wide = bf16_to_f32(f32_to_bf16(max / steps));
        const float s = fabsf(wide) < least ? copysignf(least, wide) : wide;
        const float error = error_of(x, s);
        if (!(error < best)) continue;
        best = error;
        scale = s;
    }
    return scale;
}

/* Codes of one group, offset so that none is negative, and the scale. False if a number is not finite. */
static bool quantize_group(uint8_t *q, float *scale, const float *x, unsigned bits, float least)
{
    const float half = bits == 8 ? 128 : 8, lowest = bits == 8 ? -127 : -8;
    float max = 0;
    for (int i = 0; i < GROUP; i++) {
        if (!isfinite(x[i])) return false;
        max = fmaxf(max, fabsf(x[i]));
    }
    *scale = 0;
    memset(q, (int)half, GROUP);
    if (max < 0x1p-90f) return true; // the smallest step that kernels take is 2^-100
    *scale =
        bits == 8 ? fmaxf(bf16_to_f32(bf16_above(max / 127.0f)), least) : best_scale(x, max, least);
    for (int i = 0; i < GROUP; i++) {
        const float r = nearbyintf(x[i] / *scale);
        q[i] = (uint8_t)((r < lowest ? lowest : r > half - 1 ? half - 1 : r) + half);
    }
    return true;
}

/* ---- one tensor ---- */

typedef struct {
    const ck_tensor *t;
    size_t K;
    unsigned bits;
    float least;
    uint8_t *packed; // [N, K bits / 8]
    float *scales;   // [N, K / 32]
    float *rows;     // [workers, K]
    uint8_t *bad;    // [N]
} rows_job;

static void quantize_rows(void *arg, size_t first, size_t last, int worker)
{
    const rows_job *j = arg;
    float *row = j->rows + (size_t)worker * j->K;
    for (size_t n = first; n < last; n++) {
        kernels()->widen(row, (const char *)j->t->data + n * j->K * dtype_size(j->t->dtype),
                         j->t->dtype, j->K);
        uint8_t *out = j->packed + n * (j->K * j->bits / 8);
        for (size_t g = 0; g < j->K / GROUP; g++) {
            const size_t at = n * (j->K / GROUP) + g;
            uint8_t q[GROUP];
            if (!quantize_group(q, &j->scales[at], row + g * GROUP, j->bits, j->least))
                j->bad[n] = 1;
            if (j->bits == 8)
                for (int i = 0; i < GROUP; i++) *out++ = q[i];
            else
                for (int i = 0; i < GROUP; i += 2) *out++ = (uint8_t)(q[i] | q[i + 1] << 4);
        }
    }
}

static mltf_status put_floats(const quantizer *z, st_sink *to, float *x, size_t n, mltf_err *err)
{
    kernels()->narrow(x, x, z->floats, n); // to at most as many bytes
    return st_put(to, x, n * dtype_size(z->floats), err);
}

static mltf_status put_quantized(const quantizer *z, const ck_tensor *t, part which, st_sink *to,
                                 mltf_err *err)
{
    const size_t N = t->shape[0], K = t->shape[1], bytes = t->count * z->bits / 8;
    rows_job j = {.t = t, .K = K, .bits = z->bits, .least = z->floats == DT_F16 ? 0x1p-17f : 0};
    j.packed = malloc(bytes + 1);
    j.scales = malloc((t->count / GROUP + 1) * sizeof *j.scales);
    j.rows = malloc(((size_t)pool_threads(z->pool) * K + 1) * sizeof *j.rows);
    j.bad = calloc(N + 1, 1);
    mltf_status st = j.packed && j.scales && j.rows && j.bad ? MLTF_OK : mltf_fail_memory(err);
    if (!st) {
        pool_for(z->pool, N, 8, quantize_rows, &j);
        if (memchr(j.bad, 1, N))
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "tensor \"%s\" holds numbers that are not finite", t->name);
    }
    if (!st && which == WEIGHTS) st = st_put(to, j.packed, bytes, err);
    if (!st && which == SCALES) st = put_floats(z, to, j.scales, t->count / GROUP, err);
    free(j.packed);
    free(j.scales);
    free(j.rows);
    free(j.bad);
    return st;
}

static mltf_status put(void *user, size_t i, st_sink *to, mltf_err *err)
{
    const quantizer *z = user;
    const piece p = z->pieces[i];
    const int64_t shape[2] = {(int64_t)p.t->shape[0], (int64_t)p.t->shape[1]};
    if (p.part == AS_IT_IS) return st_put(to, p.t->data, p.t->bytes, err);
    if (p.part == SHAPE) return st_put(to, shape, sizeof shape, err);
    return put_quantized(z, p.t, p.part, to, err);
}

/* ---- what is written ---- */

static void remember(void *user, const char *tensor)
{
    quantizer *z = user;
    if (z->n_linear < z->room) z->linear[z->n_linear++] = tensor;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_linear(const quantizer *z, const ck_tensor *t)
{
    const char *const name = t->name;
    return str_ends(str_from(name), ".weight") && dtype_size(t->dtype) >= 2 &&
           bsearch(&name, z->linear, z->n_linear, sizeof *z->linear, by_text);
}

static void add(quantizer *z, const ck_tensor *t, part which, const char *end, st_spec s)
{
    const size_t stem = strlen(t->name) - strlen(which == AS_IT_IS ? "" : ".weight");
    s.name = arena_printf(&z->arena, "%.*s%s", (int)stem, t->name, end);
    z->specs[z->n] = s;
    z->pieces[z->n++] = (piece){t, which};
}

static mltf_status plan(quantizer *z, mltf_err *err)
{
    const size_t n = checkpoint_count(z->ck);
    z->specs = arena_calloc(&z->arena, 3 * n + 1, sizeof *z->specs);
    z->pieces = arena_calloc(&z->arena, 3 * n + 1, sizeof *z->pieces);
    for (size_t i = 0; z->specs && z->pieces && i < n; i++) {
        const ck_tensor *t = checkpoint_at(z->ck, i);
        st_spec as_it_is = {.dtype = t->dtype, .ndim = t->ndim};
        memcpy(as_it_is.shape, t->shape, sizeof as_it_is.shape);
        if (!is_linear(z, t)) {
            add(z, t, AS_IT_IS, "", as_it_is);
            continue;
        }
        const size_t N = t->shape[0], K = t->shape[1];
        add(z, t, WEIGHTS, ".weight_packed",
            (st_spec){.dtype = DT_I32, .ndim = 2, .shape = {N, K * z->bits / 32}});
        add(z, t, SCALES, ".weight_scale",
            (st_spec){.dtype = z->floats, .ndim = 2, .shape = {N, K / GROUP}});
        add(z, t, SHAPE, ".weight_shape", (st_spec){.dtype = DT_I64, .ndim = 1, .shape = {2}});
    }
    return z->arena.failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* config.json as it was, with the description that compressed-tensors reads. */
static mltf_status write_config(quantizer *z, const char *from, const char *to, mltf_err *err)
{
    json_doc doc = JSON_DOC_INIT;
    char *path = path_join(from, "config.json");
    mltf_status st = path ? json_parse_file(&doc, path, NULL, err) : mltf_fail_memory(err);
    free(path);
    if (st) return st;
    mltf_arena *a = &doc.arena;
    json *q = json_new_object(a), *groups = json_new_object(a), *group = json_new_object(a),
         *w = json_new_object(a), *targets = json_new_array(a), *ignore = json_new_array(a);
    json_push(a, targets, json_new_cstr(a, "Linear"));
    json_set(a, w, "num_bits", json_new_int(a, (int64_t)z->bits));
    json_set(a, w, "type", json_new_cstr(a, "int"));
    json_set(a, w, "symmetric", json_new_bool(a, true));
    json_set(a, w, "strategy", json_new_cstr(a, "group"));
    json_set(a, w, "group_size", json_new_int(a, GROUP));
    json_set(a, w, "dynamic", json_new_bool(a, false));
    json_set(a, group, "targets", targets);
    json_set(a, group, "weights", w);
    json_set(a, groups, "group_0", group);
    for (size_t i = 0; i < checkpoint_count(z->ck); i++) {
        const ck_tensor *t = checkpoint_at(z->ck, i);
        if (t->ndim != 2 || !str_ends(str_from(t->name), ".weight") || is_linear(z, t)) continue;
        json_push(a, ignore,
                  json_new_string(a, (mltf_str){t->name, strlen(t->name) - strlen(".weight")}));
    }
    // output layers that read the embedding's table have no tensor of their own
    static const char *const tied[] = {"lm_head", "embed_out", "cls.predictions.decoder",
                                       "lm_head.decoder", "vocab_projector"};
    for (size_t i = 0; i < sizeof tied / sizeof *tied; i++)
        if (!checkpoint_find(z->ck, arena_printf(a, "%s.weight", tied[i])))
            json_push(a, ignore, json_new_cstr(a, tied[i]));
    json_set(a, q, "quant_method", json_new_cstr(a, "compressed-tensors"));
    json_set(a, q, "format", json_new_cstr(a, "pack-quantized"));
    json_set(a, q, "quantization_status", json_new_cstr(a, "compressed"));
    json_set(a, q, "config_groups", groups);
    json_set(a, q, "ignore", ignore);
    json_set(a, q, "mltf_quantize", json_new_cstr(a, z->bits == 8 ? "int8" : "int4"));
    json_set(a, doc.root, "quantization_config", q);
    if (!json_get(doc.root, "dtype") && !json_get(doc.root, "torch_dtype"))
        json_set(a, doc.root, "torch_dtype", json_new_cstr(a, dtype_name(z->floats)));
    st = a->failed ? mltf_fail_memory(err) : convert_write_json(to, "config.json", doc.root, err);
    json_doc_release(&doc);
    return st;
}

/* Not copied: weights in any form, config.json, and directories under construction. */
static int is_replaced(const char *rel)
{
    static const char *const ends[] = {".safetensors", ".safetensors.index.json",
                                       ".bin",         ".pt",
                                       ".h5",          ".bin.index.json",
                                       ".msgpack",     ".onnx",
                                       ".gguf",        ".pth"};
    const mltf_str s = str_from(rel);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (str_ends(s, ends[i])) return 1;
    // the target may lie inside of the source
    return str_is(s, "config.json") || strstr(rel, PATH_TEMPORARY) != NULL;
}

static mltf_status quantize(quantizer *z, const char *from, const char *dir,
                            const mltf_convert_options *o, mltf_err *err)
{
    arch_model *m;
    TRY(checkpoint_open(&z->ck, from, NULL, err));
    z->room = checkpoint_count(z->ck);
    z->linear = arena_calloc(&z->arena, z->room + 1, sizeof *z->linear);
    if (!z->linear) return mltf_fail_memory(err);
    TRY(arch_model_load(&m, from, &(arch_load_options){.linear = remember, .linear_user = z}, err));
    const arch_info *info = arch_model_info(m);
    mltf_status st = MLTF_OK;
    z->floats = info->dtype == DT_BF16 || info->dtype == DT_F16 ? info->dtype : DT_F32;
    // names belong to that model: the same ones from the checkpoint opened here stay
    for (size_t i = 0; i < z->n_linear; i++)
        z->linear[i] = checkpoint_find(z->ck, z->linear[i])->name;
    if (json_get(info->config, "quantization_config"))
        st = mltf_fail(err, MLTF_INVALID_INPUT, "\"%s\" is quantized already", from);
    if (!st && z->n_linear == 0)
        st =
            mltf_fail(err, MLTF_UNSUPPORTED,
                      "\"%s\" has no linear layer with a multiple of 32 inputs to quantize; layers "
                      "whose weights are stored turned, as GPT-2's, have no quantized form in a "
                      "file, but are quantized at load (--quantize)",
                      from);
    arch_model_free(m);
    if (!st) st = plan(z, err);
    if (st) return st;
    dir_txn txn;
    TRY(dir_txn_begin(&txn, dir, err));
    st = dir_copy(from, txn.path, is_replaced, NULL, NULL, err);
    if (!st) st = write_config(z, from, txn.path, err);
    if (!st) st = st_write(txn.path, z->specs, z->n, 0, put, z, o->progress, o->progress_user, err);
    if (!st) st = dir_txn_commit(&txn, err);
    dir_txn_abort(&txn);
    return st;
}

mltf_status convert_quantize(const char *from, const char *dir, const mltf_convert_options *o,
                             mltf_err *err)
{
    quantizer z = {.bits = strcmp(o->quantize, "int8") == 0 ? 8 : 4};
    if (z.bits == 4 && strcmp(o->quantize, "int4") != 0)
        return mltf_fail(err, MLTF_INVALID_INPUT, "quantize must be int8 or int4, not \"%s\"",
                         o->quantize);
    if (o->torch_dtype)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "a quantized checkpoint keeps the type of its weights: leave out the dtype");
    mltf_status st = pool_new(&z.pool, 0, err);
    if (!st) st = quantize(&z, from, dir, o, err);
    checkpoint_close(z.ck);
    pool_free(z.pool);
    arena_release(&z.arena);
    return st;
}
