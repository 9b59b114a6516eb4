/* The HTTP server: MLflow's scoring server and OpenAI's API over one model.
 *
 *   serve_loop.c     libevent: connections, requests, streams, signals, drain; one thread
 *   serve_queue.c    requests that wait and the threads that compute them; results go back by eventfd
 *   serve_route.c    which request is answered how: functions from bytes to bytes, fuzzed as such
 *   serve_metrics.c  what /metrics tells
 *
 * A request is read whole by the event loop, checked there, put into the bounded queue, computed by a
 * worker (workers share the model, and inside it a batch), and answered by the loop again. A client that goes away sets its request's cancel flag.
 *
 * Only the public API is used; the model is behind serve_backend so that tests can have another one. */
#ifndef MLTF_SERVE_SERVE_H
#define MLTF_SERVE_SERVE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/buf.h"

typedef struct serve_backend {
    const void *model;
    const char *name; /* in /v1/models */
    const char *task; /* native task */
    mltf_status (*predict)(const void *model, bool csv, const char *body, size_t n,
                           const mltf_predict_options *opts, mltf_buf *answer, mltf_err *err);
    mltf_status (*openai)(const void *model, const char *endpoint, const char *body, size_t n,
                          const mltf_predict_options *opts, mltf_stream_fn on_event, void *user,
                          mltf_buf *answer, mltf_err *err);
} serve_backend;

/* What mltf_serve() does, for any backend. */
mltf_status serve_run(const serve_backend *backend, const mltf_serve_options *opts, mltf_err *err);

/* ---- serve_route.c ---------------------------------------------------------------------------- */

typedef struct serve_request {
    const char *method;       /* "GET" */
    const char *path;         /* without query */
    const char *content_type; /* NULL: no such header */
    const char *body;
    size_t n;
} serve_request;

typedef struct serve_reply {
    int status;
    const char *type;  /* Content-Type; a constant */
    const char *allow; /* Allow header, or NULL; a constant */
    mltf_buf body;
} serve_reply;

typedef enum {
    SERVE_NOW,          /* the reply is there */
    SERVE_METRICS,      /* the loop fills in the body */
    SERVE_READY,        /* 200 unless draining */
    SERVE_PREDICT_JSON, /* work for serve_compute() */
    SERVE_PREDICT_CSV,
    SERVE_CHAT,
    SERVE_COMPLETIONS,
    SERVE_EMBEDDINGS,
} serve_kind;

/* Which work a request is, or its answer at once. route receives the path's name for logs and metrics. */
serve_kind serve_route(const serve_backend *b, const serve_request *r, serve_reply *out,
                       const char **route);

/* Do the work. If on_event was called, the answer was streamed, and *out has what ends the stream (status 200);
 * otherwise *out is the whole answer. Never fails: errors are answers. */
void serve_compute(const serve_backend *b, serve_kind kind, const char *body, size_t n,
                   const mltf_predict_options *opts, mltf_stream_fn on_event, void *user,
                   serve_reply *out);

/* The answer for a failure: MLflow's object, or OpenAI's for its routes. */
void serve_error_reply(serve_kind kind, const mltf_err *err, serve_reply *out);

/* ---- serve_metrics.c -------------------------------------------------------------------------- */

typedef struct serve_metrics serve_metrics;
mltf_status serve_metrics_new(serve_metrics **out, mltf_err *err);
void serve_metrics_free(serve_metrics *m);
void serve_metrics_count(serve_metrics *m, const char *route, int status, double seconds,
                         size_t bytes_in, size_t bytes_out);
void serve_metrics_write(const serve_metrics *m, size_t queued, size_t running, size_t connections,
                         mltf_buf *out);

/* ---- serve_queue.c ---------------------------------------------------------------------------- */

/* One request on its way through the workers. Made by the loop, which alone frees it; `lock` protects what is
 * marked so. */
typedef struct serve_job {
    struct serve_job *next;
    serve_kind kind;
    const char *route;
    mltf_buf body;       /* of the request */
    volatile int cancel; /* set by the loop */
    double timeout_s;    /* left when a worker takes it */
    double deadline;     /* CLOCK_MONOTONIC seconds */
    struct serve_queue *queue;
    // under the queue's lock
    mltf_buf events;               /* SSE text that the loop has not taken yet */
    bool streaming, done, noticed; /* noticed: already among those with news */
    struct serve_job *next_news;
    // the answer, read by the loop once done
    serve_reply reply;
    void *owner; /* the loop's */
} serve_job;

typedef struct serve_queue serve_queue;

/* The flag is read by the library without a lock, as mltf.h says it may be. */
static inline void serve_cancel(serve_job *job)
{
    __atomic_store_n(&job->cancel, 1, __ATOMIC_RELAXED);
}
static inline int serve_cancelled(const serve_job *job)
{
    return __atomic_load_n(&job->cancel, __ATOMIC_RELAXED);
}

/* wake_fd: an eventfd that is written whenever a job has news. */
mltf_status serve_queue_new(serve_queue **out, const serve_backend *b, int workers, size_t limit,
                            int wake_fd, mltf_err *err);
void serve_queue_free(serve_queue *q); /* waits for the workers; jobs must have been taken back */
bool serve_queue_add(serve_queue *q, serve_job *job); /* false: full */
/* Take a job back that no worker has begun; false: one has. */
bool serve_queue_remove(serve_queue *q, serve_job *job);
serve_job *
serve_queue_news(serve_queue *q); /* a job with events or done, once each time; NULL: no more */
/* Move the events into *text (appended); tells whether the job is done. */
void serve_queue_take(serve_queue *q, serve_job *job, mltf_buf *text, bool *streaming, bool *done);
void serve_queue_sizes(serve_queue *q, size_t *queued, size_t *running);

double serve_now(void); /* CLOCK_MONOTONIC seconds */

#endif
