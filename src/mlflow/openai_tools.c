/* Tool calls: how they are asked for where a template has no words for them, and how they are found in text.
 *
 * Forms that are read:
 *   <tool_call>{"name": N, "arguments": {…}}</tool_call> …     Hermes, Qwen, SmolLM3 (a list inside is fine)
 *   [TOOL_CALLS][{"name": N, "arguments": {…}}, …]             Mistral; also [TOOL_CALLS]N[ARGS]{…}
 *   {"name": N, "parameters": {…}} or a list of such, alone     Llama 3 (after <|python_tag|> or not), forced calls */
#include "mlflow/openai_request.h"

/* The description, in the words of the Hermes format, which small models follow best. */
const json *openai_describe_tools(const json *messages, const json *tools, mltf_arena *a)
{
    mltf_buf text = MLTF_BUF_INIT;
    const json_write_options plain = {0};
    const json *first = json_at(messages, 0);
    const bool has_system = str_is(json_string(json_get(first, "role"), STR("")), "system");
    if (has_system) {
        buf_put_str(&text, json_string(json_get(first, "content"), STR("")));
        buf_puts(&text, "\n\n");
    }
    buf_puts(&text, "You may call one or more of these functions:\n<tools>\n");
    for (size_t i = 0; i < json_len(tools); i++) {
        json_write(&text, json_at(tools, i), &plain);
        buf_putc(&text, '\n');
    }
    buf_puts(&text, "</tools>\nTo call a function, answer with a JSON object inside "
                    "<tool_call></tool_call>:\n<tool_call>\n"
                    "{\"name\": <function-name>, \"arguments\": <object>}\n</tool_call>");
    json *out = json_new_array(a), *system = json_new_object(a);
    json_set(a, system, "role", json_new_cstr(a, "system"));
    json_set(a, system, "content", json_new_string(a, buf_str(&text)));
    json_push(a, out, system);
    for (size_t i = has_system ? 1 : 0; i < json_len(messages); i++)
        json_push(a, out, json_at(messages, i));
    mltf_buf_release(&text);
    return out;
}

json *openai_call_schema(const openai_request *r, mltf_arena *a)
{
    json *any = json_new_array(a);
    for (size_t i = 0; i < json_len(r->tools); i++) {
        const json *function = json_get(json_at(r->tools, i), "function");
        const mltf_str name = json_string(json_get(function, "name"), STR(""));
        if (r->choice == TOOLS_NAMED && !str_eq(name, r->tool_name)) continue;
        json *object = json_new_object(a), *properties = json_new_object(a),
             *constant = json_new_object(a);
        json *required = json_new_array(a), *parameters = json_new_object(a);
        json_set(a, constant, "const", json_new_string(a, name));
        json_set(a, properties, "name", constant);
        json_set(a, parameters, "type", json_new_cstr(a, "object"));
        const json *own = json_get(function, "parameters");
        json_set(a, properties, "arguments",
                 json_is(own, JSON_OBJECT) && own->o.n ? own : parameters);
        json_push(a, required, json_new_cstr(a, "name"));
        json_push(a, required, json_new_cstr(a, "arguments"));
        json_set(a, object, "type", json_new_cstr(a, "object"));
        json_set(a, object, "properties", properties);
        json_set(a, object, "required", required);
        json_push(a, any, object);
    }
    if (json_len(any) == 1) return &any->a.items[0];
    json *object = json_new_object(a);
    json_set(a, object, "anyOf", any);
    return object;
}

/* ---- reading ---- */

static mltf_str trim(mltf_str s)
{
    while (s.n && strchr(" \t\r\n", s.p[0])) s = str_slice(s, 1, s.n);
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1])) s.n--;
    return s;
}

static const char *find(mltf_str text, const char *needle)
{
    return memmem(text.p, text.n, needle, strlen(needle));
}

static bool is_tool(const openai_request *r, mltf_str name)
{
    for (size_t i = 0; i < json_len(r->tools); i++)
        if (str_eq(
                json_string(json_get(json_get(json_at(r->tools, i), "function"), "name"), STR("")),
                name))
            return true;
    return false;
}

/* One call out of {"name", "arguments" or "parameters"}. */
static bool add_call(json *calls, mltf_str name, const json *arguments, mltf_arena *a)
{
    if (name.n == 0) return false;
    char id[5 + 24 + 1] = "call_";
    llm_hex(id + 5, 24);
    mltf_buf text = MLTF_BUF_INIT;
    const json_write_options plain = {0};
    if (json_is(arguments, JSON_STRING))
        buf_put_str(&text, arguments->s);
    else if (arguments && arguments->type != JSON_NULL)
        json_write(&text, arguments, &plain);
    else
        buf_puts(&text, "{}");
    json *call = json_new_object(a), *function = json_new_object(a);
    json_set(a, function, "name", json_new_string(a, name));
    json_set(a, function, "arguments", json_new_string(a, buf_str(&text)));
    json_set(a, call, "id", json_new_cstr(a, id));
    json_set(a, call, "type", json_new_cstr(a, "function"));
    json_set(a, call, "function", function);
    json_push(a, calls, call);
    mltf_buf_release(&text);
    return true;
}

/* An object or a list of objects. strict: only names of the request's tools. */
static bool add_value(const openai_request *r, json *calls, const json *v, bool strict,
                      mltf_arena *a)
{
    if (json_is(v, JSON_ARRAY)) {
        bool all = v->a.n > 0;
        for (size_t i = 0; i < v->a.n && all; i++)
            all = add_value(r, calls, &v->a.items[i], strict, a);
        return all;
    }
    const json *inner = json_get(v, "function"); // some write OpenAI's own form
    if (json_is(inner, JSON_OBJECT)) v = inner;
    const mltf_str name = json_string(json_get(v, "name"), STR(""));
    const json *arguments = json_get(v, "arguments");
    if (!arguments) arguments = json_get(v, "parameters");
    if (strict && (!is_tool(r, name) || !arguments)) return false;
    return add_call(calls, name, arguments, a);
}

static bool add_json(const openai_request *r, json *calls, mltf_str text, bool strict, size_t *used,
                     mltf_arena *a)
{
    json *v = NULL;
    size_t end = 0;
    const json_parse_options o = {.trailing = true, .end_offset = &end};
    text = trim(text);
    if (text.n == 0 || (text.p[0] != '{' && text.p[0] != '[')) return false;
    if (json_parse_in(a, &v, text.p, text.n, &o, NULL) != MLTF_OK) return false;
    if (used) *used = end;
    return add_value(r, calls, v, strict, a);
}

static void parse_tagged(const openai_request *r, json *calls, mltf_str rest, mltf_arena *a)
{
    static const char open[] = "<tool_call>", close[] = "</tool_call>";
    for (;;) {
        const char *at = find(rest, open);
        if (!at) return;
        rest = str_slice(rest, (size_t)(at - rest.p) + sizeof open - 1, rest.n);
        const char *end = find(rest, close);
        const size_t n = end ? (size_t)(end - rest.p) : rest.n;
        add_json(r, calls, str_slice(rest, 0, n), false, NULL, a);
        rest = str_slice(rest, n, rest.n);
    }
}

static void parse_mistral(const openai_request *r, json *calls, mltf_str rest, mltf_arena *a)
{
    if (add_json(r, calls, rest, false, NULL, a)) return;
    const char *args = find(rest, "[ARGS]");
    if (!args) return;
    const mltf_str name = trim(str_slice(rest, 0, (size_t)(args - rest.p)));
    json *v = NULL;
    const mltf_str text = trim(str_slice(rest, (size_t)(args - rest.p) + 6, rest.n));
    const json_parse_options o = {.trailing = true};
    if (json_parse_in(a, &v, text.p, text.n, &o, NULL) == MLTF_OK) add_call(calls, name, v, a);
}

void openai_parse_calls(const openai_request *r, mltf_str text, json **calls, mltf_str *content,
                        mltf_arena *a)
{
    static const char mistral[] = "[TOOL_CALLS]", python[] = "<|python_tag|>";
    json *list = json_new_array(a);
    *calls = NULL;
    *content = text;
    if (!list) return;
    const char *tag = find(text, "<tool_call>"), *marker = find(text, mistral);
    if (tag) {
        parse_tagged(r, list, text, a);
        *content = trim(str_slice(text, 0, (size_t)(tag - text.p)));
    } else if (marker) {
        parse_mistral(r, list,
                      str_slice(text, (size_t)(marker - text.p) + sizeof mistral - 1, text.n), a);
        *content = trim(str_slice(text, 0, (size_t)(marker - text.p)));
    } else {
        mltf_str rest = trim(text);
        if (str_starts(rest, python)) rest = trim(str_slice(rest, sizeof python - 1, rest.n));
        size_t used = 0;
        while (rest.n &&
               add_json(r, list, rest, true, &used, a)) { // Llama writes several with ";" between
            rest = trim(str_slice(rest, used, rest.n));
            if (rest.n && (rest.p[0] == ';' || rest.p[0] == ','))
                rest = trim(str_slice(rest, 1, rest.n));
        }
        *content = STR("");
    }
    if (json_len(list) > 0)
        *calls = list;
    else
        *content = text;
}

size_t openai_safe_length(mltf_str text)
{
    static const char *const markers[] = {"<tool_call>", "[TOOL_CALLS]", "<|python_tag|>"};
    size_t lead = 0;
    while (lead < text.n && strchr(" \t\r\n", text.p[lead])) lead++;
    if (lead == text.n || text.p[lead] == '{' || text.p[lead] == '[')
        return 0; // may all be one call
    size_t safe = text.n;
    for (size_t i = 0; i < sizeof markers / sizeof *markers; i++) {
        const size_t n = strlen(markers[i]);
        const char *at = find(text, markers[i]);
        if (at && (size_t)(at - text.p) < safe) safe = (size_t)(at - text.p);
        for (size_t k = n - 1 < text.n ? n - 1 : text.n; k > 0; k--)
            if (memcmp(text.p + text.n - k, markers[i], k) == 0 && text.n - k < safe)
                safe = text.n - k;
    }
    return safe;
}
