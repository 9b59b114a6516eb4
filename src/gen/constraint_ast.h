/* Inside gen/constraint_*: descriptions of a language while they are being compiled.
 *
 * A front end (regex, GBNF, JSON schema) builds trees of ast nodes, some of them as rules that may call each
 * other; constraint_compile() turns them into a recursive transition network over bytes:
 *
 *     state: SET  bytes -> next          a byte of the set moves on
 *            FORK next, other            both, without a byte
 *            CALL rule -> next           go through a rule, then on
 *            END                         of a rule: back to the caller */
#ifndef MLTF_GEN_CONSTRAINT_AST_H
#define MLTF_GEN_CONSTRAINT_AST_H

#include "gen/constraint.h"

#define AST_MANY          UINT32_MAX /* a repetition without upper bound */
#define CONSTRAINT_STATES 400000u    /* of the network: {m,n} is written out */
#define CONSTRAINT_SETS   200000u    /* sets of places that one constraint may learn */
#define CONSTRAINT_PLACES (1u << 22) /* places in all those sets, and ways back from calls */
#define CONSTRAINT_VISITS (1u << 24) /* places that one question may look at: a second or two */
#define CONSTRAINT_DEPTH                                                                           \
    1000u /* of nested calls: deeper than any sane answer; left recursion ends here */

typedef struct byte_set {
    uint64_t w[4];
} byte_set;
static inline bool byte_set_has(const byte_set *s, uint8_t b)
{
    return s->w[b >> 6] >> (b & 63) & 1;
}
static inline void byte_set_add(byte_set *s, uint8_t from, uint8_t to)
{
    for (unsigned b = from; b <= to; b++) s->w[b >> 6] |= (uint64_t)1 << (b & 63);
}

typedef struct ast ast;
typedef enum { AST_EMPTY, AST_NOTHING, AST_SET, AST_SEQ, AST_ALT, AST_REPEAT, AST_RULE } ast_kind;
struct ast {
    ast_kind kind;
    byte_set set; /* SET */
    bool
        marked; /* SET: it opens an array or object whose items have to differ (constraint_unique.h) */
    ast **child; /* [n] SEQ, ALT; [1] REPEAT */
    size_t n, cap;
    uint32_t min, max; /* REPEAT */
    size_t rule;       /* RULE */
};

typedef struct char_range {
    uint32_t from, to; /* code points, both included */
} char_range;
typedef struct char_set {
    char_range r[96];
    size_t n;
} char_set;

/* A builder. Like the arena, it fails stickily: nodes are NULL then, and every call accepts NULL. */
typedef struct ast_builder {
    mltf_arena arena;
    ast **rule; /* [n_rules] bodies; NULL while not given */
    size_t n_rules, cap_rules;
    /* characters stand inside a JSON string: quotes, backslashes, controls are escaped */
    bool json_text;
    char hint[200];   /* why something has no text, should that turn out to be everything */
    size_t dfa_cells; /* of all its text_dfa */
    mltf_err err;     /* the first failure */
} ast_builder;

void ast_fail(ast_builder *b, mltf_status st, const char *fmt, ...) MLTF_PRINTF(3, 4);
bool ast_ok(const ast_builder *b);

ast *ast_empty(ast_builder *b);   /* the empty text */
ast *ast_nothing(ast_builder *b); /* no text at all */
ast *ast_impossible(ast_builder *b, const char *why, ...)
    MLTF_PRINTF(2, 3);                      /* the same, with the reason */
ast *ast_bytes(ast_builder *b, mltf_str s); /* these bytes, as they are */
ast *ast_lit(ast_builder *b, const char *s);
ast *ast_mark(ast_builder *b, const char *bracket);     /* the same byte, marked */
ast *ast_byte_set(ast_builder *b, const byte_set *set); /* one of the bytes, as it is */
ast *ast_char(ast_builder *b, uint32_t cp);             /* a character, escaped where json_text */
ast *ast_chars(ast_builder *b, const char_set *set);    /* one of the characters, in UTF-8 */
ast *ast_seq(ast_builder *b);                           /* then ast_add() */
ast *ast_alt(ast_builder *b);
void ast_add(ast_builder *b, ast *parent, ast *child);
ast *ast_cat(ast_builder *b, ast *x, ast *y);
ast *ast_or(ast_builder *b, ast *x, ast *y);
ast *ast_repeat(ast_builder *b, ast *x, uint32_t min, uint32_t max);
size_t ast_rule_new(ast_builder *b); /* a rule whose body comes later */
void ast_rule_set(ast_builder *b, size_t rule, ast *body);
ast *ast_call(ast_builder *b, size_t rule);

void char_set_add(char_set *s, uint32_t from, uint32_t to);
void char_set_invert(char_set *s);    /* against all scalar values */
void char_set_normalize(char_set *s); /* sorted, merged */

/* Text -> tree. A pattern as gen_constraint_regex() takes it; `search`: unanchored ends are open, as in a
 * JSON schema's pattern. */
ast *regex_parse(ast_builder *b, mltf_str pattern, bool search);

/* The network of rule `root`. Releases the builder in any case. */
mltf_status constraint_compile(gen_constraint **out, const gen_trie *trie, ast_builder *b,
                               size_t root, mltf_err *err);

/* ---- what compile makes and the matcher uses ----------------------------------------------- */

typedef enum { NET_SET, NET_FORK, NET_CALL, NET_END } net_kind;
typedef struct net_state {
    net_kind kind;
    uint32_t next, other; /* FORK: both; CALL: other is the rule's first state */
    uint32_t set;         /* SET: index into sets */
    bool marked;          /* SET: of the tree's */
} net_state;

typedef struct net {
    net_state *states;
    uint32_t n_states;
    byte_set *sets;
    uint32_t n_sets;
    uint8_t byte_class[256]; /* bytes that no set tells apart share a class */
    uint8_t class_byte[256]; /* one of each class */
    unsigned n_classes;
    uint32_t start;
    bool marked; /* some state is */
} net;
void net_release(net *n);
mltf_status constraint_new(gen_constraint **out, const gen_trie *trie, net *n,
                           mltf_err *err); /* takes n */

/* The sets of places that a constraint learns, for those who want all of them (text_dfa.c): numbered from 0, which
 * is the dead one, in the order in which they are met. Not for constraints that others use meanwhile. */
const net *constraint_net(const gen_constraint *c);
uint32_t constraint_start(const gen_constraint *c);
bool constraint_ends(const gen_constraint *c, uint32_t set); /* the text may end here */
uint32_t constraint_places(const gen_constraint *c, uint32_t set);
/* For those who hold the lock: failures show in the caller's report. */
uint32_t constraint_next(const gen_constraint *c, uint32_t set, uint8_t byte);
bool constraint_opens_marked(const gen_constraint *c, uint32_t set, uint8_t byte);
mltf_status constraint_step(uint32_t *to, const gen_constraint *c, uint32_t set, uint8_t byte,
                            mltf_err *err);

/* The trie, in preorder. */
typedef struct trie_node {
    uint32_t end;  /* index behind the node's subtree */
    int32_t token; /* first token that ends here, or -1 */
    uint8_t byte;
} trie_node;
struct gen_trie {
    trie_node *nodes; /* [n] without the root */
    size_t n;
    int32_t *same; /* [vocab] next token of the same bytes, or -1 */
    size_t vocab, longest;
    char **bytes;     /* [vocab] of each token, NULL: none */
    uint32_t *length; /* [vocab] */
    mltf_arena arena;
};

#endif
