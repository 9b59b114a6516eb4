/* Log probabilities of a given text: what a causal language model thinks of each token, given those before it. */
#include <math.h>

#include "gen/gen_math.h"
#include "tasks/task.h"

/* Rows that go through the model at a time, behind a cache: their logits are all that is held. */
#define SCORE_ROWS 64

mltf_status pipeline_score(const pipeline *p, const int32_t *ids, size_t n, size_t top,
                           const call_control *ctl, gen_logprob *scores, mltf_err *err)
{
    if (p->info->kind != ARCH_DECODER || p->info->head != ARCH_HEAD_LM)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "log probabilities of a text need a causal language model, and \"%s\" is "
                         "none",
                         p->info->architecture);
    static const call_control none = {0};
    const task_call call = {.p = p, .ctl = ctl ? ctl : &none};
    const size_t width = 1 + top;
    if (n > 0) scores[0] = (gen_logprob){ids[0], NAN};
    for (size_t k = 1; n > 0 && k < width; k++) scores[k] = (gen_logprob){-1, -INFINITY};
    if (n < 2) return MLTF_OK;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= p->info->vocab)
            return mltf_fail(err, MLTF_INVALID_INPUT, "token id %d is not in the vocabulary",
                             (int)ids[i]);
    arch_session *s = NULL;
    arch_cache *cache = NULL;
    mltf_status st = pipeline_session_take(p, &s, err);
    if (!st) st = arch_cache_new(&cache, p->model, n, err);
    for (size_t from = 0; from + 1 < n && !st; from += SCORE_ROWS) {
        const size_t rows = from + SCORE_ROWS < n - 1 ? SCORE_ROWS : n - 1 - from;
        const arch_batch batch = {
            .n_seqs = 1, .start = (size_t[]){0, rows}, .ids = ids + from, .caches = &cache};
        arch_output out;
        st = task_check(&call, err);
        if (!st) st = arch_forward(s, &batch, ARCH_WANT_LOGITS, &out, err);
        for (size_t t = 0; t < rows && !st; t++) {
            const float *x = out.logits + t * out.n_logits;
            const int32_t id = ids[from + t + 1];
            gen_logprob *to = scores + (from + t + 1) * width;
            const double lse = gen_logsumexp(x, out.n_logits);
            *to = (gen_logprob){id, (float)((double)x[id] - lse)};
            gen_top_logprobs(to + 1, top, x, out.n_logits, lse);
        }
    }
    arch_cache_free(cache);
    if (s) pipeline_session_give(p, s);
    return st;
}
