/* Encodings: appending, merging, cutting. */
#include <stdlib.h>

#include "base/array.h"
#include "tokenizers/tok_internal.h"

void tok_encoding_release(tok_encoding *e)
{
    if (!e) return;
    free(e->ids);
    free(e->type_ids);
    free(e->offsets);
    free(e->word_ids);
    free(e->sequence_ids);
    free(e->special);
    free(e->mask);
    free(e->trim);
    *e = (tok_encoding){0};
}

void tok_enc_release(tok_enc *e)
{
    tok_encoding_release(&e->e);
    for (size_t i = 0; i < e->n_over; i++) tok_enc_release(&e->over[i]);
    free(e->over);
    *e = (tok_enc){.bare = e->bare};
}

bool tok_enc_reserve(tok_enc *x, size_t n)
{
    tok_encoding *e = &x->e;
    if (n <= e->cap) return true;
    size_t cap = e->cap + e->cap / 2;
    if (cap < n) cap = n;
    if (cap < 16) cap = 16;
    if (!array_resize(&e->ids, cap, sizeof *e->ids) ||
        !array_resize(&e->type_ids, cap, sizeof *e->type_ids))
        return false;
    if (!x->bare &&
        (!array_resize(&e->offsets, cap, sizeof *e->offsets) ||
         !array_resize(&e->word_ids, cap, sizeof *e->word_ids) ||
         !array_resize(&e->sequence_ids, cap, 1) || !array_resize(&e->special, cap, 1) ||
         !array_resize(&e->mask, cap, 1) || !array_resize(&e->trim, cap, sizeof *e->trim)))
        return false;
    e->cap = cap;
    return true;
}

bool tok_enc_append(tok_enc *to, const tok_encoding *from, size_t start, size_t end)
{
    const size_t n = end - start, at = to->e.n;
    if (!n) return true;
    if (!tok_enc_reserve(to, at + n)) return false;
    tok_encoding *e = &to->e;
    memcpy(e->ids + at, from->ids + start, n * sizeof *e->ids);
    memcpy(e->type_ids + at, from->type_ids + start, n * sizeof *e->type_ids);
    if (!to->bare) {
        memcpy(e->offsets + at, from->offsets + start, n * sizeof *e->offsets);
        memcpy(e->word_ids + at, from->word_ids + start, n * sizeof *e->word_ids);
        memcpy(e->sequence_ids + at, from->sequence_ids + start, n);
        memcpy(e->special + at, from->special + start, n);
        memcpy(e->mask + at, from->mask + start, n);
        memcpy(e->trim + at, from->trim + start, n * sizeof *e->trim);
    }
    e->n = at + n;
    return true;
}

bool tok_enc_push(tok_enc *to, int32_t id, int32_t type, bool special)
{
    if (!tok_enc_reserve(to, to->e.n + 1)) return false;
    tok_encoding *e = &to->e;
    const size_t at = e->n++;
    e->ids[at] = id;
    e->type_ids[at] = type;
    if (to->bare) return true;
    e->offsets[at] = (tok_span){0, 0};
    e->word_ids[at] = -1;
    e->sequence_ids[at] = -1;
    e->special[at] = special;
    e->mask[at] = 1;
    e->trim[at] = (tok_span){0, 0};
    return true;
}

static bool push_over(tok_enc *to, size_t *cap, tok_enc x)
{
    if (!ARRAY_RESERVE(to->over, *cap, to->n_over + 1)) return false;
    to->over[to->n_over++] = x;
    return true;
}

/* a and b one after the other, without what overflowed from them. */
static bool joined(tok_enc *out, const tok_encoding *a, const tok_encoding *b, bool bare)
{
    *out = (tok_enc){.bare = bare};
    return tok_enc_append(out, a, 0, a->n) && tok_enc_append(out, b, 0, b->n);
}

bool tok_enc_merge(tok_enc *to, const tok_enc *from)
{
    if (to->n_over || from->n_over) { // every overflowing part with every other
        tok_enc all = {.bare = to->bare}, x;
        size_t cap = 0;
        bool ok = true;
        for (size_t i = 0; ok && i < to->n_over; i++) {
            ok = joined(&x, &to->over[i].e, &from->e, to->bare) && push_over(&all, &cap, x);
            for (size_t j = 0; ok && j < from->n_over; j++)
                ok = joined(&x, &to->over[i].e, &from->over[j].e, to->bare) &&
                     push_over(&all, &cap, x);
        }
        for (size_t j = 0; ok && j < from->n_over; j++)
            ok = joined(&x, &to->e, &from->over[j].e, to->bare) && push_over(&all, &cap, x);
        for (size_t i = 0; i < to->n_over; i++) tok_enc_release(&to->over[i]);
        free(to->over);
        to->over = all.over;
        to->n_over = all.n_over;
        if (!ok) return false;
    }
    return tok_enc_append(to, &from->e, 0, from->e.n);
}

mltf_status tok_enc_truncate(tok_enc *x, size_t max, size_t stride, bool left, mltf_err *err)
{
    const size_t n = x->e.n;
    if (max >= n) return MLTF_OK;
    size_t cap = x->n_over;
    if (max == 0) { // all of it overflows
        tok_enc all = {.e = x->e, .bare = x->bare};
        x->e = (tok_encoding){0};
        if (push_over(x, &cap, all)) return MLTF_OK;
        tok_enc_release(&all);
        return mltf_fail_memory(err);
    }
    if (stride >= max)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "stride %zu must be below the length %zu that is left for text", stride,
                         max);
    tok_enc first = {.bare = x->bare};
    cap = 0;
    const size_t step = max - stride;
    bool ok = true, done = false;
    for (size_t k = 0; ok && !done && k < n; k += step) {
        size_t start, stop;
        if (left) {
            stop = n - k;
            start = stop > max ? stop - max : 0;
            done = start == 0;
        } else {
            start = k;
            stop = start + max < n ? start + max : n;
            done = stop == n;
        }
        if (k == 0) {
            ok = tok_enc_append(&first, &x->e, start, stop);
        } else {
            tok_enc part = {.bare = x->bare};
            ok = tok_enc_append(&part, &x->e, start, stop) && push_over(&first, &cap, part);
            if (!ok) tok_enc_release(&part);
        }
    }
    tok_enc_release(x);
    *x = first;
    return ok ? MLTF_OK : mltf_fail_memory(err);
}
