/* Operators, attributes, subscripts and slices, with the sandbox's rules about what may be seen. */
#include "templates/jinja_internal.h"

#include <math.h>

#include "base/limits.h"
#include "base/utf8.h"

static bool operands_fail(jx *x, const char *op, jv a, jv b)
{
    if (a.t == JV_VIEW || b.t == JV_VIEW) return x_unsupported(x, "sets are not supported");
    return x_fail(x, "unsupported operand type(s) for %s: '%s' and '%s'", op, jv_type_name(a),
                  jv_type_name(b));
}

static bool too_large(jx *x)
{
    return x_unsupported(x, "an integer beyond 64 bits is not supported");
}

/* text * 3, list * 3 */
static bool repeat(jx *x, jv seq, int64_t times, jv *out)
{
    if (times < 0) times = 0;
    if (seq.t == JV_STR) {
        size_t n;
        if (__builtin_mul_overflow(seq.s->n, (size_t)times, &n) || n > LIMIT_TEMPLATE_OUTPUT)
            return x_fail(x, "a text repeated %lld times is longer than a template may build",
                          (long long)times);
        if (!x_step(x, n / 64)) return false;
        char *p = arena_alloc_small(&x->arena, n + 1);
        if (!p) return x_fail_memory(x);
        for (size_t i = 0; i < (size_t)times && seq.s->n; i++)
            memcpy(p + i * seq.s->n, seq.s->p, seq.s->n);
        if (!jv_str_borrow(x, p, n, seq.s->len * (size_t)times, out)) return false;
        out->markup = seq.markup;
        return true;
    }
    size_t n;
    if (__builtin_mul_overflow(seq.l->n, (size_t)times, &n) || n > LIMIT_TEMPLATE_OUTPUT)
        return x_fail(x, "a list repeated %lld times is longer than a template may build",
                      (long long)times);
    if (!x_step(x, n) || !jv_list(x, seq.t, n, out)) return false;
    for (size_t i = 0; i < n; i++) out->l->v[i] = seq.l->v[i % seq.l->n];
    out->l->n = n;
    return true;
}

static bool add(jx *x, jv a, jv b, jv *out)
{
    if (a.t == JV_STR && b.t == JV_STR) return jv_concat(x, a, b, out);
    if ((a.t == JV_LIST || a.t == JV_TUPLE) && a.t == b.t) {
        if (!x_step(x, a.l->n + b.l->n) || !jv_list(x, a.t, a.l->n + b.l->n, out)) return false;
        for (size_t i = 0; i < a.l->n; i++) out->l->v[out->l->n++] = a.l->v[i];
        for (size_t i = 0; i < b.l->n; i++) out->l->v[out->l->n++] = b.l->v[i];
        return true;
    }
    if (a.t == JV_STR || a.t == JV_LIST || a.t == JV_TUPLE)
        return x_fail(x, "can only concatenate %s (not \"%s\") to %s", jv_type_name(a),
                      jv_type_name(b), jv_type_name(a));
    return operands_fail(x, "+", a, b);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    const int64_t q = a / b;
    return q - (a % b != 0 && (a % b < 0) != (b < 0));
}

static double float_mod(double a, double b)
{
    double m = fmod(a, b);
    if (m != 0) {
        if ((b < 0) != (m < 0)) m += b;
    } else {
        m = copysign(0.0, b);
    }
    return m;
}

static double float_floor_div(double a, double b)
{
    const double m = float_mod(a, b);
    double q = (a - m) / b;
    if (q != 0) {
        const double f = floor(q);
        q = q - f > 0.5 ? f + 1 : f;
    } else {
        q = copysign(0.0, a / b);
    }
    return q;
}

static bool int_power(jx *x, int64_t base, int64_t exponent, jv *out)
{
    if (exponent < 0) {
        if (base == 0) return x_fail(x, "0.0 cannot be raised to a negative power");
        *out = jv_float(pow((double)base, (double)exponent));
        return true;
    }
    int64_t result = 1;
    if (base == 0 || base == 1 || base == -1) {
        *out = jv_int(base == -1 ? (exponent % 2 ? -1 : 1) : exponent == 0 ? 1 : base);
        return true;
    }
    for (int64_t i = 0; i < exponent; i++)
        if (__builtin_mul_overflow(result, base, &result)) return too_large(x);
    *out = jv_int(result);
    return true;
}

static bool int_binary(jx *x, jop op, int64_t a, int64_t b, jv *out)
{
    int64_t r = 0;
    bool overflow = false;
    switch (op) {
    case JO_ADD:
        overflow = __builtin_add_overflow(a, b, &r);
        break;
    case JO_SUB:
        overflow = __builtin_sub_overflow(a, b, &r);
        break;
    case JO_MUL:
        overflow = __builtin_mul_overflow(a, b, &r);
        break;
    case JO_DIV:
        if (b == 0) return x_fail(x, "division by zero");
        *out =
            jv_float((double)((long double)a / (long double)b)); // both fit a long double exactly
        return true;
    case JO_FLOORDIV:
        if (b == 0) return x_fail(x, "integer division or modulo by zero");
        if (a == INT64_MIN && b == -1) return too_large(x);
        r = floor_div(a, b);
        break;
    case JO_MOD:
        if (b == 0) return x_fail(x, "integer modulo by zero");
        r = b == -1 ? 0 : a - floor_div(a, b) * b;
        break;
    case JO_POW:
        return int_power(x, a, b, out);
    default:
        return x_fail(x, "not an operator");
    }
    if (overflow) return too_large(x);
    *out = jv_int(r);
    return true;
}

static bool float_binary(jx *x, jop op, double a, double b, jv *out)
{
    double r = 0;
    switch (op) {
    case JO_ADD:
        r = a + b;
        break;
    case JO_SUB:
        r = a - b;
        break;
    case JO_MUL:
        r = a * b;
        break;
    case JO_DIV:
        if (b == 0) return x_fail(x, "float division by zero");
        r = a / b;
        break;
    case JO_FLOORDIV:
        if (b == 0) return x_fail(x, "float floor division by zero");
        r = float_floor_div(a, b);
        break;
    case JO_MOD:
        if (b == 0) return x_fail(x, "float modulo");
        r = float_mod(a, b);
        break;
    case JO_POW:
        if (a == 0 && b < 0) return x_fail(x, "0.0 cannot be raised to a negative power");
        if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b))
            return x_unsupported(x, "complex numbers are not supported");
        r = pow(a, b);
        if (isinf(r) && isfinite(a) && isfinite(b))
            return x_fail(x, "(34, 'Numerical result out of range')");
        break;
    default:
        return x_fail(x, "not an operator");
    }
    *out = jv_float(r);
    return true;
}

bool jv_binary(jx *x, jop op, jv a, jv b, jv *out)
{
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};
    if (a.t == JV_STR && op == JO_MOD) return jv_percent(x, a, b, out);
    if (op == JO_SUB && a.t == JV_VIEW) return operands_fail(x, "-", a, b);
    if (a.t == JV_UNDEFINED) return jv_use_undefined(x, a);
    if (b.t == JV_UNDEFINED) return jv_use_undefined(x, b);
    if (jv_is_int(a) && jv_is_int(b)) return int_binary(x, op, jv_as_int(a), jv_as_int(b), out);
    if (jv_is_number(a) && jv_is_number(b))
        return float_binary(x, op, jv_as_double(a), jv_as_double(b), out);
    if (a.t == JV_BIGINT || b.t == JV_BIGINT) return too_large(x);
    if (op == JO_ADD) return add(x, a, b, out);
    if (op == JO_MUL) {
        const bool left = a.t == JV_STR || a.t == JV_LIST || a.t == JV_TUPLE;
        const bool right = b.t == JV_STR || b.t == JV_LIST || b.t == JV_TUPLE;
        if (left && jv_is_int(b)) return repeat(x, a, jv_as_int(b), out);
        if (right && jv_is_int(a)) return repeat(x, b, jv_as_int(a), out);
        if (left || right)
            return x_fail(x, "can't multiply sequence by non-int of type '%s'",
                          jv_type_name(left ? b : a));
    }
    return operands_fail(x, names[op], a, b);
}

bool jv_unary(jx *x, bool negative, jv a, jv *out)
{
    if (a.t == JV_UNDEFINED) return jv_use_undefined(x, a);
    if (jv_is_int(a)) {
        const int64_t i = jv_as_int(a);
        if (negative && i == INT64_MIN) return too_large(x);
        *out = jv_int(negative ? -i : i);
        return true;
    }
    if (a.t == JV_FLOAT) {
        *out = jv_float(negative ? -a.d : a.d);
        return true;
    }
    if (a.t == JV_BIGINT) return too_large(x);
    return x_fail(x, "bad operand type for unary %c: '%s'", negative ? '-' : '+', jv_type_name(a));
}

/* ---- attributes and subscripts --------------------------------------------------------------- */

/* obj[key] as Python does it; *found false for TypeError and LookupError. */
static bool subscript(jx *x, jv obj, jv key, jv *out, bool *found)
{
    *found = false;
    if (obj.t == JV_UNDEFINED) return jv_use_undefined(x, obj);
    if (obj.t == JV_DICT) {
        if (key.t == JV_LIST || key.t == JV_DICT || key.t == JV_VIEW) return true; // unhashable
        return jv_dict_get(x, obj.m, key, out, found);
    }
    if (!jv_is_int(key)) return true;
    int64_t i = jv_as_int(key);
    size_t n;
    switch ((jv_type)obj.t) {
    case JV_STR:
        n = obj.s->len;
        break;
    case JV_LIST:
    case JV_TUPLE:
        n = obj.l->n;
        break;
    case JV_RANGE:
        n = obj.r->n;
        break;
    default:
        return true;
    }
    if (i < 0) i += (int64_t)n;
    if (i < 0 || (uint64_t)i >= n) return true;
    *found = true;
    if (obj.t == JV_STR) return jv_char_at(x, obj, (size_t)i, out);
    *out = obj.t == JV_RANGE ? jv_int(obj.r->start + i * obj.r->step) : obj.l->v[i];
    return true;
}

/* A found attribute, unless the sandbox hides it. */
static bool guarded(jx *x, jv obj, mltf_str name, bool unsafe, jv value, jv *out)
{
    if (unsafe || (name.n && name.p[0] == '_')) return jv_undefined_unsafe(x, obj, name, out);
    *out = value;
    return true;
}

static bool name_value(jx *x, mltf_str name, jv *out)
{
    return jv_str_borrow(x, name.p, name.n, utf8_count(name.p, name.n), out);
}

bool jv_getattr(jx *x, jv obj, mltf_str name, jv *out)
{
    bool found, unsafe;
    jv value = jv_none(), key;
    if (obj.t == JV_UNDEFINED && !str_is(name, "__class__")) return jv_use_undefined(x, obj);
    if (!jv_find_attribute(x, obj, name, &value, &found, &unsafe)) return false;
    if (found) return guarded(x, obj, name, unsafe, value, out);
    if (obj.t == JV_DICT) {
        const jv *item = jv_dict_find(x, obj.m, name);
        if (x->failed) return false;
        if (item) {
            *out = *item;
            return true;
        }
    }
    return name_value(x, name, &key) && jv_undefined_attr(x, obj, key, out);
}

bool jv_getitem(jx *x, jv obj, jv key, jv *out)
{
    bool found, unsafe;
    if (!subscript(x, obj, key, out, &found)) return false;
    if (found) return true;
    if (key.t == JV_STR) {
        jv value = jv_none();
        if (!jv_find_attribute(x, obj, jv_text(key), &value, &found, &unsafe)) return false;
        if (found) return guarded(x, obj, jv_text(key), unsafe, value, out);
    }
    return jv_undefined_attr(x, obj, key, out);
}

/* One bound of a slice, clamped as Python's slice.indices() does. */
static bool slice_bound(jx *x, jv v, int64_t n, int64_t lowest, int64_t highest, int64_t dflt,
                        int64_t *out)
{
    if (v.t == JV_NONE || v.t == JV_MISSING) {
        *out = dflt;
        return true;
    }
    if (v.t == JV_UNDEFINED || !jv_is_int(v))
        return x_fail(x, "slice indices must be integers or None or have an __index__ method");
    int64_t i = jv_as_int(v);
    if (i < 0) i = i < -n ? lowest : i + n;
    *out = i < lowest ? lowest : i > highest ? highest : i;
    return true;
}

bool jv_slice(jx *x, jv obj, jv from, jv to, jv step, jv *out)
{
    size_t len;
    switch ((jv_type)obj.t) {
    case JV_STR:
        len = obj.s->len;
        break;
    case JV_LIST:
    case JV_TUPLE:
        len = obj.l->n;
        break;
    case JV_RANGE:
        len = obj.r->n;
        break;
    case JV_UNDEFINED:
        return jv_use_undefined(x, obj);
    case JV_DICT:
        return x_fail(x, "unhashable type: 'slice'");
    default:
        return x_fail(x, "'%s' object is not subscriptable", jv_type_name(obj));
    }
    const int64_t n = (int64_t)len;
    int64_t by = 1, a, b;
    if (step.t != JV_NONE && step.t != JV_MISSING) {
        if (!jv_is_int(step))
            return x_fail(x, "slice indices must be integers or None or have an __index__ method");
        by = jv_as_int(step);
        if (by == 0) return x_fail(x, "slice step cannot be zero");
        if (by < -INT64_MAX) by = -INT64_MAX;
    }
    const int64_t lowest = by > 0 ? 0 : -1, highest = by > 0 ? n : n - 1;
    if (!slice_bound(x, from, n, lowest, highest, by > 0 ? 0 : n - 1, &a) ||
        !slice_bound(x, to, n, lowest, highest, by > 0 ? n : -1, &b))
        return false;
    size_t count = 0;
    if (by > 0 && a < b) count = (size_t)((b - a - 1) / by + 1);
    if (by < 0 && a > b) count = (size_t)((a - b - 1) / -by + 1);
    const int64_t stride_by = by;
    if (count == 1) by = 1;
    if (!x_step(x, count / 8)) return false;
    if (obj.t == JV_STR) {
        if (by == 1) {
            const size_t start = jstr_offset(obj.s, (size_t)a);
            const size_t end =
                count ? (obj.s->len == obj.s->n ? start + count
                                                : jstr_offset(obj.s, (size_t)a + count))
                      : start;
            return x_step(x, obj.s->len == obj.s->n ? 0 : end / 64) &&
                   jv_substr(x, obj, start, end, out);
        }
        mltf_buf text = {.max = LIMIT_TEMPLATE_OUTPUT};
        uint32_t *offset = arena_alloc_small(&x->arena, (len + 1) * sizeof *offset);
        if (!offset || !x_step(x, len / 8)) return x->failed ? false : x_fail_memory(x);
        const char *p = obj.s->p;
        for (size_t i = 0; i <= len; i++) {
            offset[i] = (uint32_t)(p - obj.s->p);
            if (i < len) utf8_next(&p);
        }
        for (size_t k = 0; k < count; k++, a += by)
            buf_append(&text, obj.s->p + offset[a], offset[a + 1] - offset[a]);
        if (!jv_take_buf(x, &text, out)) return false;
        out->markup = obj.markup;
        return true;
    }
    if (obj.t == JV_RANGE) {
        jrange *r = arena_alloc_small(&x->arena, sizeof *r);
        if (!r) return x_fail_memory(x);
        // the stop may lie past 64 bits; it is only ever printed
        const uint64_t first = (uint64_t)obj.r->start, stride = (uint64_t)obj.r->step;
        *r = (jrange){(int64_t)(first + (uint64_t)a * stride),
                      (int64_t)(first + (uint64_t)b * stride),
                      (int64_t)(stride * (uint64_t)stride_by), count};
        *out = (jv){.t = JV_RANGE, .r = r};
        return true;
    }
    if (!jv_list(x, obj.t, count, out)) return false;
    for (size_t k = 0; k < count; k++, a += by) out->l->v[out->l->n++] = obj.l->v[a];
    return true;
}

bool jv_attribute_path(jx *x, jv item, jv path, jv dflt, jv *out)
{
    *out = item;
    if (path.t == JV_NONE || path.t == JV_MISSING) return true;
    const bool has_default = dflt.t != JV_MISSING && dflt.t != JV_NONE;
    if (path.t != JV_STR) {
        if (!jv_getitem(x, item, path, out)) return false;
        if (has_default && out->t == JV_UNDEFINED) *out = dflt;
        return true;
    }
    const mltf_str text = jv_text(path);
    for (size_t i = 0; i <= text.n;) {
        size_t end = i;
        bool digits = true;
        for (; end < text.n && text.p[end] != '.'; end++)
            digits = digits && text.p[end] >= '0' && text.p[end] <= '9';
        digits = digits && end > i && end - i < 18;
        jv key;
        if (digits) {
            int64_t v = 0;
            for (size_t k = i; k < end; k++) v = v * 10 + (text.p[k] - '0');
            key = jv_int(v);
        } else if (!name_value(x, str_slice(text, i, end), &key)) {
            return false;
        }
        const jv from = *out;
        if (!jv_getitem(x, from, key, out)) return false;
        if (has_default && out->t == JV_UNDEFINED) *out = dflt;
        i = end + 1;
    }
    return true;
}
