/* Filters on the items of a value: one of them, another order, a choice.
 *
 * map, select, reject and their kin are generators in the reference: read once, without len(). Here their
 * items are made at once, but the value behaves the same. */
#include "templates/jinja_filters.h"

/* ---- one value of many ----------------------------------------------------------------------- */

static bool f_default(jx *x, jv self, const jargs *a, jv *out)
{
    const bool falsy_too = GIVEN(a->v[1]) && jv_truth(a->v[1]);
    *out = self;
    if (self.t != JV_UNDEFINED && !(falsy_too && !jv_truth(self))) return true;
    if (!GIVEN(a->v[0])) return jv_cstr(x, "", out);
    *out = a->v[0];
    return true;
}

static bool f_length(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    size_t n;
    if (!jv_length(x, self, &n)) return false;
    *out = jv_int((int64_t)n);
    return true;
}

static bool f_first(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    jsource src;
    bool got;
    if (!x_source_init(x, &src, self) || !x_source_next(x, &src, out, &got)) return false;
    return got || jv_undefined_hint(x, "No first item, sequence was empty.", out);
}

/* The things that reversed() takes. */
static bool reversible(jv v)
{
    return v.t == JV_STR || v.t == JV_LIST || v.t == JV_TUPLE || v.t == JV_DICT ||
           v.t == JV_RANGE || v.t == JV_VIEW || v.t == JV_UNDEFINED;
}

static bool f_last(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    jv all;
    if (!reversible(self)) return x_fail(x, "'%s' object is not reversible", jv_type_name(self));
    if (self.t == JV_STR && self.s->n) return jv_char_at(x, self, self.s->len - 1, out);
    if (!jv_to_list(x, self, &all)) return false;
    if (all.l->n == 0) return jv_undefined_hint(x, "No last item, sequence was empty.", out);
    *out = all.l->v[all.l->n - 1];
    return true;
}

static bool f_random(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    size_t n;
    if (!jv_length(x, self, &n)) return false;
    if (n == 0) return jv_undefined_hint(x, "No random item, sequence was empty.", out);
    x->random = x->random * 6364136223846793005u + 1442695040888963407u;
    return jv_getitem(x, self, jv_int((int64_t)((x->random >> 33) % n)), out);
}

static bool extreme(jx *x, jv self, const jargs *a, bool max, jv *out)
{
    const bool case_sensitive = GIVEN(a->v[0]) && jv_truth(a->v[0]);
    jsource src;
    jv item, key, best_key = jv_none();
    bool got, any = false, better = true;
    if (!x_source_init(x, &src, self)) return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) break;
        if (!jv_attribute_path(x, item, a->v[1], JV(JV_MISSING), &key) ||
            !jf_fold(x, case_sensitive, &key))
            return false;
        if (any && !(max ? jv_compare(x, JO_GT, key, best_key, &better)
                         : jv_compare(x, JO_LT, key, best_key, &better)))
            return false;
        if (any && !better) continue;
        any = true;
        best_key = key;
        *out = item;
    }
    return any || jv_undefined_hint(x, "No aggregated item, sequence was empty.", out);
}

static bool f_max(jx *x, jv self, const jargs *a, jv *out)
{
    return extreme(x, self, a, true, out);
}
static bool f_min(jx *x, jv self, const jargs *a, jv *out)
{
    return extreme(x, self, a, false, out);
}

static bool f_sum(jx *x, jv self, const jargs *a, jv *out)
{
    jsource src;
    jv item, value;
    bool got;
    *out = GIVEN(a->v[1]) ? a->v[1] : jv_int(0);
    if (out->t == JV_STR) return x_fail(x, "sum() can't sum strings [use ''.join(seq) instead]");
    if (!x_source_init(x, &src, self)) return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) return true;
        if (!jv_attribute_path(x, item, a->v[0], JV(JV_MISSING), &value) ||
            !jv_binary(x, JO_ADD, *out, value, out))
            return false;
    }
}

static bool f_join(jx *x, jv self, const jargs *a, jv *out)
{
    jsource src;
    jv item, separator;
    bool got, escape = false;
    if (GIVEN(a->v[0])) {
        if (!jv_to_str(x, a->v[0], &separator)) return false;
    } else if (!jv_cstr(x, "", &separator)) {
        return false;
    }
    if (!x_source_init(x, &src, self)) return false;
    if (x->autoescape) { // one Markup among them makes the others escaped
        jv all;
        if (!jv_to_list(x, self, &all)) return false;
        escape = separator.markup;
        for (size_t i = 0; i < all.l->n; i++)
            escape = escape || (all.l->v[i].t == JV_STR && all.l->v[i].markup);
        if (!x_source_init(x, &src, all) || (escape && !jv_escape(x, separator, &separator)))
            return false;
    }
    mltf_buf b = TEXT_BUF;
    for (size_t i = 0;; i++) {
        if (!x_source_next(x, &src, &item, &got) || !got) break;
        if (!jv_attribute_path(x, item, a->v[1].t == JV_NONE ? JV(JV_MISSING) : a->v[1],
                               JV(JV_MISSING), &item))
            break;
        if (escape && !jv_escape(x, item, &item)) break;
        if (i) buf_put_str(&b, jv_text(separator));
        if (!jv_put_str(x, &b, item, 0) || b.failed) break;
    }
    if (!x_step(x, b.n / 64)) {
        mltf_buf_release(&b);
        return false;
    }
    if (!jv_take_buf(x, &b, out)) return false;
    out->markup = escape;
    return true;
}

/* ---- sequences ------------------------------------------------------------------------------- */

static bool f_list(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return jv_to_list(x, self, out);
}

static bool f_items(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    jv all;
    jview view = {.kind = 'i'};
    if (self.t == JV_UNDEFINED) {
        if (!jv_list(x, JV_LIST, 0, &all)) return false;
    } else {
        if (self.t != JV_DICT) return x_fail(x, "Can only get item pairs from a mapping.");
        view.m = self.m;
        if (!jv_to_list(x, (jv){.t = JV_VIEW, .view = &view}, &all)) return false;
    }
    return jv_iter(x, all, "generator", out);
}

static bool f_reverse(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    jv all;
    if (self.t == JV_STR) return jv_slice(x, self, jv_none(), jv_none(), jv_int(-1), out);
    if (!jv_is_iterable(self)) return x_fail(x, "argument must be iterable");
    if (!jv_to_list(x, self, &all)) return false;
    for (size_t i = 0; i < all.l->n / 2; i++) {
        const jv t = all.l->v[i];
        all.l->v[i] = all.l->v[all.l->n - 1 - i];
        all.l->v[all.l->n - 1 - i] = t;
    }
    if (!reversible(self)) { // then it is a list already
        *out = all;
        return true;
    }
    static const char *const names[] = {[JV_LIST] = "list_reverseiterator",
                                        [JV_RANGE] = "range_iterator",
                                        [JV_DICT] = "dict_reversekeyiterator"};
    const char *name =
        self.t < sizeof names / sizeof *names && names[self.t] ? names[self.t] : "reversed";
    return jv_iter(x, all, name, out);
}

/* The keys of several attributes: "a,b.c". One attribute gives a list of one. */
static bool sort_key(jx *x, jv item, jv attribute, bool case_sensitive, jv *key)
{
    if (!jv_list(x, JV_LIST, 1, key)) return false;
    mltf_str rest = attribute.t == JV_STR ? jv_text(attribute) : (mltf_str){0};
    for (;;) {
        jv part = attribute, value;
        size_t n = 0;
        if (attribute.t == JV_STR) {
            while (n < rest.n && rest.p[n] != ',') n++;
            if (!jv_str(x, str_slice(rest, 0, n), &part)) return false;
        }
        if (!jv_attribute_path(x, item, part, JV(JV_MISSING), &value) ||
            !jf_fold(x, case_sensitive, &value) || !jv_push(x, *key, value))
            return false;
        if (attribute.t != JV_STR || n >= rest.n) return true;
        rest = str_slice(rest, n + 1, rest.n);
    }
}

/* sort(value, reverse=False, case_sensitive=False, attribute=None) */
static bool f_sort(jx *x, jv self, const jargs *a, jv *out)
{
    jv keys;
    if (!jv_to_list(x, self, out) || !jv_list(x, JV_LIST, out->l->n, &keys)) return false;
    for (size_t i = 0; i < out->l->n; i++) {
        jv key;
        if (!sort_key(x, out->l->v[i], a->v[2], GIVEN(a->v[1]) && jv_truth(a->v[1]), &key) ||
            !jv_push(x, keys, key))
            return false;
    }
    return jv_sort(x, keys.l->v, out->l->v, out->l->n, GIVEN(a->v[0]) && jv_truth(a->v[0]));
}

/* dictsort(value, case_sensitive=False, by="key", reverse=False) */
static bool f_dictsort(jx *x, jv self, const jargs *a, jv *out)
{
    if (self.t == JV_UNDEFINED) return jv_use_undefined(x, self);
    if (self.t != JV_DICT)
        return x_fail(x, "'%s' object has no attribute 'items'", jv_type_name(self));
    int by = 0;
    if (GIVEN(a->v[1])) {
        if (a->v[1].t == JV_STR && str_is(jv_text(a->v[1]), "value"))
            by = 1;
        else if (a->v[1].t != JV_STR || !str_is(jv_text(a->v[1]), "key"))
            return x_fail(x, "You can only sort by either \"key\" or \"value\"");
    }
    jview view = {self.m, 'i'};
    jv keys;
    if (!jv_to_list(x, (jv){.t = JV_VIEW, .view = &view}, out) ||
        !jv_list(x, JV_LIST, out->l->n, &keys))
        return false;
    for (size_t i = 0; i < out->l->n; i++) {
        jv key = out->l->v[i].l->v[by];
        if (!jf_fold(x, GIVEN(a->v[0]) && jv_truth(a->v[0]), &key) || !jv_push(x, keys, key))
            return false;
    }
    return jv_sort(x, keys.l->v, out->l->v, out->l->n, GIVEN(a->v[2]) && jv_truth(a->v[2]));
}

/* unique(value, case_sensitive=False, attribute=None) */
static bool f_unique(jx *x, jv self, const jargs *a, jv *out)
{
    jv seen, kept, item, key, value;
    jsource src;
    bool got, found;
    if (!jv_dict(x, 0, &seen) || !jv_list(x, JV_LIST, 0, &kept) || !x_source_init(x, &src, self))
        return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) return jv_iter(x, kept, "generator", out);
        if (!jv_attribute_path(x, item, a->v[1], JV(JV_MISSING), &key) ||
            !jf_fold(x, GIVEN(a->v[0]) && jv_truth(a->v[0]), &key) ||
            !jv_dict_get(x, seen.m, key, &value, &found))
            return false;
        if (!found && (!jv_dict_set(x, seen.m, key, jv_none()) || !jv_push(x, kept, item)))
            return false;
    }
}

/* groupby(value, attribute, default=None, case_sensitive=False) */
static bool f_groupby(jx *x, jv self, const jargs *a, jv *out)
{
    const bool case_sensitive = GIVEN(a->v[2]) && jv_truth(a->v[2]);
    jv items, keys, sorted_keys;
    if (!jv_to_list(x, self, &items) || !jv_list(x, JV_LIST, items.l->n, &keys)) return false;
    for (size_t i = 0; i < items.l->n; i++) {
        jv key;
        if (!jv_attribute_path(x, items.l->v[i], a->v[0], a->v[1], &key) ||
            !jf_fold(x, case_sensitive, &key) || !jv_push(x, keys, key))
            return false;
    }
    if (!jv_to_list(x, keys, &sorted_keys) ||
        !jv_sort(x, keys.l->v, items.l->v, items.l->n, false) ||
        !jv_sort(x, keys.l->v, sorted_keys.l->v, items.l->n, false) || !jv_list(x, JV_LIST, 0, out))
        return false;
    for (size_t i = 0; i < items.l->n;) {
        jv group, members, grouper;
        if (!jv_list(x, JV_TUPLE, 2, &group) || !jv_list(x, JV_LIST, 0, &members)) return false;
        const size_t first = i;
        for (bool same = true; i < items.l->n && same;) {
            if (i > first && !jv_equal(x, sorted_keys.l->v[first], sorted_keys.l->v[i], &same))
                return false;
            if (same && !jv_push(x, members, items.l->v[i++])) return false;
        }
        grouper = sorted_keys.l->v[first];
        if (!case_sensitive && !jv_attribute_path(x, items.l->v[first], a->v[0], a->v[1], &grouper))
            return false;
        group.l->group = true;
        if (!jv_push(x, group, grouper) || !jv_push(x, group, members) || !jv_push(x, *out, group))
            return false;
    }
    return true;
}

/* batch(value, linecount, fill_with=None) */
static bool f_batch(jx *x, jv self, const jargs *a, jv *out)
{
    jv all, item, row = jv_none();
    jsource src;
    bool got;
    int64_t count;
    if (!jf_int_argument(x, a->v[0], 0, &count) || !jv_list(x, JV_LIST, 0, &all) ||
        !x_source_init(x, &src, self))
        return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) break;
        if (row.t == JV_NONE || (int64_t)row.l->n == count) {
            if (!jv_list(x, JV_LIST, 0, &row) || !jv_push(x, all, row)) return false;
            if (count == 0 && all.l->n == 1 &&
                !(jv_list(x, JV_LIST, 0, &row) && jv_push(x, all, row)))
                return false;
        }
        if (!jv_push(x, row, item)) return false;
    }
    if (row.t != JV_NONE && GIVEN(a->v[1]) && a->v[1].t != JV_NONE)
        while ((int64_t)row.l->n < count)
            if (!x_step(x, 1) || !jv_push(x, row, a->v[1])) return false;
    return jv_iter(x, all, "generator", out);
}

/* slice(value, slices, fill_with=None) */
static bool f_slice(jx *x, jv self, const jargs *a, jv *out)
{
    jv seq, all;
    int64_t slices;
    if (!jf_int_argument(x, a->v[0], 0, &slices) || !jv_to_list(x, self, &seq) ||
        !jv_list(x, JV_LIST, 0, &all))
        return false;
    if (slices == 0) return x_fail(x, "integer division or modulo by zero");
    const int64_t n = (int64_t)seq.l->n, each = slices > 0 ? n / slices : 0,
                  extra = slices > 0 ? n % slices : 0;
    int64_t at = 0;
    for (int64_t i = 0; i < slices; i++) {
        jv part;
        if (!x_step(x, 1) || !jv_list(x, JV_LIST, 0, &part) || !jv_push(x, all, part)) return false;
        for (int64_t k = 0; k < each + (i < extra); k++)
            if (!jv_push(x, part, seq.l->v[at++])) return false;
        if (i >= extra && GIVEN(a->v[1]) && a->v[1].t != JV_NONE && !jv_push(x, part, a->v[1]))
            return false;
    }
    return jv_iter(x, all, "generator", out);
}

/* ---- map and select -------------------------------------------------------------------------- */

static bool f_map(jx *x, jv self, const jargs *a, jv *out)
{
    jv all, item, value;
    jsource src;
    bool got;
    if (!jv_list(x, JV_LIST, 0, &all)) return false;
    if (!jv_truth(self)) return jv_iter(x, all, "generator", out);
    const jfilter *f = NULL;
    jv path = JV(JV_MISSING), dflt = JV(JV_MISSING);
    jargs rest = {0};
    for (size_t i = 0; a->n == 0 && i < a->n_kw; i++) {
        if (str_is(a->kw[i].name, "attribute"))
            path = a->kw[i].value;
        else if (str_is(a->kw[i].name, "default"))
            dflt = a->kw[i].value;
        else if (a->n_kw > 0)
            return x_fail(x, "Unexpected keyword argument '" STR_FMT "'", STR_ARG(a->kw[i].name));
    }
    if (a->n == 0 && !GIVEN(path)) return x_fail(x, "map requires a filter argument");
    if (a->n) {
        if (a->v[0].t != JV_STR || !(f = jinja_find_filter(jv_text(a->v[0]))))
            return x_fail(x, "No filter named %s.", jv_show(x, a->v[0]));
        rest = (jargs){.v = a->v + 1, .n = a->n - 1, .kw = a->kw, .n_kw = a->n_kw};
    }
    if (!x_source_init(x, &src, self)) return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) return jv_iter(x, all, "generator", out);
        if (f ? !jinja_apply(x, f, item, &rest, &value)
              : !jv_attribute_path(x, item, path, dflt, &value))
            return false;
        if (!jv_push(x, all, value)) return false;
    }
}

static bool choose(jx *x, jv self, const jargs *a, bool wanted, bool by_attribute, jv *out)
{
    jv all, item, value;
    jsource src;
    bool got;
    if (!jv_list(x, JV_LIST, 0, &all)) return false;
    if (!jv_truth(self)) return jv_iter(x, all, "generator", out);
    if (by_attribute && a->n == 0) return x_fail(x, "Missing parameter for attribute name");
    const jfilter *test = NULL;
    jargs rest = {.v = a->v, .n = a->n, .kw = a->kw, .n_kw = a->n_kw};
    const jv path = by_attribute ? a->v[0] : JV(JV_MISSING);
    if (by_attribute) {
        rest.v++;
        rest.n--;
    }
    if (rest.n) {
        if (rest.v[0].t != JV_STR || !(test = jinja_find_test(jv_text(rest.v[0]))))
            return x_fail(x, "No test named %s.", jv_show(x, rest.v[0]));
        rest.v++;
        rest.n--;
    }
    if (!x_source_init(x, &src, self)) return false;
    for (;;) {
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (!got) return jv_iter(x, all, "generator", out);
        if (!jv_attribute_path(x, item, path, JV(JV_MISSING), &value)) return false;
        if (test && !jinja_apply(x, test, value, &rest, &value)) return false;
        if (jv_truth(value) == wanted && !jv_push(x, all, item)) return false;
    }
}

static bool f_select(jx *x, jv self, const jargs *a, jv *out)
{
    return choose(x, self, a, true, false, out);
}
static bool f_reject(jx *x, jv self, const jargs *a, jv *out)
{
    return choose(x, self, a, false, false, out);
}
static bool f_selectattr(jx *x, jv self, const jargs *a, jv *out)
{
    return choose(x, self, a, true, true, out);
}
static bool f_rejectattr(jx *x, jv self, const jargs *a, jv *out)
{
    return choose(x, self, a, false, true, out);
}

static bool f_attr(jx *x, jv self, const jargs *a, jv *out)
{
    bool found, unsafe;
    const jv name = a->v[0];
    if (name.t != JV_STR)
        return x_fail(x, "attribute name must be string, not '%s'", jv_type_name(name));
    if (self.t == JV_UNDEFINED) return jv_use_undefined(x, self);
    if (!jv_find_attribute(x, self, jv_text(name), out, &found, &unsafe)) return false;
    if (!found) return jv_undefined_attr(x, self, name, out); // and no look at the items
    return jv_getattr(x, self, jv_text(name), out);
}

const jfilter jinja_item_filters[] = {
    {"attr", f_attr, "name", 1, 1},
    {"batch", f_batch, "linecount,fill_with", 1, 2},
    {"count", f_length, "", 0, 0},
    {"d", f_default, "default_value,boolean", 0, 2},
    {"default", f_default, "default_value,boolean", 0, 2},
    {"dictsort", f_dictsort, "case_sensitive,by,reverse", 0, 3},
    {"first", f_first, "", 0, 0},
    {"groupby", f_groupby, "attribute,default,case_sensitive", 1, 3},
    {"items", f_items, "", 0, 0},
    {"join", f_join, "d,attribute", 0, 2},
    {"last", f_last, "", 0, 0},
    {"length", f_length, "", 0, 0},
    {"list", f_list, "", 0, 0},
    {"map", f_map, NULL, 0, 0},
    {"max", f_max, "case_sensitive,attribute", 0, 2},
    {"min", f_min, "case_sensitive,attribute", 0, 2},
    {"random", f_random, "", 0, 0},
    {"reject", f_reject, NULL, 0, 0},
    {"rejectattr", f_rejectattr, NULL, 0, 0},
    {"reverse", f_reverse, "", 0, 0},
    {"select", f_select, NULL, 0, 0},
    {"selectattr", f_selectattr, NULL, 0, 0},
    {"slice", f_slice, "slices,fill_with", 1, 2},
    {"sort", f_sort, "reverse,case_sensitive,attribute", 0, 3},
    {"sum", f_sum, "attribute,start", 0, 2},
    {"unique", f_unique, "case_sensitive,attribute", 0, 2},
    {0},
};
