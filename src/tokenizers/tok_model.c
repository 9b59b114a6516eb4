/* The "model" of a tokenizer.json. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tokenizers/tok_internal.h"
#include "base/c_locale.h"

void tok_model_free(tok_model *m)
{
    if (!m) return;
    if (m->free) m->free(m);
    vocab_release(&m->vocab);
    free(m->byte_ids);
    free(m);
}

static mltf_status read_vocab(tok_vocab *v, const json *spec, mltf_err *err)
{
    const json *map = json_get(spec, "vocab");
    if (!json_is(map, JSON_OBJECT))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "the model lacks the object \"vocab\"");
    size_t bytes = 0;
    for (size_t i = 0; i < map->o.n; i++) bytes += map->o.members[i].key.n + 1;
    if (!vocab_reserve(v, map->o.n, bytes)) return mltf_fail_memory(err);
    for (size_t i = 0; i < map->o.n; i++) {
        const json_member *m = &map->o.members[i];
        if (m->value.type != JSON_INT || m->value.i < 0 || m->value.i > UINT32_MAX)
            return mltf_fail(err, MLTF_CORRUPT_FILE,
                             "the id of token \"" STR_FMT "\" is not a number from 0 to 2^32",
                             STR_ARG(m->key));
        if (m->value.i > INT32_MAX) continue; // no model has such a row: the token is out of reach
        if (!vocab_put(v, m->key, (int32_t)m->value.i)) return mltf_fail_memory(err);
    }
    return MLTF_OK;
}

static mltf_status optional_string(mltf_str *out, const json *spec, const char *key, mltf_err *err)
{
    *out = (mltf_str){NULL, 0};
    const json *v = json_get(spec, key);
    if (!v || v->type == JSON_NULL) return MLTF_OK;
    if (v->type != JSON_STRING)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "\"%s\" of the model is not a string", key);
    *out = v->s;
    return MLTF_OK;
}

static mltf_status read_merges(tok_merge **out, size_t *n, const json *spec, mltf_err *err)
{
    *out = NULL;
    *n = 0;
    const json *list = json_get(spec, "merges");
    if (!json_is(list, JSON_ARRAY))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "the BPE model lacks the list \"merges\"");
    tok_merge *m = malloc((list->a.n + 1) * sizeof *m);
    if (!m) return mltf_fail_memory(err);
    *out = m;
    for (size_t i = 0; i < list->a.n; i++) {
        const json *e = &list->a.items[i];
        if (e->type == JSON_ARRAY && e->a.n == 2 && json_is(&e->a.items[0], JSON_STRING) &&
            json_is(&e->a.items[1], JSON_STRING)) {
            m[(*n)++] = (tok_merge){e->a.items[0].s, e->a.items[1].s};
        } else if (e->type == JSON_STRING) {
            if (str_starts(e->s, "#version")) continue;
            const char *space = memchr(e->s.p, ' ', e->s.n);
            const size_t left = space ? (size_t)(space - e->s.p) : 0;
            if (!space || memchr(space + 1, ' ', e->s.n - left - 1))
                return mltf_fail(err, MLTF_CORRUPT_FILE,
                                 "merge %zu, \"" STR_FMT "\", is not two tokens", i, STR_ARG(e->s));
            m[(*n)++] = (tok_merge){str_slice(e->s, 0, left), str_slice(e->s, left + 1, e->s.n)};
        } else {
            return mltf_fail(err, MLTF_CORRUPT_FILE, "merge %zu is not two tokens", i);
        }
    }
    return MLTF_OK;
}

static mltf_status parse_bpe(tok_model **out, tok_vocab *v, const json *spec,
                             const tok_pretok *pretok, mltf_err *err)
{
    TRY(read_vocab(v, spec, err));
    tok_bpe_config c = {
        .fuse_unk = json_bool(json_get(spec, "fuse_unk"), false),
        .byte_fallback = json_bool(json_get(spec, "byte_fallback"), false),
        .ignore_merges = json_bool(json_get(spec, "ignore_merges"), false),
        .bytes = tok_pretok_byte_level(pretok),
    };
    TRY(optional_string(&c.unk, spec, "unk_token", err));
    TRY(optional_string(&c.prefix, spec, "continuing_subword_prefix", err));
    TRY(optional_string(&c.suffix, spec, "end_of_word_suffix", err));
    tok_merge *merges;
    size_t n;
    mltf_status st = read_merges(&merges, &n, spec, err);
    if (st == MLTF_OK) st = tok_bpe_new(out, v, merges, n, &c, err);
    free(merges);
    return st;
}

/* A score as the reference reads it: its JSON reader makes a number of the digits and divides by a power of ten,
 * which is not always the nearest double. Files are written with the shortest digits. */
static double read_score(double exact, mltf_buf *text)
{
    buf_clear(text);
    json_write_double(text, exact);
    const char *p = text->p, *end = text->p + text->n;
    if (text->failed || !text->n) return exact;
    const bool negative = *p == '-';
    if (negative) p++;
    uint64_t digits = 0;
    int exponent = 0;
    bool point = false;
    for (; p < end && *p != 'e'; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (*p < '0' || *p > '9' || digits > UINT64_MAX / 10 - 1) return exact;
        digits = digits * 10 + (uint64_t)(*p - '0');
        exponent -= point;
    }
    // the shortest form writes 1.0 where the reference writes and reads the same
    if (p < end) exponent += atoi(p + 1);
    if (exponent < -308 || exponent > 308) return exact;
    char power_text[16];
    snprintf(power_text, sizeof power_text, "1e%d", exponent < 0 ? -exponent : exponent);
    const double power = c_strtod(power_text, NULL), f = (double)digits;
    const double value = exponent >= 0 ? f * power : f / power;
    return negative ? -value : value;
}

static mltf_status parse_unigram(tok_model **out, tok_vocab *v, const json *spec, mltf_err *err)
{
    const json *list = json_get(spec, "vocab");
    if (!json_is(list, JSON_ARRAY))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "the Unigram model lacks the list \"vocab\"");
    const size_t n = list->a.n;
    if (n > INT32_MAX)
        return mltf_fail(err, MLTF_CORRUPT_FILE, "the Unigram model has %zu tokens", n);
    const json *unk = json_get(spec, "unk_id");
    const int64_t unk_id = json_is(unk, JSON_INT) ? unk->i : -1;
    if (unk && unk->type != JSON_NULL &&
        (unk->type != JSON_INT || unk_id < 0 || (size_t)unk_id >= n))
        return mltf_fail(err, MLTF_CORRUPT_FILE,
                         "the unk_id is larger than the vocabulary of %zu tokens", n);
    mltf_buf digits = MLTF_BUF_INIT;
    double *scores = malloc((n + 1) * sizeof *scores);
    if (!scores) return mltf_fail_memory(err);
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n && st == MLTF_OK; i++) {
        const json *e = &list->a.items[i];
        const json *token = json_at(e, 0), *score = json_at(e, 1);
        if (json_len(e) != 2 || !json_is(token, JSON_STRING) || !json_is_number(score) ||
            !isfinite(json_double(score, NAN)))
            st = mltf_fail(err, MLTF_CORRUPT_FILE,
                           "token %zu of the Unigram model is not a string and a score", i);
        else if (scores[i] = read_score(json_double(score, 0), &digits),
                 !vocab_put(v, token->s, (int32_t)i))
            st = mltf_fail_memory(err);
    }
    mltf_buf_release(&digits);
    // ids whose token came again later are never found any more, but still count for the lowest score
    if (st == MLTF_OK && n) v->max_id = (int32_t)n - 1;
    if (st == MLTF_OK)
        st = tok_unigram_new(out, v, scores, unk_id,
                             json_bool(json_get(spec, "byte_fallback"), false), err);
    free(scores);
    return st;
}

mltf_status tok_model_parse(tok_model **out, const json *spec, const tok_pretok *pretok,
                            mltf_err *err)
{
    *out = NULL;
    if (!json_is(spec, JSON_OBJECT))
        return mltf_fail(err, MLTF_CORRUPT_FILE, "tokenizer.json lacks its model");
    mltf_str type = json_string(json_get(spec, "type"), (mltf_str){NULL, 0});
    if (!type.p) { // files from before the types were written
        if (json_get(spec, "merges"))
            type = STR("BPE");
        else if (json_get(spec, "continuing_subword_prefix") ||
                 json_get(spec, "max_input_chars_per_word"))
            type = STR("WordPiece");
        else
            type = json_is(json_get(spec, "vocab"), JSON_ARRAY) ? STR("Unigram") : STR("WordLevel");
    }
    tok_vocab v = {0};
    mltf_status st;
    mltf_str unk, prefix;
    if (str_is(type, "BPE")) {
        st = parse_bpe(out, &v, spec, pretok, err);
    } else if (str_is(type, "Unigram")) {
        st = parse_unigram(out, &v, spec, err);
    } else if (str_is(type, "WordPiece")) {
        st = read_vocab(&v, spec, err);
        if (st == MLTF_OK) st = optional_string(&unk, spec, "unk_token", err);
        if (st == MLTF_OK) st = optional_string(&prefix, spec, "continuing_subword_prefix", err);
        const int64_t max = json_int(json_get(spec, "max_input_chars_per_word"), 100);
        if (st == MLTF_OK)
            st = tok_wordpiece_new(out, &v, unk.p ? unk : STR("[UNK]"),
                                   prefix.p ? prefix : STR("##"), max < 0 ? 0 : (size_t)max, err);
    } else if (str_is(type, "WordLevel")) {
        st = read_vocab(&v, spec, err);
        if (st == MLTF_OK) st = optional_string(&unk, spec, "unk_token", err);
        if (st == MLTF_OK) st = tok_wordlevel_new(out, &v, unk.p ? unk : STR("<unk>"), err);
    } else {
        st = mltf_fail(err, MLTF_UNSUPPORTED, "model type \"" STR_FMT "\" is not known",
                       STR_ARG(type));
    }
    vocab_release(&v);
    if (st == MLTF_OK && !vocab_index(&(*out)->vocab)) st = mltf_fail_memory(err);
    if (st == MLTF_OK &&
        str_is(type, "Unigram")) { // a list: ids that were read over keep their text
        const json *list = json_get(spec, "vocab");
        for (size_t i = 0; (*out)->vocab.n < list->a.n && i < list->a.n; i++)
            vocab_show_again(&(*out)->vocab, json_at(&list->a.items[i], 0)->s, (int32_t)i);
    }
    if (st != MLTF_OK) {
        tok_model_free(*out);
        *out = NULL;
    }
    return st;
}
