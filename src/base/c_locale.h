/* Functions of the C library that follow the process's locale, as they are in the C locale: what a program around the
 * library has told setlocale() must not change what a file or a request means. ascii.h stands for ctype.h. */
#ifndef MLTF_BASE_C_LOCALE_H
#define MLTF_BASE_C_LOCALE_H

#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include "base/status.h"

double c_strtod(const char *s, char **end);
int c_snprintf(char *out, size_t size, const char *fmt, ...) MLTF_PRINTF(3, 4);
int c_vsnprintf(char *out, size_t size, const char *fmt, va_list args);
size_t c_strftime(char *out, size_t size, const char *fmt, const struct tm *tm);
const char *c_strerror(int errnum);

#endif
