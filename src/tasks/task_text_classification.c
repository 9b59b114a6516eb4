/* text-classification (alias sentiment-analysis): labels and scores of a text or a pair of texts.
 *
 * Mirrors TextClassificationPipeline (transformers 4.57.6, pipelines/text_classification.py).
 * Input     text · {"text": …, "text_pair": …} · [[[text, pair]]] (old form of a pair) · list of texts or objects.
 * Keywords  top_k              k best, null: all; given at all, it makes the answer a list for each text
 *           function_to_apply  "sigmoid", "softmax", "none"; default: none for regression, sigmoid for one
 *                              label or problem_type multi_label_classification, else softmax
 *           return_all_scores  old: true is top_k null without sorting, false is the best alone
 *           All others go to the tokenizer: truncation, max_length, padding …
 * Output    text: [{"label": L, "score": s}]; object: {"label": L, "score": s}; list: one object an input;
 *           with top_k: [{…}, …] for one input, [[{…}, …], …] for a list. */
#include "tasks/task.h"

typedef enum { APPLY_NONE, APPLY_SIGMOID, APPLY_SOFTMAX } apply_fn;

typedef struct classify {
    const task_call *c;
    json *outputs; /* array, one place an input */
    apply_fn apply;
    bool legacy; /* the best alone, or all in the order of the labels */
    bool all;    /* top_k null */
    int64_t top_k;
} classify;

static apply_fn default_function(const json *config, size_t n_labels)
{
    const mltf_str problem = json_string(json_get(config, "problem_type"), STR(""));
    if (str_is(problem, "regression")) return APPLY_NONE;
    if (str_is(problem, "multi_label_classification") || n_labels == 1) return APPLY_SIGMOID;
    if (str_is(problem, "single_label_classification") || n_labels > 1) return APPLY_SOFTMAX;
    return APPLY_NONE;
}

static mltf_status read_function(const task_call *c, classify *k, mltf_err *err)
{
    const json *config = c->p->info->config;
    k->apply = default_function(config, c->p->info->n_labels);
    const json *v = task_arg(c, "function_to_apply");
    if (!v || v->type == JSON_NULL) return MLTF_OK;
    const mltf_str s = json_string(v, STR(""));
    static const char *const names[] = {"none", "sigmoid", "softmax"};
    for (size_t i = 0; i < 3; i++) {
        if (s.n != strlen(names[i])) continue;
        size_t same = 0; // the enum is looked up by s.upper()
        while (same < s.n && (s.p[same] | 0x20) == names[i][same]) same++;
        if (same < s.n) continue;
        k->apply = (apply_fn)i;
        return MLTF_OK;
    }
    return mltf_fail(
        err, MLTF_PREDICT_FAILED,
        "Unrecognized `function_to_apply` argument: %s (one of 'sigmoid', 'softmax', 'none')",
        task_repr(c, v));
}

static mltf_status read_args(const task_call *c, classify *k, task_tok_args *a, mltf_err *err)
{
    TRY(read_function(c, k, err));
    const json *top_k = task_arg(c, "top_k");
    const json *all_scores = task_arg(c, "return_all_scores");
    if (!all_scores || all_scores->type == JSON_NULL)
        all_scores = json_get(c->p->info->config, "return_all_scores");
    k->legacy = true;
    k->top_k = 1;
    if (top_k &&
        (top_k->type == JSON_NULL || top_k->type == JSON_INT || top_k->type == JSON_BOOL)) {
        k->legacy = false;
        k->all = top_k->type == JSON_NULL;
        k->top_k = top_k->type == JSON_BOOL ? top_k->b : json_int(top_k, 1);
        if (k->top_k == INT64_MIN) k->top_k++; // it is negated
    } else if (all_scores && all_scores->type != JSON_NULL) {
        k->all = json_bool(all_scores, false);
    }
    for (size_t i = 0; c->kwargs && i < c->kwargs->o.n; i++) {
        const json_member *m = &c->kwargs->o.members[i];
        if (str_is(m->key, "top_k") || str_is(m->key, "function_to_apply") ||
            str_is(m->key, "return_all_scores"))
            continue;
        TRY(task_tok_arg(c, a, m->key, &m->value, err));
    }
    return task_tok_args_finish(c, a, err);
}

/* A value of {"text": …}: a list of texts is a batch of which the pipeline looks at the first. */
static const json *first_text(const json *v)
{
    return json_is(v, JSON_ARRAY) ? json_at(v, 0) : v;
}

static mltf_status encode_input(const task_call *c, tok_encoding *enc, const json *input,
                                const task_tok_args *given, mltf_err *err)
{
    if (json_is(input, JSON_OBJECT)) {
        if (!json_get(input, "text")) return task_encode(c, enc, NULL, NULL, given, err);
        task_tok_args a = *given;
        for (size_t i = 0; i < input->o.n; i++) {
            const json_member *m = &input->o.members[i];
            if (!str_is(m->key, "text") && !str_is(m->key, "text_pair"))
                TRY(task_tok_arg(c, &a, m->key, &m->value, err));
        }
        const json *text = json_get(input, "text");
        if (!a.opts.is_split_into_words) text = first_text(text);
        return task_encode(c, enc, text, first_text(json_get(input, "text_pair")), &a, err);
    }
    const json *pair =
        json_len(input) == 1 && json_is(input, JSON_ARRAY) ? json_at(input, 0) : NULL;
    if (pair && json_is(pair, JSON_ARRAY) && pair->a.n == 2)
        return task_encode(c, enc, json_at(pair, 0), json_at(pair, 1), given, err);
    if (json_is(input, JSON_ARRAY))
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "The pipeline received invalid inputs, if you are trying to send text "
                         "pairs, you can try to "
                         "send a dictionary `{\"text\": \"My text\", \"text_pair\": \"My pair\"}` "
                         "in order to send a "
                         "text pair.");
    return task_encode(c, enc, input, NULL, given, err);
}

static json *label_and_score(const classify *k, size_t label, float score)
{
    mltf_arena *a = k->c->arena;
    json *o = json_new_object(a);
    const json *given = arch_label_value(k->c->p->model, label);
    json_set(a, o, "label",
             json_is_number(given) ? json_clone(a, given)
                                   : json_new_string(a, arch_label(k->c->p->model, label)));
    json_set(a, o, "score", json_new_float(a, score));
    return o;
}

static mltf_status add_answer(void *user, const task_row *row, mltf_err *err)
{
    const classify *k = user;
    mltf_arena *a = k->c->arena;
    const size_t L = row->n_logits;
    float *scores = arena_f32(a, 1, L);
    size_t *order = arena_calloc(a, L ? L : 1, sizeof *order);
    if (!scores || !order || L == 0) return mltf_fail_memory(err);
    memcpy(scores, row->logits, L * sizeof *scores);
    if (k->apply == APPLY_SOFTMAX) task_softmax(scores, L);
    if (k->apply == APPLY_SIGMOID) task_sigmoid(scores, L);

    json *answer;
    if (k->legacy && !k->all) {
        const size_t best = task_argmax(scores, L);
        answer = label_and_score(k, best, scores[best]);
    } else {
        size_t keep = L;
        if (k->legacy)
            for (size_t i = 0; i < L; i++) order[i] = i;
        else
            task_top_k(order, L, scores, L);
        if (!k->all && k->top_k < 0) // a Python slice [:-k]
            keep = (uint64_t)-k->top_k < L ? L - (size_t)-k->top_k : 0;
        else if (!k->all && (uint64_t)k->top_k < L)
            keep = (size_t)k->top_k;
        answer = json_new_array(a);
        for (size_t i = 0; i < keep; i++)
            json_push(a, answer, label_and_score(k, order[i], scores[order[i]]));
    }
    if (a->failed) return mltf_fail_memory(err);
    k->outputs->a.items[row->seq] = *answer;
    return MLTF_OK;
}

static mltf_status call(const task_call *c, json **out, mltf_err *err)
{
    classify k = {.c = c, .outputs = json_new_array(c->arena)};
    task_tok_args args = {0};
    TRY(read_args(c, &k, &args, err));
    TRY(task_forward_inputs(c, &args, encode_input, ARCH_WANT_LOGITS, k.outputs, add_answer, &k,
                            err));
    // a bare text without top_k is answered as a list of one, an object is not
    const bool wrap = json_is(c->input, JSON_STRING) && !task_arg(c, "top_k");
    *out = json_is(c->input, JSON_ARRAY) || wrap ? k.outputs : &k.outputs->a.items[0];
    return MLTF_OK;
}

static const char *const aliases[] = {"sentiment-analysis", NULL};
const task_def task_text_classification = {
    .info = {"text-classification", "TextClassificationPipeline", aliases,
             "AutoModelForSequenceClassification", false},
    .class_suffix = "ForSequenceClassification",
    .call = call,
};
