#include "formats/yaml_types.h"
#include "base/ascii.h"

static bool one_of(mltf_str s, const char *const *words)
{
    for (; *words; words++) {
        if (str_is(s, *words)) return true;
    }
    return false;
}

/* Moves past [0-9], or [0-9_] with underscores; returns how many. */
static size_t digits(mltf_str s, size_t *i, bool underscores)
{
    const size_t start = *i;
    while (*i < s.n && (ascii_is_digit(s.p[*i]) || (underscores && s.p[*i] == '_'))) (*i)++;
    return *i - start;
}

/* (:[0-5]?[0-9])+ */
static bool sixties(mltf_str s, size_t *i)
{
    bool any = false;
    while (*i < s.n && s.p[*i] == ':') {
        size_t k = *i + 1;
        if (k < s.n && s.p[k] >= '0' && s.p[k] <= '5' && k + 1 < s.n && ascii_is_digit(s.p[k + 1]))
            k += 2;
        else if (k < s.n && ascii_is_digit(s.p[k]))
            k++;
        else
            break;
        *i = k;
        any = true;
    }
    return any;
}

static bool is_float(mltf_str s)
{
    static const char *const words[] = {".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf",
                                        "+.INF", "-.inf", "-.Inf", "-.INF", ".nan",
                                        ".NaN",  ".NAN",  NULL};
    if (one_of(s, words)) return true;
    size_t i = 0;
    if (s.p[0] == '.') { // .5, without a sign
        i = 1;
        if (i >= s.n || !ascii_is_digit(s.p[i])) return false;
        digits(s, &i, true);
    } else {
        if (s.p[0] == '-' || s.p[0] == '+') i = 1;
        if (i >= s.n || !ascii_is_digit(s.p[i])) return false;
        digits(s, &i, true);
        if (sixties(s, &i)) { // 1:30.5
            if (i >= s.n || s.p[i] != '.') return false;
            i++;
            digits(s, &i, true);
            return i == s.n;
        }
        if (i >= s.n || s.p[i] != '.') return false;
        i++;
        digits(s, &i, true);
    }
    if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E')) { // the exponent must have its sign
        i++;
        if (i >= s.n || (s.p[i] != '-' && s.p[i] != '+')) return false;
        i++;
        if (!digits(s, &i, false)) return false;
    }
    return i == s.n;
}

static bool is_int(mltf_str s)
{
    size_t i = s.p[0] == '-' || s.p[0] == '+';
    if (i >= s.n || !ascii_is_digit(s.p[i])) return false;
    const size_t start = i;
    if (s.p[i] != '0') {
        digits(s, &i, true);
        if (i < s.n) sixties(s, &i);
        return i == s.n;
    }
    if (++i == s.n) return true;
    if (s.p[i] == 'b' || s.p[i] == 'x') {
        const bool hex = s.p[i] == 'x';
        if (++i == s.n) return false;
        for (; i < s.n; i++) {
            const char c = s.p[i];
            const bool ok =
                c == '_' || (hex ? ascii_is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
                                 : c == '0' || c == '1');
            if (!ok) return false;
        }
        return true;
    }
    for (i = start + 1; i < s.n; i++) {
        if (s.p[i] != '_' && (s.p[i] < '0' || s.p[i] > '7')) return false;
    }
    return true;
}

static bool take(mltf_str s, size_t *i, size_t least, size_t most)
{
    size_t n = 0;
    while (n < most && *i < s.n && ascii_is_digit(s.p[*i])) n++, (*i)++;
    return n >= least;
}

static bool take_char(mltf_str s, size_t *i, char c)
{
    if (*i >= s.n || s.p[*i] != c) return false;
    (*i)++;
    return true;
}

static size_t blanks(mltf_str s, size_t *i)
{
    const size_t start = *i;
    while (*i < s.n && (s.p[*i] == ' ' || s.p[*i] == '\t')) (*i)++;
    return *i - start;
}

/* 2001-12-14, 2001-12-14t21:59:43.10-05:00, 2001-12-14 21:59:43 Z */
static bool is_timestamp(mltf_str s)
{
    size_t i = 0;
    if (!take(s, &i, 4, 4) || !take_char(s, &i, '-')) return false;
    const size_t month = i;
    if (!take(s, &i, 1, 2) || !take_char(s, &i, '-')) return false;
    const bool two = i - month == 3;
    const size_t day = i;
    if (!take(s, &i, 1, 2)) return false;
    if (i == s.n) return two && i - day == 2;
    if (!take_char(s, &i, 'T') && !take_char(s, &i, 't') && !blanks(s, &i)) return false;
    if (!take(s, &i, 1, 2) || !take_char(s, &i, ':') || !take(s, &i, 2, 2) ||
        !take_char(s, &i, ':') || !take(s, &i, 2, 2))
        return false;
    if (take_char(s, &i, '.')) digits(s, &i, false);
    if (i == s.n) return true;
    blanks(s, &i);
    if (take_char(s, &i, 'Z')) return i == s.n;
    if (!take_char(s, &i, '-') && !take_char(s, &i, '+')) return false;
    if (!take(s, &i, 1, 2)) return false;
    if (take_char(s, &i, ':') && !take(s, &i, 2, 2)) return false;
    return i == s.n;
}

yaml_type yaml_type_of(mltf_str s)
{
    static const char *const nulls[] = {"~", "null", "Null", "NULL", NULL};
    static const char *const bools[] = {"yes",  "Yes",  "YES",   "no",    "No",    "NO", "true",
                                        "True", "TRUE", "false", "False", "FALSE", "on", "On",
                                        "ON",   "off",  "Off",   "OFF",   NULL};
    if (s.n == 0) return YAML_T_NULL;
    switch (s.p[0]) {
    case '~':
        return s.n == 1 ? YAML_T_NULL : YAML_T_STR;
    case '<':
        return str_is(s, "<<") ? YAML_T_MERGE : YAML_T_STR;
    case '=':
        return s.n == 1 ? YAML_T_VALUE : YAML_T_STR;
    case '.':
        return is_float(s) ? YAML_T_FLOAT : YAML_T_STR;
    default:
        break;
    }
    if (ascii_is_digit(s.p[0]) || s.p[0] == '-' || s.p[0] == '+') {
        if (is_float(s)) return YAML_T_FLOAT;
        if (is_int(s)) return YAML_T_INT;
        return is_timestamp(s) ? YAML_T_TIMESTAMP : YAML_T_STR;
    }
    if (one_of(s, bools)) return YAML_T_BOOL;
    return one_of(s, nulls) ? YAML_T_NULL : YAML_T_STR;
}
