/* Tokens to a syntax tree: the parser's tools, targets and statements. */
#include "templates/jinja_parser.h"

#include <stdlib.h>

#include "base/utf8.h"

static mltf_status statements(parser *p, const char *const *ends, jlistnode *body, const char **end,
                              uint32_t opened);

const char *jp_describe(const jtoken *t, char room[80])
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

mltf_status jp_expect(parser *p, jt_type type, const char *what)
{
    char room[80];
    if (!IS(p, type)) {
        if (IS(p, JT_EOF))
            return FAIL_AT(p, CUR(p)->pos, "unexpected end of template, expected '%s'", what);
        return FAIL_AT(p, CUR(p)->pos, "expected token '%s', got '%s'", what,
                       jp_describe(CUR(p), room));
    }
    next(p);
    return MLTF_OK;
}

mltf_status jp_enter(parser *p)
{
    if (++p->depth > JX_MAX_PARSE * 4)
        return FAIL_AT(p, CUR(p)->pos, "the template is nested too deeply");
    return MLTF_OK;
}

jnode *jp_new_node(parser *p, jn_kind kind, uint32_t pos)
{
    jnode *n = arena_alloc_small(p->a, sizeof *n);
    if (!n) return NULL;
    memset(n, 0, sizeof *n);
    n->kind = (uint8_t)kind;
    n->pos = pos;
    return n;
}

mltf_status jp_list_add(parser *p, jlistnode *l, jnode *n)
{
    if (!ARENA_RESERVE(p->a, l->v, l->cap, l->n + 1)) return mltf_fail_memory(p->err);
    l->v[l->n++] = n;
    return MLTF_OK;
}

static uint32_t name_hash(mltf_str s)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < s.n; i++) h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h ^ h >> 15;
}

mltf_status jp_intern(parser *p, mltf_str name, uint32_t *id)
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

mltf_status jp_const_str(parser *p, jnode *n, mltf_str text)
{
    jstr *s = arena_alloc_small(p->a, sizeof *s);
    if (!s) return mltf_fail_memory(p->err);
    size_t len = 0;
    for (size_t i = 0; i < text.n; i++) len += ((unsigned char)text.p[i] & 0xc0) != 0x80;
    *s = (jstr){.p = text.p, .n = text.n, .len = len};
    n->value = (jv){.t = JV_STR, .s = s};
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
    TRY(jp_tuple(p, with_namespace ? TUPLE_TARGET : TUPLE_PRIMARY, extra_end, false, out));
    return check_target(p, *out);
}

static mltf_status name_target(parser *p, mltf_str *name, uint32_t *id)
{
    const jtoken *t = CUR(p);
    TRY(jp_expect(p, JT_NAME, "name"));
    static const char *const constants[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < 6; i++)
        if (str_is(t->text, constants[i])) return FAIL_AT(p, t->pos, "can't assign to 'name'");
    *name = t->text;
    return jp_intern(p, t->text, id);
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
    TRY(jp_expect(p, JT_BLOCK_END, "end of statement block"));
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
        return FAIL_AT(p, CUR(p)->pos, "expected token 'in', got '%s'", jp_describe(CUR(p), room));
    }
    size_t from = p->at;
    TRY(jp_tuple(p, TUPLE_NO_COND, "recursive", false, &n->b));
    if (skip_name(p, "if")) TRY(jp_expression(p, &n->c));
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
        TRY(jp_tuple(p, TUPLE_NO_COND, NULL, false, &n->a));
        track_reads(p, from);
        if (last)
            TRY(jp_list_add(p, &last->orelse, n));
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
        TRY(jp_tuple(p, TUPLE_FULL, NULL, false, &n->b));
        track_reads(p, from);
        for (size_t i = at; i < from; i++)
            if (p->tok[i].type == JT_NAME) track(p, p->tok[i].text, true);
        return MLTF_OK;
    }
    for (size_t i = at; i < p->at; i++)
        if (p->tok[i].type == JT_NAME) track(p, p->tok[i].text, true);
    n->kind = JN_SETBLOCK;
    const size_t from = p->at;
    TRY(jp_filter(p, NULL, false, &n->b));
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
        if (n->list.n) TRY(jp_expect(p, JT_COMMA, ","));
        jnode *name, *value;
        TRY(target(p, false, NULL, &name));
        TRY(jp_expect(p, JT_ASSIGN, "="));
        const size_t from = p->at;
        TRY(jp_expression(p, &value));
        track_reads(p, from);
        TRY(jp_list_add(p, &n->list, name));
        TRY(jp_list_add(p, &n->list, value));
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
    TRY(jp_expect(p, JT_LPAREN, "("));
    while (!IS(p, JT_RPAREN)) {
        if (m->n) TRY(jp_expect(p, JT_COMMA, ","));
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
            TRY(jp_expression(p, &value));
            TRY(jp_list_add(p, &m->defaults, value));
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
    TRY(jp_intern(p, STR("caller"), &m->id_caller));
    TRY(jp_intern(p, STR("kwargs"), &m->id_kwargs));
    TRY(jp_intern(p, STR("varargs"), &m->id_varargs));
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
    TRY(jp_expression(p, &n->a));
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
        TRY(jp_filter(p, NULL, true, &n->a));
    else
        TRY(jp_expression(p, &n->a));
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
    TRY(jp_expect(p, JT_NAME, "name"));
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
        if (n->list.n) TRY(jp_expect(p, JT_COMMA, ","));
        jnode *value;
        TRY(jp_expression(p, &value));
        TRY(jp_list_add(p, &n->list, value));
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
    TRY(jp_enter(p));
    for (;;) {
        const jtoken *t = CUR(p);
        jnode *n = NULL;
        if (t->type == JT_DATA) {
            next(p);
            n = jp_new_node(p, JN_DATA, t->pos);
            if (!n) return mltf_fail_memory(p->err);
            TRY(jp_const_str(p, n, t->text));
        } else if (t->type == JT_VAR_BEGIN) {
            next(p);
            n = jp_new_node(p, JN_OUTPUT, t->pos);
            if (!n) return mltf_fail_memory(p->err);
            const size_t from = p->at;
            TRY(jp_tuple(p, TUPLE_FULL, NULL, false, &n->a));
            track_reads(p, from);
            TRY(jp_expect(p, JT_VAR_END, "end of print statement"));
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
            TRY(jp_expect(p, JT_BLOCK_END, "end of statement block"));
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
            return FAIL_AT(p, t->pos, "unexpected '%s'", jp_describe(t, room));
        }
        if (n) TRY(jp_list_add(p, body, n));
    }
}

static mltf_status parse_template(jinja_template *t, const jtoken *tokens, size_t n, mltf_err *err)
{
    parser p = {.t = t, .a = &t->arena, .tok = tokens, .n = n, .err = err};
    TRY(jp_intern(&p, STR("loop"), &t->id_loop));
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
    if (st == MLTF_OK) st = parse_template(t, tokens, n_tokens, err);
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
