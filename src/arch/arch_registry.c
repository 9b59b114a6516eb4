/* The families there are.
 *
 * How to add one:
 *  1. Read its modeling file in transformers 4.57 and the fixtures' config.json; name both in the head
 *     comment of arch_xxx.c, with the block diagram and what is easy to get wrong.
 *  2. Take the nearest file as the form: mpnet or roformer for encoders (config, load lines and forward on
 *     arch_encoder.h), ernie4_5 or biogpt for decoders (arch_decoder.h), longt5 (arch_t5.h) or bart for both. An
 *     attention of its own is a function that the shared forward calls: xlnet, diffllama. Write with nn/ blocks; what a
 *     second family needs as well belongs there, not into a copy.
 *  3. List every class it can load in `classes`: the end of the name decides the head, unless `heads` has it.
 *  4. End load with arch_encoder_done(), arch_decoder_done() or arch_done(): hidden, vocab, n_layers, max_positions
 *     (SIZE_MAX without a bound); decoders set cache_shape.
 *  5. Add its line to FAMILIES below, and run build/parity on its folders with MLTF_CPU=ref and without;
 *     tests/interop/check_fresh_checkpoints.py gets a line as well, tools/record_checkpoints.py makes its small
 *     recording for make test. Where logits differ, build/parity --taps shows what each part of each layer gave. */
#include <string.h>

#include "arch/arch_internal.h"
#include "base/ascii.h"

// clang-format off
#define FAMILIES(X) /* one line each, sorted */ \
    X(albert) \
    X(apertus) \
    X(arcee) \
    X(bart) \
    X(bert) \
    X(bert_generation) \
    X(big_bird) \
    X(biogpt) \
    X(bitnet) \
    X(bloom) \
    X(canine) \
    X(convbert) \
    X(ctrl) \
    X(dbrx) \
    X(deberta) \
    X(deepseek) \
    X(diffllama) \
    X(distilbert) \
    X(doge) \
    X(dots1) \
    X(electra) \
    X(encoder_decoder) \
    X(ernie4_5) \
    X(esm) \
    X(exaone4) \
    X(falcon) \
    X(flex_olmo) \
    X(fnet) \
    X(funnel) \
    X(gemma) \
    X(gemma3n) \
    X(glm) \
    X(gpt2) \
    X(gpt_bigcode) \
    X(gpt_neo) \
    X(gpt_neox) \
    X(gpt_oss) \
    X(gptj) \
    X(helium) \
    X(hunyuan) \
    X(ibert) \
    X(jamba) \
    X(jetmoe) \
    X(layoutlm) \
    X(lfm2) \
    X(llama) \
    X(llama4) \
    X(longcat_flash) \
    X(longformer) \
    X(longt5) \
    X(luke) \
    X(mamba) \
    X(minimax) \
    X(ministral) \
    X(mixtral) \
    X(mobilebert) \
    X(modernbert) \
    X(modernbert_decoder) \
    X(mpnet) \
    X(mpt) \
    X(nezha) \
    X(nomic_bert) \
    X(nystromformer) \
    X(openai_gpt) \
    X(opt) \
    X(perceiver) \
    X(persimmon) \
    X(phi) \
    X(phi3) \
    X(phimoe) \
    X(prelayernorm) \
    X(prophetnet) \
    X(qwen3_next) \
    X(recurrent_gemma) \
    X(rembert) \
    X(roberta) \
    X(roformer) \
    X(rwkv) \
    X(seed_oss) \
    X(splinter) \
    X(squeezebert) \
    X(stablelm) \
    X(switch) \
    X(t5) \
    X(t5gemma) \
    X(tapas) \
    X(xglm) \
    X(xlm) \
    X(xlnet) \
    X(xmod) \
    X(yoso) \
    X(zamba) \
/* end */
// clang-format on

#define X(name) extern const arch_family arch_##name;
FAMILIES(X)
#undef X
#define X(name) &arch_##name,
static const arch_family *const families[] = {FAMILIES(X)};
#undef X

enum { N_FAMILIES = sizeof families / sizeof *families };

const arch_family *arch_family_find(mltf_str model_type)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        for (const char *const *t = families[i]->model_types; *t; t++)
            if (str_is(model_type, *t)) return families[i];
    return NULL;
}

const char *arch_why_refused(mltf_str model_type)
{
    static const arch_refusal refused[] = {
        {"mra", "its attention is a kernel for GPUs, without which the library gives zeros"},
        {"reformer",
         "its attention hashes at random, so that the library's answers differ each time"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (str_is(model_type, refused[i].name)) return refused[i].why;
    return NULL;
}

arch_head arch_head_of(mltf_str class_name)
{
    static const arch_class_head endings[] = {
        {"ForMaskedLM", ARCH_HEAD_MASKED_LM},
        {"ForPreTraining", ARCH_HEAD_MASKED_LM},
        {"ForCausalLM", ARCH_HEAD_LM},
        {"LMHeadModel", ARCH_HEAD_LM},
        {"DoubleHeadsModel", ARCH_HEAD_LM},
        {"ForConditionalGeneration", ARCH_HEAD_LM},
        {"ForSequenceClassification", ARCH_HEAD_SEQ_CLS},
        {"ForTokenClassification", ARCH_HEAD_TOKEN_CLS},
        {"ForQuestionAnswering", ARCH_HEAD_QA},
        {"ForQuestionAnsweringSimple", ARCH_HEAD_QA},
        {"ForMultipleChoice", ARCH_HEAD_MULTIPLE_CHOICE},
        {"ForNextSentencePrediction", ARCH_HEAD_NEXT_SENTENCE},
        {"Model", ARCH_HEAD_NONE},
    };
    for (size_t i = 0; i < N_FAMILIES; i++)
        for (const arch_class_head *c = families[i]->heads; c && c->class_name; c++)
            if (str_is(class_name, c->class_name)) return c->head;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (str_ends(class_name, endings[i].class_name)) return endings[i].head;
    return ARCH_HEAD_OTHER;
}

/* The letters and digits of both, in one case: "xlm-roberta" and "XLMRoberta". */
static bool same_letters(mltf_str a, mltf_str b)
{
    size_t i = 0, k = 0;
    for (;;) {
        while (i < a.n && !ascii_is_alnum(a.p[i])) i++;
        while (k < b.n && !ascii_is_alnum(b.p[k])) k++;
        if (i == a.n || k == b.n) return i == a.n && k == b.n;
        if (ascii_lower(a.p[i++]) != ascii_lower(b.p[k++])) return false;
    }
}

const char *arch_base_class(mltf_str model_type)
{
    const arch_family *f = arch_family_find(model_type);
    if (!f) return NULL;
    for (const char *const *c = f->classes; *c; c++) {
        const mltf_str name = str_from(*c);
        if (str_ends(name, "Model") && same_letters(str_slice(name, 0, name.n - 5), model_type))
            return *c;
    }
    return f->classes[0];
}

const char *arch_class_find(const arch_family *f, mltf_str name)
{
    for (const char *const *c = f->classes; *c; c++)
        if (same_letters(name, str_from(*c))) return *c;
    return NULL;
}

bool arch_has_class(mltf_str model_type, const char *class_name)
{
    const arch_family *f = arch_family_find(model_type);
    if (!f) return false;
    for (const arch_refusal *r = f->refused; r && r->name; r++)
        if (strcmp(class_name, r->name) == 0) return true;
    return arch_class_find(f, str_from(class_name)) != NULL;
}
