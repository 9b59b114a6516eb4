/* What the two halves of the parser share: jinja_parser.c reads statements, jinja_parse_expr.c expressions. */
#ifndef MLTF_TEMPLATES_JINJA_PARSER_H
#define MLTF_TEMPLATES_JINJA_PARSER_H

#include "templates/jinja_internal.h"

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

#define CUR(p)      (&(p)->tok[(p)->at])
#define IS(p, what) (CUR(p)->type == (what))
#define FAIL_AT(p, pos, ...)                                                                       \
    jinja_syntax_error((p)->err, MLTF_CORRUPT_FILE, (p)->t->source, (pos), __VA_ARGS__)
#define REFUSE_AT(p, pos, ...)                                                                     \
    jinja_syntax_error((p)->err, MLTF_UNSUPPORTED, (p)->t->source, (pos), __VA_ARGS__)

static inline const jtoken *look(const parser *p)
{
    return &p->tok[p->at + 1 < p->n ? p->at + 1 : p->at];
}
static inline void next(parser *p)
{
    if (p->at + 1 < p->n) p->at++;
}
static inline bool skip(parser *p, jt_type type)
{
    if (!IS(p, type)) return false;
    next(p);
    return true;
}
static inline bool is_name(const jtoken *t, const char *name)
{
    return t->type == JT_NAME && str_is(t->text, name);
}
static inline bool skip_name(parser *p, const char *name)
{
    if (!is_name(CUR(p), name)) return false;
    next(p);
    return true;
}

/* ---- jinja_parser.c */

/* "end of statement block", or the token itself. */
const char *jp_describe(const jtoken *t, char room[80]);
mltf_status jp_expect(parser *p, jt_type type, const char *what);
mltf_status jp_enter(parser *p);
jnode *jp_new_node(parser *p, jn_kind kind, uint32_t pos);
mltf_status jp_list_add(parser *p, jlistnode *l, jnode *n);
mltf_status jp_intern(parser *p, mltf_str name, uint32_t *id);
mltf_status jp_const_str(parser *p, jnode *n, mltf_str text);
#define NEW(var, kind, pos)                                                                        \
    jnode *var = jp_new_node(p, kind, pos);                                                        \
    if (!var) return mltf_fail_memory(p->err)

/* ---- jinja_parse_expr.c */

typedef enum { TUPLE_FULL, TUPLE_NO_COND, TUPLE_PRIMARY, TUPLE_TARGET } tuple_mode;

/* a, b, c, or one expression. Targets of assignments are read the same way. */
mltf_status jp_tuple(parser *p, tuple_mode mode, const char *extra_end, bool parentheses,
                     jnode **out);
/* |a|b(1); start_inline: the first one has no pipe. node NULL: the text of a block. */
mltf_status jp_filter(parser *p, jnode *node, bool start_inline, jnode **out);
mltf_status jp_expression(parser *p, jnode **out);

#endif
