#include "base/c_locale.h"

#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static locale_t c_locale; // 0, for lack of memory: the process's serves
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;
static void c_locale_init(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static locale_t the_c_locale(void)
{
    pthread_once(&c_locale_once, c_locale_init);
    return c_locale;
}

double c_strtod(const char *s, char **end)
{
    const locale_t c = the_c_locale();
    return c ? strtod_l(s, end, c) : strtod(s, end);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
int c_vsnprintf(char *out, size_t size, const char *fmt, va_list args)
{
    const locale_t before = uselocale(the_c_locale()); // of this thread alone; 0 changes nothing
    const int n = vsnprintf(out, size, fmt, args);
    uselocale(before);
    return n;
}

size_t c_strftime(char *out, size_t size, const char *fmt, const struct tm *tm)
{
    const locale_t c = the_c_locale();
    return c ? strftime_l(out, size, fmt, tm, c) : strftime(out, size, fmt, tm);
}
#pragma GCC diagnostic pop

int c_snprintf(char *out, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = c_vsnprintf(out, size, fmt, args);
    va_end(args);
    return n;
}

const char *c_strerror(int errnum)
{
    const locale_t c = the_c_locale();
    return c ? strerror_l(errnum, c) : strerror(errnum);
}
