/* Score texts with a model: classify MODEL TEXT...
 * MODEL is a directory, a runs:/ or models:/ URI. Prints the answer of MLflow's scoring server. */
#include <mltf/mltf.h>
#include <stdio.h>
#include <string.h>

/* The text as a JSON string; enough for a command line. */
static void print_json_string(FILE *to, const char *s)
{
    fputc('"', to);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            fprintf(to, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            fprintf(to, "\\u%04x", (unsigned)*s);
        else
            fputc(*s, to);
    }
    fputc('"', to);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL TEXT...\n", argv[0]);
        return 2;
    }
    char request[65536];
    FILE *f = fmemopen(request, sizeof request, "w");
    if (!f) return 1;
    fputs("{\"inputs\": [", f);
    for (int i = 2; i < argc; i++) {
        if (i > 2) fputs(", ", f);
        print_json_string(f, argv[i]);
    }
    fputs("]}", f);
    if (fclose(f) != 0) return 1;

    mltf_err err = {0};
    mltf_model *model = NULL;
    mltf_buf answer = MLTF_BUF_INIT;
    if (mltf_model_open(&model, argv[1], NULL, &err) == MLTF_OK &&
        mltf_predict_json(model, request, strlen(request), NULL, &answer, &err) == MLTF_OK)
        puts(answer.p);
    else
        fprintf(stderr, "%s\n", err.msg);
    mltf_buf_release(&answer);
    mltf_model_free(model);
    return mltf_status_exit_code(err.status);
}
