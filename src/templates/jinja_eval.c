/* Statements, scopes, loops, macros, and the rendering as a whole.
 *
 * Scopes. The body of a for loop, a macro, a call block, {% with %}, {% filter %} and {% set %}…{% endset %}
 * are scopes of their own: what they set is gone behind them (hence namespaces); {% if %} is not one. A
 * macro sees the variables of the place where it was defined, as they are when it is called.
 *
 * Easy to get wrong: the else of a loop runs when no turn of the body was finished, so after a
 * {% continue %} in each of them, too; a {% generation %} at the very start of the output is not
 * recorded, because the reference asks whether anything was written before. */
#include "templates/jinja_internal.h"

#include <stdlib.h>
#include <time.h>

#include "base/array.h"
#include "base/limits.h"
#include "base/utf8.h"

typedef enum { EX_OK, EX_BREAK, EX_CONTINUE, EX_FAIL } ex;

static ex exec_list(jx *x, jscope *s, const jlistnode *body);

/* ---- errors and budget ----------------------------------------------------------------------- */

static bool fail_with(jx *x, mltf_status st, const char *fmt, va_list ap)
{
    if (x->failed) return false;
    x->failed = true;
    x->status = st;
    vsnprintf(x->msg, sizeof x->msg, fmt, ap);
    return false;
}

bool x_fail(jx *x, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fail_with(x, MLTF_BAD_REQUEST, fmt, ap);
    va_end(ap);
    return false;
}

bool x_unsupported(jx *x, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fail_with(x, MLTF_UNSUPPORTED, fmt, ap);
    va_end(ap);
    return false;
}

bool x_fail_memory(jx *x)
{
    if (x->failed) return false;
    x_fail(x, "the template needs more memory than it may use (%zu MB)", x->arena.max >> 20);
    x->status = MLTF_NO_MEMORY;
    return false;
}

bool x_step(jx *x, size_t steps)
{
    if (steps > x->steps) {
        x->steps = 0;
        return x_fail(x, "the template needs more work than it may do");
    }
    x->steps -= steps;
    return true;
}

bool x_enter(jx *x)
{
    if (x->depth >= JX_MAX_DEPTH) return x_fail(x, "maximum recursion depth exceeded");
    x->depth++;
    return x_step(x, 1);
}

/* ---- output ---------------------------------------------------------------------------------- */

static bool write_text(jx *x, const char *p, size_t n)
{
    if (x->capture_depth == 0) x->root_written = true;
    buf_append(&x->out, p, n);
    if (x->out.failed)
        return x_fail(x, "the output is longer than a template may write (%zu bytes)",
                      (size_t)LIMIT_TEMPLATE_OUTPUT);
    return x_step(x, n / 64);
}

static bool write_value(jx *x, jv v)
{
    if (x->autoescape && !jv_escape(x, v, &v)) return false;
    if (v.t == JV_STR) return write_text(x, v.s->p, v.s->n);
    if (v.t == JV_UNDEFINED) return write_text(x, "", 0);
    if (x->capture_depth == 0) x->root_written = true;
    if (!jv_put_str(x, &x->out, v, 0)) return false;
    return write_text(x, "", 0);
}

static size_t capture_begin(jx *x)
{
    if (x->capture_depth++ == 0) x->root_len = x->out.n;
    return x->out.n;
}

static bool capture_end(jx *x, size_t start, jv *out)
{
    x->capture_depth--;
    if (!jv_str(x, (mltf_str){x->out.p ? x->out.p + start : "", x->out.n - start}, out))
        return false;
    x->out.n = start;
    if (x->out.p) x->out.p[start] = 0;
    out->markup = x->autoescape;
    return true;
}

/* ---- scopes ---------------------------------------------------------------------------------- */

jscope *x_scope_new(jx *x, jscope *up)
{
    jscope *s = arena_alloc_small(&x->arena, sizeof *s);
    if (!s) {
        x_fail_memory(x);
        return NULL;
    }
    *s = (jscope){.up = up};
    return s;
}

bool x_scope_set(jx *x, jscope *s, uint32_t id, jv value)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->v[i].id == id) {
            s->v[i].value = value;
            return true;
        }
    if (!ARENA_RESERVE(&x->arena, s->v, s->cap, s->n + 1)) return x_fail_memory(x);
    s->v[s->n++] = (jvar){id, value};
    return x_step(x, s->n / 8);
}

static bool assign(jx *x, jscope *s, const jnode *target, jv value)
{
    if (target->kind == JN_NAME) return x_scope_set(x, s, target->id, value);
    if (target->kind == JN_NSREF) {
        jv ns, key;
        const jnode name = {.kind = JN_NAME, .id = target->id, .pos = target->pos};
        if (!x_eval(x, s, &name, &ns)) return false;
        if (ns.t != JV_NAMESPACE)
            return x_fail(x, "cannot assign attribute on non-namespace object");
        if (!jv_str_borrow(x, target->name.p, target->name.n,
                           utf8_count(target->name.p, target->name.n), &key))
            return false;
        return jv_dict_set(x, ns.m, key, value);
    }
    jsource src;
    if (!jv_is_iterable(value))
        return x_fail(x, "cannot unpack non-iterable %s object", jv_type_name(value));
    if (!x_source_init(x, &src, value)) return false;
    for (size_t i = 0;; i++) {
        jv item;
        bool got;
        if (!x_source_next(x, &src, &item, &got)) return false;
        if (i == target->list.n) {
            if (got) return x_fail(x, "too many values to unpack (expected %zu)", target->list.n);
            return true;
        }
        if (!got)
            return x_fail(x, "not enough values to unpack (expected %zu, got %zu)", target->list.n,
                          i);
        if (!x_assign(x, s, target->list.v[i], item)) return false;
    }
}

bool x_assign(jx *x, jscope *s, const jnode *target, jv value)
{
    const bool ok = assign(x, s, target, value);
    if (!ok && !x->where) x->where = target;
    return ok;
}

/* ---- loops ----------------------------------------------------------------------------------- */

bool x_source_init(jx *x, jsource *s, jv seq)
{
    *s = (jsource){.seq = seq};
    switch ((jv_type)seq.t) {
    case JV_UNDEFINED:
        return true;
    case JV_STR:
        s->n = seq.s->len;
        return true;
    case JV_LIST:
    case JV_TUPLE:
        s->n = seq.l->n;
        return true;
    case JV_DICT:
        s->n = seq.m->n;
        return true;
    case JV_RANGE:
        s->n = seq.r->n;
        return true;
    case JV_VIEW:
        s->n = seq.view->m->n;
        return true;
    case JV_ITER:
        s->n = seq.it->items->n - seq.it->at;
        return true;
    case JV_LOOP:
        return x_unsupported(x, "iterating over the loop variable itself is not supported");
    default:
        return x_fail(x, "'%s' object is not iterable", jv_type_name(seq));
    }
}

static bool pull(jx *x, jsource *s, jv *item, bool *got)
{
    const jv seq = s->seq;
    *got = false;
    switch ((jv_type)seq.t) {
    case JV_STR: { // at counts bytes
        if (s->at >= seq.s->n) return true;
        const char *p = seq.s->p + s->at;
        utf8_next(&p);
        *got = true;
        const size_t from = s->at;
        s->at = (size_t)(p - seq.s->p);
        if (!jv_substr(x, seq, from, s->at, item)) return false;
        item->markup = false; // the characters of a Markup are plain
        return true;
    }
    case JV_LIST:
    case JV_TUPLE:
        if (s->at < seq.l->n) {
            *item = seq.l->v[s->at++];
            *got = true;
        }
        return true;
    case JV_DICT:
        if (s->at < seq.m->n) {
            *item = seq.m->e[s->at++].key;
            *got = true;
        }
        return true;
    case JV_RANGE:
        if (s->at < seq.r->n) {
            *item = jv_int(seq.r->start + (int64_t)s->at++ * seq.r->step);
            *got = true;
        }
        return true;
    case JV_ITER:
        if (seq.it->at < seq.it->items->n) {
            *item = seq.it->items->v[seq.it->at++];
            *got = true;
        }
        return true;
    case JV_VIEW: {
        if (s->at >= seq.view->m->n) return true;
        const jentry *e = &seq.view->m->e[s->at++];
        *got = true;
        if (seq.view->kind == 'k') *item = e->key;
        if (seq.view->kind == 'v') *item = e->value;
        if (seq.view->kind != 'i') return true;
        return jv_list(x, JV_TUPLE, 2, item) && jv_push(x, *item, e->key) &&
               jv_push(x, *item, e->value);
    }
    default:
        return true;
    }
}

bool x_source_next(jx *x, jsource *s, jv *item, bool *got)
{
    for (;;) {
        if (!x_step(x, 1) || !pull(x, s, item, got)) return false;
        if (!*got || !s->test) return true;
        if (!s->test_scope) s->test_scope = x_scope_new(x, s->outer);
        jv keep;
        if (!s->test_scope || !x_assign(x, s->test_scope, s->target, *item) ||
            !x_eval(x, s->test_scope, s->test, &keep))
            return false;
        if (jv_truth(keep)) return true;
    }
}

bool x_loop_length(jx *x, jloop *l, size_t *n)
{
    if (!l->sized) {
        const jv seq = l->src.seq;
        if (!l->src.test && seq.t != JV_ITER) {
            l->length = l->src.n;
        } else { // only reading all of it tells
            jv rest;
            if (!jv_list(x, JV_LIST, 0, &rest)) return false;
            for (;;) {
                jv item;
                bool got;
                if (!x_source_next(x, &l->src, &item, &got)) return false;
                if (!got) break;
                if (!jv_push(x, rest, item)) return false;
            }
            l->length = rest.l->n + (size_t)(l->index0 + 1) + l->has_after;
            l->src = (jsource){.seq = rest};
        }
        l->sized = true;
    }
    *n = l->length;
    return true;
}

bool x_loop_peek(jx *x, jloop *l, bool *got)
{
    if (!l->has_after && !l->ended) {
        if (!x_source_next(x, &l->src, &l->after, &l->has_after)) return false;
        l->ended = !l->has_after;
    }
    *got = l->has_after;
    return true;
}

bool x_run_loop(jx *x, const jnode *n, jv seq, jscope *outer, int64_t depth0)
{
    jloop *l = arena_alloc_small(&x->arena, sizeof *l);
    if (!l) return x_fail_memory(x);
    *l = (jloop){.index0 = -1,
                 .recursive = n->flag ? n : NULL,
                 .scope = outer,
                 .depth0 = depth0,
                 .changed = JV(JV_MISSING)};
    l->before = l->current = jv_none();
    if (!x_source_init(x, &l->src, seq)) return false;
    l->src.test = n->c;
    l->src.target = n->a;
    l->src.outer = outer;
    jscope *s = NULL;
    bool finished_one = false;
    for (;;) {
        bool got;
        if (!x_loop_peek(x, l, &got)) return false;
        if (!got) break;
        l->has_after = false;
        l->index0++;
        l->before = l->current;
        l->current = l->after;
        if (!s || s->captured) s = x_scope_new(x, outer);
        if (!s) return false;
        s->n = 0;
        if (!x_scope_set(x, s, x->t->id_loop, (jv){.t = JV_LOOP, .loop = l})) return false;
        if (!x_assign(x, s, n->a, l->current)) return false;
        const ex r = exec_list(x, s, &n->body);
        if (r == EX_FAIL) return false;
        if (r == EX_OK) finished_one = true;
        if (r == EX_BREAK) break;
    }
    if (finished_one || n->orelse.n == 0) return true;
    s = x_scope_new(x, outer);
    return s && exec_list(x, s, &n->orelse) != EX_FAIL;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static const jv *keyword(const jargs *a, mltf_str name)
{
    for (size_t i = 0; i < a->n_kw; i++)
        if (str_eq(a->kw[i].name, name)) return &a->kw[i].value;
    return NULL;
}

/* The arguments that no parameter took: kwargs and varargs, or an error. */
static bool macro_rest(jx *x, const jmacrodef *d, const jargs *a, size_t taken, bool caller_taken,
                       jscope *s)
{
    jv kwargs, varargs;
    if (!jv_dict(x, 0, &kwargs) || !jv_list(x, JV_TUPLE, 0, &varargs)) return false;
    for (size_t i = 0; i < a->n_kw; i++) {
        bool used = caller_taken && str_is(a->kw[i].name, "caller");
        for (size_t k = taken; k < d->n && !used; k++)
            used = str_eq(d->param_name[k], a->kw[i].name);
        if (used) continue;
        if (!d->uses_kwargs) {
            const char *name =
                d->name.p ? jv_show(x, (jv){.t = JV_STR,
                                            .s = &(jstr){d->name.p, d->name.n, d->name.n, NULL}})
                          : "None";
            if (str_is(a->kw[i].name, "caller"))
                return x_fail(x,
                              "macro %s was invoked with two values for the special caller "
                              "argument. This is most likely a bug.",
                              name);
            return x_fail(x, "macro %s takes no keyword argument '" STR_FMT "'", name,
                          STR_ARG(a->kw[i].name));
        }
        jv key;
        if (!jv_str(x, a->kw[i].name, &key) || !jv_dict_set(x, kwargs.m, key, a->kw[i].value))
            return false;
    }
    for (size_t i = d->n; i < a->n; i++) {
        if (!d->uses_varargs)
            return x_fail(x, "macro '" STR_FMT "' takes not more than %zu argument(s)",
                          STR_ARG(d->name), d->n);
        if (!jv_push(x, varargs, a->v[i])) return false;
    }
    if (d->uses_kwargs && !x_scope_set(x, s, d->id_kwargs, kwargs)) return false;
    return !d->uses_varargs || x_scope_set(x, s, d->id_varargs, varargs);
}

static bool call_macro(jx *x, const jmacro *m, const jargs *a, jv *out)
{
    const jmacrodef *d = m->def;
    jscope *s = x_scope_new(x, m->scope);
    if (!s || !x_enter(x)) return false;
    const size_t taken = a->n < d->n ? a->n : d->n;
    bool found_caller = taken == d->n && d->explicit_caller;
    for (size_t i = 0; i < d->n; i++) {
        const jv *value = i < taken ? &a->v[i] : keyword(a, d->param_name[i]);
        if (i >= taken && d->param[i] == d->id_caller) found_caller = true;
        jv v;
        if (value) {
            v = *value;
        } else if (i + d->defaults.n >= d->n) {
            if (!x_eval(x, s, d->defaults.v[i + d->defaults.n - d->n], &v)) return false;
        } else {
            char hint[200];
            snprintf(hint, sizeof hint, "parameter '%.*s' was not provided",
                     (int)(d->param_name[i].n > 120 ? 120 : d->param_name[i].n),
                     d->param_name[i].p);
            if (!jv_undefined_hint(x, hint, &v)) return false;
        }
        if (!x_scope_set(x, s, d->param[i], v)) return false;
    }
    const bool caller_taken = d->uses_caller && !found_caller;
    if (caller_taken) {
        const jv *caller = keyword(a, STR("caller"));
        jv v;
        if (caller && caller->t != JV_NONE)
            v = *caller;
        else if (!jv_undefined_hint(x, "No caller defined", &v))
            return false;
        if (!x_scope_set(x, s, d->id_caller, v)) return false;
    }
    if (!macro_rest(x, d, a, taken, caller_taken, s)) return false;
    const size_t start = capture_begin(x);
    if (exec_list(x, s, m->body) == EX_FAIL) return false;
    x->depth--;
    return capture_end(x, start, out);
}

bool x_call(jx *x, jv callee, const jargs *args, jv *out)
{
    switch ((jv_type)callee.t) {
    case JV_MACRO:
        return call_macro(x, callee.macro, args, out);
    case JV_FUNC:
        return callee.f->fn(x, callee, args, out);
    case JV_METHOD:
        return callee.bound->f->fn(x, callee.bound->self, args, out);
    case JV_UNDEFINED:
        return jv_use_undefined(x, callee);
    case JV_JOINER: {
        jjoiner *j = callee.joiner;
        if (args->n || args->n_kw)
            return x_fail(x, "Joiner.__call__() takes 1 positional argument");
        if (!j->used) {
            j->used = true;
            return jv_cstr(x, "", out);
        }
        *out = j->sep;
        return true;
    }
    case JV_LOOP: {
        const jloop *l = callee.loop;
        if (!l->recursive)
            return x_fail(x, "The loop must have the 'recursive' marker to be called recursively.");
        if (args->n + args->n_kw != 1)
            return x_fail(x, "LoopContext.__call__() takes 1 argument: 'iterable'");
        if (!x_enter(x)) return false;
        const size_t start = capture_begin(x);
        if (!x_run_loop(x, l->recursive, args->n ? args->v[0] : args->kw[0].value, l->scope,
                        l->depth0 + 1))
            return false;
        x->depth--;
        return capture_end(x, start, out);
    }
    default:
        return x_fail(x, "'%s' object is not callable", jv_type_name(callee));
    }
}

/* ---- statements ------------------------------------------------------------------------------ */

static bool make_macro(jx *x, jscope *s, const jnode *n, jv *out)
{
    jmacro *m = arena_alloc_small(&x->arena, sizeof *m);
    if (!m) return x_fail_memory(x);
    *m = (jmacro){n->macro, &n->body, s};
    for (; s && !s->captured; s = s->up) s->captured = true;
    *out = (jv){.t = JV_MACRO, .macro = m};
    return true;
}

static bool exec_for(jx *x, jscope *s, const jnode *n)
{
    jv seq;
    if (!x_eval(x, s, n->b, &seq)) return false;
    if (!n->flag) return x_run_loop(x, n, seq, s, 0);
    const size_t start = capture_begin(x);
    jv text;
    if (!x_run_loop(x, n, seq, s, 0) || !capture_end(x, start, &text)) return false;
    return write_text(x, text.s->p, text.s->n);
}

static bool exec_set_block(jx *x, jscope *s, const jnode *n)
{
    jscope *inner = x_scope_new(x, s);
    jv text;
    if (!inner) return false;
    const size_t start = capture_begin(x);
    if (exec_list(x, inner, &n->body) == EX_FAIL || !capture_end(x, start, &text)) return false;
    if (n->b && !x_eval_filter(x, inner, n->b, &text, &text)) return false;
    return x_assign(x, s, n->a, text);
}

static bool exec_filter_block(jx *x, jscope *s, const jnode *n)
{
    jscope *inner = x_scope_new(x, s);
    jv text;
    if (!inner) return false;
    const size_t start = capture_begin(x);
    if (exec_list(x, inner, &n->body) == EX_FAIL || !capture_end(x, start, &text)) return false;
    return x_eval_filter(x, inner, n->a, &text, &text) && write_value(x, text);
}

static ex exec_with(jx *x, jscope *s, const jnode *n)
{
    jscope *inner = x_scope_new(x, s);
    if (!inner) return EX_FAIL;
    for (size_t i = 0; i + 1 < n->list.n; i += 2) {
        jv v;
        if (!x_eval(x, s, n->list.v[i + 1], &v) || !x_assign(x, inner, n->list.v[i], v))
            return EX_FAIL;
    }
    return exec_list(x, inner, &n->body);
}

static bool exec_generation(jx *x, jscope *s, const jnode *n)
{
    jscope *inner = x_scope_new(x, s);
    jv text;
    if (!inner) return false;
    const size_t start = capture_begin(x);
    if (exec_list(x, inner, &n->body) == EX_FAIL || !capture_end(x, start, &text)) return false;
    if (x->root_written || x->n_spans) {
        if (!ARRAY_RESERVE(x->spans, x->cap_spans, x->n_spans + 1)) return x_fail_memory(x);
        const size_t at = x->capture_depth ? x->root_len : x->out.n;
        x->spans[x->n_spans++] = (struct jinja_span){at, at + text.s->n};
    }
    return write_text(x, text.s->p, text.s->n);
}

static ex exec_autoescape(jx *x, jscope *s, const jnode *n)
{
    jv on;
    jscope *inner = x_scope_new(x, s);
    if (!inner || !x_eval(x, s, n->a, &on)) return EX_FAIL;
    const bool before = x->autoescape;
    x->autoescape = jv_truth(on);
    const ex r = exec_list(x, inner, &n->body);
    x->autoescape = before;
    return r;
}

static ex exec(jx *x, jscope *s, const jnode *n)
{
    jv v;
    jscope *inner;
    bool ok = true;
    switch ((jn_kind)n->kind) {
    case JN_DATA:
        ok = write_text(x, n->value.s->p, n->value.s->n);
        break;
    case JN_OUTPUT:
        ok = x_eval(x, s, n->a, &v) && write_value(x, v);
        break;
    case JN_PRINT:
        for (size_t i = 0; ok && i < n->list.n; i++)
            ok = x_eval(x, s, n->list.v[i], &v) && write_value(x, v);
        break;
    case JN_SET:
        ok = x_eval(x, s, n->b, &v) && x_assign(x, s, n->a, v);
        break;
    case JN_SETBLOCK:
        ok = exec_set_block(x, s, n);
        break;
    case JN_FOR:
        ok = exec_for(x, s, n);
        break;
    case JN_IF:
        for (;;) { // the elifs are a chain
            if (!x_eval(x, s, n->a, &v)) return EX_FAIL;
            if (jv_truth(v)) return exec_list(x, s, &n->body);
            if (n->orelse.n != 1 || n->orelse.v[0]->kind != JN_IF)
                return exec_list(x, s, &n->orelse);
            n = n->orelse.v[0];
        }
    case JN_WITH:
        return exec_with(x, s, n);
    case JN_MACRO:
        ok = make_macro(x, s, n, &v) && x_scope_set(x, s, n->id, v);
        break;
    case JN_CALLBLOCK: {
        jv caller;
        ok = make_macro(x, s, n, &caller) && x_eval_call(x, s, n->a, &caller, &v) &&
             write_value(x, v);
        break;
    }
    case JN_FILTERBLOCK:
        ok = exec_filter_block(x, s, n);
        break;
    case JN_AUTOESCAPE:
        return exec_autoescape(x, s, n);
    case JN_GENERATION:
        ok = exec_generation(x, s, n);
        break;
    case JN_BLOCK: // sees the variables of the template, not those of the loops around it
        inner = x_scope_new(x, n->flag ? s : x->root);
        return inner ? exec_list(x, inner, &n->body) : EX_FAIL;
    case JN_BREAK:
        return EX_BREAK;
    case JN_CONTINUE:
        return EX_CONTINUE;
    default:
        ok = x_fail(x, "not a statement");
    }
    return ok ? EX_OK : EX_FAIL;
}

static ex exec_list(jx *x, jscope *s, const jlistnode *body)
{
    if (!x_enter(x)) return EX_FAIL;
    for (size_t i = 0; i < body->n; i++) {
        if (!x_step(x, 1)) return EX_FAIL;
        const ex r = exec(x, s, body->v[i]);
        if (r == EX_FAIL && !x->where) x->where = body->v[i];
        if (r != EX_OK) {
            x->depth--;
            return r;
        }
    }
    x->depth--;
    return EX_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static bool load_context(jx *x, const json *context)
{
    const jinja_template *t = x->t;
    x->context = arena_alloc_small(&x->arena, (t->n_names + 1) * sizeof *x->context);
    if (!x->context) return x_fail_memory(x);
    for (size_t i = 0; i < t->n_names; i++) {
        const json *j = json_get_str(context, t->names[i]);
        x->context[i] = JV(JV_MISSING);
        if (j) {
            if (!jv_from_json(x, j, 0, &x->context[i])) return false;
            continue;
        }
        const jfunc *f;
        for (size_t k = 0; (f = jinja_global(k)); k++)
            if (str_is(t->names[i], f->name)) x->context[i] = (jv){.t = JV_FUNC, .f = f};
        if (str_is(t->names[i],
                   "self")) { // would name the blocks of the template: none can be called
            if (!jv_dict(x, 0, &x->context[i])) return false;
            x->context[i].t = JV_NAMESPACE;
        }
    }
    return true;
}

static mltf_status report(jx *x, mltf_err *err)
{
    if (x->bare || !x->where) return mltf_fail(err, x->status, "%s", x->msg);
    size_t line, column;
    jinja_position(x->t->source, x->where->pos, &line, &column);
    return mltf_fail(err, x->status, "line %zu, column %zu: %s", line, column, x->msg);
}

static size_t json_bytes(const json *j, unsigned depth)
{
    size_t n = 32;
    if (!j || depth > LIMIT_JSON_DEPTH) return n;
    if (j->type == JSON_STRING) n += j->s.n;
    if (j->type == JSON_ARRAY)
        for (size_t i = 0; i < j->a.n; i++) n += json_bytes(&j->a.items[i], depth + 1);
    if (j->type == JSON_OBJECT)
        for (size_t i = 0; i < j->o.n; i++)
            n += j->o.members[i].key.n + json_bytes(&j->o.members[i].value, depth + 1);
    return n;
}

mltf_status jinja_render(const jinja_template *t, const json *context, const jinja_options *opts,
                         mltf_buf *out, mltf_err *err)
{
    const jinja_options none = {0};
    if (!opts) opts = &none;
    jx x = {.t = t, .out = {.max = LIMIT_TEMPLATE_OUTPUT}, .now = opts->now};
    x.arena.max = JX_ARENA_BYTES + 16 * json_bytes(context, 0);
    x.steps = opts->max_steps ? opts->max_steps : JX_DEFAULT_STEPS;
    if (!opts->max_steps)
        x.steps += json_bytes(context, 0); // reading the variables is not the template's work
    struct timespec clock;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    x.seed = ((uint64_t)clock.tv_nsec << 20) ^ (uint64_t)(uintptr_t)&x ^ 0x9e3779b97f4a7c15u;
    x.random = x.seed | 1;
    mltf_status st = MLTF_OK;
    if (load_context(&x, context)) {
        x.root = x_scope_new(&x, NULL);
        if (x.root) exec_list(&x, x.root, &t->body);
    }
    if (x.failed) {
        st = report(&x, err);
    } else {
        buf_append(out, x.out.p, x.out.n);
        st = buf_status(out, err);
    }
    if (st == MLTF_OK && opts->generation && opts->n_generation) {
        *opts->generation = x.spans;
        *opts->n_generation = x.n_spans;
        x.spans = NULL;
    }
    free(x.spans);
    mltf_buf_release(&x.out);
    arena_release(&x.arena);
    return st;
}
