#include "tasks/qa_slow.h"

#include <stdlib.h>

#include "base/utf8.h"

/* ---- the context's words ---- */

static bool is_blank(mltf_str s, size_t i)
{
    const char c = s.p[i];
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' ||
           str_starts(str_slice(s, i, s.n), "\xE2\x80\xAF") ||
           (i >= 1 && str_starts(str_slice(s, i - 1, s.n), "\xE2\x80\xAF")) ||
           (i >= 2 && str_starts(str_slice(s, i - 2, s.n), "\xE2\x80\xAF"));
}

static mltf_status find_words(const task_call *c, qa_context *x, mltf_err *err)
{
    x->words = arena_calloc(c->arena, x->text.n / 2 + 1, sizeof *x->words);
    if (!x->words) return mltf_fail_memory(err);
    for (size_t i = 0; i < x->text.n; i++) {
        if (is_blank(x->text, i) || (i > 0 && !is_blank(x->text, i - 1))) continue;
        if (x->n_words) x->words[x->n_words - 1].end = (uint32_t)i;
        x->words[x->n_words++] = (tok_span){(uint32_t)i, (uint32_t)x->text.n};
    }
    return MLTF_OK;
}

static mltf_str word_text(const qa_context *x, size_t w)
{
    mltf_str s = str_slice(x->text, x->words[w].start, x->words[w].end);
    while (s.n && is_blank(x->text, x->words[w].start + s.n - 1)) s.n--;
    return s;
}

static mltf_status tokenize_words(const task_call *c, qa_context *x, mltf_err *err)
{
    const tok_options plain = {.no_special_tokens = true};
    size_t cap = 0, words_cap = 0;
    for (size_t w = 0; w < x->n_words; w++) {
        tok_encoding enc = TOK_ENCODING_INIT;
        const mltf_status st =
            tokenizer_encode(c->p->tk, &enc, word_text(x, w), (mltf_str){0}, &plain, err);
        const bool room = ARENA_RESERVE(c->arena, x->ids, cap, x->n + enc.n) &&
                          ARENA_RESERVE(c->arena, x->word_of, words_cap, x->n + enc.n);
        for (size_t i = 0; !st && room && i < enc.n; i++) {
            x->word_of[x->n] = (uint32_t)w;
            x->ids[x->n++] = enc.ids[i];
        }
        tok_encoding_release(&enc);
        TRY(st);
        if (c->arena->failed) return mltf_fail_memory(err);
    }
    return MLTF_OK;
}

/* ---- pieces ---- */

/* Where a pair's texts stand among the special tokens: the encoding of two short ones. */
typedef struct frame {
    tok_encoding pair;
    size_t first[2], last[2]; /* [sequence] its tokens in the pair */
} frame;

static mltf_status read_frame(const task_call *c, frame *f, mltf_err *err)
{
    *f = (frame){.pair = TOK_ENCODING_INIT};
    TRY(tokenizer_encode(c->p->tk, &f->pair, STR("a"), STR("b"), NULL, err));
    bool seen[2] = {false, false};
    for (size_t i = 0; f->pair.sequence_ids && i < f->pair.n; i++) {
        const int s = f->pair.sequence_ids[i];
        if (s < 0 || s > 1) continue;
        if (!seen[s]) f->first[s] = i;
        f->last[s] = i;
        seen[s] = true;
    }
    if (seen[0] && seen[1]) return MLTF_OK;
    return mltf_fail(err, MLTF_UNSUPPORTED, "%s does not tell the two texts of a pair apart",
                     tokenizer_class(c->p->tk));
}

static void put(tok_encoding *e, const frame *f, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        e->ids[e->n] = f->pair.ids[i];
        e->type_ids[e->n++] = f->pair.type_ids ? f->pair.type_ids[i] : 0;
    }
}

static void put_text(tok_encoding *e, const frame *f, int which, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        e->ids[e->n] = ids[i];
        e->type_ids[e->n++] = f->pair.type_ids ? f->pair.type_ids[f->first[which]] : 0;
    }
}

/* to: padding on the left fills up to it, because it moves the positions; 0 for none. */
static mltf_status build_piece(const task_call *c, const frame *f, tok_encoding *e,
                               const int32_t *const *ids, const size_t *n, size_t to, mltf_err *err)
{
    const size_t whole =
        f->pair.n - (f->last[0] - f->first[0] + 1) - (f->last[1] - f->first[1] + 1) + n[0] + n[1];
    const size_t padding = whole < to ? to - whole : 0;
    e->cap = whole + padding;
    e->ids = calloc(e->cap, sizeof *e->ids);
    e->type_ids = calloc(e->cap, sizeof *e->type_ids);
    e->special = calloc(e->cap, sizeof *e->special);
    if (!e->ids || !e->type_ids || !e->special) return mltf_fail_memory(err);
    for (; e->n < padding; e->n++) {
        e->ids[e->n] = tokenizer_special_id(c->p->tk, TOK_PAD);
        e->special[e->n] = 2;
    }
    if (padding && e->ids[0] < 0)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "Asking to pad but the tokenizer does not have a padding token. ");
    put(e, f, 0, f->first[0]);
    put_text(e, f, 0, ids[0], n[0]);
    put(e, f, f->last[0] + 1, f->first[1]);
    put_text(e, f, 1, ids[1], n[1]);
    put(e, f, f->last[1] + 1, f->pair.n);
    return task_check(c, err);
}

/* Tokens of the context, less special ones; the first [CLS] stands for "no answer". */
static mltf_status mark_allowed(const task_call *c, qa_piece *p, const tok_encoding *e, size_t from,
                                size_t to, mltf_err *err)
{
    const int32_t cls = tokenizer_special_id(c->p->tk, TOK_CLS);
    if (cls < 0) return mltf_fail(err, MLTF_PREDICT_FAILED, "None is not in list");
    p->allowed = arena_calloc(c->arena, e->n + 1, sizeof *p->allowed);
    if (!p->allowed) return mltf_fail_memory(err);
    for (size_t i = from; i < to && i < e->n; i++)
        p->allowed[i] = !tokenizer_is_special(c->p->tk, e->ids[i]);
    for (size_t i = 0; i < e->n; i++) {
        if (e->ids[i] != cls) continue;
        p->allowed[i] = true;
        return MLTF_OK;
    }
    return mltf_fail(err, MLTF_PREDICT_FAILED, "%d is not in list", cls);
}

mltf_status qa_slow_encode(const task_call *c, const qa_slow_options *o, mltf_str question,
                           mltf_str context, task_seqs *seqs, qa_piece **pieces, size_t *n_pieces,
                           mltf_err *err)
{
    const tokenizer *tk = c->p->tk;
    const bool right = !tokenizer_pad_left(tk);
    const size_t single = tokenizer_num_added(tk, false), both = tokenizer_num_added(tk, true);
    qa_context *x = arena_calloc(c->arena, 1, sizeof *x);
    if (!x) return mltf_fail_memory(err);
    x->text = context;
    TRY(find_words(c, x, err));
    TRY(tokenize_words(c, x, err));
    if (o->doc_stride == 0)
        return mltf_fail(err, MLTF_PREDICT_FAILED, "`doc_stride` must be positive");
    *pieces = arena_calloc(c->arena, x->n / o->doc_stride + 2, sizeof **pieces);
    *n_pieces = 0;
    if (!*pieces) return mltf_fail_memory(err);
    tok_encoding q = TOK_ENCODING_INIT;
    frame f = {0};
    const tok_options cut = {.no_special_tokens = true,
                             .truncation = TOK_TRUNCATE_LONGEST_FIRST,
                             .max_length = o->max_question_len};
    mltf_status st = tokenizer_encode(tk, &q, question, (mltf_str){0}, &cut, err);
    if (!st) st = read_frame(c, &f, err);
    const int32_t *left = x->ids; // the tokens that no piece has had, with what overlaps
    size_t n_left = x->n;
    while (!st && *n_pieces * o->doc_stride < x->n) {
        const size_t whole = q.n + n_left + both;
        const size_t over = whole > o->max_seq_len ? whole - o->max_seq_len : 0;
        const bool fits = over < n_left; // otherwise transformers complains and cuts nothing
        const size_t n = over && fits ? n_left - over : n_left;
        const int32_t *const ids[2] = {right ? q.ids : left, right ? left : q.ids};
        const size_t counts[2] = {right ? q.n : n, right ? n : q.n};
        tok_encoding *e = task_seqs_add(seqs);
        st = e ? build_piece(c, &f, e, ids, counts, right ? 0 : o->max_seq_len, err)
               : mltf_fail_memory(err);
        if (st) break;
        qa_piece *p = &(*pieces)[*n_pieces];
        const size_t begun = *n_pieces * o->doc_stride, used = q.n + both;
        const size_t room = o->max_seq_len > used ? o->max_seq_len - used : 0;
        size_t padding = 0;
        while (padding < e->n && e->special[padding] == 2) padding++;
        *p = (qa_piece){.context = x,
                        .first_key = right ? q.n + single : 0,
                        .n_keys = x->n - begun < room ? x->n - begun : room,
                        .first_token = begun};
        st = mark_allowed(c, p, e, right ? q.n + single : padding,
                          right ? e->n : e->n - q.n - single, err);
        ++*n_pieces;
        if (st || !over || !fits) break;
        // stride = max_seq_len - doc_stride - question - special tokens, and what was cut: from the end
        const int64_t window = (int64_t)over + (int64_t)o->max_seq_len - (int64_t)o->doc_stride -
                               (int64_t)q.n - (int64_t)both;
        const size_t skip = window > 0 && (size_t)window < n_left ? n_left - (size_t)window
                            : window < 0                          ? (size_t)-window
                                                                  : 0;
        if (skip >= n_left) break;
        left += skip;
        n_left -= skip;
    }
    tok_encoding_release(&q);
    tok_encoding_release(&f.pair);
    return st;
}

/* ---- answers ---- */

static bool word_at(const qa_piece *p, size_t token, size_t *word)
{
    if (token < p->first_key || token - p->first_key >= p->n_keys) return false;
    *word = p->context->word_of[p->first_token + token - p->first_key];
    return true;
}

mltf_status qa_slow_answer(const task_call *c, const qa_piece *p, size_t s, size_t e,
                           mltf_str *text, uint32_t *start, uint32_t *last, mltf_err *err)
{
    const qa_context *x = p->context;
    size_t from, to;
    const bool first_known = word_at(p, s, &from);
    if (!first_known || !word_at(p, e, &to))
        return mltf_fail(err, MLTF_PREDICT_FAILED, "np.int64(%zu)", first_known ? e : s);
    mltf_buf b = MLTF_BUF_INIT;
    for (size_t w = from; w <= to; w++) {
        if (w > from) buf_putc(&b, ' ');
        buf_put_str(&b, word_text(x, w));
    }
    *text = arena_str(c->arena, b.p ? buf_str(&b) : STR(""));
    *start = x->words[from].start;
    *last = x->words[to].end - 1;
    while (*last > 0 && ((unsigned char)x->text.p[*last] & 0xC0) == 0x80) --*last;
    const mltf_status st = buf_status(&b, err);
    mltf_buf_release(&b);
    return st;
}
