/* Inside of the template engine: values, syntax tree, the state of one rendering.
 *
 * Order of the files: jinja_lexer.c (text to tokens), jinja_parser.c and jinja_parse_expr.c (tokens to a tree in an arena),
 * jinja_eval.c (statements, scopes, calls), jinja_expr.c (expressions), jinja_ops.c (operators and
 * subscripts), jinja_value.c (values, equality, order, hashing), jinja_repr.c (str() and repr()),
 * jinja_json.c (tojson, JSON to values), jinja_format.c (% and format()), jinja_strings.c (methods of
 * str), jinja_methods.c (methods of everything else, globals), jinja_filters*.c, jinja_tests.c.
 *
 * What it mirrors: Jinja2 3.1 on Python 3.11, as transformers sets it up (utils/chat_template_utils.py).
 *
 * Memory. A compiled template owns one arena (tree and constants) and is never written again. A
 * rendering has its own arena with a bound, given back at the end; nothing is freed before. All
 * values are immutable but namespaces, cyclers, joiners, iterators and loop objects.
 *
 * Errors. Functions return false after x_fail(); the innermost tree node adds line and column. */
#ifndef MLTF_TEMPLATES_JINJA_INTERNAL_H
#define MLTF_TEMPLATES_JINJA_INTERNAL_H

#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "templates/template.h"

/* Bounds of one rendering. Long chats with tools need some 10^5 steps and a few MB. */
#define JX_DEFAULT_STEPS 10000000u /* about a second of work */
#define JX_MAX_DEPTH     1200u     /* nested evaluations: below 1 MB of stack */
#define JX_MAX_PARSE     160u /* nested brackets or blocks; the reference gives up at some 80 */
#define JX_MAX_VALUE     250u /* nesting of a value that is printed, compared or hashed */
#define JX_ARENA_BYTES   ((size_t)192 << 20) /* beside 16 times the context */
#define JX_MAX_RANGE     100000              /* the sandbox's bound on range() */
#define JX_MAX_SOURCE    ((size_t)4 << 20)   /* the longest known template has 30 KB */

/* ---- values ---------------------------------------------------------------------------------- */

typedef enum {
    JV_UNDEFINED,
    JV_NONE,
    JV_BOOL,
    JV_INT,
    JV_BIGINT, /* from JSON only: can be printed and compared for identity of digits, not computed with */
    JV_FLOAT,
    JV_STR,
    JV_LIST,
    JV_TUPLE,
    JV_DICT,
    JV_RANGE,
    JV_ITER, /* what Python has as generator or iterator: read once */
    JV_VIEW, /* dict.keys(), .values(), .items() */
    JV_NAMESPACE,
    JV_MACRO,
    JV_FUNC,   /* a global function or class */
    JV_METHOD, /* bound to a value */
    JV_LOOP,
    JV_CYCLER,
    JV_JOINER,
    JV_MISSING, /* an argument not given; never seen by templates */
} jv_type;

typedef struct jx jx;
typedef struct jv jv;
typedef struct jnode jnode;

/* Text: UTF-8 (WTF-8 for lone surrogates), immutable. */
typedef struct jstr {
    const char *p;
    size_t n;           /* bytes */
    size_t len;         /* code points */
    struct jgrow *grow; /* where p ends a buffer that may be extended in place, else NULL */
} jstr;

struct jv {
    uint8_t t;   /* jv_type */
    bool markup; /* of a str: markupsafe.Markup, that is, already escaped */
    union {
        bool b;
        int64_t i;
        double d;
        jstr *s;
        struct jlist *l;
        struct jdict *m; /* also the attributes of a namespace */
        struct jrange *r;
        struct jiter *it;
        struct jview *view;
        struct jundef *u;
        struct jmacro *macro;
        const struct jfunc *f;
        struct jbound *bound;
        struct jloop *loop;
        struct jcycler *cycler;
        struct jjoiner *joiner;
    };
};

typedef struct jlist {
    jv *v;
    size_t n, cap;
    bool group; /* a tuple made by groupby: has .grouper and .list */
} jlist;

typedef struct jentry {
    jv key, value;
    uint64_t hash;
} jentry;

typedef struct jdict {
    jentry *e; /* in order of insertion */
    size_t n, cap;
    uint32_t *index; /* open addressing, entry + 1; NULL while small */
    size_t n_index;  /* a power of two */
} jdict;

typedef struct jrange {
    int64_t start, stop, step;
    size_t n;
} jrange;

typedef struct jiter {
    jlist *items;
    size_t at;
    const char *name; /* for messages and repr: "generator" */
} jiter;

typedef struct jview {
    jdict *m;
    char kind; /* 'k', 'v', 'i' */
} jview;

/* Why a value is undefined; the message is made only if it is used. */
typedef struct jundef {
    mltf_str hint;     /* the whole message, or p NULL */
    mltf_str name;     /* of the variable or attribute */
    const char *owner; /* "dict object", or NULL for a variable */
    bool element;      /* name is the repr of a subscript that is not a text */
} jundef;

typedef struct jargs {
    const jv *v;
    size_t n;
    const struct jkwarg {
        mltf_str name;
        jv value;
    } * kw;
    size_t n_kw;
} jargs;

typedef bool (*jfn)(jx *x, jv self, const jargs *args, jv *out);

typedef struct jfunc {
    const char *name;
    jfn fn;
    const char *repr; /* str() of the function object */
} jfunc;

typedef struct jbound {
    jv self;
    const jfunc *f;
} jbound;

typedef struct jcycler {
    jlist *items;
    size_t at;
} jcycler;

typedef struct jjoiner {
    jv sep;
    bool used;
} jjoiner;

/* ---- tree ------------------------------------------------------------------------------------ */

typedef enum {
    // expressions
    JN_CONST,
    JN_NAME,   /* id */
    JN_TUPLE,  /* list */
    JN_LIST,   /* list */
    JN_DICT,   /* list: key, value, key, value … */
    JN_ATTR,   /* a.name */
    JN_ITEM,   /* a[b] */
    JN_SLICE,  /* list of 3, each may be NULL; only below JN_ITEM */
    JN_CALL,   /* a(args) */
    JN_FILTER, /* a|name(args); a NULL: the text of the block */
    JN_TEST,   /* a is name(args) */
    JN_COND,   /* b if a else c (c may be NULL) */
    JN_OR,
    JN_AND,
    JN_NOT,
    JN_NEG,
    JN_POS,
    JN_BINARY,  /* op */
    JN_COMPARE, /* a, then list of JN_OPERAND */
    JN_OPERAND, /* op, a */
    JN_CONCAT,  /* list */
    // targets
    JN_NSREF, /* id.name */
    // statements
    JN_DATA,        /* value */
    JN_OUTPUT,      /* a */
    JN_PRINT,       /* list */
    JN_FOR,         /* a target, b iterable, c test or NULL, body, orelse; flag: recursive */
    JN_IF,          /* a, body, orelse (an elif is a JN_IF alone in orelse) */
    JN_SET,         /* a target, b value */
    JN_SETBLOCK,    /* a target, b filter chain or NULL, body */
    JN_WITH,        /* list: target, value, target, value …; body */
    JN_MACRO,       /* id, macro, body */
    JN_CALLBLOCK,   /* a the call, macro, body */
    JN_FILTERBLOCK, /* a, body */
    JN_AUTOESCAPE,  /* a, body */
    JN_GENERATION,  /* body, macro */
    JN_BLOCK,       /* name, body; flag: scoped */
    JN_SCOPE,
    JN_BREAK,
    JN_CONTINUE,
} jn_kind;

typedef enum {
    JO_ADD,
    JO_SUB,
    JO_MUL,
    JO_DIV,
    JO_FLOORDIV,
    JO_MOD,
    JO_POW,
    JO_EQ,
    JO_NE,
    JO_LT,
    JO_LE,
    JO_GT,
    JO_GE,
    JO_IN,
    JO_NOTIN,
} jop;

typedef struct jlistnode {
    jnode **v;
    size_t n, cap;
} jlistnode;

typedef struct jcallargs {
    jlistnode args;
    struct jkwnode {
        mltf_str name;
        jnode *value;
    } * kw;
    size_t n_kw, cap_kw;
    jnode *star, *star2; /* *args, **kwargs */
} jcallargs;

/* Parameters of a macro or a call block. */
typedef struct jmacrodef {
    uint32_t *param; /* name ids [n] */
    mltf_str *param_name;
    size_t n, cap;
    jlistnode defaults; /* of the last ones */
    mltf_str name;      /* p NULL: a call block */
    bool uses_caller, uses_kwargs, uses_varargs, explicit_caller;
    uint32_t id_caller, id_kwargs, id_varargs;
} jmacrodef;

struct jnode {
    uint8_t kind, op;
    bool flag;
    uint32_t id;  /* of a name */
    uint32_t pos; /* byte in the source */
    mltf_str name;
    jv value;
    jnode *a, *b, *c;
    jlistnode list;
    jlistnode body, orelse;
    jcallargs *args;
    jmacrodef *macro;
    const void *fn; /* of a filter or a test, found while parsing */
};

struct jinja_template {
    mltf_arena arena;
    mltf_str source; /* line ends normalized */
    jlistnode body;
    mltf_str *names; /* [n_names] by id */
    size_t n_names;
    uint32_t id_loop;
};

/* ---- tokens ---------------------------------------------------------------------------------- */

typedef enum {
    JT_EOF,
    JT_DATA,
    JT_BLOCK_BEGIN,
    JT_BLOCK_END,
    JT_VAR_BEGIN,
    JT_VAR_END,
    JT_NAME,
    JT_STRING,
    JT_INT,
    JT_FLOAT,
    JT_ADD,
    JT_SUB,
    JT_MUL,
    JT_DIV,
    JT_FLOORDIV,
    JT_MOD,
    JT_POW,
    JT_TILDE,
    JT_LBRACKET,
    JT_RBRACKET,
    JT_LPAREN,
    JT_RPAREN,
    JT_LBRACE,
    JT_RBRACE,
    JT_EQ,
    JT_NE,
    JT_GT,
    JT_GE,
    JT_LT,
    JT_LE,
    JT_ASSIGN,
    JT_DOT,
    JT_COLON,
    JT_PIPE,
    JT_COMMA,
    JT_SEMICOLON,
} jt_type;

typedef struct jtoken {
    uint8_t type;
    uint32_t pos;
    mltf_str text; /* name, data or unescaped string */
    union {
        int64_t i;
        double d;
    };
} jtoken;

/* source must be normalized already. tokens end with JT_EOF. */
mltf_status jinja_lex(mltf_arena *a, mltf_str source, jtoken **tokens, size_t *n, mltf_err *err);
mltf_status jinja_syntax_error(mltf_err *err, mltf_status st, mltf_str source, uint32_t pos,
                               const char *fmt, ...) MLTF_PRINTF(5, 6);
void jinja_position(mltf_str source, uint32_t pos, size_t *line, size_t *column);

/* ---- one rendering --------------------------------------------------------------------------- */

typedef struct jvar {
    uint32_t id;
    jv value;
} jvar;

typedef struct jscope {
    struct jscope *up;
    jvar *v;
    uint32_t n;
    size_t cap;
    bool captured; /* a macro refers to it: must not be used again */
} jscope;

typedef struct jmacro {
    const jmacrodef *def;
    const jlistnode *body;
    jscope *scope;
} jmacro;

/* Where a for loop gets its items; pulled one by one, because the test may depend on the body. */
typedef struct jsource {
    jv seq;
    size_t at, n; /* n: of list-like ones */
    const jnode *test, *target;
    jscope *test_scope, *outer;
} jsource;

typedef struct jloop {
    jsource src;
    int64_t index0;
    jv before, current, after;
    bool has_after, ended, sized;
    size_t length;
    jv changed;             /* tuple of the last call, or JV_MISSING */
    const jnode *recursive; /* the for statement, or NULL */
    jscope *scope;          /* around it */
    int64_t depth0;
} jloop;

struct jx {
    const jinja_template *t;
    mltf_arena arena;
    mltf_buf out;                   /* all captured text lies behind what is already written */
    size_t capture_depth, root_len; /* root_len: written by the root when the capture began */
    bool root_written;
    bool autoescape;
    size_t steps, depth;
    jv *context; /* [n_names] value by id: variables and globals, JV_MISSING where none */
    jscope *root;
    int64_t now;
    uint64_t seed; /* of hashes */
    uint64_t random;
    struct jinja_span *spans;
    size_t n_spans, cap_spans;
    // the error
    bool failed;
    mltf_status status;
    const jnode *where;
    bool bare; /* the message of raise_exception: goes out as it is */
    char msg[900];
};

bool x_fail(jx *x, const char *fmt, ...) MLTF_PRINTF(2, 3); /* BAD_REQUEST */
bool x_unsupported(jx *x, const char *fmt, ...) MLTF_PRINTF(2, 3);
bool x_fail_memory(jx *x);
bool x_step(jx *x, size_t steps); /* false when the budget is spent */
bool x_enter(jx *x);              /* one level deeper; x->depth-- on the way back */

/* jinja_value.c */
#define JV(type) ((jv){.t = (type)})
static inline jv jv_none(void)
{
    return JV(JV_NONE);
}
static inline jv jv_bool(bool b)
{
    return (jv){.t = JV_BOOL, .b = b};
}
static inline jv jv_int(int64_t i)
{
    return (jv){.t = JV_INT, .i = i};
}
static inline jv jv_float(double d)
{
    return (jv){.t = JV_FLOAT, .d = d};
}
static inline bool jv_is_int(jv v)
{
    return v.t == JV_INT || v.t == JV_BOOL;
} /* bool is an int in Python */
static inline int64_t jv_as_int(jv v)
{
    return v.t == JV_BOOL ? v.b : v.i;
}
static inline bool jv_is_number(jv v)
{
    return jv_is_int(v) || v.t == JV_FLOAT;
}
static inline double jv_as_double(jv v)
{
    return v.t == JV_FLOAT ? v.d : (double)jv_as_int(v);
}
static inline mltf_str jv_text(jv v)
{
    return (mltf_str){v.s->p, v.s->n};
}
bool jv_str(jx *x, mltf_str s, jv *out);                                 /* copies */
bool jv_str_borrow(jx *x, const char *p, size_t n, size_t len, jv *out); /* p stays */
bool jv_cstr(jx *x, const char *s, jv *out);
bool jv_concat(jx *x, jv a, jv b, jv *out); /* two texts; amortized when appending */
bool jv_list(jx *x, jv_type type, size_t cap, jv *out);
bool jv_push(jx *x, jv list, jv item);
bool jv_dict(jx *x, size_t cap, jv *out);
bool jv_dict_set(jx *x, jdict *m, jv key, jv value); /* fails for unhashable keys */
bool jv_dict_get(jx *x, const jdict *m, jv key, jv *out, bool *found);
const jv *jv_dict_find(jx *x, const jdict *m, mltf_str key); /* NULL if absent */
bool jv_iter(jx *x, jv list, const char *name, jv *out);
bool jv_undefined_name(jx *x, mltf_str name, jv *out);
bool jv_undefined_hint(jx *x, const char *hint, jv *out);
bool jv_undefined_attr(jx *x, jv owner, jv key, jv *out);
bool jv_undefined_unsafe(jx *x, jv owner, mltf_str name, jv *out);
bool jv_use_undefined(jx *x, jv v); /* always false: the error of using it */
bool jv_truth(jv v);
bool jv_equal(jx *x, jv a, jv b, bool *out);
bool jv_same(jv a, jv b); /* `is` */
bool jv_compare(jx *x, jop op, jv a, jv b, bool *out);
bool jv_contains(jx *x, jv item, jv container, bool *out);
bool jv_hash(jx *x, jv v, uint64_t *out);
bool jv_length(jx *x, jv v, size_t *out); /* len() */
bool jv_has_length(jv v);
bool jv_to_list(jx *x, jv v, jv *out); /* list(v) */
bool jv_is_iterable(jv v);
const char *jv_type_name(jv v);                  /* Python's type(v).__name__ */
const char *jv_object_name(jv v);                /* "dict object", "None" */
size_t jstr_offset(const jstr *s, size_t index); /* byte of the code point `index` <= len */
bool jv_char_at(jx *x, jv s, size_t index, jv *out);
bool jv_substr(jx *x, jv s, size_t from, size_t to, jv *out);     /* bytes */
bool jv_escape(jx *x, jv v, jv *out);                             /* markupsafe.escape() */
bool jv_sort(jx *x, jv *keys, jv *items, size_t n, bool reverse); /* stable, by keys */

/* jinja_repr.c */
bool jv_put_str(jx *x, mltf_buf *b, jv v, unsigned depth);
bool jv_put_repr(jx *x, mltf_buf *b, jv v, unsigned depth);
bool jv_to_str(jx *x, jv v, jv *out);          /* soft_str(): a text stays itself */
bool jv_take_buf(jx *x, mltf_buf *b, jv *out); /* the text of b as a value; releases b */
const char *jv_show(jx *x, jv v);              /* repr() cut to some 60 bytes, for messages */
void jinja_put_float(mltf_buf *b, double d);

/* jinja_json.c */
/* Appends s with what is not UTF-8 turned into U+FFFD, so that the engine may walk all text without checks. Lone
 * surrogates, which JSON can spell, stay. */
void jinja_mend_utf8(mltf_buf *b, mltf_str s);
bool jv_from_json(jx *x, const json *j, unsigned depth, jv *out);
bool jf_tojson(jx *x, jv self, const jargs *a, jv *out);

/* jinja_ops.c */
bool jv_binary(jx *x, jop op, jv a, jv b, jv *out);
bool jv_unary(jx *x, bool negative, jv a, jv *out);
bool jv_getattr(jx *x, jv obj, mltf_str name, jv *out);
bool jv_getitem(jx *x, jv obj, jv key, jv *out);
bool jv_slice(jx *x, jv obj, jv from, jv to, jv step, jv *out);
bool jv_attribute_path(jx *x, jv item, jv path, jv dflt,
                       jv *out); /* "a.b.0"; dflt JV_MISSING: none */

/* jinja_format.c */
bool jv_percent(jx *x, jv format, jv args, jv *out);
bool jv_format(jx *x, jv format, const jargs *args, jv *out);

/* jinja_eval.c */
bool x_call(jx *x, jv callee, const jargs *args, jv *out);
bool x_assign(jx *x, jscope *s, const jnode *target, jv value);
bool x_scope_set(jx *x, jscope *s, uint32_t id, jv value);
jscope *x_scope_new(jx *x, jscope *up);
bool x_source_next(jx *x, jsource *s, jv *item, bool *got);
bool x_source_init(jx *x, jsource *s, jv seq);
bool x_loop_length(jx *x, jloop *l, size_t *n);
bool x_loop_peek(jx *x, jloop *l, bool *got);
bool x_run_loop(jx *x, const jnode *n, jv seq, jscope *outer, int64_t depth0);

/* jinja_expr.c */
bool x_eval(jx *x, jscope *s, const jnode *n, jv *out);
bool x_eval_filter(jx *x, jscope *s, const jnode *n, const jv *block_text, jv *out);
bool x_eval_call(jx *x, jscope *s, const jnode *n, const jv *caller, jv *out);

/* jinja_methods.c and jinja_strings.c: the attribute `name` of a value; *found false if it has none.
 * *unsafe is set for those that the sandbox hides. */
bool jv_find_attribute(jx *x, jv obj, mltf_str name, jv *out, bool *found, bool *unsafe);
const jfunc *jinja_str_method(mltf_str name);
const jfunc *jinja_global(size_t i); /* NULL past the last */

/* jinja_filters.c, jinja_tests.c */
typedef struct jfilter {
    const char *name;
    jfn fn; /* self is the value */
    /* "width,first,blank": names of the further parameters; NULL: takes what it wants */
    const char *params;
    uint8_t min, max; /* how many of them */
} jfilter;
const jfilter *jinja_find_in(const jfilter *table,
                             mltf_str name); /* a table that ends without a name */
const jfilter *jinja_find_filter(mltf_str name);
const jfilter *jinja_find_test(mltf_str name);
bool jinja_apply(jx *x, const jfilter *f, jv self, const jargs *args, jv *out);

/* Arguments by position and by name into slots[max]; JV_MISSING where not given. params as in jfilter. */
bool jinja_bind(jx *x, const char *fname, const char *params, unsigned min, unsigned max,
                const jargs *args, jv *slots);

#endif
