/* Does each keyword of a schema hold what it asks for? Seen once over the whole document, before anything reads it: the
 * readers then rely on it. What is written where no schema belongs is not looked at: values of const and of examples,
 * keywords that nobody knows, definitions that nothing refers to. */
#include <string.h>

#include "gen/schema_doc.h"

typedef struct soundness {
    schema_doc *doc;
    const json **targets; /* [n] what references led to so far */
    size_t n, cap;
} soundness;

typedef enum {
    SCHEMA,
    LIST,
    STRINGS,
    STRING,
    BOOL,
    TYPE,
    ITEMS,
    SCHEMAS,
    MEMBERS,
    NEEDS,
    LISTS
} part;

static const char *const part_names[] = {
    [SCHEMA] = "a schema", [LIST] = "a list",        [STRINGS] = "a list",
    [STRING] = "a string", [BOOL] = "true or false", [TYPE] = "a string or a list of strings",
    [ITEMS] = "a schema",  [SCHEMAS] = "a list",     [MEMBERS] = "an object",
    [NEEDS] = "an object", [LISTS] = "an object",
};

static const struct {
    const char *keyword;
    part part;
} keywords[] = {
    {"$ref", STRING},
    {"additionalItems", SCHEMA},
    {"additionalProperties", SCHEMA},
    {"allOf", SCHEMAS},
    {"anyOf", SCHEMAS},
    {"contains", SCHEMA},
    {"dependencies", NEEDS},
    {"dependentRequired", LISTS},
    {"dependentSchemas", MEMBERS},
    {"else", SCHEMA},
    {"enum", LIST},
    {"if", SCHEMA},
    {"items", ITEMS},
    {"not", SCHEMA},
    {"oneOf", SCHEMAS},
    {"pattern", STRING},
    {"patternProperties", MEMBERS},
    {"prefixItems", SCHEMAS},
    {"properties", MEMBERS},
    {"propertyNames", SCHEMA},
    {"required", STRINGS},
    {"then", SCHEMA},
    {"type", TYPE},
    {"unevaluatedItems", SCHEMA},
    {"unevaluatedProperties", SCHEMA},
    {"uniqueItems", BOOL},
};

static void schema_sound(soundness *s, const json *schema);

static void wrong(soundness *s, const char *keyword, part p, const json *v)
{
    ast_fail(s->doc->b, MLTF_INVALID_INPUT, "\"%s\" in the schema has to be %s, not %s", keyword,
             part_names[p], json_type_name(v));
}

static bool all_strings(const json *list)
{
    for (size_t i = 0; i < json_len(list); i++)
        if (!json_is(json_at(list, i), JSON_STRING)) return false;
    return true;
}

/* What schemas and lists of them hold is looked into by keyword_sound(). */
static bool has_form(const json *v, part p)
{
    switch (p) {
    case SCHEMA:
    case ITEMS: // in old drafts a list: what prefixItems are
        return true;
    case LIST:
    case SCHEMAS:
        return json_is(v, JSON_ARRAY);
    case STRINGS:
        return json_is(v, JSON_ARRAY) && all_strings(v);
    case STRING:
        return json_is(v, JSON_STRING);
    case BOOL:
        return json_is(v, JSON_BOOL);
    case TYPE:
        return json_is(v, JSON_STRING) || (json_is(v, JSON_ARRAY) && all_strings(v));
    case MEMBERS:
    case NEEDS:
    case LISTS:
        return json_is(v, JSON_OBJECT);
    }
    return false;
}

static void keyword_sound(soundness *s, const char *keyword, part p, const json *v)
{
    if (!has_form(v, p)) {
        wrong(s, keyword, p, v);
    } else if (p == SCHEMA || (p == ITEMS && !json_is(v, JSON_ARRAY))) {
        schema_sound(s, v);
    } else if (p == SCHEMAS || p == ITEMS) {
        for (size_t i = 0; i < json_len(v); i++) schema_sound(s, json_at(v, i));
    } else if (p == MEMBERS || p == NEEDS || p == LISTS) {
        for (size_t i = 0; i < json_len(v); i++) {
            const json *of = &v->o.members[i].value;
            if (p == MEMBERS || (p == NEEDS && !json_is(of, JSON_ARRAY)))
                schema_sound(s, of);
            else if (!has_form(of, STRINGS))
                wrong(s, keyword, STRINGS, of);
        }
    }
}

static void target_sound(soundness *s, const json *schema)
{
    const char *key = schema_ref_key(schema);
    const json *to = key ? schema_resolve(s->doc, json_get(schema, key)->s) : NULL;
    if (!to) return;
    for (size_t i = 0; i < s->n; i++)
        if (s->targets[i] == to) return;
    if (!ARENA_RESERVE(&s->doc->b->arena, s->targets, s->cap, s->n + 1)) {
        mltf_fail_memory(&s->doc->b->err);
        return;
    }
    s->targets[s->n++] = to;
    schema_sound(s, to);
}

static void schema_sound(soundness *s, const json *schema)
{
    ast_builder *b = s->doc->b;
    if (!ast_ok(b) || json_is(schema, JSON_BOOL)) return;
    if (!json_is(schema, JSON_OBJECT)) {
        ast_fail(b, MLTF_INVALID_INPUT, "a schema has to be an object, but is %s",
                 json_type_name(schema));
        return;
    }
    for (size_t i = 0; i < json_len(schema); i++)
        if (schema_is_own_keyword(schema->o.members[i].key))
            ast_fail(b, MLTF_UNSUPPORTED, "\"" STR_FMT "\" is no keyword of JSON Schema",
                     STR_ARG(schema->o.members[i].key));
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        const json *v = json_get(schema, keywords[i].keyword);
        if (v) keyword_sound(s, keywords[i].keyword, keywords[i].part, v);
    }
    target_sound(s, schema);
}

bool schema_is_sound(schema_doc *s)
{
    soundness x = {.doc = s};
    schema_sound(&x, s->root);
    return ast_ok(s->b);
}
