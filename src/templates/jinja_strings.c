/* The methods of Python's str. Positions count code points; a Markup gives a Markup. */
#include "templates/jinja_internal.h"

#include "base/limits.h"
#include "base/pytext.h"
#include "base/utf8.h"
#include "base/python_unicode.h"

#define TEXT_BUF                                                                                   \
    {                                                                                              \
        .max = LIMIT_TEMPLATE_OUTPUT                                                               \
    }

static void put_cp(mltf_buf *b, uint32_t cp)
{
    char room[4];
    buf_append(b, room, utf8_encode(room, cp));
}

static bool take(jx *x, mltf_buf *b, jv self, jv *out)
{
    if (!x_step(x, b->n / 16) || !jv_take_buf(x, b, out)) {
        mltf_buf_release(b);
        return false;
    }
    out->markup = self.markup;
    return true;
}

static bool want_text(jx *x, jv v, const char *method)
{
    if (v.t == JV_STR) return true;
    return x_fail(x, "%s() argument must be str, not %s", method, jv_type_name(v));
}

static bool want_int(jx *x, jv v, int64_t *out)
{
    if (!jv_is_int(v))
        return x_fail(x, "'%s' object cannot be interpreted as an integer", jv_type_name(v));
    *out = jv_as_int(v);
    return true;
}

/* ---- case ------------------------------------------------------------------------------------ */

static void put_mapped(mltf_buf *b, uint32_t cp, pyu_map how)
{
    uint32_t to[3];
    const size_t n = pyu_convert(cp, how, to);
    for (size_t i = 0; i < n; i++) put_cp(b, to[i]);
}

static void put_lower(mltf_buf *b, mltf_str s, size_t at)
{
    uint32_t to[3];
    const size_t n = pyu_lower_at(s, at, to);
    for (size_t i = 0; i < n; i++) put_cp(b, to[i]);
}

typedef enum {
    CASE_UPPER,
    CASE_LOWER,
    CASE_TITLE,
    CASE_CAPITALIZE,
    CASE_SWAP,
    CASE_FOLD
} case_mode;

static bool change_case(jx *x, jv self, const jargs *a, case_mode mode, jv *out)
{
    if (a->n || a->n_kw)
        return x_fail(x, "str method takes no arguments (%zu given)", a->n + a->n_kw);
    mltf_buf b = TEXT_BUF;
    const mltf_str s = jv_text(self);
    const char *p = s.p, *end = s.p + s.n;
    bool in_word = false;
    while (p < end) {
        const size_t at = (size_t)(p - s.p);
        const uint32_t cp = utf8_next(&p);
        switch (mode) {
        case CASE_UPPER:
            put_mapped(&b, cp, PYU_TO_UPPER);
            break;
        case CASE_LOWER:
            put_lower(&b, s, at);
            break;
        case CASE_FOLD:
            put_mapped(&b, cp, PYU_TO_FOLD);
            break;
        case CASE_CAPITALIZE:
            if (at == 0)
                put_mapped(&b, cp, PYU_TO_TITLE);
            else
                put_lower(&b, s, at);
            break;
        case CASE_TITLE:
            if (in_word)
                put_lower(&b, s, at);
            else
                put_mapped(&b, cp, PYU_TO_TITLE);
            in_word = pyu_cased(cp);
            break;
        case CASE_SWAP:
            if (pyu_is(cp, PYU_UPPER))
                put_lower(&b, s, at);
            else if (pyu_is(cp, PYU_LOWER))
                put_mapped(&b, cp, PYU_TO_UPPER);
            else
                put_cp(&b, cp);
            break;
        }
    }
    return take(x, &b, self, out);
}

static bool s_upper(jx *x, jv self, const jargs *a, jv *out)
{
    return change_case(x, self, a, CASE_UPPER, out);
}
static bool s_lower(jx *x, jv self, const jargs *a, jv *out)
{
    return change_case(x, self, a, CASE_LOWER, out);
}
static bool s_title(jx *x, jv self, const jargs *a, jv *out)
{
    return change_case(x, self, a, CASE_TITLE, out);
}
static bool s_capitalize(jx *x, jv self, const jargs *a, jv *out)
{
    return change_case(x, self, a, CASE_CAPITALIZE, out);
}
static bool s_swapcase(jx *x, jv self, const jargs *a, jv *out)
{
    return change_case(x, self, a, CASE_SWAP, out);
}
static bool s_casefold(jx *x, jv self, const jargs *a, jv *out)
{
    return change_case(x, self, a, CASE_FOLD, out);
}

/* ---- strip ----------------------------------------------------------------------------------- */

static bool in_set(uint32_t cp, const mltf_str *set)
{
    if (!set) return pytext_is_space(cp);
    for (const char *p = set->p, *end = set->p + set->n; p < end;)
        if (utf8_next(&p) == cp) return true;
    return false;
}

static bool strip(jx *x, const char *name, jv self, const jargs *a, bool left, bool right, jv *out)
{
    jv chars;
    if (!jinja_bind(x, name, "chars", 0, 1, a, &chars)) return false;
    mltf_str set = {0};
    const bool given = chars.t != JV_MISSING && chars.t != JV_NONE;
    if (given && chars.t != JV_STR) return x_fail(x, "%s arg must be None or str", name);
    if (given) set = jv_text(chars);
    const mltf_str s = jv_text(self);
    const char *from = s.p, *to = s.p + s.n;
    size_t looked = 0;
    while (left && from < to) {
        const char *p = from;
        if (!in_set(utf8_next(&p), given ? &set : NULL)) break;
        from = p;
        looked += 1 + set.n / 8;
    }
    while (right && to > from) {
        const char *p = to - 1;
        while (p > from && ((unsigned char)*p & 0xc0) == 0x80) p--;
        const char *at = p;
        if (!in_set(utf8_next(&at), given ? &set : NULL)) break;
        to = p;
        looked += 1 + set.n / 8;
    }
    return x_step(x, looked / 8) &&
           jv_substr(x, self, (size_t)(from - s.p), (size_t)(to - s.p), out);
}

static bool s_strip(jx *x, jv self, const jargs *a, jv *out)
{
    return strip(x, "strip", self, a, true, true, out);
}
static bool s_lstrip(jx *x, jv self, const jargs *a, jv *out)
{
    return strip(x, "lstrip", self, a, true, false, out);
}
static bool s_rstrip(jx *x, jv self, const jargs *a, jv *out)
{
    return strip(x, "rstrip", self, a, false, true, out);
}

/* ---- search ---------------------------------------------------------------------------------- */

/* The bytes [*from, *to) of self between two optional positions; false in *inside if start is past the end. */
static bool window(jx *x, jv self, jv start, jv end, size_t *from, size_t *to, bool *inside)
{
    int64_t n = (int64_t)self.s->len, a = 0, b = n;
    if (start.t != JV_MISSING && start.t != JV_NONE && !want_int(x, start, &a)) return false;
    if (end.t != JV_MISSING && end.t != JV_NONE && !want_int(x, end, &b)) return false;
    if (a < 0) a = a < -n ? 0 : a + n;
    if (b < 0) b = b < -n ? 0 : b + n;
    if (b > n) b = n;
    *inside = a <= b && a <= n;
    *from = jstr_offset(self.s, (size_t)(a > n ? n : a));
    *to = *inside ? jstr_offset(self.s, (size_t)b) : *from;
    return x_step(x, self.s->n / 64);
}

static const char *find_last(const char *p, size_t n, mltf_str needle)
{
    if (needle.n > n) return NULL;
    for (size_t i = n - needle.n + 1; i-- > 0;)
        if (needle.n == 0 || (p[i] == needle.p[0] && memcmp(p + i, needle.p, needle.n) == 0))
            return p + i;
    return NULL;
}

static const char *find_first(const char *p, size_t n, mltf_str needle)
{
    return needle.n == 0 ? p : memmem(p, n, needle.p, needle.n);
}

static bool find(jx *x, const char *name, jv self, const jargs *a, bool last, bool must, jv *out)
{
    jv arg[3];
    size_t from, to;
    bool inside;
    if (!jinja_bind(x, name, "sub,start,end", 1, 3, a, arg) || !want_text(x, arg[0], name) ||
        !window(x, self, arg[1], arg[2], &from, &to, &inside))
        return false;
    const mltf_str needle = jv_text(arg[0]);
    if (last && !x_step(x, (to - from) / 64 * (needle.n / 64 + 1))) return false;
    const char *at = NULL;
    if (inside)
        at = last ? find_last(self.s->p + from, to - from, needle)
                  : find_first(self.s->p + from, to - from, needle);
    if (!at && must) return x_fail(x, "substring not found");
    *out = jv_int(at ? (int64_t)utf8_count(self.s->p, (size_t)(at - self.s->p)) : -1);
    return true;
}

static bool s_find(jx *x, jv self, const jargs *a, jv *out)
{
    return find(x, "find", self, a, false, false, out);
}
static bool s_rfind(jx *x, jv self, const jargs *a, jv *out)
{
    return find(x, "rfind", self, a, true, false, out);
}
static bool s_index(jx *x, jv self, const jargs *a, jv *out)
{
    return find(x, "index", self, a, false, true, out);
}
static bool s_rindex(jx *x, jv self, const jargs *a, jv *out)
{
    return find(x, "rindex", self, a, true, true, out);
}

static bool s_count(jx *x, jv self, const jargs *a, jv *out)
{
    jv arg[3];
    size_t from, to;
    bool inside;
    if (!jinja_bind(x, "count", "sub,start,end", 1, 3, a, arg) || !want_text(x, arg[0], "count") ||
        !window(x, self, arg[1], arg[2], &from, &to, &inside))
        return false;
    const mltf_str needle = jv_text(arg[0]);
    int64_t n = 0;
    if (inside && needle.n == 0) n = (int64_t)utf8_count(self.s->p + from, to - from) + 1;
    for (const char *at;
         inside && needle.n && (at = find_first(self.s->p + from, to - from, needle)); n++)
        from = (size_t)(at - self.s->p) + needle.n;
    *out = jv_int(n);
    return true;
}

static bool affix(jx *x, const char *name, jv self, const jargs *a, bool end, jv *out)
{
    jv arg[3];
    size_t from, to;
    bool inside;
    if (!jinja_bind(x, name, "prefix,start,end", 1, 3, a, arg)) return false;
    if (arg[0].t == JV_UNDEFINED)
        return x_fail(x, "%s first arg must be str or a tuple of str, not Undefined", name);
    if (!window(x, self, arg[1], arg[2], &from, &to, &inside)) return false;
    const size_t n = arg[0].t == JV_TUPLE ? arg[0].l->n : 1;
    *out = jv_bool(false);
    for (size_t i = 0; i < n; i++) {
        const jv v = arg[0].t == JV_TUPLE ? arg[0].l->v[i] : arg[0];
        if (v.t != JV_STR) {
            if (arg[0].t == JV_TUPLE)
                return x_fail(x, "tuple for %s must only contain str, not %s", name,
                              jv_type_name(v));
            return x_fail(x, "%s first arg must be str or a tuple of str, not %s", name,
                          jv_type_name(v));
        }
        const size_t k = v.s->n;
        if (inside && k <= to - from && memcmp(self.s->p + (end ? to - k : from), v.s->p, k) == 0)
            *out = jv_bool(true);
    }
    return true;
}

static bool s_startswith(jx *x, jv self, const jargs *a, jv *out)
{
    return affix(x, "startswith", self, a, false, out);
}
static bool s_endswith(jx *x, jv self, const jargs *a, jv *out)
{
    return affix(x, "endswith", self, a, true, out);
}

static bool remove_affix(jx *x, const char *name, jv self, const jargs *a, bool end, jv *out)
{
    jv arg;
    if (!jinja_bind(x, name, "prefix", 1, 1, a, &arg) || !want_text(x, arg, name)) return false;
    const size_t n = self.s->n, k = arg.s->n;
    if (k == 0 || k > n || memcmp(self.s->p + (end ? n - k : 0), arg.s->p, k) != 0) {
        *out = self;
        return true;
    }
    return jv_substr(x, self, end ? 0 : k, end ? n - k : n, out);
}

static bool s_removeprefix(jx *x, jv self, const jargs *a, jv *out)
{
    return remove_affix(x, "removeprefix", self, a, false, out);
}
static bool s_removesuffix(jx *x, jv self, const jargs *a, jv *out)
{
    return remove_affix(x, "removesuffix", self, a, true, out);
}

/* ---- split and join -------------------------------------------------------------------------- */

static bool push_piece(jx *x, jv list, jv self, size_t from, size_t to)
{
    jv piece;
    return x_step(x, 1) && jv_substr(x, self, from, to, &piece) && jv_push(x, list, piece);
}

static size_t next_space(mltf_str s, size_t at,
                         bool wanted) /* the first character that is (not) white space */
{
    const char *p = s.p + at, *end = s.p + s.n;
    while (p < end) {
        const char *q = p;
        if (pytext_is_space(utf8_next(&q)) == wanted) break;
        p = q;
    }
    return (size_t)(p - s.p);
}

static size_t back_space(mltf_str s, size_t to,
                         bool wanted) /* the end of the last such character before `to` */
{
    while (to > 0) {
        const char *p = s.p + to - 1;
        while (p > s.p && ((unsigned char)*p & 0xc0) == 0x80) p--;
        const char *q = p;
        if (pytext_is_space(utf8_next(&q)) == wanted) break;
        to = (size_t)(p - s.p);
    }
    return to;
}

static void reverse_list(jlist *l)
{
    for (size_t i = 0; i < l->n / 2; i++) {
        const jv t = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = t;
    }
}

static bool split(jx *x, const char *name, jv self, const jargs *a, bool right, jv *out)
{
    jv arg[2];
    int64_t max = -1;
    if (!jinja_bind(x, name, "sep,maxsplit", 0, 2, a, arg)) return false;
    if (arg[1].t != JV_MISSING && !want_int(x, arg[1], &max)) return false;
    const bool spaces = arg[0].t == JV_MISSING || arg[0].t == JV_NONE;
    if (!spaces && arg[0].t != JV_STR)
        return x_fail(x, "must be str or None, not %s", jv_type_name(arg[0]));
    if (!spaces && arg[0].s->n == 0) return x_fail(x, "empty separator");
    const mltf_str s = jv_text(self), sep = spaces ? (mltf_str){0} : jv_text(arg[0]);
    if (!jv_list(x, JV_LIST, 0, out) || !x_step(x, (s.n / 32) * (right ? sep.n / 64 + 1 : 1)))
        return false;
    if (spaces && !right) {
        for (size_t at = next_space(s, 0, false); at < s.n;) {
            const bool rest = max >= 0 && (int64_t)out->l->n >= max;
            const size_t end = rest ? s.n : next_space(s, at, true);
            if (!push_piece(x, *out, self, at, end)) return false;
            at = next_space(s, end, false);
        }
        return true;
    }
    if (spaces) {
        for (size_t to = back_space(s, s.n, false); to > 0;) {
            const bool rest = max >= 0 && (int64_t)out->l->n >= max;
            const size_t from = rest ? 0 : back_space(s, to, true);
            if (!push_piece(x, *out, self, from, to)) return false;
            to = back_space(s, from, false);
        }
        reverse_list(out->l);
        return true;
    }
    if (!right) {
        size_t at = 0;
        const char *hit;
        while ((max < 0 || (int64_t)out->l->n < max) &&
               (hit = memmem(s.p + at, s.n - at, sep.p, sep.n))) {
            if (!push_piece(x, *out, self, at, (size_t)(hit - s.p))) return false;
            at = (size_t)(hit - s.p) + sep.n;
        }
        return push_piece(x, *out, self, at, s.n);
    }
    size_t to = s.n;
    const char *hit;
    while ((max < 0 || (int64_t)out->l->n < max) && (hit = find_last(s.p, to, sep))) {
        if (!push_piece(x, *out, self, (size_t)(hit - s.p) + sep.n, to)) return false;
        to = (size_t)(hit - s.p);
    }
    if (!push_piece(x, *out, self, 0, to)) return false;
    reverse_list(out->l);
    return true;
}

static bool s_split(jx *x, jv self, const jargs *a, jv *out)
{
    return split(x, "split", self, a, false, out);
}
static bool s_rsplit(jx *x, jv self, const jargs *a, jv *out)
{
    return split(x, "rsplit", self, a, true, out);
}

static bool is_line_end(uint32_t cp)
{
    return (cp >= 10 && cp <= 13) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 ||
           cp == 0x2029;
}

static bool s_splitlines(jx *x, jv self, const jargs *a, jv *out)
{
    jv keep;
    if (!jinja_bind(x, "splitlines", "keepends", 0, 1, a, &keep) || !jv_list(x, JV_LIST, 0, out))
        return false;
    const bool ends = keep.t != JV_MISSING && jv_truth(keep);
    const mltf_str s = jv_text(self);
    for (size_t at = 0; at < s.n;) {
        const char *p = s.p + at, *end = s.p + s.n, *line = end;
        while (p < end) {
            const char *q = p;
            const uint32_t cp = utf8_next(&q);
            if (is_line_end(cp)) {
                line = p;
                p = q;
                if (cp == '\r' && p < end && *p == '\n') p++;
                break;
            }
            p = q;
        }
        if (!push_piece(x, *out, self, at, (size_t)((ends ? p : line) - s.p))) return false;
        at = (size_t)(p - s.p);
    }
    return x_step(x, s.n / 32);
}

static bool partition(jx *x, const char *name, jv self, const jargs *a, bool right, jv *out)
{
    jv sep;
    if (!jinja_bind(x, name, "sep", 1, 1, a, &sep) || !want_text(x, sep, name)) return false;
    if (sep.s->n == 0) return x_fail(x, "empty separator");
    const mltf_str s = jv_text(self);
    if (!jv_list(x, JV_TUPLE, 3, out) || !x_step(x, (s.n / 64) * (right ? sep.s->n / 64 + 1 : 1)))
        return false;
    const char *hit =
        right ? find_last(s.p, s.n, jv_text(sep)) : find_first(s.p, s.n, jv_text(sep));
    size_t from = hit ? (size_t)(hit - s.p) : right ? 0 : s.n, to = hit ? from + sep.s->n : from;
    return push_piece(x, *out, self, 0, from) && push_piece(x, *out, self, from, to) &&
           push_piece(x, *out, self, to, s.n);
}

static bool s_partition(jx *x, jv self, const jargs *a, jv *out)
{
    return partition(x, "partition", self, a, false, out);
}
static bool s_rpartition(jx *x, jv self, const jargs *a, jv *out)
{
    return partition(x, "rpartition", self, a, true, out);
}

static bool s_join(jx *x, jv self, const jargs *a, jv *out)
{
    jv items;
    jsource src;
    if (!jinja_bind(x, "join", "iterable", 1, 1, a, &items)) return false;
    if (!jv_is_iterable(items)) return x_fail(x, "can only join an iterable");
    if (!x_source_init(x, &src, items)) return false;
    mltf_buf b = TEXT_BUF;
    for (size_t i = 0;; i++) {
        jv item;
        bool got;
        if (!x_source_next(x, &src, &item, &got)) break;
        if (!got) break;
        if (item.t != JV_STR) {
            x_fail(x, "sequence item %zu: expected str instance, %s found", i, jv_type_name(item));
            break;
        }
        if (self.markup && !jv_escape(x, item, &item)) break;
        if (i) buf_put_str(&b, jv_text(self));
        buf_put_str(&b, jv_text(item));
    }
    return take(x, &b, self, out);
}

static bool s_replace(jx *x, jv self, const jargs *a, jv *out)
{
    jv arg[3];
    int64_t max = -1;
    if (!jinja_bind(x, "replace", "old,new,count", 2, 3, a, arg) ||
        !want_text(x, arg[0], "replace") || !want_text(x, arg[1], "replace"))
        return false;
    if (arg[2].t != JV_MISSING && !want_int(x, arg[2], &max)) return false;
    if (self.markup && !jv_escape(x, arg[1], &arg[1])) return false;
    const mltf_str s = jv_text(self), old = jv_text(arg[0]), new = jv_text(arg[1]);
    mltf_buf b = TEXT_BUF;
    size_t at = 0;
    if (old.n == 0) { // between all characters
        const char *p = s.p, *end = s.p + s.n;
        for (int64_t n = 0; max < 0 || n < max; n++) {
            buf_put_str(&b, new);
            if (p >= end) break;
            const char *from = p;
            utf8_next(&p);
            buf_append(&b, from, (size_t)(p - from));
            if (b.failed) break;
            at = (size_t)(p - s.p);
        }
        buf_append(&b, s.p + at, s.n - at);
        return take(x, &b, self, out);
    }
    const char *hit;
    for (int64_t n = 0;
         (max < 0 || n < max) && !b.failed && (hit = memmem(s.p + at, s.n - at, old.p, old.n));
         n++) {
        buf_append(&b, s.p + at, (size_t)(hit - s.p) - at);
        buf_put_str(&b, new);
        at = (size_t)(hit - s.p) + old.n;
    }
    buf_append(&b, s.p + at, s.n - at);
    return take(x, &b, self, out);
}

/* ---- padding --------------------------------------------------------------------------------- */

static bool pad(jx *x, const char *name, jv self, const jargs *a, char where, jv *out)
{
    jv arg[2];
    int64_t width = 0;
    if (!jinja_bind(x, name, "width,fillchar", 1, 2, a, arg) || !want_int(x, arg[0], &width))
        return false;
    mltf_str fill = STR(" ");
    if (arg[1].t != JV_MISSING) {
        if (arg[1].t != JV_STR || arg[1].s->len != 1)
            return x_fail(x, "The fill character must be exactly one character long");
        fill = jv_text(arg[1]);
    }
    const int64_t len = (int64_t)self.s->len, more = width > len ? width - len : 0;
    if (more > (int64_t)LIMIT_TEMPLATE_OUTPUT)
        return x_fail(x, "a width of %lld is longer than a template may build", (long long)width);
    const int64_t left = where == '>' ? more : where == '<' ? 0 : more / 2 + (more & width & 1);
    mltf_buf b = TEXT_BUF;
    for (int64_t i = 0; i < left && !b.failed; i++) buf_put_str(&b, fill);
    buf_put_str(&b, jv_text(self));
    for (int64_t i = left; i < more && !b.failed; i++) buf_put_str(&b, fill);
    return take(x, &b, self, out);
}

static bool s_center(jx *x, jv self, const jargs *a, jv *out)
{
    return pad(x, "center", self, a, '^', out);
}
static bool s_ljust(jx *x, jv self, const jargs *a, jv *out)
{
    return pad(x, "ljust", self, a, '<', out);
}
static bool s_rjust(jx *x, jv self, const jargs *a, jv *out)
{
    return pad(x, "rjust", self, a, '>', out);
}

static bool s_zfill(jx *x, jv self, const jargs *a, jv *out)
{
    jv arg;
    int64_t width = 0;
    if (!jinja_bind(x, "zfill", "width", 1, 1, a, &arg) || !want_int(x, arg, &width)) return false;
    if (width > (int64_t)LIMIT_TEMPLATE_OUTPUT)
        return x_fail(x, "a width of %lld is longer than a template may build", (long long)width);
    const mltf_str s = jv_text(self);
    const size_t sign = s.n && (s.p[0] == '+' || s.p[0] == '-');
    mltf_buf b = TEXT_BUF;
    buf_append(&b, s.p, sign);
    for (int64_t n = (int64_t)self.s->len; n < width && !b.failed; n++) buf_putc(&b, '0');
    buf_append(&b, s.p + sign, s.n - sign);
    return take(x, &b, self, out);
}

static bool s_expandtabs(jx *x, jv self, const jargs *a, jv *out)
{
    jv arg;
    int64_t size = 8, column = 0;
    if (!jinja_bind(x, "expandtabs", "tabsize", 0, 1, a, &arg)) return false;
    if (arg.t != JV_MISSING && !want_int(x, arg, &size)) return false;
    if (size > 10000) return x_fail(x, "a tab size of %lld is too wide", (long long)size);
    mltf_buf b = TEXT_BUF;
    for (const char *p = self.s->p, *end = p + self.s->n; p < end && !b.failed;) {
        const char *from = p;
        const uint32_t cp = utf8_next(&p);
        if (cp == '\t') {
            for (int64_t n = size > 0 ? size - column % size : 0; n > 0; n--, column++)
                buf_putc(&b, ' ');
            continue;
        }
        column = cp == '\n' || cp == '\r' ? 0 : column + 1;
        buf_append(&b, from, (size_t)(p - from));
    }
    return take(x, &b, self, out);
}

/* ---- questions ------------------------------------------------------------------------------- */

static bool alnum(uint32_t cp)
{
    return pyu_is(cp, PYU_ALPHA) || pyu_is(cp, PYU_DECIMAL) || pyu_is(cp, PYU_DIGIT) ||
           pyu_is(cp, PYU_NUMERIC);
}

/* All characters of the kind, and at least one. */
static bool all_are(jx *x, jv self, const jargs *a, int what, jv *out)
{
    if (a->n || a->n_kw)
        return x_fail(x, "str method takes no arguments (%zu given)", a->n + a->n_kw);
    bool all = self.s->n > 0 || what == PYU_PRINTABLE;
    for (const char *p = self.s->p, *end = p + self.s->n; p < end && all;) {
        const uint32_t cp = utf8_next(&p);
        all = what < 0 ? alnum(cp) : pyu_is(cp, (pyu_class)what);
    }
    *out = jv_bool(all);
    return x_step(x, self.s->n / 32);
}

static bool s_isalpha(jx *x, jv self, const jargs *a, jv *out)
{
    return all_are(x, self, a, PYU_ALPHA, out);
}
static bool s_isalnum(jx *x, jv self, const jargs *a, jv *out)
{
    return all_are(x, self, a, -1, out);
}
static bool s_isdecimal(jx *x, jv self, const jargs *a, jv *out)
{
    return all_are(x, self, a, PYU_DECIMAL, out);
}
static bool s_isdigit(jx *x, jv self, const jargs *a, jv *out)
{
    return all_are(x, self, a, PYU_DIGIT, out);
}
static bool s_isnumeric(jx *x, jv self, const jargs *a, jv *out)
{
    return all_are(x, self, a, PYU_NUMERIC, out);
}
static bool s_isspace(jx *x, jv self, const jargs *a, jv *out)
{
    return all_are(x, self, a, PYU_SPACE, out);
}
static bool s_isprintable(jx *x, jv self, const jargs *a, jv *out)
{
    return all_are(x, self, a, PYU_PRINTABLE, out);
}

static bool s_isascii(jx *x, jv self, const jargs *a, jv *out)
{
    (void)x;
    (void)a;
    bool ascii = true;
    for (size_t i = 0; i < self.s->n; i++) ascii = ascii && (unsigned char)self.s->p[i] < 0x80;
    *out = jv_bool(ascii);
    return true;
}

static bool s_isidentifier(jx *x, jv self, const jargs *a, jv *out)
{
    (void)x;
    (void)a;
    bool ok = self.s->n > 0;
    for (const char *p = self.s->p, *end = p + self.s->n; p < end && ok;) {
        const bool first = p == self.s->p;
        const uint32_t cp = utf8_next(&p);
        ok = cp == '_' || pyu_is(cp, PYU_ALPHA) || (!first && pyu_is(cp, PYU_DECIMAL));
    }
    *out = jv_bool(ok);
    return true;
}

static bool one_case(jx *x, jv self, pyu_class wanted, pyu_class other, jv *out)
{
    bool any = false, ok = true;
    for (const char *p = self.s->p, *end = p + self.s->n; p < end && ok;) {
        const uint32_t cp = utf8_next(&p);
        if (pyu_is(cp, wanted))
            any = true;
        else if (pyu_is(cp, other) || pyu_is(cp, PYU_TITLE))
            ok = false;
    }
    *out = jv_bool(ok && any);
    return x_step(x, self.s->n / 32);
}

static bool s_islower(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return one_case(x, self, PYU_LOWER, PYU_UPPER, out);
}

static bool s_isupper(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return one_case(x, self, PYU_UPPER, PYU_LOWER, out);
}

static bool s_istitle(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    bool any = false, ok = true, in_word = false;
    for (const char *p = self.s->p, *end = p + self.s->n; p < end && ok;) {
        const uint32_t cp = utf8_next(&p);
        if (pyu_is(cp, PYU_UPPER) || pyu_is(cp, PYU_TITLE)) {
            ok = !in_word;
            in_word = any = true;
        } else if (pyu_is(cp, PYU_LOWER)) {
            ok = in_word;
            in_word = any = true;
        } else {
            in_word = false;
        }
    }
    *out = jv_bool(ok && any);
    return x_step(x, self.s->n / 32);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static bool s_format(jx *x, jv self, const jargs *a, jv *out)
{
    return jv_format(x, self, a, out);
}

static bool s_format_map(jx *x, jv self, const jargs *a, jv *out)
{
    jv map;
    if (!jinja_bind(x, "format_map", "mapping", 1, 1, a, &map)) return false;
    if (map.t != JV_DICT)
        return x_fail(x, "format_map() argument must be a mapping, not %s", jv_type_name(map));
    struct jkwarg *kw = arena_alloc_small(&x->arena, (map.m->n + 1) * sizeof *kw);
    if (!kw) return x_fail_memory(x);
    size_t n = 0;
    for (size_t i = 0; i < map.m->n; i++)
        if (map.m->e[i].key.t == JV_STR)
            kw[n++] = (struct jkwarg){jv_text(map.m->e[i].key), map.m->e[i].value};
    const jargs by_name = {.kw = kw, .n_kw = n};
    return jv_format(x, self, &by_name, out);
}

static bool s_refused(jx *x, jv self, const jargs *a, jv *out)
{
    (void)self;
    (void)a;
    (void)out;
    return x_unsupported(
        x, "the str methods encode, translate and maketrans are not supported in chat templates");
}

static const jfunc str_methods[] = {
    {"capitalize", s_capitalize, NULL},
    {"casefold", s_casefold, NULL},
    {"center", s_center, NULL},
    {"count", s_count, NULL},
    {"encode", s_refused, NULL},
    {"endswith", s_endswith, NULL},
    {"expandtabs", s_expandtabs, NULL},
    {"find", s_find, NULL},
    {"format", s_format, NULL},
    {"format_map", s_format_map, NULL},
    {"index", s_index, NULL},
    {"isalnum", s_isalnum, NULL},
    {"isalpha", s_isalpha, NULL},
    {"isascii", s_isascii, NULL},
    {"isdecimal", s_isdecimal, NULL},
    {"isdigit", s_isdigit, NULL},
    {"isidentifier", s_isidentifier, NULL},
    {"islower", s_islower, NULL},
    {"isnumeric", s_isnumeric, NULL},
    {"isprintable", s_isprintable, NULL},
    {"isspace", s_isspace, NULL},
    {"istitle", s_istitle, NULL},
    {"isupper", s_isupper, NULL},
    {"join", s_join, NULL},
    {"ljust", s_ljust, NULL},
    {"lower", s_lower, NULL},
    {"lstrip", s_lstrip, NULL},
    {"maketrans", s_refused, NULL},
    {"partition", s_partition, NULL},
    {"removeprefix", s_removeprefix, NULL},
    {"removesuffix", s_removesuffix, NULL},
    {"replace", s_replace, NULL},
    {"rfind", s_rfind, NULL},
    {"rindex", s_rindex, NULL},
    {"rjust", s_rjust, NULL},
    {"rpartition", s_rpartition, NULL},
    {"rsplit", s_rsplit, NULL},
    {"rstrip", s_rstrip, NULL},
    {"split", s_split, NULL},
    {"splitlines", s_splitlines, NULL},
    {"startswith", s_startswith, NULL},
    {"strip", s_strip, NULL},
    {"swapcase", s_swapcase, NULL},
    {"title", s_title, NULL},
    {"translate", s_refused, NULL},
    {"upper", s_upper, NULL},
    {"zfill", s_zfill, NULL},
};

const jfunc *jinja_str_method(mltf_str name)
{
    for (size_t i = 0; i < sizeof str_methods / sizeof *str_methods; i++)
        if (str_is(name, str_methods[i].name)) return &str_methods[i];
    return NULL;
}
