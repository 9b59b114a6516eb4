/* Data against the input schema, as PyFuncModel.predict() checks it before a wrapper sees it.
 *
 * Columns: the data become a frame, missing columns are errors, extra ones are dropped, each cell type must
 * convert without loss. Tensors: shape and dtype must match. Every failure is one SCHEMA_MISMATCH:
 * "Failed to enforce schema of data '…' with schema '…'. Error: <reason>". */
#include "mlflow/schema.h"

#include <math.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "formats/decimal.h"
#include "mlflow/environment_flags.h"

static const char *text_of(mltf_arena *a, const mltf_buf *b)
{
    const char *s = arena_strdup(a, b->p ? b->p : "", b->n);
    return s ? s : "";
}

static const char *printed(mltf_arena *a, const pv *v)
{
    mltf_buf b = {.max = 2048};
    pv_print(&b, v);
    const char *s = text_of(a, &b);
    mltf_buf_release(&b);
    return s;
}

/* ---- columns of scalars -------------------------------------------------------------------- */

static char np_kind(np_type t)
{
    if (t == NP_BOOL) return 'b';
    if (t >= NP_INT8 && t <= NP_INT64) return 'i';
    if (t >= NP_UINT8 && t <= NP_UINT64) return 'u';
    if (t >= NP_FLOAT16 && t <= NP_FLOAT64) return 'f';
    return t == NP_STR ? 'U' : t == NP_BYTES ? 'S' : t == NP_DATETIME ? 'M' : 'O';
}

static int np_size(np_type t)
{
    switch (t) {
    case NP_BOOL:
    case NP_INT8:
    case NP_UINT8:
        return 1;
    case NP_INT16:
    case NP_UINT16:
    case NP_FLOAT16:
        return 2;
    case NP_INT32:
    case NP_UINT32:
    case NP_FLOAT32:
        return 4;
    default:
        return 8;
    }
}

static bool only_bits(const pv *cells, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!pv_is_nan(&cells[i]) &&
            !(cells[i].kind == PV_INT && (cells[i].i == 0 || cells[i].i == 1)))
            return false;
    return true;
}

static bool whole_with_gaps(const pv *cells, size_t n)
{
    bool gap = false;
    for (size_t i = 0; i < n; i++) {
        if (pv_is_nan(&cells[i]))
            gap = true;
        else if (cells[i].kind == PV_FLOAT && cells[i].f != floor(cells[i].f))
            return false;
    }
    return gap;
}

/* pandas' to_numeric(), which MLflow calls because a column of objects may hold decimals: None is NaN, text that is a
 * number counts. */
static mltf_status numbers_of_objects(const char *label, pv *cells, size_t n, np_type *type,
                                      mltf_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const pv *c = &cells[i];
        double x = NAN;
        bool ok = true;
        if (c->kind == PV_STR)
            ok = c->s.n > 0 && decimal_parse(&x, c->s.p, c->s.n) == c->s.n;
        else if (c->kind == PV_INT)
            x = (double)c->i;
        else if (c->kind == PV_BOOL)
            x = c->b;
        else if (c->kind == PV_FLOAT)
            x = c->f;
        else if (c->kind != PV_NONE)
            return mltf_fail(err, MLTF_SCHEMA_MISMATCH, "Invalid object type at position %zu", i);
        if (!ok)
            return mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                             "Failed to convert column %s from type object to DataType.double.",
                             label);
        cells[i] = pv_float(x);
    }
    *type = NP_FLOAT64;
    return MLTF_OK;
}

/* `name` may be NULL: the nameless series of an array's elements. cells are converted in place. */
static mltf_status enforce_column(mltf_arena *a, const pv *name, pv *cells, size_t n, np_type *type,
                                  schema_kind want, mltf_err *err)
{
    const char *label = name ? printed(a, name) : "";
    if (*type == NP_OBJECT && want != ST_BINARY && want != ST_STRING)
        *type = pv_infer_column(cells, n);
    if (want == ST_STRING && (*type == NP_OBJECT || *type == NP_STR)) return MLTF_OK;
    if (want == ST_BINARY && (*type == NP_OBJECT || *type == NP_STR || *type == NP_BYTES))
        return MLTF_OK;
    if (want == ST_BOOLEAN && *type == NP_OBJECT) return MLTF_OK;
    if (want == ST_DATETIME && (*type == NP_DATETIME || *type == NP_OBJECT)) return MLTF_OK;
    if (want == ST_DOUBLE && *type == NP_OBJECT)
        return numbers_of_objects(label, cells, n, type, err);
    const np_type to = schema_kind_numpy(want);
    if (*type == to) return MLTF_OK;

    const char have_kind = np_kind(*type), want_kind = np_kind(to);
    bool safe = false;
    if (have_kind == want_kind)
        safe = np_size(*type) <= np_size(to);
    else if (have_kind == 'u' && want_kind == 'i')
        safe = np_size(*type) < np_size(to);
    else if ((have_kind == 'i' || have_kind == 'u') && to == NP_FLOAT64)
        safe = np_size(*type) <= 6;
    if (!safe && *type == NP_INT64 && want_kind == 'f') safe = only_bits(cells, n);
    if (safe) {
        for (size_t i = 0; i < n; i++)
            if (want_kind == 'f' && cells[i].kind == PV_INT)
                cells[i] = pv_float((double)cells[i].i);
        *type = to;
        return MLTF_OK;
    }
    const char *hint = "";
    if (*type == NP_FLOAT64 && (want_kind == 'i' || want_kind == 'u') && whole_with_gaps(cells, n))
        hint =
            " Hint: the type mismatch is likely caused by missing values. Integer columns in "
            "python can "
            "not represent missing values and are therefore encoded as floats. The best way to "
            "avoid "
            "this problem is to infer the model schema based on a realistic data sample (training "
            "dataset) that includes missing values. Alternatively, you can declare integer columns "
            "as "
            "doubles (float64) whenever these columns may have missing values. See `Handling "
            "Integers "
            "With Missing Values <https://www.mlflow.org/docs/latest/models.html#"
            "handling-integers-with-missing-values>`_ for more details.";
    return mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                     "Incompatible input types for column %s. Can not safely convert %s to %s.%s",
                     label, np_name(*type), schema_numpy_print(to), hint);
}

/* ---- one value ----------------------------------------------------------------------------- */

static mltf_status enforce_scalar(mltf_arena *a, pv *out, const pv *v, schema_kind want,
                                  bool required, mltf_err *err)
{
    *out = *v;
    if (!required && pv_is_nan(v)) {
        *out = pv_none();
        return MLTF_OK;
    }
    if (!pv_is_scalar(v))
        return mltf_fail(err, MLTF_SCHEMA_MISMATCH, "Expected data to be scalar, got %s",
                         pv_class(v));
    np_type type = pv_infer_column(out, 1);
    if (v->np != NP_PYTHON) type = v->np;
    mltf_err inner = {0};
    if (enforce_column(a, NULL, out, 1, &type, want, &inner))
        return mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                         "Failed to enforce schema of data `%s` with dtype `%s`", printed(a, v),
                         schema_kind_name(want));
    return MLTF_OK;
}

/* An array of strings becomes one of numpy's: what is no text is written as one. */
static mltf_status texts_of_items(mltf_arena *a, pv *items, size_t n, mltf_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (items[i].kind == PV_STR || pv_is_nan(&items[i])) continue;
        if (!pv_is_scalar(&items[i]))
            return mltf_fail(err, MLTF_SCHEMA_MISMATCH, "setting an array element with a sequence");
        items[i] = pv_cstr(printed(a, &items[i]));
    }
    return MLTF_OK;
}

static mltf_status enforce_array(mltf_arena *a, pv *out, const pv *v, const schema_type *t,
                                 bool required, mltf_err *err)
{
    *out = *v;
    const size_t n = v->kind == PV_LIST                         ? v->list.n
                     : v->kind == PV_ARRAY && v->array.ndim > 0 ? v->array.shape[0]
                                                                : 0;
    const bool sequence = v->kind == PV_LIST || v->kind == PV_ARRAY;
    if ((!required || t->item->kind == ST_ANY) && (v->kind == PV_NONE || (sequence && n == 0)))
        return MLTF_OK;
    if (!sequence)
        return mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                         "Expected data to be list or numpy array, got %s", pv_class(v));
    pv items = v->kind == PV_LIST ? pv_list(a, n) : pv_array_tolist(a, v);
    if (items.kind != PV_LIST || items.list.n != n) return mltf_fail_memory(err);
    for (size_t i = 0; v->kind == PV_LIST && i < n; i++) items.list.items[i] = v->list.items[i];
    if (t->item->kind <= ST_DATETIME) {
        np_type type = v->kind == PV_ARRAY ? v->np : pv_infer_column(items.list.items, n);
        if (n > 0) TRY(enforce_column(a, NULL, items.list.items, n, &type, t->item->kind, err));
        if (t->item->kind == ST_STRING) TRY(texts_of_items(a, items.list.items, n, err));
    } else
        for (size_t i = 0; i < n; i++) {
            const pv given = items.list.items[i];
            TRY(schema_enforce_type(a, &items.list.items[i], &given, t->item, required, err));
        }
    if (v->kind == PV_LIST)
        *out = items;
    else if (t->item->kind > ST_DATETIME)
        *out = pv_array_from(a, &items);
    return MLTF_OK;
}

static void name_set(mltf_buf *b, mltf_str name)
{
    if (b->n) buf_puts(b, ", ");
    const pv v = pv_str(name);
    pv_repr(b, &v);
}

static const schema_prop *prop_of(const schema_type *t, const pv *key)
{
    for (size_t i = 0; key->kind == PV_STR && i < t->n_props; i++)
        if (str_eq(t->props[i].name, key->s)) return &t->props[i];
    return NULL;
}

static mltf_status enforce_object(mltf_arena *a, pv *out, const pv *v, const schema_type *t,
                                  bool required, mltf_err *err)
{
    *out = *v;
    if (!required && (v->kind == PV_NONE || (v->kind == PV_DICT && v->dict.n == 0))) return MLTF_OK;
    if (v->kind != PV_DICT) {
        mltf_buf b = MLTF_BUF_INIT;
        schema_type_print(&b, t);
        mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                  "Failed to enforce schema of '%s' with type '%s'. Expected data to be "
                  "dictionary, got %s",
                  printed(a, v), b.p ? b.p : "", pv_class(v));
        mltf_buf_release(&b);
        return MLTF_SCHEMA_MISMATCH;
    }
    mltf_buf missing = MLTF_BUF_INIT, surplus = MLTF_BUF_INIT;
    for (size_t i = 0; i < t->n_props; i++) {
        const pv key = pv_str(t->props[i].name);
        if (t->props[i].required && !pv_get_key(v, &key)) name_set(&missing, t->props[i].name);
    }
    for (size_t i = 0; i < v->dict.n; i++)
        if (!prop_of(t, &v->dict.pairs[i].key)) name_set(&surplus, v->dict.pairs[i].key.s);
    mltf_status st = MLTF_OK;
    if (missing.n)
        st = mltf_fail(err, MLTF_SCHEMA_MISMATCH, "Missing required properties: {%s}", missing.p);
    else if (surplus.n)
        st = mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                       "Invalid properties not defined in the schema found: {%s}", surplus.p);
    mltf_buf_release(&missing);
    mltf_buf_release(&surplus);
    if (st) return st;
    *out = pv_dict(a, v->dict.n);
    for (size_t i = 0; i < v->dict.n; i++) {
        const pv_pair *pair = &v->dict.pairs[i];
        const schema_prop *p = prop_of(t, &pair->key);
        pv value = pv_none();
        if (schema_enforce_type(a, &value, &pair->value, &p->type, p->required, NULL))
            return mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                             "Failed to enforce schema for key `" STR_FMT
                             "`. Expected type %s, received type %s",
                             STR_ARG(pair->key.s), schema_kind_name(p->type.kind),
                             pv_class(&pair->value));
        pv_dict_add(out, pair->key, value);
    }
    return MLTF_OK;
}

static mltf_status enforce_map(mltf_arena *a, pv *out, const pv *v, const schema_type *t,
                               bool required, mltf_err *err)
{
    *out = *v;
    if ((!required || t->item->kind == ST_ANY) &&
        (v->kind == PV_NONE || (v->kind == PV_DICT && v->dict.n == 0)))
        return MLTF_OK;
    if (v->kind != PV_DICT)
        return mltf_fail(err, MLTF_SCHEMA_MISMATCH, "Expected data to be a dict, got %s",
                         pv_class(v));
    *out = pv_dict(a, v->dict.n);
    for (size_t i = 0; i < v->dict.n; i++) {
        if (v->dict.pairs[i].key.kind != PV_STR)
            return mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                             "Expected all keys in the map type data are string type.");
        pv value = pv_none();
        TRY(schema_enforce_type(a, &value, &v->dict.pairs[i].value, t->item, required, err));
        pv_dict_add(out, v->dict.pairs[i].key, value);
    }
    return MLTF_OK;
}

mltf_status schema_enforce_type(mltf_arena *a, pv *out, const pv *data, const schema_type *t,
                                bool required, mltf_err *err)
{
    switch (t->kind) {
    case ST_ARRAY:
        return enforce_array(a, out, data, t, required, err);
    case ST_OBJECT:
        return enforce_object(a, out, data, t, required, err);
    case ST_MAP:
        return enforce_map(a, out, data, t, required, err);
    case ST_ANY:
    case ST_SPARKML_VECTOR:
        *out = *data;
        return MLTF_OK;
    default:
        return enforce_scalar(a, out, data, t->kind, required, err);
    }
}

/* ---- data to frame ------------------------------------------------------------------------- */

static bool has_complex_column(const schema *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->columns[i].type.kind == ST_ARRAY || s->columns[i].type.kind == ST_OBJECT)
            return true;
    return false;
}

static pv_frame *one_row(mltf_arena *a, const pv *dict, bool lists)
{
    pv_frame *f = pv_frame_new(a, dict->dict.n, 1);
    for (size_t c = 0; f && c < f->n_cols; c++) {
        f->names[c] = dict->dict.pairs[c].key;
        f->cells[c] = dict->dict.pairs[c].value;
        if (f->cells[c].kind == PV_ARRAY && f->cells[c].array.ndim == 0)
            f->cells[c] = pv_unbox(f->cells[c].array.items[0]);
        else if (lists && f->cells[c].kind == PV_ARRAY)
            f->cells[c] = pv_array_tolist(a, &f->cells[c]);
        f->types[c] = pv_infer_column(&f->cells[c], 1);
    }
    return f;
}

static pv_frame *frame_of_dict(mltf_arena *a, const pv *v, const schema *s, mltf_err *err)
{
    bool simple = true, zero_d = v->dict.n > 0, deep = false;
    bool scalars = false, text_arrays = false, others = false;
    for (size_t i = 0; i < v->dict.n; i++) {
        const pv *x = &v->dict.pairs[i].value;
        if (!(pv_is_scalar(x) || x->kind == PV_NONE || pv_all_str(x))) simple = false;
        if (!(x->kind == PV_ARRAY && x->array.ndim == 0 && x->np == NP_STR) &&
            !(x->kind == PV_STR && x->np == NP_STR))
            zero_d = false;
        if (x->kind == PV_ARRAY && x->array.ndim > 1) deep = true;
        if (x->kind == PV_ARRAY && x->np == NP_STR && x->array.ndim == 1)
            text_arrays = true;
        else if (!pv_is_scalar(x))
            others = true;
        else
            scalars = true;
    }
    // one object whose lists came as arrays: lists stay cells, as they do where they come as lists
    const bool object = scalars && text_arrays && !others;
    pv_frame *f;
    if (has_complex_column(s) || simple || zero_d || object)
        f = one_row(a, v, object);
    else {
        pv flat = *v;
        if (deep) {
            flat = pv_dict(a, v->dict.n);
            for (size_t i = 0; i < v->dict.n; i++) {
                const pv *x = &v->dict.pairs[i].value;
                pv_dict_add(&flat, v->dict.pairs[i].key,
                            x->kind == PV_ARRAY && x->array.ndim > 1 ? pv_array_tolist(a, x) : *x);
            }
        }
        mltf_err inner = {0};
        f = pv_frame_from_columns(a, &flat, &inner);
        if (!f)
            mltf_fail(
                err, MLTF_SCHEMA_MISMATCH,
                "This model contains a column-based signature, which suggests a DataFrame input. "
                "There was an error casting the input data to a DataFrame: %s",
                inner.msg);
        return f;
    }
    if (!f) mltf_fail_memory(err);
    return f;
}

static pv_frame *to_frame(mltf_arena *a, const pv *v, const schema *s, mltf_err *err)
{
    if (v->kind == PV_FRAME) return v->frame;
    if (pv_is_scalar(v)) {
        pv row = pv_list(a, 1);
        if (row.list.n) row.list.items[0] = *v;
        pv_frame *f = pv_frame_from_rows(a, &row, err);
        if (f && v->np != NP_PYTHON && v->kind != PV_BYTES) f->types[0] = v->np;
        return f;
    }
    if (v->kind == PV_DICT) return frame_of_dict(a, v, s, err);
    if (v->kind == PV_LIST || v->kind == PV_ARRAY) return pv_frame_from_rows(a, v, err);
    mltf_fail(err, MLTF_SCHEMA_MISMATCH, "Expected input to be DataFrame. Found: %s", pv_class(v));
    return NULL;
}

/* ---- names --------------------------------------------------------------------------------- */

static const schema_column *column_of(const schema *s, const pv *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (pv_key_equal(&s->columns[i].name, name)) return &s->columns[i];
    return NULL;
}

static void name_list(mltf_buf *b, const pv *name)
{
    if (b->n) buf_puts(b, ", ");
    pv_repr(b, name);
}

static mltf_status check_names(mltf_arena *a, const pv *names, size_t n, size_t step,
                               const schema *s, const char **extra, mltf_err *err)
{
    mltf_buf missing = MLTF_BUF_INIT, surplus = MLTF_BUF_INIT;
    for (size_t i = 0; i < s->n; i++) {
        bool found = !s->columns[i].required;
        for (size_t k = 0; k < n && !found; k++)
            found = pv_key_equal((const pv *)((const char *)names + k * step), &s->columns[i].name);
        if (!found) name_list(&missing, &s->columns[i].name);
    }
    for (size_t k = 0; k < n; k++) {
        const pv *name = (const pv *)((const char *)names + k * step);
        if (!column_of(s, name)) name_list(&surplus, name);
    }
    mltf_status st = MLTF_OK;
    if (missing.n && flag_is_true("MLFLOW_DISABLE_SCHEMA_DETAILS"))
        st = mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                       "Input schema validation failed. Mismatched or missing input(s).%s",
                       surplus.n ? " Note that there were extra inputs provided." : "");
    else if (missing.n && surplus.n)
        st = mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                       "Model is missing inputs [%s]. Note that there were extra inputs: [%s].",
                       missing.p, surplus.p);
    else if (missing.n)
        st = mltf_fail(err, MLTF_SCHEMA_MISMATCH, "Model is missing inputs [%s].", missing.p);
    else if (surplus.n && extra)
        *extra = arena_printf(a, "[%s]", surplus.p);
    mltf_buf_release(&missing);
    mltf_buf_release(&surplus);
    return st;
}

/* ---- columns ------------------------------------------------------------------------------- */

static mltf_status enforce_cells(mltf_arena *a, pv_frame *to, size_t c, const schema_column *col,
                                 mltf_err *err)
{
    pv *cells = to->cells + c * to->n_rows;
    if (col->type.kind <= ST_DATETIME)
        return enforce_column(a, &to->names[c], cells, to->n_rows, &to->types[c], col->type.kind,
                              err);
    for (size_t r = 0; r < to->n_rows; r++) {
        const pv given = cells[r];
        TRY(schema_enforce_type(a, &cells[r], &given, &col->type, col->required, err));
    }
    to->types[c] = NP_OBJECT;
    return MLTF_OK;
}

/* The default signature of text classification is one unnamed text. A frame with the pipeline's own two
 * keywords means both; MLflow itself drops the second without a word (docs/differences.md). */
static bool is_text_pair(const pv_frame *f, const schema *s)
{
    const pv text = pv_cstr("text"), pair = pv_cstr("text_pair");
    return s->n == 1 && f->n_cols == 2 && s->columns[0].type.kind == ST_STRING &&
           pv_frame_column(f, &text) >= 0 && pv_frame_column(f, &pair) >= 0;
}

static mltf_status enforce_columns(mltf_arena *a, pv *out, const pv_frame *f, const schema *s,
                                   const char **extra, mltf_err *err)
{
    const bool named = schema_is_named(s);
    if (named)
        TRY(check_names(a, f->names, f->n_cols, sizeof *f->names, s, extra, err));
    else if (f->n_cols < s->n)
        return mltf_fail(
            err, MLTF_SCHEMA_MISMATCH,
            "Model inference is missing inputs. The model signature declares %zu inputs  but "
            "the provided value only has %zu inputs. Note: the inputs were not named in the "
            "signature so we can only verify their count.",
            s->n, f->n_cols);
    const bool pair = !named && is_text_pair(f, s);
    const size_t n = pair ? 2 : s->n;
    pv_frame *to = pv_frame_new(a, n, f->n_rows);
    if (!to) return mltf_fail_memory(err);
    to->n_cols = 0;
    for (size_t i = 0; i < n; i++) {
        const schema_column *col = &s->columns[pair ? 0 : i];
        const int from = named ? pv_frame_column(f, &col->name) : (int)i;
        if (from < 0) continue; // optional and absent
        const size_t c = to->n_cols++;
        to->names[c] = f->names[from];
        to->types[c] = f->types[from];
        for (size_t r = 0; r < f->n_rows; r++) *pv_cell(to, c, r) = *pv_cell(f, (size_t)from, r);
        TRY(enforce_cells(a, to, c, col, err));
    }
    *out = (pv){.kind = PV_FRAME, .frame = to};
    return MLTF_OK;
}

/* ---- tensors ------------------------------------------------------------------------------- */

static const char *shape_text(mltf_arena *a, const size_t *shape, const int64_t *spec, size_t n)
{
    mltf_buf b = MLTF_BUF_INIT;
    buf_putc(&b, '(');
    for (size_t d = 0; d < n; d++)
        buf_printf(&b, "%s%lld", d ? ", " : "", shape ? (long long)shape[d] : (long long)spec[d]);
    buf_puts(&b, n == 1 ? ",)" : ")");
    const char *s = text_of(a, &b);
    mltf_buf_release(&b);
    return s;
}

/* numpy's name of an array's dtype: of texts it tells the longest. */
static const char *dtype_text(mltf_arena *a, const pv *v)
{
    if (v->np != NP_STR) return np_name(v->np);
    size_t longest = 1;
    for (size_t i = 0; i < v->array.n; i++) {
        const pv *x = &v->array.items[i];
        const size_t n = x->kind == PV_STR && x->s.n ? utf8_count(x->s.p, x->s.n) : 0;
        if (n > longest) longest = n;
    }
    return arena_printf(a, "<U%zu", longest);
}

static mltf_status enforce_tensor(mltf_arena *a, const pv *v, const schema_column *c, mltf_err *err)
{
    if (c->ndim == 1 && c->shape[0] == -1 && c->dtype == NP_OBJECT) return MLTF_OK;
    bool fits = v->array.ndim == c->ndim;
    for (size_t d = 0; fits && d < c->ndim; d++)
        if (c->shape[d] >= 0 && (size_t)c->shape[d] != v->array.shape[d]) fits = false;
    if (!fits)
        return mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                         "Shape of input %s does not match expected shape %s.",
                         shape_text(a, v->array.shape, NULL, v->array.ndim),
                         shape_text(a, NULL, c->shape, c->ndim));
    if (v->np != c->dtype)
        return mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                         "dtype of input %s does not match expected dtype %s", dtype_text(a, v),
                         c->dtype == NP_STR ? "<U0" : np_name(c->dtype));
    return MLTF_OK;
}

/* A column of a frame as the tensor that the schema names: scalars for shapes (-1,) and (-1, 1), lists for the other
 * ones; numbers take its dtype. name: NULL for the only input. */
static mltf_status tensor_of_column(mltf_arena *a, pv *out, const pv_frame *f, size_t col,
                                    const pv *name, const schema_column *c, mltf_err *err)
{
    bool fixed = c->ndim > 0 && c->shape[0] == -1;
    for (size_t d = 1; d < c->ndim; d++) fixed = fixed && c->shape[d] >= 0;
    const char *label = name ? printed(a, name) : "None";
    if (!fixed)
        return mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                         "For pandas dataframe input, the first dimension of shape must be a "
                         "variable dimension and other dimensions must be fixed, but in model "
                         "signature the shape of %s is %s.",
                         name ? arena_printf(a, "input %s", label) : "the unnamed input",
                         shape_text(a, NULL, c->shape, c->ndim));
    pv list = {.kind = PV_LIST};
    list.list.items = f->cells + col * f->n_rows;
    list.list.n = f->n_rows;
    const bool scalars = f->n_rows > 0 && pv_is_scalar(&list.list.items[0]);
    if (scalars && !(c->ndim == 1 || (c->ndim == 2 && c->shape[1] == 1)))
        return mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                         "The input pandas dataframe column '%s' contains scalar values, which "
                         "requires the shape to be (-1,) or (-1, 1), but got tensor spec shape of "
                         "%s.",
                         label, shape_text(a, NULL, c->shape, c->ndim));
    if (scalars && c->ndim == 2) {
        pv rows = pv_list(a, f->n_rows);
        for (size_t i = 0; i < rows.list.n; i++) {
            rows.list.items[i] = pv_list(a, 1);
            if (rows.list.items[i].list.n) rows.list.items[i].list.items[0] = list.list.items[i];
        }
        list = rows;
    }
    *out = pv_array_from(a, &list);
    if (out->kind != PV_ARRAY) return mltf_fail_memory(err);
    const char have = np_kind(out->np), want = np_kind(c->dtype);
    if ((have == 'i' || have == 'f' || have == 'b') && (want == 'f' || want == have)) {
        for (size_t i = 0; i < out->array.n && want == 'f'; i++) {
            pv *x = &out->array.items[i];
            if (x->kind == PV_INT) *x = pv_float((double)x->i);
            x->np = c->dtype;
        }
        out->np = c->dtype;
    }
    return enforce_tensor(a, out, c, err);
}

/* The whole frame as one tensor, a row a row. */
static mltf_status tensor_of_frame(mltf_arena *a, pv *out, const pv_frame *f,
                                   const schema_column *c, mltf_err *err)
{
    if (c->ndim != 2 || c->shape[0] != -1 || c->shape[1] != (int64_t)f->n_cols)
        return mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                         "This model contains a model signature with an unnamed input. Since the "
                         "input data is a pandas DataFrame containing multiple columns, the input "
                         "shape must be of the structure (-1, number_of_dataframe_columns). "
                         "Instead, the input DataFrame passed had %zu columns and an input shape "
                         "of %s with all values within the DataFrame of scalar type. Please adjust "
                         "the passed in DataFrame to match the expected structure",
                         f->n_cols, shape_text(a, NULL, c->shape, c->ndim));
    np_type np = f->types[0];
    for (size_t i = 1; i < f->n_cols; i++)
        if (f->types[i] != np) {
            const bool numbers = strchr("iuf", np_kind(np)) && strchr("iuf", np_kind(f->types[i]));
            np = numbers ? NP_FLOAT64 : NP_OBJECT;
        }
    if (np == NP_STR) np = NP_OBJECT;
    *out = pv_array(a, np, 2, (size_t[]){f->n_rows, f->n_cols});
    if (out->kind != PV_ARRAY) return mltf_fail_memory(err);
    for (size_t r = 0; r < f->n_rows; r++)
        for (size_t k = 0; k < f->n_cols; k++) {
            pv x = *pv_cell(f, k, r);
            if (np == NP_FLOAT64 && x.kind == PV_INT) x = pv_float((double)x.i);
            x.np = np == NP_OBJECT ? NP_PYTHON : np;
            out->array.items[r * f->n_cols + k] = x;
        }
    return enforce_tensor(a, out, c, err);
}

static mltf_status enforce_named_tensors(mltf_arena *a, pv *out, const pv *v, const schema *s,
                                         const char **extra, mltf_err *err)
{
    if (v->kind == PV_DICT && v->dict.n > 0)
        TRY(check_names(a, &v->dict.pairs[0].key, v->dict.n, sizeof v->dict.pairs[0], s, extra,
                        err));
    else if (v->kind == PV_FRAME)
        TRY(check_names(a, v->frame->names, v->frame->n_cols, sizeof *v->frame->names, s, extra,
                        err));
    else if (!(v->kind == PV_ARRAY && s->n == 1)) // nothing has a name
        TRY(check_names(a, NULL, 0, 0, s, extra, err));
    *out = pv_dict(a, s->n);
    for (size_t i = 0; i < s->n; i++) {
        const schema_column *c = &s->columns[i];
        pv tensor = pv_none();
        if (v->kind == PV_FRAME) {
            const int col = pv_frame_column(v->frame, &c->name);
            if (col < 0) continue;
            TRY(tensor_of_column(a, &tensor, v->frame, (size_t)col, &c->name, c, err));
        } else {
            const pv *given = v->kind == PV_ARRAY ? v : pv_get_key(v, &c->name);
            if (!given) continue;
            if (given->kind != PV_ARRAY)
                return mltf_fail(
                    err, MLTF_SCHEMA_MISMATCH,
                    "This model contains a tensor-based model signature with input names, "
                    "which suggests a dictionary input mapping input name to a numpy array, "
                    "but a dict with value type %s was found.",
                    pv_type_repr(a, given));
            TRY(enforce_tensor(a, given, c, err));
            tensor = *given;
        }
        pv_dict_add(out, c->name, tensor);
    }
    return MLTF_OK;
}

static mltf_status enforce_tensors(mltf_arena *a, pv *out, const pv *v, const schema *s,
                                   const char **extra, mltf_err *err)
{
    if (schema_is_named(s)) return enforce_named_tensors(a, out, v, s, extra, err);
    const schema_column *c = &s->columns[0];
    if (v->kind == PV_FRAME) {
        if (v->frame->n_cols == 0 || v->frame->n_rows == 0)
            return mltf_fail(err, MLTF_SCHEMA_MISMATCH, "Input DataFrame is empty.");
        return v->frame->n_cols == 1 ? tensor_of_column(a, out, v->frame, 0, NULL, c, err)
                                     : tensor_of_frame(a, out, v->frame, c, err);
    }
    if (v->kind != PV_ARRAY)
        return mltf_fail(
            err, MLTF_SCHEMA_MISMATCH,
            "This model contains a tensor-based model signature with no input names, which "
            "suggests a numpy array input or a pandas dataframe input with proper column "
            "values, but an input of type %s was found.",
            pv_type_repr(a, v));
    *out = *v;
    return enforce_tensor(a, v, c, err);
}

/* ---- the whole ----------------------------------------------------------------------------- */

mltf_status schema_enforce(mltf_arena *a, pv *out, const pv *data, const schema *s,
                           const char **extra, mltf_err *err)
{
    mltf_err why = {0};
    if (extra) *extra = NULL;
    mltf_status st;
    if (s->tensors)
        st = enforce_tensors(a, out, data, s, extra, &why);
    else {
        const pv_frame *f = to_frame(a, data, s, &why);
        st = f ? enforce_columns(a, out, f, s, extra, &why) : why.status;
    }
    if (st == MLTF_OK) return a->failed ? mltf_fail_memory(err) : MLTF_OK;
    if (st == MLTF_NO_MEMORY) return mltf_fail_memory(err);
    if (flag_is_true("MLFLOW_DISABLE_SCHEMA_DETAILS"))
        return mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                         "Failed to enforce model input schema. Please check your input data.");
    mltf_buf shown = {.max = 1000}, schema_text = {.max = 3000};
    pv_print(&shown, data);
    schema_print(&schema_text, s);
    mltf_fail(err, MLTF_SCHEMA_MISMATCH,
              "Failed to enforce schema of data '%s%s' with schema '%.1900s%s'. Error: %.1000s",
              shown.p ? shown.p : "", shown.failed ? "…" : "", schema_text.p ? schema_text.p : "",
              schema_text.n > 1900 ? "…" : "", why.msg);
    mltf_buf_release(&shown);
    mltf_buf_release(&schema_text);
    return MLTF_SCHEMA_MISMATCH;
}
