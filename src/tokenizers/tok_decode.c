/* Decoders: https://github.com/huggingface/tokenizers, tokenizers/src/decoders (0.22.2).
 *
 * A decoder turns a list of tokens into another list; the text is the last list, joined. Every decoder is
 * written as a stage that takes tokens one after the other and hands on what can no longer change, so that
 * decoding at once and streaming are one thing. A stage behind Fuse or ByteLevel sees a single token that
 * arrives in parts. */
#include <stdlib.h>

#include "tokenizers/tok_decode.h"
#include "base/ascii.h"

typedef enum {
    D_BPE,
    D_BYTE_LEVEL,
    D_WORDPIECE,
    D_METASPACE,
    D_CTC,
    D_SEQUENCE,
    D_REPLACE,
    D_FUSE,
    D_STRIP,
    D_BYTE_FALLBACK,
} dec_type;

struct tok_decoder {
    dec_type type;
    tok_decoder **parts;
    size_t n;
    char *a, *b; /* suffix, prefix, content, pad_token; word_delimiter_token */
    size_t a_n, b_n;
    bool cleanup, prepends;
    uint32_t c; /* replacement of Metaspace, content of Strip */
    size_t start, stop;
    tok_pattern *pattern;
};

/* ---- reading ---- */

void tok_decoder_free(tok_decoder *d)
{
    if (!d) return;
    for (size_t i = 0; i < d->n; i++) tok_decoder_free(d->parts[i]);
    free(d->parts);
    free(d->a);
    free(d->b);
    tok_pattern_free(d->pattern);
    free(d);
}

static mltf_status string_of(char **out, size_t *n, const json *spec, const char *key,
                             mltf_err *err)
{
    const json *v = json_get(spec, key);
    if (!json_is(v, JSON_STRING))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "decoder lacks the string \"%s\"", key);
    *out = malloc(v->s.n + 1);
    if (!*out) return mltf_fail_memory(err);
    if (v->s.n) memcpy(*out, v->s.p, v->s.n);
    (*out)[v->s.n] = '\0';
    *n = v->s.n;
    return MLTF_OK;
}

static mltf_status char_of(uint32_t *out, const json *spec, const char *key, mltf_err *err)
{
    const mltf_str s = json_string(json_get(spec, key), STR(""));
    size_t len = 0;
    *out = s.n ? utf8_decode(s.p, s.n, &len) : UTF8_BAD;
    if (*out == UTF8_BAD || len != s.n)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "\"%s\" of a decoder must be one character", key);
    return MLTF_OK;
}

static const struct {
    const char *name;
    dec_type type;
} dec_names[] = {
    {"BPEDecoder", D_BPE},
    {"ByteLevel", D_BYTE_LEVEL},
    {"WordPiece", D_WORDPIECE},
    {"Metaspace", D_METASPACE},
    {"CTC", D_CTC},
    {"Sequence", D_SEQUENCE},
    {"Replace", D_REPLACE},
    {"Fuse", D_FUSE},
    {"Strip", D_STRIP},
    {"ByteFallback", D_BYTE_FALLBACK},
};

static mltf_status parse_into(tok_decoder *d, const json *spec, mltf_err *err)
{
    switch (d->type) {
    case D_BPE:
        return string_of(&d->a, &d->a_n, spec, "suffix", err);
    case D_WORDPIECE:
        d->cleanup = json_bool(json_get(spec, "cleanup"), true);
        return string_of(&d->a, &d->a_n, spec, "prefix", err);
    case D_METASPACE:
        d->prepends =
            !str_is(json_string(json_get(spec, "prepend_scheme"), STR("always")), "never") &&
            json_bool(json_get(spec, "add_prefix_space"), true);
        return char_of(&d->c, spec, "replacement", err);
    case D_CTC:
        d->cleanup = json_bool(json_get(spec, "cleanup"), true);
        TRY(string_of(&d->a, &d->a_n, spec, "pad_token", err));
        return string_of(&d->b, &d->b_n, spec, "word_delimiter_token", err);
    case D_SEQUENCE: {
        const json *list = json_get(spec, "decoders");
        if (!json_is(list, JSON_ARRAY))
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "decoder Sequence lacks the list \"decoders\"");
        d->parts = calloc(list->a.n + 1, sizeof(tok_decoder *));
        if (!d->parts) return mltf_fail_memory(err);
        for (size_t i = 0; i < list->a.n; i++) {
            TRY(tok_decoder_parse(&d->parts[d->n], &list->a.items[i], err));
            if (!d->parts[d->n])
                return mltf_fail(err, MLTF_CORRUPT_FILE, "decoder Sequence holds null");
            d->n++;
        }
        return MLTF_OK;
    }
    case D_REPLACE: {
        const json *pattern = json_get(spec, "pattern");
        const json *text = json_get(pattern, "String"), *re = json_get(pattern, "Regex");
        if (!json_is(text, JSON_STRING) && !json_is(re, JSON_STRING))
            return mltf_fail(err, MLTF_CORRUPT_FILE, "decoder Replace lacks its pattern");
        TRY(tok_pattern_new(&d->pattern, text ? text->s : re->s, !text, err));
        return string_of(&d->a, &d->a_n, spec, "content", err);
    }
    case D_STRIP: {
        const int64_t start = json_int(json_get(spec, "start"), 0),
                      stop = json_int(json_get(spec, "stop"), 0);
        if (start < 0 || stop < 0)
            return mltf_fail(err, MLTF_CORRUPT_FILE, "decoder Strip has a negative count");
        d->start = (size_t)start;
        d->stop = (size_t)stop;
        return char_of(&d->c, spec, "content", err);
    }
    default:
        return MLTF_OK;
    }
}

mltf_status tok_decoder_parse(tok_decoder **out, const json *spec, mltf_err *err)
{
    *out = NULL;
    if (!spec || spec->type == JSON_NULL) return MLTF_OK;
    const mltf_str type = json_string(json_get(spec, "type"), STR(""));
    for (size_t i = 0; i < sizeof dec_names / sizeof *dec_names; i++) {
        if (!str_is(type, dec_names[i].name)) continue;
        tok_decoder *d = calloc(1, sizeof *d);
        if (!d) return mltf_fail_memory(err);
        d->type = dec_names[i].type;
        const mltf_status st = parse_into(d, spec, err);
        if (st != MLTF_OK) {
            tok_decoder_free(d);
            return st;
        }
        *out = d;
        return MLTF_OK;
    }
    return mltf_fail(err, MLTF_UNSUPPORTED, "decoder type \"" STR_FMT "\" is not known",
                     STR_ARG(type));
}

/* ---- text tools ---- */

void tok_append_lossy(mltf_buf *out, const char *p, size_t n)
{
    if (utf8_valid(p, n)) {
        buf_append(out, p, n);
        return;
    }
    for (size_t i = 0, from = 0; i < n;) {
        size_t len;
        if (utf8_decode(p + i, n - i, &len) == UTF8_BAD) {
            buf_append(out, p + from, i - from);
            buf_puts(out, "\xEF\xBF\xBD");
            from = i + len;
        }
        i += len;
        if (i >= n) buf_append(out, p + from, n - from);
    }
}

/* Append text with every `from` replaced. */
static void replace_all(mltf_buf *out, mltf_str text, mltf_str from, mltf_str to)
{
    size_t at = 0;
    while (from.n && text.n - at >= from.n) {
        const char *hit = memmem(text.p + at, text.n - at, from.p, from.n);
        if (!hit) break;
        buf_append(out, text.p + at, (size_t)(hit - text.p) - at);
        buf_put_str(out, to);
        at = (size_t)(hit - text.p) + from.n;
    }
    buf_append(out, text.p + at, text.n - at);
}

typedef struct rule {
    mltf_str from, to;
} rule;
#define RULE(a, b)                                                                                 \
    {                                                                                              \
        {a, sizeof(a) - 1},                                                                        \
        {                                                                                          \
            b, sizeof(b) - 1                                                                       \
        }                                                                                          \
    }
static const rule cleanup_rules[] = {
    RULE(" .", "."),   RULE(" ?", "?"),     RULE(" !", "!"),     RULE(" ,", ","),
    RULE(" ' ", "'"),  RULE(" n't", "n't"), RULE(" 'm", "'m"),   RULE(" do not", " don't"),
    RULE(" 's", "'s"), RULE(" 've", "'ve"), RULE(" 're", "'re"),
};

static bool cleanup(mltf_buf *out, mltf_str text, bool do_not)
{
    mltf_buf t[2] = {MLTF_BUF_INIT, MLTF_BUF_INIT};
    int which = 0;
    bool ok = true;
    for (size_t i = 0; i < sizeof cleanup_rules / sizeof *cleanup_rules; i++) {
        if (i == 7 && !do_not) continue;
        const rule *r = &cleanup_rules[i];
        if (text.n < r->from.n || !memmem(text.p, text.n, r->from.p, r->from.n)) continue;
        buf_clear(&t[which]);
        replace_all(&t[which], text, r->from, r->to);
        ok = ok && !t[which].failed;
        text = buf_str(&t[which]);
        which ^= 1;
    }
    buf_put_str(out, text);
    mltf_buf_release(&t[0]);
    mltf_buf_release(&t[1]);
    return ok;
}

bool tok_cleanup(mltf_buf *out, mltf_str text)
{
    return cleanup(out, text, false);
}

/* ---- stages ---- */

static void stage_release(stage *s)
{
    mltf_buf_release(&s->held);
    mltf_buf_release(&s->work);
}

void tok_stages_release(tok_stages *s)
{
    for (size_t i = 0; i < s->n; i++) stage_release(&s->v[i]);
    free(s->v);
    *s = (tok_stages){0};
}

static bool add_stages(tok_stages *s, const tok_decoder *d, bool *fused)
{
    if (d->type == D_SEQUENCE) {
        for (size_t i = 0; i < d->n; i++)
            if (!add_stages(s, d->parts[i], fused)) return false;
        return true;
    }
    if (!ARRAY_RESERVE(s->v, s->cap, s->n + 1)) return false;
    s->v[s->n++] = (stage){.d = d, .fused = *fused};
    if (d->type == D_FUSE || d->type == D_BYTE_LEVEL) *fused = true;
    return true;
}

mltf_status tok_stages_begin(tok_stages *s, const tok_decoder *d, mltf_err *err)
{
    *s = (tok_stages){.joins = !d};
    bool fused = false;
    if (d && !add_stages(s, d, &fused)) {
        tok_stages_release(s);
        return mltf_fail_memory(err);
    }
    return MLTF_OK;
}

static mltf_status feed(tok_stages *s, size_t k, mltf_str token, mltf_buf *out, mltf_err *err);

static mltf_status held_bytes(tok_stages *s, size_t k, mltf_buf *out, mltf_err *err)
{
    stage *x = &s->v[k];
    if (!x->held.n) return MLTF_OK;
    mltf_status st = MLTF_OK;
    if (utf8_valid(x->held.p, x->held.n))
        st = feed(s, k + 1, buf_str(&x->held), out, err);
    else
        for (size_t i = 0; i < x->held.n && st == MLTF_OK; i++)
            st = feed(s, k + 1, STR("\xEF\xBF\xBD"), out, err);
    buf_clear(&x->held);
    return st;
}

/* The byte of "<0x41>", or -1. Rust's from_str_radix also takes a sign. */
int tok_fallback_byte(mltf_str t)
{
    if (t.n != 6 || memcmp(t.p, "<0x", 3) != 0 || t.p[5] != '>') return -1;
    const int high = t.p[3] == '+' ? 0 : ascii_hex(t.p[3]), low = ascii_hex(t.p[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static mltf_status strip_whole(const tok_decoder *d, mltf_str *t, mltf_err *err)
{
    const char *p = t->p, *end = t->p + t->n;
    for (size_t i = 0; i < d->start && p < end; i++) {
        const char *q = p;
        if (utf8_next(&q) != d->c) break;
        p = q;
    }
    for (size_t i = 0; i < d->stop; i++) {
        const char *q = end;
        if (q <= t->p)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "decoder Strip takes more characters than a token has");
        do q--;
        while (q > t->p && tok_is_cont(*q));
        const char *c = q;
        if (utf8_next(&c) != d->c) break;
        end = q;
    }
    if (p > end)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "decoder Strip takes more characters than a token has");
    *t = (mltf_str){p, (size_t)(end - p)};
    return MLTF_OK;
}

static void map_metaspace(mltf_buf *out, mltf_str token, uint32_t c, bool drop)
{
    char rep[4];
    replace_all(out, token, (mltf_str){rep, utf8_encode(rep, c)}, drop ? STR("") : STR(" "));
}

/* What a stage that sees tokens one by one gives on: *token, which it may change, or nothing where it holds it back. */
typedef mltf_status (*stage_fn)(stage *x, bool first, mltf_str *token, bool *gives, mltf_err *err);

/* Whether it is the last token shows when the next one comes. */
static mltf_status stage_bpe(stage *x, bool first, mltf_str *token, bool *gives, mltf_err *err)
{
    const tok_decoder *d = x->d;
    if (first)
        *gives = false;
    else
        replace_all(&x->work, buf_str(&x->held), (mltf_str){d->a, d->a_n}, STR(" "));
    buf_clear(&x->held);
    buf_put_str(&x->held, *token);
    *token = buf_str(&x->work);
    return buf_status(&x->held, err);
}

/* Characters back to bytes; those of a character that is not whole wait. */
static mltf_status stage_byte_level(stage *x, bool first, mltf_str *token, bool *gives,
                                    mltf_err *err)
{
    (void)first;
    const char *end = token->p + token->n;
    bool mapped = true;
    for (const char *p = token->p; mapped && p < end;) mapped = tok_char_byte(utf8_next(&p)) >= 0;
    for (const char *p = token->p; mapped && p < end;)
        buf_putc(&x->held, (char)tok_char_byte(utf8_next(&p)));
    if (!mapped) buf_put_str(&x->held, *token);
    TRY(buf_status(&x->held, err));
    const size_t keep = utf8_incomplete_tail(x->held.p ? x->held.p : "", x->held.n),
                 n = x->held.n - keep;
    *gives = n > 0;
    if (!n) return MLTF_OK;
    tok_append_lossy(&x->work, x->held.p, n);
    memmove(x->held.p, x->held.p + n, keep);
    x->held.n = keep;
    *token = buf_str(&x->work);
    return MLTF_OK;
}

static mltf_status stage_wordpiece(stage *x, bool first, mltf_str *token, bool *gives,
                                   mltf_err *err)
{
    (void)gives;
    const tok_decoder *d = x->d;
    if (!first && token->n >= d->a_n && memcmp(token->p, d->a, d->a_n) == 0) {
        *token = str_slice(*token, d->a_n, token->n);
    } else if (!first) {
        buf_putc(&x->work, ' ');
        buf_put_str(&x->work, *token);
        *token = buf_str(&x->work);
    }
    if (!d->cleanup) return MLTF_OK;
    buf_clear(&x->held);
    if (!cleanup(&x->held, *token, true)) return mltf_fail_memory(err);
    *token = buf_str(&x->held);
    return MLTF_OK;
}

static mltf_status stage_metaspace(stage *x, bool first, mltf_str *token, bool *gives,
                                   mltf_err *err)
{
    (void)gives, (void)err;
    map_metaspace(&x->work, *token, x->d->c, first && x->d->prepends);
    *token = buf_str(&x->work);
    return MLTF_OK;
}

/* The same token again says nothing; the blank says nothing either. */
static mltf_status stage_ctc(stage *x, bool first, mltf_str *token, bool *gives, mltf_err *err)
{
    const tok_decoder *d = x->d;
    *gives = first || !str_eq(*token, buf_str(&x->held));
    if (!*gives) return MLTF_OK;
    buf_clear(&x->held);
    buf_put_str(&x->held, *token);
    mltf_buf t = MLTF_BUF_INIT, clean = MLTF_BUF_INIT;
    replace_all(&t, *token, (mltf_str){d->a, d->a_n}, STR(""));
    if (d->cleanup) {
        cleanup(&clean, buf_str(&t), true);
        replace_all(&x->work, buf_str(&clean), (mltf_str){d->b, d->b_n}, STR(" "));
    } else {
        buf_put_str(&x->work, buf_str(&t));
    }
    mltf_buf_release(&t);
    mltf_buf_release(&clean);
    *token = buf_str(&x->work);
    *gives = x->work.n > 0;
    return buf_status(&x->held, err);
}

static mltf_status stage_replace(stage *x, bool first, mltf_str *token, bool *gives, mltf_err *err)
{
    (void)first, (void)gives;
    const tok_decoder *d = x->d;
    TRY(tok_replace_into(&x->work, d->pattern, *token, (mltf_str){d->a, d->a_n}, err));
    *token = buf_str(&x->work);
    return MLTF_OK;
}

/* Of one text in parts, only the very beginning counts; where its end counts it is held whole. */
static mltf_status stage_strip(stage *x, bool first, mltf_str *token, bool *gives, mltf_err *err)
{
    (void)first;
    const tok_decoder *d = x->d;
    if (!x->fused) return strip_whole(d, token, err);
    if (d->stop) {
        *gives = false;
        buf_put_str(&x->held, *token);
        return buf_status(&x->held, err);
    }
    while (x->stripped < d->start && token->n) {
        const char *p = token->p;
        if (utf8_next(&p) != d->c) {
            x->stripped = d->start;
            break;
        }
        x->stripped++;
        *token = str_slice(*token, (size_t)(p - token->p), token->n);
    }
    return MLTF_OK;
}

/* A token (or a part of the one token) arrives at stage k. */
static mltf_status feed(tok_stages *s, size_t k, mltf_str token, mltf_buf *out, mltf_err *err)
{
    static const stage_fn stages[] = {
        [D_BPE] = stage_bpe,
        [D_BYTE_LEVEL] = stage_byte_level,
        [D_WORDPIECE] = stage_wordpiece,
        [D_METASPACE] = stage_metaspace,
        [D_CTC] = stage_ctc,
        [D_REPLACE] = stage_replace,
        [D_STRIP] = stage_strip,
    };
    if (k == s->n) {
        if (s->joins && s->any) buf_putc(out, ' ');
        s->any = true;
        buf_put_str(out, token);
        return MLTF_OK;
    }
    stage *x = &s->v[k];
    const dec_type type = x->d->type;
    const bool first = !x->began;
    x->began = true;
    if (x->fused && type != D_FUSE && type != D_STRIP) { // whole only at the end
        buf_put_str(&x->held, token);
        return buf_status(&x->held, err);
    }
    buf_clear(&x->work);
    if (type == D_BYTE_FALLBACK) {
        const int byte = tok_fallback_byte(token);
        if (byte >= 0) {
            buf_putc(&x->held, (char)byte);
            return buf_status(&x->held, err);
        }
        TRY(held_bytes(s, k, out, err));
    } else if (type != D_FUSE) { // nor D_SEQUENCE, whose parts are stages of their own
        bool gives = true;
        TRY(stages[type](x, first, &token, &gives, err));
        TRY(buf_status(&x->work, err));
        if (!gives) return MLTF_OK;
    }
    return feed(s, k + 1, token, out, err);
}

mltf_status tok_stages_feed(tok_stages *s, mltf_str token, mltf_buf *out, mltf_err *err)
{
    return feed(s, 0, token, out, err);
}

mltf_status tok_replace_into(mltf_buf *out, const tok_pattern *pattern, mltf_str text, mltf_str to,
                             mltf_err *err)
{
    if (!text.n) return MLTF_OK;
    tok_finder f;
    TRY(tok_find_begin(&f, pattern, text.p, text.n, err));
    size_t last = 0, start, end;
    bool found;
    mltf_status st;
    while ((st = tok_find_next(&f, &start, &end, &found, err)) == MLTF_OK && found) {
        buf_append(out, text.p + last, start - last);
        buf_put_str(out, to);
        last = end;
    }
    tok_find_end(&f);
    buf_append(out, text.p + last, text.n - last);
    return st;
}

/* What stage k still holds goes on; a stage that waited for its whole token works now. */
static mltf_status end_stage(tok_stages *s, size_t k, mltf_buf *out, mltf_err *err)
{
    stage *x = &s->v[k];
    const tok_decoder *d = x->d;
    mltf_str token = buf_str(&x->held);
    buf_clear(&x->work);
    if (x->fused && d->type == D_STRIP && d->stop) {
        TRY(strip_whole(d, &token, err));
        return feed(s, k + 1, token, out, err);
    }
    if (x->fused && d->type != D_FUSE && d->type != D_STRIP) { // as if it came now, alone
        stage whole = {.d = d};
        const stage waiting = *x;
        *x = whole;
        mltf_status st = feed(s, k, token, out, err);
        if (st == MLTF_OK) st = end_stage(s, k, out, err);
        stage_release(x);
        *x = waiting;
        return st;
    }
    switch (d->type) {
    case D_BPE:
        if (!x->began) return MLTF_OK;
        replace_all(&x->work, token, (mltf_str){d->a, d->a_n}, STR(""));
        TRY(buf_status(&x->work, err));
        return feed(s, k + 1, buf_str(&x->work), out, err);
    case D_BYTE_LEVEL:
        if (!x->held.n) return MLTF_OK;
        tok_append_lossy(&x->work, x->held.p, x->held.n);
        TRY(buf_status(&x->work, err));
        return feed(s, k + 1, buf_str(&x->work), out, err);
    case D_BYTE_FALLBACK:
        return held_bytes(s, k, out, err);
    default:
        return MLTF_OK;
    }
}

mltf_status tok_stages_end(tok_stages *s, mltf_buf *out, mltf_err *err)
{
    for (size_t k = 0; k < s->n; k++) TRY(end_stage(s, k, out, err));
    return buf_status(out, err);
}

/* ---- token by token ---- */

tok_dec_plan tok_decoder_plan(const tok_decoder *d)
{
    const tok_dec_plan none = {0};
    tok_dec_plan plan = {.by_token = true, .first_differs = !d};
    tok_stages s = {0};
    bool fused = false, ok = !d || add_stages(&s, d, &fused);
    bool behind_bytes = false, behind_fuse = false;
    for (size_t i = 0; i < s.n && ok; i++) {
        const tok_decoder *x = s.v[i].d;
        switch (x->type) {
        case D_BYTE_LEVEL:
            plan.byte_level = true;
            ok = s.n == 1;
            break;
        case D_METASPACE:
        case D_WORDPIECE:
            plan.first_differs = true;
            ok = !behind_bytes && !behind_fuse;
            break;
        case D_REPLACE:
            ok = !behind_bytes && !behind_fuse;
            break;
        case D_BYTE_FALLBACK:
            ok = !behind_bytes && !behind_fuse;
            plan.byte_fallback = behind_bytes = true;
            break;
        case D_FUSE:
            behind_fuse = true;
            break;
        case D_STRIP:
            if (behind_fuse) {
                ok = !x->stop && !plan.strip;
                plan.strip = x->start;
                plan.strip_char = x->c;
            } else {
                ok = !x->stop && !behind_bytes;
            }
            break;
        default: // what the last token is, or the one before, counts
            ok = false;
        }
    }
    free(s.v);
    return ok && !(plan.byte_fallback && plan.first_differs) ? plan : none;
}

mltf_status tok_stages_begin_tokens(tok_stages *s, const tok_decoder *d, mltf_err *err)
{
    TRY(tok_stages_begin(s, d, err));
    size_t n = 0;
    while (n < s->n && s->v[n].d->type != D_BYTE_FALLBACK && s->v[n].d->type != D_FUSE) n++;
    s->n = n; // what is left out holds nothing yet
    return MLTF_OK;
}

mltf_status tok_stages_token(tok_stages *s, mltf_str token, bool first, mltf_buf *out,
                             mltf_err *err)
{
    for (size_t i = 0; i < s->n; i++) s->v[i].began = !first;
    s->any = !first;
    return feed(s, 0, token, out, err);
}

mltf_status tok_decode_chain(const tok_decoder *d, mltf_buf *out, const mltf_str *tokens, size_t n,
                             mltf_err *err)
{
    tok_stages s;
    TRY(tok_stages_begin(&s, d, err));
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n && st == MLTF_OK; i++) st = feed(&s, 0, tokens[i], out, err);
    if (st == MLTF_OK) st = tok_stages_end(&s, out, err);
    tok_stages_release(&s);
    return st == MLTF_OK ? buf_status(out, err) : st;
}
