/* Metrics against values worked out by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <math.h>
#include <cmocka.h>

#include "mlflow/metrics.h"

#define CLOSE(a, b) assert_true(fabs((a) - (b)) < 1e-9)

static void test_classes_are_scored_as_by_hand(void **state)
{
    (void)state;
    // A: 2 right of 3, one predicted C; B: 1 right of 1; C: 0 right of 1, predicted A
    const mltf_str predicted[] = {STR("A"), STR("A"), STR("C"), STR("B"), STR("A")};
    const mltf_str target[] = {STR("A"), STR("A"), STR("A"), STR("B"), STR("C")};
    class_scores s;
    assert_int_equal(metric_classes(&s, predicted, target, 5, NULL), MLTF_OK);
    assert_int_equal(s.labels, 3);
    CLOSE(s.accuracy, 3.0 / 5);
    CLOSE(s.precision, 0.6 * (2.0 / 3) + 0.2);
    CLOSE(s.recall, 0.6 * (2.0 / 3) + 0.2);
    CLOSE(s.macro_f1, (2.0 / 3 + 1 + 0) / 3);
}

static void test_rouge_counts_ngrams_and_the_longest_subsequence(void **state)
{
    (void)state;
    const mltf_str predicted[] = {STR("The cat sat, on the mat")},
                   target[] = {STR("the cat was on the mat!")};
    rouge_scores r;
    assert_int_equal(metric_rouge(&r, predicted, target, 1, NULL), MLTF_OK);
    CLOSE(r.rouge1, 5.0 / 6);
    CLOSE(r.rouge2, 3.0 / 5);
    CLOSE(r.rougeL, 5.0 / 6);
    const mltf_str nothing[] = {STR("")};
    assert_int_equal(metric_rouge(&r, nothing, target, 1, NULL), MLTF_OK);
    CLOSE(r.rouge1, 0);
}

static void test_bleu_has_a_brevity_penalty_and_needs_every_order(void **state)
{
    (void)state;
    const mltf_str target[] = {STR("the quick brown fox jumps over the lazy dog")};
    const mltf_str same[] = {STR("the quick brown fox jumps over the lazy dog")};
    const mltf_str cut[] = {STR("the quick brown fox jumps")};
    const mltf_str other[] = {STR("a slow dog")};
    double mean, corpus;
    assert_int_equal(metric_bleu(&mean, &corpus, same, target, 1, NULL), MLTF_OK);
    CLOSE(mean, 1);
    assert_int_equal(metric_bleu(&mean, &corpus, cut, target, 1, NULL), MLTF_OK);
    CLOSE(mean, exp(1 - 9.0 / 5));
    CLOSE(corpus, mean);
    assert_int_equal(metric_bleu(&mean, &corpus, other, target, 1, NULL), MLTF_OK);
    CLOSE(mean, 0);
}

static void test_spearman_shares_ranks_between_ties(void **state)
{
    (void)state;
    const double x[] = {1, 2, 2, 4}, y[] = {10, 30, 20, 40}, down[] = {4, 3, 2, 1},
                 up[] = {1, 5, 7, 9};
    double r;
    assert_int_equal(metric_spearman(&r, x, y, 4, NULL), MLTF_OK);
    CLOSE(r, 4.5 / sqrt(4.5 * 5));
    assert_int_equal(metric_spearman(&r, up, down, 4, NULL), MLTF_OK);
    CLOSE(r, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes_are_scored_as_by_hand),
        cmocka_unit_test(test_rouge_counts_ngrams_and_the_longest_subsequence),
        cmocka_unit_test(test_bleu_has_a_brevity_penalty_and_needs_every_order),
        cmocka_unit_test(test_spearman_shares_ranks_between_ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
