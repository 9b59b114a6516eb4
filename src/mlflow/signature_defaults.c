/* Signatures that no example is needed for: one a task, and the fixed ones of llm/v1. */
#include "mlflow/schema.h"

#include <string.h>

#define TEXT      "[{\"type\": \"string\", \"required\": true}]"
#define COL(t, n) "{\"type\": \"" t "\", \"name\": \"" n "\", \"required\": true}"
#define TEXTS(n)                                                                                   \
    "{\"type\": \"array\", \"items\": {\"type\": \"string\"}, \"name\": \"" n                      \
    "\", \"required\": true}"
#define LABEL_SCORE "[" COL("string", "label") ", " COL("double", "score") "]"

static const struct {
    const char *task, *inputs, *outputs;
} defaults[] = {
    {"token-classification", TEXT, TEXT},
    {"text-generation", TEXT, TEXT},
    {"text2text-generation", TEXT, TEXT},
    {"conversational", TEXT, TEXT},
    {"fill-mask", TEXT, TEXT},
    {"summarization", TEXT, TEXT},
    {"translation", TEXT, TEXT}, // and translation_xx_to_yy
    {"text-classification", TEXT, LABEL_SCORE},
    {"image-classification", TEXT, LABEL_SCORE},
    {"zero-shot-classification",
     "[" COL("string", "sequences") ", " COL("string", "candidate_labels") ", " COL(
         "string", "hypothesis_template") "]",
     "[" COL("string", "sequence") ", " COL("string", "labels") ", " COL("double", "scores") "]"},
    {"automatic-speech-recognition", "[{\"type\": \"binary\", \"required\": true}]", TEXT},
    {"audio-classification", "[{\"type\": \"binary\", \"required\": true}]",
     "[" COL("double", "score") ", " COL("string", "label") "]"},
    {"table-question-answering", "[" COL("string", "query") ", " COL("string", "table") "]", TEXT},
    {"question-answering", "[" COL("string", "question") ", " COL("string", "context") "]", TEXT},
    {"feature-extraction", TEXT,
     "[{\"name\": \"double\", \"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float64\", "
     "\"shape\": "
     "[-1]}}]"},
    {"sentence-embedding", TEXT,
     "[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float64\", \"shape\": [-1, -1]}}]"},
    {"sentence-similarity", "[" COL("string", "source_sentence") ", " TEXTS("sentences") "]",
     "[{\"type\": \"double\", \"required\": true}]"},
    {"text-ranking", "[" COL("string", "query") ", " TEXTS("documents") "]",
     "[" COL("long", "index") ", " COL("double", "score") "]"},
};

static bool build(mltf_arena *a, signature *out, const char *inputs, const char *outputs)
{
    *out = (signature){0};
    return schema_parse(a, &out->inputs, str_from(inputs), NULL) == MLTF_OK &&
           schema_parse(a, &out->outputs, str_from(outputs), NULL) == MLTF_OK;
}

bool signature_default(mltf_arena *a, signature *out, const char *task)
{
    if (strncmp(task, "translation_", 12) == 0) task = "translation";
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (strcmp(task, defaults[i].task) == 0)
            return build(a, out, defaults[i].inputs, defaults[i].outputs);
    return false;
}

/* ---- llm/v1 -------------------------------------------------------------------------------- */

// clang-format off
#define REQ(t)     "{\"type\": \"" t "\", \"required\": true}"
#define OPT(t)     "{\"type\": \"" t "\", \"required\": false}"
#define OPTC(t, n) "{\"type\": \"" t "\", \"name\": \"" n "\", \"required\": false}"
#define OBJECT(p)  "\"type\": \"object\", \"properties\": {" p "}"
#define ARRAY(i)   "\"type\": \"array\", \"items\": {" i "}"
#define P(n, t)    "\"" n "\": " t
#define IS(b)      ", \"required\": " b
#define NAMED(n)   ", \"name\": \"" n "\""

#define STRINGS    "{" ARRAY("\"type\": \"string\"") IS("false") "}"
#define STOP       "{" ARRAY("\"type\": \"string\"") NAMED("stop") IS("false") "}"
#define ANY_MAP(n) "{\"type\": \"map\", \"values\": {\"type\": \"any\"}" NAMED(n) IS("false") "}"

#define TOOL_CALL                                                                                       \
    OBJECT(P("function", "{" OBJECT(P("arguments", REQ("string")) ", " P("name", REQ("string"))) IS("true") "}") \
           ", " P("id", REQ("string")) ", " P("type", REQ("string")))
#define MESSAGE                                                                                         \
    OBJECT(P("content", OPT("string")) ", " P("name", OPT("string")) ", " P("refusal", OPT("string"))   \
           ", " P("role", REQ("string")) ", " P("tool_call_id", OPT("string"))                          \
           ", " P("tool_calls", "{" ARRAY(TOOL_CALL) IS("false") "}"))
#define PARAMETER                                                                                       \
    OBJECT(P("description", OPT("string")) ", " P("enum", STRINGS)                                      \
           ", " P("items", "{" OBJECT(P("type", REQ("string"))) IS("false") "}") ", " P("type", REQ("string")))
#define PARAMETERS                                                                                      \
    OBJECT(P("additionalProperties", OPT("boolean"))                                                    \
           ", " P("properties", "{\"type\": \"map\", \"values\": {" PARAMETER "}" IS("true") "}")       \
           ", " P("required", STRINGS) ", " P("type", OPT("string")))
#define FUNCTION                                                                                        \
    OBJECT(P("description", OPT("string")) ", " P("name", REQ("string"))                                \
           ", " P("parameters", "{" PARAMETERS IS("true") "}") ", " P("strict", OPT("boolean")))
#define TOOL       OBJECT(P("function", "{" FUNCTION IS("false") "}") ", " P("type", REQ("string")))
#define HEAD       COL("string", "id") ", " COL("string", "object") ", " COL("long", "created") ", " COL("string", "model")
#define CHOICES(p) "{" ARRAY(OBJECT(p)) NAMED("choices") IS("true") "}"
#define USAGE      P("prompt_tokens", REQ("long")) ", " P("total_tokens", REQ("long"))

static const struct {
    const char *task, *inputs, *outputs;
} llm[] = {
    {"llm/v1/chat",
     "[{" ARRAY(MESSAGE) NAMED("messages") IS("true") "}, " OPTC("double", "temperature") ", " OPTC("long", "max_tokens")
     ", " STOP ", " OPTC("long", "n") ", " OPTC("boolean", "stream") ", " OPTC("double", "top_p") ", " OPTC("long", "top_k")
     ", " OPTC("double", "frequency_penalty") ", " OPTC("double", "presence_penalty")
     ", {" ARRAY(TOOL) NAMED("tools") IS("false") "}, " ANY_MAP("custom_inputs") "]",
     "[" HEAD ", " CHOICES(P("finish_reason", REQ("string")) ", " P("index", REQ("long")) ", " P("message", "{" MESSAGE IS("true") "}"))
     ", {" OBJECT(P("completion_tokens", REQ("long")) ", " USAGE) NAMED("usage") IS("false") "}, " ANY_MAP("custom_outputs") "]"},
    {"llm/v1/completions",
     "[" COL("string", "prompt") ", " OPTC("double", "temperature") ", " OPTC("long", "max_tokens") ", " STOP
     ", " OPTC("long", "n") ", " OPTC("boolean", "stream") "]",
     "[" HEAD ", " CHOICES(P("finish_reason", REQ("string")) ", " P("index", REQ("long")) ", " P("text", REQ("string")))
     ", {" OBJECT(P("completion_tokens", REQ("long")) ", " USAGE) NAMED("usage") IS("true") "}]"},
    {"llm/v1/embeddings",
     "[" COL("string", "input") "]",
     "[" COL("string", "object")
     ", {" ARRAY(OBJECT(P("embedding", "{" ARRAY("\"type\": \"double\"") IS("true") "}") ", " P("index", REQ("long"))
                        ", " P("object", REQ("string")))) NAMED("data") IS("true") "}"
     ", {" OBJECT(USAGE) NAMED("usage") IS("true") "}]"},
};
// clang-format on

bool signature_llm(mltf_arena *a, signature *out, const char *inference_task)
{
    for (size_t i = 0; i < sizeof llm / sizeof *llm; i++)
        if (strcmp(inference_task, llm[i].task) == 0)
            return build(a, out, llm[i].inputs, llm[i].outputs);
    return false;
}
