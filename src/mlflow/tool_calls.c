/* Finds calls of tools in a reply, in whatever form its format says. */
#include "mlflow/tool_format.h"

#include <string.h>

#include "base/ascii.h"
#include "mlflow/llm_text.h"
#include "mlflow/pyliteral.h"

#define NOWHERE SIZE_MAX

static size_t find(mltf_str s, const char *what, size_t from)
{
    if (!what || from > s.n) return NOWHERE;
    const char *at = s.n > from ? memmem(s.p + from, s.n - from, what, strlen(what)) : NULL;
    return at ? (size_t)(at - s.p) : NOWHERE;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static mltf_str trim_end(mltf_str s)
{
    while (s.n && is_blank(s.p[s.n - 1])) s.n--;
    return s;
}

static mltf_str trim(mltf_str s)
{
    while (s.n && is_blank(s.p[0])) s = str_slice(s, 1, s.n);
    return trim_end(s);
}

/* s without a fence of Markdown around it: ```json … ``` */
static mltf_str unfenced(mltf_str s)
{
    s = trim(s);
    if (!str_starts(s, "```")) return s;
    const size_t line = find(s, "\n", 0), end = find(s, "```", 3);
    const size_t from = str_starts(s, "```json") ? 7 : line == NOWHERE ? 3 : line + 1;
    return trim(str_slice(s, from, end == NOWHERE || end < from ? s.n : end));
}

/* ---- one call ---- */

typedef struct collector {
    const tool_format *f;
    const json *tools;
    mltf_arena *a;
    json *calls;
} collector;

/* The function of that name among the request's tools, or NULL. */
static const json *find_tool(const collector *c, mltf_str name)
{
    for (size_t i = 0; i < json_len(c->tools); i++) {
        const json *function = json_get(json_at(c->tools, i), "function");
        if (str_eq(json_string(json_get(function, "name"), STR("")), name)) return function;
    }
    return NULL;
}

static json *new_id(const collector *c, mltf_str own)
{
    char id[5 + 24 + 1] = "call_";
    if (c->f->id == TOOL_ID_OWN && own.n) return json_new_string(c->a, own);
    if (c->f->id == TOOL_ID_NINE)
        llm_hex(id, 9);
    else
        llm_hex(id + 5, 24);
    return json_new_cstr(c->a, id);
}

static bool add_call(collector *c, mltf_str name, const json *arguments)
{
    mltf_arena *a = c->a;
    name = trim(name);
    const mltf_str own = name;
    if (str_starts(name, "functions.")) name = str_slice(name, strlen("functions."), name.n);
    if (c->f->id == TOOL_ID_OWN) name.n = least(name.n, find(name, ":", 0));
    if (name.n == 0) return false;
    mltf_buf text = MLTF_BUF_INIT;
    const json_write_options plain = {0};
    if (json_is(arguments, JSON_STRING))
        buf_put_str(&text, arguments->s); // already text
    else if (arguments && arguments->type != JSON_NULL)
        json_write(&text, arguments, &plain);
    else
        buf_puts(&text, "{}");
    json *call = json_new_object(a), *function = json_new_object(a);
    json_set(a, function, "name", json_new_string(a, name));
    json_set(a, function, "arguments", json_new_string(a, text.p ? buf_str(&text) : STR("")));
    json_set(a, call, "id", new_id(c, own));
    json_set(a, call, "type", json_new_cstr(a, "function"));
    json_set(a, call, "function", function);
    json_push(a, c->calls, call);
    mltf_buf_release(&text);
    return true;
}

/* ---- JSON ---- */

/* An object or a list of objects. strict: only the request's tools, with arguments. */
static bool add_value(collector *c, const json *v, bool strict)
{
    if (json_is(v, JSON_ARRAY)) {
        bool all = v->a.n > 0;
        for (size_t i = 0; i < v->a.n && all; i++) all = add_value(c, &v->a.items[i], strict);
        return all;
    }
    const json *inner = json_get(v, "function"); // some write OpenAI's own form
    if (json_is(inner, JSON_OBJECT)) v = inner;
    const json *name = json_get(v, "name"), *arguments = json_get(v, "arguments");
    if (!name) name = json_get(v, "tool_name");
    if (!arguments) arguments = json_get(v, "parameters");
    if (!json_is(name, JSON_STRING)) { // {N: {…}}
        if (!json_is(v, JSON_OBJECT) || v->o.n != 1 || !find_tool(c, v->o.members[0].key))
            return false;
        return add_call(c, v->o.members[0].key, &v->o.members[0].value);
    }
    if (strict && (!find_tool(c, name->s) || !arguments)) return false;
    return add_call(c, name->s, arguments);
}

/* One value at the beginning of text. *used: bytes it took. */
static bool add_json(collector *c, mltf_str text, bool strict, size_t *used)
{
    json *v = NULL;
    const json_parse_options o = {.trailing = true, .end_offset = used};
    if (text.n == 0 || (text.p[0] != '{' && text.p[0] != '[')) return false;
    return json_parse_in(c->a, &v, text.p, text.n, &o, NULL) == MLTF_OK && add_value(c, v, strict);
}

/* Values with ";" or "," or nothing between them. */
static bool add_json_values(collector *c, mltf_str text, bool strict)
{
    size_t used = 0;
    bool any = false;
    for (text = unfenced(text); text.n && add_json(c, text, strict, &used); any = true) {
        text = trim(str_slice(text, used, text.n));
        if (text.n && (text.p[0] == ';' || text.p[0] == ','))
            text = trim(str_slice(text, 1, text.n));
    }
    return any;
}

/* ---- a name and its arguments ---- */

static bool add_named(collector *c, mltf_str body)
{
    const size_t at = find(body, c->f->separator, 0);
    if (at == NOWHERE) return add_json_values(c, body, false); // Mistral's older form
    mltf_str name = str_slice(body, 0, at);
    name.n = least(name.n, find(name, "[CALL_ID]", 0));
    const mltf_str text = unfenced(str_slice(body, at + strlen(c->f->separator), body.n));
    json *v = NULL;
    const json_parse_options o = {.trailing = true};
    if (text.n == 0) return add_call(c, name, NULL);
    return json_parse_in(c->a, &v, text.p, text.n, &o, NULL) == MLTF_OK &&
           json_is(v, JSON_OBJECT) && add_call(c, name, v);
}

/* ---- arguments as text between tags ---- */

static bool type_is(const json *type, const char *name)
{
    if (json_is(type, JSON_STRING)) return str_is(type->s, name);
    for (size_t i = 0; i < json_len(type); i++)
        if (str_is(json_string(json_at(type, i), STR("")), name)) return true;
    return false;
}

/* A text as what the parameter's schema says it is: a string stays as it stands, all else is read as JSON or in
 * Python's spelling where it can be. */
static const json *typed_value(const collector *c, const json *function, mltf_str key,
                               mltf_str text)
{
    const json *declared = NULL;
    const json *properties = json_get(json_get(function, "parameters"), "properties");
    for (size_t i = 0; json_is(properties, JSON_OBJECT) && i < properties->o.n; i++)
        if (str_eq(properties->o.members[i].key, key)) declared = &properties->o.members[i].value;
    const json *type = json_get(declared, "type"), *allowed = json_get(declared, "enum");
    const bool string = type ? type_is(type, "string") : json_is(json_at(allowed, 0), JSON_STRING);
    const mltf_str bare = trim(text);
    json *v = NULL;
    pv literal;
    if (string && !(type_is(type, "null") && str_is(bare, "null")))
        return json_new_string(c->a, text);
    if (json_parse_in(c->a, &v, bare.p, bare.n, NULL, NULL) == MLTF_OK) return v;
    if (pyliteral_parse(c->a, &literal, bare)) return pv_to_json(c->a, &literal);
    return json_new_string(c->a, text);
}

static mltf_str without_line_ends(mltf_str s)
{
    if (s.n && s.p[0] == '\n') s = str_slice(s, 1, s.n);
    if (s.n && s.p[s.n - 1] == '\n') s.n--;
    return s;
}

static bool add_tagged(collector *c, mltf_str body)
{
    const tool_format *f = c->f;
    const size_t first = find(body, f->key.open, 0), close = find(body, f->name_close, 0);
    const size_t name_end = least(least(first, close), body.n);
    const mltf_str name = trim(str_slice(body, 0, name_end));
    if (name.n == 0 || memchr(name.p, '{', name.n))
        return add_json_values(c, body, false); // what the same models' elder sisters write
    const json *function = find_tool(c, name);
    json *arguments = json_new_object(c->a);
    size_t at = name_end;
    for (;;) {
        const size_t key = find(body, f->key.open, at);
        if (key == NOWHERE) break;
        const size_t key_from = key + strlen(f->key.open),
                     key_to = find(body, f->key.close, key_from);
        if (key_to == NOWHERE) break;
        size_t from = key_to + strlen(f->key.close);
        if (f->value.open) {
            const size_t open = find(body, f->value.open, from);
            if (open == NOWHERE) break;
            from = open + strlen(f->value.open);
        }
        const size_t close_at = find(body, f->value.close, from);
        const size_t to = least(least(close_at, find(body, f->key.open, from)), body.n);
        const mltf_str name_of = trim(str_slice(body, key_from, key_to));
        json_set_str(
            c->a, arguments, name_of,
            typed_value(c, function, name_of, without_line_ends(str_slice(body, from, to))));
        at = to;
    }
    return add_call(c, name, arguments);
}

/* ---- Python ---- */

/* name(key=value, …) at the beginning of text. *used: bytes it took. */
static bool add_python_call(collector *c, mltf_str text, bool strict, size_t *used)
{
    size_t at = 0;
    while (at < text.n && (ascii_is_alnum(text.p[at]) || text.p[at] == '_' || text.p[at] == '.' ||
                           text.p[at] == '-'))
        at++;
    mltf_str name = str_slice(text, 0, at);
    if (name.n == 0 || at == text.n || text.p[at] != '(') return false;
    if (str_ends(name, ".call")) name.n -= strlen(".call"); // Llama's own tools
    if (strict && !find_tool(c, name)) return false;
    json *arguments = json_new_object(c->a);
    for (at++;;) {
        while (at < text.n && (is_blank(text.p[at]) || text.p[at] == ',')) at++;
        if (at < text.n && text.p[at] == ')') break;
        const size_t key = at;
        while (at < text.n && (ascii_is_alnum(text.p[at]) || text.p[at] == '_')) at++;
        const mltf_str key_name = str_slice(text, key, at);
        while (at < text.n && is_blank(text.p[at])) at++;
        if (key_name.n == 0 || at >= text.n || text.p[at] != '=') return false;
        at++;
        pv value;
        json *v = NULL;
        size_t took = 0;
        const mltf_str rest = str_slice(text, at, text.n);
        if (pyliteral_read(c->a, &value, rest, &took))
            v = pv_to_json(c->a, &value);
        else if (json_parse_in(c->a, &v, rest.p, rest.n,
                               &(json_parse_options){.trailing = true, .end_offset = &took}, NULL))
            return false; // true, false, null: some mix the languages
        json_set_str(c->a, arguments, key_name, v);
        at += took;
    }
    *used = at + 1;
    return add_call(c, name, arguments);
}

static bool add_python(collector *c, mltf_str text, bool strict)
{
    text = unfenced(text);
    if (text.n && text.p[0] == '[') text = trim(str_slice(text, 1, text.n));
    size_t used = 0;
    bool any = false;
    while (text.n && add_python_call(c, text, strict, &used)) {
        any = true;
        text = trim(str_slice(text, used, text.n));
        while (text.n && strchr(",;]", text.p[0])) text = trim(str_slice(text, 1, text.n));
    }
    return any;
}

static bool add_body(collector *c, mltf_str body, bool strict)
{
    switch (c->f->body) {
    case TOOL_BODY_JSON:
        return add_json_values(c, body, strict) || add_python(c, body, true);
    case TOOL_BODY_NAMED:
        return add_named(c, body);
    case TOOL_BODY_TAGS:
        return add_tagged(c, body);
    case TOOL_BODY_PYTHON:
        return add_python(c, body, strict) || add_json_values(c, body, strict);
    }
    return false;
}

/* ---- the reply ---- */

/* Where the first mark of a call stands. */
static size_t calls_begin(const tool_format *f, mltf_str text)
{
    size_t at = find(text, f->section, 0);
    for (size_t i = 0; i < 2; i++) at = least(at, find(text, f->calls[i].open, 0));
    return at;
}

/* Each body behind an opening mark, up to its closing one or the next call. */
static void add_marked(collector *c, mltf_str text)
{
    for (size_t i = 0; i < 2; i++) {
        const tool_marks *m = &c->f->calls[i];
        for (size_t at = find(text, m->open, 0); at != NOWHERE;) {
            const size_t from = at + strlen(m->open);
            const size_t next = find(text, m->open, from);
            const size_t to = least(least(find(text, m->close, from), next), text.n);
            add_body(c, str_slice(text, from, to), false);
            at = next;
        }
    }
}

/* Bytes at the end of text that may be the beginning of a mark. */
static size_t mark_tail(mltf_str text, const char *mark)
{
    const size_t n = mark ? strlen(mark) : 0;
    for (size_t k = n ? least(n - 1, text.n) : 0; k > 0; k--)
        if (memcmp(text.p + text.n - k, mark, k) == 0) return k;
    return 0;
}

/* text up to where one of the marks (ends with NULL) begins, or may begin while it grows. */
static mltf_str before_marks(mltf_str text, const char *const *marks, bool whole, bool *found)
{
    size_t end = NOWHERE, tail = 0;
    for (const char *const *m = marks; *m; m++) {
        const size_t k = mark_tail(text, *m);
        end = least(end, find(text, *m, 0));
        if (k > tail) tail = k;
    }
    if (found) *found = end != NOWHERE;
    if (end != NOWHERE) return str_slice(text, 0, end);
    return str_slice(text, 0, text.n - (whole ? 0 : tail));
}

/* gpt-oss: messages "<|start|>assistant<|channel|>NAME to=… <|message|>…<|end|>"; the first begins at the channel. */
static void read_harmony(collector *c, mltf_str text, bool whole, mltf_buf *content)
{
    static const char *const ends[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>", NULL};
    static const char *const begins[] = {"<|channel|>", "<|start|>", "<|message|>", NULL};
    const mltf_str mark = STR("<|message|>");
    // text that no header introduces; the header of a call may begin with its recipient
    bool headed = false;
    const mltf_str plain = before_marks(text, begins, whole, &headed), word = trim(plain);
    const mltf_str to = STR("to=");
    const bool perhaps_to = !whole && !headed && word.n < to.n && memcmp(word.p, to.p, word.n) == 0;
    if (!str_starts(word, to.p) && !perhaps_to) buf_put_str(content, plain);
    text = str_slice(text, str_starts(word, to.p) ? 0 : plain.n, text.n);
    for (;;) {
        const size_t at = find(text, mark.p, 0);
        if (at == NOWHERE) return; // thoughts cut off
        const mltf_str header = str_slice(text, 0, at);
        const mltf_str rest = str_slice(text, at + mark.n, text.n);
        bool ended = false;
        const mltf_str body = before_marks(rest, ends, whole, &ended);
        const size_t recipient = find(header, to.p, 0);
        if (recipient != NOWHERE) {
            size_t end = recipient + to.n;
            while (end < header.n && !is_blank(header.p[end]) && header.p[end] != '<') end++;
            const mltf_str name = str_slice(header, recipient + to.n, end);
            json *v = NULL;
            if (c && (whole || ended) &&
                (trim(body).n == 0 ||
                 json_parse_in(c->a, &v, body.p, body.n, &(json_parse_options){.trailing = true},
                               NULL) == MLTF_OK))
                add_call(c, name, v);
        } else if (find(header, "analysis", 0) == NOWHERE) {
            if (content->n && body.n) buf_puts(content, "\n"); // a preamble, then the answer
            buf_put_str(content, body);
        }
        text = str_slice(rest, body.n, rest.n);
        if (!ended) return;
    }
}

/* Command models: text and thoughts stand between marks, or nothing does. */
static void read_channels(const tool_format *f, mltf_str text, bool whole, mltf_buf *content)
{
    const char *const marks[] = {f->calls[0].open, f->text.open, f->text.close, f->thoughts.open,
                                 NULL};
    for (;;) {
        bool found = false;
        const mltf_str before = before_marks(text, marks, whole, &found);
        buf_put_str(content, before);
        if (!found) return;
        text = str_slice(text, before.n, text.n);
        if (str_starts(text, f->calls[0].open)) return;
        const bool thoughts = str_starts(text, f->thoughts.open);
        const size_t end = thoughts ? find(text, f->thoughts.close, 0) : 0;
        if (end == NOWHERE) return;
        const char *passed = thoughts                         ? f->thoughts.close
                             : str_starts(text, f->text.open) ? f->text.open
                                                              : f->text.close;
        text = str_slice(text, end + strlen(passed), text.n);
    }
}

/* Functionary v3.2. "all" is the name of what the user gets. */
static void read_sections(collector *c, const json *tools, mltf_str text, bool whole,
                          mltf_buf *content)
{
    const collector names = {.tools = tools};
    static const char *const marks[] = {">>>", NULL};
    if (str_starts(text, ">>>")) text = str_slice(text, 3, text.n);
    for (bool first = true;; first = false) {
        const size_t line = find(text, "\n", 0);
        const mltf_str name = str_slice(text, 0, least(line, text.n));
        const bool all = str_is(name, "all"), known = all || find_tool(&names, name);
        if (line == NOWHERE && !whole) return; // the name is not complete
        if (!known) {
            if (first) buf_put_str(content, text); // no sections at all
            return;
        }
        const mltf_str rest = str_slice(text, least(line + 1, text.n), text.n);
        bool ended = false;
        const mltf_str body = before_marks(rest, marks, whole, &ended);
        json *v = NULL;
        if (all)
            buf_put_str(content, body);
        else if (c && json_parse_in(c->a, &v, body.p, body.n,
                                    &(json_parse_options){.trailing = true}, NULL) == MLTF_OK)
            add_call(c, name, v);
        if (!ended) return;
        text = str_slice(rest, body.n + 3, rest.n);
    }
}

/* A reply that is nothing but JSON: forced calls are, and models that know no better. */
static bool is_bare(mltf_str text)
{
    const mltf_str s = trim(text);
    return s.n > 0 && (s.p[0] == '{' || s.p[0] == '[');
}

mltf_status tool_calls_parse(const tool_format *f, const json *tools, mltf_str text, mltf_arena *a,
                             tool_reply *out, mltf_err *err)
{
    collector c = {.f = f, .tools = tools, .a = a, .calls = json_new_array(a)};
    mltf_buf content = MLTF_BUF_INIT;
    const size_t mark = calls_begin(f, text);
    if (is_bare(text) && mark != 0 && !add_json_values(&c, text, true)) {
        c.calls = json_new_array(a);
        add_python(&c, text, true);
    }
    if (json_len(c.calls)) {
        // they are all of it
    } else if (f->form == TOOL_REPLY_HARMONY) {
        read_harmony(&c, text, true, &content);
    } else if (f->form == TOOL_REPLY_SECTIONS) {
        read_sections(&c, tools, text, true, &content);
    } else if (f->form == TOOL_REPLY_CHANNELS) {
        add_marked(&c, text);
        read_channels(f, text, true, &content);
    } else if (mark != NOWHERE) {
        const mltf_str rest = str_slice(text, mark, text.n);
        add_marked(&c, rest);
        if (!json_len(c.calls) && f->section && str_starts(rest, f->section))
            add_json_values(&c, str_slice(rest, strlen(f->section), rest.n), false);
        buf_put_str(&content, json_len(c.calls) ? str_slice(text, 0, mark) : text);
    } else {
        if (f->body == TOOL_BODY_PYTHON) add_python(&c, text, true);
        if (!json_len(c.calls)) buf_put_str(&content, text);
    }
    *out = (tool_reply){.calls = json_len(c.calls) ? c.calls : NULL};
    out->content = arena_str(a, content.p ? buf_str(&content) : STR(""));
    if (out->calls) out->content = trim_end(out->content);
    const mltf_status st = buf_status(&content, err);
    mltf_buf_release(&content);
    return st ? st : a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

mltf_str tool_text_so_far(const tool_format *f, const json *tools, mltf_str text, mltf_buf *scratch)
{
    if (trim(text).n == 0 || is_bare(text)) return STR(""); // may all be one call
    buf_clear(scratch);
    if (f->form == TOOL_REPLY_HARMONY)
        read_harmony(NULL, text, false, scratch);
    else if (f->form == TOOL_REPLY_SECTIONS)
        read_sections(NULL, tools, text, false, scratch);
    else if (f->form == TOOL_REPLY_CHANNELS)
        read_channels(f, text, false, scratch);
    else {
        const char *marks[4] = {0};
        size_t n = 0;
        if (f->section) marks[n++] = f->section;
        for (size_t i = 0; i < 2; i++)
            if (f->calls[i].open) marks[n++] = f->calls[i].open;
        return trim_end(before_marks(text, marks, false, NULL));
    }
    return trim_end(scratch->p ? buf_str(scratch) : STR(""));
}
