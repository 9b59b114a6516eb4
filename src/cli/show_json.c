#include "cli/show_json.h"

#include "cli/cli.h"

static size_t key_width(const json *object)
{
    size_t width = 0;
    for (size_t i = 0; i < json_len(object); i++)
        if (object->o.members[i].key.n > width) width = object->o.members[i].key.n;
    return width < 28 ? width : 28;
}

void show_json(mltf_buf *out, const json *object, int indent)
{
    if (!json_is(object, JSON_OBJECT)) return;
    const int width = (int)key_width(object);
    const json_write_options one_line = {.ensure_ascii = false};
    for (size_t i = 0; i < json_len(object); i++) {
        const json_member *m = &object->o.members[i];
        const json *v = &m->value;
        if (str_is(m->key, "json")) continue; // the same once more, for programs
        buf_printf(out, "%*s%-*.*s", indent, "", width, (int)m->key.n, m->key.p);
        if (json_is(v, JSON_OBJECT) && json_len(v)) {
            buf_putc(out, '\n');
            show_json(out, v, indent + 2);
            continue;
        }
        buf_puts(out, "  ");
        if (json_is(v, JSON_STRING))
            buf_put_str(out, v->s);
        else if (json_is(v, JSON_NULL))
            buf_puts(out, "-");
        else
            json_write(out, v, &one_line);
        buf_putc(out, '\n');
    }
}

mltf_status show_answer(mltf_buf *text, bool as_json, mltf_err *err)
{
    if (as_json) {
        buf_putc(text, '\n');
        return cli_write_all("-", text, err);
    }
    json_doc doc = JSON_DOC_INIT;
    mltf_buf shown = MLTF_BUF_INIT;
    mltf_status st = json_parse(&doc, text->p, text->n, NULL, err);
    if (st == MLTF_OK) {
        show_json(&shown, doc.root, 0);
        st = cli_write_all("-", &shown, err);
    }
    mltf_buf_release(&shown);
    json_doc_release(&doc);
    return st;
}
