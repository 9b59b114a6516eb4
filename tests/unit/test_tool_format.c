/* Calls of tools in replies: each family's form is known by its chat template, read whole, and never shown as text
 * while it is being written. */
#include "unit.h"

#include <string.h>

#include "mlflow/tool_format.h"

static const char tools_text[] = "[{\"type\": \"function\", \"function\": {\"name\": \"tide\", "
                                 "\"parameters\": {\"type\": \"object\", "
                                 "\"properties\": {\"port\": {\"type\": \"string\"}, \"days\": "
                                 "{\"type\": \"integer\"}, \"spring\": "
                                 "{\"type\": \"boolean\"}, \"boats\": {\"type\": \"array\"}}}}}, "
                                 "{\"type\": \"function\", \"function\": "
                                 "{\"name\": \"moon\"}}]";

static mltf_arena arena;
static json *tools;

static int set_up(void **state)
{
    (void)state;
    return json_parse_in(&arena, &tools, tools_text, strlen(tools_text), NULL, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const char *calls_text(const json *calls)
{
    mltf_buf got = MLTF_BUF_INIT;
    for (size_t i = 0; i < json_len(calls); i++) {
        const json *fn = json_get(json_at(calls, i), "function");
        buf_put_str(&got, json_string(json_get(fn, "name"), STR("?")));
        buf_putc(&got, ' ');
        buf_put_str(&got, json_string(json_get(fn, "arguments"), STR("?")));
        buf_putc(&got, '|');
    }
    const char *text = arena_strdup(&arena, got.p ? got.p : "", got.n);
    mltf_buf_release(&got);
    return text;
}

/* The reply as a whole, then as it grows byte by byte: what is shown is never taken back. */
static void expect(const char *chat_template, const char *format, const char *reply,
                   const char *calls, const char *content)
{
    const tool_format *f = tool_format_of(str_from(chat_template));
    assert_string_equal(f->name, format);
    tool_reply r;
    assert_int_equal(tool_calls_parse(f, tools, str_from(reply), &arena, &r, NULL), MLTF_OK);
    assert_string_equal(calls_text(r.calls), calls);
    assert_string_equal(arena_str(&arena, r.content).p, content);
    mltf_buf scratch = MLTF_BUF_INIT;
    for (size_t n = 0; n <= strlen(reply); n++) {
        const mltf_str shown = tool_text_so_far(f, tools, (mltf_str){reply, n}, &scratch);
        if (shown.n > r.content.n || (shown.n && memcmp(shown.p, r.content.p, shown.n) != 0))
            fail_msg("%s after %zu bytes shows \"%.*s\"", f->name, n, (int)shown.n, shown.p);
    }
    mltf_buf_release(&scratch);
}

#define TIDE "{\"port\": \"Brest\", \"days\": 2}"

static void test_tool_formats_with_json_between_marks(void **state)
{
    (void)state;
    expect("<tool_call>", "hermes",
           "Let me see.\n<tool_call>\n{\"name\": \"tide\", \"arguments\": " TIDE "}\n</tool_call>\n"
           "<tool_call>{\"name\": \"moon\"}</tool_call>",
           "tide " TIDE "|moon {}|", "Let me see.");
    expect("<tool_call>", "hermes", "<tool_call>{\"name\": </tool_call>", "",
           "<tool_call>{\"name\": </tool_call>");
    expect("<tool_call>", "hermes", "<tool_call>\n{\"name\": \"moon\", \"arguments\": {}}",
           "moon {}|", "");
    expect("{{'[TOOL_CALLS]'}}", "mistral",
           "[TOOL_CALLS] [{\"name\": \"tide\", \"arguments\": {}}, {\"name\": \"moon\", "
           "\"arguments\": \"{}\"}]",
           "tide {}|moon {}|", "");
    expect("<|tool_call|>", "granite",
           "<|tool_call|>[{\"name\": \"tide\", \"arguments\": " TIDE "}]", "tide " TIDE "|", "");
    expect("<|/tool|>", "phi-4", "functools[{\"name\": \"tide\", \"arguments\": " TIDE "}]",
           "tide " TIDE "|", "");
    expect("<|/tool|>", "phi-4",
           "<|tool_call|>[{\"type\": \"function\", \"function\": {\"name\": \"moon\", "
           "\"arguments\": {}}}]<|/tool_call|>",
           "moon {}|", "");
    expect("<tool_calls>", "hunyuan",
           "Yes.<tool_calls>[{\"name\": \"moon\", \"arguments\": {}}]</tool_calls>", "moon {}|",
           "Yes.");
    expect("<TOOLCALL>", "nemotron",
           "<TOOLCALL>[{\"name\": \"moon\", \"arguments\": {}}]</TOOLCALL>", "moon {}|", "");
    expect("<|tools_prefix|>", "apertus",
           "<|tools_prefix|>[{\"tide\": " TIDE "}, {\"moon\": {}}]<|tools_suffix|>",
           "tide " TIDE "|moon {}|", "");
    expect("<|plugin|>", "internlm2",
           "Now<|action_start|><|plugin|>\n{\"name\": \"tide\", \"parameters\": " TIDE
           "}<|action_end|>",
           "tide " TIDE "|", "Now");
    expect("Action: tool_name", "command-r",
           "Action: ```json\n[\n    {\n        \"tool_name\": \"tide\",\n        \"parameters\": "
           "{\"days\": 1}\n    }\n]```",
           "tide {\"days\": 1}|", "");
}

static void test_tool_formats_of_bare_json(void **state)
{
    (void)state;
    expect("<|python_tag|>", "llama3",
           "<|python_tag|>{\"name\": \"tide\", \"parameters\": {\"port\": \"L\xc3\xa9on\"}}; "
           "{\"name\": \"moon\", "
           "\"parameters\": {}}<|eom_id|>",
           "tide {\"port\": \"L\xc3\xa9on\"}|moon {}|", "");
    expect("<|python_tag|>", "llama3", "<|python_tag|>moon.call(phase=\"full\")",
           "moon {\"phase\": \"full\"}|", "");
    expect("", "llama3", "{\"name\": \"moon\", \"parameters\": {}}", "moon {}|", "");
    expect("", "llama3", "{\"answer\": 42}", "", "{\"answer\": 42}");
    expect("", "llama3",
           "[{\"name\": \"moon\", \"arguments\": {}}, {\"name\": \"sun\", \"arguments\": {}}]", "",
           "[{\"name\": \"moon\", \"arguments\": {}}, {\"name\": \"sun\", \"arguments\": {}}]");
    expect("", "llama3", "{\"name\": \"sun\", \"parameters\": {}}", "",
           "{\"name\": \"sun\", \"parameters\": {}}");
    // what tool_choice forces, in any format
    expect("<arg_key>", "glm-4.5", "{\"name\": \"moon\", \"arguments\": {}}", "moon {}|", "");
    expect("<|channel|><|message|>", "harmony", "{\"name\": \"moon\", \"arguments\": {}}",
           "moon {}|", "");
    // plain text, and a mark in the middle of it
    expect("<|channel|><|message|>", "harmony", "top<|start|>assistant<|channel|>final<|message|>x",
           "", "top\nx");
    expect("<|channel|><|message|>", "harmony", "to <|start|>", "", "to ");
    expect("<|channel|><|message|>", "harmony", "\n<|channel|>final<|message|>x", "", "\n\nx");
}

static void test_tool_formats_with_a_name_and_arguments(void **state)
{
    (void)state;
    expect(
        "<｜tool▁calls▁begin｜> ```json", "deepseek-v3",
        "I "
        "ask.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>tide\n```json\n" TIDE
        "\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>moon\n```json\n{}\n"
        "```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "tide " TIDE "|moon {}|", "I ask.");
    expect("<｜tool▁calls▁begin｜>", "deepseek-v31",
           "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tide<｜tool▁sep｜>" TIDE
           "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
           "tide " TIDE "|", "");
    expect("<|tool_calls_section_begin|>", "kimi-k2",
           "<|tool_calls_section_begin|><|tool_call_begin|>functions.tide:0<|tool_call_argument_"
           "begin|>" TIDE "<|tool_call_end|><|tool_call_begin|>functions.moon:1<|tool_call_"
           "argument_begin|>{}<|tool_call_end|>"
           "<|tool_calls_section_end|>",
           "tide " TIDE "|moon {}|", "");
    expect("[TOOL_CALLS][ARGS]", "mistral",
           "[TOOL_CALLS]tide[ARGS]" TIDE "[TOOL_CALLS]moon[CALL_ID]abc123def[ARGS]{}",
           "tide " TIDE "|moon {}|", "");
    expect("<function=", "functionary-v3.1",
           "So: <function=tide>" TIDE "</function><function=moon>{}</function>",
           "tide " TIDE "|moon {}|", "So:");
    expect(">>>all", "functionary-v3.2", "all\nI look.>>>tide\n" TIDE, "tide " TIDE "|", "I look.");
    expect(">>>all", "functionary-v3.2", "moon\n{}", "moon {}|", "");
    expect(">>>all", "functionary-v3.2", "all\na >> b", "", "a >> b");
    expect(">>>all", "functionary-v3.2", "Hello\nthere", "", "Hello\nthere");
}

static void test_tool_formats_with_arguments_as_text(void **state)
{
    (void)state;
    const char want[] =
        "tide {\"port\": \"12\", \"days\": 2, \"spring\": true, \"boats\": [\"a\"]}|";
    expect("<tool_call> <function= <parameter=", "qwen3-coder",
           "Ok\n<tool_call>\n<function=tide>\n<parameter=port>\n12\n</"
           "parameter>\n<parameter=days>\n2\n</parameter>\n"
           "<parameter=spring>\nTrue\n</parameter>\n<parameter=boats>\n['a']\n</parameter>\n</"
           "function>\n</tool_call>",
           want, "Ok");
    expect("<function= <parameter=", "qwen3-coder",
           "<function=tide><parameter=port>line 1\nline 2</parameter></function>",
           "tide {\"port\": \"line 1\\nline 2\"}|", "");
    expect("<function= <parameter=", "qwen3-coder",
           "<tool_call>\n{\"name\": \"moon\", \"arguments\": {}}\n</tool_call>", "moon {}|", "");
    expect("<seed:tool_call>", "seed-oss",
           "<seed:tool_call>\n<function=tide>\n<parameter=port>12</parameter>\n<parameter=days>2</"
           "parameter>\n"
           "<parameter=spring>true</parameter><parameter=boats>[\"a\"]</parameter></function>\n</"
           "seed:tool_call>",
           want, "");
    expect("<minimax:tool_call>", "minimax-m2",
           "<minimax:tool_call>\n<invoke name=\"tide\">\n<parameter "
           "name=\"days\">3</parameter>\n</invoke>\n"
           "<invoke name=\"moon\">\n</invoke>\n</minimax:tool_call>",
           "tide {\"days\": 3}|moon {}|", "");
    expect("<arg_key>", "glm-4.5",
           "<think></think>\nNow.\n<tool_call>tide\n<arg_key>port</arg_key>\n<arg_value>12</"
           "arg_value>\n"
           "<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n<arg_key>spring</"
           "arg_key><arg_value>true</arg_value>\n"
           "<arg_key>boats</arg_key>\n<arg_value>[\"a\"]</arg_value>\n</tool_call><tool_call>moon</"
           "tool_call>",
           "tide {\"port\": \"12\", \"days\": 2, \"spring\": true, \"boats\": [\"a\"]}|moon {}|",
           "<think></think>\nNow.");
}

static void test_tool_formats_in_python(void **state)
{
    (void)state;
    expect("<|python_start|>", "llama4",
           "<|python_start|>[tide(port=\"Brest\", days=-2, spring=False), moon()]<|python_end|>",
           "tide {\"port\": \"Brest\", \"days\": -2, \"spring\": false}|moon {}|", "");
    expect("<|python_start|>", "llama4", "[tide(boats=[{'a': None}], spring=true)]",
           "tide {\"boats\": [{\"a\": null}], \"spring\": true}|", "");
    expect("func_name1(", "pythonic", "[tide(port='it\\'s')]", "tide {\"port\": \"it's\"}|", "");
    expect("func_name1(", "pythonic", "[sun()]", "", "[sun()]");
    expect("<|tool_call_start|>", "lfm2",
           "<|tool_call_start|>[tide(days=1)]<|tool_call_end|>I ask.", "tide {\"days\": 1}|", "");
    expect("<function_calls>", "olmo3", "<function_calls>tide(days=1)\nmoon()</function_calls>",
           "tide {\"days\": 1}|moon {}|", "");
}

static void test_tool_formats_with_channels(void **state)
{
    (void)state;
    const char harmony[] = "<|channel|><|message|>";
    expect(harmony, "harmony",
           "<|channel|>analysis<|message|>The user wants "
           "tides.<|end|><|start|>assistant<|channel|>commentary "
           "to=functions.tide <|constrain|>json<|message|>" TIDE,
           "tide " TIDE "|", "");
    expect(harmony, "harmony",
           "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|"
           "message|>I look.<|end|>"
           "<|start|>assistant to=functions.moon<|channel|>commentary json<|message|>{}<|call|>",
           "moon {}|", "I look.");
    expect(harmony, "harmony",
           "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>"
           "At noon.",
           "", "At noon.");
    expect(harmony, "harmony", "<|channel|>analysis<|message|>Cut of", "", "");
    expect(harmony, "harmony", "plain", "", "plain");
    expect("<|START_ACTION|>", "command",
           "<|START_THINKING|>I will look.<|END_THINKING|><|START_ACTION|>[\n    "
           "{\"tool_call_id\": \"0\", \"tool_name\": "
           "\"tide\", \"parameters\": " TIDE "}\n]<|END_ACTION|>",
           "tide " TIDE "|", "");
    expect("<|START_ACTION|>", "command",
           "<|START_THINKING|>Easy.<|END_THINKING|><|START_RESPONSE|>At noon.<|END_RESPONSE|>", "",
           "At noon.");
    expect("<|START_ACTION|>", "command", "At noon.", "", "At noon.");
}

static void test_tool_ids_are_what_the_template_takes_back(void **state)
{
    (void)state;
    tool_reply r;
    const tool_format *f = tool_format_of(STR("[TOOL_CALLS]"));
    assert_int_equal(tool_calls_parse(f, tools,
                                      STR("[TOOL_CALLS][{\"name\": \"moon\", \"arguments\": {}}]"),
                                      &arena, &r, NULL),
                     MLTF_OK);
    assert_int_equal(json_string(json_get(json_at(r.calls, 0), "id"), STR("")).n, 9);
    f = tool_format_of(STR("<|tool_calls_section_begin|>"));
    assert_int_equal(
        tool_calls_parse(f, tools,
                         STR("<|tool_call_begin|>functions.moon:3<|tool_call_argument_begin|>{}"),
                         &arena, &r, NULL),
        MLTF_OK);
    assert_true(
        str_is(json_string(json_get(json_at(r.calls, 0), "id"), STR("")), "functions.moon:3"));
}

/* Nothing that a model writes may break the reader. */
static void test_tool_formats_survive_any_text(void **state)
{
    (void)state;
    static const char *const templates[] = {"<tool_call>",
                                            "<arg_key>",
                                            "<function= <parameter=",
                                            ">>>all",
                                            "<|channel|><|message|>",
                                            "<|START_ACTION|>",
                                            "func_name1(",
                                            "[TOOL_CALLS][ARGS]",
                                            "<｜tool▁calls▁begin｜> ```json"};
    static const char *const pieces[] = {"<tool_call>",
                                         "</tool_call>",
                                         "<arg_key>",
                                         "</arg_key>",
                                         "<arg_value>",
                                         "<function=",
                                         ">",
                                         "<parameter=",
                                         "</parameter>",
                                         ">>>",
                                         "\n",
                                         "all",
                                         "tide",
                                         "<|channel|>",
                                         "<|message|>",
                                         "<|end|>",
                                         "to=",
                                         "functions.",
                                         "{}",
                                         "{\"a\":",
                                         "[",
                                         "(",
                                         ")",
                                         "=",
                                         "1",
                                         "'",
                                         "[TOOL_CALLS]",
                                         "[ARGS]",
                                         "```",
                                         "```json",
                                         "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
                                         "<|START_RESPONSE|>",
                                         "<|END_THINKING|>",
                                         "<|START_THINKING|>",
                                         "<|START_ACTION|>"};
    uint32_t random = 1;
    for (size_t t = 0; t < sizeof templates / sizeof *templates; t++) {
        const tool_format *f = tool_format_of(str_from(templates[t]));
        for (int round = 0; round < 3000; round++) {
            mltf_buf text = MLTF_BUF_INIT, scratch = MLTF_BUF_INIT;
            const mltf_arena_mark mark = arena_save(&arena);
            random = random * 1664525 + 1013904223;
            for (uint32_t n = random >> 28; n > 0; n--) {
                random = random * 1664525 + 1013904223;
                buf_puts(&text, pieces[(random >> 16) % (sizeof pieces / sizeof *pieces)]);
            }
            // the text ends exactly where the memory does
            char *exact = malloc(text.n + 1);
            assert_non_null(exact);
            if (text.n) memcpy(exact, text.p, text.n);
            char *own = realloc(exact, text.n ? text.n : 1);
            tool_reply r;
            assert_int_equal(tool_calls_parse(f, tools, (mltf_str){own, text.n}, &arena, &r, NULL),
                             MLTF_OK);
            const mltf_str shown = tool_text_so_far(f, tools, (mltf_str){own, text.n}, &scratch);
            assert_true(shown.n <= text.n + 16);
            free(own);
            arena_restore(&arena, mark);
            mltf_buf_release(&text);
            mltf_buf_release(&scratch);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tool_formats_with_json_between_marks),
        cmocka_unit_test(test_tool_formats_of_bare_json),
        cmocka_unit_test(test_tool_formats_with_a_name_and_arguments),
        cmocka_unit_test(test_tool_formats_with_arguments_as_text),
        cmocka_unit_test(test_tool_formats_in_python),
        cmocka_unit_test(test_tool_formats_with_channels),
        cmocka_unit_test(test_tool_ids_are_what_the_template_takes_back),
        cmocka_unit_test(test_tool_formats_survive_any_text),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
