/* mltf models describe: what a model is, for people or (--json) for programs. */
#include "cli/open_options.h"
#include "cli/show_json.h"

int cmd_describe(int argc, char **argv, const cli_command *self)
{
    const char *uri = NULL;
    bool as_json = false;
    mltf_open_options o = {.log = cli_warn};
    const cli_opt opts[] = {
        OPEN_OPTIONS(uri, o),
        CLI_FLAG(0, "json", &as_json, NULL, "one JSON object"),
        CLI_END,
    };
    char **rest;
    int n_rest;
    const int code = cli_parse(argc, argv, self, opts, &rest, &n_rest);
    if (code >= 0) return code;
    if (n_rest == 1 && !uri) {
        uri = rest[0];
        n_rest = 0;
    }
    if (!uri || n_rest) return cli_mistake(self, "give the model with -m");

    mltf_err err = {0};
    mltf_buf text = MLTF_BUF_INIT;
    if (!mltf_describe(uri, &o, &text, &err)) show_answer(&text, as_json, &err);
    mltf_buf_release(&text);
    return cli_report(&err);
}
