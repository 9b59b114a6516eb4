/* The bounded queue and its workers. */
#include "serve/serve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* SSE text waiting for a slow reader; past it the client is given up. */
#define MAX_UNREAD_BYTES ((size_t)1 << 20)
/* A JSON answer is held in memory until it is written. */
#define MAX_ANSWER_BYTES ((size_t)1 << 30)

struct serve_queue {
    const serve_backend *backend;
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_t *thread;
    int n_threads;
    bool closing;
    serve_job *first, *last; /* waiting, oldest first */
    size_t n, limit, running;
    serve_job *first_news, *last_news;
    int wake_fd;
};

double serve_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Under the lock: the loop shall look at the job. */
static void tell(serve_queue *q, serve_job *job)
{
    if (job->noticed) return;
    job->noticed = true;
    job->next_news = NULL;
    if (q->last_news)
        q->last_news->next_news = job;
    else
        q->first_news = job;
    q->last_news = job;
    const uint64_t one = 1;
    while (write(q->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

static int on_event(void *user, const char *text, size_t n)
{
    serve_job *job = user;
    serve_queue *q = job->queue;
    pthread_mutex_lock(&q->lock);
    job->streaming = true;
    if (job->events.n + n > MAX_UNREAD_BYTES) {
        serve_cancel(job);
    } else {
        buf_puts(&job->events, "data: ");
        buf_append(&job->events, text, n);
        buf_puts(&job->events, "\n\n");
    }
    tell(q, job);
    pthread_mutex_unlock(&q->lock);
    return serve_cancelled(job);
}

static void *work(void *user)
{
    serve_queue *q = user;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        while (!q->first && !q->closing) pthread_cond_wait(&q->work, &q->lock);
        if (!q->first) break;
        serve_job *job = q->first;
        q->first = job->next;
        if (!q->first) q->last = NULL;
        job->next = NULL;
        q->n--;
        q->running++;
        pthread_mutex_unlock(&q->lock);

        const double left = job->deadline - serve_now();
        job->reply.body.max = MAX_ANSWER_BYTES;
        const bool gone = serve_cancelled(job);
        if (gone || left <= 0) {
            mltf_err err = {0};
            mltf_fail(&err, gone ? MLTF_CANCELLED : MLTF_TIMEOUT,
                      "Request processing time exceeded limit");
            serve_error_reply(job->kind, &err, &job->reply);
        } else {
            const mltf_predict_options opts = {.cancel = &job->cancel, .timeout_s = left};
            serve_compute(q->backend, job->kind, job->body.p ? job->body.p : "", job->body.n, &opts,
                          on_event, job, &job->reply);
        }

        pthread_mutex_lock(&q->lock);
        q->running--;
        job->done = true;
        tell(q, job);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

mltf_status serve_queue_new(serve_queue **out, const serve_backend *b, int workers, size_t limit,
                            int wake_fd, mltf_err *err)
{
    *out = NULL;
    serve_queue *q = calloc(1, sizeof *q);
    if (!q) return mltf_fail_memory(err);
    q->backend = b;
    q->limit = limit;
    q->wake_fd = wake_fd;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->work, NULL);
    q->thread = calloc((size_t)workers, sizeof *q->thread);
    if (!q->thread) {
        serve_queue_free(q);
        return mltf_fail_memory(err);
    }
    sigset_t all, before; // signals are for the loop
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    for (; q->n_threads < workers && !failed; q->n_threads += !failed)
        failed = pthread_create(&q->thread[q->n_threads], NULL, work, q);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed && q->n_threads == 0) {
        serve_queue_free(q);
        return mltf_fail_errno(err, failed, "start", "a worker thread");
    }
    *out = q;
    return MLTF_OK;
}

void serve_queue_free(serve_queue *q)
{
    if (!q) return;
    pthread_mutex_lock(&q->lock);
    q->closing = true;
    pthread_cond_broadcast(&q->work);
    pthread_mutex_unlock(&q->lock);
    for (int i = 0; i < q->n_threads; i++) pthread_join(q->thread[i], NULL);
    free(q->thread);
    pthread_cond_destroy(&q->work);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

bool serve_queue_add(serve_queue *q, serve_job *job)
{
    pthread_mutex_lock(&q->lock);
    const bool room = q->n < q->limit || (q->limit == 0 && q->running < (size_t)q->n_threads);
    if (room) {
        job->queue = q;
        job->next = NULL;
        if (q->last)
            q->last->next = job;
        else
            q->first = job;
        q->last = job;
        q->n++;
        pthread_cond_signal(&q->work);
    }
    pthread_mutex_unlock(&q->lock);
    return room;
}

bool serve_queue_remove(serve_queue *q, serve_job *job)
{
    bool found = false;
    pthread_mutex_lock(&q->lock);
    serve_job *before = NULL;
    for (serve_job *j = q->first; j && !found; before = j, j = j->next) {
        if (j != job) continue;
        found = true;
        if (before)
            before->next = j->next;
        else
            q->first = j->next;
        if (q->last == j) q->last = before;
        q->n--;
        break;
    }
    pthread_mutex_unlock(&q->lock);
    return found;
}

serve_job *serve_queue_news(serve_queue *q)
{
    pthread_mutex_lock(&q->lock);
    serve_job *job = q->first_news;
    if (job) {
        q->first_news = job->next_news;
        if (!q->first_news) q->last_news = NULL;
        job->noticed = false;
    }
    pthread_mutex_unlock(&q->lock);
    return job;
}

void serve_queue_take(serve_queue *q, serve_job *job, mltf_buf *text, bool *streaming, bool *done)
{
    pthread_mutex_lock(&q->lock);
    if (text->n == 0) {
        const mltf_buf swap = *text;
        *text = job->events;
        job->events = swap;
    } else {
        buf_put_str(text, buf_str(&job->events));
    }
    buf_clear(&job->events);
    *streaming = job->streaming;
    *done = job->done;
    pthread_mutex_unlock(&q->lock);
}

void serve_queue_sizes(serve_queue *q, size_t *queued, size_t *running)
{
    pthread_mutex_lock(&q->lock);
    *queued = q->n;
    *running = q->running;
    pthread_mutex_unlock(&q->lock);
}
