#include "tokenizers/tokenizer.h"

#include <stdlib.h>

#include "base/limits.h"
#include "tokenizers/tok_fast.h"
#include "tokenizers/tok_internal.h"
#include "tokenizers/tok_slow.h"

/* ---- making and freeing ---- */

tokenizer *tok_alloc(mltf_err *err)
{
    tokenizer *tk = calloc(1, sizeof *tk);
    if (!tk) {
        mltf_fail_memory(err);
        return NULL;
    }
    pthread_mutex_init(&tk->lock, NULL);
    tk->model_max_length = SIZE_MAX;
    tk->class_name = "PreTrainedTokenizerFast";
    return tk;
}

static void scratch_free(tok_scratch *s)
{
    free(s->state.pieces);
    free(s->state.next);
    free(s->state.matches);
    tok_text_release(&s->state.text[0]);
    tok_text_release(&s->state.text[1]);
    tok_text_release(&s->norm.t[0]);
    tok_text_release(&s->norm.t[1]);
    free(s->norm.pairs);
    tok_text_release(&s->text);
    free(s->tokens);
    free(s->symbols);
    free(s->heap);
    free(s->lattice);
    free(s->cache);
    free(s);
}

void tokenizer_free(tokenizer *tk)
{
    if (!tk) return;
    tok_slow_free(tk->slow);
    tok_normalizer_free(tk->normalizer);
    tok_pretok_free(tk->pretok);
    tok_model_free(tk->model);
    tok_post_free(tk->post);
    tok_decoder_free(tk->decoder);
    tok_added_release(&tk->added);
    json_doc_release(&tk->config);
    tok_pieces_free(tk->pieces);
    while (tk->idle) {
        tok_scratch *s = tk->idle;
        tk->idle = s->next;
        scratch_free(s);
    }
    pthread_mutex_destroy(&tk->lock);
    arena_release(&tk->arena);
    free(tk);
}

static tok_scratch *scratch_take(const tokenizer *tk)
{
    tokenizer *own =
        (tokenizer *)tk; // the list of idle scratches is no part of what a tokenizer says
    pthread_mutex_lock(&own->lock);
    tok_scratch *s = own->idle;
    if (s) own->idle = s->next;
    pthread_mutex_unlock(&own->lock);
    return s ? s : calloc(1, sizeof *s);
}

#define KEEP_TEXT ((size_t)4 << 20) /* larger buffers are not kept for the next call */

static void scratch_give(const tokenizer *tk, tok_scratch *s)
{
    if (!s) return;
    if (s->tokens_cap > KEEP_TEXT || s->text.cap > KEEP_TEXT || s->state.text[0].cap > KEEP_TEXT ||
        s->norm.t[0].cap > KEEP_TEXT || s->symbols_cap > KEEP_TEXT || s->lattice_cap > KEEP_TEXT) {
        tok_cache *cache = s->cache;
        s->cache = NULL;
        scratch_free(s);
        s = calloc(1, sizeof *s);
        if (!s) {
            free(cache);
            return;
        }
        s->cache = cache;
    }
    tokenizer *own = (tokenizer *)tk;
    pthread_mutex_lock(&own->lock);
    s->next = own->idle;
    own->idle = s;
    pthread_mutex_unlock(&own->lock);
}

/* ---- tokenizer.json ---- */

static mltf_status parse_added(tokenizer *tk, const json *list, mltf_err *err)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const json *e = json_at(list, i);
        const json *content = json_get(e, "content");
        const int64_t id = json_int(json_get(e, "id"), -1);
        if (!json_is(content, JSON_STRING) || id < 0 || id > UINT32_MAX)
            return mltf_fail(err, MLTF_CORRUPT_FILE, "added token %zu lacks its content or its id",
                             i);
        const tok_added_token t = {
            .content = content->s,
            .single_word = json_bool(json_get(e, "single_word"), false),
            .lstrip = json_bool(json_get(e, "lstrip"), false),
            .rstrip = json_bool(json_get(e, "rstrip"), false),
            .normalized = json_bool(json_get(e, "normalized"), true),
            .special = json_bool(json_get(e, "special"), false),
        };
        TRY(tok_added_add(&tk->added, tk->model, &t, err));
    }
    return MLTF_OK;
}

static mltf_status parse_truncation(tok_truncation *t, const json *v, mltf_err *err)
{
    if (!json_is(v, JSON_OBJECT)) return MLTF_OK;
    const int64_t max = json_int(json_get(v, "max_length"), -1),
                  stride = json_int(json_get(v, "stride"), 0);
    if (max < 0 || stride < 0)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "the stored truncation has no valid length");
    const mltf_str strategy = json_string(json_get(v, "strategy"), STR("LongestFirst"));
    *t = (tok_truncation){
        .on = true,
        .left = str_is(json_string(json_get(v, "direction"), STR("Right")), "Left"),
        .max_length = (size_t)max,
        .stride = (size_t)stride,
        .strategy = str_is(strategy, "OnlyFirst")    ? TOK_TRUNCATE_ONLY_FIRST
                    : str_is(strategy, "OnlySecond") ? TOK_TRUNCATE_ONLY_SECOND
                                                     : TOK_TRUNCATE_LONGEST_FIRST,
    };
    return MLTF_OK;
}

static mltf_status parse_padding(tokenizer *tk, const json *v, mltf_err *err)
{
    if (!json_is(v, JSON_OBJECT)) return MLTF_OK;
    const int64_t fixed = json_int(json_get(json_get(v, "strategy"), "Fixed"), 0);
    const int64_t multiple = json_int(json_get(v, "pad_to_multiple_of"), 0);
    const int64_t id = json_int(json_get(v, "pad_id"), 0),
                  type = json_int(json_get(v, "pad_type_id"), 0);
    if (fixed < 0 || fixed > INT32_MAX || multiple < 0 || multiple > INT32_MAX || id < 0 ||
        id > INT32_MAX || type < 0 || type > INT32_MAX)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "the stored padding has a number out of range");
    tk->padding = (tok_padding){
        .on = true,
        .left = str_is(json_string(json_get(v, "direction"), STR("Right")), "Left"),
        .fixed = (size_t)fixed,
        .multiple = (size_t)multiple,
        .id = (int32_t)id,
        .type_id = (int32_t)type,
        .token = arena_str(&tk->arena, json_string(json_get(v, "pad_token"), STR("[PAD]"))),
    };
    return tk->arena.failed ? mltf_fail_memory(err) : MLTF_OK;
}

mltf_status tokenizer_parse(tokenizer *tk, const json *root, mltf_err *err)
{
    if (!json_is(root, JSON_OBJECT))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "tokenizer.json is not an object");
    const json *version = json_get(root, "version");
    if (version && !str_is(json_string(version, STR("")), "1.0"))
        return mltf_fail(err, MLTF_UNSUPPORTED, "unknown tokenizer version \"" STR_FMT "\"",
                         STR_ARG(json_string(version, STR("?"))));
    TRY(tok_normalizer_parse(&tk->normalizer, json_get(root, "normalizer"), err));
    TRY(tok_pretok_parse(&tk->pretok, json_get(root, "pre_tokenizer"), err));
    TRY(tok_model_parse(&tk->model, json_get(root, "model"), tk->pretok, err));
    TRY(tok_post_parse(&tk->post, json_get(root, "post_processor"), err));
    TRY(tok_decoder_parse(&tk->decoder, json_get(root, "decoder"), err));
    TRY(parse_truncation(&tk->truncation, json_get(root, "truncation"), err));
    TRY(parse_padding(tk, json_get(root, "padding"), err));
    return parse_added(tk, json_get(root, "added_tokens"), err);
}

mltf_status tok_finish(tokenizer *tk, mltf_err *err)
{
    TRY(tok_added_refresh(&tk->added, tk->normalizer, err));
    tk->vocab_size = tk->model->vocab.live;
    for (size_t i = 0; i < tk->added.by_content.n; i++) {
        const mltf_str t = vocab_at(&tk->added.by_content, i);
        if (vocab_find(&tk->model->vocab, t.p, t.n) < 0) tk->vocab_size++;
    }
    tk->needs_spans = tok_pretok_needs_spans(tk->pretok);
    bool prefix;
    tk->bytes_path.match = NULL;
    if (tk->model->bytes) {
        tk->bytes_path.match = tok_pretok_matcher(tk->pretok, &prefix, &tk->bytes_path.segment);
        if (prefix) tk->bytes_path.match = NULL;
    }
    tk->bert_path = tok_fast_bert_fits(tk);
    return MLTF_OK;
}

mltf_status tokenizer_load_json(tokenizer **out, const char *text, size_t n, mltf_err *err)
{
    *out = NULL;
    tokenizer *tk = tok_alloc(err);
    if (!tk) return MLTF_NO_MEMORY;
    json_doc doc = JSON_DOC_INIT;
    mltf_status st = json_parse(&doc, text, n, NULL, err);
    if (st == MLTF_OK) st = tokenizer_parse(tk, doc.root, err);
    if (st == MLTF_OK) st = tok_finish(tk, err);
    json_doc_release(&doc);
    if (st != MLTF_OK) {
        mltf_err_wrap(err, "could not load tokenizer.json");
        tokenizer_free(tk);
        return st;
    }
    *out = tk;
    return MLTF_OK;
}

/* ---- encoding ---- */

typedef struct builder {
    const tokenizer *tk;
    tok_scratch *s;
    mltf_str text;
    bool spans;
    bool copying;     /* the state's text is s->text, not the given text or a view of it */
    tok_view segment; /* whose normalized tokens are being found */
    mltf_err *err;
} builder;

static mltf_status add_piece(builder *b, size_t start, size_t end, int32_t added)
{
    tok_state *st = &b->s->state;
    if (start >= end) return MLTF_OK;
    if (!ARRAY_RESERVE(st->pieces, st->cap, st->n + 1)) return mltf_fail_memory(b->err);
    st->pieces[st->n++] = (tok_piece){(uint32_t)start, (uint32_t)end, added};
    return MLTF_OK;
}

/* Append part of a view to the text that is built, and make it a piece. */
static mltf_status copy_piece(builder *b, const tok_view *v, size_t start, size_t end,
                              int32_t added)
{
    tok_text *t = &b->s->text;
    const size_t n = end - start, at = t->n;
    if (!ARRAY_RESERVE(t->p, t->cap, at + n + 32)) return mltf_fail_memory(b->err);
    memcpy(t->p + at, v->p + start, n);
    if (b->spans) {
        if (!ARRAY_RESERVE(t->a, t->acap, at + n)) return mltf_fail_memory(b->err);
        if (v->a)
            memcpy(t->a + at, v->a + start, n * sizeof *t->a);
        else
            for (size_t i = start; i < end; i++) t->a[at + i - start] = tok_view_span(v, i);
    }
    t->n += n;
    return add_piece(b, at, at + n, added);
}

static mltf_status emit_normalized(void *user, int32_t id, size_t start, size_t end, mltf_err *err)
{
    (void)err;
    builder *b = user;
    return b->copying ? copy_piece(b, &b->segment, start, end, id) : add_piece(b, start, end, id);
}

static mltf_status emit_raw(void *user, int32_t id, size_t start, size_t end, mltf_err *err)
{
    builder *b = user;
    tok_view v = {b->text.p + start, end - start, NULL, (uint32_t)start};
    if (id >= 0) {
        b->copying = true;
        return copy_piece(b, &v, 0, v.n, id);
    }
    TRY(tok_normalize(b->tk->normalizer, &b->s->norm, &v, b->spans, err));
    b->segment = v;
    if (v.n == 0) return MLTF_OK;
    b->copying = b->copying || end - start != b->text.n;
    if (!b->copying) b->s->state.v = v; // the only segment: no copy
    return tok_added_split(&b->tk->added, b->tk->added.normalized, v.p, v.n, emit_normalized, b,
                           err);
}

/* Cut text into pieces, and pieces into tokens. */
static mltf_status run_tokens(const tokenizer *tk, tok_scratch *s, mltf_str text, bool spans,
                              mltf_err *err)
{
    if (tk->bert_path) return tok_fast_bert(tk, s, text, spans, err);
    spans = spans || tk->needs_spans;
    builder b = {.tk = tk, .s = s, .text = text, .spans = spans, .err = err};
    tok_state *st = &s->state;
    s->n_tokens = 0;
    s->text.n = 0;
    st->n = 0;
    st->v = (tok_view){text.p, 0, NULL, 0};
    TRY(tok_added_split(&tk->added, tk->added.raw, text.p, text.n, emit_raw, &b, err));
    if (b.copying)
        st->v = (tok_view){s->text.p ? s->text.p : "", s->text.n, spans ? s->text.a : NULL, 0};

    const tok_model *m = tk->model;
    if (tk->bytes_path.match)
        return tok_fast_bytes(tk, s, err); // the last cut and the model go hand in hand
    TRY(tok_pretokenize(tk->pretok, st, spans, m->bytes, err));
    s->limit = st->v.n;
    for (size_t k = 0; k < st->n; k++) {
        const tok_piece piece = st->pieces[k];
        if (piece.added < 0)
            TRY(m->tokenize(m, s, st->v.p, piece.start, piece.end - piece.start, k, err));
        else if (!tok_emit(s, piece.added, piece.start, piece.end, k | TOK_FROM_ADDED))
            return mltf_fail_memory(err);
    }
    return MLTF_OK;
}

/* Bytes of the original that spaces at the ends of a token stand for, for trim_offsets. The reference counts
 * in characters: a space that was added before a longer character has that character's bytes. */
static tok_span count_spaces(mltf_str value, mltf_str text, tok_span at)
{
    uint32_t lead = 0, trail = 0;
    bool leading = true;
    if (value.n && (unsigned char)value.p[0] - 0x21u < 0x5Eu &&
        (unsigned char)value.p[value.n - 1] - 0x21u < 0x5Eu)
        return (tok_span){0, 0};
    for (const char *p = value.p, *end = value.p + value.n; p < end;) {
        const uint32_t cp = utf8_next(&p);
        const bool space = cp == 0x120 || uc_is_space(cp);
        leading = leading && space;
        lead += leading;
        trail = space ? trail + 1 : 0;
    }
    uint32_t start = at.start, end = at.end;
    for (uint32_t i = 0; i < lead && start < at.end; i++) {
        start++;
        while (start < at.end && tok_is_cont(text.p[start])) start++;
    }
    for (uint32_t i = 0; i < trail; i++) {
        if (end == 0) {
            end = at.end; // more spaces than characters before: nothing is taken
            break;
        }
        end--;
        while (end > 0 && tok_is_cont(text.p[end])) end--;
    }
    return (tok_span){(start - at.start) | (lead == 1 ? TOK_TRIM_ONE : 0), at.end - end};
}

static mltf_str token_value(const tokenizer *tk, const tok_scratch *s, const tok_token *t)
{
    if ((t->piece & TOK_FROM_ADDED) || tk->model->values_from_text)
        return (mltf_str){s->state.v.p + t->start, t->end - t->start};
    return vocab_token(&tk->model->vocab, t->id);
}

/* Append the tokens found to e. word: of all of them, or -1 to number the pieces. */
static mltf_status collect(const tokenizer *tk, const tok_scratch *s, tok_enc *e, mltf_str text,
                           int32_t type, int32_t word, mltf_err *err)
{
    const size_t at = e->e.n, n = s->n_tokens;
    if (n == 0) return MLTF_OK; // the arrays may not be there
    if (!tok_enc_reserve(e, at + n)) return mltf_fail_memory(err);
    const tok_token *t = s->tokens;
    int32_t *ids = e->e.ids + at, *types = e->e.type_ids + at;
    for (size_t i = 0; i < n; i++) {
        ids[i] = t[i].id;
        types[i] = type;
    }
    e->e.n = at + n;
    if (e->bare) return MLTF_OK;
    const tok_view *v = &s->state.v;
    const bool trims = tok_post_trims(tk->post);
    for (size_t i = 0; i < n; i++) {
        size_t start = t[i].start, end = t[i].end;
        tok_span o;
        if (v->a) {
            o = start < end ? (tok_span){v->a[start].start, v->a[end - 1].end} : v->a[start];
        } else {
            while (start > 0 && tok_is_cont(v->p[start])) start--;
            while (end < v->n && tok_is_cont(v->p[end])) end++;
            o = (tok_span){v->base + (uint32_t)start, v->base + (uint32_t)end};
        }
        e->e.offsets[at + i] = o;
        e->e.word_ids[at + i] = word >= 0 ? word : (int32_t)(t[i].piece & ~TOK_FROM_ADDED);
        e->e.trim[at + i] =
            trims ? count_spaces(token_value(tk, s, &t[i]), text, o) : (tok_span){0, 0};
    }
    memset(e->e.sequence_ids + at, 0, n);
    memset(e->e.special + at, 0, n);
    memset(e->e.mask + at, 1, n);
    return MLTF_OK;
}

static mltf_status check_text(mltf_str text, mltf_err *err)
{
    if (text.n > LIMIT_TEXT_BYTES)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "a text of %zu bytes is longer than the %zu that can be tokenized", text.n,
                         LIMIT_TEXT_BYTES);
    if (!utf8_valid(text.p, text.n))
        return mltf_fail(err, MLTF_INVALID_INPUT, "the text is not valid UTF-8");
    return MLTF_OK;
}

static mltf_status encode_text(const tokenizer *tk, tok_scratch *s, tok_enc *e, mltf_str text,
                               int32_t type, int32_t word, mltf_err *err)
{
    TRY(check_text(text, err));
    if (tk->slow) return tok_slow_encode(tk, s, e, text, type, err);
    TRY(run_tokens(tk, s, text, !e->bare, err));
    return collect(tk, s, e, text, type, word, err);
}

/* truncate_encodings() */
static mltf_status truncate_parts(tok_enc *parts, size_t n, size_t max, const tok_truncation *t,
                                  mltf_err *err)
{
    if (max == 0) {
        for (size_t i = 0; i < n; i++) TRY(tok_enc_truncate(&parts[i], 0, t->stride, t->left, err));
        return MLTF_OK;
    }
    const size_t total = parts[0].e.n + (n > 1 ? parts[1].e.n : 0);
    if (total <= max) return MLTF_OK;
    const size_t remove = total - max;
    if (t->strategy == TOK_TRUNCATE_LONGEST_FIRST) {
        if (n == 1) return tok_enc_truncate(&parts[0], max, t->stride, t->left, err);
        size_t a = parts[0].e.n, b = parts[1].e.n;
        const bool swap = a > b;
        if (swap) {
            const size_t x = a;
            a = b;
            b = x;
        }
        if (a > max)
            b = a;
        else
            b = a > max - a ? a : max - a;
        if (a + b > max) {
            a = max / 2;
            b = a + max % 2;
        }
        TRY(tok_enc_truncate(&parts[0], swap ? b : a, t->stride, t->left, err));
        return tok_enc_truncate(&parts[1], swap ? a : b, t->stride, t->left, err);
    }
    const size_t which = t->strategy == TOK_TRUNCATE_ONLY_FIRST ? 0 : 1;
    if (which >= n)
        return mltf_fail(err, MLTF_INVALID_INPUT, "truncation error: second sequence not provided");
    if (parts[which].e.n <= remove)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "truncation error: sequence to truncate too short to respect the provided max_length");
    return tok_enc_truncate(&parts[which], parts[which].e.n - remove, t->stride, t->left, err);
}

static mltf_status pad(tok_enc *x, const tok_padding *p, size_t to, mltf_err *err)
{
    for (size_t i = 0; i < x->n_over; i++) TRY(pad(&x->over[i], p, to, err));
    const size_t n = x->e.n;
    if (n >= to) return MLTF_OK;
    if (!tok_enc_reserve(x, to)) return mltf_fail_memory(err);
    for (size_t i = n; i < to; i++) {
        tok_enc_push(x, p->id, p->type_id, true);
        if (!x->bare) x->e.mask[i] = 0;
    }
    if (!p->left) return MLTF_OK;
    tok_enc turned = {.bare = x->bare};
    if (!tok_enc_append(&turned, &x->e, n, to) || !tok_enc_append(&turned, &x->e, 0, n)) {
        tok_enc_release(&turned);
        return mltf_fail_memory(err);
    }
    tok_encoding_release(&x->e);
    x->e = turned.e;
    return MLTF_OK;
}

/* From the parts to what the caller gets. */
static mltf_status finish(const tokenizer *tk, tok_enc *out, tok_enc *parts, size_t n,
                          const tok_options *opts, mltf_err *err)
{
    const bool special = !opts->no_special_tokens;
    if (tk->slow) return tok_slow_finish(tk, out, parts, n, opts, err);
    tok_truncation t = {0};
    if (opts->truncation != TOK_TRUNCATE_NONE) {
        t = (tok_truncation){
            .on = true,
            .left = opts->truncate_left || tk->truncate_left,
            .max_length = opts->max_length ? opts->max_length : tk->model_max_length,
            .stride = opts->stride,
            .strategy = opts->truncation,
        };
        if (t.max_length == SIZE_MAX) t.on = false;
        const size_t added = tok_post_added(tk->post, false);
        if (t.on && t.max_length >= added && t.max_length - added < t.stride)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "stride %zu is greater than the effective max length of %zu (= %zu - "
                             "%zu added special tokens)",
                             t.stride, t.max_length - added, t.max_length, added);
    } else if (opts->raw) {
        t = tk->truncation;
    }
    if (t.on) {
        const size_t added = special ? tok_post_added(tk->post, n > 1) : 0;
        // a length below that of the special tokens wraps around in the reference: no truncation
        if (t.max_length >= added) TRY(truncate_parts(parts, n, t.max_length - added, &t, err));
    }
    TRY(tok_post_process(tk->post, out, parts, n, special, err));
    if (opts->raw && tk->padding.on) {
        size_t to = tk->padding.fixed ? tk->padding.fixed : out->e.n;
        if (tk->padding.multiple && to % tk->padding.multiple)
            to += tk->padding.multiple - to % tk->padding.multiple;
        TRY(pad(out, &tk->padding, to, err));
    }
    return MLTF_OK;
}

static const tok_options default_options = {0};

static mltf_status encode(const tokenizer *tk, tok_enc *out, mltf_str text, mltf_str pair,
                          const mltf_str *words, size_t n_words, const tok_options *opts,
                          mltf_err *err)
{
    const bool bare = opts->ids_only;
    // transformers takes an empty second text for none, but not `tokenizers` alone, nor the slow classes
    const bool two = pair.p && (pair.n || opts->raw || tk->slow);
    out->bare = bare;
    tok_enc parts[2] = {{.bare = bare}, {.bare = bare}};
    tok_scratch *s = scratch_take(tk);
    mltf_status st = s ? MLTF_OK : mltf_fail_memory(err);
    if (words)
        for (size_t i = 0; i < n_words && st == MLTF_OK; i++)
            st = encode_text(tk, s, &parts[0], words[i], 0, (int32_t)i, err);
    else if (st == MLTF_OK)
        st = encode_text(tk, s, &parts[0], text, 0, -1, err);
    if (st == MLTF_OK && two) st = encode_text(tk, s, &parts[1], pair, 1, -1, err);
    if (s) scratch_give(tk, s);
    if (st == MLTF_OK) st = finish(tk, out, parts, two ? 2 : 1, opts, err);
    tok_enc_release(&parts[0]);
    tok_enc_release(&parts[1]);
    return st;
}

static mltf_status encode_into(const tokenizer *tk, tok_encoding *enc, mltf_str text, mltf_str pair,
                               const mltf_str *words, size_t n_words, const tok_options *opts,
                               mltf_err *err)
{
    tok_encoding_release(enc);
    tok_enc out = {0};
    const mltf_status st =
        encode(tk, &out, text, pair, words, n_words, opts ? opts : &default_options, err);
    if (st == MLTF_OK) {
        *enc = out.e;
        out.e = (tok_encoding){0};
    }
    tok_enc_release(&out);
    return st;
}

mltf_status tokenizer_encode(const tokenizer *tk, tok_encoding *enc, mltf_str text, mltf_str pair,
                             const tok_options *opts, mltf_err *err)
{
    return encode_into(tk, enc, text, pair, NULL, 0, opts, err);
}

mltf_status tokenizer_encode_words(const tokenizer *tk, tok_encoding *enc, const mltf_str *words,
                                   size_t n_words, const tok_options *opts, mltf_err *err)
{
    static const mltf_str none = {"", 0};
    if (tk->no_split_words)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "you need to instantiate %s with add_prefix_space=True to use it with "
                         "pretokenized inputs",
                         tk->class_name);
    return encode_into(tk, enc, none, (mltf_str){NULL, 0}, words ? words : &none, n_words, opts,
                       err);
}

mltf_status tokenizer_encode_overflow(const tokenizer *tk, tok_encoding **encs, size_t *n,
                                      mltf_str text, mltf_str pair, const tok_options *opts,
                                      mltf_err *err)
{
    *encs = NULL;
    *n = 0;
    tok_enc out = {0};
    mltf_status st = encode(tk, &out, text, pair, NULL, 0, opts ? opts : &default_options, err);
    if (st == MLTF_OK) {
        *encs = calloc(out.n_over + 1, sizeof **encs);
        if (!*encs) st = mltf_fail_memory(err);
    }
    if (st == MLTF_OK) {
        (*encs)[(*n)++] = out.e;
        out.e = (tok_encoding){0};
        for (size_t i = 0; i < out.n_over; i++) {
            (*encs)[(*n)++] = out.over[i].e;
            out.over[i].e = (tok_encoding){0};
        }
    }
    tok_enc_release(&out);
    return st;
}

/* ---- vocabulary ---- */

size_t tokenizer_vocab_size(const tokenizer *tk)
{
    return tk->vocab_size;
}

int32_t tokenizer_token_to_id(const tokenizer *tk, mltf_str token)
{
    const int32_t id = vocab_find(&tk->added.by_content, token.p, token.n);
    return id >= 0 ? id : vocab_find(&tk->model->vocab, token.p, token.n);
}

mltf_str tokenizer_id_to_token(const tokenizer *tk, int32_t id)
{
    const tok_added_token *t = tok_added_by_id(&tk->added, id);
    return t ? t->content : vocab_token(&tk->model->vocab, id);
}

bool tokenizer_is_special(const tokenizer *tk, int32_t id)
{
    const mltf_str t = tokenizer_id_to_token(tk, id);
    return t.p && tok_added_special(&tk->added, t);
}

int32_t tokenizer_special_id(const tokenizer *tk, tok_special which)
{
    const mltf_str t = tokenizer_special_token(tk, which);
    return t.p ? tokenizer_token_to_id(tk, t) : -1;
}
mltf_str tokenizer_special_token(const tokenizer *tk, tok_special which)
{
    return tk->special[which];
}

size_t tokenizer_num_added(const tokenizer *tk, bool pair)
{
    return tk->slow ? tok_slow_num_added(tk, pair) : tok_post_added(tk->post, pair);
}

const char *tokenizer_class(const tokenizer *tk)
{
    return tk->class_name;
}
size_t tokenizer_model_max_length(const tokenizer *tk)
{
    return tk->model_max_length;
}
bool tokenizer_pad_left(const tokenizer *tk)
{
    return tk->pad_left;
}
int32_t tokenizer_pad_type_id(const tokenizer *tk)
{
    return tk->pad_type_id;
}
bool tokenizer_adds_type_ids(const tokenizer *tk)
{
    return tk->adds_type_ids;
}
const json *tokenizer_config(const tokenizer *tk)
{
    return tk->config.root;
}

mltf_str tokenizer_chat_template(const tokenizer *tk, const char *name)
{
    for (size_t i = 0; i < tk->n_templates; i++)
        if (str_is(tk->template_names[i], name ? name : "default")) return tk->templates[i];
    return (mltf_str){NULL, 0};
}
