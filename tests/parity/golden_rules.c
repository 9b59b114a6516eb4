/* The list of intended differences: table rows of docs/differences.md whose first cell is `R` and a number.
 *
 *     | R18 | text_classification | pyfunc.predict | `"input": "5"` | answers | reason … |
 *
 * A difference counts as listed where the case's name fits the glob, the call is that, the record contains the text
 * between the backticks, and what happens here is of that kind. An answer that differs is judged place by place: `answers *completion_tokens`. */
#include "golden.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static char *cell(mltf_arena *a, char **p)
{
    char *start = *p;
    char *end = start;
    for (bool quoted = false; *end && (quoted || *end != '|'); end++)
        if (*end == '`') quoted = !quoted;
    *p = *end ? end + 1 : end;
    while (start < end && (*start == ' ' || *start == '`')) start++;
    while (end > start && (end[-1] == ' ' || end[-1] == '`')) end--;
    return arena_strdup(a, start, (size_t)(end - start));
}

void golden_load_rules(golden *g, const char *path)
{
    mltf_buf text = MLTF_BUF_INIT;
    if (file_read(&text, path, (size_t)1 << 22, NULL) != MLTF_OK) return;
    mltf_arena *a = &g->doc.arena;
    for (char *line = text.p, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        else
            next = line + strlen(line);
        if (strncmp(line, "| R", 3) != 0 || g->n_rules == sizeof g->rules / sizeof *g->rules)
            continue;
        char *p = line + 1;
        golden_rule *r = &g->rules[g->n_rules++];
        r->id = cell(a, &p);
        r->cases = cell(a, &p);
        r->call = cell(a, &p);
        r->recorded = cell(a, &p);
        r->here = cell(a, &p);
    }
    mltf_buf_release(&text);
}

bool golden_listed(golden *g, const char *call, const char *here)
{
    for (size_t i = 0; i < g->n_rules; i++) {
        golden_rule *r = &g->rules[i];
        if (fnmatch(r->call, call, 0) != 0 || fnmatch(r->cases, g->name, 0) != 0 ||
            fnmatch(r->here, here, 0) != 0)
            continue;
        if (*r->recorded && !strstr(g->record_text, r->recorded)) continue;
        r->used++;
        return true;
    }
    return false;
}

void golden_verdict(golden *g, const json *record, bool ok, const char *here, const char *why)
{
    const mltf_str call = json_string(json_get(record, "call"), STR(""));
    const char *name = arena_strdup(&g->a, call.p, call.n);
    if (ok)
        parity_pass(&g->count);
    else if (golden_listed(g, name, here))
        g->listed++;
    else
        parity_fail(&g->count, "%s record %zu %s: %s  [%.200s]", g->name, g->at, name,
                    why ? why : "differs", g->record_text);
}

void golden_verdict_diffs(golden *g, const json *record)
{
    const mltf_str call = json_string(json_get(record, "call"), STR(""));
    const char *name = arena_strdup(&g->a, call.p, call.n);
    for (size_t i = 0; i < g->n_diffs; i++)
        if (!golden_listed(g, name, arena_printf(&g->a, "answers %s", g->diffs[i].path))) {
            golden_verdict(g, record, false, "", g->diffs[i].why);
            return;
        }
    if (g->n_diffs)
        g->listed++;
    else
        parity_pass(&g->count);
}
