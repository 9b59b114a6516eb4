#include "mlflow/prompt_template.h"

#include <string.h>

#include "base/pyformat.h"

bool prompt_template_task(const char *task)
{
    static const char *const tasks[] = {"feature-extraction", "fill-mask", "summarization",
                                        "text2text-generation", "text-generation"};
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        if (strcmp(task, tasks[i]) == 0) return true;
    return false;
}

mltf_status prompt_template_check(const char *tpl, mltf_err *err)
{
    mltf_str rest = str_from(tpl);
    pyformat_field f;
    size_t fields = 0;
    bool ok = true;
    for (bool more; ok;) {
        ok = pyformat_next(&rest, NULL, &f, &more, NULL) == MLTF_OK;
        if (!ok || !more) break;
        fields++;
        ok = str_is(f.name, "prompt");
    }
    if (ok && fields == 1) return MLTF_OK;
    return mltf_fail(
        err, MLTF_INVALID_INPUT,
        "Argument `prompt_template` must be a string with a single format arg, 'prompt'. For "
        "example: "
        "'Answer the following question in a friendly tone. Q: {prompt}. A:'\nReceived %s. ",
        tpl);
}

mltf_status prompt_template_apply(mltf_buf *out, const char *tpl, mltf_str prompt, mltf_err *err)
{
    mltf_str rest = str_from(tpl);
    pyformat_field f;
    for (bool more;;) {
        TRY(pyformat_next(&rest, out, &f, &more, err));
        if (!more) return MLTF_OK;
        if (!str_is(f.name, "prompt"))
            return mltf_fail(err, MLTF_PREDICT_FAILED, "'" STR_FMT "'", STR_ARG(f.name));
        TRY(pyformat_put(out, &f, prompt, err));
    }
}
