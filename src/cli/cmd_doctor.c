/* mltf doctor: what this machine and this store offer. */
#include "cli/cli.h"
#include "cli/show_json.h"

int cmd_doctor(int argc, char **argv, const cli_command *self)
{
    const char *tracking_uri = NULL;
    bool as_json = false;
    const cli_opt opts[] = {
        CLI_STR(0, "tracking-uri", "URI", &tracking_uri, "MLFLOW_TRACKING_URI", "store to look at"),
        CLI_FLAG(0, "json", &as_json, NULL, "one JSON object"),
        CLI_END,
    };
    char **rest;
    int n_rest;
    const int code = cli_parse(argc, argv, self, opts, &rest, &n_rest);
    if (code >= 0) return code;
    if (n_rest) return cli_mistake(self, "\"%s\" is not understood", rest[0]);
    mltf_err err = {0};
    mltf_buf text = MLTF_BUF_INIT;
    if (!mltf_doctor(tracking_uri, &text, &err)) show_answer(&text, as_json, &err);
    mltf_buf_release(&text);
    return cli_report(&err);
}
