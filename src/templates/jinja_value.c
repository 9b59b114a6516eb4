/* Values: making them, equality, order, hashing, truth and length as Python has them. */
#include "templates/jinja_internal.h"

#include <math.h>

#include "base/limits.h"
#include "base/utf8.h"

/* ---- text ------------------------------------------------------------------------------------ */

/* Bytes at the end of which a text may grow: `s = s + t` in a loop then copies t only. Several texts may
 * be prefixes of one buffer; only the longest can be extended in place. */
typedef struct jgrow {
    char *p;
    size_t n, cap;
} jgrow;

#define GROW_FROM 256 /* shorter results are cheaper to copy */

bool jv_str_borrow(jx *x, const char *p, size_t n, size_t len, jv *out)
{
    jstr *s = arena_alloc_small(&x->arena, sizeof *s);
    if (!s) return x_fail_memory(x);
    *s = (jstr){.p = n ? p : "", .n = n, .len = len};
    *out = (jv){.t = JV_STR, .s = s};
    return true;
}

static char *text_alloc(jx *x, size_t n)
{
    if (n > LIMIT_TEMPLATE_OUTPUT) {
        x_fail(x, "a text of %zu bytes is longer than a template may build (%zu)", n,
               (size_t)LIMIT_TEMPLATE_OUTPUT);
        return NULL;
    }
    if (!x_step(x, n / 64)) return NULL;
    char *p = arena_alloc_small(&x->arena, n + 1);
    if (!p) x_fail_memory(x);
    return p;
}

bool jv_str(jx *x, mltf_str s, jv *out)
{
    char *p = text_alloc(x, s.n);
    if (!p) return false;
    if (s.n) memcpy(p, s.p, s.n);
    return jv_str_borrow(x, p, s.n, utf8_count(p, s.n), out);
}

bool jv_cstr(jx *x, const char *s, jv *out)
{
    return jv_str(x, str_from(s), out);
}

bool jv_concat(jx *x, jv a, jv b, jv *out)
{
    const jstr *s = a.s, *t = b.s;
    if (a.markup != b.markup) { // markupsafe escapes the other side
        jv other;
        if (!jv_escape(x, a.markup ? b : a, &other)) return false;
        if (a.markup)
            t = other.s;
        else
            s = other.s;
    }
    const bool markup = a.markup || b.markup;
    const size_t n = s->n + t->n;
    if (n > LIMIT_TEMPLATE_OUTPUT) return text_alloc(x, n) != NULL;
    jgrow *g = s->grow;
    if (g && g->p + g->n == s->p + s->n && g->cap - g->n >= t->n) {
        if (!x_step(x, t->n / 64)) return false;
        if (t->n) memcpy(g->p + g->n, t->p, t->n);
        g->n += t->n;
    } else if (n >= GROW_FROM) {
        const size_t cap = n + n / 2;
        g = arena_alloc_small(&x->arena, sizeof *g);
        char *p = g && x_step(x, n / 64) ? arena_alloc_small(&x->arena, cap) : NULL;
        if (!p) return x->failed ? false : x_fail_memory(x);
        memcpy(p, s->p, s->n);
        memcpy(p + s->n, t->p, t->n);
        *g = (jgrow){p, n, cap};
    } else {
        char *p = text_alloc(x, n);
        if (!p) return false;
        if (s->n) memcpy(p, s->p, s->n);
        if (t->n) memcpy(p + s->n, t->p, t->n);
        if (!jv_str_borrow(x, p, n, s->len + t->len, out)) return false;
        out->markup = markup;
        return true;
    }
    if (!jv_str_borrow(x, g->p + g->n - n, n, s->len + t->len, out)) return false;
    out->s->grow = g;
    out->markup = markup;
    return true;
}

size_t jstr_offset(const jstr *s, size_t index)
{
    if (s->len == s->n) return index;
    if (index >= s->len) return s->n;
    const char *p = s->p;
    while (index--) utf8_next(&p);
    return (size_t)(p - s->p);
}

bool jv_substr(jx *x, jv s, size_t from, size_t to, jv *out)
{
    const size_t len = s.s->len == s.s->n ? to - from : utf8_count(s.s->p + from, to - from);
    if (!x_step(x, (to - from) / 64)) return false;
    if (!jv_str_borrow(x, s.s->p + from, to - from, len, out)) return false;
    out->markup = s.markup;
    return true;
}

bool jv_char_at(jx *x, jv s, size_t index, jv *out)
{
    const size_t from = jstr_offset(s.s, index);
    const char *p = s.s->p + from;
    utf8_next(&p);
    if (s.s->len != s.s->n && !x_step(x, from / 64)) return false;
    return jv_substr(x, s, from, (size_t)(p - s.s->p), out);
}

bool jv_escape(jx *x, jv v, jv *out)
{
    if (v.t == JV_STR && v.markup) {
        *out = v;
        return true;
    }
    jv text;
    if (!jv_to_str(x, v, &text)) return false;
    mltf_buf b = {.max = LIMIT_TEMPLATE_OUTPUT};
    for (size_t i = 0; i < text.s->n; i++) {
        switch (text.s->p[i]) {
        case '&':
            buf_puts(&b, "&amp;");
            break;
        case '<':
            buf_puts(&b, "&lt;");
            break;
        case '>':
            buf_puts(&b, "&gt;");
            break;
        case '"':
            buf_puts(&b, "&#34;");
            break;
        case '\'':
            buf_puts(&b, "&#39;");
            break;
        default:
            buf_putc(&b, text.s->p[i]);
        }
    }
    if (!jv_take_buf(x, &b, out)) return false;
    out->markup = true;
    return true;
}

/* ---- containers ------------------------------------------------------------------------------ */

bool jv_list(jx *x, jv_type type, size_t cap, jv *out)
{
    jlist *l = arena_alloc_small(&x->arena, sizeof *l);
    if (!l) return x_fail_memory(x);
    *l = (jlist){0};
    if (cap) {
        size_t bytes;
        if (__builtin_mul_overflow(cap, sizeof(jv), &bytes) || !x_step(x, cap / 16))
            return x_fail_memory(x);
        l->v = arena_alloc_small(&x->arena, bytes);
        if (!l->v) return x_fail_memory(x);
        l->cap = cap;
    }
    *out = (jv){.t = (uint8_t)type, .l = l};
    return true;
}

bool jv_push(jx *x, jv list, jv item)
{
    jlist *l = list.l;
    if (!ARENA_RESERVE(&x->arena, l->v, l->cap, l->n + 1)) return x_fail_memory(x);
    l->v[l->n++] = item;
    return true;
}

bool jv_iter(jx *x, jv list, const char *name, jv *out)
{
    jiter *it = arena_alloc_small(&x->arena, sizeof *it);
    if (!it) return x_fail_memory(x);
    *it = (jiter){.items = list.l, .name = name};
    *out = (jv){.t = JV_ITER, .it = it};
    return true;
}

bool jv_dict(jx *x, size_t cap, jv *out)
{
    jdict *m = arena_alloc_small(&x->arena, sizeof *m);
    if (!m) return x_fail_memory(x);
    *m = (jdict){0};
    if (cap) {
        m->e = arena_alloc_small(&x->arena, cap * sizeof *m->e);
        if (!m->e) return x_fail_memory(x);
        m->cap = cap;
    }
    *out = (jv){.t = JV_DICT, .m = m};
    return true;
}

#define INDEX_FROM 9 /* smaller dicts are searched from front to back */

static bool dict_find(jx *x, const jdict *m, jv key, uint64_t hash, size_t *at)
{
    bool equal;
    if (!m->index) {
        for (size_t i = 0; i < m->n; i++) {
            if (m->e[i].hash != hash) continue;
            if (!jv_equal(x, m->e[i].key, key, &equal)) return false;
            if (equal) {
                *at = i;
                return true;
            }
        }
    } else {
        for (size_t k = hash & (m->n_index - 1); m->index[k]; k = (k + 1) & (m->n_index - 1)) {
            const size_t i = m->index[k] - 1;
            if (m->e[i].hash != hash) continue;
            if (!jv_equal(x, m->e[i].key, key, &equal)) return false;
            if (equal) {
                *at = i;
                return true;
            }
        }
    }
    *at = SIZE_MAX;
    return true;
}

bool jv_dict_set(jx *x, jdict *m, jv key, jv value)
{
    uint64_t hash;
    size_t at;
    if (!jv_hash(x, key, &hash) || !dict_find(x, m, key, hash, &at)) return false;
    if (at != SIZE_MAX) {
        m->e[at].value = value;
        return true;
    }
    if (!ARENA_RESERVE(&x->arena, m->e, m->cap, m->n + 1)) return x_fail_memory(x);
    m->e[m->n++] = (jentry){key, value, hash};
    if (m->n >= INDEX_FROM && (m->n_index == 0 || m->n * 2 > m->n_index)) {
        m->n_index = m->n_index ? m->n_index * 2 : 32;
        m->index = arena_calloc(&x->arena, m->n_index, sizeof *m->index);
        if (!m->index) return x_fail_memory(x);
        for (size_t i = 0; i < m->n; i++) {
            size_t k = m->e[i].hash & (m->n_index - 1);
            while (m->index[k]) k = (k + 1) & (m->n_index - 1);
            m->index[k] = (uint32_t)i + 1;
        }
    } else if (m->index) {
        size_t k = hash & (m->n_index - 1);
        while (m->index[k]) k = (k + 1) & (m->n_index - 1);
        m->index[k] = (uint32_t)m->n;
    }
    return true;
}

bool jv_dict_get(jx *x, const jdict *m, jv key, jv *out, bool *found)
{
    uint64_t hash;
    size_t at;
    if (!jv_hash(x, key, &hash) || !dict_find(x, m, key, hash, &at)) return false;
    *found = at != SIZE_MAX;
    if (*found) *out = m->e[at].value;
    return true;
}

const jv *jv_dict_find(jx *x, const jdict *m, mltf_str key)
{
    jstr s = {.p = key.p, .n = key.n, .len = 0};
    const jv k = {.t = JV_STR, .s = &s};
    uint64_t hash;
    size_t at;
    if (!jv_hash(x, k, &hash) || !dict_find(x, m, k, hash, &at) || at == SIZE_MAX) return NULL;
    return &m->e[at].value;
}

/* ---- undefined ------------------------------------------------------------------------------- */

static bool undefined(jx *x, jundef u, jv *out)
{
    jundef *p = arena_alloc_small(&x->arena, sizeof *p);
    if (!p) return x_fail_memory(x);
    *p = u;
    *out = (jv){.t = JV_UNDEFINED, .u = p};
    return true;
}

bool jv_undefined_name(jx *x, mltf_str name, jv *out)
{
    return undefined(x, (jundef){.name = name}, out);
}

bool jv_undefined_hint(jx *x, const char *hint, jv *out)
{
    const mltf_str copy = arena_str(&x->arena, str_from(hint));
    if (!copy.p) return x_fail_memory(x);
    return undefined(x, (jundef){.hint = copy}, out);
}

bool jv_undefined_attr(jx *x, jv owner, jv key, jv *out)
{
    jundef u = {.owner = jv_object_name(owner)};
    if (key.t == JV_STR) {
        u.name = jv_text(key);
    } else {
        u.element = true;
        u.name = arena_str(&x->arena, str_from(jv_show(x, key)));
        if (!u.name.p) return x_fail_memory(x);
    }
    return undefined(x, u, out);
}

bool jv_undefined_unsafe(jx *x, jv owner, mltf_str name, jv *out)
{
    const char *hint =
        arena_printf(&x->arena, "access to attribute '" STR_FMT "' of '%s' object is unsafe.",
                     STR_ARG(name), jv_type_name(owner));
    if (!hint) return x_fail_memory(x);
    return undefined(x, (jundef){.hint = str_from(hint)}, out);
}

bool jv_use_undefined(jx *x, jv v)
{
    const jundef *u = v.u;
    if (u->hint.p) return x_fail(x, STR_FMT, STR_ARG(u->hint));
    if (!u->owner) return x_fail(x, "'" STR_FMT "' is undefined", STR_ARG(u->name));
    if (u->element) return x_fail(x, "%s has no element " STR_FMT, u->owner, STR_ARG(u->name));
    return x_fail(x, "'%s' has no attribute '" STR_FMT "'", u->owner, STR_ARG(u->name));
}

/* ---- what a value is ------------------------------------------------------------------------- */

const char *jv_type_name(jv v)
{
    switch ((jv_type)v.t) {
    case JV_UNDEFINED:
        return "Undefined";
    case JV_NONE:
        return "NoneType";
    case JV_BOOL:
        return "bool";
    case JV_INT:
    case JV_BIGINT:
        return "int";
    case JV_FLOAT:
        return "float";
    case JV_STR:
        return v.markup ? "Markup" : "str";
    case JV_LIST:
        return "list";
    case JV_TUPLE:
        return v.l->group ? "_GroupTuple" : "tuple";
    case JV_DICT:
        return "dict";
    case JV_RANGE:
        return "range";
    case JV_ITER:
        return v.it->name;
    case JV_VIEW:
        return v.view->kind == 'k'   ? "dict_keys"
               : v.view->kind == 'v' ? "dict_values"
                                     : "dict_items";
    case JV_NAMESPACE:
        return "Namespace";
    case JV_MACRO:
        return "Macro";
    case JV_FUNC:
        return "function";
    case JV_METHOD:
        return "builtin_function_or_method";
    case JV_LOOP:
        return "LoopContext";
    case JV_CYCLER:
        return "Cycler";
    case JV_JOINER:
        return "Joiner";
    case JV_MISSING:
        break;
    }
    return "object";
}

const char *jv_object_name(jv v)
{
    switch ((jv_type)v.t) {
    case JV_NONE:
        return "None";
    case JV_BOOL:
        return "bool object";
    case JV_INT:
    case JV_BIGINT:
        return "int object";
    case JV_FLOAT:
        return "float object";
    case JV_STR:
        return v.markup ? "markupsafe.Markup object" : "str object";
    case JV_LIST:
        return "list object";
    case JV_TUPLE:
        return v.l->group ? "jinja2.filters._GroupTuple object" : "tuple object";
    case JV_DICT:
        return "dict object";
    case JV_RANGE:
        return "range object";
    case JV_NAMESPACE:
        return "jinja2.utils.Namespace object";
    case JV_MACRO:
        return "jinja2.runtime.Macro object";
    case JV_LOOP:
        return "jinja2.runtime.LoopContext object";
    case JV_CYCLER:
        return "jinja2.utils.Cycler object";
    case JV_JOINER:
        return "jinja2.utils.Joiner object";
    case JV_ITER:
        return "generator object";
    default:
        return "object";
    }
}

bool jv_truth(jv v)
{
    switch ((jv_type)v.t) {
    case JV_UNDEFINED:
    case JV_NONE:
    case JV_MISSING:
        return false;
    case JV_BOOL:
        return v.b;
    case JV_INT:
        return v.i != 0;
    case JV_FLOAT:
        return v.d != 0;
    case JV_STR:
        return v.s->n != 0;
    case JV_LIST:
    case JV_TUPLE:
        return v.l->n != 0;
    case JV_DICT:
        return v.m->n != 0;
    case JV_RANGE:
        return v.r->n != 0;
    case JV_VIEW:
        return v.view->m->n != 0;
    default:
        return true; // a loop always has items while its variable can be seen
    }
}

bool jv_has_length(jv v)
{
    switch ((jv_type)v.t) {
    case JV_UNDEFINED:
    case JV_STR:
    case JV_LIST:
    case JV_TUPLE:
    case JV_DICT:
    case JV_RANGE:
    case JV_VIEW:
    case JV_LOOP:
        return true;
    default:
        return false;
    }
}

bool jv_length(jx *x, jv v, size_t *out)
{
    switch ((jv_type)v.t) {
    case JV_UNDEFINED:
        *out = 0;
        return true;
    case JV_STR:
        *out = v.s->len;
        return true;
    case JV_LIST:
    case JV_TUPLE:
        *out = v.l->n;
        return true;
    case JV_DICT:
        *out = v.m->n;
        return true;
    case JV_RANGE:
        *out = v.r->n;
        return true;
    case JV_VIEW:
        *out = v.view->m->n;
        return true;
    case JV_LOOP:
        return x_loop_length(x, v.loop, out);
    default:
        return x_fail(x, "object of type '%s' has no len()", jv_type_name(v));
    }
}

bool jv_is_iterable(jv v)
{
    return jv_has_length(v) || v.t == JV_ITER;
}

bool jv_to_list(jx *x, jv v, jv *out)
{
    jsource src;
    if (!x_source_init(x, &src, v) || !jv_list(x, JV_LIST, src.n, out)) return false;
    for (;;) {
        jv item;
        bool got;
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) return true;
        if (!jv_push(x, *out, item)) return false;
    }
}

/* ---- equality, order, hash ------------------------------------------------------------------- */

bool jv_same(jv a, jv b)
{
    if (a.t != b.t) return false;
    switch ((jv_type)a.t) {
    case JV_NONE:
        return true;
    case JV_BOOL:
        return a.b == b.b;
    case JV_INT:
        return a.i == b.i && a.i >= -5 && a.i <= 256; // those that CPython keeps only once
    case JV_FLOAT:
        return false;
    case JV_STR:
        return a.s == b.s || (a.s->n == b.s->n && a.s->n <= 1 && str_eq(jv_text(a), jv_text(b)));
    default:
        return a.l == b.l;
    }
}

static bool equal(jx *x, jv a, jv b, unsigned depth, bool *out)
{
    if (depth > JX_MAX_VALUE) return x_fail(x, "maximum recursion depth exceeded in comparison");
    if (!x_step(x, 1)) return false;
    *out = false;
    if (jv_is_number(a) && jv_is_number(b)) {
        if (jv_is_int(a) && jv_is_int(b)) {
            *out = jv_as_int(a) == jv_as_int(b);
        } else {
            const double d = a.t == JV_FLOAT ? a.d : b.d;
            const jv other = a.t == JV_FLOAT ? b : a;
            if (other.t == JV_FLOAT)
                *out = a.d == b.d;
            else // exactly, not after rounding the integer
                *out = d == (double)jv_as_int(other) && d >= -9.2233720368547758e18 &&
                       d < 9.2233720368547758e18 && (int64_t)d == jv_as_int(other);
        }
        return true;
    }
    if (a.t != b.t) return true;
    switch ((jv_type)a.t) {
    case JV_UNDEFINED:
    case JV_NONE:
        *out = true;
        return true;
    case JV_STR:
        if (a.s->n == b.s->n && !x_step(x, a.s->n / 64)) return false;
        *out = str_eq(jv_text(a), jv_text(b));
        return true;
    case JV_BIGINT:
        *out = str_eq(jv_text(a), jv_text(b));
        return true;
    case JV_LIST:
    case JV_TUPLE:
        if (a.l->n != b.l->n) return true;
        for (size_t i = 0; i < a.l->n; i++) {
            bool same;
            if (!equal(x, a.l->v[i], b.l->v[i], depth + 1, &same)) return false;
            if (!same) return true;
        }
        *out = true;
        return true;
    case JV_DICT:
        if (a.m->n != b.m->n) return true;
        for (size_t i = 0; i < a.m->n; i++) {
            jv other;
            bool found, same;
            if (!jv_dict_get(x, b.m, a.m->e[i].key, &other, &found)) return false;
            if (!found) return true;
            if (!equal(x, a.m->e[i].value, other, depth + 1, &same)) return false;
            if (!same) return true;
        }
        *out = true;
        return true;
    case JV_RANGE:
        *out =
            a.r->n == b.r->n &&
            (a.r->n == 0 || (a.r->start == b.r->start && (a.r->n == 1 || a.r->step == b.r->step)));
        return true;
    case JV_VIEW: // keys and items are like sets, values are not
        if (a.view->kind == 'v' || b.view->kind == 'v') {
            *out = a.view == b.view;
            return true;
        }
        if (a.view->m->n != b.view->m->n) return true;
        for (size_t i = 0; i < a.view->m->n; i++) {
            const jentry *e = &a.view->m->e[i];
            jv other, pair;
            bool found;
            if (a.view->kind == b.view->kind) {
                if (!jv_dict_get(x, b.view->m, e->key, &other, &found)) return false;
                if (found && a.view->kind == 'i' && !equal(x, e->value, other, depth + 1, &found))
                    return false;
            } else {
                if (!jv_list(x, JV_TUPLE, 2, &pair) || !jv_push(x, pair, e->key) ||
                    !jv_push(x, pair, e->value) ||
                    !jv_contains(x, a.view->kind == 'i' ? pair : e->key, b, &found))
                    return false;
            }
            if (!found) return true;
        }
        *out = true;
        return true;
    case JV_METHOD:
        *out = a.bound->f == b.bound->f && a.bound->self.t == b.bound->self.t &&
               a.bound->self.l == b.bound->self.l;
        return true;
    default:
        *out = a.l == b.l;
        return true;
    }
}

bool jv_equal(jx *x, jv a, jv b, bool *out)
{
    return equal(x, a, b, 0, out);
}

static bool hash_value(jx *x, jv v, unsigned depth, uint64_t *out)
{
    if (depth > JX_MAX_VALUE) return x_fail(x, "maximum recursion depth exceeded");
    if (!x_step(x, 1)) return false;
    uint64_t h = x->seed;
    switch ((jv_type)v.t) {
    case JV_UNDEFINED:
        h ^= 0x51;
        break;
    case JV_NONE:
        h ^= 0x52;
        break;
    case JV_BOOL:
    case JV_INT:
        h ^= (uint64_t)jv_as_int(v);
        break;
    case JV_FLOAT:
        if (v.d >= -9.2e18 && v.d <= 9.2e18 && v.d == floor(v.d))
            h ^= (uint64_t)(int64_t)v.d;
        else {
            uint64_t bits;
            memcpy(&bits, &v.d, sizeof bits);
            h ^= bits;
        }
        break;
    case JV_BIGINT:
    case JV_STR:
        for (size_t i = 0; i < v.s->n; i++) h = (h ^ (unsigned char)v.s->p[i]) * 0x100000001b3u;
        if (!x_step(x, v.s->n / 64)) return false;
        break;
    case JV_TUPLE:
        for (size_t i = 0; i < v.l->n; i++) {
            uint64_t part;
            if (!hash_value(x, v.l->v[i], depth + 1, &part)) return false;
            h = (h ^ part) * 0x9e3779b97f4a7c15u;
        }
        break;
    case JV_RANGE:
        h ^= (uint64_t)v.r->start * 31 + v.r->n;
        break;
    case JV_VIEW:
        if (v.view->kind == 'v') {
            h ^= (uint64_t)(uintptr_t)v.view;
            break;
        }
        return x_fail(x, "unhashable type: '%s'", jv_type_name(v));
    case JV_LIST:
    case JV_DICT:
        return x_fail(x, "unhashable type: '%s'", jv_type_name(v));
    default:
        h ^= (uint64_t)(uintptr_t)v.l;
    }
    h ^= h >> 32;
    h *= 0x9e3779b97f4a7c15u;
    *out = h ^ h >> 29;
    return true;
}

bool jv_hash(jx *x, jv v, uint64_t *out)
{
    return hash_value(x, v, 0, out);
}

/* UTF-8 sorts like its code points. */
static int text_order(mltf_str a, mltf_str b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* a < b; or_equal: a <= b (only the last element of two sequences needs the difference). */
static bool less(jx *x, jv a, jv b, bool or_equal, const char *op, unsigned depth, bool *out)
{
    if (depth > JX_MAX_VALUE) return x_fail(x, "maximum recursion depth exceeded in comparison");
    if (!x_step(x, 1)) return false;
    if (a.t == JV_UNDEFINED) return jv_use_undefined(x, a);
    if (b.t == JV_UNDEFINED) return jv_use_undefined(x, b);
    if (jv_is_number(a) && jv_is_number(b)) {
        if (jv_is_int(a) && jv_is_int(b))
            *out = or_equal ? jv_as_int(a) <= jv_as_int(b) : jv_as_int(a) < jv_as_int(b);
        else
            *out =
                or_equal ? jv_as_double(a) <= jv_as_double(b) : jv_as_double(a) < jv_as_double(b);
        return true;
    }
    if (a.t == JV_STR && b.t == JV_STR) {
        if (!x_step(x, a.s->n / 64)) return false;
        const int c = text_order(jv_text(a), jv_text(b));
        *out = or_equal ? c <= 0 : c < 0;
        return true;
    }
    if ((a.t == JV_LIST || a.t == JV_TUPLE) && a.t == b.t) {
        const size_t n = a.l->n < b.l->n ? a.l->n : b.l->n;
        for (size_t i = 0; i < n; i++) {
            bool same;
            if (!equal(x, a.l->v[i], b.l->v[i], depth + 1, &same)) return false;
            if (!same) return less(x, a.l->v[i], b.l->v[i], or_equal, op, depth + 1, out);
        }
        *out = or_equal ? a.l->n <= b.l->n : a.l->n < b.l->n;
        return true;
    }
    if (a.t == JV_BIGINT || b.t == JV_BIGINT)
        return x_unsupported(x, "integers beyond 64 bits cannot be compared");
    if (a.t == JV_VIEW && b.t == JV_VIEW && a.view->kind != 'v' && b.view->kind != 'v')
        return x_unsupported(x, "sets are not supported");
    return x_fail(x, "'%s' not supported between instances of '%s' and '%s'", op, jv_type_name(a),
                  jv_type_name(b));
}

static bool jv_less(jx *x, jv a, jv b, const char *op, bool *out)
{
    return less(x, a, b, false, op, 0, out);
}

bool jv_compare(jx *x, jop op, jv a, jv b, bool *out)
{
    switch (op) {
    case JO_EQ:
        return jv_equal(x, a, b, out);
    case JO_NE:
        if (!jv_equal(x, a, b, out)) return false;
        *out = !*out;
        return true;
    case JO_LT:
        return less(x, a, b, false, "<", 0, out);
    case JO_LE:
        return less(x, a, b, true, "<=", 0, out);
    case JO_GT: // names the operands in their order when they do not compare
    case JO_GE: {
        const bool comparable =
            (jv_is_number(a) && jv_is_number(b)) ||
            (a.t == b.t && (a.t == JV_STR || a.t == JV_LIST || a.t == JV_TUPLE));
        if (!comparable && a.t != JV_UNDEFINED && b.t != JV_UNDEFINED && a.t != JV_BIGINT &&
            b.t != JV_BIGINT && !(a.t == JV_VIEW && b.t == JV_VIEW))
            return x_fail(x, "'%s' not supported between instances of '%s' and '%s'",
                          op == JO_GT ? ">" : ">=", jv_type_name(a), jv_type_name(b));
        return less(x, b, a, op == JO_GE, op == JO_GT ? ">" : ">=", 0, out);
    }
    case JO_IN:
        return jv_contains(x, a, b, out);
    case JO_NOTIN:
        if (!jv_contains(x, a, b, out)) return false;
        *out = !*out;
        return true;
    default:
        return x_fail(x, "not a comparison");
    }
}

bool jv_contains(jx *x, jv item, jv container, bool *out)
{
    *out = false;
    switch ((jv_type)container.t) {
    case JV_STR:
        if (item.t == JV_UNDEFINED || item.t != JV_STR)
            return x_fail(x, "'in <string>' requires string as left operand, not %s",
                          jv_type_name(item));
        if (!x_step(x, container.s->n / 64)) return false;
        *out =
            item.s->n == 0 || memmem(container.s->p, container.s->n, item.s->p, item.s->n) != NULL;
        return true;
    case JV_DICT: {
        jv value;
        return jv_dict_get(x, container.m, item, &value, out);
    }
    case JV_VIEW:
        if (container.view->kind == 'k') {
            jv value;
            return jv_dict_get(x, container.view->m, item, &value, out);
        }
        break;
    case JV_LIST:
    case JV_TUPLE:
    case JV_RANGE:
    case JV_ITER:
    case JV_UNDEFINED:
        break;
    default:
        return x_fail(x, "argument of type '%s' is not iterable", jv_type_name(container));
    }
    jsource src;
    if (!x_source_init(x, &src, container)) return false;
    for (;;) {
        jv v;
        bool got;
        if (!x_source_next(x, &src, &v, &got)) return false;
        if (!got) return true;
        if (jv_same(v, item))
            *out = true;
        else if (!jv_equal(x, v, item, out))
            return false;
        if (*out) return true;
    }
}

/* ---- sorting --------------------------------------------------------------------------------- */

/* Merge sort of positions; equal keys keep their order, in reverse too. */
bool jv_sort(jx *x, jv *keys, jv *items, size_t n, bool reverse)
{
    if (n < 2) return true;
    uint32_t *order = arena_alloc_small(&x->arena, n * sizeof *order * 2);
    jv *copy = arena_alloc_small(&x->arena, n * sizeof *copy);
    if (!order || !copy) return x_fail_memory(x);
    uint32_t *other = order + n;
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t from = 0; from < n; from += 2 * width) {
            const size_t mid = from + width < n ? from + width : n,
                         end = from + 2 * width < n ? from + 2 * width : n;
            size_t i = from, j = mid, k = from;
            while (i < mid && j < end) {
                bool second_first;
                const jv a = keys[order[i]], b = keys[order[j]];
                if (!(reverse ? jv_less(x, a, b, "<", &second_first)
                              : jv_less(x, b, a, "<", &second_first)))
                    return false;
                other[k++] = second_first ? order[j++] : order[i++];
            }
            while (i < mid) other[k++] = order[i++];
            while (j < end) other[k++] = order[j++];
        }
        uint32_t *swap = order;
        order = other;
        other = swap;
    }
    memcpy(copy, items, n * sizeof *copy);
    for (size_t i = 0; i < n; i++) items[i] = copy[order[i]];
    return true;
}
