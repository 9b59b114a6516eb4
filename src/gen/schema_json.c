/* The grammar of JSON itself.
 *
 * Whitespace: where JSON allows it, nothing, one space, or a line end with at most 20 blanks of indentation: all
 * that models write, and no room to write blanks forever. */
#include "gen/schema_grammar.h"
#include "gen/schema_number.h"

ast *grammar_ws(schema_builder *s)
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
ast *grammar_string_char(ast_builder *b)
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

ast *grammar_quoted(ast_builder *b, ast *inside)
{
    return ast_cat(b, ast_lit(b, "\""), ast_cat(b, inside, ast_lit(b, "\"")));
}

ast *grammar_any_string(schema_builder *s)
{
    if (!s->string) {
        s->string = ast_rule_new(s->b);
        ast_rule_set(
            s->b, s->string,
            grammar_quoted(s->b, ast_repeat(s->b, grammar_string_char(s->b), 0, AST_MANY)));
    }
    return ast_call(s->b, s->string);
}

/* The characters are calls of one rule: written out, each would be some hundred states, and schemas allow thousands. */
ast *grammar_string_of(schema_builder *s, uint32_t min, uint32_t max)
{
    if (!s->character) {
        s->character = ast_rule_new(s->b);
        ast_rule_set(s->b, s->character, grammar_string_char(s->b));
    }
    return grammar_quoted(s->b, ast_repeat(s->b, ast_call(s->b, s->character), min, max));
}

/* "{" members "}": `member` (, member)*, maybe none. */
ast *grammar_braced(schema_builder *s, ast *open, ast *item, uint32_t min, uint32_t max,
                    const char *close)
{
    ast_builder *b = s->b;
    ast *more =
        ast_cat(b, ast_cat(b, grammar_ws(s), ast_lit(b, ",")), ast_cat(b, grammar_ws(s), item));
    ast *items = ast_cat(b, ast_cat(b, grammar_ws(s), item),
                         ast_repeat(b, more, min ? min - 1 : 0, max == AST_MANY ? max : max - 1));
    if (min == 0) items = ast_repeat(b, items, 0, 1);
    if (max == 0) items = ast_empty(b);
    return ast_cat(b, ast_cat(b, open, items), ast_cat(b, grammar_ws(s), ast_lit(b, close)));
}

static ast *grammar_colon(schema_builder *s)
{
    return ast_cat(s->b, ast_cat(s->b, grammar_ws(s), ast_lit(s->b, ":")), grammar_ws(s));
}

ast *grammar_member(schema_builder *s, ast *key, ast *value)
{
    return ast_cat(s->b, key, ast_cat(s->b, grammar_colon(s), value));
}

ast *grammar_any_object(schema_builder *s)
{
    return grammar_braced(s, ast_lit(s->b, "{"),
                          grammar_member(s, grammar_any_string(s), grammar_any_value(s)), 0,
                          AST_MANY, "}");
}

ast *grammar_any_value(schema_builder *s)
{
    ast_builder *b = s->b;
    if (!s->value) {
        s->value = ast_rule_new(s->b);
        ast *alt = ast_alt(b);
        ast_add(b, alt, grammar_any_object(s));
        ast_add(b, alt, grammar_braced(s, ast_lit(b, "["), grammar_any_value(s), 0, AST_MANY, "]"));
        ast_add(b, alt, grammar_any_string(s));
        ast_add(b, alt, schema_number(b, NULL));
        ast_add(b, alt, ast_lit(b, "true"));
        ast_add(b, alt, ast_lit(b, "false"));
        ast_add(b, alt, ast_lit(b, "null"));
        ast_rule_set(b, s->value, alt);
    }
    return ast_call(b, s->value);
}

/* Exactly this value, as json.dumps writes it: with and without blanks, non-ASCII as itself. */
ast *grammar_constant(schema_builder *s, const json *v)
{
    ast_builder *b = s->b;
    if (json_is(v, JSON_ARRAY) || json_is(v, JSON_OBJECT)) {
        const bool object = json_is(v, JSON_OBJECT);
        ast *seq = ast_seq(b);
        ast_add(b, seq, ast_lit(b, object ? "{" : "["));
        for (size_t i = 0; i < json_len(v); i++) {
            if (i) {
                ast_add(b, seq, grammar_ws(s));
                ast_add(b, seq, ast_lit(b, ","));
            }
            ast_add(b, seq, grammar_ws(s));
            if (object) {
                const json key = {.type = JSON_STRING, .s = v->o.members[i].key};
                ast_add(b, seq, grammar_constant(s, &key));
                ast_add(b, seq, grammar_colon(s));
                ast_add(b, seq, grammar_constant(s, &v->o.members[i].value));
            } else {
                ast_add(b, seq, grammar_constant(s, &v->a.items[i]));
            }
        }
        ast_add(b, seq, grammar_ws(s));
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

ast *grammar_after_comma(schema_builder *s, ast *item)
{
    ast_builder *b = s->b;
    return ast_cat(b, ast_cat(b, grammar_ws(s), ast_lit(b, ",")), ast_cat(b, grammar_ws(s), item));
}
