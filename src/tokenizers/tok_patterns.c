/* The split patterns of the ecosystem, by hand: each returns what a backtracking matcher would.
 *
 * A function gets a place in valid UTF-8 and returns where the match that begins there ends, or the place
 * itself where none does. Comments name what follows the alternatives of the regular expression. */
#include "tokenizers/tok_internal.h"

enum {
    C_L = 1,       // \p{L}
    C_N = 2,       // \p{N}
    C_S = 4,       // \s
    C_NL = 8,      // [\r\n]
    C_M = 16,      // \p{M}
    C_PS = 32,     // [\p{P}\p{S}]
    C_UPPER = 64,  // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
    C_LOWER = 128, // [\p{Ll}\p{Lm}\p{Lo}\p{M}]
};

#define U (C_L | C_UPPER)
#define W (C_L | C_LOWER)
#define P C_PS
#define S C_S
#define R (C_S | C_NL)
#define D C_N
// clang-format off
static const uint8_t ascii_class[128] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, S, R, S, S, R, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    S, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, D, D, D, D, D, D, D, D, D, D, P, P, P, P, P, P,
    P, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, P, P, P, P, P,
    P, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, P, P, P, P, 0,
};
static const uint8_t category_class[32] = {
    [UC_LU] = U, [UC_LL] = W, [UC_LT] = U, [UC_LM] = U | W, [UC_LO] = U | W,
    [UC_MN] = C_M | C_UPPER | C_LOWER, [UC_MC] = C_M | C_UPPER | C_LOWER, [UC_ME] = C_M | C_UPPER | C_LOWER,
    [UC_ND] = D, [UC_NL] = D, [UC_NO] = D,
    [UC_PC] = P, [UC_PD] = P, [UC_PS] = P, [UC_PE] = P, [UC_PI] = P, [UC_PF] = P, [UC_PO] = P,
    [UC_SM] = P, [UC_SC] = P, [UC_SK] = P, [UC_SO] = P,
};
// clang-format on
#undef U
#undef W
#undef P
#undef S
#undef R
#undef D

/* Class of the character at s[at]; *next is behind it. */
static inline unsigned class_at(const char *s, size_t at, size_t *next)
{
    const unsigned char b = (unsigned char)s[at];
    if (b < 0x80) {
        *next = at + 1;
        return ascii_class[b];
    }
    const char *p = s + at;
    const uc_record *r = uc_get(utf8_next(&p));
    *next = (size_t)(p - s);
    return category_class[r->category] | ((r->flags & UC_SPACE) ? C_S : 0);
}

/* The end of the run of characters whose class has one of `any` and none of `none`. */
static inline size_t run_any(const char *s, size_t n, size_t at, unsigned any)
{
    size_t next;
    while (at < n && (class_at(s, at, &next) & any)) at = next;
    return at;
}
static inline size_t run_none(const char *s, size_t n, size_t at, unsigned none)
{
    size_t next;
    while (at < n && !(class_at(s, at, &next) & none)) at = next;
    return at;
}
static inline size_t run_newlines(const char *s, size_t n, size_t at, bool slash)
{
    while (at < n && (s[at] == '\r' || s[at] == '\n' || (slash && s[at] == '/'))) at++;
    return at;
}

/* \s+(?!\S)|\s+ from a space: all of the run at the end of the text, else all but its last character. */
static inline size_t spaces(const char *s, size_t n, size_t at)
{
    size_t next, last = at, end = at;
    while (end < n && (class_at(s, end, &next) & C_S)) {
        last = end;
        end = next;
    }
    return end == n || last == at ? end : last;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ */
static inline size_t lines_or_spaces(const char *s, size_t n, size_t at)
{
    size_t next, last = at, end = at, line = 0;
    unsigned c;
    while (end < n && ((c = class_at(s, end, &next)) & C_S)) {
        if (c & C_NL) line = next;
        last = end;
        end = next;
    }
    if (line) return line;
    return end == n || last == at ? end : last;
}

/* 's|'t|'re|'ve|'m|'ll|'d behind an apostrophe at s[at]; 0 if none. */
static inline size_t contraction(const char *s, size_t n, size_t at, bool fold)
{
    if (at + 1 >= n) return 0;
    const int low = fold ? 0x20 : 0;
    const int a = s[at + 1] | low, b = at + 2 < n ? s[at + 2] | low : 0;
    switch (a) {
    case 's':
    case 't':
    case 'm':
    case 'd':
        return at + 2;
    case 'r':
    case 'v':
        return b == 'e' ? at + 3 : 0;
    case 'l':
        return b == 'l' ? at + 3 : 0;
    default:
        // U+017F, the long s, folds to s
        return fold && at + 2 < n && s[at + 1] == '\xC5' && s[at + 2] == '\xBF' ? at + 3 : 0;
    }
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
size_t tok_match_gpt2(const char *s, size_t n, size_t at)
{
    if (s[at] == '\'') {
        const size_t e = contraction(s, n, at, false);
        if (e) return e;
    }
    size_t next;
    const size_t from = s[at] == ' ' && at + 1 < n ? at + 1 : at;
    const unsigned c = class_at(s, from, &next);
    if (c & C_L) return run_any(s, n, next, C_L);
    if (c & C_N) return run_any(s, n, next, C_N);
    if (!(c & C_S)) return run_none(s, n, next, C_S | C_L | C_N);
    return spaces(s, n, at);
}

/* (?i:'s|…)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static inline size_t llama3(const char *s, size_t n, size_t at, int digits)
{
    size_t next, after;
    if (s[at] == '\'') {
        const size_t e = contraction(s, n, at, true);
        if (e) return e;
    }
    const unsigned c = class_at(s, at, &next);
    if (c & C_L) return run_any(s, n, next, C_L);
    if (c & C_N) {
        for (int i = 1; i < digits && next < n && (class_at(s, next, &after) & C_N); i++)
            next = after;
        return next;
    }
    if (!(c & C_NL) && next < n && (class_at(s, next, &after) & C_L))
        return run_any(s, n, after, C_L);
    if (!(c & C_S)) return run_newlines(s, n, run_none(s, n, next, C_S | C_L | C_N), false);
    if (s[at] == ' ' && next < n && !(class_at(s, next, &after) & (C_S | C_L | C_N)))
        return run_newlines(s, n, run_none(s, n, after, C_S | C_L | C_N), false);
    return lines_or_spaces(s, n, at);
}
static size_t match_llama3(const char *s, size_t n, size_t at)
{
    return llama3(s, n, at, 3);
}
static size_t match_qwen2(const char *s, size_t n, size_t at)
{
    return llama3(s, n, at, 1);
}

/* [UPPER]*[LOWER]+ from s[at]; 0 if it does not match. */
static inline size_t cased_word(const char *s, size_t n, size_t at)
{
    size_t next, both = 0;
    unsigned c = 0;
    while (at < n && ((c = class_at(s, at, &next)) & C_UPPER)) {
        if (c & C_LOWER) both = next;
        at = next;
    }
    if (at < n && (c & C_LOWER)) return run_any(s, n, next, C_LOWER);
    return both; // the last character that can stand in both roles gives way
}

/* [^\r\n\p{L}\p{N}]?[UPPER]*[LOWER]+(contraction)?|[^\r\n\p{L}\p{N}]?[UPPER]+[LOWER]*(contraction)?
 * |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static inline size_t o200k(const char *s, size_t n, size_t at, int digits, bool contractions)
{
    size_t next, after, end = 0;
    const unsigned c = class_at(s, at, &next);
    const bool prefix = !(c & (C_NL | C_L | C_N));
    if (prefix) end = cased_word(s, n, next);
    if (!end && (c & (C_UPPER | C_LOWER))) end = cased_word(s, n, at);
    if (!end && prefix) {
        end = run_any(s, n, next, C_UPPER);
        if (end == next) end = 0;
    }
    if (!end && (c & C_UPPER)) end = run_any(s, n, at, C_UPPER);
    if (end) {
        if (contractions && end < n && s[end] == '\'') {
            const size_t e = contraction(s, n, end, true);
            if (e) return e;
        }
        return end;
    }
    if (c & C_N) {
        for (int i = 1; i < digits && next < n && (class_at(s, next, &after) & C_N); i++)
            next = after;
        return next;
    }
    if (!(c & C_S)) return run_newlines(s, n, run_none(s, n, next, C_S | C_L | C_N), true);
    if (s[at] == ' ' && next < n && !(class_at(s, next, &after) & (C_S | C_L | C_N)))
        return run_newlines(s, n, run_none(s, n, after, C_S | C_L | C_N), true);
    return lines_or_spaces(s, n, at);
}
static size_t match_o200k(const char *s, size_t n, size_t at)
{
    return o200k(s, n, at, 3, true);
}
static size_t match_tekken(const char *s, size_t n, size_t at)
{
    return o200k(s, n, at, 1, false);
}

/* 's|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+ */
static size_t match_clip(const char *s, size_t n, size_t at)
{
    if (s[at] == '\'') {
        const size_t e = contraction(s, n, at, false);
        if (e) return e;
    }
    size_t next;
    const unsigned c = class_at(s, at, &next);
    if (c & C_L) return run_any(s, n, next, C_L);
    if (c & C_N) return next;
    return c & C_S ? at : run_none(s, n, next, C_S | C_L | C_N);
}

/* [ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*
 * |\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t match_deepseek(const char *s, size_t n, size_t at)
{
    size_t next, after;
    const unsigned c = class_at(s, at, &next);
    if ((c & C_PS) && (unsigned char)s[at] < 0x80) {
        size_t e = next;
        while (e < n && (unsigned)((s[e] | 0x20) - 'a') < 26) e++;
        if (e > next) return e;
    }
    if (!(c & (C_NL | C_L | C_PS)) && next < n && (class_at(s, next, &after) & (C_L | C_M)))
        return run_any(s, n, after, C_L | C_M);
    if (c & (C_L | C_M)) return run_any(s, n, next, C_L | C_M);
    if (c & C_PS) return run_newlines(s, n, run_any(s, n, next, C_PS), false);
    if (s[at] == ' ' && next < n && (class_at(s, next, &after) & C_PS))
        return run_newlines(s, n, run_any(s, n, after, C_PS), false);
    return c & C_S ? lines_or_spaces(s, n, at) : at;
}

/* \p{N}{1,3} */
static size_t match_digits3(const char *s, size_t n, size_t at)
{
    size_t next;
    for (int i = 0; i < 3 && at < n && (class_at(s, at, &next) & C_N); i++) at = next;
    return at;
}
/* \p{N} */
static size_t match_digit(const char *s, size_t n, size_t at)
{
    size_t next;
    (void)n;
    return class_at(s, at, &next) & C_N ? next : at;
}
/* [0-9][0-9][0-9] */
static size_t match_ascii3(const char *s, size_t n, size_t at)
{
    if (at + 3 > n) return at;
    for (size_t i = at; i < at + 3; i++)
        if ((unsigned)(s[i] - '0') > 9) return at;
    return at + 3;
}
/* [一-龥぀-ゟ゠-ヿ]+ */
static size_t match_cjk(const char *s, size_t n, size_t at)
{
    while (at < n && (unsigned char)s[at] >= 0xE3) {
        const char *p = s + at;
        const uint32_t cp = utf8_next(&p);
        if (!((cp >= 0x4E00 && cp <= 0x9FA5) || (cp >= 0x3040 && cp <= 0x30FF))) break;
        at = (size_t)(p - s);
    }
    return at;
}

static bool bloom_excludes(uint32_t cp)
{
    switch (cp) {
    case '(':
    case ')':
    case '|':
    case '.':
    case ',':
    case '!':
    case '?':
    case 0x2026:
    case 0x3002:
    case 0xFF0C:
    case 0x3001:
    case 0x0964:
    case 0x06D4:
    case 0x060C:
        return true;
    default:
        return uc_is_space(cp);
    }
}
/*  ?[^(\s|[.,!?…。，、।۔،])]+ */
static size_t match_bloom(const char *s, size_t n, size_t at)
{
    const char *p = s + at, *end = s + n;
    if (*p == ' ') p++;
    const char *from = p;
    while (p < end) {
        const char *q = p;
        if (bloom_excludes(utf8_next(&q))) break;
        p = q;
    }
    return p > from ? (size_t)(p - s) : at;
}

/* \s+ */
static size_t match_spaces(const char *s, size_t n, size_t at)
{
    return run_any(s, n, at, C_S);
}
/* \s */
static size_t match_space(const char *s, size_t n, size_t at)
{
    size_t next;
    (void)n;
    return class_at(s, at, &next) & C_S ? next : at;
}
/*  {2,} */
static size_t match_space_run(const char *s, size_t n, size_t at)
{
    size_t e = at;
    while (e < n && s[e] == ' ') e++;
    return e - at >= 2 ? e : at;
}
/* \p{L}+ */
static size_t match_letters(const char *s, size_t n, size_t at)
{
    return run_any(s, n, at, C_L);
}
/* . */
static size_t match_any(const char *s, size_t n, size_t at)
{
    (void)n;
    const char *p = s + at;
    if (*p == '\n') return at;
    utf8_next(&p);
    return (size_t)(p - s);
}
/* \n or [\r\n] */
static size_t match_newline(const char *s, size_t n, size_t at)
{
    (void)n;
    return at + (s[at] == '\r' || s[at] == '\n');
}

#define CONTRACTIONS "'s|'t|'re|'ve|'m|'ll|'d"
#define GPT2_TAIL    "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define TAIL         "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define PREFIX       "[^\\r\\n\\p{L}\\p{N}]?"
#define UPPER        "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER        "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define FOLDED       "(?i:" CONTRACTIONS ")"

static const struct {
    const char *source;
    tok_matcher match;
} known[] = {
    {CONTRACTIONS GPT2_TAIL, tok_match_gpt2},
    {"'(?:[sdmt]|ll|ve|re)" GPT2_TAIL, tok_match_gpt2},
    {FOLDED "|" PREFIX "\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL, match_llama3},
    {FOLDED "|" PREFIX "\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" TAIL, match_qwen2},
    {PREFIX UPPER "*" LOWER "+" FOLDED "?|" PREFIX UPPER "+" LOWER "*" FOLDED
                  "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL,
     match_o200k},
    {PREFIX UPPER "*" LOWER "+|" PREFIX UPPER "+" LOWER
                  "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL,
     match_tekken},
    {CONTRACTIONS "|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+", match_clip},
    {"[!\"#$%&'()*+,\\-./"
     ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
     " ?[\\p{P}\\p{S}]+[\\r\\n]*|" TAIL,
     match_deepseek},
    {"\\p{N}{1,3}", match_digits3},
    {"\\p{N}", match_digit},
    {"[0-9][0-9][0-9]", match_ascii3},
    {"[一-龥぀-ゟ゠-ヿ]+", match_cjk},
    {" ?[^(\\s|[.,!?…。，、।۔،])]+", match_bloom},
    {"\\s+", match_spaces},
    {"\\s", match_space},
    {" {2,}", match_space_run},
    {"\\p{L}+", match_letters},
    {".", match_any},
    {"[\\r\\n]", match_newline},
};

/* Files write \r and \n both as escapes of the pattern and as the characters themselves. */
static bool same_pattern(mltf_str source, const char *pattern)
{
    size_t i = 0;
    for (; *pattern && i < source.n; pattern++, i++) {
        const bool cr = source.p[i] == '\r' && pattern[0] == '\\' && pattern[1] == 'r',
                   nl = source.p[i] == '\n' && pattern[0] == '\\' && pattern[1] == 'n';
        if (cr || nl)
            pattern++;
        else if (*pattern != source.p[i])
            return false;
    }
    return !*pattern && i == source.n;
}

tok_matcher tok_known_pattern(mltf_str source)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (same_pattern(source, known[i].source)) return known[i].match;
    return NULL;
}

/* ---- cuts before the pattern ---- */

size_t tok_segment_digit(const char *s, size_t n, size_t at)
{
    size_t next;
    if (class_at(s, at, &next) & C_N) return next;
    return run_none(s, n, next, C_N);
}

/* Digits in threes, then runs of Chinese and Japanese characters, then what lies between. */
static size_t segment_deepseek(const char *s, size_t n, size_t at)
{
    size_t end = match_digits3(s, n, at), next;
    if (end == at) end = match_cjk(s, n, at);
    if (end > at) return end;
    for (class_at(s, at, &end); end < n; end = next)
        if ((class_at(s, end, &next) & C_N) ||
            ((unsigned char)s[end] >= 0xE3 && match_cjk(s, n, end) > end))
            break;
    return end;
}

tok_matcher tok_known_segments(tok_matcher first, tok_matcher second)
{
    return first == match_digits3 && second == match_cjk ? segment_deepseek : NULL;
}
