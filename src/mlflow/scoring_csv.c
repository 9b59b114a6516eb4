/* CSV bodies, as pandas.read_csv() reads them: a header line, quotes doubled inside quotes, columns typed by
 * the signature where it names them and by their texts otherwise. */
#include "mlflow/scoring.h"

#include <math.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/utf8.h"
#include "formats/decimal.h"

typedef struct csv_row {
    mltf_str *cells; /* [n] */
    size_t n, cap;
} csv_row;

typedef struct csv_reader {
    mltf_arena *a;
    const char *p, *end;
    mltf_buf cell;
} csv_reader;

static bool push_cell(csv_reader *r, csv_row *row)
{
    if (!ARENA_RESERVE(r->a, row->cells, row->cap, row->n + 1)) return false;
    row->cells[row->n++] = arena_str(r->a, buf_str(&r->cell));
    buf_clear(&r->cell);
    return !r->a->failed;
}

/* One line of fields, which may span lines inside quotes. False at the end of the text or out of memory. */
static bool read_row(csv_reader *r, csv_row *row)
{
    *row = (csv_row){0};
    while (r->p < r->end && (*r->p == '\n' || *r->p == '\r')) r->p++; // blank lines are skipped
    if (r->p >= r->end) return false;
    for (bool quoted = false;; r->p++) {
        if (r->p >= r->end || (!quoted && (*r->p == '\n' || *r->p == '\r'))) break;
        const char c = *r->p;
        if (c == '"' && quoted && r->p + 1 < r->end && r->p[1] == '"') {
            buf_putc(&r->cell, '"');
            r->p++;
        } else if (c == '"')
            quoted = !quoted;
        else if (c == ',' && !quoted) {
            if (!push_cell(r, row)) return false;
        } else
            buf_putc(&r->cell, c);
    }
    return push_cell(r, row);
}

static bool is_missing(mltf_str s)
{
    static const char *const words[] = {"",         "#N/A", "#N/A N/A", "#NA",    "-1.#IND",
                                        "-1.#QNAN", "-NaN", "-nan",     "1.#IND", "1.#QNAN",
                                        "<NA>",     "N/A",  "NA",       "NULL",   "NaN",
                                        "None",     "n/a",  "nan",      "null"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_is(s, words[i])) return true;
    return false;
}

static bool parse_int(mltf_str s, int64_t *out)
{
    char *end = NULL;
    if (s.n == 0 || s.n > 19) return false;
    *out = strtoll(s.p, &end, 10); // arena texts end with a NUL
    return end == s.p + s.n;
}

static bool parse_float(mltf_str s, double *out)
{
    return s.n > 0 && decimal_parse(out, s.p, s.n) == s.n;
}

static int bool_word(mltf_str s)
{
    if (ascii_same(s, "true")) return 1;
    if (ascii_same(s, "false")) return 0;
    return -1;
}

/* Give the texts of a column the narrowest type that holds all: int64, float64, bool, else text. */
static void type_column(pv_frame *f, size_t c)
{
    bool ints = true, floats = true, bools = true, gaps = false;
    size_t present = 0;
    for (size_t r = 0; r < f->n_rows; r++) {
        const mltf_str s = pv_cell(f, c, r)->s;
        int64_t i;
        double d;
        if (is_missing(s)) {
            gaps = true;
            continue;
        }
        present++;
        if (!parse_int(s, &i)) ints = false;
        if (!parse_float(s, &d)) floats = false;
        if (bool_word(s) < 0) bools = false;
    }
    for (size_t r = 0; r < f->n_rows; r++) {
        pv *v = pv_cell(f, c, r);
        const mltf_str s = v->s;
        int64_t i = 0;
        double d = NAN;
        if (is_missing(s))
            *v = pv_float(NAN);
        else if (present && ints && !gaps && parse_int(s, &i))
            *v = pv_int(i);
        else if (present && floats && parse_float(s, &d))
            *v = pv_float(d);
        else if (present && bools && !gaps)
            *v = pv_bool(bool_word(s) == 1);
    }
    f->types[c] = !present         ? NP_FLOAT64
                  : ints && !gaps  ? NP_INT64
                  : floats         ? NP_FLOAT64
                  : bools && !gaps ? NP_BOOL
                                   : NP_STR;
}

static void keep_as_text(pv_frame *f, size_t c)
{
    for (size_t r = 0; r < f->n_rows; r++) {
        pv *v = pv_cell(f, c, r);
        if (is_missing(v->s)) *v = pv_float(NAN);
    }
    f->types[c] = NP_OBJECT;
}

static mltf_status build(mltf_arena *a, pv_frame **out, const csv_row *rows, size_t n,
                         mltf_err *err)
{
    const csv_row *head = &rows[0];
    size_t index = 0; // surplus leading fields of the rows are an index without a name
    if (n > 1 && rows[1].n > head->n) index = rows[1].n - head->n;
    for (size_t r = 1; r < n; r++)
        if (rows[r].n > head->n + index)
            return mltf_fail(
                err, MLTF_BAD_REQUEST,
                "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid "
                "CSV-formatted "
                "Pandas DataFrame produced using the `pandas.DataFrame.to_csv()` method. Error: "
                "'Error "
                "tokenizing data. C error: Expected %zu fields in line %zu, saw %zu\n'",
                head->n + index, r + 1, rows[r].n);
    pv_frame *f = pv_frame_new(a, head->n, n - 1);
    if (!f) return mltf_fail_memory(err);
    for (size_t c = 0; c < f->n_cols; c++) {
        f->names[c] = pv_str(head->cells[c]);
        if (head->cells[c].n == 0) f->names[c] = pv_cstr(arena_printf(a, "Unnamed: %zu", c));
        for (size_t r = 0; r < f->n_rows; r++)
            *pv_cell(f, c, r) =
                pv_str(c + index < rows[r + 1].n ? rows[r + 1].cells[c + index] : STR(""));
    }
    *out = f;
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

mltf_status scoring_parse_csv(mltf_arena *a, scoring_request *out, const char *text, size_t n,
                              const signature *sig, mltf_err *err)
{
    *out = (scoring_request){0};
    if (!utf8_valid(text, n))
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         "Invalid input. Ensure that input is a valid UTF-8 encoded string.");
    csv_reader reader = {.a = a, .p = text, .end = text + n};
    csv_row *rows = NULL, row;
    size_t count = 0, cap = 0;
    while (read_row(&reader, &row)) {
        if (!ARENA_RESERVE(a, rows, cap, count + 1)) break;
        rows[count++] = row;
    }
    mltf_buf_release(&reader.cell);
    if (a->failed) return mltf_fail_memory(err);
    if (count == 0)
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         "Failed to parse input as a Pandas DataFrame. Ensure that the input is a "
                         "valid CSV-formatted Pandas "
                         "DataFrame produced using the `pandas.DataFrame.to_csv()` method. Error: "
                         "'No columns to parse from "
                         "file'");
    pv_frame *f = NULL;
    TRY(build(a, &f, rows, count, err));
    for (size_t c = 0; c < f->n_cols; c++) {
        const schema_column *col = NULL;
        for (size_t i = 0; sig->inputs && !sig->inputs->tensors && i < sig->inputs->n; i++)
            if (sig->inputs->columns[i].name.kind != PV_NONE &&
                pv_key_equal(&sig->inputs->columns[i].name, &f->names[c]))
                col = &sig->inputs->columns[i];
        if (col && (col->type.kind == ST_STRING || col->type.kind == ST_BINARY))
            keep_as_text(f, c);
        else
            type_column(f, c);
    }
    out->data = (pv){.kind = PV_FRAME, .frame = f};
    return MLTF_OK;
}
