/* What the files of parity_golden share: recorded values, comparison, the list of intended differences. */
#ifndef MLTF_TESTS_GOLDEN_H
#define MLTF_TESTS_GOLDEN_H

#include "mlflow/load.h"
#include "mlflow/save.h"
#include "parity.h"

typedef struct golden_rule {
    const char *id, *call, *here; /* call: "pyfunc.predict"; here: "answers", "fails", or a key or file that differs */
    const char *cases, *recorded; /* glob of case names; text that the record contains */
    size_t used;
} golden_rule;

typedef struct golden {
    const char *dir, *name; /* the case */
    json_doc doc;
    mltf_arena a;           /* of the record at hand */
    char tmp[64];           /* scratch directory, removed at the end */
    parity_count count;
    golden_rule rules[128];
    size_t n_rules;
    size_t listed, worded; /* intended differences; errors of Python's own whose words differ */
    size_t at;             /* index of the record */
    const char *record_text;
    struct golden_diff {
        const char *path, *why;
    } diffs[64]; /* of the comparison at hand */
    size_t n_diffs;
    bool pandas2; /* the recording's pandas had no type for texts but object */
    double tolerance; /* of floats, relative: 1e-4; 5e-3 for models that compute in 16 bits */
    struct golden_model {
        char *key;
        mltf_model *m;
        mltf_err err;
    } models[64];
    size_t n_models;
} golden;

/* golden_value.c */
pv golden_decode(mltf_arena *a, const json *v); /* {"__type__": …} to data */
/* Compare with the recorded `want`: what differs is left in g->diffs, all places of it. */
bool golden_same(golden *g, const json *want, const pv *have);
bool golden_same_json(golden *g, const json *want, const json *have, const char *path);
/* Messages: sets in any order, placeholders, data shown in another form; `have` may say more at its end. */
bool golden_same_message(golden *g, mltf_str want, const char *have);

/* golden_rules.c */
void golden_load_rules(golden *g, const char *path);
/* Is this difference listed? Counts it. */
bool golden_listed(golden *g, const char *call, const char *here);
/* The verdict on g->diffs: passed without one, listed if each of them is listed as "answers PATH". */
void golden_verdict_diffs(golden *g, const json *record);
/* Pass, or fail with the reason, or count as listed. */
void golden_verdict(golden *g, const json *record, bool ok, const char *here, const char *why);

/* golden_save.c */
void golden_save(golden *g, const json *record);
void golden_persist(golden *g, const json *record, size_t index);

#endif
