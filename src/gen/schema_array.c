/* Arrays: a tuple, then further items; `contains` counts items of a kind on the way. */
#include <math.h>

#include "gen/schema_grammar.h"
#include "gen/text_dfa.h"

#define MOST_KINDS 4    /* of `contains` for one array */
#define MOST_RULES 4000 /* for counts of items and of kinds together */

static const json any_schema = {.type = JSON_BOOL, .b = true};

/* One `contains`: at least `least` and at most `most` of the items in [from, to) satisfy `of`. */
typedef struct item_kind {
    const json *of, *other; /* the second: what does not satisfy it */
    uint32_t least, most, from, to;
    bool evaluates; /* its items are none that unevaluatedItems speaks of */
} item_kind;

typedef struct array_plan {
    const json *prefix; /* [fixed] items with a schema each */
    const json *items;  /* of those behind; NULL: any */
    bool unevaluated;   /* they are unevaluatedItems */
    bool closed;        /* there are none behind */
    bool unique;        /* all items differ */
    uint32_t fixed, min, max;
    item_kind kind[MOST_KINDS];
    size_t n_kinds;
} array_plan;

static ast *opening(ast_builder *b, const array_plan *a)
{
    return a->unique ? ast_mark(b, "[") : ast_lit(b, "[");
}

/* ---- kinds --------------------------------------------------------------------------------- */

/* Where an array stands: how many items were written (the last number: or more) and how many of each kind. */
typedef struct array_place {
    uint32_t items, found[MOST_KINDS];
} array_place;

typedef struct kind_rules {
    const array_plan *a;
    size_t *rule;  /* 1 + the rule of a place, 0: not made yet */
    uint32_t most; /* items told apart */
    size_t n_rules;
} kind_rules;

static uint32_t told_apart(const item_kind *k)
{
    return k->most == AST_MANY ? k->least : k->most;
}

static size_t number_of(const kind_rules *r, const array_place *at)
{
    size_t n = at->items;
    for (size_t k = 0; k < r->a->n_kinds; k++)
        n = n * (told_apart(&r->a->kind[k]) + 1) + at->found[k];
    return n;
}

/* The schema of the next item that is of just those kinds in `set`. NULL: none can be. */
static const json *item_schema(schema_builder *s, const array_plan *a, const array_place *at,
                               unsigned set)
{
    const json *base = at->items < a->fixed ? json_at(a->prefix, at->items)
                       : a->items           ? a->items
                                            : &any_schema;
    for (size_t k = 0; k < a->n_kinds && a->unevaluated && at->items >= a->fixed; k++)
        if (set >> k & 1 && a->kind[k].evaluates) base = &any_schema;
    for (size_t k = 0; k < a->n_kinds; k++) {
        const item_kind *kind = &a->kind[k];
        const bool counted = set >> k & 1;
        const bool outside = at->items < kind->from || at->items >= kind->to;
        if (outside && counted) return NULL;
        if (counted && at->found[k] >= told_apart(kind)) return NULL; // enough, or too many
        if (outside) continue;
        if (counted)
            base = schema_later(&s->doc, base, kind->of);
        else if (kind->most != AST_MANY)
            base = schema_later(&s->doc, base, kind->other);
    }
    return base;
}

static ast *from_place(schema_builder *s, kind_rules *r, const array_place *at);

/* What may follow at a place: the end, or an item and what follows then. */
static ast *body_of_place(schema_builder *s, kind_rules *r, const array_place *at)
{
    ast_builder *b = s->b;
    const array_plan *a = r->a;
    ast *alt = ast_alt(b);
    bool enough = at->items >= a->min;
    for (size_t k = 0; k < a->n_kinds; k++) enough = enough && at->found[k] >= a->kind[k].least;
    if (enough) ast_add(b, alt, ast_empty(b));
    const bool room = at->items < a->max && (!a->closed || a->unevaluated || at->items < a->fixed);
    for (unsigned set = 0; room && set < 1u << a->n_kinds && ast_ok(b); set++) {
        const json *item = item_schema(s, a, at, set);
        if (!item || (json_is(item, JSON_BOOL) && !item->b)) continue;
        array_place next = *at;
        next.items += at->items < r->most;
        for (size_t k = 0; k < a->n_kinds; k++) next.found[k] += set >> k & 1;
        ast *value = schema_values(s, item);
        ast *first = at->items ? grammar_after_comma(s, value) : ast_cat(b, grammar_ws(s), value);
        ast_add(b, alt, ast_cat(b, first, from_place(s, r, &next)));
    }
    return alt && alt->n ? alt : ast_nothing(b);
}

static ast *from_place(schema_builder *s, kind_rules *r, const array_place *at)
{
    size_t *made = &r->rule[number_of(r, at)];
    if (!*made) {
        *made = ast_rule_new(s->b) + 1;
        const size_t rule = *made - 1;
        if (++s->depth > 4 * SCHEMA_DEPTH)
            ast_fail(s->b, MLTF_UNSUPPORTED, "the schema is nested too deeply");
        ast *body = ast_ok(s->b) ? body_of_place(s, r, at) : NULL;
        s->depth--;
        ast_rule_set(s->b, rule, body);
        return ast_call(s->b, rule);
    }
    return ast_call(s->b, *made - 1);
}

static ast *of_kinds(schema_builder *s, const array_plan *a)
{
    ast_builder *b = s->b;
    kind_rules r = {.a = a, .most = a->max == AST_MANY ? a->min : a->max};
    if (r.most < a->fixed) r.most = a->fixed;
    if (r.most == 0) r.most = 1; // is this the first item?
    for (size_t k = 0; k < a->n_kinds; k++) {
        const item_kind *kind = &a->kind[k];
        const uint32_t edge = kind->to == AST_MANY ? kind->from : kind->to;
        if (r.most < edge) r.most = edge;
    }
    size_t places = (size_t)r.most + 1;
    for (size_t k = 0; k < a->n_kinds && places <= MOST_RULES; k++)
        places *= (size_t)told_apart(&a->kind[k]) + 1;
    if (places > MOST_RULES) {
        ast_fail(b, MLTF_UNSUPPORTED,
                 "\"contains\" together with counts of items is supported up to %d of both "
                 "multiplied",
                 MOST_RULES);
        return NULL;
    }
    r.rule = arena_calloc(&b->arena, places, sizeof *r.rule);
    if (!r.rule) {
        mltf_fail_memory(&b->err);
        return NULL;
    }
    const array_place start = {.items = 0};
    ast *items = from_place(s, &r, &start);
    return ast_cat(b, ast_cat(b, opening(b, a), items), ast_cat(b, grammar_ws(s), ast_lit(b, "]")));
}

static void add_kind(schema_builder *s, array_plan *a, const json *of, const json *bounds,
                     const char *min, const char *max)
{
    if (a->n_kinds == MOST_KINDS) {
        ast_fail(s->b, MLTF_UNSUPPORTED,
                 "more than %d \"contains\" for one array are not supported", MOST_KINDS);
        return;
    }
    a->kind[a->n_kinds++] = (item_kind){.of = of,
                                        .other = schema_not(&s->doc, of),
                                        .least = schema_bound(s, bounds, min, 1),
                                        .most = schema_bound(s, bounds, max, AST_MANY),
                                        .from = schema_bound(s, bounds, "from", 0),
                                        .to = schema_bound(s, bounds, "to", AST_MANY),
                                        .evaluates = json_get(bounds, "from") == NULL};
}

static void find_kinds(schema_builder *s, const json *schema, array_plan *a)
{
    const json *contains = json_get(schema, "contains"), *more = json_get(schema, "$contains");
    if (contains) {
        add_kind(s, a, contains, schema, "minContains", "maxContains");
        a->kind[0].from = 0; // "from" and "to" are keywords only of $contains
        a->kind[0].to = AST_MANY;
        a->kind[0].evaluates = true;
    }
    for (size_t i = 0; i < json_len(more); i++) {
        const json *of = json_get(json_at(more, i), "contains");
        add_kind(s, a, of ? of : &any_schema, json_at(more, i), "minContains", "maxContains");
    }
    size_t n = 0; // those that ask for nothing are done
    for (size_t k = 0; k < a->n_kinds; k++)
        if (a->kind[k].least || a->kind[k].most != AST_MANY) a->kind[n++] = a->kind[k];
    a->n_kinds = n;
}

/* ---- different items ----------------------------------------------------------------------- */

#define MANY_VALUES 10000u

static uint32_t values_of_type(schema_builder *s, const json *schema, mltf_str type)
{
    if (str_is(type, "null")) return 1;
    if (str_is(type, "boolean")) return 2;
    if (str_is(type, "integer")) {
        const double lo = json_double(json_get(schema, "minimum"), -INFINITY),
                     hi = json_double(json_get(schema, "maximum"), INFINITY);
        return hi - lo < MANY_VALUES ? (uint32_t)(hi < lo ? 0 : floor(hi) - ceil(lo) + 1)
                                     : MANY_VALUES;
    }
    if (str_is(type, "string") && (json_get(schema, "pattern") || json_get(schema, "maxLength")))
        return (uint32_t)text_dfa_count(schema_texts(&s->doc, schema), MANY_VALUES);
    return MANY_VALUES;
}

/* How many values a schema has at most, MANY_VALUES standing for that many and more. */
static uint32_t count_values(schema_builder *s, const json *schema)
{
    schema = schema_flat(&s->doc, schema);
    if (!json_is(schema, JSON_OBJECT)) return MANY_VALUES;
    const json *any = json_get(schema, "anyOf"), *type = json_get(schema, "type");
    if (!any) any = json_get(schema, "oneOf");
    if (json_get(schema, "const")) return 1;
    const json *values = json_get(schema, "enum");
    if (values) return json_len(values) < MANY_VALUES ? (uint32_t)json_len(values) : MANY_VALUES;
    uint32_t sum = 0;
    if (any && ++s->doc.depth < SCHEMA_DEPTH)
        for (size_t i = 0; i < json_len(any) && sum < MANY_VALUES; i++)
            sum += count_values(s, json_at(any, i));
    else if (any)
        sum = MANY_VALUES;
    if (any) {
        s->doc.depth--;
        return sum < MANY_VALUES ? sum : MANY_VALUES;
    }
    if (json_is(type, JSON_STRING)) return values_of_type(s, schema, type->s);
    for (size_t i = 0; i < json_len(type) && sum < MANY_VALUES; i++)
        sum += values_of_type(s, schema, json_string(json_at(type, i), STR("")));
    return type && sum < MANY_VALUES ? sum : MANY_VALUES;
}

/* ---- arrays -------------------------------------------------------------------------------- */

/* A tuple: all of the prefix that there has to be, then what `items` says. */
static ast *of_tuple(schema_builder *s, const array_plan *a)
{
    ast_builder *b = s->b;
    ast *rest = ast_empty(b); // back to front: each item may be the last once there are enough
    if (!a->closed && a->max > a->fixed) {
        ast *more = grammar_after_comma(s, schema_values(s, a->items ? a->items : &any_schema));
        rest = ast_repeat(b, more, a->min > a->fixed ? a->min - a->fixed : 0,
                          a->max == AST_MANY ? a->max : a->max - a->fixed);
    }
    for (uint32_t i = a->fixed; i-- > 0;) {
        ast *item = schema_values(s, json_at(a->prefix, i));
        rest = ast_cat(b, i ? grammar_after_comma(s, item) : ast_cat(b, grammar_ws(s), item), rest);
        if (a->min <= i) rest = ast_repeat(b, rest, 0, 1);
    }
    return ast_cat(b, ast_cat(b, opening(b, a), rest), ast_cat(b, grammar_ws(s), ast_lit(b, "]")));
}

ast *schema_array(schema_builder *s, const json *schema)
{
    ast_builder *b = s->b;
    array_plan a = {.items = json_get(schema, "items"),
                    .prefix = json_get(schema, "prefixItems"),
                    .min = schema_bound(s, schema, "minItems", 0),
                    .max = schema_bound(s, schema, "maxItems", AST_MANY)};
    if (a.max < a.min) return ast_impossible(b, "\"minItems\" is larger than \"maxItems\"");
    if (json_is(a.items, JSON_ARRAY)) // drafts before 2020
        a.prefix = a.items, a.items = json_get(schema, "additionalItems");
    a.unevaluated = !a.items && json_get(schema, "unevaluatedItems");
    if (a.unevaluated) a.items = json_get(schema, "unevaluatedItems");
    a.fixed = json_len(a.prefix) < a.max ? (uint32_t)json_len(a.prefix) : a.max;
    find_kinds(s, schema, &a);
    a.closed = a.items ? json_is(a.items, JSON_BOOL) && !a.items->b
                       : a.fixed && a.min <= a.fixed && !a.n_kinds; // a tuple is all there is
    a.unique = json_bool(json_get(schema, "uniqueItems"), false) && a.max > 1;
    if (a.unique && a.fixed == 0 && a.items) { // no more than there are values
        const uint32_t most = count_values(s, a.items);
        if (most < MANY_VALUES && a.max > most) a.max = most;
        if (a.max < a.min)
            return ast_impossible(b, "\"minItems\" asks for more different items than there are");
    }
    for (size_t k = 0; k < a.n_kinds && a.unique; k++)
        if (a.kind[k].least >
            count_values(s, schema_later(&s->doc, a.fixed ? NULL : a.items, a.kind[k].of)))
            return ast_impossible(b,
                                  "\"minContains\" asks for more different items than there are");
    if (a.closed && a.min > a.fixed && !a.n_kinds)
        return ast_impossible(b, "\"minItems\" asks for more items than the schema allows");
    if (a.n_kinds) return of_kinds(s, &a);
    if (a.fixed) return of_tuple(s, &a);
    if (a.closed) return grammar_braced(s, opening(b, &a), ast_nothing(b), 0, 0, "]");
    return grammar_braced(s, opening(b, &a),
                          a.items ? schema_values(s, a.items) : grammar_any_value(s), a.min, a.max,
                          "]");
}
