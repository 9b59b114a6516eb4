/* Pre-tokenizers: https://github.com/huggingface/tokenizers, tokenizers/src/pre_tokenizers (0.22.2).
 *
 * Most only cut pieces (tok_cut.c). Metaspace and ByteLevel also rewrite them; then the text is built anew, with the
 * pieces one after the other. */
#include <stdlib.h>

#include "tokenizers/tok_cut.h"

typedef enum {
    P_BERT,
    P_BYTE_LEVEL,
    P_DELIMITER,
    P_METASPACE,
    P_WHITESPACE,
    P_WHITESPACE_SPLIT,
    P_SEQUENCE,
    P_SPLIT,
    P_PUNCTUATION,
    P_DIGITS,
    P_SCRIPTS,
    P_FIXED,
} pretok_type;

struct tok_pretok {
    pretok_type type;
    tok_pretok **parts; /* Sequence */
    size_t n;
    bool prefix_space, use_regex; /* ByteLevel */
    uint32_t delimiter;           /* CharDelimiterSplit; the replacement of Metaspace */
    tok_prepend prepend;          /* Metaspace */
    bool split;
    tok_pattern *pattern; /* Split */
    bool invert;
    cut_behaviour behaviour; /* Split, Punctuation */
    bool individual;         /* Digits */
    size_t length;           /* FixedLength */
};

const uint16_t tok_byte_char[256] = {
    256, 257, 258, 259, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269, 270, 271, 272, 273, 274,
    275, 276, 277, 278, 279, 280, 281, 282, 283, 284, 285, 286, 287, 288, 33,  34,  35,  36,  37,
    38,  39,  40,  41,  42,  43,  44,  45,  46,  47,  48,  49,  50,  51,  52,  53,  54,  55,  56,
    57,  58,  59,  60,  61,  62,  63,  64,  65,  66,  67,  68,  69,  70,  71,  72,  73,  74,  75,
    76,  77,  78,  79,  80,  81,  82,  83,  84,  85,  86,  87,  88,  89,  90,  91,  92,  93,  94,
    95,  96,  97,  98,  99,  100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113,
    114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 289, 290, 291, 292, 293, 294,
    295, 296, 297, 298, 299, 300, 301, 302, 303, 304, 305, 306, 307, 308, 309, 310, 311, 312, 313,
    314, 315, 316, 317, 318, 319, 320, 321, 322, 161, 162, 163, 164, 165, 166, 167, 168, 169, 170,
    171, 172, 323, 174, 175, 176, 177, 178, 179, 180, 181, 182, 183, 184, 185, 186, 187, 188, 189,
    190, 191, 192, 193, 194, 195, 196, 197, 198, 199, 200, 201, 202, 203, 204, 205, 206, 207, 208,
    209, 210, 211, 212, 213, 214, 215, 216, 217, 218, 219, 220, 221, 222, 223, 224, 225, 226, 227,
    228, 229, 230, 231, 232, 233, 234, 235, 236, 237, 238, 239, 240, 241, 242, 243, 244, 245, 246,
    247, 248, 249, 250, 251, 252, 253, 254, 255,
};

int tok_char_byte(uint32_t cp)
{
    if (cp < 256) return tok_byte_char[cp] == cp ? (int)cp : -1;
    if (cp <= 288) return (int)cp - 256;
    if (cp <= 322) return (int)cp - 289 + 127;
    return cp == 323 ? 173 : -1;
}

/* ---- reading ---- */

void tok_pretok_free(tok_pretok *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->n; i++) tok_pretok_free(p->parts[i]);
    free(p->parts);
    tok_pattern_free(p->pattern);
    free(p);
}

static const struct {
    const char *name;
    pretok_type type;
} pretok_names[] = {
    {"BertPreTokenizer", P_BERT},
    {"ByteLevel", P_BYTE_LEVEL},
    {"CharDelimiterSplit", P_DELIMITER},
    {"Delimiter", P_DELIMITER},
    {"Metaspace", P_METASPACE},
    {"Whitespace", P_WHITESPACE},
    {"WhitespaceSplit", P_WHITESPACE_SPLIT},
    {"Sequence", P_SEQUENCE},
    {"Split", P_SPLIT},
    {"Punctuation", P_PUNCTUATION},
    {"Digits", P_DIGITS},
    {"UnicodeScripts", P_SCRIPTS},
    {"FixedLength", P_FIXED},
};

static mltf_status parse_behaviour(cut_behaviour *out, const json *v, cut_behaviour fallback,
                                   mltf_err *err)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    *out = fallback;
    if (!v) return MLTF_OK;
    const mltf_str s = json_string(v, STR(""));
    for (size_t i = 0; i < 5; i++) {
        if (!str_is(s, names[i])) continue;
        *out = (cut_behaviour)i;
        return MLTF_OK;
    }
    return mltf_fail(err, MLTF_CORRUPT_FILE, "split behavior \"" STR_FMT "\" is not known",
                     STR_ARG(s));
}

static mltf_status one_char(uint32_t *out, const json *v, const char *what, mltf_err *err)
{
    const mltf_str s = json_string(v, STR(""));
    size_t len = 0;
    *out = s.n ? utf8_decode(s.p, s.n, &len) : UTF8_BAD;
    if (*out == UTF8_BAD || len != s.n)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "%s must be one character, not \"" STR_FMT "\"",
                         what, STR_ARG(s));
    return MLTF_OK;
}

static mltf_status parse_metaspace(tok_pretok *p, const json *spec, mltf_err *err)
{
    TRY(one_char(&p->delimiter, json_get(spec, "replacement"), "replacement of Metaspace", err));
    const mltf_str scheme = json_string(json_get(spec, "prepend_scheme"), STR("always"));
    if (str_is(scheme, "always"))
        p->prepend = TOK_PREPEND_ALWAYS;
    else if (str_is(scheme, "first"))
        p->prepend = TOK_PREPEND_FIRST;
    else if (str_is(scheme, "never"))
        p->prepend = TOK_PREPEND_NEVER;
    else
        return mltf_fail(err, MLTF_CORRUPT_FILE, "prepend_scheme \"" STR_FMT "\" is not known",
                         STR_ARG(scheme));
    if (!json_bool(json_get(spec, "add_prefix_space"), true)) {
        if (p->prepend != TOK_PREPEND_NEVER)
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "add_prefix_space does not match declared prepend_scheme");
    }
    p->split = json_bool(json_get(spec, "split"), true);
    return MLTF_OK;
}

static mltf_status parse_into(tok_pretok *p, const json *spec, mltf_err *err)
{
    switch (p->type) {
    case P_BYTE_LEVEL:
        p->prefix_space = json_bool(json_get(spec, "add_prefix_space"), true);
        p->use_regex = json_bool(json_get(spec, "use_regex"), true);
        return MLTF_OK;
    case P_DELIMITER:
        return one_char(&p->delimiter, json_get(spec, "delimiter"),
                        "delimiter of CharDelimiterSplit", err);
    case P_METASPACE:
        return parse_metaspace(p, spec, err);
    case P_SEQUENCE: {
        const json *list = json_get(spec, "pretokenizers");
        if (!json_is(list, JSON_ARRAY))
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "pre-tokenizer Sequence lacks the list \"pretokenizers\"");
        p->parts = calloc(list->a.n + 1, sizeof(tok_pretok *));
        if (!p->parts) return mltf_fail_memory(err);
        for (size_t i = 0; i < list->a.n; i++) {
            TRY(tok_pretok_parse(&p->parts[p->n], &list->a.items[i], err));
            if (!p->parts[p->n])
                return mltf_fail(err, MLTF_CORRUPT_FILE, "pre-tokenizer Sequence holds null");
            p->n++;
        }
        return MLTF_OK;
    }
    case P_SPLIT: {
        const json *pattern = json_get(spec, "pattern");
        const json *text = json_get(pattern, "String"), *re = json_get(pattern, "Regex");
        if (!json_is(text, JSON_STRING) && !json_is(re, JSON_STRING))
            return mltf_fail(err, MLTF_CORRUPT_FILE, "pre-tokenizer Split lacks its pattern");
        TRY(tok_pattern_new(&p->pattern, text ? text->s : re->s, !text, err));
        p->invert = json_bool(json_get(spec, "invert"), false);
        return parse_behaviour(&p->behaviour, json_get(spec, "behavior"), CUT_ISOLATED, err);
    }
    case P_PUNCTUATION:
        return parse_behaviour(&p->behaviour, json_get(spec, "behavior"), CUT_ISOLATED, err);
    case P_DIGITS:
        p->individual = json_bool(json_get(spec, "individual_digits"), false);
        return MLTF_OK;
    case P_FIXED: {
        const int64_t n = json_int(json_get(spec, "length"), 5);
        if (n < 1)
            return mltf_fail(err, MLTF_CORRUPT_FILE, "length of FixedLength must be above 0");
        p->length = (size_t)n;
        return MLTF_OK;
    }
    default:
        return MLTF_OK;
    }
}

mltf_status tok_pretok_parse(tok_pretok **out, const json *spec, mltf_err *err)
{
    *out = NULL;
    if (!spec || spec->type == JSON_NULL) return MLTF_OK;
    const mltf_str type = json_string(json_get(spec, "type"), STR(""));
    for (size_t i = 0; i < sizeof pretok_names / sizeof *pretok_names; i++) {
        if (!str_is(type, pretok_names[i].name)) continue;
        tok_pretok *p = calloc(1, sizeof *p);
        if (!p) return mltf_fail_memory(err);
        p->type = pretok_names[i].type;
        const mltf_status st = parse_into(p, spec, err);
        if (st != MLTF_OK) {
            tok_pretok_free(p);
            return st;
        }
        *out = p;
        return MLTF_OK;
    }
    return mltf_fail(err, MLTF_UNSUPPORTED, "pre-tokenizer type \"" STR_FMT "\" is not known",
                     STR_ARG(type));
}

/* ---- what fast paths ask ---- */

static const tok_pretok *last_step(const tok_pretok *p)
{
    while (p && p->type == P_SEQUENCE) p = p->n ? p->parts[p->n - 1] : NULL;
    return p;
}

static size_t count_byte_level(const tok_pretok *p)
{
    if (!p) return 0;
    size_t k = p->type == P_BYTE_LEVEL;
    for (size_t i = 0; i < p->n; i++) k += count_byte_level(p->parts[i]);
    return k;
}

bool tok_pretok_byte_level(const tok_pretok *p)
{
    const tok_pretok *last = last_step(p);
    return last && last->type == P_BYTE_LEVEL && count_byte_level(p) == 1;
}

bool tok_pretok_set_prefix_space(tok_pretok *p, bool on)
{
    if (!p || p->type != P_BYTE_LEVEL) return false;
    p->prefix_space = on;
    return true;
}

bool tok_pretok_needs_spans(const tok_pretok *p)
{
    if (!p) return false;
    if (p->type == P_METASPACE) return p->prepend == TOK_PREPEND_FIRST;
    for (size_t i = 0; i < p->n; i++)
        if (tok_pretok_needs_spans(p->parts[i])) return true;
    return false;
}

/* The hand-written matcher of a split that keeps everything; NULL if it is no such split. */
static tok_matcher isolating(const tok_pretok *p)
{
    return p->type == P_SPLIT && p->behaviour == CUT_ISOLATED && !p->invert
               ? tok_pattern_hand(p->pattern)
               : NULL;
}

tok_matcher tok_pretok_matcher(const tok_pretok *p, bool *prefix_space, tok_matcher *segment)
{
    *prefix_space = false;
    *segment = NULL;
    if (!p) return NULL;
    if (p->type == P_SEQUENCE && p->n == 1)
        return tok_pretok_matcher(p->parts[0], prefix_space, segment);
    if (p->type == P_BYTE_LEVEL && p->use_regex) {
        *prefix_space = p->prefix_space;
        return tok_match_gpt2;
    }
    if (p->type != P_SEQUENCE || (p->n != 2 && p->n != 4)) return NULL;
    const tok_pretok *last = p->parts[p->n - 1];
    if (last->type != P_BYTE_LEVEL || last->prefix_space) return NULL;
    if (p->n == 4) {
        if (last->use_regex) return NULL;
        *segment = tok_known_segments(isolating(p->parts[0]), isolating(p->parts[1]));
        return *segment ? isolating(p->parts[2]) : NULL;
    }
    const tok_pretok *first = p->parts[0];
    if (first->type == P_DIGITS && first->individual && last->use_regex) {
        *segment = tok_segment_digit;
        return tok_match_gpt2;
    }
    return last->use_regex ? NULL : isolating(first);
}

bool tok_pretok_is_bert(const tok_pretok *p)
{
    if (p && p->type == P_SEQUENCE && p->n == 1) p = p->parts[0];
    return p && p->type == P_BERT;
}

/* ---- separators ---- */

static bool test_space(uint32_t cp, uint32_t arg)
{
    (void)arg;
    return uc_is_space(cp);
}
static bool test_punct(uint32_t cp, uint32_t arg)
{
    (void)arg;
    return (uc_flags(cp) & UC_PUNCT) != 0;
}
static bool test_numeric(uint32_t cp, uint32_t arg)
{
    (void)arg;
    return (uc_flags(cp) & UC_NUMERIC) != 0;
}
static bool test_equal(uint32_t cp, uint32_t arg)
{
    return cp == arg;
}

/* ---- rewriting ---- */

/* Text being built anew from the pieces of s. */
typedef struct rebuild {
    tok_state *s;
    tok_text *out;
    tok_piece piece; /* being copied */
    tok_view v;      /* its text */
    bool spans;
} rebuild;

static bool put(rebuild *r, const char *p, size_t n, tok_span span)
{
    return tok_text_put(r->out, p, n, r->spans ? &span : NULL);
}

static tok_view piece_view(const tok_state *s, tok_piece piece)
{
    return (tok_view){s->v.p + piece.start, piece.end - piece.start,
                      s->v.a ? s->v.a + piece.start : NULL, s->v.base + piece.start};
}

static bool copy_bytes(rebuild *r, size_t from, size_t to)
{
    tok_text *t = r->out;
    const size_t n = to - from;
    if (!ARRAY_RESERVE(t->p, t->cap, t->n + n + 8)) return false;
    memcpy(t->p + t->n, r->v.p + from, n);
    if (r->spans) {
        if (!ARRAY_RESERVE(t->a, t->acap, t->n + n)) return false;
        if (r->v.a)
            memcpy(t->a + t->n, r->v.a + from, n * sizeof *t->a);
        else
            for (size_t i = from; i < to;) {
                const tok_span s = tok_view_span(&r->v, i);
                for (size_t end = s.end - r->v.base; i < end && i < to; i++)
                    t->a[t->n + i - from] = s;
            }
    }
    t->n += n;
    return true;
}

static void rebuild_begin(rebuild *r, tok_state *s, bool spans)
{
    r->s = s;
    r->out = s->v.p == s->text[0].p ? &s->text[1] : &s->text[0];
    r->out->n = 0;
    r->spans = spans;
}

static void rebuild_end(rebuild *r, size_t n)
{
    tok_state *s = r->s;
    s->v = (tok_view){r->out->p ? r->out->p : "", r->out->n, r->spans ? r->out->a : NULL, 0};
    tok_pieces_swap(s, n);
}

static mltf_status run_metaspace(const tok_pretok *p, tok_state *s, bool spans, mltf_err *err)
{
    char rep[4];
    const size_t rep_n = utf8_encode(rep, p->delimiter);
    rebuild r;
    rebuild_begin(&r, s, spans);
    size_t n = 0;
    for (size_t k = 0; k < s->n; k++) {
        r.piece = s->pieces[k];
        r.v = piece_view(s, r.piece);
        const size_t from = r.out->n;
        bool ok = true;
        if (r.piece.added >= 0) {
            ok = copy_bytes(&r, 0, r.v.n) && tok_piece_add(s, &n, from, r.out->n, r.piece.added);
        } else {
            const tok_span first = tok_view_span(&r.v, 0);
            const bool starts =
                r.v.p[0] == ' ' || (r.v.n >= rep_n && memcmp(r.v.p, rep, rep_n) == 0);
            if (!starts && (p->prepend == TOK_PREPEND_ALWAYS ||
                            (p->prepend == TOK_PREPEND_FIRST && first.start == 0)))
                ok = put(&r, rep, rep_n, first);
            for (size_t i = 0; ok && i < r.v.n;) {
                if (r.v.p[i] == ' ') {
                    ok = put(&r, rep, rep_n, spans ? tok_view_span(&r.v, i) : first);
                    i++;
                } else {
                    const char *q = memchr(r.v.p + i, ' ', r.v.n - i);
                    const size_t end = q ? (size_t)(q - r.v.p) : r.v.n;
                    ok = copy_bytes(&r, i, end);
                    i = end;
                }
            }
            ok = ok && tok_piece_add(s, &n, from, r.out->n, -1);
        }
        if (!ok) return mltf_fail_memory(err);
    }
    rebuild_end(&r, n);
    return p->split ? tok_cut_chars(s, test_equal, p->delimiter, CUT_WITH_NEXT, err) : MLTF_OK;
}

static mltf_status add_prefix_spaces(tok_state *s, bool spans, mltf_err *err)
{
    bool any = false;
    for (size_t k = 0; k < s->n; k++)
        any = any || (s->pieces[k].added < 0 && s->v.p[s->pieces[k].start] != ' ');
    if (!any) return MLTF_OK;
    rebuild r;
    rebuild_begin(&r, s, spans);
    size_t n = 0;
    for (size_t k = 0; k < s->n; k++) {
        r.piece = s->pieces[k];
        r.v = piece_view(s, r.piece);
        const size_t from = r.out->n;
        bool ok = true;
        if (r.piece.added < 0 && r.v.p[0] != ' ') ok = put(&r, " ", 1, tok_view_span(&r.v, 0));
        ok = ok && copy_bytes(&r, 0, r.v.n) && tok_piece_add(s, &n, from, r.out->n, r.piece.added);
        if (!ok) return mltf_fail_memory(err);
    }
    rebuild_end(&r, n);
    return MLTF_OK;
}

static mltf_status map_bytes(tok_state *s, bool spans, mltf_err *err)
{
    rebuild r;
    rebuild_begin(&r, s, spans);
    size_t n = 0;
    for (size_t k = 0; k < s->n; k++) {
        r.piece = s->pieces[k];
        r.v = piece_view(s, r.piece);
        const size_t from = r.out->n;
        bool ok = true;
        if (r.piece.added >= 0) {
            ok = copy_bytes(&r, 0, r.v.n);
        } else {
            for (size_t i = 0; ok && i < r.v.n; i++) {
                char buf[4];
                const size_t len = utf8_encode(buf, tok_byte_char[(unsigned char)r.v.p[i]]);
                ok = put(&r, buf, len, spans ? tok_view_span(&r.v, i) : (tok_span){0, 0});
            }
        }
        ok = ok && tok_piece_add(s, &n, from, r.out->n, r.piece.added);
        if (!ok) return mltf_fail_memory(err);
    }
    rebuild_end(&r, n);
    return MLTF_OK;
}

mltf_status tok_pretokenize(const tok_pretok *p, tok_state *s, bool spans, bool bytes_later,
                            mltf_err *err)
{
    if (!p) return MLTF_OK;
    switch (p->type) {
    case P_BERT:
        TRY(tok_cut_chars(s, test_space, 0, CUT_REMOVED, err));
        return tok_cut_chars(s, test_punct, 0, CUT_ISOLATED, err);
    case P_BYTE_LEVEL:
        if (p->prefix_space) TRY(add_prefix_spaces(s, spans, err));
        if (p->use_regex) TRY(tok_cut_matcher(s, tok_match_gpt2, err));
        return bytes_later ? MLTF_OK : map_bytes(s, spans, err);
    case P_DELIMITER:
        return tok_cut_chars(s, test_equal, p->delimiter, CUT_REMOVED, err);
    case P_METASPACE:
        return run_metaspace(p, s, spans, err);
    case P_WHITESPACE:
        return tok_cut_words(s, err);
    case P_WHITESPACE_SPLIT:
        return tok_cut_chars(s, test_space, 0, CUT_REMOVED, err);
    case P_SEQUENCE:
        for (size_t i = 0; i < p->n; i++)
            TRY(tok_pretokenize(p->parts[i], s, spans, bytes_later, err));
        return MLTF_OK;
    case P_SPLIT:
        return tok_cut_pattern(s, p->pattern, p->invert, p->behaviour, err);
    case P_PUNCTUATION:
        return tok_cut_chars(s, test_punct, 0, p->behaviour, err);
    case P_DIGITS:
        return tok_cut_chars(s, test_numeric, 0, p->individual ? CUT_ISOLATED : CUT_CONTIGUOUS,
                             err);
    case P_SCRIPTS:
        return tok_cut_scripts(s, err);
    case P_FIXED:
        return tok_cut_length(s, p->length, err);
    }
    return MLTF_OK;
}
