/* From ids to text.
 *
 * Most decoders make of a token a text that its neighbours do not change, but for the first one: then the texts of
 * all ids are made once, and decoding is copying. That table is made when enough has been decoded to pay for it.
 * Everything else, and all streaming, goes through the stages of tok_decode.c. */
#include <stdlib.h>

#include "base/pytext.h"
#include "tokenizers/tok_decode.h"
#include "tokenizers/tok_internal.h"
#include "tokenizers/tok_slow.h"

/* ---- the texts of all ids ---- */

enum { ID_SPECIAL = 1, ID_ABSENT = 2, ID_BYTE = 4 }; // flags of an id
#define SHORT_PIECE 16                               /* copied without looking at the length */

struct tok_pieces {
    tok_dec_plan plan;
    size_t n;      /* ids below it */
    uint8_t *text; /* one after the other */
    uint32_t *at;  /* [n + 1] */
    uint8_t *flags;
};

void tok_pieces_free(tok_pieces *p)
{
    if (!p) return;
    free(p->text);
    free(p->at);
    free(p->flags);
    free(p);
}

/* The bytes that a byte-level token stands for; one with other characters stands for itself. */
static void put_bytes_of(mltf_buf *out, mltf_str t)
{
    const size_t before = out->n;
    for (const char *p = t.p, *end = t.p + t.n; p < end;) {
        const int byte = tok_char_byte(utf8_next(&p));
        if (byte < 0) {
            out->n = before;
            buf_put_str(out, t);
            return;
        }
        buf_putc(out, (char)byte);
    }
}

static mltf_status fill_pieces(tok_pieces *p, const tokenizer *tk, mltf_err *err)
{
    p->at = malloc((p->n + 1) * sizeof *p->at);
    p->flags = calloc(p->n, 1);
    if (!p->at || !p->flags) return mltf_fail_memory(err);
    mltf_buf text = MLTF_BUF_INIT;
    tok_stages stages;
    TRY(tok_stages_begin_tokens(&stages, tk->decoder, err));
    buf_reserve(&text, tk->model->vocab.bytes_n + tk->model->vocab.n + SHORT_PIECE);
    mltf_status st = MLTF_OK;
    for (size_t id = 0; id < p->n && st == MLTF_OK; id++) {
        p->at[id] = (uint32_t)text.n;
        const mltf_str t = tokenizer_id_to_token(tk, (int32_t)id);
        if (!t.p) {
            p->flags[id] = ID_ABSENT;
            continue;
        }
        if (tok_added_special(&tk->added, t)) p->flags[id] = ID_SPECIAL;
        if (p->plan.byte_level)
            put_bytes_of(&text, t);
        else
            st = tok_stages_token(&stages, t, false, &text, err);
        if (p->plan.byte_fallback && st == MLTF_OK && text.p) {
            const int byte = tok_fallback_byte((mltf_str){text.p + p->at[id], text.n - p->at[id]});
            if (byte >= 0) {
                text.n = p->at[id];
                buf_putc(&text, (char)byte);
                p->flags[id] |= ID_BYTE;
            }
        }
        if (text.n > UINT32_MAX)
            st = mltf_fail(err, MLTF_UNSUPPORTED, "the vocabulary has more than 4 GiB of text");
    }
    tok_stages_release(&stages);
    p->at[p->n] = (uint32_t)text.n;
    buf_reserve(&text, SHORT_PIECE); // a short copy may read past the end
    if (st == MLTF_OK) st = buf_status(&text, err);
    p->text = (uint8_t *)text.p;
    return st;
}

/* The table, or NULL where there is none (yet): too little was decoded, the decoder is of another kind, the ids
 * are too far apart, or memory is short. */
static const tok_pieces *pieces_of(const tokenizer *tk, size_t n_decoded)
{
    const tok_pieces *ready = atomic_load_explicit(&tk->pieces, memory_order_acquire);
    if (ready) return ready;
    const tok_dec_plan plan = tok_decoder_plan(tk->decoder);
    int64_t max = tk->model->vocab.n ? tk->model->vocab.max_id : -1;
    if (tk->added.n && tk->added.max_id > max) max = tk->added.max_id;
    if (!plan.by_token || max < 0 || (size_t)max > 4 * (tk->model->vocab.n + tk->added.n) + 65536)
        return NULL;
    tokenizer *own = (tokenizer *)tk; // what is kept for speed is no part of what a tokenizer says
    pthread_mutex_lock(&own->lock);
    own->n_decoded += n_decoded;
    tok_pieces *p = atomic_load_explicit(&own->pieces, memory_order_relaxed);
    if (!p && own->n_decoded > (size_t)max / 4 && (p = calloc(1, sizeof *p))) {
        mltf_err ignored = {0};
        *p = (tok_pieces){.plan = plan, .n = (size_t)max + 1};
        if (fill_pieces(p, tk, &ignored) != MLTF_OK) {
            tok_pieces_free(p);
            p = NULL;
            own->n_decoded = 0; // not again at each call
        }
        atomic_store_explicit(&own->pieces, p, memory_order_release);
    }
    pthread_mutex_unlock(&own->lock);
    return p;
}

/* ---- decoding ---- */

static bool skipped(const tokenizer *tk, int32_t id, bool skip_special, mltf_str *token)
{
    *token = tokenizer_id_to_token(tk, id);
    return !token->p || (skip_special && tok_added_special(&tk->added, *token));
}

/* Bytes out[begin ..) that did not arrive as characters become U+FFFD: as from_utf8_lossy does where
 * `lossy`, else one for each byte. */
static void mend(mltf_buf *out, size_t begin, bool lossy)
{
    if (out->failed || utf8_valid(out->p + begin, out->n - begin)) return;
    mltf_buf fixed = MLTF_BUF_INIT;
    if (lossy)
        tok_append_lossy(&fixed, out->p + begin, out->n - begin);
    else
        for (size_t i = begin; i < out->n; i++) buf_puts(&fixed, "\xEF\xBF\xBD");
    out->n = begin;
    buf_append(out, fixed.p, fixed.n);
    out->failed = out->failed || fixed.failed;
    mltf_buf_release(&fixed);
}

/* Strip behind Fuse: leading characters of the whole text. */
static void strip_start(mltf_buf *out, size_t begin, const tok_dec_plan *plan)
{
    const char *p = out->p + begin, *end = out->p + out->n;
    for (size_t i = 0; i < plan->strip && p < end; i++) {
        const char *q = p;
        if (utf8_next(&q) != plan->strip_char) break;
        p = q;
    }
    const size_t n = (size_t)(p - (out->p + begin));
    if (!n) return;
    memmove(out->p + begin, p, (size_t)(end - p));
    out->n -= n;
}

static mltf_status put_first(const tokenizer *tk, mltf_buf *out, mltf_str token, mltf_err *err)
{
    tok_stages s;
    TRY(tok_stages_begin_tokens(&s, tk->decoder, err));
    const mltf_status st = tok_stages_token(&s, token, true, out, err);
    tok_stages_release(&s);
    return st;
}

static mltf_status copy_pieces(const tok_pieces *t, const tokenizer *tk, mltf_buf *out,
                               const int32_t *ids, size_t n, bool skip_special, mltf_err *err)
{
    const unsigned drop = ID_ABSENT | (skip_special ? ID_SPECIAL : 0), stop_at = drop | ID_BYTE;
    const size_t begin = out->n;
    size_t i = 0;
    if (t->plan.first_differs) {
        mltf_str token;
        while (i < n && skipped(tk, ids[i], skip_special, &token)) i++;
        if (i < n) TRY(put_first(tk, out, token, err));
        i++;
    }
    bool in_bytes = false; // out ends with bytes that are no text yet, from `bytes_from`
    size_t bytes_from = 0;
    while (i < n) {
        // room for a block of tokens at once
        const size_t stop = n - i > 256 ? i + 256 : n;
        size_t bytes = 0;
        for (size_t k = i; k < stop; k++) {
            const uint32_t id = (uint32_t)ids[k];
            if (id < t->n) bytes += t->at[id + 1] - t->at[id];
        }
        if (!buf_reserve(out, bytes + SHORT_PIECE)) return buf_status(out, err);
        char *to = out->p + out->n;
        for (; i < stop; i++) {
            const uint32_t id = (uint32_t)ids[i];
            if (id >= t->n) continue;
            const unsigned f = t->flags[id];
            if ((f & stop_at) || in_bytes) {
                if (f & drop) continue;
                if (!(f & ID_BYTE)) {
                    out->n = (size_t)(to - out->p);
                    in_bytes = false;
                    if (!utf8_valid(out->p + bytes_from, out->n - bytes_from)) {
                        mend(out, bytes_from, false); // longer now: a new block
                        to = out->p + out->n;
                        break;
                    }
                } else if (!in_bytes) {
                    in_bytes = true;
                    bytes_from = (size_t)(to - out->p);
                }
            }
            const size_t len = t->at[id + 1] - t->at[id];
            const uint8_t *from = t->text + t->at[id];
            if (len <= SHORT_PIECE)
                memcpy(to, from, SHORT_PIECE);
            else
                memcpy(to, from, len);
            to += len;
        }
        out->n = (size_t)(to - out->p);
    }
    if (in_bytes) mend(out, bytes_from, false);
    if (t->plan.byte_level && out->n > begin) mend(out, begin, true);
    if (t->plan.strip && out->n > begin) strip_start(out, begin, &t->plan);
    if (out->p) out->p[out->n] = '\0';
    return buf_status(out, err);
}

static mltf_status decode_ids(const tokenizer *tk, mltf_buf *out, const int32_t *ids, size_t n,
                              bool skip_special, mltf_err *err)
{
    if (tk->slow) return tok_slow_decode(tk, out, ids, n, skip_special, err);
    const tok_pieces *t = pieces_of(tk, n);
    if (t) return copy_pieces(t, tk, out, ids, n, skip_special, err);
    tok_stages s;
    TRY(tok_stages_begin(&s, tk->decoder, err));
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n && st == MLTF_OK; i++) {
        mltf_str token;
        if (!skipped(tk, ids[i], skip_special, &token)) st = tok_stages_feed(&s, token, out, err);
    }
    if (st == MLTF_OK) st = tok_stages_end(&s, out, err);
    tok_stages_release(&s);
    return st;
}

/* What CLIP and Whisper do to the text that the decoder gives. */
static bool after_decoding(const tokenizer *tk, mltf_buf *out, mltf_str text)
{
    if (tk->text_after == TOK_TEXT_CLIP) { // "</w>" is a space, and none at the ends
        mltf_buf b = MLTF_BUF_INIT;
        for (size_t i = 0; i < text.n; i++) {
            if (text.n - i >= 4 && memcmp(text.p + i, "</w>", 4) == 0) {
                buf_putc(&b, ' ');
                i += 3;
            } else {
                buf_putc(&b, text.p[i]);
            }
        }
        mltf_str t = pytext_strip(buf_str(&b));
        buf_put_str(out, t);
        const bool ok = !b.failed;
        mltf_buf_release(&b);
        return ok;
    }
    for (size_t i = 0; i < text.n;) { // <|12.34|> goes
        size_t k = i;
        if (text.n - i > 6 && text.p[i] == '<' && text.p[i + 1] == '|') {
            k = i + 2;
            size_t whole = 0, part = 0;
            while (k < text.n && text.p[k] >= '0' && text.p[k] <= '9') k++, whole++;
            if (whole && k < text.n && text.p[k] == '.') {
                k++;
                while (k < text.n && text.p[k] >= '0' && text.p[k] <= '9') k++, part++;
            }
            k = part && text.n - k >= 2 && text.p[k] == '|' && text.p[k + 1] == '>' ? k + 2 : i;
        }
        if (k > i)
            i = k;
        else
            buf_putc(out, text.p[i++]);
    }
    return true;
}

mltf_status tokenizer_decode(const tokenizer *tk, mltf_buf *out, const int32_t *ids, size_t n,
                             bool skip_special, int clean_up, mltf_err *err)
{
    const bool clean = clean_up < 0 ? tk->clean_up : clean_up != 0;
    if (skip_special && tk->text_after == TOK_TEXT_WHISPER) tok_whisper_strip_prompt(tk, &ids, &n);
    if (!clean && tk->text_after == TOK_TEXT_PLAIN)
        return decode_ids(tk, out, ids, n, skip_special, err);
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = decode_ids(tk, &text, ids, n, skip_special, err);
    if (st == MLTF_OK && tk->text_after != TOK_TEXT_PLAIN) {
        mltf_buf after = MLTF_BUF_INIT;
        if (!after_decoding(tk, &after, buf_str(&text)) || after.failed) st = mltf_fail_memory(err);
        mltf_buf_release(&text);
        text = after;
    }
    if (st == MLTF_OK && clean)
        st = tok_cleanup(out, buf_str(&text)) ? buf_status(out, err) : mltf_fail_memory(err);
    else if (st == MLTF_OK)
        buf_put_str(out, buf_str(&text));
    mltf_buf_release(&text);
    if (st == MLTF_OK) st = buf_status(out, err);
    return st;
}

struct tok_stream {
    const tokenizer *tk;
    bool skip_special;
    tok_stages stages;
    int32_t *ids; /* of a slow tokenizer: all of them */
    bool whole;   /* what is decoded may change as a whole: nothing goes out before the end */
    size_t n, cap, given;
};

mltf_status tok_stream_new(tok_stream **out, const tokenizer *tk, bool skip_special, mltf_err *err)
{
    *out = NULL;
    tok_stream *s = calloc(1, sizeof *s);
    if (!s) return mltf_fail_memory(err);
    s->tk = tk;
    s->skip_special = skip_special;
    s->whole = tk->text_after != TOK_TEXT_PLAIN || (tk->slow && tok_slow_holds(tk->slow));
    const mltf_status st = tk->slow ? MLTF_OK : tok_stages_begin(&s->stages, tk->decoder, err);
    if (st != MLTF_OK) {
        free(s);
        return st;
    }
    *out = s;
    return MLTF_OK;
}

/* Of a slow tokenizer only what is before the last word can no longer change. */
static mltf_status push_slow(tok_stream *s, mltf_buf *text, bool all, mltf_err *err)
{
    mltf_buf now = MLTF_BUF_INIT;
    if (s->whole && !all) return MLTF_OK;
    mltf_status st = tokenizer_decode(s->tk, &now, s->ids, s->n, s->skip_special, 0, err);
    size_t end = now.n;
    while (!all && end > s->given && now.p[end - 1] != ' ') end--;
    while (!all && end > s->given && now.p[end - 1] == ' ') end--;
    if (st == MLTF_OK && end > s->given) {
        buf_append(text, now.p + s->given, end - s->given);
        s->given = end;
    }
    mltf_buf_release(&now);
    return st == MLTF_OK ? buf_status(text, err) : st;
}

mltf_status tok_stream_push(tok_stream *s, int32_t id, mltf_buf *text, mltf_err *err)
{
    if (s->tk->slow || s->whole) {
        if (!ARRAY_RESERVE(s->ids, s->cap, s->n + 1)) return mltf_fail_memory(err);
        s->ids[s->n++] = id;
        return push_slow(s, text, false, err);
    }
    mltf_str t;
    if (skipped(s->tk, id, s->skip_special, &t)) return MLTF_OK;
    TRY(tok_stages_feed(&s->stages, t, text, err));
    return buf_status(text, err);
}

mltf_status tok_stream_end(tok_stream *s, mltf_buf *text, mltf_err *err)
{
    return s->tk->slow || s->whole ? push_slow(s, text, true, err)
                                   : tok_stages_end(&s->stages, text, err);
}

void tok_stream_free(tok_stream *s)
{
    if (!s) return;
    tok_stages_release(&s->stages);
    free(s->ids);
    free(s);
}
