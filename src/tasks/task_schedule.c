/* One batch for all calls that generate at the same time (continuous batching).
 *
 * There is no thread of its own. A call puts its requests into the inbox; whichever call finds nobody driving
 * drives the next step for everybody, and then looks at its own results again. So a single call costs
 * nothing extra, and ten calls read the weights once a step. Tokens are handed to the call that asked for them
 * on its own thread, never on the driver's.
 *
 *   inbox -> (between steps) -> gen_batch -> done
 *
 * Lock order: only `lock`, held for bookkeeping, never during a step. */
#include "base/array.h"
#include "tasks/task.h"

#include <stdlib.h>
#include <time.h>

/* Sequences that run together: beyond this, KV caches cost more memory than the sharing saves time. */
#define SCHEDULE_SEQUENCES 64

typedef enum { REQ_QUEUED, REQ_ACTIVE, REQ_DONE } req_state;

typedef struct sched_req {
    struct task_schedule *schedule;
    gen_request req;
    size_t weight; /* sequences that it runs */
    req_state state;
    size_t number; /* in the batch, while active */
    bool streams;
    int32_t *tokens; /* [n_tokens] new ones; those before n_seen were handed over */
    size_t n_tokens, n_seen, cap_tokens;
    gen_logprob *scores; /* [n_scores][1 + top_logprobs] of the tokens, if wanted */
    size_t n_scores, cap_scores;
    bool give_up;               /* the call wants no more of it; with the lock */
    volatile int *outer_cancel; /* the caller's flag */
    volatile int cancel;        /* what the batch sees: set by the driver between steps */
    gen_result result;
    mltf_status st;
    mltf_err err;
    struct sched_req *next; /* in the inbox or among the active ones */
    pthread_cond_t *wake;   /* of its call */
} sched_req;

struct task_schedule {
    pipeline *p;
    pthread_mutex_t lock;
    arch_session *session;
    gen_batch *batch;
    bool driving;
    sched_req *inbox, **inbox_end, *active;
    size_t weight; /* of the active ones */
};

mltf_status task_schedule_new(struct task_schedule **out, pipeline *p, mltf_err *err)
{
    struct task_schedule *s = calloc(1, sizeof *s);
    if (!s) return mltf_fail_memory(err);
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        return mltf_fail_memory(err);
    }
    s->p = p;
    s->inbox_end = &s->inbox;
    *out = s;
    return MLTF_OK;
}

void task_schedule_free(struct task_schedule *s)
{
    if (!s) return;
    gen_batch_free(s->batch);
    if (s->session) pipeline_session_give(s->p, s->session);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- the driver's side ---- */

/* Called during a step, without the lock. */
static int take_tokens(void *user, size_t number, const int32_t *ids, size_t n)
{
    sched_req *r = user;
    (void)number;
    if (r->cancel) return 1;
    if (!r->streams) return 0;
    pthread_mutex_lock(&r->schedule->lock);
    const bool room = ARRAY_RESERVE(r->tokens, r->cap_tokens, r->n_tokens + n);
    if (room) {
        memcpy(r->tokens + r->n_tokens, ids, n * sizeof *ids);
        r->n_tokens += n;
        pthread_cond_signal(r->wake);
    }
    pthread_mutex_unlock(&r->schedule->lock);
    return !room;
}

/* Just before take_tokens gets the token. */
static void take_logprobs(void *user, size_t number, gen_logprob own, const gen_logprob *top)
{
    sched_req *r = user;
    (void)number;
    if (!r->streams) return;
    const size_t width = 1 + r->req.top_logprobs;
    pthread_mutex_lock(&r->schedule->lock);
    if (array_reserve(&r->scores, &r->cap_scores, r->n_scores + 1, width * sizeof *top)) {
        gen_logprob *to = r->scores + r->n_scores++ * width;
        *to = own;
        if (width > 1) memcpy(to + 1, top, (width - 1) * sizeof *to);
    }
    pthread_mutex_unlock(&r->schedule->lock);
}

static void finish_request(struct task_schedule *s, sched_req *r, mltf_status st,
                           const mltf_err *err)
{
    r->st = st;
    if (st && err) r->err = *err;
    if (r->state == REQ_ACTIVE) s->weight -= r->weight;
    r->state = REQ_DONE;
    pthread_cond_signal(r->wake);
}

/* Move what fits from the inbox into the batch. With the lock. */
static void admit(struct task_schedule *s)
{
    while (s->inbox && (s->weight == 0 || s->weight + s->inbox->weight <= SCHEDULE_SEQUENCES)) {
        sched_req *r = s->inbox;
        s->inbox = r->next;
        if (!s->inbox) s->inbox_end = &s->inbox;
        r->next = NULL;
        mltf_err err = {0};
        mltf_status st = MLTF_OK;
        if (!s->session) st = pipeline_session_take(s->p, &s->session, &err);
        if (!st && !s->batch) st = gen_batch_new(&s->batch, s->session, &err);
        if (!st) st = gen_batch_add(s->batch, &r->req, &r->number, &err);
        if (st) {
            finish_request(s, r, st, &err);
            continue;
        }
        r->state = REQ_ACTIVE;
        s->weight += r->weight;
        r->next = s->active;
        s->active = r;
    }
}

/* Give results to their calls. With the lock. */
static void collect(struct task_schedule *s, mltf_status step, const mltf_err *step_err)
{
    for (sched_req **at = &s->active; *at;) {
        sched_req *r = *at;
        const bool done = gen_batch_done(s->batch, r->number);
        if (!done && !step) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        r->next = NULL;
        mltf_err err = {0};
        mltf_status st = step;
        if (done)
            st = gen_batch_take(s->batch, r->number, &r->result, &err);
        else
            gen_batch_drop(s->batch, r->number);
        finish_request(s, r, st, done ? &err : step_err);
    }
}

/* One step for everybody. Called with the lock, which it gives up meanwhile. */
static void drive(struct task_schedule *s)
{
    s->driving = true;
    admit(s);
    mltf_status st = MLTF_OK;
    mltf_err err = {0};
    if (s->active) {
        for (sched_req *r = s->active; r; r = r->next)
            if (r->give_up || (r->outer_cancel && *r->outer_cancel)) r->cancel = 1;
        pthread_mutex_unlock(&s->lock);
        st = gen_batch_step(s->batch, &err);
        pthread_mutex_lock(&s->lock);
        collect(s, st, &err);
    }
    s->driving = false;
}

/* ---- the caller's side ---- */

typedef struct sched_call {
    sched_req *reqs; /* [n] */
    size_t n;
    pipeline_token_fn on_token;
    void *user;
} sched_call;

/* Hand over tokens that came. With the lock, given up meanwhile. True: there were some. */
static bool hand_over(struct task_schedule *s, sched_call *call)
{
    bool any = false;
    for (size_t i = 0; call->on_token && i < call->n; i++) {
        sched_req *r = &call->reqs[i];
        while (r->n_seen < r->n_tokens) {
            int32_t ids[64];
            gen_logprob scores[1024];
            const size_t width = 1 + r->req.top_logprobs;
            // copies, because the driver appends meanwhile
            const bool scored =
                r->n_scores >= r->n_tokens && width <= sizeof scores / sizeof *scores;
            size_t n = r->n_tokens - r->n_seen;
            if (n > sizeof ids / sizeof *ids) n = sizeof ids / sizeof *ids;
            if (scored && n > sizeof scores / sizeof *scores / width)
                n = sizeof scores / sizeof *scores / width;
            memcpy(ids, r->tokens + r->n_seen, n * sizeof *ids);
            if (scored) memcpy(scores, r->scores + r->n_seen * width, n * width * sizeof *scores);
            r->n_seen += n;
            any = true;
            if (r->give_up) continue;
            pthread_mutex_unlock(&s->lock);
            const int stop = call->on_token(call->user, i, ids, n, scored ? scores : NULL);
            pthread_mutex_lock(&s->lock);
            if (stop) r->give_up = true;
        }
    }
    return any;
}

static bool all_done(const sched_call *call)
{
    for (size_t i = 0; i < call->n; i++)
        if (call->reqs[i].state != REQ_DONE) return false;
    return true;
}

/* Until all requests of the call are done: hand over tokens, drive when it is nobody's turn, else wait. */
static void run_call(struct task_schedule *s, sched_call *call, pthread_cond_t *wake)
{
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < call->n; i++) {
        *s->inbox_end = &call->reqs[i];
        s->inbox_end = &call->reqs[i].next;
    }
    for (;;) {
        if (hand_over(s, call)) continue;
        if (all_done(call)) break;
        if (!s->driving) {
            drive(s);
            continue;
        }
        // woken by tokens and results of its own, or to take over; the bound is for a flag set from outside
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 50000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(wake, &s->lock, &until);
    }
    const sched_req *next = s->active ? s->active : s->inbox;
    if (next && !s->driving) pthread_cond_signal(next->wake);
    pthread_mutex_unlock(&s->lock);
}

static size_t request_weight(const gen_config *cfg)
{
    const int64_t n =
        cfg->num_beams > cfg->num_return_sequences ? cfg->num_beams : cfg->num_return_sequences;
    return n > 0 && n < SCHEDULE_SEQUENCES ? (size_t)n : n > 0 ? SCHEDULE_SEQUENCES : 1;
}

/* What a finished request means for the call. */
static mltf_status judge(const sched_req *r, const call_control *ctl, mltf_err *err)
{
    if (r->st) {
        if (err) *err = r->err;
        if (r->st != MLTF_INVALID_INPUT) return r->st;
        if (err) err->status = MLTF_PREDICT_FAILED; // generate()'s own ValueError
        return MLTF_PREDICT_FAILED;
    }
    for (size_t i = 0; i < r->result.n; i++) {
        const gen_finish finish = r->result.seqs[i].finish;
        if (finish == GEN_FINISH_CANCELLED && ctl->cancel && *ctl->cancel)
            return mltf_fail(err, MLTF_CANCELLED, "the call was cancelled");
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (finish == GEN_FINISH_TIME && ctl->deadline > 0 &&
            (double)now.tv_sec + 1e-9 * (double)now.tv_nsec >= ctl->deadline)
            return mltf_fail(err, MLTF_TIMEOUT, "request processing time exceeded limit");
    }
    return MLTF_OK;
}

mltf_status pipeline_generate(const pipeline *p, const pipeline_prompt *prompts, size_t n,
                              const call_control *ctl, pipeline_token_fn on_token, void *user,
                              gen_result *results, mltf_err *err)
{
    static const call_control none = {0};
    if (!ctl) ctl = &none;
    if (n == 0) return MLTF_OK;
    memset(results, 0, n * sizeof *results);
    pthread_cond_t wake;
    sched_call call = {
        .reqs = calloc(n, sizeof *call.reqs), .n = n, .on_token = on_token, .user = user};
    if (!call.reqs) return mltf_fail_memory(err);
    if (pthread_cond_init(&wake, NULL) != 0) {
        free(call.reqs);
        return mltf_fail_memory(err);
    }
    for (size_t i = 0; i < n; i++) {
        sched_req *r = &call.reqs[i];
        r->schedule = p->schedule;
        r->streams = on_token != NULL;
        r->outer_cancel = ctl->cancel;
        r->weight = request_weight(prompts[i].cfg);
        r->wake = &wake;
        r->req = (gen_request){.ids = prompts[i].ids,
                               .n = prompts[i].n,
                               .cfg = prompts[i].cfg,
                               .tk = p->tk,
                               .on_token = take_tokens,
                               .on_logprobs = prompts[i].want_logprobs ? take_logprobs : NULL,
                               .user = r,
                               .cancel = &r->cancel,
                               .deadline = ctl->deadline,
                               .constraint = prompts[i].constraint,
                               .want_logprobs = prompts[i].want_logprobs,
                               .top_logprobs = prompts[i].top_logprobs};
    }
    run_call(p->schedule, &call, &wake);

    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n; i++) {
        if (!st) st = judge(&call.reqs[i], ctl, err);
        results[i] = call.reqs[i].result;
        free(call.reqs[i].tokens);
        free(call.reqs[i].scores);
    }
    for (size_t i = 0; st && i < n; i++) gen_result_release(&results[i]);
    pthread_cond_destroy(&wake);
    free(call.reqs);
    return st;
}
