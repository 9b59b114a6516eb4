/* Properties of code points, as Hugging Face's tokenizers 0.22.2 counts them (its parts carry different
 * versions of Unicode; tools/make_unicode_tables.py tells which), and the normalization forms' data. */
#ifndef MLTF_TOKENIZERS_UNICODE_H
#define MLTF_TOKENIZERS_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* General categories of Unicode 16. */
// clang-format off
typedef enum {
    UC_CN, UC_LU, UC_LL, UC_LT, UC_LM, UC_LO, UC_MN, UC_MC, UC_ME, UC_ND, UC_NL, UC_NO, UC_PC, UC_PD, UC_PS,
    UC_PE, UC_PI, UC_PF, UC_PO, UC_SM, UC_SC, UC_SK, UC_SO, UC_ZS, UC_ZL, UC_ZP, UC_CC, UC_CF, UC_CS, UC_CO,
} uc_category;
#define UC_BIT(cat) (1u << (cat))
#define UC_L (UC_BIT(UC_LU) | UC_BIT(UC_LL) | UC_BIT(UC_LT) | UC_BIT(UC_LM) | UC_BIT(UC_LO))
#define UC_M (UC_BIT(UC_MN) | UC_BIT(UC_MC) | UC_BIT(UC_ME))
#define UC_N (UC_BIT(UC_ND) | UC_BIT(UC_NL) | UC_BIT(UC_NO))
#define UC_P (UC_BIT(UC_PC) | UC_BIT(UC_PD) | UC_BIT(UC_PS) | UC_BIT(UC_PE) | UC_BIT(UC_PI) | UC_BIT(UC_PF) | UC_BIT(UC_PO))
#define UC_S (UC_BIT(UC_SM) | UC_BIT(UC_SC) | UC_BIT(UC_SK) | UC_BIT(UC_SO))

enum {
    UC_SPACE   = 1 << 0,  /* White_Space: char::is_whitespace, \s */
    UC_WORD    = 1 << 1,  /* Alphabetic, M, Nd, Pc: \w less what uc_word_onig() and uc_word_regex() add */
    UC_NUMERIC = 1 << 2,  /* char::is_numeric (Unicode 17) */
    UC_PUNCT   = 1 << 3,  /* punctuation of BertPreTokenizer and Punctuation (an old Unicode, and all of ASCII's) */
    UC_CONTROL = 1 << 4,  /* what BertNormalizer's clean_text removes, but for U+FFFD */
    UC_OLD_MN  = 1 << 5,  /* what BertNormalizer's strip_accents removes */
    UC_MARK    = 1 << 6,  /* what StripAccents removes */
    UC_HAN     = 1 << 7,  /* Script=Han */
    UC_PICTO   = 1 << 8,  /* Extended_Pictographic */
    UC_ALPHA   = 1 << 9,  /* Alphabetic */
    /* The code point is a starter, does not change, and combines with none before it: text of such
     * code points is already in that form. */
    UC_NFC_INERT  = 1 << 10,
    UC_NFD_INERT  = 1 << 11,
    UC_NFKC_INERT = 1 << 12,
    UC_NFKD_INERT = 1 << 13,
};

typedef enum { GCB_OTHER, GCB_CR, GCB_LF, GCB_CONTROL, GCB_EXTEND, GCB_ZWJ, GCB_RI, GCB_PREPEND, GCB_SPACING,
               GCB_L, GCB_V, GCB_T, GCB_LV, GCB_LVT } uc_gcb;
typedef enum { INCB_NONE, INCB_LINKER, INCB_CONSONANT, INCB_EXTEND } uc_incb;
// clang-format on

typedef struct uc_record {
    int32_t lower; /* add to get the lower-case code point; U+0130 becomes two, see uc_lower() */
    uint16_t flags;
    uint8_t category, script, ccc, gcb, incb;
} uc_record;

typedef struct uc_decomp {
    uint16_t canon, compat; /* places in uc_decomp_pool */
    uint8_t n_canon, n_compat;
} uc_decomp;

typedef struct uc_pair {
    uint32_t a, b, c;
} uc_pair;

/* Code points whose category Unicode 14 does not know yet, or knows as another: for engines that are older. */
typedef struct uc_range {
    uint32_t from, to;
    uint8_t category;
} uc_range;
extern const size_t uc_n_newer;
extern const uc_range uc_newer[];

extern const uint16_t uc_stage1[], uc_stage2[];
extern const uc_record uc_records[];
extern const uint16_t uc_decomp1[], uc_decomp2[];
extern const uc_decomp uc_decomps[];
extern const uint32_t uc_decomp_pool[];
extern const size_t uc_n_pairs;
extern const uc_pair uc_pairs[];

static inline const uc_record *uc_get(uint32_t cp)
{
    return &uc_records[uc_stage2[(size_t)uc_stage1[cp >> 7] << 7 | (cp & 127)]];
}
static inline unsigned uc_flags(uint32_t cp)
{
    return uc_get(cp)->flags;
}
static inline unsigned uc_catbit(uint32_t cp)
{
    return UC_BIT(uc_get(cp)->category);
}
static inline bool uc_is_space(uint32_t cp)
{
    return cp < 0x80 ? cp == ' ' || cp - '\t' < 5 : (uc_flags(cp) & UC_SPACE) != 0;
}
/* \w of oniguruma (Split and Replace patterns) and of Rust's regex crate (Whitespace, single_word). */
static inline bool uc_word_onig(uint32_t cp)
{
    return (uc_flags(cp) & UC_WORD) != 0 || cp == 0xB2 || cp == 0xB3 || cp == 0xB9 ||
           (cp - 0xBC) < 3;
}
static inline bool uc_word_regex(uint32_t cp)
{
    return (uc_flags(cp) & UC_WORD) != 0 || cp == 0x200C || cp == 0x200D;
}
/* Lower case without regard to the surrounding text; the second code point is 0 but for U+0130. */
static inline uint32_t uc_lower(uint32_t cp, uint32_t *second)
{
    *second = cp == 0x130 ? 0x307 : 0;
    return cp + (uint32_t)uc_get(cp)->lower;
}

/* The canonical composition of two code points, Hangul included; 0 if there is none. */
uint32_t uc_compose(uint32_t a, uint32_t b);
/* The full decomposition of cp into out (at most 18 code points); the count, 1 where cp stays itself. */
#define UC_DECOMP_MAX 18
size_t uc_decompose(uint32_t out[UC_DECOMP_MAX], uint32_t cp, bool compat);
/* Bytes of the first extended grapheme cluster of valid text s[0..n), n > 0. */
size_t uc_grapheme(const char *s, size_t n);

#endif
