/* What each task takes: the checks and conversions of MLflow's wrapper before the pipeline call. */
#include "mlflow/pyliteral.h"
#include "mlflow/wrapper.h"

/* The caller's data stay as they are: what is converted in place is converted in a copy. */
static bool own_pairs(mltf_arena *a, pv *dict)
{
    pv copy = pv_dict(a, dict->dict.n);
    for (size_t i = 0; i < dict->dict.n; i++)
        pv_dict_add(&copy, dict->dict.pairs[i].key, dict->dict.pairs[i].value);
    *dict = copy;
    return copy.dict.pairs != NULL;
}

static mltf_status texts_only(wrap_call *w, const pv *v, mltf_err *err)
{
    if (v->kind != PV_STR && v->kind != PV_LIST)
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The input data is of an incorrect type. %s is invalid. Must be either "
                         "string or List[str]",
                         pv_type_repr(w->a, v));
    if (v->kind == PV_LIST && !pv_all_str(v))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "If supplying a list, all values must be of string type.");
    return MLTF_OK;
}

/* ---- text classification ------------------------------------------------------------------- */

static mltf_status check_pair_keys(const pv *dict, mltf_err *err)
{
    bool ints = true, odd = false;
    for (size_t i = 0; i < dict->dict.n; i++) {
        const pv *key = &dict->dict.pairs[i].key;
        if (key->kind != PV_INT) ints = false;
        if (key->kind != PV_STR || (!str_is(key->s, "text") && !str_is(key->s, "text_pair")))
            odd = true;
    }
    if (odd && !ints)
        return mltf_fail(err, MLTF_INTERNAL,
                         "Text Classification pipelines may only define dictionary inputs with "
                         "keys defined as {'text', "
                         "'text_pair'}");
    return MLTF_OK;
}

/* Texts that are all written as Python dicts with the pipeline's keys mean such dicts: the one way to send a pair
 * through a signature of one text. Other literals stay text (MLflow makes values of them and then fails). */
static void pairs_from_literals(mltf_arena *a, pv *list)
{
    pv parsed = pv_list(a, list->list.n);
    for (size_t i = 0; i < parsed.list.n; i++) {
        pv *v = &parsed.list.items[i];
        if (!pv_is_str(&list->list.items[i]) || !pyliteral_parse(a, v, list->list.items[i].s))
            return;
        if (v->kind != PV_DICT || v->dict.n == 0 || check_pair_keys(v, NULL)) return;
        if (v->dict.pairs[0].key.kind == PV_INT) return;
    }
    if (parsed.list.n) *list = parsed;
}

static mltf_status unwrap_text_classification(wrap_call *w, pv *v, mltf_err *err)
{
    if (v->kind == PV_STR) return MLTF_OK;
    if (v->kind == PV_DICT) return check_pair_keys(v, err);
    if (v->kind == PV_LIST && pv_all_str(v)) return MLTF_OK;
    if (v->kind != PV_LIST || !pv_all_dict(v))
        return mltf_fail(err, MLTF_INTERNAL,
                         "An unsupported data type has been passed for Text Classification "
                         "inference. Only str, list of "
                         "str, dict, and list of dict are supported.");
    for (size_t i = 0; i < v->list.n; i++) TRY(check_pair_keys(&v->list.items[i], err));
    const pv *first = &v->list.items[0];
    if (first->dict.n && first->dict.pairs[0].key.kind == PV_INT &&
        first->dict.pairs[0].key.i == 0) {
        pv texts = pv_list(w->a, v->list.n);
        for (size_t i = 0; i < texts.list.n; i++) {
            const pv *row = &v->list.items[i];
            if (row->dict.n) texts.list.items[i] = row->dict.pairs[0].value;
        }
        *v = texts;
        pairs_from_literals(w->a, v);
    }
    return MLTF_OK;
}

/* ---- text2text ----------------------------------------------------------------------------- */

static mltf_status prepare_text2text(wrap_call *w, pv *v, mltf_err *err)
{
    if (v->kind == PV_DICT) {
        bool texts = true, names = true;
        for (size_t i = 0; i < v->dict.n; i++) {
            if (!pv_is_str(&v->dict.pairs[i].value)) texts = false;
            if (v->dict.pairs[i].key.kind != PV_STR) names = false;
        }
        if (texts && names && !pv_get(v, "inputs")) { // "context: … answer: …"
            mltf_buf b = MLTF_BUF_INIT;
            for (size_t i = 0; i < v->dict.n; i++) {
                if (i > 0) buf_putc(&b, ' ');
                buf_put_str(&b, v->dict.pairs[i].key.s);
                buf_puts(&b, ": ");
                buf_put_str(&b, v->dict.pairs[i].value.s);
            }
            *v = pv_str(arena_str(w->a, buf_str(&b)));
            mltf_buf_release(&b);
            return MLTF_OK;
        }
        if (texts) {
            pv list = pv_list(w->a, v->dict.n);
            for (size_t i = 0; i < list.list.n; i++) list.list.items[i] = v->dict.pairs[i].value;
            *v = list;
            return MLTF_OK;
        }
    }
    if (v->kind == PV_LIST && pv_all_dict(v) && v->list.n > 0) {
        pv list = pv_list(w->a, v->list.n);
        for (size_t i = 0; i < list.list.n; i++) {
            list.list.items[i] = v->list.items[i];
            TRY(prepare_text2text(w, &list.list.items[i], err));
        }
        *v = list;
        return MLTF_OK;
    }
    if (v->kind == PV_STR || pv_all_str(v)) return MLTF_OK;
    mltf_buf b = MLTF_BUF_INIT;
    pv_print(&b, v);
    const bool cut = b.n > 100;
    mltf_fail(err, MLTF_INVALID_INPUT,
              "An invalid type has been supplied: %.*s%s (type: %s). Please supply a Dict[str, "
              "str], str, List[str], or a "
              "List[Dict[str, str]] for a Text2Text Pipeline.",
              (int)(cut ? 97 : b.n), b.p ? b.p : "", cut ? "..." : "", pv_class(v));
    mltf_buf_release(&b);
    return MLTF_INVALID_INPUT;
}

/* ---- questions ----------------------------------------------------------------------------- */

static size_t list_length(const pv *v)
{
    return v && v->kind == PV_LIST ? v->list.n : 0;
}

/* A row whose question or context is a list stands for one pair an item; a single text goes with each. */
static mltf_status count_pairs(wrap_call *w, size_t *n, const pv *row, mltf_err *err)
{
    if (row->kind != PV_DICT)
        return mltf_fail(
            err, MLTF_INVALID_INPUT,
            "An invalid type has been supplied. Must be either List[Dict[str, str]] or "
            "Dict[str, str]. %s is not supported.",
            pv_type_repr(w->a, row));
    const pv *question = pv_get(row, "question"), *context = pv_get(row, "context");
    if (!question || !context)
        return mltf_fail(err, MLTF_INTERNAL,
                         "Invalid keys were submitted. Keys must be exclusively {'question', "
                         "'context'}");
    const size_t q = list_length(question), c = list_length(context);
    if (question->kind == PV_LIST && context->kind == PV_LIST && q != c)
        return mltf_fail(err, MLTF_PREDICT_FAILED,
                         "Questions and contexts don't have the same lengths");
    *n += question->kind == PV_LIST ? q : context->kind == PV_LIST ? c : 1;
    return MLTF_OK;
}

static void add_pairs(wrap_call *w, pv *out, size_t *at, const pv *row)
{
    const size_t q = list_length(pv_get(row, "question")), c = list_length(pv_get(row, "context"));
    const size_t n = q > c ? q : c;
    if (pv_get(row, "question")->kind != PV_LIST && pv_get(row, "context")->kind != PV_LIST) {
        out->list.items[(*at)++] = *row;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        pv pair = pv_dict(w->a, row->dict.n);
        for (size_t k = 0; k < row->dict.n; k++) {
            const pv *v = &row->dict.pairs[k].value;
            pv_dict_add(&pair, row->dict.pairs[k].key, list_length(v) == n ? v->list.items[i] : *v);
        }
        out->list.items[(*at)++] = pair;
    }
}

static mltf_status prepare_question(wrap_call *w, pv *v, mltf_err *err)
{
    const bool rows = v->kind == PV_LIST;
    const size_t n = rows ? v->list.n : 1;
    size_t total = 0, at = 0;
    for (size_t i = 0; i < n; i++) TRY(count_pairs(w, &total, rows ? &v->list.items[i] : v, err));
    pv pairs = pv_list(w->a, total);
    if (!pairs.list.items) return mltf_fail_memory(err);
    for (size_t i = 0; i < n; i++) add_pairs(w, &pairs, &at, rows ? &v->list.items[i] : v);
    *v = !rows && total == 1 ? pairs.list.items[0] : pairs;
    return w->a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* Rows of one table become one call with all their queries, as MLflow does; other rows stay apart. */
static mltf_status merge_table_rows(wrap_call *w, pv *v, mltf_err *err)
{
    if (v->kind != PV_LIST || !pv_all_dict(v) || v->list.n == 0) return MLTF_OK;
    const pv *first = &v->list.items[0];
    pv merged = pv_dict(w->a, first->dict.n);
    for (size_t k = 0; k < first->dict.n; k++) {
        const pv *key = &first->dict.pairs[k].key;
        pv values = pv_list(w->a, v->list.n);
        size_t n = 0;
        for (size_t i = 0; i < v->list.n; i++) {
            const pv *x = pv_get_key(&v->list.items[i], key);
            if (!x || v->list.items[i].dict.n != first->dict.n)
                return mltf_fail(err, MLTF_INVALID_INPUT,
                                 "Unable to parse the input. The keys within each dictionary of "
                                 "the parsed input are not "
                                 "consistentamong the dictionaries.");
            bool seen = false;
            for (size_t s = 0; s < n; s++) seen |= pv_equal(&values.list.items[s], x);
            if (!seen && values.list.items) values.list.items[n++] = *x;
        }
        values.list.n = n;
        pv_dict_add(&merged, *key, n == 1 ? values.list.items[0] : values);
    }
    *v = merged;
    return MLTF_OK;
}

static mltf_status parse_table(wrap_call *w, pv *table, mltf_err *err)
{
    if (table->kind == PV_DICT) return MLTF_OK;
    if (table->kind == PV_STR) {
        json *v = NULL;
        if (json_parse_in(w->a, &v, table->s.p, table->s.n, NULL, NULL) == MLTF_OK &&
            (json_is(v, JSON_OBJECT) || json_is(v, JSON_ARRAY))) {
            *table = pv_from_json(w->a, v);
            return MLTF_OK;
        }
        pv literal = pv_none();
        if (pyliteral_parse(w->a, &literal, table->s) &&
            (literal.kind == PV_DICT || literal.kind == PV_LIST)) {
            *table = literal;
            return MLTF_OK;
        }
    }
    return mltf_fail(
        err, MLTF_PREDICT_FAILED,
        "the table is not a JSON object or Python dict of columns, each a list of cell texts");
}

static mltf_status prepare_table(wrap_call *w, pv *v, mltf_err *err)
{
    if (!own_pairs(w->a, v)) return mltf_fail_memory(err);
    return parse_table(w, (pv *)pv_get(v, "table"), err);
}

/* ---- zero-shot ----------------------------------------------------------------------------- */

static mltf_status prepare_labels(wrap_call *w, pv *v, mltf_err *err)
{
    if (v->kind == PV_LIST) {
        pv list = pv_list(w->a, v->list.n);
        for (size_t i = 0; i < list.list.n; i++) {
            list.list.items[i] = v->list.items[i];
            TRY(prepare_labels(w, &list.list.items[i], err));
        }
        *v = list;
        return MLTF_OK;
    }
    if (v->kind != PV_DICT || !pv_get(v, "candidate_labels"))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "Invalid key in inference payload. The expected inference data key is: "
                         "candidate_labels");
    if (!own_pairs(w->a, v)) return mltf_fail_memory(err);
    pv *labels = (pv *)pv_get(v, "candidate_labels");
    json *list = NULL;
    if (labels->kind == PV_STR &&
        json_parse_in(w->a, &list, labels->s.p, labels->s.n, NULL, NULL) == MLTF_OK &&
        json_is(list, JSON_ARRAY))
        *labels = pv_from_json(w->a, list);
    for (size_t i = 0; i < v->dict.n; i++)
        if (v->dict.pairs[i].value.kind == PV_ARRAY)
            v->dict.pairs[i].value = pv_array_tolist(w->a, &v->dict.pairs[i].value);
    return MLTF_OK;
}

/* ---- feature extraction and the rest ------------------------------------------------------- */

static void features_from_rows(wrap_call *w, pv *v)
{
    if (v->kind != PV_LIST || v->list.n == 0 || v->list.items[0].kind != PV_DICT) return;
    pv list = pv_list(w->a, v->list.n);
    for (size_t i = 0; i < list.list.n; i++) {
        const pv *row = &v->list.items[i];
        list.list.items[i] = row->kind == PV_DICT && row->dict.n ? row->dict.pairs[0].value : *row;
    }
    *v = list;
}

/* The first step: rows of a frame become what the task means by them. */
mltf_status wrap_unwrap(wrap_call *w, pv *v, mltf_err *err)
{
    if (w->kind == WRAP_TEXT_CLASSIFICATION) return unwrap_text_classification(w, v, err);
    if (w->kind != WRAP_TABLE_QA) return MLTF_OK;
    TRY(merge_table_rows(w, v, err));
    if (v->kind != PV_DICT || !pv_get(v, "table"))
        return mltf_fail(err, MLTF_INVALID_INPUT,
                         "The input dictionary must have the 'table' key.");
    return MLTF_OK;
}

mltf_status wrap_prepare(wrap_call *w, pv *v, mltf_err *err)
{
    switch (w->kind) {
    case WRAP_TRANSLATION:
        return texts_only(w, v, err);
    case WRAP_SUMMARIZATION:
    case WRAP_TEXT_GENERATION:
    case WRAP_FILL_MASK:
        TRY(texts_only(w, v, err));
        return wrap_format_template(w, v, err);
    case WRAP_TEXT2TEXT:
        TRY(prepare_text2text(w, v, err));
        return wrap_format_template(w, v, err);
    case WRAP_QUESTION_ANSWERING:
        return prepare_question(w, v, err);
    case WRAP_TEXT_CLASSIFICATION:
        return MLTF_OK; // done when it was unwrapped
    case WRAP_ZERO_SHOT:
        return prepare_labels(w, v, err);
    case WRAP_TABLE_QA:
        return prepare_table(w, v, err);
    case WRAP_TOKEN_CLASSIFICATION:
        return MLTF_OK;
    case WRAP_SENTENCE_EMBEDDING:
        features_from_rows(w, v);
        return MLTF_OK;
    case WRAP_SENTENCE_PAIRS:
        return MLTF_OK;
    case WRAP_FEATURE_EXTRACTION:
        features_from_rows(w, v);
        return wrap_format_template(w, v, err);
    default:
        return mltf_fail(
            err, MLTF_BAD_REQUEST,
            "The loaded pipeline type %s is not enabled for pyfunc predict functionality.",
            w->m->instance_type);
    }
}
