/* JSON bodies of the scoring server: which of the four wrappers, and what the signature makes of it. */
#include "mlflow/scoring.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/decimal.h"
#include "formats/base64.h"
#include "mlflow/pyvalue_internal.h"

#define FIELDS  "{'inputs', 'instances', 'dataframe_split', 'dataframe_records'}"
#define MUST_BE "The input must be a JSON dictionary with exactly one of the input fields " FIELDS
static const char protocol_change[] =
    "IMPORTANT: The MLflow Model scoring protocol has changed in MLflow version 2.0. If you are "
    "seeing this "
    "error, you are likely using an outdated scoring request format. To resolve the error, either "
    "update your "
    "request format or adjust your MLflow Model's requirements file to specify an older version of "
    "MLflow (for "
    "example, change the 'mlflow' requirement specifier to 'mlflow==1.30.0'). If you are making a "
    "request using "
    "the MLflow client (e.g. via `mlflow.pyfunc.spark_udf()`), upgrade your MLflow client to a "
    "version >= 2.0 in "
    "order to use the new request format. For more information about the updated MLflow Model "
    "scoring protocol "
    "in MLflow 2.0, see https://mlflow.org/docs/latest/models.html#deploy-mlflow-models.";

static mltf_status bad_frame(mltf_err *err)
{
    if (err && err->status == MLTF_NO_MEMORY) return MLTF_NO_MEMORY;
    if (err) err->status = MLTF_BAD_REQUEST;
    return MLTF_BAD_REQUEST;
}

static const char *printed(mltf_arena *a, const pv *v, bool repr)
{
    mltf_buf b = {.max = 1000};
    if (repr)
        pv_repr(&b, v);
    else
        pv_print(&b, v);
    const char *s = arena_strdup(a, b.p ? b.p : "", b.n);
    mltf_buf_release(&b);
    return s ? s : "";
}

static const schema_column *spec_of(const schema *s, const pv *name)
{
    for (size_t i = 0; s && schema_is_named(s) && i < s->n; i++)
        if (pv_key_equal(&s->columns[i].name, name)) return &s->columns[i];
    return NULL;
}

/* ---- numpy conversions --------------------------------------------------------------------- */

/* A date, with or without a time: 2024-05-06, 2024/05/06, 2024-05-06T07:08:09.123Z. */
static bool is_date(mltf_str s)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    size_t i = 0;
    for (; i < s.n && i < sizeof form - 1; i++) {
        const char want = form[i], have = s.p[i];
        const bool ok = want == 'd'   ? have >= '0' && have <= '9'
                        : want == '-' ? have == '-' || have == '/'
                        : want == 'T' ? have == 'T' || have == ' '
                                      : have == want;
        if (!ok) return false;
    }
    if (i != 10 && i != 16 && i != 19) return false;
    const int month = 10 * (s.p[5] - '0') + s.p[6] - '0', day = 10 * (s.p[8] - '0') + s.p[9] - '0';
    for (; i < s.n; i++)
        if (!strchr(".0123456789+-:Z", s.p[i])) return false;
    return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

/* A datetime. No pipeline takes one, so only what it was is kept. */
static pv timestamp(void)
{
    return (pv){.kind = PV_OTHER, .s = STR("Timestamp")};
}

static mltf_status cast_bytes(mltf_arena *a, pv *v, mltf_err *err)
{
    if (v->kind != PV_STR && v->kind != PV_BYTES) *v = pv_cstr(printed(a, v, false));
    for (size_t i = 0; v->kind == PV_STR && i < v->s.n; i++)
        if ((unsigned char)v->s.p[i] >= 0x80)
            return mltf_fail(err, MLTF_BAD_REQUEST,
                             "Invalid input. 'ascii' codec can't encode characters in position "
                             "%zu: ordinal not "
                             "in range(128)",
                             i);
    v->kind = PV_BYTES;
    return MLTF_OK;
}

static bool truth(const pv *v)
{
    return v->kind == PV_STR     ? v->s.n > 0
           : v->kind == PV_INT   ? v->i != 0
           : v->kind == PV_FLOAT ? v->f != 0
           : v->kind == PV_BOOL  ? v->b
                                 : false;
}

/* The text as int() or float() reads it. */
static mltf_status text_to_number(mltf_arena *a, const pv *v, bool whole, int64_t *i, double *f,
                                  mltf_err *err)
{
    const char *s = arena_strdup(a, v->s.p, v->s.n);
    char *end = NULL;
    if (!s) return mltf_fail_memory(err);
    bool read = decimal_parse(f, s, v->s.n) == v->s.n;
    if (whole) {
        *i = strtoll(s, &end, 10);
        read = *end == '\0';
    }
    if (v->s.n > 0 && read) return MLTF_OK;
    return mltf_fail(err, MLTF_BAD_REQUEST, "Invalid input. %s: %s",
                     whole ? "invalid literal for int() with base 10"
                           : "could not convert string to float",
                     printed(a, v, true));
}

static mltf_status cast_number(mltf_arena *a, pv *v, np_type to, mltf_err *err)
{
    const bool whole = to <= NP_UINT64;
    double f = 0;
    int64_t i = 0;
    if (v->kind == PV_STR) {
        TRY(text_to_number(a, v, whole, &i, &f, err));
    } else if (v->kind == PV_INT || v->kind == PV_BOOL) {
        i = v->kind == PV_INT ? v->i : v->b;
        f = (double)i;
    } else if (v->kind == PV_FLOAT) {
        f = v->f;
        if (whole && !(fabs(f) < 9.2e18))
            return mltf_fail(err, MLTF_BAD_REQUEST,
                             "Invalid input. cannot convert float %s to integer",
                             printed(a, v, true));
        i = whole ? (int64_t)f : 0;
    } else if (v->kind == PV_NONE && !whole) {
        f = NAN;
    } else {
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         "Invalid input. %s() argument must be a string or a real number, not '%s'",
                         whole ? "int" : "float", pv_class(v));
    }
    *v = whole ? pv_int(i) : pv_float(to == NP_FLOAT32 ? (double)(float)f : f);
    return MLTF_OK;
}

/* One element as numpy's array(value, dtype) makes it. */
static mltf_status cast_scalar(mltf_arena *a, pv *v, np_type to, mltf_err *err)
{
    if (to == NP_STR) {
        if (v->kind != PV_STR) *v = pv_cstr(printed(a, v, false));
    } else if (to == NP_BYTES) {
        TRY(cast_bytes(a, v, err));
    } else if (to == NP_DATETIME) {
        if (v->kind == PV_STR && !is_date(v->s))
            return mltf_fail(err, MLTF_BAD_REQUEST,
                             "Invalid input. Failed to convert data `" STR_FMT
                             "` to type `datetime` defined in the model signature.",
                             STR_ARG(v->s));
        if (!pv_is_nan(v)) *v = timestamp();
    } else if (to == NP_BOOL) {
        *v = pv_bool(truth(v));
    } else if (to >= NP_INT8 && to <= NP_FLOAT64) {
        TRY(cast_number(a, v, to, err));
    }
    v->np = to;
    return MLTF_OK;
}

static mltf_status cast_value(mltf_arena *a, pv *out, const pv *v, np_type to, mltf_err *err)
{
    if (v->kind != PV_LIST) {
        *out = *v;
        return cast_scalar(a, out, to, err);
    }
    *out = pv_array_from(a, v);
    if (out->kind != PV_ARRAY) return mltf_fail_memory(err);
    for (size_t i = 0; i < out->array.n; i++) {
        if (out->array.items[i].kind == PV_LIST)
            return mltf_fail(err, MLTF_BAD_REQUEST,
                             "Invalid input. setting an array element with a sequence. The "
                             "requested array has an "
                             "inhomogeneous shape after %zu dimensions.",
                             out->array.ndim);
        TRY(cast_scalar(a, &out->array.items[i], to, err));
    }
    out->np = to;
    return MLTF_OK;
}

/* A value of "inputs" or "instances" for one column; c NULL: a column the signature does not know. */
static mltf_status cast_to_spec(mltf_arena *a, pv *out, const pv *v, const schema_column *c,
                                bool tensor, mltf_err *err)
{
    if (!c) {
        *out = pv_array_from(a, v);
        return MLTF_OK;
    }
    if (tensor) {
        pv list = *v;
        if (v->kind != PV_LIST) {
            TRY(cast_value(a, out, v, c->dtype, err));
            pv zero = pv_array(a, c->dtype, 0, NULL);
            if (zero.kind == PV_ARRAY) zero.array.items[0] = *out;
            *out = zero;
            return MLTF_OK;
        }
        return cast_value(a, out, &list, c->dtype, err);
    }
    if (c->type.kind <= ST_DATETIME)
        return cast_value(a, out, v, schema_kind_numpy(c->type.kind), err);
    mltf_err why = {0};
    if (schema_enforce_type(a, out, v, &c->type, c->required, &why))
        return mltf_fail(err, MLTF_BAD_REQUEST, "Invalid input. %s", why.msg);
    return MLTF_OK;
}

/* ---- inputs and instances ------------------------------------------------------------------ */

static mltf_status parse_inputs(mltf_arena *a, pv *out, const pv *given, const schema *s,
                                mltf_err *err)
{
    pv v = *given;
    bool has_dict = false;
    for (size_t i = 0; v.kind == PV_LIST && i < v.list.n; i++)
        if (v.list.items[i].kind == PV_DICT) has_dict = true;
    const bool named = s && schema_is_named(s);
    if (named && s->n == 1 && v.kind == PV_LIST && !has_dict) {
        pv dict = pv_dict(a, 1);
        pv_dict_add(&dict, s->columns[0].name, v);
        v = dict;
    } else if (s && !named && v.kind != PV_LIST && !pv_is_scalar(&v))
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         "Invalid input. Failed to parse input data. This model contains an "
                         "un-named  model signature "
                         "which expects a single n-dimensional array or a single value as input, "
                         "however, an input of "
                         "type %s was found.",
                         pv_type_repr(a, &v));
    const bool tensors = s && s->tensors;
    if (v.kind == PV_DICT) {
        *out = pv_dict(a, v.dict.n);
        for (size_t i = 0; i < v.dict.n; i++) {
            pv cell = pv_none();
            TRY(cast_to_spec(a, &cell, &v.dict.pairs[i].value, spec_of(s, &v.dict.pairs[i].key),
                             tensors, err));
            pv_dict_add(out, v.dict.pairs[i].key, cell);
        }
        return MLTF_OK;
    }
    if (v.kind == PV_LIST && pv_all_dict(&v)) {
        *out = pv_list(a, v.list.n);
        for (size_t i = 0; i < out->list.n; i++) {
            const pv *row = &v.list.items[i];
            pv dict = pv_dict(a, row->dict.n);
            for (size_t k = 0; k < row->dict.n; k++) {
                pv cell = pv_none();
                TRY(cast_to_spec(a, &cell, &row->dict.pairs[k].value,
                                 spec_of(s, &row->dict.pairs[k].key), tensors, err));
                // a text in a 0-d array is a text in a frame
                if (cell.kind == PV_ARRAY && cell.array.ndim == 0)
                    cell = pv_unbox(cell.array.items[0]);
                pv_dict_add(&dict, row->dict.pairs[k].key, cell);
            }
            out->list.items[i] = dict;
        }
        return MLTF_OK;
    }
    return cast_to_spec(a, out, &v, s && s->n ? &s->columns[0] : NULL, tensors, err);
}

static bool has_complex(const schema *s)
{
    for (size_t i = 0; s && i < s->n; i++)
        if (!s->tensors && s->columns[i].type.kind > ST_DATETIME) return true;
    return false;
}

static mltf_status parse_instances(mltf_arena *a, pv *out, const pv *given, const schema *s,
                                   mltf_err *err)
{
    if (given->kind != PV_LIST || given->list.n == 0 || given->list.items[0].kind != PV_DICT)
        return parse_inputs(a, out, given, s, err);
    if (has_complex(s)) { // rows stay rows: turned into columns, lists of objects would not survive
        pv_frame *f = pv_frame_from_rows(a, given, err);
        if (!f) return bad_frame(err);
        *out = (pv){.kind = PV_FRAME, .frame = f};
        return MLTF_OK;
    }
    const size_t n = given->list.n;
    size_t cap = 0;
    for (size_t i = 0; i < n; i++)
        if (given->list.items[i].kind == PV_DICT)
            cap += given->list.items[i].dict.n;
        else
            return mltf_fail(
                err, MLTF_BAD_REQUEST,
                "Invalid input. Ensure that the input is a valid JSON-formatted string.\nError: "
                "AttributeError(\"'%s' object has no attribute 'items'\")",
                pv_class(&given->list.items[i]));
    pv columns = pv_dict(a, cap), keys = pv_list(a, cap);
    key_index x = {0};
    if (!columns.dict.pairs || !keys.list.items || !key_index_make(&x, a, keys.list.items, cap))
        return mltf_fail_memory(err);
    for (size_t i = 0; i < n; i++) // how long each column gets: rows may have ever other keys
        for (size_t k = 0; k < given->list.items[i].dict.n; k++) {
            const pv key = given->list.items[i].dict.pairs[k].key;
            uint32_t *slot = key_slot(&x, &key);
            if (!*slot) {
                keys.list.items[columns.dict.n] = key;
                pv_dict_add(&columns, key, (pv){.kind = PV_LIST});
                *slot = (uint32_t)columns.dict.n;
            }
            columns.dict.pairs[*slot - 1].value.list.n++;
        }
    for (size_t i = 0; i < columns.dict.n; i++) {
        pv *column = &columns.dict.pairs[i].value;
        *column = pv_list(a, column->list.n);
        if (!column->list.items) return mltf_fail_memory(err);
        column->list.n = 0;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < given->list.items[i].dict.n; k++) {
            const pv_pair *pair = &given->list.items[i].dict.pairs[k];
            pv *column = &columns.dict.pairs[*key_slot(&x, &pair->key) - 1].value;
            pv cell = pv_none();
            TRY(cast_to_spec(a, &cell, &pair->value, spec_of(s, &pair->key), s && s->tensors, err));
            if (cell.kind == PV_ARRAY) cell = pv_array_tolist(a, &cell);
            column->list.items[column->list.n++] = cell;
        }
    *out = pv_dict(a, columns.dict.n);
    size_t expected = 0;
    bool known = false;
    for (size_t i = 0; i < columns.dict.n; i++) {
        const pv_pair *pair = &columns.dict.pairs[i];
        const schema_column *c = spec_of(s, &pair->key);
        pv array = pv_array_from(a, &pair->value);
        if (c && !s->tensors && c->type.kind <= ST_DATETIME)
            array.np = schema_kind_numpy(c->type.kind);
        if (c && s->tensors) array.np = c->dtype;
        pv_dict_add(out, pair->key, array);
        if (s && schema_is_named(s) && (!c || !c->required)) continue;
        if (known && pair->value.list.n != expected)
            return mltf_fail(
                err, MLTF_BAD_REQUEST,
                "Invalid input. The length of values for each input/column name are not the same");
        expected = pair->value.list.n;
        known = true;
    }
    return MLTF_OK;
}

/* ---- frames -------------------------------------------------------------------------------- */

static mltf_status not_castable(mltf_arena *a, const pv *name, const char *type, const char *why,
                                mltf_err *err)
{
    return mltf_fail(err, MLTF_BAD_REQUEST,
                     "Invalid input. Data is not compatible with model signature. Failed to "
                     "convert column %s to type "
                     "'%s'. Error: '%s'",
                     printed(a, name, false), type, why);
}

/* not_castable() with the exception's class and text. */
static mltf_status raised(mltf_arena *a, const pv *name, const char *type, const char *exception,
                          const char *message, mltf_err *err)
{
    const pv text = pv_cstr(message);
    return not_castable(a, name, type,
                        arena_printf(a, "%s(%s)", exception, printed(a, &text, true)), err);
}

static mltf_status cast_base64(mltf_arena *a, pv_frame *f, size_t c, mltf_err *err)
{
    pv *cells = f->cells + c * f->n_rows;
    for (size_t r = 0; r < f->n_rows; r++) {
        if (cells[r].kind != PV_STR)
            return not_castable(a, &f->names[c], "bytes",
                                "TypeError('encoding without a string argument')", err);
        mltf_buf b = MLTF_BUF_INIT;
        if (!base64_decode(&b, cells[r].s)) {
            mltf_buf_release(&b);
            return not_castable(a, &f->names[c], "bytes", "Error('Incorrect padding')", err);
        }
        cells[r] = (pv){.kind = PV_BYTES, .s = arena_str(a, buf_str(&b))};
        mltf_buf_release(&b);
    }
    f->types[c] = NP_OBJECT;
    return MLTF_OK;
}

static mltf_status cast_scalars(mltf_arena *a, pv_frame *f, size_t c, np_type to, mltf_err *err)
{
    static const char prefix[] = "Invalid input. ";
    pv *cells = f->cells + c * f->n_rows;
    if (to == NP_OBJECT || f->types[c] == to) return MLTF_OK;
    for (size_t r = 0; r < f->n_rows; r++) {
        mltf_err why = {0};
        pv v = cells[r];
        if (cast_scalar(a, &v, to, &why)) {
            const bool prefixed = str_starts(str_from(why.msg), prefix);
            return raised(a, &f->names[c], np_name(to), "ValueError",
                          why.msg + (prefixed ? sizeof prefix - 1 : 0), err);
        }
        cells[r] = pv_unbox(v);
    }
    f->types[c] = to;
    return MLTF_OK;
}

static mltf_status cast_dates(mltf_arena *a, pv_frame *f, size_t c, mltf_err *err)
{
    pv *cells = f->cells + c * f->n_rows;
    for (size_t r = 0; r < f->n_rows; r++) {
        if (pv_is_nan(&cells[r])) continue;
        if (cells[r].kind == PV_STR && !is_date(cells[r].s))
            return raised(a, &f->names[c], "datetime", "DateParseError",
                          arena_printf(a,
                                       "Unknown datetime string format, unable to parse: " STR_FMT,
                                       STR_ARG(cells[r].s)),
                          err);
        cells[r] = timestamp();
    }
    f->types[c] = NP_DATETIME;
    return MLTF_OK;
}

/* Arrays, objects and maps. */
static mltf_status cast_nested(mltf_arena *a, pv_frame *f, size_t c, const schema_column *col,
                               mltf_err *err)
{
    pv *cells = f->cells + c * f->n_rows;
    for (size_t r = 0; r < f->n_rows; r++) {
        mltf_err why = {0};
        const pv given = cells[r];
        if (schema_enforce_type(a, &cells[r], &given, &col->type, col->required, &why)) {
            mltf_buf b = MLTF_BUF_INIT;
            schema_type_print(&b, &col->type);
            const char *type = arena_strdup(a, b.p ? b.p : "", b.n);
            mltf_buf_release(&b);
            return raised(a, &f->names[c], type ? type : "", "MlflowException", why.msg, err);
        }
    }
    return MLTF_OK;
}

/* A column as DataFrame.astype() and MLflow's base64 rule make it. */
static mltf_status cast_column(mltf_arena *a, pv_frame *f, size_t c, const schema_column *col,
                               bool tensor, mltf_err *err)
{
    if (tensor) {
        if (f->n_rows == 0 || f->cells[c * f->n_rows].kind == PV_LIST) return MLTF_OK;
        return cast_scalars(a, f, c, col->dtype, err);
    }
    const schema_kind kind = col->type.kind;
    if (kind == ST_BINARY) return cast_base64(a, f, c, err);
    if (kind == ST_STRING) {
        if (f->types[c] != NP_STR)
            f->types[c] = NP_OBJECT; // numbers stay numbers in an object column
        return MLTF_OK;
    }
    if (kind == ST_DATETIME) return cast_dates(a, f, c, err);
    if (kind < ST_DATETIME) return cast_scalars(a, f, c, schema_kind_numpy(kind), err);
    return cast_nested(a, f, c, col, err);
}

static mltf_status cast_frame(mltf_arena *a, pv_frame *f, const schema *s, mltf_err *err)
{
    if (!s) return MLTF_OK;
    const bool named = schema_is_named(s);
    if (!named && s->tensors && s->n == 1) {
        for (size_t c = 0; c < f->n_cols; c++) TRY(cast_column(a, f, c, &s->columns[0], true, err));
        return MLTF_OK;
    }
    for (size_t i = 0; i < s->n; i++) {
        const int c = named ? pv_frame_column(f, &s->columns[i].name) : i < f->n_cols ? (int)i : -1;
        if (c >= 0) TRY(cast_column(a, f, (size_t)c, &s->columns[i], s->tensors, err));
    }
    return MLTF_OK;
}

static mltf_status frame_from_split(mltf_arena *a, pv_frame **out, const json *v, mltf_err *err)
{
    const pv columns = pv_from_json(a, json_get(v, "columns"));
    const json *rows = json_get(v, "data"), *index = json_get(v, "index");
    if (!json_is(rows, JSON_ARRAY))
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         "Invalid input. Provided dataframe_split field is not a valid dataframe "
                         "representation in "
                         "'split' format. Error: 'DataFrame constructor not properly called!'");
    const pv data = pv_from_json(a, rows);
    pv_frame *f = pv_frame_from_rows(a, &data, err);
    if (!f) return bad_frame(err);
    const bool named_rows = data.list.n > 0 && data.list.items[0].kind == PV_DICT;
    if (columns.kind == PV_LIST && !named_rows) {
        if (f->n_rows == 0 && f->n_cols == 0) { // no rows: the columns are still there
            f = pv_frame_new(a, columns.list.n, 0);
            if (!f) return mltf_fail_memory(err);
        }
        if (columns.list.n != f->n_cols)
            return mltf_fail(
                err, MLTF_BAD_REQUEST,
                "Invalid input. Provided dataframe_split field is not a valid dataframe "
                "representation in "
                "'split' format. Error: '%zu columns passed, passed data had %zu columns'",
                columns.list.n, f->n_cols);
        for (size_t c = 0; c < f->n_cols; c++) {
            f->names[c] = columns.list.items[c];
            if (f->names[c].kind != PV_STR && f->names[c].kind != PV_INT)
                f->names[c] = pv_cstr(printed(a, &columns.list.items[c], false));
        }
    }
    if (json_is(index, JSON_ARRAY) && index->a.n != f->n_rows)
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         "Invalid input. Provided dataframe_split field is not a valid dataframe "
                         "representation in "
                         "'split' format. Error: 'Shape of passed values is (%zu, %zu), indices "
                         "imply (%zu, %zu)'",
                         f->n_rows, f->n_cols, index->a.n, f->n_cols);
    *out = f;
    return MLTF_OK;
}

mltf_status scoring_frame(mltf_arena *a, pv *out, const json *v, bool split, const schema *s,
                          mltf_err *err)
{
    pv_frame *f = NULL;
    const pv shown = pv_from_json(a, v);
    if (split) {
        if (!json_is(v, JSON_OBJECT))
            return mltf_fail(
                err, MLTF_BAD_REQUEST,
                "Invalid input. Dataframe split format must be a dictionary. Got %s%s.",
                json_is(v, JSON_ARRAY) ? "list" : "type ",
                json_is(v, JSON_ARRAY) ? "" : pv_type_repr(a, &shown));
        bool odd = !json_get(v, "data");
        mltf_buf keys = MLTF_BUF_INIT;
        for (size_t i = 0; i < v->o.n; i++) {
            const pv key = pv_str(v->o.members[i].key);
            if (!str_is(key.s, "columns") && !str_is(key.s, "data") && !str_is(key.s, "index"))
                odd = true;
            if (i > 0) buf_puts(&keys, ", ");
            pv_repr(&keys, &key);
        }
        if (odd)
            mltf_fail(err, MLTF_BAD_REQUEST,
                      "Invalid input. Dataframe split format must have 'data' field and optionally "
                      "'columns' and 'index' "
                      "fields. Got %s%s%s.'",
                      keys.n ? "{" : "set()", keys.p ? keys.p : "", keys.n ? "}" : "");
        mltf_buf_release(&keys);
        if (odd) return MLTF_BAD_REQUEST;
        TRY(frame_from_split(a, &f, v, err));
    } else {
        if (!json_is(v, JSON_ARRAY))
            return mltf_fail(
                err, MLTF_BAD_REQUEST,
                "Invalid input. Dataframe records format must be a list of records. Got %s%s.",
                json_is(v, JSON_OBJECT) ? "dictionary" : "type ",
                json_is(v, JSON_OBJECT) ? "" : pv_type_repr(a, &shown));
        f = pv_frame_from_rows(a, &shown, err);
        if (!f) return bad_frame(err);
    }
    TRY(cast_frame(a, f, s, err));
    *out = (pv){.kind = PV_FRAME, .frame = f};
    return MLTF_OK;
}

/* ---- the body ------------------------------------------------------------------------------ */

static bool is_param(const param_schema *p, mltf_str name)
{
    for (size_t i = 0; p && i < p->n; i++)
        if (str_eq(p->params[i].name, name)) return true;
    return false;
}

static void split_llm(mltf_arena *a, scoring_request *out, const pv *body, const param_schema *p)
{
    out->unwrapped = true;
    out->data = pv_dict(a, body->dict.n);
    out->params = pv_dict(a, body->dict.n);
    for (size_t i = 0; i < body->dict.n; i++) {
        const pv_pair *pair = &body->dict.pairs[i];
        pv_dict_add(is_param(p, pair->key.s) ? &out->params : &out->data, pair->key, pair->value);
    }
}

mltf_status scoring_parse_json(mltf_arena *a, scoring_request *out, const char *text, size_t n,
                               const signature *sig, mltf_err *err)
{
    static const char *const fields[] = {"inputs", "instances", "dataframe_split",
                                         "dataframe_records"};
    *out = (scoring_request){0};
    json *body = NULL;
    mltf_err why = {0};
    if (json_parse_in(a, &body, text, n, NULL, &why)) {
        if (why.status == MLTF_NO_MEMORY) return mltf_fail_memory(err);
        // json.loads() takes such a beginning for UTF-16
        if (n >= 2 && (memcmp(text, "\xFF\xFE", 2) == 0 || memcmp(text, "\xFE\xFF", 2) == 0))
            mltf_fail(&why, MLTF_CORRUPT_FILE, "Expecting value: line 1 column 1 (char 0)");
        const pv shown = {.kind = PV_BYTES, .s = {text, n < 1000 ? n : 1000}};
        return mltf_fail(
            err, MLTF_BAD_REQUEST,
            "Invalid input. Ensure that input is a valid JSON formatted string. Error: "
            "'JSONDecodeError('%s')'\nInput: \n%s\n",
            why.msg, printed(a, &shown, true));
    }
    const pv data = pv_from_json(a, body);
    if (data.kind == PV_LIST)
        return mltf_fail(err, MLTF_BAD_REQUEST, "Invalid input. " MUST_BE ". Received a list.");
    if (data.kind != PV_DICT)
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         "Invalid input. " MUST_BE ". Received unexpected input type '%s.",
                         pv_type_repr(a, &data));
    if (pv_get(&data, "messages") || pv_get(&data, "prompt") || pv_get(&data, "input")) {
        split_llm(a, out, &data, sig->params);
        return MLTF_OK;
    }
    mltf_buf names = MLTF_BUF_INIT;
    int found = -1;
    size_t n_found = 0;
    for (size_t i = 0; i < data.dict.n; i++)
        for (int k = 0; k < 4; k++)
            if (str_is(data.dict.pairs[i].key.s, fields[k])) {
                if (n_found++) buf_puts(&names, ", ");
                buf_printf(&names, "'%s'", fields[k]);
                found = k;
            }
    mltf_status st = MLTF_OK;
    if (n_found != 1)
        st = mltf_fail(err, MLTF_BAD_REQUEST,
                       MUST_BE ". Received dictionary with input fields: [%s]. %s",
                       names.p ? names.p : "", protocol_change);
    mltf_buf_release(&names);
    if (st) return st;
    const pv *params = pv_get(&data, "params");
    out->params = params ? *params : pv_none();
    const json *raw = json_get(body, fields[found]);
    const pv *value = pv_get(&data, fields[found]);
    switch (found) {
    case 0:
        return parse_inputs(a, &out->data, value, sig->inputs, err);
    case 1:
        return parse_instances(a, &out->data, value, sig->inputs, err);
    default:
        return scoring_frame(a, &out->data, raw, found == 2, sig->inputs, err);
    }
}
