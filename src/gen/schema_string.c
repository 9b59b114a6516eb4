/* Strings: which texts satisfy a schema, and the grammar of them. */
#include "gen/schema_grammar.h"
#include "gen/text_dfa.h"

/* ---- formats ------------------------------------------------------------------------------- */

#define DATE                                                                                       \
    "[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"  \
    "02-(0[1-9]|1[0-9]|2[0-8]))"
#define TIME                                                                                       \
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]" \
    ")"
#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
#define HOST  LABEL "(\\." LABEL "){0,4}"

/* What is known of a format. */
typedef struct text_format {
    const char *name;
    const char
        *written;      /* texts that certainly have it; some rare ones (29 February) are left out */
    const char *shape; /* found in every text that any reader would take for one */
} text_format;

static const text_format *find_format(const json *name)
{
    static const text_format table[] = {
        {"date", DATE, "^[0-9Ww-]+$"},
        {"time", TIME, "^[0-9]+:[0-9:.,]*([Zz]|[+-][0-9:]+)?$"},
        {"date-time", DATE "T" TIME, "^[0-9-]+[Tt _][0-9:.,]+([Zz]|[+-][0-9:]+)?$"},
        {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
         "^[0-9a-zA-Z{}:-]{32,}$"},
        {"ipv4",
         "((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]["
         "0-9]|[1-9]?[0-9])",
         "^[0-9a-fA-FxX.]+$"},
        {"ipv6", "([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}", ":[^:]*:"},
        {"email", "[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,32}){0,2}@" HOST, "@"},
        {"hostname", HOST, "^[^\\s/@:?#]+$"},
        {"uri", "https?://" HOST "(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._~-]{0,64}){0,8}",
         "^[A-Za-z][A-Za-z0-9+.-]*:"},
        {"duration",
         "P([0-9]{1,6}W|[0-9]{1,6}D(T[0-9]{1,6}H)?|T[0-9]{1,6}(H([0-9]{1,6}M)?|M([0-9]{"
         "1,6}S)?|S))",
         "^[+-]?[Pp]"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (str_is(json_string(name, STR("")), table[i].name)) return &table[i];
    return NULL;
}

bool schema_format_known(const json *format)
{
    return find_format(format) != NULL;
}

bool schema_format_denied(schema_doc *s, const json *format, mltf_str text)
{
    const text_format *f = find_format(format);
    return s->denied && f && !schema_pattern_matches(s, str_from(f->shape), text);
}

/* ---- texts that satisfy a schema ----------------------------------------------------------- */

static ast *characters(ast_builder *b, uint32_t min, uint32_t max)
{
    char_set all = {.n = 0};
    char_set_invert(&all);
    return ast_repeat(b, ast_chars(b, &all), min, max);
}

static text_dfa *any_text(schema_doc *s)
{
    ast_builder from = {0};
    if (!s->any_text) s->any_text = text_dfa_of(s->b, &from, characters(&from, 0, AST_MANY));
    return s->any_text;
}

/* The strings that a text must not be: rather too many than too few, where it is not certain. */
static text_dfa *denied_texts(schema_doc *s, const json *schema)
{
    s->denied = !s->denied;
    text_dfa *x = schema_texts(s, schema);
    s->denied = !s->denied;
    return x;
}

static text_dfa *without(schema_doc *s, text_dfa *x, const json *schema)
{
    return text_dfa_without(s->b, x, denied_texts(s, schema));
}

/* The strings of a list. */
static text_dfa *listed(schema_doc *s, const json *values)
{
    ast_builder from = {0};
    ast *alt = ast_alt(&from);
    for (size_t i = 0; i < json_len(values); i++)
        if (json_is(json_at(values, i), JSON_STRING))
            ast_add(&from, alt, ast_bytes(&from, json_at(values, i)->s));
    return text_dfa_of(s->b, &from, alt && alt->n ? alt : ast_nothing(&from));
}

static text_dfa *of_lengths(schema_doc *s, const json *schema)
{
    const json *min = json_get(schema, "minLength"), *max = json_get(schema, "maxLength");
    ast_builder from = {0};
    const int64_t least = json_int(min, 0), most = json_int(max, INT32_MAX);
    if (least > TEXT_DFA_STATES || (max && most > TEXT_DFA_STATES))
        ast_fail(s->b, MLTF_UNSUPPORTED,
                 "lengths above %u together with other conditions on a string are not supported",
                 TEXT_DFA_STATES);
    const uint32_t lo = least > 0 ? (uint32_t)least : 0;
    ast *a = most < (int64_t)lo || !ast_ok(s->b)
                 ? ast_nothing(&from)
                 : characters(&from, lo, max ? (uint32_t)most : AST_MANY);
    return text_dfa_of(s->b, &from, a);
}

/* Of the alternatives any. */
static text_dfa *of_any(schema_doc *s, text_dfa *x, const json *alternatives)
{
    text_dfa *some = text_dfa_new(s->b, 1, 1);
    for (size_t i = 0; i < json_len(alternatives) && ast_ok(s->b); i++)
        some = text_dfa_either(s->b, some, schema_texts(s, json_at(alternatives, i)));
    return text_dfa_both(s->b, x, some);
}

/* Of the alternatives exactly one. */
static text_dfa *of_one(schema_doc *s, text_dfa *x, const json *alternatives)
{
    text_dfa *some = text_dfa_new(s->b, 1, 1), *twice = text_dfa_new(s->b, 1, 1);
    for (size_t i = 0; i < json_len(alternatives) && ast_ok(s->b); i++) {
        text_dfa *of = denied_texts(s, json_at(alternatives, i));
        twice = text_dfa_either(s->b, twice, text_dfa_both(s->b, some, of));
        some = text_dfa_either(s->b, some, of);
    }
    return text_dfa_without(s->b, of_any(s, x, alternatives), twice);
}

static text_dfa *of_condition(schema_doc *s, text_dfa *x, const json *schema)
{
    static const json any = {.type = JSON_BOOL, .b = true};
    const json *then = json_get(schema, "then"), *otherwise = json_get(schema, "else"),
               *condition = json_get(schema, "if");
    return text_dfa_either(s->b,
                           text_dfa_both(s->b, text_dfa_both(s->b, x, schema_texts(s, condition)),
                                         schema_texts(s, then ? then : &any)),
                           text_dfa_both(s->b, without(s, x, condition),
                                         schema_texts(s, otherwise ? otherwise : &any)));
}

static bool has_type_string(const json *type)
{
    if (json_is(type, JSON_STRING)) return str_is(type->s, "string");
    for (size_t i = 0; i < json_len(type); i++)
        if (str_is(json_string(json_at(type, i), STR("")), "string")) return true;
    return !type;
}

/* What the keywords that hold schemas leave of x. */
static text_dfa *of_parts(schema_doc *s, text_dfa *x, const json *schema)
{
    static const char *const lists[] = {"allOf", "$and", "$alsoText", NULL};
    const char *key = schema_ref_key(schema);
    const json *ref = key ? json_get(schema, key) : NULL, *any = json_get(schema, "anyOf"),
               *one = json_get(schema, "oneOf"), *not = json_get(schema, "not"),
               *denied = json_get(schema, "$notText");
    if (json_is(ref, JSON_STRING))
        x = text_dfa_both(s->b, x, schema_texts(s, schema_resolve(s, ref->s)));
    for (const char *const *l = lists; *l; l++) {
        const json *all = json_get(schema, *l);
        for (size_t i = 0; i < json_len(all); i++)
            x = text_dfa_both(s->b, x, schema_texts(s, json_at(all, i)));
    }
    if (any) x = of_any(s, x, any);
    if (one) x = of_one(s, x, one);
    if (not ) x = without(s, x, not );
    for (size_t i = 0; i < json_len(denied); i++) x = without(s, x, json_at(denied, i));
    if (json_get(schema, "if")) x = of_condition(s, x, schema);
    return x;
}

text_dfa *schema_texts(schema_doc *s, const json *schema)
{
    ast_builder *b = s->b;
    if (!ast_ok(b)) return NULL;
    text_dfa *x = any_text(s);
    const bool never = json_is(schema, JSON_BOOL) && !schema->b;
    if (never || !has_type_string(json_get(schema, "type"))) return text_dfa_new(b, 1, 1);
    if (!json_is(schema, JSON_OBJECT)) return x;
    if (++s->depth > SCHEMA_DEPTH) {
        ast_fail(b, MLTF_UNSUPPORTED, "the schema's references go in circles, or too deep");
        return NULL;
    }
    const json *pattern = json_get(schema, "pattern"), *format = json_get(schema, "format"),
               *value = json_get(schema, "const"), *values = json_get(schema, "enum"),
               *except = json_get(schema, "$except");
    const text_format *known = find_format(format);
    if (json_is(pattern, JSON_STRING))
        x = text_dfa_both(b, x, text_dfa_of_pattern(b, pattern->s, true));
    if (known) {
        const char *of = s->denied ? known->shape : known->written;
        x = text_dfa_both(b, x, text_dfa_of_pattern(b, str_from(of), s->denied));
    }
    if (json_get(schema, "minLength") || json_get(schema, "maxLength"))
        x = text_dfa_both(b, x, of_lengths(s, schema));
    if (value) {
        json *one = json_new_array(&b->arena);
        json_push(&b->arena, one, value);
        x = text_dfa_both(b, x, listed(s, one));
    }
    if (values) x = text_dfa_both(b, x, listed(s, values));
    if (except) x = text_dfa_without(b, x, listed(s, except));
    x = of_parts(s, x, schema);
    s->depth--;
    return x;
}

/* ---- the grammar --------------------------------------------------------------------------- */

static ast *of_pattern(schema_builder *s, mltf_str pattern, bool search)
{
    s->b->json_text = true;
    ast *inside = regex_parse(s->b, pattern, search);
    s->b->json_text = false;
    return grammar_quoted(s->b, inside);
}

static bool has_string(const json *list)
{
    for (size_t i = 0; i < json_len(list); i++)
        if (json_is(json_at(list, i), JSON_STRING)) return true;
    return false;
}

/* One condition alone has a grammar of its own, which is smaller; several are multiplied. */
ast *schema_string(schema_builder *s, const json *schema)
{
    ast_builder *b = s->b;
    const json *pattern = json_get(schema, "pattern"), *format = json_get(schema, "format");
    const uint32_t min = schema_bound(s, schema, "minLength", 0),
                   max = schema_bound(s, schema, "maxLength", AST_MANY);
    const text_format *known = find_format(format);
    const bool lengths = min || max != AST_MANY, sets = has_string(json_get(schema, "$except")) ||
                                                        json_get(schema, "$notText") ||
                                                        json_get(schema, "$alsoText");
    if (max < min) return ast_impossible(b, "\"minLength\" is larger than \"maxLength\"");
    if ((pattern != NULL) + (known != NULL) + lengths + sets > 1 || sets) {
        text_dfa *texts = schema_texts(&s->doc, schema);
        if (ast_ok(b) && text_dfa_is_empty(texts))
            return ast_impossible(b, "no string satisfies all of a schema's conditions");
        return grammar_quoted(b, text_dfa_ast(b, texts, true));
    }
    if (json_is(pattern, JSON_STRING)) return of_pattern(s, pattern->s, true);
    if (known) return of_pattern(s, str_from(known->written), false);
    if (!lengths) return grammar_any_string(s);
    return grammar_string_of(s, min, max);
}
