#include "tokenizers/tok_parts.h"

mltf_status tok_set_parts(tokenizer *tk, const char *normalizer, const char *pretok,
                          const char *post, const char *decoder, mltf_err *err)
{
    const char *const texts[4] = {normalizer, pretok, post, decoder};
    for (int i = 0; i < 4; i++) {
        if (!texts[i]) continue;
        json_doc doc = JSON_DOC_INIT;
        mltf_status st = json_parse(&doc, texts[i], strlen(texts[i]), NULL, err);
        if (st == MLTF_OK && i == 0) st = tok_normalizer_parse(&tk->normalizer, doc.root, err);
        if (st == MLTF_OK && i == 1) st = tok_pretok_parse(&tk->pretok, doc.root, err);
        if (st == MLTF_OK && i == 2) {
            tok_post_free(tk->post);
            tk->post = NULL;
            st = tok_post_parse(&tk->post, doc.root, err);
        }
        if (st == MLTF_OK && i == 3) st = tok_decoder_parse(&tk->decoder, doc.root, err);
        json_doc_release(&doc);
        TRY(st);
    }
    return MLTF_OK;
}

/* A template in words: "<tok>" pieces as "X:type", "$A:0", "$B:1", separated by spaces. %c stands for the class
 * token, %s for the separator, %e for the end token, %b for the beginning. */
static mltf_status put_template(mltf_buf *b, const tokenizer *tk, const char *words,
                                mltf_buf *specials, mltf_err *err)
{
    bool comma = false;
    while (*words) {
        const char *end = strchr(words, ' ');
        if (!end) end = words + strlen(words);
        mltf_str w = {words, (size_t)(end - words)};
        int type = 0;
        if (w.n > 2 && w.p[w.n - 2] == ':') {
            type = w.p[w.n - 1] - '0';
            w.n -= 2;
        }
        if (comma) buf_putc(b, ',');
        comma = true;
        if (w.n == 2 && w.p[0] == '$') {
            buf_printf(b, "{\"Sequence\":{\"id\":\"%c\",\"type_id\":%d}}", w.p[1], type);
        } else {
            if (w.n == 2 && w.p[0] == '%') {
                const tok_special which = w.p[1] == 'c'   ? TOK_CLS
                                          : w.p[1] == 's' ? TOK_SEP
                                          : w.p[1] == 'e' ? TOK_EOS
                                                          : TOK_BOS;
                w = tk->special[which];
            }
            if (!w.p)
                return mltf_fail(err, MLTF_CORRUPT_FILE,
                                 "the tokenizer lacks a special token of its template");
            // a token without an id is the unknown one in the reference, or an error there
            int32_t id = tokenizer_token_to_id(tk, w);
            if (id < 0) id = tokenizer_special_id(tk, TOK_UNK);
            if (id < 0)
                return mltf_fail(err, MLTF_CORRUPT_FILE,
                                 "the special token \"" STR_FMT "\" has no id", STR_ARG(w));
            buf_printf(b, "{\"SpecialToken\":{\"type_id\":%d,\"id\":", type);
            json_write_string(b, w, true);
            buf_puts(b, "}}");
            if (specials->n) buf_putc(specials, ',');
            json_write_string(specials, w, true);
            buf_printf(specials, ":{\"ids\":[%d]}", id);
        }
        words = *end ? end + 1 : end;
    }
    return MLTF_OK;
}

mltf_status tok_set_template_words(tokenizer *tk, const char *single, const char *pair,
                                   mltf_err *err)
{
    mltf_buf b = MLTF_BUF_INIT, specials = MLTF_BUF_INIT;
    buf_puts(&b, "{\"type\":\"TemplateProcessing\",\"single\":[");
    mltf_status st = put_template(&b, tk, single, &specials, err);
    buf_puts(&b, "],\"pair\":[");
    if (st == MLTF_OK) st = put_template(&b, tk, pair, &specials, err);
    buf_puts(&b, "],\"special_tokens\":{");
    buf_put_str(&b, buf_str(&specials));
    buf_puts(&b, "}}");
    if (st == MLTF_OK) st = buf_status(&b, err);
    if (st == MLTF_OK) st = tok_set_parts(tk, NULL, NULL, b.p, NULL, err);
    mltf_buf_release(&b);
    mltf_buf_release(&specials);
    return st;
}

/* Replace the post-processor by prefix $A [prefix] $B suffix … as a template. */
mltf_status tok_set_template(tokenizer *tk, const mltf_str *before, size_t n_before,
                             const mltf_str *behind, size_t n_behind, bool both, mltf_err *err)
{
    mltf_buf b = MLTF_BUF_INIT;
    buf_puts(&b, "{\"type\":\"TemplateProcessing\"");
    for (int pair = 0; pair < 2; pair++) {
        buf_puts(&b, pair ? ",\"pair\":[" : ",\"single\":[");
        bool comma = false;
        for (int seq = 0; seq <= pair; seq++) {
            // "both": each sequence has its tokens around it; else they are around the two together
            for (size_t i = 0; (both || seq == 0) && i < n_before; i++) {
                buf_printf(&b, "%s{\"SpecialToken\":{\"type_id\":%d,\"id\":", comma ? "," : "",
                           both ? seq : 0);
                json_write_string(&b, before[i], true);
                buf_puts(&b, "}}");
                comma = true;
            }
            buf_printf(&b, "%s{\"Sequence\":{\"id\":\"%s\",\"type_id\":%d}}", comma ? "," : "",
                       seq ? "B" : "A", both ? seq : 0);
            comma = true;
            for (size_t i = 0; (both || seq == pair) && i < n_behind; i++) {
                buf_printf(&b, ",{\"SpecialToken\":{\"type_id\":%d,\"id\":", both ? seq : 0);
                json_write_string(&b, behind[i], true);
                buf_puts(&b, "}}");
            }
        }
        buf_puts(&b, "]");
    }
    buf_puts(&b, ",\"special_tokens\":{");
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < n_before + n_behind; i++) {
        const mltf_str t = i < n_before ? before[i] : behind[i - n_before];
        const int32_t id = tokenizer_token_to_id(tk, t);
        if (id < 0)
            st = mltf_fail(err, MLTF_CORRUPT_FILE, "the special token \"" STR_FMT "\" has no id",
                           STR_ARG(t));
        if (i) buf_putc(&b, ',');
        json_write_string(&b, t, true);
        buf_printf(&b, ":{\"ids\":[%d]}", id < 0 ? 0 : id);
    }
    buf_puts(&b, "}}");
    if (st == MLTF_OK) st = buf_status(&b, err);
    if (st == MLTF_OK) st = tok_set_parts(tk, NULL, NULL, b.p, NULL, err);
    mltf_buf_release(&b);
    return st;
}
