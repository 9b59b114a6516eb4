#include "parity.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SHOWN = 20 };

void parity_pass(parity_count *c)
{
    c->passed++;
}

void parity_fail(parity_count *c, const char *fmt, ...)
{
    if (c->failed++ >= MAX_SHOWN) return;
    va_list args;
    va_start(args, fmt);
    fputs("FAIL ", stdout);
    vprintf(fmt, args);
    putchar('\n');
    va_end(args);
}

void parity_skip(parity_count *c, const char *fmt, ...)
{
    if (c->skipped++ >= MAX_SHOWN) return;
    va_list args;
    va_start(args, fmt);
    fputs("skipped ", stdout);
    vprintf(fmt, args);
    putchar('\n');
    va_end(args);
}

int parity_report(const char *dir, const parity_count *c)
{
    if (c->skipped) printf("%zu skipped\n", c->skipped);
    printf("parity %s: %zu passed, %zu failed, max abs diff %.3g\n", dir, c->passed, c->failed,
           c->max_diff);
    if (c->failed == 0 && c->passed == 0 && c->skipped > 0)
        return 77; // nothing that can be judged here
    return c->failed == 0 && c->passed > 0 ? 0 : 1;
}

static const struct {
    const char *option, *arguments;
    int (*run)(const char *dir, int argc, char **argv);
} modes[] = {
    {"", "DIR                  a checkpoint with expected.json: tensors, generation, pipelines",
     parity_model},
    {"--pipelines", "DIR                  the pipelines of a checkpoint with expected.json alone",
     parity_pipeline},
    {"--tokenizer", "DIR                  tokenizer files with cases.jsonl", parity_tokenizer},
    {"--tokenize",
     "DIR                  JSON strings on stdin, \"id start end ...\" a line on stdout",
     parity_tokenize},
    {"--chat-template", "DIR                  templates with cases.jsonl", parity_chat_template},
    {"--checkpoint", "DIR                  broken and hostile files with manifest.json",
     parity_checkpoint},
    {"--hostile", "DIR [FILE]           a checkpoint with ever another value in its JSON files",
     parity_hostile},
    {"--golden", "DIR                  MLflow models with recording.json", parity_golden},
    {"--logits", "CHECKPOINT DTYPE [ADAPTER]  JSON ids on stdin, JSON logits [T][V] on stdout",
     parity_logits},
    {"--taps",
     "CHECKPOINT DTYPE     JSON ids on stdin, what each part of each layer gave on stdout",
     parity_taps},
    {"--greedy", "CHECKPOINT DTYPE N   JSON ids on stdin, those and N greedy ones on stdout",
     parity_greedy},
    {"--generate",
     "CHECKPOINT DTYPE     JSON {inputs, kwargs, …} a line on stdin, JSON sequences on stdout",
     parity_generate},
};

int main(int argc, char **argv)
{
    const int has_option = argc > 1 && strncmp(argv[1], "--", 2) == 0;
    const char *option = has_option ? argv[1] : "";
    const int at = has_option ? 2 : 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (at < argc && strcmp(modes[i].option, option) == 0)
            return modes[i].run(argv[at], argc - at - 1, argv + at + 1);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        fprintf(stderr, "%s parity %s%s%s\n", i ? "      " : "usage:", modes[i].option,
                *modes[i].option ? " " : "", modes[i].arguments);
    return 2;
}
