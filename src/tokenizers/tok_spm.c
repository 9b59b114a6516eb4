/* sentencepiece: https://github.com/google/sentencepiece, src/{normalizer,unigram_model,bpe_model,
 * sentencepiece_processor}.cc (0.2.3). Scores are floats here, unlike in Hugging Face's Unigram. */
#include "tokenizers/tok_spm.h"

#include <float.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/limits.h"
#include "tokenizers/tok_darts.h"

#define META     "\xE2\x96\x81"
#define REPLACED "\xEF\xBF\xBD"

struct tok_spm {
    tok_spm_info info;
    char *blob; /* the file: pieces point into it */
    mltf_str *pieces;
    float *scores;
    uint8_t *types;
    size_t cap, scores_cap, types_cap;
    mltf_str unk_surface, unk_piece, bos_piece, eos_piece, pad_piece;
    tok_vocab ids;
    darts trie, user; /* pieces that text can become; user-defined symbols */
    bool has_user;
    int32_t unk_field;
    float min, max;
    tok_charsmap *charsmap;
};

/* ---- protocol buffer ---- */

typedef struct pb {
    const unsigned char *p, *end;
    bool bad;
} pb;

typedef struct pb_field {
    uint32_t number, wire;
    uint64_t value; /* of wire types 0, 1 and 5 */
    pb body;        /* of wire type 2 */
} pb_field;

static uint64_t varint(pb *b)
{
    uint64_t x = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (b->p >= b->end) break;
        const unsigned char c = *b->p++;
        x |= (uint64_t)(c & 0x7F) << shift;
        if (c < 0x80) return x;
    }
    b->bad = true;
    return 0;
}

/* The next field; false at the end or where the bytes are none. */
static bool next_field(pb *b, pb_field *f)
{
    if (b->bad || b->p >= b->end) return false;
    const uint64_t tag = varint(b);
    *f = (pb_field){.number = (uint32_t)(tag >> 3), .wire = (uint32_t)(tag & 7)};
    if (b->bad || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) {
        b->bad = true;
        return false;
    }
    const size_t left = (size_t)(b->end - b->p);
    switch (f->wire) {
    case 0:
        f->value = varint(b);
        return !b->bad;
    case 1:
    case 5: {
        const size_t n = f->wire == 1 ? 8 : 4;
        if (left < n) break;
        for (size_t i = 0; i < n; i++) f->value |= (uint64_t)b->p[i] << (8 * i);
        b->p += n;
        return true;
    }
    case 2: {
        const uint64_t n = varint(b);
        if (b->bad || n > (uint64_t)(b->end - b->p)) break;
        f->body = (pb){b->p, b->p + n, false};
        b->p += n;
        return true;
    }
    default:
        break;
    }
    b->bad = true;
    return false;
}

static mltf_str body_str(const pb_field *f)
{
    return f->wire == 2 ? (mltf_str){(const char *)f->body.p, (size_t)(f->body.end - f->body.p)}
                        : (mltf_str){"", 0};
}

static bool read_piece(tok_spm *m, pb b)
{
    mltf_str piece = {NULL, 0};
    uint32_t bits = 0;
    uint64_t type = SPM_NORMAL;
    pb_field f;
    while (next_field(&b, &f)) {
        if (f.number == 1 && f.wire == 2) piece = body_str(&f);
        if (f.number == 2 && f.wire == 5) bits = (uint32_t)f.value;
        if (f.number == 3 && f.wire == 0) type = f.value;
    }
    if (b.bad || !piece.p || !piece.n || !utf8_valid(piece.p, piece.n) || type < SPM_NORMAL ||
        type > SPM_BYTE)
        return false;
    if (!ARRAY_RESERVE(m->pieces, m->cap, m->info.n + 1) ||
        !ARRAY_RESERVE(m->scores, m->scores_cap, m->info.n + 1) ||
        !ARRAY_RESERVE(m->types, m->types_cap, m->info.n + 1))
        return false;
    float score;
    memcpy(&score, &bits, 4);
    if (score != score) return false;
    m->pieces[m->info.n] = piece;
    m->scores[m->info.n] = score;
    m->types[m->info.n++] = (uint8_t)type;
    return true;
}

static bool read_trainer(tok_spm *m, pb b)
{
    pb_field f;
    while (next_field(&b, &f)) {
        switch (f.number) {
        case 3:
            if (f.wire == 0 && f.value >= SPM_UNIGRAM && f.value <= SPM_CHAR)
                m->info.model = (spm_model)f.value;
            break;
        case 24:
            m->info.whitespace_suffix = f.value != 0;
            break;
        case 35:
            m->info.byte_fallback = f.value != 0;
            break;
        case 40:
            if (f.wire == 0) m->unk_field = (int32_t)f.value;
            break;
        case 44:
            m->unk_surface = body_str(&f);
            break;
        case 45:
            m->unk_piece = body_str(&f);
            break;
        case 46:
            m->bos_piece = body_str(&f);
            break;
        case 47:
            m->eos_piece = body_str(&f);
            break;
        case 48:
            m->pad_piece = body_str(&f);
            break;
        default:
            break;
        }
    }
    return !b.bad;
}

static bool read_normalizer(tok_spm *m, pb b)
{
    pb_field f;
    while (next_field(&b, &f)) {
        switch (f.number) {
        case 2:
            m->info.charsmap = f.body.p;
            m->info.charsmap_n = body_str(&f).n;
            break;
        case 3:
            m->info.add_dummy_prefix = f.value != 0;
            break;
        case 4:
            m->info.remove_extra_whitespaces = f.value != 0;
            break;
        case 5:
            m->info.escape_whitespaces = f.value != 0;
            break;
        default:
            break;
        }
    }
    return !b.bad;
}

static mltf_status index_pieces(tok_spm *m, mltf_err *err)
{
    darts_key *keys = malloc((m->info.n + 1) * sizeof *keys),
              *user = malloc((m->info.n + 1) * sizeof *user);
    size_t n = 0, n_user = 0;
    mltf_status st = keys && user && vocab_reserve(&m->ids, m->info.n, m->info.n * 8)
                         ? MLTF_OK
                         : mltf_fail_memory(err);
    m->info.unk = -1;
    m->min = FLT_MAX;
    m->max = FLT_MIN;
    for (size_t i = 0; i < m->info.n && st == MLTF_OK; i++) {
        const mltf_str p = m->pieces[i];
        const darts_key key = {p.p, (uint32_t)p.n, (int32_t)i};
        const spm_type type = (spm_type)m->types[i];
        if (vocab_find(&m->ids, p.p, p.n) >= 0)
            st = mltf_fail(err, MLTF_CORRUPT_FILE, "piece \"" STR_FMT "\" comes twice", STR_ARG(p));
        else if (!vocab_put(&m->ids, p, (int32_t)i))
            st = mltf_fail_memory(err);
        if (type == SPM_NORMAL || type == SPM_USER_DEFINED || type == SPM_UNUSED) keys[n++] = key;
        if (type == SPM_USER_DEFINED) user[n_user++] = key;
        if (type == SPM_UNKNOWN && m->info.unk < 0) m->info.unk = (int32_t)i;
        if (type == SPM_NORMAL && m->scores[i] < m->min) m->min = m->scores[i];
        if (type == SPM_NORMAL && m->scores[i] > m->max) m->max = m->scores[i];
    }
    if (st == MLTF_OK && m->info.unk < 0)
        st = mltf_fail(err, MLTF_CORRUPT_FILE, "the sentencepiece model has no unknown piece");
    if (st == MLTF_OK) st = darts_build(&m->trie, keys, n, err);
    if (st == MLTF_OK) st = darts_build(&m->user, user, n_user, err);
    m->has_user = n_user > 0;
    free(keys);
    free(user);
    return st;
}

static int32_t control_id(const tok_spm *m, mltf_str piece)
{
    const int32_t id = tok_spm_find(m, piece);
    return id >= 0 && m->types[id] == SPM_CONTROL ? id : -1;
}

mltf_status tok_spm_parse(tok_spm **out, const void *blob, size_t n, mltf_err *err)
{
    *out = NULL;
    tok_spm *m = calloc(1, sizeof *m);
    if (!m) return mltf_fail_memory(err);
    m->info = (tok_spm_info){.model = SPM_UNIGRAM,
                             .add_dummy_prefix = true,
                             .remove_extra_whitespaces = true,
                             .escape_whitespaces = true};
    m->unk_surface = STR(" \xE2\x81\x87 ");
    m->unk_piece = STR("<unk>");
    m->bos_piece = STR("<s>");
    m->eos_piece = STR("</s>");
    m->pad_piece = STR("<pad>");
    mltf_status st = MLTF_OK;
    m->blob = malloc(n + 1);
    if (!m->blob) {
        st = mltf_fail_memory(err);
    } else {
        if (n) memcpy(m->blob, blob, n);
        pb b = {(const unsigned char *)m->blob, (const unsigned char *)m->blob + n, false};
        pb_field f;
        bool ok = true;
        while (ok && next_field(&b, &f)) {
            if (f.wire != 2) continue;
            if (f.number == 1) ok = read_piece(m, f.body);
            if (f.number == 2) ok = read_trainer(m, f.body);
            if (f.number == 3) ok = read_normalizer(m, f.body);
        }
        if (b.bad || !ok || !m->info.n)
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "this is no sentencepiece model: piece %zu, byte %zu", m->info.n,
                           (size_t)(b.p - (const unsigned char *)m->blob));
    }
    if (st == MLTF_OK) st = index_pieces(m, err);
    if (st == MLTF_OK && m->info.charsmap_n)
        st = tok_charsmap_new(&m->charsmap, m->info.charsmap, m->info.charsmap_n, err);
    if (st != MLTF_OK) {
        tok_spm_free(m);
        return st;
    }
    m->info.bos = control_id(m, m->bos_piece);
    m->info.eos = control_id(m, m->eos_piece);
    m->info.pad = control_id(m, m->pad_piece);
    *out = m;
    return MLTF_OK;
}

mltf_status tok_spm_load(tok_spm **out, const char *path, mltf_err *err)
{
    *out = NULL;
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = file_read(&text, path, LIMIT_JSON_BYTES, err);
    if (st == MLTF_OK) st = tok_spm_parse(out, text.p, text.n, err);
    if (st != MLTF_OK) mltf_err_wrap(err, "could not read \"%s\"", path);
    mltf_buf_release(&text);
    return st;
}

void tok_spm_free(tok_spm *m)
{
    if (!m) return;
    free(m->blob);
    free(m->pieces);
    free(m->scores);
    free(m->types);
    vocab_release(&m->ids);
    darts_release(&m->trie);
    darts_release(&m->user);
    tok_charsmap_free(m->charsmap);
    free(m);
}

const tok_spm_info *tok_spm_about(const tok_spm *m)
{
    return &m->info;
}
void tok_spm_set_dummy_prefix(tok_spm *m, bool on)
{
    m->info.add_dummy_prefix = on;
}
int32_t tok_spm_unk_field(const tok_spm *m)
{
    return m->unk_field;
}
mltf_str tok_spm_unk_piece(const tok_spm *m)
{
    return m->unk_piece;
}
mltf_str tok_spm_piece(const tok_spm *m, size_t i)
{
    return m->pieces[i];
}
float tok_spm_score(const tok_spm *m, size_t i)
{
    return m->scores[i];
}
spm_type tok_spm_type(const tok_spm *m, size_t i)
{
    return (spm_type)m->types[i];
}
int32_t tok_spm_find(const tok_spm *m, mltf_str piece)
{
    return vocab_find(&m->ids, piece.p, piece.n);
}
int32_t tok_spm_id(const tok_spm *m, mltf_str piece)
{
    const int32_t id = tok_spm_find(m, piece);
    return id < 0 ? m->info.unk : id;
}

void tok_spm_pieces_release(tok_spm_pieces *p)
{
    free(p->ids);
    free(p->pieces);
    mltf_buf_release(&p->text);
    *p = (tok_spm_pieces){0};
}

/* ---- normalizer ---- */

static size_t char_at(const char *p, size_t n)
{
    size_t len = 1;
    while (len < n && tok_is_cont(p[len])) len++;
    return len;
}

/* The longest user-defined symbol at p; 0 if none. */
static size_t user_symbol(const tok_spm *m, const char *p, size_t n)
{
    if (!m->has_user) return 0;
    int32_t node = 0;
    size_t best = 0;
    for (size_t i = 0; i < n && (node = darts_next(&m->user, node, (unsigned char)p[i])) >= 0; i++)
        if (m->user.nodes[node].value >= 0) best = i + 1;
    return best;
}

/* What the beginning of p becomes; *used are its bytes. */
static mltf_str prefix(const tok_spm *m, const char *p, size_t n, size_t *used)
{
    *used = user_symbol(m, p, n);
    if (*used) return (mltf_str){p, *used};
    if (m->charsmap) {
        const mltf_str to = tok_charsmap_longest(m->charsmap, p, n, used);
        if (to.p) return to;
    }
    *used = char_at(p, n);
    return (mltf_str){p, *used};
}

mltf_status tok_spm_normalize(const tok_spm *m, mltf_buf *out, mltf_str text, mltf_err *err)
{
    const bool strip = m->info.remove_extra_whitespaces;
    const mltf_str space = m->info.escape_whitespaces ? STR(META) : STR(" ");
    const char *p = text.p, *end = text.p + text.n;
    size_t used;
    while (strip && p < end && str_is(prefix(m, p, (size_t)(end - p), &used), " ")) p += used;
    if (p >= end) return MLTF_OK;
    const size_t begin = out->n;
    if (!m->info.whitespace_suffix && m->info.add_dummy_prefix) buf_put_str(out, space);
    bool after_space = strip;
    while (p < end) {
        mltf_str to = prefix(m, p, (size_t)(end - p), &used);
        while (after_space && to.n && to.p[0] == ' ') to = str_slice(to, 1, to.n);
        if (to.n) {
            for (size_t i = 0; i < to.n; i++) {
                if (to.p[i] == ' ')
                    buf_put_str(out, space);
                else
                    buf_putc(out, to.p[i]);
            }
            after_space = to.p[to.n - 1] == ' ';
        }
        p += used;
        if (!strip) after_space = false;
    }
    while (strip && out->n - begin >= space.n && out->p &&
           memcmp(out->p + out->n - space.n, space.p, space.n) == 0) {
        out->n -= space.n;
        out->p[out->n] = '\0';
    }
    if (m->info.whitespace_suffix && m->info.add_dummy_prefix) buf_put_str(out, space);
    return buf_status(out, err);
}

/* ---- models ---- */

typedef struct cut {
    uint32_t start, end;
    int32_t id;
} cut;
typedef struct cuts {
    cut *v;
    size_t n, cap;
} cuts;

static bool add_cut(cuts *c, size_t start, size_t end, int32_t id)
{
    if (!ARRAY_RESERVE(c->v, c->cap, c->n + 1)) return false;
    c->v[c->n++] = (cut){(uint32_t)start, (uint32_t)end, id};
    return true;
}

typedef struct best {
    float score;
    int32_t id;
    uint32_t start; /* UINT32_MAX: nothing ends here */
} best;

static bool encode_unigram(const tok_spm *m, cuts *c, const char *t, size_t n)
{
    best *b = malloc((n + 1) * sizeof *b);
    if (!b) return false;
    for (size_t i = 0; i <= n; i++) b[i] = (best){0.0f, -1, UINT32_MAX};
    const float unk_score = m->min - 10.0f;
    for (size_t i = 0; i < n;) {
        const float here = b[i].score;
        const size_t len = char_at(t + i, n - i);
        bool single = false;
        int32_t node = 0;
        for (size_t k = i; k < n && (node = darts_next(&m->trie, node, (unsigned char)t[k])) >= 0;
             k++) {
            const int32_t id = m->trie.nodes[node].value;
            if (id < 0 || m->types[id] == SPM_UNUSED) continue;
            const float score = m->types[id] == SPM_USER_DEFINED
                                    ? (float)(k + 1 - i) * m->max - 0.1f
                                    : m->scores[id];
            const float total = score + here; // ties are ties of floats
            best *to = &b[k + 1];
            if (to->start == UINT32_MAX || total > to->score) *to = (best){total, id, (uint32_t)i};
            if (k + 1 - i == len) single = true;
        }
        if (!single) {
            best *to = &b[i + len];
            const float total = unk_score + here;
            if (to->start == UINT32_MAX || total > to->score)
                *to = (best){total, m->info.unk, (uint32_t)i};
        }
        i += len;
    }
    bool ok = true;
    const size_t from = c->n;
    for (size_t end = n; ok && end > 0; end = b[end].start)
        ok = add_cut(c, b[end].start, end, b[end].id);
    for (size_t i = from, k = c->n; i + 1 < k; i++) {
        const cut x = c->v[i];
        c->v[i] = c->v[--k];
        c->v[k] = x;
    }
    free(b);
    return ok;
}

typedef struct spm_symbol {
    int32_t prev, next;
    uint32_t start, len;
    bool frozen;
    int32_t id; /* of a joined piece, -1 before */
} spm_symbol;
typedef struct spm_pair {
    float score;
    int32_t left, right;
    uint32_t size;
} spm_pair;
typedef struct spm_bpe {
    const tok_spm *m;
    const char *t;
    spm_symbol *s;
    size_t n, cap;
    spm_pair *heap;
    size_t heap_n, heap_cap;
    tok_vocab undo; /* unused pieces: where their left part ends */
} spm_bpe;

static bool before(const spm_pair *a, const spm_pair *b)
{
    return a->score > b->score || (a->score == b->score && a->left < b->left);
}

static bool consider(spm_bpe *b, int32_t left, int32_t right)
{
    if (left < 0 || right < 0 || b->s[left].frozen || b->s[right].frozen) return true;
    const uint32_t size = b->s[left].len + b->s[right].len;
    const mltf_str piece = {b->t + b->s[left].start, size};
    const int32_t id = tok_spm_find(b->m, piece);
    if (id < 0) return true;
    const spm_type type = (spm_type)b->m->types[id];
    if (type != SPM_NORMAL && type != SPM_USER_DEFINED && type != SPM_UNUSED) return true;
    if (type == SPM_UNUSED && !vocab_put(&b->undo, piece, (int32_t)b->s[left].len)) return false;
    if (!ARRAY_RESERVE(b->heap, b->heap_cap, b->heap_n + 1)) return false;
    const spm_pair x = {b->m->scores[id], left, right, size};
    size_t i = b->heap_n++;
    for (; i > 0 && before(&x, &b->heap[(i - 1) / 2]); i = (i - 1) / 2)
        b->heap[i] = b->heap[(i - 1) / 2];
    b->heap[i] = x;
    return true;
}

static spm_pair pop(spm_bpe *b)
{
    const spm_pair top = b->heap[0], x = b->heap[--b->heap_n];
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < b->heap_n; i = c) {
        if (c + 1 < b->heap_n && before(&b->heap[c + 1], &b->heap[c])) c++;
        if (!before(&b->heap[c], &x)) break;
        b->heap[i] = b->heap[c];
    }
    b->heap[i] = x;
    return top;
}

/* A piece that is not used falls apart into what it was joined from. */
static bool resegment(spm_bpe *b, cuts *c, size_t start, size_t n, int depth)
{
    const mltf_str piece = {b->t + start, n};
    const int32_t id = tok_spm_id(b->m, piece);
    const int32_t left =
        b->m->types[id] == SPM_UNUSED ? vocab_find(&b->undo, piece.p, piece.n) : -1;
    if (left < 0 || depth > 100) return add_cut(c, start, start + n, id);
    return resegment(b, c, start, (size_t)left, depth + 1) &&
           resegment(b, c, start + (size_t)left, n - (size_t)left, depth + 1);
}

static bool encode_bpe(const tok_spm *m, cuts *c, const char *t, size_t n)
{
    spm_bpe b = {.m = m, .t = t};
    bool ok = true;
    for (size_t i = 0; ok && i < n;) {
        const size_t user = user_symbol(m, t + i, n - i), len = user ? user : char_at(t + i, n - i);
        ok = ARRAY_RESERVE(b.s, b.cap, b.n + 1);
        if (ok) {
            b.s[b.n] = (spm_symbol){(int32_t)b.n - 1, i + len < n ? (int32_t)b.n + 1 : -1,
                                    (uint32_t)i,      (uint32_t)len,
                                    user != 0,        -1};
            b.n++;
        }
        i += len;
    }
    for (size_t i = 1; ok && i < b.n; i++) ok = consider(&b, (int32_t)i - 1, (int32_t)i);
    while (ok && b.heap_n) {
        const spm_pair top = pop(&b);
        spm_symbol *l = &b.s[top.left], *r = &b.s[top.right];
        if (!l->len || !r->len || l->len + r->len != top.size) continue;
        l->len += r->len;
        r->len = 0;
        l->next = r->next;
        if (r->next >= 0) b.s[r->next].prev = top.left;
        ok = consider(&b, l->prev, top.left) && consider(&b, top.left, l->next);
    }
    for (size_t i = 0; ok && i < b.n; i++)
        if (b.s[i].len) ok = resegment(&b, c, b.s[i].start, b.s[i].len, 0);
    free(b.s);
    free(b.heap);
    vocab_release(&b.undo);
    return ok;
}

static bool encode_chars(const tok_spm *m, cuts *c, const char *t, size_t n)
{
    for (size_t i = 0; i < n;) {
        const size_t user = user_symbol(m, t + i, n - i), len = user ? user : char_at(t + i, n - i);
        if (!add_cut(c, i, i + len, tok_spm_id(m, (mltf_str){t + i, len}))) return false;
        i += len;
    }
    return true;
}

static bool encode_words(const tok_spm *m, cuts *c, const char *t, size_t n)
{
    size_t start = 0;
    for (size_t i = 0; i < n;) {
        const size_t len = char_at(t + i, n - i);
        const bool meta = len == 3 && memcmp(t + i, META, 3) == 0;
        // a word begins with "▁", or, as a suffix, ends with it
        if (m->info.whitespace_suffix ? i + len == n || meta : meta && i > start) {
            const size_t end = m->info.whitespace_suffix ? i + len : i;
            if (!add_cut(c, start, end, tok_spm_id(m, (mltf_str){t + start, end - start})))
                return false;
            start = end;
        }
        i += len;
    }
    return start >= n || add_cut(c, start, n, tok_spm_id(m, (mltf_str){t + start, n - start}));
}

static bool add_piece(tok_spm_pieces *p, int32_t id, mltf_str piece)
{
    if (!ARRAY_RESERVE(p->ids, p->cap, p->n + 1) ||
        !ARRAY_RESERVE(p->pieces, p->pieces_cap, p->n + 1))
        return false;
    p->ids[p->n] = id;
    p->pieces[p->n++] = piece;
    return true;
}

mltf_status tok_spm_encode(const tok_spm *m, tok_spm_pieces *out, mltf_str text, mltf_err *err)
{
    buf_clear(&out->text);
    out->n = 0;
    TRY(tok_spm_normalize(m, &out->text, text, err));
    if (!out->text.n) return MLTF_OK;
    const char *t = out->text.p;
    const size_t n = out->text.n;
    if (n > INT32_MAX) return mltf_fail(err, MLTF_INVALID_INPUT, "the text is too long");
    cuts c = {0};
    bool ok = true;
    switch (m->info.model) {
    case SPM_UNIGRAM:
        ok = encode_unigram(m, &c, t, n);
        break;
    case SPM_BPE:
        ok = encode_bpe(m, &c, t, n);
        break;
    case SPM_WORD:
        ok = encode_words(m, &c, t, n);
        break;
    case SPM_CHAR:
        ok = encode_chars(m, &c, t, n);
        break;
    }
    bool unk_before = false;
    for (size_t i = 0; ok && i < c.n; i++) {
        const cut x = c.v[i];
        const bool unk = m->types[x.id] == SPM_UNKNOWN;
        if (unk && m->info.byte_fallback) {
            for (size_t k = x.start; ok && k < x.end; k++) {
                const unsigned char byte = (unsigned char)t[k];
                const char name[7] = {
                    '<', '0', 'x', "0123456789ABCDEF"[byte >> 4], "0123456789ABCDEF"[byte & 15],
                    '>', 0};
                const int32_t id = tok_spm_id(m, (mltf_str){name, 6});
                ok = add_piece(out, id, m->pieces[id]);
            }
        } else if (unk && unk_before) { // neighbouring unknown pieces are one
            out->pieces[out->n - 1].n += x.end - x.start;
        } else {
            ok = add_piece(out, x.id, (mltf_str){t + x.start, x.end - x.start});
        }
        unk_before = unk;
    }
    free(c.v);
    return ok ? MLTF_OK : mltf_fail_memory(err);
}

/* ---- decoding ---- */

typedef struct spm_text {
    const tok_spm *m;
    mltf_buf *out;
    size_t begin;
    bool at_begin, space_seen;
    char bytes[512];
    size_t n_bytes;
} spm_text;

static void flush_bytes(spm_text *d)
{
    for (size_t i = 0; i < d->n_bytes;) {
        size_t len;
        if (utf8_decode(d->bytes + i, d->n_bytes - i, &len) == UTF8_BAD) {
            buf_puts(d->out, REPLACED);
            i++;
        } else {
            buf_append(d->out, d->bytes + i, len);
            i += len;
        }
    }
    d->n_bytes = 0;
}

static void put_piece(spm_text *d, mltf_str piece, int32_t id)
{
    const tok_spm *m = d->m;
    const spm_type type = id >= 0 ? (spm_type)m->types[id] : SPM_NORMAL;
    if (type == SPM_BYTE) {
        // a full buffer of bytes: what is whole goes out
        if (d->n_bytes == sizeof d->bytes) {
            char tail[4];
            const size_t keep = utf8_incomplete_tail(d->bytes, d->n_bytes);
            memcpy(tail, d->bytes + d->n_bytes - keep, keep);
            d->n_bytes -= keep;
            flush_bytes(d);
            memcpy(d->bytes, tail, keep);
            d->n_bytes = keep;
        }
        const char h[2] = {piece.n > 4 ? piece.p[3] : '0', piece.n > 4 ? piece.p[4] : '0'};
        unsigned v = 0;
        for (int i = 0; i < 2; i++)
            v = v << 4 | (unsigned)(h[i] <= '9' ? h[i] - '0' : (h[i] | 32) - 'a' + 10);
        d->bytes[d->n_bytes++] = (char)v;
        return;
    }
    flush_bytes(d);
    if (d->space_seen || d->out->n > d->begin) d->at_begin = false;
    d->space_seen = false;
    if (type == SPM_CONTROL) return;
    if (type == SPM_UNKNOWN) { // an unknown piece stands for itself
        buf_put_str(d->out, str_eq(piece, m->pieces[id]) ? m->unk_surface : piece);
        return;
    }
    if (d->at_begin && (m->info.add_dummy_prefix || m->info.remove_extra_whitespaces) &&
        str_starts(piece, META)) {
        piece = str_slice(piece, 3, piece.n);
        d->space_seen = !m->info.remove_extra_whitespaces;
    }
    for (size_t i = 0; i < piece.n;) {
        if (i + 3 <= piece.n && memcmp(piece.p + i, META, 3) == 0) {
            buf_putc(d->out, ' ');
            i += 3;
        } else {
            buf_putc(d->out, piece.p[i++]);
        }
    }
}

mltf_status tok_spm_decode(const tok_spm *m, mltf_buf *out, const int32_t *ids, size_t n,
                           mltf_err *err)
{
    spm_text d = {.m = m, .out = out, .begin = out->n, .at_begin = true};
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= m->info.n)
            return mltf_fail(err, MLTF_INVALID_INPUT, "piece id %d is out of range", ids[i]);
        put_piece(&d, m->pieces[ids[i]], ids[i]);
    }
    flush_bytes(&d);
    return buf_status(out, err);
}

mltf_status tok_spm_decode_pieces(const tok_spm *m, mltf_buf *out, const mltf_str *pieces, size_t n,
                                  mltf_err *err)
{
    spm_text d = {.m = m, .out = out, .begin = out->n, .at_begin = true};
    for (size_t i = 0; i < n; i++) put_piece(&d, pieces[i], tok_spm_id(m, pieces[i]));
    flush_bytes(&d);
    return buf_status(out, err);
}
