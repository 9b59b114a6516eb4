/* A chat model's reply: its first line stands for the chat template, the rest is searched for calls. What is shown while it
 * grows must be the beginning of the content in the end. */
#include <stdlib.h>
#include <string.h>

#include "mlflow/tool_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char tools_text[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"get\", \"parameters\": {\"type\": "
    "\"object\", "
    "\"properties\": {\"city\": {\"type\": \"string\"}, \"days\": {\"type\": \"integer\"}}}}}]";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data, *line = size ? memchr(p, '\n', size) : NULL;
    if (!line || size > 4096) return 0;
    const mltf_str template = {p, (size_t)(line - p)}, text = {line + 1, size - template.n - 1};
    mltf_arena a = MLTF_ARENA_INIT;
    mltf_buf scratch = MLTF_BUF_INIT;
    json *tools = NULL;
    if (json_parse_in(&a, &tools, tools_text, strlen(tools_text), NULL, NULL)) abort();
    const tool_format *f = tool_format_of(template);
    tool_reply reply = {0};
    if (tool_calls_parse(f, tools, text, &a, &reply, NULL) == MLTF_OK) {
        for (size_t n = 0; n <= text.n; n += 1 + n / 64) {
            const mltf_str shown = tool_text_so_far(f, tools, str_slice(text, 0, n), &scratch);
            if (shown.n > reply.content.n ||
                memcmp(shown.p ? shown.p : "", reply.content.p ? reply.content.p : "", shown.n) !=
                    0)
                abort();
        }
    }
    buf_clear(&scratch);
    mltf_buf_release(&scratch);
    arena_release(&a);
    return 0;
}
