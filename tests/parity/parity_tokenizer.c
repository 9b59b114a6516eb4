/* Tokenizers: every row of cases.jsonl (fixtures/README.md, "tokenizers") with ids, offsets in code points, type ids,
 * word ids, masks, decoding (at once and streamed), batches, truncation and overflow. A folder with normalizers.jsonl
 * holds normalizers, pre-tokenizers and decoders one by one; one with model.model what sentencepiece itself answers.
 * Given a folder of such folders, all of them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "parity.h"
#include "tokenizers/tok_internal.h"
#include "tokenizers/tok_spm.h"

typedef struct test {
    parity_count *c;
    const char *dir, *file;
    size_t line;
    tokenizer *tk;
    bool ok; /* of the row at hand */
} test;

/* The row has failed; only the first reason counts. */
static void miss(test *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void miss(test *t, const char *fmt, ...)
{
    mltf_buf why = MLTF_BUF_INIT;
    va_list args;
    va_start(args, fmt);
    char line[2000];
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    buf_puts(&why, line);
    if (t->ok) parity_fail(t->c, "%s:%zu %s", t->file, t->line, why.p);
    t->ok = false;
    mltf_buf_release(&why);
}
#define MISS miss

static mltf_str text_of(const json *row, const char *key)
{
    return json_string(json_get(row, key), (mltf_str){NULL, 0});
}

/* The number of code points before each byte offset of text, WTF-8 included. */
static size_t points(mltf_str text, size_t bytes)
{
    return utf8_count(text.p, bytes < text.n ? bytes : text.n);
}

static void same_ints(test *t, const char *what, const json *want, const int32_t *got, size_t n)
{
    if (!want) return;
    if (json_len(want) != n) {
        MISS(t, "%s: %zu, expected %zu", what, n, json_len(want));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const int64_t w = json_int(json_at(want, i), -1);
        if (w != got[i]) {
            MISS(t, "%s[%zu] is %d, expected %lld", what, i, got[i], (long long)w);
            return;
        }
    }
}

static void same_bytes(test *t, const char *what, const json *want, const int8_t *got, size_t n)
{
    int32_t *wide = malloc((n + 1) * sizeof *wide);
    for (size_t i = 0; i < n; i++) wide[i] = got[i];
    same_ints(t, what, want, wide, n);
    free(wide);
}

static void same_text(test *t, const char *what, mltf_str want, mltf_str got)
{
    if (!str_eq(want, got))
        MISS(t, "%s is \"" STR_FMT "\", expected \"" STR_FMT "\"", what, STR_ARG(got),
             STR_ARG(want));
}

static void same_offsets(test *t, const json *want, const tok_encoding *e, mltf_str text,
                         mltf_str pair, const json *words)
{
    if (!want) return;
    if (json_len(want) != e->n) {
        MISS(t, "offsets: %zu, expected %zu", e->n, json_len(want));
        return;
    }
    for (size_t i = 0; i < e->n; i++) {
        mltf_str of = e->sequence_ids[i] == 1 ? pair : text;
        if (words && e->word_ids[i] >= 0)
            of = json_string(json_at(words, (size_t)e->word_ids[i]), STR(""));
        const json *w = json_at(want, i);
        const int64_t ws = json_int(json_at(w, 0), -1), we = json_int(json_at(w, 1), -1);
        const bool special = e->sequence_ids[i] < 0 || !of.p;
        // a token may hold a part of a character: its end is then the end of that character
        size_t s = special ? e->offsets[i].start : points(of, e->offsets[i].start);
        size_t x = special ? e->offsets[i].end : points(of, e->offsets[i].end);
        if ((int64_t)s != ws || (int64_t)x != we) {
            MISS(t, "offsets[%zu] (id %d) are %zu..%zu, expected %lld..%lld", i, e->ids[i], s, x,
                 (long long)ws, (long long)we);
            return;
        }
    }
}

static int32_t *ids_of(const json *list, size_t *n)
{
    *n = json_len(list);
    int32_t *ids = malloc((*n + 1) * sizeof *ids);
    for (size_t i = 0; i < *n; i++) ids[i] = (int32_t)json_int(json_at(list, i), -1);
    return ids;
}

static void check_decode(test *t, const json *want, const int32_t *ids, size_t n)
{
    if (!json_is(want, JSON_OBJECT)) return;
    for (int skip = 0; skip < 2; skip++) {
        for (int clean = 0; clean < 2; clean++) {
            char full[24], half[24];
            snprintf(full, sizeof full, "skip%d_clean%d", skip, clean);
            snprintf(half, sizeof half, "skip%d", skip);
            const json *w = json_get(want, full);
            if (!w) w = json_get(want, half);
            if (!w) w = json_get(want, "all");
            mltf_buf out = MLTF_BUF_INIT;
            mltf_err err = {0};
            if (tokenizer_decode(t->tk, &out, ids, n, skip, clean, &err))
                MISS(t, "decode: %s", err.msg);
            else
                same_text(t, full, json_string(w, STR("?")), buf_str(&out));
            if (!clean) { // streamed, it must be the same
                mltf_buf streamed = MLTF_BUF_INIT;
                tok_stream *s = NULL;
                mltf_status st = tok_stream_new(&s, t->tk, skip, &err);
                for (size_t i = 0; i < n && !st; i++) {
                    st = tok_stream_push(s, ids[i], &streamed, &err);
                    if (!utf8_valid(streamed.p ? streamed.p : "", streamed.n))
                        MISS(t, "a streamed piece splits a character");
                }
                if (!st) st = tok_stream_end(s, &streamed, &err);
                if (st)
                    MISS(t, "stream: %s", err.msg);
                else
                    same_text(t, "streamed", buf_str(&out), buf_str(&streamed));
                tok_stream_free(s);
                mltf_buf_release(&streamed);
            }
            mltf_buf_release(&out);
        }
    }
}

static void check_encoding(test *t, const json *row, const tok_encoding *e, mltf_str text,
                           mltf_str pair, const json *words)
{
    same_ints(t, "ids", json_get(row, "ids"), e->ids, e->n);
    const json *tokens = json_get(row, "tokens");
    for (size_t i = 0; tokens && i < e->n && i < json_len(tokens); i++)
        same_text(t, "token", json_string(json_at(tokens, i), STR("?")),
                  tokenizer_id_to_token(t->tk, e->ids[i]));
    // the reference's slow classes give fewer type ids than ids where they add special tokens
    const json *types = json_get(row, "type_ids");
    if (types)
        same_ints(t, "type_ids", types, e->type_ids,
                  t->tk->slow && json_len(types) < e->n ? json_len(types) : e->n);
    else
        for (size_t i = 0; i + (t->tk->slow != NULL) < e->n; i++)
            if (e->type_ids[i]) MISS(t, "type_ids[%zu] is %d, expected 0", i, e->type_ids[i]);
    // as for the type ids; one that adds no second end token gives a mask that is too long
    const json *special = json_get(row, "special_mask");
    if (special && !(t->tk->slow && json_len(special) != e->n))
        same_bytes(t, "special_mask", special, (const int8_t *)e->special, e->n);
    else if (json_get(row, "word_ids"))
        for (size_t i = 0; i < e->n; i++)
            if (e->special[i]) MISS(t, "special_mask[%zu] is 1, expected 0", i);
    same_ints(t, "word_ids", json_get(row, "word_ids"), e->word_ids, e->n);
    same_bytes(t, "sequence_ids", json_get(row, "sequence_ids"), e->sequence_ids, e->n);
    if (t->ok) same_offsets(t, json_get(row, "offsets"), e, text, pair, words);
}

static void run_encode(test *t, const json *row, bool raw)
{
    const mltf_str text = text_of(row, "text"), pair = text_of(row, "pair");
    tok_encoding e = TOK_ENCODING_INIT, bare = TOK_ENCODING_INIT;
    mltf_err err = {0};
    const tok_options raw_opts = {.raw = true}, none = {.no_special_tokens = true},
                      ids_only = {.ids_only = true, .raw = raw};
    if (!raw) {
        if (tokenizer_encode(t->tk, &e, text, pair, NULL, &err)) {
            if (!json_get(row, "error")) MISS(t, "encode: %s", err.msg);
            return;
        }
        check_encoding(t, row, &e, text, pair, NULL);
    } else {
        tok_encoding *all = NULL;
        size_t n = 0;
        if (tokenizer_encode_overflow(t->tk, &all, &n, text, pair, &raw_opts, &err)) {
            MISS(t, "encode: %s", err.msg);
            return;
        }
        const json *over = json_get(row, "overflowing");
        if (json_len(over) != n - 1)
            MISS(t, "overflowing: %zu, expected %zu", n - 1, json_len(over));
        check_encoding(t, row, &all[0], text, pair, NULL);
        same_bytes(t, "mask", json_get(row, "mask"), (const int8_t *)all[0].mask, all[0].n);
        for (size_t i = 1; i < n && t->ok; i++) {
            const json *o = json_at(over, i - 1);
            same_ints(t, "overflowing ids", json_get(o, "ids"), all[i].ids, all[i].n);
            same_offsets(t, json_get(o, "offsets"), &all[i], text, pair, NULL);
        }
        e = all[0];
        for (size_t i = 1; i < n; i++) tok_encoding_release(&all[i]);
        free(all);
    }
    if (t->ok && !tokenizer_encode(t->tk, &bare, text, pair, &ids_only, &err)) {
        if (bare.n != e.n || (e.n && memcmp(bare.ids, e.ids, e.n * sizeof *e.ids) != 0))
            MISS(t, "ids_only gives other ids");
        tok_encoding_release(&bare);
    }
    const json *without = json_get(row, "ids_without_special");
    if (without && t->ok) {
        if (tokenizer_encode(t->tk, &bare, text, pair, &none, &err))
            MISS(t, "encode: %s", err.msg);
        else
            same_ints(t, "ids_without_special", without, bare.ids, bare.n);
        tok_encoding_release(&bare);
    }
    if (t->ok) check_decode(t, json_get(row, "decode"), e.ids, e.n);
    tok_encoding_release(&e);
}

static void run_words(test *t, const json *row)
{
    const json *words = json_get(row, "words");
    const size_t n = json_len(words);
    mltf_str *w = malloc((n + 1) * sizeof *w);
    for (size_t i = 0; i < n; i++) w[i] = json_string(json_at(words, i), STR(""));
    tok_encoding e = TOK_ENCODING_INIT;
    mltf_err err = {0};
    if (tokenizer_encode_words(t->tk, &e, w, n, NULL, &err)) {
        if (!json_get(row, "error")) MISS(t, "words: %s", err.msg);
    } else if (json_get(row, "error")) {
        MISS(t, "words: expected %s", text_of(row, "error").p);
    } else {
        check_encoding(t, row, &e, (mltf_str){NULL, 0}, (mltf_str){NULL, 0}, words);
    }
    tok_encoding_release(&e);
    free(w);
}

static void check_padded(test *t, const json *row, size_t i, const tok_encoding *e, size_t to,
                         bool left)
{
    const json *ids = json_at(json_get(row, "ids"), i), *mask = json_at(json_get(row, "mask"), i);
    const json *types = json_at(json_get(row, "type_ids"), i);
    if (to < e->n) to = e->n;
    if (json_len(ids) != to) {
        MISS(t, "row %zu has %zu ids, expected %zu", i, to, json_len(ids));
        return;
    }
    const size_t shift = left ? to - e->n : 0;
    const int32_t pad = tokenizer_special_id(t->tk, TOK_PAD);
    for (size_t k = 0; k < to; k++) {
        const bool real = k >= shift && k - shift < e->n;
        const int64_t id = json_int(json_at(ids, k), -1), m = json_int(json_at(mask, k), -1);
        if (id != (real ? e->ids[k - shift] : pad) || m != real)
            MISS(t, "row %zu, id %zu: expected %lld", i, k, (long long)id);
        if (types && k < json_len(types) &&
            json_int(json_at(types, k), -1) !=
                (real ? e->type_ids[k - shift] : tokenizer_pad_type_id(t->tk)))
            MISS(t, "row %zu, type id %zu", i, k);
    }
}

/* The library pads a batch once more, to its longest, on the side stored in tokenizer.json. */
static void check_raw_padded(test *t, const json *want, const tok_encoding *e)
{
    const size_t n = json_len(want), more = n >= e->n ? n - e->n : 0;
    const bool left = t->tk->padding.left;
    for (size_t i = 0; i < n; i++) {
        const bool real = left ? i >= more : i < e->n;
        const int32_t id = real ? e->ids[left ? i - more : i] : t->tk->padding.id;
        if (json_int(json_at(want, i), -1) != id) MISS(t, "raw batch: id %zu is %d", i, id);
    }
    if (n < e->n) MISS(t, "raw batch: %zu ids, expected %zu", e->n, n);
}

static void run_batch(test *t, const json *row, bool raw)
{
    const json *texts = json_get(row, "texts"), *kw = json_get(row, "kwargs");
    const size_t n = json_len(texts);
    tok_options o = {.raw = raw};
    const size_t max = (size_t)json_int(json_get(kw, "max_length"), 0);
    if (json_bool(json_get(kw, "truncation"), false)) {
        o.truncation = TOK_TRUNCATE_LONGEST_FIRST;
        o.max_length = max;
    }
    tok_encoding *e = calloc(n + 1, sizeof *e);
    mltf_err err = {0};
    size_t to = 0;
    for (size_t i = 0; i < n && t->ok; i++) {
        if (tokenizer_encode(t->tk, &e[i], json_string(json_at(texts, i), STR("")),
                             (mltf_str){NULL, 0}, &o, &err))
            MISS(t, "%s", err.msg);
        if (e[i].n > to) to = e[i].n;
    }
    const json *padding = json_get(kw, "padding");
    const mltf_str how = json_string(padding, STR(""));
    const bool pads = json_bool(padding, false) || how.n;
    if (str_is(how, "max_length")) to = max;
    const size_t multiple = (size_t)json_int(json_get(kw, "pad_to_multiple_of"), 0);
    if (multiple && to % multiple) to += multiple - to % multiple;
    const mltf_str side = json_string(json_get(kw, "padding_side"), (mltf_str){NULL, 0});
    const bool left = side.p ? str_is(side, "left") : tokenizer_pad_left(t->tk);
    for (size_t i = 0; i < n && t->ok; i++) {
        if (raw)
            check_raw_padded(t, json_at(json_get(row, "ids"), i), &e[i]);
        else
            check_padded(t, row, i, &e[i], pads ? to : 0, left);
    }
    for (size_t i = 0; i < n; i++) tok_encoding_release(&e[i]);
    free(e);
}

static tok_truncate strategy_of(const json *row)
{
    const mltf_str s = text_of(row, "strategy");
    return str_is(s, "only_first")    ? TOK_TRUNCATE_ONLY_FIRST
           : str_is(s, "only_second") ? TOK_TRUNCATE_ONLY_SECOND
                                      : TOK_TRUNCATE_LONGEST_FIRST;
}

static void run_truncate(test *t, const json *row)
{
    tok_encoding e = TOK_ENCODING_INIT;
    mltf_err err = {0};
    const tok_options o = {.truncation = strategy_of(row),
                           .max_length = (size_t)json_int(json_get(row, "max_length"), 0),
                           .truncate_left = str_is(text_of(row, "side"), "left")};
    if (tokenizer_encode(t->tk, &e, text_of(row, "text"), text_of(row, "pair"), &o, &err)) {
        if (!json_get(row, "error")) MISS(t, "truncate: %s", err.msg);
    } else if (json_get(row, "error")) {
        MISS(t, "truncate: expected an error");
    } else {
        same_ints(t, "ids", json_get(row, "ids"), e.ids, e.n);
        const json *types = json_get(row, "type_ids");
        if (!t->tk->slow || json_len(types) <= e.n) // some slow classes count a token too many
            same_ints(t, "type_ids", types, e.type_ids,
                      t->tk->slow && json_len(types) < e.n ? json_len(types) : e.n);
    }
    tok_encoding_release(&e);
}

static void run_overflow(test *t, const json *row)
{
    tok_encoding *e = NULL;
    size_t n = 0;
    mltf_err err = {0};
    const size_t max = (size_t)json_int(json_get(row, "max_length"), 0);
    const tok_options o = {.truncation = strategy_of(row),
                           .max_length = max,
                           .stride = (size_t)json_int(json_get(row, "stride"), 0)};
    const mltf_str text = text_of(row, "text"), pair = text_of(row, "pair");
    if (tokenizer_encode_overflow(t->tk, &e, &n, text, pair, &o, &err)) {
        if (!json_get(row, "error")) MISS(t, "overflow: %s", err.msg);
        return;
    }
    if (json_get(row, "error")) MISS(t, "overflow: expected an error");
    const json *ids = json_get(row, "ids"), *offsets = json_get(row, "offsets");
    if (t->ok && json_len(ids) != n) MISS(t, "%zu parts, expected %zu", n, json_len(ids));
    for (size_t i = 0; i < n && t->ok; i++) {
        const bool left = tokenizer_pad_left(t->tk);
        check_padded(t, row, i, &e[i], max, left);
        const json *want = json_at(offsets, i);
        const size_t shift = left ? max - e[i].n : 0;
        for (size_t k = 0; k < e[i].n && t->ok; k++) {
            const json *w = json_at(want, k + shift);
            const mltf_str of = e[i].sequence_ids[k] == 1 ? pair : text;
            const size_t a = points(of, e[i].offsets[k].start), b = points(of, e[i].offsets[k].end);
            if ((int64_t)a != json_int(json_at(w, 0), -1) ||
                (int64_t)b != json_int(json_at(w, 1), -1))
                MISS(t, "part %zu, offsets[%zu] are %zu..%zu", i, k, a, b);
        }
    }
    for (size_t i = 0; i < n; i++) tok_encoding_release(&e[i]);
    free(e);
}

static void run_row(test *t, const json *row)
{
    const mltf_str op = text_of(row, "op");
    if (str_is(op, "encode") || str_is(op, "pair")) {
        run_encode(t, row, false);
    } else if (str_is(op, "raw_encode")) {
        run_encode(t, row, true);
    } else if (str_is(op, "words")) {
        run_words(t, row);
    } else if (str_is(op, "decode")) {
        size_t n;
        int32_t *ids = ids_of(json_get(row, "ids"), &n);
        check_decode(t, json_get(row, "decode"), ids, n);
        free(ids);
    } else if (str_is(op, "batch")) {
        run_batch(t, row, false);
    } else if (str_is(op, "raw_batch")) {
        run_batch(t, row, true);
    } else if (str_is(op, "truncate_pair")) {
        run_truncate(t, row);
    } else if (str_is(op, "overflow")) {
        run_overflow(t, row);
    } else {
        MISS(t, "op \"" STR_FMT "\" is not known", STR_ARG(op));
    }
}

/* ---- components ---- */

static void run_normalizer(test *t, const json *row)
{
    mltf_err err = {0};
    json_doc doc = JSON_DOC_INIT;
    const json *spec = json_get(row, "normalizer");
    const mltf_str file = text_of(row, "normalizer_file");
    if (!spec) {
        char *path = path_join(t->dir, file.p);
        if (json_parse_file(&doc, path, NULL, &err)) MISS(t, "%s", err.msg);
        spec = doc.root;
        free(path);
    }
    tok_normalizer *n = NULL;
    tok_norm_scratch s = {0};
    for (int spans = 0; spans < 2 && t->ok; spans++) {
        const mltf_str in = text_of(row, "in");
        tok_view v = {in.p, in.n, NULL, 0};
        if (tok_normalizer_parse(&n, spec, &err) || tok_normalize(n, &s, &v, spans, &err))
            MISS(t, "%s", err.msg);
        else
            same_text(t, text_of(row, "name").p, text_of(row, "out"), (mltf_str){v.p, v.n});
        tok_normalizer_free(n);
    }
    tok_text_release(&s.t[0]);
    tok_text_release(&s.t[1]);
    free(s.pairs);
    json_doc_release(&doc);
}

static void run_pretok(test *t, const json *row, const json *specs)
{
    mltf_err err = {0};
    const mltf_str in = text_of(row, "in"), name = text_of(row, "name");
    tok_pretok *p = NULL;
    tok_state s = {0};
    s.v = (tok_view){in.p, in.n, NULL, 0};
    if (in.n && ARRAY_RESERVE(s.pieces, s.cap, 1))
        s.pieces[s.n++] = (tok_piece){0, (uint32_t)in.n, -1};
    if (tok_pretok_parse(&p, json_get_str(specs, name), &err) ||
        tok_pretokenize(p, &s, true, false, &err)) {
        MISS(t, "%s", err.msg);
    } else {
        const json *want = json_get(row, "out");
        if (json_len(want) != s.n)
            MISS(t, "%s: %zu pieces, expected %zu", name.p, s.n, json_len(want));
        for (size_t i = 0; i < s.n && t->ok; i++) {
            const tok_piece k = s.pieces[i];
            const json *w = json_at(want, i);
            same_text(t, name.p, json_string(json_at(w, 0), STR("?")),
                      (mltf_str){s.v.p + k.start, k.end - k.start});
            const size_t a = points(in, tok_view_span(&s.v, k.start).start),
                         b = points(in, tok_view_span(&s.v, k.end - 1).end);
            if ((int64_t)a != json_int(json_at(w, 1), -1) ||
                (int64_t)b != json_int(json_at(w, 2), -1))
                MISS(t, "%s: piece %zu is %zu..%zu, expected %lld..%lld", name.p, i, a, b,
                     (long long)json_int(json_at(w, 1), -1),
                     (long long)json_int(json_at(w, 2), -1));
        }
    }
    tok_pretok_free(p);
    free(s.pieces);
    free(s.next);
    free(s.matches);
    tok_text_release(&s.text[0]);
    tok_text_release(&s.text[1]);
}

static void run_decoder(test *t, const json *row, const json *specs)
{
    mltf_err err = {0};
    tok_decoder *d = NULL;
    const json *in = json_get(row, "in");
    const size_t n = json_len(in);
    mltf_str *tokens = malloc((n + 1) * sizeof *tokens);
    for (size_t i = 0; i < n; i++) tokens[i] = json_string(json_at(in, i), STR(""));
    mltf_buf out = MLTF_BUF_INIT;
    const bool failed = tok_decoder_parse(&d, json_get_str(specs, text_of(row, "name")), &err) ||
                        tok_decode_chain(d, &out, tokens, n, &err);
    if (json_get(row, "error")) {
        if (!failed) MISS(t, "expected an error");
    } else if (failed) {
        MISS(t, "%s", err.msg);
    } else {
        same_text(t, text_of(row, "name").p, text_of(row, "out"), buf_str(&out));
    }
    mltf_buf_release(&out);
    tok_decoder_free(d);
    free(tokens);
}

/* ---- raw sentencepiece ---- */

static void run_spm(test *t, const json *row, const tok_spm *m)
{
    mltf_err err = {0};
    mltf_buf text = MLTF_BUF_INIT;
    if (str_is(text_of(row, "op"), "encode")) {
        tok_spm_pieces out = {0};
        if (tok_spm_normalize(m, &text, text_of(row, "text"), &err))
            MISS(t, "%s", err.msg);
        else
            same_text(t, "normalized", text_of(row, "normalized"), buf_str(&text));
        buf_clear(&text);
        if (tok_spm_encode(m, &out, text_of(row, "text"), &err)) {
            MISS(t, "%s", err.msg);
        } else {
            same_ints(t, "ids", json_get(row, "ids"), out.ids, out.n);
            for (size_t i = 0; i < out.n && t->ok; i++)
                same_text(t, "piece", json_string(json_at(json_get(row, "pieces"), i), STR("?")),
                          out.pieces[i]);
            if (tok_spm_decode(m, &text, out.ids, out.n, &err)) MISS(t, "%s", err.msg);
            same_text(t, "decode", text_of(row, "decode"), buf_str(&text));
        }
        tok_spm_pieces_release(&out);
    } else {
        size_t n;
        int32_t *ids = ids_of(json_get(row, "ids"), &n);
        if (tok_spm_decode(m, &text, ids, n, &err)) MISS(t, "%s", err.msg);
        same_text(t, "decode", text_of(row, "decode"), buf_str(&text));
        free(ids);
    }
    mltf_buf_release(&text);
}

/* ---- files ---- */

typedef enum { ROWS, NORMALIZERS, PRETOKS, DECODERS, SPM } row_kind;

static void run_file(test *t, const char *name, row_kind kind, const void *extra)
{
    char *path = path_join(t->dir, name);
    mltf_buf text = MLTF_BUF_INIT;
    mltf_err err = {0};
    t->file = path;
    t->line = 0;
    if (file_read(&text, path, (size_t)1 << 28, &err)) parity_fail(t->c, "%s", err.msg);
    for (size_t at = 0; at < text.n;) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        const size_t n = end ? (size_t)(end - text.p) - at : text.n - at;
        t->line++;
        t->ok = true;
        json_doc doc = JSON_DOC_INIT;
        if (n && json_parse(&doc, text.p + at, n, NULL, &err)) {
            MISS(t, "%s", err.msg);
        } else if (n) {
            switch (kind) {
            case ROWS:
                run_row(t, doc.root);
                break;
            case NORMALIZERS:
                run_normalizer(t, doc.root);
                break;
            case PRETOKS:
                run_pretok(t, doc.root, extra);
                break;
            case DECODERS:
                run_decoder(t, doc.root, extra);
                break;
            case SPM:
                run_spm(t, doc.root, extra);
                break;
            }
        }
        if (n && t->ok) parity_pass(t->c);
        json_doc_release(&doc);
        at += n + 1;
    }
    mltf_buf_release(&text);
    free(path);
}

static bool has(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    const bool is = file_exists(path);
    free(path);
    return is;
}

static void run_dir(const char *dir, parity_count *c, bool verbose)
{
    const parity_count before = *c;
    test t = {.c = c, .dir = dir, .ok = true};
    mltf_err err = {0};
    if (has(dir, "normalizers.jsonl")) {
        run_file(&t, "normalizers.jsonl", NORMALIZERS, NULL);
        for (int i = 0; i < 2; i++) {
            json_doc specs = JSON_DOC_INIT;
            char *path = path_join(dir, i ? "decoders.specs.json" : "pre_tokenizers.specs.json");
            if (json_parse_file(&specs, path, NULL, &err)) parity_fail(c, "%s", err.msg);
            run_file(&t, i ? "decoders.jsonl" : "pre_tokenizers.jsonl", i ? DECODERS : PRETOKS,
                     specs.root);
            json_doc_release(&specs);
            free(path);
        }
    } else if (has(dir, "model.model")) {
        char *path = path_join(dir, "model.model");
        tok_spm *m = NULL;
        if (tok_spm_load(&m, path, &err))
            parity_fail(c, "%s", err.msg);
        else
            run_file(&t, "cases.jsonl", SPM, m);
        tok_spm_free(m);
        free(path);
    } else if (has(dir, "cases.jsonl")) {
        if (tokenizer_load(&t.tk, dir, &err))
            parity_fail(c, "%s: %s", dir, err.msg);
        else
            run_file(&t, "cases.jsonl", ROWS, NULL);
        tokenizer_free(t.tk);
    } else {
        dir_list names = {0};
        if (dir_read(&names, dir, &err)) parity_fail(c, "%s", err.msg);
        for (size_t i = 0; i < names.n; i++) {
            char *path = path_join(dir, names.names[i]);
            if (dir_exists(path)) run_dir(path, c, true);
            free(path);
        }
        dir_list_free(&names);
        return;
    }
    if (verbose && c->failed > before.failed)
        printf("%s: %zu passed, %zu failed\n", dir, c->passed - before.passed,
               c->failed - before.failed);
}

int parity_tokenizer(const char *dir, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    parity_count c = {0};
    run_dir(dir, &c, false);
    return parity_report(dir, &c);
}
