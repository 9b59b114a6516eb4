/* build/parity: does mltf answer as the recorded reference does? One mode a file, one line in parity.c's table.
 *
 * A mode gets the folder (and further arguments), prints what differs, ends with parity_report() and returns
 * its value: 0 only if everything passed. */
#ifndef MLTF_TESTS_PARITY_H
#define MLTF_TESTS_PARITY_H

#include <stddef.h>

#include "arch/arch.h"
#include "formats/json.h"
#include "gen/gen_config.h"

typedef struct parity_count {
    size_t passed, failed, skipped;
    double max_diff; /* the largest absolute difference that was within its tolerance, or not */
} parity_count;

/* One failed case, with the reason; only the first ones are printed. */
void parity_fail(parity_count *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void parity_pass(parity_count *c);
void parity_skip(parity_count *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "parity DIR: N passed, N failed, max abs diff X" as the last line; returns the exit status. A folder in which
 * nothing was checked has failed. */
int parity_report(const char *dir, const parity_count *c);

int parity_model(const char *dir, int argc, char **argv);
int parity_pipeline(const char *dir, int argc, char **argv);
int parity_tokenizer(const char *dir, int argc, char **argv);
int parity_tokenize(const char *dir, int argc, char **argv);
int parity_chat_template(const char *dir, int argc, char **argv);
int parity_checkpoint(const char *dir, int argc, char **argv);
int parity_hostile(const char *dir, int argc, char **argv);
int parity_golden(const char *dir, int argc, char **argv);
int parity_logits(const char *dir, int argc, char **argv);
int parity_taps(const char *dir, int argc, char **argv);
int parity_generate(const char *dir, int argc, char **argv);
int parity_greedy(const char *dir, int argc, char **argv);

/* The rows of `pipelines` in an expected.json (object `expected`), run on the checkpoint in dir; compares outputs,
 * or the words of errors. For parity_model, which reads that file. */
void parity_pipelines(const char *dir, const json *expected, parity_count *c);
void parity_generation(const char *dir, const json *expected, parity_count *c); /* `generation`, `sampling` */

/* The settings that generate() starts from: generation_config.json, or what config.json says. */
mltf_status parity_generation_settings(gen_config *cfg, const char *dir, const arch_model *m,
                                       mltf_arena *arena, mltf_err *err);

#endif
