/* sentencepiece models as tokenizers' BPE and Unigram: SpmConverter and its like in transformers 4.57. */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/python_unicode.h"
#include "formats/base64.h"
#include "tokenizers/tok_convert.h"
#include "tokenizers/tok_spm.h"

#define META "\xE2\x96\x81"

typedef struct scored {
    mltf_str piece;
    double score;
} scored;
typedef struct scored_list {
    scored *v;
    size_t n, cap;
} scored_list;

static bool push(scored_list *l, mltf_str piece, double score)
{
    if (!ARRAY_RESERVE(l->v, l->cap, l->n + 1)) return false;
    l->v[l->n++] = (scored){piece, score};
    return true;
}

static bool is_llama(const tok_settings *s)
{
    return tok_is_class(s, "LlamaTokenizer") || tok_is_class(s, "CodeLlamaTokenizer");
}
static mltf_str special_of(const tok_settings *s, tok_special which)
{
    return s->special[which].set ? s->special[which].token.content : STR("");
}

/* "9," and the like are made unlikely. */
static bool number_comma(mltf_str p)
{
    if (p.n < 2 || p.p[p.n - 1] != ',') return false;
    size_t i = p.n - 2;
    while (i > 0 && tok_is_cont(p.p[i])) i--;
    const char *c = p.p + i;
    return pyu_is(utf8_next(&c), PYU_DIGIT);
}

static bool fairseq_head(scored_list *l)
{
    return push(l, STR("<s>"), 0) && push(l, STR("<pad>"), 0) && push(l, STR("</s>"), 0) &&
           push(l, STR("<unk>"), 0);
}

static bool make_vocab(scored_list *l, const tok_spm *m, tokenizer *tk, const tok_settings *s,
                       int64_t offset, int64_t *unk)
{
    const size_t n = tok_spm_about(m)->n;
    size_t from = 0;
    bool ok = true, comma = false;
    *unk = tok_spm_unk_field(m);
    if (tok_is_class(s, "AlbertTokenizer") || tok_is_class(s, "FNetTokenizer") ||
        tok_is_class(s, "XLNetTokenizer")) {
        comma = true;
    } else if (tok_is_class(s, "CamembertTokenizer")) {
        ok = push(l, STR("<s>NOTUSED"), 0) && push(l, STR("<pad>"), 0) &&
             push(l, STR("</s>NOTUSED"), 0) && push(l, STR("<unk>"), 0) &&
             push(l, STR("<unk>NOTUSED"), -100);
        from = 1;
        *unk = 3;
    } else if (tok_is_class(s, "MBartTokenizer") || tok_is_class(s, "MBart50Tokenizer") ||
               tok_is_class(s, "NllbTokenizer") || tok_is_class(s, "XLMRobertaTokenizer") ||
               tok_is_class(s, "LayoutXLMTokenizer") || tok_is_class(s, "XGLMTokenizer")) {
        ok = fairseq_head(l);
        from = 3;
        *unk = 3;
    } else if (tok_is_class(s, "BarthezTokenizer")) {
        *unk = 3;
    } else if (tok_is_class(s, "GemmaTokenizer")) {
        ok = push(l, special_of(s, TOK_PAD), 0) && push(l, special_of(s, TOK_EOS), 0) &&
             push(l, special_of(s, TOK_BOS), 0);
        from = 3;
        *unk = 3;
    } else if (is_llama(s)) {
        for (int32_t id = 0; ok && id < 3; id++) {
            mltf_str t = (size_t)id < n ? tok_spm_piece(m, (size_t)id) : STR("");
            for (size_t i = 0; i < s->decoder.n; i++)
                if (s->decoder.v[i].id == id) t = s->decoder.v[i].content;
            ok = push(l, t, 0);
        }
        from = 3;
        *unk = 0;
    } else if (tok_is_class(s, "PegasusTokenizer")) {
        const json *sent = json_get(s->config.root, "mask_token_sent");
        ok = push(l, special_of(s, TOK_PAD), 0) && push(l, special_of(s, TOK_EOS), 0);
        if (!sent || sent->type != JSON_NULL)
            ok = ok && push(l, json_string(sent, STR("<mask_1>")), 0);
        if (s->special[TOK_MASK].set && offset > 0) ok = ok && push(l, special_of(s, TOK_MASK), 0);
        for (int64_t i = 2; ok && i < offset; i++) {
            const char *name = arena_printf(&tk->arena, "<unk_%lld>", (long long)i);
            ok = name && push(l, str_from(name), -100);
        }
        from = 2;
        *unk += offset;
    }
    for (size_t i = from; ok && i < n; i++) {
        const mltf_str p = tok_spm_piece(m, i);
        ok = push(l, p, (double)tok_spm_score(m, i) - (comma && number_comma(p) ? 100.0 : 0.0));
    }
    const char *const *codes = tok_is_class(s, "MBartTokenizer")     ? tok_codes_mbart
                               : tok_is_class(s, "MBart50Tokenizer") ? tok_codes_mbart50
                                                                     : NULL;
    for (; ok && codes && *codes; codes++) ok = push(l, str_from(*codes), 0);
    if (codes || tok_is_class(s, "XLMRobertaTokenizer") || tok_is_class(s, "LayoutXLMTokenizer") ||
        tok_is_class(s, "CamembertTokenizer"))
        ok = ok && push(l, STR("<mask>"), 0);
    for (int i = 0; ok && tok_is_class(s, "XGLMTokenizer") && i < 7; i++) {
        const char *name = arena_printf(&tk->arena, "<madeupword%d>", i);
        ok = name && push(l, str_from(name), 0);
    }
    if (tok_is_class(s, "T5Tokenizer")) {
        const int64_t extra = json_int(json_get(s->config.root, "extra_ids"), 100);
        for (int64_t i = extra - 1; ok && i >= 0 && extra < 1 << 20; i--) {
            const char *name = arena_printf(&tk->arena, "<extra_id_%lld>", (long long)i);
            ok = name && push(l, str_from(name), 0);
        }
    }
    if (ok && tok_is_class(s, "GemmaTokenizer")) { // older ones lack the tab
        bool tab = false;
        for (size_t i = 0; i < l->n; i++) tab = tab || str_is(l->v[i].piece, "\t");
        for (size_t i = 0; !tab && i < l->n; i++)
            if (str_is(l->v[i].piece, "<0x09>")) {
                l->v[i] = (scored){STR("\t"), 0};
                break;
            }
    }
    return ok;
}

/* ---- merges from scores (generate_merges) ---- */

typedef struct spm_merge {
    mltf_str left, right;
    double score;
    uint32_t left_chars, right_chars;
    int32_t left_id, right_id;
    size_t order;
} spm_merge;

static int by_parts(const void *a, const void *b)
{
    const spm_merge *x = a, *y = b;
    if (x->left_id != y->left_id) return x->left_id < y->left_id ? -1 : 1;
    if (x->right_id != y->right_id) return x->right_id < y->right_id ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}
static int by_score(const void *a, const void *b)
{
    const spm_merge *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->left_chars != y->left_chars) return x->left_chars > y->left_chars ? -1 : 1;
    if (x->right_chars != y->right_chars) return x->right_chars > y->right_chars ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static mltf_status make_merges(tok_merge **out, size_t *n_out, const scored_list *l,
                               const tok_spm *m, bool gemma, mltf_err *err)
{
    *out = NULL;
    *n_out = 0;
    spm_merge *v = NULL;
    size_t n = 0, cap = 0;
    tok_vocab seen = {0}; // dict(vocab_scores): a piece counts once, with its last score
    bool ok = true;
    for (size_t i = 0; ok && i < l->n; i++) ok = vocab_put(&seen, l->v[i].piece, (int32_t)i);
    const int32_t tab =
        gemma && tok_spm_find(m, STR("\t")) < 0 ? tok_spm_find(m, STR("<0x09>")) : -1;
    for (size_t i = 0; ok && i < seen.n; i++) {
        const mltf_str p = l->v[seen.ids[i]].piece; // outlives `seen`: the merges point into it
        const double score = l->v[seen.ids[i]].score;
        const size_t first = n;
        const uint32_t chars = (uint32_t)utf8_count(p.p, p.n);
        uint32_t k = 0;
        for (size_t at = char_bytes(p.p, p.n); at < p.n; at += char_bytes(p.p + at, p.n - at)) {
            k++;
            const mltf_str a = str_slice(p, 0, at), b = str_slice(p, at, p.n);
            int32_t left = tok_spm_find(m, a), right = tok_spm_find(m, b);
            if (left < 0 && tab >= 0 && str_is(a, "\t")) left = tab;
            if (right < 0 && tab >= 0 && str_is(b, "\t")) right = tab;
            if (left < 0 || right < 0) continue;
            ok = ARRAY_RESERVE(v, cap, n + 1);
            if (!ok) break;
            v[n] = (spm_merge){a, b, score, k, chars - k, left, right, n};
            n++;
        }
        if (n - first > 1) {
            qsort(v + first, n - first, sizeof *v, by_parts);
            for (size_t j = first; j < n; j++) v[j].order = j;
        }
    }
    if (ok && n) qsort(v, n, sizeof *v, by_score);
    tok_merge *merges = ok ? malloc((n + 1) * sizeof *merges) : NULL;
    for (size_t i = 0; merges && i < n; i++) merges[i] = (tok_merge){v[i].left, v[i].right};
    free(v);
    vocab_release(&seen);
    if (!merges) return mltf_fail_memory(err);
    *out = merges;
    *n_out = n;
    return MLTF_OK;
}

/* ---- parts ---- */

static void put_charsmap(mltf_buf *b, const tok_spm_info *info)
{
    buf_puts(b, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"");
    base64_encode(b, (mltf_str){(const char *)info->charsmap, info->charsmap_n});
    buf_puts(b, "\"}");
}

#define REPLACE(from, to)                                                                          \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" from "\"},\"content\":\"" to "\"}"
#define REPLACE_SPACES(to)                                                                         \
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\"" to "\"}"

static void put_normalizer(mltf_buf *b, const tok_settings *s, const tok_spm_info *info)
{
    const bool map = info->charsmap_n > 0;
    const bool albert = tok_is_class(s, "AlbertTokenizer") || tok_is_class(s, "FNetTokenizer") ||
                        tok_is_class(s, "XLNetTokenizer"),
               rembert = tok_is_class(s, "RemBertTokenizer");
    buf_puts(b, "{\"type\":\"Sequence\",\"normalizers\":[");
    if (albert || rembert) {
        buf_puts(b, REPLACE("``", "\\\"") "," REPLACE("''", "\\\""));
        if (rembert) buf_puts(b, "," REPLACE_SPACES(" "));
        const bool keep = tok_settings_bool(s, "keep_accents", rembert);
        if (!keep) buf_puts(b, ",{\"type\":\"NFKD\"},{\"type\":\"StripAccents\"}");
        if (tok_settings_bool(s, "do_lower_case", tok_is_class(s, "AlbertTokenizer")))
            buf_puts(b, ",{\"type\":\"Lowercase\"}");
        if (map) {
            buf_putc(b, ',');
            put_charsmap(b, info);
        }
        if (albert) buf_puts(b, "," REPLACE_SPACES(" "));
    } else if (tok_is_class(s, "DebertaV2Tokenizer")) {
        if (tok_settings_bool(s, "do_lower_case", false)) buf_puts(b, "{\"type\":\"Lowercase\"},");
        buf_puts(b, "{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true},");
        if (map) {
            put_charsmap(b, info);
            buf_putc(b, ',');
        }
        buf_puts(b, REPLACE_SPACES(" "));
    } else {
        if (map) {
            put_charsmap(b, info);
            buf_putc(b, ',');
        }
        buf_puts(
            b,
            "{\"type\":\"Strip\",\"strip_left\":false,\"strip_right\":true}," REPLACE_SPACES(META));
    }
    buf_puts(b, "]}");
}

static mltf_status set_spm_parts(tokenizer *tk, const tok_settings *s, const tok_spm_info *info,
                                 mltf_err *err)
{
    // these classes know the two options; CodeLlama's does not
    const bool llama = tok_is_class(s, "LlamaTokenizer"),
               knows = llama || tok_is_class(s, "T5Tokenizer") || tok_is_class(s, "UdopTokenizer");
    const json *given = json_get(s->config.root, "add_prefix_space");
    bool prefix = true;
    if (given && knows) prefix = json_bool(given, given->type != JSON_NULL || llama);
    const bool legacy = !knows || json_bool(json_get(s->config.root, "legacy"), true);
    const char *scheme = !prefix ? "never" : legacy ? "always" : "first";
    char meta[160], meta_only[160];
    snprintf(meta_only, sizeof meta_only,
             "{\"type\":\"Metaspace\",\"replacement\":\"" META
             "\",\"prepend_scheme\":\"%s\",\"split\":%s}",
             scheme, is_llama(s) ? "false" : "true");
    memcpy(meta, meta_only, sizeof meta);
    if (tok_is_class(s, "GemmaTokenizer"))
        return tok_set_parts(tk, REPLACE(" ", META),
                             "{\"type\":\"Split\",\"pattern\":{\"String\":\" "
                             "\"},\"behavior\":\"MergedWithPrevious\",\"invert\":false}",
                             NULL,
                             "{\"type\":\"Sequence\",\"decoders\":[" REPLACE(
                                 META, " ") ",{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}",
                             err);
    if (is_llama(s))
        return tok_set_parts(
            tk,
            !legacy  ? NULL
            : prefix ? "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
                       "\"" META "\"}," REPLACE(" ", META) "]}"
                     : "{\"type\":\"Sequence\",\"normalizers\":[" REPLACE(" ", META) "]}",
            legacy ? NULL : meta, NULL,
            prefix ? "{\"type\":\"Sequence\",\"decoders\":[" REPLACE(
                         META, " ") ",{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":"
                                    "\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}"
                   : "{\"type\":\"Sequence\",\"decoders\":[" REPLACE(
                         META, " ") ",{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}",
            err);
    mltf_buf b = MLTF_BUF_INIT;
    put_normalizer(&b, s, info);
    char pretok[300];
    if (tok_is_class(s, "PegasusTokenizer"))
        snprintf(pretok, sizeof pretok,
                 "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},%s]}",
                 meta);
    else if (tok_is_class(s, "DebertaV2Tokenizer"))
        snprintf(pretok, sizeof pretok, "{\"type\":\"Sequence\",\"pretokenizers\":[%s%s]}",
                 tok_settings_bool(s, "split_by_punct", false)
                     ? "{\"type\":\"Punctuation\",\"behavior\":\"Isolated\"},"
                     : "",
                 meta);
    else
        snprintf(pretok, sizeof pretok, "%s", meta);
    mltf_status st = buf_status(&b, err);
    if (st == MLTF_OK) st = tok_set_parts(tk, b.p, pretok, NULL, meta_only, err);
    mltf_buf_release(&b);
    return st;
}

static const char *spm_file(const char *dir)
{
    static const char *const names[] = {"sentencepiece.bpe.model", "spiece.model", "spm.model",
                                        "tokenizer.model", "sentencepiece.model"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (tok_has_file(dir, names[i])) return names[i];
    return NULL;
}

static mltf_status make_model(tokenizer *tk, tok_settings *s, const tok_spm *m, mltf_err *err)
{
    const tok_spm_info *info = tok_spm_about(m);
    const bool bytes = is_llama(s) || tok_is_class(s, "GemmaTokenizer");
    scored_list l = {0};
    tok_vocab v = {0};
    int64_t offset = 0, unk;
    double *scores = NULL;
    if (tok_is_class(s, "PegasusTokenizer")) TRY(tok_pegasus_offset(&offset, s, err));
    mltf_status st = make_vocab(&l, m, tk, s, offset, &unk) ? MLTF_OK : mltf_fail_memory(err);
    for (size_t i = 0; i < l.n && st == MLTF_OK; i++)
        if (!vocab_put(&v, l.v[i].piece, (int32_t)i)) st = mltf_fail_memory(err);
    if (st == MLTF_OK && info->model == SPM_UNIGRAM) {
        scores = malloc((l.n + 1) * sizeof *scores);
        if (!scores) st = mltf_fail_memory(err);
        for (size_t i = 0; scores && i < l.n; i++) scores[i] = l.v[i].score;
        v.max_id = (int32_t)l.n - 1;
        if (st == MLTF_OK && (unk < 0 || (size_t)unk >= l.n))
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "the unknown piece %lld is larger than the vocabulary", (long long)unk);
        if (st == MLTF_OK) st = tok_unigram_new(&tk->model, &v, scores, unk, bytes, err);
    } else if (st == MLTF_OK && info->model == SPM_BPE) {
        tok_merge *merges = NULL;
        size_t n = 0;
        st = make_merges(&merges, &n, &l, m, tok_is_class(s, "GemmaTokenizer"), err);
        const tok_bpe_config c = {
            .unk = tok_spm_unk_piece(m), .fuse_unk = true, .byte_fallback = bytes};
        if (st == MLTF_OK) st = tok_bpe_new(&tk->model, &v, merges, n, &c, err);
        free(merges);
    } else if (st == MLTF_OK) {
        st = mltf_fail(err, MLTF_UNSUPPORTED, "the sentencepiece model is neither BPE nor Unigram");
    }
    free(scores);
    free(l.v);
    vocab_release(&v);
    // control pieces and user-defined symbols are added tokens
    for (size_t i = 0; i < info->n && st == MLTF_OK; i++) {
        const spm_type type = tok_spm_type(m, i);
        if (type != SPM_CONTROL && type != SPM_USER_DEFINED) continue;
        const mltf_str p = tok_spm_piece(m, i);
        const bool turn = tok_is_class(s, "GemmaTokenizer") &&
                          (str_is(p, "<start_of_turn>") || str_is(p, "<end_of_turn>"));
        const tok_added_token t = {.content = p, .special = type == SPM_CONTROL || turn};
        st = tok_added_add(&tk->added, tk->model, &t, err);
    }
    return st;
}

mltf_status tok_convert_spm(tokenizer *tk, tok_settings *s, const char *dir, mltf_err *err)
{
    const char *name = spm_file(dir);
    if (!name)
        return mltf_fail(err, MLTF_NOT_FOUND,
                         "there is neither a tokenizer.json nor a sentencepiece model");
    char *path = path_join(dir, name);
    if (!path) return mltf_fail_memory(err);
    tok_spm *m = NULL;
    mltf_status st = tok_spm_load(&m, path, err);
    free(path);
    if (st == MLTF_OK) st = make_model(tk, s, m, err);
    if (st == MLTF_OK) st = set_spm_parts(tk, s, tok_spm_about(m), err);
    tok_spm_free(m);
    return st;
}

mltf_status tok_post_spm(tokenizer *tk, tok_settings *s, mltf_err *err)
{
    if (is_llama(s) || tok_is_class(s, "GemmaTokenizer") || tok_is_class(s, "MBartTokenizer") ||
        tok_is_class(s, "MBart50Tokenizer") || tok_is_class(s, "NllbTokenizer") ||
        tok_is_class(s, "ReformerTokenizer"))
        return MLTF_OK;
    if (tok_is_class(s, "T5Tokenizer") || tok_is_class(s, "UdopTokenizer"))
        return tok_set_template_words(tk, "$A </s>", "$A </s> $B </s>", err);
    if (tok_is_class(s, "PegasusTokenizer"))
        return tok_set_template_words(tk, "$A %e", "$A $B %e", err);
    if (tok_is_class(s, "XLNetTokenizer"))
        return tok_set_template_words(tk, "$A:0 <sep>:0 <cls>:2",
                                      "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2", err);
    if (tok_is_class(s, "XGLMTokenizer"))
        return tok_set_template_words(tk, "</s> $A", "</s> $A </s> </s> $B", err);
    if (tok_is_class(s, "AlbertTokenizer") || tok_is_class(s, "FNetTokenizer") ||
        tok_is_class(s, "DebertaV2Tokenizer") || tok_is_class(s, "RemBertTokenizer") ||
        tok_is_class(s, "BigBirdTokenizer"))
        return tok_set_template_words(tk, "[CLS]:0 $A:0 [SEP]:0",
                                      "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", err);
    return tok_set_template_words(tk, "<s> $A </s>", "<s> $A </s> </s> $B </s>", err);
}
