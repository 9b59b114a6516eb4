/* Reads and checks the fields of a request, in the words of OpenAI's own errors.
 *
 * Generation fields overlay the model_config. A field that is neither OpenAI's nor an argument of generate() is
 * refused, so that a misspelt one is noticed. */
#include "mlflow/openai_request.h"

#include <math.h>

/* Fields that say nothing about the answer, or that only restate it. */
static bool is_neutral(mltf_str key)
{
    static const char *const keys[] = {"model",
                                       "user",
                                       "metadata",
                                       "store",
                                       "service_tier",
                                       "safety_identifier",
                                       "prompt_cache_key",
                                       "prompt_cache_retention",
                                       "verbosity",
                                       "reasoning_effort",
                                       "modalities",
                                       "stream_options",
                                       NULL};
    for (size_t i = 0; keys[i]; i++)
        if (str_is(key, keys[i])) return true;
    return false;
}

static bool given(const json *body, const char *key)
{
    const json *v = json_get(body, key);
    return v && v->type != JSON_NULL;
}

static mltf_status number_in(const json *body, const char *key, double low, double high,
                             mltf_err *err)
{
    if (!given(body, key)) return MLTF_OK;
    const json *v = json_get(body, key);
    if (!json_is_number(v))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid type for '%s': expected a number, but got %s instead.", key,
                         json_type_name(v));
    const double d = json_double(v, NAN);
    if (!(d >= low && d <= high))
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "Invalid value for '%s': expected a number between %g and %g, but got %g instead.", key,
            low, high, d);
    return MLTF_OK;
}

static mltf_status integer_in(const json *body, const char *key, int64_t low, int64_t high,
                              int64_t *out, mltf_err *err)
{
    if (!given(body, key)) return MLTF_OK;
    const json *v = json_get(body, key);
    const int64_t i = json_int(v, INT64_MIN);
    if (i == INT64_MIN)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid type for '%s': expected an integer, but got %s instead.", key,
                         json_type_name(v));
    if (i < low || i > high)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid value for '%s': expected an integer between %lld and %lld, but "
                         "got %lld instead.",
                         key, (long long)low, (long long)high, (long long)i);
    if (out) *out = i;
    return MLTF_OK;
}

static mltf_status boolean(const json *body, const char *key, bool *out, mltf_err *err)
{
    if (!given(body, key)) return MLTF_OK;
    const json *v = json_get(body, key);
    if (!json_is(v, JSON_BOOL))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid type for '%s': expected a boolean, but got %s instead.", key,
                         json_type_name(v));
    *out = v->b;
    return MLTF_OK;
}

static mltf_status check_stop(const json *body, mltf_err *err)
{
    const json *stop = json_get(body, "stop");
    if (!stop || stop->type == JSON_NULL || stop->type == JSON_STRING) return MLTF_OK;
    bool ok = stop->type == JSON_ARRAY && stop->a.n <= 16;
    for (size_t i = 0; ok && i < stop->a.n; i++)
        ok = stop->a.items[i].type == JSON_STRING && stop->a.items[i].s.n > 0;
    if (ok) return MLTF_OK;
    return mltf_fail(
        err, MLTF_INVALID_INPUT,
        "Invalid value for 'stop': expected a string or an array of up to 16 non-empty strings.");
}

/* {"50256": -100} becomes [[[50256], -100]]. */
static mltf_status read_logit_bias(const json *body, json *options, mltf_arena *a, mltf_err *err)
{
    if (!given(body, "logit_bias")) return MLTF_OK;
    const json *map = json_get(body, "logit_bias");
    if (!json_is(map, JSON_OBJECT))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid type for 'logit_bias': expected an object, but got %s instead.",
                         json_type_name(map));
    json *list = json_new_array(a);
    for (size_t i = 0; i < map->o.n; i++) {
        const mltf_str key = map->o.members[i].key;
        int64_t id = key.n ? 0 : -1;
        for (size_t k = 0; k < key.n && id >= 0; k++)
            id = key.p[k] >= '0' && key.p[k] <= '9' && id < INT32_MAX / 10
                     ? 10 * id + (key.p[k] - '0')
                     : -1;
        const double bias = json_double(&map->o.members[i].value, NAN);
        if (id < 0 || !(bias >= -100 && bias <= 100))
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "Invalid value for 'logit_bias': expected token ids with numbers "
                             "between -100 and 100.");
        json *pair = json_new_array(a), *ids = json_new_array(a);
        json_push(a, ids, json_new_int(a, id));
        json_push(a, pair, ids);
        json_push(a, pair, json_new_double(a, bias));
        json_push(a, list, pair);
    }
    if (map->o.n) json_set(a, options, "sequence_bias", list);
    return MLTF_OK;
}

/* A setting of generation, in OpenAI's name or transformers'. */
static bool is_generation(mltf_str key)
{
    static const char *const names[] = {
        "stop", "n", "stream", "max_tokens", "max_completion_tokens", NULL};
    for (size_t i = 0; names[i]; i++)
        if (str_is(key, names[i])) return true;
    if (str_is(key, "num_return_sequences") || str_is(key, "stop_strings"))
        return false; // n and stop
    return gen_config_is_field(key);
}

/* Everything both endpoints share. `own`: further field names of the endpoint, ends with NULL. */
static mltf_status read_common(openai_request *r, const mltf_model *m, const json *body,
                               const char *const *own, mltf_arena *a, mltf_err *err)
{
    if (!json_is(body, JSON_OBJECT))
        return mltf_fail(err, MLTF_INVALID_INPUT, "the request must be a JSON object, not %s",
                         json_type_name(body));
    r->body = body;
    TRY(number_in(body, "temperature", 0, 2, err));
    TRY(number_in(body, "top_p", 0, 1, err));
    TRY(number_in(body, "frequency_penalty", -2, 2, err));
    TRY(number_in(body, "presence_penalty", -2, 2, err));
    TRY(integer_in(body, "n", 1, 128, NULL, err));
    TRY(integer_in(body, "seed", INT64_MIN + 1, INT64_MAX, NULL, err));
    TRY(integer_in(body, "max_tokens", 1, INT32_MAX, &r->max_tokens, err));
    TRY(integer_in(body, "max_completion_tokens", 1, INT32_MAX, &r->max_tokens, err));
    TRY(check_stop(body, err));
    bool stream = false;
    TRY(boolean(body, "stream", &stream, err));
    const json *stream_options = json_get(body, "stream_options");
    if (json_is(stream_options, JSON_OBJECT)) {
        if (!stream)
            return mltf_fail(
                err, MLTF_INVALID_INPUT,
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.");
        TRY(boolean(stream_options, "include_usage", &r->include_usage, err));
    }

    json *options = json_new_object(a);
    for (size_t i = 0; json_is(m->config, JSON_OBJECT) && i < m->config->o.n; i++) {
        const json_member *d = &m->config->o.members[i];
        if (is_generation(d->key)) json_set_str(a, options, d->key, &d->value);
    }
    TRY(read_logit_bias(body, options, a, err));
    for (size_t i = 0; i < body->o.n; i++) {
        const mltf_str key = body->o.members[i].key;
        const json *v = &body->o.members[i].value;
        bool mine = is_neutral(key) || str_is(key, "logit_bias");
        const bool pass = is_generation(key);
        for (size_t k = 0; own[k] && !mine; k++) mine = str_is(key, own[k]);
        if (pass && v->type != JSON_NULL && !mine)
            json_set_str(a, options, key, v);
        else if (!mine && !pass)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "Unrecognized request argument supplied: " STR_FMT, STR_ARG(key));
    }
    // what the request says of lengths replaces what the model_config says
    if (r->max_tokens) {
        json_remove(options, "max_completion_tokens");
        json_set(a, options, "max_tokens", json_new_int(a, r->max_tokens));
    }
    // a temperature asks for sampling, unless do_sample is there too
    if (given(body, "temperature") && json_double(json_get(body, "temperature"), 1) > 0 &&
        !given(body, "do_sample"))
        json_set(a, options, "do_sample", json_new_bool(a, true));
    TRY(llm_read_settings(&r->set, options, a, err));
    json_remove(r->set.kwargs, "max_length");
    if (!json_get(r->set.kwargs, "num_beams"))
        json_set(a, r->set.kwargs, "num_beams", json_new_int(a, 1));
    json_set(a, r->set.kwargs, "num_return_sequences", json_new_int(a, 1));
    if (!r->max_tokens) r->max_tokens = r->set.max_new > 0 ? r->set.max_new : 0;
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* ---- chat ---- */

/* "content" may be a list of parts: their texts, joined. */
static mltf_status flatten_content(json *message, size_t index, mltf_arena *a, mltf_err *err)
{
    const json *content = json_get(message, "content");
    const bool optional =
        json_len(json_get(message, "tool_calls")) > 0 || json_get(message, "function_call");
    if (!content || content->type == JSON_NULL) {
        if (!optional && !str_is(json_string(json_get(message, "role"), STR("")), "assistant"))
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "Missing required parameter: 'messages[%zu].content'.", index);
        json_set(a, message, "content", json_new_cstr(a, ""));
        return MLTF_OK;
    }
    if (content->type == JSON_STRING) return MLTF_OK;
    if (content->type != JSON_ARRAY)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid type for 'messages[%zu].content': expected a string or an array "
                         "of parts, but got %s instead.",
                         index, json_type_name(content));
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < content->a.n && !st; i++) {
        const json *part = &content->a.items[i];
        const mltf_str type = json_string(json_get(part, "type"), STR("?"));
        if (str_is(type, "text") || str_is(type, "refusal"))
            buf_put_str(
                &text,
                json_string(json_get(part, str_is(type, "text") ? "text" : "refusal"), STR("")));
        else
            st =
                mltf_fail(err, MLTF_INVALID_INPUT,
                          "messages[%zu] has a part of type \"" STR_FMT "\"; this model takes text",
                          index, STR_ARG(type));
    }
    if (!st) json_set(a, message, "content", json_new_string(a, text.p ? buf_str(&text) : STR("")));
    mltf_buf_release(&text);
    return st;
}

/* Templates want the arguments of earlier calls as objects; OpenAI's clients send them as JSON text. */
static void open_arguments(json *message, mltf_arena *a)
{
    json *calls = (json *)json_get(message, "tool_calls"); // of our own clone
    for (size_t i = 0; i < json_len(calls) && calls->type == JSON_ARRAY; i++) {
        json *function = (json *)json_get(&calls->a.items[i], "function");
        const mltf_str text = json_string(json_get(function, "arguments"), (mltf_str){0});
        json *value = NULL;
        if (text.p && json_parse_in(a, &value, text.p, text.n, NULL, NULL) == MLTF_OK &&
            json_is(value, JSON_OBJECT))
            json_set(a, function, "arguments", value);
    }
}

static mltf_status read_messages(openai_request *r, mltf_arena *a, mltf_err *err)
{
    const json *messages = json_get(r->body, "messages");
    if (!messages)
        return mltf_fail(err, MLTF_INVALID_INPUT, "Missing required parameter: 'messages'.");
    if (messages->type != JSON_ARRAY)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "Invalid type for 'messages': expected an array of objects, but got %s instead.",
            json_type_name(messages));
    if (messages->a.n == 0)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "Invalid 'messages': empty array. Expected an array with minimum length 1.");
    json *own = json_clone(a, messages);
    for (size_t i = 0; own && i < own->a.n; i++) {
        json *message = &own->a.items[i];
        static const char *const roles[] = {"system",    "developer", "user",
                                            "assistant", "tool",      "function"};
        if (message->type != JSON_OBJECT)
            return mltf_fail(
                err, MLTF_INVALID_INPUT,
                "Invalid type for 'messages[%zu]': expected an object, but got %s instead.", i,
                json_type_name(message));
        const mltf_str role = json_string(json_get(message, "role"), STR(""));
        bool known = false;
        for (size_t k = 0; k < 6; k++) known = known || str_is(role, roles[k]);
        if (!known)
            return mltf_fail(
                err, MLTF_INVALID_INPUT,
                "Invalid value: '" STR_FMT
                "' in 'messages[%zu].role'. Supported values are: 'system', 'assistant', "
                "'user', 'function', 'tool', and 'developer'.",
                STR_ARG(role), i);
        if (str_is(role, "developer")) json_set(a, message, "role", json_new_cstr(a, "system"));
        TRY(flatten_content(message, i, a, err));
        open_arguments(message, a);
    }
    r->messages = own;
    return own ? MLTF_OK : mltf_fail_memory(err);
}

static mltf_status read_tools(openai_request *r, mltf_err *err)
{
    const json *tools = json_get(r->body, "tools"), *choice = json_get(r->body, "tool_choice");
    if (given(r->body, "functions") || given(r->body, "function_call"))
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "'functions' and 'function_call' are deprecated; use 'tools' and 'tool_choice'.");
    if (tools && tools->type != JSON_NULL && tools->type != JSON_ARRAY)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "Invalid type for 'tools': expected an array of objects, but got %s instead.",
            json_type_name(tools));
    for (size_t i = 0; i < json_len(tools); i++) {
        const json *tool = json_at(tools, i), *name = json_get(json_get(tool, "function"), "name");
        if (!str_is(json_string(json_get(tool, "type"), STR("")), "function") ||
            json_string(name, STR("")).n == 0)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "Invalid value for 'tools[%zu]': expected {\"type\": \"function\", "
                             "\"function\": {\"name\": …}}.",
                             i);
        const json *parameters = json_get(json_get(tool, "function"), "parameters");
        const mltf_str type = json_string(json_get(parameters, "type"), STR("object"));
        if (parameters && parameters->type != JSON_NULL && parameters->type != JSON_OBJECT)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "Invalid type for 'tools[%zu].function.parameters': expected an "
                             "object, but got %s instead.",
                             i, json_type_name(parameters));
        if (!str_is(type, "object"))
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "Invalid schema for function '" STR_FMT
                             "': schema must be a JSON Schema of 'type: \"object\"', got 'type: "
                             "\"" STR_FMT "\"'.",
                             STR_ARG(name->s), STR_ARG(type));
    }
    if (json_len(tools) == 0) {
        if (choice && choice->type != JSON_NULL && !str_is(json_string(choice, STR("")), "none"))
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "'tool_choice' is only allowed when 'tools' are specified.");
        return MLTF_OK;
    }
    r->tools = tools;
    r->choice = TOOLS_AUTO;
    const mltf_str word = json_string(choice, STR("auto"));
    if (json_is(choice, JSON_OBJECT)) {
        r->tool_name = json_string(json_get(json_get(choice, "function"), "name"), STR(""));
        r->choice = TOOLS_NAMED;
        for (size_t i = 0; i < tools->a.n; i++)
            if (str_eq(json_string(json_get(json_get(&tools->a.items[i], "function"), "name"),
                                   STR("")),
                       r->tool_name))
                return MLTF_OK;
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Tool choice '" STR_FMT "' not found in 'tools' parameter.",
                         STR_ARG(r->tool_name));
    }
    if (str_is(word, "none")) {
        r->choice = TOOLS_NONE;
        r->tools = NULL;
    } else if (str_is(word, "required")) {
        r->choice = TOOLS_REQUIRED;
    } else if (!str_is(word, "auto")) {
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "Invalid value: '" STR_FMT
            "' in 'tool_choice'. Supported values are: 'none', 'auto', and 'required'.",
            STR_ARG(word));
    }
    return MLTF_OK;
}

mltf_status openai_read_chat(openai_request *r, const mltf_model *m, const json *body,
                             mltf_arena *a, mltf_err *err)
{
    static const char *const own[] = {"messages",
                                      "tools",
                                      "tool_choice",
                                      "parallel_tool_calls",
                                      "response_format",
                                      "logprobs",
                                      "top_logprobs",
                                      "chat_template_kwargs",
                                      "add_generation_prompt",
                                      "continue_final_message",
                                      "functions",
                                      "function_call",
                                      NULL};
    *r = (openai_request){.chat = true, .best_of = 1};
    TRY(read_common(r, m, body, own, a, err));
    TRY(read_messages(r, a, err));
    TRY(read_tools(r, err));
    bool parallel = true;
    TRY(boolean(body, "parallel_tool_calls", &parallel, err));
    r->one_call = !parallel;
    TRY(boolean(body, "logprobs", &r->logprobs, err));
    int64_t top = 0;
    TRY(integer_in(body, "top_logprobs", 0, 20, &top, err));
    if (top > 0 && !r->logprobs)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid value for 'top_logprobs': the parameter 'logprobs' must be set "
                         "to true to use it.");
    r->top_logprobs = (size_t)top;
    r->response_format = given(body, "response_format") ? json_get(body, "response_format") : NULL;
    r->template_kwargs =
        given(body, "chat_template_kwargs") ? json_get(body, "chat_template_kwargs") : NULL;
    if (r->template_kwargs && r->template_kwargs->type != JSON_OBJECT)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid type for 'chat_template_kwargs': expected an object.");
    // as other servers of such models take them
    TRY(boolean(body, "continue_final_message", &r->continue_final, err));
    r->generation_prompt = !r->continue_final;
    return boolean(body, "add_generation_prompt", &r->generation_prompt, err);
}

/* ---- completions ---- */

/* A text, texts, ids, or lists of ids become a list of prompts. */
static mltf_status read_prompts(openai_request *r, mltf_arena *a, mltf_err *err)
{
    const json *prompt = json_get(r->body, "prompt");
    json *list = json_new_array(a);
    if (!prompt || prompt->type == JSON_NULL)
        return mltf_fail(err, MLTF_INVALID_INPUT, "Missing required parameter: 'prompt'.");
    const json *first = json_at(prompt, 0);
    if (prompt->type == JSON_STRING || json_is(first, JSON_INT))
        json_push(a, list, prompt);
    else
        for (size_t i = 0; prompt->type == JSON_ARRAY && i < prompt->a.n; i++)
            json_push(a, list, &prompt->a.items[i]);
    bool ok = list && list->a.n > 0;
    for (size_t i = 0; ok && i < list->a.n; i++) {
        const json *one = &list->a.items[i];
        ok = one->type == JSON_STRING || (one->type == JSON_ARRAY && one->a.n > 0);
        for (size_t k = 0; ok && one->type == JSON_ARRAY && k < one->a.n; k++)
            ok = one->a.items[k].type == JSON_INT;
    }
    if (!ok)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid value for 'prompt': expected a string, an array of strings, an "
                         "array of token ids, or an array "
                         "of such arrays.");
    r->prompts = list;
    return MLTF_OK;
}

static mltf_status read_suffix(openai_request *r, mltf_err *err)
{
    if (!given(r->body, "suffix")) return MLTF_OK;
    const json *suffix = json_get(r->body, "suffix");
    if (suffix->type != JSON_STRING)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid type for 'suffix': expected a string, but got %s instead.",
                         json_type_name(suffix));
    r->suffix = suffix->s;
    for (size_t i = 0; r->suffix.n && i < json_len(r->prompts); i++)
        if (json_at(r->prompts, i)->type != JSON_STRING)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "'suffix' is only allowed where 'prompt' is text.");
    if (r->suffix.n && r->echo && given(r->body, "logprobs"))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "'suffix' cannot be combined with both 'echo' and 'logprobs'.");
    return MLTF_OK;
}

mltf_status openai_read_completion(openai_request *r, const mltf_model *m, const json *body,
                                   mltf_arena *a, mltf_err *err)
{
    static const char *const own[] = {"prompt", "logprobs",        "echo", "best_of",
                                      "suffix", "response_format", NULL};
    *r = (openai_request){0};
    const json *max_tokens = json_get(body, "max_tokens");
    const bool no_tokens = json_is(max_tokens, JSON_INT) && max_tokens->i == 0;
    if (no_tokens) { // the rest of the request is read as if it asked for one
        json *own_body = json_clone(a, body);
        if (!own_body) return mltf_fail_memory(err);
        json_set(a, own_body, "max_tokens", json_new_int(a, 1));
        body = own_body;
    }
    TRY(read_common(r, m, body, own, a, err));
    r->no_tokens = no_tokens;
    TRY(read_prompts(r, a, err));
    TRY(boolean(body, "echo", &r->echo, err));
    TRY(read_suffix(r, err));
    int64_t top = -1, best = (int64_t)r->set.n;
    TRY(integer_in(body, "logprobs", 0, 5, &top, err));
    TRY(integer_in(body, "best_of", 1, 20, &best, err));
    if (best < (int64_t)r->set.n)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid value for 'best_of': it must be greater than or equal to 'n'.");
    if (best > (int64_t)r->set.n && r->set.stream)
        return mltf_fail(err, MLTF_INVALID_INPUT, "'best_of' greater than 'n' cannot be streamed.");
    r->best_of = (size_t)best;
    r->logprobs = top >= 0;
    r->top_logprobs = top > 0 ? (size_t)top : 0;
    r->response_format = given(body, "response_format") ? json_get(body, "response_format") : NULL;
    if (!r->max_tokens) r->max_tokens = 16; // OpenAI's default here
    return MLTF_OK;
}
