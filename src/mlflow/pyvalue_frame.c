/* Frames as pandas makes them of rows and of columns, and the types it finds for them. */
#include "mlflow/pyvalue_internal.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

pv_frame *pv_frame_new(mltf_arena *a, size_t n_cols, size_t n_rows)
{
    pv_frame *f = pv_take(a, 1, sizeof *f);
    size_t n;
    // rows with ever other keys would make a frame far larger than the request
    if (!f || !checked_mul(&n, n_cols, n_rows) || n > PV_MAX_CELLS) return NULL;
    f->n_cols = n_cols;
    f->n_rows = n_rows;
    f->names = pv_take(a, n_cols, sizeof *f->names);
    f->types = pv_take(a, n_cols, sizeof *f->types);
    f->cells = pv_take(a, n, sizeof *f->cells);
    return f->names && f->types && f->cells ? f : NULL;
}

/* Past 2^63 but not past 2^64, and nothing negative. */
static bool all_uint64(const pv *cells, size_t n)
{
    static const char largest[] = "18446744073709551615";
    for (size_t i = 0; i < n; i++) {
        const mltf_str s = cells[i].s;
        if (cells[i].kind == PV_INT ? cells[i].i < 0
                                    : cells[i].kind != PV_BIGINT || s.p[0] == '-' || s.n > 20 ||
                                          (s.n == 20 && memcmp(s.p, largest, 20) > 0))
            return false;
    }
    return true;
}

np_type pv_infer_column(pv *cells, size_t n)
{
    size_t kinds[PV_OTHER + 1] = {0};
    for (size_t i = 0; i < n; i++) {
        kinds[cells[i].kind]++;
        cells[i] = pv_unbox(cells[i]);
    }
    const size_t none = kinds[PV_NONE];
    size_t nans = 0;
    for (size_t i = 0; i < n; i++)
        if (cells[i].kind == PV_FLOAT && isnan(cells[i].f)) nans++;
    if (n == 0 || none == n) return NP_OBJECT;
    if (kinds[PV_STR] > 0 && kinds[PV_STR] + none + nans == n) {
        for (size_t i = 0; i < n; i++)
            if (cells[i].kind == PV_NONE) cells[i] = pv_float(NAN);
        return NP_STR;
    }
    if (kinds[PV_BOOL] == n) return NP_BOOL;
    if (kinds[PV_INT] == n) return NP_INT64;
    if (kinds[PV_BIGINT] > 0 && all_uint64(cells, n)) return NP_UINT64;
    if (kinds[PV_INT] + kinds[PV_FLOAT] + none == n) {
        for (size_t i = 0; i < n; i++)
            cells[i] = pv_float(cells[i].kind == PV_NONE ? NAN : pv_number(&cells[i]));
        return NP_FLOAT64;
    }
    return NP_OBJECT;
}

static void infer_columns(pv_frame *f)
{
    for (size_t c = 0; c < f->n_cols; c++)
        f->types[c] = pv_infer_column(f->cells + c * f->n_rows, f->n_rows);
}

/* Named columns, in order of first appearance. NULL with err set, or without memory. */
static pv_frame *frame_of_dicts(mltf_arena *a, const pv *rows, size_t n, mltf_err *err)
{
    size_t total = 0, cols = 0;
    for (size_t i = 0; i < n; i++) total += rows[i].dict.n;
    pv names = pv_list(a, total);
    key_index x = {0};
    if (!names.list.items || !key_index_make(&x, a, names.list.items, total)) {
        mltf_fail_memory(err);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < rows[i].dict.n; k++) {
            uint32_t *slot = key_slot(&x, &rows[i].dict.pairs[k].key);
            if (*slot) continue;
            names.list.items[cols++] = rows[i].dict.pairs[k].key;
            *slot = (uint32_t)cols;
        }
    if (cols > 0 && n > PV_MAX_CELLS / cols) {
        mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                  "%zu rows with %zu different keys make a frame of more than %zu cells", n, cols,
                  PV_MAX_CELLS);
        return NULL;
    }
    pv_frame *f = pv_frame_new(a, cols, n);
    if (!f) mltf_fail_memory(err);
    for (size_t c = 0; f && c < cols; c++) {
        f->names[c] = names.list.items[c];
        for (size_t i = 0; i < n; i++) *pv_cell(f, c, i) = pv_float(NAN);
    }
    for (size_t i = 0; f && i < n; i++)
        for (size_t k = 0; k < rows[i].dict.n; k++) {
            const pv_pair *pair = &rows[i].dict.pairs[k];
            *pv_cell(f, *key_slot(&x, &pair->key) - 1, i) = pair->value;
        }
    return f;
}

/* Columns 0, 1, …; short rows are filled with None. */
static pv_frame *frame_of_lists(mltf_arena *a, const pv *rows, size_t n, mltf_err *err)
{
    size_t cols = 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i].list.n > cols) cols = rows[i].list.n;
    pv_frame *f = pv_frame_new(a, cols, n);
    if (!f) mltf_fail_memory(err);
    for (size_t c = 0; f && c < cols; c++) {
        f->names[c] = pv_int((int64_t)c);
        for (size_t i = 0; i < n; i++)
            *pv_cell(f, c, i) = c < rows[i].list.n ? rows[i].list.items[c] : pv_none();
    }
    return f;
}

static pv_frame *frame_of_values(mltf_arena *a, const pv *rows, size_t n, mltf_err *err)
{
    pv_frame *f = pv_frame_new(a, n > 0 ? 1 : 0, n);
    if (!f) mltf_fail_memory(err);
    if (f && n > 0) {
        f->names[0] = pv_int(0);
        memcpy(f->cells, rows, n * sizeof *f->cells);
    }
    return f;
}

/* pandas: rows that are dicts give named columns in order of first appearance; rows that are lists give
 * columns 0, 1, …; anything else one column 0. */
pv_frame *pv_frame_from_rows(mltf_arena *a, const pv *rows, mltf_err *err)
{
    pv list = rows->kind == PV_ARRAY ? pv_none() : *rows;
    np_type given = NP_PYTHON;
    if (rows->kind == PV_ARRAY) {
        if (rows->array.ndim > 2) {
            mltf_fail(err, MLTF_SCHEMA_MISMATCH, "Must pass 2-d input. shape=%zu dimensions",
                      rows->array.ndim);
            return NULL;
        }
        list = pv_array_tolist(a, rows);
        if (list.kind != PV_LIST) {
            pv one = pv_list(a, 1);
            if (one.list.n) one.list.items[0] = list;
            list = one;
        }
        given = rows->np;
    }
    const pv *items = list.list.items;
    const size_t n = list.list.n;
    bool dicts = n > 0, lists = n > 0;
    for (size_t i = 0; i < n; i++) {
        if (items[i].kind != PV_DICT) dicts = false;
        if (items[i].kind != PV_LIST && items[i].kind != PV_TUPLE) lists = false;
    }
    pv_frame *f = dicts   ? frame_of_dicts(a, items, n, err)
                  : lists ? frame_of_lists(a, items, n, err)
                          : frame_of_values(a, items, n, err);
    if (!f) return NULL;
    if (given == NP_PYTHON || given == NP_OBJECT)
        infer_columns(f);
    else
        for (size_t c = 0; c < f->n_cols; c++) f->types[c] = given == NP_BYTES ? NP_OBJECT : given;
    return f;
}

pv_frame *pv_frame_from_columns(mltf_arena *a, const pv *dict, mltf_err *err)
{
    size_t rows = 0;
    bool known = false, dicts = false, lists = false;
    for (size_t c = 0; c < dict->dict.n; c++) {
        const pv *v = &dict->dict.pairs[c].value;
        size_t n;
        if (v->kind == PV_ARRAY) {
            if (v->array.ndim == 0) continue; // a scalar: repeated
            if (v->array.ndim > 1) {
                mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                          "Per-column arrays must each be 1-dimensional");
                return NULL;
            }
            n = v->array.n;
        } else if (v->kind == PV_LIST || v->kind == PV_TUPLE)
            n = v->list.n;
        else if (v->kind == PV_DICT) { // its keys become the rows
            n = v->dict.n;
            dicts = true;
        } else
            continue;
        if (known && n != rows) {
            mltf_fail(err, MLTF_SCHEMA_MISMATCH, "All arrays must be of the same length");
            return NULL;
        }
        lists |= v->kind != PV_DICT;
        rows = n;
        known = true;
    }
    if (dicts && lists) {
        mltf_fail(err, MLTF_SCHEMA_MISMATCH,
                  "Mixing dicts with non-Series may lead to ambiguous ordering.");
        return NULL;
    }
    if (!known && dict->dict.n > 0) {
        mltf_fail(err, MLTF_SCHEMA_MISMATCH, "If using all scalar values, you must pass an index");
        return NULL;
    }
    pv_frame *f = pv_frame_new(a, dict->dict.n, rows);
    if (!f) {
        mltf_fail_memory(err);
        return NULL;
    }
    for (size_t c = 0; c < f->n_cols; c++) {
        const pv *v = &dict->dict.pairs[c].value;
        f->names[c] = dict->dict.pairs[c].key;
        for (size_t i = 0; i < rows; i++) {
            pv x = *v;
            if (v->kind == PV_ARRAY)
                x = v->array.items[v->array.ndim == 0 ? 0 : i];
            else if (v->kind == PV_LIST || v->kind == PV_TUPLE)
                x = v->list.items[i];
            else if (v->kind == PV_DICT)
                x = v->dict.pairs[i].value;
            *pv_cell(f, c, i) = pv_unbox(x);
        }
        f->types[c] = pv_infer_column(f->cells + c * rows, rows);
        if (v->kind == PV_ARRAY && v->np != NP_OBJECT && v->np != NP_BYTES) f->types[c] = v->np;
    }
    return f;
}

int pv_frame_column(const pv_frame *f, const pv *name)
{
    for (size_t c = 0; c < f->n_cols; c++)
        if (pv_key_equal(&f->names[c], name)) return (int)c;
    return -1;
}

pv pv_frame_records(mltf_arena *a, const pv_frame *f)
{
    pv list = pv_list(a, f->n_rows);
    for (size_t r = 0; r < list.list.n; r++) {
        pv row = pv_dict(a, f->n_cols);
        for (size_t c = 0; c < f->n_cols; c++) pv_dict_add(&row, f->names[c], *pv_cell(f, c, r));
        list.list.items[r] = row;
    }
    return list;
}
