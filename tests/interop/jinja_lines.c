/* For differential_jinja.py: reads {"template": …, "context": …} lines, writes {"text": …} or {"error": …}
 * lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "templates/template.h"

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        json_doc doc = JSON_DOC_INIT;
        mltf_err err = {0};
        mltf_buf text = MLTF_BUF_INIT, out = MLTF_BUF_INIT;
        jinja_template *t = NULL;
        mltf_status st = json_parse(&doc, line, (size_t)n, NULL, &err);
        const mltf_str source = json_string(json_get(doc.root, "template"), STR(""));
        if (!st) st = jinja_compile(&t, source.p, source.n, &err);
        if (!st) st = jinja_render(t, json_get(doc.root, "context"), NULL, &text, &err);
        buf_puts(&out, st ? "{\"error\": " : "{\"text\": ");
        json_write_string(&out, st ? str_from(err.msg) : buf_str(&text), true);
        if (st) buf_printf(&out, ", \"status\": \"%s\"", mltf_status_name(st));
        buf_putc(&out, 0x7d);
        puts(out.p ? out.p : "{}");
        fflush(stdout);
        mltf_buf_release(&out);
        mltf_buf_release(&text);
        jinja_free(t);
        json_doc_release(&doc);
    }
    free(line);
    return 0;
}
