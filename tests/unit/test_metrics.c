/* Metrics against values worked out by hand. */
#include "unit.h"

#include <math.h>

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

/* What sklearn 1.9 gives for the same lists: average="binary" with the last label, and "weighted". */
static void test_classes_agree_with_sklearn(void **state)
{
    (void)state;
    const mltf_str p2[] = {STR("NEG"), STR("POS"), STR("NEG"), STR("NEG"), STR("NEG"),
                           STR("NEG"), STR("POS"), STR("NEG"), STR("POS"), STR("POS"),
                           STR("POS"), STR("POS"), STR("POS"), STR("POS"), STR("NEG")};
    const mltf_str t2[] = {STR("NEG"), STR("NEG"), STR("POS"), STR("POS"), STR("NEG"),
                           STR("NEG"), STR("POS"), STR("POS"), STR("NEG"), STR("NEG"),
                           STR("POS"), STR("POS"), STR("POS"), STR("NEG"), STR("NEG")};
    class_scores s;
    assert_int_equal(metric_classes(&s, p2, t2, 15, NULL), MLTF_OK);
    CLOSE(s.accuracy, 0.5333333333333333);
    CLOSE(s.precision, 0.5);
    CLOSE(s.recall, 0.5714285714285714);
    CLOSE(s.f1, 0.5333333333333333);
    CLOSE(s.macro_f1, 0.5333333333333333);
    const mltf_str p5[] = {STR("a"),   STR("d e"), STR("d e"), STR("a"),  STR("c"),   STR("a"),
                           STR("d e"), STR("b"),   STR("a"),   STR("c"),  STR("d e"), STR("d e"),
                           STR("a"),   STR("a"),   STR("zz"),  STR("zz"), STR("a"),   STR("d e"),
                           STR("zz"),  STR("c"),   STR("zz"),  STR("c"),  STR("zz"),  STR("b")};
    const mltf_str t5[] = {STR("c"),   STR("a"),   STR("a"), STR("b"),   STR("d e"), STR("b"),
                           STR("c"),   STR("d e"), STR("c"), STR("d e"), STR("d e"), STR("c"),
                           STR("d e"), STR("b"),   STR("c"), STR("a"),   STR("c"),   STR("b"),
                           STR("c"),   STR("a"),   STR("b"), STR("c"),   STR("c"),   STR("a")};
    assert_int_equal(metric_classes(&s, p5, t5, 24, NULL), MLTF_OK);
    assert_int_equal(s.labels, 5);
    CLOSE(s.accuracy, 0.08333333333333333);
    CLOSE(s.precision, 0.1284722222222222);
    CLOSE(s.recall, 0.08333333333333333);
    CLOSE(s.f1, 0.09557109557109557);
    CLOSE(s.macro_f1, 0.06713286713286713);
    assert_int_equal(metric_classes(&s, p5, p5, 1, NULL), MLTF_OK);
    CLOSE(s.f1, 1);
}

/* scipy 1.17's spearmanr, with ties on both sides. */
static void test_spearman_agrees_with_scipy(void **state)
{
    (void)state;
    const double x[] = {0.1, 0.5, 0.5, -2, 3e5, 7, 7, 7, 0.1, -2},
                 y[] = {3, 1, 1, 2, 9, 9, 4, 4, 0, 3};
    double r;
    assert_int_equal(metric_spearman(&r, x, y, 10, NULL), MLTF_OK);
    CLOSE(r, 0.6646061928833029);
}

/* The formulas of rouge_score (no stemmer) and of evaluate's bleu (13a tokens), worked out in Python. */
static void test_rouge_and_bleu_agree_with_the_usual_packages(void **state)
{
    (void)state;
    const mltf_str p[] = {STR("The cat sat on the mat."),
                          STR("A quick, brown fox jumped over 2.5 lazy dogs & cats!"),
                          STR("naïve café costs 3,000 dollars-ish"),
                          STR(""),
                          STR("one two three four five six seven"),
                          STR("It's a well-known fact: 10-20 people (at most) came.")};
    const mltf_str t[] = {STR("The cat was on the mat."),
                          STR("The quick brown fox jumps over 2.5 lazy dogs & cats."),
                          STR("naive café costs 3,000 dollars"),
                          STR("something here"),
                          STR("one two three four five six eight"),
                          STR("It's well-known: 10-20 people (at most) came.")};
    rouge_scores r;
    assert_int_equal(metric_rouge(&r, p, t, 6, NULL), MLTF_OK);
    CLOSE(r.rouge1, 0.6886724386724387);
    CLOSE(r.rouge2, 0.5833333333333334);
    CLOSE(r.rougeL, 0.6886724386724387);
    double mean, corpus;
    assert_int_equal(metric_bleu(&mean, &corpus, p, t, 6, NULL), MLTF_OK);
    CLOSE(mean, 0.4116605612121366);
    CLOSE(corpus, 0.5984074242684219);
}

/* rouge_score 0.1.2 and sacrebleu 2.6's 13a tokens under evaluate's formula: letters whose lower case is ASCII, lines as
 * sentences, entities, hyphens at line ends, commas one after another, blanks of Unicode. */
static void test_rouge_and_bleu_cut_texts_as_the_packages_do(void **state)
{
    (void)state;
    const mltf_str p[] = {STR("\xE2\x84\xAA"
                              "elvin \xC4\xB0stanbul is\nfar from here.\nthe cat"),
                          STR("a ,,1 b &amp; c e-\nf 10-20 x"),
                          STR("the cat sat.\n\nthe dog ran\naway"),
                          STR(",,1 ... 5$ a.b\xC2\xA0"
                              "c")};
    const mltf_str t[] = {STR("kelvin istanbul is far.\nThe cat from"),
                          STR("a ,,1 b & c ef 10-20 y"), STR("the dog ran away.\nthe cat sat on"),
                          STR("1,,1 ... 5$ a.b c")};
    rouge_scores r;
    double mean, corpus;
    assert_int_equal(metric_rouge(&r, p, t, 4, NULL), MLTF_OK);
    CLOSE(r.rouge1, 0.8147727272727272);
    CLOSE(r.rouge2, 0.579708485958486);
    CLOSE(r.rougeL, 0.6835227272727272);
    CLOSE(r.rougeLsum, 0.8147727272727272);
    assert_int_equal(metric_bleu(&mean, &corpus, p, t, 4, NULL), MLTF_OK);
    CLOSE(mean, 0.510885619034206);
    CLOSE(corpus, 0.6141796058261787);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes_are_scored_as_by_hand),
        cmocka_unit_test(test_rouge_counts_ngrams_and_the_longest_subsequence),
        cmocka_unit_test(test_bleu_has_a_brevity_penalty_and_needs_every_order),
        cmocka_unit_test(test_spearman_shares_ranks_between_ties),
        cmocka_unit_test(test_classes_agree_with_sklearn),
        cmocka_unit_test(test_spearman_agrees_with_scipy),
        cmocka_unit_test(test_rouge_and_bleu_agree_with_the_usual_packages),
        cmocka_unit_test(test_rouge_and_bleu_cut_texts_as_the_packages_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
