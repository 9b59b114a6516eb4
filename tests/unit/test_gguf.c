/* GGUF files made here: sound ones are read, each broken one is refused in words, and a converted one loads. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "convert/convert_gguf.h"
#include "formats/checkpoint.h"
#include "gguf_build.h"

static void refuses(const mltf_buf *b, const char *words)
{
    gguf_file *g;
    mltf_err err = {0};
    if (gguf_read(&g, (const uint8_t *)b->p, b->n, &err) == MLTF_OK)
        fail_msg("taken, expected \"%s\"", words);
    if (!strstr(err.msg, words)) fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
}

static void test_metadata_and_tensors_are_read(void **state)
{
    (void)state;
    mltf_buf b = MLTF_BUF_INIT;
    header(&b, 2, 4);
    kv_text(&b, "general.architecture", "llama");
    kv_u32(&b, "llama.block_count", 7);
    text(&b, "list");
    u32(&b, GGUF_V_ARRAY);
    u32(&b, GGUF_V_I8);
    u64(&b, 3);
    buf_append(&b, "\1\2\xFF", 3);
    text(&b, "words");
    u32(&b, GGUF_V_ARRAY);
    u32(&b, GGUF_V_STRING);
    u64(&b, 2);
    text(&b, "a");
    text(&b, "");
    tensor(&b, "x", 2, 2, 3, GGUF_F32, 0);
    tensor(&b, "q", 1, 32, 0, GGUF_Q8_0, 32);
    pad(&b);
    const float x[6] = {0, 1, 2, 3, 4, 5};
    buf_append(&b, x, sizeof x);
    pad(&b);
    buf_append(&b, "\0\x3C", 2); // 1.0
    for (int i = 0; i < 32; i++) buf_putc(&b, (char)(i - 16));
    gguf_file *g;
    mltf_err err = {0};
    if (gguf_read(&g, (const uint8_t *)b.p, b.n, &err)) fail_msg("%s", err.msg);
    assert_true(str_is(gguf_string(g, "general.architecture", STR("")), "llama"));
    assert_int_equal(gguf_int(g, "llama.block_count", -1), 7);
    assert_int_equal(gguf_int(g, "general.architecture", -1), -1);
    assert_int_equal(gguf_int(g, "absent", 5), 5);
    assert_true(gguf_number_at(gguf_get(g, "list"), 2) == -1);
    assert_true(str_is(gguf_get(g, "words")->strings[0], "a"));
    assert_int_equal(gguf_count(g), 2);
    const gguf_tensor *t = gguf_find(g, "x");
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->shape[1], 3);
    float y[32];
    gguf_dequantize(y, t, 4, 2);
    assert_true(y[0] == 4 && y[1] == 5);
    gguf_dequantize(y, gguf_find(g, "q"), 0, 32);
    assert_true(y[0] == -16 && y[31] == 15);
    assert_null(gguf_find(g, "z"));
    gguf_close(g);
    // cut anywhere, it is refused and nothing behind the end is read
    for (size_t n = 0; n < b.n; n++) {
        char *cut = malloc(n ? n : 1);
        memcpy(cut, b.p, n);
        assert_int_not_equal(gguf_read(&g, (const uint8_t *)cut, n, &err), MLTF_OK);
        free(cut);
    }
    mltf_buf_release(&b);
}

/* tests/fixtures/blocks.gguf: NAME a block of that type, NAME.f32 what the gguf package unpacks of it. */
static void test_blocks_of_every_type_unpack_to_the_recorded_bits(void **state)
{
    (void)state;
    gguf_file *g;
    mltf_err err = {0};
    if (gguf_open(&g, "tests/fixtures/blocks.gguf", &err)) fail_msg("%s", err.msg);
    assert_int_equal(gguf_count(g), 44);
    for (size_t i = 0; i < gguf_count(g); i++) {
        const gguf_tensor *t = gguf_at(g, i);
        if (t->type == GGUF_F32) continue;
        char name[64];
        snprintf(name, sizeof name, "%s.f32", gguf_type_name(t->type));
        const gguf_tensor *want = gguf_find(g, name);
        assert_non_null(want);
        assert_int_equal(want->count, t->count);
        float y[256];
        gguf_dequantize(y, t, 0, t->count);
        if (memcmp(y, want->data, want->bytes) != 0)
            fail_msg("%s unpacks otherwise", gguf_type_name(t->type));
    }
    gguf_close(g);
}

static void test_broken_files_are_refused(void **state)
{
    (void)state;
    mltf_buf b = MLTF_BUF_INIT;
    buf_puts(&b, "GGML....");
    refuses(&b, "this is no GGUF file");
    buf_clear(&b);
    buf_puts(&b, "GGUF");
    u32(&b, 0x03000000);
    u64(&b, 0);
    u64(&b, 0);
    refuses(&b, "big-endian");
    buf_clear(&b);
    header(&b, UINT64_MAX, 0);
    refuses(&b, "too short for what it says");
    buf_clear(&b);
    header(&b, 0, (uint64_t)1 << 60);
    refuses(&b, "too short for what it says");

#define WITH(tensors, values, ...)                                                                 \
    buf_clear(&b);                                                                                 \
    header(&b, tensors, values);                                                                   \
    __VA_ARGS__;                                                                                   \
    for (int i = 0; i < 64; i++) buf_putc(&b, 0)
    WITH(0, 1, text(&b, "k"); u32(&b, GGUF_V_STRING); u64(&b, (uint64_t)1 << 40));
    refuses(&b, "ends in the middle");
    WITH(0, 1, text(&b, "k"); u32(&b, GGUF_V_ARRAY); u32(&b, GGUF_V_U64);
         u64(&b, (uint64_t)1 << 61));
    refuses(&b, "reaches past the end");
    WITH(0, 1, text(&b, "k"); u32(&b, GGUF_V_ARRAY); u32(&b, GGUF_V_STRING);
         u64(&b, (uint64_t)1 << 61));
    refuses(&b, "reaches past the end");
    WITH(0, 1, text(&b, "k"); u32(&b, GGUF_V_ARRAY); u32(&b, GGUF_V_ARRAY); u64(&b, 1));
    refuses(&b, "unknown type 9");
    WITH(0, 1, text(&b, "k"); u32(&b, 99));
    refuses(&b, "unknown type 99");
    WITH(0, 2, kv_u32(&b, "k", 1); kv_u32(&b, "k", 2));
    refuses(&b, "\"k\" is there twice");
    WITH(0, 1, kv_u32(&b, "general.alignment", 24));
    refuses(&b, "not a power of two");
    WITH(1, 0, tensor(&b, "t", 5, 1, 1, GGUF_F32, 0));
    refuses(&b, "5 dimensions");
    WITH(1, 0, tensor(&b, "t", 2, (uint64_t)1 << 33, (uint64_t)1 << 33, GGUF_F32, 0));
    refuses(&b, "more elements");
    WITH(1, 0, tensor(&b, "t", 1, (uint64_t)1 << 62, 1, GGUF_F32, 0));
    refuses(&b, "larger than memory");
    WITH(1, 0, tensor(&b, "t", 1, 31, 1, GGUF_Q8_0, 0));
    refuses(&b, "ends inside a block");
    WITH(1, 0, tensor(&b, "t", 1, 4, 1, 4, 0));
    refuses(&b, "type 4, which is not supported");
    WITH(1, 0, tensor(&b, "t", 1, 4096, 1, GGUF_F32, 0));
    refuses(&b, "lies outside of the file");
    WITH(1, 0, tensor(&b, "t", 1, 1, 1, GGUF_F32, 1));
    refuses(&b, "lies outside of the file");
    WITH(1, 0, tensor(&b, "t", 1, 1, 1, GGUF_F32, UINT64_MAX - 31));
    refuses(&b, "lies outside of the file");
    WITH(2, 0, tensor(&b, "t", 1, 1, 1, GGUF_F32, 0); tensor(&b, "t", 1, 1, 1, GGUF_F32, 0));
    refuses(&b, "\"t\" is there twice");
    mltf_buf_release(&b);
}

/* ---- conversion ---------------------------------------------------------------------------- */

typedef struct options {
    const char *arch, *pre;
    bool without_norm, more;
} options;

/* One layer of Llama: hidden 4, 1 head, feed-forward 4, vocabulary of 4; tensor k holds 100 k, 100 k + 1, … */
static char *make_model(const char *dir, options o)
{
    static const char *const tokens[] = {"<s>", "a", "b", "ab"}, *const merges[] = {"a b"};
    static const char *const names[] = {"token_embd",      "blk.0.attn_q",      "blk.0.attn_k",
                                        "blk.0.attn_v",    "blk.0.attn_output", "blk.0.ffn_gate",
                                        "blk.0.ffn_up",    "blk.0.ffn_down",    "output_norm",
                                        "blk.0.attn_norm", "blk.0.ffn_norm",    "blk.0.more"};
    const size_t n = o.without_norm ? 10 : o.more ? 12 : 11;
    mltf_buf b = MLTF_BUF_INIT;
    header(&b, n, 13);
    kv_text(&b, "general.architecture", o.arch);
    kv_u32(&b, "llama.block_count", 1);
    kv_u32(&b, "llama.context_length", 16);
    kv_u32(&b, "llama.embedding_length", 4);
    kv_u32(&b, "llama.feed_forward_length", 4);
    kv_u32(&b, "llama.attention.head_count", 1);
    kv_text(&b, "tokenizer.ggml.model", "gpt2");
    kv_text(&b, "tokenizer.ggml.pre", o.pre);
    strings(&b, "tokenizer.ggml.tokens", tokens, 4);
    strings(&b, "tokenizer.ggml.merges", merges, 1);
    kv_u32(&b, "tokenizer.ggml.bos_token_id", 0);
    kv_u32(&b, "tokenizer.ggml.eos_token_id", 9); // outside of the vocabulary: left out
    kv_text(&b, "tokenizer.chat_template", "{{ messages }}");
    for (size_t i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.weight", names[i]);
        tensor(&b, name, i < 8 ? 2 : 1, 4, 4, GGUF_F32, 64 * i);
    }
    pad(&b);
    for (size_t i = 0; i < n; i++) {
        float x[16];
        for (int k = 0; k < 16; k++) x[k] = (float)(100 * i) + (float)k;
        buf_append(&b, x, sizeof x);
    }
    char *path = path_join(dir, "model.gguf");
    assert_int_equal(file_write(path, b.p, b.n, NULL), MLTF_OK);
    mltf_buf_release(&b);
    return path;
}

static void test_conversion_writes_a_checkpoint_or_nothing(void **state)
{
    (void)state;
    char *dir = unit_new_folder();
    assert_non_null(dir);
    char *path = make_model(dir, (options){"llama", "gpt-2", false, false}),
         *out = path_join(dir, "out");
    const mltf_convert_options f32 = {.torch_dtype = "float32"};
    mltf_err err = {0};
    if (convert_gguf(path, out, &f32, &err)) fail_msg("%s", err.msg);
    static const char *const files[] = {
        "config.json",           "generation_config.json",  "tokenizer.json",
        "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *file = path_join(out, files[i]);
        if (!file_exists(file)) fail_msg("%s is missing", files[i]);
        free(file);
    }
    checkpoint *ck;
    assert_int_equal(checkpoint_open(&ck, out, NULL, &err), MLTF_OK);
    assert_int_equal(checkpoint_count(ck), 11);
    // rows 0 1 2 3 of the query head become 0 2 1 3; values keep theirs
    const ck_tensor *q = checkpoint_find(ck, "model.layers.0.self_attn.q_proj.weight"),
                    *v = checkpoint_find(ck, "model.layers.0.self_attn.v_proj.weight");
    assert_non_null(q);
    assert_non_null(v);
    float x[16];
    memcpy(x, q->data, sizeof x);
    assert_true(x[0] == 100 && x[4] == 108 && x[8] == 104 && x[12] == 112);
    memcpy(x, v->data, sizeof x);
    assert_true(x[4] == 304 && x[8] == 308);
    checkpoint_close(ck);
    assert_int_equal(convert_gguf(path, out, &f32, &err), MLTF_ALREADY_EXISTS);

    static const struct {
        options o;
        const char *words;
    } bad[] = {
        {{"harbour", "gpt-2", false, false},
         "architecture \"harbour\" are not converted; known are llama"},
        {{"llama", "wavy", false, false}, "tokenizer.ggml.pre \"wavy\""},
        {{"llama", "gpt-2", true, false}, "lacks the tensor \"blk.0.ffn_norm.weight\""},
        {{"llama", "gpt-2", false, true}, "\"blk.0.more.weight\" has no place"},
    };
    char *other = path_join(dir, "other");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        free(path);
        path = make_model(dir, bad[i].o);
        assert_int_not_equal(convert_gguf(path, other, NULL, &err), MLTF_OK);
        if (!strstr(err.msg, bad[i].words))
            fail_msg("\"%s\" does not say \"%s\"", err.msg, bad[i].words);
        assert_false(dir_exists(other));
    }
    const mltf_convert_options int4 = {.quantize = "int4"}, wrong = {.torch_dtype = "int64"};
    assert_int_equal(convert_gguf(path, other, &int4, &err), MLTF_UNSUPPORTED);
    assert_int_equal(convert_gguf(path, other, &wrong, &err), MLTF_INVALID_INPUT);
    dir_list left;
    assert_int_equal(dir_read(&left, dir, NULL), MLTF_OK);
    assert_int_equal(left.n, 2); // model.gguf, out
    dir_list_free(&left);
    free(path);
    free(out);
    free(other);
    assert_int_equal(unit_remove_folder(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metadata_and_tensors_are_read),
        cmocka_unit_test(test_blocks_of_every_type_unpack_to_the_recorded_bits),
        cmocka_unit_test(test_broken_files_are_refused),
        cmocka_unit_test(test_conversion_writes_a_checkpoint_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
