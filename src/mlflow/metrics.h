/* Metrics of `mltf models evaluate`, with the names and definitions of MLflow's evaluators.
 *
 * Texts are borrowed for the call. All functions are pure; averages are over the n pairs, which must be at
 * least one. */
#ifndef MLTF_MLFLOW_METRICS_H
#define MLTF_MLFLOW_METRICS_H

#include "base/arena.h"
#include "base/status.h"

/* Classification, as sklearn computes it and MLflow's evaluator reports it. Of two labels, precision, recall and F1
 * are those of the one that sorts last (1 of 0 and 1, "POSITIVE" of "NEGATIVE" and "POSITIVE"); of more, the mean
 * weighted by the label's support. macro_f1 is the plain mean over labels. */
typedef struct class_scores {
    double accuracy, precision, recall, f1, macro_f1;
    size_t labels; /* distinct labels in predictions and targets */
} class_scores;
mltf_status metric_classes(class_scores *out, const mltf_str *predicted, const mltf_str *target,
                           size_t n, mltf_err *err);

/* Share of pairs that are the same text. */
double metric_exact_match(const mltf_str *predicted, const mltf_str *target, size_t n);

/* ROUGE F-measures (Lin 2004), as the package rouge_score computes them without stemming: lower case, runs of
 * [a-z0-9] are the tokens. rougeLsum: lines are sentences, each compared with all of the other text. Mean over the
 * pairs. */
typedef struct rouge_scores {
    double rouge1, rouge2, rougeL, rougeLsum;
} rouge_scores;
mltf_status metric_rouge(rouge_scores *out, const mltf_str *predicted, const mltf_str *target,
                         size_t n, mltf_err *err);

/* BLEU (Papineni et al. 2002): up to 4-grams, no smoothing, brevity penalty, tokens of mteval-v13a as sacrebleu and
 * evaluate write it. One pair's
 * score, then the mean over pairs (MLflow's bleu/v1/mean); *corpus is that of all pairs together. */
mltf_status metric_bleu(double *mean, double *corpus, const mltf_str *predicted,
                        const mltf_str *target, size_t n, mltf_err *err);

/* Rank correlation; ties share their mean rank. NaN where one side is constant. */
mltf_status metric_spearman(double *out, const double *a, const double *b, size_t n, mltf_err *err);

#endif
