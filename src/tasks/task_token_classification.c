/* token-classification (alias ner): a label for each token, or for each group of tokens.
 *
 * Mirrors TokenClassificationPipeline (transformers 4.57.6, pipelines/token_classification.py).
 * Input     text, or list of texts; with is_split_into_words a list of words, or a list of such lists.
 * Keywords  aggregation_strategy  "none" (default), "simple", "first", "average", "max"
 *           ignore_labels         ["O"]
 *           stride                overlap of the pieces of a text longer than the model; default: cut
 *           is_split_into_words, delimiter (" "), offset_mapping, and the old grouped_entities, ignore_subwords
 * Output    one text: a list; several: a list of lists. An element is
 *           none:   {"entity": L, "score": s, "index": i, "word": token, "start": a, "end": b}
 *           others: {"entity_group": G, "score": s, "word": text, "start": a, "end": b}
 *           start and end count code points of the text; null where the tokenizer has no offsets.
 *
 * Easy to get wrong: what makes a token part of a word differs by tokenizer. With a continuing prefix
 * ("##") it is that the token is longer than its text; otherwise that no space touches its start. */
#include "tasks/task.h"

#include <math.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/ascii.h"
#include "base/utf8.h"

typedef enum { GROUP_NONE, GROUP_SIMPLE, GROUP_FIRST, GROUP_AVERAGE, GROUP_MAX } strategy;

/* A text and what it became. */
typedef struct sentence {
    mltf_str text;                  /* words are joined */
    const uint32_t *cp;             /* code points before each byte of text */
    const uint32_t *word_start;     /* code point where each word begins, or NULL: not split */
    const uint32_t *const *word_cp; /* code points before each byte of a word */
    const mltf_str *words;
    size_t n_words;
    size_t n_chunks;
    json *entities; /* array */
} sentence;

typedef struct ner {
    const task_call *c;
    strategy group;
    const json *ignore; /* array, or NULL: ["O"] */
    const json *offset_mapping;
    bool split, strided;
    size_t stride;
    mltf_str delimiter;
    sentence *sentences; /* [n] */
    size_t *of_seq;      /* [n_seqs] sentence of each sequence */
    size_t n, n_seqs, cap_seqs;
} ner;

/* A token, or a word of several tokens. */
typedef struct entity {
    size_t index;
    const float *scores; /* [L] of a token */
    size_t label;
    float score;
    mltf_str word;
    int64_t start, end; /* -1: no offsets */
    bool is_subword;
} entity;

static mltf_status read_strategy(const task_call *c, ner *n, mltf_err *err)
{
    static const char *const names[] = {"none", "simple", "first", "average", "max"};
    const bool grouped_given = task_arg_given(c, "grouped_entities"),
               sub_given = task_arg_given(c, "ignore_subwords");
    if (grouped_given || sub_given) {
        const bool grouped = json_bool(task_arg(c, "grouped_entities"), false);
        const bool sub = json_bool(task_arg(c, "ignore_subwords"), false);
        n->group = grouped ? (sub ? GROUP_FIRST : GROUP_SIMPLE) : GROUP_NONE;
    } else if (task_arg_given(c, "aggregation_strategy")) {
        const mltf_str s = json_string(task_arg(c, "aggregation_strategy"), STR(""));
        size_t found = 5;
        for (size_t i = 0; i < 5; i++)
            if (ascii_same(s, names[i])) found = i;
        if (found == 5)
            return mltf_fail(
                err, MLTF_PREDICT_FAILED,
                "'" STR_FMT
                "' is not an aggregation_strategy, select one of ['none', 'simple', 'first', "
                "'average', 'max']",
                STR_ARG(s));
        n->group = (strategy)found;
    }
    if (n->group >= GROUP_FIRST && !tokenizer_is_fast(c->p->tk))
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "Slow tokenizers cannot handle subwords. Please set the "
                         "`aggregation_strategy` option to "
                         "`\"simple\"` or use a fast tokenizer.");
    return MLTF_OK;
}

static mltf_status read_stride(const task_call *c, ner *n, mltf_err *err)
{
    if (!task_arg_given(c, "stride")) return MLTF_OK;
    const int64_t stride = json_int(task_arg(c, "stride"), -1);
    if (stride < 0 || (uint64_t)stride >= tokenizer_model_max_length(c->p->tk))
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "`stride` must be less than `tokenizer.model_max_length` (or even lower "
                         "if the tokenizer adds "
                         "special tokens)");
    if (n->group == GROUP_NONE &&
        (task_arg_given(c, "aggregation_strategy") || task_arg_given(c, "grouped_entities")))
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "`stride` was provided to process all the text but "
                         "`aggregation_strategy=\"AggregationStrategy.NONE\"`, please select "
                         "another one instead.");
    if (!tokenizer_is_fast(c->p->tk))
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "`stride` was provided to process all the text but you're using a slow "
                         "tokenizer. Please use a "
                         "fast tokenizer.");
    n->strided = true;
    n->stride = (size_t)stride;
    return MLTF_OK;
}

static mltf_status read_args(const task_call *c, ner *n, mltf_err *err)
{
    static const char *const known[] = {"ignore_labels",
                                        "grouped_entities",
                                        "ignore_subwords",
                                        "aggregation_strategy",
                                        "offset_mapping",
                                        "is_split_into_words",
                                        "stride",
                                        "delimiter",
                                        NULL};
    TRY(task_args_known(c, known, "TokenClassificationPipeline._sanitize_parameters()", err));
    TRY(read_strategy(c, n, err));
    TRY(read_stride(c, n, err));
    if (task_arg_given(c, "ignore_labels")) {
        n->ignore = task_arg(c, "ignore_labels");
        if (n->ignore->type != JSON_ARRAY)
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "ignore_labels must be a list of labels, not %s",
                             json_type_name(n->ignore));
    }
    n->split = json_bool(task_arg(c, "is_split_into_words"), false);
    n->delimiter = json_string(task_arg(c, "delimiter"), STR(" "));
    const json *map = task_arg(c, "offset_mapping");
    if (json_is(json_at(json_at(map, 0), 0), JSON_ARRAY))
        map = json_at(map, 0); // one a text: the first serves all
    if (json_is(map, JSON_ARRAY)) n->offset_mapping = map;
    return MLTF_OK;
}

/* ---- preprocess ---- */

static mltf_status join_words(const ner *n, sentence *s, const json *words, mltf_err *err)
{
    mltf_arena *a = n->c->arena;
    if (!json_is(words, JSON_ARRAY))
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "When `is_split_into_words=True`, `sentence` must be a list of tokens.");
    const size_t k = json_len(words);
    mltf_str *list = arena_calloc(a, k ? k : 1, sizeof *list);
    uint32_t *starts = arena_calloc(a, k ? k : 1, sizeof *starts);
    const uint32_t **cps = arena_calloc(a, k ? k : 1, sizeof *cps);
    if (!list || !starts || !cps) return mltf_fail_memory(err);
    mltf_buf text = MLTF_BUF_INIT;
    uint32_t at = 0;
    for (size_t i = 0; i < k; i++) {
        list[i] = json_string(json_at(words, i), (mltf_str){0});
        if (!list[i].p) {
            mltf_buf_release(&text);
            return mltf_fail(err, MLTF_PREDICT_FAILED, "each word must be a text, not %s",
                             json_type_name(json_at(words, i)));
        }
        if (i) buf_put_str(&text, n->delimiter);
        if (i) at += (uint32_t)utf8_count(n->delimiter.p, n->delimiter.n);
        starts[i] = at;
        cps[i] = task_code_points(a, list[i]);
        if (!cps[i]) break;
        at += cps[i][list[i].n];
        buf_put_str(&text, list[i]);
    }
    const mltf_status st = buf_status(&text, err);
    if (!st) s->text = arena_str(a, buf_str(&text));
    mltf_buf_release(&text);
    s->words = list;
    s->n_words = k;
    s->word_start = starts;
    s->word_cp = cps;
    if (st) return st;
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

static mltf_status add_sequence(ner *n, task_seqs *seqs, size_t which, tok_encoding *enc,
                                mltf_err *err)
{
    if (!ARRAY_RESERVE(n->of_seq, n->cap_seqs, n->n_seqs + 1)) return mltf_fail_memory(err);
    tok_encoding *place = task_seqs_add(seqs);
    if (!place) return mltf_fail_memory(err);
    *place = *enc; // ownership moves
    *enc = (tok_encoding)TOK_ENCODING_INIT;
    n->of_seq[n->n_seqs++] = which;
    n->sentences[which].n_chunks++;
    return MLTF_OK;
}

static mltf_status encode_sentence(ner *n, task_seqs *seqs, size_t which, const json *input,
                                   mltf_err *err)
{
    const task_call *c = n->c;
    sentence *s = &n->sentences[which];
    s->entities = json_new_array(c->arena);
    const size_t model_max = tokenizer_model_max_length(c->p->tk);
    const tok_options opts = {.truncation = model_max != SIZE_MAX ? TOK_TRUNCATE_LONGEST_FIRST
                                                                  : TOK_TRUNCATE_NONE,
                              .stride = n->stride,
                              .is_split_into_words = n->split};
    if (n->split)
        TRY(join_words(n, s, input, err));
    else if (!json_is(input, JSON_STRING))
        return mltf_fail(
            err, MLTF_PREDICT_FAILED,
            "When `is_split_into_words=False`, `sentence` must be an untokenized string.");
    else
        s->text = input->s;
    s->cp = task_code_points(c->arena, s->text);
    if (!s->cp || !s->entities) return mltf_fail_memory(err);

    tok_encoding one = TOK_ENCODING_INIT, *encs = &one;
    size_t k = 1;
    mltf_status st;
    if (n->split)
        st = tokenizer_encode_words(c->p->tk, &one, s->words, s->n_words, &opts, err);
    else if (n->strided && opts.truncation != TOK_TRUNCATE_NONE)
        st = tokenizer_encode_overflow(c->p->tk, &encs, &k, s->text, (mltf_str){0}, &opts, err);
    else
        st = tokenizer_encode(c->p->tk, &one, s->text, (mltf_str){0}, &opts, err);
    if (st) return st;
    for (size_t i = 0; i < k && !st; i++) st = add_sequence(n, seqs, which, &encs[i], err);
    for (size_t i = 0; i < k; i++) tok_encoding_release(&encs[i]);
    if (encs != &one) free(encs);
    return st;
}

/* ---- postprocess ---- */

/* The first byte at or behind code point `at`. */
static size_t byte_at(const sentence *s, int64_t at)
{
    size_t low = 0, high = s->text.n;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (s->cp[mid] < at)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Is the character before code point `at`, or the one there, a space? */
static bool space_around(const sentence *s, int64_t at)
{
    const size_t i = byte_at(s, at);
    return (i < s->text.n && s->text.p[i] == ' ') || (i > 0 && s->text.p[i - 1] == ' ');
}

/* Bytes of the text that code points [start, end) cover. */
static mltf_str text_slice(const sentence *s, int64_t start, int64_t end)
{
    const size_t from = byte_at(s, start);
    return str_slice(s->text, from, end > start ? byte_at(s, end) : from);
}

static void set_offsets(const ner *n, const sentence *s, const tok_encoding *enc, size_t i,
                        entity *e)
{
    e->start = e->end = -1;
    if (n->offset_mapping) {
        const json *pair = json_at(n->offset_mapping, i);
        e->start = json_int(json_at(pair, 0), 0);
        e->end = json_int(json_at(pair, 1), 0);
        return;
    }
    if (!tokenizer_is_fast(n->c->p->tk) || !enc->offsets) return;
    const tok_span span = enc->offsets[i];
    if (!n->split) {
        e->start = s->cp[span.start <= s->text.n ? span.start : s->text.n];
        e->end = s->cp[span.end <= s->text.n ? span.end : s->text.n];
        return;
    }
    const int32_t w = enc->word_ids ? enc->word_ids[i] : -1;
    if (w < 0 || (size_t)w >= s->n_words) {
        e->start = e->end = 0;
        return;
    }
    const size_t len = s->words[w].n;
    e->start = s->word_start[w] + s->word_cp[w][span.start <= len ? span.start : len];
    e->end = s->word_start[w] + s->word_cp[w][span.end <= len ? span.end : len];
}

static size_t code_points(mltf_str s)
{
    return s.n ? utf8_count(s.p, s.n) : 0;
}

static void fill_token(const ner *n, const sentence *s, const tok_encoding *enc, size_t i,
                       entity *e)
{
    const tokenizer *tk = n->c->p->tk;
    e->index = i;
    e->word = tokenizer_id_to_token(tk, enc->ids[i]);
    if (!e->word.p) e->word = STR("");
    set_offsets(n, s, enc, i, e);
    if (e->start < 0) return;
    if (tokenizer_continuing_prefix(tk).n > 0)
        e->is_subword =
            (int64_t)code_points(e->word) != (e->end > e->start ? e->end - e->start : 0);
    else
        e->is_subword = e->start > 0 && !space_around(s, e->start);
    if (enc->ids[i] == tokenizer_special_id(tk, TOK_UNK)) {
        e->word = text_slice(s, e->start, e->end);
        e->is_subword = false;
    }
}

static mltf_status join_tokens(const ner *n, const entity *es, size_t k, mltf_str *out,
                               mltf_err *err)
{
    mltf_str *words = arena_calloc(n->c->arena, k, sizeof *words);
    if (!words) return mltf_fail_memory(err);
    for (size_t i = 0; i < k; i++) words[i] = es[i].word;
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = tokenizer_decode_tokens(n->c->p->tk, &text, words, k, err);
    if (!st) st = buf_status(&text, err);
    if (!st) *out = arena_str(n->c->arena, buf_str(&text));
    mltf_buf_release(&text);
    return st;
}

/* One word out of its tokens, with one label for all. */
static mltf_status fuse_word(const ner *n, const entity *es, size_t k, size_t L, entity *out,
                             mltf_err *err)
{
    *out = (entity){.index = es[0].index, .start = es[0].start, .end = es[k - 1].end};
    TRY(join_tokens(n, es, k, &out->word, err));
    const float *scores = es[0].scores;
    if (n->group == GROUP_MAX) {
        float best = -INFINITY;
        for (size_t i = 0; i < k; i++) {
            const float top = es[i].scores[task_argmax(es[i].scores, L)];
            if (top > best) {
                best = top;
                scores = es[i].scores;
            }
        }
    } else if (n->group == GROUP_AVERAGE) {
        float *mean = arena_f32(n->c->arena, 1, L);
        if (!mean) return mltf_fail_memory(err);
        for (size_t l = 0; l < L; l++) {
            float sum = 0;
            for (size_t i = 0; i < k; i++) sum += es[i].scores[l];
            mean[l] = sum / (float)k;
        }
        scores = mean;
    }
    out->label = task_argmax(scores, L);
    out->score = scores[out->label];
    return MLTF_OK;
}

static bool ignored(const ner *n, mltf_str label)
{
    if (!n->ignore) return str_is(label, "O");
    for (size_t i = 0; i < n->ignore->a.n; i++)
        if (json_is(&n->ignore->a.items[i], JSON_STRING) && str_eq(n->ignore->a.items[i].s, label))
            return true;
    return false;
}

static void add_entity(const ner *n, sentence *s, const char *key, mltf_str label, float score,
                       const size_t *index, mltf_str word, int64_t start, int64_t end)
{
    if (ignored(n, label)) return;
    mltf_arena *a = n->c->arena;
    json *o = json_new_object(a);
    json_set(a, o, key, json_new_string(a, label));
    json_set(a, o, "score", json_new_float(a, score));
    if (index) json_set(a, o, "index", json_new_int(a, (int64_t)*index));
    json_set(a, o, "word", json_new_string(a, word));
    json_set(a, o, "start", start < 0 ? json_new_null(a) : json_new_int(a, start));
    json_set(a, o, "end", end < 0 ? json_new_null(a) : json_new_int(a, end));
    json_push(a, s->entities, o);
}

/* "B-PER" is PER and begins; without B- or I- a label continues. */
static mltf_str label_tag(mltf_str label, bool *begins)
{
    *begins = str_starts(label, "B-");
    return *begins || str_starts(label, "I-") ? str_slice(label, 2, label.n) : label;
}

static mltf_status add_group(const ner *n, sentence *s, const entity *es, size_t k, mltf_err *err)
{
    mltf_str label = arch_label(n->c->p->model, es[0].label), word;
    const char *dash = memchr(label.p, '-', label.n);
    if (dash) label = str_slice(label, (size_t)(dash - label.p) + 1, label.n);
    float sum = 0;
    for (size_t i = 0; i < k; i++) sum += es[i].score;
    TRY(join_tokens(n, es, k, &word, err));
    add_entity(n, s, "entity_group", label, sum / (float)k, NULL, word, es[0].start, es[k - 1].end);
    return MLTF_OK;
}

/* Neighbours of the same tag, until one begins anew. */
static mltf_status add_groups(const ner *n, sentence *s, const entity *es, size_t k, mltf_err *err)
{
    for (size_t first = 0; first < k;) {
        bool begins;
        size_t last = first + 1;
        const mltf_str tag = label_tag(arch_label(n->c->p->model, es[first].label), &begins);
        while (last < k &&
               str_eq(tag, label_tag(arch_label(n->c->p->model, es[last].label), &begins)) &&
               !begins)
            last++;
        TRY(add_group(n, s, es + first, last - first, err));
        first = last;
    }
    return MLTF_OK;
}

static mltf_status add_chunk(void *user, const task_row *row, mltf_err *err)
{
    ner *n = user;
    mltf_arena *a = n->c->arena;
    sentence *s = &n->sentences[n->of_seq[row->seq]];
    const size_t T = row->rows, L = row->n_logits;
    float *scores = arena_f32(a, T ? T : 1, L);
    entity *es = arena_calloc(a, T ? T : 1, sizeof *es);
    entity *words = arena_calloc(a, T ? T : 1, sizeof *words);
    if (!scores || !es || !words) return mltf_fail_memory(err);
    if (T) memcpy(scores, row->logits, T * L * sizeof *scores);

    size_t k = 0;
    for (size_t i = 0; i < T; i++) {
        if (row->enc->special && row->enc->special[i]) continue;
        entity *e = &es[k++];
        task_softmax(scores + i * L, L);
        e->scores = scores + i * L;
        e->label = task_argmax(e->scores, L);
        e->score = e->scores[e->label];
        fill_token(n, s, row->enc, i, e);
    }
    if (n->group == GROUP_NONE) {
        for (size_t i = 0; i < k; i++)
            add_entity(n, s, "entity", arch_label(n->c->p->model, es[i].label), es[i].score,
                       &es[i].index, es[i].word, es[i].start, es[i].end);
    } else if (n->group == GROUP_SIMPLE) {
        TRY(add_groups(n, s, es, k, err));
    } else {
        size_t n_words = 0;
        for (size_t first = 0; first < k;) {
            size_t last = first + 1;
            while (last < k && es[last].is_subword) last++;
            TRY(fuse_word(n, es + first, last - first, L, &words[n_words++], err));
            first = last;
        }
        TRY(add_groups(n, s, words, n_words, err));
    }
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* Pieces of a text overlap: of entities that do, the longer stays, or the surer of equal ones. */
static json *without_overlaps(mltf_arena *a, json *entities)
{
    json *list = entities->a.items, *out = json_new_array(a);
    const size_t n = entities->a.n;
    if (n == 0) return entities;
    for (size_t i = 1; i < n; i++) { // insertion keeps the order of equal starts
        const json e = list[i];
        size_t at = i;
        while (at > 0 &&
               json_int(json_get(&list[at - 1], "start"), 0) > json_int(json_get(&e, "start"), 0)) {
            list[at] = list[at - 1];
            at--;
        }
        list[at] = e;
    }
    const json *kept = &list[0];
    for (size_t i = 0; i < n; i++) {
        const json *e = &list[i];
        const int64_t start = json_int(json_get(e, "start"), 0),
                      end = json_int(json_get(e, "end"), 0);
        const int64_t k_start = json_int(json_get(kept, "start"), 0),
                      k_end = json_int(json_get(kept, "end"), 0);
        if (k_start <= start && start < k_end) {
            const bool surer =
                json_double(json_get(e, "score"), 0) > json_double(json_get(kept, "score"), 0);
            if (end - start > k_end - k_start || (end - start == k_end - k_start && surer))
                kept = e;
        } else {
            json_push(a, out, kept);
            kept = e;
        }
    }
    json_push(a, out, kept);
    return out;
}

static mltf_status call(const task_call *c, json **out, mltf_err *err)
{
    ner n = {.c = c};
    TRY(read_args(c, &n, err));
    const json *input = c->input;
    bool many = json_is(input, JSON_ARRAY);
    if (!json_is(input, JSON_STRING) && (!many || input->a.n == 0))
        return mltf_fail(err, MLTF_PREDICT_FAILED, "At least one input is required.");
    bool all_lists = many;
    for (size_t i = 0; many && i < input->a.n; i++)
        all_lists = all_lists && input->a.items[i].type == JSON_ARRAY;
    const bool one_list = n.split && !all_lists; // the words of one text: answered as a list of one
    n.n = many && !one_list ? input->a.n : 1;
    n.sentences = arena_calloc(c->arena, n.n, sizeof *n.sentences);
    if (!n.sentences) return mltf_fail_memory(err);

    task_seqs seqs = {0};
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n.n && !st; i++)
        st = encode_sentence(&n, &seqs, i, many && !one_list ? json_at(input, i) : input, err);
    if (!st) st = task_forward(c, &seqs, ARCH_WANT_LOGITS, add_chunk, &n, err);
    task_seqs_release(&seqs);
    free(n.of_seq);
    if (st) return st;

    json *answers = json_new_array(c->arena);
    for (size_t i = 0; i < n.n; i++) {
        const sentence *s = &n.sentences[i];
        json_push(c->arena, answers,
                  s->n_chunks > 1 ? without_overlaps(c->arena, s->entities) : s->entities);
    }
    if (c->arena->failed) return mltf_fail_memory(err);
    *out = many ? answers : &answers->a.items[0];
    return MLTF_OK;
}

static const char *const aliases[] = {"ner", NULL};
const task_def task_token_classification = {
    .info = {"token-classification", "TokenClassificationPipeline", aliases,
             "AutoModelForTokenClassification", false},
    .class_suffix = "ForTokenClassification",
    .call = call,
};
