/* Helpers of the task files: keywords, tokenizer arguments, ragged batches, softmax and the like. */
#include "tasks/task.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/array.h"
#include "base/limits.h"
#include "base/pytext.h"

/* ---- control and keywords ---- */

mltf_status task_check(const task_call *c, mltf_err *err)
{
    if (c->ctl->cancel && *c->ctl->cancel)
        return mltf_fail(err, MLTF_CANCELLED, "the call was cancelled");
    if (c->ctl->deadline > 0) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if ((double)now.tv_sec + 1e-9 * (double)now.tv_nsec > c->ctl->deadline)
            return mltf_fail(err, MLTF_TIMEOUT, "request processing time exceeded limit");
    }
    return MLTF_OK;
}

const json *task_arg(const task_call *c, const char *name)
{
    return json_get(c->kwargs, name);
}

bool task_arg_given(const task_call *c, const char *name)
{
    const json *v = task_arg(c, name);
    return v && v->type != JSON_NULL;
}

mltf_status task_args_known(const task_call *c, const char *const *known, const char *function,
                            mltf_err *err)
{
    for (size_t i = 0; i < (c->kwargs ? c->kwargs->o.n : 0); i++) {
        const mltf_str key = c->kwargs->o.members[i].key;
        bool found = false;
        for (size_t k = 0; known[k] && !found; k++) found = str_is(key, known[k]);
        if (!found)
            return mltf_fail(err, MLTF_INVALID_INPUT,
                             "%s got an unexpected keyword argument '" STR_FMT "'", function,
                             STR_ARG(key));
    }
    return MLTF_OK;
}

/* ---- repr ---- */

static void repr_value(mltf_buf *b, const json *v)
{
    switch (v ? v->type : JSON_NULL) {
    case JSON_NULL:
        buf_puts(b, "None");
        break;
    case JSON_BOOL:
        buf_puts(b, v->b ? "True" : "False");
        break;
    case JSON_STRING:
        pytext_repr(b, v->s, false);
        break;
    case JSON_ARRAY:
        buf_putc(b, '[');
        for (size_t i = 0; i < v->a.n; i++) {
            if (i) buf_puts(b, ", ");
            repr_value(b, &v->a.items[i]);
        }
        buf_putc(b, ']');
        break;
    case JSON_OBJECT:
        buf_putc(b, '{');
        for (size_t i = 0; i < v->o.n; i++) {
            if (i) buf_puts(b, ", ");
            pytext_repr(b, v->o.members[i].key, false);
            buf_puts(b, ": ");
            repr_value(b, &v->o.members[i].value);
        }
        buf_putc(b, '}');
        break;
    default:
        json_write(b, v, NULL);
        break;
    }
}

const char *task_repr(const task_call *c, const json *v)
{
    mltf_buf b = MLTF_BUF_INIT;
    b.max = 4096; // a message is short anyway
    repr_value(&b, v);
    const char *s = b.p ? arena_strdup(c->arena, b.p, b.n) : NULL;
    mltf_buf_release(&b);
    return s ? s : "…";
}

/* ---- tokenizer arguments ---- */

static mltf_status set_truncation(task_tok_args *a, const json *v, mltf_err *err)
{
    if (v->type == JSON_NULL) return MLTF_OK;
    if (v->type == JSON_BOOL) {
        a->opts.truncation = v->b ? TOK_TRUNCATE_LONGEST_FIRST : TOK_TRUNCATE_NONE;
        a->truncation_given = true;
        return MLTF_OK;
    }
    static const struct {
        const char *name;
        tok_truncate value;
    } rows[] = {{"only_first", TOK_TRUNCATE_ONLY_FIRST},
                {"only_second", TOK_TRUNCATE_ONLY_SECOND},
                {"longest_first", TOK_TRUNCATE_LONGEST_FIRST},
                {"do_not_truncate", TOK_TRUNCATE_NONE}};
    const mltf_str s = json_string(v, STR(""));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!str_is(s, rows[i].name)) continue;
        a->opts.truncation = rows[i].value;
        a->truncation_given = true;
        return MLTF_OK;
    }
    return mltf_fail(
        err, MLTF_PREDICT_FAILED,
        STR_FMT
        " is not a valid TruncationStrategy, please select one of ['only_first', 'only_second', "
        "'longest_first', 'do_not_truncate']",
        STR_ARG(s));
}

static mltf_status set_padding(task_tok_args *a, const json *v, mltf_err *err)
{
    if (v->type == JSON_BOOL) {
        a->padding_given = v->b; // one text a row: padding to the longest adds nothing
        return MLTF_OK;
    }
    const mltf_str s = json_string(v, v->type == JSON_NULL ? STR("None") : STR(""));
    a->padding_given = !str_is(s, "do_not_pad");
    if (str_is(s, "max_length"))
        a->pad_to = SIZE_MAX; // settled when max_length is known
    else if (!str_is(s, "longest") && !str_is(s, "do_not_pad"))
        return mltf_fail(
            err, MLTF_PREDICT_FAILED,
            STR_FMT
            " is not a valid PaddingStrategy, please select one of ['longest', 'max_length', "
            "'do_not_pad']",
            STR_ARG(s));
    return MLTF_OK;
}

static mltf_status get_size(const json *v, size_t *out, mltf_str key, mltf_err *err)
{
    if (v->type == JSON_NULL) return MLTF_OK;
    const int64_t n = json_int(v, -1);
    if (n < 0)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "`" STR_FMT "` must be a non-negative integer, not %s", STR_ARG(key),
                         json_type_name(v));
    *out = (size_t)n;
    return MLTF_OK;
}

mltf_status task_tok_arg(const task_call *c, task_tok_args *a, mltf_str key, const json *value,
                         mltf_err *err)
{
    // what only shapes the Python object that a tokenizer returns
    static const char *const neutral[] = {"return_attention_mask",
                                          "return_token_type_ids",
                                          "return_overflowing_tokens",
                                          "verbose",
                                          "padding_side",
                                          NULL};
    if (str_is(key, "truncation")) return set_truncation(a, value, err);
    if (str_is(key, "padding")) return set_padding(a, value, err);
    if (str_is(key, "max_length")) return get_size(value, &a->opts.max_length, key, err);
    if (str_is(key, "stride")) return get_size(value, &a->opts.stride, key, err);
    if (str_is(key, "pad_to_multiple_of")) return get_size(value, &a->pad_multiple, key, err);
    if (str_is(key, "add_special_tokens")) {
        a->opts.no_special_tokens = !json_bool(value, true);
        return MLTF_OK;
    }
    if (str_is(key, "is_split_into_words")) {
        a->opts.is_split_into_words = json_bool(value, false);
        return MLTF_OK;
    }
    for (size_t i = 0; neutral[i]; i++)
        if (str_is(key, neutral[i])) return MLTF_OK;
    // what else it returns goes into the model's forward(), unless the model generates
    static const char *const outputs[][2] = {{"return_offsets_mapping", "offset_mapping"},
                                             {"return_special_tokens_mask", "special_tokens_mask"},
                                             {"return_length", "length"}};
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        if (!str_is(key, outputs[i][0])) continue;
        if (c->p->def->info.generates || !json_bool(value, false)) return MLTF_OK;
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "%s.forward() got an unexpected keyword argument '%s'",
                         c->p->info->architecture, outputs[i][1]);
    }
    if (str_is(key, "return_tensors")) {
        if (c->p->def->info.generates) return MLTF_OK;
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "the tokenizer got multiple values for keyword argument 'return_tensors'");
    }
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "%s._batch_encode_plus() got an unexpected keyword argument '" STR_FMT "'",
                     tokenizer_is_fast(c->p->tk) ? "PreTrainedTokenizerFast"
                                                 : "PreTrainedTokenizer",
                     STR_ARG(key));
}

mltf_status task_tok_args_finish(const task_call *c, task_tok_args *a, mltf_err *err)
{
    (void)err;
    const size_t model_max = tokenizer_model_max_length(c->p->tk);
    // max_length alone means truncation, unless padding was what it is for
    if (!a->truncation_given && a->opts.max_length > 0 && !a->padding_given)
        a->opts.truncation = TOK_TRUNCATE_LONGEST_FIRST;
    if (a->opts.truncation != TOK_TRUNCATE_NONE && a->opts.max_length == 0 && model_max == SIZE_MAX)
        a->opts.truncation = TOK_TRUNCATE_NONE;
    if (a->pad_to == SIZE_MAX) a->pad_to = a->opts.max_length ? a->opts.max_length : model_max;
    if (a->pad_to == SIZE_MAX) a->pad_to = 0;
    return MLTF_OK;
}

static mltf_status wrong_text(const json *v, mltf_err *err)
{
    if (!v || v->type == JSON_NULL)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "You need to specify either `text` or `text_target`.");
    return mltf_fail(err, MLTF_PREDICT_FAILED,
                     "text input must be of type `str` (single example), `list[str]` (batch or "
                     "single pretokenized "
                     "example) or `list[list[str]]` (batch of pretokenized examples).");
}

static mltf_status encode_words(const task_call *c, tok_encoding *enc, const json *words,
                                const tok_options *o, mltf_err *err)
{
    const size_t n = json_len(words);
    mltf_str *list = arena_calloc(c->arena, n ? n : 1, sizeof *list);
    if (!list) return mltf_fail_memory(err);
    for (size_t i = 0; i < n; i++) {
        const json *w = json_at(words, i);
        if (!json_is(w, JSON_STRING)) return wrong_text(w, err);
        list[i] = w->s;
    }
    return tokenizer_encode_words(c->p->tk, enc, list, n, o, err);
}

/* Fill up with pad tokens as padding="max_length" asks. */
static mltf_status pad_rows(const task_call *c, tok_encoding *enc, const task_tok_args *a,
                            mltf_err *err)
{
    size_t to = a->pad_to > enc->n ? a->pad_to : enc->n;
    if (a->pad_multiple > 1 && a->padding_given)
        to = (to + a->pad_multiple - 1) / a->pad_multiple * a->pad_multiple;
    if (to <= enc->n) return MLTF_OK;
    if (to > LIMIT_TEXT_BYTES)
        return mltf_fail(err, MLTF_INVALID_INPUT, "cannot pad to %zu tokens", to);
    const int32_t pad = tokenizer_special_id(c->p->tk, TOK_PAD);
    if (pad < 0)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "Asking to pad but the tokenizer does not have a padding token. Please "
                         "select a token to use as "
                         "`pad_token` `(tokenizer.pad_token = tokenizer.eos_token e.g.)`");
    tok_encoding wide = TOK_ENCODING_INIT;
    wide.ids = calloc(to, sizeof *wide.ids);
    wide.type_ids = calloc(to, sizeof *wide.type_ids);
    wide.offsets = calloc(to, sizeof *wide.offsets);
    wide.word_ids = calloc(to, sizeof *wide.word_ids);
    wide.sequence_ids = calloc(to, sizeof *wide.sequence_ids);
    wide.special = calloc(to, sizeof *wide.special);
    wide.cap = to;
    if (!wide.ids || !wide.type_ids || !wide.offsets || !wide.word_ids || !wide.sequence_ids ||
        !wide.special) {
        tok_encoding_release(&wide);
        return mltf_fail_memory(err);
    }
    const size_t first = tokenizer_pad_left(c->p->tk) ? to - enc->n : 0;
    for (size_t i = 0; i < to; i++) {
        const bool real = i >= first && i < first + enc->n;
        const size_t k = i - first;
        wide.ids[i] = real ? enc->ids[k] : pad;
        wide.type_ids[i] = real && enc->type_ids ? enc->type_ids[k] : 0;
        wide.offsets[i] = real && enc->offsets ? enc->offsets[k] : (tok_span){0, 0};
        wide.word_ids[i] = real && enc->word_ids ? enc->word_ids[k] : -1;
        wide.sequence_ids[i] = real && enc->sequence_ids ? enc->sequence_ids[k] : -1;
        wide.special[i] =
            real ? (enc->special ? enc->special[k] : 0) : 2; // 2: padding, hidden from attention
    }
    wide.n = to;
    tok_encoding_release(enc);
    *enc = wide;
    return MLTF_OK;
}

mltf_status task_encode(const task_call *c, tok_encoding *enc, const json *text, const json *pair,
                        const task_tok_args *a, mltf_err *err)
{
    static const task_tok_args plain;
    if (!a) a = &plain;
    if (pair && pair->type == JSON_NULL) pair = NULL;
    if (a->opts.is_split_into_words && json_is(text, JSON_ARRAY) && !pair)
        TRY(encode_words(c, enc, text, &a->opts, err));
    else if (!json_is(text, JSON_STRING))
        return wrong_text(text, err);
    else if (pair && !json_is(pair, JSON_STRING))
        return wrong_text(pair, err);
    else
        TRY(tokenizer_encode(c->p->tk, enc, text->s, pair ? pair->s : (mltf_str){0}, &a->opts,
                             err));
    if (a->pad_to || a->pad_multiple) TRY(pad_rows(c, enc, a, err));
    return MLTF_OK;
}

/* ---- sequences ---- */

tok_encoding *task_seqs_add(task_seqs *s)
{
    if (!ARRAY_RESERVE(s->encs, s->cap, s->n + 1)) return NULL;
    tok_encoding *e = &s->encs[s->n++];
    *e = (tok_encoding)TOK_ENCODING_INIT;
    return e;
}

void task_seqs_release(task_seqs *s)
{
    for (size_t i = 0; i < s->n; i++) tok_encoding_release(&s->encs[i]);
    free(s->encs);
    *s = (task_seqs){0};
}

/* ---- numbers ---- */

void task_softmax(float *x, size_t n)
{
    float max = -FLT_MAX, sum = 0;
    for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    for (size_t i = 0; i < n; i++) sum += x[i] = expf(x[i] - max);
    for (size_t i = 0; i < n; i++) x[i] /= sum;
}

void task_sigmoid(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = 1.0f / (1.0f + expf(-x[i]));
}

size_t task_argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* a comes before b: larger, or equal and earlier */
static bool ranks_before(const float *x, size_t a, size_t b)
{
    return x[a] > x[b] || (x[a] == x[b] && a < b);
}

/* A heap of k whose root is the worst kept, then sorted: n log k. */
void task_top_k(size_t *out, size_t k, const float *x, size_t n)
{
    size_t m = 0;
    for (size_t i = 0; i < n && k > 0; i++) {
        size_t at;
        if (m < k) {
            at = m++;
            out[at] = i;
            while (at > 0 &&
                   ranks_before(x, out[(at - 1) / 2], out[at])) { // parent better than child: swap
                const size_t up = (at - 1) / 2, t = out[up];
                out[up] = out[at];
                out[at] = t;
                at = up;
            }
            continue;
        }
        if (!ranks_before(x, i, out[0])) continue;
        out[0] = i;
        for (at = 0;;) {
            size_t worst = at;
            for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < m; child++)
                if (ranks_before(x, out[worst], out[child])) worst = child;
            if (worst == at) break;
            const size_t t = out[worst];
            out[worst] = out[at];
            out[at] = t;
            at = worst;
        }
    }
    for (size_t end = m; end > 1; end--) { // take the worst to the end, again and again
        const size_t t = out[0];
        out[0] = out[end - 1];
        out[end - 1] = t;
        for (size_t at = 0;;) {
            size_t worst = at;
            for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < end - 1; child++)
                if (ranks_before(x, out[worst], out[child])) worst = child;
            if (worst == at) break;
            const size_t u = out[worst];
            out[worst] = out[at];
            out[at] = u;
            at = worst;
        }
    }
}

const uint32_t *task_code_points(mltf_arena *a, mltf_str text)
{
    uint32_t *cp = arena_calloc(a, text.n + 1, sizeof *cp);
    if (!cp) return NULL;
    uint32_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        cp[i] = n;
        const bool ends = i + 1 == text.n || ((unsigned char)text.p[i + 1] & 0xC0) != 0x80;
        if (ends) n++;
    }
    cp[text.n] = n;
    return cp;
}
