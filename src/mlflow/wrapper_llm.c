/* Rows of llm/v1: from a frame or an object to one input and one set of options a row. MLflow takes the first
 * row's options for all; here each row has its own (docs/differences.md). */
#include "mlflow/llm_v1.h"
#include "mlflow/wrapper.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The rows as dicts; arrays become lists, NaN None. */
static mltf_status rows_of(wrap_call *w, const pv *data, pv *rows, mltf_err *err)
{
    if (data->kind == PV_FRAME)
        *rows = pv_frame_records(w->a, data->frame);
    else if (data->kind == PV_DICT) {
        *rows = pv_list(w->a, 1);
        if (rows->list.n) rows->list.items[0] = *data;
    } else
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         "Input data for a Transformer model logged with `llm/v1/chat` or "
                         "`llm/v1/completions`task is expected "
                         "to be a pandas DataFrame or a dictionary, but got: %s.",
                         pv_type_repr(w->a, data));
    for (size_t r = 0; r < rows->list.n; r++) {
        const pv given = rows->list.items[r];
        pv row = pv_dict(w->a, given.dict.n);
        for (size_t i = 0; i < given.dict.n; i++) {
            pv v = given.dict.pairs[i].value;
            if (v.kind == PV_ARRAY)
                v = pv_array_tolist(w->a, &v);
            else if (pv_is_nan(&v))
                v = pv_none();
            pv_dict_add(&row, given.dict.pairs[i].key, v);
        }
        rows->list.items[r] = row;
    }
    return w->a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

static const json *row_options(wrap_call *w, const pv *row, const char *input)
{
    json *options = pv_to_json(w->a, &w->options);
    for (size_t i = 0; i < row->dict.n; i++) {
        const pv_pair *pair = &row->dict.pairs[i];
        if (pair->key.kind != PV_STR || str_is(pair->key.s, input) || pair->value.kind == PV_NONE)
            continue;
        json_set_str(w->a, options, pair->key.s, pv_to_json(w->a, &pair->value));
    }
    return options;
}

static mltf_status check_messages(wrap_call *w, const pv *v, mltf_err *err)
{
    if (v->kind == PV_LIST && pv_all_dict(v)) return MLTF_OK;
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "Input messages should be list of dictionaries, but got: %s.",
                     pv_type_repr(w->a, v));
}

static mltf_status check_prompt(const pv *v, mltf_err *err)
{
    if (v->kind == PV_STR) return MLTF_OK;
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "Invalid data submission. Ensure all elements in the list are strings or "
                     "dictionaries. If dictionaries "
                     "are supplied, all keys in the dictionaries must be strings and values must "
                     "be either str or List[str].");
}

/* Embeddings: several rows of one text, or one row with a list of texts; without a schema a bare text. */
static mltf_status embedding_texts(wrap_call *w, const pv *data, pv *list, mltf_err *err)
{
    const pv *bare = data->kind == PV_DICT                           ? pv_get(data, "input")
                     : data->kind == PV_STR || data->kind == PV_LIST ? data
                                                                     : NULL;
    pv rows = pv_none();
    if (!bare) {
        TRY(rows_of(w, data, &rows, err));
        *list = pv_list(w->a, rows.list.n);
        for (size_t r = 0; r < list->list.n; r++) {
            const pv *v = pv_get(&rows.list.items[r], "input");
            if (v) list->list.items[r] = *v;
        }
        if (list->list.n == 1 && list->list.items[0].kind == PV_LIST) *list = list->list.items[0];
    } else if (bare->kind == PV_LIST)
        *list = *bare;
    else {
        *list = pv_list(w->a, 1);
        if (list->list.n) list->list.items[0] = *bare;
    }
    for (size_t i = 0; i < list->list.n; i++)
        if (list->list.items[i].kind == PV_NONE)
            return check_prompt(&list->list.items[i], err);
        else if (!pv_is_str(&list->list.items[i]))
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "text input must be of type `str` (single example), `list[str]` "
                             "(batch or single pretokenized "
                             "example) or `list[list[str]]` (batch of pretokenized examples).");
    return MLTF_OK;
}

static mltf_status run(wrap_call *w, const llm_row *rows, size_t n, pv *out, mltf_err *err)
{
    if (w->a->failed) return mltf_fail_memory(err);
    json *reply = NULL;
    TRY(llm_v1_predict(w->m, w->m->inference_task, rows, n, w->ctl, w->a, &reply, err));
    *out = pv_from_json(w->a, reply);
    return MLTF_OK;
}

static mltf_status embeddings(wrap_call *w, const pv *data, pv *out, mltf_err *err)
{
    pv list = pv_none();
    TRY(embedding_texts(w, data, &list, err));
    llm_row *rows = arena_calloc(w->a, list.list.n ? list.list.n : 1, sizeof *rows);
    const json *options = pv_to_json(w->a, &w->options);
    for (size_t i = 0; rows && i < list.list.n; i++)
        rows[i] = (llm_row){pv_to_json(w->a, &list.list.items[i]), options};
    return run(w, rows, list.list.n, out, err);
}

mltf_status wrap_llm(wrap_call *w, const pv *data, pv *out, mltf_err *err)
{
    const char *task = w->m->inference_task;
    if (strcmp(task, "llm/v1/embeddings") == 0) return embeddings(w, data, out, err);
    const bool chat = strcmp(task, "llm/v1/chat") == 0;
    const char *input = chat ? "messages" : "prompt";
    pv list = pv_none();
    TRY(rows_of(w, data, &list, err));
    llm_row *rows = arena_calloc(w->a, list.list.n ? list.list.n : 1, sizeof *rows);
    if (!rows) return mltf_fail_memory(err);
    for (size_t i = 0; i < list.list.n; i++) {
        pv *v = (pv *)pv_get(&list.list.items[i], input);
        if (!v)
            return mltf_fail(
                err, MLTF_BAD_REQUEST,
                "Transformer model saved with `%s` task excepts `%s`to be passed as input data.",
                task, input);
        TRY(chat ? check_messages(w, v, err) : check_prompt(v, err));
        if (!chat) TRY(wrap_format_template(w, v, err));
        rows[i] = (llm_row){pv_to_json(w->a, v), row_options(w, &list.list.items[i], input)};
    }
    return run(w, rows, list.list.n, out, err);
}
