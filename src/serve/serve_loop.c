/* The event loop: one thread, libevent's HTTP, no computing.
 *
 * An exchange is one request and its answer. It is in the list from arrival until both the client has been
 * answered (or has gone) and the worker has let go of its job; so a client that leaves is forgotten at once,
 * while its cancelled job may run on for a moment.
 *
 * Easy to get wrong: while a request is being computed evhttp does not read from the connection, so it does not
 * see the client leave; an EV_CLOSED event of ours does. A stream is written one chunk at a time, the next when
 * the last has left: what a slow reader has not taken waits in the job, where it is bounded. */
#include "serve/serve.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>

#define DEFAULT_TIMEOUT_S   60.0
#define DEFAULT_DRAIN_S     30.0
#define DEFAULT_QUEUE       256
#define DEFAULT_CONNECTIONS 1024
#define DEFAULT_BODY_BYTES  ((size_t)64 << 20)
#define DEFAULT_HEAD_BYTES  ((size_t)64 << 10)
#define IDLE_S              60 /* a connection that sends or takes nothing for so long is closed */
#define GRACE_S             0.25 /* the library notices a timeout by itself; only then the loop steps in */
/* Requests that are computed at a time share a batch (task_forward.c, task_schedule.c), so one more costs its
 * activations or its KV cache and no CPU; only tables are computed one by one. */
#define SHARING_WORKERS 32

typedef struct server server;

typedef struct exchange {
    struct exchange *prev, *next;
    server *sv;
    struct evhttp_request *req; /* NULL: answered, or the client has gone */
    struct evhttp_connection *conn;
    struct event *timer, *closed;
    serve_job job;
    bool done;    /* no worker holds the job */
    bool started; /* a stream whose head is sent */
    bool writing; /* a chunk is on its way */
    double began;
    size_t bytes_in, bytes_out;
} exchange;

struct server {
    const serve_backend *backend;
    const mltf_serve_options *opts;
    struct event_base *base;
    struct evhttp *http;
    struct evhttp_bound_socket *bound;
    struct evconnlistener *listener;
    struct event *wake, *term, *interrupt, *drain, *accept_again;
    serve_queue *queue;
    serve_metrics *metrics;
    int wake_fd, listen_fd;
    int port;
    bool draining, sees_close;
    exchange *first; /* all */
    size_t n_exchanges;
    size_t unsent;                             /* answers that have not left whole yet */
    size_t max_connections, accepted, counted; /* counted: at the last look, accepted: since then */
    double timeout_s, drain_s;
};

/* ---- the line in the log --------------------------------------------------------------------- */

static const char *method_name(enum evhttp_cmd_type type)
{
    switch (type) {
    case EVHTTP_REQ_GET:
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_HEAD:
        return "HEAD";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    case EVHTTP_REQ_OPTIONS:
        return "OPTIONS";
    case EVHTTP_REQ_TRACE:
        return "TRACE";
    case EVHTTP_REQ_CONNECT:
        return "CONNECT";
    case EVHTTP_REQ_PATCH:
        return "PATCH";
    default:
        return "OTHER";
    }
}

static void count_request(server *sv, struct evhttp_request *req, const char *route, int status,
                          double began, size_t in, size_t out)
{
    const double seconds = serve_now() - began;
    serve_metrics_count(sv->metrics, route, status, seconds, in, out);
    if (!sv->opts->on_log) return;
    char *peer = NULL;
    ev_uint16_t port = 0;
    if (req && evhttp_request_get_connection(req))
        evhttp_connection_get_peer(evhttp_request_get_connection(req), &peer, &port);
    mltf_buf line = {.max = 4096};
    const char *uri = req ? evhttp_request_get_uri(req) : route;
    buf_printf(&line, "%s:%u \"%s ", peer ? peer : "-", port,
               req ? method_name(evhttp_request_get_command(req)) : "-");
    for (const char *p = uri; *p && line.n < 1000; p++)
        buf_putc(&line, *p >= 0x20 && *p < 0x7f && *p != '"' ? *p : '?');
    buf_printf(&line, "\" %d %zu %.1f ms", status, out, seconds * 1e3);
    if (line.p) sv->opts->on_log(sv->opts->user, line.p);
    mltf_buf_release(&line);
}

/* ---- answers --------------------------------------------------------------------------------- */

static const char *reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 415:
        return "Unsupported Media Type";
    case 429:
        return "Too Many Requests";
    case 499:
        return "Client Closed Request";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    default:
        return "Internal Server Error";
    }
}

static void free_text(const void *data, size_t n, void *text)
{
    (void)data;
    (void)n;
    free(text);
}

static void leave_if_drained(server *sv)
{
    if (sv->draining && sv->n_exchanges == 0 && sv->unsent == 0) event_base_loopbreak(sv->base);
}

static void answer_left(server *sv)
{
    sv->unsent--;
    leave_if_drained(sv);
}

static void on_answer_sent(struct evhttp_request *req, void *arg)
{
    evhttp_connection_set_closecb(evhttp_request_get_connection(req), NULL, NULL);
    answer_left(arg);
}

static void on_answer_lost(struct evhttp_connection *conn, void *arg)
{
    (void)conn;
    answer_left(arg);
}

/* From here on the answer belongs to evhttp; exactly one of the two above tells what became of it. */
static void watch_answer(server *sv, struct evhttp_request *req)
{
    sv->unsent++;
    evhttp_request_set_on_complete_cb(req, on_answer_sent, sv);
    evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_answer_lost, sv);
}

/* Takes the body out of the reply. */
static void send_reply(server *sv, struct evhttp_request *req, serve_reply *r)
{
    struct evkeyvalq *head = evhttp_request_get_output_headers(req);
    struct evbuffer *body = evbuffer_new();
    if (r->type) evhttp_add_header(head, "Content-Type", r->type);
    if (r->allow) evhttp_add_header(head, "Allow", r->allow);
    if (r->status == 503) evhttp_add_header(head, "Retry-After", "1");
    if (sv->draining) evhttp_add_header(head, "Connection", "close");
    const bool bodiless = evhttp_request_get_command(req) == EVHTTP_REQ_HEAD;
    if (body && r->body.p && !bodiless &&
        evbuffer_add_reference(body, r->body.p, r->body.n, free_text, r->body.p) == 0)
        r->body = (mltf_buf)MLTF_BUF_INIT;
    watch_answer(sv, req);
    evhttp_send_reply(req, r->status, reason(r->status), body);
    if (body) evbuffer_free(body);
    mltf_buf_release(&r->body);
}

/* ---- the end of an exchange ------------------------------------------------------------------ */

static void exchange_free(exchange *ex)
{
    server *sv = ex->sv;
    if (ex->prev)
        ex->prev->next = ex->next;
    else
        sv->first = ex->next;
    if (ex->next) ex->next->prev = ex->prev;
    sv->n_exchanges--;
    if (ex->timer) event_free(ex->timer);
    if (ex->closed) event_free(ex->closed);
    mltf_buf_release(&ex->job.body);
    mltf_buf_release(&ex->job.events);
    mltf_buf_release(&ex->job.reply.body);
    free(ex);
}

/* Stop watching the client. */
static void let_go(exchange *ex)
{
    if (ex->conn) evhttp_connection_set_closecb(ex->conn, NULL, NULL);
    if (ex->closed) event_free(ex->closed);
    if (ex->timer) event_free(ex->timer);
    ex->conn = NULL;
    ex->req = NULL;
    ex->closed = ex->timer = NULL;
}

/* The client needs nothing more from us. The exchange lives on until its job is done. */
static void finish(exchange *ex)
{
    server *sv = ex->sv;
    serve_cancel(&ex->job);
    if (!ex->done && serve_queue_remove(sv->queue, &ex->job)) ex->done = true;
    if (ex->done && !ex->job.noticed) {
        exchange_free(ex);
        leave_if_drained(sv);
    }
}

static void answer(exchange *ex, serve_reply *r)
{
    struct evhttp_request *req = ex->req;
    count_request(ex->sv, req, ex->job.route, r->status, ex->began, ex->bytes_in, r->body.n);
    let_go(ex);
    send_reply(ex->sv, req, r);
    finish(ex);
}

static void client_gone(exchange *ex)
{
    count_request(ex->sv, NULL, ex->job.route, 499, ex->began, ex->bytes_in, ex->bytes_out);
    let_go(ex);
    finish(ex);
}

/* evhttp is about to free the connection: a write failed, or it timed out. It has taken the unanswered request
 * off the connection and left it to us. */
static void on_connection_lost(struct evhttp_connection *conn, void *arg)
{
    (void)conn;
    struct evhttp_request *req = ((exchange *)arg)->req;
    client_gone(arg);
    if (req && !evhttp_request_get_connection(req)) evhttp_request_free(req);
}

static void on_peer_closed(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    exchange *ex = arg;
    struct evhttp_connection *conn = ex->conn;
    client_gone(ex);
    if (conn) evhttp_connection_free(conn);
}

/* ---- streams --------------------------------------------------------------------------------- */

static void advance(exchange *ex);

static void on_chunk_written(struct evhttp_connection *conn, void *arg)
{
    (void)conn;
    exchange *ex = arg;
    ex->writing = false;
    advance(ex);
}

static void stream_start(exchange *ex)
{
    struct evkeyvalq *head = evhttp_request_get_output_headers(ex->req);
    evhttp_add_header(head, "Content-Type", "text/event-stream; charset=utf-8");
    evhttp_add_header(head, "Cache-Control", "no-cache");
    if (ex->sv->draining) evhttp_add_header(head, "Connection", "close");
    evhttp_send_reply_start(ex->req, 200, "OK");
    ex->started = true;
}

/* Text, and what ends the stream if it is over. */
static void stream_send(exchange *ex, mltf_str text, const mltf_buf *end)
{
    struct evbuffer *b = evbuffer_new();
    if (!b) { // no memory: nothing can be said any more
        struct evhttp_connection *conn = ex->conn;
        client_gone(ex);
        if (conn) evhttp_connection_free(conn);
        return;
    }
    evbuffer_add(b, text.p, text.n);
    if (end && end->n) evbuffer_add(b, end->p, end->n);
    ex->bytes_out += evbuffer_get_length(b);
    struct evhttp_request *req = ex->req;
    if (end) {
        count_request(ex->sv, req, ex->job.route, 200, ex->began, ex->bytes_in, ex->bytes_out);
        let_go(ex);
        watch_answer(ex->sv, req);
        if (evbuffer_get_length(b)) evhttp_send_reply_chunk(req, b);
        evhttp_send_reply_end(req);
        evbuffer_free(b);
        finish(ex);
        return;
    }
    ex->writing = true;
    evhttp_send_reply_chunk_with_cb(req, b, on_chunk_written, ex);
    evbuffer_free(b);
}

/* Pass on what the job has made since the last time. */
static void advance(exchange *ex)
{
    if (ex->writing && ex->req) return; // on_chunk_written() comes back here
    mltf_buf text = MLTF_BUF_INIT;
    bool streaming;
    serve_queue_take(ex->sv->queue, &ex->job, &text, &streaming, &ex->done);
    if (!ex->req) { // nobody listens
        if (ex->done) {
            server *sv = ex->sv;
            exchange_free(ex);
            leave_if_drained(sv);
        }
    } else if (!streaming && ex->done &&
               !(ex->job.reply.type && strncmp(ex->job.reply.type, "text/event-stream", 17) == 0)) {
        answer(ex, &ex->job.reply);
    } else if (streaming || ex->done) {
        if (!ex->started) stream_start(ex);
        if (text.n || ex->done)
            stream_send(ex, buf_str(&text), ex->done ? &ex->job.reply.body : NULL);
    }
    mltf_buf_release(&text);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    server *sv = arg;
    uint64_t n;
    if (read(fd, &n, sizeof n) < 0) n = 0;
    for (serve_job *job; (job = serve_queue_news(sv->queue));) advance(job->owner);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    exchange *ex = arg;
    mltf_err err = {0};
    serve_reply r = {0};
    mltf_fail(&err, MLTF_TIMEOUT, "Request processing time exceeded limit");
    serve_error_reply(ex->job.kind, &err, &r);
    if (!ex->started) {
        answer(ex, &r);
    } else {
        mltf_buf end = MLTF_BUF_INIT;
        buf_puts(&end, "data: ");
        buf_put_str(&end, buf_str(&r.body));
        buf_puts(&end, "\n\ndata: [DONE]\n\n");
        stream_send(ex, (mltf_str){"", 0}, &end);
        mltf_buf_release(&end);
    }
    mltf_buf_release(&r.body);
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct timeval seconds(double s)
{
    struct timeval tv = {.tv_sec = (time_t)s};
    tv.tv_usec = (suseconds_t)((s - (double)tv.tv_sec) * 1e6);
    return tv;
}

static mltf_status enqueue(server *sv, struct evhttp_request *req, serve_kind kind,
                           const char *route, double began, mltf_err *err)
{
    struct evbuffer *input = evhttp_request_get_input_buffer(req);
    const size_t n = evbuffer_get_length(input);
    exchange *ex = calloc(1, sizeof *ex);
    if (!ex) return mltf_fail_memory(err);
    ex->sv = sv;
    ex->began = began;
    ex->bytes_in = n;
    ex->job.owner = ex;
    ex->job.kind = kind;
    ex->job.route = route;
    ex->job.deadline = began + sv->timeout_s;
    if (!buf_reserve(&ex->job.body, n)) {
        free(ex);
        return mltf_fail_memory(err);
    }
    const int got = n ? evbuffer_remove(input, ex->job.body.p, n) : 0;
    ex->job.body.n = got > 0 ? (size_t)got : 0;
    ex->job.body.p[ex->job.body.n] = 0;
    ex->next = sv->first;
    if (sv->first) sv->first->prev = ex;
    sv->first = ex;
    sv->n_exchanges++;
    if (!serve_queue_add(sv->queue, &ex->job)) {
        exchange_free(ex);
        return mltf_fail(err, MLTF_UNAVAILABLE,
                         "the server has as many waiting requests as it may have; try again later");
    }
    ex->req = req;
    ex->conn = evhttp_request_get_connection(req);
    evhttp_connection_set_closecb(ex->conn, on_connection_lost, ex);
    const struct timeval limit = seconds(sv->timeout_s + GRACE_S);
    ex->timer = event_new(sv->base, -1, 0, on_timeout, ex);
    if (ex->timer) event_add(ex->timer, &limit);
    if (sv->sees_close) {
        const evutil_socket_t fd = bufferevent_getfd(evhttp_connection_get_bufferevent(ex->conn));
        ex->closed = event_new(sv->base, fd, EV_CLOSED, on_peer_closed, ex);
        if (ex->closed) event_add(ex->closed, NULL);
    }
    return MLTF_OK;
}

static void on_request(struct evhttp_request *req, void *arg)
{
    server *sv = arg;
    const double began = serve_now();
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    struct evbuffer *input = evhttp_request_get_input_buffer(req);
    const serve_request r = {
        .method = method_name(evhttp_request_get_command(req)),
        .path = path && *path ? path : "/",
        .content_type = evhttp_find_header(evhttp_request_get_input_headers(req), "Content-Type"),
    };
    serve_reply reply = {0};
    const char *route;
    const serve_kind kind = serve_route(sv->backend, &r, &reply, &route);
    if (kind == SERVE_METRICS) {
        size_t queued, running;
        serve_queue_sizes(sv->queue, &queued, &running);
        reply.status = 200;
        reply.type = "text/plain; version=0.0.4; charset=utf-8";
        serve_metrics_write(sv->metrics, queued, running, sv->n_exchanges, &reply.body);
    } else if (kind == SERVE_READY) {
        reply.status = sv->draining ? 503 : 200;
        reply.type = "application/json";
        buf_puts(&reply.body, sv->draining ? "{\"ready\":false}" : "{\"ready\":true}");
    } else if (kind != SERVE_NOW) {
        mltf_err err = {0};
        mltf_status st = MLTF_OK;
        if (sv->draining)
            st = mltf_fail(&err, MLTF_UNAVAILABLE, "the server is stopping");
        else
            st = enqueue(sv, req, kind, route, began, &err);
        if (st == MLTF_OK) return;
        serve_error_reply(kind, &err, &reply);
    }
    count_request(sv, req, route, reply.status, began, evbuffer_get_length(input), reply.body.n);
    send_reply(sv, req, &reply);
}

/* ---- connections ----------------------------------------------------------------------------- */

/* Sockets of this process that are connected to our port. evhttp does not tell when it closes one. */
static size_t count_connections(const server *sv)
{
    DIR *d = opendir("/proc/self/fd");
    if (!d) return 0;
    size_t n = 0;
    for (const struct dirent *e; (e = readdir(d));) {
        const int fd = atoi(e->d_name);
        struct sockaddr_storage a = {0};
        socklen_t len = sizeof a;
        if (fd <= 2 || fd == sv->listen_fd || getsockname(fd, (struct sockaddr *)&a, &len))
            continue;
        const in_port_t port = a.ss_family == AF_INET    ? ((struct sockaddr_in *)&a)->sin_port
                               : a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                                         : 0;
        n += port && ntohs(port) == sv->port;
    }
    closedir(d);
    return n;
}

static void look_again(server *sv)
{
    const struct timeval soon = {.tv_usec = 50000};
    evconnlistener_disable(sv->listener); // the kernel keeps who comes now waiting
    event_add(sv->accept_again, &soon);
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    server *sv = arg;
    if (sv->draining) return;
    sv->counted = count_connections(sv);
    sv->accepted = 0;
    if (sv->counted >= sv->max_connections)
        look_again(sv);
    else
        evconnlistener_enable(sv->listener);
}

/* Called by evhttp for each new connection; NULL: it makes the bufferevent itself. */
static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
    (void)base;
    server *sv = arg;
    sv->accepted++;
    if (sv->counted + sv->accepted >= sv->max_connections) {
        sv->counted = count_connections(sv);
        sv->accepted = 0;
        if (sv->counted >= sv->max_connections) look_again(sv);
    }
    return NULL;
}

static void on_accept_error(struct evconnlistener *l, void *arg)
{
    (void)l;
    look_again(arg); // out of file descriptors, most likely
}

/* ---- start and stop -------------------------------------------------------------------------- */

static void on_drain_over(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(((server *)arg)->base);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    server *sv = arg;
    if (sv->draining) { // the second one is meant
        event_base_loopbreak(sv->base);
        return;
    }
    sv->draining = true;
    event_del(sv->accept_again);
    evhttp_del_accept_socket(sv->http, sv->bound);
    sv->bound = NULL;
    const struct timeval limit = seconds(sv->drain_s);
    event_add(sv->drain, &limit);
    leave_if_drained(sv);
}

static mltf_status bind_address(server *sv, const char *host, int port, mltf_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    const int rc = getaddrinfo(host, service, &hints, &found);
    if (rc)
        return mltf_fail(err, MLTF_IO, "could not find the address \"%s\": %s", host,
                         gai_strerror(rc));
    int failed = EADDRNOTAVAIL;
    for (const struct addrinfo *a = found; a && !sv->listener; a = a->ai_next) {
        sv->listener = evconnlistener_new_bind(
            sv->base, NULL, NULL, LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_CLOSE_ON_FREE,
            1024, a->ai_addr, (int)a->ai_addrlen);
        if (!sv->listener) failed = errno;
    }
    freeaddrinfo(found);
    if (!sv->listener) {
        char where[300];
        snprintf(where, sizeof where, "%s:%d", host, port);
        mltf_fail_errno(err, failed, "listen on", where);
        if (err) err->status = MLTF_IO;
        return MLTF_IO;
    }
    sv->listen_fd = evconnlistener_get_fd(sv->listener);
    // connections inherit it: else the tail of a reply waits 40 ms for the client's acknowledgement
    (void)setsockopt(sv->listen_fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof own;
    getsockname(sv->listen_fd, (struct sockaddr *)&own, &len);
    sv->port = ntohs(own.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&own)->sin6_port
                                               : ((struct sockaddr_in *)&own)->sin_port);
    sv->bound = evhttp_bind_listener(sv->http, sv->listener);
    if (!sv->bound) {
        evconnlistener_free(sv->listener);
        return mltf_fail_memory(err);
    }
    evconnlistener_set_error_cb(sv->listener, on_accept_error);
    return MLTF_OK;
}

static int default_workers(const serve_backend *b)
{
    if (b->task && strcmp(b->task, "table-question-answering") != 0) return SHARING_WORKERS;
    cpu_set_t cpus;
    const int n = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return n > 0 ? n : 1;
}

static void on_libevent_message(int severity, const char *text)
{
    (void)severity;
    (void)text; // the library does not print
}

static mltf_status set_up(server *sv, mltf_err *err)
{
    const mltf_serve_options *o = sv->opts;
    struct event_config *config = event_config_new();
    if (config) event_config_require_features(config, EV_FEATURE_EARLY_CLOSE);
    sv->base = config ? event_base_new_with_config(config) : NULL;
    sv->sees_close = sv->base != NULL;
    if (config) event_config_free(config);
    if (!sv->base) sv->base = event_base_new();
    sv->http = sv->base ? evhttp_new(sv->base) : NULL;
    if (!sv->http) return mltf_fail_memory(err);
    evhttp_set_allowed_methods(sv->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
                                             EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                             EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE |
                                             EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH);
    const size_t head = o->max_header_bytes ? o->max_header_bytes : DEFAULT_HEAD_BYTES;
    const size_t body = o->max_body_bytes ? o->max_body_bytes : DEFAULT_BODY_BYTES;
    evhttp_set_max_headers_size(sv->http, (ssize_t)head);
    evhttp_set_max_body_size(sv->http, (ssize_t)body);
    evhttp_set_timeout(sv->http, IDLE_S);
    evhttp_set_gencb(sv->http, on_request, sv);
    evhttp_set_bevcb(sv->http, on_connection, sv);
    sv->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (sv->wake_fd < 0) return mltf_fail_errno(err, errno, "make", "an eventfd");
    sv->wake = event_new(sv->base, sv->wake_fd, EV_READ | EV_PERSIST, on_wake, sv);
    sv->term = evsignal_new(sv->base, SIGTERM, on_signal, sv);
    sv->interrupt = evsignal_new(sv->base, SIGINT, on_signal, sv);
    sv->drain = event_new(sv->base, -1, 0, on_drain_over, sv);
    sv->accept_again = event_new(sv->base, -1, 0, on_accept_again, sv);
    if (!sv->wake || !sv->term || !sv->interrupt || !sv->drain || !sv->accept_again)
        return mltf_fail_memory(err);
    TRY(serve_metrics_new(&sv->metrics, err));
    TRY(bind_address(sv, o->host ? o->host : "127.0.0.1", o->port, err));
    const int workers = o->workers > 0 ? o->workers : default_workers(sv->backend);
    TRY(serve_queue_new(&sv->queue, sv->backend, workers,
                        o->queue > 0 ? (size_t)o->queue : DEFAULT_QUEUE, sv->wake_fd, err));
    event_add(sv->wake, NULL);
    event_add(sv->term, NULL);
    event_add(sv->interrupt, NULL);
    return MLTF_OK;
}

static void tear_down(server *sv)
{
    for (exchange *ex = sv->first; ex; ex = ex->next) serve_cancel(&ex->job);
    serve_queue_free(sv->queue); // every job is done now
    for (exchange *ex = sv->first; ex; ex = ex->next)
        if (ex->conn) evhttp_connection_set_closecb(ex->conn, NULL, NULL);
    while (sv->first) exchange_free(sv->first);
    struct event *const events[] = {sv->wake, sv->term, sv->interrupt, sv->drain, sv->accept_again};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i]) event_free(events[i]);
    if (sv->http) evhttp_free(sv->http);
    if (sv->base) event_base_free(sv->base);
    if (sv->wake_fd >= 0) close(sv->wake_fd);
    serve_metrics_free(sv->metrics);
}

mltf_status serve_run(const serve_backend *backend, const mltf_serve_options *opts, mltf_err *err)
{
    const mltf_serve_options none = {0};
    server sv = {.backend = backend, .opts = opts ? opts : &none, .wake_fd = -1, .listen_fd = -1};
    sv.timeout_s = sv.opts->timeout_s > 0 ? sv.opts->timeout_s : DEFAULT_TIMEOUT_S;
    sv.drain_s = sv.opts->drain_s > 0 ? sv.opts->drain_s : DEFAULT_DRAIN_S;
    sv.max_connections =
        sv.opts->connections > 0 ? (size_t)sv.opts->connections : DEFAULT_CONNECTIONS;
    struct sigaction ignore = {.sa_handler = SIG_IGN},
                     before; // a client that left must not end the process
    sigaction(SIGPIPE, &ignore, &before);
    event_set_log_callback(on_libevent_message);
    const mltf_status st = set_up(&sv, err);
    if (st == MLTF_OK) {
        if (sv.opts->on_ready)
            sv.opts->on_ready(sv.opts->user, sv.opts->host ? sv.opts->host : "127.0.0.1", sv.port);
        event_base_dispatch(sv.base);
    }
    tear_down(&sv);
    event_set_log_callback(NULL);
    sigaction(SIGPIPE, &before, NULL);
    return st;
}
