/* Constraints over a vocabulary of single bytes and a few longer tokens, and tool calls in replies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "gen/tool_calls.h"

enum { EOS = 256, WORD = 257, VOCAB = 260 }; // 257 "{\"", 258 "ab", 259 "ab" again

static gen_trie *trie;
static const char all_bytes[512];

static int make_trie(void **state)
{
    (void)state;
    static char bytes[256];
    static mltf_str tokens[VOCAB];
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        tokens[i] = (mltf_str){bytes + i, 1};
    }
    tokens[EOS] = (mltf_str){all_bytes, 0};
    tokens[WORD] = STR("{\"");
    tokens[WORD + 1] = tokens[WORD + 2] = STR("ab");
    return gen_trie_from_tokens(&trie, tokens, VOCAB, NULL);
}

static int free_trie(void **state)
{
    (void)state;
    gen_trie_free(trie);
    return 0;
}

typedef enum { NO, VIABLE, COMPLETE } verdict;

static verdict judge(const gen_constraint *c, const char *text)
{
    gen_matcher *m = NULL;
    assert_int_equal(gen_matcher_new(&m, c, NULL), MLTF_OK);
    const bool in = gen_matcher_accept_bytes(m, text, strlen(text));
    const verdict v = !in ? NO : gen_matcher_complete(m) ? COMPLETE : VIABLE;
    gen_matcher_free(m);
    return v;
}

static gen_constraint *schema(const char *text)
{
    json_doc doc = JSON_DOC_INIT;
    gen_constraint *c = NULL;
    mltf_err err = {0};
    assert_int_equal(json_parse(&doc, text, strlen(text), NULL, &err), MLTF_OK);
    if (gen_constraint_json_schema(&c, trie, doc.root, &err)) fail_msg("%s: %s", text, err.msg);
    json_doc_release(&doc);
    return c;
}

static void check(gen_constraint *c, const char *text, verdict want)
{
    if (judge(c, text) != want) fail_msg("\"%s\" gave %d, expected %d", text, judge(c, text), want);
}

static void test_regex_accepts_its_language_and_no_more(void **state)
{
    (void)state;
    gen_constraint *c = NULL;
    assert_int_equal(gen_constraint_regex(&c, trie, STR("(ab|c[d-f]\\d{2,3})+é?"), NULL), MLTF_OK);
    check(c, "ab", COMPLETE);
    check(c, "abcf123", COMPLETE);
    check(c, "cf1", VIABLE);
    check(c, "cg", NO);
    check(c, "ab\xc3", VIABLE); // half a character
    check(c, "ab\xc3\xa9", COMPLETE);
    check(c, "ab\xc3\xa9x", NO);
    gen_constraint_free(c);
}

static void test_tokens_are_allowed_by_all_their_bytes(void **state)
{
    (void)state;
    gen_constraint *c = NULL;
    gen_matcher *m = NULL;
    static const int32_t eos_id[] = {EOS};
    const gen_ids eos = {eos_id, 1};
    assert_int_equal(gen_constraint_regex(&c, trie, STR("a(b|c)"), NULL), MLTF_OK);
    assert_int_equal(gen_matcher_new(&m, c, NULL), MLTF_OK);
    uint8_t allowed[VOCAB] = {0};
    assert_int_equal(gen_matcher_allowed(m, allowed, VOCAB, eos, NULL), MLTF_OK);
    for (int i = 0; i < VOCAB; i++)
        assert_int_equal(allowed[i], i == 'a' || i == WORD + 1 || i == WORD + 2);
    assert_int_equal(gen_matcher_accept(m, WORD + 2, NULL), MLTF_OK);
    assert_true(gen_matcher_closed(m));
    memset(allowed, 0, sizeof allowed);
    assert_int_equal(gen_matcher_allowed(m, allowed, VOCAB, eos, NULL), MLTF_OK);
    for (int i = 0; i < VOCAB; i++) assert_int_equal(allowed[i], i == EOS);
    assert_int_equal(gen_matcher_accept(m, 'x', NULL), MLTF_INVALID_INPUT);
    gen_matcher_free(m);
    gen_constraint_free(c);
}

static void test_grammar_recurses_and_refuses_left_recursion(void **state)
{
    (void)state;
    gen_constraint *c = NULL;
    mltf_err err = {0};
    const mltf_str text = STR("root ::= list # a list\nlist ::= \"(\" (item (\" \" item)*)? "
                              "\")\"\nitem ::= list | [a-z]+\n");
    assert_int_equal(gen_constraint_grammar(&c, trie, text, &err), MLTF_OK);
    check(c, "(a (b c) ())", COMPLETE);
    check(c, "((((", VIABLE);
    check(c, "(a  b)", NO);
    gen_constraint_free(c);
    assert_int_equal(gen_constraint_grammar(&c, trie, STR("root ::= root \"a\" | \"b\""), &err),
                     MLTF_UNSUPPORTED);
    assert_int_equal(gen_constraint_grammar(&c, trie, STR("root ::= other"), &err),
                     MLTF_INVALID_INPUT);
    assert_string_equal(err.msg, "the grammar has no rule \"other\"");
}

static void test_schema_of_an_object(void **state)
{
    (void)state;
    gen_constraint *c =
        schema("{\"type\": \"object\", \"required\": [\"age\"], \"properties\": {"
               "\"name\": {\"type\": [\"string\", \"null\"]}, \"age\": {\"type\": \"integer\","
               "\"minimum\": -3, \"maximum\": 120}, \"kind\": {\"enum\": [\"a\", 1, [true]]}}}");
    check(c, "{\"age\": 5}", COMPLETE);
    check(c, "{\"name\": null, \"age\":120,\n  \"kind\": [true]}", COMPLETE);
    check(c, "{\"name\": \"\\u00e9\\n\", \"age\": -3}", COMPLETE);
    check(c, "{\"age\": 121", NO);
    check(c, "{\"age\": -4", NO);
    check(c, "{\"name\": \"x\"}", NO);     // age is required
    check(c, "{\"age\": 1, \"name\"", NO); // in the order of the schema
    check(c, "{\"age\": 1, \"more\"", NO);
    check(c, "{\"name\": \"\\ud800\"", NO); // half a pair
    gen_constraint_free(c);
}

static void test_schema_with_references_tuples_patterns_and_additional_members(void **state)
{
    (void)state;
    gen_constraint *c = schema(
        "{\"$ref\": \"#/$defs/n\", \"$defs\": {\"n\": {\"type\": \"object\", \"properties\": {"
        "\"next\": {\"anyOf\": [{\"$ref\": \"#/$defs/n\"}, {\"type\": \"null\"}]}}, \"required\": "
        "[\"next\"]}}}");
    check(c, "{\"next\": {\"next\": {\"next\": null}}}", COMPLETE);
    check(c, "{\"next\": {}", NO);
    gen_constraint_free(c);
    c = schema("{\"type\": \"array\", \"prefixItems\": [{\"type\": \"string\", \"pattern\": "
               "\"^a\\\"+$\"}], \"items\": {\"type\": \"boolean\"}, \"maxItems\": 2}");
    check(c, "[\"a\\\"\\\"\", true]", COMPLETE);
    check(c, "[\"a\"", NO);
    check(c, "[\"a\\\"\", true, ", NO);
    gen_constraint_free(c);
    c = schema("{\"type\": \"object\", \"properties\": {\"ab\": {\"type\": \"null\"}}, "
               "\"additionalProperties\": {\"type\": \"integer\"}}");
    check(c, "{\"ab\": null, \"abc\": 1, \"a\": 2}", COMPLETE);
    check(c, "{\"ab\": 1", NO);
    check(c, "{\"x\": 1, \"ab\": 1", NO);
    gen_constraint_free(c);
}

static void test_schema_names_what_it_does_not_know(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"{\"type\": \"array\", \"uniqueItems\": true}",
         "the schema's keyword \"uniqueItems\" is not supported"},
        {"{\"type\": \"text\"}", "\"type\": \"text\" is no type of JSON schema"},
        {"{\"$ref\": \"#/a\"}", "\"$ref\": \"#/a\" does not lead to a schema"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_doc doc = JSON_DOC_INIT;
        gen_constraint *c = NULL;
        mltf_err err = {0};
        json_parse(&doc, rows[i][0], strlen(rows[i][0]), NULL, &err);
        assert_int_not_equal(gen_constraint_json_schema(&c, trie, doc.root, &err), MLTF_OK);
        assert_null(c);
        assert_string_equal(err.msg, rows[i][1]);
        json_doc_release(&doc);
    }
}

/* ---- tool calls ---- */

static void expect_calls(tool_format f, const char *reply, const char *calls_want,
                         const char *content_want)
{
    mltf_arena arena = MLTF_ARENA_INIT;
    json *calls = NULL;
    mltf_str content = {0};
    assert_int_equal(tool_calls_parse(f, str_from(reply), 7, &arena, &calls, &content, NULL),
                     MLTF_OK);
    mltf_buf got = MLTF_BUF_INIT;
    for (size_t i = 0; i < json_len(calls); i++) {
        const json *fn = json_get(json_at(calls, i), "function");
        buf_put_str(&got, json_string(json_get(fn, "name"), STR("?")));
        buf_putc(&got, ' ');
        buf_put_str(&got, json_string(json_get(fn, "arguments"), STR("?")));
        buf_putc(&got, '|');
    }
    assert_string_equal(got.p ? got.p : "", calls_want);
    if (content_want)
        assert_string_equal(content.p, content_want);
    else
        assert_null(content.p);
    mltf_buf_release(&got);
    arena_release(&arena);
}

static void test_tool_calls_are_found_in_each_format(void **state)
{
    (void)state;
    expect_calls(TOOL_FORMAT_HERMES,
                 "Let me see.\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": "
                 "[2]}}\n</tool_call>\n"
                 "<tool_call>{\"name\": \"now\"}</tool_call>",
                 "add {\"a\": 1, \"b\": [2]}|now {}|", "Let me see.");
    expect_calls(TOOL_FORMAT_HERMES, "<tool_call>{\"name\": </tool_call>", "",
                 "<tool_call>{\"name\": </tool_call>");
    expect_calls(
        TOOL_FORMAT_LLAMA3,
        "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"x\": \"\xc3\xa9\"}}; {\"name\": \"g\", "
        "\"parameters\": {}}<|eom_id|>",
        "f {\"x\": \"\xc3\xa9\"}|g {}|", NULL);
    expect_calls(TOOL_FORMAT_LLAMA3, "{\"answer\": 42}", "", "{\"answer\": 42}");
    expect_calls(TOOL_FORMAT_MISTRAL,
                 "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", "
                 "\"arguments\": \"{}\"}]",
                 "f {}|g {}|", NULL);
    expect_calls(TOOL_FORMAT_NONE, "plain", "", "plain");
}

static void test_tool_choice_forces_a_call_of_the_named_function(void **state)
{
    (void)state;
    static const char tools_text[] = "[{\"type\": \"function\", \"function\": {\"name\": \"f\", "
                                     "\"parameters\": {\"type\": \"object\", \"properties\": {"
                                     "\"x\": {\"type\": \"integer\"}}, \"required\": [\"x\"]}}}, "
                                     "{\"type\": \"function\", \"function\": {\"name\": \"g\"}}]";
    static const char choice_text[] = "{\"type\": \"function\", \"function\": {\"name\": \"f\"}}";
    mltf_arena arena = MLTF_ARENA_INIT;
    json *tools = NULL, *choice = NULL;
    gen_constraint *c = NULL;
    json_parse_in(&arena, &tools, tools_text, strlen(tools_text), NULL, NULL);
    json_parse_in(&arena, &choice, choice_text, strlen(choice_text), NULL, NULL);
    assert_int_equal(tool_choice_constraint(&c, trie, TOOL_FORMAT_HERMES, tools, choice, NULL),
                     MLTF_OK);
    check(c, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 3}}\n</tool_call>", COMPLETE);
    check(c, "<tool_call>\n{\"name\": \"g\"", NO);
    gen_constraint_free(c);
    assert_int_equal(tool_choice_constraint(&c, trie, TOOL_FORMAT_LLAMA3, tools,
                                            json_new_cstr(&arena, "required"), NULL),
                     MLTF_OK);
    check(c, "{\"name\": \"g\", \"parameters\": {\"any\": []}}", COMPLETE);
    gen_constraint_free(c);
    assert_int_equal(tool_choice_constraint(&c, trie, TOOL_FORMAT_HERMES, tools,
                                            json_new_cstr(&arena, "auto"), NULL),
                     MLTF_OK);
    assert_null(c);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex_accepts_its_language_and_no_more),
        cmocka_unit_test(test_tokens_are_allowed_by_all_their_bytes),
        cmocka_unit_test(test_grammar_recurses_and_refuses_left_recursion),
        cmocka_unit_test(test_schema_of_an_object),
        cmocka_unit_test(test_schema_with_references_tuples_patterns_and_additional_members),
        cmocka_unit_test(test_schema_names_what_it_does_not_know),
        cmocka_unit_test(test_tool_calls_are_found_in_each_format),
        cmocka_unit_test(test_tool_choice_forces_a_call_of_the_named_function),
    };
    return cmocka_run_group_tests(tests, make_trie, free_trie);
}
