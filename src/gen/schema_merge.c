/* Intersections of JSON schemas, keyword by keyword. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen/schema_doc.h"
#include "base/ascii.h"
#include "gen/schema_number.h"

static const json always = {.type = JSON_BOOL, .b = true};
static const json never = {.type = JSON_BOOL, .b = false};

/* Keywords that describe and do not restrict, and the places that references lead to. */
static bool is_note(mltf_str key)
{
    static const char *const notes[] = {
        "title",         "description", "default", "examples", "$comment",       "$defs",
        "$schema",       "definitions", "$id",     "id",       "readOnly",       "writeOnly",
        "discriminator", "deprecated",  "strict",  "$anchor",  "$dynamicAnchor", "$recursiveAnchor",
        "$vocabulary",   "example",     "name",    NULL};
    for (const char *const *n = notes; *n; n++)
        if (str_is(key, *n)) return true;
    return false;
}

bool schema_is_own_keyword(mltf_str key)
{
    static const char *const own[] = {"$except",   "$notMultiples", "$alsoText", "$notText",
                                      "$contains", "$members",      "$shapes",   "$some",
                                      "$other",    "$and",          NULL};
    for (const char *const *k = own; *k; k++)
        if (str_is(key, *k)) return true;
    return false;
}

bool schema_restricts(const json *schema)
{
    if (json_is(schema, JSON_BOOL)) return !schema->b;
    for (size_t i = 0; i < json_len(schema); i++)
        if (!is_note(schema->o.members[i].key)) return true;
    return false;
}

const char *schema_ref_key(const json *schema)
{
    static const char *const keys[] = {"$ref", "$dynamicRef", "$recursiveRef", NULL};
    for (const char *const *k = keys; *k; k++)
        if (json_is(json_get(schema, *k), JSON_STRING)) return *k;
    return NULL;
}

/* The schemas below `at` with this $anchor or $dynamicAnchor: the last of them, and how many there are. */
static const json *anchored(const json *at, mltf_str name, size_t *n, int depth)
{
    const json *found = NULL;
    static const char *const keys[] = {"$anchor", "$dynamicAnchor", NULL};
    for (const char *const *k = keys; *k; k++)
        if (str_eq(json_string(json_get(at, *k), STR("")), name)) {
            found = at;
            ++*n;
        }
    for (size_t i = 0; i < json_len(at) && depth < 200; i++) {
        const json *below = json_is(at, JSON_OBJECT) ? &at->o.members[i].value : json_at(at, i);
        const json *it = anchored(below, name, n, depth + 1);
        if (it) found = it;
    }
    return found;
}

/* One step of a JSON pointer behind ref.p[*i], which is a slash: ~0, ~1 and %20 are characters. */
static size_t pointer_key(char *key, size_t size, mltf_str ref, size_t *i)
{
    size_t n = 0;
    for (++*i; *i < ref.n && ref.p[*i] != '/' && n < size; ++*i) {
        char c = ref.p[*i];
        const int high = *i + 2 < ref.n ? ascii_hex(ref.p[*i + 1]) : -1,
                  low = *i + 2 < ref.n ? ascii_hex(ref.p[*i + 2]) : -1;
        if (c == '~' && *i + 1 < ref.n) {
            c = ref.p[++*i] == '1' ? '/' : '~';
        } else if (c == '%' && high >= 0 && low >= 0) {
            c = (char)(high << 4 | low);
            *i += 2;
        }
        key[n++] = c;
    }
    return n;
}

const json *schema_resolve(schema_doc *s, mltf_str ref)
{
    const mltf_str whole = ref, id = json_string(json_get(s->root, "$id"), STR(""));
    if (id.n && ref.n >= id.n && memcmp(ref.p, id.p, id.n) == 0 &&
        (ref.n == id.n || ref.p[id.n] == '#')) // the document by its own name
        ref = ref.n == id.n ? STR("#") : (mltf_str){ref.p + id.n, ref.n - id.n};
    if (ref.n == 0 || ref.p[0] != '#') {
        ast_fail(s->b, MLTF_UNSUPPORTED, "\"$ref\": \"" STR_FMT "\" leads out of the schema",
                 STR_ARG(whole));
        return NULL;
    }
    const json *at = s->root;
    size_t i = 1, n_anchors = 0;
    if (ref.n > 1 && ref.p[1] != '/') {
        at = anchored(s->root, (mltf_str){ref.p + 1, ref.n - 1}, &n_anchors, 0);
        i = ref.n;
        if (n_anchors > 1)
            ast_fail(s->b, MLTF_UNSUPPORTED,
                     "\"$ref\": \"" STR_FMT "\" names %zu places of the schema", STR_ARG(whole),
                     n_anchors);
    }
    while (at && i < ref.n) {
        char key[256];
        const size_t n = pointer_key(key, sizeof key - 1, ref, &i);
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
                 STR_ARG(whole));
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

static json *schema_copy(schema_doc *s, const json *schema)
{
    return schema_without(s, schema, "");
}

static json *schema_of_str(schema_doc *s, mltf_str key, const json *value)
{
    json *out = json_new_object(&s->b->arena);
    json_set_str(&s->b->arena, out, key, value);
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

static json *joined(schema_doc *s, const json *a, const json *b)
{
    json *out = json_new_array(&s->b->arena);
    for (size_t i = 0; i < json_len(a); i++) json_push(&s->b->arena, out, json_at(a, i));
    for (size_t i = 0; i < json_len(b); i++) json_push(&s->b->arena, out, json_at(b, i));
    return out;
}

/* One more in a list of the schema. */
static void put(schema_doc *s, json *schema, const char *key, const json *one)
{
    json *list = json_new_array(&s->b->arena);
    json_push(&s->b->arena, list, one);
    json_set(&s->b->arena, schema, key, joined(s, json_get(schema, key), list));
}

bool schema_is_same(const json *x, const json *y)
{
    if (x == y) return true;
    return json_is(x, JSON_OBJECT) && json_is(y, JSON_OBJECT) && x->o.n == y->o.n &&
           x->o.members == y->o.members;
}

/* Made of x and y before, or to be made: combinations of schemas that hold themselves would go on forever otherwise. */
static json *made_of(schema_doc *s, const json *x, const json *y, bool *known)
{
    for (size_t i = 0; i < s->n_made; i++)
        if (schema_is_same(s->made[i].x, x) && schema_is_same(s->made[i].y, y)) {
            *known = true;
            return s->made[i].of;
        }
    *known = false;
    if (s->n_made >= SCHEMA_MADE)
        ast_fail(s->b, MLTF_UNSUPPORTED, "the schema's parts combine in more than %u ways",
                 SCHEMA_MADE);
    else if (!ARENA_RESERVE(&s->b->arena, s->made, s->cap_made, s->n_made + 1))
        mltf_fail_memory(&s->b->err);
    if (!ast_ok(s->b)) return NULL;
    json *of = json_new_object(&s->b->arena);
    s->made[s->n_made++] = (schema_made){x, y, of};
    return of;
}

const json *schema_later(schema_doc *s, const json *x, const json *y)
{
    if (!x || (y && json_is(x, JSON_BOOL) && x->b)) return y;
    if (!y || (json_is(y, JSON_BOOL) && y->b)) return x;
    if (json_is(x, JSON_BOOL) || json_is(y, JSON_BOOL)) return &never;
    if (json_equal(x, y)) return x;
    bool known;
    json *out = made_of(s, x, y, &known);
    if (known || !out) return out;
    json *all = json_new_array(&s->b->arena);
    json_push(&s->b->arena, all, x);
    json_push(&s->b->arena, all, y);
    json_set(&s->b->arena, out, "allOf", all);
    return out;
}

const json *schema_not(schema_doc *s, const json *x)
{
    if (json_is(x, JSON_BOOL)) return x->b ? &never : &always;
    if (json_len(x) == 1 && json_get(x, "not")) return json_get(x, "not");
    bool known;
    json *out = made_of(s, x, NULL, &known);
    if (out && !known) json_set(&s->b->arena, out, "not", x);
    return out;
}

/* ---- members of objects -------------------------------------------------------------------- */

const json *schema_of_member(schema_doc *s, const json *schema, mltf_str name)
{
    const json *own = json_get_str(json_get(schema, "properties"), name), *out = own;
    const json *patterns = json_get(schema, "patternProperties");
    for (size_t i = 0; i < json_len(patterns); i++) {
        const json_member *m = &patterns->o.members[i];
        if (!schema_pattern_matches(s, m->key, name)) continue;
        out = schema_later(s, out, &m->value);
    }
    if (!out) out = json_get(schema, "additionalProperties");
    const json *shapes = json_get(schema, "$shapes");
    for (size_t i = 0; i < json_len(shapes); i++)
        out = schema_later(s, out, schema_of_member(s, json_at(shapes, i), name));
    return out;
}

/* Names that a's patterns do not match may be additional there and not in b: then b's part is kept as it is, as one of
 * "$shapes", which all say something about each member. */
static void merge_members(schema_doc *s, json *out, const json *a, const json *b)
{
    static const char *const keys[] = {"properties", "patternProperties", "additionalProperties",
                                       NULL};
    mltf_arena *arena = &s->b->arena;
    const json *of[2] = {a, b}, *patterns = json_get(a, "patternProperties"),
               *more = json_get(b, "patternProperties");
    json *properties = json_new_object(arena);
    const json *rest[2] = {json_get(a, "additionalProperties"),
                           json_get(b, "additionalProperties")};
    for (int k = 0; k < 2; k++) s->n_merged += json_len(json_get(of[k], "properties"));
    if (s->n_merged > SCHEMA_MERGED)
        ast_fail(s->b, MLTF_UNSUPPORTED, "the schema's parts have more than %u members to combine",
                 SCHEMA_MERGED);
    for (int k = 0; k < 2 && ast_ok(s->b); k++) {
        const json *own = json_get(of[k], "properties");
        for (size_t i = 0; i < json_len(own); i++) {
            const mltf_str name = own->o.members[i].key;
            if (json_get_str(properties, name)) continue;
            const json *x = schema_of_member(s, a, name), *y = schema_of_member(s, b, name);
            const json *both = schema_later(s, x, y);
            json_set_str(arena, properties, name, both ? both : &always);
        }
    }
    if (json_get(a, "properties") || json_get(b, "properties"))
        json_set(arena, out, "properties", properties);
    if (!patterns && !more) {
        const json *both = schema_later(s, rest[0], rest[1]);
        if (both) json_set(arena, out, "additionalProperties", both);
        return;
    }
    if (patterns) json_set(arena, out, "patternProperties", patterns);
    if (rest[0]) json_set(arena, out, "additionalProperties", rest[0]);
    json *shape = json_new_object(arena);
    for (const char *const *k = keys; *k; k++)
        if (json_get(b, *k)) json_set(arena, shape, *k, json_get(b, *k));
    if (more || rest[1]) put(s, out, "$shapes", shape);
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
        const json *both = schema_later(s, x, y);
        json_push(arena, prefix, both ? both : &always);
    }
    json_remove(out, "items");
    json_remove(out, "additionalItems");
    if (n) json_set(arena, out, "prefixItems", prefix);
    const json *both = schema_later(s, fa, fb);
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

json *schema_common_types(schema_doc *s, const json *a, const json *b)
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

/* Keywords by how two of them become one, each list ended by NULL. */
static const char *const greater_counts[] = {"minimum",  "exclusiveMinimum", "minLength",
                                             "minItems", "minProperties",    NULL};
static const char *const less_counts[] = {"maximum",  "exclusiveMaximum", "maxLength",
                                          "maxItems", "maxProperties",    NULL};
static const char *const joined_lists[] = {"required", "$except",   "$notMultiples", "$alsoText",
                                           "$notText", "$contains", "$and",          "$some",
                                           "$shapes",  NULL};
static const char *const also_texts[] = {"pattern", "format", NULL};
static const char *const both_schemas[] = {"propertyNames", "unevaluatedProperties",
                                           "unevaluatedItems", NULL};
/* put off until nothing else is left to expand */
static const char *const later[] = {
    "oneOf", "anyOf", "$other", "dependentRequired", "dependencies", "dependentSchemas", NULL};

static bool is_one_of(mltf_str key, const char *const *names)
{
    for (; *names; names++)
        if (str_is(key, *names)) return true;
    return false;
}

static double common_multiple(schema_doc *s, const json *a, const json *b)
{
    const double step = schema_common_multiple(json_double(a, 0), json_double(b, 0));
    if (!(step > 0))
        ast_fail(s->b, MLTF_UNSUPPORTED,
                 "two \"multipleOf\" for one value have no common multiple of up to 15 digits");
    return step;
}

static json *common_members(schema_doc *s, const json *a, const json *b)
{
    json *members = json_new_object(&s->b->arena);
    for (size_t i = 0; i < json_len(a) + json_len(b); i++) {
        const json_member *m = i < json_len(a) ? &a->o.members[i] : &b->o.members[i - json_len(a)];
        json_set_str(&s->b->arena, members, m->key,
                     schema_later(s, json_get_str(members, m->key), &m->value));
    }
    return members;
}

static json *common_values(schema_doc *s, const json *a, const json *b)
{
    json *common = json_new_array(&s->b->arena);
    for (size_t i = 0; i < json_len(a); i++)
        for (size_t k = 0; k < json_len(b); k++)
            if (json_equal(json_at(a, i), json_at(b, k))) {
                json_push(&s->b->arena, common, json_at(a, i));
                break;
            }
    return common;
}

static const json *either(schema_doc *s, const json *a, const json *b)
{
    json *list = json_new_array(&s->b->arena);
    json_push(&s->b->arena, list, a);
    json_push(&s->b->arena, list, b);
    return schema_of(s, "anyOf", list);
}

/* One keyword that both have. False: nothing satisfies both. */
static bool merge_keyword(schema_doc *s, json *out, mltf_str key, const json *a, const json *b)
{
    mltf_arena *arena = &s->b->arena;
    if (json_equal(a, b)) return true;
    if (is_one_of(key, also_texts) || is_one_of(key, later)) {
        put(s, out, is_one_of(key, later) ? "$and" : "$alsoText", schema_of_str(s, key, b));
        return true;
    }
    const bool b_is_less = json_double(b, 0) < json_double(a, 0);
    const json *merged = NULL;
    if (is_one_of(key, greater_counts))
        merged = b_is_less ? a : b;
    else if (is_one_of(key, less_counts))
        merged = b_is_less ? b : a;
    else if (is_one_of(key, joined_lists))
        merged = joined(s, a, b);
    else if (is_one_of(key, both_schemas))
        merged = schema_later(s, a, b);
    else if (str_is(key, "multipleOf"))
        merged = json_new_double(arena, common_multiple(s, a, b));
    else if (str_is(key, "type"))
        merged = schema_common_types(s, a, b);
    else if (str_is(key, "$members"))
        merged = common_members(s, a, b);
    else if (str_is(key, "enum"))
        merged = common_values(s, a, b);
    else if (str_is(key, "not")) // neither
        merged = either(s, a, b);
    else if (str_is(key, "uniqueItems") || str_is(key, "nullable"))
        merged = json_new_bool(arena, str_is(key, "uniqueItems"));
    else
        return !str_is(key, "const"); // what nothing here knows describes only
    json_set_str(arena, out, key, merged);
    return (!str_is(key, "type") && !str_is(key, "enum")) || json_len(merged) > 0;
}

const json *schema_part(schema_doc *s, const json *schema)
{
    static const char *const pairs[][2] = {{"unevaluatedProperties", "additionalProperties"},
                                           {"unevaluatedItems", "items"}};
    for (int i = 0; i < 2; i++) {
        const json *rest = json_get(schema, pairs[i][0]);
        if (!rest) continue;
        schema = schema_flat(s, schema);
        if (!schema || json_is(schema, JSON_BOOL)) return schema;
        json *out = schema_without(s, schema, pairs[i][0]);
        if (!json_get(schema, pairs[i][1])) json_set(&s->b->arena, out, pairs[i][1], rest);
        schema = out;
    }
    return schema;
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

/* Neither $ref nor allOf at the top: those are put in their place. */
static const json *flat(schema_doc *s, const json *schema)
{
    const char *key = schema_ref_key(schema);
    const json *all = json_get(schema, "allOf");
    if (key) {
        const json *to = schema_resolve(s, json_get(schema, key)->s),
                   *rest = schema_without(s, schema, key);
        if (!to) return NULL;
        return schema_restricts(rest) ? schema_both(s, schema_part(s, to), rest)
                                      : schema_flat(s, to);
    }
    if (!all) return schema;
    const json *out = json_len(all) ? schema_part(s, json_at(all, 0)) : &always;
    for (size_t i = 1; i < json_len(all) && out; i++)
        out = schema_both(s, out, schema_part(s, json_at(all, i)));
    return out ? schema_both(s, out, schema_without(s, schema, "allOf")) : NULL;
}

const json *schema_flat(schema_doc *s, const json *schema)
{
    const json *out = NULL;
    if (++s->depth > SCHEMA_DEPTH)
        ast_fail(s->b, MLTF_UNSUPPORTED, "the schema's references go in circles, or too deep");
    else
        out = flat(s, schema);
    s->depth--;
    return out;
}

/* The schema with these keywords of it put off into "$and". */
static const json *apart(schema_doc *s, const json *schema, const char *const *keys)
{
    json *part = json_new_object(&s->b->arena), *rest = schema_copy(s, schema);
    for (; *keys; keys++) {
        if (!json_get(schema, *keys)) continue;
        json_set(&s->b->arena, part, *keys, json_get(schema, *keys));
        json_remove(rest, *keys);
    }
    put(s, rest, "$and", part);
    return rest;
}

/* The same with `contains` and its bounds moved into "$contains". */
static const json *contains_listed(schema_doc *s, const json *schema)
{
    static const char *const keys[] = {"contains", "minContains", "maxContains", NULL};
    json *part = json_new_object(&s->b->arena), *rest = schema_copy(s, schema);
    for (const char *const *k = keys; *k; k++) {
        json_set(&s->b->arena, part, *k, json_get(schema, *k));
        json_remove(rest, *k);
    }
    put(s, rest, "$contains", part);
    return rest;
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
    static const char *const condition[] = {"if", "then", "else", NULL};
    if (json_get(a, "if") && json_get(b, "if")) b = apart(s, b, condition);
    if (json_get(a, "contains") && json_get(b, "contains")) b = contains_listed(s, b);
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
    merge_members(s, out, a, b);
    merge_items(s, out, a, b);
    return possible ? out : &never;
}

const json *schema_both(schema_doc *s, const json *a, const json *b)
{
    const json *out = NULL;
    if (!ast_ok(s->b)) return NULL;
    if (++s->depth > SCHEMA_DEPTH)
        ast_fail(s->b, MLTF_UNSUPPORTED, "the schema's references go in circles, or too deep");
    else if ((a = schema_flat(s, a)) && (b = schema_flat(s, b)) && ast_ok(s->b))
        out = both_flat(s, a, b);
    s->depth--;
    return out;
}
