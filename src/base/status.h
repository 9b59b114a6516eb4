/* How a fallible function fails, inside the library.
 *
 * It returns a mltf_status and takes a mltf_err last. The innermost function that knows the reason
 * writes the message with mltf_fail(); callers on the way out may say what they were doing with
 * mltf_err_wrap(). Messages are lower case, without full stop, and quote the offending value;
 * where users know a message of MLflow's own, it is MLflow's, word for word. */
#ifndef MLTF_BASE_STATUS_H
#define MLTF_BASE_STATUS_H

#include "mltf/mltf.h"

#define MLTF_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Write the status and the message, cut at a UTF-8 boundary if too long. Returns st.
 * err may be NULL. */
mltf_status mltf_fail(mltf_err *err, mltf_status st, const char *fmt, ...) MLTF_PRINTF(3, 4);

/* "could not load X" + ": " + the old message. NULL or an OK err is left alone. */
void mltf_err_wrap(mltf_err *err, const char *fmt, ...) MLTF_PRINTF(2, 3);

/* mltf_fail with NO_MEMORY and one wording for all. */
mltf_status mltf_fail_memory(mltf_err *err);

/* mltf_fail for the errno left by a system call: `could not open "x": no such file or directory`.
 * ENOENT becomes NOT_FOUND, EACCES and EPERM PERMISSION_DENIED, everything else IO. */
mltf_status mltf_fail_errno(mltf_err *err, int errnum, const char *verb, const char *path);

/* Forward a failure where nothing is held. */
#define TRY(expr)                                                                                  \
    do {                                                                                           \
        const mltf_status try_status_ = (expr);                                                    \
        if (try_status_ != MLTF_OK) return try_status_;                                            \
    } while (0)

#endif
