/* InstructionTextGenerationPipeline, the custom pipeline of Dolly models: the prompt becomes an instruction in a fixed
 * frame, the answer is what stands behind "### Response:" up to "### End". In Python this needs remote code; here it
 * is known. Sampling starts from the pipeline's own settings (top_p 0.92, no top_k). */
#include <string.h>

#include "mlflow/wrapper.h"

#define INTRO                                                                                      \
    "Below is an instruction that describes a task. Write a response that appropriately "          \
    "completes the request."

bool wrap_is_instruct(const mltf_model *m)
{
    return m->instance_type && strcmp(m->instance_type, "InstructionTextGenerationPipeline") == 0;
}

static json *frame(mltf_arena *a, mltf_str instruction)
{
    mltf_buf b = MLTF_BUF_INIT;
    buf_puts(&b, INTRO "\n\n### Instruction:\n");
    buf_put_str(&b, instruction);
    buf_puts(&b, "\n\n### Response:\n");
    json *v = json_new_string(a, buf_str(&b));
    mltf_buf_release(&b);
    return v;
}

static void set_default(mltf_arena *a, json *kwargs, const char *key, const json *value)
{
    if (!json_get(kwargs, key)) json_set(a, kwargs, key, value);
}

static mltf_str response_of(const json *v)
{
    mltf_str s = json_string(json_get(v, "generated_text"), STR(""));
    const char *end = s.n ? memmem(s.p, s.n, "### End", 7) : NULL;
    if (end) s.n = (size_t)(end - s.p);
    return s;
}

mltf_status wrap_call_instruct(wrap_call *w, const pv *data, json **raw, mltf_err *err)
{
    mltf_arena *a = w->a;
    json *kwargs = pv_to_json(a, &w->options);
    const bool full = json_bool(json_get(kwargs, "return_full_text"), false);
    json_set(a, kwargs, "return_full_text", json_new_bool(a, false));
    set_default(a, kwargs, "do_sample", json_new_bool(a, true));
    set_default(a, kwargs, "max_new_tokens", json_new_int(a, 256));
    set_default(a, kwargs, "top_p", json_new_double(a, 0.92));
    set_default(a, kwargs, "top_k", json_new_int(a, 0));
    const int32_t end = tokenizer_token_to_id(pipeline_tokenizer(w->m->pipe), STR("### End"));
    if (end >= 0) set_default(a, kwargs, "eos_token_id", json_new_int(a, end));

    const size_t n = data->kind == PV_LIST ? data->list.n : 1;
    json *prompts = json_new_array(a), *answers = NULL, *out = json_new_array(a);
    for (size_t i = 0; i < n; i++)
        json_push(a, prompts, frame(a, data->kind == PV_LIST ? data->list.items[i].s : data->s));
    TRY(pipeline_call(w->m->pipe, prompts, kwargs, w->ctl, a, &answers, err));
    for (size_t i = 0; i < json_len(answers); i++) {
        json *list = json_new_array(a);
        for (size_t k = 0; k < json_len(json_at(answers, i)); k++) {
            const mltf_str text = response_of(json_at(json_at(answers, i), k));
            const mltf_str prompt = data->kind == PV_LIST ? data->list.items[i].s : data->s;
            mltf_buf b = MLTF_BUF_INIT;
            if (full) {
                buf_put_str(&b, prompt);
                buf_puts(&b, "\n\n");
            }
            buf_put_str(&b, text);
            json *one = json_new_object(a);
            json_set(a, one, "generated_text", json_new_string(a, buf_str(&b)));
            json_push(a, list, one);
            mltf_buf_release(&b);
        }
        json_push(a, out, list);
    }
    *raw = out;
    return a->failed ? mltf_fail_memory(err) : MLTF_OK;
}
