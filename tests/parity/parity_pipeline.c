/* Replays recorded pipeline calls: task, input, kwargs -> output or error.
 *
 * Numbers under "score" and "scores" may differ by 1e-4 of themselves (the recordings' own promise: they
 * are float32 sums in another order); where the library's float32 logits are further than that from its
 * float64 ones (mobilebert's are in the thousands), by twice that distance, which a softmax hands on.
 * A score that is a logit as it stands (function_to_apply none, regression) may be near zero by chance: it may differ
 * by 1e-4 of 1. Features may differ by 1e-4 of the largest; everything else must be equal. An error must have the
 * recorded words behind the name of its Python class. */
#include "parity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/file.h"
#include "tasks/pipeline.h"

#define SCORE_TOLERANCE 1e-4

typedef struct compare {
    double max_diff, scale, tolerance;
    char where[200]; /* path of the first difference */
    char what[400];
    bool failed;
} compare;

static void differ(compare *c, const char *path, const json *want, const json *got)
{
    if (c->failed) return;
    c->failed = true;
    snprintf(c->where, sizeof c->where, "%s", path);
    mltf_buf a = MLTF_BUF_INIT, b = MLTF_BUF_INIT;
    if (want) json_write(&a, want, NULL);
    if (got) json_write(&b, got, NULL);
    snprintf(c->what, sizeof c->what, "expected %.150s, got %.150s", a.p ? a.p : "nothing",
             b.p ? b.p : "nothing");
    mltf_buf_release(&a);
    mltf_buf_release(&b);
}

static double largest(const json *v)
{
    double max = 0;
    if (json_is_number(v)) return fabs(json_double(v, 0));
    for (size_t i = 0; v && v->type == JSON_ARRAY && i < v->a.n; i++)
        max = fmax(max, largest(&v->a.items[i]));
    return max;
}

static void compare_values(compare *c, const char *path, const json *want, const json *got,
                           bool score)
{
    char deeper[200];
    if (c->failed) return;
    if (json_is_number(want) && json_is_number(got)) {
        const double a = json_double(want, 0), b = json_double(got, 0), diff = fabs(a - b);
        const bool exact = !score && want->type == JSON_INT;
        const double allowed = exact ? 0 : c->tolerance * fmax(fabs(a), c->scale);
        if (!(diff <= allowed) && !(isnan(a) && isnan(b))) differ(c, path, want, got);
        if (diff > c->max_diff) c->max_diff = diff;
        return;
    }
    if (!want || !got || want->type != got->type) {
        differ(c, path, want, got);
        return;
    }
    if (want->type == JSON_ARRAY) {
        if (want->a.n != got->a.n) differ(c, path, want, got);
        for (size_t i = 0; i < want->a.n && !c->failed; i++) {
            snprintf(deeper, sizeof deeper, "%s[%zu]", path, i);
            compare_values(c, deeper, &want->a.items[i], &got->a.items[i], score);
        }
    } else if (want->type == JSON_OBJECT) {
        if (want->o.n != got->o.n) differ(c, path, want, got);
        for (size_t i = 0; i < want->o.n && !c->failed; i++) { // the order of keys counts
            const mltf_str key = want->o.members[i].key;
            snprintf(deeper, sizeof deeper, "%s." STR_FMT, path, STR_ARG(key));
            if (!str_eq(key, got->o.members[i].key)) differ(c, path, want, got);
            compare_values(c, deeper, &want->o.members[i].value, &got->o.members[i].value,
                           score || str_is(key, "score") || str_is(key, "scores"));
        }
    } else if (!json_equal(want, got)) {
        differ(c, path, want, got);
    }
}

/* "PipelineException: No mask_token …": the words behind the class, cut at 160 characters by the recorder. */
static bool same_error(mltf_str recorded, const char *got)
{
    const char *colon = memchr(recorded.p, ':', recorded.n);
    if (!colon || (size_t)(colon - recorded.p) + 2 > recorded.n) return false;
    const mltf_str words = str_slice(recorded, (size_t)(colon - recorded.p) + 2, recorded.n);
    return words.n >= 150 ? strncmp(got, words.p, words.n) == 0 : str_is(words, got);
}

static bool scores_are_logits(const pipeline *p, const json *row)
{
    const mltf_str fn =
        json_string(json_get(json_get(row, "kwargs"), "function_to_apply"), STR(""));
    const json *config = arch_model_info(pipeline_model(p))->config;
    return str_is(fn, "none") ||
           (!fn.n && str_is(json_string(json_get(config, "problem_type"), STR("")), "regression"));
}

static void run_row(const pipeline *p, const json *row, size_t number, double tolerance,
                    parity_count *count)
{
    mltf_arena arena = MLTF_ARENA_INIT;
    mltf_err err = {0};
    json *out = NULL;
    const mltf_str task = json_string(json_get(row, "task"), STR(""));
    const json *error = json_get(row, "error"), *want = json_get(row, "output");
    const mltf_status st =
        pipeline_call(p, json_get(row, "input"), json_get(row, "kwargs"), NULL, &arena, &out, &err);
    if (error) {
        const mltf_str words = json_string(error, STR(""));
        if (st && same_error(words, err.msg))
            parity_pass(count);
        else
            parity_fail(count,
                        "pipeline %zu (" STR_FMT "): expected the error \"" STR_FMT "\", got %s",
                        number, STR_ARG(task), STR_ARG(words), st ? err.msg : "an answer");
    } else if (st) {
        parity_fail(count, "pipeline %zu (" STR_FMT "): %s", number, STR_ARG(task), err.msg);
    } else {
        compare c = {.tolerance = tolerance};
        if (json_is(want, JSON_ARRAY))
            c.scale = largest(want); // of features; 0 where there are objects
        if (scores_are_logits(p, row)) c.scale = fmax(c.scale, 1);
        compare_values(&c, "output", want, out, false);
        if (c.failed)
            parity_fail(count, "pipeline %zu (" STR_FMT "): %s: %s", number, STR_ARG(task), c.where,
                        c.what);
        else
            parity_pass(count);
        if (c.max_diff > count->max_diff) count->max_diff = c.max_diff;
    }
    arena_release(&arena);
}

static double score_tolerance(const json *expected)
{
    static const char *const cases[] = {"text/out/", "len17/out/"};
    const json *list = json_get(expected, "tolerances");
    double tolerance = SCORE_TOLERANCE;
    for (size_t i = 0; i < json_len(list); i++) {
        const json_member *m = &list->o.members[i];
        const bool mine = str_starts(m->key, cases[0]) || str_starts(m->key, cases[1]);
        if (mine && str_ends(m->key, "logits"))
            tolerance = fmax(tolerance, 2 * json_double(json_get(&m->value, "fp32_vs_fp64"), 0));
    }
    return tolerance;
}

void parity_pipelines(const char *dir, const json *expected, parity_count *count)
{
    const double tolerance = score_tolerance(expected);
    const json *rows = json_get(expected, "pipelines");
    pipeline *p = NULL;
    char loaded[100] = "";
    mltf_err err = {0};
    for (size_t i = 0; i < json_len(rows); i++) {
        const json *row = json_at(rows, i);
        const mltf_str name = json_string(json_get(row, "task"), STR(""));
        if (!str_is(name, loaded)) { // rows of a task stand together
            pipeline_free(p);
            p = NULL;
            err = (mltf_err){0};
            snprintf(loaded, sizeof loaded, STR_FMT, STR_ARG(name));
            const pipeline_options opts = {
                .task = loaded, .model_dir = dir, .arch = {.torch_dtype = "float32"}};
            pipeline_load(&p, &opts, &err);
        }
        if (p) {
            run_row(p, row, i, tolerance, count);
        } else {
            parity_fail(count, "pipeline %zu (" STR_FMT "): %s", i, STR_ARG(name), err.msg);
        }
    }
    pipeline_free(p);
}

int parity_pipeline(const char *dir, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    parity_count count = {0};
    json_doc doc = JSON_DOC_INIT;
    mltf_err err = {0};
    char *path = path_join(dir, "expected.json");
    if (path && json_parse_file(&doc, path, NULL, &err) == MLTF_OK)
        parity_pipelines(dir, doc.root, &count);
    else
        parity_fail(&count, "%s", err.msg);
    json_doc_release(&doc);
    free(path);
    return parity_report(dir, &count);
}
