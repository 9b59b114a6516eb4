/* Log a checkpoint to an MLflow store, register it and open it again by its alias:
 * log_and_register CHECKPOINT TASK NAME */
#include <mltf/mltf.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s CHECKPOINT TASK NAME\n", argv[0]);
        return 2;
    }
    const char *const aliases[] = {"champion", NULL};
    const mltf_log_options opts = {
        .save = {.task = argv[2], .metadata_json = "{\"team\": \"nlp\"}"},
        .name = argv[3],
        .registered_model_name = argv[3],
        .aliases = aliases,
        .experiment_name = "examples",
    };
    mltf_err err = {0};
    mltf_model *model = NULL;
    mltf_buf info = MLTF_BUF_INIT, about = MLTF_BUF_INIT;
    char uri[512];
    snprintf(uri, sizeof uri, "models:/%s@champion", argv[3]);
    if (mltf_log_model(argv[1], &opts, &info, &err) == MLTF_OK &&
        mltf_model_open(&model, uri, NULL, &err) == MLTF_OK &&
        mltf_model_describe(model, &about, &err) == MLTF_OK)
        printf("%s\n%s\n", info.p, about.p);
    else
        fprintf(stderr, "%s\n", err.msg);
    mltf_buf_release(&about);
    mltf_buf_release(&info);
    mltf_model_free(model);
    return mltf_status_exit_code(err.status);
}
