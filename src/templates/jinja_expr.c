/* Expressions. */
#include "templates/jinja_internal.h"

static bool eval(jx *x, jscope *s, const jnode *n, jv *out);

bool x_eval(jx *x, jscope *s, const jnode *n, jv *out)
{
    if (n->kind == JN_CONST) {
        *out = n->value;
        return true;
    }
    if (!x_enter(x)) {
        if (!x->where) x->where = n;
        return false;
    }
    const bool ok = eval(x, s, n, out);
    x->depth--;
    if (!ok && !x->where) x->where = n;
    return ok;
}

static bool eval_name(jx *x, jscope *s, const jnode *n, jv *out)
{
    size_t hops = 0;
    for (; s; s = s->up, hops++)
        for (uint32_t i = 0; i < s->n; i++)
            if (s->v[i].id == n->id) {
                *out = s->v[i].value;
                return true;
            }
    *out = x->context[n->id];
    if (out->t != JV_MISSING) return true;
    return x_step(x, hops / 16) && jv_undefined_name(x, x->t->names[n->id], out);
}

/* Evaluated arguments: those written, then those of *args and **kwargs, then the caller of a call block. */
static bool eval_args(jx *x, jscope *s, const jcallargs *a, const jv *caller, jargs *out)
{
    *out = (jargs){0};
    if (!a && !caller) return true;
    jv list, star = jv_none(), star2 = jv_none();
    if (!jv_list(x, JV_LIST, a ? a->args.n : 0, &list)) return false;
    for (size_t i = 0; a && i < a->args.n; i++) {
        jv v;
        if (!x_eval(x, s, a->args.v[i], &v) || !jv_push(x, list, v)) return false;
    }
    size_t n_kw = a ? a->n_kw : 0;
    if (a && a->star) {
        jv v;
        if (!x_eval(x, s, a->star, &star)) return false;
        if (!jv_is_iterable(star))
            return x_fail(x, "argument after * must be an iterable, not %s", jv_type_name(star));
        if (!jv_to_list(x, star, &v)) return false;
        for (size_t i = 0; i < v.l->n; i++)
            if (!jv_push(x, list, v.l->v[i])) return false;
    }
    const size_t own = n_kw;
    if (a && a->star2) {
        if (!x_eval(x, s, a->star2, &star2)) return false;
        if (star2.t != JV_DICT)
            return x_fail(x, "argument after ** must be a mapping, not %s", jv_type_name(star2));
        n_kw += star2.m->n;
    }
    n_kw += caller != NULL;
    out->v = list.l->v;
    out->n = list.l->n;
    if (n_kw == 0) return true;
    struct jkwarg *kw = arena_alloc_small(&x->arena, n_kw * sizeof *kw);
    if (!kw || !x_step(x, n_kw)) return x->failed ? false : x_fail_memory(x);
    size_t k = 0;
    for (; k < own; k++) {
        kw[k].name = a->kw[k].name;
        if (!x_eval(x, s, a->kw[k].value, &kw[k].value)) return false;
    }
    if (star2.t == JV_DICT)
        for (size_t i = 0; i < star2.m->n; i++) {
            if (star2.m->e[i].key.t != JV_STR) return x_fail(x, "keywords must be strings");
            kw[k].name = jv_text(star2.m->e[i].key);
            kw[k++].value = star2.m->e[i].value;
            for (size_t j = 0; j < own; j++)
                if (str_eq(kw[j].name, kw[k - 1].name))
                    return x_fail(x, "got multiple values for keyword argument '" STR_FMT "'",
                                  STR_ARG(kw[j].name));
        }
    if (caller) kw[k++] = (struct jkwarg){STR("caller"), *caller};
    out->kw = kw;
    out->n_kw = k;
    return true;
}

bool x_eval_call(jx *x, jscope *s, const jnode *n, const jv *caller, jv *out)
{
    jv callee;
    jargs args;
    if (!x_eval(x, s, n->a, &callee) || !eval_args(x, s, n->args, caller, &args)) return false;
    const bool ok = x_call(x, callee, &args, out);
    if (!ok && !x->where) x->where = n;
    return ok;
}

bool x_eval_filter(jx *x, jscope *s, const jnode *n, const jv *block_text, jv *out)
{
    jv self;
    jargs args;
    if (!x_enter(x)) return false;
    if (!n->a) {
        self = block_text ? *block_text : jv_none();
    } else if (n->a->kind == JN_FILTER) { // a chain: the innermost one takes the text
        if (!x_eval_filter(x, s, n->a, block_text, &self)) return false;
    } else if (!x_eval(x, s, n->a, &self)) {
        return false;
    }
    bool ok = eval_args(x, s, n->args, NULL, &args);
    if (ok && !n->fn) ok = x_unsupported(x, "no filter named '" STR_FMT "'", STR_ARG(n->name));
    ok = ok && jinja_apply(x, n->fn, self, &args, out);
    x->depth--;
    if (!ok && !x->where) x->where = n;
    return ok;
}

static bool eval_compare(jx *x, jscope *s, const jnode *n, jv *out)
{
    jv left;
    bool holds = true;
    if (!x_eval(x, s, n->a, &left)) return false;
    for (size_t i = 0; i < n->list.n && holds;
         i++) { // a < b < c: b is evaluated once, c only if a < b
        const jnode *o = n->list.v[i];
        jv right;
        if (!x_eval(x, s, o->a, &right)) return false;
        if (!jv_compare(x, (jop)o->op, left, right, &holds)) {
            if (!x->where) x->where = o;
            return false;
        }
        left = right;
    }
    *out = jv_bool(holds);
    return true;
}

static bool eval_concat(jx *x, jscope *s, const jnode *n, jv *out)
{
    for (size_t i = 0; i < n->list.n; i++) {
        jv v;
        if (!x_eval(x, s, n->list.v[i], &v)) return false;
        if (x->autoescape ? !jv_escape(x, v, &v) : !jv_to_str(x, v, &v)) return false;
        v.markup = x->autoescape;
        if (i == 0)
            *out = v;
        else if (!jv_concat(x, *out, v, out))
            return false;
    }
    return true;
}

static bool eval_dict(jx *x, jscope *s, const jnode *n, jv *out)
{
    if (!jv_dict(x, n->list.n / 2, out)) return false;
    for (size_t i = 0; i + 1 < n->list.n; i += 2) {
        jv key, value;
        if (!x_eval(x, s, n->list.v[i], &key) || !x_eval(x, s, n->list.v[i + 1], &value) ||
            !jv_dict_set(x, out->m, key, value))
            return false;
    }
    return true;
}

/* The reference works constants out while compiling, by other rules: 1[2:] is then undefined. */
static bool is_constant(const jnode *n)
{
    static const char *const at_run_time[] = {"map",        "select",     "reject",
                                              "selectattr", "rejectattr", "random"};
    switch ((jn_kind)n->kind) {
    case JN_NAME:
    case JN_CALL:
        return false;
    case JN_FILTER:
        for (size_t i = 0; i < sizeof at_run_time / sizeof *at_run_time; i++)
            if (str_is(n->name, at_run_time[i])) return false;
        break;
    default:
        break;
    }
    const jnode *const parts[] = {n->a, n->b, n->c};
    for (int i = 0; i < 3; i++)
        if (parts[i] && !is_constant(parts[i])) return false;
    for (size_t i = 0; i < n->list.n; i++)
        if (n->list.v[i] && !is_constant(n->list.v[i])) return false;
    if (!n->args) return true;
    for (size_t i = 0; i < n->args->args.n; i++)
        if (!is_constant(n->args->args.v[i])) return false;
    for (size_t i = 0; i < n->args->n_kw; i++)
        if (!is_constant(n->args->kw[i].value)) return false;
    return !(n->args->star && !is_constant(n->args->star)) &&
           !(n->args->star2 && !is_constant(n->args->star2));
}

static bool eval_item(jx *x, jscope *s, const jnode *n, jv *out)
{
    jv obj, key;
    if (!x_eval(x, s, n->a, &obj)) return false;
    if (n->b->kind != JN_SLICE) return x_eval(x, s, n->b, &key) && jv_getitem(x, obj, key, out);
    jv part[3];
    for (int i = 0; i < 3; i++) {
        part[i] = jv_none();
        if (n->b->list.v[i] && !x_eval(x, s, n->b->list.v[i], &part[i])) return false;
    }
    if (obj.t != JV_UNDEFINED && obj.t != JV_STR && obj.t != JV_LIST && obj.t != JV_TUPLE &&
        is_constant(n->a))
        return jv_undefined_hint(x, "object has no such element", out);
    return jv_slice(x, obj, part[0], part[1], part[2], out);
}

static bool eval(jx *x, jscope *s, const jnode *n, jv *out)
{
    jv a, b;
    switch ((jn_kind)n->kind) {
    case JN_CONST:
        *out = n->value;
        return true;
    case JN_NAME:
        return eval_name(x, s, n, out);
    case JN_TUPLE:
    case JN_LIST:
        if (!jv_list(x, n->kind == JN_LIST ? JV_LIST : JV_TUPLE, n->list.n, &b)) return false;
        for (size_t i = 0; i < n->list.n; i++)
            if (!x_eval(x, s, n->list.v[i], &a) || !jv_push(x, b, a)) return false;
        *out = b;
        return true;
    case JN_DICT:
        return eval_dict(x, s, n, out);
    case JN_ATTR:
        return x_eval(x, s, n->a, &a) && jv_getattr(x, a, n->name, out);
    case JN_ITEM:
        return eval_item(x, s, n, out);
    case JN_CALL:
        return x_eval_call(x, s, n, NULL, out);
    case JN_FILTER:
        return x_eval_filter(x, s, n, NULL, out);
    case JN_TEST: {
        jargs args;
        if (!x_eval(x, s, n->a, &a) || !eval_args(x, s, n->args, NULL, &args)) return false;
        if (!n->fn) return x_unsupported(x, "no test named '" STR_FMT "'", STR_ARG(n->name));
        return jinja_apply(x, n->fn, a, &args, out);
    }
    case JN_COND:
        if (!x_eval(x, s, n->a, &a)) return false;
        if (jv_truth(a)) return x_eval(x, s, n->b, out);
        if (n->c) return x_eval(x, s, n->c, out);
        return jv_undefined_hint(
            x, "the inline if-expression evaluated to false and no else section was defined.", out);
    case JN_OR:
    case JN_AND:
        if (!x_eval(x, s, n->a, out)) return false;
        return jv_truth(*out) == (n->kind == JN_OR) || x_eval(x, s, n->b, out);
    case JN_NOT:
        if (!x_eval(x, s, n->a, &a)) return false;
        *out = jv_bool(!jv_truth(a));
        return true;
    case JN_NEG:
    case JN_POS:
        return x_eval(x, s, n->a, &a) && jv_unary(x, n->kind == JN_NEG, a, out);
    case JN_BINARY:
        return x_eval(x, s, n->a, &a) && x_eval(x, s, n->b, &b) &&
               jv_binary(x, (jop)n->op, a, b, out);
    case JN_COMPARE:
        return eval_compare(x, s, n, out);
    case JN_CONCAT:
        return eval_concat(x, s, n, out);
    default:
        return x_fail(x, "not an expression");
    }
}
