/* Text that remembers where its bytes came from. */
#include "tokenizers/tok_internal.h"

#include <stdlib.h>

void tok_text_release(tok_text *t)
{
    free(t->p);
    free(t->a);
    *t = (tok_text){0};
}

bool tok_text_put(tok_text *t, const char *p, size_t n, const tok_span *span)
{
    if (!ARRAY_RESERVE(t->p, t->cap, t->n + n + 8)) return false;
    memcpy(t->p + t->n, p, n);
    if (span) {
        if (!ARRAY_RESERVE(t->a, t->acap, t->n + n)) return false;
        for (size_t i = 0; i < n; i++) t->a[t->n + i] = *span;
    }
    t->n += n;
    return true;
}

static bool put_bytes(tok_rewrite *r, const char *p, size_t n, tok_span span)
{
    return tok_text_put(r->out, p, n, r->spans ? &span : NULL);
}

/* Copy source bytes [from, to) with their spans. */
static bool copy_source(tok_rewrite *r, size_t from, size_t to)
{
    while (from < to) {
        size_t len = 1;
        while (from + len < to && tok_is_cont(r->in.p[from + len])) len++;
        if (!r->spans) len = to - from;
        const tok_span s = r->spans ? tok_view_span(&r->in, from) : (tok_span){0, 0};
        if (!put_bytes(r, r->in.p + from, len, s)) return false;
        from += len;
    }
    return true;
}

static size_t char_len(const tok_view *v, size_t at)
{
    size_t len = 1;
    while (at + len < v->n && tok_is_cont(v->p[at + len])) len++;
    return len;
}

void tok_rewrite_begin(tok_rewrite *r, tok_text *out, tok_view in, bool spans, size_t skip_chars)
{
    *r = (tok_rewrite){.out = out, .in = in, .spans = spans, .tail = in.n};
    out->n = 0;
    // What was inserted before everything has an empty span. The reference's transform() addresses the
    // original, so it leaves such a beginning in place, and adds the whole new text behind it.
    if (spans && in.a && in.n && in.a[0].start == in.a[0].end) {
        size_t start = 0;
        while (start < in.n && in.a[start].start == in.a[start].end) start++;
        if (!copy_source(r, 0, start)) r->failed = true;
        r->at = start;
    }
    for (size_t i = 0; i < skip_chars && r->at < in.n; i++) r->at += char_len(&in, r->at);
}

void tok_rewrite_put(tok_rewrite *r, uint32_t cp, int change)
{
    if (r->failed) return;
    tok_span span = {0, 0};
    if (change > 0) {
        if (r->spans)
            span =
                r->at < 1 ? (tok_span){r->in.base, r->in.base} : tok_view_span(&r->in, r->at - 1);
    } else {
        if (r->spans && r->in.n)
            span = tok_view_span(&r->in, r->at < r->in.n ? r->at : r->in.n - 1);
        for (int i = 0; i <= -change && r->at < r->in.n; i++) r->at += char_len(&r->in, r->at);
    }
    char buf[4];
    if (!put_bytes(r, buf, utf8_encode(buf, cp), span)) r->failed = true;
}

bool tok_rewrite_end(tok_rewrite *r)
{
    return !r->failed;
}
