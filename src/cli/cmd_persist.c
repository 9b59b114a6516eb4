/* mltf models persist: a model that only names its weights gets them (MLflow's persist_pretrained_model). */
#include "cli/cli.h"

int cmd_persist(int argc, char **argv, const cli_command *self)
{
    const char *uri = NULL, *tracking_uri = NULL;
    const cli_opt opts[] = {
        CLI_STR('m', "model-uri", "URI", &uri, NULL,
                "model directory, runs:/ or models:/ URI (required)"),
        CLI_STR(0, "tracking-uri", "URI", &tracking_uri, "MLFLOW_TRACKING_URI",
                "store of runs:/ and models:/ URIs"),
        CLI_END,
    };
    char **rest;
    int n_rest;
    const int code = cli_parse(argc, argv, self, opts, &rest, &n_rest);
    if (code >= 0) return code;
    if (!uri || n_rest) return cli_mistake(self, "give the model with -m");
    mltf_err err = {0};
    mltf_persist_pretrained(uri, tracking_uri, &err);
    return cli_report(&err);
}
