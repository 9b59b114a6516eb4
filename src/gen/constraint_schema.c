/* JSON schema -> grammar over the bytes of JSON text.
 *
 * Whitespace: where JSON allows it, nothing, one space, or a line end with at most 20 blanks of indentation: all
 * that models write, and no room to write blanks forever. Numbers have at most 18 digits a part for the same
 * reason. Each schema object becomes a rule, so $ref may recurse. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gen/constraint_ast.h"

typedef struct schema_builder {
    ast_builder *b;
    const json *root;
    const json **seen; /* [b->n_rules] which schema a rule is for; NULL for helpers */
    size_t cap_seen;
    size_t ws, value, string; /* shared rules, 0 while not made (rule 0 is the root) */
    int depth;
} schema_builder;

static ast *of_schema(schema_builder *s, const json *schema);

static size_t new_rule(schema_builder *s, const json *schema)
{
    const size_t r = ast_rule_new(s->b);
    if (r >= s->cap_seen) {
        const size_t cap = s->cap_seen ? s->cap_seen * 2 : 64;
        const json **p = arena_calloc(&s->b->arena, cap, sizeof *p);
        if (!p) {
            mltf_fail_memory(&s->b->err);
            return 0;
        }
        if (s->cap_seen) memcpy(p, s->seen, s->cap_seen * sizeof *p);
        s->seen = p;
        s->cap_seen = cap;
    }
    if (ast_ok(s->b)) s->seen[r] = schema;
    return r;
}

/* ---- the pieces of JSON -------------------------------------------------------------------- */

static ast *ws(schema_builder *s)
{
    ast_builder *b = s->b;
    if (!s->ws) {
        s->ws = new_rule(s, NULL);
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

static ast *digits(ast_builder *b, uint32_t min, uint32_t max)
{
    char_set d = {.n = 0};
    char_set_add(&d, '0', '9');
    return ast_repeat(b, ast_chars(b, &d), min, max);
}

static ast *one_of_range(ast_builder *b, char from, char to)
{
    char_set d = {.n = 0};
    char_set_add(&d, (uint32_t)from, (uint32_t)to);
    return ast_chars(b, &d);
}

static ast *integer(ast_builder *b)
{
    ast *positive =
        ast_or(b, ast_lit(b, "0"), ast_cat(b, one_of_range(b, '1', '9'), digits(b, 0, 17)));
    return ast_cat(b, ast_repeat(b, ast_lit(b, "-"), 0, 1), positive);
}

static ast *number(ast_builder *b)
{
    ast *fraction = ast_cat(b, ast_lit(b, "."), digits(b, 1, 18));
    ast *sign = ast_or(b, ast_lit(b, "+"), ast_lit(b, "-"));
    ast *exponent = ast_cat(b, ast_or(b, ast_lit(b, "e"), ast_lit(b, "E")),
                            ast_cat(b, ast_repeat(b, sign, 0, 1), digits(b, 1, 3)));
    return ast_cat(b, integer(b),
                   ast_cat(b, ast_repeat(b, fraction, 0, 1), ast_repeat(b, exponent, 0, 1)));
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
        s->string = new_rule(s, NULL);
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
        s->value = new_rule(s, NULL);
        ast *alt = ast_alt(b);
        ast_add(b, alt, any_object(s));
        ast_add(b, alt, braced(s, "[", any_value(s), 0, AST_MANY, "]"));
        ast_add(b, alt, any_string(s));
        ast_add(b, alt, number(b));
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

static const char *format_pattern(mltf_str name)
{
    static const char *const table[][2] = {
        {"date", "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"},
        {"time", "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3])"
                 ":[0-5][0-9])?"},
        {"date-time", "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5]["
                      "0-9]:[0-5][0-9]"
                      "(\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"},
        {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
        {"ipv4", "((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]["
                 "0-9]|[1-9]?[0-9])"},
        {"email", "[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\\.[A-Za-z0-9-]{1,63}){1,4}"},
        {"duration", "P([0-9]{1,6}W|([0-9]{1,6}Y)?([0-9]{1,6}M)?([0-9]{1,6}D)?(T([0-9]{1,6}H)?([0-"
                     "9]{1,6}M)?([0-9]{1,6}S)?)?)"},
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

static ast *of_string(schema_builder *s, const json *schema)
{
    const json *pattern = json_get(schema, "pattern"), *format = json_get(schema, "format");
    const uint32_t min = bound(s, schema, "minLength", 0),
                   max = bound(s, schema, "maxLength", AST_MANY);
    if (json_is(pattern, JSON_STRING)) {
        if (min || max != AST_MANY)
            ast_fail(s->b, MLTF_UNSUPPORTED,
                     "\"pattern\" together with \"minLength\" or \"maxLength\" is not supported; "
                     "put the length into the pattern");
        return with_pattern(s, pattern->s, true);
    }
    if (json_is(format, JSON_STRING) && format_pattern(format->s))
        return with_pattern(s, str_from(format_pattern(format->s)), false);
    if (max < min) {
        ast_fail(s->b, MLTF_INVALID_INPUT, "\"minLength\" is larger than \"maxLength\"");
        return NULL;
    }
    if (min == 0 && max == AST_MANY) return any_string(s);
    return quoted(s->b, ast_repeat(s->b, string_char(s->b), min, max));
}

/* ---- integers in a range ------------------------------------------------------------------- */

static bool all_are(const char *s, size_t n, char c)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] != c) return false;
    return true;
}

/* Digit strings from lo to hi, both of n digits: a ragged beginning, a ragged end, and what lies between. */
static ast *same_length(ast_builder *b, const char *lo, const char *hi, size_t n)
{
    static const char nines[] = "9999999999999999999", zeros[] = "0000000000000000000";
    if (n == 0) return ast_empty(b);
    if (lo[0] == hi[0])
        return ast_cat(b, one_of_range(b, lo[0], lo[0]), same_length(b, lo + 1, hi + 1, n - 1));
    ast *alt = ast_alt(b);
    char from = lo[0], to = hi[0];
    if (!all_are(lo + 1, n - 1, '0')) {
        ast_add(b, alt,
                ast_cat(b, one_of_range(b, from, from), same_length(b, lo + 1, nines, n - 1)));
        from++;
    }
    if (!all_are(hi + 1, n - 1, '9')) {
        ast_add(b, alt, ast_cat(b, one_of_range(b, to, to), same_length(b, zeros, hi + 1, n - 1)));
        to--;
    }
    if (from <= to)
        ast_add(b, alt,
                ast_cat(b, one_of_range(b, from, to), digits(b, (uint32_t)n - 1, (uint32_t)n - 1)));
    return alt;
}

static ast *natural_range(ast_builder *b, uint64_t lo, uint64_t hi)
{
    ast *alt = ast_alt(b);
    for (uint64_t from = lo;;) {
        char x[24], y[24];
        const int n = snprintf(x, sizeof x, "%llu", (unsigned long long)from);
        uint64_t last = 9;
        for (int i = 1; i < n; i++) last = last * 10 + 9;
        if (last > hi) last = hi;
        snprintf(y, sizeof y, "%llu", (unsigned long long)last);
        ast_add(b, alt, same_length(b, x, y, (size_t)n));
        if (last >= hi) break;
        from = last + 1;
    }
    return alt;
}

#define FAR ((int64_t)999999999999999999)

static bool integer_bounds(schema_builder *s, const json *schema, int64_t *lo, int64_t *hi)
{
    static const struct {
        const char *key;
        bool upper, open;
    } keys[] = {{"minimum", false, false},
                {"exclusiveMinimum", false, true},
                {"maximum", true, false},
                {"exclusiveMaximum", true, true}};
    bool any = false;
    *lo = -FAR;
    *hi = FAR;
    for (size_t i = 0; i < 4; i++) {
        const json *v = json_get(schema, keys[i].key);
        if (!v) continue;
        if (!json_is_number(v)) {
            ast_fail(s->b, MLTF_INVALID_INPUT, "\"%s\" in the schema has to be a number",
                     keys[i].key);
            continue;
        }
        any = true;
        double d = json_double(v, 0);
        if (d > (double)FAR) d = (double)FAR;
        if (d < -(double)FAR) d = -(double)FAR;
        if (keys[i].upper) {
            const int64_t n = (int64_t)floor(d) - (keys[i].open && floor(d) == d);
            if (n < *hi) *hi = n;
        } else {
            const int64_t n = (int64_t)ceil(d) + (keys[i].open && ceil(d) == d);
            if (n > *lo) *lo = n;
        }
    }
    return any;
}

static ast *of_integer(schema_builder *s, const json *schema)
{
    int64_t lo, hi;
    if (!integer_bounds(s, schema, &lo, &hi)) return integer(s->b);
    ast_builder *b = s->b;
    if (lo > hi) {
        ast_fail(b, MLTF_INVALID_INPUT,
                 "no integer lies between the schema's \"minimum\" and \"maximum\"");
        return NULL;
    }
    ast *alt = ast_alt(b);
    if (lo < 0)
        ast_add(b, alt,
                ast_cat(b, ast_lit(b, "-"),
                        natural_range(b, hi < 0 ? (uint64_t)-hi : 1, (uint64_t)-lo)));
    if (hi >= 0) ast_add(b, alt, natural_range(b, lo > 0 ? (uint64_t)lo : 0, (uint64_t)hi));
    return alt;
}

/* Bounds of a number that are integers: each unit interval inside, with any fraction, and the upper end alone. */
static ast *of_number(schema_builder *s, const json *schema)
{
    int64_t lo, hi;
    if (!integer_bounds(s, schema, &lo, &hi)) return number(s->b);
    ast_builder *b = s->b;
    static const char *const keys[] = {"minimum", "exclusiveMinimum", "maximum",
                                       "exclusiveMaximum"};
    for (size_t i = 0; i < 4; i++) {
        const json *v = json_get(schema, keys[i]);
        if (v && (json_double(v, 0) != floor(json_double(v, 0)) || i % 2))
            ast_fail(b, MLTF_UNSUPPORTED,
                     "\"%s\" of numbers is supported for inclusive integer bounds only", keys[i]);
    }
    if (lo > hi) {
        ast_fail(b, MLTF_INVALID_INPUT,
                 "no number lies between the schema's \"minimum\" and \"maximum\"");
        return NULL;
    }
    ast *fraction = ast_cat(b, ast_lit(b, "."), digits(b, 1, 18));
    ast *zeros = ast_cat(b, ast_lit(b, "."), ast_repeat(b, ast_lit(b, "0"), 1, 18));
    ast *alt = ast_alt(b);
    if (hi >= 0) {
        const uint64_t from = lo > 0 ? (uint64_t)lo : 0;
        if (from < (uint64_t)hi)
            ast_add(b, alt,
                    ast_cat(b, natural_range(b, from, (uint64_t)hi - 1),
                            ast_repeat(b, fraction, 0, 1)));
        ast_add(
            b, alt,
            ast_cat(b, natural_range(b, (uint64_t)hi, (uint64_t)hi), ast_repeat(b, zeros, 0, 1)));
    }
    if (lo < 0) { // the same mirrored: -0.5 lies above -1
        const uint64_t far = (uint64_t)-lo, near = hi < 0 ? (uint64_t)-hi : 0;
        ast *minus = ast_alt(b);
        if (near < far)
            ast_add(b, minus,
                    ast_cat(b, natural_range(b, near, far - 1), ast_repeat(b, fraction, 0, 1)));
        ast_add(b, minus, ast_cat(b, natural_range(b, far, far), ast_repeat(b, zeros, 0, 1)));
        ast_add(b, alt, ast_cat(b, ast_lit(b, "-"), minus));
    }
    return alt;
}

/* ---- objects and arrays -------------------------------------------------------------------- */

/* A key that is none of the declared ones: a walk through the trie of their names. */
static ast *other_key(ast_builder *b, const json *properties, mltf_str prefix)
{
    char_set next = {.n = 0}, rest = {.n = 0};
    bool ends = false; // a declared name ends here
    ast *alt = ast_alt(b);
    for (size_t i = 0; i < json_len(properties); i++) {
        const mltf_str key = properties->o.members[i].key;
        if (key.n < prefix.n || memcmp(key.p, prefix.p, prefix.n) != 0) continue;
        if (key.n == prefix.n) {
            ends = true;
            continue;
        }
        const uint8_t c = (uint8_t)key.p[prefix.n];
        bool known = false;
        for (size_t k = 0; k < next.n; k++) known |= next.r[k].from == c;
        if (known || c >= 128 || next.n >= 90) continue; // beyond ASCII: see below
        next.r[next.n++] = (char_range){c, c};
        const mltf_str longer = {key.p, prefix.n + 1};
        ast_add(b, alt, ast_cat(b, ast_char(b, c), other_key(b, properties, longer)));
    }
    // any character that no declared name has here; keys with escapes and (to be safe) other scripts are left out
    rest = next;
    char_set_add(&rest, 0, 31);
    char_set_add(&rest, '"', '"');
    char_set_add(&rest, '\\', '\\');
    char_set_add(&rest, 128, 0x10FFFF);
    char_set_invert(&rest);
    char_set tail = {.n = 0};
    char_set_add(&tail, 0, 31);
    char_set_add(&tail, '"', '"');
    char_set_add(&tail, '\\', '\\');
    char_set_invert(&tail);
    ast_add(b, alt,
            ast_cat(b, ast_chars(b, &rest), ast_repeat(b, ast_chars(b, &tail), 0, AST_MANY)));
    if (!ends) ast_add(b, alt, ast_empty(b));
    return alt;
}

static bool is_required(const json *required, mltf_str key)
{
    for (size_t i = 0; i < json_len(required); i++)
        if (str_eq(json_string(json_at(required, i), STR("")), key)) return true;
    return false;
}

/* Members in the order of `properties`, optional ones left out or not. Rule (i, first): what may follow when the
 * members before i are through and whether one was written. */
static ast *of_object(schema_builder *s, const json *schema)
{
    ast_builder *b = s->b;
    const json *properties = json_get(schema, "properties"),
               *required = json_get(schema, "required"),
               *additional = json_get(schema, "additionalProperties");
    const bool open = additional ? !(json_is(additional, JSON_BOOL) && !additional->b)
                                 : !json_is(properties, JSON_OBJECT);
    const json *additional_schema = json_is(additional, JSON_OBJECT) ? additional : NULL;
    const size_t n = json_len(properties);
    for (size_t i = 0; i < json_len(required); i++)
        if (!json_get_str(properties, json_string(json_at(required, i), STR(""))) && !open)
            ast_fail(b, MLTF_INVALID_INPUT,
                     "the schema requires \"" STR_FMT "\", which it does not allow",
                     STR_ARG(json_string(json_at(required, i), STR(""))));
    if (n == 0) {
        if (!open) return ast_cat(b, ast_cat(b, ast_lit(b, "{"), ws(s)), ast_lit(b, "}"));
        ast *member =
            ast_cat(b, any_string(s),
                    ast_cat(b, colon(s),
                            additional_schema ? of_schema(s, additional_schema) : any_value(s)));
        return braced(s, "{", member, bound(s, schema, "minProperties", 0),
                      bound(s, schema, "maxProperties", AST_MANY), "}");
    }
    size_t *rule[2] = {arena_calloc(&b->arena, n + 1, sizeof(size_t)),
                       arena_calloc(&b->arena, n + 1, sizeof(size_t))};
    if (!rule[0] || !rule[1]) {
        mltf_fail_memory(&b->err);
        return NULL;
    }
    for (size_t i = 0; i <= n; i++)
        for (int first = 0; first < 2; first++) rule[first][i] = new_rule(s, NULL);
    for (int first = 0; first < 2; first++) { // behind the last declared one
        ast *end = ast_empty(b);
        if (open) {
            ast *member = ast_cat(
                b, quoted(b, other_key(b, properties, (mltf_str){"", 0})),
                ast_cat(b, colon(s),
                        additional_schema ? of_schema(s, additional_schema) : any_value(s)));
            ast *more = ast_cat(b, ast_cat(b, ws(s), ast_lit(b, ",")), ast_cat(b, ws(s), member));
            end = first ? ast_repeat(b,
                                     ast_cat(b, ast_cat(b, ws(s), member),
                                             ast_repeat(b, more, 0, AST_MANY)),
                                     0, 1)
                        : ast_repeat(b, more, 0, AST_MANY);
        }
        ast_rule_set(b, rule[first][n], end);
    }
    for (size_t i = n; i-- > 0 && ast_ok(b);) {
        const json_member *m = &properties->o.members[i];
        const json key = {.type = JSON_STRING, .s = m->key};
        const bool must = is_required(required, m->key);
        for (int first = 0; first < 2; first++) {
            ast *seq = ast_seq(b);
            if (!first) {
                ast_add(b, seq, ws(s));
                ast_add(b, seq, ast_lit(b, ","));
            }
            ast_add(b, seq, ws(s));
            ast_add(b, seq, constant(s, &key));
            ast_add(b, seq, colon(s));
            ast_add(b, seq, of_schema(s, &m->value));
            ast_add(b, seq, ast_call(b, rule[0][i + 1]));
            ast_rule_set(b, rule[first][i],
                         must ? seq : ast_or(b, seq, ast_call(b, rule[first][i + 1])));
        }
    }
    return ast_cat(b, ast_cat(b, ast_lit(b, "{"), ast_call(b, rule[1][0])),
                   ast_cat(b, ws(s), ast_lit(b, "}")));
}

static ast *of_array(schema_builder *s, const json *schema)
{
    ast_builder *b = s->b;
    const json *items = json_get(schema, "items"), *prefix = json_get(schema, "prefixItems");
    const uint32_t min = bound(s, schema, "minItems", 0),
                   max = bound(s, schema, "maxItems", AST_MANY);
    if (max < min) {
        ast_fail(b, MLTF_INVALID_INPUT, "\"minItems\" is larger than \"maxItems\"");
        return NULL;
    }
    if (json_is(items, JSON_ARRAY))
        prefix = items, items = json_get(schema, "additionalItems"); // drafts before 2020
    const bool closed = json_is(items, JSON_BOOL) && !items->b;
    const size_t fixed = json_len(prefix);
    if (fixed == 0) {
        if (closed) return braced(s, "[", ast_nothing(b), 0, 0, "]");
        return braced(s, "[", items ? of_schema(s, items) : any_value(s), min, max, "]");
    }
    // a tuple: all of the prefix, then what `items` says
    ast *seq = ast_seq(b);
    ast_add(b, seq, ast_lit(b, "["));
    for (size_t i = 0; i < fixed; i++) {
        if (i) {
            ast_add(b, seq, ws(s));
            ast_add(b, seq, ast_lit(b, ","));
        }
        ast_add(b, seq, ws(s));
        ast_add(b, seq, of_schema(s, json_at(prefix, i)));
    }
    if (items && !closed) {
        ast *more =
            ast_cat(b, ast_cat(b, ws(s), ast_lit(b, ",")), ast_cat(b, ws(s), of_schema(s, items)));
        const uint32_t most = max == AST_MANY ? max : max > fixed ? max - (uint32_t)fixed : 0;
        ast_add(b, seq, ast_repeat(b, more, min > fixed ? min - (uint32_t)fixed : 0, most));
    }
    ast_add(b, seq, ws(s));
    ast_add(b, seq, ast_lit(b, "]"));
    return seq;
}

/* ---- schemas ------------------------------------------------------------------------------- */

/* "#", "#/$defs/name", "#/properties/a/items": JSON pointers into the document. */
static const json *resolve(schema_builder *s, mltf_str ref)
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

static ast *of_type(schema_builder *s, const json *schema, mltf_str type)
{
    ast_builder *b = s->b;
    if (str_is(type, "object")) return of_object(s, schema);
    if (str_is(type, "array")) return of_array(s, schema);
    if (str_is(type, "string")) return of_string(s, schema);
    if (str_is(type, "integer")) return of_integer(s, schema);
    if (str_is(type, "number")) return of_number(s, schema);
    if (str_is(type, "boolean")) return ast_or(b, ast_lit(b, "true"), ast_lit(b, "false"));
    if (str_is(type, "null")) return ast_lit(b, "null");
    ast_fail(b, MLTF_INVALID_INPUT, "\"type\": \"" STR_FMT "\" is no type of JSON schema",
             STR_ARG(type));
    return NULL;
}

/* Keywords that restrict, and that nothing here looks at. */
static void refuse_unknown(schema_builder *s, const json *schema)
{
    static const char *const keys[] = {"not",
                                       "if",
                                       "patternProperties",
                                       "propertyNames",
                                       "dependentRequired",
                                       "dependentSchemas",
                                       "dependencies",
                                       "contains",
                                       "uniqueItems",
                                       "multipleOf",
                                       "unevaluatedProperties",
                                       "unevaluatedItems",
                                       "$dynamicRef",
                                       NULL};
    for (const char *const *k = keys; *k; k++) {
        const json *v = json_get(schema, *k);
        if (v && !(json_is(v, JSON_BOOL) && !v->b))
            ast_fail(s->b, MLTF_UNSUPPORTED, "the schema's keyword \"%s\" is not supported", *k);
    }
}

/* allOf of objects: one object with the properties and requirements of all. */
static const json *merged(schema_builder *s, const json *schema)
{
    mltf_arena *a = &s->b->arena;
    json *out = json_new_object(a), *properties = json_new_object(a), *required = json_new_array(a);
    const json *all = json_get(schema, "allOf");
    for (size_t i = 0; i <= json_len(all); i++) {
        const json *part = i < json_len(all) ? json_at(all, i) : schema;
        for (int hops = 0; json_get(part, "$ref") && hops < 16; hops++)
            part = resolve(s, json_string(json_get(part, "$ref"), STR("")));
        for (size_t k = 0; k < json_len(part) && json_is(part, JSON_OBJECT); k++) {
            const json_member *m = &part->o.members[k];
            if (str_is(m->key, "allOf")) {
                if (part != schema)
                    ast_fail(s->b, MLTF_UNSUPPORTED, "\"allOf\" inside \"allOf\" is not supported");
            } else if (str_is(m->key, "properties")) {
                for (size_t p = 0; p < json_len(&m->value); p++)
                    json_set_str(a, properties, m->value.o.members[p].key,
                                 &m->value.o.members[p].value);
            } else if (str_is(m->key, "required")) {
                for (size_t p = 0; p < json_len(&m->value); p++)
                    json_push(a, required, json_at(&m->value, p));
            } else {
                json_set_str(a, out, m->key, &m->value);
            }
        }
    }
    if (json_len(properties)) json_set(a, out, "properties", properties);
    if (json_len(required)) json_set(a, out, "required", required);
    return out;
}

static ast *body_of(schema_builder *s, const json *schema)
{
    ast_builder *b = s->b;
    if (json_is(schema, JSON_BOOL)) return schema->b ? any_value(s) : ast_nothing(b);
    if (!json_is(schema, JSON_OBJECT)) {
        ast_fail(b, MLTF_INVALID_INPUT, "a schema has to be an object, but is %s",
                 json_type_name(schema));
        return NULL;
    }
    const json *ref = json_get(schema, "$ref"), *values = json_get(schema, "enum"),
               *value = json_get(schema, "const"), *any = json_get(schema, "anyOf");
    if (json_is(ref, JSON_STRING)) {
        const json *to = resolve(s, ref->s);
        return to ? of_schema(s, to) : NULL;
    }
    refuse_unknown(s, schema);
    if (json_get(schema, "allOf")) return of_schema(s, merged(s, schema));
    if (value) return constant(s, value);
    if (json_is(values, JSON_ARRAY)) {
        ast *alt = ast_alt(b);
        for (size_t i = 0; i < json_len(values); i++)
            ast_add(b, alt, constant(s, json_at(values, i)));
        return json_len(values) ? alt : ast_nothing(b);
    }
    if (!any) any = json_get(schema, "oneOf");
    if (json_is(any, JSON_ARRAY)) {
        ast *alt = ast_alt(b);
        for (size_t i = 0; i < json_len(any); i++) ast_add(b, alt, of_schema(s, json_at(any, i)));
        return json_len(any) ? alt : ast_nothing(b);
    }
    const json *type = json_get(schema, "type");
    ast *alt = NULL;
    if (json_is(type, JSON_ARRAY)) {
        alt = ast_alt(b);
        for (size_t i = 0; i < json_len(type); i++)
            ast_add(b, alt, of_type(s, schema, json_string(json_at(type, i), STR(""))));
    } else if (json_is(type, JSON_STRING)) {
        alt = of_type(s, schema, type->s);
    } else if (json_get(schema, "properties") || json_get(schema, "required")) {
        alt = of_object(s, schema);
    } else if (json_get(schema, "items") || json_get(schema, "prefixItems")) {
        alt = of_array(s, schema);
    } else if (json_get(schema, "pattern") || json_get(schema, "minLength") ||
               json_get(schema, "maxLength")) {
        alt = of_string(s, schema);
    } else {
        alt = any_value(s);
    }
    if (json_bool(json_get(schema, "nullable"), false)) alt = ast_or(b, alt, ast_lit(b, "null"));
    return alt;
}

static ast *of_schema(schema_builder *s, const json *schema)
{
    if (!ast_ok(s->b)) return NULL;
    for (size_t r = 0; r < s->b->n_rules; r++)
        if (s->seen[r] == schema) return ast_call(s->b, r);
    if (++s->depth > 300) {
        ast_fail(s->b, MLTF_UNSUPPORTED, "the schema is nested too deeply");
        return NULL;
    }
    const size_t rule = new_rule(s, schema);
    ast *body = body_of(s, schema);
    ast_rule_set(s->b, rule, body);
    s->depth--;
    return ast_call(s->b, rule);
}

mltf_status gen_constraint_json_between(gen_constraint **out, const gen_trie *trie,
                                        const char *before, const json *schema, const char *behind,
                                        mltf_err *err)
{
    ast_builder b = {0};
    schema_builder s = {.b = &b, .root = schema};
    const size_t root = new_rule(&s, NULL);
    ast *inside = ast_cat(&b, of_schema(&s, schema), ast_lit(&b, behind));
    ast_rule_set(
        &b, root,
        ast_cat(&b, ast_cat(&b, ast_lit(&b, before), before[0] ? ast_empty(&b) : ws(&s)), inside));
    return constraint_compile(out, trie, &b, root, err);
}

mltf_status gen_constraint_json_schema(gen_constraint **out, const gen_trie *trie,
                                       const json *schema, mltf_err *err)
{
    return gen_constraint_json_between(out, trie, "", schema, "", err);
}

static mltf_status any_json_object(gen_constraint **out, const gen_trie *trie, mltf_err *err)
{
    ast_builder b = {0};
    schema_builder s = {.b = &b};
    const size_t root = new_rule(&s, NULL);
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
