/* Oniguruma's Ruby syntax for PCRE2: what differs, and what counts by an older Unicode there.
 *
 *   \s \S \w \W \d \D \h \H \b \B   by our tables' definitions (PCRE2's \s has U+180E, its \w other numbers;
 *                                   \h is a hexadecimal digit here)
 *   \p{L} \p{^L} \P{L} …            general categories get the code points that Unicode 14 lacks
 *   (?m)                            is PCRE2's (?s); ^ and $ are always those of lines (PCRE2_MULTILINE)
 *   [a[bc]]                         a class in a class is its union; && is refused
 *   x{n}+                           repeats again, it is not possessive; {,n} begins at 0 */
#include "tokenizers/tok_onig.h"

#include "base/utf8.h"
#include "tokenizers/unicode.h"

#define SPACES                                                                                     \
    "\\t-\\r "                                                                                     \
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define HEX "0-9A-Fa-f"

typedef struct reader {
    const char *p, *end;
    mltf_buf *out;
    mltf_str whole;
    int depth;
} reader;

static mltf_status bad(const reader *r, const char *why, mltf_err *err)
{
    return mltf_fail(err, MLTF_UNSUPPORTED, "the pattern \"" STR_FMT "\" %s", STR_ARG(r->whole),
                     why);
}

static unsigned category_bits(mltf_str name)
{
    static const char cats[] =
        "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co";
    unsigned bits = 0;
    static const struct {
        const char *name, *letters;
    } longer[] = {{"Letter", "L"}, {"Mark", "M"},   {"Number", "N"},    {"Punctuation", "P"},
                  {"Punct", "P"},  {"Symbol", "S"}, {"Separator", "Z"}, {"Other", "C"}};
    for (size_t i = 0; i < sizeof longer / sizeof *longer; i++)
        if (str_is(name, longer[i].name)) name = str_from(longer[i].letters);
    if (name.n < 1 || name.n > 2) return 0;
    for (int i = 0; i < 30; i++)
        if (cats[3 * i] == name.p[0] && (name.n == 1 || cats[3 * i + 1] == name.p[1]))
            bits |= 1u << i;
    return bits;
}

static void put_newer(mltf_buf *out, unsigned bits)
{
    for (size_t i = 0; i < uc_n_newer; i++)
        if (bits >> uc_newer[i].category & 1)
            buf_printf(out, "\\x{%x}-\\x{%x}", uc_newer[i].from, uc_newer[i].to);
}

/* What makes a word: \w alone has a few numbers of Latin-1 that it lacks in a class. */
typedef enum { NO_WORD, WORD_ALONE, WORD_IN_CLASS } word_kind;

static bool is_word(uint32_t cp, word_kind kind)
{
    return kind == WORD_ALONE ? uc_word_onig(cp) : (uc_flags(cp) & UC_WORD) != 0;
}

/* The inside of a class for code points that have (or lack) one of the categories, exactly by our table. */
static void put_exact(mltf_buf *out, unsigned bits, bool negated, word_kind word)
{
    uint32_t from = 0;
    bool open = false;
    for (uint32_t cp = 0; cp <= 0x110000; cp++) {
        bool in = false;
        if (cp == 0xD800) cp = 0xE000;
        if (cp < 0x110000) in = (word ? is_word(cp, word) : (uc_catbit(cp) & bits) != 0) != negated;
        if (in && !open) from = cp;
        if (!in && open) buf_printf(out, "\\x{%x}-\\x{%x}", from, cp == 0xE000 ? 0xD7FF : cp - 1);
        if (cp == 0xE000 && in && open) { // never across the surrogates
            buf_printf(out, "\\x{%x}-\\x{d7ff}", from);
            from = cp;
        }
        open = in;
    }
}

/* \p{…} behind the p; inside: in a class already. */
static mltf_status property(reader *r, bool negated, bool inside, mltf_err *err)
{
    const char *close =
        r->p < r->end && *r->p == '{' ? memchr(r->p, '}', (size_t)(r->end - r->p)) : NULL;
    if (!close) return bad(r, "has a property without its name", err);
    mltf_str name = {r->p + 1, (size_t)(close - r->p) - 1};
    r->p = close + 1;
    if (name.n && name.p[0] == '^') {
        negated = !negated;
        name = str_slice(name, 1, name.n);
    }
    const unsigned bits = category_bits(name);
    if (!inside) buf_putc(r->out, '[');
    if (!bits) // a script or another property: the engine's own
        buf_printf(r->out, "\\%c{" STR_FMT "}", negated ? 'P' : 'p', STR_ARG(name));
    else if (negated)
        put_exact(r->out, bits, true, NO_WORD);
    else {
        buf_printf(r->out, "\\p{" STR_FMT "}", STR_ARG(name.n <= 2 ? name : str_slice(name, 0, 1)));
        put_newer(r->out, bits);
    }
    if (!inside) buf_putc(r->out, ']');
    return MLTF_OK;
}

static mltf_status escape(reader *r, bool inside, mltf_err *err)
{
    if (r->p >= r->end) return bad(r, "ends with a backslash", err);
    const char c = *r->p++;
    const char *open = inside ? "" : "[", *not_open = inside ? NULL : "[^",
               *close = inside ? "" : "]";
    switch (c) {
    case 's':
        buf_printf(r->out, "%s%s%s", open, SPACES, close);
        return MLTF_OK;
    case 'h':
        buf_printf(r->out, "%s%s%s", open, HEX, close);
        return MLTF_OK;
    case 'd':
        buf_printf(r->out, "%s\\p{Nd}", open);
        put_newer(r->out, UC_BIT(UC_ND));
        buf_puts(r->out, close);
        return MLTF_OK;
    case 'w':
        buf_puts(r->out, open);
        put_exact(r->out, 0, false, inside ? WORD_IN_CLASS : WORD_ALONE);
        buf_puts(r->out, close);
        return MLTF_OK;
    case 'S':
        if (not_open)
            buf_printf(r->out, "[^%s]", SPACES);
        else
            buf_puts(r->out, "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{"
                             "167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}"
                             "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-"
                             "\\x{d7ff}\\x{e000}-\\x{10ffff}");
        return MLTF_OK;
    case 'H':
        if (not_open)
            buf_printf(r->out, "[^%s]", HEX);
        else
            buf_puts(r->out, "\\x{0}-\\x{2f}\\x{3a}-\\x{40}\\x{47}-\\x{60}\\x{67}-\\x{d7ff}\\x{"
                             "e000}-\\x{10ffff}");
        return MLTF_OK;
    case 'D':
        buf_puts(r->out, open);
        put_exact(r->out, UC_BIT(UC_ND), true, NO_WORD);
        buf_puts(r->out, close);
        return MLTF_OK;
    case 'W':
        buf_puts(r->out, open);
        put_exact(r->out, 0, true, inside ? WORD_IN_CLASS : WORD_ALONE);
        buf_puts(r->out, close);
        return MLTF_OK;
    case 'b':
    case 'B':
        if (inside) {
            buf_puts(r->out, "\\x{8}");
            return MLTF_OK;
        }
        buf_puts(r->out, c == 'b' ? "(?:(?<=[" : "(?:(?<=[");
        put_exact(r->out, 0, false, WORD_ALONE);
        buf_puts(r->out, c == 'b' ? "])(?![" : "])(?=[");
        put_exact(r->out, 0, false, WORD_ALONE);
        buf_puts(r->out, "])|(?<![");
        put_exact(r->out, 0, false, WORD_ALONE);
        buf_puts(r->out, c == 'b' ? "])(?=[" : "])(?![");
        put_exact(r->out, 0, false, WORD_ALONE);
        buf_puts(r->out, "]))");
        return MLTF_OK;
    case 'p':
    case 'P':
        return property(r, c == 'P', inside, err);
    default:
        buf_putc(r->out, '\\');
        buf_putc(r->out, c);
        return MLTF_OK;
    }
}

/* A class behind its "[". A class inside a class is its union: its inside is written without brackets. */
static mltf_status class(reader *r, bool nested, mltf_err *err)
{
    if (++r->depth > 50) return bad(r, "nests classes too deep", err);
    bool negated = false, first = true;
    if (r->p < r->end && *r->p == '^') {
        negated = true;
        r->p++;
    }
    if (nested && negated)
        return bad(r, "negates a class inside a class, which is not supported", err);
    if (!nested) buf_puts(r->out, negated ? "[^" : "[");
    for (;; first = false) {
        if (r->p >= r->end)
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "the pattern \"" STR_FMT
                             "\" is no regular expression: premature end of char-class",
                             STR_ARG(r->whole));
        const char c = *r->p;
        if (c == ']' && !first) {
            r->p++;
            break;
        }
        if (c == '[' && r->p + 1 < r->end && r->p[1] == ':') {
            const char *close = memmem(r->p, (size_t)(r->end - r->p), ":]", 2);
            if (close) {
                buf_append(r->out, r->p, (size_t)(close + 2 - r->p));
                r->p = close + 2;
                continue;
            }
        }
        r->p++;
        if (c == '[')
            TRY(class(r, true, err));
        else if (c == '\\')
            TRY(escape(r, true, err));
        else if (c == '&' && r->p < r->end && *r->p == '&')
            return bad(r, "intersects classes with &&, which is not supported", err);
        else {
            if (c == ']' || c == '^') buf_putc(r->out, '\\');
            buf_putc(r->out, c);
        }
    }
    if (!nested) buf_putc(r->out, ']');
    r->depth--;
    return MLTF_OK;
}

/* (?imx-imx) and (?imx:…): m means that a dot takes a newline. */
static void group_options(reader *r)
{
    const char *q = r->p + 1;
    while (q < r->end && (*q == 'i' || *q == 'm' || *q == 'x' || *q == '-' || *q == 'a' ||
                          *q == 'u' || *q == 'd'))
        q++;
    if (q >= r->end || (*q != ':' && *q != ')') || q == r->p + 1) return;
    buf_putc(r->out, '?');
    for (const char *c = r->p + 1; c < q; c++)
        if (*c == 'm')
            buf_putc(r->out, 's');
        else if (*c == 'i' || *c == 'x' || *c == '-')
            buf_putc(r->out, *c);
    r->p = q;
}

mltf_status tok_onig_translate(mltf_buf *out, mltf_str source, mltf_err *err)
{
    reader r = {source.p, source.p + source.n, out, source, 0};
    while (r.p < r.end) {
        const char c = *r.p++;
        if (c == '\\') {
            TRY(escape(&r, false, err));
        } else if (c == '[') {
            TRY(class(&r, false, err));
        } else if (c == '(' && r.p < r.end && *r.p == '?') {
            buf_putc(out, '(');
            group_options(&r);
        } else if (c == '{' && r.p < r.end && *r.p == ',') {
            buf_puts(out, "{0");
        } else if (c == '}' && r.p < r.end && *r.p == '+' && out->n) {
            // {n}+ repeats the repetition: PCRE2 would take it for possessive
            return bad(&r, "repeats an interval with +, which is not supported", err);
        } else {
            buf_putc(out, c);
        }
        if (out->n > (size_t)1 << 20) return bad(&r, "is too long", err);
    }
    return buf_status(out, err);
}
