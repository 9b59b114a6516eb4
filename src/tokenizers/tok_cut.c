/* Cutting the pieces of a text into smaller ones.
 *
 * Each way of cutting is a function over one piece, which appends what becomes of it to s->next. */
#include "tokenizers/tok_cut.h"

/* Cut `piece`, which is no added token; *n pieces lie in s->next. `how`: whatever this way needs to know. */
typedef mltf_status (*cut_fn)(tok_state *s, size_t *n, tok_piece piece, const void *how,
                              mltf_err *err);

bool tok_piece_add(tok_state *s, size_t *n, size_t start, size_t end, int32_t added)
{
    if (start >= end) return true;
    if (!ARRAY_RESERVE(s->next, s->next_cap, *n + 1)) return false;
    s->next[(*n)++] = (tok_piece){(uint32_t)start, (uint32_t)end, added};
    return true;
}

void tok_pieces_swap(tok_state *s, size_t n)
{
    tok_piece *p = s->pieces;
    const size_t cap = s->cap;
    s->pieces = s->next;
    s->cap = s->next_cap;
    s->n = n;
    s->next = p;
    s->next_cap = cap;
}

static inline mltf_status cut_each(tok_state *s, cut_fn cut, const void *how, mltf_err *err)
{
    size_t n = 0;
    for (size_t k = 0; k < s->n; k++) {
        const tok_piece piece = s->pieces[k];
        if (piece.added < 0)
            TRY(cut(s, &n, piece, how, err));
        else if (!tok_piece_add(s, &n, piece.start, piece.end, piece.added))
            return mltf_fail_memory(err);
    }
    tok_pieces_swap(s, n);
    return MLTF_OK;
}

/* ---- at separators ---- */

/* Matches and gaps between them, in order: .start is where one ends, .end whether it is a match. */
static bool add_match(tok_state *s, size_t *n, size_t end, bool match)
{
    if (!ARRAY_RESERVE(s->matches, s->matches_cap, *n + 1)) return false;
    s->matches[(*n)++] = (tok_span){(uint32_t)end, match};
    return true;
}

static bool apply_behaviour(tok_state *s, size_t *n_out, size_t from, size_t n, cut_behaviour b)
{
    size_t start = from; // of match i
    bool previous = false;
    switch (b) {
    case CUT_REMOVED:
    case CUT_ISOLATED:
        for (size_t i = 0; i < n; start = s->matches[i++].start)
            if ((b == CUT_ISOLATED || !s->matches[i].end) &&
                !tok_piece_add(s, n_out, start, s->matches[i].start, -1))
                return false;
        return true;
    case CUT_CONTIGUOUS:
    case CUT_WITH_PREVIOUS: {
        size_t open = from, end = from; // the piece that may still grow
        for (size_t i = 0; i < n; i++) {
            const bool match = s->matches[i].end != 0;
            const bool joins = b == CUT_CONTIGUOUS ? match == previous : match && !previous;
            if (i > 0 && !joins) {
                if (!tok_piece_add(s, n_out, open, end, -1)) return false;
                open = end;
            }
            end = s->matches[i].start;
            previous = match;
        }
        return n == 0 || tok_piece_add(s, n_out, open, end, -1);
    }
    case CUT_WITH_NEXT: {
        // decided from the end; a mark on the match that another joins keeps the order
        for (size_t i = n; i-- > 0;) {
            const bool match = (s->matches[i].end & 1) != 0;
            if (i + 1 < n && match && !previous)
                s->matches[i].end |= 2; // goes with the one behind it
            previous = match;
        }
        size_t open = from;
        for (size_t i = 0; i < n; i++) {
            if (s->matches[i].end & 2) continue;
            if (!tok_piece_add(s, n_out, open, s->matches[i].start, -1)) return false;
            open = s->matches[i].start;
        }
        return true;
    }
    }
    return true;
}

typedef struct char_cut {
    cut_test test;
    uint32_t arg;
    cut_behaviour b;
} char_cut;

static mltf_status at_chars(tok_state *s, size_t *n, tok_piece piece, const void *how,
                            mltf_err *err)
{
    const char_cut *c = how;
    size_t m = 0;
    bool ok = true;
    const char *base = s->v.p, *p = base + piece.start, *end = base + piece.end, *gap = p;
    while (ok && p < end) {
        const char *at = p;
        if (!c->test(utf8_next(&p), c->arg)) continue;
        if (gap < at) ok = add_match(s, &m, (size_t)(at - base), false);
        ok = ok && add_match(s, &m, (size_t)(p - base), true);
        gap = p;
    }
    if (ok && gap < end) ok = add_match(s, &m, piece.end, false);
    return ok && apply_behaviour(s, n, piece.start, m, c->b) ? MLTF_OK : mltf_fail_memory(err);
}

mltf_status tok_cut_chars(tok_state *s, cut_test test, uint32_t arg, cut_behaviour b, mltf_err *err)
{
    return cut_each(s, at_chars, &(char_cut){test, arg, b}, err);
}

typedef struct pattern_cut {
    const tok_pattern *pattern;
    bool invert;
    cut_behaviour b;
} pattern_cut;

static mltf_status at_pattern(tok_state *s, size_t *n, tok_piece piece, const void *how,
                              mltf_err *err)
{
    const pattern_cut *c = how;
    tok_finder f;
    TRY(tok_find_begin(&f, c->pattern, s->v.p + piece.start, piece.end - piece.start, err));
    size_t m = 0, last = 0, start = 0, end = 0;
    bool found, ok = true;
    mltf_status st;
    while ((st = tok_find_next(&f, &start, &end, &found, err)) == MLTF_OK && found && ok) {
        if (last != start) ok = add_match(s, &m, piece.start + start, c->invert);
        ok = ok && add_match(s, &m, piece.start + end, !c->invert);
        last = end;
    }
    tok_find_end(&f);
    TRY(st);
    if (ok && last != piece.end - piece.start) ok = add_match(s, &m, piece.end, c->invert);
    return ok && apply_behaviour(s, n, piece.start, m, c->b) ? MLTF_OK : mltf_fail_memory(err);
}

mltf_status tok_cut_pattern(tok_state *s, const tok_pattern *pattern, bool invert, cut_behaviour b,
                            mltf_err *err)
{
    return cut_each(s, at_pattern, &(pattern_cut){pattern, invert, b}, err);
}

/* ---- in their own ways ---- */

static mltf_status by_matcher(tok_state *s, size_t *n, tok_piece piece, const void *how,
                              mltf_err *err)
{
    const tok_matcher match = *(const tok_matcher *)how;
    const char *p = s->v.p + piece.start;
    const size_t len = piece.end - piece.start;
    for (size_t at = 0; at < len;) {
        const size_t end = match(p, len, at);
        if (!tok_piece_add(s, n, piece.start + at, piece.start + end, -1))
            return mltf_fail_memory(err);
        at = end;
    }
    return MLTF_OK;
}

mltf_status tok_cut_matcher(tok_state *s, tok_matcher match, mltf_err *err)
{
    return cut_each(s, by_matcher, &match, err);
}

/* Runs of characters of one kind, from `kind_of`. A run of kind 0 is lost. */
static inline mltf_status cut_runs(tok_state *s, size_t *n, tok_piece piece,
                                   unsigned (*kind_of)(uint32_t cp, unsigned before), mltf_err *err)
{
    const char *base = s->v.p, *p = base + piece.start, *end = base + piece.end, *open = p;
    unsigned kind = 0;
    while (p < end) {
        const char *at = p;
        const unsigned now = kind_of(utf8_next(&p), kind);
        if (now == kind) continue;
        if (kind && !tok_piece_add(s, n, (size_t)(open - base), (size_t)(at - base), -1))
            return mltf_fail_memory(err);
        open = at;
        kind = now;
    }
    if (kind && !tok_piece_add(s, n, (size_t)(open - base), piece.end, -1))
        return mltf_fail_memory(err);
    return MLTF_OK;
}

static unsigned word_kind(uint32_t cp, unsigned before)
{
    (void)before;
    return uc_word_regex(cp) ? 1 : uc_is_space(cp) ? 0 : 2;
}

static mltf_status by_words(tok_state *s, size_t *n, tok_piece piece, const void *how,
                            mltf_err *err)
{
    (void)how;
    return cut_runs(s, n, piece, word_kind, err);
}

mltf_status tok_cut_words(tok_state *s, mltf_err *err)
{
    return cut_each(s, by_words, NULL, err);
}

/* A character of no script goes with those before it; what comes before the first script is lost, as in the
 * reference. */
static unsigned script_kind(uint32_t cp, unsigned before)
{
    const unsigned script = uc_get(cp)->script;
    return script ? script : before;
}

static mltf_status by_scripts(tok_state *s, size_t *n, tok_piece piece, const void *how,
                              mltf_err *err)
{
    (void)how;
    return cut_runs(s, n, piece, script_kind, err);
}

mltf_status tok_cut_scripts(tok_state *s, mltf_err *err)
{
    return cut_each(s, by_scripts, NULL, err);
}

static mltf_status by_length(tok_state *s, size_t *n, tok_piece piece, const void *how,
                             mltf_err *err)
{
    const size_t chars = *(const size_t *)how;
    for (size_t at = piece.start; at < piece.end;) {
        size_t end = at;
        for (size_t i = 0; i < chars && end < piece.end; i++) {
            end++;
            while (end < piece.end && tok_is_cont(s->v.p[end])) end++;
        }
        if (!tok_piece_add(s, n, at, end, -1)) return mltf_fail_memory(err);
        at = end;
    }
    return MLTF_OK;
}

mltf_status tok_cut_length(tok_state *s, size_t chars, mltf_err *err)
{
    return cut_each(s, by_length, &chars, err);
}
