#include "mlflow/metrics.h"

#include <math.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/buf.h"
#include "base/pytext.h"

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

/* str.lower() as far as [a-z0-9] come out of it: two letters beyond ASCII do as well. */
static char *lower_ascii(mltf_arena *a, mltf_str text)
{
    char *lower = arena_strdup(a, text.p, text.n);
    for (size_t i = 0; lower && i < text.n; i++) {
        lower[i] = ascii_lower(lower[i]);
        const mltf_str rest = {text.p + i, text.n - i};
        if (str_starts(rest, "\xC4\xB0")) lower[i] = 'i'; // and a dot of its own
        if (str_starts(rest, "\xE2\x84\xAA")) // Kelvin: one letter where three bytes were
            lower[i] = lower[i + 1] = '\x01', lower[i + 2] = 'k';
    }
    return lower;
}

static bool is_rouge_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static tokens rouge_tokens(mltf_arena *a, mltf_str text)
{
    tokens out = {arena_calloc(a, text.n / 2 + 1, sizeof(mltf_str)), 0};
    char *lower = lower_ascii(a, text);
    if (!out.t || !lower) return (tokens){NULL, 0};
    size_t m = 0; // letters move together where bytes fell away
    for (size_t i = 0; i < text.n; i++)
        if (lower[i] != '\x01' || text.p[i] == '\x01') lower[m++] = lower[i];
    for (size_t i = 0; i < m;) {
        size_t end = i;
        while (end < m && is_rouge_letter(lower[end])) end++;
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

/* ---- ROUGE-Lsum: lines are sentences ---- */

typedef struct sentences {
    tokens *s; /* [n] */
    size_t n, words;
} sentences;

static sentences split_lines(mltf_arena *a, mltf_str text)
{
    size_t lines = 1;
    for (size_t i = 0; i < text.n; i++) lines += text.p[i] == '\n';
    sentences out = {arena_calloc(a, lines, sizeof *out.s), 0, 0};
    for (size_t from = 0, to = 0; out.s && from < text.n; from = to + 1) {
        for (to = from; to < text.n && text.p[to] != '\n'; to++) {
        }
        if (to == from) continue;
        out.s[out.n] = rouge_tokens(a, str_slice(text, from, to));
        out.words += out.s[out.n++].n;
    }
    return out;
}

/* Marks the words of x that a longest common subsequence with y has. */
static void mark_common(mltf_arena *a, const tokens *x, const tokens *y, bool *marked)
{
    const mltf_arena_mark mark = arena_save(a);
    const size_t width = y->n + 1;
    uint32_t *t = arena_calloc(a, x->n + 1, width * sizeof *t); // [x + 1, y + 1]
    if (!t) return;                                             // a->failed tells
    for (size_t i = 1; i <= x->n; i++)
        for (size_t j = 1; j <= y->n; j++) {
            const uint32_t above = t[(i - 1) * width + j], left = t[i * width + j - 1];
            t[i * width + j] = str_eq(x->t[i - 1], y->t[j - 1]) ? t[(i - 1) * width + j - 1] + 1
                               : above > left                   ? above
                                                                : left;
        }
    for (size_t i = x->n, j = y->n; i > 0 && j > 0;) {
        if (str_eq(x->t[i - 1], y->t[j - 1])) {
            marked[--i] = true;
            j--;
        } else if (t[i * width + j - 1] > t[(i - 1) * width + j]) {
            j--;
        } else {
            i--;
        }
    }
    arena_restore(a, mark);
}

/* How often the word stands in the text, less what was counted already. */
typedef struct word_count {
    mltf_str word;
    size_t left;
} word_count;

static word_count *count_words(mltf_arena *a, const sentences *text, size_t *n)
{
    mltf_str *all = arena_calloc(a, text->words + 1, sizeof *all);
    word_count *counts = arena_calloc(a, text->words + 1, sizeof *counts);
    *n = 0;
    if (!all || !counts) return NULL;
    size_t m = 0;
    for (size_t i = 0; i < text->n; i++)
        for (size_t k = 0; k < text->s[i].n; k++) all[m++] = text->s[i].t[k];
    qsort(all, m, sizeof *all, compare_str);
    for (size_t i = 0; i < m; i++) {
        if (*n == 0 || !str_eq(counts[*n - 1].word, all[i]))
            counts[(*n)++] = (word_count){all[i], 0};
        counts[*n - 1].left++;
    }
    return counts;
}

/* Words of the target's sentences that the union of their subsequences with the predicted ones has, none more often
 * than either text. */
static size_t summary_hits(mltf_arena *a, const sentences *target, const sentences *predicted)
{
    size_t n_target, n_predicted, hits = 0;
    word_count *of_target = count_words(a, target, &n_target),
               *of_predicted = count_words(a, predicted, &n_predicted);
    for (size_t i = 0; i < target->n && !a->failed; i++) {
        const tokens *x = &target->s[i];
        bool *marked = arena_calloc(a, x->n + 1, sizeof *marked);
        for (size_t k = 0; marked && k < predicted->n; k++)
            mark_common(a, x, &predicted->s[k], marked);
        for (size_t k = 0; marked && k < x->n; k++) {
            if (!marked[k]) continue;
            word_count *t = bsearch(&x->t[k], of_target, n_target, sizeof *t, compare_str),
                       *p = bsearch(&x->t[k], of_predicted, n_predicted, sizeof *p, compare_str);
            if (!t || !p || !t->left || !p->left) continue;
            t->left--;
            p->left--;
            hits++;
        }
    }
    return hits;
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
        const sentences ps = split_lines(&a, predicted[i]), ts = split_lines(&a, target[i]);
        const size_t hits = ps.n == 1 && ts.n == 1
                                ? longest_common_subsequence(&a, &ps.s[0], &ts.s[0])
                                : summary_hits(&a, &ts, &ps);
        out->rougeLsum += f_measure(hits, ps.words, ts.words) / (double)n;
        failed = a.failed;
        arena_restore(&a, mark);
    }
    arena_release(&a);
    return failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* ---- BLEU ------------------------------------------------------------------------------------ */

enum { MAX_ORDER = 4 };

static void replace_all(mltf_buf *text, const char *what, const char *by)
{
    const size_t n = strlen(what), m = strlen(by);
    size_t out = 0;
    for (size_t i = 0; i < text->n;) {
        const bool found = str_starts((mltf_str){text->p + i, text->n - i}, what);
        if (found) memcpy(text->p + out, by, m); // by is the shorter one
        if (!found) text->p[out] = text->p[i];
        out += found ? m : 1;
        i += found ? n : 1;
    }
    text->n = out;
}

/* The four substitutions of mteval-v13a one after another, each from left to right over what the one before left:
 * symbols stand apart; "." and "," do unless a digit is before them; unless one is behind; "-" behind a digit. A
 * character that one match has taken is not there for the next. */
static void set_apart(mltf_buf *out, mltf_str in, int rule)
{
    buf_clear(out);
    for (size_t i = 0; i < in.n; i++) {
        const char c = in.p[i], next = i + 1 < in.n ? in.p[i + 1] : 0;
        const bool more = i + 1 < in.n, dot = c == '.' || c == ',',
                   next_dot = next == '.' || next == ',';
        if (rule == 0 && c > ' ' && c < 0x7F && !ascii_is_alnum(c) && c != '\'' && c != '-' &&
            !dot) {
            buf_printf(out, " %c ", c);
        } else if (rule == 1 && more && !ascii_is_digit(c) && next_dot) {
            buf_printf(out, "%c %c ", c, next);
            i++;
        } else if (rule == 2 && more && dot && !ascii_is_digit(next)) {
            buf_printf(out, " %c %c", c, next);
            i++;
        } else if (rule == 3 && more && ascii_is_digit(c) && next == '-') {
            buf_printf(out, "%c - ", c);
            i++;
        } else {
            buf_putc(out, c);
        }
    }
}

static tokens bleu_tokens(mltf_arena *a, mltf_str text)
{
    static const char *const replaced[][2] = {{"<skipped>", ""}, {"-\n", ""},    {"\n", " "},
                                              {"&quot;", "\""},  {"&amp;", "&"}, {"&lt;", "<"},
                                              {"&gt;", ">"}};
    mltf_buf b[2] = {MLTF_BUF_INIT, MLTF_BUF_INIT};
    buf_putc(&b[0], ' ');
    buf_put_str(&b[0], text);
    buf_putc(&b[0], ' ');
    for (size_t i = 0; !b[0].failed && i < sizeof replaced / sizeof *replaced; i++)
        replace_all(&b[0], replaced[i][0], replaced[i][1]);
    for (int rule = 0; rule < 4 && !b[0].failed; rule++)
        set_apart(&b[1 - rule % 2], buf_str(&b[rule % 2]), rule);
    tokens out = {arena_calloc(a, b[0].n + 1, sizeof(mltf_str)), 0};
    mltf_str rest = b[0].failed || b[1].failed ? (mltf_str){0} : arena_str(a, buf_str(&b[0]));
    if (!out.t || !rest.p) {
        a->failed = true;
        out = (tokens){NULL, 0};
    } else {
        for (mltf_str w; (w = pytext_word(&rest)).n;) out.t[out.n++] = w;
    }
    mltf_buf_release(&b[0]);
    mltf_buf_release(&b[1]);
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
