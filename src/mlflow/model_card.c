#include "mlflow/model_card.h"

#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/file.h"
#include "formats/yaml.h"

static mltf_status write_in(const char *dir, const char *name, const char *p, size_t n,
                            mltf_err *err)
{
    char *path = path_join(dir, name);
    if (!path) return mltf_fail_memory(err);
    const mltf_status st = file_write(path, p ? p : "", n, err);
    free(path);
    return st;
}

/* Front matter between two lines of ---, and the text behind it. */
static bool split_card(mltf_str card, mltf_str *matter, mltf_str *text)
{
    *matter = (mltf_str){0};
    *text = card;
    if (str_starts(card, "\xEF\xBB\xBF")) card = str_slice(card, 3, card.n);
    if (!str_starts(card, "---")) return false;
    const char *end = card.p + card.n, *line = memchr(card.p, '\n', card.n);
    if (!line) return false;
    const char *start = ++line;
    for (; line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        const char *stop = next ? next : end;
        size_t n = (size_t)(stop - line);
        if (n > 0 && line[n - 1] == '\r') n--;
        if (n == 3 && memcmp(line, "---", 3) == 0) {
            *matter = (mltf_str){start, (size_t)(line - start)};
            *text = next ? (mltf_str){next + 1, (size_t)(end - next - 1)} : (mltf_str){end, 0};
            return true;
        }
        if (!next) break;
        line = next + 1;
    }
    return false;
}

/* Keys that are null are left out, as ModelCardData.to_dict() does. */
static json *present_keys(mltf_arena *a, const json *v)
{
    json *out = json_new_object(a);
    for (size_t i = 0; json_is(v, JSON_OBJECT) && i < v->o.n; i++)
        if (!json_is(&v->o.members[i].value, JSON_NULL))
            json_set_str(a, out, v->o.members[i].key, &v->o.members[i].value);
    return out;
}

static mltf_status write_card(const char *dir, const char *path, mltf_buf *licence, mltf_err *err)
{
    mltf_buf card = MLTF_BUF_INIT, data = MLTF_BUF_INIT;
    json_doc doc = JSON_DOC_INIT;
    mltf_str matter, text;
    mltf_status st = file_read(&card, path, (size_t)1 << 26, err);
    if (st == MLTF_OK) {
        split_card(buf_str(&card), &matter, &text);
        st = yaml_parse(&doc, matter.p ? matter.p : "", matter.n, err);
        if (st) mltf_err_wrap(err, "the front matter of the model card \"%s\"", path);
    }
    if (st == MLTF_OK) {
        const json *declared = json_get(doc.root, "license");
        if (json_is(declared, JSON_STRING)) buf_put_str(licence, declared->s);
        yaml_write(&data, present_keys(&doc.arena, doc.root), NULL);
        st = buf_status(&data, err);
    }
    if (st == MLTF_OK) st = write_in(dir, "model_card.md", text.p, text.n, err);
    if (st == MLTF_OK) st = write_in(dir, "model_card_data.yaml", data.p, data.n, err);
    json_doc_release(&doc);
    mltf_buf_release(&card);
    mltf_buf_release(&data);
    return st;
}

/* "license" at the end of the name, or followed by a dot and letters. */
static bool is_licence_file(const char *name)
{
    for (const char *p = name; *p; p++) {
        if (strlen(p) < 7 || !ascii_same((mltf_str){p, 7}, "license")) continue;
        const char *rest = p + 7;
        if (!*rest) return true;
        if (*rest != '.' || !rest[1]) continue;
        for (rest++; ascii_is_alpha(*rest); rest++) continue;
        if (!*rest) return true;
    }
    return false;
}

static mltf_status copy_licence(const char *dir, const char *snapshot, bool *copied, mltf_err *err)
{
    dir_list files = {0};
    TRY(dir_read(&files, snapshot, err));
    mltf_status st = MLTF_OK;
    for (size_t i = 0; i < files.n && !*copied && st == MLTF_OK; i++) {
        if (!is_licence_file(files.names[i])) continue;
        char *from = path_join(snapshot, files.names[i]), *to = path_join(dir, files.names[i]);
        if (!from || !to)
            st = mltf_fail_memory(err);
        else if (file_exists(from)) {
            st = file_copy(from, to, NULL, NULL, err);
            *copied = true;
        }
        free(from);
        free(to);
    }
    dir_list_free(&files);
    return st;
}

mltf_status model_card_write(const char *dir, const model_card_options *o, bool *licensed,
                             mltf_err *err)
{
    mltf_buf licence = MLTF_BUF_INIT;
    bool copied = false;
    mltf_status st = MLTF_OK;
    if (o->card_path)
        st = write_card(dir, o->card_path, &licence, err);
    else if (o->snapshot_dir) {
        char *readme = path_join(o->snapshot_dir, "README.md");
        if (!readme)
            st = mltf_fail_memory(err);
        else if (file_exists(readme))
            st = write_card(dir, readme, &licence, err);
        free(readme);
    }
    if (st == MLTF_OK && o->snapshot_dir) st = copy_licence(dir, o->snapshot_dir, &copied, err);
    if (st == MLTF_OK && !copied) {
        mltf_buf notice = MLTF_BUF_INIT;
        buf_printf(
            &notice,
            "A license file could not be found for the '%s' repository. \nTo ensure that you are "
            "in compliance with "
            "the license requirements for this model, please visit the model repository here: "
            "https://huggingface.co/%s",
            o->name, o->name);
        if (licence.n && strcmp(licence.p, "other") != 0)
            buf_printf(&notice, "\nThe declared license type is: '%s'", licence.p);
        st = buf_status(&notice, err);
        if (st == MLTF_OK) st = write_in(dir, "LICENSE.txt", notice.p, notice.n, err);
        mltf_buf_release(&notice);
    }
    *licensed = copied || licence.n > 0;
    mltf_buf_release(&licence);
    return st;
}
