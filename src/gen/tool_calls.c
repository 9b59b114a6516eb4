/* Tool calls in replies: three families of formats. */
#include "gen/tool_calls.h"

#include <string.h>

static size_t find(mltf_str s, const char *what, size_t from)
{
    const size_t n = strlen(what);
    for (size_t i = from; i + n <= s.n; i++)
        if (memcmp(s.p + i, what, n) == 0) return i;
    return SIZE_MAX;
}

static bool has(mltf_str s, const char *what)
{
    return find(s, what, 0) != SIZE_MAX;
}

static mltf_str trim(mltf_str s)
{
    while (s.n && strchr(" \t\r\n", s.p[0])) s.p++, s.n--;
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1])) s.n--;
    return s;
}

tool_format tool_format_of(mltf_str t)
{
    if (has(t, "<tool_call>")) return TOOL_FORMAT_HERMES;
    if (has(t, "[TOOL_CALLS]")) return TOOL_FORMAT_MISTRAL;
    if (has(t, "<|python_tag|>") || (has(t, "tools") && has(t, "\"parameters\"")))
        return TOOL_FORMAT_LLAMA3;
    return TOOL_FORMAT_NONE;
}

/* ---- parsing ------------------------------------------------------------------------------- */

typedef struct collector {
    mltf_arena *arena;
    json *calls;
    uint64_t seed;
} collector;

/* {"name": …, "arguments" or "parameters": …} as one of OpenAI's calls; false: that is no call. */
static bool add_call(collector *c, const json *v)
{
    const json *name = json_get(v, "name"), *args = json_get(v, "arguments");
    if (!args) args = json_get(v, "parameters");
    if (!json_is(name, JSON_STRING) || name->s.n == 0) return false;
    mltf_arena *a = c->arena;
    if (!c->calls) c->calls = json_new_array(a);
    mltf_buf text = MLTF_BUF_INIT;
    if (json_is(args, JSON_STRING))
        buf_put_str(&text, args->s); // already text
    else if (args)
        json_write(&text, args, &(json_write_options){.ensure_ascii = false});
    else
        buf_puts(&text, "{}");
    char id[32] = "call_";
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint64_t h = c->seed ^ (json_len(c->calls) + 1) * 0x9E3779B97F4A7C15u;
    for (int i = 5; i < 29; i++) {
        h ^= h >> 30;
        h *= 0xBF58476D1CE4E5B9u;
        h ^= h >> 27;
        id[i] = digits[h % 62];
    }
    id[29] = 0;
    json *call = json_new_object(a), *function = json_new_object(a);
    json_set(a, function, "name", name);
    json_set(a, function, "arguments", json_new_string(a, buf_str(&text)));
    json_set(a, call, "id", json_new_cstr(a, id));
    json_set(a, call, "type", json_new_cstr(a, "function"));
    json_set(a, call, "function", function);
    json_push(a, c->calls, call);
    mltf_buf_release(&text);
    return true;
}

/* One JSON value at s, as a call or a list of calls. *used: bytes it took. */
static bool add_json(collector *c, mltf_str s, size_t *used)
{
    size_t skipped = 0;
    while (skipped < s.n && strchr(" \t\r\n", s.p[skipped])) skipped++;
    json *v = NULL;
    size_t end = 0;
    const json_parse_options opts = {.trailing = true, .end_offset = &end};
    if (skipped >= s.n || (s.p[skipped] != '{' && s.p[skipped] != '[')) return false;
    if (json_parse_in(c->arena, &v, s.p + skipped, s.n - skipped, &opts, NULL)) return false;
    *used = skipped + end;
    if (json_is(v, JSON_OBJECT)) return add_call(c, v);
    bool any = false;
    for (size_t i = 0; i < json_len(v); i++) any |= add_call(c, json_at(v, i));
    return any;
}

static void parse_hermes(collector *c, mltf_str reply, mltf_buf *content)
{
    size_t at = 0;
    for (;;) {
        const size_t open = find(reply, "<tool_call>", at);
        if (open == SIZE_MAX) break;
        const size_t body = open + strlen("<tool_call>"), close = find(reply, "</tool_call>", body);
        const size_t end = close == SIZE_MAX ? reply.n : close;
        size_t used;
        const bool call = add_json(c, str_slice(reply, body, end), &used);
        const size_t next = close == SIZE_MAX ? reply.n : close + strlen("</tool_call>");
        buf_append(content, reply.p + at, (call ? open : next) - at);
        at = next;
    }
    buf_append(content, reply.p + at, reply.n - at);
}

static void parse_mistral(collector *c, mltf_str reply, mltf_buf *content)
{
    const size_t mark = find(reply, "[TOOL_CALLS]", 0);
    size_t used = 0;
    if (mark == SIZE_MAX ||
        !add_json(c, str_slice(reply, mark + strlen("[TOOL_CALLS]"), reply.n), &used)) {
        buf_put_str(content, reply);
        return;
    }
    buf_append(content, reply.p, mark);
    const size_t end = mark + strlen("[TOOL_CALLS]") + used;
    buf_append(content, reply.p + end, reply.n - end);
}

static void parse_llama3(collector *c, mltf_str reply, mltf_buf *content)
{
    static const char mark[] = "<|python_tag|>";
    const size_t tag = find(reply, mark, 0);
    size_t at = tag == SIZE_MAX ? 0 : tag + strlen(mark), used;
    const size_t begun = json_len(c->calls);
    while (at < reply.n && add_json(c, str_slice(reply, at, reply.n), &used)) {
        at += used;
        while (at < reply.n && strchr("; \t\r\n", reply.p[at])) at++;
    }
    if (json_len(c->calls) == begun) {
        buf_put_str(content, reply);
        return;
    }
    if (tag != SIZE_MAX) buf_append(content, reply.p, tag);
    static const char *const ends[] = {"<|eom_id|>", "<|eot_id|>", NULL};
    mltf_str rest = str_slice(reply, at, reply.n);
    for (const char *const *e = ends; *e; e++)
        if (str_starts(rest, *e)) rest = str_slice(rest, strlen(*e), rest.n);
    buf_put_str(content, rest);
}

mltf_status tool_calls_parse(tool_format format, mltf_str reply, uint64_t seed, mltf_arena *arena,
                             json **calls, mltf_str *content, mltf_err *err)
{
    collector c = {.arena = arena, .seed = seed};
    mltf_buf rest = MLTF_BUF_INIT;
    switch (format) {
    case TOOL_FORMAT_NONE:
        buf_put_str(&rest, reply);
        break;
    case TOOL_FORMAT_HERMES:
        parse_hermes(&c, reply, &rest);
        break;
    case TOOL_FORMAT_LLAMA3:
        parse_llama3(&c, reply, &rest);
        break;
    case TOOL_FORMAT_MISTRAL:
        parse_mistral(&c, reply, &rest);
        break;
    }
    *calls = c.calls;
    mltf_str text = c.calls ? trim(buf_str(&rest)) : reply;
    *content = c.calls && text.n == 0 ? (mltf_str){0} : arena_str(arena, text);
    const bool failed = rest.failed || arena->failed;
    mltf_buf_release(&rest);
    return failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* ---- a call as the only thing that may be said --------------------------------------------- */

/* {"type": "object", "properties": {"name": {"const": N}, ARGS: parameters}, "required": both} */
static json *call_schema(mltf_arena *a, const json *function, const char *args)
{
    json *schema = json_new_object(a), *properties = json_new_object(a), *name = json_new_object(a),
         *required = json_new_array(a), *any = json_new_object(a);
    json_set(a, name, "const", json_get(function, "name"));
    json_set(a, any, "type", json_new_cstr(a, "object"));
    const json *parameters = json_get(function, "parameters");
    json_set(a, properties, "name", name);
    json_set(a, properties, args, json_is(parameters, JSON_OBJECT) ? parameters : any);
    json_push(a, required, json_new_cstr(a, "name"));
    json_push(a, required, json_new_cstr(a, args));
    json_set(a, schema, "type", json_new_cstr(a, "object"));
    json_set(a, schema, "properties", properties);
    json_set(a, schema, "required", required);
    return schema;
}

mltf_status tool_choice_constraint(gen_constraint **out, const gen_trie *trie, tool_format format,
                                   const json *tools, const json *tool_choice, mltf_err *err)
{
    *out = NULL;
    const bool required = json_is(tool_choice, JSON_STRING) && str_is(tool_choice->s, "required");
    const mltf_str only =
        json_string(json_get(json_get(tool_choice, "function"), "name"), (mltf_str){0});
    if (!json_len(tools) || (!required && !only.p)) return MLTF_OK;
    if (format == TOOL_FORMAT_NONE)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "tool_choice needs a model whose chat template knows tools");
    mltf_arena arena = MLTF_ARENA_INIT;
    json *any = json_new_array(&arena);
    for (size_t i = 0; i < json_len(tools); i++) {
        const json *function = json_get(json_at(tools, i), "function");
        const mltf_str name = json_string(json_get(function, "name"), (mltf_str){0});
        if (!name.p || (only.p && !str_eq(name, only))) continue;
        json_push(&arena, any,
                  call_schema(&arena, function,
                              format == TOOL_FORMAT_LLAMA3 ? "parameters" : "arguments"));
    }
    json *schema = json_new_object(&arena);
    json_set(&arena, schema, "anyOf", any);
    for (size_t i = 0; i < json_len(tools);
         i++) { // "#/$defs/…" inside of parameters means the whole document
        const json *parameters = json_get(json_get(json_at(tools, i), "function"), "parameters");
        json_set(&arena, schema, "$defs", json_get(parameters, "$defs"));
        json_set(&arena, schema, "definitions", json_get(parameters, "definitions"));
    }
    mltf_status st = MLTF_OK;
    if (arena.failed)
        st = mltf_fail_memory(err);
    else if (json_len(any) == 0)
        st = mltf_fail(err, MLTF_INVALID_INPUT,
                       "tool_choice names \"" STR_FMT "\", which is not among the tools",
                       STR_ARG(only));
    else if (format == TOOL_FORMAT_HERMES)
        st = gen_constraint_json_between(out, trie, "<tool_call>\n", schema, "\n</tool_call>", err);
    else if (format == TOOL_FORMAT_MISTRAL)
        st = gen_constraint_json_between(out, trie, "[TOOL_CALLS] [", schema, "]", err);
    else
        st = gen_constraint_json_schema(out, trie, schema, err);
    arena_release(&arena);
    return st;
}
