/* Tokenizers, on the small ones of tests/fixtures/tokenizers and on some written here. */
#include "unit.h"

#include <stdio.h>
#include <time.h>

#include "base/file.h"
#include "tokenizers/tok_internal.h"

#define FIXTURES "tests/fixtures/tokenizers/"

static tokenizer *load(const char *text)
{
    tokenizer *tk = NULL;
    mltf_err err = {0};
    if (tokenizer_load_json(&tk, text, strlen(text), &err)) fail_msg("%s", err.msg);
    return tk;
}

static void refused(const char *text, const char *part)
{
    tokenizer *tk = NULL;
    mltf_err err = {0};
    assert_int_not_equal(tokenizer_load_json(&tk, text, strlen(text), &err), MLTF_OK);
    assert_null(tk);
    if (!strstr(err.msg, part)) fail_msg("\"%s\" does not say \"%s\"", err.msg, part);
}

/* "id:start-end ..." */
static void tokens(const tokenizer *tk, const char *text, const tok_options *o,
                   const char *expected)
{
    tok_encoding e = TOK_ENCODING_INIT;
    mltf_err err = {0};
    mltf_buf out = MLTF_BUF_INIT;
    buf_puts(&out, "");
    if (tokenizer_encode(tk, &e, (mltf_str){text, strlen(text)}, (mltf_str){NULL, 0}, o, &err))
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < e.n; i++)
        buf_printf(&out, "%s%d:%u-%u", i ? " " : "", e.ids[i], e.offsets[i].start,
                   e.offsets[i].end);
    assert_string_equal(out.p, expected);
    mltf_buf_release(&out);
    tok_encoding_release(&e);
}

#define WORDPIECE                                                                                  \
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":9,\"content\":\"<m>\",\"lstrip\":true,"        \
    "\"special\":true,\"normalized\":false}],"                                                     \
    "\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":true},\"pre_tokenizer\":{\"type\":" \
    "\"BertPreTokenizer\"},"                                                                       \
    "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},"                     \
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##" \
    "\",\"max_input_chars_per_word\":8,"                                                           \
    "\"vocab\":{\"[UNK]\":0,\"he\":1,\"##llo\":2,\"hello\":3,\"wor\":4,\"##ld\":5,\",\":6,\"e\":"  \
    "7,\"##a\":8,\"<m>\":9}}}"

static void test_canine_reads_characters(void **state)
{
    (void)state;
    tokenizer *tk = NULL;
    mltf_err err = {0};
    if (tokenizer_load(&tk, "tests/fixtures/models/family-canine", &err)) fail_msg("%s", err.msg);
    tok_encoding e = TOK_ENCODING_INIT;
    const mltf_str pair = STR("b");
    if (tokenizer_encode(tk, &e, STR("a\xE4\xBD\xA0 \xEE\x80\x83"), pair, NULL, &err))
        fail_msg("%s", err.msg);
    // the mask takes the space before it
    const int32_t ids[] = {0xE000, 'a', 0x4F60, 0xE003, 0xE001, 'b', 0xE001};
    const int32_t types[] = {0, 0, 0, 0, 0, 1, 1};
    assert_int_equal(e.n, 7);
    assert_memory_equal(e.ids, ids, sizeof ids);
    assert_memory_equal(e.type_ids, types, sizeof types);
    mltf_buf out = MLTF_BUF_INIT;
    if (tokenizer_decode(tk, &out, (int32_t[]){0xE000, 'a', 0xE004, 0x4F60, 0}, 5, true, 0, &err))
        fail_msg("%s", err.msg);
    assert_string_equal(out.p, "a[RESERVED]\xE4\xBD\xA0");
    mltf_buf_release(&out);
    tok_encoding_release(&e);
    tokenizer_free(tk);
}

static void test_perceiver_reads_bytes(void **state)
{
    (void)state;
    tokenizer *tk = NULL;
    mltf_err err = {0};
    if (tokenizer_load(&tk, "tests/fixtures/models/family-perceiver", &err))
        fail_msg("%s", err.msg);
    tokens(tk, "a[MASK]\xC3\xA9", NULL, "4:0-0 103:0-0 3:0-0 201:0-0 175:0-0 5:0-0");
    mltf_buf out = MLTF_BUF_INIT;
    // half of a character, and one that is whole
    if (tokenizer_decode(tk, &out, (int32_t[]){4, 201, 103, 201, 175, 5}, 6, true, 0, &err))
        fail_msg("%s", err.msg);
    assert_string_equal(out.p, "\xEF\xBF\xBD"
                               "a\xC3\xA9");
    mltf_buf_release(&out);
    tokenizer_free(tk);
}

static void test_wordpiece_takes_the_longest_pieces_and_keeps_offsets_of_the_original(void **state)
{
    (void)state;
    tokenizer *tk = load(WORDPIECE);
    tokens(tk, "Hello, World", NULL, "3:0-5 6:5-6 4:7-10 5:10-12");
    tokens(tk, "H\xC3\x89LLO", NULL, "3:0-6"); // an accent goes, its bytes do not
    tokens(tk, "helloX", NULL, "0:0-6");       // what cannot be covered is unknown as a whole
    tokens(tk, "hehehehehe", NULL, "0:0-10");  // too many characters
    tokens(tk, "he  <m>he", NULL, "1:0-2 9:2-7 1:7-9"); // the added token eats the spaces before it
    tokens(tk, "", NULL, "");
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    const int32_t ids[] = {3, 6, 4, 5, 9};
    assert_int_equal(tokenizer_decode(tk, &out, ids, 5, true, 0, &err), MLTF_OK);
    assert_string_equal(out.p, "hello, world");
    mltf_buf_release(&out);
    tokenizer_free(tk);
}

#define BPE(vocab, merges, more)                                                                   \
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{" vocab "},\"merges\":[" merges "]}" more "}"

static void
test_bpe_joins_the_pair_of_the_lowest_rank_first_and_the_leftmost_of_equals(void **state)
{
    (void)state;
    tokenizer *tk = load(BPE("\"a\":0,\"b\":1,\"ab\":2,\"aa\":3,\"aab\":4",
                             "[\"a\",\"a\"],[\"a\",\"b\"],[\"aa\",\"b\"]", ""));
    tokens(tk, "aab", NULL, "4:0-3");
    tokens(tk, "aaab", NULL, "3:0-2 2:2-4");
    tokens(tk, "baab", NULL, "1:0-1 4:1-4");
    // Without an unknown token "x" vanishes, which makes "a" and "b" neighbours that still join.
    tokens(tk, "axb", NULL, "2:0-2");
    tokenizer_free(tk);
}

static void test_long_words_and_short_ones_are_joined_alike(void **state)
{
    (void)state;
    tokenizer *tk = load(BPE("\"a\":0,\"b\":1,\"ab\":2,\"abab\":3,\"ba\":4",
                             "[\"a\",\"b\"],[\"ab\",\"ab\"],[\"b\",\"a\"]", ""));
    // far beyond what the array of short words holds, and then in no more than n log n
    const size_t n = 400000;
    char *text = malloc(n);
    for (size_t i = 0; i < n; i++) text[i] = i % 2 ? 'b' : 'a';
    tok_encoding e = TOK_ENCODING_INIT;
    mltf_err err = {0};
    const clock_t began = clock();
    assert_int_equal(tokenizer_encode(tk, &e, (mltf_str){text, n}, (mltf_str){NULL, 0}, NULL, &err),
                     MLTF_OK);
    assert_int_equal(e.n, n / 4);
    for (size_t i = 0; i < e.n; i++) assert_true(e.ids[i] == 3 && e.offsets[i].start == 4 * i);
    assert_true((clock() - began) / CLOCKS_PER_SEC < 20);
    tok_encoding_release(&e);
    free(text);
    tokenizer_free(tk);
}

static void test_unknown_characters_take_byte_tokens_where_there_are_all(void **state)
{
    (void)state;
    tokenizer *tk = load(
        "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"fuse_unk\":true,\"unk_token\":\"?\","
        "\"vocab\":{\"?\":0,\"a\":1,\"<0xC3>\":2,\"<0xA9>\":3},\"merges\":[]},"
        "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":"
        "\"Fuse\"}]}}");
    tokens(tk, "a\xC3\xA9", NULL, "1:0-1 2:1-3 3:1-3");
    tokens(tk, "xya", NULL, "0:0-2 1:2-3");
    // a stream holds bytes back until they are a character
    tok_stream *s = NULL;
    mltf_buf out = MLTF_BUF_INIT;
    mltf_err err = {0};
    assert_int_equal(tok_stream_new(&s, tk, false, &err), MLTF_OK);
    assert_int_equal(tok_stream_push(s, 1, &out, &err), MLTF_OK);
    assert_int_equal(out.n, 1);
    assert_int_equal(tok_stream_push(s, 2, &out, &err), MLTF_OK);
    assert_int_equal(tok_stream_push(s, 3, &out, &err), MLTF_OK);
    assert_int_equal(out.n, 1);
    assert_int_equal(tok_stream_end(s, &out, &err), MLTF_OK);
    assert_string_equal(out.p, "a\xC3\xA9");
    tok_stream_free(s);
    mltf_buf_release(&out);
    tokenizer_free(tk);
}

static void test_unigram_finds_the_best_path_and_fuses_unknown_characters(void **state)
{
    (void)state;
    tokenizer *tk = load("{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":"
                         "\"\xE2\x96\x81\",\"prepend_scheme\":\"always\",\"split\":true},"
                         "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],["
                         "\"\xE2\x96\x81\",-3],[\"\xE2\x96\x81"
                         "a\",-2],[\"b\",-2],[\"ab\",-9],[\"bb\",-3]]}}");
    tokens(tk, "abb", NULL, "2:0-1 5:1-3");
    tokens(tk, "a b", NULL, "2:0-1 1:1-2 3:2-3");
    tokens(tk, "xyzb", NULL, "1:0-1 0:0-3 3:3-4");
    tokenizer_free(tk);
}

static void test_files_that_are_no_tokenizers_are_refused_with_their_fault(void **state)
{
    (void)state;
    refused("{", "Expecting property name");
    refused("[]", "not an object");
    refused("{}", "lacks its model");
    refused(BPE("\"a\":0", "[\"a\",\"b\"]", ""), "out of vocabulary");
    refused(BPE("\"a\":0", "\"a a a\"", ""), "not two tokens");
    refused(BPE("\"a\":-1", "", ""), "id of token \"a\"");
    refused(BPE("\"a\":0", "", ",\"normalizer\":{\"type\":\"Wavy\"}"), "normalizer type \"Wavy\"");
    refused(BPE("\"a\":0", "",
                ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a\"},"
                "\"behavior\":\"Isolated\"}"),
            "premature end of char-class");
    refused(BPE("\"a\":0", "",
                ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},"
                "\"behavior\":\"Isolated\"}"),
            "no regular expression");
    refused("{\"model\":{\"type\":\"Unigram\",\"unk_id\":3,\"vocab\":[[\"a\",0]]}}", "unk_id");
    refused("{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"//"
            "8=\"},\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}",
            "precompiled_charsmap");
}

static void test_a_pattern_that_explodes_ends_with_an_error(void **state)
{
    (void)state;
    tokenizer *tk = load(BPE("\"a\":0", "",
                             ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a+)+"
                             "$\"},\"behavior\":\"Isolated\",\"invert\":false}"));
    char text[60];
    memset(text, 'a', sizeof text);
    text[59] = '!';
    tok_encoding e = TOK_ENCODING_INIT;
    mltf_err err = {0};
    assert_int_not_equal(
        tokenizer_encode(tk, &e, (mltf_str){text, 60}, (mltf_str){NULL, 0}, NULL, &err), MLTF_OK);
    assert_non_null(strstr(err.msg, "too many steps"));
    tok_encoding_release(&e);
    tokenizer_free(tk);
}

static void test_text_must_be_utf8(void **state)
{
    (void)state;
    tokenizer *tk = load(WORDPIECE);
    tok_encoding e = TOK_ENCODING_INIT;
    mltf_err err = {0};
    assert_int_equal(
        tokenizer_encode(tk, &e, (mltf_str){"\xC3", 1}, (mltf_str){NULL, 0}, NULL, &err),
        MLTF_INVALID_INPUT);
    tokenizer_free(tk);
}

static void test_truncation_counts_special_tokens_and_overflows_with_a_stride(void **state)
{
    (void)state;
    tokenizer *tk = NULL;
    mltf_err err = {0};
    if (tokenizer_load(&tk, FIXTURES "wordpiece-bert-uncased", &err)) fail_msg("%s", err.msg);
    const tok_options o = {.truncation = TOK_TRUNCATE_LONGEST_FIRST, .max_length = 6, .stride = 2};
    tok_encoding *e = NULL;
    size_t n = 0;
    const char text[] = "hello world, hello again";
    assert_int_equal(tokenizer_encode_overflow(tk, &e, &n, (mltf_str){text, sizeof text - 1},
                                               (mltf_str){NULL, 0}, &o, &err),
                     MLTF_OK);
    assert_true(n > 2);
    for (size_t i = 0; i < n; i++) {
        assert_true(e[i].n <= 6);
        assert_int_equal(e[i].ids[0], tokenizer_special_id(tk, TOK_CLS));
        assert_int_equal(e[i].ids[e[i].n - 1], tokenizer_special_id(tk, TOK_SEP));
        if (i) { // two tokens of the part before come again
            assert_int_equal(e[i].ids[1], e[i - 1].ids[3]);
            assert_int_equal(e[i].ids[2], e[i - 1].ids[4]);
        }
    }
    for (size_t i = 0; i < n; i++) tok_encoding_release(&e[i]);
    free(e);
    const tok_options bad = {.truncation = TOK_TRUNCATE_ONLY_SECOND, .max_length = 4};
    tok_encoding x = TOK_ENCODING_INIT;
    assert_int_not_equal(tokenizer_encode(tk, &x, (mltf_str){text, sizeof text - 1},
                                          (mltf_str){NULL, 0}, &bad, &err),
                         MLTF_OK);
    tok_encoding_release(&x);
    tokenizer_free(tk);
}

/* Ids drawn at random, decoded at once often enough for the table of texts, token by token, and streamed. */
static void same_decoding(const tokenizer *tk, int32_t max)
{
    enum { N = 600 };
    int32_t ids[N];
    uint32_t seed = 7;
    for (int round = 0; round < 20; round++) {
        const int n = round % 2 ? N : 1 + round;
        for (int i = 0; i < n; i++) {
            seed = seed * 1664525 + 1013904223;
            ids[i] = (int32_t)(seed >> 8) % (max + 2);
        }
        mltf_buf whole = MLTF_BUF_INIT, streamed = MLTF_BUF_INIT;
        mltf_err err = {0};
        tok_stream *s = NULL;
        buf_puts(&whole, "");
        buf_puts(&streamed, "");
        assert_int_equal(tokenizer_decode(tk, &whole, ids, (size_t)n, round % 3 == 0, 0, &err),
                         MLTF_OK);
        assert_int_equal(tok_stream_new(&s, tk, round % 3 == 0, &err), MLTF_OK);
        for (int i = 0; i < n; i++)
            assert_int_equal(tok_stream_push(s, ids[i], &streamed, &err), MLTF_OK);
        assert_int_equal(tok_stream_end(s, &streamed, &err), MLTF_OK);
        assert_string_equal(whole.p, streamed.p);
        tok_stream_free(s);
        mltf_buf_release(&whole);
        mltf_buf_release(&streamed);
    }
}

#define META_BPE(merges, decoder)                                                                  \
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":8,\"content\":\"<s>\",\"special\":true,"       \
    "\"normalized\":false}],\"decoder\":" decoder                                                  \
    ",\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"byte_fallback\":true,\"fuse_unk\":"    \
    "true,"                                                                                        \
    "\"vocab\":{\"<unk>\":0,\"\u2581\":1,\"a\":2,\"b\":3,\"\u2581a\":4,\"ab\":5,\"a\u2581\":6,"    \
    "\"<0xC3>\":7,\"<s>\":8,\"<0xA9>\":9,\"b\u2581\":10},\"merges\":[" merges "]}}"

static void test_a_table_of_texts_decodes_as_the_stages_do(void **state)
{
    (void)state;
    static const char *const decoders[] = {
        META_BPE("", "null"),
        META_BPE("",
                 "{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"prepend_scheme\":\"always\","
                 "\"split\":true}"),
        META_BPE(
            "",
            "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
            "\"\u2581\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
            "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}"),
        META_BPE(
            "",
            "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Metaspace\",\"replacement\":"
            "\"\u2581\","
            "\"prepend_scheme\":\"first\",\"split\":true},{\"type\":\"Fuse\"},{\"type\":\"Strip\","
            "\"content\":\" \",\"start\":2,\"stop\":0}]}"),
        META_BPE("", "{\"type\":\"ByteLevel\"}"),
        META_BPE("", "{\"type\":\"BPEDecoder\",\"suffix\":\"b\"}"),
        WORDPIECE,
    };
    for (size_t i = 0; i < sizeof decoders / sizeof *decoders; i++) {
        tokenizer *tk = load(decoders[i]);
        same_decoding(tk, 10);
        tokenizer_free(tk);
    }
}

static void test_text_is_cut_only_where_no_merge_joins(void **state)
{
    (void)state;
    // nothing joins "a" or "b" with the "\u2581" behind it: three words
    tokenizer *tk = load(META_BPE("\"\u2581 a\",\"a b\"", "null"));
    tokens(tk,
           "\xE2\x96\x81"
           "ab\xE2\x96\x81"
           "b",
           NULL, "4:0-4 3:4-5 1:5-8 3:8-9");
    tokens(tk,
           "a\xC3\xA9"
           "a",
           NULL, "2:0-1 7:1-3 9:1-3 2:3-4"); // bytes of a character: its place
    tokens(tk,
           "\n\n"
           "a",
           NULL, "0:0-2 2:2-3"); // unknown ones stay together
    tokenizer_free(tk);
    // here "b\u2581" comes first, so the second word's "\u2581" is gone
    tk = load(META_BPE("\"b \u2581\",\"\u2581 a\",\"a b\"", "null"));
    tokens(tk,
           "ab\xE2\x96\x81"
           "a",
           NULL, "2:0-1 10:1-5 2:5-6");
    tokenizer_free(tk);
}

static void test_a_superscript_is_a_word_alone_but_not_in_a_class(void **state)
{
    (void)state;
    tokenizer *tk =
        load("{\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"invert\":false,"
             "\"pattern\":{\"Regex\":\"\\\\w+|[^\\\\w\\\\s]+|\\\\s+\"}},"
             "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"?\":0},\"unk_token\":\"?\"}}");
    tokens(tk, "'\xC2\xB2 a\xC2\xB2'", NULL, "0:0-3 0:3-4 0:4-7 0:7-8");
    tokenizer_free(tk);
}

static void test_ids_only_gives_the_same_ids(void **state)
{
    (void)state;
    static const char *const dirs[] = {FIXTURES "wordpiece-bert-uncased", FIXTURES "bpe-gpt2",
                                       FIXTURES "bpe-llama3", FIXTURES "metaspace-first-split"};
    const char text[] = "Hello, w\xC3\xB6rld! It's 123 \xE5\x8C\x97\xE4\xBA\xAC \xF0\x9F\x98\x80 "
                        "<|endoftext|>\n\n  x";
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        tokenizer *tk = NULL;
        mltf_err err = {0};
        if (tokenizer_load(&tk, dirs[i], &err)) fail_msg("%s", err.msg);
        tok_encoding a = TOK_ENCODING_INIT, b = TOK_ENCODING_INIT;
        const tok_options o = {.ids_only = true};
        assert_int_equal(tokenizer_encode(tk, &a, (mltf_str){text, sizeof text - 1},
                                          (mltf_str){NULL, 0}, NULL, &err),
                         MLTF_OK);
        assert_int_equal(tokenizer_encode(tk, &b, (mltf_str){text, sizeof text - 1},
                                          (mltf_str){NULL, 0}, &o, &err),
                         MLTF_OK);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
        assert_null(b.offsets);
        tok_encoding_release(&a);
        tok_encoding_release(&b);
        tokenizer_free(tk);
    }
}

static void test_every_known_pattern_covers_what_it_should(void **state)
{
    (void)state;
    static const struct {
        const char *text, *pieces;
    } gpt2[] = {{"Hello  world's 123!\n\n x", "Hello| | world|'s| 123|!|\n\n| x"},
                {"don't", "don|'t"},
                {"a \xC2\xA0 b", "a| \xC2\xA0| b"}};
    for (size_t i = 0; i < sizeof gpt2 / sizeof *gpt2; i++) {
        mltf_buf out = MLTF_BUF_INIT;
        const size_t n = strlen(gpt2[i].text);
        for (size_t at = 0; at < n;) {
            const size_t end = tok_match_gpt2(gpt2[i].text, n, at);
            assert_true(end > at);
            if (at) buf_putc(&out, '|');
            buf_append(&out, gpt2[i].text + at, end - at);
            at = end;
        }
        assert_string_equal(out.p, gpt2[i].pieces);
        mltf_buf_release(&out);
    }
}

typedef struct text_file {
    const char *name, *text; /* name NULL: the last */
} text_file;

/* A tokenizer of these files; NULL where it is refused, and err says why. */
static tokenizer *load_files(const text_file *files, mltf_err *err)
{
    char *dir = unit_new_folder(), path[256];
    assert_non_null(dir);
    for (; files->name; files++) {
        snprintf(path, sizeof path, "%s/%s", dir, files->name);
        if (file_write(path, files->text, strlen(files->text), err)) fail_msg("%s", err->msg);
    }
    tokenizer *tk = NULL;
    tokenizer_load(&tk, dir, err);
    assert_int_equal(unit_remove_folder(dir), 0);
    return tk;
}

static void test_merges_of_clip_may_end_in_a_letter_whose_last_byte_reads_as_a_space(void **state)
{
    (void)state;
    static const text_file files[] = {
        {"vocab.json", "{\"a\":0,\"b\":1,\"\u00c5\":2,\"a\u00c5\":3,\"a\u00c5b\":4,"
                       "\"<|startoftext|>\":5,\"<|endoftext|>\":6}"},
        {"merges.txt", "#version: 0.2\na\xC3\x85 b\na \xC3\x85\n\n"}, // U+00C5
        {"tokenizer_config.json", "{\"tokenizer_class\":\"CLIPTokenizer\"}"},
        {NULL, NULL}};
    mltf_err err = {0};
    tokenizer *tk = load_files(files, &err);
    if (!tk) fail_msg("%s", err.msg);
    tokenizer_free(tk);
}

static void test_lines_of_merges_end_as_those_of_any_text_file(void **state)
{
    (void)state;
    static const char *const ends[] = {"#version: 0.2\na b\nab c\n",
                                       "#version: 0.2\r\na b\r\nab c\r\n",
                                       "#version: 0.2\ra b\rab c\r"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const text_file files[] = {
            {"vocab.json", "{\"a\":0,\"b\":1,\"ab\":2,\"c\":3,\"abc\":4,\"<|endoftext|>\":5}"},
            {"merges.txt", ends[i]},
            {"tokenizer_config.json", "{\"tokenizer_class\":\"GPT2Tokenizer\"}"},
            {NULL, NULL}};
        mltf_err err = {0};
        tokenizer *tk = load_files(files, &err);
        if (!tk) fail_msg("%s", err.msg);
        tokens(tk, "abc", NULL, "4:0-3");
        tokenizer_free(tk);
    }
}

static void test_letters_of_ctc_become_capitals_beyond_ascii(void **state)
{
    (void)state;
    static const text_file files[] = {
        {"vocab.json", "{\"<pad>\":0,\"<unk>\":1,\"|\":2,\"S\":3,\"\u00c9\":4,\"I\":5}"},
        {"tokenizer_config.json",
         "{\"tokenizer_class\":\"Wav2Vec2CTCTokenizer\",\"do_lower_case\":true,"
         "\"pad_token\":\"<pad>\",\"unk_token\":\"<unk>\"}"},
        {NULL, NULL}};
    mltf_err err = {0};
    tokenizer *tk = load_files(files, &err);
    if (!tk) fail_msg("%s", err.msg);
    // "\u00e9\u00df \u0131\u017f": str.upper() makes two letters of the second
    tokens(tk, "\xC3\xA9\xC3\x9F \xC4\xB1\xC5\xBF", NULL, "4:0-0 3:0-0 3:0-0 2:0-0 5:0-0 3:0-0");
    tokenizer_free(tk);
}

static void test_an_offset_of_pegasus_is_bounded(void **state)
{
    (void)state;
    static const text_file files[] = {
        {"spiece.model", "\x0a\x09\x0a\x05<unk>\x18\x02\x12\x02\x18\x01"}, // one piece, Unigram
        {"tokenizer_config.json",
         "{\"tokenizer_class\":\"PegasusTokenizer\",\"offset\":1000000000000}"},
        {NULL, NULL}};
    mltf_err err = {0};
    assert_null(load_files(files, &err));
    assert_non_null(strstr(err.msg, "offset is 1000000000000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canine_reads_characters),
        cmocka_unit_test(test_perceiver_reads_bytes),
        cmocka_unit_test(test_wordpiece_takes_the_longest_pieces_and_keeps_offsets_of_the_original),
        cmocka_unit_test(
            test_bpe_joins_the_pair_of_the_lowest_rank_first_and_the_leftmost_of_equals),
        cmocka_unit_test(test_long_words_and_short_ones_are_joined_alike),
        cmocka_unit_test(test_unknown_characters_take_byte_tokens_where_there_are_all),
        cmocka_unit_test(test_unigram_finds_the_best_path_and_fuses_unknown_characters),
        cmocka_unit_test(test_files_that_are_no_tokenizers_are_refused_with_their_fault),
        cmocka_unit_test(test_a_pattern_that_explodes_ends_with_an_error),
        cmocka_unit_test(test_text_must_be_utf8),
        cmocka_unit_test(test_truncation_counts_special_tokens_and_overflows_with_a_stride),
        cmocka_unit_test(test_a_table_of_texts_decodes_as_the_stages_do),
        cmocka_unit_test(test_text_is_cut_only_where_no_merge_joins),
        cmocka_unit_test(test_a_superscript_is_a_word_alone_but_not_in_a_class),
        cmocka_unit_test(test_ids_only_gives_the_same_ids),
        cmocka_unit_test(test_every_known_pattern_covers_what_it_should),
        cmocka_unit_test(test_merges_of_clip_may_end_in_a_letter_whose_last_byte_reads_as_a_space),
        cmocka_unit_test(test_lines_of_merges_end_as_those_of_any_text_file),
        cmocka_unit_test(test_letters_of_ctc_become_capitals_beyond_ascii),
        cmocka_unit_test(test_an_offset_of_pegasus_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
