#include "mlflow/metrics.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

/* ---- classification -------------------------------------------------------------------------- */

typedef struct label_count {
    mltf_str label;
    size_t predicted, target, both;
} label_count;

static int compare_str(const void *a, const void *b)
{
    const mltf_str *x = a, *y = b;
    const size_t n = x->n < y->n ? x->n : y->n;
    const int c = n ? memcmp(x->p, y->p, n) : 0;
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

static label_count *find_label(label_count *counts, size_t n, const mltf_str *label)
{
    return bsearch(label, counts, n, sizeof *counts, compare_str); // the label is the first member
}

mltf_status metric_classes(class_scores *out, const mltf_str *predicted, const mltf_str *target,
                           size_t n, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    mltf_str *all = arena_calloc(&a, n, 2 * sizeof *all);
    label_count *counts = arena_calloc(&a, n, 2 * sizeof *counts);
    if (!all || !counts) {
        arena_release(&a);
        return mltf_fail_memory(err);
    }
    memcpy(all, predicted, n * sizeof *all);
    memcpy(all + n, target, n * sizeof *all);
    qsort(all, 2 * n, sizeof *all, compare_str);
    size_t labels = 0, right = 0;
    for (size_t i = 0; i < 2 * n; i++)
        if (i == 0 || !str_eq(all[i], all[i - 1])) counts[labels++].label = all[i];
    for (size_t i = 0; i < n; i++) {
        label_count *p = find_label(counts, labels, &predicted[i]),
                    *t = find_label(counts, labels, &target[i]);
        p->predicted++;
        t->target++;
        if (p == t) {
            p->both++;
            right++;
        }
    }
    *out = (class_scores){.accuracy = (double)right / (double)n, .labels = labels};
    for (size_t i = 0; i < labels; i++) {
        const double both = (double)counts[i].both, weight = (double)counts[i].target / (double)n;
        const double precision = counts[i].predicted ? both / (double)counts[i].predicted : 0;
        const double recall = counts[i].target ? both / (double)counts[i].target : 0;
        const double f1 =
            precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
        if (labels == 2) { // binary: the last label is the positive one
            out->precision = precision;
            out->recall = recall;
            out->f1 = f1;
        } else {
            out->precision += weight * precision;
            out->recall += weight * recall;
            out->f1 += weight * f1;
        }
        out->macro_f1 += f1 / (double)labels;
    }
    arena_release(&a);
    return MLTF_OK;
}

double metric_exact_match(const mltf_str *predicted, const mltf_str *target, size_t n)
{
    size_t same = 0;
    for (size_t i = 0; i < n; i++) same += str_eq(predicted[i], target[i]);
    return (double)same / (double)n;
}

/* ---- n-grams --------------------------------------------------------------------------------- */

typedef struct tokens {
    mltf_str *t; /* [n] */
    size_t n;
} tokens;

/* How many n-grams of a occur in b, each as often as it occurs there. Sorting both keeps long texts cheap. */
typedef struct ngram {
    const mltf_str *t;
    size_t n;
} ngram;

static int compare_ngrams(const void *a, const void *b)
{
    const ngram *x = a, *y = b;
    for (size_t i = 0; i < x->n; i++) {
        const int c = compare_str(&x->t[i], &y->t[i]);
        if (c) return c;
    }
    return 0;
}

static ngram *sorted_ngrams(mltf_arena *a, const tokens *text, size_t n, size_t *count)
{
    *count = text->n >= n ? text->n - n + 1 : 0;
    ngram *g = arena_calloc(a, *count + 1, sizeof *g);
    if (!g) return NULL;
    for (size_t i = 0; i < *count; i++) g[i] = (ngram){text->t + i, n};
    qsort(g, *count, sizeof *g, compare_ngrams);
    return g;
}

static size_t common_ngrams(mltf_arena *a, const tokens *x, const tokens *y, size_t n)
{
    const mltf_arena_mark mark = arena_save(a);
    size_t nx, ny, common = 0;
    ngram *gx = sorted_ngrams(a, x, n, &nx), *gy = sorted_ngrams(a, y, n, &ny);
    if (!gx || !gy) return 0; // a->failed tells
    for (size_t i = 0, j = 0; i < nx && j < ny;) {
        const int c = compare_ngrams(&gx[i], &gy[j]);
        common += c == 0;
        i += c <= 0;
        j += c >= 0;
    }
    arena_restore(a, mark);
    return common;
}

/* ---- ROUGE ----------------------------------------------------------------------------------- */

static tokens rouge_tokens(mltf_arena *a, mltf_str text)
{
    tokens out = {arena_calloc(a, text.n / 2 + 1, sizeof(mltf_str)), 0};
    char *lower = arena_strdup(a, text.p, text.n);
    if (!out.t || !lower) return (tokens){NULL, 0};
    for (size_t i = 0; i < text.n; i++)
        if (lower[i] >= 'A' && lower[i] <= 'Z') lower[i] = (char)(lower[i] + 32);
    for (size_t i = 0; i < text.n;) {
        size_t end = i;
        while (end < text.n &&
               (islower((unsigned char)lower[end]) || isdigit((unsigned char)lower[end])) &&
               (unsigned char)lower[end] < 0x80)
            end++;
        if (end > i) out.t[out.n++] = (mltf_str){lower + i, end - i};
        i = end > i ? end : i + 1;
    }
    return out;
}

static size_t longest_common_subsequence(mltf_arena *a, const tokens *x, const tokens *y)
{
    const mltf_arena_mark mark = arena_save(a);
    size_t *row = arena_calloc(a, y->n + 1, sizeof *row); // row[j]: of x up to here and y[0..j)
    if (!row) return 0;
    for (size_t i = 0; i < x->n; i++) {
        size_t diagonal = 0;
        for (size_t j = 1; j <= y->n; j++) {
            const size_t above = row[j];
            if (str_eq(x->t[i], y->t[j - 1]))
                row[j] = diagonal + 1;
            else if (row[j - 1] > row[j])
                row[j] = row[j - 1];
            diagonal = above;
        }
    }
    const size_t longest = row[y->n];
    arena_restore(a, mark);
    return longest;
}

static double f_measure(size_t common, size_t predicted, size_t target)
{
    if (!common || !predicted || !target) return 0;
    const double p = (double)common / (double)predicted, r = (double)common / (double)target;
    return 2 * p * r / (p + r);
}

static size_t grams_in(const tokens *t, size_t n)
{
    return t->n >= n ? t->n - n + 1 : 0;
}

mltf_status metric_rouge(rouge_scores *out, const mltf_str *predicted, const mltf_str *target,
                         size_t n, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    *out = (rouge_scores){0};
    bool failed = false;
    for (size_t i = 0; i < n && !failed; i++) {
        const mltf_arena_mark mark = arena_save(&a);
        const tokens p = rouge_tokens(&a, predicted[i]), t = rouge_tokens(&a, target[i]);
        out->rouge1 += f_measure(common_ngrams(&a, &p, &t, 1), p.n, t.n) / (double)n;
        out->rouge2 +=
            f_measure(common_ngrams(&a, &p, &t, 2), grams_in(&p, 2), grams_in(&t, 2)) / (double)n;
        out->rougeL += f_measure(longest_common_subsequence(&a, &p, &t), p.n, t.n) / (double)n;
        failed = a.failed;
        arena_restore(&a, mark);
    }
    arena_release(&a);
    return failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* ---- BLEU ------------------------------------------------------------------------------------ */

enum { MAX_ORDER = 4 };

/* mteval-v13a: punctuation stands apart, but . and , not inside numbers, and - only behind a digit. */
static tokens bleu_tokens(mltf_arena *a, mltf_str text)
{
    char *apart = arena_alloc(a, 3 * text.n + 1);
    tokens out = {arena_calloc(a, text.n + 1, sizeof(mltf_str)), 0};
    if (!apart || !out.t) return (tokens){NULL, 0};
    size_t m = 0;
    for (size_t i = 0; i < text.n; i++) {
        const unsigned char c = (unsigned char)text.p[i],
                            before = i ? (unsigned char)text.p[i - 1] : ' ',
                            after = i + 1 < text.n ? (unsigned char)text.p[i + 1] : ' ';
        bool alone = c < 0x80 && ispunct(c) && c != '\'' && c != '-' && c != '.' && c != ',';
        if (c == '.' || c == ',') alone = !isdigit(before) || !isdigit(after);
        if (c == '-') alone = isdigit(before);
        if (alone) apart[m++] = ' ';
        apart[m++] = (char)c;
        if (alone) apart[m++] = ' ';
    }
    for (size_t i = 0; i < m;) {
        size_t end = i;
        while (end < m && !isspace((unsigned char)apart[end])) end++;
        if (end > i) out.t[out.n++] = (mltf_str){apart + i, end - i};
        i = end > i ? end : i + 1;
    }
    return out;
}

static double bleu_of(const size_t *common, const size_t *possible, size_t predicted_len,
                      size_t target_len)
{
    double log_sum = 0;
    for (int k = 0; k < MAX_ORDER; k++) {
        if (!common[k] || !possible[k]) return 0;
        log_sum += log((double)common[k] / (double)possible[k]) / MAX_ORDER;
    }
    const double brevity =
        predicted_len >= target_len ? 1 : exp(1 - (double)target_len / (double)predicted_len);
    return brevity * exp(log_sum);
}

mltf_status metric_bleu(double *mean, double *corpus, const mltf_str *predicted,
                        const mltf_str *target, size_t n, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    size_t common[MAX_ORDER] = {0}, possible[MAX_ORDER] = {0}, predicted_len = 0, target_len = 0;
    bool failed = false;
    *mean = 0;
    for (size_t i = 0; i < n && !failed; i++) {
        const mltf_arena_mark mark = arena_save(&a);
        const tokens p = bleu_tokens(&a, predicted[i]), t = bleu_tokens(&a, target[i]);
        size_t c[MAX_ORDER], total[MAX_ORDER];
        for (size_t k = 0; k < MAX_ORDER; k++) {
            c[k] = common_ngrams(&a, &p, &t, k + 1);
            total[k] = grams_in(&p, k + 1);
            common[k] += c[k];
            possible[k] += total[k];
        }
        predicted_len += p.n;
        target_len += t.n;
        *mean += bleu_of(c, total, p.n, t.n) / (double)n;
        failed = a.failed;
        arena_restore(&a, mark);
    }
    *corpus = bleu_of(common, possible, predicted_len, target_len);
    arena_release(&a);
    return failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* ---- Spearman -------------------------------------------------------------------------------- */

typedef struct ranked {
    double value;
    size_t at;
} ranked;

static int compare_ranked(const void *a, const void *b)
{
    const double x = ((const ranked *)a)->value, y = ((const ranked *)b)->value;
    return (x > y) - (x < y);
}

static double *ranks_of(mltf_arena *a, const double *v, size_t n)
{
    ranked *r = arena_calloc(a, n, sizeof *r);
    double *rank = arena_calloc(a, n, sizeof *rank);
    if (!r || !rank) return NULL;
    for (size_t i = 0; i < n; i++) r[i] = (ranked){v[i], i};
    qsort(r, n, sizeof *r, compare_ranked);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && r[end].value <= r[i].value; end++) {
        }
        for (size_t k = i; k < end; k++) rank[r[k].at] = 0.5 * (double)(i + end - 1);
    }
    return rank;
}

mltf_status metric_spearman(double *out, const double *x, const double *y, size_t n, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    const double *rx = ranks_of(&a, x, n), *ry = ranks_of(&a, y, n);
    if (!rx || !ry) {
        arena_release(&a);
        return mltf_fail_memory(err);
    }
    const double mean = 0.5 * ((double)n - 1); // of ranks, with ties too
    double xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < n; i++) {
        xy += (rx[i] - mean) * (ry[i] - mean);
        xx += (rx[i] - mean) * (rx[i] - mean);
        yy += (ry[i] - mean) * (ry[i] - mean);
    }
    *out = xy / sqrt(xx * yy);
    arena_release(&a);
    return MLTF_OK;
}
