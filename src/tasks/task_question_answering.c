/* question-answering: the span of a context that answers a question.
 *
 * Mirrors QuestionAnsweringPipeline (transformers 4.57.6, pipelines/question_answering.py); with tokenizers that have
 * no offsets, answers are whole words (qa_slow.h).
 * Input     {"question": q, "context": c} · a list of those · {"question": [q…], "context": c or [c…]}.
 * Keywords  top_k (1; old: topk), doc_stride (min(max_seq_len / 2, 128)), max_seq_len (min(the model's, 384)),
 *           max_answer_len (15 tokens), handle_impossible_answer (false), align_to_words (true),
 *           max_question_len (64; without offsets only, as there), padding (without effect). Others are ignored.
 * Output    one question: {"score": s, "start": a, "end": b, "answer": text}, or a list of up to top_k; several
 *           questions: a list of such answers. start and end count code points of the context.
 *
 * Easy to get wrong: the softmax runs over the context's tokens and [CLS], then [CLS] is struck out; the same
 * answer text found twice (or in two overlapping pieces) is one answer with the scores added. */
#include "tasks/qa_slow.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/pytext.h"
#include "base/utf8.h"

typedef struct candidate {
    size_t s, e; /* tokens */
    float score;
} candidate;

typedef struct answer {
    double score;
    uint32_t start, end; /* bytes of the context */
    mltf_str text, low;  /* low: text.lower(), which tells whether two answers are one */
} answer;

/* One question with its context, over all pieces of it. */
typedef struct sample {
    mltf_str question, context;
    answer *answers; /* [n] */
    size_t n, cap;
    double min_null;
} sample;

/* Whose a sequence is. */
typedef struct qa_seq {
    size_t sample;
    const qa_piece *piece; /* of slow tokenizers; NULL: the sequence has offsets */
} qa_seq;

typedef struct qa {
    const task_call *c;
    size_t top_k, max_seq_len, doc_stride, max_answer_len, max_question_len;
    bool impossible, align, question_first;
    sample *samples; /* [n] */
    size_t n, cap;
    qa_seq *seqs; /* [n_seqs] */
    size_t n_seqs, cap_seqs;
} qa;

/* ---- arguments ---- */

static mltf_status size_arg(const task_call *c, const char *name, size_t *out, bool *given,
                            mltf_err *err)
{
    *given = task_arg_given(c, name);
    if (!*given) return MLTF_OK;
    const int64_t v = json_int(task_arg(c, name), -1);
    if (v < 0)
        return mltf_fail(err, MLTF_PREDICT_FAILED, "%s must be a non-negative integer, not %s",
                         name, task_repr(c, task_arg(c, name)));
    *out = (size_t)v;
    return MLTF_OK;
}

static mltf_status read_args(const task_call *c, qa *q, mltf_err *err)
{
    q->top_k = 1;
    q->max_answer_len = 15;
    const char *top_k = task_arg_given(c, "top_k") ? "top_k" : "topk";
    if (task_arg_given(c, top_k)) {
        const int64_t k = json_int(task_arg(c, top_k), -1);
        if (k < 1)
            return mltf_fail(err, MLTF_PREDICT_FAILED, "top_k parameter should be >= 1 (got %s)",
                             task_repr(c, task_arg(c, top_k)));
        q->top_k = k < UINT32_MAX ? (size_t)k : UINT32_MAX;
    }
    if (task_arg_given(c, "max_answer_len")) {
        const int64_t n = json_int(task_arg(c, "max_answer_len"), -1);
        if (n < 1)
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "max_answer_len parameter should be >= 1 (got %s",
                             task_repr(c, task_arg(c, "max_answer_len")));
        q->max_answer_len = (size_t)n;
    }
    q->impossible = json_bool(task_arg(c, "handle_impossible_answer"), false);
    q->align =
        task_arg_given(c, "align_to_words") ? json_bool(task_arg(c, "align_to_words"), true) : true;
    q->question_first = !tokenizer_pad_left(c->p->tk);

    bool given;
    const size_t model_max = tokenizer_model_max_length(c->p->tk);
    TRY(size_arg(c, "max_seq_len", &q->max_seq_len, &given, err));
    if (!given) q->max_seq_len = model_max < 384 ? model_max : 384;
    q->max_question_len = 64;
    TRY(size_arg(c, "max_question_len", &q->max_question_len, &given, err));
    TRY(size_arg(c, "doc_stride", &q->doc_stride, &given, err));
    if (!given) q->doc_stride = q->max_seq_len / 2 < 128 ? q->max_seq_len / 2 : 128;
    if (q->doc_stride > q->max_seq_len)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "`doc_stride` (%zu) is larger than `max_seq_len` (%zu)", q->doc_stride,
                         q->max_seq_len);
    return MLTF_OK;
}

static mltf_status check_text(const json *item, const char *key, mltf_str *out, mltf_err *err)
{
    const json *v = json_get(item, key);
    if (!v)
        return mltf_fail(
            err, MLTF_PREDICT_FAILED,
            "'You need to provide a dictionary with keys {question:..., context:...}'");
    if (v->type == JSON_NULL)
        return mltf_fail(err, MLTF_PREDICT_FAILED, "`%s` cannot be None", key);
    if (v->type != JSON_STRING)
        return mltf_fail(err, MLTF_PREDICT_FAILED, "`%s` must be a text, not %s", key,
                         json_type_name(v));
    if (v->s.n == 0) return mltf_fail(err, MLTF_PREDICT_FAILED, "`%s` cannot be empty", key);
    *out = v->s;
    return MLTF_OK;
}

static mltf_status set_sample(const task_call *c, sample *s, const json *item, mltf_err *err)
{
    if (!json_is(item, JSON_OBJECT))
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "%s argument needs to be of type (SquadExample, dict)",
                         task_repr(c, item));
    s->min_null = 1000000; // large and positive
    TRY(check_text(item, "question", &s->question, err));
    return check_text(item, "context", &s->context, err);
}

static mltf_status add_sample(const task_call *c, qa *q, const json *item, mltf_err *err)
{
    if (!ARENA_RESERVE(c->arena, q->samples, q->cap, q->n + 1)) return mltf_fail_memory(err);
    return set_sample(c, &q->samples[q->n++], item, err);
}

/* {"question": […], "context": …} is one sample a question. */
static mltf_status add_lists(const task_call *c, qa *q, const json *questions, const json *contexts,
                             mltf_err *err)
{
    const bool many_contexts = json_is(contexts, JSON_ARRAY);
    if (!json_is(questions, JSON_ARRAY) || (!many_contexts && !json_is(contexts, JSON_STRING)))
        return mltf_fail(err, MLTF_PREDICT_FAILED, "Arguments can't be understood");
    if (many_contexts && contexts->a.n != questions->a.n)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "Questions and contexts don't have the same lengths");
    for (size_t i = 0; i < questions->a.n; i++) {
        json *item = json_new_object(c->arena);
        json_set(c->arena, item, "question", &questions->a.items[i]);
        json_set(c->arena, item, "context", many_contexts ? &contexts->a.items[i] : contexts);
        if (c->arena->failed) return mltf_fail_memory(err);
        TRY(add_sample(c, q, item, err));
    }
    return MLTF_OK;
}

static mltf_status add_item(const task_call *c, qa *q, const json *item, mltf_err *err)
{
    const json *questions = json_get(item, "question"), *contexts = json_get(item, "context");
    if (json_is(questions, JSON_ARRAY) || json_is(contexts, JSON_ARRAY))
        return add_lists(c, q, questions, contexts, err);
    return add_sample(c, q, item, err);
}

static mltf_status read_input(const task_call *c, qa *q, mltf_err *err)
{
    const json *input = c->input ? c->input : c->kwargs;
    if (!input) return mltf_fail(err, MLTF_PREDICT_FAILED, "Unknown arguments {}");
    if (json_is(input, JSON_OBJECT)) {
        const json *questions = json_get(input, "question"), *contexts = json_get(input, "context");
        if (!questions || !contexts)
            return mltf_fail(err, MLTF_PREDICT_FAILED, "Unknown arguments %s", task_repr(c, input));
        if (!json_is(questions, JSON_STRING) || !json_is(contexts, JSON_STRING))
            return add_lists(c, q, questions, contexts, err);
    }
    if (!json_is(input, JSON_ARRAY)) return add_item(c, q, input, err);
    for (size_t i = 0; i < input->a.n; i++) TRY(add_item(c, q, &input->a.items[i], err));
    return MLTF_OK;
}

/* ---- preprocess ---- */

/* Notes whose the next sequence is. */
static mltf_status add_seq(qa *q, size_t which, const qa_piece *piece, mltf_err *err)
{
    if (!ARRAY_RESERVE(q->seqs, q->cap_seqs, q->n_seqs + 1)) return mltf_fail_memory(err);
    q->seqs[q->n_seqs++] = (qa_seq){which, piece};
    return MLTF_OK;
}

static mltf_status encode_words(qa *q, task_seqs *seqs, size_t which, mltf_err *err)
{
    const sample *s = &q->samples[which];
    const qa_slow_options o = {q->max_seq_len, q->doc_stride, q->max_question_len};
    qa_piece *pieces = NULL;
    size_t n = 0;
    TRY(qa_slow_encode(q->c, &o, s->question, s->context, seqs, &pieces, &n, err));
    for (size_t i = 0; i < n; i++) TRY(add_seq(q, which, &pieces[i], err));
    return MLTF_OK;
}

static mltf_status encode_sample(qa *q, task_seqs *seqs, size_t which, mltf_err *err)
{
    if (!tokenizer_is_fast(q->c->p->tk)) return encode_words(q, seqs, which, err);
    const sample *s = &q->samples[which];
    const tok_options o = {.truncation = q->question_first ? TOK_TRUNCATE_ONLY_SECOND
                                                           : TOK_TRUNCATE_ONLY_FIRST,
                           .max_length = q->max_seq_len,
                           .stride = q->doc_stride};
    tok_encoding *encs = NULL;
    size_t n = 0;
    mltf_status st = tokenizer_encode_overflow(
        q->c->p->tk, &encs, &n, q->question_first ? s->question : s->context,
        q->question_first ? s->context : s->question, &o, err);
    if (st == MLTF_INVALID_INPUT && err) err->status = st = MLTF_PREDICT_FAILED;
    if (st) return st;
    for (size_t i = 0; i < n && !st; i++) {
        st = add_seq(q, which, NULL, err);
        tok_encoding *place = st ? NULL : task_seqs_add(seqs);
        if (!st && !place) st = mltf_fail_memory(err);
        if (st) break;
        *place = encs[i]; // ownership moves
        encs[i] = (tok_encoding)TOK_ENCODING_INIT;
    }
    for (size_t i = 0; i < n; i++) tok_encoding_release(&encs[i]);
    free(encs);
    return st;
}

/* ---- postprocess ---- */

/* Softmax of one column of [T, 2] over the tokens that may be in an answer; others count as -10000. */
static void span_softmax(float *out, const float *logits, size_t column, const bool *allowed,
                         size_t T)
{
    float max = -FLT_MAX, sum = 0;
    for (size_t t = 0; t < T; t++) {
        out[t] = allowed[t] ? logits[2 * t + column] : -10000.0f;
        if (out[t] > max) max = out[t];
    }
    for (size_t t = 0; t < T; t++) sum += out[t] = expf(out[t] - max);
    for (size_t t = 0; t < T; t++) out[t] /= sum;
}

/* Keep the best k in falling order; equal ones in the order they come. */
static void keep_best(candidate *best, size_t *n, size_t k, candidate one)
{
    if (*n == k && one.score <= best[k - 1].score) return;
    size_t at = *n < k ? (*n)++ : k - 1;
    while (at > 0 && best[at - 1].score < one.score) {
        best[at] = best[at - 1];
        at--;
    }
    best[at] = one;
}

/* The characters of the word that token t belongs to; false: it has none. */
static bool word_span(const tok_encoding *enc, size_t t, int sequence, tok_span *span)
{
    const int32_t word = enc->word_ids ? enc->word_ids[t] : -1;
    if (word < 0) return false;
    bool found = false;
    for (size_t i = 0; i < enc->n; i++) {
        if (enc->sequence_ids[i] != sequence || enc->word_ids[i] != word) continue;
        if (!found) span->start = enc->offsets[i].start;
        span->end = enc->offsets[i].end;
        found = true;
    }
    return found;
}

static void answer_span(const qa *q, const tok_encoding *enc, size_t s, size_t e, uint32_t *start,
                        uint32_t *end)
{
    tok_span first, last;
    const int sequence = q->question_first ? 1 : 0;
    *start = enc->offsets[s].start;
    *end = enc->offsets[e].end;
    if (!q->align || !word_span(enc, s, sequence, &first) || !word_span(enc, e, sequence, &last))
        return;
    *start = first.start;
    *end = last.end;
}

static mltf_str lowered(mltf_arena *a, mltf_str s)
{
    mltf_buf low = MLTF_BUF_INIT;
    pytext_lower(&low, s);
    const mltf_str out = arena_str(a, buf_str(&low));
    a->failed = a->failed || low.failed;
    mltf_buf_release(&low);
    return out;
}

static mltf_str context_slice(const sample *s, uint32_t start, uint32_t end)
{
    return end > start && end <= s->context.n ? str_slice(s->context, start, end) : STR("");
}

/* One more answer, or more of one that is there already; words are counted each time they are found. */
static mltf_status add_answer(const qa *q, sample *s, const answer *one, bool words, mltf_err *err)
{
    answer new = *one;
    if (!words) new.low = lowered(q->c->arena, one->text);
    for (size_t i = 0; i < s->n && !words; i++) {
        if (!str_eq(s->answers[i].low, new.low)) continue;
        s->answers[i].score += one->score;
        return MLTF_OK;
    }
    if (!ARENA_RESERVE(q->c->arena, s->answers, s->cap, s->n + 1)) return mltf_fail_memory(err);
    s->answers[s->n++] = new;
    return q->c->arena->failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* The spans of one piece of the context. */
static mltf_status add_piece(void *user, const task_row *row, mltf_err *err)
{
    qa *q = user;
    sample *s = &q->samples[q->seqs[row->seq].sample];
    const size_t T = row->rows, K = q->align ? 2 * q->top_k + 10 : q->top_k;
    const int32_t cls = tokenizer_special_id(q->c->p->tk, TOK_CLS);
    if (T == 0) return MLTF_OK;
    float *start = malloc(T * sizeof *start), *end = malloc(T * sizeof *end);
    bool *allowed = calloc(T, sizeof *allowed);
    const size_t room = K < T * T ? K : T * T;
    candidate *best = calloc(room, sizeof *best);
    mltf_status st = MLTF_OK;
    if (!start || !end || !allowed || !best) {
        st = mltf_fail_memory(err);
        goto done;
    }
    const qa_piece *piece = q->seqs[row->seq].piece;
    for (size_t t = 0; t < T; t++)
        allowed[t] = piece ? piece->allowed[t]
                           : !q->question_first || row->enc->sequence_ids[t] == 1 ||
                                 (cls >= 0 && row->enc->ids[t] == cls);
    span_softmax(start, row->logits, 0, allowed, T);
    span_softmax(end, row->logits, 1, allowed, T);
    if (q->impossible) {
        const double null_score = (double)(start[0] * end[0]);
        if (null_score < s->min_null) s->min_null = null_score;
    }
    start[0] = end[0] = 0;

    // spans that got nothing are no candidates; only a search for the one best takes what comes
    size_t n = 0;
    for (size_t i = 0; i < T; i++)
        for (size_t j = i; j < T && j - i < q->max_answer_len; j++)
            if (start[i] * end[j] > 0 || K == 1)
                keep_best(best, &n, room, (candidate){i, j, start[i] * end[j]});
    for (size_t i = 0; i < n && !st; i++) {
        if (!allowed[best[i].s] || !allowed[best[i].e]) continue;
        answer one = {.score = (double)best[i].score};
        if (piece) {
            st = qa_slow_answer(q->c, piece, best[i].s, best[i].e, &one.text, &one.start, &one.end,
                                err);
        } else {
            answer_span(q, row->enc, best[i].s, best[i].e, &one.start, &one.end);
            one.text = context_slice(s, one.start, one.end);
        }
        if (!st) st = add_answer(q, s, &one, piece != NULL, err);
    }

done:
    free(start);
    free(end);
    free(allowed);
    free(best);
    return st;
}

static json *write_answers(const qa *q, sample *s)
{
    mltf_arena *a = q->c->arena;
    const uint32_t *cp = task_code_points(a, s->context);
    json *list = json_new_array(a);
    if (!cp) return NULL;
    size_t *order = arena_calloc(a, s->n + 1, sizeof *order); // s->n stands for "no answer"
    if (!order) return NULL;
    size_t n = 0;
    for (size_t i = 0; i < s->n + (q->impossible ? 1 : 0); i++) {
        const double score = i < s->n ? s->answers[i].score : s->min_null;
        size_t at = n++;
        while (at > 0 &&
               (order[at - 1] < s->n ? s->answers[order[at - 1]].score : s->min_null) < score) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
    for (size_t i = 0; i < n && i < q->top_k; i++) {
        const answer none = {.score = s->min_null};
        const answer *one = order[i] < s->n ? &s->answers[order[i]] : &none;
        json *o = json_new_object(a);
        json_set(a, o, "score", json_new_double(a, one->score));
        json_set(a, o, "start",
                 json_new_int(a, cp[one->start <= s->context.n ? one->start : s->context.n]));
        json_set(a, o, "end",
                 json_new_int(a, cp[one->end <= s->context.n ? one->end : s->context.n]));
        json_set(a, o, "answer", json_new_string(a, one->text.p ? one->text : STR("")));
        json_push(a, list, o);
    }
    return list->a.n == 1 ? &list->a.items[0] : list;
}

static mltf_status call(const task_call *c, json **out, mltf_err *err)
{
    qa q = {.c = c};
    TRY(read_args(c, &q, err));
    TRY(read_input(c, &q, err));
    task_seqs seqs = {0};
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < q.n && !st; i++) st = encode_sample(&q, &seqs, i, err);
    if (!st) st = task_forward(c, &seqs, ARCH_WANT_LOGITS, add_piece, &q, err);
    task_seqs_release(&seqs);
    free(q.seqs);
    if (st) return st;
    json *answers = json_new_array(c->arena);
    for (size_t i = 0; i < q.n; i++) json_push(c->arena, answers, write_answers(&q, &q.samples[i]));
    if (c->arena->failed || answers->a.n != q.n) return mltf_fail_memory(err);
    *out = q.n == 1 ? &answers->a.items[0] : answers;
    return MLTF_OK;
}

static const char *const also[] = {"ForQuestionAnsweringSimple", NULL}; // xlnet, xlm, flaubert

const task_def task_question_answering = {
    .info = {"question-answering", "QuestionAnsweringPipeline", NULL,
             "AutoModelForQuestionAnswering", false},
    .class_suffix = "ForQuestionAnswering",
    .class_also = also,
    .call = call,
};
