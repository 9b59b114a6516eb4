#include "formats/yaml.h"

#include <math.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/array.h"
#include "base/file.h"
#include "base/limits.h"
#include "formats/decimal.h"
#include "formats/yaml_types.h"

enum {
    MAX_NODES = 1000000, // after aliases are expanded; the largest MLmodel has some thousand
    DEDUPE = 512,        // mappings up to this size lose repeated keys, as in a Python dict
};

typedef struct anchor {
    mltf_str name;
    json value;
    size_t nodes; // in it, aliases expanded; 0 while it is being read
} anchor;

typedef struct frame {
    json value; // array or object being filled
    mltf_str key;
    bool has_key, merge; // merge: the key is <<
    bool has_merge;
    size_t nodes_before;
    size_t anchor; // + 1, or 0
} frame;

typedef struct reader {
    yaml_parser_t parser;
    mltf_arena *arena;
    frame *frames;
    size_t depth, cap;
    anchor *anchors;
    size_t n_anchors, cap_anchors;
    size_t nodes;
    json root;
    bool done;
    mltf_err *err;
} reader;

static mltf_status fail_at(reader *r, const yaml_event_t *e, mltf_status st, const char *what)
{
    return mltf_fail(r->err, st, "%s in line %zu, column %zu", what, e->start_mark.line + 1,
                     e->start_mark.column + 1);
}

/* ---- scalars ------------------------------------------------------------------------------- */

/* Digits of base 2 to 16 without underscores; false past 64 bits. */
static bool to_int(const char *p, size_t n, unsigned base, bool negative, int64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        const char c = p[i];
        const unsigned d = c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
        if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v)) return false;
    }
    if (v > (uint64_t)INT64_MAX + negative) return false;
    *out = (int64_t)(negative ? 0 - v : v);
    return true;
}

static mltf_status number(reader *r, const yaml_event_t *e, mltf_str word, yaml_type type,
                          json *out)
{
    char *text = arena_strdup(r->arena, word.p, word.n);
    if (!text) return mltf_fail_memory(r->err);
    size_t n = 0;
    for (size_t i = 0; i < word.n; i++) {
        if (text[i] != '_') text[n++] = text[i];
    }
    text[n] = '\0';
    size_t at = 0;
    const bool negative = text[0] == '-';
    if (text[0] == '-' || text[0] == '+') at++;
    const char *colon = memchr(text, ':', n);
    if (colon) { // base 60
        double v = 0;
        int64_t whole = 0;
        bool fits = true;
        for (size_t i = at; i <= n;) {
            double part;
            const char *next = i < n ? memchr(text + i, ':', n - i) : NULL;
            const size_t len = next ? (size_t)(next - text) - i : n - i;
            if (!decimal_parse(&part, text + i, len)) part = 0;
            v = v * 60 + part;
            fits = fits && !__builtin_mul_overflow(whole, (int64_t)60, &whole) && part < 0x1p62 &&
                   !__builtin_add_overflow(whole, (int64_t)part, &whole);
            i += len + 1;
        }
        if (type == YAML_T_FLOAT)
            *out = (json){.type = JSON_DOUBLE, .d = negative ? -v : v};
        else if (fits)
            *out = (json){.type = JSON_INT, .i = negative ? -whole : whole};
        else
            return fail_at(r, e, MLTF_CORRUPT_FILE, "a number is too large");
        return MLTF_OK;
    }
    if (type == YAML_T_FLOAT) {
        double v;
        const mltf_str rest = {text + at, n - at};
        if (str_is(rest, ".inf") || str_is(rest, ".Inf") || str_is(rest, ".INF"))
            v = INFINITY;
        else if (str_is(rest, ".nan") || str_is(rest, ".NaN") || str_is(rest, ".NAN"))
            v = NAN;
        else if (!decimal_parse(&v, rest.p, rest.n))
            v = 0;
        *out = (json){.type = JSON_DOUBLE, .d = negative ? -v : v};
        return MLTF_OK;
    }
    unsigned base = 10;
    if (text[at] == '0' && at + 1 < n) {
        base = text[at + 1] == 'x' ? 16 : text[at + 1] == 'b' ? 2 : 8;
        at += base == 8 ? 1 : 2;
        if (at >= n) return fail_at(r, e, MLTF_CORRUPT_FILE, "a number has no digits");
    }
    int64_t v;
    if (to_int(text + at, n - at, base, negative, &v)) {
        *out = (json){.type = JSON_INT, .i = v};
    } else if (base == 10) {
        if (text[0] == '+') text++, n--;
        *out = (json){.type = JSON_BIGINT, .s = {text, n}};
    } else {
        return fail_at(r, e, MLTF_CORRUPT_FILE, "a number is too large");
    }
    return MLTF_OK;
}

static mltf_status scalar(reader *r, const yaml_event_t *e, json *out, bool *merge)
{
    const mltf_str word = {(const char *)e->data.scalar.value, e->data.scalar.length};
    const char *tag = (const char *)e->data.scalar.tag;
    yaml_type type =
        e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? yaml_type_of(word) : YAML_T_STR;
    if (tag && strcmp(tag, "!") != 0) {
        if (strcmp(tag, YAML_STR_TAG) == 0)
            type = YAML_T_STR;
        else if (strcmp(tag, YAML_INT_TAG) == 0 && yaml_type_of(word) == YAML_T_INT)
            type = YAML_T_INT;
        else if (strcmp(tag, YAML_FLOAT_TAG) == 0 && yaml_type_of(word) == YAML_T_FLOAT)
            type = YAML_T_FLOAT;
        else if (strcmp(tag, YAML_BOOL_TAG) == 0 && yaml_type_of(word) == YAML_T_BOOL)
            type = YAML_T_BOOL;
        else if (strcmp(tag, YAML_NULL_TAG) == 0)
            type = YAML_T_NULL;
        else
            return mltf_fail(
                r->err, MLTF_UNSUPPORTED,
                "could not determine a constructor for the tag '%.200s' in line %zu, column %zu",
                tag, e->start_mark.line + 1, e->start_mark.column + 1);
    } else if (tag) {
        type = YAML_T_STR;
    }
    *merge = type == YAML_T_MERGE;
    switch (type) {
    case YAML_T_NULL:
        *out = (json){.type = JSON_NULL};
        return MLTF_OK;
    case YAML_T_BOOL: {
        const char c = (char)(word.p[0] | 0x20), second = (char)(word.p[1] | 0x20);
        *out = (json){.type = JSON_BOOL, .b = c == 'y' || c == 't' || (c == 'o' && second == 'n')};
        return MLTF_OK;
    }
    case YAML_T_INT:
    case YAML_T_FLOAT:
        return number(r, e, word, type, out);
    default:
        break;
    }
    const char *copy = arena_strdup(r->arena, word.p, word.n);
    if (!copy) return mltf_fail_memory(r->err);
    *out = (json){.type = JSON_STRING, .s = {copy, word.n}};
    return MLTF_OK;
}

/* ---- containers ---------------------------------------------------------------------------- */

/* Repeated keys: the place of the first, the value of the last, as a Python dict has it. */
static void dedupe(json *o)
{
    if (o->o.n > DEDUPE) return; // json_get() finds the last all the same
    size_t kept = 0;
    for (size_t i = 0; i < o->o.n; i++) {
        size_t k = 0;
        while (k < kept && !str_eq(o->o.members[k].key, o->o.members[i].key)) k++;
        if (k < kept)
            o->o.members[k].value = o->o.members[i].value;
        else
            o->o.members[kept++] = o->o.members[i];
    }
    o->o.n = kept;
}

static mltf_status add_all(reader *r, json *to, const json *from, const yaml_event_t *e)
{
    if (from->type != JSON_OBJECT)
        return fail_at(r, e, MLTF_CORRUPT_FILE,
                       "expected a mapping or list of mappings for merging");
    for (size_t i = 0; i < from->o.n; i++) {
        if (++r->nodes > MAX_NODES)
            return fail_at(r, e, MLTF_CORRUPT_FILE, "aliases expand to too much");
        if (!json_add_str(r->arena, to, from->o.members[i].key, &from->o.members[i].value))
            return mltf_fail_memory(r->err);
    }
    return MLTF_OK;
}

/* "<<": the keys of other mappings, before and weaker than the own ones. They were kept under the key
 * "<<" with a NUL, which no text of YAML holds. */
static const mltf_str merge_key = {"<<\0", 3};

static mltf_status merge(reader *r, json *o, const yaml_event_t *e)
{
    json out = {.type = JSON_OBJECT};
    for (size_t i = 0; i < o->o.n; i++) {
        if (!str_eq(o->o.members[i].key, merge_key)) continue;
        const json *v = &o->o.members[i].value;
        if (v->type == JSON_ARRAY) { // the first one of a list is the strongest
            for (size_t k = v->a.n; k-- > 0;) TRY(add_all(r, &out, &v->a.items[k], e));
        } else {
            TRY(add_all(r, &out, v, e));
        }
    }
    for (size_t i = 0; i < o->o.n; i++) {
        if (str_eq(o->o.members[i].key, merge_key)) continue;
        if (!json_add_str(r->arena, &out, o->o.members[i].key, &o->o.members[i].value))
            return mltf_fail_memory(r->err);
    }
    *o = out;
    return MLTF_OK;
}

static mltf_status key_text(reader *r, const yaml_event_t *e, const json *v, mltf_str *out)
{
    if (v->type == JSON_STRING) {
        *out = v->s;
    } else if (v->type == JSON_ARRAY || v->type == JSON_OBJECT) {
        return fail_at(r, e, MLTF_CORRUPT_FILE, "a key is a list or a mapping");
    } else {
        const mltf_str word = {(const char *)e->data.scalar.value, e->data.scalar.length};
        *out = e->type == YAML_SCALAR_EVENT ? arena_str(r->arena, word) : STR("");
    }
    return MLTF_OK;
}

/* A value is complete: it goes into the container around it. */
static mltf_status place(reader *r, const yaml_event_t *e, const json *v, bool is_merge)
{
    if (r->depth == 0) {
        r->root = *v;
        r->done = true;
        return MLTF_OK;
    }
    frame *f = &r->frames[r->depth - 1];
    if (f->value.type == JSON_ARRAY)
        return json_push(r->arena, &f->value, v) ? MLTF_OK : mltf_fail_memory(r->err);
    if (!f->has_key) {
        f->has_key = true;
        f->merge = is_merge;
        return key_text(r, e, v, &f->key);
    }
    f->has_key = false;
    f->has_merge = f->has_merge || f->merge;
    return json_add_str(r->arena, &f->value, f->merge ? merge_key : f->key, v)
               ? MLTF_OK
               : mltf_fail_memory(r->err);
}

static mltf_status set_anchor(reader *r, const yaml_char_t *name, size_t *index)
{
    *index = 0;
    if (!name) return MLTF_OK;
    if (!ARRAY_RESERVE(r->anchors, r->cap_anchors, r->n_anchors + 1))
        return mltf_fail_memory(r->err);
    const mltf_str copy = arena_str(r->arena, str_from((const char *)name));
    r->anchors[r->n_anchors++] = (anchor){.name = copy};
    *index = r->n_anchors;
    return MLTF_OK;
}

static mltf_status alias(reader *r, const yaml_event_t *e)
{
    const mltf_str name = str_from((const char *)e->data.alias.anchor);
    for (size_t i = r->n_anchors; i-- > 0;) {
        const anchor *a = &r->anchors[i];
        if (!str_eq(a->name, name)) continue;
        if (a->nodes == 0)
            return fail_at(r, e, MLTF_CORRUPT_FILE, "found unconstructable recursive node");
        if (a->nodes > MAX_NODES - r->nodes)
            return fail_at(r, e, MLTF_CORRUPT_FILE, "aliases expand to too much");
        r->nodes += a->nodes;
        return place(r, e, &a->value, false);
    }
    return fail_at(r, e, MLTF_CORRUPT_FILE, "found undefined alias");
}

static mltf_status begin(reader *r, const yaml_event_t *e, json_type type, const yaml_char_t *tag,
                         const char *core, const yaml_char_t *anchor_name)
{
    if (tag && strcmp((const char *)tag, core) != 0 && strcmp((const char *)tag, "!") != 0)
        return mltf_fail(
            r->err, MLTF_UNSUPPORTED,
            "could not determine a constructor for the tag '%.200s' in line %zu, column %zu",
            (const char *)tag, e->start_mark.line + 1, e->start_mark.column + 1);
    if (r->depth >= LIMIT_JSON_DEPTH) return fail_at(r, e, MLTF_CORRUPT_FILE, "nested too deep");
    if (!ARRAY_RESERVE(r->frames, r->cap, r->depth + 1)) return mltf_fail_memory(r->err);
    frame f = {.value.type = type, .nodes_before = r->nodes};
    TRY(set_anchor(r, anchor_name, &f.anchor));
    r->frames[r->depth++] = f;
    return MLTF_OK;
}

static mltf_status end(reader *r, const yaml_event_t *e)
{
    frame f = r->frames[--r->depth];
    if (f.has_merge) TRY(merge(r, &f.value, e));
    if (f.value.type == JSON_OBJECT) dedupe(&f.value);
    if (f.anchor) {
        r->anchors[f.anchor - 1].value = f.value;
        r->anchors[f.anchor - 1].nodes = r->nodes - f.nodes_before + 1;
    }
    return place(r, e, &f.value, false);
}

static mltf_status handle(reader *r, const yaml_event_t *e)
{
    json v = {0};
    bool is_merge = false;
    size_t at = 0;
    if (e->type != YAML_DOCUMENT_END_EVENT && ++r->nodes > MAX_NODES)
        return fail_at(r, e, MLTF_CORRUPT_FILE, "more values than any sound file has");
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (r->done)
            return fail_at(r, e, MLTF_CORRUPT_FILE,
                           "expected a single document, but found another");
        return MLTF_OK;
    case YAML_SCALAR_EVENT:
        TRY(scalar(r, e, &v, &is_merge));
        TRY(set_anchor(r, e->data.scalar.anchor, &at));
        if (at) r->anchors[at - 1] = (anchor){r->anchors[at - 1].name, v, 1};
        return place(r, e, &v, is_merge);
    case YAML_ALIAS_EVENT:
        return alias(r, e);
    case YAML_SEQUENCE_START_EVENT:
        return begin(r, e, JSON_ARRAY, e->data.sequence_start.tag, YAML_SEQ_TAG,
                     e->data.sequence_start.anchor);
    case YAML_MAPPING_START_EVENT:
        return begin(r, e, JSON_OBJECT, e->data.mapping_start.tag, YAML_MAP_TAG,
                     e->data.mapping_start.anchor);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return end(r, e);
    default:
        return MLTF_OK;
    }
}

static mltf_status fail_parse(reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) return mltf_fail_memory(r->err);
    if (p->error == YAML_READER_ERROR)
        return mltf_fail(r->err, MLTF_CORRUPT_FILE, "%s at byte %zu",
                         p->problem ? p->problem : "unreadable text", p->problem_offset);
    return mltf_fail(r->err, MLTF_CORRUPT_FILE, "%s%s%s in line %zu, column %zu",
                     p->context ? p->context : "", p->context ? ": " : "",
                     p->problem ? p->problem : "unreadable text", p->problem_mark.line + 1,
                     p->problem_mark.column + 1);
}

mltf_status yaml_parse(json_doc *doc, const char *text, size_t n, mltf_err *err)
{
    doc->root = NULL;
    if (n > LIMIT_YAML_BYTES)
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "YAML of %zu bytes is larger than the limit of %zu", n, LIMIT_YAML_BYTES);
    reader r = {.arena = &doc->arena, .err = err};
    if (!yaml_parser_initialize(&r.parser)) return mltf_fail_memory(err);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    mltf_status st = MLTF_OK;
    for (bool more = true; more && !st;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&r.parser, &e)) {
            st = fail_parse(&r);
            break;
        }
        more = e.type != YAML_STREAM_END_EVENT;
        st = handle(&r, &e);
        yaml_event_delete(&e);
    }
    json *root = st ? NULL : arena_alloc_small(&doc->arena, sizeof *root);
    if (!st && (!root || doc->arena.failed)) st = mltf_fail_memory(err);
    if (!st) {
        *root = r.root; // an empty stream is null
        doc->root = root;
    }
    yaml_parser_delete(&r.parser);
    free(r.frames);
    free(r.anchors);
    return st;
}

mltf_status yaml_parse_file(json_doc *doc, const char *path, mltf_err *err)
{
    doc->root = NULL;
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = file_read(&text, path, LIMIT_YAML_BYTES, err);
    if (!st) {
        st = yaml_parse(doc, text.p ? text.p : "", text.n, err);
        if (st) mltf_err_wrap(err, "could not read \"%s\"", path);
    }
    mltf_buf_release(&text);
    return st;
}
