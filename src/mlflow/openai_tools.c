/* Tools in requests: how they are told to a model, and what a forced call must look like. Calls in replies:
 * tool_format.h. */
#include "mlflow/openai_request.h"

/* The description, in the words of the Hermes format, which small models follow best. */
static const json *describe_tools(const json *messages, const json *tools, mltf_arena *a)
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

/* Phi-4-mini's template wants the tools as text in the system message. */
static const json *tools_in_system(const json *messages, const json *tools, mltf_arena *a)
{
    mltf_buf text = MLTF_BUF_INIT;
    json_write(&text, tools, &(json_write_options){0});
    const json *first = json_at(messages, 0);
    const bool has_system = str_is(json_string(json_get(first, "role"), STR("")), "system");
    json *out = json_new_array(a), *system = has_system ? json_clone(a, first) : json_new_object(a);
    if (!has_system) {
        json_set(a, system, "role", json_new_cstr(a, "system"));
        json_set(a, system, "content", json_new_cstr(a, ""));
    }
    json_set(a, system, "tools", json_new_string(a, text.p ? buf_str(&text) : STR("")));
    json_push(a, out, system);
    for (size_t i = has_system ? 1 : 0; i < json_len(messages); i++)
        json_push(a, out, json_at(messages, i));
    mltf_buf_release(&text);
    return out;
}

void openai_tell_tools(openai_request *r, mltf_str chat_template, mltf_arena *a)
{
    if (!r->tools) {
        // nothing to tell
    } else if (!str_contains(chat_template, "tools")) {
        r->messages = describe_tools(r->messages, r->tools, a);
    } else if (str_contains(chat_template, "message['tools']") ||
               str_contains(chat_template, "message.tools")) {
        r->messages = tools_in_system(r->messages, r->tools, a);
    } else if (str_contains(chat_template, "xml_tools")) { // SmolLM3
        json *kwargs = r->template_kwargs ? json_clone(a, r->template_kwargs) : json_new_object(a);
        if (!json_get(kwargs, "python_tools")) json_set(a, kwargs, "xml_tools", r->tools);
        r->template_kwargs = kwargs;
    } else {
        r->template_tools = r->tools;
    }
}
