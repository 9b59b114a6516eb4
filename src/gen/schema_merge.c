/* Intersections and complements of JSON schemas, keyword by keyword. */
#include <stdio.h>
#include <string.h>

#include "gen/schema_doc.h"
#include "gen/schema_number.h"

#define DEEPEST 64 /* both() and negations() inside each other; references in circles end here */

static const json always = {.type = JSON_BOOL, .b = true};
static const json never = {.type = JSON_BOOL, .b = false};

/* Keywords that describe and do not restrict, and the places that references lead to. */
static bool is_note(mltf_str key)
{
    static const char *const notes[] = {"title",         "description", "default",  "examples",
                                        "$comment",      "$defs",       "$schema",  "definitions",
                                        "$id",           "id",          "readOnly", "writeOnly",
                                        "discriminator", "deprecated",  "strict",   "$anchor",
                                        "example",       "name",        NULL};
    for (const char *const *n = notes; *n; n++)
        if (str_is(key, *n)) return true;
    return false;
}

bool schema_restricts(const json *schema)
{
    if (json_is(schema, JSON_BOOL)) return !schema->b;
    for (size_t i = 0; i < json_len(schema); i++)
        if (!is_note(schema->o.members[i].key)) return true;
    return false;
}

const json *schema_resolve(schema_doc *s, mltf_str ref)
{
    if (ref.n == 0 || ref.p[0] != '#') {
        ast_fail(s->b, MLTF_UNSUPPORTED, "\"$ref\": \"" STR_FMT "\" leads out of the schema",
                 STR_ARG(ref));
        return NULL;
    }
    const json *at = s->root;
    size_t i = 1;
    while (at && i < ref.n) {
        char key[256];
        size_t n = 0;
        i++; // the slash
        for (; i < ref.n && ref.p[i] != '/' && n < sizeof key - 1; i++) {
            char c = ref.p[i];
            if (c == '~' && i + 1 < ref.n) c = ref.p[++i] == '1' ? '/' : '~';
            key[n++] = c;
        }
        key[n] = 0;
        if (json_is(at, JSON_ARRAY)) {
            size_t index = 0;
            for (size_t k = 0; k < n && key[k] >= '0' && key[k] <= '9' && index < 100000; k++)
                index = index * 10 + (size_t)(key[k] - '0');
            at = json_at(at, index);
        } else {
            at = json_get_str(at, (mltf_str){key, n});
        }
    }
    if (!at)
        ast_fail(s->b, MLTF_INVALID_INPUT, "\"$ref\": \"" STR_FMT "\" does not lead to a schema",
                 STR_ARG(ref));
    return at;
}

json *schema_without(schema_doc *s, const json *schema, const char *key)
{
    json *out = json_new_object(&s->b->arena);
    for (size_t i = 0; i < json_len(schema); i++)
        if (!str_is(schema->o.members[i].key, key))
            json_set_str(&s->b->arena, out, schema->o.members[i].key, &schema->o.members[i].value);
    return out;
}

json *schema_of(schema_doc *s, const char *key, const json *value)
{
    json *out = json_new_object(&s->b->arena);
    json_set(&s->b->arena, out, key, value);
    return out;
}

bool schema_pattern_matches(schema_doc *s, mltf_str pattern, mltf_str text)
{
    static const gen_trie no_tokens = {.n = 0};
    ast_builder b = {0};
    gen_constraint *c = NULL;
    gen_matcher *m = NULL;
    mltf_err err = {0};
    const size_t root = ast_rule_new(&b);
    ast_rule_set(&b, root, regex_parse(&b, pattern, true));
    mltf_status st = constraint_compile(&c, &no_tokens, &b, root, &err);
    if (!st) st = gen_matcher_new(&m, c, &err);
    const bool yes = !st && gen_matcher_accept_bytes(m, text.p, text.n) && gen_matcher_complete(m);
    gen_matcher_free(m);
    gen_constraint_free(c);
    if (st) ast_fail(s->b, st, "%s", err.msg);
    return yes;
}

/* Both, but later: members are merged when a grammar is made of them, so that objects that hold themselves do not
 * run in circles here. */
static const json *later(schema_doc *s, const json *x, const json *y)
{
    if (!x || (y && json_is(x, JSON_BOOL) && x->b)) return y;
    if (!y || (json_is(y, JSON_BOOL) && y->b)) return x;
    if (json_is(x, JSON_BOOL) || json_is(y, JSON_BOOL)) return &never;
    if (json_equal(x, y)) return x;
    json *all = json_new_array(&s->b->arena);
    json_push(&s->b->arena, all, x);
    json_push(&s->b->arena, all, y);
    return schema_of(s, "allOf", all);
}

/* ---- members of objects -------------------------------------------------------------------- */

const json *schema_of_member(schema_doc *s, const json *schema, mltf_str name)
{
    const json *own = json_get_str(json_get(schema, "properties"), name), *out = own;
    const json *patterns = json_get(schema, "patternProperties");
    for (size_t i = 0; i < json_len(patterns); i++) {
        const json_member *m = &patterns->o.members[i];
        if (!schema_pattern_matches(s, m->key, name)) continue;
        out = later(s, out, &m->value);
    }
    return out ? out : json_get(schema, "additionalProperties");
}

static void merge_members(schema_doc *s, json *out, const json *a, const json *b)
{
    mltf_arena *arena = &s->b->arena;
    const json *of[2] = {a, b};
    json *properties = json_new_object(arena), *patterns = json_new_object(arena);
    const json *rest[2] = {json_get(a, "additionalProperties"),
                           json_get(b, "additionalProperties")};
    for (int k = 0; k < 2; k++) {
        const json *own = json_get(of[k], "properties");
        for (size_t i = 0; i < json_len(own); i++) {
            const mltf_str name = own->o.members[i].key;
            if (json_get_str(properties, name)) continue;
            const json *x = schema_of_member(s, a, name), *y = schema_of_member(s, b, name);
            const json *both = later(s, x, y);
            json_set_str(arena, properties, name, both ? both : &always);
        }
        const json *kinds = json_get(of[k], "patternProperties");
        if (json_len(kinds) && json_len(patterns) && !json_equal(kinds, patterns))
            ast_fail(s->b, MLTF_UNSUPPORTED,
                     "two different \"patternProperties\" for one object are not supported");
        for (size_t i = 0; i < json_len(kinds); i++) { // the other side sees them as additional
            const json_member *m = &kinds->o.members[i];
            const json *both = later(s, &m->value, rest[!k]);
            json_set_str(arena, patterns, m->key, both ? both : &never);
        }
    }
    if (json_get(a, "properties") || json_get(b, "properties"))
        json_set(arena, out, "properties", properties);
    if (json_len(patterns)) json_set(arena, out, "patternProperties", patterns);
    const json *both = later(s, rest[0], rest[1]);
    if (both) json_set(arena, out, "additionalProperties", both);
}

/* ---- items of arrays ----------------------------------------------------------------------- */

static const json *prefix_of(const json *schema)
{
    const json *items = json_get(schema, "items"); // drafts before 2020 have the tuple in it
    return json_is(items, JSON_ARRAY) ? items : json_get(schema, "prefixItems");
}

static const json *further_of(const json *schema)
{
    const json *items = json_get(schema, "items");
    return json_is(items, JSON_ARRAY) ? json_get(schema, "additionalItems") : items;
}

static void merge_items(schema_doc *s, json *out, const json *a, const json *b)
{
    mltf_arena *arena = &s->b->arena;
    const json *pa = prefix_of(a), *pb = prefix_of(b), *fa = further_of(a), *fb = further_of(b);
    const size_t n = json_len(pa) > json_len(pb) ? json_len(pa) : json_len(pb);
    json *prefix = json_new_array(arena);
    for (size_t i = 0; i < n; i++) {
        const json *x = i < json_len(pa) ? json_at(pa, i) : fa,
                   *y = i < json_len(pb) ? json_at(pb, i) : fb;
        const json *both = later(s, x, y);
        json_push(arena, prefix, both ? both : &always);
    }
    json_remove(out, "items");
    json_remove(out, "additionalItems");
    if (n) json_set(arena, out, "prefixItems", prefix);
    const json *both = later(s, fa, fb);
    if (both) json_set(arena, out, "items", both);
}

/* ---- both ---------------------------------------------------------------------------------- */

static bool has_type(const json *types, const char *name)
{
    if (json_is(types, JSON_STRING)) return str_is(types->s, name);
    for (size_t i = 0; i < json_len(types); i++)
        if (str_is(json_string(json_at(types, i), STR("")), name)) return true;
    return false;
}

static const char *const all_types[] = {"object", "array",   "string", "integer",
                                        "number", "boolean", "null",   NULL};

static json *common_types(schema_doc *s, const json *a, const json *b)
{
    json *out = json_new_array(&s->b->arena);
    for (const char *const *t = all_types; *t; t++) {
        const bool integer = strcmp(*t, "integer") == 0;
        const bool in_a = has_type(a, *t) || (integer && has_type(a, "number")),
                   in_b = has_type(b, *t) || (integer && has_type(b, "number"));
        const bool number = has_type(a, "number") && has_type(b, "number");
        if (in_a && in_b && !(integer && number))
            json_push(&s->b->arena, out, json_new_cstr(&s->b->arena, *t));
    }
    return out;
}

static json *joined(schema_doc *s, const json *a, const json *b)
{
    json *out = json_new_array(&s->b->arena);
    for (size_t i = 0; i < json_len(a); i++) json_push(&s->b->arena, out, json_at(a, i));
    for (size_t i = 0; i < json_len(b); i++) json_push(&s->b->arena, out, json_at(b, i));
    return out;
}

/* One keyword that both have. False: nothing satisfies both. */
static bool merge_keyword(schema_doc *s, json *out, mltf_str key, const json *a, const json *b)
{
    static const char *const lower[] = {"minimum",  "exclusiveMinimum", "minLength",
                                        "minItems", "minProperties",    NULL},
                             *const upper[] = {"maximum",  "exclusiveMaximum", "maxLength",
                                               "maxItems", "maxProperties",    NULL};
    mltf_arena *arena = &s->b->arena;
    if (json_equal(a, b)) return true;
    for (int i = 0; lower[i]; i++) {
        const bool low = str_is(key, lower[i]);
        if (!low && !str_is(key, upper[i])) continue;
        const bool b_is_less = json_double(b, 0) < json_double(a, 0);
        json_set_str(arena, out, key, b_is_less == low ? a : b);
        return true;
    }
    if (str_is(key, "multipleOf")) {
        const double step = schema_common_multiple(json_double(a, 0), json_double(b, 0));
        if (!(step > 0))
            ast_fail(s->b, MLTF_UNSUPPORTED,
                     "two \"multipleOf\" for one value have no common multiple of up to 15 digits");
        json_set_str(arena, out, key, json_new_double(arena, step));
        return true;
    }
    if (str_is(key, "type")) {
        const json *types = common_types(s, a, b);
        json_set_str(arena, out, key, types);
        return json_len(types) > 0;
    }
    if (str_is(key, "required") || str_is(key, "$except") || str_is(key, "$notMultiples")) {
        json_set_str(arena, out, key, joined(s, a, b));
        return true;
    }
    if (str_is(key, "enum")) {
        json *common = json_new_array(arena);
        for (size_t i = 0; i < json_len(a); i++)
            for (size_t k = 0; k < json_len(b); k++)
                if (json_equal(json_at(a, i), json_at(b, k))) {
                    json_push(arena, common, json_at(a, i));
                    break;
                }
        json_set_str(arena, out, key, common);
        return json_len(common) > 0;
    }
    if (str_is(key, "const")) return false;
    if (str_is(key, "anyOf")) { // every pair
        json *pairs = json_new_array(arena);
        if (json_len(a) * json_len(b) > 64)
            ast_fail(s->b, MLTF_UNSUPPORTED,
                     "two \"anyOf\" with %zu and %zu alternatives for one value are too many",
                     json_len(a), json_len(b));
        for (size_t i = 0; i < json_len(a) && ast_ok(s->b); i++)
            for (size_t k = 0; k < json_len(b); k++) {
                const json *both = schema_both(s, json_at(a, i), json_at(b, k));
                if (both && !(json_is(both, JSON_BOOL) && !both->b)) json_push(arena, pairs, both);
            }
        json_set_str(arena, out, key, pairs);
        return json_len(pairs) > 0;
    }
    if (str_is(key, "not")) { // neither
        json *either = json_new_array(arena);
        json_push(arena, either, a);
        json_push(arena, either, b);
        json_set_str(arena, out, key, schema_of(s, "anyOf", either));
        return true;
    }
    if (str_is(key, "uniqueItems") || str_is(key, "nullable")) {
        const bool unique = str_is(key, "uniqueItems");
        json_set_str(arena, out, key, json_new_bool(arena, unique));
        return true;
    }
    ast_fail(s->b, MLTF_UNSUPPORTED,
             "two different \"" STR_FMT "\" for one value are not supported", STR_ARG(key));
    return true;
}

/* Keywords that are merged together with others. */
static bool is_joint(mltf_str key)
{
    static const char *const keys[] = {"properties", "patternProperties", "additionalProperties",
                                       "items",      "prefixItems",       "additionalItems",
                                       NULL};
    for (const char *const *k = keys; *k; k++)
        if (str_is(key, *k)) return true;
    return false;
}

const json *schema_part(schema_doc *s, const json *schema)
{
    const json *rest = json_get(schema, "unevaluatedProperties");
    if (!rest || json_get(schema, "$ref") || json_get(schema, "allOf")) return schema;
    json *out = schema_without(s, schema, "unevaluatedProperties");
    if (!json_get(schema, "additionalProperties"))
        json_set(&s->b->arena, out, "additionalProperties", rest);
    return out;
}

/* Neither $ref nor allOf at the top: those are put in their place. */
static const json *flat(schema_doc *s, const json *schema)
{
    const json *ref = json_get(schema, "$ref"), *all = json_get(schema, "allOf");
    if (json_is(ref, JSON_STRING)) {
        const json *to = schema_resolve(s, ref->s), *rest = schema_without(s, schema, "$ref");
        if (!to) return NULL;
        return schema_restricts(rest) ? schema_both(s, schema_part(s, to), rest) : flat(s, to);
    }
    if (!all) return schema;
    const json *out = json_len(all) ? schema_part(s, json_at(all, 0)) : &always;
    for (size_t i = 1; i < json_len(all) && out; i++)
        out = schema_both(s, out, schema_part(s, json_at(all, i)));
    return out ? schema_both(s, out, schema_without(s, schema, "allOf")) : NULL;
}

static const json *both_flat(schema_doc *s, const json *a, const json *b)
{
    mltf_arena *arena = &s->b->arena;
    if (json_is(a, JSON_BOOL)) return a->b ? b : a;
    if (json_is(b, JSON_BOOL)) return b->b ? a : b;
    if (!schema_restricts(a)) return b;
    if (!schema_restricts(b)) return a;
    json *out = json_new_object(arena);
    bool possible = true;
    for (size_t i = 0; i < json_len(a); i++)
        if (!is_joint(a->o.members[i].key))
            json_set_str(arena, out, a->o.members[i].key, &a->o.members[i].value);
    for (size_t i = 0; i < json_len(b) && ast_ok(s->b); i++) {
        const json_member *m = &b->o.members[i];
        if (is_joint(m->key) || is_note(m->key)) continue;
        const json *mine = json_get_str(a, m->key);
        if (mine)
            possible &= merge_keyword(s, out, m->key, mine, &m->value);
        else
            json_set_str(arena, out, m->key, &m->value);
    }
    const bool conditional = (json_get(a, "if") && json_get(b, "if")) ||
                             (json_get(a, "if") && (json_get(b, "then") || json_get(b, "else")));
    if (conditional) ast_fail(s->b, MLTF_UNSUPPORTED, "two \"if\" for one value are not supported");
    merge_members(s, out, a, b);
    merge_items(s, out, a, b);
    return possible ? out : &never;
}

const json *schema_both(schema_doc *s, const json *a, const json *b)
{
    const json *out = NULL;
    if (!ast_ok(s->b)) return NULL;
    if (++s->depth > DEEPEST)
        ast_fail(s->b, MLTF_UNSUPPORTED, "the schema's references go in circles, or too deep");
    else if ((a = flat(s, a)) && (b = flat(s, b)) && ast_ok(s->b))
        out = both_flat(s, a, b);
    s->depth--;
    return out;
}

/* ---- complements --------------------------------------------------------------------------- */

static void deny(schema_doc *s, json *list, const char *type, const char *key, const json *value)
{
    json *d = json_new_object(&s->b->arena);
    if (type) json_set(&s->b->arena, d, "type", json_new_cstr(&s->b->arena, type));
    if (key) json_set(&s->b->arena, d, key, value);
    json_push(&s->b->arena, list, d);
}

static void deny_type(schema_doc *s, json *list, const json *types)
{
    mltf_arena *arena = &s->b->arena;
    json *others = json_new_array(arena);
    for (const char *const *t = all_types; *t; t++) {
        const bool numeric = strcmp(*t, "integer") == 0 || strcmp(*t, "number") == 0;
        // some numbers are integers: without one of the two the other goes as well
        if (numeric ? !has_type(types, "number") && !has_type(types, "integer")
                    : !has_type(types, *t))
            json_push(arena, others, json_new_cstr(arena, *t));
    }
    if (json_len(others)) json_push(arena, list, schema_of(s, "type", others));
}

static void deny_members(schema_doc *s, json *list, const json *properties)
{
    mltf_arena *arena = &s->b->arena;
    for (size_t i = 0; i < json_len(properties); i++) {
        const json_member *m = &properties->o.members[i];
        const json *not = schema_negations(s, &m->value);
        for (size_t k = 0; k < json_len(not ); k++) {
            json *members = json_new_object(arena), *names = json_new_array(arena),
                 *d = json_new_object(arena);
            json_set_str(arena, members, m->key, json_at(not, k));
            json_push(arena, names, json_new_string(arena, m->key));
            json_set(arena, d, "type", json_new_cstr(arena, "object"));
            json_set(arena, d, "properties", members);
            json_set(arena, d, "required", names);
            json_push(arena, list, d);
        }
    }
}

static void deny_required(schema_doc *s, json *list, const json *names)
{
    mltf_arena *arena = &s->b->arena;
    for (size_t i = 0; i < json_len(names); i++) {
        json *members = json_new_object(arena);
        json_set_str(arena, members, json_string(json_at(names, i), STR("")), &never);
        deny(s, list, "object", "properties", members);
    }
}

/* None of the alternatives: one negation of each, in all combinations. */
static const json *deny_all(schema_doc *s, const json *alternatives)
{
    mltf_arena *arena = &s->b->arena;
    json *list = json_new_array(arena);
    json_push(arena, list, &always);
    for (size_t i = 0; i < json_len(alternatives) && ast_ok(s->b); i++) {
        const json *not = schema_negations(s, json_at(alternatives, i));
        json *next = json_new_array(arena);
        for (size_t k = 0; k < json_len(list) * json_len(not ) && k < 256; k++) {
            const json *both =
                schema_both(s, json_at(list, k / json_len(not )), json_at(not, k % json_len(not )));
            if (both && !(json_is(both, JSON_BOOL) && !both->b)) json_push(arena, next, both);
        }
        list = next;
    }
    return list;
}

static void deny_bounds(schema_doc *s, json *list, const json *schema)
{
    static const char *const opposite[][3] = {
        {"minimum", "exclusiveMaximum", "number"}, {"maximum", "exclusiveMinimum", "number"},
        {"exclusiveMinimum", "maximum", "number"}, {"exclusiveMaximum", "minimum", "number"},
        {"minLength", "maxLength", "string"},      {"maxLength", "minLength", "string"},
        {"minItems", "maxItems", "array"},         {"maxItems", "minItems", "array"}};
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
}

const json *schema_negations(schema_doc *s, const json *schema)
{
    mltf_arena *arena = &s->b->arena;
    json *list = json_new_array(arena);
    if (!ast_ok(s->b)) return list;
    if (++s->depth > DEEPEST) {
        ast_fail(s->b, MLTF_UNSUPPORTED, "the schema's references go in circles, or too deep");
        return list;
    }
    schema = flat(s, schema);
    if (json_is(schema, JSON_BOOL) && !schema->b) json_push(arena, list, &always);
    if (json_is(schema, JSON_OBJECT)) {
        const json *any = json_get(schema, "anyOf"), *value = json_get(schema, "const"),
                   *not = json_get(schema, "not");
        if (json_get(schema, "type")) deny_type(s, list, json_get(schema, "type"));
        if (value) {
            json *one = json_new_array(arena);
            json_push(arena, one, value);
            deny(s, list, NULL, "$except", one);
        }
        if (json_get(schema, "enum")) deny(s, list, NULL, "$except", json_get(schema, "enum"));
        deny_bounds(s, list, schema);
        deny_members(s, list, json_get(schema, "properties"));
        deny_required(s, list, json_get(schema, "required"));
        if (not ) json_push(arena, list, not );
        if (any) {
            const json *none = deny_all(s, any);
            for (size_t i = 0; i < json_len(none); i++) json_push(arena, list, json_at(none, i));
        }
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
    const bool closed =
        json_is(more, JSON_BOOL) ? !more->b : !more && json_len(json_get(a, "properties"));
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
    if (!ast_ok(s->b) || ++s->depth > DEEPEST) return false;
    bool out = false;
    a = flat(s, a);
    b = flat(s, b);
    if (json_is(a, JSON_BOOL) || json_is(b, JSON_BOOL)) {
        out = (json_is(a, JSON_BOOL) && !a->b) || (json_is(b, JSON_BOOL) && !b->b);
    } else if (a && b) {
        const json *ta = json_get(a, "type"), *tb = json_get(b, "type"),
                   *values = json_get(a, "enum"), *value = json_get(a, "const"),
                   *any = json_get(a, "anyOf");
        if (!any) any = json_get(a, "oneOf");
        if (ta && tb && json_len(common_types(s, ta, tb)) == 0) out = true;
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
