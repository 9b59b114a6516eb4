/* The server's handlers: method, path, content type and body, each up to a line end (the body: the rest). */
#include <stdlib.h>
#include <string.h>

#include "serve/serve.h"

static mltf_status predict(const void *model, bool csv, const char *body, size_t n,
                           const mltf_predict_options *o, mltf_buf *answer, mltf_err *err)
{
    (void)model;
    (void)csv;
    (void)o;
    if (n && body[0] == 'f') {
        const size_t k = n < 500 ? n : 500;
        err->status = MLTF_BAD_REQUEST; // text of the request comes back in messages
        memcpy(err->msg, body, k);
        err->msg[k] = 0;
        return MLTF_BAD_REQUEST;
    }
    buf_append(answer, body, n);
    return MLTF_OK;
}

static mltf_status openai(const void *model, const char *endpoint, const char *body, size_t n,
                          const mltf_predict_options *o, mltf_stream_fn on_event, void *user,
                          mltf_buf *answer, mltf_err *err)
{
    if (n && body[0] == 's' && on_event && on_event(user, body, n)) return MLTF_CANCELLED;
    (void)endpoint;
    return n > 1 && body[1] == '0' ? MLTF_OK
                                   : predict(model, false, body, n ? n - 1 : 0, o, answer, err);
}

static int on_event(void *user, const char *text, size_t n)
{
    (void)text;
    *(size_t *)user += n;
    return n > 1000;
}

static const char *line(const char **p, const char *end, char *room, size_t size)
{
    const char *stop = memchr(*p, '\n', (size_t)(end - *p));
    if (!stop) stop = end;
    size_t n = (size_t)(stop - *p);
    if (n >= size) n = size - 1;
    memcpy(room, *p, n);
    room[n] = 0;
    *p = stop < end ? stop + 1 : end;
    return room;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const serve_backend b = {
        .name = "fuzz\"ed", .task = "text-generation", .predict = predict, .openai = openai};
    const char *p = n ? (const char *)data : "", *end = p + n, *route = NULL;
    char method[16], path[256], type[512];
    serve_request r = {.method = line(&p, end, method, sizeof method),
                       .path = line(&p, end, path, sizeof path)};
    const char *content_type = line(&p, end, type, sizeof type);
    r.content_type = *content_type ? content_type : NULL;
    r.body = p;
    r.n = (size_t)(end - p);
    serve_reply reply = {0};
    const serve_kind kind = serve_route(&b, &r, &reply, &route);
    if (!route) abort();
    if (kind == SERVE_NOW && (reply.status < 200 || reply.status > 599 || !reply.type)) abort();
    if (kind >= SERVE_PREDICT_JSON) {
        const mltf_predict_options o = {0};
        size_t streamed = 0;
        serve_compute(&b, kind, r.body, r.n, &o, on_event, &streamed, &reply);
        if (reply.status < 200 || reply.status > 599 || !reply.type) abort();
    }
    mltf_buf_release(&reply.body);
    return 0;
}
