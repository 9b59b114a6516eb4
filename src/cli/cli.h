/* What the subcommands share: option tables, help, reading and writing, progress, reports.
 *
 * stdout carries the result alone; everything else goes to stderr. Every option has an environment twin,
 * MLTF_ and its name in capitals (--torch-dtype: MLTF_TORCH_DTYPE), besides MLflow's own variable where
 * MLflow has one; the command line wins. */
#ifndef MLTF_CLI_CLI_H
#define MLTF_CLI_CLI_H

#include <stdbool.h>

#include "mltf/mltf.h"

typedef enum { CLI_END_, CLI_STRING_, CLI_INT_, CLI_DOUBLE_, CLI_FLAG_, CLI_LIST_ } cli_kind;

typedef struct cli_opt {
    cli_kind kind;
    char letter;      /* 0: none */
    const char *name; /* long name without dashes */
    const char *arg;  /* what the value is called in help */
    void *target;
    const char *env; /* MLflow's variable, or NULL */
    const char *help;
} cli_opt;

/* A repeatable option: --code-path A --code-path B. items ends with NULL, as the API wants it. */
enum { CLI_MAX_LIST = 64 };
typedef struct cli_list {
    const char *items[CLI_MAX_LIST + 1];
    size_t n;
} cli_list;

#define CLI_STR(letter, name, arg, target, env, help)                                              \
    {                                                                                              \
        CLI_STRING_, letter, name, arg, target, env, help                                          \
    }
#define CLI_INT(letter, name, arg, target, env, help)                                              \
    {                                                                                              \
        CLI_INT_, letter, name, arg, target, env, help                                             \
    }
#define CLI_DOUBLE(letter, name, arg, target, env, help)                                           \
    {                                                                                              \
        CLI_DOUBLE_, letter, name, arg, target, env, help                                          \
    }
#define CLI_FLAG(letter, name, target, env, help)                                                  \
    {                                                                                              \
        CLI_FLAG_, letter, name, NULL, target, env, help                                           \
    }
#define CLI_LIST(letter, name, arg, target, env, help)                                             \
    {                                                                                              \
        CLI_LIST_, letter, name, arg, target, env, help                                            \
    }
#define CLI_END                                                                                    \
    {                                                                                              \
        CLI_END_, 0, NULL, NULL, NULL, NULL, NULL                                                  \
    }

typedef struct cli_command {
    const char *name;  /* "models predict" */
    const char *brief; /* for the list of commands */
    int (*run)(int argc, char **argv, const struct cli_command *self);
    const char *usage; /* behind "mltf NAME" */
    const char *about; /* a paragraph for --help; may be NULL */
} cli_command;

extern const cli_command cli_commands[]; /* ends with name NULL */

/* Fill the targets from environment and arguments. Returns -1 to go on; otherwise the exit code: 0 after
 * --help, 2 after a mistake, which was reported. What is no option stays: *rest and *n_rest. */
int cli_parse(int argc, char **argv, const cli_command *self, const cli_opt *opts, char ***rest,
              int *n_rest);
int cli_mistake(const cli_command *self, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* returns 2 */

/* "mltf: <message>" on stderr if there is one; returns the status's exit code. */
int cli_report(const mltf_err *err);
/* A mltf_log_fn: "mltf: warning: <message>" on stderr. */
void cli_warn(void *unused, const char *message);

/* Whole input into buf; "-" or NULL is stdin. Whole output; "-" or NULL is stdout, a file appears whole. */
mltf_status cli_read_all(mltf_buf *out, const char *path, mltf_err *err);
mltf_status cli_write_all(const char *path, const mltf_buf *text, mltf_err *err);
/* A value that may be given as text or as @FILE; *file keeps the contents. */
mltf_status cli_text_or_file(const char **value, mltf_buf *file, mltf_err *err);

/* A mltf_progress_fn: a bar with rate and time left on a terminal, nothing in a pipe. user: a cli_progress. */
typedef struct cli_progress {
    bool on, shown;
    double start, last;
    const char *what;
} cli_progress;
void cli_progress_init(cli_progress *p);
int cli_progress_step(void *p, const char *what, const char *unit, uint64_t done, uint64_t total);
void cli_progress_done(cli_progress *p); /* clears the line */

bool cli_interrupted(void); /* such a signal came since it is caught */
void cli_catch_interrupt(void); /* SIGINT */
void cli_catch_end(void);       /* SIGINT, SIGTERM, SIGHUP: for commands that take back what they began to write */
extern volatile int cli_cancel; /* set by SIGINT: what mltf_predict_options.cancel may point to */

int cmd_save(int argc, char **argv, const cli_command *self);
int cmd_log(int argc, char **argv, const cli_command *self);
int cmd_predict(int argc, char **argv, const cli_command *self);
int cmd_serve(int argc, char **argv, const cli_command *self);
int cmd_describe(int argc, char **argv, const cli_command *self);
int cmd_evaluate(int argc, char **argv, const cli_command *self);
int cmd_compare(int argc, char **argv, const cli_command *self);
int cmd_persist(int argc, char **argv, const cli_command *self);
int cmd_try(int argc, char **argv, const cli_command *self);
int cmd_convert(int argc, char **argv, const cli_command *self);
int cmd_doctor(int argc, char **argv, const cli_command *self);

#endif
