/* What the parts of a tokenizer share. A text goes through
 *
 *     tok_added (not normalized tokens) → tok_normalize → tok_added (normalized tokens) → tok_pretok
 *     → model (tok_bpe, tok_wordpiece, tok_unigram) → truncation → tok_post
 *
 * as one run of bytes cut into pieces (tok_state). Each byte knows the bytes of the original text it came
 * from: by an explicit span, or, as long as nothing changed, by its own place. */
#ifndef MLTF_TOKENIZERS_TOK_INTERNAL_H
#define MLTF_TOKENIZERS_TOK_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/status.h"
#include "base/utf8.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/tok_vocab.h"
#include "tokenizers/unicode.h"

/* ---- text with alignment ---- */

typedef struct tok_text {
    char *p;
    size_t n, cap;
    tok_span *a; /* [n] span of the original per byte; unused while identity */
    size_t acap;
} tok_text;

/* A view of text and where it came from: a NULL means byte i is byte base + i of the original. */
typedef struct tok_view {
    const char *p;
    size_t n;
    const tok_span *a;
    uint32_t base; /* also the original start of the segment the view was cut from */
} tok_view;

void tok_text_release(tok_text *t);
/* Append n bytes that all came from *span; NULL: nobody asks where from. False: no memory. */
bool tok_text_put(tok_text *t, const char *p, size_t n, const tok_span *span);
static inline bool tok_is_cont(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}
/* The original span of byte i of a view. */
static inline tok_span tok_view_span(const tok_view *v, size_t i)
{
    if (v->a) return v->a[i];
    size_t s = i, e = i + 1;
    while (s > 0 && tok_is_cont(v->p[s])) s--;
    while (e < v->n && tok_is_cont(v->p[e])) e++;
    return (tok_span){v->base + (uint32_t)s, v->base + (uint32_t)e};
}

/* Rewriting a view code point by code point, as NormalizedString::transform does: `change` 0 replaces
 * the next code point of the source, a positive one inserts, -k replaces one and removes the k after it. */
typedef struct tok_rewrite {
    tok_text *out;
    tok_view in;
    size_t at; /* bytes of the source consumed */
    bool spans, failed;
    size_t tail; /* where the copied tail begins */
} tok_rewrite;
void tok_rewrite_begin(tok_rewrite *r, tok_text *out, tok_view in, bool spans, size_t skip_chars);
void tok_rewrite_put(tok_rewrite *r, uint32_t cp, int change);
bool tok_rewrite_end(tok_rewrite *r); /* false if out of memory */

/* ---- patterns: what Split and Replace look for ---- */

typedef struct tok_pattern tok_pattern;
typedef enum {
    TOK_PAT_STRING,
    TOK_PAT_HAND, /* a hand-written matcher that covers all text */
    TOK_PAT_PCRE,
} tok_pattern_kind;
/* The end of the match that begins at s[at]; these patterns match everywhere. */
typedef size_t (*tok_matcher)(const char *s, size_t n, size_t at);

mltf_status tok_pattern_new(tok_pattern **out, mltf_str source, bool is_regex, mltf_err *err);
void tok_pattern_free(tok_pattern *p);
tok_matcher tok_pattern_hand(const tok_pattern *p); /* NULL if there is none */

typedef struct tok_finder {
    const tok_pattern *pattern;
    const char *s;
    size_t n, from;
    size_t last_end; /* of the last match; SIZE_MAX before the first */
    void *scratch;
} tok_finder;
mltf_status tok_find_begin(tok_finder *f, const tok_pattern *p, const char *s, size_t n,
                           mltf_err *err);
/* *found false at the end. */
mltf_status tok_find_next(tok_finder *f, size_t *start, size_t *end, bool *found, mltf_err *err);
void tok_find_end(tok_finder *f);
/* The hand-written matcher for a pattern of the ecosystem, or NULL. */
tok_matcher tok_known_pattern(mltf_str source);
size_t tok_match_gpt2(const char *s, size_t n, size_t at);
/* Where a text is cut before a pattern looks at the parts: the end of the part that begins at s[at].
 * Each numeric character alone; or what two isolating splits do together, NULL for others. */
size_t tok_segment_digit(const char *s, size_t n, size_t at);
tok_matcher tok_known_segments(tok_matcher first, tok_matcher second);

/* ---- normalizers ---- */

typedef struct tok_normalizer tok_normalizer;
mltf_status tok_normalizer_parse(tok_normalizer **out, const json *spec,
                                 mltf_err *err); /* null gives NULL */
void tok_normalizer_free(tok_normalizer *n);
typedef struct tok_norm_scratch {
    tok_text t[2];
    tok_span *pairs; /* normalization forms: pending code points */
    size_t pairs_cap;
} tok_norm_scratch;
/* Normalize *v; the result lies in v itself or in scratch until the next call. spans: keep alignment. */
mltf_status tok_normalize(const tok_normalizer *n, tok_norm_scratch *s, tok_view *v, bool spans,
                          mltf_err *err);
/* Where the normalizer is one that fast paths know. */
typedef enum {
    TOK_NORM_OTHER,
    TOK_NORM_NONE,
    TOK_NORM_BERT,
    TOK_NORM_NFC,
    TOK_NORM_METASPACE
} tok_norm_kind;
typedef struct tok_bert_opts {
    bool clean, chinese, accents, lower;
} tok_bert_opts;
bool tok_normalizer_is_bert(const tok_normalizer *n, tok_bert_opts *opts);
/* Of a BertNormalizer that stands alone; accents -1: as lower says. */
void tok_normalizer_set_bert(tok_normalizer *n, bool lower, int accents, bool chinese);

typedef struct tok_charsmap tok_charsmap;
mltf_status tok_charsmap_new(tok_charsmap **out, const void *blob, size_t n, mltf_err *err);
void tok_charsmap_free(tok_charsmap *m);
/* The replacement of the shortest prefix of s that has one (that is what the reference takes); p NULL: none. */
mltf_str tok_charsmap_first(const tok_charsmap *m, const char *s, size_t n);
/* Whether c is a printable ASCII character that has no replacement. */
bool tok_charsmap_keeps(const tok_charsmap *m, unsigned char c);
/* sentencepiece's own: the longest prefix; *used is its length. */
mltf_str tok_charsmap_longest(const tok_charsmap *m, const char *s, size_t n, size_t *used);

/* ---- pieces ---- */

typedef struct tok_piece {
    uint32_t start, end; /* bytes of the state's text */
    int32_t added;       /* id of an added token, or -1 */
} tok_piece;

typedef struct tok_state {
    tok_view v;
    tok_piece *pieces;
    size_t n, cap;
    /* spares */
    tok_piece *next;
    size_t next_cap;
    tok_span *matches; /* end of a match or gap, and whether it is a match */
    size_t matches_cap;
    tok_text text[2];
} tok_state;

typedef struct tok_pretok tok_pretok;
mltf_status tok_pretok_parse(tok_pretok **out, const json *spec, mltf_err *err);
void tok_pretok_free(tok_pretok *p);
/* Cut the pieces of s that are not added tokens. bytes_later: a ByteLevel step leaves bytes as they are,
 * because the model reads bytes. */
mltf_status tok_pretokenize(const tok_pretok *p, tok_state *s, bool spans, bool bytes_later,
                            mltf_err *err);
/* The last step is ByteLevel, and no other is. */
bool tok_pretok_byte_level(const tok_pretok *p);
bool tok_pretok_set_prefix_space(
    tok_pretok *p, bool on); /* of a ByteLevel that stands alone; false: there is none */
bool tok_pretok_needs_spans(const tok_pretok *p); /* Metaspace "first" asks where a piece began */
/* A hand-written split followed by ByteLevel without regex, or ByteLevel itself: what bytes-only fast paths
 * handle. *segment: where the text is cut before; NULL: nowhere. */
tok_matcher tok_pretok_matcher(const tok_pretok *p, bool *prefix_space, tok_matcher *segment);
bool tok_pretok_is_bert(const tok_pretok *p);
typedef enum { TOK_PREPEND_ALWAYS, TOK_PREPEND_FIRST, TOK_PREPEND_NEVER } tok_prepend;

/* The byte alphabet of byte-level BPE. */
extern const uint16_t tok_byte_char[256];
int tok_char_byte(uint32_t cp); /* -1: not of the alphabet */

/* ---- models ---- */

typedef struct tok_token {
    int32_t id;
    uint32_t start, end; /* bytes of the state's text */
    uint32_t piece;      /* the piece it came from */
} tok_token;
#define TOK_FROM_ADDED 0x80000000u /* in .piece: an added token, whose value is its text */

typedef struct tok_symbol {
    int32_t id;
    uint32_t len;
    int32_t prev, next;
} tok_symbol;

typedef struct tok_cache tok_cache;

/* What one encoding needs; kept by the tokenizer between calls. */
typedef struct tok_scratch tok_scratch;
struct tok_scratch {
    tok_scratch *next;
    tok_state state;
    tok_norm_scratch norm;
    tok_text text;
    tok_token *tokens;
    size_t n_tokens, tokens_cap;
    tok_symbol *symbols;
    size_t symbols_cap;
    uint64_t *heap;
    size_t heap_cap;
    void *lattice;
    size_t lattice_cap;
    tok_cache *cache;
    size_t limit; /* bytes that may be read from the text the model is given */
};

static inline bool tok_emit(tok_scratch *s, int32_t id, size_t start, size_t end, size_t piece)
{
    if (!ARRAY_RESERVE(s->tokens, s->tokens_cap, s->n_tokens + 1)) return false;
    s->tokens[s->n_tokens++] = (tok_token){id, (uint32_t)start, (uint32_t)end, (uint32_t)piece};
    return true;
}

typedef struct tok_model tok_model;
typedef mltf_status (*tok_model_fn)(const tok_model *m, tok_scratch *s, const char *p, size_t at,
                                    size_t n, size_t piece, mltf_err *err);
struct tok_model {
    tok_model_fn tokenize; /* emit the tokens of p[at .. at + n), n > 0 */
    void (*free)(tok_model *m);
    tok_vocab vocab;
    bool bytes;            /* BPE that reads raw bytes instead of the byte alphabet */
    int32_t *byte_ids;     /* [256] ids of "<0x00>" ..., or NULL */
    bool values_from_text; /* Unigram: a token's value is its text */
    char continuing[16];   /* continuing_subword_prefix, NUL-terminated; empty: none */
};
mltf_status tok_model_parse(tok_model **out, const json *spec, const tok_pretok *pretok,
                            mltf_err *err);
void tok_model_free(tok_model *m);
bool tok_model_is_wordpiece(const tok_model *m);

typedef struct tok_bpe_config {
    mltf_str unk, prefix, suffix; /* p NULL: none */
    bool fuse_unk, byte_fallback, ignore_merges, bytes;
} tok_bpe_config;
typedef struct tok_merge {
    mltf_str left, right;
} tok_merge;
/* Takes over *vocab. */
mltf_status tok_bpe_new(tok_model **out, tok_vocab *vocab, const tok_merge *merges, size_t n,
                        const tok_bpe_config *c, mltf_err *err);
mltf_status tok_wordpiece_new(tok_model **out, tok_vocab *vocab, mltf_str unk, mltf_str prefix,
                              size_t max_chars, mltf_err *err);
mltf_status tok_wordlevel_new(tok_model **out, tok_vocab *vocab, mltf_str unk, mltf_err *err);
/* unk < 0: none. scores [vocab->n] by id. */
mltf_status tok_unigram_new(tok_model **out, tok_vocab *vocab, const double *scores, int64_t unk,
                            bool byte_fallback, mltf_err *err);

/* ---- added tokens ---- */

typedef struct tok_added_token {
    mltf_str content;
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
} tok_added_token;

typedef struct tok_trie tok_trie; /* leftmost-longest search for several strings */

typedef struct tok_added {
    mltf_arena arena;
    tok_added_token *tokens; /* one an id; of tokens added again the last */
    size_t n, cap;
    tok_added_token *special, *plain; /* as they first came: these are searched for */
    size_t n_special, special_cap, n_plain, plain_cap;
    tok_vocab by_content;  /* → id */
    tok_vocab by_id;       /* the id's four bytes → place in tokens */
    tok_vocab special_set; /* contents that skip_special_tokens leaves out */
    int64_t max_id;        /* -1: none yet */
    tok_trie *raw, *normalized;
    bool encode_special;
} tok_added;

void tok_added_release(tok_added *a);
/* Add one (AddedVocabulary::add_tokens): an id is found in the model or made. Call tok_added_refresh() after the last. */
mltf_status tok_added_add(tok_added *a, const tok_model *m, const tok_added_token *t,
                          mltf_err *err);
mltf_status tok_added_put(tok_added *a, const tok_added_token *t,
                          mltf_err *err); /* with its own id */
mltf_status tok_added_refresh(tok_added *a, const tok_normalizer *n, mltf_err *err);
const tok_added_token *tok_added_by_id(const tok_added *a, int32_t id);
bool tok_added_special(const tok_added *a, mltf_str content);
/* Cut text at the tokens of a trie: calls emit for each part in order. */
typedef mltf_status (*tok_added_emit)(void *user, int32_t id, size_t start, size_t end,
                                      mltf_err *err);
mltf_status tok_added_split(const tok_added *a, const tok_trie *t, const char *p, size_t n,
                            tok_added_emit emit, void *user, mltf_err *err);
bool tok_trie_empty(const tok_trie *t);

/* ---- post-processors ---- */

typedef struct tok_post tok_post;
mltf_status tok_post_parse(tok_post **out, const json *spec, mltf_err *err);
void tok_post_free(tok_post *p);
size_t tok_post_added(const tok_post *p, bool pair);

/* An encoding on its way: tok_encoding and what overflowed. */
typedef struct tok_enc tok_enc;
struct tok_enc {
    tok_encoding e;
    tok_enc *over; /* [n_over] */
    size_t n_over;
    bool bare; /* only ids and type_ids */
};
#define TOK_TRIM_ONE 0x80000000u /* in trim.start: a single space leads */
void tok_enc_release(tok_enc *e);
bool tok_enc_reserve(tok_enc *e, size_t n);
bool tok_enc_append(tok_enc *to, const tok_encoding *from, size_t start, size_t end);
bool tok_enc_push(tok_enc *to, int32_t id, int32_t type, bool special);
bool tok_enc_merge(tok_enc *to, const tok_enc *from); /* from keeps what it has */
mltf_status tok_enc_truncate(tok_enc *e, size_t max, size_t stride, bool left, mltf_err *err);
/* parts[0 .. n) become *out, which must be empty. NULL p: the default. */
mltf_status tok_post_process(const tok_post *p, tok_enc *out, tok_enc *parts, size_t n,
                             bool add_special, mltf_err *err);
bool tok_post_trims(const tok_post *p);
void tok_post_set_trim(tok_post *p, bool prefix_space,
                       bool trim); /* of Roberta's or ByteLevel's, standing alone */

/* ---- decoders ---- */

typedef struct tok_decoder tok_decoder;
mltf_status tok_decoder_parse(tok_decoder **out, const json *spec, mltf_err *err);
void tok_decoder_free(tok_decoder *d);
/* Append the text of tokens[0 .. n). NULL d joins them with spaces. */
mltf_status tok_decode_chain(const tok_decoder *d, mltf_buf *out, const mltf_str *tokens, size_t n,
                             mltf_err *err);
bool tok_cleanup(mltf_buf *out, mltf_str text); /* clean_up_tokenization() */
void tok_append_lossy(mltf_buf *out, const char *p,
                      size_t n); /* bad bytes become U+FFFD, as from_utf8_lossy */

/* ---- the tokenizer ---- */

typedef struct tok_truncation {
    bool on, left;
    size_t max_length, stride;
    tok_truncate strategy;
} tok_truncation;
typedef struct tok_padding {
    bool on, left;
    size_t fixed; /* 0: the longest of the batch */
    size_t multiple;
    int32_t id, type_id;
    mltf_str token;
} tok_padding;

typedef struct tok_pieces tok_pieces;
void tok_pieces_free(tok_pieces *p);
typedef struct tok_slow tok_slow; /* an engine for classes that have no fast form */

struct tokenizer {
    mltf_arena arena;
    json_doc config; /* tokenizer_config.json */
    tok_normalizer *normalizer;
    tok_pretok *pretok;
    tok_model *model;
    tok_post *post;
    tok_decoder *decoder;
    tok_added added;
    tok_truncation truncation; /* stored in tokenizer.json */
    tok_padding padding;
    tok_slow *slow;
    uint8_t *slow_attributes; /* by place in added.tokens: 1 lstrip, 2 rstrip */
    enum {
        TOK_TEXT_PLAIN,
        TOK_TEXT_CLIP,
        TOK_TEXT_WHISPER
    } text_after; /* what a class does to decoded text */

    /* from tokenizer_config.json and the class */
    const char *class_name;
    mltf_str special[TOK_SPECIAL_COUNT];
    mltf_str *extra_special; /* additional_special_tokens */
    size_t n_extra_special;
    size_t model_max_length;
    int32_t pad_type_id;
    bool pad_left, truncate_left, adds_type_ids, clean_up;
    mltf_str *template_names, *templates;
    size_t n_templates;

    /* made by tok_finish() */
    size_t vocab_size;
    bool needs_spans;
    bool no_split_words; /* the class refuses words without add_prefix_space */
    struct {
        tok_matcher match;
        tok_matcher segment; /* cuts the text before the pattern does; NULL: nothing */
    } bytes_path;
    bool bert_path;

    /* kept for speed, changed by those who only read */
    pthread_mutex_t lock;
    tok_scratch *idle;
    _Atomic(tok_pieces *) pieces; /* texts of all ids, once enough was decoded */
    size_t n_decoded;
};

/* Leave out a prompt before <|startoftranscript|>, as Whisper's decode(skip_special_tokens=True) does. */
void tok_whisper_strip_prompt(const tokenizer *tk, const int32_t **ids, size_t *n);
mltf_status tokenizer_parse(tokenizer *tk, const json *root, mltf_err *err); /* tokenizer.json */
mltf_status tok_finish(tokenizer *tk, mltf_err *err);
tokenizer *tok_alloc(mltf_err *err);

#endif
