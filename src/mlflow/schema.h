/* MLflow's signatures: what a model takes, gives and accepts as params.
 *
 * JSON text: `[{"type": "string", "name": "x", "required": true}]` for columns, `[{"name": "n", "type":
 * "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 32]}}]` for tensors, `[{"name": …,
 * "default": …, "shape": null, "type": "long"}]` for params. Printed form, in messages:
 * `['x': string (required), 'y': Array(double) (optional)]`, `[Tensor('float64', (-1, 32))]`. */
#ifndef MLTF_MLFLOW_SCHEMA_H
#define MLTF_MLFLOW_SCHEMA_H

#include "mlflow/pyvalue.h"

typedef enum {
    ST_BOOLEAN,
    ST_INTEGER, /* 32 bit */
    ST_LONG,
    ST_FLOAT, /* 32 bit */
    ST_DOUBLE,
    ST_STRING,
    ST_BINARY,
    ST_DATETIME, /* the last scalar */
    ST_ARRAY,
    ST_OBJECT,
    ST_MAP,
    ST_ANY,
    ST_SPARKML_VECTOR,
    ST_KIND_COUNT,
} schema_kind;

typedef struct schema_type schema_type;
typedef struct schema_prop schema_prop;

struct schema_type {
    schema_kind kind;
    schema_type *item;  /* of ST_ARRAY and ST_MAP */
    schema_prop *props; /* [n_props] of ST_OBJECT, sorted by name */
    size_t n_props;
};

struct schema_prop {
    mltf_str name;
    schema_type type;
    bool required;
};

typedef struct schema_column {
    pv name; /* PV_NONE: unnamed; str or int */
    schema_type type;
    bool required;
    np_type dtype; /* tensors */
    size_t ndim;
    int64_t *shape; /* [ndim] -1: any */
} schema_column;

typedef struct schema {
    size_t n;
    schema_column *columns; /* [n] */
    bool tensors;
} schema;

typedef struct param_spec {
    mltf_str name;
    schema_type type;
    bool is_list; /* shape [-1] */
    pv default_value;
} param_spec;

typedef struct param_schema {
    size_t n;
    param_spec *params; /* [n] */
} param_schema;

/* Absent parts are NULL. */
typedef struct signature {
    schema *inputs, *outputs;
    param_schema *params;
} signature;

static inline bool schema_is_named(const schema *s) { return s->n > 0 && s->columns[0].name.kind != PV_NONE; }

/* Parse the JSON text of one part. Values live in the arena. INVALID_INPUT says what is wrong. */
mltf_status schema_parse(mltf_arena *a, schema **out, mltf_str text, mltf_err *err);
mltf_status param_schema_parse(mltf_arena *a, param_schema **out, mltf_str text, mltf_err *err);
/* The map under `signature` in MLmodel: inputs, outputs, params; each a text or null. */
mltf_status signature_parse(mltf_arena *a, signature *out, const json *map, mltf_err *err);

/* The JSON text, exactly as MLflow writes it. Appends. */
void schema_write(mltf_buf *out, const schema *s);
void param_schema_write(mltf_buf *out, const param_schema *p);
json *signature_to_json(mltf_arena *a, const signature *s); /* the map for MLmodel */

void schema_print(mltf_buf *out, const schema *s); /* str(schema) */
void schema_type_print(mltf_buf *out, const schema_type *t);
const char *schema_kind_name(schema_kind k);  /* "string", "array" */
np_type schema_kind_numpy(schema_kind k);     /* NP_INT32 of ST_INTEGER … */
const char *schema_numpy_print(np_type t);    /* as messages print it: "<U0", "|S0", "int64", "bool" */
bool schema_equal(const schema *a, const schema *b);

/* From data (schema_infer.c). schema_infer() never fails for want of a type: where Python's code raises,
 * it falls back to one unnamed `any` column and says so in *fell_back. */
mltf_status schema_infer(mltf_arena *a, schema **out, const pv *data, bool *fell_back, mltf_err *err);
/* INVALID_INPUT: "Failed to infer schema for parameters: [...]" */
mltf_status param_schema_infer(mltf_arena *a, param_schema **out, const pv *params, mltf_err *err);

/* Enforcement (schema_enforce.c): data against the input schema, as PyFuncModel.predict does before the
 * wrapper sees it. *out is a frame, or an array for tensor schemas. SCHEMA_MISMATCH with MLflow's words.
 * *extra, if not NULL, receives the dropped columns as a printed list (NULL: none). */
mltf_status schema_enforce(mltf_arena *a, pv *out, const pv *data, const schema *s, const char **extra, mltf_err *err);
/* One value against one type. The message is the bare reason. */
mltf_status schema_enforce_type(mltf_arena *a, pv *out, const pv *data, const schema_type *t, bool required, mltf_err *err);

/* Params (params.c): defaults, conversions, unknown ones dropped. *out is a dict. s NULL: none are taken.
 * *warning, if not NULL, receives what was dropped, in MLflow's words (NULL: nothing). */
mltf_status param_enforce(mltf_arena *a, pv *out, const pv *v, const param_spec *s, mltf_err *err); /* one */
mltf_status params_enforce(mltf_arena *a, pv *out, const pv *params, const param_schema *s, const char **warning, mltf_err *err);

/* The signature a task gets when there is nothing to infer from (signature_defaults.c). False: none. */
bool signature_default(mltf_arena *a, signature *out, const char *task);
/* Fixed signatures of llm/v1/chat, /completions, /embeddings. False for another name. */
bool signature_llm(mltf_arena *a, signature *out, const char *inference_task);

#endif
