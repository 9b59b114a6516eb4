/* Tokens of any text, for comparing with the real library (tests/interop/differential_tokenizers.py): JSON strings
 * on stdin, one a line; for each a line "id start end word id start end word ..." with offsets in code points, a tab, and
 * the text that decoding the ids gives, as a JSON string. */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/utf8.h"
#include "parity.h"
#include "tokenizers/tokenizer.h"

int parity_tokenize(const char *dir, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    mltf_err err = {0};
    tokenizer *tk = NULL;
    char *line = NULL;
    size_t cap = 0;
    uint32_t *points = NULL;
    size_t points_cap = 0;
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    char *path = path_join(dir, "tokenizer.json");
    mltf_buf text = MLTF_BUF_INIT, quoted = MLTF_BUF_INIT;
    mltf_status st;
    if (!file_exists(path)) {
        st = tokenizer_load(&tk, dir, &err);
    } else { // as `tokenizers` alone reads it
        st = file_read(&text, path, (size_t)1 << 30, &err);
        if (st == MLTF_OK) st = tokenizer_load_json(&tk, text.p, text.n, &err);
    }
    free(path);
    if (st != MLTF_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    tok_encoding e = TOK_ENCODING_INIT;
    for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;) {
        json_doc doc = JSON_DOC_INIT;
        if (json_parse(&doc, line, (size_t)n, NULL, &err)) {
            printf("error %s\n", err.msg);
            json_doc_release(&doc);
            continue;
        }
        const mltf_str in = json_string(doc.root, STR(""));
        if (tokenizer_encode(tk, &e, in, (mltf_str){NULL, 0}, NULL, &err)) {
            printf("error %s\n", err.msg);
        } else {
            if (in.n + 1 > points_cap) {
                points_cap = in.n * 2 + 1024;
                points = realloc(points, points_cap * sizeof *points);
                if (!points) abort();
            }
            uint32_t k = 0; // code points before each byte
            for (size_t i = 0; i < in.n; i++) {
                const bool first = ((unsigned char)in.p[i] & 0xC0) != 0x80;
                points[i] = k;
                k += first;
            }
            points[in.n] = k;
            for (size_t i = 0; i < e.n; i++)
                printf("%d %u %u %d ", e.ids[i], points[e.offsets[i].start],
                       points[e.offsets[i].end], e.word_ids[i]);
            buf_clear(&text);
            buf_clear(&quoted);
            if (tokenizer_decode(tk, &text, e.ids, e.n, true, 0, &err))
                buf_puts(&quoted, "error");
            else
                json_write_string(&quoted, buf_str(&text), true);
            printf("\t%s\n", quoted.p);
        }
        json_doc_release(&doc);
    }
    tok_encoding_release(&e);
    tokenizer_free(tk);
    free(line);
    free(points);
    mltf_buf_release(&text);
    mltf_buf_release(&quoted);
    return 0;
}
