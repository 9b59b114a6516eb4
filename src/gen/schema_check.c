/* Does a value satisfy a JSON schema (draft 2020-12; older tuples too)? Any text has a format that is asked for, and
 * those that look like it have one that is denied. */
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

/* What `not` wants: that the value does not satisfy the schema. */
static bool denied_fails(schema_doc *s, const json *v, const json *schema)
{
    s->denied = !s->denied;
    const bool holds = schema_holds(s, v, schema);
    s->denied = !s->denied;
    return !holds;
}

static bool string_holds(schema_doc *s, const json *v, const json *schema)
{
    const json *pattern = json_get(schema, "pattern"), *also = json_get(schema, "$alsoText"),
               *not = json_get(schema, "$notText");
    for (size_t i = 0; i < json_len(also); i++)
        if (!schema_holds(s, v, json_at(also, i))) return false;
    for (size_t i = 0; i < json_len(not ); i++)
        if (!denied_fails(s, v, json_at(not, i))) return false;
    if (schema_format_denied(s, json_get(schema, "format"), v->s)) return false;
    if (!within((double)code_points(v->s), schema, "minLength", "maxLength")) return false;
    return !json_is(pattern, JSON_STRING) || schema_pattern_matches(s, pattern->s, v->s);
}

/* ---- what is left unevaluated -------------------------------------------------------------- */

/* A member or an item of a value: what schemas of its parts may speak of. */
typedef struct part {
    mltf_str name; /* p NULL: an item */
    size_t index;
    const json *value;
} part;

static bool evaluates(schema_doc *s, const json *v, const json *schema, const part *p);

/* Does a schema of the list that the value satisfies speak of the part? */
static bool one_evaluates(schema_doc *s, const json *v, const json *list, const part *p)
{
    for (size_t i = 0; i < json_len(list); i++)
        if (schema_holds(s, v, json_at(list, i)) && evaluates(s, v, json_at(list, i), p))
            return true;
    return false;
}

/* Does the schema itself speak of the part? */
static bool speaks_of(schema_doc *s, const json *schema, const part *p)
{
    if (p->name.p) {
        const json *all = json_get(schema, "unevaluatedProperties");
        return all || schema_of_member(s, schema, p->name);
    }
    const json *items = json_get(schema, "items"), *prefix = json_get(schema, "prefixItems"),
               *contains = json_get(schema, "contains");
    if (json_is(items, JSON_ARRAY)) {
        prefix = items;
        items = json_get(schema, "additionalItems");
    }
    return items || json_get(schema, "unevaluatedItems") || p->index < json_len(prefix) ||
           (contains && schema_holds(s, p->value, contains));
}

/* Does the schema, or one of those that hold with it, speak of the part? */
static bool evaluates(schema_doc *s, const json *v, const json *schema, const part *p)
{
    static const char *const lists[] = {"allOf", "anyOf", "oneOf", "$and", NULL};
    if (!json_is(schema, JSON_OBJECT) || !ast_ok(s->b)) return false;
    const char *key = schema_ref_key(schema);
    const json *ref = key ? json_get(schema, key) : NULL, *condition = json_get(schema, "if"),
               *needs = json_get(schema, "dependentSchemas");
    if (speaks_of(s, schema, p)) return true;
    for (const char *const *l = lists; *l; l++)
        if (one_evaluates(s, v, json_get(schema, *l), p)) return true;
    if (json_is(ref, JSON_STRING) && evaluates(s, v, schema_resolve(s, ref->s), p)) return true;
    for (size_t i = 0; i < json_len(needs); i++)
        if (json_get_str(v, needs->o.members[i].key) &&
            evaluates(s, v, &needs->o.members[i].value, p))
            return true;
    if (!condition) return false;
    if (!schema_holds(s, v, condition)) return evaluates(s, v, json_get(schema, "else"), p);
    return evaluates(s, v, condition, p) || evaluates(s, v, json_get(schema, "then"), p);
}

/* The part satisfies what is said about those that nothing else speaks of. */
static bool unevaluated_holds(schema_doc *s, const json *v, const json *schema, const part *p)
{
    const char *key = p->name.p ? "unevaluatedProperties" : "unevaluatedItems";
    const json *of = json_get(schema, key);
    if (!of) return true;
    return schema_holds(s, p->value, of) || evaluates(s, v, schema_without(s, schema, key), p);
}

/* ---- arrays and objects -------------------------------------------------------------------- */

static bool contains_holds(schema_doc *s, const json *v, const json *schema)
{
    const json *contains = json_get(schema, "contains");
    double found = 0;
    if (!contains) return true;
    for (size_t i = 0; i < json_len(v); i++) // from and to: of $contains
        if ((double)i >= json_double(json_get(schema, "from"), 0) &&
            (double)i < json_double(json_get(schema, "to"), INFINITY))
            found += schema_holds(s, json_at(v, i), contains);
    return found >= json_double(json_get(schema, "minContains"), 1) &&
           found <= json_double(json_get(schema, "maxContains"), INFINITY);
}

static bool array_holds(schema_doc *s, const json *v, const json *schema)
{
    const json *items = json_get(schema, "items"), *prefix = json_get(schema, "prefixItems"),
               *kinds = json_get(schema, "$contains");
    if (json_is(items, JSON_ARRAY)) {
        prefix = items;
        items = json_get(schema, "additionalItems");
    }
    if (!within((double)json_len(v), schema, "minItems", "maxItems")) return false;
    for (size_t i = 0; i < json_len(v); i++) {
        const json *of = i < json_len(prefix) ? json_at(prefix, i) : items;
        const part p = {.index = i, .value = json_at(v, i)};
        if (of && !schema_holds(s, p.value, of)) return false;
        if (!unevaluated_holds(s, v, schema, &p)) return false;
    }
    if (!contains_holds(s, v, schema)) return false;
    for (size_t i = 0; i < json_len(kinds); i++)
        if (!contains_holds(s, v, json_at(kinds, i))) return false;
    if (!json_bool(json_get(schema, "uniqueItems"), false)) return true;
    for (size_t i = 0; i < json_len(v); i++)
        for (size_t k = 0; k < i; k++)
            if (json_equal(json_at(v, i), json_at(v, k))) return false;
    return true;
}

/* What the presence of a member asks for. */
static bool dependencies_hold(schema_doc *s, const json *v, const json *needs)
{
    for (size_t i = 0; i < json_len(needs); i++) {
        const json_member *m = &needs->o.members[i];
        if (!json_get_str(v, m->key)) continue;
        for (size_t k = 0; json_is(&m->value, JSON_ARRAY) && k < json_len(&m->value); k++)
            if (!json_get_str(v, json_string(json_at(&m->value, k), STR("")))) return false;
        if (!json_is(&m->value, JSON_ARRAY) && !schema_holds(s, v, &m->value)) return false;
    }
    return true;
}

/* Some member has such a name and value. */
static bool some_holds(schema_doc *s, const json *v, const json *some)
{
    for (size_t i = 0; i < json_len(v); i++) {
        const json name = {.type = JSON_STRING, .s = v->o.members[i].key};
        if (schema_holds(s, &name, json_get(some, "keys")) &&
            schema_holds(s, &v->o.members[i].value, json_get(some, "value")))
            return true;
    }
    return false;
}

static bool object_holds(schema_doc *s, const json *v, const json *schema)
{
    static const char *const dependent[] = {"dependentRequired", "dependentSchemas", "dependencies",
                                            NULL};
    const json *required = json_get(schema, "required"), *names = json_get(schema, "propertyNames"),
               *conditions = json_get(schema, "$members"), *some = json_get(schema, "$some"),
               *other = json_get(schema, "$other");
    size_t n = 0; // of two members of a name the last counts
    for (size_t i = 0; i < json_len(v); i++) {
        const json_member *m = &v->o.members[i];
        if (json_get_str(v, m->key) != &m->value) continue;
        n++;
        const json *of = schema_of_member(s, schema, m->key),
                   *condition = json_get_str(conditions, m->key);
        const json name = {.type = JSON_STRING, .s = m->key};
        const part p = {.name = m->key, .value = &m->value};
        if (of && !schema_holds(s, &m->value, of)) return false;
        if (condition && !schema_holds(s, &m->value, condition)) return false;
        if (names && !schema_holds(s, &name, names)) return false;
        if (!unevaluated_holds(s, v, schema, &p)) return false;
    }
    for (const char *const *k = dependent; *k; k++)
        if (!dependencies_hold(s, v, json_get(schema, *k))) return false;
    for (size_t i = 0; i < json_len(some); i++)
        if (!some_holds(s, v, json_at(some, i))) return false;
    if (other && !some_holds(s, v, other)) return false;
    for (size_t i = 0; i < json_len(required); i++)
        if (!json_get_str(v, json_string(json_at(required, i), STR("")))) return false;
    return within((double)n, schema, "minProperties", "maxProperties");
}

static bool combined_holds(schema_doc *s, const json *v, const json *schema)
{
    const json *all = json_get(schema, "allOf"), *any = json_get(schema, "anyOf"),
               *one = json_get(schema, "oneOf"), *not = json_get(schema, "not"),
               *condition = json_get(schema, "if"), *and = json_get(schema, "$and");
    for (size_t i = 0; i < json_len(all) + json_len(and); i++)
        if (!schema_holds(s, v,
                          i < json_len(all) ? json_at(all, i) : json_at(and, i - json_len(all))))
            return false;
    bool some = !any;
    for (size_t i = 0; i < json_len(any) && !some; i++) some = schema_holds(s, v, json_at(any, i));
    size_t ones = 0;
    for (size_t i = 0; i < json_len(one); i++) ones += schema_holds(s, v, json_at(one, i));
    if (!some || (one && ones != 1) || (not &&!denied_fails(s, v, not ))) return false;
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
    const char *key = schema_ref_key(schema);
    const json *ref = key ? json_get(schema, key) : NULL, *type = json_get(schema, "type"),
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
