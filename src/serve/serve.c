/* mltf_serve(): the server with a real model behind it. */
#include "serve/serve.h"

static mltf_status predict(const void *model, bool csv, const char *body, size_t n,
                           const mltf_predict_options *opts, mltf_buf *answer, mltf_err *err)
{
    return csv ? mltf_predict_csv(model, body, n, opts, answer, err)
               : mltf_predict_json(model, body, n, opts, answer, err);
}

static mltf_status openai(const void *model, const char *endpoint, const char *body, size_t n,
                          const mltf_predict_options *opts, mltf_stream_fn on_event, void *user,
                          mltf_buf *answer, mltf_err *err)
{
    return mltf_openai(model, endpoint, body, n, opts, on_event, user, answer, err);
}

mltf_status mltf_serve(const mltf_model *m, const mltf_serve_options *opts, mltf_err *err)
{
    const serve_backend b = {
        .model = m,
        .name = opts && opts->model_name ? opts->model_name : mltf_model_name(m),
        .task = mltf_model_task(m),
        .predict = predict,
        .openai = openai,
    };
    return serve_run(&b, opts, err);
}
