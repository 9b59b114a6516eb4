/* Normalizers: https://github.com/huggingface/tokenizers, tokenizers/src/normalizers (0.22.2).
 *
 * Each is a rewriting of a text code point by code point; how insertions and removals move the alignment is
 * part of what must be equal. Text that a normalizer would not change is left where it is. */
#include <stdlib.h>

#include "formats/base64.h"
#include "tokenizers/tok_internal.h"

typedef enum {
    N_BERT,
    N_STRIP,
    N_STRIP_ACCENTS,
    N_NFC,
    N_NFD,
    N_NFKC,
    N_NFKD,
    N_SEQUENCE,
    N_LOWERCASE,
    N_NMT,
    N_PRECOMPILED,
    N_REPLACE,
    N_PREPEND,
    N_BYTE_LEVEL,
} norm_type;

struct tok_normalizer {
    norm_type type;
    tok_bert_opts bert;
    bool left, right;       /* Strip */
    tok_normalizer **parts; /* Sequence */
    size_t n;
    tok_charsmap *charsmap;
    tok_pattern *pattern; /* Replace */
    char *content;        /* Replace, Prepend */
    size_t content_n;
};

/* ---- reading ---- */

void tok_normalizer_free(tok_normalizer *n)
{
    if (!n) return;
    for (size_t i = 0; i < n->n; i++) tok_normalizer_free(n->parts[i]);
    free(n->parts);
    tok_charsmap_free(n->charsmap);
    tok_pattern_free(n->pattern);
    free(n->content);
    free(n);
}

static const struct {
    const char *name;
    norm_type type;
} norm_names[] = {
    {"BertNormalizer", N_BERT},
    {"Bert", N_BERT},
    {"Strip", N_STRIP},
    {"StripAccents", N_STRIP_ACCENTS},
    {"NFC", N_NFC},
    {"NFD", N_NFD},
    {"NFKC", N_NFKC},
    {"NFKD", N_NFKD},
    {"Sequence", N_SEQUENCE},
    {"Lowercase", N_LOWERCASE},
    {"Nmt", N_NMT},
    {"Precompiled", N_PRECOMPILED},
    {"Replace", N_REPLACE},
    {"Prepend", N_PREPEND},
    {"ByteLevel", N_BYTE_LEVEL},
};

static mltf_status set_content(tok_normalizer *n, const json *v, const char *key, mltf_err *err)
{
    if (!json_is(v, JSON_STRING))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "normalizer lacks the string \"%s\"", key);
    n->content = malloc(v->s.n + 1);
    if (!n->content) return mltf_fail_memory(err);
    if (v->s.n) memcpy(n->content, v->s.p, v->s.n);
    n->content_n = v->s.n;
    return MLTF_OK;
}

static mltf_status parse_into(tok_normalizer *n, const json *spec, mltf_err *err)
{
    switch (n->type) {
    case N_BERT: {
        n->bert.clean = json_bool(json_get(spec, "clean_text"), true);
        n->bert.chinese = json_bool(json_get(spec, "handle_chinese_chars"), true);
        n->bert.lower = json_bool(json_get(spec, "lowercase"), true);
        n->bert.accents = json_bool(json_get(spec, "strip_accents"), n->bert.lower);
        return MLTF_OK;
    }
    case N_STRIP:
        n->left = json_bool(json_get(spec, "strip_left"), true);
        n->right = json_bool(json_get(spec, "strip_right"), true);
        return MLTF_OK;
    case N_SEQUENCE: {
        const json *list = json_get(spec, "normalizers");
        if (!json_is(list, JSON_ARRAY))
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "normalizer Sequence lacks the list \"normalizers\"");
        n->parts = calloc(list->a.n + 1, sizeof(tok_normalizer *));
        if (!n->parts) return mltf_fail_memory(err);
        for (size_t i = 0; i < list->a.n; i++) {
            TRY(tok_normalizer_parse(&n->parts[n->n], &list->a.items[i], err));
            if (!n->parts[n->n])
                return mltf_fail(err, MLTF_CORRUPT_FILE, "normalizer Sequence holds null");
            n->n++;
        }
        return MLTF_OK;
    }
    case N_PRECOMPILED: {
        const json *map = json_get(spec, "precompiled_charsmap");
        if (!map || map->type == JSON_NULL) { // T5 without one
            n->type = N_SEQUENCE;
            return MLTF_OK;
        }
        if (map->type != JSON_STRING)
            return mltf_fail(err, MLTF_CORRUPT_FILE, "precompiled_charsmap is not a string");
        mltf_buf blob = MLTF_BUF_INIT;
        mltf_status st = MLTF_OK;
        if (!base64_is_strict(map->s) || !base64_decode(&blob, map->s))
            st = mltf_fail(err, MLTF_CORRUPT_FILE, "precompiled_charsmap is not base64");
        if (st == MLTF_OK) st = buf_status(&blob, err);
        if (st == MLTF_OK) st = tok_charsmap_new(&n->charsmap, blob.p, blob.n, err);
        mltf_buf_release(&blob);
        return st;
    }
    case N_REPLACE: {
        const json *pattern = json_get(spec, "pattern");
        const json *text = json_get(pattern, "String"), *re = json_get(pattern, "Regex");
        if (!json_is(text, JSON_STRING) && !json_is(re, JSON_STRING))
            return mltf_fail(err, MLTF_CORRUPT_FILE, "normalizer Replace lacks its pattern");
        TRY(tok_pattern_new(&n->pattern, text ? text->s : re->s, !text, err));
        return set_content(n, json_get(spec, "content"), "content", err);
    }
    case N_PREPEND:
        return set_content(n, json_get(spec, "prepend"), "prepend", err);
    default:
        return MLTF_OK;
    }
}

mltf_status tok_normalizer_parse(tok_normalizer **out, const json *spec, mltf_err *err)
{
    *out = NULL;
    if (!spec || spec->type == JSON_NULL) return MLTF_OK;
    const mltf_str type = json_string(json_get(spec, "type"), STR(""));
    for (size_t i = 0; i < sizeof norm_names / sizeof *norm_names; i++) {
        if (!str_is(type, norm_names[i].name)) continue;
        tok_normalizer *n = calloc(1, sizeof *n);
        if (!n) return mltf_fail_memory(err);
        n->type = norm_names[i].type;
        const mltf_status st = parse_into(n, spec, err);
        if (st != MLTF_OK) {
            tok_normalizer_free(n);
            return st;
        }
        *out = n;
        return MLTF_OK;
    }
    return mltf_fail(err, MLTF_UNSUPPORTED, "normalizer type \"" STR_FMT "\" is not known",
                     STR_ARG(type));
}

bool tok_normalizer_is_bert(const tok_normalizer *n, tok_bert_opts *opts)
{
    if (n && n->type == N_SEQUENCE && n->n == 1) n = n->parts[0];
    if (!n || n->type != N_BERT) return false;
    *opts = n->bert;
    return true;
}

void tok_normalizer_set_bert(tok_normalizer *n, bool lower, int accents, bool chinese)
{
    if (!n || n->type != N_BERT) return;
    n->bert.lower = lower;
    n->bert.accents = accents < 0 ? lower : accents != 0;
    n->bert.chinese = chinese;
}

/* ---- running ---- */

typedef struct run {
    tok_norm_scratch *s;
    tok_view v;
    int which; /* the scratch text that v does not lie in */
    bool spans;
    mltf_err *err;
} run;

static void begin(run *r, tok_rewrite *w, size_t skip_chars)
{
    tok_rewrite_begin(w, &r->s->t[r->which], r->v, r->spans, skip_chars);
}

static mltf_status finish(run *r, tok_rewrite *w)
{
    if (!tok_rewrite_end(w)) return mltf_fail_memory(r->err);
    const tok_text *t = &r->s->t[r->which];
    r->v.p = t->p ? t->p : "";
    r->v.n = t->n;
    r->v.a = r->spans ? t->a : NULL;
    r->which ^= 1;
    return MLTF_OK;
}

/* An identity alignment must not be kept when bytes were inserted before everything. */
static bool odd(const run *r)
{
    return r->spans && r->v.a && r->v.n && r->v.a[0].start == r->v.a[0].end;
}

static bool is_ascii(const tok_view *v)
{
    uint64_t seen = 0;
    size_t i = 0;
    for (; i + 8 <= v->n; i += 8) {
        uint64_t w;
        memcpy(&w, v->p + i, 8);
        seen |= w;
    }
    for (; i < v->n; i++) seen |= (uint64_t)(unsigned char)v->p[i];
    return (seen & 0x8080808080808080u) == 0;
}

typedef bool (*keep_fn)(uint32_t cp);
typedef uint32_t (*map_fn)(uint32_t cp);

/* filter(): a removed code point is taken into account by the kept one before it. */
static mltf_status run_filter(run *r, keep_fn keep)
{
    const char *p = r->v.p, *end = p + r->v.n;
    bool all = !odd(r);
    while (all && p < end) all = keep(utf8_next(&p));
    if (all) return MLTF_OK;
    size_t lead = 0;
    for (p = r->v.p; p < end && !keep(utf8_next(&p));) lead++;
    tok_rewrite w;
    begin(r, &w, lead);
    p = r->v.p;
    for (size_t i = 0; i < lead; i++) utf8_next(&p);
    while (p < end) {
        const uint32_t cp = utf8_next(&p);
        int removed = 0;
        while (p < end) {
            const char *q = p;
            if (keep(utf8_next(&q))) break;
            removed++;
            p = q;
        }
        tok_rewrite_put(&w, cp, -removed);
    }
    return finish(r, &w);
}

static mltf_status run_map(run *r, map_fn map)
{
    const char *p = r->v.p, *end = p + r->v.n;
    bool same = !odd(r);
    while (same && p < end) {
        const uint32_t cp = utf8_next(&p);
        same = map(cp) == cp;
    }
    if (same) return MLTF_OK;
    tok_rewrite w;
    begin(r, &w, 0);
    for (p = r->v.p; p < end;) tok_rewrite_put(&w, map(utf8_next(&p)), 0);
    return finish(r, &w);
}

static bool bert_keeps(uint32_t cp)
{
    if (cp - ' ' < 95) return true;
    return cp != 0 && cp != 0xFFFD &&
           (cp == '\t' || cp == '\n' || cp == '\r' || !(uc_flags(cp) & UC_CONTROL));
}
static uint32_t bert_space(uint32_t cp)
{
    return uc_is_space(cp) ? ' ' : cp;
}
static bool bert_keeps_accent(uint32_t cp)
{
    return cp < 0x300 || !(uc_flags(cp) & UC_OLD_MN);
}
static bool keeps_mark(uint32_t cp)
{
    return cp < 0x300 || !(uc_flags(cp) & UC_MARK);
}
static bool is_chinese(uint32_t cp)
{
    return cp >= 0x3400 && ((cp >= 0x4E00 && cp <= 0x9FFF) || cp <= 0x4DBF ||
                            (cp >= 0x20000 && cp <= 0x2A6DF) || (cp >= 0x2A700 && cp <= 0x2B73F) ||
                            (cp >= 0x2B740 && cp <= 0x2B81F) || (cp >= 0x2B920 && cp <= 0x2CEAF) ||
                            (cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0x2F800 && cp <= 0x2FA1F));
}

static mltf_status run_chinese(run *r)
{
    const char *p = r->v.p, *end = p + r->v.n;
    bool any = odd(r);
    while (!any && p < end) any = is_chinese(utf8_next(&p));
    if (!any) return MLTF_OK;
    tok_rewrite w;
    begin(r, &w, 0);
    for (p = r->v.p; p < end;) {
        const uint32_t cp = utf8_next(&p);
        if (is_chinese(cp)) {
            tok_rewrite_put(&w, ' ', 0);
            tok_rewrite_put(&w, cp, 1);
            tok_rewrite_put(&w, ' ', 1);
        } else {
            tok_rewrite_put(&w, cp, 0);
        }
    }
    return finish(r, &w);
}

static mltf_status run_lowercase(run *r)
{
    const char *p = r->v.p, *end = p + r->v.n;
    uint32_t second;
    bool same = !odd(r);
    while (same && p < end) {
        const uint32_t cp = utf8_next(&p);
        same = uc_lower(cp, &second) == cp;
    }
    if (same) return MLTF_OK;
    if (!odd(r) && !r->v.a && is_ascii(&r->v)) { // one byte for one: the identity stays
        tok_text *t = &r->s->t[r->which];
        if (!ARRAY_RESERVE(t->p, t->cap, r->v.n + 8)) return mltf_fail_memory(r->err);
        for (size_t i = 0; i < r->v.n; i++) {
            const unsigned char c = (unsigned char)r->v.p[i];
            t->p[i] = (char)(c + (((unsigned)(c - 'A') < 26) << 5));
        }
        t->n = r->v.n;
        r->v.p = t->p;
        r->which ^= 1;
        return MLTF_OK;
    }
    tok_rewrite w;
    begin(r, &w, 0);
    for (p = r->v.p; p < end;) {
        tok_rewrite_put(&w, uc_lower(utf8_next(&p), &second), 0);
        if (second) tok_rewrite_put(&w, second, 1);
    }
    return finish(r, &w);
}

/* ---- normalization forms (UAX #15) ---- */

/* A pending code point and its change lie in a tok_span. */
static bool push_pending(tok_norm_scratch *s, size_t *n, uint32_t cp, int change)
{
    if (!ARRAY_RESERVE(s->pairs, s->pairs_cap, *n + 1)) return false;
    s->pairs[(*n)++] = (tok_span){cp, (uint32_t)change};
    return true;
}

static unsigned ccc_of(uint32_t cp)
{
    return cp < 0x300 ? 0 : uc_get(cp)->ccc;
}

/* Sort by combining class, stable. Runs are short; a long one (hostile text) is counted out in O(n). */
static bool sort_marks(tok_span *m, size_t n)
{
    if (n < 2) return true;
    if (n <= 32) {
        for (size_t i = 1; i < n; i++) {
            const tok_span x = m[i];
            const unsigned c = ccc_of(x.start);
            size_t j = i;
            for (; j > 0 && ccc_of(m[j - 1].start) > c; j--) m[j] = m[j - 1];
            m[j] = x;
        }
        return true;
    }
    tok_span *copy = malloc(n * sizeof *copy);
    if (!copy) return false;
    size_t count[257] = {0};
    memcpy(copy, m, n * sizeof *copy);
    for (size_t i = 0; i < n; i++) count[ccc_of(m[i].start) + 1]++;
    for (size_t i = 1; i < 257; i++) count[i] += count[i - 1];
    for (size_t i = 0; i < n; i++) m[count[ccc_of(copy[i].start)]++] = copy[i];
    free(copy);
    return true;
}

static mltf_status run_form(run *r, bool compat, bool compose)
{
    const unsigned inert =
        compose ? (compat ? UC_NFKC_INERT : UC_NFC_INERT) : (compat ? UC_NFKD_INERT : UC_NFD_INERT);
    const char *p = r->v.p, *end = p + r->v.n;
    bool same = !odd(r);
    while (same && p < end) {
        if ((unsigned char)*p < 0x80) {
            p++;
            continue;
        }
        same = (uc_flags(utf8_next(&p)) & inert) != 0;
    }
    if (same) return MLTF_OK;

    tok_norm_scratch *s = r->s;
    tok_rewrite w;
    begin(r, &w, 0);
    // One pass: decomposed code points gather in s->pairs until the next starter, are sorted, and then either
    // go out or are composed with the starter before them.
    size_t n = 0;      // gathered marks behind the starter
    bool have = false; // a starter is held
    uint32_t starter = 0;
    int starter_change = 0;
    bool ok = true;
    p = r->v.p;
    while (ok) {
        uint32_t dec[UC_DECOMP_MAX];
        size_t k = 0;
        const bool done = p >= end;
        if (!done) k = uc_decompose(dec, utf8_next(&p), compat);
        for (size_t i = 0; ok && (i < k || done); i++) {
            const uint32_t cp = done ? 0 : dec[i];
            const int change = i ? 1 : 0;
            if (!done && ccc_of(cp) != 0) {
                ok = push_pending(s, &n, cp, change);
                continue;
            }
            // a starter (or the end): what was gathered is complete
            ok = sort_marks(s->pairs, n);
            if (!compose) {
                for (size_t j = 0; j < n; j++)
                    tok_rewrite_put(&w, s->pairs[j].start, (int)(int32_t)s->pairs[j].end);
                n = 0;
                if (done) break;
                tok_rewrite_put(&w, cp, change);
                continue;
            }
            // compose the marks with the held starter
            size_t kept = 0;
            int last = -1; // class of the last mark that stayed
            for (size_t j = 0; j < n; j++) {
                const tok_span m = s->pairs[j];
                const int c = (int)ccc_of(m.start);
                uint32_t joined = 0;
                if (have && last < c) joined = uc_compose(starter, m.start);
                if (joined) {
                    starter = joined;
                    starter_change += (int)(int32_t)m.end - 1;
                } else {
                    s->pairs[kept++] = m;
                    last = c;
                }
            }
            n = 0;
            if (!have) {
                for (size_t j = 0; j < kept; j++)
                    tok_rewrite_put(&w, s->pairs[j].start, (int)(int32_t)s->pairs[j].end);
                kept = 0;
            }
            if (done) {
                if (have) tok_rewrite_put(&w, starter, starter_change);
                for (size_t j = 0; j < kept; j++)
                    tok_rewrite_put(&w, s->pairs[j].start, (int)(int32_t)s->pairs[j].end);
                break;
            }
            if (have && kept == 0) {
                const uint32_t joined = uc_compose(starter, cp);
                if (joined) {
                    starter = joined;
                    starter_change += change - 1;
                    continue;
                }
            }
            if (have) tok_rewrite_put(&w, starter, starter_change);
            for (size_t j = 0; j < kept; j++)
                tok_rewrite_put(&w, s->pairs[j].start, (int)(int32_t)s->pairs[j].end);
            have = true;
            starter = cp;
            starter_change = change;
        }
        if (done) break;
    }
    if (!ok) return mltf_fail_memory(r->err);
    return finish(r, &w);
}

/* ---- the rest ---- */

static bool nmt_keeps(uint32_t cp)
{
    return !((cp >= 1 && cp <= 8) || cp == 0xB || (cp >= 0xE && cp <= 0x1F) || cp == 0x7F ||
             cp == 0x8F || cp == 0x9F);
}
static uint32_t nmt_map(uint32_t cp)
{
    switch (cp) {
    case 0x09:
    case 0x0A:
    case 0x0C:
    case 0x0D:
    case 0x1680:
    case 0x200B:
    case 0x200C:
    case 0x200D:
    case 0x200E:
    case 0x200F:
    case 0x2028:
    case 0x2029:
    case 0x2581:
    case 0xFEFF:
    case 0xFFFD:
        return ' ';
    default:
        return cp;
    }
}

static mltf_status run_strip(run *r, bool left, bool right)
{
    const char *s = r->v.p;
    size_t n = r->v.n, count = 0, lead = 0, trail = 0;
    bool leading = true;
    for (const char *p = s, *end = s + n; p < end; count++) {
        const bool space = uc_is_space(utf8_next(&p));
        if (leading && space) lead++;
        leading = leading && space;
        trail = space ? trail + 1 : 0;
    }
    if (!left) lead = 0;
    if (!right) trail = 0;
    if (!lead && !trail) return MLTF_OK;
    tok_rewrite w;
    begin(r, &w, lead);
    size_t i = 0;
    for (const char *p = s, *end = s + n; p < end; i++) {
        const uint32_t cp = utf8_next(&p);
        if (i < lead || i + trail >= count) continue;
        // the reference compares a count of characters with one of bytes here; only the alignment of what comes
        // after the end could tell
        tok_rewrite_put(&w, cp, i + trail + 1 == n ? -(int)trail : 0);
    }
    return finish(r, &w);
}

static mltf_status run_prepend(run *r, const char *text, size_t text_n)
{
    if (!r->v.n) return MLTF_OK;
    // the first character is replaced by what is prepended, and then inserted again
    tok_text *t = &r->s->t[r->which];
    if (!ARRAY_RESERVE(t->p, t->cap, text_n + r->v.n + 8) ||
        (r->spans && !ARRAY_RESERVE(t->a, t->acap, text_n + r->v.n)))
        return mltf_fail_memory(r->err);
    if (text_n) memcpy(t->p, text, text_n);
    memcpy(t->p + text_n, r->v.p, r->v.n);
    t->n = text_n + r->v.n;
    if (r->spans) {
        const tok_span first = tok_view_span(&r->v, 0);
        size_t c = 1;
        while (c < r->v.n && tok_is_cont(r->v.p[c])) c++;
        // an empty prefix leaves "insert the character" at the very beginning: an empty span
        const tok_span before = text_n ? first : (tok_span){r->v.base, r->v.base};
        const tok_span own = text_n ? tok_view_span(&r->v, c - 1) : before;
        for (size_t i = 0; i < text_n; i++) t->a[i] = before;
        for (size_t i = 0; i < r->v.n; i++)
            t->a[text_n + i] = i < c ? own : tok_view_span(&r->v, i);
    }
    r->v.p = t->p;
    r->v.n = t->n;
    r->v.a = r->spans ? t->a : NULL;
    r->which ^= 1;
    return MLTF_OK;
}

static mltf_status run_replace(run *r, const tok_pattern *pattern, const char *text, size_t text_n)
{
    if (!r->v.n) return MLTF_OK;
    tok_finder f;
    TRY(tok_find_begin(&f, pattern, r->v.p, r->v.n, r->err));
    mltf_status st = MLTF_OK;
    tok_text *t = &r->s->t[r->which];
    size_t last = 0, start, end;
    bool found, any = false;
    t->n = 0;
    while ((st = tok_find_next(&f, &start, &end, &found, r->err)) == MLTF_OK) {
        if (!found && !any) break;
        any = true;
        const size_t to = found ? start : r->v.n;
        if (!ARRAY_RESERVE(t->p, t->cap, t->n + (to - last) + text_n + 8) ||
            (r->spans && !ARRAY_RESERVE(t->a, t->acap, t->n + (to - last) + text_n))) {
            st = mltf_fail_memory(r->err);
            break;
        }
        memcpy(t->p + t->n, r->v.p + last, to - last);
        if (r->spans)
            for (size_t i = last; i < to; i++) t->a[t->n + i - last] = tok_view_span(&r->v, i);
        t->n += to - last;
        if (!found) break;
        if (text_n) memcpy(t->p + t->n, text, text_n);
        if (r->spans) {
            const tok_span s =
                end < 1 ? (tok_span){r->v.base, r->v.base} : tok_view_span(&r->v, end - 1);
            for (size_t i = 0; i < text_n; i++) t->a[t->n + i] = s;
        }
        t->n += text_n;
        last = end;
    }
    tok_find_end(&f);
    if (st != MLTF_OK || !any) return st;
    r->v.p = t->p;
    r->v.n = t->n;
    r->v.a = r->spans ? t->a : NULL;
    r->which ^= 1;
    return MLTF_OK;
}

static mltf_status run_byte_level(run *r)
{
    if (!r->v.n) return MLTF_OK;
    tok_rewrite w;
    begin(r, &w, 0);
    for (size_t i = 0; i < r->v.n; i++)
        tok_rewrite_put(&w, tok_byte_char[(unsigned char)r->v.p[i]],
                        tok_is_cont(r->v.p[i]) ? 1 : 0);
    return finish(r, &w);
}

/* The last change made by a Precompiled may still grow when a later part vanishes: held back by one. */
typedef struct held {
    tok_rewrite *w;
    uint32_t cp;
    int change;
    bool any;
} held;

static void hold(held *h, uint32_t cp, int change)
{
    if (h->any) tok_rewrite_put(h->w, h->cp, h->change);
    *h = (held){h->w, cp, change, true};
}

static void hold_replacement(held *h, const char *old, size_t old_n, mltf_str new)
{
    const size_t before = utf8_count(old, old_n), after = utf8_count(new.p, new.n);
    size_t i = 0;
    for (const char *p = new.p, *end = new.p + new.n; p < end; i++)
        hold(h, utf8_next(&p), i >= before ? 1 : 0);
    if (after < before && h->any) h->change -= (int)(before - after);
}

static mltf_status run_precompiled(run *r, const tok_charsmap *map)
{
    const char *p = r->v.p, *end = p + r->v.n;
    while (p < end && tok_charsmap_keeps(map, (unsigned char)*p)) p++;
    if (p == end) return MLTF_OK;
    p = r->v.p;
    tok_rewrite w;
    begin(r, &w, 0);
    held h = {.w = &w};
    bool modified = false;
    while (p < end) {
        // before another ASCII character it is a cluster of its own
        if (tok_charsmap_keeps(map, (unsigned char)*p) &&
            (p + 1 == end || (unsigned char)p[1] < 0x80)) {
            hold(&h, (unsigned char)*p++, 0);
            continue;
        }
        const size_t g = uc_grapheme(p, (size_t)(end - p));
        if (g < 6) {
            const mltf_str to = tok_charsmap_first(map, p, g);
            if (to.p) {
                modified = true;
                hold_replacement(&h, p, g, to);
                p += g;
                continue;
            }
        }
        for (const char *q = p, *stop = p + g; q < stop;) {
            const char *c = q;
            const uint32_t cp = utf8_next(&q);
            const mltf_str to = tok_charsmap_first(map, c, (size_t)(q - c));
            if (to.p) {
                modified = true;
                hold_replacement(&h, c, (size_t)(q - c), to);
            } else {
                hold(&h, cp, 0);
            }
        }
        p += g;
    }
    if (!modified) return w.failed ? mltf_fail_memory(r->err) : MLTF_OK;
    if (h.any) tok_rewrite_put(&w, h.cp, h.change);
    return finish(r, &w);
}

static mltf_status run_one(run *r, const tok_normalizer *n)
{
    switch (n->type) {
    case N_BERT:
        if (n->bert.clean) {
            TRY(run_filter(r, bert_keeps));
            TRY(run_map(r, bert_space));
        }
        if (n->bert.chinese) TRY(run_chinese(r));
        if (n->bert.accents) {
            TRY(run_form(r, false, false));
            TRY(run_filter(r, bert_keeps_accent));
        }
        return n->bert.lower ? run_lowercase(r) : MLTF_OK;
    case N_STRIP:
        if (n->left && n->right) return run_strip(r, true, true);
        if (n->left) TRY(run_strip(r, true, false));
        return n->right ? run_strip(r, false, true) : MLTF_OK;
    case N_STRIP_ACCENTS:
        return run_filter(r, keeps_mark);
    case N_NFC:
        return run_form(r, false, true);
    case N_NFD:
        return run_form(r, false, false);
    case N_NFKC:
        return run_form(r, true, true);
    case N_NFKD:
        return run_form(r, true, false);
    case N_SEQUENCE:
        for (size_t i = 0; i < n->n; i++) TRY(run_one(r, n->parts[i]));
        return MLTF_OK;
    case N_LOWERCASE:
        return run_lowercase(r);
    case N_NMT:
        TRY(run_filter(r, nmt_keeps));
        return run_map(r, nmt_map);
    case N_PRECOMPILED:
        return run_precompiled(r, n->charsmap);
    case N_REPLACE:
        return run_replace(r, n->pattern, n->content, n->content_n);
    case N_PREPEND:
        return run_prepend(r, n->content, n->content_n);
    case N_BYTE_LEVEL:
        return run_byte_level(r);
    }
    return MLTF_OK;
}

mltf_status tok_normalize(const tok_normalizer *n, tok_norm_scratch *s, tok_view *v, bool spans,
                          mltf_err *err)
{
    if (!n) return MLTF_OK;
    run r = {.s = s, .v = *v, .spans = spans, .err = err};
    TRY(run_one(&r, n));
    *v = r.v;
    return MLTF_OK;
}
