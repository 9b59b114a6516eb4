/* Input, output, progress and Ctrl-C for all subcommands. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"

#define MAX_INPUT ((size_t)1 << 30) /* a batch file larger than this should be cut into several */

int cli_report(const mltf_err *err)
{
    if (err->status) fprintf(stderr, "mltf: %s\n", err->msg);
    return mltf_status_exit_code(err->status);
}

void cli_warn(void *unused, const char *message)
{
    (void)unused;
    fprintf(stderr, "mltf: warning: %s\n", message); // one call: lines of threads do not mix
}

mltf_status cli_read_all(mltf_buf *out, const char *path, mltf_err *err)
{
    if (path && strcmp(path, "-") == 0) path = NULL;
    return stream_read(out, path, MAX_INPUT, err);
}

mltf_status cli_write_all(const char *path, const mltf_buf *text, mltf_err *err)
{
    if (path && strcmp(path, "-") != 0) return stream_write(path, text->p, text->n, err);
    for (size_t at = 0; at < text->n;) {
        const ssize_t put = write(STDOUT_FILENO, text->p + at, text->n - at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return mltf_fail_errno(err, errno, "write", "standard output");
        at += (size_t)put;
    }
    return MLTF_OK;
}

mltf_status cli_text_or_file(const char **value, mltf_buf *file, mltf_err *err)
{
    if (!*value || (*value)[0] != '@') return MLTF_OK;
    TRY(cli_read_all(file, *value + 1, err));
    *value = file->p ? file->p : "";
    return MLTF_OK;
}

/* ---- progress -------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void cli_progress_init(cli_progress *p)
{
    *p = (cli_progress){.on = isatty(STDERR_FILENO) == 1};
}

static int print_amount(char *out, size_t size, double n, const char *unit)
{
    if (strcmp(unit, "bytes") != 0) return snprintf(out, size, "%.0f %s", n, unit);
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t u = 0;
    while (n >= 1000 && u + 1 < sizeof units / sizeof *units) {
        n /= 1000;
        u++;
    }
    return snprintf(out, size, u ? "%.1f %s" : "%.0f %s", n, units[u]);
}

int cli_progress_step(void *user, const char *what, const char *unit, uint64_t done, uint64_t total)
{
    cli_progress *p = user;
    if (cli_cancel) return 1;
    if (!p->on) return 0;
    const double t = now();
    if (!p->what || strcmp(p->what, what) != 0) {
        p->what = what;
        p->start = p->last = t;
        return 0; // short things show nothing
    }
    if (t - p->last < 0.1) return 0;
    p->last = t;
    p->shown = true;
    const double rate = t > p->start ? (double)done / (t - p->start) : 0;
    char have[32], all[32], speed[32];
    print_amount(have, sizeof have, (double)done, unit);
    print_amount(all, sizeof all, (double)total, unit);
    print_amount(speed, sizeof speed, rate, unit);
    if (!total) {
        fprintf(stderr, "\r\033[K%s: %s, %s/s", what, have, speed);
        return 0;
    }
    enum { BAR = 24 };
    const double part = total ? (double)done / (double)total : 0;
    char bar[BAR + 1];
    for (int i = 0; i < BAR; i++) bar[i] = i < (int)(part * BAR) ? '#' : '.';
    bar[BAR] = '\0';
    const int left = rate > 0 ? (int)((double)(total - done) / rate + 0.5) : 0;
    fprintf(stderr, "\r\033[K%s: %3.0f%% [%s] %s of %s, %s/s, %d:%02d left", what, 100 * part, bar,
            have, all, speed, left / 60, left % 60);
    return 0;
}

void cli_progress_done(cli_progress *p)
{
    if (p->shown) fputs("\r\033[K", stderr);
    p->shown = false;
    p->what = NULL;
}

/* ---- Ctrl-C ---------------------------------------------------------------------------------- */

volatile int cli_cancel;

static void on_interrupt(int sig)
{
    (void)sig;
    cli_cancel = 1;
}

static void catch_signal(int sig)
{
    struct sigaction act = {.sa_handler = on_interrupt};
    sigemptyset(&act.sa_mask);
    sigaction(sig, &act, NULL);
    cli_cancel = 0;
}

void cli_catch_interrupt(void)
{
    catch_signal(SIGINT);
}

void cli_catch_end(void)
{
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    catch_signal(SIGHUP);
}

bool cli_interrupted(void)
{
    return cli_cancel != 0;
}
