#include "convert/convert_gguf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/file.h"
#include "formats/safetensors_write.h"

/* One tensor to write: where it comes from and what happens to it. */
typedef struct piece {
    const gguf_tensor *t;
    convert_op op;
} piece;

typedef struct job {
    const gguf_file *g;
    const convert_family *family;
    mltf_arena arena;
    mltf_dtype dtype;
    int64_t layers, heads, kv_heads;
    json *config;
    piece *pieces;  // [n]
    st_spec *specs; // [n]
    size_t n;
    mltf_err *err;
} job;

mltf_status convert_write_json(const char *dir, const char *name, const json *v, mltf_err *err)
{
    const json_write_options hf = {.indent = 2};
    mltf_buf out = MLTF_BUF_INIT;
    json_write(&out, v, &hf);
    buf_putc(&out, '\n');
    char *path = path_join(dir, name);
    mltf_status st = path ? buf_status(&out, err) : mltf_fail_memory(err);
    if (!st) st = file_write(path, out.p, out.n, err);
    free(path);
    mltf_buf_release(&out);
    return st;
}

int64_t convert_token_id(const gguf_file *g, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", name);
    const gguf_value *tokens = gguf_get(g, "tokenizer.ggml.tokens");
    const int64_t id = gguf_int(g, key, -1);
    return tokens && id >= 0 && (uint64_t)id < tokens->n ? id : -1;
}

/* ---- names --------------------------------------------------------------------------------- */

/* Does `name` have the form of the pattern and a suffix ".weight" or ".bias"? *layer receives what stands for %. */
static bool matches(mltf_str name, const char *pattern, int64_t *layer, mltf_str *suffix)
{
    size_t i = 0;
    *layer = -1;
    for (; *pattern; pattern++) {
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
    return str_is(*suffix, ".weight") || str_is(*suffix, ".bias");
}

static char *fill_in(job *j, const char *pattern, int64_t layer, mltf_str suffix)
{
    const char *percent = strchr(pattern, '%');
    if (!percent) return arena_printf(&j->arena, "%s" STR_FMT, pattern, STR_ARG(suffix));
    return arena_printf(&j->arena, "%.*s%lld%s" STR_FMT, (int)(percent - pattern), pattern,
                        (long long)layer, percent + 1, STR_ARG(suffix));
}

/* ---- what will be written ------------------------------------------------------------------ */

static mltf_status plan_tensor(job *j, const gguf_tensor *t)
{
    const convert_rule *r = j->family->rules;
    int64_t layer;
    mltf_str suffix;
    while (r->from && !matches(t->name, r->from, &layer, &suffix)) r++;
    if (!r->from)
        return mltf_fail(j->err, MLTF_UNSUPPORTED,
                         "tensor \"" STR_FMT "\" has no place in a model of type \"%s\"",
                         STR_ARG(t->name), j->family->model_type);
    if (layer >= j->layers)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE,
                         "tensor \"" STR_FMT "\" belongs to no layer: there are %lld",
                         STR_ARG(t->name), (long long)j->layers);
    if (r->op == CONVERT_SETTING) return MLTF_OK;
    piece p = {t, r->op};
    if (p.op == CONVERT_TRANSPOSE && t->ndim < 2) p.op = CONVERT_COPY; // biases
    if (p.op == CONVERT_MINUS_ONE && t->ndim > 1) p.op = CONVERT_COPY;
    st_spec s = {.name = fill_in(j, r->to, layer, suffix), .dtype = j->dtype, .ndim = t->ndim};
    if (!s.name) return mltf_fail_memory(j->err);
    for (size_t d = 0; d < t->ndim; d++)
        s.shape[d] = t->shape[t->ndim - 1 - d]; // row-major: last one contiguous
    if (t->count == 0)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE, "tensor \"" STR_FMT "\" is empty",
                         STR_ARG(t->name));
    if (p.op == CONVERT_TRANSPOSE) {
        s.shape[0] = t->shape[0];
        s.shape[1] = t->shape[1];
    }
    if (p.op == CONVERT_ROWS_Q || p.op == CONVERT_ROWS_K) {
        const int64_t heads = p.op == CONVERT_ROWS_Q ? j->heads : j->kv_heads;
        if (heads < 1 || s.shape[0] % (2 * (size_t)heads))
            return mltf_fail(j->err, MLTF_CORRUPT_FILE,
                             "tensor \"" STR_FMT "\" has %zu rows, which do not make %lld heads",
                             STR_ARG(t->name), s.shape[0], (long long)heads);
    }
    j->pieces[j->n] = p;
    j->specs[j->n++] = s;
    return MLTF_OK;
}

static mltf_status check_complete(job *j)
{
    for (const convert_rule *r = j->family->rules; r->from; r++) {
        if (!r->required) continue;
        const bool layered = strchr(r->from, '%') != NULL;
        for (int64_t i = 0; i < (layered ? j->layers : 1); i++) {
            const mltf_arena_mark mark = arena_save(&j->arena);
            const char *name = fill_in(j, r->from, i, STR(".weight"));
            if (!name) return mltf_fail_memory(j->err);
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

static mltf_status plan(job *j)
{
    const size_t n = gguf_count(j->g);
    j->pieces = arena_calloc(&j->arena, n + 1, sizeof *j->pieces);
    j->specs = arena_calloc(&j->arena, n + 1, sizeof *j->specs);
    const st_spec **order = arena_calloc(&j->arena, n + 1, sizeof *order);
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

/* ---- weights ------------------------------------------------------------------------------- */

/* n floats in the type of the checkpoint; out may be x itself. */
static void narrow(void *out, const float *x, size_t n, mltf_dtype dtype)
{
    if (dtype == DT_F32) {
        memmove(out, x, 4 * n);
        return;
    }
    uint8_t *p = out;
    for (size_t i = 0; i < n; i++) {
        const uint16_t h = dtype == DT_BF16 ? f32_to_bf16(x[i]) : f32_to_f16(x[i]);
        memcpy(p + 2 * i, &h, 2);
    }
}

static mltf_status put_row(job *j, st_sink *to, float *row, size_t n, mltf_err *err)
{
    narrow(row, row, n, j->dtype);
    return st_put(to, row, n * dtype_size(j->dtype), err);
}

static mltf_status put_tensor(void *user, size_t index, st_sink *to, mltf_err *err)
{
    job *j = user;
    const piece p = j->pieces[index];
    const gguf_tensor *t = p.t;
    const size_t cols =
        t->ndim < 2 && p.op != CONVERT_COPY && p.op != CONVERT_MINUS_ONE ? 1 : t->shape[0];
    const size_t rows = t->count / cols;
    const bool whole = p.op == CONVERT_TRANSPOSE || cols == 1;
    size_t bytes;
    if (!checked_mul(&bytes, whole ? t->count : cols, sizeof(float))) return mltf_fail_memory(err);
    float *x = malloc(bytes), *column = whole ? malloc(rows * sizeof(float)) : NULL;
    mltf_status st = x && (!whole || column) ? MLTF_OK : mltf_fail_memory(err);
    if (!st && whole) gguf_dequantize(x, t, 0, t->count);

    if (p.op == CONVERT_TRANSPOSE) {
        for (size_t c = 0; c < cols && !st; c++) {
            for (size_t r = 0; r < rows; r++) column[r] = x[r * cols + c];
            st = put_row(j, to, column, rows, err);
        }
    } else if (p.op == CONVERT_ROWS_Q || p.op == CONVERT_ROWS_K) {
        // llama.cpp stores row 2 i + half of a head where transformers has row half * (D / 2) + i
        const size_t D = rows / (size_t)(p.op == CONVERT_ROWS_Q ? j->heads : j->kv_heads);
        for (size_t r = 0; r < rows && !st; r++) {
            const size_t in_head = r % D,
                         from = r - in_head + 2 * (in_head % (D / 2)) + in_head / (D / 2);
            float one;
            if (whole)
                one = x[from];
            else
                gguf_dequantize(x, t, from * cols, cols);
            st = put_row(j, to, whole ? &one : x, cols, err);
        }
    } else {
        for (size_t r = 0; r < rows && !st; r++) {
            float one;
            if (whole)
                one = x[r];
            else
                gguf_dequantize(x, t, r * cols, cols);
            float *row = whole ? &one : x;
            for (size_t c = 0; c < cols && p.op == CONVERT_MINUS_ONE; c++) row[c] -= 1.0f;
            st = put_row(j, to, row, cols, err);
        }
    }
    free(x);
    free(column);
    return st;
}

/* ---- settings ------------------------------------------------------------------------------ */

static void put_id(job *j, json *c, const char *key, int64_t id)
{
    json_set(&j->arena, c, key, id >= 0 ? json_new_int(&j->arena, id) : json_new_null(&j->arena));
}

static mltf_status make_config(job *j)
{
    mltf_arena *a = &j->arena;
    json *c = json_new_object(a);
    json *classes = json_new_array(a);
    json_push(a, classes, json_new_cstr(a, j->family->class_name));
    json_set(a, c, "architectures", classes);
    json_set(a, c, "model_type", json_new_cstr(a, j->family->model_type));
    TRY(j->family->config(j->g, a, c, j->err));
    const gguf_tensor *embedding = gguf_find(j->g, j->family->embedding);
    if (!embedding || embedding->ndim != 2)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE, "the GGUF file lacks the tensor \"%s\"",
                         j->family->embedding);
    json_set(a, c, "vocab_size", json_new_int(a, (int64_t)embedding->shape[1]));
    json_set(a, c, "tie_word_embeddings", json_new_bool(a, !gguf_find(j->g, "output.weight")));
    put_id(j, c, "bos_token_id", convert_token_id(j->g, "bos"));
    put_id(j, c, "eos_token_id", convert_token_id(j->g, "eos"));
    put_id(j, c, "pad_token_id", convert_token_id(j->g, "padding"));
    json_set(a, c, "torch_dtype", json_new_cstr(a, dtype_name(j->dtype)));
    json_set(a, c, "transformers_version", json_new_cstr(a, MLTF_TRANSFORMERS_VERSION));
    const json *layers = json_get(c, "num_hidden_layers"),
               *heads = json_get(c, "num_attention_heads");
    if (!layers) layers = json_get(c, "n_layer");
    if (!heads) heads = json_get(c, "n_head");
    j->layers = json_int(layers, 0);
    j->heads = json_int(heads, 1);
    j->kv_heads = json_int(json_get(c, "num_key_value_heads"), j->heads);
    if (j->layers > (int64_t)LIMIT_LAYERS)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE, "%lld layers are more than any model has",
                         (long long)j->layers);
    j->config = c;
    return a->failed ? mltf_fail_memory(j->err) : MLTF_OK;
}

static mltf_status write_settings(job *j, const char *dir)
{
    mltf_arena *a = &j->arena;
    TRY(convert_write_json(dir, "config.json", j->config, j->err));
    json *g = json_new_object(a);
    json_set(a, g, "_from_model_config", json_new_bool(a, true));
    const int64_t eos = convert_token_id(j->g, "eos"), eot = convert_token_id(j->g, "eot");
    if (convert_token_id(j->g, "bos") >= 0)
        put_id(j, g, "bos_token_id", convert_token_id(j->g, "bos"));
    if (eos >= 0 && eot >= 0 && eos != eot) { // a turn may end otherwise than a text
        json *both = json_set(a, g, "eos_token_id", json_new_array(a));
        json_push(a, both, json_new_int(a, eos));
        json_push(a, both, json_new_int(a, eot));
    } else if (eos >= 0) {
        put_id(j, g, "eos_token_id", eos);
    }
    if (convert_token_id(j->g, "padding") >= 0)
        put_id(j, g, "pad_token_id", convert_token_id(j->g, "padding"));
    json_set(a, g, "transformers_version", json_new_cstr(a, MLTF_TRANSFORMERS_VERSION));
    if (a->failed) return mltf_fail_memory(j->err);
    return convert_write_json(dir, "generation_config.json", g, j->err);
}

/* ---- all of it ----------------------------------------------------------------------------- */

static mltf_status convert(job *j, const char *dir, const mltf_convert_options *o)
{
    const mltf_str arch = gguf_string(j->g, "general.architecture", STR(""));
    j->family = convert_family_find(arch);
    if (!j->family) {
        mltf_buf names = {.max = 1024};
        convert_family_names(&names);
        mltf_fail(j->err, MLTF_UNSUPPORTED,
                  "GGUF files of architecture \"" STR_FMT "\" are not converted; known are %s",
                  STR_ARG(arch), names.p ? names.p : "");
        mltf_buf_release(&names);
        return MLTF_UNSUPPORTED;
    }
    TRY(make_config(j));
    TRY(plan(j));
    dir_txn txn;
    TRY(dir_txn_begin(&txn, dir, j->err));
    mltf_status st = write_settings(j, txn.path);
    if (!st) st = convert_tokenizer(j->g, txn.path, j->err);
    if (!st)
        st = st_write(txn.path, j->specs, j->n, 0, put_tensor, j, o->progress, o->progress_user,
                      j->err);
    if (!st) st = dir_txn_commit(&txn, j->err);
    dir_txn_abort(&txn);
    return st;
}

mltf_status convert_gguf(const char *file, const char *dir, const mltf_convert_options *opts,
                         mltf_err *err)
{
    const mltf_convert_options none = {0};
    if (!opts) opts = &none;
    job j = {.dtype = DT_BF16, .err = err};
    const char *dtype = opts->torch_dtype;
    if (dtype && strncmp(dtype, "torch.", 6) == 0) dtype += 6;
    if (dtype && strcmp(dtype, "float32") == 0)
        j.dtype = DT_F32;
    else if (dtype && strcmp(dtype, "float16") == 0)
        j.dtype = DT_F16;
    else if (dtype && strcmp(dtype, "bfloat16") != 0)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "weights cannot be written as \"%s\": give bfloat16, float32 or float16",
                         dtype);
    gguf_file *g;
    TRY(gguf_open(&g, file, err));
    j.g = g;
    mltf_status st = convert(&j, dir, opts);
    if (st) mltf_err_wrap(err, "could not convert \"%s\"", file);
    gguf_close(g);
    arena_release(&j.arena);
    return st;
}
