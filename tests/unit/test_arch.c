/* Loading models and running them: what is refused and in which words, and what must stay equal. The model
 * is a tiny llama, written into a directory below $TMPDIR with weights from a fixed generator. */
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arch/arch.h"
#include "formats/safetensors_write.h"
#include "mltf/mltf.h"

enum { H = 32, F = 64, V = 50, LAYERS = 2, MAX_TENSORS = 40 };

static const char llama_config[] =
    "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 32, "
    "\"intermediate_size\": 64, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "
    "\"num_key_value_heads\": 2, \"vocab_size\": 50, \"max_position_embeddings\": 64}";

static char *place;

static int enter(void **state)
{
    (void)state;
    place = unit_new_folder();
    return !place || chdir(place) != 0;
}

static int leave(void **state)
{
    (void)state;
    return chdir("/") != 0 || unit_remove_folder(place);
}

/* ------------------------------------------------------------------ making checkpoints */

typedef struct {
    st_spec specs[MAX_TENSORS];
    char names[MAX_TENSORS][96];
    size_t n;
} plan;

static void add(plan *p, const char *name, size_t rows, size_t cols)
{
    assert_true(p->n < MAX_TENSORS);
    snprintf(p->names[p->n], sizeof p->names[0], "%s", name);
    p->specs[p->n] = (st_spec){
        .name = p->names[p->n], .dtype = DT_F32, .ndim = cols ? 2 : 1, .shape = {rows, cols}};
    p->n++;
}

static float noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1.0f;
}

/* Norms are near one, everything else is noise that depends on the tensor's name alone. */
static mltf_status source(void *user, size_t i, st_sink *to, mltf_err *err)
{
    const st_spec *s = &((const plan *)user)->specs[i];
    const size_t n = s->shape[0] * (s->ndim == 2 ? s->shape[1] : 1);
    uint32_t seed = 1;
    for (const char *c = s->name; *c; c++) seed = seed * 31 + (unsigned char)*c;
    const float gain = s->ndim == 2 ? 1.5f / sqrtf((float)s->shape[1]) : 0.1f;
    for (size_t k = 0; k < n; k++) {
        const float v = noise(&seed) * gain + (s->ndim == 1 ? 1.0f : 0.0f);
        const mltf_status st = st_put(to, &v, sizeof v, err);
        if (st) return st;
    }
    return MLTF_OK;
}

static plan llama_plan(const char *prefix)
{
    plan p = {.n = 0};
    char name[96];
    const struct {
        const char *name;
        size_t rows, cols;
    } layer[] = {{"input_layernorm.weight", H, 0},      {"post_attention_layernorm.weight", H, 0},
                 {"self_attn.q_proj.weight", H, H},     {"self_attn.k_proj.weight", H / 2, H},
                 {"self_attn.v_proj.weight", H / 2, H}, {"self_attn.o_proj.weight", H, H},
                 {"mlp.gate_proj.weight", F, H},        {"mlp.up_proj.weight", F, H},
                 {"mlp.down_proj.weight", H, F}};
    snprintf(name, sizeof name, "%sembed_tokens.weight", prefix);
    add(&p, name, V, H);
    snprintf(name, sizeof name, "%snorm.weight", prefix);
    add(&p, name, H, 0);
    add(&p, "lm_head.weight", V, H);
    for (size_t il = 0; il < LAYERS; il++)
        for (size_t i = 0; i < sizeof layer / sizeof *layer; i++) {
            snprintf(name, sizeof name, "%slayers.%zu.%s", prefix, il, layer[i].name);
            add(&p, name, layer[i].rows, layer[i].cols);
        }
    return p;
}

/* Plans are copied about: the names are pointed at last. */
static void write_tensors(const char *dir, plan *p)
{
    mltf_err err = {0};
    for (size_t i = 0; i < p->n; i++) p->specs[i].name = p->names[i];
    if (st_write(dir, p->specs, p->n, 0, source, p, NULL, NULL, &err)) fail_msg("%s", err.msg);
}

static void write_model(const char *config, plan *p)
{
    mltf_err err = {0};
    unlink("model.safetensors");
    assert_int_equal(file_write("config.json", config, strlen(config), &err), MLTF_OK);
    write_tensors(".", p);
}

static arch_model *load(const arch_load_options *opts)
{
    arch_model *m;
    mltf_err err = {0};
    if (arch_model_load(&m, ".", opts, &err)) fail_msg("%s", err.msg);
    return m;
}

static arch_model *llama(const arch_load_options *opts)
{
    plan p = llama_plan("model.");
    write_model(llama_config, &p);
    return load(opts);
}

static void refuses(const char *config, plan *p, mltf_status status, const char *words)
{
    arch_model *m;
    mltf_err err = {0};
    write_model(config, p);
    assert_int_equal(arch_model_load(&m, ".", NULL, &err), status);
    assert_null(m);
    if (!strstr(err.msg, words)) fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
}

/* ------------------------------------------------------------------ config.json */

static void test_a_wrong_type_names_the_key(void **state)
{
    (void)state;
    plan p = llama_plan("model.");
    refuses("{\"model_type\": \"llama\", \"hidden_size\": \"32\"}", &p, MLTF_CORRUPT_FILE,
            "\"hidden_size\" must be an integer from 1 to 16777216, not \"32\"");
    refuses("{\"model_type\": \"llama\", \"num_hidden_layers\": -1}", &p, MLTF_CORRUPT_FILE,
            "\"num_hidden_layers\"");
    refuses("{\"model_type\": \"llama\", \"num_hidden_layers\": 99999999}", &p, MLTF_CORRUPT_FILE,
            "\"num_hidden_layers\" must be an integer from 0 to 1024");
    refuses("{\"model_type\": \"llama\", \"rms_norm_eps\": NaN}", &p, MLTF_CORRUPT_FILE,
            "\"rms_norm_eps\"");
    refuses("{\"model_type\": \"llama\", \"hidden_act\": \"snake\"}", &p, MLTF_CORRUPT_FILE,
            "\"hidden_act\"");
    refuses("{\"model_type\": \"llama\", \"num_attention_heads\": 3, \"num_key_value_heads\": 2}",
            &p, MLTF_CORRUPT_FILE, "is not a multiple of");
    refuses(
        "{\"model_type\": \"llama\", \"rope_scaling\": {\"rope_type\": \"spiral\", \"factor\": 2}}",
        &p, MLTF_CORRUPT_FILE, "rope_type \"spiral\" is not supported");
    refuses("{\"model_type\": \"llama\", \"rope_scaling\": {\"rope_type\": \"linear\", \"type\": "
            "\"dynamic\", \"factor\": 2}}",
            &p, MLTF_CORRUPT_FILE, "contradict each other");
    refuses("{\"model_type\": \"llama\", \"problem_type\": \"ranking\"}", &p, MLTF_CORRUPT_FILE,
            "\"problem_type\" \"ranking\" is none of regression");
    refuses("[]", &p, MLTF_CORRUPT_FILE, "config.json must hold an object, not list");
    refuses("{}", &p, MLTF_CORRUPT_FILE, "model_type");
}

static void test_unknown_models_are_refused_with_the_reason(void **state)
{
    (void)state;
    plan p = llama_plan("model.");
    refuses("{\"model_type\": \"sparrow\"}", &p, MLTF_UNSUPPORTED,
            "model_type \"sparrow\" is not supported");
    refuses("{\"model_type\": \"mra\"}", &p, MLTF_UNSUPPORTED,
            "model_type \"mra\" is not supported: its attention is a kernel for GPUs");
    refuses("{\"model_type\": \"sparrow\", \"auto_map\": {\"AutoModel\": \"x.Y\"}}", &p,
            MLTF_UNSUPPORTED, "nothing in a model directory is ever executed");
    refuses("{\"model_type\": \"llama\", \"architectures\": [\"LlamaForDancing\"]}", &p,
            MLTF_UNSUPPORTED, "class \"LlamaForDancing\"");
}

static void test_classes_are_known_in_any_case_and_where_refused(void **state)
{
    (void)state;
    assert_true(arch_has_class(STR("mpt"), "MPTForCausalLM"));
    assert_true(arch_has_class(STR("funnel"), "FunnelBaseModel"));
    assert_false(arch_has_class(STR("mpt"), "LlamaForCausalLM"));
    assert_false(arch_has_class(STR("sparrow"), "LlamaForCausalLM"));
}

static void test_what_is_not_computed_is_refused_by_name(void **state)
{
    (void)state;
    plan p = llama_plan("model.");
    refuses("{\"model_type\": \"bitnet\", \"quantization_config\": {\"quant_method\": \"bitnet\"}}",
            &p, MLTF_UNSUPPORTED, "(bitnet)");
    refuses("{\"model_type\": \"nllb-moe\", \"second_expert_policy\": \"random\"}", &p,
            MLTF_CORRUPT_FILE, "\"second_expert_policy\"");
    refuses("{\"model_type\": \"nllb-moe\", \"moe_eval_capacity_token_fraction\": 0.5}", &p,
            MLTF_CORRUPT_FILE, "\"moe_eval_capacity_token_fraction\"");
    refuses("{\"model_type\": \"dbrx\", \"ffn_config\": {\"moe_normalize_expert_weights\": 2}}", &p,
            MLTF_CORRUPT_FILE, "\"moe_normalize_expert_weights\"");
    refuses("{\"model_type\": \"prophetnet\", \"architectures\": [\"ProphetNetForCausalLM\"]}", &p,
            MLTF_UNSUPPORTED, "class \"ProphetNetForCausalLM\"");
    refuses("{\"model_type\": \"xlnet\", \"architectures\": [\"XLNetForQuestionAnswering\"]}", &p,
            MLTF_UNSUPPORTED, "is not supported: it searches spans with beams");
    refuses("{\"model_type\": \"doge\", \"is_moe\": true}", &p, MLTF_CORRUPT_FILE, "\"is_moe\"");
    refuses("{\"model_type\": \"yoso\", \"use_expectation\": false}", &p, MLTF_CORRUPT_FILE,
            "\"use_expectation\"");
    refuses("{\"model_type\": \"t5gemma\", \"architectures\": [\"T5GemmaForTokenClassification\"]}",
            &p, MLTF_CORRUPT_FILE, "behind the decoder");
    refuses("{\"model_type\": \"funnel\", \"block_sizes\": [1, 0]}", &p, MLTF_CORRUPT_FILE,
            "\"block_sizes\"");
}

/* ------------------------------------------------------------------ tensors */

static void test_missing_and_misshaped_tensors_are_named(void **state)
{
    (void)state;
    plan p = llama_plan("model.");
    p.n--; // the last layer's down_proj
    refuses(llama_config, &p, MLTF_CORRUPT_FILE, "lacks 1 tensor");
    refuses(llama_config, &p, MLTF_CORRUPT_FILE, "\"model.layers.1.mlp.down_proj.weight\"");
    p = llama_plan("model.");
    p.specs[0].shape[1] = H / 2;
    refuses(llama_config, &p, MLTF_CORRUPT_FILE,
            "tensor \"model.embed_tokens.weight\" has shape [50, 16], expected [50, 32]");
    p = llama_plan("module.model."); // as DataParallel saves
    refuses(llama_config, &p, MLTF_CORRUPT_FILE,
            "it has \"module.model.embed_tokens.weight\", so names may have been saved with "
            "another prefix");
}

static void test_surplus_tensors_are_warned_about_and_buffers_are_not(void **state)
{
    (void)state;
    plan p = llama_plan("model.");
    add(&p, "model.layers.0.self_attn.rotary_emb.inv_freq", 4, 0);
    add(&p, "critic.weight", 3, 3);
    write_model(llama_config, &p);
    arch_model *m = load(NULL);
    const arch_info *info = arch_model_info(m);
    assert_int_equal(info->n_warnings, 1);
    assert_non_null(strstr(info->warnings[0], "critic.weight"));
    assert_null(strstr(info->warnings[0], "inv_freq"));
    arch_model_free(m);
}

static void test_the_base_prefix_may_be_missing(void **state)
{
    (void)state;
    plan p = llama_plan("");
    write_model(llama_config, &p);
    arch_model *m = load(NULL);
    assert_int_equal(arch_model_info(m)->hidden, H);
    arch_model_free(m);
    m = load(&(arch_load_options){.architecture = "LlamaModel"});
    assert_int_equal(arch_model_info(m)->head, ARCH_HEAD_NONE);
    arch_model_free(m);
}

static void test_facts_about_the_model(void **state)
{
    (void)state;
    arch_model *m = llama(NULL);
    const arch_info *info = arch_model_info(m);
    assert_string_equal(info->model_type, "llama");
    assert_string_equal(info->architecture, "LlamaForCausalLM");
    assert_int_equal(info->kind, ARCH_DECODER);
    assert_int_equal(info->head, ARCH_HEAD_LM);
    assert_int_equal(info->vocab, V);
    assert_int_equal(info->n_layers, LAYERS);
    assert_int_equal(info->dtype, DT_F32);
    assert_int_equal(info->n_params, 2 * V * H + H + LAYERS * (2 * H + 3 * H * H + 3 * F * H));
    assert_int_equal(info->n_warnings, 0);
    assert_true(str_is(arch_label(m, 1), "LABEL_1"));
    arch_model_free(m);
}

/* ------------------------------------------------------------------ running */

static const int32_t ids[] = {3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 32};
enum { T = sizeof ids / sizeof *ids };

/* Logits of all rows, in memory of malloc. */
static float *logits_of(const arch_model *m, const int32_t *tokens, size_t n)
{
    arch_session *s;
    mltf_err err = {0};
    arch_output out;
    assert_int_equal(arch_session_new(&s, m, &err), MLTF_OK);
    const arch_batch b = {.n_seqs = 1, .start = (size_t[]){0, n}, .ids = tokens};
    if (arch_forward(s, &b, ARCH_WANT_LOGITS, &out, &err)) fail_msg("%s", err.msg);
    assert_int_equal(out.logit_rows, n);
    assert_int_equal(out.n_logits, V);
    float *y = malloc(n * V * sizeof *y);
    assert_non_null(y);
    memcpy(y, out.logits, n * V * sizeof *y);
    arch_session_free(s);
    return y;
}

static double distance(const float *a, const float *b, size_t n)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

static void test_a_sequence_is_the_same_alone_and_in_a_batch(void **state)
{
    (void)state;
    arch_model *m = llama(NULL);
    arch_session *s;
    mltf_err err = {0};
    arch_output out;
    assert_int_equal(arch_session_new(&s, m, &err), MLTF_OK);
    const arch_batch b = {.n_seqs = 3, .start = (size_t[]){0, 5, 5, T}, .ids = ids};
    assert_int_equal(arch_forward(s, &b, ARCH_WANT_LOGITS, &out, &err), MLTF_OK);
    float *first = logits_of(m, ids, 5), *last = logits_of(m, ids + 5, T - 5);
    assert_memory_equal(out.logits, first, 5 * V * sizeof *first);
    assert_memory_equal(out.logits + 5 * V, last, (T - 5) * V * sizeof *last);
    free(first);
    free(last);
    arch_session_free(s);
    arch_model_free(m);
}

static void test_threads_do_not_change_a_bit(void **state)
{
    (void)state;
    mltf_pool *pool;
    mltf_err err = {0};
    assert_int_equal(pool_new(&pool, 3, &err), MLTF_OK);
    arch_model *one = llama(NULL), *three = load(&(arch_load_options){.pool = pool});
    float *a = logits_of(one, ids, T), *b = logits_of(three, ids, T);
    assert_memory_equal(a, b, T * V * sizeof *a);
    free(a);
    free(b);
    arch_model_free(one);
    arch_model_free(three);
    pool_free(pool);
}

static void feed(arch_session *s, arch_cache *c, const int32_t *tokens, size_t n, arch_output *out)
{
    mltf_err err = {0};
    const arch_batch b = {.n_seqs = 1, .start = (size_t[]){0, n}, .ids = tokens, .caches = &c};
    if (arch_forward(s, &b, ARCH_WANT_LAST_LOGITS, out, &err)) fail_msg("%s", err.msg);
    assert_int_equal(out->logit_rows, 1);
}

static void test_a_cache_filled_piece_by_piece_gives_the_plain_answer(void **state)
{
    (void)state;
    arch_model *m = llama(NULL);
    arch_session *s;
    arch_cache *c, *copy;
    mltf_err err = {0};
    arch_output out;
    float *plain = logits_of(m, ids, T);
    const float *want = plain + (T - 1) * V;
    assert_int_equal(arch_session_new(&s, m, &err), MLTF_OK);
    assert_int_equal(arch_cache_new(&c, m, T, &err), MLTF_OK);
    assert_int_equal(arch_cache_new(&copy, m, T, &err), MLTF_OK);
    feed(s, c, ids, 4, &out);
    feed(s, c, ids + 4, 1, &out);
    assert_int_equal(arch_cache_len(c), 5);
    assert_int_equal(arch_cache_copy(copy, c, 0, &err), MLTF_OK);
    feed(s, c, (int32_t[]){1, 2, 3}, 3, &out); // another way on, then back
    arch_cache_truncate(c, 5);
    feed(s, c, ids + 5, T - 5, &out);
    assert_true(distance(out.logits, want, V) < 1e-5);
    feed(s, copy, ids + 5, T - 5, &out);
    assert_true(distance(out.logits, want, V) < 1e-5);
    // full: one more token is refused and changes nothing
    const arch_batch more = {.n_seqs = 1, .start = (size_t[]){0, 1}, .ids = ids, .caches = &c};
    assert_int_equal(arch_forward(s, &more, ARCH_WANT_LAST_LOGITS, &out, &err), MLTF_INVALID_INPUT);
    assert_int_equal(arch_cache_len(c), T);
    free(plain);
    arch_cache_free(c);
    arch_cache_free(copy);
    arch_session_free(s);
    arch_model_free(m);
}

/* The embeddings of three tokens, at positions 0, 1 and 2. */
static void embed_three(const arch_model *m, const int32_t *tokens, const int32_t *types,
                        float y[3 * H])
{
    arch_session *s;
    mltf_err err = {0};
    arch_output out;
    assert_int_equal(arch_session_new(&s, m, &err), MLTF_OK);
    const arch_batch b = {.n_seqs = 1, .start = (size_t[]){0, 3}, .ids = tokens, .type_ids = types};
    if (arch_forward(s, &b, ARCH_WANT_ALL_HIDDEN, &out, &err)) fail_msg("%s", err.msg);
    memcpy(y, out.all_hidden[0], 3 * H * sizeof *y);
    arch_session_free(s);
}

static void test_type_ids_of_gpt2_are_words(void **state)
{
    (void)state;
    static const char config[] =
        "{\"model_type\": \"gpt2\", \"architectures\": [\"GPT2Model\"], \"n_embd\": 32, "
        "\"n_layer\": 1, \"n_head\": 4, \"vocab_size\": 50, \"n_positions\": 8}";
    static const struct {
        const char *name;
        size_t rows, cols;
    } tensor[] = {{"wte.weight", V, H},
                  {"wpe.weight", 8, H},
                  {"ln_f.weight", H, 0},
                  {"ln_f.bias", H, 0},
                  {"h.0.ln_1.weight", H, 0},
                  {"h.0.ln_1.bias", H, 0},
                  {"h.0.ln_2.weight", H, 0},
                  {"h.0.ln_2.bias", H, 0},
                  {"h.0.attn.c_attn.weight", H, 3 * H},
                  {"h.0.attn.c_attn.bias", 3 * H, 0},
                  {"h.0.attn.c_proj.weight", H, H},
                  {"h.0.attn.c_proj.bias", H, 0},
                  {"h.0.mlp.c_fc.weight", H, 4 * H},
                  {"h.0.mlp.c_fc.bias", 4 * H, 0},
                  {"h.0.mlp.c_proj.weight", 4 * H, H},
                  {"h.0.mlp.c_proj.bias", H, 0}};
    plan p = {.n = 0};
    for (size_t i = 0; i < sizeof tensor / sizeof *tensor; i++)
        add(&p, tensor[i].name, tensor[i].rows, tensor[i].cols);
    write_model(config, &p);
    arch_model *m = load(NULL);
    const int32_t tokens[] = {3, 9, 27}, types[] = {5, 5, 40};
    float plain[3 * H], of_types[3 * H], typed[3 * H], doubled[3 * H];
    embed_three(m, tokens, NULL, plain);
    embed_three(m, types, NULL, of_types);
    embed_three(m, tokens, types, typed);
    embed_three(m, tokens, tokens, doubled);
    assert_true(distance(plain, typed, 3 * H) > 1e-3);
    for (size_t k = 0; k < 3 * H; k++) // both are the type's row without the token's
        assert_true(fabsf((typed[k] - doubled[k]) - (of_types[k] - plain[k])) < 1e-6f);
    arch_model_free(m);
}

static void test_bad_batches_are_refused(void **state)
{
    (void)state;
    arch_model *m = llama(NULL);
    arch_session *s;
    arch_output out;
    mltf_err err = {0};
    assert_int_equal(arch_session_new(&s, m, &err), MLTF_OK);
    const int32_t outside[] = {1, V}, negative[] = {-1};
    const arch_batch bad[] = {
        {.n_seqs = 1, .start = (size_t[]){0, 2}, .ids = outside},
        {.n_seqs = 1, .start = (size_t[]){0, 1}, .ids = negative},
        {.n_seqs = 1, .start = (size_t[]){0, 0}, .ids = ids},
        {.n_seqs = 2, .start = (size_t[]){0, 3, 2}, .ids = ids},
        {.n_seqs = 1, .start = (size_t[]){0, 1}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(arch_forward(s, &bad[i], ARCH_WANT_LOGITS, &out, &err),
                         MLTF_INVALID_INPUT);
    err = (mltf_err){0};
    arch_forward(s, &bad[0], ARCH_WANT_LOGITS, &out, &err);
    assert_string_equal(err.msg, "input id 50 is outside of the model's table of 50");
    // the session stays usable
    const arch_batch good = {.n_seqs = 1, .start = (size_t[]){0, 2}, .ids = ids};
    assert_int_equal(arch_forward(s, &good, ARCH_WANT_LOGITS, &out, &err), MLTF_OK);
    arch_session_free(s);
    arch_model_free(m);
}

static void test_widths_stay_near_the_float_answer(void **state)
{
    (void)state;
    const struct {
        arch_load_options opts;
        double bound; // about twice what was seen
    } widths[] = {
        {{.torch_dtype = "bfloat16"}, 0.1},
        {{.torch_dtype = "torch.float16"}, 0.01},
        {{.quantize = "int8"}, 0.1},
        {{.quantize = "int4"}, 1.2},
    };
    arch_model *m = llama(NULL);
    float *want = logits_of(m, ids, T);
    arch_model_free(m);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        m = load(&widths[i].opts);
        float *got = logits_of(m, ids, T);
        const double d = distance(want, got, T * V);
        if (!(d > 0 && d < widths[i].bound))
            fail_msg("width %zu: %g is not below %g", i, d, widths[i].bound);
        free(got);
        arch_model_free(m);
    }
    free(want);
    mltf_err err = {0};
    assert_int_equal(arch_model_load(&m, ".", &(arch_load_options){.torch_dtype = "int3"}, &err),
                     MLTF_INVALID_INPUT);
    assert_int_equal(arch_model_load(&m, ".", &(arch_load_options){.quantize = "int3"}, &err),
                     MLTF_INVALID_INPUT);
}

/* ------------------------------------------------------------------ adapters */

/* The tensors of *p as an adapter in "adapter". */
static void write_plan(const char *config, plan *p)
{
    mltf_err err = {0};
    dir_remove("adapter", NULL);
    assert_int_equal(dir_make("adapter", &err), MLTF_OK);
    assert_int_equal(file_write("adapter/adapter_config.json", config, strlen(config), &err),
                     MLTF_OK);
    write_tensors("adapter", p);
    assert_int_equal(rename("adapter/model.safetensors", "adapter/adapter_model.safetensors"), 0);
}

static void write_adapter(const char *config, const char *layer, size_t rows, size_t cols)
{
    plan p = {.n = 0};
    char name[96];
    snprintf(name, sizeof name, "base_model.model.%s.lora_A.weight", layer);
    add(&p, name, 2, cols);
    snprintf(name, sizeof name, "base_model.model.%s.lora_B.weight", layer);
    add(&p, name, rows, 2);
    write_plan(config, &p);
}

static void test_an_adapter_changes_the_answer_in_proportion_to_alpha(void **state)
{
    (void)state;
    const char *layer = "lm_head"; // behind everything: the change is linear in alpha
    arch_model *m = llama(NULL);
    float *base = logits_of(m, ids, T), *with[2];
    arch_model_free(m);
    for (int i = 0; i < 2; i++) {
        write_adapter(i ? "{\"peft_type\": \"LORA\", \"lora_alpha\": 8}"
                        : "{\"peft_type\": \"LORA\", \"lora_alpha\": 4}",
                      layer, V, H);
        m = load(&(arch_load_options){.adapter_dir = "adapter"});
        with[i] = logits_of(m, ids, T);
        arch_model_free(m);
    }
    double moved = 0, bent = 0;
    for (size_t i = 0; i < T * V; i++) {
        const double once = (double)with[0][i] - (double)base[i],
                     twice = (double)with[1][i] - (double)base[i];
        moved = fmax(moved, fabs(once));
        bent = fmax(bent, fabs(twice - 2 * once));
    }
    assert_true(moved > 0.1);
    assert_true(bent < 1e-4);
    free(base);
    free(with[0]);
    free(with[1]);
}

static void test_an_adapter_of_a_table_moves_the_words_that_are_looked_up(void **state)
{
    (void)state;
    arch_model *m = llama(NULL);
    float *base = logits_of(m, ids, T);
    arch_model_free(m);
    for (int alpha = 0; alpha < 2; alpha++) { // times zero it is no adapter
        plan p = {.n = 0};
        add(&p, "base_model.model.model.embed_tokens.lora_embedding_A", 2, V);
        add(&p, "base_model.model.model.embed_tokens.lora_embedding_B", H, 2);
        const char *config = alpha ? "{\"peft_type\": \"LORA\", \"lora_alpha\": 4}"
                                   : "{\"peft_type\": \"LORA\", \"lora_alpha\": 0}";
        write_plan(config, &p);
        m = load(&(arch_load_options){.adapter_dir = "adapter"});
        float *with = logits_of(m, ids, T), far = 0;
        for (size_t i = 0; i < T * V; i++) far = fmaxf(far, fabsf(with[i] - base[i]));
        if (alpha)
            assert_true(far > 0.01f);
        else
            assert_true(far == 0);
        arch_model_free(m);
        free(with);
    }
    free(base);
}

/* An adapter that holds one tensor. */
static void write_one_tensor(const char *config, const char *name, size_t rows, size_t cols)
{
    plan p = {.n = 0};
    add(&p, name, rows, cols);
    write_plan(config, &p);
}

static void test_whole_modules_and_scales_of_adapters_count(void **state)
{
    (void)state;
    arch_model *m = llama(NULL);
    float *base = logits_of(m, ids, T);
    arch_model_free(m);
    const struct {
        const char *config, *name;
        size_t rows, cols;
    } one[] = {
        {"{\"peft_type\": \"LORA\"}", "base_model.model.lm_head.weight", V, H},
        {"{\"peft_type\": \"IA3\"}", "base_model.model.model.layers.0.self_attn.v_proj.ia3_l",
         H / 2, 1},
        {"{\"peft_type\": \"IA3\"}", "base_model.model.model.layers.1.mlp.down_proj.ia3_l", 1, F},
    };
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
        write_one_tensor(one[i].config, one[i].name, one[i].rows, one[i].cols);
        m = load(&(arch_load_options){.adapter_dir = "adapter"});
        float *with = logits_of(m, ids, T);
        float far = 0;
        for (size_t k = 0; k < T * V; k++) far = fmaxf(far, fabsf(with[k] - base[k]));
        assert_true(far > 0.01f);
        arch_model_free(m);
        free(with);
    }
    free(base);
}

static void test_adapters_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    mltf_err err = {0};
    arch_model *m = llama(NULL);
    arch_model_free(m);
    const arch_load_options opts = {.adapter_dir = "adapter"};
    write_adapter("{\"peft_type\": \"LORA\"}", "model.layers.7.mlp.up_proj", F, H);
    assert_int_equal(arch_model_load(&m, ".", &opts, &err), MLTF_CORRUPT_FILE);
    assert_non_null(strstr(err.msg, "model.layers.7.mlp.up_proj.lora_A.weight\" fits no layer"));
    write_adapter("{\"peft_type\": \"LORA\"}", "model.layers.0.mlp.up_proj", F, H + 1);
    assert_int_equal(arch_model_load(&m, ".", &opts, &err), MLTF_CORRUPT_FILE);
    assert_non_null(strstr(err.msg, "does not fit its layer of 32 inputs and 64 outputs"));
    write_adapter("{\"peft_type\": \"PROMPT_TUNING\"}", "lm_head", V, H);
    assert_int_equal(arch_model_load(&m, ".", &opts, &err), MLTF_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "PROMPT_TUNING"));
}

/* The tiny llama with q_proj of layer 0 as GPTQ packs it in 4 bit and groups of 32, with `columns` columns of zeros. */
static plan gptq_plan(size_t columns)
{
    plan p = llama_plan("model.");
    size_t q = 0;
    while (strcmp(p.names[q], "model.layers.0.self_attn.q_proj.weight")) q++;
    strcpy(p.names[q], "model.layers.0.self_attn.q_proj.scales");
    p.specs[q].shape[0] = 1;
    add(&p, "model.layers.0.self_attn.q_proj.qweight", H / 8, H);
    add(&p, "model.layers.0.self_attn.q_proj.qzeros", 1, columns);
    p.specs[p.n - 1].dtype = p.specs[p.n - 2].dtype = DT_I32;
    return p;
}

static const char gptq_config[] =
    "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 32, "
    "\"intermediate_size\": 64, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "
    "\"num_key_value_heads\": 2, \"vocab_size\": 50, \"max_position_embeddings\": 64, "
    "\"quantization_config\": {\"quant_method\": \"%s\", \"bits\": %d, \"group_size\": 32}}";

static void test_packed_weights_count_as_what_they_stand_for(void **state)
{
    (void)state;
    char config[1024];
    plan p = gptq_plan(H / 8);
    snprintf(config, sizeof config, gptq_config, "gptq", 4);
    write_model(config, &p);
    arch_model *packed = load(NULL), *plain = llama(NULL);
    assert_int_equal(arch_model_info(packed)->n_params, arch_model_info(plain)->n_params);
    assert_int_equal(arch_model_info(packed)->n_warnings, 0);
    arch_model_free(packed);
    arch_model_free(plain);
}

static void test_packed_weights_that_cannot_be_read_are_refused_by_name(void **state)
{
    (void)state;
    char config[1024];
    plan p = gptq_plan(H / 8);
    snprintf(config, sizeof config, gptq_config, "hqq", 4);
    refuses(config, &p, MLTF_UNSUPPORTED, "quantized by \"hqq\"");
    snprintf(config, sizeof config, gptq_config, "gptq", 5);
    refuses(config, &p, MLTF_UNSUPPORTED, "such a number of bits");
    snprintf(config, sizeof config, gptq_config, "gptq", 8); // half as many inputs
    refuses(config, &p, MLTF_CORRUPT_FILE, "q_proj.qweight\" and its zeros and scales");
    static const char nvfp4[] =
        "\"config_groups\": {\"a\": {\"format\": \"nvfp4-pack-quantized\"}}}}";
    snprintf(config, sizeof config, gptq_config, "compressed-tensors", 4);
    strcpy(strstr(config, "\"bits\""), nvfp4);
    refuses(config, &p, MLTF_UNSUPPORTED, "in the format \"nvfp4-pack-quantized\"");
    p = gptq_plan(H / 8 + 1);
    snprintf(config, sizeof config, gptq_config, "gptq", 4);
    refuses(config, &p, MLTF_CORRUPT_FILE, "q_proj.qweight\" and its zeros and scales");
    p = gptq_plan(H / 8);
    snprintf(config, sizeof config, gptq_config, "gptq", 4);
    memcpy(strstr(config, "32}}"), "16", 2); // groups of 16: two rows of scales
    refuses(config, &p, MLTF_CORRUPT_FILE, "has fewer rows than there are groups");
}

static float largest_difference(const float *a, const float *b, size_t n)
{
    float far = 0;
    for (size_t i = 0; i < n; i++) far = fmaxf(far, fabsf(a[i] - b[i]));
    return far;
}

/* Logits of the tiny llama, quantized at load (convert false), or written in that width and loaded as it is. */
static float *quantized_logits(const char *width, bool convert)
{
    mltf_err err = {0};
    arch_model_free(llama(NULL)); // writes it
    if (convert) {
        dir_remove("narrow", NULL);
        if (mltf_convert(".", "narrow", &(mltf_convert_options){.quantize = width}, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(chdir("narrow"), 0);
    }
    arch_model *m = load(&(arch_load_options){.quantize = convert ? NULL : width});
    float *y = logits_of(m, ids, T);
    arch_model_free(m);
    if (convert) assert_int_equal(chdir(".."), 0);
    return y;
}

static void test_a_checkpoint_written_in_8_bit_is_the_one_quantized_at_load(void **state)
{
    (void)state;
    float *loaded = quantized_logits("int8", false), *written = quantized_logits("int8", true);
    assert_memory_equal(loaded, written, T * V * sizeof *loaded);
    free(loaded);
    free(written);
}

static void test_a_checkpoint_written_in_4_bit_is_no_worse_than_one_quantized_at_load(void **state)
{
    (void)state;
    arch_model *m = llama(NULL);
    float *plain = logits_of(m, ids, T);
    arch_model_free(m);
    float *loaded = quantized_logits("int4", false), *written = quantized_logits("int4", true);
    const float near = largest_difference(plain, loaded, T * V),
                far = largest_difference(plain, written, T * V);
    assert_true(far > 0);
    if (far > 1.5f * near) fail_msg("%g away, quantized at load %g", (double)far, (double)near);
    free(plain);
    free(loaded);
    free(written);
}

static void test_what_cannot_be_quantized_is_refused(void **state)
{
    (void)state;
    mltf_err err = {0};
    arch_model_free(llama(NULL));
    assert_int_equal(mltf_convert(".", "x", &(mltf_convert_options){.quantize = "int5"}, &err),
                     MLTF_INVALID_INPUT);
    assert_int_equal(mltf_convert(".", "x", NULL, &err), MLTF_INVALID_INPUT);
    assert_int_equal(mltf_convert(".", "x", &(mltf_convert_options){.quantize = "int8"}, &err),
                     MLTF_OK);
    err = (mltf_err){0};
    assert_int_equal(mltf_convert("x", "y", &(mltf_convert_options){.quantize = "int8"}, &err),
                     MLTF_INVALID_INPUT);
    assert_non_null(strstr(err.msg, "quantized already"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_wrong_type_names_the_key, enter, leave),
        cmocka_unit_test(test_classes_are_known_in_any_case_and_where_refused),
        cmocka_unit_test_setup_teardown(test_what_is_not_computed_is_refused_by_name, enter, leave),
        cmocka_unit_test_setup_teardown(test_unknown_models_are_refused_with_the_reason, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_missing_and_misshaped_tensors_are_named, enter, leave),
        cmocka_unit_test_setup_teardown(test_surplus_tensors_are_warned_about_and_buffers_are_not,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(test_the_base_prefix_may_be_missing, enter, leave),
        cmocka_unit_test_setup_teardown(test_facts_about_the_model, enter, leave),
        cmocka_unit_test_setup_teardown(test_a_sequence_is_the_same_alone_and_in_a_batch, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_threads_do_not_change_a_bit, enter, leave),
        cmocka_unit_test_setup_teardown(test_a_cache_filled_piece_by_piece_gives_the_plain_answer,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(test_type_ids_of_gpt2_are_words, enter, leave),
        cmocka_unit_test_setup_teardown(test_bad_batches_are_refused, enter, leave),
        cmocka_unit_test_setup_teardown(test_widths_stay_near_the_float_answer, enter, leave),
        cmocka_unit_test_setup_teardown(test_an_adapter_changes_the_answer_in_proportion_to_alpha,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(
            test_an_adapter_of_a_table_moves_the_words_that_are_looked_up, enter, leave),
        cmocka_unit_test_setup_teardown(test_whole_modules_and_scales_of_adapters_count, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_adapters_that_do_not_fit_are_refused, enter, leave),
        cmocka_unit_test_setup_teardown(
            test_a_checkpoint_written_in_8_bit_is_the_one_quantized_at_load, enter, leave),
        cmocka_unit_test_setup_teardown(
            test_a_checkpoint_written_in_4_bit_is_no_worse_than_one_quantized_at_load, enter,
            leave),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_quantized_is_refused, enter, leave),
        cmocka_unit_test_setup_teardown(test_packed_weights_count_as_what_they_stand_for, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(test_packed_weights_that_cannot_be_read_are_refused_by_name,
                                        enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
