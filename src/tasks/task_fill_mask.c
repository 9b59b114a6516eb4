/* fill-mask: the best tokens for each mask in a text.
 *
 * Mirrors FillMaskPipeline (transformers 4.57.6, pipelines/fill_mask.py).
 * Input     text, or list of texts; each needs the tokenizer's mask token at least once.
 * Keywords  top_k             5
 *           targets           text or list of texts: only these tokens are ranked (a target outside the
 *                             vocabulary counts as its first token; two that become the same count once)
 *           tokenizer_kwargs  object: truncation, max_length …
 * Output    one mask: [{"score": s, "token": id, "token_str": t, "sequence": text}, …]; several masks: one
 *           such list a mask; a list of texts: one answer a text, but a list of one gives that one alone.
 *
 * Easy to get wrong: with several masks the sequences keep their special tokens, with one they lose them. */
#include "tasks/task.h"

#include <stdlib.h>

typedef struct fill {
    const task_call *c;
    json *outputs; /* array, one place a text */
    size_t top_k;
    const size_t *targets; /* [n_targets] token ids; NULL: the whole vocabulary */
    size_t n_targets;
} fill;

static mltf_status no_mask(const task_call *c, mltf_err *err)
{
    const mltf_str mask = tokenizer_special_token(c->p->tk, TOK_MASK);
    return mltf_fail(err, MLTF_PREDICT_FAILED, "No mask_token (" STR_FMT ") found on the input",
                     STR_ARG(mask));
}

/* The id that a target stands for, or -1. */
static mltf_status target_id(const task_call *c, const json *target, int32_t *id, mltf_err *err)
{
    if (!json_is(target, JSON_STRING))
        return mltf_fail(err, MLTF_PREDICT_FAILED, "targets must be texts, not %s",
                         json_type_name(target));
    *id = tokenizer_token_to_id(c->p->tk, target->s);
    if (*id >= 0) return MLTF_OK;
    const task_tok_args a = {.opts = {.no_special_tokens = true,
                                      .truncation = TOK_TRUNCATE_LONGEST_FIRST,
                                      .max_length = 1}};
    tok_encoding enc = TOK_ENCODING_INIT;
    const mltf_status st = task_encode(c, &enc, target, NULL, &a, err);
    if (!st && enc.n > 0) *id = enc.ids[0];
    tok_encoding_release(&enc);
    return st;
}

static int by_id(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static mltf_status read_targets(const task_call *c, fill *f, mltf_err *err)
{
    if (!task_arg_given(c, "targets")) return MLTF_OK;
    const json *given = task_arg(c, "targets");
    const bool many = json_is(given, JSON_ARRAY);
    const size_t n = many ? json_len(given) : 1;
    size_t *ids = arena_calloc(c->arena, n ? n : 1, sizeof *ids);
    if (!ids) return mltf_fail_memory(err);
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t id = -1;
        TRY(target_id(c, many ? json_at(given, i) : given, &id, err));
        if (id >= 0) ids[found++] = (size_t)id;
    }
    if (found == 0)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "At least one target must be provided when passed.");
    qsort(ids, found, sizeof *ids, by_id);
    size_t distinct = 1;
    for (size_t i = 1; i < found; i++)
        if (ids[i] != ids[distinct - 1]) ids[distinct++] = ids[i];
    f->targets = ids;
    f->n_targets = distinct;
    return MLTF_OK;
}

static mltf_status read_args(const task_call *c, fill *f, task_tok_args *a, mltf_err *err)
{
    static const char *const known[] = {"top_k", "targets", "tokenizer_kwargs", NULL};
    TRY(task_args_known(c, known, "FillMaskPipeline._sanitize_parameters()", err));
    if (tokenizer_special_id(c->p->tk, TOK_MASK) < 0)
        return mltf_fail(err, MLTF_PREDICT_FAILED, "The tokenizer does not define a `mask_token`.");
    f->top_k = 5;
    if (task_arg_given(c, "top_k")) {
        const int64_t k = json_int(task_arg(c, "top_k"), -1);
        if (k < 0)
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "top_k must be a non-negative integer, not %s",
                             task_repr(c, task_arg(c, "top_k")));
        f->top_k = (size_t)k;
    }
    TRY(read_targets(c, f, err));
    const json *inner = task_arg(c, "tokenizer_kwargs");
    for (size_t i = 0; inner && inner->type == JSON_OBJECT && i < inner->o.n; i++)
        TRY(task_tok_arg(c, a, inner->o.members[i].key, &inner->o.members[i].value, err));
    return task_tok_args_finish(c, a, err);
}

/* The text with the mask at row `at` replaced. */
static mltf_status sequence_text(const task_call *c, const tok_encoding *enc, size_t at, int32_t id,
                                 bool skip_special, mltf_buf *out, mltf_err *err)
{
    const int32_t pad = tokenizer_special_id(c->p->tk, TOK_PAD);
    int32_t *ids = calloc(enc->n ? enc->n : 1, sizeof *ids);
    if (!ids) return mltf_fail_memory(err);
    size_t n = 0;
    for (size_t i = 0; i < enc->n; i++) {
        const int32_t one = i == at ? id : enc->ids[i];
        if (one != pad || pad < 0) ids[n++] = one;
    }
    buf_clear(out);
    const mltf_status st = tokenizer_decode(c->p->tk, out, ids, n, skip_special, -1, err);
    free(ids);
    return st;
}

/* The answers for one mask. */
static mltf_status add_mask(const fill *f, const task_row *row, size_t at, bool single,
                            json *answers, mltf_err *err)
{
    const task_call *c = f->c;
    mltf_arena *a = c->arena;
    const size_t V = row->n_logits;
    float *probs = malloc((V ? V : 1) * sizeof *probs);
    float *kept = malloc((f->n_targets ? f->n_targets : 1) * sizeof *kept);
    size_t n = f->targets ? f->n_targets : V;
    const size_t k = f->top_k < n || !f->targets ? f->top_k : n;
    size_t *order = calloc(k && k <= n ? k : 1, sizeof *order);
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = MLTF_OK;
    if (!probs || !kept || !order) {
        st = mltf_fail_memory(err);
        goto done;
    }
    if (k > n) {
        st = mltf_fail(err, MLTF_PREDICT_FAILED,
                       "selected index k out of range: top_k is %zu of %zu tokens", k, n);
        goto done;
    }
    memcpy(probs, row->logits + at * V, V * sizeof *probs);
    task_softmax(probs, V);
    for (size_t i = 0; f->targets && i < n; i++)
        kept[i] = f->targets[i] < V ? probs[f->targets[i]] : 0;
    const float *scores = f->targets ? kept : probs;
    task_top_k(order, k, scores, n);
    for (size_t i = 0; i < k && !st; i++) {
        const int32_t id = (int32_t)(f->targets ? f->targets[order[i]] : order[i]);
        json *o = json_new_object(a);
        json_set(a, o, "score", json_new_float(a, scores[order[i]]));
        json_set(a, o, "token", json_new_int(a, id));
        buf_clear(&text);
        if ((st = tokenizer_decode(c->p->tk, &text, &id, 1, false, -1, err))) break;
        json_set(a, o, "token_str", json_new_string(a, buf_str(&text)));
        if ((st = sequence_text(c, row->enc, at, id, single, &text, err))) break;
        json_set(a, o, "sequence", json_new_string(a, buf_str(&text)));
        json_push(a, answers, o);
    }

done:
    free(probs);
    free(kept);
    free(order);
    mltf_buf_release(&text);
    return st;
}

static mltf_status add_text(void *user, const task_row *row, mltf_err *err)
{
    const fill *f = user;
    mltf_arena *a = f->c->arena;
    const int32_t mask = tokenizer_special_id(f->c->p->tk, TOK_MASK);
    size_t n_masks = 0;
    for (size_t i = 0; i < row->rows; i++) n_masks += row->enc->ids[i] == mask;
    json *lists = json_new_array(a);
    for (size_t i = 0; i < row->rows; i++) {
        if (row->enc->ids[i] != mask) continue;
        json *answers = json_new_array(a);
        TRY(add_mask(f, row, i, n_masks == 1, answers, err));
        json_push(a, lists, answers);
    }
    if (a->failed) return mltf_fail_memory(err);
    f->outputs->a.items[row->seq] = n_masks == 1 ? lists->a.items[0] : *lists;
    return MLTF_OK;
}

static mltf_status encode_input(const task_call *c, tok_encoding *enc, const json *text,
                                const task_tok_args *args, mltf_err *err)
{
    TRY(task_encode(c, enc, text, NULL, args, err));
    const int32_t mask = tokenizer_special_id(c->p->tk, TOK_MASK);
    for (size_t i = 0; i < enc->n; i++)
        if (enc->ids[i] == mask) return MLTF_OK;
    return no_mask(c, err);
}

static mltf_status call(const task_call *c, json **out, mltf_err *err)
{
    fill f = {.c = c, .outputs = json_new_array(c->arena)};
    task_tok_args args = {0};
    TRY(read_args(c, &f, &args, err));
    TRY(task_forward_inputs(c, &args, encode_input, ARCH_WANT_LOGITS, f.outputs, add_text, &f,
                            err));
    *out = json_len(f.outputs) == 1 ? &f.outputs->a.items[0] : f.outputs;
    return MLTF_OK;
}

static const char *const also[] = {"LMHeadModel", "ForPreTraining", "ForConditionalGeneration",
                                   NULL};
const task_def task_fill_mask = {
    .info = {"fill-mask", "FillMaskPipeline", NULL, "AutoModelForMaskedLM", false},
    .class_suffix = "ForMaskedLM",
    .class_also = also,
    .call = call,
};
