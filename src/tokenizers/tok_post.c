/* Post-processors: https://github.com/huggingface/tokenizers, tokenizers/src/processors (0.22.2).
 *
 * They add the special tokens around one or two encodings and, for byte-level tokens, take spaces out of the
 * offsets. A list of encodings goes through them and is joined at the end. */
#include <stdlib.h>

#include "tokenizers/tok_internal.h"

typedef enum { POST_TEMPLATE, POST_BERT, POST_ROBERTA, POST_BYTE_LEVEL, POST_SEQUENCE } post_type;

typedef struct tmpl_piece {
    int sequence; /* 0 or 1; -1: special tokens */
    int32_t type;
    int32_t *ids; /* [n], borrowed from the post-processor's arena */
    size_t n;
} tmpl_piece;

struct tok_post {
    post_type type;
    mltf_arena arena;
    tmpl_piece *single, *pair;
    size_t n_single, n_pair;
    int32_t cls, sep;
    bool trim, prefix_space;
    tok_post **parts;
    size_t n;
};

void tok_post_free(tok_post *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->n; i++) tok_post_free(p->parts[i]);
    free(p->parts);
    arena_release(&p->arena);
    free(p);
}

/* ---- reading ---- */

static mltf_status parse_piece(tok_post *p, tmpl_piece *out, const json *v, const json *specials,
                               mltf_err *err)
{
    const json *seq = json_get(v, "Sequence"), *special = json_get(v, "SpecialToken");
    const json *body = seq ? seq : special;
    const mltf_str id = json_string(json_get(body, "id"), (mltf_str){NULL, 0});
    if (!id.p)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "a piece of the template is neither a sequence nor a special token");
    const int64_t type = json_int(json_get(body, "type_id"), 0);
    if (type < 0 || type > INT32_MAX)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "type_id of the template is out of range");
    out->type = (int32_t)type;
    if (seq) {
        if (!str_is(id, "A") && !str_is(id, "B"))
            return mltf_fail(err, MLTF_CORRUPT_FILE, "the template names sequence \"" STR_FMT "\"",
                             STR_ARG(id));
        out->sequence = str_is(id, "B");
        return MLTF_OK;
    }
    out->sequence = -1;
    const json *ids = json_get(json_get_str(specials, id), "ids");
    if (!json_is(ids, JSON_ARRAY))
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "the template's special token \"" STR_FMT "\" is not listed", STR_ARG(id));
    out->ids = arena_alloc_small(&p->arena, (ids->a.n + 1) * sizeof *out->ids);
    if (!out->ids) return mltf_fail_memory(err);
    for (size_t i = 0; i < ids->a.n; i++) {
        const int64_t x = json_int(&ids->a.items[i], -1);
        if (x < 0 || x > INT32_MAX)
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "an id of the special token \"" STR_FMT "\" is out of range",
                             STR_ARG(id));
        out->ids[out->n++] = (int32_t)x;
    }
    return MLTF_OK;
}

static mltf_status parse_template(tok_post *p, tmpl_piece **out, size_t *n, const json *list,
                                  const json *specials, mltf_err *err)
{
    if (!json_is(list, JSON_ARRAY))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "TemplateProcessing lacks a template");
    *out = arena_calloc(&p->arena, list->a.n + 1, sizeof **out);
    if (!*out) return mltf_fail_memory(err);
    for (*n = 0; *n < list->a.n; ++*n)
        TRY(parse_piece(p, *out + *n, &list->a.items[*n], specials, err));
    return MLTF_OK;
}

static mltf_status parse_pair(int32_t *out, const json *v, const char *what, mltf_err *err)
{
    const int64_t id = json_int(json_at(v, 1), -1);
    if (id < 0 || id > INT32_MAX)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "\"%s\" of the post-processor is not a token and its id", what);
    *out = (int32_t)id;
    return MLTF_OK;
}

static mltf_status parse_into(tok_post *p, const json *spec, mltf_str type, mltf_err *err)
{
    if (str_is(type, "TemplateProcessing")) {
        p->type = POST_TEMPLATE;
        const json *specials = json_get(spec, "special_tokens");
        TRY(parse_template(p, &p->single, &p->n_single, json_get(spec, "single"), specials, err));
        TRY(parse_template(p, &p->pair, &p->n_pair, json_get(spec, "pair"), specials, err));
        for (size_t i = 0; i < p->n_single; i++)
            if (p->single[i].sequence == 1)
                return mltf_fail(err, MLTF_CORRUPT_FILE,
                                 "the template for one sequence uses the second");
        return MLTF_OK;
    }
    if (str_is(type, "BertProcessing") || str_is(type, "RobertaProcessing")) {
        p->type = str_is(type, "BertProcessing") ? POST_BERT : POST_ROBERTA;
        TRY(parse_pair(&p->sep, json_get(spec, "sep"), "sep", err));
        TRY(parse_pair(&p->cls, json_get(spec, "cls"), "cls", err));
        p->trim = p->type == POST_ROBERTA && json_bool(json_get(spec, "trim_offsets"), true);
        p->prefix_space = json_bool(json_get(spec, "add_prefix_space"), true);
        return MLTF_OK;
    }
    if (str_is(type, "ByteLevel")) {
        p->type = POST_BYTE_LEVEL;
        p->trim = json_bool(json_get(spec, "trim_offsets"), true);
        p->prefix_space = json_bool(json_get(spec, "add_prefix_space"), true);
        return MLTF_OK;
    }
    if (str_is(type, "Sequence")) {
        p->type = POST_SEQUENCE;
        const json *list = json_get(spec, "processors");
        if (!json_is(list, JSON_ARRAY))
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "post-processor Sequence lacks the list \"processors\"");
        p->parts = calloc(list->a.n + 1, sizeof(tok_post *));
        if (!p->parts) return mltf_fail_memory(err);
        for (size_t i = 0; i < list->a.n; i++) {
            TRY(tok_post_parse(&p->parts[p->n], &list->a.items[i], err));
            if (!p->parts[p->n])
                return mltf_fail(err, MLTF_CORRUPT_FILE, "post-processor Sequence holds null");
            p->n++;
        }
        return MLTF_OK;
    }
    return mltf_fail(err, MLTF_UNSUPPORTED, "post-processor type \"" STR_FMT "\" is not known",
                     STR_ARG(type));
}

mltf_status tok_post_parse(tok_post **out, const json *spec, mltf_err *err)
{
    *out = NULL;
    if (!spec || spec->type == JSON_NULL) return MLTF_OK;
    tok_post *p = calloc(1, sizeof *p);
    if (!p) return mltf_fail_memory(err);
    const mltf_status st = parse_into(p, spec, json_string(json_get(spec, "type"), STR("")), err);
    if (st != MLTF_OK) {
        tok_post_free(p);
        return st;
    }
    *out = p;
    return MLTF_OK;
}

size_t tok_post_added(const tok_post *p, bool pair)
{
    if (!p) return 0;
    size_t k = 0;
    switch (p->type) {
    case POST_TEMPLATE:
        for (size_t i = 0; i < (pair ? p->n_pair : p->n_single); i++)
            k += (pair ? p->pair : p->single)[i].n;
        return k;
    case POST_BERT:
        return pair ? 3 : 2;
    case POST_ROBERTA:
        return pair ? 4 : 2;
    case POST_BYTE_LEVEL:
        return 0;
    case POST_SEQUENCE:
        for (size_t i = 0; i < p->n; i++) k += tok_post_added(p->parts[i], pair);
        return k;
    }
    return 0;
}

bool tok_post_trims(const tok_post *p)
{
    if (!p) return false;
    for (size_t i = 0; i < p->n; i++)
        if (tok_post_trims(p->parts[i])) return true;
    return p->trim;
}

void tok_post_set_trim(tok_post *p, bool prefix_space, bool trim)
{
    if (!p || (p->type != POST_ROBERTA && p->type != POST_BYTE_LEVEL)) return;
    p->prefix_space = prefix_space;
    p->trim = trim;
}

/* ---- running ---- */

typedef struct enc_list {
    tok_enc *v;
    size_t n, cap;
    bool bare;
} enc_list;

static void list_release(enc_list *l)
{
    for (size_t i = 0; i < l->n; i++) tok_enc_release(&l->v[i]);
    free(l->v);
    *l = (enc_list){.bare = l->bare};
}

static tok_enc *list_add(enc_list *l)
{
    if (!ARRAY_RESERVE(l->v, l->cap, l->n + 1)) return NULL;
    l->v[l->n] = (tok_enc){.bare = l->bare};
    return &l->v[l->n++];
}

static bool copy_enc(tok_enc *to, const tok_enc *from)
{
    if (!tok_enc_append(to, &from->e, 0, from->e.n)) return false;
    if (!from->n_over) return true;
    to->over = calloc(from->n_over, sizeof *to->over);
    if (!to->over) return false;
    for (; to->n_over < from->n_over; to->n_over++) {
        to->over[to->n_over].bare = from->bare;
        if (!copy_enc(&to->over[to->n_over], &from->over[to->n_over])) return false;
    }
    return true;
}

static void set_types(tok_encoding *e, int32_t type)
{
    for (size_t i = 0; i < e->n; i++) e->type_ids[i] = type;
}
static void set_sequence(tok_enc *e, int sequence, bool over)
{
    if (!e->bare && e->e.n) memset(e->e.sequence_ids, sequence, e->e.n);
    for (size_t i = 0; over && i < e->n_over; i++) set_sequence(&e->over[i], sequence, true);
}

static void trim_offsets(tok_enc *x, bool prefix_space)
{
    tok_encoding *e = &x->e;
    for (size_t i = 0; !x->bare && i < e->n; i++) {
        uint32_t lead = e->trim[i].start & ~TOK_TRIM_ONE;
        const uint32_t trail = e->trim[i].end;
        tok_span *o = &e->offsets[i];
        if (lead > 0) {
            // a single leading space of the first token is the one that was added
            if ((i == 0 || o->start == 0) && prefix_space && (e->trim[i].start & TOK_TRIM_ONE))
                lead = 0;
            o->start = o->start + lead < o->end ? o->start + lead : o->end;
        }
        if (trail > 0) o->end = o->end - trail > o->start ? o->end - trail : o->start;
    }
    for (size_t i = 0; i < x->n_over; i++) trim_offsets(&x->over[i], prefix_space);
}

/* [before] e [behind], with -1 for none. */
static bool surround(tok_enc *e, int32_t before, int32_t behind, int32_t type)
{
    tok_enc out = {.bare = e->bare};
    bool ok = before < 0 || tok_enc_push(&out, before, type, true);
    ok = ok && tok_enc_append(&out, &e->e, 0, e->e.n) && tok_enc_push(&out, behind, type, true);
    tok_encoding_release(&e->e);
    e->e = out.e;
    for (size_t i = 0; ok && i < e->n_over; i++) {
        set_types(&e->over[i].e, type);
        ok = surround(&e->over[i], before, behind, type);
    }
    return ok;
}

static mltf_status run_template(const tok_post *p, enc_list *l, bool add_special, mltf_err *err)
{
    if (l->n != 1 && l->n != 2)
        return mltf_fail(err, MLTF_UNSUPPORTED, "a template is applied to %zu sequences", l->n);
    const tmpl_piece *t = l->n == 2 ? p->pair : p->single;
    const size_t n = l->n == 2 ? p->n_pair : p->n_single;
    enc_list out = {.bare = l->bare};
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        if (t[i].sequence < 0 && !add_special) continue;
        tok_enc *e = list_add(&out);
        ok = e != NULL;
        if (ok && t[i].sequence >= 0) {
            tok_enc *from = &l->v[t[i].sequence];
            set_types(&from->e, t[i].type);
            set_sequence(from, t[i].sequence, false);
            ok = copy_enc(e, from);
        }
        for (size_t k = 0; ok && t[i].sequence < 0 && k < t[i].n; k++)
            ok = tok_enc_push(e, t[i].ids[k], t[i].type, true);
    }
    list_release(l);
    *l = out;
    return ok ? MLTF_OK : mltf_fail_memory(err);
}

static mltf_status run_post(const tok_post *p, enc_list *l, bool add_special, mltf_err *err)
{
    bool ok = true;
    switch (p->type) {
    case POST_TEMPLATE:
        return run_template(p, l, add_special, err);
    case POST_BERT:
        for (size_t i = 0; ok && add_special && i < l->n; i++)
            ok = surround(&l->v[i], i ? -1 : p->cls, p->sep, i ? 1 : 0);
        break;
    case POST_ROBERTA:
        for (size_t i = 0; i < l->n; i++) {
            if (p->trim) trim_offsets(&l->v[i], p->prefix_space);
            set_types(&l->v[i].e, 0);
        }
        for (size_t i = 0; ok && add_special && i < l->n; i++)
            ok = surround(&l->v[i], i ? p->sep : p->cls, p->sep, 0);
        break;
    case POST_BYTE_LEVEL:
        for (size_t i = 0; i < l->n; i++) {
            if (p->trim) trim_offsets(&l->v[i], p->prefix_space);
            set_sequence(&l->v[i], (int)i, false);
        }
        break;
    case POST_SEQUENCE:
        for (size_t i = 0; i < p->n; i++) TRY(run_post(p->parts[i], l, add_special, err));
        break;
    }
    return ok ? MLTF_OK : mltf_fail_memory(err);
}

mltf_status tok_post_process(const tok_post *p, tok_enc *out, tok_enc *parts, size_t n,
                             bool add_special, mltf_err *err)
{
    enc_list l = {.bare = out->bare};
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        tok_enc *e = list_add(&l);
        ok = e != NULL;
        if (!ok) break;
        *e = parts[i];
        parts[i] = (tok_enc){.bare = out->bare};
        set_sequence(e, (int)i, true);
        set_types(&e->e, (int32_t)i);
    }
    mltf_status st = ok ? MLTF_OK : mltf_fail_memory(err);
    if (st == MLTF_OK && p) st = run_post(p, &l, add_special, err);
    if (st == MLTF_OK && l.n) {
        *out = l.v[0]; // joining with nothing
        l.v[0] = (tok_enc){.bare = out->bare};
        for (size_t i = 1; st == MLTF_OK && i < l.n; i++)
            if (!tok_enc_merge(out, &l.v[i])) st = mltf_fail_memory(err);
    }
    list_release(&l);
    return st;
}
