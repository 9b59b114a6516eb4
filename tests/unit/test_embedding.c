/* Vectors of texts: every pooling mode and module of a sentence-transformers folder, against the same arithmetic
 * done here on the hidden states that feature-extraction gives. */
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tasks/embedding.h"

#define H    32 /* hidden size of bert-base */
#define TEXT "Rain fell on the town."

static char *folder;
static char source[4096];

static void write_text(const char *name, const char *text)
{
    char path[512];
    mltf_err err = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (file_write(path, text, strlen(text), &err)) fail_msg("%s", err.msg);
}

static void unlink_text(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(unlink(path), 0);
}

/* linear.weight [2, 32] = step * (i + 1), linear.bias [2] = 0.5, -0.5 */
static void write_weights(float step)
{
    static const char header[] =
        "{\"linear.weight\":{\"dtype\":\"F32\",\"shape\":[2,32],\"data_offsets\":[0,256]},"
        "\"linear.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[256,264]}}";
    unsigned char file[8 + sizeof header - 1 + 264] = {0};
    float values[66];
    for (size_t i = 0; i < 64; i++) values[i] = step * (float)(i + 1);
    values[64] = 0.5f;
    values[65] = -0.5f;
    for (size_t i = 0; i < 8; i++) file[i] = (unsigned char)((sizeof header - 1) >> (8 * i));
    memcpy(file + 8, header, sizeof header - 1);
    memcpy(file + 8 + sizeof header - 1, values, sizeof values);
    char path[512];
    snprintf(path, sizeof path, "%s/2_Dense/model.safetensors", folder);
    assert_int_equal(file_write(path, file, sizeof file, NULL), MLTF_OK);
}

static int make_folder(void **state)
{
    (void)state;
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json",
                                        "tokenizer_config.json", "special_tokens_map.json"};
    char from[8192], to[512];
    if (!getcwd(source, sizeof source) || !(folder = unit_new_folder())) return -1;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(from, sizeof from, "%s/tests/fixtures/models/bert-base/%s", source, files[i]);
        snprintf(to, sizeof to, "%s/%s", folder, files[i]);
        if (symlink(from, to)) return -1;
    }
    snprintf(to, sizeof to, "%s/1_Pooling", folder);
    if (mkdir(to, 0700)) return -1;
    snprintf(to, sizeof to, "%s/2_Dense", folder);
    if (mkdir(to, 0700)) return -1;
    snprintf(to, sizeof to, "%s/3_Pooling", folder);
    return mkdir(to, 0700);
}

static int remove_folder(void **state)
{
    (void)state;
    return unit_remove_folder(folder);
}

static pipeline *load(const char *dir)
{
    pipeline *p = NULL;
    mltf_err err = {0};
    const pipeline_options o = {
        .task = "feature-extraction", .model_dir = dir, .arch = {.torch_dtype = "float32"}};
    if (pipeline_load(&p, &o, &err)) fail_msg("%s", err.msg);
    return p;
}

/* The hidden states of a text, [T, H]. */
static size_t hidden_states_of(const pipeline *p, const char *text, float out[][H])
{
    mltf_arena a = MLTF_ARENA_INIT;
    json *v = NULL;
    mltf_err err = {0};
    assert_int_equal(pipeline_call(p, json_new_cstr(&a, text), NULL, NULL, &a, &v, &err), MLTF_OK);
    const json *rows = json_at(v, 0);
    const size_t T = json_len(rows);
    assert_in_range(T, 3, 64);
    for (size_t t = 0; t < T; t++)
        for (size_t k = 0; k < H; k++)
            out[t][k] = (float)json_double(json_at(json_at(rows, t), k), NAN);
    arena_release(&a);
    return T;
}

static size_t hidden_states(const pipeline *p, float out[][H])
{
    return hidden_states_of(p, TEXT, out);
}

static void embed_text(const pipeline *p, const char *text, const embed_options *o, float *out,
                       size_t dim)
{
    mltf_arena a = MLTF_ARENA_INIT;
    mltf_err err = {0};
    embeddings e = {0};
    if (pipeline_embed(p, &(mltf_str){text, strlen(text)}, 1, o, NULL, &a, &e, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(e.dim, dim);
    memcpy(out, e.vectors, dim * sizeof *out);
    arena_release(&a);
}

static void embed(const pipeline *p, const embed_options *o, float *out, size_t dim)
{
    embed_text(p, TEXT, o, out, dim);
}

static void expect(const float *want, const float *got, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(want[i] - got[i]) < 1e-5f))
            fail_msg("[%zu]: %g, expected %g", i, (double)got[i], (double)want[i]);
}

static void test_embedding_pools_in_every_mode_in_order(void **state)
{
    (void)state;
    write_text("modules.json", "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": "
                               "\"sentence_transformers.models.Transformer\"},"
                               " {\"idx\": 1, \"name\": \"1\", \"path\": \"1_Pooling\", \"type\": "
                               "\"sentence_transformers.models.Pooling\"}]");
    write_text("1_Pooling/config.json",
               "{\"word_embedding_dimension\": 32, \"pooling_mode_cls_token\": true, "
               "\"pooling_mode_mean_tokens\": true,"
               " \"pooling_mode_max_tokens\": true, \"pooling_mode_mean_sqrt_len_tokens\": true,"
               " \"pooling_mode_weightedmean_tokens\": true, \"pooling_mode_lasttoken\": true}");
    pipeline *p = load(folder);
    static float h[64][H];
    float want[6 * H], got[6 * H];
    const size_t T = hidden_states(p, h);
    for (size_t k = 0; k < H; k++) {
        float sum = 0, max = h[0][k], weighted = 0, weights = 0;
        for (size_t t = 0; t < T; t++) {
            sum += h[t][k];
            max = fmaxf(max, h[t][k]);
            weighted += (float)(t + 1) * h[t][k];
            weights += (float)(t + 1);
        }
        want[k] = h[0][k];
        want[H + k] = max;
        want[2 * H + k] = sum / (float)T;
        want[3 * H + k] = sum / sqrtf((float)T);
        want[4 * H + k] = weighted / weights;
        want[5 * H + k] = h[T - 1][k];
    }
    embed(p, &(embed_options){0}, got, 6 * H);
    expect(want, got, 6 * H);
    pipeline_free(p);
}

static const char pooled_modules[] =
    "[{\"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"},"
    " {\"path\": \"1_Pooling\", \"type\": \"x.Pooling\"}]";

static void test_embedding_takes_a_list_of_modes_in_its_own_order(void **state)
{
    (void)state;
    write_text("modules.json", pooled_modules);
    write_text("1_Pooling/config.json",
               "{\"embedding_dimension\": 32, \"pooling_mode\": [\"lasttoken\", \"cls\"]}");
    pipeline *p = load(folder);
    static float h[64][H];
    float want[2 * H], got[2 * H];
    const size_t T = hidden_states(p, h);
    memcpy(want, h[T - 1], sizeof h[0]);
    memcpy(want + H, h[0], sizeof h[0]);
    embed(p, &(embed_options){0}, got, 2 * H);
    expect(want, got, 2 * H);
    pipeline_free(p);
}

static void test_embedding_bounds_may_lie_under_another_models_name(void **state)
{
    (void)state;
    write_text("modules.json", pooled_modules);
    write_text("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\": true}");
    pipeline *p = load(folder);
    float all[H], three[H], bounded[H];
    embed(p, &(embed_options){0}, all, H);
    embed(p, &(embed_options){.max_length = 3}, three, H);
    pipeline_free(p);
    write_text("sentence_xlm-roberta_config.json", "{\"max_seq_length\": 3}");
    p = load(folder);
    embed(p, &(embed_options){0}, bounded, H);
    pipeline_free(p);
    char path[512];
    snprintf(path, sizeof path, "%s/sentence_xlm-roberta_config.json", folder);
    assert_int_equal(unlink(path), 0);
    expect(three, bounded, H);
    assert_memory_not_equal(all, three, sizeof all);
}

static void test_embedding_runs_dense_and_normalize(void **state)
{
    (void)state;
    write_text(
        "modules.json",
        "[{\"path\": \"1_Pooling\", \"type\": \"sentence_transformers.models.Pooling\"},"
        " {\"path\": \"2_Dense\", \"type\": \"sentence_transformers.models.Dense\"},"
        " {\"path\": \"3_Normalize\", \"type\": \"sentence_transformers.models.Normalize\"}]");
    write_text("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\": true}");
    write_text(
        "2_Dense/config.json",
        "{\"in_features\": 32, \"out_features\": 2, \"bias\": true, \"activation_function\": "
        "\"torch.nn.modules.activation.Tanh\"}");
    write_weights(0.01f);
    pipeline *p = load(folder);
    static float h[64][H];
    float want[2], got[2];
    const size_t T = hidden_states(p, h);
    for (size_t o = 0; o < 2; o++) {
        float sum = 0;
        for (size_t k = 0; k < H; k++) {
            float mean = 0;
            for (size_t t = 0; t < T; t++) mean += h[t][k];
            sum += mean / (float)T * 0.01f * (float)(o * H + k + 1);
        }
        want[o] = tanhf(sum + (o ? -0.5f : 0.5f));
    }
    embed(p, &(embed_options){.normalize = -1}, got, 2); // without the last step
    expect(want, got, 2);
    const float norm = sqrtf(want[0] * want[0] + want[1] * want[1]);
    embed(p, &(embed_options){0}, got, 2);
    expect((float[]){want[0] / norm, want[1] / norm}, got, 2);
    pipeline_free(p);
}

static void test_embedding_takes_pooling_from_the_caller(void **state)
{
    (void)state;
    pipeline *p = load("tests/fixtures/models/bert-base");
    static float h[64][H];
    float want[H], got[H];
    const size_t T = hidden_states(p, h);
    assert_false(pipeline_has_modules(p));
    embed(p, &(embed_options){.pooling = EMBED_FIRST_TOKEN}, got, H);
    expect(h[0], got, H);
    embed(p, &(embed_options){.pooling = EMBED_LAST_TOKEN}, got, H);
    expect(h[T - 1], got, H);
    embed(p, &(embed_options){.pooling = EMBED_FIRST_TOKEN, .dimensions = 4}, got, 4);
    float norm = 0;
    for (size_t k = 0; k < 4; k++) norm += h[0][k] * h[0][k];
    for (size_t k = 0; k < 4; k++) want[k] = h[0][k] / sqrtf(norm);
    expect(want, got, 4);
    pipeline_free(p);
}

static void test_embedding_puts_the_folders_prompt_before_each_text(void **state)
{
    (void)state;
    static const embed_options plain = {0};
    static float h[64][H];
    float want[H], got[H];
    write_text("modules.json", "[{\"path\": \"\", \"type\": \"a.Transformer\"}, {\"path\": "
                               "\"1_Pooling\", \"type\": \"a.Pooling\"}]");
    write_text("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\": true}");
    pipeline *p = load(folder);
    embed_text(p, "Rain fell " TEXT, &plain, want, H);
    embed(p, &(embed_options){.prompt = STR("Rain fell ")}, got, H);
    expect(want, got, H);
    pipeline_free(p);

    write_text("config_sentence_transformers.json",
               "{\"prompts\": {\"query\": \"Rain fell \", \"document\": \"\"}, "
               "\"default_prompt_name\": \"query\"}");
    p = load(folder);
    embed(p, &plain, got, H);
    expect(want, got, H);
    embed(p, &(embed_options){.prompt_name = STR("document")}, got, H);
    embed(p, &(embed_options){.prompt = STR("")}, want, H);
    expect(want, got, H);
    mltf_err err = {0};
    embeddings e = {0};
    mltf_arena a = MLTF_ARENA_INIT;
    const embed_options unknown = {.prompt_name = STR("passage")};
    assert_int_equal(pipeline_embed(p, &STR("x"), 1, &unknown, NULL, &a, &e, &err),
                     MLTF_INVALID_INPUT);
    if (!strstr(err.msg, "\"passage\" is none of the model's prompts: \"query\", \"document\""))
        fail_msg("%s", err.msg);
    arena_release(&a);
    pipeline_free(p);

    // [CLS] and the prompt's tokens are left out of the mean
    write_text("1_Pooling/config.json",
               "{\"pooling_mode_mean_tokens\": true, \"include_prompt\": false}");
    p = load(folder);
    const size_t T = hidden_states_of(p, "Rain fell " TEXT, h),
                 alone = hidden_states_of(p, "Rain fell ", h) - 1;
    hidden_states_of(p, "Rain fell " TEXT, h);
    for (size_t k = 0; k < H; k++) {
        want[k] = 0;
        for (size_t t = alone; t < T; t++) want[k] += h[t][k] / (float)(T - alone);
    }
    embed(p, &plain, got, H);
    expect(want, got, H);
    pipeline_free(p);
    unlink_text("config_sentence_transformers.json");
}

static void test_embedding_activations_are_torchs(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        float of_half, of_minus_half; /* torch.nn.NAME()(±0.5) */
    } rows[] = {{"Identity", 0.5f, -0.5f},           {"ReLU", 0.5f, 0},
                {"GELU", 0.34573123f, -0.15426877f}, {"Sigmoid", 0.62245935f, 0.37754068f},
                {"SiLU", 0.31122968f, -0.18877034f}, {"LeakyReLU", 0.5f, -0.005f},
                {"ELU", 0.5f, -0.39346933f},         {"Softplus", 0.97407699f, 0.47407699f},
                {"Mish", 0.37524524f, -0.22074524f}};
    write_text("modules.json", "[{\"path\": \"1_Pooling\", \"type\": \"a.Pooling\"}, {\"path\": "
                               "\"2_Dense\", \"type\": \"a.Dense\"}]");
    write_text("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\": true}");
    write_weights(0); // the bias alone: 0.5, -0.5
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char config[256];
        float got[2];
        snprintf(config, sizeof config,
                 "{\"in_features\": 32, \"out_features\": 2, \"bias\": true, "
                 "\"activation_function\": \"torch.nn.modules.activation.%s\"}",
                 rows[i].name);
        write_text("2_Dense/config.json", config);
        pipeline *p = load(folder);
        embed(p, &(embed_options){0}, got, 2);
        expect((float[]){rows[i].of_half, rows[i].of_minus_half}, got, 2);
        pipeline_free(p);
    }
    write_text("2_Dense/config.json",
               "{\"in_features\": 32, \"out_features\": 2, \"activation_function\": "
               "\"torch.nn.modules.activation.LogSigmoid\"}");
    pipeline *p = NULL;
    mltf_err err = {0};
    const pipeline_options o = {.task = "feature-extraction", .model_dir = folder};
    assert_int_equal(pipeline_load(&p, &o, &err), MLTF_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "LogSigmoid"));
}

static void test_embedding_refuses_folders_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        const char *modules, *words;
    } rows[] = {
        {"[{\"path\": \"../x\", \"type\": \"a.Pooling\"}]", "../x"},
        {"[{\"path\": \"4_CNN\", \"type\": \"sentence_transformers.models.CNN\"}]",
         "module of type \"CNN\""},
        {"[{\"path\": \"2_Dense\", \"type\": \"a.LSTM\"}]", "LSTM"},
        {"[{\"path\": \"1_Pooling\", \"type\": \"a.Pooling\"}, {\"path\": \"2_Dense\", \"type\": "
         "\"a.Dense\"},"
         " {\"path\": \"2_Dense\", \"type\": \"a.Dense\"}]",
         "takes 32 values"},
        {"[{\"path\": \"3_Pooling\", \"type\": \"a.Pooling\"}]", "pooling_mode \"median\""},
    };
    write_text("1_Pooling/config.json", "{\"pooling_mode_mean_tokens\": true}");
    write_text("3_Pooling/config.json", "{\"pooling_mode\": [\"cls\", \"median\"]}");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_text("modules.json", rows[i].modules);
        pipeline *p = NULL;
        mltf_err err = {0};
        const pipeline_options o = {.task = "feature-extraction", .model_dir = folder};
        assert_int_not_equal(pipeline_load(&p, &o, &err), MLTF_OK);
        if (!strstr(err.msg, rows[i].words))
            fail_msg("\"%s\" does not say \"%s\"", err.msg, rows[i].words);
        assert_null(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embedding_pools_in_every_mode_in_order),
        cmocka_unit_test(test_embedding_takes_a_list_of_modes_in_its_own_order),
        cmocka_unit_test(test_embedding_bounds_may_lie_under_another_models_name),
        cmocka_unit_test(test_embedding_runs_dense_and_normalize),
        cmocka_unit_test(test_embedding_takes_pooling_from_the_caller),
        cmocka_unit_test(test_embedding_puts_the_folders_prompt_before_each_text),
        cmocka_unit_test(test_embedding_refuses_folders_that_do_not_fit),
        cmocka_unit_test(test_embedding_activations_are_torchs),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
