/* Objects: the declared members in their order, each written or not, then others.
 *
 * Which others there may be is told by their names: the names that the same patterns match are one kind, with all
 * that these patterns say about the value. */
#include "gen/schema_grammar.h"
#include "gen/text_dfa.h"

#define MOST_PATTERNS 8 /* of patternProperties in one object: kinds are their combinations */

typedef struct object_plan {
    const json *schema;
    json *
        members; /* declared, or with a condition of their own, each with all that is said about it */
    const json *required;
    const json *some; /* $other: a member that has to be among the others, or NULL */
    ast *other;       /* one further member "key": value, or NULL */
    ast *special;     /* one of those that $other asks for */
    uint32_t
        most_others; /* names that others may have, where the names have to differ; else AST_MANY */
    uint32_t least;  /* members, of different names */
    uint32_t most;
    uint32_t
        counts; /* rules tell apart 0 … counts - 1 members written before, the last of them: or more */
    size_t *rule; /* [n + 1][counts] */
    size_t n;
} object_plan;

static bool is_required(const json *required, mltf_str key)
{
    for (size_t i = 0; i < json_len(required); i++)
        if (str_eq(json_string(json_at(required, i), STR("")), key)) return true;
    return false;
}

static bool is_never(const json *schema)
{
    return json_is(schema, JSON_BOOL) && !schema->b;
}

/* ---- members in order ---------------------------------------------------------------------- */

/* `first`, and then others: together from `least` to `room`. */
static ast *first_and_others(schema_builder *s, const object_plan *o, ast *first, bool comma,
                             uint32_t least, uint32_t room)
{
    ast_builder *b = s->b;
    return ast_cat(b, comma ? grammar_after_comma(s, first) : ast_cat(b, grammar_ws(s), first),
                   ast_repeat(b, grammar_after_comma(s, o->other), least ? least - 1 : 0,
                              room == AST_MANY ? AST_MANY : room - 1));
}

/* Behind the last declared member, when `count` were written: others, as many as may be, and as there have to be. */
static ast *further_members(schema_builder *s, const object_plan *o, uint32_t count)
{
    ast_builder *b = s->b;
    const uint32_t need = count >= o->least ? 0 : o->least - count;
    if (!o->other || (o->most != AST_MANY && count >= o->most))
        return need == 0 && !o->some ? ast_empty(b) : ast_nothing(b);
    uint32_t room = o->most == AST_MANY ? AST_MANY : o->most - count;
    if (room > o->most_others && o->most_others != AST_MANY) room = o->most_others;
    if (need > room || room == 0) return need || o->some ? ast_nothing(b) : ast_empty(b);
    ast *others = first_and_others(s, o, o->some ? o->special : o->other, count > 0, need, room);
    return need || o->some ? others : ast_repeat(b, others, 0, 1);
}

/* Rule (i, count): what may follow when the members before i are through and `count` of them were written. */
static void object_rules(schema_builder *s, const object_plan *o)
{
    ast_builder *b = s->b;
    for (uint32_t count = 0; count < o->counts; count++)
        ast_rule_set(b, o->rule[o->n * o->counts + count], further_members(s, o, count));
    for (size_t i = o->n; i-- > 0 && ast_ok(b);) {
        const json_member *m = &o->members->o.members[i];
        const json key = {.type = JSON_STRING, .s = m->key};
        ast *value = schema_values(s, &m->value);
        for (uint32_t count = 0; count < o->counts; count++) {
            const uint32_t next = count + 1 < o->counts ? count + 1 : count;
            const size_t skip = o->rule[(i + 1) * o->counts + count];
            ast *member = grammar_member(s, grammar_constant(s, &key), value);
            ast *seq = ast_cat(
                b, count ? grammar_after_comma(s, member) : ast_cat(b, grammar_ws(s), member),
                ast_call(b, o->rule[(i + 1) * o->counts + next]));
            if (o->most != AST_MANY && count >= o->most) seq = ast_nothing(b);
            ast_rule_set(b, o->rule[i * o->counts + count],
                         is_required(o->required, m->key) ? seq
                                                          : ast_or(b, seq, ast_call(b, skip)));
        }
    }
}

/* ---- which members there are --------------------------------------------------------------- */

/* What is said about members that are neither declared nor matched by a pattern; NULL: nothing. */
static const json *additional_of(const json *schema)
{
    const json *additional = json_get(schema, "additionalProperties");
    return additional ? additional : json_get(schema, "unevaluatedProperties");
}

/* May members be written that are not declared? Beside declared ones only where the schema says so. */
static bool is_open(const json *schema)
{
    return additional_of(schema) || json_len(json_get(schema, "patternProperties")) ||
           json_len(json_get(schema, "$shapes")) ||
           !(json_len(json_get(schema, "properties")) || json_len(json_get(schema, "required")));
}

/* All that the schema says about the member: its own, what names may be, and conditions ("$members"). */
static const json *member_schema(schema_builder *s, const json *schema, mltf_str name)
{
    static const json any = {.type = JSON_BOOL, .b = true}, none = {.type = JSON_BOOL, .b = false};
    const json *names = json_get(schema, "propertyNames"), *of;
    const json text = {.type = JSON_STRING, .s = name};
    of = schema_of_member(&s->doc, schema, name);
    if (!of) of = json_get(schema, "unevaluatedProperties");
    if (names && !schema_holds(&s->doc, &text, names)) of = &none;
    const json *condition = json_get_str(json_get(schema, "$members"), name);
    of = schema_later(&s->doc, of, condition);
    return of ? of : &any;
}

static void find_members(schema_builder *s, const json *schema, object_plan *o)
{
    mltf_arena *a = &s->b->arena;
    const json *own = json_get(schema, "properties"), *required = json_get(schema, "required"),
               *conditions = is_open(schema) ? json_get(schema, "$members") : NULL;
    o->members = json_new_object(a);
    for (size_t i = 0; i < json_len(own) + json_len(required) + json_len(conditions); i++) {
        const size_t k = i - json_len(own), l = k - json_len(required);
        const mltf_str name = i < json_len(own)        ? own->o.members[i].key
                              : k < json_len(required) ? json_string(json_at(required, k), STR(""))
                                                       : conditions->o.members[l].key;
        if (json_get_str(o->members, name)) continue;
        const json *of = member_schema(s, schema, name);
        json_set_str(a, o->members, name, of);
        if (is_never(of) && is_required(required, name))
            ast_impossible(s->b, "\"" STR_FMT "\" is required and not allowed", STR_ARG(name));
    }
    o->n = json_len(o->members);
}

/* ---- others -------------------------------------------------------------------------------- */

/* A way through the patterns of the schema and of its "$shapes", each of which matches a name or does not. */
typedef struct kind_search {
    schema_builder *s;
    const json *schema, *shapes;
    ast *alt;         /* of a member of each kind */
    const json *with; /* what else holds for the value, or NULL */
} kind_search;

/* Names in `names`, from pattern i of a shape (0: the schema itself) on. `said`: what was said about the value so far,
 * NULL: nothing. `matched`: by the shape's patterns before i. */
static void add_kinds(const kind_search *k, text_dfa *names, size_t shape, size_t i,
                      const json *said, bool matched)
{
    static const json any = {.type = JSON_BOOL, .b = true};
    schema_builder *s = k->s;
    ast_builder *b = s->b;
    const json *of = shape ? json_at(k->shapes, shape - 1) : k->schema,
               *patterns = json_get(of, "patternProperties");
    if (!ast_ok(b) || text_dfa_is_empty(names)) return;
    if (i < json_len(patterns)) {
        const json_member *m = &patterns->o.members[i];
        text_dfa *match = text_dfa_of_pattern(b, m->key, true);
        add_kinds(k, text_dfa_both(b, names, match), shape, i + 1,
                  schema_later(&s->doc, said, &m->value), true);
        add_kinds(k, text_dfa_without(b, names, match), shape, i + 1, said, matched);
        return;
    }
    if (!matched)
        said = schema_later(&s->doc, said,
                            shape ? json_get(of, "additionalProperties") : additional_of(of));
    if (shape < json_len(k->shapes)) {
        add_kinds(k, names, shape + 1, 0, said, false);
        return;
    }
    const bool patterned = json_len(json_get(k->schema, "patternProperties")) || k->shapes;
    if (!said && patterned) return; // patterns are all that may be written
    said = schema_later(&s->doc, said ? said : &any, k->with);
    if (is_never(said)) return;
    ast *key = grammar_quoted(b, text_dfa_ast(b, names, true));
    ast_add(b, k->alt, grammar_member(s, key, schema_values(s, said)));
}

static size_t count_patterns(const json *schema)
{
    const json *shapes = json_get(schema, "$shapes");
    size_t n = json_len(json_get(schema, "patternProperties"));
    for (size_t i = 0; i < json_len(shapes); i++)
        n += json_len(json_get(json_at(shapes, i), "patternProperties")) + 1;
    return n;
}

/* One further member whose name satisfies `keys` too and its value `with` (NULL: any), as a rule; NULL: none. Of how
 * many names it may have one: AST_MANY for a thousand and more. */
static ast *one_other(schema_builder *s, const object_plan *o, const json *keys, const json *with,
                      uint32_t *names_there_are)
{
    ast_builder *b = s->b;
    static const json any = {.type = JSON_BOOL, .b = true};
    const json *names = json_get(o->schema, "propertyNames"),
               *additional = additional_of(o->schema);
    const size_t patterns = count_patterns(o->schema);
    ast *alt = ast_alt(b);
    if (names_there_are) *names_there_are = AST_MANY;
    if (patterns > MOST_PATTERNS) {
        ast_fail(b, MLTF_UNSUPPORTED,
                 "more than %d of \"patternProperties\" in one object are not supported",
                 MOST_PATTERNS);
        return NULL;
    }
    if (o->n == 0 && !names && !keys && patterns == 0) {
        const json *value = schema_later(&s->doc, additional ? additional : &any, with);
        if (is_never(value)) return NULL;
        ast_add(b, alt, grammar_member(s, grammar_any_string(s), schema_values(s, value)));
    } else {
        text_dfa *of = schema_texts(&s->doc, names ? names : &any);
        if (keys) of = text_dfa_both(b, of, schema_texts(&s->doc, keys));
        for (size_t i = 0; i < o->n; i++)
            of = text_dfa_without(b, of, text_dfa_of_text(b, o->members->o.members[i].key));
        const kind_search k = {s, o->schema, json_get(o->schema, "$shapes"), alt, with};
        add_kinds(&k, of, 0, 0, NULL, false);
        const size_t n = names_there_are && names ? text_dfa_count(of, 1000) : 1000;
        if (n < 1000) *names_there_are = (uint32_t)n;
    }
    if (!alt || alt->n == 0) return NULL;
    const size_t rule = ast_rule_new(b);
    ast_rule_set(b, rule, alt);
    return ast_call(b, rule);
}

ast *schema_object(schema_builder *s, const json *schema)
{
    ast_builder *b = s->b;
    const json *some = json_get(schema, "$other");
    object_plan o = {.schema = schema,
                     .required = json_get(schema, "required"),
                     .some = some,
                     .least = schema_bound(s, schema, "minProperties", 0),
                     .most = schema_bound(s, schema, "maxProperties", AST_MANY)};
    find_members(s, schema, &o);
    if (is_open(schema)) {
        o.other = one_other(s, &o, NULL, NULL, &o.most_others);
        if (some)
            o.special = one_other(s, &o, json_get(some, "keys"), json_get(some, "value"), NULL);
    }
    if (some && !o.special) return ast_nothing(b);
    // two others of one name would be one member: where they are counted, names have to differ
    const bool unique = o.other && (o.least > 1 || some);
    if (!unique) o.most_others = AST_MANY;
    if (o.least > o.n && (!o.other || o.least - o.n > o.most_others))
        return ast_impossible(
            b, "\"minProperties\" asks for more members than \"properties\" declares");
    // with a bound all counts up to it differ, else only: is this the first member
    const size_t told = o.most != AST_MANY ? o.most + 1 : o.least + 1;
    o.counts = (uint32_t)(told > o.n + 1 ? o.n + 1 : told);
    if (o.counts < 2) o.counts = 2;
    o.rule = arena_calloc(&b->arena, (o.n + 1) * o.counts, sizeof *o.rule);
    if (!o.rule) {
        mltf_fail_memory(&b->err);
        return NULL;
    }
    for (size_t i = 0; i < (o.n + 1) * o.counts; i++) o.rule[i] = ast_rule_new(b);
    object_rules(s, &o);
    ast *open = unique ? ast_mark(b, "{") : ast_lit(b, "{");
    return ast_cat(b, ast_cat(b, open, ast_call(b, o.rule[0])),
                   ast_cat(b, grammar_ws(s), ast_lit(b, "}")));
}
