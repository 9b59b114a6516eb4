/* tiktoken files and Mistral's tekken.json: TikTokenConverter and MistralConverter of transformers 4.57.
 *
 * A rank file lists byte strings; merges are all ways to make one of two others, in the order of ranks. */
#include <stdlib.h>

#include "base/file.h"
#include "formats/base64.h"
#include "tokenizers/tok_convert.h"

#define LLAMA3                                                                                     \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "                     \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

typedef struct ranks {
    tok_vocab bytes; /* byte string → rank */
    tok_vocab vocab; /* in the byte alphabet → id */
    tok_merge *merges;
    size_t n, cap;
    mltf_arena arena;
} ranks;

static void ranks_release(ranks *r)
{
    vocab_release(&r->bytes);
    vocab_release(&r->vocab);
    free(r->merges);
    arena_release(&r->arena);
}

static mltf_str mapped(ranks *r, mltf_str bytes)
{
    char *p = arena_alloc_small(&r->arena, bytes.n * 2 + 1);
    size_t n = 0;
    for (size_t i = 0; p && i < bytes.n; i++)
        n += utf8_encode(p + n, tok_byte_char[(unsigned char)bytes.p[i]]);
    return (mltf_str){p, n};
}

bool tok_is_tiktoken(const char *dir)
{
    char *path = path_join(dir, "tokenizer.model");
    mltf_map m = {0};
    bool is = false;
    if (path && file_exists(path) && map_open(&m, path, NULL) == MLTF_OK && m.n > 4) {
        size_t i = 0;
        while (i < m.n && i < 4096 &&
               ((m.p[i] >= '0' && m.p[i] <= '9') || (m.p[i] >= 'A' && m.p[i] <= 'Z') ||
                (m.p[i] >= 'a' && m.p[i] <= 'z') || m.p[i] == '+' || m.p[i] == '/' ||
                m.p[i] == '='))
            i++;
        is = i > 0 && i + 1 < m.n && m.p[i] == ' ' && m.p[i + 1] >= '0' && m.p[i + 1] <= '9';
    }
    map_close(&m);
    free(path);
    return is;
}

typedef struct cut {
    int32_t left, right;
    size_t at;
} cut;
static int by_ranks(const void *a, const void *b)
{
    const cut *x = a, *y = b;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}

static mltf_status add_merges(ranks *r, mltf_str token, mltf_err *err)
{
    if (token.n < 2) return MLTF_OK;
    cut *cuts = malloc(token.n * sizeof *cuts);
    if (!cuts) return mltf_fail_memory(err);
    size_t n = 0;
    for (size_t at = 1; at < token.n; at++) {
        const int32_t a = vocab_find(&r->bytes, token.p, at),
                      b = vocab_find(&r->bytes, token.p + at, token.n - at);
        if (a >= 0 && b >= 0) cuts[n++] = (cut){a, b, at};
    }
    if (n) qsort(cuts, n, sizeof *cuts, by_ranks);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        const mltf_str a = mapped(r, str_slice(token, 0, cuts[i].at)),
                       b = mapped(r, str_slice(token, cuts[i].at, token.n));
        ok = a.p && b.p && ARRAY_RESERVE(r->merges, r->cap, r->n + 1);
        if (ok) r->merges[r->n++] = (tok_merge){a, b};
    }
    free(cuts);
    return ok ? MLTF_OK : mltf_fail_memory(err);
}

typedef struct by_rank_entry {
    int32_t rank;
    uint32_t i;
} by_rank_entry;
static int entry_order(const void *a, const void *b)
{
    const by_rank_entry *x = a, *y = b;
    return x->rank != y->rank ? (x->rank < y->rank ? -1 : 1) : (x->i < y->i ? -1 : x->i > y->i);
}

static mltf_status fill(ranks *r, mltf_err *err)
{
    by_rank_entry *order = malloc((r->bytes.n + 1) * sizeof *order);
    if (!order) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < r->bytes.n; i++) {
        order[i] = (by_rank_entry){r->bytes.ids[i], (uint32_t)i};
        const mltf_str t = mapped(r, vocab_at(&r->bytes, i));
        if (!t.p || !vocab_put(&r->vocab, t, r->bytes.ids[i])) st = mltf_fail_memory(err);
    }
    if (r->bytes.n) qsort(order, r->bytes.n, sizeof *order, entry_order);
    for (size_t i = 0; i < r->bytes.n && st == MLTF_OK; i++)
        st = add_merges(r, vocab_at(&r->bytes, order[i].i), err);
    free(order);
    return st;
}

static mltf_status read_tiktoken(ranks *r, const char *dir, mltf_err *err)
{
    mltf_str text;
    TRY(tok_read_text(&text, &r->arena, dir, "tokenizer.model", err));
    if (!text.p) return mltf_fail(err, MLTF_NOT_FOUND, "there is no tokenizer.model");
    mltf_buf bytes = MLTF_BUF_INIT;
    mltf_status st = MLTF_OK;
    for (size_t at = 0, line = 1; at < text.n && st == MLTF_OK; line++) {
        const char *nl = memchr(text.p + at, '\n', text.n - at);
        const size_t end = nl ? (size_t)(nl - text.p) : text.n;
        const char *space = memchr(text.p + at, ' ', end - at);
        if (end > at) {
            int64_t rank = -1;
            if (space) {
                rank = 0;
                for (const char *p = space + 1; p < text.p + end; p++)
                    rank = *p >= '0' && *p <= '9' && rank < INT32_MAX / 10 && rank >= 0
                               ? rank * 10 + (*p - '0')
                               : -1;
            }
            buf_clear(&bytes);
            if (rank < 0 ||
                !base64_decode(&bytes, (mltf_str){text.p + at, (size_t)(space - text.p) - at}))
                st = mltf_fail(err, MLTF_CORRUPT_FILE,
                               "line %zu of tokenizer.model is not a token and its rank", line);
            if (st == MLTF_OK && !vocab_put(&r->bytes, buf_str(&bytes), (int32_t)rank))
                st = mltf_fail_memory(err);
        }
        at = end + 1;
    }
    mltf_buf_release(&bytes);
    return st;
}

static mltf_status read_tekken(ranks *r, tokenizer *tk, tok_settings *s, const char *dir,
                               mltf_buf *pattern, tok_token_list *specials, mltf_err *err)
{
    json_doc doc = JSON_DOC_INIT;
    bool found;
    mltf_status st = tok_read_json(&doc, dir, "tekken.json", &found, err);
    const json *list = json_get(doc.root, "vocab"), *sp = json_get(doc.root, "special_tokens");
    const json *p = json_get(json_get(doc.root, "config"), "pattern");
    if (st == MLTF_OK && (!json_is(list, JSON_ARRAY) || !json_is(p, JSON_STRING)))
        st = mltf_fail(err, MLTF_CORRUPT_FILE, "tekken.json lacks its vocab or its config.pattern");
    (void)s;
    if (st == MLTF_OK) buf_put_str(pattern, p->s);
    for (size_t i = 0; i < json_len(sp) && st == MLTF_OK; i++) {
        const mltf_str t =
            arena_str(&tk->arena, json_string(json_get(json_at(sp, i), "token_str"), STR("")));
        const bool control = json_bool(json_get(json_at(sp, i), "is_control"), false);
        if (!ARRAY_RESERVE(specials->v, specials->cap, specials->n + 1) || tk->arena.failed ||
            !vocab_put(&r->vocab, t, (int32_t)i)) {
            st = mltf_fail_memory(err);
            break;
        }
        specials->v[specials->n++] =
            (tok_added_token){.content = t, .special = control, .normalized = !control};
    }
    mltf_buf bytes = MLTF_BUF_INIT;
    for (size_t i = 0; i < json_len(list) && st == MLTF_OK; i++) {
        buf_clear(&bytes);
        const json *token = json_get(json_at(list, i), "token_bytes");
        if (!json_is(token, JSON_STRING) || !base64_decode(&bytes, token->s))
            st =
                mltf_fail(err, MLTF_CORRUPT_FILE, "token %zu of tekken.json has no token_bytes", i);
        if (st == MLTF_OK && !vocab_put(&r->bytes, buf_str(&bytes), (int32_t)i))
            st = mltf_fail_memory(err);
    }
    mltf_buf_release(&bytes);
    json_doc_release(&doc);
    return st;
}

mltf_status tok_convert_tiktoken(tokenizer *tk, tok_settings *s, const char *dir, mltf_err *err)
{
    ranks r = {0};
    mltf_buf pattern = MLTF_BUF_INIT, pretok = MLTF_BUF_INIT;
    tok_token_list specials = {0};
    const bool tekken = tok_has_file(dir, "tekken.json");
    mltf_status st = tekken ? read_tekken(&r, tk, s, dir, &pattern, &specials, err)
                            : read_tiktoken(&r, dir, err);
    if (!tekken) buf_puts(&pattern, LLAMA3);
    if (st == MLTF_OK) st = fill(&r, err);
    const tok_bpe_config c = {.ignore_merges = true, .bytes = true};
    if (st == MLTF_OK) st = tok_bpe_new(&tk->model, &r.vocab, r.merges, r.n, &c, err);
    if (st == MLTF_OK && !vocab_index(&tk->model->vocab)) st = mltf_fail_memory(err);
    buf_puts(&pretok, "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":"
                      "\"Isolated\",\"invert\":false,\"pattern\":{\"Regex\":");
    json_write_string(&pretok, buf_str(&pattern), true);
    buf_puts(&pretok,
             "}},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}");
    if (st == MLTF_OK) st = buf_status(&pretok, err);
    if (st == MLTF_OK)
        st = tok_set_parts(tk, NULL, pretok.p, "{\"type\":\"ByteLevel\",\"trim_offsets\":false}",
                           "{\"type\":\"ByteLevel\"}", err);
    for (size_t i = 0; i < specials.n && st == MLTF_OK; i++)
        st = tok_added_add(&tk->added, tk->model, &specials.v[i], err);
    for (size_t i = 0; !tekken && i < s->extra.n && st == MLTF_OK; i++) {
        const tok_added_token t = {.content = s->extra.v[i].content, .special = true};
        st = tok_added_add(&tk->added, tk->model, &t, err);
    }
    if (st == MLTF_OK) st = tok_settings_apply(tk, s, dir, true, err);
    free(specials.v);
    mltf_buf_release(&pattern);
    mltf_buf_release(&pretok);
    ranks_release(&r);
    return st;
}
