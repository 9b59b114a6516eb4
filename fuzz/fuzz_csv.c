/* CSV bodies of a scoring request, with no signature: what is accepted can be written as an answer. */
#include <string.h>

#include "mlflow/scoring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mltf_arena arena = MLTF_ARENA_INIT;
    scoring_request request;
    signature sig;
    mltf_buf out = {.max = 1 << 20};
    mltf_err err = {0};
    memset(&request, 0, sizeof request);
    memset(&sig, 0, sizeof sig);
    if (scoring_parse_csv(&arena, &request, (const char *)data, size, &sig, &err) == MLTF_OK)
        scoring_write(&out, &request.data, false, &err);
    mltf_buf_release(&out);
    arena_release(&arena);
    return 0;
}
