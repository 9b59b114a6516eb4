/* What Split and Replace look for: a string, a pattern that tok_patterns.c knows, or any other regular
 * expression through PCRE2.
 *
 * The reference's engine is oniguruma with Ruby's syntax and Unicode 16. What differs is rewritten before
 * PCRE2 sees it (see translate() in tok_onig.c), and a search is bounded in steps and memory. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "tokenizers/tok_internal.h"
#include "tokenizers/tok_onig.h"

#define MATCH_LIMIT                                                                                \
    2000000u /* steps of one match: seconds at worst, thousands of times what a sane pattern needs */

struct tok_pattern {
    tok_pattern_kind kind;
    char *literal;
    size_t literal_n;
    tok_matcher match;
    pcre2_code *code;
    pcre2_match_context *limits;
};

void tok_pattern_free(tok_pattern *p)
{
    if (!p) return;
    free(p->literal);
    pcre2_code_free(p->code);
    pcre2_match_context_free(p->limits);
    free(p);
}

static mltf_status compile(tok_pattern *p, mltf_str source, mltf_err *err)
{
    mltf_buf text = MLTF_BUF_INIT;
    mltf_status st = tok_onig_translate(&text, source, err);
    if (st == MLTF_OK) st = buf_status(&text, err);
    int code = 0;
    size_t at = 0;
    if (st == MLTF_OK) {
        p->code = pcre2_compile((PCRE2_SPTR)(text.p ? text.p : ""), text.n,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C |
                                    PCRE2_NO_UTF_CHECK,
                                &code, &at, NULL);
        if (!p->code) {
            unsigned char why[160];
            pcre2_get_error_message(code, why, sizeof why);
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "the pattern \"" STR_FMT "\" is no regular expression: %s",
                           STR_ARG(source), (const char *)why);
        }
    }
    mltf_buf_release(&text);
    if (st != MLTF_OK) return st;
    pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); // where it fails, the interpreter does the work
    p->limits = pcre2_match_context_create(NULL);
    if (!p->limits) return mltf_fail_memory(err);
    pcre2_set_match_limit(p->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(p->limits, 64u << 10); // KiB
    return MLTF_OK;
}

mltf_status tok_pattern_new(tok_pattern **out, mltf_str source, bool is_regex, mltf_err *err)
{
    *out = NULL;
    tok_pattern *p = calloc(1, sizeof *p);
    if (!p) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    p->kind = !is_regex                                ? TOK_PAT_STRING
              : (p->match = tok_known_pattern(source)) ? TOK_PAT_HAND
                                                       : TOK_PAT_PCRE;
    // A regular expression without anything special in it is a string.
    if (p->kind == TOK_PAT_PCRE && source.n) {
        bool plain = true;
        for (size_t i = 0; i < source.n; i++)
            plain = plain && !strchr("\\^$.|?*+()[]{}", source.p[i]);
        if (plain) p->kind = TOK_PAT_STRING;
    }
    if (p->kind == TOK_PAT_STRING) {
        p->literal = malloc(source.n + 1);
        if (!p->literal) {
            st = mltf_fail_memory(err);
        } else {
            if (source.n) memcpy(p->literal, source.p, source.n);
            p->literal[source.n] = '\0';
            p->literal_n = source.n;
        }
    } else if (p->kind == TOK_PAT_PCRE) {
        st = compile(p, source, err);
    }
    if (st != MLTF_OK) {
        tok_pattern_free(p);
        return st;
    }
    *out = p;
    return MLTF_OK;
}

tok_matcher tok_pattern_hand(const tok_pattern *p)
{
    return p && p->kind == TOK_PAT_HAND ? p->match : NULL;
}
mltf_status tok_find_begin(tok_finder *f, const tok_pattern *p, const char *s, size_t n,
                           mltf_err *err)
{
    *f = (tok_finder){.pattern = p, .s = s, .n = n, .last_end = SIZE_MAX};
    if (p->kind == TOK_PAT_PCRE) {
        f->scratch = pcre2_match_data_create(1, NULL);
        if (!f->scratch) return mltf_fail_memory(err);
    }
    return MLTF_OK;
}

void tok_find_end(tok_finder *f)
{
    pcre2_match_data_free(f->scratch);
}

static size_t next_char(const tok_finder *f, size_t at)
{
    at++;
    while (at < f->n && tok_is_cont(f->s[at])) at++;
    return at;
}

mltf_status tok_find_next(tok_finder *f, size_t *start, size_t *end, bool *found, mltf_err *err)
{
    const tok_pattern *p = f->pattern;
    *found = false;
    if (p->kind == TOK_PAT_HAND) {
        while (f->from < f->n) {
            const size_t e = p->match(f->s, f->n, f->from);
            if (e > f->from) {
                *start = f->from;
                *end = f->from = e;
                *found = true;
                return MLTF_OK;
            }
            f->from = next_char(f, f->from);
        }
        return MLTF_OK;
    }
    while (f->from <= f->n) {
        size_t s, e;
        if (p->kind == TOK_PAT_STRING) {
            const char *hit = p->literal_n == 0 ? f->s + f->from
                                                : memmem(f->s + f->from, f->n - f->from, p->literal,
                                                         p->literal_n);
            if (!hit) return MLTF_OK;
            s = (size_t)(hit - f->s);
            e = s + p->literal_n;
        } else {
            const int rc = pcre2_match(p->code, (PCRE2_SPTR)f->s, f->n, f->from, PCRE2_NO_UTF_CHECK,
                                       f->scratch, p->limits);
            if (rc == PCRE2_ERROR_NOMATCH) return MLTF_OK;
            if (rc < 0)
                return mltf_fail(
                    err, MLTF_UNSUPPORTED,
                    "the tokenizer's pattern needs too many steps on this text (code %d)", rc);
            const PCRE2_SIZE *o = pcre2_get_ovector_pointer(f->scratch);
            s = o[0];
            e = o[1];
            if (s > e)
                return mltf_fail(err, MLTF_UNSUPPORTED,
                                 "the tokenizer's pattern moves its start with \\K");
        }
        // an empty match right behind the last match does not count
        if (s == e && s == f->last_end) {
            f->from = f->from < f->n ? next_char(f, f->from) : f->n + 1;
            continue;
        }
        *start = s;
        *end = f->from = f->last_end = e;
        *found = true;
        return MLTF_OK;
    }
    return MLTF_OK;
}
