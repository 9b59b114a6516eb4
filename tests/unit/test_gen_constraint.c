/* Constraints over a vocabulary of single bytes and a few longer tokens. */
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gen/schema_doc.h"

enum { EOS = 256, WORD = 257, VOCAB = 260 }; // 257 "{\"", 258 "ab", 259 "ab" again

static gen_trie *trie;
static const char all_bytes[512];

static int make_trie(void **state)
{
    (void)state;
    static char bytes[256];
    static mltf_str tokens[VOCAB];
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        tokens[i] = (mltf_str){bytes + i, 1};
    }
    tokens[EOS] = (mltf_str){all_bytes, 0};
    tokens[WORD] = STR("{\"");
    tokens[WORD + 1] = tokens[WORD + 2] = STR("ab");
    return gen_trie_from_tokens(&trie, tokens, VOCAB, NULL);
}

static int free_trie(void **state)
{
    (void)state;
    gen_trie_free(trie);
    return 0;
}

typedef enum { NO, VIABLE, COMPLETE } verdict;

static verdict judge(const gen_constraint *c, const char *text)
{
    gen_matcher *m = NULL;
    assert_int_equal(gen_matcher_new(&m, c, NULL), MLTF_OK);
    const bool in = gen_matcher_accept_bytes(m, text, strlen(text));
    const verdict v = !in ? NO : gen_matcher_complete(m) ? COMPLETE : VIABLE;
    gen_matcher_free(m);
    return v;
}

static gen_constraint *schema(const char *text)
{
    json_doc doc = JSON_DOC_INIT;
    gen_constraint *c = NULL;
    mltf_err err = {0};
    assert_int_equal(json_parse(&doc, text, strlen(text), NULL, &err), MLTF_OK);
    if (gen_constraint_json_schema(&c, trie, doc.root, &err)) fail_msg("%s: %s", text, err.msg);
    json_doc_release(&doc);
    return c;
}

static void check(gen_constraint *c, const char *text, verdict want)
{
    if (judge(c, text) != want) fail_msg("\"%s\" gave %d, expected %d", text, judge(c, text), want);
}

static void test_regex_accepts_its_language_and_no_more(void **state)
{
    (void)state;
    gen_constraint *c = NULL;
    assert_int_equal(gen_constraint_regex(&c, trie, STR("(ab|c[d-f]\\d{2,3})+é?"), NULL), MLTF_OK);
    check(c, "ab", COMPLETE);
    check(c, "abcf123", COMPLETE);
    check(c, "cf1", VIABLE);
    check(c, "cg", NO);
    check(c, "ab\xc3", VIABLE); // half a character
    check(c, "ab\xc3\xa9", COMPLETE);
    check(c, "ab\xc3\xa9x", NO);
    gen_constraint_free(c);
}

static void test_tokens_are_allowed_by_all_their_bytes(void **state)
{
    (void)state;
    gen_constraint *c = NULL;
    gen_matcher *m = NULL;
    static const int32_t eos_id[] = {EOS};
    const gen_ids eos = {eos_id, 1};
    assert_int_equal(gen_constraint_regex(&c, trie, STR("a(b|c)"), NULL), MLTF_OK);
    assert_int_equal(gen_matcher_new(&m, c, NULL), MLTF_OK);
    uint8_t allowed[VOCAB] = {0};
    assert_int_equal(gen_matcher_allowed(m, allowed, VOCAB, eos, NULL), MLTF_OK);
    for (int i = 0; i < VOCAB; i++)
        assert_int_equal(allowed[i], i == 'a' || i == WORD + 1 || i == WORD + 2);
    assert_int_equal(gen_matcher_accept(m, WORD + 2, NULL), MLTF_OK);
    assert_true(gen_matcher_closed(m));
    memset(allowed, 0, sizeof allowed);
    assert_int_equal(gen_matcher_allowed(m, allowed, VOCAB, eos, NULL), MLTF_OK);
    for (int i = 0; i < VOCAB; i++) assert_int_equal(allowed[i], i == EOS);
    assert_int_equal(gen_matcher_accept(m, 'x', NULL), MLTF_INVALID_INPUT);
    gen_matcher_free(m);
    gen_constraint_free(c);
}

static void test_grammar_recurses_and_refuses_left_recursion(void **state)
{
    (void)state;
    gen_constraint *c = NULL;
    mltf_err err = {0};
    const mltf_str text = STR("root ::= list # a list\nlist ::= \"(\" (item (\" \" item)*)? "
                              "\")\"\nitem ::= list | [a-z]+\n");
    assert_int_equal(gen_constraint_grammar(&c, trie, text, &err), MLTF_OK);
    check(c, "(a (b c) ())", COMPLETE);
    check(c, "((((", VIABLE);
    check(c, "(a  b)", NO);
    gen_constraint_free(c);
    assert_int_equal(gen_constraint_grammar(&c, trie, STR("root ::= root \"a\" | \"b\""), &err),
                     MLTF_UNSUPPORTED);
    assert_int_equal(gen_constraint_grammar(&c, trie, STR("root ::= other"), &err),
                     MLTF_INVALID_INPUT);
    assert_string_equal(err.msg, "the grammar has no rule \"other\"");
}

static void test_schema_of_an_object(void **state)
{
    (void)state;
    gen_constraint *c =
        schema("{\"type\": \"object\", \"required\": [\"age\"], \"properties\": {"
               "\"name\": {\"type\": [\"string\", \"null\"]}, \"age\": {\"type\": \"integer\","
               "\"minimum\": -3, \"maximum\": 120}, \"kind\": {\"enum\": [\"a\", 1, [true]]}}}");
    check(c, "{\"age\": 5}", COMPLETE);
    check(c, "{\"name\": null, \"age\":120,\n  \"kind\": [true]}", COMPLETE);
    check(c, "{\"name\": \"\\u00e9\\n\", \"age\": -3}", COMPLETE);
    check(c, "{\"age\": 121", NO);
    check(c, "{\"age\": -4", NO);
    check(c, "{\"name\": \"x\"}", NO);     // age is required
    check(c, "{\"age\": 1, \"name\"", NO); // in the order of the schema
    check(c, "{\"age\": 1, \"more\"", NO);
    check(c, "{\"name\": \"\\ud800\"", NO); // half a pair
    gen_constraint_free(c);
}

static void test_schema_with_references_tuples_patterns_and_additional_members(void **state)
{
    (void)state;
    gen_constraint *c = schema(
        "{\"$ref\": \"#/$defs/n\", \"$defs\": {\"n\": {\"type\": \"object\", \"properties\": {"
        "\"next\": {\"anyOf\": [{\"$ref\": \"#/$defs/n\"}, {\"type\": \"null\"}]}}, \"required\": "
        "[\"next\"]}}}");
    check(c, "{\"next\": {\"next\": {\"next\": null}}}", COMPLETE);
    check(c, "{\"next\": {}", NO);
    gen_constraint_free(c);
    c = schema("{\"type\": \"array\", \"prefixItems\": [{\"type\": \"string\", \"pattern\": "
               "\"^a\\\"+$\"}], \"items\": {\"type\": \"boolean\"}, \"maxItems\": 2}");
    check(c, "[\"a\\\"\\\"\", true]", COMPLETE);
    check(c, "[\"a\"", NO);
    check(c, "[\"a\\\"\", true, ", NO);
    gen_constraint_free(c);
    c = schema("{\"type\": \"object\", \"properties\": {\"ab\": {\"type\": \"null\"}}, "
               "\"additionalProperties\": {\"type\": \"integer\"}}");
    check(c, "{\"ab\": null, \"abc\": 1, \"a\": 2}", COMPLETE);
    check(c, "{\"ab\": 1", NO);
    check(c, "{\"x\": 1, \"ab\": 1", NO);
    gen_constraint_free(c);
}

static void test_multiples_are_told_by_their_digits(void **state)
{
    (void)state;
    static const struct {
        int step, lo, hi; // in hundredths
    } rows[] = {{700, -5000, 12000}, {300, -9999, 9999}, {1200, 5, 129900}, {50000, -9999, 99999},
                {100, -300, 1200},   {25, -301, 205},    {7, -100, 100},    {1, -12, 7},
                {150, 0, 1000},      {1000, 0, 1000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[200];
        snprintf(text, sizeof text,
                 "{\"type\": \"number\", \"multipleOf\": %d.%02d, \"minimum\": %.2f, \"maximum\": "
                 "%.2f}",
                 rows[i].step / 100, rows[i].step % 100, rows[i].lo / 100.0, rows[i].hi / 100.0);
        gen_constraint *c = schema(text);
        for (int x = -10100; x <= 10100; x++) {
            const bool in = x % rows[i].step == 0 && x >= rows[i].lo && x <= rows[i].hi;
            const int whole = abs(x) / 100, part = abs(x) % 100;
            snprintf(text, sizeof text, part ? "%s%d.%0*d" : "%s%d", x < 0 ? "-" : "", whole,
                     part % 10 ? 2 : 1, part % 10 ? part : part / 10);
            if ((judge(c, text) == COMPLETE) != in)
                fail_msg("row %zu: %s is%s accepted", i, text, in ? " not" : "");
        }
        gen_constraint_free(c);
    }
    gen_constraint *c =
        schema("{\"type\": \"number\", \"multipleOf\": 14, \"not\": {\"const\": 28}}");
    check(c, "0", COMPLETE);
    check(c, "14", COMPLETE);
    check(c, "28", VIABLE); // 280
    check(c, "07", NO);
    gen_constraint_free(c);
    c = schema("{\"type\": \"integer\", \"multipleOf\": 9, \"minimum\": 100, \"maximum\": 117}");
    check(c, "10", VIABLE);
    check(c, "109", NO); // nothing leads where no multiple is
    check(c, "12", NO);
    gen_constraint_free(c);
    c = schema("{\"allOf\": [{\"multipleOf\": 0.75}, {\"multipleOf\": 0.5}]}"); // both: 1.5
    check(c, "-4.5", COMPLETE);
    check(c, "0.75", NO);
    gen_constraint_free(c);
    // a rule of digits is never taken for a schema's, however many there are
    c = schema("{\"oneOf\": [{\"type\": \"object\", \"properties\": {\"kind\": {\"const\": \"x\"}, "
               "\"a\": {\"type\": \"integer\", \"multipleOf\": 100}}, \"required\": [\"kind\"]}, "
               "{\"type\": \"object\", \"properties\": {\"kind\": {\"const\": \"y\"}, \"b\": "
               "{\"type\": \"integer\", \"multipleOf\": 100}}, \"required\": [\"kind\"]}]}");
    check(c, "{\"kind\": \"y\", \"b\": 100}", COMPLETE);
    check(c, "{\"kind\": \"y\", \"b\": 0100", NO);
    gen_constraint_free(c);
}

static void test_schema_denies_formats(void **state)
{
    (void)state;
    gen_constraint *c = schema("{\"type\": \"string\", \"not\": {\"format\": \"date\"}}");
    check(c, "\"soon\"", COMPLETE);
    check(c, "\"2024-02-29\"", NO); // a date, though none that would be written
    check(c, "\"2024-02-29T\"", COMPLETE);
    gen_constraint_free(c);
    c = schema("{\"type\": \"string\", \"not\": {\"not\": {\"format\": \"date\"}}}");
    check(c, "\"2024-02-28\"", COMPLETE);
    check(c, "\"2024-02-29\"", NO);
    gen_constraint_free(c);
    // of several exactly one, and nothing that is perhaps two of them
    c = schema("{\"oneOf\": [{\"type\": \"string\", \"format\": \"email\"}, {\"type\": \"string\", "
               "\"format\": \"date-time\"}, {\"type\": \"string\", \"format\": \"date\"}]}");
    check(c, "\"a@b.de\"", COMPLETE);
    check(c, "\"2024-02-28\"", COMPLETE);
    check(c, "\"2024-02-28T10:00:00Z\"", COMPLETE);
    check(c, "\"soon\"", NO);
    gen_constraint_free(c);
    c = schema("{\"oneOf\": [{\"type\": \"string\", \"format\": \"ipv4\"}, {\"type\": \"string\", "
               "\"format\": \"hostname\"}]}");
    check(c, "\"a-z.org\"", COMPLETE);
    check(c, "\"10.0.0.1\"", NO); // a name of a host as well
    gen_constraint_free(c);
    c = schema("{\"enum\": [\"soon\", \"2024-02-29\"], \"not\": {\"format\": \"date\"}}");
    check(c, "\"soon\"", COMPLETE);
    check(c, "\"2", NO);
    gen_constraint_free(c);
    c = schema(
        "{\"type\": \"object\", \"properties\": {\"v\": {\"type\": \"string\"}, \"k\": {\"type\": "
        "\"integer\"}}, \"required\": [\"v\"], \"if\": {\"properties\": {\"v\": {\"format\": "
        "\"ipv6\"}}}, \"then\": {\"required\": [\"k\"]}}");
    check(c, "{\"v\": \"x\"}", COMPLETE);
    check(c, "{\"v\": \"0:0:0:0:0:0:0:1\"}", NO);
    check(c, "{\"v\": \"0:0:0:0:0:0:0:1\", \"k\": 3}", COMPLETE);
    gen_constraint_free(c);
}

static void test_very_large_schemas_are_done_with_in_time(void **state)
{
    (void)state;
    mltf_buf values = MLTF_BUF_INIT, parts = MLTF_BUF_INIT;
    for (int i = 0; i < 20000; i++) buf_printf(&values, "%s\"k%d\"", i ? "," : "{\"enum\":[", i);
    for (int i = 0; i < 2000; i++)
        buf_printf(&parts, "%s{\"properties\":{\"k%d\":{}}}", i ? "," : "{\"allOf\":[", i);
    buf_puts(&values, "]}");
    buf_puts(&parts, "]}");
    const clock_t start = clock();
    gen_constraint *large = schema(values.p);
    check(large, "\"k19999\"", COMPLETE);
    gen_constraint_free(large);
    json_doc doc = JSON_DOC_INIT;
    gen_constraint *c = NULL;
    mltf_err err = {0};
    assert_int_equal(json_parse(&doc, parts.p, parts.n, NULL, &err), MLTF_OK);
    assert_int_equal(gen_constraint_json_schema(&c, trie, doc.root, &err), MLTF_UNSUPPORTED);
    assert_string_equal(err.msg, "the schema's parts have more than 32768 members to combine");
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC <
                4); // a fifth of a second; it was eight
    json_doc_release(&doc);
    mltf_buf_release(&values);
    mltf_buf_release(&parts);
}

static void test_schema_bounds_may_be_large(void **state)
{
    (void)state;
    gen_constraint *c = schema("{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 100000}");
    check(c, "\"a\"", NO);
    check(c, "\"\\u00e9\u00e9\"", COMPLETE);
    gen_constraint_free(c);
    c = schema("{\"type\": \"integer\", \"minimum\": -9223372036854775808, "
               "\"maximum\": 18446744073709551615}");
    check(c, "-999999999999999999", COMPLETE);
    check(c, "1e", NO);
    gen_constraint_free(c);
    c = schema("{\"type\": \"number\", \"minimum\": 0.5, \"maximum\": 1.7976931348623157e308}");
    check(c, "123456.25", COMPLETE);
    check(c, "-", NO);
    gen_constraint_free(c);
}

static void test_schema_names_what_it_does_not_know(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"{\"items\": {\"type\": \"boolean\"}, \"uniqueItems\": true, \"minItems\": 3}",
         "no text can satisfy the constraint: \"minItems\" asks for more different items than "
         "there "
         "are"},
        {"{\"type\": \"integer\", \"multipleOf\": 0}",
         "\"multipleOf\" in the schema has to be a number above 0"},
        {"{\"type\": \"integer\", \"multipleOf\": 7, \"minimum\": 1, \"maximum\": 6}",
         "no text can satisfy the constraint: no multiple of \"multipleOf\" is within the bounds"},
        {"{\"oneOf\": [{\"type\": \"array\"}, {\"type\": \"array\", \"uniqueItems\": true}]}",
         "alternatives 0 and 1 of \"oneOf\" may hold for the same value, and what tells them apart "
         "is not understood; \"anyOf\" has no such rule"},
        {"{\"oneOf\": [{\"type\": \"string\"}, {\"type\": \"string\"}]}",
         "no text can satisfy the constraint"},
        {"{\"type\": \"array\", \"not\": {\"uniqueItems\": true}}",
         "\"not\" is not supported of uniqueItems and unevaluatedItems or "
         "unevaluatedProperties alone"},
        {"{\"type\": \"string\", \"pattern\": \"^ab+$\", \"maxLength\": 1}",
         "no text can satisfy the constraint: no string satisfies all of a schema's conditions"},
        {"{\"pattern\": \"(^a|b)c\"}",
         "^ is supported at the beginning only; at position 2 of the pattern \"(^a|b)c\""},
        {"{\"$ref\": \"#/$defs/a\", \"$defs\": {\"a\": {\"allOf\": [{\"$ref\": \"#/$defs/a\"}]}}}",
         "the schema's references go in circles, or too deep"},
        {"{\"allOf\": [{\"type\": \"string\"}, {\"type\": \"null\"}]}",
         "no text can satisfy the constraint"},
        {"{\"type\": \"object\", \"properties\": {\"a\": false}, \"required\": [\"a\"]}",
         "no text can satisfy the constraint: \"a\" is required and not allowed"},
        {"{\"type\": \"number\", \"exclusiveMinimum\": 1, \"maximum\": 1}",
         "no text can satisfy the constraint: no number lies between \"minimum\" and \"maximum\""},
        {"{\"type\": \"text\"}", "\"type\": \"text\" is no type of JSON schema"},
        {"{\"type\": []}", "no text can satisfy the constraint"},
        {"{\"type\": \"integer\", \"minimum\": 1e20}",
         "the schema asks for a number of more than 18 digits, which is not supported"},
        {"{\"type\": \"number\", \"exclusiveMaximum\": -1e300}",
         "the schema asks for a number of more than 18 digits, which is not supported"},
        {"{\"required\": \"a\"}", "\"required\" in the schema has to be a list, not str"},
        {"{\"type\": \"string\", \"not\": {\"not\": [\"yes\"]}}",
         "a schema has to be an object, but is list"},
        {"{\"anyOf\": [{\"$ref\": \"#/x\"}], \"x\": {\"allOf\": [1]}}",
         "a schema has to be an object, but is int"},
        {"{\"dependentRequired\": {\"a\": 1}}",
         "\"dependentRequired\" in the schema has to be a list, not int"},
        {"{\"properties\": {\"a\": {\"$members\": [1]}}}",
         "\"$members\" is no keyword of JSON Schema"},
        {"{\"type\": \"array\", \"items\": {\"enum\": {}}}",
         "\"enum\" in the schema has to be a list, not dict"},
        {"{\"$ref\": \"https://a.b/c\"}", "\"$ref\": \"https://a.b/c\" leads out of the schema"},
        {"{\"$ref\": \"#/a\"}", "\"$ref\": \"#/a\" does not lead to a schema"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_doc doc = JSON_DOC_INIT;
        gen_constraint *c = NULL;
        mltf_err err = {0};
        json_parse(&doc, rows[i][0], strlen(rows[i][0]), NULL, &err);
        assert_int_not_equal(gen_constraint_json_schema(&c, trie, doc.root, &err), MLTF_OK);
        assert_null(c);
        assert_string_equal(err.msg, rows[i][1]);
        json_doc_release(&doc);
    }
}

static void test_a_grammar_whose_readings_double_with_each_byte_ends_with_an_error(void **state)
{
    (void)state;
    gen_constraint *c = NULL;
    mltf_err err = {0};
    const mltf_str grammar = STR("root ::= \"a\" root root \"x\" | \"a\" root \"y\" | \"a\"");
    assert_int_equal(gen_constraint_grammar(&c, trie, grammar, &err), MLTF_OK);
    gen_matcher *m = NULL;
    assert_int_equal(gen_matcher_new(&m, c, &err), MLTF_OK);
    uint8_t allowed[VOCAB];
    mltf_status st = MLTF_OK;
    size_t n = 0;
    for (; n < 60 && !st; n++)
        if (!(st = gen_matcher_allowed(m, allowed, VOCAB, (gen_ids){0}, &err)) &&
            !gen_matcher_accept_bytes(m, "a", 1))
            fail_msg("\"a\" is not taken, though allowed");
    assert_int_equal(st, MLTF_UNSUPPORTED);
    assert_true(n > 10);
    assert_non_null(strstr(err.msg, "too ambiguous"));
    gen_matcher_free(m);
    gen_constraint_free(c);
}

/* ---- whatever may be written satisfies the schema ---- */

static uint32_t next_random(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    return *x ^= *x << 5;
}

/* A text by chance: any byte that is allowed, but soon rather one that ends something. False: it went on too long. */
static bool write_text(const gen_constraint *c, uint32_t seed, mltf_buf *out)
{
    static const int32_t eos_id[] = {EOS};
    gen_matcher *m = NULL;
    assert_int_equal(gen_matcher_new(&m, c, NULL), MLTF_OK);
    bool ended = false;
    for (int n = 0; n < 3000 && !ended; n++) {
        uint8_t allowed[VOCAB] = {0};
        assert_int_equal(gen_matcher_allowed(m, allowed, VOCAB, (gen_ids){eos_id, 1}, NULL),
                         MLTF_OK);
        int32_t open[VOCAB], id = -1;
        size_t k = 0;
        for (int32_t i = 0; i < VOCAB; i++)
            if (allowed[i]) open[k++] = i;
        if (k == 0) fail_msg("a dead end behind %.*s", (int)out->n, out->p);
        if (next_random(&seed) % 3 == 0 || n > 60)
            for (const char *p = "\"}]:"; *p && id < 0; p++)
                if (allowed[(unsigned char)*p]) id = *p;
        if (allowed[EOS] && next_random(&seed) % 2) id = EOS;
        if (id < 0) id = open[next_random(&seed) % k];
        ended = id == EOS;
        if (ended) break;
        assert_int_equal(gen_matcher_accept(m, id, NULL), MLTF_OK);
        const mltf_str bytes = gen_trie_bytes(trie, id);
        buf_append(out, bytes.p, bytes.n);
    }
    gen_matcher_free(m);
    return ended;
}

/* Each schema, with a text that it must allow and one that it must not. */
static const char *const rules[][3] = {
    {"{\"not\": {\"type\": [\"object\", \"array\", \"string\"]}}", "null", "\""},
    {"{\"type\": \"string\", \"not\": {\"enum\": [\"yes\", \"yet\", \"\"]}}", "\"ye\"", "\"yes\""},
    {"{\"type\": \"integer\", \"minimum\": -2, \"maximum\": 12, \"not\": {\"enum\": [0, 11]}}",
     "12", "11"},
    {"{\"type\": \"number\", \"exclusiveMinimum\": -0.25, \"exclusiveMaximum\": 10.5}", "-0.2",
     "10.5"},
    {"{\"type\": \"number\", \"minimum\": 2.75, \"maximum\": 2.8}", "2.799", "2.7"},
    {"{\"type\": \"number\", \"exclusiveMinimum\": 0}", "0.01", "-"},
    {"{\"type\": \"number\", \"maximum\": -3.5, \"not\": {\"const\": -4}}", "-4.5", "-3.4"},
    {"{\"type\": \"object\", \"properties\": {\"kind\": {\"enum\": [\"a\", \"b\"]}, \"x\": "
     "{\"type\": "
     "\"integer\"}}, \"required\": [\"kind\"], \"if\": {\"properties\": {\"kind\": {\"const\": "
     "\"a\"}}}, "
     "\"then\": {\"required\": [\"x\"]}, \"else\": {\"properties\": {\"x\": false}}}",
     "{\"kind\": \"b\"}", "{\"kind\": \"a\"}"},
    {"{\"type\": \"object\", \"patternProperties\": {\"^x[0-9]$\": {\"type\": \"boolean\"}}, "
     "\"additionalProperties\": false, \"minProperties\": 1}",
     "{\"x1\": true, \"x2\": false}", "{}"},
    {"{\"type\": \"object\", \"properties\": {\"x1\": {\"type\": \"integer\"}, \"y\": true}, "
     "\"patternProperties\": {\"^x\": {\"minimum\": 5}}}",
     "{\"x1\": 7}", "{\"x1\": 3"},
    {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"null\"}, \"b\": {\"type\": "
     "\"null\"}, "
     "\"c\": {\"type\": \"null\"}}, \"minProperties\": 1, \"maxProperties\": 2}",
     "{\"a\": null, \"c\": null}", "{\"a\": null, \"b\": null, \"c\": null"},
    {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\"}}, \"required\": "
     "[\"a\", "
     "\"more\"]}",
     "{\"a\": \"\", \"more\": [1]}", "{\"a\": \"\"}"},
    {"{\"type\": \"object\", \"additionalProperties\": {\"type\": \"integer\"}, \"propertyNames\": "
     "{\"pattern\": \"^[a-c]+$\"}}",
     "{\"abc\": 1}", "{\"d"},
    {"{\"type\": \"object\", \"properties\": {\"card\": {\"type\": \"integer\"}, \"address\": "
     "{\"type\": "
     "\"string\"}}, \"dependentRequired\": {\"card\": [\"address\"]}}",
     "{\"address\": \"x\"}", "{\"card\": 1}"},
    {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}, \"b\": {\"type\": "
     "\"integer\"}}, \"anyOf\": [{\"required\": [\"a\"]}, {\"required\": [\"b\"]}]}",
     "{\"b\": 1}", "{}"},
    {"{\"oneOf\": [{\"type\": \"object\", \"properties\": {\"t\": {\"const\": \"p\"}, \"r\": "
     "{\"type\": "
     "\"number\"}}, \"required\": [\"t\"]}, {\"type\": \"object\", \"properties\": {\"t\": "
     "{\"const\": "
     "\"q\"}}, \"required\": [\"t\"]}, {\"type\": \"null\"}]}",
     "{\"t\": \"p\", \"r\": 0.5}", "{\"t\": \"q\", \"r\""},
    {"{\"oneOf\": [{\"type\": \"integer\", \"maximum\": 5}, {\"type\": \"integer\", \"minimum\": "
     "3}]}",
     "2", "4"},
    {"{\"allOf\": [{\"type\": \"integer\", \"minimum\": 3}, {\"maximum\": 20}, {\"$ref\": "
     "\"#/$defs/low\"}], \"$defs\": {\"low\": {\"maximum\": 8}}}",
     "8", "9"},
    {"{\"$ref\": \"#/$defs/tree\", \"$defs\": {\"tree\": {\"type\": \"object\", \"properties\": "
     "{\"v\": "
     "{\"type\": \"integer\"}, \"kids\": {\"type\": \"array\", \"items\": {\"$ref\": "
     "\"#/$defs/tree\"}, "
     "\"maxItems\": 2}}, \"required\": [\"v\"], \"additionalProperties\": false}}}",
     "{\"v\": 1, \"kids\": [{\"v\": 2}]}", "{\"kids\""},
    {"{\"allOf\": [{\"$ref\": \"#/$defs/base\"}, {\"properties\": {\"extra\": {\"type\": "
     "\"boolean\"}}, "
     "\"required\": [\"extra\"]}], \"unevaluatedProperties\": false, \"$defs\": {\"base\": "
     "{\"type\": "
     "\"object\", \"properties\": {\"id\": {\"type\": \"integer\"}}, \"required\": [\"id\"]}}}",
     "{\"id\": 1, \"extra\": true}", "{\"id\": 1}"},
    {"{\"type\": \"array\", \"prefixItems\": [{\"type\": \"integer\"}, {\"type\": \"string\"}], "
     "\"minItems\": 3, \"maxItems\": 4}",
     "[1, \"\", null]", "[1, \"\"]"},
    {"{\"type\": \"array\", \"items\": {\"enum\": [1, 2, \"x\", null]}, \"uniqueItems\": true, "
     "\"maxItems\": 1}",
     "[null]", "[1, 2"},
    {"{\"enum\": [1, \"two\", [3], {\"four\": 4}], \"type\": [\"string\", \"array\"]}", "\"two\"",
     "{\"four\""},
    {"{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 3}", "\"\\u00e9a\"", "\"a\""},
    {"{\"type\": \"string\", \"pattern\": \"^[a-z]{2}(-[A-Z]{2})?$\"}", "\"de-DE\"", "\"de-\""},
    {"{\"type\": [\"integer\", \"null\"], \"minimum\": 0, \"exclusiveMaximum\": 100}", "99", "100"},
    {"{\"type\": \"object\", \"properties\": {\"never\": {\"allOf\": [{\"type\": \"null\"}, "
     "{\"type\": "
     "\"string\"}]}, \"n\": {\"type\": \"null\"}}}",
     "{\"n\": null}", "{\"never"},
    {"{\"type\": \"string\", \"pattern\": \"^[a-z]+$\", \"maxLength\": 3, \"not\": {\"enum\": "
     "[\"abc\", \"x\"]}}",
     "\"abd\"", "\"abc\""},
    {"{\"allOf\": [{\"pattern\": \"a\"}, {\"pattern\": \"b\"}, {\"minLength\": 3}]}", "\"axb\"",
     "\"ab\""},
    {"{\"type\": \"string\", \"not\": {\"pattern\": \"a\"}}", "\"b\\n\"", "\"xa\""},
    {"{\"oneOf\": [{\"type\": \"string\"}, {\"type\": \"string\", \"pattern\": \"a\"}]}", "\"b\"",
     "\"a\""},
    {"{\"type\": \"number\", \"not\": {\"type\": \"integer\"}, \"minimum\": 0, \"maximum\": 3}",
     "1.5", "2"},
    {"{\"type\": \"object\", \"properties\": {\"id\": {\"type\": \"integer\"}}, "
     "\"patternProperties\": {\"^x\": {\"type\": \"string\"}, \"y$\": {\"maxLength\": 1}}, "
     "\"additionalProperties\": false}",
     "{\"id\": 1, \"xy\": \"a\", \"xz\": \"ab\", \"y\": \"\"}", "{\"xy\": \"ab\"}"},
    {"{\"allOf\": [{\"patternProperties\": {\"^a\": {\"type\": \"integer\"}}, "
     "\"additionalProperties\": {\"type\": \"null\"}}, {\"patternProperties\": {\"b$\": "
     "{\"minimum\": 5}}, \"additionalProperties\": {\"enum\": [null, 1]}}]}",
     "{\"ab\": 7, \"cd\": null, \"a\": 1}", "{\"ab\": 1}"},
    {"{\"type\": \"object\", \"patternProperties\": {\"^a\": true}, \"propertyNames\": "
     "{\"maxLength\": 2}, \"additionalProperties\": false}",
     "{\"a1\": 1}", "{\"a12\": 1}"},
    {"{\"type\": \"object\", \"not\": {\"patternProperties\": {\"^a\": {\"type\": \"integer\"}}}}",
     "{\"ab\": \"x\"}", "{\"ab\": 1}"},
    {"{\"type\": \"object\", \"additionalProperties\": true, \"properties\": {\"a\": {\"type\": "
     "\"integer\"}}, \"not\": {\"additionalProperties\": false, \"properties\": {\"a\": true}}}",
     "{\"a\": 1, \"b\": 2}", "{\"a\": 1}"},
    {"{\"type\": \"object\", \"not\": {\"const\": {\"a\": 1}}, \"additionalProperties\": "
     "{\"enum\": [1, 2]}}",
     "{\"a\": 2}", "{\"a\": 1}"},
    {"{\"type\": \"array\", \"items\": {\"enum\": [1, 2]}, \"maxItems\": 3, \"not\": {\"const\": "
     "[1, 2]}}",
     "[2, 1]", "[1, 2]"},
    {"{\"type\": \"array\", \"items\": {\"enum\": [1, 2, 3]}, \"contains\": {\"const\": 2}, "
     "\"maxItems\": 4}",
     "[1, 2]", "[1, 3]"},
    {"{\"type\": \"array\", \"items\": {\"enum\": [1, 2, 3]}, \"contains\": {\"const\": 2}, "
     "\"minContains\": 1, \"maxContains\": 2, \"maxItems\": 5}",
     "[2, 1, 2]", "[2, 2, 2]"},
    {"{\"type\": \"array\", \"allOf\": [{\"contains\": {\"const\": 1}}, {\"contains\": {\"const\": "
     "2}}], \"maxItems\": 3}",
     "[2, \"x\", 1]", "[1, 1]"},
    {"{\"type\": \"array\", \"items\": {\"type\": \"boolean\"}, \"maxItems\": 3, \"not\": "
     "{\"contains\": {\"const\": true}}}",
     "[false]", "[true]"},
    {"{\"type\": \"array\", \"prefixItems\": [{\"type\": \"integer\"}], \"contains\": {\"type\": "
     "\"string\", \"maxLength\": 1}, \"unevaluatedItems\": false, \"maxItems\": 3}",
     "[1, \"a\"]", "[1, null, \"a\"]"},
    {"{\"type\": \"array\", \"prefixItems\": [{\"type\": \"integer\"}, {\"type\": \"boolean\"}], "
     "\"items\": false}",
     "[1]", "[\"a\"]"},
    {"{\"properties\": {\"k\": {\"enum\": [\"a\", \"b\"]}, \"x\": {\"type\": \"integer\"}, \"y\": "
     "{\"type\": \"integer\"}}, \"required\": [\"k\"], \"allOf\": [{\"if\": {\"properties\": "
     "{\"k\": {\"const\": \"a\"}}}, \"then\": {\"required\": [\"x\"]}}, {\"if\": {\"properties\": "
     "{\"k\": {\"const\": \"b\"}}}, \"then\": {\"required\": [\"y\"]}}]}",
     "{\"k\": \"b\", \"y\": 1}", "{\"k\": \"b\", \"x\": 1}"},
    {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}, \"b\": {\"type\": "
     "\"integer\"}}, \"dependentSchemas\": {\"a\": {\"properties\": {\"b\": {\"minimum\": 5}}, "
     "\"required\": [\"b\"]}}}",
     "{\"a\": 1, \"b\": 6}", "{\"a\": 1, \"b\": 2}"},
    {"{\"allOf\": [{\"allOf\": [{\"properties\": {\"a\": {\"type\": \"null\"}}}], "
     "\"unevaluatedProperties\": false}, {\"properties\": {\"b\": {\"type\": \"null\"}}}]}",
     "{\"a\": null}", "{\"b\": null}"},
    {"{\"not\": {\"$ref\": \"#/$defs/tree\"}, \"type\": \"object\", \"additionalProperties\": "
     "true, \"$defs\": {\"tree\": {\"type\": \"object\", \"properties\": {\"v\": {\"type\": "
     "\"integer\"}, \"kids\": {\"type\": \"array\", \"items\": {\"$ref\": \"#/$defs/tree\"}}}, "
     "\"required\": [\"v\"]}}}",
     "{\"kids\": [{\"v\": \"x\"}], \"v\": 1}", "{\"v\": 1, \"kids\": [{\"v\": 1}]}"},
    {"{\"type\": \"array\", \"items\": {\"type\": \"string\"}, \"uniqueItems\": true}",
     "[\"a\", \"b\", \"\\u0062b\"]", "[\"a\", \"b\", \"\\u0062\"]"},
    {"{\"type\": \"array\", \"items\": {\"type\": \"number\"}, \"uniqueItems\": true, "
     "\"minItems\": 2, \"maxItems\": 3}",
     "[1, 10, 1.5]", "[1, 10, 1.0]"},
    {"{\"type\": \"array\", \"items\": {\"enum\": [1, 2, 12, \"x\", {\"a\": [1]}, {\"a\": [2]}]}, "
     "\"uniqueItems\": true, \"minItems\": 6}",
     "[12, {\"a\": [2]}, 1, {\"a\": [1]}, 2, \"x\"]",
     "[12, {\"a\": [2]}, 1, {\"a\": [2]}, 2, \"x\"]"},
    {"{\"type\": \"array\", \"items\": {\"type\": \"array\", \"items\": {\"type\": \"integer\", "
     "\"minimum\": 1, \"maximum\": 2}, \"minItems\": 1, \"maxItems\": 2}, "
     "\"uniqueItems\": true, \"minItems\": 4}",
     "[[1], [2], [1, 2], [2, 1]]", "[[1], [2], [1, 2], [1]]"},
    {"{\"type\": \"object\", \"propertyNames\": {\"enum\": [\"a\", \"ab\", \"b\"]}, "
     "\"minProperties\": 3}",
     "{\"b\": 1, \"ab\": 2, \"a\": 3}", "{\"b\": 1, \"ab\": 2, \"b\": 3}"},
    {"{\"anyOf\": [{\"type\": \"array\", \"items\": {\"type\": \"boolean\"}, \"uniqueItems\": "
     "true}, {\"type\": \"object\", \"additionalProperties\": {\"type\": \"array\", "
     "\"uniqueItems\": true, \"maxItems\": 2}}]}",
     "{\"k\": [{\"a\": 1, \"b\": 2}, {\"a\": 1, \"b\": 1}]}",
     "{\"k\": [{\"a\": 1, \"b\": 2}, {\"b\": 2, \"a\": 1}]}"},
    {"{\"$ref\": \"#t\", \"$defs\": {\"x\": {\"$anchor\": \"t\", \"type\": \"integer\"}}}", "5",
     "\"5\""},
    {"{\"$id\": \"https://a.b/s\", \"items\": {\"$ref\": \"https://a.b/s#/$defs/a%20b\"}, "
     "\"$defs\": {\"a b\": {\"const\": 1}}}",
     "[1]", "[2]"},
    {"{\"type\": [\"array\", \"null\"], \"items\": {\"$recursiveRef\": \"#\"}}", "[[], null]",
     "[1]"},
    {"{\"type\": \"array\", \"items\": {\"$dynamicRef\": \"#n\"}, \"$defs\": {\"x\": "
     "{\"$dynamicAnchor\": \"n\", \"type\": \"boolean\"}}}",
     "[true]", "[1]"},
    {"{\"allOf\": [{\"type\": \"integer\", \"x-order\": 1}, {\"maximum\": 3, \"x-order\": 2}]}",
     "3", "4"},
    {"true", "[{}, 1e5]", "[}"},
};

static void test_whatever_a_schema_lets_through_satisfies_it(void **state)
{
    (void)state;
    size_t through = 0, texts = 0;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        gen_constraint *c = schema(rules[i][0]);
        if (judge(c, rules[i][1]) != COMPLETE) fail_msg("%s lacks %s", rules[i][0], rules[i][1]);
        if (judge(c, rules[i][2]) == COMPLETE) fail_msg("%s has %s", rules[i][0], rules[i][2]);
        json_doc doc = JSON_DOC_INIT;
        assert_int_equal(json_parse(&doc, rules[i][0], strlen(rules[i][0]), NULL, NULL), MLTF_OK);
        for (uint32_t seed = 1; seed <= 40; seed++) {
            mltf_buf text = MLTF_BUF_INIT;
            texts++;
            if (write_text(c, seed * 2654435761u, &text)) {
                ast_builder b = {0};
                schema_doc d = {.b = &b, .root = doc.root};
                json_doc value = JSON_DOC_INIT;
                mltf_err err = {0};
                if (json_parse(&value, text.p, text.n, NULL, &err))
                    fail_msg("%s lets through \"%.*s\", which is not JSON: %s", rules[i][0],
                             (int)text.n, text.p, err.msg);
                if (!schema_holds(&d, value.root, doc.root))
                    fail_msg("%s lets through %.*s", rules[i][0], (int)text.n, text.p);
                json_doc_release(&value);
                arena_release(&b.arena);
                through++;
            }
            mltf_buf_release(&text);
        }
        json_doc_release(&doc);
        gen_constraint_free(c);
    }
    assert_true(through > texts * 9 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex_accepts_its_language_and_no_more),
        cmocka_unit_test(test_tokens_are_allowed_by_all_their_bytes),
        cmocka_unit_test(test_grammar_recurses_and_refuses_left_recursion),
        cmocka_unit_test(test_schema_of_an_object),
        cmocka_unit_test(test_schema_with_references_tuples_patterns_and_additional_members),
        cmocka_unit_test(test_multiples_are_told_by_their_digits),
        cmocka_unit_test(test_schema_denies_formats),
        cmocka_unit_test(test_schema_bounds_may_be_large),
        cmocka_unit_test(test_schema_names_what_it_does_not_know),
        cmocka_unit_test(test_very_large_schemas_are_done_with_in_time),
        cmocka_unit_test(test_whatever_a_schema_lets_through_satisfies_it),
        cmocka_unit_test(test_a_grammar_whose_readings_double_with_each_byte_ends_with_an_error),
    };
    return cmocka_run_group_tests(tests, make_trie, free_trie);
}
