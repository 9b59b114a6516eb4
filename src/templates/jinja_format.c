/* "%s" % x and "{}".format(x): Python's two ways of formatting. */
#include "templates/jinja_internal.h"

#include <math.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/c_locale.h"
#include "base/limits.h"
#include "base/utf8.h"

#define MAX_WIDTH 100000 /* of a field; wider ones are refused */

typedef struct spec {
    mltf_str fill; /* one character */
    char align;    /* < > = ^, or 0 */
    char sign;     /* + - space, or 0 */
    bool alternate, zero;
    int width, precision; /* -1: none */
    char group;           /* , _ or 0 */
    char type;            /* or 0 */
} spec;

static void put_fill(mltf_buf *b, mltf_str fill, size_t n)
{
    while (n-- && !b->failed) buf_put_str(b, fill);
}

/* sign and digits padded to the width. dflt: alignment where none is asked for. */
static void put_padded(mltf_buf *b, const spec *s, mltf_str sign, mltf_str body, char dflt)
{
    const size_t len = utf8_count(sign.p, sign.n) + utf8_count(body.p, body.n);
    const size_t width = s->width > 0 ? (size_t)s->width : 0, pad = width > len ? width - len : 0;
    const char align = s->align ? s->align : dflt;
    const size_t left = align == '>' ? pad : align == '^' ? pad / 2 : 0;
    put_fill(b, s->fill, left);
    buf_put_str(b, sign);
    if (align == '=') put_fill(b, s->fill, pad);
    buf_put_str(b, body);
    if (align == '<' || align == '^') put_fill(b, s->fill, pad - left);
}

/* Digits before the point with separators between groups of `size`, at least `width` wide with zeros. */
static void put_grouped(mltf_buf *b, mltf_str digits, char separator, size_t size, size_t width)
{
    size_t n = digits.n, total = n + (n ? (n - 1) / size : 0);
    size_t zeros = 0;
    while (total < width) {
        zeros++;
        total = n + zeros + (n + zeros - 1) / size;
    }
    n += zeros;
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % size == 0) buf_putc(b, separator);
        buf_putc(b, i < zeros ? '0' : digits.p[i - zeros]);
    }
}

static bool parse_spec(jx *x, mltf_str text, spec *s)
{
    *s = (spec){.fill = STR(" "), .width = -1, .precision = -1};
    const char *p = text.p, *end = text.p + text.n;
    if (p < end) { // the fill character may be anything
        const char *after = p;
        utf8_next(&after);
        if (after < end && strchr("<>=^", *after)) {
            s->fill = (mltf_str){p, (size_t)(after - p)};
            s->align = *after;
            p = after + 1;
        } else if (strchr("<>=^", *p)) {
            s->align = *p++;
        }
    }
    if (p < end && strchr("+- ", *p)) s->sign = *p++;
    if (p < end && *p == 'z') return x_unsupported(x, "the format option 'z' is not supported");
    if (p < end && *p == '#') {
        s->alternate = true;
        p++;
    }
    if (p < end && *p == '0') {
        s->zero = true;
        if (!s->align) {
            s->fill = STR("0");
            s->align = '=';
        }
        p++;
    }
    for (int which = 0; which < 2; which++) {
        int *into = which ? &s->precision : &s->width;
        if (which) {
            if (p < end && (*p == ',' || *p == '_')) s->group = *p++;
            if (p >= end || *p != '.') break;
            p++;
            if (p >= end || !ascii_is_digit(*p))
                return x_fail(x, "Format specifier missing precision");
        }
        if (p < end && ascii_is_digit(*p)) *into = 0;
        while (p < end && ascii_is_digit(*p)) {
            *into = *into * 10 + (*p++ - '0');
            if (*into > MAX_WIDTH)
                return x_fail(x, "a field of the format is wider than %d", MAX_WIDTH);
        }
    }
    if (p < end) s->type = *p++;
    if (p < end) return x_fail(x, "Invalid format specifier");
    return true;
}

static bool unknown_type(jx *x, char type, jv v)
{
    return x_fail(x, "Unknown format code '%c' for object of type '%s'", type, jv_type_name(v));
}

/* Without zeros at the end of the fraction: "1.500e+20" to "1.5e+20". */
static void strip_zeros(char *text)
{
    char *point = strchr(text, '.'), *e = strchr(text, 'e');
    if (!point) return;
    char *end = e ? e : text + strlen(text), *last = end;
    while (last > point + 1 && last[-1] == '0') last--;
    if (last == point + 1) last = point;
    memmove(last, end, strlen(end) + 1);
}

/* format(d, ".3"): %g that turns to exponents one digit earlier and shows at least one decimal. */
static bool general_digits(jx *x, mltf_buf *out, double d, int precision)
{
    if (precision < 1) precision = 1;
    const size_t room = (size_t)precision + 40;
    char *text = arena_alloc_small(&x->arena, room);
    if (!text) return x_fail_memory(x);
    c_snprintf(text, room, "%.*e", precision - 1, d);
    const char *e = strchr(text, 'e');
    const int exponent = e ? atoi(e + 1) : 0;
    const bool fixed = exponent >= -4 && exponent < precision - 1;
    if (fixed) c_snprintf(text, room, "%.*f", precision - 1 - exponent, d);
    strip_zeros(text);
    buf_puts(out, text);
    if (fixed && !strchr(text, '.')) buf_puts(out, ".0");
    return true;
}

/* The digits of a float without its sign, as format() and % both make them. */
static bool float_digits(jx *x, mltf_buf *out, double d, char type, int precision, bool alternate)
{
    d = fabs(d);
    if (!isfinite(d)) {
        const bool upper = type == 'E' || type == 'F' || type == 'G';
        buf_puts(out, isnan(d) ? (upper ? "NAN" : "nan") : upper ? "INF" : "inf");
        if (type == '%') buf_putc(out, '%');
        return true;
    }
    if (type == 0 && precision < 0) { // like repr
        jinja_put_float(out, d);
        return true;
    }
    if (type == 0) return general_digits(x, out, d, precision);
    if (precision < 0) precision = 6;
    if (type == '%') d *= 100;
    char fmt[16];
    const char as = type == '%' ? 'f' : type == 'F' ? 'f' : type == 'n' ? 'g' : type;
    snprintf(fmt, sizeof fmt, alternate ? "%%#.*%c" : "%%.*%c", as);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    const int n = c_snprintf(NULL, 0, fmt, precision, d);
    char *room =
        n >= 0 && x_step(x, (size_t)n / 16) ? arena_alloc_small(&x->arena, (size_t)n + 1) : NULL;
    if (!room) return x->failed ? false : x_fail_memory(x);
    c_snprintf(room, (size_t)n + 1, fmt, precision, d);
#pragma GCC diagnostic pop
    buf_puts(out, room);
    if (type == '%') buf_putc(out, '%');
    return true;
}

static mltf_str sign_text(bool negative, char sign)
{
    return negative      ? STR("-")
           : sign == '+' ? STR("+")
           : sign == ' ' ? STR(" ")
                         : (mltf_str){"", 0};
}

/* whole[.rest] with separators and zeros in front, then padding. */
static void put_number_field(mltf_buf *b, const spec *s, mltf_str sign, mltf_str prefix,
                             mltf_str digits, size_t group)
{
    size_t whole = 0;
    while (whole < digits.n && ascii_hex(digits.p[whole]) >= 0 && digits.p[whole] != 'e') whole++;
    if (group == 3)
        for (whole = 0; whole < digits.n && ascii_is_digit(digits.p[whole]);) whole++;
    mltf_buf head = MLTF_BUF_INIT, body = MLTF_BUF_INIT;
    buf_put_str(&head, sign);
    buf_put_str(&head, prefix);
    if (s->group && whole) {
        const size_t rest = digits.n - whole;
        const bool zeros = s->align == '=' && str_is(s->fill, "0") && s->width > 0;
        const size_t taken = head.n + rest,
                     want = zeros && (size_t)s->width > taken ? (size_t)s->width - taken : 0;
        put_grouped(&body, str_slice(digits, 0, whole), s->group, group, want);
        buf_put_str(&body, str_slice(digits, whole, digits.n));
    } else {
        buf_put_str(&body, digits);
    }
    put_padded(b, s, buf_str(&head), buf_str(&body), '>');
    mltf_buf_release(&head);
    mltf_buf_release(&body);
}

static bool format_float(jx *x, mltf_buf *b, jv v, const spec *s)
{
    if (s->type && !strchr("eEfFgGn%", s->type)) return unknown_type(x, s->type, v);
    const double d = jv_as_double(v);
    mltf_buf digits = MLTF_BUF_INIT;
    const bool ok = float_digits(x, &digits, d, s->type, s->precision, s->alternate);
    if (ok)
        put_number_field(b, s, sign_text(signbit(d) && !isnan(d), s->sign), (mltf_str){"", 0},
                         buf_str(&digits), 3);
    mltf_buf_release(&digits);
    return ok;
}

/* Digits of |i| in a base; room has 72 bytes. */
static mltf_str int_digits(int64_t i, unsigned base, bool upper, char *room)
{
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    size_t at = 71;
    room[at] = 0;
    do {
        room[--at] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[u % base];
        u /= base;
    } while (u);
    return (mltf_str){room + at, 71 - at};
}

static bool format_int(jx *x, mltf_buf *b, jv v, const spec *s)
{
    if (s->type && strchr("eEfFgG%", s->type)) return format_float(x, b, v, s);
    const int64_t i = jv_as_int(v);
    if (s->precision >= 0) return x_fail(x, "Precision not allowed in integer format specifier");
    char room[72];
    unsigned base = 10;
    const char *prefix = "";
    switch (s->type) {
    case 0:
    case 'd':
    case 'n':
        break;
    case 'b':
        base = 2, prefix = "0b";
        break;
    case 'o':
        base = 8, prefix = "0o";
        break;
    case 'x':
        base = 16, prefix = "0x";
        break;
    case 'X':
        base = 16, prefix = "0X";
        break;
    case 'c': {
        if (i < 0 || i > 0x10ffff) return x_fail(x, "%%c arg not in range(0x110000)");
        const size_t n = utf8_encode(room, (uint32_t)i);
        put_padded(b, s, (mltf_str){"", 0}, (mltf_str){room, n}, '<');
        return true;
    }
    default:
        return unknown_type(x, s->type, v);
    }
    if (s->group == ',' && base != 10) return x_fail(x, "Cannot specify ',' with '%c'.", s->type);
    const mltf_str digits = int_digits(i, base, s->type == 'X', room);
    put_number_field(b, s, sign_text(i < 0, s->sign), str_from(s->alternate ? prefix : ""), digits,
                     base == 10 ? 3 : 4);
    return true;
}

static bool format_spec(jx *x, mltf_buf *b, jv v, mltf_str text)
{
    if (text.n == 0) return jv_put_str(x, b, v, 0);
    spec s;
    switch ((jv_type)v.t) {
    case JV_BOOL:
    case JV_INT:
        if (!parse_spec(x, text, &s)) return false;
        return format_int(x, b, v, &s);
    case JV_FLOAT:
        return parse_spec(x, text, &s) && format_float(x, b, v, &s);
    case JV_STR: {
        if (!parse_spec(x, text, &s)) return false;
        if (s.type && s.type != 's') return unknown_type(x, s.type, v);
        if (s.sign) return x_fail(x, "Sign not allowed in string format specifier");
        if (s.group) return x_fail(x, "Cannot specify '%c' with 's'.", s.group);
        if (s.align == '=' && !s.zero)
            return x_fail(x, "'=' alignment not allowed in string format specifier");
        if (s.align == '=') s.align = '<';
        mltf_str body = jv_text(v);
        if (s.precision >= 0)
            body.n =
                jstr_offset(v.s, (size_t)s.precision < v.s->len ? (size_t)s.precision : v.s->len);
        put_padded(b, &s, (mltf_str){"", 0}, body, '<');
        return x_step(x, body.n / 64);
    }
    case JV_UNDEFINED: // object.__format__ would do, but its text is empty
    default:
        return x_fail(x, "unsupported format string passed to %s.__format__", jv_type_name(v));
    }
}

/* ---- "%s" % x -------------------------------------------------------------------------------- */

static bool percent_number(jx *x, mltf_buf *b, spec *s, jv v)
{
    if (v.t == JV_UNDEFINED) return jv_use_undefined(x, v);
    if (strchr("eEfFgG", s->type)) {
        if (!jv_is_number(v)) return x_fail(x, "must be real number, not %s", jv_type_name(v));
        return format_float(x, b, v, s);
    }
    const bool decimal = s->type == 'd' || s->type == 'i' || s->type == 'u';
    int64_t i;
    if (jv_is_int(v)) {
        i = jv_as_int(v);
    } else if (v.t == JV_FLOAT && decimal) {
        if (!(v.d > -9.2e18 && v.d < 9.2e18))
            return x_unsupported(x, "an integer beyond 64 bits is not supported");
        i = (int64_t)v.d;
    } else if (decimal) {
        return x_fail(x, "%%%c format: a real number is required, not %s", s->type,
                      jv_type_name(v));
    } else {
        return x_fail(x, "%%%c format: an integer is required, not %s", s->type, jv_type_name(v));
    }
    char room[72];
    const mltf_str digits = int_digits(i,
                                       decimal          ? 10
                                       : s->type == 'o' ? 8
                                                        : 16,
                                       s->type == 'X', room);
    mltf_buf body = MLTF_BUF_INIT;
    for (size_t n = digits.n; s->precision > 0 && n < (size_t)s->precision; n++)
        buf_putc(&body, '0');
    buf_put_str(&body, digits);
    const char *prefix = !s->alternate || decimal ? ""
                         : s->type == 'o'         ? "0o"
                         : s->type == 'x'         ? "0x"
                                                  : "0X";
    put_number_field(b, s, sign_text(i < 0, s->sign), str_from(prefix), buf_str(&body), 4);
    mltf_buf_release(&body);
    return true;
}

static bool percent_one(jx *x, mltf_buf *b, spec *s, jv v, bool markup)
{
    mltf_buf text = {.max = LIMIT_TEMPLATE_OUTPUT};
    char room[4];
    bool ok = true;
    switch (s->type) {
    case 's':
        ok = jv_put_str(x, &text, v, 0);
        break;
    case 'r':
    case 'a':
        ok = jv_put_repr(x, &text, v, 0);
        break;
    case 'c':
        if (v.t == JV_STR && v.s->len == 1)
            buf_put_str(&text, jv_text(v));
        else if (jv_is_int(v) && jv_as_int(v) >= 0 && jv_as_int(v) <= 0x10ffff)
            buf_append(&text, room, utf8_encode(room, (uint32_t)jv_as_int(v)));
        else
            ok = x_fail(x, "%%c requires int or char");
        break;
    case 'd':
    case 'i':
    case 'u':
    case 'o':
    case 'x':
    case 'X':
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
        return percent_number(x, b, s, v);
    default:
        return x_fail(x, "unsupported format character '%c' (0x%x)", s->type,
                      (unsigned char)s->type);
    }
    jv value;
    if (!ok) mltf_buf_release(&text);
    if (!ok || !jv_take_buf(x, &text, &value)) return false;
    if (markup && !(v.t == JV_STR && v.markup) && !jv_escape(x, value, &value)) return false;
    mltf_str body = jv_text(value);
    if (s->precision >= 0 && (size_t)s->precision < value.s->len)
        body.n = jstr_offset(value.s, (size_t)s->precision);
    s->fill = STR(" "); // zeros are for numbers
    if (s->align == '=') s->align = '>';
    put_padded(b, s, (mltf_str){"", 0}, body, '>');
    return true;
}

typedef struct percent_args {
    jv all;
    size_t at;
} percent_args;

static bool next_argument(jx *x, percent_args *a, jv *out)
{
    const size_t n = a->all.t == JV_TUPLE ? a->all.l->n : 1;
    if (a->at >= n) return x_fail(x, "not enough arguments for format string");
    *out = a->all.t == JV_TUPLE ? a->all.l->v[a->at] : a->all;
    a->at++;
    return true;
}

static bool percent(jx *x, mltf_buf *b, mltf_str format, jv args, bool markup)
{
    percent_args a = {args, 0};
    const char *p = format.p, *end = format.p + format.n;
    bool by_name = false;
    const bool mapping = args.t == JV_DICT || args.t == JV_LIST || args.t == JV_RANGE ||
                         args.t == JV_UNDEFINED; // has []
    while (p < end) {
        const char *from = p;
        while (p < end && *p != '%') p++;
        buf_append(b, from, (size_t)(p - from));
        if (p++ >= end) break;
        spec s = {.fill = STR(" "), .width = -1, .precision = -1};
        jv v = jv_none();
        bool have = false;
        if (p < end && *p == '(') {
            const char *name = ++p;
            unsigned depth = 1;
            for (; p < end; p++) {
                depth += *p == '(';
                depth -= *p == ')';
                if (depth == 0) break;
            }
            if (p >= end) return x_fail(x, "incomplete format key");
            if (args.t != JV_DICT) return x_fail(x, "format requires a mapping");
            const mltf_str key = {name, (size_t)(p++ - name)};
            const jv *found = jv_dict_find(x, args.m, key);
            if (!found) return x_fail(x, "'" STR_FMT "'", STR_ARG(key));
            v = *found;
            have = by_name = true;
        }
        for (; p < end && strchr("-+ #0", *p); p++) {
            if (*p == '-')
                s.align = '<';
            else if (*p == '+')
                s.sign = '+';
            else if (*p == ' ' && !s.sign)
                s.sign = ' ';
            else if (*p == '#')
                s.alternate = true;
            else if (*p == '0')
                s.zero = true;
        }
        for (int which = 0; which < 2; which++) {
            int *into = which ? &s.precision : &s.width;
            if (which) {
                if (p >= end || *p != '.') break;
                p++;
                *into = 0;
            }
            if (p < end && *p == '*') {
                jv star;
                if (!next_argument(x, &a, &star)) return false;
                if (!jv_is_int(star)) return x_fail(x, "* wants int");
                int64_t i = jv_as_int(star);
                if (i < 0 && !which) {
                    s.align = '<';
                    i = -i;
                }
                if (i > MAX_WIDTH)
                    return x_fail(x, "a field of the format is wider than %d", MAX_WIDTH);
                *into = i < 0 ? 0 : (int)i;
                p++;
            }
            if (p < end && ascii_is_digit(*p) && *into < 0) *into = 0;
            while (p < end && ascii_is_digit(*p)) {
                *into = *into * 10 + (*p++ - '0');
                if (*into > MAX_WIDTH)
                    return x_fail(x, "a field of the format is wider than %d", MAX_WIDTH);
            }
        }
        while (p < end && (*p == 'l' || *p == 'h' || *p == 'L')) p++;
        if (p >= end) return x_fail(x, "incomplete format");
        s.type = *p++;
        if (s.type == '%' && p - 2 >= format.p && p[-2] == '%') {
            buf_putc(b, '%');
            continue;
        }
        if (s.zero && s.align != '<') {
            s.fill = STR("0");
            s.align = '=';
        }
        if (!have && !next_argument(x, &a, &v)) return false;
        if (!percent_one(x, b, &s, v, markup)) return false;
    }
    if (!by_name && !mapping && a.at < (args.t == JV_TUPLE ? args.l->n : 1))
        return x_fail(x, "not all arguments converted during string formatting");
    return true;
}

bool jv_percent(jx *x, jv format, jv args, jv *out)
{
    mltf_buf b = {.max = LIMIT_TEMPLATE_OUTPUT};
    percent(x, &b, jv_text(format), args, format.markup);
    if (!jv_take_buf(x, &b, out)) return false;
    out->markup = format.markup;
    return true;
}

/* ---- "{}".format(x) -------------------------------------------------------------------------- */

typedef struct formatter {
    jx *x;
    const jargs *args;
    int64_t next; /* automatic number; -1 after an explicit one */
    bool numbered;
    bool markup; /* escape what is put in */
} formatter;

static bool put_fields(formatter *f, mltf_buf *b, mltf_str text, unsigned depth);

static bool field_root(formatter *f, mltf_str name, jv *out)
{
    jx *x = f->x;
    bool digits = name.n > 0 && name.n < 18;
    int64_t index = 0;
    for (size_t i = 0; i < name.n && digits; i++) {
        digits = ascii_is_digit(name.p[i]);
        index = index * 10 + (name.p[i] - '0');
    }
    if (name.n == 0) {
        if (f->numbered)
            return x_fail(
                x, "cannot switch from manual field specification to automatic field numbering");
        index = f->next++;
        digits = true;
    } else if (digits) {
        if (f->next > 0)
            return x_fail(
                x, "cannot switch from automatic field numbering to manual field specification");
        f->numbered = true;
    }
    if (digits) {
        if ((uint64_t)index >= f->args->n)
            return x_fail(x, "Replacement index %lld out of range for positional args tuple",
                          (long long)index);
        *out = f->args->v[index];
        return true;
    }
    for (size_t i = 0; i < f->args->n_kw; i++)
        if (str_eq(f->args->kw[i].name, name)) {
            *out = f->args->kw[i].value;
            return true;
        }
    return x_fail(x, "'" STR_FMT "'", STR_ARG(name));
}

/* name, then .attribute and [index] as the sandbox allows them */
static bool field_value(formatter *f, mltf_str path, jv *out)
{
    jx *x = f->x;
    size_t i = 0;
    while (i < path.n && path.p[i] != '.' && path.p[i] != '[') i++;
    if (!field_root(f, str_slice(path, 0, i), out)) return false;
    while (i < path.n) {
        const jv obj = *out;
        const size_t from = i + 1;
        if (path.p[i] == '.') {
            for (i = from; i < path.n && path.p[i] != '.' && path.p[i] != '[';) i++;
            if (i == from) return x_fail(x, "Empty attribute in format string");
            if (!jv_getattr(x, obj, str_slice(path, from, i), out)) return false;
        } else if (path.p[i] == '[') {
            const char *close = memchr(path.p + i, ']', path.n - i);
            if (!close) return x_fail(x, "Missing ']' in format string");
            i = (size_t)(close - path.p);
            if (i == from) return x_fail(x, "Empty attribute in format string");
            int64_t index = 0;
            bool digits = i - from < 18;
            for (size_t k = from; k < i && digits; k++) {
                digits = ascii_is_digit(path.p[k]);
                index = index * 10 + (path.p[k] - '0');
            }
            jv key = jv_int(index);
            if (!digits && !jv_str(x, str_slice(path, from, i), &key)) return false;
            if (!jv_getitem(x, obj, key, out)) return false;
            i++;
        } else {
            return x_fail(x, "Only '.' or '[' may follow ']' in format field specifier");
        }
    }
    return true;
}

static bool put_field(formatter *f, mltf_buf *b, mltf_str field, unsigned depth)
{
    jx *x = f->x;
    size_t name_end = 0, brackets = 0;
    for (; name_end < field.n; name_end++) {
        const char c = field.p[name_end];
        if (c == '[') brackets = 1;
        if (c == ']') brackets = 0;
        if (!brackets && (c == '!' || c == ':')) break;
    }
    jv v;
    char conversion = 0;
    size_t i = name_end;
    if (i < field.n && field.p[i] == '!') {
        if (i + 1 >= field.n)
            return x_fail(x, "end of string while looking for conversion specifier");
        conversion = field.p[i + 1];
        i += 2;
        if (i < field.n && field.p[i] != ':')
            return x_fail(x, "expected ':' after conversion specifier");
    }
    if (!field_value(f, str_slice(field, 0, name_end), &v)) return false;
    if (conversion == 's') {
        if (!jv_to_str(x, v, &v)) return false;
    } else if (conversion == 'r' || conversion == 'a') {
        mltf_buf text = {.max = LIMIT_TEMPLATE_OUTPUT};
        jv_put_repr(x, &text, v, 0);
        if (!jv_take_buf(x, &text, &v)) return false;
    } else if (conversion) {
        return x_fail(x, "Unknown conversion specifier '%c'", conversion);
    }
    mltf_buf inner = {.max = 4096};
    bool ok = true;
    if (i < field.n) ok = put_fields(f, &inner, str_slice(field, i + 1, field.n), depth + 1);
    ok = ok && (!inner.failed || x_fail(x, "the format is too long"));
    if (ok && f->markup && !(v.t == JV_STR && v.markup)) {
        mltf_buf plain = {.max = LIMIT_TEMPLATE_OUTPUT};
        jv text;
        format_spec(x, &plain, v, buf_str(&inner));
        ok = jv_take_buf(x, &plain, &text) && jv_escape(x, text, &text);
        if (ok) buf_put_str(b, jv_text(text));
    } else if (ok) {
        ok = format_spec(x, b, v, buf_str(&inner));
    }
    mltf_buf_release(&inner);
    return ok;
}

static bool put_fields(formatter *f, mltf_buf *b, mltf_str text, unsigned depth)
{
    jx *x = f->x;
    if (depth > 2) return x_fail(x, "Max string recursion exceeded");
    for (size_t i = 0; i < text.n;) {
        const char c = text.p[i];
        if (c != '{' && c != '}') {
            const size_t from = i;
            while (i < text.n && text.p[i] != '{' && text.p[i] != '}') i++;
            buf_append(b, text.p + from, i - from);
            continue;
        }
        if (i + 1 < text.n && text.p[i + 1] == c) {
            buf_putc(b, c);
            i += 2;
            continue;
        }
        if (c == '}') return x_fail(x, "Single '}' encountered in format string");
        size_t end = i + 1;
        unsigned braces = 1;
        for (; end < text.n; end++) {
            braces += text.p[end] == '{';
            braces -= text.p[end] == '}';
            if (braces == 0) break;
        }
        if (braces)
            return x_fail(x, i + 1 >= text.n ? "Single '{' encountered in format string"
                                             : "expected '}' before end of string");
        if (!x_step(x, 1) || !put_field(f, b, str_slice(text, i + 1, end), depth)) return false;
        i = end + 1;
    }
    return true;
}

bool jv_format(jx *x, jv format, const jargs *args, jv *out)
{
    mltf_buf b = {.max = LIMIT_TEMPLATE_OUTPUT};
    formatter f = {.x = x, .args = args, .markup = format.markup};
    put_fields(&f, &b, jv_text(format), 0);
    if (!jv_take_buf(x, &b, out)) return false;
    out->markup = format.markup;
    return true;
}
