/* JSON bodies of a scoring request against several signatures: parsed, enforced, printed in a message, written as an
 * answer. The first byte chooses the signature. */
#include <string.h>

#include "mlflow/pyliteral.h"
#include "mlflow/scoring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const schemas[] = {
    NULL,
    "[{\"type\": \"string\"}]",
    "[{\"type\": \"string\", \"name\": \"a\"}, {\"type\": \"double\", \"name\": \"b\", "
    "\"required\": false}]",
    "[{\"type\": \"array\", \"items\": {\"type\": \"object\", \"properties\": {\"role\": "
    "{\"type\": \"string\"}}}, \"name\": "
    "\"messages\"}, {\"type\": \"map\", \"values\": {\"type\": \"any\"}, \"name\": \"m\", "
    "\"required\": false}]",
    "[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float32\", \"shape\": [-1, 2]}}]",
    "[{\"type\": \"binary\"}]",
    "[{\"type\": \"long\"}, {\"type\": \"boolean\"}]",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    mltf_arena a = {.max = (size_t)256 << 20};
    signature sig = {0};
    scoring_request r;
    mltf_buf out = {.max = 1 << 20};
    mltf_err err = {0};
    const char *spec = schemas[data[0] % (sizeof schemas / sizeof *schemas)];
    if (spec) schema_parse(&a, &sig.inputs, str_from(spec), NULL);
    if (scoring_parse_json(&a, &r, (const char *)data + 1, size - 1, &sig, &err) == MLTF_OK) {
        pv enforced = r.data, literal;
        const char *extra = NULL;
        schema *inferred = NULL;
        if (sig.inputs && schema_enforce(&a, &enforced, &r.data, sig.inputs, &extra, &err))
            scoring_wrap_error(&err, &r.data);
        else
            scoring_write(&out, &enforced, r.unwrapped, &err);
        schema_infer(&a, &inferred, &r.data, NULL, NULL);
        pyliteral_parse(&a, &literal, (mltf_str){(const char *)data + 1, size - 1});
    }
    mltf_buf_release(&out);
    arena_release(&a);
    return 0;
}
