/* Every task of transformers 4.57 by name, with the pipeline class it stands for. A task that is served
 * here has its row in its own file and one line in `served`; the others are known, so that a wrong name
 * and a missing implementation get different answers. */
#include "tasks/task.h"

#include <stddef.h>

extern const task_def task_feature_extraction;
extern const task_def task_text_classification;
extern const task_def task_token_classification;
extern const task_def task_fill_mask;
extern const task_def task_text_generation;
extern const task_def task_zero_shot_classification;
extern const task_def task_text2text_generation;
extern const task_def task_summarization;
extern const task_def task_translation;
extern const task_def task_question_answering;
extern const task_def task_table_question_answering;
extern const task_def task_sentence_embedding;
extern const task_def task_sentence_similarity;
extern const task_def task_text_ranking;

static const task_def *const served[] = {
    &task_feature_extraction,
    &task_text_classification,
    &task_token_classification,
    &task_fill_mask,
    &task_text_generation,
    &task_zero_shot_classification,
    &task_text2text_generation,
    &task_summarization,
    &task_translation,
    &task_question_answering,
    &task_table_question_answering,
    &task_sentence_embedding,
    &task_sentence_similarity,
    &task_text_ranking,
};

#define KNOWN(task, cls, autos, gen)                                                               \
    {                                                                                              \
        .info = {.name = task, .pipeline_class = cls, .auto_class = autos, .generates = gen }      \
    }
static const char *const vqa_aliases[] = {"vqa", NULL};
static const char *const tts_aliases[] = {"text-to-speech", NULL};
static const task_def known[] = {
    KNOWN("audio-classification", "AudioClassificationPipeline", "AutoModelForAudioClassification",
          false),
    KNOWN("automatic-speech-recognition", "AutomaticSpeechRecognitionPipeline",
          "AutoModelForSpeechSeq2Seq", true),
    {.info = {"text-to-audio", "TextToAudioPipeline", tts_aliases, "AutoModelForTextToWaveform",
              true}},
    {.info = {"visual-question-answering", "VisualQuestionAnsweringPipeline", vqa_aliases,
              "AutoModelForVisualQuestionAnswering", true}},
    KNOWN("document-question-answering", "DocumentQuestionAnsweringPipeline",
          "AutoModelForDocumentQuestionAnswering", true),
    KNOWN("zero-shot-image-classification", "ZeroShotImageClassificationPipeline",
          "AutoModelForZeroShotImageClassification", false),
    KNOWN("zero-shot-audio-classification", "ZeroShotAudioClassificationPipeline", "AutoModel",
          false),
    KNOWN("image-classification", "ImageClassificationPipeline", "AutoModelForImageClassification",
          false),
    KNOWN("image-feature-extraction", "ImageFeatureExtractionPipeline", "AutoModel", false),
    KNOWN("image-segmentation", "ImageSegmentationPipeline", "AutoModelForImageSegmentation",
          false),
    KNOWN("image-to-text", "ImageToTextPipeline", "AutoModelForVision2Seq", true),
    KNOWN("image-text-to-text", "ImageTextToTextPipeline", "AutoModelForImageTextToText", true),
    KNOWN("object-detection", "ObjectDetectionPipeline", "AutoModelForObjectDetection", false),
    KNOWN("zero-shot-object-detection", "ZeroShotObjectDetectionPipeline",
          "AutoModelForZeroShotObjectDetection", false),
    KNOWN("depth-estimation", "DepthEstimationPipeline", "AutoModelForDepthEstimation", false),
    KNOWN("video-classification", "VideoClassificationPipeline", "AutoModelForVideoClassification",
          false),
    KNOWN("mask-generation", "MaskGenerationPipeline", "AutoModelForMaskGeneration", false),
    KNOWN("image-to-image", "ImageToImagePipeline", "AutoModelForImageToImage", false),
    KNOWN("keypoint-matching", "KeypointMatchingPipeline", "AutoModelForKeypointMatching", false),
};

static bool answers_to(const task_def *def, const char *name)
{
    if (strcmp(def->info.name, name) == 0) return true;
    for (size_t i = 0; def->info.aliases && def->info.aliases[i]; i++)
        if (strcmp(def->info.aliases[i], name) == 0) return true;
    return false;
}

/* translation_XX_to_YY, four parts exactly. */
static bool is_translation_pair(const char *name)
{
    if (strncmp(name, "translation_", 12) != 0) return false;
    size_t n_parts = 1;
    const char *third = NULL;
    for (const char *s = name; *s; s++) {
        if (*s != '_') continue;
        if (++n_parts == 3) third = s + 1;
    }
    return n_parts == 4 && third && strncmp(third, "to_", 3) == 0;
}

const task_def *task_def_find(const char *name)
{
    if (!name) return NULL;
    if (is_translation_pair(name)) name = "translation";
    for (size_t i = 0; i < sizeof served / sizeof *served; i++)
        if (answers_to(served[i], name)) return served[i];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (answers_to(&known[i], name)) return &known[i];
    return NULL;
}

const task_info *task_find(const char *name)
{
    const task_def *def = task_def_find(name);
    return def ? &def->info : NULL;
}

/* First match counts: whole names, then what a name begins and ends with. */
const char *task_from_architecture(const char *architecture)
{
    static const struct {
        const char *starts, *ends, *task;
    } rows[] = {
        {"", "ForMaskedLM", "fill-mask"},
        {"", "WithLMHeadModel", "fill-mask"},
        {"Wav2Vec2", "ForSequenceClassification", "audio-classification"},
        {"Hubert", "ForSequenceClassification", "audio-classification"},
        {"WavLM", "ForSequenceClassification", "audio-classification"},
        {"UniSpeech", "ForSequenceClassification", "audio-classification"},
        {"SEW", "ForSequenceClassification", "audio-classification"},
        {"Whisper", "ForAudioClassification", "audio-classification"},
        {"", "ForSequenceClassification", "text-classification"},
        {"", "ForTokenClassification", "token-classification"},
        {"Tapas", "ForQuestionAnswering", "table-question-answering"},
        {"LayoutLM", "ForQuestionAnswering", "document-question-answering"},
        {"Vilt", "ForQuestionAnswering", "visual-question-answering"},
        {"", "ForQuestionAnswering", "question-answering"},
        {"", "ForQuestionAnsweringSimple", "question-answering"},
        {"", "ForCausalLM", "text-generation"},
        {"", "LMHeadModel", "text-generation"},
        {"Whisper", "ForConditionalGeneration", "automatic-speech-recognition"},
        {"Speech2Text", "ForConditionalGeneration", "automatic-speech-recognition"},
        {"Moonshine", "ForConditionalGeneration", "automatic-speech-recognition"},
        {"Blip", "ForConditionalGeneration", "image-to-text"},
        {"Pix2Struct", "ForConditionalGeneration", "image-to-text"},
        {"Llava", "ForConditionalGeneration", "image-text-to-text"},
        {"Gemma3", "ForConditionalGeneration", "text-generation"},
        {"Mistral3", "ForConditionalGeneration", "text-generation"},
        {"Pegasus", "ForConditionalGeneration", "summarization"},
        {"M2M100", "ForConditionalGeneration", "translation"},
        {"", "ForConditionalGeneration", "text2text-generation"},
        {"Marian", "MTModel", "translation"},
        {"FSMT", "ForConditionalGeneration", "translation"},
        {"EncoderDecoderModel", "", "text2text-generation"},
        {"VisionEncoderDecoderModel", "", "image-to-text"},
        {"SpeechEncoderDecoderModel", "", "automatic-speech-recognition"},
        {"", "ForCTC", "automatic-speech-recognition"},
        {"", "ForAudioClassification", "audio-classification"},
        {"", "ForImageClassification", "image-classification"},
        {"", "ForImageClassificationWithTeacher", "image-classification"},
        {"", "ForObjectDetection", "object-detection"},
        {"CLIPModel", "", "zero-shot-image-classification"},
        {"SiglipModel", "", "zero-shot-image-classification"},
        {"ViT", "Model", "image-feature-extraction"},
        {"DeiT", "Model", "image-feature-extraction"},
        {"Swin", "Model", "image-feature-extraction"},
        {"Dinov2", "Model", "image-feature-extraction"},
        {"", "Model", "feature-extraction"},
        {"", "ForPreTraining", "fill-mask"},
    };
    const mltf_str s = str_from(architecture);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_starts(s, rows[i].starts) && str_ends(s, rows[i].ends)) return rows[i].task;
    return NULL;
}
