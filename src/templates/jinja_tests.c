/* The tests of jinja2/tests.py: `x is NAME`. */
#include "templates/jinja_internal.h"

#include <math.h>

#include "base/utf8.h"

static bool answer(jv *out, bool yes)
{
    *out = jv_bool(yes);
    return true;
}

static bool remainder_is(jx *x, jv self, jv divisor, int64_t wanted, jv *out)
{
    jv rest;
    bool same;
    if (!jv_binary(x, JO_MOD, self, divisor, &rest) || !jv_equal(x, rest, jv_int(wanted), &same))
        return false;
    return answer(out, same);
}

static bool t_odd(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return remainder_is(x, self, jv_int(2), 1, out);
}
static bool t_even(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return remainder_is(x, self, jv_int(2), 0, out);
}
static bool t_divisibleby(jx *x, jv self, const jargs *a, jv *out)
{
    return remainder_is(x, self, a->v[0], 0, out);
}

#define TYPE_TEST(name, condition)                                                                 \
    static bool t_##name(jx *x, jv v, const jargs *a, jv *out)                                     \
    {                                                                                              \
        (void)x;                                                                                   \
        (void)a;                                                                                   \
        return answer(out, condition);                                                             \
    }
TYPE_TEST(defined, v.t != JV_UNDEFINED)
TYPE_TEST(undefined, v.t == JV_UNDEFINED)
TYPE_TEST(none, v.t == JV_NONE)
TYPE_TEST(boolean, v.t == JV_BOOL)
TYPE_TEST(true, v.t == JV_BOOL && v.b)
TYPE_TEST(false, v.t == JV_BOOL && !v.b)
TYPE_TEST(integer, v.t == JV_INT || v.t == JV_BIGINT)
TYPE_TEST(float, v.t == JV_FLOAT)
TYPE_TEST(string, v.t == JV_STR)
TYPE_TEST(mapping, v.t == JV_DICT)
TYPE_TEST(number, jv_is_number(v) || v.t == JV_BIGINT)
TYPE_TEST(sequence, v.t == JV_UNDEFINED || v.t == JV_STR || v.t == JV_LIST || v.t == JV_TUPLE ||
                        v.t == JV_DICT || v.t == JV_RANGE)
TYPE_TEST(iterable, jv_is_iterable(v))
TYPE_TEST(callable, v.t == JV_MACRO || v.t == JV_FUNC || v.t == JV_METHOD || v.t == JV_LOOP ||
                        v.t == JV_JOINER || v.t == JV_UNDEFINED)
TYPE_TEST(escaped, v.t == JV_STR && v.markup)

static bool case_test(jx *x, jv self, const char *method, jv *out)
{
    jv text;
    const jargs none = {0};
    return jv_to_str(x, self, &text) && jinja_str_method(str_from(method))->fn(x, text, &none, out);
}

static bool t_lower(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return case_test(x, self, "islower", out);
}
static bool t_upper(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    return case_test(x, self, "isupper", out);
}

static bool t_filter(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    uint64_t hash;
    if (!jv_hash(x, self, &hash)) return false;
    return answer(out, self.t == JV_STR && jinja_find_filter(jv_text(self)) != NULL);
}

static bool t_test(jx *x, jv self, const jargs *a, jv *out)
{
    (void)a;
    uint64_t hash;
    if (!jv_hash(x, self, &hash)) return false;
    return answer(out, self.t == JV_STR && jinja_find_test(jv_text(self)) != NULL);
}

static bool t_sameas(jx *x, jv self, const jargs *a, jv *out)
{
    (void)x;
    return answer(out, jv_same(self, a->v[0]));
}

static bool compare(jx *x, jop op, jv self, const jargs *a, jv *out)
{
    bool holds;
    return jv_compare(x, op, self, a->v[0], &holds) && answer(out, holds);
}

static bool t_in(jx *x, jv self, const jargs *a, jv *out)
{
    return compare(x, JO_IN, self, a, out);
}
static bool t_eq(jx *x, jv self, const jargs *a, jv *out)
{
    return compare(x, JO_EQ, self, a, out);
}
static bool t_ne(jx *x, jv self, const jargs *a, jv *out)
{
    return compare(x, JO_NE, self, a, out);
}
static bool t_gt(jx *x, jv self, const jargs *a, jv *out)
{
    return compare(x, JO_GT, self, a, out);
}
static bool t_ge(jx *x, jv self, const jargs *a, jv *out)
{
    return compare(x, JO_GE, self, a, out);
}
static bool t_lt(jx *x, jv self, const jargs *a, jv *out)
{
    return compare(x, JO_LT, self, a, out);
}
static bool t_le(jx *x, jv self, const jargs *a, jv *out)
{
    return compare(x, JO_LE, self, a, out);
}

static const jfilter tests[] = {
    {"odd", t_odd, "", 0, 0},
    {"even", t_even, "", 0, 0},
    {"divisibleby", t_divisibleby, "num", 1, 1},
    {"defined", t_defined, "", 0, 0},
    {"undefined", t_undefined, "", 0, 0},
    {"filter", t_filter, "", 0, 0},
    {"test", t_test, "", 0, 0},
    {"none", t_none, "", 0, 0},
    {"boolean", t_boolean, "", 0, 0},
    {"false", t_false, "", 0, 0},
    {"true", t_true, "", 0, 0},
    {"integer", t_integer, "", 0, 0},
    {"float", t_float, "", 0, 0},
    {"lower", t_lower, "", 0, 0},
    {"upper", t_upper, "", 0, 0},
    {"string", t_string, "", 0, 0},
    {"mapping", t_mapping, "", 0, 0},
    {"number", t_number, "", 0, 0},
    {"sequence", t_sequence, "", 0, 0},
    {"iterable", t_iterable, "", 0, 0},
    {"callable", t_callable, "", 0, 0},
    {"sameas", t_sameas, "other", 1, 1},
    {"escaped", t_escaped, "", 0, 0},
    {"in", t_in, "seq", 1, 1},
    {"==", t_eq, "b", 1, 1},
    {"eq", t_eq, "b", 1, 1},
    {"equalto", t_eq, "b", 1, 1},
    {"!=", t_ne, "b", 1, 1},
    {"ne", t_ne, "b", 1, 1},
    {">", t_gt, "b", 1, 1},
    {"gt", t_gt, "b", 1, 1},
    {"greaterthan", t_gt, "b", 1, 1},
    {">=", t_ge, "b", 1, 1},
    {"ge", t_ge, "b", 1, 1},
    {"<", t_lt, "b", 1, 1},
    {"lt", t_lt, "b", 1, 1},
    {"lessthan", t_lt, "b", 1, 1},
    {"<=", t_le, "b", 1, 1},
    {"le", t_le, "b", 1, 1},
    {0},
};

const jfilter *jinja_find_test(mltf_str name)
{
    return jinja_find_in(tests, name);
}
