/* OpenAI's /v1/embeddings: texts or token ids in, vectors out. */
#include "formats/base64.h"
#include "mlflow/model.h"
#include "mlflow/openai_request.h"
#include "tasks/embedding.h"

typedef struct embedding_request {
    mltf_str *texts; /* [n], or NULL: ids */
    int32_t *ids;
    size_t *start; /* [n + 1] */
    size_t n;
    bool base64;
    embed_options options;
} embedding_request;

static mltf_status bad_input(mltf_err *err)
{
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "Invalid value for 'input': expected a non-empty string, an array of strings, "
                     "an array of token ids, or an "
                     "array of such arrays.");
}

static mltf_status read_id_lists(embedding_request *e, const json *input, bool nested,
                                 mltf_arena *a, mltf_err *err)
{
    e->n = nested ? input->a.n : 1;
    size_t total = 0;
    for (size_t i = 0; i < e->n; i++) total += json_len(nested ? &input->a.items[i] : input);
    e->ids = arena_calloc(a, total ? total : 1, sizeof *e->ids);
    e->start = arena_calloc(a, e->n + 1, sizeof *e->start);
    if (!e->ids || !e->start) return mltf_fail_memory(err);
    size_t at = 0;
    for (size_t i = 0; i < e->n; i++) {
        const json *list = nested ? &input->a.items[i] : input;
        if (list->type != JSON_ARRAY || list->a.n == 0) return bad_input(err);
        for (size_t k = 0; k < list->a.n; k++) {
            if (list->a.items[k].type != JSON_INT) return bad_input(err);
            e->ids[at++] = (int32_t)json_int(&list->a.items[k], -1);
        }
        e->start[i + 1] = at;
    }
    return MLTF_OK;
}

static mltf_status read_embedding_request(embedding_request *e, const mltf_model *m,
                                          const json *body, mltf_arena *a, mltf_err *err)
{
    static const char *const known[] = {"input",      "model",      "encoding_format",
                                        "dimensions", "user",       "normalize",
                                        "pooling",    "truncation", NULL};
    if (!json_is(body, JSON_OBJECT))
        return mltf_fail(err, MLTF_INVALID_INPUT, "the request must be a JSON object, not %s",
                         json_type_name(body));
    for (size_t i = 0; i < body->o.n; i++) {
        bool found = false;
        for (size_t k = 0; known[k] && !found; k++)
            found = str_is(body->o.members[i].key, known[k]);
        if (!found)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "Unrecognized request argument supplied: " STR_FMT,
                             STR_ARG(body->o.members[i].key));
    }
    const bool llm = m->inference_task && strcmp(m->inference_task, "llm/v1/embeddings") == 0;
    e->options.pooling =
        llm && !pipeline_has_modules(m->pipe) ? EMBED_FIRST_TOKEN : EMBED_BY_FOLDER;
    TRY(embed_options_read(&e->options, m->config, err));
    TRY(embed_options_read(&e->options, body, err));
    const json *format = json_get(body, "encoding_format");
    if (format && format->type != JSON_NULL) {
        const mltf_str name = json_string(format, STR(""));
        e->base64 = str_is(name, "base64");
        if (!e->base64 && !str_is(name, "float"))
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "Invalid value for 'encoding_format': expected one of 'float' and "
                             "'base64', but got '" STR_FMT "'.",
                             STR_ARG(name));
    }
    const json *input = json_get(body, "input");
    if (!input || input->type == JSON_NULL)
        return mltf_fail(err, MLTF_INVALID_INPUT, "Missing required parameter: 'input'.");
    const json *first = json_at(input, 0);
    if (json_is(first, JSON_INT)) return read_id_lists(e, input, false, a, err);
    if (json_is(first, JSON_ARRAY)) return read_id_lists(e, input, true, a, err);
    const bool many = input->type == JSON_ARRAY;
    e->n = many ? input->a.n : 1;
    if (e->n == 0) return bad_input(err);
    e->texts = arena_calloc(a, e->n, sizeof *e->texts);
    if (!e->texts) return mltf_fail_memory(err);
    for (size_t i = 0; i < e->n; i++) {
        e->texts[i] = json_string(many ? &input->a.items[i] : input, (mltf_str){0});
        if (!e->texts[i].p || e->texts[i].n == 0) return bad_input(err);
    }
    return MLTF_OK;
}

static json *vector_json(const embeddings *e, size_t i, bool base64, mltf_arena *a)
{
    const float *v = e->vectors + i * e->dim;
    if (base64) { // little-endian float32, which is what this machine has
        mltf_buf text = MLTF_BUF_INIT;
        base64_encode(&text, (mltf_str){(const char *)v, e->dim * sizeof *v});
        json *s = text.p ? json_new_string(a, buf_str(&text)) : NULL;
        mltf_buf_release(&text);
        return s;
    }
    json *list = json_new_array(a);
    for (size_t k = 0; k < e->dim; k++) json_push(a, list, json_new_float(a, v[k]));
    return list;
}

mltf_status openai_embeddings(const mltf_model *m, const json *request, const call_control *ctl,
                              mltf_arena *a, mltf_buf *answer, mltf_err *err)
{
    embedding_request q = {0};
    embeddings e = {0};
    TRY(read_embedding_request(&q, m, request, a, err));
    mltf_status st =
        q.texts ? pipeline_embed(m->pipe, q.texts, q.n, &q.options, ctl, a, &e, err)
                : pipeline_embed_ids(m->pipe, q.ids, q.start, q.n, &q.options, ctl, a, &e, err);
    if (st == MLTF_PREDICT_FAILED && err)
        err->status = st = MLTF_INVALID_INPUT; // a text too long, an id out of range
    TRY(st);
    json *reply = json_new_object(a), *data = json_new_array(a), *usage = json_new_object(a);
    for (size_t i = 0; i < e.n; i++) {
        json *one = json_new_object(a);
        json_set(a, one, "object", json_new_cstr(a, "embedding"));
        json_set(a, one, "index", json_new_int(a, (int64_t)i));
        json_set(a, one, "embedding", vector_json(&e, i, q.base64, a));
        json_push(a, data, one);
    }
    json_set(a, usage, "prompt_tokens", json_new_int(a, (int64_t)e.n_tokens));
    json_set(a, usage, "total_tokens", json_new_int(a, (int64_t)e.n_tokens));
    json_set(a, reply, "object", json_new_cstr(a, "list"));
    json_set(a, reply, "data", data);
    json_set(a, reply, "model", json_new_cstr(a, m->name ? m->name : ""));
    json_set(a, reply, "usage", usage);
    if (a->failed) return mltf_fail_memory(err);
    json_write(answer, reply, &openai_json);
    return buf_status(answer, err);
}
