/* Checkpoints without tokenizer.json: transformers 4.57's convert_slow_tokenizer.py, in memory.
 *
 * A converter makes the model from the vocabulary files and says the other parts as it would in a
 * tokenizer.json. What a slow class does to its special tokens (attributes, default lists) is a row of a table. */
#include "tokenizers/tok_convert.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/pytext.h"

#define META "\xE2\x96\x81"

/* ---- attributes of special tokens ---- */

/* Seven letters for bos, eos, unk, sep, pad, cls, mask: '-' a plain string, 'n' normalized, 's' special,
 * 'l' eats the space before it and is normalized, 'm' eats the space before it. */
static const struct {
    const char *name, *attributes;
} slow_attributes[] = {
    {"GPT2Tokenizer", "nnn-n--"},       {"RobertaTokenizer", "nnnnnnm"},
    {"LongformerTokenizer", "nnnnnnm"}, {"BlenderbotTokenizer", "nnnnnnm"},
    {"BartTokenizer", "nnnnnnl"},       {"LEDTokenizer", "nnnnnnl"},
    {"TapexTokenizer", "nnnnnnl"},      {"LayoutLMv3Tokenizer", "nnnnnnl"},
    {"MarkupLMTokenizer", "nnnnnnl"},   {"BigBirdTokenizer", "nnnnnnl"},
    {"CodeGenTokenizer", "sss-s--"},    {"DebertaTokenizer", "ssssssl"},
    {"MvpTokenizer", "ssssssm"},        {"MPNetTokenizer", "ssssssm"},
    {"CLIPTokenizer", "nnn----"},       {"Qwen2Tokenizer", "sss-s--"},
    {"WhisperTokenizer", "sss-s--"},    {"LlamaTokenizer", "sss-s--"},
    {"CodeLlamaTokenizer", "sss----"},  {"GemmaTokenizer", "sss-s--"},
    {"T5Tokenizer", "-ss-s--"},         {"UdopTokenizer", "-ssss--"},
    {"NllbTokenizer", "sss-s-l"},       {"XLMRobertaTokenizer", "------m"},
    {"BarthezTokenizer", "------m"},    {"XLNetTokenizer", "------m"},
    {"LayoutXLMTokenizer", "------m"},  {"CamembertTokenizer", "------m"},
    {"FNetTokenizer", "---s-sm"},       {"AlbertTokenizer", "------m"},
    {"MBartTokenizer", "------m"},      {"MBart50Tokenizer", "------l"},
    {"RemBertTokenizer", "------l"},    {"DebertaV2Tokenizer", "--n----"},
};

static void slow_specials(tok_settings *s)
{
    const char *a = "-------";
    for (size_t i = 0; i < sizeof slow_attributes / sizeof *slow_attributes; i++)
        if (tok_is_class(s, slow_attributes[i].name)) a = slow_attributes[i].attributes;
    for (int i = 0; i < TOK_SPECIAL_COUNT; i++) {
        tok_special_value *v = &s->special[i];
        if (!v->set || !v->was_string) continue;
        v->plain = a[i] == '-';
        v->token = (tok_added_token){.content = v->token.content,
                                     .id = -1,
                                     .lstrip = a[i] == 'l' || a[i] == 'm',
                                     .normalized = a[i] == 'n' || a[i] == 'l',
                                     .special = a[i] == 's'};
    }
}

/* ---- language codes ---- */

static const char *const *codes_of(const tok_settings *s)
{
    if (tok_is_class(s, "MBartTokenizer")) return tok_codes_mbart;
    if (tok_is_class(s, "MBart50Tokenizer")) return tok_codes_mbart50;
    if (tok_is_class(s, "NllbTokenizer")) return tok_codes_nllb;
    return NULL;
}

mltf_status tok_class_language(tokenizer *tk, const tok_settings *s, mltf_err *err)
{
    if (!s->cls || !codes_of(s)) return MLTF_OK;
    const bool nllb = tok_is_class(s, "NllbTokenizer"),
               first = tok_is_class(s, "MBart50Tokenizer") ||
                       (nllb && !tok_settings_bool(s, "legacy_behaviour", false));
    mltf_str lang =
        json_string(json_get(s->config.root, "src_lang"), nllb ? STR("eng_Latn") : STR("en_XX"));
    const mltf_str both[2] = {tk->special[TOK_EOS], lang};
    if (!both[0].p) return mltf_fail(err, MLTF_CORRUPT_FILE, "the tokenizer has no eos_token");
    // a code that is not in the vocabulary becomes the unknown token
    mltf_str known[2] = {both[0],
                         tokenizer_token_to_id(tk, lang) >= 0 ? lang : tk->special[TOK_UNK]};
    return first ? tok_set_template(tk, &known[1], 1, &known[0], 1, false, err)
                 : tok_set_template(tk, NULL, 0, known, 2, false, err);
}

static bool has_extra(const tok_settings *s, mltf_str content)
{
    for (size_t i = 0; i < s->extra.n; i++)
        if (str_eq(s->extra.v[i].content, content)) return true;
    return false;
}

static bool push_extra(tok_settings *s, const char *content)
{
    if (!content) return false;
    const mltf_str text = str_from(content);
    if (has_extra(s, text)) return true;
    if (!ARRAY_RESERVE(s->extra.v, s->extra.cap, s->extra.n + 1)) return false;
    s->extra.v[s->extra.n++] = (tok_added_token){.content = text, .id = -2};
    return true;
}

static bool push_tokens(tok_settings *s, const tok_token_list *more)
{
    for (size_t i = 0; i < more->n; i++) {
        if (has_extra(s, more->v[i].content)) continue;
        if (!ARRAY_RESERVE(s->extra.v, s->extra.cap, s->extra.n + 1)) return false;
        s->extra.v[s->extra.n++] = more->v[i];
    }
    return true;
}

mltf_status tok_pegasus_offset(int64_t *out, const tok_settings *s, mltf_err *err)
{
    *out = json_int(json_get(s->config.root, "offset"), 103);
    if (*out < 0 || *out > 1 << 20)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "offset is %lld", (long long)*out);
    return MLTF_OK;
}

/* The lists of additional_special_tokens that a class has of its own. */
mltf_status tok_class_extra(tokenizer *tk, tok_settings *s, mltf_err *err)
{
    if (!s->cls) return MLTF_OK;
    const bool given =
        json_is(json_get(s->config.root, "additional_special_tokens"), JSON_ARRAY) || s->extra.n;
    bool ok = true;
    const char *const *codes = codes_of(s);
    if (codes && tok_is_class(s, "MBartTokenizer")) { // its own codes first
        const tok_token_list old = s->extra;
        s->extra = (tok_token_list){0};
        for (; ok && *codes; codes++) ok = push_extra(s, *codes);
        ok = ok && push_tokens(s, &old);
        free(old.v);
    } else if (codes && (!given || tok_is_class(s, "MBart50Tokenizer"))) {
        for (; ok && *codes; codes++) ok = push_extra(s, *codes);
    } else if (tok_is_class(s, "T5Tokenizer") || tok_is_class(s, "ByT5Tokenizer")) {
        const int64_t n = json_int(json_get(s->config.root, "extra_ids"),
                                   tok_is_class(s, "ByT5Tokenizer") ? 125 : 100);
        bool any = false;
        for (size_t i = 0; i < s->extra.n; i++)
            any = any || memmem(s->extra.v[i].content.p, s->extra.v[i].content.n, "<extra_id_", 10);
        if (n < 0 || n > 1 << 20)
            return mltf_fail(err, MLTF_CORRUPT_FILE, "extra_ids is %lld", (long long)n);
        for (int64_t i = 0; ok && !any && i < n; i++)
            ok = push_extra(s, arena_printf(&tk->arena, "<extra_id_%lld>", (long long)i));
    } else if (tok_is_class(s, "PegasusTokenizer")) {
        int64_t offset;
        TRY(tok_pegasus_offset(&offset, s, err));
        const json *sent = json_get(s->config.root, "mask_token_sent");
        const bool none = sent && sent->type == JSON_NULL;
        // the token for a masked sentence first; what is given stands for the first <unk_2> ...
        const tok_token_list old = s->extra;
        s->extra = (tok_token_list){0};
        if (!none)
            ok = push_extra(
                s, arena_printf(&tk->arena, STR_FMT, STR_ARG(json_string(sent, STR("<mask_1>")))));
        ok = ok && push_tokens(s, &old);
        for (int64_t i = given ? (int64_t)s->extra.n : 2; ok && i < offset - (given ? 1 : 0); i++)
            ok = push_extra(s, arena_printf(&tk->arena, "<unk_%lld>", (long long)i));
        free(old.v);
    } else if (tok_is_class(s, "XLNetTokenizer") && !given) {
        ok = push_extra(s, "<eop>") && push_extra(s, "<eod>");
    } else if (tok_is_class(s, "CamembertTokenizer") && !given) {
        ok = push_extra(s, "<s>NOTUSED") && push_extra(s, "</s>NOTUSED") &&
             push_extra(s, "<unk>NOTUSED");
    } else if (tok_is_class(s, "XGLMTokenizer")) {
        for (int i = 0; ok && i < 7; i++)
            ok = push_extra(s, arena_printf(&tk->arena, "<madeupword%d>", i));
    } else if (tok_is_class(s, "CodeLlamaTokenizer")) {
        static const char *const fill[4][2] = {{"prefix_token", META "<PRE>"},
                                               {"middle_token", META "<MID>"},
                                               {"suffix_token", META "<SUF>"},
                                               {"eot_token", META "<EOT>"}};
        for (int i = 0; ok && i < 4; i++) {
            const json *v = json_get(s->config.root, fill[i][0]);
            if (v && v->type == JSON_NULL) continue;
            ok = push_extra(s, arena_printf(&tk->arena, STR_FMT,
                                            STR_ARG(json_string(v, str_from(fill[i][1])))));
        }
    }
    return ok && !tk->arena.failed ? MLTF_OK : mltf_fail_memory(err);
}

/* ---- vocab.txt ---- */

static mltf_status read_vocab_txt(tok_vocab *v, const char *dir, const char *name,
                                  mltf_arena *arena, mltf_err *err)
{
    mltf_str text;
    TRY(tok_read_text(&text, arena, dir, name, err));
    if (!text.p) return mltf_fail(err, MLTF_NOT_FOUND, "there is no %s", name);
    int32_t id = 0;
    for (size_t at = 0; at < text.n;) {
        const char *nl = memchr(text.p + at, '\n', text.n - at);
        const size_t end = nl ? (size_t)(nl - text.p) : text.n;
        if (!vocab_put(v, str_slice(text, at, end), id++)) return mltf_fail_memory(err);
        at = end + 1;
    }
    return MLTF_OK;
}

static mltf_status convert_bert(tokenizer *tk, tok_settings *s, const char *dir, mltf_err *err)
{
    tok_vocab v = {0};
    mltf_arena arena = MLTF_ARENA_INIT;
    mltf_status st = read_vocab_txt(&v, dir, "vocab.txt", &arena, err);
    if (st == MLTF_OK)
        st = tok_wordpiece_new(&tk->model, &v,
                               s->special[TOK_UNK].set ? s->special[TOK_UNK].token.content
                                                       : STR("[UNK]"),
                               STR("##"), 100, err);
    vocab_release(&v);
    arena_release(&arena);
    TRY(st);
    const json *accents = json_get(s->config.root, "strip_accents");
    char normalizer[200];
    snprintf(normalizer, sizeof normalizer,
             "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":%s,\"strip_"
             "accents\":%s,\"lowercase\":%s}",
             tok_settings_bool(s, "tokenize_chinese_chars", true) ? "true" : "false",
             !json_is(accents, JSON_BOOL) ? "null"
             : accents->b                 ? "true"
                                          : "false",
             tok_settings_bool(s, "do_lower_case", true) ? "true" : "false");
    return tok_set_parts(tk, normalizer, "{\"type\":\"BertPreTokenizer\"}", NULL,
                         "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}", err);
}

static mltf_status post_bert(tokenizer *tk, tok_settings *s, mltf_err *err)
{
    if (tok_is_class(s, "FunnelTokenizer"))
        return tok_set_template_words(tk, "%c:2 $A:0 %s:0", "%c:2 $A:0 %s:0 $B:1 %s:1", err);
    if (tok_is_class(s, "MPNetTokenizer"))
        return tok_set_template_words(tk, "%c:0 $A:0 %s:0", "%c:0 $A:0 %s:0 %s:0 $B:1 %s:1", err);
    return tok_set_template_words(tk, "%c:0 $A:0 %s:0", "%c:0 $A:0 %s:0 $B:1 %s:1", err);
}

/* ---- vocab.json and merges.txt ---- */

typedef enum { MERGES_GPT2, MERGES_CLIP, MERGES_QWEN, MERGES_HERBERT } merges_form;

static mltf_status add_merge_line(tok_merge **m, size_t *n, size_t *cap, tok_vocab *seen,
                                  mltf_str line, size_t number, mltf_err *err)
{
    mltf_str rest = line;
    const mltf_str left = pytext_word(&rest), right = pytext_word(&rest);
    if (!right.n || pytext_word(&rest).n)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "line %zu of merges.txt, \"" STR_FMT "\", is not two tokens", number,
                         STR_ARG(line));
    // a pair that comes again keeps its first rank
    mltf_buf key = MLTF_BUF_INIT;
    buf_put_str(&key, left);
    buf_putc(&key, ' ');
    buf_put_str(&key, right);
    const bool again = !key.failed && vocab_find(seen, key.p, key.n) >= 0;
    const bool ok =
        !key.failed &&
        (again || (vocab_put(seen, buf_str(&key), 0) && ARRAY_RESERVE(*m, *cap, *n + 1)));
    mltf_buf_release(&key);
    if (!ok) return mltf_fail_memory(err);
    if (!again) (*m)[(*n)++] = (tok_merge){left, right};
    return MLTF_OK;
}

static mltf_status read_merges_txt(tok_merge **m, size_t *n, mltf_arena *arena, const char *dir,
                                   const char *name, merges_form form, mltf_err *err)
{
    *m = NULL;
    *n = 0;
    mltf_str text;
    TRY(tok_read_text(&text, arena, dir, name, err));
    if (!text.p) return mltf_fail(err, MLTF_NOT_FOUND, "there is no %s", name);
    if (form == MERGES_CLIP) text = pytext_strip(text);
    size_t cap = 0, number = 0;
    tok_vocab seen = {0};
    mltf_status st = MLTF_OK;
    for (size_t at = 0; at <= text.n && st == MLTF_OK; number++) {
        const char *nl = at < text.n ? memchr(text.p + at, '\n', text.n - at) : NULL;
        const size_t end = nl ? (size_t)(nl - text.p) : text.n;
        mltf_str line = str_slice(text, at, end);
        const bool last = !nl;
        at = end + 1;
        if (form == MERGES_QWEN) {
            line = pytext_strip(line);
            if (!line.n || (number == 0 && str_starts(line, "#version:"))) continue;
        } else {
            if (number == 0 && form != MERGES_HERBERT) continue;
            if (number == 0 && str_starts(line, "#version:")) continue;
            if (last && form != MERGES_CLIP) break; // split("\n")[..:-1]
            if (form == MERGES_CLIP && number > 49152 - 256 - 2) break;
        }
        st = add_merge_line(m, n, &cap, &seen, line, number + 1, err);
    }
    vocab_release(&seen);
    return st;
}

mltf_status tok_read_vocab_json(tok_vocab *v, const char *dir, const char *name, mltf_err *err)
{
    json_doc doc = JSON_DOC_INIT;
    bool found;
    mltf_status st = tok_read_json(&doc, dir, name, &found, err);
    if (st == MLTF_OK && !found) st = mltf_fail(err, MLTF_NOT_FOUND, "there is no %s", name);
    if (st == MLTF_OK && !json_is(doc.root, JSON_OBJECT))
        st = mltf_fail(err, MLTF_CORRUPT_FILE, "%s is not an object", name);
    for (size_t i = 0; st == MLTF_OK && i < doc.root->o.n; i++) {
        const json_member *m = &doc.root->o.members[i];
        if (m->value.type != JSON_INT || m->value.i < 0 || m->value.i > INT32_MAX)
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "the id of token \"" STR_FMT "\" is not a number from 0 to 2^31",
                           STR_ARG(m->key));
        else if (!vocab_put(v, m->key, (int32_t)m->value.i))
            st = mltf_fail_memory(err);
    }
    json_doc_release(&doc);
    return st;
}

static mltf_status convert_bpe(tokenizer *tk, tok_settings *s, const char *dir, mltf_err *err)
{
    const bool clip = tok_is_class(s, "CLIPTokenizer"), qwen = tok_is_class(s, "Qwen2Tokenizer");
    const bool gpt1 = tok_is_class(s, "OpenAIGPTTokenizer"),
               herbert = tok_is_class(s, "HerbertTokenizer");
    const bool prefix =
        tok_settings_bool(s, "add_prefix_space", (s->cls->flags & TOK_CLASS_PREFIX_SPACE) != 0);
    const mltf_str unk =
        s->special[TOK_UNK].set ? s->special[TOK_UNK].token.content : (mltf_str){NULL, 0};
    tok_bpe_config c = {.bytes = !gpt1 && !herbert};
    if (clip || gpt1 || herbert) {
        c.unk = unk;
        c.suffix = STR("</w>");
    } else if (tok_is_class(s, "MarkupLMTokenizer")) {
        c.unk = unk;
    }
    tok_vocab v = {0};
    tok_merge *m = NULL;
    size_t n = 0;
    mltf_arena arena = MLTF_ARENA_INIT;
    mltf_status st = tok_read_vocab_json(&v, dir, "vocab.json", err);
    if (st == MLTF_OK)
        st = read_merges_txt(&m, &n, &arena, dir, "merges.txt",
                             clip      ? MERGES_CLIP
                             : qwen    ? MERGES_QWEN
                             : herbert ? MERGES_HERBERT
                                       : MERGES_GPT2,
                             err);
    if (st == MLTF_OK) st = tok_bpe_new(&tk->model, &v, m, n, &c, err);
    vocab_release(&v);
    free(m);
    arena_release(&arena);
    TRY(st);
    if (gpt1)
        return tok_set_parts(tk, "{\"type\":\"BertNormalizer\"}", "{\"type\":\"BertPreTokenizer\"}",
                             NULL, "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", err);
    if (herbert)
        return tok_set_parts(
            tk, "{\"type\":\"BertNormalizer\",\"lowercase\":false,\"strip_accents\":false}",
            "{\"type\":\"BertPreTokenizer\"}", NULL,
            "{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", err);
    static const char decoder[] = "{\"type\":\"ByteLevel\"}";
    if (clip)
        return tok_set_parts(
            tk,
            "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\","
            "\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"},{\"type\":\"Lowercase\"}]}",
            "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
            "\"'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"},"
            "\"behavior\":\"Removed\",\"invert\":true},{\"type\":\"ByteLevel\",\"add_prefix_"
            "space\":false}]}",
            NULL, decoder, err);
    if (qwen) {
        mltf_buf b = MLTF_BUF_INIT;
        buf_puts(
            &b,
            "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
            "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}|"
            " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}"
            ",\"behavior\":\"Isolated\",\"invert\":false},");
        buf_printf(&b, "{\"type\":\"ByteLevel\",\"add_prefix_space\":%s,\"use_regex\":false}]}",
                   prefix ? "true" : "false");
        st = buf_status(&b, err);
        if (st == MLTF_OK)
            st = tok_set_parts(tk, "{\"type\":\"NFC\"}", b.p,
                               "{\"type\":\"ByteLevel\",\"trim_offsets\":false}", decoder, err);
        mltf_buf_release(&b);
        return st;
    }
    return tok_set_parts(tk, NULL,
                         prefix ? "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}"
                                : "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}",
                         NULL, decoder, err);
}

/* cls and sep as RobertaProcessing or BertProcessing. */
static mltf_status post_pair(tokenizer *tk, const char *type, tok_special cls, tok_special sep,
                             bool trim, bool prefix, mltf_err *err)
{
    char text[300];
    const int32_t c = tokenizer_special_id(tk, cls), e = tokenizer_special_id(tk, sep);
    if (c < 0 || e < 0)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "the tokenizer lacks its first or its last special token");
    snprintf(text, sizeof text,
             "{\"type\":\"%s\",\"sep\":[\"\",%d],\"cls\":[\"\",%d],\"trim_offsets\":%s,\"add_"
             "prefix_space\":%s}",
             type, e, c, trim ? "true" : "false", prefix ? "true" : "false");
    return tok_set_parts(tk, NULL, NULL, text, NULL, err);
}

static mltf_status post_bpe(tokenizer *tk, tok_settings *s, mltf_err *err)
{
    const bool prefix =
        tok_settings_bool(s, "add_prefix_space", (s->cls->flags & TOK_CLASS_PREFIX_SPACE) != 0);
    if (tok_is_class(s, "Qwen2Tokenizer") || tok_is_class(s, "OpenAIGPTTokenizer")) return MLTF_OK;
    if (tok_is_class(s, "CLIPTokenizer"))
        return post_pair(tk, "RobertaProcessing", TOK_BOS, TOK_EOS, false, false, err);
    if (tok_is_class(s, "HerbertTokenizer"))
        return post_pair(tk, "BertProcessing", TOK_CLS, TOK_SEP, false, false, err);
    if (tok_is_class(s, "DebertaTokenizer"))
        return tok_set_template_words(tk, "[CLS]:0 $A:0 [SEP]:0",
                                      "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", err);
    if (tok_is_class(s, "MarkupLMTokenizer"))
        return tok_set_template_words(tk, "%c $A %s", "%c $A %s $B %s", err);
    if (tok_is_class(s, "BlenderbotTokenizer"))
        return tok_set_template_words(tk, "$A:0 %e:0", "$A:0 $B:1", err);
    if ((s->cls->flags & TOK_CLASS_ROBERTA_POST) || tok_is_class(s, "TapexTokenizer"))
        return post_pair(tk, "RobertaProcessing", TOK_CLS, TOK_SEP, true, prefix, err);
    if (tok_settings_bool(s, "add_bos_token", false))
        return tok_set_template_words(tk, "%b:0 $A:0", "%b:0 $A:0 $B:1", err);
    return tok_set_parts(tk, NULL, NULL, "{\"type\":\"ByteLevel\",\"trim_offsets\":false}", NULL,
                         err);
}

/* ---- choosing ---- */

static const struct {
    const char *name;
    mltf_status (*convert)(tokenizer *tk, tok_settings *s, const char *dir, mltf_err *err);
    mltf_status (*post)(tokenizer *tk, tok_settings *s, mltf_err *err);
} converters[] = {
    {"BertTokenizer", convert_bert, post_bert},
    {"ConvBertTokenizer", convert_bert, post_bert},
    {"DistilBertTokenizer", convert_bert, post_bert},
    {"DPRQuestionEncoderTokenizer", convert_bert, post_bert},
    {"ElectraTokenizer", convert_bert, post_bert},
    {"FunnelTokenizer", convert_bert, post_bert},
    {"LayoutLMTokenizer", convert_bert, post_bert},
    {"LayoutLMv2Tokenizer", convert_bert, post_bert},
    {"LxmertTokenizer", convert_bert, post_bert},
    {"MobileBertTokenizer", convert_bert, post_bert},
    {"TapasTokenizer", convert_bert, post_bert}, // its words; the table around them is the task's
    {"MPNetTokenizer", convert_bert, post_bert},
    {"RetriBertTokenizer", convert_bert, post_bert},
    {"SqueezeBertTokenizer", convert_bert, post_bert},
    {"BartTokenizer", convert_bpe, post_bpe},
    {"BlenderbotTokenizer", convert_bpe, post_bpe},
    {"CLIPTokenizer", convert_bpe, post_bpe},
    {"CodeGenTokenizer", convert_bpe, post_bpe},
    {"DebertaTokenizer", convert_bpe, post_bpe},
    {"GPT2Tokenizer", convert_bpe, post_bpe},
    {"HerbertTokenizer", convert_bpe, post_bpe},
    {"LEDTokenizer", convert_bpe, post_bpe},
    {"LayoutLMv3Tokenizer", convert_bpe, post_bpe},
    {"LongformerTokenizer", convert_bpe, post_bpe},
    {"MarkupLMTokenizer", convert_bpe, post_bpe},
    {"MvpTokenizer", convert_bpe, post_bpe},
    {"OpenAIGPTTokenizer", convert_bpe, post_bpe},
    {"Qwen2Tokenizer", convert_bpe, post_bpe},
    {"RobertaTokenizer", convert_bpe, post_bpe},
    {"TapexTokenizer", convert_bpe, post_bpe}, // as Tapas: the task writes the table as text
    {"WhisperTokenizer", convert_bpe, tok_post_whisper},
    {"AlbertTokenizer", tok_convert_spm, tok_post_spm},
    {"BarthezTokenizer", tok_convert_spm, tok_post_spm},
    {"BigBirdTokenizer", tok_convert_spm, tok_post_spm},
    {"CamembertTokenizer", tok_convert_spm, tok_post_spm},
    {"CodeLlamaTokenizer", tok_convert_spm, tok_post_spm},
    {"DebertaV2Tokenizer", tok_convert_spm, tok_post_spm},
    {"FNetTokenizer", tok_convert_spm, tok_post_spm},
    {"GemmaTokenizer", tok_convert_spm, tok_post_spm},
    {"LayoutXLMTokenizer", tok_convert_spm, tok_post_spm},
    {"LlamaTokenizer", tok_convert_spm, tok_post_spm},
    {"MBart50Tokenizer", tok_convert_spm, tok_post_spm},
    {"MBartTokenizer", tok_convert_spm, tok_post_spm},
    {"NllbTokenizer", tok_convert_spm, tok_post_spm},
    {"PegasusTokenizer", tok_convert_spm, tok_post_spm},
    {"ReformerTokenizer", tok_convert_spm, tok_post_spm},
    {"RemBertTokenizer", tok_convert_spm, tok_post_spm},
    {"T5Tokenizer", tok_convert_spm, tok_post_spm},
    {"UdopTokenizer", tok_convert_spm, tok_post_spm},
    {"XGLMTokenizer", tok_convert_spm, tok_post_spm},
    {"XLMRobertaTokenizer", tok_convert_spm, tok_post_spm},
    {"XLNetTokenizer", tok_convert_spm, tok_post_spm},
};

/* Nothing names a class: what the files look like. */
static const tok_class *guess_class(const char *dir)
{
    if (tok_has_file(dir, "vocab.json") && tok_has_file(dir, "merges.txt"))
        return tok_class_find(STR("GPT2Tokenizer"));
    if (tok_has_file(dir, "vocab.txt")) return tok_class_find(STR("BertTokenizer"));
    if (tok_has_file(dir, "sentencepiece.bpe.model"))
        return tok_class_find(STR("XLMRobertaTokenizer"));
    if (tok_has_file(dir, "spiece.model")) return tok_class_find(STR("T5Tokenizer"));
    if (tok_has_file(dir, "tokenizer.model")) return tok_class_find(STR("LlamaTokenizer"));
    return NULL;
}

mltf_status tok_convert(tokenizer *tk, tok_settings *s, const char *dir, const json *tokenizer_json,
                        mltf_err *err)
{
    if (!s->cls || tok_is_class(s, "PreTrainedTokenizer")) {
        const tok_class *c = guess_class(dir);
        if (tok_has_file(dir, "tekken.json") ||
            (c && strcmp(c->name, "LlamaTokenizer") == 0 && tok_is_tiktoken(dir)))
            return tok_convert_tiktoken(tk, s, dir, err);
        if (!c)
            return mltf_fail(err, MLTF_NOT_FOUND,
                             "there is no tokenizer.json, and no vocabulary file that is known");
        s->cls = c;
        for (int i = 0; i < TOK_SPECIAL_COUNT; i++) // its defaults
            if (!s->special[i].set && c->special[i])
                s->special[i] =
                    (tok_special_value){.token = {.content = str_from(c->special[i]), .id = -1},
                                        .set = true,
                                        .plain = true,
                                        .was_string = true,
                                        .is_default = true};
    }
    bool handled = false;
    TRY(tok_slow_load(tk, s, dir, &handled, err));
    if (handled) return MLTF_OK;
    if (tokenizer_json) { // the class has no fast form and is not known here: the stored one is better than none
        TRY(tokenizer_parse(tk, tokenizer_json, err));
        return tok_settings_apply(tk, s, dir, true, err);
    }
    if (tok_is_class(s, "RemBertTokenizer")) { // the slow class calls them otherwise
        static const struct {
            tok_special which;
            const char *name;
        } names[] = {{TOK_UNK, "[UNK]"}, {TOK_PAD, "[PAD]"}};
        for (int i = 0; i < 2; i++)
            if (s->special[names[i].which].is_default)
                s->special[names[i].which].token.content = str_from(names[i].name);
    }
    slow_specials(s);
    for (size_t i = 0; i < sizeof converters / sizeof *converters; i++) {
        if (!tok_is_class(s, converters[i].name)) continue;
        if (converters[i].convert == tok_convert_spm &&
            (tok_has_file(dir, "tekken.json") || tok_is_tiktoken(dir)))
            return tok_convert_tiktoken(tk, s, dir, err);
        TRY(converters[i].convert(tk, s, dir, err));
        if (!vocab_index(&tk->model->vocab)) return mltf_fail_memory(err);
        s->make_post = converters[i].post;
        return tok_settings_apply(tk, s, dir, true, err);
    }
    return mltf_fail(err, MLTF_UNSUPPORTED,
                     "tokenizers of class %s cannot be read without a tokenizer.json",
                     s->cls->name);
}
