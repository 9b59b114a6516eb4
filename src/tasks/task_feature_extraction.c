/* feature-extraction: the hidden states of a model without head.
 *
 * Mirrors FeatureExtractionPipeline (transformers 4.57.6, pipelines/feature_extraction.py).
 * Input     text, or list of texts (each one is a call of its own).
 * Keywords  tokenize_kwargs  object of tokenizer keywords: truncation, max_length, padding …
 *           truncation       bool or strategy, as inside tokenize_kwargs
 *           return_tensors   bool; the numbers are the same
 *           Others are ignored, as the pipeline ignores them.
 * Output    one text: [[[f, …] x T]]; a list: one such value a text. T counts special tokens.
 *
 * Easy to get wrong: the outer list of length one is the batch dimension of the text's own forward. */
#include "tasks/embedding_folder.h"
#include "tasks/task.h"

typedef struct features {
    const task_call *c;
    json *outputs; /* array, one place a text */
} features;

static mltf_status read_args(const task_call *c, task_tok_args *a, mltf_err *err)
{
    const json *inner = task_arg(c, "tokenize_kwargs");
    if (task_arg_given(c, "truncation")) {
        if (json_get(inner, "truncation"))
            return mltf_fail(
                err, MLTF_PREDICT_FAILED,
                "truncation parameter defined twice (given as keyword argument as well as in "
                "tokenize_kwargs)");
        TRY(task_tok_arg(c, a, STR("truncation"), task_arg(c, "truncation"), err));
    }
    for (size_t i = 0; inner && inner->type == JSON_OBJECT && i < inner->o.n; i++)
        TRY(task_tok_arg(c, a, inner->o.members[i].key, &inner->o.members[i].value, err));
    return task_tok_args_finish(c, a, err);
}

static mltf_status add_features(void *user, const task_row *row, mltf_err *err)
{
    const features *f = user;
    mltf_arena *a = f->c->arena;
    const size_t H = f->c->p->info->hidden;
    json *rows = json_new_array(a); // [T][H]
    for (size_t t = 0; t < row->rows; t++) {
        json *vector = arena_alloc_small(a, sizeof *vector);
        json *items = arena_alloc_small(a, (H ? H : 1) * sizeof *items);
        if (!vector || !items) return mltf_fail_memory(err);
        *vector = (json){.type = JSON_ARRAY, .cap = (uint32_t)H, .a = {items, H}};
        for (size_t k = 0; k < H; k++)
            items[k] = (json){.type = JSON_FLOAT, .d = (double)row->hidden[t * H + k]};
        json_push(a, rows, vector);
    }
    json *batch = json_new_array(a);
    json_push(a, batch, rows);
    if (a->failed) return mltf_fail_memory(err);
    f->outputs->a.items[row->seq] = *batch;
    return MLTF_OK;
}

static mltf_status encode_input(const task_call *c, tok_encoding *enc, const json *text,
                                const task_tok_args *args, mltf_err *err)
{
    return task_encode(c, enc, text, NULL, args, err);
}

static mltf_status call(const task_call *c, json **out, mltf_err *err)
{
    task_tok_args args = {0};
    TRY(read_args(c, &args, err));
    features f = {c, json_new_array(c->arena)};
    TRY(task_forward_inputs(c, &args, encode_input, ARCH_WANT_HIDDEN, f.outputs, add_features, &f,
                            err));
    *out = json_is(c->input, JSON_ARRAY) ? f.outputs : &f.outputs->a.items[0];
    return MLTF_OK;
}

static mltf_status load_modules(pipeline *p, mltf_err *err)
{
    embed_modules *m = NULL; // for embeddings of whole texts; this task does not look at it
    TRY(embed_modules_load(&m, p->folder, p->info->hidden, err));
    p->state = m;
    return MLTF_OK;
}

static void release_modules(pipeline *p)
{
    embed_modules_free(p->state);
}

const task_def task_feature_extraction = {
    .info = {"feature-extraction", "FeatureExtractionPipeline", NULL, "AutoModel", false},
    .class_suffix = "Model",
    .init = load_modules,
    .release = release_modules,
    .call = call,
};
