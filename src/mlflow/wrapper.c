#include "mlflow/wrapper.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mlflow/prompt_template.h"

static wrap_kind kind_of_task(const char *task)
{
    static const struct {
        const char *task;
        wrap_kind kind;
    } rows[] = {
        {"text-generation", WRAP_TEXT_GENERATION},
        {"text2text-generation", WRAP_TEXT2TEXT},
        {"summarization", WRAP_SUMMARIZATION},
        {"translation", WRAP_TRANSLATION},
        {"fill-mask", WRAP_FILL_MASK},
        {"text-classification", WRAP_TEXT_CLASSIFICATION},
        {"token-classification", WRAP_TOKEN_CLASSIFICATION},
        {"zero-shot-classification", WRAP_ZERO_SHOT},
        {"question-answering", WRAP_QUESTION_ANSWERING},
        {"table-question-answering", WRAP_TABLE_QA},
        {"feature-extraction", WRAP_FEATURE_EXTRACTION},
        {"conversational", WRAP_CONVERSATIONAL},
        {"sentence-embedding", WRAP_SENTENCE_EMBEDDING},
        {"sentence-similarity", WRAP_SENTENCE_PAIRS},
        {"text-ranking", WRAP_SENTENCE_PAIRS},
        {"automatic-speech-recognition", WRAP_SPEECH},
        {"audio-classification", WRAP_AUDIO_CLASSIFICATION},
        {"image-classification", WRAP_IMAGE_CLASSIFICATION},
    };
    if (strncmp(task, "translation_", 12) == 0) return WRAP_TRANSLATION;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(task, rows[i].task) == 0) return rows[i].kind;
    return WRAP_OTHER;
}

void model_warn(const mltf_model *m, const char *fmt, ...)
{
    if (!m->log) return;
    char line[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    m->log(m->log_user, line);
}

/* ---- options ------------------------------------------------------------------------------- */

static pv merge_options(mltf_arena *a, const json *config, const pv *params)
{
    const size_t n_params = params && params->kind == PV_DICT ? params->dict.n : 0;
    pv out = pv_dict(a, json_len(config) + n_params);
    for (size_t i = 0; config && i < json_len(config); i++)
        pv_dict_add(&out, pv_str(config->o.members[i].key),
                    pv_from_json(a, &config->o.members[i].value));
    const pv saved = out; // params differ from each other: what they may replace is here
    for (size_t i = 0; i < n_params; i++) {
        pv *old = (pv *)pv_get_key(&saved, &params->dict.pairs[i].key);
        if (old)
            *old = params->dict.pairs[i].value;
        else
            pv_dict_add(&out, params->dict.pairs[i].key, params->dict.pairs[i].value);
    }
    return out;
}

static bool take_flag(pv *options, const char *name, bool fallback)
{
    bool value = fallback;
    size_t n = 0;
    for (size_t i = 0; i < options->dict.n; i++) {
        const pv_pair pair = options->dict.pairs[i];
        if (pair.key.kind == PV_STR && str_is(pair.key.s, name))
            value = pair.value.kind == PV_BOOL  ? pair.value.b
                    : pair.value.kind == PV_INT ? pair.value.i != 0
                                                : pair.value.kind != PV_NONE;
        else
            options->dict.pairs[n++] = pair;
    }
    options->dict.n = n;
    return value;
}

/* ---- input kinds --------------------------------------------------------------------------- */

static mltf_status check_dict(mltf_arena *a, const pv *v, mltf_err *err)
{
    mltf_buf bad = MLTF_BUF_INIT;
    bool any_array = false, all_arrays = true;
    for (size_t i = 0; i < v->dict.n; i++) {
        const bool array = v->dict.pairs[i].value.kind == PV_ARRAY;
        any_array |= array;
        all_arrays &= array;
    }
    (void)a;
    if (any_array && !all_arrays)
        return mltf_fail(err, MLTF_INTERNAL, "The dictionary values are not all numpy.ndarray.");
    for (size_t i = 0; i < v->dict.n; i++) {
        const pv *x = &v->dict.pairs[i].value;
        bool ok = x->kind == PV_ARRAY || x->kind == PV_STR || x->kind == PV_BYTES;
        if (x->kind == PV_LIST) {
            ok = true;
            for (size_t k = 0; k < x->list.n; k++)
                if (x->list.items[k].kind != PV_STR && x->list.items[k].kind != PV_BYTES)
                    ok = false;
        }
        if (ok) continue;
        if (bad.n) buf_puts(&bad, ", ");
        pv_repr(&bad, &v->dict.pairs[i].key);
    }
    mltf_status st = MLTF_OK;
    if (bad.n)
        st = mltf_fail(err, MLTF_INVALID_INPUT,
                       "Invalid values in dictionary. If passing a dictionary containing strings, "
                       "all values must be "
                       "either strings or lists of strings. If passing a dictionary containing "
                       "numeric values, the data "
                       "must be enclosed in a numpy.ndarray. The following keys in the input "
                       "dictionary are invalid: [%s]",
                       bad.p);
    mltf_buf_release(&bad);
    return st;
}

static mltf_status check_kind(const pv *v, mltf_err *err)
{
    if (v->kind == PV_DICT || v->kind == PV_STR || v->kind == PV_BYTES || v->kind == PV_ARRAY)
        return MLTF_OK;
    if (v->kind == PV_LIST) {
        for (size_t i = 0; i < v->list.n; i++)
            if (v->list.items[i].kind != PV_STR && v->list.items[i].kind != PV_DICT)
                return mltf_fail(err, MLTF_INVALID_INPUT,
                                 "Invalid data submission. Ensure all elements in the list are "
                                 "strings or dictionaries. If "
                                 "dictionaries are supplied, all keys in the dictionaries must be "
                                 "strings and values must be "
                                 "either str or List[str].");
        return MLTF_OK;
    }
    return mltf_fail(
        err, MLTF_INVALID_INPUT,
        "Input data must be either a pandas.DataFrame, a string, bytes, List[str], List[Dict[str, "
        "str]], "
        "List[Dict[str, Union[str, List[str]]]], or Dict[str, Union[str, List[str]]].");
}

/* A list of dicts becomes the list of each dict's first value, for tasks of plain texts. */
static void first_values(mltf_arena *a, pv *v)
{
    pv list = pv_list(a, v->list.n);
    for (size_t i = 0; i < list.list.n; i++)
        list.list.items[i] =
            v->list.items[i].dict.n ? v->list.items[i].dict.pairs[0].value : pv_none();
    *v = list;
}

static void unwrap_rows(const wrap_call *w, pv *v)
{
    if (v->kind != PV_LIST || v->list.n == 0 || !pv_all_dict(v)) return;
    const pv *first = &v->list.items[0];
    switch (w->kind) {
    case WRAP_FILL_MASK:
    case WRAP_TEXT_GENERATION:
    case WRAP_TOKEN_CLASSIFICATION:
    case WRAP_TRANSLATION:
    case WRAP_SUMMARIZATION:
        first_values(w->a, v);
        break;
    case WRAP_TEXT2TEXT:
        if (first->dict.n && first->dict.pairs[0].key.kind == PV_INT) first_values(w->a, v);
        break;
    default:
        break;
    }
}

/* ---- the call ------------------------------------------------------------------------------ */

mltf_status wrap_format_template(wrap_call *w, pv *data, mltf_err *err)
{
    const char *tpl = w->m->prompt_template;
    if (!tpl || !w->use_template) return MLTF_OK;
    if (data->kind != PV_STR && !pv_all_str(data))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Prompt templating is only supported for data of type str or List[str]. "
                         "Got %s instead.",
                         pv_type_repr(w->a, data));
    const size_t n = data->kind == PV_STR ? 1 : data->list.n;
    pv list = pv_list(w->a, n);
    for (size_t i = 0; i < list.list.n; i++) {
        mltf_buf b = MLTF_BUF_INIT;
        const mltf_str prompt = data->kind == PV_STR ? data->s : data->list.items[i].s;
        const mltf_status st = prompt_template_apply(&b, tpl, prompt, err);
        if (st == MLTF_OK) list.list.items[i] = pv_str(arena_str(w->a, buf_str(&b)));
        mltf_buf_release(&b);
        if (st) return st;
    }
    if (w->a->failed) return mltf_fail_memory(err);
    *data = data->kind == PV_STR ? list.list.items[0] : list;
    return MLTF_OK;
}

/* bytes have no JSON: as a number they meet the pipelines' own words for what is no text. */
static json *pipeline_value(mltf_arena *a, const pv *v)
{
    if (v->kind == PV_BYTES) return json_new_int(a, 0);
    if (v->kind == PV_LIST) {
        json *out = json_new_array(a);
        for (size_t i = 0; i < v->list.n; i++)
            json_push(a, out, pipeline_value(a, &v->list.items[i]));
        return out;
    }
    return pv_to_json(a, v);
}

static json *keywords(mltf_arena *a, const pv *options)
{
    return pv_to_json(a, options);
}

/* question-answering takes lists as keywords: [{q, c}, …] becomes {question: […], context: […]}. */
static json *transpose(mltf_arena *a, const pv *list)
{
    json *out = json_new_object(a);
    const pv *first = &list->list.items[0];
    for (size_t k = 0; k < first->dict.n; k++) {
        json *column = json_new_array(a);
        for (size_t i = 0; i < list->list.n; i++) {
            const pv *v = pv_get_key(&list->list.items[i], &first->dict.pairs[k].key);
            json_push(a, column, v ? pipeline_value(a, v) : json_new_null(a));
        }
        json_set_str(a, out, first->dict.pairs[k].key.s, column);
    }
    return out;
}

/* MLflow's words, then which of the params it was and why: there the chained exception has that. */
mltf_status wrap_params_not_valid(const char *pipeline_class, const char *why, mltf_err *err)
{
    return mltf_fail(
        err, MLTF_INVALID_INPUT,
        "The params provided to the `predict` method are not valid for pipeline %s. %s",
        pipeline_class, why);
}

static mltf_status call_pipeline(wrap_call *w, const pv *data, json **raw, mltf_err *err)
{
    const bool qa = w->kind == WRAP_QUESTION_ANSWERING;
    const json *input = qa && pv_all_dict(data) && data->list.n > 0 ? transpose(w->a, data)
                                                                    : pipeline_value(w->a, data);
    const json *kwargs = keywords(w->a, &w->options);
    if (w->a->failed) return mltf_fail_memory(err);
    mltf_err why = {0};
    const mltf_status st = wrap_is_instruct(w->m)
                               ? wrap_call_instruct(w, data, raw, &why)
                               : pipeline_call(w->m->pipe, input, kwargs, w->ctl, w->a, raw, &why);
    if (st == MLTF_OK) return MLTF_OK;
    // MLflow rewrites the complaint of generate() alone; other pipelines raise a TypeError
    if (st == MLTF_INVALID_INPUT && pipeline_gen(w->m->pipe))
        return wrap_params_not_valid(w->m->instance_type, why.msg, err);
    if (err) *err = why;
    if (st == MLTF_INVALID_INPUT && err) err->status = MLTF_PREDICT_FAILED;
    return st == MLTF_INVALID_INPUT ? MLTF_PREDICT_FAILED : st;
}

/* Rows, each a call of its own: one row's answer alone, several in a list. */
static mltf_status predict_rows(wrap_call *w, const pv *rows, pv *out, mltf_err *err)
{
    pv all = pv_list(w->a, rows->list.n);
    for (size_t i = 0; i < all.list.n; i++) {
        json *raw = NULL;
        TRY(call_pipeline(w, &rows->list.items[i], &raw, err));
        all.list.items[i] = pv_from_json(w->a, raw);
    }
    *out = all.list.n == 1 ? all.list.items[0] : all;
    return w->a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

mltf_status wrapper_predict(const mltf_model *m, mltf_arena *a, const pv *data, const pv *params,
                            bool use_template, const call_control *ctl, pv *out, mltf_err *err)
{
    wrap_call w = {
        .m = m, .kind = kind_of_task(m->task), .a = a, .ctl = ctl, .use_template = use_template};
    if (params && params->kind != PV_DICT && params->kind != PV_NONE)
        return mltf_fail(err, MLTF_INVALID_INPUT, "Parameters must be a dictionary. Got type '%s'.",
                         pv_class(params));
    if (params && params->kind == PV_DICT && params->dict.n > 0)
        model_warn(m, "params provided to the `predict` method will override the inference "
                      "configuration saved with the "
                      "model. If the params provided are not valid for the pipeline, "
                      "MlflowException will be raised.");
    w.options = merge_options(a, m->config, params);
    if (m->inference_task) return wrap_llm(&w, data, out, err);
    if (w.kind == WRAP_CONVERSATIONAL) return wrap_conversation(&w, data, out, err);

    pv v = data->kind == PV_FRAME ? pv_frame_records(a, data->frame) : *data;
    TRY(check_kind(&v, err));
    unwrap_rows(&w, &v);
    TRY(wrap_unwrap(&w, &v, err));
    if (v.kind == PV_DICT) TRY(check_dict(a, &v, err));
    const bool rows = pv_all_dict(&v);
    for (size_t i = 0; rows && i < v.list.n; i++) TRY(check_dict(a, &v.list.items[i], err));
    TRY(wrap_prepare(&w, &v, err));
    w.include_prompt = take_flag(&w.options, "include_prompt", true);
    w.collapse_whitespace = take_flag(&w.options, "collapse_whitespace", false);

    // Zero-shot rows may differ in labels and template: one call a row.
    if (w.kind == WRAP_ZERO_SHOT && v.kind == PV_LIST) {
        json *all = json_new_array(a);
        for (size_t i = 0; i < v.list.n; i++) {
            json *raw = NULL;
            TRY(call_pipeline(&w, &v.list.items[i], &raw, err));
            if (json_is(raw, JSON_ARRAY))
                for (size_t k = 0; k < raw->a.n; k++) json_push(a, all, &raw->a.items[k]);
            else
                json_push(a, all, raw);
        }
        return wrap_finish(&w, &v, all, out, err);
    }
    if (w.kind == WRAP_SENTENCE_PAIRS && pv_all_dict(&v) && v.list.n > 0 &&
        !pv_get(&v.list.items[0], "text"))
        return predict_rows(&w, &v, out, err);
    json *raw = NULL;
    TRY(call_pipeline(&w, &v, &raw, err));
    return wrap_finish(&w, &v, raw, out, err);
}

mltf_status pyfunc_predict(const mltf_model *m, mltf_arena *a, const pv *data, const pv *params,
                           const call_control *ctl, pv *out, mltf_err *err)
{
    const char *warning = NULL;
    pv checked = *data, options = pv_none();
    if (!m->mlmodel && !m->sig.params) { // a bare checkpoint: nothing has settled which there are
        if (params) options = *params;
    } else
        TRY(params_enforce(a, &options, params, m->sig.params, &warning, err));
    if (warning) model_warn(m, "%s", warning);
    if (m->sig.inputs) {
        const char *extra = NULL;
        TRY(schema_enforce(a, &checked, data, m->sig.inputs, &extra, err));
        if (extra)
            model_warn(m,
                       "Found extra inputs in the model input that are not defined in the model "
                       "signature: `%s`. These "
                       "inputs will be ignored.",
                       extra);
    }
    return wrapper_predict(m, a, &checked, &options, true, ctl, out, err);
}
