/* Classes of transformers 4.57 without a fast form: Marian, M2M100, Siglip, Wav2Vec2 (CTC), ByT5, CANINE, Perceiver
 * (tokenization_utils.py and the models' tokenization files).
 *
 * A text is cut at all added tokens, what they strip is taken from their neighbours, and what lies between goes
 * through the class's _tokenize(). There are no offsets and no word ids. */
#include "tokenizers/tok_slow.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/pytext.h"
#include "base/python_unicode.h"
#include "tokenizers/tok_convert.h"
#include "tokenizers/tok_spm.h"

#define META "\xE2\x96\x81"

typedef enum {
    SLOW_MARIAN,
    SLOW_M2M100,
    SLOW_SIGLIP,
    SLOW_CTC,
    SLOW_BYT5,
    SLOW_CANINE,
    SLOW_PERCEIVER
} slow_kind;

struct tok_slow {
    slow_kind kind;
    tok_spm *spm, *target;            /* target NULL: the same */
    int32_t unk, eos, lang, cls, sep; /* -1: none */
    mltf_str unk_token, delimiter, replaced, pad_token;
    bool lower;
    size_t unk_pieces;
    size_t vocab_size;
    int32_t bytes;        /* the id of byte 0 */
    tok_vocab specials;   /* all_special_tokens */
    tok_vocab additional; /* of these additional_special_tokens */
};

void tok_slow_free(tok_slow *s)
{
    if (!s) return;
    if (s->target != s->spm) tok_spm_free(s->target);
    tok_spm_free(s->spm);
    vocab_release(&s->specials);
    vocab_release(&s->additional);
    free(s);
}

static bool is_special(const tok_slow *s, mltf_str t)
{
    return vocab_find(&s->specials, t.p, t.n) >= 0;
}

/* Texts stand between a cls and a sep token. */
static bool is_framed(const tok_slow *s)
{
    return s->kind == SLOW_CANINE || s->kind == SLOW_PERCEIVER;
}

bool tok_slow_holds(const tok_slow *s)
{
    return s->kind == SLOW_SIGLIP;
}

/* ---- encoding ---- */

static int32_t id_of(const tokenizer *tk, mltf_str token)
{
    const tok_slow *s = tk->slow;
    const int32_t added = vocab_find(&tk->added.by_content, token.p, token.n);
    if (added >= 0) return added;
    if (s->kind == SLOW_SIGLIP) return tok_spm_id(s->spm, token);
    const int32_t id = vocab_find(&tk->model->vocab, token.p, token.n);
    return id >= 0 ? id : s->unk;
}

static mltf_status push_spm(const tokenizer *tk, tok_enc *e, mltf_str text, size_t skip,
                            int32_t type, mltf_err *err)
{
    tok_spm_pieces p = {0};
    mltf_status st = tok_spm_encode(tk->slow->spm, &p, text, err);
    if (p.n < skip) skip = 0;
    for (size_t i = skip; i < p.n && st == MLTF_OK; i++)
        if (!tok_enc_push(e, id_of(tk, p.pieces[i]), type, false)) st = mltf_fail_memory(err);
    tok_spm_pieces_release(&p);
    return st;
}

/* canonicalize_text(): no ASCII punctuation, runs of spaces as one, none at the ends. */
static void canonicalize(mltf_buf *out, mltf_str text)
{
    text = pytext_rstrip(text);
    bool space = false, any = false;
    for (const char *p = text.p, *end = text.p + text.n; p < end;) {
        const char *c = p;
        const uint32_t cp = utf8_next(&p);
        if (cp > ' ' && cp < 0x7F && !(uc_catbit(cp) & (UC_L | UC_N))) continue;
        if (pytext_is_space(cp)) {
            space = true;
            continue;
        }
        if (space && any) buf_putc(out, ' ');
        space = false;
        any = true;
        buf_append(out, c, (size_t)(p - c));
    }
}

static mltf_status push_letter(const tokenizer *tk, tok_enc *e, mltf_str letter, int32_t type,
                               mltf_err *err)
{
    const int32_t id = id_of(tk, letter);
    if (id < 0)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "the tokenizer has no unknown token for \"" STR_FMT "\"", STR_ARG(letter));
    return tok_enc_push(e, id, type, false) ? MLTF_OK : mltf_fail_memory(err);
}

/* list(text.replace(" ", delimiter)), where do_lower_case, of all things, means str.upper(). */
static mltf_status push_letters(const tokenizer *tk, tok_enc *e, mltf_str text, int32_t type,
                                mltf_err *err)
{
    const tok_slow *s = tk->slow;
    for (const char *p = text.p, *end = text.p + text.n; p < end;) {
        uint32_t out[3];
        const uint32_t cp = utf8_next(&p);
        if (cp == ' ') {
            TRY(push_letter(tk, e, s->delimiter, type, err));
            continue;
        }
        out[0] = cp;
        const size_t n = s->lower ? pyu_convert(cp, PYU_TO_UPPER, out) : 1;
        for (size_t i = 0; i < n; i++) {
            char c[4];
            TRY(push_letter(tk, e, (mltf_str){c, utf8_encode(c, out[i])}, type, err));
        }
    }
    return MLTF_OK;
}

static mltf_status push_part(const tokenizer *tk, tok_enc *e, mltf_str text, int32_t type,
                             mltf_err *err)
{
    const tok_slow *s = tk->slow;
    mltf_status st = MLTF_OK;
    switch (s->kind) {
    case SLOW_MARIAN:
        if (str_starts(text, ">>")) { // a language code
            const char *end = memmem(text.p, text.n, "<<", 2);
            if (end) {
                const size_t n = (size_t)(end - text.p) + 2;
                if (!tok_enc_push(e, id_of(tk, str_slice(text, 0, n)), type, false))
                    return mltf_fail_memory(err);
                text = str_slice(text, n, text.n);
            }
        }
        return push_spm(tk, e, text, 0, type, err);
    case SLOW_M2M100:
        return push_spm(tk, e, text, 0, type, err);
    case SLOW_SIGLIP: {
        mltf_buf b = MLTF_BUF_INIT;
        buf_put_str(&b, s->unk_token);
        canonicalize(&b, text);
        st = buf_status(&b, err);
        if (st == MLTF_OK) st = push_spm(tk, e, buf_str(&b), s->unk_pieces, type, err);
        mltf_buf_release(&b);
        return st;
    }
    case SLOW_CTC:
        return push_letters(tk, e, text, type, err);
    case SLOW_BYT5:
    case SLOW_PERCEIVER:
        for (size_t i = 0; i < text.n; i++)
            if (!tok_enc_push(e, (unsigned char)text.p[i] + s->bytes, type, false))
                return mltf_fail_memory(err);
        return MLTF_OK;
    case SLOW_CANINE:
        for (const char *p = text.p, *end = text.p + text.n; p < end;)
            if (!tok_enc_push(e, (int32_t)utf8_next(&p), type, false)) return mltf_fail_memory(err);
        return MLTF_OK;
    }
    return st;
}

typedef struct part {
    mltf_str text;
    int32_t id; /* of an added token, or -1 */
} part;
typedef struct part_list {
    part *v;
    size_t n, cap;
    mltf_str text;
} part_list;

static mltf_status add_part(void *user, int32_t id, size_t start, size_t end, mltf_err *err)
{
    part_list *l = user;
    if (!ARRAY_RESERVE(l->v, l->cap, l->n + 1)) return mltf_fail_memory(err);
    l->v[l->n++] = (part){str_slice(l->text, start, end), id};
    return MLTF_OK;
}

/* Special tokens stay, other characters become small. */
static mltf_status lower_text(const tokenizer *tk, mltf_buf *out, mltf_str text, mltf_err *err)
{
    for (size_t i = 0; i < text.n;) {
        size_t n = 0;
        for (size_t k = 0; k < tk->slow->specials.n; k++) {
            const mltf_str t = vocab_at(&tk->slow->specials, k);
            if (t.n && text.n - i >= t.n && memcmp(text.p + i, t.p, t.n) == 0) {
                n = t.n;
                break;
            }
        }
        if (n) {
            buf_append(out, text.p + i, n);
            i += n;
            continue;
        }
        const char *p = text.p + i;
        uint32_t second;
        char c[4];
        const uint32_t cp = uc_lower(utf8_next(&p), &second);
        buf_append(out, c, utf8_encode(c, cp));
        if (second) buf_append(out, c, utf8_encode(c, second));
        i = (size_t)(p - text.p);
    }
    return buf_status(out, err);
}

mltf_status tok_slow_encode(const tokenizer *tk, tok_scratch *sc, tok_enc *e, mltf_str text,
                            int32_t type, mltf_err *err)
{
    (void)sc;
    const tok_slow *s = tk->slow;
    mltf_buf b = MLTF_BUF_INIT, low = MLTF_BUF_INIT;
    mltf_status st = MLTF_OK;
    if (s->kind == SLOW_SIGLIP) {
        buf_puts(&b, META);
        for (size_t i = 0; i < text.n;) {
            const size_t n = char_bytes(text.p + i, text.n - i);
            if (n == 3 && memcmp(text.p + i, META, 3) == 0)
                buf_putc(&b, ' ');
            else
                buf_append(&b, text.p + i, n);
            i += n;
        }
        st = buf_status(&b, err);
        text = buf_str(&b);
        if (st == MLTF_OK && s->lower) {
            st = lower_text(tk, &low, text, err);
            text = buf_str(&low);
        }
    }
    part_list l = {.text = text};
    const size_t from = e->e.n;
    if (st == MLTF_OK)
        st = tok_added_split(&tk->added, tk->added.raw, text.p, text.n, add_part, &l, err);
    for (size_t i = 0; i < l.n; i++) {
        const tok_added_token *t = l.v[i].id >= 0 ? tok_added_by_id(&tk->added, l.v[i].id) : NULL;
        if (!t) continue;
        // attributes of the tokens are kept in a copy without them: see load_added()
        const unsigned a =
            tk->slow_attributes ? (unsigned)tk->slow_attributes[t - tk->added.tokens] : 0;
        if ((a & 2) && i + 1 < l.n) l.v[i + 1].text = pytext_lstrip(l.v[i + 1].text);
        if ((a & 1) && i > 0) l.v[i - 1].text = pytext_rstrip(l.v[i - 1].text);
    }
    bool lone = false; // the first text gave one token, and a special one follows
    for (size_t i = 0; i < l.n && st == MLTF_OK; i++) {
        if (!l.v[i].text.n) continue;
        if (l.v[i].id >= 0 && e->e.n == from + 1 && i > 0 && l.v[0].id < 0) lone = true;
        if (l.v[i].id >= 0) {
            if (!tok_enc_push(e, l.v[i].id, type, false)) st = mltf_fail_memory(err);
        } else {
            st = push_part(tk, e, l.v[i].text, type, err);
        }
    }
    // a lone "▁" before a special token is the prefix, not text
    if (st == MLTF_OK && s->kind == SLOW_SIGLIP && lone &&
        e->e.ids[from] == tok_spm_find(s->spm, STR(META))) {
        memmove(e->e.ids + from, e->e.ids + from + 1, (e->e.n - from - 1) * sizeof *e->e.ids);
        e->e.n--;
    }
    if (!e->bare && e->e.n > from) memset(e->e.sequence_ids + from, type, e->e.n - from);
    free(l.v);
    mltf_buf_release(&b);
    mltf_buf_release(&low);
    return st;
}

size_t tok_slow_num_added(const tokenizer *tk, bool pair)
{
    switch (tk->slow->kind) {
    case SLOW_MARIAN:
        return 1;
    case SLOW_M2M100:
        return 2;
    case SLOW_SIGLIP:
    case SLOW_BYT5:
        return pair ? 2 : 1;
    case SLOW_CANINE:
    case SLOW_PERCEIVER:
        return pair ? 3 : 2;
    case SLOW_CTC:
        return 0;
    }
    return 0;
}

/* truncate_sequences(): a sequence that is too short to give stays whole, without an error. */
static mltf_status cut_slow(tok_enc *parts, size_t n, size_t remove, const tok_options *o,
                            bool left, mltf_err *err)
{
    if (o->truncation == TOK_TRUNCATE_LONGEST_FIRST) {
        size_t len[2] = {parts[0].e.n, n > 1 ? parts[1].e.n : 0};
        for (size_t i = 0; i < remove; i++) {
            const int k = n == 1 || len[0] > len[1] ? 0 : 1;
            if (len[k]) len[k]--;
        }
        for (size_t k = 0; k < n; k++) {
            TRY(tok_enc_truncate(&parts[k], len[k], 0, left, err));
            if (!len[k]) tok_enc_release(&parts[k]);
        }
        return MLTF_OK;
    }
    const size_t which = o->truncation == TOK_TRUNCATE_ONLY_FIRST ? 0 : 1;
    if (which >= n || parts[which].e.n <= remove) return MLTF_OK;
    return tok_enc_truncate(&parts[which], parts[which].e.n - remove, o->stride, left, err);
}

mltf_status tok_slow_finish(const tokenizer *tk, tok_enc *out, tok_enc *parts, size_t n,
                            const tok_options *opts, mltf_err *err)
{
    const tok_slow *s = tk->slow;
    const bool special = !opts->no_special_tokens;
    const size_t max = opts->max_length ? opts->max_length : tk->model_max_length;
    const size_t total =
        parts[0].e.n + (n > 1 ? parts[1].e.n : 0) + (special ? tok_slow_num_added(tk, n > 1) : 0);
    if (opts->truncation != TOK_TRUNCATE_NONE && max != SIZE_MAX && total > max)
        TRY(cut_slow(parts, n, total - max, opts, opts->truncate_left || tk->truncate_left, err));
    bool ok = true;
    if (special && s->kind == SLOW_M2M100) ok = tok_enc_push(out, s->lang, 0, true);
    if (special && is_framed(s)) ok = tok_enc_push(out, s->cls, 0, true);
    for (size_t i = 0; ok && i < n; i++) {
        ok = tok_enc_append(out, &parts[i].e, 0, parts[i].e.n);
        const bool each = s->kind == SLOW_SIGLIP || s->kind == SLOW_BYT5;
        const bool there = each && parts[i].e.n && parts[i].e.ids[parts[i].e.n - 1] == s->eos;
        if (ok && special && is_framed(s))
            ok = tok_enc_push(out, s->sep, (int32_t)i, true);
        else if (ok && special && s->eos >= 0 && s->kind != SLOW_CTC &&
                 (each ? !there : i + 1 == n))
            ok = tok_enc_push(out, s->eos,
                              s->kind == SLOW_MARIAN || s->kind == SLOW_M2M100 ? (int32_t)i : 0,
                              true);
    }
    if (s->kind == SLOW_SIGLIP || s->kind == SLOW_BYT5)
        for (size_t i = 0; i < out->e.n; i++) out->e.type_ids[i] = 0;
    if (s->kind == SLOW_MARIAN && !out->bare) // every special token but the unknown one
        for (size_t i = 0; i < out->e.n; i++) {
            const mltf_str t = tokenizer_id_to_token(tk, out->e.ids[i]);
            if (t.p && out->e.ids[i] != s->unk && is_special(s, t)) out->e.special[i] = 1;
        }
    return ok ? MLTF_OK : mltf_fail_memory(err);
}

/* ---- decoding ---- */

typedef struct word_list {
    mltf_str *v;
    size_t n, cap;
} word_list;

/* convert_tokens_to_string() */
static mltf_status join(const tokenizer *tk, mltf_buf *out, const mltf_str *t, size_t n,
                        mltf_err *err)
{
    const tok_slow *s = tk->slow;
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = MLTF_OK;
    if (s->kind == SLOW_BYT5 || s->kind == SLOW_PERCEIVER) {
        for (size_t i = 0; i < n; i++) {
            const char *p = t[i].p;
            const uint32_t cp = utf8_next(&p);
            if (vocab_find(&tk->added.by_content, t[i].p, t[i].n) >= 0)
                buf_put_str(&text, t[i]);
            else
                buf_putc(&text, (char)cp);
        }
        if (s->kind == SLOW_PERCEIVER) tok_append_lossy(out, text.p, text.n);
        for (size_t i = 0, len; s->kind == SLOW_BYT5 && i < text.n; i += len) // errors="ignore"
            if (utf8_decode(text.p + i, text.n - i, &len) != UTF8_BAD)
                buf_append(out, text.p + i, len);
    } else if (s->kind == SLOW_CANINE) {
        for (size_t i = 0; i < n; i++) buf_put_str(out, t[i]);
    } else if (s->kind == SLOW_CTC) {
        for (size_t i = 0; i < n; i++) {
            if (i && str_eq(t[i], t[i - 1])) continue;
            if (str_eq(t[i], s->pad_token)) continue;
            buf_put_str(&text, str_eq(t[i], s->delimiter) ? s->replaced : t[i]);
        }
        buf_put_str(out, pytext_strip(buf_str(&text)));
    } else {
        const tok_spm *m = s->target ? s->target : s->spm;
        bool before = false;
        size_t from = 0;
        for (size_t i = 0; i <= n && st == MLTF_OK; i++) {
            if (i < n && !is_special(s, t[i])) {
                before = false;
                continue;
            }
            if (i < n && s->kind == SLOW_SIGLIP && !before) buf_putc(&text, ' ');
            st = tok_spm_decode_pieces(m, &text, t + from, i - from, err);
            if (i < n) {
                buf_put_str(&text, t[i]);
                if (s->kind == SLOW_MARIAN) buf_putc(&text, ' ');
            }
            before = true;
            from = i + 1;
        }
        mltf_buf spaced = MLTF_BUF_INIT;
        for (size_t i = 0; i < text.n; i++) {
            if (s->kind == SLOW_MARIAN && i + 3 <= text.n && memcmp(text.p + i, META, 3) == 0) {
                buf_putc(&spaced, ' ');
                i += 2;
            } else {
                buf_putc(&spaced, text.p[i]);
            }
        }
        if (spaced.failed) st = mltf_fail_memory(err);
        buf_put_str(out, pytext_strip(buf_str(&spaced)));
        mltf_buf_release(&spaced);
    }
    if (text.failed) st = mltf_fail_memory(err);
    mltf_buf_release(&text);
    return st;
}

mltf_status tok_slow_decode(const tokenizer *tk, mltf_buf *out, const int32_t *ids, size_t n,
                            bool skip_special, mltf_err *err)
{
    const tok_slow *s = tk->slow;
    word_list w = {0};
    mltf_status st = MLTF_OK;
    bool first = true;
    for (size_t i = 0; i <= n && st == MLTF_OK; i++) {
        mltf_str t = {NULL, 0};
        bool apart = false;
        if (i < n) {
            t = tokenizer_id_to_token(tk, ids[i]);
            if (!t.p && s->bytes) continue;
            if (!t.p) t = s->unk_token;
            if (skip_special && is_special(s, t)) continue;
            const int32_t added = vocab_find(&tk->added.by_content, t.p, t.n);
            // added tokens that are no special tokens, or additional ones behind the vocabulary, stand alone
            apart = s->kind != SLOW_CTC && added >= 0 &&
                    (!is_special(s, t) ||
                     (vocab_find(&s->additional, t.p, t.n) >= 0 && (size_t)added >= s->vocab_size));
            if (!apart) {
                if (!ARRAY_RESERVE(w.v, w.cap, w.n + 1))
                    st = mltf_fail_memory(err);
                else
                    w.v[w.n++] = t;
                continue;
            }
        }
        if (w.n) {
            mltf_buf words = MLTF_BUF_INIT;
            st = join(tk, &words, w.v, w.n, err);
            if (words.n || i == n) {
                if (!first) buf_putc(out, ' ');
                first = false;
                buf_put_str(out, buf_str(&words));
            }
            mltf_buf_release(&words);
            w.n = 0;
        }
        if (apart) {
            if (!first) buf_putc(out, ' ');
            first = false;
            buf_put_str(out, t);
        }
    }
    free(w.v);
    return st == MLTF_OK ? buf_status(out, err) : st;
}

/* ---- loading ---- */

static mltf_status special_list(tokenizer *tk, tok_slow *s, const tok_settings *c, mltf_err *err)
{
    (void)tk;
    bool ok = true;
    for (int i = 0; ok && i < TOK_SPECIAL_COUNT; i++)
        if (c->special[i].set) ok = vocab_put(&s->specials, c->special[i].token.content, 0);
    for (size_t i = 0; ok && i < c->extra.n; i++)
        ok = vocab_put(&s->specials, c->extra.v[i].content, 0) &&
             vocab_put(&s->additional, c->extra.v[i].content, 0);
    return ok ? MLTF_OK : mltf_fail_memory(err);
}

/* Added tokens, all found in the text as it came; what they strip is kept apart, because the reference cuts
 * first and strips then. */
static mltf_status load_added(tokenizer *tk, tok_settings *c, const tok_added_token *more,
                              size_t n_more, mltf_err *err)
{
    tok_token_list all = {0};
    mltf_status st = MLTF_OK;
    bool ok = true;
    for (size_t i = 0; ok && i < c->decoder.n; i++)
        if ((ok = ARRAY_RESERVE(all.v, all.cap, all.n + 1))) all.v[all.n++] = c->decoder.v[i];
    for (size_t i = 0; ok && i < n_more; i++)
        if ((ok = ARRAY_RESERVE(all.v, all.cap, all.n + 1))) all.v[all.n++] = more[i];
    for (int i = 0; ok && i < TOK_SPECIAL_COUNT; i++)
        if (c->special[i].set && (ok = ARRAY_RESERVE(all.v, all.cap, all.n + 1))) {
            all.v[all.n] = c->special[i].token;
            all.v[all.n++].id = -1;
        }
    for (size_t i = 0; ok && i < c->extra.n; i++)
        if ((ok = ARRAY_RESERVE(all.v, all.cap, all.n + 1))) {
            all.v[all.n] = c->extra.v[i];
            all.v[all.n++].id = -1;
        }
    if (!ok) st = mltf_fail_memory(err);
    const size_t cap = all.n + 1;
    tk->slow_attributes = arena_calloc(&tk->arena, cap, 1);
    if (!tk->slow_attributes) st = mltf_fail_memory(err);
    for (size_t i = 0; i < all.n && st == MLTF_OK; i++) {
        const tok_added_token *t = &all.v[i];
        if (vocab_find(&tk->added.by_content, t->content.p, t->content.n) >= 0)
            continue; // the first counts
        const tok_added_token plain = {
            .content = t->content,
            .id = t->id,
            .special =
                t->special || vocab_find(&tk->slow->specials, t->content.p, t->content.n) >= 0};
        const size_t before = tk->added.n;
        st = t->id >= 0 ? tok_added_put(&tk->added, &plain, err)
                        : tok_added_add(&tk->added, tk->model, &plain, err);
        if (st == MLTF_OK && tk->added.n > before)
            tk->slow_attributes[before] = (uint8_t)((t->lstrip ? 1 : 0) | (t->rstrip ? 2 : 0));
    }
    free(all.v);
    return st;
}

static mltf_status load_spm_file(tok_spm **out, const char *dir, const char *name, mltf_err *err)
{
    char *path = path_join(dir, name);
    if (!path) return mltf_fail_memory(err);
    const mltf_status st = tok_spm_load(out, path, err);
    free(path);
    return st;
}

static mltf_status vocab_model(tokenizer *tk, tok_vocab *v, mltf_str unk, mltf_err *err)
{
    const mltf_status st = tok_wordlevel_new(&tk->model, v, unk, err);
    vocab_release(v);
    TRY(st);
    return vocab_index(&tk->model->vocab) ? MLTF_OK : mltf_fail_memory(err);
}

static mltf_status load_ctc_vocab(tok_vocab *v, const tok_settings *c, const char *dir,
                                  mltf_err *err)
{
    const json *lang = json_get(c->config.root, "target_lang");
    if (!json_is(lang, JSON_STRING)) return tok_read_vocab_json(v, dir, "vocab.json", err);
    json_doc doc = JSON_DOC_INIT;
    bool found;
    mltf_status st = tok_read_json(&doc, dir, "vocab.json", &found, err);
    const json *map = json_get_str(doc.root, lang->s);
    if (st == MLTF_OK && !json_is(map, JSON_OBJECT))
        st = mltf_fail(err, MLTF_CORRUPT_FILE, "vocab.json has no language \"" STR_FMT "\"",
                       STR_ARG(lang->s));
    for (size_t i = 0; st == MLTF_OK && i < map->o.n; i++) {
        const int64_t id = json_int(&map->o.members[i].value, -1);
        if (id < 0 || id > INT32_MAX)
            st = mltf_fail(err, MLTF_CORRUPT_FILE, "the id of token \"" STR_FMT "\" is no number",
                           STR_ARG(map->o.members[i].key));
        else if (!vocab_put(v, map->o.members[i].key, (int32_t)id))
            st = mltf_fail_memory(err);
    }
    json_doc_release(&doc);
    return st;
}

/* What a kind's files give: its vocabulary, and tokens to add that the settings do not name. */
typedef struct {
    tok_vocab vocab;
    tok_token_list more;
} slow_parts;

static bool add_more(tok_token_list *more, tok_added_token t)
{
    if (!ARRAY_RESERVE(more->v, more->cap, more->n + 1)) return false;
    more->v[more->n++] = t;
    return true;
}

/* m2m_100: language tokens lie behind the vocabulary. */
static mltf_status put_languages(tokenizer *tk, const tok_slow *s, const tok_settings *c,
                                 tok_vocab *v, mltf_err *err)
{
    const mltf_str which = json_string(json_get(c->config.root, "language_codes"), STR("m2m100"));
    const char *const *codes = str_is(which, "wmt21") ? tok_codes_wmt21 : tok_codes_m2m100;
    for (int32_t id = (int32_t)s->vocab_size; *codes; codes++, id++) {
        const char *name = arena_printf(&tk->arena, "__%s__", *codes);
        if (!name || !vocab_put(v, str_from(name), id)) return mltf_fail_memory(err);
    }
    return MLTF_OK;
}

/* vocab.json beside one SentencePiece model, or marian's two. */
static mltf_status load_spm_and_vocab(tokenizer *tk, tok_slow *s, const tok_settings *c,
                                      const char *dir, slow_parts *p, mltf_err *err)
{
    const bool marian = s->kind == SLOW_MARIAN;
    TRY(tok_read_vocab_json(&p->vocab, dir, "vocab.json", err));
    s->vocab_size = p->vocab.live;
    if (!marian) TRY(put_languages(tk, s, c, &p->vocab, err));
    TRY(vocab_model(tk, &p->vocab, s->unk_token, err));
    TRY(load_spm_file(&s->spm, dir, marian ? "source.spm" : "sentencepiece.bpe.model", err));
    if (!marian || !tok_has_file(dir, "target.spm")) return MLTF_OK;
    return load_spm_file(&s->target, dir, "target.spm", err);
}

static mltf_status load_siglip(tokenizer *tk, tok_slow *s, tok_settings *c, const char *dir,
                               slow_parts *p, mltf_err *err)
{
    TRY(load_spm_file(&s->spm, dir,
                      tok_has_file(dir, "spiece.model") ? "spiece.model" : "tokenizer.model", err));
    for (size_t i = 0; i < tok_spm_about(s->spm)->n; i++)
        if (!vocab_put(&p->vocab, tok_spm_piece(s->spm, i), (int32_t)i))
            return mltf_fail_memory(err);
    TRY(vocab_model(tk, &p->vocab, s->unk_token, err));
    tok_spm_set_dummy_prefix(s->spm, false);
    s->vocab_size = tok_spm_about(s->spm)->n;
    s->lower = tok_settings_bool(c, "do_lower_case", true);
    tok_spm_pieces unk = {0};
    const mltf_status st = tok_spm_encode(s->spm, &unk, s->unk_token, err);
    s->unk_pieces = unk.n;
    tok_spm_pieces_release(&unk);
    for (int i = 0; i < TOK_SPECIAL_COUNT; i++) // strings strip on both sides
        if (c->special[i].set && c->special[i].was_string &&
            (i == TOK_PAD || i == TOK_UNK || i == TOK_EOS))
            c->special[i].token.lstrip = c->special[i].token.rstrip = true;
    return st;
}

static mltf_status load_ctc(tokenizer *tk, tok_slow *s, tok_settings *c, const char *dir,
                            slow_parts *p, mltf_err *err)
{
    const json *config = c->config.root;
    TRY(load_ctc_vocab(&p->vocab, c, dir, err));
    TRY(vocab_model(tk, &p->vocab, s->unk_token, err));
    s->delimiter =
        arena_str(&tk->arena, json_string(json_get(config, "word_delimiter_token"), STR("|")));
    s->replaced = arena_str(&tk->arena,
                            json_string(json_get(config, "replace_word_delimiter_char"), STR(" ")));
    s->lower = tok_settings_bool(c, "do_lower_case", false);
    const tok_vocab *all = &tk->model->vocab;
    for (size_t i = 0; i < all->n; i++) {
        const tok_added_token t = {
            .content = vocab_at(all, i), .id = all->ids[i], .lstrip = true, .rstrip = true};
        if (utf8_count(t.content.p, t.content.n) >= 2 && !add_more(&p->more, t))
            return mltf_fail_memory(err);
    }
    s->vocab_size = all->live;
    return MLTF_OK;
}

/* byt5, perceiver: special tokens, then the bytes. */
static mltf_status load_bytes(tokenizer *tk, tok_slow *s, const tok_settings *c, slow_parts *p,
                              mltf_err *err)
{
    static const tok_special byt5[] = {TOK_PAD, TOK_EOS, TOK_UNK};
    static const tok_special perceiver[] = {TOK_PAD, TOK_BOS, TOK_EOS, TOK_MASK, TOK_CLS, TOK_SEP};
    const bool strips = s->kind == SLOW_BYT5; // strings become tokens that do
    const tok_special *first = strips ? byt5 : perceiver;
    s->bytes = strips ? 3 : 6;
    for (int i = 0; i < 256; i++) {
        char b[4];
        const size_t n = utf8_encode(b, (uint32_t)i);
        if (!vocab_put(&p->vocab, (mltf_str){b, n}, i + s->bytes)) return mltf_fail_memory(err);
    }
    for (int i = 0; i < s->bytes; i++) {
        if (!c->special[first[i]].set) continue;
        tok_added_token t = c->special[first[i]].token;
        if (c->special[first[i]].was_string)
            t = (tok_added_token){.content = t.content, .lstrip = strips, .rstrip = strips};
        t.id = i;
        if (!vocab_put(&p->vocab, t.content, i) || !add_more(&p->more, t))
            return mltf_fail_memory(err);
    }
    s->vocab_size = 256;
    return vocab_model(tk, &p->vocab, s->unk_token, err);
}

/* canine: all of Unicode, where some characters are shown by name. */
static mltf_status load_characters(tokenizer *tk, tok_slow *s, tok_settings *c, slow_parts *p,
                                   mltf_err *err)
{
    static const struct {
        int32_t id;
        const char *name;
    } named[] = {{0, "[PAD]"},      {0xE000, "[CLS]"},  {0xE001, "[SEP]"},
                 {0xE002, "[BOS]"}, {0xE003, "[MASK]"}, {0xE004, "[RESERVED]"}};
    enum { CHARACTERS = 0x110000 };
    tok_special_value *pad = &c->special[TOK_PAD], *mask = &c->special[TOK_MASK];
    if (pad->set && pad->is_default) pad->token.content = STR("\0");
    if (mask->set && mask->was_string) mask->token.lstrip = true;
    if (!vocab_reserve(&p->vocab, CHARACTERS, CHARACTERS * 4)) return mltf_fail_memory(err);
    for (uint32_t cp = 0; cp < CHARACTERS; cp++) {
        char b[4];
        if (cp >= 0xD800 && cp < 0xE000) continue; // no text holds one
        if (!vocab_put(&p->vocab, (mltf_str){b, utf8_encode(b, cp)}, (int32_t)cp))
            return mltf_fail_memory(err);
    }
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (!vocab_put(&p->vocab, str_from(named[i].name), named[i].id))
            return mltf_fail_memory(err);
    s->vocab_size = CHARACTERS;
    return vocab_model(tk, &p->vocab, s->unk_token, err);
}

static mltf_str special_or(tokenizer *tk, const tok_settings *c, tok_special which,
                           mltf_str fallback)
{
    if (!c->special[which].set) return fallback;
    return arena_str(&tk->arena, c->special[which].token.content);
}

static mltf_status load_parts(tokenizer *tk, tok_slow *s, tok_settings *c, const char *dir,
                              mltf_err *err)
{
    slow_parts p = {0};
    s->unk_token = special_or(tk, c, TOK_UNK, STR("<unk>"));
    s->pad_token = special_or(tk, c, TOK_PAD, STR(""));
    mltf_status st = s->kind == SLOW_MARIAN || s->kind == SLOW_M2M100
                         ? load_spm_and_vocab(tk, s, c, dir, &p, err)
                     : s->kind == SLOW_SIGLIP ? load_siglip(tk, s, c, dir, &p, err)
                     : s->kind == SLOW_CTC    ? load_ctc(tk, s, c, dir, &p, err)
                     : s->kind == SLOW_CANINE ? load_characters(tk, s, c, &p, err)
                                              : load_bytes(tk, s, c, &p, err);
    vocab_release(&p.vocab);
    if (st == MLTF_OK) st = tok_class_extra(tk, c, err);
    if (st == MLTF_OK) st = special_list(tk, s, c, err);
    if (st == MLTF_OK) st = load_added(tk, c, p.more.v, p.more.n, err);
    free(p.more.v);
    return st;
}

mltf_status tok_slow_load(tokenizer *tk, tok_settings *c, const char *dir, bool *handled,
                          mltf_err *err)
{
    static const struct {
        const char *name;
        slow_kind kind;
    } kinds[] = {{"MarianTokenizer", SLOW_MARIAN},      {"M2M100Tokenizer", SLOW_M2M100},
                 {"SiglipTokenizer", SLOW_SIGLIP},      {"Wav2Vec2CTCTokenizer", SLOW_CTC},
                 {"ByT5Tokenizer", SLOW_BYT5},          {"CanineTokenizer", SLOW_CANINE},
                 {"PerceiverTokenizer", SLOW_PERCEIVER}};
    *handled = false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(c->cls->name, kinds[i].name) != 0) continue;
        *handled = true;
        tok_slow *s = tk->slow = calloc(1, sizeof *s);
        if (!s) return mltf_fail_memory(err);
        s->kind = kinds[i].kind;
        s->eos = s->lang = s->unk = -1;
        TRY(load_parts(tk, s, c, dir, err));
        TRY(tok_settings_apply(tk, c, dir, false, err));
        if (tk->model_max_length == SIZE_MAX && !json_get(tk->config.root, "model_max_length")) {
            if (s->kind == SLOW_MARIAN) tk->model_max_length = 512;
            if (s->kind == SLOW_SIGLIP) tk->model_max_length = 64;
            if (is_framed(s)) tk->model_max_length = 2048;
        }
        s->eos = tokenizer_special_id(tk, TOK_EOS);
        s->unk = tokenizer_special_id(tk, TOK_UNK);
        s->cls = tokenizer_special_id(tk, TOK_CLS);
        s->sep = tokenizer_special_id(tk, TOK_SEP);
        if (s->kind == SLOW_M2M100) {
            const mltf_str lang = json_string(json_get(tk->config.root, "src_lang"), STR("en"));
            char name[64];
            snprintf(name, sizeof name, "__" STR_FMT "__", STR_ARG(lang));
            s->lang = tokenizer_token_to_id(tk, str_from(name));
            if (s->lang < 0)
                return mltf_fail(err, MLTF_INVALID_INPUT, "src_lang \"" STR_FMT "\" is not known",
                                 STR_ARG(lang));
        }
        return tk->arena.failed ? mltf_fail_memory(err) : MLTF_OK;
    }
    return MLTF_OK;
}
