/* Attributes and methods of everything but text, and the global functions. */
#include "templates/jinja_internal.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/c_locale.h"
#include "base/limits.h"
#include "base/utf8.h"

/* ---- arguments ------------------------------------------------------------------------------- */

bool jinja_bind(jx *x, const char *fname, const char *params, unsigned min, unsigned max,
                const jargs *args, jv *slots)
{
    for (unsigned i = 0; i < max; i++) slots[i] = JV(JV_MISSING);
    if (args->n > max)
        return x_fail(x, "%s() takes at most %u argument%s (%zu given)", fname, max,
                      max == 1 ? "" : "s", args->n);
    for (size_t i = 0; i < args->n; i++) slots[i] = args->v[i];
    for (size_t k = 0; k < args->n_kw; k++) {
        const mltf_str name = args->kw[k].name;
        unsigned at = 0;
        const char *p = params;
        for (; at < max; at++) {
            const size_t n = strcspn(p, ",");
            if (n == name.n && memcmp(p, name.p, n) == 0) break;
            p += n + (p[n] == ',');
        }
        if (at == max)
            return x_fail(x, "%s() got an unexpected keyword argument '" STR_FMT "'", fname,
                          STR_ARG(name));
        if (slots[at].t != JV_MISSING)
            return x_fail(x, "%s() got multiple values for argument '" STR_FMT "'", fname,
                          STR_ARG(name));
        slots[at] = args->kw[k].value;
    }
    for (unsigned i = 0; i < min; i++)
        if (slots[i].t == JV_MISSING)
            return x_fail(x, "%s() is missing a required argument (takes at least %u)", fname, min);
    return true;
}

static bool no_args(jx *x, const char *name, const jargs *a)
{
    return jinja_bind(x, name, "", 0, 0, a, NULL);
}

/* ---- list, tuple, range ---------------------------------------------------------------------- */

static bool l_count(jx *x, jv self, const jargs *a, jv *out)
{
    jv wanted, item;
    jsource src;
    bool got, same;
    int64_t n = 0;
    if (!jinja_bind(x, "count", "value", 1, 1, a, &wanted) || !x_source_init(x, &src, self))
        return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) break;
        if (!jv_equal(x, item, wanted, &same)) return false;
        n += same;
    }
    *out = jv_int(n);
    return true;
}

static bool l_index(jx *x, jv self, const jargs *a, jv *out)
{
    jv arg[3], item;
    jsource src;
    bool got, same;
    size_t len;
    if (!jinja_bind(x, "index", "value,start,stop", 1, 3, a, arg) || !jv_length(x, self, &len) ||
        !x_source_init(x, &src, self))
        return false;
    int64_t from = 0, to = (int64_t)len;
    if (arg[1].t != JV_MISSING) {
        if (!jv_is_int(arg[1]))
            return x_fail(x, "slice indices must be integers or have an __index__ method");
        from = jv_as_int(arg[1]);
        if (from < 0) from = from + (int64_t)len < 0 ? 0 : from + (int64_t)len;
    }
    if (arg[2].t != JV_MISSING) {
        if (!jv_is_int(arg[2]))
            return x_fail(x, "slice indices must be integers or have an __index__ method");
        to = jv_as_int(arg[2]);
        if (to < 0) to += (int64_t)len;
    }
    for (int64_t i = 0;; i++) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got || i >= to) break;
        if (i < from) continue;
        if (!jv_equal(x, item, arg[0], &same)) return false;
        if (same) {
            *out = jv_int(i);
            return true;
        }
    }
    return x_fail(x, "%s is not in %s", jv_show(x, arg[0]), jv_type_name(self));
}

static bool l_copy(jx *x, jv self, const jargs *a, jv *out)
{
    if (!no_args(x, "copy", a)) return false;
    if (self.t == JV_LIST) return jv_to_list(x, self, out);
    *out = self; // nothing changes a dict
    return true;
}

/* ---- dict ------------------------------------------------------------------------------------ */

static bool d_get(jx *x, jv self, const jargs *a, jv *out)
{
    jv arg[2];
    bool found;
    if (a->n_kw) return x_fail(x, "dict.get() takes no keyword arguments");
    if (!jinja_bind(x, "get", "key,default", 1, 2, a, arg)) return false;
    if (!jv_dict_get(x, self.m, arg[0], out, &found)) return false;
    if (!found) *out = arg[1].t == JV_MISSING ? jv_none() : arg[1];
    return true;
}

static bool view(jx *x, jv self, const jargs *a, char kind, jv *out)
{
    if (!no_args(x, kind == 'k' ? "keys" : kind == 'v' ? "values" : "items", a)) return false;
    jview *v = arena_alloc_small(&x->arena, sizeof *v);
    if (!v) return x_fail_memory(x);
    *v = (jview){self.m, kind};
    *out = (jv){.t = JV_VIEW, .view = v};
    return true;
}

static bool d_keys(jx *x, jv self, const jargs *a, jv *out)
{
    return view(x, self, a, 'k', out);
}
static bool d_values(jx *x, jv self, const jargs *a, jv *out)
{
    return view(x, self, a, 'v', out);
}
static bool d_items(jx *x, jv self, const jargs *a, jv *out)
{
    return view(x, self, a, 'i', out);
}

static bool d_fromkeys(jx *x, jv self, const jargs *a, jv *out)
{
    (void)self;
    jv arg[2], item;
    jsource src;
    bool got;
    if (!jinja_bind(x, "fromkeys", "iterable,value", 1, 2, a, arg) ||
        !x_source_init(x, &src, arg[0]) || !jv_dict(x, 0, out))
        return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) return true;
        if (!jv_dict_set(x, out->m, item, arg[1].t == JV_MISSING ? jv_none() : arg[1]))
            return false;
    }
}

/* ---- numbers --------------------------------------------------------------------------------- */

static bool n_self(jx *x, jv self, const jargs *a, jv *out)
{
    *out = self.t == JV_BOOL ? jv_int(self.b) : self;
    return no_args(x, "conjugate", a);
}

static bool n_bit_length(jx *x, jv self, const jargs *a, jv *out)
{
    const int64_t i = jv_as_int(self);
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    int64_t n = 0;
    for (; u; u >>= 1) n++;
    *out = jv_int(n);
    return no_args(x, "bit_length", a);
}

static bool n_bit_count(jx *x, jv self, const jargs *a, jv *out)
{
    const int64_t i = jv_as_int(self);
    *out = jv_int(__builtin_popcountll(i < 0 ? 0 - (uint64_t)i : (uint64_t)i));
    return no_args(x, "bit_count", a);
}

static bool n_is_integer(jx *x, jv self, const jargs *a, jv *out)
{
    *out = jv_bool(isfinite(self.d) && self.d == floor(self.d));
    return no_args(x, "is_integer", a);
}

static bool refused(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    (void)out;
    return x_unsupported(x, "this method of %s is not supported in chat templates",
                         jv_type_name(self));
}

/* ---- loop, cycler ---------------------------------------------------------------------------- */

static bool loop_cycle(jx *x, jv self, const jargs *a, jv *out)
{
    if (a->n_kw) return x_fail(x, "LoopContext.cycle() got an unexpected keyword argument");
    if (a->n == 0) return x_fail(x, "no items for cycling given");
    *out = a->v[(size_t)self.loop->index0 % a->n];
    return true;
}

static bool loop_changed(jx *x, jv self, const jargs *a, jv *out)
{
    jv now;
    bool same = false;
    if (!jv_list(x, JV_TUPLE, a->n, &now)) return false;
    for (size_t i = 0; i < a->n; i++)
        if (!jv_push(x, now, a->v[i])) return false;
    if (self.loop->changed.t != JV_MISSING && !jv_equal(x, self.loop->changed, now, &same))
        return false;
    if (!same) self.loop->changed = now;
    *out = jv_bool(!same);
    return true;
}

static bool cycler_next(jx *x, jv self, const jargs *a, jv *out)
{
    jcycler *c = self.cycler;
    *out = c->items->v[c->at];
    c->at = (c->at + 1) % c->items->n;
    return no_args(x, "next", a);
}

static bool cycler_reset(jx *x, jv self, const jargs *a, jv *out)
{
    self.cycler->at = 0;
    *out = jv_none();
    return no_args(x, "reset", a);
}

static bool loop_attribute(jx *x, jloop *l, mltf_str name, jv *out, bool *found)
{
    static const jfunc cycle = {"cycle", loop_cycle, NULL},
                       changed = {"changed", loop_changed, NULL};
    size_t n;
    bool got;
    *found = true;
    if (str_is(name, "index"))
        *out = jv_int(l->index0 + 1);
    else if (str_is(name, "index0"))
        *out = jv_int(l->index0);
    else if (str_is(name, "first"))
        *out = jv_bool(l->index0 == 0);
    else if (str_is(name, "depth"))
        *out = jv_int(l->depth0 + 1);
    else if (str_is(name, "depth0"))
        *out = jv_int(l->depth0);
    else if (str_is(name, "last")) {
        if (!x_loop_peek(x, l, &got)) return false;
        *out = jv_bool(!got);
    } else if (str_is(name, "length") || str_is(name, "revindex") || str_is(name, "revindex0")) {
        if (!x_loop_length(x, l, &n)) return false;
        const int64_t len = (int64_t)n;
        *out = jv_int(str_is(name, "length")     ? len
                      : str_is(name, "revindex") ? len - l->index0
                                                 : len - l->index0 - 1);
    } else if (str_is(name, "previtem")) {
        if (l->index0 == 0) return jv_undefined_hint(x, "there is no previous item", out);
        *out = l->before;
    } else if (str_is(name, "nextitem")) {
        if (!x_loop_peek(x, l, &got)) return false;
        if (!got) return jv_undefined_hint(x, "there is no next item", out);
        *out = l->after;
    } else if (str_is(name, "cycle") || str_is(name, "changed")) {
        jbound *b = arena_alloc_small(&x->arena, sizeof *b);
        if (!b) return x_fail_memory(x);
        *b = (jbound){{.t = JV_LOOP, .loop = l}, str_is(name, "cycle") ? &cycle : &changed};
        *out = (jv){.t = JV_METHOD, .bound = b};
    } else {
        *found = false;
    }
    return true;
}

/* ---- attributes ------------------------------------------------------------------------------ */

typedef struct method_table {
    const jfunc *f;
    size_t n;
    const char *unsafe; /* " name name ": those that change the value */
} method_table;

static const jfunc list_methods[] = {
    {"count", l_count, NULL}, {"index", l_index, NULL}, {"copy", l_copy, NULL}};
static const jfunc dict_methods[] = {
    {"get", d_get, NULL},     {"keys", d_keys, NULL}, {"values", d_values, NULL},
    {"items", d_items, NULL}, {"copy", l_copy, NULL}, {"fromkeys", d_fromkeys, NULL},
};
static const jfunc int_methods[] = {
    {"bit_length", n_bit_length, NULL}, {"bit_count", n_bit_count, NULL},
    {"conjugate", n_self, NULL},        {"to_bytes", refused, NULL},
    {"from_bytes", refused, NULL},      {"as_integer_ratio", refused, NULL},
};
static const jfunc float_methods[] = {
    {"is_integer", n_is_integer, NULL}, {"conjugate", n_self, NULL},         {"hex", refused, NULL},
    {"fromhex", refused, NULL},         {"as_integer_ratio", refused, NULL},
};
static const jfunc cycler_methods[] = {{"next", cycler_next, NULL}, {"reset", cycler_reset, NULL}};
static const jfunc view_methods[] = {{"isdisjoint", refused, NULL}};

#define TABLE(t, unsafe)                                                                           \
    (method_table)                                                                                 \
    {                                                                                              \
        t, sizeof(t) / sizeof *(t), unsafe                                                         \
    }

static method_table methods_of(jv v)
{
    switch ((jv_type)v.t) {
    case JV_LIST:
        return TABLE(list_methods, " append clear extend insert pop remove reverse sort ");
    case JV_TUPLE:
        return (method_table){list_methods, 2, ""};
    case JV_RANGE:
        return (method_table){list_methods, 2, ""};
    case JV_DICT:
        return TABLE(dict_methods, " clear pop popitem setdefault update ");
    case JV_BOOL:
    case JV_INT:
        return TABLE(int_methods, "");
    case JV_FLOAT:
        return TABLE(float_methods, "");
    case JV_CYCLER:
        return TABLE(cycler_methods, "");
    case JV_VIEW:
        return TABLE(view_methods, "");
    default:
        return (method_table){NULL, 0, ""};
    }
}

/* Every object has these, and the sandbox hides them all. */
static bool is_internal(mltf_str name)
{
    static const char names[] = " __class__ __doc__ __init__ __new__ __eq__ __ne__ __lt__ __le__ "
                                "__gt__ __ge__ __hash__ __str__ __repr__ __dir__ "
                                "__format__ __reduce__ __reduce_ex__ __getattribute__ __setattr__ "
                                "__delattr__ __sizeof__ __init_subclass__ "
                                "__subclasshook__ __getstate__ __len__ __iter__ __contains__ "
                                "__getitem__ __add__ __mul__ __rmul__ __mod__ __rmod__ "
                                "__getnewargs__ __class_getitem__ __globals__ __code__ __name__ "
                                "__self__ __call__ __module__ __dict__ __qualname__ "
                                "__func__ __closure__ __defaults__ __kwdefaults__ __annotations__ "
                                "__weakref__ __mro__ __bases__ __base__ "
                                "__subclasses__ __wrapped__ ";
    if (name.n < 5 || name.n > 40 || name.p[0] != '_' || name.p[1] != '_') return false;
    char room[48];
    snprintf(room, sizeof room, " %.*s ", (int)name.n, name.p);
    return strstr(names, room) != NULL;
}

static bool in_words(const char *words, mltf_str name)
{
    char room[32];
    if (name.n > 24) return false;
    snprintf(room, sizeof room, " %.*s ", (int)name.n, name.p);
    return strstr(words, room) != NULL;
}

static bool macro_attribute(jx *x, const jmacrodef *d, mltf_str name, jv *out, bool *found)
{
    *found = true;
    if (str_is(name, "name")) {
        if (d->name.p) return jv_str(x, d->name, out);
        *out = jv_none();
    } else if (str_is(name, "arguments")) {
        if (!jv_list(x, JV_TUPLE, d->n, out)) return false;
        for (size_t i = 0; i < d->n; i++) {
            jv v;
            if (!jv_str(x, d->param_name[i], &v) || !jv_push(x, *out, v)) return false;
        }
    } else if (str_is(name, "catch_kwargs")) {
        *out = jv_bool(d->uses_kwargs);
    } else if (str_is(name, "catch_varargs")) {
        *out = jv_bool(d->uses_varargs);
    } else if (str_is(name, "caller")) {
        *out = jv_bool(d->uses_caller);
    } else if (str_is(name, "explicit_caller")) {
        *out = jv_bool(d->explicit_caller);
    } else {
        *found = false;
    }
    return true;
}

bool jv_find_attribute(jx *x, jv obj, mltf_str name, jv *out, bool *found, bool *unsafe)
{
    *found = *unsafe = false;
    if (obj.t == JV_NAMESPACE) {
        const jv *v = jv_dict_find(x, obj.m, name);
        if (v) {
            *out = *v;
            *found = true;
        } else if (str_is(name, "__class__")) {
            *found = *unsafe = true;
        }
        return !x->failed;
    }
    if (is_internal(name)) {
        *found = *unsafe = true;
        return true;
    }
    const jfunc *f = NULL;
    if (obj.t == JV_STR) {
        f = jinja_str_method(name);
    } else {
        const method_table t = methods_of(obj);
        for (size_t i = 0; i < t.n && !f; i++)
            if (str_is(name, t.f[i].name)) f = &t.f[i];
        if (!f && in_words(t.unsafe, name)) {
            *found = *unsafe = true;
            return true;
        }
    }
    if (f) {
        jbound *b = arena_alloc_small(&x->arena, sizeof *b);
        if (!b) return x_fail_memory(x);
        *b = (jbound){obj, f};
        *out = (jv){.t = JV_METHOD, .bound = b};
        *found = true;
        return true;
    }
    switch ((jv_type)obj.t) {
    case JV_LOOP:
        return loop_attribute(x, obj.loop, name, out, found);
    case JV_MACRO:
        return macro_attribute(x, obj.macro->def, name, out, found);
    case JV_TUPLE:
        *found = obj.l->group && (str_is(name, "grouper") || str_is(name, "list"));
        if (*found) *out = obj.l->v[str_is(name, "list")];
        return true;
    case JV_BOOL:
    case JV_INT:
    case JV_FLOAT:
        *found = str_is(name, "real") || str_is(name, "imag") ||
                 (obj.t != JV_FLOAT && (str_is(name, "numerator") || str_is(name, "denominator")));
        if (!*found) return true;
        if (str_is(name, "imag"))
            *out = obj.t == JV_FLOAT ? jv_float(0) : jv_int(0);
        else if (str_is(name, "denominator"))
            *out = jv_int(1);
        else
            *out = obj.t == JV_BOOL ? jv_int(obj.b) : obj;
        return true;
    case JV_RANGE:
        *found = str_is(name, "start") || str_is(name, "stop") || str_is(name, "step");
        if (*found)
            *out = jv_int(str_is(name, "start")  ? obj.r->start
                          : str_is(name, "stop") ? obj.r->stop
                                                 : obj.r->step);
        return true;
    case JV_CYCLER:
        *found = str_is(name, "current") || str_is(name, "pos") || str_is(name, "items");
        if (!*found) return true;
        if (str_is(name, "pos"))
            *out = jv_int((int64_t)obj.cycler->at);
        else
            *out = str_is(name, "items") ? (jv){.t = JV_TUPLE, .l = obj.cycler->items}
                                         : obj.cycler->items->v[obj.cycler->at];
        return true;
    case JV_JOINER:
        *found = str_is(name, "sep") || str_is(name, "used");
        if (*found) *out = str_is(name, "sep") ? obj.joiner->sep : jv_bool(obj.joiner->used);
        return true;
    default:
        return true;
    }
}

/* ---- globals --------------------------------------------------------------------------------- */

static bool g_range(jx *x, jv self, const jargs *a, jv *out)
{
    (void)self;
    if (a->n_kw) return x_fail(x, "range() takes no keyword arguments");
    if (a->n == 0 || a->n > 3)
        return x_fail(x, "range expected at %s 1 argument, got %zu",
                      a->n ? "most 3 arguments, not" : "least", a->n);
    int64_t v[3] = {0, 0, 1};
    for (size_t i = 0; i < a->n; i++) {
        if (!jv_is_int(a->v[i]))
            return x_fail(x, "'%s' object cannot be interpreted as an integer",
                          jv_type_name(a->v[i]));
        v[a->n == 1 ? 1 : i] = jv_as_int(a->v[i]);
    }
    if (v[2] == 0) return x_fail(x, "range() arg 3 must not be zero");
    uint64_t n = 0;
    if (v[2] > 0 && v[0] < v[1]) n = ((uint64_t)v[1] - (uint64_t)v[0] - 1) / (uint64_t)v[2] + 1;
    if (v[2] < 0 && v[0] > v[1])
        n = ((uint64_t)v[0] - (uint64_t)v[1] - 1) / (0 - (uint64_t)v[2]) + 1;
    if (n > JX_MAX_RANGE)
        return x_fail(x, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).",
                      JX_MAX_RANGE);
    jrange *r = arena_alloc_small(&x->arena, sizeof *r);
    if (!r) return x_fail_memory(x);
    *r = (jrange){v[0], v[1], v[2], (size_t)n};
    *out = (jv){.t = JV_RANGE, .r = r};
    return true;
}

/* dict(mapping or pairs, name=value …), also the start of a namespace */
static bool fill_dict(jx *x, const char *what, const jargs *a, jv *out)
{
    if (a->n > 1) return x_fail(x, "%s expected at most 1 argument, got %zu", what, a->n);
    if (!jv_dict(x, 0, out)) return false;
    if (a->n && a->v[0].t == JV_DICT) {
        const jdict *m = a->v[0].m;
        for (size_t i = 0; i < m->n; i++)
            if (!jv_dict_set(x, out->m, m->e[i].key, m->e[i].value)) return false;
    } else if (a->n) {
        jsource src;
        if (!x_source_init(x, &src, a->v[0])) return false;
        for (size_t i = 0;; i++) {
            jv item, pair;
            bool got;
            if (!x_source_next(x, &src, &item, &got)) return false;
            if (!got) break;
            if (!jv_is_iterable(item))
                return x_fail(
                    x, "cannot convert dictionary update sequence element #%zu to a sequence", i);
            if (!jv_to_list(x, item, &pair)) return false;
            if (pair.l->n != 2)
                return x_fail(
                    x, "dictionary update sequence element #%zu has length %zu; 2 is required", i,
                    pair.l->n);
            if (!jv_dict_set(x, out->m, pair.l->v[0], pair.l->v[1])) return false;
        }
    }
    for (size_t i = 0; i < a->n_kw; i++) {
        jv key;
        if (!jv_str(x, a->kw[i].name, &key) || !jv_dict_set(x, out->m, key, a->kw[i].value))
            return false;
    }
    return true;
}

static bool g_dict(jx *x, jv self, const jargs *a, jv *out)
{
    (void)self;
    return fill_dict(x, "dict", a, out);
}

static bool g_namespace(jx *x, jv self, const jargs *a, jv *out)
{
    (void)self;
    if (!fill_dict(x, "namespace", a, out)) return false;
    out->t = JV_NAMESPACE;
    return true;
}

static bool g_cycler(jx *x, jv self, const jargs *a, jv *out)
{
    (void)self;
    if (a->n_kw) return x_fail(x, "Cycler.__init__() got an unexpected keyword argument");
    if (a->n == 0) return x_fail(x, "at least one item has to be provided");
    jv items;
    jcycler *c = arena_alloc_small(&x->arena, sizeof *c);
    if (!c) return x_fail_memory(x);
    if (!jv_list(x, JV_TUPLE, a->n, &items)) return false;
    for (size_t i = 0; i < a->n; i++)
        if (!jv_push(x, items, a->v[i])) return false;
    *c = (jcycler){items.l, 0};
    *out = (jv){.t = JV_CYCLER, .cycler = c};
    return true;
}

static bool g_joiner(jx *x, jv self, const jargs *a, jv *out)
{
    (void)self;
    jv sep;
    jjoiner *j = arena_alloc_small(&x->arena, sizeof *j);
    if (!j) return x_fail_memory(x);
    if (!jinja_bind(x, "joiner", "sep", 0, 1, a, &sep)) return false;
    if (sep.t == JV_MISSING && !jv_cstr(x, ", ", &sep)) return false;
    *j = (jjoiner){sep, false};
    *out = (jv){.t = JV_JOINER, .joiner = j};
    return true;
}

static bool g_raise(jx *x, jv self, const jargs *a, jv *out)
{
    (void)self;
    (void)out;
    jv message, text;
    if (!jinja_bind(x, "raise_exception", "message", 1, 1, a, &message) ||
        !jv_to_str(x, message, &text))
        return false;
    x->bare = true;
    size_t n = text.s->n < sizeof x->msg - 1 ? text.s->n : sizeof x->msg - 1;
    while (n < text.s->n && n > 0 && ((unsigned char)text.s->p[n] & 0xc0) == 0x80) n--;
    return x_fail(x, "%.*s", (int)n, text.s->p);
}

static bool g_strftime_now(jx *x, jv self, const jargs *a, jv *out)
{
    (void)self;
    jv format;
    if (!jinja_bind(x, "strftime_now", "format", 1, 1, a, &format)) return false;
    if (format.t != JV_STR)
        return x_fail(x, "strftime() argument 1 must be str, not %s", jv_type_name(format));
    if (format.s->n > 4000) return x_fail(x, "the format of strftime_now is too long");
    struct timespec now = {.tv_sec = (time_t)x->now};
    if (x->now == 0) clock_gettime(CLOCK_REALTIME, &now);
    struct tm tm;
    if (!localtime_r(&now.tv_sec, &tm)) return x_fail(x, "the time is out of range");
    mltf_buf b = {.max = LIMIT_TEMPLATE_OUTPUT};
    const char *p = format.s->p, *end = p + format.s->n;
    while (p < end) {
        if (*p != '%' || p + 1 >= end) {
            buf_putc(&b, *p++);
            continue;
        }
        char directive[4] = {'%', p[1], 0, 0}, text[256];
        p += 2;
        if (directive[1] == '-' || directive[1] == '_' || directive[1] == '^' ||
            directive[1] == '0' || directive[1] == 'E' ||
            directive[1] == 'O') { // glibc's flags, which Python passes on
            if (p >= end) break;
            directive[2] = *p++;
        }
        if (directive[1] == 'f') {
            buf_printf(&b, "%06ld", now.tv_nsec / 1000);
            continue;
        }
        if (directive[1] == 'z' || directive[1] == 'Z') continue; // a time without a zone
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        const size_t n = c_strftime(text, sizeof text, directive, &tm);
#pragma GCC diagnostic pop
        buf_append(&b, text, n);
    }
    return jv_take_buf(x, &b, out);
}

static bool g_lipsum(jx *x, jv self, const jargs *a, jv *out)
{
    (void)self;
    (void)a;
    (void)out;
    return x_unsupported(x, "lipsum() is not supported in chat templates");
}

static const jfunc globals[] = {
    {"range", g_range, "<function safe_range>"},
    {"dict", g_dict, "<class 'dict'>"},
    {"namespace", g_namespace, "<class 'jinja2.utils.Namespace'>"},
    {"cycler", g_cycler, "<class 'jinja2.utils.Cycler'>"},
    {"joiner", g_joiner, "<class 'jinja2.utils.Joiner'>"},
    {"lipsum", g_lipsum, "<function generate_lorem_ipsum>"},
    {"raise_exception", g_raise, "<function raise_exception>"},
    {"strftime_now", g_strftime_now, "<function strftime_now>"},
};

const jfunc *jinja_global(size_t i)
{
    return i < sizeof globals / sizeof *globals ? &globals[i] : NULL;
}
