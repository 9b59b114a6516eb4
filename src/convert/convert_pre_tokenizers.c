#include "convert/convert_pre_tokenizers.h"

#include <stddef.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LINES_END    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CASED_WORDS(tail)                                                                          \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"     \
    "+" tail "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}"  \
    "\\p{M}]*" tail

#define EAST_ASIAN "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"

// clang-format off
/* Letters of the scripts that have capitals, as DeepSeek's first tokenizer lists them. */
#define ALPHABETS \
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af" \
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5" \
    "\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba" \
    "\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45" \
    "\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe" \
    "\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc" \
    "\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139" \
    "\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3" \
    "\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06" \
    "\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3" \
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df" \
    "\U0001e900-\U0001e943"
// clang-format on

static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)";

static const pre_tokenizer pre_tokenizers[] = {
    {.names = {"gpt-2", "phi-2", "mpt", "olmo", "jais", "jina-es", "jina-de", "jina-v1-en",
               "jina-v2-es", "jina-v2-de", "jina-v2-code", "roberta-bpe", "gigachat", "a.x-4.0",
               "mellum", "trillion", "granite-docling", "exaone4"},
     .kind = SPLIT_BYTE_LEVEL},
    {.names = {"modern-bert"}, .kind = SPLIT_BYTE_LEVEL, .nfc = true},
    {.names = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b",
               "mellum2"},
     .kind = SPLIT_DIGITS_BYTE_LEVEL},
    {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2",
               "midm-2.0", "jina-v5-nano"},
     .kind = SPLIT_PATTERNS,
     .patterns =
         {CONTRACTIONS
          "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" LINES_END},
     .ignore_merges = true,
     .adds_bos = true},
    {.names = {"dbrx", "smaug-bpe", "chatglm-bpe", "glm4"},
     .kind = SPLIT_PATTERNS,
     .patterns =
         {CONTRACTIONS
          "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" LINES_END}},
    {.names = {"qwen2", "deepseek-r1-qwen", "megrez", "kormo", "f2llmv2"},
     .kind = SPLIT_PATTERNS,
     .patterns =
         {CONTRACTIONS
          "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" LINES_END},
     .nfc = true},
    {.names = {"stablelm2", "hunyuan", "grok-2", "solar-open"},
     .kind = SPLIT_PATTERNS,
     .patterns =
         {CONTRACTIONS
          "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" LINES_END}},
    {.names = {"tekken"},
     .kind = SPLIT_PATTERNS,
     .patterns = {CASED_WORDS("") "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" LINES_END},
     .ignore_merges = true,
     .adds_bos = true},
    {.names = {"gpt-4o", "llama4", "kanana2", "talkie"},
     .kind = SPLIT_PATTERNS,
     .patterns = {CASED_WORDS(CONTRACTIONS
                              "?") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" LINES_END}},
    {.names = {"falcon"},
     .kind = SPLIT_PATTERNS,
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", gpt2_pattern, "[0-9][0-9][0-9]"}},
    {.names = {"deepseek-coder"},
     .kind = SPLIT_PATTERNS,
     .patterns = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", EAST_ASIAN, "\\p{N}"}},
    {.names = {"deepseek-llm"},
     .kind = SPLIT_PATTERNS,
     .patterns = {"[\\r\\n]", "\\s?[" ALPHABETS "]+",
                  "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", "\\s+$",
                  EAST_ASIAN, "\\p{N}"}},
    {.names = {"deepseek-v3", "hunyuan-dense", "joyai-llm"},
     .kind = SPLIT_PATTERNS,
     .patterns =
         {"\\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
          "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"
          "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" LINES_END}},
    {.names = {"seed-coder"},
     .kind = SPLIT_PATTERNS,
     .patterns =
         {CONTRACTIONS
          "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" LINES_END}},
    {.names = {"bloom", "poro-chat", "gpt3-finnish"},
     .kind = SPLIT_PATTERNS,
     .patterns = {" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"}},
    {.names = {"default"},
     .kind = SPLIT_PATTERNS,
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|]+", gpt2_pattern, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

const pre_tokenizer *convert_pre_tokenizer_find(mltf_str name)
{
    for (size_t i = 0; i < sizeof pre_tokenizers / sizeof *pre_tokenizers; i++) {
        for (const char *const *n = pre_tokenizers[i].names; *n; n++) {
            if (str_is(name, *n)) return &pre_tokenizers[i];
        }
    }
    return NULL;
}
