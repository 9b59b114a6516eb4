/* What Python says of a value: the names of its types, repr() and str(). */
#include "mlflow/pyvalue.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/pytext.h"
#include "base/utf8.h"
#include "formats/decimal.h"

/* ---- names --------------------------------------------------------------------------------- */

static const char *const np_names[NP_COUNT] = {
    [NP_PYTHON] = "",
    [NP_OBJECT] = "object",
    [NP_BOOL] = "bool",
    [NP_INT8] = "int8",
    [NP_INT16] = "int16",
    [NP_INT32] = "int32",
    [NP_INT64] = "int64",
    [NP_UINT8] = "uint8",
    [NP_UINT16] = "uint16",
    [NP_UINT32] = "uint32",
    [NP_UINT64] = "uint64",
    [NP_FLOAT16] = "float16",
    [NP_FLOAT32] = "float32",
    [NP_FLOAT64] = "float64",
    [NP_STR] = "str",
    [NP_BYTES] = "bytes",
    [NP_DATETIME] = "datetime64[ns]",
};

const char *np_name(np_type t)
{
    return t < NP_COUNT ? np_names[t] : "object";
}

np_type np_from_name(mltf_str name)
{
    if (name.n > 1 && (name.p[0] == '<' || name.p[0] == '|' || name.p[0] == '>')) {
        if (name.p[1] == 'U') return NP_STR;
        if (name.p[1] == 'S') return NP_BYTES;
    }
    if (str_is(name, "string") || str_is(name, "str_")) return NP_STR;
    if (str_starts(name, "datetime64")) return NP_DATETIME;
    for (np_type t = NP_OBJECT; t < NP_COUNT; t++)
        if (str_is(name, np_names[t])) return t;
    return NP_COUNT;
}

const char *pv_class(const pv *v)
{
    static const char *const numpy[NP_COUNT] = {
        [NP_BOOL] = "bool",       [NP_INT8] = "int8",       [NP_INT16] = "int16",
        [NP_INT32] = "int32",     [NP_INT64] = "int64",     [NP_UINT8] = "uint8",
        [NP_UINT16] = "uint16",   [NP_UINT32] = "uint32",   [NP_UINT64] = "uint64",
        [NP_FLOAT16] = "float16", [NP_FLOAT32] = "float32", [NP_FLOAT64] = "float64",
        [NP_STR] = "str_",        [NP_BYTES] = "bytes_",    [NP_DATETIME] = "datetime64",
    };
    if (v->kind != PV_ARRAY && v->np < NP_COUNT && numpy[v->np]) return numpy[v->np];
    switch (v->kind) {
    case PV_NONE:
        return "NoneType";
    case PV_BOOL:
        return "bool";
    case PV_INT:
    case PV_BIGINT:
        return "int";
    case PV_FLOAT:
        return "float";
    case PV_STR:
        return "str";
    case PV_BYTES:
        return "bytes";
    case PV_LIST:
        return "list";
    case PV_TUPLE:
        return "tuple";
    case PV_DICT:
        return "dict";
    case PV_ARRAY:
        return "ndarray";
    case PV_FRAME:
        return "DataFrame";
    case PV_OTHER:
        return v->s.n ? v->s.p : "object";
    }
    return "object";
}

const char *pv_type_repr(mltf_arena *a, const pv *v)
{
    const char *module = "";
    if (v->kind == PV_ARRAY || (v->np != NP_PYTHON && v->kind != PV_FRAME))
        module = "numpy.";
    else if (v->kind == PV_FRAME)
        module = "pandas.";
    const char *s = arena_printf(a, "<class '%s%s'>", module, pv_class(v));
    return s ? s : "";
}

/* ---- printing ------------------------------------------------------------------------------ */

static void repr_bytes(mltf_buf *out, mltf_str s)
{
    const bool single = memchr(s.p ? s.p : "", '\'', s.n) && !memchr(s.p ? s.p : "", '"', s.n);
    const char quote = single ? '"' : '\'';
    buf_putc(out, 'b');
    buf_putc(out, quote);
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if (c == (unsigned char)quote || c == '\\') {
            buf_putc(out, '\\');
            buf_putc(out, (char)c);
        } else if (c == '\n')
            buf_puts(out, "\\n");
        else if (c == '\r')
            buf_puts(out, "\\r");
        else if (c == '\t')
            buf_puts(out, "\\t");
        else if (c < 0x20 || c >= 0x7F)
            buf_printf(out, "\\x%02x", c);
        else
            buf_putc(out, (char)c);
    }
    buf_putc(out, quote);
}

static void repr_float(mltf_buf *out, double f)
{
    char text[32];
    buf_append(out, text, decimal_repr(text, f));
}

static void array_body(mltf_buf *out, const pv *items, const size_t *shape, size_t ndim,
                       bool commas, size_t indent)
{
    if (ndim == 0) {
        pv_repr(out, items);
        return;
    }
    size_t step = 1;
    for (size_t d = 1; d < ndim; d++) step *= shape[d];
    buf_putc(out, '[');
    for (size_t i = 0; i < shape[0]; i++) {
        if (i > 0) {
            if (commas) buf_putc(out, ',');
            if (ndim > 1) {
                buf_putc(out, '\n');
                for (size_t k = 0; k < indent + 1; k++) buf_putc(out, ' ');
            } else
                buf_putc(out, ' ');
        }
        pv one = items[i * step];
        if (ndim == 1) {
            one.np = NP_PYTHON;
            mltf_buf b = MLTF_BUF_INIT;
            pv_repr(&b, &one);
            if (one.kind == PV_FLOAT && b.n > 2 && b.p[b.n - 1] == '0' && b.p[b.n - 2] == '.')
                b.n--;
            buf_put_str(out, buf_str(&b));
            mltf_buf_release(&b);
        } else
            array_body(out, items + i * step, shape + 1, ndim - 1, commas, indent + 1);
    }
    buf_putc(out, ']');
}

static void repr_array(mltf_buf *out, const pv *v)
{
    buf_puts(out, "array(");
    array_body(out, v->array.items, v->array.shape, v->array.ndim, true, 6);
    if (v->np == NP_STR) {
        size_t longest = 1;
        for (size_t i = 0; i < v->array.n; i++)
            if (v->array.items[i].kind == PV_STR) {
                const size_t n = utf8_count(v->array.items[i].s.p, v->array.items[i].s.n);
                if (n > longest) longest = n;
            }
        buf_printf(out, ", dtype='<U%zu'", longest);
    } else if (v->np != NP_INT64 && v->np != NP_FLOAT64 && v->np != NP_BOOL)
        buf_printf(out, ", dtype=%s", np_name(v->np));
    buf_putc(out, ')');
}

static void frame_cell(mltf_buf *out, const pv *v)
{
    if (v->kind == PV_FLOAT && isnan(v->f))
        buf_puts(out, "NaN");
    else
        pv_print(out, v);
    if (utf8_count(out->p ? out->p : "", out->n) > 50) { // pandas' display.max_colwidth
        size_t keep = 0;
        for (size_t chars = 0; keep < out->n; keep++)
            if (((unsigned char)out->p[keep] & 0xC0) != 0x80 && chars++ == 46) break;
        out->n = keep;
        buf_puts(out, "...");
    }
}

static void pad(mltf_buf *out, size_t have, size_t want)
{
    for (; have < want; have++) buf_putc(out, ' ');
}

static void print_frame(mltf_buf *out, const pv_frame *f)
{
    const size_t rows = f->n_rows < 60 ? f->n_rows : 60;
    mltf_buf cell = MLTF_BUF_INIT, index = MLTF_BUF_INIT;
    buf_printf(&index, "%zu", f->n_rows ? f->n_rows - 1 : 0);
    for (size_t r = 0; r <= rows; r++) {
        if (r > 0) buf_putc(out, '\n');
        buf_clear(&cell);
        if (r > 0) buf_printf(&cell, "%zu", r - 1);
        buf_put_str(out, buf_str(&cell));
        pad(out, cell.n, index.n);
        for (size_t c = 0; c < f->n_cols; c++) {
            size_t width = 0;
            for (size_t k = 0; k <= rows; k++) {
                buf_clear(&cell);
                if (k == 0)
                    pv_print(&cell, &f->names[c]);
                else
                    frame_cell(&cell, pv_cell(f, c, k - 1));
                // pandas puts a blank before each cell, but not before the name
                const size_t n = utf8_count(cell.p ? cell.p : "", cell.n) + (k > 0);
                if (n > width) width = n;
            }
            buf_clear(&cell);
            if (r == 0)
                pv_print(&cell, &f->names[c]);
            else
                frame_cell(&cell, pv_cell(f, c, r - 1));
            buf_putc(out, ' ');
            pad(out, utf8_count(cell.p ? cell.p : "", cell.n), width);
            buf_put_str(out, buf_str(&cell));
        }
    }
    mltf_buf_release(&cell);
    mltf_buf_release(&index);
}

void pv_repr(mltf_buf *out, const pv *v)
{
    const bool boxed = v->np != NP_PYTHON && v->kind >= PV_BOOL && v->kind <= PV_BYTES;
    if (boxed) buf_printf(out, "np.%s(", v->kind == PV_BOOL ? "bool" : pv_class(v));
    switch (v->kind) {
    case PV_NONE:
        buf_puts(out, "None");
        break;
    case PV_BOOL:
        buf_puts(out, v->b ? "True" : "False");
        break;
    case PV_INT:
        buf_printf(out, "%lld", (long long)v->i);
        break;
    case PV_BIGINT:
        buf_put_str(out, v->s);
        break;
    case PV_FLOAT:
        if (v->np == NP_FLOAT32)
            json_write_float(out, (float)v->f);
        else
            repr_float(out, v->f);
        break;
    case PV_STR:
        pytext_repr(out, v->s, false);
        break;
    case PV_BYTES:
        repr_bytes(out, v->s);
        break;
    case PV_LIST:
    case PV_TUPLE:
        buf_putc(out, v->kind == PV_LIST ? '[' : '(');
        for (size_t i = 0; i < v->list.n; i++) {
            if (i > 0) buf_puts(out, ", ");
            pv_repr(out, &v->list.items[i]);
        }
        if (v->kind == PV_TUPLE && v->list.n == 1) buf_putc(out, ',');
        buf_putc(out, v->kind == PV_LIST ? ']' : ')');
        break;
    case PV_DICT:
        buf_putc(out, '{');
        for (size_t i = 0; i < v->dict.n; i++) {
            if (i > 0) buf_puts(out, ", ");
            pv_repr(out, &v->dict.pairs[i].key);
            buf_puts(out, ": ");
            pv_repr(out, &v->dict.pairs[i].value);
        }
        buf_putc(out, '}');
        break;
    case PV_ARRAY:
        repr_array(out, v);
        break;
    case PV_FRAME:
        print_frame(out, v->frame);
        break;
    case PV_OTHER:
        buf_printf(out, "<%.*s object>", STR_ARG(v->s));
        break;
    }
    if (boxed) buf_putc(out, ')');
}

void pv_print(mltf_buf *out, const pv *v)
{
    if (v->kind == PV_STR)
        buf_put_str(out, v->s);
    else if (v->kind == PV_ARRAY)
        array_body(out, v->array.items, v->array.shape, v->array.ndim, false, 0);
    else {
        const pv plain = v->kind == PV_FRAME ? *v : pv_unbox(*v);
        pv_repr(out, &plain);
    }
}
