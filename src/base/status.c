#include "base/ascii.h"
#include "base/c_locale.h"
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define X(name, code, http, exit_code, class, state) {#name, code, class, state, http, exit_code},
static const struct {
    const char *name, *mlflow_code, *error_class, *sqlstate;
    int http, exit_code;
} status_rows[] = {MLTF_STATUS_MAP(X)};
#undef X

static size_t row_of(mltf_status st)
{
    const size_t n = sizeof status_rows / sizeof *status_rows;
    return (size_t)st < n ? (size_t)st : (size_t)MLTF_INTERNAL;
}

const char *mltf_status_name(mltf_status st) { return status_rows[row_of(st)].name; }
const char *mltf_status_mlflow_code(mltf_status st) { return status_rows[row_of(st)].mlflow_code; }
const char *mltf_status_error_class(mltf_status st) { return status_rows[row_of(st)].error_class; }
const char *mltf_status_sqlstate(mltf_status st) { return status_rows[row_of(st)].sqlstate; }
int mltf_status_http(mltf_status st) { return status_rows[row_of(st)].http; }
int mltf_status_exit_code(mltf_status st) { return status_rows[row_of(st)].exit_code; }

/* snprintf may cut inside a character: drop its first bytes too. */
static void cut_at_character(char *s, size_t n)
{
    size_t start = n;
    while (start > 0 && ((unsigned char)s[start - 1] & 0xC0) == 0x80) start--;
    if (start == 0) return;
    const unsigned char lead = (unsigned char)s[start - 1];
    const size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (n - (start - 1) < want) s[start - 1] = '\0';
}

static void format_message(char *out, size_t size, const char *fmt, va_list args)
{
    const int n = c_vsnprintf(out, size, fmt, args);
    if (n < 0) out[0] = '\0';
    else if ((size_t)n >= size) cut_at_character(out, size - 1);
}

mltf_status mltf_fail(mltf_err *err, mltf_status st, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        err->status = st;
        format_message(err->msg, sizeof err->msg, fmt, args);
        va_end(args);
    }
    return st;
}

void mltf_err_wrap(mltf_err *err, const char *fmt, ...)
{
    if (!err || err->status == MLTF_OK) return;
    char inner[sizeof err->msg];
    memcpy(inner, err->msg, sizeof inner);
    va_list args;
    va_start(args, fmt);
    format_message(err->msg, sizeof err->msg, fmt, args);
    va_end(args);
    const size_t n = strlen(err->msg);
    const int m = snprintf(err->msg + n, sizeof err->msg - n, ": %s", inner);
    if (m >= 0 && (size_t)m >= sizeof err->msg - n) {
        cut_at_character(err->msg, sizeof err->msg - 1);
    }
}

mltf_status mltf_fail_memory(mltf_err *err) { return mltf_fail(err, MLTF_NO_MEMORY, "out of memory"); }

mltf_status mltf_fail_errno(mltf_err *err, int errnum, const char *verb, const char *path)
{
    const mltf_status st = errnum == ENOENT || errnum == ENOTDIR  ? MLTF_NOT_FOUND
                           : errnum == EACCES || errnum == EPERM ? MLTF_PERMISSION_DENIED
                           : errnum == ENOMEM                    ? MLTF_NO_MEMORY
                                                                 : MLTF_IO;
    char text[128];
    snprintf(text, sizeof text, "%s", c_strerror(errnum));
    if (text[1] >= 'a') text[0] = ascii_lower(text[0]);
    return mltf_fail(err, st, "could not %s \"%s\": %s", verb, path, text);
}
