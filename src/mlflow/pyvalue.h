/* Data as MLflow's Python code sees it on the way from a request to a pipeline.
 *
 * JSON alone does not say it: the same text may be a Python str, a numpy str in a 0-d array, a cell of
 * a frame or a key that is an integer, and MLflow's checks and messages depend on which. A pv is one such
 * value; it lives in an arena and is read directly. Frames have rows numbered from 0; column types are
 * pandas 3's. */
#ifndef MLTF_MLFLOW_PYVALUE_H
#define MLTF_MLFLOW_PYVALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "formats/json.h"

typedef enum {
    PV_NONE,
    PV_BOOL,
    PV_INT,
    PV_BIGINT, /* past 64 bits: digits in .s */
    PV_FLOAT,
    PV_STR,
    PV_BYTES,
    PV_LIST,
    PV_TUPLE,
    PV_DICT,
    PV_ARRAY,
    PV_FRAME,
    PV_OTHER, /* any other object: its class in .s */
} pv_kind;

/* numpy's element types. NP_PYTHON: a scalar of Python's own. */
typedef enum {
    NP_PYTHON,
    NP_OBJECT,
    NP_BOOL,
    NP_INT8,
    NP_INT16,
    NP_INT32,
    NP_INT64,
    NP_UINT8,
    NP_UINT16,
    NP_UINT32,
    NP_UINT64,
    NP_FLOAT16,
    NP_FLOAT32,
    NP_FLOAT64,
    NP_STR,   /* <U… ; of a column: pandas' own str */
    NP_BYTES, /* |S… */
    NP_DATETIME,
    NP_COUNT,
} np_type;

typedef struct pv pv;
typedef struct pv_pair pv_pair;
typedef struct pv_frame pv_frame;

struct pv {
    pv_kind kind;
    np_type np; /* of scalars: NP_PYTHON or the numpy scalar's type; of arrays: the elements' */
    union {
        bool b;
        int64_t i;
        double f;
        mltf_str s; /* str, bytes, digits, class name */
        struct {
            pv *items; /* [n] */
            size_t n;
        } list; /* list, tuple */
        struct {
            pv_pair *pairs; /* [n], order of insertion */
            size_t n;
        } dict;
        struct {
            pv *items; /* [product of shape], row-major */
            size_t n;
            size_t ndim;
            size_t *shape; /* [ndim] */
        } array;
        pv_frame *frame;
    };
};

struct pv_pair {
    pv key; /* str or int */
    pv value;
};

struct pv_frame {
    size_t n_cols, n_rows;
    pv *names;      /* [n_cols] str or int */
    np_type *types; /* [n_cols] NP_STR, NP_OBJECT, NP_INT64, NP_FLOAT64 … */
    pv *cells;      /* [n_cols][n_rows] by column */
};

static inline pv *pv_cell(const pv_frame *f, size_t col, size_t row)
{
    return &f->cells[col * f->n_rows + row];
}

/* Make. Texts are borrowed, not copied. */
static inline pv pv_none(void)
{
    return (pv){.kind = PV_NONE};
}
static inline pv pv_bool(bool b)
{
    return (pv){.kind = PV_BOOL, .b = b};
}
static inline pv pv_int(int64_t i)
{
    return (pv){.kind = PV_INT, .i = i};
}
static inline pv pv_float(double f)
{
    return (pv){.kind = PV_FLOAT, .f = f};
}
static inline pv pv_str(mltf_str s)
{
    return (pv){.kind = PV_STR, .s = s};
}
static inline pv pv_cstr(const char *s)
{
    return (pv){.kind = PV_STR, .s = str_from(s)};
}
pv pv_list(mltf_arena *a, size_t n);   /* of n None; items is NULL where memory ran out and n > 0 */
pv pv_dict(mltf_arena *a, size_t cap); /* empty, room for cap pairs */
void pv_dict_add(pv *dict, pv key, pv value); /* within the room given */
pv pv_array(mltf_arena *a, np_type np, size_t ndim, const size_t *shape);
#define PV_MAX_CELLS ((size_t)8 << 20) /* of a frame: 320 MB */
pv_frame *pv_frame_new(mltf_arena *a, size_t n_cols,
                       size_t n_rows); /* NULL: no memory, or more cells than that */

/* Python's json.loads(): object keys become str, the last of equal keys wins. */
pv pv_from_json(mltf_arena *a, const json *v);
/* What a pipeline gets, and what MLflow's NumpyEncoder writes: arrays as nested lists, frames as lists of
 * row objects, bytes as base64 in lines of 76, integer keys as text. */
json *pv_to_json(mltf_arena *a, const pv *v);

const pv *pv_get(const pv *dict, const char *key); /* NULL if absent */
const pv *pv_get_key(const pv *dict, const pv *key);
bool pv_key_equal(const pv *a, const pv *b);
bool pv_equal(const pv *a, const pv *b); /* Python's == for plain values */
bool pv_is_str(const pv *v);             /* a str, or numpy's */
bool pv_is_scalar(const pv *v);          /* numpy.isscalar(): numbers, bool, str, bytes */
bool pv_is_nan(const pv *v);             /* None or a float NaN */
bool pv_all_str(const pv *list);         /* a list of nothing but str; also the empty one */
bool pv_all_dict(const pv *list);
pv pv_array_item(mltf_arena *a, const pv *array,
                 size_t i); /* array[i]: a scalar, or an array of one dimension less */
pv pv_array_tolist(mltf_arena *a, const pv *array); /* numpy scalars become Python's */
pv pv_unbox(pv v);                                  /* numpy scalar -> Python's */
/* The array that numpy makes of nested lists; np NP_PYTHON: the type is found from the elements. Ragged
 * lists and mixed elements give an object array of one dimension, as far as lists are equally long. */
pv pv_array_from(mltf_arena *a, const pv *v);

const char *pv_class(const pv *v); /* type(v).__name__: "str", "ndarray", "str_" */
const char *pv_type_repr(mltf_arena *a, const pv *v); /* str(type(v)): "<class 'numpy.ndarray'>" */
const char *np_name(np_type t);                       /* "float64" */
np_type np_from_name(mltf_str name); /* "<U7", "str", "float64"; NP_COUNT for an unknown one */
/* numpy's name with its width as messages print it: "<U73"; for columns pandas' ("str", "object"). */
void pv_repr(mltf_buf *out, const pv *v); /* repr(v) */
void pv_print(mltf_buf *out,
              const pv *v); /* str(v): differs from repr for str, arrays and frames */

/* Frames. */
np_type pv_infer_column(
    pv *cells,
    size_t
        n); /* pandas' type for a column of Python values; None becomes NaN where pandas does so */
pv_frame *pv_frame_from_rows(mltf_arena *a, const pv *rows,
                             mltf_err *err); /* list of dicts, of lists or of scalars */
pv_frame *pv_frame_from_columns(mltf_arena *a, const pv *dict,
                                mltf_err *err);         /* each value a column; NULL on failure */
int pv_frame_column(const pv_frame *f, const pv *name); /* index or -1 */
pv pv_frame_records(mltf_arena *a, const pv_frame *f);  /* to_dict(orient="records") */

#endif
