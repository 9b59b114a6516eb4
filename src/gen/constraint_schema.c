/* JSON schema -> grammar over the bytes of JSON text.
 *
 * Whitespace: where JSON allows it, nothing, one space, or a line end with at most 20 blanks of indentation: all
 * that models write, and no room to write blanks forever. Numbers have at most 18 digits a part for the same
 * reason. Each schema object becomes a rule, so $ref may recurse. */
#include <string.h>

#include "gen/schema_doc.h"
#include "gen/schema_number.h"

/* Which schema a rule is for. */
typedef struct schema_rule {
    const json *schema;
    size_t rule;
} schema_rule;

typedef struct schema_builder {
    schema_doc doc;
    ast_builder *b;    /* of doc */
    schema_rule *seen; /* [n_seen]: other rules have no schema */
    size_t n_seen, cap_seen;
    size_t ws, value, string; /* shared rules, 0 while not made (rule 0 is the root) */
    int depth;
} schema_builder;

static ast *of_schema(schema_builder *s, const json *schema);

static size_t rule_of(schema_builder *s, const json *schema)
{
    const size_t r = ast_rule_new(s->b);
    if (!ARENA_RESERVE(&s->b->arena, s->seen, s->cap_seen, s->n_seen + 1)) {
        mltf_fail_memory(&s->b->err);
        return 0;
    }
    s->seen[s->n_seen++] = (schema_rule){schema, r};
    return r;
}

/* ---- the pieces of JSON -------------------------------------------------------------------- */

static ast *ws(schema_builder *s)
{
    ast_builder *b = s->b;
    if (!s->ws) {
        s->ws = ast_rule_new(s->b);
        char_set blank = {.n = 0};
        char_set_add(&blank, ' ', ' ');
        char_set_add(&blank, '\t', '\t');
        const bool json_text = b->json_text;
        b->json_text = false;
        ast *line = ast_cat(b, ast_lit(b, "\n"), ast_repeat(b, ast_chars(b, &blank), 0, 20));
        ast *alt = ast_or(b, ast_empty(b), ast_lit(b, " "));
        ast_add(b, alt, line);
        ast_rule_set(b, s->ws, alt);
        b->json_text = json_text;
    }
    return ast_call(b, s->ws);
}

/* One character of a JSON string: as it is, or escaped in any of the ways there are. */
static ast *string_char(ast_builder *b)
{
    char_set plain = {.n = 0};
    char_set_add(&plain, 0, 31);
    char_set_add(&plain, '"', '"');
    char_set_add(&plain, '\\', '\\');
    char_set_invert(&plain);
    char_set named = {.n = 0}, hex = {.n = 0};
    for (const char *p = "\"\\/bfnrt"; *p; p++) char_set_add(&named, (uint32_t)*p, (uint32_t)*p);
    char_set_add(&hex, '0', '9');
    char_set_add(&hex, 'a', 'f');
    char_set_add(&hex, 'A', 'F');
    char_set d = {.n = 0}, low = {.n = 0}, high = {.n = 0};
    char_set_add(&d, 'd', 'd');
    char_set_add(&d, 'D', 'D');
    char_set_add(&low, '0', '7');
    char_set_add(&high, '8', '9');
    char_set_add(&high, 'a', 'b');
    char_set_add(&high, 'A', 'B');
    char_set c_to_f = {.n = 0}, no_d = {.n = 0};
    char_set_add(&c_to_f, 'c', 'f');
    char_set_add(&c_to_f, 'C', 'F');
    char_set_add(&no_d, '0', '9');
    char_set_add(&no_d, 'a', 'c');
    char_set_add(&no_d, 'e', 'f');
    char_set_add(&no_d, 'A', 'C');
    char_set_add(&no_d, 'E', 'F');
    // \uXXXX: not a surrogate, or a pair of them
    ast *u =
        ast_or(b, ast_cat(b, ast_chars(b, &no_d), ast_repeat(b, ast_chars(b, &hex), 3, 3)),
               ast_cat(b, ast_chars(b, &d),
                       ast_cat(b, ast_chars(b, &low), ast_repeat(b, ast_chars(b, &hex), 2, 2))));
    ast *pair =
        ast_cat(b,
                ast_cat(b, ast_chars(b, &d),
                        ast_cat(b, ast_chars(b, &high), ast_repeat(b, ast_chars(b, &hex), 2, 2))),
                ast_cat(b, ast_lit(b, "\\u"),
                        ast_cat(b, ast_chars(b, &d),
                                ast_cat(b, ast_chars(b, &c_to_f),
                                        ast_repeat(b, ast_chars(b, &hex), 2, 2)))));
    ast_add(b, u, pair);
    ast *escape = ast_cat(b, ast_lit(b, "\\"),
                          ast_or(b, ast_chars(b, &named), ast_cat(b, ast_lit(b, "u"), u)));
    return ast_or(b, ast_chars(b, &plain), escape);
}

static ast *quoted(ast_builder *b, ast *inside)
{
    return ast_cat(b, ast_lit(b, "\""), ast_cat(b, inside, ast_lit(b, "\"")));
}

static ast *any_string(schema_builder *s)
{
    if (!s->string) {
        s->string = ast_rule_new(s->b);
        ast_rule_set(s->b, s->string,
                     quoted(s->b, ast_repeat(s->b, string_char(s->b), 0, AST_MANY)));
    }
    return ast_call(s->b, s->string);
}

/* "{" members "}": `member` (, member)*, maybe none. */
static ast *braced(schema_builder *s, const char *open, ast *item, uint32_t min, uint32_t max,
                   const char *close)
{
    ast_builder *b = s->b;
    ast *more = ast_cat(b, ast_cat(b, ws(s), ast_lit(b, ",")), ast_cat(b, ws(s), item));
    ast *items = ast_cat(b, ast_cat(b, ws(s), item),
                         ast_repeat(b, more, min ? min - 1 : 0, max == AST_MANY ? max : max - 1));
    if (min == 0) items = ast_repeat(b, items, 0, 1);
    if (max == 0) items = ast_empty(b);
    return ast_cat(b, ast_cat(b, ast_lit(b, open), items), ast_cat(b, ws(s), ast_lit(b, close)));
}

static ast *colon(schema_builder *s)
{
    return ast_cat(s->b, ast_cat(s->b, ws(s), ast_lit(s->b, ":")), ws(s));
}

static ast *any_value(schema_builder *s);

static ast *any_object(schema_builder *s)
{
    return braced(s, "{", ast_cat(s->b, any_string(s), ast_cat(s->b, colon(s), any_value(s))), 0,
                  AST_MANY, "}");
}

static ast *any_value(schema_builder *s)
{
    ast_builder *b = s->b;
    if (!s->value) {
        s->value = ast_rule_new(s->b);
        ast *alt = ast_alt(b);
        ast_add(b, alt, any_object(s));
        ast_add(b, alt, braced(s, "[", any_value(s), 0, AST_MANY, "]"));
        ast_add(b, alt, any_string(s));
        ast_add(b, alt, schema_number(b, NULL));
        ast_add(b, alt, ast_lit(b, "true"));
        ast_add(b, alt, ast_lit(b, "false"));
        ast_add(b, alt, ast_lit(b, "null"));
        ast_rule_set(b, s->value, alt);
    }
    return ast_call(b, s->value);
}

/* Exactly this value, as json.dumps writes it: with and without blanks, non-ASCII as itself. */
static ast *constant(schema_builder *s, const json *v)
{
    ast_builder *b = s->b;
    if (json_is(v, JSON_ARRAY) || json_is(v, JSON_OBJECT)) {
        const bool object = json_is(v, JSON_OBJECT);
        ast *seq = ast_seq(b);
        ast_add(b, seq, ast_lit(b, object ? "{" : "["));
        for (size_t i = 0; i < json_len(v); i++) {
            if (i) {
                ast_add(b, seq, ws(s));
                ast_add(b, seq, ast_lit(b, ","));
            }
            ast_add(b, seq, ws(s));
            if (object) {
                const json key = {.type = JSON_STRING, .s = v->o.members[i].key};
                ast_add(b, seq, constant(s, &key));
                ast_add(b, seq, colon(s));
                ast_add(b, seq, constant(s, &v->o.members[i].value));
            } else {
                ast_add(b, seq, constant(s, &v->a.items[i]));
            }
        }
        ast_add(b, seq, ws(s));
        ast_add(b, seq, ast_lit(b, object ? "}" : "]"));
        return seq;
    }
    mltf_buf text = MLTF_BUF_INIT;
    json_write(&text, v, &(json_write_options){.ensure_ascii = false});
    ast *a = text.failed ? NULL : ast_bytes(b, buf_str(&text));
    if (text.failed) mltf_fail_memory(&b->err);
    mltf_buf_release(&text);
    return a;
}

/* ---- strings ------------------------------------------------------------------------------- */

static ast *with_pattern(schema_builder *s, mltf_str pattern, bool search)
{
    s->b->json_text = true;
    ast *inside = regex_parse(s->b, pattern, search);
    s->b->json_text = false;
    return quoted(s->b, inside);
}

#define DATE                                                                                       \
    "[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"  \
    "02-(0[1-9]|1[0-9]|2[0-8]))"
#define TIME                                                                                       \
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]" \
    ")"
#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
#define HOST  LABEL "(\\." LABEL "){0,4}"

/* Texts that certainly have the format; some rare ones (29 February) are left out. */
static const char *format_pattern(mltf_str name)
{
    static const char *const table[][2] = {
        {"date", DATE},
        {"time", TIME},
        {"date-time", DATE "T" TIME},
        {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
        {"ipv4", "((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]["
                 "0-9]|[1-9]?[0-9])"},
        {"ipv6", "([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}"},
        {"email", "[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,32}){0,2}@" HOST},
        {"hostname", HOST},
        {"uri", "https?://" HOST "(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._~-]{0,64}){0,8}"},
        {"duration", "P([0-9]{1,6}W|[0-9]{1,6}D(T[0-9]{1,6}H)?|T[0-9]{1,6}(H([0-9]{1,6}M)?|M([0-9]{"
                     "1,6}S)?|S))"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (str_is(name, table[i][0])) return table[i][1];
    return NULL;
}

static uint32_t bound(schema_builder *s, const json *schema, const char *key, uint32_t fallback)
{
    const json *v = json_get(schema, key);
    if (!v) return fallback;
    const int64_t n = json_int(v, -1);
    if (n < 0)
        ast_fail(s->b, MLTF_INVALID_INPUT, "\"%s\" in the schema has to be a non-negative integer",
                 key);
    return n < 0 ? 0 : n > 1000000 ? 1000000 : (uint32_t)n;
}

/* Inside of quotes: any text that is none of `names`, by a walk through the trie of them. Texts with escapes and,
 * where a name might go on, with other scripts are left out. */
static ast *other_text(ast_builder *b, const json *names, mltf_str prefix)
{
    bool used[128] = {false};
    bool ends = false; // one of the names ends here
    ast *alt = ast_alt(b);
    for (size_t i = 0; i < json_len(names); i++) {
        const mltf_str name = json_string(json_at(names, i), STR(""));
        if (name.n < prefix.n || memcmp(name.p, prefix.p, prefix.n) != 0) continue;
        if (name.n == prefix.n) {
            ends = true;
            continue;
        }
        const uint8_t c = (uint8_t)name.p[prefix.n];
        if (c >= 128 || used[c]) continue;
        used[c] = true;
        const mltf_str longer = {name.p, prefix.n + 1};
        if (c >= ' ' && c != '"' && c != '\\')
            ast_add(b, alt, ast_cat(b, ast_char(b, c), other_text(b, names, longer)));
    }
    char_set rest = {.n = 0}, tail = {.n = 0}; // what no name has here, and then anything
    for (uint32_t c = ' '; c < 128; c++)
        if (!used[c] && c != '"' && c != '\\') char_set_add(&rest, c, c);
    char_set_normalize(&rest);
    char_set_add(&tail, 0, 31);
    char_set_add(&tail, '"', '"');
    char_set_add(&tail, '\\', '\\');
    char_set_invert(&tail);
    ast_add(b, alt,
            ast_cat(b, ast_chars(b, &rest), ast_repeat(b, ast_chars(b, &tail), 0, AST_MANY)));
    if (!ends) ast_add(b, alt, ast_empty(b));
    return alt;
}

static ast *of_string(schema_builder *s, const json *schema)
{
    const json *pattern = json_get(schema, "pattern"), *format = json_get(schema, "format"),
               *all_except = json_get(schema, "$except");
    const uint32_t min = bound(s, schema, "minLength", 0),
                   max = bound(s, schema, "maxLength", AST_MANY);
    const char *known = json_is(format, JSON_STRING) ? format_pattern(format->s) : NULL;
    json *except = json_new_array(&s->b->arena); // texts that are not meant
    for (size_t i = 0; i < json_len(all_except); i++)
        if (json_is(json_at(all_except, i), JSON_STRING))
            json_push(&s->b->arena, except, json_at(all_except, i));
    const int said =
        (pattern != NULL) + (known != NULL) + (min || max != AST_MANY) + (json_len(except) > 0);
    if (said > 1 && !(pattern && known && said == 2)) {
        ast_fail(s->b, MLTF_UNSUPPORTED,
                 "of \"pattern\", \"format\", lengths and excluded values only one is supported "
                 "for a string; put all into the pattern");
        return NULL;
    }
    if (json_is(pattern, JSON_STRING)) return with_pattern(s, pattern->s, true);
    if (known) return with_pattern(s, str_from(known), false);
    if (json_len(except)) return quoted(s->b, other_text(s->b, except, STR("")));
    if (max < min) return ast_impossible(s->b, "\"minLength\" is larger than \"maxLength\"");
    if (min == 0 && max == AST_MANY) return any_string(s);
    return quoted(s->b, ast_repeat(s->b, string_char(s->b), min, max));
}

/* ---- objects and arrays -------------------------------------------------------------------- */

static bool is_required(const json *required, mltf_str key)
{
    for (size_t i = 0; i < json_len(required); i++)
        if (str_eq(json_string(json_at(required, i), STR("")), key)) return true;
    return false;
}

/* An object while its grammar is made: the declared members in their order, each written or not, then others. */
typedef struct object_plan {
    const json *properties; /* with every required name */
    const json *required;
    ast *other;     /* one further member "key": value, or NULL */
    uint32_t least; /* members, of different names */
    uint32_t most;
    uint32_t
        counts; /* rules tell apart 0 … counts - 1 members written before, the last of them: or more */
    size_t *rule; /* [n + 1][counts] */
    size_t n;
} object_plan;

static ast *after_comma(schema_builder *s, ast *member)
{
    ast_builder *b = s->b;
    return ast_cat(b, ast_cat(b, ws(s), ast_lit(b, ",")), ast_cat(b, ws(s), member));
}

/* Behind the last declared member, when `count` were written: others, as many as may be. Two of the others may have
 * the same name, so only one of them counts for minProperties. */
static ast *further_members(schema_builder *s, const object_plan *o, uint32_t count)
{
    ast_builder *b = s->b;
    const bool enough = count >= o->least;
    if (!o->other || (o->most != AST_MANY && count >= o->most))
        return enough ? ast_empty(b) : ast_nothing(b);
    if (!enough && count + 1 < o->least) return ast_nothing(b);
    const uint32_t room = o->most == AST_MANY ? AST_MANY : o->most - count;
    if (count) return ast_repeat(b, after_comma(s, o->other), enough ? 0 : 1, room);
    ast *some =
        ast_cat(b, ast_cat(b, ws(s), o->other),
                ast_repeat(b, after_comma(s, o->other), 0, room == AST_MANY ? AST_MANY : room - 1));
    return enough ? ast_repeat(b, some, 0, 1) : some;
}

/* Rule (i, count): what may follow when the members before i are through and `count` of them were written. */
static void object_rules(schema_builder *s, const object_plan *o)
{
    ast_builder *b = s->b;
    for (uint32_t count = 0; count < o->counts; count++)
        ast_rule_set(b, o->rule[o->n * o->counts + count], further_members(s, o, count));
    for (size_t i = o->n; i-- > 0 && ast_ok(b);) {
        const json_member *m = &o->properties->o.members[i];
        const json key = {.type = JSON_STRING, .s = m->key};
        ast *value = of_schema(s, &m->value);
        for (uint32_t count = 0; count < o->counts; count++) {
            const uint32_t next = count + 1 < o->counts ? count + 1 : count;
            const size_t skip = o->rule[(i + 1) * o->counts + count];
            ast *member = ast_cat(b, constant(s, &key), ast_cat(b, colon(s), value));
            ast *seq = ast_cat(b, count ? after_comma(s, member) : ast_cat(b, ws(s), member),
                               ast_call(b, o->rule[(i + 1) * o->counts + next]));
            if (o->most != AST_MANY && count >= o->most) seq = ast_nothing(b);
            ast_rule_set(b, o->rule[i * o->counts + count],
                         is_required(o->required, m->key) ? seq
                                                          : ast_or(b, seq, ast_call(b, skip)));
        }
    }
}

/* The key of a further member: of patternProperties, by propertyNames, or any that is not declared. */
static ast *other_key(schema_builder *s, const json *schema, const object_plan *o)
{
    ast_builder *b = s->b;
    const json *names = json_get(schema, "propertyNames");
    if (names && o->n == 0) {
        const json *text = schema_of(&s->doc, "type", json_new_cstr(&b->arena, "string"));
        return of_schema(s, schema_both(&s->doc, names, text));
    }
    if (o->n == 0) return any_string(s);
    json *declared = json_new_array(&b->arena);
    for (size_t i = 0; i < o->n; i++)
        json_push(&b->arena, declared, json_new_string(&b->arena, o->properties->o.members[i].key));
    return quoted(b, other_text(b, declared, STR("")));
}

/* May members be written that are not declared? Beside declared ones only where the schema says so. */
static void plan_others(schema_builder *s, const json *schema, object_plan *o)
{
    ast_builder *b = s->b;
    const json *additional = json_get(schema, "additionalProperties"),
               *patterns = json_get(schema, "patternProperties");
    if (!additional) additional = json_get(schema, "unevaluatedProperties");
    const bool closed = json_is(additional, JSON_BOOL) && !additional->b;
    if (json_len(patterns)) { // declared members are enough where there are any
        if (o->n || json_len(patterns) != 1) {
            if (o->n == 0)
                ast_fail(b, MLTF_UNSUPPORTED,
                         "more than one of \"patternProperties\" is not supported");
            return;
        }
        if (json_get(schema, "propertyNames")) {
            ast_fail(b, MLTF_UNSUPPORTED,
                     "\"patternProperties\" together with \"propertyNames\" is not supported");
            return;
        }
        const json_member *m = &patterns->o.members[0];
        o->other = ast_cat(b, with_pattern(s, m->key, true),
                           ast_cat(b, colon(s), of_schema(s, &m->value)));
        return;
    }
    if (closed || (!additional && o->n)) return;
    if (json_get(schema, "propertyNames") && o->n) return;
    ast *value = json_is(additional, JSON_OBJECT) ? of_schema(s, additional) : any_value(s);
    o->other = ast_cat(b, other_key(s, schema, o), ast_cat(b, colon(s), value));
}

/* properties and what else is required, each with all that the schema says about it. */
static const json *declared_members(schema_builder *s, const json *schema)
{
    mltf_arena *a = &s->b->arena;
    const json *own = json_get(schema, "properties"), *required = json_get(schema, "required"),
               *names = json_get(schema, "propertyNames");
    json *out = json_new_object(a);
    static const json any = {.type = JSON_BOOL, .b = true}, none = {.type = JSON_BOOL, .b = false};
    for (size_t i = 0; i < json_len(own) + json_len(required); i++) {
        const mltf_str name = i < json_len(own)
                                  ? own->o.members[i].key
                                  : json_string(json_at(required, i - json_len(own)), STR(""));
        const json text = {.type = JSON_STRING, .s = name};
        if (json_get_str(out, name)) continue;
        const json *of = schema_of_member(&s->doc, schema, name);
        if (!of) of = json_get(schema, "unevaluatedProperties");
        if (names && !schema_holds(&s->doc, &text, names)) of = &none;
        json_set_str(a, out, name, of ? of : &any);
        if (json_is(of, JSON_BOOL) && !of->b && is_required(required, name))
            ast_impossible(s->b, "\"" STR_FMT "\" is required and not allowed", STR_ARG(name));
    }
    return out;
}

static ast *of_object(schema_builder *s, const json *schema)
{
    ast_builder *b = s->b;
    object_plan o = {.properties = declared_members(s, schema),
                     .required = json_get(schema, "required"),
                     .least = bound(s, schema, "minProperties", 0),
                     .most = bound(s, schema, "maxProperties", AST_MANY)};
    o.n = json_len(o.properties);
    plan_others(s, schema, &o);
    if (o.least > o.n + (o.other != NULL))
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
    for (size_t i = 0; i < (o.n + 1) * o.counts; i++) o.rule[i] = ast_rule_new(s->b);
    object_rules(s, &o);
    return ast_cat(b, ast_cat(b, ast_lit(b, "{"), ast_call(b, o.rule[0])),
                   ast_cat(b, ws(s), ast_lit(b, "}")));
}

static ast *of_array(schema_builder *s, const json *schema)
{
    ast_builder *b = s->b;
    const json *items = json_get(schema, "items"), *prefix = json_get(schema, "prefixItems");
    const uint32_t min = bound(s, schema, "minItems", 0),
                   max = bound(s, schema, "maxItems", AST_MANY);
    if (max < min) return ast_impossible(b, "\"minItems\" is larger than \"maxItems\"");
    if (json_bool(json_get(schema, "uniqueItems"), false) && max > 1) {
        ast_fail(b, MLTF_UNSUPPORTED, "the schema's keyword \"uniqueItems\" is not supported");
        return NULL;
    }
    if (json_is(items, JSON_ARRAY))
        prefix = items, items = json_get(schema, "additionalItems"); // drafts before 2020
    if (!items) items = json_get(schema, "unevaluatedItems");
    const bool closed = json_is(items, JSON_BOOL) && !items->b;
    const uint32_t fixed = json_len(prefix) < max ? (uint32_t)json_len(prefix) : max;
    if (closed && min > fixed)
        return ast_impossible(b, "\"minItems\" asks for more items than the schema allows");
    if (fixed == 0) {
        if (closed) return braced(s, "[", ast_nothing(b), 0, 0, "]");
        return braced(s, "[", items ? of_schema(s, items) : any_value(s), min, max, "]");
    }
    // a tuple: all of the prefix, then what `items` says
    ast *seq = ast_seq(b);
    ast_add(b, seq, ast_lit(b, "["));
    for (uint32_t i = 0; i < fixed; i++) {
        ast *item = of_schema(s, json_at(prefix, i));
        ast_add(b, seq, i ? after_comma(s, item) : ast_cat(b, ws(s), item));
    }
    if ((items || min > fixed) && !closed && max > fixed) {
        ast *more = after_comma(s, items ? of_schema(s, items) : any_value(s));
        ast_add(b, seq,
                ast_repeat(b, more, min > fixed ? min - fixed : 0,
                           max == AST_MANY ? max : max - fixed));
    }
    ast_add(b, seq, ws(s));
    ast_add(b, seq, ast_lit(b, "]"));
    return seq;
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
        if (!is_excepted(schema, &values[i])) ast_add(s->b, alt, constant(s, &values[i]));
    return alt && alt->n ? alt : ast_nothing(s->b);
}

static ast *of_type(schema_builder *s, const json *schema, mltf_str type)
{
    ast_builder *b = s->b;
    const json *except = json_get(schema, "$except");
    const bool array = str_is(type, "array"), object = str_is(type, "object");
    for (size_t i = 0; i < json_len(except) && (array || object); i++)
        if (json_is(json_at(except, i), array ? JSON_ARRAY : JSON_OBJECT)) {
            ast_fail(b, MLTF_UNSUPPORTED,
                     "\"not\" of a particular array or object is not supported");
            return NULL;
        }
    if (object) return of_object(s, schema);
    if (array) return of_array(s, schema);
    if (str_is(type, "string")) return of_string(s, schema);
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
        {"items", "array"},
        {"prefixItems", "array"},
        {"minItems", "array"},
        {"maxItems", "array"},
        {"uniqueItems", "array"},
        {"pattern", "string"},
        {"minLength", "string"},
        {"maxLength", "string"},
        {"format", "string"},
        {"minimum", "number"},
        {"maximum", "number"},
        {"exclusiveMinimum", "number"},
        {"exclusiveMaximum", "number"},
        {"multipleOf", "number"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (json_get(schema, table[i][0])) return table[i][1];
    return NULL;
}

/* Keywords that restrict, and that nothing here looks at. */
static void refuse_unknown(schema_builder *s, const json *schema)
{
    static const char *const keys[] = {"contains",    "minContains",   "maxContains",
                                       "$dynamicRef", "$recursiveRef", NULL};
    for (const char *const *k = keys; *k; k++)
        if (json_get(schema, *k))
            ast_fail(s->b, MLTF_UNSUPPORTED, "the schema's keyword \"%s\" is not supported", *k);
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
        if (merged) ast_add(s->b, alt, of_schema(s, merged));
    }
    return alt && alt->n ? alt : ast_nothing(s->b);
}

/* Values that satisfy `schema` and do not satisfy `not`. */
static ast *of_difference(schema_builder *s, const json *schema, const json * not )
{
    const json *others = schema_negations(&s->doc, not );
    if (json_len(others) == 0 && !(json_is(not, JSON_BOOL) && not ->b))
        ast_fail(s->b, MLTF_UNSUPPORTED,
                 "\"not\" is supported of type, const, enum, bounds, required, properties and "
                 "anyOf of such");
    return of_each(s, schema, others);
}

/* Exactly one: each alternative without the values of all others. */
static ast *of_one(schema_builder *s, const json *schema, const json *one)
{
    ast_builder *b = s->b;
    ast *alt = ast_alt(b);
    for (size_t i = 0; i < json_len(one) && ast_ok(b); i++) {
        const json *merged = with_part(s, schema, json_at(one, i));
        for (size_t k = 0; k < json_len(one) && ast_ok(b); k++) {
            if (k == i || (json_is(merged, JSON_BOOL) && !merged->b)) continue;
            if (schema_excludes(&s->doc, merged, json_at(one, k))) continue;
            const json *others = schema_negations(&s->doc, json_at(one, k));
            json *apart = json_new_array(&b->arena);
            for (size_t x = 0; x < json_len(others); x++) {
                const json *one_way = both(s, merged, json_at(others, x));
                if (one_way && !(json_is(one_way, JSON_BOOL) && !one_way->b))
                    json_push(&b->arena, apart, one_way);
            }
            if (json_len(apart) == 0)
                ast_fail(b, MLTF_UNSUPPORTED,
                         "alternatives %zu and %zu of \"oneOf\" may hold for the same value, and "
                         "what tells them apart is not understood; \"anyOf\" has no such rule",
                         i, k);
            merged = schema_of(&s->doc, "anyOf", apart);
        }
        if (merged) ast_add(b, alt, of_schema(s, merged));
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
    if (yes) ast_add(s->b, alt, of_schema(s, yes));
    if (no) ast_add(s->b, alt, of_each(s, no, schema_negations(&s->doc, condition)));
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
        json_push(a, alternatives, schema_of(&s->doc, "properties", absent));
        json_push(a, present, json_new_string(a, m->key));
        for (size_t k = 0; json_is(&m->value, JSON_ARRAY) && k < json_len(&m->value); k++)
            json_push(a, present, json_at(&m->value, k));
        const json *with = schema_of(&s->doc, "required", present);
        if (!json_is(&m->value, JSON_ARRAY)) with = both(s, with, &m->value);
        json_push(a, alternatives, with);
        rest = both(s, rest, schema_of(&s->doc, "anyOf", alternatives));
    }
    return rest ? of_schema(s, rest) : NULL;
}

/* Of the values that a schema lists those that satisfy all else it says. */
static ast *of_values(schema_builder *s, const json *schema, const json *values)
{
    ast *alt = ast_alt(s->b);
    for (size_t i = 0; i < json_len(values); i++)
        if (schema_holds(&s->doc, json_at(values, i), schema))
            ast_add(s->b, alt, constant(s, json_at(values, i)));
    return alt && alt->n ? alt : ast_nothing(s->b);
}

/* A schema that says everything once: no alternatives left. */
static ast *of_plain(schema_builder *s, const json *schema)
{
    ast_builder *b = s->b;
    refuse_unknown(s, schema);
    const json *type = json_get(schema, "type");
    const char *implied = implied_type(schema);
    ast *alt = NULL;
    if (json_is(type, JSON_ARRAY)) {
        alt = ast_alt(b);
        for (size_t i = 0; i < json_len(type); i++)
            ast_add(b, alt, of_type(s, schema, json_string(json_at(type, i), STR(""))));
    } else if (type) {
        alt = of_type(s, schema, json_string(type, STR("?")));
    } else if (implied) {
        alt = of_type(s, schema, str_from(implied));
    } else if (json_get(schema, "$except")) {
        alt = of_type(s, schema, STR("string"));
    } else {
        alt = any_value(s);
    }
    // OpenAPI's way to say type or null
    if (json_bool(json_get(schema, "nullable"), false)) alt = ast_or(b, alt, ast_lit(b, "null"));
    return alt;
}

static ast *body_of(schema_builder *s, const json *schema)
{
    ast_builder *b = s->b;
    static const json any = {.type = JSON_BOOL, .b = true};
    if (json_is(schema, JSON_BOOL)) return schema->b ? any_value(s) : ast_nothing(b);
    if (!json_is(schema, JSON_OBJECT)) {
        ast_fail(b, MLTF_INVALID_INPUT, "a schema has to be an object, but is %s",
                 json_type_name(schema));
        return NULL;
    }
    const json *ref = json_get(schema, "$ref"), *value = json_get(schema, "const");
    if (json_is(ref, JSON_STRING)) {
        const json *to = schema_resolve(&s->doc, ref->s);
        const json *beside = schema_without(&s->doc, schema, "$ref");
        // with nothing beside the reference the rule of its target is used, so that it may recurse
        const json *merged = to && schema_restricts(beside) ? with_part(s, beside, to) : to;
        return merged ? of_schema(s, merged) : NULL;
    }
    if (json_get(schema, "allOf")) {
        const json *merged = both(s, schema, &any);
        return merged ? of_schema(s, merged) : NULL;
    }
    if (value) {
        json *one = json_new_array(&b->arena);
        json_push(&b->arena, one, value);
        return of_values(s, schema, one);
    }
    if (json_is(json_get(schema, "enum"), JSON_ARRAY))
        return of_values(s, schema, json_get(schema, "enum"));
    static const char *const dependent[] = {"dependentRequired", "dependentSchemas", "dependencies",
                                            NULL};
    for (const char *const *k = dependent; *k; k++)
        if (json_get(schema, *k)) return of_dependencies(s, schema, *k);
    if (json_get(schema, "if")) return of_condition(s, schema);
    if (json_get(schema, "not"))
        return of_difference(s, schema_without(&s->doc, schema, "not"), json_get(schema, "not"));
    if (json_is(json_get(schema, "anyOf"), JSON_ARRAY))
        return of_each(s, schema_without(&s->doc, schema, "anyOf"), json_get(schema, "anyOf"));
    if (json_is(json_get(schema, "oneOf"), JSON_ARRAY))
        return of_one(s, schema_without(&s->doc, schema, "oneOf"), json_get(schema, "oneOf"));
    return of_plain(s, schema);
}

static ast *of_schema(schema_builder *s, const json *schema)
{
    if (!ast_ok(s->b)) return NULL;
    for (size_t i = 0; i < s->n_seen; i++)
        if (s->seen[i].schema == schema) return ast_call(s->b, s->seen[i].rule);
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
    ast_rule_set(&b, root, ast_cat(&b, ws(&s), of_schema(&s, schema)));
    return constraint_compile(out, trie, &b, root, err);
}

static mltf_status any_json_object(gen_constraint **out, const gen_trie *trie, mltf_err *err)
{
    ast_builder b = {0};
    schema_builder s = {.doc = {.b = &b}, .b = &b};
    const size_t root = ast_rule_new(&b);
    ast_rule_set(&b, root, ast_cat(&b, ws(&s), any_object(&s)));
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
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "response_format type \"" STR_FMT
                     "\" is none of text, json_object, json_schema, regex (with \"pattern\") and "
                     "grammar (with \"grammar\")",
                     STR_ARG(type));
}
