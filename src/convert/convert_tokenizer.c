/* The vocabulary of a GGUF file as tokenizer.json.
 *
 * tokenizer.ggml.model "gpt2" is byte-level BPE with merges; how the text is split before is told by a name,
 * tokenizer.ggml.pre, each of which stands for the pre-tokenizer of some original tokenizer.json. "llama" is
 * SentencePiece BPE: pieces with scores, from which the merges are made as transformers makes them. "t5" is
 * SentencePiece unigram, with the rules of its normalizer. "bert" is WordPiece in lower case.
 *
 * Easy to get wrong: only a known `pre` gives the right tokens (smollm splits digits one by one, gpt-2 does
 * not), so an unknown one is refused; a BOS token is added only where the file says so, or where llama.cpp
 * adds it without being told. */
#include "convert/convert_config.h"
#include "convert/convert_pre_tokenizers.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/file.h"
#include "base/utf8.h"
#include "formats/base64.h"

enum { T_NORMAL = 1, T_UNKNOWN = 2, T_CONTROL = 3, T_USER_DEFINED = 4, T_UNUSED = 5, T_BYTE = 6 };

#define SPACE_PIECE "\xE2\x96\x81" /* U+2581, a space in SentencePiece */

/* ---- the vocabulary ------------------------------------------------------------------------ */

typedef struct named {
    mltf_str text;
    uint32_t id;
} named;

typedef struct vocab {
    const gguf_file *g;
    mltf_arena *a;
    const mltf_str *tokens; // [n]
    size_t n;
    const gguf_value *types, *scores; // NULL: all normal; none
    named *sorted;                    // [n]
    bool sentinels;                   // 32000 to 32099 are <extra_id_99> to <extra_id_0>
    json *root, *added;
    mltf_err *err;
} vocab;

static int by_text(const void *a, const void *b)
{
    const mltf_str x = ((const named *)a)->text, y = ((const named *)b)->text;
    const size_t n = x.n < y.n ? x.n : y.n;
    const int order = n ? memcmp(x.p, y.p, n) : 0;
    return order ? order : x.n < y.n ? -1 : x.n > y.n;
}

static const named *find_token(const vocab *v, mltf_str text)
{
    const named wanted = {.text = text};
    return bsearch(&wanted, v->sorted, v->n, sizeof *v->sorted, by_text);
}

/* T5's hundred sentinels are no pieces of its SentencePiece model, and the file has placeholders for them. */
enum { T5_PIECES = 32000, T5_SENTINELS = 100 };

static bool is_sentinel(const vocab *v, size_t i)
{
    return v->sentinels && i >= T5_PIECES && i < T5_PIECES + T5_SENTINELS;
}

static int token_type(const vocab *v, size_t i)
{
    if (is_sentinel(v, i)) return T_CONTROL;
    return v->types ? (int)gguf_number_at(v->types, i) : T_NORMAL;
}

static bool is_arch(const vocab *v, const char *name)
{
    return str_is(gguf_string(v->g, "general.architecture", STR("")), name);
}

/* Models of architecture "bert" whose tokens are not BERT's: RoBERTa's, or XLM-R's. */
static bool is_roberta(const vocab *v)
{
    return is_arch(v, "bert") &&
           !str_is(gguf_string(v->g, "tokenizer.ggml.model", STR("")), "bert");
}

static mltf_status name_sentinels(vocab *v)
{
    if (!is_arch(v, "t5") && !is_arch(v, "t5encoder")) return MLTF_OK;
    if (v->n < T5_PIECES + T5_SENTINELS || !str_is(v->tokens[T5_PIECES], "[PAD32000]") ||
        !str_is(v->tokens[T5_PIECES + T5_SENTINELS - 1], "[PAD32099]"))
        return MLTF_OK;
    mltf_str *tokens = arena_calloc(v->a, v->n, sizeof *tokens);
    if (!tokens) return mltf_fail_memory(v->err);
    memcpy(tokens, v->tokens, v->n * sizeof *tokens);
    for (int i = 0; i < T5_SENTINELS; i++) {
        const char *name = arena_printf(v->a, "<extra_id_%d>", T5_SENTINELS - 1 - i);
        if (!name) return mltf_fail_memory(v->err);
        tokens[T5_PIECES + i] = str_from(name);
    }
    v->tokens = tokens;
    v->sentinels = true;
    return MLTF_OK;
}

static mltf_status read_vocab(vocab *v)
{
    const gguf_value *tokens = gguf_get(v->g, "tokenizer.ggml.tokens");
    if (!tokens || !tokens->is_array || tokens->type != GGUF_V_STRING || tokens->n == 0 ||
        tokens->n > INT32_MAX)
        return mltf_fail(v->err, MLTF_CORRUPT_FILE,
                         "the GGUF file has no vocabulary (tokenizer.ggml.tokens)");
    v->tokens = tokens->strings;
    v->n = tokens->n;
    v->types = gguf_get(v->g, "tokenizer.ggml.token_type");
    v->scores = gguf_get(v->g, "tokenizer.ggml.scores");
    if ((v->types && (v->types->n != v->n || v->types->type == GGUF_V_STRING)) ||
        (v->scores && (v->scores->n != v->n || v->scores->type == GGUF_V_STRING)))
        return mltf_fail(v->err, MLTF_CORRUPT_FILE,
                         "the vocabulary and its types or scores have different lengths");
    TRY(name_sentinels(v));
    v->sorted = arena_calloc(v->a, v->n, sizeof *v->sorted);
    if (!v->sorted) return mltf_fail_memory(v->err);
    for (size_t i = 0; i < v->n; i++) {
        if (!utf8_valid(v->tokens[i].p, v->tokens[i].n))
            return mltf_fail(v->err, MLTF_CORRUPT_FILE, "token %zu of the vocabulary is not UTF-8",
                             i);
        v->sorted[i] = (named){v->tokens[i], (uint32_t)i};
    }
    qsort(v->sorted, v->n, sizeof *v->sorted, by_text);
    for (size_t i = 1; i < v->n; i++) {
        if (str_eq(v->sorted[i].text, v->sorted[i - 1].text))
            return mltf_fail(v->err, MLTF_CORRUPT_FILE,
                             "the token \"" STR_FMT "\" is in the vocabulary twice",
                             STR_ARG(v->sorted[i].text));
    }
    return MLTF_OK;
}

static json *text_of(vocab *v, mltf_str s)
{
    return json_new_string(v->a, s);
}
static json *type_of(vocab *v, const char *type)
{
    json *o = json_new_object(v->a);
    json_set(v->a, o, "type", json_new_cstr(v->a, type));
    return o;
}
static void set_bool(vocab *v, json *o, const char *key, bool b)
{
    json_set(v->a, o, key, json_new_bool(v->a, b));
}
static void set_text(vocab *v, json *o, const char *key, const char *s)
{
    json_set(v->a, o, key, json_new_cstr(v->a, s));
}
static void set_null(vocab *v, json *o, const char *key)
{
    json_set(v->a, o, key, json_new_null(v->a));
}

static json *added_token(vocab *v, size_t id, bool with_id)
{
    json *t = json_new_object(v->a);
    const int type = token_type(v, id);
    if (with_id) json_set(v->a, t, "id", json_new_int(v->a, (int64_t)id));
    json_set(v->a, t, "content", text_of(v, v->tokens[id]));
    set_bool(v, t, "single_word", false);
    // the mask takes the space before it, but for BERT
    const bool mask = (int64_t)id == convert_token_id(v->g, "mask");
    set_bool(v, t, "lstrip", mask && (is_roberta(v) || is_arch(v, "modern-bert")));
    set_bool(v, t, "rstrip", false);
    set_bool(v, t, "normalized", false);
    set_bool(v, t, "special", type != T_USER_DEFINED);
    return t;
}

static bool is_added(const vocab *v, size_t id)
{
    const int type = token_type(v, id);
    return v->tokens[id].n > 0 &&
           (type == T_CONTROL || type == T_USER_DEFINED || type == T_UNKNOWN);
}

static json *vocab_object(vocab *v)
{
    json *o = json_new_object(v->a);
    for (size_t i = 0; i < v->n; i++)
        json_add_str(v->a, o, v->tokens[i], json_new_int(v->a, (int64_t)i));
    return o;
}

static void push_merge(vocab *v, json *merges, mltf_str left, mltf_str right)
{
    json *pair = json_new_array(v->a);
    json_push(v->a, pair, text_of(v, left));
    json_push(v->a, pair, text_of(v, right));
    json_push(v->a, merges, pair);
}

static json *bpe(vocab *v, const char *unk, bool byte_fallback, bool ignore_merges)
{
    json *m = type_of(v, "BPE");
    set_null(v, m, "dropout");
    if (unk)
        set_text(v, m, "unk_token", unk);
    else
        set_null(v, m, "unk_token");
    set_null(v, m, "continuing_subword_prefix");
    set_null(v, m, "end_of_word_suffix");
    set_bool(v, m, "fuse_unk", byte_fallback);
    set_bool(v, m, "byte_fallback", byte_fallback);
    set_bool(v, m, "ignore_merges", ignore_merges);
    json_set(v->a, m, "vocab", vocab_object(v));
    return m;
}

static json *byte_level(vocab *v, bool add_prefix_space, bool trim_offsets, bool use_regex)
{
    json *o = type_of(v, "ByteLevel");
    set_bool(v, o, "add_prefix_space", add_prefix_space);
    set_bool(v, o, "trim_offsets", trim_offsets);
    set_bool(v, o, "use_regex", use_regex);
    return o;
}

/* {"type": "Sequence", key: […]}; *list is where the parts go. */
static json *sequence(vocab *v, const char *key, json **list)
{
    json *o = type_of(v, "Sequence");
    *list = json_set(v->a, o, key, json_new_array(v->a));
    return o;
}

static json *string_pattern(vocab *v, const char *kind, const char *pattern)
{
    json *o = json_new_object(v->a);
    set_text(v, o, kind, pattern);
    return o;
}

/* ---- special tokens around a text ---------------------------------------------------------- */

static json *template_piece(vocab *v, const char *kind, mltf_str id, int type_id)
{
    json *o = json_new_object(v->a), *inner = json_set(v->a, o, kind, json_new_object(v->a));
    json_set(v->a, inner, "id", text_of(v, id));
    json_set(v->a, inner, "type_id", json_new_int(v->a, type_id));
    return o;
}

static void template_special(vocab *v, json *specials, int64_t id)
{
    const mltf_str name = v->tokens[id];
    json *o = json_set_str(v->a, specials, name, json_new_object(v->a));
    json_set(v->a, o, "id", text_of(v, name));
    json *ids = json_set(v->a, o, "ids", json_new_array(v->a)), *tokens = NULL;
    json_push(v->a, ids, json_new_int(v->a, id));
    tokens = json_set(v->a, o, "tokens", json_new_array(v->a));
    json_push(v->a, tokens, text_of(v, name));
}

/* bos and eos are ids or -1; NULL where neither is added. */
static json *template_processor(vocab *v, int64_t bos, int64_t eos)
{
    if (bos < 0 && eos < 0) return NULL;
    json *o = type_of(v, "TemplateProcessing");
    json *specials = json_new_object(v->a);
    for (int pair = 0; pair < 2; pair++) {
        json *list = json_set(v->a, o, pair ? "pair" : "single", json_new_array(v->a));
        for (int part = 0; part <= pair; part++) {
            if (bos >= 0)
                json_push(v->a, list, template_piece(v, "SpecialToken", v->tokens[bos], part));
            json_push(v->a, list, template_piece(v, "Sequence", part ? STR("B") : STR("A"), part));
            if (eos >= 0)
                json_push(v->a, list, template_piece(v, "SpecialToken", v->tokens[eos], part));
        }
    }
    if (bos >= 0) template_special(v, specials, bos);
    if (eos >= 0 && eos != bos) template_special(v, specials, eos);
    json_set(v->a, o, "special_tokens", specials);
    return o;
}

/* llama.cpp calls [CLS] the beginning of a text. */
static int64_t cls_token(const vocab *v)
{
    const int64_t cls = convert_token_id(v->g, "cls");
    return cls >= 0 ? cls : convert_token_id(v->g, "bos");
}

/* [CLS] A [SEP], and [CLS] A [SEP] B [SEP] with types 0 and 1. */
static json *bert_processor(vocab *v, int64_t cls, int64_t sep)
{
    json *o = type_of(v, "TemplateProcessing");
    for (int pair = 0; pair < 2; pair++) {
        json *list = json_set(v->a, o, pair ? "pair" : "single", json_new_array(v->a));
        json_push(v->a, list, template_piece(v, "SpecialToken", v->tokens[cls], 0));
        for (int part = 0; part <= pair; part++) {
            json_push(v->a, list, template_piece(v, "Sequence", part ? STR("B") : STR("A"), part));
            json_push(v->a, list, template_piece(v, "SpecialToken", v->tokens[sep], part));
        }
    }
    json *specials = json_new_object(v->a);
    template_special(v, specials, cls);
    if (sep != cls) template_special(v, specials, sep);
    json_set(v->a, o, "special_tokens", specials);
    return o;
}

/* <s> A </s>, and <s> A </s></s> B </s>, whatever the file says: encoders were trained with nothing else. */
static json *roberta_processor(vocab *v)
{
    const int64_t bos = convert_token_id(v->g, "bos"), eos = convert_token_id(v->g, "eos");
    json *o = template_processor(v, bos, eos);
    if (bos < 0 || eos < 0) return o;
    json *pair = json_set(v->a, o, "pair", json_new_array(v->a));
    for (int part = 0; part < 2; part++) {
        const mltf_str before = v->tokens[part ? eos : bos];
        json_push(v->a, pair, template_piece(v, "SpecialToken", before, 0));
        json_push(v->a, pair, template_piece(v, "Sequence", part ? STR("B") : STR("A"), 0));
        json_push(v->a, pair, template_piece(v, "SpecialToken", v->tokens[eos], 0));
    }
    return o;
}

/* What the file says is added, or what it means where it says nothing; NULL for nothing. */
static json *around_text(vocab *v, bool adds_bos, bool adds_eos)
{
    if (is_roberta(v)) return roberta_processor(v);
    const int64_t cls = cls_token(v), sep = convert_token_id(v->g, "seperator");
    if (cls >= 0 && sep >= 0 && is_arch(v, "modern-bert")) return bert_processor(v, cls, sep);
    const bool bos = gguf_bool(v->g, "tokenizer.ggml.add_bos_token", adds_bos),
               eos = gguf_bool(v->g, "tokenizer.ggml.add_eos_token", adds_eos);
    return template_processor(v, bos ? convert_token_id(v->g, "bos") : -1,
                              eos ? convert_token_id(v->g, "eos") : -1);
}

static void set_post_processor(vocab *v, json *processor)
{
    if (processor)
        json_set(v->a, v->root, "post_processor", processor);
    else
        set_null(v, v->root, "post_processor");
}

/* ---- byte-level BPE ------------------------------------------------------------------------ */

static mltf_status byte_level_merges(vocab *v, json *merges)
{
    const gguf_value *m = gguf_get(v->g, "tokenizer.ggml.merges");
    if (!m || !m->is_array || m->type != GGUF_V_STRING)
        return mltf_fail(v->err, MLTF_CORRUPT_FILE,
                         "the GGUF file has no merges (tokenizer.ggml.merges)");
    char *both = NULL;
    size_t room = 0;
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < m->n && !st; i++) {
        const mltf_str s = m->strings[i];
        const char *space = s.n > 1 ? memchr(s.p + 1, ' ', s.n - 1) : NULL;
        if (s.n > room) {
            free(both);
            room = s.n * 2;
            both = malloc(room);
            if (!both) {
                st = mltf_fail_memory(v->err);
                break;
            }
        }
        const mltf_str left = {s.p, space ? (size_t)(space - s.p) : 0},
                       right = {space ? space + 1 : s.p, space ? s.n - left.n - 1 : 0};
        bool known = space && right.n && find_token(v, left) && find_token(v, right);
        if (known) {
            memcpy(both, left.p, left.n);
            memcpy(both + left.n, right.p, right.n);
            known = find_token(v, (mltf_str){both, left.n + right.n}) != NULL;
        }
        if (!known)
            st = mltf_fail(v->err, MLTF_CORRUPT_FILE,
                           "merge %zu, \"" STR_FMT "\", does not join two tokens into a third", i,
                           STR_ARG(s));
        else
            push_merge(v, merges, left, right);
    }
    free(both);
    return st;
}

static json *pre_tokenizer_json(vocab *v, const pre_tokenizer *pre)
{
    if (pre->kind == SPLIT_BYTE_LEVEL) return byte_level(v, false, true, true);
    json *list, *o = sequence(v, "pretokenizers", &list);
    if (pre->kind == SPLIT_DIGITS_BYTE_LEVEL) {
        json *digits = type_of(v, "Digits");
        set_bool(v, digits, "individual_digits", true);
        json_push(v->a, list, digits);
        json_push(v->a, list, byte_level(v, false, true, true));
        return o;
    }
    for (const char *const *p = pre->patterns; *p; p++) {
        json *split = type_of(v, "Split");
        json_set(v->a, split, "pattern", string_pattern(v, "Regex", *p));
        set_text(v, split, "behavior", "Isolated");
        set_bool(v, split, "invert", false);
        json_push(v->a, list, split);
    }
    json_push(v->a, list, byte_level(v, false, true, false));
    return o;
}

static mltf_status make_byte_level(vocab *v)
{
    const mltf_str name = gguf_string(v->g, "tokenizer.ggml.pre", STR("default"));
    const pre_tokenizer *pre = convert_pre_tokenizer_find(name);
    if (!pre)
        return mltf_fail(v->err, MLTF_UNSUPPORTED,
                         "how text is split before merging (tokenizer.ggml.pre \"" STR_FMT
                         "\") is not known here",
                         STR_ARG(name));
    if (pre->nfc)
        json_set(v->a, v->root, "normalizer", type_of(v, "NFC"));
    else
        set_null(v, v->root, "normalizer");
    json_set(v->a, v->root, "pre_tokenizer", pre_tokenizer_json(v, pre));
    json *around = around_text(v, pre->adds_bos, false);
    json *offsets = byte_level(v, true, false, true);
    if (around) {
        json *list, *both = sequence(v, "processors", &list);
        json_push(v->a, list, offsets);
        json_push(v->a, list, around);
        json_set(v->a, v->root, "post_processor", both);
    } else {
        json_set(v->a, v->root, "post_processor", offsets);
    }
    json_set(v->a, v->root, "decoder", byte_level(v, true, true, true));
    json *model = json_set(v->a, v->root, "model", bpe(v, NULL, false, pre->ignore_merges));
    json *merges = json_set(v->a, model, "merges", json_new_array(v->a));
    return byte_level_merges(v, merges);
}

/* ---- SentencePiece BPE --------------------------------------------------------------------- */

typedef struct merge {
    uint32_t left, right, left_chars, right_chars;
    size_t order;
    double score;
} merge;

/* Higher scores first, then shorter parts, then the order in which they were found. */
static int by_score(const void *a, const void *b)
{
    const merge *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->left_chars != y->left_chars) return x->left_chars > y->left_chars ? -1 : 1;
    if (x->right_chars != y->right_chars) return x->right_chars > y->right_chars ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int by_ids(const void *a, const void *b)
{
    const merge *x = a, *y = b;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}

/* Every way to cut a token into two others is a merge, ranked by the score of the whole. */
static mltf_status scored_merges(vocab *v, json *merges)
{
    merge *all = NULL;
    size_t n = 0, cap = 0;
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < v->n && !st; i++) {
        const mltf_str t = v->tokens[i];
        const size_t first = n, chars = utf8_count(t.p, t.n);
        if (t.n > 1024) continue; // no piece is that long: a bound on the work
        size_t left_chars = 1;
        for (size_t cut = 1; cut < t.n; cut++) {
            if (((unsigned char)t.p[cut] & 0xC0) == 0x80) continue;
            const named *l = find_token(v, (mltf_str){t.p, cut}),
                        *r = l ? find_token(v, (mltf_str){t.p + cut, t.n - cut}) : NULL;
            if (l && r) {
                if (!ARRAY_RESERVE(all, cap, n + 1)) {
                    st = mltf_fail_memory(v->err);
                    break;
                }
                all[n++] = (merge){l->id,
                                   r->id,
                                   (uint32_t)left_chars,
                                   (uint32_t)(chars - left_chars),
                                   0,
                                   gguf_number_at(v->scores, i)};
            }
            left_chars++;
        }
        if (n > first) qsort(all + first, n - first, sizeof *all, by_ids);
    }
    for (size_t i = 0; i < n; i++) all[i].order = i;
    if (n) qsort(all, n, sizeof *all, by_score);
    for (size_t i = 0; i < n && !st; i++)
        push_merge(v, merges, v->tokens[all[i].left], v->tokens[all[i].right]);
    free(all);
    return st;
}

static json *replace(vocab *v, const char *from, const char *to)
{
    json *o = type_of(v, "Replace");
    json_set(v->a, o, "pattern", string_pattern(v, "String", from));
    set_text(v, o, "content", to);
    return o;
}

static mltf_status make_sentencepiece(vocab *v)
{
    if (!v->scores)
        return mltf_fail(v->err, MLTF_CORRUPT_FILE,
                         "the GGUF file has no scores (tokenizer.ggml.scores)");
    const bool prefix = gguf_bool(v->g, "tokenizer.ggml.add_space_prefix", true);
    json *list, *normalizer = sequence(v, "normalizers", &list);
    if (prefix) {
        json *prepend = type_of(v, "Prepend");
        set_text(v, prepend, "prepend", SPACE_PIECE);
        json_push(v->a, list, prepend);
    }
    json_push(v->a, list, replace(v, " ", SPACE_PIECE));
    json_set(v->a, v->root, "normalizer", normalizer);
    set_null(v, v->root, "pre_tokenizer");
    const int64_t unk = convert_token_id(v->g, "unknown");
    set_post_processor(v, around_text(v, true, false));
    json *decoder = sequence(v, "decoders", &list);
    json_push(v->a, list, replace(v, SPACE_PIECE, " "));
    json_push(v->a, list, type_of(v, "ByteFallback"));
    json_push(v->a, list, type_of(v, "Fuse"));
    if (prefix) {
        json *strip = type_of(v, "Strip");
        set_text(v, strip, "content", " ");
        json_set(v->a, strip, "start", json_new_int(v->a, 1));
        json_set(v->a, strip, "stop", json_new_int(v->a, 0));
        json_push(v->a, list, strip);
    }
    json_set(v->a, v->root, "decoder", decoder);
    const char *unk_text = unk < 0 ? NULL : arena_strdup(v->a, v->tokens[unk].p, v->tokens[unk].n);
    json *model = json_set(v->a, v->root, "model", bpe(v, unk_text, true, false));
    json *merges = json_set(v->a, model, "merges", json_new_array(v->a));
    return scored_merges(v, merges);
}

/* ---- SentencePiece unigram ------------------------------------------------------------------ */

static mltf_status unigram_normalizer(vocab *v, json *list)
{
    const gguf_value *map = gguf_get(v->g, "tokenizer.ggml.precompiled_charsmap");
    if (map && map->n) {
        if (map->type != GGUF_V_U8 && map->type != GGUF_V_I8)
            return mltf_fail(v->err, MLTF_CORRUPT_FILE,
                             "tokenizer.ggml.precompiled_charsmap is no list of bytes");
        mltf_buf text = MLTF_BUF_INIT;
        base64_encode(&text, (mltf_str){(const char *)map->data, map->n});
        json *o = type_of(v, "Precompiled");
        json_set(v->a, o, "precompiled_charsmap",
                 json_new_string(v->a, (mltf_str){text.p, text.n}));
        json_push(v->a, list, o);
        const mltf_status st = buf_status(&text, v->err);
        mltf_buf_release(&text);
        TRY(st);
    }
    if (!gguf_bool(v->g, "tokenizer.ggml.remove_extra_whitespaces", false)) return MLTF_OK;
    json *strip = type_of(v, "Strip");
    set_bool(v, strip, "strip_left", false);
    set_bool(v, strip, "strip_right", true);
    json_push(v->a, list, strip);
    json *spaces = type_of(v, "Replace");
    json_set(v->a, spaces, "pattern", string_pattern(v, "Regex", " {2,}"));
    set_text(v, spaces, "content", SPACE_PIECE);
    json_push(v->a, list, spaces);
    return MLTF_OK;
}

static json *metaspace(vocab *v)
{
    json *o = type_of(v, "Metaspace");
    set_text(v, o, "replacement", SPACE_PIECE);
    const bool prefix = gguf_bool(v->g, "tokenizer.ggml.add_space_prefix", true);
    set_text(v, o, "prepend_scheme", prefix ? "always" : "never");
    set_bool(v, o, "split", true);
    return o;
}

static mltf_status make_unigram(vocab *v)
{
    const int64_t unk = convert_token_id(v->g, "unknown");
    if (!v->scores || unk < 0)
        return mltf_fail(v->err, MLTF_CORRUPT_FILE,
                         "the GGUF file has no scores (tokenizer.ggml.scores) or does not name its "
                         "unknown token");
    json *list, *normalizer = sequence(v, "normalizers", &list);
    TRY(unigram_normalizer(v, list));
    if (json_len(list))
        json_set(v->a, v->root, "normalizer", normalizer);
    else
        set_null(v, v->root, "normalizer");
    json_set(v->a, v->root, "pre_tokenizer", metaspace(v));
    set_post_processor(v, around_text(v, false, true));
    json_set(v->a, v->root, "decoder", metaspace(v));
    json *model = json_set(v->a, v->root, "model", type_of(v, "Unigram"));
    json_set(v->a, model, "unk_id", json_new_int(v->a, unk));
    json *pieces = json_set(v->a, model, "vocab", json_new_array(v->a));
    bool bytes = false;
    for (size_t i = 0; i < v->n; i++) {
        json *pair = json_push(v->a, pieces, json_new_array(v->a));
        json_push(v->a, pair, text_of(v, v->tokens[i]));
        json_push(v->a, pair, json_new_double(v->a, gguf_number_at(v->scores, i)));
        bytes |= token_type(v, i) == T_BYTE;
    }
    set_bool(v, model, "byte_fallback", bytes);
    return MLTF_OK;
}

/* ---- WordPiece ------------------------------------------------------------------------------ */

/* GGUF marks the pieces that begin a word with U+2581; tokenizer.json those that go on, with "##". */
static mltf_status restore_prefixes(vocab *v)
{
    mltf_str *restored = arena_calloc(v->a, v->n, sizeof *restored);
    if (!restored) return mltf_fail_memory(v->err);
    for (size_t i = 0; i < v->n; i++) {
        const mltf_str t = v->tokens[i];
        restored[i] = t;
        if (is_added(v, i)) continue;
        if (str_starts(t, SPACE_PIECE)) {
            restored[i] = str_slice(t, strlen(SPACE_PIECE), t.n);
            continue;
        }
        char *whole = arena_alloc_small(v->a, t.n + 2);
        if (!whole) return mltf_fail_memory(v->err);
        memcpy(whole, "##", 2);
        memcpy(whole + 2, t.p, t.n);
        restored[i] = (mltf_str){whole, t.n + 2};
    }
    v->tokens = restored;
    return MLTF_OK;
}

static mltf_status make_wordpiece(vocab *v)
{
    const int64_t unk = convert_token_id(v->g, "unknown"),
                  sep = convert_token_id(v->g, "seperator");
    const int64_t cls = cls_token(v);
    if (unk < 0 || sep < 0 || cls < 0)
        return mltf_fail(v->err, MLTF_CORRUPT_FILE,
                         "the GGUF file does not name its unknown, cls and separator tokens");
    TRY(restore_prefixes(v));
    json *normalizer = type_of(v, "BertNormalizer"); // lower case where older files tell nothing
    set_bool(v, normalizer, "clean_text", true);
    set_bool(v, normalizer, "handle_chinese_chars", true);
    if (gguf_get(v->g, "tokenizer.ggml.normalizer.strip_accents"))
        set_bool(v, normalizer, "strip_accents",
                 gguf_bool(v->g, "tokenizer.ggml.normalizer.strip_accents", true));
    else
        set_null(v, normalizer, "strip_accents");
    set_bool(v, normalizer, "lowercase",
             gguf_bool(v->g, "tokenizer.ggml.normalizer.lowercase", true));
    json_set(v->a, v->root, "normalizer", normalizer);
    json_set(v->a, v->root, "pre_tokenizer", type_of(v, "BertPreTokenizer"));
    json_set(v->a, v->root, "post_processor", bert_processor(v, cls, sep));
    json *decoder = type_of(v, "WordPiece");
    set_text(v, decoder, "prefix", "##");
    set_bool(v, decoder, "cleanup", true);
    json_set(v->a, v->root, "decoder", decoder);
    json *model = type_of(v, "WordPiece");
    json_set(v->a, model, "unk_token", text_of(v, v->tokens[unk]));
    set_text(v, model, "continuing_subword_prefix", "##");
    json_set(v->a, model, "max_input_chars_per_word", json_new_int(v->a, 100));
    json_set(v->a, model, "vocab", vocab_object(v));
    json_set(v->a, v->root, "model", model);
    return MLTF_OK;
}

/* ---- the files ----------------------------------------------------------------------------- */

static const struct {
    const char *ours, *theirs;
} specials[] = {{"bos", "bos_token"},     {"eos", "eos_token"},       {"unknown", "unk_token"},
                {"padding", "pad_token"}, {"seperator", "sep_token"}, {"cls", "cls_token"},
                {"mask", "mask_token"}};

static mltf_status write_tokenizer_config(vocab *v, const char *dir)
{
    const bool bert = str_is(gguf_string(v->g, "tokenizer.ggml.model", STR("")), "bert");
    json *c = json_new_object(v->a), *map = json_new_object(v->a);
    json *added = json_set(v->a, c, "added_tokens_decoder", json_new_object(v->a));
    for (size_t i = 0; i < v->n; i++) {
        char id[24];
        snprintf(id, sizeof id, "%zu", i);
        if (is_added(v, i)) json_add_str(v->a, added, str_from(id), added_token(v, i, false));
    }
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
        const int64_t id = convert_token_id(v->g, specials[i].ours);
        if (id < 0) continue;
        const char *name = specials[i].theirs;
        if (bert && i == 0) continue; // its [CLS]
        json_set(v->a, c, name, text_of(v, v->tokens[id]));
        json_set(v->a, map, name, text_of(v, v->tokens[id]));
    }
    if (cls_token(v) >= 0 && (bert || is_roberta(v) || is_arch(v, "modern-bert"))) {
        json_set(v->a, c, "cls_token", text_of(v, v->tokens[cls_token(v)]));
        json_set(v->a, map, "cls_token", text_of(v, v->tokens[cls_token(v)]));
    }
    set_bool(v, c, "clean_up_tokenization_spaces", false);
    const convert_config cc = {.g = v->g};
    const int64_t positions = file_int(&cc, "context_length", 0);
    if (positions > 0) json_set(v->a, c, "model_max_length", json_new_int(v->a, positions));
    // the plain class alone would answer with token_type_ids, which generate() of decoders refuses
    json *inputs = json_new_array(v->a);
    json_push(v->a, inputs, json_new_cstr(v->a, "input_ids"));
    if (bert) json_push(v->a, inputs, json_new_cstr(v->a, "token_type_ids"));
    json_push(v->a, inputs, json_new_cstr(v->a, "attention_mask"));
    json_set(v->a, c, "model_input_names", inputs);
    set_text(v, c, "tokenizer_class", bert ? "BertTokenizerFast" : "PreTrainedTokenizerFast");
    if (v->a->failed) return mltf_fail_memory(v->err);
    TRY(convert_write_json(dir, "tokenizer_config.json", c, v->err));
    return convert_write_json(dir, "special_tokens_map.json", map, v->err);
}

static mltf_status write_text(const char *dir, const char *name, mltf_str text, mltf_err *err)
{
    char *path = path_join(dir, name);
    const mltf_status st = path ? file_write(path, text.p, text.n, err) : mltf_fail_memory(err);
    free(path);
    return st;
}

/* tokenizer.chat_template, and further ones called tokenizer.chat_template.NAME. */
static mltf_status write_templates(vocab *v, const char *dir)
{
    const mltf_str main = gguf_string(v->g, "tokenizer.chat_template", (mltf_str){0});
    if (main.p) TRY(write_text(dir, "chat_template.jinja", main, v->err));
    const gguf_value *names = gguf_get(v->g, "tokenizer.chat_templates");
    if (!names || names->type != GGUF_V_STRING) return MLTF_OK;
    for (size_t i = 0; i < names->n; i++) {
        const mltf_str name = names->strings[i];
        bool plain = name.n > 0 && name.n < 64;
        for (size_t k = 0; k < name.n && plain; k++) {
            const char ch = name.p[k];
            plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                    (ch >= '0' && ch <= '9') || ch == '_' || ch == '-';
        }
        if (!plain)
            return mltf_fail(v->err, MLTF_CORRUPT_FILE,
                             "a chat template has the name \"" STR_FMT "\"", STR_ARG(name));
        char key[128], file[128];
        snprintf(key, sizeof key, "tokenizer.chat_template.%.*s", (int)name.n, name.p);
        snprintf(file, sizeof file, "additional_chat_templates/%.*s.jinja", (int)name.n, name.p);
        const mltf_str text = gguf_string(v->g, key, (mltf_str){0});
        if (!text.p || str_is(name, "default")) continue;
        char *folder = path_join(dir, "additional_chat_templates");
        mltf_status st = folder ? dir_make(folder, v->err) : mltf_fail_memory(v->err);
        free(folder);
        if (!st) st = write_text(dir, file, text, v->err);
        TRY(st);
    }
    return MLTF_OK;
}

static mltf_status make_all(vocab *v, const char *dir)
{
    TRY(read_vocab(v));
    v->root = json_new_object(v->a);
    set_text(v, v->root, "version", "1.0");
    set_null(v, v->root, "truncation");
    set_null(v, v->root, "padding");
    json *added = json_set(v->a, v->root, "added_tokens", json_new_array(v->a));
    for (size_t i = 0; i < v->n; i++) {
        if (is_added(v, i)) json_push(v->a, added, added_token(v, i, true));
    }
    const mltf_str model = gguf_string(v->g, "tokenizer.ggml.model", STR(""));
    if (str_is(model, "gpt2"))
        TRY(make_byte_level(v));
    else if (str_is(model, "llama"))
        TRY(make_sentencepiece(v));
    else if (str_is(model, "t5"))
        TRY(make_unigram(v));
    else if (str_is(model, "bert"))
        TRY(make_wordpiece(v));
    else
        return mltf_fail(v->err, MLTF_UNSUPPORTED,
                         "the tokenizer is of the kind \"" STR_FMT
                         "\"; known are gpt2, llama, t5 and bert",
                         STR_ARG(model));
    if (v->a->failed) return mltf_fail_memory(v->err);
    TRY(convert_write_json(dir, "tokenizer.json", v->root, v->err));
    TRY(write_tokenizer_config(v, dir));
    return write_templates(v, dir);
}

mltf_status convert_tokenizer(const gguf_file *g, const char *dir, mltf_err *err)
{
    mltf_arena arena = MLTF_ARENA_INIT;
    vocab v = {.g = g, .a = &arena, .err = err};
    const mltf_status st = make_all(&v, dir);
    arena_release(&arena);
    return st;
}
