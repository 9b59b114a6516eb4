/* CSV bodies, as pandas.read_csv() reads them: a header line, quotes doubled inside quotes, columns typed by
 * the signature where it names them and by their texts otherwise. */
#include "mlflow/scoring.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/utf8.h"
#include "formats/decimal.h"
#include "mlflow/pyvalue_internal.h"

#define NOT_CSV                                                                                    \
    "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid CSV-formatted " \
    "Pandas DataFrame produced using the `pandas.DataFrame.to_csv()` method. Error: "

typedef struct csv_row {
    mltf_str *cells; /* [n] */
    size_t n, cap;
    size_t line; /* of the text, where a quoted line break counts for none */
} csv_row;

typedef struct csv_reader {
    mltf_arena *a;
    const char *p, *end;
    size_t line;
    mltf_buf cell;
    bool unclosed; /* the text ended inside quotes */
} csv_reader;

static bool push_cell(csv_reader *r, csv_row *row)
{
    if (!ARENA_RESERVE(r->a, row->cells, row->cap, row->n + 1)) return false;
    row->cells[row->n++] = arena_str(r->a, buf_str(&r->cell));
    buf_clear(&r->cell);
    return !r->a->failed;
}

static bool ends_line(const csv_reader *r, const char *p)
{
    return p >= r->end || *p == '\n' || *p == '\r';
}

static void skip_line_end(csv_reader *r)
{
    if (r->p < r->end && *r->p == '\r' && r->p + 1 < r->end && r->p[1] == '\n') r->p++;
    if (r->p < r->end) r->p++;
    r->line++;
}

/* Lines of nothing but blanks are none. */
static void skip_blank_lines(csv_reader *r)
{
    while (r->p < r->end) {
        const char *p = r->p;
        while (p < r->end && (*p == ' ' || *p == '\t')) p++;
        if (!ends_line(r, p)) return;
        r->p = p;
        skip_line_end(r);
    }
}

/* One field up to its comma or the end of its line. Quotes mean something at its beginning alone; what follows the closing
 * one is text as it stands. */
static void read_cell(csv_reader *r)
{
    bool quoted = r->p < r->end && *r->p == '"';
    if (quoted) r->p++;
    for (; quoted && r->p < r->end; r->p++) {
        if (*r->p == '"' && !(r->p + 1 < r->end && r->p[1] == '"'))
            quoted = false;
        else {
            buf_putc(&r->cell, *r->p);
            r->p += *r->p == '"';
        }
    }
    r->unclosed = quoted;
    for (; !ends_line(r, r->p) && *r->p != ','; r->p++) buf_putc(&r->cell, *r->p);
}

/* One line of fields, which may span lines inside quotes. False at the end of the text or out of memory. */
static bool read_row(csv_reader *r, csv_row *row)
{
    skip_blank_lines(r);
    if (r->p >= r->end) return false;
    *row = (csv_row){.line = r->line};
    for (;; r->p++) {
        read_cell(r);
        if (!push_cell(r, row)) return false;
        if (ends_line(r, r->p)) break;
    }
    skip_line_end(r);
    return true;
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

/* Without the blanks that numbers may have around them. */
static mltf_str trimmed(mltf_str s)
{
    static const char blanks[] = " \t\n\v\f\r";
    while (s.n && s.p[0] && strchr(blanks, s.p[0])) s = str_slice(s, 1, s.n);
    while (s.n && s.p[s.n - 1] && strchr(blanks, s.p[s.n - 1])) s.n--;
    return s;
}

typedef enum { NO_INTEGER, SIGNED, UNSIGNED, TOO_LARGE } integer_kind;

static integer_kind parse_int(mltf_str s, pv *out)
{
    s = trimmed(s);
    mltf_str digits = s;
    if (s.n && (s.p[0] == '-' || s.p[0] == '+')) digits = str_slice(s, 1, s.n);
    for (size_t i = 0; i < digits.n; i++)
        if (!ascii_is_digit(digits.p[i])) return NO_INTEGER;
    if (digits.n == 0) return NO_INTEGER;
    errno = 0;
    *out = pv_int(strtoll(s.p, NULL, 10)); // ends at the blank or the NUL behind it
    if (!errno) return SIGNED;
    while (digits.n > 1 && digits.p[0] == '0') digits = str_slice(digits, 1, digits.n);
    *out = (pv){.kind = PV_BIGINT, .s = digits};
    static const char largest[] = "18446744073709551615";
    const bool fits =
        s.p[0] != '-' && (digits.n < 20 || (digits.n == 20 && memcmp(digits.p, largest, 20) <= 0));
    return fits ? UNSIGNED : TOO_LARGE;
}

/* inf is a word, without blanks; "nan" is a gap, and "+nan" a text, as is a number past all doubles. */
static bool parse_float(mltf_str s, double *out)
{
    const mltf_str number = trimmed(s);
    if (number.n == 0 || decimal_parse(out, number.p, number.n) != number.n) return false;
    return isfinite(*out) ||
           (isinf(*out) && number.n == s.n && !ascii_is_digit(s.p[s.n - 1]) && s.p[s.n - 1] != '.');
}

static int bool_word(mltf_str s)
{
    if (ascii_same(s, "true")) return 1;
    if (ascii_same(s, "false")) return 0;
    return -1;
}

/* The narrowest type that holds a column's texts: int64, uint64, float64, bool, else they stay texts. Gaps are NaN, which
 * no integer is. */
static np_type narrowest(const pv *cells, size_t n)
{
    bool ints = true, floats = true, bools = true, gaps = false, negative = false, huge = false;
    size_t present = 0;
    for (size_t r = 0; r < n; r++) {
        pv v;
        double d;
        if (is_missing(cells[r].s)) {
            gaps = true;
            continue;
        }
        present++;
        const integer_kind kind = parse_int(cells[r].s, &v);
        if (kind == TOO_LARGE) return NP_OBJECT;
        if (kind == NO_INTEGER) ints = false;
        negative |= kind == SIGNED && v.i < 0;
        huge |= kind == UNSIGNED;
        if (!parse_float(cells[r].s, &d)) floats = false;
        if (bool_word(cells[r].s) < 0) bools = false;
    }
    if (n == 0) return NP_OBJECT;
    if (present == 0) return NP_FLOAT64;
    if (ints && !gaps) return !huge ? NP_INT64 : negative ? NP_OBJECT : NP_UINT64;
    return floats ? NP_FLOAT64 : bools ? NP_BOOL : NP_STR;
}

static void type_column(pv_frame *f, size_t c)
{
    const np_type type = f->types[c] = narrowest(pv_cell(f, c, 0), f->n_rows);
    for (size_t r = 0; r < f->n_rows; r++) {
        pv *v = pv_cell(f, c, r);
        const mltf_str s = v->s;
        double d = NAN;
        if (is_missing(s)) {
            *v = pv_float(NAN);
            if (type == NP_BOOL) f->types[c] = NP_OBJECT;
        } else if (type == NP_INT64 || type == NP_UINT64) {
            parse_int(s, v);
        } else if (type == NP_FLOAT64) {
            parse_float(s, &d);
            *v = pv_float(d);
        } else if (type == NP_BOOL) {
            *v = pv_bool(bool_word(s) == 1);
        }
    }
}

static void keep_as_text(pv_frame *f, size_t c)
{
    for (size_t r = 0; r < f->n_rows; r++) {
        pv *v = pv_cell(f, c, r);
        if (is_missing(v->s)) *v = pv_float(NAN);
    }
    f->types[c] = NP_OBJECT;
}

/* The number of the name among the known ones. */
static size_t add_name(pv *known, const key_index *x, const pv *name)
{
    uint32_t *slot = key_slot(x, name);
    if (!*slot) {
        known->list.items[known->list.n++] = *name;
        *slot = (uint32_t)known->list.n;
    }
    return *slot - 1;
}

/* `name`, the first-th of the known ones, was given away: the next of name.1, name.2 … that is not known. */
static void rename_column(mltf_arena *a, pv *known, const key_index *x, size_t *next, size_t first,
                          pv *name)
{
    const mltf_str base = name->s;
    const size_t before = known->list.n;
    for (size_t number = next[first] - 1; known->list.n == before && !a->failed; number++) {
        *name = pv_str(str_from(arena_printf(a, STR_FMT ".%zu", STR_ARG(base), number)));
        next[add_name(known, x, name)] += known->list.n > before;
        next[first] = number + 1;
    }
}

/* A column without a name is called by its number; a name that comes again gets a number of its own. */
static bool name_columns(mltf_arena *a, pv_frame *f, const csv_row *head)
{
    const size_t n = f->n_cols;
    pv known = pv_list(a, 2 * n); // the names of the text, and those made of them
    size_t *next = arena_calloc(a, 2 * n, sizeof *next); // how often each was given away
    key_index x = {0};
    if (!known.list.items || !next || !key_index_make(&x, a, known.list.items, 2 * n)) return false;
    known.list.n = 0;
    for (size_t c = 0; c < n; c++) {
        const mltf_str cell = head->cells[c];
        f->names[c] = cell.n ? pv_str(cell) : pv_cstr(arena_printf(a, "Unnamed: %zu", c));
        add_name(&known, &x, &f->names[c]);
    }
    for (size_t i = 0; i < 2 * n && !a->failed; i++) { // those with a name of their own keep it
        const size_t c = i % n;
        if ((head->cells[c].n == 0) != (i >= n)) continue;
        const size_t first = add_name(&known, &x, &f->names[c]);
        if (next[first]++ > 0) rename_column(a, &known, &x, next, first, &f->names[c]);
    }
    return !a->failed;
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
                NOT_CSV
                "'Error tokenizing data. C error: Expected %zu fields in line %zu, saw %zu\n'",
                head->n + index, rows[r].line, rows[r].n);
    pv_frame *f = pv_frame_new(a, head->n, n - 1);
    if (!f) return mltf_fail_memory(err);
    if (!name_columns(a, f, head)) return mltf_fail_memory(err);
    for (size_t c = 0; c < f->n_cols; c++)
        for (size_t r = 0; r < f->n_rows; r++)
            *pv_cell(f, c, r) =
                pv_str(c + index < rows[r + 1].n ? rows[r + 1].cells[c + index] : STR(""));
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
    csv_reader reader = {.a = a, .p = text, .end = text + n, .line = 1};
    if (str_starts((mltf_str){text, n}, "\xEF\xBB\xBF")) reader.p += 3; // a byte order mark
    csv_row *rows = NULL, row;
    size_t count = 0, cap = 0;
    while (read_row(&reader, &row)) {
        if (!ARENA_RESERVE(a, rows, cap, count + 1)) break;
        rows[count++] = row;
    }
    mltf_buf_release(&reader.cell);
    if (a->failed) return mltf_fail_memory(err);
    if (reader.unclosed)
        return mltf_fail(err, MLTF_BAD_REQUEST,
                         NOT_CSV
                         "'Error tokenizing data. C error: EOF inside string starting at row %zu'",
                         count - 1);
    if (count == 0)
        return mltf_fail(err, MLTF_BAD_REQUEST, NOT_CSV "'No columns to parse from file'");
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
