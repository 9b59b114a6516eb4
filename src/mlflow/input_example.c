#include "mlflow/input_example.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "mlflow/scoring.h"

mltf_status input_example_parse(mltf_arena *a, pv *out, const char *text, mltf_err *err)
{
    json *v = NULL;
    TRY(json_parse_option(a, &v, text, strlen(text), "the input example", err));
    const json *split = json_len(v) == 1 ? json_get(v, "dataframe_split") : NULL;
    const json *records = json_len(v) == 1 ? json_get(v, "dataframe_records") : NULL;
    if (split || records)
        return scoring_frame(a, out, split ? split : records, split != NULL, NULL, err);
    *out = pv_from_json(a, v);
    return MLTF_OK;
}

mltf_status input_example_zero_shot(mltf_arena *a, pv *example, mltf_err *err)
{
    const pv *labels = pv_get(example, "candidate_labels");
    if (!labels || labels->kind != PV_LIST) return MLTF_OK;
    mltf_buf b = MLTF_BUF_INIT;
    json_write(&b, pv_to_json(a, labels), NULL);
    const mltf_str text = arena_str(a, buf_str(&b));
    mltf_buf_release(&b);
    pv copy = pv_dict(a, example->dict.n);
    for (size_t i = 0; i < example->dict.n; i++) {
        const pv_pair *pair = &example->dict.pairs[i];
        pv_dict_add(&copy, pair->key, &pair->value == labels ? pv_str(text) : pair->value);
    }
    *example = copy;
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

static void nan_to_null(mltf_arena *a, json *v)
{
    if (json_is(v, JSON_DOUBLE) && isnan(v->d)) *v = *json_new_null(a);
    for (size_t i = 0; json_is(v, JSON_ARRAY) && i < v->a.n; i++) nan_to_null(a, &v->a.items[i]);
    for (size_t i = 0; json_is(v, JSON_OBJECT) && i < v->o.n; i++)
        nan_to_null(a, &v->o.members[i].value);
}

/* NaN in arrays and frames is stored as null. */
static json *without_nan(mltf_arena *a, const pv *v)
{
    json *out = pv_to_json(a, v);
    if (!a->failed) nan_to_null(a, out);
    return out;
}

static bool default_names(const pv_frame *f)
{
    for (size_t c = 0; c < f->n_cols; c++)
        if (f->names[c].kind != PV_INT || f->names[c].i != (int64_t)c) return false;
    return true;
}

static json *frame_split(mltf_arena *a, const pv_frame *f, bool names)
{
    json *out = json_new_object(a), *columns = json_new_array(a), *data = json_new_array(a);
    for (size_t c = 0; c < f->n_cols; c++) json_push(a, columns, pv_to_json(a, &f->names[c]));
    for (size_t r = 0; r < f->n_rows; r++) {
        json *row = json_new_array(a);
        for (size_t c = 0; c < f->n_cols; c++) json_push(a, row, without_nan(a, pv_cell(f, c, r)));
        json_push(a, data, row);
    }
    if (names) json_set(a, out, "columns", columns);
    json_set(a, out, "data", data);
    return out;
}

static bool holds_array(const pv *v)
{
    if (v->kind == PV_ARRAY) return true;
    if (v->kind != PV_DICT || v->dict.n == 0) return false;
    for (size_t i = 0; i < v->dict.n; i++)
        if (v->dict.pairs[i].value.kind != PV_ARRAY) return false;
    return true;
}

static bool contains_array(const pv *v)
{
    if (v->kind == PV_ARRAY) return true;
    for (size_t i = 0; v->kind == PV_LIST && i < v->list.n; i++)
        if (contains_array(&v->list.items[i])) return true;
    for (size_t i = 0; v->kind == PV_DICT && i < v->dict.n; i++)
        if (contains_array(&v->dict.pairs[i].value)) return true;
    return false;
}

static mltf_status check(mltf_arena *a, const pv *v, mltf_err *err)
{
    bool mixed = false;
    for (size_t i = 0; v->kind == PV_DICT && i < v->dict.n; i++)
        mixed |= v->dict.pairs[i].value.kind == PV_ARRAY;
    if (mixed && !holds_array(v))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Mixed types in dictionary are not supported as input examples. Found "
                         "numpy arrays and other types.");
    if (v->kind == PV_LIST && contains_array(v))
        return mltf_fail(err, MLTF_INTERNAL,
                         "Multidimensional arrays (aka tensors) are not supported. Numpy arrays in "
                         "list are not supported as input examples.");
    if (v->kind != PV_OTHER && v->kind != PV_NONE && v->kind != PV_TUPLE) return MLTF_OK;
    return mltf_fail(err, MLTF_INVALID_INPUT,
                     "Expected one of the following types:\n- pandas.DataFrame\n- numpy.ndarray\n- "
                     "dictionary of (name -> "
                     "numpy.ndarray)\n- scipy.sparse.csr_matrix\n- scipy.sparse.csc_matrix\n- "
                     "dict\n- list\n- scalars\n- "
                     "datetime.datetime\n- pydantic model instance\nbut got '%s'",
                     pv_type_repr(a, v));
}

mltf_status input_example_write(mltf_arena *a, const char *dir, const pv *example, const pv *params,
                                json **info, mltf_err *err)
{
    TRY(check(a, example, err));
    const bool with_params = params && params->kind == PV_DICT; // {} is stored too
    json *meta = json_new_object(a);
    json_set(a, meta, "artifact_path", json_new_cstr(a, "input_example.json"));
    json_set(a, meta, "serving_input_path", json_new_cstr(a, "serving_input_example.json"));
    const char *type = "json_object", *wrapper = "inputs";
    json *value;
    if (example->kind == PV_FRAME) {
        const bool plain = default_names(example->frame);
        value = frame_split(a, example->frame, !plain);
        json_set(a, meta, "pandas_orient", json_new_cstr(a, plain ? "values" : "split"));
        type = "dataframe";
        wrapper = "dataframe_split";
    } else {
        value = holds_array(example) ? without_nan(a, example) : pv_to_json(a, example);
        if (holds_array(example)) type = "ndarray";
    }
    json_set(a, meta, "type", json_new_cstr(a, type));
    const bool llm =
        example->kind == PV_DICT &&
        (pv_get(example, "messages") || pv_get(example, "prompt") || pv_get(example, "input"));

    json *stored = value, *serving = json_new_object(a);
    json *given = with_params ? pv_to_json(a, params) : NULL;
    if (with_params) {
        if (params->dict.n > 0) json_set(a, meta, "params", json_new_cstr(a, "true"));
        stored = json_new_object(a);
        json_set(a, stored, "inputs", value);
        json_set(a, stored, "params", given);
    }
    if (llm) {
        for (size_t i = 0; i < json_len(value); i++)
            json_set_str(a, serving, value->o.members[i].key, &value->o.members[i].value);
        for (size_t i = 0; i < json_len(given); i++)
            json_set_str(a, serving, given->o.members[i].key, &given->o.members[i].value);
    } else {
        json_set(a, serving, wrapper, value);
        if (with_params) json_set(a, serving, "params", given);
    }
    if (a->failed) return mltf_fail_memory(err);
    const json_write_options line = {.ensure_ascii = true},
                             lines = {.ensure_ascii = true, .indent = 2};
    TRY(json_write_file(dir, "input_example.json", stored, &line, err));
    TRY(json_write_file(dir, "serving_input_example.json", serving, &lines, err));
    *info = meta;
    return MLTF_OK;
}
