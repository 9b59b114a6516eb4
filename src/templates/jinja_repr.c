/* str() and repr() of values, as Python prints them. */
#include "templates/jinja_internal.h"

#include <math.h>

#include "base/limits.h"
#include "base/pytext.h"
#include "formats/decimal.h"

void jinja_put_float(mltf_buf *b, double d)
{
    char text[32];
    buf_append(b, text, decimal_repr(text, d));
}

static bool put_items(jx *x, mltf_buf *b, const jlist *l, const char *open, const char *close,
                      unsigned depth)
{
    buf_puts(b, open);
    for (size_t i = 0; i < l->n; i++) {
        if (i) buf_puts(b, ", ");
        if (!jv_put_repr(x, b, l->v[i], depth + 1)) return false;
    }
    buf_puts(b, close);
    return true;
}

static bool put_dict(jx *x, mltf_buf *b, const jdict *m, unsigned depth)
{
    buf_putc(b, '{');
    for (size_t i = 0; i < m->n; i++) {
        if (i) buf_puts(b, ", ");
        if (!jv_put_repr(x, b, m->e[i].key, depth + 1)) return false;
        buf_puts(b, ": ");
        if (!jv_put_repr(x, b, m->e[i].value, depth + 1)) return false;
    }
    buf_putc(b, '}');
    return true;
}

static bool put_view(jx *x, mltf_buf *b, const jview *view, unsigned depth)
{
    buf_printf(b, "dict_%s([", view->kind == 'k' ? "keys" : view->kind == 'v' ? "values" : "items");
    for (size_t i = 0; i < view->m->n; i++) {
        const jentry *e = &view->m->e[i];
        if (i) buf_puts(b, ", ");
        if (view->kind == 'i') buf_putc(b, '(');
        if (view->kind != 'v' && !jv_put_repr(x, b, e->key, depth + 1)) return false;
        if (view->kind == 'i') buf_puts(b, ", ");
        if (view->kind != 'k' && !jv_put_repr(x, b, e->value, depth + 1)) return false;
        if (view->kind == 'i') buf_putc(b, ')');
    }
    buf_puts(b, "])");
    return true;
}

bool jv_put_repr(jx *x, mltf_buf *b, jv v, unsigned depth)
{
    if (depth > JX_MAX_VALUE)
        return x_fail(x, "maximum recursion depth exceeded while getting the repr of an object");
    if (!x_step(x, 1)) return false;
    if (b->failed)
        return x_fail(x, "the output is longer than a template may write (%zu bytes)",
                      (size_t)LIMIT_TEMPLATE_OUTPUT);
    size_t n;
    switch ((jv_type)v.t) {
    case JV_UNDEFINED:
        buf_puts(b, "Undefined");
        return true;
    case JV_NONE:
        buf_puts(b, "None");
        return true;
    case JV_BOOL:
        buf_puts(b, v.b ? "True" : "False");
        return true;
    case JV_INT:
        buf_printf(b, "%lld", (long long)v.i);
        return true;
    case JV_BIGINT:
        buf_put_str(b, jv_text(v));
        return true;
    case JV_FLOAT:
        jinja_put_float(b, v.d);
        return true;
    case JV_STR:
        if (!x_step(x, v.s->n / 16)) return false;
        if (v.markup) buf_puts(b, "Markup(");
        pytext_repr(b, jv_text(v), false);
        if (v.markup) buf_putc(b, ')');
        return true;
    case JV_LIST:
        return put_items(x, b, v.l, "[", "]", depth);
    case JV_TUPLE:
        return put_items(x, b, v.l, "(", v.l->n == 1 ? ",)" : ")", depth);
    case JV_DICT:
        return put_dict(x, b, v.m, depth);
    case JV_RANGE:
        buf_printf(b, "range(%lld, %lld", (long long)v.r->start, (long long)v.r->stop);
        if (v.r->step != 1) buf_printf(b, ", %lld", (long long)v.r->step);
        buf_putc(b, ')');
        return true;
    case JV_VIEW:
        return put_view(x, b, v.view, depth);
    case JV_NAMESPACE:
        buf_puts(b, "<Namespace ");
        if (!put_dict(x, b, v.m, depth)) return false;
        buf_putc(b, '>');
        return true;
    case JV_MACRO:
        if (v.macro->def->name.p)
            buf_printf(b, "<Macro '" STR_FMT "'>", STR_ARG(v.macro->def->name));
        else
            buf_puts(b, "<Macro anonymous>");
        return true;
    case JV_LOOP:
        if (!x_loop_length(x, v.loop, &n)) return false;
        buf_printf(b, "<LoopContext %lld/%zu>", (long long)v.loop->index0 + 1, n);
        return true;
    case JV_FUNC:
        buf_puts(b, v.f->repr);
        return true;
    case JV_METHOD:
        buf_printf(b, "<built-in method %s of %s object>", v.bound->f->name,
                   jv_type_name(v.bound->self));
        return true;
    case JV_ITER:
        buf_printf(b, "<%s object>", v.it->name);
        return true;
    case JV_CYCLER:
        buf_puts(b, "<jinja2.utils.Cycler object>");
        return true;
    case JV_JOINER:
        buf_puts(b, "<jinja2.utils.Joiner object>");
        return true;
    case JV_MISSING:
        break;
    }
    buf_puts(b, "missing");
    return true;
}

bool jv_put_str(jx *x, mltf_buf *b, jv v, unsigned depth)
{
    if (v.t == JV_STR) {
        if (!x_step(x, v.s->n / 64)) return false;
        buf_put_str(b, jv_text(v));
        return true;
    }
    if (v.t == JV_UNDEFINED) return true;
    return jv_put_repr(x, b, v, depth);
}

bool jv_take_buf(jx *x, mltf_buf *b, jv *out)
{
    bool ok = !x->failed;
    if (ok && b->failed)
        ok = x_fail(x, "the output is longer than a template may write (%zu bytes)",
                    (size_t)LIMIT_TEMPLATE_OUTPUT);
    ok = ok && jv_str(x, buf_str(b), out);
    mltf_buf_release(b);
    return ok;
}

bool jv_to_str(jx *x, jv v, jv *out)
{
    if (v.t == JV_STR) {
        *out = v;
        return true;
    }
    mltf_buf b = {.max = LIMIT_TEMPLATE_OUTPUT};
    jv_put_str(x, &b, v, 0);
    return jv_take_buf(x, &b, out);
}

const char *jv_show(jx *x, jv v)
{
    mltf_buf b = {.max = 4096};
    const bool failed = x->failed;
    const size_t steps = x->steps;
    const char *shown = "?";
    if (v.t != JV_LOOP && v.t != JV_DICT && v.t != JV_LIST && v.t != JV_TUPLE &&
        v.t != JV_NAMESPACE && v.t != JV_VIEW) {
        if (v.t == JV_STR)
            pytext_repr(&b,
                        str_slice(jv_text(v), 0, jstr_offset(v.s, v.s->len < 60 ? v.s->len : 60)),
                        false);
        else
            jv_put_repr(x, &b, v, 0);
        if (b.p && !b.failed) {
            const char *copy = arena_strdup(&x->arena, b.p, b.n);
            if (copy) shown = copy;
        }
    } else {
        shown = jv_type_name(v);
    }
    mltf_buf_release(&b);
    x->failed = failed;
    x->steps = steps;
    return shown;
}
