/* Prometheus' text format, version 0.0.4. Only the event loop touches it. */
#include "serve/serve.h"

#include <stdlib.h>

static const double bounds[] = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                0.5,   1,     2.5,  5,     10,   30,  60};
#define BUCKETS (sizeof bounds / sizeof *bounds)
enum { MAX_SERIES = 128 }; /* routes by status */

struct serve_metrics {
    struct series {
        const char *route;
        int status;
        uint64_t n;
    } series[MAX_SERIES];
    size_t n;
    uint64_t bucket[BUCKETS + 1];
    double seconds;
    uint64_t requests, bytes_in, bytes_out;
    double started;
};

mltf_status serve_metrics_new(serve_metrics **out, mltf_err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return mltf_fail_memory(err);
    (*out)->started = serve_now();
    return MLTF_OK;
}

void serve_metrics_free(serve_metrics *m)
{
    free(m);
}

void serve_metrics_count(serve_metrics *m, const char *route, int status, double seconds,
                         size_t bytes_in, size_t bytes_out)
{
    size_t i = 0;
    while (i < m->n && (m->series[i].status != status || strcmp(m->series[i].route, route) != 0))
        i++;
    if (i == m->n && m->n < MAX_SERIES) m->series[m->n++] = (struct series){route, status, 0};
    if (i < m->n) m->series[i].n++;
    size_t k = 0;
    while (k < BUCKETS && seconds > bounds[k]) k++;
    m->bucket[k]++;
    m->seconds += seconds;
    m->requests++;
    m->bytes_in += bytes_in;
    m->bytes_out += bytes_out;
}

static void put_value(mltf_buf *out, const char *name, const char *type, const char *help,
                      double value)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name, value);
}

void serve_metrics_write(const serve_metrics *m, size_t queued, size_t running, size_t connections,
                         mltf_buf *out)
{
    buf_puts(out,
             "# HELP mltf_requests_total Requests answered.\n# TYPE mltf_requests_total counter\n");
    for (size_t i = 0; i < m->n; i++)
        buf_printf(out, "mltf_requests_total{route=\"%s\",status=\"%d\"} %llu\n",
                   m->series[i].route, m->series[i].status, (unsigned long long)m->series[i].n);
    buf_puts(out, "# HELP mltf_request_seconds Time from the whole request to the whole answer.\n"
                  "# TYPE mltf_request_seconds histogram\n");
    uint64_t sum = 0;
    for (size_t k = 0; k < BUCKETS; k++) {
        sum += m->bucket[k];
        buf_printf(out, "mltf_request_seconds_bucket{le=\"%g\"} %llu\n", bounds[k],
                   (unsigned long long)sum);
    }
    buf_printf(out,
               "mltf_request_seconds_bucket{le=\"+Inf\"} %llu\nmltf_request_seconds_sum "
               "%.9g\nmltf_request_seconds_count %llu\n",
               (unsigned long long)m->requests, m->seconds, (unsigned long long)m->requests);
    put_value(out, "mltf_received_bytes_total", "counter", "Bytes of request bodies.",
              (double)m->bytes_in);
    put_value(out, "mltf_sent_bytes_total", "counter", "Bytes of answers.", (double)m->bytes_out);
    put_value(out, "mltf_queued_requests", "gauge", "Requests that wait for a worker.",
              (double)queued);
    put_value(out, "mltf_running_requests", "gauge", "Requests being computed.", (double)running);
    put_value(out, "mltf_active_requests", "gauge", "Requests between arrival and answer.",
              (double)connections);
    put_value(out, "mltf_uptime_seconds", "gauge", "Since the server began.",
              serve_now() - m->started);
}
