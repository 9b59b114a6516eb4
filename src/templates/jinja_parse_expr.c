/* Expressions of templates: recursive descent with the precedences of jinja2/parser.py, from loose to tight
 *
 *     a if c else b | or | and | not | == != < in, not in | + - | ~ | * / // % | ** | unary - + | . [] () | filters, is
 *
 * Easy to get wrong: "~" binds tighter than "+"; "**" is left-associative, and a minus in front of it binds
 * tighter; "-x|f" filters the negated value and "-x.y" negates x before asking for y. A filter that does
 * not exist is an error at once, but inside an {% if %} or a conditional expression only when reached. */
#include "templates/jinja_parser.h"

static mltf_status primary(parser *p, bool with_namespace, jnode **out);
static mltf_status unary(parser *p, bool with_filter, jnode **out);
static mltf_status or_expression(parser *p, jnode **out);

static bool tuple_end(const parser *p, const char *extra)
{
    const uint8_t t = CUR(p)->type;
    return t == JT_VAR_END || t == JT_BLOCK_END || t == JT_RPAREN ||
           (extra && is_name(CUR(p), extra));
}

mltf_status jp_tuple(parser *p, tuple_mode mode, const char *extra_end, bool parentheses,
                     jnode **out)
{
    const uint32_t pos = CUR(p)->pos;
    NEW(t, JN_TUPLE, pos);
    bool is_tuple = false;
    for (;;) {
        if (t->list.n) TRY(jp_expect(p, JT_COMMA, ","));
        if (tuple_end(p, extra_end)) break;
        jnode *item;
        if (mode == TUPLE_FULL)
            TRY(jp_expression(p, &item));
        else if (mode == TUPLE_NO_COND)
            TRY(or_expression(p, &item));
        else
            TRY(primary(p, mode == TUPLE_TARGET, &item));
        TRY(jp_list_add(p, &t->list, item));
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
        return FAIL_AT(p, CUR(p)->pos, "Expected an expression, got '%s'",
                       jp_describe(CUR(p), room));
    *out = t;
    return MLTF_OK;
}

static mltf_status list_literal(parser *p, jnode **out)
{
    NEW(n, JN_LIST, CUR(p)->pos);
    next(p);
    while (!IS(p, JT_RBRACKET)) {
        if (n->list.n) TRY(jp_expect(p, JT_COMMA, ","));
        if (IS(p, JT_RBRACKET)) break;
        jnode *item;
        TRY(jp_expression(p, &item));
        TRY(jp_list_add(p, &n->list, item));
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
        if (n->list.n) TRY(jp_expect(p, JT_COMMA, ","));
        if (IS(p, JT_RBRACE)) break;
        jnode *key, *value;
        TRY(jp_expression(p, &key));
        TRY(jp_expect(p, JT_COLON, ":"));
        TRY(jp_expression(p, &value));
        TRY(jp_list_add(p, &n->list, key));
        TRY(jp_list_add(p, &n->list, value));
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
    return jp_const_str(p, n, text);
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
            TRY(jp_intern(p, t->text, &n->id));
            if (with_namespace && skip(p, JT_DOT)) {
                n->kind = JN_NSREF;
                n->name = CUR(p)->text;
                return jp_expect(p, JT_NAME, "name");
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
        TRY(jp_enter(p));
        TRY(jp_tuple(p, TUPLE_FULL, NULL, true, out));
        p->depth--;
        return jp_expect(p, JT_RPAREN, ")");
    case JT_LBRACKET:
        return list_literal(p, out);
    case JT_LBRACE:
        return dict_literal(p, out);
    case JT_EOF:
        return FAIL_AT(p, t->pos, "unexpected end of template");
    default:
        return FAIL_AT(p, t->pos, "unexpected '%s'", jp_describe(t, room));
    }
}

static mltf_status call_args(parser *p, jcallargs **out)
{
    const uint32_t pos = CUR(p)->pos;
    jcallargs *a = arena_alloc_small(p->a, sizeof *a);
    if (!a) return mltf_fail_memory(p->err);
    memset(a, 0, sizeof *a);
    *out = a;
    TRY(jp_expect(p, JT_LPAREN, "("));
    bool comma = false;
    while (!IS(p, JT_RPAREN)) {
        if (comma) {
            TRY(jp_expect(p, JT_COMMA, ","));
            if (IS(p, JT_RPAREN)) break;
        }
        comma = true;
        jnode *value;
        if (IS(p, JT_MUL)) {
            if (a->star || a->star2)
                return FAIL_AT(p, pos, "invalid syntax for function call expression");
            next(p);
            TRY(jp_expression(p, &a->star));
        } else if (IS(p, JT_POW)) {
            if (a->star2) return FAIL_AT(p, pos, "invalid syntax for function call expression");
            next(p);
            TRY(jp_expression(p, &a->star2));
        } else if (IS(p, JT_NAME) && look(p)->type == JT_ASSIGN) {
            if (a->star2) return FAIL_AT(p, pos, "invalid syntax for function call expression");
            const mltf_str name = CUR(p)->text;
            next(p);
            next(p);
            TRY(jp_expression(p, &value));
            if (!ARENA_RESERVE(p->a, a->kw, a->cap_kw, a->n_kw + 1))
                return mltf_fail_memory(p->err);
            for (size_t i = 0; i < a->n_kw; i++)
                if (str_eq(a->kw[i].name, name))
                    return FAIL_AT(p, pos, "keyword argument repeated: " STR_FMT, STR_ARG(name));
            a->kw[a->n_kw++] = (struct jkwnode){name, value};
        } else {
            if (a->star || a->star2 || a->n_kw)
                return FAIL_AT(p, pos, "invalid syntax for function call expression");
            TRY(jp_expression(p, &value));
            TRY(jp_list_add(p, &a->args, value));
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
        TRY(jp_expression(p, &part[0]));
        if (!IS(p, JT_COLON)) {
            *out = part[0];
            return MLTF_OK;
        }
    }
    for (int i = 1; i < 3 && skip(p, JT_COLON); i++)
        if (!IS(p, JT_COLON) && !IS(p, JT_RBRACKET) && !IS(p, JT_COMMA))
            TRY(jp_expression(p, &part[i]));
    NEW(n, JN_SLICE, pos);
    for (int i = 0; i < 3; i++) TRY(jp_list_add(p, &n->list, part[i]));
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
        if (args->list.n) TRY(jp_expect(p, JT_COMMA, ","));
        jnode *arg = NULL;
        TRY(subscribed(p, &arg));
        TRY(jp_list_add(p, &args->list, arg));
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
    TRY(jp_expect(p, JT_NAME, "name"));
    while (skip(p, JT_DOT)) {
        const char *joined =
            arena_printf(p->a, STR_FMT "." STR_FMT, STR_ARG(*name), STR_ARG(CUR(p)->text));
        if (!joined) return mltf_fail_memory(p->err);
        *name = str_from(joined);
        TRY(jp_expect(p, JT_NAME, "name"));
    }
    return MLTF_OK;
}

mltf_status jp_filter(parser *p, jnode *node, bool start_inline, jnode **out)
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
        TRY(jp_list_add(p, &a->args, arg));
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
    TRY(jp_enter(p));
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
                TRY(jp_filter(p, *out, false, out));
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
    TRY(jp_list_add(p, &n->list, *out));
    while (skip(p, JT_TILDE)) {
        jnode *right;
        TRY(product(p, &right));
        TRY(jp_list_add(p, &n->list, right));
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
        TRY(jp_list_add(p, &n->list, operand));
    }
    if (n->list.n) *out = n;
    return MLTF_OK;
}

static mltf_status not_expression(parser *p, jnode **out)
{
    if (!is_name(CUR(p), "not")) return comparison(p, out);
    TRY(jp_enter(p));
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

mltf_status jp_expression(parser *p, jnode **out)
{
    TRY(jp_enter(p));
    const bool soft = p->soft;
    if (!soft) p->soft = condition_follows(p);
    TRY(or_expression(p, out));
    while (is_name(CUR(p), "if")) {
        p->soft = true;
        NEW(n, JN_COND, CUR(p)->pos);
        next(p);
        n->b = *out;
        TRY(or_expression(p, &n->a));
        if (skip_name(p, "else")) TRY(jp_expression(p, &n->c));
        *out = n;
    }
    p->soft = soft;
    p->depth--;
    return MLTF_OK;
}
