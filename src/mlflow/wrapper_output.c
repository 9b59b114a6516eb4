/* What each task gives: the pipeline's answer as MLflow's wrapper returns it. Texts come as a list of stripped
 * texts, classifications as a frame, features as an array. */
#include "base/pytext.h"
#include "mlflow/wrapper.h"

#include <math.h>
#include <string.h>

static mltf_status unexpected(mltf_err *err, const char *task)
{
    return mltf_fail(err, MLTF_INTERNAL, "the %s pipeline answered in an unexpected form", task);
}

/* ---- lists of texts ------------------------------------------------------------------------ */

typedef struct texts {
    mltf_arena *a;
    pv list;
    size_t cap;
} texts;

static void add_text(texts *t, mltf_str s)
{
    if (t->list.list.n == t->cap) {
        const size_t n = t->list.list.n;
        pv more = pv_list(t->a, t->cap ? 2 * t->cap : 8);
        if (!more.list.items) return;
        t->cap = more.list.n;
        for (size_t i = 0; i < n; i++) more.list.items[i] = t->list.list.items[i];
        more.list.n = n;
        t->list = more;
    }
    t->list.list.items[t->list.list.n++] = pv_str(pytext_strip(s));
}

/* Every value of that key, in order, at any depth of lists and of lists of objects inside objects. */
static void collect(texts *t, const json *v, const char *key)
{
    for (size_t i = 0; json_is(v, JSON_ARRAY) && i < v->a.n; i++) collect(t, &v->a.items[i], key);
    for (size_t i = 0; json_is(v, JSON_OBJECT) && i < v->o.n; i++) {
        const json *x = &v->o.members[i].value;
        if (str_is(v->o.members[i].key, key) && json_is(x, JSON_STRING))
            add_text(t, x->s);
        else if (json_is(x, JSON_ARRAY))
            collect(t, x, key);
    }
}

static mltf_status finish_texts(wrap_call *w, const json *raw, const char *key, pv *out,
                                mltf_err *err)
{
    texts t = {.a = w->a, .list = {.kind = PV_LIST}};
    collect(&t, raw, key);
    if (w->a->failed) return mltf_fail_memory(err);
    *out = t.list;
    return MLTF_OK;
}

/* ---- text generation ----------------------------------------------------------------------- */

static mltf_str trim_answer(const wrap_call *w, mltf_str prompt, mltf_str text)
{
    if (!w->include_prompt &&
        str_is(str_from(w->m->instance_type), "InstructionTextGenerationPipeline") &&
        prompt.n > 0 && text.n >= prompt.n + 2 && memcmp(text.p, prompt.p, prompt.n) == 0 &&
        text.p[prompt.n] == '\n' && text.p[prompt.n + 1] == '\n') {
        text = pytext_lstrip(str_slice(text, prompt.n, text.n));
        if (str_starts(text, "A:")) text = pytext_lstrip(str_slice(text, 2, text.n));
    }
    return w->collapse_whitespace ? pytext_collapse(w->a, text) : text;
}

/* Answers of one prompt: a list of objects; of several prompts: a list of such lists. All returned sequences are
 * kept, those of a prompt together. */
static void generated(wrap_call *w, texts *t, const json *raw, const pv *data, size_t prompt)
{
    for (size_t i = 0; i < json_len(raw); i++) {
        const json *v = json_at(raw, i);
        if (json_is(v, JSON_ARRAY)) {
            generated(w, t, v, data, i);
            continue;
        }
        const pv *given =
            data->kind == PV_LIST && prompt < data->list.n ? &data->list.items[prompt] : data;
        const json *text = json_get(v, "generated_text");
        if (json_is(text, JSON_STRING))
            add_text(t, trim_answer(w, pv_is_str(given) ? given->s : STR(""), text->s));
        else if (json_is(text, JSON_ARRAY)) // a chat: the newest message
            add_text(t,
                     json_string(json_get(json_at(text, json_len(text) - 1), "content"), STR("")));
    }
}

/* ---- classification ------------------------------------------------------------------------ */

/* pandas.DataFrame(raw): objects are rows; lists of objects give columns 0, 1, … with the objects as cells. */
static mltf_status finish_frame(wrap_call *w, const json *raw, pv *out, mltf_err *err)
{
    pv rows = pv_from_json(w->a, raw);
    if (rows.kind == PV_DICT) {
        pv one = pv_list(w->a, 1);
        if (one.list.n) one.list.items[0] = rows;
        rows = one;
    }
    pv_frame *f = pv_frame_from_rows(w->a, &rows, err);
    if (!f) return mltf_fail_memory(err);
    *out = (pv){.kind = PV_FRAME, .frame = f};
    return MLTF_OK;
}

static mltf_status finish_zero_shot(wrap_call *w, const json *raw, pv *out, mltf_err *err)
{
    const bool one = json_is(raw, JSON_OBJECT);
    const size_t n = one ? 1 : json_len(raw);
    size_t rows = 0;
    for (size_t i = 0; i < n; i++)
        rows += json_len(json_get(one ? raw : json_at(raw, i), "labels"));
    pv_frame *f = pv_frame_new(w->a, 3, rows);
    if (!f) return mltf_fail_memory(err);
    static const char *const names[] = {"sequence", "labels", "scores"};
    for (size_t c = 0; c < 3; c++) {
        f->names[c] = pv_cstr(names[c]);
        f->types[c] = c == 2 ? NP_FLOAT64 : NP_STR;
    }
    size_t r = 0;
    for (size_t i = 0; i < n; i++) {
        const json *v = one ? raw : json_at(raw, i);
        const json *labels = json_get(v, "labels"), *scores = json_get(v, "scores");
        for (size_t k = 0; k < json_len(labels); k++, r++) {
            *pv_cell(f, 0, r) = pv_str(json_string(json_get(v, "sequence"), STR("")));
            *pv_cell(f, 1, r) = pv_str(json_string(json_at(labels, k), STR("")));
            *pv_cell(f, 2, r) = pv_float(json_double(json_at(scores, k), NAN));
        }
    }
    *out = (pv){.kind = PV_FRAME, .frame = f};
    return MLTF_OK;
}

static mltf_str joined_labels(mltf_arena *a, const json *entities)
{
    mltf_buf b = MLTF_BUF_INIT;
    for (size_t i = 0; i < json_len(entities); i++) {
        const json *label = json_get(json_at(entities, i), "entity_group");
        if (!label) label = json_get(json_at(entities, i), "entity");
        if (i > 0) buf_putc(&b, ',');
        buf_put_str(&b, json_string(label, STR("")));
    }
    const mltf_str s = arena_str(a, buf_str(&b));
    mltf_buf_release(&b);
    return s;
}

/* A text without entities gives "". */
static mltf_status finish_tokens(wrap_call *w, const pv *data, const json *raw, pv *out,
                                 mltf_err *err)
{
    texts t = {.a = w->a, .list = {.kind = PV_LIST}};
    const bool nested = json_is(json_at(raw, 0), JSON_ARRAY) ||
                        (json_len(raw) == 0 && data->kind == PV_LIST && data->list.n == 0);
    if (!nested) add_text(&t, joined_labels(w->a, raw));
    for (size_t i = 0; nested && i < json_len(raw); i++)
        add_text(&t, joined_labels(w->a, json_at(raw, i)));
    if (w->a->failed) return mltf_fail_memory(err);
    *out = t.list;
    return MLTF_OK;
}

/* ---- fill-mask ----------------------------------------------------------------------------- */

static pv best_token(const json *list)
{
    return pv_str(pytext_strip(json_string(json_get(json_at(list, 0), "token_str"), STR(""))));
}

static mltf_status finish_masks(wrap_call *w, const json *raw, pv *out, mltf_err *err)
{
    if (json_is(json_at(raw, 0), JSON_OBJECT)) { // one text, one mask
        *out = pv_list(w->a, 1);
        if (out->list.n) out->list.items[0] = best_token(raw);
        return w->a->failed ? mltf_fail_memory(err) : MLTF_OK;
    }
    *out = pv_list(w->a, json_len(raw));
    for (size_t i = 0; i < out->list.n; i++) {
        const json *v = json_at(raw, i);
        if (json_is(json_at(v, 0), JSON_OBJECT)) {
            out->list.items[i] = best_token(v);
            continue;
        }
        pv several = pv_list(w->a, json_len(v)); // several masks in this text
        for (size_t k = 0; k < several.list.n; k++)
            several.list.items[k] = best_token(json_at(v, k));
        out->list.items[i] = several;
    }
    // a list of one list is handed on as that list
    if (out->list.n == 1 && out->list.items[0].kind == PV_LIST) *out = out->list.items[0];
    return w->a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

/* ---- features ------------------------------------------------------------------------------ */

static bool matrix(mltf_arena *a, pv *out, const json *v, np_type np)
{
    const size_t rows = json_len(v), cols = json_len(json_at(v, 0));
    *out = pv_array(a, np, 2, (size_t[]){rows, cols});
    if (out->kind != PV_ARRAY) return false;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) {
            pv x = pv_float(json_double(json_at(json_at(v, r), c), NAN));
            x.np = np;
            out->array.items[r * cols + c] = x;
        }
    return true;
}

static size_t depth_of(const json *v)
{
    size_t d = 0;
    for (; json_is(v, JSON_ARRAY) && json_len(v) > 0; v = json_at(v, 0)) d++;
    return d;
}

static bool vector(mltf_arena *a, pv *out, const json *v, np_type np)
{
    pv rows;
    if (!matrix(a, &rows, v, np) || rows.array.shape[0] == 0) return false;
    *out = pv_array(a, np, 1, (size_t[]){rows.array.shape[1]});
    if (out->kind != PV_ARRAY) return false;
    memcpy(out->array.items, rows.array.items, out->array.n * sizeof *out->array.items);
    return true;
}

/* One text: the array [T, H]; where no schema made a list of it, only its first token's [H], as MLflow does.
 * Several: a list of such arrays (MLflow keeps the first alone). */
static mltf_status finish_features(wrap_call *w, const pv *data, const json *raw, pv *out,
                                   mltf_err *err)
{
    const pv *tensors = pv_get(&w->options, "return_tensors");
    const np_type np = tensors && tensors->kind == PV_BOOL && tensors->b ? NP_FLOAT32 : NP_FLOAT64;
    const size_t depth = depth_of(raw); // [1][T][H] of a text, [N][1][T][H] of a list
    if (depth == 3 && data->kind == PV_STR && np == NP_FLOAT64)
        return vector(w->a, out, json_at(raw, 0), np) ? MLTF_OK : mltf_fail_memory(err);
    if (depth == 3 || depth == 2) {
        if (!matrix(w->a, out, depth == 3 ? json_at(raw, 0) : raw, np))
            return mltf_fail_memory(err);
        return MLTF_OK;
    }
    if (depth != 4) return unexpected(err, "feature-extraction");
    pv list = pv_list(w->a, json_len(raw));
    for (size_t i = 0; i < list.list.n; i++)
        if (!matrix(w->a, &list.list.items[i], json_at(json_at(raw, i), 0), np))
            return mltf_fail_memory(err);
    *out = list.list.n == 1 ? list.list.items[0] : list;
    return w->a->failed ? mltf_fail_memory(err) : MLTF_OK;
}

mltf_status wrap_finish(wrap_call *w, const pv *data, const json *raw, pv *out, mltf_err *err)
{
    switch (w->kind) {
    case WRAP_TEXT_GENERATION: {
        texts t = {.a = w->a, .list = {.kind = PV_LIST}};
        generated(w, &t, raw, data, 0);
        if (t.list.list.n == 0 && json_len(raw) > 0)
            return mltf_fail(err, MLTF_PREDICT_FAILED,
                             "The pipeline answered without 'generated_text' (return_tensors?); "
                             "predict returns texts.");
        *out = t.list;
        return w->a->failed ? mltf_fail_memory(err) : MLTF_OK;
    }
    case WRAP_TEXT2TEXT:
        return finish_texts(w, raw, "generated_text", out, err);
    case WRAP_SUMMARIZATION:
        return finish_texts(w, raw, "summary_text", out, err);
    case WRAP_TRANSLATION:
        return finish_texts(w, raw, "translation_text", out, err);
    case WRAP_QUESTION_ANSWERING:
    case WRAP_TABLE_QA:
        return finish_texts(w, raw, "answer", out, err);
    case WRAP_FILL_MASK:
        return finish_masks(w, raw, out, err);
    case WRAP_TEXT_CLASSIFICATION:
        return finish_frame(w, raw, out, err);
    case WRAP_TOKEN_CLASSIFICATION:
        return finish_tokens(w, data, raw, out, err);
    case WRAP_ZERO_SHOT:
        return finish_zero_shot(w, raw, out, err);
    case WRAP_SENTENCE_EMBEDDING: // [N, D]; of a bare text its vector
        if (depth_of(raw) == 2)
            return matrix(w->a, out, raw, NP_FLOAT64) ? MLTF_OK : mltf_fail_memory(err);
        *out = pv_from_json(w->a, raw);
        return w->a->failed ? mltf_fail_memory(err) : MLTF_OK;
    case WRAP_SENTENCE_PAIRS:
        *out = pv_from_json(w->a, raw);
        return w->a->failed ? mltf_fail_memory(err) : MLTF_OK;
    case WRAP_FEATURE_EXTRACTION:
        return finish_features(w, data, raw, out, err);
    default:
        return unexpected(err, w->m->task);
    }
}
