/* OpenAI's API on a tiny chat model: replies, streams, stop strings, tools, log probabilities, embeddings, and the
 * requests that are refused. Answers are greedy (the model's generation_config.json has top_k 1). */
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/json.h"
#include "mltf/mltf.h"

#define CHAT_MODEL "tests/fixtures/golden/llm_chat/model"
#define ASK                                                                                        \
    "\"messages\": [{\"role\": \"system\", \"content\": \"You are a guide.\"}, {\"role\": "        \
    "\"user\", \"content\": \"Where is the mill?\"}]"
#define TOOLS                                                                                      \
    "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"find_mill\", "                \
    "\"parameters\": "                                                                             \
    "{\"type\": \"object\", \"properties\": {\"near\": {\"enum\": [\"river\", \"road\"]}}, "       \
    "\"required\": [\"near\"]}}}]"

static mltf_model *chat, *llama, *bert, *gpt2;
static mltf_arena arena;

static mltf_model *open_model(const char *dir, const char *task)
{
    mltf_model *m = NULL;
    mltf_err err = {0};
    const mltf_open_options o = {.task = task, .torch_dtype = "float32"};
    if (mltf_model_open(&m, dir, &o, &err)) print_error("%s\n", err.msg);
    return m;
}

static json *parse(const char *text, size_t n)
{
    json *v = NULL;
    assert_int_equal(json_parse_in(&arena, &v, text, n, NULL, NULL), MLTF_OK);
    return v;
}

static json *ask(const mltf_model *m, const char *endpoint, const char *request)
{
    mltf_buf answer = MLTF_BUF_INIT;
    mltf_err err = {0};
    const mltf_status st =
        mltf_openai(m, endpoint, request, strlen(request), NULL, NULL, NULL, &answer, &err);
    if (st) print_error("%s\n  %s\n", request, err.msg);
    assert_int_equal(st, MLTF_OK);
    json *v = parse(answer.p, answer.n);
    mltf_buf_release(&answer);
    return v;
}

static void refuse(const mltf_model *m, const char *endpoint, const char *request,
                   const char *words)
{
    mltf_buf answer = MLTF_BUF_INIT;
    mltf_err err = {0};
    assert_int_equal(
        mltf_openai(m, endpoint, request, strlen(request), NULL, NULL, NULL, &answer, &err),
        MLTF_INVALID_INPUT);
    if (!strstr(err.msg, words)) fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
    assert_int_equal(answer.n, 0);
    mltf_buf_release(&answer);
}

static const json *choice(const json *reply, size_t i)
{
    return json_at(json_get(reply, "choices"), i);
}

static const char *text_of(const json *v, const char *key)
{
    const mltf_str s = json_string(json_get(v, key), STR("(none)"));
    return arena_strdup(&arena, s.p, s.n);
}

static int64_t usage_of(const json *reply, const char *key)
{
    return json_int(json_get(json_get(reply, "usage"), key), -1);
}

static void test_openai_chat_answers_with_an_object(void **state)
{
    (void)state;
    const json *r = ask(chat, "chat", "{\"model\": \"x\", " ASK "}");
    assert_string_equal(text_of(r, "object"), "chat.completion");
    assert_string_equal(text_of(json_get(choice(r, 0), "message"), "content"),
                        "The mill stands by the river.");
    assert_string_equal(text_of(choice(r, 0), "finish_reason"), "stop");
    assert_int_equal(usage_of(r, "prompt_tokens"), 47);
    assert_int_equal(usage_of(r, "completion_tokens"), 12); // the end token is one of them
    assert_int_equal(usage_of(r, "total_tokens"), 59);
}

static void test_openai_chat_says_when_it_was_cut(void **state)
{
    (void)state;
    const json *r = ask(chat, "chat", "{" ASK ", \"max_completion_tokens\": 3}");
    assert_string_equal(text_of(json_get(choice(r, 0), "message"), "content"), "The mill st");
    assert_string_equal(text_of(choice(r, 0), "finish_reason"), "length");
    assert_int_equal(usage_of(r, "completion_tokens"), 3);
}

static void test_openai_chat_removes_the_stop_string(void **state)
{
    (void)state;
    const json *r = ask(chat, "chat", "{" ASK ", \"stop\": [\"nowhere\", \"by the ri\"]}");
    assert_string_equal(text_of(json_get(choice(r, 0), "message"), "content"), "The mill stands ");
    assert_string_equal(text_of(choice(r, 0), "finish_reason"), "stop");
}

static void test_openai_chat_gives_n_choices_and_counts_them(void **state)
{
    (void)state;
    const json *r = ask(chat, "chat", "{" ASK ", \"n\": 3, \"max_tokens\": 4, \"temperature\": 0}");
    assert_int_equal(json_len(json_get(r, "choices")), 3);
    assert_int_equal(json_int(json_get(choice(r, 2), "index"), -1), 2);
    assert_int_equal(usage_of(r, "completion_tokens"), 12);
    assert_int_equal(usage_of(r, "prompt_tokens"), 47);
}

static void test_openai_sampling_repeats_with_a_seed(void **state)
{
    (void)state;
    const char request[] =
        "{" ASK ", \"seed\": 5, \"temperature\": 2, \"top_k\": 0, \"max_tokens\": 12, \"n\": 2}";
    const json *a = ask(llama, "chat", request), *b = ask(llama, "chat", request);
    assert_true(json_equal(json_get(a, "choices"), json_get(b, "choices")));
    assert_false(json_equal(json_get(choice(a, 0), "message"), json_get(choice(a, 1), "message")));
}

typedef struct events {
    json *list[64];
    size_t n;
} events;

static int on_event(void *user, const char *text, size_t n)
{
    events *e = user;
    if (e->n < 64) e->list[e->n++] = parse(text, n);
    return 0;
}

static void stream(const mltf_model *m, const char *endpoint, const char *request, events *e)
{
    mltf_buf answer = MLTF_BUF_INIT;
    mltf_err err = {0};
    *e = (events){0};
    assert_int_equal(
        mltf_openai(m, endpoint, request, strlen(request), NULL, on_event, e, &answer, &err),
        MLTF_OK);
    assert_int_equal(answer.n, 0);
    mltf_buf_release(&answer);
}

static void test_openai_stream_begins_with_the_role_and_ends_with_usage(void **state)
{
    (void)state;
    events e;
    stream(
        chat, "chat",
        "{" ASK
        ", \"stream\": true, \"stream_options\": {\"include_usage\": true}, \"stop\": \"river\"}",
        &e);
    const json *first = json_get(choice(e.list[0], 0), "delta");
    assert_string_equal(text_of(first, "role"), "assistant");
    assert_string_equal(text_of(e.list[0], "object"), "chat.completion.chunk");
    char text[256] = "";
    for (size_t i = 0; i + 1 < e.n; i++) {
        assert_int_equal(json_get(e.list[i], "usage")->type, JSON_NULL);
        const json *part = json_get(json_get(choice(e.list[i], 0), "delta"), "content");
        if (part)
            strncat(text, text_of(json_get(choice(e.list[i], 0), "delta"), "content"),
                    sizeof text - strlen(text) - 1);
    }
    assert_string_equal(text,
                        "The mill stands by the "); // nothing of the stop string ever went out
    assert_string_equal(text_of(choice(e.list[e.n - 2], 0), "finish_reason"), "stop");
    assert_int_equal(json_len(json_get(e.list[e.n - 1], "choices")), 0);
    assert_int_equal(usage_of(e.list[e.n - 1], "prompt_tokens"), 47);
}

static void test_openai_stream_of_several_choices_names_each(void **state)
{
    (void)state;
    events e;
    bool ended[2] = {false, false};
    stream(chat, "chat", "{" ASK ", \"stream\": true, \"n\": 2, \"max_tokens\": 3}", &e);
    for (size_t i = 0; i < e.n; i++) {
        const int64_t index = json_int(json_get(choice(e.list[i], 0), "index"), -1);
        assert_true(index == 0 || index == 1);
        if (json_is(json_get(choice(e.list[i], 0), "finish_reason"), JSON_STRING))
            ended[index] = true;
    }
    assert_true(ended[0] && ended[1]);
}

static void test_openai_logprobs_have_bytes_and_alternatives(void **state)
{
    (void)state;
    const json *r =
        ask(llama, "chat",
            "{" ASK
            ", \"logprobs\": true, \"top_logprobs\": 3, \"max_tokens\": 2, \"temperature\": 0}");
    const json *content = json_get(json_get(choice(r, 0), "logprobs"), "content");
    assert_true(json_len(content) >= 1);
    const json *one = json_at(content, 0), *top = json_get(one, "top_logprobs");
    assert_int_equal(json_len(top), 3);
    assert_true(json_double(json_get(one, "logprob"), 1) <= 0);
    assert_true(json_len(json_get(one, "bytes")) > 0);
    assert_true(json_equal(json_get(json_at(top, 0), "token"),
                           json_get(one, "token"))); // greedy: the best one
    assert_true(json_double(json_get(json_at(top, 1), "logprob"), 1) <=
                json_double(json_get(json_at(top, 0), "logprob"), -99));
}

static void test_openai_a_forced_tool_is_called_with_valid_arguments(void **state)
{
    (void)state;
    const json *r = ask(llama, "chat",
                        "{" ASK ", " TOOLS
                        ", \"tool_choice\": \"required\", \"max_tokens\": 80, \"temperature\": 0}");
    assert_string_equal(text_of(choice(r, 0), "finish_reason"), "tool_calls");
    const json *message = json_get(choice(r, 0), "message"),
               *call = json_at(json_get(message, "tool_calls"), 0);
    assert_int_equal(json_get(message, "content")->type, JSON_NULL);
    assert_string_equal(text_of(json_get(call, "function"), "name"), "find_mill");
    const mltf_str arguments =
        json_string(json_get(json_get(call, "function"), "arguments"), STR(""));
    const char *near = text_of(parse(arguments.p, arguments.n), "near");
    assert_true(strcmp(near, "river") == 0 || strcmp(near, "road") == 0);
}

static void test_openai_completions_take_texts_and_ids(void **state)
{
    (void)state;
    const json *r = ask(llama, "completions",
                        "{\"prompt\": [\"The old\", \"Rain\"], \"max_tokens\": 3, \"temperature\": "
                        "0, \"echo\": true}");
    assert_int_equal(json_len(json_get(r, "choices")), 2);
    assert_int_equal(strncmp(text_of(choice(r, 1), "text"), "Rain", 4), 0);
    r = ask(llama, "completions", "{\"prompt\": [1, 20, 30], \"max_tokens\": 3, \"logprobs\": 2}");
    assert_int_equal(usage_of(r, "prompt_tokens"), 3);
    assert_int_equal(json_len(json_get(json_get(choice(r, 0), "logprobs"), "tokens")),
                     json_len(json_get(json_get(choice(r, 0), "logprobs"), "top_logprobs")));
}

/* Values of torch's log_softmax in double precision. */
static void test_openai_echo_tells_the_prompts_own_log_probabilities(void **state)
{
    (void)state;
    static const double want[] = {-9.074562150,  -6.544874577, -2.951183892, -11.967455807,
                                  -12.331858119, -9.595394087, -6.615936207, -9.079410813};
    static const double best[] = {-2.028688568, -1.292781619, -1.741259194, -2.157611314,
                                  -1.305878123, -2.311161829, -2.210732507, -2.475435636};
    const json *r = ask(gpt2, "completions",
                        "{\"prompt\": \"The river was high\", \"max_tokens\": 0, \"echo\": true, "
                        "\"logprobs\": 1}");
    assert_string_equal(text_of(choice(r, 0), "text"), "The river was high");
    assert_int_equal(usage_of(r, "completion_tokens"), 0);
    const json *l = json_get(choice(r, 0), "logprobs"), *own = json_get(l, "token_logprobs"),
               *top = json_get(l, "top_logprobs");
    assert_int_equal(json_len(own), 9);
    assert_int_equal(json_at(own, 0)->type, JSON_NULL); // nothing stands before it
    assert_int_equal(json_at(top, 0)->type, JSON_NULL);
    for (size_t i = 0; i < 8; i++) {
        assert_true(fabs(json_double(json_at(own, i + 1), 0) - want[i]) < 1e-3);
        const json *one = json_at(top, i + 1);
        assert_true(fabs(json_double(&one->o.members[0].value, 0) - best[i]) < 1e-3);
    }
    // with a continuation the two follow each other, offsets included
    r = ask(
        gpt2, "completions",
        "{\"prompt\": \"The river was high\", \"max_tokens\": 2, \"echo\": true, \"logprobs\": 0, "
        "\"temperature\": 0}");
    l = json_get(choice(r, 0), "logprobs");
    assert_int_equal(json_len(json_get(l, "tokens")), 11);
    assert_int_equal(json_get(l, "top_logprobs")->type, JSON_NULL);
    assert_int_equal(json_int(json_at(json_get(l, "text_offset"), 0), -1), 0);
    assert_int_equal(json_int(json_at(json_get(l, "text_offset"), 9), -1), 18);
    assert_true(json_double(json_at(json_get(l, "token_logprobs"), 10), 1) < 0);
}

/* Each chunk carries the log probabilities of its tokens; together they are those of the whole reply. */
static void test_openai_streamed_log_probabilities_are_those_of_the_whole(void **state)
{
    (void)state;
    static const char request[] =
        "{" ASK ", \"logprobs\": true, \"top_logprobs\": 2, \"max_tokens\": 9%s}";
    char whole[600], streamed[600];
    snprintf(whole, sizeof whole, request, "");
    snprintf(streamed, sizeof streamed, request, ", \"stream\": true");
    const json *want =
        json_get(json_get(choice(ask(chat, "chat", whole), 0), "logprobs"), "content");
    events e;
    stream(chat, "chat", streamed, &e);
    json *got = json_new_array(&arena);
    size_t chunks = 0;
    for (size_t i = 0; i < e.n; i++) {
        const json *part = json_get(json_get(choice(e.list[i], 0), "logprobs"), "content");
        chunks += json_len(part) > 0;
        for (size_t k = 0; k < json_len(part); k++) json_push(&arena, got, json_at(part, k));
    }
    assert_true(json_len(want) >= 8);
    assert_true(chunks > 3);
    assert_true(json_equal(want, got));
}

static void test_openai_embeddings_as_numbers_and_as_base64(void **state)
{
    (void)state;
    const json *r = ask(bert, "embeddings",
                        "{\"input\": [\"Rain.\", \"Sun.\"], \"model\": \"x\", \"dimensions\": 8}");
    const json *vector = json_get(json_at(json_get(r, "data"), 1), "embedding");
    assert_int_equal(json_len(vector), 8);
    double square = 0;
    for (size_t i = 0; i < 8; i++) square += pow(json_double(json_at(vector, i), 0), 2);
    assert_true(fabs(square - 1) < 1e-5); // a shortened vector has length one again
    assert_int_equal(usage_of(r, "total_tokens"), usage_of(r, "prompt_tokens"));
    r = ask(bert, "embeddings", "{\"input\": \"Rain.\", \"encoding_format\": \"base64\"}");
    assert_int_equal(strlen(text_of(json_at(json_get(r, "data"), 0), "embedding")),
                     (32 * 4 + 2) / 3 * 4);
}

static void test_openai_refuses_what_makes_no_sense(void **state)
{
    (void)state;
    refuse(chat, "chat", "{" ASK ", \"temprature\": 1}",
           "Unrecognized request argument supplied: temprature");
    refuse(chat, "chat", "{" ASK ", \"temperature\": 2.5}", "between 0 and 2");
    refuse(chat, "chat", "{" ASK ", \"n\": 0}", "'n'");
    refuse(chat, "chat", "{" ASK ", \"max_tokens\": \"3\"}", "'max_tokens'");
    refuse(chat, "chat", "{" ASK ", \"stream_options\": {}}", "'stream_options'");
    refuse(chat, "chat", "{" ASK ", \"top_logprobs\": 2}", "'logprobs' must be set to true");
    refuse(chat, "chat", "{" ASK ", \"tool_choice\": \"required\"}", "'tool_choice'");
    refuse(chat, "chat",
           "{" ASK ", \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"x\", "
           "\"parameters\": \"city\"}}]}",
           "'tools[0].function.parameters': expected an object, but got str");
    refuse(chat, "chat",
           "{" ASK ", \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"x\", "
           "\"parameters\": {\"type\": \"array\"}}}]}",
           "got 'type: \"array\"'");
    refuse(chat, "chat",
           "{" ASK ", " TOOLS
           ", \"tool_choice\": {\"type\": \"function\", \"function\": {\"name\": \"x\"}}}",
           "not found");
    refuse(chat, "chat", "{}", "'messages'");
    refuse(chat, "chat", "{\"messages\": []}", "empty array");
    refuse(chat, "chat", "{\"messages\": [{\"role\": \"pope\", \"content\": \"x\"}]}", "'pope'");
    refuse(chat, "chat", "{\"messages\": [{\"role\": \"user\"}]}", "messages[0].content");
    refuse(chat, "chat",
           "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]}",
           "image_url");
    refuse(chat, "chat", "[]", "must be a JSON object");
    refuse(chat, "completions", "{\"prompt\": [[]]}", "'prompt'");
    refuse(chat, "completions", "{\"prompt\": \"x\", \"best_of\": 1, \"n\": 2}", "best_of");
    refuse(chat, "embeddings", "{\"input\": \"x\"}", "embeddings");
    refuse(bert, "chat", "{" ASK "}", "task");
    refuse(bert, "embeddings", "{\"input\": []}", "'input'");
    refuse(bert, "embeddings", "{\"input\": \"x\", \"dimensions\": 33}", "32");
    char long_prompt[4000] = "{\"messages\": [{\"role\": \"user\", \"content\": \"";
    for (size_t i = 0; i < 600; i++) strcat(long_prompt, "word ");
    strcat(long_prompt, "\"}]}");
    refuse(chat, "chat", long_prompt, "maximum context length");
}

int main(void)
{
    chat = open_model(CHAT_MODEL, NULL);
    llama = open_model("tests/fixtures/models/llama-base", "text-generation");
    bert = open_model("tests/fixtures/models/bert-base", "feature-extraction");
    gpt2 = open_model("tests/fixtures/models/gpt2-base", "text-generation");
    if (!chat || !llama || !bert || !gpt2) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openai_chat_answers_with_an_object),
        cmocka_unit_test(test_openai_chat_says_when_it_was_cut),
        cmocka_unit_test(test_openai_chat_removes_the_stop_string),
        cmocka_unit_test(test_openai_chat_gives_n_choices_and_counts_them),
        cmocka_unit_test(test_openai_sampling_repeats_with_a_seed),
        cmocka_unit_test(test_openai_stream_begins_with_the_role_and_ends_with_usage),
        cmocka_unit_test(test_openai_stream_of_several_choices_names_each),
        cmocka_unit_test(test_openai_logprobs_have_bytes_and_alternatives),
        cmocka_unit_test(test_openai_a_forced_tool_is_called_with_valid_arguments),
        cmocka_unit_test(test_openai_completions_take_texts_and_ids),
        cmocka_unit_test(test_openai_echo_tells_the_prompts_own_log_probabilities),
        cmocka_unit_test(test_openai_streamed_log_probabilities_are_those_of_the_whole),
        cmocka_unit_test(test_openai_embeddings_as_numbers_and_as_base64),
        cmocka_unit_test(test_openai_refuses_what_makes_no_sense),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mltf_model_free(chat);
    mltf_model_free(llama);
    mltf_model_free(bert);
    mltf_model_free(gpt2);
    arena_release(&arena);
    return failed;
}
