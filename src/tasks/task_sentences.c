/* sentence-embedding, sentence-similarity and text-ranking: what sentence-transformers' folders are for.
 * transformers has no pipelines of these names; inputs and outputs are those of SentenceTransformer.encode(),
 * of the hub's sentence-similarity service and of CrossEncoder.rank() (sentence-transformers 3.x).
 *
 * sentence-embedding   input text or list of texts; keywords pooling (by modules.json, else mean), normalize,
 *                      dimensions, max_length, prompt, prompt_name. Output [f, …], or a list of such.
 * sentence-similarity  input {"source_sentence": text, "sentences": [text, …]}; keywords as above, and
 *                      similarity "cosine" (default) or "dot". Output [score, …], one a sentence.
 * text-ranking         a cross-encoder. Input {"query": text, "documents": [text, …]}, or a list of
 *                      {"text", "text_pair"}; keywords top_k, return_documents, function_to_apply ("none",
 *                      "sigmoid"; default: sigmoid for one label). Output of a query [{"index": i, "score": s}, …]
 *                      best first, with "text" where return_documents; of pairs [s, …] in order. */
#include "tasks/embedding.h"
#include "tasks/embedding_folder.h"
#include "tasks/task.h"

#include <math.h>
#include <stdlib.h>

/* ---- embeddings ---- */

static mltf_status load_modules(pipeline *p, mltf_err *err)
{
    embed_modules *m = NULL;
    TRY(embed_modules_load(&m, p->folder, p->info->hidden, err));
    m->by_folder = true; // a bare checkpoint is read as SentenceTransformer() reads it, too
    p->state = m;
    return MLTF_OK;
}

static void release_modules(pipeline *p)
{
    embed_modules_free(p->state);
}

static mltf_status text_list(const task_call *c, const json *v, mltf_str **out, size_t *n,
                             mltf_err *err)
{
    const bool many = json_is(v, JSON_ARRAY);
    *n = many ? v->a.n : 1;
    *out = arena_calloc(c->arena, *n ? *n : 1, sizeof **out);
    if (!*out) return mltf_fail_memory(err);
    for (size_t i = 0; i < *n; i++) {
        const json *one = many ? &v->a.items[i] : v;
        if (!json_is(one, JSON_STRING))
            return mltf_fail(err, MLTF_PREDICT_FAILED, "each sentence must be a text, not %s",
                             json_type_name(one));
        (*out)[i] = one->s;
    }
    return MLTF_OK;
}

static mltf_status embed(const task_call *c, const mltf_str *texts, size_t n, embeddings *out,
                         mltf_err *err)
{
    embed_options o = {.truncate = true};
    TRY(embed_options_read(&o, c->kwargs, err));
    return pipeline_embed(c->p, texts, n, &o, c->ctl, c->arena, out, err);
}

static json *vector_json(mltf_arena *a, const float *x, size_t n)
{
    json *list = json_new_array(a);
    for (size_t i = 0; i < n; i++) json_push(a, list, json_new_float(a, x[i]));
    return list;
}

static const char *const embed_keys[] = {"pooling",     "normalize",  "dimensions",
                                         "truncation",  "max_length", "prompt",
                                         "prompt_name", "similarity", NULL};

static mltf_status call_embedding(const task_call *c, json **out, mltf_err *err)
{
    TRY(task_args_known(c, embed_keys, "SentenceTransformer.encode()", err));
    mltf_str *texts;
    size_t n;
    embeddings e = {0};
    TRY(text_list(c, c->input, &texts, &n, err));
    TRY(embed(c, texts, n, &e, err));
    json *list = json_new_array(c->arena);
    for (size_t i = 0; i < n; i++)
        json_push(c->arena, list, vector_json(c->arena, e.vectors + i * e.dim, e.dim));
    if (c->arena->failed) return mltf_fail_memory(err);
    *out = json_is(c->input, JSON_ARRAY) ? list : &list->a.items[0];
    return MLTF_OK;
}

static float similarity(const float *x, const float *y, size_t n, bool cosine)
{
    float dot = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < n; i++) {
        dot += x[i] * y[i];
        xx += x[i] * x[i];
        yy += y[i] * y[i];
    }
    if (!cosine) return dot;
    const float nx = sqrtf(xx) > 1e-12f ? sqrtf(xx) : 1e-12f,
                ny = sqrtf(yy) > 1e-12f ? sqrtf(yy) : 1e-12f;
    return dot / nx / ny;
}

static mltf_status call_similarity(const task_call *c, json **out, mltf_err *err)
{
    TRY(task_args_known(c, embed_keys, "SentenceTransformer.similarity()", err));
    const json *source = json_get(c->input, "source_sentence"),
               *others = json_get(c->input, "sentences");
    if (!json_is(source, JSON_STRING) || !json_is(others, JSON_ARRAY))
        return mltf_fail(
            err, MLTF_PREDICT_FAILED,
            "sentence-similarity takes {\"source_sentence\": text, \"sentences\": [text, …]}");
    const bool cosine = !str_is(json_string(task_arg(c, "similarity"), STR("cosine")), "dot");
    mltf_str *texts;
    size_t n;
    embeddings e = {0};
    json *all = json_new_array(c->arena);
    json_push(c->arena, all, source);
    for (size_t i = 0; i < others->a.n; i++) json_push(c->arena, all, &others->a.items[i]);
    if (c->arena->failed) return mltf_fail_memory(err);
    TRY(text_list(c, all, &texts, &n, err));
    TRY(embed(c, texts, n, &e, err));
    *out = json_new_array(c->arena);
    for (size_t i = 1; i < n; i++)
        json_push(
            c->arena, *out,
            json_new_float(c->arena, similarity(e.vectors, e.vectors + i * e.dim, e.dim, cosine)));
    return MLTF_OK;
}

/* ---- ranking ---- */

typedef struct ranking {
    const task_call *c;
    float *scores;         /* [n] */
    embed_activation *act; /* NULL: none */
} ranking;

static mltf_status keep_score(void *user, const task_row *row, mltf_err *err)
{
    ranking *r = user;
    if (row->n_logits != 1)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "ranking needs a model with one label, this one has %zu", row->n_logits);
    const float score = row->logits[0];
    r->scores[row->seq] = r->act ? r->act(score) : score;
    return MLTF_OK;
}

/* Sigmoid unless told otherwise: by the caller, or by config.json as CrossEncoder saved it. */
static mltf_status read_function(const task_call *c, ranking *r, mltf_err *err)
{
    const json *config = c->p->info->config;
    mltf_str saved =
        json_string(json_get(json_get(config, "sentence_transformers"), "activation_fn"), STR(""));
    if (saved.n == 0)
        saved = json_string(json_get(config, "sbert_ce_default_activation_function"), STR(""));
    if (!task_arg_given(c, "function_to_apply"))
        return embed_activation_find(saved.n ? saved : STR("Sigmoid"), &r->act, err);
    const mltf_str s = json_string(task_arg(c, "function_to_apply"), STR(""));
    if (str_is(s, "none")) return MLTF_OK;
    if (str_is(s, "sigmoid")) return embed_activation_find(STR("Sigmoid"), &r->act, err);
    return mltf_fail(err, MLTF_PREDICT_FAILED,
                     "Unrecognized `function_to_apply` argument: " STR_FMT, STR_ARG(s));
}

static mltf_status encode_pair(const task_call *c, task_seqs *seqs, const json *text,
                               const json *pair, mltf_err *err)
{
    if (!json_is(text, JSON_STRING) || !json_is(pair, JSON_STRING))
        return mltf_fail(err, MLTF_PREDICT_FAILED, "query and documents must be texts");
    size_t max = tokenizer_model_max_length(c->p->tk);
    if (c->p->info->max_positions < max) max = c->p->info->max_positions;
    const task_tok_args a = {
        .opts = {.truncation = max != SIZE_MAX ? TOK_TRUNCATE_LONGEST_FIRST : TOK_TRUNCATE_NONE,
                 .max_length = max != SIZE_MAX ? max : 0}};
    tok_encoding *enc = task_seqs_add(seqs);
    return enc ? task_encode(c, enc, text, pair, &a, err) : mltf_fail_memory(err);
}

static json *ranked(const ranking *r, const json *documents, size_t n)
{
    mltf_arena *a = r->c->arena;
    size_t *order = arena_calloc(a, n ? n : 1, sizeof *order);
    if (!order) return NULL;
    int64_t keep = json_int(task_arg(r->c, "top_k"), (int64_t)n);
    if (keep < 0 || (size_t)keep > n) keep = (int64_t)n;
    task_top_k(order, (size_t)keep, r->scores, n);
    json *list = json_new_array(a);
    for (size_t i = 0; i < (size_t)keep; i++) {
        json *o = json_new_object(a);
        json_set(a, o, "index", json_new_int(a, (int64_t)order[i]));
        json_set(a, o, "score", json_new_float(a, r->scores[order[i]]));
        if (json_bool(task_arg(r->c, "return_documents"), false))
            json_set(a, o, "text", json_at(documents, order[i]));
        json_push(a, list, o);
    }
    return list;
}

static mltf_status call_ranking(const task_call *c, json **out, mltf_err *err)
{
    static const char *const known[] = {"top_k", "return_documents", "function_to_apply", NULL};
    TRY(task_args_known(c, known, "CrossEncoder.rank()", err));
    ranking r = {.c = c};
    TRY(read_function(c, &r, err));
    const json *query = json_get(c->input, "query"), *documents = json_get(c->input, "documents");
    const bool pairs = json_is(c->input, JSON_ARRAY);
    if (!pairs && (!json_is(query, JSON_STRING) || !json_is(documents, JSON_ARRAY)))
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "text-ranking takes {\"query\": text, \"documents\": [text, …]} or a list "
                         "of {\"text\", \"text_pair\"}");
    const size_t n = pairs ? c->input->a.n : documents->a.n;
    r.scores = arena_f32(c->arena, 1, n ? n : 1);
    if (!r.scores) return mltf_fail_memory(err);
    task_seqs seqs = {0};
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n && !st; i++) {
        const json *pair = pairs ? json_at(c->input, i) : NULL;
        st = encode_pair(c, &seqs, pairs ? json_get(pair, "text") : query,
                         pairs ? json_get(pair, "text_pair") : json_at(documents, i), err);
    }
    if (!st) st = task_forward(c, &seqs, ARCH_WANT_LOGITS, keep_score, &r, err);
    task_seqs_release(&seqs);
    if (st) return st;
    *out = pairs ? vector_json(c->arena, r.scores, n) : ranked(&r, documents, n);
    return MLTF_OK;
}

static const char *const embedding_aliases[] = {"sentence-embeddings", NULL};
static const char *const ranking_aliases[] = {"reranking", NULL};
const task_def task_sentence_embedding = {
    .info = {"sentence-embedding", "SentenceTransformer", embedding_aliases, "AutoModel", false},
    .class_suffix = "Model",
    .init = load_modules,
    .release = release_modules,
    .call = call_embedding,
};
const task_def task_sentence_similarity = {
    .info = {"sentence-similarity", "SentenceTransformer", NULL, "AutoModel", false},
    .class_suffix = "Model",
    .init = load_modules,
    .release = release_modules,
    .call = call_similarity,
};
const task_def task_text_ranking = {
    .info = {"text-ranking", "CrossEncoder", ranking_aliases, "AutoModelForSequenceClassification",
             false},
    .class_suffix = "ForSequenceClassification",
    .call = call_ranking,
};
