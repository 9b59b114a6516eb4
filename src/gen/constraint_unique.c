/* Items that have to differ: the text of open arrays and objects, and what it holds so far. */
#include "gen/constraint_unique.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/ascii.h"

#define MOST_PROBES 4000 /* of bytes, when it is asked whether any way leads to a new item */

/* An array or object that is open. */
typedef struct unique_frame {
    bool object, marked;
    bool names;   /* of an object: the next string is a name */
    size_t start; /* in the text: of the item, or the name, in progress */
    size_t items; /* in the list: the first of its items */
} unique_frame;

/* An item, or a name, that is through. */
typedef struct unique_item {
    size_t text, n_text;   /* as it was written, without blanks */
    size_t value, n_value; /* as all that equal it are written */
} unique_item;

struct unique_text {
    mltf_buf text, values; /* both only grow while any frame is open */
    unique_frame *frames;  /* [n_frames] from the outermost marked one */
    unique_item *items;    /* [n_items] of the open marked frames */
    size_t n_frames, n_items, cap_frames, cap_items;
    bool in_string, escaped;
    /* where restrict() comes back to */
    unique_frame *kept_frames;
    unique_item *kept_items;
    size_t cap_kept_frames, cap_kept_items;
    bool failed; /* no memory */
};

unique_text *unique_new(void)
{
    return calloc(1, sizeof(unique_text));
}

void unique_free(unique_text *u)
{
    if (!u) return;
    mltf_buf_release(&u->text);
    mltf_buf_release(&u->values);
    free(u->frames);
    free(u->items);
    free(u->kept_frames);
    free(u->kept_items);
    free(u);
}

bool unique_copy(unique_text *to, const unique_text *from)
{
    if (!ARRAY_RESERVE(to->frames, to->cap_frames, from->n_frames) ||
        !ARRAY_RESERVE(to->items, to->cap_items, from->n_items))
        return false;
    if (from->n_frames) memcpy(to->frames, from->frames, from->n_frames * sizeof *to->frames);
    if (from->n_items) memcpy(to->items, from->items, from->n_items * sizeof *to->items);
    to->n_frames = from->n_frames;
    to->n_items = from->n_items;
    to->in_string = from->in_string;
    to->escaped = from->escaped;
    buf_clear(&to->text);
    buf_clear(&to->values);
    buf_append(&to->text, from->text.p, from->text.n);
    buf_append(&to->values, from->values.p, from->values.n);
    return !to->text.failed && !to->values.failed;
}

/* ---- values -------------------------------------------------------------------------------- */

/* Equal values become the same: whole doubles integers, and of members of one name the last. */
static void normalize(json *v)
{
    if (json_is(v, JSON_DOUBLE) && floor(v->d) == v->d && fabs(v->d) < 9e18)
        *v = (json){.type = JSON_INT, .i = (int64_t)v->d};
    for (size_t i = 0; json_is(v, JSON_ARRAY) && i < json_len(v); i++) normalize(&v->a.items[i]);
    if (!json_is(v, JSON_OBJECT)) return;
    size_t n = 0;
    for (size_t i = 0; i < v->o.n; i++) {
        const mltf_str key = v->o.members[i].key;
        bool again = false;
        for (size_t k = i + 1; k < v->o.n && !again; k++) again = str_eq(v->o.members[k].key, key);
        if (again) continue;
        normalize(&v->o.members[i].value);
        v->o.members[n++] = v->o.members[i];
    }
    v->o.n = n;
}

/* The item from `start` to the end of the text, its value appended to u->values. */
static unique_item item_from(unique_text *u, size_t start)
{
    const json_write_options one_form = {.compact = true, .sort_keys = true};
    unique_item item = {
        .text = start, .n_text = u->text.n - start, .value = u->values.n, .n_value = 0};
    json_doc doc = JSON_DOC_INIT;
    mltf_err err;
    if (!json_parse(&doc, u->text.p + start, item.n_text, NULL, &err)) {
        normalize(doc.root);
        json_write(&u->values, doc.root, &one_form);
    }
    json_doc_release(&doc);
    item.n_value = u->values.n - item.value;
    u->failed |= u->values.failed;
    return item;
}

/* Is the frame's item in progress, were it to end here, one of those that are through? */
static bool is_repeated(unique_text *u, const unique_frame *f)
{
    if (!f->marked || u->text.n == f->start || u->n_items == f->items) return false;
    const unique_item item = item_from(u, f->start);
    bool found = false;
    for (size_t i = f->items; i < u->n_items && !found; i++)
        found =
            u->items[i].n_value == item.n_value &&
            memcmp(u->values.p + u->items[i].value, u->values.p + item.value, item.n_value) == 0;
    u->values.n = item.value;
    return found;
}

static void keep_item(unique_text *u, const unique_frame *f)
{
    if (!f->marked || u->text.n == f->start) return;
    const unique_item item = item_from(u, f->start);
    if (!ARRAY_RESERVE(u->items, u->cap_items, u->n_items + 1)) {
        u->failed = true;
        return;
    }
    u->items[u->n_items++] = item;
}

/* ---- bytes --------------------------------------------------------------------------------- */

static void put(unique_text *u, uint8_t byte)
{
    buf_putc(&u->text, (char)byte);
    u->failed |= u->text.failed;
}

static void open_frame(unique_text *u, uint8_t byte, bool marked)
{
    if (!ARRAY_RESERVE(u->frames, u->cap_frames, u->n_frames + 1)) {
        u->failed = true;
        return;
    }
    put(u, byte);
    u->frames[u->n_frames++] = (unique_frame){.object = byte == '{',
                                              .marked = marked,
                                              .names = byte == '{',
                                              .start = u->text.n,
                                              .items = u->n_items};
}

/* A byte of a string; false where its end makes a repeated item or name. */
static bool string_byte(unique_text *u, unique_frame *f, uint8_t byte)
{
    put(u, byte);
    if (u->escaped) {
        u->escaped = false;
        return true;
    }
    u->escaped = byte == '\\';
    if (byte != '"') return true;
    u->in_string = false;
    if (f->object && !f->names) return true;
    if (is_repeated(u, f)) return false;
    if (f->object) keep_item(u, f);
    return true;
}

/* One byte of JSON; marked: it opens an array or object whose items have to differ. False: it repeats an item. */
static bool go_over(unique_text *u, uint8_t byte, bool marked)
{
    if (u->n_frames == 0) {
        if (marked) open_frame(u, byte, true);
        return true;
    }
    unique_frame *f = &u->frames[u->n_frames - 1];
    if (u->in_string) return string_byte(u, f, byte);
    switch (byte) {
    case ' ':
    case '\t':
    case '\n':
    case '\r': // what stood before ends here
        return f->object || !is_repeated(u, f);
    case '"':
        u->in_string = true;
        put(u, byte);
        return true;
    case '[':
    case '{':
        open_frame(u, byte, marked);
        return true;
    case ':':
        f->names = false;
        put(u, byte);
        return true;
    case ',':
        if (!f->object && is_repeated(u, f)) return false;
        if (!f->object) keep_item(u, f);
        f->names = f->object;
        put(u, byte);
        f->start = u->text.n;
        return true;
    case ']':
    case '}':
        if (!f->object && is_repeated(u, f)) return false;
        u->n_items = f->items;
        u->n_frames--;
        put(u, byte);
        return u->n_frames == 0 || f[-1].object || !is_repeated(u, f - 1);
    case 'e':
    case 'E': // 1e0, 10e-1 …: numbers that have to differ are written without exponents
        if (ascii_is_digit(u->text.p[u->text.n - 1])) return false;
        put(u, byte);
        return true;
    default:
        put(u, byte);
        return true;
    }
}

static bool step(unique_text *u, const gen_constraint *c, uint32_t *set, uint8_t byte)
{
    const bool opens = (byte == '[' || byte == '{') && !u->in_string;
    const bool marked = opens && constraint_opens_marked(c, *set, byte);
    *set = constraint_next(c, *set, byte);
    return *set != 0 && go_over(u, byte, marked) && !u->failed;
}

/* ---- coming back --------------------------------------------------------------------------- */

typedef struct unique_place {
    size_t text, values, n_frames, n_items;
    bool in_string, escaped;
} unique_place;

static bool keep_place(unique_text *u, unique_place *at)
{
    *at = (unique_place){u->text.n, u->values.n, u->n_frames, u->n_items, u->in_string, u->escaped};
    if (!ARRAY_RESERVE(u->kept_frames, u->cap_kept_frames, u->n_frames) ||
        !ARRAY_RESERVE(u->kept_items, u->cap_kept_items, u->n_items))
        return false;
    if (u->n_frames) memcpy(u->kept_frames, u->frames, u->n_frames * sizeof *u->frames);
    if (u->n_items) memcpy(u->kept_items, u->items, u->n_items * sizeof *u->items);
    return true;
}

static void go_back(unique_text *u, const unique_place *at)
{
    u->text.n = at->text;
    u->values.n = at->values;
    u->n_frames = at->n_frames;
    u->n_items = at->n_items;
    u->in_string = at->in_string;
    u->escaped = at->escaped;
    if (u->n_frames) memcpy(u->frames, u->kept_frames, u->n_frames * sizeof *u->frames);
    if (u->n_items) memcpy(u->items, u->kept_items, u->n_items * sizeof *u->items);
}

bool unique_accept(unique_text *u, const gen_constraint *c, uint32_t *set, const char *p, size_t n)
{
    unique_place before;
    uint32_t to = *set;
    bool ok = keep_place(u, &before);
    for (size_t i = 0; i < n && ok; i++) ok = step(u, c, &to, (uint8_t)p[i]);
    if (!ok) {
        go_back(u, &before);
        return false;
    }
    *set = to;
    if (u->n_frames == 0) { // nothing is open: nothing is to be remembered
        buf_clear(&u->text);
        buf_clear(&u->values);
    }
    return true;
}

/* ---- ways on ------------------------------------------------------------------------------- */

/* A walk along an item in progress and the texts of those that are through. */
typedef struct probe {
    const unique_text *u;
    const gen_constraint *c;
    size_t from, to; /* the items of the frame */
    int left;        /* bytes that may still be tried */
} probe;

typedef struct probe_place {
    uint32_t set;
    bool in_string, escaped;
    size_t nested; /* open arrays and objects of the item itself */
} probe_place;

/* Behind an item, or a name. */
static bool ends_item(uint8_t byte)
{
    return byte && strchr(",]}: \t\r\n", byte);
}

static probe_place probe_step(probe_place at, uint32_t set, uint8_t byte)
{
    at.set = set;
    if (at.in_string) {
        const bool escaped = at.escaped;
        at.escaped = !escaped && byte == '\\';
        at.in_string = escaped || byte != '"';
    } else if (byte == '"') {
        at.in_string = true;
    } else if (byte == '[' || byte == '{') {
        at.nested++;
    } else if (byte == ']' || byte == '}') {
        at.nested -= at.nested > 0;
    }
    return at;
}

/* Can the item that starts with item `like`'s first n bytes become one that is none of those that are through? */
static bool has_way(probe *p, probe_place at, size_t like, size_t n)
{
    const char *text = p->u->text.p;
    bool on[256] = {false}, whole = false; // bytes that the others go on with; one ends here
    for (size_t i = p->from; i < p->to; i++) {
        const unique_item *item = &p->u->items[i];
        if (item->n_text < n || memcmp(text + item->text, text + p->u->items[like].text, n) != 0)
            continue;
        whole |= item->n_text == n;
        if (item->n_text > n) on[(uint8_t)text[item->text + n]] = true;
    }
    for (unsigned b = 0; b < 256; b++) {
        if (--p->left < 0) return true; // too many to try: rarely a trap
        const bool blank = !at.in_string && b && strchr(" \t\r\n", (int)b);
        if (blank && n == 0) continue;
        const uint32_t set = constraint_next(p->c, at.set, (uint8_t)b);
        if (set == 0) continue;
        if (!at.in_string && at.nested == 0 && n > 0 && ends_item((uint8_t)b)) {
            if (!whole) return true;
            continue;
        }
        if (blank) continue; // is left out of the texts
        if (!on[b]) return true;
        for (size_t i = p->from; i < p->to; i++) {
            const unique_item *item = &p->u->items[i];
            if (item->n_text <= n || (uint8_t)text[item->text + n] != b ||
                memcmp(text + item->text, text + p->u->items[like].text, n) != 0)
                continue;
            if (has_way(p, probe_step(at, set, (uint8_t)b), i, n + 1)) return true;
            break;
        }
    }
    return false;
}

/* A number that is another form of one that is through (1.0, -0) needs a digit more. */
static bool number_may_go_on(unique_text *u, const gen_constraint *c, uint32_t set)
{
    if (u->n_frames == 0 || u->in_string || !ascii_is_digit(u->text.p[u->text.n - 1])) return true;
    const unique_frame *f = &u->frames[u->n_frames - 1];
    if (f->object || !is_repeated(u, f)) return true;
    for (unsigned b = 0; b < 256; b++)
        if (!ends_item((uint8_t)b) && constraint_next(c, set, (uint8_t)b)) return true;
    return false;
}

/* May every marked frame's item in progress still become a new one? Only where it is the beginning of one that is
 * through is there a question. */
static bool may_go_on(unique_text *u, const gen_constraint *c, uint32_t set)
{
    if (!number_may_go_on(u, c, set)) return false;
    for (size_t k = 0; k < u->n_frames; k++) {
        const unique_frame *f = &u->frames[k];
        const size_t to = k + 1 < u->n_frames ? u->frames[k + 1].items : u->n_items,
                     n = u->text.n - f->start;
        if (!f->marked || (f->object && !f->names) || f->items == to) continue;
        if (n == 0 && u->text.p[u->text.n - 1] != ',') continue; // there may be none
        size_t like = f->items;
        while (like < to && (u->items[like].n_text < n ||
                             memcmp(u->text.p + u->items[like].text, u->text.p + f->start, n) != 0))
            like++;
        if (like == to) continue;
        if (f->object && n > 0 && !u->in_string) continue; // a name that is through is one of them
        probe p = {u, c, f->items, to, MOST_PROBES};
        const probe_place at = {set, u->in_string, u->escaped, u->n_frames - k - 1};
        if (!has_way(&p, at, like, n)) return false;
    }
    return true;
}

static bool may_follow(unique_text *u, const gen_constraint *c, uint32_t set, const char *p,
                       size_t n)
{
    unique_place before;
    bool ok = keep_place(u, &before);
    for (size_t i = 0; i < n && ok; i++) ok = step(u, c, &set, (uint8_t)p[i]);
    ok = ok && may_go_on(u, c, set);
    go_back(u, &before);
    return ok;
}

/* Is some marked frame's item the beginning of one that is through? */
static bool is_on_the_way(const unique_text *u)
{
    for (size_t k = 0; k < u->n_frames; k++) {
        const unique_frame *f = &u->frames[k];
        const size_t n = u->text.n - f->start,
                     to = k + 1 < u->n_frames ? u->frames[k + 1].items : u->n_items;
        for (size_t i = f->items; f->marked && i < to; i++)
            if (u->items[i].n_text >= n &&
                memcmp(u->text.p + u->items[i].text, u->text.p + f->start, n) == 0)
                return true;
    }
    return false;
}

void unique_restrict(unique_text *u, const gen_constraint *c, uint32_t set, const gen_trie *t,
                     uint8_t *allowed, size_t n)
{
    // only the end of a string, or an item of one token, can repeat what is not begun yet
    const bool free_text = u->in_string && !is_on_the_way(u), closed = u->n_frames == 0;
    for (size_t i = 0; i < n && i < t->vocab; i++) {
        if (!allowed[i] || !t->bytes[i]) continue;
        if (free_text && !memchr(t->bytes[i], '"', t->length[i])) continue;
        if (closed && !memchr(t->bytes[i], ',', t->length[i])) continue;
        allowed[i] = may_follow(u, c, set, t->bytes[i], t->length[i]);
    }
}
