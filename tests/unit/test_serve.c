/* The server over a model of the test's own: answers and codes, broken requests, many connections, clients that
 * leave, slow readers, full queues, timeouts, draining. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "serve/serve.h"

/* ---- a model that does as it is told --------------------------------------------------------- */

static atomic_int running, cancelled, calls;
static atomic_bool gate_open; // "gated" requests end when it is

static void nap(int ms)
{
    const struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static bool says(const char *body, size_t n, const char *word)
{
    return memmem(body, n, word, strlen(word)) != NULL;
}

static mltf_status wait_for_cancel(const mltf_predict_options *o, int ms, mltf_err *err)
{
    const double start = serve_now();
    while (serve_now() - start < ms * 1e-3) {
        if (__atomic_load_n(o->cancel, __ATOMIC_RELAXED)) {
            cancelled++;
            return mltf_fail(err, MLTF_CANCELLED, "cancelled");
        }
        if (o->timeout_s > 0 && serve_now() - start > o->timeout_s)
            return mltf_fail(err, MLTF_TIMEOUT, "too slow");
        nap(5);
    }
    return MLTF_OK;
}

static mltf_status fake_predict(const void *model, bool csv, const char *body, size_t n,
                                const mltf_predict_options *o, mltf_buf *answer, mltf_err *err)
{
    (void)model;
    calls++;
    running++;
    mltf_status st = MLTF_OK;
    if (says(body, n, "sleep")) st = wait_for_cancel(o, 8000, err);
    if (says(body, n, "nap")) st = wait_for_cancel(o, 300, err);
    for (int i = 0; says(body, n, "gated") && !gate_open && i < 5000; i++) nap(2);
    if (says(body, n, "deaf")) nap(1500); // hears neither cancel nor deadline
    if (says(body, n, "fail")) st = mltf_fail(err, MLTF_INVALID_INPUT, "no such \"thing\"");
    if (st == MLTF_OK && says(body, n, "big"))
        for (int i = 0; i < 5 << 17; i++) buf_puts(answer, "01234567");
    else if (st == MLTF_OK)
        buf_printf(answer, "{\"csv\": %d, \"bytes\": %zu}", csv, n);
    running--;
    return st;
}

static mltf_status fake_openai(const void *model, const char *endpoint, const char *body, size_t n,
                               const mltf_predict_options *o, mltf_stream_fn on_event, void *user,
                               mltf_buf *answer, mltf_err *err)
{
    (void)model;
    calls++;
    if (says(body, n, "fail")) return mltf_fail(err, MLTF_BAD_REQUEST, "no such field");
    if (says(body, n, "stream")) {
        const bool endless = says(body, n, "endless");
        char *event = calloc(1, 8193);
        memset(event, 'x', endless ? 8192 : 20);
        for (int i = 0; endless || i < 5; i++) {
            if (on_event(user, event, strlen(event)) ||
                __atomic_load_n(o->cancel, __ATOMIC_RELAXED)) {
                cancelled++;
                free(event);
                return mltf_fail(err, MLTF_CANCELLED, "cancelled");
            }
            if (!says(body, n, "fast")) nap(5);
        }
        free(event);
        if (says(body, n, "break")) return mltf_fail(err, MLTF_INTERNAL, "it broke");
        return MLTF_OK;
    }
    buf_printf(answer, "{\"endpoint\": \"%s\"}", endpoint);
    return MLTF_OK;
}

static const serve_backend fake = {
    .name = "fake", .task = "text-classification", .predict = fake_predict, .openai = fake_openai};

/* ---- a server in a thread -------------------------------------------------------------------- */

typedef struct running_server {
    mltf_serve_options o;
    pthread_t thread;
    atomic_int port;
    mltf_status status;
    mltf_err err;
} running_server;

static void on_ready(void *user, const char *host, int port)
{
    (void)host;
    ((running_server *)user)->port = port;
}

static void *serve_thread(void *user)
{
    running_server *s = user;
    s->status = serve_run(&fake, &s->o, &s->err);
    return NULL;
}

static void start(running_server *s)
{
    s->o.on_ready = on_ready;
    s->o.user = s;
    s->port = 0;
    running = cancelled = calls = 0;
    assert_int_equal(pthread_create(&s->thread, NULL, serve_thread, s), 0);
    while (!s->port) nap(1);
}

static void stop(running_server *s)
{
    kill(getpid(), SIGTERM);
    pthread_join(s->thread, NULL);
    assert_int_equal(s->status, MLTF_OK);
}

static int dial(running_server *s)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)s->port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval limit = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n) {
        const ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0) return;
        p += k;
        n -= (size_t)k;
    }
}

/* Everything until the other side closes, or `until` was seen. */
static void receive(int fd, mltf_buf *out, const char *until)
{
    char room[65536];
    for (;;) {
        if (until && out->p && strstr(out->p, until)) return;
        const ssize_t k = recv(fd, room, sizeof room, 0);
        if (k <= 0) return;
        buf_append(out, room, (size_t)k);
    }
}

/* One request on a connection of its own; the whole answer. */
static mltf_buf ask(running_server *s, const char *method, const char *path, const char *type,
                    const char *body)
{
    mltf_buf req = MLTF_BUF_INIT, answer = MLTF_BUF_INIT;
    buf_printf(&req, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", method, path);
    if (type) buf_printf(&req, "Content-Type: %s\r\n", type);
    if (body)
        buf_printf(&req, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    else
        buf_puts(&req, "\r\n");
    const int fd = dial(s);
    assert_true(fd >= 0);
    send_all(fd, req.p, req.n);
    receive(fd, &answer, NULL);
    close(fd);
    mltf_buf_release(&req);
    if (!answer.p) buf_puts(&answer, "");
    return answer;
}

static void expect(running_server *s, const char *method, const char *path, const char *type,
                   const char *body, int status, const char *answer_type, const char *text)
{
    mltf_buf a = ask(s, method, path, type, body);
    int got = 0;
    sscanf(a.p, "HTTP/1.1 %d", &got);
    char head[200];
    snprintf(head, sizeof head, "\r\nContent-Type: %s\r\n", answer_type);
    const char *end = strstr(a.p, "\r\n\r\n");
    if (got != status || !end || !strstr(a.p, head) || !strstr(end + 4, text))
        fail_msg("%s %s\n  got\n%s\n  want %d %s %s", method, path, a.p, status, answer_type, text);
    mltf_buf_release(&a);
}

/* ---- tests ----------------------------------------------------------------------------------- */

#define JSON "application/json"

static void serve_answers_as_the_scoring_server_and_openai_do(void **state)
{
    (void)state;
    running_server s = {0};
    start(&s);
    expect(&s, "GET", "/ping", NULL, NULL, 200, JSON, "\n");
    expect(&s, "GET", "/health?x=1", NULL, NULL, 200, JSON, "\n");
    expect(&s, "GET", "/version", NULL, NULL, 200, JSON, "3.17.2");
    expect(&s, "GET", "/invocations", JSON, NULL, 405, JSON, "{\"detail\":\"Method Not Allowed\"}");
    expect(&s, "DELETE", "/v1/models", NULL, NULL, 405, JSON,
           "{\"detail\":\"Method Not Allowed\"}");
    expect(&s, "GET", "/nowhere", NULL, NULL, 404, JSON, "{\"detail\":\"Not Found\"}");
    expect(&s, "POST", "/invocations", JSON, "{}", 200, JSON, "{\"csv\": 0, \"bytes\": 2}");
    expect(&s, "POST", "/invocations", NULL, "{}", 200, JSON, "{\"csv\": 0, \"bytes\": 2}");
    expect(&s, "POST", "/invocations", "application/json; charset=UTF-8", "{}", 200, JSON,
           "{\"csv\": 0, \"bytes\": 2}");
    expect(&s, "POST", "/invocations", "text/csv", "a\n1\n", 200, JSON,
           "{\"csv\": 1, \"bytes\": 4}");
    expect(&s, "POST", "/invocations", "application/json; charset=latin-1", "{}", 415,
           "text/plain; charset=utf-8", "The scoring server only supports UTF-8");
    expect(&s, "POST", "/invocations", "application/json; odd=1", "{}", 415,
           "text/plain; charset=utf-8",
           "Unrecognized content type parameters: odd. IMPORTANT: The MLflow Model scoring "
           "protocol has changed in MLflow version 2.0. If");
    expect(&s, "POST", "/invocations", "text/plain", "hello", 415, "text/plain; charset=utf-8",
           "This predictor only supports the following content types: Types: ['text/csv', "
           "'application/json', "
           "'application/vnd.apache.parquet']. Got 'text/plain'.");
    expect(&s, "POST", "/invocations", JSON, "fail", 400, JSON,
           "{\"error_code\": \"INVALID_PARAMETER_VALUE\", \"message\": \"no such \\\"thing\\\"\"");
    expect(&s, "GET", "/v1/models", NULL, NULL, 200, JSON,
           "{\"object\": \"list\", \"data\": [{\"id\": \"fake\", \"object\": \"model\"");
    expect(&s, "GET", "/v1/models/fake", NULL, NULL, 200, JSON,
           "{\"id\": \"fake\", \"object\": \"model\"");
    expect(&s, "GET", "/v1/models/other", NULL, NULL, 404, JSON, "\"code\": \"model_not_found\"");
    expect(&s, "POST", "/v1/chat/completions", JSON, "{}", 200, JSON, "{\"endpoint\": \"chat\"}");
    expect(&s, "POST", "/v1/completions", JSON, "{}", 200, JSON, "{\"endpoint\": \"completions\"}");
    expect(&s, "POST", "/v1/embeddings", JSON, "{}", 200, JSON, "{\"endpoint\": \"embeddings\"}");
    expect(&s, "POST", "/v1/chat/completions", JSON, "fail", 400, JSON,
           "{\"error\": {\"message\": \"no such field\", \"type\": \"invalid_request_error\", "
           "\"param\": null, \"code\": null}}");
    expect(&s, "GET", "/ready", NULL, NULL, 200, JSON, "{\"ready\":true}");
    expect(&s, "GET", "/metrics", NULL, NULL, 200, "text/plain; version=0.0.4; charset=utf-8",
           "mltf_requests_total{route=\"/invocations\",status=\"415\"} 3\n");
    mltf_buf a = ask(&s, "HEAD", "/ping", NULL, NULL);
    assert_memory_equal(a.p, "HTTP/1.1 405", 12);
    mltf_buf_release(&a);
    stop(&s);
}

static void serve_streams_events_and_done(void **state)
{
    (void)state;
    running_server s = {0};
    start(&s);
    expect(&s, "POST", "/v1/chat/completions", JSON, "{\"stream\": true}", 200,
           "text/event-stream; charset=utf-8", "data: xxxxxxxxxxxxxxxxxxxx\n\n");
    expect(&s, "POST", "/v1/chat/completions", JSON, "{\"stream\": true}", 200,
           "text/event-stream; charset=utf-8", "data: [DONE]\n\n");
    expect(&s, "POST", "/v1/completions", JSON, "{\"stream\": \"break\"}", 200,
           "text/event-stream; charset=utf-8",
           "data: {\"error\": {\"message\": \"it broke\", \"type\": \"server_error\", \"param\": "
           "null, \"code\": null}}\n\n");
    expect(&s, "POST", "/v1/chat/completions", JSON, "{\"stream\": \"fail\"}", 400, JSON,
           "no such field");
    stop(&s);
}

static void serve_refuses_broken_requests(void **state)
{
    (void)state;
    running_server s = {.o = {.max_body_bytes = 1000, .max_header_bytes = 2000}};
    start(&s);
    mltf_buf long_header = MLTF_BUF_INIT;
    buf_puts(&long_header, "GET /ping HTTP/1.1\r\nX: ");
    for (int i = 0; i < 5000; i++) buf_putc(&long_header, 'a');
    buf_puts(&long_header, "\r\n\r\n");
    const struct {
        const char *text, *want; // want: a beginning, or "" for a closed connection
    } broken[] = {
        {"garbage\r\n\r\n", "HTTP/1.1 400"},
        {"GET\r\n\r\n", "HTTP/1.1 400"},
        {"GET /ping HTTP/9.9\r\n\r\n", "HTTP/1.1 4"},
        {"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", "HTTP/1.1 400"},
        {"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
         "HTTP/1.1 4"},
        {"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", "HTTP/1.1 400"},
        {"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n", "HTTP/1.1 413"},
        {"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: "
         "chunked\r\n\r\n0\r\n\r\n",
         "HTTP/1.1 400"},
        {"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nx",
         "HTTP/1.1 413"},
        {"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx",
         "HTTP/1.1 4"},
        {"POST http:// HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 4"},
        {"GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 4"},
        {"PROPFIND / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 "},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HTTP/1.1 400"},
        {long_header.p, "HTTP/1.1 4"},
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        mltf_buf a = MLTF_BUF_INIT;
        const int fd = dial(&s);
        send_all(fd, broken[i].text, strlen(broken[i].text));
        // a body that is too long and cut off as well may be told either way: this client would send on
        const bool sends_on = strstr(broken[i].want, "413");
        if (!sends_on) shutdown(fd, SHUT_WR);
        receive(fd, &a, sends_on ? "\r\n\r\n" : NULL);
        close(fd);
        if (a.n && strncmp(a.p, broken[i].want, strlen(broken[i].want)) != 0)
            fail_msg("%.60s: got %.80s, want %s", broken[i].text, a.p, broken[i].want);
        mltf_buf_release(&a);
    }
    mltf_buf_release(&long_header);
    expect(&s, "GET", "/ping", NULL, NULL, 200, JSON, "\n"); // it is still there
    assert_int_equal(calls, 0);
    stop(&s);
}

static void serve_keeps_connections_and_takes_pipelined_requests(void **state)
{
    (void)state;
    running_server s = {0};
    start(&s);
    const int fd = dial(&s);
    const char one[] = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    mltf_buf a = MLTF_BUF_INIT;
    for (int i = 0; i < 20; i++) {
        send_all(fd, one, sizeof one - 1);
        buf_clear(&a);
        receive(fd, &a, "\"bytes\": 3}");
        assert_non_null(strstr(a.p, "HTTP/1.1 200"));
    }
    buf_clear(&a);
    send_all(fd, one, sizeof one - 1);
    send_all(fd, one, sizeof one - 1);
    const char last[] = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
    send_all(fd, last, sizeof last - 1);
    receive(fd, &a, "3.17.2");
    assert_non_null(strstr(a.p, "3.17.2"));
    assert_int_equal(calls, 22);
    close(fd);
    mltf_buf_release(&a);
    stop(&s);
}

static void serve_answers_many_connections_at_once(void **state)
{
    (void)state;
    enum { MANY = 300 };
    running_server s = {.o = {.workers = 4, .queue = 1000}};
    start(&s);
    int fd[MANY];
    const char req[] = "POST /invocations HTTP/1.1\r\nHost: x\r\nConnection: "
                       "close\r\nContent-Length: 3\r\n\r\nabc";
    for (int i = 0; i < MANY; i++) {
        fd[i] = dial(&s);
        assert_true(fd[i] >= 0);
    }
    for (int i = 0; i < MANY; i++) send_all(fd[i], req, sizeof req - 1);
    for (int i = 0; i < MANY; i++) {
        mltf_buf a = MLTF_BUF_INIT;
        receive(fd[i], &a, NULL);
        assert_non_null(strstr(a.p, "\"bytes\": 3}"));
        close(fd[i]);
        mltf_buf_release(&a);
    }
    assert_int_equal(calls, MANY);
    stop(&s);
}

static void wait_until(atomic_int *what, int value, const char *name)
{
    const double from = serve_now();
    while (*what != value && serve_now() - from < 5) nap(2);
    if (*what != value) fail_msg("%s stayed %d instead of %d", name, *what, value);
}

static void serve_cancels_what_a_client_leaves_behind(void **state)
{
    (void)state;
    running_server s = {.o = {.workers = 2}};
    start(&s);
    const char *const bodies[] = {
        "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nsleep",
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\nstream "
        "endless"};
    for (int i = 0; i < 2; i++) {
        const int before = cancelled;
        const int fd = dial(&s);
        send_all(fd, bodies[i], strlen(bodies[i]));
        if (i == 0)
            wait_until(&running, 1, "running");
        else
            nap(100);
        close(fd);
        wait_until(&cancelled, before + 1, "cancelled");
    }
    expect(&s, "GET", "/ping", NULL, NULL, 200, JSON, "\n");
    stop(&s);
}

static void serve_gives_up_readers_that_do_not_read(void **state)
{
    (void)state;
    running_server s = {0};
    start(&s);
    const int fd = dial(&s);
    const char req[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: "
                       "19\r\n\r\nstream endless fast";
    send_all(fd, req, sizeof req - 1);
    wait_until(&cancelled, 1, "cancelled"); // 1 MiB beyond what the kernel takes
    close(fd);
    stop(&s);
}

static void serve_delivers_large_answers_whole(void **state)
{
    (void)state;
    running_server s = {0};
    start(&s);
    mltf_buf a = ask(&s, "POST", "/invocations", JSON, "big");
    const char *body = strstr(a.p, "\r\n\r\n");
    assert_non_null(body);
    assert_int_equal(a.n - (size_t)(body + 4 - a.p), 5u << 20);
    mltf_buf_release(&a);
    stop(&s);
}

static void serve_refuses_when_the_queue_is_full(void **state)
{
    (void)state;
    running_server s = {.o = {.workers = 1, .queue = 1}};
    gate_open = false;
    start(&s);
    const char req[] = "POST /invocations HTTP/1.1\r\nHost: x\r\nConnection: "
                       "close\r\nContent-Length: 5\r\n\r\ngated";
    const int first = dial(&s);
    send_all(first, req, sizeof req - 1);
    wait_until(&running, 1, "running");
    const int second = dial(&s);
    send_all(second, req, sizeof req - 1);
    for (double from = serve_now(); serve_now() - from < 5; nap(2)) { // until the second waits
        mltf_buf m = ask(&s, "GET", "/metrics", NULL, "");
        const bool waits = strstr(m.p, "mltf_queued_requests 1") != NULL;
        mltf_buf_release(&m);
        if (waits) break;
    }
    expect(&s, "POST", "/invocations", JSON, "gated", 503, JSON,
           "{\"error_code\": \"TEMPORARILY_UNAVAILABLE\"");
    expect(&s, "POST", "/v1/embeddings", JSON, "gated", 503, JSON, "\"type\": \"server_error\"");
    gate_open = true;
    mltf_buf a = MLTF_BUF_INIT;
    receive(first, &a, NULL);
    receive(second, &a, NULL);
    assert_int_equal(calls, 2); // those that were taken in were answered
    close(first);
    close(second);
    mltf_buf_release(&a);
    stop(&s);
}

static void serve_ends_requests_that_take_too_long(void **state)
{
    (void)state;
    running_server s = {.o = {.workers = 2, .timeout_s = 0.3}};
    start(&s);
    expect(&s, "POST", "/invocations", JSON, "sleep", 504, JSON,
           "Request processing time exceeded limit");
    const double from = serve_now();
    expect(&s, "POST", "/invocations", JSON, "deaf", 504, JSON,
           "Request processing time exceeded limit"); // the loop steps in
    assert_true(serve_now() - from < 1.3);
    expect(&s, "POST", "/v1/completions", JSON, "{}", 200, JSON, "endpoint");
    stop(&s);
}

static void *ask_nap(void *user)
{
    mltf_buf *a = malloc(sizeof *a);
    *a = ask(user, "POST", "/invocations", JSON, "nap");
    return a;
}

static void serve_drains_on_sigterm(void **state)
{
    (void)state;
    running_server s = {0};
    start(&s);
    pthread_t client;
    void *result;
    pthread_create(&client, NULL, ask_nap, &s);
    wait_until(&running, 1, "running");
    const int idle = dial(&s);
    kill(getpid(), SIGTERM);
    nap(50);
    assert_int_equal(dial(&s), -1); // nobody is let in any more
    pthread_join(client, &result);
    mltf_buf *a = result;
    assert_memory_equal(a->p, "HTTP/1.1 200", 12); // who was in is answered
    assert_non_null(strstr(a->p, "\"bytes\": 3}"));
    mltf_buf_release(a);
    free(a);
    pthread_join(s.thread, NULL);
    assert_int_equal(s.status, MLTF_OK);
    close(idle);
}

static void serve_gives_up_draining_after_a_while(void **state)
{
    (void)state;
    running_server s = {.o = {.drain_s = 0.2}};
    start(&s);
    const int fd = dial(&s);
    const char req[] = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nsleep";
    send_all(fd, req, sizeof req - 1);
    wait_until(&running, 1, "running");
    const double from = serve_now();
    stop(&s);
    assert_true(serve_now() - from < 3);
    assert_int_equal(cancelled, 1);
    close(fd);
}

static void serve_bounds_open_connections(void **state)
{
    (void)state;
    enum { LIMIT = 20, TRIED = 60 };
    running_server s = {.o = {.connections = LIMIT}};
    start(&s);
    int fd[TRIED], answered = 0;
    for (int i = 0; i < TRIED; i++) {
        fd[i] = dial(&s);
        const struct timeval limit = {.tv_usec = 100000};
        setsockopt(fd[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        const char req[] = "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n";
        send_all(fd[i], req, sizeof req - 1);
    }
    for (int i = 0; i < TRIED; i++) {
        char room[1000];
        answered += recv(fd[i], room, sizeof room, 0) > 0;
    }
    assert_in_range(answered, LIMIT / 2, LIMIT + 5);
    for (int i = 0; i < TRIED; i++) close(fd[i]);
    nap(200);
    expect(&s, "GET", "/ping", NULL, NULL, 200, JSON, "\n"); // there is room again
    stop(&s);
}

static void serve_tells_why_it_cannot_listen(void **state)
{
    (void)state;
    running_server s = {0};
    start(&s);
    mltf_err err = {0};
    const mltf_serve_options same = {.port = s.port};
    assert_int_equal(serve_run(&fake, &same, &err), MLTF_IO);
    assert_non_null(strstr(err.msg, "could not listen on \"127.0.0.1:"));
    const mltf_serve_options nowhere = {.host = "no.such.host.invalid"};
    assert_int_equal(serve_run(&fake, &nowhere, &err), MLTF_IO);
    stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serve_answers_as_the_scoring_server_and_openai_do),
        cmocka_unit_test(serve_streams_events_and_done),
        cmocka_unit_test(serve_refuses_broken_requests),
        cmocka_unit_test(serve_keeps_connections_and_takes_pipelined_requests),
        cmocka_unit_test(serve_answers_many_connections_at_once),
        cmocka_unit_test(serve_cancels_what_a_client_leaves_behind),
        cmocka_unit_test(serve_gives_up_readers_that_do_not_read),
        cmocka_unit_test(serve_delivers_large_answers_whole),
        cmocka_unit_test(serve_refuses_when_the_queue_is_full),
        cmocka_unit_test(serve_ends_requests_that_take_too_long),
        cmocka_unit_test(serve_drains_on_sigterm),
        cmocka_unit_test(serve_gives_up_draining_after_a_while),
        cmocka_unit_test(serve_bounds_open_connections),
        cmocka_unit_test(serve_tells_why_it_cannot_listen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
