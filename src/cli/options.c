/* Option tables: parsing on getopt_long, environment twins, generated help. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "base/ascii.h"

enum { MAX_OPTIONS = 64, HELP_OPTION = 1000 };

static void env_name(char *out, size_t size, const char *option)
{
    size_t n = (size_t)snprintf(out, size, "MLTF_");
    for (; *option && n + 1 < size; option++)
        out[n++] = *option == '-' ? '_' : ascii_upper(*option);
    out[n] = '\0';
}

static bool set_value(const cli_opt *o, const char *value, const char *from,
                      const cli_command *self)
{
    char *end = NULL;
    errno = 0;
    switch (o->kind) {
    case CLI_STRING_:
        *(const char **)o->target = value;
        return true;
    case CLI_INT_: {
        const long v = strtol(value, &end, 10);
        if (end == value || *end || errno || v < -2147483647L || v > 2147483647L) break;
        *(int *)o->target = (int)v;
        return true;
    }
    case CLI_DOUBLE_: {
        const double v = strtod(value, &end);
        if (end == value || *end || errno) break;
        *(double *)o->target = v;
        return true;
    }
    case CLI_LIST_: {
        cli_list *l = o->target;
        if (l->n == CLI_MAX_LIST) {
            cli_mistake(self, "%s: at most %d values", from, CLI_MAX_LIST);
            return false;
        }
        l->items[l->n++] = value;
        return true;
    }
    case CLI_FLAG_: // only from the environment
        if (strcmp(value, "1") == 0 || ascii_same(str_from(value), "true"))
            *(bool *)o->target = true;
        else if (strcmp(value, "0") == 0 || ascii_same(str_from(value), "false") || !*value)
            *(bool *)o->target = false;
        else
            break;
        return true;
    case CLI_END_:
        return true;
    }
    cli_mistake(self, "%s: \"%s\" is not %s", from, value,
                o->kind == CLI_FLAG_  ? "true or false"
                : o->kind == CLI_INT_ ? "a whole number"
                                      : "a number");
    return false;
}

static bool from_environment(const cli_command *self, const cli_opt *opts)
{
    for (const cli_opt *o = opts; o->kind; o++) {
        char own[80];
        env_name(own, sizeof own, o->name);
        const char *name = own, *value = getenv(own);
        if (!value && o->env) value = getenv(name = o->env);
        if (value && *value && !set_value(o, value, name, self)) return false;
    }
    return true;
}

static void print_help(const cli_command *self, const cli_opt *opts)
{
    printf("usage: mltf %s %s\n\n%s", self->name, self->usage,
           self->about ? self->about : self->brief);
    if (opts->kind) printf("\n\noptions:");
    for (const cli_opt *o = opts; o->kind; o++) {
        char left[64], own[80];
        env_name(own, sizeof own, o->name);
        if (o->letter)
            snprintf(left, sizeof left, "-%c, --%s%s%s", o->letter, o->name, o->arg ? " " : "",
                     o->arg ? o->arg : "");
        else
            snprintf(left, sizeof left, "    --%s%s%s", o->name, o->arg ? " " : "",
                     o->arg ? o->arg : "");
        printf("\n  %-36s  %s", left, o->help);
        if (o->env) printf(" [%s]", o->env);
    }
    printf("\n      --help                            this text\n");
    if (opts->kind)
        printf("\nEach option can also be set by an environment variable: MLTF_ and its name in "
               "capitals, like MLTF_%s%s.\n",
               "TORCH_DTYPE", "");
}

int cli_parse(int argc, char **argv, const cli_command *self, const cli_opt *opts, char ***rest,
              int *n_rest)
{
    struct option longs[MAX_OPTIONS + 2];
    char shorts[2 * MAX_OPTIONS + 2];
    size_t n = 0, s = 0;
    shorts[s++] = ':';
    for (const cli_opt *o = opts; o->kind && n < MAX_OPTIONS; o++, n++) {
        longs[n] = (struct option){o->name, o->kind == CLI_FLAG_ ? no_argument : required_argument,
                                   NULL, (int)n};
        if (!o->letter) continue;
        shorts[s++] = o->letter;
        if (o->kind != CLI_FLAG_) shorts[s++] = ':';
    }
    shorts[s] = '\0';
    longs[n] = (struct option){"help", no_argument, NULL, HELP_OPTION};
    longs[n + 1] = (struct option){NULL, 0, NULL, 0};
    if (!from_environment(self, opts)) return 2;

    bool lists_cleared[MAX_OPTIONS] = {false};
    opterr = 0;
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (c == HELP_OPTION) {
            print_help(self, opts);
            return 0;
        }
        if (c == ':') return cli_mistake(self, "option \"%s\" wants a value", argv[optind - 1]);
        size_t i = (size_t)c;
        if (c >= MAX_OPTIONS) // a letter, or '?'
            for (i = 0; i < n && opts[i].letter != c; i++) {
            }
        if (c == '?' || i >= n)
            return cli_mistake(self, "there is no option \"%s\"", argv[optind - 1]);
        const cli_opt *o = &opts[i];
        if (o->kind == CLI_FLAG_) {
            *(bool *)o->target = true;
            continue;
        }
        if (o->kind == CLI_LIST_ &&
            !lists_cleared[i]) { // the command line replaces the environment's list
            ((cli_list *)o->target)->n = 0;
            lists_cleared[i] = true;
        }
        char from[96];
        snprintf(from, sizeof from, "--%s", o->name);
        if (!set_value(o, optarg, from, self)) return 2;
    }
    for (const cli_opt *o = opts; o->kind; o++)
        if (o->kind == CLI_LIST_) ((cli_list *)o->target)->items[((cli_list *)o->target)->n] = NULL;
    *rest = argv + optind;
    *n_rest = argc - optind;
    return -1;
}

int cli_mistake(const cli_command *self, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("mltf: ", stderr);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nusage: mltf %s %s\n`mltf %s --help` tells more\n", self->name, self->usage,
            self->name);
    return mltf_status_exit_code(MLTF_INVALID_INPUT);
}
