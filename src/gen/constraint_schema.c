/* JSON schema -> grammar over the bytes of JSON text: what is said about a value in several places is brought into one
 * schema (schema_doc.h) whose type then has its grammar (schema_grammar.h). Each schema object becomes a rule, so
 * $ref may recurse. */
#include <string.h>

#include "gen/schema_grammar.h"
#include "gen/schema_number.h"

static size_t rule_of(schema_builder *s, const json *schema)
{
    const size_t r = ast_rule_new(s->b);
    if (s->n_seen >= SCHEMA_RULES)
        ast_fail(s->b, MLTF_UNSUPPORTED, "the schema's parts combine in more than %u ways",
                 SCHEMA_RULES);
    if (!ARENA_RESERVE(&s->b->arena, s->seen, s->cap_seen, s->n_seen + 1)) {
        mltf_fail_memory(&s->b->err);
        return 0;
    }
    s->seen[s->n_seen++] = (schema_rule){schema, r};
    return r;
}

uint32_t schema_bound(schema_builder *s, const json *schema, const char *key, uint32_t fallback)
{
    const json *v = json_get(schema, key);
    if (!v) return fallback;
    const int64_t n = json_int(v, -1);
    if (n < 0)
        ast_fail(s->b, MLTF_INVALID_INPUT, "\"%s\" in the schema has to be a non-negative integer",
                 key);
    return n < 0 ? 0 : n > 1000000 ? 1000000 : (uint32_t)n;
}

/* ---- schemas ------------------------------------------------------------------------------- */

/* Are booleans and null among what is not meant? */
static bool is_excepted(const json *schema, const json *value)
{
    const json *except = json_get(schema, "$except");
    for (size_t i = 0; i < json_len(except); i++)
        if (json_at(except, i)->type == value->type && json_equal(json_at(except, i), value))
            return true;
    return false;
}

static ast *of_literals(schema_builder *s, const json *schema, bool boolean)
{
    static const json values[] = {
        {.type = JSON_BOOL, .b = true}, {.type = JSON_BOOL, .b = false}, {.type = JSON_NULL}};
    ast *alt = ast_alt(s->b);
    for (int i = boolean ? 0 : 2; i < (boolean ? 2 : 3); i++)
        if (!is_excepted(schema, &values[i])) ast_add(s->b, alt, grammar_constant(s, &values[i]));
    return alt && alt->n ? alt : ast_nothing(s->b);
}

static ast *of_type(schema_builder *s, const json *schema, mltf_str type)
{
    ast_builder *b = s->b;
    if (str_is(type, "object")) return schema_object(s, schema);
    if (str_is(type, "array")) return schema_array(s, schema);
    if (str_is(type, "string")) return schema_string(s, schema);
    if (str_is(type, "boolean")) return of_literals(s, schema, true);
    if (str_is(type, "null")) return of_literals(s, schema, false);
    if (str_is(type, "integer")) return schema_integer(b, schema);
    if (str_is(type, "number")) return schema_number(b, schema);
    ast_fail(b, MLTF_INVALID_INPUT, "\"type\": \"" STR_FMT "\" is no type of JSON schema",
             STR_ARG(type));
    return NULL;
}

/* The type that keywords without "type" speak of. Values of other types would satisfy them too; nobody means them. */
static const char *implied_type(const json *schema)
{
    static const char *const table[][2] = {
        {"properties", "object"},
        {"required", "object"},
        {"additionalProperties", "object"},
        {"patternProperties", "object"},
        {"minProperties", "object"},
        {"maxProperties", "object"},
        {"propertyNames", "object"},
        {"unevaluatedProperties", "object"},
        {"$members", "object"},
        {"$shapes", "object"},
        {"$other", "object"},
        {"items", "array"},
        {"prefixItems", "array"},
        {"minItems", "array"},
        {"maxItems", "array"},
        {"uniqueItems", "array"},
        {"contains", "array"},
        {"$contains", "array"},
        {"additionalItems", "array"},
        {"unevaluatedItems", "array"},
        {"pattern", "string"},
        {"minLength", "string"},
        {"maxLength", "string"},
        {"format", "string"},
        {"$alsoText", "string"},
        {"$notText", "string"},
        {"minimum", "number"},
        {"maximum", "number"},
        {"exclusiveMinimum", "number"},
        {"exclusiveMaximum", "number"},
        {"multipleOf", "number"},
        {"$notMultiples", "number"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (json_get(schema, table[i][0])) return table[i][1];
    return NULL;
}

static const json *both(schema_builder *s, const json *a, const json *b)
{
    return schema_both(&s->doc, a, b);
}

/* `schema` and one of its parts. */
static const json *with_part(schema_builder *s, const json *schema, const json *part)
{
    return both(s, schema, schema_part(&s->doc, part));
}

/* Values that satisfy `schema` and one of the alternatives. */
static ast *of_each(schema_builder *s, const json *schema, const json *alternatives)
{
    ast *alt = ast_alt(s->b);
    for (size_t i = 0; i < json_len(alternatives) && ast_ok(s->b); i++) {
        const json *merged = with_part(s, schema, json_at(alternatives, i));
        if (merged) ast_add(s->b, alt, schema_values(s, merged));
    }
    return alt && alt->n ? alt : ast_nothing(s->b);
}

/* Ways not to satisfy a schema, for values that satisfy `schema`. Where that speaks of what is left unevaluated, a way
 * must not count as an evaluation, so those that speak of parts are left out. */
static const json *negations_for(schema_builder *s, const json *schema, const json * not )
{
    static const char *const evaluating[] = {"properties",
                                             "patternProperties",
                                             "additionalProperties",
                                             "$shapes",
                                             "prefixItems",
                                             "items",
                                             "contains",
                                             "anyOf",
                                             "oneOf",
                                             "allOf",
                                             "$and",
                                             "if",
                                             "$ref",
                                             "$dynamicRef",
                                             "$recursiveRef",
                                             "dependentSchemas",
                                             NULL};
    const json *all = schema_negations(&s->doc, not );
    if (!json_get(schema, "unevaluatedProperties") && !json_get(schema, "unevaluatedItems"))
        return all;
    json *out = json_new_array(&s->b->arena);
    for (size_t i = 0; i < json_len(all); i++) {
        bool silent = true;
        for (const char *const *k = evaluating; *k; k++) silent &= !json_get(json_at(all, i), *k);
        if (silent) json_push(&s->b->arena, out, json_at(all, i));
        s->doc.partial |= !silent;
    }
    return out;
}

/* What of `merged` does not satisfy `not`, one schema a way; `schema` is what it is a part of. Formats count as denied
 * only where nothing else is left to deny: to validators that do not check them any text has any format. NULL: there
 * may be ways, but none that is understood. */
static json *apart_from(schema_builder *s, const json *schema, const json *merged,
                        const json * not )
{
    json *apart = json_new_array(&s->b->arena);
    for (int formats = 0; formats < 2 && json_len(apart) == 0; formats++) {
        s->doc.deny_formats = formats;
        s->doc.partial = false;
        const json *others = negations_for(s, schema, not );
        for (size_t i = 0; i < json_len(others); i++) {
            const json *way = both(s, merged, schema_part(&s->doc, json_at(others, i)));
            if (way && !(json_is(way, JSON_BOOL) && !way->b)) json_push(&s->b->arena, apart, way);
        }
        s->doc.deny_formats = false;
        if (!s->doc.partial) return apart;
    }
    return json_len(apart) ? apart : NULL;
}

/* Values that satisfy `schema` and do not satisfy `not`. */
static ast *of_difference(schema_builder *s, const json *schema, const json * not )
{
    const json *apart = apart_from(s, schema, schema, not );
    if (!apart)
        ast_fail(s->b, MLTF_UNSUPPORTED,
                 "\"not\" is not supported of uniqueItems and unevaluatedItems or "
                 "unevaluatedProperties alone");
    ast *alt = ast_alt(s->b);
    for (size_t i = 0; i < json_len(apart) && ast_ok(s->b); i++)
        ast_add(s->b, alt, schema_values(s, json_at(apart, i)));
    return alt && alt->n ? alt : ast_nothing(s->b);
}

/* Some member has such a name and value: one that is declared, or one of the others. */
static ast *of_some(schema_builder *s, const json *schema, const json *some)
{
    mltf_arena *a = &s->b->arena;
    const json *keys = json_get(some, "keys"), *value = json_get(some, "value"),
               *own = json_get(schema, "properties"), *required = json_get(schema, "required");
    json *alternatives = json_new_array(a);
    for (size_t i = 0; i < json_len(own) + json_len(required); i++) {
        const mltf_str name = i < json_len(own)
                                  ? own->o.members[i].key
                                  : json_string(json_at(required, i - json_len(own)), STR(""));
        const json text = {.type = JSON_STRING, .s = name};
        if (!schema_holds(&s->doc, &text, keys)) continue;
        json *members = json_new_object(a), *names = json_new_array(a), *one = json_new_object(a);
        json_set_str(a, members, name, value);
        json_push(a, names, &text);
        json_set(a, one, "$members", members);
        json_set(a, one, "required", names);
        json_push(a, alternatives, one);
    }
    json_push(a, alternatives, schema_of(&s->doc, "$other", some));
    return of_each(s, schema, alternatives);
}

/* The last element of a list, which the schema then has no more. */
static const json *taken(schema_builder *s, json *schema, const char *key)
{
    const json *list = json_get(schema, key);
    json *rest = json_new_array(&s->b->arena);
    for (size_t i = 0; i + 1 < json_len(list); i++) json_push(&s->b->arena, rest, json_at(list, i));
    const json *last = json_at(list, json_len(list) - 1);
    if (json_len(rest))
        json_set(&s->b->arena, schema, key, rest);
    else
        json_remove(schema, key);
    return last;
}

/* Exactly one: each alternative without the values of all others. */
static ast *of_one(schema_builder *s, const json *schema, const json *one)
{
    static const json never = {.type = JSON_BOOL, .b = false};
    ast_builder *b = s->b;
    ast *alt = ast_alt(b);
    for (size_t i = 0; i < json_len(one) && ast_ok(b); i++) {
        const json *merged = with_part(s, schema, json_at(one, i));
        for (size_t k = 0; k < json_len(one) && ast_ok(b); k++) {
            if (k == i || (json_is(merged, JSON_BOOL) && !merged->b)) continue;
            if (schema_excludes(&s->doc, merged, json_at(one, k))) continue;
            const json *apart = apart_from(s, schema, merged, json_at(one, k));
            if (!apart)
                ast_fail(b, MLTF_UNSUPPORTED,
                         "alternatives %zu and %zu of \"oneOf\" may hold for the same value, and "
                         "what tells them apart is not understood; \"anyOf\" has no such rule",
                         i, k);
            merged = json_len(apart) > 1    ? schema_of(&s->doc, "anyOf", apart)
                     : json_len(apart) == 1 ? json_at(apart, 0)
                                            : &never;
        }
        if (merged) ast_add(b, alt, schema_values(s, merged));
    }
    return alt && alt->n ? alt : ast_nothing(b);
}

/* if, then, else: what satisfies both if and then, and what satisfies else alone. Where `if` cannot be denied, the
 * first of the two. */
static ast *of_condition(schema_builder *s, const json *schema)
{
    static const json any = {.type = JSON_BOOL, .b = true};
    const json *condition = json_get(schema, "if"), *then = json_get(schema, "then"),
               *otherwise = json_get(schema, "else");
    const json *rest = schema_without(&s->doc, schema, "if");
    rest = schema_without(&s->doc, schema_without(&s->doc, rest, "then"), "else");
    const json *yes = with_part(s, with_part(s, rest, condition), then ? then : &any);
    const json *no = with_part(s, rest, otherwise ? otherwise : &any);
    ast *alt = ast_alt(s->b);
    if (yes) ast_add(s->b, alt, schema_values(s, yes));
    if (no) ast_add(s->b, alt, of_each(s, no, negations_for(s, no, condition)));
    return alt;
}

/* dependentRequired, dependentSchemas and the older dependencies: without the member, or with what it asks for. */
static ast *of_dependencies(schema_builder *s, const json *schema, const char *key)
{
    mltf_arena *a = &s->b->arena;
    static const json none = {.type = JSON_BOOL, .b = false};
    const json *needs = json_get(schema, key), *rest = schema_without(&s->doc, schema, key);
    for (size_t i = 0; i < json_len(needs) && rest; i++) {
        const json_member *m = &needs->o.members[i];
        json *alternatives = json_new_array(a), *absent = json_new_object(a),
             *present = json_new_array(a);
        json_set_str(a, absent, m->key, &none);
        json_push(a, alternatives, schema_of(&s->doc, "$members", absent));
        json_push(a, present, json_new_string(a, m->key));
        for (size_t k = 0; json_is(&m->value, JSON_ARRAY) && k < json_len(&m->value); k++)
            json_push(a, present, json_at(&m->value, k));
        const json *with = schema_of(&s->doc, "required", present);
        if (!json_is(&m->value, JSON_ARRAY)) with = both(s, with, &m->value);
        json_push(a, alternatives, with);
        rest = both(s, rest, schema_of(&s->doc, "anyOf", alternatives));
    }
    return rest ? schema_values(s, rest) : NULL;
}

/* Of the values that a schema lists those that satisfy all else it says. */
static ast *of_values(schema_builder *s, const json *schema, const json *values)
{
    ast *alt = ast_alt(s->b);
    // that a value is among them need not be asked of each: there may be very many
    if (values == json_get(schema, "enum")) schema = schema_without(&s->doc, schema, "enum");
    for (size_t i = 0; i < json_len(values); i++)
        if (schema_holds(&s->doc, json_at(values, i), schema))
            ast_add(s->b, alt, grammar_constant(s, json_at(values, i)));
    return alt && alt->n ? alt : ast_nothing(s->b);
}

/* A schema that says everything once: no alternatives left. */
static ast *of_plain(schema_builder *s, const json *schema)
{
    ast_builder *b = s->b;
    const json *type = json_get(schema, "type");
    const char *implied = implied_type(schema);
    ast *alt = NULL;
    if (json_is(type, JSON_ARRAY)) {
        alt = ast_alt(b);
        for (size_t i = 0; i < json_len(type); i++)
            ast_add(b, alt, of_type(s, schema, json_string(json_at(type, i), STR(""))));
        if (!json_len(type)) alt = ast_nothing(b);
    } else if (type) {
        alt = of_type(s, schema, json_string(type, STR("?")));
    } else if (implied) {
        alt = of_type(s, schema, str_from(implied));
    } else if (json_get(schema, "$except")) {
        alt = of_type(s, schema, STR("string"));
    } else {
        alt = grammar_any_value(s);
    }
    // OpenAPI's way to say type or null
    if (json_bool(json_get(schema, "nullable"), false)) alt = ast_or(b, alt, ast_lit(b, "null"));
    return alt;
}

static ast *body_of(schema_builder *s, const json *schema)
{
    ast_builder *b = s->b;
    static const json any = {.type = JSON_BOOL, .b = true};
    if (json_is(schema, JSON_BOOL)) return schema->b ? grammar_any_value(s) : ast_nothing(b);
    const char *ref = schema_ref_key(schema);
    const json *value = json_get(schema, "const");
    if (ref) {
        const json *to = schema_resolve(&s->doc, json_get(schema, ref)->s);
        const json *beside = schema_without(&s->doc, schema, ref);
        // with nothing beside the reference the rule of its target is used, so that it may recurse
        const json *merged = to && schema_restricts(beside) ? with_part(s, beside, to) : to;
        return merged ? schema_values(s, merged) : NULL;
    }
    if (json_get(schema, "allOf")) {
        const json *merged = both(s, schema, &any);
        return merged ? schema_values(s, merged) : NULL;
    }
    if (value) {
        json *one = json_new_array(&b->arena);
        json_push(&b->arena, one, value);
        return of_values(s, schema, one);
    }
    if (json_get(schema, "enum")) return of_values(s, schema, json_get(schema, "enum"));
    static const char *const dependent[] = {"dependentRequired", "dependentSchemas", "dependencies",
                                            NULL};
    for (const char *const *k = dependent; *k; k++)
        if (json_get(schema, *k)) return of_dependencies(s, schema, *k);
    if (json_get(schema, "if")) return of_condition(s, schema);
    if (json_get(schema, "not"))
        return of_difference(s, schema_without(&s->doc, schema, "not"), json_get(schema, "not"));
    if (json_get(schema, "anyOf"))
        return of_each(s, schema_without(&s->doc, schema, "anyOf"), json_get(schema, "anyOf"));
    if (json_get(schema, "oneOf"))
        return of_one(s, schema_without(&s->doc, schema, "oneOf"), json_get(schema, "oneOf"));
    json *rest = schema_without(&s->doc, schema, "");
    if (json_len(json_get(schema, "$some"))) {
        const json *some = taken(s, rest, "$some");
        return of_some(s, rest, some);
    }
    if (json_len(json_get(
            schema, "$and"))) { // nothing else is left that its parts could not be merged with
        const json *part = taken(s, rest, "$and");
        const json *merged = with_part(s, rest, part);
        return merged ? schema_values(s, merged) : NULL;
    }
    return of_plain(s, schema);
}

ast *schema_values(schema_builder *s, const json *schema)
{
    if (!ast_ok(s->b)) return NULL;
    for (size_t i = 0; i < s->n_seen; i++)
        if (schema_is_same(s->seen[i].schema, schema)) return ast_call(s->b, s->seen[i].rule);
    if (++s->depth > 300) {
        ast_fail(s->b, MLTF_UNSUPPORTED, "the schema is nested too deeply");
        return NULL;
    }
    const size_t rule = rule_of(s, schema);
    ast *body = body_of(s, schema);
    ast_rule_set(s->b, rule, body);
    s->depth--;
    return ast_call(s->b, rule);
}

mltf_status gen_constraint_json_schema(gen_constraint **out, const gen_trie *trie,
                                       const json *schema, mltf_err *err)
{
    ast_builder b = {0};
    schema_builder s = {.doc = {.b = &b, .root = schema}, .b = &b};
    const size_t root = ast_rule_new(&b);
    if (schema_is_sound(&s.doc))
        ast_rule_set(&b, root, ast_cat(&b, grammar_ws(&s), schema_values(&s, schema)));
    return constraint_compile(out, trie, &b, root, err);
}

static mltf_status any_json_object(gen_constraint **out, const gen_trie *trie, mltf_err *err)
{
    ast_builder b = {0};
    schema_builder s = {.doc = {.b = &b}, .b = &b};
    const size_t root = ast_rule_new(&b);
    ast_rule_set(&b, root, ast_cat(&b, grammar_ws(&s), grammar_any_object(&s)));
    return constraint_compile(out, trie, &b, root, err);
}

mltf_status gen_constraint_response_format(gen_constraint **out, const gen_trie *trie,
                                           const json *format, mltf_err *err)
{
    *out = NULL;
    if (!format || json_is(format, JSON_NULL)) return MLTF_OK;
    const mltf_str type = json_string(json_get(format, "type"), STR(""));
    if (str_is(type, "text")) return MLTF_OK;
    if (str_is(type, "json_object")) {
        const json *schema = json_get(format, "schema"); // as some servers take it
        return schema ? gen_constraint_json_schema(out, trie, schema, err)
                      : any_json_object(out, trie, err);
    }
    if (str_is(type, "json_schema")) {
        const json *holder = json_get(format, "json_schema"), *schema = json_get(holder, "schema");
        if (!schema)
            return mltf_fail(
                err, MLTF_INVALID_INPUT,
                "response_format of type \"json_schema\" needs \"json_schema\": {\"schema\": …}");
        return gen_constraint_json_schema(out, trie, schema, err);
    }
    const json *pattern = json_get(format, "pattern"), *grammar = json_get(format, "grammar");
    if (str_is(type, "regex") && json_is(pattern, JSON_STRING))
        return gen_constraint_regex(out, trie, pattern->s, err);
    if (str_is(type, "grammar") && json_is(grammar, JSON_STRING))
        return gen_constraint_grammar(out, trie, grammar->s, err);
    if (str_is(type, "regex") || str_is(type, "grammar"))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "response_format of type \"" STR_FMT "\" needs \"%s\", a text",
                         STR_ARG(type), str_is(type, "regex") ? "pattern" : "grammar");
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "response_format type \"" STR_FMT
                     "\" is none of text, json_object, json_schema, regex (with \"pattern\") and "
                     "grammar (with \"grammar\")",
                     STR_ARG(type));
}
