/* Does a value satisfy a JSON schema (draft 2020-12; older tuples too)? Formats are not checked. */
#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "gen/schema_doc.h"
#include "gen/schema_number.h"

static bool has_one_type(const json *v, mltf_str type)
{
    if (str_is(type, "object")) return json_is(v, JSON_OBJECT);
    if (str_is(type, "array")) return json_is(v, JSON_ARRAY);
    if (str_is(type, "string")) return json_is(v, JSON_STRING);
    if (str_is(type, "boolean")) return json_is(v, JSON_BOOL);
    if (str_is(type, "null")) return json_is(v, JSON_NULL);
    if (str_is(type, "number")) return json_is_number(v);
    return json_is(v, JSON_INT) || json_is(v, JSON_BIGINT) ||
           (json_is(v, JSON_DOUBLE) && floor(v->d) == v->d && isfinite(v->d));
}

static bool has_type(const json *v, const json *types)
{
    if (json_is(types, JSON_STRING)) return has_one_type(v, types->s);
    for (size_t i = 0; i < json_len(types); i++)
        if (has_one_type(v, json_string(json_at(types, i), STR("")))) return true;
    return false;
}

static bool is_among(const json *v, const json *list)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const json *x = json_at(list, i);
        // True is not 1 in a schema
        if (json_equal(v, x) && json_is(v, JSON_BOOL) == json_is(x, JSON_BOOL)) return true;
    }
    return false;
}

static bool within(double x, const json *schema, const char *min, const char *max)
{
    return x >= json_double(json_get(schema, min), -INFINITY) &&
           x <= json_double(json_get(schema, max), INFINITY);
}

static size_t code_points(mltf_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((uint8_t)s.p[i] & 0xC0) != 0x80;
    return n;
}

static bool number_holds(const json *v, const json *schema)
{
    const double x = json_double(v, 0), step = json_double(json_get(schema, "multipleOf"), 0);
    if (!within(x, schema, "minimum", "maximum")) return false;
    if (!(x > json_double(json_get(schema, "exclusiveMinimum"), -INFINITY))) return false;
    if (!(x < json_double(json_get(schema, "exclusiveMaximum"), INFINITY))) return false;
    const json *not = json_get(schema, "$notMultiples");
    for (size_t i = 0; i < json_len(not ); i++)
        if (schema_is_multiple(v, json_double(json_at(not, i), 0))) return false;
    return !(step > 0) || schema_is_multiple(v, step);
}

static bool string_holds(schema_doc *s, const json *v, const json *schema)
{
    const json *pattern = json_get(schema, "pattern");
    if (!within((double)code_points(v->s), schema, "minLength", "maxLength")) return false;
    return !json_is(pattern, JSON_STRING) || schema_pattern_matches(s, pattern->s, v->s);
}

static bool array_holds(schema_doc *s, const json *v, const json *schema)
{
    const json *items = json_get(schema, "items"), *prefix = json_get(schema, "prefixItems"),
               *contains = json_get(schema, "contains");
    if (json_is(items, JSON_ARRAY)) {
        prefix = items;
        items = json_get(schema, "additionalItems");
    }
    size_t found = 0;
    if (!within((double)json_len(v), schema, "minItems", "maxItems")) return false;
    for (size_t i = 0; i < json_len(v); i++) {
        const json *of = i < json_len(prefix) ? json_at(prefix, i) : items;
        if (of && !schema_holds(s, json_at(v, i), of)) return false;
        if (contains) found += schema_holds(s, json_at(v, i), contains);
    }
    if (contains && (double)found < json_double(json_get(schema, "minContains"), 1)) return false;
    if (contains && (double)found > json_double(json_get(schema, "maxContains"), INFINITY))
        return false;
    if (!json_bool(json_get(schema, "uniqueItems"), false)) return true;
    for (size_t i = 0; i < json_len(v); i++)
        for (size_t k = 0; k < i; k++)
            if (json_equal(json_at(v, i), json_at(v, k))) return false;
    return true;
}

static bool object_holds(schema_doc *s, const json *v, const json *schema)
{
    const json *required = json_get(schema, "required"), *names = json_get(schema, "propertyNames"),
               *needs = json_get(schema, "dependentRequired");
    size_t n = 0; // of two members of a name the last counts
    for (size_t i = 0; i < json_len(v); i++) {
        const json_member *m = &v->o.members[i];
        if (json_get_str(v, m->key) != &m->value) continue;
        n++;
        const json *of = schema_of_member(s, schema, m->key);
        const json name = {.type = JSON_STRING, .s = m->key};
        if (of && !schema_holds(s, &m->value, of)) return false;
        if (names && !schema_holds(s, &name, names)) return false;
        const json *also = json_get_str(needs, m->key);
        for (size_t k = 0; k < json_len(also); k++)
            if (!json_get_str(v, json_string(json_at(also, k), STR("")))) return false;
    }
    for (size_t i = 0; i < json_len(required); i++)
        if (!json_get_str(v, json_string(json_at(required, i), STR("")))) return false;
    return within((double)n, schema, "minProperties", "maxProperties");
}

static bool combined_holds(schema_doc *s, const json *v, const json *schema)
{
    const json *all = json_get(schema, "allOf"), *any = json_get(schema, "anyOf"),
               *one = json_get(schema, "oneOf"), *not = json_get(schema, "not"),
               *condition = json_get(schema, "if");
    for (size_t i = 0; i < json_len(all); i++)
        if (!schema_holds(s, v, json_at(all, i))) return false;
    bool some = !any;
    for (size_t i = 0; i < json_len(any) && !some; i++) some = schema_holds(s, v, json_at(any, i));
    size_t ones = 0;
    for (size_t i = 0; i < json_len(one); i++) ones += schema_holds(s, v, json_at(one, i));
    if (!some || (one && ones != 1) || (not &&schema_holds(s, v, not ))) return false;
    const json *then =
        condition ? json_get(schema, schema_holds(s, v, condition) ? "then" : "else") : NULL;
    return !then || schema_holds(s, v, then);
}

bool schema_holds(schema_doc *s, const json *v, const json *schema)
{
    if (json_is(schema, JSON_BOOL)) return schema->b;
    if (!json_is(schema, JSON_OBJECT) || !ast_ok(s->b)) return false;
    if (++s->depth > 500) {
        ast_fail(s->b, MLTF_UNSUPPORTED, "the schema's references go in circles");
        return false;
    }
    const json *ref = json_get(schema, "$ref"), *type = json_get(schema, "type"),
               *value = json_get(schema, "const"), *values = json_get(schema, "enum"),
               *except = json_get(schema, "$except");
    bool ok = true;
    if (json_is(ref, JSON_STRING)) {
        const json *to = schema_resolve(s, ref->s);
        ok = to && schema_holds(s, v, to);
    }
    if (ok && type) ok = has_type(v, type);
    if (ok && value)
        ok = json_equal(v, value) && json_is(v, JSON_BOOL) == json_is(value, JSON_BOOL);
    if (ok && values) ok = is_among(v, values);
    if (ok && except) ok = !is_among(v, except);
    if (ok && json_is_number(v)) ok = number_holds(v, schema);
    if (ok && json_is(v, JSON_STRING)) ok = string_holds(s, v, schema);
    if (ok && json_is(v, JSON_ARRAY)) ok = array_holds(s, v, schema);
    if (ok && json_is(v, JSON_OBJECT)) ok = object_holds(s, v, schema);
    if (ok) ok = combined_holds(s, v, schema);
    s->depth--;
    return ok;
}
