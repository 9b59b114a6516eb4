/* The table of formats: which marks of a chat template tell a family, and how its models write calls.
 *
 *     hermes       <tool_call>{"name": N, "arguments": {…}}</tool_call> …        Hermes, Qwen 2.5/3, SmolLM3, ERNIE, Granite 4
 *     qwen3-coder  <tool_call><function=N><parameter=K>V</parameter></function></tool_call>
 *     seed-oss     the same inside <seed:tool_call>
 *     minimax-m2   <minimax:tool_call><invoke name="N"><parameter name="K">V</parameter></invoke></minimax:tool_call>
 *     glm-4.5      <tool_call>N<arg_key>K</arg_key><arg_value>V</arg_value></tool_call>
 *     deepseek-v3  <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>N ```json {…}```<｜tool▁call▁end｜>…   V3, R1
 *     deepseek-v31 <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>N<｜tool▁sep｜>{…}<｜tool▁call▁end｜>…
 *     kimi-k2      <|tool_calls_section_begin|><|tool_call_begin|>functions.N:0<|tool_call_argument_begin|>{…}<|tool_call_end|>…
 *     functionary  <function=N>{…}</function>, v3.1;  >>>all\ntext>>>N\n{…}, v3.2
 *     command      <|START_ACTION|>[{"tool_name": N, "parameters": {…}}]<|END_ACTION|>, thoughts and text in channels; R and R+:
 *                  Action: ```json [{"tool_name": N, "parameters": {…}}]```
 *     granite      <|tool_call|>[{"name": N, "arguments": {…}}, …]
 *     phi-4        functools[{…}, …], or <|tool_call|>[{…}]<|/tool_call|>
 *     mistral      [TOOL_CALLS][{…}, …], later N[ARGS]{…} each behind its own mark; ids of nine letters
 *     pythonic     [N(K=V, …), …]: Llama 4 (<|python_start|>…<|python_end|>), Llama 3.2, LFM2, OLMo 3
 *     harmony      <|channel|>commentary to=functions.N <|constrain|>json<|message|>{…}<|call|>      gpt-oss
 *     llama3       {"name": N, "parameters": {…}}, several with ";", maybe behind <|python_tag|> */
#include "mlflow/tool_format.h"

#include <string.h>

#define CALLS_JSON(open, close) .calls = {{open, close}}, .body = TOOL_BODY_JSON

static const tool_format formats[] = {
    // the more telling marks first
    {.name = "harmony", .in_template = {"<|channel|>", "<|message|>"}, .form = TOOL_REPLY_HARMONY},
    {.name = "deepseek-v3",
     .in_template = {"<｜tool▁calls▁begin｜>", "```json"},
     .section = "<｜tool▁calls▁begin｜>",
     .calls = {{"<｜tool▁call▁begin｜>function<｜tool▁sep｜>", "<｜tool▁call▁end｜>"}},
     .body = TOOL_BODY_NAMED,
     .separator = "\n"},
    {.name = "deepseek-v31",
     .in_template = {"<｜tool▁calls▁begin｜>"},
     .section = "<｜tool▁calls▁begin｜>",
     .calls = {{"<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"}},
     .body = TOOL_BODY_NAMED,
     .separator = "<｜tool▁sep｜>"},
    {.name = "kimi-k2",
     .in_template = {"<|tool_calls_section_begin|>"},
     .section = "<|tool_calls_section_begin|>",
     .calls = {{"<|tool_call_begin|>", "<|tool_call_end|>"}},
     .body = TOOL_BODY_NAMED,
     .separator = "<|tool_call_argument_begin|>",
     .id = TOOL_ID_OWN},
    {.name = "minimax-m2",
     .in_template = {"<minimax:tool_call>"},
     .section = "<minimax:tool_call>",
     .calls = {{"<invoke name=\"", "</invoke>"}},
     .body = TOOL_BODY_TAGS,
     .name_close = "\">",
     .key = {"<parameter name=\"", "\">"},
     .value = {NULL, "</parameter>"}},
    {.name = "seed-oss",
     .in_template = {"<seed:tool_call>"},
     .section = "<seed:tool_call>",
     .calls = {{"<function=", "</function>"}},
     .body = TOOL_BODY_TAGS,
     .name_close = ">",
     .key = {"<parameter=", ">"},
     .value = {NULL, "</parameter>"}},
    {.name = "glm-4.5",
     .in_template = {"<arg_key>"},
     .calls = {{"<tool_call>", "</tool_call>"}},
     .body = TOOL_BODY_TAGS,
     .key = {"<arg_key>", "</arg_key>"},
     .value = {"<arg_value>", "</arg_value>"}},
    {.name = "qwen3-coder",
     .in_template = {"<function=", "<parameter="},
     .section = "<tool_call>",
     .calls = {{"<function=", "</function>"}},
     .body = TOOL_BODY_TAGS,
     .name_close = ">",
     .key = {"<parameter=", ">"},
     .value = {NULL, "</parameter>"}},
    {.name = "functionary-v3.1",
     .in_template = {"<function="},
     .calls = {{"<function=", "</function>"}},
     .body = TOOL_BODY_NAMED,
     .separator = ">"},
    {.name = "functionary-v3.2", .in_template = {">>>all"}, .form = TOOL_REPLY_SECTIONS},
    {.name = "command",
     .in_template = {"<|START_ACTION|>"},
     .form = TOOL_REPLY_CHANNELS,
     CALLS_JSON("<|START_ACTION|>", "<|END_ACTION|>"),
     .text = {"<|START_RESPONSE|>", "<|END_RESPONSE|>"},
     .thoughts = {"<|START_THINKING|>", "<|END_THINKING|>"}},
    {.name = "command-r", .in_template = {"Action:", "tool_name"}, CALLS_JSON("Action:", NULL)},
    {.name = "phi-4",
     .in_template = {"<|/tool|>"},
     .calls = {{"functools", NULL}, {"<|tool_call|>", "<|/tool_call|>"}},
     .body = TOOL_BODY_JSON},
    {.name = "firefunction", .in_template = {"functools"}, CALLS_JSON("functools", NULL)},
    {.name = "granite",
     .in_template = {"<|tool_call|>"},
     .calls = {{"<|tool_call|>", NULL}, {"<tool_call>", "</tool_call>"}},
     .body = TOOL_BODY_JSON},
    {.name = "mistral",
     .in_template = {"[TOOL_CALLS]", "[ARGS]"},
     .calls = {{"[TOOL_CALLS]", NULL}},
     .body = TOOL_BODY_NAMED,
     .separator = "[ARGS]",
     .id = TOOL_ID_NINE},
    {.name = "mistral",
     .in_template = {"[TOOL_CALLS]"},
     CALLS_JSON("[TOOL_CALLS]", NULL),
     .id = TOOL_ID_NINE},
    {.name = "lfm2",
     .in_template = {"<|tool_call_start|>"},
     .calls = {{"<|tool_call_start|>", "<|tool_call_end|>"}},
     .body = TOOL_BODY_PYTHON},
    {.name = "olmo3",
     .in_template = {"<function_calls>"},
     .calls = {{"<function_calls>", "</function_calls>"}},
     .body = TOOL_BODY_PYTHON},
    {.name = "llama4",
     .in_template = {"<|python_start|>"},
     .calls = {{"<|python_start|>", "<|python_end|>"}},
     .body = TOOL_BODY_PYTHON},
    {.name = "pythonic", .in_template = {"func_name1("}, .body = TOOL_BODY_PYTHON},
    {.name = "hunyuan",
     .in_template = {"<tool_calls>"},
     CALLS_JSON("<tool_calls>", "</tool_calls>")},
    {.name = "nemotron", .in_template = {"<TOOLCALL>"}, CALLS_JSON("<TOOLCALL>", "</TOOLCALL>")},
    {.name = "apertus",
     .in_template = {"<|tools_prefix|>"},
     CALLS_JSON("<|tools_prefix|>", "<|tools_suffix|>")},
    {.name = "internlm2",
     .in_template = {"<|plugin|>"},
     .section = "<|action_start|>",
     CALLS_JSON("<|plugin|>", "<|action_end|>")},
    {.name = "hermes", .in_template = {"<tool_call>"}, CALLS_JSON("<tool_call>", "</tool_call>")},
    {.name = "llama3",
     .calls = {{"<|python_tag|>", NULL}, {"<tool_call>", "</tool_call>"}},
     .body = TOOL_BODY_JSON},
};

const tool_format *tool_format_of(mltf_str t)
{
    const tool_format *f = formats;
    while (f->in_template[0] && !(str_contains(t, f->in_template[0]) &&
                                  (!f->in_template[1] || str_contains(t, f->in_template[1]))))
        f++;
    return f;
}

const tool_format *tool_format_hermes(void)
{
    return tool_format_of(STR("<tool_call>"));
}

bool tool_format_has_channels(const tool_format *f)
{
    return f->form == TOOL_REPLY_HARMONY || f->form == TOOL_REPLY_CHANNELS;
}
