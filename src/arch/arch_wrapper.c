/* Models of images and text whose text model is a family of its own: asked with text alone they are that model.
 *
 *   config.json                text_config holds the text model's keys, the rest of the file the wrapper's
 *   language_model.model.*     the text model's tensors as transformers 4.x writes them, with
 *   language_model.lm_head.*   its head beside them; or, as 5.x writes them,
 *   model.language_model.*     and lm_head.*
 *
 * What belongs to the other parts (vision_tower, multi_modal_projector …) is neither read nor missed. */
#include <string.h>

#include "arch/arch_internal.h"

static const struct {
    const char *model_type, *architecture;
    const char *text_type; /* where text_config names none */
} wrappers[] = {
    {"aya_vision", "AyaVisionForConditionalGeneration", "cohere2"},
    {"gemma3", "Gemma3ForConditionalGeneration", "gemma3_text"},
    {"gemma3n", "Gemma3nForConditionalGeneration", "gemma3n_text"},
    {"internvl", "InternVLForConditionalGeneration", "qwen2"},
    {"llama4", "Llama4ForCausalLM", "llama4_text"},
    {"llava", "LlavaForConditionalGeneration", "llama"},
    {"llava_next", "LlavaNextForConditionalGeneration", "llama"},
    {"llava_onevision", "LlavaOnevisionForConditionalGeneration", "qwen2"},
    {"mistral3", "Mistral3ForConditionalGeneration", "mistral"},
};

bool arch_wrapper_open(arch_model *m, mltf_str *model_type, mltf_str *want)
{
    const json *text = json_get(m->config.root, "text_config");
    if (!json_is(text, JSON_OBJECT) || (want->n && arch_head_of(*want) != ARCH_HEAD_LM))
        return false;
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        if (!str_is(*model_type, wrappers[i].model_type)) continue;
        m->text_config = text;
        *want = str_from(m->info.architecture = wrappers[i].architecture);
        *model_type = json_string(json_get(text, "model_type"), str_from(wrappers[i].text_type));
        return true;
    }
    return false;
}

const char *arch_wrapper_root(const checkpoint *ck)
{
    static const char inside[] = "language_model.";
    for (size_t i = 0; i < checkpoint_count(ck); i++)
        if (strncmp(checkpoint_at(ck, i)->name, inside, sizeof inside - 1) == 0) return inside;
    return "";
}
