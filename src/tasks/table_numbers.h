/* Numbers and dates in the text of tables and questions, as TAPAS reads them: which cells of a column can be
 * ordered, and how a question's numbers compare with them. */
#ifndef MLTF_TASKS_TABLE_NUMBERS_H
#define MLTF_TASKS_TABLE_NUMBERS_H

#include "base/arena.h"
#include "base/status.h"

/* A number, or a date of which parts may be missing (0). */
typedef struct table_value {
    bool is_date;
    double number;
    int year, month, day;
} table_value;

typedef struct table_values {
    table_value *p; /* [n] in the order of the text */
    size_t n;
} table_values;

/* Everything that reads as a number or a date; of overlapping readings the longest. */
mltf_status table_parse(mltf_arena *a, mltf_str text, table_values *out, mltf_err *err);

/* One value a cell where at least 0.7 of the cells have one of the same kind. kept[i].n is 0 or 1. */
void table_consolidate(const table_values *cells, size_t n, table_values *kept);

/* Which parts can be compared across all values: bits 1 year, 2 month, 4 day for dates, 8 for numbers; 0: none. */
unsigned table_common(const table_value *const *values, size_t n);
int table_compare(const table_value *a, const table_value *b, unsigned common);

#endif
