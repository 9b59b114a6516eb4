/* GGUF files of families whose tensors lie otherwise in a checkpoint, made here: each operation puts every value where
 * transformers has it. The whole of each family is compared with the library in tests/interop/check_convert.py. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "convert/convert_gguf.h"
#include "formats/checkpoint.h"
#include "formats/json.h"
#include "gguf_build.h"

/* What a file is made of: lines "key number" and lines "tensor [MXFP4] length …" with the contiguous length first. */
typedef struct model {
    const char *arch, *settings, *tensors;
    const char *tokenizer; /* "gpt2" or "t5" */
} model;

static size_t lines_of(const char *s)
{
    size_t n = 0;
    for (; *s; s++) n += *s == '\n';
    return n;
}

static void put_tokenizer(mltf_buf *b, const char *kind)
{
    static const char *const tokens[] = {"<s>", "<pad>", "</s>", "<unk>",
                                         "\xE2\x96\x81"
                                         "a"};
    static const char *const merges[] = {"a b"}, *const letters[] = {"<s>", "<pad>", "a", "b",
                                                                     "ab"};
    kv_text(b, "tokenizer.ggml.model", kind);
    kv_text(b, "tokenizer.ggml.pre", "gpt-2");
    const bool unigram = strcmp(kind, "t5") == 0;
    strings(b, "tokenizer.ggml.tokens", unigram ? tokens : letters, 5);
    strings(b, "tokenizer.ggml.merges", merges, 1);
    const float scores[] = {0, 0, 0, 0, -1.5f};
    text(b, "tokenizer.ggml.scores");
    u32(b, GGUF_V_ARRAY);
    u32(b, GGUF_V_F32);
    u64(b, 5);
    buf_append(b, scores, sizeof scores);
    text(b, "tokenizer.ggml.precompiled_charsmap");
    u32(b, GGUF_V_ARRAY);
    u32(b, GGUF_V_U8);
    u64(b, 4);
    buf_append(b, "\0\0\0\0", 4);
    kv_u32(b, "tokenizer.ggml.bos_token_id", 0);
    kv_u32(b, "tokenizer.ggml.eos_token_id", 2);
    kv_u32(b, "tokenizer.ggml.unknown_token_id", 3);
}

/* Value j of tensor i is 100 i + j; a block of MXFP4 is i + its row, then bytes from 0x10 row upwards. */
static char *make_file(const char *dir, const model *m)
{
    mltf_buf b = MLTF_BUF_INIT, data = MLTF_BUF_INIT;
    header(&b, lines_of(m->tensors), lines_of(m->settings) + 10);
    kv_text(&b, "general.architecture", m->arch);
    for (const char *s = m->settings; *s; s = strchr(s, '\n') + 1) {
        char key[64];
        unsigned v;
        assert_int_equal(sscanf(s, "%63s %u", key, &v), 2);
        kv_u32(&b, key, v);
    }
    put_tokenizer(&b, m->tokenizer);
    unsigned i = 0;
    for (const char *s = m->tensors; *s; s = strchr(s, '\n') + 1, i++) {
        char name[64];
        unsigned long long d[3] = {1, 1, 1};
        const bool packed = strstr(s, "MXFP4") && strstr(s, "MXFP4") < strchr(s, '\n');
        const int n = packed ? sscanf(s, "%63s MXFP4 %llu %llu %llu", name, d, d + 1, d + 2)
                             : sscanf(s, "%63s %llu %llu %llu", name, d, d + 1, d + 2);
        text(&b, name);
        u32(&b, (uint32_t)n - 1);
        for (int k = 0; k < n - 1; k++) u64(&b, d[k]);
        u32(&b, packed ? GGUF_MXFP4 : GGUF_F32);
        u64(&b, data.n);
        for (unsigned r = 0; packed && r < d[0] / 32 * d[1] * d[2]; r++) {
            buf_putc(&data, (char)(i + r));
            for (unsigned k = 0; k < 16; k++) buf_putc(&data, (char)(16 * r + k));
        }
        for (unsigned j = 0; !packed && j < d[0] * d[1] * d[2]; j++) {
            const float x = (float)(100 * i + j);
            buf_append(&data, &x, sizeof x);
        }
        pad(&data);
    }
    pad(&b);
    buf_append(&b, data.p, data.n);
    char *path = path_join(dir, "model.gguf");
    assert_int_equal(file_write(path, b.p, b.n, NULL), MLTF_OK);
    mltf_buf_release(&b);
    mltf_buf_release(&data);
    return path;
}

/* A converted file: its directory, and the checkpoint in it. */
typedef struct fixture {
    char *dir, *out;
    checkpoint *ck;
} fixture;

static void convert(fixture *f, const model *m)
{
    const mltf_convert_options f32 = {.torch_dtype = "float32"};
    mltf_err err = {0};
    f->dir = unit_new_folder();
    assert_non_null(f->dir);
    char *path = make_file(f->dir, m);
    f->out = path_join(f->dir, "out");
    if (convert_gguf(path, f->out, &f32, &err)) fail_msg("%s", err.msg);
    if (checkpoint_open(&f->ck, f->out, NULL, &err)) fail_msg("%s", err.msg);
    free(path);
}

static void close_fixture(fixture *f)
{
    checkpoint_close(f->ck);
    assert_int_equal(unit_remove_folder(f->dir), 0);
    free(f->out);
}

static const ck_tensor *want(const fixture *f, const char *name, size_t count)
{
    const ck_tensor *t = checkpoint_find(f->ck, name);
    if (!t) fail_msg("%s is missing", name);
    if (t->count != count) fail_msg("%s has %zu values, not %zu", name, t->count, count);
    return t;
}

static void want_floats(const fixture *f, const char *name, size_t count, const float *x, size_t n)
{
    const ck_tensor *t = want(f, name, count);
    for (size_t i = 0; i < n; i++) {
        float got;
        memcpy(&got, (const char *)t->data + 4 * i, 4);
        if (got != x[i]) fail_msg("%s[%zu] is %g, not %g", name, i, (double)got, (double)x[i]);
    }
}

static void want_in_file(const fixture *f, const char *file, const char *words)
{
    char *path = path_join(f->out, file);
    mltf_buf b = MLTF_BUF_INIT;
    assert_int_equal(file_read(&b, path, 1 << 24, NULL), MLTF_OK);
    buf_putc(&b, '\0');
    if (!strstr(b.p, words)) fail_msg("%s does not say %s:\n%.2000s", file, words, b.p);
    mltf_buf_release(&b);
    free(path);
}

#define ATTENTION_TENSORS                                                                          \
    "token_embd.weight 32 5\noutput_norm.weight 32\nblk.0.attn_norm.weight 32\n"                   \
    "blk.0.attn_q.weight 32 32\nblk.0.attn_k.weight 32 32\nblk.0.attn_v.weight 32 32\n"            \
    "blk.0.attn_output.weight 32 32\n"
#define GPT_OSS(experts)                                                                           \
    {                                                                                              \
        .arch = "gpt-oss", .tokenizer = "gpt2",                                                    \
        .settings = "gpt-oss.block_count 1\ngpt-oss.context_length 16\n"                           \
                    "gpt-oss.embedding_length 32\ngpt-oss.feed_forward_length 32\n"                \
                    "gpt-oss.expert_feed_forward_length 2\ngpt-oss.attention.head_count 1\n"       \
                    "gpt-oss.expert_count 2\ngpt-oss.expert_used_count 1\n",                       \
        .tensors =                                                                                 \
            ATTENTION_TENSORS "blk.0.post_attention_norm.weight 32\nblk.0.attn_sinks.weight 1\n"   \
                              "blk.0.ffn_gate_inp.weight 32 2\nblk.0.ffn_gate_exps.bias 2 "        \
                              "2\nblk.0.ffn_up_exps.bias 2 2\n"                                    \
                              "blk.0.ffn_down_exps.bias 32 2\n" experts                            \
    }

static void test_gpt_oss_weaves_gate_and_up_of_its_experts(void **state)
{
    (void)state;
    const model m = GPT_OSS("blk.0.ffn_gate_exps.weight 32 2 2\nblk.0.ffn_up_exps.weight 32 2 2\n"
                            "blk.0.ffn_down_exps.weight 2 32 2\n");
    fixture f;
    convert(&f, &m);
    // [2, 32, 4]: columns gate 0, up 0, gate 1, up 1 of inputs 0 and 1
    const float both[] = {1300, 1400, 1332, 1432, 1301, 1401, 1333, 1433};
    want_floats(&f, "model.layers.0.mlp.experts.gate_up_proj", 256, both, 8);
    const float bias[] = {1000, 1100, 1001, 1101, 1002, 1102, 1003, 1103};
    want_floats(&f, "model.layers.0.mlp.experts.gate_up_proj_bias", 8, bias, 8);
    const float down[] = {1500, 1502, 1504}; // [2, 2, 32]
    want_floats(&f, "model.layers.0.mlp.experts.down_proj", 128, down, 3);
    want(&f, "model.layers.0.self_attn.sinks", 1);
    want_in_file(&f, "config.json", "\"rope_scaling\": null");
    close_fixture(&f);
}

static void test_gpt_oss_keeps_its_mxfp4_blocks(void **state)
{
    (void)state;
    const model m = GPT_OSS("blk.0.ffn_gate_exps.weight MXFP4 32 2 2\n"
                            "blk.0.ffn_up_exps.weight MXFP4 32 2 2\n"
                            "blk.0.ffn_down_exps.weight MXFP4 32 32 2\n");
    fixture f;
    convert(&f, &m);
    const ck_tensor *scales = want(&f, "model.layers.0.mlp.experts.gate_up_proj_scales", 8),
                    *blocks = want(&f, "model.layers.0.mlp.experts.gate_up_proj_blocks", 128);
    assert_int_equal(scales->dtype, DT_U8);
    // gate is tensor 13, up 14: rows by turns
    const uint8_t order[] = {13, 14, 14, 15, 15, 16, 16, 17};
    assert_memory_equal(scales->data, order, sizeof order);
    // the low halves of bytes 00 … 0f are values 0 to 15, the high halves 16 to 31: neighbours together
    const uint8_t first[] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe,
                             0,    0,    0,    0,    0,    0,    0,    0};
    assert_memory_equal(blocks->data, first, sizeof first);
    assert_memory_equal((const uint8_t *)blocks->data + 16, first, sizeof first);
    want_in_file(&f, "config.json", "\"quant_method\": \"mxfp4\"");
    close_fixture(&f);
}

static void test_deepseek_puts_the_pieces_of_kv_b_together(void **state)
{
    (void)state;
    const model m = {
        .arch = "deepseek2",
        .tokenizer = "gpt2",
        .settings = "deepseek2.block_count 1\ndeepseek2.context_length 16\n"
                    "deepseek2.embedding_length 8\ndeepseek2.feed_forward_length 8\n"
                    "deepseek2.attention.head_count 2\ndeepseek2.attention.head_count_kv 1\n"
                    "deepseek2.attention.kv_lora_rank 3\ndeepseek2.rope.dimension_count 2\n"
                    "deepseek2.attention.key_length 5\ndeepseek2.attention.value_length 3\n"
                    "deepseek2.attention.key_length_mla 4\ndeepseek2.attention.value_length_mla 1\n"
                    "deepseek2.leading_dense_block_count 1\ndeepseek2.expert_count 2\n"
                    "deepseek2.expert_used_count 1\ndeepseek2.expert_feed_forward_length 4\n",
        .tensors = "token_embd.weight 8 5\noutput_norm.weight 8\nblk.0.attn_norm.weight 8\n"
                   "blk.0.ffn_norm.weight 8\nblk.0.ffn_gate.weight 8 8\nblk.0.ffn_up.weight 8 8\n"
                   "blk.0.ffn_down.weight 8 8\nblk.0.attn_q.weight 8 8\n"
                   "blk.0.attn_kv_a_mqa.weight 8 5\nblk.0.attn_kv_a_norm.weight 3\n"
                   "blk.0.attn_output.weight 2 8\nblk.0.attn_k_b.weight 2 3 2\n"
                   "blk.0.attn_v_b.weight 3 1 2\n"};
    fixture f;
    convert(&f, &m);
    // [2 heads x (2 of keys + 1 of values), 3]
    const float kv_b[] = {1100, 1102, 1104, 1101, 1103, 1105, 1200, 1201, 1202,
                          1106, 1108, 1110, 1107, 1109, 1111, 1203, 1204, 1205};
    want_floats(&f, "model.layers.0.self_attn.kv_b_proj.weight", 18, kv_b, 18);
    want_in_file(&f, "config.json", "\"qk_nope_head_dim\": 2");
    want_in_file(&f, "config.json", "\"model_type\": \"deepseek_v2\"");
    close_fixture(&f);
}

static void test_roberta_gets_its_first_two_positions_back(void **state)
{
    (void)state;
    const model m = {
        .arch = "bert",
        .tokenizer = "t5",
        .settings = "bert.block_count 1\nbert.context_length 4\nbert.embedding_length 2\n"
                    "bert.feed_forward_length 2\nbert.attention.head_count 1\n",
        .tensors = "token_embd.weight 2 5\nposition_embd.weight 2 4\ntoken_types.weight 2\n"
                   "token_embd_norm.weight 2\nblk.0.attn_q.weight 2 2\nblk.0.attn_k.weight 2 2\n"
                   "blk.0.attn_v.weight 2 2\nblk.0.attn_output.weight 2 2\n"
                   "blk.0.attn_output_norm.weight 2\nblk.0.ffn_up.weight 2 2\n"
                   "blk.0.ffn_down.weight 2 2\nblk.0.layer_output_norm.weight 2\n"};
    fixture f;
    convert(&f, &m);
    const float positions[] = {0, 0, 0, 0, 100, 101};
    want_floats(&f, "embeddings.position_embeddings.weight", 12, positions, 6);
    want_in_file(&f, "config.json", "\"max_position_embeddings\": 6");
    want_in_file(&f, "config.json", "\"model_type\": \"xlm-roberta\"");
    want_in_file(&f, "tokenizer.json", "\"precompiled_charsmap\": \"AAAAAA==\"");
    want_in_file(&f, "tokenizer.json", "-1.5");
    close_fixture(&f);
}

static void test_glm_gets_queries_keys_and_values_apart(void **state)
{
    (void)state;
    const model glm = {
        .arch = "chatglm",
        .tokenizer = "gpt2",
        .settings = "chatglm.block_count 1\nchatglm.context_length 16\n"
                    "chatglm.embedding_length 4\nchatglm.feed_forward_length 4\n"
                    "chatglm.attention.head_count 2\nchatglm.attention.head_count_kv 1\n",
        .tensors = "token_embd.weight 4 5\noutput_norm.weight 4\nblk.0.attn_norm.weight 4\n"
                   "blk.0.ffn_norm.weight 4\nblk.0.attn_qkv.weight 4 8\nblk.0.attn_qkv.bias 8\n"
                   "blk.0.attn_output.weight 4 4\nblk.0.ffn_up.weight 4 8\n"
                   "blk.0.ffn_down.weight 4 4\n"};
    fixture f;
    convert(&f, &glm);
    want(&f, "model.layers.0.self_attn.q_proj.weight", 16);
    const float v[] = {424, 425}, bias[] = {506, 507};
    want_floats(&f, "model.layers.0.self_attn.v_proj.weight", 8, v, 2);
    want_floats(&f, "model.layers.0.self_attn.v_proj.bias", 2, bias, 2);
    close_fixture(&f);
}

static void test_mamba_2_gets_vectors_and_a_convolution_of_channels(void **state)
{
    (void)state;
    const model m = {
        .arch = "mamba2",
        .tokenizer = "gpt2",
        .settings = "mamba2.block_count 1\nmamba2.embedding_length 4\nmamba2.ssm.inner_size 8\n"
                    "mamba2.ssm.state_size 2\nmamba2.ssm.conv_kernel 3\n"
                    "mamba2.ssm.group_count 1\nmamba2.ssm.time_step_rank 2\n"
                    "mamba2.attention.head_count 0\n",
        .tensors = "token_embd.weight 4 5\noutput_norm.weight 4\nblk.0.attn_norm.weight 4\n"
                   "blk.0.ssm_in.weight 4 22\nblk.0.ssm_conv1d.weight 3 12\n"
                   "blk.0.ssm_conv1d.bias 12\nblk.0.ssm_a 1 2\nblk.0.ssm_d 1 2\n"
                   "blk.0.ssm_dt.bias 2\nblk.0.ssm_norm.weight 8 1\nblk.0.ssm_out.weight 8 4\n"};
    fixture f;
    convert(&f, &m);
    const ck_tensor *conv = want(&f, "backbone.layers.0.mixer.conv1d.weight", 36);
    assert_int_equal(conv->ndim, 3);
    assert_int_equal(conv->shape[1], 1);
    assert_int_equal(want(&f, "backbone.layers.0.mixer.A_log", 2)->ndim, 1);
    const float d[] = {700, 701}, dt[] = {800, 801}, norm[] = {900, 901};
    want_floats(&f, "backbone.layers.0.mixer.D", 2, d, 2);
    want_floats(&f, "backbone.layers.0.mixer.dt_bias", 2, dt, 2);
    want_floats(&f, "backbone.layers.0.mixer.norm.weight", 8, norm, 2);
    want_in_file(&f, "config.json", "\"head_dim\": 4");
    close_fixture(&f);
}

/* 32000 pieces, placeholders behind them, as llama.cpp's converter fills T5's vocabulary up. */
static void test_sentinels_of_t5_get_their_names_back(void **state)
{
    (void)state;
    enum { N = 32128 };
    mltf_buf b = MLTF_BUF_INIT;
    header(&b, 0, 5);
    kv_text(&b, "general.architecture", "t5");
    kv_text(&b, "tokenizer.ggml.model", "t5");
    kv_u32(&b, "tokenizer.ggml.unknown_token_id", 2);
    text(&b, "tokenizer.ggml.tokens");
    u32(&b, GGUF_V_ARRAY);
    u32(&b, GGUF_V_STRING);
    u64(&b, N);
    for (int i = 0; i < N; i++) {
        char token[24];
        snprintf(token, sizeof token, i < 32000 ? "t%d" : "[PAD%d]", i);
        text(&b, token);
    }
    text(&b, "tokenizer.ggml.scores");
    u32(&b, GGUF_V_ARRAY);
    u32(&b, GGUF_V_F32);
    u64(&b, N);
    for (int i = 0; i < N; i++) u32(&b, 0);
    gguf_file *g;
    mltf_err err = {0};
    fixture f = {.dir = unit_new_folder()};
    assert_non_null(f.dir);
    f.out = path_join(f.dir, "");
    if (gguf_read(&g, (const uint8_t *)b.p, b.n, &err)) fail_msg("%s", err.msg);
    if (convert_tokenizer(g, f.dir, &err)) fail_msg("%s", err.msg);
    want_in_file(&f, "tokenizer.json", "\"id\": 32000,\n      \"content\": \"<extra_id_99>\"");
    want_in_file(&f, "tokenizer.json", "\"id\": 32099,\n      \"content\": \"<extra_id_0>\"");
    want_in_file(&f, "tokenizer.json", "[PAD32100]");
    gguf_close(g);
    mltf_buf_release(&b);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt_oss_weaves_gate_and_up_of_its_experts),
        cmocka_unit_test(test_gpt_oss_keeps_its_mxfp4_blocks),
        cmocka_unit_test(test_deepseek_puts_the_pieces_of_kv_b_together),
        cmocka_unit_test(test_roberta_gets_its_first_two_positions_back),
        cmocka_unit_test(test_mamba_2_gets_vectors_and_a_convolution_of_channels),
        cmocka_unit_test(test_sentinels_of_t5_get_their_names_back),
        cmocka_unit_test(test_glm_gets_queries_keys_and_values_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
