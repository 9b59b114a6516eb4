/* One streamed chat answer: chat MODEL "a question". The answer appears word by word.
 * Chunks are OpenAI's; this example cuts the text out of them by hand, a program would use its JSON library. */
#include <mltf/mltf.h>
#include <stdio.h>
#include <string.h>

static int on_event(void *user, const char *chunk, size_t n)
{
    (void)user;
    (void)n;
    const char *p = strstr(chunk, "\"content\":\"");
    if (!p) return 0;
    for (p += strlen("\"content\":\""); *p && *p != '"'; p++) {
        if (*p != '\\')
            putchar(*p);
        else if (*++p == 'n')
            putchar('\n');
        else
            putchar(*p);
    }
    fflush(stdout);
    return 0; // anything else stops the answer
}

int main(int argc, char **argv)
{
    if (argc != 3 || strpbrk(argv[2], "\"\\\n")) {
        fprintf(stderr, "usage: %s MODEL QUESTION   (without quotes and backslashes)\n", argv[0]);
        return 2;
    }
    char request[4096];
    const int n = snprintf(request, sizeof request,
                           "{\"messages\": [{\"role\": \"user\", \"content\": \"%s\"}], "
                           "\"stream\": true, \"temperature\": 0, "
                           "\"max_tokens\": 64}",
                           argv[2]);
    if (n < 0 || (size_t)n >= sizeof request) return 2;

    mltf_err err = {0};
    mltf_model *model = NULL;
    mltf_buf answer = MLTF_BUF_INIT;
    if (mltf_model_open(&model, argv[1], NULL, &err) != MLTF_OK ||
        mltf_openai(model, "chat", request, (size_t)n, NULL, on_event, NULL, &answer, &err) !=
            MLTF_OK)
        fprintf(stderr, "%s\n", err.msg);
    else
        putchar('\n');
    mltf_buf_release(&answer);
    mltf_model_free(model);
    return mltf_status_exit_code(err.status);
}
