/* Complements of JSON schemas: keyword by keyword what it is not to satisfy it. */
#include <string.h>

#include "gen/schema_doc.h"

#define MOST_NEGATIONS 256 /* of alternatives together: each pair of ways is one */

static const json always = {.type = JSON_BOOL, .b = true};
static const json never = {.type = JSON_BOOL, .b = false};

static bool is_never(const json *schema)
{
    return json_is(schema, JSON_BOOL) && !schema->b;
}

/* ---- one way not to satisfy a schema ------------------------------------------------------- */

static void deny(schema_doc *s, json *list, const char *type, const char *key, const json *value)
{
    json *d = json_new_object(&s->b->arena);
    if (type) json_set(&s->b->arena, d, "type", json_new_cstr(&s->b->arena, type));
    if (key) json_set(&s->b->arena, d, key, value);
    json_push(&s->b->arena, list, d);
}

static json *list_of(schema_doc *s, const json *one)
{
    json *list = json_new_array(&s->b->arena);
    json_push(&s->b->arena, list, one);
    return list;
}

static json *bound_of(schema_doc *s, size_t n)
{
    return json_new_int(&s->b->arena, (int64_t)n);
}

/* An object whose member has this value. */
static void deny_member(schema_doc *s, json *list, mltf_str name, const json *value)
{
    mltf_arena *arena = &s->b->arena;
    json *members = json_new_object(arena), *d = json_new_object(arena);
    if (is_never(value)) return;
    json_set_str(arena, members, name, value);
    json_set(arena, d, "type", json_new_cstr(arena, "object"));
    json_set(arena, d, "$members", members);
    json_set(arena, d, "required", list_of(s, json_new_string(arena, name)));
    json_push(arena, list, d);
}

/* An object without the member. */
static void deny_presence(schema_doc *s, json *list, mltf_str name)
{
    json *members = json_new_object(&s->b->arena);
    json_set_str(&s->b->arena, members, name, &never);
    deny(s, list, "object", "$members", members);
}

/* An array with an item in [from, to) that does not satisfy `item`; to NULL: up to the end. */
static void deny_item(schema_doc *s, json *list, size_t from, const json *to, const json *item)
{
    json *kind = json_new_object(&s->b->arena);
    const json *other = schema_not(s, item);
    if (is_never(other)) return;
    json_set(&s->b->arena, kind, "contains", other);
    json_set(&s->b->arena, kind, "from", bound_of(s, from));
    json_set(&s->b->arena, kind, "to", to);
    deny(s, list, "array", "$contains", list_of(s, kind));
}

/* An object with a member of such a name and value. */
static void deny_some(schema_doc *s, json *list, const json *keys, const json *value)
{
    json *some = json_new_object(&s->b->arena);
    if (is_never(value) || is_never(keys)) return;
    json_set(&s->b->arena, some, "keys", keys);
    json_set(&s->b->arena, some, "value", value);
    deny(s, list, "object", "$some", list_of(s, some));
}

/* ---- keywords ------------------------------------------------------------------------------ */

static bool has_type(const json *types, const char *name)
{
    if (json_is(types, JSON_STRING)) return str_is(types->s, name);
    for (size_t i = 0; i < json_len(types); i++)
        if (str_is(json_string(json_at(types, i), STR("")), name)) return true;
    return false;
}

static void deny_type(schema_doc *s, json *list, const json *types)
{
    static const char *const plain[] = {"object", "array", "string", "boolean", "null", NULL};
    mltf_arena *arena = &s->b->arena;
    json *others = json_new_array(arena);
    const bool numbers = has_type(types, "number"), integers = has_type(types, "integer");
    for (const char *const *t = plain; *t; t++)
        if (!has_type(types, *t)) json_push(arena, others, json_new_cstr(arena, *t));
    if (!numbers && !integers) json_push(arena, others, json_new_cstr(arena, "number"));
    if (json_len(others)) json_push(arena, list, schema_of(s, "type", others));
    if (integers && !numbers) // numbers that are not whole
        deny(s, list, "number", "$notMultiples", list_of(s, bound_of(s, 1)));
}

static bool is_structure(const json *v)
{
    return json_is(v, JSON_ARRAY) || json_is(v, JSON_OBJECT);
}

/* Not this array, or this object: of another type, length or with another part. */
static void deny_structure(schema_doc *s, json *list, const json *v)
{
    const bool array = json_is(v, JSON_ARRAY);
    const char *type = array ? "array" : "object";
    const size_t n = json_len(v);
    json name = {.type = JSON_STRING, .s = str_from(type)};
    deny_type(s, list, &name);
    deny(s, list, type, array ? "minItems" : "minProperties", bound_of(s, n + 1));
    if (n) deny(s, list, type, array ? "maxItems" : "maxProperties", bound_of(s, n - 1));
    for (size_t i = 0; i < n; i++) {
        const json *part = array ? json_at(v, i) : &v->o.members[i].value;
        const json *of = schema_of(s, "const", part);
        if (array)
            deny_item(s, list, i, bound_of(s, i + 1), of);
        else
            deny_member(s, list, v->o.members[i].key, schema_not(s, of));
        if (!array) deny_presence(s, list, v->o.members[i].key);
    }
}

/* None of the alternatives: one way of each, in all combinations. */
static json *deny_all(schema_doc *s, const json *alternatives)
{
    mltf_arena *arena = &s->b->arena;
    json *list = list_of(s, &always);
    for (size_t i = 0; i < json_len(alternatives) && ast_ok(s->b); i++) {
        const json *not = schema_negations(s, json_at(alternatives, i));
        json *next = json_new_array(arena);
        if (json_len(list) * json_len(not ) > MOST_NEGATIONS) s->partial = true;
        for (size_t k = 0; k < json_len(list) * json_len(not ) && k < MOST_NEGATIONS; k++) {
            const json *both =
                schema_both(s, json_at(list, k / json_len(not )), json_at(not, k % json_len(not )));
            if (both && !is_never(both)) json_push(arena, next, both);
        }
        list = next;
    }
    return list;
}

static void add_all(schema_doc *s, json *list, const json *more)
{
    for (size_t i = 0; i < json_len(more); i++) json_push(&s->b->arena, list, json_at(more, i));
}

/* None of the values. */
static void deny_values(schema_doc *s, json *list, const json *values)
{
    mltf_arena *arena = &s->b->arena;
    json *plain = json_new_array(arena), *all = json_new_array(arena);
    for (size_t i = 0; i < json_len(values); i++)
        if (!is_structure(json_at(values, i))) json_push(arena, plain, json_at(values, i));
    if (json_len(plain) == json_len(values)) {
        deny(s, list, NULL, "$except", plain);
        return;
    }
    if (json_len(values) == 1) {
        deny_structure(s, list, json_at(values, 0));
        return;
    }
    if (json_len(plain)) json_push(arena, all, schema_of(s, "enum", plain));
    for (size_t i = 0; i < json_len(values); i++)
        if (is_structure(json_at(values, i)))
            json_push(arena, all, schema_of(s, "const", json_at(values, i)));
    add_all(s, list, deny_all(s, all));
}

static void deny_bounds(schema_doc *s, json *list, const json *schema)
{
    static const char *const opposite[][3] = {{"minimum", "exclusiveMaximum", "number"},
                                              {"maximum", "exclusiveMinimum", "number"},
                                              {"exclusiveMinimum", "maximum", "number"},
                                              {"exclusiveMaximum", "minimum", "number"},
                                              {"minLength", "maxLength", "string"},
                                              {"maxLength", "minLength", "string"},
                                              {"minItems", "maxItems", "array"},
                                              {"maxItems", "minItems", "array"},
                                              {"minProperties", "maxProperties", "object"},
                                              {"maxProperties", "minProperties", "object"}};
    for (size_t i = 0; i < sizeof opposite / sizeof *opposite; i++) {
        const json *v = json_get(schema, opposite[i][0]);
        if (!v) continue;
        if (i < 4) {
            deny(s, list, opposite[i][2], opposite[i][1], v);
            continue;
        }
        const int64_t n = json_int(v, 0) + (i % 2 ? 1 : -1);
        if (n >= 0) deny(s, list, opposite[i][2], opposite[i][1], json_new_int(&s->b->arena, n));
    }
    const json *step = json_get(schema, "multipleOf"), *not = json_get(schema, "$notMultiples");
    if (step) deny(s, list, "number", "$notMultiples", list_of(s, step));
    for (size_t i = 0; i < json_len(not ); i++)
        deny(s, list, "number", "multipleOf", json_at(not, i));
}

static void deny_texts(schema_doc *s, json *list, const json *schema)
{
    static const char *const keys[] = {"pattern", "$alsoText", "$notText", NULL};
    const json *format = json_get(schema, "format");
    if (schema_format_known(format) && !s->deny_formats)
        s->partial = true;
    else if (schema_format_known(format))
        deny(s, list, "string", "$notText", list_of(s, schema_of(s, "format", format)));
    for (const char *const *k = keys; *k; k++)
        if (json_get(schema, *k))
            deny(s, list, "string", "$notText", list_of(s, schema_of(s, *k, json_get(schema, *k))));
}

/* ---- objects ------------------------------------------------------------------------------- */

/* Names that are neither declared nor matched by a pattern. */
static const json *additional_names(schema_doc *s, const json *schema)
{
    mltf_arena *arena = &s->b->arena;
    const json *own = json_get(schema, "properties"),
               *patterns = json_get(schema, "patternProperties");
    json *names = json_new_array(arena), *any = json_new_array(arena);
    for (size_t i = 0; i < json_len(own); i++)
        json_push(arena, names, json_new_string(arena, own->o.members[i].key));
    json_push(arena, any, schema_of(s, "enum", names));
    for (size_t i = 0; i < json_len(patterns); i++)
        json_push(arena, any,
                  schema_of(s, "pattern", json_new_string(arena, patterns->o.members[i].key)));
    return schema_not(s, schema_of(s, "anyOf", any));
}

static void deny_members(schema_doc *s, json *list, const json *schema)
{
    mltf_arena *arena = &s->b->arena;
    const json *own = json_get(schema, "properties"), *conditions = json_get(schema, "$members"),
               *required = json_get(schema, "required"),
               *patterns = json_get(schema, "patternProperties"),
               *additional = json_get(schema, "additionalProperties"),
               *names = json_get(schema, "propertyNames"), *shapes = json_get(schema, "$shapes");
    for (size_t i = 0; i < json_len(own); i++)
        deny_member(s, list, own->o.members[i].key, schema_not(s, &own->o.members[i].value));
    for (size_t i = 0; i < json_len(conditions); i++)
        deny_member(s, list, conditions->o.members[i].key,
                    schema_not(s, &conditions->o.members[i].value));
    for (size_t i = 0; i < json_len(required); i++)
        deny_presence(s, list, json_string(json_at(required, i), STR("")));
    for (size_t i = 0; i < json_len(patterns); i++) {
        const json_member *m = &patterns->o.members[i];
        deny_some(s, list, schema_of(s, "pattern", json_new_string(arena, m->key)),
                  schema_not(s, &m->value));
    }
    if (additional) deny_some(s, list, additional_names(s, schema), schema_not(s, additional));
    if (names) deny_some(s, list, schema_not(s, names), &always);
    for (size_t i = 0; i < json_len(shapes); i++) deny_members(s, list, json_at(shapes, i));
}

/* A member is there, and what it asks for is not. */
static void deny_dependencies(schema_doc *s, json *list, const json *needs)
{
    mltf_arena *arena = &s->b->arena;
    for (size_t i = 0; i < json_len(needs); i++) {
        const json_member *m = &needs->o.members[i];
        const json *of = &m->value;
        if (json_is(of, JSON_ARRAY)) of = schema_of(s, "required", of);
        json *d = json_new_object(arena);
        json_set(arena, d, "type", json_new_cstr(arena, "object"));
        json_set(arena, d, "required", list_of(s, json_new_string(arena, m->key)));
        json_set(arena, d, "not", of);
        json_push(arena, list, d);
    }
}

/* ---- arrays -------------------------------------------------------------------------------- */

static void deny_contains(schema_doc *s, json *list, const json *of)
{
    mltf_arena *arena = &s->b->arena;
    const int64_t min = json_int(json_get(of, "minContains"), 1);
    const json *contains = json_get(of, "contains"), *max = json_get(of, "maxContains"),
               *from = json_get(of, "from");
    for (int i = 0; i < 2 && contains; i++) { // fewer, and more
        if (i == 0 ? min <= 0 : !max) continue;
        json *d = json_new_object(arena);
        json_set(arena, d, "contains", contains);
        json_set(arena, d, "minContains", json_new_int(arena, i ? json_int(max, 0) + 1 : 0));
        if (i == 0) json_set(arena, d, "maxContains", json_new_int(arena, min - 1));
        json_set(arena, d, "from", from ? from : json_new_int(arena, 0));
        deny(s, list, "array", "$contains", list_of(s, d));
    }
}

static void deny_items(schema_doc *s, json *list, const json *schema)
{
    const json *items = json_get(schema, "items"), *prefix = json_get(schema, "prefixItems"),
               *kinds = json_get(schema, "$contains");
    if (json_is(items, JSON_ARRAY)) {
        prefix = items;
        items = json_get(schema, "additionalItems");
    }
    for (size_t i = 0; i < json_len(prefix); i++)
        deny_item(s, list, i, bound_of(s, i + 1), json_at(prefix, i));
    if (items) deny_item(s, list, json_len(prefix), NULL, items);
    deny_contains(s, list, schema);
    for (size_t i = 0; i < json_len(kinds); i++) deny_contains(s, list, json_at(kinds, i));
}

/* ---- combinations -------------------------------------------------------------------------- */

/* None of them, or two. */
static void deny_one(schema_doc *s, json *list, const json *one)
{
    add_all(s, list, deny_all(s, one));
    if (json_len(one) * json_len(one) / 2 + json_len(list) > MOST_NEGATIONS) s->partial = true;
    for (size_t i = 0; i < json_len(one) && ast_ok(s->b); i++)
        for (size_t k = 0; k < i && json_len(list) < MOST_NEGATIONS; k++) {
            const json *both = schema_both(s, json_at(one, i), json_at(one, k));
            if (both && !is_never(both)) json_push(&s->b->arena, list, both);
        }
}

/* `if` holds and `then` does not, or neither `if` nor `else`. */
static void deny_condition(schema_doc *s, json *list, const json *schema)
{
    const json *condition = json_get(schema, "if"), *then = json_get(schema, "then"),
               *otherwise = json_get(schema, "else");
    const json *yes = then ? schema_later(s, condition, schema_not(s, then)) : &never;
    const json *no =
        otherwise ? schema_later(s, schema_not(s, condition), schema_not(s, otherwise)) : &never;
    if (!is_never(yes)) json_push(&s->b->arena, list, yes);
    if (!is_never(no)) json_push(&s->b->arena, list, no);
}

const json *schema_negations(schema_doc *s, const json *schema)
{
    static const char *const dependent[] = {"dependentRequired", "dependentSchemas", "dependencies",
                                            NULL};
    mltf_arena *arena = &s->b->arena;
    json *list = json_new_array(arena);
    if (!ast_ok(s->b)) return list;
    if (++s->depth > SCHEMA_DEPTH) {
        ast_fail(s->b, MLTF_UNSUPPORTED, "the schema's references go in circles, or too deep");
        return list;
    }
    schema = schema_flat(s, schema);
    if (is_never(schema)) json_push(arena, list, &always);
    if (json_is(schema, JSON_OBJECT)) {
        const json *any = json_get(schema, "anyOf"), *one = json_get(schema, "oneOf"),
                   *value = json_get(schema, "const"), *not = json_get(schema, "not"),
                   *except = json_get(schema, "$except"), *and = json_get(schema, "$and");
        s->partial |= json_get(schema, "unevaluatedProperties") ||
                      json_get(schema, "unevaluatedItems") ||
                      json_bool(json_get(schema, "uniqueItems"), false);
        if (json_get(schema, "type")) deny_type(s, list, json_get(schema, "type"));
        if (value) deny_values(s, list, list_of(s, value));
        if (json_get(schema, "enum")) deny_values(s, list, json_get(schema, "enum"));
        if (except) json_push(arena, list, schema_of(s, "enum", except));
        deny_bounds(s, list, schema);
        deny_texts(s, list, schema);
        deny_members(s, list, schema);
        deny_items(s, list, schema);
        for (const char *const *k = dependent; *k; k++)
            deny_dependencies(s, list, json_get(schema, *k));
        if (not ) json_push(arena, list, not );
        if (any) add_all(s, list, deny_all(s, any));
        if (one) deny_one(s, list, one);
        if (json_get(schema, "if")) deny_condition(s, list, schema);
        for (size_t i = 0; i < json_len(and); i++)
            add_all(s, list, schema_negations(s, json_at(and, i)));
    }
    s->depth--;
    return list;
}

/* ---- oneOf --------------------------------------------------------------------------------- */

static bool is_required(const json *schema, mltf_str name)
{
    const json *required = json_get(schema, "required");
    for (size_t i = 0; i < json_len(required); i++)
        if (str_eq(json_string(json_at(required, i), STR("")), name)) return true;
    return false;
}

/* Two objects: one always has a member that the other excludes. */
static bool members_exclude(schema_doc *s, const json *a, const json *b)
{
    const json *mine = json_get(a, "required"), *theirs = json_get(b, "required"),
               *more = json_get(a, "additionalProperties");
    const bool patterned = json_get(a, "patternProperties") || json_get(a, "$shapes"),
               closed = !patterned && (json_is(more, JSON_BOOL)
                                           ? !more->b
                                           : !more && !json_get(a, "unevaluatedProperties") &&
                                                 json_len(json_get(a, "properties")));
    for (size_t i = 0; i < json_len(theirs) && closed; i++) {
        const mltf_str name = json_string(json_at(theirs, i), STR(""));
        if (!json_get_str(json_get(a, "properties"), name) && !is_required(a, name)) return true;
    }
    for (size_t i = 0; i < json_len(mine); i++) {
        const mltf_str name = json_string(json_at(mine, i), STR(""));
        const json *x = schema_of_member(s, a, name), *y = schema_of_member(s, b, name);
        if (y && schema_excludes(s, x ? x : &always, y)) return true;
    }
    return false;
}

bool schema_excludes(schema_doc *s, const json *a, const json *b)
{
    if (!ast_ok(s->b) || ++s->depth > SCHEMA_DEPTH) return false;
    bool out = false;
    a = schema_flat(s, a);
    b = schema_flat(s, b);
    if (json_is(a, JSON_BOOL) || json_is(b, JSON_BOOL)) {
        out = (json_is(a, JSON_BOOL) && !a->b) || (json_is(b, JSON_BOOL) && !b->b);
    } else if (a && b) {
        const json *ta = json_get(a, "type"), *tb = json_get(b, "type"),
                   *values = json_get(a, "enum"), *value = json_get(a, "const"),
                   *any = json_get(a, "anyOf");
        if (!any) any = json_get(a, "oneOf");
        if (ta && tb && json_len(schema_common_types(s, ta, tb)) == 0) out = true;
        if (!out && value) out = !schema_holds(s, value, b);
        if (!out && values) {
            out = true;
            for (size_t i = 0; i < json_len(values) && out; i++)
                out = !schema_holds(s, json_at(values, i), b);
        }
        if (!out && any) {
            out = true;
            for (size_t i = 0; i < json_len(any) && out; i++)
                out = schema_excludes(s, json_at(any, i), b);
        }
        const bool objects =
            ta ? str_is(
                     json_string(json_is(ta, JSON_ARRAY) && json_len(ta) == 1 ? json_at(ta, 0) : ta,
                                 STR("")),
                     "object")
               : json_get(a, "properties") != NULL;
        if (!out && objects) out = members_exclude(s, a, b);
    }
    s->depth--;
    return out;
}
