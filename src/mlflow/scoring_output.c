/* Predictions and errors as the scoring server sends them. */
#include "mlflow/scoring.h"

mltf_status scoring_write(mltf_buf *answer, const pv *prediction, bool unwrapped, mltf_err *err)
{
    mltf_arena a = MLTF_ARENA_INIT;
    const json *v = pv_to_json(&a, prediction);
    const json_write_options opts = {.ensure_ascii = true, .nan_as_null = true};
    const size_t before = answer->n;
    if (!unwrapped) buf_puts(answer, "{\"predictions\": ");
    if (v) json_write(answer, v, &opts);
    if (!unwrapped) buf_putc(answer, '}');
    const bool failed = !v || a.failed || answer->failed;
    arena_release(&a);
    if (failed) {
        answer->n = before;
        return mltf_fail_memory(err);
    }
    return MLTF_OK;
}

void scoring_wrap_error(mltf_err *err, const pv *data)
{
    if (!err) return;
    switch (err->status) {
    case MLTF_PREDICT_FAILED:
        mltf_err_wrap(err, "Encountered an unexpected error while evaluating the model. Verify "
                           "that the serialized input "
                           "Dataframe is compatible with the model for inference. Error");
        break;
    case MLTF_INVALID_INPUT:
    case MLTF_BAD_REQUEST:
    case MLTF_SCHEMA_MISMATCH:
    case MLTF_INTERNAL: {
        mltf_buf b = {.max = 1000};
        const mltf_err inner = *err;
        pv_print(&b, data);
        mltf_fail(err, inner.status, "Failed to predict data '%s%s'. \nError: %s", b.p ? b.p : "",
                  b.failed ? "…" : "", inner.msg);
        mltf_buf_release(&b);
        break;
    }
    default:
        break; // cancelled, out of time or memory: nothing about the data
    }
}

void mltf_err_json(const mltf_err *err, mltf_buf *out)
{
    const mltf_status st = err ? err->status : MLTF_INTERNAL;
    buf_puts(out, "{\"error_code\": ");
    json_write_string(out, str_from(mltf_status_mlflow_code(st)), true);
    buf_puts(out, ", \"message\": ");
    json_write_string(out, str_from(err ? err->msg : ""), true);
    const char *state = mltf_status_sqlstate(st), *class_name = mltf_status_error_class(st);
    if (state) buf_printf(out, ", \"sqlstate\": \"%s\"", state);
    if (class_name) buf_printf(out, ", \"error_class\": \"%s\"", class_name);
    buf_putc(out, '}');
}
