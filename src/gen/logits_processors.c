/* The logits processors and warpers of transformers 4.57 (generation/logits_process.py), one function each,
 * in the order in which generate() runs them. V is the vocabulary. */
#include "gen/logits_processors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gen/gen_math.h"
#include "gen/synthid.h"
#include "gen/watermark.h"

typedef mltf_status (*apply_fn)(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                mltf_err *err);

static bool among(gen_ids list, int32_t id)
{
    for (size_t i = 0; i < list.n; i++)
        if (list.p[i] == id) return true;
    return false;
}

/* ---- biases and penalties ------------------------------------------------------------------ */

/* Is `seq` but its last token the end of ids? One-token sequences always match. */
static bool ends_with_prefix(const int32_t *ids, size_t n, gen_ids seq)
{
    if (seq.n == 1) return true;
    if (seq.n > n) return false;
    return memcmp(ids + n - (seq.n - 1), seq.p, (seq.n - 1) * sizeof *ids) == 0;
}

static bool same_ids(gen_ids a, gen_ids b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n * sizeof *a.p) == 0;
}

static mltf_status apply_sequence_bias(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                       mltf_err *err)
{
    (void)err;
    const gen_biases *b = &p->facts.cfg->sequence_bias;
    for (size_t i = 0; i < b->n; i++) {
        const gen_ids seq = b->p[i].ids;
        bool repeated = false; // a dict keeps the last of equal keys
        for (size_t k = i + 1; k < b->n; k++) repeated |= same_ids(seq, b->p[k].ids);
        if (!repeated && ends_with_prefix(ids, n, seq)) s[seq.p[seq.n - 1]] += b->p[i].bias;
    }
    return MLTF_OK;
}

/* Each token of `list` once: negative scores times the penalty, others divided by it. */
static void penalize_once(gen_processors *p, float *s, const int32_t *list, size_t n, float penalty)
{
    const size_t V = p->facts.vocab;
    for (size_t i = 0; i < n; i++) {
        const int32_t id = list[i];
        if (id < 0 || (size_t)id >= V || p->seen[id]) continue;
        p->seen[id] = 1;
        s[id] = s[id] < 0 ? s[id] * penalty : s[id] / penalty;
    }
    for (size_t i = 0; i < n; i++)
        if (list[i] >= 0 && (size_t)list[i] < V) p->seen[list[i]] = 0;
}

static mltf_status apply_encoder_repetition(gen_processors *p, float *s, const int32_t *ids,
                                            size_t n, mltf_err *err)
{
    (void)ids, (void)n, (void)err;
    const gen_ids enc = p->facts.encoder_ids;
    penalize_once(p, s, enc.p, enc.n, (float)(1.0 / p->facts.cfg->encoder_repetition_penalty));
    return MLTF_OK;
}

static mltf_status apply_repetition(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                    mltf_err *err)
{
    (void)err;
    penalize_once(p, s, ids, n, (float)p->facts.cfg->repetition_penalty);
    return MLTF_OK;
}

/* OpenAI's: of the tokens generated so far, count * frequency + presence is taken off. */
static mltf_status apply_frequency(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                   mltf_err *err)
{
    (void)err;
    const gen_config *c = p->facts.cfg;
    for (size_t i = p->facts.n_prompt; i < n; i++) {
        const int32_t id = ids[i];
        if (id < 0 || (size_t)id >= p->facts.vocab) continue;
        s[id] -= (float)c->frequency_penalty;
        if (!p->seen[id]) s[id] -= (float)c->presence_penalty;
        p->seen[id] = 1;
    }
    for (size_t i = p->facts.n_prompt; i < n; i++)
        if (ids[i] >= 0 && (size_t)ids[i] < p->facts.vocab) p->seen[ids[i]] = 0;
    return MLTF_OK;
}

/* ---- prohibitions -------------------------------------------------------------------------- */

/* Ban what once followed the last N-1 tokens of ids inside `where`. */
static void ban_ngrams(gen_processors *p, float *s, const int32_t *ids, size_t n,
                       const int32_t *where, size_t n_where, size_t N)
{
    if (n + 1 < N) return;
    const int32_t *last = ids + n - (N - 1);
    for (size_t i = 0; i + N <= n_where; i++) {
        if (memcmp(where + i, last, (N - 1) * sizeof *ids) != 0) continue;
        const int32_t next = where[i + N - 1];
        if (next >= 0 && (size_t)next < p->facts.vocab) s[next] = -INFINITY;
    }
}

static mltf_status apply_no_repeat_ngram(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                         mltf_err *err)
{
    (void)err;
    ban_ngrams(p, s, ids, n, ids, n, (size_t)p->facts.cfg->no_repeat_ngram_size);
    return MLTF_OK;
}

static mltf_status apply_encoder_no_repeat_ngram(gen_processors *p, float *s, const int32_t *ids,
                                                 size_t n, mltf_err *err)
{
    (void)err;
    const gen_ids enc = p->facts.encoder_ids;
    ban_ngrams(p, s, ids, n, enc.p, enc.n, (size_t)p->facts.cfg->encoder_no_repeat_ngram_size);
    return MLTF_OK;
}

/* An eos token as a bad word is passed over: generation could not end. */
static mltf_status apply_bad_words(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                   mltf_err *err)
{
    (void)err;
    const gen_config *c = p->facts.cfg;
    for (size_t i = 0; i < c->bad_words_ids.n; i++) {
        const gen_ids seq = c->bad_words_ids.p[i];
        if (seq.n == 0 || (seq.n == 1 && among(c->eos_token_id, seq.p[0]))) continue;
        if (ends_with_prefix(ids, n, seq)) s[seq.p[seq.n - 1]] = -INFINITY;
    }
    return MLTF_OK;
}

static void ban_all(float *s, size_t V, gen_ids list)
{
    for (size_t i = 0; i < list.n; i++)
        if (list.p[i] >= 0 && (size_t)list.p[i] < V) s[list.p[i]] = -INFINITY;
}

static mltf_status apply_min_length(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                    mltf_err *err)
{
    (void)ids, (void)err;
    if ((int64_t)n < p->facts.cfg->min_length)
        ban_all(s, p->facts.vocab, p->facts.cfg->eos_token_id);
    return MLTF_OK;
}

static mltf_status apply_min_new_tokens(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                        mltf_err *err)
{
    (void)ids, (void)err;
    if ((int64_t)(n - p->facts.n_prompt) < p->facts.cfg->min_new_tokens)
        ban_all(s, p->facts.vocab, p->facts.cfg->eos_token_id);
    return MLTF_OK;
}

static mltf_status apply_prefix_allowed(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                        mltf_err *err)
{
    const size_t V = p->facts.vocab;
    const mltf_status st = p->facts.prefix_allowed(p->facts.prefix_user, ids, n, p->seen, V, err);
    size_t allowed = 0;
    for (size_t i = 0; i < V && !st; i++) {
        allowed += p->seen[i] != 0;
        if (!p->seen[i]) s[i] = -INFINITY;
    }
    memset(p->seen, 0, V);
    TRY(st);
    if (allowed == 0)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "`prefix_allowed_tokens_fn` returned an empty list: the constraint is unsatisfiable");
    return MLTF_OK;
}

/* ---- forced and suppressed tokens ---------------------------------------------------------- */

static void force(float *s, size_t V, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < V; i++) s[i] = -INFINITY;
    for (size_t i = 0; i < n; i++) s[ids[i]] = 0;
}

static mltf_status apply_forced_bos(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                    mltf_err *err)
{
    (void)ids, (void)err;
    const int32_t bos = (int32_t)p->facts.cfg->forced_bos_token_id;
    if (n == 1) force(s, p->facts.vocab, &bos, 1);
    return MLTF_OK;
}

static mltf_status apply_forced_eos(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                    mltf_err *err)
{
    (void)ids, (void)err;
    const gen_config *c = p->facts.cfg;
    if ((int64_t)n == c->max_length - 1)
        force(s, p->facts.vocab, c->forced_eos_token_id.p, c->forced_eos_token_id.n);
    return MLTF_OK;
}

static mltf_status apply_remove_invalid(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                        mltf_err *err)
{
    (void)ids, (void)n, (void)err;
    const float max = 3.402823466e+38f;
    for (size_t i = 0; i < p->facts.vocab; i++) {
        if (isnan(s[i])) s[i] = 0;
        if (isinf(s[i])) s[i] = s[i] > 0 ? max : -max;
    }
    return MLTF_OK;
}

static mltf_status apply_exponential_decay(gen_processors *p, float *s, const int32_t *ids,
                                           size_t n, mltf_err *err)
{
    (void)ids, (void)err;
    const gen_config *c = p->facts.cfg;
    const int64_t over =
        (int64_t)n - (c->exponential_decay_length_penalty.start + (int64_t)p->facts.n_prompt);
    if (over <= 0) return MLTF_OK;
    const float grown = (float)(pow(c->exponential_decay_length_penalty.factor, (double)over) - 1);
    for (size_t i = 0; i < c->eos_token_id.n; i++) {
        const int32_t eos = c->eos_token_id.p[i];
        bool before = false; // penalties are assigned, not added: an id listed twice counts once
        for (size_t k = 0; k < i; k++) before |= c->eos_token_id.p[k] == eos;
        if (!before && !isinf(s[eos])) s[eos] += fabsf(s[eos]) * grown; // forbidden stays forbidden
    }
    return MLTF_OK;
}

static mltf_status apply_suppress(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                  mltf_err *err)
{
    (void)ids, (void)n, (void)err;
    ban_all(s, p->facts.vocab, p->facts.cfg->suppress_tokens);
    return MLTF_OK;
}

static mltf_status apply_begin_suppress(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                        mltf_err *err)
{
    (void)ids, (void)err;
    const gen_config *c = p->facts.cfg;
    size_t begin = p->facts.n_prompt;
    if (begin <= 1 && c->forced_bos_token_id != GEN_NONE) begin++; // the forced token comes first
    if (n == begin) ban_all(s, p->facts.vocab, c->begin_suppress_tokens);
    return MLTF_OK;
}

/* ---- warpers ------------------------------------------------------------------------------- */

static mltf_status apply_temperature(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                     mltf_err *err)
{
    (void)ids, (void)n, (void)err;
    const float t = (float)p->facts.cfg->temperature;
    for (size_t i = 0; i < p->facts.vocab; i++) s[i] /= t;
    return MLTF_OK;
}

/* The k-th largest of x[0..n), 1 <= k <= n; x is reordered. NaN counts as smallest. Each round splits what is
 * left into greater, equal and less than a pivot and goes on in the part that holds the answer. */
static float kth_largest(float *x, size_t n, size_t k)
{
    for (size_t i = 0; i < n; i++)
        if (isnan(x[i])) x[i] = -INFINITY;
    size_t lo = 0, hi = n; // the answer is in x[lo..hi)
    for (;;) {
        const float pivot = x[lo + (hi - lo) / 2];
        size_t greater = lo, i = lo,
               less = hi; // [lo, greater) > pivot, [greater, i) == pivot, [less, hi) < pivot
        while (i < less) {
            const float v = x[i];
            if (v > pivot) {
                x[i++] = x[greater];
                x[greater++] = v;
            } else if (v < pivot) {
                x[i] = x[--less];
                x[less] = v;
            } else {
                i++;
            }
        }
        if (k - 1 < greater)
            hi = greater;
        else if (k - 1 < less)
            return pivot;
        else
            lo = less;
    }
}

static float threshold_of_top(gen_processors *p, const float *s, size_t k)
{
    const size_t V = p->facts.vocab;
    memcpy(p->values, s, V * sizeof *s);
    return kth_largest(p->values, V, k < V ? k : V);
}

static mltf_status apply_top_k(gen_processors *p, float *s, const int32_t *ids, size_t n,
                               mltf_err *err)
{
    (void)ids, (void)n, (void)err;
    const size_t V = p->facts.vocab;
    const uint64_t k =
        (uint64_t)p->facts.cfg->top_k > p->keep ? (uint64_t)p->facts.cfg->top_k : p->keep;
    if (k >= V) return MLTF_OK;
    const float border = threshold_of_top(p, s, (size_t)k);
    for (size_t i = 0; i < V; i++)
        if (s[i] < border) s[i] = -INFINITY;
    return MLTF_OK;
}

/* Order ids by key ascending, equal keys by id: a merge sort, because it needs no comparison callback with
 * context and keeps equal keys in place. a and b are [n]. */
static void sort_by_key(uint32_t *a, uint32_t *b, size_t n, const float *key)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            const size_t mid = lo + width < n ? lo + width : n,
                         hi = lo + 2 * width < n ? lo + 2 * width : n;
            size_t i = lo, j = mid;
            for (size_t k = lo; k < hi; k++)
                b[k] = i < mid && (j >= hi || key[a[i]] <= key[a[j]]) ? a[i++] : a[j++];
        }
        memcpy(a, b, n * sizeof *a);
    }
}

/* Nucleus: drop the least probable tokens whose masses together stay within 1 - top_p. Tokens so improbable
 * that all of V of them would stay within it go without being sorted. */
static mltf_status apply_top_p(gen_processors *p, float *s, const int32_t *ids, size_t n,
                               mltf_err *err)
{
    (void)ids, (void)n, (void)err;
    const size_t V = p->facts.vocab;
    const double lse = gen_logsumexp(s, V), out = 1 - p->facts.cfg->top_p, low = out / (double)V;
    if (!isfinite(lse)) return MLTF_OK;
    const float max = s[gen_argmax(s, V)];
    double cumulative = 0;
    size_t m = 0;
    for (size_t i = 0; i < V; i++) {
        const double prob = gen_exp((double)s[i] - lse);
        if (prob > low || !(s[i] < max)) {
            p->order[m++] = (uint32_t)i;
            continue;
        }
        cumulative += prob;
        if (p->keep == 1) s[i] = -INFINITY; // the highest score is kept in any case
    }
    if (p->keep > 1 && m >= p->keep) {
        for (size_t i = 0; i < V; i++)
            if (gen_exp((double)s[i] - lse) <= low && s[i] < max) s[i] = -INFINITY;
    } else if (m < p->keep) { // the few to keep are among the improbable: sort all of them
        cumulative = 0;
        for (m = 0; m < V; m++) p->order[m] = (uint32_t)m;
    }
    sort_by_key(p->order, (uint32_t *)(void *)p->values, m, s);
    for (size_t k = 0; k + p->keep < m; k++) {
        cumulative += gen_exp((double)s[p->order[k]] - lse);
        if (cumulative > out) break;
        s[p->order[k]] = -INFINITY;
    }
    return MLTF_OK;
}

/* Drop where(prob) is below a border, but never one of the `keep` highest scores. */
static void cut_below(gen_processors *p, float *s, double lse, double border)
{
    const size_t V = p->facts.vocab;
    const float kept = p->keep == 1 ? s[gen_argmax(s, V)] : threshold_of_top(p, s, p->keep);
    for (size_t i = 0; i < V; i++)
        if (s[i] < kept && gen_exp((double)s[i] - lse) < border) s[i] = -INFINITY;
}

static mltf_status apply_min_p(gen_processors *p, float *s, const int32_t *ids, size_t n,
                               mltf_err *err)
{
    (void)ids, (void)n, (void)err;
    const double lse = gen_logsumexp(s, p->facts.vocab);
    if (!isfinite(lse)) return MLTF_OK;
    const double top = gen_exp((double)s[gen_argmax(s, p->facts.vocab)] - lse);
    cut_below(p, s, lse, p->facts.cfg->min_p * top);
    return MLTF_OK;
}

static double entropy(const float *s, size_t V, double lse)
{
    double h = 0;
    for (size_t i = 0; i < V; i++) {
        const double logp = (double)s[i] - lse;
        if (logp > -745) h -= logp * gen_exp(logp);
    }
    return h;
}

/* Locally typical sampling (Meister et al. 2022): keep the tokens whose surprise is nearest to the entropy. */
static mltf_status apply_typical(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                 mltf_err *err)
{
    (void)ids, (void)n, (void)err;
    const size_t V = p->facts.vocab;
    const double lse = gen_logsumexp(s, V);
    if (!isfinite(lse)) return MLTF_OK;
    const double h = entropy(s, V, lse);
    float *shifted = p->values;
    for (size_t i = 0; i < V; i++) {
        shifted[i] = (float)fabs((lse - (double)s[i]) - h);
        p->order[i] = (uint32_t)i;
    }
    uint32_t *swap = malloc(V * sizeof *swap);
    if (!swap) return mltf_fail_memory(err);
    sort_by_key(p->order, swap, V, shifted);
    free(swap);
    double cumulative = 0;
    size_t last = 0;
    while (last < V) {
        cumulative += gen_exp((double)s[p->order[last]] - lse);
        if (cumulative >= p->facts.cfg->typical_p) break;
        last++;
    }
    if (last >= V) last = V - 1;
    const float border = shifted[p->order[last]];
    for (size_t k = p->keep; k < V; k++)
        if (shifted[p->order[k]] > border) s[p->order[k]] = -INFINITY;
    return MLTF_OK;
}

static mltf_status apply_epsilon(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                 mltf_err *err)
{
    (void)ids, (void)n, (void)err;
    const double lse = gen_logsumexp(s, p->facts.vocab);
    if (isfinite(lse)) cut_below(p, s, lse, p->facts.cfg->epsilon_cutoff);
    return MLTF_OK;
}

static mltf_status apply_eta(gen_processors *p, float *s, const int32_t *ids, size_t n,
                             mltf_err *err)
{
    (void)ids, (void)n, (void)err;
    const double eps = p->facts.cfg->eta_cutoff, lse = gen_logsumexp(s, p->facts.vocab);
    if (!isfinite(lse)) return MLTF_OK;
    const double eta = sqrt(eps) * gen_exp(-entropy(s, p->facts.vocab, lse));
    cut_below(p, s, lse, eps < eta ? eps : eta);
    return MLTF_OK;
}

static mltf_status apply_watermark(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                   mltf_err *err)
{
    (void)err;
    const gen_watermark *w = &p->facts.cfg->watermarking_config;
    const size_t before = p->facts.n_prompt < n ? p->facts.n_prompt : n;
    if (w->synthid.ngram_len)
        gen_synthid_apply(&w->synthid, p->synthid, s, p->facts.vocab, ids + before, n - before,
                          p->values);
    else
        gen_watermark_apply(w, p->watermark, s, p->facts.vocab, ids, n, p->order);
    return MLTF_OK;
}

static mltf_status apply_renormalize(gen_processors *p, float *s, const int32_t *ids, size_t n,
                                     mltf_err *err)
{
    (void)ids, (void)n, (void)err;
    gen_log_softmax(s, p->facts.vocab);
    return MLTF_OK;
}

/* ---- the table ----------------------------------------------------------------------------- */

static bool on_sequence_bias(const gen_process_facts *f)
{
    return f->cfg->sequence_bias.p != NULL;
}
static bool on_encoder_repetition(const gen_process_facts *f)
{
    const double x = f->cfg->encoder_repetition_penalty;
    return !isnan(x) && x != 1;
}
static bool on_repetition(const gen_process_facts *f)
{
    return !isnan(f->cfg->repetition_penalty) && f->cfg->repetition_penalty != 1;
}
static bool on_frequency(const gen_process_facts *f)
{
    return f->cfg->frequency_penalty != 0 || f->cfg->presence_penalty != 0;
}
static bool on_no_repeat_ngram(const gen_process_facts *f)
{
    return f->cfg->no_repeat_ngram_size > 0;
}
static bool on_encoder_no_repeat_ngram(const gen_process_facts *f)
{
    return f->cfg->encoder_no_repeat_ngram_size > 0;
}
static bool on_bad_words(const gen_process_facts *f)
{
    return f->cfg->bad_words_ids.p != NULL;
}
static bool on_min_length(const gen_process_facts *f)
{
    return f->cfg->eos_token_id.p && f->cfg->min_length > 0;
}
static bool on_min_new_tokens(const gen_process_facts *f)
{
    return f->cfg->eos_token_id.p && f->cfg->min_new_tokens > 0;
}
static bool on_prefix_allowed(const gen_process_facts *f)
{
    return f->prefix_allowed != NULL;
}
static bool on_forced_bos(const gen_process_facts *f)
{
    return f->cfg->forced_bos_token_id != GEN_NONE;
}
static bool on_forced_eos(const gen_process_facts *f)
{
    return f->cfg->forced_eos_token_id.p != NULL;
}
static bool on_remove_invalid(const gen_process_facts *f)
{
    return f->cfg->remove_invalid_values;
}
static bool on_exponential_decay(const gen_process_facts *f)
{
    return f->cfg->exponential_decay_length_penalty.factor != 0;
}
static bool on_suppress(const gen_process_facts *f)
{
    return f->cfg->suppress_tokens.p != NULL;
}
static bool on_begin_suppress(const gen_process_facts *f)
{
    return f->cfg->begin_suppress_tokens.p != NULL;
}
static bool on_temperature(const gen_process_facts *f)
{
    return f->cfg->do_sample && !isnan(f->cfg->temperature) && f->cfg->temperature != 1;
}
static bool on_top_k(const gen_process_facts *f)
{
    return f->cfg->do_sample && f->cfg->top_k != GEN_NONE && f->cfg->top_k != 0;
}
static bool on_top_p(const gen_process_facts *f)
{
    return f->cfg->do_sample && f->cfg->top_p < 1;
}
static bool on_min_p(const gen_process_facts *f)
{
    return f->cfg->do_sample && !isnan(f->cfg->min_p);
}
static bool on_typical(const gen_process_facts *f)
{
    return f->cfg->do_sample && f->cfg->typical_p < 1;
}
static bool on_epsilon(const gen_process_facts *f)
{
    return f->cfg->do_sample && f->cfg->epsilon_cutoff > 0 && f->cfg->epsilon_cutoff < 1;
}
static bool on_eta(const gen_process_facts *f)
{
    return f->cfg->do_sample && f->cfg->eta_cutoff > 0 && f->cfg->eta_cutoff < 1;
}
static bool on_watermark(const gen_process_facts *f)
{
    return f->cfg->watermarking_config.on;
}
static bool on_renormalize(const gen_process_facts *f)
{
    return f->cfg->renormalize_logits;
}

typedef struct processor {
    bool (*on)(const gen_process_facts *f);
    apply_fn apply;
} processor;

// clang-format off
static const processor table[] = {
    {on_sequence_bias,           apply_sequence_bias},
    {on_encoder_repetition,      apply_encoder_repetition},
    {on_repetition,              apply_repetition},
    {on_frequency,               apply_frequency},
    {on_no_repeat_ngram,         apply_no_repeat_ngram},
    {on_encoder_no_repeat_ngram, apply_encoder_no_repeat_ngram},
    {on_bad_words,               apply_bad_words},
    {on_min_length,              apply_min_length},
    {on_min_new_tokens,          apply_min_new_tokens},
    {on_prefix_allowed,          apply_prefix_allowed},
    {on_forced_bos,              apply_forced_bos},
    {on_forced_eos,              apply_forced_eos},
    {on_remove_invalid,          apply_remove_invalid},
    {on_exponential_decay,       apply_exponential_decay},
    {on_suppress,                apply_suppress},
    {on_begin_suppress,          apply_begin_suppress},
    {on_temperature,             apply_temperature},
    {on_top_k,                   apply_top_k},
    {on_top_p,                   apply_top_p},
    {on_min_p,                   apply_min_p},
    {on_typical,                 apply_typical},
    {on_epsilon,                 apply_epsilon},
    {on_eta,                     apply_eta},
    {on_watermark,               apply_watermark},
    {on_renormalize,             apply_renormalize},
};
// clang-format on
#define TABLE_ROWS (sizeof table / sizeof *table)
_Static_assert(TABLE_ROWS <= GEN_MAX_PROCESSORS, "raise GEN_MAX_PROCESSORS");

static mltf_status check_biased(const gen_ids seq, size_t V, mltf_err *err)
{
    for (size_t k = 0; k < seq.n; k++)
        if ((size_t)seq.p[k] >= V)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "The model vocabulary size is %zu, but the following tokens were "
                             "being biased: [%d]",
                             V, seq.p[k]);
    return MLTF_OK;
}

static mltf_status check_inside(const char *name, int64_t id, size_t V, mltf_err *err)
{
    if (id >= 0 && (uint64_t)id < V) return MLTF_OK;
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "`%s` %lld is outside the model's vocabulary of %zu tokens", name,
                     (long long)id, V);
}

static mltf_status check_ids(const gen_process_facts *f, mltf_err *err)
{
    const gen_config *c = f->cfg;
    for (size_t i = 0; i < c->sequence_bias.n; i++)
        TRY(check_biased(c->sequence_bias.p[i].ids, f->vocab, err));
    for (size_t i = 0; i < c->bad_words_ids.n; i++) {
        const gen_ids seq = c->bad_words_ids.p[i];
        if (seq.n == 1 && among(c->eos_token_id, seq.p[0])) continue;
        TRY(check_biased(seq, f->vocab, err));
    }
    if (on_forced_bos(f))
        TRY(check_inside("forced_bos_token_id", c->forced_bos_token_id, f->vocab, err));
    for (size_t i = 0; i < c->forced_eos_token_id.n; i++)
        TRY(check_inside("forced_eos_token_id", c->forced_eos_token_id.p[i], f->vocab, err));
    if (on_exponential_decay(f))
        for (size_t i = 0; i < c->eos_token_id.n; i++)
            TRY(check_inside("eos_token_id", c->eos_token_id.p[i], f->vocab, err));
    return MLTF_OK;
}

mltf_status gen_processors_init(gen_processors *p, const gen_process_facts *facts,
                                mltf_arena *arena, mltf_err *err)
{
    *p = (gen_processors){.facts = *facts, .keep = 1};
    TRY(check_ids(facts, err));
    // beams need one token more than can end the sequence
    if (facts->cfg->num_beams > 1)
        p->keep = facts->cfg->eos_token_id.p ? facts->cfg->eos_token_id.n + 1 : 2;
    if (p->keep > facts->vocab) p->keep = facts->vocab;
    for (size_t i = 0; i < TABLE_ROWS; i++)
        if (table[i].on(facts)) p->list[p->n++] = (uint8_t)i;
    if (p->n == 0) return MLTF_OK;
    p->values = arena_f32(arena, 1, facts->vocab);
    p->order = arena_calloc(arena, facts->vocab, sizeof *p->order);
    p->seen = arena_calloc(arena, facts->vocab, 1);
    const gen_watermark *mark = &facts->cfg->watermarking_config;
    if (mark->selfhash) p->watermark = gen_watermark_table(mark, arena);
    if (mark->synthid.ngram_len) p->synthid = gen_synthid_table(&mark->synthid, arena);
    const bool ok = p->values && p->order && p->seen && (p->watermark || !mark->selfhash) &&
                    (p->synthid || !mark->synthid.ngram_len);
    return ok ? MLTF_OK : mltf_fail_memory(err);
}

mltf_status gen_processors_run(gen_processors *p, float *scores, const int32_t *ids, size_t n,
                               mltf_err *err)
{
    for (size_t i = 0; i < p->n; i++) TRY(table[p->list[i]].apply(p, scores, ids, n, err));
    return MLTF_OK;
}

/* ---- choosing ------------------------------------------------------------------------------ */

int32_t gen_argmax(const float *s, size_t V)
{
    size_t best = 0;
    for (size_t i = 1; i < V; i++)
        if (s[i] > s[best] || (isnan(s[best]) && !isnan(s[i]))) best = i;
    return (int32_t)best;
}

int32_t gen_pick(const float *s, size_t V, double u)
{
    const int32_t top = gen_argmax(s, V);
    const double max = s[top];
    if (!isfinite(max)) return top;
    double total = 0;
    for (size_t i = 0; i < V; i++)
        if (s[i] > -INFINITY) total += gen_exp((double)s[i] - max);
    const double want = u * total;
    double cumulative = 0;
    int32_t last = top;
    for (size_t i = 0; i < V; i++) {
        if (!(s[i] > -INFINITY)) continue;
        const double mass = gen_exp((double)s[i] - max);
        if (mass == 0) continue;
        cumulative += mass;
        last = (int32_t)i;
        if (cumulative > want) return last;
    }
    return last;
}
