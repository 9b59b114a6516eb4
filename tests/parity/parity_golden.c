/* parity --golden DIR: a case of recordings of Python MLflow is replayed on the models saved in it.
 *
 * Each predict, load, http, tokenizer, template and pipeline call must answer as recorded, or fail with the same
 * error code, HTTP status and words; each save_model call is repeated from the case's own files and the directory
 * compared (golden_save.c). Differences that are meant are listed in docs/differences.md and counted apart; calls
 * whose note begins with "unreliable" or "random" cannot be compared; audio and images wait for their pipelines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "golden.h"
#include "mlflow/mlmodel.h"
#include "mlflow/wrapper.h"
#include "serve/serve.h"
#include "templates/chat_template.h"

static const char *text_of(golden *g, const json *v)
{
    const mltf_str s = json_string(v, (mltf_str){0});
    return s.p ? arena_strdup(&g->a, s.p, s.n) : NULL;
}

static const char *dump(mltf_arena *a, const json *v)
{
    mltf_buf b = MLTF_BUF_INIT;
    const json_write_options opts = {0};
    if (v) json_write(&b, v, &opts);
    const char *s = arena_strdup(a, b.p ? b.p : "", b.n);
    mltf_buf_release(&b);
    return s;
}

/* ---- models -------------------------------------------------------------------------------- */

/* Half floats are rounded at other places than in torch: 11 bits of fraction, some ten roundings. */
static mltf_model *use_model(golden *g, mltf_model *m)
{
    const json *flavor = m ? mlmodel_flavor(m->mlmodel, "transformers") : NULL;
    const mltf_str dtype = json_string(json_get(flavor, "torch_dtype"), STR(""));
    g->tolerance = str_is(dtype, "torch.float16") || str_is(dtype, "torch.bfloat16") ? 5e-3 : 1e-4;
    return m;
}

static mltf_model *open_model(golden *g, const char *sub, const json *config, mltf_err *err)
{
    const char *dir = arena_printf(&g->a, "%s/%s", g->dir, sub);
    const char *key = arena_printf(&g->a, "%s %s", sub, config ? dump(&g->a, config) : "");
    for (size_t i = 0; i < g->n_models; i++)
        if (strcmp(g->models[i].key, key) == 0) {
            *err = g->models[i].err;
            return use_model(g, g->models[i].m);
        }
    if (g->n_models == sizeof g->models / sizeof *g->models) return NULL;
    mltf_open_options o = {.model_config_json = config ? dump(&g->a, config) : NULL};
    // the base of an adapter was beside the recorded program; it lies in the case now
    mltf_buf file = MLTF_BUF_INIT;
    char *mlmodel = path_join(dir, "MLmodel");
    if (mlmodel && file_read(&file, mlmodel, 1 << 22, NULL) == MLTF_OK &&
        strstr(file.p, "local_base_model_path: <work>"))
        o.base_model_path = arena_printf(&g->a, "%s/base_model", g->dir);
    free(mlmodel);
    mltf_buf_release(&file);
    struct golden_model *slot = &g->models[g->n_models++];
    slot->key = strdup(key);
    mltf_status st = dir_exists(dir)
                         ? model_load(&slot->m, dir, &o, &slot->err)
                         : mltf_fail(&slot->err, MLTF_NOT_FOUND, "No such artifact: '%s'", sub);
    (void)st;
    *err = slot->err;
    return use_model(g, slot->m);
}

static bool skipped(golden *g, const json *record, const mltf_err *err)
{
    const mltf_str note = json_string(json_get(record, "note"), STR(""));
    if (str_starts(note, "unreliable") || str_starts(note, "random")) {
        parity_skip(&g->count, "%s record %zu: %.60s", g->name, g->at, note.p);
        return true;
    }
    if (err && err->status == MLTF_UNSUPPORTED) {
        parity_skip(&g->count, "%s record %zu: %s", g->name, g->at, err->msg);
        return true;
    }
    return false;
}

/* ---- errors -------------------------------------------------------------------------------- */

static void judge_error(golden *g, const json *record, const json *want, const mltf_err *have)
{
    const mltf_str code = json_string(json_get(want, "error_code"), (mltf_str){0});
    const mltf_str message = json_string(json_get(want, "message"), STR(""));
    const bool same_words = golden_same_message(g, message, have->msg);
    const char *here = arena_printf(&g->a, "fails %s", mltf_status_name(have->status));
    if (!code.p) { // an exception of Python's own: our words may differ, but it must fail
        if (!same_words) g->worded++;
        golden_verdict(g, record, true, here, NULL);
        return;
    }
    const int http = (int)json_int(json_get(want, "http_status"), 0);
    const bool same = str_is(code, mltf_status_mlflow_code(have->status)) &&
                      (!http || http == mltf_status_http(have->status)) && same_words;
    golden_verdict(g, record, same, here,
                   arena_printf(&g->a, "%s \"%s\", recorded " STR_FMT " \"" STR_FMT "\"",
                                mltf_status_mlflow_code(have->status), have->msg, STR_ARG(code),
                                STR_ARG(message)));
}

/* ---- predict ------------------------------------------------------------------------------- */

static void replay_predict(golden *g, const json *record)
{
    mltf_err err = {0};
    const char *note = text_of(g, json_get(record, "note"));
    const char *equals = note ? strchr(note, '=') : NULL;
    const bool env = equals && strncmp(note, "MLFLOW_", 7) == 0;
    const char *variable = env ? arena_strdup(&g->a, note, (size_t)(equals - note)) : NULL;
    if (env) setenv(variable, equals + 1, 1);
    const char *sub = text_of(g, json_get(record, "model"));
    mltf_model *m = open_model(g, sub, json_get(record, "model_config"), &err);
    const json *want_error = json_get(record, "error");
    if (!m) {
        if (!skipped(g, record, &err)) golden_verdict(g, record, false, "fails", err.msg);
    } else if (!skipped(g, record, NULL)) {
        const pv data = golden_decode(&g->a, json_get(record, "input"));
        const json *given = json_get(record, "params");
        pv params = given ? golden_decode(&g->a, given) : pv_none(), out = pv_none();
        const call_control ctl = {0};
        const mltf_status st = pyfunc_predict(m, &g->a, &data, &params, &ctl, &out, &err);
        if (st && want_error)
            judge_error(g, record, want_error, &err);
        else if (st)
            golden_verdict(g, record, false, arena_printf(&g->a, "fails %s", mltf_status_name(st)),
                           err.msg);
        else if (want_error)
            golden_verdict(g, record, false, "answers", "answers where an error was recorded");
        else {
            golden_same(g, json_get(record, "output"), &out);
            golden_verdict_diffs(g, record);
        }
    }
    if (env) unsetenv(variable);
}

/* ---- http ---------------------------------------------------------------------------------- */

static mltf_status backend_predict(const void *m, bool csv, const char *body, size_t n,
                                   const mltf_predict_options *opts, mltf_buf *answer,
                                   mltf_err *err)
{
    return csv ? mltf_predict_csv(m, body, n, opts, answer, err)
               : mltf_predict_json(m, body, n, opts, answer, err);
}

static mltf_status backend_openai(const void *m, const char *endpoint, const char *body, size_t n,
                                  const mltf_predict_options *opts, mltf_stream_fn on_event,
                                  void *user, mltf_buf *answer, mltf_err *err)
{
    return mltf_openai(m, endpoint, body, n, opts, on_event, user, answer, err);
}

/* Through the server's own functions from bytes to bytes. */
static void ask(golden *g, const json *record, mltf_model *m, serve_reply *r)
{
    const json *input = json_get(record, "input");
    const char *type = text_of(g, json_get(record, "content_type"));
    mltf_buf body = MLTF_BUF_INIT;
    if (json_is(input, JSON_STRING))
        buf_put_str(&body, input->s);
    else if (json_get(input, "__type__"))
        buf_put_str(&body, golden_decode(&g->a, input).s);
    else
        json_write(&body, input, NULL);
    const serve_backend backend = {.model = m,
                                   .name = mltf_model_name(m),
                                   .task = mltf_model_task(m),
                                   .predict = backend_predict,
                                   .openai = backend_openai};
    const serve_request request = {.method = text_of(g, json_get(record, "method")),
                                   .path = text_of(g, json_get(record, "path")),
                                   .content_type = type && *type ? type : NULL,
                                   .body = body.p ? body.p : "",
                                   .n = body.n};
    const char *route = NULL;
    const serve_kind kind = serve_route(&backend, &request, r, &route);
    if (kind == SERVE_PREDICT_JSON || kind == SERVE_PREDICT_CSV)
        serve_compute(&backend, kind, request.body, request.n, NULL, NULL, NULL, r);
    mltf_buf_release(&body);
}

static void replay_http(golden *g, const json *record)
{
    mltf_err err = {0};
    mltf_model *m = open_model(g, text_of(g, json_get(record, "model")), NULL, &err);
    const json *want = json_get(record, "output");
    if (!m) {
        if (!skipped(g, record, &err)) golden_verdict(g, record, false, "fails", err.msg);
        return;
    }
    if (skipped(g, record, NULL)) return;
    serve_reply r = {0};
    ask(g, record, m, &r);
    const int status = (int)json_int(json_get(want, "status"), 0);
    const char *here = r.status == 200 ? "answers" : "fails", *why = NULL;
    const json *want_json = json_get(want, "json"), *want_text = json_get(want, "text");
    json *have = NULL;
    const char *want_type = text_of(g, json_get(want, "content_type"));
    bool ok = r.status == status && (!want_type || (r.type && strcmp(r.type, want_type) == 0));
    if (ok && want_text) {
        ok = golden_same_message(g, json_string(want_text, STR("")), r.body.p ? r.body.p : "");
        golden_verdict(g, record, ok, here, r.body.p);
        mltf_buf_release(&r.body);
        return;
    }
    if (ok)
        ok = json_parse_in(&g->a, &have, r.body.p ? r.body.p : "", r.body.n, NULL, NULL) == MLTF_OK;
    if (ok && json_get(want_json, "detail")) ok = json_equal(want_json, have);
    if (ok && status == 200) {
        golden_same_json(g, want_json, have, "body");
        golden_verdict_diffs(g, record);
        mltf_buf_release(&r.body);
        return;
    }
    if (ok) {
        const char *const keys[] = {"error_code", "sqlstate", "error_class"};
        for (size_t i = 0; i < 3; i++)
            if (json_get(want_json, keys[i]) &&
                !json_equal(json_get(want_json, keys[i]), json_get(have, keys[i])))
                ok = false;
        const char *message = text_of(g, json_get(have, "message"));
        if (ok && !golden_same_message(g, json_string(json_get(want_json, "message"), STR("")),
                                       message ? message : ""))
            ok = false;
    }
    if (!ok && !why)
        why = arena_printf(&g->a, "%d %.600s, recorded %.600s", r.status, r.body.p ? r.body.p : "",
                           dump(&g->a, want));
    golden_verdict(g, record, ok, here, why);
    mltf_buf_release(&r.body);
}

/* ---- loading ------------------------------------------------------------------------------- */

/* "OLD -> NEW": the model with that text of MLmodel exchanged. */
static void replay_edited(golden *g, const json *record)
{
    const char *edit = text_of(g, json_get(record, "input")), *arrow = strstr(edit, " -> ");
    const char *from = arena_strdup(&g->a, edit, (size_t)(arrow - edit)), *to = arrow + 4;
    const char *dir = arena_printf(&g->a, "%s/edited-%zu", g->tmp, g->at);
    const char *path = arena_printf(&g->a, "%s/MLmodel", dir);
    mltf_buf old = MLTF_BUF_INIT, new = MLTF_BUF_INIT;
    mltf_err err = {0};
    if (dir_copy(arena_printf(&g->a, "%s/model", g->dir), dir, NULL, NULL, NULL, &err) == MLTF_OK &&
        file_read(&old, path, 1 << 22, &err) == MLTF_OK) {
        const bool key = strstr(to, ": ") != NULL; // a whole line
        for (char *p = old.p, *hit; p && *p;) {
            hit = strstr(p, key ? arena_printf(&g->a, "%s: ", from) : from);
            if (!hit || (key && hit > old.p && hit[-1] != ' ')) {
                buf_puts(&new, p);
                break;
            }
            buf_append(&new, p, (size_t)(hit - p));
            buf_puts(&new, to);
            p = key ? hit + strcspn(hit, "\n") : hit + strlen(from);
        }
        file_write(path, new.p, new.n, &err);
    }
    mltf_buf_release(&old);
    mltf_buf_release(&new);
    mltf_model *m = NULL;
    model_load(&m, dir, NULL, &err);
    const json *want = json_get(record, "error");
    if (m)
        golden_verdict(g, record, !want, "answers", "loads where an error was recorded");
    else if (want)
        judge_error(g, record, want, &err);
    else
        golden_verdict(g, record, false,
                       arena_printf(&g->a, "fails %s", mltf_status_name(err.status)), err.msg);
    model_free(m);
}

/* A model loaded by a URI of the recorded store: the answer is that to the model's stored example. */
static void replay_stored(golden *g, const json *record)
{
    mltf_err err = {0};
    mltf_model *m = open_model(g, "model", NULL, &err);
    json_doc example = JSON_DOC_INIT;
    const char *path = arena_printf(&g->a, "%s/model/input_example.json", g->dir), *why = err.msg;
    bool ok = false;
    if (m && json_parse_file(&example, path, NULL, &err) == MLTF_OK) {
        const pv data = pv_from_json(&g->a, example.root);
        const call_control ctl = {0};
        pv out = pv_none();
        ok = pyfunc_predict(m, &g->a, &data, NULL, &ctl, &out, &err) == MLTF_OK &&
             golden_same(g, json_get(record, "output"), &out);
        if (!ok && g->n_diffs) why = g->diffs[0].why;
    }
    golden_verdict(g, record, ok, "answers", why);
    json_doc_release(&example);
}

static void replay_load(golden *g, const json *record)
{
    const json *input = json_get(record, "input"), *want = json_get(record, "error");
    const char *sub = text_of(g, json_get(input, "path"));
    mltf_err err = {0};
    if (!sub && json_is(input, JSON_STRING) && str_is(input->s, "missing directory"))
        sub = "missing";
    if (!sub && json_is(input, JSON_STRING) && strstr(text_of(g, input), " -> ")) {
        replay_edited(g, record);
        return;
    }
    if (!sub && json_is(input, JSON_STRING) && json_get(record, "output")) {
        replay_stored(g, record);
        return;
    }
    if (!sub && json_is(input, JSON_STRING) && str_ends(input->s, "/model"))
        sub = arena_printf(&g->a, "../" STR_FMT, STR_ARG(input->s));
    if (!sub) {
        if (json_is(input, JSON_OBJECT))
            return; // an environment: judged by the predict calls that follow
        parity_skip(&g->count, "%s record %zu: %s", g->name, g->at, dump(&g->a, input));
        return;
    }
    mltf_model *m = open_model(g, sub, json_get(input, "model_config"), &err);
    if (!m && skipped(g, record, &err)) return;
    const char *dir = arena_printf(&g->a, "%s/%s", g->dir, sub);
    if (!m && want && !dir_exists(dir) && strcmp(sub, "missing") != 0) {
        parity_skip(&g->count, "%s record %zu: the model of the recorded failure was not kept",
                    g->name, g->at);
        return;
    }
    if (m && want)
        golden_verdict(g, record, false, "answers", "loads where an error was recorded");
    else if (want)
        judge_error(g, record, want, &err);
    else
        golden_verdict(g, record, m != NULL, "fails", err.msg);
}

/* load_model(): what differs here is only in errors; Python's objects have no counterpart. */
static void replay_native_load(golden *g, const json *record)
{
    const json *input = json_get(record, "input"), *want = json_get(record, "error");
    mltf_open_options o = {.torch_dtype = text_of(g, json_get(input, "torch_dtype")),
                           .base_model_path = text_of(g, json_get(input, "base_model_path"))};
    const char *what = text_of(g, input);
    const char *sub = what && strcmp(what, "missing directory") == 0 ? "missing" : "model";
    if (what && strncmp(what, "missing base", 12) == 0) {
        sub = "base_path";
        o.base_model_path = arena_printf(&g->a, "%s/no-such-dir", g->tmp);
    } else if (what && strcmp(what, "base without config") == 0) {
        sub = "base_path";
        o.base_model_path = arena_printf(&g->a, "%s/empty-dir", g->tmp);
        dir_make(o.base_model_path, NULL);
    }
    if (!want || (!o.torch_dtype && !o.base_model_path && strcmp(sub, "missing") != 0)) {
        parity_skip(&g->count, "%s record %zu: load_model answers with a Python object", g->name,
                    g->at);
        return;
    }
    mltf_model *m = NULL;
    mltf_err err = {0};
    const char *dir = arena_printf(&g->a, "%s/%s", g->dir, sub);
    if (!dir_exists(dir))
        mltf_fail(&err, MLTF_NOT_FOUND, "No such artifact: '%s'", sub);
    else
        model_load(&m, dir, &o, &err);
    if (m)
        golden_verdict(g, record, false, "answers", "loads where an error was recorded");
    else
        judge_error(g, record, want, &err);
    model_free(m);
}

/* ---- parts --------------------------------------------------------------------------------- */

static json *ids_of(golden *g, const tok_encoding *e)
{
    json *list = json_new_array(&g->a);
    for (size_t i = 0; i < e->n; i++) json_push(&g->a, list, json_new_int(&g->a, e->ids[i]));
    return list;
}

static void replay_tokenizer(golden *g, const json *record)
{
    mltf_err err = {0};
    mltf_model *m = open_model(g, "model", NULL, &err);
    if (!m) {
        if (!skipped(g, record, &err)) golden_verdict(g, record, false, "fails", err.msg);
        return;
    }
    const tokenizer *tk = pipeline_tokenizer(m->pipe);
    const mltf_str text = json_string(json_get(record, "input"), STR(""));
    tok_encoding with = TOK_ENCODING_INIT, without = TOK_ENCODING_INIT;
    const tok_options bare = {.no_special_tokens = true};
    mltf_buf decoded = MLTF_BUF_INIT, clean = MLTF_BUF_INIT;
    json *have = json_new_object(&g->a), *tokens = json_new_array(&g->a);
    mltf_status st = tokenizer_encode(tk, &with, text, (mltf_str){0}, NULL, &err);
    if (st == MLTF_OK) st = tokenizer_encode(tk, &without, text, (mltf_str){0}, &bare, &err);
    if (st == MLTF_OK) st = tokenizer_decode(tk, &decoded, with.ids, with.n, false, -1, &err);
    if (st == MLTF_OK) st = tokenizer_decode(tk, &clean, with.ids, with.n, true, 1, &err);
    for (size_t i = 0; i < with.n; i++)
        json_push(&g->a, tokens, json_new_string(&g->a, tokenizer_id_to_token(tk, with.ids[i])));
    json_set(&g->a, have, "input_ids", ids_of(g, &with));
    json_set(&g->a, have, "without_special", ids_of(g, &without));
    json_set(&g->a, have, "tokens", tokens);
    json_set(&g->a, have, "decoded", json_new_string(&g->a, buf_str(&decoded)));
    json_set(&g->a, have, "decoded_clean", json_new_string(&g->a, buf_str(&clean)));
    if (st)
        golden_verdict(g, record, false, "fails", err.msg);
    else {
        golden_same_json(g, json_get(record, "output"), have, "tokenizer");
        golden_verdict_diffs(g, record);
    }
    tok_encoding_release(&with);
    tok_encoding_release(&without);
    mltf_buf_release(&decoded);
    mltf_buf_release(&clean);
}

static void replay_template(golden *g, const json *record)
{
    mltf_err err = {0};
    mltf_model *m = open_model(g, "model", NULL, &err);
    if (!m) {
        if (!skipped(g, record, &err)) golden_verdict(g, record, false, "fails", err.msg);
        return;
    }
    const chat_options opts = {.add_generation_prompt =
                                   json_bool(json_get(record, "add_generation_prompt"), false)};
    mltf_buf out = MLTF_BUF_INIT;
    const mltf_status st = chat_template_apply(pipeline_tokenizer(m->pipe),
                                               json_get(record, "input"), &opts, &out, &err);
    const bool ok =
        st == MLTF_OK && str_eq(buf_str(&out), json_string(json_get(record, "output"), STR("")));
    golden_verdict(g, record, ok, "answers", st ? err.msg : out.p);
    mltf_buf_release(&out);
}

static void replay_pipeline(golden *g, const json *record)
{
    mltf_err err = {0};
    mltf_model *m = open_model(g, text_of(g, json_get(record, "path")), NULL, &err);
    const json *want = json_get(record, "error");
    if (!m) {
        if (!skipped(g, record, &err)) golden_verdict(g, record, false, "fails", err.msg);
        return;
    }
    if (skipped(g, record, NULL)) return;
    const pv data = golden_decode(&g->a, json_get(record, "input"));
    const json *kwargs = json_get(record, "params");
    json *input = pv_to_json(&g->a, &data), *raw = NULL;
    if (json_is(input, JSON_ARRAY) && input->a.n == 0) input = NULL; // keywords only
    const mltf_status st = pipeline_call(m->pipe, input, kwargs, NULL, &g->a, &raw, &err);
    if (st && want) {
        if (!golden_same_message(g, json_string(json_get(want, "message"), STR("")), err.msg))
            g->worded++;
        golden_verdict(g, record, true, "fails", NULL);
    } else if (st)
        golden_verdict(g, record, false, "fails", err.msg);
    else if (want)
        golden_verdict(g, record, false, "answers", "answers where an error was recorded");
    else {
        const pv plain = golden_decode(&g->a, json_get(record, "output"));
        golden_same_json(g, pv_to_json(&g->a, &plain), raw, "output");
        golden_verdict_diffs(g, record);
    }
}

/* ---- the case ------------------------------------------------------------------------------ */

static void use_hub_cache(golden *g)
{
    const char *const places[] = {"hub_cache", "../hub_reference_only/hub_cache"};
    for (size_t i = 0; i < 2; i++) {
        char *path = path_join(g->dir, places[i]), *full = path ? realpath(path, NULL) : NULL;
        if (full) setenv("HF_HUB_CACHE", full, 1);
        free(path);
        free(full);
        if (getenv("HF_HUB_CACHE")) break;
    }
}

static void replay(golden *g, const json *record, size_t index)
{
    const mltf_str call = json_string(json_get(record, "call"), STR(""));
    if (str_is(call, "versions")) return;
    if (str_is(call, "pyfunc.predict"))
        replay_predict(g, record);
    else if (str_is(call, "http"))
        replay_http(g, record);
    else if (str_is(call, "pyfunc.load_model"))
        replay_load(g, record);
    else if (str_is(call, "load_model"))
        replay_native_load(g, record);
    else if (str_is(call, "tokenizer"))
        replay_tokenizer(g, record);
    else if (str_is(call, "chat_template"))
        replay_template(g, record);
    else if (str_is(call, "native_pipeline"))
        replay_pipeline(g, record);
    else if (str_is(call, "save_model"))
        golden_save(g, record);
    else if (str_is(call, "persist_pretrained_model"))
        golden_persist(g, record, index);
    else
        parity_skip(&g->count, "%s record %zu: " STR_FMT " is judged elsewhere", g->name, g->at,
                    STR_ARG(call));
}

int parity_golden(const char *dir, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    golden *g = calloc(1, sizeof *g);
    if (!g) return 1;
    mltf_err err = {0};
    char *full = realpath(dir, NULL), *name = full ? path_name(full) : NULL;
    g->dir = full ? full : dir;
    g->name = name ? name : "";
    snprintf(g->tmp, sizeof g->tmp, "%s", "/tmp/mltf-golden-XXXXXX");
    char *recording = path_join(g->dir, "recording.json");
    if (!recording || !mkdtemp(g->tmp) || json_parse_file(&g->doc, recording, NULL, &err)) {
        fprintf(stderr, "%s: %s\n", dir, err.msg);
        return 1;
    }
    g->tolerance = 1e-4;
    const mltf_str pandas =
        json_string(json_get(json_get(json_at(g->doc.root, 0), "output"), "pandas"), STR(""));
    g->pandas2 = str_starts(pandas, "1.") || str_starts(pandas, "2.");
    golden_load_rules(g, "docs/differences.md");
    use_hub_cache(g);
    for (size_t i = 0; i < json_len(g->doc.root); i++) {
        const json *record = json_at(g->doc.root, i);
        g->at = i;
        g->n_diffs = 0;
        g->record_text = dump(&g->a, record);
        replay(g, record, i);
        arena_release(&g->a);
    }
    if (g->listed) {
        printf("%zu differ as listed in docs/differences.md:", g->listed);
        for (size_t i = 0; i < g->n_rules; i++)
            if (g->rules[i].used) printf(" %s (%zu)", g->rules[i].id, g->rules[i].used);
        putchar('\n');
    }
    if (g->worded) printf("%zu errors of Python's own fail here in other words\n", g->worded);
    // a case of calls that only Python makes, such as its Trainer's, cannot be judged here
    const bool nothing = g->count.passed + g->count.failed == 0 && g->count.skipped > 0;
    const int rc = nothing ? (parity_report(dir, &g->count), 77) : parity_report(dir, &g->count);
    for (size_t i = 0; i < g->n_models; i++) {
        model_free(g->models[i].m);
        free(g->models[i].key);
    }
    dir_remove(g->tmp, NULL);
    json_doc_release(&g->doc);
    free(recording);
    free(full);
    free(name);
    free(g);
    return rc;
}
