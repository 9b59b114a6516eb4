#include "convert/convert_job.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

mltf_status convert_write_json(const char *dir, const char *name, const json *v, mltf_err *err)
{
    const json_write_options hf = {.indent = 2, .newline = true};
    return json_write_file(dir, name, v, &hf, err);
}

int64_t convert_token_id(const gguf_file *g, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", name);
    const gguf_value *tokens = gguf_get(g, "tokenizer.ggml.tokens");
    const int64_t id = gguf_int(g, key, -1);
    return tokens && id >= 0 && (uint64_t)id < tokens->n ? id : -1;
}

/* ---- settings ------------------------------------------------------------------------------ */

static void put_id(convert_job *j, json *c, const char *key, int64_t id)
{
    if (id < 0 && json_get(c, key)) return; // what the family knows
    json_set(&j->arena, c, key, id >= 0 ? json_new_int(&j->arena, id) : json_new_null(&j->arena));
}

static mltf_status make_config(convert_job *j)
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
    j->blocks = file_int(&cc, "block_count", 0);
    j->layers = config_layers(&cc);
    j->decoder_layers = file_int(&cc, "decoder_block_count", j->blocks);
    j->dense_layers = file_int(&cc, "leading_dense_block_count", 0);
    // mamba has none; where layers have other numbers, those of the config
    j->heads = file_int(&cc, "attention.head_count", 1);
    if (j->heads == 0) j->heads = 1;
    j->kv_heads = file_int(&cc, "attention.head_count_kv",
                           json_int(json_get(c, "num_key_value_heads"), j->heads));
    if (j->kv_heads == 0) j->kv_heads = j->heads;
    if (j->heads < 1 || j->kv_heads < 1 || j->heads > INT32_MAX || j->kv_heads > j->heads ||
        j->heads % j->kv_heads)
        return mltf_fail(j->err, MLTF_CORRUPT_FILE, "%lld key heads do not divide %lld query heads",
                         (long long)j->kv_heads, (long long)j->heads);
    const int64_t counts[] = {j->blocks, j->layers, j->decoder_layers, j->dense_layers};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        if (counts[i] < 0 || counts[i] > (int64_t)LIMIT_LAYERS)
            return mltf_fail(j->err, MLTF_CORRUPT_FILE, "%lld layers are not possible",
                             (long long)counts[i]);
    }
    j->config = c;
    return a->failed ? mltf_fail_memory(j->err) : MLTF_OK;
}

/* modules.json and 1_Pooling/config.json, as sentence-transformers writes them, where the file says how vectors of tokens
 * become one. */
static mltf_status write_pooling(convert_job *j, const char *dir)
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

static mltf_status write_settings(convert_job *j, const char *dir)
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
    const int64_t start = json_int(json_get(j->config, "decoder_start_token_id"), -1);
    if (start >= 0) put_id(j, g, "decoder_start_token_id", start);
    json_set(a, g, "transformers_version", json_new_cstr(a, MLTF_TRANSFORMERS_VERSION));
    if (a->failed) return mltf_fail_memory(j->err);
    return convert_write_json(dir, "generation_config.json", g, j->err);
}

/* ---- all of it ----------------------------------------------------------------------------- */

static mltf_status convert(convert_job *j, const char *dir, const mltf_convert_options *o)
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
    TRY(convert_plan(j));
    dir_txn txn;
    TRY(dir_txn_begin(&txn, dir, j->err));
    mltf_status st = write_settings(j, txn.path);
    if (!st) st = convert_tokenizer(j->g, txn.path, j->err);
    if (!st)
        st = st_write(txn.path, j->specs, j->n, 0, convert_put_tensor, j, o->progress,
                      o->progress_user, j->err);
    if (!st) st = dir_txn_commit(&txn, j->err);
    dir_txn_abort(&txn);
    return st;
}

mltf_status convert_gguf(const char *file, const char *dir, const mltf_convert_options *opts,
                         mltf_err *err)
{
    const mltf_convert_options none = {0};
    if (!opts) opts = &none;
    convert_job j = {.dtype = DT_BF16, .err = err};
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
