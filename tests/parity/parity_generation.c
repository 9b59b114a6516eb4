/* The sections `generation` and `sampling` of an expected.json: runs of generate() must give the same tokens,
 * and beams the same scores; probabilities behind all filters must be the recorded ones.
 *
 * Beside that each batched case is held to the engine's promise: a row alone gives what it gives in its batch.
 * And each greedy case of a decoder is run again with proposals from the prompt, which must not change it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "formats/checkpoint.h"
#include "gen/gen.h"
#include "gen/gen_math.h"
#include "gen/logits_processors.h"
#include "parity.h"

#define SCORE_TOLERANCE                                                                            \
    2e-5 /* sequences_scores are mean log-probabilities of magnitude 1 to 10; seen: 3e-6. Logits may be less sure */
#define PROBS_TOLERANCE                                                                            \
    2e-5 /* from logits computed here, whose own tolerance is about 1e-5; seen: 4e-6 */

typedef struct runner {
    const char *dir;
    const json *expected;
    parity_count *count;
    arch_model *m;
    arch_session *s;
    tokenizer *tk; /* only where a case needs it */
    mltf_arena arena;
    gen_config model_cfg;
} runner;

mltf_status parity_generation_settings(gen_config *cfg, const char *dir, const arch_model *m,
                                       mltf_arena *arena, mltf_err *err)
{
    char *path = path_join(dir, "generation_config.json");
    gen_config_init(cfg);
    mltf_status st = MLTF_OK;
    if (path && file_exists(path)) {
        json_doc doc = JSON_DOC_INIT;
        st = json_parse_file(&doc, path, NULL, err);
        if (!st) st = gen_config_merge(cfg, doc.root, GEN_FROM_MODEL, arena, err);
        json_doc_release(&doc);
    } else {
        st = gen_config_from_model_config(cfg, arch_model_info(m)->config, arena, err);
    }
    free(path);
    return st;
}

/* Row i of `input_ids` without its padding; *left: padding tokens before it. */
static size_t row_ids(int32_t *out, const json *inputs, size_t i, size_t *left)
{
    const json *ids = json_at(json_get(inputs, "input_ids"), i),
               *mask = json_at(json_get(inputs, "attention_mask"), i);
    size_t n = 0;
    *left = 0;
    for (size_t k = 0; k < json_len(ids); k++) {
        if (mask && !json_int(json_at(mask, k), 1)) {
            if (n == 0) ++*left;
            continue;
        }
        out[n++] = (int32_t)json_int(json_at(ids, k), 0);
    }
    return n;
}

/* Is `got` the row `want` of the recording, which has `left` padding tokens before and any number behind? */
static bool same_sequence(const gen_sequence *got, const json *want, size_t left, int64_t pad,
                          size_t *first_wrong)
{
    const size_t n = json_len(want);
    for (size_t i = left; i < n; i++) {
        const int64_t id = json_int(json_at(want, i), -1);
        const size_t k = i - left;
        *first_wrong = k;
        if (k < got->n ? got->ids[k] != id : id != pad) return false;
    }
    *first_wrong = n - left;
    return got->n <= n - left;
}

static void compare(runner *r, const char *name, const gen_sequence *got, const json *want,
                    size_t left, int64_t pad, size_t row)
{
    size_t at;
    if (same_sequence(got, want, left, pad, &at)) {
        parity_pass(r->count);
        return;
    }
    parity_fail(r->count, "generation %s, sequence %zu: token %zu is %d, expected %lld", name, row,
                at, at < got->n ? got->ids[at] : -1,
                (long long)json_int(json_at(want, at + left), -1));
}

/* Cases in which the recording shows a defect of the library itself: the reason, or NULL. `prompt` tokens grow to
 * `total`. See docs/differences.md. */
static const char *library_defect(const runner *r, const gen_config *cfg, size_t prompt,
                                  size_t total, size_t left)
{
    const arch_info *info = arch_model_info(r->m);
    const size_t start = info->kind == ARCH_ENCODER_DECODER ? 1 : prompt;
    const int64_t last =
        cfg->max_new_tokens == GEN_NONE ? cfg->max_length : cfg->max_new_tokens + (int64_t)start;
    if (cfg->exponential_decay_length_penalty.factor != 0 && !cfg->remove_invalid_values &&
        cfg->forced_eos_token_id.n && (int64_t)total == last)
        return "the exponential decay makes a NaN of the score of an end token that the forced one "
               "forbids, and that one is taken";
    if (!info->stepwise) return NULL;
    if (left)
        return "the library takes the rotary frequencies of the longest row for all rows; here a "
               "row gives what it gives "
               "alone";
    const int64_t border = json_int(json_get(info->config, "original_max_position_embeddings"), 0);
    if (strcmp(info->model_type, "phi3") == 0 && cfg->use_cache && (int64_t)prompt <= border &&
        (int64_t)total > border + 1)
        return "where the sequence passes original_max_position_embeddings the library computes it "
               "anew without a causal "
               "mask; here the result is that of use_cache=False";
    return NULL;
}

/* What the recording allows its surest logits: no score of a sequence is surer. */
static double logits_tolerance(const runner *r)
{
    const json *t = json_get(r->expected, "tolerances");
    double least = INFINITY;
    for (size_t i = 0; i < json_len(t); i++)
        if (str_ends(t->o.members[i].key, "/out/logits"))
            least = fmin(least,
                         json_double(json_get(&t->o.members[i].value, "suggested_atol"), INFINITY));
    return least < INFINITY ? least : 0;
}

static bool wants_tokenizer(const gen_config *c)
{
    return c->stop_strings.n > 0;
}

static void compare_scores(runner *r, const char *name, const gen_result *res, const json *scores)
{
    for (size_t i = 0; i < json_len(scores) && i < res->n; i++) {
        const double want = json_double(json_at(scores, i), NAN),
                     diff = fabs(want - (double)res->seqs[i].score);
        if (diff > r->count->max_diff) r->count->max_diff = diff;
        if (diff <= fmax(SCORE_TOLERANCE, logits_tolerance(r)))
            parity_pass(r->count);
        else
            parity_fail(r->count, "generation %s: sequences_scores[%zu] is %.7g, expected %.7g",
                        name, i, (double)res->seqs[i].score, want);
    }
}

static bool same_ids(const gen_sequence *x, const gen_sequence *y)
{
    return x->n == y->n && memcmp(x->ids, y->ids, x->n * sizeof *x->ids) == 0;
}

/* A row gives alone what it gave in its batch. */
static void check_alone(runner *r, const char *name, const gen_request *reqs, size_t rows,
                        const gen_result *res)
{
    const size_t per_row = res->n / rows;
    for (size_t i = 0; i < rows; i++) {
        mltf_err err = {0};
        gen_result alone;
        if (gen_generate(r->s, &reqs[i], 1, &alone, &err)) {
            parity_fail(r->count, "generation %s, row %zu alone: %s", name, i, err.msg);
            continue;
        }
        bool same = alone.n == per_row;
        for (size_t k = 0; k < alone.n && same; k++) {
            const gen_sequence *x = &alone.seqs[k], *y = &res->seqs[i * per_row + k];
            same = same_ids(x, y) && x->score == y->score;
        }
        if (same)
            parity_pass(r->count);
        else
            parity_fail(r->count,
                        "generation %s: row %zu alone gives something else than in its batch", name,
                        i);
        gen_result_release(&alone);
    }
}

/* Proposals change nothing. */
static void check_lookup(runner *r, const char *name, const gen_request *reqs, size_t rows,
                         const gen_result *res)
{
    for (size_t i = 0; i < rows; i++) {
        mltf_err err = {0};
        gen_config lookup = *reqs[i].cfg;
        lookup.prompt_lookup_num_tokens = 4;
        gen_request q = reqs[i];
        q.cfg = &lookup;
        gen_result fast;
        if (gen_generate(r->s, &q, 1, &fast, &err)) {
            parity_fail(r->count, "generation %s with prompt lookup: %s", name, err.msg);
            continue;
        }
        if (same_ids(&fast.seqs[0], &res->seqs[i]))
            parity_pass(r->count);
        else
            parity_fail(r->count, "generation %s: prompt lookup changed row %zu", name, i);
        gen_result_release(&fast);
    }
}

static void run_case(runner *r, const json *g)
{
    mltf_err err = {0};
    const char *name = arena_strdup(&r->arena, json_string(json_get(g, "name"), STR("?")).p,
                                    json_string(json_get(g, "name"), STR("?")).n);
    const json *inputs = json_get(g, "inputs"), *sequences = json_get(g, "sequences"),
               *ids = json_get(inputs, "input_ids");
    if (!ids || json_get(inputs, "pixel_values") || json_get(inputs, "input_features")) {
        parity_skip(r->count, "generation %s: its inputs are not token ids", name);
        return;
    }
    gen_config cfg = r->model_cfg;
    if (gen_config_merge(&cfg, json_get(g, "kwargs"), GEN_FROM_CALL, &r->arena, &err)) {
        parity_fail(r->count, "generation %s: %s", name, err.msg);
        return;
    }
    if (wants_tokenizer(&cfg) && !r->tk && tokenizer_load(&r->tk, r->dir, &err)) {
        parity_fail(r->count, "generation %s: %s", name, err.msg);
        return;
    }
    const size_t rows = json_len(ids);
    gen_request *reqs = arena_calloc(&r->arena, rows, sizeof *reqs);
    size_t *left = arena_calloc(&r->arena, rows, sizeof *left);
    for (size_t i = 0; i < rows; i++) {
        int32_t *prompt = arena_calloc(&r->arena, json_len(json_at(ids, i)) + 1, sizeof *prompt);
        reqs[i] = (gen_request){.ids = prompt, .cfg = &cfg, .tk = r->tk};
        reqs[i].n = row_ids(prompt, inputs, i, &left[i]);
    }
    gen_result res;
    if (gen_generate(r->s, reqs, rows, &res, &err)) {
        parity_fail(r->count, "generation %s: %s", name, err.msg);
        return;
    }
    const bool seq2seq = arch_model_info(r->m)->kind == ARCH_ENCODER_DECODER;
    int64_t pad = cfg.pad_token_id;
    // the library's beam search takes a padding id of 0 for none
    if (pad == GEN_NONE || (pad == 0 && cfg.num_beams > 1 && cfg.eos_token_id.n))
        pad = cfg.eos_token_id.n ? cfg.eos_token_id.p[0] : -1;
    const size_t per_row = rows ? res.n / rows : 0;
    if (res.n != json_len(sequences))
        parity_fail(r->count, "generation %s: %zu sequences, expected %zu", name, res.n,
                    json_len(sequences));
    size_t defects = 0;
    for (size_t i = 0; i < res.n && i < json_len(sequences); i++) {
        const char *defect = library_defect(r, &cfg, reqs[i / per_row].n,
                                            json_len(json_at(sequences, i)), left[i / per_row]);
        if (defect) {
            parity_skip(r->count, "generation %s, sequence %zu: %s", name, i, defect);
            defects++;
            continue;
        }
        compare(r, name, &res.seqs[i], json_at(sequences, i), seq2seq ? 0 : left[i / per_row], pad,
                i);
    }
    if (!defects) compare_scores(r, name, &res, json_get(g, "sequences_scores"));
    if (rows > 1) check_alone(r, name, reqs, rows, &res);
    if (!cfg.do_sample && cfg.num_beams == 1 && !arch_model_info(r->m)->stateful)
        check_lookup(r, name, reqs, rows, &res);
    gen_result_release(&res);
}

/* ---- sampling ------------------------------------------------------------------------------ */

/* The scores that the vectors start from, computed here: the last row of the decoder's logits. */
static mltf_status model_scores(runner *r, const json *sampling, float **scores, gen_ids *ids,
                                gen_ids *encoder_ids, mltf_err *err)
{
    const bool seq2seq = arch_model_info(r->m)->kind == ARCH_ENCODER_DECODER;
    const json *inputs = json_get(sampling, "inputs") ? json_get(sampling, "inputs") : sampling;
    const json *row = json_at(json_get(inputs, "input_ids"), 0);
    int32_t *given = arena_calloc(&r->arena, json_len(row) + 1, sizeof *given);
    for (size_t i = 0; i < json_len(row); i++) given[i] = (int32_t)json_int(json_at(row, i), 0);
    *ids = *encoder_ids = (gen_ids){given, json_len(row)};
    arch_cache *cache = NULL;
    TRY(arch_cache_new(&cache, r->m, SIZE_MAX, err));
    arch_output out = {0};
    mltf_status st = MLTF_OK;
    if (seq2seq) {
        const size_t start[2] = {0, ids->n};
        st = arch_encode(r->s,
                         &(arch_batch){.n_seqs = 1, .start = start, .ids = given, .caches = &cache},
                         0, &out, err);
        const json *decoder = json_at(json_get(inputs, "decoder_input_ids"), 0);
        int32_t *first = arena_calloc(&r->arena, json_len(decoder) + 1, sizeof *first);
        size_t n = 0;
        for (; n < json_len(decoder); n++) first[n] = (int32_t)json_int(json_at(decoder, n), 0);
        if (n == 0)
            first[n++] = r->model_cfg.decoder_start_token_id.n
                             ? r->model_cfg.decoder_start_token_id.p[0]
                             : 0;
        *ids = (gen_ids){first, n};
    }
    if (!st) {
        const size_t start[2] = {0, ids->n};
        st = arch_forward(
            r->s, &(arch_batch){.n_seqs = 1, .start = start, .ids = ids->p, .caches = &cache},
            ARCH_WANT_LAST_LOGITS, &out, err);
    }
    if (!st) {
        *scores = arena_f32(&r->arena, 1, out.n_logits);
        memcpy(*scores, out.logits, out.n_logits * sizeof(float));
    }
    arch_cache_free(cache);
    return st;
}

static void run_sampling(runner *r, const json *sampling)
{
    mltf_err err = {0};
    checkpoint *want = NULL;
    float *scores = NULL;
    gen_ids ids = {0}, encoder_ids = {0};
    const size_t V = arch_model_info(r->m)->vocab;
    mltf_status st = checkpoint_open(&want, r->dir, "expected.safetensors", &err);
    if (!st) st = model_scores(r, sampling, &scores, &ids, &encoder_ids, &err);
    if (st) parity_fail(r->count, "sampling: %s", err.msg);
    const json *vectors = json_get(sampling, "vectors");
    for (size_t i = 0; i < json_len(vectors) && !st; i++) {
        const json *v = json_at(vectors, i);
        char name[128], tensor[200];
        snprintf(name, sizeof name, STR_FMT, STR_ARG(json_string(json_get(v, "name"), STR("?"))));
        snprintf(tensor, sizeof tensor, "sampling/%s/probs", name);
        const ck_tensor *t = checkpoint_find(want, tensor);
        gen_config cfg = r->model_cfg;
        gen_processors p;
        float *got = arena_f32(&r->arena, 1, V);
        memcpy(got, scores, V * sizeof *got);
        if (!t || t->count != V ||
            gen_config_merge(&cfg, json_get(v, "kwargs"), GEN_FROM_CALL, &r->arena, &err)) {
            parity_fail(r->count, "sampling %s: no recording", name);
            continue;
        }
        cfg.max_length = (int64_t)ids.n + 1; // recorded with max_new_tokens=1
        const gen_process_facts facts = {
            .cfg = &cfg, .vocab = V, .n_prompt = ids.n, .encoder_ids = encoder_ids};
        if (gen_config_validate(&cfg, &err) || gen_processors_init(&p, &facts, &r->arena, &err) ||
            gen_processors_run(&p, got, ids.p, ids.n, &err)) {
            parity_fail(r->count, "sampling %s: %s", name, err.msg);
            continue;
        }
        const double lse = gen_logsumexp(got, V);
        double most = 0;
        size_t at = 0;
        for (size_t k = 0; k < V; k++) {
            float x;
            memcpy(&x, (const char *)t->data + k * 4, 4);
            const double d = fabs(gen_exp((double)got[k] - lse) - (double)x);
            if (d > most) most = d, at = k;
        }
        if (most > r->count->max_diff) r->count->max_diff = most;
        if (most <= PROBS_TOLERANCE)
            parity_pass(r->count);
        else
            parity_fail(r->count, "sampling %s: probability of token %zu differs by %.3g", name, at,
                        most);
    }
    checkpoint_close(want);
}

void parity_generation(const char *dir, const json *expected, parity_count *count)
{
    const json *generation = json_get(expected, "generation"),
               *sampling = json_get(expected, "sampling");
    if (!json_len(generation) && !sampling) return;
    mltf_err err = {0};
    runner r = {.dir = dir, .expected = expected, .count = count};
    json *overrides = json_new_object(&r.arena); // the attention that the recording ran with
    json_set(&r.arena, overrides, "attn_implementation", json_get(expected, "attention"));
    const arch_load_options options = {.torch_dtype = "float32", .config_overrides = overrides};
    mltf_status st = arch_model_load(&r.m, dir, &options, &err);
    if (!st) st = arch_session_new(&r.s, r.m, &err);
    if (!st) st = parity_generation_settings(&r.model_cfg, dir, r.m, &r.arena, &err);
    if (st) {
        parity_fail(count, "generation: %s", err.msg);
    } else {
        for (size_t i = 0; i < json_len(generation); i++) run_case(&r, json_at(generation, i));
        if (sampling) run_sampling(&r, sampling);
    }
    if (r.tk) tokenizer_free(r.tk);
    arena_release(&r.arena);
    arch_session_free(r.s);
    arch_model_free(r.m);
}
