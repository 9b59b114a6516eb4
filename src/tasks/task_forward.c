/* One ragged batch for all calls that want a forward pass at the same time.
 *
 * As in task_schedule.c there is no thread of its own: a call puts its sequences, cut into pieces of bounded
 * size, into a line; whichever call finds nobody driving takes the pieces at the head of the line that fit
 * together, runs them as one batch, and hands each sequence's rows to the callback of the call that it belongs
 * to, whose own thread sleeps meanwhile. So a single call costs nothing extra, ten calls read the weights
 * once, and since a sequence's result is the same alone and in any batch, nobody's answer depends on company.
 *
 * Lock order: only `lock`, held for bookkeeping, never during a forward or a callback. */
#include "tasks/task.h"

#include <stdlib.h>
#include <time.h>

/* Rows of one forward where the caller gave no batch_size: enough to keep the kernels busy, little
 * enough that activations stay below some tens of MB for the models that serve these tasks. */
#define TASK_BATCH_ROWS 2048u
/* With logits over a vocabulary each row costs 4 * V bytes of output. */
#define TASK_LOGIT_BYTES ((size_t)32 << 20)
/* Pieces of one batch. */
#define TASK_BATCH_PIECES 64

/* Sequences [first, last) of a call that is waiting. */
typedef struct piece {
    const task_call *call;
    const task_seqs *seqs;
    size_t first, last, rows;
    unsigned want;
    bool masked; /* some rows are padding */
    task_row_fn fn;
    void *user;
    enum { PIECE_WAITS, PIECE_RUNS, PIECE_DONE } state;
    mltf_status st;
    mltf_err err;
    pthread_cond_t wake;
    struct piece *next;
} piece;

struct task_forwards {
    pthread_mutex_t lock;
    piece *line, **line_end;
    bool driving;
};

mltf_status task_forwards_new(struct task_forwards **out, mltf_err *err)
{
    struct task_forwards *f = calloc(1, sizeof *f);
    if (!f) return mltf_fail_memory(err);
    if (pthread_mutex_init(&f->lock, NULL) != 0) {
        free(f);
        return mltf_fail_memory(err);
    }
    f->line_end = &f->line;
    *out = f;
    return MLTF_OK;
}

void task_forwards_free(struct task_forwards *f)
{
    if (!f) return;
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* Rows that one forward may have, for what is wanted of it. */
static size_t row_budget(const pipeline *p, unsigned want)
{
    size_t rows = TASK_BATCH_ROWS;
    if ((want & ARCH_WANT_LOGITS) &&
        (p->info->head == ARCH_HEAD_LM || p->info->head == ARCH_HEAD_MASKED_LM)) {
        const size_t fit =
            TASK_LOGIT_BYTES / (sizeof(float) * (p->info->vocab ? p->info->vocab : 1));
        if (fit < rows) rows = fit ? fit : 1;
    }
    return rows;
}

/* ---- one batch ---- */

typedef struct packed {
    size_t n, rows;
    size_t *start;  /* [n + 1] */
    int32_t *ids;   /* [rows] */
    int32_t *types; /* [rows, width] */
    uint8_t *mask;  /* [rows] */
} packed;

static void packed_release(packed *b)
{
    free(b->start);
    free(b->ids);
    free(b->types);
    free(b->mask);
}

static mltf_status pack(packed *b, piece *const *pieces, size_t n_pieces, size_t width,
                        mltf_err *err)
{
    *b = (packed){0};
    for (size_t i = 0; i < n_pieces; i++) {
        b->n += pieces[i]->last - pieces[i]->first;
        b->rows += pieces[i]->rows;
    }
    const size_t some = b->rows ? b->rows : 1;
    b->start = calloc(b->n + 1, sizeof *b->start);
    b->ids = calloc(some, sizeof *b->ids);
    b->types = calloc(some, width * sizeof *b->types);
    b->mask = calloc(some, sizeof *b->mask);
    if (!b->start || !b->ids || !b->types || !b->mask) return mltf_fail_memory(err);
    size_t number = 0;
    for (size_t i = 0; i < n_pieces; i++)
        for (size_t k = pieces[i]->first; k < pieces[i]->last; k++, number++) {
            const tok_encoding *e = &pieces[i]->seqs->encs[k];
            const size_t at = b->start[number];
            b->start[number + 1] = at + e->n;
            if (e->n) memcpy(b->ids + at, e->ids, e->n * sizeof *b->ids);
            if (e->n && e->type_ids)
                memcpy(b->types + at * width, e->type_ids, e->n * width * sizeof *b->types);
            for (size_t t = 0; t < e->n; t++) b->mask[at + t] = !(e->special && e->special[t] == 2);
        }
    return MLTF_OK;
}

/* Hand the rows of one piece, whose first sequence is number `at` of the batch, to its call. */
static mltf_status deliver(piece *p, const packed *b, size_t at, const arch_output *out)
{
    const size_t H = p->call->p->info->hidden;
    // [T, …] or [n, …]; the same where each sequence has one row
    const bool per_row = out->logit_rows != b->n || b->rows == b->n;
    mltf_status st = MLTF_OK;
    for (size_t k = p->first; k < p->last && !st; k++, at++) {
        const tok_encoding *e = &p->seqs->encs[k];
        task_row row = {.seq = k, .enc = e, .rows = e->n};
        if (out->hidden) row.hidden = out->hidden + b->start[at] * H;
        if (out->pooled) row.pooled = out->pooled + at * H;
        row.n_logits = out->n_logits;
        if (out->logits) row.logits = out->logits + (per_row ? b->start[at] : at) * out->n_logits;
        row.n_extra = out->n_extra;
        if (out->extra) row.extra = out->extra + at * row.n_extra;
        st = p->fn(p->user, &row, &p->err);
    }
    return st;
}

static void run_together(arch_session *session, piece *const *pieces, size_t n)
{
    packed b;
    mltf_err err = {0};
    arch_output out = {0};
    const pipeline *p = pieces[0]->call->p;
    const size_t width = p->def->type_width ? p->def->type_width : 1;
    mltf_status st = pack(&b, pieces, n, width, &err);
    if (!st) {
        const arch_batch batch = {.n_seqs = b.n,
                                  .start = b.start,
                                  .ids = b.ids,
                                  .type_ids =
                                      width > 1 || tokenizer_adds_type_ids(p->tk) ? b.types : NULL,
                                  .attention_mask = pieces[0]->masked ? b.mask : NULL};
        st = arch_forward(session, &batch, pieces[0]->want, &out, &err);
        // ids and lengths come from the text of the caller: to MLflow this is a failed prediction
        if (st == MLTF_INVALID_INPUT) st = err.status = MLTF_PREDICT_FAILED;
    }
    size_t at = 0;
    for (size_t i = 0; i < n && !st; i++) {
        pieces[i]->st = deliver(pieces[i], &b, at, &out);
        at += pieces[i]->last - pieces[i]->first;
    }
    packed_release(&b);
    if (st && n > 1) { // one of them does not fit the model: each for itself
        for (size_t i = 0; i < n; i++) run_together(session, &pieces[i], 1);
    } else if (st) {
        pieces[0]->st = st;
        pieces[0]->err = err;
    }
}

/* ---- the line ---- */

/* Take the pieces that go with the one at the head, in order. With the lock. */
static size_t take_from_line(struct task_forwards *f, piece **pieces)
{
    size_t n = 0, rows = 0;
    for (piece **at = &f->line; *at && n < TASK_BATCH_PIECES;) {
        piece *p = *at;
        const bool fits = n == 0 || (p->want == pieces[0]->want && p->masked == pieces[0]->masked &&
                                     rows + p->rows <= row_budget(p->call->p, p->want));
        if (!fits) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        p->state = PIECE_RUNS;
        pieces[n++] = p;
        rows += p->rows;
    }
    f->line_end = &f->line;
    while (*f->line_end) f->line_end = &(*f->line_end)->next;
    return n;
}

/* One batch for whoever waits. Called with the lock, which it gives up meanwhile. */
static void drive(struct task_forwards *f, arch_session *session)
{
    piece *pieces[TASK_BATCH_PIECES];
    f->driving = true;
    const size_t n = take_from_line(f, pieces);
    pthread_mutex_unlock(&f->lock);
    run_together(session, pieces, n);
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < n; i++) {
        pieces[i]->state = PIECE_DONE;
        pthread_cond_signal(&pieces[i]->wake);
    }
    f->driving = false;
    if (f->line) pthread_cond_signal(&f->line->wake); // to take over
}

/* The call wants no more: out of the line, if nobody runs it yet. With the lock. */
static void leave_line(struct task_forwards *f, piece *p)
{
    for (piece **at = &f->line; *at; at = &(*at)->next) {
        if (*at != p) continue;
        *at = p->next;
        if (f->line_end == &p->next) f->line_end = at;
        p->state = PIECE_DONE;
        return;
    }
}

static void wait_a_while(struct task_forwards *f, piece *p)
{
    struct timespec
        until; // woken when done or to take over; the bound is for a flag set from outside
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 50000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&p->wake, &f->lock, &until);
}

static mltf_status run_piece(struct task_forwards *f, piece *p, arch_session **session,
                             mltf_err *err)
{
    if (pthread_cond_init(&p->wake, NULL) != 0) return mltf_fail_memory(err);
    pthread_mutex_lock(&f->lock);
    *f->line_end = p;
    f->line_end = &p->next;
    while (p->state != PIECE_DONE) {
        if (f->driving) {
            wait_a_while(f, p);
            if (p->state == PIECE_WAITS && (p->st = task_check(p->call, &p->err))) leave_line(f, p);
            continue;
        }
        if (!*session && (p->st = pipeline_session_take(p->call->p, session, &p->err)))
            leave_line(f, p);
        else
            drive(f, *session);
    }
    if (f->line && !f->driving) pthread_cond_signal(&f->line->wake);
    pthread_mutex_unlock(&f->lock);
    pthread_cond_destroy(&p->wake);
    if (p->st && err) *err = p->err;
    return p->st;
}

mltf_status task_forward(const task_call *c, const task_seqs *s, unsigned want, task_row_fn fn,
                         void *user, mltf_err *err)
{
    arch_session *session = NULL;
    const size_t budget = row_budget(c->p, want);
    mltf_status st = MLTF_OK;
    for (size_t first = 0; first < s->n && !st;) {
        piece p = {.call = c, .seqs = s, .first = first, .want = want, .fn = fn, .user = user};
        size_t last = first;
        while (last < s->n) {
            const tok_encoding *e = &s->encs[last];
            if (c->batch_size ? last - first >= c->batch_size
                              : last > first && p.rows + e->n > budget)
                break;
            p.rows += e->n;
            for (size_t k = 0; e->special && k < e->n && !p.masked; k++)
                p.masked = e->special[k] == 2;
            last++;
        }
        p.last = last;
        st = task_check(c, err);
        if (!st) st = run_piece(c->p->forwards, &p, &session, err);
        first = last;
    }
    if (session) pipeline_session_give(c->p, session);
    return st;
}

mltf_status task_forward_inputs(const task_call *c, const task_tok_args *args,
                                task_encode_fn encode, unsigned want, json *outputs, task_row_fn fn,
                                void *user, mltf_err *err)
{
    const bool many = json_is(c->input, JSON_ARRAY);
    const size_t n = many ? json_len(c->input) : 1;
    task_seqs seqs = {0};
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n && !st; i++) {
        tok_encoding *enc = task_seqs_add(&seqs);
        st = enc ? encode(c, enc, many ? json_at(c->input, i) : c->input, args, err)
                 : mltf_fail_memory(err);
        json_push(c->arena, outputs, json_new_null(c->arena));
    }
    if (!st && c->arena->failed) st = mltf_fail_memory(err);
    if (!st) st = task_forward(c, &seqs, want, fn, user, err);
    task_seqs_release(&seqs);
    return st;
}
