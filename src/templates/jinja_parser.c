/* Tokens to a syntax tree: recursive descent with the precedences of jinja2/parser.py, from loose to tight
 *
 *     a if c else b | or | and | not | == != < in, not in | + - | ~ | * / // % | ** | unary - + | . [] () | filters, is
 *
 * Easy to get wrong: "~" binds tighter than "+"; "**" is left-associative, and a minus in front of it binds
 * tighter; "-x|f" filters the negated value and "-x.y" negates x before asking for y. A filter that does
 * not exist is an error at once, but inside an {% if %} or a conditional expression only when reached. */
#include "templates/jinja_internal.h"

#include <stdlib.h>

#include "base/utf8.h"

typedef struct parser {
    jinja_template *t;
    mltf_arena *a;
    const jtoken *tok;
    size_t n, at;
    unsigned depth;
    bool soft;       /* inside a condition: unknown filters fail when reached */
    unsigned loops;  /* for loops around, in this function body */
    uint32_t *table; /* name -> id + 1, open addressing */
    size_t n_table;
    struct tracked { /* macros whose body is being read: do they use caller, kwargs, varargs? */
        struct tracked *up;
        bool used[3], stored[3];
    } * macro;
    mltf_err *err;
} parser;

static mltf_status expression(parser *p, jnode **out);
static mltf_status or_expression(parser *p, jnode **out);
static mltf_status unary(parser *p, bool with_filter, jnode **out);
static mltf_status statements(parser *p, const char *const *ends, jlistnode *body, const char **end,
                              uint32_t opened);

#define CUR(p)      (&(p)->tok[(p)->at])
#define IS(p, what) (CUR(p)->type == (what))
#define FAIL_AT(p, pos, ...)                                                                       \
    jinja_syntax_error((p)->err, MLTF_CORRUPT_FILE, (p)->t->source, (pos), __VA_ARGS__)
#define REFUSE_AT(p, pos, ...)                                                                     \
    jinja_syntax_error((p)->err, MLTF_UNSUPPORTED, (p)->t->source, (pos), __VA_ARGS__)

static const jtoken *look(const parser *p)
{
    return &p->tok[p->at + 1 < p->n ? p->at + 1 : p->at];
}
static void next(parser *p)
{
    if (p->at + 1 < p->n) p->at++;
}
static bool skip(parser *p, jt_type type)
{
    if (!IS(p, type)) return false;
    next(p);
    return true;
}
static bool is_name(const jtoken *t, const char *name)
{
    return t->type == JT_NAME && str_is(t->text, name);
}
static bool skip_name(parser *p, const char *name)
{
    if (!is_name(CUR(p), name)) return false;
    next(p);
    return true;
}

/* "end of statement block", or the token itself. */
static const char *describe(const jtoken *t, char room[80])
{
    switch (t->type) {
    case JT_EOF:
        return "end of template";
    case JT_DATA:
        return "template data / text";
    case JT_BLOCK_BEGIN:
        return "begin of statement block";
    case JT_BLOCK_END:
        return "end of statement block";
    case JT_VAR_BEGIN:
        return "begin of print statement";
    case JT_VAR_END:
        return "end of print statement";
    case JT_STRING:
        return "string";
    case JT_INT:
        return "integer";
    case JT_FLOAT:
        return "float";
    default:
        break;
    }
    snprintf(room, 80, "%.*s", (int)(t->text.n > 60 ? 60 : t->text.n), t->text.p);
    return room;
}

static mltf_status expect(parser *p, jt_type type, const char *what)
{
    char room[80];
    if (!IS(p, type)) {
        if (IS(p, JT_EOF))
            return FAIL_AT(p, CUR(p)->pos, "unexpected end of template, expected '%s'", what);
        return FAIL_AT(p, CUR(p)->pos, "expected token '%s', got '%s'", what,
                       describe(CUR(p), room));
    }
    next(p);
    return MLTF_OK;
}

static mltf_status enter(parser *p)
{
    if (++p->depth > JX_MAX_PARSE * 4)
        return FAIL_AT(p, CUR(p)->pos, "the template is nested too deeply");
    return MLTF_OK;
}

static jnode *new_node(parser *p, jn_kind kind, uint32_t pos)
{
    jnode *n = arena_alloc_small(p->a, sizeof *n);
    if (!n) return NULL;
    memset(n, 0, sizeof *n);
    n->kind = (uint8_t)kind;
    n->pos = pos;
    return n;
}
#define NEW(var, kind, pos)                                                                        \
    jnode *var = new_node(p, kind, pos);                                                           \
    if (!var) return mltf_fail_memory(p->err)

static mltf_status list_add(parser *p, jlistnode *l, jnode *n)
{
    if (l->n == l->cap) {
        const size_t cap = l->cap ? l->cap * 2 : 4;
        jnode **v = arena_alloc_small(p->a, cap * sizeof *v);
        if (!v) return mltf_fail_memory(p->err);
        if (l->n) memcpy(v, l->v, l->n * sizeof *v);
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = n;
    return MLTF_OK;
}

static uint32_t name_hash(mltf_str s)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < s.n; i++) h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h ^ h >> 15;
}

static mltf_status intern(parser *p, mltf_str name, uint32_t *id)
{
    jinja_template *t = p->t;
    if (t->n_names * 2 >= p->n_table) {
        const size_t size = p->n_table ? p->n_table * 2 : 128;
        uint32_t *table = arena_calloc(p->a, size, sizeof *table);
        mltf_str *names = arena_alloc_small(p->a, size * sizeof *names);
        if (!table || !names) return mltf_fail_memory(p->err);
        if (t->n_names) memcpy(names, t->names, t->n_names * sizeof *names);
        for (size_t i = 0; i < t->n_names; i++) {
            size_t k = name_hash(names[i]) & (size - 1);
            while (table[k]) k = (k + 1) & (size - 1);
            table[k] = (uint32_t)i + 1;
        }
        p->table = table;
        p->n_table = size;
        t->names = names;
    }
    size_t k = name_hash(name) & (p->n_table - 1);
    for (; p->table[k]; k = (k + 1) & (p->n_table - 1))
        if (str_eq(t->names[p->table[k] - 1], name)) {
            *id = p->table[k] - 1;
            return MLTF_OK;
        }
    t->names[t->n_names] = name;
    *id = (uint32_t)t->n_names++;
    p->table[k] = *id + 1;
    return MLTF_OK;
}

/* Note that a body being read mentions caller, kwargs or varargs, as the reference's compiler looks for it. */
static void track(parser *p, mltf_str name, bool store)
{
    static const char *const special[3] = {"caller", "kwargs", "varargs"};
    for (int i = 0; i < 3; i++) {
        if (!str_is(name, special[i])) continue;
        for (struct tracked *m = p->macro; m; m = m->up) {
            if (store)
                m->stored[i] = true;
            else if (!m->stored[i])
                m->used[i] = true;
        }
    }
}

static mltf_status const_str(parser *p, jnode *n, mltf_str text)
{
    jstr *s = arena_alloc_small(p->a, sizeof *s);
    if (!s) return mltf_fail_memory(p->err);
    size_t len = 0;
    for (size_t i = 0; i < text.n; i++) len += ((unsigned char)text.p[i] & 0xc0) != 0x80;
    *s = (jstr){.p = text.p, .n = text.n, .len = len};
    n->value = (jv){.t = JV_STR, .s = s};
    return MLTF_OK;
}

/* ---- expressions ----------------------------------------------------------------------------- */

static bool tuple_end(const parser *p, const char *extra)
{
    const uint8_t t = CUR(p)->type;
    return t == JT_VAR_END || t == JT_BLOCK_END || t == JT_RPAREN ||
           (extra && is_name(CUR(p), extra));
}

typedef enum { TUPLE_FULL, TUPLE_NO_COND, TUPLE_PRIMARY, TUPLE_TARGET } tuple_mode;

static mltf_status primary(parser *p, bool with_namespace, jnode **out);

/* a, b, c, or one expression. Targets of assignments are read the same way. */
static mltf_status tuple(parser *p, tuple_mode mode, const char *extra_end, bool parentheses,
                         jnode **out)
{
    const uint32_t pos = CUR(p)->pos;
    NEW(t, JN_TUPLE, pos);
    bool is_tuple = false;
    for (;;) {
        if (t->list.n) TRY(expect(p, JT_COMMA, ","));
        if (tuple_end(p, extra_end)) break;
        jnode *item;
        if (mode == TUPLE_FULL)
            TRY(expression(p, &item));
        else if (mode == TUPLE_NO_COND)
            TRY(or_expression(p, &item));
        else
            TRY(primary(p, mode == TUPLE_TARGET, &item));
        TRY(list_add(p, &t->list, item));
        if (!IS(p, JT_COMMA)) break;
        is_tuple = true;
    }
    if (is_tuple) {
        *out = t;
        return MLTF_OK;
    }
    if (t->list.n) {
        *out = t->list.v[0];
        return MLTF_OK;
    }
    char room[80];
    if (!parentheses)
        return FAIL_AT(p, CUR(p)->pos, "Expected an expression, got '%s'", describe(CUR(p), room));
    *out = t;
    return MLTF_OK;
}

static mltf_status list_literal(parser *p, jnode **out)
{
    NEW(n, JN_LIST, CUR(p)->pos);
    next(p);
    while (!IS(p, JT_RBRACKET)) {
        if (n->list.n) TRY(expect(p, JT_COMMA, ","));
        if (IS(p, JT_RBRACKET)) break;
        jnode *item;
        TRY(expression(p, &item));
        TRY(list_add(p, &n->list, item));
    }
    next(p);
    *out = n;
    return MLTF_OK;
}

static mltf_status dict_literal(parser *p, jnode **out)
{
    NEW(n, JN_DICT, CUR(p)->pos);
    next(p);
    while (!IS(p, JT_RBRACE)) {
        if (n->list.n) TRY(expect(p, JT_COMMA, ","));
        if (IS(p, JT_RBRACE)) break;
        jnode *key, *value;
        TRY(expression(p, &key));
        TRY(expect(p, JT_COLON, ":"));
        TRY(expression(p, &value));
        TRY(list_add(p, &n->list, key));
        TRY(list_add(p, &n->list, value));
    }
    next(p);
    *out = n;
    return MLTF_OK;
}

static mltf_status string_literal(parser *p, jnode **out)
{
    NEW(n, JN_CONST, CUR(p)->pos);
    mltf_str text = CUR(p)->text;
    next(p);
    while (IS(p, JT_STRING)) { // 'a' 'b' is one text
        const mltf_str more = CUR(p)->text;
        char *both = arena_alloc_small(p->a, text.n + more.n + 1);
        if (!both) return mltf_fail_memory(p->err);
        if (text.n) memcpy(both, text.p, text.n);
        if (more.n) memcpy(both + text.n, more.p, more.n);
        text = (mltf_str){both, text.n + more.n};
        next(p);
    }
    *out = n;
    return const_str(p, n, text);
}

static mltf_status primary(parser *p, bool with_namespace, jnode **out)
{
    const jtoken *t = CUR(p);
    char room[80];
    switch (t->type) {
    case JT_NAME: {
        next(p);
        NEW(n, JN_CONST, t->pos);
        *out = n;
        if (str_is(t->text, "true") || str_is(t->text, "True")) {
            n->value = jv_bool(true);
        } else if (str_is(t->text, "false") || str_is(t->text, "False")) {
            n->value = jv_bool(false);
        } else if (str_is(t->text, "none") || str_is(t->text, "None")) {
            n->value = jv_none();
        } else {
            n->kind = JN_NAME;
            n->name = t->text;
            TRY(intern(p, t->text, &n->id));
            if (with_namespace && skip(p, JT_DOT)) {
                n->kind = JN_NSREF;
                n->name = CUR(p)->text;
                return expect(p, JT_NAME, "name");
            }
        }
        return MLTF_OK;
    }
    case JT_STRING:
        return string_literal(p, out);
    case JT_INT:
    case JT_FLOAT: {
        next(p);
        NEW(n, JN_CONST, t->pos);
        n->value = t->type == JT_INT ? jv_int(t->i) : jv_float(t->d);
        *out = n;
        return MLTF_OK;
    }
    case JT_LPAREN:
        next(p);
        TRY(enter(p));
        TRY(tuple(p, TUPLE_FULL, NULL, true, out));
        p->depth--;
        return expect(p, JT_RPAREN, ")");
    case JT_LBRACKET:
        return list_literal(p, out);
    case JT_LBRACE:
        return dict_literal(p, out);
    case JT_EOF:
        return FAIL_AT(p, t->pos, "unexpected end of template");
    default:
        return FAIL_AT(p, t->pos, "unexpected '%s'", describe(t, room));
    }
}

static mltf_status call_args(parser *p, jcallargs **out)
{
    const uint32_t pos = CUR(p)->pos;
    jcallargs *a = arena_alloc_small(p->a, sizeof *a);
    if (!a) return mltf_fail_memory(p->err);
    memset(a, 0, sizeof *a);
    *out = a;
    TRY(expect(p, JT_LPAREN, "("));
    bool comma = false;
    while (!IS(p, JT_RPAREN)) {
        if (comma) {
            TRY(expect(p, JT_COMMA, ","));
            if (IS(p, JT_RPAREN)) break;
        }
        comma = true;
        jnode *value;
        if (IS(p, JT_MUL)) {
            if (a->star || a->star2)
                return FAIL_AT(p, pos, "invalid syntax for function call expression");
            next(p);
            TRY(expression(p, &a->star));
        } else if (IS(p, JT_POW)) {
            if (a->star2) return FAIL_AT(p, pos, "invalid syntax for function call expression");
            next(p);
            TRY(expression(p, &a->star2));
        } else if (IS(p, JT_NAME) && look(p)->type == JT_ASSIGN) {
            if (a->star2) return FAIL_AT(p, pos, "invalid syntax for function call expression");
            const mltf_str name = CUR(p)->text;
            next(p);
            next(p);
            TRY(expression(p, &value));
            if (a->n_kw == a->cap_kw) {
                const size_t cap = a->cap_kw ? a->cap_kw * 2 : 4;
                struct jkwnode *kw = arena_alloc_small(p->a, cap * sizeof *kw);
                if (!kw) return mltf_fail_memory(p->err);
                if (a->n_kw) memcpy(kw, a->kw, a->n_kw * sizeof *kw);
                a->kw = kw;
                a->cap_kw = cap;
            }
            for (size_t i = 0; i < a->n_kw; i++)
                if (str_eq(a->kw[i].name, name))
                    return FAIL_AT(p, pos, "keyword argument repeated: " STR_FMT, STR_ARG(name));
            a->kw[a->n_kw++] = (struct jkwnode){name, value};
        } else {
            if (a->star || a->star2 || a->n_kw)
                return FAIL_AT(p, pos, "invalid syntax for function call expression");
            TRY(expression(p, &value));
            TRY(list_add(p, &a->args, value));
        }
    }
    next(p);
    return MLTF_OK;
}

static mltf_status subscribed(parser *p, jnode **out)
{
    const uint32_t pos = CUR(p)->pos;
    jnode *part[3] = {NULL, NULL, NULL};
    if (!IS(p, JT_COLON)) {
        TRY(expression(p, &part[0]));
        if (!IS(p, JT_COLON)) {
            *out = part[0];
            return MLTF_OK;
        }
    }
    for (int i = 1; i < 3 && skip(p, JT_COLON); i++)
        if (!IS(p, JT_COLON) && !IS(p, JT_RBRACKET) && !IS(p, JT_COMMA))
            TRY(expression(p, &part[i]));
    NEW(n, JN_SLICE, pos);
    for (int i = 0; i < 3; i++) TRY(list_add(p, &n->list, part[i]));
    *out = n;
    return MLTF_OK;
}

static mltf_status subscript(parser *p, jnode *node, jnode **out)
{
    const uint32_t pos = CUR(p)->pos;
    if (skip(p, JT_DOT)) {
        const jtoken *t = CUR(p);
        next(p);
        if (t->type == JT_NAME) {
            NEW(n, JN_ATTR, pos);
            n->a = node;
            n->name = t->text;
            *out = n;
            return MLTF_OK;
        }
        if (t->type != JT_INT) return FAIL_AT(p, t->pos, "expected name or number");
        NEW(n, JN_ITEM, pos);
        NEW(index, JN_CONST, t->pos);
        index->value = jv_int(t->i);
        n->a = node;
        n->b = index;
        *out = n;
        return MLTF_OK;
    }
    next(p);
    NEW(n, JN_ITEM, pos);
    NEW(args, JN_TUPLE, pos);
    while (!IS(p, JT_RBRACKET)) {
        if (args->list.n) TRY(expect(p, JT_COMMA, ","));
        jnode *arg = NULL;
        TRY(subscribed(p, &arg));
        TRY(list_add(p, &args->list, arg));
    }
    next(p);
    n->a = node;
    n->b = args->list.n == 1 ? args->list.v[0] : args;
    if (args->list.n > 1)
        for (size_t i = 0; i < args->list.n; i++)
            if (args->list.v[i]->kind == JN_SLICE)
                return REFUSE_AT(p, pos, "a slice among several subscripts is not supported");
    *out = n;
    return MLTF_OK;
}

static mltf_status call(parser *p, jnode *node, jnode **out)
{
    NEW(n, JN_CALL, CUR(p)->pos);
    n->a = node;
    TRY(call_args(p, &n->args));
    *out = n;
    return MLTF_OK;
}

static mltf_status postfix(parser *p, jnode **node)
{
    unsigned chain = 0;
    for (;; chain++) {
        if (chain > JX_MAX_DEPTH / 2) return FAIL_AT(p, CUR(p)->pos, "the expression is too long");
        if (IS(p, JT_DOT) || IS(p, JT_LBRACKET))
            TRY(subscript(p, *node, node));
        else if (IS(p, JT_LPAREN))
            TRY(call(p, *node, node));
        else
            return MLTF_OK;
    }
}

static mltf_status dotted_name(parser *p, mltf_str *name)
{
    *name = CUR(p)->text;
    TRY(expect(p, JT_NAME, "name"));
    while (skip(p, JT_DOT)) {
        const char *joined =
            arena_printf(p->a, STR_FMT "." STR_FMT, STR_ARG(*name), STR_ARG(CUR(p)->text));
        if (!joined) return mltf_fail_memory(p->err);
        *name = str_from(joined);
        TRY(expect(p, JT_NAME, "name"));
    }
    return MLTF_OK;
}

/* |a|b(1); start_inline: the first one has no pipe. node NULL: the text of a block. */
static mltf_status filter(parser *p, jnode *node, bool start_inline, jnode **out)
{
    unsigned chain = 0;
    while (IS(p, JT_PIPE) || start_inline) {
        if (++chain > JX_MAX_DEPTH / 2)
            return FAIL_AT(p, CUR(p)->pos, "the expression is too long");
        if (!start_inline) next(p);
        start_inline = false;
        NEW(n, JN_FILTER, CUR(p)->pos);
        n->a = node;
        TRY(dotted_name(p, &n->name));
        n->fn = jinja_find_filter(n->name);
        if (!n->fn && !p->soft)
            return REFUSE_AT(p, n->pos, "no filter named '" STR_FMT "'", STR_ARG(n->name));
        if (IS(p, JT_LPAREN)) TRY(call_args(p, &n->args));
        node = n;
    }
    *out = node;
    return MLTF_OK;
}

static mltf_status test(parser *p, jnode *node, jnode **out)
{
    const uint32_t pos = CUR(p)->pos;
    next(p);
    const bool negated = skip_name(p, "not");
    NEW(n, JN_TEST, pos);
    n->a = node;
    TRY(dotted_name(p, &n->name));
    n->fn = jinja_find_test(n->name);
    if (!n->fn && !p->soft)
        return REFUSE_AT(p, pos, "no test named '" STR_FMT "'", STR_ARG(n->name));
    const jtoken *t = CUR(p);
    if (t->type == JT_LPAREN) {
        TRY(call_args(p, &n->args));
    } else if ((t->type == JT_NAME && !is_name(t, "else") && !is_name(t, "or") &&
                !is_name(t, "and")) ||
               t->type == JT_STRING || t->type == JT_INT || t->type == JT_FLOAT ||
               t->type == JT_LBRACKET || t->type == JT_LBRACE) {
        if (is_name(t, "is")) return FAIL_AT(p, t->pos, "You cannot chain multiple tests with is");
        jnode *arg = NULL;
        TRY(primary(p, false, &arg));
        TRY(postfix(p, &arg));
        jcallargs *a = arena_alloc_small(p->a, sizeof *a);
        if (!a) return mltf_fail_memory(p->err);
        memset(a, 0, sizeof *a);
        TRY(list_add(p, &a->args, arg));
        n->args = a;
    }
    *out = n;
    if (negated) {
        NEW(not_, JN_NOT, pos);
        not_->a = n;
        *out = not_;
    }
    return MLTF_OK;
}

static mltf_status unary(parser *p, bool with_filter, jnode **out)
{
    TRY(enter(p));
    const uint32_t pos = CUR(p)->pos;
    if (IS(p, JT_SUB) || IS(p, JT_ADD)) {
        NEW(n, IS(p, JT_SUB) ? JN_NEG : JN_POS, pos);
        next(p);
        TRY(unary(p, false, &n->a));
        *out = n;
    } else {
        TRY(primary(p, false, out));
    }
    TRY(postfix(p, out));
    if (with_filter)
        for (unsigned chain = 0;; chain++) {
            if (chain > JX_MAX_DEPTH / 2)
                return FAIL_AT(p, CUR(p)->pos, "the expression is too long");
            if (IS(p, JT_PIPE))
                TRY(filter(p, *out, false, out));
            else if (is_name(CUR(p), "is"))
                TRY(test(p, *out, out));
            else if (IS(p, JT_LPAREN))
                TRY(call(p, *out, out));
            else
                break;
        }
    p->depth--;
    return MLTF_OK;
}

static mltf_status binary_node(parser *p, jop op, uint32_t pos, jnode *a, jnode *b, jnode **out)
{
    NEW(n, JN_BINARY, pos);
    n->op = (uint8_t)op;
    n->a = a;
    n->b = b;
    *out = n;
    return MLTF_OK;
}

static mltf_status power(parser *p, jnode **out)
{
    TRY(unary(p, true, out));
    while (IS(p, JT_POW)) {
        const uint32_t pos = CUR(p)->pos;
        next(p);
        jnode *right;
        TRY(unary(p, true, &right));
        TRY(binary_node(p, JO_POW, pos, *out, right, out));
    }
    return MLTF_OK;
}

static mltf_status product(parser *p, jnode **out)
{
    TRY(power(p, out));
    for (;;) {
        const jtoken *t = CUR(p);
        const jop op = t->type == JT_MUL   ? JO_MUL
                       : t->type == JT_DIV ? JO_DIV
                       : t->type == JT_MOD ? JO_MOD
                                           : JO_FLOORDIV;
        if (op == JO_FLOORDIV && t->type != JT_FLOORDIV) return MLTF_OK;
        next(p);
        jnode *right;
        TRY(power(p, &right));
        TRY(binary_node(p, op, t->pos, *out, right, out));
    }
}

static mltf_status concat(parser *p, jnode **out)
{
    TRY(product(p, out));
    if (!IS(p, JT_TILDE)) return MLTF_OK;
    NEW(n, JN_CONCAT, CUR(p)->pos);
    TRY(list_add(p, &n->list, *out));
    while (skip(p, JT_TILDE)) {
        jnode *right;
        TRY(product(p, &right));
        TRY(list_add(p, &n->list, right));
    }
    *out = n;
    return MLTF_OK;
}

static mltf_status sum(parser *p, jnode **out)
{
    TRY(concat(p, out));
    while (IS(p, JT_ADD) || IS(p, JT_SUB)) {
        const jtoken *t = CUR(p);
        next(p);
        jnode *right;
        TRY(concat(p, &right));
        TRY(binary_node(p, t->type == JT_ADD ? JO_ADD : JO_SUB, t->pos, *out, right, out));
    }
    return MLTF_OK;
}

static mltf_status comparison(parser *p, jnode **out)
{
    TRY(sum(p, out));
    NEW(n, JN_COMPARE, CUR(p)->pos);
    n->a = *out;
    for (;;) {
        const jtoken *t = CUR(p);
        int op = -1;
        switch (t->type) {
        case JT_EQ:
            op = JO_EQ;
            break;
        case JT_NE:
            op = JO_NE;
            break;
        case JT_LT:
            op = JO_LT;
            break;
        case JT_LE:
            op = JO_LE;
            break;
        case JT_GT:
            op = JO_GT;
            break;
        case JT_GE:
            op = JO_GE;
            break;
        case JT_NAME:
            if (is_name(t, "in")) {
                op = JO_IN;
            } else if (is_name(t, "not") && is_name(look(p), "in")) {
                op = JO_NOTIN;
                next(p);
            }
            break;
        default:
            break;
        }
        if (op < 0) break;
        next(p);
        NEW(operand, JN_OPERAND, t->pos);
        operand->op = (uint8_t)op;
        TRY(sum(p, &operand->a));
        TRY(list_add(p, &n->list, operand));
    }
    if (n->list.n) *out = n;
    return MLTF_OK;
}

static mltf_status not_expression(parser *p, jnode **out)
{
    if (!is_name(CUR(p), "not")) return comparison(p, out);
    TRY(enter(p));
    NEW(n, JN_NOT, CUR(p)->pos);
    next(p);
    TRY(not_expression(p, &n->a));
    p->depth--;
    *out = n;
    return MLTF_OK;
}

static mltf_status and_expression(parser *p, jnode **out)
{
    TRY(not_expression(p, out));
    while (is_name(CUR(p), "and")) {
        NEW(n, JN_AND, CUR(p)->pos);
        next(p);
        n->a = *out;
        TRY(not_expression(p, &n->b));
        *out = n;
    }
    return MLTF_OK;
}

static mltf_status or_expression(parser *p, jnode **out)
{
    TRY(and_expression(p, out));
    while (is_name(CUR(p), "or")) {
        NEW(n, JN_OR, CUR(p)->pos);
        next(p);
        n->a = *out;
        TRY(and_expression(p, &n->b));
        *out = n;
    }
    return MLTF_OK;
}

/* A filter inside "a if b else c" may be unknown as long as it is not reached, but the "if" comes only after
 * a was read; so look ahead for one before the expression ends. */
static bool condition_follows(const parser *p)
{
    unsigned depth = 0;
    for (size_t i = p->at; i < p->n; i++) {
        const jtoken *t = &p->tok[i];
        if (t->type == JT_LPAREN || t->type == JT_LBRACKET || t->type == JT_LBRACE)
            depth++;
        else if (t->type == JT_RPAREN || t->type == JT_RBRACKET || t->type == JT_RBRACE) {
            if (depth-- == 0) return false;
        } else if (t->type == JT_VAR_END || t->type == JT_BLOCK_END || t->type == JT_EOF) {
            return false;
        } else if (depth == 0 && (t->type == JT_COMMA || t->type == JT_COLON)) {
            return false;
        } else if (depth == 0 && is_name(t, "if")) {
            return true;
        }
    }
    return false;
}

static mltf_status expression(parser *p, jnode **out)
{
    TRY(enter(p));
    const bool soft = p->soft;
    if (!soft) p->soft = condition_follows(p);
    TRY(or_expression(p, out));
    while (is_name(CUR(p), "if")) {
        p->soft = true;
        NEW(n, JN_COND, CUR(p)->pos);
        next(p);
        n->b = *out;
        TRY(or_expression(p, &n->a));
        if (skip_name(p, "else")) TRY(expression(p, &n->c));
        *out = n;
    }
    p->soft = soft;
    p->depth--;
    return MLTF_OK;
}

/* ---- targets --------------------------------------------------------------------------------- */

static mltf_status check_target(parser *p, const jnode *n)
{
    static const char *const kinds[] = {
        [JN_CONST] = "const", [JN_LIST] = "list", [JN_DICT] = "dict"};
    if (n->kind == JN_NAME) {
        if (str_is(n->name, "loop") && p->loops)
            return FAIL_AT(p, n->pos, "Can't assign to special loop variable in for-loop target");
        track(p, n->name, true);
        return MLTF_OK;
    }
    if (n->kind == JN_NSREF) return MLTF_OK;
    if (n->kind == JN_TUPLE) {
        for (size_t i = 0; i < n->list.n; i++) TRY(check_target(p, n->list.v[i]));
        return MLTF_OK;
    }
    const char *kind =
        n->kind < sizeof kinds / sizeof *kinds && kinds[n->kind] ? kinds[n->kind] : "expression";
    return FAIL_AT(p, n->pos, "can't assign to '%s'", kind);
}

static mltf_status target(parser *p, bool with_namespace, const char *extra_end, jnode **out)
{
    TRY(tuple(p, with_namespace ? TUPLE_TARGET : TUPLE_PRIMARY, extra_end, false, out));
    return check_target(p, *out);
}

static mltf_status name_target(parser *p, mltf_str *name, uint32_t *id)
{
    const jtoken *t = CUR(p);
    TRY(expect(p, JT_NAME, "name"));
    static const char *const constants[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < 6; i++)
        if (str_is(t->text, constants[i])) return FAIL_AT(p, t->pos, "can't assign to 'name'");
    *name = t->text;
    return intern(p, t->text, id);
}

/* ---- statements ------------------------------------------------------------------------------ */

/* The tree of names that a body mentions is needed for macros only. Names that are read are noted here. */
static void track_reads(parser *p, size_t from)
{
    for (size_t i = from; p->macro && i < p->at; i++)
        if (p->tok[i].type == JT_NAME && !(i > 0 && p->tok[i - 1].type == JT_DOT) &&
            p->tok[i + 1].type != JT_ASSIGN)
            track(p, p->tok[i].text, false);
}

static mltf_status body_until(parser *p, const char *const *ends, jlistnode *body, const char **end,
                              uint32_t opened)
{
    skip(p, JT_COLON);
    TRY(expect(p, JT_BLOCK_END, "end of statement block"));
    return statements(p, ends, body, end, opened);
}

static mltf_status parse_for(parser *p, uint32_t pos, jnode **out)
{
    static const char *const ends[] = {"endfor", "else", NULL}, *const end_only[] = {"endfor",
                                                                                     NULL};
    NEW(n, JN_FOR, pos);
    const bool soft = p->soft;
    p->loops++;
    TRY(target(p, false, "in", &n->a));
    p->loops--;
    if (!skip_name(p, "in")) {
        char room[80];
        return FAIL_AT(p, CUR(p)->pos, "expected token 'in', got '%s'", describe(CUR(p), room));
    }
    size_t from = p->at;
    TRY(tuple(p, TUPLE_NO_COND, "recursive", false, &n->b));
    if (skip_name(p, "if")) TRY(expression(p, &n->c));
    track_reads(p, from);
    n->flag = skip_name(p, "recursive");
    p->soft = false;
    p->loops++;
    const char *end;
    TRY(body_until(p, ends, &n->body, &end, pos));
    p->loops--;
    if (end[0] == 'e' && end[1] == 'l') TRY(body_until(p, end_only, &n->orelse, &end, pos));
    p->soft = soft;
    *out = n;
    return MLTF_OK;
}

static mltf_status parse_if(parser *p, uint32_t pos, jnode **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL}, *const end_only[] = {"endif",
                                                                                            NULL};
    const bool soft = p->soft;
    p->soft = true;
    jnode *first = NULL, *last = NULL;
    for (;;) {
        NEW(n, JN_IF, pos);
        const size_t from = p->at;
        TRY(tuple(p, TUPLE_NO_COND, NULL, false, &n->a));
        track_reads(p, from);
        if (last)
            TRY(list_add(p, &last->orelse, n));
        else
            first = n;
        last = n;
        const char *end;
        TRY(body_until(p, ends, &n->body, &end, pos));
        if (strcmp(end, "elif") == 0) continue;
        if (strcmp(end, "else") == 0) TRY(body_until(p, end_only, &n->orelse, &end, pos));
        break;
    }
    p->soft = soft;
    *out = first;
    return MLTF_OK;
}

static mltf_status parse_set(parser *p, uint32_t pos, jnode **out)
{
    static const char *const ends[] = {"endset", NULL};
    NEW(n, JN_SET, pos);
    // the value is read before the name is known to be stored, as the reference's compiler does it
    const size_t at = p->at;
    struct tracked *macro = p->macro;
    p->macro = NULL;
    TRY(target(p, true, NULL, &n->a));
    p->macro = macro;
    *out = n;
    if (skip(p, JT_ASSIGN)) {
        const size_t from = p->at;
        TRY(tuple(p, TUPLE_FULL, NULL, false, &n->b));
        track_reads(p, from);
        for (size_t i = at; i < from; i++)
            if (p->tok[i].type == JT_NAME) track(p, p->tok[i].text, true);
        return MLTF_OK;
    }
    for (size_t i = at; i < p->at; i++)
        if (p->tok[i].type == JT_NAME) track(p, p->tok[i].text, true);
    n->kind = JN_SETBLOCK;
    const size_t from = p->at;
    TRY(filter(p, NULL, false, &n->b));
    track_reads(p, from);
    const bool soft = p->soft;
    p->soft = false;
    const char *end;
    TRY(body_until(p, ends, &n->body, &end, pos));
    p->soft = soft;
    return MLTF_OK;
}

static mltf_status parse_with(parser *p, uint32_t pos, jnode **out)
{
    static const char *const ends[] = {"endwith", NULL};
    NEW(n, JN_WITH, pos);
    while (!IS(p, JT_BLOCK_END)) {
        if (n->list.n) TRY(expect(p, JT_COMMA, ","));
        jnode *name, *value;
        TRY(target(p, false, NULL, &name));
        TRY(expect(p, JT_ASSIGN, "="));
        const size_t from = p->at;
        TRY(expression(p, &value));
        track_reads(p, from);
        TRY(list_add(p, &n->list, name));
        TRY(list_add(p, &n->list, value));
    }
    const bool soft = p->soft;
    p->soft = false;
    const char *end;
    TRY(body_until(p, ends, &n->body, &end, pos));
    p->soft = soft;
    *out = n;
    return MLTF_OK;
}

static mltf_status signature(parser *p, jmacrodef *m)
{
    TRY(expect(p, JT_LPAREN, "("));
    while (!IS(p, JT_RPAREN)) {
        if (m->n) TRY(expect(p, JT_COMMA, ","));
        if (m->n == m->cap) {
            const size_t cap = m->cap ? m->cap * 2 : 8;
            uint32_t *ids = arena_alloc_small(p->a, cap * sizeof *ids);
            mltf_str *names = arena_alloc_small(p->a, cap * sizeof *names);
            if (!ids || !names) return mltf_fail_memory(p->err);
            if (m->n) {
                memcpy(ids, m->param, m->n * sizeof *ids);
                memcpy(names, m->param_name, m->n * sizeof *names);
            }
            m->param = ids;
            m->param_name = names;
            m->cap = cap;
        }
        const uint32_t pos = CUR(p)->pos;
        mltf_str name;
        TRY(name_target(p, &name, &m->param[m->n]));
        for (size_t i = 0; i < m->n; i++)
            if (str_eq(m->param_name[i], name))
                return FAIL_AT(p, pos, "duplicate argument '" STR_FMT "'", STR_ARG(name));
        m->param_name[m->n++] = name;
        if (skip(p, JT_ASSIGN)) {
            jnode *value;
            TRY(expression(p, &value));
            TRY(list_add(p, &m->defaults, value));
        } else if (m->defaults.n) {
            return FAIL_AT(p, CUR(p)->pos, "non-default argument follows default argument");
        }
    }
    next(p);
    return MLTF_OK;
}

static mltf_status new_macro(parser *p, jmacrodef **out)
{
    jmacrodef *m = arena_alloc_small(p->a, sizeof *m);
    if (!m) return mltf_fail_memory(p->err);
    memset(m, 0, sizeof *m);
    TRY(intern(p, STR("caller"), &m->id_caller));
    TRY(intern(p, STR("kwargs"), &m->id_kwargs));
    TRY(intern(p, STR("varargs"), &m->id_varargs));
    *out = m;
    return MLTF_OK;
}

/* The body of a macro or of a call block: a function of its own. */
static mltf_status macro_body(parser *p, jnode *n, const char *const *ends, uint32_t pos)
{
    struct tracked here = {.up = p->macro};
    const bool soft = p->soft;
    const unsigned loops = p->loops;
    p->soft = false;
    p->loops = 0;
    p->macro = &here;
    const char *end;
    const mltf_status st = body_until(p, ends, &n->body, &end, pos);
    p->macro = here.up;
    p->soft = soft;
    p->loops = loops;
    TRY(st);
    jmacrodef *m = n->macro;
    bool named[3] = {false, false, false};
    size_t caller_at = 0;
    for (size_t i = 0; i < m->n; i++) {
        if (m->param[i] == m->id_caller) {
            named[0] = true;
            caller_at = i;
        }
        if (m->param[i] == m->id_kwargs) named[1] = true;
        if (m->param[i] == m->id_varargs) named[2] = true;
    }
    m->explicit_caller = named[0];
    if (here.used[0] && named[0] && caller_at + m->defaults.n < m->n)
        return FAIL_AT(p, pos,
                       "When defining macros or call blocks the special \"caller\" argument must "
                       "be omitted or be given "
                       "a default.");
    m->uses_caller = here.used[0];
    m->uses_kwargs = here.used[1] && !named[1];
    m->uses_varargs = here.used[2] && !named[2];
    return MLTF_OK;
}

static mltf_status parse_macro(parser *p, uint32_t pos, jnode **out)
{
    static const char *const ends[] = {"endmacro", NULL};
    NEW(n, JN_MACRO, pos);
    TRY(new_macro(p, &n->macro));
    TRY(name_target(p, &n->macro->name, &n->id));
    TRY(signature(p, n->macro));
    *out = n;
    return macro_body(p, n, ends, pos);
}

static mltf_status parse_call_block(parser *p, uint32_t pos, jnode **out)
{
    static const char *const ends[] = {"endcall", NULL};
    NEW(n, JN_CALLBLOCK, pos);
    TRY(new_macro(p, &n->macro));
    if (IS(p, JT_LPAREN)) TRY(signature(p, n->macro));
    const size_t from = p->at;
    TRY(expression(p, &n->a));
    track_reads(p, from);
    if (n->a->kind != JN_CALL) return FAIL_AT(p, pos, "expected call");
    *out = n;
    return macro_body(p, n, ends, pos);
}

static mltf_status parse_generation(parser *p, uint32_t pos, jnode **out)
{
    static const char *const ends[] = {"endgeneration", NULL};
    NEW(n, JN_GENERATION, pos);
    TRY(new_macro(p, &n->macro));
    *out = n;
    return macro_body(p, n, ends, pos);
}

static mltf_status parse_scoped(parser *p, jn_kind kind, uint32_t pos, jnode **out)
{
    static const char *const filter_ends[] = {"endfilter", NULL}, *const escape_ends[] = {
                                                                      "endautoescape", NULL};
    NEW(n, kind, pos);
    const size_t from = p->at;
    if (kind == JN_FILTERBLOCK)
        TRY(filter(p, NULL, true, &n->a));
    else
        TRY(expression(p, &n->a));
    track_reads(p, from);
    const bool soft = p->soft;
    p->soft = false;
    const char *end;
    TRY(body_until(p, kind == JN_FILTERBLOCK ? filter_ends : escape_ends, &n->body, &end, pos));
    p->soft = soft;
    *out = n;
    return MLTF_OK;
}

static mltf_status parse_block(parser *p, uint32_t pos, jnode **out)
{
    static const char *const ends[] = {"endblock", NULL};
    NEW(n, JN_BLOCK, pos);
    n->name = CUR(p)->text;
    TRY(expect(p, JT_NAME, "name"));
    n->flag = skip_name(p, "scoped");
    if (is_name(CUR(p), "required"))
        return REFUSE_AT(p, pos,
                         "required blocks need template inheritance, which is not supported");
    const char *end;
    const unsigned loops = p->loops;
    p->loops = 0;
    TRY(body_until(p, ends, &n->body, &end, pos));
    p->loops = loops;
    if (IS(p, JT_NAME) && str_eq(CUR(p)->text, n->name)) next(p);
    *out = n;
    return MLTF_OK;
}

static mltf_status parse_print(parser *p, uint32_t pos, jnode **out)
{
    NEW(n, JN_PRINT, pos);
    const size_t from = p->at;
    while (!IS(p, JT_BLOCK_END)) {
        if (n->list.n) TRY(expect(p, JT_COMMA, ","));
        jnode *value;
        TRY(expression(p, &value));
        TRY(list_add(p, &n->list, value));
    }
    track_reads(p, from);
    *out = n;
    return MLTF_OK;
}

static mltf_status statement(parser *p, jnode **out)
{
    const jtoken *t = CUR(p);
    if (t->type != JT_NAME) return FAIL_AT(p, t->pos, "tag name expected");
    next(p);
    const mltf_str tag = t->text;
    if (str_is(tag, "for")) return parse_for(p, t->pos, out);
    if (str_is(tag, "if")) return parse_if(p, t->pos, out);
    if (str_is(tag, "set")) return parse_set(p, t->pos, out);
    if (str_is(tag, "with")) return parse_with(p, t->pos, out);
    if (str_is(tag, "macro")) return parse_macro(p, t->pos, out);
    if (str_is(tag, "call")) return parse_call_block(p, t->pos, out);
    if (str_is(tag, "generation")) return parse_generation(p, t->pos, out);
    if (str_is(tag, "filter")) return parse_scoped(p, JN_FILTERBLOCK, t->pos, out);
    if (str_is(tag, "autoescape")) return parse_scoped(p, JN_AUTOESCAPE, t->pos, out);
    if (str_is(tag, "block")) return parse_block(p, t->pos, out);
    if (str_is(tag, "print")) return parse_print(p, t->pos, out);
    if (str_is(tag, "break") || str_is(tag, "continue")) {
        if (p->loops == 0) return FAIL_AT(p, t->pos, "'" STR_FMT "' outside loop", STR_ARG(tag));
        NEW(n, str_is(tag, "break") ? JN_BREAK : JN_CONTINUE, t->pos);
        *out = n;
        return MLTF_OK;
    }
    static const char *const refused[] = {"include", "import", "from", "extends",
                                          "trans",   "do",     "debug"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (str_is(tag, refused[i]))
            return REFUSE_AT(p, t->pos, "{%% %s %%} is not supported in chat templates",
                             refused[i]);
    return FAIL_AT(p, t->pos, "Encountered unknown tag '" STR_FMT "'.", STR_ARG(tag));
}

/* Up to a tag among `ends` (NULL: the end of the template), which is consumed up to its "%}" unless it
 * goes on with something ("elif", "else" keep their rest). */
static mltf_status statements(parser *p, const char *const *ends, jlistnode *body, const char **end,
                              uint32_t opened)
{
    TRY(enter(p));
    for (;;) {
        const jtoken *t = CUR(p);
        jnode *n = NULL;
        if (t->type == JT_DATA) {
            next(p);
            n = new_node(p, JN_DATA, t->pos);
            if (!n) return mltf_fail_memory(p->err);
            TRY(const_str(p, n, t->text));
        } else if (t->type == JT_VAR_BEGIN) {
            next(p);
            n = new_node(p, JN_OUTPUT, t->pos);
            if (!n) return mltf_fail_memory(p->err);
            const size_t from = p->at;
            TRY(tuple(p, TUPLE_FULL, NULL, false, &n->a));
            track_reads(p, from);
            TRY(expect(p, JT_VAR_END, "end of print statement"));
        } else if (t->type == JT_BLOCK_BEGIN) {
            next(p);
            for (size_t i = 0; ends && ends[i]; i++)
                if (is_name(CUR(p), ends[i])) {
                    *end = ends[i];
                    next(p);
                    p->depth--;
                    return MLTF_OK;
                }
            TRY(statement(p, &n));
            TRY(expect(p, JT_BLOCK_END, "end of statement block"));
        } else if (t->type == JT_EOF) {
            if (ends) {
                size_t line, column;
                jinja_position(p->t->source, opened, &line, &column);
                return FAIL_AT(p, t->pos,
                               "Unexpected end of template. Jinja was looking for the following "
                               "tags: '%s'. The innermost "
                               "block that needs to be closed was opened in line %zu, column %zu",
                               ends[0], line, column);
            }
            p->depth--;
            return MLTF_OK;
        } else {
            char room[80];
            return FAIL_AT(p, t->pos, "unexpected '%s'", describe(t, room));
        }
        if (n) TRY(list_add(p, body, n));
    }
}

mltf_status jinja_parse(jinja_template *t, const jtoken *tokens, size_t n, mltf_err *err)
{
    parser p = {.t = t, .a = &t->arena, .tok = tokens, .n = n, .err = err};
    TRY(intern(&p, STR("loop"), &t->id_loop));
    return statements(&p, NULL, &t->body, NULL, 0);
}

mltf_status jinja_compile(jinja_template **out, const char *source, size_t n, mltf_err *err)
{
    *out = NULL;
    if (n > JX_MAX_SOURCE)
        return mltf_fail(err, MLTF_UNSUPPORTED,
                         "a chat template of %zu bytes is too long (at most %zu)", n,
                         JX_MAX_SOURCE);
    jinja_template *t = calloc(1, sizeof *t);
    if (!t) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    mltf_buf mended = MLTF_BUF_INIT;
    if (!utf8_valid(source, n)) {
        jinja_mend_utf8(&mended, (mltf_str){source, n});
        source = mended.p;
        n = mended.n;
    }
    char *text = mended.failed ? NULL : arena_alloc_small(&t->arena, n + 1);
    if (!text) {
        st = mltf_fail_memory(err);
        goto done;
    }
    size_t k = 0; // \r\n and \r become \n, and one at the end goes
    for (size_t i = 0; i < n; i++) {
        if (source[i] == '\r') {
            text[k++] = '\n';
            if (i + 1 < n && source[i + 1] == '\n') i++;
        } else {
            text[k++] = source[i];
        }
    }
    if (k && text[k - 1] == '\n') k--;
    text[k] = 0;
    t->source = (mltf_str){text, k};
    jtoken *tokens;
    size_t n_tokens;
    st = jinja_lex(&t->arena, t->source, &tokens, &n_tokens, err);
    if (st == MLTF_OK) st = jinja_parse(t, tokens, n_tokens, err);
done:
    mltf_buf_release(&mended);
    if (st != MLTF_OK) {
        jinja_free(t);
        return st;
    }
    *out = t;
    return MLTF_OK;
}

void jinja_free(jinja_template *t)
{
    if (!t) return;
    arena_release(&t->arena);
    free(t);
}
