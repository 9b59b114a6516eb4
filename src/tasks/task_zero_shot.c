/* zero-shot-classification: labels chosen at call time, ranked by a model of natural language inference.
 *
 * Mirrors ZeroShotClassificationPipeline (transformers 4.57.6, pipelines/zero_shot_classification.py).
 * Input     text · list of texts · {"sequences": …, "candidate_labels": …, …} (keywords).
 * Keywords  candidate_labels     list of labels, or one text of labels with commas
 *           hypothesis_template  "This example is {}."
 *           multi_label          false; old: multi_class. Others are ignored.
 * Output    {"sequence": text, "labels": [best first], "scores": [falling]}; a list gives a list.
 *
 * Easy to get wrong: with multi_label, or a single label, each label is entailment against contradiction; the
 * contradiction is label 0, or the last one where entailment is 0. Otherwise a softmax over the labels. */
#include "tasks/task.h"

#include <math.h>
#include <stdlib.h>

#include "base/pyformat.h"
#include "base/pytext.h"

typedef struct zero_shot {
    const task_call *c;
    const json *sequences; /* text or array */
    mltf_str *labels;      /* [n_labels] */
    size_t n_labels;
    mltf_str template;
    bool multi;
    int64_t entailment; /* -1: unknown */
    float *logits;      /* [n_seqs, L] */
    size_t L;
    size_t n; /* sequences */
} zero_shot;

static const json *keyword(const task_call *c, const char *name)
{
    const json *v = task_arg(c, name);
    return v || !json_is(c->input, JSON_OBJECT) ? v : json_get(c->input, name);
}

static mltf_status read_labels(const task_call *c, zero_shot *z, mltf_err *err)
{
    const json *v = keyword(c, "candidate_labels");
    if (json_is(v, JSON_STRING)) {
        size_t parts = 1;
        for (size_t i = 0; i < v->s.n; i++) parts += v->s.p[i] == ',';
        z->labels = arena_calloc(c->arena, parts, sizeof *z->labels);
        if (!z->labels) return mltf_fail_memory(err);
        for (size_t from = 0; from <= v->s.n;) {
            const char *comma = memchr(v->s.p + from, ',', v->s.n - from);
            const size_t to = comma ? (size_t)(comma - v->s.p) : v->s.n;
            const mltf_str label = pytext_strip(str_slice(v->s, from, to));
            if (label.n) z->labels[z->n_labels++] = label;
            from = to + 1;
        }
        return MLTF_OK;
    }
    if (!json_is(v, JSON_ARRAY))
        return mltf_fail(err, MLTF_PREDICT_FAILED, "object of type '%s' has no len()",
                         json_type_name(v));
    z->labels = arena_calloc(c->arena, v->a.n ? v->a.n : 1, sizeof *z->labels);
    if (!z->labels) return mltf_fail_memory(err);
    for (size_t i = 0; i < v->a.n; i++) {
        const json *label = &v->a.items[i];
        if (!json_is(label, JSON_STRING))
            return mltf_fail(err, MLTF_PREDICT_FAILED, "candidate_labels must be texts, not %s",
                             json_type_name(label));
        z->labels[z->n_labels++] = label->s;
    }
    return MLTF_OK;
}

/* template.format(label) */
static mltf_status format_template(mltf_str template, mltf_str label, mltf_buf *out, mltf_err *err)
{
    static const char automatic[] = "automatic field numbering",
                      manual[] = "manual field specification";
    pyformat_field f;
    size_t counted = 0, named = 0;
    for (bool more;;) {
        TRY(pyformat_next(&template, out, &f, &more, err));
        if (!more) return MLTF_OK;
        if (f.name.n && !str_is(f.name, "0"))
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "hypothesis_template has the field \"{" STR_FMT
                             "}\"; only {} stands for the label",
                             STR_ARG(f.name));
        if (f.name.n ? counted : named)
            return mltf_fail(err, MLTF_PREDICT_FAILED, "cannot switch from %s to %s",
                             counted ? automatic : manual, counted ? manual : automatic);
        *(f.name.n ? &named : &counted) += 1;
        if (counted > 1)
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "Replacement index 1 out of range for positional args tuple");
        TRY(pyformat_put(out, &f, label, err));
    }
}

static bool starts_entail(mltf_str label)
{
    static const char word[] = "entail";
    if (label.n < sizeof word - 1) return false;
    for (size_t i = 0; i < sizeof word - 1; i++)
        if ((label.p[i] | 0x20) != word[i]) return false;
    return true;
}

/* label2id as config.json has it, else the labels themselves. */
static int64_t entailment_id(const pipeline *p)
{
    const json *map = json_get(p->info->config, "label2id");
    if (json_is(map, JSON_OBJECT)) {
        for (size_t i = 0; i < map->o.n; i++)
            if (starts_entail(map->o.members[i].key)) return json_int(&map->o.members[i].value, -1);
        return -1;
    }
    for (size_t i = 0; i < p->info->n_labels; i++)
        if (starts_entail(arch_label(p->model, i))) return (int64_t)i;
    return -1;
}

static mltf_status read_args(const task_call *c, zero_shot *z, mltf_err *err)
{
    z->sequences = json_is(c->input, JSON_OBJECT) || !c->input ? keyword(c, "sequences") : c->input;
    TRY(read_labels(c, z, err));
    const json *multi = keyword(c, "multi_class");
    if (!multi || multi->type == JSON_NULL) multi = keyword(c, "multi_label");
    z->multi = json_bool(multi, json_int(multi, 0) != 0);
    const json *t = keyword(c, "hypothesis_template");
    z->template = STR("This example is {}.");
    if (t && !json_is(t, JSON_STRING))
        return mltf_fail(err, MLTF_PREDICT_FAILED, "hypothesis_template must be a text, not %s",
                         json_type_name(t));
    if (t) z->template = t->s;
    z->entailment = entailment_id(c->p);

    const bool many = json_is(z->sequences, JSON_ARRAY);
    z->n = many ? z->sequences->a.n : 1;
    if (z->n_labels == 0 || (json_is(z->sequences, JSON_STRING) && z->sequences->s.n == 0))
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "You must include at least one label and at least one sequence.");
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = format_template(z->template, z->labels[0], &text, err);
    if (!st && str_eq(text.p ? buf_str(&text) : STR(""), z->template))
        st = mltf_fail(err, MLTF_PREDICT_FAILED,
                       "The provided hypothesis_template \"" STR_FMT
                       "\" was not able to be formatted with the target "
                       "labels. Make sure the passed template includes formatting syntax such as "
                       "{} where the label "
                       "should go.",
                       STR_ARG(z->template));
    mltf_buf_release(&text);
    return st;
}

/* Premise and hypothesis; a premise too long is cut, and if that cannot be enough nothing is. */
static mltf_status encode_pair(const task_call *c, tok_encoding *enc, mltf_str premise,
                               mltf_str hypothesis, mltf_err *err)
{
    mltf_err first = {0};
    const bool bounded = tokenizer_model_max_length(c->p->tk) != SIZE_MAX;
    const tok_options cut = {.truncation = bounded ? TOK_TRUNCATE_ONLY_FIRST : TOK_TRUNCATE_NONE},
                      whole = {0};
    const mltf_status st = tokenizer_encode(c->p->tk, enc, premise, hypothesis, &cut, &first);
    if (st == MLTF_OK) return st;
    if (strstr(first.msg, "too short"))
        return tokenizer_encode(c->p->tk, enc, premise, hypothesis, &whole, err);
    if (err) *err = first;
    return st;
}

static mltf_status encode_sequence(const zero_shot *z, task_seqs *seqs, const json *text,
                                   mltf_err *err)
{
    if (!json_is(text, JSON_STRING))
        return mltf_fail(err, MLTF_PREDICT_FAILED, "each sequence must be a text, not %s",
                         json_type_name(text));
    if (text->s.n == 0)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "You must include at least one label and at least one sequence.");
    mltf_buf hypothesis = MLTF_BUF_INIT;
    mltf_status st = MLTF_OK;
    for (size_t l = 0; l < z->n_labels && !st; l++) {
        buf_clear(&hypothesis);
        st = format_template(z->template, z->labels[l], &hypothesis, err);
        tok_encoding *enc = task_seqs_add(seqs);
        if (!enc) st = mltf_fail_memory(err);
        if (!st)
            st =
                encode_pair(z->c, enc, text->s, hypothesis.p ? buf_str(&hypothesis) : STR(""), err);
    }
    mltf_buf_release(&hypothesis);
    return st;
}

static mltf_status keep_logits(void *user, const task_row *row, mltf_err *err)
{
    zero_shot *z = user;
    if (!z->logits) {
        z->L = row->n_logits;
        z->logits = arena_f32(z->c->arena, z->n * z->n_labels, z->L);
        if (!z->logits || z->L == 0) return mltf_fail_memory(err);
    }
    memcpy(z->logits + row->seq * z->L, row->logits, z->L * sizeof *z->logits);
    return MLTF_OK;
}

static json *write_answer(const zero_shot *z, size_t sequence, const json *text)
{
    mltf_arena *a = z->c->arena;
    const size_t n = z->n_labels, L = z->L;
    float *scores = arena_f32(a, 1, n);
    size_t *order = arena_calloc(a, n, sizeof *order);
    if (!scores || !order) return NULL;
    const float *logits = z->logits + sequence * n * L;
    const size_t entail =
        z->entailment >= 0 && (size_t)z->entailment < L ? (size_t)z->entailment : L - 1;
    const size_t contra = entail == 0 && z->entailment == 0 ? L - 1 : 0;
    float sum = 0;
    for (size_t l = 0; l < n; l++) scores[l] = expf(logits[l * L + entail]);
    if (z->multi || n == 1)
        for (size_t l = 0; l < n; l++) scores[l] /= expf(logits[l * L + contra]) + scores[l];
    else {
        for (size_t l = 0; l < n; l++) sum += scores[l];
        for (size_t l = 0; l < n; l++) scores[l] /= sum;
    }
    for (size_t i = 0; i < n; i++) { // rising and stable, then read backwards, as there
        size_t at = i;
        while (at > 0 && scores[order[at - 1]] > scores[i]) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    json *o = json_new_object(a), *labels = json_new_array(a), *list = json_new_array(a);
    for (size_t i = n; i-- > 0;) {
        json_push(a, labels, json_new_string(a, z->labels[order[i]]));
        json_push(a, list, json_new_float(a, scores[order[i]]));
    }
    json_set(a, o, "sequence", text);
    json_set(a, o, "labels", labels);
    json_set(a, o, "scores", list);
    return o;
}

static mltf_status call(const task_call *c, json **out, mltf_err *err)
{
    zero_shot z = {.c = c};
    TRY(read_args(c, &z, err));
    const bool many = json_is(z.sequences, JSON_ARRAY);
    task_seqs seqs = {0};
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < z.n && !st; i++)
        st = encode_sequence(&z, &seqs, many ? json_at(z.sequences, i) : z.sequences, err);
    if (!st) st = task_forward(c, &seqs, ARCH_WANT_LOGITS, keep_logits, &z, err);
    task_seqs_release(&seqs);
    if (st) return st;
    json *answers = json_new_array(c->arena);
    for (size_t i = 0; i < z.n; i++)
        json_push(c->arena, answers,
                  write_answer(&z, i, many ? json_at(z.sequences, i) : z.sequences));
    if (c->arena->failed || answers->a.n != z.n) return mltf_fail_memory(err);
    *out = many ? answers : &answers->a.items[0];
    return MLTF_OK;
}

const task_def task_zero_shot_classification = {
    .info = {"zero-shot-classification", "ZeroShotClassificationPipeline", NULL,
             "AutoModelForSequenceClassification", false},
    .class_suffix = "ForSequenceClassification",
    .call = call,
};
