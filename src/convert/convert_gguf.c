#include "convert/convert_config.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/file.h"
#include "formats/safetensors_write.h"

/* One tensor to write: where it comes from and what happens to it. */
typedef struct piece {
    const gguf_tensor *t, *joined; /* joined: of CONVERT_JOIN */
    convert_op op;
    size_t first_row, rows, cols; /* of t; where values of a vector change places, each is a row */
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
    size_t n, cap;
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

static const convert_rule *find_rule(const job *j, const gguf_tensor *t, int64_t *layer,
                                     mltf_str *suffix)
{
    for (const convert_rule *r = j->family->rules; r->from; r++)
        if (matches(t->name, r->from, layer, suffix)) return r;
    return NULL;
}

static char *fill_in(job *j, const char *pattern, int64_t layer, mltf_str suffix)
{
    const char *percent = strchr(pattern, '%');
    if (!percent) return arena_printf(&j->arena, "%s" STR_FMT, pattern, STR_ARG(suffix));
    return arena_printf(&j->arena, "%.*s%lld%s" STR_FMT, (int)(percent - pattern), pattern,
                        (long long)layer, percent + 1, STR_ARG(suffix));
}

/* ---- what will be written ------------------------------------------------------------------ */

static mltf_status add_piece(job *j, const piece *p, const st_spec *s)
{
    if (!s->name) return mltf_fail_memory(j->err);
    if (j->n == j->cap)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE, "the GGUF file's tensors become more than %zu",
                         j->cap);
    j->pieces[j->n] = *p;
    j->specs[j->n++] = *s;
    return MLTF_OK;
}

/* Rows of matrices (or values of biases) that change places must come in whole heads. */
static mltf_status check_heads(const job *j, const piece *p)
{
    const size_t H = (size_t)j->heads, kv = (size_t)j->kv_heads;
    const size_t of = p->op == CONVERT_ROWS_Q   ? 2 * H
                      : p->op == CONVERT_ROWS_K ? 2 * kv
                      : p->op == CONVERT_QKV    ? H + 2 * kv
                                                : 1;
    if (p->rows % of == 0) return MLTF_OK;
    return mltf_fail(j->err, MLTF_CORRUPT_FILE,
                     "tensor \"" STR_FMT "\" has %zu rows, which do not make %lld heads",
                     STR_ARG(p->t->name), p->rows, (long long)j->heads);
}

/* The tensor that CONVERT_JOIN writes with this one. */
static mltf_status find_joined(job *j, const convert_rule *next, int64_t layer, mltf_str suffix,
                               piece *p)
{
    const char *name = fill_in(j, next->from, layer, suffix);
    if (!name) return mltf_fail_memory(j->err);
    p->joined = gguf_find(j->g, name);
    if (p->t->ndim == 3 && p->joined && p->joined->ndim == 3 &&
        p->t->shape[0] == p->joined->shape[0] && p->t->shape[0] > 1 &&
        p->t->shape[2] == p->joined->shape[2])
        return MLTF_OK;
    return mltf_fail(j->err, MLTF_CORRUPT_FILE, "tensors \"" STR_FMT "\" and \"%s\" do not fit",
                     STR_ARG(p->t->name), name);
}

static mltf_status plan_tensor(job *j, const gguf_tensor *t)
{
    int64_t layer;
    mltf_str suffix;
    const convert_rule *r = find_rule(j, t, &layer, &suffix);
    if (!r)
        return mltf_fail(j->err, MLTF_UNSUPPORTED,
                         "tensor \"" STR_FMT "\" has no place in a model of type \"%s\"",
                         STR_ARG(t->name), j->family->model_type);
    if (layer >= j->layers)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE,
                         "tensor \"" STR_FMT "\" belongs to no layer: there are %lld",
                         STR_ARG(t->name), (long long)j->layers);
    if (r->op == CONVERT_SETTING || r->op == CONVERT_JOINED) return MLTF_OK;
    if (t->count == 0)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE, "tensor \"" STR_FMT "\" is empty",
                         STR_ARG(t->name));
    piece p = {.t = t, .op = r->op};
    if (p.op == CONVERT_TRANSPOSE && t->ndim < 2) p.op = CONVERT_COPY; // biases
    if (p.op == CONVERT_MINUS_ONE && (t->ndim > 1 || str_is(suffix, ".bias"))) p.op = CONVERT_COPY;
    const bool vector_rows =
        t->ndim < 2 && p.op != CONVERT_COPY && p.op != CONVERT_MINUS_ONE && p.op != CONVERT_ONE_ROW;
    p.cols = vector_rows ? 1 : t->shape[0];
    p.rows = t->count / p.cols;
    TRY(check_heads(j, &p));
    st_spec s = {.dtype = j->dtype, .ndim = t->ndim};
    for (size_t d = 0; d < t->ndim; d++)
        s.shape[d] = t->shape[t->ndim - 1 - d]; // row-major: last one contiguous
    if (p.op == CONVERT_SPLIT) {
        const size_t parts = s.shape[0];
        if (t->ndim < 2 || parts > LIMIT_EXPERTS)
            return mltf_fail(j->err, MLTF_CORRUPT_FILE,
                             "tensor \"" STR_FMT "\" is no stack of tensors", STR_ARG(t->name));
        p.rows /= parts;
        s.ndim--;
        for (size_t d = 0; d < s.ndim; d++) s.shape[d] = s.shape[d + 1];
        char *pattern = fill_in(j, r->to, layer, suffix);
        if (!pattern) return mltf_fail_memory(j->err);
        const char *mark = strchr(pattern, '#');
        for (size_t i = 0; i < parts; i++, p.first_row += p.rows) {
            s.name =
                arena_printf(&j->arena, "%.*s%zu%s", (int)(mark - pattern), pattern, i, mark + 1);
            TRY(add_piece(j, &p, &s));
        }
        return MLTF_OK;
    }
    s.name = fill_in(j, r->to, layer, suffix);
    if (p.op == CONVERT_TRANSPOSE) {
        s.shape[0] = t->shape[0];
        s.shape[1] = t->shape[1];
    }
    if (p.op == CONVERT_ONE_ROW && t->ndim == 1) {
        s.ndim = 2;
        s.shape[0] = 1;
        s.shape[1] = t->count;
    }
    if (p.op == CONVERT_JOIN) {
        TRY(find_joined(j, r + 1, layer, suffix, &p));
        s.shape[1] += p.joined->shape[1];
        p.rows += p.joined->count / p.joined->shape[0];
    }
    return add_piece(j, &p, &s);
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
    for (size_t i = 0; i < n; i++) {
        int64_t layer;
        mltf_str suffix;
        const gguf_tensor *t = gguf_at(j->g, i);
        const convert_rule *r = find_rule(j, t, &layer, &suffix);
        const size_t parts = r && r->op == CONVERT_SPLIT ? t->shape[t->ndim - 1] : 1;
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

/* The row of p.t that comes r-th. */
static size_t source_row(const job *j, const piece *p, size_t r)
{
    const size_t H = (size_t)j->heads, kv = (size_t)j->kv_heads;
    if (p->op == CONVERT_ROWS_Q || p->op == CONVERT_ROWS_K) {
        // llama.cpp stores row 2 i + half of a head where transformers has row half * (D / 2) + i
        const size_t D = p->rows / (p->op == CONVERT_ROWS_Q ? H : kv), in_head = r % D;
        return r - in_head + 2 * (in_head % (D / 2)) + in_head / (D / 2);
    }
    if (p->op == CONVERT_QKV) {
        // a group is a key head: its queries, its key, its value
        const size_t D = p->rows / (H + 2 * kv), per = H / kv, group = r / (D * (per + 2)),
                     in_group = r % (D * (per + 2)), head = in_group / D;
        if (head < per) return group * per * D + in_group;
        return (head == per ? H + group : H + kv + group) * D + in_group % D;
    }
    return p->first_row + r;
}

static mltf_status put_rows(job *j, const piece *p, st_sink *to, mltf_err *err)
{
    const size_t cols = p->cols;
    const bool whole = cols == 1; // quantized blocks are not taken apart
    size_t bytes;
    if (!checked_mul(&bytes, whole ? p->t->count : cols, sizeof(float)))
        return mltf_fail_memory(err);
    float *x = malloc(bytes), one;
    mltf_status st = x ? MLTF_OK : mltf_fail_memory(err);
    if (!st && whole) gguf_dequantize(x, p->t, 0, p->t->count);
    for (size_t r = 0; r < p->rows && !st; r++) {
        const gguf_tensor *t = p->t;
        size_t row = source_row(j, p, r);
        if (p->op == CONVERT_JOIN) {
            const size_t mine = t->shape[1], all = mine + p->joined->shape[1];
            row = r / all * mine + r % all;
            if (r % all >= mine) {
                t = p->joined;
                row = r / all * p->joined->shape[1] + r % all - mine;
            }
        }
        if (whole)
            one = x[row];
        else
            gguf_dequantize(x, t, row * cols, cols);
        float *values = whole ? &one : x;
        for (size_t c = 0; c < cols && p->op == CONVERT_MINUS_ONE; c++) values[c] -= 1.0f;
        st = put_row(j, to, values, cols, err);
    }
    free(x);
    return st;
}

static mltf_status put_transposed(job *j, const gguf_tensor *t, st_sink *to, mltf_err *err)
{
    const size_t cols = t->shape[0], rows = t->count / cols;
    size_t bytes;
    if (!checked_mul(&bytes, t->count, sizeof(float))) return mltf_fail_memory(err);
    float *x = malloc(bytes), *column = malloc(rows * sizeof *column);
    mltf_status st = x && column ? MLTF_OK : mltf_fail_memory(err);
    if (!st) gguf_dequantize(x, t, 0, t->count);
    for (size_t c = 0; c < cols && !st; c++) {
        for (size_t r = 0; r < rows; r++) column[r] = x[r * cols + c];
        st = put_row(j, to, column, rows, err);
    }
    free(x);
    free(column);
    return st;
}

static mltf_status put_tensor(void *user, size_t index, st_sink *to, mltf_err *err)
{
    job *j = user;
    const piece *p = &j->pieces[index];
    return p->op == CONVERT_TRANSPOSE ? put_transposed(j, p->t, to, err) : put_rows(j, p, to, err);
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
    const convert_config cc = {j->g, a, c, j->err};
    TRY(j->family->config(&cc));
    const gguf_tensor *embedding = gguf_find(j->g, "token_embd.weight");
    if (!embedding || embedding->ndim != 2)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE,
                         "the GGUF file lacks the tensor \"token_embd.weight\"");
    json_set(a, c, "vocab_size", json_new_int(a, (int64_t)embedding->shape[1]));
    json_set(a, c, "tie_word_embeddings", json_new_bool(a, !gguf_find(j->g, "output.weight")));
    put_id(j, c, "bos_token_id", convert_token_id(j->g, "bos"));
    put_id(j, c, "eos_token_id", convert_token_id(j->g, "eos"));
    put_id(j, c, "pad_token_id", convert_token_id(j->g, "padding"));
    json_set(a, c, "torch_dtype", json_new_cstr(a, dtype_name(j->dtype)));
    json_set(a, c, "transformers_version", json_new_cstr(a, MLTF_TRANSFORMERS_VERSION));
    j->layers = file_int(&cc, "block_count", 0);
    j->heads = file_int(&cc, "attention.head_count", 1);
    j->kv_heads = file_int(&cc, "attention.head_count_kv", j->heads);
    if (j->heads < 1 || j->kv_heads < 1 || j->heads > INT32_MAX || j->kv_heads > j->heads ||
        j->heads % j->kv_heads)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE, "%lld key heads do not divide %lld query heads",
                         (long long)j->kv_heads, (long long)j->heads);
    if (j->layers > (int64_t)LIMIT_LAYERS)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE, "%lld layers are more than any model has",
                         (long long)j->layers);
    j->config = c;
    return a->failed ? mltf_fail_memory(j->err) : MLTF_OK;
}

/* modules.json and 1_Pooling/config.json, as sentence-transformers writes them, where the file says how vectors of tokens
 * become one. */
static mltf_status write_pooling(job *j, const char *dir)
{
    static const char *const modes[] = {"pooling_mode_mean_tokens", "pooling_mode_cls_token",
                                        "pooling_mode_lasttoken"};
    static const char *const modules[][3] = {
        {"", "0", "sentence_transformers.models.Transformer"},
        {"1_Pooling", "1", "sentence_transformers.models.Pooling"}};
    mltf_arena *a = &j->arena;
    const convert_config cc = {j->g, a, json_new_object(a), j->err};
    const int64_t mode = file_int(&cc, "pooling_type", 0);
    if (mode < 1 || mode > 3) return MLTF_OK;
    config_int(&cc, "word_embedding_dimension", file_int(&cc, "embedding_length", 0));
    for (int64_t i = 0; i < 3; i++) config_bool(&cc, modes[i], i + 1 == mode);
    json *list = json_new_array(a);
    for (int64_t i = 0; i < 2; i++) {
        const convert_config module = {j->g, a, json_new_object(a), j->err};
        config_int(&module, "idx", i);
        config_text(&module, "name", modules[i][1]);
        config_text(&module, "path", modules[i][0]);
        config_text(&module, "type", modules[i][2]);
        json_push(a, list, module.c);
    }
    if (a->failed) return mltf_fail_memory(j->err);
    TRY(convert_write_json(dir, "modules.json", list, j->err));
    char *folder = path_join(dir, "1_Pooling");
    mltf_status st = folder ? dir_make(folder, j->err) : mltf_fail_memory(j->err);
    if (!st) st = convert_write_json(folder, "config.json", cc.c, j->err);
    free(folder);
    return st;
}

static mltf_status write_settings(job *j, const char *dir)
{
    mltf_arena *a = &j->arena;
    TRY(convert_write_json(dir, "config.json", j->config, j->err));
    TRY(write_pooling(j, dir));
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
    j->family = convert_family_find(j->g);
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
