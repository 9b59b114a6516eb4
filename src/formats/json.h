/* JSON with the semantics of Python's json module.
 *
 *     json_doc doc = JSON_DOC_INIT;
 *     TRY(json_parse(&doc, text, n, NULL, err));
 *     const json *v = json_get(doc.root, "hidden_size");   // NULL if absent
 *     int64_t h = json_int(v, 768);                        // fallback if absent or of another type
 *     json_doc_release(&doc);
 *
 * NaN, Infinity and -Infinity are numbers; integers of any size are kept (as text past 64 bits); a
 * duplicate key stays in the object, and json_get() finds the last, as Python does; lone surrogates
 * \ud800 are kept in WTF-8. Objects keep the order of their keys. Values live in an arena and are
 * plain structs that may be read directly; none is freed alone. */
#ifndef MLTF_FORMATS_JSON_H
#define MLTF_FORMATS_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"

typedef enum {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,    /* fits int64 */
    JSON_BIGINT, /* digits kept as text in .s */
    JSON_DOUBLE,
    JSON_FLOAT,  /* only made by json_new_float: a float32, written like numpy's float32 -> Python float */
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
} json_type;

typedef struct json json;
typedef struct json_member json_member;

struct json {
    json_type type;
    uint32_t cap; /* of items or members, while building */
    union {
        bool b;
        int64_t i;
        double d;
        mltf_str s;
        struct {
            json *items; /* [n] */
            size_t n;
        } a;
        struct {
            json_member *members; /* [n] */
            size_t n;
        } o;
    };
};

struct json_member {
    mltf_str key;
    json value;
};

typedef struct json_doc {
    mltf_arena arena;
    json *root; /* NULL before a parse */
} json_doc;
#define JSON_DOC_INIT {MLTF_ARENA_INIT, NULL}

typedef struct json_parse_options {
    bool strict;        /* refuse NaN, Infinity and duplicate keys (safetensors headers) */
    size_t max_depth;   /* 0: LIMIT_JSON_DEPTH */
    bool trailing;      /* allow bytes behind the value; *end_offset tells where it ended */
    size_t *end_offset; /* may be NULL */
} json_parse_options;

/* Parse one value. The text is copied where needed and may go away afterwards. A UTF-8 byte order
 * mark is refused, as Python refuses it. CORRUPT_FILE with line, column and byte: messages begin
 * with Python's words ("Expecting value: line 1 column 1 (char 0)"). opts may be NULL. */
mltf_status json_parse(json_doc *doc, const char *text, size_t n, const json_parse_options *opts, mltf_err *err);
mltf_status json_parse_file(json_doc *doc, const char *path, const json_parse_options *opts, mltf_err *err);
/* The same into an arena of the caller. */
mltf_status json_parse_in(mltf_arena *arena, json **out, const char *text, size_t n, const json_parse_options *opts,
                          mltf_err *err);
/* What a caller gave as an option: what is no JSON is INVALID_INPUT, "WHAT is not valid JSON: ...". */
mltf_status json_parse_option(mltf_arena *arena, json **out, const char *text, size_t n, const char *what, mltf_err *err);
/* The same, and anything but an object is refused. */
mltf_status json_parse_object(mltf_arena *arena, json **out, const char *text, const char *what, mltf_err *err);
void json_doc_release(json_doc *doc);

/* Read. All accept NULL and a value of another type, and then give the fallback. */
const json *json_get(const json *object, const char *key);        /* the last of that name, or NULL */
const json *json_get_str(const json *object, mltf_str key);
const json *json_at(const json *array, size_t i);                 /* or NULL */
size_t json_len(const json *v);                                   /* items or members; else 0 */
bool json_is(const json *v, json_type type);                      /* false for NULL */
bool json_is_number(const json *v);
bool json_bool(const json *v, bool fallback);
int64_t json_int(const json *v, int64_t fallback);                /* a double without fraction counts */
double json_double(const json *v, double fallback);               /* integers count */
mltf_str json_string(const json *v, mltf_str fallback);
const char *json_type_name(const json *v);                        /* Python's: "dict", "str", "NoneType" … */
bool json_equal(const json *a, const json *b);                    /* 1 == 1.0; order of keys is ignored */

/* Build. NULL on failure, which also sets arena->failed: build all, test once. Setters copy the value
 * struct (not what hangs below it), return the place inside the parent, and accept NULL parents or
 * values (then NULL). A place stays valid until its parent grows. */
json *json_new_null(mltf_arena *a);
json *json_new_bool(mltf_arena *a, bool b);
json *json_new_int(mltf_arena *a, int64_t i);
json *json_new_double(mltf_arena *a, double d);
json *json_new_float(mltf_arena *a, float f);
json *json_new_string(mltf_arena *a, mltf_str s); /* copies the bytes */
json *json_new_cstr(mltf_arena *a, const char *s);
json *json_new_array(mltf_arena *a);
json *json_new_object(mltf_arena *a);
json *json_push(mltf_arena *a, json *array, const json *value);
json *json_set(mltf_arena *a, json *object, const char *key, const json *value); /* replaces one of that name */
json *json_set_str(mltf_arena *a, json *object, mltf_str key, const json *value);
json *json_add_str(mltf_arena *a, json *object, mltf_str key, const json *value); /* appends without looking for one of that name */
bool json_remove(json *object, const char *key);
json *json_clone(mltf_arena *a, const json *v); /* deep */

/* Write. */
typedef struct json_write_options {
    bool ensure_ascii;       /* \uXXXX for everything beyond ASCII (Python's default) */
    bool compact;            /* "," and ":" instead of Python's ", " and ": " */
    int indent;              /* 0: one line; else spaces a level, as json.dumps(indent=…) */
    bool sort_keys;
    bool nan_as_null;        /* NaN and infinities as null; otherwise as Python writes them */
    bool newline;            /* one behind the value */
} json_write_options;

void json_write(mltf_buf *out, const json *v, const json_write_options *opts); /* opts NULL: Python's json.dumps(v) with ensure_ascii */
/* The same as the file dir/name. */
mltf_status json_write_file(const char *dir, const char *name, const json *v,
                            const json_write_options *opts, mltf_err *err);
void json_write_string(mltf_buf *out, mltf_str s, bool ensure_ascii);          /* with quotes */
void json_write_double(mltf_buf *out, double d); /* repr(): shortest digits that read back equal */
void json_write_float(mltf_buf *out, float f);   /* repr(float(f)) of the widened value */

#endif
