/* Matching: sets of places in the network, learned as they are met.
 *
 * A place is (state, stack of states to return to); stacks share their tails and are numbered, so a place is two
 * numbers. A set holds only places that wait for a byte, sorted; FORK, CALL and END are followed when it is made
 * (close_over). Sets are numbered too: set 0 is the dead one. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "gen/constraint_ast.h"
#include "gen/constraint_unique.h"

#define UNKNOWN UINT32_MAX
#define DEAD    0u
#define KEPT_MASKS                                                                                 \
    4096u /* sets whose tokens are remembered: 19 kB each at a vocabulary of 150000 */

typedef struct place {
    uint32_t state, stack;
} place;

/* A place that was met while a set is made; of an earlier set if the stamp is another. */
typedef struct seen_place {
    place at;
    uint32_t stamp;
} seen_place;

typedef struct stack_node {
    uint32_t state, below, depth;
} stack_node;

typedef struct place_set {
    place *places; /* [n] sorted */
    uint32_t n;
    bool complete; /* the text may end here */
    uint32_t *
        next; /* [n_classes] set behind a byte of the class, UNKNOWN while not asked for; or NULL */
    uint64_t *tokens; /* [(vocab + 63) / 64] or NULL */
} place_set;

/* Everything that grows with use. */
typedef struct learned {
    pthread_mutex_t lock;
    mltf_arena arena;
    stack_node *stacks; /* [n_stacks]; 0 is the empty one */
    uint32_t n_stacks;
    size_t cap_stacks;
    uint32_t *stack_table, stack_table_size; /* open addressing, 0 empty */
    place_set *sets;
    uint32_t n_sets, n_places; /* in all of them */
    size_t cap_sets;
    uint32_t *set_table, set_table_size; /* number + 1, 0 empty */
    uint32_t n_masks;
    /* scratch of close_over */
    place *work, *found;
    uint32_t n_work, n_found;
    size_t cap_work, cap_found;
    seen_place *seen; /* [seen_size] open addressing */
    uint32_t seen_size, n_seen, stamp;
    uint32_t visits; /* of the call in progress */
    uint64_t *mask;
    mltf_status failed; /* of the call in progress */
} learned;

struct gen_constraint {
    net net;
    const gen_trie *trie;
    learned *l;
    uint32_t start;
};

struct gen_matcher {
    const gen_constraint *c;
    uint32_t set;
    unique_text *unique; /* NULL: nothing has to differ */
};

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

/* ---- stacks -------------------------------------------------------------------------------- */

static bool rehash_stacks(learned *l)
{
    const uint32_t size = l->stack_table_size ? l->stack_table_size * 2 : 256;
    uint32_t *t = calloc(size, sizeof *t);
    if (!t) return false;
    for (uint32_t i = 1; i < l->n_stacks; i++) {
        uint32_t h = (uint32_t)mix(l->stacks[i].state, l->stacks[i].below) & (size - 1);
        while (t[h]) h = (h + 1) & (size - 1);
        t[h] = i;
    }
    free(l->stack_table);
    l->stack_table = t;
    l->stack_table_size = size;
    return true;
}

static uint32_t stack_push(learned *l, uint32_t state, uint32_t below)
{
    if (l->stacks[below].depth >= CONSTRAINT_DEPTH) {
        l->failed = MLTF_UNSUPPORTED;
        return 0;
    }
    if (l->n_stacks * 2 >= l->stack_table_size && !rehash_stacks(l)) goto memory;
    const uint32_t mask = l->stack_table_size - 1;
    uint32_t h = (uint32_t)mix(state, below) & mask;
    for (; l->stack_table[h]; h = (h + 1) & mask) {
        const stack_node *s = &l->stacks[l->stack_table[h]];
        if (s->state == state && s->below == below) return l->stack_table[h];
    }
    if (l->n_stacks >= CONSTRAINT_PLACES) {
        l->failed = MLTF_UNSUPPORTED;
        return 0;
    }
    if (!ARRAY_RESERVE(l->stacks, l->cap_stacks, l->n_stacks + 1)) goto memory;
    l->stacks[l->n_stacks] = (stack_node){state, below, l->stacks[below].depth + 1};
    l->stack_table[h] = l->n_stacks;
    return l->n_stacks++;
memory:
    l->failed = MLTF_NO_MEMORY;
    return 0;
}

/* ---- sets ---------------------------------------------------------------------------------- */

static bool grow_seen(learned *l)
{
    const uint32_t size = l->seen_size ? l->seen_size * 2 : 256;
    seen_place *t = calloc(size, sizeof *t);
    if (!t) return false;
    for (uint32_t i = 0; i < l->seen_size; i++) {
        const seen_place *p = &l->seen[i];
        if (p->stamp != l->stamp) continue;
        uint32_t h = (uint32_t)mix(p->at.state, p->at.stack) & (size - 1);
        while (t[h].stamp) h = (h + 1) & (size - 1);
        t[h] = *p;
    }
    free(l->seen);
    l->seen = t;
    l->seen_size = size;
    return true;
}

/* Note a place as to be looked at, unless it was already. */
static void visit(learned *l, uint32_t state, uint32_t stack)
{
    if (l->failed) return;
    if (++l->visits > CONSTRAINT_VISITS) {
        l->failed = MLTF_UNSUPPORTED;
        return;
    }
    if (l->n_seen * 2 >= l->seen_size && !grow_seen(l)) goto memory;
    uint32_t h = (uint32_t)mix(state, stack) & (l->seen_size - 1);
    for (; l->seen[h].stamp == l->stamp; h = (h + 1) & (l->seen_size - 1))
        if (l->seen[h].at.state == state && l->seen[h].at.stack == stack) return;
    if (!ARRAY_RESERVE(l->work, l->cap_work, l->n_work + 1)) goto memory;
    l->seen[h] = (seen_place){{state, stack}, l->stamp};
    l->n_seen++;
    l->work[l->n_work++] = (place){state, stack};
    return;
memory:
    l->failed = MLTF_NO_MEMORY;
}

static void begin_set(learned *l)
{
    l->n_work = l->n_found = l->n_seen = 0;
    if (++l->stamp == 0) { // all stamps were used: none may be taken for a new one
        memset(l->seen, 0, l->seen_size * sizeof *l->seen);
        l->stamp = 1;
    }
}

static int compare_places(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->state != y->state) return x->state < y->state ? -1 : 1;
    return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static bool rehash_sets(learned *l);

static uint64_t hash_set(const place *p, uint32_t n, bool complete)
{
    uint64_t h = complete;
    for (uint32_t i = 0; i < n; i++) h = mix(h, (uint64_t)p[i].state << 32 | p[i].stack);
    return h;
}

/* The number of the set of what was found. */
static uint32_t intern(learned *l, bool complete)
{
    if (l->n_found) qsort(l->found, l->n_found, sizeof *l->found, compare_places);
    if (l->n_sets * 2 >= l->set_table_size && !rehash_sets(l)) goto memory;
    const uint32_t mask = l->set_table_size - 1;
    uint32_t h = (uint32_t)hash_set(l->found, l->n_found, complete) & mask;
    for (; l->set_table[h]; h = (h + 1) & mask) {
        const place_set *s = &l->sets[l->set_table[h] - 1];
        if (s->n == l->n_found && s->complete == complete &&
            (s->n == 0 || memcmp(s->places, l->found, s->n * sizeof *s->places) == 0))
            return l->set_table[h] - 1;
    }
    if (l->n_sets >= CONSTRAINT_SETS || l->n_found > CONSTRAINT_PLACES - l->n_places) {
        l->failed = MLTF_UNSUPPORTED;
        return DEAD;
    }
    place *copy = arena_alloc_small(&l->arena, (l->n_found + 1) * sizeof *copy);
    if (!copy || !ARRAY_RESERVE(l->sets, l->cap_sets, l->n_sets + 1)) goto memory;
    if (l->n_found) memcpy(copy, l->found, l->n_found * sizeof *copy);
    l->sets[l->n_sets] = (place_set){.places = copy, .n = l->n_found, .complete = complete};
    l->set_table[h] = l->n_sets + 1;
    l->n_places += l->n_found;
    return l->n_sets++;
memory:
    l->failed = MLTF_NO_MEMORY;
    return DEAD;
}

static bool rehash_sets(learned *l)
{
    const uint32_t size = l->set_table_size ? l->set_table_size * 2 : 256;
    uint32_t *t = calloc(size, sizeof *t);
    if (!t) return false;
    for (uint32_t i = 0; i < l->n_sets; i++) {
        uint32_t h =
            (uint32_t)hash_set(l->sets[i].places, l->sets[i].n, l->sets[i].complete) & (size - 1);
        while (t[h]) h = (h + 1) & (size - 1);
        t[h] = i + 1;
    }
    free(l->set_table);
    l->set_table = t;
    l->set_table_size = size;
    return true;
}

/* Follow everything that takes no byte from the places visited; the set of those that wait for one. */
static uint32_t close_over(const gen_constraint *c)
{
    learned *l = c->l;
    bool complete = false;
    while (l->n_work && !l->failed) {
        const place p = l->work[--l->n_work];
        const net_state *s = &c->net.states[p.state];
        switch (s->kind) {
        case NET_SET:
            if (!ARRAY_RESERVE(l->found, l->cap_found, l->n_found + 1)) {
                l->failed = MLTF_NO_MEMORY;
                break;
            }
            l->found[l->n_found++] = p;
            break;
        case NET_FORK:
            visit(l, s->next, p.stack);
            visit(l, s->other, p.stack);
            break;
        case NET_CALL: // a call at the end of a rule needs no way back
            visit(l, s->other,
                  c->net.states[s->next].kind == NET_END ? p.stack
                                                         : stack_push(l, s->next, p.stack));
            break;
        case NET_END:
            if (p.stack == 0)
                complete = true;
            else
                visit(l, l->stacks[p.stack].state, l->stacks[p.stack].below);
            break;
        }
    }
    return l->failed ? DEAD : intern(l, complete);
}

static uint32_t step(const gen_constraint *c, uint32_t set, uint8_t byte)
{
    learned *l = c->l;
    const uint8_t class = c->net.byte_class[byte];
    if (set == DEAD) return DEAD;
    if (!l->sets[set].next) {
        uint32_t *next = arena_alloc_small(&l->arena, c->net.n_classes * sizeof *next);
        if (!next) {
            l->failed = MLTF_NO_MEMORY;
            return DEAD;
        }
        for (unsigned i = 0; i < c->net.n_classes; i++) next[i] = UNKNOWN;
        l->sets[set].next = next;
    }
    if (l->sets[set].next[class] != UNKNOWN) return l->sets[set].next[class];
    begin_set(l);
    l->visits += l->sets[set].n;
    for (uint32_t i = 0; i < l->sets[set].n; i++) {
        const place p = l->sets[set].places[i];
        const net_state *s = &c->net.states[p.state];
        if (byte_set_has(&c->net.sets[s->set], byte)) visit(l, s->next, p.stack);
    }
    const uint32_t to = close_over(c);
    if (!l->failed) l->sets[set].next[class] = to;
    return to;
}

static mltf_status report(learned *l, mltf_err *err)
{
    const mltf_status st = l->failed;
    l->failed = MLTF_OK;
    if (st == MLTF_NO_MEMORY) return mltf_fail_memory(err);
    if (st)
        return mltf_fail(
            err, st, "the constraint is too ambiguous, nested deeper than %u, or left-recursive",
            CONSTRAINT_DEPTH);
    return MLTF_OK;
}

/* The tokens that may follow a set, as bits: one walk over the trie. */
static const uint64_t *tokens_of(const gen_constraint *c, uint32_t set)
{
    learned *l = c->l;
    const gen_trie *t = c->trie;
    const size_t words = (t->vocab + 63) / 64;
    if (l->sets[set].tokens) return l->sets[set].tokens;
    uint64_t *mask =
        l->n_masks < KEPT_MASKS ? arena_calloc(&l->arena, words + 1, sizeof *mask) : l->mask;
    uint32_t *ends = malloc((t->longest + 1) * 2 * sizeof *ends),
             *at = ends ? ends + t->longest + 1 : NULL;
    if (!mask || !ends) {
        free(ends);
        l->failed = MLTF_NO_MEMORY;
        return l->mask;
    }
    memset(mask, 0, words * sizeof *mask);
    size_t depth = 0;
    for (uint32_t i = 0; i < t->n && !l->failed;) {
        while (depth && i >= ends[depth - 1]) depth--;
        const trie_node *n = &t->nodes[i];
        const uint32_t next = step(c, depth ? at[depth - 1] : set, n->byte);
        if (next == DEAD) {
            i = n->end;
            continue;
        }
        for (int32_t id = n->token; id >= 0; id = t->same[id])
            mask[id >> 6] |= (uint64_t)1 << (id & 63);
        ends[depth] = n->end;
        at[depth++] = next;
        i++;
    }
    free(ends);
    if (l->n_masks < KEPT_MASKS && !l->failed) {
        l->sets[set].tokens = mask;
        l->n_masks++;
    }
    return mask;
}

/* ---- the constraint ------------------------------------------------------------------------ */

void gen_constraint_free(gen_constraint *c)
{
    if (!c) return;
    net_release(&c->net);
    if (c->l) {
        learned *l = c->l;
        pthread_mutex_destroy(&l->lock);
        arena_release(&l->arena);
        free(l->stacks);
        free(l->stack_table);
        free(l->sets);
        free(l->set_table);
        free(l->work);
        free(l->found);
        free(l->seen);
        free(l->mask);
        free(l);
    }
    free(c);
}

mltf_status constraint_new(gen_constraint **out, const gen_trie *trie, net *n, mltf_err *err)
{
    gen_constraint *c = calloc(1, sizeof *c);
    learned *l = calloc(1, sizeof *l);
    if (!c || !l) {
        free(c);
        free(l);
        net_release(n);
        return mltf_fail_memory(err);
    }
    c->net = *n;
    *n = (net){0};
    c->trie = trie;
    c->l = l;
    pthread_mutex_init(&l->lock, NULL);
    l->mask = calloc((trie->vocab + 63) / 64 + 1, sizeof *l->mask);
    if (!l->mask || !ARRAY_RESERVE(l->stacks, l->cap_stacks, 1)) {
        gen_constraint_free(c);
        return mltf_fail_memory(err);
    }
    l->stacks[0] = (stack_node){0};
    l->n_stacks = 1;
    begin_set(l);
    intern(l, false); // number 0: dead
    begin_set(l);
    visit(l, c->net.start, 0);
    c->start = close_over(c);
    const mltf_status st = report(l, err);
    if (!st && c->start == DEAD) {
        gen_constraint_free(c);
        return mltf_fail(err, MLTF_INVALID_INPUT, "no text can satisfy the constraint");
    }
    if (st)
        gen_constraint_free(c);
    else
        *out = c;
    return st;
}

const net *constraint_net(const gen_constraint *c)
{
    return &c->net;
}

uint32_t constraint_start(const gen_constraint *c)
{
    return c->start;
}

bool constraint_ends(const gen_constraint *c, uint32_t set)
{
    return c->l->sets[set].complete;
}

uint32_t constraint_places(const gen_constraint *c, uint32_t set)
{
    return c->l->sets[set].n;
}

uint32_t constraint_next(const gen_constraint *c, uint32_t set, uint8_t byte)
{
    return step(c, set, byte);
}

bool constraint_opens_marked(const gen_constraint *c, uint32_t set, uint8_t byte)
{
    const place_set *s = &c->l->sets[set];
    for (uint32_t i = 0; i < s->n; i++) {
        const net_state *state = &c->net.states[s->places[i].state];
        if (state->marked && byte_set_has(&c->net.sets[state->set], byte)) return true;
    }
    return false;
}

mltf_status constraint_step(uint32_t *to, const gen_constraint *c, uint32_t set, uint8_t byte,
                            mltf_err *err)
{
    *to = step(c, set, byte);
    return report(c->l, err);
}

/* ---- matchers ------------------------------------------------------------------------------ */

mltf_status gen_matcher_new(gen_matcher **out, const gen_constraint *c, mltf_err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return mltf_fail_memory(err);
    **out = (gen_matcher){.c = c, .set = c->start};
    if (c->net.marked && !((*out)->unique = unique_new())) {
        free(*out);
        *out = NULL;
        return mltf_fail_memory(err);
    }
    return MLTF_OK;
}

void gen_matcher_free(gen_matcher *m)
{
    if (!m) return;
    unique_free(m->unique);
    free(m);
}

mltf_status gen_matcher_copy(gen_matcher *to, const gen_matcher *from, mltf_err *err)
{
    to->set = from->set;
    if (from->unique && !unique_copy(to->unique, from->unique)) return mltf_fail_memory(err);
    return MLTF_OK;
}

/* Begins a question, to be ended by unlocking. */
static learned *ask(const gen_constraint *c)
{
    pthread_mutex_lock(&c->l->lock);
    c->l->visits = 0;
    return c->l;
}

mltf_status gen_matcher_allowed(gen_matcher *m, uint8_t *allowed, size_t vocab, gen_ids eos,
                                mltf_err *err)
{
    learned *l = ask(m->c);
    const uint64_t *mask = tokens_of(m->c, m->set);
    const size_t n = vocab < m->c->trie->vocab ? vocab : m->c->trie->vocab;
    for (size_t i = 0; i < n; i++) allowed[i] = mask[i >> 6] >> (i & 63) & 1;
    if (m->unique) unique_restrict(m->unique, m->c, m->set, m->c->trie, allowed, n);
    const bool complete = l->sets[m->set].complete;
    mltf_status st = report(l, err);
    pthread_mutex_unlock(&l->lock);
    if (!st && m->unique && !complete && !memchr(allowed, 1, n))
        st = mltf_fail(err, MLTF_UNSUPPORTED,
                       "the text cannot be completed: items that have to differ have run out");
    for (size_t i = 0; i < eos.n; i++)
        if (eos.p[i] >= 0 && (size_t)eos.p[i] < vocab) allowed[eos.p[i]] = complete;
    return st;
}

bool gen_matcher_accept_bytes(gen_matcher *m, const char *p, size_t n)
{
    learned *l = ask(m->c);
    uint32_t set = m->set;
    bool ok = true;
    if (m->unique)
        ok = unique_accept(m->unique, m->c, &set, p, n);
    else
        for (size_t i = 0; i < n && set != DEAD; i++) set = step(m->c, set, (uint8_t)p[i]);
    ok = ok && set != DEAD && !l->failed;
    l->failed = MLTF_OK;
    pthread_mutex_unlock(&l->lock);
    if (ok) m->set = set;
    return ok;
}

mltf_status gen_matcher_accept(gen_matcher *m, int32_t id, mltf_err *err)
{
    const gen_trie *t = m->c->trie;
    if (id < 0 || (size_t)id >= t->vocab || !t->bytes[id] ||
        !gen_matcher_accept_bytes(m, t->bytes[id], t->length[id]))
        return mltf_fail(err, MLTF_INVALID_INPUT, "token %d leaves the language of the constraint",
                         id);
    return MLTF_OK;
}

bool gen_matcher_complete(const gen_matcher *m)
{
    pthread_mutex_lock(&m->c->l->lock);
    const bool complete = m->c->l->sets[m->set].complete;
    pthread_mutex_unlock(&m->c->l->lock);
    return complete;
}

bool gen_matcher_closed(const gen_matcher *m)
{
    pthread_mutex_lock(&m->c->l->lock);
    const place_set *s = &m->c->l->sets[m->set];
    const bool closed = s->complete && s->n == 0;
    pthread_mutex_unlock(&m->c->l->lock);
    return closed;
}
